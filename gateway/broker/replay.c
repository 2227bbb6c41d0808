/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A window is open until a time that stands in the subscription, and longer while its SUBSCRIBE waits
 * for an answer: mostly no retained message comes, and then it costs nothing but that. With the first
 * one it gets a record, and a deadline that frees it.
 */
#include <stdlib.h>

#include "broker/shared_priv.h"

enum { SEEN_FIRST = 16, SEEN_MAX = 8192 };

static void forget(struct shared *s, struct sub *sub)
{
    struct replay *r = sub->replay;
    if (r == NULL)
        return;
    deadline_disarm(&s->deadlines, &r->closes);
    shared_release(s, r->seen, r->cap_seen * sizeof *r->seen);
    shared_release(s, r, sizeof *r);
    sub->replay = NULL;
}

void replay_close(struct shared *s, struct sub *sub)
{
    forget(s, sub);
    sub->replay_until_ms = 0;
}

void replay_open(struct shared *s, struct sub *sub)
{
    forget(s, sub);
    sub->replay_until_ms = time_add(s->now_ms, s->config.replay_quiet_ms);
}

/* Silence counts from the answer on. */
void replay_answered(const struct shared *s, struct sub *sub)
{
    if (sub->replay_until_ms != 0)
        sub->replay_until_ms = time_add(s->now_ms, s->config.replay_quiet_ms);
}

static bool is_open(const struct shared *s, const struct sub *sub)
{
    if (sub->replay_until_ms == 0)
        return false;
    const bool asked = sub->asks != NULL && sub->asks->sent;
    return sub->replay != NULL || asked || s->now_ms < sub->replay_until_ms;
}

static void arm(struct shared *s, struct replay *r)
{
    const int64_t latest = time_add(r->opened_ms, s->config.replay_max_ms);
    const int64_t quiet = time_add(s->now_ms, s->config.replay_quiet_ms);
    deadline_arm(&s->deadlines, &r->closes, time_min(latest, quiet));
}

/* NULL: out of memory. */
static struct replay *replay_of(struct shared *s, struct sub *sub)
{
    struct replay *r = sub->replay;
    if (r != NULL)
        return r;
    r = shared_alloc(s, sizeof *r);
    if (r == NULL)
        return NULL;
    deadline_init(&r->closes, DL_REPLAY);
    r->sub = sub;
    r->opened_ms = s->now_ms;
    sub->replay = r;
    return r;
}

static bool put(struct replay *r, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (r->cap_seen - 1);
    while (r->seen[at] != 0) {
        if (r->seen[at] == hash)
            return false;
        at = (at + 1) & (r->cap_seen - 1);
    }
    r->seen[at] = hash;
    r->n_seen++;
    return true;
}

/* Makes room for one more; false when there is no more to be had. */
static bool reserve(struct shared *s, struct replay *r)
{
    if (r->n_seen * 2 < r->cap_seen)
        return true;
    const uint32_t old_cap = r->cap_seen;
    const uint32_t cap = old_cap > 0 ? old_cap * 2 : SEEN_FIRST;
    if (cap > SEEN_MAX)
        return false;
    uint64_t *old = r->seen;
    uint64_t *fresh = shared_alloc(s, cap * sizeof *fresh);
    if (fresh == NULL)
        return false;
    r->seen = fresh;
    r->cap_seen = cap;
    r->n_seen = 0;
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i] != 0)
            put(r, old[i]);
    }
    shared_release(s, old, old_cap * sizeof *old);
    return true;
}

/* A window that can't remember more lets the message pass: a second retained copy is the lesser
 * evil. */
bool replay_wants(struct shared *s, struct sub *sub, uint64_t topic_hash)
{
    if (!is_open(s, sub))
        return false;
    cover_prolong(s, sub->filter);
    struct replay *r = replay_of(s, sub);
    if (r == NULL)
        return true;
    arm(s, r);
    const uint64_t hash = topic_hash != 0 ? topic_hash : 1;
    return !reserve(s, r) || put(r, hash);
}

/* While the broker has not yet answered the SUBSCRIBE, the window stays open. */
void replay_due(struct shared *s, struct replay *r)
{
    if (r->sub->asks != NULL) {
        r->opened_ms = s->now_ms;
        arm(s, r);
        return;
    }
    replay_close(s, r->sub);
}
