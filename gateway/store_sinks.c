/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of sinks: given once, known by name from then on. Few, and asked for rarely: a list. */
#include <stdlib.h>
#include <string.h>

#include "store_priv.h"

static struct bytes client_id_of(const struct store_known_sink *k)
{
    return body_bytes(k->client_id);
}

static struct store_known_sink *add(struct store *s, uint64_t number, const char *broker,
                                    struct bytes client_id)
{
    if (s->n_sinks == s->cap_sinks) {
        const size_t cap = s->cap_sinks == 0 ? 8 : 2 * s->cap_sinks;
        struct store_known_sink *const more = reallocarray(s->sinks, cap, sizeof *more);
        if (more == NULL)
            return NULL;
        s->sinks = more;
        s->cap_sinks = cap;
    }
    struct store_known_sink *const k = &s->sinks[s->n_sinks];
    *k = (struct store_known_sink){.number = number, .broker = strdup(broker)};
    k->client_id = client_id.len > 0 ? body_new(client_id) : NULL;
    if (k->broker == NULL || (client_id.len > 0 && k->client_id == NULL)) {
        free(k->broker);
        body_unref(k->client_id);
        return NULL;
    }
    s->n_sinks++;
    return k;
}

int store_sinks_open(struct store *s)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->db.sql, "SELECT number, broker, client_id FROM sink", -1, &stmt,
                                NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const uint64_t number = (uint64_t)sqlite3_column_int64(stmt, 0);
        const char *const broker = (const char *)sqlite3_column_text(stmt, 1);
        const struct bytes client_id =
            bytes_of(sqlite3_column_text(stmt, 2), (size_t)sqlite3_column_bytes(stmt, 2));
        rc = SQLITE_OK;
        if (number <= STORE_SINKS_MAX && broker != NULL &&
            add(s, number, broker, client_id) == NULL)
            rc = SQLITE_NOMEM;
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void drop(struct store *s, size_t i)
{
    free(s->sinks[i].broker);
    body_unref(s->sinks[i].client_id);
    s->sinks[i] = s->sinks[--s->n_sinks];
}

void store_sinks_free(struct store *s)
{
    while (s->n_sinks > 0)
        drop(s, s->n_sinks - 1);
    free(s->sinks);
    s->sinks = NULL;
    s->cap_sinks = 0;
}

static int by_number(const void *one, const void *two)
{
    const struct store_known_sink *a = one;
    const struct store_known_sink *b = two;
    return a->number < b->number ? -1 : 1;
}

/* Sorts the list. */
static uint64_t lowest_free(struct store *s)
{
    if (s->n_sinks > 0)
        qsort(s->sinks, s->n_sinks, sizeof *s->sinks, by_number);
    uint64_t number = 0;
    while (number < s->n_sinks && s->sinks[number].number == number)
        number++;
    return number;
}

static struct store_op *op_of(uint64_t number, const char *broker, struct bytes client_id)
{
    const struct bytes name = bytes_str(broker);
    struct store_op *const op = malloc(sizeof *op + name.len + client_id.len);
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
    *number = lowest_free(s);
    if (*number > STORE_SINKS_MAX)
        return -ENOSPC;
    struct store_op *const op = op_of(*number, broker, client_id);
    if (op == NULL || add(s, *number, broker, client_id) == NULL) {
        free(op);
        return -ENOMEM;
    }
    store_stage(s, op);
    return 0;
}

void store_sink_gone(struct store *s, uint64_t number)
{
    for (size_t i = 0; i < s->n_sinks; i++) {
        if (s->sinks[i].number != number)
            continue;
        drop(s, i);
        struct store_op *const op = store_op_new(OP_SINK_GONE, bytes_of(NULL, 0));
        if (op == NULL)
            return; /* its number is not given again before the next start */
        op->key = number;
        store_stage(s, op);
        return;
    }
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
