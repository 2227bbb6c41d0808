/* SPDX-License-Identifier: Apache-2.0 */
#include "pump.h"

#include "base/clock.h"

/* Engine and session answer each other a few times per input; a conversation that does not end is a
 * bug, and must not take the loop with it. */
enum { ROUNDS_MAX = 1000 };

static void capture(struct pump *p, bool to_node, const struct peer *peer, struct bytes packet)
{
    if (p->capture != NULL && peer->link < p->n_links)
        capture_file_put(p->capture, p->wall_ms, to_node, &p->capture_ends[peer->link], peer,
                         packet);
}

static bool carry_packets(struct pump *p)
{
    struct sn_outgoing out;
    bool moved = false;
    while (sn_engine_peek_packet(p->engine, &out)) {
        struct link *l = out.to->link < p->n_links ? p->links[out.to->link] : NULL;
        capture(p, true, out.to, out.bytes);
        if (l != NULL)
            l->driver->send(l, out.to, out.bytes);
        else
            p->no_link++;
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
        shared_request(p->shared, p->now_ms, &request);
        sn_engine_done_request(p->engine);
        moved = true;
    }
    return moved;
}

static bool carry_events(struct pump *p)
{
    struct sn_event event;
    bool moved = false;
    while (shared_peek_event(p->shared, &event)) {
        sn_engine_event(p->engine, p->now_ms, &event);
        shared_done_event(p->shared);
        moved = true;
    }
    return moved;
}

static bool carry_upstream(struct pump *p)
{
    struct up_request request;
    bool moved = false;
    while (shared_peek_upstream(p->shared, &request)) {
        mqtt_submit(p->mqtt, &request);
        shared_done_upstream(p->shared);
        moved = true;
    }
    return moved;
}

void pump_take_logs(struct pump *p)
{
    struct log_ring *const rings[] = {p->log, sn_engine_log(p->engine), shared_log(p->shared)};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        if (log_peek(rings[i]) != NULL)
            logsink_take(p->sink, p->now_ms, p->wall_ms, rings[i], &p->lost_logs[i]);
    }
}

static void carry(struct pump *p)
{
    unsigned rounds = 0;
    bool moved = true;
    while (moved && rounds++ < ROUNDS_MAX) {
        moved = carry_packets(p);
        moved |= carry_requests(p);
        moved |= carry_events(p);
        moved |= carry_upstream(p);
    }
    if (moved && log_begin(p->log, LOG_ERROR, "gateway.restless")) {
        log_int(p->log, "rounds", ROUNDS_MAX);
        log_end(p->log);
    }
    p->unfinished = moved;
    pump_take_logs(p);
}

void pump_time(struct pump *p, int64_t now_ms, int64_t wall_ms)
{
    if (now_ms > p->now_ms)
        p->now_ms = now_ms;
    p->wall_ms = wall_ms;
}

void pump_packet(struct pump *p, const struct peer *from, struct bytes packet)
{
    capture(p, false, from, packet);
    sn_engine_input(p->engine, p->now_ms, from, packet);
    carry(p);
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
    carry(p);
}

void pump_group(struct pump *p, uint16_t link, bool joined)
{
    sn_engine_group(p->engine, p->now_ms, link, joined);
    carry(p);
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
    carry(p);
}

void pump_limit(struct pump *p, uint16_t link, uint32_t max_packet_bytes)
{
    sn_engine_link_limit(p->engine, p->now_ms, link, max_packet_bytes);
    carry(p);
}

unsigned pump_broker(struct pump *p)
{
    struct up_event event;
    unsigned n = 0;
    for (; n < PUMP_EVENTS_PER_TURN && mqtt_next_event(p->mqtt, &event); n++) {
        if (event.type == UP_CONNECTED || event.type == UP_DISCONNECTED)
            p->broker(p->owner, &event);
        shared_upstream(p->shared, p->now_ms, &event);
        carry(p);
    }
    return n;
}

void pump_advance(struct pump *p)
{
    sn_engine_advance(p->engine, p->now_ms);
    shared_advance(p->shared, p->now_ms);
    carry(p);
    logsink_advance(p->sink, p->now_ms, p->wall_ms);
}

void pump_flush(struct pump *p)
{
    for (size_t i = 0; i < p->n_links; i++) {
        if (p->links[i] != NULL)
            p->links[i]->driver->flush(p->links[i]);
    }
    if (p->mqtt != NULL)
        mqtt_flush(p->mqtt);
    pump_take_logs(p);
    logsink_flush(p->sink);
}

int64_t pump_next_deadline(const struct pump *p)
{
    if (p->unfinished)
        return p->now_ms;
    const int64_t machines =
        time_min(sn_engine_next_deadline(p->engine), shared_next_deadline(p->shared));
    return time_min(machines, logsink_next_deadline(p->sink));
}
