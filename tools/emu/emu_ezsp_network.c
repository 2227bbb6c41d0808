/* SPDX-License-Identifier: Apache-2.0 */
/* The network of an emulated coprocessor: formed, resumed, left, opened for joining; and what a host
 * may ask about it: parameters, keys, groups, values. */
#include "tools/emu/emu_ezsp_priv.h"

enum {
    NETWORK_MS = 300, /* from networkInit, formNetwork or leaveNetwork to its status */
    DOOR_MS = 5,
    FIRMWARE_NO_NETWORK = 5,
};

/* ---- life -------------------------------------------------------------------------------------- */

void emu_ezsp_network_new(struct emu_ncp *n)
{
    static const uint8_t key[EMU_EZSP_KEY] = {1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13};

    const struct emu_config *c = &n->m.config;
    n->has_network = c->formed;
    n->channel = c->channel != 0 ? c->channel : 15;
    n->pan_id = c->pan_id != 0 ? c->pan_id : 0x1A62;
    memset(n->extended_pan, 0xDD, sizeof n->extended_pan);
    memcpy(n->key, key, sizeof n->key);
}

void emu_ezsp_network_off(struct emu_ncp *n)
{
    n->up = n->initialised = n->has_security = n->leaving = n->open = false;
    n->network_ms = n->door_ms = n->close_ms = TIME_NEVER;
    memset(n->groups, 0, sizeof n->groups);
}

static void network_due(struct emu_ncp *n, int64_t now_ms)
{
    n->network_ms = TIME_NEVER;
    n->up = !n->leaving && n->m.config.firmware != FIRMWARE_NO_NETWORK;
    n->leaving = false;
    emu_ezsp_tell_stack(n, now_ms, n->up ? EZ_UP : EZ_DOWN);
}

void emu_ezsp_network_due(struct emu_ncp *n, int64_t now_ms)
{
    if (n->network_ms <= now_ms)
        network_due(n, now_ms);
    if (n->close_ms <= now_ms) {
        n->close_ms = TIME_NEVER;
        n->open = false;
        n->door_ms = now_ms;
    }
    if (n->door_ms <= now_ms) {
        n->door_ms = TIME_NEVER;
        emu_ezsp_tell_stack(n, now_ms, n->open ? EZ_OPENED : EZ_CLOSED);
    }
}

int64_t emu_ezsp_network_deadline(const struct emu_ncp *n)
{
    return time_min(n->network_ms, time_min(n->door_ms, n->close_ms));
}

static enum emu_ezsp_status init_network(struct emu_ncp *n, int64_t now_ms, struct reader *r)
{
    const size_t left = rd_left(r);
    if (n->version >= 6 && left != 2 && left != 0) /* some hosts leave the bits out */
        return EZ_INVALID;
    if (!n->has_network)
        return EZ_NOT_JOINED;
    n->network_ms = now_ms + NETWORK_MS;
    n->initialised = true;
    return EZ_OK;
}

static enum emu_ezsp_status set_security(struct emu_ncp *n, struct reader *r)
{
    rd_u16_le(r);
    rd_bytes(r, EMU_EZSP_KEY); /* of the trust center */
    const struct bytes key = rd_bytes(r, EMU_EZSP_KEY);
    rd_bytes(r, 1 + 8);
    n->has_security = rd_close(r);
    if (n->has_security)
        memcpy(n->new_key, key.data, sizeof n->new_key);
    return n->has_security ? EZ_OK : EZ_INVALID;
}

static enum emu_ezsp_status form(struct emu_ncp *n, int64_t now_ms, struct reader *r)
{
    const struct bytes extended = rd_bytes(r, 8);
    const uint16_t pan_id = rd_u16_le(r);
    rd_u8(r); /* power */
    const uint8_t channel = rd_u8(r);
    rd_bytes(r, 1 + 2 + 1 + 4);
    if (r->failed || channel < 11 || channel > 26)
        return EZ_INVALID;
    if (!n->has_security || n->up)
        return EZ_STATE;
    memcpy(n->extended_pan, extended.data, 8);
    memcpy(n->key, n->new_key, sizeof n->key);
    n->pan_id = pan_id;
    n->channel = channel;
    n->has_network = true;
    n->initialised = true;
    n->network_ms = now_ms + NETWORK_MS;
    return EZ_OK;
}

