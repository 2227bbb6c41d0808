/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the MQTT connection keeps in the store: exchanges of QoS 2 go on in the next process, with a
 * broker played by the test, octet by octet. A process ends as mqtt_stop() ends it, without time to
 * finish anything; the store, in memory, outlives it.
 */
#include <stdlib.h>
#include <string.h>

#include "e2e/mqtt_probe.h"
#include "e2e/script_broker.h"
#include "store.h"
#include "unit/suite.h"

static struct store *store;
static struct probe probe;

/* ---- the broker -------------------------------------------------------------------------------- */

/* Answers CONNECT, which must ask for a clean session or not. */
static void welcome(bool clean, bool session_present)
{
    uint8_t packet[ROOM];
    hear_connect(packet);
    ck_assert_uint_eq(packet[9] >> 1 & 1, clean);
    SAY(0x20, 2, session_present, 0);
}

/* The connection that wipes what is of somebody else. */
static void welcome_purge(void)
{
    welcome(true, false);
    EXPECT(0xE0, 0);
    hang_up();
}

/* ---- the gateway ------------------------------------------------------------------------------- */

static void ignore(void *arg)
{
    (void)arg;
}

static void open_store(void)
{
    struct store_options options = store_defaults();
    char error[200];
    options.durability = STORE_PROCESS;
    ck_assert_int_eq(store_open(&options, ignore, NULL, &store, error, sizeof error), 0);
    broker_open();
}

static void close_store(void)
{
    broker_close();
    store_close(store);
    store = NULL;
}

static void start_as(const char *client_id)
{
    struct mqtt_options o = probe_options(&probe, port);
    o.client_id = client_id;
    o.store = store;
    o.version = MQTT_3_1_1; /* which the script is in; test_mqtt_v5_restart.c has it in MQTT 5 */
    probe_start(&probe, &o);
}

static void start(void)
{
    start_as("keeper");
}

static void stop(void)
{
    probe_stop(&probe, 0);
    hang_up();
}

/* As the spool does it: stored first, then sent. */
static void publish_spooled(uint64_t number)
{
    struct body *body = body_new(bytes_str("x"));
    store_put(store,
              &(struct sn_record){
                  .type = SN_REC_SPOOL,
                  .spool = {.number = number, .topic = bytes_str("t"), .body = body, .qos = 2}
    });
    store_flush(store);
    mqtt_submit(probe.m, &(struct up_request){.type = UP_PUBLISH,
                                              .token = 1,
                                              .topic = bytes_str("t"),
                                              .body = body,
                                              .qos = 2,
                                              .spooled = number});
    mqtt_flush(probe.m);
    body_unref(body);
}

/* Number of spooled messages that the store would give out now. */
static size_t waiting(void)
{
    store_fetch(store, 0, 100, 1 << 20);
    for (const int64_t until_ms = probe_now_ms() + SOON_MS; probe_now_ms() < until_ms;) {
        struct store_event event;
        if (!store_next_event(store, &event)) {
            poll(NULL, 0, 5);
            continue;
        }
        if (event.type == STORE_FETCHED)
            return event.n;
    }
    ck_abort_msg("the store does not answer");
    return 0;
}

static void first_connection(void)
{
    start();
    welcome_purge();
    welcome(false, false);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
}

/* ---- from nodes -------------------------------------------------------------------------------- */

START_TEST(a_session_of_ours_is_not_wiped_by_the_next_process)
{
    first_connection();
    stop();
    start();
    welcome(false, true);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert(probe.session_present);
    stop();
}

END_TEST

START_TEST(another_client_id_means_another_session_which_is_wiped)
{
    first_connection();
    stop();
    start_as("other");
    welcome_purge();
    welcome(false, false);
    stop();
}

END_TEST

/* Nobody else would ever answer for it, and its node's later messages wait for that. */
START_TEST(what_was_under_way_in_another_session_comes_back_to_the_spool)
{
    for (int received = 0; received < 2; received++) {
        first_connection();
        publish_spooled(7);
        EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
        if (received) {
            SAY(0x50, 2, 0, 1);
            EXPECT(0x62, 2, 0, 1);
        }
        stop();
        start_as("other");
        PROBE_UNTIL(&probe, probe.spooled_ok == 7 || probe.spooled_busy == 7, SOON_MS);
        ck_assert_uint_eq(probe.spooled_ok, received ? 7 : 0);
        ck_assert_uint_eq(waiting(), 1); /* the spool is to delete it */
        welcome_purge();
        welcome(false, false);
        stop();
        close_store();
        open_store();
    }
}

