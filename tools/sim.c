/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-sim: simulated MQTT-SN nodes, and a ledger of what became of their messages. */
#include "tools/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

enum { TABLE_MS = 250, PROGRESS_MS = 1000 };

static bool make_world(struct sim *sim)
{
    sim->n_nodes = plan_nodes(&sim->plan);
    list_init(&sim->connect_queue);
    deadlines_init(&sim->deadlines);
    rng_seed(&sim->rng, sim->plan.seed);
    net_read_clock(sim);
    sim->phase_ms = sim->now_ms;
    sleep_init(sim);
    const bool observed = sim->options.broker != NULL;
    sim->nodes = calloc(sim->n_nodes, sizeof *sim->nodes);
    if (sim->nodes == NULL || ledger_init(&sim->up, sim->n_nodes, observed) != 0 ||
        ledger_init(&sim->down, sim->n_nodes, true) != 0) {
        fprintf(stderr, "sennet-sim: out of memory for %" PRIu32 " nodes\n", sim->n_nodes);
        return false;
    }
    for (size_t g = 0; g < sim->plan.n_groups; g++) {
        const struct sim_group *group = &sim->plan.groups[g];
        for (uint32_t i = 0; i < group->nodes; i++)
            node_init(sim, &sim->nodes[group->first + i], group->first + i, group);
    }
    return true;
}

static void end_world(struct sim *sim)
{
    for (uint32_t i = 0; sim->nodes != NULL && i < sim->n_nodes; i++)
        node_deinit(sim, &sim->nodes[i]);
}

static void free_world(struct sim *sim)
{
    ledger_deinit(&sim->up);
    ledger_deinit(&sim->down);
    free(sim->nodes);
    plan_deinit(&sim->plan);
}

static void loop(struct sim *sim)
{
    const bool shows = !sim->options.quiet;
    const int64_t period_ms = sim->table != NULL ? TABLE_MS : PROGRESS_MS;
    int64_t show_ms = shows ? sim->now_ms : TIME_NEVER;
    while (sim->phase != RUN_ENDED) {
        net_wait(sim, time_min(run_next_ms(sim), show_ms));
        run_step(sim);
        if (sim->now_ms < show_ms)
            continue;
        show_ms = sim->now_ms + period_ms;
        if (sim->table != NULL)
            table_draw(sim);
        else
            progress_line(sim);
    }
}

static int report(const struct sim *sim)
{
    /* With --json - the object has stdout for itself. */
    const bool json_on_stdout = sim->options.json != NULL && strcmp(sim->options.json, "-") == 0;
    report_print(sim, json_on_stdout ? stderr : stdout);
    fflush(stdout);
    const int e = sim->options.json != NULL ? report_json(sim, sim->options.json) : 0;
    if (e != 0) {
        fprintf(stderr, "sennet-sim: %s: %s\n", sim->options.json, strerror(-e));
        return EXIT_RUNTIME;
    }
    return report_verdict(sim) ? EXIT_OK : EXIT_RUNTIME;
}

static int run(struct sim *sim)
{
    sim->epoll_fd = sim->signal_fd = -1;
    if (!make_world(sim))
        return EXIT_SYSTEM;
    /* Signals are blocked by net_init(), and Paho's threads shall inherit that. */
    if (!net_init(sim))
        return EXIT_SYSTEM;
    if (sim->options.stick.kind != NULL) {
        sim->stick = stick_start(sim, &sim->options.stick);
        if (sim->stick == NULL)
            return EXIT_SYSTEM;
    }
    if (sim->options.broker != NULL && !broker_start(sim))
        return EXIT_UNAVAILABLE;
    if (!sim->options.quiet && !sim->options.plain && isatty(STDOUT_FILENO))
        sim->table = table_new(sim);
    else
        fprintf(stderr, "sennet-sim: %" PRIu32 " nodes, seed %" PRIu64 "\n", sim->n_nodes,
                sim->plan.seed);
    loop(sim);
    table_free(sim->table);
    sim->table = NULL;
    end_world(sim);
    const int result = sim->start_us > 0 ? report(sim) : EXIT_UNAVAILABLE;
    broker_stop(sim);
    return result;
}

int main(int argc, char **argv)
{
    static struct sim sim;
    const int e = sim_args(&sim, argc, argv);
    const int result = e == 0 ? run(&sim) : -1 - e;
    if (e == 0) {
        stick_stop(&sim, sim.stick);
        net_deinit(&sim);
        free_world(&sim);
    } else {
        plan_deinit(&sim.plan);
    }
    return result;
}
