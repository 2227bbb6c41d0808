/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digi XBee in API mode, ZigBee and 802.15.4 firmware. The module retries by itself; here only what
 * could not start is tried again, and once a destination whose address or route was not found.
 */
#include "radio/stick/xbee_priv.h"

enum {
    PARTIAL_MS = 50,
    PARTIAL_SLOW_MS = 400, /* up to 9600 baud, where a frame takes that long */
    MISSES_MAX = 3,

    BROADCAST_64 = 0xFFFF,
    BROADCAST_16 = 0xFFFF,
    RX_BROADCAST = 0x02,        /* options of 90 and 91 */
    RX_BROADCAST_802154 = 0x06, /* of 80 and 81: by address, by PAN */
    LIMIT_BROADCAST = 92,
    LIMIT_BROADCAST_ENCRYPTED = 74,

    /* Four of the longest packets; of short ones there may be more under way. */
    WINDOW_BYTES = 240,
    SLOTS_LEAST = 2,

    NOTE_DISCOVER = 1, /* forget the 16-bit address */
    NOTE_ROUTE = 2,
};

/* ---- out --------------------------------------------------------------------------------------- */

void xbee_send(struct xbee *x, struct bytes content)
{
    uint8_t wire[XBEE_WIRE_MAX];
    const size_t len = xbee_encode(content, x->decoder.escaped, wire, sizeof wire);
    x->s.counters.frames_out++;
    stick_write(&x->s, bytes_of(wire, len));
}

void xbee_at(struct xbee *x, const char name[2], struct bytes value)
{
    uint8_t content[4 + 8];
    struct writer w = wr_to(content, sizeof content);
    x->at_id = x->at_id == UINT8_MAX ? 1 : (uint8_t)(x->at_id + 1);
    /* AP is asked for when the mode is not known: the id must need no escape. */
    if (memcmp(name, "AP", 2) == 0)
        x->at_id = 1;
    wr_u8(&w, XBEE_AT);
    wr_u8(&w, x->at_id);
    wr_bytes(&w, bytes_of(name, 2));
    wr_bytes(&w, value);
    xbee_send(x, bytes_of(content, wr_close(&w)));
}

static void put_zigbee(struct writer *w, const struct stick_send *send)
{
    const struct stick_node *node = send->node;
    const bool group = stick_is_group(send);
    const bool discover = (send->note & NOTE_DISCOVER) != 0 || stick_may_have_moved(send);
    wr_u8(w, XBEE_TX);
    wr_u8(w, send->id);
    if (node->kind == PEER_SHORT) {
        wr_u64(w, UINT64_MAX);
        wr_u16(w, (uint16_t)node->address);
    } else {
        wr_u64(w, group ? BROADCAST_64 : node->address);
        wr_u16(w, group || discover ? (uint16_t)SHORT_UNKNOWN : node->short_address);
    }
    wr_u8(w, send->radius);
    wr_u8(w, 0);
}

static void put_802154(struct writer *w, const struct stick_send *send)
{
    const struct stick_node *node = send->node;
    const bool is_64 = node->kind == PEER_EUI64;
    wr_u8(w, is_64 ? XBEE_TX_64 : XBEE_TX_16);
    wr_u8(w, send->id);
    if (is_64)
        wr_u64(w, node->address);
    else
        wr_u16(w, stick_is_group(send) ? BROADCAST_16 : (uint16_t)node->address);
    wr_u8(w, 0);
}

static void on_transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    struct xbee *x = xbee_of(s);
    uint8_t content[XBEE_CONTENT_MAX];
    struct writer w = wr_to(content, sizeof content);
    const bool encrypted = x->has[SET_EE] && x->value[SET_EE] != 0;
    const size_t group_limit = encrypted ? LIMIT_BROADCAST_ENCRYPTED : LIMIT_BROADCAST;
    if (x->new_frames)
        put_zigbee(&w, send);
    else
        put_802154(&w, send);
    wr_bytes(&w, stick_packet(send));
    const size_t len = wr_close(&w);
    if (len == 0 || (!x->is_802154 && stick_is_group(send) && send->len > group_limit)) {
        stick_verdict(s, now_ms, send->id, VERDICT_TOO_LONG, 0);
        return;
    }
    xbee_send(x, bytes_of(content, len));
}

static void on_permit_join(struct stick *s, int64_t now_ms, unsigned seconds)
{
    (void)now_ms;
    struct xbee *x = xbee_of(s);
    if (x->is_802154)
        return;
    const uint8_t value = (uint8_t)(seconds > UINT8_MAX ? UINT8_MAX : seconds);
    xbee_at(x, "NJ", bytes_of(&value, 1));
}

/* ---- outcomes ---------------------------------------------------------------------------------- */

