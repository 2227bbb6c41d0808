/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions of the virtual sessions, and to whom a message goes.
 *
 * Every SUBSCRIBE of a node goes upstream, even for a filter that others have already or that a
 * wider one covers, because a broker sends retained messages only in answer to a SUBSCRIBE. Those
 * of one filter are serialised in rounds: who asks during a round waits for the next one. Always
 * QoS 2 is asked for (docs/adr/0009): with overlapping filters of different QoS, brokers choose one
 * of them for the single copy they send. Which filters stay with the broker: covering.c.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/shared_priv.h"

enum { UPSTREAM_QOS = 2 };

static struct sub *sub_at_filter(struct list *link)
{
    return container_of(link, struct sub, of_filter);
}

struct filter *filter_by_id(const struct shared *s, uint64_t id)
{
    struct hmap_node *n = hmap_first(&s->filters_by_id, id);
    return n != NULL ? container_of(n, struct filter, by_id) : NULL;
}

static struct sub *sub_find(const struct session *n, const struct filter *f)
{
    struct sub *sub = n->subs;
    while (sub != NULL && sub->filter != f)
        sub = sub->of_session;
    return sub;
}

/* ---- asks and answers ------------------------------------------------------------------------ */

static bool ask_new(struct shared *s, struct sub *sub, uint16_t token, uint8_t qos)
{
    struct ask *a = shared_alloc(s, sizeof *a);
    if (a == NULL)
        return false;
    *a = (struct ask){.token = token, .qos = qos};
    struct ask **last = &sub->asks;
    while (*last != NULL)
        last = &(*last)->next;
    *last = a;
    if (qos > sub->qos)
        sub->qos = qos;
    return true;
}

static void answer(struct shared *s, const struct session *n, uint16_t token,
                   enum sn_outcome outcome, uint8_t granted)
{
    emit(s, &(struct sn_event){.type = SN_EV_SUBSCRIBED,
                               .client = n->key,
                               .token = token,
                               .outcome = outcome,
                               .subscribed = {.granted = granted}});
}

static void ask_free(struct shared *s, struct ask **link)
{
    struct ask *a = *link;
    *link = a->next;
    shared_release(s, a, sizeof *a);
}

static void asks_refuse(struct shared *s, struct sub *sub)
{
    while (sub->asks != NULL) {
        answer(s, session_of_sub(s, sub), sub->asks->token, SN_REFUSED_BUSY, 0);
        ask_free(s, &sub->asks);
    }
}

/* Until they are answered, asks count with what they want: messages may come before the SUBACK. */
static void reckon_qos(struct sub *sub)
{
    sub->qos = sub->granted;
    for (const struct ask *a = sub->asks; a != NULL; a = a->next) {
        if (a->qos > sub->qos)
            sub->qos = a->qos;
    }
}

/* Another one each time: what still waits for an earlier one proves nothing. */
static void identify(struct shared *s, struct filter *f)
{
    s->last_subscription = copies_next_id(s->last_subscription);
    f->subscription = s->last_subscription;
    f->proven = false;
}

bool send_subscribe(struct shared *s, struct filter *f)
{
    if (f->held != HELD_YES)
        identify(s, f);
    const struct up_request request = {.type = UP_SUBSCRIBE,
                                       .token = f->id,
                                       .topic = filter_text(f),
                                       .qos = UPSTREAM_QOS,
                                       .subscription = f->subscription};
    if (!ask_upstream(s, &request))
        return false;
    f->in_flight = true;
    f->again = false;
    f->owed = false;
    f->refused = false;
    cover_leave(s, f);
    ring_foreach(link, &f->subs)
    {
        struct sub *sub = sub_at_filter(link);
        for (struct ask *a = sub->asks; a != NULL; a = a->next)
            a->sent = true;
        if (sub->asks != NULL || sub->owed)
            replay_open(s, sub);
        sub->owed = false;
    }
    return true;
}

/* ---- requests of sessions -------------------------------------------------------------------- */

/* Where the session's list says that this one follows; NULL: the end. */
static struct sub **link_to(struct session *n, const struct sub *sub)
{
    struct sub **link = &n->subs;
    while (*link != sub)
        link = &(*link)->of_session;
    return link;
}

static struct sub *sub_new(struct shared *s, struct session *n, struct bytes text)
{
    struct filter *f = tree_find(s, text);
    const bool made = f == NULL;
    if (made)
        f = tree_add(s, text);
    struct sub *sub = f != NULL ? shared_alloc(s, sizeof *sub) : NULL;
    if (sub == NULL) {
        if (f != NULL && made)
            tree_remove(s, f);
        return NULL;
    }
    sub->filter = f;
    sub->session = sn_client_slot(n->key);
    list_init(&sub->of_filter);
    if (!made && !filter_wanted(f))
        cover_wanted(s, f);
    ring_push_back(&f->subs, &sub->of_filter);
    *link_to(n, NULL) = sub;
    n->n_subs++;
    return sub;
}

