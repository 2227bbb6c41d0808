/* SPDX-License-Identifier: Apache-2.0 */
/* The ZNP driver against the emulated Z-Stack: firmwares, air, sleepers, faults, unplugging. */
#include <stdio.h>

#include "radio/stick/core.h"
#include "sim/stick_world.h"
#include "unit/suite.h"

enum { Z_STACK_3X, Z_STACK_30, Z_STACK_12, IN_BOOT_LOADER, CANNOT_FORM };

static struct stick_world_config config_of(unsigned firmware, unsigned nodes)
{
    struct stick_world_config c = stick_world_defaults("znp");
    c.emu.firmware = firmware;
    c.emu.formed = true;
    c.emu.baud = c.stick.baud = 115200;
    c.nodes = nodes;
    c.piece_max = 40;
    return c;
}

/* As often as `rounds`: a packet each way, to and from nodes in turn. */
static void talk(struct stick_world *w, unsigned rounds, int64_t gap_ms)
{
    const unsigned nodes = w->config.nodes;
    for (unsigned i = 0; i < rounds; i++) {
        stick_world_to_node(w, i % nodes, 13 + i % 70);
        stick_world_from_node(w, (i + nodes / 2) % nodes, 13 + (i * 7) % 70);
        stick_world_run(w, gap_ms);
    }
}

/* ---- start ------------------------------------------------------------------------------------- */

START_TEST(each_firmware_comes_up_with_its_network)
{
    struct stick_world_config c = config_of((unsigned)_i, 1);
    struct stick_world *w = stick_world_new(&c);
    const int64_t took_ms = stick_world_start(w);
    printf("firmware %d, network stored: up after %lld ms\n", _i, (long long)took_ms);
    ck_assert_int_lt(took_ms, _i == IN_BOOT_LOADER ? 4000 : 2000);
    ck_assert(stick_world_logged(w, "PAN 1A62, channel 15"));
    ck_assert_uint_eq(w->max_packet_bytes, 82);
    ck_assert_uint_eq(w->reopens, 0);
    talk(w, 10, 100);
    stick_world_run(w, 1000);
    ck_assert_uint_eq(stick_world_total(w).outcomes[STICK_DELIVERED], 10);
    ck_assert_uint_eq(stick_world_total(w).heard, 10);
    stick_world_end(w);
}

END_TEST

START_TEST(each_firmware_forms_a_network_when_it_may)
{
    struct stick_world_config c = config_of((unsigned)_i, 1);
    c.emu.formed = false;
    c.stick.form_network = true;
    c.stick.channel = 20;
    c.stick.pan_id = 0x4242;
    struct stick_world *w = stick_world_new(&c);
    const int64_t took_ms = stick_world_start(w);
    printf("firmware %d, network formed: up after %lld ms\n", _i, (long long)took_ms);
    ck_assert_int_lt(took_ms, 30000);
    ck_assert(stick_world_logged(w, "PAN 4242, channel 20"));
    /* Once for ever: after a power cut it is the same network, whatever is configured now. */
    stick_world_unplug(w);
    stick_world_run(w, 1000);
    stick_world_plug(w);
    ck_assert(stick_world_until_up(w, 5000));
    ck_assert_uint_eq(w->reopens, 0);
    talk(w, 10, 100);
    stick_world_run(w, 1000);
    ck_assert_uint_eq(stick_world_total(w).outcomes[STICK_DELIVERED], 10);
    stick_world_end(w);
}

END_TEST

START_TEST(a_stick_without_network_waits_for_permission)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 1);
    c.emu.formed = false;
    struct stick_world *w = stick_world_new(&c);
    ck_assert(!stick_world_until_up(w, 60000));
    ck_assert_uint_gt(w->reopens, 1);
    ck_assert(stick_world_logged(w, "form_network = yes"));
    stick_world_end(w);
}

END_TEST

START_TEST(a_stick_that_cannot_form_says_so)
{
    struct stick_world_config c = config_of(CANNOT_FORM, 1);
    c.emu.formed = false;
    c.stick.form_network = true;
    struct stick_world *w = stick_world_new(&c);
    ck_assert(!stick_world_until_up(w, 60000));
    ck_assert(stick_world_logged(w, "could not form a network"));
    stick_world_end(w);
}

END_TEST

START_TEST(a_bad_line_does_not_prevent_the_start)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 1);
    c.seed += (uint64_t)_i;
    c.faulty = true;
    c.emu.formed = _i % 2 == 0;
    c.stick.form_network = true;
    c.emu.faults = (struct emu_faults){.garbage_percent = 10,
                                       .flip_percent = 10,
                                       .drop_percent = 5,
                                       .split_percent = 20,
                                       .split_ms = 20};
    struct stick_world *w = stick_world_new(&c);
    ck_assert(stick_world_until_up(w, 300000));
    stick_world_end(w);
}

