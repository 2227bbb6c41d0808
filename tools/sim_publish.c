/* SPDX-License-Identifier: Apache-2.0 */
/* What a node says: which QoS, which topic, when; and what became of it. */
#include "tools/sim.h"

enum {
    OWED_MAX = 8,          /* more are left out, and counted */
    FLOOD_PAUSE_US = 1000, /* rate max without acknowledgements: this often */
    CONGESTION_PAUSE_MS = 250,
};

static uint8_t payload_buf[PAYLOAD_SIZE_MAX + PAYLOAD_NATURAL_MAX];

/* ---- choices --------------------------------------------------------------------------------- */

static int qos_of(const struct sim_node *n)
{
    return n->group->qos == SIM_QOS_MIX ? (int)(n->turn % 4) - 1 : n->group->qos;
}

static enum sn_qos wire_qos(int qos)
{
    static const enum sn_qos bits[] = {SN_QOS_MINUS_1, SN_QOS_0, SN_QOS_1, SN_QOS_2};

    return bits[ledger_index(qos)];
}

/* Mixed independently of the QoS, so that all combinations occur; QoS -1 has no registered topics.
 */
static struct snc_topic topic_of(const struct sim_node *n, int qos)
{
    const struct sim_group *g = n->group;
    const uint64_t round = g->qos == SIM_QOS_MIX ? n->turn / 4 : n->turn;
    enum sim_topics kind = g->topics;
    if (kind == TOPICS_MIX)
        kind = (enum sim_topics)(round % 3);
    if (qos < 0 && kind == TOPICS_REGISTERED)
        kind = round % 2 == 0 ? TOPICS_PREDEFINED : TOPICS_SHORT;
    if (kind == TOPICS_PREDEFINED)
        return (struct snc_topic){.kind = SN_TOPIC_PREDEFINED, .id = g->predefined_id};
    if (kind == TOPICS_SHORT) {
        return (struct snc_topic){.kind = SN_TOPIC_SHORT,
                                  .id = (uint16_t)((unsigned)(uint8_t)g->short_topic[0] << 8 |
                                                   (uint8_t)g->short_topic[1])};
    }
    return (struct snc_topic){.kind = SN_TOPIC_NORMAL, .name = bytes_str(n->topic)};
}

/* ---- publishing ------------------------------------------------------------------------------ */

static bool publish_one(struct sim *sim, struct sim_node *n)
{
    const int qos = qos_of(n);
    const struct snc_topic topic = topic_of(n, qos);
    const struct payload p = {.kind = PAYLOAD_READING,
                              .qos = qos,
                              .node = n->number,
                              .run = sim->run,
                              .seq = ledger_next(&sim->up, n->number, qos)};
    const size_t len = payload_write(payload_buf, sizeof payload_buf, &p, n->group->size);
    if (snc_publish(n->client, sim->now_ms, &topic, bytes_of(payload_buf, len), wire_qos(qos),
                    false) != 0)
        return false;
    ledger_sent(&sim->up, n->number, qos);
    n->latest = (struct node_open){.is_open = true,
                                   .qos = qos,
                                   .seq = p.seq,
                                   .sent_us = sim->now_us,
                                   .in_storm = sim->in_state[NODE_AWAKE] > 0};
    if (qos > 0) {
        n->open = n->latest;
        sim->publishing++;
    }
    n->last = p;
    n->sent++;
    n->turn++;
    return true;
}

static bool may_publish(const struct sim *sim, const struct sim_node *n)
{
    return sim->phase == RUN_GOING && !sim->options.connect_only &&
           (n->state == NODE_ACTIVE || n->state == NODE_TALKING) && sim->now_ms >= n->hold_until_ms;
}

static int64_t interval_us(const struct sim_group *g)
{
    if (g->sleepy)
        return INT64_MAX; /* it publishes when it wakes up */
    if (g->rate_max)
        return FLOOD_PAUSE_US;
    return g->rate > 0 ? (int64_t)(1e6 / g->rate) : INT64_MAX;
}

