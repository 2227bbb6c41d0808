/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of parcels of any size, one behind the other in one block, which starts over whenever it
 * has been drained: no allocation per parcel, and nothing is moved as long as the reader keeps up.
 *
 *     void *at = parcels_room(&q, size);          const void *at = parcels_first(&q);
 *     ... write up to `size` octets ...           ... read ...
 *     parcels_add(&q, written);                   parcels_done(&q);
 *
 * Costs: O(1); the block grows by doubling.
 */
#ifndef SENNET_BASE_PARCELS_H
#define SENNET_BASE_PARCELS_H

#include <stddef.h>
#include <stdint.h>

struct parcels {
    uint8_t *buf;
    size_t cap;
    size_t head; /* the first parcel */
    size_t tail; /* behind the last one */
    size_t max;
};

/* The block never grows beyond `max` octets, each parcel counted with 16 of its own and padding. */
void parcels_init(struct parcels *q, size_t max);
/* What lies in it is forgotten. */
void parcels_deinit(struct parcels *q);

/* Gives back a block that had to grow, if nothing lies in it. */
void parcels_spare(struct parcels *q);

/* Room for a parcel of up to `size` octets, aligned for any type, until the next call; NULL when
 * over the maximum or out of memory. Parcels taken with parcels_first() may move. */
void *parcels_room(struct parcels *q, size_t size);
/* The parcel that was written there; not more octets than asked for. */
void parcels_add(struct parcels *q, size_t size);

/* The oldest parcel, borrowed until parcels_done() or parcels_room(); NULL when there is none. */
void *parcels_first(const struct parcels *q);
/* Drops it; there must be one. */
void parcels_done(struct parcels *q);

#endif
