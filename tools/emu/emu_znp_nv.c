/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/emu/emu_znp_nv.h"

enum {
    ITEM_INIT = 0x07,
    NV_READ = 0x08,
    NV_WRITE = 0x09,
    NV_DELETE = 0x12,
    NV_LENGTH = 0x13,
    NV_READ_EXT = 0x1C,
    NV_WRITE_EXT = 0x1D,

    OK = 0x00,
    INVALID = 0x02,
    CREATED = 0x09,
    FAILED = 0x0A,
    READ_MAX = 240,
};

struct znp_nv_item *znp_nv_find(struct znp_nv *nv, uint16_t id)
{
    for (size_t i = 0; i < ZNP_NV_ITEMS; i++) {
        if (nv->items[i].len > 0 && nv->items[i].id == id)
            return &nv->items[i];
    }
    return NULL;
}

bool znp_nv_set(struct znp_nv *nv, uint16_t id, struct bytes value)
{
    struct znp_nv_item *item = znp_nv_find(nv, id);
    for (size_t i = 0; item == NULL && i < ZNP_NV_ITEMS; i++) {
        if (nv->items[i].len == 0)
            item = &nv->items[i];
    }
    if (item == NULL || value.len == 0 || value.len > ZNP_NV_BYTES)
        return false;
    item->id = id;
    item->len = (uint16_t)value.len;
    memcpy(item->value, value.data, value.len);
    return true;
}

void znp_nv_delete(struct znp_nv *nv, uint16_t id)
{
    struct znp_nv_item *item = znp_nv_find(nv, id);
    if (item != NULL)
        item->len = 0;
}

uint32_t znp_nv_number(struct znp_nv *nv, uint16_t id, uint32_t otherwise)
{
    const struct znp_nv_item *item = znp_nv_find(nv, id);
    uint32_t n = 0;
    if (item == NULL)
        return otherwise;
    for (size_t i = 0; i < item->len && i < 4; i++)
        n |= (uint32_t)item->value[i] << (8 * i);
    return n;
}

static void read_item(struct znp_nv *nv, uint16_t id, size_t offset, struct writer *out)
{
    const struct znp_nv_item *item = znp_nv_find(nv, id);
    if (item == NULL || offset >= item->len) {
        wr_u8(out, INVALID);
        wr_u8(out, 0);
        return;
    }
    const size_t left = item->len - offset;
    const size_t n = left < READ_MAX ? left : READ_MAX;
    wr_u8(out, OK);
    wr_u8(out, (uint8_t)n);
    wr_bytes(out, bytes_of(item->value + offset, n));
}

static uint8_t write_item(struct znp_nv *nv, uint16_t id, size_t offset, struct bytes value)
{
    struct znp_nv_item *item = znp_nv_find(nv, id);
    if (item == NULL) /* the firmware makes items of known ids when they are written */
        return offset == 0 && znp_nv_set(nv, id, value) ? OK : FAILED;
    if (offset + value.len > ZNP_NV_BYTES)
        return FAILED;
    if (offset + value.len > item->len)
        item->len = (uint16_t)(offset + value.len);
    memcpy(item->value + offset, value.data, value.len);
    return OK;
}

static uint8_t init_item(struct znp_nv *nv, struct reader *r)
{
    const uint16_t id = rd_u16_le(r);
    const uint16_t len = rd_u16_le(r);
    uint8_t value[ZNP_NV_BYTES] = {0};
    const struct bytes first = rd_bytes(r, rd_u8(r));
    if (znp_nv_find(nv, id) != NULL)
        return OK;
    if (len == 0 || len > sizeof value || first.len > len)
        return FAILED;
    memcpy(value, first.data, first.len);
    return znp_nv_set(nv, id, bytes_of(value, len)) ? CREATED : FAILED;
}

bool znp_nv_command(struct znp_nv *nv, uint8_t cmd1, struct reader *r, struct writer *out)
{
    const struct reader begin = *r;
    const uint16_t id = rd_u16_le(r);
    const struct znp_nv_item *item = znp_nv_find(nv, id);
    switch (cmd1) {
    case ITEM_INIT:
        *r = begin;
        wr_u8(out, init_item(nv, r));
        return true;
    case NV_READ:
        read_item(nv, id, rd_u8(r), out);
        return true;
    case NV_READ_EXT:
        read_item(nv, id, rd_u16_le(r), out);
        return true;
    case NV_WRITE: {
        const uint8_t offset = rd_u8(r);
        wr_u8(out, write_item(nv, id, offset, rd_bytes(r, rd_u8(r))));
        return true;
    }
    case NV_WRITE_EXT: {
        const uint16_t offset = rd_u16_le(r);
        wr_u8(out, write_item(nv, id, offset, rd_bytes(r, rd_u16_le(r))));
        return true;
    }
    case NV_LENGTH:
        wr_u16_le(out, item != NULL ? item->len : 0);
        return true;
    case NV_DELETE:
        if (item == NULL || item->len != rd_u16_le(r)) {
            wr_u8(out, item == NULL ? CREATED : FAILED);
            return true;
        }
        znp_nv_delete(nv, id);
        wr_u8(out, OK);
        return true;
    default:
        *r = begin;
        return false;
    }
}

bool znp_nv_sapi(struct znp_nv *nv, uint8_t cmd1, struct reader *r, struct writer *out)
{
    enum { READ_CONFIGURATION = 0x04, WRITE_CONFIGURATION = 0x05 };

    const uint8_t id = rd_u8(r);
    const struct znp_nv_item *item = znp_nv_find(nv, id);
    if (cmd1 == WRITE_CONFIGURATION) {
        wr_u8(out, znp_nv_set(nv, id, rd_bytes(r, rd_u8(r))) ? OK : INVALID);
        return true;
    }
    if (cmd1 != READ_CONFIGURATION)
        return false;
    wr_u8(out, item != NULL ? OK : INVALID);
    wr_u8(out, id);
    wr_u8(out, item != NULL ? (uint8_t)item->len : 0);
    if (item != NULL)
        wr_bytes(out, bytes_of(item->value, item->len));
    return true;
}
