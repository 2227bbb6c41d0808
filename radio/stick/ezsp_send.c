/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets to nodes and from nodes, and the two questions that come with them: which 16-bit address
 * has this EUI-64, which EUI-64 has this sender. The stick is asked first, the node itself (ZDO)
 * only when the stick does not know.
 */
#include "radio/stick/ezsp_priv.h"

enum {
    ALL_AWAKE = 0xFFFD, /* broadcast to all that listen always */
    FIRST_UNUSABLE = 0xFFF8,

    ZDO_PROFILE = 0,
    ZDO_NWK_ADDR_REQ = 0x0000,
    ZDO_IEEE_ADDR_REQ = 0x0001,
    ZDO_DEVICE_ANNOUNCE = 0x0013,
    ZDO_NWK_ADDR_RSP = 0x8000,
    ZDO_IEEE_ADDR_RSP = 0x8001,
};

/* Notes of a send: how far the question for its node's address has come. */
enum { NOTE_FRESH, NOTE_LOOKED_UP, NOTE_ASKED };

void ezsp_send_clear(struct ezsp *e)
{
    e->queued = 0;
    e->has_sender = false;
    memset(e->names, 0, sizeof e->names);
    memset(e->quests, 0, sizeof e->quests);
}

/* ---- packets out ------------------------------------------------------------------------------- */

static void enqueue(struct ezsp *e, uint8_t id)
{
    for (size_t i = 0; i < e->queued; i++) {
        if (e->queue[i] == id) /* of a packet that is decided since */
            return;
    }
    if (e->queued < EZSP_SLOTS)
        e->queue[e->queued++] = id;
}

void ezsp_transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    struct ezsp *e = ezsp_of(s);
    const uint8_t kind = send->node->kind;
    if (kind != PEER_EUI64 && kind != PEER_GROUP) {
        stick_verdict(s, now_ms, send->id, VERDICT_REFUSED, 0);
        return;
    }
    send->note = NOTE_FRESH;
    enqueue(e, send->id);
    ezsp_pump(e, now_ms);
}

static bool send_unicast(struct ezsp *e, int64_t now_ms, const struct stick_send *send)
{
    uint8_t room[ASH_DATA_MAX];
    const struct ezsp_aps aps = ezsp_app(e);
    struct writer w = ezsp_request(e, room, EZSP_SEND_UNICAST);
    ezsp_wr_unicast(&w, e->version, send->node->short_address, &aps, send->id, stick_packet(send));
    return ezsp_command(e, now_ms, &w, EZSP_JOB_SEND, EZSP_SEND_UNICAST, send->id);
}

static bool send_broadcast(struct ezsp *e, int64_t now_ms, const struct stick_send *send)
{
    uint8_t room[ASH_DATA_MAX];
    const struct ezsp_aps aps = ezsp_app(e);
    struct writer w = ezsp_request(e, room, EZSP_SEND_BROADCAST);
    ezsp_wr_broadcast(&w, e->version, ALL_AWAKE, &aps, send->radius, send->id, stick_packet(send));
    return ezsp_command(e, now_ms, &w, EZSP_JOB_SEND, EZSP_SEND_BROADCAST, send->id);
}

static bool look_up_short(struct ezsp *e, int64_t now_ms, struct stick_send *send)
{
    uint8_t room[ASH_DATA_MAX];
    struct writer w = ezsp_request(e, room, EZSP_LOOKUP_SHORT);
    wr_u64_le(&w, send->node->address);
    send->note = NOTE_LOOKED_UP;
    return ezsp_command(e, now_ms, &w, EZSP_JOB_FIND_SHORT, EZSP_LOOKUP_SHORT, send->id);
}

static struct ezsp_quest *free_quest(struct ezsp *e, int64_t now_ms)
{
    if (now_ms < e->next_quest_ms)
        return NULL;
    for (size_t i = 0; i < EZSP_QUESTS; i++) {
        if (e->quests[i].id == 0)
            return &e->quests[i];
    }
    return NULL;
}

