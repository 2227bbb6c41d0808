/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a packet came from and where an answer goes: (link, address on that link, forwarder path).
 *
 * The path is empty for a node heard directly. Behind a forwarder (MQTT-SN 1.2 section 5.5) it
 * holds the wireless node ids, outermost first, each as one length octet and the id, so two nodes
 * behind one forwarder are two peers. A peer locates a node; its identity is the client id.
 *
 * Address layouts by kind (integers big-endian):
 *     PEER_IP4     address 4, port 2
 *     PEER_IP6     address 16, port 2, scope id 4
 *     PEER_EUI64   the 64-bit radio address 8
 *     PEER_SHORT   a 16-bit radio address 2
 *     PEER_SERIAL  nothing: the one node at the other end of the line
 *     PEER_GROUP   radius 1: everybody on the link within so many hops, 0 = all. Only a
 *                  destination: what was sent to the group comes from one of the others
 */
#ifndef SENNET_BASE_PEER_H
#define SENNET_BASE_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum peer_kind {
    PEER_NONE,
    PEER_IP4,
    PEER_IP6,
    PEER_EUI64,
    PEER_SHORT,
    PEER_SERIAL,
    PEER_GROUP,
};

enum {
    PEER_ADDR_MAX = 22,
    PEER_DEPTH_MAX = 3,                         /* forwarders in a row */
    PEER_PATH_MAX = PEER_DEPTH_MAX * (1 + 252), /* 252: longest node id an envelope can carry */
    PEER_BYTES_MAX = PEER_ADDR_MAX + PEER_PATH_MAX,
    PEER_TEXT_MAX = 128,
};

/* Comparable as memory: link, kind and lengths first, then address and path without gaps. */
struct peer {
    uint16_t link; /* index of the link in this process */
    uint8_t kind;  /* enum peer_kind */
    uint8_t addr_len;
    uint16_t path_len;
    uint8_t bytes[];
};

/* Room for any peer, for values on the stack. */
struct peer_room {
    _Alignas(struct peer) uint8_t room[sizeof(struct peer) + PEER_BYTES_MAX];
};

static inline struct peer *peer_in(struct peer_room *room)
{
    return (struct peer *)(void *)room->room;
}

/* Octets that `p` occupies, header included. */
static inline size_t peer_size(const struct peer *p)
{
    return sizeof *p + p->addr_len + p->path_len;
}

/* Everything that tells one peer from another, as octets to hash or compare. */
static inline struct bytes peer_key(const struct peer *p)
{
    return bytes_of(p, peer_size(p));
}

static inline bool peer_equal(const struct peer *a, const struct peer *b)
{
    return bytes_equal(peer_key(a), peer_key(b));
}

/* Makes a direct peer in `room`. `addr.len` must not exceed PEER_ADDR_MAX (asserted). */
struct peer *peer_make(struct peer_room *room, uint16_t link, enum peer_kind kind,
                       struct bytes addr);

/* Everybody on the link within `radius` hops (0: all). */
struct peer *peer_make_group(struct peer_room *room, uint16_t link, uint8_t radius);

/* Appends one wireless node id to the path. False when PEER_DEPTH_MAX would be exceeded or the id
 * is longer than 252 octets. */
bool peer_push_node(struct peer_room *room, struct bytes node_id);

/* How many forwarders lie between. O(path). */
unsigned peer_depth(const struct peer *p);

/* Copies into `room`. */
void peer_copy(struct peer_room *room, const struct peer *from);

/* A copy on the heap (free() it), or NULL when out of memory. */
struct peer *peer_dup(const struct peer *p);

/* "192.0.2.7:1884", "[2001:db8::1]:1884", "00124b0001020304", "0x1a2b", "serial", "group",
 * "group:<radius>"; forwarded nodes get "/<node id hex>" per level. Always terminated, cut with "..." when `size` is short; returns
 * `out`. */
const char *peer_print(const struct peer *p, char *out, size_t size);

#endif
