/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `durability = process` with an intent log: what is flushed is promised at once, whatever the disk
 * does, and survives the process; and trouble does not bring back what has been replaced.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fault_vfs.h"
#include "seed.h"
#include "store_intent.h"
#include "store_world.h"
#include "suite.h"

enum { LOG_BYTES = 64 * 1024, FOR_EVER = 1 << 30, CHANGES = 1 << FAULT_WRITE | 1 << FAULT_SYNC };

static struct store_world w;
static struct store_world after; /* the daemon that is started when the first was killed */
static struct fault_disk *disk;
static struct fault_disk *left;
static struct rng rng;

static void setup(void)
{
    rng = seeded_rng();
    disk = fault_disk_new("disk");
    world_init(&w);
    w.options.vfs = "disk";
    w.options.linger_ms = 0;
    w.options.lazy_ms = 1000000;
    w.options.retry_ms = 1;
    w.options.intent_bytes = LOG_BYTES;
    world_open(&w);
    world_init(&after);
    after.options = w.options;
    after.options.dir = after.dir;
    after.options.vfs = "left";
}

static void teardown(void)
{
    fault_disk_heal(disk);
    fault_disk_hook(disk, NULL, NULL);
    world_deinit(&w);
    world_deinit(&after);
    if (left != NULL)
        fault_disk_free(left);
    left = NULL;
    fault_disk_free(disk);
}

/* ---- helpers --------------------------------------------------------------------------------- */

/* Promised: nobody has to be waited for. */
static bool flush_promises(void)
{
    const uint64_t batch = store_batch(w.s);
    store_flush(w.s);
    ck_assert_uint_gt(store_batch(w.s), batch);
    return store_committed(w.s) >= batch;
}

static size_t read_log(uint8_t *out)
{
    FILE *const f = fopen(world_path(&w, "sennet.db-intent"), "rb");
    const size_t n = f != NULL ? fread(out, 1, LOG_BYTES, f) : 0;
    if (f != NULL)
        fclose(f);
    return n;
}

