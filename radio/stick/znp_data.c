/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets through a running ZNP stick: sending, confirms, what comes in, and the 16-bit addresses
 * under which nodes speak (radio reference, B.5 and B.6).
 *
 * A confirm that reports a failure after the packet was on air is passed up as it is; repeating is
 * MQTT-SN's business. Only what never was on air is tried again.
 */
#include "radio/stick/znp_priv.h"

enum {
    AGAIN_MS = 1500, /* after a busy answer, plus jitter */
    AGAIN_JITTER_MS = 500,
    SEEK_AGAIN_MS = 400,
    SEEK_GAP_MS = 1000, /* between searches over the air: broadcasts (I.2) */
    BREATH_MS = 100,    /* when the stick is out of buffers */
    REFUSED_MAX = 4,    /* in a row, and the stick has forgotten our endpoint */
    REFUSED_GAP_MS = 60000,
    WHO_MS = 1000,
    WHO_TRIES = 3,
    JOIN_MAX_S = 254,
    JOIN_RENEW_MS = 240000,
};

/* What was tried already for a packet: stick_send.note. */
enum { NOTE_ROUTED = 1, NOTE_SOUGHT = 2 };

void znp_data_reset(struct znp *z)
{
    memset(z->who, 0, sizeof z->who);
    z->fetch.on = false;
    z->seek_ms = INT64_MIN;
    z->resume_ms = TIME_NEVER;
    z->join_ms = TIME_NEVER;
    z->refused_in_a_row = 0;
}

/* ---- sending ----------------------------------------------------------------------------------- */

void znp_packet_encode(struct znp *z, const struct stick_send *send, struct znp_request *request,
                       struct writer *w)
{
    const struct stick_config *c = &z->s.config;
    const struct stick_node *node = send->node;
    const bool group = stick_is_group(send);
    struct znp_data data = {
        .endpoint_to = c->endpoint,
        .endpoint = c->endpoint,
        .cluster = c->cluster,
        .id = send->id,
        .options = group ? 0 : ZNP_OPTION_APS_ACK,
        .radius = send->radius != 0 ? send->radius : ZNP_RADIUS,
        .payload = stick_packet(send),
        .mode = ZNP_MODE_EUI64,
        .to = node->address,
    };
    if (group)
        data.to = ZNP_BROADCAST_AWAKE;
    else if (node->kind == PEER_EUI64 && node->short_address != SHORT_UNKNOWN)
        data.to = node->short_address;

    const bool by_eui64 = !group && node->kind == PEER_EUI64 && data.to == node->address &&
                          node->short_address == SHORT_UNKNOWN;
    request->cmd = by_eui64 ? ZNP_DATA_REQUEST_EXT : ZNP_DATA_REQUEST;
    if (by_eui64)
        znp_put_data_ext(w, &data);
    else
        znp_put_data(w, &data);
}

/* Asks everybody for the 16-bit address of a node. */
static bool seek(struct znp *z, int64_t now_ms, uint64_t eui64)
{
    if (now_ms < z->seek_ms)
        return false;
    uint8_t data[10];
    struct writer w = wr_to(data, sizeof data);
    znp_put_nwk_addr(&w, eui64);
    if (!znp_ask(z, now_ms, ZNP_BY_NOBODY, 0, ZNP_NWK_ADDR_REQ, bytes_of(data, w.len)))
        return false;
    z->seek_ms = now_ms + SEEK_GAP_MS;
    return true;
}

static void not_begun(struct znp *z, int64_t now_ms, uint8_t id, int64_t again_ms)
{
    stick_verdict(&z->s, now_ms, id, VERDICT_NOT_BEGUN, again_ms);
}

static void busy(struct znp *z, int64_t now_ms, uint8_t id)
{
    not_begun(z, now_ms, id, AGAIN_MS + (int64_t)rng_below(&z->s.rng, AGAIN_JITTER_MS));
}

