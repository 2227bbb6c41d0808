/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of an emulated ConBee: it takes requests while it has a slot, and keeps confirms and
 * indications until the host asks for them (D.3). A slot is free again when its confirm was read.
 */
#include "tools/emu/emu_deconz_priv.h"

enum { ZDO_DELAY_MS = 30, PROFILE_ZDO = 0x0000 };

enum { MODE_GROUP = 1, MODE_SHORT = 2, MODE_EUI64 = 3, MODE_BOTH = 4 };

enum zdo_cluster {
    ZDO_NWK_ADDR = 0x0000,
    ZDO_IEEE_ADDR = 0x0001,
    ZDO_ANNOUNCE = 0x0013,
    ZDO_RESPONSE = 0x8000
};

void conbee_aps_reset(struct emu_deconz *d)
{
    memset(d->sends, 0, sizeof d->sends);
    memset(d->answers, 0, sizeof d->answers);
    d->n_confirms = d->n_indications = 0;
    d->slots_busy = 0;
}

unsigned conbee_slots(const struct emu_deconz *d)
{
    enum { DEFAULT_SLOTS = 3 };

    const unsigned slots = d->m.config.slots;
    return slots == 0 ? DEFAULT_SLOTS : slots < DECONZ_SENDS ? slots : DECONZ_SENDS;
}

/* ---- indications ------------------------------------------------------------------------------- */

/* The host reads too slowly: the newest is lost. */
static struct deconz_indication *new_indication(struct emu_deconz *d)
{
    if (d->n_indications == DECONZ_INDICATIONS)
        return NULL;
    return &d->indications[(d->indication_first + d->n_indications++) % DECONZ_INDICATIONS];
}

static void fill_from(struct deconz_indication *in, const struct ether_node *node, uint16_t from)
{
    *in = (struct deconz_indication){
        .eui64 = node->eui64,
        .from = from,
        .lqi = node->lqi,
        .rssi = node->rssi,
    };
}

static void zdo_indication(struct emu_deconz *d, const struct ether_node *node, bool broadcast,
                           uint16_t cluster, struct bytes asdu)
{
    struct deconz_indication *in = new_indication(d);
    if (in == NULL)
        return;
    fill_from(in, node, node->short_address);
    in->broadcast = broadcast;
    in->zdo = true;
    in->profile = PROFILE_ZDO;
    in->cluster = cluster;
    in->len = (uint8_t)asdu.len;
    memcpy(in->asdu, asdu.data, asdu.len);
}

static void announce(struct emu_deconz *d, const struct ether_node *node)
{
    uint8_t asdu[16];
    struct writer w = wr_to(asdu, sizeof asdu);
    wr_u8(&w, d->zdo_sequence++);
    wr_u16_le(&w, node->short_address);
    conbee_wr_u64(&w, node->eui64);
    wr_u8(&w, node->sleepy ? 0x80 : 0x8E);
    zdo_indication(d, node, true, ZDO_ANNOUNCE, bytes_of(asdu, w.len));
}

/* Only what a started endpoint waits for comes through; the profile has to be its own. */
static bool is_expected(const struct emu_deconz *d, const struct ether_node *node)
{
    for (unsigned i = 0; i < DECONZ_ENDPOINTS; i++) {
        const struct deconz_endpoint *e = &d->active[i];
        if (e->len >= 4 && e->octets[1] == node->endpoint &&
            (e->octets[2] | e->octets[3] << 8) == node->profile)
            return true;
    }
    return false;
}

static void received(struct emu_deconz *d, const struct ether_event *event)
{
    const struct ether_node *node = ether_node_at(d->m.ether, event->number);
    if (d->network != DECONZ_CONNECTED || !is_expected(d, node))
        return;
    struct deconz_indication *in = new_indication(d);
    if (in == NULL)
        return;
    fill_from(in, node, event->short_address);
    in->broadcast = event->broadcast;
    in->endpoint = node->endpoint;
    in->profile = node->profile;
    in->cluster = node->cluster;
    in->len = (uint8_t)event->payload.len;
    memcpy(in->asdu, event->payload.data, event->payload.len);
}

