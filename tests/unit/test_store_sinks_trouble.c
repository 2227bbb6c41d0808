/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sinks when something goes wrong: whatever happens to process and disk, a message never gets to the
 * broker of another sink.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <sqlite3.h>

#include "fault_vfs.h"
#include "seed.h"
#include "store_priv.h"
#include "store_world.h"
#include "suite.h"

static struct store_world w;
static struct fault_disk *disk;
static struct fault_disk *left;
static struct rng rng;

static void setup(void)
{
    signal(SIGXFSZ, SIG_IGN);
    rng = seeded_rng();
    world_init(&w);
    w.options.linger_ms = 0;
    w.options.retry_ms = 1;
}

static void disk_has_room(bool room)
{
    const struct rlimit limit = {.rlim_cur = room ? RLIM_INFINITY : 4096,
                                 .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void teardown(void)
{
    disk_has_room(true);
    if (disk != NULL)
        fault_disk_heal(disk);
    world_deinit(&w);
    if (left != NULL)
        fault_disk_free(left);
    if (disk != NULL)
        fault_disk_free(disk);
    disk = left = NULL;
}

/* ---- helpers --------------------------------------------------------------------------------- */

static uint64_t sink(const char *broker, const char *client_id)
{
    uint64_t number = UINT64_MAX;
    ck_assert_int_eq(store_sink(w.s, broker, bytes_str(client_id), &number), 0);
    return number;
}

/* Their order is that of nobody who asks later. */
static void name_sinks(void)
{
    ck_assert_uint_eq(sink("cloud", ""), 0);
    ck_assert_uint_eq(sink("home", ""), 1);
    ck_assert_uint_eq(sink("home", "node"), 2);
}

static void expect_sinks(void)
{
    ck_assert_uint_eq(sink("home", "node"), 2);
    ck_assert_uint_eq(sink("home", ""), 1);
    ck_assert_uint_eq(sink("new", ""), 3);
    ck_assert_uint_eq(sink("cloud", ""), 0);
}

static void spool(uint64_t of, uint64_t number)
{
    put_spool(&w, 1, store_sink_base(of) + number, "x");
}

static void recover(void)
{
    world_event(&w, STORE_RESYNC);
    store_resync_begin(w.s);
    put_session(&w, 1, "x");
    store_resync_end(w.s);
    store_flush(w.s);
    world_event(&w, STORE_RECOVERED);
}

static bool exists(const char *name)
{
    FILE *const f = fopen(world_path(&w, name), "rb");
    if (f != NULL)
        fclose(f);
    return f != NULL;
}

/* ---- a process that dies --------------------------------------------------------------------- */

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

static void promise_all(void)
{
    w.options.intent_bytes = 1 << 16;
    w.options.linger_ms = 1000000;
    w.options.lazy_ms = 1000000;
    world_open(&w);
    name_sinks();
    ck_assert_uint_eq(sink("gone", "soon"), 3);
    spool(1, 5);
    spool(2, 5);
    store_flush(w.s);
    store_sink_gone(w.s, 3);
    store_flush(w.s);
    const struct bytes part = bytes_str("x");
    store_spool_sending(w.s, store_sink_base(2) + 5, 9);
    ck_assert_int_eq(store_packet_put(w.s, 2, "s-9", &part, 1), 0);
    ck_assert_int_eq(store_packet_put(w.s, 1, "s-9", &part, 1), 0);
    ck_assert_uint_eq(
        store_message(w.s, 2,
                      &(struct store_incoming){.topic = bytes_str("t"), .payload = part, .qos = 1},
                      NULL),
        1);
    ck_assert_uint_eq(store_gauges(w.s).commits, 0);
    kill_it();
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM sink"), "0");
}

static void expect_promised(void)
{
    ck_assert_str_eq(world_load(&w), "message 1 topic=t body=x qos=1\n"
                                     "sent 281474976710661 of 1: 3 octets\n"
                                     "spool 1: 1, 3 octets, last 140737488355333\n"
                                     "spool 0: 0, 0 octets, last 140737488355333\n"
                                     "spool 0: 0, 0 octets, last 281474976710661\n");
    expect_sinks();
    ck_assert_uint_eq(store_spool_sent_as(w.s, 2, 9), store_sink_base(2) + 5);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 1, 9), 0);
}

START_TEST(what_was_promised_is_each_sinks_own)
{
    promise_all();
    world_open(&w);
    expect_promised();
    ck_assert_str_eq(world_sql(&w, "SELECT sink FROM message"), "2");
}

END_TEST

START_TEST(what_was_promised_is_each_sinks_own_on_a_full_disk)
{
    promise_all();
    disk_has_room(false);
    world_open(&w);
    world_event(&w, STORE_FAILING);
    expect_promised();
    disk_has_room(true);
    world_event(&w, STORE_RECOVERED);
    world_reopen(&w);
    expect_sinks();
}

END_TEST

