/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two configurations. */
#include "config_change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"

struct comparison {
    const struct config *first, *running, *wanted;
    struct config_changes *out;
    bool no_memory;
};

/* ---- what is noted ----------------------------------------------------------------------------- */

static char *describe(enum config_section s, const char *name, const char *key)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return NULL;
    fprintf(f, "[%s", config_section_name(s));
    if (name != NULL)
        fprintf(f, " %s", name);
    fprintf(f, "]%s%s", key != NULL ? " " : "", key != NULL ? key : "");
    return fclose(f) == 0 ? text : NULL;
}

static char *value_of(const struct config_key *key, const void *object)
{
    char *text = NULL;
    size_t len = 0;
    if (key == NULL || object == NULL || !config_value_is_set(key, object))
        return NULL;
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return NULL;
    config_value_write(key, object, f);
    return fclose(f) == 0 ? text : NULL;
}

/* NULL: out of memory. */
static struct config_change *note(struct comparison *c, enum config_section s, const char *name,
                                  const struct config_key *key, const char *how,
                                  enum config_effect effect)
{
    struct config_changes *out = c->out;
    struct config_change *grown = realloc(out->list, (out->n + 1) * sizeof *grown);
    char *what = grown != NULL ? describe(s, name, key != NULL ? key->name : NULL) : NULL;
    if (grown != NULL)
        out->list = grown;
    if (what == NULL) {
        c->no_memory = true;
        return NULL;
    }
    grown[out->n] = (struct config_change){.what = what,
                                           .how = how,
                                           .key = key,
                                           .of_whole = s == SECTION_GATEWAY || s == SECTION_STORE,
                                           .effect = effect};
    out->n_waiting += effect == CONFIG_NEEDS_RESTART;
    return &grown[out->n++];
}

static void note_key(struct comparison *c, enum config_section s, const char *name,
                     const struct config_key *key, enum config_effect effect, const void *old,
                     const void *new)
{
    struct config_change *change = note(c, s, name, key, "changed", effect);
    if (change == NULL)
        return;
    change->old = value_of(key, old);
    change->new = value_of(key, new);
}

void config_changes_free(struct config_changes *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->list[i].what);
        free(c->list[i].old);
        free(c->list[i].new);
    }
    free(c->list);
    *c = (struct config_changes){0};
}

/* ---- values ------------------------------------------------------------------------------------ */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_text(const struct config_key *key)
{
    return key->type == TYPE_TEXT || key->type == TYPE_PLAIN || key->type == TYPE_PATH;
}

static bool same_value(const struct config_key *key, const void *a, const void *b)
{
    const uint8_t *one = (const uint8_t *)a + key->offset;
    const uint8_t *two = (const uint8_t *)b + key->offset;
    if (!is_text(key))
        return memcmp(one, two, key->size) == 0;
    const char *text[2];
    memcpy(&text[0], one, sizeof text[0]);
    memcpy(&text[1], two, sizeof text[1]);
    return same_text(text[0], text[1]);
}

static bool is_prefix(const struct config_key *key)
{
    return strcmp(key->name, "prefix") == 0;
}

static bool is_pace(const struct config_key *key)
{
    static const char *const names[] = {"rate_messages", "rate_bytes", "collect", "quiet"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (key->section == SECTION_BROKER && strcmp(key->name, names[i]) == 0)
            return true;
    }
    return false;
}

/* What is delayed needs a spool, and without a store there is one only if the start has needed it. */
static bool lacks_spool(const struct config *c, const struct config_broker *old,
                        const struct config_broker *new)
{
    const struct pace_config before = config_pace(old);
    const struct pace_config after = config_pace(new);
    return c->store.durability == 1 + STORE_OFF &&
           pace_is_limited(&before) != pace_is_limited(&after);
}

static enum config_effect effect_of(const struct config_changes *out, const struct config_key *key,
                                    bool no_spool)
{
    if ((is_prefix(key) && !out->can_route) || (is_pace(key) && no_spool))
        return CONFIG_NEEDS_RESTART;
    return key->effect;
}

