/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are not what they should be, directories that are somebody else's. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/error.h"

#include "child.h"
#include "store_world.h"
#include "suite.h"

static struct store_world w;

static void setup(void)
{
    world_init(&w);
    w.options.linger_ms = 0;
    w.options.lazy_ms = 0;
    w.options.retry_ms = 1;
}

static void teardown(void)
{
    world_deinit(&w);
}

static void write_file(const char *name, const void *data, size_t len)
{
    FILE *const f = fopen(world_path(&w, name), "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(data, 1, len, f), len);
    fclose(f);
}

static bool exists(const char *name)
{
    struct stat st;
    return stat(world_path(&w, name), &st) == 0;
}

static off_t size_of(const char *name)
{
    struct stat st;
    ck_assert_int_eq(stat(world_path(&w, name), &st), 0);
    return st.st_size;
}

/* A few pages of each table. */
static void fill(void)
{
    world_open(&w);
    for (uint64_t i = 1; i <= 500; i++) {
        put_session(&w, i, "a node with quite a long client id");
        put_topic(&w, i, 1, "a/topic/of/some/length/too");
        put_subscription(&w, i, "a/filter/of/some/length", 1);
        put_delivery(&w, i, 1, 0, "a message of some length");
        put_spool(&w, i, i, "a message of some length");
    }
    world_commit(&w);
    world_close(&w);
}

/* Overwrites from that part of the file on. */
static void spoil(const char *name, int tenths, size_t len)
{
    const off_t at = size_of(name) / 10 * tenths / 4096 * 4096;
    static uint8_t rubbish[1 << 20];
    memset(rubbish, 0xA5, sizeof rubbish);
    const int fd = open(world_path(&w, name), O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, rubbish, len, at), (ssize_t)len);
    close(fd);
}

/* As far as sessions are concerned. */
static void expect_begun_anew(void)
{
    world_open(&w);
    const char *const notice = store_notice(w.s);
    ck_assert_ptr_nonnull(notice);
    ck_assert_ptr_nonnull(strstr(notice, world_path(&w, "sennet.db.corrupt-1")));
    ck_assert(exists("sennet.db.corrupt-1"));
    ck_assert_ptr_null(strstr(world_load(&w), "session"));
    put_session(&w, 1, "x");
    world_commit(&w);
    ck_assert_ptr_nonnull(
        strstr(world_reload(&w), "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"));
    ck_assert_ptr_null(store_notice(w.s));
}

static long spooled(void)
{
    return strtol(world_sql(&w, "SELECT count(*) FROM spool"), NULL, 10);
}

/* ---- what is found at the start -------------------------------------------------------------- */

START_TEST(rubbish_is_moved_aside)
{
    static const char rubbish[] = "this was never a database, but long enough to look like one ... "
                                  "this was never a database, but long enough to look like one ...";
    write_file("sennet.db", rubbish, sizeof rubbish);
    write_file("sennet.db-wal", rubbish, sizeof rubbish);
    expect_begun_anew();
    ck_assert_int_eq(size_of("sennet.db.corrupt-1"), sizeof rubbish);
    ck_assert_int_eq(size_of("sennet.db.corrupt-1-wal"), sizeof rubbish);
}

END_TEST

START_TEST(an_empty_file_is_a_fresh_one)
{
    write_file("sennet.db", "", 0);
    write_file("sennet.db-wal", "", 0);
    world_open(&w);
    ck_assert_ptr_null(store_notice(w.s));
    ck_assert(!exists("sennet.db.corrupt-1"));
}

END_TEST

START_TEST(a_file_that_was_cut_is_moved_aside)
{
    fill();
    ck_assert_int_eq(truncate(world_path(&w, "sennet.db"), size_of("sennet.db") / 2), 0);
    expect_begun_anew();
}

END_TEST

START_TEST(a_damaged_page_is_found_wherever_it_is)
{
    fill();
    ck_assert_int_gt(size_of("sennet.db"), 40 * 4096);
    spoil("sennet.db", _i, 4096);
    expect_begun_anew();
}

END_TEST

