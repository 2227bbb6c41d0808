/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the spool costs per message, by itself: neighbours that do nothing but take and answer.
 *
 *     spool_bench [MESSAGES [CLIENTS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "broker/spool.h"

enum { PAYLOAD = 64, PER_BATCH = 256, TOPIC_MAX = 32 };

struct bench {
    struct spool *s;
    struct body *body;
    unsigned n, clients;
    uint64_t batch;
    uint64_t next_row;
    uint64_t answered; /* to nodes */
    uint64_t *with_broker;
    size_t n_with_broker;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void report(const struct bench *b, const char *what, double start_s)
{
    const double took_s = now_s() - start_s;
    printf("%-34s %8.0f messages/s, %5.0f ns each\n", what, b->n / took_s, took_s / b->n * 1e9);
}

static struct bench begin(unsigned n, unsigned clients, size_t memory)
{
    static const uint8_t payload[PAYLOAD];
    struct spool_config config = spool_defaults();
    config.max_memory_bytes = memory;
    config.max_messages = n;
    config.max_bytes = UINT64_MAX / 2;
    struct bench b = {.s = spool_new(&config, 0),
                      .body = body_new(bytes_of(payload, sizeof payload)),
                      .n = n,
                      .clients = clients,
                      .batch = 1,
                      .with_broker = calloc(1024, sizeof(uint64_t))};
    if (b.s == NULL || b.body == NULL || b.with_broker == NULL)
        exit(EXIT_FAILURE);
    spool_batch(b.s, b.batch);
    spool_usable(b.s, 0, true);
    return b;
}

static void end(struct bench *b)
{
    spool_free(b->s);
    body_unref(b->body);
    free(b->with_broker);
}

static void drain_events(struct bench *b)
{
    struct up_event event;
    while (spool_peek_event(b->s, &event)) {
        b->answered += event.type == UP_PUBLISHED;
        spool_done_event(b->s);
    }
}

static void hear(struct bench *b, const struct up_event *event)
{
    spool_upstream(b->s, 0, event);
    drain_events(b);
}

static void end_batch(struct bench *b)
{
    struct sn_record record;
    while (spool_peek_record(b->s, &record))
        spool_done_record(b->s);
    spool_batch(b->s, b->batch + 1);
    spool_committed(b->s, 0, b->batch++);
    drain_events(b);
}

static void submit(struct bench *b, unsigned i, uint8_t qos)
{
    char topic[TOPIC_MAX];
    const unsigned client = 1 + i % b->clients;
    const int len = snprintf(topic, sizeof topic, "site/%u/temperature", client);
    spool_submit(b->s, 0,
                 &(struct up_request){.type = UP_PUBLISH,
                                      .token = (uint64_t)client << UP_TOKEN_BITS | (uint16_t)i,
                                      .topic = bytes_of(topic, (size_t)len),
                                      .body = b->body,
                                      .qos = qos,
                                      .client = client});
}

static void take_requests(struct bench *b)
{
    struct up_request r;
    while (spool_peek_request(b->s, &r)) {
        if (r.spooled != 0)
            b->with_broker[b->n_with_broker++] = r.spooled;
        spool_done_request(b->s);
    }
}

/* The broker acknowledges what it has got. */
static void acknowledge(struct bench *b)
{
    for (size_t i = 0; i < b->n_with_broker; i++)
        hear(b, &(struct up_event){.type = UP_PUBLISHED, .spooled = b->with_broker[i], .qos = 1});
    b->n_with_broker = 0;
}

static void fetch(struct bench *b)
{
    uint64_t after;
    unsigned n;
    size_t max_bytes;
    if (!spool_wants_fetch(b->s, &after, &n, &max_bytes))
        return;
    char topic[TOPIC_MAX];
    for (uint64_t i = after + 1; i <= b->n && i <= after + n; i++) {
        const unsigned client = 1 + (unsigned)((i - 1) % b->clients);
        const int len = snprintf(topic, sizeof topic, "site/%u/temperature", client);
        spool_fetched(b->s, 0,
                      &(struct spool_row){.number = i,
                                          .client = client,
                                          .topic = bytes_of(topic, (size_t)len),
                                          .body = b->body,
                                          .qos = 1});
    }
    spool_fetch_done(b->s, 0, false);
}

static void live(unsigned n, unsigned clients)
{
    struct bench b = begin(n, clients, (size_t)4 << 20);
    hear(&b, &(struct up_event){.type = UP_CONNECTED});
    const double start_s = now_s();
    for (unsigned i = 0; i < n; i++) {
        submit(&b, i, 1);
        take_requests(&b);
        hear(&b,
             &(struct up_event){.type = UP_PUBLISHED,
                                .token = (uint64_t)(1 + i % clients) << UP_TOKEN_BITS | (uint16_t)i,
                                .qos = 1});
    }
    report(&b, "QoS 1, live", start_s);
    end(&b);
}

static void twice(unsigned n, unsigned clients)
{
    struct bench b = begin(n, clients, (size_t)4 << 20);
    hear(&b, &(struct up_event){.type = UP_CONNECTED});
    const double start_s = now_s();
    for (unsigned i = 0; i < n; i++) {
        submit(&b, i, 2);
        if (i % 64 == 63) {
            end_batch(&b);
            take_requests(&b);
            acknowledge(&b);
        }
    }
    report(&b, "QoS 2, through the spool", start_s);
    end(&b);
}

static void outage(unsigned n, unsigned clients, size_t memory, const char *where)
{
    char what[64];
    struct bench b = begin(n, clients, memory);
    double start_s = now_s();
    for (unsigned i = 0; i < n; i++) {
        submit(&b, i, 1);
        if (i % PER_BATCH == 0)
            end_batch(&b);
    }
    end_batch(&b);
    snprintf(what, sizeof what, "outage, spooled, %s", where);
    report(&b, what, start_s);
    hear(&b, &(struct up_event){.type = UP_CONNECTED});
    start_s = now_s();
    while (spool_gauges(b.s).messages > 0) {
        fetch(&b);
        take_requests(&b);
        acknowledge(&b);
        end_batch(&b);
    }
    snprintf(what, sizeof what, "outage, drained, %s", where);
    report(&b, what, start_s);
    if (b.answered != n)
        printf("only %llu answers\n", (unsigned long long)b.answered);
    end(&b);
}

int main(int argc, char **argv)
{
    const unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000000;
    const unsigned clients = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1000;
    live(n, clients);
    twice(n, clients);
    outage(n, clients, SIZE_MAX / 2, "in memory");
    outage(n, clients, (size_t)4 << 20, "on disk");
    return EXIT_SUCCESS;
}
