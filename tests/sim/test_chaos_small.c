/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handful of nodes, the engine, the shared session and an ideal broker, in virtual time, with bad
 * air between nodes and gateway: packets are lost, copied and late, and upward they overtake each
 * other. (Downward they keep their order: a client that forgets a QoS 2 exchange when it is
 * complete, as the specification lets it, can't tell a copy that comes after its end.) The broker's
 * connection breaks now and then. Nodes lose their connection, sleep, wake and come back.
 *
 * Afterwards, in clean air: what a node was told is published is at the broker, QoS 2 once; what
 * the broker sent at QoS 1 and 2 has arrived, QoS 2 once; the order of each node is kept both ways.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

#include "sim/world.h"
#include "tools/client.h"

enum {
    NODES = 6,
    AIR_MAX = 2048,
    PENDING_MAX = 64,
    MESSAGES_MAX = 400,
    PACKET_MAX = 128,
    ACTIVE_MS = 20 * 60 * 1000,
    DRAIN_MS = 4 * 3600 * 1000,
    LOSS_PERCENT = 30,
    COPY_PERCENT = 5,
    DELAY_MIN_MS = 10,
    JITTER_MS = 500,
    COPY_GAP_MS = 15, /* downward */
    START_MS = 5000,
};

struct message {
    uint8_t qos;
    bool acked;      /* up: the node was told; down: not used */
    unsigned copies; /* that arrived */
    unsigned order;  /* of the first arrival */
};

struct ledger {
    struct message m[MESSAGES_MAX];
    unsigned count;
    unsigned arrived; /* first arrivals so far */
};

struct node {
    struct snc *c;
    struct peer_room peer;
    char id[8], up_topic[16], down_filter[16], down_topic[16];
    int64_t act_ms;
    int64_t last_down_ms; /* when the latest packet to it arrives */
    bool subscribed;
    bool sleeping;
    struct ledger up, down;
};

struct flight {
    int64_t at_ms;
    unsigned node;
    bool up;
    size_t len;
    uint8_t data[PACKET_MAX];
};

struct pending {
    struct sim_ask *ask;
    int64_t at_ms;
    bool doubt;
};

struct chaos {
    uint64_t seed;
    struct rng rng;
    struct sim_world w;
    struct node nodes[NODES];
    struct flight air[AIR_MAX];
    unsigned n_air;
    struct pending pending[PENDING_MAX];
    unsigned n_pending;
    bool broker_up;
    int64_t broker_flap_ms;
    bool clean_air;
    bool failed;
    bool trace;
};

static void fail(struct chaos *x, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct chaos *x, const char *format, ...)
{
    if (x->failed)
        return;
    x->failed = true;
    printf("seed %llu, %.3f s: ", (unsigned long long)x->seed,
           (double)(x->w.now_ms - START_MS) / 1000);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n  reproduce: test_chaos_small --seed %llu --rounds 1\n", (unsigned long long)x->seed);
}

static int64_t random_ms(struct chaos *x, int64_t from, int64_t to)
{
    return from + (int64_t)rng_below(&x->rng, (uint64_t)(to - from + 1));
}

static bool chance(struct chaos *x, unsigned percent)
{
    return rng_below(&x->rng, 100) < percent;
}

/* ---- the ledgers -----------------------------------------------------------------------------*/

/* Payloads are "SEQ". */
static size_t payload(char *out, size_t size, unsigned seq)
{
    return (size_t)snprintf(out, size, "%u", seq);
}

static void arrive(struct chaos *x, struct ledger *l, const char *who, struct bytes data)
{
    unsigned seq = 0;
    for (size_t i = 0; i < data.len; i++)
        seq = seq * 10 + (unsigned)(data.data[i] - '0');
    if (data.len == 0 || data.len > 4 || seq >= l->count) {
        fail(x, "%s: a message that nobody sent", who);
        return;
    }
    struct message *m = &l->m[seq];
    if (m->copies++ == 0)
        m->order = l->arrived++;
    if (m->qos == 2 && m->copies > 1)
        fail(x, "%s: message %u of QoS 2 arrived twice", who, seq);
}

/* First arrivals of what was acknowledged (`all`: of everything) come in the order of sending. */
static void check_ledger(struct chaos *x, const struct ledger *l, const char *who, bool all)
{
    unsigned last = 0;
    bool any = false;
    for (unsigned i = 0; i < l->count; i++) {
        const struct message *m = &l->m[i];
        if (!all && !m->acked)
            continue;
        if (m->copies == 0) {
            fail(x, "%s: message %u of QoS %u of %u is lost", who, i, m->qos, l->count);
            return;
        }
        if (any && m->order < last)
            fail(x, "%s: message %u has overtaken another", who, i);
        last = m->order;
        any = true;
    }
}

/* ---- the air ---------------------------------------------------------------------------------*/

static void put_in_air(struct chaos *x, unsigned node, bool up, struct bytes packet, int64_t at_ms)
{
    if (x->n_air == AIR_MAX || packet.len > PACKET_MAX) {
        fail(x, "the air is full");
        return;
    }
    struct flight *f = &x->air[x->n_air++];
    *f = (struct flight){.at_ms = at_ms, .node = node, .up = up, .len = packet.len};
    memcpy(f->data, packet.data, packet.len);
}

static void trace(const struct chaos *x, unsigned node, const char *what, struct bytes packet)
{
    struct sn_packet p;
    char text[160] = "?";
    if (!x->trace)
        return;
    if (sn_decode(packet, &p) == SN_DECODED)
        sn_print(&p, text, sizeof text);
    printf("%10.3f  n%u %s %s\n", (double)(x->w.now_ms - START_MS) / 1000, node, what, text);
}

static void transmit(struct chaos *x, unsigned node, bool up, struct bytes packet)
{
    struct node *n = &x->nodes[node];
    const bool lost = !x->clean_air && chance(x, LOSS_PERCENT);
    trace(x, node,
          lost ? (up ? "sends, lost" : "is sent, lost")
          : up ? "sends"
               : "is sent",
          packet);
    if (lost)
        return;
    int64_t at_ms = x->w.now_ms + random_ms(x, DELAY_MIN_MS, DELAY_MIN_MS + JITTER_MS);
    if (!up && at_ms < n->last_down_ms)
        at_ms = n->last_down_ms;
    put_in_air(x, node, up, packet, at_ms);
    const bool copied = !x->clean_air && chance(x, COPY_PERCENT);
    const int64_t gap_ms = random_ms(x, 0, up ? JITTER_MS : COPY_GAP_MS);
    if (copied)
        put_in_air(x, node, up, packet, at_ms + gap_ms);
    if (!up)
        n->last_down_ms = at_ms + (copied ? gap_ms : 0);
}

static void take_packets(struct chaos *x)
{
    for (struct sim_packet *p = sim_take_packet(&x->w); p != NULL; p = sim_take_packet(&x->w)) {
        unsigned i = 0;
        while (i < NODES && !peer_equal(p->to, peer_in(&x->nodes[i].peer)))
            i++;
        if (i < NODES)
            transmit(x, i, false, body_bytes(p->bytes));
        else
            fail(x, "a packet to nobody");
        sim_packet_free(p);
    }
    for (unsigned i = 0; i < NODES; i++) {
        struct bytes packet;
        while (snc_peek_packet(x->nodes[i].c, &packet)) {
            transmit(x, i, true, packet);
            snc_done_packet(x->nodes[i].c);
        }
    }
}

/* ---- the broker ------------------------------------------------------------------------------*/

static void record(struct chaos *x, const struct sim_ask *a)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (bytes_equal(body_bytes(a->topic), bytes_str(x->nodes[i].up_topic)))
            arrive(x, &x->nodes[i].up, x->nodes[i].up_topic, body_bytes(a->data));
    }
}

