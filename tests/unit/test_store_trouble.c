/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that fail, fill up, or hang: nobody but who waits for the disk is held up, the loop hears
 * what is going on, and when the disk is back the store holds what the machines hold.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "fault_vfs.h"
#include "store_world.h"
#include "suite.h"

enum {
    CHANGES = 1 << FAULT_WRITE | 1 << FAULT_SYNC | 1 << FAULT_TRUNCATE,
    FOR_EVER = 1 << 30,
};

static struct store_world w;
static struct fault_disk *disk;

static void setup(void)
{
    disk = fault_disk_new("disk");
    world_init(&w);
    w.options.vfs = "disk";
    w.options.linger_ms = 0;
    w.options.lazy_ms = 0;
    w.options.retry_ms = 1;
    world_open(&w);
}

static void teardown(void)
{
    fault_disk_heal(disk);
    fault_disk_hook(disk, NULL, NULL);
    world_deinit(&w);
    fault_disk_free(disk);
}

static void put_client(uint64_t client, const char *client_id)
{
    put_session(&w, client, client_id);
    put_topic(&w, client, 1, "t");
}

static const char one_client[] = "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                                 "  topic 1 name=t alias=0 kind=0\n";

/* ---- failing --------------------------------------------------------------------------------- */

static const struct {
    unsigned mask;
    int rc;
    const char *why;
} failures[] = {
    {CHANGES,          SQLITE_IOERR_WRITE, "disk I/O error"          },
    {CHANGES,          SQLITE_FULL,        "database or disk is full"},
    {1 << FAULT_WRITE, SQLITE_READONLY,    "readonly"                },
    {1 << FAULT_SYNC,  SQLITE_IOERR_FSYNC, "disk I/O error"          },
};

enum { N_FAILURES = sizeof failures / sizeof failures[0] };

static void begin_failing(int which)
{
    fault_disk_fail(disk, failures[which].mask, 1, FOR_EVER, failures[which].rc);
}

START_TEST(a_failure_is_told_once_and_nobody_waits)
{
    w.options.durability = STORE_POWER;
    world_reopen(&w);
    begin_failing(_i);
    put_client(1, "x");
    store_flush(w.s);
    const struct store_event e = world_event(&w, STORE_FAILING);
    ck_assert_msg(strstr(e.why, failures[_i].why) != NULL, "%s", e.why);
    for (int i = 0; i < 3; i++)
        world_commit(&w), put_topic(&w, 1, 1, "t");
    ck_assert(!store_room(w.s, 1));
    ck_assert_uint_eq(world_message(&w, "t", "x"), 0);
    ck_assert_int_eq(store_packet_put(w.s, 0, "s-1", NULL, 0), -EIO);
    ck_assert(store_gauges(w.s).failing);
    ck_assert(world_fetch(&w, 0, 1, 1).failed);
    struct store_event none;
    ck_assert(!store_next_event(w.s, &none));
}

END_TEST

START_TEST(after_a_failure_all_is_written_without_a_resync)
{
    put_client(1, "old");
    world_commit(&w);
    begin_failing(_i);
    w.options.durability = STORE_POWER;
    world_close(&w); /* fails to write the WAL back: harmless */
    fault_disk_heal(disk);
    world_open(&w);
    begin_failing(_i);
    put_client(1, "x");
    store_flush(w.s);
    world_event(&w, STORE_FAILING);
    put_client(2, "while failing");
    world_commit(&w);
    put_gone(&w, SN_REC_SESSION_GONE, 2, 0);
    put_spool(&w, 1, 5, "x");
    world_commit(&w);
    fault_disk_heal(disk);
    world_event(&w, STORE_RECOVERED);
    ck_assert(store_room(w.s, 1));
    ck_assert_uint_eq(store_gauges(w.s).records_lost, 0);
    ck_assert_uint_eq(world_fetch(&w, 0, 2, 100).n, 1);
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 5);
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w), one_client);
}

END_TEST