static void put_source(const struct emu_deconz *d, const struct deconz_indication *in,
                       uint8_t flags, struct writer *w)
{
    const bool both = (flags & 0x04) != 0 && conbee_protocol(d) >= 0x010B;
    const bool by_short = both || (flags & 0x01) != 0;
    wr_u8(w, both ? MODE_BOTH : by_short ? MODE_SHORT : MODE_EUI64);
    if (by_short)
        wr_u16_le(w, in->from);
    if (both || !by_short)
        conbee_wr_u64(w, in->eui64);
    wr_u8(w, in->endpoint);
}

void conbee_aps_indication(struct emu_deconz *d, int64_t now_ms,
                           const struct deconz_request *request)
{
    uint8_t out[DECONZ_FRAME_MAX];
    struct writer w = wr_to(out, sizeof out);
    struct reader r = rd_of(request->rest);
    const uint16_t len = rd_u16_le(&r);
    const uint8_t flags = len > 0 ? rd_u8(&r) : 0;
    if (d->n_indications == 0) {
        wr_u8(&w, conbee_state(d));
        conbee_answer(d, now_ms, request, DECONZ_FAILURE, true, bytes_of(out, w.len));
        return;
    }
    const struct deconz_indication *in = &d->indications[d->indication_first];
    d->indication_first = (d->indication_first + 1) % DECONZ_INDICATIONS;
    d->n_indications--;
    wr_u8(&w, conbee_state(d));
    wr_u8(&w, MODE_SHORT);
    wr_u16_le(&w, in->broadcast ? 0xFFFD : 0x0000);
    wr_u8(&w, in->endpoint); /* nodes speak to the endpoint that they have themselves */
    put_source(d, in, flags, &w);
    wr_u16_le(&w, in->profile);
    wr_u16_le(&w, in->cluster);
    wr_u16_le(&w, in->len);
    wr_bytes(&w, bytes_of(in->asdu, in->len));
    wr_u8(&w, 0);
    wr_u8(&w, d->aps_counter++);
    wr_u8(&w, in->lqi);
    wr_u32_le(&w, (uint32_t)rng_next(&d->m.rng)); /* reserved: nothing to rely on */
    wr_u8(&w, (uint8_t)in->rssi);
    conbee_answer(d, now_ms, request, DECONZ_SUCCESS, true, bytes_of(out, w.len));
}

/* ---- ZDO requests ------------------------------------------------------------------------------ */

/* Somebody on the air answers a question about addresses. */
static void zdo_request(struct emu_deconz *d, int64_t now_ms, uint16_t cluster, struct bytes asdu)
{
    struct reader r = rd_of(asdu);
    const uint8_t seq = rd_u8(&r);
    int node = -1;
    if (cluster == ZDO_NWK_ADDR)
        node = ether_find_eui64(d->m.ether, conbee_rd_u64(&r));
    else if (cluster == ZDO_IEEE_ADDR)
        node = ether_find_short(d->m.ether, rd_u16_le(&r));
    for (size_t i = 0; i < DECONZ_ANSWERS && node >= 0 && !r.failed; i++) {
        if (d->answers[i].at_ms != 0)
            continue;
        d->answers[i] = (struct deconz_answer){
            .at_ms = now_ms + ZDO_DELAY_MS,
            .seq = seq,
            .cluster = (uint16_t)(cluster | ZDO_RESPONSE),
            .node = (size_t)node,
        };
        return;
    }
}

void conbee_aps_due(struct emu_deconz *d, int64_t now_ms)
{
    for (size_t i = 0; i < DECONZ_ANSWERS; i++) {
        struct deconz_answer *a = &d->answers[i];
        if (a->at_ms == 0 || a->at_ms > now_ms)
            continue;
        const struct ether_node *node = ether_node_at(d->m.ether, a->node);
        uint8_t asdu[16];
        struct writer w = wr_to(asdu, sizeof asdu);
        wr_u8(&w, a->seq);
        wr_u8(&w, 0);
        conbee_wr_u64(&w, node->eui64);
        wr_u16_le(&w, node->short_address);
        zdo_indication(d, node, false, a->cluster, bytes_of(asdu, w.len));
        a->at_ms = 0;
    }
}

