/* SPDX-License-Identifier: Apache-2.0 */
/* What all families of sticks share: limits, the group, exactly one outcome, joining. */
#include "unit/stick_fixture.h"

/* ---- limits ------------------------------------------------------------------------------------ */

START_TEST(a_node_has_room_for_so_many_packets)
{
    for (uint32_t i = 0; i < STICK_NODE_QUEUE + 1; i++) /* one is on air */
        send_to(1, i);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    send_to(1, 99);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->queue_full, 1);
}

END_TEST

START_TEST(all_nodes_together_have_room_for_so_many)
{
    for (uint32_t i = 0; i < STICK_QUEUE; i++)
        send_to(i, i);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    send_to(300, 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
    ck_assert_uint_eq(stick_counters(s)->queue_full, 1);
}

END_TEST

START_TEST(what_waited_too_long_is_not_sent)
{
    stick_pause(s);
    send_to(1, 1);
    advance_by(5000);
    send_to(1, 2);
    advance_by(STICK_QUEUE_AGE_MS - 5000 - 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    advance_by(1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1); /* told at once, paused or not */
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->expired, 1);
    stick_resume(s, now_ms);
    ck_assert_uint_eq(f->n_sent, 1);
    ck_assert_uint_eq(f->sent[0].tag, 2);
}

END_TEST

START_TEST(what_is_on_air_does_not_expire_in_the_queue)
{
    send_to(1, 1);
    stick_await(s, stick_outstanding(s, f->sent[0].id), now_ms, STICK_QUEUE_AGE_MS * 2);
    advance_by(STICK_QUEUE_AGE_MS + 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    verdict(f->sent[0].id, VERDICT_DELIVERED);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
}

END_TEST

START_TEST(too_long_packets_are_refused_by_the_network_s_limit)
{
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 83);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->too_long, 1);
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 82);
    ck_assert_uint_eq(f->n_sent, 1);
    struct stick_node_info info;
    ck_assert(stick_node(s, 0, &info));
    ck_assert(!stick_node(s, 1, &info));
}

END_TEST

START_TEST(a_lower_limit_refuses_what_already_waits)
{
    stick_pause(s);
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 80);
    fake_send(s, now_ms, PEER_EUI64, 1, 2, 60);
    stick_up(s, now_ms, 66, SLOTS, CONFIRM_MS, "with security");
    stick_resume(s, now_ms);
    ck_assert_uint_eq(f->n_sent, 1);
    ck_assert_uint_eq(f->sent[0].tag, 2);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->too_long, 1);
}

END_TEST

START_TEST(the_configured_limit_is_never_exceeded)
{
    stick_up(s, now_ms, 4000, SLOTS, CONFIRM_MS, "fragments");
    struct stick_event e;
    uint32_t limit = 0;
    for (; stick_peek_event(s, &e); stick_done_event(s)) {
        if (e.type == STICK_EV_UP)
            limit = e.max_packet_bytes;
    }
    ck_assert_uint_eq(limit, 255);
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 256);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(f->n_sent, 0);
}

END_TEST

/* ---- the group --------------------------------------------------------------------------------- */

START_TEST(broadcasts_keep_their_distance)
{
    for (uint32_t i = 0; i < 3; i++)
        fake_send(s, now_ms, PEER_GROUP, i, i, 20);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(f->n_sent, i + 1);
        ck_assert(f->sent[i].group);
        ck_assert_uint_eq(f->sent[i].radius, i);
        verdict(f->sent[i].id, VERDICT_DELIVERED);
        advance_by(STICK_GROUP_GAP_MS - 1);
        ck_assert_uint_eq(f->n_sent, i + 1);
        advance_by(1);
    }
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0); /* nobody acknowledges a broadcast */
    struct stick_node_info info;
    ck_assert(!stick_node(s, 0, &info)); /* the group is no node */
}

END_TEST

START_TEST(broadcasts_do_not_delay_the_nodes)
{
    for (uint32_t i = 0; i < 3; i++)
        fake_send(s, now_ms, PEER_GROUP, 0, i, 20);
    send_to(1, 7);
    ck_assert_uint_eq(f->n_sent, 2);
    ck_assert_uint_eq(f->sent[1].tag, 7);
}

END_TEST

/* ---- exactly one outcome ----------------------------------------------------------------------- */

START_TEST(closing_decides_everything)
{
    for (uint32_t i = 0; i < 3 * SLOTS; i++)
        send_to(i, i);
    verdict(f->sent[0].id, VERDICT_NOT_BEGUN); /* waits for its next try */
    stick_closed(s, now_ms);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], SLOTS);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 2 * SLOTS);
    advance_by(60000);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    ck_assert_int_eq(stick_next_deadline(s), TIME_NEVER);
    /* And nothing of it comes back with the port. */
    f->n_sent = 0;
    up(SLOTS);
    advance_by(60000);
    ck_assert_uint_eq(f->n_sent, 0);
}

END_TEST

START_TEST(a_restart_decides_what_is_on_air_and_keeps_the_rest)
{
    for (uint32_t i = 0; i < 2 * SLOTS; i++)
        send_to(i, i);
    stick_down(s, now_ms, "reset");
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], SLOTS);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 0);
    advance_by(3000);
    stick_up(s, now_ms, 82, SLOTS, CONFIRM_MS, "back");
    ck_assert_uint_eq(f->n_sent, 2 * SLOTS);
}

END_TEST

