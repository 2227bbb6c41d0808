/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crash at any write and any sync. A run stores messages of all kinds; before each change of the
 * disk the test asks what a crash at this moment would leave, opens that as a daemon would, and
 * compares it with what the run had been told to be committed.
 *
 * The run is a sequence of steps, each of which waits for its commit: so what is found must be what
 * the first so many steps have made, whole; at least those that were reported, at most those that
 * were begun. (`process` and a power cut: any of them, but whole.)
 *
 * `process` with an intent log: a killed process leaves it as it is at that moment. A power cut leaves
 * the log of another start of the machine, rubbish, or nothing.
 *
 *     test_store_crash                  a sample: all kinds of moments of 4,000 messages
 *     test_store_crash MESSAGES EVERY   every EVERYth moment (1: all; 10,000 take some ten minutes)
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault_vfs.h"
#include "seed.h"
#include "store_intent.h"
#include "store_world.h"
#include "suite.h"

enum {
    SPOOLED = 50,   /* messages that wait in the spool, */
    DELIVERED = 20, /* for the node, */
    PACKETS = 10,   /* with Paho */
    VISITORS = 64,  /* every so many steps another node comes, and one goes */
    BODY_MAX = 9000,
    DENSE = 150, /* all moments of the beginning */
    LOG_BYTES = 256 * 1024,
};

static unsigned messages = 4000;
static unsigned every = 1500;

static struct {
    struct fault_disk *disk;
    struct store_world w;
    struct store_world after; /* the daemon that is started after a crash */
    struct rng rng;
    enum store_durability durability;
    atomic_uint reported; /* steps */
    atomic_uint begun;
    uint64_t moments;
    uint64_t crashes;
} run;

/* ---- what is stored -------------------------------------------------------------------------- */

/* Most are short, some need pages of their own. */
static struct bytes body_for(uint64_t i)
{
    static _Thread_local uint8_t octets[BODY_MAX];
    const size_t len = i % 61 == 0 ? BODY_MAX : (i * 37) % 250 + 1;
    memset(octets, (int)(i % 251), len);
    return bytes_of(octets, len);
}

static void put_counter(struct store *s, uint64_t i)
{
    struct sn_record r = {.type = SN_REC_SESSION, .client = 1};
    r.session.client_id = bytes_str("counter");
    r.session.next_msg_id = (uint16_t)i;
    r.session.sleep_s = (uint16_t)(i >> 16);
    store_put(s, &r);
}

static void put_visitor(struct store_world *w, uint64_t i)
{
    put_session(w, i, "visitor");
    put_topic(w, i, 1, "of/a/visitor");
    put_subscription(w, i, "of/all/visitors", 1);
}

/* The batch of step `i`, which is one transaction. */
static void put_batch(struct store_world *w, uint64_t i)
{
    const struct bytes content = body_for(i);
    struct body *const body = body_new(content);
    struct sn_record r = {.type = SN_REC_SPOOL, .client = 1};
    put_counter(w->s, i);
    r.spool.number = i;
    r.spool.topic = bytes_str("up");
    r.spool.body = body;
    store_put(w->s, &r);
    body_unref(body);
    put_exchange(w, 1, (uint16_t)i);
    put_delivery(w, 1, i, i, "");
    put_routed(w, i);
    if (i > SPOOLED) {
        put_gone(w, SN_REC_SPOOL_GONE, 1, i - SPOOLED);
        put_gone(w, SN_REC_EXCHANGE_GONE, 1, i - SPOOLED);
    }
    if (i > DELIVERED)
        put_gone(w, SN_REC_DELIVERY_GONE, 1, i - DELIVERED);
    if (i % VISITORS == 0)
        put_visitor(w, (uint64_t)1 << 30 | i);
    if (i % VISITORS == 0 && i > VISITORS)
        put_gone(w, SN_REC_SESSION_GONE, (uint64_t)1 << 30 | (i - VISITORS), 0);
}

