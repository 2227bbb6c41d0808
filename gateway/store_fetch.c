/* SPDX-License-Identifier: Apache-2.0 */
/* Rows of the spool to messages, in chunks, for the loop. */
#include <stdlib.h>
#include <string.h>

#include "store_priv.h"

static const char select_rows[] =
    "SELECT number, client, topic, body, qos, retain, will, clock_ms, origin FROM spool"
    " WHERE number > ?1 AND number < ?2 ORDER BY number";

/* No message of its sink has a greater number. */
static int64_t last_of_sink(uint64_t number)
{
    const uint64_t sink = store_sink_of(number);
    return sink < STORE_SINKS_MAX ? (int64_t)store_sink_base(sink + 1) : INT64_MAX;
}

struct request {
    uint64_t after;
    unsigned n;
    size_t bytes;
};

void store_fetched_free(struct store_fetched *f)
{
    for (size_t i = 0; i < f->n; i++) {
        body_unref(f->rows[i].body);
        free((void *)(uintptr_t)f->rows[i].topic.data);
    }
    free(f->rows);
    *f = (struct store_fetched){.rows = NULL};
}

/* 0 or -ENOMEM. */
static int take_row(sqlite3_stmt *stmt, int64_t clock_ms, struct store_spooled *out)
{
    const size_t len = (size_t)sqlite3_column_bytes(stmt, 2);
    const size_t body_len = (size_t)sqlite3_column_bytes(stmt, 3);
    const int64_t age_ms = clock_ms - sqlite3_column_int64(stmt, 7);
    uint8_t *const topic = malloc(len + 1);
    const size_t origin_len = (size_t)sqlite3_column_bytes(stmt, 8);
    const bool has_body = body_len > 0 || origin_len > 0;
    const struct bytes origin =
        bytes_of(sqlite3_column_blob(stmt, 8), origin_len <= UINT16_MAX ? origin_len : 0);
    struct body *const body =
        has_body ? body_new_from(bytes_of(sqlite3_column_blob(stmt, 3), body_len), origin) : NULL;

    if (topic == NULL || (has_body && body == NULL)) {
        free(topic);
        body_unref(body);
        return -ENOMEM;
    }
    if (len > 0)
        memcpy(topic, sqlite3_column_text(stmt, 2), len);
    *out = (struct store_spooled){
        .number = (uint64_t)sqlite3_column_int64(stmt, 0),
        .client = (uint64_t)sqlite3_column_int64(stmt, 1),
        .topic = bytes_of(topic, len),
        .body = body,
        .qos = (uint8_t)sqlite3_column_int(stmt, 4),
        .retain = sqlite3_column_int(stmt, 5) != 0,
        .will = sqlite3_column_int(stmt, 6) != 0,
        .age_ms = age_ms > 0 ? age_ms : 0,
    };
    return 0;
}

/* Is the message with Paho? */
static bool is_sending(struct store *s, uint64_t number)
{
    pthread_mutex_lock(&s->lock);
    const bool sending = store_sending_find(s, number) != NULL;
    pthread_mutex_unlock(&s->lock);
    return sending;
}

static int read_rows(struct store *s, sqlite3_stmt *stmt, const struct request *r,
                     struct store_fetched *out)
{
    const int64_t clock_ms = store_clock_ms(&s->db);
    size_t bytes = 0;
    int rc = SQLITE_DONE;

    while (out->n < r->n && bytes < r->bytes && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        if (is_sending(s, (uint64_t)sqlite3_column_int64(stmt, 0)))
            continue;
        if (take_row(stmt, clock_ms, &out->rows[out->n]) != 0)
            return SQLITE_NOMEM;
        bytes += out->rows[out->n].topic.len + body_bytes(out->rows[out->n].body).len;
        out->n++;
    }
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

static int fetch(struct store *s, const struct request *r, struct store_fetched *out)
{
    sqlite3_stmt *stmt = NULL;
    out->rows = calloc(r->n > 0 ? r->n : 1, sizeof *out->rows);
    if (out->rows == NULL)
        return SQLITE_NOMEM;
    int rc = sqlite3_prepare_v2(s->db.sql, select_rows, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, 1, (int64_t)r->after);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, 2, last_of_sink(r->after));
    if (rc == SQLITE_OK)
        rc = read_rows(s, stmt, r, out);
    sqlite3_finalize(stmt);
    return rc;
}

/* Lock held. A file that can't be read is looked into more closely. */
static void note_failure(struct store *s, int rc)
{
    if (rc == SQLITE_NOMEM)
        return;
    atomic_fetch_add_explicit(&s->errors, 1, memory_order_relaxed);
    store_fail_sql(s, s->db.sql, rc);
}

void store_fetch_run(struct store *s)
{
    const struct request r = {.after = s->fetch_after, .n = s->fetch_n, .bytes = s->fetch_bytes};
    struct store_fetched out = {.failed = store_failing(s)};
    int rc = SQLITE_OK;

    s->fetch_wanted = false;
    if (!out.failed) {
        store_begin_busy(s);
        pthread_mutex_unlock(&s->lock);
        rc = fetch(s, &r, &out);
        pthread_mutex_lock(&s->lock);
        store_release_db(s);
    }
    if (rc != SQLITE_OK) {
        note_failure(s, rc);
        store_fetched_free(&out);
        out.failed = true;
    }
    s->fetched = out;
    s->has_fetched = true;
    if (!s->deaf)
        s->wake(s->wake_arg);
}

void store_fetch(struct store *s, uint64_t after, unsigned n, size_t max_bytes)
{
    pthread_mutex_lock(&s->lock);
    s->fetch_after = after;
    s->fetch_n = n;
    s->fetch_bytes = max_bytes;
    s->fetch_wanted = true;
    store_prod(s);
    pthread_mutex_unlock(&s->lock);
}
