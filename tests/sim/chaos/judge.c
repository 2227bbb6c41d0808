/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledgers: every message has a number, which is its payload, and an entry where it was sent. It
 * is crossed off where it arrives; what must be true at that moment is checked then, what must be
 * true of all of them when a node has nothing more to come.
 */
#include <stdio.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"
#include "sim/chaos/chaos.h"

/* A number at the start of `data`, which is moved behind it and the dot. */
static bool take_number(struct bytes *data, uint32_t *out)
{
    size_t n = 0;
    *out = 0;
    while (n < data->len && n < 9 && data->data[n] >= '0' && data->data[n] <= '9')
        *out = *out * 10 + (uint32_t)(data->data[n++] - '0');
    if (n == 0 || n == data->len || data->data[n] != '.')
        return false;
    *data = bytes_of(data->data + n + 1, data->len - n - 1);
    return true;
}

/* Without pauses, a late copy of a PUBLISH may come in the next connection, where it is a new one. */
static bool is_lawless(const struct chaos_node *n)
{
    return n->hasty;
}

/* ---- upward ---------------------------------------------------------------------------------- */

uint32_t judge_sends_up(struct chaos *x, struct chaos_node *n, uint8_t qos)
{
    if (n->n_up == n->cap_up)
        n->up = chaos_grow(n->up, &n->cap_up, sizeof *n->up);
    n->up[n->n_up] = (struct up_message){.qos = qos};
    x->totals->up[qos]++;
    return n->n_up++;
}

void judge_at_broker(struct chaos *x, const struct sim_ask *ask)
{
    struct bytes data = body_bytes(ask->data);
    uint32_t index, seq;
    if (!take_number(&data, &index) || index >= x->n_nodes || !take_number(&data, &seq) ||
        seq >= x->nodes[index].n_up) {
        chaos_fail(x, "the broker has a message that nobody sent");
        return;
    }
    struct chaos_node *n = &x->nodes[index];
    struct up_message *m = &n->up[seq];
    if (m->qos != ask->qos)
        chaos_fail(x, "%s: message %u of QoS %u is at the broker with QoS %u", n->id, (unsigned)seq,
                   m->qos, ask->qos);
    if (m->copies++ == 0)
        m->order = n->up_arrived++;
    else if (m->qos == 1)
        x->totals->up_again++;
    if (m->qos == 2 && m->copies > 1 && !is_lawless(n)) {
        x->totals->up_twice++;
        chaos_fail(x, "%s: message %u of QoS 2 is at the broker twice", n->id, (unsigned)seq);
    }
    if (m->qos == 0 && m->copies > 2)
        chaos_fail(x, "%s: message %u of QoS 0 was multiplied", n->id, (unsigned)seq);
}

void judge_published(struct chaos *x, struct chaos_node *n, const struct snc_event *event)
{
    if (event->qos == SN_QOS_0 || n->open_up < 0)
        return;
    struct up_message *m = &n->up[n->open_up];
    if (event->return_code == SN_ACCEPTED) {
        m->told = true;
        m->era = n->era;
        /* With a store the gateway has it, if not the broker. */
        if (m->copies == 0 && x->options.restart_ms == 0) {
            x->totals->up_lost++;
            chaos_fail(x, "%s was told that message %d of QoS %u is published, but it is not",
                       n->id, n->open_up, m->qos);
        }
    }
    n->open_up = -1;
}

static void judge_up(struct chaos *x, const struct chaos_node *n)
{
    uint32_t last = 0;
    const struct up_message *before = NULL;
    for (uint32_t i = 0; i < n->n_up; i++) {
        const struct up_message *m = &n->up[i];
        if (!m->told)
            continue;
        if (m->copies == 0) {
            x->totals->up_lost++;
            chaos_fail(x, "%s: message %u of QoS %u was accepted, and is lost", n->id, (unsigned)i,
                       m->qos);
        }
        if (before != NULL && before->era == m->era && m->order < last)
            chaos_fail(x, "%s: at the broker, message %u has overtaken another", n->id,
                       (unsigned)i);
        last = m->order;
        before = m;
    }
}

/* ---- downward -------------------------------------------------------------------------------- */

static bool slot_matches(enum slot slot, const struct chaos_node *n, const struct news *m)
{
    switch (slot) {
    case SLOT_EXACT:
        return m->kind == NEWS_PERSONAL && m->who == n->index && m->level == 0;
    case SLOT_PLUS:
    case SLOT_HASH:
        return m->kind == NEWS_PERSONAL && m->who == n->index;
    case SLOT_FRONT:
        return m->kind == NEWS_PERSONAL && m->who == n->index && m->level == 1;
    case SLOT_GROUP:
        return m->kind == NEWS_GROUP && m->who == n->index / GROUP_NODES;
    case SLOT_ALIAS:
        return m->kind == NEWS_ALIAS && m->who == n->index % ALIASES;
    case SLOT_SHORT:
        return m->kind == NEWS_SHORT && m->who == n->index % ALIASES;
    case FILTER_SLOTS:
        break;
    }
    abort();
}

