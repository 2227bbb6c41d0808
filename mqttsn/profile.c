/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles: what the [client GLOB] and [topics GLOB] sections say about one client id, worked out
 * once per combination of matching sections and shared by all clients it fits. Globs are evaluated
 * when a client connects, never per packet.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"
#include "mqttsn/topic.h"

/* Keys that `from` says override those of `to`. */
static void overlay(struct sn_client_options *to, const struct sn_client_options *from)
{
    if (from->allow != SN_UNSET)
        to->allow = from->allow;
    if (from->qos_minus_one != SN_UNSET)
        to->qos_minus_one = from->qos_minus_one;
    if (from->max_packet_bytes != 0)
        to->max_packet_bytes = from->max_packet_bytes;
    if (from->max_topics != 0)
        to->max_topics = from->max_topics;
    if (from->max_subscriptions != 0)
        to->max_subscriptions = from->max_subscriptions;
    if (from->max_queue != 0)
        to->max_queue = from->max_queue;
    if (from->max_queue_bytes != 0)
        to->max_queue_bytes = from->max_queue_bytes;
    if (from->max_inflight != 0)
        to->max_inflight = from->max_inflight;
    if (from->keep_alive_max_ms != 0)
        to->keep_alive_max_ms = from->keep_alive_max_ms;
    if (from->overflow != SN_OVERFLOW_UNSET)
        to->overflow = from->overflow;
    if (from->queue_qos_0 != SN_UNSET)
        to->queue_qos_0 = from->queue_qos_0;
    if (from->rebind != SN_UNSET)
        to->rebind = from->rebind;
    if (from->resume_asleep != SN_UNSET)
        to->resume_asleep = from->resume_asleep;
    if (from->regack != SN_UNSET)
        to->regack = from->regack;
    if (from->dup != SN_UNSET)
        to->dup = from->dup;
    if (from->max_qos != 0)
        to->max_qos = from->max_qos;
}

static bool bit(struct bytes set, size_t i)
{
    return (set.data[i / 8] >> (i % 8) & 1) != 0;
}

static void set_bit(uint8_t *set, size_t i)
{
    set[i / 8] = (uint8_t)(set[i / 8] | 1U << (i % 8));
}

/* Bits 0.. are the client sections, then come the topics sections. */
static size_t set_size(const struct sn_engine *e)
{
    return (e->config.n_clients + e->config.n_topics + 7) / 8;
}

/* Which sections apply; `client_id` NULL data: a stranger, to whom only plain [topics] do. */
static void match_sections(const struct sn_engine *e, const struct bytes *client_id, uint8_t *set)
{
    const size_t n_clients = e->config.n_clients;
    for (size_t i = 0; i < n_clients; i++) {
        if (client_id != NULL && sn_glob_match(e->client_sections[i].glob, *client_id))
            set_bit(set, i);
    }
    for (size_t i = 0; i < e->config.n_topics; i++) {
        const char *glob = e->topics_sections[i].glob;
        if (glob == NULL || (client_id != NULL && sn_glob_match(glob, *client_id)))
            set_bit(set, n_clients + i);
    }
}

/* Inserts, or replaces the name of the same id, in the sorted array. */
static int put_alias(struct sn_engine *e, struct sn_profile *p, const struct sn_predefined *from)
{
    size_t at = p->n_aliases;
    while (at > 0 && p->aliases[at - 1].topic_id >= from->topic_id)
        at--;
    struct sn_name *name = sn_name_get(e, bytes_str(from->topic));
    if (name == NULL)
        return -ENOMEM;
    if (at < p->n_aliases && p->aliases[at].topic_id == from->topic_id) {
        sn_name_unref(e, p->aliases[at].name);
    } else {
        memmove(&p->aliases[at + 1], &p->aliases[at], (p->n_aliases - at) * sizeof *p->aliases);
        p->n_aliases++;
    }
    p->aliases[at] = (struct sn_alias){.topic_id = from->topic_id, .name = name};
    return 0;
}

