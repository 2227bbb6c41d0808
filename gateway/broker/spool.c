/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/spool.h"

#include <errno.h>
#include <stdlib.h>

#include "broker/spool_priv.h"

enum { LOG_RECORDS = 64, ACCEPTING_MS = 5000, HOLD_MS = 5000, SILENCE_MS = 25 };

struct spool_config spool_defaults(void)
{
    return (struct spool_config){
        .log_level = LOG_INFO,
        .max_messages = 1000000,
        .max_bytes = UINT64_C(256) << 20,
        .full = SPOOL_REFUSE,
        .max_age_ms = INT64_C(7) * 24 * 3600 * 1000,
        .window = 128,
        .max_memory_bytes = (size_t)4 << 20,
        .hold_ms = HOLD_MS,
        .silence_ms = SILENCE_MS,
    };
}

/* ---- refusing ------------------------------------------------------------------------------- */

void refuse_unusable(struct spool *s, uint64_t token, uint8_t qos)
{
    tell_dropped(s, DROP_UNUSABLE, ++s->gauges.unusable);
    tell(s,
         &(struct up_event){.type = UP_PUBLISHED, .token = token, .result = UP_BUSY, .qos = qos});
}

static void refuse(struct spool *s, const struct up_request *r)
{
    tell(s, &(struct up_event){
                .type = UP_PUBLISHED, .token = r->token, .result = UP_BUSY, .qos = r->qos});
}

static void refuse_away(struct spool *s, const struct up_request *r)
{
    if (r->qos > 0 || r->will) {
        refuse_unusable(s, r->token, r->qos);
        return;
    }
    s->gauges.away++;
    refuse(s, r);
}

static void refuse_full(struct spool *s, const struct up_request *r)
{
    tell_dropped(s, DROP_NEW, ++s->gauges.full);
    refuse(s, r);
}

/* Nobody waits for a word about QoS 0, and its node need not stop sending. */
static void refuse_paced(struct spool *s, const struct up_request *r)
{
    if (r->qos == 0 && !r->will) {
        s->gauges.paced_drops++;
        return;
    }
    s->gauges.paced_refused++;
    refuse(s, r);
}

static void pass(struct spool *s, const struct up_request *r)
{
    if (!meter_lets_pass(s, r))
        refuse_paced(s, r);
    else if (!(r->qos > 0 ? pass_live(s, r) : pass_on(s, r)))
        refuse_away(s, r);
}

/* ---- what the session submits ---------------------------------------------------------------- */

bool is_worth(const struct spool *s, uint8_t qos, bool will)
{
    return qos > 0 || will || s->config.qos_0;
}

static void submit_publish(struct spool *s, const struct up_request *r)
{
    const struct owner *o = owner_find(s, r->client);
    /* Of QoS 2 nothing is passed on while the store is usable, but wills that found no room. */
    const bool after_will = o != NULL && o->live_qos_2 > 0 && r->qos == 1 && s->usable;
    const bool queues = o != NULL && o->spooled > 0 && !is_beyond_reach(s, o);
    /* QoS 0 keeps its place behind what its client has sent before, if there is room for it: not for
     * the hours that limits make of it. */
    const bool in_place = queues && s->up && s->usable && !s->metered;
    const bool worth = is_worth(s, r->qos, r->will) || in_place;
    const bool behind = worth && (queues || after_will);
    /* QoS 2 would overtake what was passed on with QoS 1. */
    const bool overtakes = r->qos == 2 && o != NULL && o->live > 0;
    /* A will is repeated by nobody: its session, which has ended, is not stored any more. */
    const bool wanted = worth && (r->qos == 2 || r->will || behind || !s->up || s->metered ||
                                  (r->qos == 1 && s->silent));
    if (!wanted && s->up) {
        pass(s, r);
        return;
    }
    if (wanted && s->usable) {
        const struct arrival a = {
            .client = r->client,
            .token = r->token,
            .topic = r->topic,
            .body = r->body,
            .qos = r->qos,
            .retain = r->retain,
            .will = r->will,
            .answer = r->qos > 0 || r->will,
        };
        if (take_over(s, &a)) /* which may drop the last message of the owner, and him with it */
            return;
        const bool may_pass = s->up && (!a.answer || (r->will && !behind && !overtakes));
        if (may_pass)
            pass(s, r);
        else
            refuse_full(s, r);
    } else if (s->up && !behind) {
        pass(s, r);
    } else {
        refuse_away(s, r);
    }
}

