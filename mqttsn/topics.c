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
 *
 * Nearly all clients have a few topics, which are looked at one by one. Those with more than that have
 * a table as well.
 */
#include <assert.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum { IDS = SN_TOPIC_ID_MAX, FEW = 8, FIRST_SIZE = 4 * FEW };

/* ---- many topics ----------------------------------------------------------------------------- */

/* Open addressing, half full at most; twice, as there are two things to look for. Those without an id
 * are missing in the second part. */
struct sn_topic_table {
    uint32_t size; /* of a part; a power of two */
    struct sn_topic *places[];
};

enum part { BY_NAME, BY_ID };

static size_t table_bytes(uint32_t size)
{
    return sizeof(struct sn_topic_table) + (size_t)2 * size * sizeof(struct sn_topic *);
}

static uint32_t home_of_name(const struct sn_topic_table *x, const struct sn_name *name)
{
    return (uint32_t)name->node.hash & (x->size - 1);
}

/* The numbers are ours, so nobody can aim at a place. */
static uint32_t home_of_id(const struct sn_topic_table *x, uint16_t id)
{
    return (id * 0x9E3779B1U >> 15) & (x->size - 1);
}

static uint32_t home_of(const struct sn_topic_table *x, enum part part, const struct sn_topic *t)
{
    return part == BY_NAME ? home_of_name(x, t->name) : home_of_id(x, t->id);
}

static void table_put(struct sn_topic_table *x, enum part part, struct sn_topic *t)
{
    struct sn_topic **places = x->places + (part == BY_ID ? x->size : 0);
    uint32_t at = home_of(x, part, t);
    while (places[at] != NULL)
        at = (at + 1) & (x->size - 1);
    places[at] = t;
}

/* What stands behind moves up, if that is not before its home. */
static void table_take(struct sn_topic_table *x, enum part part, const struct sn_topic *t)
{
    struct sn_topic **places = x->places + (part == BY_ID ? x->size : 0);
    const uint32_t mask = x->size - 1;
    uint32_t hole = home_of(x, part, t);
    while (places[hole] != t)
        hole = (hole + 1) & mask;
    places[hole] = NULL;
    for (uint32_t at = (hole + 1) & mask; places[at] != NULL; at = (at + 1) & mask) {
        const uint32_t home = home_of(x, part, places[at]);
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        places[hole] = places[at];
        places[at] = NULL;
        hole = at;
    }
}

static void table_drop(struct sn_engine *e, struct sn_topics *topics)
{
    if (topics->table != NULL)
        sn_free(e, topics->table, table_bytes(topics->table->size));
    topics->table = NULL;
}

static void table_fill(struct sn_topic_table *x, const struct ring *topics)
{
    ring_foreach(link, topics)
    {
        struct sn_topic *t = container_of(link, struct sn_topic, link);
        table_put(x, BY_NAME, t);
        if (t->id != 0)
            table_put(x, BY_ID, t);
    }
}

/* For one more. Without memory there is no table, and finding them takes longer. */
static void table_make_room(struct sn_engine *e, struct sn_topics *topics)
{
    const uint32_t size = topics->table != NULL ? topics->table->size : 0;
    if (topics->n < FEW || topics->n < size / 2)
        return;
    table_drop(e, topics);
    uint32_t wanted = FIRST_SIZE;
    while (topics->n >= wanted / 2)
        wanted *= 2;
    struct sn_topic_table *x = sn_alloc_quietly(e, table_bytes(wanted));
    if (x == NULL)
        return;
    x->size = wanted;
    table_fill(x, &topics->lent);
    table_fill(x, &topics->asked);
    topics->table = x;
}

/* ---- finding them ---------------------------------------------------------------------------- */

struct sn_topic *sn_topic_find(const struct sn_client *c, const struct sn_name *name)
{
    if (c->topics == NULL)
        return NULL;
    const struct sn_topic_table *x = c->topics->table;
    if (x != NULL) {
        uint32_t at = home_of_name(x, name);
        while (x->places[at] != NULL && x->places[at]->name != name)
            at = (at + 1) & (x->size - 1);
        return x->places[at];
    }
    const struct ring *const rings[] = {&c->topics->asked, &c->topics->lent};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        ring_foreach(link, rings[i])
        {
            if (container_of(link, struct sn_topic, link)->name == name)
                return container_of(link, struct sn_topic, link);
        }
    }
    return NULL;
}

struct sn_topic *sn_topic_by_id(const struct sn_client *c, uint16_t id)
{
    if (c->topics == NULL || id == 0)
        return NULL;
    const struct sn_topic_table *x = c->topics->table;
    if (x != NULL) {
        struct sn_topic *const *places = x->places + x->size;
        uint32_t at = home_of_id(x, id);
        while (places[at] != NULL && places[at]->id != id)
            at = (at + 1) & (x->size - 1);
        return places[at];
    }
    const struct ring *const rings[] = {&c->topics->asked, &c->topics->lent};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        ring_foreach(link, rings[i])
        {
            if (container_of(link, struct sn_topic, link)->id == id)
                return container_of(link, struct sn_topic, link);
        }
    }
    return NULL;
}

