/* SPDX-License-Identifier: Apache-2.0 */
/* Packets out through a running ZNP stick: what each answer, silence and reset leads to. */
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

static void assert_outcomes(unsigned delivered, unsigned failed, unsigned unknown,
                            unsigned not_sent)
{
    ck_assert_uint_eq(b->outcomes[STICK_DELIVERED], delivered);
    ck_assert_uint_eq(b->outcomes[STICK_FAILED], failed);
    ck_assert_uint_eq(b->outcomes[STICK_UNKNOWN], unknown);
    ck_assert_uint_eq(b->outcomes[STICK_NOT_SENT], not_sent);
}

/* ---- sending ----------------------------------------------------------------------------------- */

START_TEST(a_packet_goes_to_the_short_address_and_its_confirm_decides)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    const struct bench_asked *a = bench_last(b, ZNP_DATA_REQUEST);
    ck_assert_mem_eq(a->data, "\x3B\x4A\xE8\xE8\x11\x00", 6);
    ck_assert_mem_eq(a->data + 7, "\x10\x1E\x03\x03\x05\x00", 6);
    assert_outcomes(0, 0, 0, 0);
    bench_confirm(b, 0, bench_id(b));
    assert_outcomes(1, 0, 0, 0);
}

END_TEST

START_TEST(one_packet_per_node_at_a_time_and_the_next_after_the_confirm)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    bench_send(b, NODE, "03 05 01");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 1);
    bench_confirm(b, 0, bench_id(b));
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 2);
    bench_confirm(b, 0, bench_id(b));
    assert_outcomes(2, 0, 0, 0);
}

END_TEST

START_TEST(a_packet_to_a_node_without_short_address_goes_by_its_name)
{
    bench_send(b, NODE, "03 05 00");
    const struct bench_asked *a = bench_last(b, ZNP_DATA_REQUEST_EXT);
    ck_assert_mem_eq(a->data, "\x03\xAA\x2B\x52\x40\x00\xA2\x13\x00\xE8\x00\x00\xE8\x11\x00", 15);
    bench_confirm(b, 0, bench_id(b));
    assert_outcomes(1, 0, 0, 0);
}

END_TEST

START_TEST(a_name_that_the_stick_does_not_know_is_searched_for)
{
    bench_rule(b, ZNP_DATA_REQUEST_EXT, 1, BENCH_STATUS, ZNP_INVALID_PARAMETER);
    bench_send(b, NODE, "03 05 00");
    ck_assert_uint_eq(bench_count(b, ZNP_NWK_ADDR_REQ), 1);
    bench_say(b, ZNP_NWK_ADDR_RSP, ADDRESS_4A3B);
    bench_run(b, 1000);
    ck_assert_mem_eq(bench_last(b, ZNP_DATA_REQUEST)->data, "\x3B\x4A", 2);
    bench_confirm(b, 0, bench_id(b));
    assert_outcomes(1, 0, 0, 0);
}

END_TEST

START_TEST(a_name_that_nobody_answers_to_is_not_sent)
{
    bench_rule(b, ZNP_DATA_REQUEST_EXT, 99, BENCH_STATUS, ZNP_INVALID_PARAMETER);
    bench_send(b, NODE, "03 05 00");
    bench_run(b, 10000);
    assert_outcomes(0, 0, 0, 1);
    ck_assert_uint_eq(bench_count(b, ZNP_NWK_ADDR_REQ), 1);
}

END_TEST

START_TEST(a_broadcast_is_done_when_the_stick_has_taken_it)
{
    bench_send_group(b, "03 01 00");
    const struct bench_asked *a = bench_last(b, ZNP_DATA_REQUEST);
    ck_assert_mem_eq(a->data, "\xFD\xFF\xE8\xE8\x11\x00", 6);
    ck_assert_uint_eq(a->data[7], 0);
    bench_send_group(b, "03 01 00");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 1); /* not two in one second */
    bench_run(b, 1100);
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 2);
}

END_TEST

START_TEST(a_confirm_that_never_comes_leaves_the_packet_unknown)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    bench_run(b, 9900);
    assert_outcomes(0, 0, 0, 0);
    bench_run(b, 200);
    assert_outcomes(0, 0, 1, 0);
    bench_confirm(b, 0, bench_id(b)); /* too late */
    assert_outcomes(0, 0, 1, 0);
    ck_assert_uint_eq(counters()->unknown_ids, 1);
}

END_TEST

