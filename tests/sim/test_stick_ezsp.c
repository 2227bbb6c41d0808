/* SPDX-License-Identifier: Apache-2.0 */
/* Packets through the EZSP driver, and what goes wrong with them. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "sim/fake_ncp.h"
#include "unit/suite.h"

enum { NODE_SHORT = 0x4A3B, OTHER_SHORT = 0x1234, MISSING = 0 };

static const uint64_t node = 0x0013A20040522BAA, other = 0x0013A20040522BBB;
static const uint8_t versions[] = {8, 13, 14, 17};
static const struct ezsp_aps app = {
    .profile = 0xC105, .cluster = 0x0011, .src_endpoint = 0xE8, .dst_endpoint = 0xE8};

/* Running, and the stick knows the node. */
static struct ncp_world *running(uint8_t version)
{
    const struct stick_config c = stick_defaults();
    struct ncp_world *w = ncp_world_new(version, &c);
    w->ncp.short_of_node = NODE_SHORT;
    ncp_world_start(w);
    return w;
}

static const struct stick_counters *counted(const struct ncp_world *w)
{
    return stick_counters(w->stick);
}

/* The destination of the last unicast. */
static uint16_t unicast_to(const struct ncp *n)
{
    struct reader r =
        rd_of(bytes_of(n->last[EZSP_SEND_UNICAST].octets, n->last[EZSP_SEND_UNICAST].len));
    ck_assert_uint_eq(rd_u8(&r), 0);
    return rd_u16_le(&r);
}

/* ---- to nodes ---------------------------------------------------------------------------------- */

