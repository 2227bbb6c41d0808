/* SPDX-License-Identifier: Apache-2.0 */
/* What an emulated Z-Stack coordinator knows of addresses, joining and forming. */
#include "tools/emu/emu_znp_priv.h"

void emu_znp_announce(struct emu_stick *z, int64_t now_ms, size_t number)
{
    uint8_t data[16];
    struct writer w = wr_to(data, sizeof data);
    const struct ether_node *node = ether_node_at(z->m.ether, number);
    if (z->state != STATE_COORDINATOR)
        return;
    wr_u16_le(&w, node->short_address);
    put_eui64(&w, node->eui64);
    wr_u16_le(&w, 0);
    emu_znp_tell(z, now_ms, AREQ_ZDO, 0xCA, &w);
    w.len = 0;
    wr_u16_le(&w, node->short_address);
    wr_u16_le(&w, node->short_address);
    put_eui64(&w, node->eui64);
    wr_u8(&w, node->sleepy ? 0x80 : 0x8E);
    emu_znp_tell(z, now_ms, AREQ_ZDO, 0xC1, &w);
}

/* The answer of a node to a question for its other address, as an AREQ of its own. */
static void tell_address(struct emu_stick *z, int64_t now_ms, uint8_t cmd1, int number)
{
    uint8_t data[16];
    struct writer w = wr_to(data, sizeof data);
    if (number < 0)
        return; /* nobody answers */
    const struct ether_node *node = ether_node_at(z->m.ether, (size_t)number);
    wr_u8(&w, ST_OK);
    put_eui64(&w, node->eui64);
    wr_u16_le(&w, node->short_address);
    wr_u8(&w, 0);
    wr_u8(&w, 0);
    emu_znp_tell(z, now_ms, AREQ_ZDO, cmd1, &w);
}

static void tell_active_endpoints(struct emu_stick *z, int64_t now_ms)
{
    uint8_t data[8 + ENDPOINTS];
    struct writer w = wr_to(data, sizeof data);
    size_t n = 0;
    wr_u16_le(&w, 0);
    wr_u8(&w, ST_OK);
    wr_u16_le(&w, 0);
    for (size_t i = 0; i < ENDPOINTS; i++)
        n += z->endpoints[i].number != 0;
    wr_u8(&w, (uint8_t)n);
    for (size_t i = 0; i < ENDPOINTS; i++) {
        if (z->endpoints[i].number != 0)
            wr_u8(&w, z->endpoints[i].number);
    }
    emu_znp_tell(z, now_ms, AREQ_ZDO, 0x85, &w);
}

static void put_network(struct emu_stick *z, struct writer *out)
{
    wr_u16_le(out, 0);
    wr_u8(out, z->state);
    wr_u16_le(out, z->state == STATE_COORDINATOR ? emu_znp_pan_id(z) : 0xFFFF);
    wr_u16_le(out, 0);
    emu_znp_put_extended_pan(z, out);
    put_eui64(out, 0);
    wr_u8(out, z->state == STATE_COORDINATOR ? emu_znp_channel(z) : 0);
}

static void permit_join(struct emu_stick *z, int64_t now_ms, struct reader *r, struct writer *out)
{
    uint8_t data[3] = {0};
    struct writer w = wr_to(data, sizeof data);
    rd_bytes(r, 3);
    const uint8_t seconds = rd_u8(r);
    rd_u8(r);
    wr_u8(out, rd_close(r) && z->state == STATE_COORDINATOR ? ST_OK : ST_INVALID_REQUEST);
    if (z->state != STATE_COORDINATOR)
        return;
    w.len = 3;
    emu_znp_tell(z, now_ms, AREQ_ZDO, 0xB6, &w);
    data[0] = seconds;
    w.len = 1;
    emu_znp_tell(z, now_ms, AREQ_ZDO, 0xCB, &w);
}

static struct group *find_group(struct emu_stick *z, uint8_t endpoint, uint16_t id)
{
    for (size_t i = 0; i < GROUPS; i++) {
        if (z->groups[i].endpoint == endpoint && (endpoint == 0 || z->groups[i].id == id))
            return &z->groups[i];
    }
    return NULL;
}

static void tell_group(struct emu_stick *z, struct reader *r, struct writer *out)
{
    const uint8_t endpoint = rd_u8(r);
    const uint16_t id = rd_u16_le(r);
    const bool found = endpoint != 0 && find_group(z, endpoint, id) != NULL;
    wr_u8(out, found ? ST_OK : ST_FAILURE);
    wr_u16_le(out, id);
    wr_u8(out, 0); /* no name */
}

