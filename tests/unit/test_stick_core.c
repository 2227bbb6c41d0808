/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all families of sticks share, in sending: order, slots, suspects, retries, confirms. Limits
 * and outcomes: test_stick_outcomes.c; nodes: test_stick_nodes.c; everything at random:
 * test_stick_model.c.
 */
#include "unit/stick_fixture.h"

/* ---- order, slots ------------------------------------------------------------------------------ */

START_TEST(packets_of_a_node_go_one_at_a_time_in_order)
{
    for (uint32_t tag = 0; tag < 5; tag++)
        send_to(1, tag);
    ck_assert_uint_eq(f->n_sent, 1);
    for (uint32_t tag = 0; tag < 5; tag++) {
        ck_assert_uint_eq(f->n_sent, tag + 1);
        ck_assert_uint_eq(f->sent[tag].tag, tag);
        verdict(f->sent[tag].id, VERDICT_DELIVERED);
    }
    ck_assert_uint_eq(f->n_sent, 5);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 5);
    ck_assert_uint_eq(stick_counters(s)->packets_out, 5);
}

END_TEST

START_TEST(as_many_nodes_as_slots_have_a_packet_on_air)
{
    for (uint32_t node = 0; node < 10; node++)
        send_to(node, node);
    ck_assert_uint_eq(f->n_sent, SLOTS);
    verdict(f->sent[2].id, VERDICT_DELIVERED);
    ck_assert_uint_eq(f->n_sent, SLOTS + 1);
    ck_assert_uint_eq(f->sent[SLOTS].tag, SLOTS);
}

END_TEST

START_TEST(nodes_take_turns)
{
    for (uint32_t i = 0; i < 20; i++)
        send_to(i / 4, i); /* five nodes, four packets each, node by node */
    for (size_t i = 0; i < f->n_sent; i++)
        verdict(f->sent[i].id, VERDICT_DELIVERED);
    ck_assert_uint_eq(f->n_sent, 20);
    /* Each node's packets in order, and nobody has his third before everybody had his first. */
    uint32_t had[5] = {0};
    for (size_t i = 0; i < 20; i++) {
        const uint32_t node = f->sent[i].tag / 4;
        ck_assert_uint_eq(f->sent[i].tag % 4, had[node]++);
        for (size_t other = 0; other < 5; other++)
            ck_assert_uint_le(had[node], had[other] + 2);
    }
}

END_TEST

START_TEST(ids_of_outstanding_packets_differ_and_are_never_zero)
{
    for (uint32_t round = 0; round < 300; round++) {
        send_to(1, round); /* stays on air, by id */
        f->n_sent = 0;
        send_to(2, round);
        ck_assert_uint_le(f->n_sent, 1);
        if (f->n_sent == 1) {
            ck_assert_uint_ne(f->sent[0].id, 0);
            ck_assert_uint_ne(f->sent[0].id, 1); /* node 1 got id 1 */
            verdict(f->sent[0].id, VERDICT_DELIVERED);
        }
        drain(STICK_EV_OUTCOME);
    }
}

END_TEST

START_TEST(nothing_goes_while_paused)
{
    stick_pause(s);
    send_to(1, 1);
    ck_assert_uint_eq(f->n_sent, 0);
    stick_resume(s, now_ms);
    ck_assert_uint_eq(f->n_sent, 1);
}

END_TEST

START_TEST(nothing_goes_without_room_for_its_frame)
{
    f->frame_bytes = 2000;
    f->verdict_at_once = true;
    f->verdict = VERDICT_DELIVERED;
    for (uint32_t i = 0; i < 10; i++)
        fake_send(s, now_ms, PEER_EUI64, i, i, 30); /* nobody takes the bytes */
    const size_t fit = (STICK_OUT_BYTES - STICK_OUT_RESERVE) / 2000 + 1;
    ck_assert_uint_eq(f->n_sent, fit);
    stick_took(s, now_ms, 2000);
    ck_assert_uint_eq(f->n_sent, fit + 1);
    take_bytes();
    ck_assert_uint_eq(f->n_sent, 10);
}

END_TEST

/* ---- the dead don't delay the living ----------------------------------------------------------- */

static void kill_node(uint64_t node)
{
    for (unsigned i = 0; i < STICK_SUSPECT_FAILURES; i++) {
        f->n_sent = 0;
        send_to(node, 0);
        ck_assert_uint_eq(f->n_sent, 1);
        verdict(f->sent[0].id, VERDICT_FAILED);
    }
    f->n_sent = 0;
}

