/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Paho's threads and the worker call: messages from the broker, Paho's packets, and which
 * spooled messages are with Paho.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"
#include "store_priv.h"

/* ---- messages -------------------------------------------------------------------------------- */

/* Of all connections, by sink: "12/s-5"; those of the first are as Paho has them. Borrows from both. */
static struct bytes key_of(uint64_t sink, const char *key, char room[STORE_KEY_MAX])
{
    if (sink == 0)
        return bytes_of(key, strnlen(key, STORE_KEY_MAX - 1));
    const int n = snprintf(room, STORE_KEY_MAX, "%llu/%s", (unsigned long long)sink, key);
    return bytes_of(room, n < STORE_KEY_MAX ? (size_t)n : STORE_KEY_MAX - 1);
}

void store_key_glob(uint64_t sink, char room[STORE_KEY_MAX])
{
    if (sink == 0)
        snprintf(room, STORE_KEY_MAX, "[a-z]*");
    else
        snprintf(room, STORE_KEY_MAX, "%llu/*", (unsigned long long)sink);
}

/* Does not block. */
static void enqueue_one(struct store *s, struct store_op *op)
{
    struct store_ops ops = {.first = NULL};
    store_ops_add(&ops, op);
    store_enqueue(s, &ops);
}

/* Failing, or out of memory for something that should have been kept. */
static void starved(struct store *s)
{
    store_fail(s, "out of memory", true);
    s->retry_ms = store_now_ms();
}

/* What could not be committed may have got as far as into the file, where opening it again would
 * find it. */
static void refuse(struct store *s, unsigned kind, uint64_t key)
{
    struct store_op *const op = store_op_new(kind, bytes_of(NULL, 0));
    if (op == NULL)
        return;
    op->key = key;
    enqueue_one(s, op);
}

static void remove_later(struct store *s, struct bytes key)
{
    struct store_op *const op = store_op_new(OP_PACKET_REMOVE, key);
    if (op != NULL)
        enqueue_one(s, op);
}

/* All of `len` octets, in one body; NULL: none, or out of memory. */
static struct body *join(const struct bytes *parts, size_t n, size_t len)
{
    if (n == 1 || len == 0)
        return len > 0 ? body_new(parts[0]) : NULL;
    uint8_t *const whole = malloc(len);
    if (whole == NULL)
        return NULL;
    struct writer w = wr_to(whole, len);
    for (size_t i = 0; i < n; i++)
        wr_bytes(&w, parts[i]);
    struct body *const body = body_new(bytes_of(whole, len));
    free(whole);
    return body;
}

/* On the heap, with all parts as its body; NULL: out of memory. */
static struct store_op *copy_of(const struct store_op *op)
{
    struct store_op *const copy = store_op_new(op->kind, op->name);
    size_t len = 0;
    for (size_t i = 0; i < op->n_parts; i++)
        len += op->parts[i].len;
    struct body *const body = join(op->parts, op->n_parts, len);
    if (copy == NULL || (len > 0 && body == NULL)) {
        body_unref(body);
        block_free(copy);
        return NULL;
    }
    copy->key = op->key;
    copy->client = op->client;
    copy->other = op->other;
    copy->qos = op->qos;
    copy->retain = op->retain;
    copy->expires_ms = op->expires_ms;
    copy->body = body;
    copy->size += (uint32_t)len;
    return copy;
}

/* Lock held. What somebody would wait for, promised by the log. False: he has to wait. */
static bool promise(struct store *s, const struct store_ops *ops)
{
    struct store_ops copies = {.first = NULL};
    bool whole = s->logging;
    for (const struct store_op *op = ops->first; whole && op != NULL; op = op->next) {
        struct store_op *const copy = copy_of(op);
        whole = copy != NULL;
        if (whole)
            store_ops_add(&copies, copy);
    }
    const bool promised = whole && store_promise(s, &copies);
    store_ops_free(&copies);
    return promised;
}

/* Who need not wait must not be faster than the disk for ever: from here on he waits. */
static size_t full_bytes(const struct store *s)
{
    return s->max_queued_bytes / 4 * 3;
}

