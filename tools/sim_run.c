/* SPDX-License-Identifier: Apache-2.0 */
/* The course of a run: wait for the broker, go, drain, leave; and scenario events on the way. */
#include <stdio.h>

#include "tools/sim.h"

enum {
    BROKER_WAIT_MS = 15000,
    LEAVE_MS = 1500,  /* for the answers to our DISCONNECTs */
    SETTLE_MS = 1000, /* drain: for QoS 0 and -1, of which nobody says whether they still come */
    CHECK_MS = 20,    /* how often the end of a phase is looked for */
};

double run_seconds(const struct sim *sim)
{
    const int64_t end_us = sim->end_us > 0 ? sim->end_us : sim->now_us;
    const double seconds = (double)(end_us - sim->start_us) / 1e6;
    return sim->start_us > 0 && seconds > 0.001 ? seconds : 0.001;
}

static void enter(struct sim *sim, enum run_phase phase)
{
    sim->phase = phase;
    sim->phase_ms = sim->now_ms;
}

void run_interrupt(struct sim *sim)
{
    sim->interrupts++;
}

/* ---- scenario events ------------------------------------------------------------------------- */

/* Whether an event makes a difference to this node now: "vanish 2" means two that are there. */
static bool concerns(const struct sim_node *n, enum sim_action action)
{
    const bool is_on =
        n->state != NODE_OFF && n->state != NODE_VANISHED && n->state != NODE_LEAVING;
    switch (action) {
    case ACTION_VANISH:
    case ACTION_DISCONNECT:
        return is_on;
    case ACTION_RECONNECT:
        return !is_on && n->state != NODE_LEAVING;
    case ACTION_RATE:
        return true;
    }
    return false;
}

static void apply(struct sim *sim, struct sim_node *n, enum sim_action action)
{
    switch (action) {
    case ACTION_VANISH:
        node_vanish(sim, n);
        break;
    case ACTION_DISCONNECT:
        node_leave(sim, n);
        break;
    case ACTION_RECONNECT:
        node_start(sim, n);
        break;
    case ACTION_RATE:
        if (n->client != NULL) {
            node_schedule(sim, n);
            node_pump(sim, n);
        }
        break;
    }
}

static void fire_in_group(struct sim *sim, const struct sim_event *event, struct sim_group *g)
{
    if (event->action == ACTION_RATE) {
        g->rate = event->rate;
        g->rate_max = event->rate_max;
    }
    uint32_t left = event->count > 0 ? event->count : g->nodes;
    for (uint32_t i = 0; i < g->nodes && left > 0; i++) {
        struct sim_node *n = &sim->nodes[g->first + i];
        if (!concerns(n, event->action))
            continue;
        apply(sim, n, event->action);
        left--;
    }
}

static void fire(struct sim *sim, const struct sim_event *event)
{
    for (size_t i = 0; i < sim->plan.n_groups; i++) {
        if (event->group == SIM_ALL_GROUPS || event->group == (int)i)
            fire_in_group(sim, event, &sim->plan.groups[i]);
    }
}

static void fire_events(struct sim *sim)
{
    const int64_t since_ms = (sim->now_us - sim->start_us) / 1000;
    while (sim->next_event < sim->plan.n_events &&
           sim->plan.events[sim->next_event].at_ms <= since_ms)
        fire(sim, &sim->plan.events[sim->next_event++]);
}

/* ---- phases ---------------------------------------------------------------------------------- */

static void go(struct sim *sim)
{
    sim->start_us = sim->now_us;
    enter(sim, RUN_GOING);
    for (uint32_t i = 0; i < sim->n_nodes; i++)
        node_start(sim, &sim->nodes[i]);
    nodes_connect(sim);
}

static void wait_for_broker(struct sim *sim)
{
    const bool stick = sim->stick == NULL || stick_is_ready(sim, sim->stick);
    if ((sim->broker == NULL || broker_ready(sim)) && stick) {
        go(sim);
        return;
    }
    if (!stick && sim->interrupts == 0)
        return; /* for as long as it takes to write a configuration */
    if (sim->now_ms - sim->phase_ms < BROKER_WAIT_MS && sim->interrupts == 0)
        return;
    if (stick)
        fprintf(stderr, "sennet-sim: the broker %s can't be used: %s\n", sim->options.broker,
                broker_trouble(sim));
    enter(sim, RUN_ENDED);
}

