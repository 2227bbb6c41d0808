/* SPDX-License-Identifier: Apache-2.0 */
/* PUBLISH in both directions (section 6.12). */
#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"

#include "tools/client_priv.h"

/* Octets of the longest PUBLISH that are not data: long Length, type, flags, two ids. */
enum { PUBLISH_OVERHEAD = 9 };

/* How late a copy made by the air may come, behind the PUBREL that ended its exchange. */
enum { COPIES_MS = 2000 };

/* ---- ours ------------------------------------------------------------------------------------ */

void snc_send_publication(struct snc *c, int64_t now_ms)
{
    const uint16_t msg_id = c->requests[SLOT_PUBLISH].msg_id;
    if (c->pub.phase == PUB_RELEASING) {
        snc_transmit(c, now_ms, &(struct sn_packet){.type = SN_PUBREL, .msg_id = msg_id});
        return;
    }
    const struct sn_packet p = {.type = SN_PUBLISH,
                                .dup = c->pub.repeats > 0,
                                .qos = c->pub.qos,
                                .retain = c->pub.retain,
                                .topic_kind = c->pub.kind,
                                .topic_id = c->pub.id,
                                .msg_id = msg_id,
                                .data = snc_copy_get(&c->pub.data)};
    snc_transmit(c, now_ms, &p);
}

void snc_publication_finish(struct snc *c, int64_t now_ms, uint8_t return_code)
{
    if (return_code == SN_INVALID_TOPIC_ID && c->pub.kind == SN_TOPIC_NORMAL)
        regs_forget(&c->names, c->pub.id);
    const uint16_t msg_id = c->requests[SLOT_PUBLISH].msg_id;
    c->pub.phase = PUB_IDLE;
    snc_close(c, SLOT_PUBLISH);
    snc_emit(c, &(struct snc_event){.type = SNC_PUBLISHED,
                                    .return_code = return_code,
                                    .msg_id = msg_id,
                                    .topic_id = c->pub.id,
                                    .topic_kind = c->pub.kind,
                                    .qos = c->pub.qos,
                                    .retain = c->pub.retain,
                                    .took_ms = now_ms - c->pub.first_ms,
                                    .sendings = 1 + c->pub.repeats});
}

void snc_publication_registered(struct snc *c, int64_t now_ms, uint16_t id)
{
    c->pub.id = id;
    if (c->pub.qos == SN_QOS_0) {
        c->pub.phase = PUB_IDLE;
        c->requests[SLOT_PUBLISH].msg_id = 0;
        snc_send_publication(c, now_ms);
        return;
    }
    c->pub.phase = PUB_SENT;
    snc_open(c, now_ms, SLOT_PUBLISH, snc_next_msg_id(c));
}

static void open_register(struct snc *c, int64_t now_ms)
{
    c->register_for_publish = true;
    snc_open(c, now_ms, SLOT_REGISTER, snc_next_msg_id(c));
}

void snc_publication_resume(struct snc *c, int64_t now_ms)
{
    if (c->pub.phase == PUB_IDLE)
        return;
    if (c->pub.phase == PUB_REGISTERING) {
        open_register(c, now_ms);
        return;
    }
    /* Same msg id, so that the gateway recognises what it already has. */
    c->pub.repeats++;
    c->counters.retransmissions++;
    snc_open(c, now_ms, SLOT_PUBLISH, c->requests[SLOT_PUBLISH].msg_id);
}

static int publish_without_answer(struct snc *c, int64_t now_ms, const struct snc_topic *topic,
                                  uint16_t id, struct bytes data, enum sn_qos qos, bool retain)
{
    const struct sn_packet p = {.type = SN_PUBLISH,
                                .qos = qos,
                                .retain = retain,
                                .topic_kind = topic->kind,
                                .topic_id = id,
                                .data = data};
    return snc_transmit(c, now_ms, &p) ? 0 : SNC_BUSY;
}

static int publish_unregistered(struct snc *c, int64_t now_ms, struct bytes name)
{
    if (name.len == 0)
        return SNC_INVALID;
    if (name.len > SN_PACKET_MAX - PUBLISH_OVERHEAD)
        return SNC_TOO_LARGE;
    if (snc_is_open(c, SLOT_REGISTER))
        return SNC_BUSY;
    if (!snc_copy_set(&c->register_name, name))
        return -ENOMEM;
    c->pub.phase = PUB_REGISTERING;
    open_register(c, now_ms);
    return 0;
}

