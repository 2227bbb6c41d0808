/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store and its intent log. While `logging`, all that is queued is in the log as well, in the same
 * order, and so is promised; the thread brings it into the database when there is enough of it.
 *
 * What does not get into the log (it is full, or an operation comes with somebody who waits) ends
 * that: a log must not have gaps. Everything goes the slow way then, until a commit has taken all of
 * it; in the same transaction it begins another log, so what stands in the old one is never applied
 * to a database that has gone on without it. The same way leads out of failing: what a resync
 * replaces must not come back.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "store_priv.h"
#include "system.h"

static struct intent_links links_of(const struct store *s)
{
    return (struct intent_links){.names = s->db.links, .n = s->db.n_links};
}

static void note_used(struct store *s)
{
    atomic_store_explicit(&s->log_used, s->logging ? intent_used(&s->intent) : 0,
                          memory_order_relaxed);
    atomic_store_explicit(&s->promises, s->logging, memory_order_relaxed);
}

bool store_log_add(struct store *s, const struct store_ops *ops)
{
    if (!s->logging)
        return false;
    const int64_t clock_ms = s->clock_base_ms + store_now_ms();
    if (ops->first != NULL && !intent_append(&s->intent, ops, links_of(s), clock_ms))
        s->logging = false;
    note_used(s);
    return s->logging;
}

void store_log_stop(struct store *s)
{
    s->logging = false;
    note_used(s);
}

void store_log_take(const struct store *s, struct store_logged *out)
{
    *out = (struct store_logged){.logged = s->logging, .mark = {.kind = MARK_NONE}};
    if (s->logging) {
        out->upto = intent_here(&s->intent);
        out->mark.kind = store_failing(s) ? MARK_NEW : MARK_AT;
        out->mark.at = out->upto.mark;
    } else if (s->intent.map != NULL) {
        out->mark.kind = MARK_NEW;
        intent_next_id(&s->intent, out->mark.at.id);
    }
}

void store_log_retake(struct store *s, struct store_logged *taken)
{
    pthread_mutex_lock(&s->lock);
    if (!taken->logged || s->intent.map == NULL ||
        !intent_same_log(&taken->upto.mark, &s->intent.last))
        store_log_take(s, taken);
    pthread_mutex_unlock(&s->lock);
}

void store_log_committed(struct store *s, const struct store_logged *taken)
{
    if (s->intent.map == NULL)
        return;
    if (taken->logged) {
        intent_done(&s->intent, &taken->upto, taken->mark.stored);
        s->logging = s->logging && !store_failing(s);
    } else {
        intent_begin(&s->intent, taken->mark.at.id);
        s->logging = !store_failing(s);
        store_log_add(s, &s->queue);
    }
    note_used(s);
}

/* ---- opening --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void notice(struct store *s, const char *format, ...)
{
    char *const out = s->log_notice != NULL ? s->log_notice : s->notice;
    const size_t len = strlen(out);
    const size_t gap = len > 0 && len + 2 < sizeof s->notice ? 2 : 0;
    va_list args;
    memcpy(out + len, "; ", gap);
    va_start(args, format);
    vsnprintf(out + len + gap, sizeof s->notice - len - gap, format, args);
    va_end(args);
}

/* Its database was moved aside, or somebody has removed it. */
static bool is_orphan(const struct store *s, const struct intent_left *left)
{
    return left->state == INTENT_OTHER && s->db.created;
}

static void say_left(struct store *s, const char *path, const struct intent_left *left, bool marked)
{
    const unsigned long long n = left->entries;
    if (left->missing && marked)
        notice(
            s,
            "%s is gone, or empty: if the gateway was killed before, what it had promised in the "
            "last half a second is lost",
            path);
    else if (left->state == INTENT_UNREADABLE)
        notice(s, "%s can't be read (%s): what was promised last may be lost", path,
               strerror(left->error));
    else if (left->state == INTENT_FOREIGN)
        notice(s, "%s is no intent log of this version: begun anew, what it held is lost", path);
    else if (left->state == INTENT_STALE && n > 0)
        notice(s,
               "the machine was restarted before the last %llu batches were in the database: they "
               "are lost (durability = power keeps them)",
               n);
    else if (left->state == INTENT_OTHER && n > 0 && is_orphan(s, left))
        notice(
            s,
            "the database of %s is gone: spooled messages were taken over from its %llu batches, "
            "what else they promised is lost",
            path, n);
    else if (left->state == INTENT_OTHER && n > 0)
        notice(s,
               "%s belongs to another database, or to a later state of it: its %llu batches are "
               "thrown away",
               path, n);
    else if (left->state == INTENT_OURS && left->torn)
        notice(s, "%s is damaged: %llu batches were taken over from it, what came behind is lost",
               path, n);
}

