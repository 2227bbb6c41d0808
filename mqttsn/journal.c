/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records for the store. They lie as parcels in one block, with references to the names and bodies
 * that they mention, and are taken within the turn of the loop in which they were made.
 *
 * All of them together are the table of what there is: the row of a record replaces the row before,
 * so nothing has to be remembered here of what was recorded, but that a session was, and as what.
 */
#include "mqttsn/journal.h"

#include "mqttsn/engine_priv.h"

enum {
    RECORDS_MAX = 512 * 1024 * 1024, /* a fan-out to every client must fit, as in the outbox */
    ROW_MSG_IDS = 256,               /* of which the session's row tells in advance */
};

/* A record that waits; for SESSION the peer follows, then the client id. */
struct parcel {
    struct sn_record record;
    struct sn_name *name;
    struct body *body;
    uint32_t peer_size;
    uint32_t id_len;
};

void sn_journal_init(struct sn_engine *e)
{
    parcels_init(&e->journal.records, RECORDS_MAX);
}

void sn_journal_deinit(struct sn_engine *e)
{
    while (parcels_first(&e->journal.records) != NULL)
        sn_engine_done_record(e);
    parcels_deinit(&e->journal.records);
}

/* ---- making them ----------------------------------------------------------------------------- */

/* A record that can't be kept is lost to the store; the engine goes on. */
static void put(struct sn_engine *e, const struct sn_record *record, struct sn_name *name,
                struct body *body)
{
    const bool is_session = record->type == SN_REC_SESSION;
    const struct peer *peer = is_session ? record->session.peer : NULL;
    const struct bytes id = is_session ? record->session.client_id : bytes_of(NULL, 0);
    const struct parcel parcel = {.record = *record,
                                  .name = name,
                                  .body = body,
                                  .peer_size = peer != NULL ? (uint32_t)peer_size(peer) : 0,
                                  .id_len = (uint32_t)id.len};
    const size_t size = sizeof parcel + parcel.peer_size + parcel.id_len;
    uint8_t *at = parcels_room(&e->journal.records, size);
    if (at == NULL) {
        sn_no_memory(e);
        return;
    }
    memcpy(at, &parcel, sizeof parcel);
    if (peer != NULL)
        memcpy(at + sizeof parcel, peer, parcel.peer_size);
    if (id.len > 0)
        memcpy(at + sizeof parcel + parcel.peer_size, id.data, id.len);
    if (name != NULL)
        sn_name_ref(name);
    body_ref(body);
    parcels_add(&e->journal.records, size);
}

/* Sessions that were never accepted are no business of the store. */
static bool is_recorded(const struct sn_engine *e, const struct sn_client *c)
{
    return e->config.journal && c->recorded;
}

void sn_journal_bind(struct sn_engine *e, struct sn_client *c)
{
    if (!is_recorded(e, c))
        return;
    c->barrier = e->journal.batch;
    e->journal.bound = e->journal.batch;
}

