/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file: settings, checks, and what happens when it is not what it should be.
 *
 * Settings, and why:
 *
 *     page_size 4096         a page is what flash writes at once: a torn write of one page harms no
 *                            other, which the WAL could not repair
 *     psow=0 (power)         so the end of a transaction is padded: nothing that was synced lies in
 *                            a block that is written again
 *     secure_delete off      Debian's default writes zeros over everything deleted
 *     wal_autocheckpoint 0   store_checkpoint.c does it; with psow=1 while nobody may write: a WAL
 *                            that is appended to meanwhile is not safe where flash tears a block
 *     temp_store 2           nothing but the database is written
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store_priv.h"
#include "system.h"

enum {
    CHECK_MS = 2000,         /* for looking through the file when it is opened ... */
    CHECK_STEPS = 4000,      /* ... looked at every so many steps of SQLite's machine */
    BUSY_MS = 1000,          /* somebody's sqlite3(1) is writing */
    ASIDE_MAX = 1000,        /* .corrupt-N */
    CACHE_KIB = 2048,        /* of each connection */
    JOURNAL_LIMIT = 8 << 20, /* what is left of the WAL after a burst */
};

int64_t store_now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t store_now_ms(void)
{
    return store_now_us() / 1000;
}

struct timespec store_deadline(int64_t in_ms)
{
    const int64_t at_ms = store_now_ms() + in_ms;
    return (struct timespec){.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};
}

int64_t store_clock_ms(const struct store_db *db)
{
    return store_now_ms() + db->clock_base_ms;
}

void store_db_why(sqlite3 *sql, int rc, char *why, size_t why_size)
{
    const int error = sql != NULL ? sqlite3_system_errno(sql) : 0;
    const bool of_system = (rc & 0xFF) == SQLITE_IOERR || (rc & 0xFF) == SQLITE_CANTOPEN ||
                           (rc & 0xFF) == SQLITE_FULL || (rc & 0xFF) == SQLITE_READONLY;
    if (of_system && error != 0)
        snprintf(why, why_size, "%s: %s", sqlite3_errstr(rc), strerror(error));
    else
        snprintf(why, why_size, "%s", sqlite3_errstr(rc));
}

static int on_wal(void *arg, sqlite3 *sql, const char *name, int frames)
{
    (void)sql;
    (void)name;
    struct store_db *const db = arg;
    db->wal_frames = frames;
    return SQLITE_OK;
}

