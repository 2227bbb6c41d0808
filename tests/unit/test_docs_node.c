/* SPDX-License-Identifier: Apache-2.0 */
/* The node of docs/radio.md: what it says through its XBee, read by the gateway's own decoders. */
#include <string.h>

#include "base/rng.h"

#include "docs/node/xbee.h"
#include "mqttsn/packet.h"
#include "radio/stick/xbee_frame.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { TOPIC = 7, MINUTE_MS = 60000, NOISE = 2000, ROUNDS = 300 };

static const uint8_t to_coordinator[] = {0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFE, 0, 0};
static const uint8_t from_coordinator[] = {0x90, 0x00, 0x12, 0x4B, 0x00, 0x11,
                                           0x7D, 0x13, 0x7E, 0x00, 0x00, 0x01};

static struct node node;
static struct xbee xbee;
static struct xbee_decoder module;
static uint8_t wire[XBEE_WIRE_MAX];
static size_t n_wire;

void xbee_uart_write(uint8_t octet)
{
    ck_assert_uint_lt(n_wire, sizeof wire);
    wire[n_wire++] = octet;
}

static void setup(void)
{
    xbee = (struct xbee){.at = 0};
    module = (struct xbee_decoder){.escaped = true};
    n_wire = 0;
    node_start(&node, UINT32_MAX - 5000, "n1"); /* the clock wraps soon */
}

static void expect_silence(void)
{
    ck_assert_uint_eq(n_wire, 0);
}

/* The one packet that the node has sent. */
static struct sn_packet said(void)
{
    struct bytes content;
    struct sn_packet p;
    xbee_feed(&module, bytes_of(wire, n_wire));
    n_wire = 0;
    ck_assert(xbee_next(&module, &content));
    ck_assert_uint_gt(content.len, sizeof to_coordinator);
    ck_assert_mem_eq(content.data, to_coordinator, sizeof to_coordinator);
    static uint8_t packet[NODE_PACKET_MAX];
    const size_t len = content.len - sizeof to_coordinator;
    ck_assert_uint_le(len, sizeof packet);
    memcpy(packet, content.data + sizeof to_coordinator, len);
    ck_assert_int_eq(sn_decode(bytes_of(packet, len), &p), SN_DECODED);
    ck_assert(!xbee_next(&module, &content));
    return p;
}

static void expect_connect(void)
{
    const struct sn_packet p = said();
    ck_assert_int_eq(p.type, SN_CONNECT);
    ck_assert(p.clean && !p.will);
    ck_assert_uint_eq(p.protocol_id, SN_PROTOCOL_ID);
    ck_assert_uint_eq(p.duration_s, NODE_KEEP_ALIVE_S);
    ck_assert(bytes_equal(p.client_id, bytes_str("n1")));
}

static void expect_publish(bool dup, uint16_t msg_id)
{
    const struct sn_packet p = said();
    ck_assert_int_eq(p.type, SN_PUBLISH);
    ck_assert_int_eq(p.qos, SN_QOS_1);
    ck_assert_int_eq(p.topic_kind, SN_TOPIC_PREDEFINED);
    ck_assert(p.dup == dup && !p.retain);
    ck_assert_uint_eq(p.topic_id, TOPIC);
    ck_assert_uint_eq(p.msg_id, msg_id);
    ck_assert(bytes_equal(p.data, bytes_str("21.5~\x11\x13}")));
}

/* Octet by octet, as a UART brings them. */
static unsigned feed(uint32_t now_ms, const uint8_t *octets, size_t n)
{
    unsigned packets = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *packet = NULL;
        uint8_t len = 0;
        if (!xbee_octet(&xbee, octets[i], &packet, &len))
            continue;
        node_input(&node, now_ms, packet, len);
        packets++;
    }
    return packets;
}

static void hear(uint32_t now_ms, const struct sn_packet *p)
{
    uint8_t content[sizeof from_coordinator + NODE_PACKET_MAX];
    uint8_t octets[XBEE_WIRE_MAX];
    memcpy(content, from_coordinator, sizeof from_coordinator);
    const size_t len = sn_encode(p, content + sizeof from_coordinator, NODE_PACKET_MAX);
    const size_t n =
        xbee_encode(bytes_of(content, sizeof from_coordinator + len), true, octets, sizeof octets);
    ck_assert_uint_gt(n, 0);
    ck_assert_uint_eq(feed(now_ms, octets, n), 1);
}

static void hear_connack(uint32_t now_ms, enum sn_return_code rc)
{
    hear(now_ms, &(struct sn_packet){.type = SN_CONNACK, .return_code = (uint8_t)rc});
}

static void hear_puback(uint32_t now_ms, uint16_t msg_id, enum sn_return_code rc)
{
    hear(now_ms,
         &(struct sn_packet){
             .type = SN_PUBACK, .topic_id = TOPIC, .msg_id = msg_id, .return_code = (uint8_t)rc});
}

static bool publish(uint32_t now_ms)
{
    return node_publish(&node, now_ms, TOPIC, "21.5~\x11\x13}", 8);
}

START_TEST(the_first_frame_is_the_one_in_the_documents)
{
    static const uint8_t frame[] = {0x7E, 0x00, 0x16, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00,
                                    0x00, 0x00, 0x00, 0x00, 0xFF, 0xFE, 0x00, 0x00, 0x08,
                                    0x04, 0x04, 0x01, 0x00, 0x3C, 0x6E, 0x31, 0x06};
    ck_assert_uint_eq(n_wire, sizeof frame);
    ck_assert_mem_eq(wire, frame, sizeof frame);
}

