/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hammers a running gateway with hostile datagrams while one well-behaved node keeps publishing.
 *
 *     sennet-hammer GATEWAY_PORT BROKER_PORT [DATAGRAMS [SEED]]
 *
 * The datagrams are packets of all types that would mean something to the gateway, in any order,
 * most of them mutated (bits flipped, cut, extended, spliced, lengths lied about). After each batch
 * the node must get its PUBACK, so the gateway has to process what it is sent. Exit 0 when the node
 * lost nothing: each of its acknowledged messages arrived at the broker. Whether the gateway
 * survived without a sanitizer's report is for the caller to see (scripts/hammer.sh).
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/rng.h"

#include "mqtt.h"
#include "mqttsn/packet.h"
#include "tools/client.h"

enum { ATTACKERS = 8, BATCH = 128, PACKET_MAX = 600, PATIENCE_MS = 120000 };

struct hammer {
    struct rng rng;
    int attackers[ATTACKERS];
    int node_fd;
    struct snc *node;
    struct mqtt *mqtt;
    bool connected, subscribed, node_online, publishing;
    uint64_t acknowledged; /* highest sequence number, from 1, without gaps by construction */
    uint64_t arrived;      /* distinct, in order */
    uint64_t answers;      /* datagrams that attackers got back */
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int udp_to(uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0) {
        perror("socket");
        exit(1);
    }
    return fd;
}

/* ---- hostile packets ------------------------------------------------------------------------- */

static const char *pick_text(struct rng *r)
{
    static const char *const texts[] = {
        "a",
        "t/a1",
        "#",
        "+",
        "a/#",
        "$SYS/#",
        "",
        "////",
        "x\x01y",
        "\xff\xfe",
        "hostile/topic/name",
        "dev1",
        "dev2",
        "node-with-a-rather-long-client-identifier-that-goes-on-and-on-and-on",
    };
    return texts[rng_below(r, sizeof texts / sizeof texts[0])];
}

static size_t make_packet(struct rng *r, uint8_t *buf)
{
    static const uint8_t data[300] = "payload";
    struct sn_packet p = {
        .type = (enum sn_type)rng_below(r, SN_TYPE_COUNT),
        .dup = rng_below(r, 4) == 0,
        .retain = rng_below(r, 8) == 0,
        .will = rng_below(r, 3) == 0,
        .clean = rng_below(r, 2) == 0,
        .qos = (enum sn_qos)rng_below(r, 4),
        .topic_kind = (enum sn_topic_kind)rng_below(r, 4),
        .topic_id = (uint16_t)rng_below(r, 8),
        .msg_id = (uint16_t)rng_below(r, 6),
        .duration_s = (uint16_t)rng_below(r, 4),
        .has_duration = rng_below(r, 2) == 0,
        .return_code = (uint8_t)rng_below(r, 5),
        .protocol_id = rng_below(r, 8) == 0 ? (uint8_t)rng_next(r) : SN_PROTOCOL_ID,
        .client_id = bytes_str(pick_text(r)),
        .topic = bytes_str(pick_text(r)),
        .data = bytes_of(data, rng_below(r, sizeof data)),
    };
    if (rng_below(r, 24) == 0) /* else it hardly ever gets through unharmed */
        p = (struct sn_packet){.type = SN_CONNECT,
                               .clean = true,
                               .protocol_id = SN_PROTOCOL_ID,
                               .duration_s = 60,
                               .client_id = bytes_str(pick_text(r))};
    size_t n = 0;
    if (rng_below(r, 10) == 0) { /* behind a forwarder, or several */
        const struct sn_envelope env = {.node_id = bytes_of(data, rng_below(r, 5))};
        for (uint64_t depth = 1 + rng_below(r, 4); depth > 0; depth--)
            n += sn_envelope_encode(&env, buf + n, PACKET_MAX - n);
    }
    return n + sn_encode(&p, buf + n, PACKET_MAX - n);
}

