/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine_bench [CLIENTS]: processor time of the engine per conversation, without records and with
 * them, and of bringing that many sessions back. Nobody stores anything: what the store costs is
 * measured by store_bench.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "mqttsn/engine.h"
#include "mqttsn/packet.h"

enum { ROUNDS = 200000, REPEATS = 5, NOW_MS = 1000 };

struct bench {
    struct sn_engine *engine;
    unsigned n_clients;
    uint64_t *keys;
    uint64_t records;
    uint64_t packets;
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static struct peer *peer_of(unsigned i, struct peer_room *room)
{
    const uint8_t octets[6] = {10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i, 7, 0x5C};
    return peer_make(room, 0, PEER_IP4, bytes_of(octets, sizeof octets));
}

static void say(struct bench *b, unsigned client, const struct sn_packet *p)
{
    uint8_t octets[256];
    struct peer_room room;
    const size_t len = sn_encode(p, octets, sizeof octets);
    sn_engine_input(b->engine, NOW_MS, peer_of(client, &room), bytes_of(octets, len));
}

/* Everything is answered with yes. The msg id of the latest packet that has one. */
static uint16_t carry(struct bench *b)
{
    struct sn_request r;
    struct sn_outgoing out;
    struct sn_record record;
    struct sn_packet p = {.msg_id = 0};
    for (; sn_engine_peek_request(b->engine, &r); sn_engine_done_request(b->engine)) {
        struct sn_event event = {.client = r.client, .token = r.token};
        if (r.type == SN_REQ_OPEN)
            event.type = SN_EV_OPENED;
        else if (r.type == SN_REQ_SUBSCRIBE)
            event.type = SN_EV_SUBSCRIBED;
        else
            event.type = SN_EV_PUBLISHED;
        if (r.type == SN_REQ_PUBLISH)
            event.published.qos = r.publish.qos;
        if (r.type == SN_REQ_OPEN && sn_client_slot(r.client) < b->n_clients)
            b->keys[sn_client_slot(r.client)] = r.client;
        const bool answered = r.type == SN_REQ_OPEN || r.type == SN_REQ_SUBSCRIBE ||
                              (r.type == SN_REQ_PUBLISH && r.publish.qos > 0);
        if (answered)
            sn_engine_event(b->engine, NOW_MS, &event);
    }
    for (; sn_engine_peek_record(b->engine, &record); sn_engine_done_record(b->engine))
        b->records++;
    for (; sn_engine_peek_packet(b->engine, &out); sn_engine_done_packet(b->engine)) {
        b->packets++;
        if (sn_decode(out.bytes, &p) != SN_DECODED)
            abort();
    }
    return p.msg_id;
}

static void message(struct bench *b, unsigned client, uint8_t qos)
{
    static const uint8_t octets[20];
    struct body *body = body_new(bytes_of(octets, sizeof octets));
    const struct sn_recipient to = {.client = b->keys[client], .qos = qos};
    sn_engine_event(b->engine, NOW_MS,
                    &(struct sn_event){
                        .type = SN_EV_MESSAGE,
                        .message = {.topic = bytes_str("site/commands"),
                                    .body = body,
                                    .recipients = &to,
                                    .n_recipients = 1}
    });
    body_unref(body);
}

/* ---- conversations --------------------------------------------------------------------------- */

static struct sn_packet publish(enum sn_qos qos, uint16_t msg_id)
{
    static const uint8_t octets[20];
    return (struct sn_packet){.type = SN_PUBLISH,
                              .qos = qos,
                              .topic_id = 1,
                              .msg_id = msg_id,
                              .data = bytes_of(octets, sizeof octets)};
}

static void publish_qos_0(struct bench *b, unsigned client, unsigned round)
{
    (void)round;
    const struct sn_packet p = publish(SN_QOS_0, 0);
    say(b, client, &p);
    carry(b);
}

static void publish_qos_1(struct bench *b, unsigned client, unsigned round)
{
    const struct sn_packet p = publish(SN_QOS_1, (uint16_t)round);
    say(b, client, &p);
    carry(b);
}

static void publish_qos_2(struct bench *b, unsigned client, unsigned round)
{
    const struct sn_packet p = publish(SN_QOS_2, (uint16_t)round);
    say(b, client, &p);
    carry(b);
    say(b, client, &(struct sn_packet){.type = SN_PUBREL, .msg_id = (uint16_t)round});
    carry(b);
}

static void ping(struct bench *b, unsigned client, unsigned round)
{
    (void)round;
    say(b, client, &(struct sn_packet){.type = SN_PINGREQ});
    carry(b);
}

static void deliver_qos_0(struct bench *b, unsigned client, unsigned round)
{
    (void)round;
    message(b, client, 0);
    carry(b);
}

static void deliver_qos_1(struct bench *b, unsigned client, unsigned round)
{
    (void)round;
    message(b, client, 1);
    const uint16_t msg_id = carry(b);
    say(b, client, &(struct sn_packet){.type = SN_PUBACK, .topic_id = 2, .msg_id = msg_id});
    carry(b);
}

static void deliver_qos_2(struct bench *b, unsigned client, unsigned round)
{
    (void)round;
    message(b, client, 2);
    const uint16_t msg_id = carry(b);
    say(b, client, &(struct sn_packet){.type = SN_PUBREC, .msg_id = msg_id});
    carry(b);
    say(b, client, &(struct sn_packet){.type = SN_PUBCOMP, .msg_id = msg_id});
    carry(b);
}

static const struct {
    const char *name;
    void (*run)(struct bench *b, unsigned client, unsigned round);
} conversations[] = {
    {"PUBLISH QoS 0 up",   publish_qos_0},
    {"PUBLISH QoS 1 up",   publish_qos_1},
    {"PUBLISH QoS 2 up",   publish_qos_2},
    {"PINGREQ",            ping         },
    {"PUBLISH QoS 0 down", deliver_qos_0},
    {"PUBLISH QoS 1 down", deliver_qos_1},
    {"PUBLISH QoS 2 down", deliver_qos_2},
};

/* ---- set-up ---------------------------------------------------------------------------------- */

static struct sn_engine_config configuration(bool journal)
{
    struct sn_engine_config config = sn_engine_defaults();
    config.max_clients = 1000000;
    config.max_memory_bytes = UINT64_C(4) << 30;
    config.log_level = LOG_ERROR;
    config.journal = journal;
    return config;
}

static void begin(struct bench *b, unsigned n_clients, bool journal)
{
    const struct sn_engine_config config = configuration(journal);
    *b = (struct bench){.engine = sn_engine_new(&config, NOW_MS), .n_clients = n_clients};
    b->keys = calloc(n_clients, sizeof *b->keys);
    if (b->engine == NULL || b->keys == NULL)
        abort();
    sn_engine_spooling(b->engine, true);
    sn_engine_event(b->engine, NOW_MS,
                    &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = true}});
    for (unsigned i = 0; i < n_clients; i++) {
        char id[16];
        snprintf(id, sizeof id, "node-%u", i);
        say(b, i,
            &(struct sn_packet){.type = SN_CONNECT,
                                .protocol_id = SN_PROTOCOL_ID,
                                .clean = true,
                                .duration_s = 600,
                                .client_id = bytes_str(id)});
        carry(b);
        say(b, i,
            &(struct sn_packet){
                .type = SN_REGISTER, .msg_id = 1, .topic = bytes_str("site/values")});
        say(b, i,
            &(struct sn_packet){.type = SN_SUBSCRIBE,
                                .qos = SN_QOS_2,
                                .msg_id = 2,
                                .topic = bytes_str("site/commands")});
        carry(b);
    }
}

