/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a later operation of the same transaction makes superfluous, so that it never gets as far as a
 * page.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

#include "store_priv.h"

enum { COALESCE_MIN = 2 };

enum table {
    NO_TABLE,
    SESSIONS,
    TOPICS,
    EXCHANGES,
    DELIVERIES,
    SUBSCRIPTIONS,
    SPOOL,
    PACKETS,
    SENDING,
    SINKS,
    MESSAGES
};

/* Of operations that set or delete one row. */
static enum table table_of(unsigned kind)
{
    switch (kind) {
    case SN_REC_SESSION:
        return SESSIONS;
    case SN_REC_TOPIC:
    case SN_REC_TOPIC_GONE:
        return TOPICS;
    case SN_REC_EXCHANGE:
    case SN_REC_EXCHANGE_GONE:
        return EXCHANGES;
    case SN_REC_DELIVERY:
    case SN_REC_DELIVERY_GONE:
        return DELIVERIES;
    case SN_REC_SUBSCRIPTION:
    case SN_REC_SUBSCRIPTION_GONE:
        return SUBSCRIPTIONS;
    case SN_REC_SPOOL:
    case SN_REC_SPOOL_GONE:
        return SPOOL;
    case OP_PACKET_PUT:
    case OP_PACKET_REMOVE:
        return PACKETS;
    case OP_SENDING:
    case OP_SENDING_GONE:
        return SENDING;
    case OP_SINK:
    case OP_SINK_GONE:
        return SINKS;
    case OP_MESSAGE:
        return MESSAGES;
    default:
        return NO_TABLE;
    }
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9E3779B97F4A7C15U;
    return x ^ (x >> 29);
}

/* What a row is found by: (client, key), key, or (client, name). */
static uint64_t row_hash(const struct hash_seed *seed, const struct store_op *op, enum table table)
{
    uint64_t h = mix((uint64_t)table);
    if (table < SPOOL)
        h = mix(h ^ op->client);
    if (table == SUBSCRIPTIONS || table == PACKETS)
        return h ^ hash_bytes(seed, op->name);
    return mix(h ^ op->key);
}

static bool same_row(const struct store_op *a, const struct store_op *b, enum table table)
{
    if (table_of(b->kind) != table || (table < SPOOL && a->client != b->client))
        return false;
    if (table == SUBSCRIPTIONS || table == PACKETS)
        return bytes_equal(a->name, b->name);
    return a->key == b->key;
}

/* The last operation on each row, open addressing. */
struct last {
    struct store_op **slots;
    size_t mask;
    struct hash_seed seed;
};

static struct store_op **slot_of(const struct last *l, const struct store_op *op, enum table table)
{
    size_t at = row_hash(&l->seed, op, table) & l->mask;
    while (l->slots[at] != NULL && !same_row(op, l->slots[at], table))
        at = (at + 1) & l->mask;
    return &l->slots[at];
}

/* The message of that journal number, if it is in the list. */
static struct store_op *message_of(const struct last *l, uint64_t journal)
{
    const struct store_op key = {.kind = OP_MESSAGE, .key = journal};
    return *slot_of(l, &key, MESSAGES);
}

/* Rows are written whole, so of several operations on one row only the last one counts. The last
 * deletion stays, as the row may be on the disk from before: to delete what is not there writes
 * nothing. The first ROUTED, or NULL. */
static const struct store_op *skip_superseded(const struct last *l, const struct store_ops *ops)
{
    const struct store_op *routed = NULL;

    for (struct store_op *op = ops->first; op != NULL; op = op->next) {
        __builtin_prefetch(op->next);
        op->skip = false;
        if (op->kind == SN_REC_ROUTED && routed == NULL)
            routed = op;
        const enum table table = table_of(op->kind);
        if (table == NO_TABLE)
            continue;
        struct store_op **const slot = slot_of(l, op, table);
        if (*slot != NULL)
            (*slot)->skip = true;
        *slot = op;
    }
    return routed;
}

/* A message that was routed, and waits for nobody any more. ROUTED stays: the message may be in the
 * file, from a commit that is said to have failed. */
static void skip_delivered(const struct last *l, const struct store_ops *ops,
                           const struct store_op *first_routed)
{
    for (const struct store_op *op = first_routed; op != NULL; op = op->next) {
        struct store_op *const message = op->kind == SN_REC_ROUTED ? message_of(l, op->key) : NULL;
        if (message != NULL)
            message->skip = true;
    }
    for (const struct store_op *op = ops->first; op != NULL; op = op->next) {
        const bool waits = op->kind == SN_REC_DELIVERY && op->other != 0 && !op->skip;
        struct store_op *const message = waits ? message_of(l, op->other) : NULL;
        if (message != NULL)
            message->skip = false;
    }
}

static void skip_none(const struct store_ops *ops)
{
    for (struct store_op *op = ops->first; op != NULL; op = op->next)
        op->skip = false;
}

void store_ops_coalesce(struct store_ops *ops, const uint8_t *octets)
{
    struct last l;
    size_t size = 4;

    memcpy(&l.seed, octets, sizeof l.seed);
    while (size < 2 * ops->n)
        size *= 2;
    l.mask = size - 1;
    l.slots = ops->n >= COALESCE_MIN ? calloc(size, sizeof(struct store_op *)) : NULL;
    if (l.slots == NULL) {
        skip_none(ops);
        return;
    }
    const struct store_op *const routed = skip_superseded(&l, ops);
    if (routed != NULL)
        skip_delivered(&l, ops, routed);
    free(l.slots);
}
