/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/websocket.h"

#include <assert.h>
#include <string.h>

enum {
    FINAL = 0x80,
    RESERVED = 0x70,
    OPCODE = 0x0F,
    MASKED = 0x80,
    LENGTH = 0x7F,
    LENGTH_16 = 126,
    LENGTH_64 = 127,
    CONTROL = 0x08, /* the bit that control frames have in common */
};

const char *ws_fault_text(enum ws_fault fault)
{
    static const char *const texts[WS_FAULTS] = {
        [WS_FINE] = "nothing is wrong",
        [WS_FAULT_MASKED] = "the server sent a masked frame",
        [WS_FAULT_RESERVED] = "the server uses an extension that was not agreed on",
        [WS_FAULT_OPCODE] = "the server sent a frame of an unknown kind",
        [WS_FAULT_TEXT] = "the server sent text: no MQTT there?",
        [WS_FAULT_CONTROL] = "the server sent a control frame in pieces, or too long a one",
        [WS_FAULT_LENGTH] = "the server sent a frame with an impossible length",
        [WS_FAULT_CONTINUATION] = "the server sent pieces of messages out of order",
        [WS_FAULT_CLOSE] = "the server sent a malformed close frame",
    };

    return fault < WS_FAULTS ? texts[fault] : texts[WS_FINE];
}

/* ---- the server's frames --------------------------------------------------------------------- */

static bool is_control(const struct ws_reader *r)
{
    return (r->opcode & CONTROL) != 0;
}

/* How long the head is, as far as that is known. */
static uint8_t head_size(const struct ws_reader *r)
{
    if (r->head_len < 2)
        return 2;
    switch (r->head[1] & LENGTH) {
    case LENGTH_16:
        return 4;
    case LENGTH_64:
        return WS_SERVER_HEAD_MAX;
    default:
        return 2;
    }
}

/* False: not the shortest form, or too much. */
static bool read_length(struct reader *in, uint8_t said, uint32_t *out)
{
    *out = said;
    if (said == LENGTH_16) {
        *out = rd_u16(in);
        return *out >= LENGTH_16;
    }
    if (said == LENGTH_64) {
        const uint32_t high = rd_u32(in);
        *out = rd_u32(in);
        return high == 0 && *out > UINT16_MAX && *out <= WS_FRAME_MAX;
    }
    return true;
}

static enum ws_fault judge_kind(const struct ws_reader *r, bool final)
{
    switch (r->opcode) {
    case WS_CONTINUATION:
        return r->in_message ? WS_FINE : WS_FAULT_CONTINUATION;
    case WS_BINARY:
        return r->in_message ? WS_FAULT_CONTINUATION : WS_FINE;
    case WS_TEXT:
        return WS_FAULT_TEXT;
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        return final && r->left <= WS_CONTROL_MAX ? WS_FINE : WS_FAULT_CONTROL;
    default:
        return WS_FAULT_OPCODE;
    }
}

/* The head is complete. */
static enum ws_fault read_head(struct ws_reader *r)
{
    struct reader in = rd_of(bytes_of(r->head, r->head_len));
    const uint8_t first = rd_u8(&in);
    const uint8_t second = rd_u8(&in);
    const bool final = (first & FINAL) != 0;
    const bool fits = read_length(&in, second & LENGTH, &r->left);

    assert(rd_close(&in));
    r->opcode = first & OPCODE;
    if ((first & RESERVED) != 0)
        return WS_FAULT_RESERVED;
    if ((second & MASKED) != 0)
        return WS_FAULT_MASKED;
    if (!fits)
        return WS_FAULT_LENGTH;
    const enum ws_fault fault = judge_kind(r, final);
    if (fault == WS_FINE && !is_control(r))
        r->in_message = !final;
    r->control_len = 0;
    return fault;
}