/* Nobody knows the way: look for it, once. */
static void find_route(struct znp *z, int64_t now_ms, struct stick_send *send)
{
    const struct stick_node *node = send->node;
    const uint64_t eui64 = node->address;
    if ((send->note & NOTE_ROUTED) != 0 || node->kind != PEER_EUI64) {
        stick_verdict(&z->s, now_ms, send->id, VERDICT_FAILED, 0);
        seek(z, now_ms, eui64);
        return;
    }
    send->note |= NOTE_ROUTED;
    if (node->short_address != SHORT_UNKNOWN) {
        uint8_t data[4];
        struct writer w = wr_to(data, sizeof data);
        znp_put_route_disc(&w, node->short_address);
        znp_ask(z, now_ms, ZNP_BY_NOBODY, 0, ZNP_EXT_ROUTE_DISC, bytes_of(data, w.len));
    }
    busy(z, now_ms, send->id);
}

/* It may have got another 16-bit address without our hearing of it. */
static void no_ack(struct znp *z, int64_t now_ms, struct stick_send *send)
{
    struct stick_node *node = send->node;
    if (node->kind == PEER_EUI64 && stick_search_due(node, node->failures_in_row + 1U))
        node->search_owed = !seek(z, now_ms, node->address);
    stick_verdict(&z->s, now_ms, send->id, VERDICT_FAILED, 0);
}

/* A stick that refuses everything has forgotten our endpoint: it was reset without our hearing of
 * it. Starting it again repairs that; but not all the time, if the reason is another one. */
static void refused(struct znp *z, int64_t now_ms, struct stick_send *send, uint8_t status)
{
    stick_log(&z->s, LOG_WARN, "znp.refused",
              "the stick refuses a packet of %u octets: status %02X", send->len, status);
    stick_verdict(&z->s, now_ms, send->id, VERDICT_REFUSED, 0);
    if (++z->refused_in_a_row < REFUSED_MAX)
        return;
    z->refused_in_a_row = 0;
    if (z->refused_ms != INT64_MIN && now_ms - z->refused_ms < REFUSED_GAP_MS)
        return;
    z->refused_ms = now_ms;
    znp_restart(z, now_ms, "the stick refuses all packets; starting it again");
}

/* The stick does not know the node: find it, then again. */
static void unknown_node(struct znp *z, int64_t now_ms, struct stick_send *send)
{
    const bool sought = (send->note & NOTE_SOUGHT) != 0;
    const uint64_t eui64 = send->node->address;
    send->note |= NOTE_SOUGHT;
    if (!sought)
        seek(z, now_ms, eui64);
    not_begun(z, now_ms, send->id, sought ? AGAIN_MS : SEEK_AGAIN_MS);
}

/* The stick's immediate answer. */
void znp_packet_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct stick_send *send = stick_outstanding(&z->s, (uint8_t)reply->arg);
    struct reader r = rd_of(reply->data);
    const uint8_t status = reply->rpc_error != 0 ? ZNP_INVALID_PARAMETER : rd_u8(&r);
    if (send == NULL || reply->none || r.failed) /* its confirm came first, or may still come */
        return;
    const enum znp_class class = znp_class_of(status);
    if (class == ZNP_CLASS_OK) {
        z->refused_in_a_row = 0;
        if (stick_is_group(send))
            stick_verdict(&z->s, now_ms, send->id, VERDICT_DELIVERED, 0);

    } else if (class == ZNP_CLASS_BUSY) {
        if (status == ZNP_MEMORY || status == ZNP_BUFFER_FULL) {
            stick_pause(&z->s);
            z->resume_ms = now_ms + BREATH_MS;
        }
        busy(z, now_ms, send->id);
    } else if (reply->cmd == ZNP_DATA_REQUEST_EXT) {

        unknown_node(z, now_ms, send);

    } else if (class == ZNP_CLASS_ROUTE) {
        find_route(z, now_ms, send);
    } else {

        refused(z, now_ms, send, status);
    }
}

static void on_confirm(struct znp *z, int64_t now_ms, const struct znp_confirm *confirm)
{
    struct stick_send *send =
        confirm->endpoint == z->s.config.endpoint ? stick_outstanding(&z->s, confirm->id) : NULL;
    /* One that still waits for its turn can have no confirm: that is an earlier packet's. */
    if (send == NULL || z->packet_waits[confirm->id]) {
        z->s.counters.unknown_ids++;
        return;
    }
    z->refused_in_a_row = 0;
    switch (znp_class_of(confirm->status)) {
    case ZNP_CLASS_OK:
        stick_verdict(&z->s, now_ms, send->id, VERDICT_DELIVERED, 0);
        break;
    case ZNP_CLASS_BUSY:
        busy(z, now_ms, send->id);
        break;
    case ZNP_CLASS_ROUTE:
        find_route(z, now_ms, send);
        break;
    case ZNP_CLASS_NO_ACK:
    case ZNP_CLASS_REFUSED: /* accepted before: it may have been on air */
        no_ack(z, now_ms, send);
        break;
    }
}

