/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>

#include "broker/shared_priv.h"

static uint64_t level_hash(const struct shared *s, const struct level *parent, struct bytes text)
{
    return hash_bytes(&s->config.hash_seed, text) ^
           (uint64_t)(uintptr_t)parent * 0x9E3779B97F4A7C15U;
}

/* Cuts the next level off `rest`; false when there was none. `rest->data` NULL marks the end. */
static bool next_level(struct bytes *rest, struct bytes *level)
{
    if (rest->data == NULL)
        return false;
    const uint8_t *slash = rest->len > 0 ? memchr(rest->data, '/', rest->len) : NULL;
    if (slash == NULL) {
        *level = *rest;
        *rest = bytes_of(NULL, 0);
        return true;
    }
    const size_t n = (size_t)(slash - rest->data);
    *level = bytes_of(rest->data, n);
    *rest = bytes_of(slash + 1, rest->len - n - 1);
    return true;
}

static bool is_text(struct bytes level, char c)
{
    return level.len == 1 && level.data[0] == (uint8_t)c;
}

static size_t level_size(size_t len)
{
    return record_octets(sizeof(struct level), offsetof(struct level, text), len);
}

static size_t filter_size(size_t len)
{
    return record_octets(sizeof(struct filter), offsetof(struct filter, text), len);
}

/* There are two at most, and they come first. */
static struct level *wildcard_of(const struct level *at, uint8_t which)
{
    struct level *l = container_of(at->children.first, struct level, sibling);
    return l->wildcard == which ? l : container_of(l->sibling.next, struct level, sibling);
}

static struct level *plus_of(const struct level *at)
{
    return at->has_plus ? wildcard_of(at, '+') : NULL;
}

static struct level *hash_of(const struct level *at)
{
    return at->has_hash ? wildcard_of(at, '#') : NULL;
}

static struct level *child(const struct shared *s, const struct level *parent, struct bytes text)
{
    const uint64_t hash = level_hash(s, parent, text);
    struct hmap_node *n = hmap_first(&s->tree.levels, hash);
    for (; n != NULL; n = hmap_next(n)) {
        struct level *l = container_of(n, struct level, node);
        if (l->parent == parent && bytes_equal(bytes_of(l->text, l->len), text))
            return l;
    }
    return NULL;
}

static struct level *child_add(struct shared *s, struct level *parent, struct bytes text)
{
    struct level *l = shared_alloc(s, level_size(text.len));
    if (l == NULL)
        return NULL;
    l->parent = parent;
    l->len = (uint16_t)text.len;
    if (text.len > 0)
        memcpy(l->text, text.data, text.len);
    if (is_text(text, '+') || is_text(text, '#'))
        l->wildcard = text.data[0];
    list_init(&l->sibling);
    if (l->wildcard != 0)
        ring_push_front(&parent->children, &l->sibling);
    else
        ring_push_back(&parent->children, &l->sibling);
    hmap_insert(&s->tree.levels, &l->node, level_hash(s, parent, text));
    parent->has_plus = parent->has_plus || l->wildcard == '+';
    parent->has_hash = parent->has_hash || l->wildcard == '#';
    return l;
}

/* Frees a level that has become useless, and then its parents. */
static void prune(struct shared *s, struct level *l)
{
    while (l != s->tree.root && l->children.first == NULL && l->filter == NULL) {
        struct level *parent = l->parent;
        ring_remove(&parent->children, &l->sibling);
        parent->has_plus = parent->has_plus && l->wildcard != '+';
        parent->has_hash = parent->has_hash && l->wildcard != '#';
        hmap_remove(&s->tree.levels, &l->node);
        shared_release(s, l, level_size(l->len));
        l = parent;
    }
}

int tree_init(struct shared *s)
{
    s->tree.root = shared_alloc(s, sizeof *s->tree.root);
    if (s->tree.root == NULL)
        return -ENOMEM;
    return 0;
}

void tree_deinit(struct shared *s)
{
    shared_release(s, s->tree.root, sizeof *s->tree.root);
    hmap_deinit(&s->tree.levels);
}

struct filter *tree_find(const struct shared *s, struct bytes text)
{
    const struct level *l = s->tree.root;
    struct bytes level;
    while (l != NULL && next_level(&text, &level))
        l = child(s, l, level);
    return l != NULL ? l->filter : NULL;
}

static struct filter *filter_new(struct shared *s, struct bytes text)
{
    struct filter *f = shared_alloc(s, filter_size(text.len));
    if (f == NULL)
        return NULL;
    list_init(&f->all);
    list_init(&f->ward);
    f->len = (uint16_t)text.len;
    memcpy(f->text, text.data, text.len);
    f->id = ++s->next_filter_id;
    hmap_insert(&s->filters_by_id, &f->by_id, f->id);
    list_push_back(&s->filters, &f->all);
    s->n_filters++;
    return f;
}

static void filter_free(struct shared *s, struct filter *f)
{
    cover_leave(s, f);
    hmap_remove(&s->filters_by_id, &f->by_id);
    list_unlink(&f->all);
    s->n_filters--;
    shared_release(s, f, filter_size(f->len));
}

