/* SPDX-License-Identifier: Apache-2.0 */
/* The link of the sticks: opening for ever, and what passes through it. */
#include <errno.h>
#include <string.h>

#include <check.h>

#include "base/rng.h"

#include "unit/stick_link_world.h"
#include "unit/suite.h"

/* ---- opening --------------------------------------------------------------------------------- */

START_TEST(a_missing_stick_is_looked_for_for_ever_and_told_now_and_then)
{
    dev.result = -ENODEV;
    sl_run(0);
    ck_assert_uint_eq(dev.opens, 1);
    sl_run(250);
    ck_assert_uint_eq(dev.opens, 2);
    sl_run(500);
    ck_assert_uint_eq(dev.opens, 3);
    for (unsigned s = 0; s < 24 * 3600; s++) {
        const unsigned before = dev.opens;
        sl_run(1000);
        ck_assert_uint_eq(dev.opens, before + 1);
    }
    ck_assert_uint_ge(own.lost, 24 * 6);
    ck_assert_uint_le(own.lost, 24 * 6 + 1);
    ck_assert_uint_eq(own.joined, 0);
    sl_plug(); /* within a second */
    ck_assert_mem_eq(dev.written, "HI", 2);
}

END_TEST

START_TEST(a_stick_that_does_not_work_is_left_alone_for_longer_and_longer)
{
    uint64_t last_ms = virtual.now_ms;
    uint64_t gap_ms = 0;
    for (unsigned i = 0; i < 20; i++) {
        const unsigned before = dev.opens;
        dev.n_written = 0;
        while (dev.opens == before)
            sl_run(50);
        ck_assert(dev.is_open);
        sl_say("R");
        ck_assert(!dev.is_open); /* its port is closed, not only forgotten */
        const uint64_t now_gap_ms = virtual.now_ms - last_ms;
        ck_assert_uint_ge(now_gap_ms + 50, gap_ms);
        ck_assert_uint_le(now_gap_ms, 30100);
        gap_ms = now_gap_ms;
        last_ms = virtual.now_ms;
    }
    ck_assert_uint_ge(gap_ms, 29900);
    ck_assert_uint_eq(own.ups, 0);
    /* A pulled-out one is another matter. */
    dev.result = -ENODEV;
    sl_run(40000);
    const unsigned before = dev.opens;
    sl_run(10000);
    ck_assert_uint_ge(dev.opens, before + 9);
    sl_plug();
    sl_say("U");
    ck_assert_uint_eq(own.ups, 1);
}

END_TEST

START_TEST(a_busy_device_is_tried_again)
{
    dev.result = -EBUSY;
    sl_run(60000);
    ck_assert_uint_ge(dev.opens, 6);
    ck_assert_uint_le(dev.opens, 9);
    ck_assert_uint_eq(own.lost, 1);
    ck_assert_ptr_nonnull(strstr(own.last, "can't be had"));
    dev.result = 0;
    sl_run(30000);
    ck_assert(dev.is_open);
}

END_TEST

START_TEST(a_stick_that_returns_works_within_two_seconds_a_thousand_times)
{
    uint64_t slowest_ms = 0;
    struct rng rng;
    rng_seed(&rng, 5);
    sl_plug();
    sl_say("U");
    for (unsigned i = 0; i < 1000; i++) {
        sl_unplug();
        sl_run(rng_below(&rng, 20000));
        const uint64_t back_ms = virtual.now_ms;
        dev.result = 0;
        dev.n_written = 0;
        while (!dev.is_open)
            sl_run(1);
        slowest_ms = virtual.now_ms - back_ms > slowest_ms ? virtual.now_ms - back_ms : slowest_ms;
        sl_say("U");
    }
    ck_assert_uint_le(slowest_ms, 1001);
    ck_assert_uint_eq(own.ups, 1001);
    ck_assert_uint_eq(own.joined, 1001);
    ck_assert_uint_eq(own.left, 1000);
    ck_assert_uint_eq(dev.closes, 1000);
}

