/* SPDX-License-Identifier: Apache-2.0 */
/* Packets in through a running ZNP stick, whose they are, and who may join. */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "radio/stick/core.h"
#include "sim/znp_bench.h"
#include "unit/suite.h"

#define NODE  UINT64_C(0x0013A20040522BAA)
#define OTHER UINT64_C(0x00124B0001020304)

/* 0013A20040522BAA is 4A3B. */
#define ADDRESS_5C5C "00 AA 2B 52 40 00 A2 13 00 5C 5C 00 00"
#define ADDRESS_4A3B "00 AA 2B 52 40 00 A2 13 00 3B 4A 00 00"
#define CONNECT      "08 04 04 01 00 3C 6E 31"
#define FROM_4A3B    "00 00 11 00 3B 4A E8 E8 00 B4 00 40 E2 01 00 06 08 " CONNECT " 3B 4A 1D"

static struct bench *b;

static void setup(void)
{
    struct stick_config c = stick_defaults();
    c.baud = 115200;
    c.seed = 1;
    b = bench_new(&c);
    bench_start(b, 10);
    b->n_asked = 0;
}

static void teardown(void)
{
    bench_free(b);
}

/* The node is known under 4A3B. */
static void meet(void)
{
    b->lookup = NODE;
    bench_say(b, ZNP_INCOMING, FROM_4A3B);
    ck_assert_uint_eq(b->packets, 1);
    b->n_asked = 0;
}

static const struct stick_counters *counters(void)
{
    return stick_counters(b->s);
}

/* ---- receiving --------------------------------------------------------------------------------- */

static void assert_from(uint64_t eui64)
{
    char text[PEER_TEXT_MAX], expected[PEER_TEXT_MAX];
    snprintf(expected, sizeof expected, "%016llx", (unsigned long long)eui64);
    ck_assert_str_eq(peer_print(peer_in(&b->from), text, sizeof text), expected);
}

START_TEST(a_packet_from_an_unknown_address_waits_for_its_sender_s_name)
{
    bench_rule(b, ZNP_NWK_LOOKUP, 1, BENCH_UNKNOWN, 0);
    bench_say(b, ZNP_INCOMING, FROM_4A3B);
    ck_assert_uint_eq(b->packets, 0);
    ck_assert_mem_eq(bench_last(b, ZNP_NWK_LOOKUP)->data, "\x3B\x4A", 2);
    ck_assert_mem_eq(bench_last(b, ZNP_IEEE_ADDR_REQ)->data, "\x3B\x4A\x00\x00", 4);
    bench_say(b, ZNP_IEEE_ADDR_RSP, ADDRESS_4A3B);
    ck_assert_uint_eq(b->packets, 1);
    assert_from(NODE);
    ck_assert_uint_eq(b->packet_len, 8);
    bench_run(b, 5000);
    ck_assert_uint_eq(bench_count(b, ZNP_IEEE_ADDR_REQ), 1);
}

END_TEST

START_TEST(the_stick_s_own_table_saves_the_question)
{
    meet();
    assert_from(NODE);
    ck_assert_uint_eq(bench_count(b, ZNP_IEEE_ADDR_REQ), 0);
    bench_say(b, ZNP_INCOMING, FROM_4A3B);
    ck_assert_uint_eq(b->packets, 2);
    ck_assert_uint_eq(bench_count(b, ZNP_NWK_LOOKUP), 0);
}

END_TEST

START_TEST(a_sender_that_nobody_can_name_is_asked_a_few_times_and_dropped)
{
    bench_say(b, ZNP_INCOMING, FROM_4A3B);
    bench_say(b, ZNP_INCOMING, FROM_4A3B);
    bench_run(b, 10000);
    ck_assert_uint_eq(b->packets, 0);
    ck_assert_uint_eq(counters()->unresolved, 2);
    ck_assert_uint_eq(bench_count(b, ZNP_NWK_LOOKUP), 1);
    ck_assert_uint_le(bench_count(b, ZNP_IEEE_ADDR_REQ), 3);
}

END_TEST