static enum emu_ezsp_status leave(struct emu_ncp *n, int64_t now_ms)
{
    const bool was = n->up;
    n->up = n->has_network = false;
    n->leaving = was;
    n->network_ms = was ? now_ms + NETWORK_MS : TIME_NEVER;
    return was ? EZ_OK : EZ_NOT_JOINED;
}

static enum emu_ezsp_status permit_joining(struct emu_ncp *n, int64_t now_ms, struct reader *r)
{
    enum { FOR_EVER = 255 };

    const uint8_t seconds = rd_u8(r);
    if (!n->up)
        return EZ_STATE;
    if (seconds != 0 || n->open)
        n->door_ms = now_ms + DOOR_MS;
    n->open = seconds != 0;
    n->close_ms = n->open && seconds != FOR_EVER ? now_ms + (int64_t)seconds * 1000 : TIME_NEVER;
    return EZ_OK;
}

/* ---- questions --------------------------------------------------------------------------------- */

static void put_parameters(struct emu_ncp *n, struct writer *w)
{
    emu_ezsp_put_status(n, w, n->up ? EZ_OK : EZ_NOT_JOINED);
    wr_u8(w, 1); /* coordinator */
    wr_bytes(w, bytes_of(n->extended_pan, sizeof n->extended_pan));
    wr_u16_le(w, n->pan_id);
    wr_u8(w, 5);
    wr_u8(w, n->channel);
    wr_u8(w, 0);
    wr_u16_le(w, 0);
    wr_u8(w, 0);
    wr_u32_le(w, 0x07FFF800);
}

/* Of the security manager: always with the new status, whose place has changed. */
static void export_key(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    enum { CONTEXT = 18, TYPE_NETWORK = 1 };

    const struct bytes context = rd_bytes(r, CONTEXT);
    const bool good = rd_close(r) && context.data[0] == TYPE_NETWORK && n->has_network;
    static const uint8_t none[EMU_EZSP_KEY] = {0};
    if (n->version >= 14)
        wr_u32_le(w, good ? 0 : 0x21);
    wr_bytes(w, bytes_of(good ? n->key : none, EMU_EZSP_KEY));
    if (n->version >= 14)
        wr_bytes(w, context);
    else
        wr_u32_le(w, good ? 0 : 0x21);
}

static void get_key(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    enum { CURRENT_NETWORK_KEY = 3, HAS_SEQUENCE = 0x0001, HAS_COUNTER = 0x0002 };

    const uint8_t type = rd_u8(r);
    static const uint8_t none[EMU_EZSP_KEY] = {0};
    const bool good = type == CURRENT_NETWORK_KEY && n->has_network;
    emu_ezsp_put_status(n, w, good ? EZ_OK : EZ_INVALID);
    wr_u16_le(w, HAS_SEQUENCE | HAS_COUNTER);
    wr_u8(w, type);
    wr_bytes(w, bytes_of(good ? n->key : none, EMU_EZSP_KEY));
    wr_u32_le(w, 1000); /* frames sent with it */
    wr_u32_le(w, 0);
    wr_u8(w, 0);
    wr_u32_le(w, 0); /* no partner */
    wr_u32_le(w, 0);
}

static void put_group(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    const uint8_t index = rd_u8(r);
    const bool good = index < EMU_EZSP_GROUPS;
    if (n->version >= 14)
        emu_ezsp_put_status(n, w, good ? EZ_OK : EZ_INVALID);
    wr_u16_le(w, good ? n->groups[index].id : 0);
    wr_u8(w, good ? n->groups[index].endpoint : 0);
    wr_u8(w, 0);
}