static void write_log(const struct store_world *to, const uint8_t *log, size_t n)
{
    FILE *const f = fopen(world_path(to, "sennet.db-intent"), "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(log, 1, n, f), n);
    fclose(f);
}

/* Disk and log as of one moment: the log, less than what is appended, must not change meanwhile. */
static void take_what_is_left(void)
{
    static uint8_t before[LOG_BYTES];
    static uint8_t log[LOG_BYTES];
    size_t len;
    do {
        if (left != NULL)
            fault_disk_free(left);
        read_log(before);
        left = fault_disk_crash(disk, "left", FAULT_KILLED, &rng);
        len = read_log(log);
    } while (memcmp(before, log, INTENT_START) != 0);
    write_log(&after, log, len);
}

/* What a daemon finds that is started now, when this one is killed; stays open. */
static const char *kill_and_start(void)
{
    if (after.s != NULL)
        world_close(&after);
    take_what_is_left();
    world_open(&after);
    return world_load(&after);
}

static void fail_disk(void)
{
    fault_disk_fail(disk, CHANGES, 1, FOR_EVER, SQLITE_IOERR_WRITE);
}

/* Makes the thread commit. */
static void commit_now(void)
{
    world_fetch(&w, 0, 1, 1);
}

/* ---- promises -------------------------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool hangs;
    bool hanging;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void hang(void *arg, enum fault_call call, const char *name)
{
    (void)arg, (void)call, (void)name;
    pthread_mutex_lock(&gate.lock);
    while (gate.hangs) {
        gate.hanging = true;
        pthread_cond_broadcast(&gate.changed);
        pthread_cond_wait(&gate.changed, &gate.lock);
    }
    gate.hanging = false;
    pthread_mutex_unlock(&gate.lock);
}

static void begin_hanging(void)
{
    gate.hangs = true;
    fault_disk_hook(disk, hang, NULL);
    put_session(&w, 9, "first");
    store_flush(w.s);
    store_fetch(w.s, 0, 1, 1); /* the thread is at it */
    pthread_mutex_lock(&gate.lock);
    while (!gate.hanging)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void end_hanging(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.hangs = false;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static const char all_of_it[] = "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                                "session 9 id=first active ka=60 sleep=0 next=0 peer=-1/-\n"
                                "message 1 topic=t body=m qos=1\n"
                                "spool 1: 1, 3 octets, last 5\n"
                                "spool 0: 0, 0 octets, last 5\n";

START_TEST(nobody_waits_for_a_disk_that_hangs)
{
    const struct bytes packet = bytes_str("packet");
    begin_hanging();
    put_session(&w, 1, "x");
    put_spool(&w, 1, 5, "x");
    ck_assert(flush_promises());
    ck_assert_uint_eq(world_message(&w, "t", "m"), 1);
    ck_assert_int_eq(store_packet_put(w.s, 0, "r-1", &packet, 1), 0);
    ck_assert(store_room(w.s, 100));
    /* And the process may die now. */
    ck_assert_str_eq(kill_and_start(), all_of_it);
    void *data;
    size_t len;
    ck_assert_int_eq(store_packet_get(after.s, 0, "r-1", &data, &len), 0);
    ck_assert(bytes_equal(bytes_of(data, len), packet));
    free(data);
    end_hanging();
    world_event(&w, STORE_FETCHED);
    ck_assert_str_eq(world_reload(&w), all_of_it);
}

END_TEST

START_TEST(what_expires_is_promised_with_its_time)
{
    begin_hanging();
    put_session(&w, 1, "x");
    put_expiring(&w, 1, 1, 0, "own", 5400);
    put_delivery(&w, 1, 2, 0, "for ever");
    ck_assert(flush_promises());
    const struct store_incoming m = {
        .topic = bytes_str("t"), .payload = bytes_str("m"), .qos = 1, .expiry_s = UINT32_MAX};
    ck_assert_uint_eq(store_message(w.s, 0, &m, NULL), 1);
    const char *const text = kill_and_start();
    ck_assert_ptr_nonnull(strstr(text, "body=own qos=1 waiting id=0 left=90 min\n"));
    ck_assert_ptr_nonnull(strstr(text, "body=for ever qos=1 waiting id=0\n"));
    ck_assert_ptr_nonnull(strstr(text, "message 1 topic=t body=m qos=1 expiry=42949"));
    end_hanging();
}

END_TEST

START_TEST(there_is_no_room_before_the_log_is_full)
{
    begin_hanging();
    uint64_t n = 0;
    while (store_room(w.s, 100)) {
        put_spool(&w, 1, ++n, "twenty octets of text");
        ck_assert(flush_promises());
    }
    ck_assert_uint_gt(n, 100);
    /* Those who can't be refused still have room. */
    for (int i = 0; i < 100; i++)
        ck_assert_uint_ne(world_message(&w, "t", "m"), 0);
    end_hanging();
    world_event(&w, STORE_FETCHED);
    commit_now();
    ck_assert(store_room(w.s, 100));
}

END_TEST

START_TEST(what_does_not_fit_is_waited_for_and_then_promised_again)
{
    static char text[LOG_BYTES + 1];
    memset(text, 'x', LOG_BYTES);
    put_spool(&w, 1, 1, "small");
    ck_assert(flush_promises());
    put_spool(&w, 1, 2, text);
    const uint64_t batch = store_batch(w.s);
    store_flush(w.s);
    put_spool(&w, 1, 3, "behind");
    store_flush(w.s);
    world_wait_batch(&w, batch + 1);
    put_spool(&w, 1, 4, "small again");
    /* The first one is committed, the second one either, or in the log already. */
    ck_assert(flush_promises());
    kill_and_start();
    ck_assert_uint_eq(world_fetch(&after, 0, 10, 1 << 20).n, 4);
}

END_TEST

START_TEST(what_comes_and_goes_is_never_written)
{
    commit_now();
    const uint64_t before = fault_disk_figures(disk).writes;
    for (uint64_t n = 1; n <= 15; n++) {
        const uint64_t journal = world_message(&w, "down", "to a node");
        put_delivery(&w, 1, n, journal, "");
        put_routed(&w, journal);
        put_spool(&w, 1, n, "from a node");
        put_exchange(&w, 1, (uint16_t)n);
        ck_assert(flush_promises());
        put_gone(&w, SN_REC_DELIVERY_GONE, 1, n);
        put_gone(&w, SN_REC_SPOOL_GONE, 1, n);
        put_gone(&w, SN_REC_EXCHANGE_GONE, 1, n);
        ck_assert(flush_promises());
    }
    commit_now();
    ck_assert_uint_eq(fault_disk_figures(disk).writes, before);
    ck_assert_str_eq(kill_and_start(), "");
}

END_TEST

/* ---- trouble --------------------------------------------------------------------------------- */

static void promise_some(void)
{
    const struct bytes packet = bytes_str("packet");
    put_session(&w, 1, "x");
    put_spool(&w, 1, 5, "x");
    put_spool(&w, 1, 6, "y");
    ck_assert(flush_promises());
    ck_assert_uint_eq(world_message(&w, "t", "m"), 1);
    ck_assert_int_eq(store_packet_put(w.s, 0, "r-1", &packet, 1), 0);
}

static void begin_failing(void)
{
    fail_disk();
    store_fetch(w.s, 0, 1, 1);
    world_event(&w, STORE_FAILING);
    world_event(&w, STORE_FETCHED);
}

static const char promised[] = "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                               "message 1 topic=t body=m qos=1\n"
                               "spool 1: 2, 6 octets, last 6\n"
                               "spool 0: 0, 0 octets, last 6\n";

START_TEST(what_was_promised_before_a_failure_survives_it)
{
    promise_some();
    begin_failing();
    ck_assert_str_eq(kill_and_start(), promised);
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 5);
    world_commit(&w);
    fault_disk_heal(disk);
    world_event(&w, STORE_RECOVERED);
    static const char rest[] = "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                               "message 1 topic=t body=m qos=1\n"
                               "spool 1: 1, 3 octets, last 6\n"
                               "spool 0: 0, 0 octets, last 6\n";
    ck_assert_str_eq(kill_and_start(), rest);
    put_session(&w, 2, "y");
    ck_assert(flush_promises());
}

END_TEST

/* Fails until records are thrown away. */
static void forget(void)
{
    while (store_gauges(w.s).records_lost == 0) {
        put_session(&w, 2, "lost");
        world_commit(&w);
    }
}

static unsigned moments;

/* The messages are there at any moment, and what was sent is not there any more once all was told
 * anew. */
static void at_moment(void *arg, enum fault_call call, const char *name)
{
    (void)arg, (void)call, (void)name;
    moments++;
    const char *const held = kill_and_start();
    ck_assert_msg(strstr(held, "message 1 topic=t body=m qos=1\n") != NULL, "%s", held);
    const bool old = strstr(held, "spool 1: 2, 6 octets, last 6\n") != NULL;
    ck_assert_msg(old || strstr(held, "spool 1: 1, 3 octets, last 6\n") != NULL, "%s", held);
    ck_assert_msg(!old || strstr(held, "session 3") == NULL, "%s", held);
    void *data;
    size_t len;
    ck_assert_int_eq(store_packet_get(after.s, 0, "r-1", &data, &len), 0);
    free(data);
}

START_TEST(after_a_resync_the_old_log_is_not_applied)
{
    w.options.max_queued_bytes = 20000;
    world_reopen(&w);
    promise_some();
    begin_failing();
    forget();
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 5);
    world_commit(&w);
    fault_disk_hook(disk, at_moment, NULL);
    fault_disk_heal(disk);
    world_event(&w, STORE_RESYNC);
    store_resync_begin(w.s);
    put_session(&w, 3, "told anew");
    store_resync_end(w.s);
    world_commit(&w);
    world_event(&w, STORE_RECOVERED);
    fault_disk_hook(disk, NULL, NULL);
    ck_assert_uint_gt(moments, 2);
    static const char told[] = "session 3 id=told anew active ka=60 sleep=0 next=0 peer=-1/-\n"
                               "message 1 topic=t body=m qos=1\n"
                               "spool 1: 1, 3 octets, last 6\n"
                               "spool 0: 0, 0 octets, last 6\n";
    ck_assert_str_eq(kill_and_start(), told);
    put_session(&w, 4, "later");
    ck_assert(flush_promises());
    ck_assert_ptr_nonnull(strstr(kill_and_start(), "session 4"));
}

