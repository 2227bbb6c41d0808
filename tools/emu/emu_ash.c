/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/emu/emu_ash.h"

enum {
    FLAG = 0x7E,
    ESCAPE = 0x7D,
    XON = 0x11,
    XOFF = 0x13,
    SUBSTITUTE = 0x18,
    CANCEL = 0x1A,
    FLIP = 0x20,

    CONTROL_RST = 0xC0,
    CONTROL_RSTACK = 0xC1,
    CONTROL_ERROR = 0xC2,
    ASH_VERSION = 2,
    CODE_SOFTWARE = 0x0B,
    ERROR_TIMEOUTS = 0x51,

    RESEND_MS = 1600,
    RESENDS_MAX = 5,
    HOLD_MS = 1000,
};

static uint16_t crc_of(struct bytes in)
{
    uint16_t crc = 0xFFFF;
    for (size_t i = 0; i < in.len; i++) {
        crc ^= (uint16_t)(in.data[i] << 8);
        for (unsigned bit = 0; bit < 8; bit++)
            crc = (uint16_t)((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

static void randomize(uint8_t *data, size_t len)
{
    uint8_t x = 0x42;
    for (size_t i = 0; i < len; i++) {
        data[i] ^= x;
        x = (x & 1) != 0 ? (uint8_t)(x >> 1 ^ 0xB8) : (uint8_t)(x >> 1);
    }
}

static bool is_special(uint8_t octet)
{
    return octet == FLAG || octet == ESCAPE || octet == XON || octet == XOFF ||
           octet == SUBSTITUTE || octet == CANCEL;
}

/* A whole frame for the line from control octet and (randomized) data. */
static size_t wrap(uint8_t control, struct bytes data, uint8_t out[EMU_ASH_WIRE_MAX])
{
    uint8_t plain[EMU_ASH_DATA_MAX + 3];
    struct writer p = wr_to(plain, sizeof plain);
    wr_u8(&p, control);
    wr_bytes(&p, data);
    wr_u16(&p, crc_of(bytes_of(plain, p.len)));
    struct writer w = wr_to(out, EMU_ASH_WIRE_MAX);
    for (size_t i = 0; i < p.len; i++) {
        if (is_special(plain[i]))
            wr_u8(&w, ESCAPE);
        wr_u8(&w, is_special(plain[i]) ? plain[i] ^ FLIP : plain[i]);
    }
    wr_u8(&w, FLAG);
    return wr_close(&w);
}

void emu_ash_init(struct emu_ash *a)
{
    memset(a, 0, sizeof *a);
    a->resend_ms = TIME_NEVER;
}

size_t emu_ash_rstack(struct emu_ash *a, uint8_t code, uint8_t out[EMU_ASH_WIRE_MAX])
{
    const uint8_t data[] = {ASH_VERSION, code};
    emu_ash_init(a);
    a->connected = code == CODE_SOFTWARE;
    return wrap(CONTROL_RSTACK, bytes_of(data, sizeof data), out);
}

/* ---- in ---------------------------------------------------------------------------------------- */

/* The host has everything before frame `next`. False: it can't have. */
static bool on_ack(struct emu_ash *a, int64_t now_ms, uint8_t next)
{
    const uint8_t n = (uint8_t)((next - a->oldest) & 7);
    if (n > a->unacked && n > a->again)
        return false;
    a->first = (a->first + n) % EMU_ASH_QUEUE;
    a->count -= n;
    a->unacked -= n < a->unacked ? n : a->unacked;
    a->again -= n < a->again ? n : a->again;
    a->oldest = next;
    if (n > 0) {
        a->resends = 0;
        a->resend_ms = a->unacked > 0 ? now_ms + RESEND_MS : TIME_NEVER;
    }
    return true;
}

/* What is owed to the host beside data. */
enum owed { OWE_NOTHING, OWE_ACK, OWE_NAK, OWE_RESEND };

static enum emu_ash_got on_data(struct emu_ash *a, uint8_t control)
{
    enum { RETRANSMITTED = 0x08 };

    const uint8_t number = control >> 4 & 7;
    if (number != a->expected) {
        if ((control & RETRANSMITTED) != 0) {
            a->owed = OWE_ACK;
        } else {
            a->owed = a->rejecting ? OWE_NOTHING : OWE_NAK;
            a->rejecting = true;
        }
        return EMU_ASH_NOTHING;
    }
    a->rejecting = false;
    a->expected = (a->expected + 1) & 7;
    a->owed = OWE_ACK;
    return EMU_ASH_DATA;
}

static enum emu_ash_got on_frame(struct emu_ash *a, int64_t now_ms, const uint8_t *in, size_t len)
{
    enum { NOT_READY = 0x08 };

    const uint8_t control = in[0];
    a->owed = OWE_NOTHING;
    if (control == CONTROL_RST)
        return EMU_ASH_RST;
    if (!a->connected || a->failed)
        return EMU_ASH_NOTHING;
    if ((control & 0xE0) == 0x80 || (control & 0xE0) == 0xA0) {
        if ((control & NOT_READY) != 0)
            a->hold_ms = now_ms + HOLD_MS;
        else
            a->hold_ms = 0;
        if (!on_ack(a, now_ms, control & 7))
            return EMU_ASH_NOTHING;
        a->owed = (control & 0xE0) == 0xA0 ? OWE_RESEND : OWE_NOTHING;
        return EMU_ASH_NOTHING;
    }
    if ((control & 0x80) != 0 || len < 4 || !on_ack(a, now_ms, control & 7))
        return EMU_ASH_NOTHING;
    a->data_len = len - 1;
    memcpy(a->data, in + 1, a->data_len);
    randomize(a->data, a->data_len);
    return on_data(a, control);
}

enum emu_ash_got emu_ash_octet(struct emu_ash *a, int64_t now_ms, uint8_t octet)
{
    if (octet == XON || octet == XOFF)
        return EMU_ASH_NOTHING;
    if (octet == CANCEL || octet == SUBSTITUTE) {
        a->dropping = octet == SUBSTITUTE;
        a->n_in = 0;
        a->escaped = false;
        return EMU_ASH_NOTHING;
    }
    if (octet != FLAG) {
        if (octet == ESCAPE) {
            a->escaped = true;
        } else if (a->n_in < sizeof a->in) {
            a->in[a->n_in++] = a->escaped ? octet ^ FLIP : octet;
            a->escaped = false;
        }
        return EMU_ASH_NOTHING;
    }
    uint8_t frame[sizeof a->in];
    const size_t len = a->n_in;
    const bool good = !a->dropping && !a->escaped && len >= 3 && len < sizeof a->in;
    memcpy(frame, a->in, len);
    a->n_in = 0;
    a->dropping = a->escaped = false;
    a->owed = OWE_NOTHING;
    if (len == 0)
        return EMU_ASH_NOTHING;
    const unsigned crc = good ? (unsigned)frame[len - 2] << 8 | frame[len - 1] : 0;
    if (good && crc == crc_of(bytes_of(frame, len - 2)) && len - 3 <= EMU_ASH_DATA_MAX)
        return on_frame(a, now_ms, frame, len - 2);
    a->bad++;
    if (a->connected && !a->failed && (frame[0] & 0x80) == 0 && !a->rejecting) {
        a->rejecting = true;
        a->owed = OWE_NAK;
    }
    return EMU_ASH_NOTHING;
}

/* ---- out --------------------------------------------------------------------------------------- */

static struct emu_ash_frame *queued(struct emu_ash *a, size_t at)
{
    return &a->queue[(a->first + at) % EMU_ASH_QUEUE];
}

void emu_ash_push(struct emu_ash *a, struct bytes frame, bool callback)
{
    const size_t room = callback ? EMU_ASH_QUEUE - EMU_ASH_RESPONSES : EMU_ASH_QUEUE;
    if (!a->connected || a->count >= room || frame.len > EMU_ASH_DATA_MAX) {
        a->overflow = true;
        return;
    }
    struct emu_ash_frame *f = queued(a, a->count++);
    f->len = (uint8_t)frame.len;
    f->callback = callback;
    memcpy(f->data, frame.data, frame.len);
}

static size_t send_frame(struct emu_ash *a, size_t at, bool again, uint8_t out[EMU_ASH_WIRE_MAX])
{
    const struct emu_ash_frame *f = queued(a, at);
    uint8_t data[EMU_ASH_DATA_MAX];
    memcpy(data, f->data, f->len);
    randomize(data, f->len);
    const uint8_t number = (uint8_t)((a->oldest + at) & 7);
    const uint8_t control = (uint8_t)(number << 4 | (again ? 8 : 0) | a->expected);
    return wrap(control, bytes_of(data, f->len), out);
}

/* All that is unacknowledged goes out again. False: too often, the connection has failed. */
static bool go_back(struct emu_ash *a, int64_t now_ms)
{
    a->resend_ms = a->unacked > 0 ? now_ms + RESEND_MS : TIME_NEVER;
    if (a->unacked == 0)
        return true;
    a->resent += a->unacked;
    a->again = a->unacked;
    a->unacked = 0;
    return a->resends++ < RESENDS_MAX;
}

/* Responses are never held: the first of them overtakes the callbacks that are. */
static void overtake(struct emu_ash *a)
{
    size_t at = a->unacked;
    while (at < a->count && queued(a, at)->callback)
        at++;
    if (at == a->count)
        return;
    const struct emu_ash_frame response = *queued(a, at);
    for (; at > a->unacked; at--)
        *queued(a, at) = *queued(a, at - 1);
    *queued(a, at) = response;
}

size_t emu_ash_pull(struct emu_ash *a, int64_t now_ms, uint8_t out[EMU_ASH_WIRE_MAX])
{
    const enum owed owed = (enum owed)a->owed;
    a->owed = OWE_NOTHING;
    if (a->hold_ms <= now_ms)
        a->hold_ms = 0;
    if (!a->connected || a->failed)
        return 0;
    if (owed == OWE_NAK) {
        a->naks++;
        return wrap((uint8_t)(0xA0 | a->expected), bytes_of(NULL, 0), out);
    }
    if ((owed == OWE_RESEND || a->resend_ms <= now_ms) && !go_back(a, now_ms)) {
        const uint8_t data[] = {ASH_VERSION, ERROR_TIMEOUTS};
        a->failed = true;
        return wrap(CONTROL_ERROR, bytes_of(data, sizeof data), out);
    }
    const bool may = a->unacked < a->count && a->unacked < EMU_ASH_WINDOW;
    if (may && a->hold_ms > 0 && a->unacked >= a->again)
        overtake(a);
    const struct emu_ash_frame *next = queued(a, a->unacked);
    const bool again = a->unacked < a->again; /* what has its number goes out, or nothing could */
    if (may && (!next->callback || a->hold_ms == 0 || again)) {
        if (a->unacked == 0)
            a->resend_ms = now_ms + RESEND_MS;
        return send_frame(a, a->unacked++, again, out);
    }
    return owed == OWE_ACK ? wrap((uint8_t)(0x80 | a->expected), bytes_of(NULL, 0), out) : 0;
}

int64_t emu_ash_deadline(const struct emu_ash *a)
{
    if (!a->connected || a->failed)
        return TIME_NEVER;
    return a->hold_ms > 0 ? time_min(a->resend_ms, a->hold_ms) : a->resend_ms;
}