START_TEST(confirms_for_nothing_are_counted_and_change_nothing)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    const uint8_t id = bench_id(b);
    bench_confirm(b, 0, (uint8_t)(id + 1));
    bench_say(b, ZNP_DATA_CONFIRM, "00 A0 01"); /* of another endpoint */
    assert_outcomes(0, 0, 0, 0);
    ck_assert_uint_eq(counters()->unknown_ids, 2);
    bench_confirm(b, 0, id);
    assert_outcomes(1, 0, 0, 0);
}

END_TEST

START_TEST(a_confirm_before_the_answer_counts)
{
    meet();
    b->holds_data = true;
    bench_send(b, NODE, "03 05 00");
    const uint8_t id = bench_id(b);
    bench_confirm(b, 0, id);
    assert_outcomes(1, 0, 0, 0);
    bench_send(b, NODE, "03 05 01");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 1); /* the answer is still owed */
    bench_answer(b, ZNP_DATA_REQUEST, 0);
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 2);
    assert_outcomes(1, 0, 0, 0);
}

END_TEST

/* The late answer must not pass for that of the next packet. */
START_TEST(a_late_answer_belongs_to_nobody)
{
    meet();
    b->holds_data = true;
    bench_send(b, NODE, "03 05 00");
    bench_send(b, OTHER, "03 05 01");
    b->dead = true;
    bench_run(b, 2000);
    ck_assert_uint_eq(bench_count(b, ZNP_PING), 0);
    bench_answer(b, ZNP_DATA_REQUEST, ZNP_INVALID_PARAMETER);
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST_EXT), 0);
    assert_outcomes(0, 0, 0, 0);
    ck_assert_uint_gt(counters()->strange_frames, 0);
    b->dead = false;
    bench_run(b, 1000);
    ck_assert_uint_eq(bench_count(b, ZNP_PING), 1);
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST_EXT), 1);
}

END_TEST

START_TEST(a_stick_without_buffers_gets_time_and_the_packet_three_tries)
{
    meet();
    bench_rule(b, ZNP_DATA_REQUEST, 99, BENCH_STATUS, ZNP_BUFFER_FULL);
    bench_send(b, NODE, "03 05 00");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 1);
    bench_run(b, 1400);
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 1);
    bench_run(b, 10000);
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), STICK_TRIES);
    assert_outcomes(0, 0, 0, 1);
}

END_TEST

START_TEST(each_status_of_a_confirm_has_its_outcome)
{
    static const struct {
        uint8_t status;
        unsigned tries;
        enum stick_outcome outcome;
    } table[] = {
        {0x00, 1, STICK_DELIVERED},
        {0x01, 1, STICK_FAILED   },
        {0x02, 1, STICK_FAILED   },
        {0x10, 3, STICK_NOT_SENT },
        {0x11, 3, STICK_NOT_SENT },
        {0x1A, 3, STICK_NOT_SENT },
        {0xC7, 3, STICK_NOT_SENT },
        {0xE1, 3, STICK_NOT_SENT },
        {0xF1, 3, STICK_NOT_SENT },
        {0xE9, 1, STICK_FAILED   },
        {0xF0, 1, STICK_FAILED   },
        {0xB7, 1, STICK_FAILED   },
        {0xCD, 2, STICK_FAILED   },
        {0xC2, 2, STICK_FAILED   },
        {0xBB, 2, STICK_FAILED   },
    };

    meet();
    bench_send(b, NODE, "03 05 00");
    for (unsigned i = 1; i <= table[_i].tries; i++) {
        ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), i);
        bench_confirm(b, table[_i].status, bench_id(b));
        bench_run(b, 2500);
    }
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), table[_i].tries);
    ck_assert_uint_eq(b->outcomes[table[_i].outcome], 1);
}

END_TEST

START_TEST(a_missing_route_is_looked_for_once)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    bench_confirm(b, ZNP_NO_ROUTE, bench_id(b));
    ck_assert_uint_eq(bench_count(b, ZNP_EXT_ROUTE_DISC), 1);
    ck_assert_mem_eq(bench_last(b, ZNP_EXT_ROUTE_DISC)->data, "\x3B\x4A\x00\x1E", 4);
    bench_run(b, 2500);
    bench_confirm(b, 0, bench_id(b));
    assert_outcomes(1, 0, 0, 0);
}

END_TEST

