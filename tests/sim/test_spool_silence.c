/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of messages of QoS 1 while the broker is silent (spool.h, "Silence"). */
#include "base/clock.h"

#include "sim/spool_suite.h"

enum { SILENCE_MS = 25, LOOK_AGAIN_MS = 2, SILENT_HOLD_MS = 20, PATIENCE_MAX_MS = 2000 };

static void begin(struct spool_config config, struct faults faults)
{
    open_world(config, faults, CLIENTS_MAX);
    world_come(w);
}

static void setup(void)
{
    begin(spool_defaults(), (struct faults){.crash = false});
}

/* The broker says nothing for so long. */
static void pass_in_silence(int64_t ms)
{
    world_pass(w, ms);
    world_commit(w);
}

/* The same, and it is looked at again. */
static void fall_silent(int64_t ms)
{
    pass_in_silence(ms);
    pass_in_silence(LOOK_AGAIN_MS);
}

/* The broker takes `ms` for each message. */
static void speak_with_a_broker_so_far_away(int64_t ms, unsigned messages)
{
    for (unsigned i = 0; i < messages; i++) {
        publish(A, 1);
        fall_silent(ms);
        world_settle(w);
    }
}

/* ---- taking over ----------------------------------------------------------------------------- */

START_TEST(nobody_waits_for_a_broker_that_has_fallen_silent)
{
    const uint32_t a = publish(A, 1);
    const uint32_t b = publish(B, 1);
    pass_in_silence(SILENCE_MS - 1);
    ck_assert_int_eq(outcome(a), OPEN);
    ck_assert_uint_eq(w->rows.last, 0);
    fall_silent(1);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_int_eq(outcome(b), ACKED);
    ck_assert_uint_eq(gauges().hedged, 2);
    ck_assert_uint_eq(gauges().messages, 2);
    ck_assert_uint_eq(gauges().in_flight, 2);
    ck_assert_int_eq(spool_next_deadline(w->s), TIME_NEVER);
}

END_TEST

START_TEST(a_gateway_that_stood_still_hears_first_what_the_broker_has_said)
{
    const uint32_t a = publish(A, 1);
    while (wire_step(w))
        ;
    world_pass(w, 10 * SILENCE_MS);
    wire_hear(w);
    pass_in_silence(10 * SILENCE_MS);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_uint_eq(gauges().hedged, 0);
    ck_assert_uint_eq(w->rows.last, 0);
}

END_TEST

START_TEST(the_deadline_is_when_the_broker_will_have_been_silent_for_too_long)
{
    ck_assert_int_eq(spool_next_deadline(w->s), TIME_NEVER);
    publish(A, 1);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + SILENCE_MS);
    world_pass(w, 10);
    publish(B, 1);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + SILENCE_MS - 10);
    world_settle(w);
    ck_assert_int_eq(spool_next_deadline(w->s), TIME_NEVER);
    ck_assert_uint_eq(w->rows.last, 0);
}

END_TEST

START_TEST(an_answer_that_comes_late_ends_it_and_nothing_is_sent_twice)
{
    const uint32_t a = publish(A, 1);
    fall_silent(SILENCE_MS);
    ck_assert(row_at(w, 1)->there);
    world_settle(w);
    ck_assert_uint_eq(deliveries(a), 1);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(gauges().sent, 1);
    world_end(w);
    ck_assert_uint_eq(deliveries(a), 1);
}

END_TEST

START_TEST(an_answer_before_the_commit_lets_the_node_hear_once)
{
    const uint32_t a = publish(A, 1);
    world_pass(w, SILENCE_MS);
    world_pass(w, LOOK_AGAIN_MS);
    while (wire_step(w))
        ;
    while (wire_hear(w))
        ;
    world_end(w);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_uint_eq(deliveries(a), 1);
}

END_TEST

START_TEST(what_was_taken_over_goes_again_first_when_the_connection_breaks)
{
    const uint32_t a = publish(A, 1);
    const uint32_t b = publish(A, 1);
    fall_silent(SILENCE_MS);
    const uint32_t c = publish(A, 1);
    world_commit(w);
    ck_assert_int_eq(outcome(c), ACKED);
    wire_reach(w, SENT);
    world_go(w);
    ck_assert_uint_eq(gauges().in_flight, 0);
    ck_assert_uint_eq(gauges().messages, 3);
    world_end(w); /* which judges the order */
    ck_assert_uint_eq(deliveries(a), 2);
    ck_assert_uint_eq(deliveries(b), 2);
    ck_assert_uint_eq(deliveries(c), 2);
}

