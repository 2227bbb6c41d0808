/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a line of an exported state holds: one table that both directions follow. docs/state.md says
 * the same for people.
 */
#ifndef SENNET_GATEWAY_STORE_FORMAT_H
#define SENNET_GATEWAY_STORE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/bytes.h"

enum {
    FORMAT_VERSION = 4,
    FORMAT_COLUMNS_MAX = 16,
    FORMAT_LINE_MAX = 40 << 20, /* of octets; the body in it, in hexadecimal digits, fits */
    FORMAT_BODY_MAX = 16 << 20, /* no node can be sent a thousandth of it */
};

enum format_type {
    FORMAT_INT,   /* an integer from min to max */
    FORMAT_FLAG,  /* true, false */
    FORMAT_WORD,  /* one of `words` */
    FORMAT_TEXT,  /* a string; or, under NAME_hex, octets that would not look well as one */
    FORMAT_BODY,  /* the same; absent when empty */
    FORMAT_HEX,   /* octets as hexadecimal digits */
    FORMAT_PRINT, /* 64 bits as 16 hexadecimal digits: programs that edit JSON round large numbers */
};

struct format_column {
    const char *name;
    enum format_type type;
    bool optional; /* NULL is absent */
    int64_t min;   /* INT: value; TEXT, BODY, HEX: octets */
    int64_t max;
    const char *const *words;       /* NULL-terminated */
    bool (*sound)(struct bytes in); /* TEXT */
    const char *should_be;          /* what `sound` wants, for people */
};

/* The kinds of lines. Tables stand in this order in a file, as rows refer to others before them. */
enum format_kind {
    FORMAT_STATE, /* the first line */
    FORMAT_SINK,
    FORMAT_SESSION,
    FORMAT_TOPIC,
    FORMAT_EXCHANGE,
    FORMAT_SUBSCRIPTION,
    FORMAT_MESSAGE,
    FORMAT_DELIVERY,
    FORMAT_SPOOL,
    FORMAT_END, /* the last line: how many of each there are */
    FORMAT_KINDS
};

struct format {
    const char *name;  /* of the row, and of its table */
    const char *order; /* the table's key; NULL: no table */
    struct format_column columns[FORMAT_COLUMNS_MAX];
};

extern const struct format formats[FORMAT_KINDS];

static inline bool format_is_table(unsigned kind)
{
    return formats[kind].order != NULL;
}

size_t format_columns(const struct format *f);

/* SELECT that gives each row of a table as its line. NULL: out of memory; sqlite3_free() it. Needs
 * format_functions(). */
char *format_select(const struct format *f);
/* INSERT of one row, values in the order of the columns. */
char *format_insert(const struct format *f);
int format_functions(sqlite3 *sql);

/* Fit to stand in a line that people read in a terminal: UTF-8 without control characters, except
 * tabulators and line ends, which JSON escapes. */
bool format_is_readable(struct bytes octets);

/* Octets of an even number of hexadecimal digits; `out` may be `digits` itself. False: they are none. */
bool format_unhex(struct bytes digits, uint8_t *out);

#endif
