/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An emulated Texas Instruments coordinator: MT commands over UNPI as the firmware of Z-Stack
 * answers them (radio reference, chapter B).
 *
 * config.firmware: 0 Z-Stack 3.x.0, 1 Z-Stack 3.0.x, 2 Z-Stack Home 1.2, 3 Z-Stack 3.0.x that waits
 * in its boot loader after power on, 4 Z-Stack 3.x.0 that cannot form a network.
 */
#include "tools/emu/emu_znp_priv.h"

static uint16_t number16(uint16_t a, uint16_t otherwise)
{
    return a != 0 ? a : otherwise;
}

/* ---- frames ------------------------------------------------------------------------------------ */

static size_t put_frame(uint8_t *out, uint8_t cmd0, uint8_t cmd1, struct bytes data)
{
    struct writer w = wr_to(out, DATA_MAX + 5);
    uint8_t fcs = (uint8_t)(data.len ^ cmd0 ^ cmd1);
    for (size_t i = 0; i < data.len; i++)
        fcs ^= data.data[i];
    wr_u8(&w, SOF);
    wr_u8(&w, (uint8_t)data.len);
    wr_u8(&w, cmd0);
    wr_u8(&w, cmd1);
    wr_bytes(&w, data);
    wr_u8(&w, fcs);
    return wr_close(&w);
}

void emu_znp_tell(struct emu_stick *z, int64_t now_ms, uint8_t cmd0, uint8_t cmd1,
                  const struct writer *data)
{
    uint8_t frame[DATA_MAX + 5];
    const size_t len = put_frame(frame, cmd0, cmd1, bytes_of(data->buf, data->len));
    emu_frame(&z->m, now_ms, bytes_of(frame, len));
}

/* The answer to a synchronous request. */
void emu_znp_answer(struct emu_stick *z, int64_t now_ms, uint8_t cmd0, uint8_t cmd1,
                    const struct writer *data)
{
    uint8_t frame[DATA_MAX + 5];
    const uint8_t srsp = (uint8_t)(0x60 | (cmd0 & 0x1F));
    const size_t len = put_frame(frame, srsp, cmd1, bytes_of(data->buf, data->len));
    emu_answer(&z->m, now_ms, bytes_of(frame, len));
}

/* ---- the network ------------------------------------------------------------------------------- */

static bool is_3x(const struct emu_stick *z)
{
    return z->m.config.firmware == FIRMWARE_3X || z->m.config.firmware == FIRMWARE_NO_FORM;
}

/* The item alone says nothing: the stack makes it when it first starts. */
bool emu_znp_has_network(struct emu_stick *z)
{
    enum { CHANNEL_PACKED = 22, CHANNEL_ALIGNED = 24 };

    const struct znp_nv_item *nib = znp_nv_find(&z->nv, NV_NIB);
    return nib != NULL && nib->value[is_3x(z) ? CHANNEL_ALIGNED : CHANNEL_PACKED] != 0;
}

uint8_t emu_znp_channel(struct emu_stick *z)
{
    const uint32_t mask = znp_nv_number(&z->nv, NV_CHANNELS, UINT32_C(1) << 11);
    for (uint8_t channel = 11; channel <= 26; channel++) {
        if ((mask >> channel & 1) != 0)
            return channel;
    }
    return 11;
}

uint16_t emu_znp_pan_id(struct emu_stick *z)
{
    return (uint16_t)znp_nv_number(&z->nv, NV_PAN_ID, 0xFFFF);
}

/* The state of the stack, as the compiler of each chip lays it out: packed on the old ones, words at
 * even offsets on the new ones. */
struct nib {
    struct writer w;
    bool aligned;
};

static void align(struct nib *n)
{
    if (n->aligned && n->w.len % 2 != 0)
        wr_u8(&n->w, 0);
}

static void nib_u16(struct nib *n, uint16_t value)
{
    align(n);
    wr_u16_le(&n->w, value);
}

static void nib_u32(struct nib *n, uint32_t value)
{
    align(n);
    wr_u32_le(&n->w, value);
}

static void nib_fill(struct nib *n, size_t count, uint8_t value)
{
    while (count-- > 0)
        wr_u8(&n->w, value);
}

void emu_znp_put_extended_pan(struct emu_stick *z, struct writer *w)
{
    const struct znp_nv_item *item = znp_nv_find(&z->nv, NV_EXTENDED_PAN_ID);
    if (item != NULL && item->len == 8)
        wr_bytes(w, bytes_of(item->value, 8));
    else
        put_eui64(w, z->m.config.eui64);
}

