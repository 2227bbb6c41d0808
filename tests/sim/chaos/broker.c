/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An MQTT broker and the connection to it, as broker/upstream.h describes them. Requests are carried
 * out in order, a little later. Before the connection breaks it is dead for a while, and what is under
 * way piles up. When it has broken, some of that has been carried out and the rest has not, and the
 * answers don't tell: QoS 2 is in doubt, and settled after the reconnection; all else is "not sent",
 * whatever the broker did. Sometimes it comes back without the session, that is without filters.
 *
 * And the rest of the world, which has news for single nodes, for groups, and by short topics.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/chaos/chaos.h"

struct pending {
    struct list link;
    struct sim_ask *ask;
    int64_t at_ms;
    bool done; /* in doubt: the broker has it */
};

static struct pending *pending_at(struct list *link)
{
    return container_of(link, struct pending, link);
}

static void pending_free(struct pending *p)
{
    list_unlink(&p->link);
    sim_ask_free(p->ask);
    free(p);
}

/* ---- filters --------------------------------------------------------------------------------- */

static size_t groups(const struct chaos *x)
{
    return x->n_nodes / GROUP_NODES + 1;
}

/* Filters of single nodes first, then of groups, aliases, short names. */
static size_t n_filters(const struct chaos *x)
{
    return (size_t)x->n_nodes * PERSONAL_SLOTS + groups(x) + ALIASES + ALIASES;
}

/* "d/17/0", "d/17/+", "d/17/#", "+/17/1", "g/G3/#", "p/5", "s5" */
static size_t filter_index(const struct chaos *x, struct bytes text)
{
    char buf[32];
    unsigned who;
    char last = 0;
    if (text.len >= sizeof buf)
        abort();
    memcpy(buf, text.data, text.len);
    buf[text.len] = '\0';
    const size_t shared = (size_t)x->n_nodes * PERSONAL_SLOTS;
    if (sscanf(buf, "d/%u/%c", &who, &last) == 2) {
        const unsigned slot = last == '+' ? SLOT_PLUS : last == '#' ? SLOT_HASH : SLOT_EXACT;
        return (size_t)who * PERSONAL_SLOTS + slot;
    }
    if (sscanf(buf, "+/%u/%c", &who, &last) == 2)
        return (size_t)who * PERSONAL_SLOTS + SLOT_FRONT;
    if (sscanf(buf, "g/G%u/%c", &who, &last) == 2)
        return shared + who;
    if (sscanf(buf, "p/%u", &who) == 1)
        return shared + groups(x) + who;
    if (sscanf(buf, "s%u", &who) == 1)
        return shared + groups(x) + ALIASES + who;
    abort();
}

