/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When to try the broker again: a pure machine. Capped exponential backoff with full jitter, so
 * that a thousand gateways which lost one broker do not come back in step.
 *
 * A connection counts as good only after it has lasted BACKOFF_STABLE_MS: a broker that accepts and
 * then drops is treated like one that refuses. The first attempt after the loss of a good
 * connection comes quickly, because most losses are short.
 */
#ifndef SENNET_BROKER_BACKOFF_H
#define SENNET_BROKER_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

enum { BACKOFF_STABLE_MS = 30000 };

struct backoff {
    int64_t min_ms;
    int64_t max_ms;
    int64_t connected_ms; /* TIME_NEVER while not connected */
    unsigned step;        /* 0 = quick, n = up to min << (n - 1) */
    struct rng rng;
};

/* 0 < min_ms <= max_ms; other values are corrected upwards. */
void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms, uint64_t seed);

/* The connection is up. */
void backoff_connected(struct backoff *b, int64_t now_ms);

/* The connection, if there was one, is lost. Was it a good one? */
bool backoff_lost(struct backoff *b, int64_t now_ms);

/* Milliseconds to wait before the next attempt, or the next round of attempts: uniform in
 * 0 .. min(max, min * 2^k), where k counts the pauses since the last good connection; and in
 * 0 .. min/4 for the first one after that. */
int64_t backoff_pause(struct backoff *b);

#endif