END_TEST

START_TEST(closing_while_the_port_opens_closes_the_port)
{
    dev.slow = true;
    sl_run(0);
    ck_assert(dev.is_open);
    sl_close_link();
    ck_assert(!dev.is_open);
}

END_TEST

START_TEST(what_can_never_work_is_refused_when_it_is_opened)
{
    char error[300] = "";
    struct link_config config = {.driver = "fake", .max_packet_bytes = 255};
    ck_assert_int_eq(link_stick.check(&config, error, sizeof error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "device"));
    config.port.device = "/dev/stick";
    ck_assert_int_eq(link_stick.check(&config, error, sizeof error), -ENODEV);
    config.max_packet_bytes = 1501;
    ck_assert_int_eq(link_stick.check(&config, error, sizeof error), -EINVAL);
    config.max_packet_bytes = 255;
    config.driver = "nothing";
    ck_assert_int_eq(link_stick.check(&config, error, sizeof error), -EINVAL);
    config.driver = "fake";
    dev.result = -EINVAL;
    ck_assert_int_eq(link_stick.check(&config, error, sizeof error), -EINVAL);
    ck_assert_uint_eq(stick_link_baud("xbee"), 9600);
    ck_assert_uint_eq(stick_link_baud("znp"), 115200);
}

END_TEST

/* ---- what passes ----------------------------------------------------------------------------- */

START_TEST(up_and_down_are_told_with_what_the_network_carries)
{
    sl_plug();
    ck_assert_ptr_nonnull(strstr(own.last, "link.opening /dev/ttyFAKE0"));
    ck_assert_uint_eq(dev.config.baud, 115200);
    sl_say("U");
    ck_assert_uint_eq(own.joined, 1);
    ck_assert_uint_eq(own.limit, 60);
    ck_assert_str_eq(own.last,
                     "link.up /dev/ttyFAKE0: a network of air; packets of up to 60 octets");
    sl_say("D");
    ck_assert_str_eq(own.last, "link.lost it has reset itself");
    ck_assert_uint_eq(own.left, 1);
    sl_say("U");
    sl_unplug();
    ck_assert_uint_eq(own.left, 2);
    ck_assert_str_eq(own.last, "link.lost /dev/ttyFAKE0 has hung up");
    ck_assert_str_eq(link_stick.where(own.link), "/dev/stick");
}

END_TEST

START_TEST(packets_of_one_wake_up_are_one_batch)
{
    sl_plug();
    sl_say("U");
    sl_say("pgp");
    ck_assert_uint_eq(own.packets, 2);
    ck_assert_uint_eq(own.groups, 1);
    ck_assert_uint_eq(own.batches, 1);
    sl_say("p");
    ck_assert_uint_eq(own.batches, 2);
    sl_say("x");
    ck_assert_uint_eq(own.batches, 2);
    const struct link_counters *c = link_stick.counters(own.link);
    ck_assert_uint_eq(c->packets_in, 4);
    ck_assert_uint_eq(c->group_in, 1);
    ck_assert_uint_eq(c->bytes_in, 12);
}

END_TEST