void store_configure_sqlite(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/* ---- one connection -------------------------------------------------------------------------- */

static int settings(const struct store_db *db, sqlite3 *sql)
{
    char text[512];
    if (db->immutable)
        return sqlite3_exec(sql, "PRAGMA temp_store = 2", NULL, NULL, NULL);
    sqlite3_snprintf(
        sizeof text, text,
        "PRAGMA page_size = %d; PRAGMA journal_mode = %s; PRAGMA synchronous = %s;"
        "PRAGMA secure_delete = OFF; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -%d;"
        "PRAGMA temp_store = 2; PRAGMA recursive_triggers = OFF; PRAGMA foreign_keys = OFF;"
        "PRAGMA journal_size_limit = %d; PRAGMA max_page_count = %lld",
        STORE_PAGE_BYTES, db->path != NULL ? "WAL" : "MEMORY",
        db->durability == STORE_POWER ? "FULL" : "NORMAL", CACHE_KIB, JOURNAL_LIMIT,
        (long long)(db->max_bytes / STORE_PAGE_BYTES));
    sqlite3_busy_timeout(sql, BUSY_MS);
    /* Nobody may plant functions into a file that a service reads. */
    sqlite3_db_config(sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    return sqlite3_exec(sql, text, NULL, NULL, NULL);
}

/* A name as SQLite wants it, where '?', '#' and '%' are not letters. */
static char *uri_of(const struct store_db *db)
{
    if (db->path == NULL)
        return sqlite3_mprintf("file::memory:");
    sqlite3_str *const out = sqlite3_str_new(NULL);
    sqlite3_str_appendall(out, "file:");
    for (const char *c = db->path; *c != '\0'; c++) {
        if (strchr("?#%", *c) != NULL)
            sqlite3_str_appendf(out, "%%%02X", (unsigned)*c);
        else
            sqlite3_str_appendchar(out, 1, *c);
    }
    sqlite3_str_appendf(out, "?psow=%d%s", db->durability == STORE_POWER ? 0 : 1,
                        db->immutable ? "&immutable=1" : "");
    return sqlite3_str_finish(out);
}

static int connect_to(const struct store_db *db, sqlite3 **out)
{
    char *const uri = uri_of(db);
    if (uri == NULL)
        return SQLITE_NOMEM;
    const int mode =
        db->immutable ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    const int rc = sqlite3_open_v2(
        uri, out, mode | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, db->vfs);
    sqlite3_free(uri);
    if (*out != NULL)
        sqlite3_extended_result_codes(*out, 1);
    return rc;
}

/* ---- is it ours, and whole? ------------------------------------------------------------------ */

static int on_progress(void *arg)
{
    const int64_t *const until_ms = arg;
    return store_now_ms() > *until_ms;
}

/* The first column of the first row, as an integer; 0 without rows. */
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

/* SQLITE_NOTADB: a database, but of another program. */
static int check_owner(sqlite3 *sql, bool *created)
{
    int64_t tables = 0;
    int64_t id = 0;
    int rc = ask(sql, "SELECT count(*) FROM sqlite_schema", &tables);
    if (rc == SQLITE_OK)
        rc = ask(sql, "PRAGMA application_id", &id);
    if (rc != SQLITE_OK)
        return rc;
    *created = tables == 0;
    return id == STORE_APPLICATION || (tables == 0 && id == 0) ? SQLITE_OK : SQLITE_NOTADB;
}

/* Not "ok" may also be a page that could not be read just then: who says so must say so twice. */
static int check(sqlite3 *sql, const char *text)
{
    int rc = SQLITE_CORRUPT;
    for (int try = 0; rc == SQLITE_CORRUPT && try < 2; try++) {
        sqlite3_stmt *stmt = NULL;
        rc = sqlite3_prepare_v2(sql, text, -1, &stmt, NULL);
        if (rc == SQLITE_OK)
            rc = sqlite3_step(stmt);
        if (rc == SQLITE_ROW) {
            const char *const said = (const char *)sqlite3_column_text(stmt, 0);
            rc = said != NULL && strcmp(said, "ok") == 0 ? SQLITE_OK : SQLITE_CORRUPT;
        }
        sqlite3_finalize(stmt);
    }
    return rc;
}

/* Small tables first, so that a large spool does not use up the time for them. What is not looked at
 * is found when it is read. */
static int check_pages(sqlite3 *sql)
{
    static const char *const checks[] = {
        "PRAGMA quick_check('session')",
        "PRAGMA quick_check('topic')",
        "PRAGMA quick_check('exchange')",
        "PRAGMA quick_check('delivery')",
        "PRAGMA quick_check('subscription')",
        "PRAGMA quick_check('message')",
        "PRAGMA quick_check(1)",
    };
    int64_t until_ms = store_now_ms() + CHECK_MS;
    int rc = SQLITE_OK;
    sqlite3_progress_handler(sql, CHECK_STEPS, on_progress, &until_ms);
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof checks / sizeof checks[0]; i++)
        rc = check(sql, checks[i]);
    sqlite3_progress_handler(sql, 0, NULL, NULL);
    return (rc & 0xFF) == SQLITE_INTERRUPT ? SQLITE_OK : rc;
}

/* ---- what is kept about the store itself ----------------------------------------------------- */

static int read_seed(sqlite3 *sql, uint8_t *out, bool *found)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(sql, "SELECT value FROM meta WHERE name = 'seed'", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    *found = rc == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == STORE_SEED_BYTES;
    if (*found)
        memcpy(out, sqlite3_column_blob(stmt, 0), STORE_SEED_BYTES);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int write_seed(sqlite3 *sql, const uint8_t *seed)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(sql, "REPLACE INTO meta (name, value) VALUES ('seed', ?1)", -1,
                                &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_blob(stmt, 1, seed, STORE_SEED_BYTES, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Once it is known it is in use (and read by other threads): a database that is begun anew under way
 * gets the same. */
static int load_seed(struct store_db *db)
{
    uint8_t stored[STORE_SEED_BYTES];
    bool found = false;
    const int rc = read_seed(db->sql, stored, &found);
    if (rc != SQLITE_OK)
        return rc;
    const bool same = found && memcmp(stored, db->seed, sizeof stored) == 0;
    if (db->seeded)
        return same ? SQLITE_OK : write_seed(db->sql, db->seed);
    if (found)
        memcpy(db->seed, stored, sizeof stored);
    else if (system_random(db->seed, sizeof db->seed) != 0)
        return SQLITE_IOERR;
    db->seeded = true;
    return found ? SQLITE_OK : write_seed(db->sql, db->seed);
}

int store_db_mark(struct store_db *db, struct intent_mark *out, bool *found)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(db->sql, "SELECT value FROM meta WHERE name = 'intent'", -1, &stmt,
                                NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    *found = rc == SQLITE_ROW && sqlite3_column_bytes(stmt, 0) == INTENT_ID_BYTES + 8;
    if (*found) {
        struct reader r = rd_of(bytes_of(sqlite3_column_blob(stmt, 0), INTENT_ID_BYTES + 8));
        memcpy(out->id, rd_bytes(&r, INTENT_ID_BYTES).data, INTENT_ID_BYTES);
        out->seq = (uint64_t)rd_u32(&r) << 32;
        out->seq |= rd_u32(&r);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The clock goes on where it was last written: with the last row of the spool, or later. Under way
 * it just goes on. */
static int load_clock(struct store_db *db)
{
    int64_t stored_ms = 0;
    int64_t row_ms = 0;
    int rc = ask(db->sql, "SELECT value FROM meta WHERE name = 'clock_ms'", &stored_ms);
    if (rc == SQLITE_OK)
        rc = ask(db->sql, "SELECT clock_ms FROM spool ORDER BY number DESC LIMIT 1", &row_ms);
    if (rc != SQLITE_OK)
        return rc;
    db->clock_stored_ms = stored_ms > row_ms ? stored_ms : row_ms;
    if (store_clock_ms(db) < db->clock_stored_ms || db->clock_base_ms == 0)
        db->clock_base_ms = db->clock_stored_ms - store_now_ms();
    db->spool_used = row_ms != 0;
    return SQLITE_OK;
}

/* It was written since the machine was started, and the clock has not gone on by more. */
void store_db_clock_was(struct store_db *db, int64_t clock_ms)
{
    const int64_t now_ms = store_now_ms();
    if (clock_ms > store_clock_ms(db) && clock_ms - db->clock_stored_ms <= now_ms)
        db->clock_base_ms = clock_ms - now_ms;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int open_sql(struct store_db *db)
{
    db->version = 0;
    int rc = connect_to(db, &db->sql);
    if (rc == SQLITE_OK && db->alone)
        rc = sqlite3_exec(db->sql, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = check_owner(db->sql, &db->created);
    if (rc == SQLITE_OK)
        rc = settings(db, db->sql);
    if (rc == SQLITE_OK && !db->created)
        rc = check_pages(db->sql);
    if (rc == SQLITE_OK)
        rc = store_schema_set(db->sql, &db->version);
    if (rc == SQLITE_OK)
        rc = store_schema_prepare(db);
    if (rc == SQLITE_ERROR) /* a table that is not there, or is another one */
        rc = SQLITE_CORRUPT;
    if (rc == SQLITE_OK)
        rc = load_seed(db);
    if (rc == SQLITE_OK)
        rc = load_clock(db);
    if (rc == SQLITE_OK)
        rc = store_expiry_load(db);
    if (rc == SQLITE_OK)
        sqlite3_wal_hook(db->sql, on_wal, db);
    return rc;
}

/* Where a file of this name goes: the first number that is free. */
static int free_number(const char *path, const char *word)
{
    for (int n = 1; n < ASIDE_MAX; n++) {
        struct stat st;
        char *const name = sqlite3_mprintf("%s.%s-%d", path, word, n);
        const bool taken = name == NULL || lstat(name, &st) == 0;
        sqlite3_free(name);
        if (!taken)
            return n;
    }
    return -1;
}

int store_db_move_aside(const struct store_db *db, const char *word)
{
    static const char *const parts[] = {"", "-wal", "-shm", "-intent"};
    /* The log of a damaged one is read by who comes after it. */
    const size_t n = strcmp(word, "corrupt") == 0 ? 3 : 4;
    const int number = free_number(db->path, word);
    int rc = number > 0 ? 0 : -EEXIST;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        char *const from = sqlite3_mprintf("%s%s", db->path, parts[i]);
        char *const to = sqlite3_mprintf("%s.%s-%d%s", db->path, word, number, parts[i]);
        if (from == NULL || to == NULL)
            rc = -ENOMEM;
        else if (rename(from, to) != 0 && errno != ENOENT)
            rc = -errno;
        sqlite3_free(from);
        sqlite3_free(to);
    }
    return rc == 0 ? number : rc;
}

/* What was no database of ours has nothing for us. */
static void salvage(struct store_db *db, bool foreign, int number, const char *why, char *notice,
                    size_t notice_size)
{
    char *const path = sqlite3_mprintf("%s.corrupt-%d", db->path, number);
    const int64_t n = path != NULL && !foreign && db->salvages ? store_db_salvage(db, path) : 0;
    sqlite3_free(path);
    snprintf(notice, notice_size,
             "%s is no database of ours or is damaged (%s): moved aside as %s.corrupt-%d, and a "
             "fresh one begun. %lld spooled messages were taken over; sessions, and messages for "
             "nodes, are lost to the gateway",
             db->path, why, db->path, number, (long long)n);
}

static bool is_broken(int rc)
{
    return (rc & 0xFF) == SQLITE_CORRUPT || (rc & 0xFF) == SQLITE_NOTADB;
}

/* SQLite would make it readable for others. */
static void create_file(const struct store_db *db)
{
    if (db->path == NULL || db->vfs != NULL)
        return;
    const int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

/* The names in a directory are on the disk when the directory is. */
static void sync_directory(const struct store_db *db)
{
    if (db->path == NULL || db->vfs != NULL)
        return;
    char *const dir = sqlite3_mprintf("%s", db->path);
    char *const slash = dir != NULL ? strrchr(dir, '/') : NULL;
    if (slash != NULL) {
        *slash = '\0';
        const int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            fsync(fd);
            close(fd);
        }
    }
    sqlite3_free(dir);
}

static int open_file(struct store_db *db, char *why, size_t why_size)
{
    int rc = open_sql(db);
    if (rc == -1) {
        snprintf(why, why_size,
                 "it was written by a newer version (schema %d, known here: %d); install that one, "
                 "or move the file away",
                 db->version, STORE_SCHEMA);
        store_db_close(db, true);
        return SQLITE_MISMATCH;
    }
    if (rc != SQLITE_OK) {
        store_db_why(db->sql, rc, why, why_size);
        store_db_close(db, true);
    }
    return rc;
}

int store_db_open(struct store_db *db, char *notice, size_t notice_size, char *why, size_t why_size)
{
    notice[0] = '\0';
    int rc = SQLITE_CORRUPT;
    if (!db->condemned || db->path == NULL) {
        create_file(db);
        rc = open_file(db, why, why_size);
    } else {
        snprintf(why, why_size, "%s", sqlite3_errstr(rc));
    }
    if (is_broken(rc) && db->path != NULL) {
        const bool foreign = (rc & 0xFF) == SQLITE_NOTADB;
        const int number = store_db_move_aside(db, "corrupt");
        if (number > 0) {
            create_file(db);
            char of_this[STORE_WHY_MAX];
            snprintf(of_this, sizeof of_this, "%s", why);
            rc = open_file(db, why, why_size);
            if (rc == SQLITE_OK)
                salvage(db, foreign, number, of_this, notice, notice_size);
        }
    }
    if (rc == SQLITE_OK)
        sync_directory(db);
    return rc;
}

static bool has_wal(const struct store_db *db)
{
    struct stat st;
    char *const path = sqlite3_mprintf("%s-wal", db->path);
    const bool has = path == NULL || (stat(path, &st) == 0 ? st.st_size > 0 : errno != ENOENT);
    sqlite3_free(path);
    return has;
}

/* A full disk has no room for the file that processes share, so it is opened for this one alone. To a
 * disk that can't be written to not even that is possible, but if all is in the database, that can be
 * read as what it is. What is empty is not begun here. */
int store_db_open_to_read(struct store_db *db)
{
    char why[STORE_WHY_MAX];
    db->alone = true;
    int rc = open_file(db, why, sizeof why);
    db->alone = false;
    if (rc != SQLITE_OK && db->vfs == NULL && !has_wal(db)) {
        db->immutable = true;
        rc = open_file(db, why, sizeof why);
        db->immutable = false;
    }
    return rc;
}

void store_db_close(struct store_db *db, bool failing)
{
    for (size_t i = 0; i < ST_COUNT; i++) {
        sqlite3_finalize(db->statements[i]);
        db->statements[i] = NULL;
    }
    if (db->sql != NULL && failing)
        sqlite3_db_config(db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    const int rc = sqlite3_close(db->sql);
    assert(rc == SQLITE_OK); /* else it keeps its locks, and nobody can open the file again */
    (void)rc;
    db->sql = NULL;
    db->wal_frames = 0;
}

/* By a descriptor of its own: SQLite's belong to who has the database. (Closing one would take away
 * SQLite's locks on the database, but on the WAL there are none.) */
void store_db_sync_wal(const struct store_db *db)
{
    if (db->path == NULL || db->vfs != NULL || db->durability == STORE_POWER)
        return;
    char *const path = sqlite3_mprintf("%s-wal", db->path);
    const int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fdatasync(fd);
        close(fd);
    }
    sqlite3_free(path);
}

/* SQLite syncs the database only when nothing was appended meanwhile. */
static int sync_database(sqlite3 *sql)
{
    sqlite3_file *file = NULL;
    const int rc = sqlite3_file_control(sql, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (rc != SQLITE_OK || file == NULL || file->pMethods == NULL)
        return rc;
    return file->pMethods->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
}

int store_db_checkpoint_beside(const struct store_db *db)
{
    sqlite3 *sql = NULL;
    int rc = connect_to(db, &sql);
    if (rc == SQLITE_OK)
        rc = settings(db, sql);
    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(sql, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sync_database(sql);
    /* By now the file may be another one under that name. */
    if (sql != NULL)
        sqlite3_db_config(sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(sql);
    return rc;
}

bool store_db_moved(struct store_db *db)
{
    int moved = 0;
    if (db->path == NULL || db->sql == NULL)
        return false;
    return sqlite3_file_control(db->sql, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK &&
           moved != 0;
}
