/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's radio is a Digi XBee with ZigBee firmware in API mode 2 (ATAP2), joined to the network of
 * the gateway's stick, of whatever family that is.
 */
#ifndef SENNET_DOCS_NODE_XBEE_H
#define SENNET_DOCS_NODE_XBEE_H

#include <stdbool.h>
#include <stdint.h>

#include "node.h"

enum {
    XBEE_FRAME_MAX = 100, /* content of the frames that concern us */
    XBEE_PACKET_AT = 12,  /* in a frame of type 90: behind sender and options */
};

struct xbee {
    bool escape, lost;
    uint16_t len, at; /* `at` counts from the length's first octet */
    uint8_t sum;
    uint8_t frame[XBEE_FRAME_MAX];
};

/* Yours: writes one octet to the UART, when CTS allows it. */
void xbee_uart_write(uint8_t octet);

/* Takes one octet from the UART. True when a packet for the node is complete: `packet` then points
 * into `x`, until the next call. Begin with *x all zero. */
bool xbee_octet(struct xbee *x, uint8_t octet, const uint8_t **packet, uint8_t *len);

#endif
