/* SPDX-License-Identifier: Apache-2.0 */
/* The hash index against a model, with few hashes so that entries stand far from home, and without
 * memory to grow. calloc() is wrapped by the linker. */
#include <stdbool.h>
#include <string.h>

#include "base/hindex.h"

#include "unit/no_memory.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { NUMBERS = 500, STEPS = 60000 };

/* How often the pair is found. */
static unsigned found(const struct hindex *x, uint64_t hash, uint32_t number)
{
    unsigned n = 0;
    size_t at = hindex_first(x, hash);
    for (; at != HINDEX_END; at = hindex_next(x, at, hash))
        n += hindex_number(x, at) == number;
    return n;
}

static void check_all(const struct hindex *x, const bool *there, const uint64_t *hashes)
{
    size_t count = 0;
    for (uint32_t i = 0; i < NUMBERS; i++) {
        count += there[i];
        ck_assert_msg(found(x, hashes[i], i) == there[i], "number %u", (unsigned)i);
    }
    ck_assert_uint_eq(x->count, count);
}

/* `failing`: how often of 8 there is no memory. */
static void random_use(uint64_t different_hashes, uint64_t factor, unsigned failing)
{
    struct rng rng = seeded_rng();
    bool there[NUMBERS] = {false};
    uint64_t hashes[NUMBERS];
    struct hindex x;
    hindex_init(&x);
    for (unsigned i = 0; i < NUMBERS; i++)
        hashes[i] = rng_below(&rng, different_hashes) * factor;
    for (unsigned step = 0; step < STEPS; step++) {
        const uint32_t i = (uint32_t)rng_below(&rng, NUMBERS);
        no_memory = rng_below(&rng, 8) < failing;
        if (there[i]) {
            hindex_remove(&x, hashes[i], i);
            there[i] = false;
        } else if (hindex_reserve(&x)) {
            hindex_insert(&x, hashes[i], i);
            there[i] = true;
        }
        no_memory = false;
        if (step % 200 == 0)
            check_all(&x, there, hashes);
    }
    check_all(&x, there, hashes);
    for (uint32_t i = 0; i < NUMBERS; i++) {
        if (there[i])
            hindex_remove(&x, hashes[i], i);
    }
    hindex_deinit(&x);
}

START_TEST(random_use_agrees_with_a_model)
{
    random_use(UINT64_MAX, 1, 0);
}

END_TEST

START_TEST(many_with_the_same_hash_are_all_found)
{
    random_use(5, 0x9E3779B97F4A7C15U, 0);
}

END_TEST

/* All have their home at the end of the array, and stand at its beginning. */
START_TEST(the_array_is_a_ring)
{
    random_use(UINT64_MAX >> 12, UINT64_C(0) - 1, 0);
}

END_TEST

START_TEST(without_memory_there_is_no_room_and_nothing_changes)
{
    random_use(UINT64_MAX, 1, 7);
    random_use(40, 0x9E3779B97F4A7C15U, 7);
    struct hindex x;
    hindex_init(&x);
    no_memory = true;
    ck_assert(!hindex_reserve(&x));
    no_memory = false;
    ck_assert(hindex_first(&x, 7) == HINDEX_END);
    hindex_deinit(&x);
}

END_TEST

/* As a good hash would be. */
static uint64_t mixed(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

/* What is said of memory in the header, and that a search in a full table is short. */
START_TEST(an_entry_takes_eight_octets_and_searches_stay_short)
{
    enum { MANY = 114688 }; /* 7/8 of 2^17: as full as it gets */

    struct rng rng = seeded_rng();
    const uint64_t k = rng_next(&rng);
    struct hindex x;
    hindex_init(&x);
    for (uint32_t i = 0; i < MANY; i++) {
        ck_assert(hindex_reserve(&x));
        hindex_insert(&x, mixed(i ^ k), i);
    }
    ck_assert_uint_eq(x.bits, 17);
    ck_assert_uint_eq(sizeof(struct hindex_entry), 8);
    size_t farthest = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        const uint64_t hash = mixed(i ^ k);
        size_t at = hindex_first(&x, hash);
        while (hindex_number(&x, at) != i)
            at = hindex_next(&x, at, hash);
        const size_t far = (at - (hash >> (64 - 17))) & ((1U << 17) - 1);
        farthest = far > farthest ? far : farthest;
    }
    ck_assert_uint_lt(farthest, 200);
    for (uint32_t i = 0; i < MANY; i++)
        hindex_remove(&x, mixed(i ^ k), i);
    hindex_deinit(&x);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("hindex");
    TCase *tc = tcase_create("hindex");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, random_use_agrees_with_a_model);
    tcase_add_test(tc, many_with_the_same_hash_are_all_found);
    tcase_add_test(tc, the_array_is_a_ring);
    tcase_add_test(tc, without_memory_there_is_no_room_and_nothing_changes);
    tcase_add_test(tc, an_entry_takes_eight_octets_and_searches_stay_short);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
