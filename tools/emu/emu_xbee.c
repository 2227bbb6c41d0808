/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An emulated XBee module (radio reference, chapter A): API frames in both directions, and the air
 * behind them. Answers to AT come at once (config.command_ms), TX statuses when the air has decided.
 */
#include "tools/emu/emu_xbee_priv.h"

enum {
    START = 0x7E,
    ESCAPE = 0x7D,
    ESCAPE_BIT = 0x20,

    TX64 = 0x00,
    TX16 = 0x01,
    AT = 0x08,
    AT_QUEUE = 0x09,
    TX = 0x10,
    TX_EXPLICIT = 0x11,
    REMOTE_AT = 0x17,
    RX64 = 0x80,
    RX16 = 0x81,
    STATUS_OLD = 0x89,
    MODEM = 0x8A,
    STATUS = 0x8B,
    RX = 0x90,
    RX_EXPLICIT = 0x91,
    NODE_ID = 0x95,
    REMOTE_AT_RESPONSE = 0x97,

    ENDPOINT = 0xE8, /* serial data */
    PROFILE = 0xC105,
    CLUSTER = 0x0011,

    UNKNOWN_16 = 0xFFFE,
    FAILED_16 = 0xFFFD,

    STARTED_MS = 300, /* a stored network is there again */
    SCAN_MS = 4000,   /* a new one has been formed */
    STALE_MS = 200,   /* the route to an address that nobody has any more was searched */
};

/* ---- to the host ------------------------------------------------------------------------------- */

static void wr_escaped(struct writer *w, bool escaping, uint8_t octet)
{
    const bool reserved = octet == START || octet == ESCAPE || octet == 0x11 || octet == 0x13;
    if (escaping && reserved) {
        wr_u8(w, ESCAPE);
        octet ^= ESCAPE_BIT;
    }
    wr_u8(w, octet);
}

void xbee_say(struct xbee *x, int64_t now_ms, struct bytes data, bool answer)
{
    if (x->now[XBEE_AP] == 0)
        return;
    uint8_t room[EMU_FRAME_MAX];
    const bool escaping = x->now[XBEE_AP] == 2;
    struct writer w = wr_to(room, sizeof room);
    uint8_t sum = 0;
    wr_u8(&w, START);
    wr_escaped(&w, escaping, (uint8_t)(data.len >> 8));
    wr_escaped(&w, escaping, (uint8_t)data.len);
    for (size_t i = 0; i < data.len; i++) {
        sum = (uint8_t)(sum + data.data[i]);
        wr_escaped(&w, escaping, data.data[i]);
    }
    wr_escaped(&w, escaping, (uint8_t)(0xFF - sum));
    const struct bytes frame = bytes_of(room, wr_close(&w));
    if (answer)
        emu_answer(&x->emu, now_ms, frame);
    else
        emu_frame(&x->emu, now_ms, frame);
}

void xbee_say_later(struct xbee *x, int64_t now_ms, int64_t after_ms, struct bytes data)
{
    for (size_t i = 0; i < XBEE_LATER; i++) {
        struct xbee_later *l = &x->later[i];
        if (l->len > 0 || data.len > sizeof l->data)
            continue;
        l->at_ms = now_ms + after_ms;
        l->len = (uint8_t)data.len;
        memcpy(l->data, data.data, data.len);
        return;
    }
}

static void say_modem(struct xbee *x, int64_t now_ms, uint8_t status)
{
    const uint8_t data[] = {MODEM, status};
    xbee_say(x, now_ms, bytes_of(data, sizeof data), false);
}

/* ---- statuses of sends ------------------------------------------------------------------------- */

/* Does it answer sends with the old status frame? */
static bool is_old(const struct xbee *x)
{
    return xbee_model(x) == EMU_XBEE_802154 || xbee_model(x) == EMU_XBEE_802154_LONG;
}

struct xbee_status {
    uint8_t id, delivery, discovery, retries;
    uint16_t dst16;
};

