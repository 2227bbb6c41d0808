/* SPDX-License-Identifier: Apache-2.0 */
/* The emulated XBee by its octets: what a host says, what the module answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "tools/emu/emu_xbee.h"
#include "unit/golden.h"
#include "unit/suite.h"

enum { NODE_16 = 0x7D84 };

static const uint64_t node_64 = 0x0013A20040522BAA;

static struct ether *ether;
static struct emu *m;
static int64_t now_ms;
static uint8_t to_node[256];
static size_t to_node_len;
static unsigned to_nodes;

static void start(unsigned firmware, bool formed)
{
    struct ether_config e = ether_defaults();
    e.max_payload = 110;
    const struct emu_config c = {
        .eui64 = 0x0013A200400A0127, .formed = formed, .firmware = firmware};
    now_ms = 0;
    to_nodes = 0;
    ether = ether_new(&e, 0);
    m = emu_new(&emu_xbee, &c, ether, 0);
    ck_assert(ether != NULL && m != NULL);
}

static void stop(void)
{
    emu_free(m);
    ether_free(ether);
}

static void add_node(void)
{
    const struct ether_node node = {.eui64 = node_64,
                                    .short_address = NODE_16,
                                    .rssi = -40,
                                    .endpoint = 0xE8,
                                    .profile = 0xC105,
                                    .cluster = 0x0011};
    ck_assert_int_eq(ether_node_add(ether, now_ms, &node), 0);
}

static void run(int64_t ms)
{
    const int64_t until_ms = now_ms + ms;
    for (;;) {
        struct ether_event e;
        ether_advance(ether, now_ms);
        while (ether_peek_event(ether, &e)) {
            if (e.type == ETHER_EV_TO_NODE) {
                to_nodes++;
                to_node_len = e.payload.len;
                memcpy(to_node, e.payload.data, e.payload.len);
            } else {
                emu_event(m, now_ms, &e);
            }
            ether_done_event(ether);
        }
        emu_advance(m, now_ms);
        const int64_t next_ms = time_min(ether_next_deadline(ether), emu_next_deadline(m));
        if (next_ms > until_ms)
            break;
        now_ms = next_ms;
    }
    now_ms = until_ms;
}

/* The octets that the module has said up to now, in hexadecimal. */
static const char *said(void)
{
    static char text[4096];
    struct bytes out;
    size_t n = 0;
    text[0] = '\0';
    while (emu_peek_bytes(m, now_ms, &out)) {
        for (size_t i = 0; i < out.len && n < sizeof text - 3; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%02X", n > 0 ? " " : "",
                                  out.data[i]);
        emu_took(m, out.len);
    }
    return text;
}

static void says(const char *hex)
{
    const char *got = said();
    ck_assert_msg(strcmp(got, hex) == 0, "expected %s\n     got %s", hex, got);
}

static void tell(const char *hex)
{
    size_t len;
    uint8_t *octets = golden_octets(hex, &len);
    emu_input(m, now_ms, bytes_of(octets, len));
    free(octets);
}

static void tell_text(const char *text)
{
    emu_input(m, now_ms, bytes_str(text));
}

START_TEST(at_power_it_says_so_and_then_that_the_network_is_there)
{
    start(EMU_XBEE_ZIGBEE, true);
    says("7E 00 02 8A 00 75");
    tell("7E 00 04 08 01 41 49 6C"); /* AI */
    says("7E 00 06 88 01 41 49 00 FF ED");
    run(300);
    says("7E 00 02 8A 06 6F");
    tell("7E 00 04 08 01 41 49 6C");
    says("7E 00 06 88 01 41 49 00 00 EC");
    stop();

    start(EMU_XBEE_802154 + EMU_XBEE_AP1, false);
    run(10000);
    says("7E 00 02 8A 00 75");
    stop();
}

END_TEST

START_TEST(questions_of_the_reference_get_its_answers)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    said();
    tell("7E 00 04 08 07 53 48 55"); /* SH */
    says("7E 00 09 88 07 53 48 00 00 7D 33 A2 00 20");
    tell("7E 00 04 08 52 4E 50 07"); /* NP */
    says("7E 00 07 88 52 4E 50 00 00 42 45");
    tell("7E 00 04 08 01 41 50 65"); /* AP */
    says("7E 00 06 88 01 41 50 00 02 E3");
    tell("7E 00 05 08 01 41 50 07 5E"); /* AP=7 */
    says("7E 00 05 88 01 41 50 03 E2");
    tell("7E 00 04 08 01 51 51 54"); /* unknown */
    says("7E 00 05 88 01 51 51 02 D2");
    tell("7E 00 05 08 01 53 48 00 5B"); /* SH is not to be set */
    says("7E 00 05 88 01 53 48 01 DA");
    tell("7E 00 04 08 00 41 50 66"); /* id 0 */
    says("");
    stop();

    start(EMU_XBEE_802154, false);
    said();
    tell("7E 00 04 08 01 4F 50 57"); /* OP: not in this firmware */
    says("7E 00 05 88 01 4F 50 02 D5");
    stop();
}