static size_t mutate(struct rng *r, uint8_t *buf, size_t n)
{
    for (uint64_t times = 1 + rng_below(r, 3); times > 0 && n > 0; times--) {
        switch (rng_below(r, 6)) {
        case 0:
            buf[rng_below(r, n)] ^= (uint8_t)(1U << rng_below(r, 8));
            break;
        case 1:
            buf[rng_below(r, n)] = (uint8_t)rng_next(r);
            break;
        case 2:
            n = rng_below(r, n + 1);
            break;
        case 3:
            for (uint64_t more = 1 + rng_below(r, 16); more > 0 && n < PACKET_MAX; more--)
                buf[n++] = (uint8_t)rng_next(r);
            break;
        case 4:
            buf[0] = (uint8_t)rng_below(r, 4); /* the length octet lies */
            break;
        default:
            if (n > 1)
                buf[1] = (uint8_t)rng_next(r);
            break;
        }
    }
    return n;
}

static void attack(struct hammer *h, uint64_t datagrams)
{
    uint8_t buf[PACKET_MAX];
    for (uint64_t i = 0; i < datagrams; i++) {
        const int fd = h->attackers[rng_below(&h->rng, ATTACKERS)];
        size_t n = make_packet(&h->rng, buf);
        if (rng_below(&h->rng, 4) != 0)
            n = mutate(&h->rng, buf, n);
        if (send(fd, buf, n, 0) < 0)
            poll(NULL, 0, 1);
    }
    for (unsigned i = 0; i < ATTACKERS; i++) {
        while (recv(h->attackers[i], buf, sizeof buf, 0) >= 0)
            h->answers++;
    }
}

/* ---- the node and the broker ----------------------------------------------------------------- */

static void wake(void *arg)
{
    (void)arg; /* polled */
}

static void on_broker(struct hammer *h, const struct up_event *e)
{
    if (e->type == UP_CONNECTED)
        h->connected = true;
    if (e->type == UP_SUBSCRIBED)
        h->subscribed = e->result == UP_OK;
    if (e->type != UP_MESSAGE)
        return;
    char text[24] = "";
    const struct bytes body = body_bytes(e->body);
    memcpy(text, body.data, body.len < sizeof text - 1 ? body.len : sizeof text - 1);
    const uint64_t sequence = strtoull(text, NULL, 10);
    if (sequence > h->arrived + 1) {
        fprintf(stderr, "message %" PRIu64 " arrived after %" PRIu64 "\n", sequence, h->arrived);
        exit(1);
    }
    if (sequence == h->arrived + 1)
        h->arrived = sequence;
}

static void on_node(struct hammer *h, const struct snc_event *e)
{
    if (e->type == SNC_CONNECTED)
        h->node_online = true;
    if (e->type == SNC_PUBLISHED) {
        h->publishing = false;
        if (e->return_code == SN_ACCEPTED)
            h->acknowledged++;
    }
    if (e->type == SNC_TIMEOUT || e->type == SNC_REFUSED || e->type == SNC_DISCONNECTED) {
        fprintf(stderr, "the node lost its connection (event %d)\n", e->type);
        exit(1);
    }
}

static void send_waiting(struct hammer *h)
{
    struct bytes out;
    while (snc_peek_packet(h->node, &out)) {
        if (send(h->node_fd, out.data, out.len, 0) < 0)
            poll(NULL, 0, 1);
        snc_done_packet(h->node);
    }
}

/* Node and broker side each do what they can, within a few milliseconds. */
static void turn(struct hammer *h)
{
    send_waiting(h);
    struct pollfd p = {.fd = h->node_fd, .events = POLLIN};
    poll(&p, 1, 5);
    uint8_t in[PACKET_MAX];
    ssize_t n;
    while ((n = recv(h->node_fd, in, sizeof in, 0)) >= 0)
        snc_input(h->node, now_ms(), bytes_of(in, (size_t)n));
    snc_advance(h->node, now_ms());
    struct snc_event e;
    while (snc_peek_event(h->node, &e)) {
        on_node(h, &e);
        snc_done_event(h->node);
    }
    send_waiting(h);
    struct up_event u;
    while (mqtt_next_event(h->mqtt, &u))
        on_broker(h, &u);
}