START_TEST(a_packet_is_delivered_and_the_next_needs_no_lookup)
{
    struct ncp_world *w = running(versions[_i]);
    ncp_world_send(w, node, bytes_str("CONNACK"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 1);
    ck_assert_uint_eq(w->ncp.asked[EZSP_LOOKUP_SHORT], 1);
    ck_assert_mem_eq(w->ncp.last[EZSP_LOOKUP_SHORT].octets, "\xAA\x2B\x52\x40\x00\xA2\x13\x00", 8);
    const struct ncp_frame *f = &w->ncp.last[EZSP_SEND_UNICAST];
    const bool wide = versions[_i] >= 14;
    ck_assert_uint_eq(f->len, (wide ? 17U : 16U) + 7);
    ck_assert_mem_eq(f->octets, "\x00\x3B\x4A\x05\xC1\x11\x00\xE8\xE8\x40\x11\x00\x00\x00", 14);
    ck_assert_mem_eq(f->octets + (wide ? 16 : 15),
                     "\x07"
                     "CONNACK",
                     8);
    ncp_world_send(w, node, bytes_str("PUBACK"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 2);
    ck_assert_uint_eq(w->ncp.asked[EZSP_LOOKUP_SHORT], 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(what_the_stick_says_of_a_packet_becomes_its_outcome)
{
    static const struct {
        uint32_t ember, sl;
        enum stick_outcome outcome;
    } cases[] = {
        {0x66, SL_DELIVERY_FAILED,  STICK_FAILED   },
        {0x01, SL_NO_APS_ACK,       STICK_FAILED   },
        {0x01, SL_NO_ROUTE,         STICK_FAILED   },
        {0x74, SL_MESSAGE_TOO_LONG, STICK_NOT_SENT },
        {0x00, SL_OK,               STICK_DELIVERED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ncp_world *w = running(versions[_i]);
        w->ncp.sent_status = versions[_i] >= 14 ? cases[i].sl : cases[i].ember;
        ncp_world_send(w, node, bytes_str("one"));
        ncp_world_run(w, 3000);
        ck_assert_uint_eq(w->outcomes[cases[i].outcome], 1);
        ncp_world_free(w);
    }
}

END_TEST

START_TEST(a_busy_stick_is_asked_three_times_and_no_more)
{
    static const uint32_t busy[][2] = {
        {0xA1, SL_BUSY             },
        {0x72, SL_MAX_MESSAGE_LIMIT},
        {0x18, SL_NO_MORE_RESOURCE }
    };

    for (size_t i = 0; i < 3; i++) {
        struct ncp_world *w = running(versions[_i]);
        w->ncp.status_of[EZSP_SEND_UNICAST] = busy[i][versions[_i] >= 14];
        ncp_world_send(w, node, bytes_str("one"));
        ncp_world_run(w, 499);
        ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 1);
        ncp_world_run(w, 5000);
        ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 3);
        ck_assert_uint_eq(w->outcomes[STICK_NOT_SENT], 1);

        ncp_world_send(w, node, bytes_str("two"));
        w->ncp.status_of[EZSP_SEND_UNICAST] = 0;
        ncp_world_run(w, 1000);
        ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 1);
        ncp_world_free(w);
    }
}

END_TEST

START_TEST(a_send_that_the_stick_refuses_or_does_not_know_was_never_sent)
{
    struct ncp_world *w = running(13);
    w->ncp.status_of[EZSP_SEND_UNICAST] = 0x74;
    ncp_world_send(w, node, bytes_str("one"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(counted(w)->too_long, 1);
    w->ncp.unknown_id[EZSP_SEND_UNICAST] = true;
    ncp_world_send(w, node, bytes_str("two"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->outcomes[STICK_NOT_SENT], 2);
    ck_assert_uint_eq(w->downs, 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(without_message_sent_the_outcome_is_unknown_after_15_s)
{
    struct ncp_world *w = running(versions[_i]);
    w->ncp.sent_after_ms = -1;
    ncp_world_send(w, node, bytes_str("one"));
    ncp_world_run(w, 14999);
    ck_assert_uint_eq(w->outcomes[STICK_UNKNOWN], 0);
    ncp_world_run(w, 1);
    ck_assert_uint_eq(w->outcomes[STICK_UNKNOWN], 1);
    ck_assert_uint_eq(w->downs, 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_late_or_foreign_message_sent_is_counted_and_changes_nothing)
{
    struct ncp_world *w = running(13);
    w->ncp.sent_after_ms = 16000;
    ncp_world_send(w, node, bytes_str("one"));
    ncp_world_run(w, 17000);
    ck_assert_uint_eq(w->outcomes[STICK_UNKNOWN], 1);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 0);
    ck_assert_uint_eq(counted(w)->unknown_ids, 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(as_many_nodes_are_served_at_once_as_the_stick_allows)
{
    static const struct {
        uint16_t unicasts;
        unsigned slots;
    } cases[] = {
        {1,   1},
        {4,   3},
        {10,  8},
        {200, 8},
        {0,   8}
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct ncp_world *w = running(14);
        stick_closed(w->stick, w->now_ms);
        w->ncp.unicasts = cases[i].unicasts;
        w->ncp.unknown_id[EZSP_GET_CONFIGURATION] = cases[i].unicasts == 0;
        ncp_world_start(w);
        w->ncp.sent_after_ms = -1;
        for (uint64_t k = 0; k < 20; k++)
            ncp_world_send(w, node + k, bytes_str("one"));
        ncp_world_run(w, 1000);
        ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], cases[i].slots);
        ncp_world_free(w);
    }
}

END_TEST

START_TEST(a_broadcast_goes_to_all_that_listen)
{
    struct ncp_world *w = running(versions[_i]);
    ncp_world_send_group(w, bytes_str("ADVERTISE"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_BROADCAST], 1);
    const struct ncp_frame *f = &w->ncp.last[EZSP_SEND_BROADCAST];
    const size_t at = versions[_i] >= 14 ? 2 : 0, radius = versions[_i] >= 14 ? 16 : 13;
    ck_assert_mem_eq(f->octets + at, "\xFD\xFF", 2);
    ck_assert_uint_eq(f->octets[radius], 3);
    ck_assert_uint_eq(counted(w)->unknown_ids, 0);
    ck_assert_uint_eq(counted(w)->delivered, 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(the_line_repeats_and_the_stick_is_not_asked_twice)
{
    for (unsigned fault = 0; fault < 3; fault++) {
        struct ncp_world *w = running(13);
        for (unsigned i = 0; i < 10; i++) {
            w->ncp.lose_acks = fault == 0 ? 2 : 0;
            w->ncp.lose_data = fault == 1 ? 1 : 0;
            w->ncp.nak_next = fault == 2 ? 3 : 0;
            ncp_world_send(w, node, bytes_str("one"));
            ncp_world_run(w, 8000);
        }
        ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 10);
        ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 10);
        ck_assert_uint_eq(w->downs, 0);
        ncp_world_free(w);
    }
}

END_TEST

/* ---- from nodes -------------------------------------------------------------------------------- */

static void heard(const struct ncp_world *w, unsigned packets, uint64_t from, const char *packet)
{
    ck_assert_uint_eq(w->packets, packets);
    ck_assert_uint_eq(w->from, from);
    ck_assert(bytes_equal(w->packet, bytes_str(packet)));
}

START_TEST(a_sender_of_known_name_is_heard_at_once)
{
    struct ncp_world *w = running(14);
    ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, node, &app, bytes_str("one"));
    ncp_world_run(w, 10);
    heard(w, 1, node, "one");
    ck_assert(!w->to_group);
    ncp_world_free(w);

    w = running(13);
    ncp_callback(w, 0, EZSP_SENDER_EUI64, bytes_of("\xAA\x2B\x52\x40\x00\xA2\x13\x00", 8));
    ncp_message(w, EZSP_IN_BROADCAST, NODE_SHORT, 0, &app, bytes_str("one"));
    ncp_world_run(w, 10);
    heard(w, 1, node, "one");
    ck_assert(w->to_group);
    /* The name was for that message only; the address is known now. */
    ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, 0, &app, bytes_str("two"));
    ncp_world_run(w, 10);
    heard(w, 2, node, "two");
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, 0, &app, bytes_str("three"));
    w->ncp.eui64_of_node = other;
    ncp_world_run(w, 10);
    heard(w, 3, other, "three");
    ck_assert_uint_eq(w->ncp.asked[EZSP_LOOKUP_EUI64], 1);
    struct stick_node_info info;
    ck_assert(stick_node(w->stick, 1, &info));
    ck_assert(info.has_lqi && info.lqi == 200 && info.has_rssi && info.rssi == -40);
    ck_assert_uint_eq(info.short_address, OTHER_SHORT);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_name_whose_message_was_lost_names_no_other)
{
    static const uint8_t name[] = {0xAA, 0x2B, 0x52, 0x40, 0x00, 0xA2, 0x13, 0x00};

    struct ncp_world *w = running(13);
    w->ncp.eui64_of_node = other;
    ncp_callback(w, 0, EZSP_SENDER_EUI64, bytes_of(name, sizeof name));
    ncp_callback(w, 0, EZSP_ID_CONFLICT, bytes_of("\x88\x08", 2));
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, 0, &app, bytes_str("one"));
    ncp_world_run(w, 10);
    heard(w, 1, other, "one");

    stick_closed(w->stick, w->now_ms);
    ncp_world_start(w);
    ncp_callback(w, 0, EZSP_SENDER_EUI64, bytes_of(name, sizeof name));
    w->ncp.frame_control = 1; /* what came in between was dropped */
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, 0, &app, bytes_str("two"));
    ncp_world_run(w, 10);
    heard(w, 2, other, "two");
    ncp_world_free(w);
}

END_TEST

static struct bytes zdo_address(uint8_t room[12], uint64_t eui64, uint16_t short_address)
{
    struct writer w = wr_to(room, 12);
    wr_u16(&w, 0x4200); /* sequence, status */
    wr_u64_le(&w, eui64);
    wr_u16_le(&w, short_address);
    return bytes_of(room, w.len);
}

START_TEST(a_sender_of_unknown_name_is_looked_up_then_asked)
{
    const struct ezsp_aps answer = {.cluster = 0x8001};
    uint8_t room[12];
    struct ncp_world *w = running(versions[_i]);
    w->ncp.eui64_of_node = node;
    ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, UINT64_MAX, &app, bytes_str("one"));
    ncp_world_run(w, 10);
    heard(w, 1, node, "one");
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 0);

    w->ncp.eui64_of_node = MISSING;
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, UINT64_MAX, &app, bytes_str("two"));
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, UINT64_MAX, &app, bytes_str("three"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->packets, 1);
    ck_assert_uint_eq(w->ncp.asked[EZSP_LOOKUP_EUI64], 2);
    ck_assert_uint_eq(w->ncp.asked[EZSP_SEND_UNICAST], 1);
    ck_assert_uint_eq(unicast_to(&w->ncp), OTHER_SHORT);
    ncp_message(w, EZSP_IN_UNICAST, OTHER_SHORT, UINT64_MAX, &answer,
                zdo_address(room, other, OTHER_SHORT));
    ncp_world_run(w, 100);
    heard(w, 3, other, "three");
    ck_assert_uint_eq(counted(w)->unknown_ids, 0);

    /* Nobody answers: given up, and asked again for the next packet. */
    ncp_message(w, EZSP_IN_UNICAST, 0x5555, UINT64_MAX, &app, bytes_str("four"));
    ncp_world_run(w, 4000);
    ck_assert_uint_eq(counted(w)->unresolved, 1);
    ncp_message(w, EZSP_IN_UNICAST, 0x5555, UINT64_MAX, &app, bytes_str("five"));
    ncp_world_run(w, 10);
    ck_assert_uint_eq(w->ncp.asked[EZSP_LOOKUP_EUI64], 4);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_burst_of_strangers_makes_the_stick_wait_with_callbacks)
{
    struct ncp_world *w = running(13);
    w->ncp.mute_id[EZSP_LOOKUP_EUI64] = true;
    for (unsigned i = 0; i < 10; i++)
        ncp_message(w, EZSP_IN_UNICAST, (uint16_t)(0x1000 + i), 0, &app, bytes_str("one"));
    ncp_world_run(w, 2000);
    ck_assert_uint_ge(w->ncp.not_ready, 4);
    ncp_world_run(w, 2000);
    const unsigned then = w->ncp.not_ready;
    ncp_world_run(w, 2000);
    ck_assert_uint_eq(w->ncp.not_ready, then);
    ck_assert_uint_eq(counted(w)->unresolved, 10);
    ncp_world_free(w);
}

