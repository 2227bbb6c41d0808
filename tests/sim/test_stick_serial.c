/* SPDX-License-Identifier: Apache-2.0 */
/* The plain serial line against its emulated other end, each framing, one node and many. */
#include <stdio.h>

#include "sim/stick_world.h"
#include "unit/suite.h"

enum { FRAMINGS = 4, MODES = 2 * FRAMINGS, BRIDGE = 16 };

/* Mode: framing, with or without a bridge. */
static struct stick_world_config config_of(int mode)
{
    struct stick_world_config c = stick_world_defaults("serial");
    const unsigned framing = (unsigned)mode % FRAMINGS;
    const bool bridge = mode >= FRAMINGS;
    c.kind = PEER_SERIAL;
    c.nodes = bridge ? 20 : 1;
    c.stick.framing = (enum line_framing)framing;
    c.stick.forwarder = bridge;
    c.stick.max_packet_bytes = 260;
    c.emu.firmware = framing + (bridge ? BRIDGE : 0);
    c.ether.max_payload = 255;
    return c;
}

static void talk(struct stick_world *w, unsigned rounds)
{
    const unsigned nodes = w->config.nodes;
    for (unsigned i = 0; i < rounds; i++) {
        stick_world_to_node(w, i % nodes, 13 + i % 238);
        stick_world_from_node(w, i % nodes, 13 + (i * 7) % 238);
        stick_world_run(w, (int64_t)rng_below(&w->rng, 20));
    }
    stick_world_run(w, 1000);
}

START_TEST(packets_pass_both_ways)
{
    struct stick_world_config c = config_of(_i);
    c.piece_max = 9;
    struct stick_world *w = stick_world_new(&c);
    ck_assert_int_eq(stick_world_start(w), 0);
    talk(w, 500);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.received, 500);
    ck_assert_uint_eq(sum.heard, 500);
    ck_assert_uint_eq(sum.copies + sum.heard_copies, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->bad_frames, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->skipped_bytes, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->frames_in, 500);
    ck_assert_uint_eq(stick_counters(w->stick)->frames_out, 500);
    ck_assert_uint_eq(w->emu->bad_frames_in, 0);
    stick_world_end(w);
}

END_TEST

START_TEST(packets_pass_at_the_pace_of_the_line)
{
    struct stick_world_config c = config_of(_i);
    c.emu.baud = 9600;
    c.stick.baud = 9600;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 20; i++)
        stick_world_to_node(w, i % c.nodes, 60);
    stick_world_run(w, 500); /* 480 octets */
    const uint32_t early = stick_world_total(w).received;
    ck_assert_uint_gt(early, 3);
    ck_assert_uint_lt(early, 9);
    stick_world_run(w, 2000);
    ck_assert_uint_eq(stick_world_total(w).received, 20);
    stick_world_end(w);
}

END_TEST

START_TEST(the_line_is_used_to_the_full_in_both_directions)
{
    enum { SECONDS = 10, LEN = 30 };
    struct stick_world_config c = config_of(_i);
    c.emu.baud = 115200;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; w->now_ms < SECONDS * 1000; i++) {
        struct stick_node_info line;
        const bool known = stick_node(w->stick, 0, &line);
        if (!known || line.waiting < 20)
            stick_world_to_node(w, i % c.nodes, LEN);
        if (w->emu->out.used < 4000)
            stick_world_from_node(w, i % c.nodes, LEN);
        if (i % 4 == 3)
            stick_world_run(w, 1);
    }
    const double line = 11520.0 * SECONDS;
    const double in = (double)w->bytes_in / line;
    const double out = (double)(w->bytes_out - w->emu->in.used) / line;
    const struct stick_world_node sum = stick_world_total(w);
    printf("%s framing %u: to nodes %u/s, from nodes %u/s, line used %.1f %% and %.1f %%\n",
           c.stick.forwarder ? "bridge" : "node", (unsigned)c.stick.framing, sum.received / SECONDS,
           sum.heard / SECONDS, out * 100, in * 100);
    ck_assert(in > 0.98 && out > 0.98);
    stick_world_end(w);
}

END_TEST