/* QoS granted, -1: none: the least that it is certain of, and the most that it may have. */
static void granted(const struct chaos_node *n, const struct news *m, int *least, int *most)
{
    *least = -1;
    *most = -1;
    for (unsigned i = 0; i < FILTER_SLOTS; i++) {
        const struct filter_slot *slot = &n->slots[i];
        if (!slot_matches((enum slot)i, n, m))
            continue;
        if (slot->have && slot->qos > *least)
            *least = slot->qos;
        if (slot->have && slot->qos > *most)
            *most = slot->qos;
        if (slot->maybe)
            *most = 2;
    }
}

/* A clean session is gone as soon as the gateway thinks so. */
static bool has_session(const struct chaos_node *n)
{
    return n->gw.connected || !n->gw.clean;
}

/* Nodes that the message may concern: first, and the distance to the next. */
static unsigned concerned(const struct chaos *x, const struct news *m, unsigned *step,
                          unsigned *end)
{
    *step = 1;
    *end = x->n_nodes;
    switch (m->kind) {
    case NEWS_PERSONAL:
        *end = m->who + 1U;
        return m->who;
    case NEWS_GROUP:
        *end = (m->who + 1U) * GROUP_NODES < x->n_nodes ? (m->who + 1U) * GROUP_NODES : x->n_nodes;
        return m->who * (unsigned)GROUP_NODES;
    case NEWS_ALIAS:
    case NEWS_SHORT:
        *step = ALIASES;
        return m->who;
    case NEWS_KINDS:
        break;
    }
    abort();
}

bool judge_is_wanted(const struct chaos *x, const struct news *m)
{
    unsigned step, end;
    for (unsigned i = concerned(x, m, &step, &end); i < end; i += step) {
        const struct chaos_node *n = &x->nodes[i];
        int least, most;
        granted(n, m, &least, &most);
        if (least >= 0 && !n->hasty && has_session(n))
            return true;
    }
    return false;
}

static uint8_t lower(int a, int b)
{
    return (uint8_t)(a < b ? a : b);
}

void judge_sends_down(struct chaos *x, uint32_t id)
{
    const struct news *m = &x->news[id];
    unsigned step, end;
    for (unsigned i = concerned(x, m, &step, &end); i < end; i += step) {
        struct chaos_node *n = &x->nodes[i];
        int least, most;
        granted(n, m, &least, &most);
        if (most < 0 && !n->hasty)
            continue;
        if (n->n_down == n->cap_down)
            n->down = chaos_grow(n->down, &n->cap_down, sizeof *n->down);
        struct down_message *d = &n->down[n->n_down++];
        *d = (struct down_message){.id = id,
                                   .least_qos = least < 0 ? 0 : lower(least, m->qos),
                                   .most_qos = lower(n->hasty ? 2 : most, m->qos)};
        d->must = d->least_qos > 0 && !n->hasty && has_session(n);
    }
}

void judge_quotas(struct chaos *x, uint32_t id)
{
    const struct news *m = &x->news[id];
    unsigned step, end;
    for (unsigned i = concerned(x, m, &step, &end); i < end; i += step) {
        const struct chaos_node *n = &x->nodes[i];
        const struct sn_client *c = sn_client_by_id(x->w.engine, bytes_str(n->id));
        if (c == NULL || c->down == NULL)
            continue;
        const struct sn_client_options *o = &c->profile->options;
        if (c->down->n_queued > o->max_queue || c->down->queued_bytes > o->max_queue_bytes)
            chaos_fail(x, "%s: %u messages, %u octets are queued", n->id,
                       (unsigned)c->down->n_queued, (unsigned)c->down->queued_bytes);
    }
    if (sn_engine_gauges(x->w.engine).memory_bytes > x->w.engine->config.max_memory_bytes)
        chaos_fail(x, "the engine keeps more than max_memory");
}

