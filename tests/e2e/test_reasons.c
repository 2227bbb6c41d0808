/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reason codes of MQTT 5, every one that a broker may give, and what the node hears: the gateway between a
 * broker that the test plays and a node over UDP. Without a store, so that nothing is tried again.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "e2e/daemon.h"
#include "e2e/script_v5.h"
#include "mqttsn/packet.h"

enum { PAUSE_MS = 700 /* after "not now" the gateway leaves the broker alone for a while */ };

static struct daemon gateway;
static struct node dev;

static void start_all(void)
{
    broker_open();
    daemon_start(&gateway, port, "[broker]\nversion = 5\n[store]\ndurability = off\n");
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 3, 0, 0, 0);
    expect_goodbye(V5);
    ck_assert_uint_eq(asked(), V5);
    SAY(0x20, 3, 0, 0, 0);
    daemon_wait_log(&gateway, "broker.connected", SOON_MS);
    node_open(&dev, gateway.port);
    node_connect(&dev, "dev");
    node_register(&dev, "a");
}

static void stop_all(void)
{
    const int status = daemon_end(&gateway, SIGKILL);
    ck_assert_int_eq(status, -SIGKILL);
    node_close(&dev);
    hang_up();
    close(listener);
}

struct mapping {
    uint8_t reason;
    uint8_t code; /* enum sn_return_code */
};

/* What a PUBACK or PUBREC may say (MQTT 5, 3.4.2.1), and what no rule of MQTT allows there. */
static const struct mapping of_publish[] = {
    {0x00, SN_ACCEPTED     }, /* success */
    {0x10, SN_ACCEPTED     }, /* no matching subscribers */
    {0x80, SN_NOT_SUPPORTED}, /* unspecified error */
    {0x83, SN_NOT_SUPPORTED}, /* implementation specific error */
    {0x87, SN_NOT_SUPPORTED}, /* not authorized */
    {0x88, SN_CONGESTION   }, /* server unavailable */
    {0x89, SN_CONGESTION   }, /* server busy */
    {0x90,
     SN_NOT_SUPPORTED      }, /* topic name invalid: never "invalid topic id", or the node registers anew for ever */
    {0x91, SN_NOT_SUPPORTED}, /* packet identifier in use */
    {0x93, SN_CONGESTION   }, /* receive maximum exceeded */
    {0x95, SN_NOT_SUPPORTED}, /* packet too large */
    {0x96, SN_CONGESTION   }, /* message rate too high */
    {0x97, SN_CONGESTION   }, /* quota exceeded */
    {0x99, SN_NOT_SUPPORTED}, /* payload format invalid */
    {0x9A, SN_NOT_SUPPORTED}, /* retain not supported */
    {0x9B, SN_NOT_SUPPORTED}, /* QoS not supported */
    {0xFF, SN_NOT_SUPPORTED}, /* nothing that is known */
};

/* A SUBACK (3.9.3). */
static const struct mapping of_subscribe[] = {
    {0x00, SN_ACCEPTED     },
    {0x01, SN_ACCEPTED     },
    {0x02, SN_ACCEPTED     },
    {0x80, SN_NOT_SUPPORTED}, /* unspecified error */
    {0x83, SN_NOT_SUPPORTED}, /* implementation specific error */
    {0x87, SN_NOT_SUPPORTED}, /* not authorized */
    {0x8F, SN_NOT_SUPPORTED}, /* topic filter invalid */
    {0x91, SN_NOT_SUPPORTED}, /* packet identifier in use */
    {0x97, SN_CONGESTION   }, /* quota exceeded */
    {0x9E, SN_NOT_SUPPORTED}, /* shared subscriptions not supported */
    {0xA1, SN_NOT_SUPPORTED}, /* subscription identifiers not supported */
    {0xA2, SN_NOT_SUPPORTED}, /* wildcard subscriptions not supported */
};

#define COUNT(list) (int)(sizeof(list) / sizeof(list)[0])

