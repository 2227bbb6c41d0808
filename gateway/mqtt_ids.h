/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A set of packet ids. Mostly it has few, and they have their place in here; with more of them there is
 * one bit for each that there can be, from then on. Any thread, without a lock; but an id is added and
 * taken out by one thread at a time.
 */
#ifndef SENNET_GATEWAY_MQTT_IDS_H
#define SENNET_GATEWAY_MQTT_IDS_H

#include <stdatomic.h>
#include <stdbool.h>

enum { PACKET_IDS = 65536, IDS_FEW = 24 };

struct id_bits {
    atomic_uchar octets[PACKET_IDS / 8];
};

/* All zero: empty. */
struct id_set {
    atomic_ushort few[IDS_FEW];
    _Atomic(struct id_bits *) many;
};

/* Ids are 1..65535. False: out of memory. */
bool ids_add(struct id_set *set, unsigned id);
/* Was it in? */
bool ids_take(struct id_set *set, unsigned id);
bool ids_has(const struct id_set *set, unsigned id);
bool ids_any(const struct id_set *set);
void ids_clear(struct id_set *set);
void ids_deinit(struct id_set *set);

#endif
