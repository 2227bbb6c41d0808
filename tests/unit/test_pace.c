/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include <check.h>

#include "base/clock.h"
#include "base/rng.h"

#include "broker/pace.h"
#include "unit/suite.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, START = 5000, SEEDS = 300 };

#define AT(hour, minute) ((hour)*60 + (minute))

static struct pace p;
static int64_t now_ms;

static void begin(struct pace_config config)
{
    now_ms = START;
    pace_init(&p, &config, now_ms);
}

static void pass(int64_t ms)
{
    now_ms += ms;
    pace_advance(&p, now_ms);
    ck_assert_int_gt(pace_next_deadline(&p), now_ms);
}

static bool is_free(size_t bytes)
{
    const int64_t when_ms = pace_when(&p, bytes);
    ck_assert_int_ge(when_ms, now_ms);
    return when_ms == now_ms;
}

/* ---- rates ----------------------------------------------------------------------------------- */

/* Sends whenever it may, until `n` have left; when each did. */
static void send_all(unsigned n, const size_t *bytes, int64_t *at_ms)
{
    for (unsigned i = 0; i < n; i++) {
        const int64_t when_ms = pace_when(&p, bytes[i]);
        if (when_ms > now_ms) {
            pass(when_ms - now_ms - 1);
            ck_assert(!is_free(bytes[i])); /* it is no earlier than it could be */
            pass(1);
        }
        ck_assert(is_free(bytes[i]));
        pace_take(&p, bytes[i]);
        at_ms[i] = now_ms;
    }
}

START_TEST(a_second_may_leave_at_once_and_the_rest_evenly)
{
    enum { N = 500, RATE = 50 };

    static const size_t bytes[N];
    int64_t at_ms[N];
    begin((struct pace_config){.messages = RATE});
    send_all(N, bytes, at_ms);
    for (unsigned i = 0; i < N; i++)
        ck_assert_int_eq(at_ms[i] - START, i < RATE ? 0 : (i - RATE + 1) * SECOND / RATE);
}

END_TEST

START_TEST(a_rate_of_one_is_one_per_second)
{
    static const size_t bytes[5];
    int64_t at_ms[5];
    begin((struct pace_config){.messages = 1});
    send_all(5, bytes, at_ms);
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(at_ms[i], START + i * SECOND);
}

END_TEST

/* Of all stretches that begin and end with a message. */
static void check_stretches(unsigned n, const size_t *bytes, const int64_t *at_ms,
                            const struct pace_config *config)
{
    unsigned too_many = 0;
    for (unsigned first = 0; first < n; first++) {
        uint64_t sum = 0;
        size_t largest = 0;
        for (unsigned last = first; last < n; last++) {
            const uint64_t ms = (uint64_t)(at_ms[last] - at_ms[first]) + SECOND;
            const uint64_t messages = last - first + 1;
            sum += bytes[last] + PACE_OVERHEAD;
            largest = bytes[last] > largest ? bytes[last] : largest;
            const uint64_t counted = sum - largest - PACE_OVERHEAD;
            too_many += config->messages > 0 && messages * SECOND >= config->messages * ms + SECOND;
            too_many += config->bytes > 0 && counted * SECOND >= config->bytes * ms + SECOND;
        }
    }
    ck_assert_uint_eq(too_many, 0);
}

START_TEST(no_stretch_of_time_has_more_than_the_rates_allow)
{
    enum { N = 150 };

    struct rng rng;
    rng_seed(&rng, 1);
    for (unsigned seed = 1; seed <= 60; seed++) {
        const struct pace_config config = {.messages = (uint32_t)rng_below(&rng, 200),
                                           .bytes = rng_below(&rng, 3) * rng_below(&rng, 3000)};
        size_t bytes[N];
        int64_t at_ms[N];
        for (unsigned i = 0; i < N; i++)
            bytes[i] = (size_t)rng_below(&rng, rng_below(&rng, 10) == 0 ? 20000 : 100);
        begin(config);
        send_all(N / 2, bytes, at_ms);
        pass((int64_t)rng_below(&rng, 5000));
        send_all(N - N / 2, bytes + N / 2, at_ms + N / 2);
        check_stretches(N, bytes, at_ms, &config);
    }
}

