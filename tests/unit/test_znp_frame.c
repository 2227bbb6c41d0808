/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The framer of the ZNP driver on bad lines: cut, merged, damaged, buried in noise. One octet of
 * checksum lets a 256th of the false frames pass; what must hold without exception is that a frame
 * behind a moment of silence is found.
 */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "radio/stick/znp_frame.h"
#include "radio/stick/znp_msg.h"
#include "unit/golden.h"
#include "unit/seed.h"
#include "unit/suite.h"

static struct golden_file golden;

static bool is_frame(const struct golden *v)
{
    return v->expect[0][0] != '!';
}

/* What came out of the framer. */
struct heard {
    unsigned n;
    struct znp_frame last;
    uint8_t data[ZNP_DATA_MAX];
};

static void drain(struct znp_framer *f, struct heard *h)
{
    struct znp_frame frame;
    while (znp_framer_next(f, &frame)) {
        memcpy(h->data, frame.data.data, frame.data.len);
        h->last = (struct znp_frame){.cmd = frame.cmd, .data = bytes_of(h->data, frame.data.len)};
        h->n++;
    }
}

static void feed(struct znp_framer *f, struct bytes in, struct heard *h)
{
    while (in.len > 0) {
        const size_t n = znp_framer_put(f, in);
        ck_assert_uint_gt(n, 0);
        in = bytes_of(in.data + n, in.len - n);
        drain(f, h);
    }
}

/* The driver's inter-octet deadline. */
static void silence(struct znp_framer *f, struct heard *h)
{
    while (znp_framer_partial(f)) {
        znp_framer_give_up(f);
        drain(f, h);
    }
}

static bool last_is(const struct heard *h, const struct golden *v)
{
    return h->n > 0 && h->last.cmd == (v->octets[2] << 8 | v->octets[3]) &&
           bytes_equal(h->last.data, bytes_of(v->octets + 4, v->len - 5));
}

START_TEST(a_frame_may_be_cut_anywhere)
{
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden *v = &golden.vectors[i];
        for (size_t cut = 0; is_frame(v) && cut <= v->len; cut++) {
            struct znp_framer f = {0};
            struct heard h = {0};
            feed(&f, bytes_of(v->octets, cut), &h);
            ck_assert_uint_eq(h.n, cut == v->len);
            feed(&f, bytes_of(v->octets + cut, v->len - cut), &h);
            ck_assert_uint_eq(h.n, 1);
            ck_assert(last_is(&h, v));
            ck_assert_uint_eq(f.skipped + f.bad, 0);
        }
    }
}

END_TEST

START_TEST(frames_may_come_in_one_piece)
{
    uint8_t all[8192];
    size_t len = 0;
    unsigned frames = 0;
    const struct golden *last = NULL;
    for (size_t i = 0; i < golden.count; i++) {
        if (!is_frame(&golden.vectors[i]))
            continue;
        last = &golden.vectors[i];
        memcpy(all + len, last->octets, last->len);
        len += last->len;
        frames++;
    }
    for (size_t piece = 1; piece <= 1024; piece = piece * 2 + 1) {
        struct znp_framer f = {0};
        struct heard h = {0};
        for (size_t at = 0; at < len; at += piece)
            feed(&f, bytes_of(all + at, piece < len - at ? piece : len - at), &h);
        ck_assert_uint_eq(h.n, frames);
        ck_assert(last_is(&h, last));
        ck_assert_uint_eq(f.skipped + f.bad, 0);
    }
}

END_TEST

/* Each octet of each frame in each wrong form; behind it, after silence, a good frame. */
START_TEST(a_damaged_frame_never_costs_the_next_one_behind_silence)
{
    const struct golden *next = &golden.vectors[(size_t)_i * 11 % golden.count];
    if (!is_frame(next))
        return;
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden *v = &golden.vectors[i];
        uint8_t bad[ZNP_FRAME_MAX];
        memcpy(bad, v->octets, v->len);
        for (size_t at = 0; at < v->len; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                struct znp_framer f = {0};
                struct heard h = {0};
                bad[at] ^= (uint8_t)(1U << bit);
                feed(&f, bytes_of(bad, v->len), &h);
                bad[at] ^= (uint8_t)(1U << bit);
                silence(&f, &h);
                const unsigned before = h.n;
                feed(&f, bytes_of(next->octets, next->len), &h);
                ck_assert_uint_eq(h.n, before + 1);
                ck_assert(last_is(&h, next));
            }
        }
    }
}

END_TEST

/* Without silence only a damaged length (it may claim the next frame) may cost one, and then only
 * when the checksum happens to fit. */
START_TEST(a_damaged_frame_hardly_ever_costs_the_next_one)
{
    unsigned lost = 0, tried = 0;
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden *v = &golden.vectors[i];
        const struct golden *next = &golden.vectors[(i * 7 + 3) % golden.count];
        if (!is_frame(v) || !is_frame(next))
            continue;
        for (size_t at = 0; at < v->len; at++) {
            for (unsigned value = (unsigned)at % 3; value < 256; value += 3) {
                uint8_t bad[ZNP_FRAME_MAX];
                struct znp_framer f = {0};
                struct heard h = {0};
                memcpy(bad, v->octets, v->len);
                if (bad[at] == value)
                    continue;
                bad[at] = (uint8_t)value;
                feed(&f, bytes_of(bad, v->len), &h);
                feed(&f, bytes_of(next->octets, next->len), &h);
                silence(&f, &h);
                tried++;
                lost += !last_is(&h, next);
                ck_assert_msg(at == 1 || last_is(&h, next), "vector %s, octet %zu, value %02X",
                              v->number, at, value);
            }
        }
    }
    ck_assert_uint_gt(tried, 50000);
    ck_assert_uint_lt(lost * 1000, tried);
}

