/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines to rows of a database beside the real one, which takes its place when the last line has been
 * read: there is no moment at which half of a state could be found. The directory's lock is held all
 * the time, so no daemon starts on it meanwhile.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "store_import_place.h"
#include "store_import_row.h"
#include "store_move.h"
#include "store_priv.h"

enum { LINE_ROOM = 4096 };

struct importer {
    const struct store_options *options;
    const char *file;
    FILE *say;
    FILE *in;
    struct import_place place;

    uint8_t *line;
    size_t size;
    size_t len;
    uint64_t number; /* of the line, from 1 */

    sqlite3 *sql;
    sqlite3_stmt *inserts[FORMAT_KINDS];
    sqlite3_stmt *find_session;
    sqlite3_stmt *find_message;
    sqlite3_stmt *put_meta;
    struct import_row row;
    int64_t n[FORMAT_KINDS]; /* lines */
};

/* ---- what is said ---------------------------------------------------------------------------- */

static int bad_line(const struct importer *m, const char *why)
{
    fprintf(m->say, "%s:%llu: error: %s\n", m->file, (unsigned long long)m->number, why);
    return EXIT_NO_INPUT;
}

static int failed(const struct importer *m, int rc)
{
    char why[STORE_WHY_MAX];
    if (rc == SQLITE_NOMEM)
        return import_no_memory(m->say);
    store_db_why(m->sql, rc, why, sizeof why);
    if ((rc & 0xFF) == SQLITE_FULL && sqlite3_system_errno(m->sql) != ENOSPC)
        snprintf(why, sizeof why, "the state is larger than max_size in [store]");
    return import_not_usable(m->say, m->place.beside, why);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int grow(struct importer *m)
{
    const size_t size = m->size == 0 ? LINE_ROOM : 2 * m->size;
    uint8_t *const more = realloc(m->line, size);
    if (more == NULL)
        return -ENOMEM;
    m->line = more;
    m->size = size;
    return 0;
}

/* 1; 0 at the end; -ENOMEM, -E2BIG, or what the file says. */
static int read_line(struct importer *m)
{
    int c;
    m->len = 0;
    m->number++;
    while ((c = getc_unlocked(m->in)) != EOF && c != '\n') {
        if (m->len == FORMAT_LINE_MAX)
            return -E2BIG;
        if (m->len == m->size && grow(m) != 0)
            return -ENOMEM;
        m->line[m->len++] = (uint8_t)c;
    }
    if (ferror(m->in))
        return errno != 0 ? -errno : -EIO;
    return c != EOF || m->len > 0;
}

static bool is_blank(const struct importer *m)
{
    for (size_t i = 0; i < m->len; i++)
        if (strchr(" \t\r", m->line[i]) == NULL || m->line[i] == '\0')
            return false;
    return true;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void bind(sqlite3_stmt *stmt, int at, const struct format_column *c,
                 const struct import_value *v)
{
    const char *const data = v->octets.len > 0 ? (const char *)v->octets.data : "";
    if (!v->set || (c->type == FORMAT_BODY && v->octets.len == 0)) {
        sqlite3_bind_null(stmt, at);
        return;
    }
    switch (c->type) {
    case FORMAT_INT:
    case FORMAT_FLAG:
    case FORMAT_PRINT:
        sqlite3_bind_int64(stmt, at, v->number);
        break;
    case FORMAT_WORD:
    case FORMAT_TEXT:
        sqlite3_bind_text64(stmt, at, data, v->octets.len, SQLITE_STATIC, SQLITE_UTF8);
        break;
    case FORMAT_BODY:
    case FORMAT_HEX:
        sqlite3_bind_blob64(stmt, at, data, v->octets.len, SQLITE_STATIC);
        break;
    }
}

static int twice(const struct importer *m)
{
    char why[IMPORT_WHY_MAX];
    const char *const said = sqlite3_errmsg(m->sql);
    const char *const columns = strrchr(said, ':');
    snprintf(why, sizeof why, "there is a row with the same %s already",
             columns != NULL ? columns + 2 : formats[m->row.kind].name);
    return bad_line(m, why);
}

static int insert(struct importer *m)
{
    const struct format *const f = &formats[m->row.kind];
    sqlite3_stmt *const stmt = m->inserts[m->row.kind];
    for (size_t i = 0; i < format_columns(f); i++)
        bind(stmt, (int)i + 1, &f->columns[i], &m->row.values[i]);
    const int rc = sqlite3_step(stmt);
    int code = EXIT_OK;
    if ((rc & 0xFF) == SQLITE_CONSTRAINT)
        code = twice(m);
    else if (rc != SQLITE_DONE)
        code = failed(m, rc);
    sqlite3_reset(stmt);
    return code;
}

static bool is_there(sqlite3_stmt *stmt, int64_t key)
{
    sqlite3_bind_int64(stmt, 1, key);
    const bool there = sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_reset(stmt);
    return there;
}

/* What a row belongs to stands before it. (A spooled message may outlive its session.) */
static int check_references(struct importer *m)
{
    const unsigned kind = m->row.kind;
    const bool of_session = kind == FORMAT_TOPIC || kind == FORMAT_EXCHANGE ||
                            kind == FORMAT_SUBSCRIPTION || kind == FORMAT_DELIVERY;
    if (of_session && !is_there(m->find_session, import_row_get(&m->row, "client")->number))
        return bad_line(m, "no row \"session\" with this client comes before");
    if (kind != FORMAT_DELIVERY || !import_row_get(&m->row, "journal")->set)
        return EXIT_OK;
    return is_there(m->find_message, import_row_get(&m->row, "journal")->number)
               ? EXIT_OK
               : bad_line(m, "no row \"message\" with this journal number comes before");
}

static int put_meta(struct importer *m)
{
    sqlite3_stmt *const stmt = m->put_meta;
    const struct bytes seed = import_row_get(&m->row, "seed")->octets;
    sqlite3_bind_text(stmt, 1, "seed", -1, SQLITE_STATIC);
    sqlite3_bind_blob64(stmt, 2, seed.data, seed.len, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    if (rc == SQLITE_DONE) {
        sqlite3_bind_text(stmt, 1, "clock_ms", -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 2, import_row_get(&m->row, "clock_ms")->number);
        rc = sqlite3_step(stmt);
        sqlite3_reset(stmt);
    }
    if (rc == SQLITE_DONE && import_row_get(&m->row, "expiry_clock_ms")->set) {
        char kept[STORE_EXPIRY_ROOM];
        store_expiry_print(import_row_get(&m->row, "expiry_clock_ms")->number, kept);
        sqlite3_bind_text(stmt, 1, "expiry", -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 2, kept, -1, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
        sqlite3_reset(stmt);
    }
    return rc == SQLITE_DONE ? EXIT_OK : failed(m, rc);
}

static int check_sums(struct importer *m)
{
    char why[IMPORT_WHY_MAX];
    for (unsigned kind = 0; kind < FORMAT_KINDS; kind++) {
        if (!format_is_table(kind))
            continue;
        const int64_t wanted = import_row_get(&m->row, formats[kind].name)->number;
        if (wanted == m->n[kind])
            continue;
        snprintf(why, sizeof why, "there should be %lld rows \"%s\", but %lld came",
                 (long long)wanted, formats[kind].name, (long long)m->n[kind]);
        return bad_line(m, why);
    }
    return EXIT_OK;
}

static int take_row(struct importer *m)
{
    const unsigned kind = m->row.kind;
    const bool first = m->n[FORMAT_STATE] == 0;
    if (m->n[FORMAT_END] > 0)
        return bad_line(m, "something comes after the row \"end\"");
    if (first != (kind == FORMAT_STATE))
        return bad_line(m, first ? "the first row is not \"state\": this is no exported state"
                                 : "a second row \"state\"");
    m->n[kind]++;
    if (kind == FORMAT_STATE)
        return put_meta(m);
    if (kind == FORMAT_END)
        return check_sums(m);
    const int code = check_references(m);
    return code == EXIT_OK ? insert(m) : code;
}

static int take_line(struct importer *m)
{
    if (is_blank(m))
        return EXIT_OK;
    const int rc = import_row_read(&m->row, bytes_of(m->line, m->len));
    if (rc < 0)
        return import_no_memory(m->say);
    return rc > 0 ? bad_line(m, m->row.why) : take_row(m);
}

static int take_lines(struct importer *m)
{
    int code = EXIT_OK;
    int rc = 0;
    while (code == EXIT_OK && (rc = read_line(m)) > 0)
        code = take_line(m);
    if (code != EXIT_OK)
        return code;
    if (rc == -ENOMEM)
        return import_no_memory(m->say);
    if (rc == -E2BIG)
        return bad_line(m, "the line is longer than any of an exported state");
    if (rc < 0) {
        fprintf(m->say, "sennetd: %s can't be read: %s\n", m->file, strerror(-rc));
        return EXIT_NO_INPUT;
    }
    if (m->n[FORMAT_STATE] == 0)
        return bad_line(m, "the file is empty");
    if (m->n[FORMAT_END] == 0)
        return bad_line(m, "the row \"end\" is missing: the file was cut off");
    return EXIT_OK;
}

/* ---- the new database ------------------------------------------------------------------------ */

static int prepare_all(struct importer *m)
{
    int rc = import_row_init(&m->row, m->sql);
    for (unsigned kind = 0; rc == SQLITE_OK && kind < FORMAT_KINDS; kind++) {
        if (!format_is_table(kind))
            continue;
        char *const text = format_insert(&formats[kind]);
        rc = text != NULL ? sqlite3_prepare_v2(m->sql, text, -1, &m->inserts[kind], NULL)
                          : SQLITE_NOMEM;
        sqlite3_free(text);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(m->sql, "SELECT 1 FROM session WHERE client = ?1", -1,
                                &m->find_session, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(m->sql, "SELECT 1 FROM message WHERE journal = ?1", -1,
                                &m->find_message, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(m->sql, "INSERT INTO meta (name, value) VALUES (?1, ?2)", -1,
                                &m->put_meta, NULL);
    return rc;
}

static void finalize_all(struct importer *m)
{
    for (unsigned kind = 0; kind < FORMAT_KINDS; kind++)
        sqlite3_finalize(m->inserts[kind]);
    sqlite3_finalize(m->find_session);
    sqlite3_finalize(m->find_message);
    sqlite3_finalize(m->put_meta);
    import_row_deinit(&m->row);
}

/* No journal, no syncs: what does not get to its end is thrown away. Pages go to the file when the
 * cache is full, so one transaction of any length costs no memory. */
static int begin(struct importer *m)
{
    char text[300];
    int version = 0;
    sqlite3_snprintf(sizeof text, text,
                     "PRAGMA page_size = %d; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
                     "PRAGMA secure_delete = OFF; PRAGMA cache_size = -4096; PRAGMA temp_store = 2;"
                     "PRAGMA max_page_count = %lld",
                     STORE_PAGE_BYTES, (long long)(m->options->max_bytes / STORE_PAGE_BYTES));
    int rc = sqlite3_open_v2(m->place.beside, &m->sql,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                             NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_extended_result_codes(m->sql, 1);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(m->sql, text, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = store_schema_set(m->sql, &version);
    if (rc == SQLITE_OK)
        rc = prepare_all(m);
    /* Only to find those who are there twice, at their line. */
    if (rc == SQLITE_OK) {
        rc =
            sqlite3_exec(m->sql, "BEGIN IMMEDIATE; CREATE UNIQUE INDEX twice ON session(client_id)",
                         NULL, NULL, NULL);
    }
    return rc == SQLITE_OK ? EXIT_OK : failed(m, rc);
}

static void say_unknown_links(struct importer *m)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(m->sql,
                           "SELECT link, count(*) FROM session WHERE link IS NOT NULL GROUP BY 1",
                           -1, &stmt, NULL) != SQLITE_OK)
        return;
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *const link = (const char *)sqlite3_column_text(stmt, 0);
        bool known = false;
        for (size_t i = 0; link != NULL && i < m->options->n_links; i++)
            known = known || strcmp(link, m->options->links[i]) == 0;
        if (!known) {
            fprintf(m->say,
                    "note: %lld sessions are on a link \"%s\", which this configuration does not "
                    "have: their nodes will not be reached until they connect again. Give a link "
                    "that name before the daemon starts\n",
                    (long long)sqlite3_column_int64(stmt, 1), link != NULL ? link : "");
        }
    }
    sqlite3_finalize(stmt);
}

/* From here on it is one as the daemon would have made it. */
static int end(struct importer *m)
{
    const int rc = sqlite3_exec(m->sql, "DROP INDEX twice; COMMIT; PRAGMA journal_mode = WAL", NULL,
                                NULL, NULL);
    if (rc != SQLITE_OK)
        return failed(m, rc);
    say_unknown_links(m);
    return EXIT_OK;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int open_input(struct importer *m)
{
    if (strcmp(m->file, "-") == 0) {
        m->file = "stdin";
        m->in = stdin;
        return EXIT_OK;
    }
    m->in = fopen(m->file, "re");
    if (m->in != NULL)
        return EXIT_OK;
    fprintf(m->say, "sennetd: %s can't be read: %s\n", m->file, strerror(errno));
    return EXIT_NO_INPUT;
}

static int fill(struct importer *m)
{
    int code = begin(m);
    if (code == EXIT_OK)
        code = take_lines(m);
    if (code == EXIT_OK)
        code = end(m);
    finalize_all(m);
    const int rc = sqlite3_close(m->sql);
    m->sql = NULL;
    if (code == EXIT_OK && rc != SQLITE_OK)
        code = failed(m, rc);
    return code == EXIT_OK ? import_place_fill(&m->place) : code;
}

static void say_sums(const struct importer *m)
{
    fprintf(m->say,
            "%s: %lld sessions, %lld topics, %lld subscriptions, %lld deliveries to nodes, %lld "
            "spooled messages are in %s now\n",
            m->file, (long long)m->n[FORMAT_SESSION], (long long)m->n[FORMAT_TOPIC],
            (long long)m->n[FORMAT_SUBSCRIPTION], (long long)m->n[FORMAT_DELIVERY],
            (long long)m->n[FORMAT_SPOOL], m->options->dir);
}

static int import(struct importer *m)
{
    int code = open_input(m);
    if (code != EXIT_OK)
        return code;
    code = import_place_take(&m->place, m->options->dir, m->say);
    if (code == EXIT_OK)
        code = fill(m);
    import_place_leave(&m->place);
    if (code == EXIT_OK)
        say_sums(m);
    else
        fprintf(m->say, "nothing was imported\n");
    return code;
}

int store_import(const struct store_options *options, const char *file, FILE *say)
{
    if (options->durability == STORE_OFF) {
        fprintf(say,
                "sennetd: durability in [store] is off, so the daemon would not look at what is "
                "imported; choose 'process' or 'power' first\n");
        return EXIT_CONFIG;
    }
    struct importer *const m = calloc(1, sizeof *m);
    if (m == NULL)
        return EXIT_SYSTEM;
    m->options = options;
    m->file = file;
    m->say = say;
    signal(SIGXFSZ, SIG_IGN); /* said, like any other error */
    const int code = import(m);
    if (m->in != NULL && m->in != stdin)
        fclose(m->in);
    free(m->line);
    free(m);
    return code;
}
