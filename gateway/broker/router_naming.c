/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a client's topics are called at the brokers: the routes that are for it, with its constants put
 * in, and its prefix. Worked out when it comes, once for all clients for whom the result is the same;
 * a message then costs as much as there are different results among its recipients.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/router_priv.h"
#include "broker/router_topics.h"
#include "mqttsn/topic.h"

enum { TEXTS_FIRST = 4096 };

/* ---- scratch --------------------------------------------------------------------------------- */

struct writer texts_room(struct texts *t, size_t len)
{
    if (t->cap - t->len < len) {
        size_t cap = t->cap > 0 ? t->cap : TEXTS_FIRST;
        while (cap - t->len < len)
            cap *= 2;
        uint8_t *grown = realloc(t->buf, cap);
        if (grown == NULL)
            return (struct writer){.failed = true};
        t->buf = grown;
        t->cap = cap;
    }
    return wr_to(t->buf + t->len, len);
}

enum sn_outcome naming_at_broker(struct router *r, const struct naming *n, const struct way *way,
                                 struct bytes topic, struct span *out)
{
    if (way != NULL ? !way->ok : !n->has_prefix)
        return SN_REFUSED_NEVER;
    /* One more than nothing, so that there is a buffer. */
    struct writer w =
        texts_room(&r->names, 1 + topic.len + (way != NULL ? way->to.len : n->prefix.len));
    if (w.buf == NULL)
        return SN_REFUSED_BUSY;
    bool named = false;
    if (way != NULL) {
        named = topics_rewrite(way->from, way->to, topic, &w);
    } else {
        wr_bytes(&w, n->prefix);
        wr_bytes(&w, topic);
        named = sn_topic_filter_ok(bytes_of(w.buf, w.len));
    }
    *out = (struct span){.at = r->names.len, .len = w.len};
    if (named)
        r->names.len += w.len;
    return named ? SN_OK : SN_REFUSED_NEVER;
}

/* ---- building -------------------------------------------------------------------------------- */

static bool is_for(const char *glob, struct bytes client_id)
{
    return glob == NULL || (client_id.len > 0 && sn_glob_match(glob, client_id));
}

/* The mount prefixes of gateway, link and client, one behind the other. */
static bool put_prefix(const struct router *r, const struct topics_constants *with, uint16_t link,
                       struct writer *w)
{
    const struct router_config *config = &r->config;
    const char *parts[3] = {config->prefix, NULL, NULL};
    if (link < config->n_links && config->link_prefixes != NULL)
        parts[1] = config->link_prefixes[link];
    for (size_t i = 0; i < config->n_client_prefixes; i++) {
        if (is_for(config->client_prefixes[i].glob, with->client))
            parts[2] = config->client_prefixes[i].prefix;
    }
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (parts[i] != NULL && !topics_expand(parts[i], with, w))
            return false;
    }
    return true;
}

/* Talkers have no id, so what is for certain ids is not for them; nor is a prefix. */
static struct topics_constants constants_of(const struct router *r, struct bytes client_id,
                                            uint16_t link)
{
    const struct router_config *config = &r->config;
    const bool known = link < config->n_links && config->link_names != NULL;
    const char *name = known ? config->link_names[link] : NULL;
    return (struct topics_constants){
        .client = client_id,
        .link = bytes_str(name != NULL ? name : ""),
        .gateway = bytes_str(config->gateway != NULL ? config->gateway : ""),
    };
}

/* How the route's topics are called; with a writer that only counts, how long that is. */
static bool put_way(const struct route *route, const struct topics_constants *with,
                    struct writer *w)
{
    if (route->topic != NULL)
        return topics_expand(route->topic, with, w);
    wr_bytes(w, with->prefix);
    wr_bytes(w, bytes_str(route->from));
    return with->has_prefix && !w->failed;
}

static bool is_usable(const struct way *way)
{
    if (!sn_topic_filter_ok(way->to))
        return false;
    if (topics_same_wildcards(way->from, way->to))
        return true;
    return !way->route->down && !sn_topic_has_wildcard(way->to);
}

/* Is the route for the client? */
static bool concerns(const struct route *route, const struct topics_constants *with)
{
    return is_for(route->client, with->client);
}

