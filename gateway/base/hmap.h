/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive chained hash map. The caller hashes (with a seeded hash_bytes()) and compares; the map
 * only keeps the chains. Inserting cannot fail: when the bucket array cannot grow, chains get
 * longer.
 *
 *     struct hmap_node *n = hmap_first(&m, hash);
 *     for (; n != NULL; n = hmap_next(n))
 *         if (equal(container_of(n, struct thing, node), key)) ...
 *
 * Costs: insert, remove, find O(1) on average; growing is O(n) once per doubling.
 */
#ifndef SENNET_BASE_HMAP_H
#define SENNET_BASE_HMAP_H

#include <stddef.h>
#include <stdint.h>

struct hmap_node {
    struct hmap_node *next;
    uint64_t hash;
};

struct hmap {
    struct hmap_node **buckets; /* NULL until the first insert */
    size_t n_buckets;           /* power of two */
    size_t count;
    size_t first;               /* the buckets below are empty: for hmap_any() */
    struct hmap_node *fallback; /* the only chain while there is no array */
};

void hmap_init(struct hmap *m);

/* Frees the array; the map must be empty (asserted): a leak of relations is a bug. */
void hmap_deinit(struct hmap *m);

void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash);

/* `node` must be in the map. */
void hmap_remove(struct hmap *m, struct hmap_node *node);

/* First and next node with exactly this hash, or NULL. */
struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash);
struct hmap_node *hmap_next(const struct hmap_node *node);

/* Any node, or NULL when empty: for tearing down. Taking out one after the other is O(buckets) in
 * all. */
struct hmap_node *hmap_any(struct hmap *m);

#endif
