/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets on plain serial lines: vectors, and the one promise of a framer: whatever the line does,
 * the next intact packet is found.
 */
#include "radio/stick/framing.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { FRAMINGS = 4, FRAME_MAX = 4096 };

static struct framer f;

/* What came out of the framer. */
static uint8_t got[256][256];
static size_t got_len[256];
static size_t n_got;

static void feed(struct bytes in)
{
    struct reader r = rd_of(in);
    struct bytes packet;
    while (framer_next(&f, &r, &packet)) {
        ck_assert_uint_le(packet.len, f.limit);
        if (packet.len <= 256) {
            memcpy(got[n_got % 256], packet.data, packet.len);
            got_len[n_got % 256] = packet.len;
        }
        n_got++;
    }
    ck_assert_uint_eq(rd_left(&r), 0);
}

static void start(int framing, uint32_t limit)
{
    framer_init(&f, (enum line_framing)framing, limit);
    n_got = 0;
}

static bool last_is(struct bytes packet)
{
    const size_t i = (n_got + 255) % 256;
    return n_got > 0 && bytes_equal(bytes_of(got[i], got_len[i]), packet);
}

/* A packet of MQTT-SN, so that LINE_RAW takes it too; full of what needs escaping. */
static struct bytes packet_of(uint8_t room[static 255], size_t len, uint8_t salt)
{
    static const uint8_t awkward[] = {0xC0, 0xDB, 0x00, 0x7E, 0x7D, 0x11, 0x13, 0xDC, 0xDD, 0xFE};
    struct writer w = wr_to(room, 255);
    wr_u8(&w, (uint8_t)len);
    wr_u8(&w, 0x0C);
    while (w.len < len)
        wr_u8(&w, awkward[(w.len * (1 + salt % 7) + salt) % sizeof awkward]);
    return bytes_of(room, wr_close(&w));
}

static struct bytes frame_of(uint8_t room[static FRAME_MAX], int framing, struct bytes packet)
{
    struct writer w = wr_to(room, FRAME_MAX);
    framer_encode((enum line_framing)framing, &w, packet);
    ck_assert_uint_gt(wr_close(&w), 0);
    ck_assert_uint_le(w.len, FRAMER_FRAME_MAX);
    return bytes_of(room, w.len);
}

/* ---- vectors ----------------------------------------------------------------------------------- */

struct vector {
    enum line_framing framing;
    struct bytes packet, frame;
    bool one_way; /* another encoder may escape otherwise */
};

#define B(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* clang-format off */
static const struct vector vectors[] = {
    /* Spinel over HDLC-lite: of another project's encoder. */
    {LINE_HDLC, B("\x80\x01\x02"), B("\x7E\x80\x01\x02\xEA\xF0\x7E"), false},
    {LINE_HDLC, B("\x81\x02\x01"), B("\x7E\x81\x02\x01\xC5\xB2\x7E"), false},
    {LINE_HDLC, B("\x83\x03\x21\x0F"), B("\x7E\x83\x03\x21\x0F\x05\xD9\x7E"), false},
    {LINE_HDLC, B("\x84\x03\x20\x01"), B("\x7E\x84\x03\x20\x01\x82\x7D\x5E\x7E"), false},
    {LINE_HDLC, B("\x85\x03\x36\x62\x1A"), B("\x7E\x85\x03\x36\x62\x1A\xF2\xFF\x7E"), false},
    {LINE_HDLC, B("\x88\x06\x00\x11"), B("\x7E\x88\x06\x00\x7D\x31\xB9\xE3\x7E"), false},
    {LINE_HDLC, B("\x80\x06\x00\x72"), B("\x7E\x80\x06\x00\x72\xFC\x57\x7E"), false},
    {LINE_HDLC, B("123456789"), B("\x7E" "123456789" "\x6E\x90\x7E"), false},
    /* Escapes that need not be are understood all the same. */
    {LINE_HDLC, B("123456789"), B("\x7E\x7D\x11" "2345678" "\x7D\x19\x6E\x90\x7E"), true},
    /* A frame to a ConBee whose payload holds both octets that SLIP escapes. */
    {LINE_SLIP, B("\x12\x0F\x00\x25\x00\x1E\x00\x03\x00\x03\xAA\x2B\x52\x40\x00\xA2\x13\x00\xE8"
                  "\x05\xC1\x11\x00\xE8\x09\x00\x09\x0C\x00\x00\x11\x00\x00\xC0\xDB\x04\x00\x05\xF9"),
                B("\xC0\x12\x0F\x00\x25\x00\x1E\x00\x03\x00\x03\xAA\x2B\x52\x40\x00\xA2\x13\x00\xE8"
                  "\x05\xC1\x11\x00\xE8\x09\x00\x09\x0C\x00\x00\x11\x00\x00\xDB\xDC\xDB\xDD\x04\x00"
                  "\x05\xF9\xC0"), false},
    /* What the Aquila bridge says, its CRC taken as content. */
    {LINE_SLIP, B("\xC8\x28\x05\xFE\x00\x01\x00\x03\x01\x00\xF8\xC7"),
                B("\xC0\xC8\x28\x05\xFE\x00\x01\x00\x03\x01\x00\xF8\xC7\xC0"), false},
    {LINE_COBS, B("123456789"), B("\x00\x0C" "123456789" "\x6E\x90\x00"), false},
    {LINE_RAW, B("\x02\x16"), B("\x02\x16"), false},
    {LINE_RAW, B("\x08\x04\x04\x01\x00\x3C\x6E\x31"), B("\x08\x04\x04\x01\x00\x3C\x6E\x31"), false},
    {LINE_RAW, B("\x01\x00\x08\x0C\x00\x00\x00\x01"), B("\x01\x00\x08\x0C\x00\x00\x00\x01"), false},
    /* Behind envelopes. */
    {LINE_RAW, B("\x05\xFE\x00\x00\x01\x02\x16"), B("\x05\xFE\x00\x00\x01\x02\x16"), false},
    {LINE_RAW, B("\x04\xFE\x00\xAA\x05\xFE\x00\xBB\xCC\x02\x16"),
               B("\x04\xFE\x00\xAA\x05\xFE\x00\xBB\xCC\x02\x16"), false},
};