/* ---- lists of names ---------------------------------------------------------------------------- */

typedef const char *name_fn(const struct config *c, size_t i);

static const char *link_name(const struct config *c, size_t i)
{
    return i < c->n_links ? c->links[i].name : NULL;
}

static const char *broker_name(const struct config *c, size_t i)
{
    return i < c->n_brokers ? config_broker_name(&c->brokers[i]) : NULL;
}

static const char *route_name(const struct config *c, size_t i)
{
    return i < c->n_routes ? c->routes[i].name : NULL;
}

static const char *client_name(const struct config *c, size_t i)
{
    return i < c->n_clients ? c->clients[i].glob : NULL;
}

/* The one without a pattern is called "". */
static const char *topics_name(const struct config *c, size_t i)
{
    if (i >= c->n_topics)
        return NULL;
    return c->topics[i].glob != NULL ? c->topics[i].glob : "";
}

/* SIZE_MAX: there is none. */
static size_t find(name_fn *name_of, const struct config *c, const char *name)
{
    const char *one = NULL;
    for (size_t i = 0; (one = name_of(c, i)) != NULL; i++) {
        if (strcmp(one, name) == 0)
            return i;
    }
    return SIZE_MAX;
}

/* Those that both have, in the same order? */
static bool same_order(name_fn *name_of, const struct config *a, const struct config *b)
{
    size_t last = 0;
    const char *name = NULL;
    for (size_t i = 0; (name = name_of(a, i)) != NULL; i++) {
        const size_t at = find(name_of, b, name);
        if (at == SIZE_MAX)
            continue;
        if (at < last)
            return false;
        last = at;
    }
    return true;
}

static bool same_names(name_fn *name_of, const struct config *a, const struct config *b)
{
    size_t i = 0;
    for (; name_of(a, i) != NULL && name_of(b, i) != NULL; i++) {
        if (strcmp(name_of(a, i), name_of(b, i)) != 0)
            return false;
    }
    return name_of(a, i) == name_of(b, i);
}

static const char *shown(const char *name)
{
    return name[0] != '\0' ? name : NULL;
}

/* Sections that have come, gone or moved. */
static void compare_names(struct comparison *c, enum config_section s, name_fn *name_of,
                          enum config_effect effect)
{
    const char *name = NULL;
    for (size_t i = 0; (name = name_of(c->running, i)) != NULL; i++) {
        if (find(name_of, c->wanted, name) == SIZE_MAX)
            note(c, s, shown(name), NULL, "removed", effect);
    }
    for (size_t i = 0; (name = name_of(c->wanted, i)) != NULL; i++) {
        if (find(name_of, c->running, name) == SIZE_MAX)
            note(c, s, shown(name), NULL, "added", effect);
    }
    if (s != SECTION_LINK && !same_order(name_of, c->running, c->wanted))
        note(c, s, NULL, NULL, "order", effect);
}

/* ---- sections ---------------------------------------------------------------------------------- */

static void compare_keys(struct comparison *c, enum config_section s, const char *name,
                         const void *old, const void *new, bool no_spool)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section == s && key->size > 0 && !same_value(key, old, new))
            note_key(c, s, name, key, effect_of(c->out, key, no_spool), old, new);
    }
}

static void compare_links(struct comparison *c)
{
    compare_names(c, SECTION_LINK, link_name, CONFIG_NEEDS_RESTART);
    for (size_t i = 0; i < c->running->n_links; i++) {
        const struct config_link *old = &c->running->links[i];
        const size_t at = find(link_name, c->wanted, old->name);
        if (at == SIZE_MAX)
            continue;
        const struct config_link *new = &c->wanted->links[at];
        compare_keys(c, SECTION_LINK, old->name, old, new, false);
        if (same_text(old->network_key_file, new->network_key_file) &&
            memcmp(old->network_key, new->network_key, sizeof old->network_key) != 0)
            note(c, SECTION_LINK, old->name, config_key_find(SECTION_LINK, "network_key_file"),
                 "content", CONFIG_NEEDS_RESTART);
    }
}

