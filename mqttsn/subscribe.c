/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REGISTER, SUBSCRIBE and UNSUBSCRIBE of nodes (sections 6.5, 6.9, 6.10).
 *
 * The topic's entry exists before the request goes to the broker side, because messages may arrive
 * before its answer; while a SUBSCRIBE is open the client's messages are held (publish_down.c), so
 * that the SUBACK comes first. By name: SUBACK carries the normal id to come; with a wildcard 0000;
 * predefined id and short name are echoed.
 */
#include "mqttsn/engine_priv.h"
#include "mqttsn/topic.h"

enum { OPEN_MAX_SUBS = 4 }; /* a conforming client has one open */

static void note_refusal(struct sn_engine *e, const struct sn_client *c, enum sn_type type,
                         struct bytes topic, const char *why)
{
    sn_count(e, type == SN_REGISTER ? SN_STAT_REGISTRATIONS_REFUSED : SN_STAT_SUBSCRIBES_REFUSED);
    if (!log_begin(&e->log, LOG_NOTICE, "request.refused"))
        return;
    log_str(&e->log, "client", sn_client_id(c));
    log_word(&e->log, "packet", sn_type_name(type));
    if (topic.len > 0)
        log_str(&e->log, "topic", topic);
    log_word(&e->log, "why", why);
    log_end(&e->log);
}

/* ---- REGISTER -------------------------------------------------------------------------------- */

void sn_on_register(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    struct sn_packet ack = {.type = SN_REGACK, .msg_id = p->msg_id};
    struct sn_topic *t = NULL;
    if (!sn_topic_name_ok(p->topic)) {
        ack.return_code = SN_NOT_SUPPORTED;
    } else {
        t = sn_topic_get(e, c, p->topic);
        if (t == NULL || !sn_topic_assign_id(e, c, t))
            ack.return_code = SN_CONGESTION; /* over max_topics */
    }
    if (ack.return_code != SN_ACCEPTED) {
        note_refusal(e, c, SN_REGISTER, p->topic,
                     ack.return_code == SN_CONGESTION ? "max_topics" : "invalid_name");
    } else {
        const bool was_given = t->given;
        const bool changes = !was_given || t->known_in != c->connection || t->refused_in != 0;
        t->given = true;
        t->refused_in = 0;
        t->known_in = c->connection;
        sn_topic_settle(c, t);
        ack.topic_id = t->id;
        if (changes)
            sn_journal_topic(e, c, t);
        if (!was_given)
            sn_journal_bind(e, c);
    }
    sn_reply(e, c, &ack);
}

/* ---- SUBSCRIBE and UNSUBSCRIBE --------------------------------------------------------------- */

static void suback(struct sn_engine *e, struct sn_client *c, uint16_t msg_id, uint16_t topic_id,
                   uint8_t qos, uint8_t code)
{
    sn_reply(e, c,
             &(struct sn_packet){.type = SN_SUBACK,
                                 .qos = (enum sn_qos)qos,
                                 .topic_id = topic_id,
                                 .msg_id = msg_id,
                                 .return_code = code});
}

static struct sn_sub *first_sub(const struct sn_client *c)
{
    return c->topics != NULL ? c->topics->subs : NULL;
}

static struct sn_sub *find_msg_id(const struct sn_client *c, uint16_t msg_id, bool unsubscribe)
{
    struct sn_sub *s = first_sub(c);
    while (s != NULL && (s->msg_id != msg_id || s->is_unsubscribe != unsubscribe))
        s = s->next;
    return s;
}

static void sub_remove(struct sn_engine *e, struct sn_client *c, struct sn_sub *s)
{
    struct sn_sub **link = &c->topics->subs;
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    c->topics->n_subs--;
    if (s->topic != NULL) {
        s->topic->n_subs--;
        sn_topic_settle(c, s->topic);
    }
    sn_free(e, s, sizeof *s);
}

void sn_subs_clear(struct sn_engine *e, struct sn_client *c)
{
    while (first_sub(c) != NULL)
        sub_remove(e, c, first_sub(c));
}

/* Refused requests echo the id of the two kinds that have one. */
static uint16_t echo_id(const struct sn_packet *p)
{
    return p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT ? p->topic_id
                                                                                   : 0;
}

static struct sn_sub *sub_new(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    struct sn_topics *topics = sn_topics_of(e, c);
    if (topics == NULL || topics->n_subs >= OPEN_MAX_SUBS)
        return NULL;
    struct sn_sub *s = sn_alloc(e, sizeof *s);
    if (s == NULL)
        return NULL;
    *s = (struct sn_sub){
        .next = topics->subs,
        .msg_id = p->msg_id,
        .token = topics->next_sub_token++,
        .refused_id = echo_id(p),
        .is_unsubscribe = p->type == SN_UNSUBSCRIBE,
    };
    topics->subs = s;
    topics->n_subs++;
    return s;
}