END_TEST

START_TEST(a_node_connects_publishes_and_shows_that_it_is_alive)
{
    expect_connect();
    ck_assert(!publish(1));
    hear_connack(100, SN_ACCEPTED);
    expect_silence();
    ck_assert(publish(200));
    expect_publish(false, 1);
    ck_assert(!publish(300));
    hear_puback(400, 2, SN_ACCEPTED); /* of another message */
    ck_assert(!publish(500));
    hear_puback(600, 1, SN_ACCEPTED);
    ck_assert(publish(700));
    expect_publish(false, 2);
    hear_puback(800, 2, SN_ACCEPTED);
    node_tick(&node, 700 + MINUTE_MS - 1);
    expect_silence();
    node_tick(&node, 700 + MINUTE_MS);
    ck_assert_int_eq(said().type, SN_PINGREQ);
    hear(701 + MINUTE_MS, &(struct sn_packet){.type = SN_PINGRESP});
    ck_assert(publish(702 + MINUTE_MS));
    expect_publish(false, 3);
    ck_assert_uint_eq(node.refused, 0);
}

END_TEST

START_TEST(what_is_not_answered_is_repeated_and_then_the_node_connects_again)
{
    expect_connect();
    node_tick(&node, 4998);
    expect_silence();
    node_tick(&node, 4999);
    expect_connect();
    hear_connack(5000, SN_ACCEPTED);
    ck_assert(publish(6000));
    expect_publish(false, 1);
    for (uint32_t i = 1; i <= NODE_RETRIES; i++) {
        node_tick(&node, 5999 + i * NODE_RETRY_MS);
        expect_silence();
        node_tick(&node, 6000 + i * NODE_RETRY_MS);
        expect_publish(true, 1);
    }
    node_tick(&node, 6000 + (NODE_RETRIES + 1) * NODE_RETRY_MS);
    expect_connect();
    for (uint32_t i = NODE_RETRIES + 2; i < 20; i++) {
        node_tick(&node, 6000 + i * NODE_RETRY_MS);
        expect_connect();
    }
}

END_TEST

START_TEST(a_refused_connect_waits_five_minutes_and_a_refused_message_is_counted)
{
    expect_connect();
    hear_connack(100, SN_CONGESTION);
    node_tick(&node, 99 + NODE_REFUSED_MS);
    expect_silence();
    node_tick(&node, 100 + NODE_REFUSED_MS);
    expect_connect();
    hear_connack(101 + NODE_REFUSED_MS, SN_ACCEPTED);
    ck_assert(publish(102 + NODE_REFUSED_MS));
    expect_publish(false, 1);
    hear_puback(103 + NODE_REFUSED_MS, 1, SN_INVALID_TOPIC_ID);
    ck_assert_uint_eq(node.refused, 1);
    ck_assert(publish(104 + NODE_REFUSED_MS));
    expect_publish(false, 2);
}

END_TEST

START_TEST(a_gateway_that_forgot_the_node_makes_it_connect_again)
{
    expect_connect();
    hear(100, &(struct sn_packet){.type = SN_DISCONNECT});
    expect_silence(); /* it is about to */
    hear_connack(200, SN_ACCEPTED);
    hear(300, &(struct sn_packet){.type = SN_DISCONNECT});
    expect_connect();
}

END_TEST

START_TEST(messages_that_do_not_fit_are_refused)
{
    char data[NODE_PACKET_MAX] = "";
    expect_connect();
    hear_connack(100, SN_ACCEPTED);
    ck_assert(!node_publish(&node, 200, TOPIC, data, NODE_PACKET_MAX - 6));
    expect_silence();
    ck_assert(node_publish(&node, 200, TOPIC, data, NODE_PACKET_MAX - 7));
    ck_assert_uint_eq(said().data.len, NODE_PACKET_MAX - 7);
}

END_TEST

START_TEST(garbage_on_the_line_costs_no_frame_behind_it)
{
    struct rng rng = seeded_rng();
    uint8_t noise[NOISE];
    expect_connect();
    hear_connack(100, SN_ACCEPTED);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        for (size_t k = 0; k < NOISE; k++) {
            static const uint8_t likely[] = {0x7E, 0x7D, 0x00, 0x10, 0x90, 0x0E};
            noise[k] = rng_below(&rng, 2) == 0 ? likely[rng_below(&rng, sizeof likely)]
                                               : (uint8_t)rng_below(&rng, 256);
        }
        feed(200 + i, noise, NOISE);
        n_wire = 0;
        node_start(&node, 200 + i, "n1"); /* whatever it took the noise for */
        expect_connect();
        hear_connack(200 + i, SN_ACCEPTED);
        ck_assert(publish(200 + i));
        n_wire = 0;
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("docs_node");
    TCase *all = tcase_create("node");
    tcase_add_checked_fixture(all, setup, NULL);
    tcase_add_test(all, the_first_frame_is_the_one_in_the_documents);
    tcase_add_test(all, a_node_connects_publishes_and_shows_that_it_is_alive);
    tcase_add_test(all, what_is_not_answered_is_repeated_and_then_the_node_connects_again);
    tcase_add_test(all, a_refused_connect_waits_five_minutes_and_a_refused_message_is_counted);
    tcase_add_test(all, a_gateway_that_forgot_the_node_makes_it_connect_again);
    tcase_add_test(all, messages_that_do_not_fit_are_refused);
    tcase_add_test(all, garbage_on_the_line_costs_no_frame_behind_it);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