START_TEST(a_message_that_was_refused_does_not_turn_up_later)
{
    const struct bytes part = bytes_str("x");
    ck_assert_int_eq(store_packet_put(w.s, 0, "r-1", &part, 1), 0);
    begin_failing(0);
    ck_assert_uint_eq(
        store_message(
            w.s, 0,
            &(struct store_incoming){.topic = bytes_str("t"), .payload = bytes_str("m"), .qos = 2},
            "r-1"),
        0);
    world_event(&w, STORE_FAILING);
    fault_disk_heal(disk);
    world_event(&w, STORE_RECOVERED);
    ck_assert_uint_ge(world_message(&w, "t", "later"), 1);
    const char *const held = world_reload(&w);
    ck_assert_ptr_null(strstr(held, "body=m"));
    ck_assert_ptr_nonnull(strstr(held, "body=later"));
    /* Paho was told that the packet is gone. */
    void *data;
    size_t len;
    ck_assert_int_eq(store_packet_get(w.s, 0, "r-1", &data, &len), -ENOENT);
}

END_TEST

START_TEST(removals_while_failing_are_done_later)
{
    const struct bytes part = bytes_str("x");
    for (uint64_t number = 1; number <= 3; number++)
        put_spool(&w, 1, number, "x");
    world_commit(&w);
    store_spool_sending(w.s, 2, 20);
    ck_assert_int_eq(store_packet_put(w.s, 0, "s-20", &part, 1), 0);
    begin_failing(0);
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 1);
    store_flush(w.s);
    world_event(&w, STORE_FAILING);
    store_packet_remove(w.s, 0, "s-20", 20);
    fault_disk_heal(disk);
    world_event(&w, STORE_RECOVERED);
    ck_assert_str_eq(world_reload(&w), "spool 1: 1, 3 octets, last 3\n"
                                       "spool 0: 0, 0 octets, last 3\n");
}

END_TEST

/* ---- too much to remember -------------------------------------------------------------------- */

/* Fails until the store forgets; then heals. */
static void forget(void)
{
    w.options.max_queued_bytes = 20000;
    world_reopen(&w);
    begin_failing(0);
    put_client(1, "before");
    store_flush(w.s);
    world_event(&w, STORE_FAILING);
    while (store_gauges(w.s).records_lost == 0) {
        put_client(2, "lost");
        world_commit(&w);
    }
}

START_TEST(what_was_thrown_away_is_told_anew)
{
    for (uint64_t number = 1; number <= 3; number++)
        put_spool(&w, 1, number, "x");
    put_client(7, "gone meanwhile");
    world_commit(&w);
    const uint64_t kept = world_message(&w, "down", "referred to");
    const uint64_t routed = world_message(&w, "down", "routed meanwhile");
    const uint64_t unrouted = world_message(&w, "down", "not routed yet");
    put_client(1, "x");
    put_delivery(&w, 1, 1, kept, "");
    put_routed(&w, kept);
    world_commit(&w);
    forget();
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 2);
    put_gone(&w, SN_REC_SESSION_GONE, 7, 0);
    put_routed(&w, routed);
    world_commit(&w);
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    ck_assert(!store_room(w.s, 1));
    put_client(3, "thrown away: told again by the resync");
    world_commit(&w);

    put_topic(&w, 3, 2, "too early");
    store_resync_begin(w.s);
    put_client(1, "x");
    put_delivery(&w, 1, 1, kept, "a copy that is not needed");
    store_resync_end(w.s);
    world_commit(&w);
    world_event(&w, STORE_RECOVERED);
    ck_assert(store_room(w.s, 1));
    put_topic(&w, 1, 2, "after");
    world_commit(&w);
    char expected[1000];
    snprintf(expected, sizeof expected,
             "%s  topic 2 name=after alias=0 kind=0\n"
             "  delivery 1 journal=%d topic=down body=referred to qos=1 waiting id=0\n"
             "message %d topic=down body=not routed yet qos=1\n"
             "spool 1: 2, 6 octets, last 3\n"
             "spool 0: 0, 0 octets, last 3\n",
             one_client, (int)kept, (int)unrouted);
    ck_assert_str_eq(world_reload(&w), expected);
}

END_TEST

START_TEST(a_resync_that_fails_is_asked_for_again)
{
    forget();
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    begin_failing(0);
    store_resync_begin(w.s);
    put_client(9, "of the resync that failed");
    store_resync_end(w.s);
    world_commit(&w);
    while (fault_disk_failed(disk) == 0)
        ;
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    store_resync_begin(w.s);
    put_client(1, "x");
    store_flush(w.s); /* over several turns */
    put_topic(&w, 1, 1, "t");
    store_resync_end(w.s);
    world_commit(&w);
    world_event(&w, STORE_RECOVERED);
    ck_assert_str_eq(world_reload(&w), one_client);
}

