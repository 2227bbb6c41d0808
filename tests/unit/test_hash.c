/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-1-3 against a slow SipHash-c-d, written word by word from the paper. That one proves
 * itself with the published SipHash-2-4 value of the paper's appendix A.
 */
#include <string.h>

#include "base/hash.h"

#include "unit/seed.h"
#include "unit/suite.h"

enum { LONGEST = 300 };

static uint64_t turn(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void rounds(uint64_t v[4], unsigned n)
{
    while (n-- > 0) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = turn(v[1], 13);
        v[3] = turn(v[3], 16);
        v[1] ^= v[0];
        v[3] ^= v[2];
        v[0] = turn(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = turn(v[1], 17);
        v[3] = turn(v[3], 21);
        v[1] ^= v[2];
        v[3] ^= v[0];
        v[2] = turn(v[2], 32);
    }
}

static uint64_t siphash(unsigned c, unsigned d, uint64_t k0, uint64_t k1, const uint8_t *in,
                        size_t len)
{
    static const char constant[] = "somepseudorandomlygeneratedbytes";
    uint64_t v[4] = {0};
    for (unsigned i = 0; i < 32; i++)
        v[i / 8] |= (uint64_t)(uint8_t)constant[i] << (56 - 8 * (i % 8));
    v[0] ^= k0;
    v[1] ^= k1;
    v[2] ^= k0;
    v[3] ^= k1;
    /* The message, zeros, and the length in the last octet of the last word. */
    const size_t words = len / 8 + 1;
    for (size_t w = 0; w < words; w++) {
        uint64_t m = 0;
        for (size_t i = 0; i < 8; i++) {
            const size_t at = 8 * w + i;
            const uint64_t octet = at < len ? in[at] : at == 8 * words - 1 ? len & 0xFF : 0;
            m |= octet << (8 * i);
        }
        v[3] ^= m;
        rounds(v, c);
        v[0] ^= m;
    }
    v[2] ^= 0xFF;
    rounds(v, d);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

START_TEST(the_slow_one_gives_the_value_of_the_paper)
{
    uint8_t in[15];
    for (unsigned i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)i;
    ck_assert_uint_eq(siphash(2, 4, 0x0706050403020100U, 0x0f0e0d0c0b0a0908U, in, sizeof in),
                      0xa129ca6149be45e5U);
}

END_TEST

START_TEST(all_lengths_agree_with_the_slow_one)
{
    struct rng rng = seeded_rng();
    for (size_t len = 0; len <= LONGEST; len++) {
        for (unsigned repeat = 0; repeat < 8; repeat++) {
            const struct hash_seed seed = {rng_next(&rng), rng_next(&rng)};
            uint8_t *in = malloc(len);
            for (size_t i = 0; i < len; i++)
                in[i] = (uint8_t)rng_next(&rng);
            ck_assert_uint_eq(hash_bytes(&seed, bytes_of(in, len)),
                              siphash(1, 3, seed.k0, seed.k1, in, len));
            free(in);
        }
    }
}

END_TEST

START_TEST(the_empty_string_of_the_usual_key_has_its_known_value)
{
    const struct hash_seed seed = {0x0706050403020100U, 0x0f0e0d0c0b0a0908U};
    ck_assert_uint_eq(hash_bytes(&seed, bytes_of(NULL, 0)), 0xabac0158050fc4dcU);
}

END_TEST

START_TEST(another_seed_gives_another_hash)
{
    const struct bytes in = bytes_str("dev1");
    const struct hash_seed a = {1, 2};
    const struct hash_seed b = {2, 2};
    const struct hash_seed c = {1, 3};
    ck_assert_uint_ne(hash_bytes(&a, in), hash_bytes(&b, in));
    ck_assert_uint_ne(hash_bytes(&a, in), hash_bytes(&c, in));
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("hash");
    TCase *tc = tcase_create("hash");
    tcase_add_test(tc, the_slow_one_gives_the_value_of_the_paper);
    tcase_add_test(tc, all_lengths_agree_with_the_slow_one);
    tcase_add_test(tc, the_empty_string_of_the_usual_key_has_its_known_value);
    tcase_add_test(tc, another_seed_gives_another_hash);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
