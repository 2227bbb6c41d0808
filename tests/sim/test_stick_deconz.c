/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deCONZ driver against a stick on strings: it answers every command, keeps what it was asked
 * to transmit, and has a confirm or an indication for the host only when the test says so.
 */
#include <string.h>

#include "radio/stick/deconz_frame.h"
#include "radio/stick/stick.h"
#include "unit/suite.h"

enum {
    NODE_16 = 0x4A3B,
    SENT_MAX = 64,
    OUTCOMES = 4,
    CONFIRMS = 8,
    CONNECTED = 2,
    NO_APS_ACK = 0xA7,
    PARAM_ENDPOINT = 0x13,
    ENDPOINT_MAX = 32,
};

static const uint64_t node_64 = 0x0013A20040522BAA;

static struct stick *s;
static int64_t now_ms;
static struct deconz_decoder from_host;
static uint8_t network; /* state */
static unsigned mutes;  /* so many commands get no answer */
static bool busy;       /* data requests are refused so */
static unsigned ups, downs, reopens, outcomes[OUTCOMES], packets;
static uint8_t endpoint[ENDPOINT_MAX]; /* as the host wrote it, without index */
static size_t endpoint_len;

static struct {
    uint8_t id, mode;
    uint16_t short_address;
} sent[SENT_MAX];

static unsigned n_sent;

static struct {
    uint8_t id, status;
} confirms[CONFIRMS];

static unsigned n_confirms;
static uint16_t speaker;      /* one indication from this node; 0: none */
static unsigned more;         /* so many follow */
static bool prompt;           /* what was sent is acknowledged at once */
static unsigned packets_then; /* when the last request came */

static void take_events(void)
{
    struct stick_event e;
    for (; stick_peek_event(s, &e); stick_done_event(s)) {
        ups += e.type == STICK_EV_UP;
        downs += e.type == STICK_EV_DOWN;
        reopens += e.type == STICK_EV_REOPEN;
        packets += e.type == STICK_EV_PACKET;
        if (e.type == STICK_EV_OUTCOME)
            outcomes[e.outcome]++;
    }
}

static void say(uint8_t command, uint8_t seq, uint8_t status, struct bytes content)
{
    uint8_t wire[DECONZ_WIRE_MAX];
    const struct deconz_frame f = {
        .command = command, .seq = seq, .status = status, .content = content};
    const size_t len = deconz_encode(&f, wire, sizeof wire);
    stick_input(s, now_ms, bytes_of(wire, len));
    take_events();
}

static uint8_t state(void)
{
    return (uint8_t)(network | (n_confirms > 0 ? 0x04 : 0) | (speaker != 0 ? 0x08 : 0) |
                     (network == CONNECTED ? 0x20 : 0));
}

/* Content with its length before. */
static void say_payload(const struct deconz_frame *f, uint8_t status, struct bytes payload)
{
    uint8_t content[DECONZ_FRAME_MAX];
    struct writer w = wr_to(content, sizeof content);
    wr_u16_le(&w, (uint16_t)payload.len);
    wr_bytes(&w, payload);
    say(f->command, f->seq, status, bytes_of(content, wr_close(&w)));
}

static void read_parameter(const struct deconz_frame *f, uint8_t number)
{
    uint8_t payload[1 + 1 + ENDPOINT_MAX] = {number};
    size_t len = 3; /* most are of two octets */
    if (number == 0x01) {
        len = 9;
        memset(payload + 1, 0x11, 8);
    } else if (number == 0x05) {
        payload[1] = 0x62;
        payload[2] = 0x1A;
    } else if (number == 0x09) {
        payload[1] = 1;
    } else if (number == 0x1C) {
        payload[1] = 15;
    } else if (number == 0x22) {
        payload[1] = 0x0B;
        payload[2] = 0x01;
    } else if (number == PARAM_ENDPOINT) {
        memcpy(payload + 2, endpoint, endpoint_len);
        len = 2 + endpoint_len;
    }
    say_payload(f, DECONZ_OK, bytes_of(payload, len));
}

static void on_request(const struct deconz_frame *f, const uint8_t *payload)
{
    const uint8_t answer[] = {state(), payload[0]};
    if (payload[0] != 0 && !busy && n_sent < SENT_MAX) {
        sent[n_sent].id = payload[0];
        sent[n_sent].mode = payload[2];
        sent[n_sent++].short_address = (uint16_t)(payload[3] | payload[4] << 8);
        packets_then = packets;
        if (prompt)
            confirms[n_confirms++].id = payload[0];
    }
    say_payload(f, busy ? DECONZ_BUSY : DECONZ_OK, bytes_of(answer, sizeof answer));
}

