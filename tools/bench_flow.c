/* SPDX-License-Identifier: Apache-2.0 */
/* Which message goes when, and what its arrival means for the next. */
#include <string.h>

#include "tools/bench.h"

enum {
    OPENING_PER_TURN = 256, /* so that answers are read in between */
    STALL_MS = 500,
    ALL_STREAMS = -1,
    BEHIND_MAX = 64, /* of a node's queue, which has room for 100 by default */
    LATE_NS = 20000,
};

static uint32_t pool_of(const struct bench_case *c)
{
    const uint64_t all = (uint64_t)c->nodes * BENCH_POOL_PER_NODE;
    return all < BENCH_POOL ? (uint32_t)all : (uint32_t)BENCH_POOL;
}

void flow_open(struct bench *b, const struct bench_case *c)
{
    const struct bench_figure *f = c->figure;
    const bool fans = f->kind == KIND_FAN;
    const bool echoes = f->kind == KIND_ECHO;
    b->flow = (struct flow){.kind = f->kind,
                            .qos = f->qos,
                            .open = true,
                            .pooled = fans || (!echoes && f->qos <= 0),
                            .by_arrival = f->kind == KIND_DOWN || echoes ||
                                          (f->kind == KIND_RAW && f->observed_qos > 0),
                            .window = pool_of(c),
                            .streams = c->nodes,
                            .arrived_ns = b->now_ns,
                            .rate = c->rate,
                            .begin_ns = bench_clock_ns()};
    if (fans) /* in deliveries */
        b->flow.window = pool_of(c) * 2 > c->nodes ? pool_of(c) * 2 : c->nodes;
}

void flow_close(struct bench *b)
{
    b->flow.open = false;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void send_echo(struct bench *b, uint32_t stream, int64_t stamp_ns)
{
    const struct bench_payload p = {.run = b->run,
                                    .stream = stream,
                                    .sequence = tally_send(&b->tally, stream),
                                    .stamp_ns = stamp_ns};
    payload_put(air_packet(&b->air), b->options.size, &p);
    air_send(&b->air, stream, b->options.size);
}

static void send_one(struct bench *b, uint32_t stream, int64_t stamp_ns)
{
    const struct flow *f = &b->flow;
    if (f->kind == KIND_UP) {
        node_publish(b, stream, f->qos, stamp_ns);
        return;
    }
    if (f->kind == KIND_ECHO) {
        send_echo(b, stream, stamp_ns);
        return;
    }
    struct bench_payload p = {.run = b->run, .stream = stream, .stamp_ns = stamp_ns};
    if (f->kind == KIND_FAN) {
        p.stream = (uint32_t)ALL_STREAMS;
        for (uint32_t i = 0; i < f->streams; i++)
            p.sequence = tally_send(&b->tally, i);
        broker_publish(b, BENCH_ALL, &p, f->qos);
        return;
    }
    p.sequence = tally_send(&b->tally, stream);
    broker_publish(b, f->kind == KIND_RAW ? BENCH_RAW : BENCH_DOWN, &p, f->qos);
}

static uint32_t next_stream(struct flow *f)
{
    const uint32_t stream = f->next;
    f->next = stream + 1 < f->streams ? stream + 1 : 0;
    return stream;
}

static uint64_t under_way(const struct bench *b)
{
    const struct tally *t = &b->tally;
    const uint64_t gone = t->arrived + t->missing + b->flow.given_up;
    return t->sent > gone ? t->sent - gone : 0;
}

/* Nodes that are served alike are not equally lucky: one of many falls far behind in time, and what
 * its queue has no room for would be dropped, rightly. */
static bool one_is_behind(const struct bench *b)
{
    if (b->flow.kind != KIND_FAN)
        return false;
    for (uint32_t i = 0; i < b->flow.streams; i++) {
        const struct tally_stream *s = &b->tally.streams[i];
        if (s->sent - s->next >= BEHIND_MAX)
            return true;
    }
    return false;
}

static int64_t pump_pool(struct bench *b)
{
    struct flow *f = &b->flow;
    const int64_t stall_ns = STALL_MS * (BENCH_SECOND / 1000);
    const uint32_t step = f->kind == KIND_FAN ? f->streams : 1;
    if (b->now_ns - f->arrived_ns > stall_ns) {
        f->given_up += under_way(b);
        f->arrived_ns = b->now_ns;
    }
    for (uint64_t n = under_way(b); n + step <= f->window && !one_is_behind(b); n += step)
        send_one(b, next_stream(f), bench_clock_ns());
    return f->arrived_ns + stall_ns + 1;
}

/* A node that may send; streams: none can. */
static uint32_t free_stream(struct bench *b)
{
    struct flow *f = &b->flow;
    for (uint32_t i = 0; i < f->streams; i++) {
        const uint32_t stream = next_stream(f);
        if (f->kind != KIND_UP || !node_is_busy(b, stream))
            return stream;
    }
    return f->streams;
}

/* The stamp is the time at which a message was due: what it waited for its turn is part of its
 * delay. */
static int64_t pump_pace(struct bench *b)
{
    struct flow *f = &b->flow;
    for (;;) {
        const int64_t due_ns =
            f->begin_ns + (int64_t)((double)f->due * (double)BENCH_SECOND / (double)f->rate);
        const int64_t now_ns = bench_clock_ns();
        if (due_ns > now_ns)
            return due_ns;
        const uint32_t stream = free_stream(b);
        if (stream == f->streams)
            return now_ns + LATE_NS;
        f->due++;
        send_one(b, stream, due_ns);
    }
}

int64_t flow_pump(struct bench *b)
{
    struct flow *f = &b->flow;
    if (!f->open)
        return INT64_MAX;
    if (f->rate > 0)
        return pump_pace(b);
    if (f->pooled)
        return pump_pool(b);
    for (unsigned i = 0; f->next < f->streams && i < OPENING_PER_TURN; i++)
        send_one(b, f->next++, bench_clock_ns());
    return f->next < f->streams ? 0 : INT64_MAX;
}

bool flow_is_dry(const struct bench *b)
{
    return b->tally.arrived >= b->tally.sent && list_empty(&b->waiting) &&
           broker_unacknowledged(b) == 0;
}

/* ---- answers and arrivals -------------------------------------------------------------------- */

static void send_next(struct bench *b, uint32_t stream)
{
    if (b->flow.open && !b->flow.pooled && b->flow.rate == 0 && stream < b->flow.streams)
        send_one(b, stream, bench_clock_ns());
}

void flow_settled(struct bench *b, uint32_t stream)
{
    if (!b->flow.by_arrival)
        send_next(b, stream);
}

void flow_released(struct bench *b, uint32_t node)
{
    if (b->flow.by_arrival)
        send_next(b, node);
}

/* True when it is new and of this case. */
static bool book(struct bench *b, const struct bench_payload *p, uint32_t stream)
{
    const int64_t now_ns = bench_clock_ns();
    b->flow.arrived_ns = now_ns;
    return tally_arrived(&b->tally, stream, p->sequence, now_ns - p->stamp_ns);
}

void flow_arrived(struct bench *b, struct bytes payload)
{
    struct bench_payload p;
    if (payload_get(payload, &p) && p.run == b->run && book(b, &p, p.stream))
        flow_released(b, p.stream);
}

bool flow_arrived_at(struct bench *b, uint32_t node, struct bytes payload)
{
    struct bench_payload p;
    if (!payload_get(payload, &p) || p.run != b->run)
        return false;
    if (p.stream != node && p.stream != (uint32_t)ALL_STREAMS) {
        b->tally.misrouted++;
        return false;
    }
    return book(b, &p, node);
}
