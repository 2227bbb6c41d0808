/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start while the disk is full, or does not read: the gateway runs, what can be read is loaded, and
 * what can't be is never written over.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

#include "base/error.h"

#include "store_world.h"
#include "suite.h"

static struct store_world w;

/* ---- a disk of this process alone -------------------------------------------------------------- */

/* No file may be longer than a page: what has no room yet finds none. */
static void disk_has_room(bool room)
{
    const struct rlimit limit = {.rlim_cur = room ? RLIM_INFINITY : 4096,
                                 .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The system's VFS, but the database can't be opened, or not be read. */
static int open_fails;
static int read_fails;
static bool heals; /* when it is opened the next time */
static sqlite3_vfs shim;
static sqlite3_io_methods methods;
static int (*real_open)(sqlite3_vfs *, const char *, sqlite3_file *, int, int *);
static int (*real_read)(sqlite3_file *, void *, int, sqlite3_int64);

static int shim_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
    return read_fails != 0 ? read_fails : real_read(file, out, n, at);
}

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    const bool is_database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    if (is_database && open_fails != 0)
        return open_fails;
    if (is_database && heals)
        read_fails = 0;
    const int rc = real_open(vfs, name, file, flags, out);
    if (rc != SQLITE_OK || !is_database)
        return rc;
    methods = *file->pMethods;
    real_read = methods.xRead;
    methods.xRead = shim_read;
    file->pMethods = &methods;
    return rc;
}

static void setup(void)
{
    signal(SIGXFSZ, SIG_IGN);
    open_fails = 0;
    read_fails = 0;
    heals = false;
    shim = *sqlite3_vfs_find(NULL);
    shim.zName = "shim";
    real_open = shim.xOpen;
    shim.xOpen = shim_open;
    sqlite3_vfs_register(&shim, 0);
    world_init(&w);
    w.options.linger_ms = 0;
    w.options.lazy_ms = 0;
    w.options.retry_ms = 20;
}

static void teardown(void)
{
    disk_has_room(true);
    open_fails = 0;
    read_fails = 0;
    world_deinit(&w);
    sqlite3_vfs_unregister(&shim);
}

static bool exists(const char *name)
{
    struct stat st;
    return stat(world_path(&w, name), &st) == 0;
}

static void put_client(uint64_t client, const char *client_id)
{
    put_session(&w, client, client_id);
    put_topic(&w, client, 1, "t");
}

static void write_one_client(void)
{
    world_open(&w);
    put_client(1, "x");
    put_spool(&w, 1, 7, "up");
    ck_assert_uint_eq(world_message(&w, "down", "m"), 1);
    const struct bytes part = bytes_str("half way");
    ck_assert_int_eq(store_packet_put(w.s, 0, "r-1", &part, 1), 0);
    world_commit(&w);
    world_close(&w);
}

static const char one_client[] = "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                                 "  topic 1 name=t alias=0 kind=0\n"
                                 "message 1 topic=down body=m qos=1\n"
                                 "spool 1: 1, 4 octets, last 7\n"
                                 "spool 0: 0, 0 octets, last 7\n";

static void expect_failing(const char *why)
{
    const struct store_event e = world_event(&w, STORE_FAILING);
    ck_assert_msg(strstr(e.why, why) != NULL, "%s", e.why);
    ck_assert(store_gauges(w.s).failing);
    ck_assert(!store_room(w.s, 1));
}

/* The machines say what they have; "y" is new. What was said. */
static const char *resync(void)
{
    static char why[512];
    snprintf(why, sizeof why, "%s", world_event(&w, STORE_RESYNC).why);
    store_resync_begin(w.s);
    put_client(2, "y");
    store_resync_end(w.s);
    store_flush(w.s);
    world_event(&w, STORE_RECOVERED);
    return why;
}

static const char new_client[] = "session 2 id=y active ka=60 sleep=0 next=0 peer=-1/-\n"
                                 "  topic 1 name=t alias=0 kind=0\n";

