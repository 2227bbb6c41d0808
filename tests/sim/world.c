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

/* ---- the store ------------------------------------------------------------------------------- */

struct sim_commit {
    struct list link;
    uint64_t batch;
    int64_t at_ms;
};

/* The session's first: what it records of a client that is discarded comes before that. */
static void record(struct sim_world *w)
{
    struct sn_record r;
    const uint64_t before = w->table.written;
    for (; w->shared != NULL && shared_peek_record(w->shared, &r); shared_done_record(w->shared))
        table_put(&w->table, w->batch, &r);
    for (; sn_engine_peek_record(w->engine, &r); sn_engine_done_record(w->engine))
        table_put(&w->table, w->batch, &r);
    if (w->table.written == before)
        return;
    struct sim_commit *commit = must(calloc(1, sizeof *commit));
    *commit = (struct sim_commit){.batch = w->batch, .at_ms = w->now_ms + w->commit_ms};
    list_init(&commit->link);
    list_push_back(&w->commits, &commit->link);
    sn_engine_batch(w->engine, ++w->batch);
}

static struct sim_commit *next_commit(const struct sim_world *w)
{
    struct list *link = list_first(&w->commits);
    return link != NULL ? container_of(link, struct sim_commit, link) : NULL;
}

static void commit_due(struct sim_world *w)
{
    for (struct sim_commit *c = next_commit(w); c != NULL && c->at_ms <= w->now_ms;
         c = next_commit(w)) {
        table_commit(&w->table, c->batch);
        list_unlink(&c->link);
        free(c);
    }
    list_foreach_safe (link, next, &w->held) {
        if (container_of(link, struct sim_packet, link)->after > w->table.committed)
            continue;
        list_unlink(link);
        list_push_back(&w->packets, link);
    }
}

static void pump(struct sim_world *w)
{
    while (exchange(w))
        ;
    if (w->batch != 0)
        record(w);
    struct sn_outgoing out;
    while (sn_engine_peek_packet(w->engine, &out)) {
        collect_packet(w, &out);
        sn_engine_done_packet(w->engine);
    }
    commit_due(w);
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

static void make_machines(struct sim_world *w, bool shared)
{
    w->engine = must(sn_engine_new(&w->engine_config, w->now_ms));
    w->shared = shared ? must(shared_new(&w->shared_config, w->now_ms)) : NULL;
    if (w->batch != 0)
        sn_engine_batch(w->engine, w->batch);
}

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
    make_machines(w, shared != NULL);
}

static void forget_held(struct sim_world *w)
{
    for (struct sim_commit *c = next_commit(w); c != NULL; c = next_commit(w)) {
        list_unlink(&c->link);
        free(c);
    }
    for (struct list *link = list_pop_front(&w->held); link != NULL;
         link = list_pop_front(&w->held))
        sim_packet_free(container_of(link, struct sim_packet, link));
}

void sim_deinit(struct sim_world *w)
{
    if (w->engine != NULL)
        pump(w);
    for (struct sim_packet *p = sim_take_packet(w); p != NULL; p = sim_take_packet(w))
        sim_packet_free(p);
    for (struct sim_ask *a = sim_take_ask(w); a != NULL; a = sim_take_ask(w))
        sim_ask_free(a);
    forget_held(w);
    table_deinit(&w->table);
    sn_engine_free(w->engine);
    shared_free(w->shared);
    w->engine = NULL;
    w->shared = NULL;
}

static void restore_rows(const struct sim_table *t, struct sn_engine *engine, struct shared *shared)
{
    struct sim_row **rows = table_sorted(t);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct sn_record *r = &rows[i]->record;
        if (r->type != SN_REC_SUBSCRIPTION && sn_engine_restore(engine, r) < 0)
            abort();
        if (r->type == SN_REC_SUBSCRIPTION && shared != NULL && shared_restore(shared, r) < 0)
            abort();
    }
    free(rows);
}

void sim_restart(struct sim_world *w)
{
    assert(w->batch != 0);
    const bool shared = w->shared != NULL;
    sn_engine_free(w->engine);
    shared_free(w->shared);
    forget_held(w);
    table_crash(&w->table);
    make_machines(w, shared);
    restore_rows(&w->table, w->engine, w->shared);
    sn_engine_restored(w->engine, w->now_ms);
    pump(w);
}

static void record_all(struct sn_engine *engine, struct shared *shared, struct sim_table *out)
{
    struct sn_record r;
    table_init(out);
    sn_engine_record_all(engine);
    for (; sn_engine_peek_record(engine, &r); sn_engine_done_record(engine))
        table_put(out, 1, &r);
    if (shared != NULL)
        shared_record_all(shared);
    for (; shared != NULL && shared_peek_record(shared, &r); shared_done_record(shared))
        table_put(out, 1, &r);
    table_commit(out, 1);
}

static void copy_table(const struct sim_table *from, struct sim_table *to)
{
    table_init(to);
    list_foreach (link, &from->all)
        table_put(to, 1, &container_of(link, struct sim_row, link)->record);
    list_foreach (link, &from->pending)
        table_put(to, 1, &container_of(link, struct sim_row, link)->record);
    table_commit(to, 1);
}

bool sim_stored_well(const struct sim_world *w, char *why, size_t size)
{
    const bool shared = w->shared != NULL;
    struct sim_table stored, live, again;
    struct sim_world fresh = {
        .now_ms = w->now_ms, .engine_config = w->engine_config, .shared_config = w->shared_config};
    copy_table(&w->table, &stored);
    record_all(w->engine, w->shared, &live);
    make_machines(&fresh, shared);
    restore_rows(&stored, fresh.engine, fresh.shared);
    record_all(fresh.engine, fresh.shared, &again);
    const bool well = table_orderly(&stored, why, size) &&
                      table_same(&stored, &live, shared, why, size) &&
                      table_same(&stored, &again, shared, why, size);
    table_deinit(&stored);
    table_deinit(&live);
    table_deinit(&again);
    sn_engine_free(fresh.engine);
    shared_free(fresh.shared);
    return well;
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
    int64_t next = sn_engine_next_deadline(w->engine);
    if (w->shared != NULL)
        next = time_min(next, shared_next_deadline(w->shared));
    const struct sim_commit *commit = next_commit(w);
    return commit != NULL ? time_min(next, commit->at_ms) : next;
}

bool sim_advance(struct sim_world *w, int64_t now_ms)
{
    w->now_ms = now_ms;
    commit_due(w);
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