/* ---- who is that? ------------------------------------------------------------------------------ */

static void learn(struct znp *z, int64_t now_ms, const struct znp_pair *pair)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (z->who[i].at_ms != 0 && z->who[i].short_address == pair->short_address)
            z->who[i].at_ms = 0;
    }
    if (pair->eui64 != 0 && pair->eui64 != UINT64_MAX)
        stick_learn(&z->s, now_ms, pair->eui64, pair->short_address);
}

static struct znp_who *find_who(struct znp *z, uint16_t short_address)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (z->who[i].at_ms != 0 && z->who[i].short_address == short_address)
            return &z->who[i];
    }
    return NULL;
}

/* The node itself is asked, over the air. */
static void ask_who(struct znp *z, int64_t now_ms, struct znp_who *who)
{
    uint8_t data[4];
    struct writer w = wr_to(data, sizeof data);
    znp_put_ieee_addr(&w, who->short_address);
    who->asked++;
    who->at_ms = now_ms + WHO_MS;
    znp_ask(z, now_ms, ZNP_BY_NOBODY, 0, ZNP_IEEE_ADDR_REQ, bytes_of(data, w.len));
}

/* First the stick is: it often knows. */
static void who_is(struct znp *z, int64_t now_ms, uint16_t short_address)
{
    if (!stick_is_held(&z->s, short_address) || find_who(z, short_address) != NULL)
        return;
    for (size_t i = 0; i < STICK_HELD; i++) {
        struct znp_who *who = &z->who[i];
        if (who->at_ms != 0)
            continue;
        uint8_t data[2];
        struct writer w = wr_to(data, sizeof data);
        *who = (struct znp_who){.short_address = short_address, .at_ms = now_ms + WHO_MS};
        wr_u16_le(&w, short_address);
        znp_ask(z, now_ms, ZNP_BY_LOOKUP, short_address, ZNP_NWK_LOOKUP, bytes_of(data, w.len));
        return;
    }
}

void znp_lookup_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct reader r = rd_of(reply->data);
    const struct znp_pair pair = {.eui64 = rd_u64_le(&r), .short_address = (uint16_t)reply->arg};
    struct znp_who *who = find_who(z, pair.short_address);
    const bool known =
        !reply->none && reply->rpc_error == 0 && !r.failed && pair.eui64 + 1 > UINT64_C(1);
    if (known)
        learn(z, now_ms, &pair);
    else if (who != NULL)
        ask_who(z, now_ms, who);
}

static void who_due(struct znp *z, int64_t now_ms)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        struct znp_who *who = &z->who[i];
        if (who->at_ms == 0 || who->at_ms > now_ms)
            continue;
        if (who->asked < WHO_TRIES && stick_is_held(&z->s, who->short_address))
            ask_who(z, now_ms, who);
        else
            who->at_ms = 0;
    }
}

/* ---- receiving --------------------------------------------------------------------------------- */

static bool is_for_us(struct znp *z, const struct znp_incoming *in)
{
    const struct stick_config *c = &z->s.config;
    const bool ours = in->endpoint == c->endpoint || in->endpoint == 0xFF;
    const bool here = in->pan_id == 0 || in->pan_id == z->network.pan_id || z->network.channel == 0;
    const bool node = in->by_eui64 || (in->from > 0 && in->from < 0xFFF8);
    if (ours && here && node && in->cluster == c->cluster)
        return true;
    z->s.counters.foreign++;
    return false;
}

static void heard(struct znp *z, int64_t now_ms, const struct znp_incoming *in, struct bytes packet)
{
    const struct stick_radio radio = {
        .to_group = in->broadcast || in->group != 0, .has_lqi = true, .lqi = in->lqi};
    if (in->by_eui64)
        stick_heard(&z->s, now_ms, PEER_EUI64, in->from, SHORT_UNKNOWN, &radio, packet);
    else if (!stick_heard_short(&z->s, now_ms, (uint16_t)in->from, &radio, packet))
        who_is(z, now_ms, (uint16_t)in->from);
}