static void say_status(struct xbee *x, int64_t now_ms, int64_t after_ms,
                       const struct xbee_status *s)
{
    uint8_t room[8];
    struct writer w = wr_to(room, sizeof room);
    if (s->id == 0)
        return;
    wr_u8(&w, is_old(x) ? STATUS_OLD : STATUS);
    wr_u8(&w, s->id);
    if (!is_old(x)) {
        wr_u16(&w, s->dst16);
        wr_u8(&w, s->retries);
    }
    wr_u8(&w, s->delivery);
    if (!is_old(x))
        wr_u8(&w, s->discovery);
    if (after_ms > 0)
        xbee_say_later(x, now_ms, after_ms, bytes_of(room, w.len));
    else
        xbee_say(x, now_ms, bytes_of(room, w.len), false);
}

static void refuse(struct xbee *x, int64_t now_ms, uint8_t id, uint8_t zigbee, uint8_t old)
{
    say_status(
        x, now_ms, 0,
        &(struct xbee_status){.id = id, .delivery = is_old(x) ? old : zigbee, .dst16 = FAILED_16});
}

static uint8_t delivery_of(const struct xbee *x, enum ether_status status)
{
    static const uint8_t zigbee[] = {
        [ETHER_OK] = 0x00,      [ETHER_NO_ACK] = 0x21,   [ETHER_NO_ADDRESS] = 0x24,
        [ETHER_EXPIRED] = 0x75, [ETHER_TOO_LONG] = 0x74, [ETHER_QUEUE_FULL] = 0x21,
    };
    static const uint8_t raw[] = {
        [ETHER_OK] = 0x00,      [ETHER_NO_ACK] = 0x01,   [ETHER_NO_ADDRESS] = 0x01,
        [ETHER_EXPIRED] = 0x75, [ETHER_TOO_LONG] = 0x74, [ETHER_QUEUE_FULL] = 0x03,
    };
    return xbee_is_zigbee(x) ? zigbee[status] : raw[status];
}

static void on_confirm(struct xbee *x, int64_t now_ms, const struct ether_event *e)
{
    struct xbee_send *send = &x->sends[e->handle % XBEE_SLOTS_MAX];
    if (!send->used)
        return;
    send->used = false;
    const struct emu_faults *faults = &x->emu.config.faults;
    if (emu_chance(&x->emu, faults->stray_percent)) {
        const struct xbee_status stray = {.id = (uint8_t)(1 + rng_below(&x->emu.rng, 255))};
        say_status(x, now_ms, 0, &stray);
    }
    if (emu_chance(&x->emu, faults->mute_percent))
        return;
    const bool ok = e->status == ETHER_OK;
    const bool broadcast = send->dst16 == UNKNOWN_16 && e->short_address == ETHER_NO_SHORT;
    const struct xbee_status status = {
        .id = send->id,
        .delivery = delivery_of(x, e->status),
        .discovery = e->status == ETHER_NO_ADDRESS ? 3 : send->discovery,
        .retries = ok ? 0 : 3,
        .dst16 = !ok                  ? FAILED_16
                 : broadcast          ? UNKNOWN_16
                 : !xbee_is_zigbee(x) ? UNKNOWN_16
                                      : e->short_address,
    };
    say_status(x, now_ms, 0, &status);
}

/* ---- sending ----------------------------------------------------------------------------------- */

struct xbee_tx {
    uint8_t id, options;
    struct ether_frame frame;
    uint16_t dst16;    /* as the host gave it */
    uint8_t discovery; /* what the module had to find out */
    struct bytes payload;
};

/* -1: all are in use. */
static int free_slot(const struct xbee *x)
{
    const unsigned wanted = x->emu.config.slots != 0 ? x->emu.config.slots : XBEE_SLOTS;
    const unsigned slots = wanted < XBEE_SLOTS_MAX ? wanted : XBEE_SLOTS_MAX;
    for (unsigned i = 0; i < slots; i++) {
        if (!x->sends[i].used)
            return (int)i;
    }
    return -1;
}