struct outcome {
    enum stick_verdict verdict;
    int64_t again_ms;
    uint8_t note; /* try once more, with this; the verdict is for the second time */
};

static struct outcome zigbee_outcome(uint8_t status)
{
    switch (status) {
    case 0x00:
        return (struct outcome){.verdict = VERDICT_DELIVERED};
    case 0x02: /* channel busy */
        return (struct outcome){.verdict = VERDICT_NOT_BEGUN, .again_ms = 100};
    case 0x03: /* stack not ready */
        return (struct outcome){.verdict = VERDICT_NOT_BEGUN, .again_ms = 1000};
    case 0x18:
    case 0x2C:
    case 0x31:
    case 0x32: /* no buffers */
        return (struct outcome){.verdict = VERDICT_NOT_BEGUN, .again_ms = 500};
    case 0x24: /* address not found */
        return (struct outcome){VERDICT_FAILED, 100, NOTE_DISCOVER};
    case 0x25: /* route not found */
        return (struct outcome){VERDICT_FAILED, 1500, NOTE_ROUTE};
    case 0x15:
    case 0x23:
    case 0x2B:
    case 0x2D:
    case 0x2E:
    case 0x34:
    case 0x35:
    case 0xBB:
        return (struct outcome){.verdict = VERDICT_REFUSED};
    case 0x74:
        return (struct outcome){.verdict = VERDICT_TOO_LONG};
    default: /* not acknowledged: it may have arrived */
        return (struct outcome){.verdict = VERDICT_FAILED};
    }
}

static struct outcome old_outcome(uint8_t status)
{
    switch (status) {
    case 0x00:
        return (struct outcome){.verdict = VERDICT_DELIVERED};
    case 0x02:
        return (struct outcome){.verdict = VERDICT_NOT_BEGUN, .again_ms = 100};
    case 0x31:
    case 0x32:
        return (struct outcome){.verdict = VERDICT_NOT_BEGUN, .again_ms = 500};
    case 0x34:
    case 0x35:
        return (struct outcome){.verdict = VERDICT_REFUSED};
    case 0x74:
        return (struct outcome){.verdict = VERDICT_TOO_LONG};
    default:
        return (struct outcome){.verdict = VERDICT_FAILED};
    }
}

static void settle(struct xbee *x, int64_t now_ms, uint8_t id, struct outcome o)
{
    struct stick_send *send = stick_outstanding(&x->s, id);
    if (o.note != 0 && send != NULL && (send->note & o.note) == 0) {
        send->note |= o.note;
        o.verdict = VERDICT_NOT_BEGUN;
    }
    stick_verdict(&x->s, now_ms, id, o.verdict, o.again_ms);
}

/* The module tells by refusals how many packets it takes at once. */
static void fit_slots(struct xbee *x, uint8_t status)
{
    enum { NO_BUFFERS = 0x18, NO_RESOURCES = 0x2C, NO_MEMORY = 0x31, NO_MEMORY_EITHER = 0x32 };

    if (status == NO_BUFFERS || status == NO_RESOURCES || status == NO_MEMORY ||
        status == NO_MEMORY_EITHER)
        stick_fit_slots(&x->s, SLOTS_LEAST);
}

static void on_tx_status(struct xbee *x, int64_t now_ms, struct reader *r)
{
    enum { NOT_JOINED = 0x22 };

    const uint8_t id = rd_u8(r);
    const uint16_t short_address = rd_u16(r);
    rd_u8(r); /* retries */
    const uint8_t status = rd_u8(r);
    if (r->failed) {
        x->s.counters.strange_frames++;
        return;
    }
    const struct stick_send *send = stick_outstanding(&x->s, id);
    if (status == 0 && send != NULL && send->node->kind == PEER_EUI64 &&
        short_address < SHORT_UNKNOWN)
        stick_learn(&x->s, now_ms, send->node->address, short_address);
    fit_slots(x, status);
    settle(x, now_ms, id, zigbee_outcome(status));
    if (status == NOT_JOINED)
        xbee_network(x, now_ms, false);
}

static void on_old_tx_status(struct xbee *x, int64_t now_ms, struct reader *r)
{
    const uint8_t id = rd_u8(r);
    const uint8_t status = rd_u8(r);
    if (r->failed) {
        x->s.counters.strange_frames++;
        return;
    }
    fit_slots(x, status);
    settle(x, now_ms, id, old_outcome(status));
}

/* ---- packets ----------------------------------------------------------------------------------- */

static void heard_64(struct xbee *x, int64_t now_ms, uint64_t from, uint16_t short_address,
                     const struct stick_radio *radio, struct bytes packet)
{
    if (from == UINT64_MAX) /* it has no 64-bit address, or does not tell */
        stick_heard(&x->s, now_ms, PEER_SHORT, short_address, SHORT_UNKNOWN, radio, packet);
    else
        stick_heard(&x->s, now_ms, PEER_EUI64, from, short_address, radio, packet);
}

