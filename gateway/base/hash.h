/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SipHash-1-3, keyed: client ids, topics and addresses are chosen by strangers, so every table that
 * holds them is seeded. Not a cryptographic signature.
 */
#ifndef SENNET_BASE_HASH_H
#define SENNET_BASE_HASH_H

#include <stdint.h>

#include "base/bytes.h"

struct hash_seed {
    uint64_t k0;
    uint64_t k1;
};

/* O(len). */
uint64_t hash_bytes(const struct hash_seed *seed, struct bytes in);

#endif
