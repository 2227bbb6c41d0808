/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows to lines. One read transaction, so the lines belong together whatever a daemon writes
 * meanwhile; a reader of a WAL keeps nobody from writing, only the WAL from being shortened. Not even
 * the lock of the directory is taken: the daemon may start and stop.
 *
 * Left out is what ties this gateway to the broker's session: the MQTT library's packets, and which
 * spooled message went out under which packet id. Two gateways that both went on with the same packet
 * ids would make the broker take one's messages for repetitions of the other's, and drop them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store_format.h"
#include "store_move.h"
#include "store_priv.h"

enum {
    BUSY_MS = 5000,
    PATIENCE_MS = 3000, /* with a daemon that runs */
    STEP_MS = 20,
};

struct exporter {
    const char *dir;
    const char *file;
    FILE *say;
    FILE *out;
    sqlite3 *sql;
    int64_t n[FORMAT_KINDS]; /* lines */
};

/* ---- the database ---------------------------------------------------------------------------- */

static int no_state(const struct exporter *e, const char *why)
{
    fprintf(e->say, "sennetd: %s/sennet.db can't be exported: %s\n", e->dir, why);
    return EXIT_NO_STATE;
}

static int no_memory(const struct exporter *e)
{
    fprintf(e->say, "sennetd: out of memory\n");
    return EXIT_SYSTEM;
}

static int unreadable(const struct exporter *e, int rc)
{
    if (rc == SQLITE_NOMEM)
        return no_memory(e);
    char why[STORE_WHY_MAX];
    store_db_why(e->sql, rc, why, sizeof why);
    return no_state(e, why);
}

