/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sim_histogram.h"

#include <math.h>

enum { STEPS = 1 << HIST_STEP_BITS };

static unsigned bucket_of(uint64_t value)
{
    if (value < STEPS)
        return (unsigned)value;
    const unsigned top = 63U - (unsigned)__builtin_clzll(value);
    const unsigned doubling = top - HIST_STEP_BITS; /* 0: 32..63 in steps of one */
    return ((doubling + 1) << HIST_STEP_BITS) + (unsigned)((value >> doubling) - STEPS);
}

/* The largest value that falls into a bucket. */
static uint64_t bucket_end(unsigned bucket)
{
    if (bucket < STEPS)
        return bucket;
    const unsigned doubling = (bucket >> HIST_STEP_BITS) - 1;
    const uint64_t step = (bucket & (STEPS - 1)) + STEPS;
    return ((step + 1) << doubling) - 1;
}

void hist_add(struct histogram *h, int64_t value)
{
    const uint64_t largest = (UINT64_C(1) << HIST_VALUE_BITS) - 1;
    uint64_t v = value > 0 ? (uint64_t)value : 0;
    if (v > largest)
        v = largest;
    h->count++;
    h->sum += v;
    if (v > h->max)
        h->max = v;
    h->buckets[bucket_of(v)]++;
}

uint64_t hist_quantile(const struct histogram *h, double q)
{
    if (h->count == 0)
        return 0;
    uint64_t wanted = (uint64_t)ceil(q * (double)h->count);
    if (wanted == 0)
        wanted = 1;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= wanted)
            return bucket_end(i) < h->max ? bucket_end(i) : h->max;
    }
    return h->max;
}
