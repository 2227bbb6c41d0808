/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the engine: ADVERTISE, SEARCHGW, GWINFO (sections 5.4.1 to 5.4.3, 6.1). Part of
 * engine_priv.h.
 */
#ifndef SENNET_MQTTSN_DISCOVER_H
#define SENNET_MQTTSN_DISCOVER_H

#include "base/deadline.h"
#include "base/peer.h"
#include "base/rng.h"

struct sn_engine;
struct sn_packet;

enum { SN_SEARCHER_BUCKETS = 4096, SN_SEARCHES_PER_WINDOW = 10, SN_GATEWAYS = 16 };

/* What is said to the group of one link (discover.c). */
struct sn_beacon {
    struct deadline advertise;
    struct deadline answer; /* GWINFO for the searches heard so far */
    uint16_t link;
    uint16_t advertise_s; /* as it was scheduled */
    uint8_t radius;       /* of the answer */
    bool joined;
};

/* Another gateway. */
struct sn_gateway {
    int64_t until_ms; /* alive, if nothing else is heard; 0 in a free entry */
    uint16_t duration_s;
    uint8_t id;
    _Alignas(struct peer) uint8_t peer[sizeof(struct peer) + PEER_ADDR_MAX];
};

struct sn_discover {
    struct sn_beacon *beacons; /* by link */
    struct rng rng;
    struct sn_gateway gateways[SN_GATEWAYS];
    int64_t searcher_ms[SN_SEARCHER_BUCKETS]; /* by hash of the address: next answer */
    int64_t answered_ms[SN_SEARCHES_PER_WINDOW];
    unsigned oldest_answer;
    int64_t conflict_ms; /* next alarm */
};

/* 0, or -1 when out of memory. */
int sn_discover_init(struct sn_engine *e);
void sn_discover_deinit(struct sn_engine *e);
/* The broker came or went. */
void sn_discover_refresh(struct sn_engine *e);
/* The links' times of ADVERTISE may have changed. */
void sn_discover_reschedule(struct sn_engine *e);
void sn_discover_group(struct sn_engine *e, uint16_t link, bool joined);
void sn_on_searchgw(struct sn_engine *e, const struct peer *from, const struct sn_packet *p,
                    bool to_group);
/* ADVERTISE or GWINFO, heard on a group. */
void sn_on_gateway(struct sn_engine *e, const struct peer *from, const struct sn_packet *p);
void sn_advertise_due(struct sn_engine *e, struct sn_beacon *b);
void sn_gwinfo_due(struct sn_engine *e, struct sn_beacon *b);
unsigned sn_gateways_alive(const struct sn_engine *e);

#endif
