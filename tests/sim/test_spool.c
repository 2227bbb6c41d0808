/* SPDX-License-Identifier: Apache-2.0 */
/* The spool's rules, one by one. */
#include <string.h>

#include "sim/spool_suite.h"

enum { NODES = 3 };

static void setup(void)
{
    open_sound_world(spool_defaults(), NODES);
}

static unsigned with_connection(void)
{
    return (unsigned)(w->wire.plain.n + w->wire.twice.n);
}

/* ---- the way of a message -------------------------------------------------------------------- */

START_TEST(qos_1_passes_while_the_connection_is_there_and_nothing_is_written)
{
    world_come(w);
    const uint32_t a = publish(A, 1);
    ck_assert_uint_eq(with_connection(), 1);
    ck_assert_int_eq(outcome(a), OPEN);
    world_settle(w);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_uint_eq(w->rows.last, 0);
    ck_assert_uint_eq(gauges().spooled, 0);
}

END_TEST

START_TEST(qos_1_is_acknowledged_when_it_is_committed_while_the_connection_is_away)
{
    const uint32_t a = publish(A, 1);
    ck_assert_int_eq(outcome(a), OPEN);
    world_turn(w);
    rows_answer(w);
    world_carry(w);
    ck_assert_int_eq(outcome(a), OPEN);
    world_commit(w);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_uint_eq(gauges().messages, 1);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(deliveries(a), 1);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(gauges().sent, 1);
    ck_assert(!row_at(w, 1)->there);
}

END_TEST

START_TEST(qos_2_is_stored_always_and_sent_only_when_that_is_committed)
{
    world_come(w);
    const uint32_t a = publish(A, 2);
    ck_assert_int_eq(outcome(a), OPEN);
    ck_assert_uint_eq(with_connection(), 0);
    world_commit(w);
    ck_assert_int_eq(outcome(a), ACKED);
    ck_assert_uint_eq(w->wire.twice.n, 1);
    world_settle(w);
    ck_assert_uint_eq(deliveries(a), 1);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(w->fetches, 0);
}

END_TEST

START_TEST(a_short_outage_does_not_read_from_the_store)
{
    uint32_t first = 0;
    for (unsigned i = 0; i < 1000; i++) {
        const uint32_t a = publish(i % 3, 1);
        first = i == 0 ? a : first;
        world_commit(w);
    }
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 1000);
    ck_assert_uint_eq(w->fetches, 0);
}

END_TEST

START_TEST(what_is_no_publish_passes_unchanged)
{
    struct up_request out;
    spool_submit(w->s, w->now_ms,
                 &(struct up_request){
                     .type = UP_SUBSCRIBE, .token = 5, .topic = bytes_str("a/#"), .qos = 2});
    ck_assert(spool_peek_request(w->s, &out));
    ck_assert_int_eq(out.type, UP_SUBSCRIBE);
    ck_assert_uint_eq(out.token, 5);
    ck_assert(bytes_equal(out.topic, bytes_str("a/#")));
    spool_done_request(w->s);
    ck_assert(!spool_peek_request(w->s, &out));

    const struct up_event event = {.type = UP_MESSAGE, .topic = bytes_str("t"), .journal = 9};
    struct up_event passed;
    spool_upstream(w->s, w->now_ms, &event);
    ck_assert(spool_peek_event(w->s, &passed));
    ck_assert_ptr_eq(passed.topic.data, event.topic.data);
    ck_assert_uint_eq(passed.journal, 9);
    spool_done_event(w->s);
    ck_assert(!spool_peek_event(w->s, &passed));
}

END_TEST

/* ---- order ----------------------------------------------------------------------------------- */

START_TEST(what_comes_back_goes_before_what_was_sent_since)
{
    world_come(w);
    const uint32_t first = publish(A, 1);
    const uint32_t second = publish(A, 1);
    wire_break(w);
    wire_notice(w);
    ck_assert(wire_hear(w)); /* UP_DISCONNECTED, and the answers are still to come */
    const uint32_t third = publish(A, 1);
    world_commit(w);
    ck_assert_int_eq(outcome(third), ACKED);
    ck_assert_int_eq(outcome(first), OPEN);
    while (wire_hear(w))
        ;
    world_commit(w);
    ck_assert_int_eq(outcome(second), ACKED);
    ck_assert_uint_eq(gauges().messages, 3);
    world_come(w);
    world_settle(w); /* the judge looks at the order */
    ck_assert_uint_eq(w->delivered, 3);
}

END_TEST

/* In the moment after it broke the connection refuses, before it tells so. */
START_TEST(what_is_refused_before_the_loss_is_heard_waits_for_what_was_lost)
{
    world_come(w);
    publish(A, 1);
    wire_break(w);
    const uint32_t second = publish(A, 1);
    ck_assert(wire_hear(w)); /* the refusal */
    world_commit(w);
    ck_assert_int_eq(outcome(second), ACKED);
    wire_notice(w);
    wire_connect(w, false);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 2);
}

