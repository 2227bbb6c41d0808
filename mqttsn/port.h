/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between MQTT-SN and MQTT: values only, no functions.
 *
 * The engine speaks to the broker side as if every node had an MQTT session of its own. It emits
 * requests and is fed events; which kind of session lies behind (one shared by all nodes, or one
 * per node) it never learns. Both sides are machines, so nothing here blocks or calls back.
 *
 * A client is named by a 48-bit key: bits 0-23 slot (dense, small), bits 24-47 generation. It
 * belongs to the *session*: it stays the same over disconnections while the session is stored, and
 * a session that was discarded never comes back under its key, so late answers cannot hit a
 * successor. 0 is "no client": publications that belong to nobody (QoS -1 of an unknown talker).
 *
 * A token is chosen by the requester and returned with the answer; 16 bits, unique among the open
 * requests of that client and kind.
 */
#ifndef SENNET_MQTTSN_PORT_H
#define SENNET_MQTTSN_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/body.h"
#include "base/bytes.h"
#include "base/peer.h"

enum { SN_NO_CLIENT = 0, SN_CLIENT_KEY_BITS = 48, SN_CLIENT_SLOT_BITS = 24 };

/* Dense index of a client, for O(1) tables on the broker side. */
static inline uint32_t sn_client_slot(uint64_t client)
{
    return (uint32_t)(client & ((1U << SN_CLIENT_SLOT_BITS) - 1));
}

/* A will as MQTT knows it. `topic.len` 0 means "no will". `body` may be NULL (empty message). */
struct sn_will_view {
    struct bytes topic;
    struct body *body;
    uint8_t qos; /* 0..2 */
    bool retain;
};

/* ---- engine -> broker side ------------------------------------------------------------------- */

enum sn_request_type {
    SN_REQ_OPEN,      /* answered by SN_EV_OPENED; when refused, CLOSE follows all the same. Of a
                       * restored session (sn_engine_restored()) it comes again instead, when the
                       * broker is reachable */
    SN_REQ_PUBLISH,   /* QoS 1, 2: answered by SN_EV_PUBLISHED. QoS 0: answered only when refused */
    SN_REQ_SUBSCRIBE, /* answered by SN_EV_SUBSCRIBED */
    SN_REQ_UNSUBSCRIBE, /* answered by SN_EV_UNSUBSCRIBED, always */
    SN_REQ_SET_WILL,    /* not answered */
    SN_REQ_DELIVERED,   /* not answered: the node has the message, or it was dropped by policy */
    SN_REQ_CLOSE,       /* not answered; with `discard` the key is dead afterwards */
};

/* How a connection ended. */
enum sn_close_how {
    SN_CLOSE_NORMAL, /* the node disconnected: no will */
    SN_CLOSE_LOST,   /* supervision or takeover of the address: the will is due */
};

/* Views and bodies are valid until the request is done; whoever keeps them copies or references. */
struct sn_request {
    enum sn_request_type type;
    uint64_t client;
    uint16_t token; /* OPEN, PUBLISH, SUBSCRIBE, UNSUBSCRIBE */

    union {
        struct {
            struct bytes client_id;
            bool clean; /* a new session; else resume the stored one of this key, if any */
            uint16_t keep_alive_s;
            uint32_t max_subscriptions; /* more filters than this are refused as busy */
            struct sn_will_view will;
            const struct peer *peer; /* for identities and logs; NULL: unknown */
        } open;

        struct {
            struct bytes topic; /* valid MQTT topic name: UTF-8, no wildcard, not empty */
            struct body *body;  /* NULL = empty */
            uint8_t qos;        /* 0..2 */
            bool retain;
            const struct peer *peer; /* of SN_NO_CLIENT: who talks; else NULL */
        } publish;

        struct {
            struct bytes filter; /* valid MQTT topic filter */
            uint8_t qos;         /* 0..2 */
        } subscribe;

        struct {
            struct bytes filter;
        } unsubscribe;

        struct {
            struct sn_will_view will;
        } set_will;

        struct {
            uint32_t delivery_id;
            bool dropped; /* by policy, counted by the engine */
        } delivered;

        struct {
            enum sn_close_how how;
            bool discard; /* the session state goes too (clean session, or expired) */
        } close;
    };
};

/* ---- broker side -> engine ------------------------------------------------------------------- */

enum sn_event_type {
    SN_EV_UPSTREAM, /* the broker became reachable or unreachable, or what is done meanwhile */
    SN_EV_OPENED,
    SN_EV_PUBLISHED,
    SN_EV_SUBSCRIBED,
    SN_EV_UNSUBSCRIBED,
    SN_EV_MESSAGE,
    SN_EV_CLOSED, /* the broker side ended the session: the node gets DISCONNECT, a sleeper when it
                   * wakes */
};

/* Outcome of a request, as far as MQTT-SN return codes can tell it (section 5.3.10). */
enum sn_outcome {
    SN_OK,
    SN_REFUSED_BUSY,  /* broker away, queue full, quota: the node is told "congestion" */
    SN_REFUSED_NEVER, /* not authorised, invalid: the node is told "not supported" */
    SN_IN_DOUBT,      /* QoS 2 lost its connection half way: stay silent, an answer will follow */
};

/* One recipient of a message: the engine delivers at `qos` with `retain` as given. */
struct sn_recipient {
    uint64_t client;
    uint32_t delivery_id; /* answered by SN_REQ_DELIVERED; 0: no answer wanted */
    uint8_t qos;          /* min(message, granted) */
    bool retain;          /* a retained copy, sent because of a subscription */
};

struct sn_event {
    enum sn_event_type type;
    uint64_t client;         /* all but UPSTREAM and MESSAGE */
    uint16_t token;          /* OPENED, PUBLISHED, SUBSCRIBED, UNSUBSCRIBED */
    enum sn_outcome outcome; /* OPENED, PUBLISHED, SUBSCRIBED */

    union {
        struct {
            bool up;
            bool accepting; /* though it is not: sessions and publications are taken */
        } upstream;

        struct {
            bool session_present;
        } opened;

        struct {
            uint8_t qos; /* of the PUBLISH that this answers */
        } published;

        struct {
            uint8_t granted;
        } subscribed;

        struct {
            struct bytes topic;
            struct body *body; /* NULL = empty */
            uint64_t journal;  /* number under which it is stored, or 0 */
            uint32_t expiry_s; /* not worth delivering after so long; 0: it always is */
            const struct sn_recipient *recipients; /* all borrowed for the call */
            size_t n_recipients;
        } message;
    };
};

#endif
