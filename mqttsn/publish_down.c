/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUBLISH to nodes (sections 6.5, 6.6, 6.10): one queue per node in the order of arrival, one
 * request under way. The head of the queue is the message under way:
 *
 *     idle -> [REGISTER ... REGACK ->] QoS 0: sent, next
 *                                      QoS 1: PUBLISH ... PUBACK, next
 *                                      QoS 2: PUBLISH ... PUBREC, PUBREL ... PUBCOMP, next
 *
 * A request is repeated after T_retry, N_retry times, PUBLISH with DUP; then the node is left alone
 * (`stalled`) until it gives a sign of life. Nothing is dropped by giving up: supervision decides
 * whether the node is lost. Only a node that has never answered any REGISTER loses the messages
 * that need one, because nothing else would ever end them. Every drop is counted, and reported
 * upstream like a delivery, so that nothing waits for it.
 */
#include <assert.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum { ROUNDS_WITHOUT_REGACK = 2 };

static struct sn_message *head(const struct sn_down *d)
{
    struct list *first = list_first(&d->queue);
    return first != NULL ? container_of(first, struct sn_message, link) : NULL;
}

static uint32_t cost_of(const struct sn_message *m)
{
    return (uint32_t)(sizeof *m + m->name->len + body_bytes(m->body).len);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void report_done(struct sn_engine *e, const struct sn_client *c, uint32_t delivery_id,
                        bool dropped)
{
    if (delivery_id != 0)
        sn_ask(e,
               &(struct sn_request){
                   .type = SN_REQ_DELIVERED,
                   .client = c->key,
                   .delivered = {.delivery_id = delivery_id, .dropped = dropped}
        },
               NULL, NULL);
}

/* Takes a message out of the queue for good. */
static void message_remove(struct sn_engine *e, struct sn_down *d, struct sn_message *m)
{
    const uint32_t cost = cost_of(m);
    list_unlink(&m->link);
    d->n_queued--;
    d->queued_bytes -= cost;
    e->queued--;
    sn_refund(e, cost);
    sn_name_unref(e, m->name);
    body_unref(m->body);
    free(m);
}

static void message_drop(struct sn_engine *e, struct sn_down *d, struct sn_message *m,
                         enum sn_stat why)
{
    sn_count(e, why);
    if (log_begin(&e->log, LOG_NOTICE, "message.dropped")) {
        log_str(&e->log, "client", sn_client_id(d->client));
        log_str(&e->log, "topic", sn_name_bytes(m->name));
        log_word(&e->log, "why", sn_stat_name(why));
        log_end(&e->log);
    }
    report_done(e, d->client, m->delivery_id, true);
    message_remove(e, d, m);
}

static void set_idle(struct sn_engine *e, struct sn_down *d)
{
    deadline_disarm(&e->deadlines, &d->retry);
    d->phase = SN_DN_IDLE;
    d->tries = 0;
    d->rounds = 0;
    d->stalled = false;
    d->repaired = false;
    d->publish_id = 0;
}

/* The head has reached the node. */
static void head_delivered(struct sn_engine *e, struct sn_down *d)
{
    struct sn_message *m = head(d);
    sn_count(e, SN_STAT_DELIVERED);
    report_done(e, d->client, m->delivery_id, false);
    message_remove(e, d, m);
    set_idle(e, d);
}

static void head_dropped(struct sn_engine *e, struct sn_down *d, enum sn_stat why)
{
    message_drop(e, d, head(d), why);
    set_idle(e, d);
}

void sn_down_clear(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d == NULL)
        return;
    for (struct sn_message *m = head(d); m != NULL; m = head(d)) {
        sn_count(e, SN_STAT_DROP_CLIENT_GONE);
        report_done(e, c, m->delivery_id, true);
        message_remove(e, d, m);
    }
    deadline_disarm(&e->deadlines, &d->retry);
    sn_free(e, d, sizeof *d);
    c->down = NULL;
}

static struct sn_down *down_of(struct sn_engine *e, struct sn_client *c)
{
    if (c->down != NULL)
        return c->down;
    struct sn_down *d = sn_alloc(e, sizeof *d);
    if (d == NULL)
        return NULL;
    deadline_init(&d->retry, SN_DL_RETRY);
    list_init(&d->queue);
    d->client = c;
    c->down = d;
    return d;
}