void spool_submit(struct spool *s, int64_t now_ms, const struct up_request *request)
{
    spool_advance(s, now_ms);
    if (request->type == UP_PUBLISH) {
        submit_publish(s, request);
        return;
    }
    if (pass_on(s, request))
        return;
    const bool asks = request->type == UP_SUBSCRIBE;
    tell(s, &(struct up_event){.type = asks ? UP_SUBSCRIBED : UP_UNSUBSCRIBED,
                               .token = request->token,
                               .result = UP_BUSY});
}

/* ---- answers to what was spooled ------------------------------------------------------------- */

static void log_refused(struct spool *s, const struct message *m)
{
    s->gauges.refused++;
    if (!log_begin(&s->log, LOG_WARN, "broker.publish_refused"))
        return;
    log_str(&s->log, "topic", message_topic(m));
    log_text(&s->log, "hint", "does the broker's access control allow it?");
    log_end(&s->log);
}

/* Sent by an earlier process, and not told of when everything came back. */
static void on_unknown_answer(struct spool *s, const struct up_event *event)
{
    if (event->result == UP_OK)
        s->gauges.sent++;
    if (event->result == UP_REFUSED)
        s->gauges.refused++;
    if (event->result == UP_OK || event->result == UP_REFUSED)
        record_gone(s, event->spooled);
}

void on_spooled_answer(struct spool *s, const struct up_event *event)
{
    struct message *m = message_find(s, event->spooled);
    if (m == NULL) {
        on_unknown_answer(s, event);
        return;
    }
    if (m->is_ghost || !m->in_flight)
        return; /* answered before */
    struct owner *o = m->owner;
    switch (event->result) {
    case UP_IN_DOUBT:
        m->in_doubt = true;
        m->abandoned = false;
        return;
    case UP_BUSY:
        message_returned(s, m);
        return;
    case UP_OK:
        s->gauges.sent++;
        break;
    case UP_REFUSED:
        log_refused(s, m);
        break;
    }
    message_done(s, m);
    owner_settle(s, o);
}

/* ---- the connection -------------------------------------------------------------------------- */

/* Of a connection that was ended. Those that the MQTT session still has, it has told by now. Of the others
 * the store knows: it has what was not sent, and no more what the broker has received. */
static void look_up_abandoned(struct spool *s)
{
    list_foreach_safe (at, next, &s->sent) {
        struct message *m = container_of(at, struct message, place);
        if (!m->abandoned)
            continue;
        m->absent = true;
        message_returned(s, m);
    }
}

static void on_connected(struct spool *s)
{
    look_up_abandoned(s);
    s->up = true;
    silence_ends(s);
    s->pause_until = INT64_MIN;
    s->earned = 0;
    s->draining = s->gauges.messages > 0;
    if (s->draining && log_begin(&s->log, LOG_INFO, "spool.draining")) {
        log_int(&s->log, "messages", (int64_t)s->gauges.messages);
        log_int(&s->log, "bytes", (int64_t)s->gauges.bytes);
        log_end(&s->log);
    }
}

static void on_disconnected(struct spool *s)
{
    s->up = false;
    silence_ends(s);
}

void spool_upstream(struct spool *s, int64_t now_ms, const struct up_event *event)
{
    hear(s, now_ms, event); /* before time tells that nothing was heard */
    spool_advance(s, now_ms);
    if (event->type == UP_PUBLISHED) {
        if (event->spooled != 0)
            on_spooled_answer(s, event);
        else
            on_live_answer(s, event);
        return;
    }
    if (event->type == UP_CONNECTED)
        on_connected(s);
    else if (event->type == UP_DISCONNECTED)
        on_disconnected(s);
    tell_passing(s, event);
}

void spool_abandoned(struct spool *s, int64_t now_ms)
{
    spool_advance(s, now_ms);
    on_disconnected(s);
    refuse_live(s);
    list_foreach_safe (at, next, &s->sent) {
        struct message *m = container_of(at, struct message, place);
        if (m->qos == 2)
            m->in_doubt = m->abandoned = true;
        else
            message_returned(s, m);
    }
}

/* ---- the store ------------------------------------------------------------------------------- */

void spool_usable(struct spool *s, int64_t now_ms, bool usable)
{
    spool_advance(s, now_ms);
    if (s->usable && !usable)
        s->accepting_until = time_add(now_ms, ACCEPTING_MS);
    if (!s->usable && usable)
        silence_ends(s);
    s->usable = usable;
}

bool spool_accepting(const struct spool *s)
{
    return s->usable || s->now_ms < s->accepting_until;
}

