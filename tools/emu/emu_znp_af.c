/* SPDX-License-Identifier: Apache-2.0 */
/* Data through an emulated Z-Stack coordinator: endpoints, requests, confirms, incoming messages. */
#include "tools/emu/emu_znp_priv.h"

static struct endpoint *find_endpoint(struct emu_stick *z, uint8_t number)
{
    for (size_t i = 0; i < ENDPOINTS; i++) {
        if (z->endpoints[i].number == number)
            return &z->endpoints[i];
    }
    return NULL;
}

static uint8_t register_endpoint(struct emu_stick *z, struct reader *r)
{
    const uint8_t number = rd_u8(r);
    const uint16_t profile = rd_u16_le(r);
    rd_bytes(r, 2 + 1 + 1);
    rd_bytes(r, (size_t)2 * rd_u8(r));
    rd_bytes(r, (size_t)2 * rd_u8(r));
    if (!rd_close(r) || number == 0 || number == 0xFF)
        return ST_INVALID;
    if (find_endpoint(z, number) != NULL)
        return ST_DUPLICATE;
    struct endpoint *e = find_endpoint(z, 0);
    if (e == NULL)
        return ST_MEMORY;
    *e = (struct endpoint){.number = number, .profile = profile};
    return ST_OK;
}

static uint8_t delete_endpoint(struct emu_stick *z, struct reader *r)
{
    struct endpoint *e = find_endpoint(z, rd_u8(r));
    if (r->failed || e == NULL || e->number == 0)
        return ST_INVALID;
    e->number = 0;
    return ST_OK;
}

struct af_send {
    struct ether_frame frame;
    uint8_t trans, options;
    struct bytes data;
};

static bool read_short_form(struct reader *r, struct af_send *s)
{
    s->frame.short_address = rd_u16_le(r);
    s->frame.broadcast = s->frame.short_address >= 0xFFF8;
    s->frame.dst_endpoint = rd_u8(r);
    s->frame.src_endpoint = rd_u8(r);
    s->frame.cluster = rd_u16_le(r);
    s->trans = rd_u8(r);
    s->options = rd_u8(r);
    rd_u8(r); /* radius */
    s->data = rd_bytes(r, rd_u8(r));
    return rd_close(r);
}

static bool read_long_form(struct reader *r, struct af_send *s)
{
    enum { MODE_SHORT = 2, MODE_IEEE = 3, MODE_BROADCAST = 0x0F };

    const uint8_t mode = rd_u8(r);
    s->frame.by_eui64 = mode == MODE_IEEE;
    const uint64_t address = get_eui64(r);
    s->frame.eui64 = address;
    s->frame.short_address = (uint16_t)address;
    s->frame.broadcast =
        mode == MODE_BROADCAST || (mode == MODE_SHORT && (uint16_t)address >= 0xFFF8);
    s->frame.dst_endpoint = rd_u8(r);
    rd_u16_le(r); /* PAN */
    s->frame.src_endpoint = rd_u8(r);
    s->frame.cluster = rd_u16_le(r);
    s->trans = rd_u8(r);
    s->options = rd_u8(r);
    rd_u8(r);
    s->data = rd_bytes(r, rd_u16_le(r));
    return rd_close(r) && (mode == MODE_SHORT || mode == MODE_IEEE || mode == MODE_BROADCAST);
}

static uint8_t send_data(struct emu_stick *z, int64_t now_ms, struct af_send *s)
{
    enum { OPTION_APS_ACK = 0x10 };

    const unsigned firmware = z->m.config.firmware;
    const bool is_3x = firmware == FIRMWARE_3X || firmware == FIRMWARE_NO_FORM;
    const unsigned usual = is_3x ? COUNT_AF_SLOTS_3X : COUNT_AF_SLOTS_OLD;
    const unsigned slots = z->m.config.slots != 0 ? z->m.config.slots : usual;
    const struct endpoint *e = find_endpoint(z, s->frame.src_endpoint);
    if (z->state != STATE_COORDINATOR)
        return ST_INVALID_REQUEST;
    if (e == NULL || e->number == 0)
        return ST_INVALID;
    if (s->data.len > NO_FRAGMENTS)
        return ST_MEMORY;
    if (z->busy >= slots || emu_chance(&z->m, z->m.config.faults.busy_percent))
        return ST_BUFFER_FULL;
    s->frame.profile = e->profile;
    s->frame.want_ack = (s->options & OPTION_APS_ACK) != 0;
    s->frame.handle = (uint32_t)s->frame.src_endpoint << 8 | s->trans |
                      (s->frame.broadcast ? UINT32_C(0x10000) : 0);
    z->busy++;
    z->m.sends++;
    ether_send(z->m.ether, now_ms, &s->frame, s->data);
    return ST_OK;
}

