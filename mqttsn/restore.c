/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of the store become sessions again. What a row says is believed only as far as it makes sense
 * and fits the present configuration: the store may be damaged, edited, or of another configuration.
 *
 * Who was connected stays connected, with all of its time still to come; the broker side hears OPEN
 * for it, again if it can't take it yet, and until it has, nobody is given up for lost, since there
 * would be nobody to publish the will.
 */
#include <errno.h>

#include "mqttsn/engine_priv.h"
#include "mqttsn/topic.h"

enum { SPARE_SLOTS = 1 << 20 }; /* an earlier configuration may have had room for more clients */

static const char *const row_names[SN_REC_COUNT] = {
    [SN_REC_SESSION] = "session",
    [SN_REC_TOPIC] = "topic",
    [SN_REC_EXCHANGE] = "exchange",
    [SN_REC_DELIVERY] = "delivery",
};

/* The store forgets the row; a session is over for the broker side as well. */
static int leave_out(struct sn_engine *e, const struct sn_record *row, const char *why)
{
    e->journal.left_out++;
    if (log_begin(&e->log, LOG_NOTICE, "restore.left_out")) {
        const struct sn_client *c = sn_client_by_key(e, row->client);
        if (row->type == SN_REC_SESSION)
            log_str(&e->log, "client", row->session.client_id);
        else if (c != NULL)
            log_str(&e->log, "client", sn_client_id(c));
        log_word(&e->log, "row", row_names[row->type] != NULL ? row_names[row->type] : "unknown");
        log_text(&e->log, "why", why);
        log_end(&e->log);
    }
    if (row_names[row->type] != NULL)
        sn_journal_left_out(e, row);
    const struct sn_request discard = {
        .type = SN_REQ_CLOSE, .client = row->client, .close = {.discard = true}};
    if (row->type == SN_REC_SESSION)
        sn_ask(e, &discard, NULL, NULL);
    return 1;
}

/* For want of memory: too little is allowed, or there is none. */
static int no_memory(struct sn_engine *e, const struct sn_record *row)
{
    return e->journal.exhausted ? -ENOMEM : leave_out(e, row, "max_memory");
}

/* ---- SESSION --------------------------------------------------------------------------------- */

static bool key_ok(const struct sn_engine *e, uint64_t key)
{
    const uint32_t slot = sn_client_slot(key);
    return key >> SN_CLIENT_KEY_BITS == 0 && key >> SN_CLIENT_SLOT_BITS != 0 &&
           slot < e->config.max_clients + SPARE_SLOTS &&
           (slot >= e->n_slots || e->slots[slot] == NULL);
}

static bool will_ok(const struct sn_will_view *w)
{
    return w->topic.len == 0 || (sn_topic_name_ok(w->topic) && w->topic.len <= SN_PACKET_MAX &&
                                 w->qos <= SN_QOS_2 && body_bytes(w->body).len <= SN_PACKET_MAX);
}

/* NULL when the session can come back. */
static const char *objection(struct sn_engine *e, const struct sn_record *row,
                             const struct sn_profile **profile)
{
    const struct bytes id = row->session.client_id;
    if (!key_ok(e, row->client))
        return "key";
    if (id.len == 0 || id.len > e->config.max_client_id || !bytes_is_utf8(id))
        return "client id";
    if (sn_client_by_id(e, id) != NULL)
        return "client id twice";
    if (row->session.state > SN_KEPT_ASLEEP ||
        (row->session.state == SN_KEPT_AWAY && row->session.clean) ||
        (row->session.state == SN_KEPT_ASLEEP && row->session.sleep_s == 0))
        return "state";
    if (!will_ok(&row->session.will))
        return "will";
    if (e->clients_by_id.count >= e->config.max_clients)
        return "max_clients";
    *profile = sn_profile_get(e, id);
    if (*profile != NULL && (*profile)->options.allow == SN_NO)
        return "not allowed ([client] allow = no)";
    return NULL;
}

