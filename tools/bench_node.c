/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated nodes: no more of a client than it takes to be served. One exchange is open per node, as
 * MQTT-SN wants it; it is repeated when no answer comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mqttsn/packet.h"
#include "tools/bench.h"

enum {
    RETRY_MS = 2000,
    TRIES_MAX = 10,
    SHORT_TOPIC = 'b' << 8 | 'm', /* of QoS -1 */
    TEXT_MAX = BENCH_TOPIC_MAX,
};

/* ---- saying ---------------------------------------------------------------------------------- */

static void send_packet(struct bench *b, uint32_t node, const struct sn_packet *p)
{
    const size_t len = sn_encode(p, air_packet(&b->air), AIR_PACKET_MAX);
    if (len > 0)
        air_send(&b->air, node, len);
}

static void expect(struct bench *b, struct node *n, enum sn_type answer)
{
    n->awaits = (uint8_t)answer;
    n->asked_ns = b->now_ns;
    list_unlink(&n->waiting);
    list_push_back(&b->waiting, &n->waiting);
}

static uint16_t next_id(struct node *n)
{
    n->last_msg_id = (uint16_t)(n->last_msg_id == UINT16_MAX ? 1 : n->last_msg_id + 1);
    return n->last_msg_id;
}

static struct bytes client_id(uint32_t node, char text[TEXT_MAX])
{
    snprintf(text, TEXT_MAX, "bench-%u", node);
    return bytes_str(text);
}

static enum sn_type answer_to(unsigned todo)
{
    switch (todo) {
    case TODO_CONNECT:
        return SN_CONNACK;
    case TODO_REGISTER:
        return SN_REGACK;
    case TODO_SUBSCRIBE:
    case TODO_SUBSCRIBE_ALL:
        return SN_SUBACK;
    case TODO_WAKE:
        return SN_PINGRESP;
    default:
        return SN_DISCONNECT;
    }
}

/* Says what stands first in its list. */
static void say_todo(struct bench *b, uint32_t node, bool again)
{
    struct node *n = &b->nodes[node];
    const unsigned todo = n->todo & -(unsigned)n->todo;
    char text[TEXT_MAX];
    struct sn_packet p = {.msg_id = n->msg_id, .dup = again};
    switch (todo) {
    case TODO_CONNECT:
        p.type = SN_CONNECT;
        p.clean = true;
        p.protocol_id = SN_PROTOCOL_ID;
        p.duration_s = BENCH_KEEP_ALIVE_S;
        p.client_id = client_id(node, text);
        break;
    case TODO_REGISTER:
        p.type = SN_REGISTER;
        p.topic = bench_topic(BENCH_UP, node, text);
        break;
    case TODO_SUBSCRIBE:
    case TODO_SUBSCRIBE_ALL:
        p.type = SN_SUBSCRIBE;
        p.qos = SN_QOS_2;
        p.topic = bench_topic(todo == TODO_SUBSCRIBE ? BENCH_DOWN : BENCH_ALL, node, text);
        break;
    case TODO_WAKE:
        p.type = SN_PINGREQ;
        p.client_id = client_id(node, text);
        break;
    default:
        p.type = SN_DISCONNECT;
        p.has_duration = todo == TODO_SLEEP;
        p.duration_s = BENCH_KEEP_ALIVE_S;
    }
    expect(b, n, answer_to(todo));
    send_packet(b, node, &p);
}

static void say_publish(struct bench *b, uint32_t node, int qos, bool again)
{
    const struct node *n = &b->nodes[node];
    uint8_t data[BENCH_PAYLOAD_MAX];
    payload_put(
        data, b->options.size,
        &(struct bench_payload){
            .run = b->run, .stream = node, .sequence = n->sequence, .stamp_ns = n->stamp_ns});
    const bool connectionless = qos < 0;
    send_packet(b, node,
                &(struct sn_packet){.type = SN_PUBLISH,
                                    .dup = again,
                                    .qos = connectionless ? SN_QOS_MINUS_1 : (enum sn_qos)qos,
                                    .topic_kind = connectionless ? SN_TOPIC_SHORT : SN_TOPIC_NORMAL,
                                    .topic_id = connectionless ? SHORT_TOPIC : n->topic_id,
                                    .msg_id = qos > 0 ? n->msg_id : 0,
                                    .data = bytes_of(data, b->options.size)});
}

