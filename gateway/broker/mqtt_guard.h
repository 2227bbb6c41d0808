/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a broker may send, judged before the MQTT library sees it. Paho 1.3 reads the properties of
 * MQTT 5 beyond the end of a packet, and finds the request that an acknowledgement is for by its packet
 * id alone, whatever its kind: a PUBACK for a PUBLISH of QoS 2, or a SUBACK for any PUBLISH, makes it
 * free topic and payload twice. RabbitMQ 3.10 sends the former.
 *
 *     guard_begin()            CONNECT was sent
 *     guard_sent()             so was something that the broker has to answer
 *     guard_received()         a whole packet has come: may the library have it?
 *
 * A pure machine for one connection. It knows what is open from what was sent on *this* connection, and
 * nothing of the library. Memory: 4 octets for each open request, at most a quarter full, none at first;
 * cost per packet: constant, but for the properties.
 */
#ifndef SENNET_BROKER_MQTT_GUARD_H
#define SENNET_BROKER_MQTT_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

enum { GUARD_WHY_MAX = 120 };

struct guard {
    uint32_t *slots; /* by packet id; NULL: nothing was ever open */
    unsigned size;   /* of `slots`, a power of two */
    unsigned open;
    uint8_t level; /* 4 or 5; 0: no CONNECT has been seen, and everything passes */
    bool welcomed; /* there was a CONNACK */
    bool blind;    /* there was no memory to note something */
};

enum guard_verdict {
    GUARD_PASS,
    GUARD_IGNORE, /* an acknowledgement of nothing that is open: belongs to nobody */
    GUARD_BROKEN, /* against the rules: the connection has to end */
};

/* `level`: of the protocol, from CONNECT. Nothing is open. */
void guard_begin(struct guard *g, uint8_t level);
void guard_end(struct guard *g);

/* A packet with this first octet leaves. Of PUBLISH with QoS, PUBREL, SUBSCRIBE and UNSUBSCRIBE the id
 * is noted, of others nothing. A SUBSCRIBE or UNSUBSCRIBE has one filter. */
void guard_sent(struct guard *g, uint8_t first, uint16_t id);

/* `rest`: all behind the remaining length. `why` tells people what is wrong when it is GUARD_BROKEN. */
enum guard_verdict guard_received(struct guard *g, uint8_t first, struct bytes rest,
                                  char why[GUARD_WHY_MAX]);

#endif
