/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "sim/story_priv.h"

/* ---- variables ------------------------------------------------------------------------------- */

const struct story_variable *story_get(const struct story *s, const char *name)
{
    for (unsigned i = 0; i < s->n_variables; i++) {
        if (strcmp(s->variables[i].name, name) == 0)
            return &s->variables[i];
    }
    return NULL;
}

void story_set(struct story *s, const char *name, uint64_t value)
{
    for (unsigned i = 0; i < s->n_variables; i++) {
        if (strcmp(s->variables[i].name, name) == 0) {
            s->variables[i].value = value;
            return;
        }
    }
    if (s->n_variables == STORY_VARIABLES) {
        story_fail(s, "more than %d variables", STORY_VARIABLES);
        return;
    }
    struct story_variable *v = &s->variables[s->n_variables++];
    snprintf(v->name, sizeof v->name, "%s", name);
    v->value = value;
}

void story_unset(struct story *s, const char *name)
{
    for (unsigned i = 0; i < s->n_variables; i++) {
        if (strcmp(s->variables[i].name, name) == 0) {
            s->variables[i] = s->variables[--s->n_variables];
            return;
        }
    }
}

/* ---- splitting ------------------------------------------------------------------------------- */

struct cursor {
    struct story *s;
    const char *at, *end;
    struct story_line *line;
};

static bool put(struct cursor *c, char octet)
{
    if (c->line->used == sizeof c->line->text) {
        story_fail(c->s, "line too long");
        return false;
    }
    c->line->text[c->line->used++] = octet;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Behind a backslash: xNN an octet, n a newline, anything else itself. */
static bool put_escape(struct cursor *c)
{
    if (c->at == c->end) {
        story_fail(c->s, "backslash at the end of the line");
        return false;
    }
    const char kind = *c->at++;
    if (kind == 'n')
        return put(c, '\n');
    if (kind != 'x')
        return put(c, kind);
    const int high = c->end - c->at >= 2 ? hex_digit(c->at[0]) : -1;
    const int low = high >= 0 ? hex_digit(c->at[1]) : -1;
    if (low < 0) {
        story_fail(c->s, "\\x needs two hexadecimal digits");
        return false;
    }
    c->at += 2;
    return put(c, (char)(high << 4 | low));
}

/* Behind a dollar: a variable's number. Unset ones are allowed when `wholep` says that nothing else
 * is in the word. Upper case is no variable, so that $SYS can be written. */
static bool put_variable(struct cursor *c, bool first, const char **unset)
{
    char name[STORY_NAME] = "";
    size_t n = 0;
    while (c->at < c->end && n + 1 < sizeof name &&
           (islower((unsigned char)*c->at) || (n > 0 && isdigit((unsigned char)*c->at))))
        name[n++] = *c->at++;
    if (n == 0)
        return put(c, '$');
    const struct story_variable *v = story_get(c->s, name);
    if (v == NULL) {
        if (!first || (c->at < c->end && !isspace((unsigned char)*c->at))) {
            story_fail(c->s, "$%s is not set", name);
            return false;
        }
        const size_t start = c->line->used;
        for (size_t i = 0; i <= n; i++) {
            if (!put(c, name[i]))
                return false;
        }
        *unset = &c->line->text[start];
        return true;
    }
    char digits[24];
    const int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)v->value);
    for (int i = 0; i < len; i++) {
        if (!put(c, digits[i]))
            return false;
    }
    return true;
}

static bool put_value(struct cursor *c, struct story_word *w)
{
    const size_t start = c->line->used;
    w->quoted = c->at < c->end && *c->at == '"';
    if (w->quoted)
        c->at++;
    for (bool first = true;; first = false) {
        const bool end = c->at == c->end;
        if (end && w->quoted) {
            story_fail(c->s, "quotation mark missing");
            return false;
        }
        if (end || (!w->quoted && isspace((unsigned char)*c->at)))
            break;
        const char octet = *c->at++;
        if (w->quoted && octet == '"')
            break;
        const bool done = octet == '\\'  ? put_escape(c)
                          : octet == '$' ? put_variable(c, first && !w->quoted, &w->unset)
                                         : put(c, octet);
        if (!done)
            return false;
    }
    w->value = bytes_of(c->line->text + start, c->line->used - start);
    if (!w->quoted && bytes_equal(w->value, bytes_str("*")))
        w->unset = "";
    return true;
}

