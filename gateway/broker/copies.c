/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/copies.h"

#include <string.h>

#include "base/hash.h"

uint32_t copies_seed_id(uint64_t seed)
{
    return (uint32_t)(seed >> 36);
}

uint32_t copies_next_id(uint32_t id)
{
    return id < UP_SUBSCRIPTION_ID_MAX ? id + 1 : 1;
}

static bool is_judged(const struct up_event *message)
{
    return message->n_subscriptions > 0 && !message->retain;
}

static bool is_for(const struct up_event *message, uint32_t id)
{
    bool named = false;
    for (unsigned i = 0; i < message->n_subscriptions; i++)
        named |= message->subscriptions[i] == id;
    return named;
}

/* Without a secret: who could make two messages that have the same hash, could as well send one twice. */
static uint64_t hash_of(struct copy *c)
{
    static const struct hash_seed any;
    if (!c->has_hash) {
        const uint64_t topic = hash_bytes(&any, c->message->topic);
        const struct hash_seed seed = {.k0 = topic, .k1 = c->message->qos};
        c->hash = hash_bytes(&seed, body_bytes(c->message->body));
        c->has_hash = true;
    }
    return c->hash;
}

/* Once, and as the latest: in its place, or a free one, or that of the one from longest ago. */
static void remember(struct copies_of_late *late, struct copy *c, uint32_t id)
{
    const uint64_t hash = hash_of(c);
    size_t place = 0;
    while (place + 1 < COPIES_REMEMBERED && late->at[place].id != 0 &&
           (late->at[place].id != id || late->at[place].hash != hash))
        place++;
    memmove(&late->at[1], &late->at[0], place * sizeof late->at[0]);
    late->at[0].hash = hash;
    late->at[0].id = id;
}

/* Is an equal message there, for one of those that this copy is for, or for another one? Once. */
static bool take(struct copies_of_late *late, struct copy *c, bool for_the_same)
{
    const uint64_t hash = hash_of(c);
    for (unsigned i = 0; i < COPIES_REMEMBERED; i++) {
        uint32_t *const id = &late->at[i].id;
        if (*id == 0 || late->at[i].hash != hash || is_for(c->message, *id) != for_the_same)
            continue;
        *id = 0;
        return true;
    }
    return false;
}

struct copy copies_begin(struct copies *c, const struct up_event *message)
{
    return (struct copy){.message = message, .copies = c};
}

void copy_consider(struct copy *c, uint32_t id, uint8_t qos, bool *proven)
{
    const struct up_event *const message = c->message;
    if (!is_judged(message))
        return;
    const bool waits = message->qos > 0; /* else it never does at the broker */
    const bool is_named = is_for(message, id);
    if (is_named)
        c->named = id;
    if (waits && !*proven && is_named) {
        c->is_known = c->is_known || take(&c->copies->passed, c, false);
        *proven = !c->is_known;
    }
    if (waits && !*proven) {
        c->in_doubt = true;
    } else if (c->first == 0 || qos > c->first_qos || (qos == c->first_qos && id < c->first)) {
        c->first = id;
        c->first_qos = qos;
    }
}

bool copy_passes(struct copy *c)
{
    struct copies *const all = c->copies;
    if (!is_judged(c->message))
        return true;
    const bool is_other = c->first != 0 && !is_for(c->message, c->first);
    if (!c->is_known && (!is_other || take(&all->awaited, c, true))) {
        if (c->in_doubt && c->named != 0)
            remember(&all->passed, c, c->named);
        return true;
    }
    if (!c->is_known)
        remember(&all->awaited, c, c->first);
    all->left_out++;
    return false;
}

void copies_forget(struct copies *c, uint32_t id)
{
    for (unsigned i = 0; i < COPIES_REMEMBERED; i++) {
        if (c->passed.at[i].id == id)
            c->passed.at[i].id = 0;
    }
}
