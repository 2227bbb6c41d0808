/* SPDX-License-Identifier: Apache-2.0 */
/* The ASH machine, timers and numbers one by one. */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "radio/stick/ash.h"
#include "unit/suite.h"

static struct ash a;
static int64_t now_ms;

/* ---- hand to hand ------------------------------------------------------------------------------ */

/* The next frame that the machine says; fails when it says nothing. */
static struct ash_frame said(void)
{
    static struct ash_deframer d;
    struct bytes out;
    struct ash_frame f;
    ck_assert_msg(ash_output(&a, now_ms, &out), "it says nothing");
    struct reader r = rd_of(out);
    ck_assert_int_eq(ash_deframe(&d, &r, &f), ASH_FOUND);
    ck_assert_uint_eq(rd_left(&r), 0);
    return f;
}

static void says_nothing(void)
{
    struct bytes out;
    ck_assert(!ash_output(&a, now_ms, &out));
}

static void says(enum ash_type type, uint8_t ack_num)
{
    const struct ash_frame f = said();
    ck_assert_int_eq(f.type, type);
    ck_assert_uint_eq(f.ack_num, ack_num);
}

static void says_data(uint8_t frm_num, uint8_t ack_num, bool re_tx)
{
    const struct ash_frame f = said();
    ck_assert_int_eq(f.type, ASH_DATA);
    ck_assert_uint_eq(f.frm_num, frm_num);
    ck_assert_uint_eq(f.ack_num, ack_num);
    ck_assert_int_eq(f.re_tx, re_tx);
}

static struct ash_event hear_bytes(struct bytes in)
{
    struct reader r = rd_of(in);
    struct ash_event e = {.type = ASH_EV_NONE}, next;
    while (ash_next(&a, now_ms, &r, &next))
        e = next;
    return e;
}

static enum ash_event_type hear(struct ash_frame f)
{
    uint8_t wire[ASH_WIRE_MAX];
    return hear_bytes(bytes_of(wire, ash_encode(&f, wire, sizeof wire))).type;
}

static enum ash_event_type hear_data(uint8_t frm_num, uint8_t ack_num, bool re_tx)
{
    return hear((struct ash_frame){.type = ASH_DATA,
                                   .frm_num = frm_num,
                                   .ack_num = ack_num,
                                   .re_tx = re_tx,
                                   .data = bytes_str("data")});
}

static enum ash_event_type hear_ack(uint8_t ack_num)
{
    return hear((struct ash_frame){.type = ASH_ACK, .ack_num = ack_num});
}

static enum ash_event_type hear_nak(uint8_t ack_num)
{
    return hear((struct ash_frame){.type = ASH_NAK, .ack_num = ack_num});
}

static enum ash_event_type hear_rstack(uint8_t code)
{
    return hear((struct ash_frame){.type = ASH_RSTACK, .version = 2, .code = code});
}

/* Up to the next deadline, `ms` from now. */
static enum ash_event_type wait(int64_t ms)
{
    ck_assert_int_eq(ash_next_deadline(&a), now_ms + ms);
    now_ms += ms;
    const enum ash_event_type e = ash_advance(&a, now_ms);
    ck_assert_int_gt(ash_next_deadline(&a), now_ms);
    return e;
}

static void setup(void)
{
    now_ms = 1000;
    ash_init(&a, ASH_T_ACK_MS);
    ck_assert(!ash_send(&a, bytes_str("data")));
    ash_connect(&a, now_ms);
    ck_assert_int_eq(said().type, ASH_RST);
    ck_assert_int_eq(hear_rstack(ASH_RESET_SOFTWARE), ASH_EV_CONNECTED);
    says(ASH_ACK, 0);
    says_nothing();
    ck_assert_int_eq(ash_next_deadline(&a), TIME_NEVER);
}

static void send(void)
{
    ck_assert(ash_send(&a, bytes_str("data")));
    ck_assert(!ash_send(&a, bytes_str("more")));
}

/* ---- connecting -------------------------------------------------------------------------------- */

