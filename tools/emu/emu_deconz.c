/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ConBee on its serial line: frames, commands, the network and the watchdog (D.1, D.2, D.4). It
 * hardly ever says anything by itself: only that its state has changed.
 */
#include "tools/emu/emu_deconz_priv.h"

enum {
    SLIP_END = 0xC0,
    SLIP_ESC = 0xDB,
    SLIP_ESC_END = 0xDC,
    SLIP_ESC_ESC = 0xDD,

    BOOT_MS = 200, /* it hears nothing so long */
    CONNECT_MS = 500,
    FORM_MS = 2500,
    LEAVE_MS = 300,

    FLAG_CONFIRM = 0x04,
    FLAG_INDICATION = 0x08,
    FLAG_CHANGED = 0x10,
    FLAG_FREE = 0x20,
};

static struct emu_deconz *of(struct emu *m)
{
    return (struct emu_deconz *)m;
}

/* ---- frames ------------------------------------------------------------------------------------ */

static uint16_t checksum(struct bytes covered)
{
    uint16_t sum = 0;
    for (size_t i = 0; i < covered.len; i++)
        sum = (uint16_t)(sum + covered.data[i]);
    return (uint16_t)(~sum + 1);
}

static void wr_slip(struct writer *w, uint8_t octet)
{
    if (octet == SLIP_END || octet == SLIP_ESC) {
        wr_u8(w, SLIP_ESC);
        octet = octet == SLIP_END ? SLIP_ESC_END : SLIP_ESC_ESC;
    }
    wr_u8(w, octet);
}

/* The frame without its checksum, wrapped up. */
static size_t wrap(struct bytes frame, uint8_t *out, size_t size)
{
    struct writer w = wr_to(out, size);
    const uint16_t crc = checksum(frame);
    wr_u8(&w, SLIP_END);
    for (size_t i = 0; i < frame.len; i++)
        wr_slip(&w, frame.data[i]);
    wr_slip(&w, (uint8_t)crc);
    wr_slip(&w, (uint8_t)(crc >> 8));
    wr_u8(&w, SLIP_END);
    return wr_close(&w);
}

void conbee_answer(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request,
                   enum deconz_status status, bool with_length, struct bytes payload)
{
    enum { HEAD = 5 };

    uint8_t frame[DECONZ_FRAME_MAX], out[2 * DECONZ_FRAME_MAX + 6];
    struct writer w = wr_to(frame, sizeof frame);
    wr_u8(&w, request->command);
    wr_u8(&w, d->m.config.firmware == 5 ? d->sequence++ : request->sequence);
    wr_u8(&w, (uint8_t)status);
    wr_u16_le(&w, (uint16_t)(HEAD + (with_length ? 2U : 0U) + payload.len));
    if (with_length)
        wr_u16_le(&w, (uint16_t)payload.len);
    wr_bytes(&w, payload);
    emu_answer(&d->m, now_ms, bytes_of(out, wrap(bytes_of(frame, w.len), out, sizeof out)));
}

/* ---- state ------------------------------------------------------------------------------------- */

static uint8_t state_now(const struct emu_deconz *d)
{
    unsigned state = d->network;
    if (d->n_confirms > 0)
        state |= FLAG_CONFIRM;
    if (d->n_indications > 0)
        state |= FLAG_INDICATION;
    if (d->changed)
        state |= FLAG_CHANGED;
    if (d->slots_busy < conbee_slots(d))
        state |= FLAG_FREE;
    return (uint8_t)state;
}

uint8_t conbee_state(struct emu_deconz *d)
{
    d->said = state_now(d);
    return d->said;
}

/* Tells the host of what it doesn't know yet. */
static void tell_state(struct emu_deconz *d, int64_t now_ms)
{
    if (state_now(d) == d->said || now_ms < d->boot_ms)
        return;
    if (d->m.config.firmware == 4)
        return;
    const uint8_t frame[] = {DECONZ_STATE_CHANGED, d->sequence++, 0, 7, 0, conbee_state(d), 0};
    uint8_t out[2 * sizeof frame + 6];
    emu_answer(&d->m, now_ms, bytes_of(out, wrap(bytes_of(frame, sizeof frame), out, sizeof out)));
}

/* ---- the network ------------------------------------------------------------------------------- */

static unsigned first_channel(uint64_t mask)
{
    for (unsigned channel = 11; channel <= 26; channel++) {
        if ((mask >> channel & 1) != 0)
            return channel;
    }
    return 0;
}