/* Of the spool, which has its pages all over the file, most can be read. */
START_TEST(spooled_messages_are_taken_over_from_a_damaged_file)
{
    fill();
    spoil("sennet.db", _i, 4096);
    world_open(&w);
    ck_assert_ptr_nonnull(strstr(store_notice(w.s), "spooled messages were taken over"));
    ck_assert_int_ge(spooled(), 300);
    const struct store_event e = world_fetch(&w, 0, 500, 1 << 20);
    ck_assert_int_eq((long)e.n, spooled());
    uint64_t before = 0;
    for (size_t i = 0; i < e.n; i++) {
        ck_assert_uint_gt(e.rows[i].number, before);
        before = e.rows[i].number;
        ck_assert_uint_eq(e.rows[i].client, before);
        ck_assert(bytes_equal(e.rows[i].topic, bytes_str("up")));
        ck_assert(bytes_equal(body_bytes(e.rows[i].body), bytes_str("a message of some length")));
    }
}

END_TEST

START_TEST(spooled_messages_are_taken_over_from_a_file_that_was_cut)
{
    fill();
    ck_assert_int_eq(truncate(world_path(&w, "sennet.db"), size_of("sennet.db") / 10 * 9), 0);
    world_open(&w);
    ck_assert_ptr_nonnull(store_notice(w.s));
    ck_assert_int_ge(spooled(), 100);
}

END_TEST

START_TEST(a_database_of_another_program_is_moved_aside)
{
    ck_assert_str_eq(world_sql(&w, "CREATE TABLE bookmarks (x)"), "");
    expect_begun_anew();
}

END_TEST

START_TEST(a_database_without_one_of_the_tables_is_moved_aside)
{
    fill();
    world_sql(&w, "DROP TABLE topic");
    expect_begun_anew();
    ck_assert_int_eq(spooled(), 500);
}

END_TEST

START_TEST(each_damaged_file_gets_a_number)
{
    for (int i = 1; i <= 3; i++) {
        char name[40];
        write_file("sennet.db", "rubbish that is longer than nothing", 30);
        world_open(&w);
        world_close(&w);
        snprintf(name, sizeof name, "sennet.db.corrupt-%d", i);
        ck_assert(exists(name));
    }
}

END_TEST

START_TEST(a_newer_version_is_refused_and_not_touched)
{
    fill();
    world_sql(&w, "PRAGMA user_version = 99");
    const off_t size = size_of("sennet.db");
    ck_assert_int_eq(world_try_open(&w), EXIT_NO_STATE);
    ck_assert_msg(strstr(w.error, "newer version (schema 99, known here: 4)") != NULL, "%s",
                  w.error);
    ck_assert_ptr_nonnull(strstr(w.error, world_path(&w, "sennet.db")));
    ck_assert_int_eq(size_of("sennet.db"), size);
    ck_assert(!exists("sennet.db.corrupt-1"));
    world_sql(&w, "PRAGMA user_version = 4");
    world_open(&w);
    ck_assert_str_ne(world_load(&w), "");
}

END_TEST

static void without_expiry(void)
{
    world_sql(&w, "ALTER TABLE message DROP COLUMN expires_ms");
    world_sql(&w, "ALTER TABLE delivery DROP COLUMN expires_ms");
    world_sql(&w, "ALTER TABLE spool DROP COLUMN origin");
}

static void open_as_version(unsigned version)
{
    char pragma[40];
    snprintf(pragma, sizeof pragma, "PRAGMA user_version = %u", version);
    world_sql(&w, pragma);
    world_open(&w);
    ck_assert_ptr_null(store_notice(w.s));
}

/* In version 3 nothing expired. */
START_TEST(a_database_of_version_3_is_brought_to_this_one)
{
    world_open(&w);
    put_session(&w, 1, "stored");
    put_delivery(&w, 1, 1, 0, "own");
    put_delivery(&w, 1, 2, world_message(&w, "down", "shared"), "shared");
    world_commit(&w);
    world_message(&w, "down", "not routed");
    world_close(&w);
    without_expiry();
    open_as_version(3);
    ck_assert_str_eq(world_load(&w),
                     "session 1 id=stored active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  delivery 1 journal=0 topic=down body=own qos=1 waiting id=0\n"
                     "  delivery 2 journal=1 topic=down body=shared qos=1 waiting"
                     " id=0\n"
                     "message 2 topic=down body=not routed qos=1\n");
    ck_assert_str_eq(world_sql(&w, "PRAGMA user_version"), "4");
}

