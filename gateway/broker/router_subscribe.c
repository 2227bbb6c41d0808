/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters of nodes, and their parts at the brokers.
 *
 * A filter is cut with each route's, and what is left of it is called there by the route's rule: so it
 * may come to several filters, and several filters may come to the same one. A part is kept for as
 * long as one of its filters is. As in MQTT each SUBSCRIBE of a node goes on, for all its parts: only
 * that brings retained messages. The broker is asked for the highest QoS that any filter of the part
 * wants; what a filter that has gone leaves over is cut off when messages come (client.n_over).
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/router_parts.h"
#include "broker/router_priv.h"
#include "broker/router_topics.h"
#include "mqttsn/topic.h"

/* ---- asks ------------------------------------------------------------------------------------ */

static struct ask *ask_of(struct list *link)
{
    return container_of(link, struct ask, of_want);
}

static void answer(struct router *r, const struct client *c, uint16_t token,
                   enum sn_outcome outcome, uint8_t granted)
{
    router_tell(r, &(struct sn_event){.type = SN_EV_SUBSCRIBED,
                                      .client = c->key,
                                      .token = token,
                                      .outcome = outcome,
                                      .subscribed = {.granted = granted}});
}

static struct ask *ask_new(struct router *r, struct want *w, uint16_t token, uint8_t qos)
{
    struct ask *a = router_alloc(r, sizeof *a);
    if (a == NULL)
        return NULL;
    *a = (struct ask){.want = w, .token = token, .qos = qos, .granted = qos, .outcome = SN_OK};
    list_init(&a->of_want);
    list_push_back(&w->asks, &a->of_want);
    w->qos = qos;
    return a;
}

static void ask_free(struct router *r, struct ask *a)
{
    list_unlink(&a->of_want);
    router_release(r, a, sizeof *a);
}

/* May free the want. */
static void ask_settle(struct router *r, struct ask *a)
{
    if (a->n_waiting > 0)
        return;
    struct want *w = a->want;
    const enum sn_outcome outcome = (enum sn_outcome)a->outcome;
    const uint8_t granted = outcome == SN_OK ? a->granted : 0;
    answer(r, w->client, a->token, outcome, granted);
    if (outcome == SN_OK) {
        const bool news = !w->live || w->granted != granted;
        w->live = true;
        w->granted = granted;
        if (news)
            record_want(r, w);
    }
    ask_free(r, a);
    if (!list_empty(&w->asks))
        return;
    w->qos = w->granted;
    if (w->live)
        parts_reckon(r, w);
    else
        want_free(r, w, true);
}

static void ask_hear(struct router *r, struct ask *a, enum sn_outcome outcome, uint8_t granted)
{
    a->outcome = (uint8_t)router_worse((enum sn_outcome)a->outcome, outcome);
    if (outcome == SN_OK && granted < a->granted)
        a->granted = granted;
    a->n_waiting--;
    ask_settle(r, a);
}

/* The SUBSCRIBE of a part is answered, or not even sent. May free the part and its wants. */
static void pend_over(struct router *r, struct pend *p, enum sn_outcome outcome, uint8_t granted)
{
    struct ask *a = p->ask;
    struct part *part = p->part;
    if (outcome == SN_REFUSED_NEVER) /* its last word: it is not asked for that again */
        part->qos = p->qos;
    pend_free(r, p);
    if (outcome == SN_REFUSED_BUSY && !part->held)
        part_owe(r, part);
    if (outcome != SN_OK && a == NULL)
        r->gauges.unheeded++;
    if (a == NULL)
        part_reckon(r, part);
    else
        ask_hear(r, a, outcome, granted);
}

/* ---- SUBSCRIBE ------------------------------------------------------------------------------- */

/* A part whose session is not open is asked for when it is. */
static void subscribe_part(struct router *r, const struct tie *t, struct ask *a)
{
    struct part *part = t->part;
    const enum at_state state = (enum at_state)part->client->at[part->broker].state;
    struct ask *waits = t->required ? a : NULL;
    enum sn_outcome outcome = state == AT_REFUSED ? SN_REFUSED_NEVER : SN_REFUSED_BUSY;
    struct pend *p = NULL;
    if (state == AT_OPEN || state == AT_OPENING)
        p = pend_new(r, part, t->want, waits);
    if (p != NULL && waits != NULL)
        a->n_waiting++;
    if (p != NULL && (state == AT_OPENING || pend_send(r, p)))
        return;
    if (p != NULL)
        pend_over(r, p, outcome, 0);
    else if (waits == NULL)
        r->gauges.unheeded++;
    else
        a->outcome = (uint8_t)router_worse((enum sn_outcome)a->outcome, outcome);
}

