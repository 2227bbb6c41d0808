/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hot_path KIND ROUNDS: engine and shared session play ROUNDS conversations of one kind, in virtual
 * time, with a broker that says yes. The same each time, to be counted by scripts/instructions.sh:
 * what a round costs is the difference of two runs of different length.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/shared.h"
#include "mqttsn/engine.h"
#include "mqttsn/packet.h"

enum { CLIENTS = 1000, STRIDE = 7919, NOW_MS = 1000, SUBSCRIBERS = 100, PAYLOAD = 64 };

struct hot_path {
    struct sn_engine *engine;
    struct shared *shared;
    int64_t now_ms;
    uint64_t packets;
    uint16_t msg_id; /* of the latest packet */
    uint16_t down_id;
};

static const uint8_t payload[PAYLOAD] = "what a sensor has to say, in 64 octets";

/* ---- carrying -------------------------------------------------------------------------------- */

/* The broker's answer; none to QoS 0. */
static void answer(struct hot_path *h, enum up_request_type type, uint64_t token, uint8_t qos)
{
    struct up_event e = {.type = UP_PUBLISHED, .token = token, .qos = qos};
    if (type == UP_SUBSCRIBE)
        e.type = UP_SUBSCRIBED;
    else if (type == UP_UNSUBSCRIBE)
        e.type = UP_UNSUBSCRIBED;
    else if (qos == 0)
        return;
    shared_upstream(h->shared, h->now_ms, &e);
}

static bool carry_session(struct hot_path *h)
{
    bool moved = false;
    struct sn_request request;
    for (; sn_engine_peek_request(h->engine, &request); moved = true) {
        shared_request(h->shared, h->now_ms, &request);
        sn_engine_done_request(h->engine);
    }
    struct sn_event event;
    for (; shared_peek_event(h->shared, &event); moved = true) {
        sn_engine_event(h->engine, h->now_ms, &event);
        shared_done_event(h->shared);
    }
    struct up_request up;
    if (shared_peek_upstream(h->shared, &up)) { /* one: its answer's events are taken first */
        const uint64_t token = up.token;
        shared_done_upstream(h->shared);
        answer(h, up.type, token, up.qos);
        moved = true;
    }
    return moved;
}

static void carry(struct hot_path *h)
{
    while (carry_session(h))
        ;
    struct sn_outgoing out;
    struct sn_packet p;
    for (; sn_engine_peek_packet(h->engine, &out); sn_engine_done_packet(h->engine)) {
        h->packets++;
        if (sn_decode(out.bytes, &p) != SN_DECODED)
            abort();
        h->msg_id = p.msg_id;
        if (p.type == SN_SUBACK)
            h->down_id = p.topic_id;
    }
}

static void say(struct hot_path *h, unsigned client, const struct sn_packet *p)
{
    const uint8_t address[6] = {
        10, (uint8_t)(client >> 16), (uint8_t)(client >> 8), (uint8_t)client, 7, 0x5C};
    uint8_t octets[256];
    struct peer_room room;
    const size_t len = sn_encode(p, octets, sizeof octets);
    sn_engine_input(h->engine, h->now_ms,
                    peer_make(&room, 0, PEER_IP4, bytes_of(address, sizeof address)),
                    bytes_of(octets, len));
    carry(h);
}

static void message(struct hot_path *h, struct bytes topic, uint8_t qos)
{
    struct body *body = body_new(bytes_of(payload, sizeof payload));
    shared_upstream(
        h->shared, h->now_ms,
        &(struct up_event){.type = UP_MESSAGE, .qos = qos, .topic = topic, .body = body});
    carry(h);
    body_unref(body);
}

/* ---- conversations --------------------------------------------------------------------------- */

static void publish(struct hot_path *h, unsigned client, enum sn_qos qos, unsigned round)
{
    say(h, client,
        &(struct sn_packet){.type = SN_PUBLISH,
                            .qos = qos,
                            .topic_id = 1,
                            .msg_id = qos == SN_QOS_0 ? 0 : (uint16_t)(round % 65000 + 1),
                            .data = bytes_of(payload, sizeof payload)});
}

static void connect_one(struct hot_path *h, unsigned client)
{
    char id[24];
    snprintf(id, sizeof id, "node-%u", client);
    say(h, client,
        &(struct sn_packet){.type = SN_CONNECT,
                            .protocol_id = SN_PROTOCOL_ID,
                            .clean = true,
                            .duration_s = 600,
                            .client_id = bytes_str(id)});
}

static void run_connect(struct hot_path *h, unsigned client, unsigned round)
{
    (void)round;
    connect_one(h, CLIENTS + client);
    say(h, CLIENTS + client, &(struct sn_packet){.type = SN_DISCONNECT});
}

static void run_up_0(struct hot_path *h, unsigned client, unsigned round)
{
    publish(h, client, SN_QOS_0, round);
}

