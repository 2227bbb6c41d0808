/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for small records that stay: of clients, topics, filters. Records of a size lie side by side
 * in slabs, without what malloc() keeps in front of each of its blocks, and away from what comes and
 * goes, so that the holes of that are not stuck between them.
 *
 * Whoever frees a record says its size again. Larger ones are malloc()'s.
 *
 * Costs: O(1). A size takes pages of memory as it needs them, and a slab without records is freed,
 * but for one per size.
 */
#ifndef SENNET_BASE_SLABS_H
#define SENNET_BASE_SLABS_H

#include <stddef.h>

enum { SLAB_LARGEST = 256, SLAB_STEP = 8, SLAB_SIZES = SLAB_LARGEST / SLAB_STEP };

struct slab;

/* All zeroes: none. */
struct slabs {
    struct slab *open[SLAB_SIZES]; /* those with room; what is new goes into the first */
};

/* Frees what is kept; all records must have been freed (asserted). */
void slabs_deinit(struct slabs *all);

/* Zeroed, aligned to SLAB_STEP octets; NULL: out of memory. */
void *slab_new(struct slabs *all, size_t octets);
/* `octets` as when it was made. NULL is none. */
void slab_free(struct slabs *all, void *record, size_t octets);

/* Octets of a record of `whole` (its sizeof) whose last member, `len` octets, begins at `last`: that may be
 * in front of its padding, and never less than `whole`, because compilers read the padding together with
 * the fields before it. */
static inline size_t record_octets(size_t whole, size_t last, size_t len)
{
    return last + len > whole ? last + len : whole;
}

#endif
