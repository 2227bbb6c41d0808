/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who commits when; trouble, and the way out of it:
 *
 *     NONE --commit failed--> FAILING --works again, nothing lost--> NONE
 *       ^                      |   ^
 *       |         works, but records were thrown away
 *       |                      v   |
 *   committed              FORGOTTEN --the loop tells all anew--> RESYNCING
 *       +--------------------------------------------------------------+
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#include "blocks.h"
#include "store_priv.h"

enum {
    BACKOFF_MAX = 60,        /* times retry_ms */
    MEASURE_BYTES = 1 << 20, /* written, until the file is measured again */
    MEASURE_MS = 60000,
    LAZY_PART = 8,   /* of the queue: nothing is put off when it is fuller than that */
    QUIET_MS = 5000, /* without a commit, before memory is given back */
};

/* When the next commit is due. */
static int64_t commit_due(const struct store *s)
{
    const enum store_trouble trouble = atomic_load(&s->trouble);
    if (trouble == TROUBLE_FAILING)
        return s->stopping ? 0 : s->retry_ms;
    if (s->queue.first == NULL)
        return TIME_NEVER;
    if (s->stopping || s->fetch_wanted || s->waiters > 0)
        return 0;
    const bool narrow = s->queue.bytes > s->max_queued_bytes / LAZY_PART ||
                        (s->logging && intent_used(&s->intent) > s->intent.size / LAZY_PART);
    const int64_t due_ms = narrow ? 0 : s->queue_due_ms;
    return time_max(due_ms, s->committed_at_ms + s->linger_ms);
}

/* A signal costs a change of threads, so only if it is for something before the thread wakes up by
 * itself. */
void store_prod(struct store *s)
{
    if (s->asleep_until_ms == 0)
        return;
    const bool other = s->fetch_wanted || s->stopping || store_checkpoint_due(s, store_now_ms());
    if (s->busy || !(other || commit_due(s) < s->asleep_until_ms))
        return;
    s->asleep_until_ms = 0;
    pthread_cond_signal(&s->work);
}

/* ---- the database belongs to one at a time --------------------------------------------------- */

void store_begin_busy(struct store *s)
{
    s->busy = true;
    atomic_store(&s->busy_since_ms, store_now_ms());
}

void store_take_db(struct store *s)
{
    s->waiters++;
    while (s->busy)
        pthread_cond_wait(&s->done, &s->lock);
    s->waiters--;
    store_begin_busy(s);
}

/* Whoever blocks goes on by himself; else the thread looks what there is to do. */
void store_release_db(struct store *s)
{
    s->busy = false;
    atomic_store(&s->busy_since_ms, 0);
    if (s->waiters > 0)
        pthread_cond_broadcast(&s->done);
    store_prod(s);
}

/* ---- trouble --------------------------------------------------------------------------------- */

void store_fail(struct store *s, const char *why, bool lost)
{
    const enum store_trouble before = atomic_load(&s->trouble);

    if (before == TROUBLE_NONE)
        store_say(s, STORE_FAILING, why);
    s->backoff_ms = before == TROUBLE_NONE
                        ? s->retry_min_ms
                        : time_min(2 * s->backoff_ms, BACKOFF_MAX * s->retry_min_ms);
    s->retry_ms = time_add(store_now_ms(), s->backoff_ms);
    if (before == TROUBLE_NONE)
        s->lost = false;
    atomic_store_explicit(&s->trouble, TROUBLE_FAILING, memory_order_release);
    store_waiters_fail(s);
    if (lost || before == TROUBLE_FORGOTTEN || before == TROUBLE_RESYNCING)
        store_forget(s);
    if (s->queue_batch > atomic_load(&s->committed))
        atomic_store_explicit(&s->committed, s->queue_batch, memory_order_release);
    if (!s->deaf)
        s->wake(s->wake_arg);
}