/* Whatever is on the disk when it happens, messages come with the sinks that they belong to. */
START_TEST(a_crash_at_any_time_leaves_no_message_without_its_sink)
{
    disk = fault_disk_new("disk");
    w.options.vfs = "disk";
    world_open(&w);
    for (uint64_t i = 0; i < 40; i++) {
        char broker[16];
        snprintf(broker, sizeof broker, "b%llu", (unsigned long long)i);
        spool(sink(broker, ""), 1 + i);
        store_flush(w.s);
        if (rng_below(&rng, 2) == 0)
            world_wait_batch(&w, store_batch(w.s) - 1);
        left = fault_disk_crash(disk, "left",
                                rng_below(&rng, 2) == 0 ? FAULT_KILLED : FAULT_POWER_CUT, &rng);
        struct store_world after;
        world_init(&after);
        after.options.vfs = "left";
        world_open(&after);
        struct store_world *const now = &after;
        for (uint64_t of = 0; of <= i; of++) {
            const struct store_event e = world_fetch(now, store_sink_base(of), 100, 1 << 20);
            uint64_t number = UINT64_MAX;
            snprintf(broker, sizeof broker, "b%llu", (unsigned long long)of);
            ck_assert_uint_le(e.n, 1);
            if (e.n == 0)
                continue;
            ck_assert_uint_eq(e.rows[0].number, store_sink_base(of) + 1 + of);
            ck_assert_int_eq(store_sink(now->s, broker, bytes_of(NULL, 0), &number), 0);
            ck_assert_uint_eq(number, of);
        }
        world_deinit(&after);
        fault_disk_free(left);
        left = NULL;
    }
}

END_TEST

/* ---- a disk that fails ----------------------------------------------------------------------- */

static void open_on_disk(void)
{
    disk = fault_disk_new("disk");
    w.options.vfs = "disk";
    world_open(&w);
    name_sinks();
    world_commit(&w);
}

START_TEST(a_resync_keeps_sinks)
{
    open_on_disk();
    store_resync_begin(w.s);
    put_session(&w, 1, "x");
    store_resync_end(w.s);
    world_commit(&w);
    world_reopen(&w);
    expect_sinks();
}

END_TEST

START_TEST(sinks_named_while_failing_are_stored_later)
{
    enum { CHANGES = 1 << FAULT_WRITE | 1 << FAULT_SYNC | 1 << FAULT_TRUNCATE };

    disk = fault_disk_new("disk");
    w.options.vfs = "disk";
    w.options.max_queued_bytes = 4096;
    world_open(&w);
    ck_assert_uint_eq(sink("cloud", ""), 0);
    ck_assert_uint_eq(sink("gone", ""), 1);
    world_commit(&w);
    fault_disk_fail(disk, CHANGES, 1, 1 << 30, SQLITE_IOERR_WRITE);
    store_sink_gone(w.s, 1);
    ck_assert_uint_eq(sink("home", ""), 1);
    ck_assert_uint_eq(sink("home", "node"), 2);
    store_flush(w.s);
    world_event(&w, STORE_FAILING);
    /* What is too much is thrown away, but they are not. */
    for (uint16_t id = 0; id < 200; id++) {
        put_exchange(&w, 1, id);
        store_flush(w.s);
    }
    fault_disk_heal(disk);
    recover();
    world_reopen(&w);
    expect_sinks();
}

END_TEST

START_TEST(a_disk_that_comes_back_empty_gets_the_sinks_again)
{
    open_on_disk();
    store_sink_gone(w.s, sink("gone", "node"));
    world_commit(&w);
    fault_disk_fail(disk, 1 << FAULT_WRITE | 1 << FAULT_SYNC, 1, 1 << 30, SQLITE_IOERR_WRITE);
    spool(1, 1);
    store_flush(w.s);
    world_event(&w, STORE_FAILING);
    fault_disk_wipe(disk);
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    /* Before anything is told again: a process that is killed now leaves messages with their sinks. */
    left = fault_disk_crash(disk, "left", FAULT_KILLED, &rng);
    world_close(&w);
    w.options.vfs = "left";
    world_open(&w);
    ck_assert_str_eq(world_load(&w), "spool 1: 1, 3 octets, last 140737488355329\n"
                                     "spool 0: 0, 0 octets, last 140737488355329\n");
    expect_sinks();
    world_close(&w);
}

END_TEST

/* ---- a damaged file -------------------------------------------------------------------------- */

/* The page in which this stands: spoiled, or wiped. */
static void spoil(const char *text, bool wipe)
{
    char path[200];
    static uint8_t file[1 << 24];
    snprintf(path, sizeof path, "%s", world_path(&w, "sennet.db"));
    FILE *const f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    const size_t len = fread(file, 1, sizeof file, f);
    const uint8_t *const at = memmem(file, len, text, strlen(text));
    ck_assert_ptr_nonnull(at);
    const size_t page = (size_t)(at - file) / STORE_PAGE_BYTES * STORE_PAGE_BYTES;
    ck_assert_uint_gt(page, 0);
    memset(file + page, wipe ? 0 : 0xA5, wipe ? STORE_PAGE_BYTES : 64);
    rewind(f);
    ck_assert_uint_eq(fwrite(file, 1, len, f), len);
    fclose(f);
}

