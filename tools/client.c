/* SPDX-License-Identifier: Apache-2.0 */
/* The session of a client: connect with the will dialogue, requests and timers, keep alive. */
#include <stdlib.h>

#include "tools/client_priv.h"

/* Messages wait for the owner up to the first limit; the rest is for outcomes of its requests. */
enum { PACKETS_LIMIT = 262144, MESSAGES_LIMIT = 262144, EVENTS_LIMIT = MESSAGES_LIMIT + 16384 };

/* Octets that a packet needs besides its views. */
enum { PACKET_OVERHEAD = 16 };

/* ---- outputs --------------------------------------------------------------------------------- */

bool snc_transmit(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    const size_t room = PACKET_OVERHEAD + p->client_id.len + p->topic.len + p->data.len;
    uint8_t *at = fifo_reserve(&c->packets, room, PACKETS_LIMIT);
    const size_t len = at != NULL ? sn_encode(p, at, room) : 0;
    /* Even when dropped: it is then like lost on the air, and timers must go on. */
    c->last_sent_ms = now_ms;
    if (len == 0) {
        c->counters.packets_dropped++;
        return false;
    }
    fifo_commit(&c->packets, len);
    return true;
}

bool snc_emit(struct snc *c, const struct snc_event *event)
{
    const bool is_message = event->type == SNC_MESSAGE;
    const size_t room = sizeof *event + event->topic.len + event->data.len;
    uint8_t *at = fifo_reserve(&c->events, room, is_message ? MESSAGES_LIMIT : EVENTS_LIMIT);
    if (at == NULL) {
        c->counters.events_dropped++;
        return false;
    }
    struct writer w = wr_to(at, room);
    wr_bytes(&w, bytes_of(event, sizeof *event));
    wr_bytes(&w, event->topic);
    wr_bytes(&w, event->data);
    fifo_commit(&c->events, w.len);
    return true;
}

bool snc_peek_packet(struct snc *c, struct bytes *out)
{
    return fifo_peek(&c->packets, out);
}

void snc_done_packet(struct snc *c)
{
    fifo_done(&c->packets);
}

bool snc_peek_event(struct snc *c, struct snc_event *out)
{
    struct bytes record;
    if (!fifo_peek(&c->events, &record))
        return false;
    struct reader r = rd_of(record);
    memcpy(out, rd_bytes(&r, sizeof *out).data, sizeof *out);
    out->topic = rd_bytes(&r, out->topic.len);
    out->data = rd_rest(&r);
    return true;
}

void snc_done_event(struct snc *c)
{
    fifo_done(&c->events);
}

/* ---- requests -------------------------------------------------------------------------------- */

bool snc_copy_set(struct snc_copy *copy, struct bytes from)
{
    if (from.len > copy->cap) {
        uint8_t *data = realloc(copy->data, from.len);
        if (data == NULL)
            return false;
        copy->data = data;
        copy->cap = (uint32_t)from.len;
    }
    if (from.len > 0)
        memcpy(copy->data, from.data, from.len);
    copy->len = (uint32_t)from.len;
    return true;
}

struct bytes snc_copy_get(const struct snc_copy *copy)
{
    return bytes_of(copy->data, copy->len);
}

bool snc_is_open(const struct snc *c, enum snc_slot slot)
{
    return c->requests[slot].due_ms != TIME_NEVER;
}

bool snc_answers(const struct snc *c, enum snc_slot slot, uint16_t msg_id)
{
    return snc_is_open(c, slot) && c->requests[slot].msg_id == msg_id;
}

/* Not 0000, and none that an open or parked request uses. */
uint16_t snc_next_msg_id(struct snc *c)
{
    bool taken;
    do {
        taken = ++c->last_msg_id == 0;
        for (unsigned slot = 0; slot < SLOTS; slot++)
            taken = taken || c->requests[slot].msg_id == c->last_msg_id;
    } while (taken);
    return c->last_msg_id;
}

static void send_session_request(struct snc *c, int64_t now_ms)
{
    struct sn_packet p = {0};
    switch (c->state) {
    case SNC_CONNECTING:
        p = (struct sn_packet){.type = SN_CONNECT,
                               .clean = c->clean,
                               .will = c->has_will,
                               .protocol_id = SN_PROTOCOL_ID,
                               .duration_s = c->keep_alive_s,
                               .client_id = c->client_id};
        break;
    case SNC_WILL_TOPIC:
        p = (struct sn_packet){.type = SN_WILLTOPIC,
                               .qos = c->will_qos,
                               .retain = c->will_retain,
                               .topic = c->will_topic};
        break;
    case SNC_WILL_MSG:
        p = (struct sn_packet){.type = SN_WILLMSG, .data = c->will_message};
        break;
    case SNC_LEAVING:
        p = (struct sn_packet){
            .type = SN_DISCONNECT, .has_duration = c->to_sleep, .duration_s = c->sleep_s};
        break;
    case SNC_OFFLINE:
    case SNC_ACTIVE:
    case SNC_ASLEEP:
        return;
    }
    snc_transmit(c, now_ms, &p);
}

