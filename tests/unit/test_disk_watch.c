/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that hangs is said once, and so is its return; nobody is killed for waiting for it. */
#include "disk_watch.h"
#include "suite.h"

static struct log_ring log_ring;
static struct disk_watch watch;

static void setup(void)
{
    ck_assert_int_eq(log_init(&log_ring, 8, LOG_INFO), 0);
    disk_watch_init(&watch, &log_ring);
}

static void teardown(void)
{
    log_deinit(&log_ring);
}

static void expect(const char *event)
{
    const struct log_record *const r = log_peek(&log_ring);
    if (event == NULL) {
        ck_assert_ptr_null(r);
        return;
    }
    ck_assert_ptr_nonnull(r);
    ck_assert_str_eq(r->event, event);
    log_done(&log_ring);
}

START_TEST(a_disk_that_hangs_is_said_once_and_so_is_its_return)
{
    disk_watch_look(&watch, 1000, 1000);
    disk_watch_look(&watch, 1000 + DISK_WATCH_SLOW_MS - 1, 1000);
    expect(NULL);
    disk_watch_look(&watch, 1000 + DISK_WATCH_SLOW_MS, 1000);
    expect("store.slow");
    disk_watch_look(&watch, 60000, 1000);
    expect(NULL);
    disk_watch_look(&watch, 60001, 60000);
    expect("store.answers");
    disk_watch_look(&watch, 60002, 60002);
    expect(NULL);
}

END_TEST

START_TEST(who_waits_for_the_disk_is_excused_and_who_hangs_by_himself_is_not)
{
    ck_assert(disk_watch_excuses(61000, 1000, 60000));   /* since the disk hangs */
    ck_assert(disk_watch_excuses(61000, 1000, 61000));   /* a tick before */
    ck_assert(!disk_watch_excuses(61000, 31000, 60000)); /* he hung long before */
    ck_assert(!disk_watch_excuses(61000, 61000, 60000)); /* the disk has nothing to do */
    ck_assert(!disk_watch_excuses(61000, 60000, 1000));
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("disk watch");
    TCase *const all = tcase_create("watch");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, a_disk_that_hangs_is_said_once_and_so_is_its_return);
    tcase_add_test(all, who_waits_for_the_disk_is_excused_and_who_hangs_by_himself_is_not);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