/* The filter that the message names. `octets` is room for a short name. Empty with a return code
 * when there is none. */
static struct bytes filter_of(const struct sn_client *c, const struct sn_packet *p,
                              uint8_t octets[2], uint8_t *code)
{
    struct bytes filter = bytes_of(NULL, 0);
    *code = SN_NOT_SUPPORTED;
    switch (p->topic_kind) {
    case SN_TOPIC_NORMAL:
        if (sn_topic_filter_ok(p->topic))
            filter = p->topic;
        break;
    case SN_TOPIC_PREDEFINED: {
        const struct sn_name *name = sn_profile_alias(c->profile, p->topic_id);
        *code = SN_INVALID_TOPIC_ID;
        if (name != NULL)
            filter = sn_name_bytes(name);
        break;
    }
    case SN_TOPIC_SHORT:
        octets[0] = (uint8_t)(p->topic_id >> 8);
        octets[1] = (uint8_t)p->topic_id;
        if (sn_topic_name_ok(bytes_of(octets, 2)))
            filter = bytes_of(octets, 2);
        break;
    case SN_TOPIC_RESERVED:
        break;
    }
    return filter;
}

/* Until the request is answered, its topic does not give way to others. */
static void hold_topic(struct sn_client *c, struct sn_sub *s, struct sn_topic *t)
{
    s->topic = t;
    t->n_subs++;
    sn_topic_settle(c, t);
}

/* Makes the entry through which messages of this subscription will be delivered. False: over
 * max_topics or out of memory. Wildcards need none until a message comes. */
static bool prepare_topic(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p,
                          struct bytes filter, struct sn_sub *s)
{
    if (sn_topic_has_wildcard(filter))
        return true;
    struct sn_topic *t = sn_topic_get(e, c, filter);
    if (t == NULL)
        return false;
    if (p->topic_kind == SN_TOPIC_NORMAL) {
        const bool is_new = t->id == 0;
        if (!sn_topic_assign_id(e, c, t))
            return false;
        if (is_new)
            sn_journal_topic(e, c, t);
        s->topic_id = t->id;
    } else {
        s->topic_id = p->topic_id;
    }
    s->kind = (uint8_t)p->topic_kind;
    hold_topic(c, s, t);
    return true;
}

/* Could messages of this subscription reach the node? By predefined id and short name they do without
 * a REGISTER. */
static bool can_be_delivered(const struct sn_engine *e, const struct sn_client *c,
                             const struct sn_packet *p, struct bytes filter)
{
    const struct bytes shortest = bytes_of(filter.data, sn_topic_shortest(filter));
    return p->topic_kind != SN_TOPIC_NORMAL || c->profile->options.regack == SN_NO ||
           sn_register_fits(e, c, shortest);
}

static void refuse(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p,
                   uint8_t code, const char *why)
{
    note_refusal(e, c, SN_SUBSCRIBE, p->topic, why);
    suback(e, c, p->msg_id, echo_id(p), 0, code);
}

/* Never more than the node is to get (max_qos), so that its SUBACK is true. */
static uint8_t wanted_qos(const struct sn_client *c, const struct sn_packet *p)
{
    const uint8_t max_qos = c->profile->options.max_qos;
    return max_qos != 0 && (uint8_t)p->qos > max_qos - 1 ? (uint8_t)(max_qos - 1) : (uint8_t)p->qos;
}

void sn_on_subscribe(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (find_msg_id(c, p->msg_id, false) != NULL)
        return; /* a repetition; the answer will come */
    const struct sn_topics *topics = c->topics;
    if (p->dup && topics != NULL && topics->has_last_sub && topics->last_sub_msg_id == p->msg_id) {
        suback(e, c, p->msg_id, topics->last_sub_topic_id, topics->last_sub_qos, SN_ACCEPTED);
        return;
    }
    uint8_t octets[2];
    uint8_t code;
    const struct bytes filter = filter_of(c, p, octets, &code);
    if (filter.len == 0) {
        refuse(e, c, p, code, code == SN_INVALID_TOPIC_ID ? "unknown_topic_id" : "invalid_filter");
        return;
    }
    if (p->qos == SN_QOS_MINUS_1 || !can_be_delivered(e, c, p, filter)) {
        refuse(e, c, p, SN_NOT_SUPPORTED, p->qos == SN_QOS_MINUS_1 ? "invalid_qos" : "too_long");
        return;
    }
    struct sn_name *name = sn_name_get(e, filter);
    struct sn_sub *s = name != NULL ? sub_new(e, c, p) : NULL;
    bool asked = false;
    if (s != NULL && prepare_topic(e, c, p, filter, s)) {
        const struct sn_request request = {
            .type = SN_REQ_SUBSCRIBE,
            .client = c->key,
            .token = s->token,
            .subscribe = {.filter = sn_name_bytes(name), .qos = wanted_qos(c, p)},
        };
        asked = sn_ask(e, &request, name, NULL);
    }
    if (!asked) {
        if (s != NULL) {
            sub_remove(e, c, s);
        }
        refuse(e, c, p, SN_CONGESTION, "limit_reached");
    }
    if (name != NULL)
        sn_name_unref(e, name);
}

