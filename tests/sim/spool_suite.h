/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of the spool share: the one world of the running test, and what they ask of it. */
#ifndef SENNET_TESTS_SIM_SPOOL_SUITE_H
#define SENNET_TESTS_SIM_SPOOL_SUITE_H

#include "sim/spool_world.h"
#include "unit/suite.h"

enum { A, B, C }; /* the first nodes */

static struct world *w;

static inline void teardown(void)
{
    if (w != NULL)
        world_free(w);
    w = NULL;
}

/* In place of the world of before, if there is one. Nodes have as much open as they like. */
static inline void open_world(struct spool_config config, struct faults faults, unsigned nodes)
{
    teardown();
    w = world_new(&config, faults, 1);
    w->n_nodes = nodes;
    for (unsigned i = 0; i < nodes; i++)
        w->nodes[i].window = OPEN_MAX;
}

static inline void open_sound_world(struct spool_config config, unsigned nodes)
{
    open_world(config, (struct faults){.crash = false}, nodes);
}

static inline uint32_t publish(unsigned node, uint8_t qos)
{
    const uint32_t i = world_publish(w, node, qos, false);
    world_carry(w);
    return i;
}

static inline enum outcome outcome(uint32_t attempt)
{
    return attempt_at(w, attempt)->outcome;
}

static inline unsigned deliveries(uint32_t attempt)
{
    return attempt_at(w, attempt)->deliveries;
}

static inline struct spool_gauges gauges(void)
{
    return spool_gauges(w->s);
}

#endif