/* Lock held: a commit has succeeded; with all that was lost in it, if `resync`. */
static void recover(struct store *s, bool resync, const char *notice)
{
    const enum store_trouble trouble = atomic_load(&s->trouble);

    if (trouble == TROUBLE_NONE)
        return;
    if (trouble == TROUBLE_FAILING && s->lost) {
        atomic_store_explicit(&s->trouble, TROUBLE_FORGOTTEN, memory_order_release);
        store_say(s, STORE_RESYNC, notice);
    } else if (trouble == TROUBLE_FAILING || (trouble == TROUBLE_RESYNCING && resync)) {
        s->lost = false;
        atomic_store_explicit(&s->trouble, TROUBLE_NONE, memory_order_release);
        store_say(s, STORE_RECOVERED, "");
    }
}

/* Is it the disk (or somebody on it), so that trying the same again may help? */
static bool may_pass(int rc)
{
    switch (rc & 0xFF) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
        return true;
    default:
        return false;
    }
}

static bool is_broken(int rc)
{
    return (rc & 0xFF) == SQLITE_CORRUPT || (rc & 0xFF) == SQLITE_NOTADB;
}

/* After these the file is closed, opened and checked before it is trusted again. */
static bool wants_reopening(int rc)
{
    switch (rc & 0xFF) {
    case SQLITE_FULL:
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
        return false;
    default:
        return true;
    }
}

void store_fail_sql(struct store *s, sqlite3 *sql, int rc)
{
    char why[STORE_WHY_MAX];
    store_db_why(sql, rc, why, sizeof why);
    s->reopen = s->reopen || wants_reopening(rc);
    s->condemned = s->condemned || is_broken(rc);
    store_fail(s, why, !may_pass(rc));
}

/* ---- one commit ------------------------------------------------------------------------------ */

struct attempt {
    struct store_ops work;
    uint64_t batch;
    bool failing; /* at the start */
    bool reopen;
    bool condemned;
    bool resync; /* is in `work` */
    struct store_logged log;

    int rc;
    bool fresh; /* the database was begun anew */
    bool reopened;
    bool moved; /* somebody has taken it away */
    uint64_t written;
    char why[STORE_WHY_MAX];
    char notice[2 * STORE_WHY_MAX];
};

static int reopen(struct store *s, struct attempt *a)
{
    store_db_close(&s->db, true);
    s->db.condemned = a->condemned;
    const int rc = store_open_again(s, a->notice, sizeof a->notice, a->why, sizeof a->why);
    a->fresh = rc == SQLITE_OK && s->db.created;
    a->reopened = true;
    return rc;
}

void store_measure(struct store *s)
{
    uint64_t file_bytes = 0;
    const uint64_t used = store_db_used(&s->db, &file_bytes);

    s->unmeasured = 0;
    s->measured_ms = store_now_ms();
    atomic_store_explicit(&s->used_bytes, used, memory_order_relaxed);
    atomic_store_explicit(&s->file_bytes, file_bytes, memory_order_relaxed);
}

/* True when it turns out that the file is not in its place any more. */
static bool note_written(struct store *s, size_t bytes)
{
    s->unmeasured += bytes;
    atomic_fetch_add_explicit(&s->used_bytes, bytes, memory_order_relaxed);
    const bool narrow = atomic_load(&s->used_bytes) > s->max_bytes / 4 * 3;
    if (!narrow && s->unmeasured < MEASURE_BYTES && store_now_ms() - s->measured_ms < MEASURE_MS)
        return false;
    store_measure(s);
    return store_db_moved(&s->db);
}

static void perform(struct store *s, struct attempt *a)
{
    a->rc = a->failing && (a->reopen || s->db.sql == NULL) ? reopen(s, a) : SQLITE_OK;
    if (a->rc != SQLITE_OK)
        return;
    if (a->reopened)
        store_log_retake(s, &a->log);
    /* A resync tells nothing of them, and what is in the queue belongs to them. */
    if (a->fresh && !store_sinks_again(s, &a->work)) {
        a->rc = SQLITE_NOMEM;
        store_db_why(NULL, a->rc, a->why, sizeof a->why);
        return;
    }
    const size_t bytes = a->work.bytes;
    a->rc = store_db_write(&s->db, &a->work, &a->log.mark, &a->written);
    if (a->rc == SQLITE_OK && a->failing)
        a->rc = store_db_probe(&s->db);
    if (a->rc != SQLITE_OK)
        store_db_why(s->db.sql, a->rc, a->why, sizeof a->why);
    else
        a->moved = note_written(s, bytes);
}

