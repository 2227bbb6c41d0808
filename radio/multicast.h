/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP multicast groups: from the configuration's text to a socket that hears one. Interfaces come
 * and go, so they are looked up when a group is joined, never when the text is read.
 */
#ifndef SENNET_RADIO_MULTICAST_H
#define SENNET_RADIO_MULTICAST_H

#include <net/if.h>
#include <stddef.h>

#include "radio/sockaddr.h"

struct multicast {
    union sock_addr group;     /* without scope */
    union sock_addr interface; /* an address of it; AF_UNSPEC: not given */
    char name[IF_NAMESIZE];    /* or its name or number; "": not given */
};

/* "225.1.1.1:1885", "[ff02::1:ff]:1885", each with "@" and the interface if wanted: an address that
 * it has ("192.0.2.1", "fe80::1%eth0") or its name. Without it, the interface of `listen`, or with
 * the wildcard there what the system chooses. 0 or -EINVAL, with a sentence in `error`. */
int multicast_parse(const char *text, const union sock_addr *listen, struct multicast *out,
                    char *error, size_t error_size);

/* Index of the interface; 0: the system chooses; or -ENODEV while it is not there. */
int multicast_interface(const struct multicast *m);

/* A nonblocking socket that hears the group on that interface, and nothing else; `sender` gets
 * ready to send to it, heard on this machine, too. The descriptor, or -errno. */
int multicast_join(const struct multicast *m, int interface, int sender);

#endif
