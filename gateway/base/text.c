/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

static const char hex_digits[] = "0123456789abcdef";
static const char ellipsis[] = "...";

struct text text_to(char *out, size_t size)
{
    if (size > 0)
        out[0] = '\0';
    return (struct text){.out = out, .size = size};
}

/* What cannot be divided: a character or an escape sequence. Room for "..." is kept in reserve, so
 * that a cut can always be shown. */
static void put(struct text *t, const char *unit, size_t len)
{
    const size_t reserve = t->size >= sizeof ellipsis ? sizeof ellipsis : 1;
    if (t->cut || t->size == 0)
        return;
    if (len > t->size - reserve - t->len) {
        t->cut = true;
        unit = ellipsis;
        len = reserve - 1;
    }
    memcpy(t->out + t->len, unit, len);
    t->len += len;
    t->out[t->len] = '\0';
}

void text_word(struct text *t, const char *word)
{
    for (; *word != '\0'; word++)
        put(t, word, 1);
}

void text_dec(struct text *t, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    put(t, digits + at, sizeof digits - at);
}

void text_hex(struct text *t, uint64_t value, unsigned digits)
{
    char buf[16];
    size_t at = sizeof buf;
    while (at > 0 && (value > 0 || sizeof buf - at < digits)) {
        buf[--at] = hex_digits[value & 15];
        value >>= 4;
    }
    put(t, buf + at, sizeof buf - at);
}

void text_octets(struct text *t, struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++)
        text_hex(t, octets.data[i], 2);
}

static void put_escape(struct text *t, uint8_t octet)
{
    const char escape[4] = {'\\', 'x', hex_digits[octet >> 4], hex_digits[octet & 15]};
    put(t, escape, sizeof escape);
}

static size_t character_length(uint8_t lead)
{
    if (lead < 0xC0)
        return 1;
    return lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

/* Well-formed characters that would still spoil a line on a terminal. */
static bool is_harmful(struct bytes c)
{
    if (c.len == 2)
        return c.data[0] == 0xC2 && c.data[1] < 0xA0; /* C1: U+0080..U+009F */
    if (c.len != 3 || c.data[0] != 0xE2)
        return false;
    const uint8_t last = c.data[2];
    if (c.data[1] == 0x80) /* U+200E, U+200F; U+2028..U+202E */
        return last == 0x8E || last == 0x8F || (last >= 0xA8 && last <= 0xAE);
    return c.data[1] == 0x81 && last >= 0xA6 && last <= 0xA9; /* U+2066..U+2069 */
}

static void put_character(struct text *t, struct bytes c)
{
    const uint8_t lead = c.data[0];
    if (lead == '"' || lead == '\\') {
        const char pair[2] = {'\\', (char)lead};
        put(t, pair, sizeof pair);
    } else if (lead < 0x20 || lead == 0x7F || (c.len == 1 && lead >= 0x80) || is_harmful(c)) {
        for (size_t i = 0; i < c.len; i++)
            put_escape(t, c.data[i]);
    } else {
        put(t, (const char *)c.data, c.len);
    }
}

/* Escapes whole characters while they end within `most` octets. True when all were. */
static bool put_escaped(struct text *t, struct bytes value, size_t most)
{
    const bool utf8 = bytes_is_utf8(value);
    struct reader r = rd_of(value);
    while (rd_left(&r) > 0 && !t->cut) {
        const size_t n = utf8 ? character_length(*r.at) : 1;
        if (n > most)
            return false;
        most -= n;
        const struct bytes c = rd_bytes(&r, n);
        if (c.len > 0) /* always, as the text is well-formed */
            put_character(t, c);
    }
    return true;
}

void text_escaped(struct text *t, struct bytes value)
{
    put_escaped(t, value, SIZE_MAX);
}

void text_quoted(struct text *t, struct bytes value, size_t most)
{
    put(t, "\"", 1);
    const bool whole = put_escaped(t, value, most);
    put(t, "\"", 1);
    if (!whole)
        text_word(t, ellipsis);
}
