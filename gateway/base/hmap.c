/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hmap.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_BUCKETS = 8 };

static struct hmap_node **chain_of(struct hmap *m, uint64_t hash)
{
    return m->buckets != NULL ? &m->buckets[hash & (m->n_buckets - 1)] : &m->fallback;
}

static void move_chain(struct hmap *m, struct hmap_node *chain)
{
    while (chain != NULL) {
        struct hmap_node *node = chain;
        chain = node->next;
        struct hmap_node **to = chain_of(m, node->hash);
        node->next = *to;
        *to = node;
    }
}

static void grow(struct hmap *m)
{
    const size_t n = m->buckets != NULL ? m->n_buckets * 2 : FIRST_BUCKETS;
    struct hmap_node **fresh = calloc(n, sizeof *fresh);
    if (fresh == NULL)
        return;
    struct hmap_node **old = m->buckets;
    const size_t n_old = m->n_buckets;
    m->buckets = fresh;
    m->n_buckets = n;
    m->first = 0;
    move_chain(m, m->fallback);
    m->fallback = NULL;
    for (size_t i = 0; old != NULL && i < n_old; i++)
        move_chain(m, old[i]);
    free(old);
}

void hmap_init(struct hmap *m)
{
    *m = (struct hmap){0};
}

void hmap_deinit(struct hmap *m)
{
    assert(m->count == 0);
    free(m->buckets);
    hmap_init(m);
}

void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash)
{
    if (m->buckets == NULL || m->count >= m->n_buckets)
        grow(m);
    struct hmap_node **chain = chain_of(m, hash);
    if (m->buckets != NULL && chain < &m->buckets[m->first])
        m->first = (size_t)(chain - m->buckets);
    node->hash = hash;
    node->next = *chain;
    *chain = node;
    m->count++;
}

void hmap_remove(struct hmap *m, struct hmap_node *node)
{
    struct hmap_node **link = chain_of(m, node->hash);
    while (*link != node) {
        assert(*link != NULL);
        link = &(*link)->next;
    }
    *link = node->next;
    node->next = NULL;
    m->count--;
}

static struct hmap_node *with_hash(struct hmap_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash)
{
    if (m->buckets == NULL)
        return with_hash(m->fallback, hash);
    return with_hash(m->buckets[hash & (m->n_buckets - 1)], hash);
}

struct hmap_node *hmap_next(const struct hmap_node *node)
{
    return with_hash(node->next, node->hash);
}

struct hmap_node *hmap_any(struct hmap *m)
{
    if (m->fallback != NULL || m->count == 0)
        return m->fallback;
    while (m->buckets[m->first] == NULL)
        m->first++;
    return m->buckets[m->first];
}
