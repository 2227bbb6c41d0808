/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sleeping nodes (section 6.14): DISCONNECT with a duration, PINGREQ with the client id, what the
 * gateway has kept, PINGRESP, and asleep again.
 *
 *     node asleep    commands for it are sent to the broker
 *     node awake     each once, in order, PINGRESP last: judged here
 *
 * Nodes that wake together go in rounds: all asleep, commands sent, the broker has them, the gateway
 * had time to fetch them, all wake up within the jitter, all asleep again.
 */
#include "tools/sim.h"

enum {
    COMMANDS_OPEN_MAX =
        2000,           /* at the broker: enough to keep it busy, no more than fits its window */
    SETTLE_MS = 2000,   /* for the broker's queue to the gateway */
    HURRY_MS = 1000,    /* at the end sleepers come this often ... */
    STICK_GAP_MS = 100, /* ... behind a stick only in such a distance: it carries few packets */
    AGAIN_MS = 1000,    /* after a wake-up without answer */
};

void sleep_init(struct sim *sim)
{
    struct sim_sleep *s = &sim->sleep;
    list_init(&s->commanded);
    for (size_t i = 0; i < sim->plan.n_groups; i++)
        s->together += sim->plan.groups[i].wake_together ? sim->plan.groups[i].nodes : 0;
}

static int64_t some_of(struct sim *sim, int64_t span_ms)
{
    return (int64_t)rng_below(&sim->rng, (uint64_t)span_ms + 1);
}

void sleep_forget(struct sim_node *n)
{
    list_unlink(&n->commanded);
    n->commands_due = 0;
    n->wake_ms = TIME_NEVER;
    n->resuming = false;
}

/* ---- falling asleep -------------------------------------------------------------------------- */

static uint64_t repeats(const struct sim_node *n)
{
    return snc_counters(n->client)->retransmissions;
}

void sleep_if_idle(struct sim *sim, struct sim_node *n)
{
    const bool is_busy = n->open.is_open || (n->owed > 0 && sim->phase == RUN_GOING);
    if (!n->group->sleepy || n->state != NODE_ACTIVE || is_busy || sim->options.connect_only)
        return;
    if (snc_disconnect(n->client, sim->now_ms, plan_sleep_s(n->group)) != 0)
        return; /* a REGISTER is open: its answer brings us here again */
    n->period_repeats = repeats(n);
    node_enter(sim, n, NODE_FALLING_ASLEEP);
}

static void queue_commands(struct sim *sim, struct sim_node *n)
{
    if (!n->subscribed || n->group->commands_per_sleep == 0)
        return;
    n->commands_due += n->group->commands_per_sleep;
    if (!list_linked(&n->commanded))
        list_push_back(&sim->sleep.commanded, &n->commanded);
}

static int64_t hurry_ms(const struct sim *sim)
{
    const int64_t crowd_ms = sim->stick != NULL ? (int64_t)sim->n_nodes * STICK_GAP_MS : 0;
    return time_max(HURRY_MS, crowd_ms);
}

static void lie_down(struct sim *sim, struct sim_node *n, int64_t wake_ms)
{
    n->wake_ms = sim->phase == RUN_GOING ? wake_ms : sim->now_ms + hurry_ms(sim);
    node_enter(sim, n, NODE_ASLEEP);
}

void sleep_begun(struct sim *sim, struct sim_node *n)
{
    const struct sim_group *g = n->group;
    const int64_t jitter_ms = g->wake_together ? 0 : some_of(sim, g->wake_jitter_ms);
    lie_down(sim, n, sim->now_ms + g->sleep_ms + jitter_ms);
    if (!g->wake_together && sim->phase == RUN_GOING)
        queue_commands(sim, n);
}

void sleep_pong(struct sim *sim, struct sim_node *n)
{
    sim->sleep.periods++;
    hist_add(&sim->sleep.awake_us, sim->now_us - n->awake_us);
    sleep_begun(sim, n);
}

void sleep_unanswered(struct sim *sim, struct sim_node *n)
{
    sim->sleep.unanswered++;
    lie_down(sim, n, sim->now_ms + AGAIN_MS);
}

/* ---- waking up ------------------------------------------------------------------------------- */

