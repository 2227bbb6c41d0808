/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes with messages to brokers of MQTT 5: user properties and expiry. To the octet against a broker
 * that the test plays, and from the packet of a node to mosquitto_sub.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/origin.h"

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/script_v5.h"
#include "e2e/subscriber.h"

enum { ALL = (1 << ORIGIN_FIELDS) - 1, LINE = 1024 };

/* ---- to the octet ---------------------------------------------------------------------------- */

/* A message "x" to "t" that came from client "n", with LQI 7, and in between what nobody knows. */
static struct body *some_body(void)
{
    uint8_t fields[64];
    struct writer w = wr_to(fields, sizeof fields);
    origin_put(&w, ORIGIN_CLIENT, bytes_str("n"));
    wr_bytes(&w, bytes_of("\x63\x02zz", 4)); /* of a later version */
    origin_put(&w, ORIGIN_LQI, bytes_str("7"));
    origin_put(&w, ORIGIN_CLIENT, bytes_str("again"));
    return body_new_from(bytes_str("x"), bytes_of(fields, w.len));
}

static void submit_from(uint64_t token, uint32_t age_s)
{
    struct body *const body = some_body();
    mqtt_submit(probe.m, &(struct up_request){.type = UP_PUBLISH,
                                              .token = token,
                                              .topic = bytes_str("t"),
                                              .body = body,
                                              .qos = 1,
                                              .age_s = age_s});
    mqtt_flush(probe.m);
    body_unref(body);
}

static void start_with(enum mqtt_version version, unsigned properties, uint32_t expiry_s)
{
    struct mqtt_options o = probe_options(&probe, port);
    o.client_id = "five";
    o.version = version;
    o.user_properties = properties;
    o.message_expiry_s = expiry_s;
    o.gateway = "gw";
    probe_start(&probe, &o);
}

START_TEST(what_is_wanted_and_known_goes_with_the_message)
{
    start_with(MQTT_5, ALL, 0);
    WELCOME();
    submit_from(1, 0);
    /* clang-format off */
    EXPECT(0x32, 42, 0, 1, 't', 0, 1, 35,
           0x26, 0, 7, 'g', 'a', 't', 'e', 'w', 'a', 'y', 0, 2, 'g', 'w',
           0x26, 0, 6, 'c', 'l', 'i', 'e', 'n', 't', 0, 1, 'n',
           0x26, 0, 3, 'l', 'q', 'i', 0, 1, '7',
           'x');
    /* clang-format on */
    stop();
}

END_TEST

START_TEST(only_what_is_wanted_goes_with_it)
{
    start_with(MQTT_5, 1U << ORIGIN_LQI | 1U << ORIGIN_TIME, 0);
    WELCOME();
    submit_from(1, 0);
    EXPECT(0x32, 16, 0, 1, 't', 0, 1, 9, 0x26, 0, 3, 'l', 'q', 'i', 0, 1, '7', 'x');
    stop();
}

END_TEST

START_TEST(a_message_expires_earlier_by_what_it_has_waited)
{
    start_with(MQTT_5, 0, 60);
    WELCOME();
    submit_from(1, 0);
    EXPECT(0x32, 12, 0, 1, 't', 0, 1, 5, 2, 0, 0, 0, 60, 'x');
    submit_from(2, 50);
    EXPECT(0x32, 12, 0, 1, 't', 0, 2, 5, 2, 0, 0, 0, 10, 'x');
    submit_from(3, 70); /* it was on its way already: now or never */
    EXPECT(0x32, 12, 0, 1, 't', 0, 3, 5, 2, 0, 0, 0, 1, 'x');
    stop();
}

END_TEST

