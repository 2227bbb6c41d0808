/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of WebSockets, as one machine (RFC 6455, 5): whole, octet by octet, and wrong ones. */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "base/rng.h"

#include "broker/websocket.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { ROOM = 80000 };

static struct ws_reader reader;
static uint8_t payload[ROOM];
static size_t payload_len;

/* In pieces of `step` octets. */
static void feed(const uint8_t *octets, size_t len, size_t step)
{
    static uint8_t piece[ROOM];
    reader = (struct ws_reader){0};
    payload_len = 0;
    for (size_t at = 0; at < len; at += step) {
        const size_t n = len - at < step ? len - at : step;
        memcpy(piece, octets + at, n);
        const size_t got = ws_input(&reader, piece, n);
        ck_assert_uint_le(got, n);
        memcpy(payload + payload_len, piece, got);
        payload_len += got;
    }
}

#define OCTETS(...) (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

/* ---- what servers may send ------------------------------------------------------------------- */

static const struct {
    const uint8_t *octets;
    size_t n;
    const char *payload;
    bool pinged, closed;
    unsigned status;
} good[] = {
    {OCTETS(0x82, 2, 'a',         'b'),  "ab",  false, false,      0            },
    {                    OCTETS(0x82,      0,                    0x82,               1, 'x'), "x",     false,           false,    0},
    {            OCTETS(0x02,         1,          'a',               0x00,                1,                'b', 0x80,      1,             'c'), "abc", false, false, 0},
    {                    OCTETS(0x02,      1,                    'a',               0x89,   2,  'h',     'i',       0x80,          1, 'c'), "ac", true, false, 0},
    {                OCTETS(0x02,                           0,                                              0x8A,        1,     '?',   0x80,  1,          'c'),          "c", false, false, 0},
    { OCTETS(0x89,0),"", true,   false,    0 },
    {                            OCTETS(0x82,                               1,                                                                   'a',                 0x88,                  0,   0x82, 1,        'b'),                    "a", false, true, WS_NO_STATUS},
    { OCTETS(0x88,      2,                    0x03,           0xE8),  "",  false,      true,1000},
    {                                     OCTETS(0x88, 5,            0x03,            0xF3,             'w',              'h',                   'y'),  "",                           false, true, 1011},
};

START_TEST(payload_is_taken_out_however_it_comes)
{
    for (size_t step = 1; step <= good[_i].n; step++) {
        feed(good[_i].octets, good[_i].n, step);
        ck_assert_uint_eq(reader.fault, WS_FINE);
        ck_assert_uint_eq(payload_len, strlen(good[_i].payload));
        ck_assert_mem_eq(payload, good[_i].payload, payload_len);
        ck_assert(reader.pinged == good[_i].pinged);
        ck_assert(reader.closed == good[_i].closed);
        ck_assert_uint_eq(reader.status, good[_i].status);
    }
}

END_TEST

START_TEST(the_latest_ping_is_kept_whole)
{
    feed(OCTETS(0x89, 1, 'a', 0x89, 2, 'b', 'c', 0x8A, 1, 'd'), 3);
    ck_assert(reader.pinged);
    ck_assert_uint_eq(reader.ping_len, 2);
    ck_assert_mem_eq(reader.ping, "bc", 2);
}

END_TEST

START_TEST(a_close_has_its_reason)
{
    feed(OCTETS(0x88, 5, 0x03, 0xF3, 'w', 'h', 'y'), 7);
    ck_assert(bytes_equal(ws_close_reason(&reader), bytes_str("why")));
    feed(OCTETS(0x88, 2, 0x03, 0xF3), 4);
    ck_assert_uint_eq(ws_close_reason(&reader).len, 0);
    feed(OCTETS(0x82, 3, 'a', 'b', 'c'), 5);
    ck_assert_uint_eq(ws_close_reason(&reader).len, 0);
}

END_TEST

static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};