END_TEST

START_TEST(a_client_with_a_backlog_queues_behind_it_and_others_pass)
{
    for (unsigned i = 0; i < 3; i++)
        publish(A, 1);
    world_commit(w);
    world_come(w);
    const uint32_t behind = publish(A, 1);
    const uint32_t passes = publish(B, 1);
    ck_assert_uint_eq(gauges().messages, 4);
    world_settle(w);
    ck_assert_uint_eq(deliveries(behind), 1);
    ck_assert_uint_eq(deliveries(passes), 1);
    ck_assert_uint_eq(gauges().spooled, 4);

    /* Live again when all of it has been acknowledged. */
    publish(A, 1);
    ck_assert_uint_eq(gauges().spooled, 4);
    world_settle(w);
}

END_TEST

START_TEST(a_client_stays_behind_what_the_broker_has_not_acknowledged)
{
    publish(A, 1);
    world_commit(w);
    world_come(w);
    ck_assert_uint_eq(with_connection(), 1);
    publish(A, 1);
    ck_assert_uint_eq(gauges().messages, 2);
    ck_assert_uint_eq(with_connection(), 1);
    world_settle(w);
}

END_TEST

START_TEST(qos_2_and_the_rest_of_a_client_never_travel_together)
{
    world_come(w);
    publish(A, 1); /* live */
    publish(A, 2);
    publish(A, 2);
    publish(A, 1);
    world_commit(w);
    ck_assert_uint_eq(w->wire.plain.n, 1);
    ck_assert_uint_eq(w->wire.twice.n, 0);
    while (wire_step(w))
        ;
    while (wire_hear(w))
        ;
    ck_assert_uint_eq(w->wire.plain.n, 0);
    ck_assert_uint_eq(w->wire.twice.n, 2);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 4);
}

END_TEST

START_TEST(qos_0_keeps_its_place_behind_what_its_client_has_in_the_spool)
{
    world_come(w);
    const uint32_t twice = publish(A, 2);
    const uint32_t after = publish(A, 0);
    const uint32_t other = publish(B, 0);
    ck_assert_uint_eq(with_connection(), 1); /* B's */
    world_commit(w);
    while (deliveries(twice) == 0) {
        ck_assert_uint_eq(deliveries(after), 0);
        ck_assert(wire_step(w) || wire_hear(w));
    }
    world_settle(w);
    ck_assert_uint_eq(deliveries(after), 1);
    ck_assert_uint_eq(deliveries(other), 1);
    publish(A, 0);
    ck_assert_uint_eq(gauges().messages, 0); /* nothing is before it any more */
    world_settle(w);
}

END_TEST

START_TEST(clients_take_turns_within_the_window)
{
    struct spool_config config = spool_defaults();
    config.window = 6;
    open_sound_world(config, NODES);
    for (unsigned i = 0; i < 10; i++)
        publish(A, 1);
    publish(B, 1);
    publish(C, 1);
    world_commit(w);
    world_come(w);
    ck_assert_uint_eq(with_connection(), 6);
    ck_assert_uint_eq(gauges().in_flight, 6);
    bool others[3] = {false};
    for (size_t i = 0; i < w->wire.plain.n; i++) {
        const struct packet *p = vector_at(&w->wire.plain, i);
        others[attempt_at(w, p->attempt)->client] = true;
    }
    ck_assert(others[A] && others[B] && others[C]);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 12);
}

END_TEST

/* So that they travel in few bursts. */
START_TEST(the_window_is_filled_again_when_half_of_it_is_free)
{
    struct spool_config config = spool_defaults();
    config.window = 6;
    open_sound_world(config, NODES);
    for (unsigned i = 0; i < 20; i++) {
        publish(i % 3, 1);
        world_commit(w);
    }
    world_come(w);
    for (unsigned left = 5; left > 3; left--) {
        while (gauges().sent < 6 - left)
            ck_assert(wire_hear(w) || wire_step(w));
        ck_assert_uint_eq(gauges().in_flight, left);
    }
    while (gauges().sent < 3)
        ck_assert(wire_hear(w) || wire_step(w));
    ck_assert_uint_eq(gauges().in_flight, 6);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 20);
}

END_TEST

START_TEST(after_a_lost_connection_qos_1_is_repeated_in_order_and_qos_2_is_not)
{
    for (unsigned i = 0; i < 3; i++) {
        publish(A, 1);
        publish(B, 2);
    }
    world_commit(w);
    world_come(w);
    wire_reach(w, PASSED);
    ck_assert_uint_eq(w->delivered, 6);
    world_go(w);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 9);
    ck_assert_uint_eq(gauges().messages, 0);
}

END_TEST

