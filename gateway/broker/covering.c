/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of the filters the broker is to have: those that no other filter covers (docs/adr/0010).
 *
 * Some brokers send one copy of a message per matching subscription, and nothing in a copy tells
 * that it is one. So a filter that a wider one covers (`a/b` by `a/+` by `a/#`) is the *ward* of
 * that one, its *guard*, and the broker need not have it:
 *
 *   - When a wider filter is granted, the filters that it covers become its wards and are
 *     unsubscribed.
 *   - A ward still goes upstream when a node subscribes to it, since only that brings the retained
 *     messages. The broker keeps it for a *visit*, until they have come.
 *   - When nobody wants the guard any more, its wards find another one or are subscribed again; the
 *     guard goes when the last of them has been granted. So nothing is missed in between; while
 *     both are subscribed a broker of that kind may send a copy too many.
 *
 * A guard is granted at least the QoS of its wards. It has no guard itself, except that wards of a
 * guard which is leaving may have gathered below a fellow that is being subscribed. Guards outlive
 * the connection: a new broker session is told only of the filters that have none.
 */
#include "broker/shared_priv.h"

static struct filter *at_ward(struct list *link)
{
    return container_of(link, struct filter, ward);
}

/* Others may rely on it: it is, or will be, upstream. */
static bool is_steady(const struct filter *f)
{
    return filter_wanted(f) && !f->refused;
}

static bool is_guarded(const struct filter *f)
{
    return f->guard != NULL && is_steady(f->guard);
}

/* ---- wards ----------------------------------------------------------------------------------- */

static void part(struct shared *s, struct filter *f)
{
    if (f->guard == NULL)
        return;
    ring_remove(&f->guard->wards, &f->ward);
    f->guard = NULL;
    s->n_covered--;
}

static void hand_over(struct shared *s, struct filter *from, struct filter *to)
{
    while (from->wards.first != NULL) {
        struct filter *w = at_ward(from->wards.first);
        ring_remove(&from->wards, &w->ward);
        w->guard = to;
        ring_push_back(&to->wards, &w->ward);
        hand_over(s, w, to); /* two levels at most; the second one only below what is leaving */
        if (is_steady(to))
            cover_tell(s, w); /* what it had been waiting for may be there */
    }
}

/* It stays after all. */
static void flatten(struct shared *s, struct filter *f)
{
    ring_foreach_safe(link, next, &f->wards) hand_over(s, at_ward(link), f);
}

/* With its own wards, which the wider filter covers, too. */
static void join(struct shared *s, struct filter *f, struct filter *guard)
{
    part(s, f);
    f->guard = guard;
    ring_push_back(&guard->wards, &f->ward);
    s->n_covered++;
    hand_over(s, f, guard);
}

/* Those that the broker has, and the other wards of one that is leaving: they are being subscribed,
 * and it stays until they have been. */
static bool is_usable(const struct filter *candidate, const struct cover_query *q)
{
    const bool there = candidate->guard == NULL && candidate->held == HELD_YES;
    const bool coming = q->leaving != NULL && candidate->guard == q->leaving;
    return candidate != q->covered && candidate != q->leaving && (there || coming) &&
           is_steady(candidate) && candidate->granted >= q->covered->granted;
}

static struct filter *cover_of(const struct shared *s, const struct filter *f,
                               const struct filter *leaving)
{
    return tree_cover(s,
                      &(struct cover_query){.covered = f, .leaving = leaving, .usable = is_usable});
}

static void regroup(struct shared *s, struct filter *f, const struct filter *leaving);

static void adopt_one(struct shared *s, struct filter *cover, struct filter *f)
{
    if (f->guard == NULL && f->granted <= cover->granted)
        join(s, f, cover);
}

/* The broker has it now, or at another QoS. */
static void adopt(struct shared *s, struct filter *f)
{
    flatten(s, f);
    tree_covered(s, f, adopt_one);
    ring_foreach_safe(link, next, &f->wards)
    {
        struct filter *w = at_ward(link);
        if (!filter_wanted(w))
            part(s, w);
        if (w->guard != NULL && w->granted > f->granted) {
            part(s, w);
            regroup(s, w, NULL);
        } else {
            cover_tell(s, w);
        }
    }
}

/* Its guard can't be relied on any more. Without another one it must go upstream, where it was
 * granted once: a refusal while it was guarded is not the last word. */
static void regroup(struct shared *s, struct filter *f, const struct filter *leaving)
{
    struct filter *other = cover_of(s, f, leaving);
    if (other != NULL) {
        join(s, f, other);
    } else {
        f->refused = false;
        if (f->held == HELD_YES) {
            part(s, f);
            adopt(s, f);
        }
    }
    cover_tell(s, f);
}

/* Its wards look for others. A guard of its own inherits them, to keep them until they have. */
static void disband(struct shared *s, struct filter *f)
{
    struct filter *heir = f->guard != NULL ? f->guard : f;
    if (heir != f) {
        part(s, f);
        hand_over(s, f, heir);
    }
    if (!is_steady(heir)) {
        ring_foreach_safe(link, next, &heir->wards) regroup(s, at_ward(link), heir);
    }
    if (heir != f && !filter_wanted(heir))
        cover_tell(s, heir);
}

