/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must survive the process, as values: the seam between the machines (engine, shared session,
 * spool) and the store. No functions.
 *
 * A machine whose configuration says `journal` emits a record for every change of what a restart
 * must not lose (docs/adr/0012). Feeding the stored records to the restore entries of a new machine
 * brings it back to where the old one was. A record is an upsert of one row, or its deletion
 * (..._GONE); rows are small, so a changed row is written whole.
 *
 * Batches. All records of one turn of the loop are one batch, which is committed as a whole or not
 * at all; batches are numbered from 1 and committed in order. What a machine tells the outside and
 * could not tell again after a restart names the batch that must be committed before (`after` in
 * struct sn_outgoing; 0: none), and there are records in that. Whoever carries outputs holds them back
 * until then.
 */
#ifndef SENNET_MQTTSN_RECORD_H
#define SENNET_MQTTSN_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/body.h"
#include "base/bytes.h"
#include "base/peer.h"

#include "mqttsn/port.h"

enum sn_record_type {
    /* The engine's. */
    SN_REC_SESSION,
    SN_REC_SESSION_GONE, /* and every other row under that key, but SPOOL */
    SN_REC_TOPIC,
    SN_REC_TOPIC_GONE,
    SN_REC_EXCHANGE, /* QoS 2 from a node, from the PUBLISH to the PUBREL */
    SN_REC_EXCHANGE_GONE,
    SN_REC_DELIVERY, /* a message of QoS 1 or 2 that waits for a node */
    SN_REC_DELIVERY_GONE,

    /* The shared session's. */
    SN_REC_SUBSCRIPTION,
    SN_REC_SUBSCRIPTION_GONE,

    /* The spool's. */
    SN_REC_SPOOL, /* a message of a node that the gateway has taken over from it */
    SN_REC_SPOOL_GONE,

    /* The pump's: the message of that journal number is with all who get it: in its DELIVERY rows
     * of the same batch, or with nobody. */
    SN_REC_ROUTED,
    SN_REC_COUNT
};

enum sn_kept_state {
    SN_KEPT_AWAY,   /* stored, its node is not connected */
    SN_KEPT_ACTIVE, /* connected */
    SN_KEPT_ASLEEP, /* or awake for a moment */
};

/* Where the exchange stands that brings a message to a node. */
enum sn_kept_phase {
    SN_KEPT_WAITING,  /* nothing that binds us was sent; QoS 1 stays here all the time */
    SN_KEPT_SENT,     /* PUBLISH of QoS 2 went out under msg_id, perhaps */
    SN_KEPT_RECEIVED, /* PUBREC has come: only PUBREL may be sent for it */
};

/* Views, the peer and bodies are valid until the record is done. */
struct sn_record {
    enum sn_record_type type;
    uint64_t client; /* key (port.h); SPOOL: whose message it is, SN_NO_CLIENT of none */

    union {
        struct {
            struct bytes client_id;
            const struct peer *peer; /* NULL: unknown */
            enum sn_kept_state state;
            bool clean;
            uint16_t keep_alive_s;
            uint16_t sleep_s;
            uint16_t next_msg_id; /* no later one has been used for a request of ours */
            uint16_t connection;  /* counts them; the latest that was accepted */
            struct sn_will_view will;
        } session;

        struct {
            uint16_t topic_id; /* normal topic id; the row's second key */
            struct bytes name;
            uint16_t alias; /* as the client subscribed to it: */
            uint8_t kind;   /* enum sn_topic_kind, and its id or short name in `alias` */
            bool given;     /* the client asked for the id, or has used it */
            /* Connection in which it was last told the id, or refused to be; 0: none. */
            uint16_t known_in;
            uint16_t refused_in;
        } topic; /* TOPIC_GONE: topic_id only */

        struct {
            uint16_t msg_id; /* the row's second key */
            uint16_t topic_id;
            uint64_t print; /* of topic and data, by a seed that is stored (sn_engine_config) */
        } exchange;         /* EXCHANGE_GONE: msg_id only */

        struct {
            uint64_t number;  /* the row's second key; ascending in the order of delivery */
            uint64_t journal; /* of the stored message, or 0: then the row brings its own copy */
            struct bytes topic;
            struct body *body;
            int64_t expires_ms; /* of the engine's clock: not worth delivering any more; 0: never */
            uint8_t qos;        /* 1, 2 */
            bool retain;
            enum sn_kept_phase phase;
            uint16_t msg_id; /* of SENT and RECEIVED */
        } delivery;          /* DELIVERY_GONE: number only */

        struct {
            struct bytes filter; /* the row's second key */
            uint8_t qos;         /* granted */
        } subscription;          /* SUBSCRIPTION_GONE: filter only */

        struct {
            uint64_t
                number; /* the row's key: never used twice, ascending in the order of arrival */
            struct bytes topic;
            struct body *body;
            uint8_t qos; /* 0..2 */
            bool retain;
            bool will; /* the will of a lost node */
        } spool;       /* SPOOL_GONE: number only */

        struct {
            uint64_t journal;
        } routed;
    };
};

#endif