/* ---- wills, QoS 0 ---------------------------------------------------------------------------- */

START_TEST(a_will_of_any_qos_is_taken_while_the_connection_is_away)
{
    for (uint8_t qos = 0; qos < 3; qos++) {
        world_publish(w, A, qos, true);
        world_carry(w);
    }
    world_commit(w);
    ck_assert_uint_eq(gauges().messages, 3);
    ck_assert(row_at(w, 1)->will);
    ck_assert_uint_eq(row_at(w, 1)->client, A + 1);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 3);
    ck_assert_uint_eq(gauges().messages, 0);
}

END_TEST

START_TEST(a_will_does_not_overtake_what_its_client_had_published)
{
    publish(A, 1);
    world_commit(w);
    world_come(w);
    world_publish(w, A, 0, true);
    world_carry(w);
    ck_assert_uint_eq(with_connection(), 1);
    ck_assert_uint_eq(gauges().messages, 2);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 2);
}

END_TEST

/* Nobody repeats it: its node is gone, and its session says no more that there was one. */
START_TEST(a_will_is_stored_before_it_is_sent)
{
    world_come(w);
    for (uint8_t qos = 0; qos < 3; qos++) {
        world_publish(w, A, qos, true);
        world_carry(w);
        ck_assert_uint_eq(gauges().messages, 1);
        ck_assert_uint_eq(with_connection(), 0);
        world_commit(w);
        world_carry(w);
        ck_assert_uint_eq(with_connection(), 1);
        world_settle(w);
        ck_assert_uint_eq(w->delivered, qos + 1U);
        ck_assert_uint_eq(gauges().messages, 0);
    }
}

END_TEST

START_TEST(a_will_passes_when_there_is_no_room_for_it)
{
    world_come(w);
    world_usable(w, false);
    world_publish(w, A, 1, true);
    world_carry(w);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(with_connection(), 1);
}

END_TEST

/* An answer of the connection; what the session hears of it. */
static bool hear(const struct up_event *event, struct up_event *out)
{
    spool_upstream(w->s, w->now_ms, event);
    const bool said = spool_peek_event(w->s, out);
    if (said)
        spool_done_event(w->s);
    return said;
}

START_TEST(a_will_of_qos_0_that_comes_back_is_taken_and_answered)
{
    struct up_event out;
    world_come(w);
    const struct up_event busy = {.type = UP_PUBLISHED,
                                  .token = SN_NO_CLIENT << UP_TOKEN_BITS | 3,
                                  .result = UP_BUSY,
                                  .topic = bytes_str("gone"),
                                  .body = body_new(bytes_str("0123456789abcdef")),
                                  .client = 1,
                                  .will = true};
    ck_assert(!hear(&busy, &out));
    body_unref(busy.body);
    ck_assert_uint_eq(gauges().messages, 1);
    world_turn(w);
    while (rows_step(w))
        ;
    rows_answer(w);
    ck_assert(spool_peek_event(w->s, &out));
    ck_assert_int_eq(out.result, UP_OK);
    ck_assert_uint_eq(out.token, busy.token);
}

END_TEST

/* Keys of sessions are others than what messages are ordered by (order.h). */
START_TEST(qos_0_that_comes_back_is_its_clients_not_its_sessions)
{
    struct up_event out;
    struct sn_record record;
    struct spool_config config = spool_defaults();
    config.qos_0 = true;
    open_sound_world(config, NODES);
    world_come(w);
    const struct up_event busy = {.type = UP_PUBLISHED,
                                  .token = 77 << UP_TOKEN_BITS,
                                  .result = UP_BUSY,
                                  .topic = bytes_str("t/1"),
                                  .body = body_new(bytes_str("0123456789abcdef")),
                                  .client = A + 1};
    ck_assert(!hear(&busy, &out));
    body_unref(busy.body);
    ck_assert(spool_peek_record(w->s, &record));
    ck_assert_uint_eq(record.client, A + 1);
    ck_assert(!record.spool.will);
    world_commit(w);
    publish(A, 1); /* behind it */
    ck_assert_uint_eq(gauges().messages, 2);
}

END_TEST

START_TEST(what_comes_back_without_its_message_is_the_nodes_to_send_again)
{
    struct up_event out;
    world_come(w);
    const uint32_t a = publish(A, 1);
    const struct packet *p = vector_at(&w->wire.plain, 0);
    const struct up_event busy = {
        .type = UP_PUBLISHED, .token = p->token, .result = UP_BUSY, .qos = 1};
    ck_assert(hear(&busy, &out));
    ck_assert_int_eq(out.result, UP_BUSY);
    ck_assert_uint_eq(gauges().messages, 0);
    world_event(w, &out);
    ck_assert_int_eq(outcome(a), REFUSED);
}

END_TEST