/* clang-format on */

START_TEST(vectors_are_read_and_written)
{
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        const struct vector *v = &vectors[i];
        uint8_t room[FRAME_MAX];
        start(v->framing, 255);
        feed(v->frame);
        ck_assert_msg(n_got == 1 && last_is(v->packet), "vector %zu is not read", i);
        ck_assert_uint_eq(f.frames, 1);
        ck_assert_uint_eq(f.bad_frames + f.skipped, 0);
        if (!v->one_way)
            ck_assert_msg(bytes_equal(frame_of(room, v->framing, v->packet), v->frame),
                          "vector %zu is not written", i);
    }
}

END_TEST

struct bad {
    enum line_framing framing;
    struct bytes line;
};

/* clang-format off */
static const struct bad bads[] = {
    {LINE_HDLC, B("\x7E\x80\x01\x02\xEA\xF1\x7E")},         /* CRC */
    {LINE_HDLC, B("\x7E\x80\x01\x02\xEA\xF0\x7D\x7E")},     /* abort */
    {LINE_HDLC, B("\x7E\xFF\x7E")},                         /* shorter than a CRC */
    {LINE_HDLC, B("\x7E\x00\x00\x7E")},                     /* a CRC of nothing, and a wrong one */
    {LINE_SLIP, B("\xC0\x02\xDB\x16\xC0")},                 /* escape of nothing */
    {LINE_SLIP, B("\xC0\x02\x16\xDB\xC0")},                 /* escape at the end */
    {LINE_COBS, B("\x00\x0D" "123456789" "\x6E\x90\x00")},  /* points past the end */
    {LINE_COBS, B("\x00\x0B" "123456789" "\x6E\x90\x00")},  /* points to no code */
    {LINE_COBS, B("\x00\x0C" "123456788" "\x6E\x90\x00")},  /* CRC */
    {LINE_COBS, B("\x00\x01\x01\x00")},                     /* nothing but a zero */
    {LINE_RAW, B("\x00\x00\x00")},
    {LINE_RAW, B("\x01\x00\x03\x16")},                      /* shorter than its own header */
    {LINE_RAW, B("\x02\x03")},                              /* reserved types */
    {LINE_RAW, B("\x02\x11")},
    {LINE_RAW, B("\x02\x19")},
    {LINE_RAW, B("\x02\x1E")},
    {LINE_RAW, B("\x02\x1F")},
    {LINE_RAW, B("\x02\xFD")},
    {LINE_RAW, B("\x01\xFF\xFF\x0C")},                      /* longer than anything here */
    {LINE_RAW, B("\x02\xFE")},                              /* an envelope without its control */
    {LINE_RAW, B("\x03\xFE\x00\x03\xFE\x00\x03\xFE\x00\x03\xFE\x00\x02\x16")}, /* too deep */
};

/* clang-format on */

START_TEST(bad_frames_are_dropped_and_counted)
{
    for (size_t i = 0; i < sizeof bads / sizeof *bads; i++) {
        uint8_t packet[255], frame[FRAME_MAX];
        const struct bytes next = packet_of(packet, 9, 3);
        start(bads[i].framing, 255);
        feed(bads[i].line);
        framer_pause(&f);
        ck_assert_msg(n_got == 0, "number %zu was taken", i);
        ck_assert_msg(f.bad_frames > 0 && f.skipped > 0, "number %zu was not counted", i);
        feed(frame_of(frame, bads[i].framing, next));
        ck_assert_msg(n_got == 1 && last_is(next), "nothing found after number %zu", i);
    }
}

