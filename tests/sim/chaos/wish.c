/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node wants of the gateway beside talking: subscriptions by overlapping filters and of every
 * kind, which come and go, and another will now and then. What it knows of the outcome is what the
 * judge goes by: granted, gone, or, while a request is unanswered, either.
 *
 * The client machine has no updates of the will, so they are made here: one at a time, repeated.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/chaos/chaos.h"

enum { UPDATE_RETRY_MS = 10 * SECOND_MS, UPDATE_TRIES = 5 };

static bool is_clean(const struct chaos_node *n)
{
    return n->clean || n->rebooting || n->end == DISCARD;
}

/* ---- filters --------------------------------------------------------------------------------- */

void wish_init(struct chaos *x, struct chaos_node *n)
{
    n->open_slot = -1;
    n->update.due_ms = TIME_NEVER;
    n->will = UINT64_C(1) << WILL_NONE;
    for (unsigned i = 0; i < FILTER_SLOTS; i++)
        n->slots[i].wanted = chaos_chance(x, 40);
    n->slots[rng_below(&x->rng, PERSONAL_SLOTS)].wanted = true;
}

void wish_flip(struct chaos *x, struct chaos_node *n)
{
    struct filter_slot *slot = &n->slots[rng_below(&x->rng, FILTER_SLOTS)];
    slot->wanted = !slot->wanted;
}

/* Predefined ids and short names may be subscribed to by name as well. */
static struct snc_topic topic_of(struct chaos *x, const struct chaos_node *n, enum slot slot,
                                 char *text, size_t size)
{
    const unsigned alias = n->index % ALIASES;
    struct snc_topic t = {.kind = SN_TOPIC_NORMAL};
    switch (slot) {
    case SLOT_EXACT:
        snprintf(text, size, "d/%u/0", n->index);
        break;
    case SLOT_PLUS:
        snprintf(text, size, "d/%u/+", n->index);
        break;
    case SLOT_HASH:
        snprintf(text, size, "d/%u/#", n->index);
        break;
    case SLOT_FRONT:
        snprintf(text, size, "+/%u/1", n->index);
        break;
    case SLOT_GROUP:
        snprintf(text, size, "g/G%u/#", n->index / GROUP_NODES);
        break;
    case SLOT_ALIAS:
        snprintf(text, size, "p/%u", alias);
        if (chaos_chance(x, 70))
            t = (struct snc_topic){.kind = SN_TOPIC_PREDEFINED,
                                   .id = (uint16_t)(FIRST_ALIAS_DOWN + alias)};
        break;
    case SLOT_SHORT:
        snprintf(text, size, "s%u", alias);
        if (chaos_chance(x, 70))
            t = (struct snc_topic){.kind = SN_TOPIC_SHORT,
                                   .id = (uint16_t)('s' << 8 | ('0' + alias))};
        break;
    case FILTER_SLOTS:
        abort();
    }
    t.name = bytes_str(text);
    return t;
}

static bool ask(struct chaos *x, struct chaos_node *n, enum slot at, bool unsubscribe)
{
    char text[32];
    const struct snc_topic topic = topic_of(x, n, at, text, sizeof text);
    const enum sn_qos qos = (enum sn_qos)rng_below(&x->rng, 3);
    const int rc = unsubscribe ? snc_unsubscribe(n->c, chaos_now(x), &topic)
                               : snc_subscribe(n->c, chaos_now(x), &topic, qos);
    if (rc != 0)
        return false;
    n->open_slot = (int)at;
    n->open_is_unsubscribe = unsubscribe;
    n->slots[at].have = false;
    n->slots[at].maybe = true;
    return true;
}

bool wish_filters(struct chaos *x, struct chaos_node *n)
{
    if (n->open_slot >= 0)
        return true;
    for (unsigned i = 0; i < FILTER_SLOTS; i++) {
        const struct filter_slot *slot = &n->slots[i];
        const bool settled = slot->wanted ? slot->have : !slot->have && !slot->maybe;
        if (settled || (chaos_now(x) < slot->quiet_ms && !n->hasty))
            continue;
        if (ask(x, n, (enum slot)i, !slot->wanted))
            return true;
    }
    return false;
}

void wish_answered(struct chaos *x, struct chaos_node *n, const struct snc_event *event)
{
    if (n->open_slot < 0 || n->open_is_unsubscribe != (event->type == SNC_UNSUBSCRIBED))
        abort();
    struct filter_slot *slot = &n->slots[n->open_slot];
    n->open_slot = -1;
    slot->quiet_ms = chaos_now(x) + QUIET_MS;
    if (event->type == SNC_SUBSCRIBED && event->return_code != SN_ACCEPTED)
        return; /* it may have one of before */
    slot->have = event->type == SNC_SUBSCRIBED;
    slot->maybe = false;
    slot->qos = (uint8_t)event->qos;
}

