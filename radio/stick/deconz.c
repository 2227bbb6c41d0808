/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ConBee and RaspBee: one command at a time, and the stick never pushes data. It tells by flags,
 * with every answer and in events that may be lost, whether a received packet or a confirm waits to
 * be fetched and whether it has room for one more packet. So the driver asks, in this order: what
 * must be set, received packets and the rest in turns, confirms before sends; and with nothing to do,
 * how things are.
 */
#include "radio/stick/deconz_priv.h"

enum {
    ANSWER_MS = 2000,
    SILENCES_MAX = 3,
    POLL_BUSY_MS = 100,
    POLL_IDLE_MS = 1000,
    WATCHDOG_EVERY_MS = 300000,
    BUSY_MS = 500,
    STILL_BUSY_MS = 1500,

    MODE_GROUP = 1,
    MODE_SHORT = 2,
    MODE_IEEE = 3,
    MODE_BOTH = 4,
    FLAG_SHORT = 1, /* which addresses an indication tells */
    FLAG_BOTH = 4,
    FIRST_BROADCAST = 0xFFF8,
    BROADCAST_AWAKE = 0xFFFD,
    BROADCAST_ROUTERS = 0xFFFC,
    ALL_ENDPOINTS = 0xFF,
    OPTION_APS_ACK = 0x04,

    ZDO_IEEE_ADDRESS = 0x0001,
    ZDO_PERMIT_JOINING = 0x0036,
    ZDO_ANNOUNCE = 0x0013,
    ZDO_IEEE_ADDRESS_RESPONSE = 0x8001,
};

static void go(struct deconz *d, int64_t now_ms);

/* ---- commands ---------------------------------------------------------------------------------- */

void deconz_command(struct deconz *d, int64_t now_ms, uint8_t command, struct bytes content)
{
    uint8_t wire[DECONZ_WIRE_MAX];
    const struct deconz_frame f = {.command = command, .seq = ++d->seq, .content = content};
    const size_t len = deconz_encode(&f, wire, sizeof wire);
    d->command = command;
    d->is_step = d->step != STEP_UP;
    d->answer_ms = now_ms + ANSWER_MS;
    d->s.counters.frames_out++;
    stick_write(&d->s, bytes_of(wire, len));
}

static void command_with_payload(struct deconz *d, int64_t now_ms, uint8_t command,
                                 struct bytes payload)
{
    uint8_t content[2 + DECONZ_CONTENT_MAX];
    struct writer w = wr_to(content, sizeof content);
    wr_u16_le(&w, (uint16_t)payload.len);
    wr_bytes(&w, payload);
    deconz_command(d, now_ms, command, bytes_of(content, wr_close(&w)));
}

static void parameter(struct deconz *d, int64_t now_ms, uint8_t command, uint8_t number,
                      struct bytes value)
{
    uint8_t payload[1 + 64];
    struct writer w = wr_to(payload, sizeof payload);
    wr_u8(&w, number);
    wr_bytes(&w, value);
    d->parameter = number;
    command_with_payload(d, now_ms, command, bytes_of(payload, wr_close(&w)));
}

void deconz_read(struct deconz *d, int64_t now_ms, uint8_t number, struct bytes arguments)
{
    parameter(d, now_ms, DECONZ_READ_PARAMETER, number, arguments);
}

void deconz_write(struct deconz *d, int64_t now_ms, uint8_t number, struct bytes value)
{
    parameter(d, now_ms, DECONZ_WRITE_PARAMETER, number, value);
}

/* ---- sending ----------------------------------------------------------------------------------- */

struct target {
    uint8_t mode;
    uint16_t short_address;
    uint64_t eui64;
    uint8_t dst_endpoint, src_endpoint, options, radius;
    uint16_t profile, cluster;
};

static void put_request(struct deconz_pending *p, uint8_t id, const struct target *t,
                        struct bytes asdu)
{
    struct writer w = wr_to(p->content, sizeof p->content);
    wr_u8(&w, id);
    wr_u8(&w, 0);
    wr_u8(&w, t->mode);
    if (t->mode == MODE_IEEE)
        wr_u64_le(&w, t->eui64);
    else
        wr_u16_le(&w, t->short_address);
    wr_u8(&w, t->dst_endpoint);
    wr_u16_le(&w, t->profile);
    wr_u16_le(&w, t->cluster);
    wr_u8(&w, t->src_endpoint);
    wr_u16_le(&w, (uint16_t)asdu.len);
    wr_bytes(&w, asdu);
    wr_u8(&w, t->options);
    wr_u8(&w, t->radius);
    p->len = wr_close(&w);
    p->waits = p->len > 0;
}

