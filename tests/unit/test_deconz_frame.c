/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of ConBee and RaspBee: vectors of the protocol reference (K.4), made with a host
 * implementation that nobody here wrote, and what becomes of them on a bad line.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

#include "radio/stick/deconz_frame.h"
#include "unit/seed.h"
#include "unit/suite.h"

/* clang-format off */
static const char *const vectors[] = {
    "C0 0D 01 00 09 00 00 00 00 00 E9 FF C0",
    "C0 07 02 00 08 00 00 00 00 EF FF C0",
    "C0 0A 03 00 08 00 01 00 01 E9 FF C0",
    "C0 0A 04 00 09 00 02 00 18 00 CF FF C0",
    "C0 0B 05 00 0C 00 05 00 26 58 02 00 00 5F FF C0",
    "C0 0B 06 00 09 00 02 00 21 3C 87 FF C0",
    "C0 0B 07 00 0C 00 05 00 0A 00 80 00 00 53 FF C0",
    "C0 0B 08 00 0A 00 03 00 05 62 1A 5F FF C0",
    "C0 0B 09 00 09 00 02 00 15 01 CB FF C0",
    "C0 0B 0A 00 15 00 0E 00 13 00 E8 05 C1 01 00 00 01 11 00 01 11 00 E2 FD C0",
    "C0 08 0B 00 06 00 00 E7 FF C0",
    "C0 08 0C 00 06 00 02 E4 FF C0",
    "C0 12 0D 00 19 00 12 00 01 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00 78 FC C0",
    "C0 12 0E 00 19 00 12 00 02 00 02 FD FF FF 05 C1 11 00 E8 03 00 03 02 01 00 01 ED FA C0",
    "C0 12 0F 00 25 00 1E 00 03 00 03 AA 2B 52 40 00 A2 13 00 E8 05 C1 11 00 E8 09 00 09 0C 00 00 11 00 00 DB DC DB DD 04 00 05 F9 C0",
    "C0 17 10 00 08 00 01 00 01 CF FF C0",
    "C0 04 11 00 07 00 00 00 E4 FF C0",
    "C0 0D 01 00 09 00 00 07 78 26 44 FF C0",
    "C0 07 02 00 08 00 22 00 00 CD FF C0",
    "C0 0E 21 00 07 00 2A 00 A0 FF C0",
    "C0 0A 03 00 10 00 09 00 01 11 22 33 44 FF FF 2E 21 E2 FC C0",
    "C0 0A 03 00 09 00 02 00 1C 0F BD FF C0",
    "C0 0B 05 00 08 00 01 00 26 C1 FF C0",
    "C0 08 0C 00 06 00 02 E4 FF C0",
    "C0 12 0D 00 09 00 02 00 22 01 B3 FF C0",
    "C0 12 0D 02 09 00 02 00 02 01 D1 FF C0",
    "C0 04 11 00 13 00 0C 00 22 01 02 3B 4A E8 E8 00 00 00 00 00 52 FD C0",
    "C0 04 11 00 13 00 0C 00 22 02 02 3B 4A E8 E8 A7 00 00 00 00 AA FC C0",
    "C0 17 10 00 26 00 1F 00 22 02 00 00 E8 02 3B 4A E8 05 C1 11 00 08 00 08 04 04 01 00 3C 6E 31 00 AF C8 A2 00 01 02 D8 5A F8 C0",
};

/* clang-format on */

enum { VECTORS = sizeof vectors / sizeof vectors[0], WIRE = 128 };

static size_t octets_of(const char *hex, uint8_t out[WIRE])
{
    size_t n = 0;
    for (char *end; *hex != '\0'; hex = end) {
        out[n++] = (uint8_t)strtoul(hex, &end, 16);
        ck_assert_uint_lt(n, WIRE);
    }
    return n;
}

/* Feeds octets; how many frames came, and the last one's encoding. */
static unsigned feed(struct deconz_decoder *d, const uint8_t *in, size_t len, uint8_t last[WIRE],
                     size_t *last_len)
{
    unsigned frames = 0;
    for (size_t i = 0; i < len; i++) {
        struct deconz_frame f;
        if (deconz_decode(d, in[i], &f) != DECONZ_FRAME)
            continue;
        frames++;
        *last_len = deconz_encode(&f, last, WIRE);
    }
    return frames;
}

START_TEST(each_vector_is_decoded_and_encoded_to_the_same_octets)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct deconz_decoder d = {.len = 0};
    const size_t len = octets_of(vectors[_i], wire);
    ck_assert_uint_eq(feed(&d, wire, len, again, &again_len), 1);
    ck_assert_uint_eq(again_len, len);
    ck_assert_mem_eq(again, wire, len);
}

