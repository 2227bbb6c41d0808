/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT connection against a real mosquitto: the ordinary day, and the days on which the broker
 * is stopped, killed, or cut off.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e/cable.h"
#include "e2e/mqtt_fixture.h"

/* ---- the ordinary day ------------------------------------------------------------------------ */

START_TEST(publishes_are_answered_and_arrive_once)
{
    struct probe listener;
    connect_probe(&listener, "listener");
    connect_probe(&probe, "publisher");
    ck_assert(!probe.session_present);
    probe_subscribe(&listener, 1, "t/#", 2);
    PROBE_UNTIL(&listener, listener.subscribed == 1, SOON_MS);
    ck_assert_uint_eq(listener.granted, 2);
    ck_assert_uint_eq(listener.answers[1].ok, 1);

    for (uint8_t qos = 0; qos <= 2; qos++) {
        probe_publish(&probe, qos, "t/a", qos, 20);
        mqtt_flush(probe.m);
        PROBE_UNTIL(&listener, listener.messages == qos + 1U, SOON_MS);
        ck_assert_uint_eq(listener.last.qos, qos);
        ck_assert_uint_eq(listener.copies[qos], 1);
    }
    PROBE_UNTIL(&probe, probe.ok == 2, SOON_MS); /* QoS 0 is not answered */
    ck_assert_str_eq(listener.last_topic, "t/a");
    ck_assert(!listener.last.retain);

    probe_unsubscribe(&listener, 2, "t/#");
    PROBE_UNTIL(&listener, listener.answers[2].ok == 1, SOON_MS);
    probe_publish(&probe, 5, "t/a", 1, 20);
    PROBE_UNTIL(&probe, probe.ok == 3, SOON_MS);
    ck_assert_uint_eq(listener.messages, 3);
    probe_stop(&probe, 100);
    probe_stop(&listener, 100);
}

END_TEST

START_TEST(a_publish_goes_with_the_highest_qos_that_is_allowed)
{
    struct probe listener;
    connect_probe(&listener, "listener");
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.client_id = "publisher";
    o.max_qos = 1 + 1;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_subscribe(&listener, 1, "t/#", 2);
    PROBE_UNTIL(&listener, listener.subscribed == 1, SOON_MS);

    for (uint8_t qos = 0; qos <= 2; qos++) {
        probe_publish(&probe, qos, "t/a", qos, 20);
        mqtt_flush(probe.m);
        PROBE_UNTIL(&listener, listener.messages == qos + 1U, SOON_MS);
        ck_assert_uint_eq(listener.last.qos, qos > 1 ? 1 : qos);
    }
    PROBE_UNTIL(&probe, probe.ok == 2, SOON_MS);
    probe_stop(&probe, 100);
    probe_stop(&listener, 100);
}

END_TEST

