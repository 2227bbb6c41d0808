/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for the engine lie in a ring. Requests for the connection lie one behind the other in an
 * arena that starts over when it has been drained: no allocation per message.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/shared_priv.h"

enum { EVENTS_FIRST = 64, ARENA_FIRST = 64 * 1024, ARENA_MAX = 64 * 1024 * 1024 };

static void log_out_of_memory(struct shared *s, const char *what)
{
    if (log_begin(&s->log, LOG_ERROR, "memory.exhausted")) {
        log_word(&s->log, "for", what);
        log_end(&s->log);
    }
}

static bool events_reserve(struct event_queue *q)
{
    if (q->count < q->cap)
        return true;
    const size_t cap = q->cap > 0 ? q->cap * 2 : EVENTS_FIRST;
    struct sn_event *ring = calloc(cap, sizeof *ring);
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < q->count; i++)
        ring[i] = q->ring[(q->head + i) % q->cap];
    free(q->ring);
    *q = (struct event_queue){.ring = ring, .cap = cap, .count = q->count};
    return true;
}

void emit(struct shared *s, const struct sn_event *event)
{
    struct event_queue *q = &s->events;
    if (!events_reserve(q)) {
        log_out_of_memory(s, "event");
        return;
    }
    q->ring[(q->head + q->count++) % q->cap] = *event;
}

/* A message waits behind the events that were there before it: it is taken when they are gone. */
bool shared_peek_event(struct shared *s, struct sn_event *out)
{
    const struct event_queue *q = &s->events;
    if (q->count > 0) {
        *out = q->ring[q->head];
        return true;
    }
    if (s->has_message) {
        *out = s->message;
        return true;
    }
    return false;
}

void shared_done_event(struct shared *s)
{
    struct event_queue *q = &s->events;
    if (q->count > 0) {
        q->head = (q->head + 1) % q->cap;
        q->count--;
        return;
    }
    assert(s->has_message);
    s->has_message = false;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* In front of each topic. */
struct parcel {
    struct up_request request; /* topic.data is set when it is taken */
    size_t size;
};

static size_t padded(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

static bool arena_reserve(struct request_arena *a, size_t more)
{
    if (a->cap - a->tail >= more)
        return true;
    size_t cap = a->cap > 0 ? a->cap : ARENA_FIRST;
    while (cap - a->tail < more) {
        if (cap >= ARENA_MAX)
            return false;
        cap *= 2;
    }
    uint8_t *buf = realloc(a->buf, cap);
    if (buf == NULL)
        return false;
    a->buf = buf;
    a->cap = cap;
    return true;
}

bool ask_upstream(struct shared *s, const struct up_request *request)
{
    struct request_arena *a = &s->requests;
    const struct parcel parcel = {.request = *request,
                                  .size = padded(sizeof parcel + request->topic.len)};
    if (!arena_reserve(a, parcel.size)) {
        log_out_of_memory(s, "request");
        return false;
    }
    memcpy(a->buf + a->tail, &parcel, sizeof parcel);
    if (request->topic.len > 0)
        memcpy(a->buf + a->tail + sizeof parcel, request->topic.data, request->topic.len);
    a->tail += parcel.size;
    body_ref(request->body);
    return true;
}

bool shared_peek_upstream(struct shared *s, struct up_request *out)
{
    const struct request_arena *a = &s->requests;
    if (a->head == a->tail)
        return false;
    struct parcel parcel;
    memcpy(&parcel, a->buf + a->head, sizeof parcel);
    *out = parcel.request;
    out->topic.data = a->buf + a->head + sizeof parcel;
    return true;
}

void shared_done_upstream(struct shared *s)
{
    struct request_arena *a = &s->requests;
    assert(a->head != a->tail);
    struct parcel parcel;
    memcpy(&parcel, a->buf + a->head, sizeof parcel);
    body_unref(parcel.request.body);
    a->head += parcel.size;
    if (a->head == a->tail) {
        a->head = 0;
        a->tail = 0;
    }
}

void queues_deinit(struct shared *s)
{
    while (s->requests.head != s->requests.tail)
        shared_done_upstream(s);
    free(s->requests.buf);
    free(s->events.ring);
}
