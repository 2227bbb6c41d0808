/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages that are on disk only, and how they come back to memory (spool_priv.h, "Memory and disk").
 */
#include <assert.h>

#include "broker/spool_priv.h"

enum {
    CHUNK_ROWS = 2048,
    CHUNK_MIN_BYTES = 4096,
    RETRY_MS = 1000,
    BEYOND_REACH_MS = 60000,
};

size_t memory_of(size_t topic_len, const struct body *body)
{
    return sizeof(struct message) + topic_len + body_size(body);
}

bool stays_in_memory(const struct spool *s, const struct owner *o, size_t topic_len,
                     struct body *body)
{
    const bool overtakes = s->n_disk > 0;
    if (overtakes && (!s->up || o->on_disk > 0))
        return false;
    const size_t max = s->config.max_memory_bytes;
    return s->gauges.memory_bytes + memory_of(topic_len, body) <= max + (overtakes ? max / 4 : 0);
}

void left_on_disk(struct spool *s, struct owner *o, uint64_t number)
{
    if (s->n_disk == 0)
        s->cursor = number - 1;
    s->n_disk++;
    s->n_disk_new++;
    o->on_disk++;
}

bool may_be_fetched(const struct spool *s, const struct message *m)
{
    return s->n_disk > 0 && m->number > s->cursor;
}

void fetch_again(struct spool *s, struct message *m)
{
    list_unlink(&m->age);
    list_push_back(&s->absent, &m->age);
}