/* Every node has been connected, as far as they are to be: those of QoS -1 are not. */
static bool all_came(const struct sim *sim)
{
    const uint32_t away =
        sim->in_state[NODE_TALKING] + sim->in_state[NODE_VANISHED] + sim->in_state[NODE_OFF];
    return sim->ever_connected + away >= sim->n_nodes;
}

static bool is_time_up(const struct sim *sim)
{
    if (sim->options.connect_only && sim->ever_connected == sim->n_nodes)
        return true;
    if (sim->plan.rounds > 0 && sim->sleep.rounds >= sim->plan.rounds)
        return true;
    if (sim->stick != NULL && stick_is_through(sim->stick) && all_came(sim))
        return true;
    const int64_t duration_ms = sim->plan.duration_ms;
    return duration_ms != TIME_NEVER && (sim->now_us - sim->start_us) / 1000 >= duration_ms;
}

static void stop_publishing(struct sim *sim)
{
    sim->end_us = sim->now_us;
    enter(sim, RUN_DRAINING);
    sleep_hurry(sim);
}

/* Everything that was promised has come; what was not promised has had its chance. */
static bool is_drained(const struct sim *sim)
{
    if (sim->options.connect_only)
        return true;
    if (sim->publishing > 0)
        return false;
    if (sim->broker == NULL)
        return true;
    if (sim->counters.wills_seen < sim->counters.wills_expected)
        return false;
    uint64_t missing = 0;
    for (int qos = -1; qos <= 2; qos++) {
        const struct ledger_totals *up = &sim->up.totals[ledger_index(qos)];
        const struct ledger_totals *down = &sim->down.totals[ledger_index(qos)];
        if (up->lost > 0 || (qos > 0 && (down->lost > 0 || down->missing > 0)))
            return false;
        missing += up->missing + down->missing;
    }
    return missing == 0 || sim->now_ms - sim->phase_ms >= SETTLE_MS;
}

static void leave(struct sim *sim)
{
    sim->drain_cut = !is_drained(sim);
    enter(sim, RUN_LEAVING);
    for (uint32_t i = 0; i < sim->n_nodes; i++)
        node_leave(sim, &sim->nodes[i]);
}

static bool all_left(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        if (sim->nodes[i].state == NODE_LEAVING)
            return false;
    }
    return true;
}

void run_step(struct sim *sim)
{
    const int64_t since_ms = sim->now_ms - sim->phase_ms;
    switch (sim->phase) {
    case RUN_WAITING:
        wait_for_broker(sim);
        break;
    case RUN_GOING:
        fire_events(sim);
        sleep_step(sim);
        if (is_time_up(sim) || sim->interrupts > 0)
            stop_publishing(sim);
        break;
    case RUN_DRAINING:
        if (is_drained(sim) || since_ms >= sim->plan.drain_ms || sim->interrupts > 1)
            leave(sim);
        break;
    case RUN_LEAVING:
        if (all_left(sim) || since_ms >= LEAVE_MS || sim->interrupts > 2)
            enter(sim, RUN_ENDED);
        break;
    case RUN_ENDED:
        break;
    }
}

int64_t run_next_ms(const struct sim *sim)
{
    if (sim->phase != RUN_GOING)
        return sim->now_ms + CHECK_MS;
    int64_t next_ms = sleep_next_ms(sim);
    if (sim->plan.duration_ms != TIME_NEVER)
        next_ms = time_min(next_ms, sim->start_us / 1000 + sim->plan.duration_ms + 1);
    if (sim->next_event < sim->plan.n_events)
        next_ms =
            time_min(next_ms, sim->start_us / 1000 + sim->plan.events[sim->next_event].at_ms + 1);
    return next_ms;
}
