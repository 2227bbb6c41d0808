/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a story:
 *
 *     broker scripted | shared
 *     store [TIME]                  there is one; commits take so long
 *     spooling yes|no
 *     option KEY VALUE              of the engine, or a default for all clients
 *     topics ID NAME [for=GLOB]     a predefined topic
 *     client GLOB key=value ...     a [client GLOB] section
 *     link N key=value ...          max_packet, qos_minus_one, advertise_s
 *     node NAME [link=N] [at=NODE] [via=AA,BBCC]
 *     node NAME group [link=N] [radius=R]      everybody on that link within so many hops
 *
 * Later `change` begins other topics, clients, options and links, `changed` puts them into effect; what
 * is not said of the first two is gone.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sim/story_priv.h"

void story_config_init(struct story_config *c)
{
    c->engine = sn_engine_defaults();
    c->engine.log_level = LOG_DEBUG;
    c->engine.hash_seed = (struct hash_seed){.k0 = 1, .k1 = 2};
    c->engine.clients = c->clients;
    c->engine.topics = c->topics;
    c->engine.links = c->links;
    c->engine.n_links = STORY_LINKS;
    for (unsigned i = 0; i < STORY_LINKS; i++)
        c->links[i].max_packet_bytes = 1400;
    c->shared = shared_defaults();
    c->shared.log_level = LOG_DEBUG;
    c->shared.hash_seed = c->engine.hash_seed;
}

void story_config_deinit(struct story_config *c)
{
    while (c->n_texts > 0)
        free(c->texts[--c->n_texts]);
}

static const char *keep_text(struct story *s, struct bytes text)
{
    struct story_config *c = &s->config;
    char *copy = c->n_texts < sizeof c->texts / sizeof c->texts[0] ? malloc(text.len + 1) : NULL;
    if (copy == NULL) {
        story_fail(s, "too many texts in the header");
        return "";
    }
    memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    c->texts[c->n_texts++] = copy;
    return copy;
}

/* ---- keys ------------------------------------------------------------------------------------ */

enum kind { K_U8, K_UNSIGNED, K_U32, K_U64, K_TIME, K_SWITCH, K_OVERFLOW, K_QOS };

struct key {
    const char *name;
    enum kind kind;
    size_t offset;
};

/* clang-format off */
static const struct key engine_keys[] = {
    {"gateway_id",        K_U8,       offsetof(struct sn_engine_config, gateway_id)},
    {"retry_interval",    K_TIME,     offsetof(struct sn_engine_config, retry_interval_ms)},
    {"retry_min",         K_TIME,     offsetof(struct sn_engine_config, retry_min_ms)     },
    {"retry_max",         K_TIME,     offsetof(struct sn_engine_config, retry_max_ms)     },
    {"late_connect",      K_TIME,     offsetof(struct sn_engine_config, late_connect_ms)},
    {"retry_count",       K_UNSIGNED, offsetof(struct sn_engine_config, retry_count)},
    {"max_clients",       K_U32,      offsetof(struct sn_engine_config, max_clients)},
    {"max_memory",        K_U64,      offsetof(struct sn_engine_config, max_memory_bytes)},
    {"max_waiting",       K_U32,      offsetof(struct sn_engine_config, max_waiting)},
    {"max_client_id",     K_U32,      offsetof(struct sn_engine_config, max_client_id)},
    {"session_expiry",    K_TIME,     offsetof(struct sn_engine_config, session_expiry_ms)},
    {"gwinfo_delay",      K_TIME,     offsetof(struct sn_engine_config, gwinfo_delay_ms)},
    {NULL,                K_U8,       0},
};

static const struct key client_keys[] = {
    {"allow",             K_SWITCH,   offsetof(struct sn_client_options, allow)},
    {"qos_minus_one",     K_SWITCH,   offsetof(struct sn_client_options, qos_minus_one)},
    {"max_packet",        K_U32,      offsetof(struct sn_client_options, max_packet_bytes)},
    {"max_topics",        K_U32,      offsetof(struct sn_client_options, max_topics)},
    {"max_subscriptions", K_U32,      offsetof(struct sn_client_options, max_subscriptions)},
    {"max_queue",         K_U32,      offsetof(struct sn_client_options, max_queue)},
    {"max_queue_bytes",   K_U32,      offsetof(struct sn_client_options, max_queue_bytes)},
    {"max_inflight",      K_U32,      offsetof(struct sn_client_options, max_inflight)},
    {"keep_alive_max",    K_TIME,     offsetof(struct sn_client_options, keep_alive_max_ms)},
    {"overflow",          K_OVERFLOW, offsetof(struct sn_client_options, overflow)},
    {"queue_qos_0",       K_SWITCH,   offsetof(struct sn_client_options, queue_qos_0)},
    {"rebind",            K_SWITCH,   offsetof(struct sn_client_options, rebind)},
    {"resume_asleep",     K_SWITCH,   offsetof(struct sn_client_options, resume_asleep)},
    {"regack",            K_SWITCH,   offsetof(struct sn_client_options, regack)},
    {"dup",               K_SWITCH,   offsetof(struct sn_client_options, dup)},
    {"max_qos",           K_QOS,      offsetof(struct sn_client_options, max_qos)},
    {NULL,                K_U8,       0},
};