/* The next packet of that type; its id. What else the gateway asks meanwhile is granted. */
static void hear_request(uint8_t type, uint8_t id[2])
{
    enum { PUBLISH = 3, UNSUBSCRIBE = 10, PINGREQ = 12 };

    uint8_t packet[ROOM];
    for (;;) {
        hear(packet);
        const uint8_t heard = packet[0] >> 4;
        if (heard == PINGREQ)
            SAY(0xD0, 0);
        else if (heard == UNSUBSCRIBE)
            SAY(0xB0, 4, packet[2], packet[3], 0, 0);
        else
            break;
    }
    ck_assert_uint_eq(packet[0] >> 4, type);
    memcpy(id, packet + (type == PUBLISH ? 4U + packet[3] : 2), 2);
}

static void settle(uint8_t code)
{
    if (code == SN_CONGESTION)
        poll(NULL, 0, PAUSE_MS);
}

/* What the node is told of its message. */
static void expect_puback(int i)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "07 0D 00 01 00 %02X %02X", i + 1, of_publish[i].code);
    node_expect(&dev, wanted);
    settle(of_publish[i].code);
}

START_TEST(of_a_puback)
{
    uint8_t id[2];
    start_all();
    for (int i = 0; i < COUNT(of_publish); i++) {
        node_publish(&dev, 0x20, (unsigned)i + 1, 'x');
        hear_request(3, id);
        SAY(0x40, 3, id[0], id[1], of_publish[i].reason);
        expect_puback(i);
    }
    stop_all();
}

END_TEST

/* An error takes the place of PUBREC; else the exchange goes on to its end. */
START_TEST(of_a_pubrec)
{
    uint8_t id[2];
    char wanted[32], said[32];
    start_all();
    for (int i = 0; i < COUNT(of_publish); i++) {
        node_publish(&dev, 0x40, (unsigned)i + 1, 'x');
        hear_request(3, id);
        SAY(0x50, 3, id[0], id[1], of_publish[i].reason);
        if (of_publish[i].code == SN_ACCEPTED) {
            EXPECT(0x62, 2, id[0], id[1]);
            SAY(0x70, 2, id[0], id[1]);
            snprintf(wanted, sizeof wanted, "04 0F 00 %02X", i + 1);
            node_expect(&dev, wanted);
            snprintf(said, sizeof said, "04 10 00 %02X", i + 1);
            node_say(&dev, said);
            snprintf(wanted, sizeof wanted, "04 0E 00 %02X", i + 1);
            node_expect(&dev, wanted);
            continue;
        }
        expect_puback(i);
    }
    stop_all();
}

END_TEST

START_TEST(of_a_suback)
{
    uint8_t id[2];
    char said[32], heard[64], code[3];
    start_all();
    for (int i = 0; i < COUNT(of_subscribe); i++) {
        snprintf(said, sizeof said, "07 12 40 00 %02X 62 %02X", i + 1, 'a' + i);
        node_say(&dev, said);
        hear_request(8, id);
        SAY(0x90, 4, id[0], id[1], 0, of_subscribe[i].reason);
        ck_assert_msg(node_hear(&dev, heard, sizeof heard, SOON_MS), "no answer to SUBACK %02X", of_subscribe[i].reason);
        snprintf(code, sizeof code, "%02X", of_subscribe[i].code);
        ck_assert_msg(strncmp(heard, "08 13", 5) == 0 && strcmp(heard + 21, code) == 0,
                      "SUBACK %02X came as %s", of_subscribe[i].reason, heard);
        if (of_subscribe[i].code == SN_ACCEPTED) /* at what was granted */
            ck_assert_uint_eq((unsigned)strtoul(heard + 6, NULL, 16) >> 5, of_subscribe[i].reason);
        settle(of_subscribe[i].code);
    }
    stop_all();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("reasons");
    TCase *t = tcase_create("reasons");
    tcase_set_timeout(t, TEST_TIMEOUT_S);
    tcase_add_test(t, of_a_puback);
    tcase_add_test(t, of_a_pubrec);
    tcase_add_test(t, of_a_suback);
    suite_add_tcase(s, t);
    return run_suite(s);
}
