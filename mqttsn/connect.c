/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONNECT with the will dialogue (sections 6.2, 6.3), repeats answered at every step:
 *
 *     waiting for    arrives again    answer
 *     WILLTOPIC      CONNECT          WILLTOPICREQ
 *     WILLMSG        WILLTOPIC        takes the new topic, WILLMSGREQ
 *     WILLMSG        CONNECT          WILLTOPICREQ; a crossing WILLMSG still completes
 *     the broker     anything         nothing, the CONNACK will come
 *     (active)       WILLTOPIC        WILLMSGREQ, when nothing but the dialogue came before: the
 *                                     CONNACK was lost. CONNACK, when there is no will after all
 *     (active)       WILLMSG          CONNACK, likewise
 *     (active)       same CONNECT     CONNACK (or the dialogue again)
 *     (connected)    same CONNECT     CONNACK, when it came right after the CONNACK: a late copy
 *
 * We repeat WILLMSGREQ by timer, but never WILLTOPICREQ to an address that has not yet answered us:
 * a forged CONNECT must not make the gateway send more than one packet.
 */
#include "mqttsn/engine_priv.h"
#include "mqttsn/topic.h"

void sn_connecting_free(struct sn_engine *e, struct sn_client *c)
{
    struct sn_connecting *k = c->connecting;
    if (k == NULL)
        return;
    if (k->will.topic != NULL)
        sn_name_unref(e, k->will.topic);
    body_unref(k->will.body);
    sn_free(e, k, sizeof *k);
    c->connecting = NULL;
}

static void log_refusal(struct sn_engine *e, const struct peer *from, struct bytes id,
                        const char *why)
{
    if (!log_begin(&e->log, LOG_NOTICE, "client.refused"))
        return;
    log_str(&e->log, "client", id);
    log_peer(&e->log, "peer", from);
    log_text(&e->log, "why", why);
    log_end(&e->log);
}

/* Says no before any state is made. */
static void refuse(struct sn_engine *e, const struct peer *from, struct bytes id, uint8_t code,
                   const char *why)
{
    sn_count(e, SN_STAT_CONNECTS_REFUSED);
    log_refusal(e, from, id, why);
    sn_send(e, from, &(struct sn_packet){.type = SN_CONNACK, .return_code = code}, 0);
}

static uint32_t print_of(const struct sn_engine *e, struct bytes raw)
{
    return (uint32_t)hash_bytes(&e->config.hash_seed, raw);
}

/* ---- the dialogue ---------------------------------------------------------------------------- */

/* Each step has T_retry of its own. */
static void watch_step(struct sn_engine *e, struct sn_client *c)
{
    deadline_arm(&e->deadlines, &c->supervise, time_add(e->now_ms, e->config.retry_interval_ms));
}

static void open_session(struct sn_engine *e, struct sn_client *c)
{
    struct sn_connecting *k = c->connecting;
    k->step = SN_STEP_BROKER;
    k->tries = 0;
    k->token = c->next_open_token++;
    /* With W=0 and CleanSession=0 the stored will is in force again (section 6.3). */
    const struct sn_will *will = k->wants_will ? &k->will : c->will;
    const struct sn_request open = {
        .type = SN_REQ_OPEN,
        .client = c->key,
        .token = k->token,
        .open = {.client_id = sn_client_id(c),
                 .clean = c->clean && !k->resumes,
                 .keep_alive_s = c->keep_alive_s,
                 .max_subscriptions = c->profile->options.max_subscriptions,
                 .will = sn_will_view(will),
                 .peer = sn_client_peer(c)},
    };
    struct sn_name *topic = will != NULL ? will->topic : NULL;
    if (sn_ask(e, &open, topic, will != NULL ? will->body : NULL)) {
        c->open = true;
        watch_step(e, c);
        return;
    }
    sn_reply_code(e, c, SN_CONNACK, SN_CONGESTION);
    sn_client_apply(e, c, SN_CE_REFUSED);
}

static void ask_will_topic(struct sn_engine *e, struct sn_client *c)
{
    sn_reply(e, c, &(struct sn_packet){.type = SN_WILLTOPICREQ});
}

static void ask_will_msg(struct sn_engine *e, struct sn_client *c)
{
    sn_reply(e, c, &(struct sn_packet){.type = SN_WILLMSGREQ});
}