/* Adds to the bits of what has to be done what the changes from number `from` on ask for. */
static void mark_broker(struct comparison *c, size_t broker, size_t from)
{
    const uint32_t bit = UINT32_C(1) << broker;
    for (size_t i = from; i < c->out->n; i++) {
        const struct config_change *change = &c->out->list[i];
        if (change->effect == CONFIG_NEEDS_RESTART)
            continue;
        if (change->effect == CONFIG_NEEDS_CONNECTION)
            c->out->renewals |= bit;
        const bool is_age = strcmp(change->key->name, "message_expiry") == 0;
        if (is_pace(change->key) || is_age)
            c->out->spools |= bit;
        if (!is_pace(change->key))
            c->out->brokers |= bit;
    }
}

static void compare_brokers(struct comparison *c)
{
    compare_names(c, SECTION_BROKER, broker_name, CONFIG_NEEDS_RESTART);
    for (size_t i = 0; i < c->running->n_brokers; i++) {
        const struct config_broker *old = &c->running->brokers[i];
        const size_t at = find(broker_name, c->wanted, config_broker_name(old));
        if (at == SIZE_MAX)
            continue;
        const struct config_broker *new = &c->wanted->brokers[at];
        const size_t from = c->out->n;
        compare_keys(c, SECTION_BROKER, old->name, old, new, lacks_spool(c->running, old, new));
        if (same_text(old->password_file, new->password_file) &&
            !same_text(old->password, new->password))
            note(c, SECTION_BROKER, old->name, config_key_find(SECTION_BROKER, "password_file"),
                 "content", CONFIG_NEEDS_CONNECTION);
        if (same_text(old->proxy, new->proxy) && !same_text(old->proxy_login, new->proxy_login))
            note(c, SECTION_BROKER, old->name, config_key_find(SECTION_BROKER, "proxy"), "content",
                 CONFIG_NEEDS_CONNECTION);
        mark_broker(c, i, from);
    }
}

static void compare_routes(struct comparison *c)
{
    const enum config_effect effect =
        c->out->can_route ? CONFIG_TAKES_EFFECT : CONFIG_NEEDS_RESTART;
    compare_names(c, SECTION_ROUTE, route_name, effect);
    for (size_t i = 0; i < c->running->n_routes; i++) {
        const struct config_route *old = &c->running->routes[i];
        const size_t at = find(route_name, c->wanted, old->name);
        for (size_t k = 0; at != SIZE_MAX && k < config_n_keys; k++) {
            const struct config_key *key = &config_keys[k];
            const struct config_route *new = &c->wanted->routes[at];
            if (key->section == SECTION_ROUTE && !same_value(key, old, new))
                note_key(c, SECTION_ROUTE, old->name, key, effect, old, new);
        }
    }
}

static bool same_topics(const struct config_topics *a, const struct config_topics *b)
{
    if (a->n_entries != b->n_entries)
        return false;
    for (size_t i = 0; i < a->n_entries; i++) {
        if (a->entries[i].topic_id != b->entries[i].topic_id ||
            strcmp(a->entries[i].topic, b->entries[i].topic) != 0)
            return false;
    }
    return true;
}

static void compare_topics(struct comparison *c)
{
    compare_names(c, SECTION_TOPICS, topics_name, CONFIG_TAKES_EFFECT);
    for (size_t i = 0; i < c->running->n_topics; i++) {
        const char *name = topics_name(c->running, i);
        const size_t at = find(topics_name, c->wanted, name);
        if (at != SIZE_MAX && !same_topics(&c->running->topics[i], &c->wanted->topics[at]))
            note(c, SECTION_TOPICS, shown(name), NULL, "changed", CONFIG_TAKES_EFFECT);
    }
}

/* A section that is not there says nothing. */
static const struct config_client *client_section(const struct config *c, const char *glob)
{
    static const struct config_client nothing;
    const size_t at = find(client_name, c, glob);
    return at != SIZE_MAX ? &c->clients[at] : &nothing;
}

