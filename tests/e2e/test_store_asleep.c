/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every state that a sleeping node and its will can be in when the gateway is killed: asleep with and
 * without a buffer, awake in the middle of it, away, past its time, lost.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

/* That a message of QoS 1 has arrived is written with other things, after half a second at the latest. */
enum { ROOM = 64, LAZY_MS = 700, TEST_TIMEOUT_S = 60 };

static struct broker broker;
static struct daemon gateway;
static struct observer *observer;
static struct node dev;

static void start_with(const char *more)
{
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    observer = observer_start(broker.port, "#");
    node_open(&dev, gateway.port);
}

static void start_all(void)
{
    start_with("");
}

static void stop_all(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    if (observer != NULL)
        observer_stop(observer);
    node_close(&dev);
    broker_stop(&broker);
}

/* With a Message Expiry Interval of MQTT 5. */
static void command_for(const char *payload, const char *expiry_s)
{
    char port[8];
    snprintf(port, sizeof port, "%u", broker.port);
    const char *const words[] = {"mosquitto_pub",
                                 "-V",
                                 "5",
                                 "-p",
                                 port,
                                 "-q",
                                 "1",
                                 "-t",
                                 "c/1",
                                 "-m",
                                 payload,
                                 "-D",
                                 "publish",
                                 "message-expiry-interval",
                                 expiry_s,
                                 NULL};
    broker_run(&broker, words);
    observer_expect(observer, "c/1", payload, 1);
}

static void crash(void)
{
    daemon_crash(&gateway);
    daemon_again(&gateway);
}

/* A command, and a moment for it to reach the gateway. */
static void command(const char *payload, int qos)
{
    observer_publish(observer, "c/1", payload, qos, false);
    observer_expect(observer, "c/1", payload, qos);
    poll(NULL, 0, 200);
}

/* Subscribed to "c/1" with QoS 2, asleep for 60 s. */
static void fall_asleep(unsigned flags)
{
    node_connect_with(&dev, flags);
    node_subscribe(&dev, 2);
    node_say(&dev, "04 18 00 3C");
    node_expect(&dev, "02 18");
}

/* What came before, repetitions among it, is nothing any more. */
static void say_ping(void)
{
    char hex[ROOM];
    while (node_hear(&dev, hex, sizeof hex, 0))
        ;
    node_say(&dev, "05 16 64 65 76");
}

/* The next packet that is none of registering, which is answered. */
static void hear(char hex[ROOM])
{
    char ack[ROOM];
    ck_assert_msg(node_hear(&dev, hex, ROOM, 5000), "nothing comes:\n%s", daemon_log_end(&gateway));
    if (strncmp(hex + 3, "0A", 2) != 0)
        return;
    snprintf(ack, sizeof ack, "07 0B %.5s %.5s 00", hex + 6, hex + 12);
    node_say(&dev, ack);
    hear(hex);
}

/* PUBLISH of QoS 1 with that letter, which is acknowledged or not. */
static void take(char letter, bool acknowledged)
{
    char hex[ROOM], ack[ROOM], wanted[3];
    hear(hex);
    ck_assert_msg(strncmp(hex + 3, "0C", 2) == 0, "no PUBLISH: %s", hex);
    snprintf(wanted, sizeof wanted, "%02X", (unsigned char)letter);
    ck_assert_str_eq(hex + 21, wanted);
    snprintf(ack, sizeof ack, "07 0D %.5s %.5s 00", hex + 9, hex + 15);
    if (acknowledged)
        node_say(&dev, ack);
}

/* CONNECT of "dev" with a will on w/1, and a keep alive in seconds. */
static void connect_with_will(const char *connect, const char *topic)
{
    node_say(&dev, connect);
    node_expect(&dev, "02 06");
    node_say(&dev, topic);
    node_expect(&dev, "02 08");
    node_say(&dev, "03 09 21");
    node_expect(&dev, "03 05 00");
}

START_TEST(asleep_with_nothing_waiting)
{
    start_all();
    fall_asleep(_i == 0 ? 0x00 : 0x04);
    crash();
    say_ping();
    node_expect(&dev, "02 17");
    stop_all();
}

END_TEST

START_TEST(asleep_and_the_message_comes_while_the_gateway_is_down)
{
    start_all();
    fall_asleep(0x00);
    daemon_crash(&gateway);
    observer_publish(observer, "c/1", "a", 1, false);
    daemon_again(&gateway);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    poll(NULL, 0, 500);
    node_quiet(&dev, 200); /* asleep it is still */
    crash();
    say_ping();
    take('a', true);
    node_expect(&dev, "02 17");
    stop_all();
}

END_TEST

