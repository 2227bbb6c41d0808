/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/router_life.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

__attribute__((format(printf, 2, 3))) static void say(struct router_life *l, const char *format,
                                                      ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(l->said + l->len, sizeof l->said - l->len, format, args);
    va_end(args);
    ck_assert(n >= 0 && (size_t)n < sizeof l->said - l->len);
    l->len += (size_t)n;
}

static void begin_item(struct router_life *l)
{
    if (l->len > 0)
        say(l, "; ");
}

static void say_bytes(struct router_life *l, struct bytes text)
{
    say(l, "%.*s", (int)text.len, (const char *)text.data);
}

static void say_will(struct router_life *l, const struct sn_will_view *will)
{
    say_bytes(l, will->topic);
    say(l, " q%u%s", will->qos, will->retain ? "r" : "");
}

static void note_asked(struct router_life *l, unsigned broker, const struct sn_request *q)
{
    ck_assert_uint_lt(l->n_asked, ROUTER_OPEN_MAX);
    l->asked[l->n_asked++] = (struct router_asked){
        .broker = broker,
        .type = q->type,
        .client = q->client,
        .token = q->token,
        .qos = q->type == SN_REQ_PUBLISH     ? q->publish.qos
               : q->type == SN_REQ_SUBSCRIBE ? q->subscribe.qos
                                             : 0,
    };
}

static void say_request(struct router_life *l, unsigned broker, const struct sn_request *q)
{
    static const char *const verbs[] = {"open", "pub", "sub", "unsub", "will", "?", "close"};
    begin_item(l);
    say(l, "%u:%s %d", broker, verbs[q->type], (int)q->client);
    switch (q->type) {
    case SN_REQ_OPEN:
        if (q->open.clean)
            say(l, " clean");
        if (q->open.will.topic.len > 0) {
            say(l, " will=");
            say_will(l, &q->open.will);
        }
        note_asked(l, broker, q);
        break;
    case SN_REQ_PUBLISH:
        say(l, " ");
        say_bytes(l, q->publish.topic);
        say(l, " q%u%s", q->publish.qos, q->publish.retain ? "r" : "");
        note_asked(l, broker, q);
        break;
    case SN_REQ_SUBSCRIBE:
        say(l, " ");
        say_bytes(l, q->subscribe.filter);
        say(l, " q%u", q->subscribe.qos);
        note_asked(l, broker, q);
        break;
    case SN_REQ_UNSUBSCRIBE:
        say(l, " ");
        say_bytes(l, q->unsubscribe.filter);
        break;
    case SN_REQ_SET_WILL:
        say(l, " ");
        if (q->set_will.will.topic.len > 0)
            say_will(l, &q->set_will.will);
        else
            say(l, "none");
        break;
    case SN_REQ_DELIVERED:
        break;
    case SN_REQ_CLOSE:
        say(l, " %s%s", q->close.how == SN_CLOSE_LOST ? "lost" : "normal",
            q->close.discard ? " discard" : "");
        break;
    }
}

static void say_event(struct router_life *l, const struct sn_event *event)
{
    static const char *const outcomes[] = {"ok", "busy", "never", "doubt"};
    begin_item(l);
    switch (event->type) {
    case SN_EV_UPSTREAM:
        say(l, "%s", event->upstream.up ? "up" : event->upstream.accepting ? "accepting" : "down");
        break;
    case SN_EV_OPENED:
        say(l, "opened %s%s", outcomes[event->outcome],
            event->opened.session_present ? " present" : "");
        break;
    case SN_EV_PUBLISHED:
        say(l, "published %u %s", event->token, outcomes[event->outcome]);
        break;
    case SN_EV_SUBSCRIBED:
        say(l, "subscribed %u ", event->token);
        if (event->outcome == SN_OK)
            say(l, "q%u", event->subscribed.granted);
        else
            say(l, "%s", outcomes[event->outcome]);
        break;
    case SN_EV_UNSUBSCRIBED:
        say(l, "unsubscribed %u", event->token);
        break;
    case SN_EV_CLOSED:
        say(l, "closed %d", (int)event->client);
        break;
    case SN_EV_MESSAGE:
        say(l, "message ");
        say_bytes(l, event->message.topic);
        for (size_t i = 0; i < event->message.n_recipients; i++)
            say(l, " %d:q%u", (int)event->message.recipients[i].client,
                event->message.recipients[i].qos);
        if (event->message.journal != 0)
            say(l, " j%d", (int)event->message.journal);
        break;
    }
}

