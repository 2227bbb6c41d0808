/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All threads at once, as in the daemon, over a disk that fails now and then: what the store holds in
 * the end is what the loop holds. (With the tsan preset this is also the test for races.)
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sqlite3.h>

#include "fault_vfs.h"
#include "seed.h"
#include "store_world.h"
#include "suite.h"

enum {
    CLIENTS = 20,
    TURNS = 3000,
    INBOX = 16,
    SPOOLED_MAX = 100000,
    PACKET_IDS = 50,
    AHEAD = 4,
    WAITING_MAX = 300,
    SHORT_QUEUE = 8000
};

static struct store_world w;
static struct fault_disk *disk;
static struct rng rng;

static struct {
    pthread_mutex_t lock;
    uint64_t journals[INBOX]; /* stored, not routed */
    unsigned n;
    bool stop;
} inbox = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What the loop holds. */
static struct {
    unsigned state[CLIENTS]; /* keep alive of the session; 0: none */
    bool spooled[SPOOLED_MAX];
    uint64_t last_spooled;
    uint64_t fetch_after;
    bool fetching;
    unsigned resyncs;
    unsigned failures;
    uint64_t fetched;
} loop;

static bool stopping(void)
{
    pthread_mutex_lock(&inbox.lock);
    const bool stop = inbox.stop;
    pthread_mutex_unlock(&inbox.lock);
    return stop;
}

/* Spinning would keep the lock from the others. */
static void pause_a_little(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
}

/* ---- Paho's threads -------------------------------------------------------------------------- */

static void *receive(void *arg)
{
    (void)arg;
    while (!stopping()) {
        pthread_mutex_lock(&inbox.lock);
        const bool room = inbox.n < INBOX;
        pthread_mutex_unlock(&inbox.lock);
        if (!room) {
            pause_a_little();
            continue;
        }
        const struct bytes part = bytes_str("received");
        if (store_packet_put(w.s, 0, "r-1", &part, 1) != 0)
            pause_a_little();
        const uint64_t journal = store_message(
            w.s, 0,
            &(struct store_incoming){.topic = bytes_str("t"), .payload = bytes_str("m"), .qos = 2},
            "r-1");
        if (journal == 0)
            continue;
        pthread_mutex_lock(&inbox.lock);
        inbox.journals[inbox.n++] = journal;
        pthread_mutex_unlock(&inbox.lock);
    }
    return NULL;
}

static int count_key(void *owner, const char *key)
{
    (void)key;
    ++*(unsigned *)owner;
    return 0;
}

