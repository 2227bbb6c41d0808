/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of many nodes: all connect, all wake up, all are there and say nothing. */
#include "tools/bench.h"

enum { WORK_SECONDS = 120, FLUSH_MESSAGES = 10, IDLE_SETTLE_SECONDS = 10, DRAIN_SECONDS = 60 };

static bool work(struct bench *b, uint32_t n, unsigned todo, uint32_t window)
{
    if (!nodes_work(b, 0, n, todo, window, WORK_SECONDS) && b->trouble == NULL)
        b->trouble = "the nodes do not get through";
    return b->trouble == NULL;
}

static bool begin(struct bench *b, const struct bench_case *c)
{
    return nodes_init(b, c->nodes, &b->gateway) && broker_open(b, c->figure);
}

static void end(struct bench *b, bool connected)
{
    if (connected && b->trouble == NULL)
        nodes_work(b, 0, b->n_nodes, TODO_DISCONNECT, BENCH_WINDOW, WORK_SECONDS);
    broker_close(b);
    nodes_deinit(b);
}

void run_connect(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    if (begin(b, c)) {
        const struct probe from = probe_take(b, b->options.pid);
        const bool done = work(b, c->nodes, TODO_CONNECT, b->options.window);
        struct probe to = probe_take(b, b->options.pid);
        if (done) {
            to.arrived = from.arrived + c->nodes;
            result_between(r, &from, &to);
            result_books(b, r);
            result_drops(r, &from, &to);
        }
    }
    end(b, true);
}

/* ---- sleepers -------------------------------------------------------------------------------- */

static bool all_went(const struct bench *b)
{
    return broker_unacknowledged(b) == 0;
}

/* The gateway has them when the broker has its acknowledgements and nothing moves any more. */
static bool fill(struct bench *b, const struct bench_case *c)
{
    for (unsigned round = 0; round < FLUSH_MESSAGES; round++) {
        for (uint32_t i = 0; i < c->nodes && b->trouble == NULL; i++) {
            const struct bench_payload p = {.run = b->run,
                                            .stream = i,
                                            .sequence = tally_send(&b->tally, i),
                                            .stamp_ns = bench_clock_ns()};
            broker_publish(b, BENCH_DOWN, &p, c->figure->qos);
            if (broker_unacknowledged(b) >= BENCH_POOL || i % BENCH_POOL == 0)
                bench_until(b, all_went, bench_clock_ns() + DRAIN_SECONDS * BENCH_SECOND);
        }
    }
    bench_until(b, all_went, bench_clock_ns() + DRAIN_SECONDS * BENCH_SECOND);
    probe_settle(b, DRAIN_SECONDS);
    if (b->tally.arrived > 0)
        b->trouble = "the gateway sent to nodes that sleep";
    return b->trouble == NULL;
}

void run_flush(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    const unsigned todo = TODO_CONNECT | TODO_SUBSCRIBE | TODO_SLEEP;
    if (begin(b, c) && work(b, c->nodes, todo, BENCH_WINDOW) && fill(b, c)) {
        const struct probe from = probe_take(b, b->options.pid);
        b->tally.measuring = true;
        work(b, c->nodes, TODO_WAKE, b->options.window);
        const struct probe to = probe_take(b, b->options.pid);
        bench_until(b, flow_is_dry, bench_clock_ns() + DRAIN_SECONDS * BENCH_SECOND);
        result_between(r, &from, &to);
        result_books(b, r);
        result_drops(r, &from, &to);
        r->p50_us = r->p99_us = r->p999_us = 0; /* they waited for the sleepers */
    }
    end(b, true);
}

/* ---- nothing happens ------------------------------------------------------------------------- */

void run_memory(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    const unsigned todo = TODO_CONNECT | (c->figure->variant ? TODO_REGISTER | TODO_SUBSCRIBE : 0);
    if (begin(b, c)) {
        probe_settle(b, IDLE_SETTLE_SECONDS);
        const struct probe from = probe_take(b, b->options.pid);
        if (c->nodes == 0 || work(b, c->nodes, todo, BENCH_WINDOW)) {
            probe_settle(b, IDLE_SETTLE_SECONDS);
            const struct probe to = probe_take(b, b->options.pid);
            r->rss_kib = (double)to.rss_kib;
            if (c->nodes > 0)
                r->bytes_per_node = (double)(to.rss_kib - from.rss_kib) * 1024 / c->nodes;
            result_books(b, r);
            result_drops(r, &from, &to);
        }
    }
    end(b, c->nodes > 0);
}

void run_idle(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    if (begin(b, c) && (c->nodes == 0 || work(b, c->nodes, TODO_CONNECT, BENCH_WINDOW))) {
        probe_settle(b, IDLE_SETTLE_SECONDS);
        const struct probe from = probe_take(b, b->options.pid);
        bench_run_until(b, from.at_ns + (int64_t)(b->options.seconds * (double)BENCH_SECOND));
        const struct probe to = probe_take(b, b->options.pid);
        result_between(r, &from, &to);
        result_books(b, r);
        result_drops(r, &from, &to);
    }
    end(b, c->nodes > 0);
}
