/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of a plain serial line: one node on a cable, or a bridge with all nodes of the ether
 * behind forwarder envelopes. config.firmware: the framing (0 raw, 1 SLIP, 2 HDLC with CRC, 3 COBS
 * with CRC), plus 16 for a bridge. A node's wireless id is its 16-bit address; FFFF: all of them.
 *
 * Frames are taken apart whole, when their end has come; the gateway's driver works octet by octet.
 * That, and a table for the CRC, keeps the two from sharing a mistake.
 */
#include "tools/emu/emu.h"

enum { RAW, SLIP, HDLC, COBS };

enum { BRIDGE = 16, LINE_MAX = 1024, PAUSE_MS = 100, ENVELOPE = 5 };

struct emu_line_end {
    struct emu m;
    uint8_t line[LINE_MAX]; /* since the last delimiter, as it came */
    size_t len;
    bool lost; /* more than fits */
    int64_t octet_ms;
};

static struct emu_line_end *end_of(struct emu *m)
{
    return (struct emu_line_end *)(void *)m;
}

static unsigned framing(const struct emu *m)
{
    return m->config.firmware % BRIDGE;
}

static bool is_bridge(const struct emu *m)
{
    return m->config.firmware >= BRIDGE;
}

/* CRC-16/X-25, four bits at a time. */
static uint16_t fcs(const uint8_t *data, size_t len)
{
    static const uint16_t table[16] = {0x0000, 0x1081, 0x2102, 0x3183, 0x4204, 0x5285,
                                       0x6306, 0x7387, 0x8408, 0x9489, 0xA50A, 0xB58B,
                                       0xC60C, 0xD68D, 0xE70E, 0xF78F};
    uint16_t crc = 0xFFFF;
    for (size_t i = 0; i < len; i++) {
        crc = (uint16_t)(crc >> 4 ^ table[(crc ^ data[i]) & 15]);
        crc = (uint16_t)(crc >> 4 ^ table[(crc ^ data[i] >> 4) & 15]);
    }
    return (uint16_t)(crc ^ 0xFFFF);
}

/* ---- to the host ------------------------------------------------------------------------------- */

/* COBS: each zero becomes the distance to the next one, the first distance stands in front. */
static void put_cobs(struct writer *w, const uint8_t *data, size_t len)
{
    uint8_t block[255];
    size_t n = 1;
    bool open = true; /* a block that must be written even if it is empty */
    wr_u8(w, 0);
    for (size_t i = 0; i < len; i++) {
        open = true;
        if (data[i] != 0)
            block[n++] = data[i];
        if (data[i] == 0 || n == 255) {
            block[0] = (uint8_t)n;
            wr_bytes(w, bytes_of(block, n));
            open = n < 255;
            n = 1;
        }
    }
    if (open) {
        block[0] = (uint8_t)n;
        wr_bytes(w, bytes_of(block, n));
    }
    wr_u8(w, 0);
}

static void put_escaped(struct writer *w, unsigned kind, const uint8_t *data, size_t len)
{
    wr_u8(w, kind == SLIP ? 0xC0 : 0x7E);
    for (size_t i = 0; i < len; i++) {
        const uint8_t c = data[i];
        if (kind == SLIP && c == 0xC0)
            wr_bytes(w, bytes_of("\xDB\xDC", 2));
        else if (kind == SLIP && c == 0xDB)
            wr_bytes(w, bytes_of("\xDB\xDD", 2));
        else if (kind == HDLC && (c == 0x7E || c == 0x7D))
            wr_u16(w, (uint16_t)(0x7D00 | (c ^ 0x20)));
        else
            wr_u8(w, c);
    }
    wr_u8(w, kind == SLIP ? 0xC0 : 0x7E);
}

static void to_host(struct emu *m, int64_t now_ms, struct bytes packet)
{
    uint8_t body[300], out[EMU_FRAME_MAX];
    struct writer b = wr_to(body, sizeof body);
    struct writer w = wr_to(out, sizeof out);
    wr_bytes(&b, packet);
    if (framing(m) >= HDLC)
        wr_u16_le(&b, fcs(body, b.len));
    if (framing(m) == RAW)
        wr_bytes(&w, packet);
    else if (framing(m) == COBS)
        put_cobs(&w, body, b.len);
    else
        put_escaped(&w, framing(m), body, b.len);
    emu_frame(m, now_ms, bytes_of(out, wr_close(&w)));
}

static void event(struct emu *m, int64_t now_ms, const struct ether_event *e)
{
    uint8_t packet[ENVELOPE + ETHER_PAYLOAD_MAX];
    struct writer w = wr_to(packet, sizeof packet);
    if (e->type != ETHER_EV_RECEIVED)
        return;
    if (is_bridge(m)) {
        wr_u16(&w, ENVELOPE << 8 | 0xFE);
        wr_u8(&w, 0);
        wr_u16(&w, e->short_address);
    }
    wr_bytes(&w, e->payload);
    to_host(m, now_ms, bytes_of(packet, wr_close(&w)));
}