/* ---- full ------------------------------------------------------------------------------------ */

START_TEST(a_first_start_on_a_full_disk_fails_and_recovers)
{
    disk_has_room(false);
    world_open(&w);
    expect_failing("could not be read");
    ck_assert_str_eq(world_load(&w), "");
    put_client(2, "y");
    world_commit(&w); /* nobody waits for a disk that is not there */
    ck_assert_uint_eq(world_message(&w, "t", "x"), 0);
    disk_has_room(true);
    resync();
    ck_assert(!exists("sennet.db.unread-1"));
    put_spool(&w, 2, 1, "up");
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w), "session 2 id=y active ka=60 sleep=0 next=0 peer=-1/-\n"
                                       "  topic 1 name=t alias=0 kind=0\n"
                                       "spool 2: 1, 4 octets, last 1\n"
                                       "spool 0: 0, 0 octets, last 1\n");
}

END_TEST

/* At once, or when the disk was tried again some times. */
START_TEST(what_is_on_a_full_disk_is_loaded_and_goes_on)
{
    void *data = NULL;
    size_t len = 0;
    w.options.retry_ms = _i == 0 ? 1000 : 1;
    w.options.intent_bytes = _i == 2 ? 1 << 16 : 0;
    write_one_client();
    disk_has_room(false);
    world_open(&w);
    while (_i > 0 && store_gauges(w.s).errors < 3)
        sched_yield();
    expect_failing("what is stored could be read");
    ck_assert_str_eq(world_load(&w), one_client);
    ck_assert_int_eq(store_packet_get(w.s, 0, "r-1", &data, &len), 0);
    ck_assert_uint_eq(len, 8);
    free(data);
    put_client(2, "y");
    put_gone(&w, SN_REC_TOPIC_GONE, 1, 1);
    put_routed(&w, 1);
    world_commit(&w);
    disk_has_room(true);
    world_event(&w, STORE_RECOVERED); /* nothing was lost, so nothing is told again */
    ck_assert_str_eq(world_reload(&w), "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                                       "session 2 id=y active ka=60 sleep=0 next=0 peer=-1/-\n"
                                       "  topic 1 name=t alias=0 kind=0\n"
                                       "spool 1: 1, 4 octets, last 7\n"
                                       "spool 0: 0, 0 octets, last 7\n");
    ck_assert_uint_ne(world_message(&w, "t", "x"), 0);
    ck_assert(!exists("sennet.db.unread-1"));
}

END_TEST

/* What a process leaves that is killed now. */
static void kill_it(void)
{
    char shell[512];
    snprintf(shell, sizeof shell, "cd %s && mkdir left && cp sennet.db* left", w.dir);
    ck_assert_int_eq(system(shell), 0);
    world_close(&w);
    snprintf(shell, sizeof shell,
             "cd %s && rm -f sennet.db* left/*-shm && mv left/* . && rmdir left", w.dir);
    ck_assert_int_eq(system(shell), 0);
}

static void expect_session_3_from_a_full_disk(void)
{
    disk_has_room(false);
    world_open(&w);
    expect_failing("what is stored could be read");
    ck_assert_ptr_nonnull(strstr(world_load(&w), "session 3 id=z"));
    put_client(4, "new");
    world_commit(&w);
    disk_has_room(true);
    world_event(&w, STORE_RECOVERED);
    const char *const text = world_reload(&w);
    ck_assert_ptr_nonnull(strstr(text, "session 3 id=z"));
    ck_assert_ptr_nonnull(strstr(text, "session 4 id=new"));
}

/* What was committed last is in the WAL only ... */
START_TEST(what_a_killed_process_left_on_a_full_disk_is_loaded)
{
    write_one_client();
    world_open(&w);
    put_client(3, "z");
    world_commit(&w);
    kill_it();
    expect_session_3_from_a_full_disk();
}

END_TEST

