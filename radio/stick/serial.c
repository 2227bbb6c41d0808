/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain serial line: no stick at all, but a node on a cable, or a bridge that knows MQTT-SN's
 * forwarder envelope and has many nodes behind it. Nothing is negotiated and nothing acknowledged.
 *
 * The nodes behind a bridge are the engine's business: here there is one peer, the line, and
 * packets with or without envelopes. Only broadcasts get theirs here, for the engine sends one
 * packet to everybody on a link and doesn't know what that means on it.
 */
#include <stdio.h>

#include "radio/stick/core.h"
#include "radio/stick/framing.h"

enum {
    MSG_FORWARD = 0xFE,
    ENVELOPE_BYTES = 5,
    EVERYBODY = 0xFFFF, /* wireless node id: what bridges of 16-bit radios take for a broadcast */
    RADIUS_MAX = 3,     /* two bits (5.5) */
};

struct serial {
    struct stick s;
    struct framer framer;
    int64_t octet_ms; /* the last one came */
    uint8_t frame[FRAMER_FRAME_MAX];
};

static struct serial *serial_of(struct stick *s)
{
    return (struct serial *)(void *)s;
}

static void init(struct stick *s)
{
    const uint32_t limit = s->config.max_packet_bytes;
    /* Any packet with a length of one octet is told apart from garbage, even if it is too long. */
    framer_init(&serial_of(s)->framer, s->config.framing, limit < 255 ? 255 : limit);
}

static void opened(struct stick *s, int64_t now_ms)
{
    static const char *const names[] = {
        [LINE_RAW] = "raw", [LINE_SLIP] = "SLIP", [LINE_HDLC] = "HDLC", [LINE_COBS] = "COBS"};
    char text[STICK_TEXT_MAX];
    framer_reset(&serial_of(s)->framer);
    snprintf(text, sizeof text, "serial line, %s framing, %s", names[s->config.framing],
             s->config.forwarder ? "nodes behind a forwarder" : "one node");
    stick_up(s, now_ms, s->config.max_packet_bytes, 1, 1000, text);
}

static void closed(struct stick *s)
{
    framer_reset(&serial_of(s)->framer);
}

/* ---- from the line ----------------------------------------------------------------------------- */

static bool is_envelope(struct bytes packet)
{
    struct reader r = rd_of(packet);
    if (rd_u8(&r) == 1)
        rd_u16(&r);
    return rd_u8(&r) == MSG_FORWARD && !r.failed;
}

static void heard(struct stick *s, int64_t now_ms, struct bytes packet)
{
    static const struct stick_radio nothing_known;
    if (is_envelope(packet) && !s->config.forwarder)
        s->counters.strange_frames++;
    else
        stick_heard(s, now_ms, PEER_SERIAL, 0, SHORT_UNKNOWN, &nothing_known, packet);
}

static void count(struct stick *s)
{
    const struct framer *f = &serial_of(s)->framer;
    s->counters.frames_in = f->frames;
    s->counters.bad_frames = f->bad_frames;
    s->counters.skipped_bytes = f->skipped;
}

static void input(struct stick *s, int64_t now_ms, struct bytes in)
{
    struct serial *m = serial_of(s);
    struct reader r = rd_of(in);
    struct bytes packet;
    m->octet_ms = now_ms;
    while (framer_next(&m->framer, &r, &packet))
        heard(s, now_ms, packet);
    count(s);
}

static void advance(struct stick *s, int64_t now_ms)
{
    (void)now_ms;
    framer_pause(&serial_of(s)->framer);
    count(s);
}

static int64_t next_deadline(const struct stick *s)
{
    const struct serial *m = (const void *)s;
    return framer_waits(&m->framer) ? time_add(m->octet_ms, FRAMER_PAUSE_MS) : TIME_NEVER;
}

/* ---- to the line ------------------------------------------------------------------------------- */

static void transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    struct serial *m = serial_of(s);
    uint8_t whole[FRAMER_PACKET_MAX];
    struct writer w = wr_to(whole, sizeof whole);
    if (send->node->kind != PEER_SERIAL && !stick_is_group(send)) {
        stick_verdict(s, now_ms, send->id, VERDICT_REFUSED, 0);
        return;
    }
    if (stick_is_group(send) && s->config.forwarder) {
        wr_u8(&w, ENVELOPE_BYTES);
        wr_u8(&w, MSG_FORWARD);
        wr_u8(&w, send->radius > RADIUS_MAX ? RADIUS_MAX : send->radius);
        wr_u16(&w, EVERYBODY);
    }
    wr_bytes(&w, stick_packet(send));
    if (w.failed) {
        stick_verdict(s, now_ms, send->id, VERDICT_TOO_LONG, 0);
        return;
    }
    struct writer frame = wr_to(m->frame, sizeof m->frame);
    framer_encode(s->config.framing, &frame, bytes_of(whole, w.len));
    const bool written = stick_write(s, bytes_of(m->frame, wr_close(&frame)));
    s->counters.frames_out += written;
    stick_verdict(s, now_ms, send->id, written ? VERDICT_DELIVERED : VERDICT_REFUSED, 0);
}

_Static_assert((int)STICK_OUT_RESERVE >= (int)FRAMER_FRAME_MAX, "room for the longest frame");

const struct stick_driver stick_serial = {
    .name = "serial",
    .size = sizeof(struct serial),
    .init = init,
    .opened = opened,
    .closed = closed,
    .input = input,
    .advance = advance,
    .next_deadline = next_deadline,
    .transmit = transmit,
};
