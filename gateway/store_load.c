/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows to records. All tables but the spool are read side by side, in the order of their keys. The
 * file may have been edited, so numbers out of their range and rows that belong to nobody are left
 * out and counted. It is read twice, for nobody at first: half of what was stored is worse than none
 * of it, and where it can't be read is found out in the middle.
 */
#include <stdlib.h>
#include <string.h>

#include "store_priv.h"

/* ---- columns --------------------------------------------------------------------------------- */

struct row {
    sqlite3_stmt *stmt;
    bool bad; /* a value out of its range */
};

static uint64_t number_at(struct row *r, int at, uint64_t max)
{
    const int64_t value = sqlite3_column_int64(r->stmt, at);
    if (value < 0 || (uint64_t)value > max)
        r->bad = true;
    return r->bad ? 0 : (uint64_t)value;
}

static uint16_t u16_at(struct row *r, int at)
{
    return (uint16_t)number_at(r, at, UINT16_MAX);
}

static uint64_t key_at(struct row *r, int at)
{
    return number_at(r, at, INT64_MAX);
}

static uint8_t qos_at(struct row *r, int at)
{
    return (uint8_t)number_at(r, at, 2);
}

static bool flag_at(struct row *r, int at)
{
    return number_at(r, at, 1) != 0;
}

/* Valid until the next row. */
static struct bytes text_at(struct row *r, int at)
{
    const void *const data = sqlite3_column_text(r->stmt, at);
    const size_t len = (size_t)sqlite3_column_bytes(r->stmt, at);
    if (len > UINT16_MAX)
        r->bad = true;
    return r->bad || data == NULL ? bytes_of(NULL, 0) : bytes_of(data, len);
}

static struct bytes blob_at(struct row *r, int at)
{
    const void *const data = sqlite3_column_blob(r->stmt, at);
    return data != NULL ? bytes_of(data, (size_t)sqlite3_column_bytes(r->stmt, at))
                        : bytes_of(NULL, 0);
}

static unsigned word_at(struct row *r, int at, const char *const *words, unsigned n)
{
    const char *const word = (const char *)sqlite3_column_text(r->stmt, at);
    for (unsigned i = 0; word != NULL && i < n; i++)
        if (strcmp(word, words[i]) == 0)
            return i;
    r->bad = true;
    return 0;
}

/* NULL for an empty one. False: out of memory. */
static bool body_at(struct row *r, int at, struct body **out)
{
    const struct bytes content = blob_at(r, at);
    *out = content.len > 0 ? body_new(content) : NULL;
    return content.len == 0 || *out != NULL;
}

/* ---- tables side by side --------------------------------------------------------------------- */

/* Tables that belong to sessions, and so are read side by side. */
enum { TABLES = STORE_DELIVERIES + 1 };

static const char *const selects[TABLES] = {
    [STORE_SESSIONS] =
        "SELECT client, client_id, state, clean, keep_alive_s, sleep_s, next_msg_id, link,"
        " address_kind, address, path, will_topic, will_body, will_qos, will_retain, connection"
        " FROM session ORDER BY client",
    [STORE_TOPICS] =
        "SELECT client, topic_id, name, alias, kind, given, known_in, refused_in FROM topic"
        " ORDER BY client, topic_id",
    [STORE_EXCHANGES] =
        "SELECT client, msg_id, topic_id, print FROM exchange ORDER BY client, msg_id",
    [STORE_SUBSCRIPTIONS] = "SELECT client, filter, qos FROM subscription ORDER BY client, filter",
    [STORE_DELIVERIES] = "SELECT client, number, journal, topic, body, qos, retain, phase, msg_id,"
                         " expires_ms FROM delivery ORDER BY client, number",
};

/* A message from the broker; those that deliveries refer to are shared by them. */
struct kept_message {
    uint64_t journal;
    uint64_t sink;
    char *topic;
    size_t topic_len;
    struct body *body;
    int64_t expires_ms;
    uint8_t qos;
    bool retain;
    bool routed;
};