static void answer(struct chaos *x, const struct sim_ask *a, enum up_result result)
{
    static const enum up_event_type type_of[ASK_TYPES] = {[ASK_PUBLISH] = UP_PUBLISHED,
                                                          [ASK_SUBSCRIBE] = UP_SUBSCRIBED,
                                                          [ASK_UNSUBSCRIBE] = UP_UNSUBSCRIBED};

    if (a->type == ASK_PUBLISH && a->qos == 0 && result == UP_OK)
        return;
    sim_upstream(&x->w,
                 &(struct up_event){
                     .type = type_of[a->type], .token = a->token, .result = result, .qos = a->qos});
}

static void settle(struct chaos *x, unsigned i, enum up_result result)
{
    struct sim_ask *a = x->pending[i].ask;
    x->pending[i] = x->pending[--x->n_pending];
    if (a->type == ASK_PUBLISH && result == UP_OK)
        record(x, a);
    answer(x, a, result);
    sim_ask_free(a);
}

static void take_asks(struct chaos *x)
{
    for (struct sim_ask *a = sim_take_ask(&x->w); a != NULL; a = sim_take_ask(&x->w)) {
        if (x->n_pending == PENDING_MAX) {
            fail(x, "too many requests open");
            sim_ask_free(a);
            continue;
        }
        x->pending[x->n_pending++] =
            (struct pending){.ask = a, .at_ms = x->w.now_ms + random_ms(x, 1, 30)};
    }
}

