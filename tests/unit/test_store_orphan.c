/* SPDX-License-Identifier: Apache-2.0 */
/* An intent log without the database that it belongs to, and a database without its log. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "child.h"
#include "store_world.h"
#include "suite.h"

static struct store_world w;

static void setup(void)
{
    world_init(&w);
    w.options.intent_bytes = (size_t)1 << 20;
    w.options.lazy_ms = 1000000;
}

static void teardown(void)
{
    world_deinit(&w);
}

/* ---- what a killed daemon leaves -------------------------------------------------------------- */

/* Numbers 1 to 3 are in the database, 4 and 5 in the log only, where 1 is deleted. */
static void put_and_die(void)
{
    uint64_t sink = 0;
    world_open(&w);
    ck_assert_int_eq(store_sink(w.s, "default", bytes_of(NULL, 0), &sink), 0);
    put_session(&w, 1, "kept");
    for (uint64_t number = 1; number <= 3; number++)
        put_spool(&w, 1, number, "committed");
    store_flush(w.s);
    world_fetch(&w, 0, 1, 1); /* commits */
    put_session(&w, 2, "promised");
    put_spool(&w, 1, 4, "promised");
    put_spool(&w, 2, 5, "promised");
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 1);
    store_flush(w.s);
    _exit(0);
}

static void killed(void)
{
    const pid_t child = fork();
    if (child == 0)
        put_and_die();
    ck_assert_int_eq(child_wait(child, CHILD_SOON_MS, "the killed daemon"), 0);
}

static void remove_file(const char *name)
{
    ck_assert_int_eq(unlink(world_path(&w, name)), 0);
}

static const char *spooled(void)
{
    return world_sql(&w, "SELECT group_concat(number) FROM (SELECT number FROM spool ORDER BY 1)");
}

static void expect_notice(const char *text)
{
    const char *const said = store_notice(w.s);
    ck_assert_msg(said != NULL && strstr(said, text) != NULL, "%s", said != NULL ? said : "(none)");
}

/* ---- the database is gone --------------------------------------------------------------------- */

START_TEST(spooled_messages_survive_the_loss_of_their_database_in_the_log)
{
    killed();
    remove_file("sennet.db");
    remove_file("sennet.db-wal");
    remove_file("sennet.db-shm");
    world_open(&w);
    expect_notice("-intent is gone: spooled messages were taken over from its 1 batches");
    ck_assert_ptr_null(strstr(world_load(&w), "promised"));
    ck_assert_str_eq(spooled(), "4,5");
    world_reload(&w);
    ck_assert_ptr_null(store_notice(w.s));
    ck_assert_str_eq(spooled(), "4,5");
}

END_TEST

START_TEST(an_empty_database_is_as_good_as_none)
{
    killed();
    remove_file("sennet.db-wal");
    ck_assert_int_eq(truncate(world_path(&w, "sennet.db"), 0), 0);
    world_open(&w);
    expect_notice("spooled messages were taken over");
    ck_assert_str_eq(spooled(), "4,5");
}

END_TEST

/* The damaged one says 1 to 3, the log that 1 has left and 4 and 5 have come. */
START_TEST(what_the_log_says_goes_on_top_of_what_is_salvaged)
{
    killed();
    world_sql(&w, "PRAGMA wal_checkpoint(TRUNCATE)");
    world_sql(&w, "PRAGMA writable_schema = ON");
    char root[16];
    snprintf(root, sizeof root, "%s",
             world_sql(&w, "SELECT rootpage FROM sqlite_schema WHERE name = 'session'"));
    unsigned page = 0;
    ck_assert_int_eq(sscanf(root, "%u", &page), 1);
    const int fd = open(world_path(&w, "sennet.db"), O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(pwrite(fd, "rubbish", 7, (off_t)(page - 1) * 4096), 7);
    close(fd);
    world_open(&w);
    expect_notice("moved aside");
    expect_notice("spooled messages were taken over from its");
    ck_assert_str_eq(spooled(), "2,3,4,5");
}

END_TEST

/* Whoever puts a copy of yesterday back gets yesterday. */
START_TEST(a_copy_that_was_put_back_is_not_mixed_with_the_log)
{
    world_open(&w);
    world_close(&w);
    ck_assert_int_eq(rename(world_path(&w, "sennet.db"), world_path(&w, "copy")), 0);
    remove_file("sennet.db-intent");
    killed();
    ck_assert_int_eq(rename(world_path(&w, "copy"), world_path(&w, "sennet.db")), 0);
    remove_file("sennet.db-wal");
    remove_file("sennet.db-shm");
    world_open(&w);
    expect_notice("belongs to another database, or to a later state of it: its 1 batches are");
    ck_assert_str_eq(spooled(), "");
}

END_TEST

/* ---- the log is gone -------------------------------------------------------------------------- */

START_TEST(a_log_that_is_gone_is_said)
{
    killed();
    remove_file("sennet.db-intent");
    world_open(&w);
    expect_notice("-intent is gone, or empty");
    ck_assert_str_eq(spooled(), "1,2,3");
    world_reload(&w);
    ck_assert_ptr_null(store_notice(w.s));
}

END_TEST

START_TEST(a_log_that_is_empty_is_said)
{
    killed();
    ck_assert_int_eq(truncate(world_path(&w, "sennet.db-intent"), 0), 0);
    world_open(&w);
    expect_notice("-intent is gone, or empty");
}

END_TEST

START_TEST(a_first_start_misses_no_log)
{
    world_open(&w);
    ck_assert_ptr_null(store_notice(w.s));
    world_reload(&w);
    ck_assert_ptr_null(store_notice(w.s));
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: log and database, one without the other");
    TCase *const all = tcase_create("orphans");
    tcase_set_timeout(all, 30);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, spooled_messages_survive_the_loss_of_their_database_in_the_log);
    tcase_add_test(all, an_empty_database_is_as_good_as_none);
    tcase_add_test(all, what_the_log_says_goes_on_top_of_what_is_salvaged);
    tcase_add_test(all, a_copy_that_was_put_back_is_not_mixed_with_the_log);
    tcase_add_test(all, a_log_that_is_gone_is_said);
    tcase_add_test(all, a_log_that_is_empty_is_said);
    tcase_add_test(all, a_first_start_misses_no_log);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