static const char *packet_key(uint64_t i)
{
    static _Thread_local char key[32];
    snprintf(key, sizeof key, "r-%u", (unsigned)(i % (2 * PACKETS)) + 1);
    return key;
}

static void begin_step(void)
{
    atomic_fetch_add(&run.begun, 1);
}

static void end_step(void)
{
    atomic_fetch_add(&run.reported, 1);
}

/* Three steps: the message from the broker; the loop's batch; a packet of Paho's. */
static void store_one(struct store_world *w, uint64_t i)
{
    const struct bytes content = body_for(i);
    begin_step();
    ck_assert_uint_eq(store_message(w->s, 0,
                                    &(struct store_incoming){
                                        .topic = bytes_str("down"), .payload = content, .qos = 1},
                                    NULL),
                      i);
    end_step();

    put_batch(w, i);
    begin_step();
    world_commit(w);
    end_step();

    begin_step();
    if (i > PACKETS)
        store_packet_remove(w->s, 0, packet_key(i - PACKETS), 0);
    ck_assert_int_eq(store_packet_put(w->s, 0, packet_key(i), &content, 1), 0);
    end_step();
}

/* ---- what is found --------------------------------------------------------------------------- */

static struct {
    uint64_t counter;
    uint64_t deliveries, first_delivery, last_delivery;
    uint64_t exchanges;
    uint64_t visitors, visitor;
    uint64_t rows_of_visitors;
    uint64_t messages, last_message;
    uint64_t spooled, last_spooled;
    uint64_t packets, last_packet;
} found;

static bool is_body(struct bytes body, uint64_t i)
{
    return bytes_equal(body, body_for(i));
}

static int on_record(void *owner, const struct sn_record *r)
{
    (void)owner;
    if (r->client != 1) {
        if (r->type == SN_REC_SESSION) {
            found.visitors++;
            found.visitor = r->client & ~((uint64_t)1 << 30);
        } else {
            found.rows_of_visitors++;
        }
    } else if (r->type == SN_REC_SESSION) {
        found.counter = (uint64_t)r->session.sleep_s << 16 | r->session.next_msg_id;
    } else if (r->type == SN_REC_EXCHANGE) {
        found.exchanges++;
    } else if (r->type == SN_REC_DELIVERY) {
        if (found.deliveries++ == 0)
            found.first_delivery = r->delivery.number;
        found.last_delivery = r->delivery.number;
        ck_assert(is_body(body_bytes(r->delivery.body), r->delivery.number));
    }
    return 0;
}

static int on_message(void *owner, const struct store_unrouted *message)
{
    (void)owner;
    found.messages++;
    found.last_message = message->journal;
    ck_assert(is_body(body_bytes(message->body), message->journal));
    return 0;
}

static int on_sent(void *owner, uint64_t number, uint64_t client, uint64_t bytes)
{
    (void)owner, (void)number, (void)client, (void)bytes;
    ck_abort_msg("nothing is with Paho");
}

static int on_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last_number)
{
    (void)owner, (void)client, (void)bytes;
    found.spooled += n;
    found.last_spooled = last_number;
    return 0;
}

