/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The emulated ConBee, asked by hand: the octets of the radio reference (K.4), its polling
 * discipline, its network, its watchdog and its refusals.
 */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "tools/emu/emu.h"
#include "unit/golden.h"
#include "unit/suite.h"

enum { END = 0xC0, OUT_MAX = 4096 };

static struct ether *air;
static struct emu *stick;
static int64_t now_ms;
static size_t nodes_heard;
static uint8_t out[OUT_MAX];
static size_t out_len;

static struct emu_config config;

static void power(void)
{
    const struct ether_config ether = ether_defaults();
    const struct ether_node node = {
        .eui64 = 0x0013A20040522BAA,
        .short_address = 0x4A3B,
        .lqi = 0xC8,
        .rssi = -40,
        .endpoint = 0xE8,
        .profile = 0xC105,
        .cluster = 0x0011,
    };
    now_ms = 1000;
    nodes_heard = out_len = 0;
    air = ether_new(&ether, now_ms);
    stick = emu_new(&emu_deconz, &config, air, now_ms);
    ether_node_add(air, now_ms, &node);
}

static void setup(void)
{
    config = (struct emu_config){.seed = 1, .eui64 = 0x212EFFFF44332211, .formed = true};
    power();
}

static void teardown(void)
{
    emu_free(stick);
    ether_free(air);
}

static void again(void)
{
    teardown();
    power();
}

static void collect(void)
{
    struct bytes b;
    while (emu_peek_bytes(stick, now_ms, &b)) {
        ck_assert_uint_le(out_len + b.len, OUT_MAX);
        memcpy(out + out_len, b.data, b.len);
        out_len += b.len;
        emu_took(stick, b.len);
    }
}

static void run(int64_t ms)
{
    const int64_t end_ms = now_ms + ms;
    for (;;) {
        struct ether_event e;
        while (ether_peek_event(air, &e)) {
            nodes_heard += e.type == ETHER_EV_TO_NODE;
            emu_event(stick, now_ms, &e);
            ether_done_event(air);
        }
        collect();
        const int64_t at_ms = time_min(ether_next_deadline(air), emu_next_deadline(stick));
        if (at_ms > end_ms)
            break;
        if (at_ms > now_ms)
            now_ms = at_ms;
        ether_advance(air, now_ms);
        emu_advance(stick, now_ms);
    }
    now_ms = end_ms;
    ether_advance(air, now_ms);
    emu_advance(stick, now_ms);
    collect();
}

/* Until it is connected and nothing is left to say; the announcement was read. */
static void settle(void)
{
    run(2000);
}

static void write_octets(const char *text)
{
    size_t len;
    uint8_t *octets = golden_octets(text, &len);
    emu_input(stick, now_ms, bytes_of(octets, len));
    free(octets);
    run(0);
}

/* Command, sequence number 1 and what is behind the frame length; checksum and escapes are made. */
static void ask(uint8_t command, const char *rest)
{
    size_t len;
    uint8_t *octets = golden_octets(rest, &len), frame[300], line[600];
    struct writer f = wr_to(frame, sizeof frame), w = wr_to(line, sizeof line);
    wr_u8(&f, command);
    wr_u8(&f, 1);
    wr_u8(&f, 0);
    wr_u16_le(&f, (uint16_t)(len + 5));
    wr_bytes(&f, bytes_of(octets, len));
    uint16_t sum = 0;
    for (size_t i = 0; i < f.len; i++)
        sum = (uint16_t)(sum - frame[i]);
    wr_u16_le(&f, sum);
    wr_u8(&w, END);
    for (size_t i = 0; i < f.len; i++) {
        if (frame[i] == 0xC0 || frame[i] == 0xDB)
            wr_u8(&w, 0xDB);
        wr_u8(&w, frame[i] == 0xC0 ? 0xDC : frame[i] == 0xDB ? 0xDD : frame[i]);
    }
    wr_u8(&w, END);
    out_len = 0;
    emu_input(stick, now_ms, bytes_of(line, w.len));
    free(octets);
    run(0);
}

/* Octet `i` of the first frame that was said since the last ask(). Frames without escapes only. */
static uint8_t said(size_t i)
{
    ck_assert_uint_gt(out_len, i + 1);
    ck_assert_uint_eq(out[0], END);
    return out[1 + i];
}

static void assert_said(const char *text)
{
    size_t len;
    uint8_t *octets = golden_octets(text, &len);
    ck_assert_uint_ge(out_len, len);
    ck_assert_mem_eq(out, octets, len);
    free(octets);
}

static uint8_t state(void)
{
    ask(0x07, "00 00 00");
    return said(5);
}