void node_publish(struct bench *b, uint32_t node, int qos, int64_t stamp_ns)
{
    struct node *n = &b->nodes[node];
    n->sequence = tally_send(&b->tally, node);
    n->stamp_ns = stamp_ns;
    if (qos > 0) {
        n->msg_id = next_id(n);
        n->tries = 0;
        expect(b, n, qos == 1 ? SN_PUBACK : SN_PUBREC);
    }
    say_publish(b, node, qos, false);
}

/* ---- work ------------------------------------------------------------------------------------ */

static void rest(struct node *n)
{
    n->awaits = 0;
    list_unlink(&n->waiting);
}

static void next_todo(struct bench *b, uint32_t node)
{
    struct node *n = &b->nodes[node];
    n->tries = 0;
    n->msg_id = next_id(n);
    if (n->todo != 0)
        say_todo(b, node, false);
    else
        b->busy--;
}

void node_begin(struct bench *b, uint32_t node, unsigned todo)
{
    b->busy++;
    b->nodes[node].todo = (uint8_t)todo;
    next_todo(b, node);
}

static void begin_more(struct bench *b)
{
    while (b->work_next < b->work_end && b->busy < b->work_window)
        node_begin(b, b->work_next++, b->work_todo);
}

static void done_todo(struct bench *b, uint32_t node)
{
    struct node *n = &b->nodes[node];
    rest(n);
    n->todo &= (uint8_t)(n->todo - 1); /* the lowest bit is what was said */
    next_todo(b, node);
    begin_more(b);
}

static bool is_idle(const struct bench *b)
{
    return b->busy == 0;
}

bool nodes_work(struct bench *b, uint32_t first, uint32_t n, unsigned todo, uint32_t window,
                double seconds)
{
    b->work_next = first;
    b->work_end = first + n;
    b->work_todo = todo;
    b->work_window = window > 0 ? window : UINT32_MAX;
    const uint64_t lost = b->lost_nodes;
    b->now_ns = bench_clock_ns();
    begin_more(b);
    const bool done = bench_until(b, is_idle, b->now_ns + (int64_t)(seconds * BENCH_SECOND));
    return done && lost == b->lost_nodes;
}

static void refuse(struct bench *b, uint32_t node)
{
    b->refused++;
    if (b->nodes[node].todo != 0) /* again, when its time has come */
        return;
    rest(&b->nodes[node]);
    flow_settled(b, node);
}

bool node_is_busy(const struct bench *b, uint32_t node)
{
    return b->nodes[node].awaits != 0;
}

static void give_up(struct bench *b, struct node *n)
{
    rest(n);
    b->lost_nodes++;
    if (n->todo == 0)
        return;
    n->todo = 0;
    b->busy--;
    begin_more(b);
}

void nodes_advance(struct bench *b)
{
    struct list *first;
    while ((first = list_first(&b->waiting)) != NULL) {
        struct node *n = container_of(first, struct node, waiting);
        const uint32_t node = (uint32_t)(n - b->nodes);
        if (b->now_ns - n->asked_ns < RETRY_MS * BENCH_SECOND / 1000)
            return;
        const enum sn_type awaited = (enum sn_type)n->awaits;
        b->repeats++;
        if (++n->tries > TRIES_MAX) {
            give_up(b, n);
        } else if (n->todo != 0) {
            say_todo(b, node, true);
        } else {
            expect(b, n, awaited);
            if (awaited == SN_PUBCOMP)
                send_packet(b, node, &(struct sn_packet){.type = SN_PUBREL, .msg_id = n->msg_id});
            else
                say_publish(b, node, awaited == SN_PUBACK ? 1 : 2, true);
        }
    }
}

/* ---- hearing --------------------------------------------------------------------------------- */

