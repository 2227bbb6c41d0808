/* SPDX-License-Identifier: Apache-2.0 */
/* What of a broker's may reach the MQTT library. (The forms of packets: tests/e2e/test_mqtt_guard.c.) */
#include <stdlib.h>

#include "broker/mqtt_guard.h"
#include "unit/seed.h"
#include "unit/suite.h"

static struct guard g;
static char why[GUARD_WHY_MAX];

static enum guard_verdict ack(uint8_t first, uint16_t id)
{
    const uint8_t octets[] = {(uint8_t)(id >> 8), (uint8_t)id, 0};
    const bool has_code = first == 0x90;
    return guard_received(&g, first, bytes_of(octets, has_code ? 3 : 2), why);
}

static void begin(void)
{
    guard_begin(&g, 4);
    ck_assert_int_eq(guard_received(&g, 0x20, bytes_of("\0\0", 2), why), GUARD_PASS);
}

START_TEST(what_was_never_begun_passes)
{
    ck_assert_int_eq(guard_received(&g, 0xF7, bytes_of("x", 1), why), GUARD_PASS);
    ck_assert_int_eq(ack(0x40, 1), GUARD_PASS);
}

END_TEST

START_TEST(a_new_connection_knows_nothing_of_the_last_one)
{
    begin();
    guard_sent(&g, 0x32, 7);
    begin();
    ck_assert_int_eq(ack(0x40, 7), GUARD_IGNORE);
    guard_end(&g);
    ck_assert_ptr_null(g.slots);
}

END_TEST

/* As Paho repeats it when a session goes on. */
START_TEST(an_exchange_may_go_on_with_pubrel)
{
    begin();
    ck_assert_int_eq(ack(0x70, 7), GUARD_IGNORE);
    guard_sent(&g, 0x62, 7);
    ck_assert_int_eq(ack(0x70, 7), GUARD_PASS);
    ck_assert_int_eq(ack(0x70, 7), GUARD_IGNORE);
    guard_end(&g);
}

END_TEST

START_TEST(an_idle_connection_costs_nothing)
{
    begin();
    guard_sent(&g, 0x30, 0); /* QoS 0 */
    guard_sent(&g, 0xC0, 0);
    ck_assert_ptr_null(g.slots);
    guard_end(&g);
}

END_TEST

/* All ids, of any kind, against a table of all ids. */
START_TEST(it_knows_what_is_open_whatever_the_order)
{
    enum { IDS = 65536, STEPS = 20000 };

    static const struct {
        uint8_t asked, answer;
    } kinds[] = {
        {0x32, 0x40},
        {0x62, 0x70},
        {0x82, 0x90},
        {0xA2, 0xB0},
    };

    uint8_t *open = calloc(1, IDS); /* 1 + kind */
    unsigned n = 0;
    struct rng rng = seeded_rng();
    begin();
    for (unsigned step = 0; step < STEPS; step++) {
        /* Neighbours, and what has the same last bits: chains in the table. */
        const uint64_t far = rng_below(&rng, 64) * (_i == 0 ? 1 : 1024);
        const uint16_t id = (uint16_t)(far + rng_below(&rng, _i == 0 ? 900 : 16));
        const unsigned kind = (unsigned)rng_below(&rng, 4);
        if (id == 0)
            continue;
        if (rng_below(&rng, 2) == 0) {
            n += open[id] == 0;
            open[id] = (uint8_t)(1 + kind);
            guard_sent(&g, kinds[kind].asked, id);
        } else if (open[id] == 0) {
            ck_assert_int_eq(ack(kinds[kind].answer, id), GUARD_IGNORE);
        } else if (open[id] != 1 + kind) {
            ck_assert_int_eq(ack(kinds[kind].answer, id), GUARD_BROKEN);
        } else {
            ck_assert_int_eq(ack(kinds[kind].answer, id), GUARD_PASS);
            open[id] = 0;
            n--;
        }
        ck_assert_uint_eq(g.open, n);
        ck_assert_uint_le(4 * g.open, g.size);
    }
    guard_end(&g);
    free(open);
}

END_TEST

START_TEST(a_limit_of_nothing_is_against_the_rules)
{
    static const struct {
        uint8_t octets[8];
        size_t len;
        enum guard_verdict verdict;
    } connacks[] = {
        {{0, 0, 3, 0x21, 0, 0},       6, GUARD_BROKEN},
        {{0, 0, 3, 0x21, 1, 0},       6, GUARD_PASS  },
        {{0, 0, 5, 0x27, 0, 0, 0, 0}, 8, GUARD_BROKEN},
        {{0, 0, 5, 0x27, 0, 0, 0, 9}, 8, GUARD_PASS  },
    };
    const struct bytes connack = bytes_of(connacks[_i].octets, connacks[_i].len);
    guard_begin(&g, 5);
    ck_assert_int_eq(guard_received(&g, 0x20, connack, why), connacks[_i].verdict);
    guard_end(&g);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("guard");
    TCase *t = tcase_create("guard");
    tcase_add_test(t, what_was_never_begun_passes);
    tcase_add_test(t, a_new_connection_knows_nothing_of_the_last_one);
    tcase_add_test(t, an_exchange_may_go_on_with_pubrel);
    tcase_add_test(t, an_idle_connection_costs_nothing);
    tcase_add_loop_test(t, it_knows_what_is_open_whatever_the_order, 0, 2);
    tcase_add_loop_test(t, a_limit_of_nothing_is_against_the_rules, 0, 4);
    suite_add_tcase(s, t);
    return run_suite(s);
}