bool is_beyond_reach(const struct spool *s, const struct owner *o)
{
    const bool long_since =
        s->unreadable_ms != TIME_NEVER && s->now_ms - s->unreadable_ms >= BEYOND_REACH_MS;
    return !s->usable && long_since && list_empty(&o->waiting) && o->in_flight == 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* The store sees all batches but the present one: what was deleted before won't come back. */
static void lay_ghosts(struct spool *s)
{
    while (!list_empty(&s->ghosts)) {
        struct message *m = container_of(list_first(&s->ghosts), struct message, place);
        if (m->batch >= s->batch)
            return;
        message_free(s, m);
    }
}

bool spool_wants_fetch(struct spool *s, uint64_t *after, unsigned *n, size_t *max_bytes)
{
    if (s->fetching != FETCH_NONE || s->now_ms < s->fetch_retry)
        return false;
    lay_ghosts(s);
    const size_t max = s->config.max_memory_bytes;
    const uint64_t used = s->gauges.memory_bytes;
    *max_bytes = used + CHUNK_MIN_BYTES < max ? (size_t)(max - used) : CHUNK_MIN_BYTES;
    s->fetch_rows = 0;
    s->fetch_broken = false;
    if (!list_empty(&s->absent)) {
        s->fetch_one = container_of(list_first(&s->absent), struct message, age)->number;
        *after = s->fetch_one - 1;
        *n = 1;
        s->fetching = FETCH_ONE;
        return true;
    }
    if (s->n_disk == 0 || used > max / 2)
        return false;
    *after = s->cursor;
    *n = (unsigned)(*max_bytes / sizeof(struct message)) + 1;
    if (*n > CHUNK_ROWS)
        *n = CHUNK_ROWS;
    s->fetching = FETCH_CHUNK;
    s->fetch_complete = s->n_disk_new == 0 && s->disk_batch < s->batch;
    return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static struct message *from_row(struct spool *s, const struct spool_row *row)
{
    struct message *m = message_new(s, row->number, row->topic, row->body);
    if (m == NULL)
        return NULL;
    m->born_ms = s->now_ms - row->age_ms;
    m->qos = row->qos;
    m->retain = row->retain;
    m->will = row->will;
    return m;
}

/* The place of the one that is absent goes to what it says. */
static void fill_absent(struct spool *s, const struct spool_row *row)
{
    struct message *old = message_find(s, row->number);
    if (old == NULL || !old->absent || old->in_flight)
        return;
    struct message *m = from_row(s, row);
    if (m == NULL) {
        s->fetch_broken = true;
        return;
    }
    struct owner *o = old->owner;
    m->bytes = old->bytes;
    message_free(s, old);
    message_wait(s, o, m);
    owner_settle(s, o);
}

/* Nothing is on disk only any more, and all are by age again. */
static void join_ahead(struct spool *s)
{
    for (struct list *link; (link = list_pop_front(&s->ahead)) != NULL;)
        list_push_back(&s->waiting, link);
}

/* A row that nobody had told of counts from now on. */
static void count_in(struct spool *s, struct owner *o, const struct message *m)
{
    if (o->on_disk > 0 && s->n_disk > 0) {
        o->on_disk--;
        s->n_disk--;
        return;
    }
    o->spooled++;
    s->gauges.messages++;
    s->gauges.bytes += m->bytes;
}

static void take_row(struct spool *s, const struct spool_row *row)
{
    if (row->number <= s->cursor)
        return; /* it has been here */
    if (message_find(s, row->number) == NULL) {
        struct owner *o = owner_get(s, row->client);
        struct message *m = o != NULL ? from_row(s, row) : NULL;
        if (m == NULL) {
            s->fetch_broken = true;
            if (o != NULL)
                owner_settle(s, o);
            return;
        }
        count_in(s, o, m);
        s->cursor = row->number;
        message_wait(s, o, m);
        owner_settle(s, o);
    }
    s->cursor = row->number;
    if (s->n_disk == 0)
        join_ahead(s);
    if (row->number > s->last_number)
        s->last_number = row->number;
}

void spool_fetched(struct spool *s, int64_t now_ms, const struct spool_row *row)
{
    spool_advance(s, now_ms);
    s->fetch_rows++;
    if (s->fetch_broken)
        return;
    if (s->fetching == FETCH_ONE)
        fill_absent(s, row);
    else if (s->fetching == FETCH_CHUNK)
        take_row(s, row);
}

/* ---- the end of an answer -------------------------------------------------------------------- */

static void count_lost(struct spool *s, uint64_t n)
{
    s->gauges.lost += n;
    if (log_begin(&s->log, LOG_ERROR, "spool.lost")) {
        log_int(&s->log, "messages", (int64_t)n);
        log_text(&s->log, "hint", "the store had them no more: see its own errors");
        log_end(&s->log);
    }
}

/* The store has nothing any more of what it should have: after it had failed. What these messages
 * had of the bytes is no longer known; it is as much as others don't need. */
static void give_up_disk(struct spool *s)
{
    const uint64_t lost = s->n_disk;
    list_foreach_safe (link, next, &s->all_owners) {
        struct owner *o = container_of(link, struct owner, all);
        o->spooled -= o->on_disk;
        o->on_disk = 0;
        owner_settle(s, o);
    }
    s->n_disk = 0;
    s->gauges.messages -= lost;
    s->gauges.bytes = 0;
    list_foreach (link, &s->sent)
        s->gauges.bytes += container_of(link, struct message, place)->bytes;
    list_foreach (link, &s->waiting)
        s->gauges.bytes += container_of(link, struct message, age)->bytes;
    list_foreach (link, &s->ahead)
        s->gauges.bytes += container_of(link, struct message, age)->bytes;
    list_foreach (link, &s->absent)
        s->gauges.bytes += container_of(link, struct message, age)->bytes;
    join_ahead(s);
    meter_lost(s);
    count_lost(s, lost);
    tell_drained(s);
}

/* Unless it has come. */
static void give_up_absent(struct spool *s, uint64_t number)
{
    struct message *m = message_find(s, number);
    if (m == NULL || !m->absent || m->in_flight)
        return;
    struct owner *o = m->owner;
    const bool was_sent = m->abandoned;
    message_done(s, m);
    owner_settle(s, o);
    if (was_sent)
        s->gauges.sent++;
    else
        count_lost(s, 1);
}

static void try_later(struct spool *s)
{
    s->fetch_retry = time_add(s->now_ms, RETRY_MS);
    if (s->unreadable_ms == TIME_NEVER)
        s->unreadable_ms = s->now_ms;
}

void spool_fetch_done(struct spool *s, int64_t now_ms, bool failed)
{
    spool_advance(s, now_ms);
    const enum fetching what = s->fetching;
    s->fetching = FETCH_NONE;
    if (failed || s->fetch_broken) {
        try_later(s);
        return;
    }
    s->unreadable_ms = TIME_NEVER;
    if (what == FETCH_ONE)
        give_up_absent(s, s->fetch_one);
    if (what != FETCH_CHUNK || s->fetch_rows > 0 || s->n_disk == 0 || !s->fetch_complete)
        return;
    if (s->usable)
        give_up_disk(s);
    else
        try_later(s);
}
