/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest MQTT-SN node that is of use: it connects, publishes readings at QoS 1 under
 * predefined topic ids, repeats what is not answered, shows that it is alive, and connects again
 * when it has to. Nothing but C11 and memcpy(); no memory is allocated. Radios: xbee.c for a Digi
 * XBee; docs/radio.md for any chip whose stack sends APS data.
 */
#ifndef SENNET_DOCS_NODE_NODE_H
#define SENNET_DOCS_NODE_NODE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    NODE_PACKET_MAX = 60,    /* what MQTT-SN promises to fit into a ZigBee frame */
    NODE_CLIENT_ID_MAX = 23, /* octets; what MQTT-SN 1.2 promises to be accepted */
    NODE_KEEP_ALIVE_S = 60,
    NODE_RETRY_MS = 10000,    /* Tretry */
    NODE_RETRIES = 3,         /* Nretry; then it connects again */
    NODE_REFUSED_MS = 300000, /* Twait, before a CONNECT that was refused is sent again */
};

enum node_state { NODE_CONNECTING, NODE_IDLE, NODE_PUBLISHING, NODE_PINGING };

struct node {
    const char *client_id;
    enum node_state state;
    uint16_t msg_id;
    uint16_t refused; /* messages: the broker is away, or the topic id is not in [topics] */
    uint8_t tries;
    uint32_t sent_ms; /* our latest packet */
    uint32_t wait_ms; /* from then until something is due */
    uint8_t len;      /* of the request under way */
    uint8_t packet[NODE_PACKET_MAX];
};

/* Yours: gives one packet to the radio. It may get lost on the way. */
void node_radio_send(const uint8_t *packet, uint8_t len);

/* `now_ms` may begin anywhere and wrap. `client_id` is kept by reference, has 1 to
 * NODE_CLIENT_ID_MAX octets, and is another one for each node. */
void node_start(struct node *n, uint32_t now_ms, const char *client_id);

/* A message of up to NODE_PACKET_MAX - 7 octets. False while the node is not connected or has
 * another one under way: try later. */
bool node_publish(struct node *n, uint32_t now_ms, uint16_t topic_id, const void *data,
                  uint8_t len);

/* A packet from the radio. */
void node_input(struct node *n, uint32_t now_ms, const uint8_t *packet, uint8_t len);

/* Repeats what is due. To be called about once a second. */
void node_tick(struct node *n, uint32_t now_ms);

#endif
