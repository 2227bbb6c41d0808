/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A broker that breaks the rules of MQTT: packets that are no packets, and acknowledgements of the wrong
 * kind, for the wrong request or for none. Nothing of that may reach memory of the library; a sanitizer
 * sees what does. The tests end with the connection's handle destroyed, which is where Paho 1.3 freed
 * twice.
 */
#include <stdlib.h>
#include <string.h>

#include "e2e/script_v5.h"

enum { VERSIONS = 2 };

static uint8_t version;

/* Connects in the version of the round. */
static void connect_in(int round)
{
    version = round % VERSIONS == 0 ? V3_1_1 : V5;
    start(version == V5 ? MQTT_5 : MQTT_3_1_1);
    if (version == V5) {
        WELCOME();
        return;
    }
    ck_assert_uint_eq(asked(), V3_1_1);
    purge(V3_1_1);
    ck_assert_uint_eq(asked(), V3_1_1);
    SAY(0x20, 2, 0, 0);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
}

static void publish(uint64_t token, uint8_t qos)
{
    struct body *const body = body_new(bytes_str("it"));
    mqtt_submit(
        probe.m,
        &(struct up_request){
            .type = UP_PUBLISH, .token = token, .topic = bytes_str("t"), .body = body, .qos = qos});
    mqtt_flush(probe.m);
    body_unref(body);
    uint8_t packet[ROOM];
    hear(packet);
    ck_assert_uint_eq(packet[0], 0x30U | (unsigned)qos << 1);
}

/* Of the gateway's first and only request of the connection. */
enum { ID = 1 };

static void ask(char what)
{
    uint8_t packet[ROOM];
    switch (what) {
    case '1':
    case '2':
        publish(1, (uint8_t)(what - '0'));
        return;
    case 'c': /* of QoS 2, half done */
        publish(1, 2);
        SAY(0x50, 2, 0, ID);
        EXPECT(0x62, 2, 0, ID);
        return;
    case 's':
        probe_subscribe(&probe, 1, "s", 1);
        break;
    default:
        probe_unsubscribe(&probe, 1, "s");
        break;
    }
    hear(packet);
    ck_assert_uint_eq(packet[0], what == 's' ? 0x82 : 0xA2);
}

