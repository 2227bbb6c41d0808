/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/own_life.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

__attribute__((format(printf, 2, 3))) static void say(struct own_life *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(l->said + l->len, sizeof l->said - l->len, format, args);
    va_end(args);
    ck_assert(n >= 0 && (size_t)n < sizeof l->said - l->len);
    l->len += (size_t)n;
}

static void begin_item(struct own_life *l)
{
    if (l->len > 0)
        say(l, "; ");
}

static void say_bytes(struct own_life *l, struct bytes text)
{
    say(l, "%.*s", (int)text.len, (const char *)text.data);
}

static void say_command(struct own_life *l, const struct own_command *c)
{
    static const char *const verbs[] = {"connect", "disconnect", "abort"};
    begin_item(l);
    say(l, "%s%s", verbs[c->type], c->clean ? " clean" : "");
    if (c->will.topic.len == 0)
        return;
    say(l, " will=");
    say_bytes(l, c->will.topic);
    say(l, " q%u%s", c->will.qos, c->will.retain ? "r" : "");
}

static void say_request(struct own_life *l, const struct up_request *r)
{
    static const char *const verbs[] = {"pub", "sub", "unsub"};
    begin_item(l);
    say(l, "%s ", verbs[r->type]);
    say_bytes(l, r->topic);
    if (r->type != UP_UNSUBSCRIBE)
        say(l, " q%u", r->qos);
    if (r->type == UP_PUBLISH) {
        ck_assert_uint_eq(r->client >> SN_CLIENT_KEY_BITS, 0);
        ck_assert_uint_ne(r->client, SN_NO_CLIENT);
        say(l, "%s%s", r->retain ? "r" : "", r->will ? " will" : "");
    }
    ck_assert_uint_lt(l->n_asked, OWN_ASKED_MAX);
    l->asked[l->n_asked++] = *r;
}

static void say_event(struct own_life *l, const struct sn_event *e)
{
    static const char *const outcomes[] = {"ok", "busy", "never", "doubt"};
    begin_item(l);
    switch (e->type) {
    case SN_EV_UPSTREAM:
        ck_abort_msg("not one client's affair");
        break;
    case SN_EV_OPENED:
        say(l, "opened %s%s", outcomes[e->outcome], e->opened.session_present ? " present" : "");
        break;
    case SN_EV_PUBLISHED:
        say(l, "published %u %s", e->token, outcomes[e->outcome]);
        break;
    case SN_EV_SUBSCRIBED:
        say(l, "subscribed %u ", e->token);
        if (e->outcome == SN_OK)
            say(l, "q%u", e->subscribed.granted);
        else
            say(l, "%s", outcomes[e->outcome]);
        break;
    case SN_EV_UNSUBSCRIBED:
        say(l, "unsubscribed %u", e->token);
        break;
    case SN_EV_CLOSED:
        say(l, "closed");
        break;
    case SN_EV_MESSAGE:
        ck_assert_uint_eq(e->message.n_recipients, 1);
        say(l, "message ");
        say_bytes(l, e->message.topic);
        say(l, " q%u%s", e->message.recipients[0].qos, e->message.recipients[0].retain ? " r" : "");
        if (e->message.journal != 0)
            say(l, " j%d", (int)e->message.journal);
        break;
    }
}

/* Requests before commands, as own.h has it. */
static void take(struct own_life *l)
{
    struct up_request request;
    while (own_peek_upstream(l->o, &request)) {
        say_request(l, &request);
        own_done_upstream(l->o);
    }
    struct own_command command;
    while (own_peek_command(l->o, &command)) {
        say_command(l, &command);
        if (command.type != OWN_CONNECT)
            l->n_asked = 0; /* nobody answers any more */
        own_done_command(l->o);
    }
    struct sn_event event;
    while (own_peek_event(l->o, &event)) {
        say_event(l, &event);
        own_done_event(l->o);
    }
    ck_assert_int_gt(own_next_deadline(l->o), l->now_ms);
}

struct own_life own_begin_with(struct own_config config)
{
    struct own_life l = {.now_ms = 100000};
    l.o = own_new(&config, OWN_KEY, l.now_ms);
    ck_assert_ptr_nonnull(l.o);
    return l;
}

struct own_life own_begin(void)
{
    return own_begin_with(
        (struct own_config){.log_level = LOG_INFO, .journal = true, .max_filters = 8});
}

void own_end(struct own_life *l)
{
    own_free(l->o);
}

const char *own_said(struct own_life *l)
{
    static char text[OWN_TEXT];
    memcpy(text, l->said, l->len);
    text[l->len] = '\0';
    l->len = 0;
    return text;
}

void own_pass_time(struct own_life *l, int64_t ms)
{
    l->now_ms += ms;
    own_advance(l->o, l->now_ms);
    take(l);
}

