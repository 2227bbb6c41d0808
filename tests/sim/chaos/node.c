/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node does all day. It has a client machine, and from time to time decides by its state what
 * to do next: active ones publish and now and then leave, vanish, move or start anew; sleepers wake
 * up, talk, and sleep again; who is offline connects.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/chaos/chaos.h"

/* ---- the machine ----------------------------------------------------------------------------- */

/* Starting anew, and at the very end, it wants no session to be left behind. */
static bool is_clean(const struct chaos_node *n)
{
    return n->clean || n->rebooting || n->end == DISCARD;
}

static void count_repetitions(struct chaos *x, struct chaos_node *n)
{
    if (x->calm)
        return;
    const uint64_t repeated = snc_counters(n->c)->retransmissions;
    x->totals->node_repeated += repeated - n->counted;
    n->counted = repeated;
}

static void machine_end(struct chaos *x, struct chaos_node *n)
{
    if (n->c == NULL)
        return;
    count_repetitions(x, n);
    n->counted = 0;
    snc_free(n->c);
    n->c = NULL;
}

static void machine_new(struct chaos *x, struct chaos_node *n)
{
    char topic[16], text[16];
    const bool bare = n->rebooting || n->end == DISCARD;
    machine_end(x, n);
    snprintf(topic, sizeof topic, "w/%u", n->index);
    snprintf(text, sizeof text, "%u.%u", n->index, (unsigned)WILL_CONNECT);
    n->c = snc_new(&(struct snc_options){.client_id = n->id,
                                         .clean = is_clean(n),
                                         .keep_alive_s = n->keep_alive_s,
                                         .will_topic = n->has_will && !bare ? topic : NULL,
                                         .will_message = bytes_str(text),
                                         .will_qos = n->will_qos,
                                         .retry_count = x->retry_count},
                   chaos_now(x));
    if (n->c == NULL)
        abort();
}

bool node_is_away(const struct chaos *x, const struct chaos_node *n)
{
    return chaos_now(x) < n->out_until_ms;
}

void node_init(struct chaos *x, unsigned index)
{
    struct chaos_node *n = &x->nodes[index];
    const bool tight = chaos_chance(x, 5);
    n->index = index;
    snprintf(n->id, sizeof n->id, "%c%u", tight ? 't' : 'n', index);
    n->clean = chaos_chance(x, 30);
    n->sleeper = chaos_chance(x, 50);
    n->hasty = chaos_chance(x, 5);
    n->has_will = chaos_chance(x, 50);
    n->will_qos = (uint8_t)rng_below(&x->rng, 3);
    n->keep_alive_s = (uint16_t)chaos_random(x, 30, 300);
    n->sleep_s = (uint16_t)chaos_random(x, 60, 600);
    n->talk_ms = chaos_random(x, MINUTE_MS, 10 * MINUTE_MS);
    n->news_ms = chaos_random(x, MINUTE_MS, 10 * MINUTE_MS);
    n->open_up = -1;
    deadline_init(&n->timer, TIMER_NODE);
    deadline_init(&n->news, TIMER_NEWS);
    wish_init(x, n);
    air_place(x, n);
    machine_new(x, n);
    n->act_ms = chaos_now(x) + chaos_random(x, 100, 2 * MINUTE_MS);
    deadline_arm(&x->timers, &n->timer, n->act_ms);
    deadline_arm(&x->timers, &n->news, chaos_now(x) + chaos_about(x, n->news_ms));
}

void node_deinit(struct chaos *x, struct chaos_node *n)
{
    machine_end(x, n);
    deadline_disarm(&x->timers, &n->timer);
    deadline_disarm(&x->timers, &n->news);
    free(n->up);
    free(n->down);
}

static void act_in(struct chaos *x, struct chaos_node *n, int64_t from_ms, int64_t to_ms)
{
    n->act_ms = chaos_now(x) + chaos_random(x, from_ms, to_ms);
}

/* Opposites keep their distance (chaos.h). */
static bool is_quiet_time(struct chaos *x, struct chaos_node *n)
{
    if (chaos_now(x) >= n->quiet_ms || (n->hasty && !x->calm))
        return false;
    n->act_ms = n->quiet_ms;
    return true;
}

