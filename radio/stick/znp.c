/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sticks with Texas Instruments' chips (CC2531 to CC2674, Z-Stack's ZNP firmware): the line and the
 * requests, one at a time (znp_priv.h tells why answers can be late and what is done about it).
 */
#include <stdio.h>

#include "radio/stick/znp_priv.h"

/* ---- requests ---------------------------------------------------------------------------------- */

static int64_t gap_ms(const struct znp *z)
{
    return z->s.config.baud > 0 ? ZNP_GAP_MS : ZNP_GAP_NET_MS;
}

void znp_tell(struct znp *z, uint16_t cmd, struct bytes data)
{
    uint8_t frame[ZNP_FRAME_MAX];
    struct writer w = wr_to(frame, sizeof frame);
    znp_frame_write(&w, cmd, data);
    if (!w.failed && stick_write(&z->s, bytes_of(frame, w.len)))
        z->s.counters.frames_out++;
}

static void transmit_request(struct znp *z, int64_t now_ms, const struct znp_request *request,
                             struct bytes data)
{
    z->current = *request;
    z->current_end_ms = time_add(now_ms, request->timeout_ms);
    znp_tell(z, request->cmd, data);
}

static void send_ping(struct znp *z, int64_t now_ms)
{
    const struct znp_request ping = {.cmd = ZNP_PING, .by = ZNP_BY_PING, .timeout_ms = ZNP_PING_MS};
    z->pings++;
    transmit_request(z, now_ms, &ping, bytes_of(NULL, 0));
}

/* The oldest packet that waits for its turn; NULL when none does any more. */
static struct stick_send *next_packet(struct znp *z)
{
    while (z->packet_count > 0) {
        const uint8_t id = z->packets[z->packet_first++];
        z->packet_count--;
        z->packet_waits[id] = false;
        struct stick_send *send = stick_outstanding(&z->s, id);
        if (send != NULL)
            return send;
    }
    return NULL;
}

static void send_packet(struct znp *z, int64_t now_ms, struct stick_send *send)
{
    uint8_t data[ZNP_DATA_MAX];
    struct writer w = wr_to(data, sizeof data);
    struct znp_request request = {.by = ZNP_BY_SEND, .arg = send->id, .timeout_ms = ZNP_REQUEST_MS};
    znp_packet_encode(z, send, &request, &w);
    stick_await(&z->s, send, now_ms, z->s.confirm_ms);
    transmit_request(z, now_ms, &request, bytes_of(data, wr_close(&w)));
}

/* Whatever is next, if the stick has answered what was before. */
static void next_request(struct znp *z, int64_t now_ms)
{
    if (z->current.cmd != 0 || z->s.state == STICK_GIVEN_UP || z->s.state == STICK_CLOSED)
        return;
    if (z->ping) {
        send_ping(z, now_ms);
        return;
    }
    if (z->count > 0) {
        const struct znp_request request = z->requests[z->first];
        z->first = (z->first + 1) % ZNP_REQUESTS;
        z->count--;
        transmit_request(z, now_ms, &request, bytes_of(request.data, request.len));
        return;
    }
    struct stick_send *send = next_packet(z);
    if (send != NULL)
        send_packet(z, now_ms, send);
}

bool znp_ask(struct znp *z, int64_t now_ms, enum znp_asker by, uint32_t arg, uint16_t cmd,
             struct bytes data)
{
    if (z->count == ZNP_REQUESTS || data.len > ZNP_REQUEST_DATA)
        return false;
    const bool starting = by == ZNP_BY_START;
    struct znp_request *request = &z->requests[(z->first + z->count) % ZNP_REQUESTS];
    *request = (struct znp_request){.cmd = cmd,
                                    .by = (uint8_t)by,
                                    .arg = arg,
                                    .len = (uint8_t)data.len,
                                    .timeout_ms = cmd == ZNP_PING ? ZNP_HELLO_MS
                                                  : starting      ? ZNP_START_MS
                                                                  : ZNP_REQUEST_MS};
    if (data.len > 0)
        memcpy(request->data, data.data, data.len);
    z->count++;
    next_request(z, now_ms);
    return true;
}

void znp_ask_packet(struct znp *z, int64_t now_ms, uint8_t id)
{
    if (!z->packet_waits[id]) {
        z->packet_waits[id] = true;
        z->packets[(uint8_t)(z->packet_first + z->packet_count)] = id;
        z->packet_count++;
    }
    next_request(z, now_ms);
}

static void forget_requests(struct znp *z)
{
    z->count = 0;
    z->packet_count = 0;
    memset(z->packet_waits, 0, sizeof z->packet_waits);
    z->current = (struct znp_request){0};
    z->current_end_ms = TIME_NEVER;
    z->ping = false;
    z->pings = 0;
    z->idle = false;
}

