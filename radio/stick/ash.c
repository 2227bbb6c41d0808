/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of an ASH line. What has to be said is kept as flags and said by ash_output(), so
 * an acknowledgement rides on the next DATA when there is one, and a flood of NAKs makes one
 * repetition.
 */
#include "radio/stick/ash.h"

#include <string.h>

static uint8_t after(uint8_t number)
{
    return (uint8_t)((number + 1) & 7);
}

void ash_init(struct ash *a, int64_t t_ack_ms)
{
    *a = (struct ash){.t_first_ms = t_ack_ms};
    ash_stop(a);
}

void ash_stop(struct ash *a)
{
    a->state = ASH_IDLE;
    a->tx = ASH_TX_IDLE;
    a->connect_at_ms = a->ack_at_ms = a->nrdy_at_ms = TIME_NEVER;
    a->rst_due = a->ack_due = a->nak_due = a->nrdy_due = false;
    a->rejecting = a->not_ready = false;
}

void ash_connect(struct ash *a, int64_t now_ms)
{
    ash_stop(a);
    ash_deframer_begin(&a->rx);
    a->state = ASH_CONNECTING;
    a->tries = 1;
    a->noise = false;
    a->rst_due = true;
    a->connect_at_ms = time_add(now_ms, ASH_CONNECT_MS);
}

bool ash_ready(const struct ash *a)
{
    return a->state == ASH_CONNECTED && a->tx == ASH_TX_IDLE;
}

bool ash_send(struct ash *a, struct bytes data)
{
    if (!ash_ready(a) || data.len < ASH_DATA_MIN || data.len > ASH_DATA_MAX)
        return false;
    memcpy(a->data, data.data, data.len);
    a->data_len = (uint16_t)data.len;
    a->tx = ASH_TX_DUE;
    a->repeats = 0;
    a->timeouts = 0;
    return true;
}

void ash_hold(struct ash *a, int64_t now_ms, bool hold)
{
    if (a->state != ASH_CONNECTED || a->not_ready == hold)
        return;
    a->not_ready = hold;
    a->nrdy_due = true;
    a->nrdy_at_ms = hold ? time_add(now_ms, ASH_NRDY_MS) : TIME_NEVER;
}

/* ---- receiving --------------------------------------------------------------------------------- */

static void connected(struct ash *a)
{
    ash_stop(a);
    a->state = ASH_CONNECTED;
    a->frm_tx = 0;
    a->frm_rx = 0;
    a->fresh = true;
    a->t_ack_ms = a->t_first_ms;
    a->ack_due = true;
}

static int64_t clamp_ack(int64_t ms)
{
    return ms < ASH_T_ACK_MIN_MS ? ASH_T_ACK_MIN_MS : ms > ASH_T_ACK_MAX_MS ? ASH_T_ACK_MAX_MS : ms;
}

/* Was anything with that number sent? */
static bool ack_is_valid(const struct ash *a, uint8_t ack_num)
{
    const bool on_air = a->tx == ASH_TX_WAITING || (a->tx == ASH_TX_DUE && a->repeats > 0);
    return ack_num == a->frm_tx || (on_air && ack_num == after(a->frm_tx));
}

static void take_ack(struct ash *a, int64_t now_ms, uint8_t ack_num)
{
    if (ack_num == a->frm_tx)
        return;
    if (a->repeats == 0)
        a->t_ack_ms = clamp_ack(a->t_ack_ms * 7 / 8 + (now_ms - a->sent_ms) / 2);
    a->frm_tx = after(a->frm_tx);
    a->fresh = false;
    a->tx = ASH_TX_IDLE;
    a->ack_at_ms = TIME_NEVER;
}

/* Once per disturbance: the stick repeats everything from there. */
static void reject(struct ash *a)
{
    if (!a->rejecting)
        a->nak_due = true;
    a->rejecting = true;
}

static void repeat(struct ash *a)
{
    a->tx = ASH_TX_DUE;
    a->repeats++;
    a->repeated++;
    a->ack_at_ms = TIME_NEVER;
}

static bool end(struct ash *a, struct ash_event *out, enum ash_event_type type, uint8_t code)
{
    ash_stop(a);
    *out = (struct ash_event){.type = type, .code = code};
    return true;
}

static bool on_data(struct ash *a, int64_t now_ms, const struct ash_frame *f, struct ash_event *out)
{
    if (!ack_is_valid(a, f->ack_num)) {
        a->bad_frames++;
        reject(a);
        return false;
    }
    take_ack(a, now_ms, f->ack_num);
    if (f->frm_num == a->frm_rx) {
        a->frm_rx = after(a->frm_rx);
        a->fresh = false;
        a->rejecting = false;
        a->nak_due = false;
        a->ack_due = true;
        *out = (struct ash_event){.type = ASH_EV_DATA, .data = f->data};
        return true;
    }
    if (f->re_tx) {
        a->duplicates++;
        a->ack_due = true;
    } else {
        a->out_of_order++;
        reject(a);
    }
    return false;
}

static bool on_ack(struct ash *a, int64_t now_ms, const struct ash_frame *f, struct ash_event *out)
{
    if (!ack_is_valid(a, f->ack_num)) {
        a->bad_frames++;
        return false;
    }
    take_ack(a, now_ms, f->ack_num);
    if (f->type != ASH_NAK || a->tx != ASH_TX_WAITING)
        return false;
    repeat(a);
    return a->repeats > ASH_REPEATS && end(a, out, ASH_EV_LOST, 0);
}

/* While connecting only the answer to our RST counts; a stick that just got its power says RSTACK
 * as well, and may have been deaf to the RST. */