END_TEST

START_TEST(a_damaged_frame_with_one_bit_turned_is_never_taken)
{
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden *v = &golden.vectors[i];
        for (size_t at = 2; is_frame(v) && at < v->len; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                uint8_t bad[ZNP_FRAME_MAX];
                struct znp_framer f = {0};
                struct heard h = {0};
                memcpy(bad, v->octets, v->len);
                bad[at] ^= (uint8_t)(1U << bit);
                feed(&f, bytes_of(bad, v->len), &h);
                silence(&f, &h);
                ck_assert_uint_eq(h.n, 0);
                ck_assert_uint_gt(f.bad, 0);
                ck_assert_uint_eq(f.skipped, v->len);
            }
        }
    }
}

END_TEST

START_TEST(start_octets_before_a_frame_do_not_hide_it)
{
    for (size_t i = 0; i < golden.count; i++) {
        const struct golden *v = &golden.vectors[i];
        for (unsigned n = 1; is_frame(v) && n < 300; n += 37) {
            uint8_t starts[300];
            struct znp_framer f = {0};
            struct heard h = {0};
            memset(starts, ZNP_START, sizeof starts);
            feed(&f, bytes_of(starts, n), &h);
            feed(&f, bytes_of(v->octets, v->len), &h);
            ck_assert_uint_eq(h.n, 1); /* FE is no length: none of them claims anything */
            ck_assert(last_is(&h, v));
        }
    }
}

END_TEST

/* Ten million random octets with frames among them. */
START_TEST(frames_are_found_in_ten_million_octets_of_noise)
{
    enum { NOISE = 10 * 1000 * 1000 };

    struct rng rng = seeded_rng();
    struct znp_framer f = {0};
    struct heard h = {0};
    unsigned sent = 0, at_once = 0;
    for (size_t noise = 0; noise < NOISE;) {
        uint8_t octets[1000];
        const size_t n = 1 + rng_below(&rng, sizeof octets);
        for (size_t i = 0; i < n; i++)
            octets[i] = (uint8_t)rng_next(&rng);
        feed(&f, bytes_of(octets, n), &h);
        noise += n;
        const struct golden *v = &golden.vectors[rng_below(&rng, golden.count)];
        if (!is_frame(v))
            continue;
        const bool quiet = rng_below(&rng, 4) == 0;
        if (quiet)
            silence(&f, &h);
        feed(&f, bytes_of(v->octets, v->len), &h);
        if (quiet)
            ck_assert(last_is(&h, v));
        else
            silence(&f, &h);
        sent++;
        at_once += last_is(&h, v);
    }
    ck_assert_uint_gt(sent, 15000);
    /* Noise that looks like the start of a frame, claims the real one and has the right checksum. */
    ck_assert_uint_lt((sent - at_once) * 500, sent);
    ck_assert_uint_lt(h.n - sent, NOISE / 65536); /* and what noise makes up is rare */
}

END_TEST

START_TEST(what_does_not_fit_a_frame_is_not_written)
{
    static const uint8_t data[ZNP_DATA_MAX + 1];
    uint8_t out[ZNP_FRAME_MAX + 1];
    struct writer w = wr_to(out, sizeof out);
    znp_frame_write(&w, ZNP_PING, bytes_of(data, ZNP_DATA_MAX));
    ck_assert_uint_eq(wr_close(&w), ZNP_FRAME_MAX);
    w = wr_to(out, sizeof out);
    znp_frame_write(&w, ZNP_PING, bytes_of(data, sizeof data));
    ck_assert(w.failed);
    struct znp_framer f = {0};
    ck_assert(!znp_framer_partial(&f));
    znp_framer_give_up(&f);
    ck_assert_uint_eq(f.bad, 0);
}

END_TEST

int main(void)
{
    golden = golden_load(GOLDEN);
    Suite *suite = suite_create("znp_frame");
    TCase *framer = tcase_create("framer");
    tcase_set_timeout(framer, 30);
    tcase_add_test(framer, a_frame_may_be_cut_anywhere);
    tcase_add_test(framer, frames_may_come_in_one_piece);
    tcase_add_loop_test(framer, a_damaged_frame_never_costs_the_next_one_behind_silence, 0, 7);
    tcase_add_test(framer, a_damaged_frame_hardly_ever_costs_the_next_one);
    tcase_add_test(framer, a_damaged_frame_with_one_bit_turned_is_never_taken);
    tcase_add_test(framer, start_octets_before_a_frame_do_not_hide_it);
    tcase_add_test(framer, frames_are_found_in_ten_million_octets_of_noise);
    tcase_add_test(framer, what_does_not_fit_a_frame_is_not_written);
    suite_add_tcase(suite, framer);
    const int result = run_suite(suite);
    golden_free(&golden);
    return result;
}
