/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/world.h"

#include <assert.h>
#include <stdlib.h>

static void *must(void *ptr)
{
    if (ptr == NULL)
        abort();
    return ptr;
}

static struct body *copy_bytes(struct bytes from)
{
    return from.len > 0 ? must(body_new(from)) : NULL;
}

/* ---- taking outputs -------------------------------------------------------------------------- */

static void collect_packet(struct sim_world *w, const struct sn_outgoing *out)
{
    struct sim_packet *p = must(calloc(1, sizeof *p));
    p->to = must(peer_dup(out->to));
    p->bytes = copy_bytes(out->bytes);
    list_init(&p->link);
    list_push_back(&w->packets, &p->link);
}

static void take_will(struct sim_ask *a, const struct sn_will_view *will)
{
    a->topic = copy_bytes(will->topic);
    a->data = body_ref(will->body);
    a->qos = will->qos;
    a->retain = will->retain;
}

static struct sim_ask *ask_of_engine(const struct sn_request *r)
{
    struct sim_ask *a = must(calloc(1, sizeof *a));
    a->client = r->client;
    a->token = r->token;
    switch (r->type) {
    case SN_REQ_OPEN:
        a->type = ASK_OPEN;
        a->client_id = copy_bytes(r->open.client_id);
        a->clean = r->open.clean;
        a->keep_alive_s = r->open.keep_alive_s;
        a->max_subscriptions = r->open.max_subscriptions;
        take_will(a, &r->open.will);
        break;
    case SN_REQ_PUBLISH:
        a->type = ASK_PUBLISH;
        a->topic = copy_bytes(r->publish.topic);
        a->data = body_ref(r->publish.body);
        a->qos = r->publish.qos;
        a->retain = r->publish.retain;
        break;
    case SN_REQ_SUBSCRIBE:
        a->type = ASK_SUBSCRIBE;
        a->topic = copy_bytes(r->subscribe.filter);
        a->qos = r->subscribe.qos;
        break;
    case SN_REQ_UNSUBSCRIBE:
        a->type = ASK_UNSUBSCRIBE;
        a->topic = copy_bytes(r->unsubscribe.filter);
        break;
    case SN_REQ_SET_WILL:
        a->type = ASK_SET_WILL;
        take_will(a, &r->set_will.will);
        break;
    case SN_REQ_DELIVERED:
        a->type = ASK_DELIVERED;
        a->delivery_id = r->delivered.delivery_id;
        a->dropped = r->delivered.dropped;
        break;
    case SN_REQ_CLOSE:
        a->type = ASK_CLOSE;
        a->lost = r->close.how == SN_CLOSE_LOST;
        a->discard = r->close.discard;
        break;
    }
    return a;
}

static struct sim_ask *ask_of_session(const struct up_request *r)
{
    static const enum sim_ask_type type_of[] = {
        [UP_PUBLISH] = ASK_PUBLISH,
        [UP_SUBSCRIBE] = ASK_SUBSCRIBE,
        [UP_UNSUBSCRIBE] = ASK_UNSUBSCRIBE,
    };
    struct sim_ask *a = must(calloc(1, sizeof *a));
    a->type = type_of[r->type];
    a->token = r->token;
    a->topic = copy_bytes(r->topic);
    a->data = body_ref(r->body);
    a->qos = r->qos;
    a->retain = r->retain;
    return a;
}

static void collect_ask(struct sim_world *w, struct sim_ask *a)
{
    list_init(&a->link);
    list_push_back(&w->asks, &a->link);
}

static void drain_log(struct sim_world *w, struct log_ring *ring)
{
    for (const struct log_record *r = log_peek(ring); r != NULL; r = log_peek(ring)) {
        if (w->log != NULL)
            w->log(w->log_arg, r);
        log_done(ring);
    }
}

/* One round between engine and session; true when something moved. */
static bool exchange(struct sim_world *w)
{
    bool moved = false;
    struct sn_request request;
    struct sn_event event;
    for (; sn_engine_peek_request(w->engine, &request); moved = true) {
        if (w->shared != NULL)
            shared_request(w->shared, w->now_ms, &request);
        else
            collect_ask(w, ask_of_engine(&request));
        sn_engine_done_request(w->engine);
    }
    for (; w->shared != NULL && shared_peek_event(w->shared, &event); moved = true) {
        sn_engine_event(w->engine, w->now_ms, &event);
        shared_done_event(w->shared);
    }
    return moved;
}

