/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/emu/emu_ezsp_priv.h"

enum {
    PAYLOAD_MAX = 82,
    SLOTS = 8,
    TYPE_DIRECT = 0,
    INCOMING_UNICAST = 0,
    INCOMING_BROADCAST = 4,
    SENT_BROADCAST = 5,
    APS_RETRY = 0x0040,
    APS_SEQUENCE = 10, /* its place in the APS header */
    FIRST_BROADCAST = 0xFFF8,
};

static void put_eui64(struct writer *w, uint64_t eui64)
{
    wr_u32_le(w, (uint32_t)eui64);
    wr_u32_le(w, (uint32_t)(eui64 >> 32));
}

static uint64_t get_eui64(struct reader *r)
{
    const uint64_t low = rd_u32_le(r);
    return low | (uint64_t)rd_u32_le(r) << 32;
}

static bool is_new(const struct emu_ncp *n)
{
    return n->version >= 14;
}

/* ---- sending ----------------------------------------------------------------------------------- */

static uint16_t get_tag(const struct emu_ncp *n, struct reader *r)
{
    return is_new(n) ? rd_u16_le(r) : rd_u8(r);
}

static bool has_endpoint(const struct emu_ncp *n, uint8_t number, uint16_t profile)
{
    for (unsigned i = 0; i < n->n_endpoints; i++) {
        if (n->endpoints[i].number == number && n->endpoints[i].profile == profile)
            return true;
    }
    return false;
}

static int free_place(const struct emu_ncp *n)
{
    for (int i = 0; i < (int)(sizeof n->sent / sizeof n->sent[0]); i++) {
        if (!n->sent[i].used)
            return i;
    }
    return -1;
}

/* Questions to a node's device object: who has this address? One at a time is on air; the others are
 * lost, as on any air. */
static enum emu_ezsp_status ask_zdo(struct emu_ncp *n, int64_t now_ms,
                                    const struct emu_ezsp_sent *sent, uint16_t cluster,
                                    struct bytes message)
{
    enum { NWK_ADDR = 0x0000, IEEE_ADDR = 0x0001, ANSWER = 0x8000, ANSWER_MS = 40 };

    struct reader r = rd_of(message);
    n->answer_tsn = rd_u8(&r);
    n->answer_node = cluster == NWK_ADDR    ? ether_find_eui64(n->m.ether, get_eui64(&r))
                     : cluster == IEEE_ADDR ? ether_find_short(n->m.ether, rd_u16_le(&r))
                                            : -1;
    n->answer_cluster = cluster | ANSWER;
    n->question = *sent;
    n->answer_ms = now_ms + ANSWER_MS;
    return EZ_OK;
}

static enum emu_ezsp_status send_message(struct emu_ncp *n, int64_t now_ms,
                                         const struct emu_ezsp_sent *sent, struct bytes message)
{
    const unsigned slots = n->m.config.slots != 0 ? n->m.config.slots : (unsigned)SLOTS;
    const int place = free_place(n);
    struct reader aps = rd_of(bytes_of(sent->aps, sizeof sent->aps));
    struct ether_frame frame = {.short_address = sent->destination,
                                .broadcast = sent->destination >= FIRST_BROADCAST};
    frame.profile = rd_u16_le(&aps);
    frame.cluster = rd_u16_le(&aps);
    frame.src_endpoint = rd_u8(&aps);
    frame.dst_endpoint = rd_u8(&aps);
    frame.want_ack = (rd_u16_le(&aps) & APS_RETRY) != 0 && !frame.broadcast;
    if (!n->up)
        return EZ_DOWN;
    if (message.len > PAYLOAD_MAX)
        return EZ_TOO_LONG;
    if (n->busy >= slots || place < 0)
        return EZ_TOO_MANY;
    if (emu_chance(&n->m, n->m.config.faults.busy_percent))
        return EZ_NO_BUFFERS;
    if (frame.profile == 0)
        return ask_zdo(n, now_ms, sent, frame.cluster, message);
    n->sent[place] = *sent;
    n->sent[place].used = true;
    n->busy++;
    n->m.sends++;
    frame.handle = (uint32_t)place;
    ether_send(n->m.ether, now_ms, &frame, message);
    return EZ_OK;
}

