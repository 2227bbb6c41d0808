/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic ids of one client (section 6.5). Normal ids are handed out in sequence, beginning above the
 * largest predefined id (so that peers which mix up the two spaces still work) and wrapping once
 * round all 65534; an id is never used again in the life of a session. The position in `by_index`
 * is the id less the first one, so finding a topic by its id is one subtraction.
 */
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum { IDS = SN_TOPIC_ID_MAX, FIRST_INDEX = 4 };

static uint64_t key_hash(const struct sn_name *name, uint32_t slot)
{
    return name->node.hash ^ (slot * 0x9E3779B97F4A7C15U);
}

struct sn_topic *sn_topic_find(struct sn_engine *e, const struct sn_client *c,
                               const struct sn_name *name)
{
    const uint32_t slot = sn_client_slot(c->key);
    struct hmap_node *n = hmap_first(&e->topics, key_hash(name, slot));
    for (; n != NULL; n = hmap_next(n)) {
        struct sn_topic *t = container_of(n, struct sn_topic, node);
        if (t->name == name && t->slot == slot)
            return t;
    }
    return NULL;
}

struct sn_topic *sn_topic_get(struct sn_engine *e, struct sn_client *c, struct bytes text)
{
    struct sn_name *name = sn_name_get(e, text);
    if (name == NULL)
        return NULL;
    struct sn_topic *t = sn_topic_find(e, c, name);
    if (t != NULL || c->n_topics >= c->profile->options.max_topics ||
        (t = sn_alloc(e, sizeof *t)) == NULL) {
        sn_name_unref(e, name); /* an existing entry has its own reference */
        return t;
    }
    t->name = name;
    t->slot = sn_client_slot(c->key);
    t->kind = SN_TOPIC_NORMAL;
    t->next = c->topics;
    c->topics = t;
    c->n_topics++;
    hmap_insert(&e->topics, &t->node, key_hash(name, t->slot));
    return t;
}

static bool reserve_index(struct sn_engine *e, struct sn_client *c)
{
    if (c->n_index < c->cap_index)
        return true;
    const uint32_t cap = c->cap_index > 0 ? c->cap_index * 2 : FIRST_INDEX;
    const size_t old_size = c->cap_index * sizeof(struct sn_topic *);
    struct sn_topic **fresh = sn_alloc(e, cap * sizeof *fresh);
    if (fresh == NULL)
        return false;
    if (old_size > 0)
        memcpy(fresh, c->by_index, old_size);
    sn_free(e, c->by_index, old_size);
    c->by_index = fresh;
    c->cap_index = cap;
    return true;
}

bool sn_topic_assign_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t)
{
    if (t->id != 0)
        return true;
    if (c->n_index >= IDS || !reserve_index(e, c))
        return false;
    t->id = (uint16_t)((e->first_topic_id - 1U + c->n_index) % IDS + 1U);
    c->by_index[c->n_index++] = t;
    sn_count(e, SN_STAT_REGISTRATIONS);
    return true;
}

struct sn_topic *sn_topic_by_id(const struct sn_engine *e, const struct sn_client *c, uint16_t id)
{
    if (id < SN_TOPIC_ID_MIN || id > SN_TOPIC_ID_MAX)
        return NULL;
    const uint32_t index = (uint32_t)(id + IDS - e->first_topic_id) % IDS;
    return index < c->n_index ? c->by_index[index] : NULL;
}

void sn_topics_clear(struct sn_engine *e, struct sn_client *c)
{
    while (c->topics != NULL) {
        struct sn_topic *t = c->topics;
        c->topics = t->next;
        hmap_remove(&e->topics, &t->node);
        sn_name_unref(e, t->name);
        sn_free(e, t, sizeof *t);
    }
    sn_free(e, c->by_index, c->cap_index * sizeof(struct sn_topic *));
    c->by_index = NULL;
    c->n_topics = 0;
    c->n_index = 0;
    c->cap_index = 0;
}