/* ---- events ---------------------------------------------------------------------------------- */

static void gone_offline(struct chaos *x, struct chaos_node *n)
{
    wish_interrupted(x, n);
    n->pinging = false;
    n->quiet_ms = chaos_now(x) + QUIET_MS;
    if (is_clean(n))
        n->open_up = -1;
}

static void on_disconnected(struct chaos *x, struct chaos_node *n, bool by_gateway)
{
    const bool asleep = snc_is_asleep(n->c);
    gone_offline(x, n);
    act_in(x, n, 100, n->sleeper ? 5 * SECOND_MS : 2 * MINUTE_MS);
    if (asleep) {
        x->totals->sleeps++;
        n->act_ms = chaos_now(x) + (int64_t)n->sleep_s * 900;
    }
    if (x->calm)
        n->act_ms = n->quiet_ms;
    if (by_gateway || asleep)
        return;
    if (n->end == DISCARD && n->discarded) {
        n->end = GONE;
        n->act_ms = TIME_NEVER;
        x->n_gone++;
    } else if (n->end == FINISH && n->finished) {
        n->end = DISCARD;
        machine_new(x, n);
    } else if (n->rebooting) {
        n->rebooting = false;
        machine_new(x, n);
    }
}

static void on_timeout(struct chaos *x, struct chaos_node *n)
{
    if (snc_is_asleep(n->c)) { /* nobody answers the ping */
        n->pinging = false;
        act_in(x, n, 5 * SECOND_MS, 20 * SECOND_MS);
        return;
    }
    gone_offline(x, n);
    act_in(x, n, SECOND_MS, 30 * SECOND_MS);
}

static void on_connected(struct chaos *x, struct chaos_node *n)
{
    x->totals->connects++;
    n->pinging = false;
    n->quiet_ms = chaos_now(x) + QUIET_MS;
    n->discarded = n->end == DISCARD;
    n->borrowed = false;
    wish_connected(n);
    act_in(x, n, 50, 3 * SECOND_MS);
}

static void on_event(struct chaos *x, struct chaos_node *n, const struct snc_event *event)
{
    watch_answered(x, n, event);
    switch (event->type) {
    case SNC_CONNECTED:
        on_connected(x, n);
        break;
    case SNC_REFUSED:
        gone_offline(x, n);
        act_in(x, n, 5 * SECOND_MS, MINUTE_MS);
        break;
    case SNC_PUBLISHED:
        judge_published(x, n, event);
        break;
    case SNC_SUBSCRIBED:
    case SNC_UNSUBSCRIBED:
        wish_answered(x, n, event);
        n->act_ms = time_min(n->act_ms, chaos_now(x) + chaos_random(x, 10, 2 * SECOND_MS));
        break;
    case SNC_MESSAGE:
        judge_at_node(x, n, event);
        break;
    case SNC_PONG:
        n->pinging = false;
        n->borrowed = false;
        if (snc_is_asleep(n->c))
            n->act_ms = chaos_now(x) + (int64_t)n->sleep_s * 900;
        break;
    case SNC_DISCONNECTED:
        on_disconnected(x, n, event->by_gateway);
        break;
    case SNC_TIMEOUT:
        on_timeout(x, n);
        break;
    case SNC_REGISTERED:
        break;
    }
}

/* Handlers may exchange the machine, and with it what waits there. */
void node_flush(struct chaos *x, struct chaos_node *n)
{
    struct snc_event event;
    struct bytes packet;
    while (snc_peek_event(n->c, &event)) {
        const struct snc *before = n->c;
        on_event(x, n, &event);
        if (n->c == before)
            snc_done_event(n->c);
    }
    while (snc_peek_packet(n->c, &packet)) {
        air_from_node(x, n, packet);
        snc_done_packet(n->c);
    }
    const int64_t due_ms = time_min(n->act_ms, n->update.due_ms);
    deadline_arm(&x->timers, &n->timer, time_min(due_ms, snc_next_deadline(n->c)));
}