int snc_publish(struct snc *c, int64_t now_ms, const struct snc_topic *topic, struct bytes data,
                enum sn_qos qos, bool retain)
{
    snc_advance(c, now_ms);
    const bool by_name = topic->kind == SN_TOPIC_NORMAL;
    if (topic->kind == SN_TOPIC_RESERVED || (by_name && qos == SN_QOS_MINUS_1))
        return SNC_INVALID;
    if (data.len > SN_PACKET_MAX - PUBLISH_OVERHEAD)
        return SNC_TOO_LARGE;
    if (qos == SN_QOS_MINUS_1)
        return publish_without_answer(c, now_ms, topic, topic->id, data, qos, retain);
    if (c->state != SNC_ACTIVE)
        return SNC_NOT_CONNECTED;
    const bool look_up = by_name && topic->id == 0;
    const uint16_t id = look_up ? regs_id(&c->names, topic->name) : topic->id;
    const bool registered = !look_up || id != 0;
    if (qos == SN_QOS_0 && registered)
        return publish_without_answer(c, now_ms, topic, id, data, qos, retain);
    if (c->pub.phase != PUB_IDLE)
        return SNC_BUSY;
    if (!snc_copy_set(&c->pub.data, data))
        return -ENOMEM;
    c->pub.kind = topic->kind;
    c->pub.qos = qos;
    c->pub.retain = retain;
    c->pub.id = id;
    c->pub.repeats = 0;
    c->pub.first_ms = now_ms;
    if (!registered)
        return publish_unregistered(c, now_ms, topic->name);
    c->pub.phase = PUB_SENT;
    snc_open(c, now_ms, SLOT_PUBLISH, snc_next_msg_id(c));
    return 0;
}

/* A PUBACK may refuse a QoS 0 publication too; it does not say which, nor of which topic kind. */
static void unacknowledged_refused(struct snc *c, const struct sn_packet *p)
{
    if (p->return_code == SN_INVALID_TOPIC_ID)
        regs_forget(&c->names, p->topic_id);
    snc_emit(c, &(struct snc_event){.type = SNC_PUBLISHED,
                                    .return_code = p->return_code,
                                    .topic_id = p->topic_id,
                                    .qos = SN_QOS_0,
                                    .sendings = 1});
}

bool snc_on_puback(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    const bool refused = p->return_code != SN_ACCEPTED;
    const bool leaving = c->state == SNC_LEAVING; /* the last QoS 0 PUBLISH may still be refused */
    if (c->state != SNC_ACTIVE && !leaving)
        return false;
    if (p->msg_id == 0 && refused) {
        unacknowledged_refused(c, p);
        return true;
    }
    if (!snc_answers(c, SLOT_PUBLISH, p->msg_id) || c->pub.phase != PUB_SENT)
        return false;
    /* In QoS 2 a PUBACK exists only as a refusal in place of PUBREC. */
    if (c->pub.qos == SN_QOS_2 && !refused)
        return false;
    snc_publication_finish(c, now_ms, p->return_code);
    return true;
}

bool snc_on_pubrec(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (c->state != SNC_ACTIVE)
        return false;
    if (snc_answers(c, SLOT_PUBLISH, p->msg_id) && c->pub.qos == SN_QOS_2 &&
        c->pub.phase == PUB_SENT) {
        c->pub.phase = PUB_RELEASING;
        snc_open(c, now_ms, SLOT_PUBLISH, p->msg_id);
        return true;
    }
    if (snc_answers(c, SLOT_PUBLISH, p->msg_id) && c->pub.qos != SN_QOS_2)
        return false;
    /* A late repetition: a PUBREL lets the gateway finish. */
    c->counters.duplicates++;
    snc_transmit(c, now_ms, &(struct sn_packet){.type = SN_PUBREL, .msg_id = p->msg_id});
    return true;
}

bool snc_on_pubcomp(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!snc_answers(c, SLOT_PUBLISH, p->msg_id) || c->pub.phase != PUB_RELEASING)
        return false;
    snc_publication_finish(c, now_ms, SN_ACCEPTED);
    return true;
}

/* ---- the gateway's --------------------------------------------------------------------------- */

static uint64_t print_of(const struct sn_packet *p)
{
    static const struct hash_seed no_secret = {0}; /* who forges a copy is the gateway itself */

    const uint64_t topic = (uint64_t)p->topic_kind << 17 | (uint64_t)p->retain << 16 | p->topic_id;
    return hash_bytes(&no_secret, p->data) ^ (topic * 0x9E3779B97F4A7C15U);
}

static struct snc_inbound *inbound_find(const struct snc *c, uint16_t msg_id)
{
    for (unsigned i = 0; i < c->inbound_count; i++) {
        if (c->inbound[i].msg_id == msg_id)
            return &c->inbound[i];
    }
    return NULL;
}

static void inbound_remove(struct snc *c, unsigned at)
{
    c->inbound_count--;
    memmove(&c->inbound[at], &c->inbound[at + 1], (c->inbound_count - at) * sizeof c->inbound[0]);
}

