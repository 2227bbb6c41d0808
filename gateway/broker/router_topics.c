/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/router_topics.h"

#include "mqttsn/topic.h"

/* ---- levels ---------------------------------------------------------------------------------- */

/* Walks over the levels of a filter or name. */
struct walk {
    struct bytes left; /* from the level on that comes next */
    bool more;
};

static struct walk walk_of(struct bytes text)
{
    return (struct walk){.left = text, .more = true};
}

/* The level that comes next; it must be there. */
static struct bytes level_of(const struct walk *w)
{
    const uint8_t *slash = w->left.len > 0 ? memchr(w->left.data, '/', w->left.len) : NULL;
    return bytes_of(w->left.data, slash != NULL ? (size_t)(slash - w->left.data) : w->left.len);
}

static void step(struct walk *w)
{
    const size_t len = level_of(w).len;
    w->more = len < w->left.len;
    if (w->more)
        w->left = bytes_of(w->left.data + len + 1, w->left.len - len - 1);
}

static bool is_plus(struct bytes level)
{
    return level.len == 1 && level.data[0] == '+';
}

static bool is_hash(struct bytes level)
{
    return level.len == 1 && level.data[0] == '#';
}

static bool is_wildcard(struct bytes level)
{
    return is_plus(level) || is_hash(level);
}

static bool begins_with(struct bytes text, uint8_t octet)
{
    return text.len > 0 && text.data[0] == octet;
}

/* Section 4.7.2: a leading wildcard is not for the broker's own topics. */
static bool shuns(struct bytes filter, struct bytes other)
{
    return begins_with(other, '$') && (begins_with(filter, '+') || begins_with(filter, '#'));
}

/* ---- filters as sets ------------------------------------------------------------------------- */

bool topics_cover(struct bytes wide, struct bytes narrow)
{
    if (shuns(wide, narrow))
        return false;
    struct walk w = walk_of(wide);
    struct walk n = walk_of(narrow);
    for (; w.more && n.more; step(&w), step(&n)) {
        const struct bytes level = level_of(&w);
        const struct bytes other = level_of(&n);
        if (is_hash(level))
            return true;
        const bool fits = is_plus(level) ? !is_hash(other) : bytes_equal(level, other);
        if (!fits)
            return false;
    }
    return !n.more && (!w.more || is_hash(level_of(&w)));
}

bool topics_match(struct bytes filter, struct bytes name)
{
    return topics_cover(filter, name); /* a name is the filter that matches it alone */
}

static void put_level(struct writer *out, bool *first, struct bytes level)
{
    if (!*first)
        wr_u8(out, '/');
    *first = false;
    wr_bytes(out, level);
}

bool topics_intersect(struct bytes a, struct bytes b, struct writer *out)
{
    if (shuns(a, b) || shuns(b, a))
        return false;
    struct walk x = walk_of(a);
    struct walk y = walk_of(b);
    const size_t start = out->len;
    bool first = true;
    for (; x.more && y.more; step(&x), step(&y)) {
        const struct bytes p = level_of(&x);
        const struct bytes q = level_of(&y);
        if (is_hash(p) || is_hash(q)) { /* it stands for whatever the other one has left */
            put_level(out, &first, is_hash(p) ? y.left : x.left);
            return !out->failed;
        }
        if (!is_plus(p) && !is_plus(q) && !bytes_equal(p, q))
            return false;
        put_level(out, &first, is_plus(p) ? q : p);
    }
    /* `a/#` also matches `a`. */
    const bool ended = (!x.more || is_hash(level_of(&x))) && (!y.more || is_hash(level_of(&y)));
    return ended && !out->failed && out->len > start; /* the empty name is none */
}

/* ---- rewriting ------------------------------------------------------------------------------- */

/* What the wildcards of a filter stand for in a name. */
struct captures {
    struct bytes of[SN_TOPIC_LEVELS_MAX];
    unsigned n;
    bool nothing; /* the last one, of `#`, stands for no level at all */
};

static bool capture(struct bytes filter, struct bytes name, struct captures *c)
{
    c->n = 0;
    c->nothing = false;
    if (shuns(filter, name))
        return false;
    struct walk f = walk_of(filter);
    struct walk n = walk_of(name);
    for (; f.more && n.more; step(&f), step(&n)) {
        const struct bytes level = level_of(&f);
        const struct bytes other = level_of(&n);
        if (is_wildcard(level) && c->n == SN_TOPIC_LEVELS_MAX)
            return false;
        if (is_hash(level)) {
            c->of[c->n++] = n.left;
            return true;
        }
        if (is_plus(level) && !is_hash(other))
            c->of[c->n++] = other;
        else if (!bytes_equal(level, other))
            return false;
    }
    c->nothing = f.more && is_hash(level_of(&f));
    return !n.more && (!f.more || c->nothing);
}

