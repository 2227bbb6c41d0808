/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite's json_each() takes the line apart. What it is lenient about is looked at before: a NUL ends
 * the text for it, also an escaped one.
 */
#include "store_import_row.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/peer.h"
#include "base/text.h"

enum { SHOWN = 40 }; /* octets of what is not understood */

int import_row_init(struct import_row *r, sqlite3 *sql)
{
    *r = (struct import_row){.kind = FORMAT_STATE};
    int rc = sqlite3_prepare_v2(sql, "SELECT key, type, value FROM json_each(?1)", -1, &r->members,
                                NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_prepare_v2(sql,
                                "SELECT json_type(?1), json_extract(?1, '$.row'),"
                                " json_type(?1, '$.version'), json_extract(?1, '$.version')"
                                " WHERE json_valid(?1)",
                                -1, &r->head, NULL);
    }
    return rc;
}

void import_row_deinit(struct import_row *r)
{
    sqlite3_finalize(r->members);
    sqlite3_finalize(r->head);
    free(r->octets);
}

__attribute__((format(printf, 2, 3))) static int wrong(struct import_row *r, const char *format,
                                                       ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->why, sizeof r->why, format, args);
    va_end(args);
    return 1;
}

static const char *shown(struct bytes octets, char *room, size_t size)
{
    struct text t = text_to(room, size);
    text_quoted(&t, octets, SHOWN);
    return room;
}

/* ---- members to values ----------------------------------------------------------------------- */

static struct bytes text_at(sqlite3_stmt *stmt, int at)
{
    const void *const data = sqlite3_column_text(stmt, at);
    return bytes_of(data, data != NULL ? (size_t)sqlite3_column_bytes(stmt, at) : 0);
}

/* Room for all values of the line was made before: none is longer than what stands for it. */
static uint8_t *keep(struct import_row *r, struct bytes octets)
{
    uint8_t *const at = r->octets + r->used;
    if (octets.len > 0)
        memcpy(at, octets.data, octets.len);
    r->used += octets.len;
    return at;
}

static int take_number(struct import_row *r, const struct format_column *c, const char *type,
                       struct import_value *out)
{
    if (c->type == FORMAT_FLAG) {
        out->number = strcmp(type, "true") == 0;
        return out->number != 0 || strcmp(type, "false") == 0
                   ? 0
                   : wrong(r, "%s is not true or false", c->name);
    }
    out->number = sqlite3_column_int64(r->members, 2);
    if (strcmp(type, "integer") != 0 ||
        sqlite3_column_type(r->members, 2) != SQLITE_INTEGER || /* too large for one */
        out->number < c->min || out->number > c->max)
        return wrong(r, "%s is not an integer from %lld to %lld", c->name, (long long)c->min,
                     (long long)c->max);
    return 0;
}

static int take_word(struct import_row *r, const struct format_column *c, struct bytes text,
                     struct import_value *out)
{
    char room[IMPORT_WHY_MAX];
    for (const char *const *w = c->words; *w != NULL; w++) {
        if (bytes_equal(text, bytes_str(*w))) {
            out->octets = bytes_str(*w);
            return 0;
        }
    }
    struct text t = text_to(room, sizeof room);
    for (const char *const *w = c->words; *w != NULL; w++) {
        text_word(&t, w == c->words ? "" : ", ");
        text_word(&t, *w);
    }
    return wrong(r, "%s is none of %s", c->name, room);
}

static int take_octets(struct import_row *r, const struct format_column *c, struct bytes text,
                       bool hex, struct import_value *out)
{
    uint8_t *const at = keep(r, text);
    if (hex && !format_unhex(text, at))
        return wrong(r, "%s%s is not an even number of hexadecimal digits", c->name,
                     c->type == FORMAT_TEXT || c->type == FORMAT_BODY ? "_hex" : "");
    out->octets = bytes_of(at, hex ? text.len / 2 : text.len);
    if (out->octets.len < (uint64_t)c->min || out->octets.len > (uint64_t)c->max)
        return wrong(r, "%s has %zu octets, not %lld to %lld", c->name, out->octets.len,
                     (long long)c->min, (long long)c->max);
    /* Half a surrogate pair is well-formed JSON. */
    if (!hex && !bytes_is_utf8(text))
        return wrong(r, "%s is not UTF-8", c->name);
    if (c->sound != NULL && !c->sound(out->octets))
        return wrong(r, "%s is not %s", c->name, c->should_be);
    return 0;
}

static int take_print(struct import_row *r, const struct format_column *c, struct bytes text,
                      struct import_value *out)
{
    uint8_t octets[8];
    if (text.len != 2 * sizeof octets || !format_unhex(text, octets))
        return wrong(r, "%s is not 16 hexadecimal digits", c->name);
    uint64_t print = 0;
    for (size_t i = 0; i < sizeof octets; i++)
        print = print << 8 | octets[i];
    memcpy(&out->number, &print, sizeof print);
    return 0;
}

