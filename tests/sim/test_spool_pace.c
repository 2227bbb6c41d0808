/* SPDX-License-Identifier: Apache-2.0 */
/* While the connection is there, nodes keep the broker's pace (spool.h). */
#include "base/clock.h"

#include "sim/spool_suite.h"

enum { NODES = CLIENTS_MAX, WINDOW = 2, BACKLOG = 2 * WINDOW, HOLD_MS = 5000 };

static struct spool_config narrow(void)
{
    struct spool_config config = spool_defaults();
    config.window = WINDOW;
    config.hold_ms = HOLD_MS;
    config.silence_ms = 0; /* which ends all holding: test_spool_silence.c */
    return config;
}

static void setup(void)
{
    open_sound_world(narrow(), NODES);
}

static unsigned answered(void)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < w->attempts.n; i++)
        n += outcome(i) == ACKED;
    return n;
}

/* Each node without an open message sends one. */
static void everybody_publishes(uint8_t qos)
{
    for (unsigned i = 0; i < w->n_nodes; i++) {
        if (w->nodes[i].n_open == 0)
            publish(i, qos);
    }
    world_commit(w);
}

/* The broker acknowledges `n` more of the spool's. */
static void broker_takes(unsigned n)
{
    const uint64_t goal = gauges().sent + n;
    while (gauges().sent < goal)
        REQUIRE(wire_hear(w) || wire_step(w), "nothing is under way");
}

START_TEST(nodes_send_as_fast_as_the_broker_takes)
{
    world_come(w);
    everybody_publishes(2);
    ck_assert_uint_eq(answered(), BACKLOG);
    ck_assert_uint_eq(gauges().held, NODES - BACKLOG);
    for (unsigned taken = 1; taken < 200; taken++) {
        broker_takes(1);
        ck_assert_uint_eq(answered(), BACKLOG + taken);
        everybody_publishes(2);
        ck_assert_uint_le(gauges().messages, BACKLOG + NODES);
        ck_assert_uint_eq(answered(), BACKLOG + taken);
    }
    world_settle(w);
    ck_assert_uint_eq(gauges().held, 0);
    ck_assert_uint_eq(answered(), w->attempts.n);
}

END_TEST

START_TEST(while_the_broker_keeps_up_nothing_is_held)
{
    world_come(w);
    for (unsigned i = 0; i < 100; i++) {
        const uint32_t a = publish(i % NODES, 2);
        world_commit(w);
        ck_assert_int_eq(outcome(a), ACKED);
        broker_takes(1);
    }
}

END_TEST

START_TEST(when_the_connection_goes_all_are_answered_at_once)
{
    world_come(w);
    everybody_publishes(2);
    ck_assert_uint_gt(gauges().held, 0);
    wire_break(w);
    wire_notice(w);
    wire_hear(w); /* UP_DISCONNECTED */
    ck_assert_uint_eq(answered(), NODES);
    ck_assert_uint_eq(gauges().held, 0);
    everybody_publishes(2);
    ck_assert_uint_eq(answered(), 2 * NODES);
    world_end(w);
}

END_TEST

START_TEST(no_answer_is_held_for_longer_than_a_node_waits)
{
    world_come(w);
    everybody_publishes(2);
    world_pass(w, 1000);
    const uint32_t later = publish(A, 2);
    world_commit(w);
    ck_assert_int_eq(outcome(later), OPEN);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + HOLD_MS - 1000);
    world_pass(w, HOLD_MS - 1001);
    ck_assert_uint_eq(answered(), BACKLOG);
    world_pass(w, 1);
    ck_assert_uint_eq(answered(), NODES);
    ck_assert_int_eq(outcome(later), OPEN);
    world_pass(w, 1000);
    ck_assert_int_eq(outcome(later), ACKED);
    ck_assert_int_eq(spool_next_deadline(w->s), TIME_NEVER);
    world_end(w);
}

END_TEST

START_TEST(what_a_slow_disk_has_held_already_is_not_held_again)
{
    world_come(w);
    for (unsigned i = 0; i < NODES; i++)
        publish(i, 2);
    world_turn(w);
    world_pass(w, HOLD_MS);
    world_commit(w);
    ck_assert_uint_eq(answered(), NODES);
}

END_TEST

START_TEST(who_sends_much_at_once_keeps_nobody_waiting)
{
    world_come(w);
    for (unsigned i = 0; i < BACKLOG; i++)
        publish(C, 2);
    uint32_t many[OPEN_MAX];
    for (unsigned i = 0; i < OPEN_MAX; i++)
        many[i] = publish(A, 2);
    const uint32_t one = publish(B, 2);
    world_commit(w);
    ck_assert_uint_eq(answered(), BACKLOG);
    broker_takes(1);
    ck_assert_int_eq(outcome(many[0]), ACKED);
    broker_takes(1);
    ck_assert_int_eq(outcome(one), ACKED);
    ck_assert_int_eq(outcome(many[1]), OPEN);
    for (unsigned i = 1; i < OPEN_MAX; i++) { /* its own are answered in order */
        broker_takes(1);
        ck_assert_int_eq(outcome(many[i]), ACKED);
    }
}

END_TEST

