/* SPDX-License-Identifier: Apache-2.0 */
/* The table of nodes: names and 16-bit addresses, packets whose sender has no name yet, limits. */
#include "unit/fake_stick.h"
#include "unit/suite.h"

enum { A = 0xA1, B = 0xB2, C = 0xC3 };

static struct stick *s;
static int64_t now_ms;
static struct stick_event last;
static struct peer_room last_from;
static uint8_t last_data[255];

static void make(uint32_t max_nodes)
{
    struct stick_config config = stick_defaults();
    config.max_nodes = max_nodes;
    config.link = 3;
    now_ms = 1000;
    s = stick_new(&fake_driver, &config, now_ms);
    ck_assert_ptr_nonnull(s);
    stick_opened(s, now_ms);
    stick_up(s, now_ms, 82, 4, 6000, "a network");
}

static void setup(void)
{
    make(8);
}

static void teardown(void)
{
    stick_free(s);
}

/* Takes packets until there are none; the last one stays in `last`. */
static unsigned packets(void)
{
    struct stick_event e;
    unsigned n = 0;
    for (; stick_peek_event(s, &e); stick_done_event(s)) {
        if (e.type != STICK_EV_PACKET)
            continue;
        n++;
        last = e;
        peer_copy(&last_from, e.peer);
        memcpy(last_data, e.packet.data, e.packet.len);
        last.peer = peer_in(&last_from);
        last.packet.data = last_data;
    }
    return n;
}

static uint64_t from(void)
{
    struct reader r = rd_of(bytes_of(last.peer->bytes, last.peer->addr_len));
    ck_assert_uint_eq(last.peer->kind, PEER_EUI64);
    ck_assert_uint_eq(last.peer->link, 3);
    return rd_u64(&r);
}

static const struct stick_radio unmarked;

static void heard(uint64_t eui64, uint16_t short_address, const char *text)
{
    stick_heard(s, now_ms, PEER_EUI64, eui64, short_address, &unmarked, bytes_str(text));
}

static bool heard_short(uint16_t short_address, const char *text)
{
    return stick_heard_short(s, now_ms, short_address, &unmarked, bytes_str(text));
}

static bool said(const char *text)
{
    return bytes_equal(last.packet, bytes_str(text));
}

START_TEST(a_packet_comes_with_the_name_of_its_node)
{
    const struct stick_radio radio = {
        .to_group = true, .has_lqi = true, .lqi = 200, .has_rssi = true, .rssi = -71};
    stick_heard(s, now_ms, PEER_EUI64, 0x0013A20040522BAA, 0x4A3B, &radio, bytes_str("hi"));
    ck_assert_uint_eq(packets(), 1);
    ck_assert_uint_eq(from(), 0x0013A20040522BAA);
    ck_assert(said("hi"));
    ck_assert(last.to_group);
    ck_assert(last.signal.has_lqi && last.signal.has_rssi);
    ck_assert_uint_eq(last.signal.lqi, 200);
    ck_assert_int_eq(last.signal.rssi, -71);
    char text[PEER_TEXT_MAX];
    ck_assert_str_eq(peer_print(last.peer, text, sizeof text), "0013a20040522baa");
    struct stick_node_info info;
    ck_assert(stick_node(s, 0, &info));
    ck_assert_uint_eq(info.short_address, 0x4A3B);
    ck_assert(info.has_lqi && info.has_rssi);
    ck_assert_uint_eq(info.lqi, 200);
    ck_assert_int_eq(info.rssi, -71);
    ck_assert_int_eq(info.heard_ms, now_ms);
}

END_TEST

START_TEST(empty_and_oversize_packets_are_counted_not_delivered)
{
    static const uint8_t big[256];
    heard(A, 1, "");
    stick_heard(s, now_ms, PEER_EUI64, A, 1, &unmarked, bytes_of(big, sizeof big));
    heard_short(9, "");
    stick_heard_short(s, now_ms, 9, &unmarked, bytes_of(big, sizeof big));
    ck_assert_uint_eq(packets(), 0);
    ck_assert_uint_eq(stick_counters(s)->empty_in, 2);
    ck_assert_uint_eq(stick_counters(s)->oversize_in, 2);
    ck_assert(!stick_is_held(s, 9));
}

END_TEST

START_TEST(a_short_address_is_enough_once_its_node_is_known)
{
    heard(A, 0x1111, "named");
    ck_assert(heard_short(0x1111, "short"));
    ck_assert_uint_eq(packets(), 2);
    ck_assert_uint_eq(from(), A);
    ck_assert(said("short"));
}

END_TEST

