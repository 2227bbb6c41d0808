/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP socket addresses: from the configuration's text, to and from peers. Numbers only, no name is
 * ever looked up: a resolver could block the loop.
 */
#ifndef SENNET_RADIO_SOCKADDR_H
#define SENNET_RADIO_SOCKADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/peer.h"

union sock_addr {
    struct sockaddr any;
    struct sockaddr_in ip4;
    struct sockaddr_in6 ip6;
};

/* "127.0.0.1:1884", "[::1]:1884", "[fe80::1%eth0]:1884"; port 0 lets the system choose. 0 and
 * `*out`; -EINVAL (syntax) or -ENODEV (no such interface) with a sentence in `error`. Looks up the
 * index of a named interface, otherwise touches nothing. */
int sock_parse(const char *text, union sock_addr *out, char *error, size_t error_size);

socklen_t sock_len(const union sock_addr *a);

/* True for 0.0.0.0 and ::. */
bool sock_is_wildcard(const union sock_addr *a);

/* The peer at `a` (AF_INET or AF_INET6) on link `link`. */
struct peer *sock_to_peer(struct peer_room *room, uint16_t link, const union sock_addr *a);

/* The address of `p`, without its forwarder path; false when the peer is not of `family`. */
bool sock_from_peer(const struct peer *p, sa_family_t family, union sock_addr *out);

/* A nonblocking UDP socket bound to `address`, which tells the kernel's drops and, on the wildcard,
 * which of our addresses each datagram came to. The descriptor, or -errno. */
int sock_open_udp(const union sock_addr *address);

/* Is that an address of this machine, whatever the port? */
bool sock_is_local(const union sock_addr *a);

/* Makes the datagram of `h` leave with that source address, or with so many hops to go. The room in
 * msg_control must do for one in6_pktinfo. */
void sock_put_source(struct msghdr *h, sa_family_t family, const void *address);
void sock_put_hops(struct msghdr *h, sa_family_t family, int hops);

/* Asks for a receive buffer (0: leaves it alone); what the system grants, in octets. */
uint32_t sock_receive_buffer(int fd, uint32_t asked);

/* Why listening on `listen` failed and what to do about it, as a sentence. Returns -error. */
int sock_explain(int error, const char *listen, char *text, size_t text_size);

#endif
