/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/stick/deconz_frame.h"

enum { END = 0xC0, ESC = 0xDB, ESC_END = 0xDC, ESC_ESC = 0xDD, HEAD = 5, CRC = 2 };

static uint16_t checksum(struct bytes in)
{
    unsigned sum = 0;
    for (size_t i = 0; i < in.len; i++)
        sum += in.data[i];
    return (uint16_t)(~sum + 1U);
}

size_t deconz_encode(const struct deconz_frame *f, void *out, size_t size)
{
    uint8_t plain[DECONZ_FRAME_MAX];
    struct writer p = wr_to(plain, sizeof plain);
    wr_u8(&p, f->command);
    wr_u8(&p, f->seq);
    wr_u8(&p, f->status);
    wr_u16_le(&p, (uint16_t)(HEAD + f->content.len));
    wr_bytes(&p, f->content);
    wr_u16_le(&p, checksum(bytes_of(plain, p.len)));
    const size_t len = wr_close(&p);
    struct writer w = wr_to(out, size);
    wr_u8(&w, END);
    for (size_t i = 0; i < len; i++) {
        if (plain[i] != END && plain[i] != ESC) {
            wr_u8(&w, plain[i]);
            continue;
        }
        wr_u8(&w, ESC);
        wr_u8(&w, plain[i] == END ? ESC_END : ESC_ESC);
    }
    wr_u8(&w, END);
    return len == 0 ? 0 : wr_close(&w);
}

/* A whole frame lies in the buffer: is it one? */
static bool open_frame(const struct deconz_decoder *d, struct deconz_frame *out)
{
    struct reader r = rd_of(bytes_of(d->buf, d->len));
    if (d->len < HEAD + CRC)
        return false;
    out->command = rd_u8(&r);
    out->seq = rd_u8(&r);
    out->status = rd_u8(&r);
    const uint16_t len = rd_u16_le(&r);
    if (len < HEAD || len != d->len - CRC)
        return false;
    out->content = rd_bytes(&r, len - (size_t)HEAD);
    return rd_u16_le(&r) == checksum(bytes_of(d->buf, len)) && rd_close(&r);
}

/* Between two delimiters there may be nothing: each frame has one on both sides. */
static enum deconz_decoded on_end(struct deconz_decoder *d, struct deconz_frame *out)
{
    const bool broken = d->broken || d->escaped;
    const bool empty = d->len == 0 && !broken;
    const bool good = !broken && !empty && open_frame(d, out);
    d->escaped = false;
    d->broken = false;
    d->len = 0;
    return empty ? DECONZ_MORE : good ? DECONZ_FRAME : DECONZ_BAD;
}

enum deconz_decoded deconz_decode(struct deconz_decoder *d, uint8_t octet, struct deconz_frame *out)
{
    if (octet == END)
        return on_end(d, out);
    if (d->broken)
        return DECONZ_MORE;
    if (octet == ESC && !d->escaped) {
        d->escaped = true;
        return DECONZ_MORE;
    }
    if (d->escaped) {
        d->escaped = false;
        if (octet != ESC_END && octet != ESC_ESC) {
            d->broken = true;
            return DECONZ_MORE;
        }
        octet = octet == ESC_END ? END : ESC;
    }
    if (d->len == sizeof d->buf) {
        d->broken = true;
        return DECONZ_MORE;
    }
    d->buf[d->len++] = octet;
    return DECONZ_MORE;
}