/* The oldest that is over, else the oldest: gateways keep one exchange open, so of so many that is
 * one that the gateway gave up. */
static void inbound_make_room(struct snc *c)
{
    unsigned at = 0;
    while (at < c->inbound_count && !c->inbound[at].is_released)
        at++;
    inbound_remove(c, at < c->inbound_count ? at : 0);
}

static bool inbound_reserve(struct snc *c)
{
    if (c->inbound == NULL)
        c->inbound = calloc(INBOUND_QOS2_MAX, sizeof *c->inbound);
    return c->inbound != NULL;
}

static void inbound_put(struct snc *c, const struct sn_packet *p)
{
    struct snc_inbound *x = inbound_find(c, p->msg_id);
    if (x != NULL)
        inbound_remove(c, (unsigned)(x - c->inbound));
    if (c->inbound_count == INBOUND_QOS2_MAX)
        inbound_make_room(c);
    c->inbound[c->inbound_count++] =
        (struct snc_inbound){.msg_id = p->msg_id, .print = print_of(p)};
}

/* We have it. Before PUBREL, DUP and the msg id tell, as in MQTT: the topic may have another id by now,
 * when a predefined one has been unsubscribed meanwhile. After it, only the same again is a
 * repetition, by the gateway for as long as we would repeat, or by the air, which sets no DUP. */
static bool is_repetition(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    struct snc_inbound *x = inbound_find(c, p->msg_id);
    if (x == NULL)
        return false;
    if (!x->is_released && p->dup)
        x->print = print_of(p); /* as it is repeated now, so are its copies */
    if (x->print != print_of(p))
        return false;
    const int64_t patience_ms = c->retry_ms * (c->retry_count + INT64_C(2));
    return !x->is_released || now_ms - x->released_ms <= (p->dup ? patience_ms : COPIES_MS);
}

static void answer_publish(struct snc *c, int64_t now_ms, const struct sn_packet *p, uint8_t code)
{
    const bool by_puback = p->qos == SN_QOS_1 || code != SN_ACCEPTED;
    if (p->qos == SN_QOS_0 && code == SN_ACCEPTED)
        return;
    const struct sn_packet ack = {.type = by_puback ? SN_PUBACK : SN_PUBREC,
                                  .topic_id = p->topic_id,
                                  .msg_id = p->msg_id,
                                  .return_code = code};
    snc_transmit(c, now_ms, &ack);
}

static bool deliver(struct snc *c, const struct sn_packet *p, struct bytes name)
{
    return snc_emit(c, &(struct snc_event){.type = SNC_MESSAGE,
                                           .msg_id = p->msg_id,
                                           .topic_id = p->topic_id,
                                           .topic_kind = p->topic_kind,
                                           .qos = p->qos,
                                           .retain = p->retain,
                                           .dup = p->dup,
                                           .topic = name,
                                           .data = p->data});
}

bool snc_on_publish(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!snc_is_reachable(c) || p->qos == SN_QOS_MINUS_1 || p->topic_kind == SN_TOPIC_RESERVED)
        return false;
    if (p->qos == SN_QOS_2 && is_repetition(c, now_ms, p)) {
        c->counters.duplicates++;
        answer_publish(c, now_ms, p, SN_ACCEPTED);
        return true;
    }
    struct bytes name = bytes_of(NULL, 0);
    const uint8_t octets[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
    if (p->topic_kind == SN_TOPIC_SHORT)
        name = bytes_of(octets, sizeof octets);
    if (p->topic_kind == SN_TOPIC_NORMAL) {
        name = regs_name(&c->names, p->topic_id);
        if (name.len == 0) {
            answer_publish(c, now_ms, p, SN_INVALID_TOPIC_ID);
            return true;
        }
    }
    /* Left unanswered, QoS 1 and 2 come again when the owner has read its events. */
    if ((p->qos == SN_QOS_2 && !inbound_reserve(c)) || !deliver(c, p, name))
        return true;
    if (p->qos == SN_QOS_2)
        inbound_put(c, p);
    answer_publish(c, now_ms, p, SN_ACCEPTED);
    return true;
}

bool snc_receiving(const struct snc *c)
{
    for (unsigned i = 0; i < c->inbound_count; i++) {
        if (!c->inbound[i].is_released)
            return true;
    }
    return false;
}

bool snc_on_pubrel(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!snc_is_reachable(c))
        return false;
    struct snc_inbound *x = inbound_find(c, p->msg_id);
    if (x != NULL) {
        x->is_released = true;
        x->released_ms = now_ms;
    }
    /* Also when unknown: our PUBCOMP was lost. */
    snc_transmit(c, now_ms, &(struct sn_packet){.type = SN_PUBCOMP, .msg_id = p->msg_id});
    return true;
}