static void end(struct bench *b)
{
    sn_engine_free(b->engine);
    free(b->keys);
}

static double measure(struct bench *b, size_t which)
{
    double best = 0;
    for (unsigned repeat = 0; repeat < REPEATS; repeat++) {
        const double start = now_us();
        for (unsigned i = 0; i < ROUNDS; i++)
            conversations[which].run(b, (i * 7919U) % b->n_clients, i);
        const double took = (now_us() - start) / ROUNDS;
        best = repeat == 0 || took < best ? took : best;
    }
    return best;
}

/* ---- a restart ------------------------------------------------------------------------------- */

static void restart(unsigned n_clients)
{
    struct sn_record record;
    const struct sn_engine_config config = configuration(true);
    struct bench b;
    begin(&b, n_clients, true);
    struct sn_engine *fresh = sn_engine_new(&config, NOW_MS);
    if (fresh == NULL)
        abort();
    const double all = now_us();
    unsigned long rows = 0;
    sn_engine_record_all(b.engine);
    for (; sn_engine_peek_record(b.engine, &record); sn_engine_done_record(b.engine))
        rows++;
    const double start = now_us();
    sn_engine_record_all(b.engine);
    for (; sn_engine_peek_record(b.engine, &record); sn_engine_done_record(b.engine)) {
        if (sn_engine_restore(fresh, &record) != 0)
            abort();
    }
    const double restored = now_us();
    sn_engine_restored(fresh, NOW_MS);
    printf("%u sessions, %lu rows: recorded in %.0f ms, restored in %.0f ms, taken up in %.0f ms\n",
           n_clients, rows, (start - all) / 1000, (restored - start - (start - all)) / 1000,
           (now_us() - restored) / 1000);
    sn_engine_free(fresh);
    end(&b);
}

int main(int argc, char **argv)
{
    const unsigned n_clients = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
    if (n_clients == 0)
        return 64;
    printf("%u clients; microseconds of processor time per conversation, the best of %d times "
           "%d\n",
           n_clients, REPEATS, ROUNDS);
    for (size_t i = 0; i < sizeof conversations / sizeof conversations[0]; i++) {
        struct bench b;
        double took[2];
        uint64_t records = 0;
        for (int journal = 0; journal < 2; journal++) {
            begin(&b, n_clients, journal == 1);
            b.records = 0;
            took[journal] = measure(&b, i);
            records = b.records;
            end(&b);
        }
        printf("%-20s  %6.3f  with records %6.3f  (%.3f of them)\n", conversations[i].name, took[0],
               took[1], (double)records / ((double)ROUNDS * REPEATS));
    }
    restart(n_clients);
    return 0;
}