END_TEST

START_TEST(a_message_larger_than_a_second_brings_is_paid_for_afterwards)
{
    enum { RATE = 1000 };

    begin((struct pace_config){.bytes = RATE});
    ck_assert(is_free(10 * RATE));
    pace_take(&p, 10 * RATE - PACE_OVERHEAD);
    ck_assert_int_eq(pace_when(&p, RATE - PACE_OVERHEAD), now_ms + 10 * SECOND);
    ck_assert_int_eq(pace_when(&p, 84), now_ms + 9 * SECOND + 100);
    pass(HOUR);
    ck_assert(is_free(10 * RATE));
}

END_TEST

START_TEST(what_is_not_used_is_not_saved_up)
{
    begin((struct pace_config){.messages = 3});
    pass(INT64_C(1000) * 24 * HOUR);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(is_free(0));
        pace_take(&p, 0);
    }
    ck_assert(!is_free(0));
}

END_TEST

START_TEST(without_limits_all_may_leave)
{
    begin((struct pace_config){.seed = 1});
    ck_assert(!pace_is_limited(&p.config));
    for (unsigned i = 0; i < 10000; i++) {
        ck_assert(is_free(100000));
        pace_take(&p, 100000);
    }
    ck_assert(!pace_has_opened(&p));
    ck_assert_int_eq(pace_next_deadline(&p), TIME_NEVER);
}

END_TEST

/* ---- quiet hours ----------------------------------------------------------------------------- */

static const struct pace_config nights = {
    .quiet = {{AT(22, 0), AT(6, 0)}, {AT(12, 0), AT(13, 0)}},
      .n_quiet = 2
};

START_TEST(quiet_hours_go_over_midnight)
{
    for (unsigned minute = 0; minute < PACE_DAY; minute++) {
        const bool night = minute >= AT(22, 0) || minute < AT(6, 0);
        const bool noon = minute >= AT(12, 0) && minute < AT(13, 0);
        ck_assert_int_eq(pace_is_quiet_at(&nights, minute), night || noon);
    }
    const struct pace_config evening = {.quiet = {{AT(20, 0), PACE_DAY}}, .n_quiet = 1};
    ck_assert(pace_is_quiet_at(&evening, PACE_DAY - 1));
    ck_assert(!pace_is_quiet_at(&evening, 0));
}

END_TEST

START_TEST(nothing_leaves_before_the_time_of_day_is_known)
{
    begin(nights);
    ck_assert_int_eq(pace_when(&p, 0), TIME_NEVER);
    pass(HOUR);
    ck_assert_int_eq(pace_when(&p, 0), TIME_NEVER);
    pace_wall(&p, now_ms, AT(8, 0));
    ck_assert(is_free(0));
}

END_TEST

START_TEST(a_day_has_its_quiet_hours)
{
    begin(nights);
    for (unsigned minute = AT(8, 0); minute < 3 * PACE_DAY; minute++) {
        pace_wall(&p, now_ms, minute % PACE_DAY);
        const bool quiet = pace_is_quiet_at(&nights, minute % PACE_DAY);
        const bool ended = !quiet && pace_is_quiet_at(&nights, (minute - 1) % PACE_DAY);
        if (ended)
            ck_assert_int_lt(pace_when(&p, 0), now_ms + MINUTE);
        else
            ck_assert_int_eq(pace_when(&p, 0), quiet ? TIME_NEVER : now_ms);
        pass(MINUTE);
    }
}

END_TEST

