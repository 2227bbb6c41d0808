/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys by which Paho keeps its packets: s-ID a PUBLISH sent, sc-ID the PUBREL after it, r-ID a PUBLISH
 * received, q-N a message that our callback has not taken, c-N a command. With MQTT 5 there is a 5 before the
 * hyphen; the other version's are asked for, too.
 */
#ifndef SENNET_GATEWAY_MQTT_KEY_H
#define SENNET_GATEWAY_MQTT_KEY_H

enum mqtt_key_kind { KEY_OTHER, KEY_SENT, KEY_RELEASED, KEY_RECEIVED, KEY_QUEUED };

struct mqtt_key {
    enum mqtt_key_kind kind;
    unsigned version; /* Paho's number */
    unsigned id;      /* a packet id; for KEY_QUEUED any number */
};

/* KEY_OTHER: a command's, or none that is known; then the rest means nothing. Paho asks for several at each
 * packet, so this is quick. */
struct mqtt_key mqtt_key_of(const char *text);

#endif