void router_on_subscribe(struct router *r, const struct sn_request *request)
{
    struct client *c = router_client(r, request->client);
    const struct bytes filter = request->subscribe.filter;
    enum sn_outcome outcome = SN_REFUSED_BUSY;
    struct want *w = c != NULL ? want_find(c, filter) : NULL;
    if (c != NULL && w == NULL && c->n_wants < c->max_wants)
        w = want_new(r, c, filter, &outcome);
    struct ask *a = w != NULL ? ask_new(r, w, request->token, request->subscribe.qos) : NULL;
    if (a == NULL) {
        if (w != NULL && !w->live && list_empty(&w->asks))
            want_free(r, w, false);
        router_tell(r, &(struct sn_event){.type = SN_EV_SUBSCRIBED,
                                          .client = request->client,
                                          .token = request->token,
                                          .outcome = outcome});
        return;
    }
    a->n_waiting = 1; /* until all have been asked */
    for (uint32_t i = 0; i < w->n_ties; i++)
        subscribe_part(r, &w->ties[i], a);
    a->n_waiting--;
    ask_settle(r, a);
}

void router_on_subscribed(struct router *r, unsigned broker, const struct sn_event *event)
{
    struct pend *p = pend_find(r, event->client, event->token);
    if (p == NULL || p->part->broker != broker || !p->sent)
        return;
    struct part *part = p->part;
    const uint8_t granted = event->subscribed.granted;
    if (event->outcome == SN_OK) {
        part->held = true;
        part->granted = granted;
        part->qos = p->qos;
        list_unlink(&part->owed);
    }
    pend_over(r, p, event->outcome, granted);
}

/* ---- UNSUBSCRIBE ----------------------------------------------------------------------------- */

void router_on_unsubscribe(struct router *r, const struct sn_request *request)
{
    struct client *c = router_client(r, request->client);
    struct want *w = c != NULL ? want_find(c, request->unsubscribe.filter) : NULL;
    if (w != NULL) {
        list_foreach (link, &w->asks)
            answer(r, c, ask_of(link)->token, SN_REFUSED_BUSY, 0);
        if (w->live)
            record_want_gone(r, w);
        want_free(r, w, true);
    }
    router_tell(r, &(struct sn_event){.type = SN_EV_UNSUBSCRIBED,
                                      .client = request->client,
                                      .token = request->token});
}

/* ---- sessions that come and go --------------------------------------------------------------- */

static struct part *part_at_client(struct list *link)
{
    return container_of(link, struct part, of_client);
}

/* Sends what waits for the session, and what the broker lacks. */
static void subscribe_missing(struct router *r, struct part *part)
{
    bool asked = false;
    list_foreach (link, &part->pends) {
        struct pend *p = container_of(link, struct pend, of_part);
        if (!p->sent && !pend_send(r, p))
            part_owe(r, part);
        asked = true;
    }
    if (part->held || asked || !part_stays(part))
        return;
    struct pend *p = pend_new(r, part, NULL, NULL);
    if (p == NULL || !pend_send(r, p)) {
        if (p != NULL)
            pend_free(r, p);
        part_owe(r, part);
    }
}

void parts_subscribe(struct router *r, struct client *c, unsigned broker, bool session_present)
{
    list_foreach (link, &c->parts) {
        struct part *part = part_at_client(link);
        if (part->broker != broker)
            continue;
        if (!session_present) {
            part->held = false;
            part->granted = 0;
            part_reckon(r, part);
        }
        subscribe_missing(r, part);
    }
}

static struct pend *unsent_pend(const struct client *c, unsigned broker)
{
    list_foreach (link, &c->parts) {
        struct part *part = part_at_client(link);
        if (part->broker != broker)
            continue;
        list_foreach (at, &part->pends) {
            struct pend *p = container_of(at, struct pend, of_part);
            if (!p->sent)
                return p;
        }
    }
    return NULL;
}

/* Each answer may free parts. */
void parts_refuse(struct router *r, struct client *c, unsigned broker, enum sn_outcome outcome)
{
    for (struct pend *p; (p = unsent_pend(c, broker)) != NULL;)
        pend_over(r, p, outcome, 0);
}

void router_resubscribe_owed(struct router *r, unsigned broker)
{
    struct list again;
    list_init(&again);
    for (struct list *link; (link = list_pop_front(&r->brokers[broker].owed_parts)) != NULL;)
        list_push_back(&again, link);
    for (struct list *link; (link = list_pop_front(&again)) != NULL;) {
        struct part *part = container_of(link, struct part, owed);
        if (part->client->at[broker].state == AT_OPEN) /* else it is asked for with the OPEN */
            subscribe_missing(r, part);
    }
}

/* ---- a node's filters as a whole ------------------------------------------------------------- */

static struct want *want_at_client(struct list *link)
{
    return container_of(link, struct want, of_client);
}

