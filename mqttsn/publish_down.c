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

#include "mqttsn/engine_priv.h"

enum { ROUNDS_WITHOUT_REGACK = 4 };

void sn_down_idle(struct sn_engine *e, struct sn_down *d)
{
    deadline_disarm(&e->deadlines, &d->retry);
    d->phase = SN_DN_IDLE;
    d->tries = 0;
    d->rounds = 0;
    d->stalled = false;
    d->repaired = false;
    d->publish_id = 0;
}

static void head_done(struct sn_engine *e, struct sn_down *d)
{
    if (d->client->wake_left > 0)
        d->client->wake_left--;
    sn_down_idle(e, d);
}

/* The head has reached the node. */
static void head_delivered(struct sn_engine *e, struct sn_down *d)
{
    sn_queue_delivered(e, d);
    head_done(e, d);
}

static void head_dropped(struct sn_engine *e, struct sn_down *d, enum sn_stat why)
{
    sn_queue_drop(e, d, why);
    head_done(e, d);
}

/* ---- sending --------------------------------------------------------------------------------- */

static bool reachable(const struct sn_client *c)
{
    return (c->state == SN_ST_ACTIVE || c->state == SN_ST_AWAKE) && sn_client_peer(c) != NULL &&
           sn_client_subs(c) == 0; /* the SUBACK goes first */
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

/* A node that has no handler for REGISTER still knows the ids it asked for itself, also those of a
 * connection before. */
static bool never_registers(const struct sn_client *c)
{
    return c->profile->options.regack == SN_NO;
}

static bool understands(const struct sn_client *c, const struct sn_topic *t)
{
    return is_known(c, t) || (never_registers(c) && t->given);
}

/* The node has said no to this name in this connection, and not asked for it since. */
static bool is_refused(const struct sn_client *c, const struct sn_topic *t)
{
    return t->refused_in == c->connection;
}

static void arm_retry(struct sn_engine *e, struct sn_down *d)
{
    deadline_arm(&e->deadlines, &d->retry, time_add(e->now_ms, sn_retry_ms(e, d)));
}

void sn_down_rearm(struct sn_engine *e, struct sn_down *d)
{
    d->held = false;
    if (d->phase != SN_DN_IDLE && deadline_armed(&d->retry))
        arm_retry(e, d);
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
        const bool first = d->publish_id == 0;
        p = publish_packet(t, body_bytes(m->body), m->qos, m->retain);
        p.msg_id = d->msg_id;
        /* Of QoS 1 the store does not know what was sent; of QoS 2 it does. */
        const bool again = !first || (m->restored && m->qos == SN_QOS_1);
        p.dup = again && d->client->profile->options.dup != SN_NO;
        d->publish_id = d->msg_id;
        if (first && m->qos == SN_QOS_2)
            sn_journal_phase(e, d->client);
    }
    sn_reply(e, d->client, &p);
    d->held = false;
    d->latest_ms = e->now_ms;
    d->tries++;
    if (d->tries > 1)
        sn_count(e, SN_STAT_RETRANSMISSIONS);
    arm_retry(e, d);
}

static void enter(struct sn_engine *e, struct sn_down *d, enum sn_down_phase phase,
                  const struct sn_message *m, const struct sn_topic *t)
{
    /* A PUBLISH taken up again keeps its id, also across a REGISTER or a reconnection, so that the
     * node can recognise it; PUBREL belongs to the same exchange. */
    if (phase != SN_DN_REGISTER && d->publish_id != 0)
        d->msg_id = d->publish_id;
    else
        d->msg_id = sn_client_msg_id(e, d->client);
    if (d->msg_id == d->publish_id && phase == SN_DN_REGISTER)
        d->msg_id = sn_client_msg_id(e, d->client);
    d->repeated = phase != SN_DN_PUBCOMP && d->msg_id == d->publish_id;
    d->phase = phase;
    d->tries = 0;
    d->stalled = false;
    d->sent_ms = e->now_ms;
    if (phase == SN_DN_PUBCOMP)
        sn_journal_phase(e, d->client);
    send_phase(e, d, m, t);
}

/* The entry for the head's topic, with an id if it needs one; NULL when there can't be one. */
static struct sn_topic *topic_of(struct sn_engine *e, struct sn_client *c, struct sn_name *name)
{
    struct sn_topic *t = sn_topic_find(c, name);
    if (t == NULL)
        t = sn_topic_get(e, c, sn_name_bytes(name));
    if (t == NULL)
        return NULL;
    if (t->kind == SN_TOPIC_NORMAL && t->id == 0) {
        if (!sn_topic_assign_id(e, c, t))
            return NULL;
        sn_journal_topic(e, c, t);
        sn_journal_bind(e, c);
    }
    sn_topic_used(c, t);
    return t;
}