static void store_nib(struct emu_stick *z, bool network)
{
    enum { NONE = 0xFFFE };

    uint8_t octets[116];
    struct nib n = {.w = wr_to(octets, sizeof octets), .aligned = is_3x(z)};
    nib_fill(&n, 15, 0x02); /* counters and settings that no host looks at */
    nib_u16(&n, 7);
    nib_fill(&n, 3, 0x02);
    nib_u16(&n, network ? 0 : NONE); /* own address */
    wr_u8(&n.w, network ? emu_znp_channel(z) : 0);
    nib_u16(&n, network ? 0 : NONE); /* of the coordinator */
    put_eui64(&n.w, network ? z->m.config.eui64 : 0);
    nib_u16(&n, network ? emu_znp_pan_id(z) : NONE);
    wr_u8(&n.w, network ? 8 : 0);
    nib_u32(&n, network ? UINT32_C(1) << emu_znp_channel(z) : 0);
    nib_fill(&n, 4, 0x0F);
    nib_u32(&n, 0);
    nib_u32(&n, 0);
    wr_u8(&n.w, 0);
    emu_znp_put_extended_pan(z, &n.w);
    wr_u8(&n.w, network); /* there is a key */
    nib_fill(&n, 34, 0);
    nib_fill(&n, 9, 0x0F);
    nib_u16(&n, 0);
    nib_u16(&n, 0);
    wr_u8(&n.w, 0);
    align(&n);
    znp_nv_set(&z->nv, NV_NIB, bytes_of(octets, wr_close(&n.w)));
}

/* Key 0, as active key and as the alternate one. */
static void store_key(struct emu_stick *z)
{
    uint8_t octets[24] = {0};
    struct writer w = wr_to(octets, sizeof octets);
    const struct znp_nv_item *key = znp_nv_find(&z->nv, NV_NETWORK_KEY);
    wr_u8(&w, 0);
    if (key != NULL)
        wr_bytes(&w, bytes_of(key->value, key->len));
    znp_nv_set(&z->nv, NV_ACTIVE_KEY, bytes_of(octets, 17));
    znp_nv_set(&z->nv, NV_ALTERNATE_KEY, bytes_of(octets, 17));
    znp_nv_set(&z->nv, NV_KEY_IN_USE, bytes_of(octets, is_3x(z) ? 24 : 21));
}

static void store_network(struct emu_stick *z)
{
    if (emu_znp_pan_id(z) == 0xFFFF) {
        const uint16_t pan_id = (uint16_t)(1 + rng_below(&z->m.rng, 0xFFFD));
        const uint8_t value[] = {(uint8_t)pan_id, (uint8_t)(pan_id >> 8)};
        znp_nv_set(&z->nv, NV_PAN_ID, bytes_of(value, sizeof value));
    }
    store_nib(z, true);
    store_key(z);
}

static void tell_state(struct emu_stick *z, int64_t now_ms)
{
    struct writer w = wr_to(&z->state, 1);
    w.len = 1;
    emu_znp_tell(z, now_ms, AREQ_ZDO, 0xC0, &w);
}

void emu_znp_start(struct emu_stick *z, int64_t now_ms, bool formation)
{
    z->state = STATE_STARTING;
    z->formation = formation;
    z->up_at_ms = now_ms + START_MS;
}

static void network_is_up(struct emu_stick *z, int64_t now_ms)
{
    uint8_t data[3] = {0, 2, 0};
    struct writer w = wr_to(data, sizeof data);
    w.len = sizeof data;
    z->up_at_ms = TIME_NEVER;
    if (z->formation && z->m.config.firmware == FIRMWARE_NO_FORM) {
        data[0] = 8; /* formation failure */
        z->state = STATE_HOLD;
        emu_znp_tell(z, now_ms, AREQ_APP_CNF, 0x80, &w);
        return;
    }
    store_network(z);
    tell_state(z, now_ms);
    z->state = STATE_COORDINATOR;
    tell_state(z, now_ms);
    if (z->formation)
        emu_znp_tell(z, now_ms, AREQ_APP_CNF, 0x80, &w);
}

/* ---- SYS --------------------------------------------------------------------------------------- */

