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
    struct list messages; /* struct stored_message: not ROUTED yet, in order */
    uint64_t last_message;
    struct list sent;   /* struct sent: spooled messages that are with the connection */
    uint64_t committed; /* batch */
    uint64_t written;   /* records put */
};

void table_init(struct sim_table *t);
void table_deinit(struct sim_table *t);

/* Copies the record, which belongs to that batch. */
void table_put(struct sim_table *t, uint64_t batch, const struct sn_record *record);
/* All batches up to that one are committed. */
void table_commit(struct sim_table *t, uint64_t batch);
/* What a store does not forget while it fails: what may have been promised, and would not be told again. */
bool table_survives_failing(const struct sn_record *record);
/* The store fails: of what is on its way only that is committed. */
void table_fail(struct sim_table *t);
/* It works again, and will be told everything: only that is left. */
void table_forget(struct sim_table *t);
/* What is not committed is lost. */
void table_crash(struct sim_table *t);

/* The rows that there are when everything is committed, and what is sent. */
void table_copy(const struct sim_table *from, struct sim_table *to);

/* A message from the broker; committed at once. It stays until it is ROUTED. Its number. */
struct sim_message {
    uint64_t journal;
    struct bytes topic;
    struct body *body;
    uint8_t qos;
    bool retain;
    int64_t expires_ms; /* 0: never */
};

uint64_t table_message(struct sim_table *t, const struct sim_message *m);
/* The first one with a greater number, borrowed. */
bool table_next_message(const struct sim_table *t, uint64_t after, struct sim_message *out);

/* The spooled message of that number is with the connection, which will bring it to its end. */
void table_sent(struct sim_table *t, uint64_t number, bool sent);
/* The connection has brought it there, and forgets it together with the row, in one commit. */
void table_arrived(struct sim_table *t, uint64_t number);
bool table_is_sent(const struct sim_table *t, const struct sn_record *spool);

/* The rows as a store loads them: by session, ascending by key; SESSION first, then TOPIC,
 * EXCHANGE, SUBSCRIPTION, and DELIVERY by number; SPOOL rows behind all others, by number. The
 * array is the caller's; n_rows of them. */
struct sim_row **table_sorted(const struct sim_table *t);

/* Is every row that belongs to a session under one that is there? Are the rows of both the same?
 * If not, `why` says what is wrong. SPOOL rows are not looked at, SUBSCRIPTIONs when `all`. */
bool table_orderly(const struct sim_table *t, char *why, size_t size);
bool table_same(const struct sim_table *a, const struct sim_table *b, bool all, char *why,
                size_t size);

#endif
