/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages in memory. Each client has those that wait in a list by number; clients whose first one
 * may be sent stand in a line and take turns. A message leaves the memory when the broker has
 * acknowledged it, or refused it, or when it is dropped.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/spool_priv.h"

enum { PAUSE_MS = 100, TELL_MS = 10000 };

/* ---- clients --------------------------------------------------------------------------------- */

struct owner *owner_find(const struct spool *s, uint64_t key)
{
    struct hmap_node *n = hmap_first(&s->owners, spool_mix(s, key));
    return n != NULL ? container_of(n, struct owner, by_key) : NULL;
}

struct owner *owner_get(struct spool *s, uint64_t key)
{
    struct owner *o = owner_find(s, key);
    if (o != NULL)
        return o;
    o = calloc(1, sizeof *o);
    if (o == NULL) {
        spool_out_of_memory(s, "client");
        return NULL;
    }
    o->key = key;
    list_init(&o->all);
    list_init(&o->ready);
    list_init(&o->waiting);
    list_init(&o->held);
    list_init(&o->holding);
    list_push_back(&s->all_owners, &o->all);
    hmap_insert(&s->owners, &o->by_key, spool_mix(s, key));
    return o;
}

static struct message *first_of(const struct owner *o)
{
    struct list *link = list_first(&o->waiting);
    return link != NULL ? container_of(link, struct message, place) : NULL;
}

static bool may_send(const struct spool *s, const struct owner *o)
{
    const struct message *m = first_of(o);
    if (m == NULL || m->absent || m->batch > s->committed || o->live > 0)
        return false;
    return o->in_flight == 0 || o->in_flight_qos_2 == (m->qos == 2);
}