END_TEST

START_TEST(foreign_ports_echoes_and_nonsense_are_counted_and_not_delivered)
{
    struct ncp_world *w = running(versions[_i]);
    struct ezsp_aps foreign = app;
    foreign.cluster = 0x0006;
    ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, node, &foreign, bytes_str("one"));
    foreign = app;
    foreign.profile = 0x0104;
    ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, node, &foreign, bytes_str("one"));
    foreign = app;
    foreign.dst_endpoint = 1;
    ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, node, &foreign, bytes_str("one"));
    ncp_message(w, EZSP_IN_BROADCAST_LOOPBACK, 0, node, &app, bytes_str("one"));
    ncp_callback(w, 0, EZSP_INCOMING_MESSAGE, bytes_str("\x01\x02\x03"));
    ncp_callback(w, 0, EZSP_MESSAGE_SENT, bytes_str("\x01\x02\x03"));
    ncp_callback(w, 0, EZSP_TRUST_CENTER_JOIN, bytes_str("\x01\x02\x03"));
    ncp_callback(w, 0, 0x0059, bytes_str("whatever"));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->packets, 0);
    ck_assert_uint_eq(counted(w)->foreign, 3);
    ck_assert_uint_eq(counted(w)->strange_frames, 3);
    ck_assert_uint_eq(w->downs, 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(callbacks_between_command_and_response_disturb_neither)
{
    struct ncp_world *w = running(14);
    for (unsigned i = 0; i < 30; i++) {
        ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, node, &app, bytes_str("up"));
        ncp_world_send(w, other, bytes_str("down"));
        ncp_message(w, EZSP_IN_UNICAST, NODE_SHORT, node, &app, bytes_str("up"));
        ncp_world_run(w, 21);
    }
    ncp_world_run(w, 1000);
    ck_assert_uint_eq(w->packets, 60);
    ck_assert_uint_eq(w->outcomes[STICK_DELIVERED], 30);
    ck_assert_uint_eq(counted(w)->strange_frames, 0);
    ncp_world_free(w);
}