void node_input(struct chaos *x, struct chaos_node *n, struct bytes packet)
{
    struct sn_packet p;
    if (sn_decode(packet, &p) != SN_DECODED || !wish_will_answered(x, n, &p))
        snc_input(n->c, chaos_now(x), packet);
    node_flush(x, n);
}

/* ---- what to do ------------------------------------------------------------------------------ */

static void publish(struct chaos *x, struct chaos_node *n, bool anonymous)
{
    char topic[24], text[80];
    const unsigned alias = n->index % ALIASES;
    const unsigned dice = (unsigned)rng_below(&x->rng, 100);
    const bool busy = snc_publishing(n->c);
    struct snc_topic t = {.kind = SN_TOPIC_NORMAL};
    enum sn_qos qos = dice < 20 ? SN_QOS_0 : dice < 60 ? SN_QOS_1 : SN_QOS_2;
    if (anonymous || chaos_chance(x, 8))
        qos = SN_QOS_MINUS_1;
    if (busy && qos != SN_QOS_MINUS_1)
        return;
    snprintf(topic, sizeof topic, "u/%u/%u", n->index, (unsigned)rng_below(&x->rng, 3));
    t.name = bytes_str(topic);
    if (chaos_chance(x, 30) || qos == SN_QOS_MINUS_1)
        t = (struct snc_topic){.kind = SN_TOPIC_PREDEFINED,
                               .id = (uint16_t)(FIRST_ALIAS_UP + alias)};
    if (chaos_chance(x, 15))
        t = (struct snc_topic){.kind = SN_TOPIC_SHORT, .id = (uint16_t)('u' << 8 | ('0' + alias))};
    const uint8_t ledger_qos = qos == SN_QOS_MINUS_1 ? 0 : (uint8_t)qos;
    const uint32_t seq = judge_sends_up(x, n, ledger_qos);
    size_t len = (size_t)snprintf(text, sizeof text, "%u.%u.", n->index, (unsigned)seq);
    for (const size_t end = len + (size_t)rng_below(&x->rng, 40); len < end;)
        text[len++] = '.';
    if (snc_publish(n->c, chaos_now(x), &t, bytes_of(text, len), qos, false) == 0 && ledger_qos > 0)
        n->open_up = (int)seq;
}

static void vanish(struct chaos *x, struct chaos_node *n)
{
    x->totals->vanished++;
    n->out_until_ms = chaos_now(x) + chaos_random(x, 2 * MINUTE_MS, 40 * MINUTE_MS);
    n->act_ms = n->out_until_ms;
}

/* Its memory is gone. A node with a stored session must not go on with it then, but have it
 * discarded first. */
static void reboot(struct chaos *x, struct chaos_node *n)
{
    x->totals->reboots++;
    gone_offline(x, n);
    n->open_up = -1;
    n->rebooting = !n->clean;
    machine_new(x, n);
    act_in(x, n, 2 * SECOND_MS, MINUTE_MS);
}

static void to_sleep(struct chaos *x, struct chaos_node *n)
{
    if (chaos_chance(x, 30))
        n->sleep_s = (uint16_t)chaos_random(x, 60, 600);
    snc_disconnect(n->c, chaos_now(x), n->sleep_s);
    act_in(x, n, 2 * SECOND_MS, 5 * SECOND_MS); /* it may have been busy */
}

static void act_connected(struct chaos *x, struct chaos_node *n)
{
    if (n->rebooting) {
        if (!is_quiet_time(x, n))
            snc_disconnect(n->c, chaos_now(x), 0);
        return;
    }
    if (wish_filters(x, n)) {
        act_in(x, n, SECOND_MS, 4 * SECOND_MS);
        return;
    }
    const unsigned dice = (unsigned)rng_below(&x->rng, 1000);
    n->act_ms =
        chaos_now(x) + (n->sleeper ? chaos_random(x, 500, 8000) : chaos_about(x, n->talk_ms));
    if (dice < 10)
        vanish(x, n);
    else if (dice < 30 && !is_quiet_time(x, n))
        snc_disconnect(n->c, chaos_now(x), 0);
    else if (dice < 55)
        wish_flip(x, n);
    else if (dice < 75)
        wish_update_will(x, n);
    else if (dice < 80)
        air_move(x, n);
    else if (dice < 83)
        reboot(x, n);
    else if (n->sleeper && dice < 450)
        to_sleep(x, n);
    else
        publish(x, n, false);
}

