/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker side of fuzz_engine. The seam sees every request and event between engine and broker
 * side and holds both to mqttsn/port.h; whoever answers takes what is open from its list. Behind
 * the shared session stands an MQTT connection with a broker that knows what it was told.
 */
#ifndef SENNET_TESTS_FUZZ_ENGINE_SEAM_H
#define SENNET_TESTS_FUZZ_ENGINE_SEAM_H

#include "broker/shared.h"
#include "broker/shared_priv.h"
#include "mqttsn/engine_priv.h"

enum { SEAM_SLOTS = 32, SEAM_ASKS = 600, SEAM_DELIVERIES = 2048 };

/* ---- requests of the engine ------------------------------------------------------------------ */

struct seam_session {
    uint64_t key;        /* latest of the slot; 0 = none yet */
    bool open;           /* OPEN, and no CLOSE since */
    bool accepted;       /* some OPEN was answered with yes */
    bool dead;           /* CLOSE with discard */
    bool ended;          /* the broker side ended it: CLOSED */
    bool must_close;     /* the latest OPEN was refused */
    uint16_t open_token; /* of the latest OPEN */
};

struct seam_ask {
    enum sn_request_type type;
    uint64_t client;
    uint16_t token;
    uint8_t qos;
    bool in_doubt;
};

struct seam_delivery {
    uint64_t client;
    uint32_t id;
};

struct seam {
    struct seam_session sessions[SEAM_SLOTS];
    struct seam_ask asks[SEAM_ASKS];
    size_t n_asks;
    struct seam_delivery deliveries[SEAM_DELIVERIES];
    size_t n_deliveries;
    bool trace;
};

/* A request that is being taken. */
void seam_request(struct seam *s, const struct sn_request *r);
/* An event on its way to the engine: an answer must be due. `bogus` ones need not be. */
void seam_event(struct seam *s, const struct sn_event *event);
/* Everything that wants an answer has got it, but for sessions that are dead. */
void seam_all_answered(const struct seam *s);
/* A message of which the broker side wants to know what became of it. */
void seam_delivery(struct seam *s, uint64_t client, uint32_t id);

/* ---- the MQTT connection --------------------------------------------------------------------- */

enum { BROKER_ASKS = 600, BROKER_FILTERS = 128 };

struct broker_ask {
    enum up_request_type type;
    uint64_t token;
    struct body *filter;
    uint8_t qos;
    bool in_doubt;
    uint32_t connection; /* in which it was sent; 0 = none */
};

struct broker {
    bool up;
    bool refused; /* some SUBSCRIBE was, so a filter may be missing */
    bool trace;
    uint32_t connection;
    struct broker_ask asks[BROKER_ASKS];
    size_t n_asks;
    struct body *filters[BROKER_FILTERS]; /* what it is subscribed to */
    size_t n_filters;
};

/* A request that is being taken. */
void broker_request(struct broker *b, const struct up_request *r);
/* Comes or goes. False: nothing changes. */
bool broker_connection(struct broker *b, bool up, bool session_present, struct up_event *event);
/* An open request that went down with the connection and has not been answered, or n_asks. A
 * connection answers those before it comes back. */
size_t broker_lost(const struct broker *b);
/* Answers the open request `which` as `result` says, as far as that is possible. False: no event. */
bool broker_answer(struct broker *b, size_t which, enum up_result result, struct up_event *event);
/* It has exactly the filters that some session wants and no other one covers, but for those that it
 * refused. */
void broker_agrees(const struct broker *b, const struct shared *s);
void broker_deinit(struct broker *b);

#endif