END_TEST

START_TEST(a_response_that_nobody_asked_for_is_no_response)
{
    struct ncp_world *w = running(13);
    w->ncp.mute_id[EZSP_SEND_UNICAST] = true;
    ncp_world_send(w, node, bytes_str("one"));
    ncp_world_run(w, 100);
    ncp_response(w, (uint8_t)(w->ncp.seq - 1), EZSP_SEND_UNICAST, bytes_of("\x74\x21", 2));
    ncp_response(w, w->ncp.seq, EZSP_SEND_BROADCAST, bytes_of("\x74\x21", 2));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(counted(w)->strange_frames, 2);
    ck_assert_uint_eq(w->outcomes[STICK_NOT_SENT], 0);
    ncp_response(w, w->ncp.seq, EZSP_SEND_UNICAST, bytes_of("\x74\x21", 2));
    ncp_world_run(w, 100);
    ck_assert_uint_eq(w->outcomes[STICK_NOT_SENT], 1);
    ncp_world_free(w);
}

END_TEST

START_TEST(lost_callbacks_are_warned_of_once_a_minute)
{
    struct ncp_world *w = running(13);
    w->ncp.frame_control = 1;
    for (unsigned i = 0; i < 50; i++) {
        ncp_world_send(w, node, bytes_str("one"));
        ncp_world_run(w, 1000);
    }
    ck_assert_uint_eq(w->warnings, 1);
    ck_assert_ptr_nonnull(strstr(w->logged, "ezsp.overflow"));
    ncp_world_run(w, 61000);
    ck_assert_uint_eq(w->warnings, 2);
    ncp_world_free(w);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("stick_ezsp");
    TCase *t = tcase_create("packets");
    const int all = (int)(sizeof versions);
    tcase_add_loop_test(t, a_packet_is_delivered_and_the_next_needs_no_lookup, 0, all);
    tcase_add_loop_test(t, what_the_stick_says_of_a_packet_becomes_its_outcome, 0, all);
    tcase_add_loop_test(t, a_busy_stick_is_asked_three_times_and_no_more, 0, all);
    tcase_add_test(t, a_send_that_the_stick_refuses_or_does_not_know_was_never_sent);
    tcase_add_loop_test(t, without_message_sent_the_outcome_is_unknown_after_15_s, 0, all);
    tcase_add_test(t, a_late_or_foreign_message_sent_is_counted_and_changes_nothing);
    tcase_add_test(t, as_many_nodes_are_served_at_once_as_the_stick_allows);
    tcase_add_loop_test(t, a_broadcast_goes_to_all_that_listen, 0, all);
    tcase_add_test(t, the_line_repeats_and_the_stick_is_not_asked_twice);
    tcase_add_test(t, a_sender_of_known_name_is_heard_at_once);
    tcase_add_test(t, a_name_whose_message_was_lost_names_no_other);
    tcase_add_loop_test(t, a_sender_of_unknown_name_is_looked_up_then_asked, 0, all);
    tcase_add_test(t, a_burst_of_strangers_makes_the_stick_wait_with_callbacks);
    tcase_add_loop_test(t, foreign_ports_echoes_and_nonsense_are_counted_and_not_delivered, 0, all);
    tcase_add_test(t, callbacks_between_command_and_response_disturb_neither);
    tcase_add_test(t, a_response_that_nobody_asked_for_is_no_response);
    tcase_add_test(t, lost_callbacks_are_warned_of_once_a_minute);
    suite_add_tcase(s, t);
    return run_suite(s);
}