/* To the endpoint 0 of a node or of all routers. An earlier one that is not yet sent gives way. */
static void zdo(struct deconz *d, uint16_t to, uint16_t cluster, struct bytes asdu)
{
    const struct target t = {.mode = MODE_SHORT, .short_address = to, .cluster = cluster};
    put_request(&d->zdo, DECONZ_ZDO_ID, &t, asdu);
}

static void on_transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    struct deconz *d = deconz_of(s);
    const struct stick_config *c = &s->config;
    struct target t = {
        .mode = MODE_SHORT,
        .short_address = send->node->short_address,
        .dst_endpoint = c->endpoint,
        .src_endpoint = c->endpoint,
        .options = OPTION_APS_ACK,
        .profile = c->profile,
        .cluster = c->cluster,
    };
    if (stick_is_group(send)) {
        t.short_address = BROADCAST_AWAKE;
        t.dst_endpoint = ALL_ENDPOINTS;
        t.options = 0;
        t.radius = send->radius;
    } else if (t.short_address == SHORT_UNKNOWN || stick_may_have_moved(send)) {
        t.mode = MODE_IEEE;
        t.eui64 = send->node->address;
    }
    put_request(&d->request, send->id, &t, stick_packet(send));
    if (!d->request.waits) {
        stick_verdict(s, now_ms, send->id, VERDICT_TOO_LONG, 0);
        return;
    }
    d->waiting_id = send->id;
    stick_pause(s); /* one request is prepared at a time */
    go(d, now_ms);
}

static void on_permit_join(struct stick *s, int64_t now_ms, unsigned seconds)
{
    struct deconz *d = deconz_of(s);
    /* The stick counts to 254; 255 is for ever. Longer times end late rather than early. */
    const uint8_t value = (uint8_t)(seconds > UINT8_MAX ? UINT8_MAX : seconds);
    d->join.content[0] = value;
    d->join.len = 1;
    d->join.waits = true;
    const uint8_t asdu[] = {++d->tsn, value, 1};
    zdo(d, BROADCAST_ROUTERS, ZDO_PERMIT_JOINING, bytes_of(asdu, sizeof asdu));
    go(d, now_ms);
}

/* ---- what to do next --------------------------------------------------------------------------- */

static bool can_send(const struct deconz *d)
{
    return (d->state & STATE_FREE_SLOT) != 0 && (d->zdo.waits || d->request.waits);
}

/* The stick keeps few of what it received; but nodes without answers say everything again, and each
 * answer takes two commands. So neither goes first when there is more of both than the line carries.
 */
static bool is_turn_to_fetch(const struct deconz *d)
{
    const bool others = (d->state & STATE_CONFIRM) != 0 || can_send(d);
    return (d->state & STATE_INDICATION) != 0 && (!d->fetched || !others);
}

static void send_request(struct deconz *d, int64_t now_ms)
{
    struct deconz_pending *p = d->zdo.waits ? &d->zdo : &d->request;
    p->waits = false;
    d->request_id = p == &d->zdo ? (uint8_t)DECONZ_ZDO_ID : d->waiting_id;
    command_with_payload(d, now_ms, DECONZ_DATA_REQUEST, bytes_of(p->content, p->len));
}

/* Nothing is under way and packets pass. True when something was sent. */
static bool run(struct deconz *d, int64_t now_ms)
{
    const uint8_t tell = d->plain_indications ? FLAG_SHORT : FLAG_BOTH;
    if (d->join.waits) {
        d->join.waits = false;
        deconz_write(d, now_ms, PARAM_PERMIT_JOIN, bytes_of(d->join.content, d->join.len));
    } else if (d->was_silent) {
        const uint8_t index = 0;
        d->was_silent = false;
        deconz_read(d, now_ms, PARAM_ENDPOINT, bytes_of(&index, 1));
    } else if (d->watchdog_ms <= now_ms) {
        const uint8_t ttl[] = {0x58, 0x02, 0, 0}; /* 600 s */
        d->watchdog_ms = now_ms + WATCHDOG_EVERY_MS;
        deconz_write(d, now_ms, PARAM_WATCHDOG, bytes_of(ttl, sizeof ttl));
    } else if (is_turn_to_fetch(d)) {
        d->fetched = true;
        command_with_payload(d, now_ms, DECONZ_DATA_INDICATION, bytes_of(&tell, 1));
    } else if ((d->state & STATE_CONFIRM) != 0) {
        d->fetched = false;
        command_with_payload(d, now_ms, DECONZ_DATA_CONFIRM, bytes_of(NULL, 0));
    } else if (can_send(d)) {
        d->fetched = false;
        send_request(d, now_ms);
    } else if (d->poll_ms <= now_ms) {
        const uint8_t zeros[3] = {0};
        deconz_command(d, now_ms, DECONZ_DEVICE_STATE, bytes_of(zeros, sizeof zeros));
    } else {
        return false;
    }
    return true;
}

