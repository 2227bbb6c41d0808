/* SPDX-License-Identifier: Apache-2.0 */
/* When stored messages for nodes expire: over restarts, starts of the machine, and clocks that jump. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "store_world.h"
#include "suite.h"

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

enum { MINUTE_S = 60, HOUR_S = 3600 };

static struct store_world w;
static time_t later_s; /* than it is */
static time_t wall_later_s;

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    const int rc = __real_clock_gettime(clock, out);
    out->tv_sec += __atomic_load_n(&later_s, __ATOMIC_RELAXED);
    if (clock == CLOCK_REALTIME)
        out->tv_sec += __atomic_load_n(&wall_later_s, __ATOMIC_RELAXED);
    return rc;
}

static void pass_s(time_t seconds)
{
    __atomic_fetch_add(&later_s, seconds, __ATOMIC_RELAXED);
}

static void setup(void)
{
    world_init(&w);
    w.options.linger_ms = 0;
    w.options.lazy_ms = 0;
    pass_s(1000000);
    world_open(&w);
    put_session(&w, 1, "x");
}

static void teardown(void)
{
    world_deinit(&w);
}

/* Check measures how long a test takes by the same clock. */
static void as_it_was(void)
{
    world_close(&w);
    __atomic_store_n(&later_s, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&wall_later_s, 0, __ATOMIC_RELAXED);
}

/* The clock begins anew, in the past of the one before, and there is nothing to tell how long it took. */
static void start_machine(time_t up_s)
{
    world_close(&w);
    world_sql(&w, "UPDATE meta SET value = 'another-start-of-the-machine-its-id0 '"
                  " || substr(value, instr(value, ' ') + 1) WHERE name = 'expiry'");
    pass_s(-up_s);
    world_open(&w);
}

static uint64_t message(const char *text, uint32_t expiry_s)
{
    const struct store_incoming m = {
        .topic = bytes_str("down"), .payload = bytes_str(text), .qos = 1, .expiry_s = expiry_s};
    return store_message(w.s, 0, &m, NULL);
}

static bool has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fprintf(stderr, "%s", text);
    return strstr(text, part) != NULL;
}

START_TEST(time_without_the_gateway_counts)
{
    put_expiring(&w, 1, 1, 0, "own", 90 * MINUTE_S);
    put_delivery(&w, 1, 2, message("shared", 90 * MINUTE_S), "shared");
    put_delivery(&w, 1, 3, 0, "for ever");
    world_commit(&w);
    world_close(&w);
    pass_s(HOUR_S);
    world_open(&w);
    ck_assert(
        has(world_load(&w), "1 journal=0 topic=down body=own qos=1 waiting id=0 left=30 min\n"));
    const char *const again = world_reload(&w);
    ck_assert(has(again, "2 journal=1 topic=down body=shared qos=1 waiting id=0 left=30 min\n"));
    ck_assert(has(again, "3 journal=0 topic=down body=for ever qos=1 waiting id=0\n"));
    world_close(&w);
    pass_s(HOUR_S);
    world_open(&w);
    ck_assert(has(world_load(&w), "body=own qos=1 waiting id=0 left=-30 min\n"));
    as_it_was();
}

END_TEST

START_TEST(a_wall_clock_that_jumps_changes_nothing)
{
    static const time_t jumps_s[] = {10 * 365 * 86400L, -10 * 365 * 86400L};
    for (size_t i = 0; i < 2; i++) {
        put_expiring(&w, 1, 1 + i, 0, "own", 90 * MINUTE_S);
        world_commit(&w);
        __atomic_fetch_add(&wall_later_s, jumps_s[i], __ATOMIC_RELAXED);
        ck_assert(has(world_reload(&w), "left=90 min\n"));
    }
    as_it_was();
}

END_TEST

START_TEST(a_start_of_the_machine_makes_nothing_older_and_little_younger)
{
    put_expiring(&w, 1, 1, 0, "own", 90 * MINUTE_S);
    world_commit(&w);
    pass_s(HOUR_S);
    put_topic(&w, 1, 1, "something else");
    world_commit(&w); /* and the time with it */
    pass_s(50);
    start_machine(900000); /* which sync did not survive */
    ck_assert(has(world_load(&w), "left=30 min\n") || has(world_load(&w), "left=29 min\n"));
    /* By its new clock from here on. */
    world_close(&w);
    pass_s(10 * MINUTE_S);
    world_open(&w);
    ck_assert(has(world_load(&w), "left=20 min\n") || has(world_load(&w), "left=19 min\n"));
    as_it_was();
}