int spool_restore(struct spool *s, uint64_t client, uint64_t n, uint64_t bytes,
                  uint64_t last_number)
{
    if (last_number > s->last_number)
        s->last_number = last_number;
    if (n == 0)
        return 0;
    struct owner *o = owner_get(s, client);
    if (o == NULL)
        return -ENOMEM;
    o->spooled += n;
    o->on_disk += n;
    s->n_disk += n;
    s->gauges.messages += n;
    s->gauges.bytes += bytes;
    return 0;
}

int spool_restore_sent(struct spool *s, uint64_t number, uint64_t client, uint64_t bytes)
{
    if (message_find(s, number) != NULL)
        return 0;
    struct owner *o = owner_get(s, client);
    struct message *m = o != NULL ? message_new(s, number, bytes_of(NULL, 0), NULL) : NULL;
    if (m == NULL) {
        if (o != NULL)
            owner_settle(s, o);
        return -ENOMEM;
    }
    m->bytes = bytes;
    m->qos = 2;
    m->absent = true;
    m->in_doubt = true;
    m->in_flight = true;
    m->owner = o;
    list_push_back(&s->sent, &m->place);
    o->spooled++;
    o->in_flight++;
    o->in_flight_qos_2 = true;
    s->gauges.in_flight++;
    s->gauges.messages++;
    s->gauges.bytes += bytes;
    return 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

struct spool *spool_new(const struct spool_config *config, int64_t now_ms)
{
    struct spool *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->config = *config;
    s->now_ms = now_ms;
    s->accepting_until = INT64_MIN;
    s->pause_until = INT64_MIN;
    s->fetch_retry = INT64_MIN;
    s->unreadable_ms = TIME_NEVER;
    s->metered = pace_is_limited(&config->pace);
    pace_init(&s->pace, &config->pace, now_ms);
    if (s->metered)
        s->config.hold_ms = 0; /* the pace is not the nodes' to keep */
    hmap_init(&s->owners);
    hmap_init(&s->messages);
    hmap_init(&s->live);
    struct list *const lists[] = {&s->all_owners, &s->ready,   &s->waiting, &s->ahead,
                                  &s->sent,       &s->absent,  &s->ghosts,  &s->held,
                                  &s->holding,    &s->unhedged};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    queues_begin(s);
    log_init_sparing(&s->log, LOG_RECORDS, config->log_level);
    return s;
}

void spool_configure(struct spool *s, int64_t now_ms, const struct spool_config *config)
{
    spool_advance(s, now_ms);
    const struct spool_config old = s->config;
    const bool same_pace = pace_is_same(&s->config.pace, &config->pace);
    s->config = *config;
    s->config.hash_seed = old.hash_seed;
    s->config.sparing = old.sparing;
    s->log.level = config->log_level;
    s->metered = pace_is_limited(&config->pace);
    if (s->metered)
        s->config.hold_ms = 0; /* the pace is not the nodes' to keep */
    if (!same_pace) {
        pace_change(&s->pace, &config->pace, s->now_ms);
        s->to_collect = 0;
    }
    s->window_full = s->gauges.in_flight >= config->window;
    answer_overdue(s);
}

void spool_free(struct spool *s)
{
    if (s == NULL)
        return;
    live_free_all(s);
    held_free(s);
    for (struct hmap_node *n; (n = hmap_any(&s->messages)) != NULL;)
        message_free(s, container_of(n, struct message, by_number));
    for (struct hmap_node *n; (n = hmap_any(&s->owners)) != NULL;) {
        hmap_remove(&s->owners, n);
        free(container_of(n, struct owner, by_key));
    }
    hmap_deinit(&s->live);
    hmap_deinit(&s->messages);
    hmap_deinit(&s->owners);
    queues_end(s);
    log_deinit(&s->log);
    free(s);
}

void spool_advance(struct spool *s, int64_t now_ms)
{
    if (now_ms > s->now_ms)
        s->now_ms = now_ms;
    meter_advance(s);
    notice_silence(s);
    answer_overdue(s);
}

/* But for answers nothing happens then by itself: it is the outputs that are worth looking at
 * again. */
int64_t spool_next_deadline(const struct spool *s)
{
    const int64_t times[] = {s->accepting_until, s->pause_until, s->fetch_retry, meter_next(s)};
    int64_t next = time_min(next_overdue(s), next_silence(s));
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        if (times[i] > s->now_ms)
            next = time_min(next, times[i]);
    }
    return next;
}

struct log_ring *spool_log(struct spool *s)
{
    return &s->log;
}

struct spool_gauges spool_gauges(const struct spool *s)
{
    return s->gauges;
}