/* What needs a restart is as it was at the start, whatever has come and gone since. */
static void compare_client(struct comparison *c, const char *glob)
{
    const struct config_client *first = client_section(c->first, glob);
    const struct config_client *old = client_section(c->running, glob);
    const struct config_client *new = client_section(c->wanted, glob);
    const bool both = old->glob != NULL && new->glob != NULL;
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section != SECTION_CLIENT)
            continue;
        const bool waits = key->effect == CONFIG_NEEDS_RESTART;
        const struct config_client *before = waits ? first : old;
        if ((waits || both) && !same_value(key, before, new))
            note_key(c, SECTION_CLIENT, glob, key, effect_of(c->out, key, false), before, new);
    }
}

static void compare_clients(struct comparison *c)
{
    compare_names(c, SECTION_CLIENT, client_name, CONFIG_TAKES_EFFECT);
    for (size_t i = 0; i < c->first->n_clients; i++) {
        if (find(client_name, c->wanted, client_name(c->first, i)) == SIZE_MAX)
            compare_client(c, client_name(c->first, i));
    }
    for (size_t i = 0; i < c->wanted->n_clients; i++)
        compare_client(c, client_name(c->wanted, i));
}

/* ---- the whole --------------------------------------------------------------------------------- */

bool config_is_routed(const struct config *c)
{
    bool prefixed = c->gateway.prefix != NULL;
    for (size_t i = 0; i < c->n_links; i++)
        prefixed |= c->links[i].prefix != NULL;
    for (size_t i = 0; i < c->n_clients; i++)
        prefixed |= c->clients[i].prefix != NULL;
    return prefixed || c->n_routes > 0 || c->n_brokers > 1;
}

/* What is to be done, from what is noted from number `from` on. */
static void mark(struct comparison *c, size_t from, bool *flag)
{
    for (size_t i = from; i < c->out->n; i++)
        *flag |= c->out->list[i].effect != CONFIG_NEEDS_RESTART;
}

static void compare_all(struct comparison *c)
{
    struct config_changes *out = c->out;
    bool spools = false;
    compare_keys(c, SECTION_GATEWAY, NULL, c->running, c->wanted, false);
    mark(c, 0, &out->engine);
    compare_brokers(c);
    size_t from = out->n;
    compare_routes(c);
    mark(c, from, &out->routing);
    from = out->n;
    compare_keys(c, SECTION_STORE, NULL, &c->running->store, &c->wanted->store, false);
    mark(c, from, &spools);
    if (spools)
        out->spools = UINT32_MAX;
    from = out->n;
    compare_links(c);
    compare_topics(c);
    compare_clients(c);
    mark(c, from, &out->engine);
    for (size_t i = 0; i < out->n; i++) {
        const struct config_change *one = &out->list[i];
        out->routing |=
            one->key != NULL && is_prefix(one->key) && one->effect != CONFIG_NEEDS_RESTART;
    }
}

/* A section that comes or goes takes its prefix along. */
static bool same_client_prefixes(const struct config *a, const struct config *b)
{
    size_t i = 0;
    size_t k = 0;
    for (;;) {
        while (i < a->n_clients && a->clients[i].prefix == NULL)
            i++;
        while (k < b->n_clients && b->clients[k].prefix == NULL)
            k++;
        if (i == a->n_clients || k == b->n_clients)
            return i == a->n_clients && k == b->n_clients;
        if (strcmp(a->clients[i].glob, b->clients[k].glob) != 0 ||
            strcmp(a->clients[i].prefix, b->clients[k].prefix) != 0)
            return false;
        i++;
        k++;
    }
}

int config_compare(const struct config *first, const struct config *running,
                   const struct config *wanted, bool has_router, struct config_changes *out)
{
    struct comparison c = {.first = first, .running = running, .wanted = wanted, .out = out};
    *out = (struct config_changes){0};
    out->can_route =
        same_names(broker_name, running, wanted) && (has_router || !config_is_routed(wanted));
    compare_all(&c);
    out->routing |= out->can_route && !same_client_prefixes(running, wanted);
    if (!c.no_memory)
        return 0;
    config_changes_free(out);
    return -ENOMEM;
}

