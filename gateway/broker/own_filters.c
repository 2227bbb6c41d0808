/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Subscriptions of a client at its own session. The broker has them; they are kept here for a broker
 * that has lost the session, and for a restart. What is subscribed anew for that brings retained
 * messages for which the node has not asked, which it does not get.
 */
#include <errno.h>

#include "broker/own_priv.h"
#include "broker/router_topics.h"
#include "mqttsn/topic.h"

enum { REPLAY_QUIET_MS = 5000, REPLAY_MAX_MS = 30000 };

static struct own_filter *filter_at(struct list *link)
{
    return container_of(link, struct own_filter, link);
}

static struct own_filter *filter_find(const struct own *o, struct bytes text)
{
    list_foreach (link, &o->filters) {
        if (bytes_equal(own_filter_text(filter_at(link)), text))
            return filter_at(link);
    }
    return NULL;
}

static struct own_filter *filter_new(struct own *o, struct bytes text)
{
    struct own_filter *f = own_alloc(o, sizeof *f + text.len);
    if (f == NULL)
        return NULL;
    f->len = (uint32_t)text.len;
    if (text.len > 0)
        memcpy(f->text, text.data, text.len);
    f->replay_ms = INT64_MIN;
    list_init(&f->link);
    list_push_back(&o->filters, &f->link);
    o->n_filters++;
    return f;
}

static void filter_free(struct own *o, struct own_filter *f)
{
    list_foreach (link, &o->calls) {
        struct own_call *call = container_of(link, struct own_call, link);
        if (call->filter == f)
            call->filter = NULL;
    }
    if (o->told == &f->link)
        o->told = f->link.next;
    list_unlink(&f->link);
    o->n_filters--;
    own_release(o, f, sizeof *f + f->len);
}

/* A filter that the node has not been granted is not to stay with the broker, which may have it from
 * before, or have granted it when the connection broke. */
static void not_to_stay(const struct own *o, struct own_filter *f, bool in_doubt)
{
    if (!f->live && f->n_calls == 0)
        f->leaving = f->held || (in_doubt && o->link != LINK_ON);
}

static void tell_left(struct own *o, struct own_filter *f)
{
    if (!f->asked)
        return;
    f->asked = false;
    own_tell(o, &(struct sn_event){.type = SN_EV_UNSUBSCRIBED, .token = f->token});
}

void own_filters_left(struct own *o)
{
    list_foreach (link, &o->filters)
        tell_left(o, filter_at(link));
}

/* When neither the node nor the broker has anything to do with it. */
static void filter_settle(struct own *o, struct own_filter *f)
{
    if (f->live || f->n_calls > 0 || f->leaving)
        return;
    tell_left(o, f);
    filter_free(o, f);
}

