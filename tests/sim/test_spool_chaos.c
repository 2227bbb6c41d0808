/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spool against everything at once, seed by seed: connections that break and come back, brokers
 * that forget, a store that lags, has no room and can't be read, processes that die, connections that are
 * ended, limits that change. In all of that
 * nothing acknowledged is lost, QoS 2 comes once, each client's messages come in order.
 *
 * SENNET_SEEDS says how many seeds, SENNET_SEED the first one.
 */
#include <string.h>

#include "sim/spool_world.h"
#include "unit/suite.h"

/* Kinds of nodes, by the QoS that they use. */
enum { STEPS = 700, KINDS = 5, KINDS_UNMIXED = 3 };

static void submit(struct world *w)
{
    static const uint8_t kinds[KINDS][3] = {
        {0, 0, 1},
        {1, 1, 1},
        {2, 2, 2},
        {0, 1, 2},
        {1, 2, 2}
    };

    const unsigned c = pick(w, w->n_nodes);
    const uint8_t qos = kinds[w->nodes[c].kind][pick(w, 3)];
    const bool will = chance(w, 3);
    if (qos == 0 || w->nodes[c].n_open < w->nodes[c].window)
        world_publish(w, c, qos, will);
}

static struct spool_config random_config(struct rng *rng)
{
    static const size_t memories[] = {0, 500, 1000, 3000, 4 << 20};

    struct spool_config config = spool_defaults();
    config.hash_seed.k0 = rng_next(rng);
    config.max_memory_bytes = memories[rng_below(rng, 5)];
    static const unsigned windows[] = {1, 2, 2, 16, 16, 16};
    config.window = windows[rng_below(rng, 6)];
    config.qos_0 = rng_below(rng, 2) == 0;
    if (rng_below(rng, 4) == 0) {
        config.max_messages = 10 + rng_below(rng, 30);
        config.full = rng_below(rng, 2) == 0 ? SPOOL_REFUSE : SPOOL_DROP_OLDEST;
    }
    if (rng_below(rng, 4) == 0)
        config.max_bytes = 200 + rng_below(rng, 400);
    if (rng_below(rng, 6) == 0)
        config.max_age_ms = 3000;
    config.hold_ms = rng_below(rng, 3) == 0 ? 200 : config.hold_ms;
    static const int64_t silences[] = {0, 1, 25, 25, 300};
    config.silence_ms = silences[rng_below(rng, 5)];
    return config;
}

/* Half of the seeds have limits. */
static struct pace_config random_limits(uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, ~seed);
    struct pace_config pace = {.seed = seed};
    if (rng_below(&rng, 2) == 0)
        return pace;
    pace.messages = rng_below(&rng, 2) == 0 ? 1 + (uint32_t)rng_below(&rng, 200) : 0;
    pace.bytes = rng_below(&rng, 3) == 0 ? 10 + rng_below(&rng, 5000) : 0;
    pace.collect_ms = rng_below(&rng, 3) == 0 ? 1 + (int64_t)rng_below(&rng, 2000) : 0;
    pace.quiet[0] = (struct pace_hours){(uint16_t)(1 + rng_below(&rng, PACE_DAY - 1)), 0};
    pace.n_quiet = rng_below(&rng, 3) == 0;
    return pace;
}

static void reload(struct world *w)
{
    struct spool_config config = random_config(&w->rng);
    config.pace = random_limits(rng_next(&w->rng));
    world_configure(w, &config);
}

static void trouble(struct world *w)
{
    switch (pick(w, 14)) {
    case 0:
    case 1:
    case 2:
        if (w->wire.online)
            wire_break(w);
        break;
    case 3:
        if (w->faults.unusable)
            world_usable(w, !w->usable);
        break;
    case 4:
        if (w->faults.crash && chance(w, 30))
            world_crash(w);
        break;
    case 5:
        world_pass(w, 1000 + pick(w, 3000));
        break;
    case 6:
        world_wall(w, pick(w, PACE_DAY));
        world_ask(w);
        break;
    case 7:
        spool_record_all(w->s);
        world_carry(w);
        break;
    case 8:
        if (w->faults.abandon && chance(w, 50))
            world_abandon(w);
        break;
    case 9:
        if (w->faults.reload && chance(w, 50))
            reload(w);
        break;
    default:
        wire_connect(w, w->faults.forget && chance(w, 30));
        break;
    }
}

static void act(struct world *w)
{
    const unsigned what = pick(w, 100);
    if (what < 30)
        submit(w);
    else if (what < 45)
        wire_step(w);
    else if (what < 62)
        wire_hear(w);
    else if (what < 72)
        world_turn(w);
    else if (what < 80)
        rows_step(w);
    else if (what < 86)
        rows_answer(w);
    else if (what < 89)
        wire_notice(w);
    else if (what < 93)
        world_pass(w, pick(w, 50));
    else if (what < 96)
        world_settle(w);
    else
        trouble(w);
    world_carry(w);
}

static void play(uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    struct spool_config config = random_config(&rng);
    config.pace = random_limits(seed);
    struct faults faults;
    bool *const all = (bool *)&faults;
    for (size_t i = 0; i < sizeof faults; i++)
        all[i] = rng_below(&rng, 3) == 0;
    struct world *w = world_new(&config, faults, rng_next(&rng));
    w->n_nodes = 1 + pick(w, CLIENTS_MAX - 2);
    for (unsigned i = 0; i < w->n_nodes; i++) {
        w->nodes[i].window = 1 + pick(w, OPEN_MAX);
        /* Without a store QoS 2 and QoS 1 are passed on side by side. */
        w->nodes[i].kind = pick(w, faults.unusable ? KINDS_UNMIXED : KINDS);
    }
    for (unsigned i = 0; i < STEPS; i++)
        act(w);
    world_wall(w, 0); /* which is never quiet */
    world_end(w);
    world_free(w);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

START_TEST(nothing_acknowledged_is_lost_whatever_happens)
{
    const uint64_t first = number_from("SENNET_SEED", 1);
    const uint64_t n = number_from("SENNET_SEEDS", 2000);
    for (uint64_t seed = first; seed < first + n; seed++) {
        if (n > 1 && seed % 500 == 0)
            printf("seed %llu\n", (unsigned long long)seed);
        char text[64];
        snprintf(text, sizeof text, "SENNET_SEED=%llu SENNET_SEEDS=1", (unsigned long long)seed);
        world_seed_text = text;
        play(seed);
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("spool_chaos");
    TCase *chaos = tcase_create("chaos");
    tcase_set_timeout(chaos, 300);
    tcase_add_test(chaos, nothing_acknowledged_is_lost_whatever_happens);
    suite_add_tcase(suite, chaos);
    return run_suite(suite);
}