/* A key is lower case, underscores and, not first, digits, directly followed by '='. */
static void take_key(struct cursor *c, struct story_word *w)
{
    const char *p = c->at;
    while (p < c->end &&
           (islower((unsigned char)*p) || *p == '_' || (p > c->at && isdigit((unsigned char)*p))))
        p++;
    const size_t n = (size_t)(p - c->at);
    if (n == 0 || n >= sizeof w->key || p == c->end || *p != '=')
        return;
    memcpy(w->key, c->at, n);
    c->at = p + 1;
}

bool story_split(struct story *s, struct bytes text, struct story_line *line)
{
    line->count = 0;
    line->used = 0;
    struct cursor c = {.s = s,
                       .at = (const char *)text.data,
                       .end = (const char *)text.data + text.len,
                       .line = line};
    for (;;) {
        while (c.at < c.end && isspace((unsigned char)*c.at))
            c.at++;
        if (c.at == c.end || *c.at == '#')
            return true;
        if (line->count == STORY_WORDS) {
            story_fail(s, "more than %d words", STORY_WORDS);
            return false;
        }
        struct story_word *w = &line->words[line->count++];
        *w = (struct story_word){0};
        take_key(&c, w);
        if (!put_value(&c, w))
            return false;
    }
}

/* ---- meanings -------------------------------------------------------------------------------- */

bool story_word_is(const struct story_word *w, const char *text)
{
    return w->key[0] == '\0' && bytes_equal(w->value, bytes_str(text));
}

static bool parse_digits(struct bytes text, uint64_t *out)
{
    const bool hex = text.len > 2 && text.data[0] == '0' && text.data[1] == 'x';
    const unsigned base = hex ? 16 : 10;
    *out = 0;
    for (size_t i = hex ? 2 : 0; i < text.len; i++) {
        const int digit = hex_digit((char)text.data[i]);
        if (digit < 0 || (unsigned)digit >= base || *out > UINT64_MAX / 32)
            return false;
        *out = *out * base + (unsigned)digit;
    }
    return text.len > 0;
}

bool story_number(struct story *s, const struct story_word *w, uint64_t most, uint64_t *out)
{
    if (w->unset == NULL && parse_digits(w->value, out) && *out <= most)
        return true;
    story_fail(s, "a number up to %llu is needed, not '%.*s'", (unsigned long long)most,
               (int)w->value.len, (const char *)w->value.data);
    return false;
}

bool story_number_or_hole(struct story *s, const struct story_word *w, uint64_t most, uint64_t *out,
                          struct story_hole *hole)
{
    if (w->unset == NULL)
        return story_number(s, w, most, out);
    hole->open = true;
    snprintf(hole->name, sizeof hole->name, "%s", w->unset);
    return true;
}

void story_fill(struct story *s, const struct story_hole *hole, uint64_t value)
{
    if (hole->open && hole->name[0] != '\0')
        story_set(s, hole->name, value);
}

bool story_duration(struct story *s, const struct story_word *w, int64_t *out_ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {
        {"ms", 1       },
        {"s",  1000    },
        {"m",  60000   },
        {"h",  3600000 },
        {"d",  86400000}
    };

    size_t n = 0;
    while (n < w->value.len && isdigit(w->value.data[n]))
        n++;
    const struct bytes unit = bytes_of(w->value.data + n, w->value.len - n);
    uint64_t number;
    if (parse_digits(bytes_of(w->value.data, n), &number) && number <= INT32_MAX) {
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            if (bytes_equal(unit, bytes_str(units[i].unit))) {
                *out_ms = (int64_t)number * units[i].ms;
                return true;
            }
        }
    }
    story_fail(s, "a time is needed (500ms, 10s, 2m, 1h, 7d), not '%.*s'", (int)w->value.len,
               (const char *)w->value.data);
    return false;
}

size_t story_hex(struct story *s, const struct story_line *line, unsigned first, uint8_t *out,
                 size_t cap)
{
    size_t len = 0;
    for (unsigned i = first; i < line->count; i++) {
        const struct bytes v = line->words[i].value;
        if (v.len % 2 != 0 || line->words[i].key[0] != '\0') {
            story_fail(s, "octets are two hexadecimal digits each");
            return 0;
        }
        for (size_t k = 0; k < v.len; k += 2) {
            const int high = hex_digit((char)v.data[k]);
            const int low = hex_digit((char)v.data[k + 1]);
            if (high < 0 || low < 0 || len == cap) {
                story_fail(s, "octets are two hexadecimal digits each, at most %zu", cap);
                return 0;
            }
            out[len++] = (uint8_t)(high << 4 | low);
        }
    }
    return len;
}
