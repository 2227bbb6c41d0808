/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The XBee driver against a module on strings: it answers AT commands from a table, writes down
 * what it was asked to transmit, and says of that only what the test says.
 */
#include <string.h>

#include "radio/stick/stick.h"
#include "radio/stick/xbee_frame.h"
#include "unit/suite.h"

enum { NODE_16 = 0x7D84, SENT_MAX = 64, STATUS_NO_ACK = 0x21, OUTCOMES = 4 };

static const uint64_t node_64 = 0x0013A20040522BAA;

static struct stick *s;
static int64_t now_ms;
static struct xbee_decoder from_host;
static bool escaped;        /* API mode 2 */
static uint8_t ai;          /* 0: it has a network */
static unsigned asked_ap;   /* how often */
static bool holds_tongue;   /* no answer to anything */
static int32_t baud = 9600; /* of the port; the module's is 9600 */
static unsigned warnings, ups, downs, reopens, outcomes[OUTCOMES];

static struct {
    uint8_t id;
    uint16_t short_address;
} sent[SENT_MAX];

static unsigned n_sent;

static void take_events(void)
{
    struct stick_event e;
    for (; stick_peek_event(s, &e); stick_done_event(s)) {
        ups += e.type == STICK_EV_UP;
        downs += e.type == STICK_EV_DOWN;
        reopens += e.type == STICK_EV_REOPEN;
        if (e.type == STICK_EV_PORT && e.port.baud > 0)
            baud = e.port.baud;
        warnings += e.type == STICK_EV_LOG && strcmp(e.name, "xbee.other_baud") == 0;
        if (e.type == STICK_EV_OUTCOME)
            outcomes[e.outcome]++;
    }
}

static void say(const void *content, size_t len)
{
    uint8_t wire[XBEE_WIRE_MAX];
    const size_t n = xbee_encode(bytes_of(content, len), escaped, wire, sizeof wire);
    stick_input(s, now_ms, bytes_of(wire, n));
    take_events();
}

static void answer_at(const uint8_t *asked)
{
    static const struct {
        const char *name;
        uint8_t value[4];
        uint8_t len;
    } settings[] = {
        {"OP", {0, 0, 0, 1},             4},
        {"VR", {0x40, 0x60},             2},
        {"SH", {0x00, 0x13, 0xA2, 0x00}, 4},
        {"SL", {0x40, 0x0A, 0x01, 0x27}, 4},
        {"OI", {0x1A, 0x62},             2},
        {"CH", {15},                     1},
        {"NP", {0, 84},                  2},
        {"NH", {30},                     1},
        {"SP", {0, 0x20},                2},
    };

    uint8_t answer[5 + 4] = {XBEE_AT_RESPONSE, asked[1], asked[2], asked[3], 2};
    size_t len = 5;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        if (memcmp(settings[i].name, asked + 2, 2) != 0)
            continue;
        answer[4] = 0;
        memcpy(answer + len, settings[i].value, settings[i].len);
        len += settings[i].len;
    }
    const bool is_ai = memcmp(asked + 2, "AI", 2) == 0;
    if (is_ai || memcmp(asked + 2, "AP", 2) == 0) {
        asked_ap += !is_ai;
        answer[4] = 0;
        answer[len++] = is_ai ? ai : escaped ? 2 : 1;
    }
    say(answer, len);
}

static void read_host(struct bytes out)
{
    struct bytes content;
    from_host.escaped = escaped;
    xbee_feed(&from_host, out);
    while (xbee_next(&from_host, &content)) {
        uint8_t frame[XBEE_CONTENT_MAX];
        memcpy(frame, content.data, content.len);
        if (holds_tongue || baud != 9600)
            continue;
        if (frame[0] == XBEE_AT) {
            answer_at(frame);
        } else if (frame[0] == XBEE_TX && n_sent < SENT_MAX) {
            sent[n_sent].id = frame[1];
            sent[n_sent++].short_address = (uint16_t)(frame[10] << 8 | frame[11]);
        }
    }
}

static void run(int64_t ms)
{
    const int64_t until_ms = now_ms + ms;
    for (;;) {
        struct bytes out;
        take_events();
        while (stick_peek_bytes(s, &out)) {
            uint8_t copy[256];
            const size_t n = out.len < sizeof copy ? out.len : sizeof copy;
            memcpy(copy, out.data, n);
            stick_took(s, now_ms, n);
            read_host(bytes_of(copy, n));
        }
        const int64_t next_ms = stick_next_deadline(s);
        if (next_ms > until_ms)
            break;
        now_ms = next_ms > now_ms ? next_ms : now_ms;
        stick_advance(s, now_ms);
        ck_assert_int_gt(stick_next_deadline(s), now_ms);
    }
    now_ms = until_ms;
}