START_TEST(a_bad_line_costs_frames_but_never_the_line)
{
    struct stick_world_config c = config_of(_i);
    c.faulty = true;
    c.piece_max = 5;
    c.emu.faults = (struct emu_faults){.garbage_percent = 10,
                                       .flip_percent = 10,
                                       .drop_percent = 10,
                                       .split_percent = 20,
                                       .split_ms = 5};
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 2000; i++) {
        stick_world_from_node(w, i % c.nodes, 13 + i % 60);
        stick_world_run(w, 120); /* a pause, in which LINE_RAW finds its way back */
    }
    const struct stick_world_node sum = stick_world_total(w);
    const bool checked = c.stick.framing == LINE_HDLC || c.stick.framing == LINE_COBS;
    const bool raw = c.stick.framing == LINE_RAW;
    /* Untouched frames arrive: 0.9 of 0.9, with LINE_RAW of 0.9, for garbage spoils the next. */
    ck_assert_uint_ge(sum.heard, raw ? 1300 : 1550);
    ck_assert_uint_le(sum.heard, 1750);
    if (checked)
        ck_assert_uint_eq(w->altered + w->strangers, 0);
    ck_assert_uint_gt(stick_counters(w->stick)->bad_frames + w->altered + w->strangers, 100);
    /* And the line is as good as new. */
    emu_set_faults(w->emu, &(struct emu_faults){0});
    const uint32_t before = stick_world_total(w).heard;
    talk(w, 100);
    ck_assert_uint_eq(stick_world_total(w).heard, before + 100);
    stick_world_end(w);
}

END_TEST

START_TEST(pulled_out_and_plugged_in_it_goes_on)
{
    struct stick_world_config c = config_of(_i);
    c.emu.baud = 115200;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 50; i++) {
        stick_world_from_node(w, 0, 100);
        stick_world_to_node(w, 0, 100);
        stick_world_run(w, (int64_t)rng_below(&w->rng, 25)); /* in the midst of frames, too */
        stick_world_unplug(w);
        ck_assert_int_eq(stick_state(w->stick), STICK_CLOSED);
        stick_world_run(w, 500);
        stick_world_plug(w);
        ck_assert_int_eq(stick_state(w->stick), STICK_RUNNING);
    }
    const struct stick_world_node before = stick_world_total(w);
    talk(w, 60);
    const struct stick_world_node after = stick_world_total(w);
    ck_assert_uint_eq(after.heard, before.heard + 60);
    ck_assert_uint_eq(after.received, before.received + 60);
    stick_world_end(w);
}

END_TEST

START_TEST(a_line_held_by_flow_control_is_opened_anew)
{
    struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    w->blocked = true;
    stick_world_to_node(w, 0, 50);
    stick_world_run(w, 5900);
    ck_assert_uint_eq(w->reopens, 1);
    ck_assert(stick_world_logged(w, "flow_control"));
    w->blocked = false;
    ck_assert(stick_world_until_up(w, 1100));
    talk(w, 20);
    ck_assert_uint_eq(stick_world_total(w).received, 20);
    stick_world_end(w);
}

END_TEST

START_TEST(broadcasts_reach_every_node_behind_the_bridge)
{
    struct stick_world_config c = config_of(FRAMINGS + _i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    stick_world_to_group(w, 20);
    stick_world_run(w, 100);
    for (unsigned i = 0; i < c.nodes; i++)
        ck_assert_uint_eq(w->nodes[i].groups, 1);
    stick_world_end(w);
}

END_TEST

START_TEST(envelopes_are_dropped_where_no_forwarder_is_configured)
{
    struct stick_world_config c = config_of(FRAMINGS + _i);
    c.stick.forwarder = false; /* but the other end is a bridge */
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 10; i++) {
        stick_world_from_node(w, i, 30);
        stick_world_run(w, 200);
    }
    ck_assert_uint_eq(stick_world_total(w).heard, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->strange_frames, 10);
    ck_assert_uint_eq(stick_counters(w->stick)->frames_in, 10);
    stick_world_end(w);
}

END_TEST

START_TEST(other_kinds_of_peers_are_refused)
{
    const struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    struct peer_room to;
    peer_make(&to, 0, PEER_SHORT, bytes_of("\x12\x34", 2));
    stick_send(w->stick, w->now_ms, peer_in(&to), bytes_of("\x02\x17", 2));
    ck_assert_uint_eq(stick_counters(w->stick)->not_sent, 1);
    ck_assert_uint_eq(stick_counters(w->stick)->frames_out, 0);
    stick_world_end(w);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_serial");
    TCase *tc = tcase_create("serial");
    tcase_set_timeout(tc, 30);
    tcase_add_loop_test(tc, packets_pass_both_ways, 0, MODES);
    tcase_add_loop_test(tc, packets_pass_at_the_pace_of_the_line, 0, MODES);
    tcase_add_loop_test(tc, the_line_is_used_to_the_full_in_both_directions, 0, MODES);
    tcase_add_loop_test(tc, a_bad_line_costs_frames_but_never_the_line, 0, MODES);
    tcase_add_loop_test(tc, pulled_out_and_plugged_in_it_goes_on, 0, MODES);
    tcase_add_loop_test(tc, a_line_held_by_flow_control_is_opened_anew, 0, MODES);
    tcase_add_loop_test(tc, broadcasts_reach_every_node_behind_the_bridge, 0, FRAMINGS);
    tcase_add_loop_test(tc, envelopes_are_dropped_where_no_forwarder_is_configured, 0, FRAMINGS);
    tcase_add_loop_test(tc, other_kinds_of_peers_are_refused, 0, FRAMINGS);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
