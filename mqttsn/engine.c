/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's entries: time first, then the input, then its outputs wait to be taken. Routing by
 * message type stands in one table: who may say it, in which state, and what a talker without a
 * session gets for it.
 */
#include "mqttsn/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

/* ---- configuration --------------------------------------------------------------------------- */

struct sn_engine_config sn_engine_defaults(void)
{
    return (struct sn_engine_config){
        .gateway_id = 1,
        .retry_interval_ms = 10000,
        .retry_min_ms = 1000,
        .retry_max_ms = 60000,
        .retry_count = 3,
        .max_clients = 100000,
        .max_memory_bytes = UINT64_C(256) << 20,
        .max_waiting = 1000000,
        .max_client_id = 64,
        .session_expiry_ms = INT64_C(7) * 24 * 3600 * 1000,
        .gwinfo_delay_ms = 500,
        .defaults = {.max_topics = 256,
                     .max_subscriptions = 64,
                     .max_queue = 100,
                     .max_queue_bytes = 64 * 1024,
                     .max_inflight = 16,
                     .keep_alive_max_ms = INT64_C(24) * 3600 * 1000,
                     .overflow = SN_DROP_OLDEST},
        .log_level = LOG_INFO,
    };
}

enum { LOG_RECORDS = 256 };

/* ---- life cycle ------------------------------------------------------------------------------ */

struct sn_engine *sn_engine_new(const struct sn_engine_config *config, int64_t now_ms)
{
    struct sn_engine *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->config = *config;
    e->now_ms = now_ms;
    sn_expiry_init(e);
    sn_setup_limit(&e->config);
    deadlines_init(&e->deadlines);
    sn_outbox_init(e);
    sn_journal_init(e);
    if (log_init(&e->log, LOG_RECORDS, config->log_level) < 0 || sn_setup_links(e, config) < 0 ||
        sn_setup_sections(e, config) < 0 || sn_profiles_init(e) < 0 || sn_discover_init(e) < 0 ||
        sn_air_init(e) < 0) {
        sn_engine_free(e);
        return NULL;
    }
    e->config.clients = NULL;
    e->config.topics = NULL;
    e->config.links = NULL;
    return e;
}

void sn_engine_free(struct sn_engine *e)
{
    if (e == NULL)
        return;
    e->config.journal = false; /* what is freed here is not over */
    for (uint32_t slot = 0; slot < e->n_slots; slot++) {
        if (e->slots[slot] != NULL)
            sn_client_free(e, e->slots[slot]);
    }
    sn_discover_deinit(e);
    sn_outbox_deinit(e);
    sn_journal_deinit(e);
    sn_profiles_deinit(e);
    assert(e->memory_bytes == 0);
    assert(e->deadlines.count == 0);
    hindex_deinit(&e->clients_by_id);
    hindex_deinit(&e->clients_by_peer);
    hmap_deinit(&e->names);
    slabs_deinit(&e->slabs);
    free(e->slots);
    free(e->generations);
    free(e->free_slots);
    sn_setup_sections_free(e);
    free(e->carried);
    free(e->back_ms);
    free(e->links);
    log_deinit(&e->log);
    free(e);
}

/* ---- routing --------------------------------------------------------------------------------- */

typedef void handler(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p);

enum {
    IN_CONNECTING = 1 << SN_ST_CONNECTING,
    IN_ACTIVE = 1 << SN_ST_ACTIVE,
    IN_ASLEEP = 1 << SN_ST_ASLEEP,
    IN_AWAKE = 1 << SN_ST_AWAKE,
    WHEN_CONNECTED = IN_ACTIVE | IN_ASLEEP | IN_AWAKE,
};

/* What a talker without a connection gets (section 6.12, last paragraph: "can't be mapped"). */
enum stranger { DROPPED, DISCONNECTED };

struct route {
    handler *handle; /* NULL: only a sign of life */
    uint8_t states;
    uint8_t stranger; /* enum stranger */
    bool from_client; /* false: only gateways say this */
    bool is_answer;   /* to a request of ours: may end it rather than have it repeated */
};