static void hear_publish(struct bench *b, uint32_t node, const struct sn_packet *p)
{
    struct node *n = &b->nodes[node];
    b->repeats += p->dup ? 1 : 0;
    if (p->qos == SN_QOS_1) {
        send_packet(
            b, node,
            &(struct sn_packet){.type = SN_PUBACK, .topic_id = p->topic_id, .msg_id = p->msg_id});
    } else if (p->qos == SN_QOS_2) {
        send_packet(b, node, &(struct sn_packet){.type = SN_PUBREC, .msg_id = p->msg_id});
        if (n->holds_received && n->received_id == p->msg_id)
            return;
        n->holds_received = true;
        n->received_id = p->msg_id;
    }
    if (flow_arrived_at(b, node, p->data) && p->qos != SN_QOS_2)
        flow_released(b, node);
}

static void hear_answer(struct bench *b, uint32_t node, const struct sn_packet *p)
{
    struct node *n = &b->nodes[node];
    if (n->awaits != (uint8_t)p->type || n->msg_id != p->msg_id)
        return;
    if (p->return_code != SN_ACCEPTED) {
        refuse(b, node);
        return;
    }
    if (p->type == SN_PUBREC) {
        n->tries = 0;
        expect(b, n, SN_PUBCOMP);
        send_packet(b, node, &(struct sn_packet){.type = SN_PUBREL, .msg_id = n->msg_id});
    } else if (n->todo != 0) {
        if (p->type == SN_REGACK)
            n->topic_id = p->topic_id;
        done_todo(b, node);
    } else {
        rest(n);
        flow_settled(b, node);
    }
}

static void hear_pubrel(struct bench *b, uint32_t node, const struct sn_packet *p)
{
    struct node *n = &b->nodes[node];
    send_packet(b, node, &(struct sn_packet){.type = SN_PUBCOMP, .msg_id = p->msg_id});
    if (!n->holds_received || n->received_id != p->msg_id)
        return;
    n->holds_received = false;
    flow_released(b, node);
}

void node_input(void *bench, uint32_t node, struct bytes packet)
{
    struct bench *b = bench;
    struct node *n = &b->nodes[node];
    struct sn_packet p;
    if (sn_decode(packet, &p) != SN_DECODED) {
        if (flow_arrived_at(b, node, packet)) /* an echo */
            flow_released(b, node);
        return;
    }
    const bool ends_todo = p.type == SN_CONNACK || p.type == SN_PINGRESP || p.type == SN_DISCONNECT;
    if (p.type == SN_PUBLISH) {
        hear_publish(b, node, &p);
    } else if (p.type == SN_PUBREL) {
        hear_pubrel(b, node, &p);
    } else if (p.type == SN_REGISTER) {
        send_packet(
            b, node,
            &(struct sn_packet){.type = SN_REGACK, .topic_id = p.topic_id, .msg_id = p.msg_id});
    } else if (p.type == SN_CONNACK && p.return_code != SN_ACCEPTED) {
        b->refused++; /* again, when its time has come */
    } else if (ends_todo && n->todo != 0 && n->awaits == (uint8_t)p.type) {
        done_todo(b, node);
    } else if (p.type == SN_DISCONNECT) {
        b->refused++;
    } else {
        hear_answer(b, node, &p);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

bool nodes_init(struct bench *b, uint32_t n, const struct sockaddr_in *peer)
{
    b->n_nodes = n;
    b->busy = 0;
    b->repeats = b->refused = b->lost_nodes = 0;
    list_init(&b->waiting);
    b->nodes = calloc(n > 0 ? n : 1, sizeof *b->nodes);
    if (b->nodes == NULL) {
        fprintf(stderr, "sennet-bench: out of memory for %u nodes\n", n);
        return false;
    }
    for (uint32_t i = 0; i < n; i++)
        list_init(&b->nodes[i].waiting);
    const int e = peer != NULL ? air_open(&b->air, peer, n, b->options.ports) : 0;
    if (e != 0) {
        fprintf(stderr, "sennet-bench: no sockets for %u nodes: %s\n", n, strerror(-e));
        return false;
    }
    for (uint32_t i = 0; i < b->air.n_fds; i++) {
        if (!bench_watch(b, b->air.fds[i], TAG_AIR, i, false))
            return false;
    }
    return true;
}

void nodes_deinit(struct bench *b)
{
    air_close(&b->air);
    free(b->nodes);
    b->nodes = NULL;
    b->n_nodes = 0;
}
