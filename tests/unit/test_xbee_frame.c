/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XBee frames: vectors of the protocol reference (K.1), from Digi's manuals and from a host
 * implementation that nobody here wrote, and what becomes of them on a bad line.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

#include "radio/stick/xbee_frame.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { ONE = 1, TWO = 2, BOTH = 3, WIRE = 256 };

struct vector {
    unsigned modes;
    const char *hex;
};

/* clang-format off */
static const struct vector vectors[] = {
    {BOTH, "7E 00 0B 01 87 12 34 00 54 78 44 61 74 61 EB"},
    {BOTH, "7E 00 0E 01 00 FF FF 00 42 72 6F 61 64 63 61 73 74 6D"},
    {BOTH, "7E 00 0B 81 12 34 5E 01 54 78 44 61 74 61 93"},
    {ONE, "7E 00 07 8B 01 7D 84 00 00 01 71"},
    {ONE, "7E 00 11 10 01 00 00 00 00 00 00 FF FF FF FE 00 00 03 01 00 EF"},
    {TWO, "7E 00 7D 31 10 01 00 00 00 00 00 00 FF FF FF FE 00 00 03 01 00 EF"},
    {ONE, "7E 00 11 10 02 00 13 A2 00 40 52 2B AA 7D 84 00 00 03 05 00 C8"},
    {TWO, "7E 00 7D 31 10 02 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 03 05 00 C8"},
    {ONE, "7E 00 19 10 11 00 13 A2 00 40 52 2B AA FF FE 00 40 0B 0C 00 00 11 00 00 7E 7D 11 13 3E"},
    {TWO, "7E 00 19 10 7D 31 00 7D 33 A2 00 40 52 2B AA FF FE 00 40 0B 0C 00 00 7D 31 00 00 7D 5E 7D 5D 7D 31 7D 33 3E"},
    {ONE, "7E 00 16 11 03 00 13 A2 00 40 52 2B AA 7D 84 E8 E8 00 11 C1 05 00 00 02 17 0E"},
    {TWO, "7E 00 16 7D 31 03 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 E8 E8 00 7D 31 C1 05 00 00 02 17 0E"},
    {BOTH, "7E 00 04 08 52 4E 50 07"},
    {BOTH, "7E 00 05 08 01 41 50 02 63"},
    {BOTH, "7E 00 0E 00 04 00 00 00 00 00 00 FF FF 00 03 02 01 F7"},
    {ONE, "7E 00 07 01 05 00 11 00 02 17 CF"},
    {TWO, "7E 00 07 01 05 00 7D 31 00 02 17 CF"},
    {ONE, "7E 00 0F 90 00 13 A2 00 40 52 2B AA 7D 84 02 03 01 00 4C"},
    {TWO, "7E 00 0F 90 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 02 03 01 00 4C"},
    {ONE, "7E 00 14 90 00 13 A2 00 40 52 2B AA 7D 84 01 08 04 04 01 00 3C 6E 31 65"},
    {TWO, "7E 00 14 90 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 01 08 04 04 01 00 3C 6E 31 65"},
    {ONE, "7E 00 14 91 00 13 A2 00 40 52 2B AA 7D 84 E8 E8 00 11 C1 05 01 02 16 91"},
    {TWO, "7E 00 14 91 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 E8 E8 00 7D 31 C1 05 01 02 16 91"},
    {ONE, "7E 00 0D 80 00 13 A2 00 40 0A 01 27 28 00 02 16 18"},
    {TWO, "7E 00 0D 80 00 7D 33 A2 00 40 0A 01 27 28 00 02 16 18"},
    {ONE, "7E 00 08 81 00 11 2D 02 03 01 00 3A"},
    {TWO, "7E 00 08 81 00 7D 31 2D 02 03 01 00 3A"},
    {ONE, "7E 00 07 8B 02 7D 84 00 00 00 71"},
    {TWO, "7E 00 07 8B 02 7D 5D 84 00 00 00 71"},
    {BOTH, "7E 00 07 8B 02 FF FD 02 24 03 4D"},
    {BOTH, "7E 00 07 8B 05 FF FD 00 74 00 FF"},
    {ONE, "7E 00 07 8B 06 7D 84 02 21 00 4A"},
    {TWO, "7E 00 07 8B 06 7D 5D 84 02 21 00 4A"},
    {BOTH, "7E 00 03 89 05 00 71"},
    {BOTH, "7E 00 03 89 05 01 70"},
    {BOTH, "7E 00 03 89 05 02 6F"},
    {BOTH, "7E 00 03 89 05 03 6E"},
    {BOTH, "7E 00 02 8A 06 6F"},
    {BOTH, "7E 00 02 8A 00 75"},
    {BOTH, "7E 00 02 8A 02 73"},
    {BOTH, "7E 00 07 88 52 4E 50 00 00 FF 88"},
    {BOTH, "7E 00 05 88 01 41 50 03 E2"},
    {ONE, "7E 00 09 88 07 53 48 00 00 13 A2 00 20"},
    {TWO, "7E 00 09 88 07 53 48 00 00 7D 33 A2 00 20"},
    {BOTH, "7E 00 09 88 08 53 4C 00 40 52 2B AA 69"},
    {ONE, "7E 00 24 95 00 13 A2 00 40 52 2B AA 7D 84 02 7D 84 00 13 A2 00 40 52 2B AA 4E 4F 44 45 31 00 FF FE 01 01 C1 05 10 1E E4"},
    {TWO, "7E 00 24 95 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 02 7D 5D 84 00 7D 33 A2 00 40 52 2B AA 4E 4F 44 45 31 00 FF FE 01 01 C1 05 10 1E E4"},
};

