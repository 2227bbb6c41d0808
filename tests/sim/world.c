/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "sim/world_priv.h"

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
    p->after = out->after;
    list_init(&p->link);
    list_push_back(p->after <= w->table.committed ? &w->packets : &w->held, &p->link);
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
    a->spooled = r->spooled;
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

static bool carry_requests(struct sim_world *w)
{
    struct sn_request request;
    bool moved = false;
    for (; sn_engine_peek_request(w->engine, &request); moved = true) {
        if (w->shared != NULL)
            shared_request(w->shared, w->now_ms, &request);
        else
            collect_ask(w, ask_of_engine(&request));
        sn_engine_done_request(w->engine);
    }
    return moved;
}

static bool carry_events(struct sim_world *w)
{
    struct sn_event event;
    bool moved = false;
    for (; w->shared != NULL && shared_peek_event(w->shared, &event); moved = true) {
        sn_engine_event(w->engine, w->now_ms, &event);
        shared_done_event(w->shared);
    }
    return moved;
}

static bool carry_upstream(struct sim_world *w)
{
    struct up_request request;
    bool moved = false;
    for (; w->shared != NULL && shared_peek_upstream(w->shared, &request); moved = true) {
        if (w->spool != NULL)
            spool_submit(w->spool, w->now_ms, &request);
        else
            collect_ask(w, ask_of_session(&request));
        shared_done_upstream(w->shared);
    }
    for (; w->spool != NULL && spool_peek_request(w->spool, &request); moved = true) {
        sim_given_to_broker(w, &request);
        collect_ask(w, ask_of_session(&request));
        spool_done_request(w->spool);
    }
    return moved;
}

/* What comes out of the spool for the session, and of that for the engine, while what it mentions is
 * there. */
static bool carry_spool_events(struct sim_world *w)
{
    struct up_event event;
    bool moved = false;
    for (; w->spool != NULL && spool_peek_event(w->spool, &event); moved = true) {
        shared_upstream(w->shared, w->now_ms, &event);
        carry_events(w);
        spool_done_event(w->spool);
    }
    return moved;
}

static void carry_packets(struct sim_world *w)
{
    struct sn_outgoing out;
    while (sn_engine_peek_packet(w->engine, &out)) {
        collect_packet(w, &out);
        sn_engine_done_packet(w->engine);
    }
}

void sim_pump(struct sim_world *w)
{
    bool moved = w->engine != NULL;
    while (moved) {
        moved = carry_requests(w);
        moved |= carry_events(w);
        moved |= carry_upstream(w);
        moved |= carry_spool_events(w);
        if (!moved && w->batch != 0) {
            sim_record(w);
            carry_packets(w);
            moved = sim_commit(w);
        }
    }
    if (w->engine == NULL)
        return;
    carry_packets(w);
    drain_log(w, sn_engine_log(w->engine));
    if (w->shared != NULL)
        drain_log(w, shared_log(w->shared));
    if (w->spool != NULL)
        drain_log(w, spool_log(w->spool));
}

/* ---- life cycle and inputs ------------------------------------------------------------------- */

void sim_init(struct sim_world *w, const struct sn_engine_config *config,
              const struct shared_config *shared, int64_t now_ms)
{
    *w = (struct sim_world){.now_ms = now_ms, .engine_config = *config};
    if (shared != NULL)
        w->shared_config = *shared;
    w->shared_config.journal = config->journal;
    w->batch = config->journal ? 1 : 0;
    list_init(&w->packets);
    list_init(&w->asks);
    list_init(&w->held);
    list_init(&w->commits);
    table_init(&w->table);
    w->has_shared = shared != NULL;
    sim_make_machines(w);
}

void sim_deinit(struct sim_world *w)
{
    if (w->engine != NULL)
        sim_pump(w);
    for (struct sim_packet *p = sim_take_packet(w); p != NULL; p = sim_take_packet(w))
        sim_packet_free(p);
    for (struct sim_ask *a = sim_take_ask(w); a != NULL; a = sim_take_ask(w))
        sim_ask_free(a);
    sim_free_machines(w);
    table_deinit(&w->table);
}

void sim_input(struct sim_world *w, const struct peer *from, struct bytes datagram)
{
    sn_engine_input(w->engine, w->now_ms, from, datagram);
    sim_pump(w);
}

void sim_input_group(struct sim_world *w, const struct peer *from, struct bytes datagram)
{
    sn_engine_input_group(w->engine, w->now_ms, from, datagram);
    sim_pump(w);
}

void sim_group(struct sim_world *w, uint16_t link, bool joined)
{
    sn_engine_group(w->engine, w->now_ms, link, joined);
    sim_pump(w);
}

void sim_event(struct sim_world *w, const struct sn_event *event)
{
    assert(w->shared == NULL);
    sn_engine_event(w->engine, w->now_ms, event);
    sim_pump(w);
}

void sim_upstream(struct sim_world *w, const struct up_event *event)
{
    struct up_event e = *event;
    assert(w->shared != NULL);
    if (e.type == UP_MESSAGE && e.qos > 0 && w->batch != 0)
        e.journal = sim_store_message(w, &e);
    sim_pass_upstream(w, &e);
    sim_pump(w);
}

void sim_pass_upstream(struct sim_world *w, const struct up_event *event)
{
    if (w->spool != NULL) {
        sim_taken_by_broker(w, event);
        spool_upstream(w->spool, w->now_ms, event);
        carry_spool_events(w);
    } else {
        shared_upstream(w->shared, w->now_ms, event);
        carry_events(w);
    }
}

int64_t sim_next_deadline(const struct sim_world *w)
{
    if (w->engine == NULL)
        return TIME_NEVER;
    int64_t next = time_min(sn_engine_next_deadline(w->engine), sim_next_commit(w));
    if (w->shared != NULL)
        next = time_min(next, shared_next_deadline(w->shared));
    return w->spool != NULL ? time_min(next, spool_next_deadline(w->spool)) : next;
}

bool sim_advance(struct sim_world *w, int64_t now_ms)
{
    w->now_ms = now_ms;
    if (w->engine == NULL)
        return true;
    sim_commit(w);
    sn_engine_advance(w->engine, now_ms);
    if (w->shared != NULL)
        shared_advance(w->shared, now_ms);
    if (w->spool != NULL)
        spool_advance(w->spool, now_ms);
    const bool kept = sim_next_deadline(w) > now_ms;
    sim_pump(w);
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
