/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of a configuration file. A comment starts only at the first non-blank character of a line,
 * because MQTT topics may contain '#'; a value that looks as if somebody thought otherwise is
 * warned about.
 */
#include <assert.h>
#include <string.h>

#include "config_priv.h"

/* Octets [from, to) of `text`. */
static struct bytes slice(struct bytes text, size_t from, size_t to)
{
    struct reader r = rd_of(text);
    rd_bytes(&r, from);
    return rd_bytes(&r, to - from);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool is_key(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           c == '-' || c == '.' || c >= 0x80;
}

static size_t skip_blanks(struct bytes text, size_t i)
{
    while (i < text.len && is_blank(text.data[i]))
        i++;
    return i;
}

static size_t trim_end(struct bytes text, size_t from)
{
    size_t end = text.len;
    while (end > from && is_blank(text.data[end - 1]))
        end--;
    return end;
}

/* Editors count characters, not octets. */
static struct config_place place(const struct config_lexer *lx, struct bytes line, size_t i)
{
    struct config_place at = lx->at;
    at.column = 1;
    for (size_t k = 0; k < i && k < line.len; k++)
        at.column += (line.data[k] & 0xC0) != 0x80;
    return at;
}

static void keep(char room[CONFIG_LINE_MAX + 1], struct bytes text)
{
    assert(text.len <= CONFIG_LINE_MAX);
    if (text.len > 0)
        memcpy(room, text.data, text.len);
    room[text.len] = '\0';
}

void config_lex_init(struct config_lexer *lx, struct config_report *report, unsigned file,
                     struct bytes text)
{
    static const uint8_t bom[] = {0xEF, 0xBB, 0xBF};
    lx->report = report;
    lx->in = rd_of(text);
    lx->at = (struct config_place){.file = file, .line = 0, .column = 1};
    if (text.len >= 2 && ((text.data[0] == 0xFF && text.data[1] == 0xFE) ||
                          (text.data[0] == 0xFE && text.data[1] == 0xFF))) {
        struct config_place at = lx->at;
        at.line = 1;
        config_say0(report, at, SAY_UTF16);
        report->incomplete = true;
        lx->in = rd_of(bytes_of(NULL, 0));
    } else if (text.len >= sizeof bom && memcmp(text.data, bom, sizeof bom) == 0) {
        rd_bytes(&lx->in, sizeof bom);
    }
}

/* The next line without its end. False: no more. */
static bool take_line(struct config_lexer *lx, struct bytes *line)
{
    if (rd_left(&lx->in) == 0)
        return false;
    struct reader look = lx->in;
    const struct bytes rest = rd_rest(&look);
    assert(rest.data != NULL);
    const uint8_t *end = memchr(rest.data, '\n', rest.len);
    const size_t n = end != NULL ? (size_t)(end - rest.data) : rest.len;
    *line = rd_bytes(&lx->in, n);
    assert(line->data != NULL);
    if (end != NULL)
        rd_u8(&lx->in);
    if (line->len > 0 && line->data[line->len - 1] == '\r')
        line->len--;
    lx->at.line++;
    return true;
}

/* False, with the reason said, when the line holds anything but text. */
static bool is_text(struct config_lexer *lx, struct bytes line)
{
    const uint8_t *nul = line.len > 0 ? memchr(line.data, 0, line.len) : NULL;
    if (nul != NULL) {
        config_say0(lx->report, place(lx, line, (size_t)(nul - line.data)), SAY_NUL);
        lx->in = rd_of(bytes_of(NULL, 0));
        lx->report->incomplete = true;
        return false;
    }
    const size_t start = skip_blanks(line, 0);
    if (start < line.len && (line.data[start] == '#' || line.data[start] == ';'))
        return true; /* whatever a comment is written in */
    if (!bytes_is_utf8(line)) {
        config_say0(lx->report, place(lx, line, 0), SAY_NOT_UTF8);
        return false;
    }
    for (size_t i = 0; i < line.len; i++) {
        const uint8_t c = line.data[i];
        if ((c < 0x20 && c != '\t') || c == 0x7F) {
            char code[sizeof "0x00"];
            snprintf(code, sizeof code, "0x%02x", c);
            config_say1(lx->report, place(lx, line, i), SAY_CONTROL, code);
            return false;
        }
    }
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* One escape behind its backslash; false when unknown. */
static bool read_escape(struct reader *r, struct writer *w)
{
    const uint8_t c = rd_u8(r);
    if (c == '"' || c == '\\') {
        wr_u8(w, c);
        return true;
    }
    if (c != 'x')
        return false;
    const int high = hex_digit(rd_u8(r));
    const int low = hex_digit(rd_u8(r));
    if (r->failed || high < 0 || low < 0)
        return false;
    wr_u8(w, (uint8_t)(high * 16 + low));
    return true;
}

/* Reads the quoted text that starts at `from` into the value; `*after` is behind its closing quote.
 * False: said. */
static bool unquote(struct config_lexer *lx, struct bytes line, size_t from, size_t *len,
                    size_t *after)
{
    struct reader r = rd_of(slice(line, from + 1, line.len));
    struct writer w = wr_to(lx->value, CONFIG_LINE_MAX);
    while (rd_left(&r) > 0) {
        const size_t at = line.len - rd_left(&r);
        const uint8_t c = rd_u8(&r);
        if (c == '"') {
            *after = at + 1;
            *len = wr_close(&w);
            lx->value[*len] = '\0';
            return true;
        }
        if (c != '\\') {
            wr_u8(&w, c);
        } else if (!read_escape(&r, &w)) {
            config_say0(lx->report, place(lx, line, at), SAY_BAD_ESCAPE);
            return false;
        }
    }
    config_say0(lx->report, place(lx, line, from), SAY_NO_QUOTE);
    return false;
}

/* Where the ']' of a header stands, counting the brackets of globs like [a-z]; line.len: nowhere.
 */
static size_t find_bracket(struct bytes line, size_t i)
{
    unsigned depth = 0;
    for (; i < line.len; i++) {
        const uint8_t c = line.data[i];
        if (c == '\\')
            i++;
        else if (c == '[')
            depth++;
        else if (c == ']' && depth-- == 0)
            return i;
    }
    return line.len;
}

/* The argument between the section's name and its ']'; returns where the ']' should be. */
static size_t read_argument(struct config_lexer *lx, struct bytes line, size_t i,
                            struct config_line *out)
{
    out->value_at = place(lx, line, i);
    if (i < line.len && line.data[i] == '"') {
        size_t after = i;
        out->bad_value = !unquote(lx, line, i, &out->value_len, &after);
        return out->bad_value ? find_bracket(line, i) : skip_blanks(line, after);
    }
    const size_t end = find_bracket(line, i);
    const struct bytes bare = slice(line, i, trim_end(slice(line, 0, end), i));
    keep(lx->value, bare);
    out->value_len = bare.len;
    return end;
}

static void read_header(struct config_lexer *lx, struct bytes line, size_t bracket,
                        struct config_line *out)
{
    const size_t from = skip_blanks(line, bracket + 1);
    size_t to = from;
    while (to < line.len && is_key(line.data[to]))
        to++;
    out->kind = LINE_SECTION;
    out->at = place(lx, line, bracket);
    if (to == from) {
        config_say0(lx->report, out->at, SAY_NOT_ENTRY);
        return;
    }
    const size_t end = read_argument(lx, line, skip_blanks(line, to), out);
    if (!out->bad_value && (end >= line.len || line.data[end] != ']')) {
        config_say0(lx->report, out->at, SAY_NO_BRACKET);
        return;
    }
    keep(lx->name, slice(line, from, to));
    const size_t behind = skip_blanks(line, end + 1);
    if (out->bad_value || behind >= line.len)
        return;
    const bool comment = line.data[behind] == '#' || line.data[behind] == ';';
    config_say0(lx->report, place(lx, line, behind),
                comment ? SAY_COMMENT_AFTER_SECTION : SAY_AFTER_SECTION);
}

/* " # text" inside a value. A wildcard stands behind a '/' or alone, so it is not meant. */
static void warn_of_comment(struct config_lexer *lx, struct bytes line, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        const uint8_t c = line.data[i];
        if (c != '#' && c != ';')
            continue;
        const bool first = i == from;
        if (first ? i + 1 < to && is_blank(line.data[i + 1]) : is_blank(line.data[i - 1])) {
            char text[CONFIG_LINE_MAX / 8];
            const struct bytes tail = slice(line, i, to);
            const int n = (int)(tail.len < sizeof text ? tail.len : sizeof text - 1);
            snprintf(text, sizeof text, "%.*s", n, (const char *)tail.data);
            config_say1(lx->report, place(lx, line, i), SAY_COMMENT_IN_VALUE, text);
            return;
        }
    }
}

static void read_value(struct config_lexer *lx, struct bytes line, size_t i,
                       struct config_line *out)
{
    out->value_at = place(lx, line, i);
    if (i < line.len && line.data[i] == '"') {
        size_t after = i;
        out->bad_value = !unquote(lx, line, i, &out->value_len, &after);
        const size_t behind = out->bad_value ? line.len : skip_blanks(line, after);
        if (behind < line.len) {
            config_say0(lx->report, place(lx, line, behind), SAY_AFTER_QUOTE);
            out->bad_value = true;
        }
        return;
    }
    const size_t end = trim_end(line, i);
    keep(lx->value, slice(line, i, end));
    out->value_len = end - i;
    warn_of_comment(lx, line, i, end);
}

/* False: said. */
static bool read_entry(struct config_lexer *lx, struct bytes line, size_t from,
                       struct config_line *out)
{
    size_t to = from;
    while (to < line.len && is_key(line.data[to]))
        to++;
    size_t i = skip_blanks(line, to);
    const bool equals = i < line.len && line.data[i] == '=';
    if (to == from || (i == to && i < line.len && !equals)) {
        config_say0(lx->report, place(lx, line, i), SAY_NOT_ENTRY);
        return false;
    }
    if (equals)
        i = skip_blanks(line, i + 1);
    out->kind = LINE_ENTRY;
    out->at = place(lx, line, from);
    keep(lx->name, slice(line, from, to));
    read_value(lx, line, i, out);
    return true;
}

bool config_lex_next(struct config_lexer *lx, struct config_line *out)
{
    struct bytes line;
    while (take_line(lx, &line)) {
        *out = (struct config_line){.name = lx->name, .value = lx->value};
        keep(lx->name, bytes_of(NULL, 0));
        keep(lx->value, bytes_of(NULL, 0));
        if (line.len > CONFIG_LINE_MAX) {
            char most[CONFIG_TEXT_ROOM];
            snprintf(most, sizeof most, "%d", CONFIG_LINE_MAX);
            config_say1(lx->report, place(lx, line, 0), SAY_LINE_TOO_LONG, most);
            continue;
        }
        if (!is_text(lx, line))
            continue;
        const size_t start = skip_blanks(line, 0);
        if (start == line.len || line.data[start] == '#' || line.data[start] == ';')
            continue;
        if (line.data[start] == '[') {
            read_header(lx, line, start, out);
            return true;
        }
        if (read_entry(lx, line, start, out))
            return true;
    }
    return false;
}
