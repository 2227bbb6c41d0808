/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store holds, in memory: the rows of the records that were committed (mqttsn/record.h), and
 * the batches that are still on their way. Asserts on out of memory.
 */
#ifndef SENNET_TESTS_SIM_TABLE_H
#define SENNET_TESTS_SIM_TABLE_H

#include "base/hmap.h"
#include "base/list.h"

#include "mqttsn/record.h"

/* A row, or a record on its way to become one. What the record mentions is its own. */
struct sim_row {
    struct hmap_node node;
    struct list link; /* in table.all or table.pending */
    uint64_t batch;
    struct sn_record record;
    struct body *text; /* client id, name or filter */
    struct body *will_topic;
    struct body *body;
    struct peer *peer;
};

struct sim_table {
    struct hmap rows;
    struct list all;     /* struct sim_row */
    struct list pending; /* struct sim_row, in order */
    size_t n_rows;
    uint64_t committed; /* batch */
    uint64_t written;   /* records put */
};

void table_init(struct sim_table *t);
void table_deinit(struct sim_table *t);

/* Copies the record, which belongs to that batch. */
void table_put(struct sim_table *t, uint64_t batch, const struct sn_record *record);
/* All batches up to that one are committed. */
void table_commit(struct sim_table *t, uint64_t batch);
/* What is not committed is lost. */
void table_crash(struct sim_table *t);

/* The rows as a store loads them: by session, ascending by key; SESSION first, then TOPIC,
 * EXCHANGE, SUBSCRIPTION, and DELIVERY by number; SPOOL rows behind all others, by number. The
 * array is the caller's; n_rows of them. */
struct sim_row **table_sorted(const struct sim_table *t);

/* Is every row that belongs to a session under one that is there? Are the rows of both the same?
 * If not, `why` says what is wrong. SPOOL and SUBSCRIPTION are compared when `all`. */
bool table_orderly(const struct sim_table *t, char *why, size_t size);
bool table_same(const struct sim_table *a, const struct sim_table *b, bool all, char *why,
                size_t size);

#endif