/* Our endpoint, and the network started with it. */
static void open_endpoint(void)
{
    settle();
    ask(0x0B, "0E 00 13 00 E8 05 C1 01 00 00 01 11 00 01 11 00");
    ck_assert_uint_eq(said(2), 0);
    ask(0x08, "00");
    run(1000);
    ck_assert_uint_eq(state() & 3, 0);
    ask(0x08, "02");
    run(3000);
    ck_assert_uint_eq(state() & 3, 2);
    while ((state() & 0x08) != 0)
        ask(0x17, "01 00 01");
}

#define CONNACK "12 00 01 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00"

START_TEST(it_answers_with_the_octets_of_the_reference)
{
    settle();
    out_len = 0;
    write_octets("C0 0D 01 00 09 00 00 00 00 00 E9 FF C0");
    assert_said("C0 0D 01 00 09 00 00 07 78 26 44 FF C0");
    out_len = 0;
    write_octets("C0 0A 03 00 08 00 01 00 01 E9 FF C0");
    assert_said("C0 0A 03 00 10 00 09 00 01 11 22 33 44 FF FF 2E 21 E2 FC C0");
    out_len = 0;
    write_octets("C0 0B 05 00 0C 00 05 00 26 58 02 00 00 5F FF C0");
    assert_said("C0 0B 05 00 08 00 01 00 26 C1 FF C0");
}

END_TEST

START_TEST(a_packet_has_an_answer_and_then_a_confirm)
{
    open_endpoint();
    out_len = 0;
    write_octets("C0 12 0D 00 19 00 12 00 01 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00 78 "
                 "FC C0");
    assert_said("C0 12 0D 00 09 00 02 00 22 01 B3 FF C0");
    out_len = 0;
    run(100);
    ck_assert_uint_eq(nodes_heard, 1);
    ck_assert_uint_eq(said(0), 0x0E);
    ck_assert_uint_eq(said(5), 0x26); /* a confirm waits */
    out_len = 0;
    write_octets("C0 04 11 00 07 00 00 00 E4 FF C0");
    assert_said("C0 04 11 00 13 00 0C 00 22 01 02 3B 4A E8 E8 00 00 00 00 00 52 FD C0");
}

END_TEST

START_TEST(what_a_node_says_waits_until_it_is_asked_for)
{
    open_endpoint();
    out_len = 0;
    ether_node_send(air, now_ms, 0, false, bytes_of("\x08\x04\x04\x01\x00\x3C\x6E\x31", 8));
    run(100);
    ck_assert_uint_eq(said(0), 0x0E);
    ck_assert_uint_eq(said(5), 0x2A);
    ck_assert_uint_eq(out_len, 11); /* and nothing else */
    out_len = 0;
    write_octets("C0 17 10 00 08 00 01 00 01 CF FF C0");
    ck_assert_mem_eq(out + 6,
                     "\x1F\x00\x22\x02\x00\x00\xE8\x02\x3B\x4A\xE8\x05\xC1\x11\x00\x08\x00\x08"
                     "\x04\x04\x01\x00\x3C\x6E\x31",
                     25);
    ask(0x17, "01 00 01");
    ck_assert_uint_eq(said(2), 1); /* nothing is there any more */
}

END_TEST

START_TEST(a_sender_is_named_as_the_host_wishes_and_the_firmware_can)
{
    static const struct {
        unsigned firmware;
        const char *flags;
        uint8_t mode;
    } table[] = {
        {1, "01 00 01", 2},
        {1, "01 00 00", 3},
        {1, "01 00 04", 4},
        {3, "01 00 05", 2}
    };

    config.firmware = table[_i].firmware;
    again();
    open_endpoint();
    ether_node_send(air, now_ms, 0, false, bytes_of("\x02\x16", 2));
    run(100);
    ask(0x17, table[_i].flags);
    ck_assert_uint_eq(said(2), 0);
    ck_assert_uint_eq(said(12), table[_i].mode);
}

END_TEST

START_TEST(only_a_started_endpoint_hears)
{
    settle();
    while ((state() & 0x08) != 0) /* the node's announcement */
        ask(0x17, "01 00 01");
    ether_node_send(air, now_ms, 0, false, bytes_of("\x02\x16", 2));
    run(100);
    ck_assert_uint_eq(state() & 0x08, 0);
    ask(0x0B, "0E 00 13 00 E8 05 C1 01 00 00 01 11 00 01 11 00");
    ck_assert_uint_eq(state() & 0x10, 0x10);
    ether_node_send(air, now_ms, 0, false, bytes_of("\x02\x16", 2));
    run(100);
    ck_assert_uint_eq(state() & 0x08, 0);
}

END_TEST

