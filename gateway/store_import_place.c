/* SPDX-License-Identifier: Apache-2.0 */
#include "store_import_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_priv.h"
#include "system.h"

enum { ERROR_ROOM = 512 };

int import_not_usable(FILE *say, const char *path, const char *why)
{
    fprintf(say, "sennetd: %s can't be used: %s\n", path, why);
    return EXIT_NO_STATE;
}

int import_no_memory(FILE *say)
{
    fprintf(say, "sennetd: out of memory\n");
    return EXIT_SYSTEM;
}

/* ---- the directory --------------------------------------------------------------------------- */

/* Files that root makes belong to whom the directory belongs to. */
static void give_to_owner(const struct import_place *p, int fd)
{
    struct stat st;
    if (geteuid() == 0 && stat(p->dir, &st) == 0 && fchown(fd, st.st_uid, st.st_gid) != 0)
        fprintf(p->say, "sennetd: the owner of files in %s can't be set: %s\n", p->dir,
                strerror(errno));
}

static int sync_path(const struct import_place *p, const char *path, int flags)
{
    const int fd = open(path, flags | O_CLOEXEC);
    const bool done = fd >= 0 && fsync(fd) == 0;
    const int error = errno;
    if (fd >= 0)
        close(fd);
    return done ? EXIT_OK : import_not_usable(p->say, path, strerror(error));
}

static void remove_part(const char *path, const char *suffix)
{
    char *const name = sqlite3_mprintf("%s%s", path, suffix);
    if (name != NULL)
        unlink(name);
    sqlite3_free(name);
}

static void remove_all(const char *path)
{
    remove_part(path, "-wal");
    remove_part(path, "-shm");
    unlink(path);
}

