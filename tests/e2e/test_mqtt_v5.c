/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT 5 with a broker played by the test: which version is spoken, what the broker allows, and what
 * its reasons mean.
 */
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "e2e/script_v5.h"

static bool is_silent(int ms)
{
    struct pollfd fd = {.fd = peer, .events = POLLIN};
    return poll(&fd, 1, ms) == 0;
}

static void submit(uint64_t token, uint8_t qos, bool retain, size_t len)
{
    uint8_t *const octets = calloc(1, len);
    memset(octets, 'x', len);
    struct body *const body = body_new(bytes_of(octets, len));
    free(octets);
    mqtt_submit(probe.m, &(struct up_request){.type = UP_PUBLISH,
                                              .token = token,
                                              .topic = bytes_str("t"),
                                              .body = body,
                                              .qos = qos,
                                              .retain = retain});
    mqtt_flush(probe.m);
    body_unref(body);
}

/* ---- which version --------------------------------------------------------------------------- */

START_TEST(a_refusal_of_mqtt_5_leads_to_3_1_1_at_once_and_for_good)
{
    start(MQTT_AUTO);
    ck_assert_uint_eq(asked(), V5);
    if (_i == 0)
        SAY(0x20, 2, 0, 1);
    else
        SAY(0x20, 3, 0, 0x84, 0);
    hang_up();
    ck_assert_uint_eq(asked(), V3_1_1);
    purge(V3_1_1);
    ck_assert_uint_eq(asked(), V3_1_1);
    SAY(0x20, 2, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert_uint_eq(probe.version, V3_1_1);
    ck_assert_uint_eq(probe.disconnected, 0);
    submit(1, 1, false, 1);
    EXPECT(0x32, 6, 0, 1, 't', 0, 1, 'x');
    SAY(0x40, 2, 0, 1);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    hang_up();
    ck_assert_uint_eq(asked(), V3_1_1);
    stop();
}

END_TEST

START_TEST(a_broker_that_hangs_up_twice_is_asked_for_3_1_1)
{
    start(MQTT_AUTO);
    ck_assert_uint_eq(asked(), V5);
    hang_up();
    ck_assert_uint_eq(asked(), V5);
    hang_up();
    ck_assert_uint_eq(asked(), V3_1_1);
    purge(V3_1_1);
    ck_assert_uint_eq(asked(), V3_1_1);
    SAY(0x20, 2, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    stop();
}

END_TEST

START_TEST(a_broker_that_hangs_up_once_keeps_mqtt_5)
{
    start(MQTT_AUTO);
    ck_assert_uint_eq(asked(), V5);
    hang_up();
    WELCOME();
    ck_assert_uint_eq(probe.version, V5);
    stop();
}

END_TEST

START_TEST(a_broker_of_no_version_is_asked_with_pauses)
{
    enum { ROUNDS = 4 };

    start(MQTT_AUTO);
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint8_t first = asked();
        SAY(0x20, 2, 0, 1);
        hang_up();
        ck_assert_uint_ne(asked(), first);
        SAY(0x20, 2, 0, 1);
        hang_up();
        PROBE_UNTIL(&probe, probe.disconnected == round + 1, SOON_MS);
        ck_assert_ptr_nonnull(strstr(probe.why, "does not speak MQTT"));
    }
    stop();
}

END_TEST

START_TEST(a_version_that_is_demanded_is_not_given_up)
{
    start(_i == 0 ? MQTT_5 : MQTT_3_1_1);
    for (unsigned n = 0; n < 3; n++) {
        ck_assert_uint_eq(asked(), _i == 0 ? V5 : V3_1_1);
        SAY(0x20, 2, 0, 1);
        hang_up();
    }
    stop();
}

END_TEST

/* What one version has under way can't go on in the other: it comes back instead. */
START_TEST(what_is_under_way_comes_back_when_the_version_changes)
{
    start(MQTT_AUTO);
    WELCOME();
    submit(1, 2, false, 1);
    EXPECT(0x34, 7, 0, 1, 't', 0, 1, 0, 'x');
    hang_up();
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 2, 0, 1);
    hang_up();
    ck_assert_uint_eq(asked(), V3_1_1);
    purge(V3_1_1);
    ck_assert_uint_eq(asked(), V3_1_1);
    SAY(0x20, 2, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    PROBE_UNTIL(&probe, probe.doubt == 1 && probe.refused == 1, SOON_MS);
    submit(2, 2, false, 1);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    stop();
}

END_TEST

/* ---- what the broker allows ------------------------------------------------------------------ */

START_TEST(session_and_keep_alive_are_asked_for)
{
    uint8_t packet[ROOM];
    start(MQTT_5);
    ck_assert_uint_eq(asked(), V5);
    purge(V5);
    hear_connect(packet);
    ck_assert_uint_eq(packet[9], 0); /* no clean start */
    const uint8_t properties[] = {5, 0x11, 0, 1, 0x51, 0x80};
    ck_assert_mem_eq(packet + 12, properties, sizeof properties);
    stop();
}

END_TEST

START_TEST(the_receive_maximum_bounds_what_is_under_way)
{
    start(MQTT_5);
    WELCOME(0x21, 0, 2);
    for (uint64_t token = 1; token <= 4; token++)
        submit(token, 1, false, 1);
    EXPECT(0x32, 7, 0, 1, 't', 0, 1, 0, 'x');
    EXPECT(0x32, 7, 0, 1, 't', 0, 2, 0, 'x');
    ck_assert(is_silent(200));
    SAY(0x40, 2, 0, 1);
    EXPECT(0x32, 7, 0, 1, 't', 0, 3, 0, 'x');
    ck_assert(is_silent(100));
    SAY(0x40, 2, 0, 2, 0x40, 2, 0, 3);
    EXPECT(0x32, 7, 0, 1, 't', 0, 4, 0, 'x');
    SAY(0x40, 2, 0, 4);
    PROBE_UNTIL(&probe, probe.ok == 4, SOON_MS);
    stop();
}

END_TEST

/* Three quarters of the default window of 200. */
START_TEST(without_a_receive_maximum_the_window_bounds_qos_2)
{
    enum { QOS2 = 150 };

    start(MQTT_5);
    WELCOME();
    for (uint64_t token = 1; token <= QOS2 + 1; token++)
        submit(token, 2, false, 1);
    for (uint8_t id = 1; id <= QOS2; id++)
        EXPECT(0x34, 7, 0, 1, 't', 0, id, 0, 'x');
    ck_assert(is_silent(200));
    submit(QOS2 + 2, 1, false, 1); /* finds room besides */
    EXPECT(0x32, 7, 0, 1, 't', 0, QOS2 + 1, 0, 'x');
    SAY(0x50, 2, 0, 1);
    EXPECT(0x62, 2, 0, 1);
    stop();
}

END_TEST

enum { FLIGHT_MS = 1, PACED = 2000 };

/* Acknowledges each PUBLISH of QoS 1 a round trip after it came; all are of one size. */
static void *acknowledge_late(void *arg)
{
    enum { PACKET = 9, WAITING = 64 };

    const unsigned most = *(const unsigned *)arg;
    int64_t came_us[WAITING];
    unsigned heard = 0;
    unsigned said = 0;
    uint8_t packet[PACKET];
    while (said < PACED) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        const int64_t now_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
        while (said < heard && now_us - came_us[said % WAITING] >= FLIGHT_MS * 1000) {
            said++;
            const uint8_t ack[] = {0x40, 2, (uint8_t)(said >> 8), (uint8_t)said};
            if (write(peer, ack, sizeof ack) != sizeof ack)
                return NULL;
        }
        struct pollfd fd = {.fd = peer, .events = POLLIN};
        const struct timespec moment = {.tv_nsec = 50000};
        if (ppoll(&fd, 1, &moment, NULL) != 1)
            continue;
        if (recv(peer, packet, sizeof packet, MSG_WAITALL) != sizeof packet || heard - said >= most)
            return arg; /* more than is allowed */
        came_us[heard++ % WAITING] = now_us;
    }
    return NULL;
}

