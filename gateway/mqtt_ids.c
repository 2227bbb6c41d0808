/* SPDX-License-Identifier: Apache-2.0 */
#include "mqtt_ids.h"

#include <stddef.h>
#include <stdlib.h>

static struct id_bits *bits_of(const struct id_set *set)
{
    return atomic_load_explicit(&set->many, memory_order_acquire);
}

static unsigned char bit_of(unsigned id)
{
    return (unsigned char)(1U << id % 8);
}

/* ---- the few --------------------------------------------------------------------------------- */

/* Puts `to` where `from` is; 0 is nothing. */
static bool replace(struct id_set *set, unsigned from, unsigned to)
{
    for (size_t i = 0; i < IDS_FEW; i++) {
        unsigned short is = (unsigned short)from;
        if (atomic_load_explicit(&set->few[i], memory_order_relaxed) == is &&
            atomic_compare_exchange_strong(&set->few[i], &is, (unsigned short)to))
            return true;
    }
    return false;
}

static bool has_few(const struct id_set *set, unsigned id)
{
    for (size_t i = 0; i < IDS_FEW; i++) {
        if (atomic_load_explicit(&set->few[i], memory_order_relaxed) == id)
            return true;
    }
    return false;
}

/* ---- the many -------------------------------------------------------------------------------- */

static struct id_bits *make_bits(struct id_set *set)
{
    struct id_bits *bits = bits_of(set);
    if (bits != NULL)
        return bits;
    struct id_bits *const made = calloc(1, sizeof *made);
    if (made == NULL || atomic_compare_exchange_strong(&set->many, &bits, made))
        return made;
    free(made);
    return bits;
}

static bool has_bit(const struct id_set *set, unsigned id)
{
    const struct id_bits *const bits = bits_of(set);
    return bits != NULL &&
           (atomic_load_explicit(&bits->octets[id / 8], memory_order_relaxed) & bit_of(id)) != 0;
}

/* ---- all ------------------------------------------------------------------------------------- */

bool ids_has(const struct id_set *set, unsigned id)
{
    return has_few(set, id) || has_bit(set, id);
}

bool ids_add(struct id_set *set, unsigned id)
{
    if (ids_has(set, id) || replace(set, 0, id))
        return true;
    struct id_bits *const bits = make_bits(set);
    if (bits == NULL)
        return false;
    atomic_fetch_or_explicit(&bits->octets[id / 8], bit_of(id), memory_order_relaxed);
    return true;
}

bool ids_take(struct id_set *set, unsigned id)
{
    if (has_few(set, id))
        return replace(set, id, 0);
    if (!has_bit(set, id))
        return false;
    const unsigned char without = (unsigned char)~bit_of(id);
    const unsigned char before =
        atomic_fetch_and_explicit(&bits_of(set)->octets[id / 8], without, memory_order_relaxed);
    return (before & bit_of(id)) != 0;
}

bool ids_any(const struct id_set *set)
{
    const struct id_bits *const bits = bits_of(set);
    for (size_t i = 0; i < IDS_FEW; i++) {
        if (atomic_load_explicit(&set->few[i], memory_order_relaxed) != 0)
            return true;
    }
    for (size_t i = 0; bits != NULL && i < sizeof bits->octets; i++) {
        if (atomic_load_explicit(&bits->octets[i], memory_order_relaxed) != 0)
            return true;
    }
    return false;
}

void ids_clear(struct id_set *set)
{
    struct id_bits *const bits = bits_of(set);
    for (size_t i = 0; i < IDS_FEW; i++)
        atomic_store_explicit(&set->few[i], 0, memory_order_relaxed);
    for (size_t i = 0; bits != NULL && i < sizeof bits->octets; i++)
        atomic_store_explicit(&bits->octets[i], 0, memory_order_relaxed);
}

void ids_deinit(struct id_set *set)
{
    free(bits_of(set));
    atomic_store(&set->many, NULL);
}