END_TEST

/* ---- packets ----------------------------------------------------------------------------------- */

START_TEST(packets_pass_both_ways_once_each_and_in_order)
{
    struct stick_world_config c = config_of((unsigned)_i, 40);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 400, 60);
    stick_world_run(w, 10000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.outcomes[STICK_DELIVERED], 400);
    ck_assert_uint_eq(sum.received, 400);
    ck_assert_uint_eq(sum.heard, 400);
    ck_assert_uint_eq(sum.copies + sum.heard_copies + sum.overtaken, 0);
    const struct stick_counters *n = stick_counters(w->stick);
    ck_assert_uint_eq(n->bad_frames + n->skipped_bytes + n->unresolved + n->unknown_ids, 0);
    stick_world_end(w);
}

END_TEST

START_TEST(the_line_at_115200_baud_is_used_well)
{
    enum { PACKETS = 2000, OCTETS = 30 };

    struct stick_world_config c = config_of(Z_STACK_3X, 40);
    c.piece_max = 0;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    /* The nodes' addresses become known. */
    for (unsigned i = 0; i < c.nodes; i++)
        stick_world_from_node(w, i, 20);
    stick_world_run(w, 2000);
    const int64_t begin_ms = w->now_ms;
    unsigned sent = 0;
    while (stick_world_total(w).outcomes[STICK_DELIVERED] < PACKETS) {
        while (sent < PACKETS && sent - stick_world_total(w).outcomes[STICK_DELIVERED] < 120)
            stick_world_to_node(w, sent++ % c.nodes, OCTETS);
        stick_world_run(w, 2);
        ck_assert_int_lt(w->now_ms - begin_ms, 60000);
    }
    const double took_s = (double)(w->now_ms - begin_ms) / 1000;
    /* Request, its answer, then the next: the line's two directions take turns. Confirms come while
     * the next request goes. */
    const double line_s = PACKETS * (double)(5 + 10 + OCTETS + 6) * 10 / 115200;
    printf("%d packets of %d octets: %.0f per second, %.0f %% of the line\n", PACKETS, OCTETS,
           PACKETS / took_s, 100 * line_s / took_s);
    ck_assert(line_s / took_s > 0.95);
    stick_world_end(w);
}

END_TEST

START_TEST(broadcasts_reach_everybody_and_are_told_apart)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 10);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    stick_world_to_group(w, 13);
    stick_world_run(w, 2000);
    ck_assert_uint_eq(stick_world_total(w).groups, 10);
    stick_world_from_node_to_group(w, 3, 13);
    stick_world_run(w, 2000);
    ck_assert_uint_eq(w->nodes[3].heard_groups, 1);
    stick_world_end(w);
}

END_TEST

START_TEST(in_lossy_air_the_outcomes_tell_the_truth)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 40);
    c.seed += (uint64_t)_i;
    c.ether.loss_percent = 20;
    c.ether.ack_loss_percent = 5;
    c.ether.copy_percent = 5;
    c.ether.latency_min_ms = 5;
    c.ether.latency_max_ms = 120;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 1000, 80);
    stick_world_run(w, 60000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.outcomes[STICK_UNKNOWN], 0);
    /* Behind five failures in a row one may have waited too long. */
    ck_assert_uint_eq(sum.outcomes[STICK_NOT_SENT], stick_counters(w->stick)->expired);
    ck_assert_uint_le(sum.outcomes[STICK_NOT_SENT], 5);
    ck_assert_uint_gt(sum.outcomes[STICK_DELIVERED], 650);
    ck_assert_uint_gt(sum.outcomes[STICK_FAILED], 150);
    /* What was called delivered has arrived; only what was called failed may have, too. */
    ck_assert_uint_ge(sum.received - sum.copies, sum.outcomes[STICK_DELIVERED]);
    ck_assert_uint_le(sum.received - sum.copies, 1000 - 100);
    stick_world_end(w);
}

END_TEST

START_TEST(dead_nodes_do_not_delay_the_living)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 40);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 20; i++)
        ether_node_reach(w->ether, i, false);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 40; i++)
            stick_world_to_node(w, i, 40);
        stick_world_run(w, 5000);
    }
    for (unsigned i = 20; i < 40; i++)
        ck_assert_uint_ge(w->nodes[i].outcomes[STICK_DELIVERED], 9);
    stick_world_run(w, 120000);
    stick_world_end(w);
}

END_TEST

/* ---- sleepers and addresses -------------------------------------------------------------------- */