/* Asks everybody who has this EUI-64; the packet waits for the answer. */
static bool ask_short(struct ezsp *e, int64_t now_ms, struct stick_send *send,
                      struct ezsp_quest *quest)
{
    uint8_t room[ASH_DATA_MAX], question[11];
    const struct ezsp_aps zdo = {.cluster = ZDO_NWK_ADDR_REQ,
                                 .options = EZSP_APS_ADDRESS_AND_ROUTE};
    struct writer q = wr_to(question, sizeof question);
    wr_u8(&q, e->tsn++);
    wr_u64_le(&q, send->node->address);
    wr_u16(&q, 0); /* only its own address, from the first on */
    struct writer w = ezsp_request(e, room, EZSP_SEND_BROADCAST);
    ezsp_wr_broadcast(&w, e->version, ALL_AWAKE, &zdo, 0, 0, bytes_of(question, q.len));
    *quest = (struct ezsp_quest){
        .id = send->id,
        .eui64 = send->node->address,
        .until_ms = time_add(now_ms, EZSP_QUEST_MS),
    };
    e->next_quest_ms = time_add(now_ms, EZSP_QUEST_GAP_MS);
    send->note = NOTE_ASKED;
    return ezsp_command(e, now_ms, &w, EZSP_JOB_ZDO, EZSP_SEND_BROADCAST, 0);
}

/* A node that does not answer may have got another address. */
static bool is_doubtful(const struct stick_node *node)
{
    return node->failures_in_row >= STICK_MOVED_FAILURES &&
           stick_search_due(node, node->failures_in_row);
}

/* What this packet needs next. False when it needs no command (any more). */
static bool serve(struct ezsp *e, int64_t now_ms, struct stick_send *send)
{
    if (stick_is_group(send))
        return send_broadcast(e, now_ms, send);
    struct stick_node *node = send->node;
    const bool known = node->short_address != SHORT_UNKNOWN;
    if (!known && send->note == NOTE_FRESH)
        return look_up_short(e, now_ms, send);
    if (!known || (send->note == NOTE_FRESH && is_doubtful(node))) {
        struct ezsp_quest *quest = send->note != NOTE_ASKED ? free_quest(e, now_ms) : NULL;
        node->search_owed = quest == NULL && known;
        if (quest != NULL)
            return ask_short(e, now_ms, send, quest);
    }
    if (known)
        return send_unicast(e, now_ms, send);
    stick_verdict(&e->stick, now_ms, send->id, VERDICT_FAILED, 0);
    return false;
}

bool ezsp_send_next(struct ezsp *e, int64_t now_ms)
{
    while (e->queued > 0) {
        const uint8_t id = e->queue[0];
        memmove(e->queue, e->queue + 1, --e->queued);
        struct stick_send *send = stick_outstanding(&e->stick, id);
        if (send == NULL)
            continue;
        if (serve(e, now_ms, send))
            return true;
        if (e->pending.job != EZSP_JOB_NONE) /* the verdict made room for another, which went */
            return false;
    }
    return false;
}

void ezsp_send_response(struct ezsp *e, int64_t now_ms, uint16_t id, uint16_t ref, struct reader *r)
{
    if (stick_outstanding(&e->stick, (uint8_t)ref) == NULL)
        return; /* decided: messageSent was faster, or nobody waits any more */
    const uint32_t status =
        id == EZSP_INVALID_COMMAND ? (uint32_t)SL_FAIL : ezsp_rd_status(r, e->version);
    const struct ezsp_ruling ruling = ezsp_at_call(r->failed ? (uint32_t)SL_FAIL : status);
    if (ruling.verdict != VERDICT_DELIVERED)
        stick_verdict(&e->stick, now_ms, (uint8_t)ref, ruling.verdict, ruling.again_ms);
}

/* lookupNodeIdByEui64: newer versions have a status in front. */
void ezsp_find_response(struct ezsp *e, int64_t now_ms, uint16_t id, uint16_t ref, struct reader *r)
{
    struct stick_send *send = stick_outstanding(&e->stick, (uint8_t)ref);
    if (send == NULL || send->note != NOTE_LOOKED_UP)
        return;
    const uint32_t status = rd_left(r) >= 6 ? rd_u32_le(r) : (uint32_t)SL_OK;
    const uint16_t short_address = rd_u16_le(r);
    if (id == EZSP_LOOKUP_SHORT && !r->failed && status == SL_OK && short_address < FIRST_UNUSABLE)
        stick_learn(&e->stick, now_ms, send->node->address, short_address);
    enqueue(e, send->id);
}

void ezsp_sent(struct ezsp *e, int64_t now_ms, const struct ezsp_sent *sent)
{
    if (sent->aps.profile == ZDO_PROFILE && sent->tag == 0)
        return; /* a question of ours */
    const struct ezsp_ruling ruling = ezsp_at_sent(sent->status);
    if (ruling.verdict == VERDICT_DELIVERED)
        e->restarts = 0;
    stick_verdict(&e->stick, now_ms, (uint8_t)(sent->tag <= UINT8_MAX ? sent->tag : 0),
                  ruling.verdict, ruling.again_ms);
}