START_TEST(a_second_answer_changes_nothing)
{
    publish(A, 1);
    world_commit(w);
    world_come(w);
    struct up_event event = {.type = UP_PUBLISHED, .spooled = 1, .result = UP_BUSY, .qos = 1};
    struct up_event out;
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(!hear(&event, &out));
        ck_assert_uint_eq(gauges().messages, 1);
        ck_assert_uint_eq(gauges().in_flight, 0);
        event.result = UP_OK;
    }
    world_pass(w, 1000);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(!hear(&event, &out));
        ck_assert_uint_eq(gauges().messages, 0);
        event.result = UP_BUSY;
    }
    ck_assert_uint_eq(gauges().in_flight, 0);
}

END_TEST

static struct up_event answer_of_qos_0(bool expected)
{
    struct up_event event = {.type = UP_MESSAGE};
    const struct up_request r = {.type = UP_PUBLISH,
                                 .token = 1 << UP_TOKEN_BITS | 7,
                                 .topic = bytes_str("t/1"),
                                 .client = 1};
    spool_submit(w->s, w->now_ms, &r);
    ck_assert(spool_peek_event(w->s, &event) == expected);
    return event;
}

START_TEST(qos_0_is_refused_while_the_connection_is_away_or_spooled_on_request)
{
    const struct up_event refusal = answer_of_qos_0(true);
    ck_assert_int_eq(refusal.type, UP_PUBLISHED);
    ck_assert_int_eq(refusal.result, UP_BUSY);
    ck_assert_uint_eq(refusal.qos, 0);
    ck_assert_uint_eq(refusal.token, 1 << UP_TOKEN_BITS | 7);
    ck_assert_uint_eq(gauges().away, 1);

    struct spool_config config = spool_defaults();
    config.qos_0 = true;
    open_sound_world(config, NODES);
    answer_of_qos_0(false);
    ck_assert_uint_eq(gauges().messages, 1);
    open_sound_world(config, NODES);
    const uint32_t kept = publish(A, 0);
    world_turn(w);
    while (rows_step(w))
        ;
    rows_answer(w);
    struct up_event none;
    ck_assert(!spool_peek_event(w->s, &none)); /* QoS 0 is answered when it fails only */
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(deliveries(kept), 1);
    ck_assert_uint_eq(gauges().messages, 0);
    publish(A, 0);
    ck_assert_uint_eq(gauges().spooled, 1);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("spool");
    TCase *way = tcase_create("way");
    tcase_add_checked_fixture(way, setup, teardown);
    tcase_add_test(way, qos_1_passes_while_the_connection_is_there_and_nothing_is_written);
    tcase_add_test(way, qos_1_is_acknowledged_when_it_is_committed_while_the_connection_is_away);
    tcase_add_test(way, qos_2_is_stored_always_and_sent_only_when_that_is_committed);
    tcase_add_test(way, a_short_outage_does_not_read_from_the_store);
    tcase_add_test(way, what_is_no_publish_passes_unchanged);
    suite_add_tcase(suite, way);
    TCase *order = tcase_create("order");
    tcase_add_checked_fixture(order, setup, teardown);
    tcase_add_test(order, what_comes_back_goes_before_what_was_sent_since);
    tcase_add_test(order, what_is_refused_before_the_loss_is_heard_waits_for_what_was_lost);
    tcase_add_test(order, a_client_with_a_backlog_queues_behind_it_and_others_pass);
    tcase_add_test(order, a_client_stays_behind_what_the_broker_has_not_acknowledged);
    tcase_add_test(order, qos_2_and_the_rest_of_a_client_never_travel_together);
    tcase_add_test(order, clients_take_turns_within_the_window);
    tcase_add_test(order, the_window_is_filled_again_when_half_of_it_is_free);
    tcase_add_test(order, qos_0_keeps_its_place_behind_what_its_client_has_in_the_spool);
    tcase_add_test(order, after_a_lost_connection_qos_1_is_repeated_in_order_and_qos_2_is_not);
    tcase_add_test(order, a_will_of_any_qos_is_taken_while_the_connection_is_away);
    tcase_add_test(order, a_will_does_not_overtake_what_its_client_had_published);
    tcase_add_test(order, a_will_is_stored_before_it_is_sent);
    tcase_add_test(order, a_will_passes_when_there_is_no_room_for_it);
    tcase_add_test(order, a_will_of_qos_0_that_comes_back_is_taken_and_answered);
    tcase_add_test(order, qos_0_that_comes_back_is_its_clients_not_its_sessions);
    tcase_add_test(order, what_comes_back_without_its_message_is_the_nodes_to_send_again);
    tcase_add_test(order, a_second_answer_changes_nothing);
    tcase_add_test(order, qos_0_is_refused_while_the_connection_is_away_or_spooled_on_request);
    suite_add_tcase(suite, order);
    return run_suite(suite);
}
