/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Views of octets, and the two cursors through which every wire integer passes.
 *
 * Both cursors are *sticky*: the first access past the end sets `failed`, later accesses do nothing
 * (reads yield zero or an empty view), so a decoder reads all its fields and checks once, with
 * rd_close(). No other file in the project does pointer arithmetic on received data.
 *
 * Integers are big-endian, as everywhere in MQTT-SN and MQTT; the `_le` forms serve the radio
 * protocols. Nothing here allocates; every call is O(1) except copies.
 */
#ifndef SENNET_BASE_BYTES_H
#define SENNET_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A borrowed view. `data` may be NULL only when `len` is 0. */
struct bytes {
    const uint8_t *data;
    size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes){.data = data, .len = len};
}

/* A view of a C string without its terminator. */
static inline struct bytes bytes_str(const char *text)
{
    return bytes_of(text, strlen(text));
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* True when the octets are well-formed UTF-8 (no surrogates, no overlong forms) without U+0000,
 * which is what MQTT 3.1.1 section 1.5.3 demands of every string. O(len). */
bool bytes_is_utf8(struct bytes text);

/* ---- reading --------------------------------------------------------------------------------- */

struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

static inline struct reader rd_of(struct bytes in)
{
    static const uint8_t nothing;
    const uint8_t *start = in.data != NULL ? in.data : &nothing;
    return (struct reader){.at = start, .end = start + in.len, .failed = false};
}

/* Octets not yet read; 0 after a failure. */
static inline size_t rd_left(const struct reader *r)
{
    return r->failed ? 0 : (size_t)(r->end - r->at);
}

/* The next `n` octets as a view into the input; empty and failed when fewer are left. */
static inline struct bytes rd_bytes(struct reader *r, size_t n)
{
    if (rd_left(r) < n) {
        r->failed = true;
        return bytes_of(NULL, 0);
    }
    const struct bytes out = bytes_of(r->at, n);
    r->at += n;
    return out;
}

static inline uint8_t rd_u8(struct reader *r)
{
    const struct bytes b = rd_bytes(r, 1);
    return b.len == 1 ? b.data[0] : 0;
}

static inline uint16_t rd_u16(struct reader *r)
{
    const struct bytes b = rd_bytes(r, 2);
    return (uint16_t)(b.len == 2 ? (unsigned)b.data[0] << 8 | b.data[1] : 0);
}

static inline uint32_t rd_u32(struct reader *r)
{
    const uint32_t high = rd_u16(r);
    return (high << 16) | rd_u16(r);
}

static inline uint16_t rd_u16_le(struct reader *r)
{
    const struct bytes b = rd_bytes(r, 2);
    return (uint16_t)(b.len == 2 ? (unsigned)b.data[1] << 8 | b.data[0] : 0);
}

static inline uint32_t rd_u32_le(struct reader *r)
{
    const uint32_t low = rd_u16_le(r);
    return low | ((uint32_t)rd_u16_le(r) << 16);
}

/* Everything that is left (possibly nothing); never fails. */
static inline struct bytes rd_rest(struct reader *r)
{
    return rd_bytes(r, rd_left(r));
}

/* True when every read succeeded *and* the input is used up: the one check of a decoder. */
static inline bool rd_close(const struct reader *r)
{
    return !r->failed && r->at == r->end;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* With `buf` NULL the writer only counts: run an encoder twice to learn its length first. */
struct writer {
    uint8_t *buf;
    size_t cap;
    size_t len;
    bool failed;
};

static inline struct writer wr_to(void *buf, size_t cap)
{
    return (struct writer){.buf = buf, .cap = buf != NULL ? cap : SIZE_MAX};
}

static inline void wr_bytes(struct writer *w, struct bytes in)
{
    if (w->failed || w->cap - w->len < in.len) {
        w->failed = true;
        return;
    }
    if (w->buf != NULL && in.len > 0)
        memcpy(w->buf + w->len, in.data, in.len);
    w->len += in.len;
}

static inline void wr_u8(struct writer *w, uint8_t value)
{
    wr_bytes(w, bytes_of(&value, 1));
}

static inline void wr_u16(struct writer *w, uint16_t value)
{
    const uint8_t be[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    wr_bytes(w, bytes_of(be, sizeof be));
}

static inline void wr_u32(struct writer *w, uint32_t value)
{
    wr_u16(w, (uint16_t)(value >> 16));
    wr_u16(w, (uint16_t)value);
}

static inline void wr_u16_le(struct writer *w, uint16_t value)
{
    const uint8_t le[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    wr_bytes(w, bytes_of(le, sizeof le));
}

static inline void wr_u32_le(struct writer *w, uint32_t value)
{
    wr_u16_le(w, (uint16_t)value);
    wr_u16_le(w, (uint16_t)(value >> 16));
}

/* Octets written, or 0 when something did not fit. */
static inline size_t wr_close(const struct writer *w)
{
    return w->failed ? 0 : w->len;
}

#endif