/* What is open is answered as the connection does (upstream.h): QoS 2 in doubt, the rest not sent,
 * although the broker may have it. */
static void break_connection(struct chaos *x)
{
    for (unsigned i = x->n_pending; i-- > 0;) {
        struct sim_ask *a = x->pending[i].ask;
        if (a->type == ASK_PUBLISH && a->qos == 2) {
            x->pending[i].doubt = true;
            answer(x, a, UP_IN_DOUBT);
            continue;
        }
        if (a->type == ASK_PUBLISH && chance(x, 50))
            record(x, a);
        settle(x, i, UP_BUSY);
    }
    sim_upstream(&x->w, &(struct up_event){.type = UP_DISCONNECTED, .why = "chaos"});
}

static void flap(struct chaos *x)
{
    if (x->broker_up) {
        x->broker_up = false;
        break_connection(x);
        x->broker_flap_ms = x->w.now_ms + random_ms(x, 100, 20000);
        return;
    }
    x->broker_up = true;
    sim_upstream(&x->w, &(struct up_event){.type = UP_CONNECTED, .session_present = true});
    for (unsigned i = 0; i < x->n_pending; i++)
        x->pending[i].at_ms = x->w.now_ms + random_ms(x, 1, 30);
    x->broker_flap_ms = x->clean_air ? TIME_NEVER : x->w.now_ms + random_ms(x, 60000, 300000);
}

static void run_broker(struct chaos *x)
{
    for (unsigned i = x->n_pending; x->broker_up && i-- > 0;) {
        if (x->pending[i].at_ms <= x->w.now_ms)
            settle(x, i, UP_OK);
    }
    if (x->broker_flap_ms <= x->w.now_ms)
        flap(x);
}

/* The broker has a message for the node. */
static void send_down(struct chaos *x, struct node *n)
{
    if (!x->broker_up || !n->subscribed || n->down.count == MESSAGES_MAX)
        return;
    const unsigned seq = n->down.count++;
    n->down.m[seq].qos = (uint8_t)random_ms(x, 1, 2);
    char text[8];
    struct body *body = body_new(bytes_of(text, payload(text, sizeof text, seq)));
    sim_upstream(&x->w, &(struct up_event){.type = UP_MESSAGE,
                                           .qos = n->down.m[seq].qos,
                                           .topic = bytes_str(n->down_topic),
                                           .body = body});
    body_unref(body);
}

/* ---- the nodes -------------------------------------------------------------------------------*/

static void publish_up(struct chaos *x, struct node *n)
{
    if (n->up.count == MESSAGES_MAX || snc_publishing(n->c))
        return;
    char text[8];
    const unsigned seq = n->up.count;
    const struct snc_topic topic = {.kind = SN_TOPIC_NORMAL, .name = bytes_str(n->up_topic)};
    const uint8_t qos = (uint8_t)random_ms(x, 1, 2);
    const struct bytes data = bytes_of(text, payload(text, sizeof text, seq));
    if (snc_publish(n->c, x->w.now_ms, &topic, data, (enum sn_qos)qos, false) == 0) {
        n->up.m[seq].qos = qos;
        n->up.count++;
    }
}

/* Something to do now and then, whatever the state; refusals by the client machine are fine. */
static void act(struct chaos *x, struct node *n)
{
    const int64_t now_ms = x->w.now_ms;
    const struct snc_topic filter = {.kind = SN_TOPIC_NORMAL, .name = bytes_str(n->down_filter)};
    n->act_ms = now_ms + random_ms(x, 500, 8000);
    if (!x->clean_air && chance(x, 40))
        send_down(x, n);
    if (n->sleeping && !x->clean_air && chance(x, 80)) {
        if (chance(x, 30))
            snc_ping(n->c, now_ms);
    } else if (!snc_is_connected(n->c)) {
        n->sleeping = snc_connect(n->c, now_ms) != 0 && n->sleeping;
    } else if (!n->subscribed) {
        snc_subscribe(n->c, now_ms, &filter, SN_QOS_2);
    } else if (!x->clean_air && chance(x, 3)) {
        n->sleeping = snc_disconnect(n->c, now_ms, 60) == 0;
    } else if (!x->clean_air && chance(x, 2)) {
        snc_disconnect(n->c, now_ms, 0);
    } else if (!x->clean_air) {
        publish_up(x, n);
    }
}

