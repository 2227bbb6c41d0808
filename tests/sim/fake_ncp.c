/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/fake_ncp.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPEAT_MS = 1600, EUI64_LOW = 0x21A81179, EUI64_HIGH = 0x00124B00 };

static void must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "fake_ncp: %s\n", what);
    abort();
}

/* ---- ASH --------------------------------------------------------------------------------------- */

void ncp_raw(struct ncp_world *w, struct bytes octets)
{
    if (!w->line_cut)
        stick_input(w->stick, w->now_ms, octets);
}

static void say(struct ncp_world *w, const struct ash_frame *f)
{
    uint8_t wire[ASH_WIRE_MAX];
    ncp_raw(w, bytes_of(wire, ash_encode(f, wire, sizeof wire)));
}

void ncp_says(struct ncp_world *w, enum ash_type type, uint8_t code)
{
    say(w, &(struct ash_frame){.type = type, .version = 2, .code = code, .ack_num = w->ncp.frm_rx});
}

static void say_first(struct ncp_world *w, bool re_tx)
{
    struct ncp *n = &w->ncp;
    const struct ncp_frame *f = &n->queue[n->queue_at];
    const struct ash_frame data = {
        .type = ASH_DATA,
        .frm_num = n->frm_tx,
        .ack_num = n->frm_rx,
        .re_tx = re_tx,
        .data = bytes_of(f->octets, f->len),
    };
    n->waiting = true;
    n->repeat_at_ms = w->now_ms + REPEAT_MS;
    if (n->lose_data > 0) {
        n->lose_data--;
        return;
    }
    if (n->lose_acks == 0)
        n->ack_due = false;
    say(w, &data);
}

static void queue(struct ncp_world *w, struct bytes frame)
{
    struct ncp *n = &w->ncp;
    must(frame.len >= ASH_DATA_MIN && frame.len <= ASH_DATA_MAX, "a frame of no length");
    must(n->queued < NCP_QUEUE || n->lenient, "queue full");
    if (n->queued == NCP_QUEUE)
        return;
    struct ncp_frame *f = &n->queue[(n->queue_at + n->queued++) % NCP_QUEUE];
    memcpy(f->octets, frame.data, frame.len);
    f->len = frame.len;
}

static void take_ack(struct ncp *n, uint8_t ack_num)
{
    if (!n->waiting || ack_num != ((n->frm_tx + 1) & 7))
        return;
    n->waiting = false;
    n->frm_tx = ack_num;
    n->queue_at = (n->queue_at + 1) % NCP_QUEUE;
    n->queued--;
}

/* ---- EZSP -------------------------------------------------------------------------------------- */

static void wr_response(struct ncp *n, struct writer *w, uint8_t fc, uint16_t id, bool legacy)
{
    wr_u8(w, n->seq);
    wr_u8(w, fc);
    if (!legacy)
        wr_u8(w, 1);
    if (legacy)
        wr_u8(w, (uint8_t)id);
    else
        wr_u16_le(w, id);
}

void ncp_response(struct ncp_world *w, uint8_t seq, uint16_t id, struct bytes parameters)
{
    uint8_t room[ASH_DATA_MAX];
    struct writer out = wr_to(room, sizeof room);
    wr_u8(&out, seq);
    wr_u16_le(&out, 0x0180);
    wr_u16_le(&out, id);
    wr_bytes(&out, parameters);
    queue(w, bytes_of(room, wr_close(&out)));
}

static void wr_status(const struct ncp *n, struct writer *w, uint32_t status)
{
    if (n->version >= EZSP_WIDE)
        wr_u32_le(w, status);
    else
        wr_u8(w, (uint8_t)status);
}

void ncp_callback(struct ncp_world *w, int64_t after_ms, uint16_t id, struct bytes parameters)
{
    struct ncp *n = &w->ncp;
    must(n->n_later < NCP_LATER || n->lenient, "too many later");
    if (n->n_later == NCP_LATER)
        return;
    struct ncp_frame *f = &n->later[n->n_later++];
    struct writer out = wr_to(f->octets, sizeof f->octets);
    wr_response(n, &out, 0x90 | n->frame_control, id, false);
    wr_bytes(&out, parameters);
    f->len = wr_close(&out);
    f->at_ms = w->now_ms + after_ms;
}