void sn_on_unsubscribe(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (c->topics != NULL)
        c->topics->has_last_sub = false;
    if (find_msg_id(c, p->msg_id, true) != NULL)
        return;
    uint8_t octets[2];
    uint8_t code;
    const struct bytes filter = filter_of(c, p, octets, &code);
    struct sn_name *name = filter.len > 0 ? sn_name_get(e, filter) : NULL;
    struct sn_sub *s = name != NULL ? sub_new(e, c, p) : NULL;
    bool asked = false;
    if (s != NULL) {
        struct sn_topic *t = sn_topic_find(c, name);
        if (t != NULL)
            hold_topic(c, s, t);
        asked = sn_ask(e,
                       &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                            .client = c->key,
                                            .token = s->token,
                                            .unsubscribe = {.filter = sn_name_bytes(name)}},
                       name, NULL);
        if (!asked)
            sub_remove(e, c, s);
    }
    /* UNSUBACK has no return code: what names no filter is not subscribed, so it is done. When
     * memory is short, silence makes the client repeat. */
    if (filter.len == 0)
        sn_reply(e, c, &(struct sn_packet){.type = SN_UNSUBACK, .msg_id = p->msg_id});
    if (name != NULL)
        sn_name_unref(e, name);
}

/* Messages of the topic come by the kind of the latest SUBSCRIBE that was accepted. The store knows
 * topics by their normal id: with it, each gets one. */
static void adopt_kind(struct sn_engine *e, struct sn_client *c, const struct sn_sub *s)
{
    struct sn_topic *t = s->topic;
    const struct sn_topic before = *t;
    t->refused_in = 0;
    t->kind = s->kind;
    if (s->kind == SN_TOPIC_NORMAL) {
        t->given = true;
        t->known_in = c->connection;
    } else {
        t->alias = s->topic_id;
        sn_topic_assign_id(e, c, t);
    }
    if (t->kind != before.kind || t->given != before.given || t->alias != before.alias ||
        t->id != before.id || t->known_in != before.known_in || t->refused_in != before.refused_in)
        sn_journal_topic(e, c, t);
}

/* A predefined id may have become another topic's since the client has subscribed by it. */
static bool stands_for(const struct sn_client *c, const struct sn_sub *s)
{
    return s->kind != SN_TOPIC_PREDEFINED ||
           sn_profile_alias(c->profile, s->topic_id) == s->topic->name;
}

/* The alias goes with its subscription; a message that still comes is registered like any other. */
static void unsubscribed(struct sn_engine *e, struct sn_client *c, const struct sn_sub *s)
{
    if (s->topic != NULL && s->topic->kind != SN_TOPIC_NORMAL) {
        s->topic->kind = SN_TOPIC_NORMAL;
        sn_journal_topic(e, c, s->topic);
    }
    sn_journal_bind_to_all(e, c);
    sn_reply(e, c, &(struct sn_packet){.type = SN_UNSUBACK, .msg_id = s->msg_id});
}

static void subscribed(struct sn_engine *e, struct sn_client *c, const struct sn_sub *s,
                       const struct sn_event *event)
{
    if (event->outcome != SN_OK) {
        const bool busy = event->outcome == SN_REFUSED_BUSY;
        note_refusal(e, c, SN_SUBSCRIBE,
                     s->topic != NULL ? sn_name_bytes(s->topic->name) : bytes_of(NULL, 0),
                     busy ? "broker_busy" : "broker_refused");
        suback(e, c, s->msg_id, s->refused_id, 0, busy ? SN_CONGESTION : SN_NOT_SUPPORTED);
        return;
    }
    if (s->topic != NULL && stands_for(c, s))
        adopt_kind(e, c, s);
    sn_journal_bind_to_all(e, c);
    sn_count(e, SN_STAT_SUBSCRIBES);
    c->topics->has_last_sub = true;
    c->topics->last_sub_msg_id = s->msg_id;
    c->topics->last_sub_topic_id = s->topic_id;
    c->topics->last_sub_qos = event->subscribed.granted;
    suback(e, c, s->msg_id, s->topic_id, event->subscribed.granted, SN_ACCEPTED);
}

/* Both answers: SUBSCRIBED and UNSUBSCRIBED. */
void sn_on_subscribed(struct sn_engine *e, struct sn_client *c, const struct sn_event *event)
{
    struct sn_sub *s = first_sub(c);
    while (s != NULL && s->token != event->token)
        s = s->next;
    if (s == NULL)
        return;
    if (s->is_unsubscribe)
        unsubscribed(e, c, s);
    else
        subscribed(e, c, s, event);
    sub_remove(e, c, s);
    sn_down_run(e, c);
}