/* The acknowledged message is the latest: one is open at a time. */
static void on_event(struct chaos *x, struct node *n, const struct snc_event *event)
{
    if (event->type == SNC_PUBLISHED && event->return_code == SN_ACCEPTED && n->up.count > 0)
        n->up.m[n->up.count - 1].acked = true;
    if (event->type == SNC_SUBSCRIBED && event->return_code == SN_ACCEPTED)
        n->subscribed = true;
    if (event->type == SNC_MESSAGE)
        arrive(x, &n->down, n->down_topic, event->data);
    if (event->type == SNC_DISCONNECTED && event->by_gateway)
        n->sleeping = false;
}

static void run_nodes(struct chaos *x)
{
    for (unsigned i = 0; i < NODES; i++) {
        struct node *n = &x->nodes[i];
        snc_advance(n->c, x->w.now_ms);
        struct snc_event event;
        while (snc_peek_event(n->c, &event)) {
            on_event(x, n, &event);
            snc_done_event(n->c);
        }
        if (n->act_ms <= x->w.now_ms)
            act(x, n);
    }
}

/* ---- time ------------------------------------------------------------------------------------*/

static void deliver_flights(struct chaos *x)
{
    for (unsigned i = 0; i < x->n_air;) {
        if (x->air[i].at_ms > x->w.now_ms) {
            i++;
            continue;
        }
        const struct flight f = x->air[i];
        memmove(&x->air[i], &x->air[i + 1], (x->n_air - i - 1) * sizeof x->air[0]);
        x->n_air--;
        struct node *n = &x->nodes[f.node];
        trace(x, f.node, f.up ? "  arrives from" : "  arrives at", bytes_of(f.data, f.len));
        if (f.up)
            sim_input(&x->w, peer_in(&n->peer), bytes_of(f.data, f.len));
        else
            snc_input(n->c, x->w.now_ms, bytes_of(f.data, f.len));
    }
}

static int64_t next_ms(const struct chaos *x)
{
    int64_t next = time_min(sim_next_deadline(&x->w), x->broker_flap_ms);
    for (unsigned i = 0; i < x->n_air; i++)
        next = time_min(next, x->air[i].at_ms);
    for (unsigned i = 0; i < x->n_pending && x->broker_up; i++)
        next = time_min(next, x->pending[i].at_ms);
    for (unsigned i = 0; i < NODES; i++)
        next = time_min(next, time_min(snc_next_deadline(x->nodes[i].c), x->nodes[i].act_ms));
    return next;
}

static void step(struct chaos *x)
{
    const int64_t next = next_ms(x);
    if (next > x->w.now_ms && !sim_advance(&x->w, next))
        fail(x, "a deadline in the past");
    deliver_flights(x);
    run_broker(x);
    run_nodes(x);
    take_asks(x);
    take_packets(x);
}

static bool is_quiet(const struct chaos *x)
{
    for (unsigned i = 0; i < NODES; i++) {
        if (!snc_is_connected(x->nodes[i].c) || snc_publishing(x->nodes[i].c))
            return false;
    }
    return x->n_air == 0 && x->n_pending == 0 && sn_engine_gauges(x->w.engine).queued == 0;
}

static void node_init(struct chaos *x, unsigned i)
{
    struct node *n = &x->nodes[i];
    const uint8_t address[6] = {192, 0, 2, (uint8_t)(i + 1), 7, 0x5C};
    peer_make(&n->peer, 0, PEER_IP4, bytes_of(address, sizeof address));
    snprintf(n->id, sizeof n->id, "n%u", i);
    snprintf(n->up_topic, sizeof n->up_topic, "up/%u", i);
    snprintf(n->down_topic, sizeof n->down_topic, "down/%u", i);
    snprintf(n->down_filter, sizeof n->down_filter, i % 2 == 0 ? "down/%u" : "+/%u/#", i);
    n->act_ms = START_MS + (int64_t)i * 100;
    n->c = snc_new(&(struct snc_options){.client_id = n->id, .keep_alive_s = 60, .retry_count = 3},
                   START_MS);
    if (n->c == NULL)
        abort();
}