/* Paho has a limit of its own, at which each message waits for up to a second. */
START_TEST(a_small_receive_maximum_costs_round_trips_and_no_more)
{
    static const unsigned maxima[] = {1, 10, 20};
    pthread_t broker;
    void *wrong = NULL;
    start(MQTT_5);
    WELCOME(0x21, 0, (uint8_t)maxima[_i]);
    ck_assert_int_eq(setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
    ck_assert_int_eq(
        pthread_create(&broker, NULL, acknowledge_late, (void *)(uintptr_t)&maxima[_i]), 0);
    const int64_t start_ms = probe_now_ms();
    for (uint64_t token = 1; token <= PACED; token++)
        submit(token, 1, false, 1);
    PROBE_UNTIL(&probe, probe.ok == PACED, 4 * SOON_MS);
    const int64_t took_ms = probe_now_ms() - start_ms;
    pthread_join(broker, &wrong);
    ck_assert_ptr_null(wrong);
    printf("Receive Maximum %u, round trips of %d ms: %d messages/s\n", maxima[_i], FLIGHT_MS,
           (int)(PACED * 1000 / (took_ms > 0 ? took_ms : 1)));
    ck_assert_int_lt(took_ms,
                     4 * PACED); /* sanitizers, and a machine that has other things to do */
    stop();
}

END_TEST

START_TEST(qos_retain_and_size_go_as_far_as_the_broker_goes)
{
    start(MQTT_5);
    WELCOME(0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 64);
    submit(1, 2, true, 1);
    EXPECT(0x32, 7, 0, 1, 't', 0, 1, 0, 'x');
    SAY(0x40, 2, 0, 1);
    PROBE_UNTIL(&probe, probe.answers[1].ok == 1, SOON_MS);
    submit(2, 1, false, 65);
    PROBE_UNTIL(&probe, probe.answers[2].refused == 1, SOON_MS);
    probe_subscribe(&probe, 3, "a/filter/that/is/itself/as/long/as/64/octets/are/with/all/beside",
                    1);
    PROBE_UNTIL(&probe, probe.answers[3].refused == 1, SOON_MS);
    ck_assert(is_silent(100));
    stop();
}

END_TEST

/* A message that goes out at a lower QoS is lost and repeated as that QoS is. */
START_TEST(a_lowered_qos_counts_at_a_loss)
{
    start(MQTT_5);
    WELCOME(0x24, 0);
    for (uint64_t token = 1; token <= 3; token++)
        submit(token, (uint8_t)(token % 3), false, 1);
    for (unsigned i = 0; i < 3; i++)
        EXPECT(0x30, 5, 0, 1, 't', 0, 'x');
    PROBE_UNTIL(&probe, probe.answers[1].ok == 1 && probe.answers[2].ok == 1, SOON_MS);
    ck_assert_uint_eq(mqtt_gauges(probe.m).in_flight, 0);
    stop();
}

END_TEST

START_TEST(the_keep_alive_of_the_broker_counts)
{
    uint8_t packet[ROOM];
    start(MQTT_5);
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 6, 0, 0, 3, 0x13, 0, 7);
    expect_goodbye(V5);
    hear_connect(packet);
    ck_assert_uint_eq(packet[11], 7);
    SAY(0x20, 3, 0, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);

    /* Only now said: one more connection, with that. */
    hang_up();
    hear_connect(packet);
    ck_assert_uint_eq(packet[11], 7);
    SAY(0x20, 6, 1, 0, 3, 0x13, 0, 5);
    const int first = peer;
    hear_connect(packet);
    close(first);
    ck_assert_uint_eq(packet[11], 5);
    SAY(0x20, 6, 1, 0, 3, 0x13, 0, 5);
    PROBE_UNTIL(&probe, probe.connected == 3, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "keep alive"));
    stop();
}

