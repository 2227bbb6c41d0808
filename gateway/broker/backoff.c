/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/backoff.h"

#include "base/clock.h"

void backoff_init(struct backoff *b, int64_t min_ms, int64_t max_ms, uint64_t seed)
{
    b->min_ms = min_ms > 0 ? min_ms : 1;
    b->max_ms = max_ms > b->min_ms ? max_ms : b->min_ms;
    b->connected_ms = TIME_NEVER;
    b->step = 1;
    rng_seed(&b->rng, seed);
}

void backoff_connected(struct backoff *b, int64_t now_ms)
{
    b->connected_ms = now_ms;
}

static int64_t ceiling(const struct backoff *b)
{
    if (b->step == 0)
        return b->min_ms / 4;
    int64_t cap_ms = b->min_ms;
    for (unsigned n = 1; n < b->step && cap_ms < b->max_ms; n++)
        cap_ms = cap_ms > b->max_ms / 2 ? b->max_ms : cap_ms * 2;
    return cap_ms;
}

bool backoff_lost(struct backoff *b, int64_t now_ms)
{
    const bool was_good =
        b->connected_ms != TIME_NEVER && now_ms - b->connected_ms >= BACKOFF_STABLE_MS;
    if (was_good)
        b->step = 0;
    b->connected_ms = TIME_NEVER;
    return was_good;
}

int64_t backoff_pause(struct backoff *b)
{
    enum { STEPS_MAX = 64 };

    const int64_t delay_ms = (int64_t)rng_below(&b->rng, (uint64_t)ceiling(b) + 1);
    if (b->step < STEPS_MAX)
        b->step++;
    return delay_ms;
}