START_TEST(retained_messages_come_with_the_subscription)
{
    connect_probe(&probe, "retain");
    struct body *body = body_new(bytes_str("7 kept"));
    mqtt_submit(probe.m, &(struct up_request){.type = UP_PUBLISH,
                                              .token = 7,
                                              .topic = bytes_str("r/x"),
                                              .body = body,
                                              .qos = 1,
                                              .retain = true});
    body_unref(body);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    probe_subscribe(&probe, 8, "r/+", 1);
    PROBE_UNTIL(&probe, probe.messages == 1, SOON_MS);
    ck_assert(probe.last.retain);
    ck_assert_uint_eq(probe.last.qos, 1);
    ck_assert_str_eq(probe.last_body, "7 kept");

    /* An empty body deletes, and is delivered as empty. */
    mqtt_submit(
        probe.m,
        &(struct up_request){
            .type = UP_PUBLISH, .token = 9, .topic = bytes_str("r/x"), .qos = 2, .retain = true});
    PROBE_UNTIL(&probe, probe.messages == 2, SOON_MS);
    ck_assert_str_eq(probe.last_body, "");
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(topics_that_would_cost_the_connection_are_refused)
{
    static const char *const bad[] = {"", "a/+", "#", "a\x01", "\xff", "a\xc2\x85"};
    connect_probe(&probe, "strict");
    for (uint64_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        probe_publish(&probe, i, bad[i], 1, 10);
    mqtt_submit(probe.m,
                &(struct up_request){
                    .type = UP_PUBLISH, .token = 50, .topic = bytes_of("a\0b", 3), .qos = 1});
    probe_subscribe(&probe, 51, "a/#/b", 1);
    probe_subscribe(&probe, 52, "a/b#", 1);
    PROBE_UNTIL(&probe, probe.refused == 9, SOON_MS);
    probe_publish(&probe, 60, "good", 1, 10);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    ck_assert_uint_eq(probe.disconnected, 0);
    probe_stop(&probe, 100);
}

END_TEST

static void flood(struct probe *p, uint8_t qos, unsigned total)
{
    enum { AHEAD = 20000, STEP = 200 };

    const int64_t start_ms = probe_now_ms();
    for (unsigned sent = 0; sent < total;) {
        for (unsigned i = 0; i < STEP && sent < total && sent - p->ok < AHEAD; i++, sent++)
            probe_publish(p, sent, "flood/topic", qos, 64);
        probe_turn(p, sent - p->ok < AHEAD ? 0 : 20);
    }
    PROBE_UNTIL(p, p->ok == total, 60000);
    const int64_t took_ms = probe_now_ms() - start_ms;
    printf("QoS %u: %u messages in %lld ms, %lld/s, %u wake-ups\n", qos, total, (long long)took_ms,
           (long long)total * 1000 / (took_ms > 0 ? took_ms : 1), atomic_load(&p->wakes));
    for (unsigned i = 0; i < total; i++)
        ck_assert_uint_eq(p->answers[i].ok, 1);
    ck_assert_uint_eq(p->busy + p->refused + p->doubt, 0);
    ck_assert_uint_eq(p->disconnected, 0);
}

START_TEST(a_hundred_thousand_qos1_messages_lose_none)
{
    const char *const fewer = getenv("SENNET_FLOOD");
    connect_probe(&probe, "flood");
    flood(&probe, 1, fewer != NULL ? (unsigned)strtoul(fewer, NULL, 10) : 100000);
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(ten_thousand_qos2_messages_arrive_exactly_once)
{
    enum { COUNT = 10000 };
    struct probe listener;
    connect_probe(&listener, "listener");
    probe_subscribe(&listener, PROBE_TOKENS - 1, "flood/topic", 2);
    PROBE_UNTIL(&listener, listener.subscribed == 1, SOON_MS);
    connect_probe(&probe, "flood2");
    flood(&probe, 2, COUNT);
    PROBE_UNTIL(&listener, listener.messages == COUNT, SOON_MS);
    for (unsigned i = 0; i < COUNT; i++)
        ck_assert_uint_eq(listener.copies[i], 1);
    probe_stop(&probe, 100);
    probe_stop(&listener, 100);
}

END_TEST

/* A loop that is busy with something else is woken once, not for each answer. */
START_TEST(wake_ups_coalesce_until_the_loop_drains)
{
    enum { COUNT = 1000 };

    connect_probe(&probe, "sleepy");
    const unsigned before = atomic_load(&probe.wakes);
    for (unsigned i = 0; i < COUNT; i++)
        probe_publish(&probe, i, "sleepy", 1, 10);
    mqtt_flush(probe.m);
    for (const int64_t until_ms = probe_now_ms() + SOON_MS;
         mqtt_gauges(probe.m).queued + mqtt_gauges(probe.m).in_flight > 0;) {
        ck_assert_int_lt(probe_now_ms(), until_ms);
        poll(NULL, 0, 5);
    }
    ck_assert_uint_eq(atomic_load(&probe.wakes), before + 1);
    PROBE_UNTIL(&probe, probe.ok == COUNT, SOON_MS);
    probe_stop(&probe, 100);
}

END_TEST

/* A PUBLISH and its PUBACK on an idle connection: with Nagle's algorithm it would be 40 ms. */
START_TEST(a_lone_message_does_not_wait_for_more)
{
    enum { ROUNDS = 50 };

    int64_t worst_ms = 0;
    connect_probe(&probe, "lone");
    const int64_t start_ms = probe_now_ms();
    for (unsigned i = 0; i < ROUNDS; i++) {
        const int64_t sent_ms = probe_now_ms();
        probe_publish(&probe, 2 * i, "lone", 1, 30);
        probe_publish(&probe, 2 * i + 1, "lone", 1, 30);
        PROBE_UNTIL(&probe, probe.ok == 2 * i + 2, SOON_MS);
        const int64_t took_ms = probe_now_ms() - sent_ms;
        worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
    }
    const int64_t mean_ms = (probe_now_ms() - start_ms) / ROUNDS;
    printf("pairs of QoS 1: mean %lld ms, worst %lld ms\n", (long long)mean_ms,
           (long long)worst_ms);
    ck_assert_int_lt(mean_ms, 15);
    probe_stop(&probe, 100);
}

END_TEST

/* ---- credentials ----------------------------------------------------------------------------- */

START_TEST(a_wrong_password_is_named_and_a_right_one_connects)
{
    struct broker guarded;
    broker_start_with_user(&guarded, "attic", "secret");
    struct mqtt_options o = probe_options(&probe, guarded.port);
    o.username = "attic";
    o.password = "wrong";
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.disconnected >= 2, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "not authorised (check username and password_file)"));
    ck_assert_uint_eq(probe.connected, 0);
    probe_stop(&probe, 100);

    o = probe_options(&probe, guarded.port);
    o.username = "attic";
    o.password = "secret";
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_stop(&probe, 100);
    broker_stop(&guarded);
}

END_TEST

/* ---- bad days -------------------------------------------------------------------------------- */

START_TEST(a_stopped_broker_is_noticed_within_one_and_a_half_keep_alives)
{
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.keepalive_s = 5;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_subscribe(&probe, 1, "x", 1);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);

    broker_pause(&broker);
    const int64_t paused_ms = probe_now_ms();
    for (unsigned i = 10; i < 20; i++)
        probe_publish(&probe, i, "x", (uint8_t)(i % 3), 10);
    PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    const int64_t noticed_ms = probe.lost_at_ms - paused_ms;
    printf("noticed after %lld ms: %s\n", (long long)noticed_ms, probe.why);
    ck_assert_int_le(noticed_ms, 7500);
    ck_assert_ptr_nonnull(strstr(probe.why, "did not answer for"));
    ck_assert_uint_eq(probe.busy, 4);  /* the QoS 1; QoS 0 had left for the kernel */
    ck_assert_uint_eq(probe.doubt, 3); /* the QoS 2 */

    /* While it is away every request is refused at once. */
    probe_publish(&probe, 30, "x", 1, 10);
    PROBE_UNTIL(&probe, probe.answers[30].busy == 1, 1000);

    broker_resume(&broker);
    PROBE_UNTIL(&probe, probe.connected == 2, 20000);
    PROBE_UNTIL(&probe, probe.ok + probe.refused == 1 + 3, SOON_MS); /* doubts are settled */
    for (unsigned i = 10; i < 20; i++) {
        const struct probe_answers a = probe.answers[i];
        if (i % 3 == 2)
            ck_assert(a.doubt == 1 && a.ok == 1 && a.busy == 0);
        else if (i % 3 == 1)
            ck_assert(a.busy == 1 && a.ok == 0);
    }
    probe_stop(&probe, 100);
}