/* Makes room by the policy drop-oldest, never touching the message under way. */
static void make_room(struct sn_engine *e, struct sn_down *d, uint32_t cost)
{
    const struct sn_client_options *o = &d->client->profile->options;
    const uint32_t stays = d->phase != SN_DN_IDLE ? cost_of(head(d)) : 0;
    if (stays + cost > o->max_queue_bytes)
        return; /* all others would go, and in vain */
    while (d->n_queued > 0 &&
           (d->n_queued >= o->max_queue || d->queued_bytes + cost > o->max_queue_bytes)) {
        if (d->phase == SN_DN_IDLE) {
            head_dropped(e, d, SN_STAT_DROP_QUEUE_FULL);
            continue;
        }
        struct list *victim = list_first(&d->queue)->next;
        if (victim == &d->queue)
            return;
        message_drop(e, d, container_of(victim, struct sn_message, link), SN_STAT_DROP_QUEUE_FULL);
    }
}

/* False: not kept (counted by the caller). */
static bool enqueue(struct sn_engine *e, struct sn_client *c, struct sn_name *name,
                    struct body *body, const struct sn_recipient *r)
{
    struct sn_down *d = down_of(e, c);
    struct sn_message *m = d != NULL ? malloc(sizeof *m) : NULL;
    if (m == NULL)
        return false;
    *m = (struct sn_message){.name = name,
                             .body = body,
                             .delivery_id = r->delivery_id,
                             .qos = r->qos,
                             .retain = r->retain};
    const uint32_t cost = cost_of(m);
    const struct sn_client_options *o = &c->profile->options;
    make_room(e, d, cost);
    if (d->n_queued >= o->max_queue || d->queued_bytes + cost > o->max_queue_bytes ||
        !sn_charge(e, cost)) {
        free(m);
        return false;
    }
    sn_name_ref(name);
    body_ref(body);
    list_init(&m->link);
    list_push_back(&d->queue, &m->link);
    d->n_queued++;
    d->queued_bytes += cost;
    e->queued++;
    return true;
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool reachable(const struct sn_client *c)
{
    return (c->state == SN_ST_ACTIVE || c->state == SN_ST_AWAKE) && c->peer != NULL &&
           c->n_subs == 0; /* the SUBACK goes first */
}

static struct sn_packet publish_packet(const struct sn_topic *t, struct bytes data, uint8_t qos,
                                       bool retain)
{
    return (struct sn_packet){
        .type = SN_PUBLISH,
        .qos = (enum sn_qos)qos,
        .retain = retain,
        .topic_kind = (enum sn_topic_kind)t->kind,
        .topic_id = t->kind == SN_TOPIC_NORMAL ? t->id : t->alias,
        .data = data,
    };
}

/* The node can interpret the topic in this connection without a REGISTER. */
static bool is_known(const struct sn_client *c, const struct sn_topic *t)
{
    return t->kind != SN_TOPIC_NORMAL || (t->id != 0 && t->known_in == c->connection);
}

/* The node has said no to this name in this connection, and not asked for it since. */
static bool is_refused(const struct sn_client *c, const struct sn_topic *t)
{
    return t->refused_in == c->connection;
}

static bool fits(const struct sn_engine *e, const struct sn_client *c, const struct sn_packet *p)
{
    const size_t len = sn_encode(p, NULL, 0);
    return len > 0 && len <= sn_packet_limit(e, c);
}

static void arm_retry(struct sn_engine *e, struct sn_down *d)
{
    deadline_arm(&e->deadlines, &d->retry, time_add(e->now_ms, e->config.retry_interval_ms));
}

static const enum sn_stat down_stat[] = {SN_STAT_PUBLISH_DOWN_QOS0, SN_STAT_PUBLISH_DOWN_QOS1,
                                         SN_STAT_PUBLISH_DOWN_QOS2};

/* Sends the packet of the present phase; the head is `m`, its topic `t`. */
static void send_phase(struct sn_engine *e, struct sn_down *d, const struct sn_message *m,
                       const struct sn_topic *t)
{
    struct sn_packet p = {.type = SN_PUBREL, .msg_id = d->msg_id};
    if (d->phase == SN_DN_REGISTER) {
        p = (struct sn_packet){.type = SN_REGISTER,
                               .topic_id = t->id,
                               .msg_id = d->msg_id,
                               .topic = sn_name_bytes(m->name)};
    } else if (d->phase != SN_DN_PUBCOMP) {
        p = publish_packet(t, body_bytes(m->body), m->qos, m->retain);
        p.msg_id = d->msg_id;
        p.dup = d->publish_id != 0;
        d->publish_id = d->msg_id;
    }
    sn_reply(e, d->client, &p);
    d->tries++;
    if (d->tries > 1)
        sn_count(e, SN_STAT_RETRANSMISSIONS);
    arm_retry(e, d);
}

static void enter(struct sn_engine *e, struct sn_down *d, int phase, const struct sn_message *m,
                  const struct sn_topic *t)
{
    /* A PUBLISH taken up again keeps its id, also across a REGISTER or a reconnection, so that the
     * node can recognise it; PUBREL belongs to the same exchange. */
    if (phase != SN_DN_REGISTER && d->publish_id != 0)
        d->msg_id = d->publish_id;
    else
        d->msg_id = sn_client_msg_id(d->client);
    if (d->msg_id == d->publish_id && phase == SN_DN_REGISTER)
        d->msg_id = sn_client_msg_id(d->client);
    d->phase = phase;
    d->tries = 0;
    d->stalled = false;
    send_phase(e, d, m, t);
}

/* The entry for the head's topic, with an id if it needs one; NULL when there can't be one. */
static struct sn_topic *topic_of(struct sn_engine *e, struct sn_client *c, struct sn_name *name)
{
    struct sn_topic *t = sn_topic_find(e, c, name);
    if (t == NULL)
        t = sn_topic_get(e, c, sn_name_bytes(name));
    if (t != NULL && t->kind == SN_TOPIC_NORMAL && !sn_topic_assign_id(e, c, t))
        return NULL;
    return t;
}

/* Starts on the head; false when it was finished or dropped at once. */
static bool start_head(struct sn_engine *e, struct sn_down *d)
{
    struct sn_client *c = d->client;
    struct sn_message *m = head(d);
    struct sn_topic *t = topic_of(e, c, m->name);
    if (t == NULL || is_refused(c, t)) {
        head_dropped(e, d, t == NULL ? SN_STAT_DROP_NO_MEMORY : SN_STAT_DROP_REFUSED_BY_CLIENT);
        return false;
    }
    const struct sn_packet publish = publish_packet(t, body_bytes(m->body), m->qos, m->retain);
    const struct sn_packet reg = {
        .type = SN_REGISTER, .topic_id = t->id, .topic = sn_name_bytes(m->name)};
    const bool known = is_known(c, t);
    if (!fits(e, c, &publish) || (!known && !fits(e, c, &reg))) {
        head_dropped(e, d, SN_STAT_DROP_TOO_LARGE);
        return false;
    }
    if (!known) {
        enter(e, d, SN_DN_REGISTER, m, t);
        return true;
    }
    sn_count(e, down_stat[m->qos]);
    if (m->qos == SN_QOS_0) {
        sn_reply(e, c, &publish);
        head_delivered(e, d);
        return false;
    }
    enter(e, d, m->qos == SN_QOS_1 ? SN_DN_PUBACK : SN_DN_PUBREC, m, t);
    return true;
}

void sn_down_run(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d != NULL && reachable(c) && !d->stalled) {
        while (d->phase == SN_DN_IDLE && head(d) != NULL) {
            if (start_head(e, d))
                break;
        }
    }
    const bool nothing_left = d == NULL || (d->phase == SN_DN_IDLE && head(d) == NULL);
    if (c->state == SN_ST_AWAKE && nothing_left && c->n_subs == 0) {
        sn_reply(e, c, &(struct sn_packet){.type = SN_PINGRESP});
        sn_client_apply(e, c, SN_CE_DROWSE);
    }
}

