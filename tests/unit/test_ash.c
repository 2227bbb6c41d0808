/* SPDX-License-Identifier: Apache-2.0 */
/* ASH frames: the golden vectors in both directions, and what disturbances do to a stream. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "base/rng.h"

#include "radio/stick/ash.h"
#include "unit/golden.h"
#include "unit/seed.h"
#include "unit/suite.h"

static struct golden_file vectors;

static void load(void)
{
    vectors = golden_load(GOLDEN);
    ck_assert_uint_gt(vectors.count, 140);
}

static void unload(void)
{
    golden_free(&vectors);
}

/* A frame as the golden file writes it. */
static void print(const struct ash_frame *f, char *out, size_t size)
{
    static const char *const names[] = {"DATA", "ACK", "NAK", "RST", "RSTACK", "ERROR"};
    size_t n = (size_t)snprintf(out, size, "%s", names[f->type]);
    if (f->type == ASH_DATA) {
        n += (size_t)snprintf(out + n, size - n, " frm=%u ack=%u retx=%u data=", f->frm_num,
                              f->ack_num, f->re_tx);
        for (size_t i = 0; i < f->data.len; i++)
            n += (size_t)snprintf(out + n, size - n, "%02X", f->data.data[i]);
    } else if (f->type == ASH_ACK || f->type == ASH_NAK) {
        snprintf(out + n, size - n, " ack=%u%s", f->ack_num, f->not_ready ? " notready" : "");
    } else if (f->type != ASH_RST) {
        snprintf(out + n, size - n, " version=%u code=%u", f->version, f->code);
    }
}

static void is_vector(const struct ash_frame *f, const struct golden *v)
{
    char text[600];
    print(f, text, sizeof text);
    ck_assert_msg(strcmp(text, v->expect[0]) == 0, "%s: %s", v->number, text);
}

static void decodes(struct ash_deframer *d, struct bytes in, const struct golden *v)
{
    struct reader r = rd_of(in);
    struct ash_frame f;
    ck_assert_int_eq(ash_deframe(d, &r, &f), ASH_FOUND);
    is_vector(&f, v);
    ck_assert_uint_eq(rd_left(&r), 0);
}

START_TEST(every_vector_decodes_and_encodes)
{
    struct ash_deframer d = {.len = 0};
    for (size_t i = 0; i < vectors.count; i++) {
        const struct golden *v = &vectors.vectors[i];
        struct reader r = rd_of(bytes_of(v->octets, v->len));
        struct ash_frame f;
        uint8_t wire[ASH_WIRE_MAX];
        ck_assert_int_eq(ash_deframe(&d, &r, &f), ASH_FOUND);
        is_vector(&f, v);
        const size_t n = ash_encode(&f, wire, sizeof wire);
        ck_assert_msg(bytes_equal(bytes_of(wire, n), bytes_of(v->octets, v->len)), "%s", v->number);
        ck_assert_uint_eq(ash_encode(&f, wire, n - 1), 0);
    }
    ck_assert_uint_eq(d.skipped_bytes, 0);
}

END_TEST

START_TEST(every_vector_decodes_when_cut_anywhere)
{
    for (size_t i = 0; i < vectors.count; i++) {
        const struct golden *v = &vectors.vectors[i];
        for (size_t cut = 0; cut < v->len; cut++) {
            struct ash_deframer d = {.len = 0};
            struct reader first = rd_of(bytes_of(v->octets, cut));
            struct ash_frame f;
            ck_assert_int_eq(ash_deframe(&d, &first, &f), ASH_NOTHING);
            decodes(&d, bytes_of(v->octets + cut, v->len - cut), v);
        }
    }
}

END_TEST

/* All vectors behind one another. */
static struct bytes all_of_them(uint8_t *room, size_t size)
{
    struct writer w = wr_to(room, size);
    for (size_t i = 0; i < vectors.count; i++)
        wr_bytes(&w, bytes_of(vectors.vectors[i].octets, vectors.vectors[i].len));
    ck_assert(!w.failed);
    return bytes_of(room, w.len);
}

START_TEST(glued_vectors_decode_one_by_one_in_any_pieces)
{
    static uint8_t room[16384];
    const struct bytes all = all_of_them(room, sizeof room);
    for (size_t piece = 1; piece <= 64; piece++) {
        struct ash_deframer d = {.len = 0};
        size_t found = 0;
        for (size_t at = 0; at < all.len; at += piece) {
            const size_t n = all.len - at < piece ? all.len - at : piece;
            struct reader r = rd_of(bytes_of(all.data + at, n));
            struct ash_frame f;
            while (ash_deframe(&d, &r, &f) == ASH_FOUND)
                is_vector(&f, &vectors.vectors[found++]);
        }
        ck_assert_uint_eq(found, vectors.count);
    }
}

END_TEST

