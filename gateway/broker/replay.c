/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "broker/shared_priv.h"

enum { SEEN_FIRST = 16, SEEN_MAX = 8192 };

void replay_close(struct shared *s, struct sub *sub)
{
    struct replay *r = sub->replay;
    if (r == NULL)
        return;
    deadline_disarm(&s->deadlines, &r->closes);
    shared_release(s, r->seen, r->cap_seen * sizeof *r->seen);
    shared_release(s, r, sizeof *r);
    sub->replay = NULL;
}

static void arm(struct shared *s, struct replay *r)
{
    const int64_t latest = time_add(r->opened_ms, s->config.replay_max_ms);
    const int64_t quiet = time_add(s->now_ms, s->config.replay_quiet_ms);
    deadline_arm(&s->deadlines, &r->closes, time_min(latest, quiet));
}

void replay_open(struct shared *s, struct sub *sub)
{
    replay_close(s, sub);
    struct replay *r = shared_alloc(s, sizeof *r);
    if (r == NULL) {
        if (log_begin(&s->log, LOG_WARN, "retained.skipped")) {
            log_str(&s->log, "filter", filter_text(sub->filter));
            log_word(&s->log, "why", "out_of_memory");
            log_end(&s->log);
        }
        return;
    }
    deadline_init(&r->closes, DL_REPLAY);
    r->sub = sub;
    r->opened_ms = s->now_ms;
    sub->replay = r;
    arm(s, r);
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
    struct replay *r = sub->replay;
    if (r == NULL)
        return false;
    arm(s, r);
    cover_prolong(s, sub->filter);
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
