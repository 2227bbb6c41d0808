/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a connection is made: to which of the addresses, with what options of Paho's. Worker thread,
 * but for what says otherwise.
 */
#ifndef SENNET_GATEWAY_MQTT_CONNECT_H
#define SENNET_GATEWAY_MQTT_CONNECT_H

#include <stdbool.h>
#include <stddef.h>

#include <MQTTAsync.h>

#include "paho_tls.h"

struct mqtt;

/* One of the addresses; constant. */
struct target {
    char *uri;          /* "mqtts://[2001:db8::1]:8883" */
    const char *server; /* the same without scheme, points into it */
    char *host;         /* without port and brackets */
    bool tls;
};

struct dial {
    struct target *targets; /* at least one */
    size_t n_targets;
    size_t at;                    /* the one in use */
    char ticket[PAHO_TICKET_MAX]; /* of the latest handshake; "" = none */
};

/* Any thread. "mqtt://a:1883, mqtt://b:1883" as config_address_full() writes it. 0 or -ENOMEM. */
int dial_init(struct dial *d, const char *addresses);
void dial_deinit(struct dial *d);

/* Any thread. */
const struct target *dial_target(const struct dial *d);

/* Paho's codes. */
int dial_create(struct mqtt *m, MQTTAsync *out);

/* on_connected() or on_connect_failed() follows, if this is MQTTASYNC_SUCCESS. Else `why` may say why
 * not; when empty, only Paho's code does. */
int dial_connect(struct mqtt *m, MQTTAsync handle, bool clean, char *why, size_t why_size);

#endif