static void send_ping(struct snc *c, int64_t now_ms)
{
    const struct sn_packet p = {
        .type = SN_PINGREQ, .client_id = c->state == SNC_ASLEEP ? c->client_id : bytes_of(NULL, 0)};
    snc_transmit(c, now_ms, &p);
}

static void send_request(struct snc *c, int64_t now_ms, enum snc_slot slot)
{
    switch (slot) {
    case SLOT_SESSION:
        send_session_request(c, now_ms);
        break;
    case SLOT_PING:
        send_ping(c, now_ms);
        break;
    case SLOT_REGISTER:
        snc_send_register(c, now_ms);
        break;
    case SLOT_SUBSCRIBE:
        snc_send_subscribe(c, now_ms);
        break;
    case SLOT_PUBLISH:
        snc_send_publication(c, now_ms);
        break;
    case SLOTS:
        break;
    }
}

void snc_open(struct snc *c, int64_t now_ms, enum snc_slot slot, uint16_t msg_id)
{
    c->requests[slot] = (struct snc_request){.first_ms = now_ms,
                                             .due_ms = time_add(now_ms, c->retry_ms),
                                             .sendings = 1,
                                             .msg_id = msg_id};
    send_request(c, now_ms, slot);
}

void snc_close(struct snc *c, enum snc_slot slot)
{
    c->requests[slot].due_ms = TIME_NEVER;
    c->requests[slot].msg_id = 0;
}

/* A publication within a kept session stays, parked with its msg id, for the next connection. */
static void close_all(struct snc *c)
{
    const uint16_t msg_id = c->requests[SLOT_PUBLISH].msg_id;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        snc_close(c, (enum snc_slot)slot);
    if (c->clean)
        c->pub.phase = PUB_IDLE;
    else
        c->requests[SLOT_PUBLISH].msg_id = msg_id;
}

static void give_up(struct snc *c, int64_t now_ms, enum snc_slot slot)
{
    const struct snc_request request = c->requests[slot];
    close_all(c);
    /* Nobody answers the wake-up: section 6.14 sends the client back to sleep. */
    if (c->state != SNC_ASLEEP)
        c->state = SNC_OFFLINE;
    snc_emit(c, &(struct snc_event){.type = SNC_TIMEOUT,
                                    .msg_id = request.msg_id,
                                    .took_ms = now_ms - request.first_ms,
                                    .sendings = request.sendings});
}

static void repeat(struct snc *c, int64_t now_ms, enum snc_slot slot)
{
    struct snc_request *request = &c->requests[slot];
    if (request->sendings > c->retry_count) {
        give_up(c, now_ms, slot);
        return;
    }
    request->sendings++;
    request->due_ms = time_add(now_ms, c->retry_ms);
    if (slot == SLOT_PUBLISH)
        c->pub.repeats++;
    c->counters.retransmissions++;
    send_request(c, now_ms, slot);
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t keep_alive_due(const struct snc *c)
{
    if (c->state != SNC_ACTIVE || snc_is_open(c, SLOT_PING) || c->ping_after_ms == TIME_NEVER)
        return TIME_NEVER;
    return time_add(c->last_sent_ms, c->ping_after_ms);
}

void snc_advance(struct snc *c, int64_t now_ms)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (c->requests[slot].due_ms <= now_ms)
            repeat(c, now_ms, (enum snc_slot)slot);
    }
    if (keep_alive_due(c) <= now_ms)
        snc_open(c, now_ms, SLOT_PING, 0);
}

int64_t snc_next_deadline(const struct snc *c)
{
    int64_t due_ms = keep_alive_due(c);
    for (unsigned slot = 0; slot < SLOTS; slot++)
        due_ms = time_min(due_ms, c->requests[slot].due_ms);
    return due_ms;
}

/* ---- session --------------------------------------------------------------------------------- */

bool snc_is_connected(const struct snc *c)
{
    return c->state == SNC_ACTIVE;
}

bool snc_is_asleep(const struct snc *c)
{
    return c->state == SNC_ASLEEP && !snc_is_open(c, SLOT_PING);
}

bool snc_is_reachable(const struct snc *c)
{
    return c->state == SNC_ACTIVE || (c->state == SNC_ASLEEP && snc_is_open(c, SLOT_PING));
}

bool snc_publishing(const struct snc *c)
{
    return c->pub.phase != PUB_IDLE || snc_is_open(c, SLOT_REGISTER);
}