/* Nothing is missing that it takes to be a coordinator. Without a PAN of the host's choice the
 * stick chooses one: whoever starts a stick without network gets one. */
static void settle_network(struct emu_deconz *d)
{
    const unsigned channel = first_channel(conbee_number(d, DECONZ_CHANNELS));
    if (conbee_number(d, DECONZ_COORDINATOR) == 0 || channel == 0) {
        d->network = DECONZ_OFFLINE;
        return;
    }
    const bool chosen = conbee_number(d, DECONZ_PREDEFINED_PAN) != 0 || d->stored_network;
    if (!chosen || conbee_number(d, DECONZ_PAN) == 0)
        conbee_set_number(d, DECONZ_PAN, 1 + rng_below(&d->m.rng, 0xFFFE));
    if (conbee_number(d, DECONZ_EXTENDED_PAN) == 0) {
        const uint64_t wished = conbee_number(d, DECONZ_APS_EXTENDED_PAN);
        conbee_set_number(d, DECONZ_EXTENDED_PAN, wished != 0 ? wished : d->m.config.eui64);
    }
    conbee_set_number(d, DECONZ_CHANNEL, channel);
    memcpy(d->active, d->endpoints, sizeof d->active);
    d->stored_network = true;
    d->changed = false;
    d->network = DECONZ_CONNECTED;
}

static void network_due(struct emu_deconz *d, int64_t now_ms)
{
    if (d->network_ms > now_ms)
        return;
    d->network_ms = TIME_NEVER;
    if (d->to_connect)
        settle_network(d);
    else
        d->network = DECONZ_OFFLINE;
}

static void change_network(struct emu_deconz *d, int64_t now_ms,
                           const struct deconz_request *request)
{
    struct reader r = rd_of(request->rest);
    const uint8_t wanted = rd_u8(&r);
    const bool good = rd_close(&r) && (wanted == DECONZ_OFFLINE || wanted == DECONZ_CONNECTED);
    if (good && wanted != (uint8_t)d->network) {
        d->to_connect = wanted == DECONZ_CONNECTED;
        d->network = d->to_connect ? DECONZ_JOINING : DECONZ_LEAVING;
        d->network_ms = now_ms + (!d->to_connect      ? LEAVE_MS
                                  : d->stored_network ? CONNECT_MS
                                                      : FORM_MS);
    }
    conbee_answer(d, now_ms, request, good ? DECONZ_SUCCESS : DECONZ_INVALID_VALUE, false,
                  bytes_of(&wanted, 1));
}

/* ---- commands ---------------------------------------------------------------------------------- */

static uint32_t version(const struct emu_deconz *d)
{
    switch (d->m.config.firmware) {
    case 2:
        return 0x264D0900;
    case 3:
        return 0x26390500;
    default:
        return 0x26780700;
    }
}

static void obey(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request)
{
    uint8_t out[4];
    struct writer w = wr_to(out, sizeof out);
    switch (request->command) {
    case DECONZ_DEVICE_STATE:
        wr_u8(&w, conbee_state(d));
        wr_u16_le(&w, 0);
        conbee_answer(d, now_ms, request, DECONZ_SUCCESS, false, bytes_of(out, w.len));
        break;
    case DECONZ_VERSION:
        wr_u32_le(&w, version(d));
        conbee_answer(d, now_ms, request, DECONZ_SUCCESS, false, bytes_of(out, w.len));
        break;
    case DECONZ_CHANGE_NETWORK:
        change_network(d, now_ms, request);
        break;
    case DECONZ_READ:
        conbee_read(d, now_ms, request);
        break;
    case DECONZ_WRITE:
        conbee_write(d, now_ms, request);
        break;
    case DECONZ_APS_CONFIRM:
        conbee_aps_confirm(d, now_ms, request);
        break;
    case DECONZ_APS_REQUEST:
        conbee_aps_request(d, now_ms, request);
        break;
    case DECONZ_APS_INDICATION:
        conbee_aps_indication(d, now_ms, request);
        break;
    case DECONZ_REBOOT:
        emu_reset(&d->m, now_ms);
        break;
    default:
        conbee_answer(d, now_ms, request, DECONZ_UNSUPPORTED, false, bytes_of(NULL, 0));
    }
}