static void ask(struct own_life *l, const struct sn_request *request)
{
    own_request(l->o, l->now_ms, request);
    take(l);
}

static struct sn_will_view will_of(const char *topic)
{
    if (topic == NULL)
        return (struct sn_will_view){0};
    return (struct sn_will_view){.topic = bytes_str(topic), .qos = 1};
}

void own_opens(struct own_life *l, uint64_t key, bool clean, const char *will)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_OPEN,
               .client = key,
               .token = 1,
               .open = {.client_id = bytes_str("n"),
                        .clean = clean,
                        .max_subscriptions = 99,
                        .will = will_of(will)}
    });
}

void own_closes(struct own_life *l, enum sn_close_how how, bool discard)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_CLOSE, .client = OWN_KEY, .close = {.how = how, .discard = discard}
    });
}

void own_publishes(struct own_life *l, const char *topic, uint8_t qos)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_PUBLISH,
               .client = OWN_KEY,
               .token = 5,
               .publish = {.topic = bytes_str(topic), .qos = qos}
    });
}

void own_subscribes(struct own_life *l, const char *filter, uint8_t qos)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_SUBSCRIBE,
               .client = OWN_KEY,
               .token = 7,
               .subscribe = {.filter = bytes_str(filter), .qos = qos}
    });
}

void own_unsubscribes(struct own_life *l, const char *filter)
{
    ask(l, &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                .client = OWN_KEY,
                                .token = 8,
                                .unsubscribe = {.filter = bytes_str(filter)}});
}

void own_sets_will(struct own_life *l, const char *topic)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_SET_WILL, .client = OWN_KEY, .set_will = {.will = will_of(topic)}});
}

void own_hears(struct own_life *l, const struct up_event *event)
{
    own_upstream(l->o, l->now_ms, event);
    take(l);
}

void own_connects(struct own_life *l, bool session_present)
{
    own_hears(l, &(struct up_event){.type = UP_CONNECTED, .session_present = session_present});
}

void own_is_refused(struct own_life *l, uint8_t code)
{
    own_hears(l, &(struct up_event){.type = UP_DISCONNECTED, .refused = true, .code = code});
}

void own_loses(struct own_life *l)
{
    own_hears(l, &(struct up_event){.type = UP_DISCONNECTED});
    while (l->n_asked > 0)
        own_answers(l, UP_BUSY, 0);
}

void own_answers(struct own_life *l, enum up_result result, uint8_t qos)
{
    static const enum up_event_type types[] = {UP_PUBLISHED, UP_SUBSCRIBED, UP_UNSUBSCRIBED};

    ck_assert_uint_gt(l->n_asked, 0);
    const struct up_request r = l->asked[0];
    l->n_asked--;
    memmove(&l->asked[0], &l->asked[1], l->n_asked * sizeof l->asked[0]);
    own_hears(l, &(struct up_event){.type = types[r.type],
                                    .token = r.token,
                                    .result = result,
                                    .qos = r.type == UP_PUBLISH ? r.qos : qos});
}

void own_tells(struct own_life *l, const char *topic, uint8_t qos, bool retain, uint64_t journal)
{
    own_hears(l, &(struct up_event){.type = UP_MESSAGE,
                                    .topic = bytes_str(topic),
                                    .qos = qos,
                                    .retain = retain,
                                    .journal = journal});
}

void own_is_accepting(struct own_life *l, bool accepting)
{
    own_accepting(l->o, l->now_ms, accepting);
    take(l);
}

void own_has_backlog(struct own_life *l, uint64_t messages)
{
    own_backlog(l->o, l->now_ms, messages);
    take(l);
}

struct own_life own_opened(bool clean, const char *will)
{
    struct own_life l = own_begin();
    own_opens(&l, OWN_KEY, clean, will);
    own_connects(&l, false);
    own_said(&l);
    l.now_ms += 60000; /* it has lasted */
    return l;
}

const char *own_records(struct own_life *l)
{
    static char text[OWN_TEXT];
    size_t len = 0;
    struct sn_record r;
    text[0] = '\0';
    while (own_peek_record(l->o, &r)) {
        const bool gone = r.type == SN_REC_SUBSCRIPTION_GONE;
        ck_assert(gone || r.type == SN_REC_SUBSCRIPTION);
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%c%.*s", len > 0 ? ", " : "",
                                gone ? '-' : '+', (int)r.subscription.filter.len,
                                (const char *)r.subscription.filter.data);
        if (!gone)
            len += (size_t)snprintf(text + len, sizeof text - len, " q%u", r.subscription.qos);
        own_done_record(l->o);
    }
    return text;
}

int own_restores(struct own_life *l, const char *filter, uint8_t qos)
{
    return own_restore(l->o, &(struct sn_record){
                                 .type = SN_REC_SUBSCRIPTION,
                                 .client = OWN_KEY,
                                 .subscription = {.filter = bytes_str(filter), .qos = qos}
    });
}
