/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the ether: ether.c (flights and events), ether_nodes.c (who is there). */
#ifndef SENNET_TOOLS_EMU_ETHER_PRIV_H
#define SENNET_TOOLS_EMU_ETHER_PRIV_H

#include "base/deadline.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/rng.h"

#include "tools/emu/ether.h"

enum flight_kind {
    FLIGHT_DOWN,    /* from the coordinator or another node, to a node */
    FLIGHT_KEPT,    /* by the parent of a sleeping child; lands when its time there is over */
    FLIGHT_UP,      /* from a node to the coordinator */
    FLIGHT_CONFIRM, /* what became of a frame, to the coordinator's host */
};

struct flight {
    struct deadline landing;
    struct list link; /* free, ready as an event, or kept for a node; alone while on air */
    enum flight_kind kind;
    struct ether_event event;
    int64_t sent_ms;
    int64_t back_ms; /* how long the acknowledgement takes; negative: it gets lost */
    int64_t copy_ms; /* a second one follows so much later; negative: none */
    uint32_t term;   /* of the coordinator: who waits for this */
    bool confirm;    /* somebody waits for what becomes of it */
    bool unicast;    /* a parent may keep it for its child */
    bool lost;
    uint8_t data[ETHER_PAYLOAD_MAX];
};

struct node {
    struct ether_node is;
    struct hmap_node by_eui64, by_short;
    size_t number;
    bool reachable;
    int64_t listens_ms; /* a sleepy one, until then */
    struct list kept;
    unsigned n_kept;
};

struct ether {
    struct ether_config config;
    struct ether_counters counters;
    struct rng rng;
    int64_t now_ms;
    struct node **nodes;
    size_t n_nodes, room;
    struct hmap by_eui64, by_short;
    struct deadlines flying;
    struct list ready; /* events, oldest first */
    struct list unused;
    bool coordinator; /* is on */
    uint32_t term;    /* how often it was switched off */
};

/* The node joined or rejoined: the coordinator hears of it. */
void ether_announce(struct ether *e, const struct node *node);

/* All of them; the maps are gone afterwards. */
void ether_nodes_free(struct ether *e);

#endif
