/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <stdlib.h>

#include "sim/world_priv.h"

struct sim_commit {
    struct list link;
    uint64_t batch;
    int64_t at_ms;
};

static void *must(void *ptr)
{
    if (ptr == NULL)
        abort();
    return ptr;
}

static struct sim_commit *next_commit(const struct sim_world *w)
{
    struct list *link = list_first(&w->commits);
    return link != NULL ? container_of(link, struct sim_commit, link) : NULL;
}

int64_t sim_next_commit(const struct sim_world *w)
{
    const struct sim_commit *c = next_commit(w);
    return c != NULL ? c->at_ms : TIME_NEVER;
}

/* ---- machines -------------------------------------------------------------------------------- */

static void start_batch(struct sim_world *w)
{
    sn_engine_batch(w->engine, w->batch);
    if (w->spool != NULL)
        spool_batch(w->spool, w->batch);
}

void sim_make_machines(struct sim_world *w)
{
    w->engine = must(sn_engine_new(&w->engine_config, w->now_ms));
    w->shared = w->has_shared ? must(shared_new(&w->shared_config, w->now_ms)) : NULL;
    w->spool = w->has_spool ? must(spool_new(&w->spool_config, w->now_ms)) : NULL;
    w->accepting = false;
    if (w->batch != 0)
        start_batch(w);
}

void sim_free_machines(struct sim_world *w)
{
    for (struct sim_commit *c = next_commit(w); c != NULL; c = next_commit(w)) {
        list_unlink(&c->link);
        free(c);
    }
    for (struct list *link = list_pop_front(&w->held); link != NULL;
         link = list_pop_front(&w->held))
        sim_packet_free(container_of(link, struct sim_packet, link));
    sn_engine_free(w->engine);
    shared_free(w->shared);
    spool_free(w->spool);
    w->engine = NULL;
    w->shared = NULL;
    w->spool = NULL;
}

/* ---- what goes in ---------------------------------------------------------------------------- */

/* While the store fails, what it would forget is as good as not told. */
static void put(struct sim_world *w, const struct sn_record *r, bool *any)
{
    *any = true;
    if (!w->failing || table_survives_failing(r))
        table_put(&w->table, w->batch, r);
}

/* The session's first: what it records of a client that is discarded comes before that. */
void sim_record(struct sim_world *w)
{
    struct sn_record r;
    bool any = false;
    for (; w->shared != NULL && shared_peek_record(w->shared, &r); shared_done_record(w->shared))
        put(w, &r, &any);
    for (; w->spool != NULL && spool_peek_record(w->spool, &r); spool_done_record(w->spool))
        put(w, &r, &any);
    for (; sn_engine_peek_record(w->engine, &r); sn_engine_done_record(w->engine))
        put(w, &r, &any);
    if (w->routed != 0)
        put(w, &(struct sn_record){.type = SN_REC_ROUTED, .routed = {.journal = w->routed}}, &any);
    w->routed = 0;
    if (!any)
        return;
    if (w->failing) { /* nobody waits for it */
        table_commit(&w->table, w->batch++);
        start_batch(w);
        return;
    }
    struct sim_commit *commit = must(calloc(1, sizeof *commit));
    *commit = (struct sim_commit){.batch = w->batch, .at_ms = w->now_ms + w->commit_ms};
    list_init(&commit->link);
    list_push_back(&w->commits, &commit->link);
    w->batch++;
    start_batch(w);
}

uint64_t sim_store_message(struct sim_world *w, const struct up_event *event)
{
    const struct sim_message m = {
        .topic = event->topic,
        .body = event->body,
        .qos = event->qos,
        .retain = event->retain,
        .expires_ms = event->expiry_s > 0 ? w->now_ms + INT64_C(1000) * event->expiry_s : 0};
    w->routed = w->failing ? 0 : table_message(&w->table, &m);
    return w->routed;
}

