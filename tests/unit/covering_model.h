/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of test_covering.c: nodes with subscriptions, a connection that breaks, and a broker
 * that sends one copy of a message per matching subscription. Everything is told by matching names
 * one by one, without trees.
 */
#ifndef SENNET_TESTS_UNIT_COVERING_MODEL_H
#define SENNET_TESTS_UNIT_COVERING_MODEL_H

#include <check.h>

#include "base/rng.h"

#include "broker/shared.h"

enum { NODES = 4, WIRE = 4096, ASKS = 256, MAX_MS = 30000, FILTERS_MAX = 24, TOPICS = 22 };

/* Check keeps a record of every assertion, which is too much here. */
#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

extern const char *const model_topics[TOPICS];

/* As MQTT says. */
bool model_matches(const char *filter, const char *topic);
/* `wide` matches whatever `narrow` matches: it matches names with words that no filter names. */
bool model_covers(const char *wide, const char *narrow);

struct faults {
    bool refuse, less, forget, full, lose;
};

struct wire {
    struct up_request r;
    unsigned filter;
};

struct open_ask {
    bool open;
    unsigned node, filter;
    uint16_t token;
    uint32_t got; /* retained messages since */
};

struct model_sub {
    bool live;
    uint8_t granted;
    unsigned open_asks;
    int64_t asked_ms;
};

struct model {
    struct shared *s;
    struct rng rng;
    const char *const *names;
    unsigned n_names;
    struct faults faults;
    int64_t now_ms;
    bool up;
    unsigned tokens[WIRE]; /* filter of a token; they are small and come in order */
    uint64_t keys[NODES];
    bool open[NODES];
    uint16_t next_token;
    struct model_sub subs[NODES][FILTERS_MAX];
    struct open_ask asks[ASKS];
    unsigned n_asks;
    struct wire wire[WIRE]; /* on the way to the broker */
    unsigned n_wire;
    struct up_event inbox[WIRE]; /* on the way to the gateway */
    unsigned n_inbox;
    bool has[FILTERS_MAX]; /* the broker */
    uint8_t qos[FILTERS_MAX];
    uint8_t known[FILTERS_MAX]; /* what the latest SUBACK said that the session has heard */
    bool says_no[FILTERS_MAX];
    uint8_t grants[FILTERS_MAX];
    uint32_t to[NODES]; /* recipients of the latest message: bits of QoS */
};

bool model_chance(struct model *m, unsigned percent);
unsigned model_pick(struct model *m, unsigned n);

/* Takes events and requests of the session. */
void model_drain(struct model *m);
/* An event of the connection; afterwards `to` says who got the message. */
void model_upstream(struct model *m, const struct up_event *event);

/* The broker takes the next request; the session hears the next event. */
void model_broker_step(struct model *m);
void model_hear(struct model *m);
/* Some of what is on the way has reached the broker, but no answer comes back. */
void model_lose_connection(struct model *m);
/* The broker may have forgotten, or changed its mind about what it refuses and grants. */
void model_connect_again(struct model *m);

void model_open_node(struct model *m, unsigned n);
void model_close_node(struct model *m, unsigned n);
void model_node_subscribes(struct model *m, unsigned n, unsigned f);
void model_node_unsubscribes(struct model *m, unsigned n, unsigned f);

#endif
