/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of what leaves for the broker (pace.h, and spool.h, "Limits"). */
#include "base/clock.h"

#include "sim/spool_suite.h"

enum { NODES = 3, SECOND = 1000, MINUTE = 60 * SECOND };

/* Octets that a message of this world is charged with: topic and payload. */
enum { BYTES = 3 + 16 };

static void limit(struct pace_config pace)
{
    struct spool_config config = spool_defaults();
    config.pace = pace;
    open_sound_world(config, NODES);
}

/* Taken over, which its node hears at once. */
static uint32_t take_over(unsigned node, uint8_t qos)
{
    const uint32_t i = world_publish(w, node, qos, false);
    world_commit(w);
    if (qos > 0)
        ck_assert_int_eq(attempt_at(w, i)->outcome, ACKED);
    return i;
}

static void publish_many(unsigned node, uint8_t qos, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        take_over(node, qos);
}

/* Time passes, and the broker acknowledges everything at once. */
static void pass(int64_t ms)
{
    world_settle(w);
    for (const int64_t until_ms = w->now_ms + ms; w->now_ms < until_ms;) {
        const int64_t next_ms = time_min(spool_next_deadline(w->s), until_ms);
        world_pass(w, next_ms - w->now_ms);
        world_settle(w);
    }
}

/* ---- rates ----------------------------------------------------------------------------------- */

START_TEST(nodes_are_answered_at_once_whatever_the_rate)
{
    limit((struct pace_config){.messages = 1});
    world_come(w);
    publish_many(A, 1, 500);
    publish_many(B, 2, 500);
    ck_assert_uint_eq(gauges().held, 0);
    ck_assert_uint_ge(gauges().messages, 999);
    ck_assert_uint_le(w->delivered, 1);
    world_end(w);
    ck_assert_uint_eq(w->delivered, 1000);
}

END_TEST

START_TEST(no_more_leave_than_the_rate_allows)
{
    limit((struct pace_config){.messages = 50});
    world_come(w);
    publish_many(A, 1, 500);
    pass(0);
    ck_assert_uint_eq(w->delivered, 50);
    for (unsigned s = 1; s < 9; s++) {
        pass(SECOND);
        ck_assert_uint_eq(w->delivered, 50 + s * 50);
    }
    pass(SECOND);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_int_eq(spool_next_deadline(w->s), TIME_NEVER);
    world_end(w);
}

END_TEST

START_TEST(octets_count_as_well)
{
    limit((struct pace_config){.bytes = (uint64_t)10 * (BYTES + PACE_OVERHEAD)});
    world_come(w);
    publish_many(A, 2, 40);
    pass(0);
    ck_assert_uint_eq(w->delivered, 10);
    pass(SECOND);
    ck_assert_uint_eq(w->delivered, 20);
    world_end(w);
}

END_TEST

START_TEST(clients_take_turns_at_a_slow_pace)
{
    limit((struct pace_config){.messages = 2});
    world_come(w);
    publish_many(A, 1, 1000);
    pass(0);
    const uint32_t b = take_over(B, 1);
    const uint32_t c = take_over(C, 2);
    pass(2 * SECOND);
    ck_assert_uint_eq(deliveries(b), 1);
    ck_assert_uint_eq(deliveries(c), 1);
    const uint64_t before = w->delivered;
    publish_many(B, 1, 50);
    pass(20 * SECOND);
    ck_assert_uint_eq(w->delivered, before + 40);
    unsigned of_b = 0;
    for (uint32_t i = c + 1; i < w->attempts.n; i++)
        of_b += deliveries(i);
    ck_assert_uint_ge(of_b, 19);
    ck_assert_uint_le(of_b, 21);
    world_end(w);
}

END_TEST

START_TEST(what_is_sent_again_after_a_lost_connection_is_paid_for_again)
{
    limit((struct pace_config){.messages = 10});
    world_come(w);
    publish_many(A, 1, 10);
    wire_reach(w, SENT);
    world_go(w);
    world_come(w);
    world_carry(w);
    ck_assert_uint_eq(gauges().in_flight, 0);
    world_pass(w, SECOND);
    ck_assert_uint_eq(gauges().in_flight, 10);
    world_end(w);
}

END_TEST

START_TEST(a_will_keeps_the_pace)
{
    limit((struct pace_config){.messages = 1});
    world_come(w);
    take_over(A, 1);
    pass(0);
    const uint32_t will = world_publish(w, B, 0, true);
    pass(SECOND - 1);
    ck_assert_uint_eq(deliveries(will), 0);
    pass(1);
    ck_assert_uint_eq(deliveries(will), 1);
    world_end(w);
}

