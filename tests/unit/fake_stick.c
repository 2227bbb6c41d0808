/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/fake_stick.h"

#include <stdio.h>
#include <stdlib.h>

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: the core broke its word: %s\n", __FILE__, __LINE__,            \
                    #condition);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void init(struct stick *s)
{
    fake_of(s)->deadline_ms = TIME_NEVER;
    fake_of(s)->frame_bytes = FAKE_FRAME;
}

static void deinit(struct stick *s)
{
    fake_of(s)->deinits++;
}

static void opened(struct stick *s, int64_t now_ms)
{
    (void)now_ms;
    fake_of(s)->opened++;
}

static void closed(struct stick *s)
{
    fake_of(s)->closed++;
    fake_of(s)->deadline_ms = TIME_NEVER;
}

static void input(struct stick *s, int64_t now_ms, struct bytes in)
{
    must(stick_state(s) == STICK_STARTING || stick_state(s) == STICK_RUNNING);
    if (fake_of(s)->on_input != NULL)
        fake_of(s)->on_input(fake_of(s), now_ms, in);
}

static void advance(struct stick *s, int64_t now_ms)
{
    must(fake_of(s)->deadline_ms <= now_ms);
    fake_of(s)->deadline_ms = TIME_NEVER;
    fake_of(s)->advanced++;
}

static int64_t next_deadline(const struct stick *s)
{
    return ((const struct fake_stick *)(const void *)s)->deadline_ms;
}

/* Who still is on air, as the core has it. */
static void check_outstanding(struct fake_stick *f, const struct stick_send *send)
{
    unsigned busy = 0;
    for (unsigned id = 1; id <= UINT8_MAX; id++) {
        const struct stick_send *one = stick_outstanding(&f->s, (uint8_t)id);
        if (one == NULL)
            continue;
        busy++;
        must(one->id == id);
        must(one == send || one->node != send->node); /* one per node */
    }
    must(busy <= f->s.slots);
    must(stick_outstanding(&f->s, send->id) == send);
}

static void transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    static const uint8_t frame[STICK_OUT_BYTES];
    struct fake_stick *f = fake_of(s);
    must(stick_state(s) == STICK_RUNNING && !s->paused);
    must(stick_room(s) >= STICK_OUT_RESERVE);
    must(send->id != 0 && send->len <= s->max_packet_bytes);
    must(now_ms - send->queued_ms < STICK_QUEUE_AGE_MS);
    must(send->tries <= STICK_TRIES);
    check_outstanding(f, send);
    must(f->n_sent < FAKE_SENT_MAX);
    struct reader r = rd_of(stick_packet(send));
    f->sent[f->n_sent++] = (struct fake_sent){
        .id = send->id,
        .tries = send->tries,
        .radius = send->radius,
        .group = stick_is_group(send),
        .address = send->node->address,
        .tag = rd_u32(&r),
        .len = send->len,
        .at_ms = now_ms,
        .queued_ms = send->queued_ms,
    };
    must(stick_write(s, bytes_of(frame, f->frame_bytes)));
    if (f->verdict_at_once)
        must(stick_verdict(s, now_ms, send->id, f->verdict, f->again_ms));
}

static void permit_join(struct stick *s, int64_t now_ms, unsigned seconds)
{
    (void)now_ms;
    must(stick_state(s) == STICK_RUNNING);
    fake_of(s)->join_calls++;
    fake_of(s)->join_seconds = seconds;
}

const struct stick_driver fake_driver = {
    .name = "fake",
    .size = sizeof(struct fake_stick),
    .reports = true,
    .init = init,
    .deinit = deinit,
    .opened = opened,
    .closed = closed,
    .input = input,
    .advance = advance,
    .next_deadline = next_deadline,
    .transmit = transmit,
    .permit_join = permit_join,
};

const struct stick_driver fake_silent_driver = {
    .name = "silent",
    .size = sizeof(struct fake_stick),
    .init = init,
    .opened = opened,
    .closed = closed,
    .input = input,
    .advance = advance,
    .next_deadline = next_deadline,
    .transmit = transmit,
};

struct bytes fake_packet(uint8_t room[static 1500], uint32_t tag, size_t len)
{
    struct writer w = wr_to(room, len);
    wr_u32(&w, tag);
    while (w.len < len)
        wr_u8(&w, (uint8_t)(tag + w.len));
    return bytes_of(room, len);
}

void fake_send(struct stick *s, int64_t now_ms, enum peer_kind kind, uint64_t address, uint32_t tag,
               size_t len)
{
    uint8_t packet[1500], octets[8];
    struct peer_room to;
    struct writer w = wr_to(octets, sizeof octets);
    if (kind == PEER_EUI64)
        wr_u64(&w, address);
    else if (kind == PEER_SHORT)
        wr_u16(&w, (uint16_t)address);
    else if (kind == PEER_GROUP)
        wr_u8(&w, (uint8_t)address);
    peer_make(&to, s->config.link, kind, bytes_of(octets, w.len));
    stick_send(s, now_ms, peer_in(&to), fake_packet(packet, tag, len));
}