/* The address of one that has slept long enough for all packets to have arrived. */
static void take_over(struct chaos *x, struct chaos_node *n)
{
    struct chaos_node *other = &x->nodes[rng_below(&x->rng, x->n_nodes)];
    if (snc_is_asleep(other->c) && other->gw.asleep &&
        chaos_now(x) > other->gw.since_ms + 2 * QUIET_MS)
        n->borrowed = air_take_over(x, n, other);
}

static void connect(struct chaos *x, struct chaos_node *n)
{
    if (is_quiet_time(x, n))
        return;
    if (snc_connect(n->c, chaos_now(x)) != 0) /* about to do something */
        return;
    const unsigned dice = (unsigned)rng_below(&x->rng, 100);
    if (dice < 4)
        air_move(x, n);
    else if (dice < 5)
        take_over(x, n);
    n->pinging = false;
    wish_connecting(x, n);
}

static void act_asleep(struct chaos *x, struct chaos_node *n)
{
    const unsigned dice = (unsigned)rng_below(&x->rng, 100);
    act_in(x, n, SECOND_MS, 20 * SECOND_MS);
    if (dice < 5) {
        to_sleep(x, n); /* once more, perhaps for another time */
    } else if (dice < 40) {
        connect(x, n);
    } else if (dice < 42) {
        vanish(x, n);
    } else if (dice < 45) {
        publish(x, n, true);
    } else {
        if (dice < 50)
            air_move(x, n);
        else if (dice < 51)
            take_over(x, n);
        n->pinging = snc_ping(n->c, chaos_now(x)) == 0;
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

void node_calm(struct chaos *x, struct chaos_node *n)
{
    count_repetitions(x, n);
    n->end = FINISH;
    n->out_until_ms = 0;
    deadline_disarm(&x->timers, &n->news);
    act_in(x, n, 0, MINUTE_MS);
    node_flush(x, n);
}

/* Waits until everything has come through, and leaves; once more, so as to leave nothing behind. */
static void act_finishing(struct chaos *x, struct chaos_node *n)
{
    const bool busy = n->open_slot >= 0 || n->update.step != UPD_IDLE || snc_publishing(n->c) ||
                      snc_receiving(n->c) || !judge_nothing_waits(x, n);
    act_in(x, n, SECOND_MS, 3 * SECOND_MS);
    if (busy || is_quiet_time(x, n))
        return;
    if (n->end == FINISH && !n->rebooting) {
        judge_node(x, n);
        n->finished = true;
    }
    snc_disconnect(n->c, chaos_now(x), 0);
}

static void act(struct chaos *x, struct chaos_node *n)
{
    if (node_is_away(x, n)) {
        n->act_ms = n->out_until_ms;
        return;
    }
    if (n->borrowed && snc_is_asleep(n->c)) { /* nobody has confirmed it */
        air_move(x, n);
        n->borrowed = false;
    }
    act_in(x, n, SECOND_MS, 10 * SECOND_MS);
    if (snc_is_connected(n->c) && n->end != STAY)
        act_finishing(x, n);
    else if (snc_is_connected(n->c))
        act_connected(x, n);
    else if (snc_is_asleep(n->c) && n->end == STAY)
        act_asleep(x, n);
    else if (!n->pinging || (!is_clean(n) && chaos_chance(x, 5)))
        connect(x, n); /* in the middle of a clean session it would tear exchanges apart */
}

void node_due(struct chaos *x, struct chaos_node *n)
{
    watch_due(x, n);
    snc_advance(n->c, chaos_now(x));
    wish_will_due(x, n);
    node_flush(x, n);
    if (n->act_ms <= chaos_now(x)) {
        act(x, n);
        node_flush(x, n);
    }
}