/* clang-format on */

enum { VECTORS = sizeof vectors / sizeof vectors[0] };

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
static unsigned feed(struct xbee_decoder *d, const uint8_t *in, size_t len, uint8_t last[WIRE],
                     size_t *last_len)
{
    unsigned frames = 0;
    struct bytes content;
    xbee_feed(d, bytes_of(in, len));
    while (xbee_next(d, &content)) {
        frames++;
        *last_len = xbee_encode(content, d->escaped, last, WIRE);
    }
    return frames;
}

/* As the driver does when nothing follows. */
static unsigned settle(struct xbee_decoder *d, uint8_t last[WIRE], size_t *last_len)
{
    unsigned frames = 0;
    struct bytes content;
    while (xbee_is_partial(d)) {
        xbee_give_up(d);
        while (xbee_next(d, &content)) {
            frames++;
            *last_len = xbee_encode(content, d->escaped, last, WIRE);
        }
    }
    return frames;
}

static struct xbee_decoder decoder(unsigned mode)
{
    return (struct xbee_decoder){.escaped = mode == TWO};
}

START_TEST(each_vector_is_decoded_and_encoded_to_the_same_octets)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    const size_t len = octets_of(vectors[_i].hex, wire);
    for (unsigned mode = ONE; mode <= TWO; mode++) {
        if ((vectors[_i].modes & mode) == 0)
            continue;
        struct xbee_decoder d = decoder(mode);
        ck_assert_uint_eq(feed(&d, wire, len, again, &again_len), 1);
        ck_assert_uint_eq(again_len, len);
        ck_assert_mem_eq(again, wire, len);
        ck_assert_uint_eq(d.bad + d.skipped, 0);
        for (size_t i = 0; i < len; i++) /* octet by octet */
            ck_assert_uint_eq(feed(&d, wire + i, 1, again, &again_len), i + 1 == len);
    }
}

END_TEST

START_TEST(an_altered_octet_is_noticed_and_the_next_frame_is_decoded)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    const size_t len = octets_of(vectors[_i].hex, wire);
    for (unsigned mode = ONE; mode <= TWO; mode++) {
        for (size_t at = 0; (vectors[_i].modes & mode) != 0 && at < len; at++) {
            for (unsigned bit = 0; bit < 8; bit++) {
                uint8_t bad[WIRE];
                struct xbee_decoder d = decoder(mode);
                memcpy(bad, wire, len);
                bad[at] ^= (uint8_t)(1U << bit);
                ck_assert_uint_eq(feed(&d, bad, len, again, &again_len), 0);
                unsigned frames = feed(&d, wire, len, again, &again_len);
                frames += settle(&d, again, &again_len);
                ck_assert_uint_ge(frames, 1);
                ck_assert_uint_eq(again_len, len);
                ck_assert_mem_eq(again, wire, len);
            }
        }
    }
}