static void put_version(const struct emu_stick *z, struct writer *w)
{
    const unsigned firmware = z->m.config.firmware;
    wr_u8(w, 2);
    wr_u8(w, firmware == FIRMWARE_12 ? 0 : is_3x(z) ? 1 : 2);
    wr_u8(w, 2);
    wr_u8(w, firmware == FIRMWARE_12 ? 6 : 7);
}

static void on_reset_done(struct emu_stick *z, int64_t now_ms)
{
    uint8_t data[8];
    struct writer w = wr_to(data, sizeof data);
    z->boot_at_ms = TIME_NEVER;
    wr_u8(&w, 0);
    put_version(z, &w);
    wr_u8(&w, 1);
    emu_znp_tell(z, now_ms, AREQ_SYS, 0x80, &w);
}

static bool on_sys(struct emu_stick *z, uint8_t cmd1, struct reader *r, struct writer *out)
{
    const bool old = z->m.config.firmware == FIRMWARE_12;
    if (cmd1 == 0x01) {
        wr_u16_le(out, old ? 0x0179 : 0x0659);
    } else if (cmd1 == 0x02) {
        put_version(z, out);
        wr_u8(out, old ? 3 : 1);
        wr_u32_le(out, old ? 20190608 : 20230507);
    } else if (cmd1 == 0x04) {
        put_eui64(out, z->m.config.eui64);
    } else {
        return znp_nv_command(&z->nv, cmd1, r, out);
    }
    return true;
}

/* ---- in ---------------------------------------------------------------------------------------- */

static void put_number(struct emu_stick *z, uint16_t id, uint32_t value, size_t len)
{
    uint8_t octets[4];
    struct writer w = wr_to(octets, sizeof octets);
    wr_u32_le(&w, value);
    znp_nv_set(&z->nv, id, bytes_of(octets, len));
}

/* The key of a stick that nobody has given another. */
static void set_usual_key(struct emu_stick *z)
{
    static const uint8_t key[16] = {1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13};
    znp_nv_set(&z->nv, NV_NETWORK_KEY, bytes_of(key, sizeof key));
}

/* The state of a stick that starts: what STARTUP_OPTION says is forgotten, is. */
static void clear_as_asked(struct emu_stick *z)
{
    enum { CLEAR_CONFIG = 1, CLEAR_STATE = 2 };

    const uint32_t option = znp_nv_number(&z->nv, NV_STARTUP_OPTION, 0);
    if ((option & CLEAR_STATE) != 0) {
        znp_nv_delete(&z->nv, NV_NIB);
        znp_nv_delete(&z->nv, NV_ACTIVE_KEY);
        znp_nv_delete(&z->nv, NV_ALTERNATE_KEY);
    }
    if ((option & CLEAR_CONFIG) != 0) {
        znp_nv_delete(&z->nv, NV_CONFIGURED_3);
        znp_nv_delete(&z->nv, NV_CONFIGURED_12);
        set_usual_key(z);
        put_number(z, NV_PAN_ID, 0xFFFF, 2);
        put_number(z, NV_CHANNELS, UINT32_C(1) << 11, 4);
    }
}

static void on_power_on(struct emu *m, int64_t now_ms)
{
    struct emu_stick *z = emu_znp_of(m);
    z->n_in = 0;
    z->busy = 0;
    z->state = STATE_HOLD;
    z->zdo_raw = false;
    z->up_at_ms = TIME_NEVER;
    memset(z->endpoints, 0, sizeof z->endpoints);
    memset(z->groups, 0, sizeof z->groups);
    clear_as_asked(z);
    if (znp_nv_find(&z->nv, NV_NIB) == NULL)
        store_nib(z, false);
    z->in_boot_loader = m->config.firmware == FIRMWARE_BOOT && m->resets == 0;
    z->boot_at_ms = z->in_boot_loader ? TIME_NEVER : now_ms + RESET_MS;
}

