/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/stick/znp_msg.h"

/* core.h has these too; this file stays usable without a stick. */
static uint64_t rd_eui64(struct reader *r)
{
    const uint64_t low = rd_u32_le(r);
    return low | (uint64_t)rd_u32_le(r) << 32;
}

static void wr_eui64(struct writer *w, uint64_t value)
{
    wr_u32_le(w, (uint32_t)value);
    wr_u32_le(w, (uint32_t)(value >> 32));
}

enum znp_class znp_class_of(uint8_t status)
{
    static const struct {
        uint8_t status, class;
    } classes[] = {
        {ZNP_OK,               ZNP_CLASS_OK    },
        {ZNP_FAILURE,          ZNP_CLASS_NO_ACK},
        {ZNP_MEMORY,           ZNP_CLASS_BUSY  },
        {ZNP_BUFFER_FULL,      ZNP_CLASS_BUSY  },
        {ZNP_NO_MAC_RESOURCES, ZNP_CLASS_BUSY  },
        {ZNP_TABLE_FULL,       ZNP_CLASS_BUSY  },
        {ZNP_CHANNEL_ACCESS,   ZNP_CLASS_BUSY  },
        {ZNP_OVERFLOW,         ZNP_CLASS_BUSY  },
        {ZNP_NO_ROUTE,         ZNP_CLASS_ROUTE },
        {ZNP_INVALID_REQUEST,  ZNP_CLASS_ROUTE },
        {ZNP_SECURITY_FAIL,    ZNP_CLASS_ROUTE },
        {ZNP_MAC_NO_ACK,       ZNP_CLASS_NO_ACK},
        {ZNP_EXPIRED,          ZNP_CLASS_NO_ACK},
        {ZNP_APS_NO_ACK,       ZNP_CLASS_NO_ACK},
    };

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (classes[i].status == status)
            return classes[i].class;
    }
    return ZNP_CLASS_REFUSED;
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void put_offset(struct writer *w, bool ext)
{
    if (ext)
        wr_u16_le(w, 0);
    else
        wr_u8(w, 0);
}

void znp_put_nv_read(struct writer *w, bool ext, uint16_t id)
{
    wr_u16_le(w, id);
    put_offset(w, ext);
}

void znp_put_nv_write(struct writer *w, bool ext, uint16_t id, struct bytes value)
{
    wr_u16_le(w, id);
    put_offset(w, ext);
    if (ext)
        wr_u16_le(w, (uint16_t)value.len);
    else
        wr_u8(w, (uint8_t)value.len);
    wr_bytes(w, value);
}

void znp_put_nv_init(struct writer *w, uint16_t id, struct bytes value)
{
    wr_u16_le(w, id);
    wr_u16_le(w, (uint16_t)value.len);
    wr_u8(w, (uint8_t)value.len);
    wr_bytes(w, value);
}

void znp_put_set_channel(struct writer *w, bool primary, uint32_t mask)
{
    wr_u8(w, primary);
    wr_u32_le(w, mask);
}

void znp_put_register(struct writer *w, uint8_t endpoint, uint16_t profile, uint16_t cluster)
{
    wr_u8(w, endpoint);
    wr_u16_le(w, profile);
    wr_u16_le(w, 0x0001); /* device id: our own profile gives it no meaning */
    wr_u8(w, 0);          /* device version */
    wr_u8(w, 0);          /* latency */
    wr_u8(w, 1);
    wr_u16_le(w, cluster);
    wr_u8(w, 1);
    wr_u16_le(w, cluster);
}

void znp_put_permit_join(struct writer *w, uint8_t mode, uint16_t to, uint8_t seconds)
{
    wr_u8(w, mode);
    wr_u16_le(w, to);
    wr_u8(w, seconds);
    wr_u8(w, 1); /* the trust center lets them in */
}

void znp_put_nwk_addr(struct writer *w, uint64_t eui64)
{
    wr_eui64(w, eui64);
    wr_u16_le(w, 0); /* a single answer, from its beginning */
}