static void write_named(void)
{
    world_open(&w);
    name_sinks();
    put_session(&w, 1, "a name to be found in the file");
    for (uint64_t of = 0; of < 3; of++)
        spool(of, 1);
    spool(9, 1); /* whose name is lost already */
    world_commit(&w);
    world_close(&w);
}

START_TEST(messages_out_of_a_damaged_file_keep_their_sinks)
{
    write_named();
    spoil("a name to be found in the file", false);
    world_open(&w);
    ck_assert_ptr_nonnull(store_notice(w.s));
    ck_assert(exists("sennet.db.corrupt-1"));
    ck_assert_str_eq(world_sql(&w, "SELECT group_concat(number) FROM"
                                   " (SELECT number FROM spool ORDER BY number)"),
                     "1,140737488355329,281474976710657,1266637395197953");
    expect_sinks();
    world_reopen(&w);
    expect_sinks();
}

END_TEST

/* They are for nobody rather than for somebody else. */
START_TEST(numbers_of_messages_whose_sink_is_lost_are_not_given_again)
{
    write_named();
    if (_i == 0)
        world_sql(&w, "DELETE FROM sink");
    else
        spoil("homenode", true);
    for (int again = 0; again < 2; again++) {
        world_open(&w);
        ck_assert_uint_eq(sink("evil", ""), 0); /* as those of a database of version 2 */
        ck_assert_uint_eq(sink("cloud", ""), 3);
        ck_assert_uint_eq(sink("home", ""), 4);
        ck_assert_uint_eq(sink("a", ""), 5);
        ck_assert_uint_eq(sink("b", ""), 6);
        ck_assert_uint_eq(sink("c", ""), 7);
        ck_assert_uint_eq(sink("d", ""), 8);
        ck_assert_uint_eq(sink("e", ""), 10);
        world_close(&w);
    }
}

END_TEST

START_TEST(damage_that_the_load_finds_costs_no_sink)
{
    static char text[3000];
    memset(text, 'x', sizeof text - 1);
    world_open(&w);
    name_sinks();
    for (uint64_t client = 1; client < 3000; client++) /* more than SQLite keeps in memory */
        put_session(&w, client, text);
    spool(2, 1);
    world_commit(&w);
    world_reopen(&w);
    /* Behind the back of SQLite, which has looked at the file already. */
    if (_i == 1)
        spoil("homenode", true);
    char path[200];
    snprintf(path, sizeof path, "%s", world_path(&w, "sennet.db"));
    FILE *const f = fopen(path, "r+b");
    fseek(f, 0, SEEK_END);
    const long len = ftell(f);
    static const uint8_t rubbish[64] = {0xA5, 0xA5, 0xA5};
    for (long at = 100L * STORE_PAGE_BYTES; at < len - 100L * STORE_PAGE_BYTES;
         at += STORE_PAGE_BYTES) {
        fseek(f, at, SEEK_SET);
        ck_assert_uint_eq(fwrite(rubbish, 1, sizeof rubbish, f), sizeof rubbish);
    }
    fclose(f);
    ck_assert_uint_eq(sink("later", ""), 3); /* told before the load, as the daemon does it */
    const char *const loaded = world_load(&w);
    ck_assert_ptr_nonnull(store_notice(w.s));
    ck_assert(exists("sennet.db.corrupt-1"));
    ck_assert_ptr_nonnull(strstr(loaded, "spool 1: 1, 3 octets, last 281474976710657\n"));
    world_commit(&w);
    world_reopen(&w);
    ck_assert_uint_eq(sink("new", ""), 4);
    ck_assert_uint_eq(sink("home", "node"), 2);
    ck_assert_uint_eq(sink("home", ""), 1);
    ck_assert_uint_eq(sink("later", ""), 3);
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: sinks in trouble");
    TCase *const all = tcase_create("trouble");
    tcase_set_timeout(all, 30);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, what_was_promised_is_each_sinks_own);
    tcase_add_test(all, what_was_promised_is_each_sinks_own_on_a_full_disk);
    tcase_add_test(all, a_crash_at_any_time_leaves_no_message_without_its_sink);
    tcase_add_test(all, a_resync_keeps_sinks);
    tcase_add_test(all, sinks_named_while_failing_are_stored_later);
    tcase_add_test(all, a_disk_that_comes_back_empty_gets_the_sinks_again);
    tcase_add_test(all, messages_out_of_a_damaged_file_keep_their_sinks);
    tcase_add_loop_test(all, numbers_of_messages_whose_sink_is_lost_are_not_given_again, 0, 2);
    tcase_add_loop_test(all, damage_that_the_load_finds_costs_no_sink, 0, 2);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
