/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small, pure MQTT-SN 1.2 client machine: what sennet-pub, sennet-sub and sennet-sim share.
 *
 * Same shape as the engine: bytes and time in, packets and events out, no I/O, clock or global. It
 * follows the duties of a client in the specification: one REGISTER, one SUBSCRIBE or UNSUBSCRIBE
 * and one QoS 1/2 PUBLISH open at a time, T_retry/N_retry on every request, DUP where defined,
 * pings at keep alive, answers to the gateway's REGISTER and PUBLISH, QoS 2 in both directions.
 */
#ifndef SENNET_TOOLS_CLIENT_H
#define SENNET_TOOLS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/clock.h"

#include "mqttsn/packet.h"

struct snc_options {
    const char *client_id;
    bool clean;
    uint16_t keep_alive_s;
    const char *will_topic; /* NULL = no will */
    struct bytes will_message;
    uint8_t will_qos;
    bool will_retain;
    int64_t retry_ms;     /* T_retry; 0: 10 s */
    unsigned retry_count; /* N_retry: repetitions after the first sending, usually 3 */
};

enum snc_event_type {
    SNC_CONNECTED,
    SNC_REFUSED,    /* CONNACK with return_code */
    SNC_REGISTERED, /* topic_id for the name of snc_register() */
    SNC_PUBLISHED,  /* QoS 1 and 2: complete, or refused with return_code; QoS 0: only refused */
    SNC_SUBSCRIBED, /* qos granted, topic_id, or refused with return_code */
    SNC_UNSUBSCRIBED,
    SNC_MESSAGE,      /* a publication for us; `topic` is its name when known */
    SNC_PONG,         /* PINGRESP */
    SNC_DISCONNECTED, /* by us (answered), or by the gateway */
    SNC_TIMEOUT,      /* a request was repeated N_retry times without answer: we are disconnected
                       * (or, when it was the ping of a sleeping client, asleep again) */
};

struct snc_event {
    enum snc_event_type type;
    uint8_t return_code;
    uint16_t msg_id;
    uint16_t topic_id;
    enum sn_topic_kind topic_kind;
    enum sn_qos qos;
    bool retain;
    bool dup;
    bool by_gateway;    /* DISCONNECTED: unasked */
    struct bytes topic; /* MESSAGE (empty for predefined ids), REGISTERED, SUBSCRIBED,
                         * UNSUBSCRIBED; borrowed until snc_done_event() */
    struct bytes data;  /* MESSAGE */
    int64_t took_ms;    /* all but MESSAGE, DISCONNECTED: since the first sending; a publication's
                         * own REGISTER counts */
    unsigned sendings;  /* PUBLISHED, TIMEOUT, ...: 1 when nothing had to be repeated */
};

/* A topic as the user names it. */
struct snc_topic {
    enum sn_topic_kind kind;
    uint16_t id;       /* PREDEFINED: the id; SHORT: the two octets; NORMAL: id if known, else 0 */
    struct bytes name; /* NORMAL: the name */
};

struct snc;

/* Strings of the options are copied. NULL when out of memory. */
struct snc *snc_new(const struct snc_options *options, int64_t now_ms);
void snc_free(struct snc *c);

/* Verbs. 0 when started; SNC_BUSY when such a request is open already, or too many packets wait to
 * be peeked; SNC_INVALID for what the protocol cannot say (an empty name, QoS -1 by name);
 * -ENOMEM. */
enum { SNC_BUSY = 1, SNC_NOT_CONNECTED = 2, SNC_TOO_LARGE = 3, SNC_INVALID = 4 };

int snc_connect(struct snc *c, int64_t now_ms);
int snc_register(struct snc *c, int64_t now_ms, struct bytes name);
int snc_subscribe(struct snc *c, int64_t now_ms, const struct snc_topic *topic, enum sn_qos qos);
int snc_unsubscribe(struct snc *c, int64_t now_ms, const struct snc_topic *topic);

/* NORMAL topics without id are registered first, by themselves. QoS -1 needs no connection.
 *
 * An open QoS 1/2 publication ends with the connection when the session is clean; otherwise it is
 * parked and goes on, with the same msg id, after the next CONNACK (SNC_PUBLISHED comes then). */
int snc_publish(struct snc *c, int64_t now_ms, const struct snc_topic *topic, struct bytes data,
                enum sn_qos qos, bool retain);
int snc_ping(struct snc *c, int64_t now_ms);

/* 0: for good. Otherwise to sleep (SNC_DISCONNECTED when the gateway agrees), unless a publication
 * is open (SNC_BUSY). Asleep, snc_ping() wakes up: what the gateway has kept comes as SNC_MESSAGE,
 * and SNC_PONG, or SNC_TIMEOUT, ends that; snc_connect() goes back to work; snc_disconnect() asks for
 * another duration. */
int snc_disconnect(struct snc *c, int64_t now_ms, uint16_t sleep_s);

bool snc_is_connected(const struct snc *c);

/* Asleep, and no PINGREQ open: a client whose radio is off. */
bool snc_is_asleep(const struct snc *c);

/* True while a REGISTER or QoS 1/2 PUBLISH of ours is open or parked. */
bool snc_publishing(const struct snc *c);

/* True while a QoS 2 message of the gateway waits for its PUBREL. */
bool snc_receiving(const struct snc *c);

void snc_input(struct snc *c, int64_t now_ms, struct bytes packet);
void snc_advance(struct snc *c, int64_t now_ms);
int64_t snc_next_deadline(const struct snc *c);

/* What came or went other than as planned, since snc_new(). */
struct snc_counters {
    uint64_t malformed;       /* datagrams that are no message */
    uint64_t unexpected;      /* messages out of place; broadcasts of discovery are not, nor what
                                 crosses our DISCONNECT */
    uint64_t duplicates;      /* QoS 2 repetitions recognised */
    uint64_t told_again;      /* REGISTER of what it was told in this connection */
    uint64_t retransmissions; /* ours */
    uint64_t packets_dropped; /* not queued: too many wait to be peeked, or out of memory */
    uint64_t events_dropped; /* likewise; QoS 1 and 2 messages come again, they were not answered */
};

const struct snc_counters *snc_counters(const struct snc *c);

/* Borrowed until done. */
bool snc_peek_packet(struct snc *c, struct bytes *out);
void snc_done_packet(struct snc *c);
bool snc_peek_event(struct snc *c, struct snc_event *out);
void snc_done_event(struct snc *c);

#endif