static void go(struct deconz *d, int64_t now_ms)
{
    if (d->command != 0 || d->pause_ms > now_ms || d->s.state == STICK_GIVEN_UP)
        return;
    if (d->step != STEP_UP) {
        deconz_step(d, now_ms);
        return;
    }
    const bool busy = d->s.busy > 0 || d->zdo.waits || d->request.waits;
    const int64_t poll_ms = now_ms + (busy ? POLL_BUSY_MS : POLL_IDLE_MS);
    if (!run(d, now_ms))
        d->poll_ms = time_min(d->poll_ms, poll_ms);
    else
        d->poll_ms = poll_ms;
}

static void set_state(struct deconz *d, int64_t now_ms, uint8_t state)
{
    d->state = state;
    if (d->step == STEP_UP && (state & STATE_NETWORK) != STATE_CONNECTED)
        deconz_network_lost(d, now_ms);
}

/* ---- answers while packets pass ---------------------------------------------------------------- */

static void on_data_request(struct deconz *d, int64_t now_ms, uint8_t status)
{
    enum stick_verdict verdict = VERDICT_NOT_BEGUN;
    if (status != DECONZ_OK)
        d->state &= (uint8_t)~STATE_FREE_SLOT; /* until it says so again */
    if (d->request_id == DECONZ_ZDO_ID)
        return;
    if (status == DECONZ_INVALID)
        verdict = VERDICT_TOO_LONG;
    else if (status == DECONZ_UNSUPPORTED)
        verdict = VERDICT_REFUSED;
    if (status != DECONZ_OK) {
        const struct stick_send *send = stick_outstanding(&d->s, d->request_id);
        const int64_t again_ms = send == NULL || send->tries == 1 ? BUSY_MS : STILL_BUSY_MS;
        stick_verdict(&d->s, now_ms, d->request_id, verdict, again_ms);
    }
    stick_resume(&d->s, now_ms);
}

static void on_confirm(struct deconz *d, int64_t now_ms, struct reader *r)
{
    enum { NO_CHANNEL = 0xE1, TABLE_FULL = 0xD2, BAD_PARAMETER = 0xE8 };

    const uint8_t id = rd_u8(r);
    const uint8_t mode = rd_u8(r);
    rd_bytes(r, mode == MODE_IEEE ? 8 : 2);
    rd_bytes(r, mode == MODE_GROUP ? 1 : 2); /* endpoints */
    const uint8_t status = rd_u8(r);
    if (r->failed) {
        d->s.counters.strange_frames++;
        return;
    }
    if (id == DECONZ_ZDO_ID)
        return;
    enum stick_verdict verdict = VERDICT_FAILED;
    if (status == 0)
        verdict = VERDICT_DELIVERED;
    else if (status == NO_CHANNEL || status == TABLE_FULL)
        verdict = VERDICT_NOT_BEGUN;
    else if (status == BAD_PARAMETER)
        verdict = VERDICT_REFUSED;
    stick_verdict(&d->s, now_ms, id, verdict, BUSY_MS);
}

/* The sender of an indication, and where it went. */
struct origin {
    bool to_group, has_eui64;
    uint8_t dst_endpoint;
    uint16_t short_address, profile, cluster;
    uint64_t eui64;
};

static void on_zdo(struct deconz *d, int64_t now_ms, const struct origin *o, struct bytes asdu)
{
    struct reader r = rd_of(asdu);
    rd_u8(&r); /* tsn */
    if (o->cluster == ZDO_IEEE_ADDRESS_RESPONSE) {
        const uint8_t status = rd_u8(&r);
        const uint64_t eui64 = rd_u64_le(&r);
        const uint16_t short_address = rd_u16_le(&r);
        if (!r.failed && status == 0)
            stick_learn(&d->s, now_ms, eui64, short_address);
    } else if (o->cluster == ZDO_ANNOUNCE) {
        const uint16_t short_address = rd_u16_le(&r);
        const uint64_t eui64 = rd_u64_le(&r);
        if (!r.failed)
            stick_learn(&d->s, now_ms, eui64, short_address);
    }
}

static void ask_for_name(struct deconz *d, uint16_t short_address)
{
    const uint8_t asdu[] = {++d->tsn, (uint8_t)short_address, (uint8_t)(short_address >> 8), 0, 0};
    zdo(d, short_address, ZDO_IEEE_ADDRESS, bytes_of(asdu, sizeof asdu));
}

