/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is under way, in memory, so that who asks for it never waits for the disk: messages from the
 * broker that the loop has not ROUTED, and spooled messages that are with Paho.
 */
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#include "store_priv.h"

/* ---- messages that the loop has not ROUTED --------------------------------------------------- */

void store_unrouted_add(struct store *s, uint64_t journal)
{
    if (s->n_unrouted == s->cap_unrouted) {
        const size_t cap = s->cap_unrouted == 0 ? 64 : 2 * s->cap_unrouted;
        uint64_t *const more = reallocarray(s->unrouted, cap, sizeof *more);
        if (more == NULL) {
            if (s->unrouted_floor == 0)
                s->unrouted_floor = journal;
            return;
        }
        s->unrouted = more;
        s->cap_unrouted = cap;
    }
    s->unrouted[s->n_unrouted++] = journal;
}

/* Mostly the first one. */
void store_unrouted_remove(struct store *s, uint64_t journal)
{
    for (size_t i = 0; i < s->n_unrouted; i++) {
        if (s->unrouted[i] != journal)
            continue;
        s->n_unrouted--;
        memmove(s->unrouted + i, s->unrouted + i + 1, (s->n_unrouted - i) * sizeof *s->unrouted);
        return;
    }
}

uint64_t store_unrouted_least(const struct store *s)
{
    uint64_t least = s->journal + 1;
    if (s->n_unrouted > 0)
        least = s->unrouted[0];
    return s->unrouted_floor != 0 && s->unrouted_floor < least ? s->unrouted_floor : least;
}

/* ---- spooled messages that are with Paho ----------------------------------------------------- */

static uint64_t spread(uint64_t x)
{
    return x * 0x9E3779B97F4A7C15U ^ x >> 32;
}

struct store_sending *store_sending_find(const struct store *s, uint64_t number)
{
    struct hmap_node *n = hmap_first(&s->sending_by_number, spread(number));
    for (; n != NULL; n = hmap_next(n)) {
        struct store_sending *const it = container_of(n, struct store_sending, by_number);
        if (it->number == number)
            return it;
    }
    return NULL;
}

struct store_sending *store_sending_under(const struct store *s, uint64_t packet_id)
{
    struct hmap_node *n = hmap_first(&s->sending_by_packet, spread(packet_id));
    for (; n != NULL; n = hmap_next(n)) {
        struct store_sending *const it = container_of(n, struct store_sending, by_packet);
        if (it->packet_id == packet_id)
            return it;
    }
    return NULL;
}

void store_sending_remove(struct store *s, struct store_sending *it)
{
    hmap_remove(&s->sending_by_packet, &it->by_packet);
    hmap_remove(&s->sending_by_number, &it->by_number);
    free(it);
}

struct store_sending *store_sending_add(struct store *s, uint64_t packet_id, uint64_t number)
{
    struct store_sending *it = store_sending_under(s, packet_id);
    const bool stored = it != NULL && it->stored && it->number == number;
    if (it != NULL)
        store_sending_remove(s, it);
    it = malloc(sizeof *it);
    if (it == NULL)
        return NULL;
    *it = (struct store_sending){.packet_id = packet_id, .number = number, .stored = stored};
    hmap_insert(&s->sending_by_packet, &it->by_packet, spread(packet_id));
    hmap_insert(&s->sending_by_number, &it->by_number, spread(number));
    return it;
}

void store_sending_clear(struct store *s)
{
    for (struct hmap_node *n; (n = hmap_any(&s->sending_by_packet)) != NULL;)
        store_sending_remove(s, container_of(n, struct store_sending, by_packet));
}

/* Only those of one sink. Few are under way at once. */
void store_sending_forget(struct store *s, uint64_t sink)
{
    struct hmap keep;
    hmap_init(&keep);
    for (struct hmap_node *n; (n = hmap_any(&s->sending_by_packet)) != NULL;) {
        struct store_sending *const it = container_of(n, struct store_sending, by_packet);
        if (it->packet_id >> 16 == sink) {
            store_sending_remove(s, it);
        } else {
            hmap_remove(&s->sending_by_packet, n);
            hmap_insert(&keep, n, spread(it->packet_id));
        }
    }
    hmap_deinit(&s->sending_by_packet);
    s->sending_by_packet = keep;
}

static int open_sending(struct store *s)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(
        s->db.sql,
        "SELECT packet_id, number FROM (SELECT packet_id, number, packet_id & 65535 AS id,"
        " CASE packet_id >> 16 WHEN 0 THEN '' ELSE (packet_id >> 16) || '/' END AS sink"
        " FROM sending) WHERE EXISTS (SELECT 1 FROM packet"
        " WHERE key = sink || 's-' || id OR key = sink || 's5-' || id)",
        -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct store_sending *const it = store_sending_add(
            s, (uint64_t)sqlite3_column_int64(stmt, 0), (uint64_t)sqlite3_column_int64(stmt, 1));
        if (it != NULL)
            it->stored = true;
        rc = it != NULL ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* The greatest number in use, and the messages without deliveries, which are not routed. */
static int open_journal(struct store *s)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->db.sql,
                                "SELECT ifnull(max(journal), 0), -1 FROM delivery"
                                " UNION ALL SELECT * FROM"
                                " (SELECT journal, refs FROM message ORDER BY journal)",
                                -1, &stmt, NULL);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const uint64_t journal = (uint64_t)sqlite3_column_int64(stmt, 0);
        if (journal > s->journal)
            s->journal = journal;
        if (sqlite3_column_int64(stmt, 1) == 0)
            store_unrouted_add(s, journal);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int store_packets_open(struct store *s)
{
    const int rc = open_journal(s);
    return rc == SQLITE_OK ? open_sending(s) : rc;
}

void store_packets_forget(struct store *s)
{
    store_sending_clear(s);
    s->n_unrouted = 0;
    s->unrouted_floor = 0;
    s->journal = 0;
}
