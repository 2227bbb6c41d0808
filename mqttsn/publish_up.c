/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBLISH from nodes (section 6.6): QoS 0, 1 and 2 of connected clients, QoS -1 of anybody.
 *
 *     QoS 1   PUBLISH -> broker ... PUBACK                      pending -> done
 *     QoS 2   PUBLISH -> broker ... PUBREC, PUBREL -> PUBCOMP   pending -> received -> done
 *
 * The node is acknowledged when the broker has acknowledged. A repetition is recognised by its msg
 * id *and* a fingerprint of topic and data: ids are reused by small clients, and an acknowledgement
 * for the wrong message would lose one. While pending, a repetition is swallowed; finished
 * exchanges are remembered for as long as a client may repeat, and answered again.
 */
#include <stdlib.h>

#include "mqttsn/engine_priv.h"
#include "mqttsn/topic.h"

enum {
    FIRST_ENTRIES = 4,
    REMEMBERED = 3, /* finished exchanges kept at least, beside the open ones */
};

static size_t up_size(uint16_t capacity)
{
    return sizeof(struct sn_up) + capacity * sizeof(struct sn_up_entry);
}

void sn_up_clear(struct sn_engine *e, struct sn_client *c)
{
    if (c->up != NULL)
        sn_free(e, c->up, up_size(c->up->capacity));
    c->up = NULL;
}

/* ---- what the topic id means ----------------------------------------------------------------- */

/* The node uses the id, so it may go on using it: that is as good as having asked for it. */
static struct sn_name *used_by_node(struct sn_engine *e, struct sn_client *c, struct sn_topic *t)
{
    if (!t->given) {
        t->given = true;
        sn_topic_settle(c, t);
        sn_journal_topic(e, c, t);
    }
    return sn_name_ref(t->name);
}