START_TEST(outcomes_are_told_from_the_loop_only)
{
    sl_plug();
    sl_say("U");
    sl_send_to(1);
    ck_assert_ptr_nonnull(strstr(dev.written, "HI<packet>"));
    sl_say("v");
    ck_assert_uint_eq(own.outcomes[STICK_DELIVERED], 1);
    ck_assert_uint_eq(own.batches, 1);
    sl_unplug();
    sl_send_to(1); /* known at once, told soon */
    ck_assert_uint_eq(own.outcomes[STICK_NOT_SENT], 0);
    sl_run(0);
    ck_assert_uint_eq(own.outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(own.batches, 2);
    ck_assert_uint_eq(link_stick.counters(own.link)->send_drops, 1);
}

END_TEST

START_TEST(an_answer_from_within_a_packet_goes_out_in_the_same_turn)
{
    own.echo = true;
    sl_plug();
    sl_say("U");
    sl_say("p");
    ck_assert_uint_eq(dev.n_written, 2 + 8);
    sl_say("v");
    ck_assert_uint_eq(own.outcomes[STICK_DELIVERED], 1);
}

END_TEST

START_TEST(a_confirm_that_never_comes_ends_by_time)
{
    sl_plug();
    sl_say("U");
    sl_send_to(1);
    sl_run(4999);
    ck_assert_uint_eq(own.outcomes[STICK_UNKNOWN], 0);
    sl_run(2);
    ck_assert_uint_eq(own.outcomes[STICK_UNKNOWN], 1);
}

END_TEST

START_TEST(a_change_of_the_port_precedes_the_bytes_behind_it)
{
    sl_plug();
    sl_say("P");
    dev.written[dev.n_written] = '\0';
    ck_assert_str_eq(dev.written, "HI[38400,-1,1]B");
}

END_TEST

START_TEST(a_slow_port_gets_the_rest_later)
{
    sl_plug();
    sl_say("U");
    dev.room = 3;
    sl_send_to(1);
    ck_assert_uint_eq(dev.n_written, 2 + 3);
    dev.room = 100;
    dev.sink.writable(dev.sink.owner);
    ck_assert_uint_eq(dev.n_written, 2 + 8);
    dev.written[dev.n_written] = '\0';
    ck_assert_str_eq(dev.written, "HI<packet>");
}

END_TEST

START_TEST(a_port_that_takes_nothing_is_opened_anew)
{
    sl_plug();
    sl_say("U");
    dev.room = 0;
    sl_send_to(1);
    sl_run(5001);
    ck_assert_ptr_nonnull(strstr(own.last, "no byte"));
    ck_assert_uint_eq(
        own.outcomes[STICK_UNKNOWN] + own.outcomes[STICK_NOT_SENT] + own.outcomes[STICK_FAILED], 1);
}

END_TEST

START_TEST(the_owner_may_close_in_any_callback)
{
    static const struct {
        char where;
        const char *commands;
    } cases[] = {
        {'p', "Upp"},
        {'b', "Up" },
        {'o', "Uv" },
        {'e', "U"  }
    };

    sl_tear_down();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sl_start("fake");
        sl_plug();
        if (cases[i].where == 'o') {
            sl_say("U");
            sl_send_to(1);
            sl_send_to(2);
        }
        own.close_in = cases[i].where;
        sl_say(cases[i].commands);
        ck_assert_ptr_null(own.link);
        sl_tear_down();
    }
    sl_start("fake");
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_link");
    TCase *t = tcase_create("link");
    tcase_add_checked_fixture(t, sl_set_up, sl_tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_missing_stick_is_looked_for_for_ever_and_told_now_and_then);
    tcase_add_test(t, a_stick_that_does_not_work_is_left_alone_for_longer_and_longer);
    tcase_add_test(t, a_busy_device_is_tried_again);
    tcase_add_test(t, a_stick_that_returns_works_within_two_seconds_a_thousand_times);
    tcase_add_test(t, closing_while_the_port_opens_closes_the_port);
    tcase_add_test(t, what_can_never_work_is_refused_when_it_is_opened);
    tcase_add_test(t, up_and_down_are_told_with_what_the_network_carries);
    tcase_add_test(t, packets_of_one_wake_up_are_one_batch);
    tcase_add_test(t, outcomes_are_told_from_the_loop_only);
    tcase_add_test(t, an_answer_from_within_a_packet_goes_out_in_the_same_turn);
    tcase_add_test(t, a_confirm_that_never_comes_ends_by_time);
    tcase_add_test(t, a_change_of_the_port_precedes_the_bytes_behind_it);
    tcase_add_test(t, a_slow_port_gets_the_rest_later);
    tcase_add_test(t, a_port_that_takes_nothing_is_opened_anew);
    tcase_add_test(t, the_owner_may_close_in_any_callback);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
