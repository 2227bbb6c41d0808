/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/own.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/order.h"
#include "broker/own_priv.h"
#include "mqttsn/topic.h"

enum { LOG_RECORDS = 8, MISSED_MS = 1000, PATIENCE_MS = 20000 };

void *own_alloc(struct own *o, size_t n)
{
    void *ptr = calloc(1, n);
    if (ptr != NULL)
        o->memory_bytes += n;
    return ptr;
}

void own_release(struct own *o, void *ptr, size_t n)
{
    if (ptr == NULL)
        return;
    o->memory_bytes -= n;
    free(ptr);
}

bool own_log_begin(struct own *o, enum log_level level, const char *event)
{
    if (!log_begin(&o->log, level, event))
        return false;
    log_str(&o->log, "client", body_bytes(o->id));
    return true;
}

void own_no_memory(struct own *o, const char *what)
{
    if (own_log_begin(o, LOG_ERROR, "memory.exhausted")) {
        log_word(&o->log, "for", what);
        log_end(&o->log);
    }
}

/* While nothing is taken nothing needs a timer: everything is told when the broker is back. */
void own_retry_soon(struct own *o)
{
    struct deadline *retry = &o->timers[DL_RETRY];
    if (own_is_reachable(o) && !deadline_armed(retry))
        deadline_arm(&o->deadlines, retry, time_add(o->now_ms, MISSED_MS));
}

/* ---- OPEN ------------------------------------------------------------------------------------ */

static void tell_opened(struct own *o, enum sn_outcome outcome, bool session_present)
{
    o->opening = false;
    deadline_disarm(&o->deadlines, &o->timers[DL_OPEN]);
    own_tell(o, &(struct sn_event){.type = SN_EV_OPENED,
                                   .token = o->open_token,
                                   .outcome = outcome,
                                   .opened = {.session_present = session_present}});
}

void own_accept(struct own *o, bool session_present)
{
    const bool known = (o->session || session_present) && !o->clean;
    if (o->clean)
        own_filters_clear(o, true);
    o->present = true;
    o->session = true;
    tell_opened(o, SN_OK, known);
}

void own_refuse(struct own *o, enum sn_outcome outcome)
{
    will_clear(&o->will);
    tell_opened(o, outcome, false);
}

/* What the broker keeps of the session, or is just about to. */
static void forget_at_broker(struct own *o)
{
    o->wipes = o->wipes || o->kept || (o->link != LINK_OFF && !o->link_clean);
}

/* What the node had under its old key is dead (port.h); what waits in the spool is not. */
static void adopt_key(struct own *o, uint64_t client)
{
    if (o->client == client)
        return;
    forget_at_broker(o);
    own_filters_clear(o, false);
    while (!list_empty(&o->publishes)) {
        struct list *link = list_pop_front(&o->publishes);
        own_release(o, container_of(link, struct own_publish, link), sizeof(struct own_publish));
    }
    o->client = client;
    o->session = false;
    o->present = false;
    o->opening = false;
}

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Without an answer of the broker: while it can't be had, what the node says is kept. */
static bool may_accept(const struct own *o)
{
    return o->accepting && !o->refused && !o->broker_up;
}

static void on_open(struct own *o, const struct sn_request *request)
{
    adopt_key(o, request->client);
    const uint32_t most = o->config.max_filters > 0 ? o->config.max_filters : UINT32_MAX;
    o->max_filters = least(request->open.max_subscriptions, most);
    o->open_token = request->token;
    o->clean = request->open.clean;
    o->opening = true;
    o->barred = false;
    o->deciding = false;
    o->settled = false;
    o->strikes = 0;
    o->losses = 0;
    deadline_disarm(&o->deadlines, &o->timers[DL_DECIDE]);
    body_unref(o->id);
    o->id = body_new(request->open.client_id);
    o->order = order_of(request->open.client_id);
    if (!will_set(&o->will, &request->open.will)) {
        own_refuse(o, SN_REFUSED_BUSY);
        return;
    }
    if (o->clean) { /* a connection that is there is another session's */
        forget_at_broker(o);
        own_link_end(o, OWN_DISCONNECT);
    }
    if (o->link == LINK_ON || may_accept(o)) {
        own_accept(o, false);
        own_will_changed(o);
        return;
    }
    deadline_arm(&o->deadlines, &o->timers[DL_OPEN], time_add(o->now_ms, PATIENCE_MS));
}

/* ---- CLOSE ----------------------------------------------------------------------------------- */

static void on_close(struct own *o, const struct sn_request *request)
{
    const bool has_will = o->present && o->will.topic != NULL;
    if (has_will && request->close.how == SN_CLOSE_LOST) {
        if (o->link == LINK_ON && own_will_is_there(o) && !own_is_busy(o))
            own_link_end(o, OWN_ABORT);
        else
            own_will_publish(o);
    }
    will_clear(&o->will); /* the engine arms a stored one again with the next OPEN */
    o->present = false;
    o->opening = false;
    deadline_disarm(&o->deadlines, &o->timers[DL_OPEN]);
    deadline_disarm(&o->deadlines, &o->timers[DL_RENEW]);
    if (!request->close.discard)
        return;
    o->session = false;
    forget_at_broker(o);
    own_filters_clear(o, false);
}