END_TEST

START_TEST(a_resync_may_be_longer_than_the_queue)
{
    forget();
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    store_resync_begin(w.s);
    for (uint64_t client = 1; client <= 1000; client++)
        put_session(&w, client, "x");
    store_resync_end(w.s);
    world_commit(&w);
    world_event(&w, STORE_RECOVERED);
    world_reload(&w);
    ck_assert_uint_eq(store_gauges(w.s).records_lost, 0);
}

END_TEST

START_TEST(what_a_resync_does_not_tell_stays_bounded_while_failing)
{
    char key[20];
    forget();
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "s-%u", i % 100);
        store_packet_remove(w.s, 0, key, 0);
    }
    ck_assert_uint_lt(store_gauges(w.s).queued_bytes, 400000);
}

END_TEST

START_TEST(a_disk_that_comes_back_empty_is_written_anew)
{
    put_client(1, "before");
    world_commit(&w);
    begin_failing(0);
    put_client(2, "while failing");
    store_flush(w.s);
    world_event(&w, STORE_FAILING);
    fault_disk_wipe(disk);
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    store_resync_begin(w.s);
    put_client(1, "x");
    store_resync_end(w.s);
    store_flush(w.s);
    world_event(&w, STORE_RECOVERED);
    ck_assert_str_eq(world_reload(&w), one_client);
}

END_TEST

START_TEST(any_time_is_good_for_a_resync)
{
    put_client(5, "old");
    world_commit(&w);
    const uint64_t unrouted = world_message(&w, "t", "m");
    store_resync_begin(w.s);
    put_client(1, "x");
    store_resync_end(w.s);
    world_commit(&w);
    const char *const held = world_reload(&w);
    ck_assert(strncmp(held, one_client, sizeof one_client - 1) == 0);
    ck_assert_uint_eq(unrouted, 1);
    ck_assert_str_eq(held + sizeof one_client - 1, "message 1 topic=t body=m qos=1\n");
}

END_TEST

/* ---- a disk that hangs ----------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
    bool waiting;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void at_the_gate(void *arg, enum fault_call call, const char *file)
{
    (void)arg, (void)call, (void)file;
    pthread_mutex_lock(&gate.lock);
    gate.waiting = true;
    pthread_cond_broadcast(&gate.changed);
    while (gate.closed)
        pthread_cond_wait(&gate.changed, &gate.lock);
    gate.waiting = false;
    pthread_mutex_unlock(&gate.lock);
}

static void close_gate(void)
{
    gate.closed = true;
    gate.waiting = false;
    fault_disk_hook(disk, at_the_gate, NULL);
}

static void wait_at_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    while (!gate.waiting)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.closed = false;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

START_TEST(a_disk_that_hangs_does_not_hold_up_the_loop)
{
    close_gate();
    const uint64_t batch = store_batch(w.s);
    put_client(1, "x");
    store_flush(w.s);
    wait_at_gate();
    for (int i = 0; i < 100; i++) {
        put_topic(&w, 1, 2, "t");
        store_flush(w.s);
        store_fetch(w.s, 0, 1, 1);
        store_spool_sending(w.s, 1, 1);
        store_packet_remove(w.s, 0, "s-1", 1);
        store_gauges(w.s);
    }
    ck_assert_uint_lt(store_committed(w.s), batch);
    ck_assert(store_room(w.s, 1));
    open_gate();
    world_event(&w, STORE_FETCHED);
    world_wait_batch(&w, store_batch(w.s) - 1);
}

END_TEST

START_TEST(behind_a_disk_that_hangs_the_queue_is_bounded)
{
    w.options.max_queued_bytes = 100000;
    world_reopen(&w);
    close_gate();
    put_client(1, "x");
    store_flush(w.s);
    wait_at_gate();
    for (uint16_t i = 1; i < 10000; i++) {
        put_topic(&w, 1, i, "lost");
        store_flush(w.s);
        ck_assert_uint_le(store_gauges(w.s).queued_bytes, 101000);
    }
    ck_assert_ptr_nonnull(strstr(world_event(&w, STORE_FAILING).why, "too slow"));
    open_gate();
    world_event(&w, STORE_RESYNC);
    store_resync_begin(w.s);
    put_client(1, "x");
    store_resync_end(w.s);
    store_flush(w.s);
    world_event(&w, STORE_RECOVERED);
    ck_assert_str_eq(world_reload(&w), one_client);
}

END_TEST

static void *block(void *arg)
{
    uint64_t *const out = arg;
    *out = world_message(&w, "t", "m");
    return NULL;
}

START_TEST(who_blocks_shares_the_next_commit)
{
    pthread_t threads[4];
    uint64_t journals[4];
    close_gate();
    put_client(1, "x");
    store_flush(w.s);
    wait_at_gate();
    const uint64_t commits = store_gauges(w.s).commits;
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, block, &journals[i]), 0);
    open_gate();
    uint64_t seen = 0;
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_uint_ge(journals[i], 1);
        ck_assert_uint_le(journals[i], 4);
        seen |= (uint64_t)1 << journals[i];
    }
    ck_assert_uint_eq(seen, 0x1E);
    ck_assert_uint_le(store_gauges(w.s).commits - commits, 5);
}

END_TEST

START_TEST(a_sync_waits_for_what_was_flushed)
{
    w.options.linger_ms = 100000;
    w.options.lazy_ms = 100000;
    world_reopen(&w);
    put_client(1, "x");
    world_commit(&w);
    const uint64_t batch = store_batch(w.s);
    put_topic(&w, 1, 2, "t");
    store_flush(w.s);
    put_gone(&w, SN_REC_TOPIC_GONE, 1, 2);
    store_flush(w.s);
    store_sync(w.s);
    ck_assert_uint_eq(store_committed(w.s), batch + 1);
}

END_TEST

START_TEST(a_resync_that_waits_for_the_disk_may_be_longer_than_the_queue)
{
    put_spool(&w, 1, 1, "x");
    world_commit(&w);
    forget();
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    close_gate();
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 1);
    store_flush(w.s);
    wait_at_gate();
    store_resync_begin(w.s);
    for (uint64_t client = 1; client <= 1000; client++)
        put_session(&w, client, "x");
    store_resync_end(w.s);
    store_flush(w.s);
    put_client(1, "x");
    store_flush(w.s);
    open_gate();
    world_event(&w, STORE_RECOVERED);
}

END_TEST

/* ---- a full disk ----------------------------------------------------------------------------- */

