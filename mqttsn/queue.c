/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of messages that wait for one node, in the order of their arrival. The head may be under
 * way (publish_down.c) and is then never touched by the overflow policy of the client's profile, nor
 * is a QoS 2 message that the node may have received half:
 *
 *     drop-oldest       the oldest waiting message makes room
 *     drop-newest       the arriving message is dropped
 *     latest-per-topic  an older waiting message of the same topic is replaced, full or not; a queue
 *                       full of other topics drops its oldest
 *
 * A message whose expiry interval is over is dropped when its turn comes, or before any other when
 * there is no room.
 *
 * Every octet is charged to the client's quota and the engine's, and refunded with the message. Every
 * drop is counted, logged, and reported upstream like a delivery, so that nothing waits for it.
 */
#include <assert.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

static uint32_t cost_of(const struct sn_message *m)
{
    return (uint32_t)(sizeof *m + m->name->len + body_bytes(m->body).len);
}

struct sn_message *sn_queue_at(struct list *link)
{
    return container_of(link, struct sn_message, link);
}

void sn_report_done(struct sn_engine *e, const struct sn_client *c, uint32_t delivery_id,
                    bool dropped)
{
    if (delivery_id == 0)
        return;
    const struct sn_request request = {
        .type = SN_REQ_DELIVERED,
        .client = c->key,
        .delivered = {.delivery_id = delivery_id, .dropped = dropped},
    };
    sn_ask(e, &request, NULL, NULL);
}

/* Takes a message out of the queue for good. */
static void message_remove(struct sn_engine *e, struct sn_down *d, struct sn_message *m)
{
    const uint32_t cost = cost_of(m);
    sn_journal_message_gone(e, d->client, m);
    list_unlink(&m->link);
    d->n_queued--;
    d->queued_bytes -= cost;
    e->queued--;
    sn_refund(e, cost);
    sn_name_unref(e, m->name);
    body_unref(m->body);
    free(m);
}

/* A topic whose messages are too large for a node may bring them for ever: logged the first time,
 * as long as there are few such topics. Counted each time. */
static bool is_old_news(struct sn_client *c, const struct sn_name *name, enum sn_stat why)
{
    struct sn_down *d = c->down;
    if (why != SN_STAT_DROP_TOO_LARGE || d == NULL)
        return false;
    const uint32_t print = (uint32_t)name->node.hash;
    for (unsigned i = 0; i < SN_TOO_LARGE_LOGGED; i++) {
        if (d->too_large[i] == print)
            return true;
    }
    d->too_large[d->next_too_large] = print;
    d->next_too_large = (uint8_t)((d->next_too_large + 1U) % SN_TOO_LARGE_LOGGED);
    return false;
}

void sn_message_dropped(struct sn_engine *e, struct sn_client *c, const struct sn_name *name,
                        uint32_t delivery_id, enum sn_stat why)
{
    sn_count(e, why);
    /* That nothing waits for who is not there is as it should be. */
    const enum log_level level = why == SN_STAT_DROP_CLIENT_GONE ? LOG_DEBUG : LOG_NOTICE;
    if ((c == NULL || !is_old_news(c, name, why)) && log_begin(&e->log, level, "message.dropped")) {
        if (c != NULL)
            log_str(&e->log, "client", sn_client_id(c));
        log_str(&e->log, "topic", sn_name_bytes(name));
        log_word(&e->log, "why", sn_stat_name(why));
        log_end(&e->log);
    }
    if (c != NULL)
        sn_report_done(e, c, delivery_id, true);
}

static void message_drop(struct sn_engine *e, struct sn_down *d, struct sn_message *m,
                         enum sn_stat why)
{
    sn_message_dropped(e, d->client, m->name, m->delivery_id, why);
    message_remove(e, d, m);
}

struct sn_message *sn_queue_head(const struct sn_down *d)
{
    assert(d->n_queued > 0);
    return sn_queue_at(d->queue.next);
}

void sn_queue_delivered(struct sn_engine *e, struct sn_down *d)
{
    struct sn_message *m = sn_queue_head(d);
    sn_count(e, SN_STAT_DELIVERED);
    sn_report_done(e, d->client, m->delivery_id, false);
    message_remove(e, d, m);
}

void sn_queue_drop(struct sn_engine *e, struct sn_down *d, enum sn_stat why)
{
    message_drop(e, d, sn_queue_head(d), why);
}