/* One that makes no sense any more counts as unknown: the node will be heard from where it is. */
static bool peer_ok(const struct sn_engine *e, const struct peer *p)
{
    if (p->kind == PEER_NONE || p->kind >= PEER_GROUP || p->addr_len > PEER_ADDR_MAX ||
        p->path_len > PEER_PATH_MAX || (e->config.n_links > 0 && p->link >= e->config.n_links))
        return false;
    struct reader path = rd_of(bytes_of(p->bytes + p->addr_len, p->path_len));
    unsigned depth = 0;
    for (; rd_left(&path) > 0; depth++)
        rd_bytes(&path, rd_u8(&path));
    return rd_close(&path) && depth <= PEER_DEPTH_MAX;
}

/* Of two sessions at one address the later keeps it. */
static bool restore_peer(struct sn_engine *e, struct sn_client *c, const struct peer *peer)
{
    if (peer == NULL || !peer_ok(e, peer))
        return true;
    struct sn_client *holder = sn_client_by_peer(e, peer);
    if (holder != NULL)
        sn_client_unbind(e, holder);
    return sn_client_bind(e, c, peer);
}

static bool restore_will(struct sn_engine *e, struct sn_client *c, const struct sn_will_view *will)
{
    if (will->topic.len == 0)
        return true;
    struct sn_name *topic = sn_name_get(e, will->topic);
    c->will = topic != NULL ? sn_alloc(e, sizeof *c->will) : NULL;
    if (c->will == NULL) {
        if (topic != NULL)
            sn_name_unref(e, topic);
        return false;
    }
    *c->will = (struct sn_will){
        .topic = topic, .body = body_ref(will->body), .qos = will->qos, .retain = will->retain};
    return true;
}

static enum sn_state state_of(enum sn_kept_state kept)
{
    switch (kept) {
    case SN_KEPT_ACTIVE:
        return SN_ST_ACTIVE;
    case SN_KEPT_ASLEEP:
        return SN_ST_ASLEEP;
    case SN_KEPT_AWAY:
        break;
    }
    return SN_ST_DISCONNECTED;
}

static int restore_session(struct sn_engine *e, const struct sn_record *row)
{
    const struct sn_profile *profile = NULL;
    const char *why = objection(e, row, &profile);
    if (why != NULL)
        return leave_out(e, row, why);
    if (profile == NULL)
        return -ENOMEM;
    struct sn_client *c = sn_client_restore(e, row->session.client_id, profile, row->client);
    if (c == NULL)
        return no_memory(e, row);
    if (!restore_peer(e, c, row->session.peer) || !restore_will(e, c, &row->session.will)) {
        sn_client_free(e, c);
        return no_memory(e, row);
    }
    c->clean = row->session.clean;
    c->keep_alive_s = row->session.keep_alive_s;
    c->sleep_s = row->session.sleep_s;
    c->next_msg_id = row->session.next_msg_id;
    c->connection = row->session.connection != 0 ? row->session.connection : 1;
    c->recorded = true;
    c->kept_state = row->session.state & 3U;
    c->kept_sleep_s = c->sleep_s;
    c->kept_msg_id = c->next_msg_id;
    c->state = (uint8_t)state_of(row->session.state);
    e->connected += sn_client_connected(c);
    sn_client_supervise(e, c);
    return 0;
}

/* ---- TOPIC, EXCHANGE ------------------------------------------------------------------------- */

/* The id or name by which the client subscribed still stands for that topic. */
static bool alias_ok(const struct sn_client *c, const struct sn_topic *t, uint8_t kind,
                     uint16_t alias)
{
    if (kind == SN_TOPIC_PREDEFINED)
        return sn_profile_alias(c->profile, alias) == t->name;
    const uint8_t octets[2] = {(uint8_t)(alias >> 8), (uint8_t)alias};
    return kind == SN_TOPIC_SHORT && bytes_equal(sn_name_bytes(t->name), bytes_of(octets, 2));
}

