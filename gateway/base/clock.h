/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time as a number: monotonic milliseconds in an int64_t, passed in by the caller, never read here.
 * Nobody writes `a + b <= now` by hand: these two spell out what "never" and near-overflow mean.
 */
#ifndef SENNET_BASE_CLOCK_H
#define SENNET_BASE_CLOCK_H

#include <stdint.h>

#define TIME_NEVER INT64_MAX

/* `at_ms + delta_ms`, saturating at TIME_NEVER; never stays never. `delta_ms` is not negative. */
static inline int64_t time_add(int64_t at_ms, int64_t delta_ms)
{
    return at_ms > TIME_NEVER - delta_ms ? TIME_NEVER : at_ms + delta_ms;
}

/* The same in microseconds. */
static inline int64_t time_us(int64_t at_ms)
{
    return at_ms > TIME_NEVER / 1000 ? TIME_NEVER : at_ms * 1000;
}

static inline int64_t time_min(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

static inline int64_t time_max(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

#endif