/* ---- expiry ---------------------------------------------------------------------------------- */

void sn_expiry_init(struct sn_engine *e)
{
    const int64_t second_ms = e->now_ms - e->now_ms % 1000;
    e->expiry_base_ms = second_ms - INT64_C(1000) * (SN_EXPIRES_MAX / 2);
}

uint32_t sn_expires_s(const struct sn_engine *e, int64_t expires_ms)
{
    const int64_t last_ms = e->expiry_base_ms + INT64_C(1000) * SN_EXPIRES_MAX;
    if (expires_ms == 0 || expires_ms > last_ms)
        return 0;
    if (expires_ms <= e->expiry_base_ms)
        return 1;
    return (uint32_t)((expires_ms - e->expiry_base_ms + 999) / 1000);
}

int64_t sn_expires_ms(const struct sn_engine *e, uint32_t expires_s)
{
    const int64_t ms = e->expiry_base_ms + INT64_C(1000) * expires_s;
    return expires_s == 0 ? 0 : ms != 0 ? ms : -1;
}

uint32_t sn_expires_after(const struct sn_engine *e, uint32_t expiry_s)
{
    return expiry_s == 0 ? 0 : sn_expires_s(e, time_add(e->now_ms, INT64_C(1000) * expiry_s));
}

static bool is_past(const struct sn_engine *e, uint32_t expires_s)
{
    return expires_s != 0 && sn_expires_ms(e, expires_s) <= e->now_ms;
}

bool sn_queue_has_expired(const struct sn_engine *e, const struct sn_down *d)
{
    const struct sn_message *m = sn_queue_head(d);
    return is_past(e, m->expires_s) && (d->publish_id == 0 || m->qos != SN_QOS_2);
}

bool sn_queue_drop_expired(struct sn_engine *e, struct sn_down *d)
{
    if (!sn_queue_has_expired(e, d))
        return false;
    sn_queue_drop(e, d, SN_STAT_DROP_EXPIRED);
    sn_down_idle(e, d);
    return true;
}

/* ---- the conversation's record --------------------------------------------------------------- */