START_TEST(flow_control_octets_anywhere_change_nothing)
{
    for (size_t i = 0; i < vectors.count; i++) {
        const struct golden *v = &vectors.vectors[i];
        for (size_t at = 0; at < 2 * v->len; at++) {
            uint8_t room[ASH_WIRE_MAX + 1];
            struct writer w = wr_to(room, sizeof room);
            wr_bytes(&w, bytes_of(v->octets, at / 2));
            wr_u8(&w, at % 2 == 0 ? 0x11 : 0x13);
            wr_bytes(&w, bytes_of(v->octets + at / 2, v->len - at / 2));
            struct ash_deframer d = {.len = 0};
            decodes(&d, bytes_of(room, w.len), v);
        }
    }
}

END_TEST

START_TEST(a_cancel_forgets_what_came_and_is_no_error)
{
    const struct golden *v = &vectors.vectors[7];
    for (size_t cut = 0; cut < v->len; cut++) {
        uint8_t room[256];
        struct writer w = wr_to(room, sizeof room);
        wr_bytes(&w, bytes_of(v->octets, cut));
        wr_u8(&w, ASH_CANCEL);
        wr_bytes(&w, bytes_of(v->octets, v->len));
        struct ash_deframer d = {.len = 0};
        decodes(&d, bytes_of(room, w.len), v);
    }
}

END_TEST

START_TEST(a_substitute_spoils_the_frame_and_no_other)
{
    const struct golden *v = &vectors.vectors[7];
    for (size_t at = 0; at < v->len; at++) {
        uint8_t room[256];
        struct writer w = wr_to(room, sizeof room);
        wr_bytes(&w, bytes_of(v->octets, at));
        wr_u8(&w, 0x18);
        wr_bytes(&w, bytes_of(v->octets + at, v->len - at));
        struct ash_deframer d = {.len = 0};
        struct reader r = rd_of(bytes_of(room, w.len));
        struct ash_frame f;
        ck_assert_int_eq(ash_deframe(&d, &r, &f), at > 0 ? ASH_BAD_DATA : ASH_BAD);
        decodes(&d, bytes_of(v->octets, v->len), v);
    }
}

END_TEST

START_TEST(flags_and_wake_up_octets_between_frames_mean_nothing)
{
    const struct golden *v = &vectors.vectors[7];
    uint8_t room[64] = {0x7E, 0x7E, 0xFF, 0xFF, 0x7E, 0xFF, 0x7E, 0x7E};
    memcpy(room + 8, v->octets, v->len);
    struct ash_deframer d = {.len = 0};
    decodes(&d, bytes_of(room, 8 + v->len), v);
}

END_TEST

START_TEST(lengths_and_control_octets_that_ash_does_not_know_are_bad)
{
    static const struct {
        uint8_t octets[8];
        size_t len;
    } plain[] = {
        {{0x25, 1, 2},          3}, /* DATA too short */
        {{0x81, 0},             2}, /* ACK with data */
        {{0xC1, 2},             2}, /* RSTACK too short */
        {{0xC1, 2, 0x0B, 0},    4}, /* and too long */
        {{0xC0, 0},             2}, /* RST with data */
        {{0xC3, 2, 0x0B},       3}, /* nothing */
        {{0xE0},                1}, /* nothing */
        {{0xFE, 0x31, 0x32, 1}, 4}, /* nothing */
    };

    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        /* The CRC by its property: of the whole it is zero. Found by trying. */
        bool found = false;
        for (unsigned crc = 0; crc <= 0xFFFF; crc++) {
            uint8_t wire[32];
            size_t n = 0;
            struct ash_deframer d = {.len = 0};
            struct ash_frame f;
            uint8_t raw[10];
            memcpy(raw, plain[i].octets, plain[i].len);
            raw[plain[i].len] = (uint8_t)(crc >> 8);
            raw[plain[i].len + 1] = (uint8_t)crc;
            for (size_t k = 0; k < plain[i].len + 2; k++) {
                wire[n++] = 0x7D;
                wire[n++] = raw[k] ^ 0x20;
            }
            wire[n++] = 0x7E;
            struct reader r = rd_of(bytes_of(wire, n));
            found = found || ash_deframe(&d, &r, &f) == ASH_FOUND;
        }
        ck_assert_msg(!found, "number %zu", i);
    }
}

END_TEST