void owner_settle(struct spool *s, struct owner *o)
{
    const bool ready = may_send(s, o);
    if (!ready)
        list_unlink(&o->ready);
    else if (!list_linked(&o->ready))
        list_push_back(&s->ready, &o->ready);
    if (o->spooled > 0 || o->live > 0 || !list_empty(&o->held))
        return;
    list_unlink(&o->all);
    hmap_remove(&s->owners, &o->by_key);
    free(o);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct message *message_find(const struct spool *s, uint64_t number)
{
    struct hmap_node *n = hmap_first(&s->messages, number);
    return n != NULL ? container_of(n, struct message, by_number) : NULL;
}

struct message *message_new(struct spool *s, uint64_t number, struct bytes topic, struct body *body)
{
    struct message *m = malloc(sizeof *m + topic.len);
    if (m == NULL) {
        spool_out_of_memory(s, "message");
        return NULL;
    }
    *m = (struct message){
        .number = number,
        .bytes = topic.len + body_bytes(body).len,
        .body = body_ref(body),
        .memory = memory_of(topic.len, body),
        .topic_len = (uint32_t)topic.len,
    };
    if (topic.len > 0)
        memcpy(m->topic, topic.data, topic.len);
    list_init(&m->place);
    list_init(&m->age);
    s->gauges.memory_bytes += m->memory;
    hmap_insert(&s->messages, &m->by_number, number);
    return m;
}

void message_free(struct spool *s, struct message *m)
{
    hmap_remove(&s->messages, &m->by_number);
    list_unlink(&m->place);
    list_unlink(&m->age);
    s->gauges.memory_bytes -= m->memory;
    body_unref(m->body);
    free(m);
}

/* What comes back or is fetched again goes in front of what the client has sent since. The walk is
 * over those that came back before. */
static void put_in_order(struct owner *o, struct message *m)
{
    struct list *at = &o->waiting;
    if (!list_empty(at) && container_of(at->prev, struct message, place)->number > m->number) {
        at = at->next;
        while (container_of(at, struct message, place)->number < m->number)
            at = at->next;
    }
    list_insert_before(at, &m->place);
}

void message_wait(struct spool *s, struct owner *o, struct message *m)
{
    m->owner = o;
    put_in_order(o, m);
    list_push_back(may_be_fetched(s, m) ? &s->ahead : &s->waiting, &m->age);
}

static void leave_place(struct spool *s, struct message *m)
{
    struct owner *o = m->owner;
    if (m->in_flight) {
        o->in_flight--;
        s->gauges.in_flight--;
    }
    m->in_flight = false;
    m->in_doubt = false;
    list_unlink(&m->place);
    list_unlink(&m->age);
}

/* Nothing but its number is left of it. */
static void become_ghost(struct message *m)
{
    m->is_ghost = true;
    m->owner = NULL;
    m->batch = NOT_YET;
    body_unref(m->body);
    m->body = NULL;
}

void refund(struct spool *s, uint64_t bytes)
{
    s->gauges.bytes -= bytes < s->gauges.bytes ? bytes : s->gauges.bytes;
    if (s->gauges.messages == 0)
        s->gauges.bytes = 0;
}

void message_done(struct spool *s, struct message *m)
{
    leave_place(s, m);
    m->owner->spooled--;
    s->gauges.messages--;
    refund(s, m->bytes);
    record_gone(s, m->number);
    earn_room(s);
    meter_gone(s, m->number);
    if (may_be_fetched(s, m))
        become_ghost(m);
    else
        message_free(s, m);
    tell_drained(s);
}

void tell_drained(struct spool *s)
{
    if (!s->draining || s->gauges.messages > 0)
        return;
    s->draining = false;
    if (log_begin(&s->log, LOG_INFO, "spool.drained")) {
        log_int(&s->log, "sent", (int64_t)s->gauges.sent);
        log_end(&s->log);
    }
}

/* ---- dropping -------------------------------------------------------------------------------- */

void tell_dropped(struct spool *s, enum drop kind, uint64_t total)
{
    static const char *const why[] = {[DROP_EXPIRED] = "older_than_max_age",
                                      [DROP_OLDEST] = "spool_full",
                                      [DROP_NEW] = "spool_full",
                                      [DROP_UNUSABLE] = "store_not_usable"};
    const bool refused = kind == DROP_NEW || kind == DROP_UNUSABLE;
    if (s->told[kind] > 0 && s->now_ms - s->told_ms[kind] < TELL_MS)
        return;
    if (log_begin(&s->log, LOG_WARN, refused ? "spool.refused" : "spool.dropped")) {
        log_int(&s->log, "messages", (int64_t)(total - s->told[kind]));
        log_word(&s->log, "why", why[kind]);
        log_end(&s->log);
    }
    s->told[kind] = total;
    s->told_ms[kind] = s->now_ms;
}

static void drop(struct spool *s, struct message *m, enum drop kind)
{
    uint64_t *counter = kind == DROP_EXPIRED ? &s->gauges.expired : &s->gauges.dropped;
    struct owner *o = m->owner;
    (*counter)++;
    message_done(s, m);
    owner_settle(s, o);
    tell_dropped(s, kind, *counter);
}

static bool is_too_old(const struct spool *s, const struct message *m)
{
    return s->config.max_age_ms > 0 && s->now_ms - m->born_ms > s->config.max_age_ms;
}

static bool fits(const struct spool *s, uint64_t bytes)
{
    return s->gauges.messages < s->config.max_messages && bytes <= s->config.max_bytes &&
           s->gauges.bytes <= s->config.max_bytes - bytes;
}

/* What is too old gives way first, also if nothing else may. Those on disk only are fetched when the
 * ones in memory have gone: until then there is no room. */
static bool make_room(struct spool *s, uint64_t bytes)
{
    while (bytes <= s->config.max_bytes && !fits(s, bytes) && !list_empty(&s->waiting)) {
        struct message *m = container_of(list_first(&s->waiting), struct message, age);
        const bool expired = is_too_old(s, m);
        if (!expired && s->config.full == SPOOL_REFUSE)
            break;
        drop(s, m, expired ? DROP_EXPIRED : DROP_OLDEST);
    }
    return fits(s, bytes);
}

/* ---- taking over ----------------------------------------------------------------------------- */

static void enter(struct spool *s, struct owner *o, struct message *m, const struct arrival *a)
{
    m->batch = NOT_YET;
    m->born_ms = s->now_ms;
    m->qos = a->qos;
    m->retain = a->retain;
    m->will = a->will;
    message_wait(s, o, m);
}

/* The record comes first, as it may fail, when all else that may fail has not. */
static bool keep(struct spool *s, const struct arrival *a, uint64_t number, struct owner *o)
{
    const bool in_memory = a->came_back || stays_in_memory(s, o, a->topic.len, a->body);
    struct message *m = in_memory ? message_new(s, number, a->topic, a->body) : NULL;
    if (in_memory && m == NULL)
        return false;
    if (!record_arrival(s, a, number, !in_memory)) {
        if (m != NULL)
            message_free(s, m);
        return false;
    }
    if (m != NULL)
        enter(s, o, m, a);
    else
        left_on_disk(s, o, number);
    return true;
}

bool take_over(struct spool *s, const struct arrival *a)
{
    const uint64_t bytes = a->topic.len + body_bytes(a->body).len;
    if (!make_room(s, bytes))
        return false;
    struct owner *o = owner_get(s, a->client);
    if (o == NULL)
        return false;
    const uint64_t number = a->number != 0 ? a->number : s->last_number + 1;
    const bool kept = keep(s, a, number, o);
    if (kept) {
        o->spooled++;
        s->gauges.messages++;
        s->gauges.bytes += bytes;
        s->gauges.spooled++;
        s->unanswered += is_holdable(a);
    }
    if (kept && a->number == 0)
        s->last_number = number;
    owner_settle(s, o);
    return kept;
}

/* ---- sending --------------------------------------------------------------------------------- */

struct message *first_ready(const struct spool *s)
{
    struct list *first = list_first(&s->ready);
    return first != NULL ? first_of(container_of(first, struct owner, ready)) : NULL;
}

struct message *next_message(struct spool *s)
{
    if (!s->up || s->now_ms < s->pause_until)
        return NULL;
    s->window_full =
        s->gauges.in_flight >= (s->window_full ? s->config.window / 2 + 1 : s->config.window);
    while (!s->window_full && s->gauges.in_flight < s->config.window && !list_empty(&s->ready)) {
        struct message *m = first_ready(s);
        if (!is_too_old(s, m))
            return meter_allows(s, m->bytes) ? m : NULL;
        drop(s, m, DROP_EXPIRED);
    }
    return NULL;
}

void message_sent(struct spool *s, struct message *m)
{
    struct owner *o = m->owner;
    if (s->metered)
        pace_take(&s->pace, (size_t)m->bytes);
    owe(s);
    leave_place(s, m);
    list_push_back(&s->sent, &m->place);
    m->in_flight = true;
    o->in_flight++;
    o->in_flight_qos_2 = m->qos == 2;
    s->gauges.in_flight++;
    list_unlink(&o->ready); /* to the end of the line */
    owner_settle(s, o);
}

void message_returned(struct spool *s, struct message *m)
{
    struct owner *o = m->owner;
    leave_place(s, m);
    put_in_order(o, m);
    list_push_front(&s->waiting, &m->age);
    if (m->absent)
        fetch_again(s, m);
    if (s->up)
        s->pause_until = time_add(s->now_ms, PAUSE_MS);
    owner_settle(s, o);
}