static void again(struct sn_engine *e, struct sn_down *d)
{
    const struct sn_message *m = head(d);
    const struct sn_topic *t = sn_topic_find(e, d->client, m->name);
    assert(t != NULL);
    send_phase(e, d, m, t);
}

void sn_down_resume(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d == NULL || !d->stalled || !reachable(c))
        return;
    d->stalled = false;
    d->tries = 0;
    again(e, d);
}

/* Asked for by the node itself: it counts as no try of ours. */
void sn_down_resend(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d == NULL || d->phase == SN_DN_IDLE || d->stalled)
        return;
    d->tries = 0;
    again(e, d);
}

/* The request under way is taken back; the PUBLISH will go out again with DUP and its old id. A
 * PUBREL stays one: the node has the message already. */
void sn_down_pause(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d == NULL)
        return;
    deadline_disarm(&e->deadlines, &d->retry);
    d->tries = 0;
    if (d->phase == SN_DN_PUBCOMP) {
        d->stalled = true;
    } else {
        d->phase = SN_DN_IDLE;
        d->stalled = false;
    }
}

static void give_up(struct sn_engine *e, struct sn_down *d)
{
    struct sn_client *c = d->client;
    sn_count(e, SN_STAT_GAVE_UP);
    d->rounds++;
    if (log_begin(&e->log, LOG_DEBUG, "request.gave_up")) {
        log_str(&e->log, "client", sn_client_id(c));
        log_word(&e->log, "packet", d->phase == SN_DN_REGISTER ? "REGISTER" : "PUBLISH");
        log_int(&e->log, "rounds", d->rounds);
        log_end(&e->log);
    }
    if (d->phase == SN_DN_REGISTER && !c->has_regacked) {
        struct sn_topic *t = sn_topic_find(e, c, head(d)->name);
        if (t->given) { /* it asked for this id itself: it will understand */
            t->known_in = c->connection;
            d->phase = SN_DN_IDLE; /* and the PUBLISH follows, under its id */
            sn_down_run(e, c);
            return;
        }
        if (d->rounds >= ROUNDS_WITHOUT_REGACK) {
            t->refused_in = c->connection;
            head_dropped(e, d, SN_STAT_DROP_REFUSED_BY_CLIENT);
            sn_down_run(e, c);
            return;
        }
    }
    d->stalled = true;
    if (c->state == SN_ST_AWAKE)
        sn_client_apply(e, c, SN_CE_DROWSE); /* without PINGRESP: it did not hear us */
}