/* clang-format off */
static const struct route routes[SN_TYPE_COUNT] = {
    /*                  handler               states                          stranger      client answer */
    [SN_WILLTOPIC]    = {sn_on_will_topic,     IN_CONNECTING | IN_ACTIVE,      DISCONNECTED, true, false},
    [SN_WILLMSG]      = {sn_on_will_msg,       IN_CONNECTING | IN_ACTIVE,      DISCONNECTED, true, false},
    [SN_REGISTER]     = {sn_on_register,       WHEN_CONNECTED,                 DISCONNECTED, true, false},
    [SN_REGACK]       = {sn_on_regack,         IN_ACTIVE | IN_AWAKE,           DROPPED,      true, true},
    [SN_PUBLISH]      = {sn_on_publish,        WHEN_CONNECTED,                 DISCONNECTED, true, false},
    [SN_PUBACK]       = {sn_on_puback,         IN_ACTIVE | IN_AWAKE,           DROPPED,      true, true},
    [SN_PUBCOMP]      = {sn_on_pubcomp,        IN_ACTIVE | IN_AWAKE,           DROPPED,      true, true},
    [SN_PUBREC]       = {sn_on_pubrec,         IN_ACTIVE | IN_AWAKE,           DROPPED,      true, true},
    [SN_PUBREL]       = {sn_on_pubrel,         WHEN_CONNECTED,                 DISCONNECTED, true, false},
    [SN_SUBSCRIBE]    = {sn_on_subscribe,      WHEN_CONNECTED,                 DISCONNECTED, true, false},
    [SN_UNSUBSCRIBE]  = {sn_on_unsubscribe,    WHEN_CONNECTED,                 DISCONNECTED, true, false},
    [SN_PINGREQ]      = {NULL, /* sn_on_pingreq() */ 0,                        DISCONNECTED, true, false},
    [SN_PINGRESP]     = {NULL,                 WHEN_CONNECTED,                 DROPPED,      true, false},
    [SN_DISCONNECT]   = {sn_on_disconnect,     IN_CONNECTING | WHEN_CONNECTED, DISCONNECTED, true, false},
    [SN_WILLTOPICUPD] = {sn_on_will_topic_upd, WHEN_CONNECTED,                 DISCONNECTED, true, false},
    [SN_WILLMSGUPD]   = {sn_on_will_msg_upd,   WHEN_CONNECTED,                 DISCONNECTED, true, false},
};

/* clang-format on */

void sn_unknown_talker(struct sn_engine *e, const struct peer *from)
{
    sn_count(e, SN_STAT_UNKNOWN_TALKER);
    if (sn_limiter_allow(e, from))
        /* Who it was may just have been forgotten; but the store may not know yet. */
        sn_send(e, from, &(struct sn_packet){.type = SN_DISCONNECT}, e->journal.bound);
}

/* Any message is one, whatever becomes of it. In the middle of a will dialogue none is: supervision
 * there counts our own repetitions. What belongs to the dialogue does not show that it has ended for
 * the client, too: that its CONNACK has arrived. */
static void note_sign_of_life(const struct sn_engine *e, struct sn_client *c,
                              const struct sn_packet *p)
{
    if (!sn_client_connected(c))
        return;
    const bool in_dialogue = p->type == SN_WILLMSG || p->type == SN_WILLTOPIC;
    c->heard_ms = e->now_ms;
    c->idle = c->idle && in_dialogue;
    c->unheard = c->unheard && in_dialogue;
}

/* Before a restart it had sent a CONNECT of which nothing is left, and would repeat its part for
 * long. A late copy from a dialogue that was completed comes soon. */
static bool is_of_forgotten_dialogue(const struct sn_engine *e, const struct sn_client *c,
                                     const struct sn_packet *p)
{
    return c->unheard && (p->type == SN_WILLMSG || p->type == SN_WILLTOPIC) &&
           e->now_ms - sn_client_connack_again_ms(c) > SN_COPIES_MS;
}

static void route(struct sn_engine *e, struct sn_client *c, const struct peer *from,
                  const struct sn_packet *p)
{
    const struct route *r = &routes[p->type];
    if (!r->from_client) {
        sn_count(e, SN_STAT_BAD_DIRECTION);
        return;
    }
    const bool stored_only = c == NULL || c->state == SN_ST_DISCONNECTED || c->state == SN_ST_LOST;
    if (stored_only) {
        if (r->stranger == DISCONNECTED)
            sn_unknown_talker(e, from);
        else
            sn_count(e, SN_STAT_IGNORED_STATE);
        return;
    }
    note_sign_of_life(e, c, p);
    if (is_of_forgotten_dialogue(e, c, p)) {
        sn_unknown_talker(e, from);
        return;
    }
    if (!r->is_answer) /* sleepers that wake up answer, too */
        sn_client_trust(e, c);
    if ((r->states >> c->state & 1) == 0) {
        sn_count(e, SN_STAT_IGNORED_STATE);
        return;
    }
    if (!r->is_answer && p->type != SN_DISCONNECT) /* who takes leave does not listen any more */
        sn_down_resume(e, c);
    if (r->handle != NULL)
        r->handle(e, c, p);
}

static void log_packet_in(struct sn_engine *e, const struct peer *from, const struct sn_packet *p)
{
    if (!log_begin(&e->log, LOG_TRACE, "packet.in"))
        return;
    char text[256];
    log_peer(&e->log, "from", from);
    log_word(&e->log, "packet", sn_print(p, text, sizeof text));
    log_end(&e->log);
}