/* Lock held. */
static void wait_for_room(struct store *s)
{
    while (!store_failing(s) && s->queue.bytes > full_bytes(s)) {
        s->waiters++;
        if (s->busy)
            pthread_cond_wait(&s->done, &s->lock);
        else
            store_run(s);
        s->waiters--;
    }
}

bool store_may_block(const struct store *s)
{
    return !store_failing(s) &&
           (!atomic_load_explicit(&s->promises, memory_order_relaxed) ||
            atomic_load_explicit(&s->queued_bytes, memory_order_relaxed) > full_bytes(s));
}

/* Lock held: the operations, which are on the stack, are promised or committed. 0 or -EIO. */
static int make_sure(struct store *s, struct store_ops *ops, struct store_waiter *waiter)
{
    if (!promise(s, ops))
        return store_block(s, ops, waiter);
    wait_for_room(s);
    return 0;
}

/* `packet` is an operation on one, or NULL. */
static uint64_t add_message(struct store *s, uint64_t sink, const struct store_incoming *in,
                            struct store_op *packet)
{
    struct store_waiter waiter = {.done = false};
    struct store_op message = {
        .kind = OP_MESSAGE,
        .waiter = &waiter,
        .size = (uint32_t)(sizeof message + in->topic.len + in->payload.len),
        .name = in->topic,
        .parts = &in->payload,
        .n_parts = 1,
        .qos = in->qos,
        .retain = in->retain,
        .client = sink,
        .expires_ms = in->expiry_s > 0 ? store_now_ms() + INT64_C(1000) * in->expiry_s : 0,
    };
    struct store_ops ops = {.first = NULL};