START_TEST(a_node_that_does_not_acknowledge_is_searched_for_and_found)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    bench_confirm(b, ZNP_MAC_NO_ACK, bench_id(b));
    assert_outcomes(0, 1, 0, 0);
    ck_assert_mem_eq(bench_last(b, ZNP_NWK_ADDR_REQ)->data, "\xAA\x2B\x52\x40\x00\xA2\x13\x00", 8);
    bench_say(b, ZNP_NWK_ADDR_RSP, ADDRESS_5C5C);
    bench_send(b, NODE, "03 05 00");
    ck_assert_mem_eq(bench_last(b, ZNP_DATA_REQUEST)->data, "\x5C\x5C", 2);
}

END_TEST

START_TEST(a_dead_node_is_searched_for_ever_more_rarely)
{
    meet();
    for (unsigned i = 0; i < 10; i++) {
        bench_send(b, NODE, "03 05 00");
        bench_confirm(b, ZNP_APS_NO_ACK, bench_id(b));
        bench_run(b, 5000);
    }
    assert_outcomes(0, 10, 0, 0);
    ck_assert_uint_eq(bench_count(b, ZNP_NWK_ADDR_REQ), 4); /* after 1, 2, 4 and 8 */
}

END_TEST

START_TEST(a_search_that_had_to_wait_is_made_up_for)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    bench_confirm(b, ZNP_APS_NO_ACK, bench_id(b));
    bench_run(b, 5000);
    bench_send(b, NODE + 1, "03 05 00");
    bench_confirm(b, ZNP_APS_NO_ACK, bench_id(b));
    bench_send(b, NODE, "03 05 00"); /* searches are a second apart */
    bench_confirm(b, ZNP_APS_NO_ACK, bench_id(b));
    ck_assert_uint_eq(bench_count(b, ZNP_NWK_ADDR_REQ), 2);
    bench_run(b, 5000);
    bench_send(b, NODE, "03 05 00");
    bench_confirm(b, ZNP_APS_NO_ACK, bench_id(b));
    ck_assert_uint_eq(bench_count(b, ZNP_NWK_ADDR_REQ), 3);
    ck_assert_mem_eq(bench_last(b, ZNP_NWK_ADDR_REQ)->data, "\xAA\x2B\x52\x40\x00\xA2\x13\x00", 8);
}

END_TEST

START_TEST(a_stick_that_refuses_everything_is_started_again_once)
{
    meet();
    bench_rule(b, ZNP_DATA_REQUEST, 99, BENCH_STATUS, ZNP_INVALID_PARAMETER);
    for (unsigned i = 0; i < 12; i++) {
        bench_send(b, NODE, "03 05 00");
        bench_run(b, 300);
    }
    assert_outcomes(0, 0, 0, 12);
    ck_assert_uint_eq(b->downs, 1);
    ck_assert_uint_eq(b->ups, 2);
    ck_assert_uint_eq(bench_count(b, ZNP_REGISTER), 1);
}

END_TEST

START_TEST(slots_follow_the_generation)
{
    for (unsigned i = 0; i < 20; i++)
        bench_send(b, OTHER + i, "03 05 00");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST_EXT), 16);
}

END_TEST

START_TEST(too_long_packets_are_not_sent)
{
    meet();
    bench_send(b, NODE, "53 0C*82");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 0);
    assert_outcomes(0, 0, 0, 1);
    bench_send(b, NODE, "52 0C*81");
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 1);
}

END_TEST

/* ---- the stick itself -------------------------------------------------------------------------- */

START_TEST(a_reset_in_mid_send_leaves_that_packet_unknown_and_the_next_is_sent)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    bench_send(b, NODE, "03 05 01");
    bench_say(b, ZNP_RESET_IND, "02 02 01 02 07 01");
    ck_assert_uint_eq(b->downs, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "watchdog"));
    assert_outcomes(0, 0, 1, 0);
    bench_run(b, 1000);
    ck_assert_uint_eq(b->ups, 2);
    ck_assert_uint_eq(bench_count(b, ZNP_DATA_REQUEST), 2);
    ck_assert_uint_eq(bench_last(b, ZNP_DATA_REQUEST)->data[12], 1);
    bench_confirm(b, 0, bench_id(b));
    assert_outcomes(1, 0, 1, 0);
    ck_assert_uint_eq(counters()->stick_resets, 1);
}

END_TEST

START_TEST(a_network_that_stops_is_started_again)
{
    b->state = 8;
    bench_say(b, ZNP_STATE_CHANGE, "08");
    ck_assert_uint_eq(b->downs, 1);
    bench_run(b, 1000);
    ck_assert_uint_eq(b->ups, 2);
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 1);
}

END_TEST