struct load {
    struct store *s;
    const struct store_visitor *visitor;
    struct row tables[TABLES];
    bool more[TABLES];
    struct kept_message *messages; /* ascending */
    size_t n_messages;
    struct store_backlog spool; /* what waits in it */
    int code;                   /* of SQLite, with -EIO */
    bool giving;
    int64_t forgotten; /* the last one that was */
    uint64_t left_out[STORE_TABLES];
};

static int table_of(const struct load *l, const struct row *r)
{
    return (int)(r - l->tables);
}

/* 0 or -EIO. */
static int next(struct load *l, int table)
{
    const int rc = sqlite3_step(l->tables[table].stmt);
    l->more[table] = rc == SQLITE_ROW;
    l->tables[table].bad = false;
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : -EIO;
}

static int begin(struct load *l)
{
    for (int i = 0; i < TABLES; i++) {
        if (sqlite3_prepare_v2(l->s->db.sql, selects[i], -1, &l->tables[i].stmt, NULL) != SQLITE_OK)
            return -EIO;
        const int rc = next(l, i);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* ---- one record each ------------------------------------------------------------------------- */

static bool link_number(const struct store_db *db, struct bytes name, uint16_t *out)
{
    for (size_t i = 0; i < db->n_links; i++) {
        if (bytes_equal(name, bytes_str(db->links[i]))) {
            *out = (uint16_t)i;
            return true;
        }
    }
    return false;
}

/* NULL when the link is no more, or the address is none. */
static const struct peer *peer_of(struct load *l, struct row *r, struct peer_room *room)
{
    static const char *const kinds[] = {"ip4", "ip6", "eui64", "short", "serial", "group"};
    static const size_t lengths[] = {6, 22, 8, 2, 0, 1};
    uint16_t link = 0;

    if (sqlite3_column_type(r->stmt, 7) == SQLITE_NULL ||
        !link_number(&l->s->db, text_at(r, 7), &link))
        return NULL;
    const unsigned kind = word_at(r, 8, kinds, sizeof kinds / sizeof kinds[0]);
    const struct bytes addr = blob_at(r, 9);
    if (r->bad || addr.len != lengths[kind])
        return NULL;
    peer_make(room, link, (enum peer_kind)(kind + PEER_IP4), addr);
    struct reader path = rd_of(blob_at(r, 10));
    while (rd_left(&path) > 0) {
        const struct bytes node = rd_bytes(&path, rd_u8(&path));
        if (path.failed || !peer_push_node(room, node))
            return NULL;
    }
    return peer_in(room);
}

/* No session has this key: it may be given to another one, which must not find rows under it. */
static void forget(struct load *l, int64_t client)
{
    const struct sn_record gone = {.type = SN_REC_SESSION_GONE, .client = (uint64_t)client};
    if (l->giving && client != l->forgotten)
        store_put(l->s, &gone);
    l->forgotten = client;
}

static int give(struct load *l, struct row *r, const struct sn_record *record)
{
    if (r->bad) {
        l->left_out[table_of(l, r)]++;
        return 0;
    }
    return l->visitor->record(l->visitor->owner, record);
}

static int give_session(struct load *l, struct row *r)
{
    static const char *const states[] = {"away", "active", "asleep"};
    struct peer_room room;
    struct body *body = NULL;
    struct sn_record record = {.type = SN_REC_SESSION, .client = key_at(r, 0)};

    record.session.client_id = text_at(r, 1);
    record.session.state = (enum sn_kept_state)word_at(r, 2, states, 3);
    record.session.clean = flag_at(r, 3);
    record.session.keep_alive_s = u16_at(r, 4);
    record.session.sleep_s = u16_at(r, 5);
    record.session.next_msg_id = u16_at(r, 6);
    record.session.connection = u16_at(r, 15);
    const bool sound = !r->bad;
    record.session.peer = peer_of(l, r, &room);
    r->bad = !sound; /* an address that is none does not cost the session */
    if (sqlite3_column_type(r->stmt, 11) != SQLITE_NULL) {
        record.session.will.topic = text_at(r, 11);
        if (!body_at(r, 12, &body))
            return -ENOMEM;
        record.session.will.body = body;
        record.session.will.qos = qos_at(r, 13);
        record.session.will.retain = flag_at(r, 14);
    }
    const int rc = give(l, r, &record);
    body_unref(body);
    return rc;
}

static int give_topic(struct load *l, struct row *r)
{
    struct sn_record record = {.type = SN_REC_TOPIC, .client = key_at(r, 0)};
    record.topic.topic_id = u16_at(r, 1);
    record.topic.name = text_at(r, 2);
    record.topic.alias = u16_at(r, 3);
    record.topic.kind = (uint8_t)number_at(r, 4, UINT8_MAX);
    record.topic.given = flag_at(r, 5);
    record.topic.known_in = u16_at(r, 6);
    record.topic.refused_in = u16_at(r, 7);
    return give(l, r, &record);
}

static int give_exchange(struct load *l, struct row *r)
{
    struct sn_record record = {.type = SN_REC_EXCHANGE, .client = key_at(r, 0)};
    record.exchange.msg_id = u16_at(r, 1);
    record.exchange.topic_id = u16_at(r, 2);
    record.exchange.print = (uint64_t)sqlite3_column_int64(r->stmt, 3);
    return give(l, r, &record);
}

static int give_subscription(struct load *l, struct row *r)
{
    struct sn_record record = {.type = SN_REC_SUBSCRIPTION, .client = key_at(r, 0)};
    record.subscription.filter = text_at(r, 1);
    record.subscription.qos = qos_at(r, 2);
    return give(l, r, &record);
}

static int by_journal(const void *key, const void *element)
{
    const uint64_t journal = *(const uint64_t *)key;
    const struct kept_message *const m = element;
    return journal < m->journal ? -1 : journal > m->journal ? 1 : 0;
}

/* NULL is 0. */
static int64_t expiry_at(const struct load *l, struct row *r, int at)
{
    const int64_t ms = store_expiry_loaded(&l->s->db, (int64_t)number_at(r, at, INT64_MAX));
    l->s->db.expires = l->s->db.expires || ms != 0;
    return ms;
}

static int give_delivery(struct load *l, struct row *r)
{
    static const char *const phases[] = {"waiting", "sent", "received"};
    struct body *body = NULL;
    struct sn_record record = {.type = SN_REC_DELIVERY, .client = key_at(r, 0)};

    record.delivery.number = key_at(r, 1);
    record.delivery.journal = key_at(r, 2); /* 0 of NULL */
    record.delivery.qos = qos_at(r, 5);
    record.delivery.retain = flag_at(r, 6);
    record.delivery.phase = (enum sn_kept_phase)word_at(r, 7, phases, 3);
    record.delivery.msg_id = u16_at(r, 8);
    if (record.delivery.journal != 0) {
        struct kept_message *const m =
            l->n_messages == 0 ? NULL
                               : bsearch(&record.delivery.journal, l->messages, l->n_messages,
                                         sizeof *l->messages, by_journal);
        r->bad = r->bad || m == NULL;
        if (m != NULL) {
            m->routed = true;
            record.delivery.topic = bytes_of(m->topic, m->topic_len);
            record.delivery.body = m->body;
            record.delivery.expires_ms = m->expires_ms;
        }
    } else {
        record.delivery.topic = text_at(r, 3);
        if (!body_at(r, 4, &body))
            return -ENOMEM;
        record.delivery.body = body;
        record.delivery.expires_ms = expiry_at(l, r, 9);
    }
    /* Once it has been received, only PUBREL is left to be sent. */
    r->bad =
        r->bad || (record.delivery.topic.len == 0 && record.delivery.phase != SN_KEPT_RECEIVED);
    const int rc = give(l, r, &record);
    body_unref(body);
    return rc;
}

/* ---- sessions with what is theirs ------------------------------------------------------------ */

static void leave_out(struct load *l, int table)
{
    l->left_out[table]++;
    forget(l, sqlite3_column_int64(l->tables[table].stmt, 0));
}

/* All rows of the table up to this client; what belongs to nobody is left out. */
static int give_until(struct load *l, int table, int64_t client,
                      int (*give_row)(struct load *l, struct row *r))
{
    struct row *const r = &l->tables[table];
    int rc = 0;
    while (rc == 0 && l->more[table] && sqlite3_column_int64(r->stmt, 0) <= client) {
        if (sqlite3_column_int64(r->stmt, 0) == client)
            rc = give_row(l, r);
        else
            leave_out(l, table);
        if (rc == 0)
            rc = next(l, table);
    }
    return rc;
}

static int give_sessions(struct load *l)
{
    int rc = 0;
    while (rc == 0 && l->more[STORE_SESSIONS]) {
        struct row *const r = &l->tables[STORE_SESSIONS];
        const int64_t client = sqlite3_column_int64(r->stmt, 0);
        const uint64_t before = l->left_out[STORE_SESSIONS];
        rc = give_session(l, r);
        /* Nothing of a session that could not be read. */
        const bool sound = l->left_out[STORE_SESSIONS] == before;
        const int64_t of = sound ? client : client - 1;
        if (!sound)
            forget(l, client);
        if (rc == 0)
            rc = give_until(l, STORE_TOPICS, of, give_topic);
        if (rc == 0)
            rc = give_until(l, STORE_EXCHANGES, of, give_exchange);
        if (rc == 0)
            rc = give_until(l, STORE_SUBSCRIPTIONS, of, give_subscription);
        if (rc == 0)
            rc = give_until(l, STORE_DELIVERIES, of, give_delivery);
        if (rc == 0)
            rc = next(l, STORE_SESSIONS);
    }
    for (int table = STORE_TOPICS; table < TABLES; table++) {
        while (rc == 0 && l->more[table]) {
            leave_out(l, table);
            rc = next(l, table);
        }
    }
    return rc;
}

/* ---- messages from the broker ---------------------------------------------------------------- */

static int take_message(const struct load *l, struct row *r, struct kept_message *m)
{
    const struct bytes topic = text_at(r, 1);
    *m = (struct kept_message){.journal = key_at(r, 0),
                               .topic_len = topic.len,
                               .qos = qos_at(r, 3),
                               .retain = flag_at(r, 4),
                               .sink = key_at(r, 5),
                               .expires_ms = expiry_at(l, r, 6)};
    if (r->bad || topic.len == 0)
        return 0;
    m->topic = malloc(topic.len);
    if (m->topic == NULL || !body_at(r, 2, &m->body)) {
        free(m->topic);
        return -ENOMEM;
    }
    memcpy(m->topic, topic.data, topic.len);
    return 0;
}

static int read_messages(struct load *l)
{
    struct row r = {.stmt = NULL};
    size_t cap = 0;
    int rc = 0;

    if (sqlite3_prepare_v2(l->s->db.sql,
                           "SELECT journal, topic, body, qos, retain, ifnull(sink, 0), expires_ms"
                           " FROM message ORDER BY journal",
                           -1, &r.stmt, NULL) != SQLITE_OK)
        return -EIO;
    int step = SQLITE_ROW;
    while (rc == 0 && (step = sqlite3_step(r.stmt)) == SQLITE_ROW) {
        if (l->n_messages == cap) {
            cap = cap == 0 ? 64 : 2 * cap;
            struct kept_message *const more = reallocarray(l->messages, cap, sizeof *more);
            rc = more != NULL ? 0 : -ENOMEM;
            l->messages = more != NULL ? more : l->messages;
        }
        r.bad = false;
        if (rc == 0)
            rc = take_message(l, &r, &l->messages[l->n_messages]);
        if (rc == 0 && l->messages[l->n_messages].topic != NULL)
            l->n_messages++;
        else
            l->left_out[STORE_MESSAGES]++;
    }
    sqlite3_finalize(r.stmt);
    return rc == 0 && step != SQLITE_DONE ? -EIO : rc;
}

/* What has expired has a second: who gets it decides. */
static uint32_t left_s(int64_t expires_ms)
{
    const int64_t ms = expires_ms - store_now_ms();
    if (expires_ms == 0)
        return 0;
    return ms <= 1000 ? 1 : ms / 1000 >= UINT32_MAX ? UINT32_MAX : (uint32_t)((ms + 999) / 1000);
}

static int give_messages(struct load *l)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->n_messages; i++) {
        const struct kept_message *const m = &l->messages[i];
        if (m->routed)
            continue;
        const struct store_unrouted unrouted = {.journal = m->journal,
                                                .sink = m->sink,
                                                .topic = bytes_of(m->topic, m->topic_len),
                                                .body = m->body,
                                                .qos = m->qos,
                                                .retain = m->retain,
                                                .expiry_s = left_s(m->expires_ms)};
        rc = l->visitor->message(l->visitor->owner, &unrouted);
    }
    return rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int for_nobody(void *owner, const struct sn_record *record)
{
    (void)owner;
    (void)record;
    return 0;
}

static void end_tables(struct load *l)
{
    for (int i = 0; i < TABLES; i++) {
        sqlite3_finalize(l->tables[i].stmt);
        l->tables[i].stmt = NULL;
    }
}

static int read_all(struct load *l)
{
    static const struct store_visitor nobody = {.record = for_nobody};
    const struct store_visitor *const visitor = l->visitor;
    int rc = read_messages(l);
    l->visitor = &nobody;
    if (rc == 0)
        rc = begin(l);
    if (rc == 0)
        rc = give_sessions(l);
    if (rc == 0)
        rc = store_backlog_read(l->s, &l->spool);
    if (rc == -EIO)
        l->code = sqlite3_extended_errcode(l->s->db.sql);
    end_tables(l);
    l->visitor = visitor;
    return rc;
}

static int give_all(struct load *l)
{
    memset(l->left_out, 0, sizeof l->left_out[0] * TABLES);
    l->giving = true;
    int rc = begin(l);
    if (rc == 0)
        rc = give_sessions(l);
    if (rc == 0)
        rc = give_messages(l);
    return rc == 0 ? store_backlog_give(&l->spool, l->visitor) : rc;
}

static void end(struct load *l)
{
    end_tables(l);
    for (size_t i = 0; i < l->n_messages; i++) {
        free(l->messages[i].topic);
        body_unref(l->messages[i].body);
    }
    free(l->messages);
    store_backlog_deinit(&l->spool);
}

static void init(struct load *l, struct store *s, const struct store_visitor *visitor)
{
    *l = (struct load){.s = s, .visitor = visitor};
    hmap_init(&l->spool.clients);
}

/* What can't be read is not there: in place of a damaged file there is another one now, or the store
 * fails. */
static int load(struct load *l)
{
    struct store *const s = l->s;
    const struct store_visitor *const visitor = l->visitor;
    int rc = s->db.sql != NULL ? read_all(l) : 0;
    for (int again = 0; rc == -EIO && again < 2; again++) {
        const int code = l->code != SQLITE_OK ? l->code : SQLITE_IOERR;
        end(l);
        init(l, s, visitor);
        if (code == SQLITE_NOMEM)
            return -ENOMEM;
        rc = store_begin_unread(s, code) ? read_all(l) : 0;
    }
    if (rc != 0)
        return rc;
    return s->db.sql != NULL ? give_all(l) : store_backlog_give(&l->spool, l->visitor);
}

int store_load(struct store *s, const struct store_visitor *visitor)
{
    struct load l;
    init(&l, s, visitor);
    pthread_mutex_lock(&s->lock);
    store_take_db(s);
    pthread_mutex_unlock(&s->lock);
    const int rc = load(&l);
    if (rc == 0 && s->db.sql != NULL && s->db.expires && s->db.expiry_kept_ms < 0)
        store_db_keep_clock(&s->db);
    end(&l); /* before somebody else closes the database: it would stay open with a statement of ours */
    pthread_mutex_lock(&s->lock);
    memcpy(s->left_out, l.left_out, sizeof s->left_out);
    store_release_db(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}