/* ... and what was promised last in the log. */
START_TEST(what_a_killed_process_promised_is_loaded_from_a_full_disk)
{
    w.options.intent_bytes = 1 << 20;
    write_one_client();
    w.options.linger_ms = 100000;
    w.options.lazy_ms = 100000;
    world_open(&w);
    put_client(2, "y");
    world_commit(&w);
    put_client(3, "z");
    world_commit(&w);
    kill_it();
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM session WHERE client = 3"), "0");
    w.options.linger_ms = 0;
    w.options.lazy_ms = 0;
    expect_session_3_from_a_full_disk();
}

END_TEST

START_TEST(an_older_schema_on_a_full_disk_is_refused_and_not_touched)
{
    write_one_client();
    world_sql(&w, "ALTER TABLE session DROP COLUMN connection");
    world_sql(&w, "ALTER TABLE topic DROP COLUMN known_in");
    world_sql(&w, "ALTER TABLE topic DROP COLUMN refused_in");
    world_sql(&w, "ALTER TABLE message DROP COLUMN sink");
    world_sql(&w, "ALTER TABLE message DROP COLUMN expires_ms");
    world_sql(&w, "ALTER TABLE delivery DROP COLUMN expires_ms");
    world_sql(&w, "ALTER TABLE spool DROP COLUMN origin");
    world_sql(&w, "DROP TABLE sink");
    world_sql(&w, "PRAGMA user_version = 1");
    disk_has_room(false);
    ck_assert_int_eq(world_try_open(&w), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(w.error, "can't be used"));
    disk_has_room(true);
    world_open(&w);
    ck_assert_ptr_nonnull(strstr(world_load(&w), "session 1 id=x"));
    ck_assert(!exists("sennet.db.unread-1"));
}

END_TEST

/* ---- unreadable ------------------------------------------------------------------------------ */

/* With a log beside it, which goes with it, and another one for the fresh one. */
static void expect_set_aside(void)
{
    ck_assert_str_eq(world_load(&w), "");
    put_client(2, "y");
    world_commit(&w);
    open_fails = 0;
    read_fails = 0;
    const char *const why = resync();
    ck_assert_msg(strstr(why, "sennet.db.unread-1") != NULL, "%s", why);
    ck_assert_str_eq(world_reload(&w), new_client);
    put_client(5, "promised");
    world_commit(&w);
    kill_it();
    world_open(&w);
    ck_assert_ptr_nonnull(strstr(world_load(&w), "session 5 id=promised"));
    /* It is whole, and can be gone back to. */
    world_close(&w);
    ck_assert_int_eq(rename(world_path(&w, "sennet.db.unread-1"), world_path(&w, "sennet.db")), 0);
    ck_assert_int_eq(
        rename(world_path(&w, "sennet.db.unread-1-intent"), world_path(&w, "sennet.db-intent")), 0);
    world_open(&w);
    ck_assert_str_eq(world_load(&w), one_client);
}

START_TEST(what_cant_be_opened_at_the_start_is_moved_aside_later)
{
    w.options.intent_bytes = 1 << 20;
    w.options.vfs = "shim";
    write_one_client();
    open_fails = SQLITE_CANTOPEN;
    world_open(&w);
    expect_failing("could not be read");
    expect_set_aside();
}

END_TEST

START_TEST(what_cant_be_read_at_the_start_is_moved_aside_later)
{
    w.options.intent_bytes = 1 << 20;
    w.options.vfs = "shim";
    write_one_client();
    read_fails = SQLITE_IOERR_READ;
    world_open(&w);
    expect_failing("disk I/O error");
    expect_set_aside();
}

END_TEST

struct loaded {
    unsigned records;
    uint64_t spooled;
    uint64_t last_number;
};

static int count_record(void *owner, const struct sn_record *record)
{
    struct loaded *const l = owner;
    (void)record;
    l->records++;
    return 0;
}

static int count_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last)
{
    struct loaded *const l = owner;
    (void)client;
    (void)bytes;
    l->spooled += n;
    l->last_number = last;
    return 0;
}

