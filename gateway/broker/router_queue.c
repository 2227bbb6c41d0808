/* SPDX-License-Identifier: Apache-2.0 */
/* What waits to be taken: events in a ring, requests as parcels in one block. */
#include <assert.h>
#include <stdlib.h>

#include "broker/router_priv.h"

enum { EVENTS_FIRST = 64, REQUESTS_MAX = 64 * 1024 * 1024, RECORDS_MAX = 64 * 1024 * 1024 };

void router_no_memory(struct router *r, const char *what)
{
    r->gauges.dropped++;
    if (log_begin(&r->log, LOG_ERROR, "memory.exhausted")) {
        log_word(&r->log, "for", what);
        log_end(&r->log);
    }
}

static bool events_reserve(struct event_ring *q)
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
    *q = (struct event_ring){.ring = ring, .cap = cap, .count = q->count};
    return true;
}

void router_tell(struct router *r, const struct sn_event *event)
{
    struct event_ring *q = &r->events;
    if (!events_reserve(q)) {
        router_no_memory(r, "event");
        return;
    }
    q->ring[(q->head + q->count++) % q->cap] = *event;
}

/* Messages wait behind the events that were there before. */
bool router_peek_event(struct router *r, struct sn_event *out)
{
    const struct event_ring *q = &r->events;
    if (q->count == 0)
        return router_peek_message(r, out);
    *out = q->ring[q->head];
    return true;
}

void router_done_event(struct router *r)
{
    struct event_ring *q = &r->events;
    if (q->count == 0) {
        router_done_message(r);
        return;
    }
    q->head = (q->head + 1) % q->cap;
    q->count--;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Followed by the peer, the text (topic, filter, client id) and the topic of the will. */
struct queued {
    struct sn_request request;
    uint32_t broker;
    uint32_t peer_size;
    uint32_t text_len;
    uint32_t will_len;
};

/* The text of a request; NULL: it has none. */
static struct bytes *text_of(struct sn_request *q)
{
    switch (q->type) {
    case SN_REQ_OPEN:
        return &q->open.client_id;
    case SN_REQ_PUBLISH:
        return &q->publish.topic;
    case SN_REQ_SUBSCRIBE:
        return &q->subscribe.filter;
    case SN_REQ_UNSUBSCRIBE:
        return &q->unsubscribe.filter;
    case SN_REQ_SET_WILL:
    case SN_REQ_DELIVERED:
    case SN_REQ_CLOSE:
        break;
    }
    return NULL;
}

static struct sn_will_view *will_of(struct sn_request *q)
{
    if (q->type == SN_REQ_OPEN)
        return &q->open.will;
    return q->type == SN_REQ_SET_WILL ? &q->set_will.will : NULL;
}

static const struct peer **peer_of(struct sn_request *q)
{
    if (q->type == SN_REQ_OPEN)
        return &q->open.peer;
    return q->type == SN_REQ_PUBLISH ? &q->publish.peer : NULL;
}

static struct body *body_of(struct sn_request *q)
{
    const struct sn_will_view *will = will_of(q);
    if (will != NULL)
        return will->body;
    return q->type == SN_REQ_PUBLISH ? q->publish.body : NULL;
}

bool router_ask(struct router *r, unsigned broker, const struct sn_request *request)
{
    struct queued head = {.request = *request, .broker = broker};
    const struct bytes *text = text_of(&head.request);
    const struct sn_will_view *will = will_of(&head.request);
    const struct peer *const *peer = peer_of(&head.request);
    head.text_len = text != NULL ? (uint32_t)text->len : 0;
    head.will_len = will != NULL ? (uint32_t)will->topic.len : 0;
    head.peer_size = peer != NULL && *peer != NULL ? (uint32_t)peer_size(*peer) : 0;
    const size_t size = sizeof head + head.peer_size + head.text_len + head.will_len;
    uint8_t *at = parcels_room(&r->requests, size);
    if (at == NULL) {
        router_no_memory(r, "request");
        return false;
    }
    struct writer w = wr_to(at, size);
    wr_bytes(&w, bytes_of(&head, sizeof head));
    if (head.peer_size > 0)
        wr_bytes(&w, peer_key(*peer));
    if (head.text_len > 0)
        wr_bytes(&w, *text);
    if (head.will_len > 0)
        wr_bytes(&w, will->topic);
    parcels_add(&r->requests, size);
    body_ref(body_of(&head.request));
    return true;
}

bool router_peek_request(struct router *r, unsigned *broker, struct sn_request *out)
{
    const uint8_t *at = parcels_first(&r->requests);
    if (at == NULL)
        return false;
    struct queued head;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    const struct peer **peer = peer_of(&head.request);
    if (peer != NULL)
        *peer = head.peer_size > 0 ? (const struct peer *)(const void *)at : NULL;
    at += head.peer_size;
    struct bytes *text = text_of(&head.request);
    if (text != NULL)
        *text = bytes_of(at, head.text_len);
    at += head.text_len;
    struct sn_will_view *will = will_of(&head.request);
    if (will != NULL)
        will->topic = bytes_of(at, head.will_len);
    *broker = head.broker;
    *out = head.request;
    return true;
}

void router_done_request(struct router *r)
{
    struct sn_request request;
    unsigned broker;
    if (router_peek_request(r, &broker, &request))
        body_unref(body_of(&request));
    parcels_done(&r->requests);
}

void router_queues_init(struct router *r)
{
    parcels_init(&r->requests, REQUESTS_MAX);
    parcels_init(&r->records, RECORDS_MAX);
    parcels_init(&r->restored, RECORDS_MAX);
}

void router_queues_deinit(struct router *r)
{
    while (parcels_first(&r->requests) != NULL)
        router_done_request(r);
    parcels_deinit(&r->requests);
    parcels_deinit(&r->records);
    parcels_deinit(&r->restored);
    free(r->events.ring);
}