static void status(uint8_t id, uint16_t short_address, uint8_t delivery)
{
    const uint8_t frame[] = {
        XBEE_TX_STATUS, id, (uint8_t)(short_address >> 8), (uint8_t)short_address, 0, delivery, 0};
    say(frame, sizeof frame);
    run(0);
}

static void send_one(void)
{
    struct peer_room room;
    static const uint8_t packet[] = {2, 0x17};
    uint8_t address[8];
    for (unsigned i = 0; i < 8; i++)
        address[i] = (uint8_t)(node_64 >> (56 - 8 * i));
    const struct peer *to = peer_make(&room, 0, PEER_EUI64, bytes_of(address, 8));
    stick_send(s, now_ms, to, bytes_of(packet, sizeof packet));
    run(0);
}

/* The node says PINGREQ from that 16-bit address. */
static void node_says(uint16_t short_address)
{
    uint8_t frame[14] = {XBEE_RX};
    for (unsigned i = 0; i < 8; i++)
        frame[1 + i] = (uint8_t)(node_64 >> (56 - 8 * i));
    frame[9] = (uint8_t)(short_address >> 8);
    frame[10] = (uint8_t)short_address;
    frame[11] = 1;
    frame[12] = 2;
    frame[13] = 0x16;
    say(frame, sizeof frame);
    run(0);
}

static void setup(void)
{
    struct stick_config config = stick_defaults();
    config.baud = 9600;
    now_ms = 1000;
    escaped = true;
    holds_tongue = false;
    ai = 0;
    ups = downs = reopens = n_sent = asked_ap = 0;
    memset(outcomes, 0, sizeof outcomes);
    memset(&from_host, 0, sizeof from_host);
    s = stick_new(stick_driver_find(bytes_of("xbee", 4)), &config, now_ms);
    ck_assert_ptr_nonnull(s);
    stick_opened(s, now_ms);
    run(3000);
    ck_assert_uint_eq(ups, 1);
    node_says(NODE_16);
}

START_TEST(a_module_at_another_baud_is_found_and_told_of)
{
    struct stick_config config = stick_defaults();
    stick_free(s);
    config.baud = 38400;
    baud = 38400;
    ups = 0;
    s = stick_new(stick_driver_find(bytes_of("xbee", 4)), &config, now_ms);
    ck_assert_ptr_nonnull(s);
    ck_assert_uint_eq(warnings, 0);
    stick_opened(s, now_ms);
    run(30000);
    ck_assert_uint_eq(ups, 1);
    ck_assert_int_eq(baud, 9600);
    ck_assert_uint_eq(warnings, 1);
}

END_TEST

static void teardown(void)
{
    stick_free(s);
}

START_TEST(the_16_bit_address_is_given_so_that_nothing_need_be_discovered)
{
    send_one();
    ck_assert_uint_eq(n_sent, 1);
    ck_assert_uint_eq(sent[0].short_address, NODE_16);
    status(sent[0].id, NODE_16, 0);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 1);
}

END_TEST

/* It has joined again and got another 16-bit address, and says nothing. */
START_TEST(a_node_that_keeps_failing_is_sought_by_its_64_bit_address)
{
    for (unsigned i = 0; i < 2; i++) {
        send_one();
        ck_assert_uint_eq(sent[i].short_address, NODE_16);
        status(sent[i].id, NODE_16, STATUS_NO_ACK);
    }
    send_one();
    ck_assert_uint_eq(n_sent, 3);
    ck_assert_uint_eq(sent[2].short_address, 0xFFFE);
    status(sent[2].id, 0x1111, 0); /* there it is */
    send_one();
    ck_assert_uint_eq(sent[3].short_address, 0x1111);
    ck_assert_uint_eq(outcomes[STICK_FAILED], 2);
}

END_TEST

START_TEST(a_node_that_is_heard_again_is_trusted_at_its_new_address)
{
    for (unsigned i = 0; i < 2; i++) {
        send_one();
        status(sent[i].id, NODE_16, STATUS_NO_ACK);
    }
    node_says(0x2222);
    send_one();
    ck_assert_uint_eq(sent[2].short_address, 0x2222);
}

