/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between a broker session (shared.h) and an MQTT connection (mqtt.h): values only.
 * The connection is Paho's in the daemon and a script in tests.
 */
#ifndef SENNET_BROKER_UPSTREAM_H
#define SENNET_BROKER_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/body.h"
#include "base/bytes.h"

/* Order. What the connection takes reaches the broker in that order, though QoS 2 apart from the
 * rest. Nothing overtakes what comes back UP_BUSY: from the loss of a connection on until the session
 * has heard UP_CONNECTED nothing is taken, and after a refusal nothing until it was heard. Lost
 * connections apart, `spooled` PUBLISHes are taken always: the spool's window bounds them. */

/* Tokens of PUBLISHes are client key and the engine's token; those without client are of QoS -1
 * (token 0) or wills. */
enum { UP_TOKEN_BITS = 16 };

/* Of one copy of a message; one with more counts as one without (copies.h). Identifiers are 1 to
 * 268435455. */
enum { UP_SUBSCRIPTIONS_MAX = 8, UP_SUBSCRIPTION_ID_MAX = 0x0FFFFFFF };

/* ---- session -> connection ------------------------------------------------------------------- */

enum up_request_type { UP_PUBLISH, UP_SUBSCRIBE, UP_UNSUBSCRIBE };

/* Borrowed until done; the connection copies the topic and references the body. */
struct up_request {
    enum up_request_type type;
    uint64_t token;        /* comes back with the answer */
    struct bytes topic;    /* name or filter */
    struct body *body;     /* PUBLISH; NULL = empty */
    uint8_t qos;           /* PUBLISH, SUBSCRIBE */
    bool retain;           /* PUBLISH */
    uint64_t spooled;      /* PUBLISH: its number in the spool, which comes back; 0: it is live */
    uint64_t client;       /* PUBLISH: whose it is, for the order (order.h); 0: nobody's */
    bool will;             /* PUBLISH: the client's will */
    uint32_t age_s;        /* PUBLISH: for how long it has been in the spool */
    uint32_t subscription; /* SUBSCRIBE: its identifier, where MQTT 5 is spoken; 0: none */
};

/* ---- connection -> session ------------------------------------------------------------------- */

enum up_event_type {
    UP_CONNECTED,    /* session_present tells whether the broker kept our subscriptions */
    UP_DISCONNECTED, /* also after each failed attempt; `why` is for people */
    UP_PUBLISHED,    /* every PUBLISH of QoS 1 and 2 exactly once, and so those of QoS 0 that are
                      * `spooled`; others of QoS 0 only when they failed */
    UP_SUBSCRIBED,
    UP_UNSUBSCRIBED,
    UP_MESSAGE,
};

enum up_result {
    UP_OK,
    UP_BUSY,     /* not sent: connection away or queue full */
    UP_REFUSED,  /* the broker said no */
    UP_IN_DOUBT, /* QoS 2 interrupted by a lost connection: another answer follows later; UP_BUSY
                  * when the broker has forgotten what it had of it */
};

struct up_event {
    enum up_event_type type;
    uint64_t token;        /* PUBLISHED, SUBSCRIBED, UNSUBSCRIBED */
    uint64_t spooled;      /* PUBLISHED: of the request; also of one from before a restart */
    enum up_result result; /* the same */
    bool session_present;  /* CONNECTED */
    uint8_t qos;           /* PUBLISHED, MESSAGE; SUBSCRIBED: granted */
    bool retain;           /* MESSAGE, and a PUBLISHED that is UP_BUSY */
    struct bytes topic;    /* the same: the message comes back with it, unless it is `spooled` */
    struct body *body;     /* the same; NULL = empty */
    uint64_t client;       /* a PUBLISHED that is UP_BUSY: of the request, ... */
    bool will;             /* ... as this */
    uint64_t journal;      /* MESSAGE: number under which it is stored; 0: it is not */
    /* MESSAGE: the identifiers of the subscriptions that this copy is for. 0 of them: not known. */
    uint32_t subscriptions[UP_SUBSCRIPTIONS_MAX];
    uint8_t n_subscriptions;
    uint32_t expiry_s;   /* MESSAGE: not worth delivering after so long; 0: it always is */
    const char *why;     /* DISCONNECTED; with UP_BUSY, if the broker said so: a constant */
    bool refused;        /* the same: the broker has answered, and its answer was no, ... */
    uint8_t code;        /* ... with this CONNACK return code (MQTT 5: reason code) */
    bool taken_over;     /* DISCONNECTED: another client has come with our client id */
    bool explained;      /* the same: it is known why it ended, and that nobody else has come */
    bool renews;         /* the same: ended by us, for another one that begins at once */
    const char *address; /* the same, and CONNECTED: of which of the broker's addresses; or NULL */
    uint8_t version;     /* CONNECTED: 5, or 4 for MQTT 3.1.1 */
};

#endif
