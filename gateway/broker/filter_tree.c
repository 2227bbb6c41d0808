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
    struct level *l = shared_alloc(s, sizeof *l + text.len);
    if (l == NULL)
        return NULL;
    l->parent = parent;
    l->len = (uint32_t)text.len;
    if (text.len > 0)
        memcpy(l->text, text.data, text.len);
    hmap_insert(&s->tree.levels, &l->node, level_hash(s, parent, text));
    parent->n_children++;
    if (is_text(text, '+'))
        parent->plus = l;
    if (is_text(text, '#'))
        parent->hash = l;
    return l;
}

/* Frees a level that has become useless, and then its parents. */
static void prune(struct shared *s, struct level *l)
{
    while (l != s->tree.root && l->n_children == 0 && l->filter == NULL) {
        struct level *parent = l->parent;
        parent->n_children--;
        if (parent->plus == l)
            parent->plus = NULL;
        if (parent->hash == l)
            parent->hash = NULL;
        hmap_remove(&s->tree.levels, &l->node);
        shared_release(s, l, sizeof *l + l->len);
        l = parent;
    }
}

int tree_init(struct shared *s)
{
    s->tree.root = shared_alloc(s, sizeof *s->tree.root);
    return s->tree.root != NULL ? 0 : -ENOMEM;
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
    struct filter *f = shared_alloc(s, sizeof *f + text.len);
    if (f == NULL)
        return NULL;
    list_init(&f->subs);
    list_init(&f->all);
    f->len = (uint32_t)text.len;
    memcpy(f->text, text.data, text.len);
    f->id = ++s->next_filter_id;
    hmap_insert(&s->filters_by_id, &f->by_id, f->id);
    list_push_back(&s->filters, &f->all);
    s->n_filters++;
    return f;
}

static void filter_free(struct shared *s, struct filter *f)
{
    hmap_remove(&s->filters_by_id, &f->by_id);
    list_unlink(&f->all);
    s->n_filters--;
    shared_release(s, f, sizeof *f + f->len);
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
    assert(list_empty(&f->subs));
    f->level->filter = NULL;
    prune(s, f->level);
    filter_free(s, f);
}

/* Recursion is as deep as the deepest filter, which the engine limits (SN_TOPIC_LEVELS_MAX). */
static void match_below(struct shared *s, const struct level *at, struct bytes rest, bool wildcards,
                        void (*hit)(struct shared *s, struct filter *f))
{
    if (at->hash != NULL && at->hash->filter != NULL && wildcards)
        hit(s, at->hash->filter);
    struct bytes level;
    if (!next_level(&rest, &level)) {
        if (at->filter != NULL)
            hit(s, at->filter);
        return;
    }
    if (at->n_children == 0)
        return;
    const struct level *exact = child(s, at, level);
    if (exact != NULL && exact != at->plus && exact != at->hash)
        match_below(s, exact, rest, true, hit);
    if (at->plus != NULL && wildcards)
        match_below(s, at->plus, rest, true, hit);
}

void tree_match(const struct shared *s, struct bytes topic,
                void (*hit)(struct shared *s, struct filter *f))
{
    const bool dollar = topic.len > 0 && topic.data[0] == '$';
    if (topic.len > 0)
        match_below((struct shared *)(uintptr_t)s, s->tree.root, topic, !dollar, hit);
}