END_TEST

START_TEST(a_status_for_an_unknown_id_or_a_second_one_changes_nothing)
{
    send_one();
    status((uint8_t)(sent[0].id + 7), NODE_16, 0);
    status(0, NODE_16, 0);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 0);
    status(sent[0].id, NODE_16, 0);
    status(sent[0].id, NODE_16, STATUS_NO_ACK);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 1);
    ck_assert_uint_eq(outcomes[STICK_FAILED], 0);
    ck_assert_uint_eq(stick_counters(s)->unknown_ids, 3);
}

END_TEST

START_TEST(a_status_that_never_comes_is_unknown_and_the_next_packet_goes)
{
    send_one();
    send_one();
    ck_assert_uint_eq(n_sent, 1);
    run(8000);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 1);
    ck_assert_uint_eq(n_sent, 2);
    ck_assert_uint_eq(reopens, 0);
}

END_TEST

/* Its power failed for a moment: it says nothing and is in transparent mode, or in mode 1. */
START_TEST(a_module_that_is_silent_is_noticed_by_the_first_missing_status)
{
    const unsigned asked = asked_ap;
    send_one();
    run(8000);
    ck_assert_uint_eq(asked_ap, asked + 1); /* asked whether it is there: it is */
    ck_assert_uint_eq(reopens, 0);
    run(20000);
    ck_assert_uint_eq(asked_ap, asked + 1); /* and that's that */
    holds_tongue = true;
    send_one();
    const int64_t since_ms = now_ms;
    while (reopens == 0 && now_ms - since_ms < 60000)
        run(100);
    ck_assert_uint_eq(reopens, 1);
    ck_assert_int_le(now_ms - since_ms, 15000);
}

END_TEST

/* It hears only what needs no escape, so most packets are lost. */
START_TEST(a_module_that_fell_back_to_api_mode_1_is_noticed_by_the_first_missing_status)
{
    escaped = false;
    send_one();
    ck_assert_uint_eq(n_sent, 0);
    run(12000);
    ck_assert_uint_eq(reopens, 1);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 1);
}

END_TEST

START_TEST(nothing_is_sent_between_disassociation_and_joining_again)
{
    static const uint8_t left[] = {XBEE_MODEM_STATUS, 3}, joined[] = {XBEE_MODEM_STATUS, 2};
    ai = 0x21;
    say(left, sizeof left);
    run(1000);
    ck_assert_uint_eq(downs, 1);
    send_one();
    run(3000);
    ck_assert_uint_eq(n_sent, 0);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ai = 0;
    say(joined, sizeof joined);
    run(3000);
    ck_assert_uint_eq(ups, 2);
    send_one();
    ck_assert_uint_eq(n_sent, 1);
}

END_TEST

START_TEST(a_reset_in_mid_send_makes_the_packet_unknown_and_starts_the_module_anew)
{
    static const uint8_t reset[] = {XBEE_MODEM_STATUS, 1};
    send_one();
    say(reset, sizeof reset);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 1);
    run(3000);
    ck_assert_uint_eq(ups, 2);
    ck_assert_uint_eq(stick_counters(s)->stick_resets, 1);
    status(sent[0].id, NODE_16, 0); /* of before */
    send_one();
    ck_assert_uint_eq(n_sent, 2);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_xbee");
    TCase *tc = tcase_create("xbee");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_module_at_another_baud_is_found_and_told_of);
    tcase_add_test(tc, the_16_bit_address_is_given_so_that_nothing_need_be_discovered);
    tcase_add_test(tc, a_node_that_keeps_failing_is_sought_by_its_64_bit_address);
    tcase_add_test(tc, a_node_that_is_heard_again_is_trusted_at_its_new_address);
    tcase_add_test(tc, a_status_for_an_unknown_id_or_a_second_one_changes_nothing);
    tcase_add_test(tc, a_status_that_never_comes_is_unknown_and_the_next_packet_goes);
    tcase_add_test(tc, a_module_that_is_silent_is_noticed_by_the_first_missing_status);
    tcase_add_test(tc,
                   a_module_that_fell_back_to_api_mode_1_is_noticed_by_the_first_missing_status);
    tcase_add_test(tc, nothing_is_sent_between_disassociation_and_joining_again);
    tcase_add_test(tc, a_reset_in_mid_send_makes_the_packet_unknown_and_starts_the_module_anew);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