static void fetch_more(struct znp *z, int64_t now_ms, const struct znp_incoming *head, uint8_t n)
{
    uint8_t data[7];
    struct writer w = wr_to(data, sizeof data);
    znp_put_retrieve(&w, head->timestamp, z->fetch.on ? z->fetch.got : 0, n);
    znp_ask(z, now_ms, z->fetch.on ? ZNP_BY_FETCH : ZNP_BY_NOBODY, 0, ZNP_DATA_RETRIEVE,
            bytes_of(data, w.len));
}

static void fetch_next(struct znp *z, int64_t now_ms)
{
    enum { PART = 240 };

    const unsigned left = z->fetch.head.len - (unsigned)z->fetch.got;
    fetch_more(z, now_ms, &z->fetch.head, (uint8_t)(left < PART ? left : PART));
}

/* Nothing of ours is that long, but what the stick keeps must be taken or given back. */
static void fetch_begin(struct znp *z, int64_t now_ms, const struct znp_incoming *in)
{
    const bool too_long = in->len > z->s.config.max_packet_bytes || in->len > sizeof z->fetch.data;
    if (too_long || z->fetch.on) {
        const bool was = z->fetch.on;
        z->s.counters.oversize_in += too_long;
        z->s.counters.strange_frames += !too_long;
        z->fetch.on = false;
        fetch_more(z, now_ms, in, 0);
        z->fetch.on = was;
        return;
    }
    z->fetch.on = true;
    z->fetch.head = *in;
    z->fetch.got = 0;
    fetch_next(z, now_ms);
}

void znp_fetch_reply(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct znp_fetch *f = &z->fetch;
    struct reader r = rd_of(reply->data);
    const uint8_t status = reply->rpc_error != 0 ? ZNP_FAILURE : rd_u8(&r);
    const struct bytes part = rd_bytes(&r, rd_u8(&r));
    if (!f->on)
        return;
    const bool good = !reply->none && !r.failed && status == ZNP_OK && part.len > 0 &&
                      part.len <= (size_t)(f->head.len - f->got);
    if (!good) {
        f->on = false;
        z->s.counters.strange_frames++;
        fetch_more(z, now_ms, &f->head, 0);
        return;
    }
    memcpy(f->data + f->got, part.data, part.len);
    f->got = (uint16_t)(f->got + part.len);
    if (f->got < f->head.len) {
        fetch_next(z, now_ms);
        return;
    }
    f->on = false;
    fetch_more(z, now_ms, &f->head, 0);
    heard(z, now_ms, &f->head, bytes_of(f->data, f->head.len));
}

static bool on_incoming(struct znp *z, int64_t now_ms, const struct znp_frame *frame)
{
    struct znp_incoming in;
    const bool good = frame->cmd == ZNP_INCOMING ? znp_get_incoming(frame->data, &in)
                                                 : znp_get_incoming_ext(frame->data, &in);
    if (!good)
        return false;
    /* Before stick_up() it is nobody's: the network is the right one, but the nodes' 16-bit
     * addresses can't be asked for. */
    if (z->s.state != STICK_RUNNING) {
        z->s.counters.unresolved++;
        return true;
    }
    if (is_for_us(z, &in)) {
        if (in.fetch)
            fetch_begin(z, now_ms, &in);
        else
            heard(z, now_ms, &in, in.payload);
    }
    return true;
}

static bool on_annce(struct znp *z, int64_t now_ms, struct bytes data)
{
    struct znp_pair pair;
    uint8_t capability;
    if (!znp_get_annce(data, &pair, &capability))
        return false;
    stick_log(&z->s, LOG_DEBUG, "znp.announce", "%016llX is %04X, %s",
              (unsigned long long)pair.eui64, pair.short_address,
              (capability & 0x08) != 0 ? "awake" : "sleepy");
    learn(z, now_ms, &pair);
    return true;
}

static bool on_leave(struct znp *z, int64_t now_ms, struct bytes data)
{
    struct znp_leave leave;
    if (!znp_get_leave(data, &leave))
        return false;
    stick_log(&z->s, LOG_DEBUG, "znp.leave", "%016llX has left%s",
              (unsigned long long)leave.who.eui64, leave.rejoins ? " and will come back" : "");
    stick_learn(&z->s, now_ms, leave.who.eui64, SHORT_UNKNOWN);
    return true;
}

