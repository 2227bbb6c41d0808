/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row per message type: its name and how many octets may follow MsgType (section 5.4). The only
 * place where these limits stand; decoder, dispatch and tools read it.
 */
#ifndef SENNET_MQTTSN_PACKET_LAYOUT_H
#define SENNET_MQTTSN_PACKET_LAYOUT_H

#include <stdint.h>

struct sn_layout {
    const char *name;
    uint16_t body_min;
    uint16_t body_max;
};

/* NULL for a reserved type, and for the forwarder envelope, which is not a plain message. */
const struct sn_layout *sn_layout_of(unsigned type);

#endif
