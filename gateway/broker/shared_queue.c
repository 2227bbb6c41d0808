/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events for the engine lie in a ring. Requests for the connection lie as parcels in one block: no
 * allocation per message.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/shared_priv.h"

enum { EVENTS_FIRST = 64, REQUESTS_MAX = 64 * 1024 * 1024, RECORDS_MAX = 64 * 1024 * 1024 };

void log_out_of_memory(struct shared *s, const char *what)
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
    assert(q->count == q->cap);
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

/* A parcel is a request and, behind it, the topic. */
bool ask_upstream(struct shared *s, const struct up_request *request)
{
    const size_t size = sizeof *request + request->topic.len;
    uint8_t *at = parcels_room(&s->requests, size);
    if (at == NULL) {
        log_out_of_memory(s, "request");
        return false;
    }
    memcpy(at, request, sizeof *request);
    if (request->topic.len > 0)
        memcpy(at + sizeof *request, request->topic.data, request->topic.len);
    parcels_add(&s->requests, size);
    body_ref(request->body);
    return true;
}

bool shared_peek_upstream(struct shared *s, struct up_request *out)
{
    const uint8_t *at = parcels_first(&s->requests);
    if (at == NULL)
        return false;
    memcpy(out, at, sizeof *out);
    out->topic.data = at + sizeof *out;
    return true;
}

void shared_done_upstream(struct shared *s)
{
    struct up_request request;
    if (shared_peek_upstream(s, &request))
        body_unref(request.body);
    parcels_done(&s->requests);
}

void queues_init(struct shared *s)
{
    parcels_init(&s->requests, REQUESTS_MAX);
    parcels_init(&s->records, RECORDS_MAX);
}

void queues_deinit(struct shared *s)
{
    while (parcels_first(&s->requests) != NULL)
        shared_done_upstream(s);
    parcels_deinit(&s->requests);
    free(s->events.ring);
}