static void on_message(struct sn_engine *e, const struct peer *from, const struct sn_packet *p,
                       struct bytes raw)
{
    if (log_wanted(&e->log, LOG_TRACE))
        log_packet_in(e, from, p);
    if (p->type == SN_CONNECT) {
        sn_on_connect(e, from, p, raw);
        return;
    }
    if (p->type == SN_SEARCHGW) {
        sn_on_searchgw(e, from, p, false);
        return;
    }
    if (p->type == SN_ADVERTISE || p->type == SN_GWINFO) { /* no gateway says this to us alone */
        sn_count(e, SN_STAT_IGNORED_STATE);
        return;
    }
    struct sn_client *c = sn_client_by_peer(e, from);
    if (p->type == SN_PINGREQ && (c == NULL || c->state != SN_ST_CONNECTING)) {
        sn_on_pingreq(e, c, from, p);
    } else if (p->type == SN_PUBLISH && p->qos == SN_QOS_MINUS_1) {
        if (c != NULL)
            note_sign_of_life(e, c, p);
        sn_on_publish_qos_minus_1(e, c, from, p);
    } else {
        route(e, c, from, p);
    }
}

static void drop_from_group(struct sn_engine *e, const struct peer *from, const struct sn_packet *p)
{
    sn_count(e, SN_STAT_DROP_GROUP);
    if (!log_begin(&e->log, LOG_DEBUG, "packet.dropped"))
        return;
    log_peer(&e->log, "from", from);
    log_word(&e->log, "packet", sn_type_name(p->type));
    log_word(&e->log, "why", sn_stat_name(SN_STAT_DROP_GROUP));
    log_end(&e->log);
}

static void on_group_message(struct sn_engine *e, const struct peer *from,
                             const struct sn_packet *p)
{
    if (log_wanted(&e->log, LOG_TRACE))
        log_packet_in(e, from, p);
    if (p->type == SN_SEARCHGW)
        sn_on_searchgw(e, from, p, true);
    else if (p->type == SN_ADVERTISE || p->type == SN_GWINFO)
        sn_on_gateway(e, from, p);
    else
        drop_from_group(e, from, p);
}

/* ---- entries --------------------------------------------------------------------------------- */

static void fire(struct sn_engine *e, struct deadline *d)
{
    switch ((enum sn_deadline_kind)d->kind) {
    case SN_DL_SUPERVISE:
        sn_client_due(e, container_of(d, struct sn_client, supervise));
        break;
    case SN_DL_RETRY:
        sn_down_due(e, container_of(d, struct sn_down, retry));
        break;
    case SN_DL_ADVERTISE:
        sn_advertise_due(e, container_of(d, struct sn_beacon, advertise));
        break;
    case SN_DL_GWINFO:
        sn_gwinfo_due(e, container_of(d, struct sn_beacon, answer));
        break;
    }
}

static void fire_due(struct sn_engine *e, int64_t now_ms)
{
    assert(now_ms >= e->now_ms);
    e->now_ms = now_ms;
    if (deadlines_next(&e->deadlines) > now_ms)
        return;
    deadlines_collect(&e->deadlines, now_ms);
    for (struct deadline *d = deadlines_take(&e->deadlines); d != NULL;
         d = deadlines_take(&e->deadlines)) {
        fire(e, d);
    }
}

void sn_engine_advance(struct sn_engine *e, int64_t now_ms)
{
    fire_due(e, now_ms);
}

int64_t sn_engine_next_deadline(const struct sn_engine *e)
{
    return deadlines_next(&e->deadlines);
}

static void count_malformed(struct sn_engine *e, const struct peer *from, struct bytes datagram,
                            enum sn_decode_result why)
{
    static const enum sn_stat stat_of[SN_DECODE_RESULTS] = {
        [SN_BAD_TRUNCATED] = SN_STAT_BAD_TRUNCATED, [SN_BAD_LENGTH] = SN_STAT_BAD_LENGTH,
        [SN_BAD_TYPE] = SN_STAT_BAD_TYPE,           [SN_BAD_BODY] = SN_STAT_BAD_BODY,
        [SN_BAD_ENVELOPE] = SN_STAT_BAD_ENVELOPE,
    };

    sn_count(e, stat_of[why]);
    if (!log_begin(&e->log, LOG_DEBUG, "packet.malformed"))
        return;
    log_peer(&e->log, "from", from);
    log_word(&e->log, "why", sn_decode_result_name(why));
    log_int(&e->log, "length", (int64_t)datagram.len);
    log_hex(&e->log, "octets", bytes_of(datagram.data, datagram.len < 32 ? datagram.len : 32));
    log_end(&e->log);
}