/* Lock held. What was written to a file that nobody will find is as good as not written. */
static void taken_away(struct store *s)
{
    s->reopen = true;
    store_fail(s, "the file was moved or deleted by somebody else", true);
    s->retry_ms = store_now_ms();
}

/* Takes the operations of those who block out of the list: they are on their stacks. */
static struct store_ops split_waiting(struct store_ops *work)
{
    struct store_ops waiting = {.first = NULL};
    struct store_ops rest = {.first = NULL};
    if (work->n_waited_for == 0)
        return waiting;
    for (struct store_op *op; (op = store_ops_pop(work)) != NULL;)
        store_ops_add(op->waiter != NULL ? &waiting : &rest, op);
    *work = rest;
    return waiting;
}

static void answer(struct store_ops *waiting, int rc)
{
    for (struct store_op *op; (op = store_ops_pop(waiting)) != NULL;) {
        op->waiter->done = true;
        op->waiter->rc = rc;
    }
}

/* Lock held. */
void store_waiters_fail(struct store *s)
{
    struct store_ops waiting = split_waiting(&s->queue);
    answer(&waiting, -EIO);
    pthread_cond_broadcast(&s->done);
}

static void note_wal(struct store *s)
{
    const int frames = s->db.wal_frames;
    if (frames < s->wal_frames)
        s->checkpoint_at = s->checkpoint_frames;
    s->wal_frames = frames;
    if (frames >= s->checkpoint_at) {
        s->checkpoint_wanted = true;
        s->checkpoint_at = frames + s->checkpoint_frames;
    }
}

static void succeeded(struct store *s, struct attempt *a)
{
    atomic_fetch_add_explicit(&s->commits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->records, a->written, memory_order_relaxed);
    s->committed_at_ms = store_now_ms();
    s->reading = false;
    s->reopen = false;
    s->condemned = false;
    note_wal(s);
    if (a->fresh)
        s->lost = true;
    recover(s, a->resync, a->notice);
    store_log_committed(s, &a->log);
    const uint64_t batch = s->logging ? s->queue_batch : a->batch;
    if (batch > atomic_load(&s->committed)) {
        atomic_store_explicit(&s->committed, batch, memory_order_release);
        if (!s->deaf)
            s->wake(s->wake_arg);
    }
}

static void failed(struct store *s, struct attempt *a)
{
    atomic_fetch_add_explicit(&s->errors, 1, memory_order_relaxed);
    store_ops_join(&a->work, &s->queue);
    s->queue = a->work;
    s->queue_due_ms = 0;
    s->reopen = s->reopen || wants_reopening(a->rc);
    s->condemned = s->condemned || is_broken(a->rc);
    store_fail(s, a->why, !may_pass(a->rc));
}

static void note_duration(struct store *s, uint64_t us)
{
    uint64_t max = atomic_load_explicit(&s->commit_max_us, memory_order_relaxed);
    while (us > max && !atomic_compare_exchange_weak(&s->commit_max_us, &max, us))
        ;
}

void store_run(struct store *s)
{
    struct attempt a = {
        .work = s->queue,
        .batch = s->queue_batch,
        .failing = atomic_load(&s->trouble) == TROUBLE_FAILING,
        .reopen = s->reopen,
        .condemned = s->condemned,
        .resync = s->resync_queued,
    };
    store_log_take(s, &a.log);
    s->queue = (struct store_ops){.first = NULL};
    s->queue_due_ms = TIME_NEVER;
    s->resync_queued = false;
    atomic_store_explicit(&s->queued_bytes, 0, memory_order_relaxed);
    store_begin_busy(s);
    pthread_mutex_unlock(&s->lock);

    const int64_t begun_us = store_now_us();
    perform(s, &a);
    struct store_ops waiting = split_waiting(&a.work);
    if (a.rc == SQLITE_OK)
        store_ops_free(&a.work);
    note_duration(s, (uint64_t)(store_now_us() - begun_us));

    pthread_mutex_lock(&s->lock);
    s->slim_ms = store_now_ms() + QUIET_MS;
    answer(&waiting, a.rc == SQLITE_OK ? 0 : -EIO);
    if (a.rc == SQLITE_OK)
        succeeded(s, &a);
    else
        failed(s, &a);
    if (a.moved)
        taken_away(s);
    store_release_db(s);
}