static int restore_topic(struct sn_engine *e, struct sn_client *c, const struct sn_record *row)
{
    const uint16_t id = row->topic.topic_id;
    const uint8_t kind = row->topic.kind;
    const bool is_lent = !row->topic.given && kind == SN_TOPIC_NORMAL;
    if (id < SN_TOPIC_ID_MIN || id > SN_TOPIC_ID_MAX || !sn_topic_name_legal(row->topic.name) ||
        row->topic.name.len > SN_PACKET_MAX || kind > SN_TOPIC_SHORT)
        return leave_out(e, row, "contents");
    const struct sn_name *known = sn_name_find(e, row->topic.name);
    if (sn_topic_by_id(c, id) != NULL || (known != NULL && sn_topic_find(c, known) != NULL))
        return leave_out(e, row, "twice");
    if (c->topics != NULL && c->topics->n >= c->profile->options.max_topics &&
        (is_lent || c->topics->lent.first == NULL))
        return leave_out(e, row, "max_topics");
    struct sn_topic *t = sn_topic_get(e, c, row->topic.name);
    if (t == NULL)
        return no_memory(e, row);
    sn_topic_set_id(e, c, t, id);
    t->given = row->topic.given;
    if (alias_ok(c, t, kind, row->topic.alias)) {
        t->kind = kind;
        t->alias = row->topic.alias;
    }
    t->known_in = row->topic.known_in;
    t->refused_in = row->topic.refused_in;
    /* What it has not asked for it can only know by a REGISTER of ours. */
    c->has_regacked = c->has_regacked || (!t->given && t->known_in != 0);
    sn_topic_settle(c, t);
    return 0;
}

static int restore_exchange(struct sn_engine *e, struct sn_client *c, const struct sn_record *row)
{
    if (!sn_up_restore(e, c, row))
        return leave_out(e, row, "max_inflight, twice, or max_memory");
    return 0;
}

/* ---- DELIVERY -------------------------------------------------------------------------------- */

static bool delivery_ok(const struct sn_client *c, const struct sn_record *row)
{
    const uint64_t number = row->delivery.number;
    const uint8_t qos = row->delivery.qos;
    const bool first = c->down == NULL || c->down->n_queued == 0;
    if (number == 0 || number > INT64_MAX || (qos != SN_QOS_1 && qos != SN_QOS_2) ||
        !sn_topic_name_legal(row->delivery.topic) || row->delivery.topic.len > SN_PACKET_MAX ||
        body_bytes(row->delivery.body).len > SN_PACKET_MAX)
        return false;
    if (!first && sn_queue_at(c->down->queue.prev)->number >= number)
        return false;
    if (row->delivery.phase == SN_KEPT_WAITING)
        return true;
    return row->delivery.phase <= SN_KEPT_RECEIVED && first && qos == SN_QOS_2 &&
           row->delivery.msg_id != 0;
}

/* Where the exchange stood: PUBLISH goes out again under its msg id, or PUBREL. */
static void take_up(struct sn_down *d, const struct sn_record *row)
{
    if (row->delivery.phase == SN_KEPT_WAITING)
        return;
    d->publish_id = row->delivery.msg_id;
    if (row->delivery.phase == SN_KEPT_RECEIVED) {
        d->phase = SN_DN_PUBCOMP;
        d->msg_id = d->publish_id;
        d->repeated = true;
        d->stalled = true;
    }
}