static const struct key link_keys[] = {
    {"max_packet",        K_U32,      offsetof(struct sn_link_limits, max_packet_bytes)},
    {"qos_minus_one",     K_SWITCH,   offsetof(struct sn_link_limits, qos_minus_one)},
    {"advertise_s",       K_U32,      offsetof(struct sn_link_limits, advertise_s)},
    {"reports",           K_U8,       offsetof(struct sn_link_limits, reports)},
    {NULL,                K_U8,       0},
};

/* clang-format on */

static const struct key *find_key(const struct key *keys, struct bytes name)
{
    for (; keys->name != NULL; keys++) {
        if (bytes_equal(bytes_str(keys->name), name))
            return keys;
    }
    return NULL;
}

static bool parse_switch(struct story *s, const struct story_word *w, enum sn_switch *out)
{
    const bool yes = bytes_equal(w->value, bytes_str("yes"));
    if (!yes && !bytes_equal(w->value, bytes_str("no"))) {
        story_fail(s, "yes or no is needed");
        return false;
    }
    *out = yes ? SN_YES : SN_NO;
    return true;
}

static bool parse_overflow(struct story *s, const struct story_word *w, enum sn_overflow *out)
{
    static const char *const names[] = {
        [SN_DROP_OLDEST] = "drop-oldest",
        [SN_DROP_NEWEST] = "drop-newest",
        [SN_LATEST_PER_TOPIC] = "latest-per-topic",
    };

    for (size_t i = SN_DROP_OLDEST; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal(w->value, bytes_str(names[i]))) {
            *out = (enum sn_overflow)i;
            return true;
        }
    }
    story_fail(s, "drop-oldest, drop-newest or latest-per-topic is needed");
    return false;
}

static void set_key(struct story *s, const struct key *key, void *object,
                    const struct story_word *w)
{
    uint8_t *at = (uint8_t *)object + key->offset;
    uint64_t n = 0;
    int64_t ms = 0;
    enum sn_switch choice = SN_UNSET;
    enum sn_overflow overflow = SN_OVERFLOW_UNSET;
    switch (key->kind) {
    case K_U8:
        if (story_number(s, w, UINT8_MAX, &n))
            *at = (uint8_t)n;
        break;
    case K_UNSIGNED:
        if (story_number(s, w, UINT16_MAX, &n))
            memcpy(at, &(unsigned){(unsigned)n}, sizeof(unsigned));
        break;
    case K_U32:
        if (story_number(s, w, UINT32_MAX, &n))
            memcpy(at, &(uint32_t){(uint32_t)n}, sizeof(uint32_t));
        break;
    case K_U64:
        if (story_number(s, w, UINT64_MAX, &n))
            memcpy(at, &n, sizeof n);
        break;
    case K_TIME:
        if (story_duration(s, w, &ms))
            memcpy(at, &ms, sizeof ms);
        break;
    case K_SWITCH:
        if (parse_switch(s, w, &choice))
            memcpy(at, &choice, sizeof choice);
        break;
    case K_OVERFLOW:
        if (parse_overflow(s, w, &overflow))
            memcpy(at, &overflow, sizeof overflow);
        break;
    case K_QOS:
        if (story_number(s, w, 2, &n))
            *at = (uint8_t)(n + 1); /* 0 means "not said" */
        break;
    }
}