/* Sections without a glob first, so that those with one override them. */
static int collect_aliases(struct sn_engine *e, struct sn_profile *p)
{
    size_t total = 0;
    for (size_t i = 0; i < e->config.n_topics; i++)
        total += bit(p->sections, e->config.n_clients + i) ? e->topics_sections[i].n_entries : 0;
    if (total == 0)
        return 0;
    p->aliases = calloc(total, sizeof *p->aliases);
    if (p->aliases == NULL)
        return -ENOMEM;
    for (int with_glob = 0; with_glob <= 1; with_glob++) {
        for (size_t i = 0; i < e->config.n_topics; i++) {
            const struct sn_topics_section *s = &e->topics_sections[i];
            if (!bit(p->sections, e->config.n_clients + i) || (s->glob != NULL) != with_glob)
                continue;
            for (size_t k = 0; k < s->n_entries; k++) {
                if (put_alias(e, p, &s->entries[k]) < 0)
                    return -ENOMEM;
            }
        }
    }
    return 0;
}

static void profile_free(struct sn_engine *e, struct sn_profile *p)
{
    for (size_t i = 0; i < p->n_aliases; i++)
        sn_name_unref(e, p->aliases[i].name);
    free(p->aliases);
    free(p);
}

/* Takes ownership of nothing; `set` is copied behind the record. */
static struct sn_profile *profile_new(struct sn_engine *e, struct bytes set)
{
    struct sn_profile *p = calloc(1, sizeof *p + set.len);
    if (p == NULL)
        return NULL;
    uint8_t *own = (uint8_t *)(p + 1);
    if (set.len > 0)
        memcpy(own, set.data, set.len);
    p->sections = bytes_of(own, set.len);
    p->options = e->config.defaults;
    for (size_t i = 0; i < e->config.n_clients; i++) {
        if (bit(p->sections, i))
            overlay(&p->options, &e->client_sections[i].options);
    }
    if (collect_aliases(e, p) < 0) {
        profile_free(e, p);
        return NULL;
    }
    return p;
}

static struct sn_profile *find_or_make(struct sn_engine *e, const struct bytes *client_id)
{
    const size_t size = set_size(e);
    uint8_t *set = calloc(1, size > 0 ? size : 1);
    if (set == NULL)
        return NULL;
    match_sections(e, client_id, set);
    const struct bytes key = bytes_of(set, size);
    const uint64_t hash = hash_bytes(&e->config.hash_seed, key);
    struct sn_profile *p = NULL;
    for (struct hmap_node *n = hmap_first(&e->profiles, hash); n != NULL; n = hmap_next(n)) {
        p = container_of(n, struct sn_profile, node);
        if (bytes_equal(p->sections, key))
            break;
        p = NULL;
    }
    if (p == NULL) {
        p = profile_new(e, key);
        if (p != NULL)
            hmap_insert(&e->profiles, &p->node, hash);
    }
    free(set);
    return p;
}

static uint16_t above_all_predefined(const struct sn_engine *e)
{
    uint16_t largest = 0;
    for (size_t i = 0; i < e->config.n_topics; i++) {
        for (size_t k = 0; k < e->topics_sections[i].n_entries; k++) {
            if (e->topics_sections[i].entries[k].topic_id > largest)
                largest = e->topics_sections[i].entries[k].topic_id;
        }
    }
    return largest < SN_TOPIC_ID_MAX ? (uint16_t)(largest + 1) : SN_TOPIC_ID_MIN;
}

int sn_profiles_init(struct sn_engine *e)
{
    hmap_init(&e->profiles);
    e->first_topic_id = above_all_predefined(e);
    e->stranger = find_or_make(e, NULL);
    return e->stranger != NULL ? 0 : -ENOMEM;
}

void sn_profiles_deinit(struct sn_engine *e)
{
    for (struct hmap_node *n = hmap_any(&e->profiles); n != NULL; n = hmap_any(&e->profiles)) {
        hmap_remove(&e->profiles, n);
        profile_free(e, container_of(n, struct sn_profile, node));
    }
    hmap_deinit(&e->profiles);
}

const struct sn_profile *sn_profile_get(struct sn_engine *e, struct bytes client_id)
{
    return find_or_make(e, &client_id);
}

struct sn_name *sn_profile_alias(const struct sn_profile *p, uint16_t topic_id)
{
    size_t low = 0;
    size_t high = p->n_aliases;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (p->aliases[middle].topic_id == topic_id)
            return p->aliases[middle].name;
        if (p->aliases[middle].topic_id < topic_id)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