END_TEST

/* ---- opening --------------------------------------------------------------------------------- */

/* The daemon is killed with promises in the log; what it left is made into something else. */
static void spoil(void (*how)(uint8_t *log, size_t len))
{
    static uint8_t log[LOG_BYTES];
    promise_some();
    left = fault_disk_crash(disk, "left", FAULT_KILLED, &rng);
    const size_t len = read_log(log);
    how(log, len);
    write_log(&after, log, len);
}

static void other_boot(uint8_t *log, size_t len)
{
    (void)len;
    log[INTENT_AT_BOOT] ^= 1;
    const uint64_t check = intent_check(log + INTENT_AT_ID, bytes_of(log, INTENT_AT_CHECK));
    memcpy(log + INTENT_AT_CHECK, &check, sizeof check);
}

static void rubbish(uint8_t *log, size_t len)
{
    memset(log, 0x5A, len);
}

static void torn(uint8_t *log, size_t len)
{
    (void)len;
    log[INTENT_START + INTENT_ENTRY_BYTES] ^= 1;
}

static void unchanged(uint8_t *log, size_t len)
{
    (void)log, (void)len;
}

static const struct {
    void (*how)(uint8_t *log, size_t len);
    const char *said;
} spoilings[] = {
    {other_boot, "3 batches"          },
    {rubbish,    "no intent log"      },
    {torn,       "what came behind is"},
};

