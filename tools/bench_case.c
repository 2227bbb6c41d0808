/* SPDX-License-Identifier: Apache-2.0 */
/* The figures that there are, and how one of them is taken. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/bench.h"

/* clang-format off */
const struct bench_figure bench_figures[] = {
    {"echo",        .run = run_echo,    .kind = KIND_ECHO, .nodes = 100,
        .what = "UDP round trips with a server of one recvfrom() and sendto() per datagram"},
    {"echo-batch",  .run = run_echo,    .kind = KIND_ECHO, .variant = true, .nodes = 100,
        .what = "the same with recvmmsg() and sendmmsg()"},
    {"raw-up-0",    .run = run_stream,  .kind = KIND_RAW, .nodes = 100,
        .what = "MQTT publisher, broker, subscriber, without a gateway; published at QoS 0"},
    {"raw-up-1",    .run = run_stream,  .kind = KIND_RAW, .qos = 1, .nodes = 100,
        .what = "at QoS 1, one under way per stream; the subscriber has QoS 0"},
    {"raw-up-2",    .run = run_stream,  .kind = KIND_RAW, .qos = 2, .nodes = 100,
        .what = "at QoS 2"},
    {"raw-down-1",  .run = run_stream,  .kind = KIND_RAW, .qos = 1, .observed_qos = 1, .nodes = 100,
        .what = "at QoS 1, the subscriber too"},
    {"raw-down-2",  .run = run_stream,  .kind = KIND_RAW, .qos = 2, .observed_qos = 2, .nodes = 100,
        .what = "at QoS 2, the subscriber too"},
    {"raw-pace-0",  .run = run_stream,  .kind = KIND_RAW, .paced = true, .nodes = 100,
        .what = "so many messages a second of QoS 0, for the delay"},
    {"raw-pace-1",  .run = run_stream,  .kind = KIND_RAW, .qos = 1, .paced = true, .nodes = 100,
        .what = "of QoS 1"},
    {"up-m1",       .run = run_stream,  .kind = KIND_UP, .qos = -1, .limit = "raw-up-0", .nodes = 100,
        .what = "nodes publish at QoS -1, without a connection"},
    {"up-0",        .run = run_stream,  .kind = KIND_UP, .limit = "raw-up-0", .nodes = 100,
        .what = "at QoS 0"},
    {"up-1",        .run = run_stream,  .kind = KIND_UP, .qos = 1, .limit = "raw-up-1", .nodes = 100,
        .what = "at QoS 1, one under way per node"},
    {"up-2",        .run = run_stream,  .kind = KIND_UP, .qos = 2, .limit = "raw-up-2", .nodes = 100,
        .what = "at QoS 2"},
    {"pace-0",      .run = run_stream,  .kind = KIND_UP, .paced = true, .limit = "raw-pace-0", .nodes = 100,
        .what = "100 nodes publish so many messages a second in all, QoS 0, for the delay"},
    {"pace-1",      .run = run_stream,  .kind = KIND_UP, .qos = 1, .paced = true, .limit = "raw-pace-1", .nodes = 100,
        .what = "at QoS 1"},
    {"down-0",      .run = run_stream,  .kind = KIND_DOWN, .limit = "raw-up-0", .nodes = 100,
        .what = "to nodes, each with a subscription of its own, QoS 0"},
    {"down-1",      .run = run_stream,  .kind = KIND_DOWN, .qos = 1, .limit = "raw-down-1", .nodes = 100,
        .what = "at QoS 1, one under way per node"},
    {"down-2",      .run = run_stream,  .kind = KIND_DOWN, .qos = 2, .limit = "raw-down-2", .nodes = 100,
        .what = "at QoS 2"},
    {"fan-0",       .run = run_stream,  .kind = KIND_FAN, .limit = "echo", .nodes = 100,
        .what = "each message goes to all nodes, QoS 0; deliveries are counted"},
    {"fan-1",       .run = run_stream,  .kind = KIND_FAN, .qos = 1, .limit = "echo", .nodes = 100,
        .what = "at QoS 1"},
    {"connect",     .run = run_connect, .kind = KIND_CONNECT, .limit = "echo", .nodes = 10000,
        .what = "all nodes connect, --window of them at a time"},
    {"flush-0",     .run = run_flush,   .kind = KIND_FLUSH, .limit = "echo", .nodes = 10000,
        .what = "sleeping nodes wake up, --window at a time, and get 10 messages each of QoS 0"},
    {"flush-1",     .run = run_flush,   .kind = KIND_FLUSH, .qos = 1, .limit = "echo", .nodes = 10000,
        .what = "of QoS 1"},
    {"memory",      .run = run_memory,  .kind = KIND_MEMORY, .nodes = 1000,
        .what = "memory with so many connected nodes, above that with none (of a fresh gateway)"},
    {"memory-full", .run = run_memory,  .kind = KIND_MEMORY, .variant = true, .nodes = 1000,
        .what = "with a registered topic and a subscription each"},
    {"idle",        .run = run_idle,    .kind = KIND_IDLE, .nodes = 1000,
        .what = "wake-ups and processor time while connected nodes say nothing"},
    {NULL, .run = NULL},
};