END_TEST

/* Version 1 did not know what a node knows. */
START_TEST(a_database_of_version_1_is_brought_to_this_one)
{
    world_open(&w);
    put_session(&w, 1, "stored");
    put_session(&w, 2, "clean");
    for (uint64_t client = 1; client <= 2; client++) {
        put_topic(&w, client, 1, "lent");
        put_topic(&w, client, 2, "given");
    }
    put_spool(&w, 1, 7, "kept");
    world_commit(&w);
    world_close(&w);
    world_sql(&w, "UPDATE session SET clean = 1 WHERE client = 2");
    world_sql(&w, "UPDATE topic SET given = 1 WHERE topic_id = 2");
    world_sql(&w, "ALTER TABLE session DROP COLUMN connection");
    world_sql(&w, "ALTER TABLE topic DROP COLUMN known_in");
    world_sql(&w, "ALTER TABLE topic DROP COLUMN refused_in");
    world_sql(&w, "ALTER TABLE message DROP COLUMN sink");
    world_sql(&w, "DROP TABLE sink");
    without_expiry();
    open_as_version(1);
    ck_assert_str_eq(world_load(&w),
                     "session 1 id=stored active ka=60 sleep=0 next=0 peer=-1/- connection=1\n"
                     "  topic 1 name=lent alias=0 kind=0\n"
                     "  topic 2 name=given alias=0 kind=0 given\n"
                     "session 2 id=clean active clean ka=60 sleep=0 next=0 peer=-1/- connection=1\n"
                     "  topic 1 name=lent alias=0 kind=0\n"
                     "  topic 2 name=given alias=0 kind=0 given known=1\n"
                     "spool 1: 1, 6 octets, last 7\nspool 0: 0, 0 octets, last 7\n");
    ck_assert_str_eq(world_sql(&w, "PRAGMA user_version"), "4");
}

END_TEST

START_TEST(rows_that_make_no_sense_are_left_out)
{
    world_open(&w);
    for (uint64_t i = 1; i <= 4; i++) {
        put_session(&w, i, "x");
        put_topic(&w, i, 1, "t");
        put_delivery(&w, i, 1, 0, "x");
    }
    put_topic(&w, 99, 1, "of nobody");
    world_commit(&w);
    world_sql(&w, "UPDATE session SET state = 'drunk' WHERE client = 1");
    world_sql(&w, "UPDATE session SET link = 'udp', address_kind = 'ip4', address = x'01',"
                  " path = x'ff' WHERE client = 2");
    world_sql(&w, "UPDATE topic SET alias = 65536 WHERE client = 2");
    world_sql(&w, "UPDATE delivery SET journal = 77 WHERE client = 3");
    world_sql(&w, "UPDATE delivery SET qos = -1 WHERE client = 4");
    ck_assert_str_eq(world_reload(&w),
                     "session 2 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  delivery 1 journal=0 topic=down body=x qos=1 waiting id=0\n"
                     "session 3 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  topic 1 name=t alias=0 kind=0\n"
                     "session 4 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  topic 1 name=t alias=0 kind=0\n");
    const struct store_gauges g = store_gauges(w.s);
    ck_assert_uint_eq(g.left_out[STORE_SESSIONS], 1);
    ck_assert_uint_eq(g.left_out[STORE_TOPICS], 3);
    ck_assert_uint_eq(g.left_out[STORE_DELIVERIES], 3);
    ck_assert_uint_eq(g.left_out[STORE_SUBSCRIPTIONS], 0);
    /* A session that gets one of these keys must not find what belonged to another. */
    put_session(&w, 1, "another");
    put_session(&w, 99, "and one more");
    world_commit(&w);
    const char *const text = world_reload(&w);
    ck_assert_ptr_nonnull(
        strstr(text, "session 1 id=another active ka=60 sleep=0 next=0 peer=-1/-\nsession 2"));
    ck_assert_ptr_nonnull(
        strstr(text, "session 99 id=and one more active ka=60 sleep=0 next=0 peer=-1/-\n"));
    ck_assert_ptr_null(strstr(text, "of nobody"));
}