/* What keeps the head from the node, or SN_STAT_COUNT. A name that can't be registered with it does
 * not get an id. */
static enum sn_stat obstacle(struct sn_engine *e, struct sn_client *c, const struct sn_message *m)
{
    const struct sn_topic *t = sn_topic_find(c, m->name);
    if (t != NULL && is_refused(c, t))
        return SN_STAT_DROP_REFUSED_BY_CLIENT;
    const bool known = t != NULL && understands(c, t);
    if (!known && never_registers(c))
        return SN_STAT_DROP_REFUSED_BY_CLIENT;
    const struct sn_packet publish = {.type = SN_PUBLISH, .data = body_bytes(m->body)};
    if (!sn_packet_fits(e, c, &publish) ||
        (!known && !sn_register_fits(e, c, sn_name_bytes(m->name))))
        return SN_STAT_DROP_TOO_LARGE;
    return SN_STAT_COUNT;
}

/* Starts on the head; false when it was finished or dropped at once. */
static bool start_head(struct sn_engine *e, struct sn_down *d)
{
    struct sn_client *c = d->client;
    struct sn_message *m = sn_queue_head(d);
    if (m->expires_s != 0 && sn_queue_drop_expired(e, d))
        return false;
    enum sn_stat why = obstacle(e, c, m);
    struct sn_topic *t = why == SN_STAT_COUNT ? topic_of(e, c, m->name) : NULL;
    if (t == NULL) {
        head_dropped(e, d, why == SN_STAT_COUNT ? SN_STAT_DROP_TOPIC_LIMIT : why);
        return false;
    }
    if (!understands(c, t)) {
        enter(e, d, SN_DN_REGISTER, m, t);
        return true;
    }
    sn_count(e, down_stat[m->qos]);
    if (m->qos == SN_QOS_0) {
        const struct sn_packet publish = publish_packet(t, body_bytes(m->body), m->qos, m->retain);
        sn_reply(e, c, &publish);
        head_delivered(e, d);
        return false;
    }
    enter(e, d, m->qos == SN_QOS_1 ? SN_DN_PUBACK : SN_DN_PUBREC, m, t);
    return true;
}

/* Topics that never fall silent must not keep a node awake for ever. */
static bool has_next(const struct sn_client *c)
{
    return c->down->n_queued > 0 && (c->state != SN_ST_AWAKE || c->wake_left > 0);
}

void sn_down_run(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d != NULL && reachable(c) && !d->stalled) {
        while (d->phase == SN_DN_IDLE && has_next(c)) {
            if (start_head(e, d))
                break;
        }
    }
    const bool nothing_left = d == NULL || (d->phase == SN_DN_IDLE && !has_next(c));
    if (c->state == SN_ST_AWAKE && nothing_left && sn_client_subs(c) == 0) {
        sn_reply(e, c, &(struct sn_packet){.type = SN_PINGRESP});
        sn_client_apply(e, c, SN_CE_DROWSE);
    }
}

/* A PUBLISH whose alias or topic id has been taken back since starts anew, under its msg id. */
static void again(struct sn_engine *e, struct sn_down *d)
{
    const struct sn_message *m = sn_queue_head(d);
    const struct sn_topic *t = sn_topic_find(d->client, m->name);
    const bool publishes = d->phase == SN_DN_PUBACK || d->phase == SN_DN_PUBREC;
    assert(t != NULL || d->phase == SN_DN_PUBCOMP); /* which may have come back without its topic */
    if (publishes && !understands(d->client, t)) {
        deadline_disarm(&e->deadlines, &d->retry);
        d->phase = SN_DN_IDLE;
        sn_down_run(e, d->client);
        return;
    }
    d->repeated = true;
    send_phase(e, d, m, t);
}