static void *transmit(void *arg)
{
    (void)arg;
    char key[20];
    for (unsigned i = 0; !stopping(); i++) {
        const struct bytes part = bytes_str("sent");
        snprintf(key, sizeof key, "s-%u", i % PACKET_IDS + 1);
        if (store_packet_put(w.s, 0, key, &part, 1) != 0)
            pause_a_little();
        if (i % 100 == 0) {
            unsigned n = 0;
            void *data = NULL;
            size_t len = 0;
            if (store_packet_each(w.s, 0, count_key, &n) == 0)
                ck_assert_uint_le(n, PACKET_IDS + 2);
            if (store_packet_get(w.s, 0, key, &data, &len) == 0)
                free(data);
        }
        store_packet_remove(w.s, 0, key, i % PACKET_IDS + 1);
        store_gauges(w.s);
        store_heartbeat_ms(w.s);
    }
    store_packets_clear(w.s, 0);
    return NULL;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void put_state(unsigned client)
{
    struct sn_record r = {.type = SN_REC_SESSION, .client = client + 1};
    r.session.client_id = bytes_str("x");
    r.session.keep_alive_s = (uint16_t)loop.state[client];
    store_put(w.s, &r);
}

static void tell_all(void)
{
    store_resync_begin(w.s);
    for (unsigned client = 0; client < CLIENTS; client++)
        if (loop.state[client] != 0)
            put_state(client);
    store_resync_end(w.s);
    for (uint64_t number = 1; number <= loop.last_spooled; number++)
        if (loop.spooled[number])
            put_spool(&w, 1, number, "x");
    loop.resyncs++;
}

static void take_rows(const struct store_event *e)
{
    loop.fetching = false;
    if (e->failed)
        return;
    for (size_t i = 0; i < e->n; i++) {
        ck_assert_uint_gt(e->rows[i].number, loop.fetch_after);
        loop.fetch_after = e->rows[i].number;
        loop.fetched++;
        ck_assert(loop.spooled[e->rows[i].number]);
        loop.spooled[e->rows[i].number] = false;
        put_gone(&w, SN_REC_SPOOL_GONE, 1, e->rows[i].number);
    }
    if (e->n == 0)
        loop.fetch_after = 0;
}

static void take_events(void)
{
    for (struct store_event e; store_next_event(w.s, &e);) {
        if (e.type == STORE_FETCHED)
            take_rows(&e);
        else if (e.type == STORE_RESYNC)
            tell_all();
        else if (e.type == STORE_FAILING)
            loop.failures++;
    }
}

static void route(void)
{
    pthread_mutex_lock(&inbox.lock);
    const unsigned n = inbox.n;
    uint64_t journals[INBOX];
    memcpy(journals, inbox.journals, n * sizeof *journals);
    inbox.n = 0;
    pthread_mutex_unlock(&inbox.lock);
    for (unsigned i = 0; i < n; i++) {
        put_delivery(&w, 1, journals[i], journals[i], "m");
        put_gone(&w, SN_REC_DELIVERY_GONE, 1, journals[i]);
        put_routed(&w, journals[i]);
    }
}

static void change_sessions(void)
{
    for (unsigned i = 0; i < 3; i++) {
        const unsigned client = (unsigned)rng_below(&rng, CLIENTS);
        if (loop.state[client] != 0 && rng_below(&rng, 4) == 0) {
            loop.state[client] = 0;
            put_gone(&w, SN_REC_SESSION_GONE, client + 1, 0);
        } else {
            loop.state[client] = (unsigned)rng_below(&rng, 60000) + 1;
            put_state(client);
            put_topic(&w, client + 1, 1, "t");
        }
    }
}

static void spool(void)
{
    for (unsigned i = 0; i < 5 && loop.last_spooled - loop.fetched < WAITING_MAX; i++) {
        if (!store_room(w.s, 10) || loop.last_spooled + 1 == SPOOLED_MAX)
            break;
        loop.spooled[++loop.last_spooled] = true;
        put_spool(&w, 1, loop.last_spooled, "x");
        if (rng_below(&rng, 3) == 0)
            store_spool_sending(w.s, loop.last_spooled, 1000 + (unsigned)loop.last_spooled % 100);
    }
    if (!loop.fetching && rng_below(&rng, 4) == 0) {
        loop.fetching = true;
        store_fetch(w.s, loop.fetch_after, 20, 1000);
    }
}

/* A disk that fails for some turns, then works again. */
static void disturb(void)
{
    static const int codes[] = {SQLITE_IOERR_WRITE, SQLITE_FULL, SQLITE_IOERR_FSYNC};
    const uint64_t what = rng_below(&rng, 100);
    if (what < 2)
        fault_disk_fail(disk, 1 << FAULT_WRITE | 1 << FAULT_SYNC, rng_below(&rng, 20) + 1,
                        rng_below(&rng, 3) + 1, codes[rng_below(&rng, 3)]);
    if (what < 90 || !store_gauges(w.s).failing)
        return;
    fault_disk_heal(disk);
    while (store_gauges(w.s).failing) {
        take_events();
        store_flush(w.s);
        pause_a_little();
    }
}

static void turn(void)
{
    route();
    change_sessions();
    spool();
    take_events();
    disturb();
    store_flush(w.s);
    /* A loop has pauses, too. */
    const uint64_t batch = store_batch(w.s);
    if (batch > AHEAD)
        world_wait_batch(&w, batch - AHEAD);
}

/* ---- in the end ------------------------------------------------------------------------------ */

static struct {
    unsigned state[CLIENTS];
    unsigned messages;
} held;

static int on_record(void *owner, const struct sn_record *r)
{
    (void)owner;
    if (r->type == SN_REC_SESSION)
        held.state[r->client - 1] = r->session.keep_alive_s;
    ck_assert_int_ne(r->type, SN_REC_DELIVERY);
    return 0;
}

static int on_message(void *owner, const struct store_unrouted *message)
{
    (void)owner, (void)message;
    held.messages++;
    return 0;
}

static int on_sent(void *owner, uint64_t number, uint64_t client, uint64_t bytes)
{
    (void)owner, (void)number, (void)client, (void)bytes;
    ck_abort_msg("all packets were cleared");
}

static int on_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last_number)
{
    (void)owner, (void)client, (void)n, (void)bytes, (void)last_number;
    return 0;
}