void ncp_status(struct ncp_world *w, uint32_t ember, uint32_t sl)
{
    uint8_t room[4];
    struct writer out = wr_to(room, sizeof room);
    wr_status(&w->ncp, &out, w->ncp.version >= EZSP_WIDE ? sl : ember);
    ncp_callback(w, 0, EZSP_STACK_STATUS, bytes_of(room, out.len));
}

static void wr_aps(struct writer *w, const struct ezsp_aps *aps)
{
    wr_u16_le(w, aps->profile);
    wr_u16_le(w, aps->cluster);
    wr_u8(w, aps->src_endpoint);
    wr_u8(w, aps->dst_endpoint);
    wr_u16_le(w, aps->options);
    wr_u16_le(w, aps->group);
    wr_u8(w, aps->sequence);
}

void ncp_message(struct ncp_world *w, uint8_t type, uint16_t sender, uint64_t eui64,
                 const struct ezsp_aps *aps, struct bytes message)
{
    uint8_t room[ASH_DATA_MAX];
    struct writer out = wr_to(room, sizeof room);
    wr_u8(&out, type);
    wr_aps(&out, aps);
    if (w->ncp.version >= EZSP_WIDE) {
        wr_u16_le(&out, sender);
        wr_u64_le(&out, eui64);
        wr_u16_le(&out, 0xFFFF);
        wr_u8(&out, 200);
        wr_u8(&out, (uint8_t)-40);
        wr_u32_le(&out, 0);
    } else {
        wr_u8(&out, 200);
        wr_u8(&out, (uint8_t)-40);
        wr_u16_le(&out, sender);
        wr_u16_le(&out, 0xFFFF);
    }
    wr_u8(&out, (uint8_t)message.len);
    wr_bytes(&out, message);
    ncp_callback(w, 0, EZSP_INCOMING_MESSAGE, bytes_of(room, wr_close(&out)));
}

/* messageSent repeats destination, APS frame and tag of the request. */
static void later_sent(struct ncp_world *w, bool broadcast, struct reader r)
{
    const struct ncp *n = &w->ncp;
    const bool wide = n->version >= EZSP_WIDE;
    uint8_t room[64];
    struct writer out = wr_to(room, sizeof room);
    if (wide)
        wr_u32_le(&out, n->sent_status);
    rd_bytes(&r, broadcast ? (wide ? 2 : 0) : 1);
    wr_u8(&out, broadcast ? 4 : 0);
    wr_bytes(&out, rd_bytes(&r, 2));
    if (broadcast && wide)
        rd_bytes(&r, 1);
    wr_bytes(&out, rd_bytes(&r, 11));
    if (broadcast)
        rd_bytes(&r, 1);
    wr_bytes(&out, rd_bytes(&r, wide ? 2 : 1));
    if (!wide)
        wr_u8(&out, (uint8_t)n->sent_status);
    wr_u8(&out, 0);
    must(!r.failed, "a send that ends early");
    if (n->sent_after_ms >= 0)
        ncp_callback(w, n->sent_after_ms, EZSP_MESSAGE_SENT, bytes_of(room, wr_close(&out)));
}

static void wr_parameters(struct ncp *n, struct writer *out)
{
    wr_u8(out, 1);
    wr_u64_le(out, 0xDDDDDDDDDDDDDDDD);
    wr_u16_le(out, n->pan_id);
    wr_u8(out, 5);
    wr_u8(out, n->channel);
    wr_u32_le(out, 0);
    wr_u32_le(out, 0x07FFF800);
}

static void network_up(struct ncp_world *w)
{
    w->ncp.has_network = true;
    if (!w->ncp.no_up)
        ncp_status(w, 0x90, SL_NETWORK_UP);
}