START_TEST(a_log_that_is_not_to_be_believed_is_said_and_left_out)
{
    spoil(spoilings[_i].how);
    world_open(&after);
    ck_assert_ptr_nonnull(store_notice(after.s));
    ck_assert_msg(strstr(store_notice(after.s), spoilings[_i].said) != NULL, "%s",
                  store_notice(after.s));
    ck_assert_str_eq(world_load(&after), "");
    /* And the next one is whole again. */
    world_reopen(&after);
    ck_assert_ptr_null(store_notice(after.s));
}

END_TEST

START_TEST(a_database_that_was_begun_anew_gets_only_what_was_spooled)
{
    spoil(unchanged);
    fault_disk_wipe(left);
    world_open(&after);
    ck_assert_ptr_nonnull(store_notice(after.s));
    ck_assert_ptr_nonnull(strstr(store_notice(after.s), "the database of "));
    ck_assert_str_eq(world_load(&after), "spool 1: 2, 6 octets, last 6\n"
                                         "spool 0: 0, 0 octets, last 6\n");
}

END_TEST

START_TEST(whoever_opens_it_takes_it_over)
{
    spoil(unchanged);
    after.options.durability = _i == 0 ? STORE_POWER : STORE_PROCESS;
    after.options.intent_bytes = _i == 1 ? 0 : LOG_BYTES;
    world_open(&after);
    ck_assert_ptr_null(store_notice(after.s));
    ck_assert_str_eq(world_load(&after), promised);
    /* Who has no use for a log leaves none. */
    ck_assert_int_eq(access(world_path(&after, "sennet.db-intent"), F_OK) == 0, _i == 2);
    ck_assert_str_eq(world_reload(&after), promised);
}

END_TEST

START_TEST(without_a_log_commits_are_waited_for)
{
    ck_assert_int_eq(mkdir(world_path(&after, "sennet.db-intent"), 0700), 0);
    left = fault_disk_new("left");
    world_open(&after);
    ck_assert_ptr_nonnull(store_notice(after.s));
    ck_assert_ptr_nonnull(strstr(store_notice(after.s), "nodes wait for the disk"));
    put_session(&after, 1, "x");
    world_commit(&after);
    ck_assert_uint_ge(store_gauges(after.s).commits, 1);
    ck_assert_uint_eq(world_message(&after, "t", "m"), 1);
    ck_assert_uint_ge(store_gauges(after.s).commits, 2);
    rmdir(world_path(&after, "sennet.db-intent"));
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: promises");
    TCase *const all = tcase_create("promises");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, nobody_waits_for_a_disk_that_hangs);
    tcase_add_test(all, what_expires_is_promised_with_its_time);
    tcase_add_test(all, there_is_no_room_before_the_log_is_full);
    tcase_add_test(all, what_does_not_fit_is_waited_for_and_then_promised_again);
    tcase_add_test(all, what_comes_and_goes_is_never_written);
    tcase_add_test(all, what_was_promised_before_a_failure_survives_it);
    tcase_add_test(all, after_a_resync_the_old_log_is_not_applied);
    tcase_add_loop_test(all, a_log_that_is_not_to_be_believed_is_said_and_left_out, 0,
                        sizeof spoilings / sizeof spoilings[0]);
    tcase_add_test(all, a_database_that_was_begun_anew_gets_only_what_was_spooled);
    tcase_add_loop_test(all, whoever_opens_it_takes_it_over, 0, 3);
    tcase_add_test(all, without_a_log_commits_are_waited_for);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
