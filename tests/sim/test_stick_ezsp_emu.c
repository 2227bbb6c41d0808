/* SPDX-License-Identifier: Apache-2.0 */
/* The EZSP driver, an emulated EmberZNet stick and nodes: what is not the same for all families
 * (test_sticks.c). */
#include <stdio.h>

#include <check.h>

#include "sim/stick_world.h"
#include "unit/suite.h"

enum { TOO_OLD = 4, NO_NETWORK = 5 };

/* Of the emulator: EZSP 13, 8, 14, 17. */
enum { VERSIONS = 4 };

static struct stick_world_config config_of(int firmware)
{
    struct stick_world_config c = stick_world_defaults("ezsp");
    c.emu.firmware = (unsigned)firmware;
    c.emu.formed = true;
    c.nodes = 20;
    return c;
}

/* `rounds` packets each way, over all nodes. */
static void talk(struct stick_world *w, unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        stick_world_to_node(w, i % w->config.nodes, 13 + i % 70);
        stick_world_from_node(w, (i * 7) % w->config.nodes, 13 + (i * 5) % 70);
        stick_world_run(w, (int64_t)rng_below(&w->rng, 60));
    }
}

static uint32_t told(const struct stick_world_node *n)
{
    return n->outcomes[0] + n->outcomes[1] + n->outcomes[2] + n->outcomes[3];
}

START_TEST(packets_pass_both_ways_in_every_version)
{
    struct stick_world_config c = config_of(_i);
    c.piece_max = 11;
    struct stick_world *w = stick_world_new(&c);
    const int64_t took_ms = stick_world_start(w);
    printf("firmware %d: %lld ms from port open to link up, of these 1700 ms the stick's own\n", _i,
           (long long)took_ms);
    ck_assert_int_lt(took_ms, 4000);
    ck_assert_uint_eq(w->max_packet_bytes, 82);
    ck_assert(stick_world_logged(w, "channel 15, PAN 1A62, coordinator 00124b0021a81179"));
    talk(w, 500);
    stick_world_run(w, 10000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.received, 500);
    ck_assert_uint_eq(sum.heard, 500);
    ck_assert_uint_eq(sum.outcomes[STICK_DELIVERED], 500);
    ck_assert_uint_eq(sum.copies + sum.heard_copies + sum.overtaken, 0);
    const struct stick_counters *n = stick_counters(w->stick);
    ck_assert_uint_eq(n->bad_frames + n->strange_frames + n->unknown_ids + n->foreign, 0);
    ck_assert_uint_eq(w->emu->bad_frames_in, 0);
    ck_assert_uint_eq(w->emu->resets, 1);
    stick_world_end(w);
}

END_TEST

START_TEST(firmware_that_will_not_do_is_named)
{
    struct stick_world_config c = config_of(TOO_OLD);
    struct stick_world *w = stick_world_new(&c);
    ck_assert(!stick_world_until_up(w, 10000));
    ck_assert(stick_world_logged(w, "too old"));
    stick_world_end(w);
    c = config_of(NO_NETWORK);
    w = stick_world_new(&c);
    ck_assert(!stick_world_until_up(w, 120000));
    ck_assert_uint_ge(w->reopens, 1);
    ck_assert(stick_world_logged(w, "not come up"));
    stick_world_end(w);
}

END_TEST

START_TEST(a_burst_of_strangers_is_heard_to_the_last)
{
    struct stick_world_config c = config_of(_i);
    c.nodes = 40;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < c.nodes; i++)
        stick_world_from_node(w, i, 20);
    stick_world_run(w, 3000);
    ck_assert_uint_eq(stick_world_total(w).heard, 40);
    ck_assert_uint_eq(stick_counters(w->stick)->unresolved, 0);
    stick_world_end(w);
}

END_TEST

/* While names are looked up the stick is asked to hold its callbacks, but those that it has to say
 * again must come: the answers are behind them. What is damaged is repeated after 1.6 s at the
 * latest. */
START_TEST(a_burst_of_strangers_over_a_bad_line_is_heard_soon)
{
    enum { SEEDS = 100, SOON_MS = 2000, MANY_FAULTS = 5 };

    unsigned late = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct stick_world_config c = config_of(_i);
        c.nodes = 40;
        c.seed = seed;
        struct stick_world *w = stick_world_new(&c);
        stick_world_start(w);
        emu_set_faults(w->emu, &(struct emu_faults){.flip_percent = 1});
        for (unsigned i = 0; i < c.nodes; i++)
            stick_world_from_node(w, i, 20);
        stick_world_run(w, SOON_MS);
        late += stick_world_total(w).heard < c.nodes;
        stick_world_end(w);
    }
    printf("firmware %d: %u of %d bursts were not heard within %d ms\n", _i, late, SEEDS, SOON_MS);
    ck_assert_uint_le(late, MANY_FAULTS);
}

END_TEST

START_TEST(a_bad_line_costs_time_and_no_packet)
{
    struct stick_world_config c = config_of(_i);
    c.piece_max = 20;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < c.nodes; i++) /* their names are known */
        stick_world_from_node(w, i, 20);
    stick_world_run(w, 1000);
    const struct emu_faults faults = {.garbage_percent = 3,
                                      .flip_percent = 5,
                                      .drop_percent = 5,
                                      .split_percent = 20,
                                      .split_ms = 30};
    emu_set_faults(w->emu, &faults);
    for (unsigned i = 0; i < 500; i++) {
        stick_world_to_node(w, i % c.nodes, 13 + i % 70);
        stick_world_from_node(w, (i * 7) % c.nodes, 13 + (i * 5) % 70);
        stick_world_run(w, 300);
    }
    stick_world_run(w, 30000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_gt(stick_counters(w->stick)->bad_frames, 50);
    ck_assert_uint_eq(sum.heard, 500 + c.nodes);
    ck_assert_uint_eq(sum.heard_copies, 0);
    ck_assert_uint_eq(sum.received, 500);
    ck_assert_uint_eq(sum.copies, 0);
    ck_assert_uint_eq(sum.outcomes[STICK_DELIVERED], 500);
    ck_assert_uint_eq(w->downs, 0);
    stick_world_end(w);
}