/* For many seeds: a draw is at least 0 and below `range_ms`, and each tenth of that has its share. */
static void expect_spread(struct pace_config config, int64_t range_ms, int64_t (*draw)(void))
{
    unsigned tenths[10] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        config.seed = seed;
        begin(config);
        const int64_t drawn_ms = draw();
        ck_assert_int_ge(drawn_ms, 0);
        ck_assert_int_lt(drawn_ms, range_ms);
        tenths[drawn_ms * 10 / range_ms]++;
    }
    for (unsigned i = 0; i < 10; i++)
        ck_assert_uint_gt(tenths[i], SEEDS / 30);
}

static int64_t wait_behind_quiet_hours(void)
{
    pace_wall(&p, now_ms, AT(5, 59));
    pass(MINUTE);
    pace_wall(&p, now_ms, AT(6, 0));
    return pace_when(&p, 0) - now_ms;
}

START_TEST(gateways_do_not_come_together_when_quiet_hours_end)
{
    expect_spread(nights, MINUTE, wait_behind_quiet_hours);
}

END_TEST

/* Summer time, a clock that is set, and one that runs wild: as soon as it is right, all is. */
START_TEST(clocks_may_jump)
{
    struct rng rng;
    rng_seed(&rng, 7);
    for (unsigned collects = 0; collects < 2; collects++) {
        struct pace_config config = nights;
        config.collect_ms = collects > 0 ? 10 * MINUTE : 0;
        begin(config);
        for (unsigned i = 0; i < 2000; i++) {
            const unsigned minute = (unsigned)rng_below(&rng, PACE_DAY);
            pace_wall(&p, now_ms, minute);
            if (pace_is_quiet_at(&nights, minute))
                ck_assert_int_eq(pace_when(&p, 0), TIME_NEVER);
            else
                ck_assert_int_lt(pace_when(&p, 0), now_ms + MINUTE + config.collect_ms);
            if (pace_has_opened(&p) && rng_below(&rng, 2) == 0)
                pace_collected(&p);
            pass((int64_t)rng_below(&rng, 2 * MINUTE));
        }
    }
}

END_TEST

/* ---- windows --------------------------------------------------------------------------------- */

static const struct pace_config quarters = {.collect_ms = 15 * MINUTE};

/* Which is 1 ms at least: more than that. */
static int64_t wait_for_first_window(void)
{
    const int64_t wait_ms = pace_next_deadline(&p) - now_ms;
    ck_assert_int_eq(pace_when(&p, 0), now_ms + wait_ms);
    return wait_ms - 1;
}

START_TEST(the_first_window_opens_when_chance_says)
{
    expect_spread(quarters, quarters.collect_ms, wait_for_first_window);
}

END_TEST

static void pass_to_window(void)
{
    const int64_t wait_ms = pace_next_deadline(&p) - now_ms;
    pass(wait_ms - 1);
    ck_assert(!is_free(0));
    ck_assert(!pace_has_opened(&p));
    pass(1);
    ck_assert(is_free(0));
    ck_assert(pace_has_opened(&p));
    ck_assert(!pace_has_opened(&p));
}

START_TEST(windows_come_regularly_however_long_they_are_open)
{
    begin(quarters);
    pass_to_window();
    const int64_t first_ms = now_ms;
    static const int64_t lasts[] = {0, 1, MINUTE, 15 * MINUTE - 1, 15 * MINUTE, 40 * MINUTE};
    for (unsigned i = 0; i < sizeof lasts / sizeof lasts[0]; i++) {
        pass(lasts[i]);
        ck_assert(is_free(0));
        pace_collected(&p);
        ck_assert(!is_free(0));
        ck_assert_int_le(pace_next_deadline(&p) - now_ms, 15 * MINUTE);
        pass_to_window();
        ck_assert_int_eq((now_ms - first_ms) % (15 * MINUTE), 0);
    }
}

END_TEST

START_TEST(paces_of_one_seed_keep_one_time)
{
    begin(quarters);
    const int64_t at_ms = pace_next_deadline(&p);
    for (int64_t later_ms = 0; later_ms < HOUR; later_ms += 7 * MINUTE) {
        struct pace other;
        pace_init(&other, &quarters, START + later_ms);
        ck_assert_int_eq((pace_next_deadline(&other) - at_ms) % (15 * MINUTE), 0);
        ck_assert_int_gt(pace_next_deadline(&other), START + later_ms);
        ck_assert_int_le(pace_next_deadline(&other), START + later_ms + 15 * MINUTE);
    }
}