END_TEST

/* It was killed, or keeps nothing: what it had not passed on it does not know any more. Met by the
 * next process, or by the one that has sent it. */
START_TEST(what_was_under_way_comes_back_when_the_broker_has_lost_its_session)
{
    const bool received = (_i & 1) != 0, restarted = (_i & 2) != 0;
    first_connection();
    publish_spooled(7);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    if (received) {
        SAY(0x50, 2, 0, 1);
        EXPECT(0x62, 2, 0, 1);
    }
    if (restarted) {
        stop();
        start();
    } else {
        hang_up();
        PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    }
    welcome(false, false);
    PROBE_UNTIL(&probe, probe.spooled_ok == 7 || probe.spooled_busy == 7, SOON_MS);
    ck_assert_uint_eq(probe.spooled_ok, received ? 7 : 0);
    ck_assert_uint_eq(probe.spooled_busy, received ? 0 : 7);
    PROBE_UNTIL(&probe, probe.connected == (restarted ? 1 : 2), SOON_MS);
    ck_assert_uint_eq(waiting(), 1); /* the spool is to delete it, or to send it again */
    publish_spooled(7);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    stop();
    start(); /* the session is ours */
    welcome(false, true);
    EXPECT(0x3C, 6, 0, 1, 't', 0, 1, 'x');
    stop();
}

END_TEST

START_TEST(a_publish_without_pubrec_is_repeated_by_the_next_process_under_its_packet_id)
{
    first_connection();
    publish_spooled(7);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    stop();
    start();
    welcome(false, true);
    EXPECT(0x3C, 6, 0, 1, 't', 0, 1, 'x');
    SAY(0x50, 2, 0, 1);
    EXPECT(0x62, 2, 0, 1);
    SAY(0x70, 2, 0, 1);
    PROBE_UNTIL(&probe, probe.spooled_ok == 7, SOON_MS);
    ck_assert_uint_eq(waiting(), 0);
    stop();
}

END_TEST

START_TEST(after_pubrec_the_next_process_sends_pubrel_and_never_the_message)
{
    first_connection();
    publish_spooled(7);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    SAY(0x50, 2, 0, 1);
    EXPECT(0x62, 2, 0, 1);
    stop();
    start();
    welcome(false, true);
    EXPECT(0x62, 2, 0, 1);
    SAY(0x70, 2, 0, 1);
    PROBE_UNTIL(&probe, probe.spooled_ok == 7, SOON_MS);
    ck_assert_uint_eq(waiting(), 0);
    stop();
}

END_TEST

START_TEST(what_the_next_process_sends_does_not_take_the_packet_id_of_a_resumed_message)
{
    first_connection();
    publish_spooled(7);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    stop();
    start();
    welcome(false, true);
    EXPECT(0x3C, 6, 0, 1, 't', 0, 1, 'x');
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    publish_spooled(8);
    EXPECT(0x34, 6, 0, 1, 't', 0, 2, 'x');
    SAY(0x50, 2, 0, 2);
    EXPECT(0x62, 2, 0, 2);
    SAY(0x70, 2, 0, 2);
    PROBE_UNTIL(&probe, probe.spooled_ok == 8, SOON_MS);
    stop();
}

END_TEST

START_TEST(a_completed_message_is_gone_from_the_spool_with_its_packet)
{
    first_connection();
    publish_spooled(7);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    SAY(0x50, 2, 0, 1);
    EXPECT(0x62, 2, 0, 1);
    SAY(0x70, 2, 0, 1);
    PROBE_UNTIL(&probe, probe.spooled_ok == 7, SOON_MS);
    ck_assert_uint_eq(waiting(), 0);
    stop();
    start();
    welcome(false, true);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    publish_spooled(8); /* the first packet: nothing was resumed */
    uint8_t packet[ROOM];
    hear(packet);
    ck_assert_uint_eq(packet[0], 0x34);
    stop();
}

END_TEST