/* A stick that was reset without our hearing of it answers pings, but its network is down and our
 * endpoint is forgotten. Only one that told the state of its running network is judged by it. */
static void on_health(struct znp *z, int64_t now_ms, const struct znp_reply *reply)
{
    struct znp_network network = {0};
    if (reply->none || reply->rpc_error != 0 || !znp_get_network(reply->data, &network))
        return;
    if (z->network.state == ZNP_STATE_COORDINATOR && network.state != ZNP_STATE_COORDINATOR)
        znp_restart(z, now_ms,
                    "the stick does not run its network any more (it was reset, it seems); "
                    "starting that again");
}

static void hand_over(struct znp *z, int64_t now_ms, enum znp_asker by,
                      const struct znp_reply *reply)
{
    switch (by) {
    case ZNP_BY_START:
        znp_start_reply(z, now_ms, reply);
        break;
    case ZNP_BY_SEND:
        znp_packet_reply(z, now_ms, reply);
        break;
    case ZNP_BY_LOOKUP:
        znp_lookup_reply(z, now_ms, reply);
        break;
    case ZNP_BY_FETCH:
        znp_fetch_reply(z, now_ms, reply);
        break;
    case ZNP_BY_HEALTH:
        on_health(z, now_ms, reply);
        break;
    case ZNP_BY_PING:
    case ZNP_BY_NOBODY:
        break;
    }
}

/* The current request is over. */
static void conclude(struct znp *z, int64_t now_ms, struct znp_reply reply)
{
    const enum znp_asker by = z->current.by;
    const bool hello = by == ZNP_BY_START && z->step == ZNP_STEP_HELLO;
    reply.cmd = z->current.cmd;
    reply.arg = z->current.arg;
    z->current = (struct znp_request){0};
    z->current_end_ms = TIME_NEVER;
    if (!reply.none && by == ZNP_BY_PING) {
        z->ping = false;
        z->pings = 0;
        if (z->idle)
            znp_ask(z, now_ms, ZNP_BY_HEALTH, 0, ZNP_EXT_NWK_INFO, bytes_of(NULL, 0));
        z->idle = false;
    } else if (reply.none && !hello) {
        z->ping = true;
    }
    if (reply.none && z->pings >= ZNP_PINGS) {
        stick_reopen(&z->s, now_ms,
                     "the stick has stopped answering: if opening it again does not help, unplug "
                     "it and plug it in again");
        return;
    }
    hand_over(z, now_ms, by, &reply);
    next_request(z, now_ms);
}

/* ---- what the stick says ----------------------------------------------------------------------- */

static void on_answer(struct znp *z, int64_t now_ms, const struct znp_frame *frame)
{
    struct znp_reply reply = {.data = frame->data};
    uint16_t request = (uint16_t)(frame->cmd - 0x4000);
    if (frame->cmd == ZNP_RPC_ERROR) {
        struct reader r = rd_of(frame->data);
        reply.rpc_error = rd_u8(&r);
        request = rd_u16(&r);
        reply.data = rd_rest(&r);
        if (r.failed || reply.rpc_error == 0)
            request = 0;
    }
    if (request == 0 || z->current.cmd != request) {
        z->s.counters.strange_frames++; /* late, or the answer to nothing */
        return;
    }
    conclude(z, now_ms, reply);
}

static void on_reset(struct znp *z, int64_t now_ms, struct bytes data)
{
    static const char *const reasons[] = {"power", "its reset pin", "its watchdog"};

    struct reader r = rd_of(data);
    const uint8_t reason = rd_u8(&r);
    if (z->s.state == STICK_RUNNING) {
        char why[96];
        z->s.counters.stick_resets++;
        snprintf(why, sizeof why, "the stick has reset itself (%s)",
                 reason < sizeof reasons / sizeof reasons[0] ? reasons[reason] : "unknown reason");
        znp_restart(z, now_ms, why);
    } else {
        znp_start_reset(z, now_ms);
    }
}

static void on_indication(struct znp *z, int64_t now_ms, const struct znp_frame *frame)
{
    struct reader r = rd_of(frame->data);
    switch (frame->cmd) {
    case ZNP_RESET_IND:
        on_reset(z, now_ms, frame->data);
        return;
    case ZNP_STATE_CHANGE:
        if (rd_left(&r) > 0)
            znp_start_state(z, now_ms, rd_u8(&r));
        return;
    case ZNP_BDB_NOTIFY:
        if (rd_left(&r) > 0)
            znp_start_bdb(z, now_ms, rd_u8(&r));
        return;
    case ZNP_SRC_RTG:
    case ZNP_CONCENTRATOR:
    case ZNP_PERMIT_JOIN:
    case ZNP_PERMIT_JOIN_RSP:
        return;
    default:
        if (!znp_data_heard(z, now_ms, frame))
            z->s.counters.strange_frames++;
    }
}

