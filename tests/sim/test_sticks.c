/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every family of sticks, in each firmware that is emulated, against what happens to sticks: an
 * unformed network, bad air, sleeping nodes, addresses that change, lost and stray confirms, a busy
 * stick, a bad line, a stick that resets itself, is pulled out, or never answers. The world judges
 * each packet and its outcome (stick_world.h).
 */
#include "sim/stick_world.h"
#include "unit/suite.h"

enum { NODES = 8, MINUTE = 60000 };

struct variant {
    const char *driver;
    unsigned firmware;
    enum peer_kind kind;
    bool forms; /* the network is the host's business */
    bool told;  /* the stick is told when a node has changed its address */
};

/* clang-format off */
static const struct variant variants[] = {
    {"xbee",   0x00, PEER_EUI64, false, true}, /* ZigBee, API mode 2 */
    {"xbee",   0x10, PEER_EUI64, false, true}, /* API mode 1 */
    {"xbee",   0x01, PEER_SHORT, false, false}, /* 802.15.4, 16-bit addresses */
    {"xbee",   0x12, PEER_EUI64, false, false}, /* 802.15.4, 64-bit addresses, API mode 1 */
    {"xbee",   0x03, PEER_EUI64, false, false}, /* XBee 3 with 802.15.4 */
    {"znp",    0,    PEER_EUI64, true,  true},
    {"znp",    1,    PEER_EUI64, true,  true},
    {"znp",    2,    PEER_EUI64, true,  true},
    {"znp",    3,    PEER_EUI64, true,  true},
    {"ezsp",   0,    PEER_EUI64, true,  true},
    {"ezsp",   1,    PEER_EUI64, true,  true},
    {"ezsp",   2,    PEER_EUI64, true,  true},
    {"ezsp",   3,    PEER_EUI64, true,  true},
    {"deconz", 1,    PEER_EUI64, true,  true},
    {"deconz", 2,    PEER_EUI64, true,  true},
    {"deconz", 3,    PEER_EUI64, true,  true},
    {"deconz", 4,    PEER_EUI64, true,  true},
    {"deconz", 5,    PEER_EUI64, true,  true},
};

/* clang-format on */

enum { VARIANTS = sizeof variants / sizeof variants[0] };

static struct stick_world_config config_of(int i)
{
    struct stick_world_config c = stick_world_defaults(variants[i].driver);
    c.kind = variants[i].kind;
    c.nodes = NODES;
    c.emu.firmware = variants[i].firmware;
    c.emu.formed = true;
    c.ether.max_payload = strcmp(variants[i].driver, "xbee") == 0 ? 116 : 82;
    if (!variants[i].told) /* no network, no routes: the MAC gives up at once */
        c.ether.no_ack_ms = 700;
    return c;
}

/* So many packets both ways, one node after the other, each second one. */
static void talk(struct stick_world *w, unsigned packets)
{
    for (unsigned i = 0; i < packets; i++) {
        stick_world_to_node(w, i % NODES, 13 + i % 40);
        stick_world_from_node(w, i % NODES, 13 + (i * 7) % 40);
        stick_world_run(w, 1000);
    }
    stick_world_run(w, 2 * MINUTE);
}

START_TEST(packets_pass_both_ways_once_each)
{
    struct stick_world_config c = config_of(_i);
    c.piece_max = 5;
    struct stick_world *w = stick_world_new(&c);
    ck_assert_int_lt(stick_world_start(w), 10000);
    talk(w, 200);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.received, 200);
    ck_assert_uint_eq(sum.heard, 200);
    ck_assert_uint_eq(sum.outcomes[STICK_DELIVERED], 200);
    ck_assert_uint_eq(sum.copies + sum.heard_copies + sum.overtaken, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->bad_frames, 0);
    ck_assert_uint_eq(stick_counters(w->stick)->strange_frames, 0);
    ck_assert_uint_eq(w->emu->bad_frames_in, 0);
    stick_world_end(w);
}

END_TEST