/* A packet tells by its first octet which it is: PACKETS in a row are all different. */
static int on_packet(void *owner, const char *key)
{
    struct store *const s = owner;
    void *data = NULL;
    size_t len = 0;
    ck_assert_int_eq(store_packet_get(s, 0, key, &data, &len), 0);
    const struct bytes content = bytes_of(data, len);
    for (uint64_t i = found.counter + 1; i + PACKETS + 1 > found.counter && i > 0; i--) {
        if (strcmp(packet_key(i), key) != 0 || !is_body(content, i))
            continue;
        found.packets++;
        if (i > found.last_packet)
            found.last_packet = i;
        break;
    }
    free(data);
    return 0;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void check_spool(struct store_world *w)
{
    const struct store_event e = world_fetch(w, 0, 2 * SPOOLED, (size_t)1 << 30);
    ck_assert_uint_eq(e.n, found.spooled);
    for (size_t i = 0; i < e.n; i++) {
        ck_assert_uint_eq(e.rows[i].number, found.counter - e.n + 1 + i);
        ck_assert(is_body(body_bytes(e.rows[i].body), e.rows[i].number));
    }
}

/* How many steps there are, all of them whole. */
static uint64_t check_found(struct store_world *w)
{
    const struct store_visitor visitor = {
        .record = on_record, .message = on_message, .sent = on_sent, .spool = on_spool};
    memset(&found, 0, sizeof found);
    ck_assert_int_eq(store_load(w->s, &visitor), 0);
    const uint64_t n = found.counter;

    ck_assert_uint_eq(found.deliveries, at_most(n, DELIVERED));
    ck_assert_uint_eq(found.exchanges, at_most(n, SPOOLED));
    ck_assert_uint_eq(found.spooled, at_most(n, SPOOLED));
    if (n > 0) {
        ck_assert_uint_eq(found.last_delivery, n);
        ck_assert_uint_eq(found.first_delivery, n - found.deliveries + 1);
        ck_assert_uint_eq(found.last_spooled, n);
    }
    ck_assert_uint_eq(found.visitors, n >= VISITORS ? 1 : 0);
    ck_assert_uint_eq(found.visitor, n / VISITORS * VISITORS);
    ck_assert_uint_eq(found.rows_of_visitors, 2 * found.visitors);
    check_spool(w);

    /* The message before the batch, the packet behind it. */
    ck_assert_uint_le(found.messages, 1);
    if (found.messages == 1)
        ck_assert_uint_eq(found.last_message, n + 1);
    ck_assert_int_eq(store_packet_each(w->s, 0, on_packet, w->s), 0);
    /* With a log the removal before the next packet is promised by itself. */
    const uint64_t packets = at_most(found.last_packet, PACKETS);
    ck_assert(found.packets == packets ||
              (run.w.options.intent_bytes > 0 && found.packets + 1 == PACKETS));
    ck_assert_uint_le(found.last_packet, n);
    ck_assert_uint_ge(found.last_packet + 1, n);
    ck_assert(found.messages == 0 || found.last_packet == n);
    return n + found.messages + n + found.last_packet;
}

/* ---- crashes --------------------------------------------------------------------------------- */

static uint8_t log_file[LOG_BYTES];

static size_t read_log(const char *path)
{
    FILE *const f = fopen(path, "rb");
    const size_t n = f != NULL ? fread(log_file, 1, sizeof log_file, f) : 0;
    if (f != NULL)
        fclose(f);
    return n;
}

static void write_log(const char *path, size_t n)
{
    FILE *const f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(log_file, 1, n, f), n);
    fclose(f);
}

static void spoil_log(size_t n)
{
    switch (rng_below(&run.rng, 3)) {
    case 0: /* whole, but the machine was started anew */
        log_file[INTENT_AT_BOOT] ^= 1;
        const uint64_t check =
            intent_check(log_file + INTENT_AT_ID, bytes_of(log_file, INTENT_AT_CHECK));
        memcpy(log_file + INTENT_AT_CHECK, &check, sizeof check);
        break;
    case 1:
        for (size_t i = 0; i < n; i++)
            log_file[i] = (uint8_t)rng_next(&run.rng);
        break;
    default:
        memset(log_file, 0, n);
        break;
    }
}

/* As it is now, while others go on writing. */
static void leave_log(enum fault_crash how)
{
    const char *const path = world_path(&run.after, "sennet.db-intent");
    const size_t n = read_log(world_path(&run.w, "sennet.db-intent"));
    remove(path);
    if (n == 0)
        return;
    if (how == FAULT_POWER_CUT)
        spoil_log(n);
    write_log(path, n);
}