/* key=value words from `first` on. */
static void set_keys(struct story *s, const struct key *keys, void *object,
                     const struct story_line *line, unsigned first)
{
    for (unsigned i = first; i < line->count && !s->failed; i++) {
        const struct story_word *w = &line->words[i];
        const struct key *key = find_key(keys, bytes_str(w->key));
        if (key == NULL)
            story_fail(s, "unknown key '%s'", w->key);
        else
            set_key(s, key, object, w);
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void on_option(struct story *s, const struct story_line *line)
{
    if (line->count != 3) {
        story_fail(s, "option KEY VALUE");
        return;
    }
    const struct bytes name = line->words[1].value;
    const struct key *key = find_key(engine_keys, name);
    const struct key *client_key = find_key(client_keys, name);
    if (key != NULL)
        set_key(s, key, &s->config.engine, &line->words[2]);
    else if (client_key != NULL)
        set_key(s, client_key, &s->config.engine.defaults, &line->words[2]);
    else if (bytes_equal(name, bytes_str("replay_quiet")))
        story_duration(s, &line->words[2], &s->config.shared.replay_quiet_ms);
    else if (bytes_equal(name, bytes_str("replay_max")))
        story_duration(s, &line->words[2], &s->config.shared.replay_max_ms);
    else
        story_fail(s, "unknown option '%.*s'", (int)name.len, (const char *)name.data);
}

/* The section of that glob (NULL: everybody), made when it is new. */
static struct sn_topics_section *section_of(struct story *s, const char *glob)
{
    struct story_config *c = &s->config;
    for (size_t i = 0; i < c->engine.n_topics; i++) {
        struct sn_topics_section *section = &c->topics[i];
        if (glob == NULL ? section->glob == NULL
                         : section->glob != NULL && strcmp(section->glob, glob) == 0)
            return section;
    }
    if (c->engine.n_topics == STORY_SECTIONS)
        return NULL;
    const size_t i = c->engine.n_topics++;
    c->topics[i] = (struct sn_topics_section){.glob = glob, .entries = c->predefined[i]};
    return &c->topics[i];
}

static void on_topics(struct story *s, const struct story_line *line)
{
    const bool has_glob = line->count == 4 && strcmp(line->words[3].key, "for") == 0;
    uint64_t id;
    if (line->count != 3 && !has_glob) {
        story_fail(s, "topics ID NAME [for=GLOB]");
        return;
    }
    if (!story_number(s, &line->words[1], UINT16_MAX, &id))
        return;
    struct sn_topics_section *section =
        section_of(s, has_glob ? keep_text(s, line->words[3].value) : NULL);
    if (section == NULL || section->n_entries == STORY_TOPICS) {
        story_fail(s, "too many topics");
        return;
    }
    const size_t at = (size_t)(section - s->config.topics);
    s->config.predefined[at][section->n_entries++] = (struct sn_predefined){
        .topic_id = (uint16_t)id, .topic = keep_text(s, line->words[2].value)};
}

static void on_client(struct story *s, const struct story_line *line)
{
    struct story_config *c = &s->config;
    if (line->count < 3 || c->engine.n_clients == STORY_SECTIONS) {
        story_fail(s, "client GLOB key=value ...");
        return;
    }
    struct sn_client_section *section = &c->clients[c->engine.n_clients++];
    section->glob = keep_text(s, line->words[1].value);
    set_keys(s, client_keys, &section->options, line, 2);
}

static void on_link(struct story *s, const struct story_line *line)
{
    uint64_t number;
    if (line->count < 3)
        story_fail(s, "link N key=value ...");
    else if (story_number(s, &line->words[1], STORY_LINKS - 1, &number))
        set_keys(s, link_keys, &s->config.links[number], line, 2);
}

static void on_broker_kind(struct story *s, const struct story_line *line)
{
    s->config.has_shared = story_word_is(&line->words[1], "shared");
}

/* ---- nodes ----------------------------------------------------------------------------------- */

struct story_node *story_node(struct story *s, const struct story_word *w)
{
    for (unsigned i = 0; i < s->n_nodes; i++) {
        if (bytes_equal(bytes_str(s->nodes[i].name), w->value))
            return &s->nodes[i];
    }
    return NULL;
}

/* "AA,BBCC": node ids in hexadecimal, outermost first; an empty one is allowed. */
static void set_path(struct story *s, struct story_node *node, struct bytes text)
{
    static struct story_line level; /* large */
    size_t start = 0;
    for (size_t i = 0; i <= text.len && !s->failed; i++) {
        if (i < text.len && text.data[i] != ',')
            continue;
        level.count = 1;
        level.words[0] = (struct story_word){.value = bytes_of(text.data + start, i - start)};
        uint8_t id[SN_NODE_ID_MAX];
        const size_t len = story_hex(s, &level, 0, id, sizeof id);
        if (!peer_push_node(&node->peer, bytes_of(id, len)))
            story_fail(s, "more forwarders than a peer can have");
        start = i + 1;
    }
}

static void on_group_node(struct story *s, struct story_node *node, const struct story_line *line)
{
    uint64_t link = 0;
    uint64_t radius = 0;
    for (unsigned i = 3; i < line->count; i++) {
        const struct story_word *w = &line->words[i];
        if (strcmp(w->key, "link") == 0)
            story_number(s, w, UINT16_MAX, &link);
        else if (strcmp(w->key, "radius") == 0)
            story_number(s, w, UINT8_MAX, &radius);
        else
            story_fail(s, "unknown word in a group");
    }
    peer_make_group(&node->direct, (uint16_t)link, (uint8_t)radius);
    node->peer = node->direct;
    s->n_nodes++;
}

static void on_node(struct story *s, const struct story_line *line)
{
    if (line->count < 2 || s->n_nodes == STORY_NODES || line->words[1].value.len >= STORY_NAME ||
        story_node(s, &line->words[1]) != NULL) {
        story_fail(s, "node NAME [link=N] [at=NODE] [via=AA,BBCC], each name once");
        return;
    }
    struct story_node *node = &s->nodes[s->n_nodes];
    memcpy(node->name, line->words[1].value.data, line->words[1].value.len);
    if (line->count > 2 && story_word_is(&line->words[2], "group")) {
        on_group_node(s, node, line);
        return;
    }
    const uint8_t address[6] = {192, 0, 2, (uint8_t)(s->n_nodes + 1), 0x07, 0x5C};
    uint64_t link = 0;
    const struct story_node *at = NULL;
    struct bytes path = bytes_of(NULL, 0);
    for (unsigned i = 2; i < line->count; i++) {
        const struct story_word *w = &line->words[i];
        if (strcmp(w->key, "link") == 0)
            story_number(s, w, UINT16_MAX, &link);
        else if (strcmp(w->key, "at") == 0 && (at = story_node(s, w)) != NULL)
            continue;
        else if (strcmp(w->key, "via") == 0)
            path = w->value;
        else
            story_fail(s, "unknown word in a node");
    }
    peer_make(&node->direct, (uint16_t)link, PEER_IP4, bytes_of(address, sizeof address));
    if (at != NULL)
        node->direct = at->direct;
    node->peer = node->direct;
    if (path.data != NULL)
        set_path(s, node, path);
    s->n_nodes++;
}

void story_change(struct story *s, const struct story_line *line)
{
    struct story_config *c = &s->config;
    (void)line;
    s->changing = true;
    c->engine.n_clients = 0;
    c->engine.n_topics = 0;
    memset(c->clients, 0, sizeof c->clients);
}

void story_changed(struct story *s, const struct story_line *line)
{
    (void)line;
    const bool journal = s->world.engine_config.journal;
    s->changing = false;
    s->world.engine_config = s->config.engine;
    s->world.engine_config.journal = journal;
    story_note(s, "changed");
    if (sn_engine_configure(s->world.engine, s->world.now_ms, &s->config.engine) != 0)
        story_fail(s, "out of memory");
    sim_advance(&s->world, s->world.now_ms);
}

bool story_config_line(struct story *s, const struct story_line *line)
{
    enum { CHANGEABLE = 4 }; /* the first of these */

    static const struct {
        const char *word;
        void (*handle)(struct story *s, const struct story_line *line);
        bool any_time;
    } lines[] = {
        {"option",   on_option,             false},
        {"topics",   on_topics,             false},
        {"client",   on_client,             false},
        {"link",     on_link,               false},
        {"node",     on_node,               true },
        {"store",    story_header_store,    false},
        {"spooling", story_header_spooling, false},
    };

    const bool broker_kind =
        line->count == 2 && story_word_is(&line->words[0], "broker") &&
        (story_word_is(&line->words[1], "shared") || story_word_is(&line->words[1], "scripted"));
    if (broker_kind && !s->started) {
        on_broker_kind(s, line);
        return true;
    }
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (!story_word_is(&line->words[0], lines[i].word))
            continue;
        if (s->started && !lines[i].any_time && !(s->changing && i < CHANGEABLE))
            story_fail(s, "'%s' must stand before the first action", lines[i].word);
        else
            lines[i].handle(s, line);
        return true;
    }
    return false;
}