static bool fetch(struct sim_world *w)
{
    uint64_t after;
    unsigned n;
    size_t max_bytes;
    if (!spool_wants_fetch(w->spool, &after, &n, &max_bytes))
        return false;
    if (w->failing) {
        spool_fetch_done(w->spool, w->now_ms, true);
        return true;
    }
    struct sim_table seen;
    table_copy(&w->table, &seen);
    struct sim_row **rows = table_sorted(&seen);
    for (size_t i = 0; i < seen.n_rows && n > 0; i++) {
        const struct sn_record *r = &rows[i]->record;
        if (r->type != SN_REC_SPOOL || r->spool.number <= after || table_is_sent(&seen, r))
            continue;
        spool_fetched(w->spool, w->now_ms,
                      &(struct spool_row){.number = r->spool.number,
                                          .client = r->client,
                                          .topic = r->spool.topic,
                                          .body = r->spool.body,
                                          .qos = r->spool.qos,
                                          .retain = r->spool.retain,
                                          .will = r->spool.will});
        n--;
    }
    spool_fetch_done(w->spool, w->now_ms, false);
    free(rows);
    table_deinit(&seen);
    return true;
}

static bool tell_spool(struct sim_world *w)
{
    spool_committed(w->spool, w->now_ms, w->table.committed);
    const bool accepting = spool_accepting(w->spool);
    if (accepting != w->accepting)
        shared_accepting(w->shared, w->now_ms, accepting);
    const bool moved = accepting != w->accepting;
    w->accepting = accepting;
    return fetch(w) || moved;
}

bool sim_commit(struct sim_world *w)
{
    bool moved = false;
    for (struct sim_commit *c = next_commit(w); c != NULL && c->at_ms <= w->now_ms;
         c = next_commit(w)) {
        table_commit(&w->table, c->batch);
        list_unlink(&c->link);
        free(c);
        moved = true;
    }
    list_foreach_safe (link, next, &w->held) {
        if (container_of(link, struct sim_packet, link)->after > w->table.committed)
            continue;
        list_unlink(link);
        list_push_back(&w->packets, link);
    }
    return w->spool != NULL && (tell_spool(w) || moved);
}

/* ---- the connection's own store -------------------------------------------------------------- */

void sim_given_to_broker(struct sim_world *w, const struct up_request *request)
{
    if (request->type == UP_PUBLISH && request->qos == 2 && request->spooled != 0)
        table_sent(&w->table, request->spooled, true);
}

void sim_taken_by_broker(struct sim_world *w, const struct up_event *event)
{
    if (event->type != UP_PUBLISHED || event->qos != 2 || event->spooled == 0)
        return;
    if (event->result == UP_BUSY)
        table_sent(&w->table, event->spooled, false);
    else if (event->result != UP_IN_DOUBT)
        table_arrived(&w->table, event->spooled);
}

/* ---- what comes back ------------------------------------------------------------------------- */

static void restore_spool(const struct sim_table *t, struct sim_row **rows, struct spool *spool)
{
    uint64_t last = 0;
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct sn_record *r = &rows[i]->record;
        if (r->type != SN_REC_SPOOL)
            continue;
        const uint64_t bytes = r->spool.topic.len + body_bytes(r->spool.body).len;
        last = r->spool.number > last ? r->spool.number : last;
        const int rc = table_is_sent(t, r)
                           ? spool_restore_sent(spool, r->spool.number, r->client, bytes)
                           : spool_restore(spool, r->client, 1, bytes, 0);
        if (rc < 0)
            abort();
    }
    if (spool_restore(spool, SN_NO_CLIENT, 0, 0, last) < 0)
        abort();
}

static void restore_rows(const struct sim_table *t, const struct sim_world *w)
{
    struct sim_row **rows = table_sorted(t);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct sn_record *r = &rows[i]->record;
        int rc = 0;
        if (r->type == SN_REC_SUBSCRIPTION)
            rc = w->shared != NULL ? shared_restore(w->shared, r) : 0;
        else if (r->type != SN_REC_SPOOL)
            rc = sn_engine_restore(w->engine, r);
        if (rc < 0)
            abort();
    }
    if (w->spool != NULL)
        restore_spool(t, rows, w->spool);
    free(rows);
}

static void make_usable(struct sim_world *w, bool usable)
{
    spool_usable(w->spool, w->now_ms, usable);
    sn_engine_spooling(w->engine, usable);
    tell_spool(w);
}