/* ---- addresses --------------------------------------------------------------------------------- */

void ezsp_learn(struct ezsp *e, int64_t now_ms, uint64_t eui64, uint16_t short_address)
{
    stick_learn(&e->stick, now_ms, eui64, short_address);
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (e->names[i].short_address == short_address)
            e->names[i].state = EZSP_NAME_FREE;
    }
    for (size_t i = 0; i < EZSP_QUESTS; i++) {
        struct ezsp_quest *quest = &e->quests[i];
        if (quest->id == 0 || quest->eui64 != eui64)
            continue;
        if (stick_outstanding(&e->stick, quest->id) != NULL)
            enqueue(e, quest->id);
        quest->id = 0;
    }
}

/* A burst of strangers: the stick shall wait with callbacks until we know who they are. */
static void hold_callbacks(struct ezsp *e, int64_t now_ms)
{
    unsigned wanted = 0;
    for (size_t i = 0; i < STICK_HELD; i++)
        wanted += e->names[i].state == EZSP_NAME_LOOKUP || e->names[i].state == EZSP_NAME_LOOKING;
    ash_hold(&e->ash, now_ms, wanted >= EZSP_NAMES_HOLD);
}

static void want_name(struct ezsp *e, int64_t now_ms, uint16_t short_address)
{
    struct ezsp_name_wanted *room = NULL;
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (e->names[i].state == EZSP_NAME_FREE)
            room = &e->names[i];
        else if (e->names[i].short_address == short_address)
            return;
    }
    if (room == NULL || !stick_is_held(&e->stick, short_address))
        return;
    *room = (struct ezsp_name_wanted){
        .state = EZSP_NAME_LOOKUP,
        .short_address = short_address,
        .until_ms = time_add(now_ms, STICK_HELD_MS),
    };
    hold_callbacks(e, now_ms);
}

static bool look_up_name(struct ezsp *e, int64_t now_ms, uint16_t short_address)
{
    uint8_t room[ASH_DATA_MAX];
    struct writer w = ezsp_request(e, room, EZSP_LOOKUP_EUI64);
    wr_u16_le(&w, short_address);
    return ezsp_command(e, now_ms, &w, EZSP_JOB_FIND_NAME, EZSP_LOOKUP_EUI64, short_address);
}

static bool ask_name(struct ezsp *e, int64_t now_ms, uint16_t short_address)
{
    uint8_t room[ASH_DATA_MAX], question[5];
    const struct ezsp_aps zdo = {.cluster = ZDO_IEEE_ADDR_REQ, .options = EZSP_APS_DEFAULT};
    struct writer q = wr_to(question, sizeof question);
    wr_u8(&q, e->tsn++);
    wr_u16_le(&q, short_address);
    wr_u16(&q, 0);
    struct writer w = ezsp_request(e, room, EZSP_SEND_UNICAST);
    ezsp_wr_unicast(&w, e->version, short_address, &zdo, 0, bytes_of(question, q.len));
    return ezsp_command(e, now_ms, &w, EZSP_JOB_ZDO, EZSP_SEND_UNICAST, 0);
}

bool ezsp_name_next(struct ezsp *e, int64_t now_ms)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        struct ezsp_name_wanted *n = &e->names[i];
        if (n->state == EZSP_NAME_LOOKUP) {
            n->state = EZSP_NAME_LOOKING;
            return look_up_name(e, now_ms, n->short_address);
        }
        if (n->state == EZSP_NAME_ASK) {
            n->state = EZSP_NAME_ASKED;
            return ask_name(e, now_ms, n->short_address);
        }
    }
    return false;
}

void ezsp_name_response(struct ezsp *e, int64_t now_ms, uint16_t id, uint16_t ref, struct reader *r)
{
    const uint32_t status =
        id == EZSP_INVALID_COMMAND ? (uint32_t)SL_FAIL : ezsp_rd_status(r, e->version);
    const uint64_t eui64 = rd_u64_le(r);
    if (status == SL_OK && !r->failed && ezsp_is_eui64(eui64)) {
        ezsp_learn(e, now_ms, eui64, ref);
    } else {
        for (size_t i = 0; i < STICK_HELD; i++) {
            struct ezsp_name_wanted *n = &e->names[i];
            if (n->state == EZSP_NAME_LOOKING && n->short_address == ref)
                n->state = EZSP_NAME_ASK;
        }
    }
    hold_callbacks(e, now_ms);
}

