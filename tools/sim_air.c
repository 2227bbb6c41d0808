/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sim_air.h"

#include <stdlib.h>

#include "base/list.h"

/* Packets of this size or less share one free list; longer ones are rare. */
enum { USUAL_CAPACITY = 256 };

void air_path_init(struct air_path *path, uint64_t seed, uint32_t node)
{
    rng_seed(&path->rng, seed ^ (UINT64_C(0x9e3779b97f4a7c15) * (node + UINT64_C(1))));
}

static bool happens(struct rng *rng, double probability)
{
    const double x = (double)(rng_next(rng) >> 11) * 0x1p-53;
    return x < probability;
}

static int64_t delay(struct rng *rng, const struct air_settings *s)
{
    const uint64_t spread = rng_next(rng);
    const int64_t jitter_ms =
        s->jitter_ms > 0 ? (int64_t)(spread % ((uint64_t)s->jitter_ms + 1)) : 0;
    return s->latency_ms + jitter_ms;
}

unsigned air_decide(struct air_path *path, const struct air_settings *settings,
                    int64_t delays_ms[AIR_COPIES_MAX])
{
    const bool lost = happens(&path->rng, settings->loss);
    const bool doubled = happens(&path->rng, settings->duplicate);
    for (unsigned i = 0; i < AIR_COPIES_MAX; i++)
        delays_ms[i] = delay(&path->rng, settings);
    if (lost)
        return 0;
    return doubled ? 2 : 1;
}

/* ---- packets under way ----------------------------------------------------------------------- */

void air_init(struct air *a)
{
    *a = (struct air){0};
    deadlines_init(&a->flying);
}

void air_deinit(struct air *a)
{
    air_collect(a, TIME_NEVER - 1);
    struct air_packet *p;
    while ((p = air_land(a)) != NULL)
        free(p);
    while ((p = a->free_list) != NULL) {
        a->free_list = p->next_free;
        free(p);
    }
}

static struct air_packet *packet_for(struct air *a, size_t len)
{
    if (len <= USUAL_CAPACITY && a->free_list != NULL) {
        struct air_packet *p = a->free_list;
        a->free_list = p->next_free;
        return p;
    }
    const size_t capacity = len <= USUAL_CAPACITY ? USUAL_CAPACITY : len;
    struct air_packet *p = malloc(sizeof *p + capacity);
    if (p == NULL)
        return NULL;
    deadline_init(&p->landing, 0);
    p->capacity = (uint32_t)capacity;
    return p;
}

void air_launch(struct air *a, int64_t at_ms, uint32_t node, uint32_t incarnation, bool up,
                struct bytes in)
{
    struct air_packet *p = a->flying.count < AIR_FLYING_MAX ? packet_for(a, in.len) : NULL;
    if (p == NULL) {
        a->overflowed++;
        return;
    }
    p->node = node;
    p->incarnation = incarnation;
    p->up = up;
    p->len = (uint32_t)in.len;
    struct writer w = wr_to(p->data, p->capacity);
    wr_bytes(&w, in);
    deadline_arm(&a->flying, &p->landing, at_ms);
}

void air_collect(struct air *a, int64_t now_ms)
{
    deadlines_collect(&a->flying, now_ms);
}

struct air_packet *air_land(struct air *a)
{
    struct deadline *due = deadlines_take(&a->flying);
    return due != NULL ? container_of(due, struct air_packet, landing) : NULL;
}

void air_release(struct air *a, struct air_packet *p)
{
    if (p->capacity != USUAL_CAPACITY) {
        free(p);
        return;
    }
    p->next_free = a->free_list;
    a->free_list = p;
}