END_TEST

/* ---- QoS 0, and without a store -------------------------------------------------------------- */

START_TEST(qos_0_has_what_the_others_leave)
{
    limit((struct pace_config){.messages = 2});
    world_come(w);
    const uint32_t first = take_over(A, 0);
    const uint32_t second = take_over(A, 0);
    const uint32_t third = take_over(A, 0);
    pass(0);
    ck_assert_uint_eq(deliveries(first) + deliveries(second), 2);
    ck_assert_uint_eq(gauges().paced_drops, 1);
    publish_many(B, 1, 4); /* which will take what the next two seconds bring */
    for (unsigned i = 0; i < 8; i++) {
        take_over(A, 0);
        pass(SECOND / 4);
    }
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(gauges().paced_drops, 9);
    ck_assert_uint_eq(deliveries(third), 0);
    pass(SECOND);
    const uint32_t later = take_over(A, 0);
    pass(0);
    ck_assert_uint_eq(deliveries(later), 1);
    world_end(w);
}

END_TEST

/* The second has passed, and it is the message that tells the spool so. */
START_TEST(qos_0_does_not_overtake_who_waits_for_a_turn)
{
    limit((struct pace_config){.messages = 1});
    world_come(w);
    publish_many(A, 1, 3);
    pass(0);
    w->now_ms += SECOND;
    const uint32_t ahead = take_over(B, 0);
    world_settle(w);
    ck_assert_uint_eq(deliveries(ahead), 0);
    ck_assert_uint_eq(w->delivered, 2);
    ck_assert_uint_eq(gauges().paced_drops, 1);
    world_end(w);
}

END_TEST

START_TEST(qos_0_is_not_kept_because_its_client_has_a_backlog)
{
    limit((struct pace_config){.messages = 1});
    world_come(w);
    publish_many(A, 1, 5);
    publish_many(A, 0, 5);
    ck_assert_uint_eq(gauges().spooled, 5);
    ck_assert_uint_eq(gauges().paced_drops, 5);
    world_end(w);
}

END_TEST

START_TEST(qos_0_is_spooled_if_that_is_wanted)
{
    struct spool_config config = spool_defaults();
    config.pace.messages = 1;
    config.qos_0 = true;
    open_sound_world(config, NODES);
    world_come(w);
    publish_many(A, 0, 20);
    pass(0);
    ck_assert_uint_eq(w->delivered, 1);
    pass(19 * SECOND);
    ck_assert_uint_eq(w->delivered, 20);
    ck_assert_uint_eq(gauges().paced_drops, 0);
    world_end(w);
}

END_TEST

START_TEST(without_a_store_nodes_are_refused_beyond_the_rate)
{
    limit((struct pace_config){.messages = 2});
    world_usable(w, false);
    world_come(w);
    uint32_t attempts[4];
    for (unsigned i = 0; i < 4; i++) {
        attempts[i] = world_publish(w, A, 1, false);
        world_settle(w);
        ck_assert_int_eq(attempt_at(w, attempts[i])->outcome, i < 2 ? ACKED : REFUSED);
        ck_assert_uint_eq(deliveries(attempts[i]), i < 2);
    }
    ck_assert_uint_eq(gauges().paced_refused, 2);
    pass(SECOND / 2);
    const uint32_t later = world_publish(w, A, 1, false);
    world_settle(w);
    ck_assert_uint_eq(deliveries(later), 1);
}

END_TEST

START_TEST(what_is_no_publish_passes)
{
    limit(
        (struct pace_config){.messages = 1, .collect_ms = MINUTE, .quiet = {{1, 0}}, .n_quiet = 1});
    world_wall(w, 1);
    world_come(w);
    struct up_request out;
    spool_submit(w->s, w->now_ms,
                 &(struct up_request){.type = UP_SUBSCRIBE, .topic = bytes_str("#"), .token = 7});
    ck_assert(spool_peek_request(w->s, &out));
    ck_assert_int_eq(out.type, UP_SUBSCRIBE);
    spool_done_request(w->s);
    spool_upstream(w->s, w->now_ms,
                   &(struct up_event){.type = UP_SUBSCRIBED, .token = 7, .result = UP_OK});
    struct up_event event;
    ck_assert(spool_peek_event(w->s, &event));
    ck_assert_int_eq(event.type, UP_SUBSCRIBED);
    spool_done_event(w->s);
}

END_TEST

/* ---- windows --------------------------------------------------------------------------------- */

static void collect(int64_t every_ms)
{
    limit((struct pace_config){.collect_ms = every_ms, .seed = 3});
}

