/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From lines to struct config. Within one file a key may be set once; a later file (a drop-in)
 * overrides an earlier one. Sections of one name are one section, at its first place, except [link
 * NAME], which may stand only once: two of one name are more likely two links than one.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"
#include "mqttsn/topic.h"

enum { SECTION_NAME_MAX = 32, NUMBER_ROOM = 16 };

bool config_grow(struct config_report *r, void *array, size_t n, size_t size)
{
    if (n != 0 && (n & (n - 1)) != 0)
        return true;
    const size_t room = n == 0 ? 1 : 2 * n;
    void *old = NULL;
    memcpy(&old, array, sizeof old);
    void *grown = room <= SIZE_MAX / size ? realloc(old, room * size) : NULL;
    if (grown == NULL) {
        r->out_of_memory = true;
        return false;
    }
    memcpy(array, &grown, sizeof grown);
    return true;
}

char *config_copy(struct config_report *r, struct bytes text)
{
    char *copy = malloc(text.len + 1);
    if (copy == NULL) {
        r->out_of_memory = true;
        return NULL;
    }
    assert(text.len == 0 || text.data != NULL);
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    return copy;
}

struct config_place config_place_of(const struct config_origin *o, enum config_section section,
                                    const char *name)
{
    const struct config_key *key = config_key_find(section, name);
    assert(key != NULL);
    const struct config_place at = o->keys[key - config_keys];
    return at.line > 0 ? at : o->at;
}

bool config_is_set(const struct config_origin *o, enum config_section section, const char *name)
{
    const struct config_key *key = config_key_find(section, name);
    assert(key != NULL);
    return o->keys[key - config_keys].line > 0;
}

/* "gateway.conf:12" */
static const char *print_line(const struct config_builder *b, struct config_place at, char *out,
                              size_t size)
{
    const char *file = at.file < b->report.n_files ? b->report.files[at.file] : b->config->file;
    snprintf(out, size, "%s:%u", file, at.line);
    return out;
}

/* ---- sections -------------------------------------------------------------------------------- */

static bool is_name(const struct config_line *line)
{
    if (line->value_len > SECTION_NAME_MAX)
        return false;
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_";
    return strspn(line->value, allowed) == line->value_len;
}

/* Sets and escapes that sn_glob_match() can't finish match nothing, which nobody means. */
static bool is_glob(const char *g)
{
    while (*g != '\0') {
        if (*g == '[') {
            g += g[1] == '!' ? 2 : 1;
            g = *g != '\0' ? strchr(g + 1, ']') : NULL;
            if (g == NULL)
                return false;
        } else if (*g == '\\' && *++g == '\0') {
            return false;
        }
        g++;
    }
    return true;
}

static void open_link(struct config_builder *b, const struct config_line *line)
{
    struct config *c = b->config;
    char where[CONFIG_TEXT_ROOM];
    for (size_t i = 0; i < c->n_links; i++) {
        if (line->value_len > 0 && strcmp(c->links[i].name, line->value) == 0) {
            config_say2(&b->report, line->at, SAY_LINK_TWICE, line->value,
                        print_line(b, b->links[i].at, where, sizeof where));
            break;
        }
    }
    if (!config_grow(&b->report, &c->links, c->n_links, sizeof *c->links) ||
        !config_grow(&b->report, &b->links, c->n_links, sizeof *b->links))
        return;
    struct config_link *link = &c->links[c->n_links];
    *link = (struct config_link){.line = line->at.line};
    link->name = config_copy(&b->report, bytes_of(line->value, line->value_len));
    b->links[c->n_links] = (struct config_origin){.at = line->at};
    b->object = c->n_links;
    if (link->name == NULL)
        return;
    c->n_links++;
    config_fallbacks(&b->report, SECTION_LINK, link);
}

