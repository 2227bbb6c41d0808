/* SPDX-License-Identifier: Apache-2.0 */
/* What a broker does not take, or not now, and why it hangs up. */
#include <stdlib.h>
#include <string.h>

#include "e2e/script_v5.h"

static void start_with_will(enum mqtt_version version, uint8_t max_qos)
{
    struct body *const body = body_new(bytes_str("gone"));
    struct mqtt_options o = probe_options(&probe, port);
    o.client_id = "will";
    o.version = version;
    o.session = MQTT_SESSION_CLEAN;
    o.max_qos = max_qos;
    o.will = (struct mqtt_will){.topic = bytes_str("w"), .body = body, .qos = 2, .retain = true};
    probe_start(&probe, &o);
    body_unref(body);
}

struct asked_will {
    unsigned qos;
    bool retain;
};

static struct asked_will asked_will(void)
{
    uint8_t packet[ROOM];
    hear_connect(packet);
    ck_assert(packet[9] & 0x04);
    return (struct asked_will){.qos = packet[9] >> 3 & 3, .retain = (packet[9] & 0x20) != 0};
}

static void expect_will(unsigned qos, bool retain)
{
    const struct asked_will w = asked_will();
    ck_assert_uint_eq(w.qos, qos);
    ck_assert_int_eq(w.retain, retain);
}

/* ---- wills ----------------------------------------------------------------------------------- */

