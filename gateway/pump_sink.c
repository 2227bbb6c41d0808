/* SPDX-License-Identifier: Apache-2.0 */
/* The pump inside of a sink: session, spool and connection, and the router or the engine before them. */
#include "base/clock.h"

#include "pump_priv.h"

int pump_add(struct pump *p, struct sink *s)
{
    list_init(&s->dirty);
    list_init(&s->fresh);
    list_init(&s->touched);
    list_init(&s->fetch);
    deadline_init(&s->due, 0);
    list_init(&s->all);
    list_push_back(&p->sinks, &s->all);
    p->shared[s->broker] = s;
    if (s->broker >= p->n_brokers)
        p->n_brokers = s->broker + 1;
    const uint64_t base = store_sink_base(s->number);
    return s->spool != NULL ? spool_restore(s->spool, SN_NO_CLIENT, 0, 0, base) : 0;
}

void pump_batch(struct pump *p, struct sink *s)
{
    if (s->batch == p->batch)
        return;
    s->batch = p->batch;
    spool_batch(s->spool, p->batch);
}

void pump_touch(struct pump *p, struct sink *s)
{
    if (!list_linked(&s->dirty))
        list_push_back(&p->dirty, &s->dirty);
    if (s->spool != NULL)
        pump_batch(p, s);
}

void pump_sink_request(struct pump *p, struct sink *s, const struct sn_request *request)
{
    pump_touch(p, s);
    shared_request(s->shared, p->now_ms, request);
}

static bool carry_events(struct pump *p, struct sink *s)
{
    struct sn_event event;
    bool moved = false;
    while (shared_peek_event(s->shared, &event)) {
        if (p->router != NULL)
            router_event(p->router, p->now_ms, s->broker, &event);
        else
            sn_engine_event(p->engine, p->now_ms, &event);
        shared_done_event(s->shared);
        moved = true;
    }
    return moved;
}

static bool carry_upstream(struct pump *p, struct sink *s)
{
    struct up_request request;
    bool moved = false;
    while (shared_peek_upstream(s->shared, &request)) {
        if (s->spool != NULL)
            spool_submit(s->spool, p->now_ms, &request);
        else
            mqtt_submit(s->mqtt, &request);
        shared_done_upstream(s->shared);
        moved = true;
    }
    return moved;
}

/* While the gateway stops, what is in the spool stays there. */
static bool carry_spool_requests(struct pump *p, struct sink *s)
{
    struct up_request request;
    bool moved = false;
    while (s->mqtt != NULL && spool_peek_request(s->spool, &request)) {
        if (p->stopping && request.spooled != 0)
            return moved;
        mqtt_submit(s->mqtt, &request);
        spool_done_request(s->spool);
        moved = true;
    }
    return moved;
}

static bool carry_spool_events(struct pump *p, struct sink *s)
{
    struct up_event event;
    bool moved = false;
    while (spool_peek_event(s->spool, &event)) {
        shared_upstream(s->shared, p->now_ms, &event);
        spool_done_event(s->spool);
        moved = true;
    }
    return moved;
}

bool pump_tell_accepting(struct pump *p, struct sink *s)
{
    const bool accepting = spool_accepting(s->spool);
    if (accepting == s->accepting)
        return false;
    s->accepting = accepting;
    shared_accepting(s->shared, p->now_ms, accepting);
    return true;
}

bool pump_carry_sink(struct pump *p, struct sink *s)
{
    bool any = false;
    bool moved = true;
    while (moved) {
        moved = carry_events(p, s);
        moved |= carry_upstream(p, s);
        if (s->spool != NULL) {
            moved |= carry_spool_requests(p, s);
            moved |= carry_spool_events(p, s);
            moved |= pump_tell_accepting(p, s);
        }
        any |= moved;
    }
    return any;
}

/* What the spool has no part in passes it by. */
void pump_sink_event(struct pump *p, struct sink *s, const struct up_event *event)
{
    const bool about_itself = event->type == UP_CONNECTED || event->type == UP_DISCONNECTED;
    if (about_itself)
        p->broker(p->owner, s, event);
    pump_touch(p, s);
    if (s->spool != NULL && (about_itself || event->type == UP_PUBLISHED))
        spool_upstream(s->spool, p->now_ms, event);
    else
        shared_upstream(s->shared, p->now_ms, event);
    pump_carry(p);
    if (event->type == UP_MESSAGE && event->journal != 0)
        pump_routed(p, event->journal);
}

void pump_sink_advance(struct pump *p, struct sink *s)
{
    pump_touch(p, s);
    shared_advance(s->shared, p->now_ms);
    if (s->spool != NULL)
        spool_advance(s->spool, p->now_ms);
}

void pump_sink_flush(struct pump *p, struct sink *s)
{
    if (s->mqtt != NULL)
        mqtt_flush(s->mqtt);
    int64_t at_ms = shared_next_deadline(s->shared);
    if (s->spool != NULL)
        at_ms = time_min(at_ms, spool_next_deadline(s->spool));
    if (at_ms != s->due.at_ms)
        deadline_arm(&p->due, &s->due, at_ms);
}

void pump_sink_logs(struct pump *p, struct sink *s)
{
    struct log_ring *const rings[] = {shared_log(s->shared),
                                      s->spool != NULL ? spool_log(s->spool) : NULL};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        if (rings[i] != NULL && log_peek(rings[i]) != NULL)
            logsink_take(p->sink, p->now_ms, p->wall_ms, rings[i], &s->lost_logs[i]);
    }
}
