/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a node: connecting, staying connected, vanishing and coming back. */
#include <stdio.h>
#include <string.h>

#include "tools/sim.h"

enum {
    RETRY_MIN_MS = 500, /* after a failure, plus up to as much again */
    RETRY_SPREAD_MS = 500,
    WILL_ROOM = PAYLOAD_NATURAL_MAX,
};

const char *node_state_name(enum node_state state)
{
    static const char *const names[NODE_STATES] = {
        [NODE_OFF] = "off",
        [NODE_WAITING] = "waiting",
        [NODE_CONNECTING] = "connecting",
        [NODE_SUBSCRIBING] = "subscribing",
        [NODE_ACTIVE] = "active",
        [NODE_TALKING] = "qos -1",
        [NODE_FALLING_ASLEEP] = "falling asleep",
        [NODE_ASLEEP] = "asleep",
        [NODE_AWAKE] = "awake",
        [NODE_LEAVING] = "leaving",
        [NODE_VANISHED] = "vanished",
    };
    return names[state];
}

/* ---- helpers --------------------------------------------------------------------------------- */

static bool is_connected(const struct sim_node *n)
{
    return n->state == NODE_SUBSCRIBING || n->state == NODE_ACTIVE ||
           n->state == NODE_FALLING_ASLEEP || n->state == NODE_ASLEEP || n->state == NODE_AWAKE;
}

/* QoS -1 needs no connection (section 6.8), and such a node has nothing else to say. */
static bool is_talker(const struct sim *sim, const struct sim_group *g)
{
    return g->qos == -1 && !g->wills && !plan_commands(g) && !g->sleepy &&
           !sim->options.connect_only;
}

static bool wants_commands(const struct sim *sim, const struct sim_node *n)
{
    return sim->broker != NULL && plan_commands(n->group);
}

static bool lies(const struct sim_node *n)
{
    return n->state == NODE_ASLEEP && n->group->wake_together;
}

void node_enter(struct sim *sim, struct sim_node *n, enum node_state state)
{
    const bool was_connected = is_connected(n);
    sim->sleep.lying -= lies(n);
    sim->in_state[n->state]--;
    n->state = state;
    sim->in_state[n->state]++;
    sim->sleep.lying += lies(n);
    if (is_connected(n) && !was_connected)
        sim->connected++;
    if (!is_connected(n) && was_connected)
        sim->connected--;
}

static int64_t retry_time(struct sim *sim)
{
    return sim->now_ms + RETRY_MIN_MS + (int64_t)rng_below(&sim->rng, RETRY_SPREAD_MS);
}

static void arm(struct sim *sim, struct sim_node *n)
{
    if (n->client == NULL) {
        deadline_disarm(&sim->deadlines, &n->due);
        return;
    }
    int64_t at_ms = time_min(snc_next_deadline(n->client), n->retry_at_ms);
    at_ms = time_min(at_ms, n->wake_ms);
    if (n->subscribed && n->next_command_us < INT64_MAX)
        at_ms = time_min(at_ms, n->next_command_us / 1000 + 1);
    if (n->state == NODE_ACTIVE || n->state == NODE_TALKING) {
        if (n->next_publish_us < INT64_MAX)
            at_ms = time_min(at_ms, n->next_publish_us / 1000 + 1);
        if (n->hold_until_ms > sim->now_ms)
            at_ms = time_min(at_ms, n->hold_until_ms);
    }
    /* Firing too early is harmless and rare; arming for every packet would not be. */
    if (!deadline_armed(&n->due) || at_ms < n->due.at_ms)
        deadline_arm(&sim->deadlines, &n->due, at_ms);
}

static void close_attempt(struct sim *sim, struct sim_node *n)
{
    if (n->connect_us == 0)
        return;
    n->connect_us = 0;
    sim->connecting--;
}

/* The connection is over, whoever ended it. */
static void end_session(struct sim *sim, struct sim_node *n)
{
    close_attempt(sim, n);
    sleep_forget(n);
    n->subscribed = false;
    if (n->open.is_open && (n->group->clean || n->client == NULL)) {
        n->open.is_open = false;
        sim->publishing--;
    }
    /* At the end of the run everybody leaves, after the draining: no excuse for what is missing. And
     * sleepers with a kept session shall lose nothing, whatever happens to a connection. */
    const bool keeps = n->group->sleepy && !n->group->clean;
    if (!keeps && (sim->phase == RUN_GOING || sim->phase == RUN_DRAINING))
        ledger_excuse_node(&sim->down, n->number);
}

