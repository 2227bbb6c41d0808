/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose a message is, for the order in which it reaches the broker (upstream.h, `client`). A session's key
 * won't do: a node that connects with CleanSession for each of its messages has another one each time, and
 * a restarted gateway gives them to others.
 */
#ifndef SENNET_BROKER_ORDER_H
#define SENNET_BROKER_ORDER_H

#include <stdint.h>

#include "base/hash.h"

#include "mqttsn/port.h"

/* The same for all sessions of a client id, also in later processes; never 0. Two client ids may have the
 * same, then these wait for each other. */
static inline uint64_t order_of(struct bytes client_id)
{
    static const struct hash_seed always_the_same;
    const uint64_t mask =
        ((uint64_t)1 << SN_CLIENT_KEY_BITS) - 1; /* as wide as keys are in stores */
    const uint64_t hash = hash_bytes(&always_the_same, client_id) & mask;
    return hash != SN_NO_CLIENT ? hash : 1;
}

#endif
