/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A log-linear histogram of durations: exact below 32, then 32 steps per doubling, so a quantile is
 * at most 3.2 % too high whatever the range. Fixed size, no allocation.
 */
#ifndef SENNET_TOOLS_SIM_HISTOGRAM_H
#define SENNET_TOOLS_SIM_HISTOGRAM_H

#include <stdint.h>

enum {
    HIST_STEP_BITS = 5,
    HIST_VALUE_BITS = 36, /* 19 hours in microseconds; larger values count as the largest */
    HIST_BUCKETS = (HIST_VALUE_BITS - HIST_STEP_BITS + 1) << HIST_STEP_BITS,
};

/* All zero is an empty histogram. */
struct histogram {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t buckets[HIST_BUCKETS];
};

/* O(1). Negative values (a clock that stood still) count as 0. */
void hist_add(struct histogram *h, int64_t value);

/* The smallest value below or at which at least the share `q` (0..1) of all values lies, rounded up
 * to its step; 0 when empty. O(buckets). */
uint64_t hist_quantile(const struct histogram *h, double q);

#endif