START_TEST(every_form_of_a_length_is_read)
{
    static uint8_t frame[ROOM];
    const size_t len = lengths[_i];
    struct writer w = wr_to(frame, sizeof frame);

    wr_u8(&w, 0x82);
    if (len <= 125) {
        wr_u8(&w, (uint8_t)len);
    } else if (len <= 65535) {
        wr_u8(&w, 126);
        wr_u16(&w, (uint16_t)len);
    } else {
        wr_u8(&w, 127);
        wr_u32(&w, 0);
        wr_u32(&w, (uint32_t)len);
    }
    const size_t head = w.len;
    for (size_t i = 0; i < len; i++)
        wr_u8(&w, (uint8_t)(i * 7));
    feed(frame, wr_close(&w), 4096);
    ck_assert_uint_eq(reader.fault, WS_FINE);
    ck_assert_uint_eq(payload_len, len);
    ck_assert(memcmp(payload, frame + head, len) == 0);
}

END_TEST

/* ---- what they may not ----------------------------------------------------------------------- */

static const struct {
    const uint8_t *octets;
    size_t n;
    enum ws_fault fault;
} bad[] = {
    {OCTETS(0x82,        0x81,               1,                                2,3, 4, 5), WS_FAULT_MASKED},
    {OCTETS(0xC2,                 0),                                 WS_FAULT_RESERVED                                                 },
    {OCTETS(0xA2,0),WS_FAULT_RESERVED},
    {OCTETS(0x92, 0),                                                   WS_FAULT_RESERVED                                                                                                                         },
    {OCTETS(0x83,                  0),                          WS_FAULT_OPCODE},
    {OCTETS(0x87,        0),                 WS_FAULT_OPCODE                 },
    {OCTETS(0x8B,                0),    WS_FAULT_OPCODE                                },
    {OCTETS(0x8F,   0),                     WS_FAULT_OPCODE                      },
    {OCTETS(0x81,                  0),                          WS_FAULT_TEXT                                                },
    {OCTETS(0x01,        0),         WS_FAULT_TEXT                       },
    {OCTETS(0x09,                0),  WS_FAULT_CONTROL   },
    {OCTETS(0x08,                 0),                               WS_FAULT_CONTROL                      },
    {OCTETS(0x89,               126,                         0,                                               126),WS_FAULT_CONTROL},
    {OCTETS(0x82,        126,       0,     125),WS_FAULT_LENGTH},
    {OCTETS(0x82,                 127,                                  0,                                                                 0, 0, 0, 0, 0, 0xFF, 0xFF), WS_FAULT_LENGTH},
    {OCTETS(0x82,   127,                     0,                                           0,0, 1, 0, 0, 0, 0), WS_FAULT_LENGTH},
    {OCTETS(0x82,                 127,                                  0x80,                       0,0, 0, 0, 1, 0, 0), WS_FAULT_LENGTH},
    {OCTETS(0x82,                 127,                                 0,                                                  0,0, 0, 0x10, 0, 0, 5), WS_FAULT_LENGTH},
    {OCTETS(0x80,0),WS_FAULT_CONTINUATION},
    {OCTETS(0x00,                 0),                                  WS_FAULT_CONTINUATION                                                                },
    {OCTETS(0x02,                  0,                          0x82,                                       0),WS_FAULT_CONTINUATION},
    {OCTETS(0x82,                 0,                                  0x80,                                                              0),WS_FAULT_CONTINUATION},
    {OCTETS(0x88,                1,                   3),                                                   WS_FAULT_CLOSE},
};

START_TEST(a_fault_is_named_and_nothing_is_taken_after_it)
{
    uint8_t octets[64];
    memcpy(octets, bad[_i].octets, bad[_i].n);
    memcpy(octets + bad[_i].n, "\x82\x01!", 3);
    for (size_t step = 1; step <= bad[_i].n + 3; step++) {
        feed(octets, bad[_i].n + 3, step);
        ck_assert_uint_eq(reader.fault, bad[_i].fault);
        ck_assert_uint_eq(payload_len, 0);
    }
    ck_assert_str_ne(ws_fault_text(bad[_i].fault), ws_fault_text(WS_FINE));
}

