/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon and a mosquitto that sends one copy of a message per matching subscription. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

enum { MESSAGES = 20, PACKET = 64 };

static struct broker broker;
static struct daemon gateway;

static void start_with(const char *version)
{
    char more[128];
    snprintf(more, sizeof more, "[topics]\n5 = p/1/x\n[broker]\nversion = %s\n", version);
    broker_start(&broker, "allow_duplicate_messages true");
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
}

static void start(void)
{
    start_with("3.1.1");
}

static void stop(void)
{
    ck_assert_int_eq(daemon_end(&gateway, SIGTERM), 0);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    broker_stop(&broker);
}

static size_t octets(const char *hex, unsigned out[PACKET])
{
    size_t n = 0;
    char *end = NULL;
    for (const char *at = hex; n < PACKET; at = end) {
        out[n] = (unsigned)strtoul(at, &end, 16);
        if (end == at)
            break;
        n++;
    }
    return n;
}

/* Plays a node for `for_ms` of silence: says REGACK and PUBACK, and counts the copies of each
 * message, whose payload is its number in two digits. */
static void count(struct node *n, int for_ms, unsigned copies[MESSAGES])
{
    char hex[512];
    memset(copies, 0, MESSAGES * sizeof copies[0]);
    while (node_hear(n, hex, sizeof hex, for_ms)) {
        unsigned o[PACKET];
        char reply[64] = "";
        const size_t len = octets(hex, o);
        ck_assert_msg(len > 5 && (o[1] == 0x0A || o[1] == 0x0C), "unexpected: %s", hex);
        if (o[1] == 0x0A) {
            snprintf(reply, sizeof reply, "07 0B %02X %02X %02X %02X 00", o[2], o[3], o[4], o[5]);
        } else {
            ck_assert_uint_eq(len, 9);
            const unsigned number = (o[7] - '0') * 10 + (o[8] - '0');
            ck_assert_uint_lt(number, MESSAGES);
            copies[number] += (o[2] & 0x80) == 0; /* what the gateway repeats is no other copy */
            if ((o[2] & 0x60) == 0x20)
                snprintf(reply, sizeof reply, "07 0D %02X %02X %02X %02X 00", o[3], o[4], o[5],
                         o[6]);
        }
        if (reply[0] != '\0')
            node_say(n, reply);
    }
}

static void publish(struct observer *o)
{
    for (unsigned i = 0; i < MESSAGES; i++) {
        char payload[8];
        snprintf(payload, sizeof payload, "%02u", i);
        observer_publish(o, "p/1/x", payload, (int)(i % 3), false);
    }
}

static void expect_copies(struct node *n, unsigned each)
{
    unsigned copies[MESSAGES];
    count(n, 500, copies);
    for (unsigned i = 0; i < MESSAGES; i++)
        ck_assert_msg(copies[i] == each, "%u copies of message %u", copies[i], i);
}

static void subscribe(struct node *n, const char *client_id, const char *request, const char *ack)
{
    node_open(n, gateway.port);
    node_connect(n, client_id);
    node_say(n, request);
    node_expect(n, ack);
}

#define WIDE_REQUEST     "08 12 20 00 01 70 2F 23" /* p/# at QoS 1 */
#define WIDE_ACK         "08 13 20 00 00 00 01 00"
#define MIDDLE_REQUEST   "0A 12 20 00 01 70 2F 2B 2F 78" /* p/+/x at QoS 1 */
#define NARROW_REQUEST   "07 12 01 00 01 00 05"          /* predefined 5: p/1/x at QoS 0 */
#define NARROW_ACK       "08 13 00 00 05 00 01 00"
#define CROSSING_REQUEST "0A 12 20 00 01 70 2F 31 2F 23" /* p/1/# at QoS 1 */

START_TEST(nested_filters_of_several_nodes_bring_each_message_once)
{
    start();
    struct observer *o = observer_start(broker.port, "nothing");
    struct node wide;
    struct node middle;
    struct node narrow;
    subscribe(&middle, "middle", MIDDLE_REQUEST, WIDE_ACK);
    subscribe(&narrow, "narrow", NARROW_REQUEST, NARROW_ACK); /* covered when it comes */
    subscribe(&wide, "wide", WIDE_REQUEST, WIDE_ACK);         /* covers what is there */
    node_quiet(&wide, 1000);                                  /* until narrow has left the broker */
    publish(o);
    expect_copies(&wide, 1);
    expect_copies(&middle, 1);
    expect_copies(&narrow, 1);
    node_say(&wide, "08 14 00 00 02 70 2F 23"); /* the cover goes */
    node_expect(&wide, "04 15 00 02");
    node_quiet(&wide, 500);
    publish(o);
    expect_copies(&middle, 1);
    expect_copies(&narrow, 1);
    node_quiet(&wide, 1);
    node_close(&wide);
    node_close(&middle);
    node_close(&narrow);
    observer_stop(o);
    stop();
}

END_TEST

START_TEST(a_retained_message_reaches_the_node_whose_filter_is_covered)
{
    start();
    struct observer *o = observer_start(broker.port, "nothing");
    observer_publish(o, "p/1/x", "07", 1, true);
    struct node wide;
    struct node narrow;
    unsigned copies[MESSAGES];
    subscribe(&wide, "wide", WIDE_REQUEST, WIDE_ACK);
    count(&wide, 500, copies);
    ck_assert_uint_eq(copies[7], 1);
    subscribe(&narrow, "narrow", NARROW_REQUEST, NARROW_ACK);
    count(&narrow, 500, copies);
    ck_assert_uint_eq(copies[7], 1);
    node_quiet(&wide, 1); /* has had it */
    node_close(&wide);
    node_close(&narrow);
    observer_stop(o);
    stop();
}

END_TEST

static void expect_crossing(const char *version, unsigned copies)
{
    start_with(version);
    struct observer *o = observer_start(broker.port, "nothing");
    struct node first;
    struct node second;
    subscribe(&first, "first", MIDDLE_REQUEST, WIDE_ACK);
    subscribe(&second, "second", CROSSING_REQUEST, WIDE_ACK);
    publish(o);
    expect_copies(&first, copies);
    expect_copies(&second, copies);
    node_close(&first);
    node_close(&second);
    observer_stop(o);
    stop();
}

/* It also proves that this broker sends copies. */
START_TEST(crossing_filters_bring_a_copy_each_over_mqtt_3_1_1)
{
    expect_crossing("3.1.1", 2);
}

END_TEST

/* They are told apart by their subscription identifiers. */
START_TEST(crossing_filters_bring_each_message_once_over_mqtt_5)
{
    expect_crossing("5", 1);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("covering");
    TCase *copies = tcase_create("copies");
    tcase_set_timeout(copies, 60);
    tcase_add_test(copies, nested_filters_of_several_nodes_bring_each_message_once);
    tcase_add_test(copies, a_retained_message_reaches_the_node_whose_filter_is_covered);
    tcase_add_test(copies, crossing_filters_bring_a_copy_each_over_mqtt_3_1_1);
    tcase_add_test(copies, crossing_filters_bring_each_message_once_over_mqtt_5);
    suite_add_tcase(suite, copies);
    return run_suite(suite);
}
