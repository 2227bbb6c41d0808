/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's tap on the broker: a stream of octets in any slices. */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "base/rng.h"

#include "tools/sim_tap.h"
#include "unit/suite.h"

static struct tap tap;

static void open_tap(void)
{
    ck_assert(tap_init(&tap));
}

static void close_tap(void)
{
    tap_deinit(&tap);
}

static void feed(const void *octets, size_t len)
{
    size_t room;
    uint8_t *at = tap_room(&tap, &room);
    ck_assert_uint_ge(room, len);
    memcpy(at, octets, len);
    tap_received(&tap, len);
}

static enum tap_event next(struct bytes *topic, struct bytes *data)
{
    return tap_next(&tap, topic, data);
}

static void assert_text(struct bytes got, const char *want)
{
    ck_assert(bytes_equal(got, bytes_str(want)));
}

START_TEST(writes_the_two_packets_of_a_subscriber)
{
    uint8_t out[64];
    static const uint8_t connect[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T',
                                      4,    2,  0, 0, 0,   2,   'i', 'd'};
    ck_assert_uint_eq(tap_connect(out, sizeof out, bytes_str("id")), sizeof connect);
    ck_assert_mem_eq(out, connect, sizeof connect);
    static const uint8_t subscribe[] = {0x82, 8, 0, 7, 0, 3, 'a', '/', '#', 0};
    ck_assert_uint_eq(tap_subscribe(out, sizeof out, 7, bytes_str("a/#")), sizeof subscribe);
    ck_assert_mem_eq(out, subscribe, sizeof subscribe);
    ck_assert_uint_eq(tap_subscribe(out, 9, 7, bytes_str("a/#")), 0);
}

END_TEST

static const uint8_t SESSION[] = {0x20, 2, 0, 0,                          /* CONNACK */
                                  0x90, 3, 0, 1, 0,                       /* SUBACK */
                                  0x30, 7, 0, 3, 'a', '/', 'b', '4', '2', /* PUBLISH */
                                  0xD0, 0,                                /* PINGRESP */
                                  0x31, 3, 0, 1, 'c'};                    /* empty, retained */

/* However the stream is cut, the same events come out. */
START_TEST(reads_a_session_in_any_slices)
{
    printf("seed %d\n", _i);
    struct rng rng;
    rng_seed(&rng, (uint64_t)_i);

    static const enum tap_event want[] = {TAP_CONNECTED, TAP_SUBSCRIBED, TAP_MESSAGE, TAP_MESSAGE};

    size_t fed = 0;
    unsigned seen = 0;
    while (fed < sizeof SESSION) {
        const size_t n = 1 + rng_below(&rng, sizeof SESSION - fed);
        feed(SESSION + fed, n);
        fed += n;
        struct bytes topic, data;
        enum tap_event event;
        while ((event = next(&topic, &data)) != TAP_NOTHING) {
            ck_assert_uint_lt(seen, 4);
            ck_assert_int_eq(event, want[seen]);
            if (seen == 2) {
                assert_text(topic, "a/b");
                assert_text(data, "42");
            } else if (seen == 3) {
                assert_text(topic, "c");
                ck_assert_uint_eq(data.len, 0);
            }
            seen++;
        }
    }
    ck_assert_uint_eq(seen, 4);
}

END_TEST

START_TEST(refusals_are_told)
{
    struct bytes topic, data;
    feed("\x20\x02\x00\x05", 4);
    ck_assert_int_eq(next(&topic, &data), TAP_REFUSED);
    feed("\x90\x03\x00\x01\x80", 5);
    ck_assert_int_eq(next(&topic, &data), TAP_REFUSED);
}

END_TEST

static const struct {
    const char *octets;
    size_t len;
} BROKEN[] = {
    {"\x00\x00",                     2}, /* reserved type */
    {"\x10\x00",                     2}, /* a CONNECT from a broker */
    {"\x20\x01\x00",                 3}, /* CONNACK too short */
    {"\x20\x03\x00\x00\x00",         5}, /* too long */
    {"\x90\x02\x00\x01",             4}, /* SUBACK without a code */
    {"\x30\x01\x00",                 3}, /* PUBLISH cut inside the topic's length */
    {"\x30\x03\x00\x05\x61",         5}, /* topic longer than the packet */
    {"\x32\x05\x00\x01\x61\x00\x01", 7}, /* QoS 1 was not subscribed */
    {"\x30\xff\xff\xff\x7f",         5}, /* longer than we take */
    {"\x30\xff\xff\xff\xff\x01",     6}, /* length of five octets */
};

START_TEST(what_is_no_mqtt_breaks_the_tap_for_good)
{
    struct bytes topic, data;
    feed(BROKEN[_i].octets, BROKEN[_i].len);
    ck_assert_int_eq(next(&topic, &data), TAP_BROKEN);
    feed(SESSION, sizeof SESSION);
    ck_assert_int_eq(next(&topic, &data), TAP_BROKEN);
    tap_reset(&tap);
    feed(SESSION, sizeof SESSION);
    ck_assert_int_eq(next(&topic, &data), TAP_CONNECTED);
}

END_TEST

START_TEST(the_longest_packet_fits_behind_a_full_one)
{
    static uint8_t packet[TAP_PACKET_MAX + 4];
    struct bytes topic, data;
    const size_t length = TAP_PACKET_MAX;
    packet[0] = 0x30;
    packet[1] = (uint8_t)((length & 127) | 128);
    packet[2] = (uint8_t)((length >> 7 & 127) | 128);
    packet[3] = (uint8_t)(length >> 14);
    packet[5] = 1;
    packet[6] = 't';
    for (int i = 0; i < 3; i++) {
        feed(packet, sizeof packet - 1);
        ck_assert_int_eq(next(&topic, &data), TAP_NOTHING);
        feed(packet + sizeof packet - 1, 1);
        ck_assert_int_eq(next(&topic, &data), TAP_MESSAGE);
        ck_assert_uint_eq(data.len, length - 3);
    }
}

END_TEST

START_TEST(random_octets_never_read_outside)
{
    struct rng rng;
    rng_seed(&rng, (uint64_t)_i);
    for (int i = 0; i < 2000; i++) {
        uint8_t octets[24];
        for (size_t k = 0; k < sizeof octets; k++)
            octets[k] = (uint8_t)rng_below(&rng, k == 1 ? 24 : 256);
        tap_reset(&tap);
        feed(octets, rng_below(&rng, sizeof octets + 1));
        struct bytes topic, data;
        enum tap_event event;
        while ((event = next(&topic, &data)) != TAP_NOTHING && event != TAP_BROKEN) {
            if (event == TAP_MESSAGE)
                ck_assert_uint_le(topic.len + data.len, sizeof octets);
        }
    }
}

END_TEST

int main(void)
{
    TCase *stream = tcase_create("stream");
    tcase_add_checked_fixture(stream, open_tap, close_tap);
    tcase_add_test(stream, writes_the_two_packets_of_a_subscriber);
    tcase_add_loop_test(stream, reads_a_session_in_any_slices, 0, 50);
    tcase_add_test(stream, refusals_are_told);
    tcase_add_loop_test(stream, what_is_no_mqtt_breaks_the_tap_for_good, 0,
                        (int)(sizeof BROKEN / sizeof BROKEN[0]));
    tcase_add_test(stream, the_longest_packet_fits_behind_a_full_one);
    tcase_add_loop_test(stream, random_octets_never_read_outside, 0, 10);

    Suite *suite = suite_create("sim_tap");
    suite_add_tcase(suite, stream);
    return run_suite(suite);
}