/* An address response that reports failure is well-formed all the same. */
static bool on_addresses(struct znp *z, int64_t now_ms, struct bytes data)
{
    struct znp_pair pair;
    if (znp_get_addresses(data, &pair))
        learn(z, now_ms, &pair);
    return data.len > 0;
}

static bool on_zdo(struct znp *z, int64_t now_ms, struct bytes data)
{
    enum { DEVICE_ANNCE = 0x0013, NWK_ADDR_RSP = 0x8000, IEEE_ADDR_RSP = 0x8001 };

    struct znp_zdo zdo;
    if (!znp_get_zdo(data, &zdo))
        return false;
    if (zdo.cluster == NWK_ADDR_RSP || zdo.cluster == IEEE_ADDR_RSP)
        return on_addresses(z, now_ms, zdo.data);
    struct znp_pair pair;
    /* network address, EUI-64, capability: as in ZNP_TC_DEVICE */
    if (zdo.cluster == DEVICE_ANNCE && znp_get_tc_device(zdo.data, &pair))
        learn(z, now_ms, &pair);
    return true;
}

bool znp_data_heard(struct znp *z, int64_t now_ms, const struct znp_frame *frame)
{
    struct znp_confirm confirm;
    struct znp_pair pair;
    switch (frame->cmd) {
    case ZNP_DATA_CONFIRM:
        if (!znp_get_confirm(frame->data, &confirm))
            return false;
        on_confirm(z, now_ms, &confirm);
        return true;
    case ZNP_INCOMING:
    case ZNP_INCOMING_EXT:
        return on_incoming(z, now_ms, frame);
    case ZNP_DEVICE_ANNCE:
        return on_annce(z, now_ms, frame->data);
    case ZNP_TC_DEVICE:
        if (!znp_get_tc_device(frame->data, &pair))
            return false;
        learn(z, now_ms, &pair);
        return true;
    case ZNP_LEAVE:
        return on_leave(z, now_ms, frame->data);
    case ZNP_NWK_ADDR_RSP:
    case ZNP_IEEE_ADDR_RSP:
        return on_addresses(z, now_ms, frame->data);
    case ZNP_MSG_CB:
        return on_zdo(z, now_ms, frame->data);
    default:
        return false;
    }
}

/* ---- joining, time ----------------------------------------------------------------------------- */

/* ZigBee 3.0 knows no "for ever": the stick is told again before the time is over. */
static void renew_join(struct znp *z, int64_t now_ms)
{
    const int64_t left_s = z->join_end_ms <= now_ms       ? 0
                           : z->join_end_ms == TIME_NEVER ? JOIN_MAX_S
                                                          : (z->join_end_ms - now_ms + 999) / 1000;
    uint8_t data[5];
    struct writer w = wr_to(data, sizeof data);
    znp_put_permit_join(&w, ZNP_MODE_BROADCAST, ZNP_BROADCAST_ROUTERS,
                        (uint8_t)(left_s < JOIN_MAX_S ? left_s : JOIN_MAX_S));
    znp_ask(z, now_ms, ZNP_BY_NOBODY, 0, ZNP_PERMIT_JOIN_REQ, bytes_of(data, w.len));
    z->join_ms =
        left_s > JOIN_MAX_S || z->join_end_ms == TIME_NEVER ? now_ms + JOIN_RENEW_MS : TIME_NEVER;
}

void znp_permit_join(struct stick *s, int64_t now_ms, unsigned seconds)
{
    struct znp *z = znp_of(s);
    z->join_end_ms = seconds >= UINT16_MAX ? TIME_NEVER : now_ms + (int64_t)seconds * 1000;
    renew_join(z, now_ms);
}

void znp_data_due(struct znp *z, int64_t now_ms)
{
    if (z->resume_ms <= now_ms) {
        z->resume_ms = TIME_NEVER;
        stick_resume(&z->s, now_ms);
    }
    if (z->join_ms <= now_ms)
        renew_join(z, now_ms);
    who_due(z, now_ms);
}

int64_t znp_data_deadline(const struct znp *z)
{
    int64_t at_ms = time_min(z->resume_ms, z->join_ms);
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (z->who[i].at_ms != 0)
            at_ms = time_min(at_ms, z->who[i].at_ms);
    }
    return at_ms;
}
