/* SPDX-License-Identifier: Apache-2.0 */
/* The ASH machine and a stick's end, over a line that spoils frames in both directions. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "base/rng.h"

#include "radio/stick/ash.h"
#include "unit/seed.h"
#include "unit/suite.h"

static struct ash a;
static int64_t now_ms;

static void connect_line(void)
{
    uint8_t wire[ASH_WIRE_MAX];
    struct bytes out;
    struct ash_event e;
    const struct ash_frame rstack = {
        .type = ASH_RSTACK, .version = ASH_VERSION, .code = ASH_RESET_SOFTWARE};
    now_ms = 1000;
    ash_init(&a, ASH_T_ACK_MS);
    ash_connect(&a, now_ms);
    ck_assert(ash_output(&a, now_ms, &out));
    struct reader r = rd_of(bytes_of(wire, ash_encode(&rstack, wire, sizeof wire)));
    ck_assert(ash_next(&a, now_ms, &r, &e));
    ck_assert_int_eq(e.type, ASH_EV_CONNECTED);
}

/* The stick's end, as its side of the protocol is written: a window of five, repetition of
 * everything from the first unacknowledged one. Frames carry a number of four octets. */
enum { WINDOW = 5, NCP_T_ACK_MS = 1600 };

struct ncp {
    struct ash_deframer rx;
    uint32_t next, acked; /* numbers of frames; the line's are these modulo 8 */
    uint32_t heard;
    int64_t repeat_at_ms;
    bool rejecting, ack_due, nak_due;
};

struct line {
    struct rng rng;
    unsigned spoil_percent;
    uint64_t spoiled;
};

static size_t spoil(struct line *l, uint8_t *wire, size_t n)
{
    if (rng_below(&l->rng, 100) >= l->spoil_percent)
        return n;
    l->spoiled++;
    const size_t at = (size_t)rng_below(&l->rng, n);
    switch (rng_below(&l->rng, 5)) {
    case 0:
        wire[at] ^= (uint8_t)(1 + rng_below(&l->rng, 255));
        return n;
    case 1: /* a zero that is missing or added at the end is nothing that ASH's CRC could see */
        if (wire[at] == 0)
            return 0;
        memmove(wire + at, wire + at + 1, n - at - 1);
        return n - 1;
    case 2:
        memmove(wire + at + 1, wire + at, n - at);
        wire[at] = (uint8_t)(1 + rng_below(&l->rng, 255));
        return n + 1;
    case 3:
        wire[at] = 0x18;
        return n;
    default:
        return 0;
    }
}

static void ncp_says(struct ncp *ncp, struct line *l, const struct ash_frame *f, uint32_t *got)
{
    uint8_t wire[ASH_WIRE_MAX + 1];
    const size_t n = spoil(l, wire, ash_encode(f, wire, ASH_WIRE_MAX));
    struct reader r = rd_of(bytes_of(wire, n));
    struct ash_event e;
    (void)ncp;
    while (ash_next(&a, now_ms, &r, &e)) {
        ck_assert_int_eq(e.type, ASH_EV_DATA);
        struct reader d = rd_of(e.data);
        ck_assert_uint_eq(rd_u32(&d), (*got)++);
        ck_assert(rd_close(&d));
    }
}

static void ncp_send_data(struct ncp *ncp, struct line *l, uint32_t number, bool re_tx,
                          uint32_t *got)
{
    uint8_t data[4];
    struct writer w = wr_to(data, sizeof data);
    wr_u32(&w, number);
    const struct ash_frame f = {
        .type = ASH_DATA,
        .frm_num = number & 7,
        .ack_num = ncp->heard & 7,
        .re_tx = re_tx,
        .data = bytes_of(data, sizeof data),
    };
    ncp->ack_due = false;
    ncp_says(ncp, l, &f, got);
}

static void ncp_repeat(struct ncp *ncp, struct line *l, uint32_t *got)
{
    for (uint32_t i = ncp->acked; i != ncp->next; i++)
        ncp_send_data(ncp, l, i, true, got);
    ncp->repeat_at_ms = now_ms + NCP_T_ACK_MS;
}

static void ncp_acked(struct ncp *ncp, uint8_t ack_num)
{
    const uint32_t n = (ack_num - ncp->acked) & 7;
    if (n > ncp->next - ncp->acked)
        return;
    if (n > 0)
        ncp->repeat_at_ms = now_ms + NCP_T_ACK_MS;
    ncp->acked += n;
}

