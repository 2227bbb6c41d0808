/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of a steady stream: up, down, to many, and what the broker does without a gateway. */
#include "tools/bench.h"

enum { DRAIN_SECONDS = 30, WORK_SECONDS = 60 };

static unsigned preparation(const struct bench_figure *f)
{
    switch (f->kind) {
    case KIND_UP:
        return f->qos < 0 ? 0 : TODO_CONNECT | TODO_REGISTER;
    case KIND_DOWN:
        return TODO_CONNECT | TODO_SUBSCRIBE;
    case KIND_FAN:
        return TODO_CONNECT | TODO_SUBSCRIBE_ALL;
    case KIND_ECHO:
    case KIND_RAW:
    case KIND_CONNECT:
    case KIND_FLUSH:
    case KIND_MEMORY:
    case KIND_IDLE:
        break;
    }
    return 0;
}

static bool prepare(struct bench *b, const struct bench_case *c)
{
    const unsigned todo = preparation(c->figure);
    const bool ready =
        (todo == 0 || nodes_work(b, 0, c->nodes, todo, BENCH_WINDOW, WORK_SECONDS)) &&
        (b->n_nodes == c->nodes ||
         nodes_work(b, c->nodes, b->n_nodes - c->nodes, TODO_CONNECT, BENCH_WINDOW, WORK_SECONDS));
    if (!ready && b->trouble == NULL)
        b->trouble = "the nodes do not get connected";
    if (ready)
        probe_settle(b, 10);
    return b->trouble == NULL;
}

static void measure(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    const struct bench_options *o = &b->options;
    const pid_t pid = c->figure->kind == KIND_RAW ? 0 : o->pid;
    const struct probe before = probe_take(b, pid);
    b->now_ns = bench_clock_ns();
    flow_open(b, c);
    bench_run_until(b, b->now_ns + (int64_t)(o->warm_seconds * (double)BENCH_SECOND));
    b->tally.measuring = true;
    const struct probe from = probe_take(b, pid);
    bench_run_until(b, from.at_ns + (int64_t)(o->seconds * (double)BENCH_SECOND));
    const struct probe to = probe_take(b, pid);
    b->tally.measuring = false;
    flow_close(b);
    bench_until(b, flow_is_dry, bench_clock_ns() + DRAIN_SECONDS * BENCH_SECOND);
    const struct probe after = probe_take(b, pid);
    result_between(r, &from, &to);
    result_books(b, r);
    result_drops(r, &before, &after);
}

void run_stream(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    const struct bench_figure *f = c->figure;
    const bool raw = f->kind == KIND_RAW;
    const uint32_t crowd = raw || f->qos < 0 ? 0 : b->options.crowd;
    if (nodes_init(b, c->nodes + crowd, raw ? NULL : &b->gateway) && broker_open(b, f) &&
        prepare(b, c)) {
        measure(b, c, r);
        if (!raw && f->qos >= 0)
            nodes_work(b, 0, b->n_nodes, TODO_DISCONNECT, BENCH_WINDOW, WORK_SECONDS);
    }
    broker_close(b);
    nodes_deinit(b);
}