static void tell_confirm(const struct deconz_frame *f)
{
    if (n_confirms == 0) {
        say_payload(f, 1, bytes_of(NULL, 0));
        return;
    }
    const uint8_t id = confirms[0].id, status = confirms[0].status;
    memmove(confirms, confirms + 1, --n_confirms * sizeof confirms[0]);
    const uint8_t answer[] = {state(), id, 2, 0x3B, 0x4A, 0xE8, 0xE8, status, 0, 0, 0, 0};
    say_payload(f, DECONZ_OK, bytes_of(answer, sizeof answer));
}

/* PINGREQ of the node, both of its addresses told. */
static void tell_indication(const struct deconz_frame *f)
{
    uint8_t answer[64];
    struct writer w = wr_to(answer, sizeof answer);
    const uint16_t from = speaker;
    if (more > 0)
        more--;
    else
        speaker = 0;
    wr_u8(&w, state());
    wr_bytes(&w, bytes_of("\x02\x00\x00\xE8\x04", 5));
    wr_u16_le(&w, from);
    wr_u32_le(&w, (uint32_t)node_64);
    wr_u32_le(&w, (uint32_t)(node_64 >> 32));
    wr_bytes(&w, bytes_of("\xE8\x05\xC1\x11\x00\x02\x00\x02\x16", 9));
    say_payload(f, DECONZ_OK, bytes_of(answer, wr_close(&w)));
}

static void on_command(const struct deconz_frame *f)
{
    static const uint8_t version[] = {0x00, 0x07, 0x78, 0x26};
    const uint8_t *payload = f->content.data + 2;
    if (mutes > 0) {
        mutes--;
        return;
    }
    switch (f->command) {
    case DECONZ_VERSION:
        say(f->command, f->seq, DECONZ_OK, bytes_of(version, sizeof version));
        break;
    case DECONZ_DEVICE_STATE:
        say(f->command, f->seq, DECONZ_OK, bytes_of((const uint8_t[]){state(), 0, 0}, 3));
        break;
    case DECONZ_CHANGE_NETWORK:
        network = f->content.data[0];
        say(f->command, f->seq, DECONZ_OK, bytes_of(&network, 1));
        break;
    case DECONZ_READ_PARAMETER:
        read_parameter(f, payload[0]);
        break;
    case DECONZ_WRITE_PARAMETER:
        if (payload[0] == PARAM_ENDPOINT) {
            endpoint_len = f->content.len - 4;
            memcpy(endpoint, payload + 2, endpoint_len);
        }
        say_payload(f, DECONZ_OK, bytes_of(payload, 1));
        break;
    case DECONZ_DATA_REQUEST:
        on_request(f, payload);
        break;
    case DECONZ_DATA_CONFIRM:
        tell_confirm(f);
        break;
    case DECONZ_DATA_INDICATION:
        tell_indication(f);
        break;
    default:
        ck_abort_msg("command %02x", f->command);
    }
}

static void read_host(struct bytes out)
{
    for (size_t i = 0; i < out.len; i++) {
        struct deconz_frame f;
        if (deconz_decode(&from_host, out.data[i], &f) == DECONZ_FRAME)
            on_command(&f);
    }
}

static void run(int64_t ms)
{
    const int64_t until_ms = now_ms + ms;
    for (;;) {
        struct bytes out;
        take_events();
        while (stick_peek_bytes(s, &out)) {
            uint8_t copy[512];
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
    }
    now_ms = until_ms;
}

static void tell_state(void)
{
    say(DECONZ_STATE_CHANGED, 1, DECONZ_OK, bytes_of((const uint8_t[]){state(), 0}, 2));
    run(10);
}

static void confirm(uint8_t id, uint8_t status)
{
    confirms[n_confirms].id = id;
    confirms[n_confirms++].status = status;
    tell_state();
}

static void node_says(uint16_t short_address)
{
    speaker = short_address;
    tell_state();
}

static void queue_one(void)
{
    struct peer_room room;
    uint8_t address[8];
    for (unsigned i = 0; i < 8; i++)
        address[i] = (uint8_t)(node_64 >> (56 - 8 * i));
    const struct peer *to = peer_make(&room, 0, PEER_EUI64, bytes_of(address, 8));
    stick_send(s, now_ms, to, bytes_of("\x02\x17", 2));
}

static void send_one(void)
{
    queue_one();
    run(10);
}

static void setup(void)
{
    struct stick_config config = stick_defaults();
    now_ms = 1000;
    network = CONNECTED;
    busy = false;
    prompt = false;
    mutes = more = 0;
    ups = downs = reopens = n_sent = n_confirms = packets = speaker = 0;
    endpoint_len = 0;
    memset(outcomes, 0, sizeof outcomes);
    memset(confirms, 0, sizeof confirms);
    memset(&from_host, 0, sizeof from_host);
    s = stick_new(stick_driver_find(bytes_of("deconz", 6)), &config, now_ms);
    ck_assert_ptr_nonnull(s);
    stick_opened(s, now_ms);
    run(3000);
    ck_assert_uint_eq(ups, 1);
    ck_assert_uint_gt(endpoint_len, 0);
    node_says(NODE_16);
    ck_assert_uint_eq(packets, 1);
}

static void teardown(void)
{
    stick_free(s);
}

START_TEST(a_node_that_keeps_failing_is_sought_by_its_64_bit_address)
{
    for (unsigned i = 0; i < 2; i++) {
        send_one();
        ck_assert_uint_eq(sent[i].mode, 2);
        ck_assert_uint_eq(sent[i].short_address, NODE_16);
        confirm(sent[i].id, NO_APS_ACK);
    }
    ck_assert_uint_eq(outcomes[STICK_FAILED], 2);
    send_one();
    ck_assert_uint_eq(sent[2].mode, 3);
    confirm(sent[2].id, 0);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 1);
}

