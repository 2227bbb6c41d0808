/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/shared_life.h"

#include <stdio.h>
#include <string.h>

#include <check.h>

static void copy_text(char out[TEXT], struct bytes text)
{
    snprintf(out, TEXT, "%.*s", (int)text.len, (const char *)text.data);
}

void life_take(struct life *l)
{
    struct sn_event event;
    while (shared_peek_event(l->s, &event)) {
        ck_assert(l->n_events < EVENTS);
        if (event.type == SN_EV_MESSAGE) {
            l->n_recipients = event.message.n_recipients;
            memcpy(l->recipients, event.message.recipients,
                   l->n_recipients * sizeof *l->recipients);
        }
        l->events[l->n_events++] = event;
        shared_done_event(l->s);
    }
    struct up_request request;
    while (shared_peek_upstream(l->s, &request)) {
        ck_assert(l->n_requests < REQUESTS);
        copy_text(l->topics[l->n_requests], request.topic);
        request.body = NULL;
        l->requests[l->n_requests++] = request;
        shared_done_upstream(l->s);
    }
}

void life_look_away(struct life *l)
{
    l->n_requests = 0;
    l->n_events = 0;
    l->n_recipients = 0;
}

struct life life_begin(void)
{
    struct shared_config config = shared_defaults();
    config.journal = true;
    config.hash_seed = (struct hash_seed){.k0 = 1, .k1 = 2};
    struct life l = {.now_ms = 1000};
    l.s = shared_new(&config, l.now_ms);
    ck_assert_ptr_nonnull(l.s);
    return l;
}

void life_hear(struct life *l, const struct up_event *event)
{
    shared_upstream(l->s, l->now_ms, event);
    life_take(l);
}

void life_connect_broker(struct life *l, bool session_present)
{
    life_hear(l, &(struct up_event){.type = UP_CONNECTED, .session_present = session_present});
}

void life_ask(struct life *l, const struct sn_request *request)
{
    shared_request(l->s, l->now_ms, request);
    life_take(l);
}

void life_open_node(struct life *l, uint64_t client, bool clean)
{
    life_ask(l, &(struct sn_request){
                    .type = SN_REQ_OPEN,
                    .client = client,
                    .token = 9,
                    .open = {.clean = clean, .max_subscriptions = 100}
    });
}

void life_subscribe(struct life *l, uint64_t client, const char *filter, uint8_t qos)
{
    life_ask(l, &(struct sn_request){
                    .type = SN_REQ_SUBSCRIBE,
                    .client = client,
                    .token = 7,
                    .subscribe = {.filter = bytes_str(filter), .qos = qos}
    });
}

/* The broker grants QoS 2 to all SUBSCRIBEs since the test last looked. */
void life_grant(struct life *l)
{
    const unsigned n = l->n_requests;
    for (unsigned i = 0; i < n; i++) {
        const struct up_request r = l->requests[i];
        if (r.type == UP_SUBSCRIBE)
            life_hear(l, &(struct up_event){.type = UP_SUBSCRIBED, .token = r.token, .qos = 2});
        if (r.type == UP_UNSUBSCRIBE)
            life_hear(l, &(struct up_event){.type = UP_UNSUBSCRIBED, .token = r.token});
    }
}

void life_unsubscribe(struct life *l, uint64_t client, const char *filter)
{
    life_ask(l, &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                     .client = client,
                                     .token = 8,
                                     .unsubscribe = {.filter = bytes_str(filter)}});
}

/* "+N filter QoS" and "-N filter", joined by commas. */
const char *life_records(struct life *l)
{
    static char text[1024];
    size_t len = 0;
    struct sn_record r;
    text[0] = '\0';
    while (shared_peek_record(l->s, &r)) {
        char filter[TEXT];
        copy_text(filter, r.subscription.filter);
        const bool gone = r.type == SN_REC_SUBSCRIPTION_GONE;
        ck_assert(gone || r.type == SN_REC_SUBSCRIPTION);
        const size_t room = sizeof text - len;
        const char *const comma = len > 0 ? ", " : "";
        const char qos[] = {' ', (char)('0' + r.subscription.qos), '\0'};
        const int n = snprintf(text + len, room, "%s%c%d %s%s", comma, gone ? '-' : '+',
                               (int)r.client, filter, gone ? "" : qos);
        ck_assert(n > 0 && (size_t)n < room);
        len += (size_t)n;
        shared_done_record(l->s);
    }
    return text;
}

bool life_asked_for(const struct life *l, enum up_request_type type, const char *topic)
{
    bool found = false;
    for (unsigned i = 0; i < l->n_requests; i++)
        found = found || (l->requests[i].type == type && strcmp(l->topics[i], topic) == 0);
    return found;
}

const struct sn_event *life_event_of(const struct life *l, enum sn_event_type type)
{
    for (unsigned i = 0; i < l->n_events; i++) {
        if (l->events[i].type == type)
            return &l->events[i];
    }
    return NULL;
}

void life_message(struct life *l, const char *topic, uint8_t qos, bool retain, uint64_t journal)
{
    life_hear(l, &(struct up_event){.type = UP_MESSAGE,
                                    .topic = bytes_str(topic),
                                    .qos = qos,
                                    .retain = retain,
                                    .journal = journal});
}

int life_restore(struct life *l, uint64_t client, const char *filter, uint8_t qos)
{
    return shared_restore(l->s, &(struct sn_record){
                                    .type = SN_REC_SUBSCRIPTION,
                                    .client = client,
                                    .subscription = {.filter = bytes_str(filter), .qos = qos}
    });
}