START_TEST(packets_wait_for_the_name_of_their_sender_in_order)
{
    ck_assert(!heard_short(0x1111, "one"));
    now_ms += STICK_HELD_MS - 1;
    ck_assert(!heard_short(0x2222, "other"));
    ck_assert(!heard_short(0x1111, "two"));
    now_ms += 1;
    stick_advance(s, now_ms); /* "one" has waited long enough: its place is free */
    ck_assert_uint_eq(stick_counters(s)->unresolved, 1);
    ck_assert(!heard_short(0x1111, "three"));
    ck_assert_uint_eq(packets(), 0);
    ck_assert(stick_is_held(s, 0x1111));

    stick_learn(s, now_ms, A, 0x1111);
    struct stick_event e;
    ck_assert(stick_peek_event(s, &e));
    ck_assert(bytes_equal(e.packet, bytes_str("two")));
    ck_assert_uint_eq(packets(), 2);
    ck_assert_uint_eq(from(), A);
    ck_assert(said("three"));
    ck_assert(!stick_is_held(s, 0x1111));
    ck_assert(stick_is_held(s, 0x2222));
}

END_TEST

START_TEST(held_packets_are_given_up_in_time_and_when_the_port_goes)
{
    heard_short(0x1111, "one");
    ck_assert_int_eq(stick_next_deadline(s), now_ms + STICK_HELD_MS);
    now_ms += STICK_HELD_MS;
    stick_advance(s, now_ms);
    ck_assert_uint_eq(stick_counters(s)->unresolved, 1);
    stick_learn(s, now_ms, A, 0x1111);
    ck_assert_uint_eq(packets(), 0);
    heard_short(0x2222, "two");
    stick_closed(s, now_ms);
    ck_assert_uint_eq(stick_counters(s)->unresolved, 2);
    stick_opened(s, now_ms);
    stick_learn(s, now_ms, B, 0x2222);
    ck_assert_uint_eq(packets(), 0);
}

END_TEST

START_TEST(only_so_many_packets_are_held)
{
    for (unsigned i = 0; i < STICK_HELD + 5; i++)
        heard_short((uint16_t)(1 + i), "x");
    ck_assert_uint_eq(stick_counters(s)->unresolved, 5);
    for (unsigned i = 0; i < STICK_HELD + 5; i++)
        ck_assert_int_eq(stick_is_held(s, (uint16_t)(1 + i)), i < STICK_HELD);
}

END_TEST

START_TEST(learning_makes_no_node_of_its_own)
{
    stick_learn(s, now_ms, A, 0x1111);
    ck_assert_ptr_null(stick_find(s, PEER_EUI64, A));
    ck_assert_ptr_null(stick_find_short(s, 0x1111));
}

END_TEST

START_TEST(a_node_may_change_its_short_address)
{
    heard(A, 0x1111, "x");
    heard(A, 0x2222, "x");
    ck_assert_ptr_null(stick_find_short(s, 0x1111));
    ck_assert_ptr_eq(stick_find_short(s, 0x2222), stick_find(s, PEER_EUI64, A));
    stick_learn(s, now_ms, A, 0x3333);
    ck_assert_ptr_null(stick_find_short(s, 0x2222));
    ck_assert_ptr_eq(stick_find_short(s, 0x3333), stick_find(s, PEER_EUI64, A));
    stick_learn(s, now_ms, A, SHORT_UNKNOWN);
    ck_assert_ptr_null(stick_find_short(s, 0x3333));
    ck_assert_ptr_null(stick_find_short(s, SHORT_UNKNOWN));
}

END_TEST

START_TEST(a_short_address_moves_between_nodes)
{
    heard(A, 0x1111, "x");
    heard(B, 0x2222, "x");
    heard(B, 0x1111, "x"); /* B has taken A's */
    ck_assert_ptr_eq(stick_find_short(s, 0x1111), stick_find(s, PEER_EUI64, B));
    ck_assert_ptr_null(stick_find_short(s, 0x2222));
    ck_assert_uint_eq(stick_find(s, PEER_EUI64, A)->short_address, SHORT_UNKNOWN);
    packets();
    ck_assert(heard_short(0x1111, "whose?"));
    ck_assert_uint_eq(packets(), 1);
    ck_assert_uint_eq(from(), B);
    /* A stranger takes it: what comes from there is B's no more, though nobody knows the stranger. */
    stick_learn(s, now_ms, C, 0x1111);
    ck_assert_ptr_null(stick_find_short(s, 0x1111));
    ck_assert(!heard_short(0x1111, "whose now?"));
}

END_TEST

START_TEST(addresses_of_broadcasts_are_nobody_s)
{
    for (uint32_t address = 0xFFF8; address <= 0xFFFF; address++) {
        heard(A, (uint16_t)address, "x");
        stick_learn(s, now_ms, A, (uint16_t)address);
        ck_assert_ptr_null(stick_find_short(s, (uint16_t)address));
        ck_assert_uint_eq(stick_find(s, PEER_EUI64, A)->short_address, SHORT_UNKNOWN);
    }
}

END_TEST