void wants_clear(struct router *r, struct client *c, bool session_stays, bool tell_brokers)
{
    while (!list_empty(&c->wants)) {
        struct want *w = want_at_client(list_first(&c->wants));
        if (session_stays && w->live)
            record_want_gone(r, w);
        want_free(r, w, tell_brokers);
    }
}

/* What the broker is to have by the new names is subscribed with the OPEN that follows. */
void wants_rename(struct router *r, struct client *c)
{
    list_foreach_safe (link, next, &c->wants) {
        struct want *w = want_at_client(link);
        enum sn_outcome outcome = SN_OK;
        if (w->live && want_retie(r, w, &outcome))
            continue;
        if (outcome == SN_REFUSED_NEVER)
            router_log_unnamed(r, c, "subscribe", want_text(w));
        if (w->live)
            record_want_gone(r, w);
        want_free(r, w, true);
    }
}

/* Each ask is asked again: for as long as `n_waiting` has its own, none is settled. May free the want. */
static void ask_all_again(struct router *r, struct want *w, size_t n_asks)
{
    list_foreach (link, &w->asks) {
        struct ask *a = ask_of(link);
        *a = (struct ask){.of_want = a->of_want,
                          .want = w,
                          .n_waiting = 1,
                          .token = a->token,
                          .qos = a->qos,
                          .granted = a->qos,
                          .outcome = SN_OK};
        for (uint32_t i = 0; i < w->n_ties; i++)
            subscribe_part(r, &w->ties[i], a);
    }
    struct list *link = w->asks.next;
    while (n_asks-- > 0) {
        struct ask *a = ask_of(link);
        link = link->next;
        a->n_waiting--;
        ask_settle(r, a);
    }
}

static void refuse_want(struct router *r, struct want *w, struct list *asks,
                        enum sn_outcome outcome)
{
    for (struct list *link; (link = list_first(asks)) != NULL;) {
        answer(r, w->client, ask_of(link)->token, outcome, 0);
        ask_free(r, ask_of(link));
    }
    if (outcome == SN_REFUSED_NEVER)
        router_log_unnamed(r, w->client, "subscribe", want_text(w));
    if (w->live)
        record_want_gone(r, w);
    want_free(r, w, true);
}

static bool want_reroute(struct router *r, struct want *w)
{
    struct list asks;
    size_t n_asks = 0;
    list_init(&asks);
    for (struct list *link; (link = list_pop_front(&w->asks)) != NULL; n_asks++)
        list_push_back(&asks, link);
    enum sn_outcome outcome = SN_OK;
    if (!want_tie_anew(r, w, &outcome)) {
        refuse_want(r, w, &asks, outcome);
        return outcome != SN_REFUSED_BUSY;
    }
    for (struct list *link; (link = list_pop_front(&asks)) != NULL;)
        list_push_back(&w->asks, link);
    if (n_asks > 0)
        ask_all_again(r, w, n_asks);
    else
        parts_reckon(r, w);
    return true;
}

bool wants_reroute(struct router *r, struct client *c)
{
    bool ok = true;
    list_foreach_safe (link, next, &c->wants)
        ok &= want_reroute(r, want_at_client(link));
    return ok;
}

void wants_rerouted(struct router *r, struct client *c)
{
    list_foreach (link, &c->wants)
        want_untie_old(r, want_at_client(link), true);
}

bool parts_missing(const struct client *c, unsigned broker)
{
    list_foreach (link, &c->parts) {
        const struct part *part = part_at_client(link);
        if (part->broker == broker && !part->held && list_empty(&part->pends) && part_stays(part))
            return true;
    }
    return false;
}

int want_restore(struct router *r, struct client *c, struct bytes filter, uint8_t qos)
{
    enum sn_outcome outcome = SN_REFUSED_BUSY;
    struct want *w = want_find(c, filter);
    if (w == NULL)
        w = want_new(r, c, filter, &outcome);
    if (w == NULL)
        return outcome == SN_REFUSED_NEVER ? 1 : -ENOMEM;
    w->live = true;
    w->granted = qos;
    w->qos = qos;
    for (uint32_t i = 0; i < w->n_ties; i++) {
        struct part *part = w->ties[i].part;
        const uint8_t wanted = part_qos(part);
        if (part->held && part->granted >= wanted)
            continue;
        part->held = true;
        part->asked = true;
        part->granted = wanted;
        part->qos = wanted;
        if (!record_restored(r, part, wanted))
            return -ENOMEM;
    }
    return 0;
}

bool wants_match(const struct client *c, struct bytes topic, uint8_t *qos)
{
    bool any = false;
    *qos = 0;
    list_foreach (link, &c->wants) {
        const struct want *w = want_at_client(link);
        const uint8_t most = w->qos > w->granted ? w->qos : w->granted;
        if (most < *qos || !topics_match(want_text(w), topic))
            continue;
        any = true;
        *qos = most;
    }
    return any;
}
