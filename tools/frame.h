/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a captured frame to the UDP datagram in it: Ethernet with VLAN tags, Linux cooked v1 and v2,
 * loopback, raw IP; IPv4 and IPv6 with extension headers. Checksums are not verified: on the
 * sending machine the network card fills them in after the capture.
 */
#ifndef SENNET_TOOLS_FRAME_H
#define SENNET_TOOLS_FRAME_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/peer.h"

/* Outcomes of frame_open() beside 0. */
enum {
    FRAME_NOT_UDP = 1,      /* another protocol, or cut before the UDP header */
    FRAME_UNKNOWN_LINK = 2, /* a link type that is not supported */
};

struct frame_datagram {
    struct peer_room from;
    struct peer_room to;
    uint16_t from_port;
    uint16_t to_port;
    struct bytes payload; /* a view into the frame */
    bool is_fragment;     /* the first of several: the payload is not whole */
    bool is_cut;          /* the capture kept less than was sent */
};

/* `link_type`: a LINKTYPE_ number of the pcap formats. */
int frame_open(uint16_t link_type, struct bytes frame, struct frame_datagram *out);

#endif