uint64_t sn_journal_after(const struct sn_engine *e, uint64_t after)
{
    return after != 0 && after < e->journal.floor ? e->journal.floor : after;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static enum sn_kept_state kept_state(const struct sn_client *c)
{
    switch ((enum sn_state)c->state) {
    case SN_ST_ACTIVE: /* in doubt it may well be asleep */
        return c->in_doubt ? SN_KEPT_ASLEEP : SN_KEPT_ACTIVE;
    case SN_ST_ASLEEP:
    case SN_ST_AWAKE:
        return SN_KEPT_ASLEEP;
    case SN_ST_CONNECTING: /* nothing has changed before it is accepted */
        return (enum sn_kept_state)c->kept_state;
    case SN_ST_DISCONNECTED:
    case SN_ST_LOST:
    case SN_ST_COUNT:
        break;
    }
    return SN_KEPT_AWAY;
}

static void put_session(struct sn_engine *e, struct sn_client *c)
{
    c->kept_state = kept_state(c) & 3U;
    c->kept_sleep_s = c->sleep_s;
    const struct sn_record record = {
        .type = SN_REC_SESSION,
        .client = c->key,
        .session = {.client_id = sn_client_id(c),
                    .peer = sn_client_peer(c),
                    .state = (enum sn_kept_state)c->kept_state,
                    .clean = c->clean,
                    .keep_alive_s = c->keep_alive_s,
                    .sleep_s = c->sleep_s,
                    .next_msg_id = c->kept_msg_id,
                    .connection = c->connection,
                    .will = sn_will_view(c->will)},
    };
    put(e, &record, c->will != NULL ? c->will->topic : NULL,
        c->will != NULL ? c->will->body : NULL);
}

void sn_journal_session(struct sn_engine *e, struct sn_client *c)
{
    if (is_recorded(e, c))
        put_session(e, c);
}

void sn_journal_state(struct sn_engine *e, struct sn_client *c)
{
    if (is_recorded(e, c) &&
        (kept_state(c) != (enum sn_kept_state)c->kept_state || c->sleep_s != c->kept_sleep_s))
        put_session(e, c);
}

void sn_journal_bind_to_all(struct sn_engine *e, struct sn_client *c)
{
    if (is_recorded(e, c) && parcels_first(&e->journal.records) == NULL)
        put_session(e, c);
    sn_journal_bind(e, c);
}

void sn_journal_leaving(struct sn_engine *e, struct sn_client *c, uint16_t sleep_s)
{
    const bool known = sleep_s > 0 ? c->kept_state == SN_KEPT_ASLEEP && c->kept_sleep_s == sleep_s
                                   : c->kept_state == SN_KEPT_AWAY;
    if (!known)
        sn_journal_bind(e, c);
}

void sn_journal_discarded(struct sn_engine *e, struct sn_client *c)
{
    if (is_recorded(e, c))
        put(e, &(struct sn_record){.type = SN_REC_SESSION_GONE, .client = c->key}, NULL, NULL);
    c->recorded = false;
}

/* The row tells of ids that are not in use yet, so as not to be written for each: after a restart
 * they go on behind these, and no answer to an earlier request is taken for one to a later. */
void sn_journal_msg_id(struct sn_engine *e, struct sn_client *c)
{
    const bool told = (uint16_t)(c->kept_msg_id - c->next_msg_id) <= ROW_MSG_IDS;
    if (!is_recorded(e, c) || told)
        return;
    c->kept_msg_id = (uint16_t)(c->next_msg_id + ROW_MSG_IDS);
    put_session(e, c);
    sn_journal_bind(e, c);
}

/* ---- topics ---------------------------------------------------------------------------------- */

void sn_journal_topic(struct sn_engine *e, const struct sn_client *c, const struct sn_topic *t)
{
    if (!is_recorded(e, c) || t->id == 0)
        return;
    const struct sn_record record = {
        .type = SN_REC_TOPIC,
        .client = c->key,
        .topic = {.topic_id = t->id,
                  .name = sn_name_bytes(t->name),
                  .alias = t->kind != SN_TOPIC_NORMAL ? t->alias : 0,
                  .kind = t->kind,
                  .given = t->given,
                  .known_in = t->known_in,
                  .refused_in = t->refused_in},
    };
    put(e, &record, t->name, NULL);
}

void sn_journal_topic_gone(struct sn_engine *e, const struct sn_client *c, const struct sn_topic *t)
{
    if (!is_recorded(e, c) || t->id == 0)
        return;
    put(e,
        &(struct sn_record){
            .type = SN_REC_TOPIC_GONE, .client = c->key, .topic = {.topic_id = t->id}},
        NULL, NULL);
}

/* ---- exchanges ------------------------------------------------------------------------------- */

static void put_exchange(struct sn_engine *e, const struct sn_client *c,
                         const struct sn_up_entry *x)
{
    const struct sn_record record = {
        .type = SN_REC_EXCHANGE,
        .client = c->key,
        .exchange = {.msg_id = x->msg_id, .topic_id = x->topic_id, .print = x->print},
    };
    put(e, &record, NULL, NULL);
}

static void record_exchange(struct sn_engine *e, struct sn_client *c, struct sn_up_entry *x)
{
    if (!is_recorded(e, c))
        return;
    x->recorded = true;
    put_exchange(e, c, x);
    sn_journal_bind(e, c);
}

/* Taken over by the gateway, the message is stored in this batch as well; else it is safe when the
 * broker has it. */
void sn_journal_forwarded(struct sn_engine *e, struct sn_client *c, struct sn_up_entry *x)
{
    if (x->qos == SN_QOS_2 && e->journal.spooling)
        record_exchange(e, c, x);
}

void sn_journal_received(struct sn_engine *e, struct sn_client *c, struct sn_up_entry *x)
{
    if (!x->recorded)
        record_exchange(e, c, x);
}

void sn_journal_exchange_gone(struct sn_engine *e, const struct sn_client *c, struct sn_up_entry *x)
{
    const struct sn_record gone = {
        .type = SN_REC_EXCHANGE_GONE, .client = c->key, .exchange = {.msg_id = x->msg_id}};
    if (is_recorded(e, c) && x->recorded)
        put(e, &gone, NULL, NULL);
    x->recorded = false;
}

/* ---- messages for nodes ---------------------------------------------------------------------- */

/* Only the head of the queue can be under way. */
static enum sn_kept_phase phase_of(const struct sn_down *d, const struct sn_message *m)
{
    if (m->qos != SN_QOS_2 || d->publish_id == 0 || m != sn_queue_head(d))
        return SN_KEPT_WAITING;
    return d->phase == SN_DN_PUBCOMP ? SN_KEPT_RECEIVED : SN_KEPT_SENT;
}

static void put_message(struct sn_engine *e, const struct sn_client *c, const struct sn_message *m)
{
    const enum sn_kept_phase phase = phase_of(c->down, m);
    const struct sn_record record = {
        .type = SN_REC_DELIVERY,
        .client = c->key,
        .delivery = {.number = m->number,
                     .journal = m->journal,
                     .topic = sn_name_bytes(m->name),
                     .body = m->body,
                     .expires_ms = sn_expires_ms(e, m->expires_s),
                     .qos = m->qos,
                     .retain = m->retain,
                     .phase = phase,
                     .msg_id = phase != SN_KEPT_WAITING ? c->down->publish_id : 0},
    };
    put(e, &record, m->name, m->body);
}

void sn_journal_queued(struct sn_engine *e, const struct sn_client *c, struct sn_message *m)
{
    if (!e->config.journal || m->qos == SN_QOS_0)
        return;
    m->number = ++e->journal.last_number;
    if (c->recorded)
        put_message(e, c, m);
}

void sn_journal_phase(struct sn_engine *e, struct sn_client *c)
{
    const struct sn_message *m = sn_queue_head(c->down);
    if (!is_recorded(e, c) || m->number == 0)
        return;
    put_message(e, c, m);
    sn_journal_bind(e, c);
}

void sn_journal_message_gone(struct sn_engine *e, const struct sn_client *c,
                             const struct sn_message *m)
{
    if (!is_recorded(e, c) || m->number == 0)
        return;
    put(e,
        &(struct sn_record){
            .type = SN_REC_DELIVERY_GONE, .client = c->key, .delivery = {.number = m->number}},
        NULL, NULL);
}

/* ---- whole sessions -------------------------------------------------------------------------- */

static void put_content(struct sn_engine *e, const struct sn_client *c)
{
    if (c->topics != NULL) {
        ring_foreach(link, &c->topics->lent)
            sn_journal_topic(e, c, container_of(link, struct sn_topic, link));
        ring_foreach(link, &c->topics->asked)
            sn_journal_topic(e, c, container_of(link, struct sn_topic, link));
    }
    for (uint16_t i = 0; c->up != NULL && i < c->up->capacity; i++) {
        if (c->up->entries[i].recorded)
            put_exchange(e, c, &c->up->entries[i]);
    }
    if (c->down == NULL)
        return;
    list_foreach (link, &c->down->queue) {
        const struct sn_message *m = sn_queue_at(link);
        if (m->number != 0)
            put_message(e, c, m);
    }
}

void sn_journal_accepted(struct sn_engine *e, struct sn_client *c)
{
    if (!e->config.journal)
        return;
    const bool first = !c->recorded;
    c->recorded = true;
    c->kept_msg_id = (uint16_t)(c->next_msg_id + ROW_MSG_IDS);
    put_session(e, c);
    if (first)
        put_content(e, c);
    sn_journal_bind(e, c);
}

void sn_journal_left_out(struct sn_engine *e, const struct sn_record *row)
{
    struct sn_record record = {.type = SN_REC_SESSION_GONE, .client = row->client};
    if (!e->config.journal)
        return;
    if (row->type == SN_REC_TOPIC) {
        record.type = SN_REC_TOPIC_GONE;
        record.topic.topic_id = row->topic.topic_id;
    } else if (row->type == SN_REC_EXCHANGE) {
        record.type = SN_REC_EXCHANGE_GONE;
        record.exchange.msg_id = row->exchange.msg_id;
    } else if (row->type == SN_REC_DELIVERY) {
        record.type = SN_REC_DELIVERY_GONE;
        record.delivery.number = row->delivery.number;
    }
    put(e, &record, NULL, NULL);
}

/* ---- entries --------------------------------------------------------------------------------- */

void sn_engine_batch(struct sn_engine *e, uint64_t batch)
{
    /* Late records come in a later batch than some packet was told; rather wait too long. */
    if (batch != e->journal.batch && parcels_first(&e->journal.records) != NULL)
        e->journal.floor = batch;
    e->journal.batch = batch;
}

void sn_engine_spooling(struct sn_engine *e, bool spooling)
{
    e->journal.spooling = spooling;
}

/* Session by session when records are taken, so that it costs no memory. What changes meanwhile is
 * recorded as ever. */
void sn_engine_record_all(struct sn_engine *e)
{
    e->journal.everything = e->config.journal;
    e->journal.next_slot = 0;
}

static void record_next(struct sn_engine *e)
{
    struct sn_journal *j = &e->journal;
    while (j->everything && parcels_first(&j->records) == NULL) {
        struct sn_client *c = j->next_slot < e->n_slots ? e->slots[j->next_slot] : NULL;
        if (c != NULL && c->recorded) {
            put_session(e, c);
            put_content(e, c);
        }
        j->everything = ++j->next_slot < e->n_slots;
    }
}

bool sn_engine_peek_record(struct sn_engine *e, struct sn_record *out)
{
    if (e->journal.everything)
        record_next(e);
    const uint8_t *at = parcels_first(&e->journal.records);
    if (at == NULL)
        return false;
    const struct parcel *parcel = (const struct parcel *)(const void *)at;
    at += sizeof *parcel;
    *out = parcel->record;
    if (out->type != SN_REC_SESSION)
        return true;
    if (parcel->peer_size > 0)
        out->session.peer = (const struct peer *)(const void *)at;
    out->session.client_id = bytes_of(at + parcel->peer_size, parcel->id_len);
    return true;
}

void sn_engine_done_record(struct sn_engine *e)
{
    const struct parcel *parcel = parcels_first(&e->journal.records);
    if (parcel->name != NULL)
        sn_name_unref(e, parcel->name);
    body_unref(parcel->body);
    parcels_done(&e->journal.records);
}