static bool ncp_hears(struct ncp *ncp, const struct ash_frame *f)
{
    if (f->type == ASH_DATA || f->type == ASH_ACK || f->type == ASH_NAK)
        ncp_acked(ncp, f->ack_num);
    if (f->type == ASH_DATA && f->frm_num == (ncp->heard & 7)) {
        struct reader d = rd_of(f->data);
        ck_assert_uint_eq(rd_u32(&d), ncp->heard++);
        ncp->ack_due = true;
        ncp->rejecting = false;
    } else if (f->type == ASH_DATA && f->re_tx) {
        ncp->ack_due = true;
    } else if (f->type == ASH_DATA) {
        ncp->nak_due = !ncp->rejecting;
        ncp->rejecting = true;
    }
    return f->type == ASH_NAK;
}

static void ncp_input(struct ncp *ncp, struct line *l, struct bytes in, uint32_t *got)
{
    uint8_t wire[ASH_WIRE_MAX + 2];
    memcpy(wire, in.data, in.len);
    struct reader r = rd_of(bytes_of(wire, spoil(l, wire, in.len)));
    struct ash_frame f;
    enum ash_found found;
    while ((found = ash_deframe(&ncp->rx, &r, &f)) != ASH_NOTHING) {
        if (found == ASH_FOUND && ncp_hears(ncp, &f))
            ncp_repeat(ncp, l, got);
        if (found == ASH_BAD_DATA && !ncp->rejecting)
            ncp->rejecting = ncp->nak_due = true;
    }
}

static void ncp_run(struct ncp *ncp, struct line *l, uint32_t wanted, uint32_t *got)
{
    if (ncp->next - ncp->acked < WINDOW && ncp->next < wanted) {
        if (ncp->next == ncp->acked)
            ncp->repeat_at_ms = now_ms + NCP_T_ACK_MS;
        ncp_send_data(ncp, l, ncp->next++, false, got);
    }
    if (ncp->next != ncp->acked && ncp->repeat_at_ms <= now_ms)
        ncp_repeat(ncp, l, got);
    if (ncp->ack_due || ncp->nak_due) {
        const struct ash_frame f = {.type = ncp->nak_due ? ASH_NAK : ASH_ACK,
                                    .ack_num = ncp->heard & 7};
        ncp->ack_due = ncp->nak_due = false;
        ncp_says(ncp, l, &f, got);
    }
}

START_TEST(over_a_bad_line_everything_arrives_once_and_in_order_both_ways)
{
    enum { WANTED = 3000 };

    connect_line();
    struct ncp ncp = {.repeat_at_ms = TIME_NEVER};
    /* Six spoiled in a row end the connection, which at this rate no seed should see. */
    struct line line = {.rng = seeded_rng(), .spoil_percent = 4};
    uint32_t sent = 0, got = 0;
    while (sent < WANTED || got < WANTED || !ash_ready(&a)) {
        uint8_t data[4];
        struct writer w = wr_to(data, sizeof data);
        wr_u32(&w, sent);
        if (sent < WANTED)
            sent += ash_send(&a, bytes_of(data, sizeof data));
        struct bytes out;
        while (ash_output(&a, now_ms, &out))
            ncp_input(&ncp, &line, out, &got);
        ncp_run(&ncp, &line, WANTED, &got);
        now_ms += 5;
        ck_assert_int_eq(ash_advance(&a, now_ms), ASH_EV_NONE);
        ck_assert_int_lt(now_ms, 3600 * 1000);
    }
    ck_assert_uint_eq(ncp.heard, WANTED);
    ck_assert_uint_eq(got, WANTED);
    ck_assert_uint_gt(line.spoiled, 300);
    printf("%llu of about %u frames spoiled, %llu repeated by us, %lld s\n",
           (unsigned long long)line.spoiled, 4 * WANTED, (unsigned long long)a.repeated,
           (long long)now_ms / 1000);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("ash_pair");
    TCase *t = tcase_create("pair");
    tcase_add_test(t, over_a_bad_line_everything_arrives_once_and_in_order_both_ways);
    suite_add_tcase(s, t);
    return run_suite(s);
}