/* To the moment in which the next window opens. */
static void pass_to_window(void)
{
    const int64_t at_ms = spool_next_deadline(w->s);
    const uint64_t before = w->delivered;
    ck_assert_int_ne(at_ms, TIME_NEVER);
    world_pass(w, at_ms - w->now_ms - 1);
    ck_assert_uint_eq(gauges().in_flight, 0);
    ck_assert_uint_eq(w->delivered, before);
    world_pass(w, 1);
}

START_TEST(messages_are_collected_and_sent_together)
{
    collect(MINUTE);
    world_come(w);
    publish_many(A, 1, 5);
    publish_many(B, 2, 5);
    pass_to_window();
    const int64_t opened_ms = w->now_ms;
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 10);
    publish_many(C, 1, 5);
    pass(SECOND);
    ck_assert_uint_eq(w->delivered, 10);
    pass_to_window();
    ck_assert_int_eq(w->now_ms, opened_ms + MINUTE);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 15);
    world_end(w);
}

END_TEST

/* Most of them on disk only; others come all the time. */
START_TEST(a_window_is_for_all_ten_thousand_that_waited)
{
    enum { N = 10000 };

    struct spool_config config = spool_defaults();
    config.max_memory_bytes = 60000;
    config.pace.collect_ms = 10 * MINUTE;
    open_sound_world(config, NODES);
    world_come(w);
    publish_many(A, 1, N / 2);
    publish_many(B, 2, N / 2);
    const uint32_t last = (uint32_t)w->attempts.n - 1;
    pass_to_window();
    for (unsigned i = 0; deliveries(last) == 0 || deliveries(N / 2 - 1) == 0; i++) {
        ck_assert_uint_lt(i, N);
        take_over(C, 1);
        world_settle(w);
        world_pass(w, 10);
    }
    world_settle(w);
    ck_assert_uint_ge(w->delivered, N);
    const uint64_t delivered = w->delivered;
    publish_many(C, 1, 10);
    pass(MINUTE);
    ck_assert_uint_eq(w->delivered, delivered);
    ck_assert_uint_ge(gauges().messages, 10);
    world_end(w);
}

END_TEST

START_TEST(a_window_outlasts_an_outage)
{
    collect(MINUTE);
    struct spool_config config = w->config;
    config.window = 2;
    open_sound_world(config, NODES);
    world_come(w);
    publish_many(A, 1, 10);
    pass_to_window();
    ck_assert_uint_eq(gauges().in_flight, 2);
    world_go(w);
    publish_many(B, 1, 10);
    world_pass(w, 10 * MINUTE + 7 * SECOND);
    world_come(w);
    world_carry(w);
    ck_assert_uint_eq(gauges().in_flight, 2);
    pass(SECOND);
    for (uint32_t i = 0; i < 10; i++)
        ck_assert_uint_eq(deliveries(i), 1);
    ck_assert_int_ne(spool_next_deadline(w->s), TIME_NEVER); /* it has closed */
    const uint32_t next = take_over(C, 1);
    pass(SECOND);
    ck_assert_uint_eq(deliveries(next), 0);
    pass(MINUTE);
    ck_assert_uint_eq(deliveries(next), 1);
    world_end(w);
}

END_TEST

START_TEST(a_restart_in_a_window_waits_for_another_one)
{
    for (uint8_t qos = 1; qos <= 2; qos++) {
        collect(MINUTE);
        world_come(w);
        publish_many(A, qos, 10);
        pass_to_window();
        wire_step(w);
        world_crash(w);
        world_come(w);
        world_settle(w);
        ck_assert_uint_le(w->delivered, 10);
        pass(MINUTE);
        for (uint32_t i = 0; i < 10; i++)
            ck_assert_uint_ge(deliveries(i), 1);
        world_end(w);
    }
}

END_TEST

START_TEST(a_window_for_which_nothing_waits_is_over_at_once)
{
    collect(MINUTE);
    world_come(w);
    pass_to_window();
    const uint32_t a = take_over(A, 1);
    world_settle(w);
    ck_assert_uint_eq(deliveries(a), 0);
    ck_assert_int_eq(spool_next_deadline(w->s), w->now_ms + MINUTE);
    world_end(w);
}

END_TEST

START_TEST(what_is_dropped_in_a_window_does_not_keep_it_open)
{
    struct spool_config config = spool_defaults();
    config.pace.collect_ms = MINUTE;
    config.max_age_ms = 2 * SECOND;
    open_sound_world(config, NODES);
    publish_many(A, 1, 10);
    world_come(w);
    pass(MINUTE + 1);
    ck_assert_uint_eq(gauges().expired, 10);
    ck_assert_int_ne(spool_next_deadline(w->s), TIME_NEVER);
    world_end(w);
}