int64_t conbee_aps_deadline(const struct emu_deconz *d)
{
    int64_t at_ms = TIME_NEVER;
    for (size_t i = 0; i < DECONZ_ANSWERS; i++) {
        if (d->answers[i].at_ms != 0)
            at_ms = time_min(at_ms, d->answers[i].at_ms);
    }
    return at_ms;
}

/* ---- confirms ---------------------------------------------------------------------------------- */

static void add_confirm(struct emu_deconz *d, const struct deconz_send *send, uint8_t status,
                        bool frees)
{
    if (d->n_confirms == DECONZ_CONFIRMS) {
        d->slots_busy -= frees;
        return;
    }
    d->confirms[(d->confirm_first + d->n_confirms++) % DECONZ_CONFIRMS] =
        (struct deconz_confirm){.of = *send, .status = status, .frees = frees};
}

static void confirmed(struct emu_deconz *d, const struct ether_event *event)
{
    static const uint8_t statuses[] = {
        [ETHER_OK] = 0x00,      [ETHER_NO_ACK] = 0xA7,   [ETHER_NO_ADDRESS] = 0xD0,
        [ETHER_EXPIRED] = 0xF0, [ETHER_TOO_LONG] = 0xE8, [ETHER_QUEUE_FULL] = 0xF1,
    };
    for (size_t i = 0; i < DECONZ_SENDS; i++) {
        struct deconz_send *send = &d->sends[i];
        if (!send->used || send->handle != event->handle)
            continue;
        send->used = false;
        if (emu_chance(&d->m, d->m.config.faults.mute_percent))
            d->slots_busy--;
        else
            add_confirm(d, send, statuses[event->status], true);
        if (emu_chance(&d->m, d->m.config.faults.stray_percent)) {
            struct deconz_send stray = *send;
            stray.id = (uint8_t)(stray.id + 100);
            add_confirm(d, &stray, 0x00, false);
        }
        return;
    }
}

void conbee_aps_event(struct emu_deconz *d, int64_t now_ms, const struct ether_event *event)
{
    (void)now_ms;
    switch (event->type) {
    case ETHER_EV_CONFIRM:
        confirmed(d, event);
        break;
    case ETHER_EV_RECEIVED:
        received(d, event);
        break;
    case ETHER_EV_ANNOUNCE:
        if (d->network == DECONZ_CONNECTED)
            announce(d, ether_node_at(d->m.ether, event->number));
        break;
    case ETHER_EV_TO_NODE:
        break;
    }
}

static void put_destination(const struct deconz_send *send, struct writer *w)
{
    wr_u8(w, send->mode);
    if (send->mode == MODE_EUI64)
        conbee_wr_u64(w, send->to);
    else
        wr_u16_le(w, (uint16_t)send->to);
    if (send->mode != MODE_GROUP)
        wr_u8(w, send->dst_endpoint);
}

void conbee_aps_confirm(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request)
{
    uint8_t out[32];
    struct writer w = wr_to(out, sizeof out);
    if (d->n_confirms == 0) {
        wr_u8(&w, conbee_state(d));
        conbee_answer(d, now_ms, request, DECONZ_FAILURE, true, bytes_of(out, w.len));
        return;
    }
    const struct deconz_confirm *confirm = &d->confirms[d->confirm_first];
    d->confirm_first = (d->confirm_first + 1) % DECONZ_CONFIRMS;
    d->n_confirms--;
    d->slots_busy -= confirm->frees;
    wr_u8(&w, conbee_state(d));
    wr_u8(&w, confirm->of.id);
    put_destination(&confirm->of, &w);
    wr_u8(&w, confirm->of.src_endpoint);
    wr_u8(&w, confirm->status);
    wr_u32_le(&w, 0);
    conbee_answer(d, now_ms, request, DECONZ_SUCCESS, true, bytes_of(out, w.len));
}

/* ---- requests ---------------------------------------------------------------------------------- */