START_TEST(a_reset_begins_with_cancel_and_is_repeated_five_times)
{
    struct bytes out;
    ash_connect(&a, now_ms);
    for (unsigned i = 0; i < ASH_CONNECT_TRIES; i++) {
        ck_assert(ash_output(&a, now_ms, &out));
        ck_assert(bytes_equal(out, bytes_of("\x1A\xC0\x38\xBC\x7E", 5)));
        says_nothing();
        ck_assert_int_eq(wait(ASH_CONNECT_MS),
                         i + 1 < ASH_CONNECT_TRIES ? ASH_EV_NONE : ASH_EV_SILENT);
    }
    says_nothing();
    ck_assert(!ash_ready(&a));
}

END_TEST

START_TEST(only_a_software_reset_answers_ours)
{
    ash_connect(&a, now_ms);
    said();
    ck_assert_int_eq(hear((struct ash_frame){.type = ASH_RSTACK, .version = 1, .code = 0x0B}),
                     ASH_EV_NONE);
    ck_assert_int_eq(hear((struct ash_frame){.type = ASH_ERROR, .version = 2, .code = 0x51}),
                     ASH_EV_NONE);
    ck_assert_int_eq(hear_data(0, 0, false), ASH_EV_NONE);
    ck_assert_int_eq(ash_next_deadline(&a), now_ms + ASH_CONNECT_MS);
    /* It just got its power, and may have missed the RST. */
    ck_assert_int_eq(hear_rstack(0x02), ASH_EV_NONE);
    says_nothing();
    ck_assert_int_eq(wait(ASH_NOISE_MS), ASH_EV_NONE);
    ck_assert_int_eq(said().type, ASH_RST);
    ck_assert_int_eq(hear_rstack(0x0B), ASH_EV_CONNECTED);
}

END_TEST

START_TEST(what_was_half_received_before_a_new_connection_is_gone)
{
    hear_bytes(bytes_of("\x25\x42\x21", 3));
    ash_connect(&a, now_ms);
    said();
    ck_assert_int_eq(hear_rstack(0x0B), ASH_EV_CONNECTED);
}

END_TEST

START_TEST(a_second_rstack_before_anything_else_is_no_reset)
{
    ck_assert_int_eq(hear_rstack(0x0B), ASH_EV_NONE);
    send();
    ck_assert_int_eq(hear_rstack(0x0B), ASH_EV_NONE);
    ck_assert_int_eq(hear_rstack(0x02), ASH_EV_REBOOTED);
    ash_connect(&a, now_ms);
    said();
    ck_assert_int_eq(hear_rstack(0x0B), ASH_EV_CONNECTED);
    said();
    send();
    said();
    hear_ack(1);
    ck_assert_int_eq(hear_rstack(0x0B), ASH_EV_REBOOTED);
}

END_TEST

START_TEST(a_reset_or_error_of_the_stick_ends_the_connection)
{
    send();
    ck_assert_int_eq(hear_rstack(0x03), ASH_EV_REBOOTED);
    says_nothing();
    ck_assert_int_eq(ash_next_deadline(&a), TIME_NEVER);
    ck_assert(!ash_ready(&a));
    ash_connect(&a, now_ms);
    said();
    hear_rstack(0x0B);
    said();
    ck_assert_int_eq(hear((struct ash_frame){.type = ASH_ERROR, .version = 2, .code = 0x51}),
                     ASH_EV_FAILED);
    ck_assert_int_eq(hear_data(0, 0, false), ASH_EV_NONE);
    says_nothing();
}

END_TEST

/* ---- sending ----------------------------------------------------------------------------------- */

START_TEST(numbers_of_data_go_round_and_each_waits_for_its_acknowledgement)
{
    for (unsigned i = 0; i < 20; i++) {
        send();
        says_data(i & 7, 0, false);
        says_nothing();
        ck_assert(!ash_ready(&a));
        hear_ack((uint8_t)((i + 1) & 7));
        ck_assert(ash_ready(&a));
    }
    ck_assert_uint_eq(a.repeated, 0);
}

END_TEST

START_TEST(without_acknowledgement_data_is_repeated_ever_later_then_the_line_is_lost)
{
    static const int64_t waits_ms[] = {800, 1600, 2400, 2400, 2400, 2400};

    send();
    says_data(0, 0, false);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert_int_eq(wait(waits_ms[i]), ASH_EV_NONE);
        says_data(0, 0, true);
    }
    ck_assert_int_eq(wait(waits_ms[5]), ASH_EV_LOST);
    says_nothing();
}

