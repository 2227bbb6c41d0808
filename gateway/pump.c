/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "pump_priv.h"

/* Engine and session answer each other a few times per input; a conversation that does not end is a
 * bug, and must not take the loop with it. */
enum { ROUNDS_MAX = 1000 };

static void capture(struct pump *p, bool to_node, const struct peer *peer, struct bytes packet)
{
    if (p->capture != NULL && peer->link < p->n_links)
        capture_file_put(p->capture, p->wall_ms, to_node, &p->capture_ends[peer->link], peer,
                         packet);
}

void pump_send(struct pump *p, const struct peer *to, struct bytes packet)
{
    struct link *l = to->link < p->n_links ? p->links[to->link] : NULL;
    capture(p, true, to, packet);
    if (l != NULL)
        l->driver->send(l, to, packet);
    else
        p->no_link++;
}

static bool carry_packets(struct pump *p)
{
    struct sn_outgoing out;
    bool moved = false;
    while (sn_engine_peek_packet(p->engine, &out)) {
        if (out.after <= p->committed)
            pump_send(p, out.to, out.bytes);
        else
            pump_hold(p, &out);
        sn_engine_done_packet(p->engine);
        moved = true;
    }
    return moved;
}

static bool carry_requests(struct pump *p)
{
    struct sn_request request;
    bool moved = false;
    while (sn_engine_peek_request(p->engine, &request)) {
        if (p->router != NULL)
            router_request(p->router, p->now_ms, &request);
        else
            pump_broker_request(p, 0, &request);
        sn_engine_done_request(p->engine);
        moved = true;
    }
    return moved;
}

static bool carry_routed(struct pump *p)
{
    struct sn_request request;
    struct sn_event event;
    unsigned broker = 0;
    bool moved = false;
    while (router_peek_event(p->router, &event)) {
        sn_engine_event(p->engine, p->now_ms, &event);
        router_done_event(p->router);
        moved = true;
    }
    while (router_peek_request(p->router, &broker, &request)) {
        pump_broker_request(p, broker, &request);
        router_done_request(p->router);
        moved = true;
    }
    return moved;
}

static bool carry_sinks(struct pump *p)
{
    bool moved = false;
    for (struct list *link; (link = list_pop_front(&p->dirty)) != NULL;) {
        struct sink *s = container_of(link, struct sink, dirty);
        moved |= pump_carry_sink(p, s);
        if (!list_linked(&s->fresh))
            list_push_back(&p->fresh, &s->fresh);
    }
    return moved;
}

void pump_take_logs(struct pump *p)
{
    struct log_ring *const rings[] = {p->log, sn_engine_log(p->engine),
                                      p->router != NULL ? router_log(p->router) : NULL};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        if (rings[i] != NULL && log_peek(rings[i]) != NULL)
            logsink_take(p->sink, p->now_ms, p->wall_ms, rings[i], &p->lost_logs[i]);
    }
    list_foreach (at, &p->fresh)
        pump_sink_logs(p, container_of(at, struct sink, fresh));
}

void pump_carry(struct pump *p)
{
    unsigned rounds = 0;
    bool moved = true;
    while (moved && rounds++ < ROUNDS_MAX) {
        moved = carry_packets(p);
        moved |= carry_requests(p);
        if (p->router != NULL)
            moved |= carry_routed(p);
        moved |= carry_sinks(p);
    }
    if (moved && log_begin(p->log, LOG_ERROR, "gateway.restless")) {
        log_int(p->log, "rounds", ROUNDS_MAX);
        log_end(p->log);
    }
    p->unfinished = moved;
    if (p->store != NULL)
        pump_record(p);
    pump_take_logs(p);
    for (struct list *link; (link = list_pop_front(&p->fresh)) != NULL;) {
        struct sink *s = container_of(link, struct sink, fresh);
        if (!list_linked(&s->touched))
            list_push_back(&p->touched, &s->touched);
    }
}

void pump_time(struct pump *p, int64_t now_ms, int64_t wall_ms)
{
    if (now_ms > p->now_ms)
        p->now_ms = now_ms;
    p->wall_ms = wall_ms;
}

void pump_minute(struct pump *p, unsigned minute)
{
    p->minute = (int)minute;
    list_foreach (at, &p->sinks) {
        struct sink *s = container_of(at, struct sink, all);
        if (s->spool == NULL)
            continue;
        pump_touch(p, s);
        spool_wall(s->spool, p->now_ms, minute);
    }
}

void pump_packet(struct pump *p, const struct peer *from, const struct link_signal *signal,
                 struct bytes packet)
{
    capture(p, false, from, packet);
    if (p->origins != 0)
        pump_tell_origin(p, from, signal);
    sn_engine_input(p->engine, p->now_ms, from, packet);
    pump_carry(p);
}

