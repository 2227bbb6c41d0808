/* SPDX-License-Identifier: Apache-2.0 */
/* Views and cursors; and UTF-8 judged against a decoder that works with code points. */
#include <stdlib.h>

#include "base/bytes.h"

#include "unit/suite.h"

START_TEST(a_reader_yields_the_fields_and_closes_at_the_end)
{
    static const uint8_t octets[] = {1,    0x12, 0x34, 0xDE, 0xAD, 0xBE, 0xEF, 0x34,
                                     0x12, 4,    3,    2,    1,    'a',  'b',  'c'};
    struct reader r = rd_of(bytes_of(octets, sizeof octets));
    ck_assert_uint_eq(rd_left(&r), sizeof octets);
    ck_assert_uint_eq(rd_u8(&r), 1);
    ck_assert_uint_eq(rd_u16(&r), 0x1234);
    ck_assert_uint_eq(rd_u32(&r), 0xDEADBEEF);
    ck_assert_uint_eq(rd_u16_le(&r), 0x1234);
    ck_assert_uint_eq(rd_u32_le(&r), 0x01020304);
    ck_assert(bytes_equal(rd_bytes(&r, 2), bytes_str("ab")));
    ck_assert(!rd_close(&r));
    ck_assert(bytes_equal(rd_rest(&r), bytes_str("c")));
    ck_assert(rd_close(&r));
    ck_assert_uint_eq(rd_rest(&r).len, 0);
    ck_assert(rd_close(&r));
}

END_TEST

START_TEST(a_reader_that_failed_stays_failed_and_yields_nothing)
{
    for (size_t n = 0; n < 4; n++) {
        uint8_t *octets = malloc(n);
        memset(octets, 0xFF, n);
        struct reader r = rd_of(bytes_of(octets, n));
        ck_assert_uint_eq(rd_bytes(&r, n + 1).len, 0);
        ck_assert_uint_eq(rd_left(&r), 0);
        ck_assert_uint_eq(rd_u8(&r), 0);
        ck_assert_uint_eq(rd_u16(&r), 0);
        ck_assert_uint_eq(rd_u32(&r), 0);
        ck_assert_uint_eq(rd_u16_le(&r), 0);
        ck_assert_uint_eq(rd_u32_le(&r), 0);
        ck_assert_uint_eq(rd_rest(&r).len, 0);
        ck_assert(!rd_close(&r));
        free(octets);
    }
}

END_TEST

START_TEST(an_integer_cut_in_the_middle_reads_as_zero)
{
    for (size_t n = 0; n < 4; n++) {
        uint8_t *octets = malloc(n);
        memset(octets, 0xFF, n);
        struct reader big = rd_of(bytes_of(octets, n));
        struct reader little = big;
        (void)rd_u32(&big);
        (void)rd_u32_le(&little);
        ck_assert(big.failed && little.failed);
        if (n < 2) {
            struct reader r = rd_of(bytes_of(octets, n));
            ck_assert_uint_eq(rd_u16(&r), 0);
            ck_assert(r.failed);
        }
        free(octets);
    }
}

END_TEST

START_TEST(a_view_of_nothing_can_be_read_and_compared)
{
    struct reader r = rd_of(bytes_of(NULL, 0));
    ck_assert(rd_close(&r));
    ck_assert_uint_eq(rd_rest(&r).len, 0);
    ck_assert_uint_eq(rd_bytes(&r, SIZE_MAX).len, 0);
    ck_assert(r.failed);
    ck_assert(bytes_equal(bytes_of(NULL, 0), bytes_str("")));
    ck_assert(!bytes_equal(bytes_of(NULL, 0), bytes_str("a")));
    ck_assert(!bytes_equal(bytes_str("ab"), bytes_str("ac")));
    ck_assert(bytes_is_utf8(bytes_of(NULL, 0)));
}

END_TEST