/* Everything behind the header of the response. */
static void wr_answer(struct ncp_world *w, uint16_t id, struct reader r, struct writer *out)
{
    struct ncp *n = &w->ncp;
    const uint32_t status = n->status_of[id];
    switch (id) {
    case EZSP_VERSION:
        wr_u8(out, n->version);
        wr_u8(out, 2);
        wr_u16_le(out, 0x7430);
        return;
    case EZSP_NETWORK_INIT:
        wr_status(n, out, n->has_network ? status : n->version >= EZSP_WIDE ? 0x17U : 0x93U);
        if (n->has_network && status == 0)
            network_up(w);
        return;
    case EZSP_FORM_NETWORK:
        rd_bytes(&r, 8);
        n->pan_id = rd_u16_le(&r);
        rd_u8(&r);
        n->channel = rd_u8(&r);
        wr_status(n, out, status);
        if (status == 0)
            network_up(w);
        return;
    case EZSP_GET_EUI64:
        wr_u64_le(out, (uint64_t)EUI64_HIGH << 32 | EUI64_LOW);
        return;
    case EZSP_MAXIMUM_PAYLOAD_LENGTH:
        wr_u8(out, n->max_payload);
        return;
    case EZSP_CLEAR_TRANSIENT:
    case EZSP_NOP:
        return;
    case EZSP_LOOKUP_SHORT:
        if (n->version >= EZSP_WIDE)
            wr_u32_le(out, n->short_of_node != 0 ? 0 : 1);
        wr_u16_le(out, n->short_of_node != 0 ? n->short_of_node : 0xFFFF);
        return;
    case EZSP_LOOKUP_EUI64:
        wr_status(n, out, n->eui64_of_node != 0 ? 0 : 1);
        wr_u64_le(out, n->eui64_of_node);
        return;
    case EZSP_IMPORT_TRANSIENT:
        wr_u32_le(out, status);
        return;
    default:
        break;
    }
    wr_status(n, out, status);
    if (id == EZSP_GET_NETWORK_PARAMETERS)
        wr_parameters(n, out);
    if (id == EZSP_GET_CONFIGURATION)
        wr_u16_le(out, n->unicasts);
    if (id == EZSP_SEND_UNICAST || id == EZSP_SEND_BROADCAST) {
        wr_u8(out, 0x21);
        if (status == 0)
            later_sent(w, id == EZSP_SEND_BROADCAST, r);
    }
}

static void on_command(struct ncp_world *w, struct bytes in)
{
    struct ncp *n = &w->ncp;
    struct reader r = rd_of(in);
    n->seq = rd_u8(&r);
    rd_u8(&r);
    const bool legacy = n->n_asked == 0;
    uint16_t id = legacy ? rd_u8(&r) : rd_u8(&r) == 1 ? rd_u16_le(&r) : 0xFFFF;
    const bool understood = !r.failed && id < NCP_IDS && (n->n_asked > 0 || id == EZSP_VERSION);
    must(understood || n->lenient, "a request that nobody understands, or not version first");
    if (!understood)
        return;
    n->order[n->n_asked++ % 256] = id;
    n->asked[id]++;
    struct ncp_frame *last = &n->last[id];
    last->len = rd_left(&r);
    memcpy(last->octets, r.at, last->len);
    if (n->mute_id[id])
        return;
    uint8_t room[ASH_DATA_MAX];
    struct writer out = wr_to(room, sizeof room);
    if (n->unknown_id[id]) {
        wr_response(n, &out, 0x80, EZSP_INVALID_COMMAND, false);
        wr_status(n, &out, 0x31);
    } else {
        wr_response(n, &out, 0x80 | n->frame_control, id, legacy);
        wr_answer(w, id, r, &out);
    }
    if (n->up_first && n->n_later > 0 && (id == EZSP_NETWORK_INIT || id == EZSP_FORM_NETWORK)) {
        n->n_later--;
        queue(w, bytes_of(n->later[0].octets, n->later[0].len));
    }
    queue(w, bytes_of(room, wr_close(&out)));
}