static void check_spool(void)
{
    uint64_t after = 0;
    for (struct store_event e; (e = world_fetch(&w, after, 100, 1 << 20)).n > 0;) {
        for (size_t i = 0; i < e.n; i++) {
            for (after++; after < e.rows[i].number; after++)
                ck_assert_msg(!loop.spooled[after], "%llu is lost", (unsigned long long)after);
            ck_assert_msg(loop.spooled[after], "%llu should be gone", (unsigned long long)after);
        }
    }
    for (after++; after <= loop.last_spooled; after++)
        ck_assert_msg(!loop.spooled[after], "%llu is lost", (unsigned long long)after);
}

/* The disk has healed: until all is well, or has been told anew. */
static void settle(void)
{
    fault_disk_heal(disk);
    do {
        take_events();
        route();
        put_state(0);
        world_commit(&w);
    } while (store_gauges(w.s).failing || loop.fetching || inbox.n > 0);
}

static void play(size_t max_queued_bytes)
{
    static const struct store_visitor visitor = {
        .record = on_record, .message = on_message, .sent = on_sent, .spool = on_spool};
    pthread_t threads[2];
    w.options.max_queued_bytes = max_queued_bytes;
    world_open(&w);
    loop.state[0] = 1;
    ck_assert_int_eq(pthread_create(&threads[0], NULL, receive, NULL), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, transmit, NULL), 0);
    for (unsigned i = 0; i < TURNS; i++)
        turn();
    fault_disk_heal(disk);
    pthread_mutex_lock(&inbox.lock);
    inbox.stop = true;
    pthread_mutex_unlock(&inbox.lock);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    settle();
    const struct store_gauges g = store_gauges(w.s);
    printf("%u failures, %u resyncs, %llu fetched, %llu commits, %llu records, %llu lost\n",
           loop.failures, loop.resyncs, (unsigned long long)loop.fetched,
           (unsigned long long)g.commits, (unsigned long long)g.records,
           (unsigned long long)g.records_lost);
    world_reopen(&w);
    ck_assert_int_eq(store_load(w.s, &visitor), 0);
    for (unsigned client = 0; client < CLIENTS; client++)
        ck_assert_uint_eq(held.state[client], loop.state[client]);
    ck_assert_uint_eq(held.messages, 0);
    check_spool();
}

static void setup(void)
{
    rng = seeded_rng();
    disk = fault_disk_new("disk");
    world_init(&w);
    w.options.vfs = "disk";
    w.options.linger_ms = 1;
    w.options.lazy_ms = 3;
    w.options.retry_ms = 1;
    w.options.wal_bytes = 100000;
}

static void teardown(void)
{
    fault_disk_heal(disk);
    world_deinit(&w);
    fault_disk_free(disk);
}

START_TEST(all_threads_at_once_over_a_disk_that_fails)
{
    play(16 << 20);
    ck_assert_uint_gt(loop.failures, 0);
}

END_TEST

START_TEST(all_threads_at_once_with_a_short_queue)
{
    play(SHORT_QUEUE);
    ck_assert_uint_gt(loop.resyncs, 0);
}

END_TEST

/* What is promised must not be lost by any of this. */
START_TEST(all_threads_at_once_with_an_intent_log)
{
    w.options.intent_bytes = _i == 0 ? 1 << 20 : 8192;
    play(_i == 1 ? SHORT_QUEUE : 16 << 20);
    ck_assert(_i == 0 || loop.failures > 0);
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: threads");
    TCase *const all = tcase_create("threads");
    tcase_set_timeout(all, 60);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, all_threads_at_once_over_a_disk_that_fails);
    tcase_add_test(all, all_threads_at_once_with_a_short_queue);
    tcase_add_loop_test(all, all_threads_at_once_with_an_intent_log, 0, 3);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
