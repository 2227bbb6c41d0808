/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of sinks: given once, known by name from then on. Few, and asked for rarely: a list. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "store_priv.h"

static struct bytes client_id_of(const struct store_known_sink *k)
{
    return body_bytes(k->client_id);
}

/* Where it stands, or belongs. */
static size_t place_of(const struct store *s, uint64_t number)
{
    size_t low = 0;
    for (size_t high = s->n_sinks; low < high;) {
        const size_t middle = low + (high - low) / 2;
        if (s->sinks[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_there(const struct store *s, uint64_t number)
{
    const size_t at = place_of(s, number);
    return at < s->n_sinks && s->sinks[at].number == number;
}

/* They are unique and ascending, so up to the first gap each stands at its own number. */
static uint64_t lowest_free(const struct store *s)
{
    size_t low = 0;
    for (size_t high = s->n_sinks; low < high;) {
        const size_t middle = low + (high - low) / 2;
        if (s->sinks[middle].number == middle)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* False: out of memory. */
static bool add(struct store *s, uint64_t number, const char *broker, struct bytes client_id)
{
    if (s->n_sinks == s->cap_sinks) {
        const size_t cap = s->cap_sinks == 0 ? 8 : 2 * s->cap_sinks;
        struct store_known_sink *const more = reallocarray(s->sinks, cap, sizeof *more);
        if (more == NULL)
            return false;
        s->sinks = more;
        s->cap_sinks = cap;
    }
    struct store_known_sink k = {.number = number, .broker = strdup(broker)};
    k.client_id = client_id.len > 0 ? body_new(client_id) : NULL;
    if (k.broker == NULL || (client_id.len > 0 && k.client_id == NULL)) {
        free(k.broker);
        body_unref(k.client_id);
        return false;
    }
    const size_t at = place_of(s, number);
    memmove(s->sinks + at + 1, s->sinks + at, (s->n_sinks - at) * sizeof *s->sinks);
    s->sinks[at] = k;
    s->n_sinks++;
    return true;
}

static void drop(struct store *s, size_t i)
{
    free(s->sinks[i].broker);
    body_unref(s->sinks[i].client_id);
    s->n_sinks--;
    memmove(s->sinks + i, s->sinks + i + 1, (s->n_sinks - i) * sizeof *s->sinks);
}

void store_sinks_free(struct store *s)
{
    while (s->n_sinks > 0)
        drop(s, s->n_sinks - 1);
    free(s->sinks);
    s->sinks = NULL;
    s->cap_sinks = 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_named(struct store *s)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->db.sql, "SELECT number, broker, client_id FROM sink", -1, &stmt,
                                NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const uint64_t number = (uint64_t)sqlite3_column_int64(stmt, 0);
        const char *const broker = (const char *)sqlite3_column_text(stmt, 1);
        const void *const client_id = sqlite3_column_text(stmt, 2);
        const size_t len = (size_t)sqlite3_column_bytes(stmt, 2);
        rc = SQLITE_OK;
        if (number <= STORE_SINKS_MAX && broker != NULL &&
            !add(s, number, broker, bytes_of(client_id, len)))
            rc = SQLITE_NOMEM;
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Messages whose sink nobody knows, as its row was lost with a damaged file: its number must not
 * become another's, who would send them to its broker. Only number 0 may: until there were several, it
 * had no row. */
static int read_nameless(struct store *s)
{
    sqlite3_stmt *stmt = NULL;
    int64_t from = (int64_t)store_sink_base(1);
    int rc = sqlite3_prepare_v2(s->db.sql, "SELECT min(number) FROM spool WHERE number >= ?1", -1,
                                &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_bind_int64(stmt, 1, from)) == SQLITE_OK &&
           (rc = sqlite3_step(stmt)) == SQLITE_ROW &&
           sqlite3_column_type(stmt, 0) == SQLITE_INTEGER) {
        const uint64_t sink = store_sink_of((uint64_t)sqlite3_column_int64(stmt, 0));
        rc = sqlite3_reset(stmt);
        if (rc == SQLITE_OK && !is_there(s, sink) && !add(s, sink, "", bytes_of(NULL, 0)))
            rc = SQLITE_NOMEM;
        if (rc != SQLITE_OK || sink == STORE_SINKS_MAX)
            break;
        from = (int64_t)store_sink_base(sink + 1);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int store_sinks_open(struct store *s)
{
    store_sinks_free(s);
    const int rc = read_named(s);
    return rc == SQLITE_OK ? read_nameless(s) : rc;
}

/* ---- giving ---------------------------------------------------------------------------------- */

static struct store_op *op_of(uint64_t number, const char *broker, struct bytes client_id)
{
    const struct bytes name = bytes_str(broker);
    struct store_op *const op = block_new(sizeof *op + name.len + client_id.len);
    if (op == NULL)
        return NULL;
    *op = (struct store_op){.kind = OP_SINK,
                            .size = (uint32_t)(sizeof *op + name.len + client_id.len),
                            .key = number,
                            .name = bytes_of(op->octets, name.len),
                            .other_name = bytes_of(op->octets + name.len, client_id.len)};
    if (name.len > 0)
        memcpy(op->octets, name.data, name.len);
    if (client_id.len > 0)
        memcpy(op->octets + name.len, client_id.data, client_id.len);
    return op;
}

int store_sink(struct store *s, const char *broker, struct bytes client_id, uint64_t *number)
{
    for (size_t i = 0; i < s->n_sinks; i++) {
        if (strcmp(s->sinks[i].broker, broker) != 0 ||
            !bytes_equal(client_id_of(&s->sinks[i]), client_id))
            continue;
        *number = s->sinks[i].number;
        return 0;
    }
    const uint64_t given = lowest_free(s);
    if (broker[0] == '\0' || strlen(broker) > UINT16_MAX || client_id.len > UINT16_MAX)
        return -EINVAL;
    if (given > STORE_SINKS_MAX)
        return -ENOSPC;
    struct store_op *const op = op_of(given, broker, client_id);
    pthread_mutex_lock(&s->lock);
    const bool added = op != NULL && add(s, given, broker, client_id);
    pthread_mutex_unlock(&s->lock);
    if (!added) {
        block_free(op);
        return -ENOMEM;
    }
    /* What its last owner's connection may have left at its very end. Number 0 may be that of a database
     * from before there were several: what is there is its own. */
    if (given != 0)
        store_packets_clear(s, given);
    store_stage(s, op);
    *number = given;
    return 0;
}

void store_sink_gone(struct store *s, uint64_t number)
{
    struct store_op *const op = store_op_new(OP_SINK_GONE, bytes_of(NULL, 0));
    if (op == NULL || !is_there(s, number)) {
        block_free(op); /* without memory it stays, and its number is not given again */
        return;
    }
    op->key = number;
    pthread_mutex_lock(&s->lock);
    drop(s, place_of(s, number));
    pthread_mutex_unlock(&s->lock);
    store_stage(s, op);
}

bool store_sinks_again(struct store *s, struct store_ops *ops)
{
    struct store_ops all = {.first = NULL};
    bool whole = true;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; whole && i < s->n_sinks; i++) {
        const struct store_known_sink *const k = &s->sinks[i];
        struct store_op *const op =
            k->broker[0] != '\0' ? op_of(k->number, k->broker, client_id_of(k)) : NULL;
        whole = op != NULL || k->broker[0] == '\0';
        if (op != NULL)
            store_ops_add(&all, op);
    }
    pthread_mutex_unlock(&s->lock);
    if (!whole) {
        store_ops_free(&all);
        return false;
    }
    store_ops_join(&all, ops);
    *ops = all;
    return true;
}

int store_sinks_each(struct store *s,
                     int (*sink)(void *owner, uint64_t number, const char *broker,
                                 struct bytes client_id),
                     void *owner)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->n_sinks; i++)
        rc = sink(owner, s->sinks[i].number, s->sinks[i].broker, client_id_of(&s->sinks[i]));
    return rc;
}