static struct loaded load_and_count(void)
{
    struct loaded l = {0};
    const struct store_visitor visitor = {
        .owner = &l, .record = count_record, .spool = count_spool};
    ck_assert_int_eq(store_load(w.s, &visitor), 0);
    return l;
}

enum { MANY = 20000, SPOOLED = 500 };

/* More than SQLite keeps in memory; open. */
static void write_many_clients(void)
{
    w.options.vfs = "shim";
    world_open(&w);
    for (uint64_t client = 1; client <= MANY; client++)
        put_client(client, "a name that is long enough to fill some pages of the database with it");
    for (uint64_t number = 1; number <= SPOOLED; number++)
        put_spool(&w, 1, number, "up");
    world_commit(&w);
    world_reopen(&w);
    ck_assert(!store_gauges(w.s).failing);
}

START_TEST(half_a_load_is_none)
{
    write_many_clients();
    read_fails = SQLITE_IOERR_READ;
    const struct loaded l = load_and_count();
    ck_assert_uint_eq(l.records, 0);
    ck_assert_uint_eq(l.spooled, 0);
    expect_failing("disk I/O error");
    read_fails = 0;
    ck_assert_ptr_nonnull(strstr(resync(), "sennet.db.unread-1"));
    ck_assert_str_eq(world_reload(&w), new_client);
}

END_TEST

START_TEST(damage_that_the_load_finds_is_moved_aside_and_the_spool_goes_on)
{
    write_many_clients();
    read_fails = SQLITE_CORRUPT;
    heals = true;
    const struct loaded l = load_and_count();
    ck_assert_uint_eq(l.records, 0);
    ck_assert_uint_eq(l.spooled, SPOOLED);
    ck_assert_uint_eq(l.last_number, SPOOLED);
    ck_assert_ptr_nonnull(strstr(store_notice(w.s), "sennet.db.corrupt-1"));
    ck_assert(!store_gauges(w.s).failing);
    put_spool(&w, 1, SPOOLED + 1, "up");
    world_commit(&w);
    const struct store_event e = world_fetch(&w, SPOOLED - 1, 10, 1000);
    ck_assert_uint_eq(e.n, 2);
}

END_TEST

START_TEST(a_load_that_is_sound_is_whole)
{
    write_many_clients();
    const struct loaded l = load_and_count();
    ck_assert_uint_eq(l.records, 2 * MANY);
    ck_assert_uint_eq(l.spooled, SPOOLED);
}

END_TEST

/* ---- what does not pass ---------------------------------------------------------------------- */

START_TEST(what_is_no_file_ends_the_start)
{
    ck_assert_int_eq(mkdir(world_path(&w, "sennet.db"), 0700), 0);
    ck_assert_int_eq(world_try_open(&w), EXIT_NO_STATE);
    ck_assert_ptr_nonnull(strstr(w.error, "sennet.db can't be used"));
    rmdir(world_path(&w, "sennet.db"));
}

END_TEST

int main(void)
{
    TCase *const all = tcase_create("begin");
    tcase_set_timeout(all, 120);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, a_first_start_on_a_full_disk_fails_and_recovers);
    tcase_add_loop_test(all, what_is_on_a_full_disk_is_loaded_and_goes_on, 0, 3);
    tcase_add_test(all, what_a_killed_process_left_on_a_full_disk_is_loaded);
    tcase_add_test(all, what_a_killed_process_promised_is_loaded_from_a_full_disk);
    tcase_add_test(all, an_older_schema_on_a_full_disk_is_refused_and_not_touched);
    tcase_add_test(all, what_cant_be_opened_at_the_start_is_moved_aside_later);
    tcase_add_test(all, what_cant_be_read_at_the_start_is_moved_aside_later);
    tcase_add_test(all, half_a_load_is_none);
    tcase_add_test(all, a_load_that_is_sound_is_whole);
    tcase_add_test(all, damage_that_the_load_finds_is_moved_aside_and_the_spool_goes_on);
    tcase_add_test(all, what_is_no_file_ends_the_start);
    Suite *const suite = suite_create("store: begin");
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
