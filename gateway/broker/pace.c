/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/pace.h"

#include "base/clock.h"
#include "base/rng.h"

enum { WHOLE = 1000 /* thousandths */, MINUTE_MS = 60000 };

/* ---- buckets --------------------------------------------------------------------------------- */

static int64_t capacity(const struct pace_bucket *b)
{
    return b->per_ms * WHOLE;
}

static void fill(struct pace_bucket *b, int64_t passed_ms)
{
    if (b->per_ms == 0)
        return;
    const int64_t missing = capacity(b) - b->level;
    if (passed_ms > missing / b->per_ms)
        b->level = capacity(b);
    else
        b->level += passed_ms * b->per_ms;
}

/* Milliseconds until it has enough. */
static int64_t wait_ms(const struct pace_bucket *b, int64_t wanted)
{
    if (b->per_ms == 0)
        return 0;
    const int64_t enough = wanted < capacity(b) ? wanted : capacity(b);
    return b->level >= enough ? 0 : (enough - b->level + b->per_ms - 1) / b->per_ms;
}

static void spend(struct pace_bucket *b, int64_t amount)
{
    if (b->per_ms > 0)
        b->level -= amount;
}

static int64_t octets(size_t bytes)
{
    return (int64_t)(bytes + PACE_OVERHEAD) * WHOLE;
}

/* ---- chance ---------------------------------------------------------------------------------- */

/* 0 to `below` - 1, always the same. */
static int64_t draw(const struct pace *p, int64_t below)
{
    return (int64_t)(p->chance % (uint64_t)below);
}

/* They stand at fixed times, so that those who begin later keep them, too. */
static int64_t next_window(const struct pace *p)
{
    const int64_t every_ms = p->config.collect_ms;
    const int64_t since_ms = (p->now_ms % every_ms + every_ms - draw(p, every_ms)) % every_ms;
    return time_add(p->now_ms, every_ms - since_ms);
}

/* ---- the time of day ------------------------------------------------------------------------- */

bool pace_is_limited(const struct pace_config *config)
{
    return config->messages > 0 || config->bytes > 0 || config->collect_ms > 0 ||
           config->n_quiet > 0;
}

bool pace_is_quiet_at(const struct pace_config *config, unsigned minute)
{
    for (unsigned i = 0; i < config->n_quiet; i++) {
        const struct pace_hours h = config->quiet[i];
        const bool behind = minute >= h.from;
        const bool before = minute < h.to;
        if (h.from < h.to ? behind && before : behind || before)
            return true;
    }
    return false;
}

static void become_quiet(struct pace *p)
{
    p->quiet = true;
    p->opened = false;
    if (p->config.collect_ms > 0)
        p->open = false;
}

/* From that minute on. */
static int64_t until_quiet_ms(const struct pace_config *config, unsigned minute)
{
    unsigned n = 0;
    while (n < PACE_DAY && !pace_is_quiet_at(config, (minute + n) % PACE_DAY))
        n++;
    return (int64_t)n * MINUTE_MS;
}

/* The time in between may be shorter than the interval of windows: it has one all the same, and early
 * enough. */
static void end_quiet(struct pace *p, unsigned minute)
{
    const int64_t every_ms = p->config.collect_ms;
    const int64_t half_ms = until_quiet_ms(&p->config, minute) / 2;
    p->quiet = false;
    if (every_ms == 0 && p->told)
        p->begin_ms = time_add(p->now_ms, draw(p, time_min(PACE_BEGIN_MS, half_ms)));
    else if (every_ms > half_ms)
        p->open_ms = time_add(p->now_ms + 1, draw(p, half_ms));
    else if (every_ms > 0)
        p->open_ms = next_window(p);
}

void pace_wall(struct pace *p, int64_t now_ms, unsigned minute)
{
    pace_advance(p, now_ms);
    const bool quiet = pace_is_quiet_at(&p->config, minute);
    if (quiet && !p->quiet)
        become_quiet(p);
    else if (!quiet && p->quiet)
        end_quiet(p, minute);
    p->told = true;
}

/* ---- windows --------------------------------------------------------------------------------- */

void pace_init(struct pace *p, const struct pace_config *config, int64_t now_ms)
{
    *p = (struct pace){.config = *config,
                       .now_ms = now_ms,
                       .messages = {.per_ms = config->messages},
                       .bytes = {.per_ms = (int64_t)config->bytes},
                       .open_ms = TIME_NEVER,
                       .begin_ms = now_ms,
                       .open = config->collect_ms == 0,
                       .quiet = config->n_quiet > 0};
    struct rng rng;
    rng_seed(&rng, config->seed);
    p->chance = rng_next(&rng);
    p->messages.level = capacity(&p->messages);
    p->bytes.level = capacity(&p->bytes);
    if (config->collect_ms > 0)
        p->open_ms = next_window(p);
}

bool pace_is_same(const struct pace_config *a, const struct pace_config *b)
{
    bool same = a->messages == b->messages && a->bytes == b->bytes &&
                a->collect_ms == b->collect_ms && a->n_quiet == b->n_quiet && a->seed == b->seed;
    for (unsigned i = 0; same && i < a->n_quiet; i++)
        same = a->quiet[i].from == b->quiet[i].from && a->quiet[i].to == b->quiet[i].to;
    return same;
}

/* What has left lately counts: nobody gets a full bucket for asking again and again. */
static void carry_over(struct pace_bucket *to, const struct pace_bucket *from)
{
    if (from->per_ms > 0 && from->level < to->level)
        to->level = from->level;
}

void pace_change(struct pace *p, const struct pace_config *config, int64_t now_ms)
{
    pace_advance(p, now_ms);
    const struct pace before = *p;
    pace_init(p, config, now_ms);
    carry_over(&p->messages, &before.messages);
    carry_over(&p->bytes, &before.bytes);
}

void pace_advance(struct pace *p, int64_t now_ms)
{
    if (now_ms > p->now_ms) {
        fill(&p->messages, now_ms - p->now_ms);
        fill(&p->bytes, now_ms - p->now_ms);
        p->now_ms = now_ms;
    }
    if (p->open || p->quiet || p->now_ms < p->open_ms)
        return;
    p->open = true;
    p->opened = true;
}

bool pace_has_opened(struct pace *p)
{
    const bool opened = p->opened;
    p->opened = false;
    return opened;
}

void pace_collected(struct pace *p)
{
    if (p->config.collect_ms == 0)
        return;
    p->open = false;
    p->open_ms = next_window(p);
}

/* ---- leaving --------------------------------------------------------------------------------- */

int64_t pace_when(const struct pace *p, size_t bytes)
{
    if (p->quiet)
        return TIME_NEVER;
    const int64_t bucket_ms =
        time_max(wait_ms(&p->messages, WHOLE), wait_ms(&p->bytes, octets(bytes)));
    int64_t when_ms = time_max(time_add(p->now_ms, bucket_ms), p->begin_ms);
    if (!p->open)
        when_ms = time_max(when_ms, p->open_ms);
    return when_ms;
}

void pace_take(struct pace *p, size_t bytes)
{
    spend(&p->messages, WHOLE);
    spend(&p->bytes, octets(bytes));
}

int64_t pace_next_deadline(const struct pace *p)
{
    return p->open || p->quiet ? TIME_NEVER : p->open_ms;
}
