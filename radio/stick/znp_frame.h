/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TI's frames on the serial line (MT over UNPI; radio reference, B.1), as values:
 *
 *     FE | len | cmd0 | cmd1 | data[len] | FCS
 *
 * Nothing is escaped, so a start octet may be data, and a damaged length may claim the frames that
 * follow. The framer therefore keeps what it has read: when the frame that it believed in turns out
 * to be none, it drops one octet and searches again in the rest.
 */
#ifndef SENNET_RADIO_STICK_ZNP_FRAME_H
#define SENNET_RADIO_STICK_ZNP_FRAME_H

#include "base/bytes.h"

enum {
    ZNP_START = 0xFE,
    ZNP_DATA_MAX = 250,
    ZNP_FRAME_MAX = ZNP_DATA_MAX + 5,
};

struct znp_frame {
    uint16_t cmd; /* cmd0 << 8 | cmd1: enum znp_command */
    struct bytes data;
};

/* Appends the whole frame; `w` fails when data is longer than ZNP_DATA_MAX or there is no room. */
void znp_frame_write(struct writer *w, uint16_t cmd, struct bytes data);

struct znp_framer {
    uint8_t buf[2 * ZNP_FRAME_MAX];
    size_t at, end;
    uint64_t bad;     /* starts that were none: length, type or checksum wrong */
    uint64_t skipped; /* octets that belong to no frame */
};

/* Forgets what is buffered; the counters stay. */
void znp_framer_reset(struct znp_framer *f);

/* Buffers octets and returns how many there was room for: at least one after znp_framer_next() has
 * said false. */
size_t znp_framer_put(struct znp_framer *f, struct bytes in);

/* The next frame, borrowed until the next call; false when more octets are needed. */
bool znp_framer_next(struct znp_framer *f, struct znp_frame *out);

/* Is the beginning of a frame buffered? */
bool znp_framer_partial(const struct znp_framer *f);

/* Its rest did not come in time: it was none. znp_framer_next() searches in what is left. */
void znp_framer_give_up(struct znp_framer *f);

#endif
