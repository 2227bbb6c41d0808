/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hash index of things that have a number: eight octets per entry in one array, nothing in the things
 * themselves. The caller hashes (with a seeded hash_bytes()) and compares, as with hmap.h, which needs
 * no numbers and cannot fail.
 *
 *     size_t at = hindex_first(&x, hash);
 *     for (; at != HINDEX_END; at = hindex_next(&x, at, hash))
 *         if (equal(&things[hindex_number(&x, at)], key)) ...
 *
 * Costs: insert, remove, find O(1) on average, mostly one line of the cache; growing is O(n) once per
 * doubling, in the order of memory (100,000 entries: about a millisecond).
 */
#ifndef SENNET_BASE_HINDEX_H
#define SENNET_BASE_HINDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HINDEX_END SIZE_MAX

struct hindex_entry {
    uint32_t hash;
    uint32_t number; /* plus one; 0: free */
};

struct hindex {
    struct hindex_entry *entries; /* NULL until the first one */
    uint32_t bits;                /* there are 2 to the power of it */
    uint32_t count;
};

void hindex_init(struct hindex *x);

/* Frees the array; the index must be empty (asserted). */
void hindex_deinit(struct hindex *x);

/* Makes room for one more. False: out of memory, nothing has changed. */
bool hindex_reserve(struct hindex *x);

/* There must be room. `number` is below UINT32_MAX; the pair is not there yet. */
void hindex_insert(struct hindex *x, uint64_t hash, uint32_t number);

/* The pair must be there. */
void hindex_remove(struct hindex *x, uint64_t hash, uint32_t number);

/* First and next place with this hash (of its 64 bits 32 are compared), or HINDEX_END. Places are
 * valid until something is inserted or removed. */
size_t hindex_first(const struct hindex *x, uint64_t hash);
size_t hindex_next(const struct hindex *x, size_t at, uint64_t hash);

static inline uint32_t hindex_number(const struct hindex *x, size_t at)
{
    return x->entries[at].number - 1;
}

#endif