END_TEST

START_TEST(a_refusal_that_comes_too_late_is_counted)
{
    begin(spool_defaults(), (struct faults){.refuse = true});
    const uint32_t a = publish(A, 1); /* the first is refused */
    fall_silent(SILENCE_MS);
    ck_assert_int_eq(outcome(a), ACKED);
    world_settle(w);
    ck_assert_uint_eq(gauges().refused, 1);
    ck_assert_uint_eq(gauges().messages, 0);
    world_end(w);
}

END_TEST

START_TEST(what_was_taken_over_outlives_the_process)
{
    const uint32_t a = publish(A, 1);
    fall_silent(SILENCE_MS);
    world_crash(w);
    world_end(w);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_uint_eq(deliveries(a), 1);
}

END_TEST

START_TEST(what_was_taken_over_goes_on_with_the_next_connection_when_one_is_abandoned)
{
    const uint32_t a = publish(A, 1);
    fall_silent(SILENCE_MS);
    spool_abandoned(w->s, w->now_ms);
    world_carry(w);
    ck_assert_uint_eq(gauges().in_flight, 0);
    wire_crash(w); /* it tells nothing more */
    world_end(w);
    ck_assert_uint_eq(deliveries(a), 1);
}

END_TEST

/* ---- while it lasts -------------------------------------------------------------------------- */

START_TEST(new_messages_are_spooled_while_it_lasts_and_pass_again_behind_it)
{
    publish(A, 1);
    fall_silent(SILENCE_MS);
    const uint32_t b = publish(B, 1);
    world_commit(w);
    ck_assert_int_eq(outcome(b), ACKED);
    ck_assert_uint_eq(gauges().hedged, 1);
    ck_assert_uint_eq(gauges().spooled, 2);
    world_settle(w);
    publish(B, 1);
    world_settle(w);
    ck_assert_uint_eq(gauges().spooled, 2);
    world_end(w);
}

END_TEST

/* Written is not heard: of QoS 0 there is no answer. */
START_TEST(what_the_connection_has_got_rid_of_is_no_word_of_the_broker)
{
    const uint32_t a = publish(A, 1);
    fall_silent(SILENCE_MS);
    publish(A, 0); /* has its place behind the other */
    world_commit(w);
    wire_reach(w, SENT);
    while (wire_hear(w))
        ;
    const uint32_t b = publish(B, 1);
    world_commit(w);
    ck_assert_int_eq(outcome(b), ACKED);
    ck_assert_uint_eq(gauges().spooled, 3);
    world_settle(w);
    ck_assert_uint_eq(deliveries(a), 1);
    world_end(w);
}

END_TEST

START_TEST(no_answer_is_held_for_long_while_it_lasts)
{
    struct spool_config config = spool_defaults();
    config.window = 1;
    begin(config, (struct faults){.crash = false});
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        publish(i, 2);
    world_commit(w);
    ck_assert_uint_gt(gauges().held, 0);
    fall_silent(SILENCE_MS);
    ck_assert_uint_eq(gauges().held, 0);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        ck_assert_int_eq(outcome(i), ACKED);
    const uint32_t later = publish(A, 1);
    world_commit(w);
    ck_assert_int_eq(outcome(later), OPEN);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + SILENT_HOLD_MS);
    pass_in_silence(SILENT_HOLD_MS);
    ck_assert_int_eq(outcome(later), ACKED);
    world_end(w);
}

END_TEST

START_TEST(while_answers_come_nobody_is_taken_over_however_long_the_line)
{
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        publish(i, 1);
    while (wire_step(w))
        ;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        world_pass(w, SILENCE_MS - 1);
        wire_hear(w);
        ck_assert_int_eq(outcome(i), ACKED);
    }
    ck_assert_uint_eq(gauges().hedged, 0);
}

END_TEST

/* ---- patience -------------------------------------------------------------------------------- */

START_TEST(a_broker_that_is_far_away_is_not_silent)
{
    speak_with_a_broker_so_far_away(600, 10);
    const uint64_t hedged = gauges().hedged;
    ck_assert_uint_lt(hedged, 10);
    speak_with_a_broker_so_far_away(600, 100);
    ck_assert_uint_eq(gauges().hedged, hedged);
    publish(A, 1);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + 2 * (600 + LOOK_AGAIN_MS));
}

END_TEST

START_TEST(one_long_silence_makes_nobody_patient)
{
    publish(A, 1);
    fall_silent(10000);
    world_settle(w);
    publish(A, 1);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + 2 * SILENCE_MS);
}

END_TEST