static void must_end(const char *why)
{
    PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    ck_assert_msg(strstr(probe.why, "broke the rules of MQTT: ") != NULL &&
                      strstr(probe.why, why) != NULL,
                  "'%s' does not say '%s'", probe.why, why);
    hang_up();
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

static const struct {
    char asked;
    uint8_t answer;
    const char *why;
} mismatches[] = {
    {'1', 0x50, "PUBREC came where PUBACK is due"                    },
    {'1', 0x70, "PUBCOMP came where PUBACK is due"                   },
    {'1', 0x90, "SUBACK came where PUBACK is due"                    },
    {'1', 0xB0, "UNSUBACK came where PUBACK is due"                  },
    {'2', 0x40, "PUBACK answers a PUBLISH of QoS 2 (use max_qos = 1)"},
    {'2', 0x70, "PUBCOMP came where PUBREC is due"                   },
    {'2', 0x90, "SUBACK came where PUBREC is due"                    },
    {'2', 0xB0, "UNSUBACK came where PUBREC is due"                  },
    {'c', 0x40, "PUBACK answers a PUBLISH of QoS 2 (use max_qos = 1)"},
    {'c', 0x90, "SUBACK came where PUBCOMP is due"                   },
    {'c', 0xB0, "UNSUBACK came where PUBCOMP is due"                 },
    {'s', 0x40, "PUBACK came where SUBACK is due"                    },
    {'s', 0x50, "PUBREC came where SUBACK is due"                    },
    {'s', 0x70, "PUBCOMP came where SUBACK is due"                   },
    {'s', 0xB0, "UNSUBACK came where SUBACK is due"                  },
    {'u', 0x40, "PUBACK came where UNSUBACK is due"                  },
    {'u', 0x50, "PUBREC came where UNSUBACK is due"                  },
    {'u', 0x70, "PUBCOMP came where UNSUBACK is due"                 },
    {'u', 0x90, "SUBACK came where UNSUBACK is due"                  },
};

enum { N_MISMATCHES = sizeof mismatches / sizeof mismatches[0] };

static void answer(uint8_t first)
{
    const bool many = first == 0x90 || first == 0xB0;
    if (many && version == V5)
        SAY(first, 4, 0, ID, 0, 0);
    else if (first == 0x90)
        SAY(first, 3, 0, ID, 0);
    else
        SAY(first, 2, 0, ID);
}

START_TEST(an_acknowledgement_of_the_wrong_kind_ends_the_connection)
{
    connect_in(_i);
    ask(mismatches[_i / VERSIONS].asked);
    answer(mismatches[_i / VERSIONS].answer);
    must_end(mismatches[_i / VERSIONS].why);
    stop();
}

END_TEST

/* The next connection is a new start, and Paho's second copy is as good as the first. */
START_TEST(a_message_whose_acknowledgement_was_wrong_is_sent_again)
{
    connect_in(_i);
    ask('2');
    answer(0x40);
    must_end("max_qos");
    if (version == V5) {
        resume();
    } else {
        ck_assert_uint_eq(asked(), V3_1_1);
        SAY(0x20, 2, 1, 0);
    }
    uint8_t packet[ROOM];
    hear(packet);
    ck_assert_uint_eq(packet[0], 0x3C);
    SAY(0x50, 2, 0, ID);
    EXPECT(0x62, 2, 0, ID);
    SAY(0x70, 2, 0, ID);
    PROBE_UNTIL(&probe, probe.answers[1].ok == 1, SOON_MS);
    ck_assert_uint_eq(probe.disconnected, 1);
    stop();
}

END_TEST

START_TEST(an_error_instead_of_the_repeated_pubrec_ends_the_connection)
{
    connect_in(1);
    ask('c');
    SAY(0x50, 3, 0, ID, 0x97);
    must_end("PUBREC came where PUBCOMP is due");
    stop();
}

END_TEST

START_TEST(what_acknowledges_nothing_is_ignored)
{
    connect_in(_i);
    SAY(0x40, 2, 0, 77);
    SAY(0x50, 2, 0, 77);
    SAY(0x70, 2, 0, 77);
    SAY(0x40, 2, 0, 0);
    if (version == V5) {
        SAY(0x90, 4, 0, 77, 0, 1);
        SAY(0xB0, 4, 0, 77, 0, 0);
        SAY(0x50, 3, 0, 77, 0x80);
    } else {
        SAY(0x90, 3, 0, 77, 1);
        SAY(0xB0, 2, 0, 77);
    }
    SAY(0x62, 2, 0, 77);
    EXPECT(0x70, 2, 0, 77); /* that much any client owes */
    ask('1');
    answer(0x40);
    answer(0x40);
    PROBE_UNTIL(&probe, probe.answers[1].ok == 1, SOON_MS);
    ck_assert_uint_eq(probe.ok, 1);
    ck_assert_uint_eq(probe.disconnected, 0);
    hang_up();
    stop();
}

END_TEST

START_TEST(a_pubrec_that_comes_twice_is_answered_twice)
{
    connect_in(_i);
    ask('c');
    SAY(0x50, 2, 0, ID);
    EXPECT(0x62, 2, 0, ID);
    SAY(0x70, 2, 0, ID);
    SAY(0x70, 2, 0, ID);
    PROBE_UNTIL(&probe, probe.answers[1].ok == 1, SOON_MS);
    probe_turn(&probe, 100);
    ck_assert_uint_eq(probe.ok, 1);
    ck_assert_uint_eq(probe.disconnected, 0);
    stop();
}

END_TEST

/* ---- packets --------------------------------------------------------------------------------- */

struct bad {
    uint8_t level;
    char asked; /* or 0 */
    uint8_t n;
    uint8_t octets[24];
    const char *why;
};

static const struct bad bad[] = {
    {V3_1_1, 's', 6,  {0x90, 4, 0, ID, 1, 1},                          "not one code for one filter"   },
    {V3_1_1, 's', 4,  {0x90, 2, 0, ID},                                "not one code for one filter"   },
    {V3_1_1, 's', 5,  {0x90, 3, 0, ID, 3},                             "SUBACK grants"                 },
    {V5,     's', 7,  {0x90, 5, 0, ID, 0, 1, 1},                       "not one code for one filter"   },
    {V5,     's', 5,  {0x90, 3, 0, ID, 0},                             "not one code for one filter"   },
    {V5,     's', 4,  {0x90, 2, 0, ID},                                "SUBACK is malformed"           },
    {V5,     's', 6,  {0x90, 4, 0, ID, 9, 1},                          "SUBACK is malformed"           },
    {V5,     'u', 7,  {0xB0, 5, 0, ID, 0, 0, 0},                       "not one code for one filter"   },
    {V5,     'u', 5,  {0xB0, 3, 0, ID, 0},                             "not one code for one filter"   },
    {V3_1_1, 'u', 3,  {0xB0, 1, 0},                                    "UNSUBACK is malformed"         },
    {V3_1_1, '1', 3,  {0x40, 1, 0},                                    "PUBACK is malformed"           },
    {V3_1_1, '1', 5,  {0x40, 3, 0, ID, 0},                             "PUBACK is malformed"           },
    {V5,     '1', 7,  {0x40, 5, 0, ID, 0, 1, 0x7F},                    "PUBACK is malformed"           },
    {V5,     '1', 8,  {0x40, 6, 0, ID, 0, 1, 0x11, 0},                 "PUBACK is malformed"           },
    {V3_1_1, 0,   2,  {0x40, 0},                                       "PUBACK is malformed"           },
    {V3_1_1, 0,   2,  {0x30, 0},                                       "PUBLISH is malformed"          },
    {V3_1_1, 0,   4,  {0x30, 2, 0, 9},                                 "PUBLISH is malformed"          },
    {V3_1_1, 0,   6,  {0x32, 4, 0, 1, 't', 0},                         "PUBLISH is malformed"          },
    {V3_1_1, 0,   7,  {0x36, 5, 0, 1, 't', 0, 1},                      "PUBLISH has QoS 3"             },
    {V5,     0,   5,  {0x30, 3, 0, 1, 't'},                            "PUBLISH is malformed"          },
    {V5,     0,   9,  {0x30, 7, 0, 1, 't', 0xFF, 0xFF, 0xFF, 0xFF},    "PUBLISH is malformed"          },
    {V5,     0,   10, {0x30, 8, 0, 1, 't', 0xFF, 0xFF, 0xFF, 0x7F, 1}, "PUBLISH is malformed"          },
    {V5,     0,   8,  {0x30, 6, 0, 1, 't', 2, 0x02, 0},                "PUBLISH is malformed"          },
    {V5,     0,   11, {0x30, 9, 0, 1, 't', 5, 0x26, 0, 0, 0, 9},       "PUBLISH is malformed"          },
    {V5,     0,   7,  {0x30, 5, 0, 1, 't', 1, 0x01},                   "PUBLISH is malformed"          },
    {V3_1_1, 0,   4,  {0x20, 2, 0, 0},                                 "CONNACK came again"            },
    {V5,     0,   5,  {0x20, 3, 0, 0, 0},                              "CONNACK came again"            },
    {V3_1_1, 0,   2,  {0xE0, 0},                                       "DISCONNECT is not the broker's"},
    {V5,     0,   6,  {0xE0, 4, 0, 3, 0x1F, 0},                        "DISCONNECT is malformed"       },
    {V3_1_1, 0,   2,  {0xF0, 0},                                       "AUTH is not the broker's"      },
    {V5,     0,   4,  {0xF0, 2, 0x18, 0},                              "AUTH is not the broker's"      },
    {V3_1_1, 0,   2,  {0xC0, 0},                                       "PINGREQ is not the broker's"   },
    {V5,     0,   8,  {0x82, 6, 0, 1, 0, 0, 1, 't'},                   "SUBSCRIBE is not the broker's" },
    {V3_1_1, 0,   2,  {0x00, 0},                                       "a packet is not the broker's"  },
};

enum { N_BAD = sizeof bad / sizeof bad[0] };

START_TEST(a_packet_against_the_rules_ends_the_connection)
{
    const struct bad *const b = &bad[_i];
    connect_in(b->level == V5);
    if (b->asked != 0)
        ask(b->asked);
    say(b->octets, b->n);
    must_end(b->why);
    stop();
}

END_TEST

/* Instead of, or before, the CONNACK. */
START_TEST(a_first_packet_that_is_no_connack_refuses_the_connection)
{
    static const uint8_t first[][8] = {
        {0x30, 4, 0, 1, 't', 0},
        {0x40,   2, 0, 1},
        {0x20,    1,  0},
        {0xD0,   0  },
    };

    start(_i % VERSIONS == 0 ? MQTT_3_1_1 : MQTT_5);
    ck_assert_uint_eq(asked(), _i % VERSIONS == 0 ? V3_1_1 : V5);
    say(first[_i / VERSIONS], first[_i / VERSIONS][1] + 2U);
    must_end(_i / VERSIONS == 2 ? "CONNACK is malformed" : "came before CONNACK");
    ck_assert_uint_eq(probe.connected, 0);
    stop();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt_guard");
    LOOP(s, an_acknowledgement_of_the_wrong_kind_ends_the_connection, VERSIONS * N_MISMATCHES);
    LOOP(s, a_message_whose_acknowledgement_was_wrong_is_sent_again, VERSIONS);
    ADD(s, an_error_instead_of_the_repeated_pubrec_ends_the_connection);
    LOOP(s, what_acknowledges_nothing_is_ignored, VERSIONS);
    LOOP(s, a_pubrec_that_comes_twice_is_answered_twice, VERSIONS);
    LOOP(s, a_packet_against_the_rules_ends_the_connection, N_BAD);
    LOOP(s, a_first_packet_that_is_no_connack_refuses_the_connection, VERSIONS * 4);
    return run_suite(s);
}