static struct bytes read_indication(struct reader *r, struct origin *o, struct stick_radio *radio)
{
    const uint8_t dst_mode = rd_u8(r);
    const uint16_t dst = rd_u16_le(r);
    if (dst_mode == MODE_IEEE)
        rd_bytes(r, 6);
    o->to_group = dst_mode == MODE_GROUP || (dst_mode == MODE_SHORT && dst >= FIRST_BROADCAST);
    o->dst_endpoint = rd_u8(r);
    const uint8_t mode = rd_u8(r);
    o->short_address = mode == MODE_IEEE ? (uint16_t)SHORT_UNKNOWN : rd_u16_le(r);
    o->has_eui64 = mode == MODE_IEEE || mode == MODE_BOTH;
    o->eui64 = o->has_eui64 ? rd_u64_le(r) : 0;
    rd_u8(r); /* source endpoint */
    o->profile = rd_u16_le(r);
    o->cluster = rd_u16_le(r);
    const struct bytes asdu = rd_bytes(r, rd_u16_le(r));
    const struct reader end = *r;
    rd_bytes(r, 2);
    radio->lqi = rd_u8(r);
    rd_bytes(r, 4);
    radio->rssi = (int8_t)rd_u8(r);
    radio->has_lqi = radio->has_rssi = !r->failed;
    *r = end; /* what follows differs between firmwares */
    return asdu;
}

static void on_indication(struct deconz *d, int64_t now_ms, uint8_t status, struct reader *r)
{
    struct origin o;
    struct stick_radio radio = {.to_group = false};
    if (status == DECONZ_UNSUPPORTED || status == DECONZ_INVALID) {
        d->plain_indications = true; /* an older firmware */
        return;
    }
    const struct bytes asdu = read_indication(r, &o, &radio);
    if (status != DECONZ_OK || r->failed) {
        d->s.counters.strange_frames++;
        return;
    }
    const struct stick_config *c = &d->s.config;
    if (o.has_eui64 && o.eui64 != 0 && o.eui64 != UINT64_MAX)
        stick_learn(&d->s, now_ms, o.eui64, o.short_address);
    else
        o.has_eui64 = false;
    if (o.profile == 0) {
        on_zdo(d, now_ms, &o, asdu);
        return;
    }
    if (o.profile != c->profile || o.cluster != c->cluster ||
        (o.dst_endpoint != c->endpoint && o.dst_endpoint != ALL_ENDPOINTS)) {
        d->s.counters.foreign++;
        return;
    }
    radio.to_group = o.to_group;
    if (o.has_eui64)
        stick_heard(&d->s, now_ms, PEER_EUI64, o.eui64, o.short_address, &radio, asdu);
    else if (!stick_heard_short(&d->s, now_ms, o.short_address, &radio, asdu))
        ask_for_name(d, o.short_address);
}

/* ---- frames ------------------------------------------------------------------------------------ */

/* Commands whose content begins with the length of what follows. */
static bool has_payload(uint8_t command)
{
    return command == DECONZ_DATA_CONFIRM || command == DECONZ_DATA_REQUEST ||
           command == DECONZ_DATA_INDICATION || command == DECONZ_READ_PARAMETER ||
           command == DECONZ_WRITE_PARAMETER;
}

static void on_answer(struct deconz *d, int64_t now_ms, const struct deconz_frame *f,
                      struct reader *r)
{
    const bool tells_state =
        f->command == DECONZ_DATA_CONFIRM || f->command == DECONZ_DATA_REQUEST ||
        f->command == DECONZ_DATA_INDICATION || f->command == DECONZ_DEVICE_STATE;
    const uint8_t state = tells_state ? rd_u8(r) : 0;
    if (tells_state && !r->failed)
        set_state(d, now_ms, state);
    if (d->step != STEP_UP)
        return; /* that was the end of it */
    if (f->command == DECONZ_READ_PARAMETER)
        deconz_endpoint_seen(d, now_ms, f, r);
    else if (f->command == DECONZ_DATA_REQUEST)
        on_data_request(d, now_ms, f->status);
    else if (f->command == DECONZ_DATA_CONFIRM && f->status == DECONZ_OK)
        on_confirm(d, now_ms, r);
    else if (f->command == DECONZ_DATA_INDICATION)
        on_indication(d, now_ms, f->status, r);
}