static void on_rx(struct xbee *x, int64_t now_ms, uint8_t type, struct reader *r)
{
    const struct stick_config *c = &x->s.config;
    const uint64_t from = rd_u64(r);
    const uint16_t short_address = rd_u16(r);
    bool ours = true;
    if (type == XBEE_RX_EXPLICIT) {
        rd_u8(r);
        ours = rd_u8(r) == c->endpoint;
        ours = rd_u16(r) == c->cluster && ours;
        ours = rd_u16(r) == c->profile && ours;
    }
    const uint8_t options = rd_u8(r);
    const struct stick_radio radio = {.to_group = (options & RX_BROADCAST) != 0};
    if (r->failed)
        x->s.counters.strange_frames++;
    else if (!ours)
        x->s.counters.foreign++;
    else
        heard_64(x, now_ms, from, short_address, &radio, rd_rest(r));
}

static void on_old_rx(struct xbee *x, int64_t now_ms, uint8_t type, struct reader *r)
{
    const uint64_t from = type == XBEE_RX_64 ? rd_u64(r) : rd_u16(r);
    const uint8_t strength = rd_u8(r); /* -dBm */
    const uint8_t options = rd_u8(r);
    const struct stick_radio radio = {
        .to_group = (options & RX_BROADCAST_802154) != 0,
        .has_rssi = true,
        .rssi = strength > 127 ? INT8_MIN : (int8_t) - (int)strength,
    };
    if (r->failed)
        x->s.counters.strange_frames++;
    else
        stick_heard(&x->s, now_ms, type == XBEE_RX_64 ? PEER_EUI64 : PEER_SHORT, from,
                    SHORT_UNKNOWN, &radio, rd_rest(r));
}

static void on_identification(struct xbee *x, int64_t now_ms, struct reader *r)
{
    rd_bytes(r, 8 + 2 + 1); /* who sent it, which is the same node or its parent */
    const uint16_t short_address = rd_u16(r);
    const uint64_t eui64 = rd_u64(r);
    if (r->failed)
        x->s.counters.strange_frames++;
    else
        stick_learn(&x->s, now_ms, eui64, short_address);
}

/* ---- what the module says of itself ------------------------------------------------------------- */

static void on_modem_status(struct xbee *x, int64_t now_ms, struct reader *r)
{
    enum { HARDWARE_RESET, WATCHDOG_RESET, JOINED, LEFT, COORDINATOR_STARTED = 6 };

    const uint8_t status = rd_u8(r);
    if (r->failed)
        return;
    if (status == HARDWARE_RESET || status == WATCHDOG_RESET) {
        x->s.counters.stick_resets++;
        stick_log(&x->s, LOG_WARN, "xbee.reset", "the module has reset itself (%s)",
                  status == WATCHDOG_RESET ? "watchdog" : "power or reset line");
        xbee_restart(x, now_ms, "the module has reset itself");
    } else if (status == JOINED || status == COORDINATOR_STARTED || status == LEFT) {
        xbee_network(x, now_ms, status != LEFT);
    }
}

static void on_at_response(struct xbee *x, int64_t now_ms, struct reader *r)
{
    rd_u8(r); /* id: the name tells as well, and survives a reset */
    const struct bytes name = rd_bytes(r, 2);
    const uint8_t status = rd_u8(r);
    if (r->failed) {
        x->s.counters.strange_frames++;
        return;
    }
    const struct bytes value = rd_rest(r);
    if (x->phase != XBEE_UP) {
        xbee_start_response(x, now_ms, (const char *)name.data, status, value);
        return;
    }
    const bool is_ap = memcmp(name.data, xbee_names[SET_AP], 2) == 0;
    if (!is_ap && memcmp(name.data, xbee_names[SET_AI], 2) != 0)
        return;
    x->misses = 0;
    x->deadline_ms = TIME_NEVER;
    if (is_ap) {
        const bool other = status == 0 && value.len > 0 &&
                           value.data[value.len - 1] != (x->decoder.escaped ? 2 : 1);
        if (other)
            stick_reopen(&x->s, now_ms, "the module is in another API mode: it has been reset");
        return;
    }
    if (!x->is_802154 && status == 0 && value.len > 0 && value.data[value.len - 1] != 0)
        xbee_network(x, now_ms, false);
}

