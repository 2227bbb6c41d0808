/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is put becomes operations: on the loop thread a private list, one per turn, that is handed
 * over under the lock.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#include "blocks.h"
#include "store_priv.h"

enum { COMPACT_MIN = 1024 };

/* ---- lists ----------------------------------------------------------------------------------- */

void store_ops_add(struct store_ops *ops, struct store_op *op)
{
    op->next = NULL;
    if (ops->first == NULL)
        ops->end = &ops->first;
    *ops->end = op;
    ops->end = &op->next;
    ops->n++;
    ops->bytes += op->size;
    ops->n_waited_for += op->waiter != NULL;
}

void store_ops_join(struct store_ops *ops, struct store_ops *from)
{
    if (from->first == NULL)
        return;
    if (ops->first == NULL) {
        ops->first = from->first;
    } else {
        *ops->end = from->first;
    }
    ops->end = from->end;
    ops->n += from->n;
    ops->bytes += from->bytes;
    ops->n_waited_for += from->n_waited_for;
    *from = (struct store_ops){.first = NULL};
}

struct store_op *store_ops_pop(struct store_ops *ops)
{
    struct store_op *const op = ops->first;
    if (op == NULL)
        return NULL;
    ops->first = op->next;
    ops->n--;
    ops->bytes -= op->size;
    ops->n_waited_for -= op->waiter != NULL;
    op->next = NULL;
    return op;
}

void store_op_free(struct store_op *op)
{
    body_unref(op->body);
    block_free(op);
}