START_TEST(kinds_of_addresses_do_not_mix)
{
    stick_heard(s, now_ms, PEER_SHORT, 0x1111, SHORT_UNKNOWN, &unmarked, bytes_str("x"));
    heard(0x1111, SHORT_UNKNOWN, "x");
    stick_heard(s, now_ms, PEER_SERIAL, 0, SHORT_UNKNOWN, &unmarked, bytes_str("x"));
    struct stick_node_info info;
    ck_assert(stick_node(s, 2, &info));
    ck_assert(!stick_node(s, 3, &info));
    ck_assert_ptr_ne(stick_find(s, PEER_SHORT, 0x1111), stick_find(s, PEER_EUI64, 0x1111));
}

END_TEST

/* ---- limits ------------------------------------------------------------------------------------ */

START_TEST(the_longest_unheard_node_gives_way)
{
    for (uint64_t i = 1; i <= 8; i++)
        heard(i, (uint16_t)i, "x");
    heard(1, 1, "again");
    heard(9, 9, "x");
    ck_assert_ptr_null(stick_find(s, PEER_EUI64, 2));
    ck_assert_ptr_null(stick_find_short(s, 2));
    ck_assert_ptr_nonnull(stick_find(s, PEER_EUI64, 1));
    ck_assert_uint_eq(stick_counters(s)->nodes_forgotten, 1);
}

END_TEST

START_TEST(a_node_with_packets_does_not_give_way)
{
    for (uint64_t i = 1; i <= 8; i++)
        heard(i, (uint16_t)i, "x");
    stick_pause(s);
    for (uint64_t i = 1; i <= 3; i++)
        fake_send(s, now_ms, PEER_EUI64, i, 1, 20);
    heard(9, 9, "x");
    ck_assert_ptr_null(stick_find(s, PEER_EUI64, 4));
    for (uint64_t i = 1; i <= 3; i++)
        ck_assert_ptr_nonnull(stick_find(s, PEER_EUI64, i));
}

END_TEST

START_TEST(a_table_full_of_waiting_nodes_takes_nobody)
{
    for (uint64_t i = 1; i <= 8; i++)
        fake_send(s, now_ms, PEER_EUI64, i, 1, 20);
    packets();
    heard(9, 9, "x");
    ck_assert_uint_eq(packets(), 0);
    ck_assert_uint_eq(stick_counters(s)->unresolved, 1);
    fake_send(s, now_ms, PEER_EUI64, 9, 1, 20);
    struct stick_event e;
    ck_assert(stick_peek_event(s, &e));
    ck_assert_int_eq(e.type, STICK_EV_OUTCOME);
    ck_assert_int_eq(e.outcome, STICK_NOT_SENT);
    ck_assert_uint_eq(stick_counters(s)->not_sent, 1);
}

END_TEST

START_TEST(the_walk_shows_each_node_once_even_while_they_come_and_go)
{
    teardown();
    make(50);
    for (uint64_t i = 0; i < 80; i++) {
        heard(i, (uint16_t)i, "x");
        const size_t count = i < 50 ? (size_t)i + 1 : 50;
        uint64_t sum = 0;
        struct stick_node_info info;
        for (size_t k = 0; k < count; k++) {
            ck_assert(stick_node(s, k, &info));
            sum += info.short_address;
            if (k == count / 2) /* a look at an earlier one in between */
                ck_assert(stick_node(s, 0, &info));
        }
        ck_assert(!stick_node(s, count, &info));
        const uint64_t first = i < 50 ? 0 : i - 49;
        ck_assert_uint_eq(sum, (first + i) * (i - first + 1) / 2);
    }
    packets();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_nodes");
    TCase *tc = tcase_create("nodes");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_packet_comes_with_the_name_of_its_node);
    tcase_add_test(tc, empty_and_oversize_packets_are_counted_not_delivered);
    tcase_add_test(tc, a_short_address_is_enough_once_its_node_is_known);
    tcase_add_test(tc, packets_wait_for_the_name_of_their_sender_in_order);
    tcase_add_test(tc, held_packets_are_given_up_in_time_and_when_the_port_goes);
    tcase_add_test(tc, only_so_many_packets_are_held);
    tcase_add_test(tc, learning_makes_no_node_of_its_own);
    tcase_add_test(tc, a_node_may_change_its_short_address);
    tcase_add_test(tc, a_short_address_moves_between_nodes);
    tcase_add_test(tc, addresses_of_broadcasts_are_nobody_s);
    tcase_add_test(tc, kinds_of_addresses_do_not_mix);
    tcase_add_test(tc, the_longest_unheard_node_gives_way);
    tcase_add_test(tc, a_node_with_packets_does_not_give_way);
    tcase_add_test(tc, a_table_full_of_waiting_nodes_takes_nobody);
    tcase_add_test(tc, the_walk_shows_each_node_once_even_while_they_come_and_go);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
