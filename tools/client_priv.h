/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the client machine. client.c has the session, the requests and their timers; the topic
 * conversations are in client_topics.c, publications both ways in client_publish.c.
 */
#ifndef SENNET_TOOLS_CLIENT_PRIV_H
#define SENNET_TOOLS_CLIENT_PRIV_H

#include "tools/client.h"
#include "tools/fifo.h"
#include "tools/registrations.h"

enum snc_state {
    SNC_OFFLINE,
    SNC_CONNECTING, /* CONNECT sent */
    SNC_WILL_TOPIC, /* WILLTOPIC sent */
    SNC_WILL_MSG,   /* WILLMSG sent */
    SNC_ACTIVE,
    SNC_LEAVING, /* DISCONNECT sent, with or without a duration */
    SNC_ASLEEP,  /* awake while SLOT_PING is open */
};

/* The requests that may be open at the same time (section 6.13 ff.: one of each kind). */
enum snc_slot { SLOT_SESSION, SLOT_PING, SLOT_REGISTER, SLOT_SUBSCRIBE, SLOT_PUBLISH, SLOTS };

struct snc_request {
    int64_t first_ms;
    int64_t due_ms; /* next repetition; TIME_NEVER: not open */
    unsigned sendings;
    uint16_t msg_id;
};

/* A copy whose room is used again. */
struct snc_copy {
    uint8_t *data;
    uint32_t len;
    uint32_t cap;
};

enum snc_phase {
    PUB_IDLE,
    PUB_REGISTERING, /* waits for the REGACK of its name */
    PUB_SENT,        /* waits for PUBACK or PUBREC */
    PUB_RELEASING,   /* QoS 2: PUBREL sent, waits for PUBCOMP */
};

struct snc_publication {
    enum snc_phase phase;
    enum sn_topic_kind kind;
    enum sn_qos qos;
    bool retain;
    uint16_t id;
    unsigned repeats; /* over all phases and connections */
    int64_t first_ms;
    struct snc_copy data;
};

struct snc_subscription {
    bool is_unsubscribe;
    enum sn_topic_kind kind;
    enum sn_qos qos;
    uint16_t id;
    struct snc_copy name;
};

/* A gateway keeps one request open towards a client; more are tolerated. */
enum { INBOUND_QOS2_MAX = 16 };

/* A QoS 2 message of the gateway: between our PUBREC and its PUBREL, and for a while after that,
 * because a copy that the air has made of the PUBLISH may come late. */
struct snc_inbound {
    uint64_t print; /* of topic and data: msg ids are used again */
    int64_t released_ms;
    uint16_t msg_id;
    bool is_released;
};

struct snc {
    /* options */
    struct bytes client_id;
    struct bytes will_topic;
    struct bytes will_message;
    int64_t retry_ms;
    int64_t ping_after_ms; /* silence before a ping; TIME_NEVER: no keep alive */
    unsigned retry_count;
    uint16_t keep_alive_s;
    enum sn_qos will_qos;
    bool will_retain;
    bool has_will;
    bool clean;

    enum snc_state state;
    bool to_sleep;             /* LEAVING: the DISCONNECT had a duration */
    bool register_for_publish; /* the open REGISTER is the publication's */
    uint16_t sleep_s;
    uint16_t last_msg_id;
    int64_t last_sent_ms;

    struct snc_request requests[SLOTS];
    struct snc_publication pub;
    struct snc_subscription sub;
    struct snc_copy register_name;
    struct registrations names;

    struct snc_inbound *inbound; /* INBOUND_QOS2_MAX, oldest first; NULL: never any QoS 2 */
    unsigned inbound_count;

    struct fifo packets;
    struct fifo events;
    struct snc_counters counters;
    uint8_t text[]; /* behind the views of the options */
};

/* client.c */
bool snc_transmit(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_emit(struct snc *c, const struct snc_event *event);
bool snc_copy_set(struct snc_copy *copy, struct bytes from);
struct bytes snc_copy_get(const struct snc_copy *copy);
uint16_t snc_next_msg_id(struct snc *c);
bool snc_is_open(const struct snc *c, enum snc_slot slot);
bool snc_answers(const struct snc *c, enum snc_slot slot, uint16_t msg_id);
void snc_open(struct snc *c, int64_t now_ms, enum snc_slot slot, uint16_t msg_id);
void snc_close(struct snc *c, enum snc_slot slot);

/* Connected, or asleep with the wake-up ping open: the gateway may send to us. */
bool snc_is_reachable(const struct snc *c);

/* Handlers of received messages: false when the message is out of place. */

/* client_topics.c */
void snc_send_register(struct snc *c, int64_t now_ms);
void snc_send_subscribe(struct snc *c, int64_t now_ms);
bool snc_on_register(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_on_regack(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_on_suback(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_on_unsuback(struct snc *c, int64_t now_ms, const struct sn_packet *p);

/* client_publish.c */
void snc_send_publication(struct snc *c, int64_t now_ms);
void snc_publication_registered(struct snc *c, int64_t now_ms, uint16_t id);
void snc_publication_finish(struct snc *c, int64_t now_ms, uint8_t return_code);
void snc_publication_resume(struct snc *c, int64_t now_ms);
bool snc_on_publish(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_on_puback(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_on_pubrec(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_on_pubrel(struct snc *c, int64_t now_ms, const struct sn_packet *p);
bool snc_on_pubcomp(struct snc *c, int64_t now_ms, const struct sn_packet *p);

#endif
