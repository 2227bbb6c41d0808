/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other routes and prefixes while sessions go on. What everybody is called is worked out before anything is
 * changed, and given up if memory is short; then one client after the other goes over.
 */
#include <errno.h>
#include <stdlib.h>

#include "broker/router_priv.h"

/* What goes by the routes. */
struct course {
    struct router_config config;
    struct bytes *from;
    struct naming **strangers;
    struct hmap namings;
    struct naming **of_clients; /* by slot; NULL: not made yet */
};

static struct course course_of(const struct router *r, struct naming **of_clients)
{
    return (struct course){.config = r->config,
                           .from = r->from,
                           .strangers = r->strangers,
                           .namings = r->namings,
                           .of_clients = of_clients};
}

static void follow(struct router *r, const struct course *c)
{
    r->config = c->config;
    r->from = c->from;
    r->strangers = c->strangers;
    r->namings = c->namings;
}

/* Namings are in the map that they were made in. */
static void course_free(struct router *r, struct course *c)
{
    const struct course now = course_of(r, NULL);
    follow(r, c);
    for (uint32_t slot = 0; c->of_clients != NULL && slot < r->cap_slots; slot++)
        naming_unref(r, c->of_clients[slot]);
    for (size_t i = 0; r->strangers != NULL && i <= r->config.n_links; i++)
        naming_unref(r, r->strangers[i]);
    hmap_deinit(&r->namings);
    free(c->of_clients);
    free(c->from);
    free(c->strangers);
    follow(r, &now);
}

static struct router_config merged(const struct router *r, const struct router_config *config)
{
    struct router_config c = r->config;
    c.prefix = config->prefix;
    c.link_prefixes = config->link_prefixes;
    c.client_prefixes = config->client_prefixes;
    c.n_client_prefixes = config->n_client_prefixes;
    c.routes = config->routes;
    c.n_routes = config->n_routes;
    c.rest = config->rest;
    return c;
}

static uint16_t link_of(const struct client *c)
{
    return c->peer != NULL ? c->peer->link : NO_LINK;
}

/* Everything by the new routes; the router follows it. False: out of memory, and there is no course. */
static bool course_make(struct router *r, const struct router_config *config, struct course *out)
{
    const struct course now = course_of(r, NULL);
    struct naming **all = calloc(r->cap_slots + 1, sizeof(struct naming *));
    r->config = merged(r, config);
    r->from = NULL;
    r->strangers = NULL;
    hmap_init(&r->namings);
    bool ok = all != NULL && routes_init(r) && strangers_init(r);
    for (uint32_t slot = 0; ok && slot < r->cap_slots; slot++) {
        const struct client *c = r->slots[slot];
        if (c == NULL)
            continue;
        all[slot] = naming_get(r, router_client_id(r, c), link_of(c));
        ok = all[slot] != NULL;
    }
    *out = course_of(r, all);
    if (ok)
        return true;
    follow(r, &now);
    course_free(r, out);
    routes_heed(r);
    return false;
}

/* A broker that comes in between has never heard of the client. */
static void come(struct router *r, struct client *c, uint32_t before)
{
    const uint32_t after = c->naming->brokers;
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        if (has_broker(after & ~before, b) && c->present)
            router_open_at(r, c, b, true);
        else if (has_broker(after, b) && !c->present && parts_missing(c, b))
            router_open_at(r, c, b, has_broker(~before, b));
        else if (has_broker(after, b) && c->at[b].state == AT_OPEN)
            parts_subscribe(r, c, b, true);
    }
}

/* One that it leaves forgets it. */
static void leave(struct router *r, struct client *c, uint32_t before)
{
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        if (has_broker(before & ~c->naming->brokers, b))
            router_leave(r, c, b);
    }
    if (c->opening)
        router_settle_refusals(r, c);
}

static void go_over(struct router *r, struct client *c, uint32_t before)
{
    if (!wants_reroute(r, c)) {
        wants_rerouted(r, c);
        router_no_memory(r, "routes");
        router_drop_client(r, c, before | c->naming->brokers);
        return;
    }
    come(r, c, before);
    wants_rerouted(r, c);
    leave(r, c, before);
    router_rename_will(r, c);
}

int router_configure(struct router *r, int64_t now_ms, const struct router_config *config)
{
    router_advance(r, now_ms);
    struct course before = course_of(r, NULL);
    struct course after;
    if (!course_make(r, config, &after))
        return -ENOMEM;
    struct naming **const fresh = after.of_clients;
    before.of_clients = calloc(r->cap_slots + 1, sizeof(struct naming *));
    if (before.of_clients == NULL) {
        follow(r, &before);
        course_free(r, &after);
        routes_heed(r);
        return -ENOMEM;
    }
    for (uint32_t slot = 0; slot < r->cap_slots; slot++) {
        if (r->slots[slot] == NULL)
            continue;
        before.of_clients[slot] = r->slots[slot]->naming;
        r->slots[slot]->naming = fresh[slot];
    }
    free(fresh);
    for (uint32_t slot = 0; slot < r->cap_slots; slot++) {
        if (before.of_clients[slot] != NULL && r->slots[slot] != NULL)
            go_over(r, r->slots[slot], before.of_clients[slot]->brokers);
    }
    course_free(r, &before);
    return 0;
}