/* Books what has come due since; never more than the window could ever catch up with. */
static void fall_due(struct sim *sim, struct sim_node *n)
{
    const int64_t step_us = interval_us(n->group);
    if (n->next_publish_us > sim->now_us)
        return;
    const uint64_t n_due =
        (uint64_t)((sim->now_us - n->next_publish_us) / (step_us + !step_us)) + 1;
    n->next_publish_us += (int64_t)n_due * (step_us + !step_us);
    if (n->group->rate_max) {
        n->owed = 1;
        return;
    }
    const uint64_t owed = n->owed + n_due;
    const uint64_t limit = n->group->qos > 0 || n->group->qos == SIM_QOS_MIX ? OWED_MAX : 4096;
    n->owed = (uint32_t)(owed < limit ? owed : limit);
    sim->counters.skipped += owed - n->owed;
}

/* With window 1 the answer of one message is the signal for the next. */
static bool is_answered_flood(const struct sim_group *g)
{
    return g->rate_max && g->qos > 0 && !g->sleepy;
}

void node_publish(struct sim *sim, struct sim_node *n)
{
    if (!may_publish(sim, n))
        return;
    if (is_answered_flood(n->group)) {
        if (!snc_publishing(n->client))
            publish_one(sim, n);
        return;
    }
    fall_due(sim, n);
    while (n->owed > 0 && publish_one(sim, n))
        n->owed--;
}

void node_schedule(struct sim *sim, struct sim_node *n)
{
    const struct sim_group *g = n->group;
    n->owed = 0;
    n->next_publish_us = INT64_MAX;
    n->next_command_us = INT64_MAX;
    /* A random phase, so that nodes do not speak all at once. */
    if (!is_answered_flood(g) && !g->sleepy && (g->rate_max || g->rate > 0))
        n->next_publish_us =
            sim->now_us + (int64_t)rng_below(&sim->rng, (uint64_t)interval_us(g) + 1);
    if (g->downlink > 0)
        n->next_command_us =
            sim->now_us + (int64_t)rng_below(&sim->rng, (uint64_t)(1e6 / g->downlink) + 1);
}

void node_command(struct sim *sim, struct sim_node *n)
{
    if (n->next_command_us > sim->now_us)
        return;
    const int64_t step_us = (int64_t)(1e6 / n->group->downlink) + 1;
    n->next_command_us += step_us;
    if (n->next_command_us <= sim->now_us)
        n->next_command_us = sim->now_us + step_us;
    if (sim->phase == RUN_GOING)
        broker_command(sim, n);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void count_refusal(struct sim_counters *counters, uint8_t return_code)
{
    if (return_code == SN_CONGESTION)
        counters->refused_congestion++;
    else if (return_code == SN_INVALID_TOPIC_ID)
        counters->refused_topic++;
    else
        counters->refused_other++;
}

void node_published(struct sim *sim, struct sim_node *n, const struct snc_event *event)
{
    if (event->return_code != SN_ACCEPTED) {
        count_refusal(&sim->counters, event->return_code);
        n->hold_until_ms = sim->now_ms + CONGESTION_PAUSE_MS;
    }
    if (event->qos == SN_QOS_0) { /* only refusals, and they do not say of which message */
        sim->up.totals[ledger_index(0)].refused++;
        return;
    }
    if (!n->open.is_open)
        return;
    n->open.is_open = false;
    sim->publishing--;
    if (event->return_code != SN_ACCEPTED) {
        ledger_refused(&sim->up, n->number, n->open.qos, n->open.seq);
        return;
    }
    ledger_acknowledged(&sim->up, n->number, n->open.qos, n->open.seq);
    n->acknowledged++;
    n->last_latency_us = sim->now_us - n->open.sent_us;
    hist_add(&sim->publish_us, n->last_latency_us);
    if (!n->group->sleepy && (n->open.in_storm || sim->in_state[NODE_AWAKE] > 0))
        hist_add(&sim->sleep.storm_us, n->last_latency_us);
}