bool emu_znp_af(struct emu_stick *z, int64_t now_ms, uint8_t cmd1, struct reader *r,
                struct writer *out)
{
    struct af_send s = {.trans = 0};
    switch (cmd1) {
    case 0x00:
        wr_u8(out, register_endpoint(z, r));
        return true;
    case 0x01:
        wr_u8(out, read_short_form(r, &s) ? send_data(z, now_ms, &s) : ST_INVALID);
        return true;
    case 0x02:
        wr_u8(out, read_long_form(r, &s) ? send_data(z, now_ms, &s) : ST_INVALID);
        return true;
    case 0x04:
        wr_u8(out, delete_endpoint(z, r));
        return true;
    default:
        return false;
    }
}

static uint8_t status_of(enum ether_status status)
{
    switch (status) {
    case ETHER_OK:
        return ST_OK;
    case ETHER_NO_ACK:
        return ST_NO_ACK;
    case ETHER_NO_ADDRESS:
        return ST_NO_ROUTE;
    case ETHER_EXPIRED:
        return ST_EXPIRED;
    case ETHER_QUEUE_FULL:
        return ST_OVERFLOW;
    case ETHER_TOO_LONG:
        return ST_MEMORY;
    }
    return ST_FAILURE;
}

static void tell_confirm(struct emu_stick *z, int64_t now_ms, uint8_t status, uint8_t endpoint,
                         uint8_t trans)
{
    uint8_t data[3] = {status, endpoint, trans};
    struct writer w = wr_to(data, sizeof data);
    w.len = sizeof data;
    emu_znp_tell(z, now_ms, AREQ_AF, 0x80, &w);
}

void emu_znp_confirm(struct emu_stick *z, int64_t now_ms, const struct ether_event *event)
{
    const struct emu_faults *f = &z->m.config.faults;
    const uint8_t endpoint = (uint8_t)(event->handle >> 8);
    if (z->busy > 0)
        z->busy--;
    if ((event->handle & 0x10000) != 0) /* none for broadcasts */
        return;
    if (emu_chance(&z->m, f->stray_percent))
        tell_confirm(z, now_ms, ST_OK, endpoint, (uint8_t)rng_next(&z->m.rng));
    if (!emu_chance(&z->m, f->mute_percent))
        tell_confirm(z, now_ms, status_of(event->status), endpoint, (uint8_t)event->handle);
}

/* The extended form is for what needed more than one frame; here it comes now and then, for both
 * must be understood. */
void emu_znp_incoming(struct emu_stick *z, int64_t now_ms, const struct ether_event *event)
{
    uint8_t data[DATA_MAX];
    struct writer w = wr_to(data, sizeof data);
    const struct ether_node *node = ether_node_at(z->m.ether, event->number);
    const struct endpoint *e = find_endpoint(z, node->endpoint);
    const bool extended = z->m.config.firmware == FIRMWARE_3X && rng_below(&z->m.rng, 8) == 0;
    if (z->state != STATE_COORDINATOR || e == NULL || e->number == 0 || e->profile != node->profile)
        return; /* to no endpoint of ours: the stack is silent about it */
    wr_u16_le(&w, 0);
    wr_u16_le(&w, node->cluster);
    if (extended) {
        wr_u8(&w, 2);
        put_eui64(&w, event->short_address);
    } else {
        wr_u16_le(&w, event->short_address);
    }
    wr_u8(&w, node->endpoint);
    if (extended)
        wr_u16_le(&w, 0);
    wr_u8(&w, node->endpoint);
    wr_u8(&w, event->broadcast);
    wr_u8(&w, node->lqi);
    wr_u8(&w, 0);
    wr_u32_le(&w, (uint32_t)now_ms);
    wr_u8(&w, z->seq++);
    if (extended)
        wr_u16_le(&w, (uint16_t)event->payload.len);
    else
        wr_u8(&w, (uint8_t)event->payload.len);
    wr_bytes(&w, event->payload);
    /* What follows differs between versions, and documents. */
    const size_t trailer = z->m.config.firmware == FIRMWARE_12   ? 0
                           : z->m.config.firmware == FIRMWARE_30 ? 2
                                                                 : 3;
    for (size_t i = 0; i < trailer; i++)
        wr_u8(&w, (uint8_t)(event->short_address >> (8 * i)));
    if (wr_close(&w) > 0)
        emu_znp_tell(z, now_ms, AREQ_AF, extended ? 0x82 : 0x81, &w);
}
