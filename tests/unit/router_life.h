/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a router, driven by hand. What comes out is told as text, so that a test says wholly
 * what it expects:
 *
 *     0:open 1; 1:open 1 clean will=a/b q1r   requests: broker, verb, client, what
 *     0:pub 1 t q1; 0:sub 1 a/# q2; 0:unsub 1 a/#; 0:close 1 lost discard; 0:will 1 none
 *     opened ok; published 5 never; subscribed 7 q1; unsubscribed 7; closed 1    events, by token
 *     message t 1:q1 2:q0 j9                  with its recipients, and its journal number
 *     up; accepting; down
 */
#ifndef SENNET_TESTS_UNIT_ROUTER_LIFE_H
#define SENNET_TESTS_UNIT_ROUTER_LIFE_H

#include "broker/router.h"

enum { ROUTER_TEXT = 4096, ROUTER_OPEN_MAX = 256 };

/* A request that the test has not answered. */
struct router_asked {
    unsigned broker;
    enum sn_request_type type;
    uint64_t client;
    uint16_t token;
    uint8_t qos;
};

struct router_life {
    struct router *r;
    unsigned n_brokers;
    int64_t now_ms;
    char said[ROUTER_TEXT];
    size_t len;
    struct router_asked asked[ROUTER_OPEN_MAX];
    size_t n_asked;
};

void router_begin(struct router_life *l, struct router_config config);
void router_end(struct router_life *l);
/* Goes over to other routes and prefixes. */
void router_changes(struct router_life *l, const struct router_config *config);
/* What it has said since the last time. */
const char *router_said(struct router_life *l);
void router_pass_time(struct router_life *l, int64_t ms);

/* Requests of the engine. Tokens: OPEN 1, PUBLISH 5, SUBSCRIBE 7, UNSUBSCRIBE 8. */
void router_opens(struct router_life *l, uint64_t client, const char *id, bool clean,
                  const char *will, uint16_t link);
void router_closes(struct router_life *l, uint64_t client, enum sn_close_how how, bool discard);
void router_publishes(struct router_life *l, uint64_t client, const char *topic, uint8_t qos);
void router_subscribes(struct router_life *l, uint64_t client, const char *filter, uint8_t qos);
void router_unsubscribes(struct router_life *l, uint64_t client, const char *filter);
void router_sets_will(struct router_life *l, uint64_t client, const char *topic);

/* Answers of brokers to the oldest open request of that kind. */
void router_answers(struct router_life *l, unsigned broker, enum sn_request_type type,
                    enum sn_outcome outcome);
/* The same with a granted QoS. */
void router_grants(struct router_life *l, unsigned broker, uint8_t qos);
/* The same with a session that is there or not. */
void router_takes(struct router_life *l, unsigned broker, bool session_present);
void router_reaches(struct router_life *l, unsigned broker, bool up, bool accepting);
/* All brokers up; the client open everywhere; what was said is forgotten. */
void router_opened(struct router_life *l, uint64_t client, const char *id);
void router_tells(struct router_life *l, unsigned broker, const char *topic, uint8_t qos,
                  uint64_t journal, const uint64_t *clients, size_t n);
/* "+1 a/b q1, -1 c": the records since the last time. */
const char *router_records(struct router_life *l);

#endif