void znp_put_ieee_addr(struct writer *w, uint16_t short_address)
{
    wr_u16_le(w, short_address);
    wr_u16_le(w, 0);
}

void znp_put_route_disc(struct writer *w, uint16_t to)
{
    wr_u16_le(w, to);
    wr_u8(w, 0);
    wr_u8(w, ZNP_RADIUS);
}

void znp_put_retrieve(struct writer *w, uint32_t timestamp, uint16_t at, uint8_t n)
{
    wr_u32_le(w, timestamp);
    wr_u16_le(w, at);
    wr_u8(w, n);
}

void znp_put_data(struct writer *w, const struct znp_data *data)
{
    wr_u16_le(w, (uint16_t)data->to);
    wr_u8(w, data->endpoint_to);
    wr_u8(w, data->endpoint);
    wr_u16_le(w, data->cluster);
    wr_u8(w, data->id);
    wr_u8(w, data->options);
    wr_u8(w, data->radius);
    wr_u8(w, (uint8_t)data->payload.len);
    wr_bytes(w, data->payload);
}

void znp_put_data_ext(struct writer *w, const struct znp_data *data)
{
    wr_u8(w, data->mode);
    wr_eui64(w, data->to);
    wr_u8(w, data->endpoint_to);
    wr_u16_le(w, 0); /* PAN: ours */
    wr_u8(w, data->endpoint);
    wr_u16_le(w, data->cluster);
    wr_u8(w, data->id);
    wr_u8(w, data->options);
    wr_u8(w, data->radius);
    wr_u16_le(w, (uint16_t)data->payload.len);
    wr_bytes(w, data->payload);
}

/* ---- answers and indications ------------------------------------------------------------------- */

bool znp_get_version(struct bytes in, struct znp_version *out)
{
    struct reader r = rd_of(in);
    rd_u8(&r); /* transport */
    out->product = rd_u8(&r);
    out->major = rd_u8(&r);
    out->minor = rd_u8(&r);
    out->maint = rd_u8(&r);
    out->revision = rd_left(&r) >= 4 ? rd_u32_le(&r) : 0;
    return !r.failed;
}

bool znp_get_nv(struct bytes in, uint8_t *status, struct bytes *value)
{
    struct reader r = rd_of(in);
    *status = rd_u8(&r);
    *value = bytes_of(NULL, 0);
    if (*status == ZNP_OK)
        *value = rd_bytes(&r, rd_u8(&r));
    return !r.failed;
}

bool znp_get_device(struct bytes in, struct znp_device *out)
{
    struct reader r = rd_of(in);
    const uint8_t status = rd_u8(&r);
    out->eui64 = rd_eui64(&r);
    out->short_address = rd_u16_le(&r);
    rd_u8(&r); /* what it could be */
    out->state = rd_u8(&r);
    return !r.failed && status == ZNP_OK;
}

bool znp_nib_is_empty(struct bytes nib)
{
    /* As the compilers lay it out: packed on CC253x, words at even offsets on the others. */
    static const struct {
        uint8_t len, pan_id;
    } layouts[] = {
        {110, 33},
        {116, 36},
    };

    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
        if (layouts[i].len != nib.len)
            continue;
        struct reader r = rd_of(bytes_of(nib.data + layouts[i].pan_id, 2));
        return rd_u16_le(&r) >= 0xFFFE;
    }
    return false;
}

bool znp_get_network(struct bytes in, struct znp_network *out)
{
    struct reader r = rd_of(in);
    rd_u16_le(&r); /* our own address */
    out->state = rd_u8(&r);
    out->pan_id = rd_u16_le(&r);
    rd_u16_le(&r); /* the parent's */
    out->extended_pan = rd_eui64(&r);
    rd_eui64(&r); /* the parent's */
    out->channel = rd_u8(&r);
    return !r.failed;
}