START_TEST(suspects_have_one_slot_of_four)
{
    for (uint64_t node = 1; node <= 6; node++)
        kill_node(node);
    for (uint64_t node = 1; node <= 6; node++)
        send_to(node, (uint32_t)node);
    ck_assert_uint_eq(f->n_sent, 1);
    /* The living find the others free, at once. */
    for (uint64_t node = 11; node <= 13; node++)
        send_to(node, (uint32_t)node);
    ck_assert_uint_eq(f->n_sent, 4);
    ck_assert_uint_eq(f->sent[3].tag, 13);
}

END_TEST

START_TEST(after_its_first_failure_a_node_does_not_delay_others)
{
    for (uint64_t node = 1; node <= SLOTS; node++)
        send_to(node, (uint32_t)node);
    ck_assert_uint_eq(f->n_sent, SLOTS); /* nobody knows yet that they are dead */
    for (unsigned i = 0; i < SLOTS; i++)
        verdict(f->sent[i].id, VERDICT_FAILED);
    f->n_sent = 0;
    for (uint64_t node = 1; node <= SLOTS; node++)
        send_to(node, (uint32_t)node);
    send_to(100, 777);
    ck_assert_uint_eq(f->n_sent, 2);
    ck_assert_uint_eq(f->sent[1].tag, 777);
}

END_TEST

START_TEST(a_suspect_that_is_heard_is_none_any_more)
{
    kill_node(1);
    kill_node(2);
    send_to(1, 1);
    send_to(2, 2);
    ck_assert_uint_eq(f->n_sent, 1); /* node 2 waits for the slot of suspects */
    const struct stick_radio radio = {0};
    stick_heard(s, now_ms, PEER_EUI64, 2, SHORT_UNKNOWN, &radio, bytes_str("hello"));
    ck_assert_uint_eq(f->n_sent, 2);
    ck_assert_uint_eq(f->sent[1].tag, 2);
}

END_TEST

START_TEST(a_suspect_that_answers_is_none_any_more)
{
    kill_node(1);
    kill_node(2);
    send_to(1, 1);
    verdict(f->sent[0].id, VERDICT_DELIVERED);
    send_to(1, 1);
    send_to(2, 2);
    ck_assert_uint_eq(f->n_sent, 3);
}

END_TEST

START_TEST(suspects_are_not_forgotten_while_the_living_talk)
{
    kill_node(1);
    for (uint32_t i = 0; i < 40; i++)
        send_to(20 + i % 8, i);
    send_to(1, 999);
    unsigned at = 0;
    for (size_t i = 0; i < f->n_sent; i++) {
        if (f->sent[i].tag == 999)
            at = (unsigned)i;
        verdict(f->sent[i].id, VERDICT_DELIVERED);
    }
    ck_assert_uint_gt(at, 0);
    ck_assert_uint_lt(at, 12);
}

END_TEST

START_TEST(packets_of_suspects_give_way_when_everything_is_full)
{
    for (uint64_t node = 1; node <= 9; node++)
        kill_node(node);
    drain(STICK_EV_OUTCOME);
    for (uint32_t i = 0; i < STICK_QUEUE; i++)
        send_to(1 + i / 29, i);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 0);
    f->n_sent = 0;
    send_to(100, 777);
    ck_assert_uint_eq(f->n_sent, 1);
    ck_assert_uint_eq(f->sent[0].tag, 777);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(outcomes_of[100][STICK_NOT_SENT], 0);
    ck_assert_uint_eq(stick_counters(s)->queue_full, 1);
}

END_TEST

START_TEST(a_restart_of_the_stick_makes_nobody_suspect)
{
    for (unsigned i = 0; i < 5; i++) {
        send_to(1, i);
        send_to(2, i);
        stick_down(s, now_ms, "it has reset itself");
        stick_up(s, now_ms, 82, SLOTS, CONFIRM_MS, "again");
    }
    f->n_sent = 0;
    send_to(1, 9);
    send_to(2, 9);
    ck_assert_uint_eq(f->n_sent, 2);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 10);
}

END_TEST

/* ---- what could not start ---------------------------------------------------------------------- */