static void take(struct router_life *l)
{
    struct sn_request request;
    unsigned broker;
    while (router_peek_request(l->r, &broker, &request)) {
        say_request(l, broker, &request);
        router_done_request(l->r);
    }
    struct sn_event event;
    while (router_peek_event(l->r, &event)) {
        say_event(l, &event);
        router_done_event(l->r);
    }
    ck_assert_int_gt(router_next_deadline(l->r), l->now_ms);
}

void router_begin(struct router_life *l, struct router_config config)
{
    *l = (struct router_life){.now_ms = 1000, .n_brokers = config.n_brokers};
    config.hash_seed = (struct hash_seed){.k0 = 1, .k1 = 2};
    config.journal = true;
    l->r = router_new(&config, l->now_ms);
    ck_assert_ptr_nonnull(l->r);
}

void router_end(struct router_life *l)
{
    router_free(l->r);
}

const char *router_said(struct router_life *l)
{
    static char text[ROUTER_TEXT];
    memcpy(text, l->said, l->len);
    text[l->len] = '\0';
    l->len = 0;
    l->said[0] = '\0';
    return text;
}

void router_pass_time(struct router_life *l, int64_t ms)
{
    l->now_ms += ms;
    router_advance(l->r, l->now_ms);
    take(l);
}

void router_changes(struct router_life *l, const struct router_config *config)
{
    ck_assert_int_eq(router_configure(l->r, l->now_ms, config), 0);
    take(l);
}

static void ask(struct router_life *l, const struct sn_request *request)
{
    router_request(l->r, l->now_ms, request);
    take(l);
}

static void hear(struct router_life *l, unsigned broker, const struct sn_event *event)
{
    router_event(l->r, l->now_ms, broker, event);
    take(l);
}

static struct sn_will_view will_of(const char *topic)
{
    if (topic == NULL)
        return (struct sn_will_view){0};
    return (struct sn_will_view){.topic = bytes_str(topic), .qos = 1};
}

void router_opens(struct router_life *l, uint64_t client, const char *id, bool clean,
                  const char *will, uint16_t link)
{
    struct peer_room room;
    const struct peer *peer = peer_make(&room, link, PEER_SERIAL, bytes_of(NULL, 0));
    ask(l, &(struct sn_request){
               .type = SN_REQ_OPEN,
               .client = client,
               .token = 1,
               .open = {.client_id = bytes_str(id),
                        .clean = clean,
                        .max_subscriptions = 8,
                        .will = will_of(will),
                        .peer = peer}
    });
}

void router_closes(struct router_life *l, uint64_t client, enum sn_close_how how, bool discard)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_CLOSE, .client = client, .close = {.how = how, .discard = discard}
    });
}

void router_publishes(struct router_life *l, uint64_t client, const char *topic, uint8_t qos)
{
    struct peer_room room;
    const struct peer *peer = peer_make(&room, 1, PEER_SERIAL, bytes_of(NULL, 0));
    ask(l, &(struct sn_request){
               .type = SN_REQ_PUBLISH,
               .client = client,
               .token = client != SN_NO_CLIENT ? 5 : 0,
               .publish = {.topic = bytes_str(topic),
                           .qos = qos,
                           .peer = client == SN_NO_CLIENT ? peer : NULL}
    });
}

void router_subscribes(struct router_life *l, uint64_t client, const char *filter, uint8_t qos)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_SUBSCRIBE,
               .client = client,
               .token = 7,
               .subscribe = {.filter = bytes_str(filter), .qos = qos}
    });
}

void router_unsubscribes(struct router_life *l, uint64_t client, const char *filter)
{
    ask(l, &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                .client = client,
                                .token = 8,
                                .unsubscribe = {.filter = bytes_str(filter)}});
}