START_TEST(a_state_that_is_missing_in_its_indication_stops_nothing)
{
    bench_say(b, ZNP_STATE_CHANGE, "");
    bench_say(b, ZNP_BDB_NOTIFY, "");
    bench_run(b, 1000);
    ck_assert_uint_eq(b->downs, 0);
}

END_TEST

START_TEST(a_stick_that_was_reset_in_silence_is_noticed_when_it_is_idle)
{
    bench_run(b, 125000);
    ck_assert_uint_eq(b->downs, 0);
    b->state = 0;
    bench_run(b, 62000);
    ck_assert_uint_eq(b->downs, 1);
    ck_assert_uint_eq(b->ups, 2);
    ck_assert_uint_eq(bench_count(b, ZNP_STARTUP_FROM_APP), 1);
    /* One that does not know the question is left alone. */
    bench_rule(b, ZNP_EXT_NWK_INFO, 99, BENCH_UNKNOWN, 2);
    b->state = 0;
    bench_run(b, 125000);
    ck_assert_uint_eq(b->downs, 1);
}

END_TEST

START_TEST(silence_is_questioned_and_a_dead_stick_noticed)
{
    bench_run(b, 59000);
    ck_assert_uint_eq(bench_count(b, ZNP_PING), 0);
    bench_run(b, 2000);
    ck_assert_uint_eq(bench_count(b, ZNP_PING), 1);
    b->dead = true;
    bench_run(b, 70000);
    ck_assert_uint_eq(b->reopens, 1);
    ck_assert_ptr_nonnull(strstr(b->text, "stopped answering"));
    stick_closed(b->s, b->now_ms);
    b->dead = false;
    bench_open(b);
    bench_run(b, 100);
    ck_assert_uint_eq(b->ups, 2);
}

END_TEST

START_TEST(noise_between_frames_costs_nothing_that_comes_after_it)
{
    meet();
    bench_send(b, NODE, "03 05 00");
    stick_input(b->s, b->now_ms, bytes_of("\xFE\x20\x44\x81\x01\x02", 6));
    bench_run(b, 200);
    bench_confirm(b, 0, bench_id(b));
    assert_outcomes(1, 0, 0, 0);
    ck_assert_uint_eq(counters()->bad_frames, 1);
    ck_assert_uint_eq(counters()->skipped_bytes, 6);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_znp_send");
    TCase *t = tcase_create("data");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_packet_goes_to_the_short_address_and_its_confirm_decides);
    tcase_add_test(t, one_packet_per_node_at_a_time_and_the_next_after_the_confirm);
    tcase_add_test(t, a_packet_to_a_node_without_short_address_goes_by_its_name);
    tcase_add_test(t, a_name_that_the_stick_does_not_know_is_searched_for);
    tcase_add_test(t, a_name_that_nobody_answers_to_is_not_sent);
    tcase_add_test(t, a_broadcast_is_done_when_the_stick_has_taken_it);
    tcase_add_test(t, a_confirm_that_never_comes_leaves_the_packet_unknown);
    tcase_add_test(t, confirms_for_nothing_are_counted_and_change_nothing);
    tcase_add_test(t, a_confirm_before_the_answer_counts);
    tcase_add_test(t, a_late_answer_belongs_to_nobody);
    tcase_add_test(t, a_stick_without_buffers_gets_time_and_the_packet_three_tries);
    tcase_add_loop_test(t, each_status_of_a_confirm_has_its_outcome, 0, 15);
    tcase_add_test(t, a_missing_route_is_looked_for_once);
    tcase_add_test(t, a_node_that_does_not_acknowledge_is_searched_for_and_found);
    tcase_add_test(t, a_dead_node_is_searched_for_ever_more_rarely);
    tcase_add_test(t, a_search_that_had_to_wait_is_made_up_for);
    tcase_add_test(t, a_stick_that_refuses_everything_is_started_again_once);
    tcase_add_test(t, slots_follow_the_generation);
    tcase_add_test(t, too_long_packets_are_not_sent);
    tcase_add_test(t, a_reset_in_mid_send_leaves_that_packet_unknown_and_the_next_is_sent);
    tcase_add_test(t, a_network_that_stops_is_started_again);
    tcase_add_test(t, a_state_that_is_missing_in_its_indication_stops_nothing);
    tcase_add_test(t, a_stick_that_was_reset_in_silence_is_noticed_when_it_is_idle);
    tcase_add_test(t, silence_is_questioned_and_a_dead_stick_noticed);
    tcase_add_test(t, noise_between_frames_costs_nothing_that_comes_after_it);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