START_TEST(a_restart_that_takes_too_long_tells_the_waiting)
{
    for (uint32_t i = 0; i < 2 * SLOTS; i++)
        send_to(i, i);
    stick_down(s, now_ms, "reset");
    advance_by(STICK_QUEUE_AGE_MS);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], SLOTS);
}

END_TEST

START_TEST(without_a_running_stick_nothing_is_sent)
{
    stick_closed(s, now_ms);
    send_to(1, 1);
    stick_opened(s, now_ms);
    send_to(1, 2);
    stick_reopen(s, now_ms, "no answer");
    send_to(1, 3);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 3);
    ck_assert_uint_eq(f->n_sent, 0);
    struct stick_node_info info;
    ck_assert(!stick_node(s, 0, &info)); /* it costs no place in the table either */
}

END_TEST

START_TEST(a_driver_that_gives_up_hears_nothing_until_closed)
{
    f->deadline_ms = now_ms + 10;
    send_to(1, 1);
    stick_reopen(s, now_ms, "the stick says nothing");
    ck_assert_uint_eq(drain(STICK_EV_REOPEN), 1);
    ck_assert_int_eq(stick_state(s), STICK_GIVEN_UP);
    stick_input(s, now_ms, bytes_str("late")); /* fake input() would abort */
    advance_by(100);
    ck_assert_uint_eq(f->advanced, 0);
    stick_closed(s, now_ms);
    ck_assert_uint_eq(f->closed, 1);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 1);
}

END_TEST

START_TEST(a_family_that_knows_no_outcomes_tells_none)
{
    stick_free(s);
    const struct stick_config config = stick_defaults();
    stick_of(&fake_silent_driver, &config);
    up(SLOTS);
    for (uint32_t i = 0; i < 300; i++)
        send_to(i, i);
    verdict(f->sent[0].id, VERDICT_DELIVERED);
    stick_closed(s, now_ms);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    ck_assert(!stick_driver_reports(&fake_silent_driver));
    ck_assert_uint_eq(stick_counters(s)->delivered, 1);
}

END_TEST

/* ---- joining ----------------------------------------------------------------------------------- */

START_TEST(permission_to_join_is_remembered_while_the_stick_is_away)
{
    stick_closed(s, now_ms);
    stick_permit_join(s, now_ms, 60);
    ck_assert_uint_eq(f->join_calls, 0);
    advance_by(20000);
    up(SLOTS);
    ck_assert_uint_eq(f->join_calls, 1);
    ck_assert_uint_eq(f->join_seconds, 40);
    stick_permit_join(s, now_ms, 0);
    ck_assert_uint_eq(f->join_seconds, 0);
    stick_permit_join(s, now_ms, 65535);
    stick_closed(s, now_ms);
    advance_by(1000000);
    up(SLOTS);
    ck_assert_uint_eq(f->join_seconds, 65535);
    stick_permit_join(s, now_ms, 10);
    stick_closed(s, now_ms);
    advance_by(10000);
    const unsigned calls = f->join_calls;
    up(SLOTS);
    ck_assert_uint_eq(f->join_calls, calls);
}

END_TEST

START_TEST(each_start_opens_the_network_for_joining_as_configured)
{
    s->config.permit_join_s = 30; /* as if made so */
    stick_closed(s, now_ms);
    advance_by(100000);
    up(SLOTS);
    ck_assert_uint_eq(f->join_calls, 1);
    ck_assert_uint_eq(f->join_seconds, 30);
    stick_up(s, now_ms, 82, SLOTS, 5000, "the same start, other limits");
    ck_assert_uint_eq(f->join_seconds, 30);
    advance_by(50000);
    stick_up(s, now_ms, 82, SLOTS, 5000, "the same start, later");
    ck_assert_uint_eq(f->join_calls, 2); /* it is over */
    stick_closed(s, now_ms);
    advance_by(100000);
    up(SLOTS);
    ck_assert_uint_eq(f->join_calls, 3);
    ck_assert_uint_eq(f->join_seconds, 30);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_outcomes");
    TCase *tc = tcase_create("core");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_node_has_room_for_so_many_packets);
    tcase_add_test(tc, all_nodes_together_have_room_for_so_many);
    tcase_add_test(tc, what_waited_too_long_is_not_sent);
    tcase_add_test(tc, what_is_on_air_does_not_expire_in_the_queue);
    tcase_add_test(tc, too_long_packets_are_refused_by_the_network_s_limit);
    tcase_add_test(tc, a_lower_limit_refuses_what_already_waits);
    tcase_add_test(tc, the_configured_limit_is_never_exceeded);
    tcase_add_test(tc, broadcasts_keep_their_distance);
    tcase_add_test(tc, broadcasts_do_not_delay_the_nodes);
    tcase_add_test(tc, closing_decides_everything);
    tcase_add_test(tc, a_restart_decides_what_is_on_air_and_keeps_the_rest);
    tcase_add_test(tc, a_restart_that_takes_too_long_tells_the_waiting);
    tcase_add_test(tc, without_a_running_stick_nothing_is_sent);
    tcase_add_test(tc, a_driver_that_gives_up_hears_nothing_until_closed);
    tcase_add_test(tc, a_family_that_knows_no_outcomes_tells_none);
    tcase_add_test(tc, permission_to_join_is_remembered_while_the_stick_is_away);
    tcase_add_test(tc, each_start_opens_the_network_for_joining_as_configured);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