static void answer(struct own *o, uint16_t token, enum sn_outcome outcome, uint8_t granted)
{
    own_tell(o, &(struct sn_event){.type = SN_EV_SUBSCRIBED,
                                   .token = token,
                                   .outcome = outcome,
                                   .subscribed = {.granted = granted}});
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* The broker has it no more, or not as before. */
static void forget_id(struct own *o, struct own_filter *f)
{
    copies_forget(&o->copies, f->id);
    f->id = 0;
}

/* Another one each time: what still waits for an earlier one proves nothing (copies.h). */
static uint32_t id_of(struct own *o, struct own_filter *f)
{
    if (f->held && f->id != 0)
        return f->id;
    forget_id(o, f);
    o->last_id = copies_next_id(o->last_id);
    f->id = o->last_id;
    f->proven = false;
    return f->id;
}

/* False: out of memory. */
static bool call_new(struct own *o, struct own_filter *f, enum own_call_type type, uint16_t token,
                     uint8_t qos)
{
    struct own_call *call = own_alloc(o, sizeof *call);
    if (call == NULL)
        return false;
    *call = (struct own_call){
        .filter = f, .type = type, .id = ++o->next_call, .token = token, .qos = qos};
    const bool ends = type == CALL_UNSUBSCRIBE;
    const struct up_request request = {
        .type = ends ? UP_UNSUBSCRIBE : UP_SUBSCRIBE,
        .token = call->id,
        .topic = own_filter_text(f),
        .qos = qos,
        .subscription = ends ? 0 : id_of(o, f),
    };
    if (ends)
        forget_id(o, f);
    if (!own_ask(o, &request)) {
        own_release(o, call, sizeof *call);
        return false;
    }
    list_init(&call->link);
    list_push_back(&o->calls, &call->link);
    f->n_calls++;
    return true;
}

/* The call with that id, taken out of the list, or NULL. */
static struct own_call *call_take(struct own *o, uint64_t id)
{
    list_foreach (link, &o->calls) {
        struct own_call *call = container_of(link, struct own_call, link);
        if (call->id != id)
            continue;
        list_unlink(link);
        if (call->filter != NULL)
            call->filter->n_calls--;
        return call;
    }
    return NULL;
}

/* Tells the broker what it lacks of a filter, or has too much. */
static void tell_broker(struct own *o, struct own_filter *f)
{
    if (f->n_calls > 0 || o->link != LINK_ON)
        return;
    bool told = true;
    if (f->leaving)
        told = call_new(o, f, CALL_UNSUBSCRIBE, 0, 0);
    else if ((!f->held || f->owed) && !f->refused)
        told = call_new(o, f, CALL_AGAIN, 0, f->granted);
    if (!told)
        own_retry_soon(o);
}

/* ---- SUBSCRIBE ------------------------------------------------------------------------------- */

/* While the connection is away a session has what it had: its node hears that anew. */
static void grant_again(struct own *o, struct own_filter *f, uint16_t token, uint8_t qos)
{
    const uint8_t granted = qos < f->granted ? qos : f->granted;
    if (granted != f->granted)
        own_record(o, SN_REC_SUBSCRIPTION, own_filter_text(f), granted);
    f->granted = granted;
    f->owed = true;
    answer(o, token, SN_OK, granted);
}

void own_subscribe(struct own *o, const struct sn_request *request)
{
    const uint8_t qos = request->subscribe.qos;
    struct own_filter *f = filter_find(o, request->subscribe.filter);
    if (f != NULL && f->live && o->link != LINK_ON && o->accepting) {
        grant_again(o, f, request->token, qos);
        return;
    }
    if (f == NULL && o->link == LINK_ON && o->present && o->n_filters < o->max_filters)
        f = filter_new(o, request->subscribe.filter);
    const bool asked =
        f != NULL && o->link == LINK_ON && call_new(o, f, CALL_ASK, request->token, qos);
    if (!asked) {
        answer(o, request->token, SN_REFUSED_BUSY, 0);
        if (f != NULL)
            filter_settle(o, f);
        return;
    }
    f->leaving = false;
    f->opened_ms = o->now_ms;
    f->replay_ms = time_add(o->now_ms, REPLAY_MAX_MS); /* the answer comes before that */
}

static void granted(struct own *o, struct own_filter *f, const struct own_call *call, uint8_t qos)
{
    const uint8_t least = qos < call->qos ? qos : call->qos;
    const bool news = call->type == CALL_ASK && (!f->live || f->granted != least);
    f->held = true;
    f->refused = false;
    if (call->type == CALL_ASK || f->owed) {
        f->opened_ms = o->now_ms;
        f->replay_ms = time_add(o->now_ms, REPLAY_QUIET_MS);
    }
    f->owed = false;
    if (call->type != CALL_ASK)
        return;
    f->live = true;
    f->granted = least;
    if (news)
        own_record(o, SN_REC_SUBSCRIPTION, own_filter_text(f), least);
    answer(o, call->token, SN_OK, least);
}

static void log_refused(struct own *o, const struct own_filter *f)
{
    if (!own_log_begin(o, LOG_WARN, "broker.subscribe_refused"))
        return;
    log_str(&o->log, "filter", own_filter_text(f));
    log_text(&o->log, "hint", "does the broker's access control allow it?");
    log_end(&o->log);
}

static void not_granted(struct own *o, struct own_filter *f, const struct own_call *call,
                        enum up_result result)
{
    const bool never = result == UP_REFUSED;
    if (never)
        log_refused(o, f);
    if (call->type == CALL_ASK)
        answer(o, call->token, never ? SN_REFUSED_NEVER : SN_REFUSED_BUSY, 0);
    else if (never)
        f->refused = true;
    else
        own_retry_soon(o);
}

void own_subscribed(struct own *o, const struct up_event *event)
{
    struct own_call *call = call_take(o, event->token);
    if (call == NULL)
        return;
    struct own_filter *f = call->filter;
    if (f != NULL) {
        if (event->result == UP_OK)
            granted(o, f, call, event->qos);
        else
            not_granted(o, f, call, event->result);
        not_to_stay(o, f, event->result != UP_OK && event->result != UP_REFUSED);
        if (f->leaving) /* it was unsubscribed meanwhile */
            tell_broker(o, f);
        filter_settle(o, f);
    }
    own_release(o, call, sizeof *call);
}

/* ---- UNSUBSCRIBE ----------------------------------------------------------------------------- */

void own_unsubscribe(struct own *o, const struct sn_request *request)
{
    struct own_filter *f = filter_find(o, request->unsubscribe.filter);
    if (f != NULL) {
        list_foreach (link, &o->calls) {
            struct own_call *call = container_of(link, struct own_call, link);
            if (call->filter != f || call->type != CALL_ASK)
                continue;
            answer(o, call->token, SN_REFUSED_BUSY, 0);
            call->type = CALL_AGAIN;
        }
        if (f->live)
            own_record(o, SN_REC_SUBSCRIPTION_GONE, own_filter_text(f), 0);
        f->leaving = f->live || f->held || f->n_calls > 0;
        f->live = false;
        f->owed = false;
        f->replay_ms = INT64_MIN;
        tell_left(o, f); /* who asks twice has not heard the answer */
        f->asked = true;
        f->token = request->token;
        tell_broker(o, f);
        if (f->n_calls == 0) /* the broker hears of it later */
            tell_left(o, f);
        filter_settle(o, f);
        return;
    }
    own_tell(o, &(struct sn_event){.type = SN_EV_UNSUBSCRIBED, .token = request->token});
}

void own_unsubscribed(struct own *o, const struct up_event *event)
{
    struct own_call *call = call_take(o, event->token);
    if (call == NULL)
        return;
    struct own_filter *f = call->filter;
    if (f != NULL && event->result != UP_BUSY && event->result != UP_IN_DOUBT) {
        f->held = false; /* if it was not subscribed anew, which is answered next */
        tell_left(o, f);
        not_to_stay(o, f, false);
        filter_settle(o, f);
    } else if (f != NULL) {
        if (o->link != LINK_ON)
            tell_left(o, f);
        own_retry_soon(o);
    }
    own_release(o, call, sizeof *call);
}

/* ---- connections that come and go ------------------------------------------------------------ */

void own_resubscribe(struct own *o, bool session_present)
{
    list_foreach_safe (link, next, &o->filters) {
        struct own_filter *f = filter_at(link);
        f->refused = false;
        if (!session_present) {
            f->held = false;
            f->leaving = false;
        }
        if (f->live || f->leaving)
            tell_broker(o, f);
        filter_settle(o, f);
    }
}

void own_resubscribe_missed(struct own *o)
{
    list_foreach (link, &o->filters)
        tell_broker(o, filter_at(link));
}

void own_calls_over(struct own *o)
{
    for (struct list *link; (link = list_pop_front(&o->calls)) != NULL;) {
        struct own_call *call = container_of(link, struct own_call, link);
        struct own_filter *f = call->filter;
        if (f != NULL)
            f->n_calls--;
        if (f != NULL && call->type == CALL_ASK)
            answer(o, call->token, SN_REFUSED_BUSY, 0);
        if (f != NULL) {
            not_to_stay(o, f, true);
            filter_settle(o, f);
        }
        own_release(o, call, sizeof *call);
    }
    own_filters_left(o);
}

void own_filters_clear(struct own *o, bool session_stays)
{
    while (!list_empty(&o->filters)) {
        struct own_filter *f = filter_at(list_first(&o->filters));
        if (session_stays && f->live)
            own_record(o, SN_REC_SUBSCRIPTION_GONE, own_filter_text(f), 0);
        filter_free(o, f);
    }
}

bool own_is_settled(const struct own *o)
{
    list_foreach (link, &o->filters) {
        if (filter_at(link)->leaving)
            return false;
    }
    return true;
}

bool own_is_wanted_copy(struct own *o, const struct up_event *message)
{
    struct copy copy = copies_begin(&o->copies, message);
    if (message->n_subscriptions == 0)
        return true;
    list_foreach (link, &o->filters) {
        struct own_filter *f = filter_at(link);
        if (f->held && f->id != 0 && topics_match(own_filter_text(f), message->topic))
            copy_consider(&copy, f->id, f->granted, &f->proven);
    }
    return copy_passes(&copy);
}

bool own_wants_retained(struct own *o, struct bytes topic)
{
    bool wanted = false;
    list_foreach (link, &o->filters) {
        struct own_filter *f = filter_at(link);
        if (o->now_ms >= f->replay_ms || !topics_match(own_filter_text(f), topic))
            continue;
        wanted = true;
        /* More are coming. */
        const int64_t longest_ms = time_add(f->opened_ms, REPLAY_MAX_MS);
        const int64_t quiet_ms = time_add(o->now_ms, REPLAY_QUIET_MS);
        const int64_t until_ms = quiet_ms < longest_ms ? quiet_ms : longest_ms;
        if (until_ms > f->replay_ms)
            f->replay_ms = until_ms;
    }
    return wanted;
}

/* The broker is asked for it with the first connection, whatever it may remember: its name may be
 * another one now. */
int own_restore(struct own *o, const struct sn_record *record)
{
    const struct bytes text = record->subscription.filter;
    const uint8_t qos = record->subscription.qos;
    const bool valid = record->type == SN_REC_SUBSCRIPTION && record->client == o->client &&
                       sn_topic_filter_ok(text) && qos <= 2;
    if (!valid)
        return 1;
    struct own_filter *f = filter_find(o, text);
    if (f == NULL)
        f = filter_new(o, text);
    if (f == NULL)
        return -ENOMEM;
    f->live = true;
    f->granted = qos;
    own_restore_session(o, false);
    return 0;
}