static bool on_connecting(struct ash *a, int64_t now_ms, const struct ash_frame *f,
                          struct ash_event *out)
{
    if (f->type != ASH_RSTACK || f->version != ASH_VERSION)
        return false;
    if (f->code == ASH_RESET_SOFTWARE) {
        connected(a);
        *out = (struct ash_event){.type = ASH_EV_CONNECTED};
        return true;
    }
    a->noise = true;
    a->other_reset = f->code;
    a->connect_at_ms = time_min(a->connect_at_ms, time_add(now_ms, ASH_NOISE_MS));
    return false;
}

static bool on_frame(struct ash *a, int64_t now_ms, const struct ash_frame *f,
                     struct ash_event *out)
{
    if (a->state != ASH_CONNECTED)
        return a->state == ASH_CONNECTING && on_connecting(a, now_ms, f, out);
    switch (f->type) {
    case ASH_DATA:
        return on_data(a, now_ms, f, out);
    case ASH_ACK:
    case ASH_NAK:
        return on_ack(a, now_ms, f, out);
    case ASH_RSTACK: /* said twice, or the answer to an earlier RST: both ends begin at 0 anyway */
        return !(a->fresh && f->code == ASH_RESET_SOFTWARE) &&
               end(a, out, ASH_EV_REBOOTED, f->code);
    case ASH_ERROR:
        return end(a, out, ASH_EV_FAILED, f->code);
    case ASH_RST: /* only a host says that: another one, or our own echo */
        a->bad_frames++;
        break;
    }
    return false;
}

bool ash_next(struct ash *a, int64_t now_ms, struct reader *in, struct ash_event *out)
{
    struct ash_frame frame;
    for (;;) {
        switch (ash_deframe(&a->rx, in, &frame)) {
        case ASH_NOTHING:
            return false;
        case ASH_FOUND:
            a->frames_in++;
            if (on_frame(a, now_ms, &frame, out))
                return true;
            break;
        case ASH_BAD_DATA:
            if (a->state == ASH_CONNECTED)
                reject(a);
            a->bad_frames++;
            break;
        case ASH_BAD:
            a->bad_frames++;
            break;
        }
    }
}

/* ---- time -------------------------------------------------------------------------------------- */

int64_t ash_next_deadline(const struct ash *a)
{
    return time_min(a->connect_at_ms, time_min(a->ack_at_ms, a->nrdy_at_ms));
}

enum ash_event_type ash_advance(struct ash *a, int64_t now_ms)
{
    struct ash_event lost;
    if (a->nrdy_at_ms <= now_ms) {
        a->nrdy_due = true;
        a->nrdy_at_ms = time_add(now_ms, ASH_NRDY_MS);
    }
    if (a->connect_at_ms <= now_ms) {
        if (a->tries == ASH_CONNECT_TRIES) {
            end(a, &lost, ASH_EV_SILENT, 0);
            return ASH_EV_SILENT;
        }
        a->tries++;
        a->rst_due = true;
        a->connect_at_ms = time_add(now_ms, ASH_CONNECT_MS);
    }
    if (a->ack_at_ms <= now_ms) {
        a->timeouts++;
        a->t_ack_ms = clamp_ack(a->t_ack_ms * 2);
        repeat(a);
        if (a->timeouts > ASH_TIMEOUTS || a->repeats > ASH_REPEATS) {
            end(a, &lost, ASH_EV_LOST, 0);
            return ASH_EV_LOST;
        }
    }
    return ASH_EV_NONE;
}

/* ---- sending ----------------------------------------------------------------------------------- */

static bool say(struct ash *a, const struct ash_frame *frame, struct bytes *out)
{
    *out = bytes_of(a->wire, ash_encode(frame, a->wire, sizeof a->wire));
    a->frames_out++;
    return true;
}

static bool say_rst(struct ash *a, struct bytes *out)
{
    const struct ash_frame rst = {.type = ASH_RST};
    a->rst_due = false;
    a->frames_out++;
    a->wire[0] = ASH_CANCEL; /* whatever the stick has half received is over */
    *out = bytes_of(a->wire, 1 + ash_encode(&rst, a->wire + 1, sizeof a->wire - 1));
    return true;
}

static bool say_data(struct ash *a, int64_t now_ms, struct bytes *out)
{
    const struct ash_frame data = {
        .type = ASH_DATA,
        .frm_num = a->frm_tx,
        .ack_num = a->frm_rx,
        .re_tx = a->repeats > 0,
        .data = bytes_of(a->data, a->data_len),
    };
    a->tx = ASH_TX_WAITING;
    a->sent_ms = now_ms;
    a->ack_at_ms = time_add(now_ms, a->t_ack_ms);
    a->ack_due = false;
    return say(a, &data, out);
}

bool ash_output(struct ash *a, int64_t now_ms, struct bytes *out)
{
    if (a->rst_due)
        return say_rst(a, out);
    if (a->tx == ASH_TX_DUE)
        return say_data(a, now_ms, out);
    if (!a->nak_due && !a->ack_due && !a->nrdy_due)
        return false;
    const struct ash_frame frame = {
        .type = a->nak_due ? ASH_NAK : ASH_ACK,
        .ack_num = a->frm_rx,
        .not_ready = a->not_ready && !a->rejecting, /* what comes again is not to be held */
    };
    a->nak_due = a->ack_due = a->nrdy_due = false;
    return say(a, &frame, out);
}

const char *ash_code_name(uint8_t code)
{
    switch (code) {
    case 0x00:
        return "unknown reason";
    case 0x01:
        return "external reset";
    case 0x02:
        return "power on";
    case 0x03:
        return "watchdog";
    case 0x06:
        return "failed assertion";
    case 0x09:
        return "boot loader";
    case 0x0B:
        return "software reset";
    case 0x51:
        return "we did not acknowledge";
    default:
        return "reason of the chip";
    }
}