void sn_down_due(struct sn_engine *e, struct sn_down *d)
{
    if (d->tries > e->config.retry_count)
        give_up(e, d);
    else
        again(e, d);
}

/* ---- a message arrives for nodes ------------------------------------------------------------- */

/* The common case costs no queueing: QoS 0 to a node that listens and knows the topic. */
static bool deliver_at_once(struct sn_engine *e, struct sn_client *c, const struct sn_name *name,
                            struct body *body, const struct sn_recipient *r)
{
    const bool queue_empty = c->down == NULL || head(c->down) == NULL;
    if (r->qos != SN_QOS_0 || !queue_empty || !reachable(c))
        return false;
    const struct sn_topic *t = sn_topic_find(e, c, name);
    if (t == NULL || is_refused(c, t) || !is_known(c, t))
        return false;
    const struct sn_packet publish = publish_packet(t, body_bytes(body), r->qos, r->retain);
    if (!fits(e, c, &publish))
        return false;
    sn_count(e, SN_STAT_PUBLISH_DOWN_QOS0);
    sn_count(e, SN_STAT_DELIVERED);
    sn_reply(e, c, &publish);
    report_done(e, c, r->delivery_id, false);
    return true;
}

static void deliver(struct sn_engine *e, struct sn_name *name, struct body *body,
                    const struct sn_recipient *r)
{
    struct sn_client *c = sn_client_by_key(e, r->client);
    if (c == NULL) {
        sn_count(e, SN_STAT_DROP_CLIENT_GONE);
        return;
    }
    if (deliver_at_once(e, c, name, body, r))
        return;
    const bool away = c->state == SN_ST_DISCONNECTED || c->state == SN_ST_LOST;
    if ((r->qos == SN_QOS_0 && away) || !enqueue(e, c, name, body, r)) {
        sn_count(e,
                 away && r->qos == SN_QOS_0 ? SN_STAT_DROP_CLIENT_GONE : SN_STAT_DROP_QUEUE_FULL);
        report_done(e, c, r->delivery_id, true);
        return;
    }
    sn_down_run(e, c);
}

void sn_on_message(struct sn_engine *e, const struct sn_event *event)
{
    struct sn_name *name = sn_name_get(e, event->message.topic);
    for (size_t i = 0; i < event->message.n_recipients; i++) {
        const struct sn_recipient *r = &event->message.recipients[i];
        if (name != NULL) {
            deliver(e, name, event->message.body, r);
        } else {
            const struct sn_client *c = sn_client_by_key(e, r->client);
            if (c != NULL)
                report_done(e, c, r->delivery_id, true);
        }
    }
    if (name != NULL)
        sn_name_unref(e, name);
}

/* ---- the node's answers ---------------------------------------------------------------------- */

