/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start while the disk is in trouble. The gateway runs all the same, with a store that fails from
 * the beginning and is tried again like one that has failed later.
 *
 * What is stored is loaded if it can be read at all: a full disk still can be. Where it can't, nodes
 * are served as by a new gateway, and what it is told of them can't be united with what may turn up
 * on the disk later: then that file is moved aside, as a whole, and said loudly.
 *
 * What will not pass by itself ends the start: no right to the files, a directory that is not there,
 * another process on it, a file of a newer version, or of an older one that can't be converted now.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_priv.h"
#include "system.h"

/* ---- will it pass? --------------------------------------------------------------------------- */

bool store_errno_may_pass(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EROFS:
    case EIO:
    case ENXIO:
    case ENODEV:
    case ESTALE:
    case ETIMEDOUT:
    case EMFILE:
    case ENFILE:
        return true;
    default:
        return false;
    }
}

/* One of the files is there, and not for us; or is no file. */
static bool is_denied(const struct store_db *db)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    bool denied = false;
    for (size_t i = 0; db->vfs == NULL && i < sizeof parts / sizeof parts[0]; i++) {
        struct stat st;
        char *const path = sqlite3_mprintf("%s%s", db->path, parts[i]);
        if (path == NULL)
            continue;
        if (access(path, R_OK | W_OK) != 0)
            denied = denied || (errno != ENOENT && !store_errno_may_pass(errno));
        else
            denied = denied || (stat(path, &st) == 0 && !S_ISREG(st.st_mode));
        sqlite3_free(path);
    }
    return denied;
}

static bool is_disk(int rc)
{
    const int primary = rc & 0xFF;
    return primary == SQLITE_FULL || primary == SQLITE_IOERR || primary == SQLITE_READONLY ||
           primary == SQLITE_CANTOPEN;
}

/* ---- the start ------------------------------------------------------------------------------- */

/* Nothing is known of what is stored, if anything is. */
static bool begin_blind(struct store *s)
{
    store_db_close(&s->db, true);
    store_sinks_free(s);
    if (system_random(s->db.seed, sizeof s->db.seed) != 0)
        return false;
    s->db.seeded = true;
    s->unread = true;
    return true;
}

/* With what the log holds beyond the database: that goes there when there is room for it. */
static bool open_to_read(struct store *s)
{
    store_db_close(&s->db, true);
    intent_close(&s->intent);
    return store_db_open_to_read(&s->db) == SQLITE_OK && store_log_preview(s) == SQLITE_OK;
}

static bool begin_reading(struct store *s)
{
    store_packets_forget(s);
    s->reading =
        open_to_read(s) && store_packets_open(s) == SQLITE_OK && store_sinks_open(s) == SQLITE_OK;
    if (!s->reading)
        store_packets_forget(s);
    return s->reading;
}

static void say_failing(struct store *s, const char *why, bool reads)
{
    char said[2 * STORE_WHY_MAX]; /* cut by who says it */
    /* SQLite says which of its files it missed, not that it can't make one. */
    if (s->dir != NULL && access(s->dir, W_OK) != 0 && errno == EROFS)
        why = strerror(EROFS);
    snprintf(said, sizeof said, "%s%s", why,
             reads ? " (what is stored could be read)"
                   : " (what is stored could not be read: it is moved aside as soon as it can be)");
    pthread_mutex_lock(&s->lock);
    store_fail(s, said, !reads);
    pthread_mutex_unlock(&s->lock);
}

bool store_begin_failing(struct store *s, int rc, const char *why)
{
    const bool locked = s->lock_fd >= 0 || s->db.vfs != NULL;
    if (s->db.path == NULL || !is_disk(rc) || is_denied(&s->db))
        return false;
    const bool reads = locked && begin_reading(s);
    const bool outdated = s->db.version > 0 && s->db.version < STORE_SCHEMA;
    if (!reads && (outdated || !begin_blind(s)))
        return false;
    s->reopen = true;
    s->log_later = true;
    say_failing(s, why, reads);
    return true;
}