static void on_frame(struct xbee *x, int64_t now_ms, struct bytes content)
{
    struct reader r = rd_of(content);
    const uint8_t type = rd_u8(&r);
    x->s.counters.frames_in++;
    x->health_ms = now_ms + XBEE_HEALTH_MS;
    if (type == XBEE_AT_RESPONSE)
        on_at_response(x, now_ms, &r);
    else if (type == XBEE_MODEM_STATUS)
        on_modem_status(x, now_ms, &r);
    else if (x->phase != XBEE_UP)
        return; /* data before we know what it is */
    else if (type == XBEE_RX || type == XBEE_RX_EXPLICIT)
        on_rx(x, now_ms, type, &r);
    else if (type == XBEE_RX_64 || type == XBEE_RX_16)
        on_old_rx(x, now_ms, type, &r);
    else if (type == XBEE_TX_STATUS)
        on_tx_status(x, now_ms, &r);
    else if (type == XBEE_TX_STATUS_802154)
        on_old_tx_status(x, now_ms, &r);
    else if (type == XBEE_IDENTIFICATION)
        on_identification(x, now_ms, &r);
}

/* ---- the driver -------------------------------------------------------------------------------- */

static bool speaks_text(const struct xbee *x)
{
    return x->phase > XBEE_ASK_AP && x->phase < XBEE_READ;
}

static void take_frames(struct xbee *x, int64_t now_ms)
{
    struct bytes content;
    while (x->s.state != STICK_GIVEN_UP && xbee_next(&x->decoder, &content))
        on_frame(x, now_ms, content);
    x->s.counters.bad_frames += x->decoder.bad;
    x->s.counters.skipped_bytes += x->decoder.skipped;
    x->decoder.bad = x->decoder.skipped = 0;
    const bool slow = x->baud > 0 && x->baud <= 9600;
    x->partial_ms =
        xbee_is_partial(&x->decoder) ? now_ms + (slow ? PARTIAL_SLOW_MS : PARTIAL_MS) : TIME_NEVER;
}

static void on_input(struct stick *s, int64_t now_ms, struct bytes in)
{
    struct xbee *x = xbee_of(s);
    if (speaks_text(x)) {
        xbee_text(x, now_ms, in);
        return;
    }
    xbee_feed(&x->decoder, in);
    take_frames(x, now_ms);
}

static void on_init(struct stick *s)
{
    struct xbee *x = xbee_of(s);
    x->partial_ms = x->deadline_ms = x->health_ms = TIME_NEVER;
}

static void on_opened(struct stick *s, int64_t now_ms)
{
    struct xbee *x = xbee_of(s);
    x->decoder.at = x->decoder.end = 0;
    x->partial_ms = x->health_ms = TIME_NEVER;
    xbee_start(x, now_ms);
}

static void on_closed(struct stick *s)
{
    on_init(s);
}

/* It has not told what became of a packet: it may be gone, or in another API mode, without a word.
 * Frames for that need other escapes, and most are lost; the question for the mode passes. */
static bool is_doubtful(const struct xbee *x)
{
    return x->deadline_ms == TIME_NEVER && x->s.counters.unknown != x->unknown;
}

/* Nothing was heard for long, or an outcome is missing: is it still there? */
static void look_after_health(struct xbee *x, int64_t now_ms)
{
    if (x->deadline_ms <= now_ms && ++x->misses >= MISSES_MAX) {
        stick_reopen(&x->s, now_ms, "the module has stopped to answer");
        return;
    }
    if (x->health_ms > now_ms && x->deadline_ms > now_ms && !is_doubtful(x))
        return;
    const bool doubtful = x->s.counters.unknown != x->unknown;
    x->unknown = x->s.counters.unknown;
    x->health_ms = now_ms + XBEE_HEALTH_MS;
    x->deadline_ms = now_ms + XBEE_AT_MS;
    xbee_at(x, xbee_names[doubtful ? SET_AP : SET_AI], bytes_of(NULL, 0));
}

static void on_advance(struct stick *s, int64_t now_ms)
{
    struct xbee *x = xbee_of(s);
    if (x->partial_ms <= now_ms) {
        xbee_give_up(&x->decoder);
        take_frames(x, now_ms);
    }
    if (x->phase == XBEE_UP)
        look_after_health(x, now_ms);
    else if (x->deadline_ms <= now_ms)
        xbee_start_due(x, now_ms);
}

static int64_t next_deadline(const struct stick *s)
{
    const struct xbee *x = (const void *)s; /* its first member */
    const int64_t at_ms = time_min(x->partial_ms, x->deadline_ms);
    if (x->phase == XBEE_UP && is_doubtful(x))
        return INT64_MIN;
    return x->phase == XBEE_UP ? time_min(at_ms, x->health_ms) : at_ms;
}

const struct stick_driver stick_xbee = {
    .name = "xbee",
    .size = sizeof(struct xbee),
    .reports = true,
    .window_bytes = WINDOW_BYTES,
    .init = on_init,
    .opened = on_opened,
    .closed = on_closed,
    .input = on_input,
    .advance = on_advance,
    .next_deadline = next_deadline,
    .transmit = on_transmit,
    .permit_join = on_permit_join,
};