void store_ops_free(struct store_ops *ops)
{
    for (struct store_op *op; (op = store_ops_pop(ops)) != NULL;)
        store_op_free(op);
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct store_op *op_new(unsigned kind, size_t octets)
{
    struct store_op *const op = block_new(sizeof *op + octets);
    if (op == NULL)
        return NULL;
    *op = (struct store_op){.kind = (uint8_t)kind, .size = (uint32_t)(sizeof *op + octets)};
    return op;
}

static struct bytes copy_to(uint8_t **at, struct bytes in)
{
    const struct bytes out = bytes_of(*at, in.len);
    if (in.len > 0)
        memcpy(*at, in.data, in.len);
    *at += in.len;
    return out;
}

static void take_body(struct store_op *op, struct body *body)
{
    op->body = body_ref(body);
    op->size += (uint32_t)body_bytes(body).len;
}

struct store_op *store_op_new(unsigned kind, struct bytes name)
{
    struct store_op *const op = op_new(kind, name.len);
    if (op == NULL)
        return NULL;
    uint8_t *at = op->octets;
    op->name = copy_to(&at, name);
    return op;
}

static struct store_op *op_of_session(const struct sn_record *r)
{
    const struct peer *const peer = r->session.peer;
    const size_t peer_len = peer != NULL ? peer_size(peer) : 0;
    struct store_op *const op =
        op_new(r->type, peer_len + r->session.client_id.len + r->session.will.topic.len);
    if (op == NULL)
        return NULL;
    /* The peer first: it wants alignment. */
    uint8_t *at = op->octets;
    if (peer != NULL)
        op->peer = (const void *)copy_to(&at, peer_key(peer)).data;
    op->name = copy_to(&at, r->session.client_id);
    op->other_name = copy_to(&at, r->session.will.topic);
    op->which = (uint8_t)r->session.state;
    op->flag = r->session.clean;
    op->number[0] = r->session.keep_alive_s;
    op->number[1] = r->session.sleep_s;
    op->number[2] = r->session.next_msg_id;
    op->other = r->session.connection;
    op->qos = r->session.will.qos;
    op->retain = r->session.will.retain;
    take_body(op, r->session.will.body);
    return op;
}

static struct store_op *op_of_topic(const struct sn_record *r)
{
    struct store_op *const op = store_op_new(r->type, r->topic.name);
    if (op == NULL)
        return NULL;
    op->key = r->topic.topic_id;
    op->number[0] = r->topic.alias;
    op->number[1] = r->topic.known_in;
    op->number[2] = r->topic.refused_in;
    op->which = r->topic.kind;
    op->flag = r->topic.given;
    return op;
}

static struct store_op *op_of_delivery(const struct sn_record *r, bool with_copy)
{
    const bool copy = r->delivery.journal == 0 || with_copy;
    struct store_op *const op = store_op_new(r->type, copy ? r->delivery.topic : bytes_of(NULL, 0));
    if (op == NULL)
        return NULL;
    op->key = r->delivery.number;
    op->other = r->delivery.journal;
    op->qos = r->delivery.qos;
    op->retain = r->delivery.retain;
    op->which = (uint8_t)r->delivery.phase;
    op->number[0] = r->delivery.msg_id;
    op->expires_ms = copy ? r->delivery.expires_ms : 0;
    if (copy)
        take_body(op, r->delivery.body);
    return op;
}

static struct store_op *op_of_spool(const struct sn_record *r)
{
    struct store_op *const op = store_op_new(r->type, r->spool.topic);
    if (op == NULL)
        return NULL;
    op->key = r->spool.number;
    op->qos = r->spool.qos;
    op->retain = r->spool.retain;
    op->flag = r->spool.will;
    take_body(op, r->spool.body);
    return op;
}

static struct store_op *op_of_key(const struct sn_record *r, uint64_t key)
{
    struct store_op *const op = op_new(r->type, 0);
    if (op != NULL)
        op->key = key;
    return op;
}

static struct store_op *op_of_exchange(const struct sn_record *r)
{
    struct store_op *const op = op_of_key(r, r->exchange.msg_id);
    if (op == NULL)
        return NULL;
    op->number[0] = r->exchange.topic_id;
    op->other = r->exchange.print;
    return op;
}

static struct store_op *op_of_subscription(const struct sn_record *r)
{
    struct store_op *const op = store_op_new(r->type, r->subscription.filter);
    if (op != NULL)
        op->qos = r->subscription.qos;
    return op;
}

static struct store_op *op_of(const struct sn_record *r, bool with_copy)
{
    switch (r->type) {
    case SN_REC_SESSION:
        return op_of_session(r);
    case SN_REC_SESSION_GONE:
        return op_of_key(r, 0);
    case SN_REC_TOPIC:
        return op_of_topic(r);
    case SN_REC_TOPIC_GONE:
        return op_of_key(r, r->topic.topic_id);
    case SN_REC_EXCHANGE:
        return op_of_exchange(r);
    case SN_REC_EXCHANGE_GONE:
        return op_of_key(r, r->exchange.msg_id);
    case SN_REC_DELIVERY:
        return op_of_delivery(r, with_copy);
    case SN_REC_DELIVERY_GONE:
        return op_of_key(r, r->delivery.number);
    case SN_REC_SUBSCRIPTION:
    case SN_REC_SUBSCRIPTION_GONE:
        return op_of_subscription(r);
    case SN_REC_SPOOL:
        return op_of_spool(r);
    case SN_REC_SPOOL_GONE:
        return op_of_key(r, r->spool.number);
    case SN_REC_ROUTED:
        return op_of_key(r, r->routed.journal);
    case SN_REC_COUNT:
        break;
    }
    return NULL;
}

struct store_op *store_op_of(const struct sn_record *record, bool with_copy)
{
    struct store_op *const op = op_of(record, with_copy);
    if (op != NULL)
        op->client = record->client;
    return op;
}

/* ---- what a resync does not tell again ------------------------------------------------------- */

static bool must_stay(const struct store_op *op)
{
    switch (op->kind) {
    case SN_REC_SPOOL_GONE:
    case OP_PACKET_REMOVE:
    case OP_PACKETS_CLEAR:
    case OP_MESSAGE_REFUSED:
    case OP_SENDING_GONE:
    case OP_SINK:
    case OP_SINK_GONE:
    /* These may have been promised. */
    case SN_REC_SPOOL:
    case OP_MESSAGE:
    case OP_PACKET_PUT:
    case OP_SENDING:
        return op->waiter == NULL;
    default:
        return false;
    }
}

/* Lock held. Out of `ops`, what must stay goes to `kept`; the rest is gone, or heard that. */
static void sift(struct store *s, struct store_ops *ops, struct store_ops *kept)
{
    for (struct store_op *op; (op = store_ops_pop(ops)) != NULL;) {
        if (op->waiter != NULL) {
            op->waiter->done = true;
            op->waiter->rc = -EIO;
        } else if (op->skip || !must_stay(op)) {
            atomic_fetch_add_explicit(&s->records_lost, op->skip ? 0 : 1, memory_order_relaxed);
            store_op_free(op);
        } else {
            store_ops_add(kept, op);
        }
    }
}

/* Lock held. One operation per row is enough: this bounds what piles up while nothing is written. */
static void compact(struct store *s)
{
    struct store_ops kept = {.first = NULL};
    store_ops_coalesce(&s->queue, s->db.seed);
    sift(s, &s->queue, &kept);
    s->queue = kept;
    s->compact_at = 2 * kept.n > COMPACT_MIN ? 2 * kept.n : COMPACT_MIN;
}

void store_forget(struct store *s)
{
    store_log_stop(s);
    s->lost = true;
    s->resync_queued = false;
    compact(s);
    pthread_cond_broadcast(&s->done);
}

/* ---- handing over ---------------------------------------------------------------------------- */

static bool has_resync(const struct store_ops *ops)
{
    for (const struct store_op *op = ops->first; op != NULL; op = op->next)
        if (op->kind == OP_RESYNC_END)
            return true;
    return false;
}

static void overflow(struct store *s)
{
    char why[STORE_WHY_MAX];
    sqlite3_snprintf(sizeof why, why, "the disk is too slow: %lld octets wait to be written",
                     (long long)s->queue.bytes);
    store_fail(s, why, true);
    s->retry_ms = store_now_ms();
}

/* Lock held; while not all is well. */
static void enqueue_in_trouble(struct store *s, struct store_ops *ops)
{
    const enum store_trouble trouble = atomic_load(&s->trouble);

    if (trouble == TROUBLE_FORGOTTEN && has_resync(ops)) {
        s->resync_queued = true;
        atomic_store(&s->trouble, TROUBLE_RESYNCING);
        store_ops_join(&s->queue, ops);
        return;
    }
    if (trouble == TROUBLE_RESYNCING || (trouble == TROUBLE_FAILING && !s->lost)) {
        store_log_add(s, ops);
        store_ops_join(&s->queue, ops);
        if (!s->resync_queued && s->queue.bytes > s->max_queued_bytes)
            overflow(s);
        return;
    }
    struct store_ops kept = {.first = NULL};
    sift(s, ops, &kept);
    store_ops_join(&s->queue, &kept);
    if (s->queue.n > s->compact_at)
        compact(s);
}

/* May nobody have been told anything that only this operation makes true? Then it can wait. */
static bool binds(const struct store_op *op)
{
    switch (op->kind) {
    case SN_REC_TOPIC_GONE:
    case SN_REC_EXCHANGE_GONE:
    case SN_REC_DELIVERY_GONE:
    case SN_REC_SUBSCRIPTION_GONE:
    case SN_REC_SPOOL_GONE:
    case SN_REC_ROUTED:
    case OP_PACKET_REMOVE:
    case OP_PACKETS_CLEAR:
    case OP_MESSAGE_REFUSED:
    case OP_SENDING_GONE:
    case OP_SINK_GONE:
        return false;
    case SN_REC_DELIVERY:
        return op->which != SN_KEPT_WAITING;
    default:
        return true;
    }
}

static bool any_binds(const struct store_ops *ops)
{
    for (const struct store_op *op = ops->first; op != NULL; op = op->next)
        if (binds(op))
            return true;
    return false;
}

/* Lock held: something is new in the queue. */
static void note_queued(struct store *s, bool binding)
{
    const int64_t due_ms = binding && !s->logging ? 0 : store_now_ms() + s->lazy_ms;
    s->queue_due_ms = time_min(s->queue_due_ms, due_ms);
    atomic_store_explicit(&s->queued_bytes, s->queue.bytes, memory_order_relaxed);
    store_prod(s);
}

void store_enqueue(struct store *s, struct store_ops *ops)
{
    if (ops->first == NULL)
        return;
    const bool binding = any_binds(ops);
    if (store_failing(s)) {
        enqueue_in_trouble(s, ops);
    } else {
        store_log_add(s, ops);
        store_ops_join(&s->queue, ops);
        if (s->queue.bytes > s->max_queued_bytes && !has_resync(&s->queue))
            overflow(s);
    }
    note_queued(s, binding);
}

bool store_promise(struct store *s, struct store_ops *ops)
{
    if (store_failing(s) || !store_log_add(s, ops))
        return false;
    store_ops_join(&s->queue, ops);
    note_queued(s, true);
    return true;
}

/* ---- loop thread ----------------------------------------------------------------------------- */

uint64_t store_batch(const struct store *s)
{
    return s->batch;
}

void store_stage(struct store *s, struct store_op *op)
{
    s->touched = true;
    if (op != NULL)
        store_ops_add(&s->staged, op);
    else
        s->starved = true;
}

void store_put(struct store *s, const struct sn_record *record)
{
    store_stage(s, store_op_of(record, s->resyncing));
}

void store_resync_begin(struct store *s)
{
    store_stage(s, op_new(OP_RESYNC, 0));
    s->resyncing = true;
}

void store_resync_end(struct store *s)
{
    store_stage(s, op_new(OP_RESYNC_END, 0));
    s->resyncing = false;
}

/* Lock held. What only the store knows about the operations of the loop. */
static void complete(struct store *s, const struct store_ops *ops)
{
    for (struct store_op *op = ops->first; op != NULL; op = op->next) {
        if (op->kind == SN_REC_ROUTED) {
            store_unrouted_remove(s, op->key);
        } else if (op->kind == SN_REC_SPOOL_GONE) {
            struct store_sending *const it = store_sending_find(s, op->key);
            if (it != NULL) {
                op->other = it->packet_id;
                store_sending_remove(s, it);
            }
        } else if (op->kind == OP_RESYNC_END) {
            op->other = store_unrouted_least(s);
        }
    }
}

void store_flush(struct store *s)
{
    if (!s->touched)
        return;
    const uint64_t batch = s->batch++;
    s->touched = false;

    pthread_mutex_lock(&s->lock);
    if (!s->resyncing) {
        complete(s, &s->staged);
        s->queue_batch = batch;
        if (s->starved) {
            store_fail(s, "out of memory", true);
            s->retry_ms = store_now_ms();
        }
        s->starved = false;
        store_enqueue(s, &s->staged);
    }
    if (store_failing(s) || s->logging)
        atomic_store_explicit(&s->committed, batch, memory_order_release);
    pthread_mutex_unlock(&s->lock);
}

uint64_t store_committed(const struct store *s)
{
    return atomic_load_explicit(&s->committed, memory_order_acquire);
}

const char *store_lacks(const struct store *s, size_t bytes)
{
    enum { ROW_OVERHEAD = 64 };

    const uint64_t queued =
        atomic_load_explicit(&s->queued_bytes, memory_order_relaxed) + s->staged.bytes;
    const uint64_t used = atomic_load_explicit(&s->used_bytes, memory_order_relaxed);

    if (store_failing(s))
        return "the disk fails";
    if (queued >= s->max_queued_bytes / 2 ||
        atomic_load_explicit(&s->log_used, memory_order_relaxed) > s->intent.size / 2)
        return "the disk is too slow: mebibytes wait to be written";
    if (used + queued + bytes + ROW_OVERHEAD >= s->max_bytes - s->max_bytes / 10)
        return "nine tenths of max_size in [store] are used";
    return NULL;
}

bool store_room(const struct store *s, size_t bytes)
{
    return store_lacks(s, bytes) == NULL;
}