START_TEST(what_follows_the_payload_is_ignored)
{
    static const char *const trailers[] = {"", " 3B", " 3B 1D", " 3B 4A 1D", " 3B 4A 1D 00 00"};
    char text[256];
    meet();
    for (unsigned i = 0; i < sizeof trailers / sizeof trailers[0]; i++) {
        snprintf(text, sizeof text,
                 "00 00 11 00 3B 4A E8 E8 00 B4 00 40 E2 01 00 06 08 " CONNECT "%s", trailers[i]);
        bench_say(b, ZNP_INCOMING, text);
        ck_assert_uint_eq(b->packets, 2 + i);
        ck_assert_uint_eq(b->packet_len, 8);
        ck_assert_mem_eq(b->packet, "\x08\x04\x04\x01\x00\x3C\x6E\x31", 8);
    }
    bench_say(b, ZNP_INCOMING, "00 00 11 00 3B 4A E8 E8 00 B4 00 40 E2 01 00 06 09 " CONNECT);
    ck_assert_uint_eq(b->packets, 6);
    ck_assert_uint_gt(counters()->strange_frames, 0);
}

END_TEST

START_TEST(extended_forms_carry_packets_too)
{
    meet();
    bench_say(b, ZNP_INCOMING_EXT,
              "00 00 11 00 02 3B 4A 00 00 00 00 00 00 E8 00 00 E8 00 B4 00 40 E2 01 00 06 02 00 "
              "02 16 3B 4A 1D");
    ck_assert_uint_eq(b->packets, 2);
    assert_from(NODE);
    bench_say(b, ZNP_INCOMING_EXT,
              "00 00 11 00 03 04 03 02 01 00 4B 12 00 E8 62 1A E8 01 B4 00 40 E2 01 00 06 02 00 "
              "02 16");
    ck_assert_uint_eq(b->packets, 3);
    ck_assert(b->to_group);
    assert_from(OTHER);
}

END_TEST

START_TEST(what_is_not_for_us_is_counted)
{
    static const char *const foreign[] = {
        "00 00 12 00 3B 4A E8 E8 00 B4 00 40 E2 01 00 06 01 00", /* cluster */
        "00 00 11 00 3B 4A E8 01 00 B4 00 40 E2 01 00 06 01 00", /* endpoint */
        "00 00 11 00 00 00 E8 E8 01 B4 00 40 E2 01 00 06 01 00", /* our own broadcast */
        "00 00 11 00 FE FF E8 E8 01 B4 00 40 E2 01 00 06 01 00", /* nobody's address */
    };
    meet();
    for (unsigned i = 0; i < 4; i++)
        bench_say(b, ZNP_INCOMING, foreign[i]);
    bench_say(b, ZNP_INCOMING_EXT, /* another network */
              "00 00 11 00 02 3B 4A 00 00 00 00 00 00 E8 34 12 E8 00 B4 00 40 E2 01 00 06 02 00 "
              "02 16");
    ck_assert_uint_eq(b->packets, 1);
    ck_assert_uint_eq(counters()->foreign, 5);
}

END_TEST

START_TEST(a_packet_that_the_stick_keeps_is_fetched_in_parts)
{
    struct stick_config c = stick_defaults();
    c.baud = 115200;
    c.max_packet_bytes = 500;
    bench_free(b);
    b = bench_new(&c);
    bench_start(b, 10);
    meet();
    bench_say(b, ZNP_INCOMING_EXT,
              "00 00 11 00 02 3B 4A 00 00 00 00 00 00 E8 00 00 E8 00 B4 00 40 E2 01 00 06 2C 01 "
              "3B 4A 1D");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_RETRIEVE), 3);
    ck_assert_mem_eq(bench_last(b, ZNP_DATA_RETRIEVE)->data, "\x40\xE2\x01\x00\x00\x00\x00", 7);
    ck_assert_uint_eq(b->packets, 2);
    ck_assert_uint_eq(b->packet_len, 300);
    for (unsigned i = 0; i < 300; i++)
        ck_assert_uint_eq(b->packet[i], i % 256);
}

END_TEST

START_TEST(a_kept_packet_that_is_too_long_is_given_back)
{
    meet();
    bench_say(b, ZNP_INCOMING_EXT,
              "00 00 11 00 02 3B 4A 00 00 00 00 00 00 E8 00 00 E8 00 B4 00 40 E2 01 00 06 2C 01 "
              "3B 4A 1D");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_RETRIEVE), 1);
    ck_assert_uint_eq(bench_last(b, ZNP_DATA_RETRIEVE)->data[6], 0);
    ck_assert_uint_eq(counters()->oversize_in, 1);
    ck_assert_uint_eq(b->packets, 1);
}

END_TEST

