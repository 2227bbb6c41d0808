/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An emulated EmberZNet network coprocessor: EZSP over ASH (radio reference, chapter C).
 *
 * config.firmware: 0 EZSP 13, 1 EZSP 8, 2 EZSP 14, 3 EZSP 17, 4 EZSP 7 (too old for most hosts),
 * 5 EZSP 13 whose network does not come up.
 */
#include "tools/emu/emu_ezsp_priv.h"

enum { START_MS = 700 /* from reset to RSTACK */ };

static const uint8_t versions[] = {13, 8, 14, 17, 7, 13};

enum { N_VERSIONS = sizeof versions / sizeof versions[0] };

/* ---- frames ------------------------------------------------------------------------------------ */

/* What ASH has for the line, all of it. */
static void pump(struct emu_ncp *n, int64_t now_ms)
{
    uint8_t wire[EMU_ASH_WIRE_MAX];
    size_t len;
    while ((len = emu_ash_pull(&n->ash, now_ms, wire)) > 0)
        emu_frame(&n->m, now_ms, bytes_of(wire, len));
}

static void put_header(const struct emu_ncp *n, struct writer *w, uint8_t control, uint16_t id)
{
    wr_u8(w, n->seq);
    wr_u8(w, control);
    if (n->legacy) {
        wr_u8(w, (uint8_t)id);
        return;
    }
    if (n->version < 8) {
        wr_u8(w, 0xFF);
        wr_u8(w, 0x00);
        wr_u8(w, (uint8_t)id);
        return;
    }
    wr_u8(w, 0x01);
    wr_u16_le(w, id);
}

void emu_ezsp_callback(struct emu_ncp *n, int64_t now_ms, uint16_t id, const struct writer *body)
{
    enum { CALLBACK = 0x90, OVERFLOW_BIT = 0x01 };

    uint8_t frame[EMU_ASH_DATA_MAX];
    struct writer w = wr_to(frame, sizeof frame);
    if (!n->negotiated)
        return;
    put_header(n, &w, (uint8_t)(CALLBACK | (n->ash.overflow ? OVERFLOW_BIT : 0)), id);
    wr_bytes(&w, bytes_of(body->buf, body->len));
    n->ash.overflow = false;
    if (wr_close(&w) > 0)
        emu_ash_push(&n->ash, bytes_of(frame, w.len), true);
    pump(n, now_ms);
}

static void respond(struct emu_ncp *n, uint16_t id, const struct writer *body)
{
    uint8_t frame[EMU_ASH_DATA_MAX];
    struct writer w = wr_to(frame, sizeof frame);
    put_header(n, &w, 0x80, id);
    wr_bytes(&w, bytes_of(body->buf, body->len));
    if (wr_close(&w) > 0)
        emu_ash_push(&n->ash, bytes_of(frame, w.len), false);
}

void emu_ezsp_put_status(const struct emu_ncp *n, struct writer *w, enum emu_ezsp_status status)
{
    static const struct {
        uint8_t ember;
        uint16_t sl;
    } codes[] = {
        [EZ_OK] = {0x00, 0x00  },
        [EZ_INVALID] = {0x02, 0x21  },
        [EZ_NO_BUFFERS] = {0x18, 0x19  },
        [EZ_NOT_DELIVERED] = {0x66, 0x0C02},
        [EZ_STATE] = {0x70, 0x02  },
        [EZ_TOO_MANY] = {0x72, 0x0C03},
        [EZ_TOO_LONG] = {0x74, 0x38  },
        [EZ_UP] = {0x90, 0x15  },
        [EZ_DOWN] = {0x91, 0x16  },
        [EZ_NOT_JOINED] = {0x93, 0x17  },
        [EZ_OPENED] = {0x9C, 0x0C18},
        [EZ_CLOSED] = {0x9D, 0x0C19},
        [EZ_UNKNOWN_FRAME] = {0x31, 0x31  },
        [EZ_FAIL] = {0x01, 0x01  },
    };

    if (n->version >= 14)
        wr_u32_le(w, codes[status].sl);
    else
        wr_u8(w, codes[status].ember);
}

void emu_ezsp_tell_stack(struct emu_ncp *n, int64_t now_ms, enum emu_ezsp_status status)
{
    uint8_t room[8];
    struct writer w = wr_to(room, sizeof room);
    emu_ezsp_put_status(n, &w, status);
    emu_ezsp_callback(n, now_ms, 0x19, &w);
}

/* ---- requests ---------------------------------------------------------------------------------- */

/* The first command is in the oldest layout, whatever the version. */
static void on_version(struct emu_ncp *n, uint8_t wanted)
{
    uint8_t room[4];
    struct writer w = wr_to(room, sizeof room);
    wr_u8(&w, n->version);
    wr_u8(&w, 2);
    wr_u16_le(&w, 0x7430);
    respond(n, 0x00, &w);
    n->negotiated = wanted == n->version;
}