/* All nodes have power again at the same moment, or the gateway has been restarted. */
START_TEST(a_crowd_of_strangers_that_speaks_at_once_is_heard)
{
    struct stick_world_config c = config_of(_i);
    /* The firmware of a ConBee keeps 24 packets until they are fetched, an EmberZNet about 48. */
    const unsigned crowd = strcmp(variants[_i].driver, "deconz") == 0 ? 20 : 40;
    c.nodes = crowd;
    c.emu.baud = 115200;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < crowd; i++)
        stick_world_from_node(w, i, 20);
    stick_world_run(w, 5000);
    ck_assert_uint_eq(stick_counters(w->stick)->unresolved, 0);
    ck_assert_uint_eq(stick_world_total(w).heard, crowd);
    stick_world_end(w);
}

END_TEST

START_TEST(broadcasts_pass_both_ways)
{
    struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 5; i++) {
        stick_world_to_group(w, 20);
        stick_world_from_node_to_group(w, i, 20);
        stick_world_run(w, 3000);
    }
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.groups, 5 * NODES + 5 * (NODES - 1)); /* nodes hear each other, too */
    ck_assert_uint_eq(sum.heard_groups, 5);
    stick_world_end(w);
}

END_TEST

START_TEST(in_bad_air_each_packet_has_its_outcome_and_is_sent_once)
{
    struct stick_world_config c = config_of(_i);
    c.ether.loss_percent = 20;
    c.ether.ack_loss_percent = 5;
    c.ether.latency_min_ms = 5;
    c.ether.latency_max_ms = 300;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 400);
    stick_world_run(w, 10 * MINUTE);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.copies + sum.heard_copies, 0); /* the driver repeats nothing on air */
    ck_assert_uint_gt(sum.outcomes[STICK_FAILED], 40);
    ck_assert_uint_gt(sum.outcomes[STICK_DELIVERED], 250);
    ck_assert_uint_ge(sum.received, sum.outcomes[STICK_DELIVERED]);
    stick_world_end(w);
}

END_TEST

START_TEST(nodes_that_are_gone_do_not_delay_the_others)
{
    struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < NODES / 2; i++)
        ether_node_reach(w->ether, i, false);
    for (unsigned i = 0; i < 60; i++) {
        for (unsigned node = 0; node < NODES; node++)
            stick_world_to_node(w, node, 20);
        stick_world_run(w, 1000);
    }
    unsigned living = 0;
    for (unsigned node = NODES / 2; node < NODES; node++)
        living += w->nodes[node].received;
    /* All but what waits behind the transmissions to the dead for a moment. */
    ck_assert_uint_ge(living, 60 * NODES / 2 * 8 / 10);
    stick_world_run(w, 5 * MINUTE);
    stick_world_end(w);
}

END_TEST

START_TEST(a_node_that_rejoins_under_another_address_stays_itself)
{
    if (!variants[_i].told)
        return;
    struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 20);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < NODES; i++) /* the one after gets what the one before had */
            ether_node_rejoin(w->ether, w->now_ms, i, (uint16_t)(0x6000 + 0x100 * (round % 2) + i),
                              round % 2 == 1);
        for (unsigned i = 0; i < NODES; i++)
            stick_world_from_node(w, i, 20);
        stick_world_run(w, MINUTE);
        talk(w, 20);
    }
    struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.heard, 6 * 20 + 5 * NODES);
    ck_assert_uint_eq(sum.received, 6 * 20);
    stick_world_end(w);
}

END_TEST

START_TEST(confirms_that_never_come_or_belong_to_nobody_stop_nothing)
{
    struct stick_world_config c = config_of(_i);
    c.emu.faults.mute_percent = 20;
    c.emu.faults.stray_percent = 30;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 200; i++) {
        stick_world_to_node(w, i % NODES, 20);
        stick_world_run(w, 5000);
    }
    stick_world_run(w, 10 * MINUTE);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_gt(sum.outcomes[STICK_UNKNOWN], 5);
    ck_assert_uint_gt(sum.outcomes[STICK_DELIVERED], 100);
    ck_assert_int_eq(stick_state(w->stick), STICK_RUNNING);
    stick_world_end(w);
}

END_TEST

