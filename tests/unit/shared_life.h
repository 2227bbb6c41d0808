/* SPDX-License-Identifier: Apache-2.0 */
/* One life of a shared session, driven by hand, and what came out of it since the test last looked.
 */
#ifndef SENNET_TESTS_UNIT_SHARED_LIFE_H
#define SENNET_TESTS_UNIT_SHARED_LIFE_H

#include "broker/shared.h"

enum { NODE = 1, OTHER = 2, REQUESTS = 64, EVENTS = 64, TEXT = 64 };

struct life {
    struct shared *s;
    int64_t now_ms;
    struct up_request requests[REQUESTS];
    char topics[REQUESTS][TEXT];
    unsigned n_requests;
    struct sn_event events[EVENTS];
    unsigned n_events;
    struct sn_recipient recipients[8]; /* of the latest message */
    size_t n_recipients;
};

/* Takes events and requests. */
void life_take(struct life *l);

/* Forgets what came out. */
void life_look_away(struct life *l);

/* With a journal. */
struct life life_begin(void);
void life_hear(struct life *l, const struct up_event *event);
void life_connect_broker(struct life *l, bool session_present);
void life_ask(struct life *l, const struct sn_request *request);
void life_open_node(struct life *l, uint64_t client, bool clean);
void life_subscribe(struct life *l, uint64_t client, const char *filter, uint8_t qos);

/* The broker grants QoS 2 to all SUBSCRIBEs since the test last looked. */
void life_grant(struct life *l);
void life_unsubscribe(struct life *l, uint64_t client, const char *filter);

/* Takes them: "+N filter QoS" and "-N filter", joined by commas. */
const char *life_records(struct life *l);
bool life_asked_for(const struct life *l, enum up_request_type type, const char *topic);

/* The first of that type since the test last looked, or NULL. */
const struct sn_event *life_event_of(const struct life *l, enum sn_event_type type);
void life_message(struct life *l, const char *topic, uint8_t qos, bool retain, uint64_t journal);
int life_restore(struct life *l, uint64_t client, const char *filter, uint8_t qos);

#endif