void sn_down_clear(struct sn_engine *e, struct sn_client *c)
{
    struct sn_down *d = c->down;
    if (d == NULL)
        return;
    if (d->n_queued > 0 && log_begin(&e->log, LOG_INFO, "queue.discarded")) {
        log_str(&e->log, "client", sn_client_id(c));
        log_int(&e->log, "messages", d->n_queued);
        log_word(&e->log, "why", sn_stat_name(SN_STAT_DROP_CLIENT_GONE));
        log_end(&e->log);
    }
    while (d->n_queued > 0) {
        struct sn_message *m = sn_queue_head(d);
        sn_count(e, SN_STAT_DROP_CLIENT_GONE);
        sn_report_done(e, c, m->delivery_id, true);
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
    struct sn_down *d = sn_alloc_quietly(e, sizeof *d);
    if (d == NULL)
        return NULL;
    deadline_init(&d->retry, SN_DL_RETRY);
    list_init(&d->queue);
    d->client = c;
    c->down = d;
    return d;
}

/* ---- arrival and overflow -------------------------------------------------------------------- */

/* The head is under way; or it is a QoS 2 message that was, until the node went or fell asleep. The
 * node may have it, and nothing but its repetition would end the exchange there. */
static bool head_is_begun(const struct sn_down *d)
{
    if (d->n_queued == 0)
        return false;
    return d->phase != SN_DN_IDLE || (d->publish_id != 0 && sn_queue_head(d)->qos == SN_QOS_2);
}

/* Where the waiting messages begin. */
static struct list *first_waiting(struct sn_down *d)
{
    struct list *first = d->queue.next;
    return head_is_begun(d) ? first->next : first;
}

static void drop_waiting(struct sn_engine *e, struct sn_down *d, struct list *link,
                         enum sn_stat why)
{
    const bool was_head = link == d->queue.next;
    message_drop(e, d, sn_queue_at(link), why);
    if (was_head)
        sn_down_idle(e,
                     d); /* what was remembered of an earlier sending concerned the dropped one */
}

static void supersede(struct sn_engine *e, struct sn_down *d, const struct sn_name *name)
{
    for (struct list *link = first_waiting(d); link != &d->queue; link = link->next) {
        if (sn_queue_at(link)->name == name) {
            drop_waiting(e, d, link, SN_STAT_DROP_SUPERSEDED);
            return; /* there is never more than one */
        }
    }
}

/* Why a message of this cost can't be kept when the client's queue has `n` messages of `bytes` octets,
 * or SN_STAT_COUNT when it can: limits of the client, and of all together. */
static enum sn_stat shortage(const struct sn_engine *e, const struct sn_down *d, uint32_t n,
                             uint32_t bytes, uint32_t cost)
{
    const struct sn_client_options *o = &d->client->profile->options;
    const uint32_t freed = d->queued_bytes - bytes;
    if (n >= o->max_queue || (uint64_t)bytes + cost > o->max_queue_bytes ||
        e->queued - (d->n_queued - n) >= e->config.max_waiting)
        return SN_STAT_DROP_QUEUE_FULL;
    if (e->memory_bytes - freed + cost > e->config.max_memory_bytes)
        return SN_STAT_DROP_NO_MEMORY;
    return SN_STAT_COUNT;
}

static enum sn_stat shortage_now(const struct sn_engine *e, const struct sn_down *d, uint32_t cost)
{
    return shortage(e, d, d->n_queued, d->queued_bytes, cost);
}

/* Could it be kept if nothing else waited for the client? If not, nothing may give way in vain. */
static bool can_fit(const struct sn_engine *e, const struct sn_down *d, uint32_t cost)
{
    const bool begun = head_is_begun(d);
    const uint32_t stays = begun ? cost_of(sn_queue_head(d)) : 0;
    return shortage(e, d, begun ? 1 : 0, stays, cost) == SN_STAT_COUNT;
}

/* Looks at what waits only when something of it expires, or was to expire, since the last look. */
static void drop_expired(struct sn_engine *e, struct sn_down *d)
{
    if (!is_past(e, d->first_expires_s))
        return;
    uint32_t first = 0;
    struct list *next = NULL;
    for (struct list *link = first_waiting(d); link != &d->queue; link = next) {
        const struct sn_message *m = sn_queue_at(link);
        next = link->next;
        if (is_past(e, m->expires_s))
            drop_waiting(e, d, link, SN_STAT_DROP_EXPIRED);
        else if (m->expires_s != 0 && (first == 0 || m->expires_s < first))
            first = m->expires_s;
    }
    d->first_expires_s = first;
}

/* Drops what has expired, then what the policy sacrifices for a message of this cost. */
static void make_room(struct sn_engine *e, struct sn_down *d, uint32_t cost)
{
    if (shortage_now(e, d, cost) != SN_STAT_COUNT)
        drop_expired(e, d);
    if (d->client->profile->options.overflow == SN_DROP_NEWEST)
        return;
    for (enum sn_stat why = shortage_now(e, d, cost); why != SN_STAT_COUNT;
         why = shortage_now(e, d, cost)) {
        struct list *victim = first_waiting(d);
        if (victim == &d->queue)
            return;
        drop_waiting(e, d, victim, why);
    }
}

struct sn_message *sn_queue_add(struct sn_engine *e, struct sn_client *c,
                                const struct sn_message *as, enum sn_stat *why)
{
    struct sn_down *d = down_of(e, c);
    *why = SN_STAT_DROP_NO_MEMORY;
    struct sn_message *m = d != NULL ? malloc(sizeof *m) : NULL;
    if (m == NULL)
        return NULL;
    *m = *as;
    const uint32_t cost = cost_of(m);
    const bool fits = can_fit(e, d, cost);
    const bool is_new = as->number == 0; /* else it was in this queue before, with all others */
    if (fits && is_new && c->profile->options.overflow == SN_LATEST_PER_TOPIC)
        supersede(e, d, m->name);
    if (fits)
        make_room(e, d, cost);
    *why = shortage_now(e, d, cost);
    if (*why != SN_STAT_COUNT || !sn_charge(e, cost)) {
        free(m);
        return NULL;
    }
    sn_name_ref(m->name);
    body_ref(m->body);
    list_init(&m->link);
    list_push_back(&d->queue, &m->link);
    d->n_queued++;
    d->queued_bytes += cost;
    e->queued++;
    if (m->expires_s != 0 && (d->first_expires_s == 0 || m->expires_s < d->first_expires_s))
        d->first_expires_s = m->expires_s;
    return m;
}