END_TEST

START_TEST(settings_are_lost_with_a_reset_unless_written)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    said();
    tell("7E 00 05 08 01 41 50 01 64"); /* AP=1 */
    says("7E 00 05 88 01 41 50 00 E5");
    tell("7E 00 04 08 11 41 50 55"); /* now without escapes */
    says("7E 00 06 88 11 41 50 00 01 D4");
    emu_reset(m, now_ms);
    said();
    tell("7E 00 04 08 01 41 50 65");
    says("7E 00 06 88 01 41 50 00 02 E3");
    tell("7E 00 05 08 01 41 50 01 64");
    tell("7E 00 04 08 01 57 52 4D"); /* WR */
    said();
    tell("7E 00 04 08 01 46 52 5E"); /* FR */
    says("7E 00 05 88 01 46 52 00 DE");
    run(20);
    says("7E 00 02 8A 01 74");
    tell("7E 00 04 08 01 41 50 65");
    says("7E 00 06 88 01 41 50 00 01 E4");
    stop();
}

END_TEST

START_TEST(queued_settings_wait_for_ac)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    said();
    tell("7E 00 05 09 01 4E 48 05 5A"); /* NH=5, queued */
    tell("7E 00 04 08 01 4E 48 60");
    says("7E 00 05 88 01 4E 48 00 E0 7E 00 06 88 01 4E 48 00 1E C2");
    tell("7E 00 04 08 01 41 43 72"); /* AC */
    said();
    tell("7E 00 04 08 01 4E 48 60");
    says("7E 00 06 88 01 4E 48 00 05 DB");
    stop();
}

END_TEST

START_TEST(a_zigbee_send_gets_its_status_with_the_real_address)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    add_node();
    run(100);
    said();
    /* CONNACK to the node, both addresses known. */
    tell("7E 00 7D 31 10 02 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 03 05 00 C8");
    run(100);
    says("7E 00 07 8B 02 7D 5D 84 00 00 00 71");
    ck_assert_uint_eq(to_nodes, 1);
    ck_assert_mem_eq(to_node, "\x03\x05\x00", 3);
    /* PUBLISH with all reserved octets, 16-bit address unknown: it is discovered. */
    tell("7E 00 19 10 7D 31 00 7D 33 A2 00 40 52 2B AA FF FE 00 40 0B 0C 00 00 7D 31 00 00 7D 5E "
         "7D 5D 7D 31 7D 33 3E");
    run(100);
    says("7E 00 07 8B 7D 31 7D 5D 84 00 00 01 61");
    ck_assert_uint_eq(to_node_len, 11);
    ck_assert_mem_eq(to_node + 7, "\x7E\x7D\x11\x13", 4);
    /* Explicit, to the same port. */
    tell("7E 00 16 7D 31 03 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 E8 E8 00 7D 31 C1 05 00 00 02 17 "
         "0E");
    run(100);
    says("7E 00 07 8B 03 7D 5D 84 00 00 00 70");
    /* Nobody of that name. */
    tell("7E 00 7D 31 10 02 00 7D 33 A2 00 40 52 2B BB FF FE 00 00 03 05 00 BB");
    run(100);
    says("7E 00 07 8B 02 FF FD 03 24 03 4C");
    /* An address that is not the node's any more. */
    ether_node_rejoin(ether, now_ms, 0, 0x1234, true);
    tell("7E 00 7D 31 10 02 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 03 05 00 C8");
    run(199);
    says("");
    run(1);
    says("7E 00 07 8B 02 FF FD 03 24 02 4D");
    stop();
}

END_TEST

START_TEST(frame_id_zero_and_broadcasts_and_what_is_too_long)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    add_node();
    run(100);
    said();
    tell("7E 00 7D 31 10 00 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 03 05 00 CA");
    run(100);
    says("");
    ck_assert_uint_eq(to_nodes, 1);
    tell("7E 00 7D 31 10 01 00 00 00 00 00 00 FF FF FF FE 00 00 03 01 00 EF");
    run(100);
    says("7E 00 07 8B 01 FF FE 00 00 00 76");
    ck_assert_uint_eq(to_nodes, 2);
    /* 67 octets with EE=1: 14 + 67 = 81 = 51h; each is 55h. */
    tell("7E 00 51 10 05 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 55*67 8E");
    says("7E 00 07 8B 05 FF FD 00 74 00 FF");
    ck_assert_uint_eq(to_nodes, 2);
    /* To itself. */
    tell("7E 00 7D 31 10 06 00 00 00 00 00 00 00 00 FF FE 00 00 03 05 00 E4");
    says("7E 00 07 8B 06 FF FD 00 23 00 4F");
    stop();
}