static void until(struct hammer *h, bool (*done)(const struct hammer *h))
{
    const int64_t end_ms = now_ms() + PATIENCE_MS;
    while (!done(h)) {
        turn(h);
        if (now_ms() > end_ms) {
            fprintf(stderr, "no progress: %" PRIu64 " acknowledged, %" PRIu64 " arrived\n",
                    h->acknowledged, h->arrived);
            exit(1);
        }
    }
}

static bool broker_connected(const struct hammer *h)
{
    return h->connected;
}

static bool broker_subscribed(const struct hammer *h)
{
    return h->subscribed;
}

static bool node_online(const struct hammer *h)
{
    return h->node_online;
}

static bool node_published(const struct hammer *h)
{
    return !h->publishing;
}

static bool everything_arrived(const struct hammer *h)
{
    return h->arrived >= h->acknowledged;
}

static void publish(struct hammer *h, uint64_t sequence)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, sequence);
    const struct snc_topic topic = {.kind = SN_TOPIC_NORMAL, .name = bytes_str("hammer/good")};
    h->publishing = true;
    if (snc_publish(h->node, now_ms(), &topic, bytes_str(text), SN_QOS_1, false) != 0) {
        fprintf(stderr, "the node can't publish\n");
        exit(1);
    }
    until(h, node_published);
}

static void start(struct hammer *h, uint16_t gateway_port, uint16_t broker_port)
{
    for (unsigned i = 0; i < ATTACKERS; i++)
        h->attackers[i] = udp_to(gateway_port);
    h->node_fd = udp_to(gateway_port);
    char address[64];
    snprintf(address, sizeof address, "mqtt://127.0.0.1:%u", broker_port);
    struct mqtt_options options = mqtt_defaults();
    options.address = address;
    options.client_id = "hammer-observer";
    h->mqtt = mqtt_start(&options, NULL, wake, h);
    const struct snc_options node = {.client_id = "good-node",
                                     .clean = true,
                                     .keep_alive_s = 300,
                                     .retry_ms = 1000,
                                     .retry_count = 30};
    h->node = snc_new(&node, now_ms());
    if (h->mqtt == NULL || h->node == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    until(h, broker_connected);
    mqtt_submit(h->mqtt, &(struct up_request){
                             .type = UP_SUBSCRIBE, .topic = bytes_str("hammer/good"), .qos = 2});
    mqtt_flush(h->mqtt);
    until(h, broker_subscribed);
    snc_connect(h->node, now_ms());
    until(h, node_online);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: %s GATEWAY_PORT BROKER_PORT [DATAGRAMS [SEED]]\n", argv[0]);
        return 64;
    }
    const uint64_t total = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
    const uint64_t seed = argc > 4 ? strtoull(argv[4], NULL, 10) : (uint64_t)now_ms();
    printf("seed %" PRIu64 "\n", seed);
    static struct hammer h;
    rng_seed(&h.rng, seed);
    start(&h, (uint16_t)strtoul(argv[1], NULL, 10), (uint16_t)strtoul(argv[2], NULL, 10));
    uint64_t sequence = 0;
    const int64_t started_ms = now_ms();
    for (uint64_t sent = 0; sent < total; sent += BATCH) {
        attack(&h, BATCH);
        publish(&h, ++sequence);
        if (sequence % 8192 == 0) {
            printf("%" PRIu64 " datagrams, %" PRIu64 " acknowledged\n", sent, h.acknowledged);
            fflush(stdout);
        }
    }
    until(&h, everything_arrived);
    printf("%" PRIu64 " hostile datagrams in %.1f s, %" PRIu64 " answers to them; node: %" PRIu64
           " acknowledged, %" PRIu64 " arrived\n",
           total, (double)(now_ms() - started_ms) / 1000, h.answers, h.acknowledged, h.arrived);
    mqtt_stop(h.mqtt, 1000);
    snc_free(h.node);
    return h.acknowledged == sequence ? 0 : 1;
}