static int restore_delivery(struct sn_engine *e, struct sn_client *c, const struct sn_record *row)
{
    const uint8_t max_qos = c->profile->options.max_qos;
    if (!delivery_ok(c, row))
        return leave_out(e, row, "contents");
    if (max_qos != 0 && row->delivery.qos > max_qos - 1)
        return leave_out(e, row, "max_qos");
    struct sn_name *name = sn_name_get(e, row->delivery.topic);
    if (name == NULL)
        return no_memory(e, row);
    const struct sn_message as = {.name = name,
                                  .body = row->delivery.body,
                                  .number = row->delivery.number,
                                  .journal = row->delivery.journal,
                                  .expires_s =
                                      sn_expires_s(e, row->delivery.expires_ms) & SN_EXPIRES_MAX,
                                  .qos = row->delivery.qos & 3U,
                                  .retain = row->delivery.retain,
                                  .restored = sn_client_connected(c)};
    enum sn_stat why = SN_STAT_COUNT;
    const struct sn_message *m = sn_queue_add(e, c, &as, &why);
    if (m == NULL)
        sn_message_dropped(e, c, name, 0, why);
    sn_name_unref(e, name);
    if (m == NULL)
        return leave_out(e, row, sn_stat_name(why));
    if (e->journal.last_number < as.number)
        e->journal.last_number = as.number;
    take_up(c->down, row);
    return 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

int sn_engine_restore(struct sn_engine *e, const struct sn_record *record)
{
    if (record->type == SN_REC_SESSION)
        return restore_session(e, record);
    struct sn_client *c = sn_client_by_key(e, record->client);
    if (c == NULL)
        return leave_out(e, record, "no session");
    if (record->type == SN_REC_TOPIC)
        return restore_topic(e, c, record);
    if (record->type == SN_REC_EXCHANGE)
        return restore_exchange(e, c, record);
    if (record->type == SN_REC_DELIVERY)
        return restore_delivery(e, c, record);
    return leave_out(e, record, "type");
}

static void open_again(struct sn_engine *e, struct sn_client *c)
{
    const struct sn_request open = {
        .type = SN_REQ_OPEN,
        .client = c->key,
        .token = c->next_open_token++,
        .open = {.client_id = sn_client_id(c),
                 .keep_alive_s = c->keep_alive_s,
                 .max_subscriptions = c->profile->options.max_subscriptions,
                 .will = sn_will_view(c->will),
                 .peer = sn_client_peer(c)},
    };
    sn_ask(e, &open, c->will != NULL ? c->will->topic : NULL,
           c->will != NULL ? c->will->body : NULL);
    c->open = true;
    if (!c->reopening)
        e->journal.n_reopening++;
    c->reopening = true;
}

void sn_reopening_over(struct sn_engine *e, struct sn_client *c)
{
    e->journal.n_reopening -= c->reopening;
    c->reopening = false;
}

void sn_on_reopened(struct sn_engine *e, struct sn_client *c, const struct sn_event *event)
{
    const bool latest = event->token == (uint16_t)(c->next_open_token - 1);
    if (!latest || event->outcome == SN_REFUSED_BUSY)
        return;
    sn_reopening_over(e, c);
    if (event->outcome == SN_OK)
        sn_client_due(e, c); /* its time may be over long since */
    else
        sn_on_closed(e, c);
}

void sn_reopen_all(struct sn_engine *e)
{
    for (uint32_t slot = 0; e->journal.n_reopening > 0 && slot < e->n_slots; slot++) {
        if (e->slots[slot] != NULL && e->slots[slot]->reopening)
            open_again(e, e->slots[slot]);
    }
}

void sn_engine_restored(struct sn_engine *e, int64_t now_ms)
{
    e->now_ms = now_ms;
    sn_slots_restored(e);
    for (uint32_t slot = 0; slot < e->n_slots; slot++) {
        struct sn_client *c = e->slots[slot];
        if (c == NULL)
            continue;
        c->heard_ms = now_ms;
        c->connack_ms = now_ms;
        c->unheard = true;
        sn_client_supervise(e, c);
        if (!sn_client_connected(c))
            continue;
        open_again(e, c);
        sn_down_resume(e, c);
        sn_down_run(e, c);
    }
    if (log_begin(&e->log, LOG_INFO, "engine.restored")) {
        log_int(&e->log, "sessions", e->clients_by_id.count);
        log_int(&e->log, "connected", e->connected);
        log_int(&e->log, "queued", (int64_t)e->queued);
        log_int(&e->log, "left_out", (int64_t)e->journal.left_out);
        log_end(&e->log);
    }
}