/* Leaves the filter alone, even when this was its last subscription. */
static void sub_free(struct shared *s, struct sub *sub)
{
    record_forget_sub(s, sub);
    replay_close(s, sub);
    struct session *n = session_of_sub(s, sub);
    while (sub->asks != NULL)
        ask_free(s, &sub->asks);
    ring_remove(&sub->filter->subs, &sub->of_filter);
    *link_to(n, sub) = sub->of_session;
    n->n_subs--;
    shared_release(s, sub, sizeof *sub);
}

static void sub_remove(struct shared *s, struct sub *sub)
{
    struct filter *f = sub->filter;
    sub_free(s, sub);
    if (!filter_wanted(f))
        cover_unwanted(s, f);
}

/* While the connection is away a session has what it had: its node hears that anew, at the QoS that
 * it wants now and that the broker has granted. Retained messages follow when there is a broker. */
static void grant_again(struct shared *s, struct sub *sub, uint16_t token, uint8_t qos)
{
    const uint8_t granted = qos < sub->filter->granted ? qos : sub->filter->granted;
    const bool changed = granted != sub->granted;
    sub->granted = granted;
    sub->owed = true;
    sub->filter->owed = true;
    reckon_qos(sub);
    if (changed)
        record_sub(s, sub);
    answer(s, session_of_sub(s, sub), token, SN_OK, granted);
}

void subscribe(struct shared *s, struct session *n, uint16_t token, struct bytes text, uint8_t qos)
{
    const struct filter *known = tree_find(s, text);
    struct sub *sub = known != NULL ? sub_find(n, known) : NULL;
    if (sub == NULL && s->up && n->n_subs < n->max_subs)
        sub = sub_new(s, n, text);
    if (!s->up && is_reachable(s) && sub != NULL && sub->live) {
        grant_again(s, sub, token, qos);
        return;
    }
    if (!s->up || sub == NULL) {
        answer(s, n, token, SN_REFUSED_BUSY, 0);
        return;
    }
    struct filter *f = sub->filter;
    const bool asked = ask_new(s, sub, token, qos);
    if (!asked)
        answer(s, n, token, SN_REFUSED_BUSY, 0);
    else if (f->in_flight)
        f->again = true;
    else if (!send_subscribe(s, f))
        asks_refuse(s, sub);
    reckon_qos(sub);
    if (!sub->live && sub->asks == NULL)
        sub_remove(s, sub);
}

void unsubscribe(struct shared *s, struct session *n, struct bytes text)
{
    struct filter *f = tree_find(s, text);
    struct sub *sub = f != NULL ? sub_find(n, f) : NULL;
    if (sub == NULL)
        return;
    asks_refuse(s, sub);
    record_sub_gone(s, sub);
    sub_remove(s, sub);
}

void unsubscribe_all(struct shared *s, struct session *n, bool session_stays)
{
    while (n->subs != NULL) {
        struct sub *sub = n->subs;
        if (session_stays)
            record_sub_gone(s, sub);
        sub_remove(s, sub);
    }
}

/* ---- coming back ----------------------------------------------------------------------------- */

/* Whether the broker has it is found out by asking, with the first connection. */
bool sub_restore(struct shared *s, struct session *n, struct bytes text, uint8_t qos)
{
    struct filter *known = tree_find(s, text);
    struct sub *sub = known != NULL ? sub_find(n, known) : NULL;
    if (sub == NULL)
        sub = sub_new(s, n, text);
    if (sub == NULL)
        return false;
    struct filter *f = sub->filter;
    sub->live = true;
    sub->granted = qos;
    reckon_qos(sub);
    if (f->held == HELD_NO)
        f->held = HELD_MAYBE;
    if (f->granted < qos)
        f->granted = qos;
    return true;
}

/* ---- answers of the broker ------------------------------------------------------------------- */

static void log_refused(struct shared *s, const struct filter *f)
{
    if (!log_begin(&s->log, LOG_WARN, "broker.subscribe_refused"))
        return;
    log_str(&s->log, "filter", filter_text(f));
    log_text(&s->log, "hint", "does the broker's access control allow it?");
    log_end(&s->log);
}

/* One subscription's part of a finished round; may free it. A connection that had no room has none
 * for the next round either. */