static void on_request(struct emu_stick *z, int64_t now_ms, uint8_t cmd0, uint8_t cmd1,
                       struct bytes data)
{
    uint8_t room[DATA_MAX];
    struct writer out = wr_to(room, sizeof room);
    struct reader r = rd_of(data);
    bool known = false;
    if (cmd0 == SREQ_SYS)
        known = on_sys(z, cmd1, &r, &out);
    else if (cmd0 == SREQ_AF)
        known = emu_znp_af(z, now_ms, cmd1, &r, &out);
    else if (cmd0 == SREQ_ZDO)
        known = emu_znp_zdo(z, now_ms, cmd1, &r, &out);
    else if (cmd0 == SREQ_SAPI)
        known = znp_nv_sapi(&z->nv, cmd1, &r, &out);
    else if (cmd0 == SREQ_UTIL)
        known = emu_znp_util(z, cmd1, &r, &out);
    else if (cmd0 == SREQ_APP_CNF)
        known = emu_znp_app_cnf(z, now_ms, cmd1, &r, &out);
    if (known && out.len > 0) {
        emu_znp_answer(z, now_ms, cmd0, cmd1, &out);
    } else if (!known && (cmd0 & 0xE0) == 0x20) {
        out.len = 0;
        wr_u8(&out, 2);
        wr_u8(&out, cmd0);
        wr_u8(&out, cmd1);
        emu_znp_answer(z, now_ms, SRSP_RPC_ERROR, 0, &out);
    }
}

static void on_octet(struct emu_stick *z, int64_t now_ms, uint8_t octet)
{
    if (z->n_in == 0 && octet != SOF)
        return;
    z->in[z->n_in++] = octet;
    if (z->n_in >= 2 && z->in[1] > DATA_MAX) {
        z->n_in = 0;
        z->m.bad_frames_in++;
        return;
    }
    if (z->n_in < 5 || z->n_in < (size_t)z->in[1] + 5)
        return;
    const size_t len = z->in[1];
    uint8_t fcs = 0;
    for (size_t i = 1; i < len + 5; i++)
        fcs ^= z->in[i];
    z->n_in = 0;
    if (fcs != 0) {
        z->m.bad_frames_in++;
        return;
    }
    z->m.frames_in++;
    if (z->in[2] == AREQ_SYS && z->in[3] == 0x00)
        emu_reset(&z->m, now_ms);
    else
        on_request(z, now_ms, z->in[2], z->in[3], bytes_of(z->in + 4, len));
}

static void on_input(struct emu *m, int64_t now_ms, struct bytes in)
{
    struct emu_stick *z = emu_znp_of(m);
    for (size_t i = 0; i < in.len; i++) {
        if (z->in_boot_loader) {
            z->in_boot_loader = in.data[i] != SKIP_BOOT;
            z->boot_at_ms = z->in_boot_loader ? TIME_NEVER : now_ms + RESET_MS;
        } else if (z->boot_at_ms == TIME_NEVER) { /* deaf while it starts */
            on_octet(z, now_ms, in.data[i]);
        }
    }
}

static void on_event(struct emu *m, int64_t now_ms, const struct ether_event *event)
{
    struct emu_stick *z = emu_znp_of(m);
    if (event->type == ETHER_EV_CONFIRM)
        emu_znp_confirm(z, now_ms, event);
    else if (event->type == ETHER_EV_RECEIVED)
        emu_znp_incoming(z, now_ms, event);
    else if (event->type == ETHER_EV_ANNOUNCE)
        emu_znp_announce(z, now_ms, event->number);
}

static void on_advance(struct emu *m, int64_t now_ms)
{
    struct emu_stick *z = emu_znp_of(m);
    if (z->boot_at_ms <= now_ms)
        on_reset_done(z, now_ms);
    if (z->up_at_ms <= now_ms)
        network_is_up(z, now_ms);
}

static int64_t next_deadline(const struct emu *m)
{
    const struct emu_stick *z = (const void *)m;
    return time_min(z->boot_at_ms, z->up_at_ms);
}

static void on_init(struct emu *m)
{
    struct emu_stick *z = emu_znp_of(m);
    set_usual_key(z);
    store_key(z);
    if (!m->config.formed)
        return;
    put_number(z, NV_PAN_ID, number16(m->config.pan_id, 0x1A62), 2);
    put_number(z, NV_CHANNELS, UINT32_C(1) << (m->config.channel != 0 ? m->config.channel : 15), 4);
    put_number(z, NV_LOGICAL_TYPE, 0, 1);
    put_number(z, m->config.firmware == FIRMWARE_12 ? NV_CONFIGURED_12 : NV_CONFIGURED_3, 0x55, 1);
    store_network(z);
}

const struct emu_driver emu_znp = {
    .name = "znp",
    .size = sizeof(struct emu_stick),
    .init = on_init,
    .power_on = on_power_on,
    .input = on_input,
    .event = on_event,
    .advance = on_advance,
    .next_deadline = next_deadline,
};
