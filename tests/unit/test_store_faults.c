/* SPDX-License-Identifier: Apache-2.0 */
/* Each call to the disk fails in turn: the store must get over every one of them, and hold in the end
 * what the loop holds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#include "fault_vfs.h"
#include "store_world.h"
#include "suite.h"

enum { TURNS = 12, SPOOLED = 4, CALLS_MAX = 5000 };

enum {
    ALL = 1 << FAULT_READ | 1 << FAULT_WRITE | 1 << FAULT_SYNC | 1 << FAULT_TRUNCATE |
          1 << FAULT_DELETE | 1 << FAULT_OPEN,
};

static const struct {
    enum store_durability durability;
    int rc;
    uint64_t n; /* calls in a row */
} modes[] = {
    {STORE_PROCESS, SQLITE_IOERR,       1},
    {STORE_PROCESS, SQLITE_FULL,        3},
    {STORE_POWER,   SQLITE_IOERR_FSYNC, 2},
};

static struct store_world w;
static struct fault_disk *disk;
static uint64_t turn;
static unsigned resyncs;

static void put_counter(void)
{
    struct sn_record r = {.type = SN_REC_SESSION, .client = 1};
    r.session.client_id = bytes_str("counter");
    r.session.next_msg_id = (uint16_t)turn;
    store_put(w.s, &r);
    put_topic(&w, 1, 1, "t");
}

static void tell_all(void)
{
    store_resync_begin(w.s);
    put_counter();
    store_resync_end(w.s);
    for (uint64_t number = turn > SPOOLED ? turn - SPOOLED + 1 : 1; number <= turn; number++)
        put_spool(&w, 1, number, "x");
    resyncs++;
}

static void take_events(void)
{
    for (struct store_event e; store_next_event(w.s, &e);)
        if (e.type == STORE_RESYNC)
            tell_all();
}

/* A fetch that fails makes the store look at the file. */
static void fetch(void)
{
    struct store_event e;
    store_fetch(w.s, 0, 10, 1000);
    do {
        while (!store_next_event(w.s, &e))
            ;
        if (e.type == STORE_RESYNC)
            tell_all();
    } while (e.type != STORE_FETCHED);
}

static void play(void)
{
    const struct bytes part = bytes_str("packet");
    for (turn = 1; turn <= TURNS; turn++) {
        put_counter();
        put_spool(&w, 1, turn, "x");
        if (turn > SPOOLED)
            put_gone(&w, SN_REC_SPOOL_GONE, 1, turn - SPOOLED);
        world_commit(&w);
        const uint64_t journal = world_message(&w, "t", "m");
        if (journal != 0) {
            put_delivery(&w, 1, turn, journal, "m");
            put_routed(&w, journal);
            put_gone(&w, SN_REC_DELIVERY_GONE, 1, turn);
        }
        store_packet_put(w.s, 0, "s-1", &part, 1);
        store_packet_remove(w.s, 0, "s-1", 0);
        take_events();
        if (turn % 4 == 0)
            fetch();
    }
    turn = TURNS;
}

static void settle(void)
{
    fault_disk_heal(disk);
    do {
        take_events();
        put_counter();
        world_commit(&w);
    } while (store_gauges(w.s).failing);
}

/* None is left. */
static int on_key(void *owner, const char *key)
{
    (void)owner, (void)key;
    return 1;
}

static const char *expected(void)
{
    static char out[500];
    snprintf(out, sizeof out,
             "session 1 id=counter away ka=0 sleep=0 next=%d peer=-1/-\n"
             "  topic 1 name=t alias=0 kind=0\n"
             "spool 1: %d, %d octets, last %d\n"
             "spool 0: 0, 0 octets, last %d\n",
             TURNS, SPOOLED, 3 * SPOOLED, TURNS, TURNS);
    return out;
}

/* False when the run is over before the call. */
static bool play_with_fault(int mode, uint64_t call)
{
    disk = fault_disk_new("disk");
    world_init(&w);
    w.options.vfs = "disk";
    w.options.durability = modes[mode].durability;
    w.options.linger_ms = 0;
    w.options.lazy_ms = 0;
    w.options.retry_ms = 1;
    w.options.wal_bytes = 40000; /* so that it is copied back now and then */
    world_open(&w);
    fault_disk_fail(disk, ALL, call, modes[mode].n, modes[mode].rc);
    play();
    const bool failed = fault_disk_failed(disk) > 0;
    settle();
    ck_assert_msg(strcmp(world_reload(&w), expected()) == 0, "call %llu of mode %d: %s",
                  (unsigned long long)call, mode, world_load(&w));
    ck_assert_int_eq(store_packet_each(w.s, 0, on_key, NULL), 0);
    world_deinit(&w);
    fault_disk_free(disk);
    return failed;
}

START_TEST(each_call_that_fails_is_got_over)
{
    uint64_t call = 1;
    while (play_with_fault(_i, call))
        ck_assert_uint_lt(++call, CALLS_MAX);
    printf("%llu calls, %u resyncs\n", (unsigned long long)call, resyncs);
    ck_assert_uint_gt(call, 50);
}

END_TEST

/* Opening: refused, or done, but never a file that was moved aside. */
START_TEST(each_call_that_fails_while_opening_is_told)
{
    uint64_t call = 1;
    bool failed = true;
    disk = fault_disk_new("disk");
    world_init(&w);
    w.options.vfs = "disk";
    world_open(&w);
    put_session(&w, 1, "x");
    world_commit(&w);
    world_close(&w);
    for (; failed; call++) {
        fault_disk_fail(disk, ALL, call, 1, SQLITE_IOERR);
        const int rc = world_try_open(&w);
        failed = fault_disk_failed(disk) > 0;
        fault_disk_heal(disk);
        if (rc != 0) {
            ck_assert(failed);
            ck_assert_int_eq(rc, 73);
            ck_assert_ptr_nonnull(strstr(w.error, "disk I/O error"));
            w.s = NULL;
            world_open(&w);
        }
        ck_assert_msg(store_notice(w.s) == NULL, "call %d: %s", (int)call, store_notice(w.s));
        ck_assert_str_eq(world_load(&w), "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n");
        world_close(&w);
    }
    ck_assert_uint_gt(call, 10);
    world_deinit(&w);
    fault_disk_free(disk);
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: faults");
    TCase *const all = tcase_create("faults");
    tcase_set_timeout(all, 60);
    tcase_add_loop_test(all, each_call_that_fails_is_got_over, 0, sizeof modes / sizeof modes[0]);
    tcase_add_test(all, each_call_that_fails_while_opening_is_told);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