static void run_up_1(struct hot_path *h, unsigned client, unsigned round)
{
    publish(h, client, SN_QOS_1, round);
}

static void run_up_2(struct hot_path *h, unsigned client, unsigned round)
{
    publish(h, client, SN_QOS_2, round);
    say(h, client, &(struct sn_packet){.type = SN_PUBREL, .msg_id = (uint16_t)(round % 65000 + 1)});
}

static void run_ping(struct hot_path *h, unsigned client, unsigned round)
{
    (void)round;
    say(h, client, &(struct sn_packet){.type = SN_PINGREQ});
}

static struct bytes own_topic(unsigned client, char text[32])
{
    snprintf(text, 32, "site/commands/%u", client);
    return bytes_str(text);
}

static void run_down_0(struct hot_path *h, unsigned client, unsigned round)
{
    char text[32];
    (void)round;
    message(h, own_topic(client, text), 0);
}

static void run_down_1(struct hot_path *h, unsigned client, unsigned round)
{
    char text[32];
    (void)round;
    message(h, own_topic(client, text), 1);
    say(h, client,
        &(struct sn_packet){.type = SN_PUBACK, .topic_id = h->down_id, .msg_id = h->msg_id});
}

static void run_fan(struct hot_path *h, unsigned client, unsigned round)
{
    (void)client;
    (void)round;
    message(h, bytes_str("site/all"), 0);
}

static const struct {
    const char *name;
    void (*run)(struct hot_path *h, unsigned client, unsigned round);
    unsigned packets; /* that leave the gateway in each round, or it isn't what it says */
} kinds[] = {
    {"connect",     run_connect, 2          },
    {"ping",        run_ping,    1          },
    {"up-qos-0",    run_up_0,    0          },
    {"up-qos-1",    run_up_1,    1          },
    {"up-qos-2",    run_up_2,    2          },
    {"down-qos-0",  run_down_0,  1          },
    {"down-qos-1",  run_down_1,  1          },
    {"fan-out-100", run_fan,     SUBSCRIBERS},
};

/* ---- set-up ---------------------------------------------------------------------------------- */

static void begin(struct hot_path *h)
{
    struct sn_engine_config engine = sn_engine_defaults();
    struct shared_config shared = shared_defaults();
    engine.log_level = shared.log_level = LOG_NOTICE;
    *h = (struct hot_path){.now_ms = NOW_MS};
    h->engine = sn_engine_new(&engine, NOW_MS);
    h->shared = shared_new(&shared, NOW_MS);
    if (h->engine == NULL || h->shared == NULL)
        abort();
    shared_upstream(h->shared, h->now_ms, &(struct up_event){.type = UP_CONNECTED});
    carry(h);
    for (unsigned i = 0; i < CLIENTS; i++) {
        char text[32];
        connect_one(h, i);
        snprintf(text, sizeof text, "site/values/%u", i);
        say(h, i, &(struct sn_packet){.type = SN_REGISTER, .msg_id = 1, .topic = bytes_str(text)});
        const struct bytes filters[] = {bytes_str("site/all"), own_topic(i, text)};
        for (unsigned f = i < SUBSCRIBERS ? 0 : 1; f < 2; f++) {
            say(h, i,
                &(struct sn_packet){
                    .type = SN_SUBSCRIBE, .qos = SN_QOS_1, .msg_id = 2, .topic = filters[f]});
        }
    }
}

static int play(unsigned kind, unsigned rounds)
{
    struct hot_path h;
    begin(&h);
    h.packets = 0;
    for (unsigned i = 0; i < rounds; i++) {
        h.now_ms++;
        kinds[kind].run(&h, i * STRIDE % CLIENTS, i);
        sn_engine_advance(h.engine, h.now_ms);
        shared_advance(h.shared, h.now_ms);
        carry(&h);
    }
    const uint64_t wanted = (uint64_t)rounds * kinds[kind].packets;
    if (h.packets != wanted)
        fprintf(stderr, "hot_path %s: %llu packets came out, %llu should have\n", kinds[kind].name,
                (unsigned long long)h.packets, (unsigned long long)wanted);
    shared_free(h.shared);
    sn_engine_free(h.engine);
    return h.packets == wanted ? 0 : 1;
}

int main(int argc, char **argv)
{
    const unsigned n = sizeof kinds / sizeof kinds[0];
    if (argc == 1) {
        for (unsigned i = 0; i < n; i++)
            puts(kinds[i].name);
        return 0;
    }
    for (unsigned i = 0; argc == 3 && i < n; i++) {
        if (strcmp(argv[1], kinds[i].name) == 0)
            return play(i, (unsigned)strtoul(argv[2], NULL, 10));
    }
    fputs("usage: hot_path [KIND ROUNDS]\n", stderr);
    return 64;
}