/* Who must wait does the work himself when nobody is at it. */
int store_block(struct store *s, struct store_ops *ops, struct store_waiter *waiter)
{
    s->waiters++;
    store_log_stop(s);
    store_ops_join(&s->queue, ops);
    while (!waiter->done) {
        if (s->busy)
            pthread_cond_wait(&s->done, &s->lock);
        else
            store_run(s);
    }
    s->waiters--;
    return waiter->rc;
}

void store_sync(struct store *s)
{
    const struct timespec until = store_deadline(STORE_PATIENCE_MS);

    pthread_mutex_lock(&s->lock);
    s->waiters++;
    store_prod(s);
    while ((s->busy || s->queue.first != NULL) && !store_failing(s) &&
           pthread_cond_timedwait(&s->done, &s->lock, &until) == 0)
        ;
    s->waiters--;
    pthread_mutex_unlock(&s->lock);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Lock held, given up meanwhile. SQLite has kept the pages of all that it wrote, up to its limit; while
 * the broker is there nothing may be written for days. So with blocks of operations. */
static void slim(struct store *s)
{
    s->slim_ms = TIME_NEVER;
    store_take_db(s);
    pthread_mutex_unlock(&s->lock);
    if (s->db.sql != NULL)
        sqlite3_db_release_memory(s->db.sql);
    block_trim();
    pthread_mutex_lock(&s->lock);
    store_release_db(s);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void wait_until(struct store *s, int64_t until_ms)
{
    s->asleep_until_ms = until_ms;
    if (until_ms == TIME_NEVER) {
        pthread_cond_wait(&s->work, &s->lock);
    } else {
        const struct timespec until = {.tv_sec = until_ms / 1000,
                                       .tv_nsec = until_ms % 1000 * 1000000};
        pthread_cond_timedwait(&s->work, &s->lock, &until);
    }
    s->asleep_until_ms = 0;
}

/* Lock held. One thing after the other, the most urgent first; false at the end. */
static bool work(struct store *s)
{
    const int64_t now_ms = store_now_ms();
    int64_t until_ms = TIME_NEVER;

    if (!s->busy) {
        const bool last_try = s->stopping;
        until_ms = commit_due(s);
        if (until_ms <= now_ms) {
            store_run(s);
            return !(last_try && store_failing(s));
        }
    }
    if (s->fetch_wanted && (store_failing(s) || (s->queue.first == NULL && !s->busy))) {
        store_fetch_run(s);
        return true;
    }
    if (store_checkpoint_due(s, now_ms)) {
        store_checkpoint(s);
        return true;
    }
    if (s->stopping && !s->busy && s->queue.first == NULL && s->beside == BESIDE_NONE)
        return false;
    if (!s->busy && s->slim_ms <= now_ms) {
        slim(s);
        return true;
    }
    wait_until(s, time_min(until_ms, s->busy ? TIME_NEVER : s->slim_ms));
    return true;
}

static void leave(struct store *s)
{
    if (s->db.sql != NULL && !store_failing(s))
        store_db_keep_clock(&s->db);
    store_db_close(&s->db, store_failing(s));
}

void *store_thread(void *arg)
{
    struct store *const s = arg;

    pthread_mutex_lock(&s->lock);
    while (work(s))
        ;
    pthread_mutex_unlock(&s->lock);

    leave(s);

    pthread_mutex_lock(&s->lock);
    s->finished = true;
    pthread_cond_signal(&s->ended);
    const bool forsaken = s->forsaken;
    pthread_mutex_unlock(&s->lock);
    if (forsaken)
        store_free(s);
    return NULL;
}