END_TEST

START_TEST(silence_between_delimiters_is_no_frame)
{
    start(LINE_SLIP, 255);
    feed(bytes_of("\xC0\xC0\xC0\xC0", 4));
    start(LINE_HDLC, 255);
    feed(bytes_of("~~~~", 4));
    ck_assert_uint_eq(n_got, 0);
    ck_assert_uint_eq(f.bad_frames + f.skipped, 0);
}

END_TEST

START_TEST(a_pause_ends_a_raw_packet_only)
{
    for (int framing = 0; framing < FRAMINGS; framing++) {
        uint8_t packet[255], frame[FRAME_MAX];
        const struct bytes whole = frame_of(frame, framing, packet_of(packet, 50, 1));
        start(framing, 255);
        ck_assert(!framer_waits(&f));
        feed(bytes_of(whole.data, 20));
        ck_assert_int_eq(framer_waits(&f), framing == LINE_RAW);
        framer_pause(&f);
        feed(bytes_of(whole.data + 20, whole.len - 20));
        framer_pause(&f);
        ck_assert_int_eq(last_is(bytes_of(packet, 50)), framing != LINE_RAW);
        ck_assert(!framer_waits(&f));
    }
}

END_TEST

/* ---- round trips ------------------------------------------------------------------------------- */

START_TEST(every_length_passes)
{
    struct rng rng = seeded_rng();
    for (size_t len = 1; len <= FRAMER_PACKET_MAX; len++) {
        uint8_t packet[FRAMER_PACKET_MAX], frame[FRAME_MAX];
        const unsigned mode = (unsigned)rng_below(&rng, 3);
        for (size_t i = 0; i < len; i++)
            packet[i] = mode == 0 ? (uint8_t)rng_next(&rng) : mode == 1 ? 0x7E : (uint8_t)(i % 255);
        start(_i, FRAMER_PACKET_MAX);
        struct reader r = rd_of(frame_of(frame, _i, bytes_of(packet, len)));
        struct bytes out;
        ck_assert(framer_next(&f, &r, &out));
        ck_assert(bytes_equal(out, bytes_of(packet, len)));
        ck_assert(!framer_next(&f, &r, &out));
    }
}

END_TEST

START_TEST(a_packet_over_the_limit_is_bad)
{
    uint8_t packet[255], frame[FRAME_MAX];
    for (size_t len = 60; len < 70; len++) {
        start(_i, 64);
        feed(frame_of(frame, _i, packet_of(packet, len, 1)));
        if (_i != LINE_RAW)
            ck_assert_uint_eq(n_got, len <= 64);
        else
            ck_assert_int_eq(last_is(bytes_of(packet, len)), len <= 64);
    }
}

END_TEST

START_TEST(frames_cut_anywhere_and_merged_pass)
{
    uint8_t packet[3][255], frame[FRAME_MAX], line[3 * FRAME_MAX];
    struct writer w = wr_to(line, sizeof line);
    for (uint8_t i = 0; i < 3; i++)
        wr_bytes(&w, frame_of(frame, _i, packet_of(packet[i], 20U + 40U * i, i)));
    for (size_t cut = 0; cut <= w.len; cut++) {
        start(_i, 255);
        feed(bytes_of(line, cut));
        feed(bytes_of(line + cut, w.len - cut));
        ck_assert_uint_eq(n_got, 3);
        for (size_t i = 0; i < 3; i++)
            ck_assert(bytes_equal(bytes_of(got[i], got_len[i]), bytes_of(packet[i], 20 + 40 * i)));
        ck_assert_uint_eq(f.bad_frames, 0);
    }
    start(_i, 255);
    for (size_t i = 0; i < w.len; i++)
        feed(bytes_of(line + i, 1));
    ck_assert_uint_eq(n_got, 3);
}

END_TEST

START_TEST(single_delimiters_between_frames_are_enough)
{
    if (_i == LINE_RAW)
        return;
    uint8_t packet[255], frame[FRAME_MAX];
    const struct bytes p = packet_of(packet, 40, 2);
    const struct bytes whole = frame_of(frame, _i, p);
    start(_i, 255);
    feed(whole);
    for (unsigned i = 0; i < 3; i++)
        feed(bytes_of(whole.data + 1, whole.len - 1));
    ck_assert_uint_eq(n_got, 4);
}

END_TEST

/* ---- a bad line -------------------------------------------------------------------------------- */