    pthread_mutex_lock(&s->lock);
    if (!store_failing(s)) {
        message.key = ++s->journal;
        store_ops_add(&ops, &message);
        if (packet != NULL) {
            packet->waiter = &waiter;
            store_ops_add(&ops, packet);
        }
        /* Before it is committed: a resync meanwhile must spare it. */
        store_unrouted_add(s, message.key);
        if (make_sure(s, &ops, &waiter) == 0) {
            pthread_mutex_unlock(&s->lock);
            return message.key;
        }
        store_unrouted_remove(s, message.key);
        refuse(s, OP_MESSAGE_REFUSED, message.key);
    }
    if (packet != NULL)
        remove_later(s, packet->name);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

uint64_t store_message(struct store *s, uint64_t sink, const struct store_incoming *message,
                       const char *drop_packet)
{
    struct store_op remove = {.kind = OP_PACKET_REMOVE, .size = sizeof remove};
    char place[STORE_KEY_MAX];

    if (drop_packet != NULL)
        remove.name = key_of(sink, drop_packet, place);
    return add_message(s, sink, message, drop_packet != NULL ? &remove : NULL);
}

uint64_t store_message_with(struct store *s, uint64_t sink, const struct store_incoming *message,
                            const char *key, struct bytes packet)
{
    char place[STORE_KEY_MAX];
    struct store_op put = {.kind = OP_PACKET_PUT,
                           .size = (uint32_t)(sizeof put + packet.len),
                           .name = key_of(sink, key, place),
                           .parts = &packet,
                           .n_parts = 1};

    return add_message(s, sink, message, &put);
}

/* ---- packets --------------------------------------------------------------------------------- */

/* Of a packet that is being sent; 0 of others. */
static unsigned sent_id(const char *key)
{
    const char *const dash = strrchr(key, '-');
    const unsigned long id = key[0] == 's' && dash != NULL ? strtoul(dash + 1, NULL, 10) : 0;
    return id <= UINT16_MAX ? (unsigned)id : 0;
}

/* Lock held. */
static void note_stored(struct store *s, uint64_t packet_id, uint64_t number)
{
    struct store_sending *const it = store_sending_under(s, packet_id);
    if (it != NULL && it->number == number)
        it->stored = true;
}

int store_packet_put(struct store *s, uint64_t sink, const char *key, const struct bytes *parts,
                     size_t n_parts)
{
    char place[STORE_KEY_MAX];
    struct store_waiter waiter = {.done = false};
    struct store_op sending = {.kind = OP_SENDING, .waiter = &waiter, .size = sizeof sending};
    struct store_op op = {
        .kind = OP_PACKET_PUT,
        .waiter = &waiter,
        .size = sizeof op,
        .name = key_of(sink, key, place),
        .parts = parts,
        .n_parts = n_parts,
    };
    struct store_ops ops = {.first = NULL};
    int rc = -EIO;

    for (size_t i = 0; i < n_parts; i++)
        op.size += (uint32_t)parts[i].len;
    pthread_mutex_lock(&s->lock);
    if (!store_failing(s)) {
        const struct store_sending *const it =
            store_sending_under(s, store_place(sink, sent_id(key)));
        if (it != NULL && !it->stored) {
            sending.key = it->packet_id;
            sending.other = it->number;
            store_ops_add(&ops, &sending);
        }
        store_ops_add(&ops, &op);
        rc = make_sure(s, &ops, &waiter);
        if (rc == 0 && sending.key != 0)
            note_stored(s, sending.key, sending.other);
        if (rc != 0 && sending.key != 0)
            refuse(s, OP_SENDING_GONE, sending.key);
        if (rc != 0)
            remove_later(s, op.name);
    }
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Two operations, as each row has its own: the session's SPOOL_GONE, which comes later, makes the
 * first superfluous, and must not take the second with it. False: out of memory, nothing added. */
static bool complete_spooled(struct store_ops *ops, const struct store_sending *it)
{
    struct store_op *const gone = store_op_new(SN_REC_SPOOL_GONE, bytes_of(NULL, 0));
    struct store_op *const unsent = store_op_new(OP_SENDING_GONE, bytes_of(NULL, 0));
    if (gone == NULL || unsent == NULL) {
        if (gone != NULL)
            store_op_free(gone);
        if (unsent != NULL)
            store_op_free(unsent);
        return false;
    }
    gone->key = it->number;
    unsent->key = it->packet_id;
    store_ops_add(ops, gone);
    store_ops_add(ops, unsent);
    return true;
}

void store_packet_remove(struct store *s, uint64_t sink, const char *key, unsigned spooled)
{
    char place[STORE_KEY_MAX];
    struct store_op *const op = store_op_new(OP_PACKET_REMOVE, key_of(sink, key, place));
    struct store_ops ops = {.first = NULL};

    pthread_mutex_lock(&s->lock);
    struct store_sending *const it =
        spooled != 0 ? store_sending_under(s, store_place(sink, spooled)) : NULL;
    if (op == NULL || (it != NULL && !complete_spooled(&ops, it)))
        starved(s);
    else if (it != NULL)
        store_sending_remove(s, it);
    if (op != NULL)
        store_ops_add(&ops, op);
    store_enqueue(s, &ops);
    pthread_mutex_unlock(&s->lock);
}

void store_packets_clear(struct store *s, uint64_t sink)
{
    struct store_op *const op = store_op_new(OP_PACKETS_CLEAR, bytes_of(NULL, 0));

    pthread_mutex_lock(&s->lock);
    store_sending_forget(s, sink);
    if (op != NULL)
        op->key = sink;
    if (op != NULL)
        enqueue_one(s, op);
    else
        starved(s);
    pthread_mutex_unlock(&s->lock);
}

void store_spool_sending(struct store *s, uint64_t number, unsigned packet_id)
{
    const uint64_t place = store_place(store_sink_of(number), packet_id);
    pthread_mutex_lock(&s->lock);
    if (store_sending_add(s, place, number) == NULL)
        starved(s);
    pthread_mutex_unlock(&s->lock);
}

void store_spool_unsent(struct store *s, uint64_t sink, unsigned packet_id)
{
    struct store_op *const unsent = store_op_new(OP_SENDING_GONE, bytes_of(NULL, 0));

    pthread_mutex_lock(&s->lock);
    struct store_sending *const it = store_sending_under(s, store_place(sink, packet_id));
    if (it != NULL)
        store_sending_remove(s, it);
    if (unsent != NULL) {
        unsent->key = store_place(sink, packet_id);
        enqueue_one(s, unsent);
    } else {
        starved(s);
    }
    pthread_mutex_unlock(&s->lock);
}

uint64_t store_spool_sent_as(struct store *s, uint64_t sink, unsigned packet_id)
{
    pthread_mutex_lock(&s->lock);
    const struct store_sending *const it = store_sending_under(s, store_place(sink, packet_id));
    const uint64_t number = it != NULL ? it->number : 0;
    pthread_mutex_unlock(&s->lock);
    return number;
}

/* ---- reading them again ---------------------------------------------------------------------- */

/* Takes the database when all that was put or removed before is in it. False: failing. A start that
 * can only read has put nothing. */
static bool take_current(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    while (!store_failing(s) || s->reading) {
        if (s->busy) {
            s->waiters++;
            pthread_cond_wait(&s->done, &s->lock);
            s->waiters--;
        } else if (s->queue.first != NULL && !s->reading) {
            store_run(s);
        } else {
            store_begin_busy(s);
            pthread_mutex_unlock(&s->lock);
            return true;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return false;
}

static void give_back(struct store *s)
{
    pthread_mutex_lock(&s->lock);
    store_release_db(s);
    pthread_mutex_unlock(&s->lock);
}

static int read_packet(sqlite3_stmt *stmt, void **data, size_t *len)
{
    const int rc = sqlite3_step(stmt);
    if (rc != SQLITE_ROW)
        return rc == SQLITE_DONE ? -ENOENT : -EIO;
    const size_t size = (size_t)sqlite3_column_bytes(stmt, 0);
    char *const copy = malloc(size + 1);
    if (copy == NULL)
        return -ENOMEM;
    if (size > 0)
        memcpy(copy, sqlite3_column_blob(stmt, 0), size);
    *data = copy;
    *len = size;
    return 0;
}

int store_packet_get(struct store *s, uint64_t sink, const char *key, void **data, size_t *len)
{
    char place[STORE_KEY_MAX];
    sqlite3_stmt *stmt = NULL;
    int rc = -EIO;

    if (!take_current(s))
        return -EIO;
    if (sqlite3_prepare_v2(s->db.sql, "SELECT data FROM packet WHERE key = ?1", -1, &stmt, NULL) ==
            SQLITE_OK &&
        sqlite3_bind_text(stmt, 1, (const char *)key_of(sink, key, place).data, -1,
                          SQLITE_STATIC) == SQLITE_OK)
        rc = read_packet(stmt, data, len);
    sqlite3_finalize(stmt);
    give_back(s);
    return rc;
}

/* All keys of the sink, one behind the other with their terminators. */
static int read_keys(sqlite3 *sql, uint64_t sink, char **out, size_t *n)
{
    char keys[STORE_KEY_MAX];
    store_key_glob(sink, keys);
    const size_t prefix = sink != 0 ? strcspn(keys, "/") + 1 : 0;
    sqlite3_stmt *stmt = NULL;
    size_t len = 0;
    size_t cap = 0;
    int rc = sqlite3_prepare_v2(sql, "SELECT substr(key, ?1) FROM packet WHERE key GLOB ?2", -1,
                                &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(stmt, 1, (sqlite3_int64)prefix + 1);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_text(stmt, 2, keys, -1, SQLITE_STATIC);
    while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const size_t size = (size_t)sqlite3_column_bytes(stmt, 0) + 1;
        if (len + size > cap) {
            cap = 2 * cap + size + 1024;
            char *const more = realloc(*out, cap);
            if (more == NULL)
                break;
            *out = more;
        }
        memcpy(*out + len, sqlite3_column_text(stmt, 0), size);
        len += size;
        ++*n;
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? 0 : -EIO;
}

int store_packet_each(struct store *s, uint64_t sink, int (*key)(void *owner, const char *key),
                      void *owner)
{
    char *keys = NULL;
    size_t n = 0;

    if (!take_current(s))
        return -EIO;
    int rc = read_keys(s->db.sql, sink, &keys, &n);
    give_back(s);
    const char *at = keys;
    for (size_t i = 0; rc == 0 && i < n; i++, at += strlen(at) + 1)
        rc = key(owner, at);
    free(keys);
    return rc;
}
