/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets on a plain serial line: finding them in a stream of octets, and writing them. Four ways
 * (enum line_framing): the packets themselves, SLIP, HDLC-like, COBS.
 *
 * Whatever the line brings, memory and work per octet are bounded, and the next intact packet is
 * found: after a delimiter, or (LINE_RAW, which has none) after a pause.
 */
#ifndef SENNET_RADIO_STICK_FRAMING_H
#define SENNET_RADIO_STICK_FRAMING_H

#include "radio/stick/stick.h"

enum {
    FRAMER_PACKET_MAX = 1500,
    FRAMER_BUFFER = FRAMER_PACKET_MAX + 4,      /* CRC */
    FRAMER_FRAME_MAX = 2 * (FRAMER_BUFFER) + 2, /* of what framer_encode() writes */
    FRAMER_PAUSE_MS = 100,                      /* LINE_RAW: the packet's rest is not coming */
};

struct framer {
    enum line_framing framing;
    uint32_t limit;
    uint64_t frames;     /* intact */
    uint64_t bad_frames; /* too long, too short, wrong CRC or escape, or cut off by a pause */
    uint64_t skipped;    /* octets that belong to no intact frame */

    /* Private. */
    uint8_t buf[FRAMER_BUFFER];
    size_t at, len; /* LINE_RAW: what was not looked at begins at `at` */
    size_t raw;     /* octets of the frame as they were on the line */
    bool escaped;
    bool bad;       /* nothing until the next delimiter can be good */
    uint8_t block;  /* LINE_COBS: octets until the next code */
    bool zero_next; /* LINE_COBS: this block ends with a zero that is not on the line */
};

/* Packets longer than `limit` (FRAMER_PACKET_MAX at most) are bad frames. */
void framer_init(struct framer *f, enum line_framing framing, uint32_t limit);

/* Forgets what has come of an unfinished frame. */
void framer_reset(struct framer *f);

/* Reads on until one packet is complete: true, and it is borrowed until the next call. False when
 * the input is used up. O(octets read). */
bool framer_next(struct framer *f, struct reader *in, struct bytes *packet);

/* Nothing has come for FRAMER_PAUSE_MS: with LINE_RAW what has come of a packet is dropped. */
void framer_pause(struct framer *f);

/* Is a pause worth waiting for? */
bool framer_waits(const struct framer *f);

/* Appends the packet as a frame. */
void framer_encode(enum line_framing framing, struct writer *w, struct bytes packet);

#endif
