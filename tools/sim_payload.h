/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the simulated meters say, in one line that people can read and the simulator can check:
 *
 *     m=17 s=204 q=1 r=5f3a9c01 kwh=0012.345 c=5a3f          a reading
 *     m=17 s=3 q=2 r=5f3a9c01 limit=40 c=90c1                a command to a meter
 *     m=17 s=0 q=1 r=5f3a9c01 lost=1 c=77d0                  its will
 *
 * m node, s sequence within (node, q), q QoS as published, r run; c is a CRC-16 over everything
 * before " c=". A field p=--- pads to the wanted size.
 */
#ifndef SENNET_TOOLS_SIM_PAYLOAD_H
#define SENNET_TOOLS_SIM_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum payload_kind { PAYLOAD_READING, PAYLOAD_COMMAND, PAYLOAD_WILL };

struct payload {
    enum payload_kind kind;
    int qos; /* -1..2 */
    uint32_t node;
    uint32_t run;
    uint64_t seq;
};

enum { PAYLOAD_NATURAL_MAX = 96, PAYLOAD_SIZE_MAX = 65000 };

/* Writes the line, padded to `size` octets when it is shorter. Returns the octets written, 0 when
 * `cap` is too small. */
size_t payload_write(uint8_t *buf, size_t cap, const struct payload *p, size_t size);

enum payload_result {
    PAYLOAD_OK,
    PAYLOAD_FOREIGN, /* not of this shape at all: somebody else's message */
    PAYLOAD_CORRUPT, /* of this shape, but the checksum or a field is wrong */
};

enum payload_result payload_read(struct bytes in, struct payload *out);

#endif