/* ---- packets in -------------------------------------------------------------------------------- */

/* Answers and announcements that tell who has which address. */
static void on_zdo(struct ezsp *e, int64_t now_ms, const struct ezsp_incoming *in)
{
    struct reader r = rd_of(in->message);
    uint64_t eui64;
    uint16_t short_address;
    rd_u8(&r); /* sequence: the answer is as good whoever asked */
    switch (in->aps.cluster) {
    case ZDO_NWK_ADDR_RSP:
    case ZDO_IEEE_ADDR_RSP:
        if (rd_u8(&r) != 0)
            return; /* they don't know */
        eui64 = rd_u64_le(&r);
        short_address = rd_u16_le(&r);
        break;
    case ZDO_DEVICE_ANNOUNCE:
        short_address = rd_u16_le(&r);
        eui64 = rd_u64_le(&r);
        break;
    default:
        return;
    }
    if (r.failed || !ezsp_is_eui64(eui64) || short_address >= FIRST_UNUSABLE)
        e->stick.counters.strange_frames++;
    else
        ezsp_learn(e, now_ms, eui64, short_address);
}

static bool is_ours(const struct ezsp *e, const struct ezsp_aps *aps)
{
    const struct stick_config *c = &e->stick.config;
    return aps->profile == c->profile && aps->cluster == c->cluster &&
           aps->dst_endpoint == c->endpoint;
}

void ezsp_incoming(struct ezsp *e, int64_t now_ms, const struct ezsp_incoming *in)
{
    if (in->type == EZSP_IN_MULTICAST_LOOPBACK || in->type == EZSP_IN_BROADCAST_LOOPBACK)
        return;
    if (in->aps.profile == ZDO_PROFILE && in->aps.dst_endpoint == 0) {
        on_zdo(e, now_ms, in);
        return;
    }
    if (!is_ours(e, &in->aps)) {
        e->stick.counters.foreign++;
        return;
    }
    if (e->phase != EZSP_RUNNING) { /* nobody could answer yet */
        e->stick.counters.unresolved++;
        return;
    }
    const struct stick_radio radio = {
        .to_group = in->type == EZSP_IN_MULTICAST || in->type == EZSP_IN_BROADCAST,
        .has_lqi = true,
        .has_rssi = true,
        .lqi = in->lqi,
        .rssi = in->rssi,
    };
    e->restarts = 0;
    if (in->has_eui64 || e->has_sender) {
        const uint64_t eui64 = in->has_eui64 ? in->eui64 : e->sender;
        stick_heard(&e->stick, now_ms, PEER_EUI64, eui64, in->sender, &radio, in->message);
    } else if (!stick_heard_short(&e->stick, now_ms, in->sender, &radio, in->message)) {
        want_name(e, now_ms, in->sender);
    }
}

/* ---- time -------------------------------------------------------------------------------------- */

int64_t ezsp_names_deadline(const struct ezsp *e)
{
    int64_t at_ms = TIME_NEVER;
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (e->names[i].state != EZSP_NAME_FREE)
            at_ms = time_min(at_ms, e->names[i].until_ms);
    }
    for (size_t i = 0; i < EZSP_QUESTS; i++) {
        if (e->quests[i].id != 0)
            at_ms = time_min(at_ms, e->quests[i].until_ms);
    }
    return at_ms;
}

void ezsp_names_advance(struct ezsp *e, int64_t now_ms)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (e->names[i].state != EZSP_NAME_FREE && e->names[i].until_ms <= now_ms)
            e->names[i].state = EZSP_NAME_FREE;
    }
    hold_callbacks(e, now_ms);
    for (size_t i = 0; i < EZSP_QUESTS; i++) {
        struct ezsp_quest *quest = &e->quests[i];
        if (quest->id == 0 || quest->until_ms > now_ms)
            continue;
        const struct stick_send *send = stick_outstanding(&e->stick, quest->id);
        quest->id = 0;
        if (send == NULL || send->note != NOTE_ASKED)
            continue;
        /* No news: the address that we have may still be right, sleepers don't hear questions. */
        if (send->node->short_address != SHORT_UNKNOWN)
            enqueue(e, send->id);
        else
            stick_verdict(&e->stick, now_ms, send->id, VERDICT_FAILED, 0);
    }
}
