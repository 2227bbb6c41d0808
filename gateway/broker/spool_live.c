/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was passed on: the broker's answer is the node's. Only when the broker falls silent, though the
 * connection is there, the gateway takes over what is open of QoS 1, and the nodes need not wait
 * until it is known whether the broker still lives. Such a message is hedged: from then on it is a
 * spooled one that is in flight already. When the broker answers after all, its record is deleted; it
 * has hardly been written by then (store_intent.h).
 *
 * Silent is a broker that owes answers and has given none for `silence_ms`, or for twice the longest
 * time that it has lately let us wait: one that is far away is not silent. Messages wait in lines, too,
 * but while answers come in at all, no node is better off for a promise instead of the answer.
 */
#include <stdlib.h>

#include "broker/spool_priv.h"

enum {
    PATIENCE_MAX_MS = 2000,
    LOOK_AGAIN_MS = 2,
    FORGET_MS = 600000, /* in that time half of the longest wait is forgotten */
};

/* ---- passing on ------------------------------------------------------------------------------ */

static bool can_be_hedged(const struct spool *s, const struct up_request *r)
{
    return r->qos == 1 && !r->will && s->usable && !s->metered && s->config.silence_ms > 0;
}

static struct live *live_new(struct spool *s, struct owner *o, const struct up_request *r)
{
    const bool copied = can_be_hedged(s, r);
    const size_t topic_len = copied ? r->topic.len : 0;
    struct live *l = malloc(sizeof *l + topic_len);
    if (l == NULL)
        return NULL;
    *l = (struct live){
        .owner = o,
        .token = r->token,
        .number = s->last_number + 1,
        .body = copied ? body_ref(r->body) : NULL,
        .qos = r->qos,
        .retain = r->retain,
        .will = r->will,
        .topic_len = (uint32_t)topic_len,
    };
    if (topic_len > 0)
        memcpy(l->topic, r->topic.data, topic_len);
    list_init(&l->unhedged);
    if (copied)
        list_push_back(&s->unhedged, &l->unhedged);
    return l;
}

static void live_drop(struct live *l)
{
    list_unlink(&l->unhedged);
    body_unref(l->body);
    free(l);
}

/* It is nobody's any more. */
static void live_leave(struct spool *s, struct live *l)
{
    struct owner *o = l->owner;
    l->owner = NULL;
    o->live--;
    o->live_qos_2 -= l->qos == 2;
    owner_settle(s, o);
}

static void live_free(struct spool *s, struct live *l)
{
    hmap_remove(&s->live, &l->by_token);
    live_drop(l);
}

bool pass_live(struct spool *s, const struct up_request *r)
{
    struct owner *o = owner_get(s, r->client);
    struct live *l = o != NULL ? live_new(s, o, r) : NULL;
    const bool passed = l != NULL && pass_on(s, r);
    if (passed) {
        owe(s);
        s->last_number = l->number;
        hmap_insert(&s->live, &l->by_token, spool_mix(s, r->token));
        o->live++;
        o->live_qos_2 += r->qos == 2;
    } else if (l != NULL) {
        live_drop(l);
    }
    if (o != NULL)
        owner_settle(s, o);
    return passed;
}

/* Tokens are unique, says the seam; if they are not, the oldest one is answered first. */
static struct live *live_find(const struct spool *s, uint64_t token)
{
    struct live *found = NULL;
    struct hmap_node *n = hmap_first(&s->live, spool_mix(s, token));
    for (; n != NULL; n = hmap_next(n)) {
        struct live *l = container_of(n, struct live, by_token);
        if (found == NULL || l->number < found->number)
            found = l;
    }
    return found;
}

void live_free_all(struct spool *s)
{
    for (struct hmap_node *n; (n = hmap_any(&s->live)) != NULL;)
        live_free(s, container_of(n, struct live, by_token));
}

void refuse_live(struct spool *s)
{
    for (struct hmap_node *n; (n = hmap_any(&s->live)) != NULL;) {
        struct live *l = container_of(n, struct live, by_token);
        if (l->owner != NULL) {
            tell(s, &(struct up_event){
                        .type = UP_PUBLISHED, .token = l->token, .result = UP_BUSY, .qos = l->qos});
            live_leave(s, l);
        }
        live_free(s, l);
    }
}

/* ---- answers --------------------------------------------------------------------------------- */