const struct snc_counters *snc_counters(const struct snc *c)
{
    return &c->counters;
}

static bool is_connecting(const struct snc *c)
{
    return c->state == SNC_CONNECTING || c->state == SNC_WILL_TOPIC || c->state == SNC_WILL_MSG;
}

int snc_connect(struct snc *c, int64_t now_ms)
{
    snc_advance(c, now_ms);
    if (c->state != SNC_OFFLINE && c->state != SNC_ASLEEP)
        return SNC_BUSY;
    const size_t longest = SN_PACKET_MAX - PACKET_OVERHEAD;
    if (c->client_id.len > longest || c->will_topic.len > longest || c->will_message.len > longest)
        return SNC_TOO_LARGE;
    close_all(c);
    if (c->clean) {
        regs_clear(&c->names);
        c->inbound_count = 0;
    }
    regs_new_connection(&c->names);
    c->state = SNC_CONNECTING;
    snc_open(c, now_ms, SLOT_SESSION, 0);
    return 0;
}

int snc_ping(struct snc *c, int64_t now_ms)
{
    snc_advance(c, now_ms);
    if (c->state != SNC_ACTIVE && c->state != SNC_ASLEEP)
        return SNC_NOT_CONNECTED;
    if (snc_is_open(c, SLOT_PING))
        return SNC_BUSY;
    snc_open(c, now_ms, SLOT_PING, 0);
    return 0;
}

int snc_disconnect(struct snc *c, int64_t now_ms, uint16_t sleep_s)
{
    snc_advance(c, now_ms);
    if (c->state == SNC_LEAVING || (sleep_s > 0 && snc_publishing(c)))
        return SNC_BUSY;
    if (c->state != SNC_ACTIVE && c->state != SNC_ASLEEP)
        return SNC_NOT_CONNECTED;
    close_all(c);
    c->state = SNC_LEAVING;
    c->to_sleep = sleep_s > 0;
    c->sleep_s = sleep_s;
    snc_open(c, now_ms, SLOT_SESSION, 0);
    return 0;
}

/* The next message of the dialogue is a request of its own, with all its repetitions. */
static bool next_will_step(struct snc *c, int64_t now_ms, enum snc_state step)
{
    if (!is_connecting(c) || !c->has_will)
        return false;
    const int64_t first_ms = c->requests[SLOT_SESSION].first_ms;
    c->state = step;
    snc_open(c, now_ms, SLOT_SESSION, 0);
    c->requests[SLOT_SESSION].first_ms = first_ms;
    return true;
}

static bool on_willtopicreq(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    (void)p;
    return next_will_step(c, now_ms, SNC_WILL_TOPIC);
}

static bool on_willmsgreq(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    (void)p;
    return next_will_step(c, now_ms, SNC_WILL_MSG);
}

static bool on_connack(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    if (!is_connecting(c))
        return false;
    const bool accepted = p->return_code == SN_ACCEPTED;
    const struct snc_request request = c->requests[SLOT_SESSION];
    snc_close(c, SLOT_SESSION);
    c->state = accepted ? SNC_ACTIVE : SNC_OFFLINE;
    snc_emit(c, &(struct snc_event){.type = accepted ? SNC_CONNECTED : SNC_REFUSED,
                                    .return_code = p->return_code,
                                    .took_ms = now_ms - request.first_ms,
                                    .sendings = request.sendings});
    if (accepted)
        snc_publication_resume(c, now_ms);
    return true;
}

static bool on_pingreq(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    (void)p;
    if (!snc_is_reachable(c))
        return false;
    snc_transmit(c, now_ms, &(struct sn_packet){.type = SN_PINGRESP});
    return true;
}

static bool on_pingresp(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    (void)p;
    if (!snc_is_open(c, SLOT_PING))
        return false;
    const struct snc_request request = c->requests[SLOT_PING];
    snc_close(c, SLOT_PING);
    snc_emit(c, &(struct snc_event){.type = SNC_PONG,
                                    .took_ms = now_ms - request.first_ms,
                                    .sendings = request.sendings});
    return true;
}

static bool on_disconnect(struct snc *c, int64_t now_ms, const struct sn_packet *p)
{
    (void)now_ms;
    (void)p;
    /* While CONNECT waits, or asleep with nothing asked, it is a late copy of an earlier answer. */
    if (c->state == SNC_OFFLINE || c->state == SNC_CONNECTING || snc_is_asleep(c))
        return false;
    const bool answered = c->state == SNC_LEAVING;
    c->state = answered && c->to_sleep ? SNC_ASLEEP : SNC_OFFLINE;
    close_all(c);
    snc_emit(c, &(struct snc_event){.type = SNC_DISCONNECTED, .by_gateway = !answered});
    return true;
}

