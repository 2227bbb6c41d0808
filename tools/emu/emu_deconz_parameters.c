/* SPDX-License-Identifier: Apache-2.0 */
/* What an emulated ConBee remembers: the parameters of D.4, and the table of its endpoints. */
#include "tools/emu/emu_deconz_priv.h"

static const struct row {
    uint8_t id, len;
    bool writable;
    bool network;      /* takes effect when the network is started */
    unsigned protocol; /* since this one */
} rows[] = {
    {DECONZ_MAC,              8,  false, false, 0     },
    {DECONZ_PAN,              2,  true,  true,  0     },
    {DECONZ_ADDRESS,          2,  true,  true,  0     },
    {DECONZ_EXTENDED_PAN,     8,  true,  true,  0     },
    {DECONZ_COORDINATOR,      1,  true,  true,  0     },
    {DECONZ_CHANNELS,         4,  true,  true,  0     },
    {DECONZ_APS_EXTENDED_PAN, 8,  true,  true,  0     },
    {DECONZ_TRUST_CENTER,     8,  true,  true,  0     },
    {DECONZ_SECURITY,         1,  true,  true,  0     },
    {DECONZ_PREDEFINED_PAN,   1,  true,  true,  0     },
    {DECONZ_NETWORK_KEY,      17, true,  true,  0     }, /* index, key */
    {DECONZ_LINK_KEY,         24, true,  true,  0     }, /* EUI-64, key */
    {DECONZ_CHANNEL,          1,  false, false, 0     },
    {DECONZ_PERMIT_JOIN,      1,  true,  false, 0     },
    {DECONZ_PROTOCOL,         2,  false, false, 0     },
    {DECONZ_UPDATE_ID,        1,  true,  true,  0     },
    {DECONZ_WATCHDOG,         4,  true,  false, 0x0108},
    {DECONZ_FRAME_COUNTER,    4,  true,  false, 0x010B},
    {DECONZ_ZDP_HANDLING,     2,  true,  false, 0x010B},
};

enum { ROWS = sizeof rows / sizeof rows[0] };

_Static_assert(sizeof rows / sizeof rows[0] <= DECONZ_PARAMETERS, "a value for each row");

unsigned conbee_protocol(const struct emu_deconz *d)
{
    return d->m.config.firmware == 3 ? 0x0107 : 0x010D;
}

/* NULL: this firmware has no such parameter. */
static const struct row *row_of(const struct emu_deconz *d, uint8_t id)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].id == id && rows[i].protocol <= conbee_protocol(d))
            return &rows[i];
    }
    return NULL;
}

static struct deconz_value *value_of(struct emu_deconz *d, const struct row *row)
{
    return &d->values[row - rows];
}

uint64_t conbee_number(const struct emu_deconz *d, enum deconz_parameter id)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (d->values[i].id != id)
            continue;
        uint64_t number = 0;
        for (unsigned k = d->values[i].len < 8 ? d->values[i].len : 8; k-- > 0;)
            number = number << 8 | d->values[i].octets[k];
        return number;
    }
    return 0;
}

void conbee_set_number(struct emu_deconz *d, enum deconz_parameter id, uint64_t value)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (d->values[i].id != id)
            continue;
        for (unsigned k = 0; k < d->values[i].len && k < 8; k++)
            d->values[i].octets[k] = (uint8_t)(value >> (8 * k));
    }
}

/* As the vendor delivers it: home automation, not our profile. */
static void default_endpoints(struct emu_deconz *d)
{
    static const uint8_t first[] = {0x00, 0x01, 0x04, 0x01, 0x05, 0x00,
                                    0x01, 0x01, 0x00, 0x00, 0x00};
    static const uint8_t second[] = {0x01, 0xF2, 0xE0, 0xA1, 0x61, 0x00, 0x00, 0x00, 0x00};
    d->endpoints[0].len = sizeof first;
    memcpy(d->endpoints[0].octets, first, sizeof first);
    d->endpoints[1].len = sizeof second;
    memcpy(d->endpoints[1].octets, second, sizeof second);
}

void conbee_parameters_init(struct emu_deconz *d)
{
    enum { VENDOR_CHANNELS = 0x02108800, WATCHDOG_S = 600 };

    const struct emu_config *c = &d->m.config;
    for (size_t i = 0; i < ROWS; i++)
        d->values[i] = (struct deconz_value){.id = rows[i].id, .len = rows[i].len};
    conbee_set_number(d, DECONZ_MAC, c->eui64);
    conbee_set_number(d, DECONZ_PROTOCOL, conbee_protocol(d));
    conbee_set_number(d, DECONZ_CHANNELS, VENDOR_CHANNELS);
    conbee_set_number(d, DECONZ_COORDINATOR, 1);
    conbee_set_number(d, DECONZ_SECURITY, 3);
    conbee_set_number(d, DECONZ_WATCHDOG, WATCHDOG_S);
    default_endpoints(d);
    d->stored_network = c->formed;
    if (!c->formed)
        return;
    const unsigned channel = c->channel != 0 ? c->channel : 15;
    conbee_set_number(d, DECONZ_PAN, c->pan_id != 0 ? c->pan_id : 0x1A62);
    conbee_set_number(d, DECONZ_EXTENDED_PAN, c->eui64);
    conbee_set_number(d, DECONZ_TRUST_CENTER, c->eui64);
    conbee_set_number(d, DECONZ_CHANNELS, UINT64_C(1) << channel);
    conbee_set_number(d, DECONZ_CHANNEL, channel);
    for (size_t i = 0; i < ROWS; i++) {
        for (unsigned k = 1; d->values[i].id == DECONZ_NETWORK_KEY && k < d->values[i].len; k++)
            d->values[i].octets[k] = (uint8_t)(0x40 + k);
    }
}