static size_t payload_max(const struct xbee *x, const struct ether_frame *frame)
{
    const bool encrypted = x->now[XBEE_EE] != 0;
    if (!xbee_is_zigbee(x)) {
        if (is_old(x))
            return encrypted ? 95 : 100;
        return encrypted ? 95 : 102;
    }
    if (frame->broadcast)
        return encrypted ? 74 : 92;
    return encrypted ? 66 : 84;
}

static void transmit(struct xbee *x, int64_t now_ms, struct xbee_tx *tx)
{
    x->emu.sends++;
    if (tx->payload.len > payload_max(x, &tx->frame)) {
        refuse(x, now_ms, tx->id, 0x74, 0x74);
        return;
    }
    if (xbee_is_zigbee(x) && x->now[XBEE_AI] != 0) {
        refuse(x, now_ms, tx->id, 0x22, 0);
        return;
    }
    const int slot = free_slot(x);
    if (slot < 0 || emu_chance(&x->emu, x->emu.config.faults.busy_percent)) {
        refuse(x, now_ms, tx->id, 0x18, 0x02);
        return;
    }
    x->sends[slot] = (struct xbee_send){
        .used = true, .id = tx->id, .discovery = tx->discovery, .dst16 = tx->dst16};
    tx->frame.handle = (uint32_t)slot;
    tx->frame.want_ack = (tx->options & 1) == 0;
    ether_send(x->emu.ether, now_ms, &tx->frame, tx->payload);
}

/* Who is meant by 64 and 16 bits. False when nothing goes on air: the status has been said. */
static bool address(struct xbee *x, int64_t now_ms, struct xbee_tx *tx, uint64_t dst64)
{
    struct ether_frame *f = &tx->frame;
    f->eui64 = dst64;
    f->short_address = tx->dst16;
    const bool by_short = dst64 == UINT64_MAX;
    f->broadcast = dst64 == 0xFFFF || (by_short && tx->dst16 >= 0xFFFC && tx->dst16 != UNKNOWN_16);
    if (f->broadcast)
        return true;
    if (dst64 == 0 || dst64 == x->emu.config.eui64 || (by_short && tx->dst16 == 0)) {
        refuse(x, now_ms, tx->id, 0x23, 0x01);
        return false;
    }
    f->by_eui64 = !by_short;
    if (by_short || !xbee_is_zigbee(x))
        return true;
    const int number = ether_find_eui64(x->emu.ether, dst64);
    if (tx->dst16 == UNKNOWN_16) {
        tx->discovery = number >= 0;
        return true;
    }
    /* The host insists on an address that is not the node's any more. */
    if (number >= 0 && ether_node_at(x->emu.ether, (size_t)number)->short_address != tx->dst16) {
        say_status(
            x, now_ms, STALE_MS,
            &(struct xbee_status){
                .id = tx->id, .delivery = 0x24, .discovery = 2, .retries = 3, .dst16 = FAILED_16});
        return false;
    }
    return true;
}

/* Frames 10 and 11. */
static void on_tx(struct xbee *x, int64_t now_ms, bool explicit, struct reader r)
{
    struct xbee_tx tx = {.id = rd_u8(&r)};
    uint64_t dst64 = (uint64_t)rd_u32(&r) << 32;
    dst64 |= rd_u32(&r);
    tx.dst16 = rd_u16(&r);
    if (xbee_is_zigbee(x)) {
        tx.frame = (struct ether_frame){.src_endpoint = ENDPOINT,
                                        .dst_endpoint = ENDPOINT,
                                        .profile = PROFILE,
                                        .cluster = CLUSTER};
    }
    if (explicit) {
        tx.frame.src_endpoint = rd_u8(&r);
        tx.frame.dst_endpoint = rd_u8(&r);
        tx.frame.cluster = rd_u16(&r);
        tx.frame.profile = rd_u16(&r);
    }
    rd_u8(&r); /* radius: the ether has no hops */
    tx.options = rd_u8(&r);
    tx.payload = rd_rest(&r);
    if (r.failed)
        x->emu.bad_frames_in++;
    else if (address(x, now_ms, &tx, dst64))
        transmit(x, now_ms, &tx);
}