/* A CONNECT that is to be carried out: the record exists and is bound to the address. `proven`: this
 * client has been connected at this address. Its client id alone proves nothing. */
static void start(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p, bool proven)
{
    const bool sleeps = c->state == SN_ST_ASLEEP || c->state == SN_ST_AWAKE;
    const bool resumes = sleeps && c->profile->options.resume_asleep == SN_YES;
    sn_connecting_free(e, c);
    /* A clean session ends with its connection; that of a sleeper has not ended (figure 4). */
    if (!resumes && (p->clean || (c->clean && !sleeps)))
        sn_client_reset(e, c);
    const bool clean = resumes && p->clean ? c->clean : p->clean;
    const bool changes = c->clean != clean || c->keep_alive_s != p->duration_s;
    c->clean = clean;
    c->keep_alive_s = p->duration_s;
    c->idle = false;
    c->unheard = false;
    if (!sn_client_apply(e, c, SN_CE_CONNECT))
        return;
    if (changes)
        sn_journal_session(e, c);
    c->connecting = sn_alloc(e, sizeof *c->connecting);
    if (c->connecting == NULL) {
        sn_reply_code(e, c, SN_CONNACK, SN_CONGESTION);
        sn_client_apply(e, c, SN_CE_REFUSED);
        return;
    }
    c->connecting->proven = proven;
    c->connecting->resumes = resumes;
    c->connecting->wants_will = p->will;
    if (p->will) {
        c->connecting->step = SN_STEP_WILLTOPIC;
        ask_will_topic(e, c);
    } else {
        open_session(e, c);
    }
}

/* A CONNECT while an equal one is being carried out. */
static void repeat(struct sn_engine *e, struct sn_client *c)
{
    sn_count(e, SN_STAT_CONNECTS_REPEATED);
    if (c->connecting->step != SN_STEP_BROKER)
        ask_will_topic(e, c);
}

/* Of a CONNECT that is the same again: soon after its CONNACK, or that to its latest repetition. */
static bool is_copy(const struct sn_engine *e, const struct sn_client *c)
{
    return sn_client_connected(c) && e->now_ms - sn_client_connack_again_ms(c) <= SN_COPIES_MS;
}

/* A CONNECT with the octets of the one that made this connection. It changes nothing if it is
 *
 *   - a copy made by the air, which comes soon, behind whatever the client has said since: taken
 *     for a new connection it would wipe out subscriptions, if the session is clean. But a client
 *     that begins a clean session anew looks the same, and the text is on its side: the operator
 *     of such air says so (late_connect_ms);
 *   - a repetition, because the CONNACK was lost: within the client's patience, and nothing done
 *     since that a new clean session would have to undo. */
static bool is_known_connect(const struct sn_engine *e, const struct sn_client *c,
                             const struct sn_packet *p)
{
    const int64_t patience_ms = e->config.retry_interval_ms * (e->config.retry_count + INT64_C(1));
    const bool undoes = p->clean && !c->idle; /* what the client has done since */
    if (undoes ? e->now_ms - sn_client_connack_again_ms(c) <= e->config.late_connect_ms
               : is_copy(e, c))
        return sn_client_connected(c);
    return c->state == SN_ST_ACTIVE && !p->will && (!p->clean || c->idle) &&
           e->now_ms - c->connack_ms <= patience_ms;
}

/* A CONNECT that is known changes nothing, except for a sleeper: it may be a copy, or the client has
 * come back that soon and listens now. So its session goes on as that of an active one, in doubt
 * until it says something that a sleeper would not. Otherwise it sleeps after all, when it does not
 * answer, and wakes as sleepers do. */
static void again(struct sn_engine *e, struct sn_client *c)
{
    sn_count(e, SN_STAT_CONNECTS_REPEATED);
    if (!is_copy(e, c)) /* a repetition, which may have copies of its own */
        c->connack_again = (uint32_t)time_min(e->now_ms - c->connack_ms, UINT32_MAX);
    sn_reply_code(e, c, SN_CONNACK, SN_ACCEPTED);
    if (c->state == SN_ST_ACTIVE)
        return;
    sn_client_apply(e, c, SN_CE_ROUSE);
    sn_down_resume(e, c);
    sn_down_run(e, c);
}

