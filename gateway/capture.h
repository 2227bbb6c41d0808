/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT-SN traffic of every link as a capture that Wireshark and tshark read: classic pcap, raw
 * IP, one UDP datagram per packet. Radio has no IP addresses, so nodes get some, always the same:
 *
 *     udp links       the real addresses and ports; the group is 255.255.255.255 or ff02::1
 *     all others      fd53:4e00::LINK:0:0:0:1, port 1884, is the gateway on link number LINK (from
 *                     0, in the order of the configuration), and nodes are in its /64:
 *                     EUI-64        the EUI-64 itself as the interface id
 *                     16-bit        ...:0:ff:fe00:ADDR, as RFC 4944 writes short addresses
 *                     serial line   ...::2
 *                     group         ff02::1
 *
 * Forwarder envelopes stay as they are on the link. No port is MQTT-SN's by itself in Wireshark; with
 * "Decode as" for one, `-d udp.port==1884,mqttsn`, it knows them all.
 */
#ifndef SENNET_GATEWAY_CAPTURE_H
#define SENNET_GATEWAY_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/peer.h"

enum {
    CAPTURE_HEADER_BYTES = 24,
    CAPTURE_SNAP = 65535,
    /* Of a record beside the packet: pcap's header, IPv6, UDP. */
    CAPTURE_OVERHEAD = 16 + 40 + 8,
    CAPTURE_PORT = 1884,
};

/* The gateway's end of a link. */
struct capture_end {
    uint8_t family; /* 4, 6 */
    uint8_t address[16];
    uint16_t port;
};

/* From the link's own address ("127.0.0.1:1884", "[::]:1884"); anything else is no udp link, and
 * gets the address of link number `link`. */
struct capture_end capture_end(const char *where, uint16_t link);

/* Writes the file header. */
void capture_header(struct writer *w);

/* Writes one record, packet.len + CAPTURE_OVERHEAD octets at most. The packet is cut, and the record
 * says so, where a datagram could not carry it. `wall_ms` is since 1970. */
void capture_record(struct writer *w, int64_t wall_ms, bool to_node, const struct capture_end *end,
                    const struct peer *peer, struct bytes packet);

#endif