END_TEST

START_TEST(frames_are_found_behind_garbage_and_behind_each_other)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct rng rng = seeded_rng();
    const size_t len = octets_of(vectors[_i].hex, wire);
    const unsigned mode = (vectors[_i].modes & TWO) != 0 ? TWO : ONE;
    struct xbee_decoder d = decoder(mode);
    for (unsigned round = 0; round < 200; round++) {
        uint8_t garbage[64];
        const size_t n = rng_below(&rng, sizeof garbage);
        for (size_t i = 0; i < n; i++)
            garbage[i] = (uint8_t)rng_next(&rng);
        feed(&d, garbage, n, again, &again_len);
        feed(&d, wire, len / 2, again, &again_len);
        unsigned frames = feed(&d, wire + len / 2, len - len / 2, again, &again_len);
        frames += settle(&d, again, &again_len);
        ck_assert_uint_ge(frames, 1);
        ck_assert_mem_eq(again, wire, len);
    }
}

END_TEST

START_TEST(after_ten_million_random_octets_a_frame_is_decoded)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct rng rng = seeded_rng();
    struct xbee_decoder d = decoder((unsigned)_i);
    const size_t len = octets_of("7E 00 07 8B 02 FF FD 02 24 03 4D", wire);
    for (unsigned round = 0; round < 500; round++) {
        for (unsigned i = 0; i < 20; i++) {
            uint8_t octets[500];
            for (size_t k = 0; k < sizeof octets; k += 4) {
                const uint32_t r = (uint32_t)rng_next(&rng);
                memcpy(octets + k, &r, sizeof r);
            }
            feed(&d, octets, sizeof octets, again, &again_len);
        }
        unsigned frames = feed(&d, wire, len, again, &again_len);
        frames += settle(&d, again, &again_len);
        ck_assert_uint_ge(frames, 1);
        ck_assert_mem_eq(again, wire, len);
    }
}

END_TEST

START_TEST(in_mode_2_a_start_aborts_what_was_before)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct xbee_decoder d = decoder(TWO);
    const size_t len = octets_of("7E 00 03 89 7E 00 03 89 05 00 71", wire);
    ck_assert_uint_eq(feed(&d, wire, len, again, &again_len), 1);
    ck_assert_uint_eq(again_len, 7);
    ck_assert_uint_eq(d.bad, 1);
}

END_TEST

START_TEST(a_length_beyond_every_module_is_no_frame)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct xbee_decoder d = decoder(ONE);
    const size_t len = octets_of("7E 02 01 7E 00 00 7E 00 03 89 05 00 71", wire);
    ck_assert_uint_eq(feed(&d, wire, len, again, &again_len), 1);
    ck_assert_uint_eq(d.bad, 2);
}

END_TEST

START_TEST(a_wrong_checksum_is_rejected)
{
    uint8_t wire[WIRE];
    uint8_t again[WIRE];
    size_t again_len = 0;
    struct xbee_decoder d = decoder(TWO);
    const size_t len = octets_of("7E 00 03 89 05 00 72", wire);
    ck_assert_uint_eq(feed(&d, wire, len, again, &again_len), 0);
    ck_assert_uint_eq(d.bad, 1);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("xbee_frame");
    TCase *tc = tcase_create("xbee_frame");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, each_vector_is_decoded_and_encoded_to_the_same_octets, 0, VECTORS);
    tcase_add_loop_test(tc, an_altered_octet_is_noticed_and_the_next_frame_is_decoded, 0, VECTORS);
    tcase_add_loop_test(tc, frames_are_found_behind_garbage_and_behind_each_other, 0, VECTORS);
    tcase_add_loop_test(tc, after_ten_million_random_octets_a_frame_is_decoded, ONE, BOTH);
    tcase_add_test(tc, in_mode_2_a_start_aborts_what_was_before);
    tcase_add_test(tc, a_length_beyond_every_module_is_no_frame);
    tcase_add_test(tc, a_wrong_checksum_is_rejected);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