/* Frames 00 and 01. */
static void on_tx_old(struct xbee *x, int64_t now_ms, bool wide, struct reader r)
{
    struct xbee_tx tx = {.id = rd_u8(&r), .dst16 = UNKNOWN_16};
    uint64_t dst64 = UINT64_MAX;
    if (wide) {
        dst64 = (uint64_t)rd_u32(&r) << 32;
        dst64 |= rd_u32(&r);
    } else {
        tx.dst16 = rd_u16(&r);
    }
    tx.options = rd_u8(&r);
    tx.payload = rd_rest(&r);
    if (r.failed)
        x->emu.bad_frames_in++;
    else if (address(x, now_ms, &tx, dst64))
        transmit(x, now_ms, &tx);
}

/* Remote modules are none of ours: the transmission fails. */
static void on_remote_at(struct xbee *x, int64_t now_ms, struct reader r)
{
    uint8_t room[24];
    struct writer w = wr_to(room, sizeof room);
    const uint8_t id = rd_u8(&r);
    wr_u8(&w, REMOTE_AT_RESPONSE);
    wr_u8(&w, id);
    wr_bytes(&w, rd_bytes(&r, 10));
    rd_u8(&r);
    wr_bytes(&w, rd_bytes(&r, 2));
    wr_u8(&w, 4);
    if (!r.failed && id != 0)
        xbee_say(x, now_ms, bytes_of(room, w.len), true);
}

/* ---- from the host ----------------------------------------------------------------------------- */

static void on_frame(struct xbee *x, int64_t now_ms, struct bytes data)
{
    struct reader r = rd_of(data);
    const uint8_t type = rd_u8(&r);
    x->emu.frames_in++;
    if (type == AT || type == AT_QUEUE)
        xbee_at_frame(x, now_ms, type == AT_QUEUE, r);
    else if (type == TX && !is_old(x))
        on_tx(x, now_ms, false, r);
    else if (type == TX_EXPLICIT && !is_old(x))
        on_tx(x, now_ms, true, r);
    else if ((type == TX64 || type == TX16) && is_old(x))
        on_tx_old(x, now_ms, type == TX64, r);
    else if (type == REMOTE_AT)
        on_remote_at(x, now_ms, r);
    else
        x->emu.bad_frames_in++;
}

static void begin_frame(struct xbee *x)
{
    x->in_frame = true;
    x->escaped = false;
    x->frame_at = 0;
    x->frame_len = 0;
    x->sum = 0;
}

/* One octet of a frame behind its start, unescaped: two of length, data, checksum. */
static void frame_octet(struct xbee *x, int64_t now_ms, uint8_t octet)
{
    const unsigned at = x->frame_at++;
    if (at < 2) {
        x->frame_len = (uint16_t)(x->frame_len << 8 | octet);
        if (at == 1 && (x->frame_len == 0 || x->frame_len > XBEE_FRAME)) {
            x->in_frame = false;
            x->emu.bad_frames_in++;
        }
        return;
    }
    x->sum = (uint8_t)(x->sum + octet);
    if (at - 2 < x->frame_len) {
        x->frame[at - 2] = octet;
        return;
    }
    x->in_frame = false;
    if (x->sum != 0xFF)
        x->emu.bad_frames_in++;
    else
        on_frame(x, now_ms, bytes_of(x->frame, x->frame_len));
}