/* ---- what comes from the host ------------------------------------------------------------------ */

static void on_rst(struct ncp_world *w)
{
    struct ncp *n = &w->ncp;
    if (n->deaf_resets > 0) {
        n->deaf_resets--;
        return;
    }
    n->resets++;
    n->frm_rx = n->frm_tx = 0;
    n->waiting = n->ack_due = false;
    n->queued = n->n_later = 0;
    n->n_asked = 0;
    n->repeat_at_ms = TIME_NEVER;
    if (n->reset_code != 0)
        ncp_says(w, ASH_RSTACK, n->reset_code);
}

static void on_frame(struct ncp_world *w, const struct ash_frame *f)
{
    struct ncp *n = &w->ncp;
    n->not_ready += f->type == ASH_ACK && f->not_ready;
    if (f->type == ASH_RST)
        on_rst(w);
    if (f->type == ASH_DATA || f->type == ASH_ACK || f->type == ASH_NAK)
        take_ack(n, f->ack_num);
    if (f->type == ASH_NAK) {
        n->nacks++;
        if (n->waiting)
            say_first(w, true);
    }
    if (f->type != ASH_DATA)
        return;
    if (n->nak_next > 0) {
        n->nak_next--;
        ncp_says(w, ASH_NAK, 0);
        return;
    }
    n->ack_due = true;
    if (f->frm_num != n->frm_rx) {
        n->duplicates++;
        return;
    }
    n->frm_rx = (n->frm_rx + 1) & 7;
    on_command(w, f->data);
}

static bool carry(struct ncp_world *w)
{
    struct ncp *n = &w->ncp;
    struct bytes out;
    if (!stick_peek_bytes(w->stick, &out))
        return false;
    const size_t len = out.len;
    must(len <= sizeof w->wire, "more than the port's buffer");
    memcpy(w->wire, out.data, len);
    stick_took(w->stick, w->now_ms, len);
    if (w->line_cut)
        return true;
    struct reader r = rd_of(bytes_of(w->wire, len));
    struct ash_frame f;
    while (ash_deframe(&n->rx, &r, &f) == ASH_FOUND)
        on_frame(w, &f);
    return true;
}

static bool speak(struct ncp_world *w)
{
    struct ncp *n = &w->ncp;
    for (size_t i = 0; i < n->n_later; i++) {
        if (n->later[i].at_ms > w->now_ms)
            continue;
        queue(w, bytes_of(n->later[i].octets, n->later[i].len));
        n->n_later--;
        memmove(&n->later[i], &n->later[i + 1], (n->n_later - i) * sizeof n->later[0]);
        i--;
    }
    if (n->queued > 0 && (!n->waiting || n->repeat_at_ms <= w->now_ms)) {
        say_first(w, n->waiting);
        return true;
    }
    if (!n->ack_due)
        return false;
    n->ack_due = false;
    if (n->lose_acks > 0)
        n->lose_acks--;
    else
        ncp_says(w, ASH_ACK, 0);
    return true;
}

/* ---- the gateway's side ------------------------------------------------------------------------ */

static void on_event(struct ncp_world *w, const struct stick_event *e)
{
    struct reader r;
    switch (e->type) {
    case STICK_EV_PACKET:
        w->packets++;
        r = rd_of(bytes_of(e->peer->bytes, e->peer->addr_len));
        w->from = rd_u64(&r);
        w->to_group = e->to_group;
        memcpy(w->packet_room, e->packet.data, e->packet.len);
        w->packet = bytes_of(w->packet_room, e->packet.len);
        break;
    case STICK_EV_OUTCOME:
        w->outcomes[e->outcome]++;
        break;
    case STICK_EV_UP:
        w->ups++;
        w->max_packet_bytes = e->max_packet_bytes;
        snprintf(w->up, sizeof w->up, "%s", e->text);
        break;
    case STICK_EV_DOWN:
        w->downs++;
        snprintf(w->text, sizeof w->text, "%s", e->text);
        break;
    case STICK_EV_REOPEN:
        w->reopens++;
        snprintf(w->text, sizeof w->text, "%s", e->text);
        break;
    case STICK_EV_LOG: {
        const size_t n = strlen(w->logged);
        w->warnings += e->level <= LOG_WARN;
        snprintf(w->logged + n, sizeof w->logged - n, "%s %s\n", e->name, e->text);
        break;
    }
    case STICK_EV_PORT:
    case STICK_EV_FAMILY:
        break;
    }
}