/* Of two messages that leave one makes room, for QoS 1 behind the backlog, too. */
START_TEST(a_backlog_becomes_less_however_much_nodes_send)
{
    enum { OUTAGE = 200 };

    for (uint8_t qos = 1; qos <= 2; qos++) {
        open_sound_world(narrow(), NODES);
        for (unsigned i = 0; i < OUTAGE / NODES; i++)
            everybody_publishes(qos);
        ck_assert_uint_eq(answered(), OUTAGE);
        world_come(w);
        for (unsigned taken = 1; taken <= OUTAGE; taken++) {
            everybody_publishes(qos);
            broker_takes(1);
            ck_assert_uint_eq(answered(), OUTAGE + taken / 2);
            ck_assert_uint_le(gauges().messages, OUTAGE - taken / 2 + NODES);
        }
        world_end(w);
    }
}

END_TEST

START_TEST(after_an_outage_nodes_that_send_less_than_that_never_wait)
{
    for (unsigned i = 0; i < 50; i++)
        everybody_publishes(1);
    world_come(w);
    broker_takes(4);
    for (unsigned i = 0; i < 100; i++) {
        const uint32_t a = publish(i % NODES, 1 + i % 2);
        world_commit(w);
        ck_assert_int_eq(outcome(a), ACKED);
        broker_takes(3);
    }
}

END_TEST

START_TEST(only_answers_to_nodes_are_held)
{
    world_come(w);
    everybody_publishes(2);
    struct up_event out;
    spool_submit(w->s, w->now_ms,
                 &(struct up_request){.type = UP_PUBLISH,
                                      .token = SN_NO_CLIENT << UP_TOKEN_BITS | 1,
                                      .topic = bytes_str("t/1"),
                                      .qos = 2,
                                      .client = 1,
                                      .will = true});
    struct sn_record record;
    ck_assert(spool_peek_record(w->s, &record));
    spool_done_record(w->s);
    spool_committed(w->s, w->now_ms, w->rows.batch);
    ck_assert(spool_peek_event(w->s, &out));
    ck_assert_uint_eq(out.token, SN_NO_CLIENT << UP_TOKEN_BITS | 1);
    ck_assert_int_eq(out.result, UP_OK);
}

END_TEST

START_TEST(hold_ms_0_holds_nothing)
{
    struct spool_config config = narrow();
    config.hold_ms = 0;
    open_sound_world(config, NODES);
    world_come(w);
    everybody_publishes(2);
    ck_assert_uint_eq(answered(), NODES);
}

END_TEST

/* B has nothing in the spool when the connection comes back. */
START_TEST(who_has_no_backlog_is_not_behind_those_who_have)
{
    struct spool_config config = spool_defaults();
    config.max_memory_bytes = 60000;
    open_sound_world(config, NODES);
    for (unsigned i = 0; i < 2000; i++) {
        publish(A, 1);
        world_commit(w);
    }
    world_come(w);
    for (unsigned i = 0; i < 50; i++) {
        const uint32_t live = publish(B, 2);
        const uint32_t behind = publish(A, 2);
        world_commit(w);
        const uint64_t delivered = w->delivered;
        while (attempt_at(w, live)->deliveries == 0) {
            ck_assert(wire_step(w) || wire_hear(w));
            world_ask(w);
            rows_step(w);
            rows_answer(w);
            world_carry(w);
        }
        ck_assert_uint_le(w->delivered - delivered, 300);
        ck_assert_uint_eq(attempt_at(w, behind)->deliveries, 0);
        ck_assert_uint_le(gauges().memory_bytes, 75000);
        if (outcome(live) == OPEN || outcome(behind) == OPEN)
            world_pass(w, HOLD_MS);
    }
    world_end(w);
    ck_assert_uint_eq(w->delivered, 2100);
}

END_TEST

START_TEST(the_oldest_are_dropped_before_what_has_overtaken_them)
{
    struct spool_config config = spool_defaults();
    config.max_memory_bytes = 2000;
    config.max_messages = 100;
    config.window = WINDOW;
    config.full = SPOOL_DROP_OLDEST;
    open_sound_world(config, NODES);
    for (unsigned i = 0; i < 98; i++) {
        publish(A, 1);
        world_commit(w);
    }
    world_come(w);
    wire_break(w); /* not heard of yet: what is given to the connection comes back */
    const uint32_t live = publish(B, 2);
    for (unsigned i = 0; i < 50; i++) {
        publish(C, 2);
        world_commit(w);
    }
    ck_assert_uint_gt(gauges().dropped, 0);
    ck_assert(!attempt_at(w, live)->dropped);
    world_end(w);
    ck_assert_uint_eq(attempt_at(w, live)->deliveries, 1);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("spool_pace");
    TCase *pace = tcase_create("pace");
    tcase_add_checked_fixture(pace, setup, teardown);
    tcase_add_test(pace, nodes_send_as_fast_as_the_broker_takes);
    tcase_add_test(pace, while_the_broker_keeps_up_nothing_is_held);
    tcase_add_test(pace, when_the_connection_goes_all_are_answered_at_once);
    tcase_add_test(pace, no_answer_is_held_for_longer_than_a_node_waits);
    tcase_add_test(pace, what_a_slow_disk_has_held_already_is_not_held_again);
    tcase_add_test(pace, who_sends_much_at_once_keeps_nobody_waiting);
    tcase_add_test(pace, a_backlog_becomes_less_however_much_nodes_send);
    tcase_add_test(pace, after_an_outage_nodes_that_send_less_than_that_never_wait);
    tcase_add_test(pace, only_answers_to_nodes_are_held);
    tcase_add_test(pace, hold_ms_0_holds_nothing);
    tcase_add_test(pace, who_has_no_backlog_is_not_behind_those_who_have);
    tcase_add_test(pace, the_oldest_are_dropped_before_what_has_overtaken_them);
    suite_add_tcase(suite, pace);
    return run_suite(suite);
}
