/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/stick/framing.h"

#include <assert.h>

enum {
    SLIP_END = 0xC0,
    SLIP_ESC = 0xDB,
    SLIP_ESC_END = 0xDC,
    SLIP_ESC_ESC = 0xDD,
    HDLC_FLAG = 0x7E,
    HDLC_ESC = 0x7D,
    HDLC_XOR = 0x20,
    XON = 0x11,
    XOFF = 0x13,
    COBS_END = 0x00,
    COBS_FULL = 0xFF, /* a block of 254 octets without a zero behind */
    CRC_BYTES = 2,
    CRC_GOOD = 0xF0B8,

    MSG_FORWARD = 0xFE,
    ENVELOPES_MAX = 3,
};

/* CRC-16/X-25 without the final inversion: what eight steps of the shift register come to. */
static uint16_t crc_step(uint16_t crc, uint8_t octet)
{
    const uint8_t low = (uint8_t)(crc ^ octet);
    const uint8_t x = (uint8_t)(low ^ low << 4);
    return (uint16_t)(crc >> 8 ^ x << 8 ^ x << 3 ^ x >> 4);
}

static uint16_t crc_of(struct bytes in)
{
    uint16_t crc = 0xFFFF;
    for (size_t i = 0; i < in.len; i++)
        crc = crc_step(crc, in.data[i]);
    return crc;
}

void framer_init(struct framer *f, enum line_framing framing, uint32_t limit)
{
    assert(limit <= FRAMER_PACKET_MAX);
    *f = (struct framer){.framing = framing, .limit = limit};
}

void framer_reset(struct framer *f)
{
    f->at = f->len = f->raw = 0;
    f->escaped = f->bad = f->zero_next = false;
    f->block = 0;
}

/* ---- frames between delimiters ----------------------------------------------------------------- */

/* The frame that a delimiter ends; false: it is bad, or there was nothing between two of them. */
static bool end_of_frame(struct framer *f, struct bytes *packet)
{
    const bool crc = f->framing != LINE_SLIP;
    const size_t least = crc ? CRC_BYTES + 1 : 1;
    const bool good = !f->bad && !f->escaped && f->block == 0 && f->len >= least &&
                      (!crc || crc_of(bytes_of(f->buf, f->len)) == CRC_GOOD);
    *packet = bytes_of(f->buf, good && crc ? f->len - CRC_BYTES : f->len);
    const bool fits = packet->len <= f->limit;
    if (f->raw > 0) {
        f->frames += good && fits;
        f->bad_frames += !(good && fits);
        f->skipped += good && fits ? 0 : f->raw;
    }
    framer_reset(f);
    return good && fits;
}

/* One octet of content. */
static void content(struct framer *f, uint8_t octet)
{
    if (f->len < f->limit + CRC_BYTES)
        f->buf[f->len++] = octet;
    else
        f->bad = true;
}

static void slip_octet(struct framer *f, uint8_t octet)
{
    if (f->escaped) {
        f->escaped = false;
        if (octet == SLIP_ESC_END)
            content(f, SLIP_END);
        else if (octet == SLIP_ESC_ESC)
            content(f, SLIP_ESC);
        else
            f->bad = true;
    } else if (octet == SLIP_ESC) {
        f->escaped = true;
    } else {
        content(f, octet);
    }
}

static void hdlc_octet(struct framer *f, uint8_t octet)
{
    if (octet == HDLC_ESC && !f->escaped) {
        f->escaped = true;
        return;
    }
    content(f, f->escaped ? octet ^ HDLC_XOR : octet);
    f->escaped = false;
}

/* A code tells how far the next zero is: that many less one octets follow as they are. */
static void cobs_octet(struct framer *f, uint8_t octet)
{
    if (f->block == 0) {
        if (f->zero_next)
            content(f, 0);
        f->zero_next = octet != COBS_FULL;
        f->block = octet - 1;
        return;
    }
    content(f, octet);
    f->block--;
}

static bool next_delimited(struct framer *f, struct reader *in, struct bytes *packet)
{
    static const uint8_t ends[] = {
        [LINE_SLIP] = SLIP_END, [LINE_HDLC] = HDLC_FLAG, [LINE_COBS] = COBS_END};
    while (rd_left(in) > 0) {
        const uint8_t octet = rd_u8(in);
        if (octet == ends[f->framing]) {
            if (end_of_frame(f, packet))
                return true;
            continue;
        }
        f->raw++;
        if (f->framing == LINE_SLIP)
            slip_octet(f, octet);
        else if (f->framing == LINE_HDLC)
            hdlc_octet(f, octet);
        else
            cobs_octet(f, octet);
    }
    return false;
}

/* ---- packets one behind the other -------------------------------------------------------------- */

/* Message types of MQTT-SN 1.2 (section 5.2.2), a bit each. FE is looked at for itself. */
static bool is_known_type(uint8_t type)
{
    const uint32_t known = 0x3DFDFFF7;
    return type < 32 && (known >> type & 1) != 0;
}

enum raw_look { RAW_MORE, RAW_BAD, RAW_COMPLETE };

/* Reads one length and type. */
static enum raw_look look_at_header(struct reader *r, size_t *length, uint8_t *type)
{
    size_t header = 2;
    *length = rd_u8(r);
    if (!r->failed && *length == 0)
        return RAW_BAD;
    if (*length == 1) {
        *length = rd_u16(r);
        header = 4;
    }
    *type = rd_u8(r);
    if (r->failed)
        return RAW_MORE;
    const bool known = *type == MSG_FORWARD ? *length > header : is_known_type(*type);
    return known && *length >= header ? RAW_COMPLETE : RAW_BAD;
}

