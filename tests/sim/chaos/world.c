/* SPDX-License-Identifier: Apache-2.0 */
/* One seed: a virtual day, or whatever is asked for, then calm, then judgement. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "sim/chaos/chaos.h"

enum { CALM_MS = 8 * 60 * MINUTE_MS, SETTLE_MS = 30 * MINUTE_MS };

void chaos_fail(struct chaos *x, const char *format, ...)
{
    if (x->failed)
        return;
    x->failed = true;
    printf("seed %llu, after %.3f s: ", (unsigned long long)x->options.seed,
           (double)(chaos_now(x) - START_MS) / 1000);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n  reproduce: sennet-chaos --nodes %u --minutes %lld --restarts %lld --failures %lld "
           "--seed %llu --seeds 1 [--trace NODE]\n",
           x->options.nodes, (long long)(x->options.active_ms / MINUTE_MS),
           (long long)(x->options.restart_ms / SECOND_MS),
           (long long)(x->options.fail_ms / SECOND_MS), (unsigned long long)x->options.seed);
}

int64_t chaos_random(struct chaos *x, int64_t from, int64_t to)
{
    return from + (int64_t)rng_below(&x->rng, (uint64_t)(to - from + 1));
}

bool chaos_chance(struct chaos *x, unsigned percent)
{
    return rng_below(&x->rng, 100) < percent;
}

int64_t chaos_about(struct chaos *x, int64_t mean_ms)
{
    return chaos_random(x, mean_ms / 2, mean_ms * 3 / 2);
}

void *chaos_grow(void *array, uint32_t *cap, size_t each)
{
    *cap = *cap > 0 ? *cap * 2 : 64;
    void *grown = realloc(array, *cap * each);
    if (grown == NULL)
        abort();
    return grown;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

/* Predefined topics for both directions: ids 1 to 8 are p/0 to p/7, 101 to 108 are up/0 to up/7. */
static void engine_init(struct chaos *x)
{
    struct sn_engine_config config = sn_engine_defaults();
    struct shared_config shared = shared_defaults();
    for (unsigned i = 0; i < 2 * ALIASES; i++) {
        const bool up = i >= ALIASES;
        snprintf(x->topic_names[i], sizeof x->topic_names[i], "%s/%u", up ? "up" : "p",
                 i % ALIASES);
        x->topics[i].topic_id = (uint16_t)((up ? FIRST_ALIAS_UP : FIRST_ALIAS_DOWN) + i % ALIASES);
        x->topics[i].topic = x->topic_names[i];
    }

    static const enum sn_overflow policies[] = {SN_DROP_OLDEST, SN_DROP_NEWEST,
                                                SN_LATEST_PER_TOPIC};

    x->tight = (struct sn_client_section){
        .glob = "t*",
        .options = {
                    .max_queue = 6, .max_queue_bytes = 600, .overflow = policies[x->options.seed % 3]}
    };
    x->section = (struct sn_topics_section){.entries = x->topics, .n_entries = 2 * ALIASES};
    config.hash_seed = (struct hash_seed){.k0 = x->options.seed, .k1 = ~x->options.seed};
    config.late_connect_ms = 2000; /* this air copies and delays */
    config.defaults.max_queue = 5000;
    config.defaults.max_queue_bytes = 1 << 20;
    config.max_memory_bytes = UINT64_C(64) << 20;
    config.clients = &x->tight;
    config.n_clients = 1;
    config.topics = &x->section;
    config.n_topics = 1;
    shared.hash_seed = config.hash_seed;
    config.journal = x->options.restart_ms > 0;
    config.print_seed = (struct hash_seed){.k0 = 3, .k1 = 4};
    sim_init(&x->w, &config, &shared, START_MS);
    x->w.log = watch_log;
    x->w.log_arg = x;
    if (x->options.restart_ms > 0) {
        struct spool_config spool = spool_defaults();
        spool.hash_seed = config.hash_seed;
        spool.max_memory_bytes = 2000; /* most is fetched */
        x->w.commit_ms = chaos_chance(x, 70) ? chaos_random(x, 1, 300) : 0;
        sim_add_spool(&x->w, &spool);
    }
    x->base_memory = sn_engine_gauges(x->w.engine).memory_bytes;
    x->base_shared = shared_gauges(x->w.shared).memory_bytes;
}