static void settle(struct shared *s, struct sub *sub, const struct up_event *event)
{
    static const enum sn_outcome outcome_of[] = {
        [UP_OK] = SN_OK,
        [UP_BUSY] = SN_REFUSED_BUSY,
        [UP_REFUSED] = SN_REFUSED_NEVER,
        [UP_IN_DOUBT] = SN_REFUSED_BUSY,
    };

    bool any = false;
    for (struct ask **link = &sub->asks; *link != NULL;) {
        const struct ask *a = *link;
        const bool concerned = a->sent || event->result == UP_BUSY;
        if (!concerned) {
            link = &(*link)->next;
            continue;
        }
        any = true;
        const uint8_t granted = a->qos < event->qos ? a->qos : event->qos;
        const bool ok = event->result == UP_OK;
        answer(s, session_of_sub(s, sub), a->token, outcome_of[event->result], ok ? granted : 0);
        if (ok) {
            const bool news = !sub->live || sub->granted != granted;
            sub->live = true;
            sub->granted = granted;
            if (news)
                record_sub(s, sub);
        }
        ask_free(s, link);
    }
    reckon_qos(sub);
    if (any && event->result == UP_OK)
        replay_answered(s, sub);
    else if (any)
        replay_close(s, sub);
    if (!sub->live && sub->asks == NULL)
        sub_free(s, sub);
}

/* When a round was lost all asks have been answered, and the filter itself may want another one only
 * if the connection is a new one. */
static void next_round(struct shared *s, struct filter *f, enum up_result result)
{
    const bool again = f->again && s->up;
    const bool lost = result == UP_BUSY || result == UP_IN_DOUBT;
    f->again = false;
    if (again && !lost)
        send_subscribe(s, f);
    else if (again || !lost)
        cover_tell(s, f);
}

void on_subscribed(struct shared *s, const struct up_event *event)
{
    struct filter *f = filter_by_id(s, event->token);
    if (f == NULL || !f->in_flight)
        return;
    ring_foreach_safe(link, next, &f->subs) settle(s, sub_at_filter(link), event);
    f->in_flight = false;
    const bool changed = f->survey || f->held != HELD_YES || f->granted != event->qos;
    if (event->result == UP_OK) {
        f->held = HELD_YES;
        f->granted = event->qos;
        f->survey = false;
    } else if (event->result == UP_REFUSED) {
        log_refused(s, f);
    } else {
        f->held = f->held == HELD_NO ? (uint8_t)HELD_MAYBE : f->held;
        try_again_soon(s);
    }
    if (!filter_wanted(f)) {
        cover_unwanted(s, f);
        return;
    }
    if (event->result == UP_OK)
        cover_granted(s, f, changed);
    else if (event->result == UP_REFUSED)
        cover_refused(s, f);
    next_round(s, f, event->result);
}

/* ---- matching -------------------------------------------------------------------------------- */

static struct sn_recipient *recipient_of(struct shared *s, struct session *n)
{
    if (n->match == s->match)
        return &s->recipients[n->recipient];
    if (s->n_recipients == s->cap_recipients) {
        const size_t cap = s->cap_recipients > 0 ? s->cap_recipients * 2 : 64;
        struct sn_recipient *grown = realloc(s->recipients, cap * sizeof *grown);
        if (grown == NULL)
            return NULL;
        s->recipients = grown;
        s->cap_recipients = cap;
    }
    assert(s->recipients != NULL);
    n->match = s->match;
    n->recipient = (uint32_t)s->n_recipients;
    struct sn_recipient *r = &s->recipients[s->n_recipients++];
    *r = (struct sn_recipient){.client = n->key, .retain = s->match_retained};
    return r;
}

/* Live messages go to every subscription, retained copies to those that have just asked. A node
 * gets one copy at the highest QoS that its matching filters were granted. */
static void match_filter(struct shared *s, struct filter *f)
{
    if (f->held == HELD_YES) {
        bool proven = f->proven;
        copy_consider(&s->match_copy, f->subscription, UPSTREAM_QOS, &proven);
        f->proven = proven;
    }
    ring_foreach(link, &f->subs)
    {
        struct sub *sub = sub_at_filter(link);
        if (s->match_retained && !replay_wants(s, sub, s->match_hash))
            continue;
        struct sn_recipient *r = recipient_of(s, session_of_sub(s, sub));
        const uint8_t qos = sub->qos < s->match_qos ? sub->qos : s->match_qos;
        if (r != NULL && qos > r->qos)
            r->qos = qos;
    }
}

bool collect_recipients(struct shared *s, const struct up_event *message)
{
    s->n_recipients = 0;
    if (++s->match == 0)
        s->match = 1;
    s->match_copy = copies_begin(&s->copies, message);
    s->match_qos = message->qos;
    s->match_retained = message->retain;
    s->match_hash = message->retain ? hash_bytes(&s->config.hash_seed, message->topic) : 0;
    tree_match(s, message->topic, match_filter);
    return copy_passes(&s->match_copy);
}

bool shared_is_settled(const struct shared *s)
{
    list_foreach (link, &s->filters) {
        if (!filter_wanted(container_of(link, struct filter, all)))
            return false; /* it stays until the broker has been told */
    }
    return true;
}

void subscriptions_deinit(struct shared *s)
{
    s->up = false;
    while (!list_empty(&s->filters)) {
        struct filter *f = container_of(list_first(&s->filters), struct filter, all);
        cover_dissolve(f);
        tree_remove(s, f);
    }
    free(s->recipients);
}