/* ---- what happens to a filter ---------------------------------------------------------------- */

static void stay(struct shared *s, struct filter *f)
{
    if (f->visit == NULL) {
        f->visit = shared_alloc(s, sizeof *f->visit);
        if (f->visit == NULL) {
            log_out_of_memory(s, "visit"); /* some retained messages will be missed */
            return;
        }
        deadline_init(&f->visit->ends, DL_VISIT);
        f->visit->filter = f;
    }
    deadline_arm(&s->deadlines, &f->visit->ends, time_add(s->now_ms, s->config.visit_ms));
}

void cover_leave(struct shared *s, struct filter *f)
{
    if (f->visit == NULL)
        return;
    deadline_disarm(&s->deadlines, &f->visit->ends);
    shared_release(s, f->visit, sizeof *f->visit);
    f->visit = NULL;
}

void cover_granted(struct shared *s, struct filter *f, bool changed)
{
    struct filter *old = f->guard;
    if (old != NULL && (!is_steady(old) || old->granted < f->granted))
        part(s, f);
    struct filter *guard = f->guard != NULL ? f->guard : cover_of(s, f, NULL);
    if (guard != NULL) {
        join(s, f, guard);
        stay(s, f);
    } else if (changed) {
        adopt(s, f);
    }
    if (old != NULL && old != guard)
        cover_tell(s, old);
}

void cover_refused(struct shared *s, struct filter *f)
{
    f->refused = f->held != HELD_YES;
    if (!f->refused || is_guarded(f))
        return;
    disband(s, f);
    struct filter *other = cover_of(s, f, NULL);
    if (other != NULL)
        join(s, f, other);
}

void cover_unwanted(struct shared *s, struct filter *f)
{
    cover_leave(s, f);
    disband(s, f);
    cover_tell(s, f);
}

void cover_wanted(struct shared *s, struct filter *f)
{
    f->survey = true;
    flatten(s, f);
}

void cover_prolong(struct shared *s, struct filter *f)
{
    if (f->visit != NULL)
        stay(s, f);
}

void cover_dissolve(struct filter *f)
{
    if (f->guard != NULL)
        ring_remove(&f->guard->wards, &f->ward);
    f->guard = NULL;
    while (f->wards.first != NULL) {
        at_ward(f->wards.first)->guard = NULL;
        ring_remove(&f->wards, f->wards.first);
    }
}

/* ---- telling the broker ---------------------------------------------------------------------- */

/* From now on it is uncertain, until the UNSUBACK, whether the broker has it. */
static void send_unsubscribe(struct shared *s, struct filter *f)
{
    const struct up_request request = {
        .type = UP_UNSUBSCRIBE, .token = f->id, .topic = filter_text(f)};
    if (!s->up || f->leaving)
        return;
    if (!ask_upstream(s, &request)) {
        try_again_soon(s);
        return;
    }
    f->leaving = true;
    f->held = HELD_MAYBE;
    copies_forget(&s->copies, f->subscription);
}

void cover_tell(struct shared *s, struct filter *f)
{
    if (f->in_flight)
        return; /* when its answer comes */
    if (!filter_wanted(f)) {
        if (f->wards.first != NULL)
            return; /* when the last one has left */
        if (f->held == HELD_NO)
            tree_remove(s, f);
        else
            send_unsubscribe(s, f);
    } else if (is_guarded(f)) {
        const bool needless = f->guard->held == HELD_YES && f->visit == NULL;
        if (f->held != HELD_NO && needless)
            send_unsubscribe(s, f);
    } else if (f->refused) {
        if (f->held != HELD_NO)
            send_unsubscribe(s, f); /* what it may have kept would cover nothing for certain */
    } else if (s->up && f->held != HELD_YES && !send_subscribe(s, f)) {
        try_again_soon(s);
    }
}

void on_unsubscribed(struct shared *s, const struct up_event *event)
{
    struct filter *f = filter_by_id(s, event->token);
    if (f == NULL)
        return;
    f->leaving = false;
    if (event->result == UP_BUSY) {
        try_again_soon(s);
        return;
    }
    if (f->held == HELD_MAYBE)
        f->held = HELD_NO;
    cover_tell(s, f);
}

void resubscribe(struct shared *s, bool session_present)
{
    list_foreach (link, &s->filters) {
        struct filter *f = container_of(link, struct filter, all);
        if (!session_present) {
            f->held = HELD_NO;
            copies_forget(&s->copies, f->subscription);
        }
        f->leaving = false;
        f->refused = false;
    }
    list_foreach_safe (link, next, &s->filters) {
        struct filter *f = container_of(link, struct filter, all);
        if (f->in_flight)
            f->again = true; /* lost with the old connection; its answer is still to come */
        else if (f->owed && filter_wanted(f) && send_subscribe(s, f))
            continue;
        else
            cover_tell(s, f);
    }
}

void resubscribe_missed(struct shared *s)
{
    list_foreach_safe (link, next, &s->filters)
        cover_tell(s, container_of(link, struct filter, all));
}