END_TEST

/* ---- while it runs --------------------------------------------------------------------------- */

static char payload[4000];

START_TEST(damage_found_under_way_is_moved_aside_and_all_is_told_anew)
{
    uint8_t seed[16];
    memset(payload, 'x', sizeof payload - 1);
    world_open(&w);
    memcpy(seed, store_seed(w.s), sizeof seed);
    /* More than SQLite keeps in memory. */
    for (uint64_t number = 1; number <= 1000; number++)
        put_spool(&w, 1, number, payload);
    world_commit(&w);
    world_reopen(&w);
    spoil("sennet.db", 7, 1 << 16);
    bool failed = false;
    uint64_t after = 0;
    while (!failed) {
        store_fetch(w.s, after, 100, 1 << 20);
        struct store_event e;
        while (!store_next_event(w.s, &e))
            ;
        failed = e.type == STORE_FAILING;
        if (!failed) {
            ck_assert_uint_gt(e.n, 0);
            after = e.rows[e.n - 1].number;
        }
    }
    struct store_event e;
    do {
        while (!store_next_event(w.s, &e))
            ;
    } while (e.type == STORE_FETCHED);
    ck_assert_int_eq(e.type, STORE_RESYNC);
    ck_assert_ptr_nonnull(strstr(e.why, "moved aside"));
    ck_assert(exists("sennet.db.corrupt-1"));
    store_resync_begin(w.s);
    put_session(&w, 1, "x");
    put_delivery(&w, 1, 1, 55, "journalled in the file that is gone");
    store_resync_end(w.s);
    world_commit(&w);
    world_event(&w, STORE_RECOVERED);
    /* Some are lost; those behind the damage are there. */
    const struct store_event rest = world_fetch(&w, after, 1000, 1 << 30);
    ck_assert_uint_gt(rest.n, 0);
    ck_assert_uint_eq(rest.rows[rest.n - 1].number, 1000);
    ck_assert_int_ge(spooled(), 900);
    ck_assert_ptr_nonnull(
        strstr(world_reload(&w),
               "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
               "  delivery 1 journal=55 topic=down body=journalled in the file that is gone "
               "qos=1 waiting id=0\n"));
    ck_assert_mem_eq(seed, store_seed(w.s), sizeof seed);
    ck_assert_uint_eq(world_message(&w, "t", "x"), 56);
}

END_TEST

START_TEST(a_file_that_somebody_deletes_is_missed_and_written_anew)
{
    memset(payload, 'x', sizeof payload - 1);
    world_open(&w);
    put_session(&w, 1, "x");
    world_commit(&w);
    unlink(world_path(&w, "sennet.db"));
    unlink(world_path(&w, "sennet.db-wal"));
    unlink(world_path(&w, "sennet.db-shm"));
    uint64_t number = 0;
    while (!store_gauges(w.s).failing) {
        put_spool(&w, 1, ++number, payload);
        world_commit(&w);
        ck_assert_uint_lt(number, 1000);
    }
    ck_assert_ptr_nonnull(strstr(world_event(&w, STORE_FAILING).why, "deleted"));
    world_event(&w, STORE_RESYNC);
    store_resync_begin(w.s);
    put_session(&w, 1, "x");
    store_resync_end(w.s);
    world_commit(&w);
    world_event(&w, STORE_RECOVERED);
    /* The last message may have been promised before it was noticed. */
    ck_assert_ptr_nonnull(
        strstr(world_reload(&w), "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"));
}

END_TEST