END_TEST

/* ---- reasons --------------------------------------------------------------------------------- */

START_TEST(reasons_of_puback_become_results)
{
    start(MQTT_5);
    WELCOME();
    for (uint64_t token = 1; token <= 3; token++) {
        submit(token, 1, false, 1);
        EXPECT(0x32, 7, 0, 1, 't', 0, (uint8_t)token, 0, 'x');
    }
    SAY(0x40, 3, 0, 1, 0x10); /* nobody has subscribed */
    PROBE_UNTIL(&probe, probe.answers[1].ok == 1, SOON_MS);
    SAY(0x40, 4, 0, 2, 0x87, 0);
    PROBE_UNTIL(&probe, probe.answers[2].refused == 1, SOON_MS);
    SAY(0x40, 3, 0, 3, 0x97);
    PROBE_UNTIL(&probe, probe.answers[3].busy == 1, SOON_MS);
    ck_assert_str_eq(probe.busy_topic, "t");
    ck_assert_str_eq(probe.busy_body, "x");

    /* Who is over a quota is left alone for a moment. */
    submit(4, 1, false, 1);
    ck_assert(is_silent(200));
    EXPECT(0x32, 7, 0, 1, 't', 0, 4, 0, 'x');
    stop();
}

END_TEST

START_TEST(a_pubrec_with_an_error_ends_the_exchange)
{
    start(MQTT_5);
    WELCOME();
    submit(1, 2, false, 1);
    EXPECT(0x34, 7, 0, 1, 't', 0, 1, 0, 'x');
    SAY(0x50, 3, 0, 1, 0x83);
    PROBE_UNTIL(&probe, probe.answers[1].refused == 1, SOON_MS);
    ck_assert(is_silent(100)); /* no PUBREL */
    submit(2, 2, false, 1);
    EXPECT(0x34, 7, 0, 1, 't', 0, 2, 0, 'x');
    SAY(0x50, 2, 0, 2);
    EXPECT(0x62, 2, 0, 2);
    SAY(0x70, 2, 0, 2);
    PROBE_UNTIL(&probe, probe.answers[2].ok == 1, SOON_MS);
    stop();
}