/* ---- taking over ------------------------------------------------------------------------------- */

static void swap_octets(void *a, void *b, size_t n)
{
    uint8_t *one = a;
    uint8_t *two = b;
    for (size_t i = 0; i < n; i++) {
        const uint8_t octet = one[i];
        one[i] = two[i];
        two[i] = octet;
    }
}

static void swap_value(const struct config_key *key, void *a, void *b)
{
    swap_octets((uint8_t *)a + key->offset, (uint8_t *)b + key->offset, key->size);
}

/* Values that need no restart. */
static void swap_live(const struct config_changes *changes, enum config_section s, void *a, void *b,
                      bool no_spool)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section == s && key->size > 0 &&
            effect_of(changes, key, no_spool) != CONFIG_NEEDS_RESTART)
            swap_value(key, a, b);
    }
}

/* Each of these lists stays, with the values of the other. */
static void adopt_links(struct config *running, struct config *wanted,
                        const struct config_changes *changes)
{
    swap_octets(&running->links, &wanted->links, sizeof running->links);
    swap_octets(&running->n_links, &wanted->n_links, sizeof running->n_links);
    for (size_t i = 0; i < wanted->n_links; i++) {
        const size_t at = find(link_name, running, wanted->links[i].name);
        if (at != SIZE_MAX)
            swap_live(changes, SECTION_LINK, &wanted->links[i], &running->links[at], false);
    }
}

static void adopt_broker(struct config_broker *old, struct config_broker *new,
                         const struct config_changes *changes, bool no_spool)
{
    swap_live(changes, SECTION_BROKER, old, new, no_spool);
    swap_octets(&old->password, &new->password, sizeof old->password);
    swap_octets(&old->properties, &new->properties, sizeof old->properties);
    swap_octets(&old->proxy_login, &new->proxy_login, sizeof old->proxy_login);
    if (no_spool)
        return;
    swap_octets(old->quiet_hours, new->quiet_hours, sizeof old->quiet_hours);
    swap_octets(&old->n_quiet, &new->n_quiet, sizeof old->n_quiet);
}

static void adopt_brokers(struct config *running, struct config *wanted,
                          const struct config_changes *changes)
{
    swap_octets(&running->brokers, &wanted->brokers, sizeof running->brokers);
    swap_octets(&running->n_brokers, &wanted->n_brokers, sizeof running->n_brokers);
    for (size_t i = 0; i < wanted->n_brokers; i++) {
        struct config_broker *old = &wanted->brokers[i];
        const size_t at = find(broker_name, running, config_broker_name(old));
        if (at != SIZE_MAX)
            adopt_broker(old, &running->brokers[at], changes,
                         lacks_spool(wanted, old, &running->brokers[at]));
    }
}

static void keep_prefixes(struct config *running, struct config *wanted)
{
    for (size_t i = 0; i < wanted->n_clients; i++) {
        const size_t at = find(client_name, running, wanted->clients[i].glob);
        if (at != SIZE_MAX)
            swap_octets(&wanted->clients[i].prefix, &running->clients[at].prefix,
                        sizeof wanted->clients[i].prefix);
    }
}

void config_adopt(struct config *running, struct config *wanted,
                  const struct config_changes *changes)
{
    for (size_t i = 0; i < changes->n; i++) {
        const struct config_change *c = &changes->list[i];
        if (!c->of_whole || c->effect != CONFIG_NEEDS_RESTART)
            continue;
        if (c->key->section == SECTION_STORE)
            swap_value(c->key, &running->store, &wanted->store);
        else
            swap_value(c->key, running, wanted);
    }
    adopt_links(running, wanted, changes);
    adopt_brokers(running, wanted, changes);
    if (changes->can_route)
        return;
    swap_octets(&running->routes, &wanted->routes, sizeof running->routes);
    swap_octets(&running->n_routes, &wanted->n_routes, sizeof running->n_routes);
    keep_prefixes(running, wanted);
}
