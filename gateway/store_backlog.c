/* SPDX-License-Identifier: Apache-2.0 */
/* How much of each client waits in the spool, and what of it is with Paho: one pass, without bodies. */
#include <stdlib.h>

#include "base/list.h"

#include "store_priv.h"

/* A spooled message that is with Paho. */
struct store_spooled_sent {
    uint64_t number;
    uint64_t client;
    uint64_t bytes;
};

struct backlog {
    struct hmap_node node;
    uint64_t sink;
    uint64_t client;
    uint64_t n;
    uint64_t bytes;
};

static struct backlog *backlog_of(struct store_backlog *all, uint64_t sink, uint64_t client)
{
    const uint64_t hash = (client ^ sink << 48) * 0x9E3779B97F4A7C15U;
    for (struct hmap_node *n = hmap_first(&all->clients, hash); n != NULL; n = hmap_next(n)) {
        struct backlog *const b = container_of(n, struct backlog, node);
        if (b->client == client && b->sink == sink)
            return b;
    }
    struct backlog *const b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->sink = sink;
    b->client = client;
    hmap_insert(&all->clients, &b->node, hash);
    return b;
}

static int note_sent(struct store_backlog *all, uint64_t number, uint64_t client, uint64_t bytes)
{
    if (all->n_sent == all->cap_sent) {
        all->cap_sent = all->cap_sent == 0 ? 16 : 2 * all->cap_sent;
        struct store_spooled_sent *const more =
            reallocarray(all->sent, all->cap_sent, sizeof *more);
        if (more == NULL)
            return -ENOMEM;
        all->sent = more;
    }
    all->sent[all->n_sent++] =
        (struct store_spooled_sent){.number = number, .client = client, .bytes = bytes};
    return 0;
}

/* Numbers come ascending. */
static bool note_last(struct store_backlog *all, uint64_t number)
{
    const bool again =
        all->n_last > 0 && store_sink_of(all->last[all->n_last - 1]) == store_sink_of(number);
    if (!again && all->n_last == all->cap_last) {
        all->cap_last = all->cap_last == 0 ? 16 : 2 * all->cap_last;
        uint64_t *const more = reallocarray(all->last, all->cap_last, sizeof *more);
        if (more == NULL)
            return false;
        all->last = more;
    }
    all->n_last += again ? 0 : 1;
    all->last[all->n_last - 1] = number;
    return true;
}

static uint64_t last_of(const struct store_backlog *all, uint64_t sink)
{
    size_t low = 0;
    for (size_t high = all->n_last; low + 1 < high;) {
        const size_t middle = low + (high - low) / 2;
        if (store_sink_of(all->last[middle]) <= sink)
            low = middle;
        else
            high = middle;
    }
    return all->last[low];
}

static int count_row(struct store *s, struct store_backlog *all, uint64_t number, uint64_t client,
                     uint64_t bytes)
{
    const uint64_t sink = store_sink_of(number);
    if (!note_last(all, number))
        return -ENOMEM;
    pthread_mutex_lock(&s->lock);
    const bool sent = store_sending_find(s, number) != NULL;
    pthread_mutex_unlock(&s->lock);
    if (sent)
        return note_sent(all, number, client, bytes);
    struct backlog *const b = backlog_of(all, sink, client);
    if (b == NULL)
        return -ENOMEM;
    b->n++;
    b->bytes += bytes;
    return 0;
}

/* Of topic and body only the lengths, which stand in front of the row. */
int store_backlog_read(struct store *s, struct store_backlog *all)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->db.sql,
                                "SELECT number, client, length(CAST(topic AS BLOB)),"
                                " length(body) FROM spool WHERE number > 0 ORDER BY number",
                                -1, &stmt, NULL);
    int result = 0;
    while (rc == SQLITE_OK && result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        result = count_row(s, all, (uint64_t)sqlite3_column_int64(stmt, 0),
                           (uint64_t)sqlite3_column_int64(stmt, 1),
                           (uint64_t)sqlite3_column_int64(stmt, 2) +
                               (uint64_t)sqlite3_column_int64(stmt, 3));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    if (result != 0)
        return result;
    return rc == SQLITE_DONE ? 0 : -EIO;
}

int store_backlog_give(struct store_backlog *all, const struct store_visitor *v)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < all->n_sent; i++)
        rc = v->sent(v->owner, all->sent[i].number, all->sent[i].client, all->sent[i].bytes);
    for (struct hmap_node *n; (n = hmap_any(&all->clients)) != NULL;) {
        struct backlog *const b = container_of(n, struct backlog, node);
        hmap_remove(&all->clients, n);
        if (rc == 0)
            rc = v->spool(v->owner, b->client, b->n, b->bytes, last_of(all, b->sink));
        free(b);
    }
    for (size_t i = 0; rc == 0 && i < all->n_last; i++)
        rc = v->spool(v->owner, SN_NO_CLIENT, 0, 0, all->last[i]);
    return rc;
}

void store_backlog_deinit(struct store_backlog *all)
{
    for (struct hmap_node *n; (n = hmap_any(&all->clients)) != NULL;) {
        hmap_remove(&all->clients, n);
        free(container_of(n, struct backlog, node));
    }
    hmap_deinit(&all->clients);
    free(all->sent);
    free(all->last);
}