static void add_group(struct emu_stick *z, struct reader *r, struct writer *out)
{
    const uint8_t endpoint = rd_u8(r);
    const uint16_t id = rd_u16_le(r);
    struct group *group = find_group(z, endpoint, id);
    if (group == NULL)
        group = find_group(z, 0, 0);
    if (endpoint != 0 && group != NULL)
        *group = (struct group){.endpoint = endpoint, .id = id};
    wr_u8(out, endpoint != 0 && group != NULL ? ST_OK : ST_INVALID);
}

bool emu_znp_zdo(struct emu_stick *z, int64_t now_ms, uint8_t cmd1, struct reader *r,
                 struct writer *out)
{
    switch (cmd1) {
    case 0x00: {
        const uint64_t eui64 = get_eui64(r);
        wr_u8(out, ST_OK);
        emu_znp_answer(z, now_ms, SREQ_ZDO, cmd1, out);
        out->len = 0;
        tell_address(z, now_ms, 0x80, ether_find_eui64(z->m.ether, eui64));
        return true;
    }
    case 0x01: {
        const uint16_t address = rd_u16_le(r);
        wr_u8(out, ST_OK);
        emu_znp_answer(z, now_ms, SREQ_ZDO, cmd1, out);
        out->len = 0;
        tell_address(z, now_ms, 0x81, ether_find_short(z->m.ether, address));
        return true;
    }
    case 0x05:
        wr_u8(out, ST_OK);
        emu_znp_answer(z, now_ms, SREQ_ZDO, cmd1, out);
        out->len = 0;
        tell_active_endpoints(z, now_ms);
        return true;
    case 0x36:
        permit_join(z, now_ms, r, out);
        return true;
    case 0x3E:
        z->zdo_raw = true;
        wr_u8(out, ST_OK);
        return true;
    case 0x40:
        wr_u8(out, emu_znp_has_network(z) ? 0 : 1);
        emu_znp_start(z, now_ms, false);
        return true;
    case 0x45:
        wr_u8(out, ST_OK);
        return true;
    case 0x4A:
        tell_group(z, r, out);
        return true;
    case 0x4B:
        add_group(z, r, out);
        return true;
    case 0x50:
        put_network(z, out);
        return true;
    default:
        return false;
    }
}

bool emu_znp_util(struct emu_stick *z, uint8_t cmd1, struct reader *r, struct writer *out)
{
    if (cmd1 == 0x00) {
        wr_u8(out, ST_OK);
        put_eui64(out, z->m.config.eui64);
        wr_u16_le(out, z->state == STATE_COORDINATOR ? 0 : 0xFFFE);
        wr_u8(out, 7);
        wr_u8(out, z->state);
        wr_u8(out, 0);
    } else if (cmd1 == 0x0A) { /* a lamp; nobody sees it */
        wr_u8(out, ST_OK);
    } else if (cmd1 == 0x40) {
        const int number = ether_find_eui64(z->m.ether, get_eui64(r));
        wr_u16_le(out,
                  number < 0 ? 0xFFFE : ether_node_at(z->m.ether, (size_t)number)->short_address);
    } else if (cmd1 == 0x41) {
        const int number = ether_find_short(z->m.ether, rd_u16_le(r));
        /* The address manager forgets; the driver must ask on air then. */
        const bool known = number >= 0 && rng_below(&z->m.rng, 2) == 0;
        put_eui64(out, known ? ether_node_at(z->m.ether, (size_t)number)->eui64 : UINT64_MAX);
    } else {
        return false;
    }
    return true;
}

bool emu_znp_app_cnf(struct emu_stick *z, int64_t now_ms, uint8_t cmd1, struct reader *r,
                     struct writer *out)
{
    enum { MODE_FORMATION = 4 };

    if (z->m.config.firmware == FIRMWARE_12)
        return false;
    if (cmd1 == 0x08) {
        const bool primary = rd_u8(r) != 0;
        const uint32_t mask = rd_u32_le(r);
        uint8_t value[4];
        struct writer w = wr_to(value, sizeof value);
        wr_u32_le(&w, mask);
        if (primary)
            znp_nv_set(&z->nv, NV_CHANNELS, bytes_of(value, w.len));
        wr_u8(out, ST_OK);
    } else if (cmd1 == 0x05) {
        const uint8_t mode = rd_u8(r);
        wr_u8(out, ST_OK);
        if ((mode & MODE_FORMATION) != 0)
            emu_znp_start(z, now_ms, true);
    } else {
        return false;
    }
    return true;
}