void sim_add_spool(struct sim_world *w, const struct spool_config *config)
{
    assert(w->batch != 0 && w->shared != NULL);
    w->has_spool = true;
    w->spool_config = *config;
    sim_free_machines(w);
    sim_make_machines(w);
    spool_restore(w->spool, SN_NO_CLIENT, 0, 0, 0);
    make_usable(w, true);
    sim_pump(w);
}

void sim_kill(struct sim_world *w)
{
    assert(w->batch != 0 && !w->failing);
    sim_free_machines(w);
    table_crash(&w->table);
    w->routed = 0;
}

static uint32_t still_s(const struct sim_world *w, int64_t expires_ms)
{
    if (expires_ms == 0)
        return 0;
    return expires_ms - w->now_ms > 1000 ? (uint32_t)((expires_ms - w->now_ms + 999) / 1000) : 1;
}

/* Messages that were stored, but not with all who get them, come again. */
static void route_again(struct sim_world *w)
{
    struct sim_message m;
    for (uint64_t journal = 0; table_next_message(&w->table, journal, &m);) {
        journal = m.journal;
        w->routed = m.journal;
        sim_pass_upstream(w, &(struct up_event){.type = UP_MESSAGE,
                                                .topic = m.topic,
                                                .body = m.body,
                                                .qos = m.qos,
                                                .retain = m.retain,
                                                .expiry_s = still_s(w, m.expires_ms),
                                                .journal = m.journal});
        sim_pump(w);
    }
}

void sim_start(struct sim_world *w)
{
    sim_make_machines(w);
    restore_rows(&w->table, w);
    if (w->spool != NULL)
        make_usable(w, true);
    sn_engine_restored(w->engine, w->now_ms);
    sim_pump(w);
    if (w->shared != NULL)
        route_again(w);
}

/* ---- trouble --------------------------------------------------------------------------------- */

void sim_store_fails(struct sim_world *w)
{
    assert(w->spool != NULL && !w->failing);
    sim_pump(w);
    w->failing = true;
    table_fail(&w->table);
    w->table.committed = w->batch - 1;
    for (struct sim_commit *c = next_commit(w); c != NULL; c = next_commit(w)) {
        list_unlink(&c->link);
        free(c);
    }
    make_usable(w, false);
    sim_pump(w);
}

void sim_store_works(struct sim_world *w)
{
    const int64_t commit_ms = w->commit_ms;
    assert(w->failing);
    sim_pump(w); /* what belongs to the time before */
    w->failing = false;
    w->commit_ms = 0; /* the one transaction with all of it is there before anybody hears so */
    table_forget(&w->table);
    sn_engine_record_all(w->engine);
    shared_record_all(w->shared);
    spool_record_all(w->spool);
    sim_record(w);
    sim_commit(w);
    w->commit_ms = commit_ms;
    make_usable(w, true);
    sim_pump(w);
}

/* ---- is all well? ---------------------------------------------------------------------------- */

static void record_all(const struct sim_world *w, struct sim_table *out)
{
    struct sn_record r;
    table_init(out);
    sn_engine_record_all(w->engine);
    for (; sn_engine_peek_record(w->engine, &r); sn_engine_done_record(w->engine))
        table_put(out, 1, &r);
    if (w->shared != NULL)
        shared_record_all(w->shared);
    for (; w->shared != NULL && shared_peek_record(w->shared, &r); shared_done_record(w->shared))
        table_put(out, 1, &r);
    table_commit(out, 1);
}

bool sim_stored_well(const struct sim_world *w, char *why, size_t size)
{
    struct sim_table stored, live, again;
    struct sim_world fresh = {.now_ms = w->now_ms,
                              .engine_config = w->engine_config,
                              .shared_config = w->shared_config,
                              .has_shared = w->has_shared};
    list_init(&fresh.held);
    list_init(&fresh.commits);
    table_copy(&w->table, &stored);
    record_all(w, &live);
    sim_make_machines(&fresh);
    restore_rows(&stored, &fresh);
    record_all(&fresh, &again);
    const bool well = table_orderly(&stored, why, size) &&
                      table_same(&stored, &live, w->has_shared, why, size) &&
                      table_same(&stored, &again, w->has_shared, why, size);
    table_deinit(&stored);
    table_deinit(&live);
    table_deinit(&again);
    sim_free_machines(&fresh);
    return well;
}
