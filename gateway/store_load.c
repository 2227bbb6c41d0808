/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows to records. All tables but the spool are read side by side, in the order of their keys: one
 * pass each. The file may have been edited, so numbers out of their range and rows that belong to
 * nobody are left out and counted.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hmap.h"
#include "base/list.h"

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

enum { SESSIONS, TOPICS, EXCHANGES, SUBSCRIPTIONS, DELIVERIES, TABLES };

static const char *const selects[TABLES] = {
    [SESSIONS] =
        "SELECT client, client_id, state, clean, keep_alive_s, sleep_s, next_msg_id, link,"
        " address_kind, address, path, will_topic, will_body, will_qos, will_retain, connection"
        " FROM session ORDER BY client",
    [TOPICS] = "SELECT client, topic_id, name, alias, kind, given, known_in, refused_in FROM topic"
               " ORDER BY client, topic_id",
    [EXCHANGES] = "SELECT client, msg_id, topic_id, print FROM exchange ORDER BY client, msg_id",
    [SUBSCRIPTIONS] = "SELECT client, filter, qos FROM subscription ORDER BY client, filter",
    [DELIVERIES] = "SELECT client, number, journal, topic, body, qos, retain, phase, msg_id"
                   " FROM delivery ORDER BY client, number",
};

/* A message from the broker; those that deliveries refer to are shared by them. */
struct kept_message {
    uint64_t journal;
    char *topic;
    size_t topic_len;
    struct body *body;
    uint8_t qos;
    bool retain;
    bool routed;
};

struct backlog {
    struct hmap_node node;
    uint64_t client;
    uint64_t n;
    uint64_t bytes;
};

struct load {
    struct store *s;
    const struct store_visitor *visitor;
    struct row tables[TABLES];
    bool more[TABLES];
    struct kept_message *messages; /* ascending */
    size_t n_messages;
    struct hmap backlogs;
    uint64_t last_number;
    uint64_t left_out;
};

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

static int give(struct load *l, struct row *r, const struct sn_record *record)
{
    if (r->bad) {
        l->left_out++;
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
        }
    } else {
        record.delivery.topic = text_at(r, 3);
        if (!body_at(r, 4, &body))
            return -ENOMEM;
        record.delivery.body = body;
    }
    /* Once it has been received, only PUBREL is left to be sent. */
    r->bad =
        r->bad || (record.delivery.topic.len == 0 && record.delivery.phase != SN_KEPT_RECEIVED);
    const int rc = give(l, r, &record);
    body_unref(body);
    return rc;
}

/* ---- sessions with what is theirs ------------------------------------------------------------ */

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
            l->left_out++;
        if (rc == 0)
            rc = next(l, table);
    }
    return rc;
}

static int give_sessions(struct load *l)
{
    int rc = 0;
    while (rc == 0 && l->more[SESSIONS]) {
        struct row *const r = &l->tables[SESSIONS];
        const int64_t client = sqlite3_column_int64(r->stmt, 0);
        const uint64_t before = l->left_out;
        rc = give_session(l, r);
        /* Nothing of a session that could not be read. */
        const int64_t of = l->left_out == before ? client : client - 1;
        if (rc == 0)
            rc = give_until(l, TOPICS, of, give_topic);
        if (rc == 0)
            rc = give_until(l, EXCHANGES, of, give_exchange);
        if (rc == 0)
            rc = give_until(l, SUBSCRIPTIONS, of, give_subscription);
        if (rc == 0)
            rc = give_until(l, DELIVERIES, of, give_delivery);
        if (rc == 0)
            rc = next(l, SESSIONS);
    }
    return rc;
}

/* ---- messages from the broker ---------------------------------------------------------------- */

static int take_message(struct row *r, struct kept_message *m)
{
    const struct bytes topic = text_at(r, 1);
    *m = (struct kept_message){.journal = key_at(r, 0),
                               .topic_len = topic.len,
                               .qos = qos_at(r, 3),
                               .retain = flag_at(r, 4)};
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
                           "SELECT journal, topic, body, qos, retain FROM message ORDER BY journal",
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
            rc = take_message(&r, &l->messages[l->n_messages]);
        if (rc == 0 && l->messages[l->n_messages].topic != NULL)
            l->n_messages++;
        else
            l->left_out++;
    }
    sqlite3_finalize(r.stmt);
    return rc == 0 && step != SQLITE_DONE ? -EIO : rc;
}