START_TEST(qos_1_is_not_kept_and_comes_back_when_the_connection_breaks)
{
    first_connection();
    struct body *body = body_new(bytes_str("payload"));
    mqtt_submit(
        probe.m,
        &(struct up_request){
            .type = UP_PUBLISH, .token = 5, .topic = bytes_str("a/b"), .body = body, .qos = 1});
    mqtt_flush(probe.m);
    body_unref(body);
    uint8_t packet[ROOM];
    hear(packet);
    ck_assert_uint_eq(packet[0], 0x32);
    hang_up();
    PROBE_UNTIL(&probe, probe.answers[5].busy == 1, SOON_MS);
    ck_assert_str_eq(probe.busy_topic, "a/b");
    ck_assert_str_eq(probe.busy_body, "payload");
    stop();
    start();
    welcome(false, true);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    publish_spooled(8);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x'); /* nothing before it */
    stop();
}

END_TEST

/* ---- to nodes ---------------------------------------------------------------------------------- */

START_TEST(a_message_is_stored_before_it_is_acknowledged)
{
    first_connection();
    SAY(0x32, 6, 0, 1, 't', 0, 9, 'm');
    EXPECT(0x40, 2, 0, 9);
    PROBE_UNTIL(&probe, probe.messages == 1, SOON_MS);
    ck_assert_uint_ne(probe.last.journal, 0);
    stop();
}

END_TEST

START_TEST(a_received_qos_2_message_is_delivered_once_when_pubrel_comes_to_the_next_process)
{
    first_connection();
    SAY(0x34, 6, 0, 1, 't', 0, 9, 'm');
    EXPECT(0x50, 2, 0, 9);
    stop();
    start();
    welcome(false, true);
    SAY(0x62, 2, 0, 9);
    EXPECT(0x70, 2, 0, 9);
    PROBE_UNTIL(&probe, probe.messages == 1, SOON_MS);
    ck_assert_str_eq(probe.last_body, "m");
    stop();
    start();
    welcome(false, true);
    SAY(0x62, 2, 0, 9); /* the PUBCOMP was lost */
    EXPECT(0x70, 2, 0, 9);
    probe_turn(&probe, 100);
    ck_assert_uint_eq(probe.messages, 0);
    stop();
}

END_TEST

/* A broker owes nothing for QoS 0, so its silence says nothing, however long it lasts. */
START_TEST(a_stream_of_qos_0_alone_does_not_make_a_silent_broker_count_as_away)
{
    enum { LONGER_MS = 7500, PER_TURN = 500, TOKENS = 100000 };

    static uint8_t discard[1 << 18];
    const int64_t until_ms = probe_now_ms() + LONGER_MS;
    uint64_t octets = 0;
    first_connection();
    for (uint64_t token = 0; probe_now_ms() < until_ms && probe.disconnected == 0;) {
        for (unsigned i = 0; i < PER_TURN; i++)
            probe_publish(&probe, token++ % TOKENS, "t", 0, 200);
        probe_turn(&probe, 0);
        const ssize_t n = recv(peer, discard, sizeof discard, MSG_DONTWAIT);
        octets += n > 0 ? (uint64_t)n : 0;
    }
    ck_assert_msg(probe.disconnected == 0, "%s", probe.why);
    ck_assert_uint_gt(octets, 100000);
    stop();
}

END_TEST

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, open_store, close_store};

int main(void)
{
    Suite *s = suite_create("mqtt_keep");
    ADD(s, a_session_of_ours_is_not_wiped_by_the_next_process);
    ADD(s, another_client_id_means_another_session_which_is_wiped);
    ADD(s, what_was_under_way_in_another_session_comes_back_to_the_spool);
    LOOP(s, what_was_under_way_comes_back_when_the_broker_has_lost_its_session, 4);
    ADD(s, a_publish_without_pubrec_is_repeated_by_the_next_process_under_its_packet_id);
    ADD(s, after_pubrec_the_next_process_sends_pubrel_and_never_the_message);
    ADD(s, what_the_next_process_sends_does_not_take_the_packet_id_of_a_resumed_message);
    ADD(s, a_completed_message_is_gone_from_the_spool_with_its_packet);
    ADD(s, qos_1_is_not_kept_and_comes_back_when_the_connection_breaks);
    ADD(s, a_message_is_stored_before_it_is_acknowledged);
    ADD(s, a_received_qos_2_message_is_delivered_once_when_pubrel_comes_to_the_next_process);
    ADD(s, a_stream_of_qos_0_alone_does_not_make_a_silent_broker_count_as_away);
    return run_suite(s);
}
