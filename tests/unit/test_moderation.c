/* SPDX-License-Identifier: Apache-2.0 */
/* When a thread that is woken for nearly every packet sleeps before it waits again. */
#include <check.h>

#include "moderation.h"
#include "unit/suite.h"

enum { US = 1000 };

/* A source that sends `at_once` packets every `gap_ns`, and a thread that takes no time. */
struct traffic {
    struct moderation m;
    int64_t now_ns;
    int64_t next_ns;
    int64_t gap_ns;
    unsigned at_once;
    unsigned waits, sleeps;
    int64_t latest_ns; /* how long the latest packet lay there, at most */
};

static struct traffic traffic_of(int64_t gap_ns)
{
    return (struct traffic){
        .now_ns = 1000000000, .next_ns = 1000000000, .gap_ns = gap_ns, .at_once = 1};
}

static unsigned take(struct traffic *t)
{
    unsigned packets = 0;
    for (; t->next_ns <= t->now_ns; t->next_ns += t->gap_ns) {
        if (t->now_ns - t->next_ns > t->latest_ns)
            t->latest_ns = t->now_ns - t->next_ns;
        packets += t->at_once;
    }
    return packets;
}

static void run(struct traffic *t, int64_t for_ns)
{
    const int64_t end_ns = t->now_ns + for_ns;
    while (t->now_ns < end_ns) {
        const unsigned packets = take(t);
        const int64_t pause_ns = moderation_pause(&t->m, t->now_ns, packets);
        t->waits++;
        t->sleeps += pause_ns > 0;
        t->now_ns += pause_ns;
        if (t->next_ns > t->now_ns)
            t->now_ns = t->next_ns;
    }
}

START_TEST(slow_packets_wake_at_once)
{
    struct traffic t = traffic_of((int64_t)150 * US); /* 6,667 a second */
    run(&t, 1000000000);
    ck_assert_uint_eq(t.sleeps, 0);
    ck_assert_int_eq(t.latest_ns, 0);
}

END_TEST

START_TEST(fast_packets_come_many_at_a_time_and_none_lies_longer_than_a_sleep)
{
    struct traffic t = traffic_of((int64_t)20 * US); /* 50,000 a second */
    run(&t, 1000000000);
    const unsigned rounds = t.sleeps / MODERATION_SLEEPS + 1; /* after which it looks again */
    ck_assert_uint_gt(t.sleeps, 4500);
    ck_assert_uint_le(t.waits, t.sleeps + (MODERATION_RUN + 1) * rounds);
    ck_assert_int_le(t.latest_ns, MODERATION_SLEEP_NS);
}

END_TEST

START_TEST(what_was_fast_and_becomes_slow_is_late_once)
{
    struct traffic t = traffic_of((int64_t)20 * US);
    run(&t, 100000000);
    t.gap_ns = (int64_t)1000 * US;
    t.sleeps = 0;
    run(&t, 1000000000);
    ck_assert_uint_le(t.sleeps, 1);
}

END_TEST

START_TEST(a_burst_that_is_over_before_the_run_is_not_late)
{
    struct traffic t = traffic_of((int64_t)20 * US);
    run(&t, (int64_t)(MODERATION_RUN - 1) * 20 * US);
    ck_assert_uint_eq(t.sleeps, 0);
}

END_TEST

START_TEST(between_both_it_sleeps_seldom)
{
    struct traffic t = traffic_of((int64_t)80 * US); /* short, but a sleep brings two or three */
    run(&t, 1000000000);
    ck_assert_uint_lt(t.sleeps, t.waits / MODERATION_RUN + 1);
}

END_TEST

START_TEST(who_gathers_packets_is_not_waited_for)
{
    struct traffic t = traffic_of((int64_t)20 * US);
    t.at_once = MODERATION_FEW;
    run(&t, 100000000);
    ck_assert_uint_eq(t.sleeps, 0);
}

END_TEST

START_TEST(who_begins_to_gather_them_is_not_waited_for_any_more)
{
    struct traffic t = traffic_of((int64_t)20 * US);
    run(&t, 100000000);
    t.at_once = MODERATION_FEW;
    t.sleeps = 0;
    run(&t, 100000000);
    ck_assert_uint_le(t.sleeps, MODERATION_SLEEPS);
}

END_TEST

START_TEST(waits_that_others_ended_do_not_count)
{
    struct moderation m = {0};
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(moderation_pause(&m, (int64_t)i * US, 0), 0);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("moderation");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, slow_packets_wake_at_once);
    tcase_add_test(tc, fast_packets_come_many_at_a_time_and_none_lies_longer_than_a_sleep);
    tcase_add_test(tc, what_was_fast_and_becomes_slow_is_late_once);
    tcase_add_test(tc, a_burst_that_is_over_before_the_run_is_not_late);
    tcase_add_test(tc, between_both_it_sleeps_seldom);
    tcase_add_test(tc, who_gathers_packets_is_not_waited_for);
    tcase_add_test(tc, who_begins_to_gather_them_is_not_waited_for_any_more);
    tcase_add_test(tc, waits_that_others_ended_do_not_count);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