/* clang-format on */

void case_list(void)
{
    for (const struct bench_figure *f = bench_figures; f->name != NULL; f++)
        printf("  %-12s %s\n", f->name, f->what);
}

const char *case_limit(const struct bench_options *o, const struct bench_figure *f)
{
    /* Without a broker the wire is the limit; for a delay there is none to compare with. */
    if (f->limit == NULL || o->stub_port < 0)
        return f->limit;
    return f->paced ? NULL : "echo";
}

static const struct bench_figure *figure_named(const char *name, size_t len)
{
    for (const struct bench_figure *f = bench_figures; f->name != NULL; f++) {
        if (strlen(f->name) == len && memcmp(f->name, name, len) == 0)
            return f;
    }
    return NULL;
}

const char *case_parse(const char *text, struct bench_case *out)
{
    const char *colon = strchr(text, ':');
    const size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
    const struct bench_figure *f = figure_named(text, len);
    if (f == NULL)
        return "no figure is called so";
    *out = (struct bench_case){.figure = f, .nodes = f->nodes, .rate = f->paced ? 1000 : 0};
    out->limit = -1;
    if (colon != NULL) {
        char *end;
        const unsigned long n = strtoul(colon + 1, &end, 10);
        const bool may_be_none = f->kind == KIND_MEMORY || f->kind == KIND_IDLE;
        if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || n > BENCH_NODES_MAX ||
            (n == 0 && !may_be_none))
            return "behind ':' stands a number, at most 1000000";
        *(f->paced ? &out->rate : &out->nodes) = (uint32_t)n;
    }
    snprintf(out->name, sizeof out->name, "%.20s:%u", f->name, f->paced ? out->rate : out->nodes);
    return NULL;
}

/* ---- one case -------------------------------------------------------------------------------- */

void result_between(struct bench_result *r, const struct probe *from, const struct probe *to)
{
    const double messages = (double)(to->arrived - from->arrived);
    const double ns = (double)(to->at_ns - from->at_ns);
    r->seconds = ns / 1e9;
    r->rate = messages / r->seconds;
    r->cpu_us = r->cpu_share = -1;
    if (to->cpu_ns >= 0 && from->cpu_ns >= 0) {
        r->cpu_us = messages > 0 ? (double)(to->cpu_ns - from->cpu_ns) / 1e3 / messages : -1;
        r->cpu_share = (double)(to->cpu_ns - from->cpu_ns) / ns;
        r->wakeups = (double)(to->switches - from->switches) / r->seconds;
    }
    r->tool_us = messages > 0 ? (double)(to->tool_ns - from->tool_ns) / 1e3 / messages : -1;
    r->rss_kib = (double)to->rss_kib;
}

void result_books(const struct bench *b, struct bench_result *r)
{
    const struct tally *t = &b->tally;
    r->p50_us = (double)hist_quantile(&t->delays, 0.5) / 1e3;
    r->p99_us = (double)hist_quantile(&t->delays, 0.99) / 1e3;
    r->p999_us = (double)hist_quantile(&t->delays, 0.999) / 1e3;
    r->sent = t->sent;
    r->arrived = t->arrived;
    r->lost = t->sent > t->arrived ? t->sent - t->arrived : 0;
    r->duplicated = t->duplicated;
    r->reordered = t->reordered;
    r->misrouted = t->misrouted;
    r->refused = b->refused;
    r->repeats = b->repeats;
}

void result_drops(struct bench_result *r, const struct probe *from, const struct probe *to)
{
    const uint64_t all = to->all_drops - from->all_drops;
    r->gateway_drops = to->udp_drops - from->udp_drops;
    r->tool_drops = all > r->gateway_drops ? all - r->gateway_drops : 0;
}

void run_case(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    *r = (struct bench_result){.cpu_us = -1, .cpu_share = -1, .tool_us = -1};
    b->trouble = NULL;
    b->run++;
    const uint32_t streams = c->nodes + b->options.crowd;
    if (tally_init(&b->tally, streams) != 0)
        b->trouble = "out of memory";
    else
        c->figure->run(b, c, r);
    tally_deinit(&b->tally);
    r->trouble = b->trouble;
}
