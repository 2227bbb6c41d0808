/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ASH on a hostile line: raw octets, intact frames of all kinds with any numbers, time, sends. What
 * it says must be frames, its deadlines lie in the future, and whatever was heard before, a frame
 * behind a flag is found.
 */
#include "fuzz.h"
#include "radio/stick/ash.h"

struct world {
    struct ash a;
    struct reader in;
    int64_t now_ms;
    bool connected;
};

static void drain(struct world *w)
{
    struct bytes out;
    struct ash_deframer d = {.len = 0};
    unsigned frames = 0;
    while (ash_output(&w->a, w->now_ms, &out)) {
        struct reader r = rd_of(out);
        struct ash_frame f;
        fuzz_require(ash_deframe(&d, &r, &f) == ASH_FOUND && rd_left(&r) == 0);
        fuzz_require(f.type != ASH_RSTACK && f.type != ASH_ERROR);
        fuzz_require(w->connected == (f.type != ASH_RST));
        fuzz_require(++frames < 5);
    }
}

static void told(struct world *w, enum ash_event_type type)
{
    switch (type) {
    case ASH_EV_NONE:
        break;
    case ASH_EV_CONNECTED:
        fuzz_require(!w->connected);
        w->connected = true;
        break;
    case ASH_EV_DATA:
        fuzz_require(w->connected);
        break;
    case ASH_EV_REBOOTED:
    case ASH_EV_FAILED:
    case ASH_EV_LOST:
    case ASH_EV_SILENT:
        fuzz_require(w->connected == (type != ASH_EV_SILENT));
        fuzz_require(!ash_ready(&w->a) && ash_next_deadline(&w->a) == TIME_NEVER);
        w->connected = false;
        ash_connect(&w->a, w->now_ms);
        break;
    }
}

static void hear(struct world *w, struct bytes octets)
{
    struct reader r = rd_of(octets);
    struct ash_event e;
    while (ash_next(&w->a, w->now_ms, &r, &e)) {
        told(w, e.type);
        fuzz_require(e.type != ASH_EV_DATA ||
                     (e.data.len >= ASH_DATA_MIN && e.data.len <= ASH_DATA_MAX));
        if (e.type == ASH_EV_DATA && (e.data.data[0] & 1) != 0)
            ash_send(&w->a, e.data);
    }
    fuzz_require(rd_left(&r) == 0);
}

static struct bytes some(struct world *w, size_t n)
{
    return rd_bytes(&w->in, n < rd_left(&w->in) ? n : rd_left(&w->in));
}

static void hear_frame(struct world *w, uint8_t how)
{
    static const enum ash_type types[] = {ASH_DATA, ASH_DATA,   ASH_ACK,   ASH_NAK,
                                          ASH_DATA, ASH_RSTACK, ASH_ERROR, ASH_RST};

    uint8_t wire[ASH_WIRE_MAX];
    const uint8_t numbers = rd_u8(&w->in);
    const bool fitting = (how & 8) != 0;
    struct ash_frame f = {
        .type = types[how & 7],
        .frm_num = fitting ? w->a.frm_rx : numbers >> 4 & 7,
        .ack_num = fitting ? (w->a.frm_tx + (numbers & 1)) & 7 : numbers & 7,
        .re_tx = (numbers & 8) != 0,
        .not_ready = (numbers & 8) != 0,
        .version = fitting ? ASH_VERSION : numbers,
        .code = fitting ? ASH_RESET_SOFTWARE : numbers,
    };
    if (f.type == ASH_DATA)
        f.data = some(w, 3 + (numbers >> 3));
    hear(w, bytes_of(wire, ash_encode(&f, wire, sizeof wire)));
}

static void pass(struct world *w, int64_t ms)
{
    w->now_ms += ms;
    told(w, ash_advance(&w->a, w->now_ms));
    fuzz_require(ash_next_deadline(&w->a) > w->now_ms);
}

static void step(struct world *w)
{
    const uint8_t what = rd_u8(&w->in);
    switch (what >> 5) {
    case 0:
        pass(w, what & 31);
        break;
    case 1:
        pass(w, (what & 31) * 200);
        break;
    case 2:
        fuzz_require(ash_send(&w->a, some(w, what & 31)) == false || w->connected);
        break;
    case 3:
        ash_hold(&w->a, w->now_ms, (what & 1) != 0);
        break;
    case 4:
        hear(w, some(w, 1 + (what & 31U) * 8));
        break;
    default:
        hear_frame(w, what);
        break;
    }
    drain(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.in = rd_of(bytes_of(data, size)), .now_ms = 1};
    ash_init(&w.a, ASH_T_ACK_MS);
    ash_connect(&w.a, w.now_ms);
    drain(&w);
    while (rd_left(&w.in) > 0)
        step(&w);

    static const uint8_t nak[] = {0x7E, 0xA6, 0x34, 0xDC, 0x7E};
    struct ash_deframer d = {.len = 0};
    struct reader r = rd_of(bytes_of(data, size));
    struct ash_frame f = {.type = ASH_RST};
    while (ash_deframe(&d, &r, &f) != ASH_NOTHING) {
    }
    fuzz_require(d.skipped_bytes <= size);
    r = rd_of(bytes_of(nak, sizeof nak));
    enum ash_found found = ash_deframe(&d, &r, &f);
    if (found == ASH_BAD || found == ASH_BAD_DATA || f.type != ASH_NAK)
        found = ash_deframe(&d, &r, &f);
    fuzz_require(found == ASH_FOUND && f.type == ASH_NAK && f.ack_num == 6);
    return 0;
}