START_TEST(an_announcement_is_a_zdo_message)
{
    open_endpoint();
    ether_node_rejoin(air, now_ms, 0, 0x5C5C, false);
    run(100);
    ask(0x17, "01 00 01");
    ck_assert_mem_eq(out + 8, "\x22\x02\xFD\xFF\x00\x02\x5C\x5C\x00\x00\x00\x13\x00\x0C\x00", 15);
    ck_assert_mem_eq(out + 24, "\x5C\x5C\xAA\x2B\x52\x40\x00\xA2\x13\x00\x8E", 11);
}

END_TEST

START_TEST(questions_about_addresses_are_answered_from_the_air)
{
    open_endpoint();
    ask(0x12,
        "1A 00 09 00 02 FD FF 00 00 00 00 00 00 0B 00 77 AA 2B 52 40 00 A2 13 00 00 00 00 00");
    ck_assert_uint_eq(said(2), 0);
    run(200);
    ck_assert_uint_eq(state() & 0x0C, 0x0C);
    ask(0x17, "01 00 01");
    ck_assert_mem_eq(out + 19, "\x00\x80\x0C\x00\x77\x00\xAA\x2B\x52\x40\x00\xA2\x13\x00\x3B\x4A",
                     16);
}

END_TEST

START_TEST(slots_are_used_up_and_free_when_the_confirm_was_read)
{
    open_endpoint();
    ask(0x12, "12 00 01 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00");
    ck_assert_uint_eq(said(7), 0x22);
    ask(0x12, "12 00 02 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00");
    ck_assert_uint_eq(said(7), 0x22);
    ask(0x12, "12 00 03 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00");
    ck_assert_uint_eq(said(7), 0x02);
    ask(0x12, "12 00 04 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00");
    ck_assert_uint_eq(said(2), 2); /* busy */
    ck_assert_uint_eq(said(8), 4);
    run(100);
    ck_assert_uint_eq(state(), 0x06);
    ask(0x04, "00 00");
    ck_assert_uint_eq(said(7), 0x26);
}

END_TEST

START_TEST(what_cannot_be_sent_is_refused)
{
    config.faults.busy_percent = 0;
    again();
    settle();
    ask(0x08, "00");
    run(1000);
    ask(0x12, CONNACK);
    ck_assert_uint_eq(said(2), 6); /* no network */
    again();
    open_endpoint();
    ask(0x12, "61 00 01 00 02 3B 4A E8 05 C1 11 00 E8 52 00 55*82 04 00");
    ck_assert_uint_eq(said(2), 0);
    ask(0x12, "62 00 02 00 02 3B 4A E8 05 C1 11 00 E8 53 00 55*83 04 00");
    ck_assert_uint_eq(said(2), 7);
    ask(0x12, "12 00 01 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04 00");
    ck_assert_uint_eq(said(2), 7); /* the id is in use */
    ask(0x12, "11 00 03 00 02 3B 4A E8 05 C1 11 00 E8 03 00 03 05 00 04");
    ck_assert_uint_eq(said(2), 7); /* cut short */
    ask(0x55, "00 00");
    ck_assert_uint_eq(said(2), 4);
    ask(0x0A, "01 00 77");
    ck_assert_uint_eq(said(2), 4);
    ask(0x0B, "03 00 05 62 1A 00");
    ck_assert_uint_eq(said(2), 7);
    ask(0x0B, "02 00 1C 0F"); /* cannot be written */
    ck_assert_uint_eq(said(2), 4);
}

END_TEST

START_TEST(failures_have_their_statuses)
{
    open_endpoint();
    ether_node_reach(air, 0, false);
    ask(0x12, CONNACK);
    run(6000);
    ask(0x04, "00 00");
    ck_assert_uint_eq(said(14), 0xA7);
    ask(0x12, "12 00 01 00 02 99 99 E8 05 C1 11 00 E8 03 00 03 05 00 04 00");
    run(6000);
    ask(0x04, "00 00");
    ck_assert_uint_eq(said(14), 0xD0);
}

END_TEST

START_TEST(faults_are_made_to_order)
{
    open_endpoint();
    emu_set_faults(stick, &(struct emu_faults){.busy_percent = 100});
    ask(0x12, CONNACK);
    ck_assert_uint_eq(said(2), 2);
    emu_set_faults(stick, &(struct emu_faults){.mute_percent = 100});
    ask(0x12, CONNACK);
    run(10000);
    ck_assert_uint_eq(nodes_heard, 1);
    ck_assert_uint_eq(state(), 0x22);
    emu_set_faults(stick, &(struct emu_faults){.stray_percent = 100});
    ask(0x12, CONNACK);
    run(100);
    ask(0x04, "00 00");
    ck_assert_uint_eq(said(8), 1);
    ask(0x04, "00 00");
    ck_assert_uint_eq(said(8), 101);
    ck_assert_uint_eq(state(), 0x22);
}

END_TEST