bool topics_rewrite(struct bytes from, struct bytes to, struct bytes name, struct writer *out)
{
    struct captures c;
    if (!capture(from, name, &c))
        return false;
    const size_t start = out->len;
    unsigned used = 0;
    bool first = true;
    for (struct walk t = walk_of(to); t.more; step(&t)) {
        const struct bytes level = level_of(&t);
        if (is_hash(level) && c.nothing)
            break;
        if (!is_wildcard(level))
            put_level(out, &first, level);
        else if (used < c.n)
            put_level(out, &first, c.of[used++]);
        else
            return false;
    }
    if (out->failed || out->buf == NULL)
        return false;
    const struct bytes result = bytes_of(out->buf + start, out->len - start);
    return sn_topic_filter_ok(result) && !shuns(to, result);
}

bool topics_same_wildcards(struct bytes a, struct bytes b)
{
    struct walk x = walk_of(a);
    struct walk y = walk_of(b);
    for (;;) {
        while (x.more && !is_wildcard(level_of(&x)))
            step(&x);
        while (y.more && !is_wildcard(level_of(&y)))
            step(&y);
        if (!x.more || !y.more)
            return x.more == y.more;
        if (is_hash(level_of(&x)) != is_hash(level_of(&y)))
            return false;
        step(&x);
        step(&y);
    }
}

/* ---- templates ------------------------------------------------------------------------------- */

enum part { PART_TEXT, PART_CLIENT, PART_LINK, PART_GATEWAY, PART_PREFIX, PART_BAD };

/* The part of a template that begins at `*at`, which moves behind it. */
static enum part next_part(const char **at, struct bytes *text)
{
    static const struct {
        const char *word;
        enum part part;
    } words[] = {
        {"{client}",  PART_CLIENT },
        {"{link}",    PART_LINK   },
        {"{gateway}", PART_GATEWAY},
        {"{prefix}",  PART_PREFIX },
    };

    const char *start = *at;
    if (*start != '{') {
        const size_t len = strcspn(start, "{}");
        *at += len;
        *text = bytes_of(start, len);
        return len > 0 ? PART_TEXT : PART_BAD; /* a '}' that closes nothing */
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const size_t len = strlen(words[i].word);
        if (strncmp(start, words[i].word, len) == 0) {
            *at += len;
            return words[i].part;
        }
    }
    return PART_BAD;
}

const char *topics_template_fault(const char *text)
{
    for (const char *at = text; *at != '\0';) {
        const bool begins_level = at == text || at[-1] == '/';
        struct bytes run;
        const enum part part = next_part(&at, &run);
        if (part == PART_BAD)
            return "in braces stand {client}, {link}, {gateway} or {prefix}";
        if (part == PART_PREFIX && !begins_level)
            return "{prefix} must begin a level: it is whole levels itself";
    }
    return NULL;
}

static bool is_fit(struct bytes constant, bool of_client)
{
    if (constant.len == 0) /* nobody's id, or a link without name */
        return true;
    if (!sn_topic_name_ok(constant))
        return false;
    const bool one_level = memchr(constant.data, '/', constant.len) == NULL;
    return !of_client || (one_level && !begins_with(constant, '$'));
}

bool topics_expand(const char *text, const struct topics_constants *with, struct writer *out)
{
    for (const char *at = text; *at != '\0';) {
        struct bytes run = bytes_of(NULL, 0);
        const enum part part = next_part(&at, &run);
        switch (part) {
        case PART_TEXT:
            break;
        case PART_CLIENT:
            run = with->client;
            break;
        case PART_LINK:
            run = with->link;
            break;
        case PART_GATEWAY:
            run = with->gateway;
            break;
        case PART_PREFIX:
            if (!with->has_prefix)
                return false;
            run = with->prefix;
            break;
        case PART_BAD:
            return false;
        }
        const bool constant = part == PART_CLIENT || part == PART_LINK || part == PART_GATEWAY;
        if (constant && !is_fit(run, part == PART_CLIENT))
            return false;
        wr_bytes(out, run);
    }
    return !out->failed;
}