/* Two links may be in one group, so it need not be the link that heard it. */
static bool is_own(const struct pump *p, const struct peer *from)
{
    for (size_t i = 0; i < p->n_links; i++) {
        const struct link *l = p->links[i];
        if (l != NULL && l->driver->is_own != NULL && l->driver->is_own(l, from))
            return true;
    }
    return false;
}

void pump_group_packet(struct pump *p, const struct peer *from, struct bytes packet)
{
    if (is_own(p, from)) {
        p->own_echoes++;
        return;
    }
    capture(p, false, from, packet);
    sn_engine_input_group(p->engine, p->now_ms, from, packet);
    pump_carry(p);
}

void pump_group(struct pump *p, uint16_t link, bool joined)
{
    sn_engine_group(p->engine, p->now_ms, link, joined);
    pump_carry(p);
}

static enum sn_air air_of(enum stick_outcome outcome)
{
    switch (outcome) {
    case STICK_DELIVERED:
        return SN_AIR_DELIVERED;
    case STICK_NOT_SENT:
        return SN_AIR_NOT_SENT;
    case STICK_FAILED:
    case STICK_UNKNOWN:
        break;
    }
    return SN_AIR_UNDELIVERED;
}

void pump_outcome(struct pump *p, const struct peer *to, enum stick_outcome outcome)
{
    sn_engine_outcome(p->engine, p->now_ms, to, air_of(outcome));
    pump_carry(p);
}

void pump_link(struct pump *p, uint16_t link, bool up)
{
    sn_engine_link(p->engine, p->now_ms, link, up);
    pump_carry(p);
}

void pump_limit(struct pump *p, uint16_t link, uint32_t max_packet_bytes)
{
    sn_engine_link_limit(p->engine, p->now_ms, link, max_packet_bytes);
    pump_carry(p);
}

static unsigned take_shared(struct pump *p)
{
    struct up_event event;
    unsigned n = 0;
    for (unsigned b = 0; b < p->n_brokers; b++) {
        struct sink *s = p->shared[b];
        for (unsigned k = 0;
             k < PUMP_EVENTS_PER_TURN && s->mqtt != NULL && mqtt_next_event(s->mqtt, &event);
             k++, n++)
            pump_sink_event(p, s, &event);
    }
    return n;
}

/* The connection may end by one of its events. */
static unsigned take_own(struct pump *p, struct mqtt *m)
{
    enum { AT_ONCE = 64 };
    struct sink *s = mqtt_user(m);
    struct up_event event;
    unsigned n = 0;
    while (n < AT_ONCE && s->mqtt == m && mqtt_next_event(m, &event)) {
        pump_sink_event(p, s, &event);
        n++;
    }
    return n;
}

unsigned pump_broker(struct pump *p)
{
    unsigned n = take_shared(p);
    for (unsigned b = 0; b < p->n_brokers; b++) {
        struct mqtt *m = NULL;
        for (unsigned k = 0; k < PUMP_EVENTS_PER_TURN && p->hosts[b] != NULL &&
                             (m = mqtt_host_next_ready(p->hosts[b])) != NULL;) {
            const unsigned taken = take_own(p, m);
            k += taken;
            n += taken;
        }
        pump_bury(p);
    }
    return n;
}

static void advance_sinks(struct pump *p)
{
    deadlines_collect(&p->due, p->now_ms);
    for (struct deadline *due; (due = deadlines_take(&p->due)) != NULL;)
        pump_sink_advance(p, container_of(due, struct sink, due));
}

void pump_advance(struct pump *p)
{
    sn_engine_advance(p->engine, p->now_ms);
    if (p->router != NULL)
        router_advance(p->router, p->now_ms);
    advance_sinks(p);
    pump_carry(p);
    logsink_advance(p->sink, p->now_ms, p->wall_ms);
}

void pump_flush(struct pump *p)
{
    if (p->store != NULL)
        pump_end_batch(p);
    for (size_t i = 0; i < p->n_links; i++) {
        if (p->links[i] != NULL)
            p->links[i]->driver->flush(p->links[i]);
    }
    for (struct list *link; (link = list_pop_front(&p->touched)) != NULL;)
        pump_sink_flush(p, container_of(link, struct sink, touched));
    for (unsigned b = 0; b < p->n_brokers; b++) {
        if (p->hosts[b] != NULL)
            mqtt_host_flush(p->hosts[b]);
    }
    pump_bury(p);
    pump_take_logs(p);
    logsink_flush(p->sink);
}

int64_t pump_next_deadline(const struct pump *p)
{
    if (p->unfinished || !list_empty(&p->dirty))
        return p->now_ms;
    int64_t machines = time_min(sn_engine_next_deadline(p->engine), deadlines_next(&p->due));
    if (p->router != NULL)
        machines = time_min(machines, router_next_deadline(p->router));
    return time_min(machines, logsink_next_deadline(p->sink));
}