START_TEST(what_a_busy_stick_cannot_start_is_tried_again)
{
    struct stick_world_config c = config_of(_i);
    c.emu.faults.busy_percent = 30;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    talk(w, 200);
    stick_world_run(w, 5 * MINUTE);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_gt(stick_counters(w->stick)->restarts, 20);
    ck_assert_uint_ge(sum.received, 185); /* 3 tries at 30 %: 2.7 % fail */
    ck_assert_uint_eq(sum.copies, 0);
    stick_world_end(w);
}

END_TEST

/* How many packets an XBee takes at once is written nowhere. */
START_TEST(a_module_is_given_no_more_packets_at_once_than_it_has_been_seen_to_take)
{
    enum { TAKES = 3 };

    struct stick_world_config c = config_of(0);
    c.emu.slots = TAKES;
    c.emu.baud = c.stick.baud = 115200; /* more are on the line before the first is refused */
    c.ether.latency_min_ms = c.ether.latency_max_ms = 50;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned node = 0; node < NODES; node++)
            stick_world_to_node(w, node, 20);
        stick_world_run(w, 2000);
        ck_assert_uint_eq(stick_world_total(w).received, (round + 1) * NODES);
        ck_assert_uint_eq(stick_counters(w->stick)->restarts, NODES - TAKES);
    }
    stick_world_end(w);
}

END_TEST

START_TEST(on_a_bad_line_it_goes_on)
{
    struct stick_world_config c = config_of(_i);
    c.faulty = true;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    const struct emu_faults faults = {.garbage_percent = 10,
                                      .flip_percent = 3,
                                      .drop_percent = 3,
                                      .split_percent = 30,
                                      .split_ms = 20};
    emu_set_faults(w->emu, &faults);
    talk(w, 300);
    emu_set_faults(w->emu, &(struct emu_faults){.split_ms = 0});
    ck_assert(stick_world_until_up(w, 5 * MINUTE));
    stick_world_run(w, 3 * MINUTE);
    const uint32_t before = stick_world_total(w).received;
    const uint32_t heard_before = stick_world_total(w).heard;
    ck_assert_uint_gt(before, 100);
    talk(w, 20);
    ck_assert_uint_eq(stick_world_total(w).received - before, 20);
    ck_assert_uint_eq(stick_world_total(w).heard - heard_before, 20);
    stick_world_end(w);
}

END_TEST

START_TEST(a_stick_that_resets_itself_in_the_midst_of_sending_comes_back)
{
    struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < NODES; i++)
            stick_world_to_node(w, i, 20);
        emu_reset(w->emu, w->now_ms);
        stick_world_run(w, 3 * MINUTE);
        ck_assert(stick_world_until_up(w, 2 * MINUTE));
    }
    const uint32_t before = stick_world_total(w).received;
    talk(w, 40);
    ck_assert_uint_eq(stick_world_total(w).received - before, 40);
    stick_world_end(w);
}

END_TEST

START_TEST(a_stick_that_was_pulled_out_comes_back)
{
    struct stick_world_config c = config_of(_i);
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < NODES; i++)
            stick_world_to_node(w, i, 20);
        stick_world_run(w, (int64_t)rng_below(&w->rng, 100));
        stick_world_unplug(w);
        stick_world_run(w, (int64_t)rng_below(&w->rng, MINUTE));
        stick_world_plug(w);
        ck_assert(stick_world_until_up(w, MINUTE));
    }
    const uint32_t before = stick_world_total(w).received;
    talk(w, 40);
    ck_assert_uint_eq(stick_world_total(w).received - before, 40);
    stick_world_end(w);
}

END_TEST