START_TEST(a_will_that_the_broker_refuses_comes_lesser_at_once)
{
    start_with_will(MQTT_5, 0);
    expect_will(2, true);
    SAY(0x20, 3, 0, 0x9B, 0);
    hang_up();
    expect_will(1, true);
    SAY(0x20, 3, 0, 0x9A, 0);
    hang_up();
    expect_will(1, false);
    SAY(0x20, 3, 0, 0x9B, 0);
    hang_up();
    expect_will(0, false);
    SAY(0x20, 3, 0, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert_uint_eq(probe.disconnected, 0);
    stop();
}

END_TEST

START_TEST(a_broker_that_refuses_even_the_least_will_has_refused)
{
    start_with_will(MQTT_5, 1);
    expect_will(0, true);
    SAY(0x20, 3, 0, 0x9B, 0);
    hang_up();
    PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    stop();
}

END_TEST

START_TEST(what_the_connack_says_holds_for_the_next_will)
{
    start_with_will(MQTT_5, 0);
    expect_will(2, true);
    SAY(0x20, 7, 0, 0, 4, 0x24, 1, 0x25, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    hang_up();
    expect_will(1, false);
    SAY(0x20, 3, 0, 0, 0); /* and when the broker can do more again ... */
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    hang_up();
    expect_will(2, true);
    stop();
}

END_TEST

START_TEST(the_configured_qos_is_the_wills_too)
{
    start_with_will(_i == 0 ? MQTT_3_1_1 : MQTT_5, 2);
    expect_will(1, true);
    stop();
}

END_TEST

/* ---- not now --------------------------------------------------------------------------------- */

/* Says no to the message so many times, and yes then; how long the gateway waited each time, which begins
 * when it is told, whenever the test hears of that. */
static void refuse(unsigned times, int64_t waited_ms[])
{
    uint8_t packet[ROOM];
    int64_t since_ms = probe_now_ms();
    for (unsigned i = 0; i <= times; i++) {
        const unsigned busy = probe.busy, ok = probe.ok;
        probe_publish(&probe, 1, "t", 1, 3);
        mqtt_flush(probe.m);
        hear(packet);
        waited_ms[i] = probe_now_ms() - since_ms;
        ck_assert_uint_eq(packet[0], 0x32);
        const size_t id_at = 5;
        since_ms = probe_now_ms();
        if (i == times)
            SAY(0x40, 2, packet[id_at], packet[id_at + 1]);
        else
            SAY(0x40, 3, packet[id_at], packet[id_at + 1], 0x97);
        PROBE_UNTIL(&probe, probe.busy > busy || probe.ok > ok, SOON_MS);
    }
}

START_TEST(who_has_no_room_is_asked_less_and_less_often_until_there_is)
{
    int64_t ms[4];
    start(MQTT_5);
    WELCOME();
    refuse(3, ms);
    ck_assert_int_lt(ms[0], 400);
    for (unsigned i = 1; i <= 3; i++) {
        ck_assert_int_ge(ms[i], (250 << i) - 50);
        ck_assert_int_lt(ms[i], (250 << i) + 450);
    }
    ck_assert_str_eq(probe.busy_why, "a quota of the broker is exceeded");
    refuse(1, ms); /* from the start */
    ck_assert_int_lt(ms[0], 400);
    ck_assert_int_lt(ms[1], 950);
    ck_assert_uint_eq(probe.ok, 2);
    stop();
}

END_TEST

/* The loop is at something else meanwhile. */
START_TEST(who_has_refused_is_known_when_its_address_is_none_of_ours_any_more)
{
    uint8_t packet[ROOM];
    char at[sizeof probe.at];
    char elsewhere[64];
    start(MQTT_5);
    WELCOME();
    memcpy(at, probe.at, sizeof at);
    probe_publish(&probe, 1, "some/topic", 1, 3);
    mqtt_flush(probe.m);
    hear(packet);
    SAY(0x40, 3, packet[14], packet[15], 0x97);
    struct mqtt_options o = probe_options(&probe, port);
    snprintf(elsewhere, sizeof elsewhere, "mqtt://localhost:%u", port);
    o.address = elsewhere;
    o.version = MQTT_5;
    ck_assert_int_eq(mqtt_change(probe.m, &o, true), 0);
    expect_goodbye(V5);
    ck_assert_uint_eq(asked(), V5);
    purge(V5);
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 3, 0, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    ck_assert_str_eq(probe.at, elsewhere);
    ck_assert_uint_eq(probe.busy, 1);
    ck_assert_str_eq(probe.busy_topic, "some/topic");
    ck_assert_str_eq(probe.busy_why, "a quota of the broker is exceeded");
    ck_assert_str_eq(probe.busy_at, at);
    stop();
}

END_TEST

/* ---- the end --------------------------------------------------------------------------------- */

START_TEST(only_a_reason_explains_the_end)
{
    static const struct {
        uint8_t reason;
        bool explained, taken_over;
    } ends[] = {
        {0x8B, true,  false},
        {0x89, true,  false},
        {0x97, true,  false},
        {0x8E, false, true },
        {0x00, false, false},
        {0x80, false, false},
    };

    start(MQTT_5);
    WELCOME();
    for (unsigned i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        SAY(0xE0, 1, ends[i].reason);
        PROBE_UNTIL(&probe, probe.disconnected == i + 1, SOON_MS);
        ck_assert_msg(probe.explained == ends[i].explained &&
                          probe.taken_over == ends[i].taken_over,
                      "reason 0x%02X", ends[i].reason);
        hang_up();
        resume();
        PROBE_UNTIL(&probe, probe.connected == i + 2, SOON_MS);
    }
    hang_up();
    PROBE_UNTIL(&probe, probe.disconnected == sizeof ends / sizeof ends[0] + 1, SOON_MS);
    ck_assert(!probe.explained && !probe.taken_over);
    resume();
    PROBE_UNTIL(&probe, probe.connected == sizeof ends / sizeof ends[0] + 2, SOON_MS);
    SAY(0x40, 1, 0); /* against the rules, so we end it */
    PROBE_UNTIL(&probe, probe.disconnected == sizeof ends / sizeof ends[0] + 2, SOON_MS);
    ck_assert(probe.explained);
    stop();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt_refusals");
    ADD(s, a_will_that_the_broker_refuses_comes_lesser_at_once);
    ADD(s, a_broker_that_refuses_even_the_least_will_has_refused);
    ADD(s, what_the_connack_says_holds_for_the_next_will);
    LOOP(s, the_configured_qos_is_the_wills_too, 2);
    ADD(s, who_has_no_room_is_asked_less_and_less_often_until_there_is);
    ADD(s, who_has_refused_is_known_when_its_address_is_none_of_ours_any_more);
    ADD(s, only_a_reason_explains_the_end);
    return run_suite(s);
}