/* The request under way, if it is in `phase` and the msg id is its. */
static struct sn_down *matching(struct sn_engine *e, struct sn_client *c, int phase,
                                uint16_t msg_id)
{
    struct sn_down *d = c->down;
    if (d != NULL && (int)d->phase == phase && d->msg_id == msg_id)
        return d;
    sn_count(e, SN_STAT_IGNORED_UNKNOWN_ACK);
    return NULL;
}

/* The head was sent under this msg id, perhaps in a connection before this one: whatever we are at
 * with it now, the answer tells that the node has it. */
static bool was_published_as(const struct sn_down *d, uint16_t msg_id)
{
    return d != NULL && d->publish_id != 0 && d->publish_id == msg_id && d->phase != SN_DN_PUBCOMP;
}

/* The node can't take it now: try again after T_retry, for as long as it is there. */
static void wait_for_node(struct sn_engine *e, struct sn_down *d)
{
    d->tries = 1;
    d->stalled = false;
    arm_retry(e, d);
}

void sn_on_regack(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    c->has_regacked = true;
    struct sn_down *d = matching(e, c, SN_DN_REGISTER, p->msg_id);
    if (d == NULL)
        return;
    if (p->return_code == SN_CONGESTION) {
        wait_for_node(e, d);
        return;
    }
    struct sn_topic *t = sn_topic_find(e, c, head(d)->name);
    if (p->return_code == SN_ACCEPTED) {
        t->known_in = c->connection;
        deadline_disarm(&e->deadlines, &d->retry);
        d->phase = SN_DN_IDLE; /* and the PUBLISH follows */
        d->stalled = false;
    } else {
        t->refused_in = c->connection; /* it does not want this name (section 6.10) */
        head_dropped(e, d, SN_STAT_DROP_REFUSED_BY_CLIENT);
    }
    sn_down_run(e, c);
}

/* The node does not know the id (section 6.6): register it anew, once, and send again. */
static void repair_mapping(struct sn_engine *e, struct sn_client *c, struct sn_down *d)
{
    struct sn_topic *t = sn_topic_find(e, c, head(d)->name);
    if (t->kind != SN_TOPIC_NORMAL || d->repaired) {
        head_dropped(e, d, SN_STAT_DROP_REFUSED_BY_CLIENT);
    } else {
        t->known_in = 0;
        set_idle(e, d);
        d->repaired = true;
    }
    sn_down_run(e, c);
}

/* An objection to a QoS 0 message carries no msg id of ours, only the topic id. */
static void forget_mapping(struct sn_engine *e, const struct sn_client *c, uint16_t topic_id)
{
    struct sn_topic *t = sn_topic_by_id(e, c, topic_id);
    if (t != NULL)
        t->known_in = 0;
}

void sn_on_puback(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (p->return_code == SN_INVALID_TOPIC_ID && p->msg_id == 0) {
        forget_mapping(e, c, p->topic_id);
        return;
    }
    if (p->return_code == SN_ACCEPTED && was_published_as(c->down, p->msg_id)) {
        head_delivered(e, c->down);
        sn_down_run(e, c);
        return;
    }
    /* PUBACK in place of PUBREC ends a QoS 2 exchange; the topic id is not compared, some send 0.
     */
    const bool qos2 = c->down != NULL && c->down->phase == SN_DN_PUBREC;
    struct sn_down *d = matching(e, c, qos2 ? SN_DN_PUBREC : SN_DN_PUBACK, p->msg_id);
    if (d == NULL)
        return;
    switch (p->return_code) {
    case SN_CONGESTION:
        wait_for_node(e, d);
        break;
    case SN_INVALID_TOPIC_ID:
        repair_mapping(e, c, d);
        break;
    default: /* it will never be accepted: repeating does not help */
        head_delivered(e, d);
        sn_down_run(e, c);
        break;
    }
}

void sn_on_pubrec(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    struct sn_down *d = c->down;
    if (was_published_as(d, p->msg_id) && head(d)->qos == SN_QOS_2) {
        enter(e, d, SN_DN_PUBCOMP, head(d), NULL);
        return;
    }
    /* A repetition, or an exchange we no longer know: PUBREL lets the node finish. */
    sn_reply(e, c, &(struct sn_packet){.type = SN_PUBREL, .msg_id = p->msg_id});
}

void sn_on_pubcomp(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    struct sn_down *d = matching(e, c, SN_DN_PUBCOMP, p->msg_id);
    if (d == NULL)
        return;
    head_delivered(e, d);
    sn_down_run(e, c);
}