END_TEST

START_TEST(losses_of_the_air_become_outcomes_that_are_true)
{
    struct stick_world_config c = config_of(_i);
    c.ether.loss_percent = 20;
    c.ether.ack_loss_percent = 5;
    c.ether.copy_percent = 5;
    c.ether.latency_max_ms = 80;
    c.ether.no_ack_ms = 1600;
    c.sleepy = 5;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 40; i++) {
        talk(w, 50);
        stick_world_run(w, 10000);
    }
    stick_world_run(w, 60000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(told(&sum), 2000);
    for (unsigned i = 0; i < c.nodes; i++) {
        const struct stick_world_node *n = &w->nodes[i];
        ck_assert_uint_le(n->outcomes[STICK_DELIVERED], n->received - n->copies);
        ck_assert_uint_ge(n->outcomes[STICK_DELIVERED] + n->outcomes[STICK_FAILED] +
                              n->outcomes[STICK_UNKNOWN],
                          n->received - n->copies);
    }
    ck_assert_uint_gt(sum.outcomes[STICK_DELIVERED], 800);
    ck_assert_uint_gt(sum.outcomes[STICK_FAILED], 200);
    ck_assert_uint_gt(sum.heard, 1500);
    stick_world_end(w);
}

END_TEST

START_TEST(resets_of_the_stick_in_the_midst_of_traffic_are_recovered_from)
{
    struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 30; i++) {
        talk(w, 20);
        emu_reset(w->emu, w->now_ms);
        stick_world_run(w, 8000);
        ck_assert_int_eq(stick_state(w->stick), STICK_RUNNING);
    }
    stick_world_run(w, 20000);
    ck_assert_uint_eq(w->downs, 30);
    ck_assert_uint_eq(w->reopens, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->stick_resets, 30);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(told(&sum), 600);
    ck_assert_uint_gt(sum.outcomes[STICK_DELIVERED], 500);
    stick_world_end(w);
}

END_TEST

START_TEST(unplugging_at_any_moment_is_survived)
{
    struct stick_world_config c = config_of(_i);
    c.piece_max = 5;
    struct stick_world *w = stick_world_new(&c);
    for (unsigned i = 0; i < 200; i++) {
        stick_world_run(w, (int64_t)rng_below(&w->rng, 4000));
        if (stick_state(w->stick) == STICK_RUNNING)
            talk(w, 3);
        stick_world_unplug(w);
        stick_world_run(w, (int64_t)rng_below(&w->rng, 100));
        stick_world_plug(w);
    }
    stick_world_start(w);
    talk(w, 20);
    stick_world_run(w, 10000);
    ck_assert_uint_ge(stick_world_total(w).outcomes[STICK_DELIVERED], 20);
    stick_world_end(w);
}

END_TEST

/* Command, acknowledgement, response, callback, acknowledgement: all of it one after the other. */
START_TEST(the_line_is_the_limit_at_115200_baud)
{
    struct stick_world_config c = config_of(_i);
    c.emu.baud = 115200;
    c.stick.baud = 115200;
    struct stick_world *w = stick_world_new(&c);
    const int64_t start_ms = stick_world_start(w);
    const uint64_t in = w->bytes_in, out = w->bytes_out;
    const int64_t from_ms = w->now_ms;
    while (w->now_ms - from_ms < 10000) {
        for (unsigned i = 0; i < c.nodes; i++) {
            if (w->nodes[i].sent - told(&w->nodes[i]) < 2)
                stick_world_to_node(w, i, 40);
        }
        stick_world_run(w, 1);
    }
    const struct stick_world_node sum = stick_world_total(w);
    printf("firmware %d at 115200 baud: up after %lld ms; packets of 40 octets: %.1f/s delivered, "
           "line %.0f %% busy out, %.0f %% in\n",
           _i, (long long)start_ms, sum.outcomes[STICK_DELIVERED] / 10.0,
           100.0 * (double)(w->bytes_out - out) / 115200,
           100.0 * (double)(w->bytes_in - in) / 115200);
    ck_assert_uint_gt(sum.outcomes[STICK_DELIVERED], 600);
    stick_world_run(w, 10000);
    stick_world_end(w);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("stick_ezsp_emu");
    TCase *t = tcase_create("world");
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, packets_pass_both_ways_in_every_version, 0, VERSIONS);
    tcase_add_test(t, firmware_that_will_not_do_is_named);
    tcase_add_loop_test(t, a_burst_of_strangers_is_heard_to_the_last, 0, VERSIONS);
    tcase_add_loop_test(t, a_burst_of_strangers_over_a_bad_line_is_heard_soon, 0, VERSIONS);
    tcase_add_loop_test(t, a_bad_line_costs_time_and_no_packet, 0, VERSIONS);
    tcase_add_loop_test(t, losses_of_the_air_become_outcomes_that_are_true, 0, VERSIONS);
    tcase_add_loop_test(t, resets_of_the_stick_in_the_midst_of_traffic_are_recovered_from, 0,
                        VERSIONS);
    tcase_add_loop_test(t, unplugging_at_any_moment_is_survived, 0, VERSIONS);
    tcase_add_loop_test(t, the_line_is_the_limit_at_115200_baud, 0, VERSIONS);
    suite_add_tcase(s, t);
    return run_suite(s);
}