/* Some may have been read out of the damaged file already, and been told. */
static int write_sinks(struct store *s)
{
    struct store_ops ops = {.first = NULL};
    struct store_mark mark = {.kind = MARK_NONE};
    uint64_t written = 0;
    if (!store_sinks_again(s, &ops))
        return SQLITE_NOMEM;
    const int rc = ops.first != NULL ? store_db_write(&s->db, &ops, &mark, &written) : SQLITE_OK;
    store_ops_free(&ops);
    return rc;
}

bool store_begin_unread(struct store *s, int rc)
{
    char why[STORE_WHY_MAX];
    const int primary = rc & 0xFF;
    store_db_why(s->db.sql, rc, why, sizeof why);
    store_db_close(&s->db, true);
    store_packets_forget(s);
    pthread_mutex_lock(&s->lock);
    store_log_stop(s); /* another database knows nothing of the log */
    pthread_mutex_unlock(&s->lock);
    if (primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB) {
        s->db.condemned = true;
        rc = store_db_open(&s->db, s->notice, sizeof s->notice, why, sizeof why);
        s->db.condemned = false;
        if (rc == SQLITE_OK &&
            ((rc = store_packets_open(s)) != SQLITE_OK || (rc = write_sinks(s)) != SQLITE_OK))
            store_db_why(s->db.sql, rc, why, sizeof why);
        if (rc == SQLITE_OK)
            return true;
        store_db_close(&s->db, true);
    }
    s->reading = false;
    s->unread = true;
    s->reopen = true;
    say_failing(s, why, false);
    return false;
}

/* ---- when the disk is tried again ------------------------------------------------------------- */

static int lock_again(struct store *s, char *why, size_t why_size)
{
    if (s->lock_fd >= 0 || s->dir == NULL || s->db.vfs != NULL)
        return SQLITE_OK;
    const int fd = store_lock(s->dir, why, why_size);
    if (fd < 0)
        return SQLITE_CANTOPEN;
    s->lock_fd = fd;
    return SQLITE_OK;
}

/* It opens, and holds what this process has not loaded. */
static int set_aside(struct store *s, char *notice, size_t notice_size, char *why, size_t why_size)
{
    store_db_close(&s->db, false);
    intent_close(&s->intent);
    s->log_later = true;
    const int number = store_db_move_aside(&s->db, "unread");
    if (number < 0) {
        snprintf(why, why_size, "%s can't be moved aside: %s", s->db.path, strerror(-number));
        return SQLITE_CANTOPEN;
    }
    const int rc = store_db_open(&s->db, notice, notice_size, why, why_size);
    snprintf(notice, notice_size,
             "%s could not be read when the gateway started: moved aside as %s.unread-%d, and a "
             "fresh one begun. To go back to it: stop the gateway, and give it its name again, "
             "with its -wal and -intent if it has them",
             s->db.path, s->db.path, number);
    return rc;
}

static int open_to_write(struct store *s, char *notice, size_t notice_size, char *why,
                         size_t why_size)
{
    int rc = lock_again(s, why, why_size);
    if (rc != SQLITE_OK)
        return rc;
    /* The numbers of what it holds are not known here: nothing may be taken over from it. */
    s->db.salvages = !s->unread;
    rc = store_db_open(&s->db, notice, notice_size, why, why_size);
    if (rc == SQLITE_OK && s->unread && !s->db.created)
        rc = set_aside(s, notice, notice_size, why, why_size);
    s->unread = s->unread && rc != SQLITE_OK;
    if (rc == SQLITE_OK && s->log_later) {
        s->log_notice = notice;
        rc = store_log_open(s, s->intent_bytes);
        s->log_notice = NULL;
        s->log_later = rc != SQLITE_OK;
        if (rc != SQLITE_OK)
            store_db_why(s->db.sql, rc, why, why_size);
    }
    return rc;
}

/* While that fails, what was there at the start can be read as before: it may not have been loaded yet,
 * nor the packets been asked for. */
int store_open_again(struct store *s, char *notice, size_t notice_size, char *why, size_t why_size)
{
    const int rc = open_to_write(s, notice, notice_size, why, why_size);
    if (rc != SQLITE_OK && s->reading) {
        const bool reads = open_to_read(s);
        pthread_mutex_lock(&s->lock);
        s->reading = reads;
        pthread_mutex_unlock(&s->lock);
    }
    return rc;
}
