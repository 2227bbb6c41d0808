/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway is killed now and then, at any moment, and starts again a little later. What was committed
 * is there, what was not is as if it had never been heard, and no node has been told of it. So the judge
 * goes on with what the gateway knows then; but nobody who has heard of being connected may be
 * unknown.
 *
 * It stays away for longer than a packet lives: a copy of a PUBLISH of QoS 2 that comes after the
 * exchange is complete is known by what the engine remembers of it, which is not stored.
 *
 * Now and then the store fails for a while. The gateway goes on, and when the store works again it is told
 * everything: nobody may notice, nor anything be lost by a later end. It is not killed in between, as
 * then nothing is promised.
 */
#include <stdlib.h>

#include "mqttsn/engine_priv.h"
#include "sim/chaos/chaos.h"

enum { MOST_AWAY_MS = 20 * SECOND_MS, MOST_FAILING_MS = 60 * SECOND_MS };

enum { SETTLED_MS = 3 * SECOND_MS /* what nobody took when the store failed has been taken */ };

static void arm(struct chaos *x)
{
    const int64_t wait_ms = x->down ? chaos_random(x, PACKET_LIFE_MS + 1, MOST_AWAY_MS)
                                    : chaos_about(x, x->options.restart_ms);
    deadline_arm(&x->timers, &x->restart, chaos_now(x) + wait_ms);
}

static void arm_trouble(struct chaos *x)
{
    const int64_t wait_ms =
        x->w.failing ? chaos_random(x, 1, MOST_FAILING_MS) : chaos_about(x, x->options.fail_ms);
    deadline_arm(&x->timers, &x->trouble, chaos_now(x) + wait_ms);
}

void restart_init(struct chaos *x)
{
    deadline_init(&x->restart, TIMER_RESTART);
    deadline_init(&x->trouble, TIMER_TROUBLE);
    if (x->options.restart_ms > 0)
        arm(x);
    if (x->options.restart_ms > 0 && x->options.fail_ms > 0)
        arm_trouble(x);
}

void restart_deinit(struct chaos *x)
{
    deadline_disarm(&x->timers, &x->restart);
    deadline_disarm(&x->timers, &x->trouble);
}

static void judge_store(struct chaos *x)
{
    char why[400];
    if (!sim_stored_well(&x->w, why, sizeof why))
        chaos_fail(x, "not stored well: %s", why);
}

static void restarted(struct chaos *x, struct chaos_node *n)
{
    const struct sn_client *c = sn_client_by_id(x->w.engine, bytes_str(n->id));
    const bool knows = snc_is_connected(n->c) || snc_is_asleep(n->c);
    if (n->gw.connected && knows && (c == NULL || !sn_client_connected(c)))
        chaos_fail(x, "%s is not known after a restart", n->id);
    watch_restarted(x, n, c);
}

static void start(struct chaos *x)
{
    x->down = false;
    sim_start(&x->w);
    judge_store(x);
    for (unsigned i = 0; i < x->n_nodes; i++)
        restarted(x, &x->nodes[i]);
    broker_returns(x);
}

void trouble_due(struct chaos *x)
{
    if (x->w.failing) {
        sim_store_works(&x->w);
        judge_store(x);
        x->worked_ms = chaos_now(x);
    } else if (!x->down && !x->calm) {
        x->totals->failures++;
        sim_store_fails(&x->w);
    }
    chaos_flush(x);
    if (x->w.failing || !x->calm)
        arm_trouble(x);
}

static void die(struct chaos *x)
{
    x->totals->restarts++;
    judge_store(x);
    broker_breaks_off(x);
    sim_kill(&x->w);
    x->down = true;
}

void restart_due(struct chaos *x)
{
    if (x->down)
        start(x);
    else if (!x->calm && !x->w.failing && chaos_now(x) - x->worked_ms >= SETTLED_MS)
        die(x);
    chaos_flush(x);
    if (x->down || !x->calm)
        arm(x);
}