/* The first column of the first row; 0 without rows. */
static int ask(sqlite3 *sql, const char *text, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(sql, text, -1, &stmt, NULL);
    *out = 0;
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int connect_to(struct exporter *e, const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        return no_state(e, errno == ENOENT
                               ? "it is not there; is this the state_dir of a gateway, and its "
                                 "[store] durability not off?"
                               : strerror(errno));
    }
    int rc = sqlite3_open_v2(
        path, &e->sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(e->sql, BUSY_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(e->sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (rc == SQLITE_OK)
        rc = format_functions(e->sql);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(e->sql, "PRAGMA temp_store = 2; PRAGMA cache_size = -2048; BEGIN", NULL,
                          NULL, NULL);
    return rc == SQLITE_OK ? EXIT_OK : unreadable(e, rc);
}

static int check_schema(struct exporter *e)
{
    int64_t id = 0;
    int64_t version = 0;
    int rc = ask(e->sql, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = ask(e->sql, "PRAGMA user_version", &version);
    if (rc != SQLITE_OK)
        return unreadable(e, rc);
    if (id != STORE_APPLICATION)
        return no_state(e, "it is no database of ours");
    if (version < STORE_SCHEMA)
        return no_state(e, "an older version has written it; start this one's daemon once, which "
                           "converts it");
    if (version > STORE_SCHEMA)
        return no_state(e, "a newer version has written it; export with that one");
    return EXIT_OK;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int not_written(const struct exporter *e)
{
    fprintf(e->say, "sennetd: %s can't be written: %s\n", e->file, strerror(errno));
    return EXIT_RUNTIME;
}

/* Each row of the answer is a line. */
static int write_lines(struct exporter *e, const char *select, int64_t *n)
{
    sqlite3_stmt *stmt = NULL;
    bool written = true;
    int rc = sqlite3_prepare_v2(e->sql, select, -1, &stmt, NULL);
    while (rc == SQLITE_OK && written && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const void *const line = sqlite3_column_text(stmt, 0);
        const size_t len = (size_t)sqlite3_column_bytes(stmt, 0);
        rc = line != NULL ? SQLITE_OK : SQLITE_NOMEM;
        if (line != NULL)
            written = fwrite(line, 1, len, e->out) == len && putc('\n', e->out) != EOF;
        ++*n;
    }
    const int error = errno;
    sqlite3_finalize(stmt);
    errno = error;
    if (!written)
        return not_written(e);
    return rc == SQLITE_DONE ? EXIT_OK : unreadable(e, rc);
}

/* Ages are told by the clock of the last row, or a later one. */
static int write_head(struct exporter *e)
{
    char text[700];
    char expiry[24];
    int64_t expiry_ms = 0;
    const int rc = store_expiry_now(e->sql, &expiry_ms);
    if (rc != SQLITE_OK)
        return unreadable(e, rc);
    sqlite3_snprintf(sizeof expiry, expiry, "%lld", (long long)expiry_ms);
    /* A patch with NULL adds nothing. */
    sqlite3_snprintf(sizeof text, text,
                     "SELECT json_patch(json_object('row', 'state', 'version', %d,"
                     " 'written', strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ', 'now'),"
                     " 'seed', digits((SELECT value FROM meta WHERE name = 'seed'), 1),"
                     " 'clock_ms', max(ifnull((SELECT value FROM meta WHERE name = 'clock_ms'), 0),"
                     " ifnull((SELECT clock_ms FROM spool ORDER BY number DESC LIMIT 1), 0))),"
                     " json_object('expiry_clock_ms', %s))",
                     FORMAT_VERSION, expiry_ms > 0 ? expiry : "NULL");
    return write_lines(e, text, &e->n[FORMAT_STATE]);
}

static int write_table(struct exporter *e, unsigned kind)
{
    char *const select = format_select(&formats[kind]);
    const int code = select != NULL ? write_lines(e, select, &e->n[kind]) : no_memory(e);
    sqlite3_free(select);
    return code;
}

static int write_end(struct exporter *e)
{
    int rc = fprintf(e->out, "{\"row\":\"end\"");
    for (unsigned kind = 0; rc >= 0 && kind < FORMAT_KINDS; kind++)
        if (format_is_table(kind))
            rc = fprintf(e->out, ",\"%s\":%lld", formats[kind].name, (long long)e->n[kind]);
    if (rc < 0 || fputs("}\n", e->out) < 0 || fflush(e->out) != 0)
        return not_written(e);
    return EXIT_OK;
}

static int write_all(struct exporter *e)
{
    int code = write_head(e);
    for (unsigned kind = 0; code == EXIT_OK && kind < FORMAT_KINDS; kind++)
        if (format_is_table(kind))
            code = write_table(e, kind);
    return code == EXIT_OK ? write_end(e) : code;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Nobody else may read it. */
static int write_fresh(struct exporter *e, const char *path)
{
    unlink(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    e->out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (e->out == NULL) {
        const int code = not_written(e);
        if (fd >= 0)
            close(fd);
        return code;
    }
    int code = write_all(e);
    if (code == EXIT_OK && fsync(fd) != 0)
        code = not_written(e);
    if (fclose(e->out) != 0 && code == EXIT_OK)
        code = not_written(e);
    return code;
}

/* The last one stays until this one is whole. */
static int write_beside(struct exporter *e)
{
    char *const path = sqlite3_mprintf("%s.new", e->file);
    if (path == NULL)
        return no_memory(e);
    int code = write_fresh(e, path);
    if (code == EXIT_OK && rename(path, e->file) != 0)
        code = not_written(e);
    if (code != EXIT_OK)
        unlink(path);
    sqlite3_free(path);
    return code;
}

static int write_through(struct exporter *e)
{
    e->out = fopen(e->file, "we");
    if (e->out == NULL)
        return not_written(e);
    const int code = write_all(e);
    return fclose(e->out) != 0 && code == EXIT_OK ? not_written(e) : code;
}

static int write_file(struct exporter *e)
{
    struct stat st;
    if (strcmp(e->file, "-") == 0) {
        e->file = "stdout";
        e->out = stdout;
        return write_all(e);
    }
    /* A device, a pipe. */
    if (stat(e->file, &st) == 0 && !S_ISREG(st.st_mode))
        return write_through(e);
    return write_beside(e);
}

/* ---- what it says ---------------------------------------------------------------------------- */

/* What belongs to the session at the broker. */
static int say_half_way(struct exporter *e)
{
    int64_t sending = 0;
    int64_t received = 0;
    int rc = ask(e->sql, "SELECT count(*) FROM sending JOIN spool ON spool.number = sending.number",
                 &sending);
    if (rc == SQLITE_OK)
        rc = ask(e->sql, "SELECT count(*) FROM packet WHERE key GLOB '[qr]*' OR key GLOB '*/[qr]*'",
                 &received);
    if (rc != SQLITE_OK)
        return unreadable(e, rc);
    if (sending > 0) {
        fprintf(e->say,
                "note: %lld of the spooled messages are half way to the broker with QoS 2; whoever "
                "imports this file sends them again, so they may arrive twice\n",
                (long long)sending);
    }
    if (received > 0) {
        fprintf(e->say,
                "note: %lld messages are half way from the broker with QoS 2, and not in this "
                "file\n",
                (long long)received);
    }
    if (sending + received > 0)
        fprintf(e->say, "      A copy of the database of a stopped gateway has them: see MOVING A "
                        "GATEWAY in sennetd(8)\n");
    return EXIT_OK;
}

static void say_sums(const struct exporter *e)
{
    fprintf(e->say,
            "%s: %lld sessions, %lld topics, %lld subscriptions, %lld deliveries to nodes, %lld "
            "spooled messages\n",
            e->file, (long long)e->n[FORMAT_SESSION], (long long)e->n[FORMAT_TOPIC],
            (long long)e->n[FORMAT_SUBSCRIPTION], (long long)e->n[FORMAT_DELIVERY],
            (long long)e->n[FORMAT_SPOOL]);
}

/* ---- what is promised but not in the database yet --------------------------------------------- */

static void ignore_wake(void *arg)
{
    (void)arg;
}

/* A daemon that was killed takes it over when it is started; here that is done for it. */
static int settle(const struct exporter *e)
{
    struct store_options options = store_defaults();
    struct store *s = NULL;
    char error[STORE_WHY_MAX];
    options.dir = e->dir;
    options.intent_bytes = 0;
    const int rc = store_open(&options, ignore_wake, NULL, &s, error, sizeof error);
    store_close(s);
    if (rc == 0)
        return EXIT_OK;
    return rc == -ENOMEM ? no_memory(e) : no_state(e, error);
}

/* One that runs brings it there within the second, mostly. */
static bool awaited(const char *path, uint64_t last)
{
    struct intent_names names = {.n = 0};
    struct intent_left left;
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms += STEP_MS) {
        if (intent_read(path, NULL, &names, NULL, &left) == 0 && !left.torn &&
            (left.entries == 0 || left.first > last))
            return true;
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
    return false;
}

static int complete(const struct exporter *e, const char *path)
{
    struct intent_names names = {.n = 0};
    struct intent_left left;
    char error[STORE_WHY_MAX];
    if (intent_read(path, NULL, &names, NULL, &left) != 0)
        return no_memory(e);
    if (left.state != INTENT_OTHER || left.entries == 0)
        return EXIT_OK;
    const int lock = store_lock(e->dir, error, sizeof error);
    if (lock >= 0) {
        store_unlock(lock);
        return settle(e);
    }
    if (!awaited(path, left.last))
        fprintf(e->say,
                "note: the gateway runs, and what it did in the last seconds is not in this "
                "file: its disk is slow\n");
    return EXIT_OK;
}

static int complete_state(const struct exporter *e)
{
    char *const path = sqlite3_mprintf("%s/sennet.db-intent", e->dir);
    const int code = path != NULL ? complete(e, path) : no_memory(e);
    sqlite3_free(path);
    return code;
}

int store_export(const char *dir, const char *file, FILE *say)
{
    struct exporter e = {.dir = dir, .file = file, .say = say};

    signal(SIGPIPE, SIG_IGN); /* said, like any other error */
    signal(SIGXFSZ, SIG_IGN);
    char *const path = sqlite3_mprintf("%s/sennet.db", dir);
    int code = path != NULL ? complete_state(&e) : no_memory(&e);
    if (code == EXIT_OK)
        code = connect_to(&e, path);
    sqlite3_free(path);
    if (code == EXIT_OK)
        code = check_schema(&e);
    if (code == EXIT_OK)
        code = write_file(&e);
    if (code == EXIT_OK)
        code = say_half_way(&e);
    if (code == EXIT_OK)
        say_sums(&e);
    sqlite3_close(e.sql);
    return code;
}
