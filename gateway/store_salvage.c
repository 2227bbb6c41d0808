/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes were told is safe should not be lost for one bad page: out of a damaged file that was
 * moved aside, the spooled messages are taken that can still be read, and the names of the sinks that
 * they belong to. Sessions are not: nodes connect anew, and half a session is worse than none.
 *
 * Rows are read in their order; at a damaged page the reading goes on behind it, wherever a number
 * can be found again.
 */
#include "store_priv.h"

enum { CHUNK = 10000 /* rows in a transaction */ };

#define SELECT(origin)                                                                             \
    "SELECT number, client, topic, body, qos, retain, will, clock_ms, " origin " FROM spool"       \
    " WHERE number > ?1 ORDER BY number"

/* Files of before have no such column. */
static const char *const selects[] = {SELECT("origin"), SELECT("NULL")};

/* A page that is damaged may still look like rows. */
static bool is_sound(sqlite3_stmt *row)
{
    static const int types[] = {SQLITE_INTEGER, SQLITE_INTEGER, SQLITE_TEXT,    0,
                                SQLITE_INTEGER, SQLITE_INTEGER, SQLITE_INTEGER, SQLITE_INTEGER};
    for (int i = 0; i < 8; i++)
        if (types[i] != 0 && sqlite3_column_type(row, i) != types[i])
            return false;
    const int body = sqlite3_column_type(row, 3);
    const int64_t qos = sqlite3_column_int64(row, 4);
    const int origin = sqlite3_column_type(row, 8);
    return (body == SQLITE_BLOB || body == SQLITE_NULL) &&
           (origin == SQLITE_BLOB || origin == SQLITE_NULL) && sqlite3_column_int64(row, 0) > 0 &&
           sqlite3_column_int64(row, 1) >= 0 && sqlite3_column_bytes(row, 2) > 0 &&
           sqlite3_column_bytes(row, 2) <= UINT16_MAX && qos >= 0 && qos <= 2;
}

static bool run(struct store_db *db, enum store_statement which)
{
    const int rc = sqlite3_step(db->statements[which]);
    sqlite3_reset(db->statements[which]);
    return rc == SQLITE_DONE || rc == SQLITE_ROW;
}

static bool copy_row(struct store_db *db, sqlite3_stmt *row)
{
    sqlite3_stmt *const insert = db->statements[ST_SPOOL];
    for (int i = 0; i < 9; i++)
        sqlite3_bind_value(insert, i + 1, sqlite3_column_value(row, i));
    const bool done = run(db, ST_SPOOL);
    sqlite3_clear_bindings(insert);
    return done;
}

/* By its number it is known whose messages are whose. A file of before has no such table. */
static void copy_sinks(struct store_db *db, sqlite3 *from)
{
    sqlite3_stmt *const insert = db->statements[ST_SINK];
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(from, "SELECT number, broker, client_id FROM sink", -1, &row, NULL);
    while (rc == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW) {
        const int client_id = sqlite3_column_type(row, 2);
        if (sqlite3_column_type(row, 0) != SQLITE_INTEGER ||
            sqlite3_column_type(row, 1) != SQLITE_TEXT || sqlite3_column_bytes(row, 1) == 0 ||
            (client_id != SQLITE_TEXT && client_id != SQLITE_NULL))
            continue;
        for (int i = 0; i < 3; i++)
            sqlite3_bind_value(insert, i + 1, sqlite3_column_value(row, i));
        rc = run(db, ST_SINK) ? SQLITE_OK : SQLITE_ERROR;
        sqlite3_clear_bindings(insert);
    }
    sqlite3_finalize(row);
}

static bool next_chunk(struct store_db *db)
{
    return run(db, ST_COMMIT) && store_db_checkpoint(db) == SQLITE_OK && run(db, ST_BEGIN);
}

/* Copies rows above `*after`, which goes on with them, up to the next damage. False: there are no
 * more. */
static bool copy_rows(struct store_db *db, sqlite3_stmt *row, int64_t *after, int64_t *n)
{
    int rc = sqlite3_bind_int64(row, 1, *after);
    while (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        *after = sqlite3_column_int64(row, 0);
        if (is_sound(row) && copy_row(db, row))
            ++*n;
        rc = *n % CHUNK == CHUNK - 1 && !next_chunk(db) ? SQLITE_DONE : SQLITE_OK;
    }
    sqlite3_reset(row);
    return rc != SQLITE_DONE;
}

static int64_t copy_all(struct store_db *db, sqlite3_stmt *row)
{
    int64_t after = 0;
    int64_t n = 0;
    int64_t skip = 1;
    while (skip < INT64_MAX / 4) {
        const int64_t before = n;
        if (!copy_rows(db, row, &after, &n))
            break;
        skip = n > before ? 1 : 2 * skip;
        after = after < INT64_MAX - skip ? after + skip : INT64_MAX;
    }
    return n;
}

static sqlite3 *open_damaged(const char *path)
{
    sqlite3 *from = NULL;
    if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) ==
        SQLITE_OK) {
        sqlite3_db_config(from, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        sqlite3_db_config(from, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        /* A file that is shorter than it says is read all the same. */
        sqlite3_exec(from, "PRAGMA query_only = ON; PRAGMA writable_schema = ON", NULL, NULL, NULL);
        return from;
    }
    sqlite3_close(from);
    return NULL;
}

static sqlite3_stmt *prepare(sqlite3 *from)
{
    sqlite3_stmt *row = NULL;
    for (size_t i = 0; row == NULL && i < sizeof selects / sizeof selects[0]; i++) {
        if (sqlite3_prepare_v2(from, selects[i], -1, &row, NULL) != SQLITE_OK)
            row = NULL;
    }
    return row;
}

int64_t store_db_salvage(struct store_db *db, const char *path)
{
    sqlite3 *const from = open_damaged(path);
    sqlite3_stmt *const row = from != NULL ? prepare(from) : NULL;
    int64_t n = 0;

    if (row != NULL && run(db, ST_BEGIN)) {
        copy_sinks(db, from);
        n = copy_all(db, row);
        if (!run(db, ST_COMMIT))
            n = 0;
        if (sqlite3_get_autocommit(db->sql) == 0)
            run(db, ST_ROLLBACK);
    }
    sqlite3_finalize(row);
    sqlite3_close(from);
    return n;
}
