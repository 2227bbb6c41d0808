/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>

#include <check.h>

#include "base/clock.h"

#include "broker/backoff.h"
#include "unit/suite.h"

enum { MIN_MS = 1000, MAX_MS = 60000, SEED = 7, TRIES = 2000 };

/* The longest of many first, second, ... delays, over many seeds: the ceiling shows itself. */
static int64_t longest(unsigned failures_before, bool after_a_good_connection)
{
    int64_t longest_ms = 0;
    for (uint64_t seed = 1; seed <= TRIES; seed++) {
        struct backoff b;
        backoff_init(&b, MIN_MS, MAX_MS, seed);
        if (after_a_good_connection)
            backoff_connected(&b, 0);
        ck_assert(backoff_lost(&b, BACKOFF_STABLE_MS) == after_a_good_connection);
        for (unsigned i = 0; i < failures_before; i++)
            backoff_pause(&b);
        const int64_t delay_ms = backoff_pause(&b);
        ck_assert_int_ge(delay_ms, 0);
        longest_ms = delay_ms > longest_ms ? delay_ms : longest_ms;
    }
    return longest_ms;
}

static void is_about(int64_t longest_ms, int64_t ceiling_ms)
{
    ck_assert_int_le(longest_ms, ceiling_ms);
    ck_assert_int_ge(longest_ms, ceiling_ms * 95 / 100);
}

START_TEST(delays_double_up_to_the_maximum)
{
    int64_t ceiling_ms = MIN_MS;
    for (unsigned n = 0; n < 10; n++) {
        is_about(longest(n, false), ceiling_ms);
        ceiling_ms = ceiling_ms * 2 < MAX_MS ? ceiling_ms * 2 : MAX_MS;
    }
    is_about(longest(5000, false), MAX_MS);
}

END_TEST

START_TEST(the_loss_of_a_good_connection_is_followed_by_a_quick_attempt)
{
    is_about(longest(0, true), MIN_MS / 4);
    is_about(longest(1, true), MIN_MS);
    is_about(longest(2, true), 2 * MIN_MS);
}

END_TEST

START_TEST(a_connection_that_does_not_last_counts_as_a_failure)
{
    int64_t longest_ms = 0;
    for (uint64_t seed = 1; seed <= TRIES; seed++) {
        struct backoff b;
        int64_t now_ms = 0;
        backoff_init(&b, MIN_MS, MAX_MS, seed);
        for (unsigned i = 0; i < 4; i++) {
            now_ms += backoff_pause(&b);
            backoff_connected(&b, now_ms);
            now_ms += BACKOFF_STABLE_MS - 1;
            ck_assert(!backoff_lost(&b, now_ms));
        }
        const int64_t delay_ms = backoff_pause(&b);
        longest_ms = delay_ms > longest_ms ? delay_ms : longest_ms;
    }
    is_about(longest_ms, 16 * MIN_MS);
}

END_TEST

/* However long the next attempt takes to fail. */
START_TEST(a_connection_is_lost_once)
{
    struct backoff b;
    backoff_init(&b, MIN_MS, MAX_MS, SEED);
    ck_assert(!backoff_lost(&b, BACKOFF_STABLE_MS));
    backoff_connected(&b, 0);
    ck_assert(!backoff_lost(&b, BACKOFF_STABLE_MS - 1));
    ck_assert(!backoff_lost(&b, 2 * BACKOFF_STABLE_MS));
}

END_TEST

START_TEST(jitter_is_full_and_reproducible)
{
    struct backoff a;
    struct backoff b;
    int64_t sum_ms = 0;
    backoff_init(&a, MAX_MS, MAX_MS, SEED);
    backoff_init(&b, MAX_MS, MAX_MS, SEED);
    for (unsigned i = 0; i < TRIES; i++) {
        const int64_t delay_ms = backoff_pause(&a);
        ck_assert_int_eq(delay_ms, backoff_pause(&b));
        sum_ms += delay_ms;
    }
    ck_assert_int_gt(sum_ms / TRIES, MAX_MS * 45 / 100);
    ck_assert_int_lt(sum_ms / TRIES, MAX_MS * 55 / 100);
}

END_TEST

START_TEST(absurd_limits_are_corrected)
{
    struct backoff b;
    backoff_init(&b, 0, -5, SEED);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_le(backoff_pause(&b), 1);
    backoff_init(&b, INT64_MAX / 2, INT64_MAX - 1, SEED);
    for (unsigned i = 0; i < 100; i++)
        ck_assert_int_ge(backoff_pause(&b), 0);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("backoff");
    TCase *t = tcase_create("machine");
    tcase_add_test(t, delays_double_up_to_the_maximum);
    tcase_add_test(t, the_loss_of_a_good_connection_is_followed_by_a_quick_attempt);
    tcase_add_test(t, a_connection_that_does_not_last_counts_as_a_failure);
    tcase_add_test(t, a_connection_is_lost_once);
    tcase_add_test(t, jitter_is_full_and_reproducible);
    tcase_add_test(t, absurd_limits_are_corrected);
    suite_add_tcase(s, t);
    return run_suite(s);
}