static int take(struct import_row *r, const struct format_column *c, bool hex,
                struct import_value *out)
{
    const char *const type = (const char *)sqlite3_column_text(r->members, 1);
    if (out->set)
        return wrong(r, "%s is there twice", c->name);
    if (type == NULL)
        return -ENOMEM;
    out->set = true;
    if (c->type == FORMAT_INT || c->type == FORMAT_FLAG)
        return take_number(r, c, type, out);
    if (strcmp(type, "text") != 0)
        return wrong(r, "%s is not a string", c->name);
    const struct bytes text = text_at(r->members, 2);
    switch (c->type) {
    case FORMAT_WORD:
        return take_word(r, c, text, out);
    case FORMAT_PRINT:
        return take_print(r, c, text, out);
    case FORMAT_TEXT:
    case FORMAT_BODY:
        return take_octets(r, c, text, hex, out);
    case FORMAT_HEX:
        return take_octets(r, c, text, true, out);
    case FORMAT_INT:
    case FORMAT_FLAG:
        break;
    }
    return 0;
}

static bool has_twin(const struct format_column *c)
{
    return c->type == FORMAT_TEXT || c->type == FORMAT_BODY;
}

/* The column that a member is for. */
static int column_of(const struct format *f, struct bytes key, bool *hex)
{
    static const char suffix[] = "_hex";
    for (int i = 0; i < (int)format_columns(f); i++) {
        const struct format_column *const c = &f->columns[i];
        const struct bytes name = bytes_str(c->name);
        *hex = has_twin(c) && key.len == name.len + sizeof suffix - 1 &&
               memcmp(key.data + name.len, suffix, sizeof suffix - 1) == 0;
        if (bytes_equal(bytes_of(key.data, *hex ? name.len : key.len), name))
            return i;
    }
    return -1;
}

static int take_member(struct import_row *r)
{
    const struct format *const f = &formats[r->kind];
    const struct bytes key = text_at(r->members, 0);
    bool hex = false;
    if (bytes_equal(key, bytes_str("row")))
        return 0;
    const int at = column_of(f, key, &hex);
    if (at < 0) {
        char room[4 * SHOWN + 8];
        return wrong(r, "nothing called %s belongs in a row \"%s\"", shown(key, room, sizeof room),
                     f->name);
    }
    return take(r, &f->columns[at], hex, &r->values[at]);
}

static int take_members(struct import_row *r)
{
    int rc = 0;
    int step = SQLITE_ROW;
    while (rc == 0 && (step = sqlite3_step(r->members)) == SQLITE_ROW)
        rc = take_member(r);
    sqlite3_reset(r->members);
    if (rc == 0 && step != SQLITE_DONE)
        return step == SQLITE_NOMEM ? -ENOMEM : wrong(r, "not JSON");
    return rc;
}

/* ---- the row as a whole ---------------------------------------------------------------------- */

static int check_missing(struct import_row *r)
{
    const struct format *const f = &formats[r->kind];
    for (size_t i = 0; i < format_columns(f); i++)
        if (!f->columns[i].optional && !r->values[i].set)
            return wrong(r, "%s is missing in a row \"%s\"", f->columns[i].name, f->name);
    return 0;
}

const struct import_value *import_row_get(const struct import_row *r, const char *column)
{
    const struct format *const f = &formats[r->kind];
    size_t i = 0;
    while (i + 1 < format_columns(f) && strcmp(f->columns[i].name, column) != 0)
        i++;
    return &r->values[i];
}

static bool is_set(const struct import_row *r, const char *column)
{
    return import_row_get(r, column)->set;
}

static bool path_is_sound(struct bytes path)
{
    struct reader nodes = rd_of(path);
    struct peer_room room;
    peer_make(&room, 0, PEER_SERIAL, bytes_of(NULL, 0));
    while (rd_left(&nodes) > 0) {
        const struct bytes node = rd_bytes(&nodes, rd_u8(&nodes));
        if (nodes.failed || !peer_push_node(&room, node))
            return false;
    }
    return !nodes.failed;
}

static int check_address(struct import_row *r)
{
    static const struct {
        const char *kind;
        size_t len;
    } lengths[] = {
        {"ip4",    6 },
        {"ip6",    22},
        {"eui64",  8 },
        {"short",  2 },
        {"serial", 0 },
        {"group",  1 }
    };

    const bool known = is_set(r, "link");
    if (is_set(r, "address_kind") != known || is_set(r, "address") != known ||
        (is_set(r, "path") && !known))
        return wrong(r, "link, address_kind and address belong together");
    if (!known)
        return 0;
    const struct bytes kind = import_row_get(r, "address_kind")->octets;
    const size_t len = import_row_get(r, "address")->octets.len;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        if (bytes_equal(kind, bytes_str(lengths[i].kind)) && len != lengths[i].len)
            return wrong(r, "address has %zu octets, but %s has %zu", len, lengths[i].kind,
                         lengths[i].len);
    }
    return path_is_sound(import_row_get(r, "path")->octets)
               ? 0
               : wrong(r, "path is not a list of forwarders, each with its length before");
}