static void chaos_init(struct chaos *x, const struct chaos_options *options, struct totals *totals)
{
    x->options = *options;
    x->totals = totals;
    x->n_nodes = options->nodes;
    x->nodes = calloc(x->n_nodes, sizeof *x->nodes);
    if (x->nodes == NULL)
        abort();
    rng_seed(&x->rng, options->seed);
    x->retry_count = (unsigned)chaos_random(x, 3, 5);
    deadlines_init(&x->timers);
    engine_init(x);
    broker_init(x);
    restart_init(x);
    for (unsigned i = 0; i < x->n_nodes; i++)
        node_init(x, i);
}

static void chaos_deinit(struct chaos *x)
{
    for (unsigned i = 0; i < x->n_nodes; i++)
        node_deinit(x, &x->nodes[i]);
    broker_deinit(x);
    restart_deinit(x);
    air_deinit(x);
    sim_deinit(&x->w);
    free(x->news);
    free(x->nodes);
    free(x);
}

/* ---- time ------------------------------------------------------------------------------------ */

void chaos_flush(struct chaos *x)
{
    for (struct sim_packet *p = sim_take_packet(&x->w); p != NULL; p = sim_take_packet(&x->w)) {
        air_from_gateway(x, p);
        sim_packet_free(p);
    }
    for (struct sim_ask *a = sim_take_ask(&x->w); a != NULL; a = sim_take_ask(&x->w))
        broker_take(x, a);
}

static void fire(struct chaos *x, struct deadline *d)
{
    switch ((enum timer_kind)d->kind) {
    case TIMER_NODE:
        node_due(x, container_of(d, struct chaos_node, timer));
        break;
    case TIMER_NEWS:
        news_due(x, container_of(d, struct chaos_node, news));
        break;
    case TIMER_BROKER:
        broker_due(x);
        break;
    case TIMER_RESTART:
        restart_due(x);
        break;
    case TIMER_TROUBLE:
        trouble_due(x);
        break;
    }
}

static void step(struct chaos *x)
{
    const int64_t machines_ms = sim_next_deadline(&x->w);
    const int64_t next_ms =
        time_min(machines_ms, time_min(deadlines_next(&x->timers), air_next(x)));
    if (next_ms > chaos_now(x) && machines_ms > next_ms)
        x->w.now_ms = next_ms; /* the entries advance by themselves */
    else if (next_ms > chaos_now(x) && !sim_advance(&x->w, next_ms))
        chaos_fail(x, "a deadline in the past");
    chaos_flush(x);
    air_arrive(x);
    deadlines_collect(&x->timers, chaos_now(x));
    for (struct deadline *d = deadlines_take(&x->timers); d != NULL; d = deadlines_take(&x->timers))
        fire(x, d);
}

static void run_until(struct chaos *x, int64_t end_ms)
{
    while (!x->failed && chaos_now(x) < end_ms)
        step(x);
}

static void calm_down(struct chaos *x)
{
    for (unsigned i = 0; i < x->n_nodes; i++)
        node_calm(x, &x->nodes[i]);
    x->calm = true;
    const int64_t latest_ms = chaos_now(x) + CALM_MS;
    while (!x->failed && x->n_gone < x->n_nodes) {
        step(x);
        if (chaos_now(x) > latest_ms)
            chaos_fail(x, "not everything came through in clean air: %u of %u nodes are done",
                       x->n_gone, x->n_nodes);
    }
    /* The broker has to hear of the last filters, and may be away for ten minutes. */
    const int64_t settled_ms = chaos_now(x) + SETTLE_MS;
    while (!x->failed && chaos_now(x) < settled_ms &&
           time_min(sim_next_deadline(&x->w), deadlines_next(&x->timers)) != TIME_NEVER)
        step(x);
}

bool chaos_play(const struct chaos_options *options, struct totals *totals)
{
    struct chaos *x = calloc(1, sizeof *x);
    if (x == NULL)
        abort();
    chaos_init(x, options, totals);
    run_until(x, START_MS + options->active_ms);
    calm_down(x);
    if (!x->failed)
        judge_end(x);
    const bool passed = !x->failed;
    totals->seeds++;
    totals->failed += !passed;
    totals->virtual_ms += (uint64_t)(chaos_now(x) - START_MS);
    chaos_deinit(x);
    return passed;
}
