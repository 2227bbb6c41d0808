/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multicast group of a UDP link: a second socket that only listens. It joins when it can, and
 * keeps trying while it can't, because a network may come up long after the gateway.
 *
 * Inside of the UDP link; for links see radio/link.h.
 */
#ifndef SENNET_RADIO_UDP_GROUP_H
#define SENNET_RADIO_UDP_GROUP_H

#include "radio/link.h"
#include "radio/multicast.h"

struct udp_group;

/* `counters` are the link's, used until close. NULL when out of memory. */
struct udp_group *udp_group_new(void *loop, const struct multicast *m,
                                const struct link_config *config, const struct link_sink *sink,
                                struct link_counters *counters);

/* Joins, or begins to try. `sender` is the link's own socket, which will send to the group. */
void udp_group_start(struct udp_group *g, int sender);

/* Where to send what is for the group; NULL while it is not joined. */
const union sock_addr *udp_group_address(const struct udp_group *g);

/* Calls nobody any more, and frees when the loop has closed its handles. NULL is ignored. */
void udp_group_close(struct udp_group *g);

#endif