START_TEST(what_could_not_start_is_tried_three_times_with_a_pause)
{
    send_to(1, 5);
    send_to(1, 6);
    for (unsigned i = 0; i < STICK_TRIES; i++) {
        ck_assert_uint_eq(f->n_sent, i + 1);
        ck_assert_uint_eq(f->sent[i].tag, 5);
        ck_assert_uint_eq(f->sent[i].tries, i + 1);
        verdict(f->sent[i].id, VERDICT_NOT_BEGUN); /* again after 100 ms */
        if (i + 1 < STICK_TRIES) {
            advance_by(99);
            ck_assert_uint_eq(f->n_sent, i + 1);
            advance_by(1);
        }
    }
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(f->sent[3].tag, 6); /* the next one has its turn */
    ck_assert_uint_eq(stick_counters(s)->restarts, STICK_TRIES - 1);
    ck_assert_uint_eq(stick_counters(s)->packets_out, 2);
}

END_TEST

START_TEST(a_busy_stick_does_not_spin)
{
    f->verdict_at_once = true;
    f->verdict = VERDICT_NOT_BEGUN;
    f->again_ms = 0;
    for (uint32_t i = 0; i < 50; i++)
        send_to(i, i);
    ck_assert_uint_eq(f->n_sent, 50);
    advance_by(10);
    ck_assert_uint_eq(f->n_sent, 150);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 50);
}

END_TEST

START_TEST(refused_and_too_long_are_final)
{
    send_to(1, 1);
    verdict(f->sent[0].id, VERDICT_REFUSED);
    send_to(1, 2);
    verdict(f->sent[1].id, VERDICT_TOO_LONG);
    advance_by(10000);
    ck_assert_uint_eq(f->n_sent, 2);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 2);
    ck_assert_uint_eq(stick_counters(s)->too_long, 1);
}

END_TEST

/* ---- confirms ---------------------------------------------------------------------------------- */

START_TEST(a_confirm_that_never_comes_is_unknown_at_its_deadline)
{
    send_to(1, 1);
    advance_by(CONFIRM_MS - 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    advance_by(1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 1);
    /* It comes all the same, later. */
    ck_assert(!stick_verdict(s, now_ms, f->sent[0].id, VERDICT_DELIVERED, 0));
    ck_assert_uint_eq(stick_counters(s)->unknown_ids, 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
}

END_TEST

START_TEST(a_driver_may_wait_longer_for_one_confirm)
{
    send_to(1, 1);
    stick_await(s, stick_outstanding(s, f->sent[0].id), now_ms, 20000);
    advance_by(19999);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    advance_by(1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
}

END_TEST

START_TEST(confirms_for_nobody_are_counted)
{
    for (unsigned id = 0; id < 256; id++)
        ck_assert(!stick_verdict(s, now_ms, (uint8_t)id, VERDICT_DELIVERED, 0));
    ck_assert_uint_eq(stick_counters(s)->unknown_ids, 256);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_core");
    TCase *tc = tcase_create("core");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, packets_of_a_node_go_one_at_a_time_in_order);
    tcase_add_test(tc, as_many_nodes_as_slots_have_a_packet_on_air);
    tcase_add_test(tc, nodes_take_turns);
    tcase_add_test(tc, ids_of_outstanding_packets_differ_and_are_never_zero);
    tcase_add_test(tc, nothing_goes_while_paused);
    tcase_add_test(tc, nothing_goes_without_room_for_its_frame);
    tcase_add_test(tc, suspects_have_one_slot_of_four);
    tcase_add_test(tc, after_its_first_failure_a_node_does_not_delay_others);
    tcase_add_test(tc, a_suspect_that_is_heard_is_none_any_more);
    tcase_add_test(tc, a_suspect_that_answers_is_none_any_more);
    tcase_add_test(tc, suspects_are_not_forgotten_while_the_living_talk);
    tcase_add_test(tc, packets_of_suspects_give_way_when_everything_is_full);
    tcase_add_test(tc, a_restart_of_the_stick_makes_nobody_suspect);
    tcase_add_test(tc, what_could_not_start_is_tried_three_times_with_a_pause);
    tcase_add_test(tc, a_busy_stick_does_not_spin);
    tcase_add_test(tc, refused_and_too_long_are_final);
    tcase_add_test(tc, a_confirm_that_never_comes_is_unknown_at_its_deadline);
    tcase_add_test(tc, a_driver_may_wait_longer_for_one_confirm);
    tcase_add_test(tc, confirms_for_nobody_are_counted);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