static void on_unknown(struct emu_ncp *n, struct writer *w)
{
    w->len = 0;
    emu_ezsp_put_status(n, w, EZ_UNKNOWN_FRAME);
    respond(n, 0x58, w);
}

static void on_request(struct emu_ncp *n, int64_t now_ms, struct bytes frame)
{
    uint8_t room[EMU_ASH_DATA_MAX];
    struct writer w = wr_to(room, sizeof room);
    struct reader r = rd_of(frame);
    n->m.frames_in++;
    n->seq = rd_u8(&r);
    rd_u8(&r);
    n->legacy = frame.len == 4 && frame.data[2] == 0x00 && !n->negotiated;
    uint16_t id;
    if (n->legacy) {
        id = rd_u8(&r);
    } else if (n->version < 8) {
        rd_bytes(&r, 2);
        id = rd_u8(&r);
    } else {
        rd_u8(&r);
        id = rd_u16_le(&r);
    }
    if (r.failed)
        return;
    if (id == 0x00)
        on_version(n, rd_u8(&r));
    else if (n->negotiated && emu_ezsp_command(n, now_ms, id, &r, &w) && !w.failed)
        respond(n, id, &w);
    else
        on_unknown(n, &w);
    n->legacy = false;
}

static void on_input(struct emu *m, int64_t now_ms, struct bytes in)
{
    struct emu_ncp *n = emu_ncp_of(m);
    for (size_t i = 0; i < in.len; i++) {
        if (n->boot_ms != TIME_NEVER)
            continue; /* deaf while it starts */
        switch (emu_ash_octet(&n->ash, now_ms, in.data[i])) {
        case EMU_ASH_NOTHING:
            break;
        case EMU_ASH_RST:
            n->software_reset = true;
            emu_reset(m, now_ms);
            return;
        case EMU_ASH_DATA:
            on_request(n, now_ms, bytes_of(n->ash.data, n->ash.data_len));
            break;
        }
        pump(n, now_ms);
    }
    m->bad_frames_in = n->ash.bad;
}

/* ---- life -------------------------------------------------------------------------------------- */

static void on_power_on(struct emu *m, int64_t now_ms)
{
    struct emu_ncp *n = emu_ncp_of(m);
    emu_ash_init(&n->ash);
    n->negotiated = false;
    n->n_endpoints = 0;
    memset(n->sent, 0, sizeof n->sent);
    n->answer_ms = TIME_NEVER;
    n->busy = 0;
    emu_ezsp_network_off(n);
    n->boot_ms = now_ms + START_MS;
}

/* A stick that started by itself says so, too, with another code, and is not connected. */
static void on_boot(struct emu_ncp *n, int64_t now_ms)
{
    enum { POWER_ON = 0x02, SOFTWARE = 0x0B };

    uint8_t wire[EMU_ASH_WIRE_MAX];
    n->boot_ms = TIME_NEVER;
    const size_t len = emu_ash_rstack(&n->ash, n->software_reset ? SOFTWARE : POWER_ON, wire);
    n->software_reset = false;
    emu_frame(&n->m, now_ms, bytes_of(wire, len));
}

static void on_event(struct emu *m, int64_t now_ms, const struct ether_event *event)
{
    struct emu_ncp *n = emu_ncp_of(m);
    if (event->type == ETHER_EV_CONFIRM)
        emu_ezsp_confirm(n, now_ms, event);
    else if (event->type == ETHER_EV_RECEIVED)
        emu_ezsp_incoming(n, now_ms, event);
    else if (event->type == ETHER_EV_ANNOUNCE)
        emu_ezsp_joined(n, now_ms, event->number);
}

static void on_advance(struct emu *m, int64_t now_ms)
{
    struct emu_ncp *n = emu_ncp_of(m);
    if (n->boot_ms <= now_ms)
        on_boot(n, now_ms);
    emu_ezsp_network_due(n, now_ms);
    if (n->answer_ms <= now_ms)
        emu_ezsp_zdo_answer(n, now_ms);
    pump(n, now_ms);
}

static int64_t next_deadline(const struct emu *m)
{
    const struct emu_ncp *n = (const void *)m; /* its first member */
    const int64_t own_ms = time_min(n->boot_ms, emu_ezsp_network_deadline(n));
    return time_min(own_ms, time_min(n->answer_ms, emu_ash_deadline(&n->ash)));
}

static void on_init(struct emu *m)
{
    struct emu_ncp *n = emu_ncp_of(m);
    n->version = versions[m->config.firmware < N_VERSIONS ? m->config.firmware : 0];
    emu_ezsp_network_new(n);
}

const struct emu_driver emu_ezsp = {
    .name = "ezsp",
    .size = sizeof(struct emu_ncp),
    .init = on_init,
    .power_on = on_power_on,
    .input = on_input,
    .event = on_event,
    .advance = on_advance,
    .next_deadline = next_deadline,
};