END_TEST

START_TEST(the_largest_packet_of_mqtt_fits_in_one_frame)
{
    feed(OCTETS(0x82, 127, 0, 0, 0, 0, 0x10, 0, 0, 4, 'a'), 11);
    ck_assert_uint_eq(reader.fault, WS_FINE);
    ck_assert_uint_eq(payload_len, 1);
}

END_TEST

/* ---- ours ------------------------------------------------------------------------------------ */

START_TEST(our_frames_are_masked_and_in_the_shortest_form)
{
    static const uint8_t mask[4] = {0x37, 0xFA, 0x21, 0x3D};
    uint8_t head[WS_HEAD_MAX];

    /* RFC 6455, 5.7, but for the opcode. */
    ck_assert_uint_eq(ws_head(head, WS_BINARY, 5, mask), 6);
    ck_assert_mem_eq(head, "\x82\x85\x37\xfa\x21\x3d", 6);
    uint8_t hello[5];
    ws_mask(hello, (const uint8_t *)"Hello", 5, mask, 0);
    ck_assert_mem_eq(hello, "\x7f\x9f\x4d\x51\x58", 5);

    ck_assert_uint_eq(ws_head(head, WS_BINARY, 125, mask), 6);
    ck_assert_uint_eq(ws_head(head, WS_BINARY, 126, mask), 8);
    ck_assert_mem_eq(head + 1, "\xFE\x00\x7E", 3);
    ck_assert_uint_eq(ws_head(head, WS_BINARY, 65535, mask), 8);
    ck_assert_uint_eq(ws_head(head, WS_BINARY, 65536, mask), 14);
    ck_assert_mem_eq(head + 1, "\xFF\x00\x00\x00\x00\x00\x01\x00\x00", 9);
}

END_TEST

/* In any pieces, from anywhere, to anywhere. */
START_TEST(masking_in_pieces_is_masking)
{
    struct rng rng = seeded_rng();
    uint8_t in[100], whole[100], pieces[100], mask[4];

    for (unsigned round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof in; i++)
            in[i] = (uint8_t)rng_below(&rng, 256);
        for (size_t i = 0; i < sizeof mask; i++)
            mask[i] = (uint8_t)rng_below(&rng, 256);
        const size_t len = rng_below(&rng, sizeof in + 1);
        for (size_t i = 0; i < len; i++)
            whole[i] = in[i] ^ mask[i % 4];
        for (size_t at = 0; at < len;) {
            const size_t n = 1 + rng_below(&rng, len - at);
            ws_mask(pieces + at, in + at, n, mask, at);
            at += n;
        }
        ck_assert_mem_eq(pieces, whole, len);
    }
}

END_TEST

int main(void)
{
    Suite *s = suite_create("websocket_frames");
    TCase *t = tcase_create("frames");
    tcase_add_loop_test(t, payload_is_taken_out_however_it_comes, 0,
                        (int)(sizeof good / sizeof good[0]));
    tcase_add_test(t, the_latest_ping_is_kept_whole);
    tcase_add_test(t, a_close_has_its_reason);
    tcase_add_loop_test(t, every_form_of_a_length_is_read, 0,
                        (int)(sizeof lengths / sizeof lengths[0]));
    tcase_add_loop_test(t, a_fault_is_named_and_nothing_is_taken_after_it, 0,
                        (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(t, the_largest_packet_of_mqtt_fits_in_one_frame);
    tcase_add_test(t, our_frames_are_masked_and_in_the_shortest_form);
    tcase_add_test(t, masking_in_pieces_is_masking);
    suite_add_tcase(s, t);
    return run_suite(s);
}