END_TEST

START_TEST(an_octet_that_was_altered_is_noticed_and_the_next_frame_is_decoded)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    const size_t len = octets_of(vectors[_i], wire);
    for (size_t at = 0; at < len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            uint8_t bad[WIRE];
            struct deconz_decoder d = {.len = 0};
            memcpy(bad, wire, len);
            bad[at] ^= (uint8_t)(1U << bit);
            /* A frame without its first delimiter is whole all the same. */
            const unsigned frames = feed(&d, bad, len, again, &again_len);
            ck_assert_msg(frames == 0 || at == 0, "octet %zu, bit %u", at, bit);
            ck_assert_uint_ge(feed(&d, wire, len, again, &again_len), 1);
            ck_assert_mem_eq(again, wire, len);
        }
    }
}

END_TEST

START_TEST(frames_may_be_cut_merged_and_behind_garbage)
{
    uint8_t wire[WIRE];
    uint8_t other[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct rng rng = seeded_rng();
    const size_t len = octets_of(vectors[_i], wire);
    const size_t other_len = octets_of(vectors[(_i + 7) % VECTORS], other);
    for (size_t cut = 0; cut <= len; cut++) {
        struct deconz_decoder d = {.len = 0};
        uint8_t garbage[40];
        for (size_t i = 0; i < sizeof garbage; i++)
            garbage[i] = (uint8_t)rng_next(&rng);
        feed(&d, garbage, sizeof garbage, again, &again_len);
        ck_assert_uint_eq(feed(&d, wire, cut, again, &again_len) +
                              feed(&d, wire + cut, len - cut, again, &again_len),
                          1);
        ck_assert_mem_eq(again, wire, len);
        ck_assert_uint_eq(feed(&d, other, other_len, again, &again_len), 1);
        ck_assert_mem_eq(again, other, other_len);
    }
}

END_TEST

START_TEST(after_ten_million_random_octets_a_frame_is_decoded)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct rng rng = seeded_rng();
    struct deconz_decoder d = {.len = 0};
    const size_t len = octets_of(vectors[0], wire);
    for (unsigned round = 0; round < 1000; round++) {
        for (unsigned i = 0; i < 10000; i += 8) {
            const uint64_t r = rng_next(&rng);
            uint8_t octets[8];
            memcpy(octets, &r, sizeof r);
            feed(&d, octets, sizeof octets, again, &again_len);
        }
        ck_assert_uint_ge(feed(&d, wire, len, again, &again_len), 1);
        ck_assert_mem_eq(again, wire, len);
    }
}

END_TEST

START_TEST(what_is_too_short_too_long_or_badly_escaped_is_no_frame)
{
    static const char *const bad[] = {
        "C0 C0 C0",                                  /* empty ones are nothing at all */
        "C0 0D 01 00 09 00 C0",                      /* shorter than it says */
        "C0 0D 01 00 09 00 00 00 00 00 DB 01 FF C0", /* escape of nothing */
        "C0 0D 01 00 09 00 00 00 00 00 E9 DB C0",    /* ends in an escape */
        "C0 0D 01 00 04 00 EE FF C0",                /* shorter than its own head */
    };
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct deconz_decoder d = {.len = 0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const size_t len = octets_of(bad[i], wire);
        ck_assert_msg(feed(&d, wire, len, again, &again_len) == 0, "%s", bad[i]);
    }
    const uint8_t octet = 0x55;
    for (unsigned i = 0; i < 2 * DECONZ_FRAME_MAX; i++)
        ck_assert_uint_eq(feed(&d, &octet, 1, again, &again_len), 0);
    const size_t len = octets_of(vectors[0], wire);
    ck_assert_uint_eq(feed(&d, wire, len, again, &again_len), 1);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("deconz_frame");
    TCase *tc = tcase_create("deconz_frame");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, each_vector_is_decoded_and_encoded_to_the_same_octets, 0, VECTORS);
    tcase_add_loop_test(tc, an_octet_that_was_altered_is_noticed_and_the_next_frame_is_decoded, 0,
                        VECTORS);
    tcase_add_loop_test(tc, frames_may_be_cut_merged_and_behind_garbage, 0, VECTORS);
    tcase_add_test(tc, after_ten_million_random_octets_a_frame_is_decoded);
    tcase_add_test(tc, what_is_too_short_too_long_or_badly_escaped_is_no_frame);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