void sn_down_resume(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d == NULL || !d->stalled || !reachable(c))
        return;
    if (sn_queue_has_expired(e, d))
        sn_down_pause(e, c);
    d->stalled = false;
    d->tries = 0;
    if (d->phase == SN_DN_IDLE)
        sn_down_run(e, c);
    else
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
        struct sn_topic *t = sn_topic_find(c, sn_queue_head(d)->name);
        if (t->given) { /* it asked for this id itself: it will understand */
            t->known_in = c->connection;
            sn_journal_topic(e, c, t);
            d->phase = SN_DN_IDLE; /* and the PUBLISH follows, under its id */
            sn_down_run(e, c);
            return;
        }
        if (d->rounds >= ROUNDS_WITHOUT_REGACK) {
            t->refused_in = c->connection;
            sn_journal_topic(e, c, t);
            head_dropped(e, d, SN_STAT_DROP_REFUSED_BY_CLIENT);
            sn_down_run(e, c);
            return;
        }
    }
    d->stalled = true;
    if (c->state == SN_ST_AWAKE)
        sn_client_apply(e, c, SN_CE_DROWSE); /* without PINGRESP: it did not hear us */
    else if (c->in_doubt)
        sn_client_apply(e, c, SN_CE_SLEEP);
}

void sn_down_due(struct sn_engine *e, struct sn_down *d)
{
    if (sn_air_hold(e, d))
        return;
    sn_round_trip_missed(d);
    if (d->tries > e->config.retry_count)
        give_up(e, d);
    else
        again(e, d);
}

/* ---- a message arrives for nodes ------------------------------------------------------------- */

/* A message on its way to the queues. */
struct sn_arrival {
    struct sn_name *name;
    struct body *body;
    uint64_t journal;
    uint32_t expires_s : SN_EXPIRES_BITS;
};

/* The common case costs no queueing: QoS 0 to a node that listens and knows the topic. */
static bool deliver_at_once(struct sn_engine *e, struct sn_client *c, const struct sn_name *name,
                            struct body *body, const struct sn_recipient *r)
{
    const bool queue_empty = c->down == NULL || c->down->n_queued == 0;
    if (r->qos != SN_QOS_0 || !queue_empty || !reachable(c))
        return false;
    struct sn_topic *t = sn_topic_find(c, name);
    if (t == NULL || is_refused(c, t) || !is_known(c, t))
        return false;
    const struct sn_packet publish = publish_packet(t, body_bytes(body), r->qos, r->retain);
    if (!sn_packet_fits(e, c, &publish))
        return false;
    sn_count(e, SN_STAT_PUBLISH_DOWN_QOS0);
    sn_count(e, SN_STAT_DELIVERED);
    sn_topic_used(c, t);
    sn_reply(e, c, &publish);
    sn_report_done(e, c, r->delivery_id, false);
    return true;
}

/* QoS 0 is kept for a sleeper if so configured, and never for a node that is not connected. */
static bool waits_at_qos_0(const struct sn_client *c)
{
    if (c->state == SN_ST_ASLEEP)
        return c->profile->options.queue_qos_0 != SN_NO;
    return c->state != SN_ST_DISCONNECTED && c->state != SN_ST_LOST;
}

static bool queue(struct sn_engine *e, struct sn_client *c, const struct sn_arrival *a,
                  const struct sn_recipient *r, enum sn_stat *why)
{
    const struct sn_message as = {.name = a->name,
                                  .body = a->body,
                                  .journal = a->journal,
                                  .expires_s = a->expires_s,
                                  .delivery_id = r->delivery_id,
                                  .qos = r->qos & 3U,
                                  .retain = r->retain};
    struct sn_message *m = sn_queue_add(e, c, &as, why);
    if (m != NULL)
        sn_journal_queued(e, c, m);
    return m != NULL;
}

static void deliver(struct sn_engine *e, const struct sn_arrival *a,
                    const struct sn_recipient *asked)
{
    struct sn_name *name = a->name;
    struct sn_client *c = sn_client_by_key(e, asked->client);
    if (c == NULL) {
        sn_message_dropped(e, NULL, name, 0, SN_STAT_DROP_CLIENT_GONE);
        return;
    }
    struct sn_recipient recipient = *asked;
    const struct sn_recipient *r = &recipient;
    const uint8_t max_qos = c->profile->options.max_qos;
    if (max_qos != 0 && recipient.qos > max_qos - 1)
        recipient.qos = (uint8_t)(max_qos - 1);
    if (deliver_at_once(e, c, name, a->body, r))
        return;
    enum sn_stat why = SN_STAT_DROP_CLIENT_GONE;
    const bool wanted = r->qos != SN_QOS_0 || waits_at_qos_0(c);
    if (!wanted || !queue(e, c, a, r, &why)) {
        sn_message_dropped(e, c, name, r->delivery_id, why);
        return;
    }
    sn_down_run(e, c);
}