END_TEST

/* An idle connection stays: the supervision must not mistake silence for death. */
START_TEST(an_idle_connection_is_kept_alive)
{
    struct mqtt_options o = probe_options(&probe, broker.port);
    o.keepalive_s = 5;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    for (const int64_t until_ms = probe_now_ms() + 9000; probe_now_ms() < until_ms;) {
        probe_turn(&probe, 100);
        ck_assert_int_lt(probe_now_ms() - mqtt_heartbeat_ms(probe.m), 3000);
    }
    ck_assert_uint_eq(probe.disconnected, 0);
    probe_publish(&probe, 1, "x", 1, 10);
    PROBE_UNTIL(&probe, probe.ok == 1, 1000);
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(a_killed_broker_comes_back_and_the_session_is_reported_gone)
{
    connect_probe(&probe, "killed");
    probe_subscribe(&probe, 1, "k", 1);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    broker_end(&broker, SIGKILL);
    PROBE_UNTIL(&probe, probe.disconnected >= 2, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "connection refused by 127.0.0.1:"));
    broker_start_again(&broker);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    ck_assert(!probe.session_present);
    probe_publish(&probe, 2, "k", 1, 10);
    PROBE_UNTIL(&probe, probe.ok == 2, SOON_MS);
    probe_stop(&probe, 100);
}