END_TEST

START_TEST(a_refused_subscription_is_told)
{
    start(MQTT_5);
    WELCOME();
    probe_subscribe(&probe, 1, "a", 2);
    probe_subscribe(&probe, 2, "b", 2);
    EXPECT(0x82, 7, 0, 1, 0, 0, 1, 'a', 2);
    EXPECT(0x82, 7, 0, 2, 0, 0, 1, 'b', 2);
    SAY(0x90, 4, 0, 1, 0, 1, 0x90, 4, 0, 2, 0, 0x87);
    PROBE_UNTIL(&probe, probe.subscribed == 2, SOON_MS);
    ck_assert_uint_eq(probe.answers[1].ok, 1);
    ck_assert_uint_eq(probe.answers[2].refused, 1);
    stop();
}

END_TEST

START_TEST(a_session_that_is_taken_over_is_called_that)
{
    start(MQTT_5);
    WELCOME();
    SAY(0xE0, 2, 0x8E, 0);
    PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    ck_assert(probe.taken_over);
    ck_assert_ptr_nonnull(strstr(probe.why, "has taken the session over"));
    hang_up();
    resume();
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    SAY(0xE0, 10, 0x98, 8, 0x1F, 0, 5, 's', 'l', 'e', 'e', 'p');
    PROBE_UNTIL(&probe, probe.disconnected == 2, SOON_MS);
    ck_assert(!probe.taken_over);
    ck_assert_ptr_nonnull(strstr(probe.why, "administrator"));
    ck_assert_ptr_nonnull(strstr(probe.why, "sleep"));
    stop();
}

END_TEST

START_TEST(refusals_of_connect_have_words)
{
    start(MQTT_5);
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 3, 0, 0x87, 0);
    hang_up();
    PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "not authorised"));
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 3, 0, 0x8A, 0);
    hang_up();
    PROBE_UNTIL(&probe, probe.disconnected == 2, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "banned"));
    stop();
}

END_TEST

/* ---- messages -------------------------------------------------------------------------------- */

START_TEST(the_expiry_of_a_message_comes_with_it)
{
    start(MQTT_5);
    WELCOME();
    SAY(0x30, 10, 0, 1, 't', 5, 0x02, 0, 0, 1, 0, 'x');
    PROBE_UNTIL(&probe, probe.messages == 1, SOON_MS);
    ck_assert_uint_eq(probe.last.expiry_s, 256);
    SAY(0x30, 5, 0, 1, 't', 0, 'x');
    PROBE_UNTIL(&probe, probe.messages == 2, SOON_MS);
    ck_assert_uint_eq(probe.last.expiry_s, 0);
    stop();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt_v5");
    LOOP(s, a_refusal_of_mqtt_5_leads_to_3_1_1_at_once_and_for_good, 2);
    ADD(s, a_broker_that_hangs_up_twice_is_asked_for_3_1_1);
    ADD(s, a_broker_that_hangs_up_once_keeps_mqtt_5);
    ADD(s, a_broker_of_no_version_is_asked_with_pauses);
    LOOP(s, a_version_that_is_demanded_is_not_given_up, 2);
    ADD(s, what_is_under_way_comes_back_when_the_version_changes);
    ADD(s, session_and_keep_alive_are_asked_for);
    ADD(s, the_receive_maximum_bounds_what_is_under_way);
    ADD(s, without_a_receive_maximum_the_window_bounds_qos_2);
    LOOP(s, a_small_receive_maximum_costs_round_trips_and_no_more, 3);
    ADD(s, qos_retain_and_size_go_as_far_as_the_broker_goes);
    ADD(s, a_lowered_qos_counts_at_a_loss);
    ADD(s, the_keep_alive_of_the_broker_counts);
    ADD(s, reasons_of_puback_become_results);
    ADD(s, a_pubrec_with_an_error_ends_the_exchange);
    ADD(s, a_refused_subscription_is_told);
    ADD(s, a_session_that_is_taken_over_is_called_that);
    ADD(s, refusals_of_connect_have_words);
    ADD(s, the_expiry_of_a_message_comes_with_it);
    return run_suite(s);
}