END_TEST

START_TEST(what_nobody_has_got_yet_expires_too)
{
    message("long", 90 * MINUTE_S);
    message("short", MINUTE_S);
    message("for ever", 0);
    message("136 years", UINT32_MAX);
    world_close(&w);
    pass_s(HOUR_S);
    world_open(&w);
    const char *const text = world_load(&w);
    unsigned left_s = 0;
    const char *const at = strstr(text, "body=long qos=1 expiry=");
    ck_assert_ptr_nonnull(at);
    ck_assert_int_eq(sscanf(at, "body=long qos=1 expiry=%u", &left_s), 1);
    ck_assert_uint_le(left_s, 30 * MINUTE_S);
    ck_assert_uint_ge(left_s, 29 * MINUTE_S);
    /* The router says who loses it. */
    ck_assert(has(text, "body=short qos=1 expiry=1\n"));
    ck_assert(has(text, "body=for ever qos=1\n"));
    ck_assert(has(text, "body=136 years qos=1 expiry=4294963"));
    as_it_was();
}

END_TEST

START_TEST(nonsense_in_the_file_does_no_harm)
{
    static const char *const values[] = {
        "''",
        "'x'",
        "x'00'",
        "7",
        "' '",
        "'a b c'",
        "'a 1 2 3'",
        "'a 99999999999999999999 1'",
        "'a 1 -1'",
        "'a -9e9 1'",
        "'a 1 9223372036854775807'",
        "NULL",
    };
    put_expiring(&w, 1, 1, 0, "own", 90 * MINUTE_S);
    put_expiring(&w, 1, 2, 0, "other", 90 * MINUTE_S);
    world_commit(&w);
    world_close(&w);
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char sql[200];
        snprintf(sql, sizeof sql, "REPLACE INTO meta VALUES ('expiry', %s)", values[i]);
        world_sql(&w, sql);
        world_open(&w);
        ck_assert(has(world_load(&w), "body=own"));
        world_close(&w);
    }
    world_sql(&w, "UPDATE delivery SET expires_ms = -1 WHERE number = 1");
    world_sql(&w, "UPDATE delivery SET expires_ms = 9223372036854775807 WHERE number = 2");
    world_open(&w);
    const char *const text = world_load(&w);
    ck_assert_ptr_null(strstr(text, "body=own")); /* left out, as any number that is none */
    ck_assert(has(text, "body=other"));
    as_it_was();
}

END_TEST

START_TEST(nothing_is_written_for_it_where_nothing_expires)
{
    put_delivery(&w, 1, 3, 0, "for ever");
    world_commit(&w);
    pass_s(HOUR_S);
    put_topic(&w, 1, 1, "t");
    world_commit(&w);
    ck_assert_ptr_nonnull(world_reload(&w));
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM meta WHERE name = 'expiry'"), "0");
    as_it_was();
}

END_TEST

START_TEST(a_resync_into_a_fresh_file_tells_when_they_expire)
{
    put_expiring(&w, 1, 1, 0, "own", 90 * MINUTE_S);
    const uint64_t journal = message("shared", 90 * MINUTE_S);
    put_expiring(&w, 1, 2, journal, "shared", 90 * MINUTE_S);
    put_routed(&w, journal);
    world_commit(&w);
    world_sql(&w, "DELETE FROM delivery");
    world_sql(&w, "DELETE FROM message");
    pass_s(HOUR_S);
    store_resync_begin(w.s);
    put_session(&w, 1, "x");
    put_expiring(&w, 1, 1, 0, "own", 30 * MINUTE_S);
    put_expiring(&w, 1, 2, journal, "shared", 30 * MINUTE_S);
    store_resync_end(w.s);
    world_commit(&w);
    const char *const text = world_reload(&w);
    ck_assert(has(text, "body=own qos=1 waiting id=0 left=30 min\n"));
    ck_assert(has(text, "body=shared qos=1 waiting id=0 left=30 min\n"));
    as_it_was();
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("expiry in the store");
    TCase *const all = tcase_create("expiry");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, time_without_the_gateway_counts);
    tcase_add_test(all, a_wall_clock_that_jumps_changes_nothing);
    tcase_add_test(all, a_start_of_the_machine_makes_nothing_older_and_little_younger);
    tcase_add_test(all, what_nobody_has_got_yet_expires_too);
    tcase_add_test(all, nonsense_in_the_file_does_no_harm);
    tcase_add_test(all, nothing_is_written_for_it_where_nothing_expires);
    tcase_add_test(all, a_resync_into_a_fresh_file_tells_when_they_expire);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
