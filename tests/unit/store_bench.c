/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store costs here: not a test, but the source of the figures in docs/adr/0012.
 *
 *     store_bench DIR [process|power] [SPOOLED [SESSIONS]]
 *
 * DIR must lie on the disk in question, and be empty; build with optimisation.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#include "store.h"

enum { PAYLOAD = 100, CHUNK = 256, CALLS = 20000 };

static struct store *s;
static uint64_t last_spooled;

static void on_wake(void *arg)
{
    (void)arg;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Octets that this process has caused to be written to a disk. */
static uint64_t written(void)
{
    char line[128];
    unsigned long long n = 0;
    FILE *const f = fopen("/proc/self/io", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "write_bytes: ", 13) == 0)
            n = strtoull(line + 13, NULL, 10);
    if (f != NULL)
        fclose(f);
    return n;
}

static long rss_kib(void)
{
    long pages = 0;
    FILE *const f = fopen("/proc/self/statm", "re");
    if (f == NULL || fscanf(f, "%*d %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Of all threads. */
static double cpu_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct meter {
    double wall_s;
    double cpu_s;
    uint64_t written;
};

static struct meter meter_start(void)
{
    return (struct meter){.wall_s = now_s(), .cpu_s = cpu_s(), .written = written()};
}

/* For `n` of something. */
static void meter_report(const struct meter *m, const char *what, unsigned n)
{
    const double wall = now_s() - m->wall_s;
    printf("%-44s %8.0f/s  processor %.1f us, %.0f octets written each, RSS %ld KiB\n", what,
           n / wall, (cpu_s() - m->cpu_s) / n * 1e6, (double)(written() - m->written) / n,
           rss_kib());
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

static void commit(void)
{
    const uint64_t batch = store_batch(s);
    store_flush(s);
    if (store_batch(s) == batch)
        return;
    while (store_committed(s) < batch)
        nap();
}

static void open_at(const char *dir, enum store_durability durability)
{
    static const char *const links[] = {"udp"};
    struct store_options o = store_defaults();
    char error[256];
    o.dir = dir;
    o.durability = durability;
    o.links = links;
    o.n_links = 1;
    const double begun = now_s();
    if (store_open(&o, on_wake, NULL, &s, error, sizeof error) != 0) {
        fprintf(stderr, "%s\n", error);
        exit(EXIT_RUNTIME);
    }
    if (store_notice(s) != NULL)
        printf("%s\n", store_notice(s));
    printf("%-44s %8.1f ms\n", "open", (now_s() - begun) * 1e3);
}

static void close_it(void)
{
    const double begun = now_s();
    store_close(s);
    printf("%-44s %8.1f ms\n", "close", (now_s() - begun) * 1e3);
}

/* ---- one after the other --------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report(const char *what, double *took, unsigned n, const struct meter *m)
{
    const double all_s = now_s() - m->wall_s;
    const double cpu = cpu_s() - m->cpu_s;
    const uint64_t bytes = written() - m->written;
    qsort(took, n, sizeof *took, by_value);
    printf("%-44s %8.0f/s  p50 %.0f us, p99 %.0f us, max %.0f us, processor %.1f us, %.0f octets "
           "written each\n",
           what, n / all_s, took[n / 2] * 1e6, took[n - n / 100 - 1] * 1e6, took[n - 1] * 1e6,
           cpu / n * 1e6, (double)bytes / n);
}

static void put_session(uint64_t client)
{
    char id[24];
    uint8_t addr[6] = {10, 0, 0, 1, 1, 2};
    struct peer_room room;
    peer_make(&room, 0, PEER_IP4, bytes_of(addr, sizeof addr));
    snprintf(id, sizeof id, "node-%" PRIu64, client);
    struct sn_record r = {.type = SN_REC_SESSION, .client = client};
    r.session.client_id = bytes_str(id);
    r.session.peer = peer_in(&room);
    store_put(s, &r);
}

static void put_delivery(uint64_t client, uint64_t number, uint64_t journal)
{
    struct sn_record r = {.type = SN_REC_DELIVERY, .client = client};
    r.delivery.number = number;
    r.delivery.journal = journal;
    r.delivery.qos = 1;
    store_put(s, &r);
}

static void put_key(enum sn_record_type type, uint64_t client, uint64_t key)
{
    struct sn_record r = {.type = type, .client = client};
    if (type == SN_REC_ROUTED)
        r.routed.journal = key;
    else if (type == SN_REC_DELIVERY_GONE)
        r.delivery.number = key;
    else
        r.spool.number = key;
    store_put(s, &r);
}

/* The path of a message from the broker to a node that is awake; `route` lets the loop do its part
 * before the next one. */
static void bench_messages(unsigned n, bool route)
{
    char payload[PAYLOAD];
    double *const took = calloc(n, sizeof *took);
    memset(payload, 'x', sizeof payload);
    put_session(1);
    commit();
    const struct meter m = meter_start();
    uint64_t last = 0;
    for (unsigned i = 0; i < n; i++) {
        const double at = now_s();
        const uint64_t journal = store_message(
            s, 0,
            &(struct store_incoming){
                .topic = bytes_str("some/topic"), .payload = bytes_of(payload, PAYLOAD), .qos = 1},
            NULL);
        took[i] = now_s() - at;
        if (route) {
            put_delivery(1, journal, journal);
            put_key(SN_REC_ROUTED, 0, journal);
            store_flush(s);
            if (last != 0)
                put_key(SN_REC_DELIVERY_GONE, 1, last);
        } else {
            put_key(SN_REC_ROUTED, 0, journal);
        }
        last = journal;
    }
    if (route)
        put_key(SN_REC_DELIVERY_GONE, 1, last);
    commit();
    report(route ? "message, delivered" : "message", took, n, &m);
    free(took);
}

static void bench_packets(unsigned n)
{
    char payload[PAYLOAD] = {0};
    char key[32];
    double *const took = calloc(n, sizeof *took);
    const struct bytes parts[] = {bytes_of(payload, 20), bytes_of(payload, PAYLOAD - 20)};
    memset(payload, 'x', sizeof payload);
    const struct meter m = meter_start();
    for (unsigned i = 0; i < n; i++) {
        const double at = now_s();
        snprintf(key, sizeof key, "s-%u", i % 65535 + 1);
        store_packet_put(s, 0, key, parts, 2);
        took[i] = now_s() - at;
        store_packet_remove(s, 0, key, 0);
    }
    report("packet put", took, n, &m);
    free(took);
}

static void put_spool(struct body *body, uint64_t client)
{
    struct sn_record r = {.type = SN_REC_SPOOL, .client = client};
    r.spool.number = ++last_spooled;
    r.spool.topic = bytes_str("some/topic");
    r.spool.body = body;
    r.spool.qos = 1;
    store_put(s, &r);
}

static struct body *new_body(void)
{
    char payload[PAYLOAD];
    memset(payload, 'x', sizeof payload);
    return body_new(bytes_of(payload, sizeof payload));
}

/* Latency of a batch of one record, as a node sees it that waits for it. */
static void bench_batches(unsigned n)
{
    struct body *const body = new_body();
    double *const took = calloc(n, sizeof *took);
    const struct meter m = meter_start();
    for (unsigned i = 0; i < n; i++) {
        const double at = now_s();
        put_spool(body, 1);
        commit();
        took[i] = now_s() - at;
    }
    report("batch of one SPOOL, each waited for", took, n, &m);
    for (uint64_t number = last_spooled - n + 1; number <= last_spooled; number++)
        put_key(SN_REC_SPOOL_GONE, 1, number);
    commit();
    body_unref(body);
    free(took);
}

/* Comes and goes within the queue, as with a broker that is there. */
static void bench_cancelled(unsigned n)
{
    struct body *const body = new_body();
    const struct meter m = meter_start();
    for (unsigned i = 0; i < n; i++) {
        put_spool(body, 1);
        store_flush(s);
        put_key(SN_REC_SPOOL_GONE, 1, last_spooled);
        store_flush(s);
    }
    commit();
    meter_report(&m, "SPOOL and SPOOL_GONE within the linger", n);
    body_unref(body);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void bench_spool(unsigned n)
{
    struct body *const body = new_body();
    const struct meter m = meter_start();
    for (unsigned i = 0; i < n; i++) {
        put_spool(body, 1 + i % 1000);
        if (i % 10 == 9)
            store_flush(s);
        while (!store_room(s, PAYLOAD))
            nap();
    }
    commit();
    meter_report(&m, "spool", n);
    body_unref(body);
}

static void bench_drain(unsigned n)
{
    uint64_t after = last_spooled - n;
    unsigned got = 0;
    const struct meter m = meter_start();
    store_fetch(s, after, CHUNK, 1 << 20);
    while (got < n) {
        struct store_event e;
        if (!store_next_event(s, &e)) {
            nap();
            continue;
        }
        for (size_t i = 0; i < e.n; i++)
            put_key(SN_REC_SPOOL_GONE, e.rows[i].client, e.rows[i].number);
        got += (unsigned)e.n;
        after = e.n > 0 ? e.rows[e.n - 1].number : after;
        store_flush(s);
        if (got < n)
            store_fetch(s, after, CHUNK, 1 << 20);
    }
    commit();
    meter_report(&m, "fetch and delete", n);
}

static void bench_sessions(unsigned n)
{
    char name[32];
    const struct meter m = meter_start();
    for (uint64_t client = 1; client <= n; client++) {
        put_session(client);
        for (uint16_t i = 1; i <= 3; i++) {
            struct sn_record r = {.type = SN_REC_TOPIC, .client = client};
            snprintf(name, sizeof name, "node/%" PRIu64 "/%u", client, i);
            r.topic.topic_id = i;
            r.topic.name = bytes_str(name);
            store_put(s, &r);
        }
        struct sn_record r = {.type = SN_REC_SUBSCRIPTION, .client = client};
        r.subscription.filter = bytes_str(name);
        r.subscription.qos = 1;
        store_put(s, &r);
        store_flush(s);
        while (store_gauges(s).queued_bytes > (4U << 20))
            nap();
    }
    commit();
    meter_report(&m, "sessions with 3 topics, 1 subscription", n);
}

static unsigned counted;

static int count_record(void *owner, const struct sn_record *record)
{
    (void)owner, (void)record;
    counted++;
    return 0;
}

static int count_message(void *owner, const struct store_unrouted *message)
{
    (void)owner, (void)message;
    counted++;
    return 0;
}

static int count_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last)
{
    (void)owner, (void)client, (void)n, (void)bytes;
    last_spooled = last;
    return 0;
}

static void bench_load(void)
{
    const struct store_visitor visitor = {
        .record = count_record, .message = count_message, .spool = count_spool};
    const double begun = now_s();
    counted = 0;
    if (store_load(s, &visitor) != 0)
        printf("load failed\n");
    printf("%-44s %8.1f ms  %u records, last spooled %" PRIu64 "\n", "load",
           (now_s() - begun) * 1e3, counted, last_spooled);
}

static void bench_idle(void)
{
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL); /* a checkpoint may be under way */
    const struct meter m = meter_start();
    nanosleep(&(struct timespec){.tv_sec = 3}, NULL);
    meter_report(&m, "idle, 3 s", 1);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: store_bench DIR [process|power] [SPOOLED [SESSIONS]]\n");
        return EXIT_USAGE;
    }
    const bool power = argc > 2 && strcmp(argv[2], "power") == 0;
    const enum store_durability durability = power ? STORE_POWER : STORE_PROCESS;
    const unsigned spooled = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 100000;
    const unsigned sessions = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 10000;
    const unsigned calls = power ? CALLS / 10 : CALLS;

    open_at(argv[1], durability);
    bench_messages(calls, false);
    bench_messages(calls, true);
    bench_packets(calls);
    bench_batches(power ? 500 : 2000);
    bench_cancelled(CALLS);
    bench_sessions(sessions);
    bench_spool(spooled);
    bench_idle();
    close_it();
    open_at(argv[1], durability);
    bench_load();
    bench_drain(spooled);
    const struct store_gauges g = store_gauges(s);
    printf("%" PRIu64 " commits, %" PRIu64 " records, longest commit %" PRIu64 " us, file %" PRIu64
           " octets\n",
           g.commits, g.records, g.commit_max_us, g.file_bytes);
    close_it();
    return EXIT_OK;
}