static void open_route(struct config_builder *b, const struct config_line *line)
{
    struct config *c = b->config;
    for (b->object = 0; b->object < c->n_routes; b->object++) {
        if (strcmp(c->routes[b->object].name, line->value) == 0)
            return;
    }
    if (!config_grow(&b->report, &c->routes, c->n_routes, sizeof *c->routes) ||
        !config_grow(&b->report, &b->routes, c->n_routes, sizeof *b->routes))
        return;
    char *name = config_copy(&b->report, bytes_of(line->value, line->value_len));
    if (name == NULL)
        return;
    struct config_route *route = &c->routes[c->n_routes];
    *route = (struct config_route){.name = name};
    b->routes[c->n_routes] = (struct config_origin){.at = line->at};
    c->n_routes++;
    config_fallbacks(&b->report, SECTION_ROUTE, route);
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* [broker] and [broker default] are one. */
static void open_broker(struct config_builder *b, const struct config_line *line)
{
    struct config *c = b->config;
    const char *wanted = line->value_len > 0 ? line->value : CONFIG_BROKER_NAME;
    for (b->object = 0; b->object < c->n_brokers; b->object++) {
        if (strcmp(config_broker_name(&c->brokers[b->object]), wanted) == 0)
            return;
    }
    if (!config_grow(&b->report, &c->brokers, c->n_brokers, sizeof *c->brokers) ||
        !config_grow(&b->report, &b->brokers, c->n_brokers, sizeof *b->brokers))
        return;
    struct config_broker *broker = &c->brokers[c->n_brokers];
    *broker = (struct config_broker){0};
    if (line->value_len > 0)
        broker->name = config_copy(&b->report, bytes_of(line->value, line->value_len));
    b->brokers[c->n_brokers] = (struct config_origin){.at = line->at};
    c->n_brokers++;
    config_fallbacks(&b->report, SECTION_BROKER, broker);
}

static void open_client(struct config_builder *b, const struct config_line *line)
{
    struct config *c = b->config;
    for (b->object = 0; b->object < c->n_clients; b->object++) {
        if (same_text(c->clients[b->object].glob, line->value))
            return;
    }
    if (!config_grow(&b->report, &c->clients, c->n_clients, sizeof *c->clients) ||
        !config_grow(&b->report, &b->clients, c->n_clients, sizeof *b->clients))
        return;
    char *glob = config_copy(&b->report, bytes_of(line->value, line->value_len));
    if (glob == NULL)
        return;
    c->clients[c->n_clients] = (struct config_client){.glob = glob};
    b->clients[c->n_clients] = (struct config_origin){.at = line->at};
    c->n_clients++;
}

static void open_topics(struct config_builder *b, const struct config_line *line)
{
    struct config *c = b->config;
    const char *wanted = line->value_len > 0 ? line->value : NULL;
    for (b->object = 0; b->object < c->n_topics; b->object++) {
        if (same_text(c->topics[b->object].glob, wanted))
            return;
    }
    if (!config_grow(&b->report, &c->topics, c->n_topics, sizeof *c->topics) ||
        !config_grow(&b->report, &b->topics, c->n_topics, sizeof *b->topics))
        return;
    char *glob = NULL;
    if (wanted != NULL) {
        glob = config_copy(&b->report, bytes_of(line->value, line->value_len));
        if (glob == NULL)
            return;
    }
    c->topics[c->n_topics] = (struct config_topics){.glob = glob};
    b->topics[c->n_topics] = (struct config_topics_origin){.at = line->at};
    c->n_topics++;
}

/* Says what is wrong with the NAME or GLOB of a header; the section is read all the same. */
static void check_argument(struct config_builder *b, const struct config_line *line)
{
    struct config_report *r = &b->report;
    const bool given = line->value_len > 0;
    const char *section = config_section_name(b->section);
    const char *wrong = config_not_text(bytes_of(line->value, line->value_len));
    if (wrong != NULL) {
        config_say1(r, line->value_at, SAY_SECTION_NOT_TEXT, wrong);
        return;
    }
    switch (b->section) {
    case SECTION_GATEWAY:
    case SECTION_STORE:
        if (given)
            config_say2(r, line->value_at, SAY_SECTION_WITHOUT_NAME, section, line->value);
        break;
    case SECTION_BROKER:
        if (given && !is_name(line))
            config_say1(r, line->value_at, SAY_BAD_BROKER_NAME, line->value);
        break;
    case SECTION_ROUTE:
        if (!given) {
            config_say2(r, line->at, SAY_SECTION_NEEDS_NAME, section,
                        "a name, for example [route cloud]");
        } else if (!is_name(line)) {
            config_say1(r, line->value_at, SAY_BAD_ROUTE_NAME, line->value);
        }
        break;
    case SECTION_LINK:
        if (!given) {
            config_say2(r, line->at, SAY_SECTION_NEEDS_NAME, section,
                        "a name, for example [link meadow]");
        } else if (!is_name(line)) {
            config_say1(r, line->value_at, SAY_BAD_LINK_NAME, line->value);
        }
        break;
    case SECTION_CLIENT:
        if (!given) {
            config_say2(r, line->at, SAY_SECTION_NEEDS_NAME, section,
                        "a pattern for client ids, for example [client pump-*]");
        } else if (!is_glob(line->value)) {
            config_say1(r, line->value_at, SAY_BAD_GLOB, line->value);
        }
        break;
    case SECTION_TOPICS:
        if (given && !is_glob(line->value))
            config_say1(r, line->value_at, SAY_BAD_GLOB, line->value);
        break;
    case N_CONFIG_SECTIONS:
        break;
    }
}

/* False, said, when nothing can be made of the header. */
static bool find_section(struct config_builder *b, const struct config_line *line)
{
    if (line->name[0] == '\0')
        return false;
    if (++b->n_sections > CONFIG_SECTIONS_MAX) {
        char most[NUMBER_ROOM];
        snprintf(most, sizeof most, "%d", CONFIG_SECTIONS_MAX);
        if (b->n_sections == CONFIG_SECTIONS_MAX + 1)
            config_say1(&b->report, line->at, SAY_TOO_MANY_SECTIONS, most);
        return false;
    }
    if (config_section_find(line->name, &b->section))
        return true;
    char hint[CONFIG_TEXT_ROOM];
    config_suggest_section(line->name, hint, sizeof hint);
    config_say2(&b->report, line->at, SAY_UNKNOWN_SECTION, line->name, hint);
    return false;
}

static void open_section(struct config_builder *b, const struct config_line *line)
{
    b->in_section = true;
    b->skip = !find_section(b, line);
    if (b->skip) {
        b->report.incomplete = true;
        return;
    }
    if (!line->bad_value)
        check_argument(b, line);
    if (b->section == SECTION_GATEWAY && b->gateway.at.line == 0)
        b->gateway.at = line->at;
    if (b->section == SECTION_STORE && b->store.at.line == 0)
        b->store.at = line->at;
    if (b->section == SECTION_BROKER)
        open_broker(b, line);
    if (b->section == SECTION_ROUTE)
        open_route(b, line);
    if (b->section == SECTION_LINK)
        open_link(b, line);
    if (b->section == SECTION_CLIENT)
        open_client(b, line);
    if (b->section == SECTION_TOPICS)
        open_topics(b, line);
    b->skip = b->report.out_of_memory;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* The struct that holds the fields of the open section, and where its values stood. NULL: it has
 * none. */
static void *open_object(struct config_builder *b, struct config_origin **origin)
{
    struct config *c = b->config;
    switch (b->section) {
    case SECTION_GATEWAY:
        *origin = &b->gateway;
        return c;
    case SECTION_BROKER:
        *origin = &b->brokers[b->object];
        return &c->brokers[b->object];
    case SECTION_ROUTE:
        *origin = &b->routes[b->object];
        return &c->routes[b->object];
    case SECTION_STORE:
        *origin = &b->store;
        return &c->store;
    case SECTION_LINK:
        *origin = &b->links[b->object];
        return &c->links[b->object];
    case SECTION_CLIENT:
        *origin = &b->clients[b->object];
        return &c->clients[b->object];
    case SECTION_TOPICS:
    case N_CONFIG_SECTIONS:
        break;
    }
    return NULL;
}

static void read_key(struct config_builder *b, const struct config_line *line)
{
    struct config_report *r = &b->report;
    const struct config_key *key = config_key_find(b->section, line->name);
    if (key == NULL) {
        char hint[CONFIG_TEXT_ROOM];
        config_suggest_key(b->section, line->name, hint, sizeof hint);
        config_say3(r, line->at, SAY_UNKNOWN_KEY, line->name, config_section_name(b->section),
                    hint);
        return;
    }
    struct config_origin *origin = NULL;
    void *object = open_object(b, &origin);
    if (object == NULL)
        return;
    struct config_place *set = &origin->keys[key - config_keys];
    if (set->line > 0 && set->file == b->file) {
        char number[NUMBER_ROOM];
        snprintf(number, sizeof number, "%u", set->line);
        config_say2(r, line->at, SAY_KEY_TWICE, key->name, number);
        return;
    }
    *set = line->value_at;
    if (key->size == 0) {
        if (b->file != 0) {
            config_say0(r, line->at, SAY_INCLUDE_NESTED);
            return;
        }
        object = &b->include_dir;
    }
    if (!line->bad_value)
        config_value_read(r, line->value_at, key, bytes_of(line->value, line->value_len), b->dir,
                          object);
}

/* ---- topics ---------------------------------------------------------------------------------- */

/* 1..65534, or 0: said. */
static uint16_t read_topic_id(struct config_report *r, const struct config_line *line)
{
    const char *text = line->name;
    uint32_t id = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        id = id <= UINT16_MAX ? id * 10 + (uint32_t)(*text - '0') : id;
    if (*text != '\0')
        config_say1(r, line->at, SAY_NOT_TOPIC_ID, line->name);
    else if (id == 0 || id == UINT16_MAX)
        config_say1(r, line->at, SAY_TOPIC_ID_RESERVED, line->name);
    else if (id > UINT16_MAX)
        config_say1(r, line->at, SAY_TOPIC_ID_RANGE, line->name);
    else
        return (uint16_t)id;
    return 0;
}

static bool is_topic(struct config_report *r, const struct config_line *line)
{
    const struct bytes topic = bytes_of(line->value, line->value_len);
    if (topic.len == 0)
        config_say1(r, line->value_at, SAY_TOPIC_EMPTY, line->name);
    else if (memchr(topic.data, 0, topic.len) != NULL)
        config_say1(r, line->value_at, SAY_TOPIC_NUL, line->name);
    else if (!bytes_is_utf8(topic))
        config_say1(r, line->value_at, SAY_TOPIC_NOT_UTF8, line->name);
    else if (sn_topic_has_wildcard(topic))
        config_say1(r, line->value_at, SAY_TOPIC_WILDCARD, line->value);
    else if (!sn_topic_name_ok(topic))
        config_say1(r, line->value_at, SAY_TOPIC_REFUSED, line->name);
    else
        return true;
    return false;
}

/* Doubles are dealt with by config_check(), once for all. */
static void read_topic(struct config_builder *b, const struct config_line *line)
{
    struct config_report *r = &b->report;
    const uint16_t id = read_topic_id(r, line);
    const bool ok = line->bad_value || is_topic(r, line);
    if (id == 0 || !ok)
        return;
    struct config_topics *t = &b->config->topics[b->object];
    struct config_topics_origin *o = &b->topics[b->object];
    if (!config_grow(r, &t->entries, t->n_entries, sizeof *t->entries) ||
        !config_grow(r, &o->entries, t->n_entries, sizeof *o->entries))
        return;
    char *topic = config_copy(r, bytes_of(line->value, line->value_len));
    if (topic == NULL)
        return;
    t->entries[t->n_entries] = (struct sn_predefined){.topic_id = id, .topic = topic};
    o->entries[t->n_entries] =
        (struct config_topic_origin){.at = line->at, .index = t->n_entries, .topic_id = id};
    t->n_entries++;
}

void config_build(struct config_builder *b, unsigned file, struct bytes text)
{
    struct config_line line;
    b->file = file;
    b->in_section = false;
    config_lex_init(&b->lexer, &b->report, file, text);
    while (!b->report.out_of_memory && config_lex_next(&b->lexer, &line)) {
        if (line.kind == LINE_SECTION)
            open_section(b, &line);
        else if (!b->in_section)
            config_say1(&b->report, line.at, SAY_NO_SECTION, line.name);
        else if (!b->skip && b->section == SECTION_TOPICS)
            read_topic(b, &line);
        else if (!b->skip)
            read_key(b, &line);
    }
}
