/* SPDX-License-Identifier: Apache-2.0 */
/* ASH frames: control octet, data made random, CRC, stuffing, flag. */
#include "radio/stick/ash.h"

enum {
    FLAG = 0x7E,
    ESCAPE = 0x7D,
    XON = 0x11,
    XOFF = 0x13,
    SUBSTITUTE = 0x18, /* here the stick's UART lost something */
    WAKE = 0xFF,       /* between frames: it has something to tell */
    ESCAPE_BIT = 0x20,
    LFSR_FIRST = 0x42,
    LFSR_TAPS = 0xB8,
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
    uint8_t lfsr = LFSR_FIRST;
    for (size_t i = 0; i < len; i++) {
        data[i] ^= lfsr;
        lfsr = (uint8_t)((lfsr & 1) != 0 ? lfsr >> 1 ^ LFSR_TAPS : lfsr >> 1);
    }
}

static bool is_reserved(uint8_t octet)
{
    return octet == FLAG || octet == ESCAPE || octet == XON || octet == XOFF ||
           octet == SUBSTITUTE || octet == ASH_CANCEL;
}

static uint8_t control_of(const struct ash_frame *f)
{
    const unsigned ack = f->ack_num & 7U;
    switch (f->type) {
    case ASH_DATA:
        return (uint8_t)((f->frm_num & 7U) << 4 | (f->re_tx ? 8U : 0U) | ack);
    case ASH_ACK:
        return (uint8_t)(0x80U | (f->not_ready ? 8U : 0U) | ack);
    case ASH_NAK:
        return (uint8_t)(0xA0U | (f->not_ready ? 8U : 0U) | ack);
    case ASH_RST:
        return 0xC0;
    case ASH_RSTACK:
        return 0xC1;
    case ASH_ERROR:
        break;
    }
    return 0xC2;
}

size_t ash_encode(const struct ash_frame *frame, uint8_t *out, size_t cap)
{
    uint8_t plain[ASH_FRAME_MAX];
    if (frame->type == ASH_DATA &&
        (frame->data.len < ASH_DATA_MIN || frame->data.len > ASH_DATA_MAX))
        return 0;
    struct writer p = wr_to(plain, sizeof plain);
    wr_u8(&p, control_of(frame));
    if (frame->type == ASH_DATA) {
        wr_bytes(&p, frame->data);
        randomize(plain + 1, frame->data.len);
    } else if (frame->type == ASH_RSTACK || frame->type == ASH_ERROR) {
        wr_u8(&p, frame->version);
        wr_u8(&p, frame->code);
    }
    wr_u16(&p, crc_of(bytes_of(plain, p.len)));

    struct writer w = wr_to(out, cap);
    for (size_t i = 0; i < p.len; i++) {
        if (is_reserved(plain[i])) {
            wr_u8(&w, ESCAPE);
            wr_u8(&w, plain[i] ^ ESCAPE_BIT);
        } else {
            wr_u8(&w, plain[i]);
        }
    }
    wr_u8(&w, FLAG);
    return wr_close(&w);
}

/* What control octet and length of an intact frame say; false for what ASH does not know. */
static bool read_frame(uint8_t *buf, size_t len, struct ash_frame *out)
{
    const uint8_t control = buf[0];
    *out = (struct ash_frame){.ack_num = control & 7U};
    if ((control & 0x80) == 0) {
        out->type = ASH_DATA;
        out->frm_num = control >> 4;
        out->re_tx = (control & 8) != 0;
        randomize(buf + 1, len - 1);
        out->data = bytes_of(buf + 1, len - 1);
        return out->data.len >= ASH_DATA_MIN;
    }
    if ((control & 0xE0) == 0x80 || (control & 0xE0) == 0xA0) {
        out->type = (control & 0x20) != 0 ? ASH_NAK : ASH_ACK;
        out->not_ready = (control & 8) != 0;
        return len == 1;
    }
    out->ack_num = 0;
    if (control == 0xC0) {
        out->type = ASH_RST;
        return len == 1;
    }
    out->type = control == 0xC1 ? ASH_RSTACK : ASH_ERROR;
    if (len != 3 || (control != 0xC1 && control != 0xC2))
        return false;
    out->version = buf[1];
    out->code = buf[2];
    return true;
}

void ash_deframer_begin(struct ash_deframer *d)
{
    d->len = 0;
    d->seen = 0;
    d->escaped = false;
    d->spoiled = false;
}

/* A flag came behind something. */
static enum ash_found end_frame(struct ash_deframer *d, struct ash_frame *out)
{
    const bool looks_like_data = d->len > 0 && (d->buf[0] & 0x80) == 0;
    const size_t len = d->len;
    const bool whole = !d->spoiled && !d->escaped && len >= 3;
    const uint32_t seen = d->seen;
    ash_deframer_begin(d);
    if (whole && crc_of(bytes_of(d->buf, len)) == 0 && read_frame(d->buf, len - 2, out))
        return ASH_FOUND;
    d->skipped_bytes += seen + 1;
    return looks_like_data ? ASH_BAD_DATA : ASH_BAD;
}

static void collect(struct ash_deframer *d, uint8_t octet)
{
    d->seen++;
    if (octet == SUBSTITUTE || d->len == ASH_FRAME_MAX)
        d->spoiled = true;
    if (d->spoiled)
        return;
    if (octet == ESCAPE && !d->escaped) {
        d->escaped = true;
        return;
    }
    d->buf[d->len++] = d->escaped ? octet ^ ESCAPE_BIT : octet;
    d->escaped = false;
}

enum ash_found ash_deframe(struct ash_deframer *d, struct reader *in, struct ash_frame *out)
{
    while (rd_left(in) > 0) {
        const uint8_t octet = rd_u8(in);
        if (octet == FLAG) {
            if (d->seen > 0)
                return end_frame(d, out);
        } else if (octet == ASH_CANCEL) {
            d->skipped_bytes += d->seen;
            ash_deframer_begin(d);
        } else if (octet == WAKE && d->seen == 0) {
            d->skipped_bytes++;
        } else if (octet != XON && octet != XOFF) {
            collect(d, octet);
        }
    }
    return ASH_NOTHING;
}