/* Octets of text, and number of ways, that a naming of these constants needs. */
static size_t measure(const struct router *r, const struct topics_constants *with, uint32_t *n_ways)
{
    struct writer w = wr_to(NULL, 0);
    wr_bytes(&w, with->prefix);
    *n_ways = 0;
    for (size_t i = 0; i < r->config.n_routes; i++) {
        if (!concerns(&r->config.routes[i], with))
            continue;
        put_way(&r->config.routes[i], with, &w);
        (*n_ways)++;
    }
    return w.len;
}

static void fill(const struct router *r, struct naming *n, const struct topics_constants *with,
                 struct writer *w)
{
    const uint8_t *text = w->buf;
    wr_bytes(w, with->prefix);
    n->prefix = bytes_of(text, w->len);
    n->has_prefix = with->has_prefix;
    n->brokers = r->config.rest;
    for (size_t i = 0; i < r->config.n_routes; i++) {
        const struct route *route = &r->config.routes[i];
        if (!concerns(route, with))
            continue;
        struct way *way = &n->ways[n->n_ways++];
        const size_t start = w->len;
        const bool put = put_way(route, with, w);
        *way = (struct way){
            .route = route,
            .from = r->from[i],
            .to = bytes_of(text + start, w->len - start),
        };
        way->ok = put && is_usable(way);
        if (!way->ok) {
            way->to.len = 0;
            w->len = start;
        }
        n->brokers |= route->brokers;
    }
    n->brokers &= (UINT32_C(1) << r->config.n_brokers) - 1;
    n->text_len = w->len;
}

/* ---- sharing --------------------------------------------------------------------------------- */

static bool is_same(const struct naming *a, const struct naming *b)
{
    if (a->n_ways != b->n_ways || a->has_prefix != b->has_prefix ||
        !bytes_equal(a->prefix, b->prefix))
        return false;
    for (uint32_t i = 0; i < a->n_ways; i++) {
        const struct way *x = &a->ways[i];
        const struct way *y = &b->ways[i];
        if (x->route != y->route || x->ok != y->ok || !bytes_equal(x->to, y->to))
            return false;
    }
    return true;
}

static struct naming *find(const struct router *r, const struct naming *like, uint64_t hash)
{
    for (struct hmap_node *at = hmap_first(&r->namings, hash); at != NULL; at = hmap_next(at)) {
        struct naming *n = container_of(at, struct naming, by_text);
        if (is_same(n, like))
            return n;
    }
    return NULL;
}

/* What the prefix is lies in router.names. False: out of memory. */
static bool find_prefix(struct router *r, struct topics_constants *with, uint16_t link)
{
    struct writer count = wr_to(NULL, 0);
    put_prefix(r, with, link, &count);
    r->names.len = 0;
    struct writer w = texts_room(&r->names, count.len + 1);
    if (w.buf == NULL)
        return false;
    with->has_prefix = put_prefix(r, with, link, &w);
    with->prefix = bytes_of(w.buf, with->has_prefix ? w.len : 0);
    return true;
}

struct naming *naming_get(struct router *r, struct bytes client_id, uint16_t link)
{
    struct topics_constants with = constants_of(r, client_id, link);
    if (!find_prefix(r, &with, link))
        return NULL;
    uint32_t n_ways;
    const size_t text_len = measure(r, &with, &n_ways);
    const size_t size = sizeof(struct naming) + n_ways * sizeof(struct way) + text_len + 1;
    struct naming *n = router_alloc(r, size);
    if (n == NULL)
        return NULL;
    n->size = size;
    uint8_t *text = (uint8_t *)&n->ways[n_ways];
    struct writer w = wr_to(text, text_len + 1);
    fill(r, n, &with, &w);
    const uint64_t hash = hash_bytes(&r->config.hash_seed, bytes_of(text, n->text_len));
    struct naming *known = find(r, n, hash);
    if (known != NULL) {
        router_release(r, n, size);
        return naming_ref(known);
    }
    hmap_insert(&r->namings, &n->by_text, hash);
    return naming_ref(n);
}

struct naming *naming_ref(struct naming *n)
{
    n->refs++;
    return n;
}

void naming_unref(struct router *r, struct naming *n)
{
    if (n == NULL || --n->refs > 0)
        return;
    hmap_remove(&r->namings, &n->by_text);
    router_release(r, n, n->size);
}

struct naming *naming_of_stranger(struct router *r, const struct peer *peer)
{
    const size_t known = peer != NULL && peer->link < r->config.n_links;
    return r->strangers[known ? peer->link : r->config.n_links];
}