END_TEST

START_TEST(before_the_network_is_there_nothing_is_sent)
{
    start(EMU_XBEE_ZIGBEE, false);
    said();
    tell("7E 00 7D 31 10 01 00 00 00 00 00 00 FF FF FF FE 00 00 03 01 00 EF");
    says("7E 00 07 8B 01 FF FD 00 22 00 55");
    run(3999);
    says("");
    run(1);
    says("7E 00 02 8A 06 6F");
    stop();
}

END_TEST

START_TEST(what_nodes_send_comes_as_the_firmware_tells_it)
{
    static const struct {
        unsigned firmware;
        const char *heard;
    } cases[] = {
        {EMU_XBEE_ZIGBEE,                        "7E 00 0F 90 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 02 03 01 00 4C"},
        {EMU_XBEE_ZIGBEE + EMU_XBEE_AP1,
         "7E 00 0F 90 00 13 A2 00 40 52 2B AA 7D 84 02 03 01 00 4C"                                              },
        {EMU_XBEE_802154,                        "7E 00 08 81 7D 5D 84 28 02 03 01 00 4F"                        },
        {EMU_XBEE_802154_LONG,                   "7E 00 0E 80 00 7D 33 A2 00 40 52 2B AA 28 02 03 01 00 35"      },
        {EMU_XBEE_802154_NEW,                    "7E 00 0F 90 00 7D 33 A2 00 40 52 2B AA FF FE 02 03 01 00 50"   },
        {EMU_XBEE_ZIGBEE + EMU_XBEE_TRANSPARENT, "03 01 00"                                                      },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(cases[i].firmware, true);
        run(1000);
        add_node();
        run(100);
        said();
        ether_node_send(ether, now_ms, 0, true, bytes_of("\x03\x01\x00", 3));
        run(100);
        says(cases[i].heard);
        stop();
    }
}

END_TEST

START_TEST(with_ao_1_it_tells_the_port)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    add_node();
    run(100);
    tell("7E 00 05 08 01 41 4F 01 65"); /* AO=1 */
    said();
    ether_node_send(ether, now_ms, 0, false, bytes_of("\x02\x16", 2));
    run(100);
    says("7E 00 14 91 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 E8 E8 00 7D 31 C1 05 01 02 16 91");
    stop();
}

END_TEST

START_TEST(a_join_is_told_with_the_name)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    said();
    add_node();
    run(100);
    const char *text = said();
    ck_assert_ptr_nonnull(strstr(text, "95 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 02"));
    stop();
}

END_TEST

START_TEST(old_802154_sends_to_both_kinds_of_addresses)
{
    start(EMU_XBEE_802154, false);
    add_node();
    run(100);
    said();
    tell("7E 00 07 01 05 7D 5D 84 00 02 17 DF"); /* 16-bit */
    run(100);
    says("7E 00 03 89 05 00 71");
    tell("7E 00 0D 00 06 00 7D 33 A2 00 40 52 2B AA 00 02 17 C4"); /* 64-bit */
    run(100);
    says("7E 00 03 89 06 00 70");
    tell("7E 00 0E 00 04 00 00 00 00 00 00 FF FF 00 03 02 01 F7"); /* everybody */
    run(100);
    says("7E 00 03 89 04 00 72");
    ck_assert_uint_eq(to_nodes, 3);
    tell("7E 00 07 01 05 00 7D 31 00 02 17 CF"); /* nobody */
    run(100);
    says("7E 00 03 89 05 01 70");
    tell("7E 00 6A 01 05 7D 5D 84 00 55*101 6F");
    says("7E 00 03 89 05 74 FD");
    /* It does not know the other firmware's frames. */
    tell("7E 00 7D 31 10 02 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 03 05 00 C8");
    run(100);
    says("");
    stop();
}

END_TEST

START_TEST(an_unreachable_node_fails_late_and_a_sleeping_one_expires)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    add_node();
    run(100);
    said();
    ether_node_reach(ether, 0, false);
    tell("7E 00 7D 31 10 06 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 03 05 00 C4");
    run(4799);
    says("");
    run(1);
    says("7E 00 07 8B 06 FF FD 03 21 00 4E");
    stop();
}

END_TEST

START_TEST(slots_are_few_and_busy_is_said)
{
    start(EMU_XBEE_ZIGBEE, true);
    run(1000);
    add_node();
    run(100);
    said();
    for (unsigned i = 0; i < 9; i++)
        tell("7E 00 7D 31 10 02 00 7D 33 A2 00 40 52 2B AA 7D 5D 84 00 00 03 05 00 C8");
    says("7E 00 07 8B 02 FF FD 00 18 00 5E");
    run(100);
    ck_assert_uint_eq(to_nodes, 8);
    stop();
}