static bool on_unicast(struct emu_ncp *n, int64_t now_ms, struct reader *r, struct writer *w)
{
    struct emu_ezsp_sent sent = {.type = rd_u8(r)};
    sent.destination = rd_u16_le(r);
    const struct bytes aps = rd_bytes(r, sizeof sent.aps);
    if (aps.len == sizeof sent.aps)
        memcpy(sent.aps, aps.data, sizeof sent.aps);
    sent.aps[APS_SEQUENCE] = ++n->aps_sequence; /* which the host learns, and hears again */
    sent.tag = get_tag(n, r);
    const struct bytes message = rd_bytes(r, rd_u8(r));
    const bool good = rd_close(r) && sent.type == TYPE_DIRECT;
    emu_ezsp_put_status(n, w, good ? send_message(n, now_ms, &sent, message) : EZ_INVALID);
    wr_u8(w, n->aps_sequence);
    return true;
}

static bool on_broadcast(struct emu_ncp *n, int64_t now_ms, struct reader *r, struct writer *w)
{
    struct emu_ezsp_sent sent = {.type = SENT_BROADCAST};
    if (is_new(n))
        rd_u16_le(r); /* alias */
    sent.destination = rd_u16_le(r);
    if (is_new(n))
        rd_u8(r); /* network sequence */
    const struct bytes aps = rd_bytes(r, sizeof sent.aps);
    if (aps.len == sizeof sent.aps)
        memcpy(sent.aps, aps.data, sizeof sent.aps);
    sent.aps[APS_SEQUENCE] = ++n->aps_sequence; /* which the host learns, and hears again */
    rd_u8(r);                                   /* radius */
    sent.tag = get_tag(n, r);
    const struct bytes message = rd_bytes(r, rd_u8(r));
    emu_ezsp_put_status(n, w, rd_close(r) ? send_message(n, now_ms, &sent, message) : EZ_INVALID);
    wr_u8(w, n->aps_sequence);
    return true;
}

static void tell_sent(struct emu_ncp *n, int64_t now_ms, const struct emu_ezsp_sent *sent,
                      enum emu_ezsp_status status)
{
    uint8_t room[64];
    struct writer w = wr_to(room, sizeof room);
    if (is_new(n))
        emu_ezsp_put_status(n, &w, status);
    wr_u8(&w, sent->type);
    wr_u16_le(&w, sent->destination);
    wr_bytes(&w, bytes_of(sent->aps, sizeof sent->aps));
    if (is_new(n)) {
        wr_u16_le(&w, sent->tag);
    } else {
        wr_u8(&w, (uint8_t)sent->tag);
        emu_ezsp_put_status(n, &w, status);
    }
    wr_u8(&w, 0); /* the tag only: no message */
    emu_ezsp_callback(n, now_ms, 0x3F, &w);
}

void emu_ezsp_confirm(struct emu_ncp *n, int64_t now_ms, const struct ether_event *event)
{
    const struct emu_faults *f = &n->m.config.faults;
    struct emu_ezsp_sent *place = &n->sent[event->handle % (sizeof n->sent / sizeof n->sent[0])];
    struct emu_ezsp_sent sent = *place;
    if (!place->used)
        return;
    place->used = false;
    if (n->busy > 0)
        n->busy--;
    const bool ok = event->status == ETHER_OK;
    if (!emu_chance(&n->m, f->mute_percent))
        tell_sent(n, now_ms, &sent, ok ? EZ_OK : EZ_NOT_DELIVERED);
    if (emu_chance(&n->m, f->stray_percent)) {
        sent.tag = (uint16_t)(sent.tag + 100);
        tell_sent(n, now_ms, &sent, EZ_OK);
    }
}

/* ---- receiving --------------------------------------------------------------------------------- */