static void chaos_init(struct chaos *x, uint64_t seed)
{
    x->seed = seed;
    rng_seed(&x->rng, seed);
    struct sn_engine_config config = sn_engine_defaults();
    struct shared_config shared = shared_defaults();
    config.hash_seed = (struct hash_seed){.k0 = seed, .k1 = ~seed};
    shared.hash_seed = config.hash_seed;
    config.defaults.max_queue = MESSAGES_MAX;
    sim_init(&x->w, &config, &shared, START_MS);
    for (unsigned i = 0; i < NODES; i++)
        node_init(x, i);
    flap(x);
}

/* A node that never answers a REGISTER loses what needs one; that is policy, and counted. */
static bool dropped_by_policy(const struct chaos *x)
{
    return sn_engine_stats(x->w.engine)->n[SN_STAT_DROP_REFUSED_BY_CLIENT] > 0;
}

static void check_stats(struct chaos *x)
{
    static const enum sn_stat none[] = {
        SN_STAT_DROP_QUEUE_FULL,  SN_STAT_DROP_TOO_LARGE, SN_STAT_DROP_CLIENT_GONE,
        SN_STAT_DROP_OUTPUT_FULL, SN_STAT_DROP_NO_MEMORY, SN_STAT_BAD_LENGTH,
        SN_STAT_BAD_BODY,         SN_STAT_BAD_TYPE,       SN_STAT_BAD_TRUNCATED};

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        if (sn_engine_stats(x->w.engine)->n[none[i]] != 0)
            fail(x, "%s is %llu", sn_stat_name(none[i]),
                 (unsigned long long)sn_engine_stats(x->w.engine)->n[none[i]]);
    }
}

/* False when it failed. `messages` counts what was checked. */
static bool play(uint64_t seed, bool trace_it, unsigned *messages, unsigned *policy)
{
    struct chaos *x = calloc(1, sizeof *x);
    if (x == NULL)
        abort();
    x->trace = trace_it;
    chaos_init(x, seed);
    while (!x->failed && x->w.now_ms < START_MS + ACTIVE_MS)
        step(x);
    x->clean_air = true;
    const int64_t latest_ms = x->w.now_ms + DRAIN_MS;
    while (!x->failed && !(x->broker_up && is_quiet(x))) {
        step(x);
        if (x->w.now_ms > latest_ms)
            fail(x, "not everything came through in clean air");
    }
    const bool policy_drop = dropped_by_policy(x);
    *policy += policy_drop;
    for (unsigned i = 0; i < NODES; i++) {
        check_ledger(x, &x->nodes[i].up, x->nodes[i].up_topic, false);
        if (!policy_drop)
            check_ledger(x, &x->nodes[i].down, x->nodes[i].down_topic, true);
        *messages += x->nodes[i].up.count + x->nodes[i].down.count;
    }
    check_stats(x);
    for (unsigned i = 0; i < NODES; i++)
        snc_free(x->nodes[i].c);
    while (x->n_pending > 0)
        sim_ask_free(x->pending[--x->n_pending].ask);
    sim_deinit(&x->w);
    const bool passed = !x->failed;
    free(x);
    return passed;
}

static void option(int argc, char **argv, const char *name, uint64_t *out)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0)
            *out = strtoull(argv[i + 1], NULL, 10);
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    uint64_t rounds = 50;
    option(argc, argv, "--seed", &seed);
    option(argc, argv, "--rounds", &rounds);
    uint64_t trace_it = 0; /* 1: print every packet */
    option(argc, argv, "--trace", &trace_it);
    unsigned messages = 0;
    unsigned policy = 0;
    unsigned failed = 0;
    for (uint64_t i = 0; i < rounds; i++)
        failed += !play(seed + i, trace_it != 0, &messages, &policy);
    printf("%llu rounds from seed %llu: %u messages, %u rounds with drops by policy, %u failed\n",
           (unsigned long long)rounds, (unsigned long long)seed, messages, policy, failed);
    return failed > 0 || messages == 0 ? 1 : 0;
}
