/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The air between a node and the gateway: loses, doubles and delays packets, in both directions.
 *
 * Every node has a path with random numbers of its own, seeded from the run's seed and its number,
 * so what happens to the k-th packet of a node depends on nothing else. Pure: time comes in,
 * packets that have landed go out.
 */
#ifndef SENNET_TOOLS_SIM_AIR_H
#define SENNET_TOOLS_SIM_AIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/deadline.h"
#include "base/rng.h"

struct air_settings {
    double loss;      /* 0..1, each direction */
    double duplicate; /* 0..1 of what is not lost */
    int64_t latency_ms;
    int64_t jitter_ms; /* 0..this is added, so packets may overtake each other */
};

static inline bool air_is_clear(const struct air_settings *s)
{
    return s->loss <= 0 && s->duplicate <= 0 && s->latency_ms <= 0 && s->jitter_ms <= 0;
}

struct air_path {
    struct rng rng;
};

void air_path_init(struct air_path *path, uint64_t seed, uint32_t node);

enum { AIR_COPIES_MAX = 2 };

/* What becomes of the next packet: how many copies arrive (0..2), and after what delay each.
 * Always draws the same number of random numbers, so settings do not shift later fates. */
unsigned air_decide(struct air_path *path, const struct air_settings *settings,
                    int64_t delays_ms[AIR_COPIES_MAX]);

/* ---- packets under way ----------------------------------------------------------------------- */

enum { AIR_FLYING_MAX = 200000 };

struct air_packet {
    struct deadline landing;
    struct air_packet *next_free;
    uint32_t node;
    uint32_t incarnation; /* of the node: what was for an earlier one is dropped */
    bool up;              /* to the gateway */
    uint32_t capacity;
    uint32_t len;
    uint8_t data[];
};

struct air {
    struct deadlines flying;
    struct air_packet *free_list;
    uint64_t lost;
    uint64_t duplicated;
    uint64_t overflowed; /* more than AIR_FLYING_MAX under way, or out of memory */
};

void air_init(struct air *a);
void air_deinit(struct air *a);

/* Copies `in`, to land at `at_ms`. */
void air_launch(struct air *a, int64_t at_ms, uint32_t node, uint32_t incarnation, bool up,
                struct bytes in);

static inline int64_t air_next_landing(const struct air *a)
{
    return deadlines_next(&a->flying);
}

/* Two phases as in base/deadline.h: air_collect() once per instant, then air_land() until NULL.
 * Give every landed packet back with air_release(). */
void air_collect(struct air *a, int64_t now_ms);
struct air_packet *air_land(struct air *a);
void air_release(struct air *a, struct air_packet *p);

#endif