static void api_octet(struct xbee *x, int64_t now_ms, uint8_t octet)
{
    const bool escaping = x->now[XBEE_AP] == 2;
    if (octet == START && (escaping || !x->in_frame)) {
        x->emu.bad_frames_in += x->in_frame;
        begin_frame(x);
        return;
    }
    if (!x->in_frame)
        return;
    if (escaping && octet == ESCAPE) {
        x->escaped = true;
        return;
    }
    if (x->escaped)
        octet ^= ESCAPE_BIT;
    x->escaped = false;
    frame_octet(x, now_ms, octet);
}

static void input(struct emu *m, int64_t now_ms, struct bytes in)
{
    struct xbee *x = xbee_of(m);
    struct reader r = rd_of(in);
    while (rd_left(&r) > 0) {
        if (x->now[XBEE_AP] == 0)
            xbee_at_octet(x, now_ms, rd_u8(&r));
        else
            api_octet(x, now_ms, rd_u8(&r));
    }
}

/* ---- from the air ------------------------------------------------------------------------------ */

static void wr_eui64(struct writer *w, uint64_t eui64)
{
    wr_u32(w, (uint32_t)(eui64 >> 32));
    wr_u32(w, (uint32_t)eui64);
}

static void wr_rx_old(const struct xbee *x, struct writer *w, const struct ether_node *node,
                      const struct ether_event *e)
{
    const bool wide = xbee_model(x) == EMU_XBEE_802154_LONG;
    wr_u8(w, wide ? RX64 : RX16);
    if (wide)
        wr_eui64(w, node->eui64);
    else
        wr_u16(w, e->short_address);
    wr_u8(w, (uint8_t)-node->rssi);
    wr_u8(w, e->broadcast ? 2 : 0);
}

static void wr_rx(const struct xbee *x, struct writer *w, const struct ether_node *node,
                  const struct ether_event *e)
{
    const bool explicit = (x->now[XBEE_AO] & 1) != 0;
    const bool zigbee = xbee_is_zigbee(x);
    wr_u8(w, explicit ? RX_EXPLICIT : RX);
    wr_eui64(w, node->eui64);
    wr_u16(w, zigbee ? e->short_address : UNKNOWN_16);
    if (explicit) {
        wr_u8(w, zigbee ? node->endpoint : ENDPOINT);
        wr_u8(w, zigbee ? node->endpoint : ENDPOINT);
        wr_u16(w, zigbee ? node->cluster : CLUSTER);
        wr_u16(w, zigbee ? node->profile : PROFILE);
    }
    wr_u8(w, (uint8_t)((e->broadcast ? 2U : 1U) | (zigbee && node->sleepy ? 0x40U : 0U)));
}

static void on_received(struct xbee *x, int64_t now_ms, const struct ether_event *e)
{
    uint8_t room[32 + ETHER_PAYLOAD_MAX];
    const struct ether_node *node = ether_node_at(x->emu.ether, e->number);
    if (xbee_is_zigbee(x) && x->now[XBEE_AI] != 0)
        return;
    if (x->now[XBEE_AP] == 0) {
        emu_frame(&x->emu, now_ms, e->payload);
        return;
    }
    struct writer w = wr_to(room, sizeof room);
    if (is_old(x))
        wr_rx_old(x, &w, node, e);
    else
        wr_rx(x, &w, node, e);
    wr_bytes(&w, e->payload);
    xbee_say(x, now_ms, bytes_of(room, wr_close(&w)), false);
}

/* Nodes tell their name when they join. */
static void on_announce(struct xbee *x, int64_t now_ms, const struct ether_event *e)
{
    uint8_t room[48];
    if (!xbee_is_zigbee(x) || x->now[XBEE_AI] != 0)
        return;
    const struct ether_node *node = ether_node_at(x->emu.ether, e->number);
    struct writer w = wr_to(room, sizeof room);
    wr_u8(&w, NODE_ID);
    wr_eui64(&w, node->eui64);
    wr_u16(&w, e->short_address);
    wr_u8(&w, 2);
    wr_u16(&w, e->short_address);
    wr_eui64(&w, node->eui64);
    wr_bytes(&w, bytes_of("NODE", 5));
    wr_u16(&w, UNKNOWN_16);
    wr_u8(&w, node->sleepy ? 2 : 1); /* end device, router */
    wr_u8(&w, 2);                    /* event: it joined */
    wr_u16(&w, PROFILE);
    wr_u16(&w, 0x101E);
    xbee_say(x, now_ms, bytes_of(room, wr_close(&w)), false);
}

