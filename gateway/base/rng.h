/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seeded pseudo-random numbers (xoshiro256**, seeded through splitmix64): a value, so that a
 * machine which needs jitter is reproducible from its seed. Not for secrets.
 */
#ifndef SENNET_BASE_RNG_H
#define SENNET_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_next(struct rng *r);

/* Uniform in [0, bound); 0 when `bound` is 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);

#endif