START_TEST(a_sleeper_gets_what_it_polls_for_and_its_parent_gives_up_otherwise)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 2);
    c.sleepy = 1;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    stick_world_to_node(w, 0, 20);
    stick_world_run(w, 3000);
    ck_assert_uint_eq(w->nodes[0].received, 0);
    ether_node_poll(w->ether, w->now_ms, 0, w->now_ms + 100);
    stick_world_run(w, 500);
    ck_assert_uint_eq(w->nodes[0].received, 1);
    ck_assert_uint_eq(w->nodes[0].outcomes[STICK_DELIVERED], 1);
    stick_world_to_node(w, 0, 20);
    stick_world_run(w, 9000);
    ck_assert_uint_eq(w->nodes[0].outcomes[STICK_FAILED], 1);
    stick_world_end(w);
}

END_TEST

START_TEST(a_node_that_moves_is_followed)
{
    const bool silent = _i == 1;
    struct stick_world_config c = config_of(Z_STACK_3X, 5);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 50, 50);
    unsigned missed = 0;
    for (unsigned i = 0; i < 20; i++) {
        stick_world_to_node(w, 2, 40);
        ether_node_rejoin(w->ether, w->now_ms, 2, (uint16_t)(0x5000 + i), silent);
        stick_world_run(w, 6000);
        const uint32_t before = w->nodes[2].outcomes[STICK_DELIVERED];
        stick_world_to_node(w, 2, 40);
        stick_world_run(w, 6000);
        missed += w->nodes[2].outcomes[STICK_DELIVERED] == before;
        if (i % 2 == 0) {
            stick_world_from_node(w, 2, 30);
            stick_world_run(w, 100);
        }
    }
    /* The one that was on its way is lost; the search finds the node for the next. */
    ck_assert_uint_eq(missed, 0);
    ck_assert_uint_eq(w->nodes[2].heard, 10 + 10);
    stick_world_end(w);
}

END_TEST

START_TEST(addresses_that_change_hands_never_mix_up_nodes)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 10);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 200; i++) {
        const unsigned node = (unsigned)rng_below(&w->rng, c.nodes);
        const bool silent = rng_below(&w->rng, 2) == 0;
        uint16_t short_address = (uint16_t)(silent ? 0x7000 + i : 0x6000 + rng_below(&w->rng, 30));
        while (ether_find_short(w->ether, short_address) >= 0)
            short_address++;
        /* Nobody can tell from the outside that a used address has a new owner before that one
         * says so; so it does, and a silent one gets an address that nobody had. */
        ether_node_rejoin(w->ether, w->now_ms, node, short_address, silent);
        stick_world_run(w, 50);
        talk(w, 3, 200); /* the world fails when a packet comes under another's name */
        stick_world_run(w, 50);
    }
    stick_world_run(w, 60000);
    ck_assert_uint_gt(stick_world_total(w).outcomes[STICK_DELIVERED], 300);
    stick_world_end(w);
}

END_TEST

/* ---- faults ------------------------------------------------------------------------------------ */

START_TEST(a_bad_line_costs_answers_but_not_the_link)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 10);
    c.seed += (uint64_t)_i;
    c.faulty = true;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    emu_set_faults(w->emu, &(struct emu_faults){.garbage_percent = 3,
                                                .flip_percent = 3,
                                                .drop_percent = 3,
                                                .split_percent = 20,
                                                .split_ms = 10});
    talk(w, 300, 400);
    emu_set_faults(w->emu, &(struct emu_faults){0});
    stick_world_run(w, 60000);
    const struct stick_world_node before = stick_world_total(w);
    ck_assert_uint_gt(before.heard, 250);
    ck_assert_uint_gt(before.outcomes[STICK_DELIVERED], 200);
    ck_assert_uint_eq(w->reopens, 0);
    talk(w, 100, 100);
    stick_world_run(w, 20000);
    ck_assert_uint_eq(stick_world_total(w).outcomes[STICK_DELIVERED],
                      before.outcomes[STICK_DELIVERED] + 100);
    ck_assert_uint_eq(stick_world_total(w).heard, before.heard + 100);
    stick_world_end(w);
}

END_TEST

START_TEST(busy_answers_are_tried_again)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 20);
    c.emu.faults.busy_percent = 20;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 300, 100);
    stick_world_run(w, 60000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.outcomes[STICK_DELIVERED] + sum.outcomes[STICK_NOT_SENT], 300);
    ck_assert_uint_lt(sum.outcomes[STICK_NOT_SENT], 15); /* 0.2 three times: 0.8 % */
    ck_assert_uint_gt(stick_counters(w->stick)->restarts, 30);
    ck_assert_uint_eq(sum.received, sum.outcomes[STICK_DELIVERED]);
    ck_assert_uint_eq(sum.copies, 0);
    stick_world_end(w);
}

