/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames of a WebSocket (RFC 6455), as a client that carries MQTT sees them (MQTT 5, section 6):
 * all that counts is the octets of binary messages; how they are cut into frames and messages means
 * nothing. No I/O, no memory but the structure.
 *
 *     octets of the server --ws_input()--> octets of MQTT, a ping to answer, a close
 *     octets of MQTT --ws_head() + ws_mask()--> a frame
 */
#ifndef SENNET_BROKER_WEBSOCKET_H
#define SENNET_BROKER_WEBSOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    WS_CONTROL_MAX = 125,    /* payload of a control frame (5.5) */
    WS_HEAD_MAX = 14,        /* of our own frames */
    WS_SERVER_HEAD_MAX = 10, /* of the server's, which have no mask */
    WS_FRAME_MAX =
        0x0FFFFFFF + 5,  /* the largest packet of MQTT; no server needs more in one frame */
    WS_NO_STATUS = 1005, /* a close that says nothing (7.4.1) */
};

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

/* What the server did wrong. */
enum ws_fault {
    WS_FINE,
    WS_FAULT_MASKED,       /* 5.1 */
    WS_FAULT_RESERVED,     /* 5.2: bits of extensions, which nobody asked for */
    WS_FAULT_OPCODE,       /* 5.2 */
    WS_FAULT_TEXT,         /* MQTT-6.0.0-1 */
    WS_FAULT_CONTROL,      /* 5.5: a control frame in pieces or too long */
    WS_FAULT_LENGTH,       /* 5.2: not the shortest form, or beyond WS_FRAME_MAX */
    WS_FAULT_CONTINUATION, /* 5.4: out of turn, or missing */
    WS_FAULT_CLOSE,        /* 5.5.1: a status of one octet */
    WS_FAULTS,
};

struct ws_reader {
    enum ws_fault fault; /* sticky: nothing is taken any more */
    bool closed;         /* likewise: by the server, with */
    uint16_t status;     /* this status, */
    bool pinged;         /* asked for a pong with what control[] holds; the caller resets it */
    bool in_message;     /* a binary one whose last frame has not begun */
    uint8_t opcode;      /* of the frame at hand */
    uint8_t head_len;    /* octets of its head so far */
    uint8_t control_len;
    uint8_t ping_len;
    uint32_t left; /* octets of its payload that have not come yet */
    uint8_t head[WS_SERVER_HEAD_MAX];
    uint8_t control[WS_CONTROL_MAX]; /* payload of the control frame at hand, */
    uint8_t ping[WS_CONTROL_MAX];    /* of the latest ping: earlier ones need no answer (5.5.3) */
};

/* All zero is the beginning. */

/* Takes `octets` apart, in place: what belongs to binary messages is moved to the front; its length is
 * returned. Look at fault, closed and pinged afterwards. O(len). */
size_t ws_input(struct ws_reader *r, uint8_t *octets, size_t len);

/* "the server sent a masked frame" */
const char *ws_fault_text(enum ws_fault fault);

/* Payload of the close frame, behind its status: for people, anything may be in there. Empty if there
 * is none. Valid while the reader is. */
struct bytes ws_close_reason(const struct ws_reader *r);

/* The head of a frame of ours that is a whole message. `len` up to UINT32_MAX. Returns its length. */
size_t ws_head(uint8_t out[WS_HEAD_MAX], enum ws_opcode opcode, size_t len, const uint8_t mask[4]);

/* Octets of its payload, from the one with number `offset` on. `out` may be `in`. */
void ws_mask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[4], size_t offset);

#endif