static void pump(struct sim_world *w)
{
    while (exchange(w))
        ;
    struct sn_outgoing out;
    while (sn_engine_peek_packet(w->engine, &out)) {
        collect_packet(w, &out);
        sn_engine_done_packet(w->engine);
    }
    struct up_request request;
    while (w->shared != NULL && shared_peek_upstream(w->shared, &request)) {
        collect_ask(w, ask_of_session(&request));
        shared_done_upstream(w->shared);
    }
    drain_log(w, sn_engine_log(w->engine));
    if (w->shared != NULL)
        drain_log(w, shared_log(w->shared));
}

/* ---- life cycle and inputs ------------------------------------------------------------------- */

void sim_init(struct sim_world *w, const struct sn_engine_config *config,
              const struct shared_config *shared, int64_t now_ms)
{
    *w = (struct sim_world){.now_ms = now_ms};
    w->engine = must(sn_engine_new(config, now_ms));
    if (shared != NULL)
        w->shared = must(shared_new(shared, now_ms));
    list_init(&w->packets);
    list_init(&w->asks);
}

void sim_deinit(struct sim_world *w)
{
    if (w->engine != NULL)
        pump(w);
    for (struct sim_packet *p = sim_take_packet(w); p != NULL; p = sim_take_packet(w))
        sim_packet_free(p);
    for (struct sim_ask *a = sim_take_ask(w); a != NULL; a = sim_take_ask(w))
        sim_ask_free(a);
    sn_engine_free(w->engine);
    shared_free(w->shared);
    w->engine = NULL;
    w->shared = NULL;
}

void sim_input(struct sim_world *w, const struct peer *from, struct bytes datagram)
{
    sn_engine_input(w->engine, w->now_ms, from, datagram);
    pump(w);
}

void sim_input_group(struct sim_world *w, const struct peer *from, struct bytes datagram)
{
    sn_engine_input_group(w->engine, w->now_ms, from, datagram);
    pump(w);
}

void sim_group(struct sim_world *w, uint16_t link, bool joined)
{
    sn_engine_group(w->engine, w->now_ms, link, joined);
    pump(w);
}

void sim_event(struct sim_world *w, const struct sn_event *event)
{
    assert(w->shared == NULL);
    sn_engine_event(w->engine, w->now_ms, event);
    pump(w);
}

void sim_upstream(struct sim_world *w, const struct up_event *event)
{
    assert(w->shared != NULL);
    shared_upstream(w->shared, w->now_ms, event);
    pump(w);
}

int64_t sim_next_deadline(const struct sim_world *w)
{
    const int64_t engine = sn_engine_next_deadline(w->engine);
    return w->shared != NULL ? time_min(engine, shared_next_deadline(w->shared)) : engine;
}

bool sim_advance(struct sim_world *w, int64_t now_ms)
{
    w->now_ms = now_ms;
    sn_engine_advance(w->engine, now_ms);
    if (w->shared != NULL)
        shared_advance(w->shared, now_ms);
    const bool kept = sim_next_deadline(w) > now_ms;
    pump(w);
    return kept && sim_next_deadline(w) > now_ms;
}

struct sim_packet *sim_take_packet(struct sim_world *w)
{
    struct list *link = list_pop_front(&w->packets);
    return link != NULL ? container_of(link, struct sim_packet, link) : NULL;
}

struct sim_ask *sim_take_ask(struct sim_world *w)
{
    struct list *link = list_pop_front(&w->asks);
    return link != NULL ? container_of(link, struct sim_ask, link) : NULL;
}

void sim_packet_free(struct sim_packet *p)
{
    free(p->to);
    body_unref(p->bytes);
    free(p);
}

void sim_ask_free(struct sim_ask *a)
{
    body_unref(a->client_id);
    body_unref(a->topic);
    body_unref(a->data);
    free(a);
}