static void on_frame(struct znp *z, int64_t now_ms, const struct znp_frame *frame)
{
    z->s.counters.frames_in++;
    z->heard_ms = now_ms;
    switch (frame->cmd >> 13) {
    case 3:
        on_answer(z, now_ms, frame);
        break;
    case 2:
        on_indication(z, now_ms, frame);
        break;
    default:
        z->heard_echo |= frame->cmd == ZNP_PING;
        z->s.counters.strange_frames++;
    }
}

static bool is_open(const struct znp *z)
{
    return z->s.state == STICK_STARTING || z->s.state == STICK_RUNNING;
}

static void take_frames(struct znp *z, int64_t now_ms)
{
    struct znp_frame frame;
    while (is_open(z) && znp_framer_next(&z->in, &frame))
        on_frame(z, now_ms, &frame);
    z->partial_ms = znp_framer_partial(&z->in) ? now_ms : TIME_NEVER;
    z->s.counters.bad_frames = z->in.bad;
    z->s.counters.skipped_bytes = z->in.skipped;
}

static void input(struct stick *s, int64_t now_ms, struct bytes in)
{
    struct znp *z = znp_of(s);
    z->heard_octets |= in.len > 0;
    while (in.len > 0 && is_open(z)) {
        const size_t n = znp_framer_put(&z->in, in);
        in = bytes_of(in.data + n, in.len - n);
        take_frames(z, now_ms);
    }
}

/* ---- time -------------------------------------------------------------------------------------- */

static int64_t idle_at(const struct znp *z)
{
    return z->s.state == STICK_RUNNING && z->current.cmd == 0 ? time_add(z->heard_ms, ZNP_IDLE_MS)
                                                              : TIME_NEVER;
}

static int64_t partial_at(const struct znp *z)
{
    return time_add(z->partial_ms, gap_ms(z));
}

static void advance(struct stick *s, int64_t now_ms)
{
    struct znp *z = znp_of(s);
    while (partial_at(z) <= now_ms) {
        znp_framer_give_up(&z->in);
        take_frames(z, now_ms);
        /* What is left has waited as long. */
        if (z->partial_ms != TIME_NEVER)
            z->partial_ms = now_ms - gap_ms(z);
    }
    if (is_open(z) && z->current_end_ms <= now_ms)
        conclude(z, now_ms, (struct znp_reply){.none = true});
    if (is_open(z) && z->step_ms <= now_ms)
        znp_start_due(z, now_ms);
    if (is_open(z))
        znp_data_due(z, now_ms);
    if (is_open(z) && idle_at(z) <= now_ms) {
        z->ping = z->idle = true;
        next_request(z, now_ms);
    }
}

static int64_t next_deadline(const struct stick *s)
{
    const struct znp *z = (const struct znp *)s;
    const int64_t a = time_min(partial_at(z), z->current_end_ms);
    const int64_t b = time_min(z->step_ms, znp_data_deadline(z));
    return time_min(time_min(a, b), idle_at(z));
}

/* ---- the driver -------------------------------------------------------------------------------- */

static void forget_all(struct znp *z)
{
    forget_requests(z);
    znp_data_reset(z);
    z->step = ZNP_STEP_NONE;
    z->step_ms = TIME_NEVER;
    z->phase_end_ms = TIME_NEVER;
}

void znp_restart(struct znp *z, int64_t now_ms, const char *why)
{
    enum { AFTER_MS = 100 };

    forget_all(z);
    stick_down(&z->s, now_ms, why);
    znp_start(z, now_ms, AFTER_MS);
}

static void init(struct stick *s)
{
    struct znp *z = znp_of(s);
    z->partial_ms = TIME_NEVER;
    z->refused_ms = INT64_MIN;
    forget_all(z);
}

static void closed(struct stick *s)
{
    struct znp *z = znp_of(s);
    znp_framer_reset(&z->in);
    z->partial_ms = TIME_NEVER;
    forget_all(z);
}

static void opened(struct stick *s, int64_t now_ms)
{
    struct znp *z = znp_of(s);
    z->heard_octets = z->heard_echo = false;
    z->heard_ms = now_ms;
    z->resets = 0;
    z->reset_done = false;
    znp_start(z, now_ms, 0);
}

static void transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    znp_ask_packet(znp_of(s), now_ms, send->id);
}

const struct stick_driver stick_znp = {
    .name = "znp",
    .size = sizeof(struct znp),
    .reports = true,
    .init = init,
    .opened = opened,
    .closed = closed,
    .input = input,
    .advance = advance,
    .next_deadline = next_deadline,
    .transmit = transmit,
    .permit_join = znp_permit_join,
};