START_TEST(a_full_disk_is_used_again_when_there_is_room)
{
    static char text[3000];
    memset(text, 'x', sizeof text - 1);
    fault_disk_capacity(disk, 400000);
    uint64_t number = 0;
    do {
        put_spool(&w, 1, ++number, text);
        world_commit(&w);
    } while (!store_gauges(w.s).failing);
    ck_assert_ptr_nonnull(strstr(world_event(&w, STORE_FAILING).why, "full"));
    fault_disk_capacity(disk, 800000);
    world_event(&w, STORE_RECOVERED);
    uint64_t after = 0;
    for (struct store_event e; (e = world_fetch(&w, after, 50, 1 << 20)).n > 0;)
        after = e.rows[e.n - 1].number;
    ck_assert_uint_eq(after, number);
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: trouble");
    TCase *const all = tcase_create("trouble");
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_loop_test(all, a_failure_is_told_once_and_nobody_waits, 0, N_FAILURES);
    tcase_add_loop_test(all, after_a_failure_all_is_written_without_a_resync, 0, N_FAILURES);
    tcase_add_test(all, a_message_that_was_refused_does_not_turn_up_later);
    tcase_add_test(all, removals_while_failing_are_done_later);
    tcase_add_test(all, what_was_thrown_away_is_told_anew);
    tcase_add_test(all, a_resync_that_fails_is_asked_for_again);
    tcase_add_test(all, a_resync_may_be_longer_than_the_queue);
    tcase_add_test(all, what_a_resync_does_not_tell_stays_bounded_while_failing);
    tcase_add_test(all, a_disk_that_comes_back_empty_is_written_anew);
    tcase_add_test(all, any_time_is_good_for_a_resync);
    tcase_add_test(all, a_disk_that_hangs_does_not_hold_up_the_loop);
    tcase_add_test(all, behind_a_disk_that_hangs_the_queue_is_bounded);
    tcase_add_test(all, a_resync_that_waits_for_the_disk_may_be_longer_than_the_queue);
    tcase_add_test(all, who_blocks_shares_the_next_commit);
    tcase_add_test(all, a_sync_waits_for_what_was_flushed);
    tcase_add_test(all, a_full_disk_is_used_again_when_there_is_room);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