/* Opens forwarder envelopes, noting each node id in the sender's path (section 5.5). */
static enum sn_decode_result open_envelopes(struct peer_room *from, struct bytes *datagram)
{
    while (sn_is_envelope(*datagram)) {
        struct sn_envelope env;
        if (sn_envelope_decode(*datagram, &env) != SN_DECODED || !peer_push_node(from, env.node_id))
            return SN_BAD_ENVELOPE;
        *datagram = env.inner;
    }
    return SN_DECODED;
}

static void take_datagram(struct sn_engine *e, const struct peer *from, struct bytes datagram,
                          bool to_group)
{
    sn_count(e, SN_STAT_PACKETS_IN);
    e->stats.n[SN_STAT_BYTES_IN] += datagram.len;
    if (from->link < e->config.n_links && datagram.len > e->links[from->link].max_packet_bytes) {
        sn_count(e, SN_STAT_BAD_OVERSIZE);
        return;
    }
    struct peer_room room;
    enum sn_decode_result result = SN_DECODED;
    struct bytes message = datagram;
    if (sn_is_envelope(datagram)) {
        peer_copy(&room, from);
        result = open_envelopes(&room, &message);
        from = peer_in(&room);
    }
    struct sn_packet p;
    if (result == SN_DECODED)
        result = sn_decode(message, &p);
    if (result != SN_DECODED) {
        count_malformed(e, from, datagram, result);
        return;
    }
    if (to_group)
        on_group_message(e, from, &p);
    else
        on_message(e, from, &p, message);
}

void sn_engine_input(struct sn_engine *e, int64_t now_ms, const struct peer *from,
                     struct bytes datagram)
{
    fire_due(e, now_ms);
    take_datagram(e, from, datagram, false);
}

void sn_engine_input_group(struct sn_engine *e, int64_t now_ms, const struct peer *from,
                           struct bytes datagram)
{
    fire_due(e, now_ms);
    take_datagram(e, from, datagram, true);
}

void sn_engine_group(struct sn_engine *e, int64_t now_ms, uint16_t link, bool joined)
{
    fire_due(e, now_ms);
    sn_discover_group(e, link, joined);
}

static void on_upstream(struct sn_engine *e, bool up, bool accepting)
{
    e->upstream_up = up;
    e->accepting = up || accepting;
    sn_discover_refresh(e);
    if (e->accepting)
        sn_reopen_all(e);
}

static bool listens(const struct sn_client *c)
{
    return c->state == SN_ST_ACTIVE || c->state == SN_ST_AWAKE;
}

void sn_on_closed(struct sn_engine *e, struct sn_client *c)
{
    if (c->connecting != NULL && c->connecting->step == SN_STEP_BROKER)
        return; /* it has crossed our OPEN, whose answer is still to come */
    sn_journal_leaving(e, c, 0);
    /* A sleeper does not hear: it gets DISCONNECT, like any stranger, when it says something. */
    if (listens(c))
        sn_reply(e, c, &(struct sn_packet){.type = SN_DISCONNECT});
    c->open = false; /* it knows */
    sn_client_apply(e, c, SN_CE_CLOSED);
}

void sn_engine_event(struct sn_engine *e, int64_t now_ms, const struct sn_event *event)
{
    fire_due(e, now_ms);
    struct sn_client *c = sn_client_by_key(e, event->client);
    switch (event->type) {
    case SN_EV_UPSTREAM:
        on_upstream(e, event->upstream.up, event->upstream.accepting);
        break;
    case SN_EV_MESSAGE:
        sn_on_message(e, event);
        break;
    case SN_EV_PUBLISHED:
        sn_on_published(e, c, event);
        break;
    case SN_EV_OPENED:
        if (c != NULL)
            sn_on_opened(e, c, event);
        break;
    case SN_EV_SUBSCRIBED:
    case SN_EV_UNSUBSCRIBED:
        if (c != NULL)
            sn_on_subscribed(e, c, event);
        break;
    case SN_EV_CLOSED:
        if (c != NULL)
            sn_on_closed(e, c);
        break;
    }
}

/* ---- looking in ------------------------------------------------------------------------------ */

struct log_ring *sn_engine_log(struct sn_engine *e)
{
    return &e->log;
}

const struct sn_stats *sn_engine_stats(const struct sn_engine *e)
{
    return &e->stats;
}

struct sn_gauges sn_engine_gauges(const struct sn_engine *e)
{
    return (struct sn_gauges){
        .clients = e->clients_by_id.count,
        .connected = e->connected,
        .queued = e->queued,
        .memory_bytes = e->memory_bytes,
        .gateways = sn_gateways_alive(e),
    };
}