START_TEST(awake_in_the_middle_of_its_buffer)
{
    start_all();
    fall_asleep(_i == 0 ? 0x00 : 0x04);
    for (const char *letter = "abc"; *letter != '\0'; letter++)
        command((char[]){*letter, '\0'}, 1);
    say_ping();
    take('a', true);
    take('b', false);
    poll(NULL, 0, LAZY_MS);
    crash();
    say_ping();
    take('b', true);
    take('c', true);
    node_expect(&dev, "02 17");
    poll(NULL, 0, LAZY_MS);
    crash();
    say_ping();
    node_expect(&dev, "02 17");
    stop_all();
}

END_TEST

/* Killed in between, or not; time without the gateway counts. */
START_TEST(messages_that_expire)
{
    start_with("[broker]\nversion = 5\n");
    fall_asleep(_i == 0 ? 0x00 : 0x04);
    command_for("a", "2");
    command_for("b", "3600");
    command("c", 1);
    if (_i == 0)
        daemon_crash(&gateway);
    poll(NULL, 0, 4000);
    if (_i == 0)
        daemon_again(&gateway);
    say_ping();
    take('b', true);
    take('c', true);
    node_expect(&dev, "02 17");
    daemon_wait_log(&gateway, "why=drop.expired", 5000);
    stop_all();
}

END_TEST

START_TEST(away_with_a_stored_session)
{
    start_all();
    fall_asleep(0x00);
    node_say(&dev, "02 18");
    node_expect(&dev, "02 18");
    command("a", 1);
    crash();
    daemon_wait_log(&gateway, "broker.connected", 10000);
    command("b", 1);
    crash();
    node_connect_with(&dev, 0x00);
    take('a', true);
    take('b', true);
    stop_all();
}

END_TEST

/* Nobody could hear it while the gateway was down: it has all of its time again, and then it is
 * lost. */
START_TEST(asleep_beyond_its_time_while_the_gateway_is_down)
{
    start_all();
    connect_with_will("09 04 08 01 00 3C 64 65 76", "06 07 20 77 2F 31");
    node_say(&dev, "04 18 00 04");
    node_expect(&dev, "02 18");
    daemon_crash(&gateway);
    poll(NULL, 0, 7000);
    daemon_again(&gateway);
    observer_quiet(observer, 2000);
    observer_expect(observer, "w/1", "!", 1);
    poll(NULL, 0, LAZY_MS);
    crash();
    observer_quiet(observer, 4000); /* once */
    node_say(&dev, "02 16");
    node_expect(&dev, "02 18");
    stop_all();
}

END_TEST

/* The node was lost during an outage; of each QoS. */
START_TEST(its_will_waits_for_the_broker)
{
    static const char *const topics[] = {"06 07 00 77 2F 31", "06 07 20 77 2F 31",
                                         "06 07 40 77 2F 31"};
    start_all();
    connect_with_will("09 04 0C 01 00 01 64 65 76", topics[_i]);
    observer_stop(observer);
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    daemon_wait_log(&gateway, "new=lost", 10000);
    poll(NULL, 0, 200);
    crash();
    poll(NULL, 0, 1000);
    daemon_crash(&gateway);
    broker_start_again(&broker);
    observer = observer_start(broker.port, "#");
    daemon_again(&gateway);
    observer_expect(observer, "w/1", "!", _i);
    observer_quiet(observer, 500);
    stop_all();
}

END_TEST

/* The node is lost, and its will on its way to a broker that never reads it. */
START_TEST(its_will_is_on_its_way)
{
    static const char *const topics[] = {"06 07 20 77 2F 31", "06 07 40 77 2F 31"};
    start_all();
    connect_with_will("09 04 0C 01 00 01 64 65 76", topics[_i]);
    observer_stop(observer);
    broker_pause(&broker);
    daemon_wait_log(&gateway, "new=lost", 10000);
    poll(NULL, 0, 1000);
    daemon_crash(&gateway);
    broker_end(&broker, SIGKILL);
    broker_start_again(&broker);
    observer = observer_start(broker.port, "#");
    daemon_again(&gateway);
    observer_expect(observer, "w/1", "!", _i + 1);
    stop_all();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("asleep");
    TCase *t = tcase_create("asleep");
    tcase_set_timeout(t, TEST_TIMEOUT_S);
    tcase_add_loop_test(t, asleep_with_nothing_waiting, 0, 2);
    tcase_add_test(t, asleep_and_the_message_comes_while_the_gateway_is_down);
    tcase_add_loop_test(t, awake_in_the_middle_of_its_buffer, 0, 2);
    tcase_add_loop_test(t, messages_that_expire, 0, 2);
    tcase_add_test(t, away_with_a_stored_session);
    tcase_add_test(t, asleep_beyond_its_time_while_the_gateway_is_down);
    tcase_add_loop_test(t, its_will_waits_for_the_broker, 0, 3);
    tcase_add_loop_test(t, its_will_is_on_its_way, 0, 2);
    suite_add_tcase(s, t);
    return run_suite(s);
}