END_TEST

/* What an earlier process subscribed must not haunt this one. */
START_TEST(the_session_of_an_earlier_process_is_purged)
{
    connect_probe(&probe, "same");
    probe_subscribe(&probe, 1, "old/#", 1);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    probe_stop(&probe, 100);

    connect_probe(&probe, "same");
    ck_assert(!probe.session_present);
    probe_subscribe(&probe, 2, "new", 1);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    probe_publish(&probe, 10, "old/x", 1, 10);
    probe_publish(&probe, 11, "new", 1, 10);
    PROBE_UNTIL(&probe, probe.messages == 1 && probe.ok == 3, SOON_MS);
    ck_assert_str_eq(probe.last_topic, "new");
    ck_assert_uint_eq(mqtt_gauges(probe.m).connects, 1);
    probe_stop(&probe, 100);
}

END_TEST

/* ---- the cable ------------------------------------------------------------------------------- */

static void connect_by_cable(struct cable *c, struct probe *p)
{
    cable_start(c, broker.port);
    const struct mqtt_options o = probe_options(p, c->port);
    probe_start(p, &o);
    PROBE_UNTIL(p, p->connected == 1, SOON_MS);
}

static void check_doubtful(unsigned count, const struct probe *listener)
{
    for (unsigned i = 0; i < count; i++) {
        ck_assert_uint_eq(probe.answers[i].doubt, 1);
        ck_assert_uint_eq(probe.answers[i].ok, 1);
        ck_assert_uint_eq(probe.answers[i].busy + probe.answers[i].refused, 0);
        ck_assert_uint_eq(listener->copies[i], 1);
    }
}

START_TEST(qos2_in_doubt_is_settled_after_the_reconnect_exactly_once)
{
    enum { COUNT = 16 }; /* the window of QoS 2 */
    struct cable cable;
    struct probe listener;
    connect_probe(&listener, "listener");
    probe_subscribe(&listener, 1, "doubt", 2);
    PROBE_UNTIL(&listener, listener.ok == 1, SOON_MS);
    connect_by_cable(&cable, &probe);

    /* The broker gets the messages; its answers get lost. */
    atomic_store(&cable.mute, true);
    const size_t before = atomic_load(&cable.upward);
    for (unsigned i = 0; i < COUNT; i++)
        probe_publish(&probe, i, "doubt", 2, 20);
    PROBE_UNTIL(&probe, atomic_load(&cable.upward) >= before + (size_t)COUNT * 25, SOON_MS);
    atomic_store(&cable.cut, true);
    atomic_store(&cable.mute, false);

    PROBE_UNTIL(&probe, probe.doubt == COUNT, SOON_MS);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    ck_assert(probe.session_present);
    PROBE_UNTIL(&probe, probe.ok == COUNT, SOON_MS);
    PROBE_UNTIL(&listener, listener.messages == COUNT, SOON_MS);
    probe_turn(&listener, 200); /* a second copy would come now */
    ck_assert_uint_eq(listener.messages, COUNT);
    check_doubtful(COUNT, &listener);
    probe_stop(&probe, 100);
    probe_stop(&listener, 100);
    cable_stop(&cable);
}

END_TEST

START_TEST(qos1_open_at_a_loss_is_answered_busy_once_and_never_again)
{
    enum { COUNT = 40 };
    struct cable cable;
    connect_by_cable(&cable, &probe);
    atomic_store(&cable.mute, true);
    for (unsigned i = 0; i < COUNT; i++)
        probe_publish(&probe, i, "once", 1, 20);
    probe_subscribe(&probe, COUNT, "once", 1);
    probe_unsubscribe(&probe, COUNT + 1, "never");
    PROBE_UNTIL(&probe, mqtt_gauges(probe.m).in_flight == COUNT + 2, SOON_MS);
    atomic_store(&cable.cut, true);
    atomic_store(&cable.mute, false);
    PROBE_UNTIL(&probe, probe.busy == COUNT + 2, SOON_MS);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);

    /* Paho delivers the old ones late; that must not come through as answers. */
    for (unsigned i = 100; i < 100 + COUNT; i++)
        probe_publish(&probe, i, "once", 1, 20);
    PROBE_UNTIL(&probe, probe.ok == COUNT, SOON_MS);
    probe_turn(&probe, 100);
    for (unsigned i = 0; i <= COUNT + 1; i++)
        ck_assert(probe.answers[i].busy == 1 && probe.answers[i].ok == 0);
    ck_assert(mqtt_gauges(probe.m).in_flight == 0);
    probe_stop(&probe, 100);
    cable_stop(&cable);
}

