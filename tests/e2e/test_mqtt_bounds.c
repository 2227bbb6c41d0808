/* SPDX-License-Identifier: Apache-2.0 */
/* The MQTT connection at its bounds (queue, inbox), and how it ends. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e/mqtt_fixture.h"

enum { LOOK_MS = 1 };

START_TEST(a_full_queue_refuses_exactly_the_surplus)
{
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.window = 10;
    o.max_queued = 500;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    broker_pause(&broker);
    for (unsigned i = 0; i < 10; i++)
        probe_publish(&probe, i, "q", 1, 20);
    PROBE_UNTIL(&probe, mqtt_gauges(probe.m).in_flight == 10, SOON_MS);
    for (unsigned i = 10; i < 10 + 500 + 77; i++)
        probe_publish(&probe, i, "q", 1, 20);
    PROBE_UNTIL(&probe, probe.busy == 77, SOON_MS);
    ck_assert_uint_eq(mqtt_gauges(probe.m).queued, 500);
    broker_resume(&broker);
    PROBE_UNTIL(&probe, probe.ok == 510, SOON_MS);
    ck_assert_uint_eq(probe.busy, 77);
    for (unsigned i = 510; i < 587; i++)
        ck_assert_uint_eq(probe.answers[i].busy, 1);
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(a_queue_full_by_octets_refuses_exactly_the_surplus)
{
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.window = 1;
    o.max_queued_bytes = 100 * 101; /* topic "q" and 100 octets */
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    broker_pause(&broker);
    probe_publish(&probe, 0, "q", 1, 100);
    PROBE_UNTIL(&probe, mqtt_gauges(probe.m).in_flight == 1, SOON_MS);
    for (unsigned i = 1; i <= 103; i++)
        probe_publish(&probe, i, "q", 1, 100);
    PROBE_UNTIL(&probe, probe.busy == 3, SOON_MS);
    broker_resume(&broker);
    PROBE_UNTIL(&probe, probe.ok == 101, SOON_MS);
    probe_stop(&probe, 100);
}

END_TEST

/* Whoever takes no events is woken for the first one only: what follows is seen by looking. */
static void until_all_is_answered(void)
{
    const int64_t until_ms = probe_now_ms() + SOON_MS;
    while (mqtt_gauges(probe.m).queued + mqtt_gauges(probe.m).in_flight > 0) {
        ck_assert(probe_now_ms() < until_ms);
        poll(NULL, 0, LOOK_MS);
    }
}

