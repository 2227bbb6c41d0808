/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations to rows. A transaction takes all that is queued, and what cancels itself in there (a
 * message that came and was delivered since the last commit) never gets as far as a page.
 */
#include <stdlib.h>
#include <string.h>

#include "store_priv.h"

enum {
    CLOCK_EVERY_MS = 3600 * 1000, /* the clock is written along, when it has gone on by so much */
};

/* ---- binding --------------------------------------------------------------------------------- */

static void bind_int(sqlite3_stmt *stmt, int at, int64_t value)
{
    sqlite3_bind_int64(stmt, at, value);
}

static void bind_text(sqlite3_stmt *stmt, int at, struct bytes text)
{
    const char *const data = text.len > 0 ? (const char *)text.data : "";
    sqlite3_bind_text64(stmt, at, data, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static void bind_word(sqlite3_stmt *stmt, int at, const char *word)
{
    sqlite3_bind_text(stmt, at, word, -1, SQLITE_STATIC);
}

/* NULL for an empty one. */
static void bind_body(sqlite3_stmt *stmt, int at, struct bytes body)
{
    if (body.len > 0)
        sqlite3_bind_blob64(stmt, at, body.data, body.len, SQLITE_STATIC);
    else
        sqlite3_bind_null(stmt, at);
}

/* What is bound is borrowed and not touched again before it is bound anew: no clear_bindings(). */
static int done(sqlite3_stmt *stmt)
{
    const int rc = sqlite3_step(stmt);
    const int reset = sqlite3_reset(stmt);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : reset != SQLITE_OK ? reset : rc;
}

static int run(struct store_db *db, enum store_statement which)
{
    return done(db->statements[which]);
}

static int run_client(struct store_db *db, enum store_statement which, uint64_t client)
{
    bind_int(db->statements[which], 1, (int64_t)client);
    return run(db, which);
}

static int run_client_key(struct store_db *db, enum store_statement which,
                          const struct store_op *op)
{
    bind_int(db->statements[which], 1, (int64_t)op->client);
    bind_int(db->statements[which], 2, (int64_t)op->key);
    return run(db, which);
}

/* ---- the engine's ---------------------------------------------------------------------------- */

static const char *kind_word(uint8_t kind)
{
    switch ((enum peer_kind)kind) {
    case PEER_IP4:
        return "ip4";
    case PEER_IP6:
        return "ip6";
    case PEER_EUI64:
        return "eui64";
    case PEER_SHORT:
        return "short";
    case PEER_SERIAL:
        return "serial";
    case PEER_GROUP:
        return "group";
    case PEER_NONE:
        break;
    }
    return "none";
}

static void bind_peer(const struct store_db *db, sqlite3_stmt *stmt, int at, const struct peer *p)
{
    if (p == NULL || p->link >= db->n_links) {
        for (int i = 0; i < 4; i++)
            sqlite3_bind_null(stmt, at + i);
        return;
    }
    bind_word(stmt, at, db->links[p->link]);
    bind_word(stmt, at + 1, kind_word(p->kind));
    sqlite3_bind_blob(stmt, at + 2, p->bytes, p->addr_len, SQLITE_STATIC);
    bind_body(stmt, at + 3, bytes_of(p->bytes + p->addr_len, p->path_len));
}

static int write_session(struct store_db *db, const struct store_op *op)
{
    static const char *const states[] = {
        [SN_KEPT_AWAY] = "away", [SN_KEPT_ACTIVE] = "active", [SN_KEPT_ASLEEP] = "asleep"};
    sqlite3_stmt *const stmt = db->statements[ST_SESSION];

    bind_int(stmt, 1, (int64_t)op->client);
    bind_text(stmt, 2, op->name);
    bind_word(stmt, 3, states[op->which]);
    bind_int(stmt, 4, op->flag);
    bind_int(stmt, 5, op->number[0]);
    bind_int(stmt, 6, op->number[1]);
    bind_int(stmt, 7, op->number[2]);
    bind_peer(db, stmt, 8, op->peer);
    if (op->other_name.len > 0) {
        bind_text(stmt, 12, op->other_name);
        bind_body(stmt, 13, body_bytes(op->body));
        bind_int(stmt, 14, op->qos);
        bind_int(stmt, 15, op->retain);
    } else {
        for (int i = 12; i <= 15; i++)
            sqlite3_bind_null(stmt, i);
    }
    bind_int(stmt, 16, (int64_t)op->other);
    return done(stmt);
}

static int write_session_gone(struct store_db *db, const struct store_op *op)
{
    static const enum store_statement all[] = {ST_SESSION_GONE, ST_TOPICS_GONE, ST_EXCHANGES_GONE,
                                               ST_SUBSCRIPTIONS_GONE, ST_DELIVERIES_GONE};

    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < sizeof all / sizeof all[0]; i++)
        rc = run_client(db, all[i], op->client);
    return rc;
}

static int write_topic(struct store_db *db, const struct store_op *op)
{
    sqlite3_stmt *const stmt = db->statements[ST_TOPIC];
    bind_int(stmt, 1, (int64_t)op->client);
    bind_int(stmt, 2, (int64_t)op->key);
    bind_text(stmt, 3, op->name);
    bind_int(stmt, 4, op->number[0]);
    bind_int(stmt, 5, op->which);
    bind_int(stmt, 6, op->flag);
    bind_int(stmt, 7, op->number[1]);
    bind_int(stmt, 8, op->number[2]);
    return done(stmt);
}

static int write_topic_gone(struct store_db *db, const struct store_op *op)
{
    return run_client_key(db, ST_TOPIC_GONE, op);
}

static int write_exchange(struct store_db *db, const struct store_op *op)
{
    sqlite3_stmt *const stmt = db->statements[ST_EXCHANGE];
    bind_int(stmt, 1, (int64_t)op->client);
    bind_int(stmt, 2, (int64_t)op->key);
    bind_int(stmt, 3, op->number[0]);
    bind_int(stmt, 4, (int64_t)op->other);
    return done(stmt);
}

static int write_exchange_gone(struct store_db *db, const struct store_op *op)
{
    return run_client_key(db, ST_EXCHANGE_GONE, op);
}

static void bind_expiry(struct store_db *db, sqlite3_stmt *stmt, int at, int64_t expires_ms)
{
    if (expires_ms == 0) {
        sqlite3_bind_null(stmt, at);
        return;
    }
    bind_int(stmt, at, store_expiry_stored(db, expires_ms));
    db->expires = true;
}

static void bind_message(struct store_db *db, uint64_t journal, uint64_t sink,
                         const struct store_op *op)
{
    sqlite3_stmt *const stmt = db->statements[ST_MESSAGE];
    bind_int(stmt, 1, (int64_t)journal);
    bind_text(stmt, 2, op->name);
    bind_body(stmt, 3, op->n_parts > 0 ? op->parts[0] : body_bytes(op->body));
    bind_int(stmt, 4, op->qos);
    bind_int(stmt, 5, op->retain);
    bind_int(stmt, 6, (int64_t)sink);
    bind_expiry(db, stmt, 7, op->expires_ms);
}

static int write_delivery(struct store_db *db, const struct store_op *op)
{
    static const char *const phases[] = {
        [SN_KEPT_WAITING] = "waiting", [SN_KEPT_SENT] = "sent", [SN_KEPT_RECEIVED] = "received"};
    sqlite3_stmt *const stmt = db->statements[ST_DELIVERY];

    /* Only within a resync a journalled message comes with its text: the database may have been
     * begun anew. */
    if (op->other != 0 && op->name.len > 0) {
        bind_message(db, op->other, 0, op);
        const int rc = run(db, ST_MESSAGE);
        if (rc != SQLITE_OK)
            return rc;
    }
    bind_int(stmt, 1, (int64_t)op->client);
    bind_int(stmt, 2, (int64_t)op->key);
    if (op->other != 0) {
        bind_int(stmt, 3, (int64_t)op->other);
        sqlite3_bind_null(stmt, 4);
        sqlite3_bind_null(stmt, 5);
    } else {
        sqlite3_bind_null(stmt, 3);
        bind_text(stmt, 4, op->name);
        bind_body(stmt, 5, body_bytes(op->body));
    }
    bind_int(stmt, 6, op->qos);
    bind_int(stmt, 7, op->retain);
    bind_word(stmt, 8, phases[op->which]);
    bind_int(stmt, 9, op->number[0]);
    bind_expiry(db, stmt, 10, op->other == 0 ? op->expires_ms : 0);
    return done(stmt);
}

static int write_delivery_gone(struct store_db *db, const struct store_op *op)
{
    return run_client_key(db, ST_DELIVERY_GONE, op);
}

/* ---- the shared session's and the spool's ---------------------------------------------------- */

static int write_subscription(struct store_db *db, const struct store_op *op)
{
    sqlite3_stmt *const stmt = db->statements[ST_SUBSCRIPTION];
    bind_int(stmt, 1, (int64_t)op->client);
    bind_text(stmt, 2, op->name);
    bind_int(stmt, 3, op->qos);
    return done(stmt);
}

static int write_subscription_gone(struct store_db *db, const struct store_op *op)
{
    sqlite3_stmt *const stmt = db->statements[ST_SUBSCRIPTION_GONE];
    bind_int(stmt, 1, (int64_t)op->client);
    bind_text(stmt, 2, op->name);
    return done(stmt);
}

static int write_spool(struct store_db *db, const struct store_op *op)
{
    sqlite3_stmt *const stmt = db->statements[ST_SPOOL];
    bind_int(stmt, 1, (int64_t)op->key);
    bind_int(stmt, 2, (int64_t)op->client);
    bind_text(stmt, 3, op->name);
    bind_body(stmt, 4, body_bytes(op->body));
    bind_int(stmt, 5, op->qos);
    bind_int(stmt, 6, op->retain);
    bind_int(stmt, 7, op->flag);
    bind_int(stmt, 8, db->write_clock_ms);
    bind_body(stmt, 9, body_origin(op->body));
    db->spool_used = true;
    return done(stmt);
}

static int write_spool_gone(struct store_db *db, const struct store_op *op)
{
    bind_int(db->statements[ST_SPOOL_GONE], 1, (int64_t)op->key);
    const int rc = run(db, ST_SPOOL_GONE);
    if (rc != SQLITE_OK || op->other == 0)
        return rc;
    bind_int(db->statements[ST_SENDING_GONE], 1, (int64_t)op->other);
    return run(db, ST_SENDING_GONE);
}

static int write_routed(struct store_db *db, const struct store_op *op)
{
    bind_int(db->statements[ST_ROUTED], 1, (int64_t)op->key);
    return run(db, ST_ROUTED);
}

/* ---- the store's own ------------------------------------------------------------------------- */

static int write_message(struct store_db *db, const struct store_op *op)
{
    bind_message(db, op->key, op->client, op);
    return run(db, ST_MESSAGE);
}

static int write_packet_gone(struct store_db *db, const struct store_op *op)
{
    bind_text(db->statements[ST_PACKET_GONE], 1, op->name);
    return run(db, ST_PACKET_GONE);
}

static int bind_packet(struct store_db *db, const struct store_op *op, const void *data, size_t len)
{
    sqlite3_stmt *const stmt = db->statements[ST_PACKET];
    bind_text(stmt, 1, op->name);
    sqlite3_bind_blob64(stmt, 2, len > 0 ? data : "", len, SQLITE_STATIC);
    const int rc = done(stmt);
    sqlite3_bind_null(stmt, 2);
    return rc;
}

static int write_packet(struct store_db *db, const struct store_op *op)
{
    const struct bytes whole = body_bytes(op->body);
    if (op->n_parts == 0)
        return bind_packet(db, op, whole.data, whole.len);
    size_t len = 0;
    for (size_t i = 0; i < op->n_parts; i++)
        len += op->parts[i].len;
    uint8_t *const data = malloc(len + 1);
    if (data == NULL)
        return SQLITE_NOMEM;
    struct writer w = wr_to(data, len);
    for (size_t i = 0; i < op->n_parts; i++)
        wr_bytes(&w, op->parts[i]);
    const int rc = bind_packet(db, op, data, len);
    free(data);
    return rc;
}

static int write_packets_clear(struct store_db *db, const struct store_op *op)
{
    char keys[STORE_KEY_MAX];
    store_key_glob(op->key, keys);
    bind_text(db->statements[ST_PACKETS_CLEAR], 1, bytes_str(keys));
    const int rc = run(db, ST_PACKETS_CLEAR);
    bind_int(db->statements[ST_SENDING_CLEAR], 1, (int64_t)op->key);
    return rc == SQLITE_OK ? run(db, ST_SENDING_CLEAR) : rc;
}

static int write_sending(struct store_db *db, const struct store_op *op)
{
    bind_int(db->statements[ST_SENDING], 1, (int64_t)op->key);
    bind_int(db->statements[ST_SENDING], 2, (int64_t)op->other);
    return run(db, ST_SENDING);
}

static int write_sending_gone(struct store_db *db, const struct store_op *op)
{
    bind_int(db->statements[ST_SENDING_GONE], 1, (int64_t)op->key);
    return run(db, ST_SENDING_GONE);
}

static int write_sink(struct store_db *db, const struct store_op *op)
{
    sqlite3_stmt *const stmt = db->statements[ST_SINK];
    bind_int(stmt, 1, (int64_t)op->key);
    bind_text(stmt, 2, op->name);
    if (op->other_name.len > 0)
        bind_text(stmt, 3, op->other_name);
    else
        sqlite3_bind_null(stmt, 3);
    return done(stmt);
}

static int write_sink_gone(struct store_db *db, const struct store_op *op)
{
    bind_int(db->statements[ST_SINK_GONE], 1, (int64_t)op->key);
    return run(db, ST_SINK_GONE);
}

/* The messages stay: deliveries to come refer to them. What is with nobody goes at the end. */
static int write_resync(struct store_db *db, const struct store_op *op)
{
    (void)op;
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    const int rc = sqlite3_exec(db->sql,
                                "DELETE FROM session; DELETE FROM topic; DELETE FROM exchange;"
                                "DELETE FROM subscription; DELETE FROM delivery;"
                                "UPDATE message SET refs = 0 WHERE refs <> 0",
                                NULL, NULL, NULL);
    sqlite3_db_config(db->sql, SQLITE_DBCONFIG_ENABLE_TRIGGER, 1, NULL);
    return rc;
}

static int write_resync_end(struct store_db *db, const struct store_op *op)
{
    bind_int(db->statements[ST_SWEEP], 1, (int64_t)op->other);
    return run(db, ST_SWEEP);
}

static int (*const write_op[OP_COUNT])(struct store_db *db, const struct store_op *op) = {
    [SN_REC_SESSION] = write_session,
    [SN_REC_SESSION_GONE] = write_session_gone,
    [SN_REC_TOPIC] = write_topic,
    [SN_REC_TOPIC_GONE] = write_topic_gone,
    [SN_REC_EXCHANGE] = write_exchange,
    [SN_REC_EXCHANGE_GONE] = write_exchange_gone,
    [SN_REC_DELIVERY] = write_delivery,
    [SN_REC_DELIVERY_GONE] = write_delivery_gone,
    [SN_REC_SUBSCRIPTION] = write_subscription,
    [SN_REC_SUBSCRIPTION_GONE] = write_subscription_gone,
    [SN_REC_SPOOL] = write_spool,
    [SN_REC_SPOOL_GONE] = write_spool_gone,
    [SN_REC_ROUTED] = write_routed,
    [OP_RESYNC] = write_resync,
    [OP_RESYNC_END] = write_resync_end,
    [OP_MESSAGE] = write_message,
    [OP_PACKET_PUT] = write_packet,
    [OP_PACKET_REMOVE] = write_packet_gone,
    [OP_PACKETS_CLEAR] = write_packets_clear,
    [OP_SENDING] = write_sending,
    [OP_MESSAGE_REFUSED] = write_routed,
    [OP_SENDING_GONE] = write_sending_gone,
    [OP_SINK] = write_sink,
    [OP_SINK_GONE] = write_sink_gone,
};

/* ---- the transaction ------------------------------------------------------------------------- */

static int write_one(struct store_db *db, const struct store_op *op, uint64_t *written)
{
    ++*written;
    return write_op[op->kind](db, op);
}

/* ROUTED asks who has the message: after all DELIVERY rows of its batch, wherever they stand. */
static int write_all(struct store_db *db, const struct store_ops *ops, uint64_t *written)
{
    const struct store_op *first_routed = NULL;
    int rc = SQLITE_OK;

    for (const struct store_op *op = ops->first; rc == SQLITE_OK && op != NULL; op = op->next) {
        __builtin_prefetch(op->next);
        if (op->skip)
            continue;
        if (op->kind != SN_REC_ROUTED)
            rc = write_one(db, op, written);
        else if (first_routed == NULL)
            first_routed = op;
    }
    for (const struct store_op *op = first_routed; rc == SQLITE_OK && op != NULL; op = op->next) {
        if (!op->skip && op->kind == SN_REC_ROUTED)
            rc = write_one(db, op, written);
    }
    return rc;
}

static int write_clock(struct store_db *db)
{
    bind_int(db->statements[ST_CLOCK], 1, db->write_clock_ms);
    const int rc = run(db, ST_CLOCK);
    if (rc == SQLITE_OK)
        db->clock_stored_ms = db->write_clock_ms;
    return rc;
}

static int write_mark(struct store_db *db, struct store_mark *mark)
{
    uint8_t text[INTENT_ID_BYTES + 8];
    struct writer w = wr_to(text, sizeof text);
    wr_bytes(&w, bytes_of(mark->at.id, INTENT_ID_BYTES));
    wr_u32(&w, (uint32_t)(mark->at.seq >> 32));
    wr_u32(&w, (uint32_t)mark->at.seq);
    sqlite3_stmt *const stmt = db->statements[ST_MARK];
    sqlite3_bind_blob(stmt, 1, text, (int)wr_close(&w), SQLITE_TRANSIENT);
    mark->stored = true;
    return done(stmt);
}

static int end(struct store_db *db, int rc)
{
    if (rc == SQLITE_OK)
        rc = run(db, ST_COMMIT);
    if (rc != SQLITE_OK && sqlite3_get_autocommit(db->sql) == 0)
        run(db, ST_ROLLBACK);
    return rc;
}

/* What has changed nothing may happen again, so it is no reason to write the mark. */
int store_db_preview(struct store_db *db, struct store_ops *ops)
{
    uint64_t written = 0;
    store_ops_coalesce(ops, db->seed);
    db->write_clock_ms = store_clock_ms(db);
    int rc = sqlite3_exec(db->sql, "PRAGMA cache_spill = OFF", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = run(db, ST_BEGIN);
    return rc == SQLITE_OK ? write_all(db, ops, &written) : rc;
}

int store_db_write(struct store_db *db, struct store_ops *ops, struct store_mark *mark,
                   uint64_t *written)
{
    *written = 0;
    mark->stored = false;
    if (db->sql == NULL)
        return SQLITE_CANTOPEN;
    store_ops_coalesce(ops, db->seed);
    db->write_clock_ms = store_clock_ms(db);
    int rc = run(db, ST_BEGIN);
    const int64_t before = sqlite3_total_changes64(db->sql);
    if (rc == SQLITE_OK)
        rc = write_all(db, ops, written);
    const bool changed = sqlite3_total_changes64(db->sql) != before;
    if (rc == SQLITE_OK && changed && db->spool_used &&
        db->write_clock_ms - db->clock_stored_ms > CLOCK_EVERY_MS)
        rc = write_clock(db);
    if (rc == SQLITE_OK && changed)
        rc = store_expiry_keep(db, false);
    if (rc == SQLITE_OK && mark->kind == MARK_GONE)
        rc = run(db, ST_MARK_GONE);
    else if (rc == SQLITE_OK && (mark->kind == MARK_NEW || (mark->kind == MARK_AT && changed)))
        rc = write_mark(db, mark);
    return end(db, rc);
}

int store_db_probe(struct store_db *db)
{
    if (db->sql == NULL)
        return SQLITE_CANTOPEN;
    db->write_clock_ms = store_clock_ms(db);
    int rc = run(db, ST_BEGIN);
    if (rc == SQLITE_OK)
        rc = write_clock(db);
    return end(db, rc);
}

void store_db_keep_clock(struct store_db *db)
{
    sqlite3_stmt *stmt = NULL;
    bool any = false;
    if (sqlite3_prepare_v2(db->sql, "SELECT 1 FROM spool LIMIT 1", -1, &stmt, NULL) == SQLITE_OK)
        any = sqlite3_step(stmt) == SQLITE_ROW;
    sqlite3_finalize(stmt);
    if (any)
        store_db_probe(db);
    if (db->expires)
        store_expiry_keep(db, true);
}

int store_db_checkpoint(struct store_db *db)
{
    int left = 0;
    int copied = 0;
    const int rc =
        sqlite3_wal_checkpoint_v2(db->sql, NULL, SQLITE_CHECKPOINT_PASSIVE, &left, &copied);
    /* A reader (somebody's sqlite3) is in the way: next time. */
    return rc == SQLITE_BUSY ? SQLITE_OK : rc;
}

static bool ask_pages(struct store_db *db, enum store_statement which, uint64_t *out)
{
    sqlite3_stmt *const stmt = db->statements[which];
    const bool ok = sqlite3_step(stmt) == SQLITE_ROW;
    *out = ok ? (uint64_t)sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_reset(stmt);
    return ok;
}

uint64_t store_db_used(struct store_db *db, uint64_t *file_bytes)
{
    enum { FRAME_BYTES = STORE_PAGE_BYTES + 24 };

    uint64_t pages = 0;
    uint64_t unused = 0;
    if (db->sql == NULL || !ask_pages(db, ST_PAGES, &pages) ||
        !ask_pages(db, ST_FREE_PAGES, &unused))
        return 0;
    *file_bytes = pages * STORE_PAGE_BYTES + (uint64_t)db->wal_frames * FRAME_BYTES;
    return (pages - unused) * STORE_PAGE_BYTES;
}