static int check_will(struct import_row *r)
{
    const bool has = is_set(r, "will_topic");
    if (is_set(r, "will_qos") != has || is_set(r, "will_retain") != has ||
        (is_set(r, "will_body") && !has))
        return wrong(r, "will_topic, will_qos and will_retain belong together");
    return 0;
}

static int check_delivery(struct import_row *r)
{
    const bool journalled = is_set(r, "journal");
    const bool received = bytes_equal(import_row_get(r, "phase")->octets, bytes_str("received"));
    if (journalled && (is_set(r, "topic") || is_set(r, "body")))
        return wrong(r, "a delivery with a journal number has topic and body in its message");
    if (!journalled && !is_set(r, "topic"))
        return wrong(r, "a delivery has a journal number or a topic");
    if (!journalled && !received && import_row_get(r, "topic")->octets.len == 0)
        return wrong(r, "topic may be empty only when the message was received");
    return 0;
}

static int check_row(struct import_row *r)
{
    int rc = check_missing(r);
    if (rc == 0 && r->kind == FORMAT_SESSION)
        rc = check_address(r);
    if (rc == 0 && r->kind == FORMAT_SESSION)
        rc = check_will(r);
    if (rc == 0 && r->kind == FORMAT_DELIVERY)
        rc = check_delivery(r);
    return rc;
}

/* ---- the line -------------------------------------------------------------------------------- */

/* A backslash stands only in strings, before what it escapes. */
static bool escapes_nul(struct bytes line)
{
    for (size_t i = 0; i + 5 < line.len; i++) {
        if (line.data[i] != '\\')
            continue;
        if (memcmp(line.data + i + 1, "u0000", 5) == 0)
            return true;
        i++;
    }
    return false;
}

static int kind_of(struct import_row *r)
{
    char room[4 * SHOWN + 8];
    const char *const type = (const char *)sqlite3_column_text(r->head, 0);
    const struct bytes name = text_at(r->head, 1);
    if (type == NULL || strcmp(type, "object") != 0)
        return wrong(r, "not a JSON object");
    if (name.len == 0)
        return wrong(r, "row is missing: what the line is");
    for (unsigned i = 0; i < FORMAT_KINDS; i++) {
        if (bytes_equal(name, bytes_str(formats[i].name))) {
            r->kind = (enum format_kind)i;
            return 0;
        }
    }
    return wrong(r, "row is %s, which is not known here", shown(name, room, sizeof room));
}

/* Before all else: a newer version may have other members. */
static int check_version(struct import_row *r)
{
    const char *const type = (const char *)sqlite3_column_text(r->head, 2);
    const int64_t version = sqlite3_column_int64(r->head, 3);
    if (r->kind != FORMAT_STATE || type == NULL || strcmp(type, "integer") != 0 ||
        version <= FORMAT_VERSION)
        return 0;
    return wrong(r,
                 "version %lld was written by a newer sennetd; this one reads version %d: install "
                 "that one here, too",
                 (long long)version, FORMAT_VERSION);
}

static int read_head(struct import_row *r)
{
    const int step = sqlite3_step(r->head);
    int rc = 0;
    if (step == SQLITE_ROW)
        rc = kind_of(r);
    else
        rc = step == SQLITE_NOMEM ? -ENOMEM : wrong(r, "not JSON");
    if (rc == 0)
        rc = check_version(r);
    sqlite3_reset(r->head);
    return rc;
}

static int make_room(struct import_row *r, size_t size)
{
    r->used = 0;
    if (size <= r->size)
        return 0;
    uint8_t *const more = realloc(r->octets, size);
    if (more == NULL)
        return -ENOMEM;
    r->octets = more;
    r->size = size;
    return 0;
}

int import_row_read(struct import_row *r, struct bytes line)
{
    memset(r->values, 0, sizeof r->values);
    if (!bytes_is_utf8(line))
        return wrong(r, "not UTF-8");
    if (escapes_nul(line))
        return wrong(r, "a string holds \\u0000; write it under NAME_hex");
    if (make_room(r, line.len + 1) != 0)
        return -ENOMEM;
    sqlite3_bind_text64(r->head, 1, (const char *)line.data, line.len, SQLITE_STATIC, SQLITE_UTF8);
    sqlite3_bind_text64(r->members, 1, (const char *)line.data, line.len, SQLITE_STATIC,
                        SQLITE_UTF8);
    int rc = read_head(r);
    if (rc == 0)
        rc = take_members(r);
    return rc == 0 ? check_row(r) : rc;
}
