/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ahead for Paho, which asks the kernel for the two octets of a fixed header one by one, then
 * for the rest, and polls twice per packet. Here one recv() brings what has arrived, and what is
 * left over waits per descriptor; sennet_paho_poll() reports it as readable without asking.
 *
 * Threads: a descriptor is read by one thread at a time (Paho's receiving one); any thread may ask
 * paho_ahead_waiting(). Memory is kept for the descriptor's number, which the next connection has.
 */
#ifndef SENNET_GATEWAY_PAHO_AHEAD_H
#define SENNET_GATEWAY_PAHO_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A new connection: nothing waits. Without memory for it, paho_ahead_recv() just receives. */
void paho_ahead_reset(int fd);

/* As recv(); `*asked` tells whether the kernel was asked. */
ssize_t paho_ahead_recv(int fd, void *buffer, size_t len, int flags, bool *asked);

bool paho_ahead_waiting(int fd);

/* Notes whether the latest write had to stop half way. */
void paho_ahead_write_stuck(int fd, bool stuck);
bool paho_ahead_is_stuck(int fd);

#endif