/* The topic's name, or NULL with the return code for the node. */
static struct sn_name *resolve(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p,
                               uint8_t *code)
{
    *code = SN_INVALID_TOPIC_ID;
    switch (p->topic_kind) {
    case SN_TOPIC_NORMAL: {
        struct sn_topic *t = sn_topic_by_id(c, p->topic_id);
        return t != NULL ? used_by_node(e, c, t) : NULL;
    }
    case SN_TOPIC_PREDEFINED: {
        struct sn_name *name = sn_profile_alias(c->profile, p->topic_id);
        return name != NULL ? sn_name_ref(name) : NULL;
    }
    case SN_TOPIC_SHORT: {
        const uint8_t octets[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
        *code = SN_NOT_SUPPORTED;
        if (!sn_topic_name_ok(bytes_of(octets, 2)))
            return NULL;
        *code = SN_CONGESTION;
        return sn_name_get(e, bytes_of(octets, 2));
    }
    case SN_TOPIC_RESERVED:
        break;
    }
    *code = SN_NOT_SUPPORTED;
    return NULL;
}

/* The broker may answer when the node has gone; it asks again when it is back. */
static void answer(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (sn_client_connected(c))
        sn_reply(e, c, p);
}

static void puback(struct sn_engine *e, struct sn_client *c, uint16_t topic_id, uint16_t msg_id,
                   uint8_t code)
{
    answer(e, c,
           &(struct sn_packet){
               .type = SN_PUBACK, .topic_id = topic_id, .msg_id = msg_id, .return_code = code});
}

static void pubrec(struct sn_engine *e, struct sn_client *c, uint16_t msg_id)
{
    answer(e, c, &(struct sn_packet){.type = SN_PUBREC, .msg_id = msg_id});
}

/* A message is lost of which the sender may never hear. `c` or `from` may be NULL. */
static void dropped(struct sn_engine *e, const struct sn_client *c, const struct peer *from,
                    uint16_t topic_id, enum sn_stat why)
{
    sn_count(e, why);
    if (!log_begin(&e->log, LOG_INFO, "publish.dropped"))
        return;
    if (c != NULL)
        log_str(&e->log, "client", sn_client_id(c));
    if (from != NULL)
        log_peer(&e->log, "peer", from);
    log_int(&e->log, "topic_id", topic_id);
    log_word(&e->log, "why", sn_stat_name(why));
    log_end(&e->log);
}

/* Refusals of QoS 0 are allowed (section 6.6) but must not turn into a stream of their own. */
static void refuse(struct sn_engine *e, struct sn_client *c, uint8_t qos, uint16_t topic_id,
                   uint16_t msg_id, uint8_t code)
{
    sn_count(e, code == SN_CONGESTION ? SN_STAT_PUBLISH_UP_CONGESTED : SN_STAT_PUBLISH_UP_REFUSED);
    if (log_begin(&e->log, LOG_DEBUG, "publish.refused")) {
        log_str(&e->log, "client", sn_client_id(c));
        log_int(&e->log, "topic_id", topic_id);
        log_int(&e->log, "return_code", code);
        log_end(&e->log);
    }
    if (qos == SN_QOS_0 && (sn_client_peer(c) == NULL || !sn_limiter_allow(e, sn_client_peer(c))))
        return;
    puback(e, c, topic_id, msg_id, code);
}

void sn_engine_origin(struct sn_engine *e, bool with_client, struct bytes fields)
{
    e->origin_len = fields.len <= sizeof e->origin ? (uint16_t)fields.len : 0;
    e->origin_client = with_client;
    if (e->origin_len > 0)
        memcpy(e->origin, fields.data, e->origin_len);
}

/* With what is known of its origin. */
static struct body *body_from(struct sn_engine *e, uint64_t client, struct bytes data)
{
    uint8_t fields[ORIGIN_MAX + 2 + ORIGIN_TEXT_MAX];
    struct writer w = wr_to(fields, sizeof fields);
    const struct sn_client *c =
        e->origin_client && client != SN_NO_CLIENT ? sn_client_by_key(e, client) : NULL;
    wr_bytes(&w, bytes_of(e->origin, e->origin_len));
    if (c != NULL)
        origin_put(&w, ORIGIN_CLIENT, sn_client_id(c));
    return body_new_from(data, bytes_of(fields, w.len));
}

/* Hands the message to the broker side; false when it could not be queued. `talker`: of QoS -1. */
static bool forward(struct sn_engine *e, uint64_t client, const struct peer *talker, uint16_t token,
                    struct sn_name *name, const struct sn_packet *p, uint8_t qos)
{
    const bool is_told = e->origin_len > 0 || e->origin_client;
    struct body *body = NULL;
    if (p->data.len > 0 || is_told) {
        body = is_told ? body_from(e, client, p->data) : body_new(p->data);
        if (body == NULL) {
            sn_no_memory(e);
            return false;
        }
    }
    const struct sn_request request = {
        .type = SN_REQ_PUBLISH,
        .client = client,
        .token = token,
        .publish = {.topic = sn_name_bytes(name),
                    .body = body,
                    .qos = qos,
                    .retain = p->retain,
                    .peer = talker},
    };
    const bool queued = sn_ask(e, &request, name, body);
    body_unref(body);
    return queued;
}

/* ---- the table of exchanges ------------------------------------------------------------------ */

static struct sn_up_entry *find(struct sn_up *up, uint16_t msg_id, uint8_t qos)
{
    for (uint16_t i = 0; up != NULL && i < up->capacity; i++) {
        struct sn_up_entry *x = &up->entries[i];
        if (x->state != SN_UP_FREE && x->msg_id == msg_id && x->qos == qos)
            return x;
    }
    return NULL;
}

static bool is_open(const struct sn_up_entry *x)
{
    return x->state == SN_UP_PENDING || x->state == SN_UP_RECEIVED;
}

static bool grow(struct sn_engine *e, struct sn_client *c, uint16_t most)
{
    const uint16_t old = c->up != NULL ? c->up->capacity : 0;
    uint16_t capacity = old > 0 ? (uint16_t)(old * 2) : FIRST_ENTRIES;
    if (capacity > most)
        capacity = most;
    if (capacity <= old)
        return false;
    struct sn_up *fresh = sn_alloc(e, up_size(capacity));
    if (fresh == NULL)
        return false;
    if (c->up != NULL)
        memcpy(fresh, c->up, up_size(old));
    sn_up_clear(e, c);
    fresh->capacity = capacity;
    c->up = fresh;
    return true;
}

/* How long a client may still repeat what we have answered. */
static bool is_recent(const struct sn_engine *e, const struct sn_up_entry *x)
{
    const int64_t patience_ms = e->config.retry_interval_ms * (e->config.retry_count + INT64_C(2));
    return e->now_ms - x->answered_ms <= patience_ms;
}

static bool is_older(const struct sn_up_entry *x, const struct sn_up_entry *than)
{
    return than == NULL || x->answered_ms < than->answered_ms;
}

/* A place for a new exchange: a free one, else the oldest finished one if enough of them stay, else
 * one in a bigger table. When max_inflight exchanges are open, one that the node has abandoned
 * after our PUBREC must make room. NULL when there is none, or memory is short. */
static struct sn_up_entry *place(struct sn_engine *e, struct sn_client *c)
{
    const uint32_t max_open = c->profile->options.max_inflight;
    struct sn_up_entry *finished = NULL; /* the oldest ... */
    struct sn_up_entry *received = NULL; /* ... of each */
    struct sn_up_entry *unused = NULL;
    uint32_t open = 0;
    const uint16_t capacity = c->up != NULL ? c->up->capacity : 0;
    for (uint16_t i = 0; i < capacity; i++) {
        struct sn_up_entry *x = &c->up->entries[i];
        open += is_open(x);
        if (x->state == SN_UP_FREE)
            unused = x;
        else if (x->state == SN_UP_DONE && is_older(x, finished))
            finished = x;
        else if (x->state == SN_UP_RECEIVED && is_older(x, received))
            received = x;
    }
    if (open >= max_open)
        return received != NULL && !is_recent(e, received) ? received : NULL;
    if (unused != NULL)
        return unused;
    if (finished != NULL && capacity - open > REMEMBERED)
        return finished;
    if (grow(e, c, (uint16_t)(max_open + REMEMBERED)))
        return &c->up->entries[capacity];
    return finished;
}

/* A message like the one of a finished exchange: the node repeats it because our answer was lost,
 * or the air has copied it on its way (link layers do when they lose an acknowledgement). A copy is
 * not marked, but soon; what is neither is a new message with a reused id. So is what comes in a new
 * connection, in which clients count from the beginning. At QoS 1 a copy may pass. */
static bool is_repetition(const struct sn_engine *e, const struct sn_client *c,
                          const struct sn_up_entry *x, const struct sn_packet *p)
{
    if (p->dup)
        return is_recent(e, x);
    return p->qos == SN_QOS_2 && x->connection == c->connection &&
           e->now_ms - x->answered_ms <= SN_COPIES_MS;
}

/* Handles the message as a repetition of a known exchange; false when it is a new one. */
static bool answered_again(struct sn_engine *e, struct sn_client *c, struct sn_up_entry *x,
                           const struct sn_packet *p, uint64_t print)
{
    if (x == NULL || x->print != print)
        return false;
    if (x->state == SN_UP_DONE && !is_repetition(e, c, x, p))
        return false;
    /* Perhaps the exchange was complete when we died, and this is a message like the last one. */
    if (x->restored && !p->dup && e->now_ms - x->answered_ms > SN_COPIES_MS)
        return false;
    sn_count(e, SN_STAT_PUBLISH_UP_DUPLICATE);
    if (x->state == SN_UP_PENDING)
        return true; /* the answer will come */
    if (p->qos == SN_QOS_1) {
        puback(e, c, p->topic_id, p->msg_id, SN_ACCEPTED);
        return true;
    }
    x->answered_ms = e->now_ms;
    pubrec(e, c, p->msg_id);
    return true;
}

bool sn_up_restore(struct sn_engine *e, struct sn_client *c, const struct sn_record *row)
{
    struct sn_up_entry *x =
        find(c->up, row->exchange.msg_id, SN_QOS_2) == NULL ? place(e, c) : NULL;
    if (x == NULL)
        return false;
    *x = (struct sn_up_entry){
        .state = SN_UP_RECEIVED,
        .msg_id = row->exchange.msg_id,
        .topic_id = row->exchange.topic_id,
        .connection = c->connection,
        .qos = SN_QOS_2,
        .recorded = true,
        .restored = true,
        .print = row->exchange.print,
        .answered_ms = e->now_ms,
    };
    return true;
}

static uint64_t print_of(const struct sn_engine *e, const struct sn_packet *p)
{
    const uint64_t topic = (uint64_t)p->topic_kind << 17 | (uint64_t)p->retain << 16 | p->topic_id;
    const struct hash_seed *seed = e->config.journal ? &e->config.print_seed : &e->config.hash_seed;
    return hash_bytes(seed, p->data) ^ (topic * 0x9E3779B97F4A7C15U);
}

/* QoS 1 and 2. */
static void publish_acknowledged(struct sn_engine *e, struct sn_client *c,
                                 const struct sn_packet *p, struct sn_name *name)
{
    const uint64_t print = print_of(e, p);
    struct sn_up_entry *x = find(c->up, p->msg_id, (uint8_t)p->qos);
    if (answered_again(e, c, x, p, print))
        return;
    if (x == NULL)
        x = place(e, c);
    if (x == NULL) {
        refuse(e, c, (uint8_t)p->qos, p->topic_id, p->msg_id, SN_CONGESTION);
        return;
    }
    sn_journal_exchange_gone(e, c, x);
    *x = (struct sn_up_entry){
        .state = SN_UP_PENDING,
        .msg_id = p->msg_id,
        .topic_id = p->topic_id,
        .token = c->up->next_token++,
        .connection = c->connection,
        .qos = (uint8_t)p->qos,
        .print = print,
    };
    if (!forward(e, c->key, NULL, x->token, name, p, (uint8_t)p->qos)) {
        x->state = SN_UP_FREE;
        refuse(e, c, (uint8_t)p->qos, p->topic_id, p->msg_id, SN_CONGESTION);
        return;
    }
    sn_journal_forwarded(e, c, x);
}

void sn_on_publish(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    static const enum sn_stat stat_of[] = {SN_STAT_PUBLISH_UP_QOS0, SN_STAT_PUBLISH_UP_QOS1,
                                           SN_STAT_PUBLISH_UP_QOS2};

    uint8_t code;
    struct sn_name *name = resolve(e, c, p, &code);
    if (name == NULL) {
        refuse(e, c, (uint8_t)p->qos, p->topic_id, p->msg_id, code);
        return;
    }
    sn_count(e, stat_of[p->qos]);
    if (p->qos != SN_QOS_0)
        publish_acknowledged(e, c, p, name);
    else if (!forward(e, c->key, NULL, p->topic_id, name, p, SN_QOS_0)) /* token: to refuse it by */
        refuse(e, c, SN_QOS_0, p->topic_id, 0, SN_CONGESTION);
    sn_name_unref(e, name);
}

/* Section 6.8: no connection, no answer, whatever happens. `c` may be NULL. */
void sn_on_publish_qos_minus_1(struct sn_engine *e, struct sn_client *c, const struct peer *from,
                               const struct sn_packet *p)
{
    const bool link_says_no =
        from->link < e->config.n_links && e->links[from->link].qos_minus_one == SN_NO;
    const struct sn_profile *profile = c != NULL ? c->profile : e->stranger;
    const enum sn_switch own = profile->options.qos_minus_one;
    if (own == SN_NO || (own == SN_UNSET && link_says_no)) {
        dropped(e, c, from, p->topic_id, SN_STAT_DROP_QOS_MINUS_1);
        return;
    }
    struct sn_name *name = NULL;
    if (p->topic_kind == SN_TOPIC_PREDEFINED) {
        name = sn_profile_alias(profile, p->topic_id);
        name = name != NULL ? sn_name_ref(name) : NULL;
    } else if (p->topic_kind == SN_TOPIC_SHORT) {
        const uint8_t octets[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
        name = sn_topic_name_ok(bytes_of(octets, 2)) ? sn_name_get(e, bytes_of(octets, 2)) : NULL;
    }
    if (name == NULL) {
        dropped(e, c, from, p->topic_id, SN_STAT_DROP_UNKNOWN_TOPIC);
        return;
    }
    sn_count(e, SN_STAT_PUBLISH_UP_QOSM1);
    forward(e, SN_NO_CLIENT, from, 0, name, p, SN_QOS_0); /* a failure is counted there */
    sn_name_unref(e, name);
}

/* ---- answers of the broker side, and the end of QoS 2 ---------------------------------------- */

static struct sn_up_entry *pending_with(struct sn_up *up, uint16_t token)
{
    for (uint16_t i = 0; up != NULL && i < up->capacity; i++) {
        if (up->entries[i].state == SN_UP_PENDING && up->entries[i].token == token)
            return &up->entries[i];
    }
    return NULL;
}

static void published(struct sn_engine *e, struct sn_client *c, struct sn_up_entry *x)
{
    x->answered_ms = e->now_ms;
    if (x->qos == SN_QOS_2) {
        x->state = SN_UP_RECEIVED;
        sn_journal_received(e, c, x);
        pubrec(e, c, x->msg_id);
        return;
    }
    x->state = SN_UP_DONE;
    puback(e, c, x->topic_id, x->msg_id, SN_ACCEPTED);
}

void sn_on_published(struct sn_engine *e, struct sn_client *c, const struct sn_event *event)
{
    if (event->published.qos == SN_QOS_0) {
        dropped(e, c, NULL, event->token, SN_STAT_DROP_UPSTREAM);
        if (c != NULL)
            refuse(e, c, SN_QOS_0, event->token, 0,
                   event->outcome == SN_REFUSED_NEVER ? SN_NOT_SUPPORTED : SN_CONGESTION);
        return;
    }
    struct sn_up_entry *x = c != NULL ? pending_with(c->up, event->token) : NULL;
    if (x == NULL || event->outcome == SN_IN_DOUBT)
        return;
    if (event->outcome == SN_OK) {
        published(e, c, x);
        return;
    }
    x->state = SN_UP_FREE;
    sn_journal_exchange_gone(e, c, x);
    refuse(e, c, x->qos, x->topic_id, x->msg_id,
           event->outcome == SN_REFUSED_NEVER ? SN_NOT_SUPPORTED : SN_CONGESTION);
}

/* PUBCOMP always: an unknown msg id is one whose PUBCOMP was lost (section 3.8 of our notes). */
void sn_on_pubrel(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    struct sn_up_entry *x = find(c->up, p->msg_id, SN_QOS_2);
    if (x != NULL && x->state == SN_UP_RECEIVED) {
        x->state = SN_UP_DONE;
        x->answered_ms = e->now_ms;
        sn_journal_exchange_gone(e, c, x);
    }
    sn_reply(e, c, &(struct sn_packet){.type = SN_PUBCOMP, .msg_id = p->msg_id});
}
