/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as the engine keeps it: copies of its lists, and the change to another one while
 * sessions go on. That is built wholly before anything is changed, and given up when memory is short.
 */
#include <errno.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum {
    CLIENT_ID_OCTETS_MAX = 255,
    MAX_CLIENTS = (1 << SN_CLIENT_SLOT_BITS) - 1,
    MAX_INFLIGHT = 1024,
};

static void limit_u32(uint32_t *value, uint32_t most)
{
    if (*value > most)
        *value = most;
}

void sn_setup_limit(struct sn_engine_config *config)
{
    limit_u32(&config->max_client_id, CLIENT_ID_OCTETS_MAX);
    limit_u32(&config->max_clients, MAX_CLIENTS);
    limit_u32(&config->defaults.max_inflight, MAX_INFLIGHT);
    limit_u32(&config->defaults.max_topics, SN_TOPIC_ID_MAX);
}

/* ---- copies ------------------------------------------------------------------------------------ */

static char *copy_text(const char *text)
{
    const size_t size = strlen(text) + 1;
    char *copy = malloc(size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

static void free_topics(struct sn_topics_section *list, size_t n)
{
    for (size_t i = 0; list != NULL && i < n; i++) {
        const struct sn_topics_section *s = &list[i];
        for (size_t k = 0; s->entries != NULL && k < s->n_entries; k++)
            free((void *)(uintptr_t)s->entries[k].topic);
        free((void *)(uintptr_t)s->entries);
        free((void *)(uintptr_t)s->glob);
    }
    free(list);
}

static void free_clients(struct sn_client_section *list, size_t n)
{
    for (size_t i = 0; list != NULL && i < n; i++)
        free((void *)(uintptr_t)list[i].glob);
    free(list);
}

void sn_setup_sections_free(struct sn_engine *e)
{
    free_clients(e->client_sections, e->config.n_clients);
    free_topics(e->topics_sections, e->config.n_topics);
}

static int copy_topics_section(struct sn_topics_section *to, const struct sn_topics_section *from)
{
    struct sn_predefined *entries = calloc(from->n_entries + 1, sizeof *entries);
    if (entries == NULL)
        return -ENOMEM;
    to->entries = entries;
    to->n_entries = from->n_entries;
    for (size_t k = 0; k < from->n_entries; k++) {
        entries[k].topic_id = from->entries[k].topic_id;
        entries[k].topic = copy_text(from->entries[k].topic);
        if (entries[k].topic == NULL)
            return -ENOMEM;
    }
    if (from->glob != NULL && (to->glob = copy_text(from->glob)) == NULL)
        return -ENOMEM;
    return 0;
}

int sn_setup_sections(struct sn_engine *e, const struct sn_engine_config *from)
{
    e->client_sections = calloc(from->n_clients + 1, sizeof *e->client_sections);
    e->topics_sections = calloc(from->n_topics + 1, sizeof *e->topics_sections);
    if (e->client_sections == NULL || e->topics_sections == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < from->n_clients; i++) {
        e->client_sections[i].options = from->clients[i].options;
        e->client_sections[i].glob = copy_text(from->clients[i].glob);
        if (e->client_sections[i].glob == NULL)
            return -ENOMEM;
    }
    for (size_t i = 0; i < from->n_topics; i++) {
        if (copy_topics_section(&e->topics_sections[i], &from->topics[i]) < 0)
            return -ENOMEM;
    }
    return 0;
}

int sn_setup_links(struct sn_engine *e, const struct sn_engine_config *from)
{
    e->links = calloc(from->n_links + 1, sizeof *e->links);
    if (e->links == NULL)
        return -ENOMEM;
    if (from->n_links > 0)
        memcpy(e->links, from->links, from->n_links * sizeof *e->links);
    return 0;
}

/* ---- changing ---------------------------------------------------------------------------------- */

/* What goes by the configuration, to be put back if the new one can't be had. */
struct setup {
    struct sn_engine_config config;
    struct sn_client_section *client_sections;
    struct sn_topics_section *topics_sections;
    struct hmap profiles;
    struct sn_profile *stranger;
    uint16_t first_topic_id;
};

static struct setup setup_of(const struct sn_engine *e)
{
    return (struct setup){.config = e->config,
                          .client_sections = e->client_sections,
                          .topics_sections = e->topics_sections,
                          .profiles = e->profiles,
                          .stranger = e->stranger,
                          .first_topic_id = e->first_topic_id};
}

static void put_back(struct sn_engine *e, const struct setup *s)
{
    e->config = s->config;
    e->client_sections = s->client_sections;
    e->topics_sections = s->topics_sections;
    e->profiles = s->profiles;
    e->stranger = s->stranger;
    e->first_topic_id = s->first_topic_id;
}

/* Frees what the engine has, and gives it the other. */
static void exchange(struct sn_engine *e, const struct setup *with)
{
    sn_profiles_deinit(e);
    sn_setup_sections_free(e);
    put_back(e, with);
}

/* Those of a process stay as they are. */
static struct sn_engine_config merged(const struct sn_engine *e,
                                      const struct sn_engine_config *config)
{
    struct sn_engine_config c = *config;
    c.gateway_id = e->config.gateway_id;
    c.n_links = e->config.n_links;
    c.hash_seed = e->config.hash_seed;
    c.print_seed = e->config.print_seed;
    c.journal = e->config.journal;
    c.clients = NULL;
    c.topics = NULL;
    c.links = NULL;
    sn_setup_limit(&c);
    return c;
}

/* The profiles of all clients, by slot; NULL: out of memory. */
static const struct sn_profile **profiles_of_all(struct sn_engine *e)
{
    const struct sn_profile **all = calloc(e->n_slots + 1, sizeof *all);
    for (uint32_t slot = 0; all != NULL && slot < e->n_slots; slot++) {
        if (e->slots[slot] == NULL)
            continue;
        all[slot] = sn_profile_get(e, sn_client_id(e->slots[slot]));
        if (all[slot] == NULL) {
            free((void *)all);
            return NULL;
        }
    }
    return all;
}

/* By a predefined id that is another topic's now the client can't be told any more. */
static void drop_stale_aliases(struct sn_engine *e, struct sn_client *c)
{
    struct list *next;
    for (struct list *link = c->topics != NULL ? c->topics->asked.first : NULL; link != NULL;
         link = next) {
        next = ring_next(&c->topics->asked, link);
        struct sn_topic *t = container_of(link, struct sn_topic, link);
        if (t->kind != SN_TOPIC_PREDEFINED || sn_profile_alias(c->profile, t->alias) == t->name)
            continue;
        t->kind = SN_TOPIC_NORMAL;
        t->known_in = 0;
        sn_topic_assign_id(e, c, t);
        sn_journal_topic(e, c, t);
        sn_topic_settle(c, t);
    }
}

static void take_links(struct sn_engine *e, const struct sn_engine_config *config)
{
    for (size_t i = 0; i < e->config.n_links && i < config->n_links; i++) {
        e->links[i].qos_minus_one = config->links[i].qos_minus_one;
        e->links[i].advertise_s = config->links[i].advertise_s;
    }
    sn_discover_reschedule(e);
}

int sn_engine_configure(struct sn_engine *e, int64_t now_ms, const struct sn_engine_config *config)
{
    sn_engine_advance(e, now_ms);
    const struct setup old = setup_of(e);
    e->config = merged(e, config);
    e->config.n_clients = config->n_clients;
    e->config.n_topics = config->n_topics;
    hmap_init(&e->profiles); /* for an exchange before there are any */
    const struct sn_profile **all = NULL;
    if (sn_setup_sections(e, config) == 0 && sn_profiles_init(e) == 0)
        all = profiles_of_all(e);
    if (all == NULL) {
        exchange(e, &old);
        return -ENOMEM;
    }
    const struct setup fresh = setup_of(e);
    put_back(e, &old);
    for (uint32_t slot = 0; slot < e->n_slots; slot++) {
        if (e->slots[slot] != NULL)
            e->slots[slot]->profile = all[slot];
    }
    free((void *)all);
    exchange(e, &fresh);
    take_links(e, config);
    for (uint32_t slot = 0; slot < e->n_slots; slot++) {
        struct sn_client *c = e->slots[slot];
        if (c == NULL)
            continue;
        drop_stale_aliases(e, c);
        if (c->profile->options.allow == SN_NO)
            sn_client_deny(e, c);
        else if (c->state != SN_ST_CONNECTING)
            sn_client_supervise(e, c);
    }
    sn_engine_advance(e, now_ms); /* what is due by the new times */
    return 0;
}
