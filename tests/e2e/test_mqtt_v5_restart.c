/* SPDX-License-Identifier: Apache-2.0 */
/* MQTT 5 with a broker played by the test: what is kept over a restart. */
#include "e2e/script_v5.h"

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

START_TEST(an_exchange_goes_on_in_the_next_process)
{
    open_store();
    start(MQTT_AUTO);
    WELCOME();
    publish_spooled(7);
    EXPECT(0x34, 7, 0, 1, 't', 0, 1, 0, 'x');
    if (_i == 1) {
        SAY(0x50, 2, 0, 1);
        EXPECT(0x62, 2, 0, 1);
    }
    stop();
    start(MQTT_AUTO);
    resume();
    if (_i == 0) {
        EXPECT(0x3C, 7, 0, 1, 't', 0, 1, 0, 'x');
        SAY(0x50, 2, 0, 1);
    }
    EXPECT(0x62, 2, 0, 1);
    SAY(0x70, 2, 0, 1);
    PROBE_UNTIL(&probe, probe.spooled_ok == 7, SOON_MS);
    ck_assert_uint_eq(waiting(), 0);
    stop();
}

END_TEST

START_TEST(a_spooled_message_that_the_broker_has_no_room_for_stays_in_the_spool)
{
    open_store();
    start(MQTT_5);
    WELCOME();
    publish_spooled(7);
    EXPECT(0x34, 7, 0, 1, 't', 0, 1, 0, 'x');
    ck_assert_uint_eq(waiting(), 0); /* it is with Paho */
    SAY(0x50, 3, 0, 1, 0x97);
    PROBE_UNTIL(&probe, probe.spooled_busy == 7, SOON_MS);
    ck_assert_uint_eq(waiting(), 1);
    publish_spooled(8);
    EXPECT(0x34, 7, 0, 1, 't', 0, 2, 0, 'x');
    SAY(0x50, 3, 0, 2, 0x83);
    PROBE_UNTIL(&probe, probe.refused == 1, SOON_MS);
    ck_assert_uint_eq(waiting(), 1); /* refused for good, it is gone */
    stop();
}

END_TEST

START_TEST(a_message_of_qos_2_is_passed_on_once_though_it_is_repeated_to_the_next_process)
{
    open_store();
    start(MQTT_5);
    WELCOME();
    SAY(0x34, 7, 0, 1, 't', 0, 9, 0, 'x');
    PROBE_UNTIL(&probe, probe.messages == 1, SOON_MS);
    ck_assert_uint_ne(probe.last.journal, 0);
    EXPECT(0x50, 2, 0, 9);
    stop();
    start(MQTT_5);
    resume();
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    SAY(0x3C, 7, 0, 1, 't', 0, 9, 0, 'x');
    EXPECT(0x50, 2, 0, 9);
    SAY(0x62, 2, 0, 9);
    EXPECT(0x70, 2, 0, 9);
    probe_turn(&probe, 100);
    ck_assert_uint_eq(probe.messages, 0);
    SAY(0x34, 7, 0, 1, 't', 0, 9, 0, 'y'); /* the id is free again */
    PROBE_UNTIL(&probe, probe.messages == 1, SOON_MS);
    ck_assert_str_eq(probe.last_body, "y");
    stop();
}

END_TEST

START_TEST(what_3_1_1_left_behind_goes_on_in_3_1_1)
{
    open_store();
    start(MQTT_3_1_1);
    ck_assert_uint_eq(asked(), V3_1_1);
    purge(V3_1_1);
    ck_assert_uint_eq(asked(), V3_1_1);
    SAY(0x20, 2, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    publish_spooled(7);
    EXPECT(0x34, 6, 0, 1, 't', 0, 1, 'x');
    stop();
    start(_i == 0 ? MQTT_AUTO : MQTT_5);
    if (_i == 0) {
        ck_assert_uint_eq(asked(), V3_1_1);
        SAY(0x20, 2, 1, 0);
        EXPECT(0x3C, 6, 0, 1, 't', 0, 1, 'x');
    } else {
        WELCOME();
        PROBE_UNTIL(&probe, probe.spooled_busy == 7, SOON_MS);
        ck_assert_uint_eq(waiting(), 1);
    }
    stop();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt_v5_restart");
    LOOP(s, an_exchange_goes_on_in_the_next_process, 2);
    ADD(s, a_spooled_message_that_the_broker_has_no_room_for_stays_in_the_spool);
    ADD(s, a_message_of_qos_2_is_passed_on_once_though_it_is_repeated_to_the_next_process);
    LOOP(s, what_3_1_1_left_behind_goes_on_in_3_1_1, 2);
    return run_suite(s);
}
