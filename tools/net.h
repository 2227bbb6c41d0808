/* SPDX-License-Identifier: Apache-2.0 */
/* A non-blocking UDP socket connected to one gateway, and the clock that the machine is fed with.
 */
#ifndef SENNET_TOOLS_NET_H
#define SENNET_TOOLS_NET_H

#include <stddef.h>
#include <stdint.h>

struct addrinfo;

enum { NET_NAME_MAX = 80 };

struct net {
    int fd;
    char name[NET_NAME_MAX]; /* "127.0.0.1:1884", "[::1]:1884" */
    const char *bind_address;
    struct addrinfo *list;       /* what the host's name resolved to */
    const struct addrinfo *next; /* addresses not tried yet; NULL: none */
};

/* `bind_address` may be NULL, else it must outlive the socket. 0, or a negative number with a
 * sentence for people in `why`. Blocks while the name is resolved. */
int net_open(struct net *n, const char *host, uint16_t port, const char *bind_address, char *why,
             size_t why_size);
void net_close(struct net *n);

/* Goes on to the host's next address, for example when "localhost" is first ::1 and the gateway
 * listens on 127.0.0.1. 0, or a negative number: there is none, the socket stays as it is. */
int net_next(struct net *n);

/* CLOCK_MONOTONIC. */
int64_t net_now_ms(void);

#endif