/* Without one, everything is as with `power`, but for the syncing. */
static void make(struct store *s, const char *path, size_t size)
{
    uint8_t id[INTENT_ID_BYTES];
    const bool wanted = s->db.durability == STORE_PROCESS && size > 0;
    if (!wanted)
        return;
    uint8_t boot[INTENT_BOOT_BYTES];
    int rc = intent_boot_id(boot) && system_random(id, sizeof id) == 0 ? 0 : -ENOTSUP;
    if (rc == 0)
        rc = intent_open(&s->intent, path, size);
    if (rc == 0)
        memcpy(s->intent.last.id, id, sizeof id);
    else
        notice(s, "%s can't be used (%s): nodes wait for the disk instead", path, strerror(-rc));
}

/* Operations out of a log name links by their number in there. */
static struct intent_links swap_links(struct store *s, struct intent_names *names)
{
    const struct intent_links links = links_of(s);
    s->db.links = names->names;
    s->db.n_links = names->n;
    return links;
}

static void restore_links(struct store *s, struct intent_links links)
{
    s->db.links = (char **)(uintptr_t)links.names;
    s->db.n_links = links.n;
}

/* What is left of the old log goes into the database, together with the beginning of the new one. */
static int take_over(struct store *s, struct store_ops *ops, struct intent_names *names,
                     bool marked)
{
    struct store_logged begin;
    uint64_t written = 0;
    store_log_take(s, &begin);
    if (s->intent.map == NULL && marked)
        begin.mark.kind = MARK_GONE;
    if (begin.mark.kind == MARK_NONE && ops->first == NULL)
        return SQLITE_OK;
    const bool vital = ops->first != NULL;
    const struct intent_links links = swap_links(s, names);
    const int rc = store_db_write(&s->db, ops, &begin.mark, &written);
    restore_links(s, links);
    if (rc == SQLITE_OK) {
        pthread_mutex_lock(&s->lock);
        store_log_committed(s, &begin);
        pthread_mutex_unlock(&s->lock);
    }
    return vital ? rc : SQLITE_OK;
}

/* As out of a damaged database (store_salvage.c): what nodes were told is safe is not lost with their
 * sessions. A row that was salvaged before is written again. */
static void keep_spooled(struct store_ops *ops)
{
    struct store_ops kept = {.first = NULL};
    for (struct store_op *op; (op = store_ops_pop(ops)) != NULL;) {
        if (op->kind == SN_REC_SPOOL || op->kind == SN_REC_SPOOL_GONE || op->kind == OP_SINK)
            store_ops_add(&kept, op);
        else
            store_op_free(op);
    }
    *ops = kept;
}

static int replay(struct store *s, const char *path, size_t size)
{
    struct intent_mark mark;
    struct intent_left left;
    struct intent_names names = {.n = 0};
    struct store_ops ops = {.first = NULL};
    bool marked = false;
    int rc = store_db_mark(&s->db, &mark, &marked);
    if (rc != SQLITE_OK)
        return rc;
    rc = intent_read(path, marked ? &mark : NULL, &names, &ops, &left);
    if (rc == 0) {
        say_left(s, path, &left, marked);
        if (is_orphan(s, &left))
            keep_spooled(&ops);
        else if (left.state != INTENT_OURS)
            store_ops_free(&ops);
        store_db_clock_was(&s->db, left.clock_ms);
        s->clock_base_ms = s->db.clock_base_ms;
        make(s, path, size);
        rc = take_over(s, &ops, &names, marked);
        if (rc == SQLITE_OK && s->intent.map == NULL && left.state != INTENT_NONE)
            unlink(path);
    } else {
        rc = SQLITE_NOMEM;
    }
    store_ops_free(&ops);
    intent_names_free(&names);
    return rc;
}

static int preview(struct store *s, const char *path)
{
    struct intent_mark mark;
    struct intent_left left;
    struct intent_names names = {.n = 0};
    struct store_ops ops = {.first = NULL};
    bool marked = false;
    int rc = store_db_mark(&s->db, &mark, &marked);
    if (rc != SQLITE_OK)
        return rc;
    rc = intent_read(path, marked ? &mark : NULL, &names, &ops, &left) == 0 ? SQLITE_OK
                                                                            : SQLITE_NOMEM;
    if (rc == SQLITE_OK && left.state == INTENT_UNREADABLE)
        rc = SQLITE_IOERR;
    if (rc == SQLITE_OK && left.state == INTENT_OURS && ops.first != NULL) {
        const struct intent_links links = swap_links(s, &names);
        rc = store_db_preview(&s->db, &ops);
        restore_links(s, links);
    }
    store_ops_free(&ops);
    intent_names_free(&names);
    return rc;
}

int store_log_preview(struct store *s)
{
    char *const path = sqlite3_mprintf("%s-intent", s->db.path);
    const int rc = path != NULL ? preview(s, path) : SQLITE_NOMEM;
    sqlite3_free(path);
    return rc;
}

int store_log_open(struct store *s, size_t size)
{
    if (s->db.path == NULL)
        return SQLITE_OK;
    char *const path = sqlite3_mprintf("%s-intent", s->db.path);
    const int rc = path != NULL ? replay(s, path, size) : SQLITE_NOMEM;
    sqlite3_free(path);
    return rc;
}
