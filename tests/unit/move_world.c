/* SPDX-License-Identifier: Apache-2.0 */
#include "move_world.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <check.h>
#include <sqlite3.h>

#include "base/error.h"

#include "store_move.h"

struct store_world from;
struct store_world to;
char said[8192];

void move_setup(void)
{
    world_init(&from);
    world_init(&to);
}

void move_teardown(void)
{
    world_deinit(&from);
    world_deinit(&to);
}

/* ---- doing it -------------------------------------------------------------------------------- */

int export_to(const char *file)
{
    FILE *const say = fmemopen(said, sizeof said, "w");
    const int code = store_export(from.dir, file, say);
    fclose(say);
    return code;
}

int import_from(const char *file)
{
    FILE *const say = fmemopen(said, sizeof said, "w");
    const int code = store_import(&to.options, file, say);
    fclose(say);
    return code;
}

const char *move_file(void)
{
    return world_path(&from, "state.json");
}

void move(void)
{
    ck_assert_msg(export_to(move_file()) == EXIT_OK, "%s", said);
    ck_assert_msg(import_from(move_file()) == EXIT_OK, "%s", said);
}

bool exists(const struct store_world *w, const char *name)
{
    struct stat st;
    return stat(world_path(w, name), &st) == 0;
}

size_t read_text(const char *path, char *out, size_t size)
{
    FILE *const f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    const size_t len = fread(out, 1, size - 1, f);
    out[len] = '\0';
    fclose(f);
    return len;
}

void write_text(const char *path, const char *text, size_t len)
{
    FILE *const f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
}

void run_sql(const struct store_world *w, const char *sql)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(world_path(w, "sennet.db"), &db), SQLITE_OK);
    const int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

const char everything[] =
    "INSERT INTO session VALUES (16777217, 'kitchen', 'active', 0, 60, 7, 65535, 'udp', 'ip4',"
    " x'7f000001075b', x'02abcd', 'will/of/kitchen', x'00ff', 1, 1, 65535);"
    "INSERT INTO session VALUES (16777218, 'caf\xC3\xA9 \"x\\y\"', 'asleep', 1, 1, 600, 3, NULL,"
    " NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1);"
    "INSERT INTO session VALUES (281474976710655, CAST(x'0161c285' AS TEXT), 'away', 0, 0, 0, 0,"
    " 'stick', 'serial', x'', NULL, 'w', NULL, 0, 0, 1);"
    "INSERT INTO topic VALUES (16777217, 1, 'a/b', 0, 0, 1, 65535, 0);"
    "INSERT INTO topic VALUES (16777217, 2, 'a\tb', 300, 1, 0, 0, 65534);"
    "INSERT INTO exchange VALUES (16777217, 9, 1, -81985529216486896);"
    "INSERT INTO subscription VALUES (16777217, 'a/+/#', 2);"
    "INSERT INTO message (journal, topic, body, qos, retain, expires_ms)"
    " VALUES (7, 'down', x'3432', 2, 1, 90000);"
    "INSERT INTO message (journal, topic, body, qos, retain) VALUES (8, 'down', NULL, 1, 0);"
    "INSERT INTO delivery VALUES (16777217, 1, 7, NULL, NULL, 1, 0, 'waiting', 0, NULL);"
    "INSERT INTO delivery VALUES (16777218, 1, 7, NULL, NULL, 2, 1, 'sent', 12, NULL);"
    "INSERT INTO delivery VALUES (16777218, 2, NULL, 'own', x'0d0a01', 2, 0, 'sent', 13, 5000);"
    "INSERT INTO delivery VALUES (16777218, 3, NULL, '', NULL, 2, 0, 'received', 14, NULL);"
    "INSERT INTO spool VALUES (41, 0, 'up', x'7b7d', 0, 0, 1, 5000, NULL);"
    "INSERT INTO spool VALUES (42, 16777217, 'up', NULL, 2, 1, 0, 6000, x'0501');"
    "REPLACE INTO meta VALUES ('clock_ms', 7000);";

void fill(const char *sql)
{
    world_open(&from);
    world_close(&from);
    run_sql(&from, sql);
}

void expect_same_tables(void)
{
    static const char *const tables[] = {"meta",         "sink",    "session",  "topic", "exchange",
                                         "subscription", "message", "delivery", "spool"};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        char sql[400];
        char both[sizeof sql + 200];
        snprintf(sql, sizeof sql,
                 "SELECT (SELECT count(*) FROM (SELECT * FROM main.%s EXCEPT SELECT * FROM o.%s))"
                 " + (SELECT count(*) FROM (SELECT * FROM o.%s EXCEPT SELECT * FROM main.%s))",
                 tables[i], tables[i], tables[i], tables[i]);
        sqlite3 *db = NULL;
        sqlite3_stmt *stmt = NULL;
        ck_assert_int_eq(sqlite3_open(world_path(&from, "sennet.db"), &db), SQLITE_OK);
        snprintf(both, sizeof both, "ATTACH '%s' AS o", world_path(&to, "sennet.db"));
        ck_assert_int_eq(sqlite3_exec(db, both, NULL, NULL, NULL), SQLITE_OK);
        ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
        ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
        ck_assert_msg(sqlite3_column_int(stmt, 0) == 0, "%d rows of %s differ",
                      sqlite3_column_int(stmt, 0), tables[i]);
        sqlite3_finalize(stmt);
        ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    }
}