/* What was fed before may have been anything: now an intact frame must be found. */
static void must_find(int framing, uint8_t salt)
{
    uint8_t packet[255], frame[FRAME_MAX];
    const struct bytes p = packet_of(packet, 5U + salt % 200U, salt);
    framer_pause(&f);
    feed(frame_of(frame, framing, p));
    ck_assert(last_is(p));
}

START_TEST(after_each_corrupted_octet_the_next_frame_is_found)
{
    uint8_t packet[255], frame[FRAME_MAX], line[FRAME_MAX];
    const struct bytes p = packet_of(packet, 60, 5);
    const struct bytes whole = frame_of(frame, _i, p);
    for (size_t at = 0; at < whole.len; at++) {
        for (unsigned value = 0; value < 256; value++) {
            if (value == whole.data[at])
                continue;
            memcpy(line, whole.data, whole.len);
            line[at] = (uint8_t)value;
            start(_i, 255);
            feed(bytes_of(line, whole.len));
            /* A CRC lets nothing through. Its delimiters may be spoiled: then it is whole. */
            const bool delimiter = at == 0 || at + 1 == whole.len;
            if (_i >= LINE_HDLC && !delimiter && n_got != 0)
                ck_abort_msg("octet %zu as %02X was taken", at, value);
            must_find(_i, (uint8_t)(at + value));
        }
    }
}

END_TEST

START_TEST(after_each_missing_octet_the_next_frame_is_found)
{
    uint8_t packet[255], frame[FRAME_MAX], line[FRAME_MAX];
    const struct bytes whole = frame_of(frame, _i, packet_of(packet, 60, 5));
    for (size_t at = 0; at < whole.len; at++) {
        memcpy(line, whole.data, at);
        memcpy(line + at, whole.data + at + 1, whole.len - at - 1);
        start(_i, 255);
        feed(bytes_of(line, whole.len - 1));
        must_find(_i, (uint8_t)at);
    }
}

END_TEST

START_TEST(after_each_part_of_a_frame_the_next_one_is_found)
{
    uint8_t packet[255], frame[FRAME_MAX];
    const struct bytes whole = frame_of(frame, _i, packet_of(packet, 100, 9));
    for (size_t from = 0; from < whole.len; from++) {
        for (size_t to = from; to <= whole.len; to++) {
            start(_i, 255);
            feed(bytes_of(whole.data + from, to - from));
            must_find(_i, (uint8_t)(from ^ to));
        }
    }
}

END_TEST

START_TEST(between_millions_of_random_octets_every_frame_is_found)
{
    struct rng rng = seeded_rng();
    uint8_t noise[4096];
    const unsigned octets = sample_of(2000000, 10000000);
    size_t rest = octets;
    uint64_t put = 0;
    start(_i, 255);
    while (rest > 0) {
        size_t n = (size_t)rng_below(&rng, sizeof noise + 1);
        n = n < rest ? n : rest;
        for (size_t i = 0; i < n; i += 8) {
            const uint64_t x = rng_next(&rng);
            memcpy(noise + i, &x, n - i < 8 ? n - i : 8);
        }
        rest -= n;
        feed(bytes_of(noise, n));
        must_find(_i, (uint8_t)rng_next(&rng));
        put++;
    }
    ck_assert_uint_gt(put, octets / 2500);
    /* A CRC of 16 bits takes one of 65,536 random frames. */
    if (_i >= LINE_HDLC)
        ck_assert_uint_le(f.frames, put + 10);
    ck_assert_uint_gt(f.bad_frames, octets / 10000);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("framing");
    TCase *tc = tcase_create("framing");
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, vectors_are_read_and_written);
    tcase_add_test(tc, bad_frames_are_dropped_and_counted);
    tcase_add_test(tc, silence_between_delimiters_is_no_frame);
    tcase_add_test(tc, a_pause_ends_a_raw_packet_only);
    tcase_add_loop_test(tc, every_length_passes, LINE_SLIP, FRAMINGS);
    tcase_add_loop_test(tc, a_packet_over_the_limit_is_bad, 0, FRAMINGS);
    tcase_add_loop_test(tc, frames_cut_anywhere_and_merged_pass, 0, FRAMINGS);
    tcase_add_loop_test(tc, single_delimiters_between_frames_are_enough, 0, FRAMINGS);
    tcase_add_loop_test(tc, after_each_corrupted_octet_the_next_frame_is_found, 0, FRAMINGS);
    tcase_add_loop_test(tc, after_each_missing_octet_the_next_frame_is_found, 0, FRAMINGS);
    tcase_add_loop_test(tc, after_each_part_of_a_frame_the_next_one_is_found, 0, FRAMINGS);
    tcase_add_loop_test(tc, between_millions_of_random_octets_every_frame_is_found, 0, FRAMINGS);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