/* ---- from the host ----------------------------------------------------------------------------- */

static void to_air(struct emu *m, int64_t now_ms, struct bytes packet)
{
    struct reader r = rd_of(packet);
    struct ether_frame frame = {.want_ack = true, .handle = (uint32_t)m->sends};
    if (is_bridge(m)) {
        const uint16_t start = rd_u16(&r);
        rd_u8(&r);
        frame.short_address = rd_u16(&r);
        frame.broadcast = frame.short_address == 0xFFFF;
        if (r.failed || start != (ENVELOPE << 8 | 0xFE)) {
            m->bad_frames_in++;
            return;
        }
    } else if (ether_nodes(m->ether) > 0) {
        frame.short_address = ether_node_at(m->ether, 0)->short_address;
    }
    m->frames_in++;
    m->sends++;
    ether_send(m->ether, now_ms, &frame, rd_rest(&r));
}

/* Takes the escapes out, in place. The length, or 0 if there was a wrong one. */
static size_t unescape(unsigned kind, uint8_t *line, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = line[i];
        if (c == (kind == SLIP ? 0xDB : 0x7D)) {
            if (++i == len || (kind == SLIP && line[i] != 0xDC && line[i] != 0xDD))
                return 0;
            c = kind == HDLC ? line[i] ^ 0x20 : line[i] == 0xDC ? 0xC0 : 0xDB;
        }
        line[n++] = c;
    }
    return n;
}

static size_t uncobs(uint8_t *line, size_t len)
{
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        const size_t code = line[at];
        if (at + code > len)
            return 0;
        memmove(line + n, line + at + 1, code - 1);
        n += code - 1;
        at += code;
        if (code < 255 && at < len)
            line[n++] = 0;
    }
    return n;
}

static void take_frame(struct emu *m, int64_t now_ms)
{
    struct emu_line_end *e = end_of(m);
    size_t len = e->len;
    if (len == 0)
        return;
    len = framing(m) == COBS ? uncobs(e->line, len) : unescape(framing(m), e->line, len);
    const bool crc = framing(m) >= HDLC;
    bool good = !e->lost && len > (crc ? 2 : 0);
    if (good && crc) {
        const uint16_t want = fcs(e->line, len - 2);
        good = e->line[len - 2] == (want & 0xFF) && e->line[len - 1] == want >> 8;
        len -= 2;
    }
    if (good)
        to_air(m, now_ms, bytes_of(e->line, len));
    else
        m->bad_frames_in++;
    e->len = 0;
    e->lost = false;
}

/* Length of what lies at the beginning, its envelope included; 0: not known yet. */
static size_t raw_length(const struct emu *m, const struct emu_line_end *e)
{
    const size_t head = is_bridge(m) ? ENVELOPE : 0;
    if (e->len <= head)
        return 0;
    if (e->line[head] != 1)
        return head + e->line[head];
    return e->len < head + 3 ? 0 : head + (size_t)(e->line[head + 1] << 8 | e->line[head + 2]);
}

static void take_raw(struct emu *m, int64_t now_ms)
{
    struct emu_line_end *e = end_of(m);
    const size_t length = raw_length(m, e);
    if (length == 0 || e->len < length)
        return;
    to_air(m, now_ms, bytes_of(e->line, length));
    e->len = 0;
}

static void input(struct emu *m, int64_t now_ms, struct bytes in)
{
    static const uint8_t ends[] = {[SLIP] = 0xC0, [HDLC] = 0x7E, [COBS] = 0x00};
    struct emu_line_end *e = end_of(m);
    e->octet_ms = now_ms;
    for (size_t i = 0; i < in.len; i++) {
        if (framing(m) != RAW && in.data[i] == ends[framing(m)]) {
            take_frame(m, now_ms);
            continue;
        }
        if (e->len < LINE_MAX)
            e->line[e->len++] = in.data[i];
        else
            e->lost = true;
        if (framing(m) == RAW)
            take_raw(m, now_ms);
    }
}

/* ---- time -------------------------------------------------------------------------------------- */

static void init(struct emu *m)
{
    (void)m;
}

static void power_on(struct emu *m, int64_t now_ms)
{
    struct emu_line_end *e = end_of(m);
    e->len = 0;
    e->lost = false;
    e->octet_ms = now_ms;
}

static int64_t next_deadline(const struct emu *m)
{
    const struct emu_line_end *e = (const void *)m;
    return framing(m) == RAW && e->len > 0 ? time_add(e->octet_ms, PAUSE_MS) : TIME_NEVER;
}

static void advance(struct emu *m, int64_t now_ms)
{
    m->bad_frames_in++;
    power_on(m, now_ms);
}

const struct emu_driver emu_serial = {
    .name = "serial",
    .size = sizeof(struct emu_line_end),
    .init = init,
    .power_on = power_on,
    .input = input,
    .event = event,
    .advance = advance,
    .next_deadline = next_deadline,
};
