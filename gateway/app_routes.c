/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes and prefixes as the router has them, with strings of their own, since they change while it runs;
 * and what they were in the process before: what brokers have kept for us since is called by the
 * names of that time. So a router begins with these, and goes over to the present ones as in a reload.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#include "app_priv.h"
#include "config_priv.h"

enum { SETTLE_MS = 200 }; /* how often brokers that are to answer are looked at */

struct app_routes {
    struct route *routes;
    size_t n_routes;
    struct route_prefix *prefixes;
    size_t n_prefixes;
    const char **link_prefixes; /* by link of this process */
    size_t n_links;
    const char *prefix;
    uint32_t rest; /* as in the router's configuration */
    char **texts;  /* of all these */
    size_t n_texts;
    bool no_memory;
};

/* ---- copies ------------------------------------------------------------------------------------ */

static const char *keep(struct app_routes *r, const char *text)
{
    if (text == NULL)
        return NULL;
    char *copy = strdup(text);
    if (copy == NULL)
        r->no_memory = true;
    else
        r->texts[r->n_texts++] = copy;
    return copy;
}

void app_routes_free(struct app_routes *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->n_texts; i++)
        free(r->texts[i]);
    free(r->texts);
    free(r->routes);
    free(r->prefixes);
    free((void *)r->link_prefixes);
    free(r);
}

size_t app_broker_of(const struct config *c, const char *name)
{
    size_t i = 0;
    while (i < c->n_brokers && strcmp(config_broker_name(&c->brokers[i]), name) != 0)
        i++;
    return i;
}

/* By the numbers that brokers have in this process; those that are not there any more have none. */
static uint32_t brokers_of(const struct config *from, uint32_t brokers, const struct config *here)
{
    uint32_t mask = 0;
    for (size_t i = 0; i < from->n_brokers && i < ROUTER_BROKERS_MAX; i++) {
        const size_t at = app_broker_of(here, config_broker_name(&from->brokers[i]));
        if ((brokers >> i & 1) != 0 && at < here->n_brokers && at < ROUTER_BROKERS_MAX)
            mask |= UINT32_C(1) << at;
    }
    return mask;
}

static void take_routes(struct app_routes *r, const struct config *from, const struct config *here)
{
    for (size_t i = 0; i < from->n_routes; i++) {
        struct route *route = &r->routes[r->n_routes];
        config_route(&from->routes[i], route);
        route->brokers = brokers_of(from, route->brokers, here);
        route->name = keep(r, route->name);
        route->client = keep(r, route->client);
        route->from = keep(r, route->from);
        route->topic = keep(r, route->topic);
        r->n_routes += route->brokers != 0;
    }
}

static void take_prefixes(struct app_routes *r, const struct config *from,
                          const struct config *here)
{
    r->prefix = keep(r, from->gateway.prefix != NULL ? from->gateway.prefix : "");
    for (size_t i = 0; i < from->n_clients; i++) {
        const struct config_client *c = &from->clients[i];
        if (c->prefix != NULL)
            r->prefixes[r->n_prefixes++] =
                (struct route_prefix){.glob = keep(r, c->glob), .prefix = keep(r, c->prefix)};
    }
    for (size_t i = 0; i < here->n_links; i++) {
        for (size_t k = 0; k < from->n_links; k++) {
            if (strcmp(here->links[i].name, from->links[k].name) == 0)
                r->link_prefixes[i] = keep(r, from->links[k].prefix);
        }
    }
}

struct app_routes *app_routes_new(const struct config *from, const struct config *here)
{
    enum { TEXTS_OF_ROUTE = 4, TEXTS_OF_CLIENT = 2 };