END_TEST

static unsigned confirmed_but_missing(const struct probe *sender, const struct probe *listener,
                                      unsigned count)
{
    unsigned missing = 0;
    for (unsigned i = 0; i < count; i++)
        missing += sender->answers[i].ok > 0 && listener->copies[i] == 0;
    return missing;
}

/* The cable breaks again and again under load: every message gets one answer (or a doubt and then
 * one), and a confirmed QoS 2 message is at the subscriber exactly once. */
START_TEST(a_flapping_cable_under_load_confuses_no_answer)
{
    enum { ROUNDS = 12, EACH = 600 };
    struct cable cable;
    struct probe listener;
    connect_probe(&listener, "listener");
    probe_subscribe(&listener, PROBE_TOKENS - 1, "load/+", 2);
    PROBE_UNTIL(&listener, listener.ok == 1, SOON_MS);
    connect_by_cable(&cable, &probe);
    unsigned token = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        PROBE_UNTIL(&probe, probe.connected == round + 1, SOON_MS);
        for (unsigned i = 0; i < EACH; i++, token++) {
            probe_publish(&probe, token, token % 2 ? "load/1" : "load/2", token % 2 ? 1 : 2, 40);
            if (i == EACH / 2)
                atomic_store(&cable.cut, true);
            if (i % 20 == 0)
                probe_turn(&probe, 1);
        }
        PROBE_UNTIL(&probe, probe.disconnected >= round + 1, SOON_MS);
    }
    PROBE_UNTIL(&probe, probe.ok + probe.busy + probe.refused == token, SOON_MS);
    PROBE_UNTIL(&listener, confirmed_but_missing(&probe, &listener, token) == 0, 5000);
    probe_turn(&listener, 200);
    printf("flapping: %u sent, ok %u busy %u refused %u doubted %u\n", token, probe.ok, probe.busy,
           probe.refused, probe.doubt);
    for (unsigned i = 0; i < token; i++) {
        const struct probe_answers a = probe.answers[i];
        ck_assert_int_eq(a.ok + a.busy + a.refused, 1);
        if (i % 2 == 0)
            ck_assert_uint_le(listener.copies[i], 1);
        ck_assert(a.doubt <= (i % 2 == 0));
    }
    probe_stop(&probe, 100);
    probe_stop(&listener, 100);
    cable_stop(&cable);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt");
    ADD(s, publishes_are_answered_and_arrive_once);
    ADD(s, a_publish_goes_with_the_highest_qos_that_is_allowed);
    ADD(s, retained_messages_come_with_the_subscription);
    ADD(s, topics_that_would_cost_the_connection_are_refused);
    ADD(s, a_hundred_thousand_qos1_messages_lose_none);
    ADD(s, ten_thousand_qos2_messages_arrive_exactly_once);
    ADD(s, wake_ups_coalesce_until_the_loop_drains);
    ADD(s, a_lone_message_does_not_wait_for_more);
    ADD(s, a_wrong_password_is_named_and_a_right_one_connects);
    ADD(s, a_stopped_broker_is_noticed_within_one_and_a_half_keep_alives);
    ADD(s, an_idle_connection_is_kept_alive);
    ADD(s, a_killed_broker_comes_back_and_the_session_is_reported_gone);
    ADD(s, the_session_of_an_earlier_process_is_purged);
    ADD(s, qos2_in_doubt_is_settled_after_the_reconnect_exactly_once);
    ADD(s, qos1_open_at_a_loss_is_answered_busy_once_and_never_again);
    ADD(s, a_flapping_cable_under_load_confuses_no_answer);
    return run_suite(s);
}