static void settle(struct ncp_world *w)
{
    struct stick_event e;
    bool any = true;
    for (unsigned turns = 0; any; turns++) {
        must(turns < 100000, "the same instant for ever");
        stick_advance(w->stick, w->now_ms);
        any = carry(w);
        any = speak(w) || any;
        while (stick_peek_event(w->stick, &e)) {
            on_event(w, &e);
            stick_done_event(w->stick);
        }
    }
    must(stick_next_deadline(w->stick) > w->now_ms, "the deadline is not in the future");
}

static int64_t next_ms(const struct ncp_world *w)
{
    const struct ncp *n = &w->ncp;
    int64_t at_ms = stick_next_deadline(w->stick);
    if (n->queued > 0 && n->waiting)
        at_ms = time_min(at_ms, n->repeat_at_ms);
    for (size_t i = 0; i < n->n_later; i++)
        at_ms = time_min(at_ms, n->later[i].at_ms);
    return at_ms;
}

void ncp_world_run(struct ncp_world *w, int64_t ms)
{
    const int64_t until_ms = w->now_ms + ms;
    settle(w);
    while (w->now_ms < until_ms) {
        w->now_ms = time_min(until_ms, next_ms(w));
        settle(w);
    }
}

struct ncp_world *ncp_world_new(uint8_t version, const struct stick_config *config)
{
    struct ncp_world *w = calloc(1, sizeof *w);
    must(w != NULL, "out of memory");
    w->now_ms = 1000;
    struct ncp *n = &w->ncp;
    n->version = version;
    n->has_network = true;
    n->channel = 15;
    n->pan_id = 0x1A62;
    n->max_payload = 82;
    n->unicasts = 10;
    n->reset_code = ASH_RESET_SOFTWARE;
    n->sent_after_ms = 20;
    n->repeat_at_ms = TIME_NEVER;
    w->stick = stick_new(&stick_ezsp, config, w->now_ms);
    must(w->stick != NULL, "out of memory");
    return w;
}

void ncp_world_free(struct ncp_world *w)
{
    stick_free(w->stick);
    free(w);
}

void ncp_world_start(struct ncp_world *w)
{
    const unsigned ups = w->ups;
    stick_opened(w->stick, w->now_ms);
    for (unsigned i = 0; i < 600 && w->ups == ups; i++)
        ncp_world_run(w, 100);
    if (w->ups == ups)
        fprintf(stderr, "%s%s\n", w->logged, w->text);
    must(w->ups > ups, "not up after a minute");
}

void ncp_world_send(struct ncp_world *w, uint64_t eui64, struct bytes packet)
{
    struct peer_room room;
    uint8_t address[8];
    struct writer out = wr_to(address, sizeof address);
    wr_u64(&out, eui64);
    stick_send(w->stick, w->now_ms,
               peer_make(&room, 0, PEER_EUI64, bytes_of(address, sizeof address)), packet);
    settle(w);
}

void ncp_world_send_group(struct ncp_world *w, struct bytes packet)
{
    struct peer_room room;
    stick_send(w->stick, w->now_ms, peer_make_group(&room, 0, 3), packet);
    settle(w);
}

int ncp_asked_at(const struct ncp *ncp, uint16_t id)
{
    for (unsigned i = 0; i < ncp->n_asked && i < 256; i++) {
        if (ncp->order[i] == id)
            return (int)i;
    }
    return -1;
}