void node_wait_and_retry(struct sim *sim, struct sim_node *n)
{
    node_enter(sim, n, NODE_WAITING);
    n->retry_at_ms = retry_time(sim);
}

/* ---- switching on and off -------------------------------------------------------------------- */

void node_init(struct sim *sim, struct sim_node *n, uint32_t number, const struct sim_group *group)
{
    *n = (struct sim_node){.group = group,
                           .number = number,
                           .fd = -1,
                           .retry_at_ms = TIME_NEVER,
                           .next_publish_us = INT64_MAX,
                           .next_command_us = INT64_MAX,
                           .wake_ms = TIME_NEVER};
    sim->in_state[n->state]++;
    deadline_init(&n->due, 0);
    list_init(&n->queued);
    list_init(&n->commanded);
    air_path_init(&n->path, sim->plan.seed, number);
    snprintf(n->topic, sizeof n->topic, "%s/%u/reading", group->id_prefix, (unsigned)number);
}

static void take_counters(struct sim *sim, const struct snc *client)
{
    const struct snc_counters *c = snc_counters(client);
    sim->counters.retransmissions += c->retransmissions;
    sim->counters.gateway_duplicates += c->duplicates;
    sim->counters.told_again += c->told_again;
    sim->counters.malformed += c->malformed;
    sim->counters.unexpected += c->unexpected;
}

static void switch_off(struct sim *sim, struct sim_node *n)
{
    list_unlink(&n->queued);
    deadline_disarm(&sim->deadlines, &n->due);
    net_close(sim, n);
    if (n->client != NULL)
        take_counters(sim, n->client);
    snc_free(n->client);
    n->client = NULL;
    n->retry_at_ms = TIME_NEVER;
    end_session(sim, n);
}

void node_deinit(struct sim *sim, struct sim_node *n)
{
    switch_off(sim, n);
}

static struct snc *new_client(struct sim *sim, const struct sim_node *n)
{
    char id[NODE_TOPIC_MAX];
    char will_topic[NODE_TOPIC_MAX];
    uint8_t will[WILL_ROOM];
    const struct sim_group *g = n->group;
    snprintf(id, sizeof id, "%s-%u", g->id_prefix, (unsigned)n->number);
    snprintf(will_topic, sizeof will_topic, "%s/%u/will", g->id_prefix, (unsigned)n->number);
    const struct payload p = {
        .kind = PAYLOAD_WILL, .qos = 1, .node = n->number, .run = sim->run, .seq = n->incarnation};
    const size_t len = payload_write(will, sizeof will, &p, 0);
    const struct snc_options options = {
        .client_id = id,
        .clean = g->clean,
        .keep_alive_s = g->keep_alive_s,
        .will_topic = g->wills ? will_topic : NULL,
        .will_message = bytes_of(will, len),
        .will_qos = 1,
        .retry_ms = g->retry_ms,
        .retry_count = g->retry_count,
    };
    return snc_new(&options, sim->now_ms);
}

/* Back before the gateway noticed, perhaps: then the will may or may not be published. */
static void will_becomes_uncertain(struct sim *sim, struct sim_node *n)
{
    if (n->will == WILL_DUE) {
        sim->counters.wills_expected--;
        n->will = WILL_POSSIBLE;
    }
}

void node_start(struct sim *sim, struct sim_node *n)
{
    if (n->state != NODE_OFF && n->state != NODE_VANISHED)
        return;
    will_becomes_uncertain(sim, n);
    if (n->client == NULL) {
        if (!net_open(sim, n)) {
            sim->counters.send_failures++;
            return;
        }
        n->client = new_client(sim, n);
        if (n->client == NULL) {
            net_close(sim, n);
            return;
        }
    }
    if (is_talker(sim, n->group)) {
        node_enter(sim, n, NODE_TALKING);
        node_schedule(sim, n);
        node_pump(sim, n);
        return;
    }
    node_enter(sim, n, NODE_WAITING);
    list_push_back(&sim->connect_queue, &n->queued);
}