END_TEST

START_TEST(one_acknowledgement_ends_the_count_of_timeouts)
{
    for (unsigned i = 0; i < 10; i++) {
        send();
        said();
        for (unsigned k = 0; k < 5; k++) {
            now_ms = ash_next_deadline(&a);
            ck_assert_int_eq(ash_advance(&a, now_ms), ASH_EV_NONE);
            said();
        }
        hear_ack((uint8_t)((i + 1) & 7));
    }
}

END_TEST

START_TEST(the_timeout_follows_the_measured_time_within_its_limits)
{
    int64_t expected_ms = ASH_T_ACK_MS;
    for (unsigned i = 0; i < 30; i++) {
        send();
        said();
        ck_assert_int_eq(ash_next_deadline(&a), now_ms + expected_ms);
        const int64_t took_ms = i < 15 ? 10 : 399;
        now_ms += took_ms;
        hear_ack((uint8_t)((i + 1) & 7));
        expected_ms = expected_ms * 7 / 8 + took_ms / 2;
        expected_ms = expected_ms < ASH_T_ACK_MIN_MS ? ASH_T_ACK_MIN_MS : expected_ms;
    }
    ck_assert_int_gt(expected_ms, 1000);

    /* What was repeated measures nothing. */
    send();
    said();
    ck_assert_int_eq(wait(expected_ms), ASH_EV_NONE);
    said();
    now_ms++;
    hear_ack(7);
    ck_assert_int_eq(a.t_ack_ms, 2 * expected_ms < 2400 ? 2 * expected_ms : 2400);
}

END_TEST

START_TEST(a_nak_repeats_at_once_and_a_flood_of_them_once)
{
    send();
    said();
    for (unsigned i = 0; i < 10; i++)
        hear_nak(0);
    says_data(0, 0, true);
    says_nothing();
    hear_nak(1); /* says that it came, too */
    ck_assert(ash_ready(&a));
    says_nothing();
    hear_nak(1); /* with nothing to repeat */
    says_nothing();
}

END_TEST

START_TEST(a_stick_that_says_nak_for_ever_is_given_up)
{
    send();
    said();
    for (unsigned i = 0; i < ASH_REPEATS; i++) {
        ck_assert_int_eq(hear_nak(0), ASH_EV_NONE);
        says_data(0, 0, true);
    }
    ck_assert_int_eq(hear_nak(0), ASH_EV_LOST);
}

END_TEST

START_TEST(acknowledgements_of_what_was_never_sent_are_nothing)
{
    for (uint8_t n = 1; n < 8; n++)
        hear_ack(n);
    ck_assert_uint_eq(a.bad_frames, 7);
    ck_assert(ash_send(&a, bytes_str("data")));
    hear_ack(1); /* it is not on the line yet */
    says_data(0, 0, false);
    for (uint8_t n = 2; n < 8; n++)
        hear_ack(n);
    ck_assert(!ash_ready(&a));
    ck_assert_uint_eq(a.bad_frames, 14);
    hear_ack(0); /* an old one */
    ck_assert(!ash_ready(&a));
    hear_ack(1);
    ck_assert(ash_ready(&a));
}

END_TEST

/* ---- receiving --------------------------------------------------------------------------------- */

START_TEST(data_is_acknowledged_once_for_all_that_came_together)
{
    for (unsigned i = 0; i < 5; i++)
        ck_assert_int_eq(hear_data((uint8_t)i, 0, false), ASH_EV_DATA);
    says(ASH_ACK, 5);
    says_nothing();
}

END_TEST

START_TEST(the_acknowledgement_rides_on_data_that_goes_anyway)
{
    ck_assert_int_eq(hear_data(0, 0, false), ASH_EV_DATA);
    send();
    says_data(0, 1, false);
    says_nothing();
    ck_assert_int_eq(hear_data(1, 1, false), ASH_EV_DATA);
    ck_assert(ash_ready(&a));
}

END_TEST

START_TEST(a_repeated_data_is_acknowledged_and_not_delivered_again)
{
    ck_assert_int_eq(hear_data(0, 0, false), ASH_EV_DATA);
    said();
    ck_assert_int_eq(hear_data(0, 0, true), ASH_EV_NONE);
    says(ASH_ACK, 1);
    ck_assert_uint_eq(a.duplicates, 1);
    ck_assert_int_eq(hear_data(1, 0, true), ASH_EV_DATA);
}

