/* SPDX-License-Identifier: Apache-2.0 */
/* One line of an exported state to values: nothing in it is believed. */
#ifndef SENNET_GATEWAY_STORE_IMPORT_ROW_H
#define SENNET_GATEWAY_STORE_IMPORT_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/bytes.h"

#include "store_format.h"

enum { IMPORT_WHY_MAX = 200 };

struct import_value {
    bool set;
    int64_t number;      /* INT, FLAG, PRINT */
    struct bytes octets; /* TEXT, BODY, HEX, WORD */
};

struct import_row {
    enum format_kind kind;
    struct import_value values[FORMAT_COLUMNS_MAX]; /* in the order of the columns */
    char why[IMPORT_WHY_MAX];                       /* what is wrong with it */

    sqlite3_stmt *members; /* of a line */
    sqlite3_stmt *head;    /* its row and version */
    uint8_t *octets;       /* that the values are views of */
    size_t size;
    size_t used;
};

/* 0 or a code of SQLite. */
int import_row_init(struct import_row *r, sqlite3 *sql);
void import_row_deinit(struct import_row *r);

/* 0; 1 with `why`; or -ENOMEM. Values are valid until the next call. O(line). */
int import_row_read(struct import_row *r, struct bytes line);

/* The value of a column that the kind has. */
const struct import_value *import_row_get(const struct import_row *r, const char *column);

#endif
