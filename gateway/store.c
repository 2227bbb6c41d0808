/* SPDX-License-Identifier: Apache-2.0 */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#include "store_priv.h"
#include "system.h"

struct store_options store_defaults(void)
{
    return (struct store_options){
        .durability = STORE_PROCESS,
        .wal_bytes = (uint64_t)4 << 20,
        .max_bytes = (uint64_t)1 << 30,
        .linger_ms = 5,
        .lazy_ms = 500,
        .retry_ms = 1000,
        .max_queued_bytes = (size_t)16 << 20,
        .intent_bytes = (size_t)8 << 20,
    };
}

/* ---- opening --------------------------------------------------------------------------------- */

/* SQLite counts what it allocates under a lock of the whole process, unless told not to before its
 * first use. */
static void configure_sqlite(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, store_configure_sqlite);
}

static int init_locks(struct store *s)
{
    pthread_condattr_t monotonic;
    int rc = pthread_condattr_init(&monotonic);
    if (rc != 0)
        return -rc;
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->work, &monotonic);
    pthread_cond_init(&s->done, &monotonic);
    pthread_cond_init(&s->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return 0;
}

static void free_links(struct store_db *db)
{
    for (size_t i = 0; i < db->n_links; i++)
        free(db->links[i]);
    free(db->links);
}

static int copy_links(struct store_db *db, const struct store_options *o)
{
    if (o->n_links == 0)
        return 0;
    db->links = calloc(o->n_links, sizeof *db->links);
    if (db->links == NULL)
        return -ENOMEM;
    for (; db->n_links < o->n_links; db->n_links++) {
        db->links[db->n_links] = strdup(o->links[db->n_links]);
        if (db->links[db->n_links] == NULL)
            return -ENOMEM;
    }
    return 0;
}