END_TEST

START_TEST(a_gap_is_rejected_once_until_it_is_filled)
{
    ck_assert_int_eq(hear_data(1, 0, false), ASH_EV_NONE);
    says(ASH_NAK, 0);
    ck_assert_int_eq(hear_data(2, 0, false), ASH_EV_NONE);
    hear_bytes(bytes_of("\x30\x01\x02\x03\x04\x05\x7E", 7));
    says_nothing();
    ck_assert_int_eq(hear_data(0, 0, true), ASH_EV_DATA);
    says(ASH_ACK, 1);
    ck_assert_int_eq(hear_data(3, 0, false), ASH_EV_NONE);
    says(ASH_NAK, 1);
}

END_TEST

START_TEST(a_spoiled_data_is_rejected_and_a_spoiled_acknowledgement_is_not)
{
    hear_bytes(bytes_of("\x81\x60\x58\x7E", 4));
    says_nothing();
    hear_bytes(bytes_of("\x25\x42\x21\xA8\x56\xA6\x08\x7E", 8));
    says(ASH_NAK, 0);
    says_nothing();
}

END_TEST

START_TEST(data_that_acknowledges_nonsense_is_rejected)
{
    ck_assert_int_eq(hear_data(0, 3, false), ASH_EV_NONE);
    says(ASH_NAK, 0);
    ck_assert_int_eq(hear_data(0, 0, true), ASH_EV_DATA);
}

END_TEST

START_TEST(not_ready_is_said_and_repeated_until_it_is_over)
{
    ash_hold(&a, now_ms, true);
    struct ash_frame f = said();
    ck_assert(f.type == ASH_ACK && f.not_ready);
    ash_hold(&a, now_ms, true);
    says_nothing();
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(wait(ASH_NRDY_MS), ASH_EV_NONE);
        f = said();
        ck_assert(f.type == ASH_ACK && f.not_ready);
        says_nothing();
    }
    ck_assert_int_eq(hear_data(0, 0, false), ASH_EV_DATA);
    f = said();
    ck_assert(f.not_ready && f.ack_num == 1);
    ash_hold(&a, now_ms, false);
    f = said();
    ck_assert(f.type == ASH_ACK && !f.not_ready);
    ck_assert_int_eq(ash_next_deadline(&a), TIME_NEVER);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("ash_line");
    TCase *t = tcase_create("line");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, a_reset_begins_with_cancel_and_is_repeated_five_times);
    tcase_add_test(t, only_a_software_reset_answers_ours);
    tcase_add_test(t, what_was_half_received_before_a_new_connection_is_gone);
    tcase_add_test(t, a_second_rstack_before_anything_else_is_no_reset);
    tcase_add_test(t, a_reset_or_error_of_the_stick_ends_the_connection);
    tcase_add_test(t, numbers_of_data_go_round_and_each_waits_for_its_acknowledgement);
    tcase_add_test(t, without_acknowledgement_data_is_repeated_ever_later_then_the_line_is_lost);
    tcase_add_test(t, one_acknowledgement_ends_the_count_of_timeouts);
    tcase_add_test(t, the_timeout_follows_the_measured_time_within_its_limits);
    tcase_add_test(t, a_nak_repeats_at_once_and_a_flood_of_them_once);
    tcase_add_test(t, a_stick_that_says_nak_for_ever_is_given_up);
    tcase_add_test(t, acknowledgements_of_what_was_never_sent_are_nothing);
    tcase_add_test(t, data_is_acknowledged_once_for_all_that_came_together);
    tcase_add_test(t, the_acknowledgement_rides_on_data_that_goes_anyway);
    tcase_add_test(t, a_repeated_data_is_acknowledged_and_not_delivered_again);
    tcase_add_test(t, a_gap_is_rejected_once_until_it_is_filled);
    tcase_add_test(t, a_spoiled_data_is_rejected_and_a_spoiled_acknowledgement_is_not);
    tcase_add_test(t, data_that_acknowledges_nonsense_is_rejected);
    tcase_add_test(t, not_ready_is_said_and_repeated_until_it_is_over);
    suite_add_tcase(s, t);
    return run_suite(s);
}