START_TEST(who_looks_at_the_tables_disturbs_nobody)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    world_open(&w);
    put_session(&w, 1, "x");
    world_commit(&w);
    ck_assert_int_eq(sqlite3_open(world_path(&w, "sennet.db"), &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT * FROM session", -1, &stmt, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    memset(payload, 'x', sizeof payload - 1);
    for (uint64_t number = 1; number <= 3000; number++)
        put_spool(&w, 1, number, payload);
    world_commit(&w);
    put_session(&w, 2, "x");
    world_commit(&w);
    ck_assert(!store_gauges(w.s).failing);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

END_TEST

/* ---- whose directory ------------------------------------------------------------------------- */

START_TEST(the_lock_of_a_daemon_that_was_killed_is_none)
{
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        world_open(&w);
        put_session(&w, 1, "x");
        world_commit(&w);
        if (write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    char byte;
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    char pid[32];
    snprintf(pid, sizeof pid, "pid %ld;", (long)child);
    ck_assert_int_eq(world_try_open(&w), EXIT_NO_STATE);
    ck_assert_msg(strstr(w.error, pid) != NULL, "%s", w.error);
    kill(child, SIGKILL);
    child_wait(child, CHILD_SOON_MS, "the other daemon");
    world_open(&w);
    ck_assert_str_eq(world_load(&w), "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n");
    close(ready[0]);
    close(ready[1]);
}

END_TEST

START_TEST(a_directory_is_made_and_one_that_can_not_be_is_told)
{
    char dir[128];
    snprintf(dir, sizeof dir, "%s", world_path(&w, "a"));
    w.options.dir = dir;
    world_open(&w);
    world_close(&w);
    ck_assert(exists("a/sennet.db"));
    unlink(world_path(&w, "a/sennet.db"));
    unlink(world_path(&w, "a/sennet.lock"));
    rmdir(dir);
    w.options.dir = "/dev/null/x";
    ck_assert_int_eq(world_try_open(&w), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(w.error, "/dev/null/x"));
}

END_TEST

START_TEST(a_name_with_letters_of_urls_is_a_name)
{
    char dir[128];
    snprintf(dir, sizeof dir, "%s", world_path(&w, "a?b#c%41&psow=2"));
    w.options.dir = dir;
    world_open(&w);
    world_close(&w);
    ck_assert(exists("a?b#c%41&psow=2/sennet.db"));
    unlink(world_path(&w, "a?b#c%41&psow=2/sennet.db"));
    unlink(world_path(&w, "a?b#c%41&psow=2/sennet.lock"));
    rmdir(dir);
}

END_TEST

START_TEST(off_is_no_store)
{
    w.options.durability = STORE_OFF;
    ck_assert_int_eq(world_try_open(&w), EXIT_CONFIG);
    ck_assert_str_ne(w.error, "");
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: files");
    TCase *const all = tcase_create("files");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, rubbish_is_moved_aside);
    tcase_add_test(all, an_empty_file_is_a_fresh_one);
    tcase_add_test(all, a_file_that_was_cut_is_moved_aside);
    tcase_add_loop_test(all, a_damaged_page_is_found_wherever_it_is, 0, 10);
    tcase_add_loop_test(all, spooled_messages_are_taken_over_from_a_damaged_file, 4, 10);
    tcase_add_test(all, spooled_messages_are_taken_over_from_a_file_that_was_cut);
    tcase_add_test(all, a_database_of_another_program_is_moved_aside);
    tcase_add_test(all, a_database_without_one_of_the_tables_is_moved_aside);
    tcase_add_test(all, each_damaged_file_gets_a_number);
    tcase_add_test(all, a_newer_version_is_refused_and_not_touched);
    tcase_add_test(all, a_database_of_version_1_is_brought_to_this_one);
    tcase_add_test(all, a_database_of_version_3_is_brought_to_this_one);
    tcase_add_test(all, rows_that_make_no_sense_are_left_out);
    tcase_add_test(all, damage_found_under_way_is_moved_aside_and_all_is_told_anew);
    tcase_add_test(all, a_file_that_somebody_deletes_is_missed_and_written_anew);
    tcase_add_test(all, who_looks_at_the_tables_disturbs_nobody);
    tcase_add_test(all, the_lock_of_a_daemon_that_was_killed_is_none);
    tcase_add_test(all, a_directory_is_made_and_one_that_can_not_be_is_told);
    tcase_add_test(all, a_name_with_letters_of_urls_is_a_name);
    tcase_add_test(all, off_is_no_store);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