static void write_all(struct writer *w)
{
    wr_u8(w, 1);
    wr_u16(w, 0x1234);
    wr_u32(w, 0xDEADBEEF);
    wr_u16_le(w, 0x1234);
    wr_u32_le(w, 0x01020304);
    wr_bytes(w, bytes_str("abc"));
    wr_bytes(w, bytes_of(NULL, 0));
}

START_TEST(a_writer_counts_without_a_buffer_and_fits_exactly_or_not_at_all)
{
    static const uint8_t want[] = {1,    0x12, 0x34, 0xDE, 0xAD, 0xBE, 0xEF, 0x34,
                                   0x12, 4,    3,    2,    1,    'a',  'b',  'c'};
    struct writer counting = wr_to(NULL, 0);
    write_all(&counting);
    ck_assert_uint_eq(wr_close(&counting), sizeof want);
    for (size_t cap = 0; cap <= sizeof want; cap++) {
        uint8_t *buf = malloc(cap);
        struct writer w = wr_to(buf, cap);
        write_all(&w);
        ck_assert_uint_eq(wr_close(&w), cap < sizeof want ? 0 : sizeof want);
        if (cap == sizeof want)
            ck_assert_mem_eq(buf, want, sizeof want);
        wr_u8(&w, 0);
        ck_assert(w.failed);
        free(buf);
    }
}

END_TEST

START_TEST(a_writer_that_failed_takes_nothing_more)
{
    uint8_t buf[2];
    struct writer w = wr_to(buf, sizeof buf);
    wr_bytes(&w, bytes_str("abc"));
    wr_u8(&w, 1); /* would fit */
    ck_assert_uint_eq(w.len, 0);
    ck_assert_uint_eq(wr_close(&w), 0);

    struct writer counting = wr_to(NULL, 0);
    counting.len = SIZE_MAX - 1;
    wr_u16(&counting, 0);
    ck_assert(counting.failed);
}

END_TEST

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

static size_t put_code_point(uint32_t c, uint8_t *out)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xC0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xE0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (c & 0x3F));
    return 4;
}

START_TEST(every_scalar_value_is_accepted_but_null_and_surrogates)
{
    for (uint32_t c = 0; c <= 0x1FFFFF; c++) {
        uint8_t text[4];
        const size_t n = put_code_point(c, text);
        const bool is_scalar = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
        if (bytes_is_utf8(bytes_of(text, n)) != (is_scalar && c != 0))
            ck_abort_msg("U+%04X", c);
    }
}

END_TEST