void store_free(struct store *s)
{
    store_ops_free(&s->staged);
    store_ops_free(&s->queue);
    store_fetched_free(&s->taken);
    store_fetched_free(&s->fetched);
    store_sending_clear(s);
    store_sinks_free(s);
    hmap_deinit(&s->sending_by_packet);
    hmap_deinit(&s->sending_by_number);
    intent_close(&s->intent);
    store_db_close(&s->db, true);
    store_unlock(s->lock_fd);
    free_links(&s->db);
    sqlite3_free(s->db.path);
    sqlite3_free(s->dir);
    free(s->unrouted);
    pthread_cond_destroy(&s->ended);
    pthread_cond_destroy(&s->done);
    pthread_cond_destroy(&s->work);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static struct store *store_new(const struct store_options *o)
{
    struct store *const s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    if (init_locks(s) != 0) {
        free(s);
        return NULL;
    }
    s->lock_fd = -1;
    s->linger_ms = o->linger_ms;
    s->lazy_ms = o->lazy_ms;
    s->retry_min_ms = o->retry_ms;
    s->queue_due_ms = TIME_NEVER;
    s->slim_ms = TIME_NEVER;
    s->max_queued_bytes = o->max_queued_bytes;
    s->max_bytes = o->max_bytes;
    s->batch = 1;
    s->intent_bytes = o->intent_bytes;
    s->checkpoint_frames = (int)(o->wal_bytes / STORE_PAGE_BYTES);
    s->checkpoint_at = s->checkpoint_frames;
    s->committed_at_ms = -o->linger_ms;
    hmap_init(&s->sending_by_packet);
    hmap_init(&s->sending_by_number);
    s->db.vfs = o->vfs;
    s->db.durability = o->durability;
    s->db.max_bytes = o->max_bytes;
    s->db.salvages = true;
    if (o->dir != NULL) {
        s->dir = sqlite3_mprintf("%s", o->dir);
        s->db.path = sqlite3_mprintf("%s/sennet.db", o->dir);
    }
    if ((o->dir != NULL && (s->db.path == NULL || s->dir == NULL)) || copy_links(&s->db, o) != 0) {
        store_free(s);
        return NULL;
    }
    return s;
}

static int open_database(struct store *s, size_t intent_bytes, char *error, size_t error_size)
{
    char why[STORE_WHY_MAX];
    int rc = store_db_open(&s->db, s->notice, sizeof s->notice, why, sizeof why);
    if (rc == SQLITE_OK &&
        ((rc = store_log_open(s, intent_bytes)) != SQLITE_OK ||
         (rc = store_packets_open(s)) != SQLITE_OK || (rc = store_sinks_open(s)) != SQLITE_OK))
        store_db_why(s->db.sql, rc, why, sizeof why);
    if (rc == SQLITE_NOMEM)
        return -ENOMEM;
    if (rc != SQLITE_OK && store_begin_failing(s, rc, why))
        return 0;
    if (rc != SQLITE_OK) {
        snprintf(error, error_size, "%s can't be used: %s",
                 s->db.path != NULL ? s->db.path : "the database in memory", why);
        return EXIT_NO_STATE;
    }
    store_measure(s);
    return 0;
}

static int open_all(struct store *s, const struct store_options *o, char *error, size_t error_size)
{
    const char *const dir = o->dir;
    if (dir != NULL) {
        if (system_state_dir(dir, error, error_size) != 0)
            return EXIT_NO_STATE;
        const int fd = store_lock(dir, error, error_size);
        if (fd < 0 && store_errno_may_pass(-fd) && store_begin_failing(s, SQLITE_CANTOPEN, error))
            return 0;
        if (fd < 0)
            return fd == -ENOMEM ? fd : EXIT_NO_STATE;
        s->lock_fd = fd;
    }
    return open_database(s, o->intent_bytes, error, error_size);
}

int store_open(const struct store_options *options, void (*wake)(void *arg), void *arg,
               struct store **out, char *error, size_t error_size)
{
    error[0] = '\0';
    configure_sqlite();
    if (options->durability == STORE_OFF) {
        snprintf(error, error_size, "durability is off: there is no store to open");
        return EXIT_CONFIG;
    }
    struct store *const s = store_new(options);
    if (s == NULL)
        return -ENOMEM;
    s->wake = wake;
    s->wake_arg = arg;
    int rc = open_all(s, options, error, error_size);
    if (rc == 0)
        rc = -pthread_create(&s->thread, NULL, store_thread, s);
    if (rc != 0) {
        store_free(s);
        return rc == -EAGAIN ? -ENOMEM : rc;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    if (s->resyncing)
        store_resync_end(s);
    store_flush(s);

    const struct timespec until = store_deadline(STORE_PATIENCE_MS);
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_cond_signal(&s->work);
    while (!s->finished && pthread_cond_timedwait(&s->ended, &s->lock, &until) == 0)
        ;
    s->deaf = true;
    const bool finished = s->finished;
    s->forsaken = !finished;
    const pthread_t thread = s->thread;
    pthread_mutex_unlock(&s->lock);
    if (!finished) {
        pthread_detach(thread);
        return;
    }
    pthread_join(thread, NULL);
    store_free(s);
}

const char *store_notice(const struct store *s)
{
    return s->notice[0] != '\0' ? s->notice : NULL;
}

const uint8_t *store_seed(const struct store *s)
{
    return s->db.seed;
}

/* ---- events ---------------------------------------------------------------------------------- */

void store_say(struct store *s, enum store_event_type type, const char *why)
{
    /* A loop that does not look for so long learns of the latest. */
    if (s->n_said == STORE_EVENTS) {
        s->said_first = (s->said_first + 1) % STORE_EVENTS;
        s->n_said--;
    }
    struct store_said *const said = &s->said[(s->said_first + s->n_said) % STORE_EVENTS];
    said->type = type;
    snprintf(said->why, sizeof said->why, "%s", why);
    s->n_said++;
    if (!s->deaf)
        s->wake(s->wake_arg);
}

bool store_next_event(struct store *s, struct store_event *out)
{
    store_fetched_free(&s->taken);
    pthread_mutex_lock(&s->lock);
    const bool has_said = s->n_said > 0;
    const bool has_fetched = !has_said && s->has_fetched;
    if (has_said) {
        s->taken_said = s->said[s->said_first];
        s->said_first = (s->said_first + 1) % STORE_EVENTS;
        s->n_said--;
    } else if (has_fetched) {
        s->taken = s->fetched;
        s->fetched = (struct store_fetched){.rows = NULL};
        s->has_fetched = false;
    }
    pthread_mutex_unlock(&s->lock);
    if (has_said) {
        *out = (struct store_event){.type = s->taken_said.type, .why = s->taken_said.why};
    } else if (has_fetched) {
        *out = (struct store_event){.type = STORE_FETCHED,
                                    .rows = s->taken.rows,
                                    .n = s->taken.n,
                                    .failed = s->taken.failed};
    }
    return has_said || has_fetched;
}

/* ---- figures --------------------------------------------------------------------------------- */

struct store_gauges store_gauges(const struct store *s)
{
    struct store_gauges g = {
        .failing = store_failing(s),
        .commits = atomic_load(&s->commits),
        .records = atomic_load(&s->records),
        .records_lost = atomic_load(&s->records_lost),
        .errors = atomic_load(&s->errors),
        .queued_bytes = atomic_load(&s->queued_bytes),
        .file_bytes = atomic_load(&s->file_bytes),
        .commit_max_us = atomic_load(&s->commit_max_us),
    };
    memcpy(g.left_out, s->left_out, sizeof g.left_out);
    return g;
}

int64_t store_heartbeat_ms(const struct store *s)
{
    const int64_t busy_ms = atomic_load(&s->busy_since_ms);
    const int64_t sync_ms = atomic_load(&s->sync_since_ms);
    if (busy_ms != 0 && sync_ms != 0)
        return time_min(busy_ms, sync_ms);
    return busy_ms != 0 ? busy_ms : sync_ms != 0 ? sync_ms : store_now_ms();
}
