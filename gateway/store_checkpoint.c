/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WAL is copied back into the database, which a slow disk may take seconds to sync.
 *
 * `process`: by the thread, while nobody may commit. With an intent log nobody waits for that.
 *
 * `power`: beside the commits, by a thread and a connection of its own, as nodes wait for each commit.
 * What is synced shares no block with what is appended (psow=0, store_db.c), so a torn block harms
 * nothing that is copied. SQLite begins the WAL anew only after a moment in which all of it is copied;
 * commits that follow each other without a pause never leave one. So when the WAL has grown to a
 * few times its size, the rest is copied while nobody may commit: little, as the most has just been.
 */
#include "store_priv.h"

enum {
    AGAIN_MS = 1000, /* after one that failed */
    GROWN = 4,       /* times wal_bytes */
};

bool store_checkpoint_due(const struct store *s, int64_t now_ms)
{
    return s->beside == BESIDE_DONE || (s->beside == BESIDE_NONE && s->checkpoint_wanted &&
                                        !store_failing(s) && now_ms >= s->checkpoint_ms);
}

/* Lock held, given up meanwhile. Nobody can commit, so most of what there is to wait for is done
 * before. */
static void alone(struct store *s)
{
    pthread_mutex_unlock(&s->lock);
    atomic_store(&s->sync_since_ms, store_now_ms());
    store_db_sync_wal(&s->db);
    atomic_store(&s->sync_since_ms, 0);
    pthread_mutex_lock(&s->lock);
    store_take_db(s);
    pthread_mutex_unlock(&s->lock);
    const int rc = s->db.sql != NULL ? store_db_checkpoint(&s->db) : SQLITE_OK;
    pthread_mutex_lock(&s->lock);
    store_release_db(s);
    if (rc == SQLITE_OK)
        return;
    /* All is in the WAL, so nothing is lost; but it can't go on like that. */
    atomic_fetch_add_explicit(&s->errors, 1, memory_order_relaxed);
    if ((rc & 0xFF) == SQLITE_IOERR || (rc & 0xFF) == SQLITE_CORRUPT) {
        store_fail_sql(s, s->db.sql, rc);
        return;
    }
    s->checkpoint_at = 0;
    s->checkpoint_ms = store_now_ms() + AGAIN_MS;
}

/* What goes wrong here is tried again alone, and said then. */
static void *beside(void *arg)
{
    struct store *const s = arg;
    const int rc = store_db_checkpoint_beside(&s->db);
    pthread_mutex_lock(&s->lock);
    s->beside = BESIDE_DONE;
    s->beside_failed = rc != SQLITE_OK;
    store_prod(s);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* Lock held. */
static bool begin_beside(struct store *s)
{
    if (s->db.durability != STORE_POWER || s->db.path == NULL || s->stopping)
        return false;
    s->beside = BESIDE_RUNS;
    s->beside_then_rest = s->wal_frames >= GROWN * s->checkpoint_frames;
    if (pthread_create(&s->beside_thread, NULL, beside, s) == 0)
        return true;
    s->beside = BESIDE_NONE;
    return false;
}

void store_checkpoint(struct store *s)
{
    if (s->beside == BESIDE_DONE) {
        pthread_join(s->beside_thread, NULL); /* it has let go of the lock, or is about to */
        s->beside = BESIDE_NONE;
        if ((s->beside_then_rest || s->beside_failed) && !store_failing(s))
            alone(s);
        return;
    }
    s->checkpoint_wanted = false;
    if (!begin_beside(s))
        alone(s);
}