void sleep_wake(struct sim *sim, struct sim_node *n)
{
    const struct sim_group *g = n->group;
    n->wake_ms = TIME_NEVER;
    if (n->state != NODE_ASLEEP)
        return;
    n->wakes++;
    n->period_repeats = repeats(n);
    if (sim->sleep.phase == ROUND_WAKING && g->wake_together && n->round <= sim->sleep.rounds) {
        n->round = sim->sleep.rounds + 1;
        sim->sleep.to_wake--;
    }
    const bool publishes =
        g->wake_publish > 0 && n->wakes % g->wake_publish == 0 && sim->phase == RUN_GOING;
    if (publishes && snc_connect(n->client, sim->now_ms) == 0) {
        node_enter(sim, n, NODE_CONNECTING);
        n->resuming = true;
        n->connect_us = sim->now_us;
        sim->connecting++;
    } else if (snc_ping(n->client, sim->now_ms) == 0) {
        node_enter(sim, n, NODE_AWAKE);
        n->awake_us = sim->now_us;
    }
}

void sleep_hurry(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        struct sim_node *n = &sim->nodes[i];
        if (n->state != NODE_ASLEEP)
            continue;
        n->wake_ms = sim->now_ms + some_of(sim, hurry_ms(sim));
        node_pump(sim, n);
    }
}

/* ---- what is checked ------------------------------------------------------------------------- */

bool sleep_hears(struct sim *sim, const struct sim_node *n, struct bytes packet)
{
    if (!snc_is_asleep(n->client))
        return true;
    struct sn_packet p;
    const bool is_delivery = sn_decode(packet, &p) == SN_DECODED &&
                             (p.type == SN_PUBLISH || p.type == SN_REGISTER || p.type == SN_PUBREL);
    /* The air may keep a copy back; and who asks twice is answered twice. */
    const struct air_settings *air = &n->group->air;
    const bool is_plain =
        air->duplicate <= 0 && air->jitter_ms <= 0 && n->period_repeats == repeats(n);
    if (is_delivery && is_plain)
        sim->sleep.after_pingresp++;
    else
        sim->sleep.unheard++;
    return false;
}

void sleep_judge(struct sim *sim, const struct sim_node *n, const struct snc_event *event, int qos,
                 bool is_repeated, bool is_late)
{
    sim->sleep.reordered += is_late && qos > 0;
    if (!is_repeated)
        return;
    if (event->dup || n->group->air.duplicate > 0)
        sim->sleep.marked++;
    else
        sim->sleep.unmarked++;
}

/* ---- commands, and rounds -------------------------------------------------------------------- */

static void send_commands(struct sim *sim)
{
    struct sim_sleep *s = &sim->sleep;
    while (!list_empty(&s->commanded) && s->commands_open < COMMANDS_OPEN_MAX) {
        struct list *first = s->commanded.next;
        list_unlink(first);
        struct sim_node *n = container_of(first, struct sim_node, commanded);
        const bool sent = broker_command(sim, n);
        n->commands_due -= sent;
        if (n->commands_due > 0)
            list_push_back(&s->commanded, &n->commanded);
        if (!sent)
            return; /* no connection: later */
    }
}

static void for_all_together(struct sim *sim, void (*act)(struct sim *sim, struct sim_node *n))
{
    for (uint32_t i = 0; i < sim->n_nodes; i++) {
        if (sim->nodes[i].group->wake_together)
            act(sim, &sim->nodes[i]);
    }
}

static void call(struct sim *sim, struct sim_node *n)
{
    n->wake_ms = sim->now_ms + some_of(sim, n->group->wake_jitter_ms);
    node_pump(sim, n);
}

static void step_round(struct sim *sim)
{
    struct sim_sleep *s = &sim->sleep;
    const bool all_lie = s->together > 0 && s->lying == s->together;
    switch (s->phase) {
    case ROUND_GATHERING:
        if (!all_lie)
            return;
        s->phase = ROUND_COMMANDING;
        for_all_together(sim, queue_commands);
        send_commands(sim);
        return;
    case ROUND_COMMANDING:
        if (!list_empty(&s->commanded) || s->commands_open > 0)
            return;
        s->phase = ROUND_SETTLING;
        s->settled_ms = sim->now_ms + SETTLE_MS;
        return;
    case ROUND_SETTLING:
        if (sim->now_ms < s->settled_ms || !all_lie)
            return;
        s->phase = ROUND_WAKING;
        s->to_wake = s->together;
        s->wake_us = sim->now_us;
        for_all_together(sim, call);
        return;
    case ROUND_WAKING:
        if (s->to_wake > 0 || !all_lie)
            return;
        hist_add(&s->round_us, sim->now_us - s->wake_us);
        s->rounds++;
        s->phase = ROUND_GATHERING;
        return;
    }
}

void sleep_step(struct sim *sim)
{
    if (sim->broker != NULL)
        send_commands(sim);
    step_round(sim);
}

int64_t sleep_next_ms(const struct sim *sim)
{
    const struct sim_sleep *s = &sim->sleep;
    return s->phase == ROUND_SETTLING && s->settled_ms > sim->now_ms ? s->settled_ms : TIME_NEVER;
}
