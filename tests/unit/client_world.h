/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client machine, a small model of a gateway, and the air between them, in virtual time. The air
 * can lose chosen packets; the gateway repeats what it started, recognises repetitions, and keeps
 * account, so that "exactly once" can be asserted on both ends.
 */
#ifndef SENNET_TESTS_CLIENT_WORLD_H
#define SENNET_TESTS_CLIENT_WORLD_H

#include "base/bytes.h"

#include "mqttsn/packet.h"
#include "tools/client.h"

enum { WORLD_RETRY_MS = 10000, WORLD_QUEUE = 64, WORLD_EVENTS = 64, WORLD_TEXT = 64 };

struct world_frame {
    uint8_t data[256];
    size_t len;
};

/* An event with its texts copied. */
struct world_event {
    struct snc_event e;
    char topic[WORLD_TEXT];
    char data[WORLD_TEXT];
    int64_t at_ms;
};

struct world_gateway {
    bool silent;            /* answers nothing */
    uint8_t return_code;    /* for CONNECT, REGISTER, PUBLISH, SUBSCRIBE */
    uint16_t next_topic_id; /* given to the next REGISTER or SUBSCRIBE by name */

    unsigned publishes; /* PUBLISH packets received */
    unsigned delivered; /* messages forwarded, repetitions of QoS 2 recognised */
    bool qos2_open;
    uint16_t qos2_msg_id;
    unsigned registers;
    unsigned pings;
    char last_topic[WORLD_TEXT];
    char last_data[WORLD_TEXT];
    char will_topic[WORLD_TEXT];
    char will_message[WORLD_TEXT];

    /* One exchange towards the client. */
    struct sn_packet down;
    bool down_open;
    bool down_released; /* PUBREL phase */
    int64_t down_due_ms;
};

struct world {
    struct snc *c;
    int64_t now_ms;
    unsigned packets;    /* sent so far by either side */
    unsigned lose_first; /* packets lost: [lose_first, lose_first + lose_count) */
    unsigned lose_count;
    struct world_gateway gw;
    struct world_frame *to_client; /* WORLD_QUEUE */
    unsigned to_client_count;
    struct world_frame *sent; /* WORLD_QUEUE; by the client, in order */
    int64_t sent_at_ms[WORLD_QUEUE];
    unsigned sent_count;
    struct world_event *events; /* WORLD_EVENTS */
    unsigned event_count;
};

extern const struct snc_options WORLD_OPTIONS;

void world_init(struct world *w, const struct snc_options *options);
void world_deinit(struct world *w);

/* Client connected, logs empty. */
void world_init_connected(struct world *w, const struct snc_options *options);
void world_forget(struct world *w);

/* The gateway sends this; the second form is a request, which the model repeats until answered. */
void world_send(struct world *w, const struct sn_packet *p);
void world_send_exchange(struct world *w, const struct sn_packet *p);

/* Delivers what is in the air and fires timers until nothing is left to do at `until_ms`. */
void world_run(struct world *w, int64_t until_ms);

static inline void world_settle(struct world *w)
{
    world_run(w, w->now_ms);
}

/* The n-th packet that the client sent since the logs were emptied; fails the test otherwise. */
struct sn_packet world_sent(const struct world *w, unsigned n);
unsigned world_count_events(const struct world *w, enum snc_event_type type);

/* The only event of this type; fails the test otherwise. */
const struct world_event *world_event(const struct world *w, enum snc_event_type type);

#endif