START_TEST(patience_has_an_end_and_is_lost_in_time)
{
    speak_with_a_broker_so_far_away(20000, 20);
    publish(A, 1);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + PATIENCE_MAX_MS);
    world_settle(w);
    world_pass(w, INT64_C(24) * 3600 * 1000);
    publish(A, 1);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + SILENCE_MS);
}

END_TEST

/* ---- when it can't be ------------------------------------------------------------------------ */

START_TEST(without_a_store_the_broker_is_waited_for)
{
    world_usable(w, false);
    const uint32_t a = publish(A, 1);
    fall_silent(10 * SILENCE_MS);
    ck_assert_int_eq(outcome(a), OPEN);
    world_usable(w, true);
    fall_silent(SILENCE_MS);
    ck_assert_int_eq(outcome(a), OPEN); /* it was not copied */
    world_settle(w);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_uint_eq(gauges().hedged, 0);
    world_end(w);
}

END_TEST

START_TEST(without_room_the_broker_is_waited_for)
{
    struct spool_config config = spool_defaults();
    config.max_messages = 1;
    begin(config, (struct faults){.crash = false});
    const uint32_t a = publish(A, 1);
    const uint32_t b = publish(B, 1);
    fall_silent(SILENCE_MS);
    ck_assert_uint_eq(gauges().hedged, 1);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_int_eq(outcome(b), OPEN);
    world_settle(w);
    ck_assert_int_eq(outcome(b), ACKED);
    world_end(w);
    ck_assert_uint_eq(deliveries(b), 1);
}

END_TEST

START_TEST(it_can_be_left_out)
{
    struct spool_config config = spool_defaults();
    config.silence_ms = 0;
    begin(config, (struct faults){.crash = false});
    const uint32_t a = publish(A, 1);
    fall_silent(1000000);
    ck_assert_int_eq(outcome(a), OPEN);
    world_settle(w);
    ck_assert_int_eq(outcome(a), ACKED);
}

END_TEST

int main(void)
{
    world_traces = getenv("SENNET_TRACE") != NULL;
    Suite *suite = suite_create("spool_silence");
    TCase *taking = tcase_create("taking_over");
    tcase_add_checked_fixture(taking, setup, teardown);
    tcase_add_test(taking, nobody_waits_for_a_broker_that_has_fallen_silent);
    tcase_add_test(taking, a_gateway_that_stood_still_hears_first_what_the_broker_has_said);
    tcase_add_test(taking, the_deadline_is_when_the_broker_will_have_been_silent_for_too_long);
    tcase_add_test(taking, an_answer_that_comes_late_ends_it_and_nothing_is_sent_twice);
    tcase_add_test(taking, an_answer_before_the_commit_lets_the_node_hear_once);
    tcase_add_test(taking, what_was_taken_over_goes_again_first_when_the_connection_breaks);
    tcase_add_test(taking, a_refusal_that_comes_too_late_is_counted);
    tcase_add_test(taking, what_was_taken_over_outlives_the_process);
    tcase_add_test(taking,
                   what_was_taken_over_goes_on_with_the_next_connection_when_one_is_abandoned);
    suite_add_tcase(suite, taking);
    TCase *lasting = tcase_create("while_it_lasts");
    tcase_add_checked_fixture(lasting, setup, teardown);
    tcase_add_test(lasting, new_messages_are_spooled_while_it_lasts_and_pass_again_behind_it);
    tcase_add_test(lasting, what_the_connection_has_got_rid_of_is_no_word_of_the_broker);
    tcase_add_test(lasting, no_answer_is_held_for_long_while_it_lasts);
    tcase_add_test(lasting, while_answers_come_nobody_is_taken_over_however_long_the_line);
    suite_add_tcase(suite, lasting);
    TCase *patience = tcase_create("patience");
    tcase_add_checked_fixture(patience, setup, teardown);
    tcase_add_test(patience, a_broker_that_is_far_away_is_not_silent);
    tcase_add_test(patience, one_long_silence_makes_nobody_patient);
    tcase_add_test(patience, patience_has_an_end_and_is_lost_in_time);
    suite_add_tcase(suite, patience);
    TCase *cannot = tcase_create("when_it_cannot_be");
    tcase_add_checked_fixture(cannot, setup, teardown);
    tcase_add_test(cannot, without_a_store_the_broker_is_waited_for);
    tcase_add_test(cannot, without_room_the_broker_is_waited_for);
    tcase_add_test(cannot, it_can_be_left_out);
    suite_add_tcase(suite, cannot);
    return run_suite(suite);
}