END_TEST

/* ---- quiet hours ----------------------------------------------------------------------------- */

static const struct pace_config nights = {
    .quiet = {{22 * 60, 6 * 60}},
    .n_quiet = 1,
};

START_TEST(in_quiet_hours_nothing_leaves_and_all_is_taken)
{
    limit(nights);
    world_wall(w, 23 * 60);
    world_come(w);
    publish_many(A, 1, 100);
    publish_many(B, 2, 100);
    take_over(C, 0);
    pass(7 * 60 * MINUTE);
    ck_assert_uint_eq(w->delivered, 0);
    ck_assert_uint_eq(gauges().paced_drops, 1);
    world_wall(w, 6 * 60);
    pass(MINUTE);
    ck_assert_uint_eq(w->delivered, 200);
    world_end(w);
}

END_TEST

START_TEST(quiet_hours_interrupt_a_backlog)
{
    struct pace_config pace = nights;
    pace.messages = 1;
    limit(pace);
    world_wall(w, 21 * 60 + 58); /* it began quiet, and who is first is chance */
    pass(MINUTE);
    world_come(w);
    publish_many(A, 1, 100);
    pass(MINUTE);
    ck_assert_uint_eq(w->delivered, 61);
    world_wall(w, 22 * 60);
    pass(MINUTE);
    ck_assert_uint_eq(w->delivered, 61);
    world_crash(w);
    world_come(w);
    pass(MINUTE);
    ck_assert_uint_eq(w->delivered, 61);
    world_wall(w, 6 * 60);
    pass(2 * MINUTE);
    ck_assert_uint_eq(w->delivered, 100);
    world_end(w);
}

END_TEST

/* Ten minutes a day; the answer to what left in one of them comes in the next. */
START_TEST(a_window_that_quiet_hours_closed_stays_closed)
{
    limit((struct pace_config){
        .collect_ms = 60 * MINUTE, .quiet = {{12 * 60 + 10, 12 * 60}}, .n_quiet = 1});
    world_wall(w, 12 * 60);
    world_come(w);
    take_over(A, 1);
    pass_to_window();
    ck_assert_uint_eq(gauges().in_flight, 1);
    world_wall(w, 12 * 60 + 10);
    world_pass(w, 23 * 60 * MINUTE);
    world_wall(w, 12 * 60);
    const int64_t next_ms = spool_next_deadline(w->s);
    ck_assert_int_lt(next_ms, w->now_ms + 5 * MINUTE);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 1);
    ck_assert_int_eq(spool_next_deadline(w->s), next_ms);
    world_end(w);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("spool_meter");
    TCase *meter = tcase_create("meter");
    tcase_add_checked_fixture(meter, NULL, teardown);
    tcase_set_timeout(meter, 60);
    tcase_add_test(meter, nodes_are_answered_at_once_whatever_the_rate);
    tcase_add_test(meter, no_more_leave_than_the_rate_allows);
    tcase_add_test(meter, octets_count_as_well);
    tcase_add_test(meter, clients_take_turns_at_a_slow_pace);
    tcase_add_test(meter, what_is_sent_again_after_a_lost_connection_is_paid_for_again);
    tcase_add_test(meter, a_will_keeps_the_pace);
    tcase_add_test(meter, qos_0_has_what_the_others_leave);
    tcase_add_test(meter, qos_0_does_not_overtake_who_waits_for_a_turn);
    tcase_add_test(meter, qos_0_is_not_kept_because_its_client_has_a_backlog);
    tcase_add_test(meter, qos_0_is_spooled_if_that_is_wanted);
    tcase_add_test(meter, without_a_store_nodes_are_refused_beyond_the_rate);
    tcase_add_test(meter, what_is_no_publish_passes);
    tcase_add_test(meter, messages_are_collected_and_sent_together);
    tcase_add_test(meter, a_window_is_for_all_ten_thousand_that_waited);
    tcase_add_test(meter, a_window_outlasts_an_outage);
    tcase_add_test(meter, a_restart_in_a_window_waits_for_another_one);
    tcase_add_test(meter, a_window_for_which_nothing_waits_is_over_at_once);
    tcase_add_test(meter, what_is_dropped_in_a_window_does_not_keep_it_open);
    tcase_add_test(meter, in_quiet_hours_nothing_leaves_and_all_is_taken);
    tcase_add_test(meter, quiet_hours_interrupt_a_backlog);
    tcase_add_test(meter, a_window_that_quiet_hours_closed_stays_closed);
    suite_add_tcase(suite, meter);
    return run_suite(suite);
}