/* NULL when the CONNECT is acceptable, else why it is not, with the return code. */
static const char *objection(const struct sn_engine *e, const struct sn_packet *p, uint8_t *code)
{
    *code = SN_NOT_SUPPORTED;
    if (p->protocol_id != SN_PROTOCOL_ID)
        return "unknown ProtocolId: this is not an MQTT-SN 1.2 client";
    if (p->client_id.len == 0)
        return "empty client id";
    if (p->client_id.len > e->config.max_client_id)
        return "client id longer than max_client_id";
    if (!bytes_is_utf8(p->client_id))
        return "client id is not valid UTF-8";
    *code = SN_CONGESTION;
    if (!e->accepting)
        return "the broker can't be reached";
    return NULL;
}

/* Whatever becomes of the CONNECT, the client that is connected here is alive. */
static void note_sign_of_life(const struct sn_engine *e, struct sn_client *c, struct bytes id)
{
    if (c != NULL && sn_client_connected(c) && bytes_equal(sn_client_id(c), id))
        c->heard_ms = e->now_ms;
}

void sn_on_connect(struct sn_engine *e, const struct peer *from, const struct sn_packet *p,
                   struct bytes raw)
{
    struct sn_client *holder = sn_client_by_peer(e, from);
    note_sign_of_life(e, holder, p->client_id);
    uint8_t code;
    const char *why = objection(e, p, &code);
    if (why != NULL) {
        refuse(e, from, p->client_id, code, why);
        return;
    }
    const struct sn_profile *profile = sn_profile_get(e, p->client_id);
    if (profile == NULL || profile->options.allow == SN_NO) {
        refuse(e, from, p->client_id, profile == NULL ? SN_CONGESTION : SN_NOT_SUPPORTED,
               profile == NULL ? "out of memory" : "not allowed ([client] allow = no)");
        return;
    }
    struct sn_client *c = sn_client_by_id(e, p->client_id);
    const uint32_t print = print_of(e, raw);
    const bool same = c != NULL && sn_client_is_at(c, from) && c->connect_print == print;
    if (same && c->state == SN_ST_CONNECTING) {
        repeat(e, c);
        return;
    }
    if (same && is_known_connect(e, c, p)) {
        again(e, c);
        return;
    }
    sn_client_displace(e, c, holder);
    const bool moved = c != NULL && sn_client_peer(c) != NULL && !sn_client_is_at(c, from);
    const bool known_here =
        c != NULL && sn_client_is_at(c, from) && c->connection != 0 && sn_client_connected(c);
    if (c == NULL)
        c = sn_client_new(e, p->client_id, profile);
    if (c == NULL) {
        refuse(e, from, p->client_id, SN_CONGESTION, "too many clients (max_clients, max_memory)");
        return;
    }
    if (!sn_client_bind(e, c, from)) {
        refuse(e, from, p->client_id, SN_CONGESTION, "out of memory");
        if (c->connection == 0)
            sn_client_free(e, c);
        return;
    }
    if (moved)
        sn_count(e, SN_STAT_TAKEOVERS);
    c->profile = profile;
    c->connect_print = print;
    start(e, c, p, known_here);
}

/* The dialogue is over, and the client does not know it: it repeats its part, or was sent back to
 * WILLTOPIC by our answer to a copy of its CONNECT. */
static void topic_again(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (!c->idle || (c->will == NULL) != (p->topic.len == 0))
        return;
    if (c->will != NULL)
        ask_will_msg(e, c);
    else
        sn_reply_code(e, c, SN_CONNACK, SN_ACCEPTED);
}

void sn_on_will_topic(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (c->state == SN_ST_ACTIVE) {
        topic_again(e, c, p);
        return;
    }
    struct sn_connecting *k = c->connecting;
    if (k == NULL || k->step == SN_STEP_BROKER)
        return;
    k->proven = true;
    if (p->topic.len == 0) { /* the will is to be deleted */
        if (k->will.topic != NULL)
            sn_name_unref(e, k->will.topic);
        k->will.topic = NULL;
        open_session(e, c);
        return;
    }
    struct sn_name *topic = NULL;
    const bool valid = p->qos != SN_QOS_MINUS_1 && sn_topic_name_ok(p->topic);
    if (valid)
        topic = sn_name_get(e, p->topic);
    if (topic == NULL) {
        log_refusal(e, sn_client_peer(c), sn_client_id(c),
                    valid ? "out of memory" : "invalid will topic");
        sn_count(e, SN_STAT_CONNECTS_REFUSED);
        sn_reply_code(e, c, SN_CONNACK, valid ? SN_CONGESTION : SN_NOT_SUPPORTED);
        sn_client_apply(e, c, SN_CE_REFUSED);
        return;
    }
    if (k->will.topic != NULL)
        sn_name_unref(e, k->will.topic);
    k->will.topic = topic;
    k->will.qos = (uint8_t)p->qos;
    k->will.retain = p->retain;
    k->step = SN_STEP_WILLMSG;
    k->tries = 0;
    ask_will_msg(e, c);
    watch_step(e, c);
}