static void event(struct emu *m, int64_t now_ms, const struct ether_event *e)
{
    struct xbee *x = xbee_of(m);
    switch (e->type) {
    case ETHER_EV_CONFIRM:
        on_confirm(x, now_ms, e);
        break;
    case ETHER_EV_RECEIVED:
        on_received(x, now_ms, e);
        break;
    case ETHER_EV_ANNOUNCE:
        on_announce(x, now_ms, e);
        break;
    case ETHER_EV_TO_NODE:
        break;
    }
}

/* ---- life -------------------------------------------------------------------------------------- */

void xbee_form(struct xbee *x, int64_t now_ms, int64_t after_ms)
{
    x->now[XBEE_AI] = 0xFF;
    x->network_ms = x->now[XBEE_CE] != 0 ? now_ms + after_ms : TIME_NEVER;
}

static void init(struct emu *m)
{
    struct xbee *x = xbee_of(m);
    const unsigned mode = m->config.firmware & EMU_XBEE_MODE;
    xbee_defaults(x, x->flash);
    x->flash[XBEE_AP] = mode == EMU_XBEE_AP1 ? 1 : mode == EMU_XBEE_TRANSPARENT ? 0 : 2;
    x->begun = m->config.formed;
}

static void power_on(struct emu *m, int64_t now_ms)
{
    struct xbee *x = xbee_of(m);
    memcpy(x->now, x->flash, sizeof x->now);
    memset(x->is_queued, 0, sizeof x->is_queued);
    memset(x->sends, 0, sizeof x->sends);
    memset(x->later, 0, sizeof x->later);
    x->in_frame = x->escaped = x->commanding = false;
    x->pluses = x->line_len = 0;
    x->heard_ms = now_ms - 1000;
    x->network_ms = x->reset_ms = x->ok_ms = x->command_end_ms = TIME_NEVER;
    say_modem(x, now_ms, x->reset_status);
    x->reset_status = 0;
    if (xbee_is_zigbee(x))
        xbee_form(x, now_ms, x->begun ? STARTED_MS : SCAN_MS);
    x->begun = true;
}

static void advance(struct emu *m, int64_t now_ms)
{
    struct xbee *x = xbee_of(m);
    xbee_at_advance(x, now_ms);
    for (size_t i = 0; i < XBEE_LATER; i++) {
        struct xbee_later *l = &x->later[i];
        if (l->len == 0 || l->at_ms > now_ms)
            continue;
        xbee_say(x, now_ms, bytes_of(l->data, l->len), false);
        l->len = 0;
    }
    if (x->network_ms <= now_ms) {
        x->network_ms = TIME_NEVER;
        x->now[XBEE_AI] = 0;
        say_modem(x, now_ms, 6);
    }
    if (x->reset_ms <= now_ms)
        emu_reset(m, now_ms);
}

static int64_t next_deadline(const struct emu *m)
{
    const struct xbee *x = (const struct xbee *)(const void *)m;
    int64_t at_ms = time_min(time_min(x->network_ms, x->reset_ms), xbee_at_deadline(x));
    for (size_t i = 0; i < XBEE_LATER; i++) {
        if (x->later[i].len > 0)
            at_ms = time_min(at_ms, x->later[i].at_ms);
    }
    return at_ms;
}

const struct emu_driver emu_xbee = {
    .name = "xbee",
    .size = sizeof(struct xbee),
    .init = init,
    .power_on = power_on,
    .input = input,
    .event = event,
    .advance = advance,
    .next_deadline = next_deadline,
};
