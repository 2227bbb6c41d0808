/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap on an MQTT broker: the few packets of MQTT 3.1.1 that a QoS 0 subscriber needs, and nothing
 * else. It costs a tenth of a full client, and at tens of thousands of messages per second on a
 * small machine the observer must not be what is measured. Pure: octets in, events out.
 */
#ifndef SENNET_TOOLS_SIM_TAP_H
#define SENNET_TOOLS_SIM_TAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum { TAP_PACKET_MAX = 1 << 18, TAP_BUFFER = 1 << 19 };

struct tap {
    uint8_t *buf; /* TAP_BUFFER octets */
    size_t at;    /* first not yet consumed */
    size_t end;
    bool is_broken;
};

/* False when out of memory. */
bool tap_init(struct tap *t);
void tap_deinit(struct tap *t);

/* Forgets what was received: a new connection. */
void tap_reset(struct tap *t);

/* CONNECT with CleanSession and without keep alive; SUBSCRIBE with QoS 0. Octets written, 0 when
 * `cap` is too small. */
size_t tap_connect(uint8_t *out, size_t cap, struct bytes client_id);
size_t tap_subscribe(uint8_t *out, size_t cap, uint16_t packet_id, struct bytes filter);

/* Where to put received octets (at least one), and how many were put. Views of earlier events end
 * here. */
uint8_t *tap_room(struct tap *t, size_t *room);
void tap_received(struct tap *t, size_t n);

enum tap_event {
    TAP_NOTHING, /* more octets are needed */
    TAP_CONNECTED,
    TAP_REFUSED, /* CONNACK or SUBACK with a refusal */
    TAP_SUBSCRIBED,
    TAP_MESSAGE,
    TAP_BROKEN, /* not MQTT, or a packet longer than TAP_PACKET_MAX; stays so */
};

/* `topic` and `data` of a message are borrowed until tap_room(). */
enum tap_event tap_next(struct tap *t, struct bytes *topic, struct bytes *data);

#endif