/* ---- which ones may give way ----------------------------------------------------------------- */

static bool is_lent(const struct sn_topic *t)
{
    return !t->given && t->kind == SN_TOPIC_NORMAL && t->n_subs == 0;
}

static bool is_last_lent(const struct sn_topics *topics, const struct sn_topic *t)
{
    return ring_last(&topics->lent) == &t->link;
}

static void unring(struct sn_topics *topics, struct sn_topic *t)
{
    ring_remove(t->in_lent ? &topics->lent : &topics->asked, &t->link);
}

static void enring(struct sn_topics *topics, struct sn_topic *t)
{
    t->in_lent = is_lent(t);
    ring_push_back(t->in_lent ? &topics->lent : &topics->asked, &t->link);
}

void sn_topic_settle(struct sn_client *c, struct sn_topic *t)
{
    unring(c->topics, t);
    enring(c->topics, t);
}

void sn_topic_used(struct sn_client *c, struct sn_topic *t)
{
    if (is_lent(t) && !is_last_lent(c->topics, t))
        sn_topic_settle(c, t);
}

static void topic_free(struct sn_engine *e, struct sn_client *c, struct sn_topic *t)
{
    sn_journal_topic_gone(e, c, t);
    if (c->topics->table != NULL) {
        table_take(c->topics->table, BY_NAME, t);
        if (t->id != 0)
            table_take(c->topics->table, BY_ID, t);
    }
    unring(c->topics, t);
    if (t->id != 0)
        c->topics->n_ids--;
    c->topics->n--;
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
    ring_foreach(link, &c->topics->lent)
    {
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

struct sn_topics *sn_topics_of(struct sn_engine *e, struct sn_client *c)
{
    if (c->topics == NULL)
        c->topics = sn_alloc(e, sizeof *c->topics);
    return c->topics;
}

void sn_topics_free(struct sn_engine *e, struct sn_client *c)
{
    if (c->topics == NULL)
        return;
    assert(c->topics->n == 0 && c->topics->subs == NULL);
    table_drop(e, c->topics);
    sn_free(e, c->topics, sizeof *c->topics);
    c->topics = NULL;
}

struct sn_topic *sn_topic_get(struct sn_engine *e, struct sn_client *c, struct bytes text)
{
    struct sn_name *name = sn_name_get(e, text);
    if (name == NULL)
        return NULL;
    struct sn_topic *t = sn_topic_find(c, name);
    struct sn_topics *topics = t == NULL ? sn_topics_of(e, c) : NULL;
    if (topics == NULL || (topics->n >= c->profile->options.max_topics && !withdraw_one(e, c)) ||
        (t = sn_alloc(e, sizeof *t)) == NULL) {
        sn_name_unref(e, name); /* an existing entry has its own reference */
        return t;
    }
    table_make_room(e, topics);
    t->name = name;
    t->kind = SN_TOPIC_NORMAL;
    list_init(&t->link);
    enring(topics, t);
    topics->n++;
    if (topics->table != NULL)
        table_put(topics->table, BY_NAME, t);
    return t;
}

static uint16_t next_id(const struct sn_engine *e, struct sn_topics *topics)
{
    const uint32_t index = topics->next_index;
    topics->next_index = (uint16_t)((index + 1U) % IDS);
    return (uint16_t)((e->first_topic_id - 1U + index) % IDS + 1U);
}

static void set_id(struct sn_topics *topics, struct sn_topic *t, uint16_t id)
{
    t->id = id;
    topics->n_ids++;
    if (topics->table != NULL)
        table_put(topics->table, BY_ID, t);
}

void sn_topic_set_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t, uint16_t id)
{
    const uint32_t behind = (id + (uint32_t)IDS - e->first_topic_id) % IDS + 1U;
    set_id(c->topics, t, id);
    if (c->topics->next_index < behind)
        c->topics->next_index = (uint16_t)behind;
}

bool sn_topic_assign_id(struct sn_engine *e, struct sn_client *c, struct sn_topic *t)
{
    if (t->id != 0)
        return true;
    if (c->topics->n_ids >= IDS)
        return false;
    uint16_t id = next_id(e, c->topics);
    while (sn_topic_by_id(c, id) != NULL)
        id = next_id(e, c->topics);
    set_id(c->topics, t, id);
    sn_count(e, SN_STAT_REGISTRATIONS);
    return true;
}

/* The ids go on: a REGISTER of the session before, which comes
 * late, must not give the node another name for an id of the new one. */
void sn_topics_clear(struct sn_engine *e, struct sn_client *c)
{
    if (c->topics == NULL)
        return;
    struct ring *const rings[] = {&c->topics->lent, &c->topics->asked};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        while (rings[i]->first != NULL)
            topic_free(e, c, container_of(rings[i]->first, struct sn_topic, link));
    }
    table_drop(e, c->topics);
}
