/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of memory that wander between threads: nobody's octets but one's own, and used again. */
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include <check.h>

#include "blocks.h"
#include "unit/suite.h"

enum { OCTETS_MAX = 700, MANY = 5000, ROUNDS = 20, RING = 512, PASSED = 20000 };

static uint8_t *filled(size_t octets, uint8_t with)
{
    uint8_t *const b = block_new(octets);
    ck_assert_ptr_nonnull(b);
    ck_assert_uint_eq((uintptr_t)b % alignof(max_align_t), 0);
    memset(b, with, octets);
    return b;
}

static void ck_filled(const uint8_t *b, size_t octets, uint8_t with)
{
    size_t others = 0;
    for (size_t i = 0; i < octets; i++)
        others += b[i] != with;
    ck_assert_uint_eq(others, 0);
}

START_TEST(blocks_of_all_sizes_are_apart)
{
    uint8_t *all[OCTETS_MAX];

    for (unsigned round = 0; round < 2; round++) {
        for (size_t n = 0; n < OCTETS_MAX; n++)
            all[n] = filled(n, (uint8_t)n);
        for (size_t n = 0; n < OCTETS_MAX; n++)
            ck_filled(all[n], n, (uint8_t)n);
        for (size_t n = 0; n < OCTETS_MAX; n++)
            block_free(all[n]);
    }
    block_free(NULL);
}

END_TEST

START_TEST(a_resized_block_keeps_its_octets)
{
    uint8_t *b = block_resize(NULL, 10);
    ck_assert_ptr_nonnull(b);
    memset(b, 7, 10);
    for (size_t n = 11; n < 3000; n += 97) {
        b = block_resize(b, n);
        ck_assert_ptr_nonnull(b);
        ck_filled(b, 10, 7);
    }
    b = block_resize(b, 5);
    ck_filled(b, 5, 7);
    block_free(b);
}

END_TEST

START_TEST(too_much_is_refused)
{
    ck_assert_ptr_null(block_new(SIZE_MAX));
    ck_assert_ptr_null(block_new(SIZE_MAX - 8));
    uint8_t *const b = filled(20, 1);
    ck_assert_ptr_null(block_resize(b, SIZE_MAX - 8));
    ck_filled(b, 20, 1);
    block_free(b);
}

END_TEST

static uint8_t *many[MANY];

static void *free_many(void *arg)
{
    for (size_t i = 0; i < MANY; i++)
        block_free(many[i]);
    return arg;
}

static size_t count_known(uint8_t *const known[], size_t n, const uint8_t *b)
{
    for (size_t i = 0; i < n; i++)
        if (known[i] == b)
            return 1;
    return 0;
}

/* All but what the other thread had at hand when it ended. */
START_TEST(what_another_thread_gives_back_is_used_again)
{
    enum { SAMPLE = 1000 };

    pthread_t other;
    uint8_t *again[SAMPLE];
    size_t known = 0;

    for (size_t i = 0; i < MANY; i++)
        many[i] = filled(100, 1);
    ck_assert_int_eq(pthread_create(&other, NULL, free_many, NULL), 0);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    for (size_t i = 0; i < SAMPLE; i++) {
        again[i] = filled(100, 2);
        known += count_known(many, MANY, again[i]);
    }
    ck_assert_uint_eq(known, SAMPLE);
    for (size_t i = 0; i < SAMPLE; i++)
        block_free(again[i]);
}

END_TEST

START_TEST(what_nobody_uses_can_be_given_back)
{
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < MANY; i++)
            many[i] = filled(i % OCTETS_MAX, (uint8_t)round);
        for (size_t i = 0; i < MANY; i += 2)
            block_free(many[i]);
        block_trim();
        for (size_t i = 1; i < MANY; i += 2)
            ck_filled(many[i], i % OCTETS_MAX, (uint8_t)round);
        for (size_t i = 1; i < MANY; i += 2)
            block_free(many[i]);
        block_trim();
    }
}

END_TEST

/* One gives, the other one takes and checks. */
static _Atomic(uint8_t *) ring[RING];

static size_t octets_of(unsigned i)
{
    return i * 37 % 600 + 1;
}

static void *give(void *arg)
{
    for (unsigned i = 0; i < PASSED;) {
        if (atomic_load(&ring[i % RING]) != NULL)
            continue;
        uint8_t *const b = block_new(octets_of(i));
        memset(b, (int)(i & 0xFF), octets_of(i));
        atomic_store(&ring[i % RING], b);
        i++;
    }
    return arg;
}

START_TEST(blocks_pass_from_thread_to_thread)
{
    pthread_t giver;

    ck_assert_int_eq(pthread_create(&giver, NULL, give, NULL), 0);
    for (unsigned i = 0; i < PASSED;) {
        uint8_t *const b = atomic_load(&ring[i % RING]);
        if (b == NULL)
            continue;
        ck_assert_uint_eq(b[0], i & 0xFF);
        ck_assert_uint_eq(b[octets_of(i) - 1], i & 0xFF);
        block_free(b);
        atomic_store(&ring[i % RING], NULL);
        i++;
    }
    ck_assert_int_eq(pthread_join(giver, NULL), 0);
}

END_TEST

/* What was taken by threads that have ended is free for others, or was given back for good. */
START_TEST(threads_come_and_go)
{
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t other;
        for (size_t i = 0; i < MANY; i++)
            many[i] = filled(i % OCTETS_MAX, (uint8_t)round);
        ck_assert_int_eq(pthread_create(&other, NULL, free_many, NULL), 0);
        ck_assert_int_eq(pthread_join(other, NULL), 0);
    }
}

END_TEST

int main(void)
{
    Suite *s = suite_create("blocks");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, blocks_of_all_sizes_are_apart);
    tcase_add_test(tc, a_resized_block_keeps_its_octets);
    tcase_add_test(tc, too_much_is_refused);
    tcase_add_test(tc, what_another_thread_gives_back_is_used_again);
    tcase_add_test(tc, what_nobody_uses_can_be_given_back);
    tcase_add_test(tc, blocks_pass_from_thread_to_thread);
    tcase_add_test(tc, threads_come_and_go);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
