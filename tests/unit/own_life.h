/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a client's own session, driven by hand. What comes out is told as text:
 *
 *     connect clean will=t q1; disconnect; abort      commands
 *     pub t q1; pub t q0 will; sub f q2; unsub f      requests for the connection
 *     opened ok present; published 5 doubt; subscribed 7 q1; unsubscribed 8; closed; message t q1 r j9
 */
#ifndef SENNET_TESTS_UNIT_OWN_LIFE_H
#define SENNET_TESTS_UNIT_OWN_LIFE_H

#include "broker/own.h"

enum { OWN_KEY = 1 << 24, OWN_TEXT = 2048, OWN_ASKED_MAX = 64 };

struct own_life {
    struct own *o;
    int64_t now_ms;
    char said[OWN_TEXT];
    size_t len;
    struct up_request asked[OWN_ASKED_MAX]; /* not answered */
    unsigned n_asked;
};

struct own_life own_begin(void);
struct own_life own_begin_with(struct own_config config);
void own_end(struct own_life *l);
/* What it has said since the last time. */
const char *own_said(struct own_life *l);
void own_pass_time(struct own_life *l, int64_t ms);

/* Requests of the engine. Tokens: OPEN 1, PUBLISH 5, SUBSCRIBE 7, UNSUBSCRIBE 8. */
void own_opens(struct own_life *l, uint64_t key, bool clean, const char *will);
void own_closes(struct own_life *l, enum sn_close_how how, bool discard);
void own_publishes(struct own_life *l, const char *topic, uint8_t qos);
void own_subscribes(struct own_life *l, const char *filter, uint8_t qos);
void own_unsubscribes(struct own_life *l, const char *filter);
void own_sets_will(struct own_life *l, const char *topic);

/* What the connection says. */
void own_hears(struct own_life *l, const struct up_event *event);
void own_connects(struct own_life *l, bool session_present);
void own_is_refused(struct own_life *l, uint8_t code);
/* It is lost, and so are all answers: UP_BUSY. */
void own_loses(struct own_life *l);
/* Answers the oldest request. */
void own_answers(struct own_life *l, enum up_result result, uint8_t qos);
void own_tells(struct own_life *l, const char *topic, uint8_t qos, bool retain, uint64_t journal);
void own_is_accepting(struct own_life *l, bool accepting);
void own_has_backlog(struct own_life *l, uint64_t messages);
/* Open and connected; what was said is forgotten. */
struct own_life own_opened(bool clean, const char *will);
/* "+a/b q1, -c": the records since the last time. */
const char *own_records(struct own_life *l);
int own_restores(struct own_life *l, const char *filter, uint8_t qos);

#endif