/* ASH has flags at the ends of frames only, so garbage reaches up to the next flag. */
START_TEST(after_any_corrupt_octet_what_follows_the_next_flag_decodes)
{
    const struct golden *b = &vectors.vectors[7], *c = &vectors.vectors[3];
    for (size_t i = 0; i < vectors.count; i++) {
        const struct golden *a = &vectors.vectors[i];
        for (size_t at = 0; at < a->len; at++) {
            for (unsigned flip = 1; flip < 256; flip += flip < 4 ? 1 : 9) {
                uint8_t room[ASH_WIRE_MAX];
                memcpy(room, a->octets, a->len);
                room[at] ^= (uint8_t)flip;
                struct ash_deframer d = {.len = 0};
                struct ash_frame f;
                struct reader r = rd_of(bytes_of(room, a->len));
                while (ash_deframe(&d, &r, &f) != ASH_NOTHING) {
                }
                const bool flag_lost = at == a->len - 1;
                r = rd_of(bytes_of(b->octets, b->len));
                const enum ash_found next = ash_deframe(&d, &r, &f);
                if (!flag_lost) {
                    ck_assert_msg(next == ASH_FOUND, "%s, octet %zu", a->number, at);
                    is_vector(&f, b);
                }
                decodes(&d, bytes_of(c->octets, c->len), c);
            }
        }
    }
}

END_TEST

enum { RANDOM_BYTES = 10 * 1000 * 1000 };

START_TEST(ten_million_random_octets_between_frames_hide_none)
{
    struct rng rng = seeded_rng();
    struct ash_deframer d = {.len = 0};
    struct ash_frame f;
    uint64_t sent = 0, strays = 0;
    for (size_t total = 0; total < RANDOM_BYTES; sent++) {
        uint8_t garbage[2048];
        const size_t n = (size_t)rng_below(&rng, sizeof garbage - 1);
        for (size_t i = 0; i < n; i++)
            garbage[i] = (uint8_t)rng_next(&rng);
        garbage[n] = 0x7E;
        total += n;
        struct reader r = rd_of(bytes_of(garbage, n + 1));
        enum ash_found found;
        while ((found = ash_deframe(&d, &r, &f)) != ASH_NOTHING)
            strays += found == ASH_FOUND;
        const struct golden *v = &vectors.vectors[rng_below(&rng, vectors.count)];
        decodes(&d, bytes_of(v->octets, v->len), v);
    }
    /* A CRC of 16 bits lets through one in 65536, and most of these are no frame. */
    printf("%llu frames between, %llu found in the garbage, %llu octets skipped\n",
           (unsigned long long)sent, (unsigned long long)strays,
           (unsigned long long)d.skipped_bytes);
    ck_assert_uint_lt(strays, 20);
}

END_TEST

START_TEST(the_longest_data_passes_and_one_octet_more_does_not)
{
    uint8_t data[ASH_DATA_MAX + 1], wire[ASH_WIRE_MAX];
    memset(data, 0x7E ^ 0x42, sizeof data);
    struct ash_frame f = {.type = ASH_DATA, .data = bytes_of(data, ASH_DATA_MAX)};
    const size_t n = ash_encode(&f, wire, sizeof wire);
    ck_assert_uint_gt(n, ASH_DATA_MAX);
    struct ash_deframer d = {.len = 0};
    struct reader r = rd_of(bytes_of(wire, n));
    struct ash_frame back;
    ck_assert_int_eq(ash_deframe(&d, &r, &back), ASH_FOUND);
    ck_assert(bytes_equal(back.data, f.data));
    f.data.len++;
    ck_assert_uint_eq(ash_encode(&f, wire, sizeof wire), 0);
    f.data.len = ASH_DATA_MIN - 1;
    ck_assert_uint_eq(ash_encode(&f, wire, sizeof wire), 0);

    /* A frame that never ends occupies no more than the buffer. */
    for (size_t i = 0; i < 3000; i++) {
        r = rd_of(bytes_of("\x55", 1));
        ck_assert_int_eq(ash_deframe(&d, &r, &back), ASH_NOTHING);
    }
    r = rd_of(bytes_of("\x7E", 1));
    ck_assert_int_eq(ash_deframe(&d, &r, &back), ASH_BAD_DATA);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("ash");
    TCase *t = tcase_create("frames");
    tcase_add_checked_fixture(t, load, unload);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, every_vector_decodes_and_encodes);
    tcase_add_test(t, every_vector_decodes_when_cut_anywhere);
    tcase_add_test(t, glued_vectors_decode_one_by_one_in_any_pieces);
    tcase_add_test(t, flow_control_octets_anywhere_change_nothing);
    tcase_add_test(t, a_cancel_forgets_what_came_and_is_no_error);
    tcase_add_test(t, a_substitute_spoils_the_frame_and_no_other);
    tcase_add_test(t, flags_and_wake_up_octets_between_frames_mean_nothing);
    tcase_add_test(t, lengths_and_control_octets_that_ash_does_not_know_are_bad);
    tcase_add_test(t, after_any_corrupt_octet_what_follows_the_next_flag_decodes);
    tcase_add_test(t, ten_million_random_octets_between_frames_hide_none);
    tcase_add_test(t, the_longest_data_passes_and_one_octet_more_does_not);
    suite_add_tcase(s, t);
    return run_suite(s);
}