/* ---- the commands ------------------------------------------------------------------------------ */

static void answer_id(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request,
                      enum deconz_status status, uint8_t id)
{
    conbee_answer(d, now_ms, request, status, true, bytes_of(&id, 1));
}

static void read_endpoint(struct emu_deconz *d, int64_t now_ms,
                          const struct deconz_request *request, struct reader *args)
{
    const uint8_t index = rd_u8(args);
    if (args->failed || index >= DECONZ_ENDPOINTS || d->endpoints[index].len == 0) {
        answer_id(d, now_ms, request, DECONZ_INVALID_VALUE, DECONZ_ENDPOINT);
        return;
    }
    uint8_t out[1 + DECONZ_ENDPOINT_MAX];
    struct writer w = wr_to(out, sizeof out);
    wr_u8(&w, DECONZ_ENDPOINT);
    wr_bytes(&w, bytes_of(d->endpoints[index].octets, d->endpoints[index].len));
    conbee_answer(d, now_ms, request, DECONZ_SUCCESS, true, bytes_of(out, w.len));
}

void conbee_read(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request)
{
    struct reader r = rd_of(request->rest);
    const uint16_t len = rd_u16_le(&r);
    struct reader args = rd_of(rd_bytes(&r, len));
    const uint8_t id = rd_u8(&args);
    if (r.failed || args.failed) {
        answer_id(d, now_ms, request, DECONZ_INVALID_VALUE, id);
        return;
    }
    if (id == DECONZ_ENDPOINT) {
        read_endpoint(d, now_ms, request, &args);
        return;
    }
    const struct row *row = row_of(d, id);
    if (row == NULL) {
        answer_id(d, now_ms, request, DECONZ_UNSUPPORTED, id);
        return;
    }
    const struct deconz_value *value = value_of(d, row);
    uint8_t out[1 + DECONZ_VALUE_MAX];
    struct writer w = wr_to(out, sizeof out);
    wr_u8(&w, id);
    wr_bytes(&w, bytes_of(value->octets, value->len));
    conbee_answer(d, now_ms, request, DECONZ_SUCCESS, true, bytes_of(out, w.len));
}

/* index, endpoint, profile, device, version, clusters in and out */
static enum deconz_status write_endpoint(struct emu_deconz *d, struct bytes value)
{
    struct reader r = rd_of(value);
    const uint8_t index = rd_u8(&r);
    rd_bytes(&r, 6);
    rd_bytes(&r, 2U * rd_u8(&r));
    rd_bytes(&r, 2U * rd_u8(&r));
    if (!rd_close(&r) || index >= DECONZ_ENDPOINTS || value.len > DECONZ_ENDPOINT_MAX)
        return DECONZ_INVALID_VALUE;
    d->endpoints[index].len = (uint8_t)value.len;
    memcpy(d->endpoints[index].octets, value.data, value.len);
    d->changed = true;
    return DECONZ_SUCCESS;
}

static enum deconz_status write_value(struct emu_deconz *d, int64_t now_ms, uint8_t id,
                                      struct bytes value)
{
    const struct row *row = row_of(d, id);
    if (row == NULL || !row->writable)
        return DECONZ_UNSUPPORTED;
    if (value.len != row->len)
        return DECONZ_INVALID_VALUE;
    memcpy(value_of(d, row)->octets, value.data, value.len);
    d->changed |= row->network;
    if (id == DECONZ_WATCHDOG)
        d->starve_ms = now_ms + (int64_t)conbee_number(d, DECONZ_WATCHDOG) * 1000;
    return DECONZ_SUCCESS;
}

void conbee_write(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request)
{
    struct reader r = rd_of(request->rest);
    const uint16_t len = rd_u16_le(&r);
    struct reader args = rd_of(rd_bytes(&r, len));
    const uint8_t id = rd_u8(&args);
    enum deconz_status status = DECONZ_INVALID_VALUE;
    if (rd_close(&r) && !args.failed)
        status = id == DECONZ_ENDPOINT ? write_endpoint(d, rd_rest(&args))
                                       : write_value(d, now_ms, id, rd_rest(&args));
    answer_id(d, now_ms, request, status, id);
}
