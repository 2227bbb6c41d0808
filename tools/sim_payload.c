/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sim_payload.h"

#include <stdbool.h>
#include <string.h>

enum {
    CHECK_LEN = 7,       /* " c=5a3f" */
    PAD_FRAME = 3,       /* " p=" */
    DECIMAL_DIGITS = 20, /* of a uint64_t */
};

static const char *const MARKS[] = {
    [PAYLOAD_READING] = " kwh=", [PAYLOAD_COMMAND] = " limit=", [PAYLOAD_WILL] = " lost="};

/* CRC-16/CCITT, two table steps per octet: payloads are checked a hundred thousand times a second.
 */
static uint16_t checksum(struct bytes in)
{
    static const uint16_t nibble[16] = {
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
        0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef,
    };
    unsigned crc = 0xffff;
    for (size_t i = 0; i < in.len; i++) {
        const unsigned octet = in.data[i];
        crc = ((crc << 4) & 0xffff) ^ nibble[((crc >> 12) ^ (octet >> 4)) & 15];
        crc = ((crc << 4) & 0xffff) ^ nibble[((crc >> 12) ^ octet) & 15];
    }
    return (uint16_t)crc;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_text(struct writer *w, const char *text)
{
    wr_bytes(w, bytes_str(text));
}

static void put_decimal(struct writer *w, uint64_t value, unsigned min_digits)
{
    char digits[DECIMAL_DIGITS];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (at > 0 && (value > 0 || sizeof digits - at < min_digits));
    wr_bytes(w, bytes_of(digits + at, sizeof digits - at));
}

static void put_hex(struct writer *w, uint32_t value, unsigned digits)
{
    for (unsigned i = digits; i-- > 0;)
        wr_u8(w, (uint8_t) "0123456789abcdef"[(value >> (4 * i)) & 15]);
}

/* A meter that never stands still: about one watt-hour per message, more for some nodes. */
static void put_reading(struct writer *w, const struct payload *p)
{
    const uint64_t watt_hours = (uint64_t)p->node * 37 + p->seq * (1 + p->node % 5);
    put_decimal(w, watt_hours / 1000 % 10000, 4);
    put_text(w, ".");
    put_decimal(w, watt_hours % 1000, 3);
}

static void put_value(struct writer *w, const struct payload *p)
{
    put_text(w, MARKS[p->kind]);
    switch (p->kind) {
    case PAYLOAD_READING:
        put_reading(w, p);
        break;
    case PAYLOAD_COMMAND:
        put_decimal(w, 10 + p->seq % 54, 1); /* ampere that the breaker shall allow */
        break;
    case PAYLOAD_WILL:
        put_decimal(w, 1, 1);
        break;
    }
}

size_t payload_write(uint8_t *buf, size_t cap, const struct payload *p, size_t size)
{
    struct writer w = wr_to(buf, cap);
    put_text(&w, "m=");
    put_decimal(&w, p->node, 1);
    put_text(&w, " s=");
    put_decimal(&w, p->seq, 1);
    put_text(&w, p->qos < 0 ? " q=-1" : " q=");
    if (p->qos >= 0)
        put_decimal(&w, (uint64_t)p->qos, 1);
    put_text(&w, " r=");
    put_hex(&w, p->run, 8);
    put_value(&w, p);
    if (w.len + PAD_FRAME + CHECK_LEN <= size) {
        put_text(&w, " p=");
        while (!w.failed && w.len + CHECK_LEN < size)
            wr_u8(&w, '-');
    }
    const uint16_t check = w.failed ? 0 : checksum(bytes_of(buf, w.len));
    put_text(&w, " c=");
    put_hex(&w, check, 4);
    return wr_close(&w);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool take_text(struct reader *r, const char *text)
{
    return bytes_equal(rd_bytes(r, strlen(text)), bytes_str(text));
}

/* The next octet, unread; 0 at the end. */
static uint8_t peek(const struct reader *r)
{
    struct reader ahead = *r;
    return rd_u8(&ahead);
}

/* Decimal digits up to the next other octet, which stays unread. */
static bool take_decimal(struct reader *r, uint64_t limit, uint64_t *out)
{
    uint64_t value = 0;
    unsigned n = 0;
    while (peek(r) >= '0' && peek(r) <= '9') {
        const unsigned digit = (unsigned)(rd_u8(r) - '0');
        if (value > (limit - digit) / 10)
            return false;
        value = value * 10 + digit;
        n++;
    }
    *out = value;
    return n > 0;
}

static bool take_hex(struct reader *r, unsigned digits, uint32_t *out)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < digits; i++) {
        const unsigned c = rd_u8(r);
        unsigned digit;
        if (c >= '0' && c <= '9')
            digit = c - '0';
        else if (c >= 'a' && c <= 'f')
            digit = c - 'a' + 10;
        else
            return false;
        value = (value << 4) | digit;
    }
    *out = value;
    return true;
}

static bool take_kind(struct reader *r, enum payload_kind *out)
{
    for (unsigned kind = 0; kind < sizeof MARKS / sizeof MARKS[0]; kind++) {
        struct reader ahead = *r;
        if (take_text(&ahead, MARKS[kind])) {
            *r = ahead;
            *out = (enum payload_kind)kind;
            return true;
        }
    }
    return false;
}

static bool take_fields(struct reader *r, struct payload *out)
{
    uint64_t node = 0;
    uint64_t qos = 0;
    if (!take_text(r, "m=") || !take_decimal(r, UINT32_MAX, &node) || !take_text(r, " s=") ||
        !take_decimal(r, UINT64_MAX, &out->seq) || !take_text(r, " q="))
        return false;
    const bool negative = peek(r) == '-';
    if (negative)
        rd_u8(r);
    if (!take_decimal(r, negative ? 1 : 2, &qos) || !take_text(r, " r=") ||
        !take_hex(r, 8, &out->run))
        return false;
    out->node = (uint32_t)node;
    out->qos = negative ? -(int)qos : (int)qos;
    return take_kind(r, &out->kind);
}

enum payload_result payload_read(struct bytes in, struct payload *out)
{
    struct reader shape = rd_of(in);
    if (!take_text(&shape, "m="))
        return PAYLOAD_FOREIGN;
    if (in.len < CHECK_LEN)
        return PAYLOAD_CORRUPT;
    struct reader whole = rd_of(in);
    const struct bytes content = rd_bytes(&whole, in.len - CHECK_LEN);
    struct reader tail = rd_of(rd_rest(&whole));
    struct reader r = rd_of(content);
    uint32_t check = 0;
    const bool right = take_text(&tail, " c=") && take_hex(&tail, 4, &check) &&
                       check == checksum(content) && take_fields(&r, out);
    return right ? PAYLOAD_OK : PAYLOAD_CORRUPT;
}