struct wanted {
    struct deconz_send send;
    uint16_t profile, cluster;
    struct bytes asdu;
    uint8_t options;
};

static bool read_wanted(struct bytes rest, struct wanted *out)
{
    struct reader r = rd_of(rest);
    const uint16_t len = rd_u16_le(&r);
    struct reader p = rd_of(rd_bytes(&r, len));
    out->send.id = rd_u8(&p);
    const uint8_t flags = rd_u8(&p);
    out->send.mode = rd_u8(&p);
    out->send.to = out->send.mode == MODE_EUI64 ? conbee_rd_u64(&p) : rd_u16_le(&p);
    out->send.dst_endpoint = out->send.mode == MODE_GROUP ? 0xFF : rd_u8(&p);
    out->profile = rd_u16_le(&p);
    out->cluster = rd_u16_le(&p);
    out->send.src_endpoint = rd_u8(&p);
    out->asdu = rd_bytes(&p, rd_u16_le(&p));
    out->options = rd_u8(&p);
    rd_u8(&p); /* radius */
    if ((flags & 0x02) != 0)
        rd_bytes(&p, 2U * rd_u8(&p)); /* relays */
    return rd_close(&r) && rd_close(&p) && out->send.mode >= MODE_GROUP &&
           out->send.mode <= MODE_EUI64 && out->asdu.len <= DECONZ_ASDU_MAX;
}

static struct deconz_send *free_send(struct emu_deconz *d, uint8_t id, bool *twice)
{
    struct deconz_send *free = NULL;
    *twice = false;
    for (size_t i = 0; i < DECONZ_SENDS; i++) {
        if (!d->sends[i].used)
            free = &d->sends[i];
        else
            *twice |= d->sends[i].id == id;
    }
    return free;
}

static void begin(struct emu_deconz *d, int64_t now_ms, struct deconz_send *send,
                  const struct wanted *wanted)
{
    *send = wanted->send;
    send->used = true;
    send->handle = ++d->handle;
    d->slots_busy++;
    d->m.sends++;
    const bool zdo = wanted->profile == PROFILE_ZDO && send->dst_endpoint == 0;
    const bool broadcast =
        zdo || send->mode == MODE_GROUP || (send->mode == MODE_SHORT && send->to >= 0xFFF8);
    if (zdo) {
        const struct ether_event done = {.type = ETHER_EV_CONFIRM, .handle = send->handle};
        zdo_request(d, now_ms, wanted->cluster, wanted->asdu);
        confirmed(d, &done);
        return;
    }
    const struct ether_frame frame = {
        .broadcast = broadcast,
        .by_eui64 = send->mode == MODE_EUI64,
        .eui64 = send->to,
        .short_address = (uint16_t)send->to,
        .src_endpoint = send->src_endpoint,
        .dst_endpoint = send->dst_endpoint,
        .profile = wanted->profile,
        .cluster = wanted->cluster,
        .want_ack = (wanted->options & 0x04) != 0 && !broadcast,
        .handle = send->handle,
    };
    ether_send(d->m.ether, now_ms, &frame, wanted->asdu);
}

void conbee_aps_request(struct emu_deconz *d, int64_t now_ms, const struct deconz_request *request)
{
    struct wanted wanted = {0};
    bool twice;
    enum deconz_status status = DECONZ_SUCCESS;
    const bool good = read_wanted(request->rest, &wanted);
    struct deconz_send *send = free_send(d, wanted.send.id, &twice);
    if (!good || twice)
        status = DECONZ_INVALID_VALUE;
    else if (d->network != DECONZ_CONNECTED)
        status = DECONZ_NO_NETWORK;
    else if (send == NULL || d->slots_busy >= conbee_slots(d) ||
             emu_chance(&d->m, d->m.config.faults.busy_percent))
        status = DECONZ_BUSY;
    else
        begin(d, now_ms, send, &wanted);
    const uint8_t out[] = {conbee_state(d), wanted.send.id};
    conbee_answer(d, now_ms, request, status, true, bytes_of(out, sizeof out));
}