START_TEST(a_watchdog_that_is_not_fed_bites)
{
    settle();
    ask(0x0B, "05 00 26 0A 00 00 00");
    run(9000);
    ask(0x0B, "05 00 26 0A 00 00 00");
    run(9000);
    ck_assert_uint_eq(stick->resets, 0);
    run(2000);
    ck_assert_uint_eq(stick->resets, 1);
    run(2000);
    ck_assert_uint_eq(state() & 3, 2); /* and the network is there again */
}

END_TEST

START_TEST(older_firmware_has_no_watchdog)
{
    config.firmware = 3;
    again();
    settle();
    ask(0x0B, "05 00 26 58 02 00 00");
    ck_assert_uint_eq(said(2), 4);
    run(2000 * 1000);
    ck_assert_uint_eq(stick->resets, 0);
}

END_TEST

START_TEST(a_stick_without_network_is_offline_until_it_is_told_otherwise)
{
    config.formed = false;
    again();
    settle();
    run(10000);
    ck_assert_uint_eq(state() & 3, 0);
    ask(0x0B, "02 00 09 01");
    ask(0x0B, "05 00 0A 00 00 10 00");
    ask(0x0B, "02 00 15 01");
    ask(0x0B, "03 00 05 42 42");
    ask(0x08, "02");
    ck_assert_uint_eq(state() & 3, 1);
    run(5000);
    ck_assert_uint_eq(state() & 3, 2);
    ask(0x0A, "01 00 1C");
    ck_assert_uint_eq(said(8), 20);
    ask(0x0A, "01 00 05");
    ck_assert_mem_eq(out + 9, "\x42\x42", 2);
    emu_power_off(stick, now_ms);
    emu_power_on(stick, now_ms);
    settle();
    ck_assert_uint_eq(state() & 3, 2); /* it was stored */
}

END_TEST

START_TEST(some_firmware_never_speaks_by_itself)
{
    config.firmware = 4;
    again();
    settle();
    ck_assert_uint_eq(out_len, 0);
    ck_assert_uint_eq(state() & 3, 2);
}

END_TEST

START_TEST(some_firmware_counts_its_answers_itself)
{
    config.firmware = 5;
    again();
    settle();
    for (unsigned i = 0; i < 3; i++)
        ask(0x0D, "00 00 00 00");
    ck_assert_uint_eq(said(0), 0x0D);
    ck_assert_uint_ne(said(1), 1);
}

END_TEST

START_TEST(bad_frames_are_ignored)
{
    settle();
    out_len = 0;
    write_octets("C0 0D 01 00 09 00 00 00 00 00 E8 FF C0"); /* checksum */
    write_octets("C0 0D 01 00 0A 00 00 00 00 00 E8 FF C0"); /* length */
    write_octets("C0 0D DB 01 00 09 00 00 00 00 00 E9 FF C0");
    write_octets("C0 C0 C0");
    write_octets("C0 55*400 C0");
    ck_assert_uint_eq(out_len, 0);
    ck_assert_uint_eq(stick->bad_frames_in, 4);
    write_octets("0D 01 00 09 00 00 00 00 00 E9 FF C0");
    ck_assert_uint_gt(out_len, 0);
}

END_TEST

START_TEST(it_is_deaf_while_it_boots)
{
    write_octets("C0 0D 01 00 09 00 00 00 00 00 E9 FF C0");
    ck_assert_uint_eq(out_len, 0);
    settle();
    ask(0x1E, "");
    ck_assert_uint_eq(stick->resets, 1);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("emu_deconz");
    TCase *t = tcase_create("conbee");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, it_answers_with_the_octets_of_the_reference);
    tcase_add_test(t, a_packet_has_an_answer_and_then_a_confirm);
    tcase_add_test(t, what_a_node_says_waits_until_it_is_asked_for);
    tcase_add_loop_test(t, a_sender_is_named_as_the_host_wishes_and_the_firmware_can, 0, 4);
    tcase_add_test(t, only_a_started_endpoint_hears);
    tcase_add_test(t, an_announcement_is_a_zdo_message);
    tcase_add_test(t, questions_about_addresses_are_answered_from_the_air);
    tcase_add_test(t, slots_are_used_up_and_free_when_the_confirm_was_read);
    tcase_add_test(t, what_cannot_be_sent_is_refused);
    tcase_add_test(t, failures_have_their_statuses);
    tcase_add_test(t, faults_are_made_to_order);
    tcase_add_test(t, a_watchdog_that_is_not_fed_bites);
    tcase_add_test(t, older_firmware_has_no_watchdog);
    tcase_add_test(t, a_stick_without_network_is_offline_until_it_is_told_otherwise);
    tcase_add_test(t, some_firmware_never_speaks_by_itself);
    tcase_add_test(t, some_firmware_counts_its_answers_itself);
    tcase_add_test(t, bad_frames_are_ignored);
    tcase_add_test(t, it_is_deaf_while_it_boots);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