/* There is room again, but the session does not know yet what has found none. */
START_TEST(what_was_refused_is_not_overtaken_before_the_session_has_heard_of_it)
{
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.window = 1;
    o.max_queued = 1;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    broker_pause(&broker);
    probe_publish(&probe, 0, "q", 1, 20);
    PROBE_UNTIL(&probe, mqtt_gauges(probe.m).in_flight == 1, SOON_MS);
    probe_publish(&probe, 1, "q", 1, 20);
    probe_publish(&probe, 2, "q", 1, 20);
    mqtt_flush(probe.m);
    broker_resume(&broker);
    until_all_is_answered();
    probe_publish(&probe, 3, "q", 1, 20);
    PROBE_UNTIL(&probe, probe.busy == 2 && probe.ok == 2, SOON_MS);
    probe_publish(&probe, 4, "q", 1, 20);
    PROBE_UNTIL(&probe, probe.ok == 3, SOON_MS);
    ck_assert_uint_eq(probe.answers[2].busy, 1);
    ck_assert_uint_eq(probe.answers[3].busy, 1);
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(what_comes_out_of_the_spool_needs_no_room_in_the_queue)
{
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.window = 1;
    o.max_queued = 1;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    broker_pause(&broker);
    probe_publish(&probe, 0, "q", 1, 20);
    PROBE_UNTIL(&probe, mqtt_gauges(probe.m).in_flight == 1, SOON_MS);
    probe_publish(&probe, 1, "q", 1, 20);
    mqtt_submit(
        probe.m,
        &(struct up_request){
            .type = UP_PUBLISH, .token = 2, .topic = bytes_str("q"), .qos = 1, .spooled = 5});
    mqtt_flush(probe.m);
    ck_assert_uint_eq(mqtt_gauges(probe.m).queued, 2);
    broker_resume(&broker);
    PROBE_UNTIL(&probe, probe.ok == 3, SOON_MS);
    probe_stop(&probe, 100);
}

END_TEST

/* Nobody drains: QoS 0 is dropped and counted, QoS 1 and 2 come all the same. */
START_TEST(a_full_inbox_drops_qos0_only)
{
    enum { BOUND = 50, COUNT = 120 };
    struct probe source;
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.client_id = "sleepy";
    o.max_inbox = BOUND;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_subscribe(&probe, 1, "in/+", 2);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    connect_probe(&source, "source");
    for (unsigned i = 0; i < COUNT; i++)
        probe_publish(&source, i, "in/0", 0, 20);
    PROBE_UNTIL(&source, mqtt_gauges(probe.m).inbox_drops + BOUND == COUNT, SOON_MS);
    for (unsigned i = COUNT; i < 2 * BOUND + COUNT; i++)
        probe_publish(&source, i, "in/1", i % 2 + 1, 20);
    PROBE_UNTIL(&source, source.ok == 2 * BOUND, SOON_MS);
    PROBE_UNTIL(&probe, probe.messages == 3 * BOUND, SOON_MS);
    for (unsigned i = COUNT; i < 2 * BOUND + COUNT; i++)
        ck_assert_uint_eq(probe.copies[i], 1);
    probe_stop(&source, 100);
    probe_stop(&probe, 100);
}

END_TEST

/* Four times over its bounds the inbox takes nothing more: the connection is cut, and what was not
 * taken comes again. */
START_TEST(an_overrun_inbox_cuts_the_connection_and_loses_no_qos1_message)
{
    enum { BOUND = 10, COUNT = 120 };
    struct probe source;
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.client_id = "overrun";
    o.max_inbox = BOUND;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_subscribe(&probe, 1, "in/+", 1);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    connect_probe(&source, "source");
    for (unsigned i = 0; i < COUNT; i++)
        probe_publish(&source, i, "in/1", 1, 20);
    PROBE_UNTIL(&source, source.ok == COUNT, SOON_MS);
    PROBE_UNTIL(&source, mqtt_gauges(probe.m).inbox_cuts > 0, SOON_MS);
    unsigned missing = COUNT;
    for (const int64_t until_ms = probe_now_ms() + SOON_MS; missing > 0;) {
        ck_assert_int_lt(probe_now_ms(), until_ms);
        probe_turn(&probe, 20);
        missing = 0;
        for (unsigned i = 0; i < COUNT; i++)
            missing += probe.copies[i] == 0;
    }
    ck_assert_ptr_nonnull(strstr(probe.why, "could not keep up"));
    probe_stop(&source, 100);
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(stop_waits_for_what_was_submitted)
{
    struct probe listener;
    connect_probe(&listener, "listener");
    probe_subscribe(&listener, 1, "s", 1);
    PROBE_UNTIL(&listener, listener.ok == 1, SOON_MS);
    connect_probe(&probe, "stopper");
    for (unsigned i = 0; i < 2000; i++)
        probe_publish(&probe, i, "s", 1, 20);
    const int64_t start_ms = probe_now_ms();
    probe_stop(&probe, 10000);
    printf("stop with 2000 messages took %lld ms\n", (long long)(probe_now_ms() - start_ms));
    PROBE_UNTIL(&listener, listener.messages == 2000, SOON_MS);
    probe_stop(&listener, 100);
}

END_TEST

START_TEST(stop_is_bounded_while_the_broker_does_not_answer)
{
    connect_probe(&probe, "stuck");
    broker_pause(&broker);
    for (unsigned i = 0; i < 500; i++)
        probe_publish(&probe, i, "s", (uint8_t)(i % 3), 20);
    mqtt_flush(probe.m);
    const int64_t start_ms = probe_now_ms();
    probe_stop(&probe, 300);
    const int64_t took_ms = probe_now_ms() - start_ms;
    printf("stop with a stopped broker took %lld ms\n", (long long)took_ms);
    ck_assert_int_ge(took_ms, 300);
    ck_assert_int_le(took_ms, 2300);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt bounds");
    ADD(s, a_full_queue_refuses_exactly_the_surplus);
    ADD(s, a_queue_full_by_octets_refuses_exactly_the_surplus);
    ADD(s, what_was_refused_is_not_overtaken_before_the_session_has_heard_of_it);
    ADD(s, what_comes_out_of_the_spool_needs_no_room_in_the_queue);
    ADD(s, a_full_inbox_drops_qos0_only);
    ADD(s, an_overrun_inbox_cuts_the_connection_and_loses_no_qos1_message);
    ADD(s, stop_waits_for_what_was_submitted);
    ADD(s, stop_is_bounded_while_the_broker_does_not_answer);
    return run_suite(s);
}