START_TEST(announcements_change_addresses)
{
    meet();
    bench_say(b, ZNP_DEVICE_ANNCE, "5C 5C 5C 5C AA 2B 52 40 00 A2 13 00 80");
    bench_send(b, NODE, "03 05 00");
    ck_assert_mem_eq(bench_last(b, ZNP_DATA_REQUEST)->data, "\x5C\x5C", 2);
    bench_confirm(b, 0, bench_id(b));
    bench_say(b, ZNP_TC_DEVICE, "5D 5D AA 2B 52 40 00 A2 13 00 00 00");
    bench_send(b, NODE, "03 05 00");
    ck_assert_mem_eq(bench_last(b, ZNP_DATA_REQUEST)->data, "\x5D\x5D", 2);
    bench_confirm(b, 0, bench_id(b));
    bench_say(b, ZNP_MSG_CB, "3B 4A 01 13 00 00 01 FD FF 5E 5E AA 2B 52 40 00 A2 13 00 80");
    bench_send(b, NODE, "03 05 00");
    ck_assert_mem_eq(bench_last(b, ZNP_DATA_REQUEST)->data, "\x5E\x5E", 2);
    bench_confirm(b, 0, bench_id(b));
    bench_say(b, ZNP_LEAVE, "5E 5E AA 2B 52 40 00 A2 13 00 00 00 00");
    bench_send(b, NODE, "03 05 00");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST_EXT), 1);
}

END_TEST

START_TEST(an_address_that_passes_to_another_node_takes_no_packets_along)
{
    meet();
    bench_say(b, ZNP_DEVICE_ANNCE, "3B 4A 3B 4A 04 03 02 01 00 4B 12 00 80");
    b->lookup = OTHER;
    bench_say(b, ZNP_INCOMING, FROM_4A3B);
    assert_from(OTHER);
}

END_TEST

/* ---- joining ----------------------------------------------------------------------------------- */

START_TEST(joining_is_permitted_for_a_time)
{
    stick_permit_join(b->s, b->now_ms, 60);
    bench_run(b, 0);
    ck_assert_mem_eq(bench_last(b, ZNP_PERMIT_JOIN_REQ)->data, "\x0F\xFC\xFF\x3C\x01", 5);
    stick_permit_join(b->s, b->now_ms, 0);
    bench_run(b, 0);
    ck_assert_uint_eq(bench_last(b, ZNP_PERMIT_JOIN_REQ)->data[3], 0);
}

END_TEST

START_TEST(longer_times_are_renewed_and_end)
{
    stick_permit_join(b->s, b->now_ms, 600);
    bench_run(b, 0);
    ck_assert_uint_eq(bench_last(b, ZNP_PERMIT_JOIN_REQ)->data[3], 254);
    bench_run(b, 2000 * 1000);
    ck_assert_uint_eq(bench_count(b, ZNP_PERMIT_JOIN_REQ), 3);
    ck_assert_uint_eq(bench_last(b, ZNP_PERMIT_JOIN_REQ)->data[3], 120);
}

END_TEST

START_TEST(for_ever_lasts_and_survives_a_reset)
{
    stick_permit_join(b->s, b->now_ms, 65535);
    bench_run(b, 1000 * 1000);
    ck_assert_uint_eq(bench_count(b, ZNP_PERMIT_JOIN_REQ), 5);
    bench_say(b, ZNP_RESET_IND, "00 02 01 02 07 01");
    bench_run(b, 1000);
    ck_assert_uint_eq(b->ups, 2);
    ck_assert_uint_eq(bench_count(b, ZNP_PERMIT_JOIN_REQ), 6);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_znp_receive");
    TCase *t = tcase_create("data");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_packet_from_an_unknown_address_waits_for_its_sender_s_name);
    tcase_add_test(t, the_stick_s_own_table_saves_the_question);
    tcase_add_test(t, a_sender_that_nobody_can_name_is_asked_a_few_times_and_dropped);
    tcase_add_test(t, what_follows_the_payload_is_ignored);
    tcase_add_test(t, extended_forms_carry_packets_too);
    tcase_add_test(t, what_is_not_for_us_is_counted);
    tcase_add_test(t, a_packet_that_the_stick_keeps_is_fetched_in_parts);
    tcase_add_test(t, a_kept_packet_that_is_too_long_is_given_back);
    tcase_add_test(t, announcements_change_addresses);
    tcase_add_test(t, an_address_that_passes_to_another_node_takes_no_packets_along);
    tcase_add_test(t, joining_is_permitted_for_a_time);
    tcase_add_test(t, longer_times_are_renewed_and_end);
    tcase_add_test(t, for_ever_lasts_and_survives_a_reset);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
