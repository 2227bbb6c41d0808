/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead for Paho, which asks the kernel for the two octets of a fixed header one by one, then
 * for the rest. Here one recv() brings what has arrived, and what is left over waits per descriptor;
 * paho_poll() reports it as readable without asking.
 *
 * Threads: Paho's receiving thread, but for paho_ahead_reset(). Memory: a few octets for each
 * descriptor that has ever been one of Paho's, and 4 KiB for each for which something waits now.
 */
#ifndef SENNET_GATEWAY_PAHO_AHEAD_H
#define SENNET_GATEWAY_PAHO_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A new connection, or the end of one: nothing waits. Any thread, while nobody reads from it. False: it
 * is served without reading ahead. */
bool paho_ahead_reset(int fd);

/* As recv(), or as paho_tunnel_recv() where there is a tunnel; `*asked` tells whether the kernel was asked. Without memory it just receives. */
ssize_t paho_ahead_recv(int fd, void *buffer, size_t len, int flags, bool *asked);

/* The descriptors for which something waits: `*i` is 0 at first. -1 at the end. */
int paho_ahead_next(unsigned *i);

#endif