END_TEST

START_TEST(missing_and_strange_confirms_are_survived)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 20);
    c.emu.faults.mute_percent = 10;
    c.emu.faults.stray_percent = 10;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 400, 300);
    stick_world_run(w, 60000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_gt(sum.outcomes[STICK_DELIVERED], 330);
    ck_assert_uint_gt(sum.outcomes[STICK_UNKNOWN], 20);
    ck_assert_uint_gt(stick_counters(w->stick)->unknown_ids, 20);
    stick_world_end(w);
}

END_TEST

START_TEST(resets_in_mid_send_cost_what_was_under_way)
{
    struct stick_world_config c = config_of((unsigned)_i, 20);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 20; i++) {
        talk(w, 8, 20);
        emu_reset(w->emu, w->now_ms);
        ck_assert(stick_world_until_up(w, 30000));
        stick_world_run(w, 3000);
    }
    stick_world_run(w, 30000);
    ck_assert_uint_eq(w->reopens, 0);
    ck_assert_uint_ge(stick_counters(w->stick)->stick_resets, 15);
    const uint32_t before = stick_world_total(w).outcomes[STICK_DELIVERED];
    talk(w, 20, 100);
    stick_world_run(w, 5000);
    ck_assert_uint_eq(stick_world_total(w).outcomes[STICK_DELIVERED], before + 20);
    stick_world_end(w);
}

END_TEST

START_TEST(pulled_out_and_plugged_in_it_goes_on)
{
    struct stick_world_config c = config_of(Z_STACK_3X, 10);
    struct stick_world *w = stick_world_new(&c);
    int64_t slowest_ms = 0;
    stick_world_start(w);
    for (unsigned i = 0; i < 200; i++) {
        talk(w, 5, (int64_t)rng_below(&w->rng, 30));
        stick_world_unplug(w);
        stick_world_run(w, 500);
        stick_world_plug(w);
        const int64_t at_ms = w->now_ms;
        ck_assert(stick_world_until_up(w, 10000));
        slowest_ms = w->now_ms - at_ms > slowest_ms ? w->now_ms - at_ms : slowest_ms;
    }
    printf("200 times unplugged: running again after %lld ms at most\n", (long long)slowest_ms);
    ck_assert_int_lt(slowest_ms, 2000);
    const struct stick_world_node before = stick_world_total(w);
    talk(w, 50, 100);
    stick_world_run(w, 5000);
    ck_assert_uint_eq(stick_world_total(w).outcomes[STICK_DELIVERED],
                      before.outcomes[STICK_DELIVERED] + 50);
    ck_assert_uint_eq(stick_world_total(w).heard, before.heard + 50);
    stick_world_end(w);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_znp");
    TCase *t = tcase_create("world");
    tcase_set_timeout(t, 20);
    tcase_add_loop_test(t, each_firmware_comes_up_with_its_network, 0, CANNOT_FORM + 1);
    tcase_add_loop_test(t, each_firmware_forms_a_network_when_it_may, 0, IN_BOOT_LOADER);
    tcase_add_test(t, a_stick_without_network_waits_for_permission);
    tcase_add_test(t, a_stick_that_cannot_form_says_so);
    tcase_add_loop_test(t, a_bad_line_does_not_prevent_the_start, 0, 20);
    tcase_add_loop_test(t, packets_pass_both_ways_once_each_and_in_order, 0, IN_BOOT_LOADER);
    tcase_add_test(t, the_line_at_115200_baud_is_used_well);
    tcase_add_test(t, broadcasts_reach_everybody_and_are_told_apart);
    tcase_add_loop_test(t, in_lossy_air_the_outcomes_tell_the_truth, 0, 3);
    tcase_add_test(t, dead_nodes_do_not_delay_the_living);
    tcase_add_test(t, a_sleeper_gets_what_it_polls_for_and_its_parent_gives_up_otherwise);
    tcase_add_loop_test(t, a_node_that_moves_is_followed, 0, 2);
    tcase_add_test(t, addresses_that_change_hands_never_mix_up_nodes);
    tcase_add_loop_test(t, a_bad_line_costs_answers_but_not_the_link, 0, 10);
    tcase_add_test(t, busy_answers_are_tried_again);
    tcase_add_test(t, missing_and_strange_confirms_are_survived);
    tcase_add_loop_test(t, resets_in_mid_send_cost_what_was_under_way, 0, IN_BOOT_LOADER);
    tcase_add_test(t, pulled_out_and_plugged_in_it_goes_on);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