void sn_on_message(struct sn_engine *e, const struct sn_event *event)
{
    struct sn_name *name = sn_name_get(e, event->message.topic);
    const struct sn_arrival arrival = {.name = name,
                                       .body = event->message.body,
                                       .journal = event->message.journal,
                                       .expires_s = sn_expires_after(e, event->message.expiry_s) &
                                                    SN_EXPIRES_MAX};
    for (size_t i = 0; i < event->message.n_recipients; i++) {
        const struct sn_recipient *r = &event->message.recipients[i];
        if (name != NULL) {
            deliver(e, &arrival, r);
        } else {
            const struct sn_client *c = sn_client_by_key(e, r->client);
            if (c != NULL)
                sn_report_done(e, c, r->delivery_id, true);
        }
    }
    if (name != NULL)
        sn_name_unref(e, name);
}

/* ---- the node's answers ---------------------------------------------------------------------- */

/* The request under way, if it is in `phase` and the msg id is its. */
static struct sn_down *matching(struct sn_engine *e, struct sn_client *c, enum sn_down_phase phase,
                                uint16_t msg_id)
{
    struct sn_down *d = c->down;
    if (d != NULL && d->phase == phase && d->msg_id == msg_id)
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

/* The node can't take it now: try again after T_retry as configured, for as long as it is there. */
static void wait_for_node(struct sn_engine *e, struct sn_down *d)
{
    d->tries = 1;
    d->repeated = true; /* when its answer comes, it tells nothing about the round trip */
    d->stalled = false;
    deadline_arm(&e->deadlines, &d->retry, time_add(e->now_ms, e->config.retry_interval_ms));
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
    sn_round_trip(e, d);
    struct sn_topic *t = sn_topic_find(c, sn_queue_head(d)->name);
    if (p->return_code == SN_ACCEPTED) {
        t->known_in = c->connection;
        sn_journal_topic(e, c, t);
        deadline_disarm(&e->deadlines, &d->retry);
        d->phase = SN_DN_IDLE; /* and the PUBLISH follows */
        d->stalled = false;
    } else {
        t->refused_in = c->connection; /* it does not want this name (section 6.10) */
        sn_journal_topic(e, c, t);
        head_dropped(e, d, SN_STAT_DROP_REFUSED_BY_CLIENT);
    }
    sn_down_run(e, c);
}

/* The node does not know the id (section 6.6): register it anew, once, and send again. At QoS 2 under
 * the same msg id: the air may have copied the PUBLISH, and the node understood the copy when it had
 * learned the id meanwhile. The refusal may have copies as well, which mean nothing more. */
static void repair_mapping(struct sn_engine *e, struct sn_client *c, struct sn_down *d)
{
    struct sn_topic *t = sn_topic_find(c, sn_queue_head(d)->name);
    const uint16_t publish_id = sn_queue_head(d)->qos == SN_QOS_2 ? d->publish_id : 0;
    const bool may_be_copy = publish_id != 0 && e->now_ms - d->repaired_ms <= SN_COPIES_MS;
    if (d->repaired && may_be_copy) {
        sn_count(e, SN_STAT_IGNORED_UNKNOWN_ACK);
        return;
    }
    if (t->kind != SN_TOPIC_NORMAL || d->repaired) {
        head_dropped(e, d, SN_STAT_DROP_REFUSED_BY_CLIENT);
    } else {
        t->known_in = 0;
        sn_journal_topic(e, c, t);
        sn_down_idle(e, d);
        d->publish_id = publish_id;
        d->repaired = true;
        d->repaired_ms = e->now_ms;
    }
    sn_down_run(e, c);
}

/* An objection to a QoS 0 message carries no msg id of ours, only the topic id. */
static void forget_mapping(struct sn_engine *e, const struct sn_client *c, uint16_t topic_id)
{
    struct sn_topic *t = sn_topic_by_id(c, topic_id);
    if (t == NULL || t->known_in == 0)
        return;
    t->known_in = 0;
    sn_journal_topic(e, c, t);
}

void sn_on_puback(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (p->return_code == SN_INVALID_TOPIC_ID && p->msg_id == 0) {
        forget_mapping(e, c, p->topic_id);
        return;
    }
    if (p->return_code == SN_ACCEPTED && was_published_as(c->down, p->msg_id)) {
        if (c->down->phase == SN_DN_PUBACK)
            sn_round_trip(e, c->down);
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
    if (was_published_as(d, p->msg_id) && sn_queue_head(d)->qos == SN_QOS_2) {
        if (d->phase == SN_DN_PUBREC)
            sn_round_trip(e, d);
        enter(e, d, SN_DN_PUBCOMP, sn_queue_head(d), NULL);
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
    sn_round_trip(e, d);
    head_delivered(e, d);
    sn_down_run(e, c);
}