/* Decodes one code point the naive way and asks whether it is written like that. */
static bool naive_is_utf8(const uint8_t *d, size_t n)
{
    for (size_t at = 0; at < n;) {
        const size_t len = d[at] < 0x80 ? 1 : d[at] < 0xE0 ? 2 : d[at] < 0xF0 ? 3 : 4;
        if (len > n - at || (d[at] >= 0x80 && d[at] < 0xC0) || d[at] >= 0xF8)
            return false;
        uint32_t c = len == 1 ? d[at] : d[at] & (0x7FU >> len);
        for (size_t i = 1; i < len; i++) {
            if (d[at + i] < 0x80 || d[at + i] > 0xBF)
                return false;
            c = c << 6 | (d[at + i] & 0x3F);
        }
        uint8_t again[4];
        if (c == 0 || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
            return false;
        if (put_code_point(c, again) != len || memcmp(again, d + at, len) != 0)
            return false;
        at += len;
    }
    return true;
}

START_TEST(every_sequence_of_up_to_three_octets_is_judged_right)
{
    for (size_t n = 1; n <= 3; n++) {
        uint8_t *d = malloc(n);
        for (uint32_t value = 0; value < 1U << (8 * n); value++) {
            for (size_t i = 0; i < n; i++)
                d[i] = (uint8_t)(value >> (8 * i));
            if (bytes_is_utf8(bytes_of(d, n)) != naive_is_utf8(d, n))
                ck_abort_msg("%zu octets, little-endian 0x%x", n, value);
        }
        free(d);
    }
}

END_TEST

START_TEST(every_border_of_four_octets_is_judged_right)
{
    static const uint8_t tails[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    uint8_t *d = malloc(4);
    for (unsigned lead = 0xE0; lead <= 0xFF; lead++) {
        for (unsigned second = 0; second <= 0xFF; second++) {
            for (unsigned tail = 0; tail < 100; tail++) {
                d[0] = (uint8_t)lead;
                d[1] = (uint8_t)second;
                d[2] = tails[tail / 10];
                d[3] = tails[tail % 10];
                if (bytes_is_utf8(bytes_of(d, 4)) != naive_is_utf8(d, 4))
                    ck_abort_msg("%02x %02x %02x %02x", d[0], d[1], d[2], d[3]);
            }
        }
    }
    free(d);
}

END_TEST

struct utf8_case {
    const char *text;
    size_t len;
    bool good;
};

static const struct utf8_case utf8_cases[] = {
    {"temp/r\xC3\xA4umlich",     14, true },
    {"\xE2\x82\xAC",             3,  true },
    {"\xF0\x9F\x98\x80",         4,  true },
    {"\xEF\xBB\xBF",             3,  true }, /* a byte order mark is a character */
    {"\xEF\xBF\xBF",             3,  true }, /* a noncharacter, allowed by MQTT */
    {"a\0b",                     3,  false}, /* U+0000 */
    {"\xC0\x80",                 2,  false}, /* U+0000, overlong */
    {"\xC1\xBF",                 2,  false}, /* overlong */
    {"\xE0\x9F\xBF",             3,  false}, /* overlong */
    {"\xF0\x8F\xBF\xBF",         4,  false}, /* overlong */
    {"\xED\xA0\x80",             3,  false}, /* surrogate D800 */
    {"\xED\xBF\xBF",             3,  false}, /* surrogate DFFF */
    {"\xED\xA0\xBD\xED\xB8\x80", 6,  false}, /* a surrogate pair */
    {"\xF4\x90\x80\x80",         4,  false}, /* U+110000 */
    {"\xF5\x80\x80\x80",         4,  false},
    {"\xFF",                     1,  false},
    {"\x80",                     1,  false},
    {"ab\xC3",                   3,  false},
    {"ab\xE2\x82",               4,  false},
    {"ab\xF0\x9F\x98",           5,  false},
    {"\xC3\x28",                 2,  false},
    {"\xE2\x82\xC3\xA4",         4,  false},
};

START_TEST(utf8_of_the_table)
{
    const struct utf8_case *c = &utf8_cases[_i];
    uint8_t *copy = malloc(c->len);
    memcpy(copy, c->text, c->len);
    ck_assert_int_eq(bytes_is_utf8(bytes_of(copy, c->len)), c->good);
    free(copy);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("bytes");
    TCase *tc = tcase_create("bytes");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_reader_yields_the_fields_and_closes_at_the_end);
    tcase_add_test(tc, a_reader_that_failed_stays_failed_and_yields_nothing);
    tcase_add_test(tc, an_integer_cut_in_the_middle_reads_as_zero);
    tcase_add_test(tc, a_view_of_nothing_can_be_read_and_compared);
    tcase_add_test(tc, a_writer_counts_without_a_buffer_and_fits_exactly_or_not_at_all);
    tcase_add_test(tc, a_writer_that_failed_takes_nothing_more);
    tcase_add_test(tc, every_scalar_value_is_accepted_but_null_and_surrogates);
    tcase_add_test(tc, every_sequence_of_up_to_three_octets_is_judged_right);
    tcase_add_test(tc, every_border_of_four_octets_is_judged_right);
    tcase_add_loop_test(tc, utf8_of_the_table, 0, (int)(sizeof utf8_cases / sizeof utf8_cases[0]));
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