/* Some firmware answers with another sequence number: the command tells, and the parameter. */
static bool is_answer(const struct deconz *d, const struct deconz_frame *f, struct reader r)
{
    if (d->command == 0 || f->command != d->command)
        return false;
    const bool of_parameter =
        f->command == DECONZ_READ_PARAMETER || f->command == DECONZ_WRITE_PARAMETER;
    return !of_parameter || f->status != DECONZ_OK || rd_u8(&r) == d->parameter;
}

static void on_frame(struct deconz *d, int64_t now_ms, const struct deconz_frame *f)
{
    struct reader r = rd_of(f->content);
    d->s.counters.frames_in++;
    if (f->command == DECONZ_STATE_CHANGED) {
        const uint8_t state = rd_u8(&r);
        if (!r.failed)
            set_state(d, now_ms, state);
        return;
    }
    if (has_payload(f->command)) {
        const size_t len = rd_u16_le(&r);
        r = rd_of(rd_bytes(&r, len));
    }
    if (!is_answer(d, f, r)) {
        d->s.counters.strange_frames++;
        return;
    }
    d->command = 0;
    d->silences = 0;
    if (!d->is_step) {
        on_answer(d, now_ms, f, &r);
        return;
    }
    if (f->command == DECONZ_READ_PARAMETER || f->command == DECONZ_WRITE_PARAMETER)
        rd_u8(&r); /* its number */
    deconz_step_answer(d, now_ms, f, rd_rest(&r));
}

static void on_input(struct stick *s, int64_t now_ms, struct bytes in)
{
    struct deconz *d = deconz_of(s);
    for (size_t i = 0; i < in.len; i++) {
        struct deconz_frame f;
        switch (deconz_decode(&d->decoder, in.data[i], &f)) {
        case DECONZ_MORE:
            break;
        case DECONZ_BAD:
            s->counters.bad_frames++;
            break;
        case DECONZ_FRAME:
            on_frame(d, now_ms, &f);
            go(d, now_ms);
            break;
        }
    }
}

/* ---- the driver -------------------------------------------------------------------------------- */

/* A command without answer: what it was for is not known to have happened. */
static void on_silence(struct deconz *d, int64_t now_ms)
{
    const uint8_t command = d->command;
    d->command = 0;
    if (d->is_step) {
        deconz_step_silence(d, now_ms);
        return;
    }
    if (++d->silences >= SILENCES_MAX) {
        stick_reopen(&d->s, now_ms, "the stick has stopped to answer");
        return;
    }
    if (command == DECONZ_DATA_REQUEST && d->request_id != DECONZ_ZDO_ID) {
        stick_verdict(&d->s, now_ms, d->request_id, VERDICT_UNKNOWN, 0);
        stick_resume(&d->s, now_ms);
    }
    d->was_silent = true; /* it may have reset itself meanwhile */
    d->poll_ms = now_ms;
}

static void on_init(struct stick *s)
{
    struct deconz *d = deconz_of(s);
    d->answer_ms = d->poll_ms = d->watchdog_ms = d->step_ms = TIME_NEVER;
}

static void on_opened(struct stick *s, int64_t now_ms)
{
    struct deconz *d = deconz_of(s);
    d->decoder = (struct deconz_decoder){.len = 0};
    d->command = 0;
    d->silences = 0;
    d->was_silent = false;
    d->request.waits = d->zdo.waits = d->join.waits = false;
    d->poll_ms = d->watchdog_ms = TIME_NEVER;
    /* A delimiter ends what the stick may have of an earlier command. */
    const uint8_t end = 0xC0;
    stick_write(s, bytes_of(&end, 1));
    deconz_start(d, now_ms);
    go(d, now_ms);
}

static void on_closed(struct stick *s)
{
    struct deconz *d = deconz_of(s);
    d->command = 0;
    d->request.waits = d->zdo.waits = d->join.waits = false;
}

static void on_advance(struct stick *s, int64_t now_ms)
{
    struct deconz *d = deconz_of(s);
    if (d->command != 0 && d->answer_ms <= now_ms)
        on_silence(d, now_ms);
    go(d, now_ms);
}

static int64_t next_deadline(const struct stick *s)
{
    const struct deconz *d = (const void *)s; /* its first member */
    if (d->command != 0)
        return d->answer_ms;
    return d->step != STEP_UP ? d->pause_ms : time_min(d->poll_ms, d->watchdog_ms);
}

const struct stick_driver stick_deconz = {
    .name = "deconz",
    .size = sizeof(struct deconz),
    .reports = true,
    .init = on_init,
    .opened = on_opened,
    .closed = on_closed,
    .input = on_input,
    .advance = on_advance,
    .next_deadline = next_deadline,
    .transmit = on_transmit,
    .permit_join = on_permit_join,
};
