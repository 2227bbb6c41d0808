/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions of the virtual sessions, and what the broker is told of them.
 *
 * Every SUBSCRIBE of a node goes upstream, even for a filter that others have already, because a
 * broker sends retained messages only in answer to a SUBSCRIBE. Those of one filter are serialised
 * in rounds: who asks during a round waits for the next one. Always QoS 2 is asked for
 * (docs/adr/0009): with overlapping filters of different QoS, brokers choose one of them for the
 * single copy they send.
 *
 * A filter without subscriptions stays until the broker has confirmed the UNSUBSCRIBE, so that it
 * is told even when the connection was away in between.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/shared_priv.h"

enum { UPSTREAM_QOS = 2 };

static struct sub *sub_at_filter(struct list *link)
{
    return container_of(link, struct sub, of_filter);
}

static struct sub *sub_at_session(struct list *link)
{
    return container_of(link, struct sub, of_session);
}

static struct filter *filter_by_id(const struct shared *s, uint64_t id)
{
    struct hmap_node *n = hmap_first(&s->filters_by_id, id);
    return n != NULL ? container_of(n, struct filter, by_id) : NULL;
}

static struct sub *sub_find(const struct session *n, const struct filter *f)
{
    list_foreach (link, &n->subs) {
        struct sub *sub = sub_at_session(link);
        if (sub->filter == f)
            return sub;
    }
    return NULL;
}

/* ---- telling the broker ---------------------------------------------------------------------- */

static void answer(struct shared *s, const struct sub *sub, enum sn_outcome outcome)
{
    emit(s, &(struct sn_event){.type = SN_EV_SUBSCRIBED,
                               .client = sub->session->key,
                               .token = sub->token,
                               .outcome = outcome,
                               .subscribed = {.granted = outcome == SN_OK ? sub->qos : 0}});
}

/* Starts a round for everybody who waits. */
static bool send_subscribe(struct shared *s, struct filter *f)
{
    const struct up_request request = {
        .type = UP_SUBSCRIBE, .token = f->id, .topic = filter_text(f), .qos = UPSTREAM_QOS};
    if (!ask_upstream(s, &request))
        return false;
    f->in_flight = true;
    f->maybe = true;
    f->again = false;
    list_foreach (link, &f->subs) {
        struct sub *sub = sub_at_filter(link);
        if (sub->ask == SUB_WAITING) {
            sub->ask = SUB_ASKED;
            replay_open(s, sub);
        }
    }
    return true;
}

/* From now on it is uncertain, until the UNSUBACK, whether the broker has it. */
static void send_unsubscribe(struct shared *s, struct filter *f)
{
    f->upstream = false;
    ask_upstream(
        s, &(struct up_request){.type = UP_UNSUBSCRIBE, .token = f->id, .topic = filter_text(f)});
}

/* A filter that nobody wants any more. */
static void retire(struct shared *s, struct filter *f)
{
    if (f->in_flight)
        return; /* when its answer comes */
    if (!f->maybe)
        tree_remove(s, f);
    else if (s->up)
        send_unsubscribe(s, f);
}

static void sub_remove(struct shared *s, struct sub *sub)
{
    struct filter *f = sub->filter;
    replay_close(s, sub);
    list_unlink(&sub->of_filter);
    list_unlink(&sub->of_session);
    sub->session->n_subs--;
    shared_release(s, sub, sizeof *sub);
    if (list_empty(&f->subs))
        retire(s, f);
}

/* ---- requests of sessions -------------------------------------------------------------------- */

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
    sub->session = n;
    list_init(&sub->of_filter);
    list_init(&sub->of_session);
    list_push_back(&f->subs, &sub->of_filter);
    list_push_back(&n->subs, &sub->of_session);
    n->n_subs++;
    return sub;
}

static void refuse(struct shared *s, const struct session *n, uint16_t token)
{
    emit(s, &(struct sn_event){.type = SN_EV_SUBSCRIBED,
                               .client = n->key,
                               .token = token,
                               .outcome = SN_REFUSED_BUSY});
}

void subscribe(struct shared *s, struct session *n, uint16_t token, struct bytes text, uint8_t qos)
{
    struct filter *f = tree_find(s, text);
    struct sub *sub = f != NULL ? sub_find(n, f) : NULL;
    if (!s->up || (sub == NULL && n->n_subs >= n->max_subs)) {
        refuse(s, n, token);
        return;
    }
    if (sub == NULL)
        sub = sub_new(s, n, text);
    if (sub == NULL) {
        refuse(s, n, token);
        return;
    }
    f = sub->filter;
    if (sub->ask != SUB_QUIET) /* the same session asked already: the later request counts */
        refuse(s, n, sub->token);
    sub->token = token;
    sub->wanted = qos;
    if (!sub->live || qos > sub->qos)
        sub->qos = qos;
    sub->ask = SUB_WAITING;
    if (f->in_flight)
        f->again = true;
    else if (!send_subscribe(s, f)) {
        refuse(s, n, token);
        sub->ask = SUB_QUIET;
        if (!sub->live)
            sub_remove(s, sub);
    }
}