void own_closed(struct own *o, const char *why)
{
    if (own_log_begin(o, LOG_WARN, "session.closed")) {
        log_word(&o->log, "why", why);
        log_end(&o->log);
    }
    if (o->opening) {
        own_refuse(o, SN_REFUSED_BUSY);
    } else if (o->present) {
        own_tell(o, &(struct sn_event){.type = SN_EV_CLOSED});
        if (o->clean) {
            o->session = false;
            own_filters_clear(o, false);
        }
    }
    will_clear(&o->will);
    o->present = false;
    o->barred = true;
    own_link_end(o, OWN_DISCONNECT);
}

/* ---- publishing ------------------------------------------------------------------------------ */

static void tell_published(struct own *o, uint16_t token, enum sn_outcome outcome, uint8_t qos)
{
    own_tell(o, &(struct sn_event){.type = SN_EV_PUBLISHED,
                                   .token = token,
                                   .outcome = outcome,
                                   .published = {.qos = qos}});
}

static struct own_publish *publish_new(struct own *o, uint16_t token, uint8_t qos)
{
    struct own_publish *p = own_alloc(o, sizeof *p);
    if (p == NULL)
        return NULL;
    *p = (struct own_publish){.token = token, .qos = qos};
    list_init(&p->link);
    list_push_back(&o->publishes, &p->link);
    return p;
}

static void publish_free(struct own *o, struct own_publish *p)
{
    list_unlink(&p->link);
    own_release(o, p, sizeof *p);
}

uint64_t own_order(const struct own *o)
{
    return o->order != 0 ? o->order : o->client;
}

static void on_publish(struct own *o, const struct sn_request *request)
{
    const uint8_t qos = request->publish.qos;
    const struct up_request up = {
        .type = UP_PUBLISH,
        .token = o->client << UP_TOKEN_BITS | request->token,
        .client = own_order(o),
        .topic = request->publish.topic,
        .body = request->publish.body,
        .qos = qos,
        .retain = request->publish.retain,
    };
    struct own_publish *p = NULL;
    bool taken = own_is_reachable(o);
    if (taken && qos > 0) {
        p = publish_new(o, request->token, qos);
        taken = p != NULL;
    }
    if (taken && own_ask(o, &up))
        return;
    if (p != NULL)
        publish_free(o, p);
    tell_published(o, request->token, SN_REFUSED_BUSY, qos);
}

void own_publishes_over(struct own *o)
{
    while (!list_empty(&o->publishes)) {
        struct own_publish *p = container_of(list_first(&o->publishes), struct own_publish, link);
        tell_published(o, p->token, SN_REFUSED_BUSY, p->qos);
        publish_free(o, p);
    }
}

static void on_published(struct own *o, const struct up_event *event)
{
    static const enum sn_outcome outcome_of[] = {
        [UP_OK] = SN_OK,
        [UP_BUSY] = SN_REFUSED_BUSY,
        [UP_REFUSED] = SN_REFUSED_NEVER,
        [UP_IN_DOUBT] = SN_IN_DOUBT,
    };

    const uint64_t client = event->token >> UP_TOKEN_BITS;
    const uint16_t token = (uint16_t)event->token;
    if (client == SN_NO_CLIENT) {
        own_will_published(o, event);
        return;
    }
    if (client != o->client)
        return;
    if (event->qos == 0) {
        tell_published(o, token, outcome_of[event->result], 0);
        return;
    }
    list_foreach (link, &o->publishes) {
        struct own_publish *p = container_of(link, struct own_publish, link);
        if (p->token != token)
            continue;
        tell_published(o, token, outcome_of[event->result], p->qos);
        if (event->result != UP_IN_DOUBT)
            publish_free(o, p);
        break;
    }
    if (event->result == UP_OK) /* there is room, and wills may have found none */
        own_wills_send(o);
}

static void on_message(struct own *o, const struct up_event *event)
{
    assert(!o->has_message); /* the previous one must have been taken */
    if (!o->session || (event->retain && !own_wants_retained(o, event->topic)) ||
        !sn_topic_name_legal(event->topic)) {
        o->unasked++;
        return;
    }
    if (!own_is_wanted_copy(o, event))
        return;
    o->recipient =
        (struct sn_recipient){.client = o->client, .qos = event->qos, .retain = event->retain};
    o->has_message = true;
    o->message = (struct sn_event){
        .type = SN_EV_MESSAGE,
        .message = {.topic = event->topic,
                    .body = event->body,
                    .journal = event->journal,
                    .expiry_s = event->expiry_s,
                    .recipients = &o->recipient,
                    .n_recipients = 1},
    };
}

/* ---- entries --------------------------------------------------------------------------------- */