/* It comes back with what it says. */
static bool take_back(struct spool *s, const struct up_event *event, const struct live *l)
{
    const bool will = l != NULL ? l->will : event->will;
    if (!s->usable || event->topic.len == 0 || !is_worth(s, event->qos, will))
        return false;
    return take_over(s, &(struct arrival){
                            .number = l != NULL ? l->number : 0,
                            .client = l != NULL ? l->owner->key : event->client,
                            .token = event->token,
                            .topic = event->topic,
                            .body = event->body,
                            .qos = event->qos,
                            .retain = event->retain,
                            .will = will,
                            .answer = event->qos > 0 || will,
                            .came_back = l != NULL,
                        });
}

/* The node has its answer, or will have it when the record is committed. */
static void on_hedged_answer(struct spool *s, const struct up_event *event, struct live *l)
{
    struct up_event answer = *event;
    answer.spooled = l->number;
    live_free(s, l);
    on_spooled_answer(s, &answer);
}

void on_live_answer(struct spool *s, const struct up_event *event)
{
    struct live *l = event->qos > 0 ? live_find(s, event->token) : NULL;
    if (l != NULL && l->owner == NULL) {
        on_hedged_answer(s, event, l);
        return;
    }
    const bool spooled = event->result == UP_BUSY && take_back(s, event, l);
    if (l != NULL && event->result != UP_IN_DOUBT) {
        live_leave(s, l);
        live_free(s, l);
    }
    if (!spooled)
        tell_passing(s, event);
}

/* ---- silence --------------------------------------------------------------------------------- */

static bool is_owed(const struct spool *s)
{
    return s->live.count > 0 || s->gauges.in_flight > 0;
}

void owe(struct spool *s)
{
    if (!is_owed(s))
        silence_ends(s);
}

/* What the broker has needed lately, once in a while at least. */
static int64_t longest(const struct spool *s)
{
    const int64_t halves = (s->now_ms - s->longest_at_ms) / FORGET_MS;
    return halves < 16 ? s->longest_ms >> halves : 0;
}

static int64_t patience(const struct spool *s)
{
    const int64_t twice = 2 * longest(s);
    const int64_t ms = twice > s->config.silence_ms ? twice : s->config.silence_ms;
    return time_min(ms, PATIENCE_MAX_MS);
}

/* Of QoS 0 the connection tells that it has got rid of it. */
static bool is_by_broker(const struct up_event *event)
{
    const bool is_last_word = event->result == UP_OK || event->result == UP_REFUSED;
    return event->type == UP_PUBLISHED && event->qos > 0 && is_last_word;
}

/* One long wait alone does not make us much more patient. */
void hear(struct spool *s, int64_t now_ms, const struct up_event *event)
{
    if (!is_by_broker(event) || !is_owed(s))
        return;
    if (now_ms > s->now_ms)
        s->now_ms = now_ms;
    const int64_t waited_ms = time_min(s->now_ms - s->owed_ms, patience(s));
    if (waited_ms > longest(s)) {
        s->longest_ms = waited_ms;
        s->longest_at_ms = s->now_ms;
    }
    silence_ends(s);
}

void silence_ends(struct spool *s)
{
    s->silent = false;
    s->suspected = false;
    s->owed_ms = s->now_ms;
}

int64_t next_silence(const struct spool *s)
{
    const bool watched = s->up && s->usable && !s->metered && s->config.silence_ms > 0;
    if (!watched || s->silent || !is_owed(s))
        return TIME_NEVER;
    return s->suspected ? s->look_again_ms : time_add(s->owed_ms, patience(s));
}

/* It is with the connection already. Without room it stays what it was. */
static void hedge(struct spool *s, struct live *l)
{
    const bool taken = take_over(s, &(struct arrival){
                                        .number = l->number,
                                        .client = l->owner->key,
                                        .token = l->token,
                                        .topic = bytes_of(l->topic, l->topic_len),
                                        .body = l->body,
                                        .qos = 1,
                                        .retain = l->retain,
                                        .answer = true,
                                        .came_back = true,
                                    });
    if (!taken)
        return;
    s->gauges.hedged++;
    message_sent(s, message_find(s, l->number));
    live_leave(s, l);
}

/* It may be us who stood still: then its answers are here, and will be heard before we look again. */
void notice_silence(struct spool *s)
{
    if (next_silence(s) > s->now_ms)
        return;
    if (!s->suspected) {
        s->suspected = true;
        s->look_again_ms = time_add(s->now_ms, LOOK_AGAIN_MS);
        return;
    }
    s->silent = true;
    for (struct list *link; (link = list_pop_front(&s->unhedged)) != NULL;)
        hedge(s, container_of(link, struct live, unhedged));
}
