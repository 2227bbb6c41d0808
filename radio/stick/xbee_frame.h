/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of Digi's API modes: start, length, content, checksum; in mode 2 with escapes. Pure
 * functions and a decoder that keeps what it gets until it is a frame or can't be one: after a false
 * start only that one octet is given up, and the search goes on behind it.
 */
#ifndef SENNET_RADIO_STICK_XBEE_FRAME_H
#define SENNET_RADIO_STICK_XBEE_FRAME_H

#include "base/bytes.h"

enum {
    XBEE_CONTENT_MAX = 330,
    XBEE_WIRE_MAX = 1 + 2 * (2 + XBEE_CONTENT_MAX + 1),
    XBEE_RAW_MAX = 2048, /* more than one input and one frame */
};

/* Types of content. */
enum {
    XBEE_TX_64 = 0x00,
    XBEE_TX_16 = 0x01,
    XBEE_AT = 0x08,
    XBEE_TX = 0x10,
    XBEE_RX_64 = 0x80,
    XBEE_RX_16 = 0x81,
    XBEE_AT_RESPONSE = 0x88,
    XBEE_TX_STATUS_802154 = 0x89,
    XBEE_MODEM_STATUS = 0x8A,
    XBEE_TX_STATUS = 0x8B,
    XBEE_RX = 0x90,
    XBEE_RX_EXPLICIT = 0x91,
    XBEE_IDENTIFICATION = 0x95,
};

/* Octets for the wire, or 0 when they don't fit. `content` begins with the type. */
size_t xbee_encode(struct bytes content, bool escaped, void *out, size_t size);

struct xbee_decoder {
    bool escaped; /* API mode 2 */
    uint8_t raw[XBEE_RAW_MAX];
    size_t at, end;
    uint8_t content[XBEE_CONTENT_MAX];
    uint64_t bad, skipped; /* frames, octets; to be read and set to 0 */
};

/* Takes octets, at most XBEE_RAW_MAX / 2 at once; xbee_next() must have said no before. */
void xbee_feed(struct xbee_decoder *d, struct bytes in);

/* The next frame's content, borrowed until the next call; false: more octets are needed. */
bool xbee_next(struct xbee_decoder *d, struct bytes *content);

/* Is a frame under way? If nothing follows for a while, it was none: xbee_give_up(), and then
 * xbee_next() again. */
bool xbee_is_partial(const struct xbee_decoder *d);
void xbee_give_up(struct xbee_decoder *d);

#endif