struct filter *tree_add(struct shared *s, struct bytes text)
{
    struct filter *f = filter_new(s, text);
    if (f == NULL)
        return NULL;
    struct level *l = s->tree.root;
    struct bytes rest = text;
    struct bytes level;
    while (next_level(&rest, &level)) {
        struct level *next = child(s, l, level);
        if (next == NULL)
            next = child_add(s, l, level);
        if (next == NULL) {
            prune(s, l);
            filter_free(s, f);
            return NULL;
        }
        l = next;
    }
    assert(l->filter == NULL);
    l->filter = f;
    f->level = l;
    return f;
}

void tree_remove(struct shared *s, struct filter *f)
{
    assert(f->subs.first == NULL);
    assert(f->wards.first == NULL && f->guard == NULL);
    record_forget_filter(s, f);
    f->level->filter = NULL;
    prune(s, f->level);
    filter_free(s, f);
}

/* Recursion is as deep as the deepest filter, which the engine limits (SN_TOPIC_LEVELS_MAX). */
static void match_below(struct shared *s, const struct level *at, struct bytes rest, bool wildcards,
                        void (*hit)(struct shared *s, struct filter *f))
{
    const struct level *hash = hash_of(at);
    if (hash != NULL && hash->filter != NULL && wildcards)
        hit(s, hash->filter);
    struct bytes level;
    if (!next_level(&rest, &level)) {
        if (at->filter != NULL)
            hit(s, at->filter);
        return;
    }
    if (at->children.first == NULL)
        return;
    const struct level *exact = child(s, at, level);
    if (exact != NULL && exact->wildcard == 0)
        match_below(s, exact, rest, true, hit);
    if (at->has_plus && wildcards)
        match_below(s, plus_of(at), rest, true, hit);
}

void tree_match(const struct shared *s, struct bytes topic,
                void (*hit)(struct shared *s, struct filter *f))
{
    const bool dollar = topic.len > 0 && topic.data[0] == '$';
    if (topic.len > 0)
        match_below((struct shared *)(uintptr_t)s, s->tree.root, topic, !dollar, hit);
}

/* ---- filters that cover each other ----------------------------------------------------------- */

/* A wildcard in the first level matches nothing that begins with a dollar. */
static bool begins_with_dollar(struct bytes text)
{
    return text.len > 0 && text.data[0] == '$';
}

static struct filter *cover_below(const struct shared *s, const struct level *at, struct bytes rest,
                                  bool wildcards, const struct cover_query *q)
{
    const struct level *hash = hash_of(at);
    if (hash != NULL && wildcards && hash->filter != NULL && q->usable(hash->filter, q))
        return hash->filter;
    struct bytes level;
    if (!next_level(&rest, &level))
        return at->filter != NULL && q->usable(at->filter, q) ? at->filter : NULL;
    if (is_text(level, '#'))
        return NULL; /* only another # could stand here */
    struct filter *found = NULL;
    if (at->has_plus && wildcards)
        found = cover_below(s, plus_of(at), rest, true, q);
    if (found != NULL || is_text(level, '+'))
        return found;
    const struct level *exact = child(s, at, level);
    return exact != NULL ? cover_below(s, exact, rest, true, q) : NULL;
}

struct filter *tree_cover(const struct shared *s, const struct cover_query *q)
{
    const struct bytes text = filter_text(q->covered);
    return cover_below(s, s->tree.root, text, !begins_with_dollar(text), q);
}

/* The filters at `at` and everywhere below it. */
static void each_below(struct shared *s, const struct level *at, struct filter *cover,
                       void (*hit)(struct shared *s, struct filter *cover, struct filter *f))
{
    if (at->filter != NULL && at->filter != cover)
        hit(s, cover, at->filter);
    ring_foreach(link, &at->children)
    {
        const struct level *l = container_of(link, struct level, sibling);
        if (at != s->tree.root || !begins_with_dollar(bytes_of(l->text, l->len)))
            each_below(s, l, cover, hit);
    }
}

static void covered_below(struct shared *s, const struct level *at, struct bytes rest,
                          struct filter *cover,
                          void (*hit)(struct shared *s, struct filter *cover, struct filter *f))
{
    struct bytes level;
    if (!next_level(&rest, &level)) {
        if (at->filter != NULL && at->filter != cover)
            hit(s, cover, at->filter);
        return;
    }
    if (is_text(level, '#')) {
        each_below(s, at, cover, hit);
        return;
    }
    if (!is_text(level, '+')) {
        const struct level *exact = child(s, at, level);
        if (exact != NULL)
            covered_below(s, exact, rest, cover, hit);
        return;
    }
    ring_foreach(link, &at->children)
    {
        const struct level *l = container_of(link, struct level, sibling);
        const bool hidden = at == s->tree.root && begins_with_dollar(bytes_of(l->text, l->len));
        if (l->wildcard != '#' && !hidden)
            covered_below(s, l, rest, cover, hit);
    }
}

void tree_covered(struct shared *s, struct filter *cover,
                  void (*hit)(struct shared *s, struct filter *cover, struct filter *f))
{
    covered_below(s, s->tree.root, filter_text(cover), cover, hit);
}