static struct down_message *find(const struct chaos_node *n, uint32_t id)
{
    uint32_t from = 0;
    uint32_t to = n->n_down;
    while (from < to) {
        const uint32_t middle = from + (to - from) / 2;
        if (n->down[middle].id == id)
            return &n->down[middle];
        if (n->down[middle].id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

static void judge_topic(struct chaos *x, const struct chaos_node *n, const struct news *m,
                        const struct snc_event *event)
{
    char topic[32];
    const size_t len = news_topic(m, topic, sizeof topic);
    const bool same = event->topic_kind == SN_TOPIC_PREDEFINED
                          ? m->kind == NEWS_ALIAS && event->topic_id == FIRST_ALIAS_DOWN + m->who
                          : bytes_equal(event->topic, bytes_of(topic, len));
    if (!same)
        chaos_fail(x, "%s got %s under the name of another topic", n->id, topic);
}

/* Its first arrival. */
static void judge_first(struct chaos *x, struct chaos_node *n, const struct down_message *d,
                        uint8_t qos)
{
    x->totals->down[qos]++;
    if (qos < d->least_qos || qos > d->most_qos)
        chaos_fail(x, "%s got message %u with QoS %u, not %u", n->id, (unsigned)d->id, qos,
                   d->most_qos);
    if (qos == 0)
        return;
    if (d->id < n->last_down && !d->over)
        chaos_fail(x, "%s got message %u after message %u", n->id, (unsigned)d->id,
                   (unsigned)n->last_down);
    if (d->id > n->last_down)
        n->last_down = d->id;
}

void judge_at_node(struct chaos *x, struct chaos_node *n, const struct snc_event *event)
{
    struct bytes data = event->data;
    uint32_t id;
    if (!take_number(&data, &id) || id >= x->n_news) {
        chaos_fail(x, "%s got a message that nobody sent", n->id);
        return;
    }
    judge_topic(x, n, &x->news[id], event);
    struct down_message *d = find(n, id);
    if (d == NULL) {
        chaos_fail(x, "%s got message %u, to which it has not subscribed", n->id, (unsigned)id);
        return;
    }
    if (d->copies++ == 0)
        judge_first(x, n, d, (uint8_t)event->qos);
    else if (event->qos == SN_QOS_1)
        x->totals->down_again++;
    if (event->qos == SN_QOS_2 && d->copies > 1 && !d->over) {
        x->totals->down_twice++;
        chaos_fail(x, "%s got message %u of QoS 2 twice", n->id, (unsigned)id);
    }
    if (event->qos == SN_QOS_0 && d->copies > 2)
        chaos_fail(x, "%s: message %u of QoS 0 was multiplied", n->id, (unsigned)id);
}

void judge_session_ended(struct chaos_node *n)
{
    for (uint32_t i = 0; i < n->n_down; i++) {
        n->down[i].over = true;
        n->down[i].must = n->down[i].must && n->down[i].copies > 0;
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

bool judge_nothing_waits(struct chaos *x, const struct chaos_node *n)
{
    if (x->down)
        return false;
    const struct sn_client *c = sn_client_by_id(x->w.engine, bytes_str(n->id));
    return c == NULL || c->down == NULL || c->down->n_queued == 0;
}

/* What is missing must be in the log as dropped. */
void judge_node(struct chaos *x, struct chaos_node *n)
{
    uint32_t missing = 0;
    uint32_t first = 0;
    for (uint32_t i = n->n_down; i-- > 0;) {
        if (n->down[i].must && n->down[i].copies == 0) {
            missing++;
            first = n->down[i].id;
        }
    }
    x->totals->policy_drops += missing < n->drops ? missing : n->drops;
    if (missing <= n->drops)
        return;
    x->totals->down_lost += missing - n->drops;
    chaos_fail(x, "%s: %u messages are lost, %u drops were logged; the first is %u", n->id,
               (unsigned)missing, (unsigned)n->drops, (unsigned)first);
}

void judge_end(struct chaos *x)
{
    const struct sn_gauges engine = sn_engine_gauges(x->w.engine);
    const struct shared_gauges shared = shared_gauges(x->w.shared);
    if (engine.clients != 0 || engine.connected != 0 || engine.queued != 0 ||
        engine.memory_bytes != x->base_memory) {
        chaos_fail(x, "the engine has not become empty: %u clients, %llu messages, %llu octets",
                   (unsigned)engine.clients, (unsigned long long)engine.queued,
                   (unsigned long long)(engine.memory_bytes - x->base_memory));
    }
    if (shared.sessions != 0 || shared.filters != 0 || shared.memory_bytes != x->base_shared) {
        chaos_fail(x,
                   "the shared session has not become empty: %u sessions, %u filters, %llu octets",
                   (unsigned)shared.sessions, (unsigned)shared.filters,
                   (unsigned long long)(shared.memory_bytes - x->base_shared));
    }
    if (x->w.table.n_rows != 0)
        chaos_fail(x, "the store has not become empty: %zu rows", x->w.table.n_rows);
    for (unsigned i = 0; i < x->n_nodes; i++) {
        const struct watched *gw = &x->nodes[i].gw;
        judge_up(x, &x->nodes[i]);
        if (!x->nodes[i].hasty && gw->wills < gw->wills_min)
            chaos_fail(x, "%s was lost, but its will was not published", x->nodes[i].id);
    }
}