/* ---- connections ----------------------------------------------------------------------------- */

void wish_interrupted(struct chaos *x, struct chaos_node *n)
{
    if (n->open_slot >= 0)
        n->slots[n->open_slot].quiet_ms = chaos_now(x) + QUIET_MS;
    n->open_slot = -1;
    if (n->update.step != UPD_IDLE)
        n->update.quiet_ms = chaos_now(x) + QUIET_MS;
    n->update.step = UPD_IDLE;
    n->update.due_ms = TIME_NEVER;
}

/* The gateway may do it although we never hear that. */
void wish_connecting(struct chaos *x, struct chaos_node *n)
{
    wish_interrupted(x, n);
    for (unsigned i = 0; is_clean(n) && i < FILTER_SLOTS; i++) {
        n->slots[i].maybe = n->slots[i].maybe || n->slots[i].have;
        n->slots[i].have = false;
    }
}

void wish_connected(struct chaos_node *n)
{
    for (unsigned i = 0; is_clean(n) && i < FILTER_SLOTS; i++) {
        n->slots[i].have = false;
        n->slots[i].maybe = false;
    }
}

/* ---- the will -------------------------------------------------------------------------------- */

static bool may_be(const struct chaos_node *n, unsigned generation)
{
    return (n->will >> generation & 1) != 0;
}

static void send_update(struct chaos *x, struct chaos_node *n)
{
    char text[24];
    uint8_t room[48];
    struct will_update *u = &n->update;
    struct sn_packet p = {.type = SN_WILLTOPICUPD};
    if (u->step == UPD_MESSAGE) {
        snprintf(text, sizeof text, "%u.%u", n->index, u->generation);
        p = (struct sn_packet){.type = SN_WILLMSGUPD, .data = bytes_str(text)};
    } else if (u->step == UPD_TOPIC) {
        snprintf(text, sizeof text, "w/%u", n->index);
        p.qos = (enum sn_qos)n->will_qos;
        p.topic = bytes_str(text);
    }
    u->sendings++;
    u->due_ms = chaos_now(x) + UPDATE_RETRY_MS;
    air_from_node(x, n, bytes_of(room, sn_encode(&p, room, sizeof room)));
}

void wish_update_will(struct chaos *x, struct chaos_node *n)
{
    struct will_update *u = &n->update;
    if (u->step != UPD_IDLE || chaos_now(x) < u->quiet_ms || !snc_is_connected(n->c))
        return;
    if (may_be(n, WILL_NONE)) {
        u->step = UPD_TOPIC;
        n->will_qos = (uint8_t)rng_below(&x->rng, 3);
        n->will |= UINT64_C(1) << WILL_EMPTY;
    } else if (chaos_chance(x, 15)) {
        u->step = UPD_DELETE;
        n->will |= UINT64_C(1) << WILL_NONE;
    } else {
        u->step = UPD_MESSAGE;
        u->generation = u->generation % (WILL_EMPTY - 1) + 1;
        n->will |= UINT64_C(1) << u->generation;
    }
    u->sendings = 0;
    x->totals->updates++;
    send_update(x, n);
}

void wish_will_due(struct chaos *x, struct chaos_node *n)
{
    struct will_update *u = &n->update;
    if (u->due_ms > chaos_now(x))
        return;
    if (u->sendings < UPDATE_TRIES) {
        send_update(x, n);
        return;
    }
    u->step = UPD_IDLE;
    u->due_ms = TIME_NEVER;
    u->quiet_ms = chaos_now(x) + QUIET_MS;
}

bool wish_will_answered(struct chaos *x, struct chaos_node *n, const struct sn_packet *p)
{
    struct will_update *u = &n->update;
    const bool of_message = u->step == UPD_MESSAGE;
    if (p->type != SN_WILLTOPICRESP && p->type != SN_WILLMSGRESP)
        return false;
    if (u->step == UPD_IDLE || of_message != (p->type == SN_WILLMSGRESP))
        return true; /* a late copy */
    if (p->return_code != SN_ACCEPTED) {
        chaos_fail(x, "%s: an update of its will is refused", n->id);
    } else if (u->step == UPD_MESSAGE) {
        n->will = UINT64_C(1) << u->generation;
    } else if (u->step == UPD_DELETE) {
        n->will = UINT64_C(1) << WILL_NONE;
    } else {
        n->will &= ~(UINT64_C(1) << WILL_NONE);
    }
    u->step = UPD_IDLE;
    u->due_ms = TIME_NEVER;
    u->quiet_ms = chaos_now(x) + QUIET_MS;
    return true;
}