struct own *own_new(const struct own_config *config, uint64_t client, int64_t now_ms)
{
    struct own *o = calloc(1, sizeof *o);
    if (o == NULL)
        return NULL;
    o->config = *config;
    o->client = client;
    o->now_ms = now_ms;
    o->max_filters = UINT32_MAX;
    o->last_id = copies_seed_id(config->seed);
    o->trouble_ms = INT64_MIN;
    list_init(&o->filters);
    list_init(&o->calls);
    list_init(&o->publishes);
    list_init(&o->wills);
    own_queues_init(o);
    deadlines_init(&o->deadlines);
    log_init_sparing(&o->log, LOG_RECORDS, config->log_level);
    for (unsigned i = 0; i < DL_KINDS; i++)
        deadline_init(&o->timers[i], (uint8_t)i);
    return o;
}

void own_free(struct own *o)
{
    if (o == NULL)
        return;
    own_filters_clear(o, false);
    own_calls_over(o);
    own_publishes_over(o);
    own_wills_clear(o);
    own_queues_deinit(o);
    will_clear(&o->will);
    will_clear(&o->link_will);
    body_unref(o->id);
    for (unsigned i = 0; i < DL_KINDS; i++)
        deadline_disarm(&o->deadlines, &o->timers[i]);
    assert(o->memory_bytes == 0);
    log_deinit(&o->log);
    free(o);
}

void own_restore_session(struct own *o, bool clean)
{
    o->session = true;
    o->clean = clean;
    o->kept = !clean;
}

void own_advance(struct own *o, int64_t now_ms)
{
    assert(now_ms >= o->now_ms);
    o->now_ms = now_ms;
    deadlines_collect(&o->deadlines, now_ms);
    bool any = false;
    for (struct deadline *d = deadlines_take(&o->deadlines); d != NULL;
         d = deadlines_take(&o->deadlines)) {
        any = true;
        switch ((enum own_deadline_kind)d->kind) {
        case DL_OPEN:
            own_refuse(o, SN_REFUSED_BUSY);
            break;
        case DL_RETRY:
            own_wills_settle(o);
            own_wills_send(o);
            own_resubscribe_missed(o);
            break;
        case DL_DECIDE:
            own_decide_due(o);
            break;
        case DL_RENEW:
        case DL_KINDS:
            break;
        }
    }
    if (any)
        own_settle(o);
}

int64_t own_next_deadline(const struct own *o)
{
    return deadlines_next(&o->deadlines);
}

void own_accepting(struct own *o, int64_t now_ms, bool accepting)
{
    own_advance(o, now_ms);
    o->accepting = accepting;
    if (o->opening && may_accept(o))
        own_accept(o, false);
    if (accepting)
        own_wills_send(o);
    own_settle(o);
}

void own_broker_up(struct own *o, int64_t now_ms, bool up)
{
    own_advance(o, now_ms);
    o->broker_up = up;
    if (o->opening && may_accept(o))
        own_accept(o, false);
    own_settle(o);
}

void own_backlog(struct own *o, int64_t now_ms, uint64_t messages)
{
    own_advance(o, now_ms);
    o->backlog = messages;
    own_settle(o);
}

void own_request(struct own *o, int64_t now_ms, const struct sn_request *request)
{
    own_advance(o, now_ms);
    if (request->client != o->client && request->type != SN_REQ_OPEN)
        return; /* of a key that is dead */
    switch (request->type) {
    case SN_REQ_OPEN:
        on_open(o, request);
        break;
    case SN_REQ_PUBLISH:
        on_publish(o, request);
        break;
    case SN_REQ_SUBSCRIBE:
        own_subscribe(o, request);
        break;
    case SN_REQ_UNSUBSCRIBE:
        own_unsubscribe(o, request);
        break;
    case SN_REQ_SET_WILL:
        if (!will_set(&o->will, &request->set_will.will))
            own_no_memory(o, "will");
        own_will_changed(o);
        break;
    case SN_REQ_DELIVERED: /* the engine's records say so (record.h) */
        break;
    case SN_REQ_CLOSE:
        on_close(o, request);
        break;
    }
    own_settle(o);
}

void own_upstream(struct own *o, int64_t now_ms, const struct up_event *event)
{
    own_advance(o, now_ms);
    switch (event->type) {
    case UP_CONNECTED:
        own_connected(o, event);
        break;
    case UP_DISCONNECTED:
        own_disconnected(o, event);
        break;
    case UP_PUBLISHED:
        on_published(o, event);
        break;
    case UP_SUBSCRIBED:
        own_subscribed(o, event);
        break;
    case UP_UNSUBSCRIBED:
        own_unsubscribed(o, event);
        break;
    case UP_MESSAGE:
        on_message(o, event);
        break;
    }
    own_settle(o);
}

bool own_is_over(const struct own *o)
{
    const bool has_work = own_is_busy(o) || (o->wipes && !o->barred);
    return !o->session && !o->opening && o->link == LINK_OFF && !has_work && own_queues_empty(o);
}

struct log_ring *own_log(struct own *o)
{
    return &o->log;
}

struct own_gauges own_gauges(const struct own *o)
{
    return (struct own_gauges){
        .connected = o->link == LINK_ON,
        .filters = o->n_filters,
        .unasked = o->unasked,
        .copies = o->copies.left_out,
        .memory_bytes = sizeof *o + o->memory_bytes,
    };
}
