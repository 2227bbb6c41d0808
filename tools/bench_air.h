/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP sockets for many nodes. As long as there are ports enough each node has a socket of its own,
 * connected to the gateway. Beyond that, nodes share sockets and differ by their loopback address
 * (127.0.1.1 and up), which costs the gateway the same: a peer is an address and a port.
 */
#ifndef SENNET_TOOLS_BENCH_AIR_H
#define SENNET_TOOLS_BENCH_AIR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/bytes.h"

enum { AIR_BATCH = 64, AIR_PACKET_MAX = 1500 };

struct air_room;

struct air {
    struct sockaddr_in gateway;
    int *fds;
    uint32_t n_fds;
    uint32_t n_nodes;
    bool shared; /* several nodes at a socket */
    struct air_room *room;
    unsigned n_out;   /* packets that wait in room */
    uint64_t refused; /* by the system */
};

/* 0, or -errno. With `ports` 0 nobody has a socket. */
int air_open(struct air *a, const struct sockaddr_in *gateway, uint32_t n_nodes, uint32_t ports);
void air_close(struct air *a);

/* Where to write the next packet; it goes with air_send() or never. */
uint8_t *air_packet(struct air *a);
/* Sends at the latest with air_flush(). */
void air_send(struct air *a, uint32_t node, size_t len);
void air_flush(struct air *a);

typedef void air_input(void *context, uint32_t node, struct bytes packet);

/* Hands over what has come to a socket, one batch. */
void air_receive(struct air *a, uint32_t index, air_input *input, void *context);

#endif
