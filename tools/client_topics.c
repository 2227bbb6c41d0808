/* SPDX-License-Identifier: Apache-2.0 */
/* REGISTER both ways, SUBSCRIBE and UNSUBSCRIBE (sections 6.5, 6.9, 6.10). */
#include <errno.h>

#include "mqttsn/topic.h"
#include "tools/client_priv.h"

/* Octets of the longest frame that are not the name: long Length, type, flags, two ids. */
enum { NAME_OVERHEAD = 9 };

static bool is_assignable(uint16_t topic_id)
{
    return topic_id >= SN_TOPIC_ID_MIN && topic_id <= SN_TOPIC_ID_MAX;
}

/* ---- REGISTER -------------------------------------------------------------------------------- */

void snc_send_register(struct snc *c, int64_t now_ms)
{
    const struct sn_packet p = {.type = SN_REGISTER,
                                .msg_id = c->requests[SLOT_REGISTER].msg_id,
                                .topic = snc_copy_get(&c->register_name)};
    snc_transmit(c, now_ms, &p);
}

int snc_register(struct snc *c, int64_t now_ms, struct bytes name)
{
    snc_advance(c, now_ms);
    if (c->state != SNC_ACTIVE)
        return SNC_NOT_CONNECTED;
    if (snc_is_open(c, SLOT_REGISTER))
        return SNC_BUSY;
    if (name.len == 0)
        return SNC_INVALID;
    if (name.len > SN_PACKET_MAX - NAME_OVERHEAD)
        return SNC_TOO_LARGE;
    if (!snc_copy_set(&c->register_name, name))
        return -ENOMEM;
    c->register_for_publish = false;
    snc_open(c, now_ms, SLOT_REGISTER, snc_next_msg_id(c));
    return 0;
}

bool snc_on_regack(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!snc_answers(c, SLOT_REGISTER, p->msg_id))
        return false;
    const bool accepted = p->return_code == SN_ACCEPTED;
    if (accepted && !is_assignable(p->topic_id))
        return false;
    const struct bytes name = snc_copy_get(&c->register_name);
    /* Out of memory only costs another REGISTER later. */
    if (accepted)
        regs_put(&c->names, p->topic_id, name);
    const struct snc_request request = c->requests[SLOT_REGISTER];
    snc_close(c, SLOT_REGISTER);
    if (c->register_for_publish && accepted) {
        snc_publication_registered(c, now_ms, p->topic_id);
    } else if (c->register_for_publish) {
        snc_publication_finish(c, now_ms, p->return_code);
    } else {
        snc_emit(c, &(struct snc_event){.type = SNC_REGISTERED,
                                        .return_code = p->return_code,
                                        .msg_id = p->msg_id,
                                        .topic_id = accepted ? p->topic_id : 0,
                                        .topic = name,
                                        .took_ms = now_ms - request.first_ms,
                                        .sendings = request.sendings});
    }
    return true;
}

bool snc_on_register(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!snc_is_reachable(c))
        return false;
    uint8_t answer = SN_ACCEPTED;
    if (!is_assignable(p->topic_id))
        answer = SN_INVALID_TOPIC_ID;
    else if (!sn_topic_name_ok(p->topic))
        answer = SN_NOT_SUPPORTED;
    else if (regs_is_fresh(&c->names, p->topic_id, p->topic))
        c->counters.told_again++;
    else if (!regs_put(&c->names, p->topic_id, p->topic))
        answer = SN_CONGESTION;
    const struct sn_packet ack = {
        .type = SN_REGACK, .topic_id = p->topic_id, .msg_id = p->msg_id, .return_code = answer};
    snc_transmit(c, now_ms, &ack);
    return true;
}

/* ---- SUBSCRIBE, UNSUBSCRIBE ------------------------------------------------------------------ */