END_TEST

START_TEST(a_confirm_for_an_unknown_id_changes_nothing)
{
    send_one();
    confirm((uint8_t)(sent[0].id + 9), 0);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 0);
    ck_assert_uint_eq(stick_counters(s)->unknown_ids, 1);
    confirm(sent[0].id, 0);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 1);
}

END_TEST

START_TEST(a_busy_stick_is_asked_again_for_two_seconds)
{
    busy = true;
    send_one();
    run(1900); /* after 0.5 s it was refused again */
    ck_assert_uint_eq(n_sent, 0);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 0);
    busy = false;
    run(1000);
    ck_assert_uint_eq(n_sent, 1);
    confirm(sent[0].id, 0);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 1);
}

END_TEST

/* Each takes two commands, the request and its confirm. Without them the nodes would say it all
 * again. */
START_TEST(answers_keep_pace_with_packets_that_pile_up)
{
    enum { ANSWERS = 20, WAITING = 200 };

    const unsigned before = packets;
    prompt = true;
    more = WAITING - 1;
    for (unsigned i = 0; i < ANSWERS; i++)
        queue_one();
    node_says(NODE_16);
    ck_assert_uint_eq(n_sent, ANSWERS);
    ck_assert_uint_eq(packets - before, WAITING);
    ck_assert_uint_le(packets_then - before, 2 * ANSWERS);
}

END_TEST

/* Its supply failed for a moment. It was not asked just then, or did not answer, and now all seems
 * as before; but it has forgotten where packets for us go. */
START_TEST(a_stick_that_was_silent_is_asked_whether_it_still_has_our_endpoint)
{
    mutes = 1;
    endpoint[0] = 1;
    run(10000);
    ck_assert_uint_eq(endpoint[0], 0xE8);
    ck_assert_uint_eq(downs, 1);
    ck_assert_uint_eq(ups, 2);
    ck_assert_uint_eq(stick_counters(s)->stick_resets, 1);
    send_one();
    ck_assert_uint_eq(n_sent, 1);
}

END_TEST

START_TEST(one_lost_answer_does_not_take_the_link_down)
{
    mutes = 2;
    run(20000);
    ck_assert_uint_eq(downs, 0);
    ck_assert_uint_eq(reopens, 0);
    ck_assert_uint_eq(ups, 1);
    send_one();
    ck_assert_uint_eq(n_sent, 1);
}

END_TEST

START_TEST(a_stick_that_answers_nothing_any_more_is_opened_again)
{
    mutes = 1000;
    run(10000);
    ck_assert_uint_eq(reopens, 1);
}

END_TEST

START_TEST(a_network_that_went_away_is_brought_back)
{
    network = 0;
    send_one();
    tell_state();
    run(5000);
    ck_assert_uint_eq(downs, 1);
    ck_assert_uint_eq(ups, 2);
    ck_assert_uint_eq(network, CONNECTED);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 0);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_deconz");
    TCase *tc = tcase_create("deconz");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_node_that_keeps_failing_is_sought_by_its_64_bit_address);
    tcase_add_test(tc, a_confirm_for_an_unknown_id_changes_nothing);
    tcase_add_test(tc, a_busy_stick_is_asked_again_for_two_seconds);
    tcase_add_test(tc, answers_keep_pace_with_packets_that_pile_up);
    tcase_add_test(tc, a_stick_that_was_silent_is_asked_whether_it_still_has_our_endpoint);
    tcase_add_test(tc, one_lost_answer_does_not_take_the_link_down);
    tcase_add_test(tc, a_stick_that_answers_nothing_any_more_is_opened_again);
    tcase_add_test(tc, a_network_that_went_away_is_brought_back);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
