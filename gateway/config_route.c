/* SPDX-License-Identifier: Apache-2.0 */
/* Routes and prefixes: names become numbers, and what can't work is said here and not in the night. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"
#include "mqttsn/topic.h"

enum { NUMBER_ROOM = 16 };

/* ---- names of brokers -------------------------------------------------------------------------- */

static void list_brokers(const struct config *c, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_brokers && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? ", " : "",
                              config_broker_name(&c->brokers[i]));
}

static bool find_broker(const struct config *c, struct bytes name, unsigned *out)
{
    for (unsigned i = 0; i < c->n_brokers; i++) {
        if (bytes_equal(bytes_str(config_broker_name(&c->brokers[i])), name)) {
            *out = i;
            return true;
        }
    }
    return false;
}

/* The next of the names in a list with commas; false at its end. */
static bool next_name(const char **at, struct bytes *out)
{
    static const char blanks[] = " \t,";
    *at += strspn(*at, blanks);
    const size_t len = strcspn(*at, blanks);
    *out = bytes_of(*at, len);
    *at += len;
    return len > 0;
}

static void check_to(struct config_builder *b, size_t i)
{
    struct config *c = b->config;
    struct config_route *route = &c->routes[i];
    const struct config_place at = config_place_of(&b->routes[i], SECTION_ROUTE, "to");
    struct bytes name;
    const char *rest = route->to;
    while (rest != NULL && next_name(&rest, &name)) {
        unsigned broker = 0;
        const bool known_name = find_broker(c, name, &broker);
        const uint32_t bit = broker < ROUTER_BROKERS_MAX ? UINT32_C(1) << broker : 0;
        if (known_name && (route->brokers & bit) != 0) {
            config_say1(&b->report, at, SAY_ROUTE_TWICE, config_broker_name(&c->brokers[broker]));
            return;
        }
        if (known_name) {
            route->brokers |= bit;
            continue;
        }
        char text[CONFIG_TEXT_ROOM];
        char known[CONFIG_TEXT_ROOM];
        snprintf(text, sizeof text, "%.*s", (int)name.len, (const char *)name.data);
        list_brokers(c, known, sizeof known);
        config_say2(&b->report, at, SAY_ROUTE_TO, text, known);
        return;
    }
    const bool said = config_is_set(&b->routes[i], SECTION_ROUTE, "to") && route->to == NULL;
    if (route->brokers == 0 && !said)
        config_say1(&b->report, at, SAY_ROUTE_NEEDS, route->name);
}

/* ---- what the router says ---------------------------------------------------------------------- */

void config_route(const struct config_route *from, struct route *out)
{
    const enum route_direction direction = (enum route_direction)(from->direction - 1);
    *out = (struct route){
        .name = from->name,
        .client = from->client,
        .from = from->from,
        .brokers = from->brokers,
        .topic = from->topic,
        .qos = (int)from->qos - 1,
        .retain = (enum route_retain)(from->retain - 1),
        .up = direction != ROUTE_DOWN,
        .down = direction != ROUTE_UP,
        .required = from->required != SN_NO,
    };
}

/* Its message begins with the key that it is about. */
static void check_fault(struct config_builder *b, size_t i)
{
    struct route route;
    config_route(&b->config->routes[i], &route);
    const char *fault = route.from != NULL && route.brokers != 0 ? route_fault(&route) : NULL;
    if (fault == NULL)
        return;
    static const char *const keys[] = {"client", "from", "topic", "direction"};
    const char *key = "from";
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
        if (strncmp(fault, keys[k], strlen(keys[k])) == 0)
            key = keys[k];
    }
    config_say2(&b->report, config_place_of(&b->routes[i], SECTION_ROUTE, key), SAY_ROUTE_FAULT,
                route.name, fault);
}

/* ---- prefixes ---------------------------------------------------------------------------------- */

static void check_prefix(struct config_builder *b, const struct config_origin *origin,
                         enum config_section section, const char *prefix)
{
    const char *fault = prefix != NULL ? route_prefix_fault(prefix) : NULL;
    if (fault != NULL)
        config_say2(&b->report, config_place_of(origin, section, "prefix"), SAY_PREFIX_FAULT,
                    prefix, fault);
}