void unsubscribe(struct shared *s, struct session *n, struct bytes text)
{
    struct filter *f = tree_find(s, text);
    struct sub *sub = f != NULL ? sub_find(n, f) : NULL;
    if (sub == NULL)
        return;
    if (sub->ask != SUB_QUIET)
        refuse(s, n, sub->token);
    sub_remove(s, sub);
}

void unsubscribe_all(struct shared *s, struct session *n)
{
    while (!list_empty(&n->subs))
        sub_remove(s, sub_at_session(list_first(&n->subs)));
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

/* One subscription's part of a finished round; may free it. */
static void settle(struct shared *s, struct sub *sub, const struct up_event *event)
{
    sub->ask = SUB_QUIET;
    if (event->result == UP_OK) {
        sub->live = true;
        sub->qos = sub->wanted < event->qos ? sub->wanted : event->qos;
        answer(s, sub, SN_OK);
        return;
    }
    answer(s, sub, event->result == UP_REFUSED ? SN_REFUSED_NEVER : SN_REFUSED_BUSY);
    replay_close(s, sub);
    if (!sub->live)
        sub_remove(s, sub);
}

void on_subscribed(struct shared *s, const struct up_event *event)
{
    struct filter *f = filter_by_id(s, event->token);
    if (f == NULL || !f->in_flight)
        return;
    if (event->result == UP_OK)
        f->upstream = true;
    if (event->result == UP_REFUSED)
        log_refused(s, f);
    /* `in_flight` still stands: it keeps the filter while its subscriptions are settled. */
    list_foreach_safe (link, next, &f->subs) {
        struct sub *sub = sub_at_filter(link);
        if (sub->ask == SUB_ASKED || (sub->ask == SUB_WAITING && event->result == UP_BUSY))
            settle(s, sub, event);
    }
    f->in_flight = false;
    if (event->result == UP_BUSY)
        try_again_soon(s);
    if (list_empty(&f->subs))
        retire(s, f);
    else if (f->again && s->up)
        send_subscribe(s, f);
}

void on_unsubscribed(struct shared *s, const struct up_event *event)
{
    struct filter *f = filter_by_id(s, event->token);
    if (f == NULL)
        return;
    if (event->result == UP_BUSY) {
        try_again_soon(s);
        return;
    }
    if (list_empty(&f->subs) && !f->in_flight)
        tree_remove(s, f);
}

void resubscribe(struct shared *s, bool session_present)
{
    list_foreach_safe (link, next, &s->filters) {
        struct filter *f = container_of(link, struct filter, all);
        if (!session_present) {
            f->upstream = false;
            f->maybe = false;
        }
        if (list_empty(&f->subs))
            retire(s, f);
        else if (f->in_flight)
            f->again = true; /* lost with the old connection; its answer is still to come */
        else if (!f->upstream)
            send_subscribe(s, f);
    }
}

void resubscribe_missed(struct shared *s)
{
    list_foreach_safe (link, next, &s->filters) {
        struct filter *f = container_of(link, struct filter, all);
        if (f->in_flight)
            continue;
        if (list_empty(&f->subs))
            retire(s, f);
        else if (!f->upstream)
            send_subscribe(s, f);
    }
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
    list_foreach (link, &f->subs) {
        struct sub *sub = sub_at_filter(link);
        if (s->match_retained && !replay_wants(s, sub, s->match_hash))
            continue;
        struct sn_recipient *r = recipient_of(s, sub->session);
        const uint8_t qos = sub->qos < s->match_qos ? sub->qos : s->match_qos;
        if (r != NULL && qos > r->qos)
            r->qos = qos;
    }
}

void collect_recipients(struct shared *s, struct bytes topic, uint8_t qos, bool retained)
{
    s->n_recipients = 0;
    if (++s->match == 0)
        s->match = 1;
    s->match_qos = qos;
    s->match_retained = retained;
    s->match_hash = retained ? hash_bytes(&s->config.hash_seed, topic) : 0;
    tree_match(s, topic, match_filter);
}

void subscriptions_deinit(struct shared *s)
{
    s->up = false;
    while (!list_empty(&s->filters)) {
        struct filter *f = container_of(list_first(&s->filters), struct filter, all);
        assert(list_empty(&f->subs));
        tree_remove(s, f);
    }
    free(s->recipients);
}