static void crash(enum fault_crash how)
{
    const uint64_t reported = atomic_load(&run.reported);
    struct fault_disk *const left = fault_disk_crash(run.disk, "left", how, &run.rng);
    leave_log(how);
    const uint64_t begun = atomic_load(&run.begun);
    struct store_world *const w = &run.after;

    world_open(w);
    const uint64_t steps = check_found(w);
    const bool sure = how == FAULT_KILLED || run.durability == STORE_POWER;
    ck_assert_msg(steps <= begun && (!sure || steps >= reported),
                  "%llu steps are there, %llu were reported, %llu begun; moment %llu",
                  (unsigned long long)steps, (unsigned long long)reported,
                  (unsigned long long)begun, (unsigned long long)run.moments);
    /* It must be possible to go on. */
    put_counter(w->s, 1);
    world_commit(w);
    ck_assert(!store_gauges(w->s).failing);
    world_close(w);
    fault_disk_free(left);
    run.crashes++;
}

static void consider(enum fault_call call, const char *file)
{
    const bool copying_back = strstr(file, "-wal") == NULL || call != FAULT_WRITE;
    run.moments++;
    if (every > 1 && run.moments > DENSE &&
        rng_below(&run.rng, copying_back ? every / 4 : every) != 0)
        return;
    crash(FAULT_KILLED);
    crash(FAULT_POWER_CUT);
}

/* By whoever writes: with `power` one commits while another copies back. */
static void at_moment(void *arg, enum fault_call call, const char *file)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    (void)arg;
    pthread_mutex_lock(&one_at_a_time);
    consider(call, file);
    pthread_mutex_unlock(&one_at_a_time);
}

static void play(enum store_durability durability, size_t intent_bytes)
{
    memset(&run, 0, sizeof run);
    run.rng = seeded_rng();
    run.durability = durability;
    run.disk = fault_disk_new("disk");
    world_init(&run.w);
    run.w.options.vfs = "disk";
    run.w.options.durability = durability;
    run.w.options.linger_ms = 0;
    run.w.options.lazy_ms = 1000000;
    run.w.options.wal_bytes = 1 << 20;
    run.w.options.intent_bytes = intent_bytes;
    world_init(&run.after);
    run.after.options.vfs = "left";
    run.after.options.durability = durability;
    run.after.options.linger_ms = 0;
    run.after.options.intent_bytes = intent_bytes;
    fault_disk_hook(run.disk, at_moment, NULL);
    const time_t begun = time(NULL);
    world_open(&run.w);
    for (uint64_t i = 1; i <= messages; i++)
        store_one(&run.w, i);
    world_close(&run.w);
    fault_disk_hook(run.disk, NULL, NULL);
    world_open(&run.w);
    ck_assert_uint_eq(check_found(&run.w), 3 * (uint64_t)messages);
    world_deinit(&run.w);
    world_deinit(&run.after);
    printf("%u messages, %llu moments, %llu crashes, %lld s\n", messages,
           (unsigned long long)run.moments, (unsigned long long)run.crashes,
           (long long)(time(NULL) - begun));
    fault_disk_free(run.disk);
}

START_TEST(power_survives_crashes_and_power_cuts)
{
    play(STORE_POWER, 0);
}

END_TEST

START_TEST(process_survives_crashes_and_is_whole_after_power_cuts)
{
    play(STORE_PROCESS, 0);
}

END_TEST

START_TEST(an_intent_log_promises_and_survives_crashes)
{
    play(STORE_PROCESS, LOG_BYTES);
}

END_TEST

/* It is full again and again, and then commits are waited for. */
START_TEST(a_short_intent_log_survives_crashes)
{
    play(STORE_PROCESS, LOG_BYTES / 16);
}

END_TEST

int main(int argc, char **argv)
{
    if (argc == 3) {
        messages = (unsigned)strtoul(argv[1], NULL, 10);
        every = (unsigned)strtoul(argv[2], NULL, 10);
    }
    Suite *const suite = suite_create("store: crashes");
    TCase *const all = tcase_create("crashes");
    tcase_set_timeout(all, argc == 3 ? 0 : 120);
    tcase_add_test(all, power_survives_crashes_and_power_cuts);
    tcase_add_test(all, process_survives_crashes_and_is_whole_after_power_cuts);
    tcase_add_test(all, an_intent_log_promises_and_survives_crashes);
    tcase_add_test(all, a_short_intent_log_survives_crashes);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
