/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From one configuration to the next, in a process that goes on (docs/adr/0018): what has changed, what
 * of it can be had without a restart, and the configuration that is in effect then.
 *
 *     config_load(wanted);  config_compare(...);  ... prepare what can fail ...
 *     config_adopt(running, wanted);  config_free(running);  wanted is what runs
 */
#ifndef SENNET_GATEWAY_CONFIG_CHANGE_H
#define SENNET_GATEWAY_CONFIG_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config.h"

struct config_key;

/* A value, or a section as a whole. */
struct config_change {
    char *what;      /* "[link lan] listen", "[route cloud]" */
    const char *how; /* "changed", "added", "removed", "content", "order" */
    char *old;       /* as written; NULL: there was none, or it is no single value */
    char *new;
    const struct config_key *key; /* NULL: the section */
    bool of_whole;                /* of [gateway] or [store], of which there is one */
    enum config_effect effect;
};

struct config_changes {
    struct config_change *list;
    size_t n;
    size_t n_waiting; /* for a restart */
    bool engine;      /* something of what config_engine() tells */
    bool routing;     /* of routes and prefixes */
    bool can_route;   /* these can change */
    uint32_t
        spools; /* of brokers, by number in `running`: limits of what leaves or waits for them */
    uint32_t brokers;  /* how they are spoken to; ... */
    uint32_t renewals; /* ... of these, the ones where that needs another connection */
};

/* `first` is what the process has been started with; `has_router` says whether it has a router, without
 * which there is no room for routes and prefixes. 0 or -ENOMEM, which leaves nothing to free. */
int config_compare(const struct config *first, const struct config *running,
                   const struct config *wanted, bool has_router, struct config_changes *out);
void config_changes_free(struct config_changes *c);

/* Then `wanted` is what is in effect: what needs a restart has moved from `running` to it, and the other
 * way round, so that pointers to such values (names, among them) still point into what runs. Links and
 * brokers keep their numbers. */
void config_adopt(struct config *running, struct config *wanted,
                  const struct config_changes *changes);

/* Is there anything in it that a router is needed for? */
bool config_is_routed(const struct config *c);

#endif