void router_sets_will(struct router_life *l, uint64_t client, const char *topic)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_SET_WILL, .client = client, .set_will = {.will = will_of(topic)}});
}

static struct router_asked answered(struct router_life *l, unsigned broker,
                                    enum sn_request_type type)
{
    for (size_t i = 0; i < l->n_asked; i++) {
        const struct router_asked found = l->asked[i];
        if (found.broker != broker || found.type != type)
            continue;
        l->n_asked--;
        memmove(&l->asked[i], &l->asked[i + 1], (l->n_asked - i) * sizeof l->asked[0]);
        return found;
    }
    ck_abort_msg("broker %u was not asked that: type %d", broker, (int)type);
    return (struct router_asked){0};
}

static void reply(struct router_life *l, unsigned broker, enum sn_request_type type,
                  enum sn_outcome outcome, uint8_t granted, bool present)
{
    const struct router_asked q = answered(l, broker, type);
    struct sn_event event = {.client = q.client, .token = q.token, .outcome = outcome};
    if (type == SN_REQ_OPEN) {
        event.type = SN_EV_OPENED;
        event.opened.session_present = present;
    } else if (type == SN_REQ_PUBLISH) {
        event.type = SN_EV_PUBLISHED;
        event.published.qos = q.qos;
    } else {
        event.type = SN_EV_SUBSCRIBED;
        event.subscribed.granted = granted < q.qos ? granted : q.qos;
    }
    hear(l, broker, &event);
}

void router_answers(struct router_life *l, unsigned broker, enum sn_request_type type,
                    enum sn_outcome outcome)
{
    reply(l, broker, type, outcome, 2, false);
}

void router_grants(struct router_life *l, unsigned broker, uint8_t qos)
{
    reply(l, broker, SN_REQ_SUBSCRIBE, SN_OK, qos, false);
}

void router_takes(struct router_life *l, unsigned broker, bool session_present)
{
    reply(l, broker, SN_REQ_OPEN, SN_OK, 0, session_present);
}

void router_reaches(struct router_life *l, unsigned broker, bool up, bool accepting)
{
    hear(l, broker,
         &(struct sn_event){
             .type = SN_EV_UPSTREAM, .upstream = {.up = up, .accepting = accepting}
    });
}

void router_opened(struct router_life *l, uint64_t client, const char *id)
{
    for (unsigned b = 0; b < l->n_brokers; b++)
        router_reaches(l, b, true, false);
    router_opens(l, client, id, false, NULL, 0);
    while (l->n_asked > 0)
        router_takes(l, l->asked[0].broker, false);
    router_said(l);
}

void router_tells(struct router_life *l, unsigned broker, const char *topic, uint8_t qos,
                  uint64_t journal, const uint64_t *clients, size_t n)
{
    struct sn_recipient to[16];
    ck_assert_uint_le(n, 16);
    for (size_t i = 0; i < n; i++)
        to[i] = (struct sn_recipient){.client = clients[i], .delivery_id = 3, .qos = qos};
    hear(l, broker,
         &(struct sn_event){
             .type = SN_EV_MESSAGE,
             .message = {.topic = bytes_str(topic),
                         .journal = journal,
                         .recipients = to,
                         .n_recipients = n}
    });
}

const char *router_records(struct router_life *l)
{
    static char text[ROUTER_TEXT];
    size_t len = 0;
    struct sn_record r;
    text[0] = '\0';
    while (router_peek_record(l->r, &r)) {
        const bool gone = r.type == SN_REC_SUBSCRIPTION_GONE;
        ck_assert(gone || r.type == SN_REC_SUBSCRIPTION);
        const int n = snprintf(text + len, sizeof text - len, "%s%c%d %.*s", len > 0 ? ", " : "",
                               gone ? '-' : '+', (int)r.client, (int)r.subscription.filter.len,
                               (const char *)r.subscription.filter.data);
        ck_assert(n > 0 && (size_t)n < sizeof text - len);
        len += (size_t)n;
        if (!gone)
            len += (size_t)snprintf(text + len, sizeof text - len, " q%u", r.subscription.qos);
        router_done_record(l->r);
    }
    return text;
}