START_TEST(to_a_broker_of_3_1_1_nothing_is_added)
{
    start_with(MQTT_3_1_1, ALL, 60);
    ck_assert_uint_eq(asked(), V3_1_1);
    purge(V3_1_1);
    ck_assert_uint_eq(asked(), V3_1_1);
    SAY(0x20, 2, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    submit_from(1, 0);
    EXPECT(0x32, 6, 0, 1, 't', 0, 1, 'x');
    stop();
}

END_TEST

/* Without them it fits. */
START_TEST(properties_make_no_message_too_large)
{
    start_with(MQTT_5, ALL, 60);
    WELCOME(0x27, 0, 0, 0, 40);
    submit_from(1, 0);
    EXPECT(0x32, 7, 0, 1, 't', 0, 1, 0, 'x');
    stop();
}

END_TEST

/* ---- from the node to a subscriber ----------------------------------------------------------- */

static struct broker broker;
static struct daemon gateway;
static struct node dev;

static void start_all(const char *more)
{
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    subscriber_start(&broker, &gateway);
    node_open(&dev, gateway.port);
    node_connect(&dev, "dev");
    node_register(&dev, "a");
}

static void stop_all(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    subscriber_stop();
    node_close(&dev);
    broker_stop(&broker);
}

static const char everything[] = ""
                                 "[broker]\nversion = 5\nmessage_expiry = 1h\n"
                                 "user_properties = time, gateway,client, link,address,rssi, lqi\n";

/* The year is this one's, or the next. */
static void expect_line(const char *text, const char *message, const char *least, const char *most)
{
    char head[LINE];
    unsigned expiry, year, month, day, hour, minute, second, ms;
    char address[64];
    ck_assert_str_eq(strtok(strcpy(head, text), "["), message);
    const char *const rest = strchr(text, '[');
    ck_assert_ptr_nonnull(rest);
    ck_assert_msg(sscanf(rest,
                         "[%u] gateway:e2e link:test address:%63s time:%u-%u-%uT%u:%u:%u.%uZ "
                         "client:dev",
                         &expiry, address, &year, &month, &day, &hour, &minute, &second, &ms) == 9,
                  "%s", text);
    ck_assert_ptr_nonnull(strstr(text, " client:dev"));
    ck_assert_int_eq(strncmp(address, "127.0.0.1:", 10), 0);
    ck_assert_uint_ge(expiry, (unsigned)atoi(least));
    ck_assert_uint_le(expiry, (unsigned)atoi(most));
    ck_assert_uint_ge(year, 2024);
}

START_TEST(a_message_tells_where_it_came_from)
{
    start_all(everything);
    node_publish(&dev, 0x20, 1, 'x');
    node_expect_puback(&dev, 1);
    expect_line(subscriber_line(), "a x ", "3590", "3600");
    node_publish(&dev, 0x00, 0, 'y');
    expect_line(subscriber_line(), "a y ", "3590", "3600");
    node_publish(&dev, 0x40, 2, 'z');
    expect_line(subscriber_line(), "a z ", "3590", "3600");
    node_say(&dev, "07 0C 20 00 01 00 03"); /* empty, and still from somewhere */
    expect_line(subscriber_line(), "a  ", "3590", "3600");
    stop_all();
}

END_TEST

START_TEST(what_waits_in_the_store_keeps_its_origin_over_a_restart)
{
    char first[LINE];
    start_all(everything);
    node_publish(&dev, 0x20, 1, 'x');
    node_expect_puback(&dev, 1);
    snprintf(first, sizeof first, "%s", strstr(subscriber_line(), "time:"));
    subscriber_stop();
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    node_publish(&dev, 0x20, 2, 'y');
    node_expect_puback(&dev, 2);
    node_say(&dev, "07 0C 20 00 01 00 03");
    node_expect_puback(&dev, 3);
    daemon_crash(&gateway);
    broker_start_again(&broker);
    subscriber_start(&broker, &gateway);
    daemon_again(&gateway);
    expect_line(subscriber_line(), "a y ", "3000", "3600");
    expect_line(subscriber_line(), "a  ", "3000", "3600");
    stop_all();
}

END_TEST

START_TEST(without_the_keys_nothing_is_added)
{
    start_all("[broker]\nversion = 5\n");
    node_publish(&dev, 0x20, 1, 'x');
    ck_assert_str_eq(subscriber_line(), "a x [] ");
    stop_all();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("properties");
    ADD(s, what_is_wanted_and_known_goes_with_the_message);
    ADD(s, only_what_is_wanted_goes_with_it);
    ADD(s, a_message_expires_earlier_by_what_it_has_waited);
    ADD(s, to_a_broker_of_3_1_1_nothing_is_added);
    ADD(s, properties_make_no_message_too_large);
    ADD(s, a_message_tells_where_it_came_from);
    ADD(s, what_waits_in_the_store_keeps_its_origin_over_a_restart);
    ADD(s, without_the_keys_nothing_is_added);
    return run_suite(s);
}