static void tell_eui64(struct emu_ncp *n, int64_t now_ms, uint64_t eui64)
{
    uint8_t room[8];
    struct writer w = wr_to(room, sizeof room);
    put_eui64(&w, eui64);
    emu_ezsp_callback(n, now_ms, 0x62, &w);
}

struct heard {
    const struct ether_node *from;
    uint16_t short_address, profile, cluster;
    uint8_t endpoint;
    bool broadcast;
};

static void tell_incoming(struct emu_ncp *n, int64_t now_ms, const struct heard *h,
                          struct bytes payload)
{
    uint8_t room[EMU_ASH_DATA_MAX];
    struct writer w = wr_to(room, sizeof room);
    /* A sender names itself in some of its packets only. */
    const bool named = rng_below(&n->m.rng, 4) == 0;
    if (!is_new(n) && named)
        tell_eui64(n, now_ms, h->from->eui64);
    wr_u8(&w, h->broadcast ? INCOMING_BROADCAST : INCOMING_UNICAST);
    wr_u16_le(&w, h->profile);
    wr_u16_le(&w, h->cluster);
    wr_u8(&w, h->endpoint);
    wr_u8(&w, h->endpoint);
    wr_u16_le(&w, 0x0140);
    wr_u16_le(&w, 0);
    wr_u8(&w, 7);
    if (is_new(n)) {
        wr_u16_le(&w, h->short_address);
        put_eui64(&w, named ? h->from->eui64 : UINT64_MAX);
        wr_u16_le(&w, 0xFFFF); /* no binding, no address table entry */
        wr_u8(&w, h->from->lqi);
        wr_u8(&w, (uint8_t)h->from->rssi);
        wr_u32_le(&w, (uint32_t)now_ms);
    } else {
        wr_u8(&w, h->from->lqi);
        wr_u8(&w, (uint8_t)h->from->rssi);
        wr_u16_le(&w, h->short_address);
        wr_u16_le(&w, 0xFFFF);
    }
    wr_u8(&w, (uint8_t)payload.len);
    wr_bytes(&w, payload);
    emu_ezsp_callback(n, now_ms, 0x45, &w);
}

void emu_ezsp_incoming(struct emu_ncp *n, int64_t now_ms, const struct ether_event *event)
{
    const struct ether_node *node = ether_node_at(n->m.ether, event->number);
    const struct heard heard = {.from = node,
                                .short_address = event->short_address,
                                .profile = node->profile,
                                .cluster = node->cluster,
                                .endpoint = node->endpoint,
                                .broadcast = event->broadcast};
    if (n->up && has_endpoint(n, node->endpoint, node->profile))
        tell_incoming(n, now_ms, &heard, event->payload);
}

void emu_ezsp_zdo_answer(struct emu_ncp *n, int64_t now_ms)
{
    uint8_t room[64];
    struct writer w = wr_to(room, sizeof room);
    n->answer_ms = TIME_NEVER;
    tell_sent(n, now_ms, &n->question, EZ_OK);
    if (n->answer_node < 0)
        return;
    const struct ether_node *node = ether_node_at(n->m.ether, (size_t)n->answer_node);
    const struct heard heard = {
        .from = node, .short_address = node->short_address, .cluster = n->answer_cluster};
    wr_u8(&w, n->answer_tsn);
    wr_u8(&w, 0);
    put_eui64(&w, node->eui64);
    wr_u16_le(&w, node->short_address);
    tell_incoming(n, now_ms, &heard, bytes_of(room, w.len));
}

