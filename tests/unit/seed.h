/* SPDX-License-Identifier: Apache-2.0 */
/* The seed of a test with random inputs: SENNET_SEED from the environment, or always the same one.
 * It is printed, so that a failure can be repeated. */
#ifndef SENNET_TESTS_UNIT_SEED_H
#define SENNET_TESTS_UNIT_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

static inline struct rng seeded_rng(void)
{
    const char *wanted = getenv("SENNET_SEED");
    const uint64_t seed = wanted != NULL ? strtoull(wanted, NULL, 0) : 0x5E22E7;
    printf("repeat with SENNET_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    struct rng rng;
    rng_seed(&rng, seed);
    return rng;
}

/* How many: `usual` in every test run; `full` with SENNET_FULL=1 in the environment, after a change of
 * what is tested. */
static inline unsigned sample_of(unsigned usual, unsigned full)
{
    return getenv("SENNET_FULL") != NULL ? full : usual;
}

#endif