static int give_messages(struct load *l)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < l->n_messages; i++) {
        const struct kept_message *const m = &l->messages[i];
        if (m->routed)
            continue;
        rc = l->visitor->message(l->visitor->owner, m->journal, bytes_of(m->topic, m->topic_len),
                                 m->body, m->qos, m->retain);
    }
    return rc;
}

/* ---- the spool ------------------------------------------------------------------------------- */

static struct backlog *backlog_of(struct load *l, uint64_t client)
{
    const uint64_t hash = client * 0x9E3779B97F4A7C15U;
    for (struct hmap_node *n = hmap_first(&l->backlogs, hash); n != NULL; n = hmap_next(n)) {
        struct backlog *const b = container_of(n, struct backlog, node);
        if (b->client == client)
            return b;
    }
    struct backlog *const b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->client = client;
    hmap_insert(&l->backlogs, &b->node, hash);
    return b;
}

static int count_row(struct load *l, uint64_t number, uint64_t client, uint64_t bytes)
{
    const struct store_visitor *const v = l->visitor;
    l->last_number = number;
    pthread_mutex_lock(&l->s->lock);
    const bool sent = store_sending_find(l->s, number) != NULL;
    pthread_mutex_unlock(&l->s->lock);
    if (sent)
        return v->sent(v->owner, number, client, bytes);
    struct backlog *const b = backlog_of(l, client);
    if (b == NULL)
        return -ENOMEM;
    b->n++;
    b->bytes += bytes;
    return 0;
}

/* Of topic and body only the lengths, which stand in front of the row. */
static int read_spool(struct load *l)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(l->s->db.sql,
                                "SELECT number, client, length(CAST(topic AS BLOB)),"
                                " length(body) FROM spool ORDER BY number",
                                -1, &stmt, NULL);
    int result = 0;
    while (rc == SQLITE_OK && result == 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        result = count_row(
            l, (uint64_t)sqlite3_column_int64(stmt, 0), (uint64_t)sqlite3_column_int64(stmt, 1),
            (uint64_t)sqlite3_column_int64(stmt, 2) + (uint64_t)sqlite3_column_int64(stmt, 3));
        rc = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    if (result != 0)
        return result;
    return rc == SQLITE_DONE ? 0 : -EIO;
}

static int give_spool(struct load *l)
{
    const struct store_visitor *const v = l->visitor;
    int rc = read_spool(l);
    for (struct hmap_node *n; (n = hmap_any(&l->backlogs)) != NULL;) {
        struct backlog *const b = container_of(n, struct backlog, node);
        hmap_remove(&l->backlogs, n);
        if (rc == 0)
            rc = v->spool(v->owner, b->client, b->n, b->bytes, l->last_number);
        free(b);
    }
    return rc == 0 ? v->spool(v->owner, SN_NO_CLIENT, 0, 0, l->last_number) : rc;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int load(struct load *l)
{
    int rc = read_messages(l);
    if (rc == 0)
        rc = begin(l);
    if (rc == 0)
        rc = give_sessions(l);
    if (rc == 0)
        rc = give_messages(l);
    return rc == 0 ? give_spool(l) : rc;
}

static void end(struct load *l)
{
    for (int i = 0; i < TABLES; i++)
        sqlite3_finalize(l->tables[i].stmt);
    for (size_t i = 0; i < l->n_messages; i++) {
        free(l->messages[i].topic);
        body_unref(l->messages[i].body);
    }
    free(l->messages);
    hmap_deinit(&l->backlogs);
}

int store_load(struct store *s, const struct store_visitor *visitor)
{
    struct load l = {.s = s, .visitor = visitor};
    hmap_init(&l.backlogs);

    pthread_mutex_lock(&s->lock);
    store_take_db(s);
    pthread_mutex_unlock(&s->lock);
    const int rc = load(&l);
    end(&l);
    pthread_mutex_lock(&s->lock);
    s->left_out = l.left_out;
    store_release_db(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}