void sn_on_will_msg(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (c->state == SN_ST_ACTIVE) { /* our CONNACK was lost */
        if (c->idle && c->will != NULL)
            sn_reply_code(e, c, SN_CONNACK, SN_ACCEPTED);
        return;
    }
    struct sn_connecting *k = c->connecting;
    if (k == NULL || k->step != SN_STEP_WILLMSG)
        return;
    struct body *body = p->data.len > 0 ? body_new(p->data) : NULL;
    if (p->data.len > 0 && body == NULL) {
        sn_no_memory(e);
        return; /* the client repeats */
    }
    body_unref(k->will.body);
    k->will.body = body;
    open_session(e, c);
}

/* Half a dialogue is supervised at T_retry: repeat, or forget it after N_retry. */
void sn_connect_due(struct sn_engine *e, struct sn_client *c)
{
    struct sn_connecting *k = c->connecting;
    if (k->tries++ >= e->config.retry_count) {
        sn_count(e, SN_STAT_GAVE_UP);
        const bool by_node = k->step != SN_STEP_BROKER;
        if (!by_node)
            sn_reply_code(e, c, SN_CONNACK, SN_CONGESTION);
        sn_client_apply(e, c, by_node ? SN_CE_SILENCE : SN_CE_REFUSED);
        return;
    }
    if (k->step == SN_STEP_WILLMSG || (k->step == SN_STEP_WILLTOPIC && k->proven)) {
        sn_count(e, SN_STAT_RETRANSMISSIONS);
        if (k->step == SN_STEP_WILLMSG)
            ask_will_msg(e, c);
        else
            ask_will_topic(e, c);
    }
    watch_step(e, c);
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* The will of the dialogue becomes the session's; an empty topic has deleted it. */
static void adopt_will(struct sn_engine *e, struct sn_client *c)
{
    struct sn_connecting *k = c->connecting;
    if (!k->wants_will)
        return;
    sn_will_free(e, c);
    if (k->will.topic == NULL)
        return;
    c->will = sn_alloc(e, sizeof *c->will);
    if (c->will == NULL)
        return; /* counted; the broker side has its own copy */
    *c->will = k->will;
    k->will = (struct sn_will){0};
}

void sn_on_opened(struct sn_engine *e, struct sn_client *c, const struct sn_event *event)
{
    if (c->reopening) {
        sn_on_reopened(e, c, event);
        return;
    }
    if (c->state != SN_ST_CONNECTING || c->connecting->step != SN_STEP_BROKER ||
        c->connecting->token != event->token)
        return;
    if (event->outcome != SN_OK) {
        const bool busy = event->outcome == SN_REFUSED_BUSY;
        sn_count(e, SN_STAT_CONNECTS_REFUSED);
        log_refusal(e, sn_client_peer(c), sn_client_id(c),
                    busy ? "the broker can't be reached" : "refused by the broker");
        sn_reply_code(e, c, SN_CONNACK, busy ? SN_CONGESTION : SN_NOT_SUPPORTED);
        sn_client_apply(e, c, SN_CE_REFUSED);
        return;
    }
    adopt_will(e, c);
    if (++c->connection == 0)
        c->connection = 1;
    if (c->topics != NULL)
        c->topics->has_last_sub = false;
    c->connack_ms = e->now_ms;
    c->connack_again = 0;
    c->idle = true;
    sn_count(e, SN_STAT_CONNECTS);
    sn_client_apply(e, c, SN_CE_ACCEPTED);
    sn_reply_code(e, c, SN_CONNACK, SN_ACCEPTED);
    sn_down_resume(e, c);
    sn_down_run(e, c);
}