static void say_many(struct config_builder *b, struct config_place at, enum config_message m,
                     int most)
{
    char number[NUMBER_ROOM];
    snprintf(number, sizeof number, "%d", most);
    config_say1(&b->report, at, m, number);
}

static void check_own_id(struct config_builder *b, const struct config_origin *origin,
                         enum config_section section, const char *key, const char *id)
{
    if (id != NULL && strstr(id, "{client}") == NULL)
        config_say1(&b->report, config_place_of(origin, section, key), SAY_OWN_ID, id);
}

bool config_has_own(const struct config *c)
{
    bool own = false;
    for (size_t i = 0; i < c->n_brokers; i++)
        own |= c->brokers[i].sessions == 1 + SESSIONS_OWN;
    for (size_t i = 0; i < c->n_clients; i++)
        own |= c->clients[i].sessions == 1 + SESSIONS_OWN;
    return own;
}

/* What a [client] section says of a session that nobody has; and a name that several would have. */
static void check_own_client(struct config_builder *b, size_t i, bool somebody)
{
    static const char *const keys[] = {"mqtt_client_id", "username", "password_file", "cert_file",
                                       "key_file"};
    const struct config_client *client = &b->config->clients[i];
    const struct config_origin *origin = &b->clients[i];
    for (size_t k = 0; k < sizeof keys / sizeof keys[0] && !somebody; k++) {
        if (config_is_set(origin, SECTION_CLIENT, keys[k]))
            config_say1(&b->report, config_place_of(origin, SECTION_CLIENT, keys[k]),
                        SAY_OWN_NOBODY, keys[k]);
    }
    if (somebody && strpbrk(client->glob, "*?[") != NULL)
        check_own_id(b, origin, SECTION_CLIENT, "mqtt_client_id", client->mqtt_client_id);
}

/* One session there has one connection at a time. */
static void check_broker_twice(struct config_builder *b, size_t i)
{
    const struct config_broker *broker = &b->config->brokers[i];
    for (size_t k = 0; k < i; k++) {
        const struct config_broker *other = &b->config->brokers[k];
        if (broker->address == NULL || other->address == NULL || broker->client_id == NULL ||
            other->client_id == NULL || strcmp(broker->address, other->address) != 0 ||
            strcmp(broker->client_id, other->client_id) != 0)
            continue;
        config_say2(&b->report, config_place_of(&b->brokers[i], SECTION_BROKER, "address"),
                    SAY_BROKER_TWICE, config_broker_name(broker), config_broker_name(other));
        return;
    }
}

void config_check_routes(struct config_builder *b)
{
    const struct config *c = b->config;
    if (c->n_brokers > ROUTER_BROKERS_MAX)
        say_many(b, b->brokers[ROUTER_BROKERS_MAX].at, SAY_BROKERS_TOO_MANY, ROUTER_BROKERS_MAX);
    if (c->n_routes > ROUTER_ROUTES_MAX)
        say_many(b, b->routes[ROUTER_ROUTES_MAX].at, SAY_ROUTES_TOO_MANY, ROUTER_ROUTES_MAX);
    for (size_t i = 0; i < c->n_routes; i++) {
        check_to(b, i);
        check_fault(b, i);
    }
    check_prefix(b, &b->gateway, SECTION_GATEWAY, c->gateway.prefix);
    for (size_t i = 0; i < c->n_links; i++)
        check_prefix(b, &b->links[i], SECTION_LINK, c->links[i].prefix);
    for (size_t i = 0; i < c->n_clients; i++)
        check_prefix(b, &b->clients[i], SECTION_CLIENT, c->clients[i].prefix);
    for (size_t i = 0; i < c->n_brokers; i++) {
        check_own_id(b, &b->brokers[i], SECTION_BROKER, "own_client_id",
                     c->brokers[i].own_client_id);
        check_broker_twice(b, i);
    }
    const bool somebody = config_has_own(c);
    for (size_t i = 0; i < c->n_clients; i++)
        check_own_client(b, i, somebody);
}