/* Does the broker have a filter for it? */
static bool is_subscribed(const struct chaos *x, const struct news *m)
{
    const bool *f = x->broker.filters;
    const size_t shared = (size_t)x->n_nodes * PERSONAL_SLOTS;
    switch (m->kind) {
    case NEWS_PERSONAL:
        f += (size_t)m->who * PERSONAL_SLOTS;
        return (m->level == 0 && f[SLOT_EXACT]) || f[SLOT_PLUS] || f[SLOT_HASH] ||
               (m->level == 1 && f[SLOT_FRONT]);
    case NEWS_GROUP:
        return f[shared + m->who];
    case NEWS_ALIAS:
        return f[shared + groups(x) + m->who];
    case NEWS_SHORT:
        return f[shared + groups(x) + ALIASES + m->who];
    case NEWS_KINDS:
        break;
    }
    abort();
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Nothing passes, in either direction, though nobody knows yet. */
static bool is_dead(const struct chaos *x)
{
    return !x->broker.up || chaos_now(x) >= x->broker.dead_ms;
}

static void arm(struct chaos *x)
{
    struct broker *b = &x->broker;
    int64_t at_ms = b->flap_ms;
    if (!is_dead(x) && !list_empty(&b->queue))
        at_ms = time_min(at_ms, pending_at(b->queue.next)->at_ms);
    deadline_arm(&x->timers, &b->timer, at_ms);
}

void broker_take(struct chaos *x, struct sim_ask *ask)
{
    struct broker *b = &x->broker;
    struct pending *p = calloc(1, sizeof *p);
    if (p == NULL)
        abort();
    const int64_t at_ms = chaos_now(x) + chaos_random(x, 1, 30);
    b->last_ms = at_ms > b->last_ms ? at_ms : b->last_ms;
    *p = (struct pending){.ask = ask, .at_ms = b->last_ms};
    list_init(&p->link);
    list_push_back(&b->queue, &p->link);
    if (ask->type != ASK_PUBLISH)
        b->settled_ms = chaos_now(x) + MINUTE_MS;
    arm(x);
}

static bool is_will(const struct sim_ask *a)
{
    const struct bytes topic = body_bytes(a->topic);
    return a->type == ASK_PUBLISH && topic.len > 0 && topic.data[0] == 'w';
}

static void carry_out(struct chaos *x, const struct sim_ask *a)
{
    if (is_will(a))
        watch_will(x, body_bytes(a->topic), body_bytes(a->data));
    else if (a->type == ASK_PUBLISH)
        judge_at_broker(x, a);
    else
        x->broker.filters[filter_index(x, body_bytes(a->topic))] = a->type == ASK_SUBSCRIBE;
}

static void answer(struct chaos *x, const struct sim_ask *a, enum up_result result)
{
    static const enum up_event_type type_of[ASK_TYPES] = {[ASK_PUBLISH] = UP_PUBLISHED,
                                                          [ASK_SUBSCRIBE] = UP_SUBSCRIBED,
                                                          [ASK_UNSUBSCRIBE] = UP_UNSUBSCRIBED};

    if (a->type == ASK_PUBLISH && a->qos == 0 && a->spooled == 0)
        return;
    sim_upstream(&x->w, &(struct up_event){.type = type_of[a->type],
                                           .token = a->token,
                                           .spooled = a->spooled,
                                           .result = result,
                                           .qos = a->qos,
                                           .retain = a->retain,
                                           .topic = body_bytes(a->topic),
                                           .body = a->data});
}

static void run_queue(struct chaos *x)
{
    struct list *queue = &x->broker.queue;
    while (!list_empty(queue) && pending_at(queue->next)->at_ms <= chaos_now(x)) {
        struct pending *p = pending_at(queue->next);
        list_unlink(&p->link);
        carry_out(x, p->ask);
        answer(x, p->ask, UP_OK);
        pending_free(p);
    }
}

/* ---- the connection -------------------------------------------------------------------------- */

static void break_one(struct chaos *x, struct pending *p, bool done, bool answers)
{
    const struct sim_ask *a = p->ask;
    list_unlink(&p->link);
    if (a->type == ASK_PUBLISH && a->qos == 2) {
        p->done = done;
        if (done)
            carry_out(x, a);
        list_push_back(&x->broker.doubts, &p->link);
        if (answers)
            answer(x, a, UP_IN_DOUBT);
        return;
    }
    if (is_will(a))
        watch_will_broken(x, a, done);
    if (done)
        carry_out(x, a);
    if (answers)
        answer(x, a, UP_BUSY);
    pending_free(p);
}

/* The broker has got everything up to some request, and nothing after it. */
static void break_all(struct chaos *x, bool answers)
{
    struct broker *b = &x->broker;
    struct list broken;
    bool done = chaos_chance(x, 50);
    b->up = false;
    x->totals->broken += !list_empty(&b->queue);
    list_init(&broken);
    while (!list_empty(&b->queue)) { /* answers may bring new requests; they are too late */
        struct pending *p = pending_at(b->queue.next);
        list_unlink(&p->link);
        list_push_back(&broken, &p->link);
    }
    while (!list_empty(&broken)) {
        done = done && chaos_chance(x, 80);
        break_one(x, pending_at(broken.next), done, answers);
    }
}

static void go_down(struct chaos *x)
{
    struct broker *b = &x->broker;
    x->totals->flaps++;
    break_all(x, true);
    sim_upstream(&x->w, &(struct up_event){.type = UP_DISCONNECTED, .why = "chaos"});
    b->flap_ms =
        chaos_now(x) + chaos_random(x, 100, chaos_chance(x, 10) ? 10 * MINUTE_MS : MINUTE_MS);
}

static void settle_doubts(struct chaos *x)
{
    struct list *doubts = &x->broker.doubts;
    while (!list_empty(doubts)) {
        struct pending *p = pending_at(doubts->next);
        list_unlink(&p->link);
        if (!p->done)
            carry_out(x, p->ask);
        answer(x, p->ask, UP_OK);
        pending_free(p);
    }
}

static void come_up(struct chaos *x)
{
    struct broker *b = &x->broker;
    const bool kept = chaos_chance(x, 85);
    b->up = true;
    for (size_t i = 0; !kept && i < n_filters(x); i++)
        b->filters[i] = false;
    b->settled_ms = chaos_now(x) + MINUTE_MS;
    b->last_ms = chaos_now(x);
    sim_upstream(&x->w, &(struct up_event){.type = UP_CONNECTED, .session_present = kept});
    settle_doubts(x);
    b->flap_ms = TIME_NEVER;
    b->dead_ms = TIME_NEVER;
    if (x->calm)
        return;
    b->flap_ms = chaos_now(x) + chaos_random(x, 2 * MINUTE_MS, 60 * MINUTE_MS);
    b->dead_ms = b->flap_ms - chaos_random(x, 0, 30 * SECOND_MS);
}

/* What it was given of QoS 2 the connection has stored, and brings to its end when it is back. */
void broker_breaks_off(struct chaos *x)
{
    break_all(x, false);
    x->broker.flap_ms = TIME_NEVER;
    arm(x);
}

void broker_returns(struct chaos *x)
{
    x->broker.flap_ms = chaos_now(x) + chaos_random(x, 10, MINUTE_MS);
    arm(x);
}

void broker_init(struct chaos *x)
{
    struct broker *b = &x->broker;
    deadline_init(&b->timer, TIMER_BROKER);
    list_init(&b->queue);
    list_init(&b->doubts);
    b->filters = calloc(n_filters(x), sizeof *b->filters);
    if (b->filters == NULL)
        abort();
    come_up(x);
    chaos_flush(x);
    arm(x);
}

void broker_deinit(struct chaos *x)
{
    struct broker *b = &x->broker;
    while (!list_empty(&b->queue))
        pending_free(pending_at(b->queue.next));
    while (!list_empty(&b->doubts))
        pending_free(pending_at(b->doubts.next));
    deadline_disarm(&x->timers, &b->timer);
    free(b->filters);
}

void broker_due(struct chaos *x)
{
    struct broker *b = &x->broker;
    if (!is_dead(x))
        run_queue(x);
    if (b->flap_ms <= chaos_now(x)) {
        if (b->up)
            go_down(x);
        else
            come_up(x);
    }
    chaos_flush(x);
    arm(x);
}

/* ---- the world's news ------------------------------------------------------------------------ */

size_t news_topic(const struct news *m, char *out, size_t size)
{
    switch (m->kind) {
    case NEWS_PERSONAL:
        return (size_t)snprintf(out, size, "d/%u/%u", m->who, m->level);
    case NEWS_GROUP:
        return (size_t)snprintf(out, size, "g/G%u/%u", m->who, m->level);
    case NEWS_ALIAS:
        return (size_t)snprintf(out, size, "p/%u", m->who);
    case NEWS_SHORT:
        return (size_t)snprintf(out, size, "s%u", m->who);
    case NEWS_KINDS:
        break;
    }
    abort();
}

static uint32_t invent(struct chaos *x, const struct chaos_node *n)
{
    const unsigned dice = (unsigned)rng_below(&x->rng, 100);
    struct news m = {.kind = NEWS_PERSONAL,
                     .who = (uint16_t)n->index,
                     .level = (uint8_t)rng_below(&x->rng, 3),
                     .qos = (uint8_t)rng_below(&x->rng, 3)};
    if (dice < 6) {
        m.kind = dice < 3 ? NEWS_ALIAS : NEWS_SHORT;
        m.who = (uint16_t)(n->index % ALIASES);
    } else if (dice < 8) {
        m.kind = NEWS_GROUP;
        m.who = (uint16_t)(n->index / GROUP_NODES);
    }
    if (x->n_news == x->cap_news)
        x->news = chaos_grow(x->news, &x->cap_news, sizeof *x->news);
    x->news[x->n_news] = m;
    return x->n_news++;
}

/* Somebody has something to say to this node, or to it and others. Without a connection, or a
 * filter for it, the broker does not send it to us. */
void news_due(struct chaos *x, struct chaos_node *n)
{
    if (x->calm)
        return;
    deadline_arm(&x->timers, &n->news, chaos_now(x) + chaos_about(x, n->news_ms));
    if (is_dead(x))
        return;
    const uint32_t id = invent(x, n);
    const struct news *m = &x->news[id];
    if (!is_subscribed(x, m)) {
        if (chaos_now(x) > x->broker.settled_ms && judge_is_wanted(x, m))
            chaos_fail(x, "the broker has not been told of a filter of %s", n->id);
        return;
    }
    char topic[32], text[80];
    const size_t topic_len = news_topic(m, topic, sizeof topic);
    size_t len = (size_t)snprintf(text, sizeof text, "%u.", (unsigned)id);
    for (const size_t end = len + (size_t)rng_below(&x->rng, 40); len < end;)
        text[len++] = '.';
    judge_sends_down(x, id);
    struct body *body = body_new(bytes_of(text, len));
    sim_upstream(&x->w, &(struct up_event){.type = UP_MESSAGE,
                                           .qos = m->qos,
                                           .topic = bytes_of(topic, topic_len),
                                           .body = body});
    body_unref(body);
    judge_quotas(x, id);
    chaos_flush(x);
}