static int create_beside(const struct import_place *p)
{
    remove_all(p->beside);
    const int fd = open(p->beside, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return import_not_usable(p->say, p->beside, strerror(errno));
    give_to_owner(p, fd);
    close(fd);
    return EXIT_OK;
}

/* What lies beside the one that goes would be taken for what belongs to the new database. */
int import_place_fill(struct import_place *p)
{
    int code = sync_path(p, p->beside, O_RDWR);
    if (code != EXIT_OK)
        return code;
    remove_part(p->path, "-wal");
    remove_part(p->path, "-shm");
    remove_part(p->path, "-intent");
    if (rename(p->beside, p->path) != 0)
        return import_not_usable(p->say, p->path, strerror(errno));
    return sync_path(p, p->dir, O_RDONLY | O_DIRECTORY);
}

/* ---- what is there already ------------------------------------------------------------------- */

/* Rows of all tables; a code of SQLite. The database of a daemon that had nothing to keep has none. */
static int count_rows(sqlite3 *sql, int64_t *n)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(
        sql,
        "SELECT (SELECT count(*) FROM session) + (SELECT count(*) FROM topic)"
        " + (SELECT count(*) FROM exchange) + (SELECT count(*) FROM subscription)"
        " + (SELECT count(*) FROM message) + (SELECT count(*) FROM delivery)"
        " + (SELECT count(*) FROM spool)", /* sinks are names only */
        -1, &stmt, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
        *n = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Is a row what this one leaves? Sinks are names only, here as well. */
static bool makes_row(const struct store_op *op)
{
    static const uint8_t kinds[] = {SN_REC_SESSION,      SN_REC_TOPIC,    SN_REC_EXCHANGE,
                                    SN_REC_SUBSCRIPTION, SN_REC_DELIVERY, SN_REC_SPOOL,
                                    OP_MESSAGE};
    return memchr(kinds, op->kind, sizeof kinds) != NULL;
}

/* What a daemon that was killed has promised, and the next one would take over: only spooled messages
 * where there is no database (`sql` NULL). */
static int count_promised(const char *log, sqlite3 *sql, int64_t *n)
{
    struct store_db db = {.sql = sql};
    struct intent_mark mark;
    struct intent_left left;
    struct intent_names names = {.n = 0};
    struct store_ops ops = {.first = NULL};
    bool marked = false;
    int rc = sql != NULL ? store_db_mark(&db, &mark, &marked) : SQLITE_OK;
    if (rc == SQLITE_OK && intent_read(log, marked ? &mark : NULL, &names, &ops, &left) != 0)
        rc = SQLITE_NOMEM;
    if (rc == SQLITE_OK && left.state == INTENT_UNREADABLE)
        rc = SQLITE_CANTOPEN;
    for (const struct store_op *op = ops.first; op != NULL; op = op->next)
        *n += left.state == INTENT_OURS ? makes_row(op) : sql == NULL && op->kind == SN_REC_SPOOL;
    store_ops_free(&ops);
    intent_names_free(&names);
    return rc;
}

static int count_all(const struct import_place *p, sqlite3 *sql, int64_t *n)
{
    char *const log = sqlite3_mprintf("%s-intent", p->path);
    int rc = log != NULL ? SQLITE_OK : SQLITE_NOMEM;
    if (rc == SQLITE_OK && sql != NULL)
        rc = count_rows(sql, n);
    if (rc == SQLITE_OK)
        rc = count_promised(log, sql, n);
    sqlite3_free(log);
    return rc;
}

static int check_vacant(const struct import_place *p)
{
    struct stat st;
    sqlite3 *sql = NULL;
    int64_t n = 0;
    int rc = SQLITE_OK;
    const bool is_there = stat(p->path, &st) == 0;
    if (!is_there && errno != ENOENT)
        return import_not_usable(p->say, p->path, strerror(errno));
    if (is_there && st.st_size > 0)
        rc = sqlite3_open_v2(p->path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK)
        rc = count_all(p, sql, &n);
    const char *const why = sqlite3_errstr(rc);
    sqlite3_close(sql);
    if (rc == SQLITE_OK && n == 0)
        return EXIT_OK;
    fprintf(p->say, "sennetd: state_dir %s holds a state already (", p->dir);
    if (rc == SQLITE_OK)
        fprintf(p->say, "%lld rows", (long long)n);
    else
        fprintf(p->say, "or something else that can't be read: %s", why);
    fprintf(p->say,
            "), and an import does not mix two. To give that one up, move %s and what begins with "
            "its name away; else name another state_dir in [gateway]\n",
            p->path);
    return EXIT_NO_STATE;
}

/* ---- in and out ------------------------------------------------------------------------------ */

static int lock(struct import_place *p)
{
    char error[ERROR_ROOM];
    if (system_state_dir(p->dir, error, sizeof error) != 0) {
        fprintf(p->say, "sennetd: %s\n", error);
        return EXIT_NO_STATE;
    }
    p->lock = store_lock(p->dir, error, sizeof error);
    if (p->lock == -ENOMEM)
        return import_no_memory(p->say);
    if (p->lock < 0) {
        fprintf(p->say, "sennetd: %s\n", error);
        return EXIT_NO_STATE;
    }
    give_to_owner(p, p->lock);
    return EXIT_OK;
}

int import_place_take(struct import_place *p, const char *dir, FILE *say)
{
    *p = (struct import_place){.dir = dir,
                               .say = say,
                               .path = sqlite3_mprintf("%s/sennet.db", dir),
                               .beside = sqlite3_mprintf("%s/sennet.db-import", dir),
                               .lock = -1};
    int code = p->path != NULL && p->beside != NULL ? lock(p) : import_no_memory(say);
    if (code == EXIT_OK)
        code = check_vacant(p);
    return code == EXIT_OK ? create_beside(p) : code;
}

void import_place_leave(struct import_place *p)
{
    if (p->lock >= 0)
        remove_all(p->beside);
    store_unlock(p->lock);
    sqlite3_free(p->path);
    sqlite3_free(p->beside);
}