/* ---- input ----------------------------------------------------------------------------------- */

typedef bool handler(struct snc *c, int64_t now_ms, const struct sn_packet *p);

/* What a client may receive; anything else is out of place. */
static handler *const HANDLERS[SN_TYPE_COUNT] = {
    [SN_CONNACK] = on_connack,       [SN_WILLTOPICREQ] = on_willtopicreq,
    [SN_WILLMSGREQ] = on_willmsgreq, [SN_REGISTER] = snc_on_register,
    [SN_REGACK] = snc_on_regack,     [SN_PUBLISH] = snc_on_publish,
    [SN_PUBACK] = snc_on_puback,     [SN_PUBREC] = snc_on_pubrec,
    [SN_PUBREL] = snc_on_pubrel,     [SN_PUBCOMP] = snc_on_pubcomp,
    [SN_SUBACK] = snc_on_suback,     [SN_UNSUBACK] = snc_on_unsuback,
    [SN_PINGREQ] = on_pingreq,       [SN_PINGRESP] = on_pingresp,
    [SN_DISCONNECT] = on_disconnect,
};

/* Gateways look and are looked for by broadcast (section 6.1): whoever is near hears it. */
static bool is_for_everybody(enum sn_type type)
{
    return type == SN_ADVERTISE || type == SN_SEARCHGW || type == SN_GWINFO;
}

/* While awake, each message shows that the gateway is still delivering (section 6.14). */
static void extend_awake_period(struct snc *c, int64_t now_ms)
{
    if (c->state != SNC_ASLEEP || !snc_is_open(c, SLOT_PING))
        return;
    c->requests[SLOT_PING].due_ms = time_add(now_ms, c->retry_ms);
    c->requests[SLOT_PING].sendings = 1;
}

void snc_input(struct snc *c, int64_t now_ms, struct bytes packet)
{
    snc_advance(c, now_ms);
    struct sn_packet p;
    if (sn_decode(packet, &p) != SN_DECODED) {
        c->counters.malformed++;
        return;
    }
    if (is_for_everybody(p.type))
        return;
    handler *const handle = HANDLERS[p.type];
    if (handle == NULL || !handle(c, now_ms, &p)) {
        /* Before its answer to DISCONNECT the gateway may have sent all kinds of things. */
        c->counters.unexpected += c->state != SNC_LEAVING;
        return;
    }
    extend_awake_period(c, now_ms);
}

/* ---- life cycle ------------------------------------------------------------------------------ */

static struct bytes keep(struct writer *w, struct bytes from)
{
    const struct bytes view = bytes_of(w->buf + w->len, from.len);
    wr_bytes(w, from);
    return view;
}

/* One lost ping must still leave time for a repetition within the gateway's tolerance. */
static int64_t ping_after(uint16_t keep_alive_s, int64_t retry_ms)
{
    const int64_t keep_alive_ms = (int64_t)keep_alive_s * 1000;
    return keep_alive_s == 0 ? TIME_NEVER : keep_alive_ms - time_min(retry_ms, keep_alive_ms / 2);
}

struct snc *snc_new(const struct snc_options *options, int64_t now_ms)
{
    const struct bytes id = bytes_str(options->client_id);
    const bool has_will = options->will_topic != NULL;
    const struct bytes will_topic = has_will ? bytes_str(options->will_topic) : bytes_of(NULL, 0);
    const struct bytes will_message = has_will ? options->will_message : bytes_of(NULL, 0);
    const size_t text_len = id.len + will_topic.len + will_message.len;
    struct snc *c = calloc(1, sizeof *c + text_len);
    if (c == NULL)
        return NULL;
    struct writer w = wr_to(c->text, text_len);
    c->client_id = keep(&w, id);
    c->will_topic = keep(&w, will_topic);
    c->will_message = keep(&w, will_message);
    c->has_will = has_will;
    c->will_qos = (enum sn_qos)(options->will_qos & 3);
    c->will_retain = options->will_retain;
    c->clean = options->clean;
    c->keep_alive_s = options->keep_alive_s;
    c->retry_ms = options->retry_ms > 0 ? options->retry_ms : 10000;
    c->retry_count = options->retry_count;
    c->ping_after_ms = ping_after(c->keep_alive_s, c->retry_ms);
    c->last_sent_ms = now_ms;
    for (unsigned slot = 0; slot < SLOTS; slot++)
        c->requests[slot].due_ms = TIME_NEVER;
    return c;
}

void snc_free(struct snc *c)
{
    if (c == NULL)
        return;
    regs_clear(&c->names);
    free(c->inbound);
    free(c->pub.data.data);
    free(c->sub.name.data);
    free(c->register_name.data);
    fifo_deinit(&c->packets);
    fifo_deinit(&c->events);
    free(c);
}