bool znp_get_confirm(struct bytes in, struct znp_confirm *out)
{
    struct reader r = rd_of(in);
    out->status = rd_u8(&r);
    out->endpoint = rd_u8(&r);
    out->id = rd_u8(&r);
    return !r.failed;
}

bool znp_get_incoming(struct bytes in, struct znp_incoming *out)
{
    struct reader r = rd_of(in);
    *out = (struct znp_incoming){0};
    out->group = rd_u16_le(&r);
    out->cluster = rd_u16_le(&r);
    out->from = rd_u16_le(&r);
    out->endpoint_from = rd_u8(&r);
    out->endpoint = rd_u8(&r);
    out->broadcast = rd_u8(&r) != 0;
    out->lqi = rd_u8(&r);
    rd_u8(&r); /* secured with a link key? */
    out->timestamp = rd_u32_le(&r);
    rd_u8(&r); /* counter of the stack's */
    out->len = rd_u8(&r);
    out->payload = rd_bytes(&r, out->len);
    return !r.failed;
}

bool znp_get_incoming_ext(struct bytes in, struct znp_incoming *out)
{
    enum { TRAILER_MAX = 3 };

    struct reader r = rd_of(in);
    *out = (struct znp_incoming){0};
    out->group = rd_u16_le(&r);
    out->cluster = rd_u16_le(&r);
    const uint8_t mode = rd_u8(&r);
    const uint64_t from = rd_eui64(&r);
    out->by_eui64 = mode == ZNP_MODE_EUI64;
    out->from = out->by_eui64 ? from : from & 0xFFFF;
    out->endpoint_from = rd_u8(&r);
    out->pan_id = rd_u16_le(&r);
    out->endpoint = rd_u8(&r);
    out->broadcast = rd_u8(&r) != 0;
    out->lqi = rd_u8(&r);
    rd_u8(&r);
    out->timestamp = rd_u32_le(&r);
    rd_u8(&r);
    out->len = rd_u16_le(&r);
    if (out->len > TRAILER_MAX && rd_left(&r) <= TRAILER_MAX)
        out->fetch = true;
    else
        out->payload = rd_bytes(&r, out->len);
    return !r.failed && (out->by_eui64 || mode == ZNP_MODE_SHORT);
}

bool znp_get_annce(struct bytes in, struct znp_pair *out, uint8_t *capability)
{
    struct reader r = rd_of(in);
    rd_u16_le(&r); /* who told us */
    out->short_address = rd_u16_le(&r);
    out->eui64 = rd_eui64(&r);
    *capability = rd_u8(&r);
    return !r.failed;
}

bool znp_get_tc_device(struct bytes in, struct znp_pair *out)
{
    struct reader r = rd_of(in);
    out->short_address = rd_u16_le(&r);
    out->eui64 = rd_eui64(&r);
    return !r.failed;
}

bool znp_get_addresses(struct bytes in, struct znp_pair *out)
{
    struct reader r = rd_of(in);
    const uint8_t status = rd_u8(&r);
    out->eui64 = rd_eui64(&r);
    out->short_address = rd_u16_le(&r);
    return !r.failed && status == ZNP_OK;
}

bool znp_get_leave(struct bytes in, struct znp_leave *out)
{
    struct reader r = rd_of(in);
    out->who.short_address = rd_u16_le(&r);
    out->who.eui64 = rd_eui64(&r);
    rd_u8(&r); /* did it ask, or tell? */
    rd_u8(&r); /* with its children? */
    out->rejoins = rd_u8(&r) != 0;
    return !r.failed;
}

bool znp_get_zdo(struct bytes in, struct znp_zdo *out)
{
    struct reader r = rd_of(in);
    out->from = rd_u16_le(&r);
    rd_u8(&r); /* broadcast */
    out->cluster = rd_u16_le(&r);
    rd_u8(&r);     /* secured */
    rd_u8(&r);     /* sequence */
    rd_u16_le(&r); /* to whom */
    out->data = rd_rest(&r);
    return !r.failed;
}