END_TEST

START_TEST(a_bad_frame_is_dropped_and_the_next_one_heard)
{
    static const char *const bad[] = {
        "7E 00 04 08 01 41 50 66", /* checksum */
        "7E 00 04 08 01",          /* cut by the next start, in AP=2 */
        "7E FF FF 08 01 41 50 66", /* longer than any */
        "7E 00 00 FF",             /* empty */
        "00 01 02 03",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        start(EMU_XBEE_ZIGBEE, true);
        run(1000);
        said();
        tell(bad[i]);
        says("");
        tell("7E 00 04 08 01 41 50 65");
        says("7E 00 06 88 01 41 50 00 02 E3");
        ck_assert_uint_eq(m->bad_frames_in, i < 4);
        stop();
    }
}

END_TEST

/* ---- transparent mode -------------------------------------------------------------------------- */

static void says_text(const char *text)
{
    char got[256];
    struct writer w = wr_to(got, sizeof got);
    struct bytes out;
    while (emu_peek_bytes(m, now_ms, &out)) {
        wr_bytes(&w, out);
        emu_took(m, out.len);
    }
    ck_assert_msg(bytes_equal(bytes_of(got, w.len), bytes_str(text)), "%.*s", (int)w.len, got);
}

START_TEST(silence_plus_plus_plus_silence_opens_the_command_mode)
{
    start(EMU_XBEE_ZIGBEE + EMU_XBEE_TRANSPARENT, true);
    run(2000);
    tell("7E 00 04 08 01 41 50 65");
    run(1100);
    says_text("");
    tell_text("+++");
    run(999);
    says_text("");
    run(1);
    says_text("OK\r");
    tell_text("ATAP\r");
    says_text("0\r");
    tell_text("ATSL\r");
    says_text("400A0127\r");
    tell_text("ATQQ\r");
    says_text("ERROR\r");
    tell_text("ATAP2,WR\r");
    says_text("OK\rOK\r");
    tell_text("ATCN\r");
    says_text("OK\r");
    tell("7E 00 04 08 01 41 50 65");
    says("7E 00 06 88 01 41 50 00 02 E3");
    emu_reset(m, now_ms);
    run(1000);
    says("7E 00 02 8A 00 75 7E 00 02 8A 06 6F");
    stop();
}

END_TEST

START_TEST(without_silence_it_stays_closed_and_by_itself_it_closes)
{
    start(EMU_XBEE_ZIGBEE + EMU_XBEE_TRANSPARENT, true);
    run(2000);
    tell_text("x+++");
    run(2000);
    tell_text("+++x");
    run(2000);
    tell_text("++++");
    run(2000);
    says_text("");
    tell_text("+++");
    run(1000);
    says_text("OK\r");
    tell_text("ATAP2\r");
    says_text("OK\r");
    tell("7E 00 04 08 01 41 50 65"); /* not yet */
    says_text("");
    run(10000); /* closed by itself: what was set takes effect */
    tell("7E 00 04 08 01 41 50 65");
    says("7E 00 06 88 01 41 50 00 02 E3");
    stop();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("emu_xbee");
    TCase *t = tcase_create("octets");
    tcase_add_test(t, at_power_it_says_so_and_then_that_the_network_is_there);
    tcase_add_test(t, questions_of_the_reference_get_its_answers);
    tcase_add_test(t, settings_are_lost_with_a_reset_unless_written);
    tcase_add_test(t, queued_settings_wait_for_ac);
    tcase_add_test(t, a_zigbee_send_gets_its_status_with_the_real_address);
    tcase_add_test(t, frame_id_zero_and_broadcasts_and_what_is_too_long);
    tcase_add_test(t, before_the_network_is_there_nothing_is_sent);
    tcase_add_test(t, what_nodes_send_comes_as_the_firmware_tells_it);
    tcase_add_test(t, with_ao_1_it_tells_the_port);
    tcase_add_test(t, a_join_is_told_with_the_name);
    tcase_add_test(t, old_802154_sends_to_both_kinds_of_addresses);
    tcase_add_test(t, an_unreachable_node_fails_late_and_a_sleeping_one_expires);
    tcase_add_test(t, slots_are_few_and_busy_is_said);
    tcase_add_test(t, a_bad_frame_is_dropped_and_the_next_one_heard);
    tcase_add_test(t, silence_plus_plus_plus_silence_opens_the_command_mode);
    tcase_add_test(t, without_silence_it_stays_closed_and_by_itself_it_closes);
    suite_add_tcase(s, t);
    return run_suite(s);
}