void node_vanish(struct sim *sim, struct sim_node *n)
{
    if (n->state == NODE_OFF || n->state == NODE_VANISHED)
        return;
    if (is_connected(n) && n->group->wills && n->group->keep_alive_s > 0) {
        n->will = WILL_DUE;
        sim->counters.wills_expected++;
    }
    node_enter(sim, n, NODE_VANISHED);
    switch_off(sim, n);
}

void node_leave(struct sim *sim, struct sim_node *n)
{
    list_unlink(&n->queued);
    if (is_connected(n) && snc_disconnect(n->client, sim->now_ms, 0) == 0) {
        end_session(sim, n);
        node_enter(sim, n, NODE_LEAVING);
        node_pump(sim, n);
        return;
    }
    if (n->state == NODE_LEAVING || n->state == NODE_VANISHED)
        return;
    node_enter(sim, n, NODE_OFF);
    switch_off(sim, n);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void connect_now(struct sim *sim, struct sim_node *n)
{
    if (snc_connect(n->client, sim->now_ms) != 0) {
        node_wait_and_retry(sim, n);
        arm(sim, n);
        return;
    }
    node_enter(sim, n, NODE_CONNECTING);
    n->connect_us = sim->now_us;
    sim->connecting++;
    node_pump(sim, n);
}

void nodes_connect(struct sim *sim)
{
    if (sim->phase != RUN_GOING && sim->phase != RUN_DRAINING)
        return;
    while (sim->connecting < sim->plan.connect_window && !list_empty(&sim->connect_queue)) {
        struct list *first = sim->connect_queue.next;
        list_unlink(first);
        connect_now(sim, container_of(first, struct sim_node, queued));
    }
}

static void subscribe(struct sim *sim, struct sim_node *n)
{
    char name[NODE_TOPIC_MAX];
    snprintf(name, sizeof name, "%s/%u/command", n->group->id_prefix, (unsigned)n->number);
    const struct snc_topic topic = {.kind = SN_TOPIC_NORMAL, .name = bytes_str(name)};
    if (snc_subscribe(n->client, sim->now_ms, &topic, SN_QOS_2) != 0)
        n->retry_at_ms = retry_time(sim);
}

/* ---- events of the client -------------------------------------------------------------------- */

static void on_connected(struct sim *sim, struct sim_node *n)
{
    hist_add(&sim->connack_us, sim->now_us - n->connect_us);
    close_attempt(sim, n);
    sim->counters.connects++;
    if (!n->has_connected) {
        n->has_connected = true;
        if (++sim->ever_connected == sim->n_nodes)
            sim->all_connected_us = sim->now_us;
    }
    n->retry_at_ms = TIME_NEVER;
    n->hold_until_ms = 0;
    node_schedule(sim, n);
    if (n->resuming && !sim->options.connect_only)
        n->owed = 1; /* that is what it has come for */
    n->resuming = false;
    if (wants_commands(sim, n) && !n->subscribed && !sim->options.connect_only) {
        node_enter(sim, n, NODE_SUBSCRIBING);
        subscribe(sim, n);
    } else {
        node_enter(sim, n, NODE_ACTIVE);
    }
}

static void on_subscribed(struct sim *sim, struct sim_node *n, const struct snc_event *event)
{
    if (event->return_code != SN_ACCEPTED) {
        sim->counters.subscribe_refused++;
        n->retry_at_ms = retry_time(sim);
        return;
    }
    n->subscribed = true;
    if (n->state == NODE_SUBSCRIBING)
        node_enter(sim, n, NODE_ACTIVE);
}

static void on_message(struct sim *sim, struct sim_node *n, const struct snc_event *event)
{
    struct payload p;
    const enum payload_result result = payload_read(event->data, &p);
    if (result == PAYLOAD_FOREIGN || (result == PAYLOAD_OK && p.run != sim->run)) {
        sim->counters.foreign++;
    } else if (result == PAYLOAD_CORRUPT) {
        sim->counters.corrupted++;
    } else if (p.node != n->number || p.kind != PAYLOAD_COMMAND || p.qos < 0) {
        sim->counters.misrouted++;
    } else {
        const uint64_t *reordered = &sim->down.totals[ledger_index(p.qos)].reordered;
        const uint64_t before = *reordered;
        const bool first = ledger_arrived(&sim->down, n->number, p.qos, p.seq) == LEDGER_FIRST;
        if (n->group->sleepy)
            sleep_judge(sim, n, event, p.qos, !first, *reordered > before);
        n->down++;
    }
}

/* The gateway may have lost us first, and have said so to the broker already. */
static void will_was_possible(struct sim *sim, struct sim_node *n)
{
    if (n->will == WILL_EARLY) {
        sim->counters.wills_unexpected--;
        sim->counters.wills_possible++;
        n->will = WILL_NONE;
    } else if (n->will == WILL_NONE) {
        n->will = WILL_POSSIBLE;
    }
}

static void on_ended(struct sim *sim, struct sim_node *n, const struct snc_event *event)
{
    if (n->state == NODE_FALLING_ASLEEP && event->type == SNC_DISCONNECTED && !event->by_gateway) {
        sleep_begun(sim, n);
        return;
    }
    if (event->type == SNC_TIMEOUT)
        sim->counters.timeouts++;
    if (n->state == NODE_AWAKE && event->type == SNC_TIMEOUT) {
        sleep_unanswered(sim, n);
        return;
    }
    if (n->state == NODE_AWAKE)
        sim->sleep.turned_away++;
    if (event->type == SNC_REFUSED)
        sim->counters.connects_refused++;
    if (event->type == SNC_DISCONNECTED && event->by_gateway)
        sim->counters.disconnected_by_gateway++;
    const bool wanted = n->state == NODE_LEAVING;
    if (!wanted && n->group->wills && (is_connected(n) || n->resuming))
        will_was_possible(sim, n);
    end_session(sim, n);
    if (wanted)
        node_enter(sim, n, NODE_OFF);
    else
        node_wait_and_retry(sim, n);
}

static void handle_event(struct sim *sim, struct sim_node *n, const struct snc_event *event)
{
    switch (event->type) {
    case SNC_CONNECTED:
        on_connected(sim, n);
        break;
    case SNC_PUBLISHED:
        node_published(sim, n, event);
        break;
    case SNC_SUBSCRIBED:
        on_subscribed(sim, n, event);
        break;
    case SNC_MESSAGE:
        on_message(sim, n, event);
        break;
    case SNC_REFUSED:
    case SNC_DISCONNECTED:
    case SNC_TIMEOUT:
        on_ended(sim, n, event);
        break;
    case SNC_PONG:
        if (n->state == NODE_AWAKE)
            sleep_pong(sim, n);
        break;
    case SNC_REGISTERED:
    case SNC_UNSUBSCRIBED:
        break;
    }
}

/* ---- the pump of one node -------------------------------------------------------------------- */

void node_pump(struct sim *sim, struct sim_node *n)
{
    struct snc_event event;
    while (snc_peek_event(n->client, &event)) {
        handle_event(sim, n, &event);
        snc_done_event(n->client);
    }
    node_publish(sim, n);
    sleep_if_idle(sim, n);
    struct bytes packet;
    while (snc_peek_packet(n->client, &packet)) {
        net_send(sim, n, packet);
        snc_done_packet(n->client);
    }
    if (n->state == NODE_OFF)
        switch_off(sim, n);
    arm(sim, n);
}

void node_input(struct sim *sim, struct sim_node *n, struct bytes packet)
{
    if (!sleep_hears(sim, n, packet))
        return;
    snc_input(n->client, sim->now_ms, packet);
    node_pump(sim, n);
}

static void retry(struct sim *sim, struct sim_node *n)
{
    n->retry_at_ms = TIME_NEVER;
    if (n->state == NODE_WAITING && !list_linked(&n->queued))
        list_push_back(&sim->connect_queue, &n->queued);
    if (n->state == NODE_SUBSCRIBING)
        subscribe(sim, n);
}

void node_due(struct sim *sim, struct sim_node *n)
{
    if (n->client == NULL)
        return;
    snc_advance(n->client, sim->now_ms);
    if (n->retry_at_ms <= sim->now_ms)
        retry(sim, n);
    if (n->subscribed)
        node_command(sim, n);
    if (n->wake_ms <= sim->now_ms)
        sleep_wake(sim, n);
    node_pump(sim, n);
}