static void take_close(struct ws_reader *r)
{
    struct reader in = rd_of(bytes_of(r->control, r->control_len));

    r->closed = true;
    r->status = WS_NO_STATUS;
    if (r->control_len == 1)
        r->fault = WS_FAULT_CLOSE;
    else if (r->control_len > 0)
        r->status = rd_u16(&in);
}

/* All of a frame is there. */
static void end_frame(struct ws_reader *r)
{
    if (r->opcode == WS_PING) {
        memcpy(r->ping, r->control, r->control_len);
        r->ping_len = r->control_len;
        r->pinged = true;
    } else if (r->opcode == WS_CLOSE) {
        take_close(r);
    }
    r->head_len = 0;
}

struct bytes ws_close_reason(const struct ws_reader *r)
{
    return r->closed && r->control_len > 2 ? bytes_of(r->control + 2, r->control_len - 2U)
                                           : bytes_of(NULL, 0);
}

static bool has_head(const struct ws_reader *r)
{
    return r->head_len >= 2 && r->head_len == head_size(r);
}

static void take_head(struct ws_reader *r, struct reader *in)
{
    while (rd_left(in) > 0 && !has_head(r))
        r->head[r->head_len++] = rd_u8(in);
    if (!has_head(r))
        return;
    r->fault = read_head(r);
    if (r->fault == WS_FINE && r->left == 0)
        end_frame(r);
}

static void take_payload(struct ws_reader *r, struct reader *in, uint8_t *out, size_t *used)
{
    const size_t n = r->left < rd_left(in) ? r->left : rd_left(in);
    const struct bytes piece = rd_bytes(in, n);

    if (piece.len == 0)
        return;
    if (is_control(r)) {
        memcpy(r->control + r->control_len, piece.data, n);
        r->control_len = (uint8_t)(r->control_len + n);
    } else {
        memmove(out + *used, piece.data, n);
        *used += n;
    }
    r->left -= (uint32_t)n;
    if (r->left == 0)
        end_frame(r);
}

size_t ws_input(struct ws_reader *r, uint8_t *octets, size_t len)
{
    struct reader in = rd_of(bytes_of(octets, len));
    size_t used = 0;

    while (rd_left(&in) > 0 && r->fault == WS_FINE && !r->closed) {
        if (has_head(r))
            take_payload(r, &in, octets, &used);
        else
            take_head(r, &in);
    }
    return used;
}

/* ---- our frames ------------------------------------------------------------------------------ */

size_t ws_head(uint8_t out[WS_HEAD_MAX], enum ws_opcode opcode, size_t len, const uint8_t mask[4])
{
    struct writer w = wr_to(out, WS_HEAD_MAX);

    assert(len <= UINT32_MAX);
    wr_u8(&w, (uint8_t)(FINAL | opcode));
    if (len < LENGTH_16) {
        wr_u8(&w, (uint8_t)(MASKED | len));
    } else if (len <= UINT16_MAX) {
        wr_u8(&w, MASKED | LENGTH_16);
        wr_u16(&w, (uint16_t)len);
    } else {
        wr_u8(&w, MASKED | LENGTH_64);
        wr_u32(&w, 0);
        wr_u32(&w, (uint32_t)len);
    }
    wr_bytes(&w, bytes_of(mask, 4));
    return wr_close(&w);
}

void ws_mask(uint8_t *out, const uint8_t *in, size_t len, const uint8_t mask[4], size_t offset)
{
    uint8_t turned[8];
    uint64_t wide;
    size_t i = 0;

    for (size_t k = 0; k < sizeof turned; k++)
        turned[k] = mask[(offset + k) % 4];
    memcpy(&wide, turned, sizeof wide);
    for (; len - i >= sizeof wide; i += sizeof wide) {
        uint64_t word;
        memcpy(&word, in + i, sizeof word);
        word ^= wide;
        memcpy(out + i, &word, sizeof word);
    }
    for (; i < len; i++)
        out[i] = in[i] ^ turned[i % 4];
}