/* The trust center's word, and the node's own announcement. */
void emu_ezsp_joined(struct emu_ncp *n, int64_t now_ms, size_t number)
{
    enum { DEVICE_ANNOUNCE = 0x0013, ROUTER = 0x8E, SLEEPY = 0x80 };

    uint8_t room[16];
    struct writer w = wr_to(room, sizeof room);
    const struct ether_node *node = ether_node_at(n->m.ether, number);
    const struct heard heard = {.from = node,
                                .short_address = node->short_address,
                                .cluster = DEVICE_ANNOUNCE,
                                .broadcast = true};
    if (!n->up)
        return;
    wr_u16_le(&w, node->short_address);
    put_eui64(&w, node->eui64);
    wr_u8(&w, 1);
    wr_u8(&w, 0);
    wr_u16_le(&w, 0);
    emu_ezsp_callback(n, now_ms, 0x24, &w);
    w.len = 0;
    wr_u8(&w, ++n->zdo_tsn);
    wr_u16_le(&w, node->short_address);
    put_eui64(&w, node->eui64);
    wr_u8(&w, node->sleepy ? SLEEPY : ROUTER);
    tell_incoming(n, now_ms, &heard, bytes_of(room, w.len));
}

/* ---- the other commands ------------------------------------------------------------------------- */

static enum emu_ezsp_status add_endpoint(struct emu_ncp *n, struct reader *r)
{
    const uint8_t number = rd_u8(r);
    const uint16_t profile = rd_u16_le(r);
    rd_bytes(r, 2 + 1);
    const size_t clusters = rd_u8(r);
    rd_bytes(r, 2 * (clusters + rd_u8(r)));
    if (!rd_close(r) || n->n_endpoints == EMU_EZSP_ENDPOINTS)
        return EZ_INVALID;
    if (n->initialised)
        return EZ_STATE; /* not any more */
    n->endpoints[n->n_endpoints].number = number;
    n->endpoints[n->n_endpoints++].profile = profile;
    return EZ_OK;
}

static void look_up_short(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    const int number = ether_find_eui64(n->m.ether, get_eui64(r));
    if (is_new(n))
        emu_ezsp_put_status(n, w, number >= 0 ? EZ_OK : EZ_FAIL);
    wr_u16_le(w, number < 0 ? 0xFFFF : ether_node_at(n->m.ether, (size_t)number)->short_address);
}

static void look_up_eui64(struct emu_ncp *n, struct reader *r, struct writer *w)
{
    const int number = ether_find_short(n->m.ether, rd_u16_le(r));
    emu_ezsp_put_status(n, w, number >= 0 ? EZ_OK : EZ_FAIL);
    put_eui64(w, number < 0 ? UINT64_MAX : ether_node_at(n->m.ether, (size_t)number)->eui64);
}

/* Commands whose whole answer is a status. */
static bool simple(struct emu_ncp *n, uint16_t id, struct reader *r, enum emu_ezsp_status *status)
{
    *status = EZ_OK;
    switch (id) {
    case 0x02:
        *status = add_endpoint(n, r);
        return true;
    case 0x53: /* an id of a version that this one is not */
        *status = rd_u8(r) > 0x40 ? EZ_INVALID : EZ_OK;
        return true;
    case 0x10:
    case 0x55:
    case 0x6B:
    case 0xAB:
    case 0xB1:
        return true;
    case 0xAF:
        return n->version < 12;
    default:
        return false;
    }
}

bool emu_ezsp_command(struct emu_ncp *n, int64_t now_ms, uint16_t id, struct reader *r,
                      struct writer *w)
{
    enum emu_ezsp_status status;
    if (simple(n, id, r, &status)) {
        emu_ezsp_put_status(n, w, status);
        return true;
    }
    if (emu_ezsp_network_command(n, now_ms, id, r, w))
        return true;
    switch (id) {
    case 0x05: /* nop */
    case 0x15:
    case 0x7E:
        return true;
    case 0x5A:
        wr_u32_le(w, 5000); /* until the next question for routes */
        return true;
    case 0x33:
        wr_u8(w, PAYLOAD_MAX);
        return true;
    case 0x34:
        return on_unicast(n, now_ms, r, w);
    case 0x36:
        return on_broadcast(n, now_ms, r, w);
    case 0x60:
        look_up_short(n, r, w);
        return true;
    case 0x61:
        look_up_eui64(n, r, w);
        return true;
    case 0x111:
        wr_u32_le(w, 0); /* of the security manager: always the new status */
        return n->version >= 12;
    default:
        return false;
    }
}
