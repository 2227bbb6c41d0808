/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing. An entry's home is the upper bits of its hash; from home on, entries stand in the
 * order of their distance from home, the farthest first ("Robin Hood"). So a search ends at the first
 * entry that is nearer to its home than the wanted one would be, even in a full table, and growing,
 * which takes one bit more, keeps the order of memory.
 */
#include "base/hindex.h"

#include <assert.h>
#include <stdlib.h>

enum { FIRST_BITS = 3, MOST_BITS = 31 };

static size_t mask_of(const struct hindex *x)
{
    return ((size_t)1 << x->bits) - 1;
}

static uint32_t upper(uint64_t hash)
{
    return (uint32_t)(hash >> 32);
}

/* How far an entry with that hash would be from home if it stood at `at`. */
static size_t distance(const struct hindex *x, uint32_t hash, size_t at)
{
    const size_t home = hash >> (32 - x->bits);
    return (at - home) & mask_of(x);
}

static bool is_free(const struct hindex *x, size_t at)
{
    return x->entries[at].number == 0;
}

static void put(struct hindex *x, struct hindex_entry one)
{
    const size_t mask = mask_of(x);
    size_t at = one.hash >> (32 - x->bits);
    for (size_t far = 0; !is_free(x, at); at = (at + 1) & mask, far++) {
        const size_t other = distance(x, x->entries[at].hash, at);
        if (other >= far)
            continue;
        const struct hindex_entry poorer = one;
        one = x->entries[at];
        x->entries[at] = poorer;
        far = other;
    }
    x->entries[at] = one;
}

/* The first place of the wanted hash at `at` or behind it. */
static size_t find(const struct hindex *x, size_t at, uint32_t hash)
{
    const size_t mask = mask_of(x);
    for (size_t far = distance(x, hash, at); !is_free(x, at); at = (at + 1) & mask, far++) {
        if (x->entries[at].hash == hash)
            return at;
        if (distance(x, x->entries[at].hash, at) < far)
            break;
    }
    return HINDEX_END;
}

void hindex_init(struct hindex *x)
{
    *x = (struct hindex){0};
}

void hindex_deinit(struct hindex *x)
{
    assert(x->count == 0);
    free(x->entries);
    hindex_init(x);
}

bool hindex_reserve(struct hindex *x)
{
    const size_t size = x->entries != NULL ? mask_of(x) + 1 : 0;
    if (x->count < size - size / 8)
        return true;
    struct hindex grown = {.bits = size > 0 ? x->bits + 1 : FIRST_BITS, .count = x->count};
    if (grown.bits > MOST_BITS)
        return false;
    grown.entries = calloc((size_t)1 << grown.bits, sizeof *grown.entries);
    if (grown.entries == NULL)
        return false;
    for (size_t at = 0; at < size; at++) {
        if (!is_free(x, at))
            put(&grown, x->entries[at]);
    }
    free(x->entries);
    *x = grown;
    return true;
}

void hindex_insert(struct hindex *x, uint64_t hash, uint32_t number)
{
    assert(x->entries != NULL && x->count < mask_of(x) && number < UINT32_MAX);
    put(x, (struct hindex_entry){.hash = upper(hash), .number = number + 1});
    x->count++;
}

/* What stands behind moves up, unless it is at home. */
void hindex_remove(struct hindex *x, uint64_t hash, uint32_t number)
{
    const size_t mask = mask_of(x);
    size_t at = hindex_first(x, hash);
    while (at != HINDEX_END && hindex_number(x, at) != number)
        at = hindex_next(x, at, hash);
    assert(at != HINDEX_END);
    for (size_t next = (at + 1) & mask;
         !is_free(x, next) && distance(x, x->entries[next].hash, next) > 0;
         at = next, next = (next + 1) & mask)
        x->entries[at] = x->entries[next];
    x->entries[at] = (struct hindex_entry){0};
    x->count--;
}

size_t hindex_first(const struct hindex *x, uint64_t hash)
{
    if (x->entries == NULL)
        return HINDEX_END;
    return find(x, upper(hash) >> (32 - x->bits), upper(hash));
}

size_t hindex_next(const struct hindex *x, size_t at, uint64_t hash)
{
    const size_t next = (at + 1) & mask_of(x);
    /* Once around: only with as many equal hashes as there is room, which cannot be. */
    return find(x, next, upper(hash));
}