    struct app_routes *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->n_links = here->n_links;
    r->rest = brokers_of(from, 1, here);
    r->routes = calloc(from->n_routes + 1, sizeof *r->routes);
    r->prefixes = calloc(from->n_clients + 1, sizeof *r->prefixes);
    r->link_prefixes = calloc(here->n_links + 1, sizeof *r->link_prefixes);
    r->texts = calloc(1 + TEXTS_OF_ROUTE * from->n_routes + TEXTS_OF_CLIENT * from->n_clients +
                          here->n_links,
                      sizeof *r->texts);
    if (r->routes != NULL && r->prefixes != NULL && r->link_prefixes != NULL && r->texts != NULL) {
        take_routes(r, from, here);
        take_prefixes(r, from, here);
        if (!r->no_memory)
            return r;
    }
    app_routes_free(r);
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool same_route(const struct route *a, const struct route *b)
{
    return same_text(a->client, b->client) && same_text(a->from, b->from) &&
           a->brokers == b->brokers && same_text(a->topic, b->topic) && a->up == b->up &&
           a->down == b->down;
}

/* Are filters called the same at the same brokers? */
static bool same_names(const struct app_routes *a, const struct app_routes *b)
{
    bool same = a->n_routes == b->n_routes && a->n_prefixes == b->n_prefixes &&
                a->rest == b->rest && strcmp(a->prefix, b->prefix) == 0;
    for (size_t i = 0; same && i < a->n_routes; i++)
        same = same_route(&a->routes[i], &b->routes[i]);
    for (size_t i = 0; same && i < a->n_prefixes; i++)
        same = strcmp(a->prefixes[i].glob, b->prefixes[i].glob) == 0 &&
               strcmp(a->prefixes[i].prefix, b->prefixes[i].prefix) == 0;
    for (size_t i = 0; same && i < a->n_links; i++)
        same = same_text(a->link_prefixes[i], b->link_prefixes[i]);
    return same;
}

void app_routes_fill(const struct app_routes *r, struct router_config *out)
{
    out->rest = r->rest;
    out->prefix = r->prefix;
    out->link_prefixes = r->link_prefixes;
    out->client_prefixes = r->prefixes;
    out->n_client_prefixes = r->n_prefixes;
    out->routes = r->routes;
    out->n_routes = r->n_routes;
}

/* ---- the process before ------------------------------------------------------------------------ */

/* NULL: out of memory. */
static char *path_of(const struct app *a, const char *end)
{
    char *path = NULL;
    return asprintf(&path, "%s/effective.conf%s", a->config->gateway.state_dir, end) > 0 ? path
                                                                                         : NULL;
}

/* NULL: it can't be parsed any more. */
static struct config *parse(const char *path, struct bytes text)
{
    struct config *c = NULL;
    FILE *nobody = fopen("/dev/null", "we");
    if (nobody == NULL)
        return NULL;
    if (config_parse(path, text, nobody, &c) != 0)
        c = NULL;
    fclose(nobody);
    return c;
}

/* What was in effect then; NULL: not known, or of no use. */
static struct config *recall(const struct app *a)
{
    char *text = NULL;
    size_t len = 0;
    unsigned mode = 0;
    char *path = a->pump.store != NULL ? path_of(a, "") : NULL;
    struct config *before = NULL;
    if (path != NULL && config_read_file(path, CONFIG_FILE_MAX, true, &text, &len, &mode) == 0)
        before = parse(path, bytes_of(text, len));
    free(text);
    free(path);
    return before;
}

int app_routes_begin(struct app *a)
{
    struct config *const before = recall(a);
    a->routes = app_routes_new(a->config, a->config);
    if (before != NULL && a->routes != NULL) {
        struct app_routes *old = app_routes_new(before, a->config);
        const bool differs = old != NULL && !same_names(old, a->routes);
        a->routes_before = differs ? old : NULL;
        if (!differs)
            app_routes_free(old);
    }
    config_free(before);
    app_routes_changed(a);
    return a->routes != NULL ? 0 : -ENOMEM;
}

int app_routes_restored(struct app *a)
{
    struct router_config config = router_defaults();
    if (a->routes_before == NULL)
        return 0;
    app_routes_fill(a->routes, &config);
    const int rc = router_configure(a->pump.router, a->pump.now_ms, &config);
    if (rc != 0)
        return rc;
    app_routes_free(a->routes_before);
    a->routes_before = NULL;
    if (log_begin(&a->log, LOG_NOTICE, "gateway.routes_changed")) {
        log_text(&a->log, "text",
                 "routes or prefixes are not those of the latest start: what brokers have kept "
                 "since goes by the new ones");
        log_end(&a->log);
    }
    return 0;
}

/* ---- for the next process ---------------------------------------------------------------------- */

static bool is_in(const char *path, const char *text, size_t len)
{
    char *old = NULL;
    size_t n = 0;
    unsigned mode = 0;
    const bool same = config_read_file(path, CONFIG_FILE_MAX, true, &old, &n, &mode) == 0 &&
                      n == len && memcmp(old, text, len) == 0;
    free(old);
    return same;
}

static bool write_file(const char *path, const char *text, size_t len)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return false;
    const bool ok = fwrite(text, 1, len, f) == len;
    return fclose(f) == 0 && ok;
}

/* Without it leftovers of old routes stay at the broker, which costs traffic and nothing else. */
static void save(const struct app *a)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return;
    config_print(a->config, f);
    const bool printed = fclose(f) == 0;
    char *path = path_of(a, "");
    char *fresh = path_of(a, ".new");
    if (printed && path != NULL && fresh != NULL && !is_in(path, text, len) &&
        write_file(fresh, text, len))
        (void)rename(fresh, path);
    free(path);
    free(fresh);
    free(text);
}

void app_routes_changed(struct app *a)
{
    a->routes_unsaved = a->pump.store != NULL;
    a->settle_ms = a->routes_unsaved ? a->pump.now_ms : TIME_NEVER;
}

static bool all_are_connected(const struct app *a)
{
    bool all = true;
    for (size_t i = 0; i < a->config->n_brokers; i++)
        all = all && a->brokers[i].watch.connected;
    return all;
}

/* Not before each broker has answered: if we are killed before that, the next process begins where this
 * one did. */
void app_routes_settle(struct app *a)
{
    if (!a->routes_unsaved || a->pump.now_ms < a->settle_ms)
        return;
    const bool connected = all_are_connected(a);
    a->settle_ms = connected ? time_add(a->pump.now_ms, SETTLE_MS) : TIME_NEVER;
    if (!connected || !pump_is_settled(&a->pump))
        return;
    a->settle_ms = TIME_NEVER;
    a->routes_unsaved = false;
    save(a);
    if (log_begin(&a->log, LOG_INFO, "gateway.routes_settled")) {
        log_text(&a->log, "text", "no broker has a filter of other routes or prefixes any more");
        log_end(&a->log);
    }
}

void app_routes_connected(struct app *a)
{
    if (a->routes_unsaved)
        a->settle_ms = a->pump.now_ms;
}