/* What begins here: a packet, behind ENVELOPES_MAX envelopes at most; `*total` octets in all. */
static enum raw_look look(const struct framer *f, size_t *total)
{
    const struct bytes there = bytes_of(f->buf + f->at, f->len - f->at);
    *total = 0;
    for (unsigned depth = 0; depth <= ENVELOPES_MAX; depth++) {
        struct reader r = rd_of(there);
        size_t length;
        uint8_t type = 0;
        rd_bytes(&r, *total);
        const enum raw_look header = look_at_header(&r, &length, &type);
        if (header != RAW_COMPLETE)
            return header;
        *total += length;
        if (*total > f->limit)
            return RAW_BAD;
        if (*total > there.len)
            return RAW_MORE;
        if (type != MSG_FORWARD)
            return RAW_COMPLETE;
    }
    return RAW_BAD;
}

static bool next_raw(struct framer *f, struct reader *in, struct bytes *packet)
{
    for (;;) {
        size_t total = 0;
        const enum raw_look found = f->len > f->at ? look(f, &total) : RAW_MORE;
        if (found == RAW_COMPLETE) {
            *packet = bytes_of(f->buf + f->at, total);
            f->at += total;
            f->frames++;
            f->bad = false;
            return true;
        }
        if (found == RAW_BAD) {
            f->at++;
            f->skipped++;
            /* The first of a row of wrong octets is the bad frame. */
            f->bad_frames += !f->bad;
            f->bad = true;
            continue;
        }
        if (rd_left(in) == 0)
            return false;
        if (f->at == f->len)
            f->at = f->len = 0;
        if (f->len == sizeof f->buf) {
            memmove(f->buf, f->buf + f->at, f->len - f->at);
            f->len -= f->at;
            f->at = 0;
        }
        f->buf[f->len++] = rd_u8(in); /* there is room: look() takes nothing longer for a packet */
    }
}

void framer_pause(struct framer *f)
{
    if (!framer_waits(f))
        return;
    f->bad_frames++;
    f->skipped += f->len - f->at;
    framer_reset(f);
}

bool framer_waits(const struct framer *f)
{
    return f->framing == LINE_RAW && f->len > f->at;
}

bool framer_next(struct framer *f, struct reader *in, struct bytes *packet)
{
    return f->framing == LINE_RAW ? next_raw(f, in, packet) : next_delimited(f, in, packet);
}

/* ---- writing ----------------------------------------------------------------------------------- */

static void put_slip(struct writer *w, struct bytes packet)
{
    wr_u8(w, SLIP_END);
    for (size_t i = 0; i < packet.len; i++) {
        const uint8_t octet = packet.data[i];
        if (octet == SLIP_END || octet == SLIP_ESC) {
            wr_u8(w, SLIP_ESC);
            wr_u8(w, octet == SLIP_END ? SLIP_ESC_END : SLIP_ESC_ESC);
        } else {
            wr_u8(w, octet);
        }
    }
    wr_u8(w, SLIP_END);
}

static void put_hdlc_octet(struct writer *w, uint8_t octet)
{
    const bool special = octet == HDLC_FLAG || octet == HDLC_ESC || octet == XON || octet == XOFF;
    if (special)
        wr_u8(w, HDLC_ESC);
    wr_u8(w, special ? octet ^ HDLC_XOR : octet);
}

static void put_hdlc(struct writer *w, struct bytes packet)
{
    const uint16_t crc = (uint16_t)~crc_of(packet);
    wr_u8(w, HDLC_FLAG);
    for (size_t i = 0; i < packet.len; i++)
        put_hdlc_octet(w, packet.data[i]);
    put_hdlc_octet(w, (uint8_t)crc);
    put_hdlc_octet(w, (uint8_t)(crc >> 8));
    wr_u8(w, HDLC_FLAG);
}

static void put_cobs(struct writer *w, struct bytes packet)
{
    uint8_t whole[FRAMER_BUFFER];
    struct writer content_of = wr_to(whole, sizeof whole);
    wr_bytes(&content_of, packet);
    wr_u16_le(&content_of, (uint16_t)~crc_of(packet));
    const size_t len = wr_close(&content_of);
    wr_u8(w, COBS_END);
    for (size_t at = 0; at <= len;) {
        size_t n = 0;
        while (n < COBS_FULL - 1 && at + n < len && whole[at + n] != 0)
            n++;
        wr_u8(w, (uint8_t)(n + 1));
        wr_bytes(w, bytes_of(whole + at, n));
        /* A full block stands for itself; behind the others there is a zero, or the end. */
        at += n < COBS_FULL - 1 ? n + 1 : n;
        if (n == COBS_FULL - 1 && at == len)
            break;
    }
    wr_u8(w, COBS_END);
}

void framer_encode(enum line_framing framing, struct writer *w, struct bytes packet)
{
    switch (framing) {
    case LINE_RAW:
        wr_bytes(w, packet);
        break;
    case LINE_SLIP:
        put_slip(w, packet);
        break;
    case LINE_HDLC:
        put_hdlc(w, packet);
        break;
    case LINE_COBS:
        put_cobs(w, packet);
        break;
    }
}