START_TEST(a_network_is_formed_only_if_the_configuration_allows_it)
{
    if (!variants[_i].forms)
        return;
    struct stick_world_config c = config_of(_i);
    c.emu.formed = false;
    struct stick_world *w = stick_world_new(&c);
    ck_assert(!stick_world_until_up(w, 2 * MINUTE));
    ck_assert_uint_gt(w->reopens, 0);
    ck_assert(stick_world_logged(w, "network"));
    stick_world_end(w);

    c.stick.form_network = true;
    c.stick.channel = 20;
    c.stick.pan_id = 0x1234;
    w = stick_world_new(&c);
    stick_world_start(w);
    ck_assert(stick_world_logged(w, "channel 20"));
    talk(w, 20);
    ck_assert_uint_eq(stick_world_total(w).received, 20);
    /* It is there after the next start, and not formed again. */
    stick_world_unplug(w);
    stick_world_run(w, 1000);
    stick_world_plug(w);
    ck_assert(stick_world_until_up(w, MINUTE));
    ck_assert_uint_eq(w->ups, 2);
    ck_assert(stick_world_logged(w, "1234"));
    stick_world_end(w);
}

END_TEST

START_TEST(the_network_of_a_stick_is_kept_when_the_configuration_says_otherwise)
{
    if (!variants[_i].forms)
        return;
    struct stick_world_config c = config_of(_i);
    c.emu.channel = 25;
    c.emu.pan_id = 0x4321;
    c.stick.form_network = true;
    c.stick.channel = 11;
    c.stick.pan_id = 0x1111;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    ck_assert(stick_world_logged(w, "log 4"));
    ck_assert(stick_world_logged(w, "channel 25"));
    ck_assert(stick_world_logged(w, "4321"));
    talk(w, 20);
    ck_assert_uint_eq(stick_world_total(w).received, 20);
    stick_world_end(w);
}

END_TEST

START_TEST(sleepers_get_what_comes_while_they_poll)
{
    struct stick_world_config c = config_of(_i);
    c.sleepy = NODES;
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < 40; i++) {
        const unsigned node = i % NODES;
        stick_world_from_node(w, node, 20);
        ether_node_poll(w->ether, w->now_ms, node, w->now_ms + 3000);
        stick_world_run(w, 500);
        stick_world_to_node(w, node, 20);
        stick_world_run(w, 5000);
    }
    const uint32_t awake = stick_world_total(w).received;
    ck_assert_uint_eq(awake, 40);
    stick_world_to_node(w, 0, 20); /* nobody polls */
    stick_world_run(w, 2 * MINUTE);
    ck_assert_uint_eq(stick_world_total(w).received, awake);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.outcomes[STICK_FAILED] + sum.outcomes[STICK_UNKNOWN], 1);
    stick_world_end(w);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("sticks");
    TCase *tc = tcase_create("sticks");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, packets_pass_both_ways_once_each, 0, VARIANTS);
    tcase_add_loop_test(tc, a_crowd_of_strangers_that_speaks_at_once_is_heard, 0, VARIANTS);
    tcase_add_loop_test(tc, broadcasts_pass_both_ways, 0, VARIANTS);
    tcase_add_loop_test(tc, in_bad_air_each_packet_has_its_outcome_and_is_sent_once, 0, VARIANTS);
    tcase_add_loop_test(tc, nodes_that_are_gone_do_not_delay_the_others, 0, VARIANTS);
    tcase_add_loop_test(tc, a_node_that_rejoins_under_another_address_stays_itself, 0, VARIANTS);
    tcase_add_loop_test(tc, confirms_that_never_come_or_belong_to_nobody_stop_nothing, 0, VARIANTS);
    tcase_add_loop_test(tc, what_a_busy_stick_cannot_start_is_tried_again, 0, VARIANTS);
    tcase_add_test(tc, a_module_is_given_no_more_packets_at_once_than_it_has_been_seen_to_take);
    tcase_add_loop_test(tc, on_a_bad_line_it_goes_on, 0, VARIANTS);
    tcase_add_loop_test(tc, a_stick_that_resets_itself_in_the_midst_of_sending_comes_back, 0,
                        VARIANTS);
    tcase_add_loop_test(tc, a_stick_that_was_pulled_out_comes_back, 0, VARIANTS);
    tcase_add_loop_test(tc, a_network_is_formed_only_if_the_configuration_allows_it, 0, VARIANTS);
    tcase_add_loop_test(tc, the_network_of_a_stick_is_kept_when_the_configuration_says_otherwise, 0,
                        VARIANTS);
    tcase_add_loop_test(tc, sleepers_get_what_comes_while_they_poll, 0, VARIANTS);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
