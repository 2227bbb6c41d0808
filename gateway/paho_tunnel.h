/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that the dialer has made, under Paho (docs/adr/0019). Paho is given a name instead of a
 * host; when it asks for the address of that name and connects, its socket becomes the dialer's. What
 * Paho then reads and writes goes through here if the connection is a WebSocket: it sees plain MQTT over
 * TCP, and frames and TLS are ours.
 *
 * Nothing here waits. A frame that the kernel takes in part only is kept, and the write "would block";
 * Paho offers the same octets again, as it does with TLS.
 */
#ifndef SENNET_GATEWAY_PAHO_TUNNEL_H
#define SENNET_GATEWAY_PAHO_TUNNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "dialer.h"

enum { PAHO_TUNNEL_NAME_MAX = 40 };

/* Any thread. Makes the connection known under a name, for one use; takes over what is in `made`, also
 * on failure. 0 or -ENOMEM. */
int paho_tunnel_put(const struct dialer_result *made, bool websocket,
                    char name[PAHO_TUNNEL_NAME_MAX]);
/* Closes it, if Paho has not taken it. */
void paho_tunnel_drop(const char *name);

/* ---- called by Paho, through paho_calls.c ---------------------------------------------------- */

/* Is the host such a name? Then the next connect() of this thread is paho_tunnel_connect(). */
bool paho_tunnel_expect(const char *host);
bool paho_tunnel_is_expected(void);
/* As connect(): EINPROGRESS when all is well. */
int paho_tunnel_connect(int fd);

/* Is there a WebSocket on it? For these the following are. */
bool paho_tunnel_is(int fd);

/* As recv() and writev(). `*more`: there is more to read, or to hear about, without asking the kernel. */
ssize_t paho_tunnel_recv(int fd, void *buffer, size_t len, bool *more);
ssize_t paho_tunnel_writev(int fd, const struct iovec *parts, int count, int flags);
/* Why reading has ended; empty: nothing that the socket would not say. */
void paho_tunnel_why(int fd, char *out, size_t size);
/* Before shutdown(): says goodbye. */
void paho_tunnel_farewell(int fd);
/* Before close(), in Paho's receiving thread or under Paho's lock. */
void paho_tunnel_forget(int fd);

#endif
