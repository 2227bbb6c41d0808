/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topic ids of one client (section 6.5). Normal ids are handed out in sequence, beginning above the
 * largest predefined id (so that peers which mix up the two spaces still work), and round all 65534
 * before any is used for another name: a late packet must not publish to another topic.
 *
 * What the client has asked for (REGISTER, SUBSCRIBE, or a PUBLISH of its own) it keeps for the life
 * of the session. What we have registered with it, because a wildcard brought the name, is only
 * lent: at max_topics the least recently used of these gives way. The client is not told, there is
 * no message for that; when the name comes again it is registered again, by another id.
 */
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum { IDS = SN_TOPIC_ID_MAX };

static uint64_t key_hash(const struct sn_name *name, uint32_t slot)
{
    return name->node.hash ^ (slot * 0x9E3779B97F4A7C15U);
}

/* Both numbers are ours, so nobody can aim at a chain. */
static uint64_t id_hash(uint32_t slot, uint16_t id)
{
    const uint64_t mixed = ((uint64_t)slot << 16 | id) * 0x9E3779B97F4A7C15U;
    return mixed ^ mixed >> 32;
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

struct sn_topic *sn_topic_by_id(const struct sn_engine *e, const struct sn_client *c, uint16_t id)
{
    const uint32_t slot = sn_client_slot(c->key);
    struct hmap_node *n = hmap_first(&e->topics_by_id, id_hash(slot, id));
    for (; n != NULL; n = hmap_next(n)) {
        struct sn_topic *t = container_of(n, struct sn_topic, by_id);
        if (t->id == id && t->slot == slot)
            return t;
    }
    return NULL;
}

/* ---- which ones may give way ----------------------------------------------------------------- */

static bool is_lent(const struct sn_topic *t)
{
    return !t->given && t->kind == SN_TOPIC_NORMAL && t->n_subs == 0;
}

void sn_topic_settle(struct sn_client *c, struct sn_topic *t)
{
    list_unlink(&t->link);
    list_push_back(is_lent(t) ? &c->topics_lent : &c->topics_asked, &t->link);
}

void sn_topic_used(struct sn_client *c, struct sn_topic *t)
{
    if (is_lent(t) && c->topics_lent.prev != &t->link)
        sn_topic_settle(c, t);
}

static void topic_free(struct sn_engine *e, struct sn_client *c, struct sn_topic *t)
{
    sn_journal_topic_gone(e, c, t);
    if (t->id != 0) {
        hmap_remove(&e->topics_by_id, &t->by_id);
        c->n_topic_ids--;
    }
    hmap_remove(&e->topics, &t->node);
    list_unlink(&t->link);
    c->n_topics--;
    sn_name_unref(e, t->name);
    sn_free(e, t, sizeof *t);
}

/* The message under way to the client was, or may have been, sent by it. */
static bool is_under_way(const struct sn_client *c, const struct sn_topic *t)
{
    const struct sn_down *d = c->down;
    if (d == NULL || d->n_queued == 0 || (d->phase == SN_DN_IDLE && d->publish_id == 0))
        return false;
    return sn_queue_head(d)->name == t->name;
}

/* False when none can give way. */
static bool withdraw_one(struct sn_engine *e, struct sn_client *c)
{
    list_foreach (link, &c->topics_lent) {
        struct sn_topic *t = container_of(link, struct sn_topic, link);
        if (is_under_way(c, t))
            continue; /* there is only one */
        topic_free(e, c, t);
        sn_count(e, SN_STAT_WITHDRAWALS);
        return true;
    }
    return false;
}

/* ---- making them ----------------------------------------------------------------------------- */

struct sn_topic *sn_topic_get(struct sn_engine *e, struct sn_client *c, struct bytes text)
{
    struct sn_name *name = sn_name_get(e, text);
    if (name == NULL)
        return NULL;
    struct sn_topic *t = sn_topic_find(e, c, name);
    if (t != NULL || (c->n_topics >= c->profile->options.max_topics && !withdraw_one(e, c)) ||
        (t = sn_alloc(e, sizeof *t)) == NULL) {
        sn_name_unref(e, name); /* an existing entry has its own reference */
        return t;
    }
    t->name = name;
    t->slot = sn_client_slot(c->key);
    t->kind = SN_TOPIC_NORMAL;
    list_push_back(&c->topics_lent, &t->link);
    c->n_topics++;
    hmap_insert(&e->topics, &t->node, key_hash(name, t->slot));
    return t;
}

static uint16_t next_id(const struct sn_engine *e, struct sn_client *c)
{
    const uint32_t index = c->next_topic_index;
    c->next_topic_index = (uint16_t)((index + 1U) % IDS);
    return (uint16_t)((e->first_topic_id - 1U + index) % IDS + 1U);
}

static void set_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t, uint16_t id)
{
    t->id = id;
    hmap_insert(&e->topics_by_id, &t->by_id, id_hash(t->slot, id));
    c->n_topic_ids++;
}

void sn_topic_set_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t, uint16_t id)
{
    const uint32_t behind = (id + (uint32_t)IDS - e->first_topic_id) % IDS + 1U;
    set_id(e, c, t, id);
    if (c->next_topic_index < behind)
        c->next_topic_index = (uint16_t)behind;
}

bool sn_topic_assign_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t)
{
    if (t->id != 0)
        return true;
    if (c->n_topic_ids >= IDS)
        return false;
    uint16_t id = next_id(e, c);
    while (sn_topic_by_id(e, c, id) != NULL)
        id = next_id(e, c);
    set_id(e, c, t, id);
    sn_count(e, SN_STAT_REGISTRATIONS);
    return true;
}

void sn_topics_clear(struct sn_engine *e, struct sn_client *c)
{
    struct list *const lists[] = {&c->topics_lent, &c->topics_asked};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        while (!list_empty(lists[i]))
            topic_free(e, c, container_of(list_first(lists[i]), struct sn_topic, link));
    }
    /* The ids go on: a REGISTER of the session before, which comes late, must not give the node
     * another name for an id of the new one. */
}
