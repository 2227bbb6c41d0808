/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables, how older ones become them, and every statement that writes. The tables are meant to
 * be read with sqlite3(1), so columns have the names of the records' fields, and words where a
 * number would have to be looked up.
 *
 * A new version: raise STORE_SCHEMA, add a step to `steps`; never change one that was released.
 */
#include "store_priv.h"

/* Tables of small rows that are found by two keys are WITHOUT ROWID: one page to write instead of
 * two. */
static const char schema_1[] =
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE session ("
    " client INTEGER PRIMARY KEY,"
    " client_id TEXT NOT NULL,"
    " state TEXT NOT NULL," /* away, active, asleep */
    " clean INTEGER NOT NULL,"
    " keep_alive_s INTEGER NOT NULL,"
    " sleep_s INTEGER NOT NULL,"
    " next_msg_id INTEGER NOT NULL,"
    " link TEXT," /* name; NULL: the address is not known */
    " address_kind TEXT,"
    " address BLOB,"
    " path BLOB," /* forwarders in between: length and id of each */
    " will_topic TEXT,"
    " will_body BLOB,"
    " will_qos INTEGER,"
    " will_retain INTEGER);"
    "CREATE TABLE topic ("
    " client INTEGER NOT NULL,"
    " topic_id INTEGER NOT NULL,"
    " name TEXT NOT NULL,"
    " alias INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"
    " given INTEGER NOT NULL,"
    " PRIMARY KEY (client, topic_id)) WITHOUT ROWID;"
    "CREATE TABLE exchange ("
    " client INTEGER NOT NULL,"
    " msg_id INTEGER NOT NULL,"
    " topic_id INTEGER NOT NULL,"
    " print INTEGER NOT NULL,"
    " PRIMARY KEY (client, msg_id)) WITHOUT ROWID;"
    "CREATE TABLE subscription ("
    " client INTEGER NOT NULL,"
    " filter TEXT NOT NULL,"
    " qos INTEGER NOT NULL,"
    " PRIMARY KEY (client, filter)) WITHOUT ROWID;"
    /* From the broker. `refs` deliveries refer to it, the last of which takes it along; 0: not routed
     * yet. Counted, because an index of the deliveries would be one more page to write each time. */
    "CREATE TABLE message ("
    " journal INTEGER PRIMARY KEY,"
    " topic TEXT NOT NULL,"
    " body BLOB,"
    " qos INTEGER NOT NULL,"
    " retain INTEGER NOT NULL,"
    " refs INTEGER NOT NULL DEFAULT 0);"
    "CREATE TABLE delivery ("
    " client INTEGER NOT NULL,"
    " number INTEGER NOT NULL,"
    " journal INTEGER," /* of the message; NULL: topic and body are here */
    " topic TEXT,"
    " body BLOB,"
    " qos INTEGER NOT NULL,"
    " retain INTEGER NOT NULL,"
    " phase TEXT NOT NULL," /* waiting, sent, received */
    " msg_id INTEGER NOT NULL,"
    " PRIMARY KEY (client, number)) WITHOUT ROWID;"
    "CREATE TRIGGER message_referred AFTER INSERT ON delivery WHEN new.journal IS NOT NULL "
    "BEGIN"
    " UPDATE message SET refs = refs + 1 WHERE journal = new.journal;"
    "END;"
    "CREATE TRIGGER message_delivered AFTER DELETE ON delivery WHEN old.journal IS NOT NULL "
    "BEGIN"
    " UPDATE message SET refs = refs - 1 WHERE journal = old.journal;"
    " DELETE FROM message WHERE journal = old.journal AND refs <= 0;"
    "END;"
    "CREATE TRIGGER message_changed AFTER UPDATE OF journal ON delivery"
    " WHEN old.journal IS NOT new.journal "
    "BEGIN"
    " UPDATE message SET refs = refs + 1 WHERE journal = new.journal;"
    " UPDATE message SET refs = refs - 1 WHERE journal = old.journal;"
    " DELETE FROM message WHERE journal = old.journal AND refs <= 0;"
    "END;"
    /* From nodes, to the broker. */
    "CREATE TABLE spool ("
    " number INTEGER PRIMARY KEY,"
    " client INTEGER NOT NULL,"
    " topic TEXT NOT NULL,"
    " body BLOB,"
    " qos INTEGER NOT NULL,"
    " retain INTEGER NOT NULL,"
    " will INTEGER NOT NULL,"
    " clock_ms INTEGER NOT NULL);" /* that counts only while the gateway runs */
    /* Which of them are with the MQTT library, under which packet id; and the library's packets. */
    "CREATE TABLE sending (packet_id INTEGER PRIMARY KEY, number INTEGER NOT NULL);"
    "CREATE TABLE packet (key TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;";

/* Which connection of its client knows a topic id. Until then it was taken for known in clean
 * sessions, which are one connection long. */
static const char schema_2[] = "ALTER TABLE session ADD COLUMN connection INTEGER;"
                               "ALTER TABLE topic ADD COLUMN known_in INTEGER;"
                               "ALTER TABLE topic ADD COLUMN refused_in INTEGER;"
                               "UPDATE session SET connection = 1;"
                               "UPDATE topic SET refused_in = 0, known_in ="
                               " given AND client IN (SELECT client FROM session WHERE clean);";

/* Several MQTT sessions. Until then there was the one of number 0. */
static const char schema_3[] =
    "CREATE TABLE sink (" /* its number stands before those of spooled messages and packet ids */
    " number INTEGER PRIMARY KEY,"
    " broker TEXT NOT NULL,"
    " client_id TEXT);" /* NULL: the session that all share */
    "ALTER TABLE message ADD COLUMN sink INTEGER;";

/* When messages for nodes expire; NULL: never. One with a journal number has it there. And where a
 * message of a node came from; NULL: nobody wants to know. */
static const char schema_4[] = "ALTER TABLE message ADD COLUMN expires_ms INTEGER;"
                               "ALTER TABLE delivery ADD COLUMN expires_ms INTEGER;"
                               "ALTER TABLE spool ADD COLUMN origin BLOB;";

static const char *const steps[STORE_SCHEMA] = {schema_1, schema_2, schema_3, schema_4};

static const char *const statements[ST_COUNT] = {
    [ST_BEGIN] = "BEGIN IMMEDIATE",
    [ST_COMMIT] = "COMMIT",
    [ST_ROLLBACK] = "ROLLBACK",
    /* NOLINTNEXTLINE(bugprone-suspicious-missing-comma): long statements */
    [ST_SESSION] = "REPLACE INTO session (client, client_id, state, clean, keep_alive_s, sleep_s,"
                   " next_msg_id, link, address_kind, address, path, will_topic, will_body,"
                   " will_qos, will_retain, connection)"
                   " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)",
    [ST_SESSION_GONE] = "DELETE FROM session WHERE client = ?1",
    [ST_TOPIC] = "REPLACE INTO topic (client, topic_id, name, alias, kind, given, known_in,"
                 " refused_in) VALUES (?1,?2,?3,?4,?5,?6,?7,?8)",
    [ST_TOPIC_GONE] = "DELETE FROM topic WHERE client = ?1 AND topic_id = ?2",
    [ST_TOPICS_GONE] = "DELETE FROM topic WHERE client = ?1",
    [ST_EXCHANGE] = "REPLACE INTO exchange (client, msg_id, topic_id, print) VALUES (?1,?2,?3,?4)",
    [ST_EXCHANGE_GONE] = "DELETE FROM exchange WHERE client = ?1 AND msg_id = ?2",
    [ST_EXCHANGES_GONE] = "DELETE FROM exchange WHERE client = ?1",
    /* No REPLACE: that would be a deletion on the way. */
    [ST_DELIVERY] = "INSERT INTO delivery (client, number, journal, topic, body, qos, retain,"
                    " phase, msg_id, expires_ms) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)"
                    " ON CONFLICT (client, number) DO UPDATE SET journal=?3, topic=?4, body=?5,"
                    " qos=?6, retain=?7, phase=?8, msg_id=?9, expires_ms=?10",
    [ST_DELIVERY_GONE] = "DELETE FROM delivery WHERE client = ?1 AND number = ?2",
    [ST_DELIVERIES_GONE] = "DELETE FROM delivery WHERE client = ?1",
    [ST_SUBSCRIPTION] = "REPLACE INTO subscription (client, filter, qos) VALUES (?1,?2,?3)",
    [ST_SUBSCRIPTION_GONE] = "DELETE FROM subscription WHERE client = ?1 AND filter = ?2",
    [ST_SUBSCRIPTIONS_GONE] = "DELETE FROM subscription WHERE client = ?1",
    /* These rows never change: what a resync puts again stays as old as it is. */
    [ST_SPOOL] =
        "INSERT OR IGNORE INTO spool (number, client, topic, body, qos, retain, will, clock_ms,"
        " origin) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    [ST_SPOOL_GONE] = "DELETE FROM spool WHERE number = ?1",
    /* A commit that failed may be in the file nevertheless, and is tried again. */
    [ST_MESSAGE] =
        "INSERT OR IGNORE INTO message (journal, topic, body, qos, retain, sink, expires_ms)"
        " VALUES (?1,?2,?3,?4,?5,?6,?7)",
    [ST_ROUTED] = "DELETE FROM message WHERE journal = ?1 AND refs = 0",
    [ST_SWEEP] = "DELETE FROM message WHERE journal < ?1 AND refs = 0",
    [ST_SENDING] = "REPLACE INTO sending (packet_id, number) VALUES (?1,?2)",
    [ST_SENDING_GONE] = "DELETE FROM sending WHERE packet_id = ?1",
    [ST_SENDING_CLEAR] = "DELETE FROM sending WHERE packet_id >> 16 = ?1",
    [ST_PACKET] = "REPLACE INTO packet (key, data) VALUES (?1,?2)",
    [ST_PACKET_GONE] = "DELETE FROM packet WHERE key = ?1",
    [ST_PACKETS_CLEAR] = "DELETE FROM packet WHERE key GLOB ?1",
    [ST_SINK] = "REPLACE INTO sink (number, broker, client_id) VALUES (?1,?2,?3)",
    [ST_SINK_GONE] = "DELETE FROM sink WHERE number = ?1",
    [ST_CLOCK] = "REPLACE INTO meta (name, value) VALUES ('clock_ms', ?1)",
    [ST_EXPIRY] = "REPLACE INTO meta (name, value) VALUES ('expiry', ?1)",
    [ST_MARK] = "REPLACE INTO meta (name, value) VALUES ('intent', ?1)",
    [ST_MARK_GONE] = "DELETE FROM meta WHERE name = 'intent'",
    [ST_PAGES] = "PRAGMA page_count",
    [ST_FREE_PAGES] = "PRAGMA freelist_count",
};

static int pragma_int(sqlite3 *sql, const char *pragma, int *out)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(sql, pragma, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* One step and its new version number are one transaction. */
static int step(sqlite3 *sql, int version)
{
    char set[96];
    sqlite3_snprintf(sizeof set, set,
                     "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
                     STORE_APPLICATION, version + 1);
    int rc = sqlite3_exec(sql, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, steps[version], NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(sql, set, NULL, NULL, NULL);
    if (rc != SQLITE_OK && sqlite3_get_autocommit(sql) == 0)
        sqlite3_exec(sql, "ROLLBACK", NULL, NULL, NULL);
    return rc;
}

int store_schema_set(sqlite3 *sql, int *version)
{
    int rc = pragma_int(sql, "PRAGMA user_version", version);
    if (rc != SQLITE_OK)
        return rc;
    if (*version > STORE_SCHEMA)
        return -1;
    for (int v = *version < 0 ? 0 : *version; rc == SQLITE_OK && v < STORE_SCHEMA; v++)
        rc = step(sql, v);
    return rc;
}

int store_schema_prepare(struct store_db *db)
{
    for (size_t i = 0; i < ST_COUNT; i++) {
        const int rc = sqlite3_prepare_v3(db->sql, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                          &db->statements[i], NULL);
        if (rc != SQLITE_OK)
            return rc;
    }
    return SQLITE_OK;
}