void snc_send_subscribe(struct snc *c, int64_t now_ms)
{
    const struct snc_request *request = &c->requests[SLOT_SUBSCRIBE];
    const struct sn_packet p = {.type = c->sub.is_unsubscribe ? SN_UNSUBSCRIBE : SN_SUBSCRIBE,
                                .dup = request->sendings > 1,
                                .qos = c->sub.qos,
                                .topic_kind = c->sub.kind,
                                .topic_id = c->sub.id,
                                .msg_id = request->msg_id,
                                .topic = snc_copy_get(&c->sub.name)};
    snc_transmit(c, now_ms, &p);
}

static int start(struct snc *c, int64_t now_ms, const struct snc_topic *topic, enum sn_qos qos,
                 bool is_unsubscribe)
{
    snc_advance(c, now_ms);
    if (c->state != SNC_ACTIVE)
        return SNC_NOT_CONNECTED;
    if (snc_is_open(c, SLOT_SUBSCRIBE))
        return SNC_BUSY;
    const bool by_name = topic->kind == SN_TOPIC_NORMAL;
    if (qos == SN_QOS_MINUS_1 || topic->kind == SN_TOPIC_RESERVED ||
        (by_name && topic->name.len == 0))
        return SNC_INVALID;
    if (by_name && topic->name.len > SN_PACKET_MAX - NAME_OVERHEAD)
        return SNC_TOO_LARGE;
    if (!snc_copy_set(&c->sub.name, by_name ? topic->name : bytes_of(NULL, 0)))
        return -ENOMEM;
    c->sub.is_unsubscribe = is_unsubscribe;
    c->sub.kind = topic->kind;
    c->sub.qos = qos;
    c->sub.id = by_name ? 0 : topic->id;
    snc_open(c, now_ms, SLOT_SUBSCRIBE, snc_next_msg_id(c));
    return 0;
}

int snc_subscribe(struct snc *c, int64_t now_ms, const struct snc_topic *topic, enum sn_qos qos)
{
    return start(c, now_ms, topic, qos, false);
}

int snc_unsubscribe(struct snc *c, int64_t now_ms, const struct snc_topic *topic)
{
    return start(c, now_ms, topic, SN_QOS_0, true);
}

bool snc_on_suback(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!snc_answers(c, SLOT_SUBSCRIBE, p->msg_id) || c->sub.is_unsubscribe)
        return false;
    const struct snc_request request = c->requests[SLOT_SUBSCRIBE];
    const struct bytes name = snc_copy_get(&c->sub.name);
    /* A filter with wildcards has no id; its topics come by the gateway's REGISTER. */
    if (p->return_code == SN_ACCEPTED && c->sub.kind == SN_TOPIC_NORMAL &&
        !sn_topic_has_wildcard(name) && is_assignable(p->topic_id))
        regs_put(&c->names, p->topic_id, name);
    snc_close(c, SLOT_SUBSCRIBE);
    snc_emit(c, &(struct snc_event){.type = SNC_SUBSCRIBED,
                                    .return_code = p->return_code,
                                    .msg_id = p->msg_id,
                                    .topic_id = p->topic_id,
                                    .topic_kind = c->sub.kind,
                                    .qos = p->qos,
                                    .topic = name,
                                    .took_ms = now_ms - request.first_ms,
                                    .sendings = request.sendings});
    return true;
}

bool snc_on_unsuback(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!snc_answers(c, SLOT_SUBSCRIBE, p->msg_id) || !c->sub.is_unsubscribe)
        return false;
    const struct snc_request request = c->requests[SLOT_SUBSCRIBE];
    snc_close(c, SLOT_SUBSCRIBE);
    snc_emit(c, &(struct snc_event){.type = SNC_UNSUBSCRIBED,
                                    .msg_id = p->msg_id,
                                    .topic_id = c->sub.id,
                                    .topic_kind = c->sub.kind,
                                    .topic = snc_copy_get(&c->sub.name),
                                    .took_ms = now_ms - request.first_ms,
                                    .sendings = request.sendings});
    return true;
}