static enum emu_ezsp_status set_group(struct emu_ncp *n, struct reader *r)
{
    const uint8_t index = rd_u8(r);
    const uint16_t id = rd_u16_le(r);
    const uint8_t endpoint = rd_u8(r);
    rd_u8(r);
    if (!rd_close(r) || index >= EMU_EZSP_GROUPS)
        return EZ_INVALID;
    n->groups[index].id = id;
    n->groups[index].endpoint = endpoint;
    return EZ_OK;
}

static void get_value(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    enum { VERSION_INFO = 0x11, RELEASED = 0xAA };

    const bool known = rd_u8(r) == VERSION_INFO;
    emu_ezsp_put_status(n, w, known ? EZ_OK : EZ_INVALID);
    wr_u8(w, known ? 7 : 0);
    if (!known)
        return;
    wr_u16_le(w, 0); /* build */
    wr_u8(w, n->version >= 14 ? 8 : n->version >= 9 ? 7 : 6);
    wr_u8(w, n->version == 13 ? 4 : 0);
    wr_u8(w, 3);
    wr_u8(w, 0);
    wr_u8(w, RELEASED);
}

/* Even without such an endpoint there are flags, though of no meaning. */
static void get_extended_value(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    enum { ENDPOINT_FLAGS = 0 };

    const bool known = rd_u8(r) == ENDPOINT_FLAGS;
    const uint32_t endpoint = rd_u32_le(r);
    bool found = false;
    for (unsigned i = 0; i < n->n_endpoints; i++)
        found |= n->endpoints[i].number == endpoint;
    emu_ezsp_put_status(n, w, known && found ? EZ_OK : EZ_INVALID);
    wr_u8(w, known ? 2 : 0);
    if (known)
        wr_u16_le(w, found);
}

static void get_configuration(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    enum { GROUPS = 0x06 };

    emu_ezsp_put_status(n, w, EZ_OK);
    wr_u16_le(w, rd_u8(r) == GROUPS ? EMU_EZSP_GROUPS : 32);
}

static bool change(struct emu_ncp *n, int64_t now_ms, uint16_t id, struct reader *r,
                   enum emu_ezsp_status *status)
{
    switch (id) {
    case 0x17:
        *status = init_network(n, now_ms, r);
        return true;
    case 0x1E:
        *status = form(n, now_ms, r);
        return true;
    case 0x20:
        *status = leave(n, now_ms);
        return true;
    case 0x22:
        *status = permit_joining(n, now_ms, r);
        return true;
    case 0x64:
        *status = set_group(n, r);
        return true;
    case 0x68:
        *status = set_security(n, r);
        return true;
    default:
        return false;
    }
}

bool emu_ezsp_network_command(struct emu_ncp *n, int64_t now_ms, uint16_t id, struct reader *r,
                              struct writer *w)
{
    enum emu_ezsp_status status;
    if (change(n, now_ms, id, r, &status)) {
        emu_ezsp_put_status(n, w, status);
        return true;
    }
    switch (id) {
    case 0x03:
        get_extended_value(n, r, w);
        return true;
    case 0x18:
        wr_u8(w, n->up ? 2 : 0);
        return true;
    case 0x26:
        wr_u32_le(w, (uint32_t)n->m.config.eui64);
        wr_u32_le(w, (uint32_t)(n->m.config.eui64 >> 32));
        return true;
    case 0x27:
        wr_u16_le(w, n->up ? 0 : 0xFFFE);
        return true;
    case 0x28:
        put_parameters(n, w);
        return true;
    case 0x52:
        get_configuration(n, r, w);
        return true;
    case 0x56:
        emu_ezsp_put_status(n, w, EZ_OK);
        wr_u8(w, 0);
        return true;
    case 0x63:
        put_group(n, r, w);
        return true;
    case 0x6A:
        get_key(n, r, w);
        return n->version < 13;
    case 0xAA:
        get_value(n, r, w);
        return true;
    case 0x114:
        export_key(n, r, w);
        return n->version >= 13;
    default:
        return false;
    }
}