static void take_frame(struct emu_deconz *d, int64_t now_ms)
{
    struct reader r = rd_of(bytes_of(d->frame, d->frame_len));
    const struct bytes covered = rd_bytes(&r, d->frame_len < 2 ? 0 : d->frame_len - 2);
    const uint16_t crc = rd_u16_le(&r);
    struct reader c = rd_of(covered);
    struct deconz_request request = {.command = rd_u8(&c), .sequence = rd_u8(&c)};
    const uint8_t status = rd_u8(&c);
    const uint16_t len = rd_u16_le(&c);
    request.rest = rd_rest(&c);
    if (d->broken || c.failed || r.failed || crc != checksum(covered) || len != covered.len ||
        status != 0) {
        d->m.bad_frames_in++;
        return;
    }
    d->m.frames_in++;
    obey(d, now_ms, &request);
}

static void take_octet(struct emu_deconz *d, int64_t now_ms, uint8_t octet)
{
    if (octet == SLIP_END) {
        if (d->frame_len > 0 || d->broken)
            take_frame(d, now_ms);
        d->frame_len = 0;
        d->broken = d->escaped = false;
        return;
    }
    if (d->escaped) {
        d->escaped = false;
        d->broken |= octet != SLIP_ESC_END && octet != SLIP_ESC_ESC;
        octet = octet == SLIP_ESC_END ? SLIP_END : SLIP_ESC;
    } else if (octet == SLIP_ESC) {
        d->escaped = true;
        return;
    }
    if (d->frame_len == sizeof d->frame)
        d->broken = true;
    else
        d->frame[d->frame_len++] = octet;
}

/* ---- the driver -------------------------------------------------------------------------------- */

static void init(struct emu *m)
{
    conbee_parameters_init(of(m));
}

static bool has_watchdog(const struct emu_deconz *d)
{
    return conbee_protocol(d) >= 0x0108 && conbee_number(d, DECONZ_WATCHDOG) > 0;
}

static void power_on(struct emu *m, int64_t now_ms)
{
    enum { WATCHDOG_AT_BOOT_S = 600 };

    struct emu_deconz *d = of(m);
    d->frame_len = 0;
    d->escaped = d->broken = false;
    conbee_aps_reset(d);
    d->boot_ms = now_ms + BOOT_MS;
    d->changed = false;
    d->to_connect = true;
    d->network = d->stored_network ? DECONZ_JOINING : DECONZ_OFFLINE;
    d->network_ms = d->stored_network ? d->boot_ms + CONNECT_MS : TIME_NEVER;
    conbee_set_number(d, DECONZ_WATCHDOG, WATCHDOG_AT_BOOT_S);
    d->starve_ms = now_ms + (int64_t)WATCHDOG_AT_BOOT_S * 1000;
    d->said = 0xFF; /* it says so when it has booted */
}

static void input(struct emu *m, int64_t now_ms, struct bytes in)
{
    struct emu_deconz *d = of(m);
    for (size_t i = 0; i < in.len; i++) {
        if (now_ms >= d->boot_ms)
            take_octet(d, now_ms, in.data[i]);
    }
    tell_state(d, now_ms);
}

static void event(struct emu *m, int64_t now_ms, const struct ether_event *e)
{
    struct emu_deconz *d = of(m);
    conbee_aps_event(d, now_ms, e);
    tell_state(d, now_ms);
}

static void advance(struct emu *m, int64_t now_ms)
{
    struct emu_deconz *d = of(m);
    if (has_watchdog(d) && d->starve_ms <= now_ms) {
        emu_reset(m, now_ms);
        return;
    }
    network_due(d, now_ms);
    conbee_aps_due(d, now_ms);
    tell_state(d, now_ms);
}

static int64_t next_deadline(const struct emu *m)
{
    const struct emu_deconz *d = (const struct emu_deconz *)m;
    int64_t at_ms = time_min(d->network_ms, conbee_aps_deadline(d));
    if (has_watchdog(d))
        at_ms = time_min(at_ms, d->starve_ms);
    if (d->boot_ms > m->now_us / 1000)
        at_ms = time_min(at_ms, d->boot_ms);
    return at_ms;
}

const struct emu_driver emu_deconz = {
    .name = "deconz",
    .size = sizeof(struct emu_deconz),
    .init = init,
    .power_on = power_on,
    .input = input,
    .event = event,
    .advance = advance,
    .next_deadline = next_deadline,
};
