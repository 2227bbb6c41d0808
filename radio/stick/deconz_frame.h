/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of dresden elektronik's serial protocol (ConBee, RaspBee): SLIP around command, sequence
 * number, status, length, content and a checksum that is a sum. Pure functions and a decoder that
 * takes octets as they come.
 */
#ifndef SENNET_RADIO_STICK_DECONZ_FRAME_H
#define SENNET_RADIO_STICK_DECONZ_FRAME_H

#include "base/bytes.h"

enum { DECONZ_FRAME_MAX = 300, DECONZ_WIRE_MAX = 2 * DECONZ_FRAME_MAX + 2 };

enum deconz_command {
    DECONZ_DATA_CONFIRM = 0x04,
    DECONZ_DEVICE_STATE = 0x07,
    DECONZ_CHANGE_NETWORK = 0x08,
    DECONZ_READ_PARAMETER = 0x0A,
    DECONZ_WRITE_PARAMETER = 0x0B,
    DECONZ_VERSION = 0x0D,
    DECONZ_STATE_CHANGED = 0x0E,
    DECONZ_DATA_REQUEST = 0x12,
    DECONZ_DATA_INDICATION = 0x17,
};

/* Status of an answer. */
enum {
    DECONZ_OK = 0,
    DECONZ_BUSY = 2,
    DECONZ_UNSUPPORTED = 4,
    DECONZ_NO_NETWORK = 6,
    DECONZ_INVALID = 7,
};

struct deconz_frame {
    uint8_t command, seq, status;
    struct bytes content; /* behind the frame length; borrowed */
};

/* Octets for the wire, or 0 when they don't fit. */
size_t deconz_encode(const struct deconz_frame *f, void *out, size_t size);

struct deconz_decoder {
    uint8_t buf[DECONZ_FRAME_MAX];
    size_t len;
    bool escaped;
    bool broken; /* until the next delimiter */
};

enum deconz_decoded { DECONZ_MORE, DECONZ_FRAME, DECONZ_BAD };

/* One octet. FRAME: `out` is a frame, borrowed until the next call. BAD: octets were given up,
 * `len` of them before they were forgotten. */
enum deconz_decoded deconz_decode(struct deconz_decoder *d, uint8_t octet,
                                  struct deconz_frame *out);

#endif
