/* SPDX-License-Identifier: Apache-2.0 */
/* What MQTT 5 adds to a connection: properties, reasons, and callbacks of Paho's that carry them. */
#ifndef SENNET_GATEWAY_MQTT_V5_H
#define SENNET_GATEWAY_MQTT_V5_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <MQTTAsync.h>

#include "base/origin.h"

#include "broker/upstream.h"

struct mqtt;
struct item;

/* What the broker takes. */
struct limits {
    unsigned window, window_qos2; /* ours, and not above its Receive Maximum */
    uint32_t max_packet_bytes;
    uint8_t max_qos;
    bool no_retain;
    bool no_identifiers; /* of subscriptions */
};

/* Everything that MQTT and our options allow. */
struct limits limits_of(const struct mqtt *m);

/* Lock held: as the CONNACK says. */
void v5_take_limits(struct mqtt *m, const MQTTProperties *connack);
/* The keep alive that the broker demands, or `ours`. */
unsigned v5_keepalive_s(const MQTTProperties *connack, unsigned ours);

/* Seconds until the message is not worth delivering any more; 0: it always is. */
uint32_t v5_expiry_s(const MQTTProperties *message);
/* Which subscriptions the copy is for. */
void v5_take_identifiers(const MQTTProperties *message, struct up_event *event);

/* What goes with a message (mqtt_describe.c): views, for as long as the item has its body. */
struct v5_description {
    MQTTProperties properties; /* of `list`: not to be freed */
    MQTTProperty list[1 + ORIGIN_FIELDS];
    size_t bytes; /* in the packet, without their length */
};

/* O(properties); nothing for another version of MQTT. */
void v5_describe(const struct mqtt *m, const struct item *it, struct v5_description *d);
/* Adds the identifier of a subscription, if the broker has such. */
void v5_identify(const struct mqtt *m, uint32_t id, MQTTProperties *properties);

/* Why a CONNECT was refused, or a connection ended by a DISCONNECT; NULL: no such code. */
const char *v5_refusal(int reason);
const char *v5_farewell(int reason);

/* Of a PUBACK, PUBREC or SUBACK with an error. */
enum up_result v5_result(int reason);

/* Paho's callbacks, as those in mqtt_priv.h. */
void on_connected5(void *context, MQTTAsync_successData5 *data);
void on_connect_failed5(void *context, MQTTAsync_failureData5 *data);
void on_dismissed5(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason);
void on_closed5(void *context, MQTTAsync_successData5 *data);
void on_answer5(void *context, MQTTAsync_successData5 *data);
void on_failure5(void *context, MQTTAsync_failureData5 *data);

#endif