END_TEST

START_TEST(a_window_keeps_the_rate)
{
    struct pace_config config = quarters;
    config.messages = 2;
    begin(config);
    pass_to_window();
    pace_take(&p, 0);
    pace_take(&p, 0);
    ck_assert_int_eq(pace_when(&p, 0), now_ms + SECOND / 2);
}

END_TEST

START_TEST(quiet_hours_close_a_window_and_another_one_opens_after_them)
{
    struct pace_config config = nights;
    config.collect_ms = 15 * MINUTE;
    begin(config);
    pace_wall(&p, now_ms, AT(21, 30));
    pass_to_window();
    pace_wall(&p, now_ms, AT(22, 0));
    ck_assert_int_eq(pace_when(&p, 0), TIME_NEVER);
    ck_assert_int_eq(pace_next_deadline(&p), TIME_NEVER);
    pass(8 * HOUR);
    ck_assert(!pace_has_opened(&p));
    pace_wall(&p, now_ms, AT(6, 0));
    ck_assert(!is_free(0));
    ck_assert_int_le(pace_next_deadline(&p) - now_ms, 15 * MINUTE);
    pass_to_window();
    pace_collected(&p);
    ck_assert_int_eq(pace_next_deadline(&p), now_ms + 15 * MINUTE);
}

END_TEST

START_TEST(a_short_time_between_quiet_hours_has_a_window)
{
    struct pace_config config = {.quiet = {{AT(12, 10), AT(12, 0)}}, .n_quiet = 1};
    config.collect_ms = HOUR;
    begin(config);
    for (unsigned day = 0; day < 30; day++) {
        pace_wall(&p, now_ms, AT(12, 10));
        pass(24 * HOUR - 10 * MINUTE);
        pace_wall(&p, now_ms, AT(12, 0));
        const int64_t end_ms = now_ms + 10 * MINUTE;
        pass_to_window();
        ck_assert_int_le(end_ms - now_ms, 10 * MINUTE);
        ck_assert_int_ge(end_ms - now_ms, 5 * MINUTE - 1);
        pass(end_ms - now_ms);
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("pace");
    TCase *rates = tcase_create("rates");
    tcase_add_test(rates, a_second_may_leave_at_once_and_the_rest_evenly);
    tcase_add_test(rates, a_rate_of_one_is_one_per_second);
    tcase_add_test(rates, no_stretch_of_time_has_more_than_the_rates_allow);
    tcase_add_test(rates, a_message_larger_than_a_second_brings_is_paid_for_afterwards);
    tcase_add_test(rates, what_is_not_used_is_not_saved_up);
    tcase_add_test(rates, without_limits_all_may_leave);
    suite_add_tcase(suite, rates);
    TCase *quiet = tcase_create("quiet");
    tcase_add_test(quiet, quiet_hours_go_over_midnight);
    tcase_add_test(quiet, nothing_leaves_before_the_time_of_day_is_known);
    tcase_add_test(quiet, a_day_has_its_quiet_hours);
    tcase_add_test(quiet, gateways_do_not_come_together_when_quiet_hours_end);
    tcase_add_test(quiet, clocks_may_jump);
    suite_add_tcase(suite, quiet);
    TCase *windows = tcase_create("windows");
    tcase_add_test(windows, the_first_window_opens_when_chance_says);
    tcase_add_test(windows, windows_come_regularly_however_long_they_are_open);
    tcase_add_test(windows, paces_of_one_seed_keep_one_time);
    tcase_add_test(windows, a_window_keeps_the_rate);
    tcase_add_test(windows, quiet_hours_close_a_window_and_another_one_opens_after_them);
    tcase_add_test(windows, a_short_time_between_quiet_hours_has_a_window);
    suite_add_tcase(suite, windows);
    return run_suite(suite);
}
