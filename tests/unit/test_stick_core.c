/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all families of sticks share: queues and slots of sending, outcomes, the ways in and out.
 * The family is a fake (fake_stick.h). Nodes: test_stick_nodes.c; everything at random:
 * test_stick_model.c.
 */
#include "unit/fake_stick.h"
#include "unit/suite.h"

enum { SLOTS = 4, CONFIRM_MS = 6000 };

static struct stick *s;
static struct fake_stick *f;
static int64_t now_ms;
static uint32_t outcomes[4];
static uint32_t outcomes_of[256][4]; /* by the last octet of the node's address */

static void stick_of(const struct stick_driver *driver, const struct stick_config *config)
{
    now_ms = 1000;
    s = stick_new(driver, config, now_ms);
    ck_assert_ptr_nonnull(s);
    f = fake_of(s);
}

static void up(unsigned slots)
{
    stick_opened(s, now_ms);
    stick_up(s, now_ms, 82, slots, CONFIRM_MS, "a network");
}

static void setup(void)
{
    const struct stick_config config = stick_defaults();
    stick_of(&fake_driver, &config);
    memset(outcomes, 0, sizeof outcomes);
    memset(outcomes_of, 0, sizeof outcomes_of);
    up(SLOTS);
}

static void teardown(void)
{
    stick_free(s);
}

/* Takes events until there are none; counts outcomes. Returns how many of `type` there were. */
static unsigned drain(enum stick_event_type type)
{
    struct stick_event e;
    unsigned n = 0;
    for (; stick_peek_event(s, &e); stick_done_event(s)) {
        n += e.type == type;
        if (e.type != STICK_EV_OUTCOME)
            continue;
        outcomes[e.outcome]++;
        const uint8_t last = e.peer->addr_len > 0 ? e.peer->bytes[e.peer->addr_len - 1] : 0;
        outcomes_of[last][e.outcome]++;
    }
    return n;
}

static void take_bytes(void)
{
    struct bytes out;
    while (stick_peek_bytes(s, &out))
        stick_took(s, now_ms, out.len);
}

static void send_to(uint64_t node, uint32_t tag)
{
    fake_send(s, now_ms, PEER_EUI64, node, tag, 30);
    take_bytes();
}

static void advance_by(int64_t ms)
{
    const int64_t until_ms = now_ms + ms;
    while (now_ms < until_ms) {
        now_ms = time_min(until_ms, stick_next_deadline(s));
        stick_advance(s, now_ms);
        ck_assert_int_gt(stick_next_deadline(s), now_ms);
        take_bytes();
    }
}

static void verdict(uint8_t id, enum stick_verdict what)
{
    ck_assert(stick_verdict(s, now_ms, id, what, 100));
    take_bytes();
}

/* ---- order, slots ------------------------------------------------------------------------------ */

START_TEST(packets_of_a_node_go_one_at_a_time_in_order)
{
    for (uint32_t tag = 0; tag < 5; tag++)
        send_to(1, tag);
    ck_assert_uint_eq(f->n_sent, 1);
    for (uint32_t tag = 0; tag < 5; tag++) {
        ck_assert_uint_eq(f->n_sent, tag + 1);
        ck_assert_uint_eq(f->sent[tag].tag, tag);
        verdict(f->sent[tag].id, VERDICT_DELIVERED);
    }
    ck_assert_uint_eq(f->n_sent, 5);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_DELIVERED], 5);
    ck_assert_uint_eq(stick_counters(s)->packets_out, 5);
}

END_TEST

START_TEST(as_many_nodes_as_slots_have_a_packet_on_air)
{
    for (uint32_t node = 0; node < 10; node++)
        send_to(node, node);
    ck_assert_uint_eq(f->n_sent, SLOTS);
    verdict(f->sent[2].id, VERDICT_DELIVERED);
    ck_assert_uint_eq(f->n_sent, SLOTS + 1);
    ck_assert_uint_eq(f->sent[SLOTS].tag, SLOTS);
}

END_TEST

START_TEST(nodes_take_turns)
{
    for (uint32_t i = 0; i < 20; i++)
        send_to(i / 4, i); /* five nodes, four packets each, node by node */
    for (size_t i = 0; i < f->n_sent; i++)
        verdict(f->sent[i].id, VERDICT_DELIVERED);
    ck_assert_uint_eq(f->n_sent, 20);
    /* Each node's packets in order, and nobody has his third before everybody had his first. */
    uint32_t had[5] = {0};
    for (size_t i = 0; i < 20; i++) {
        const uint32_t node = f->sent[i].tag / 4;
        ck_assert_uint_eq(f->sent[i].tag % 4, had[node]++);
        for (size_t other = 0; other < 5; other++)
            ck_assert_uint_le(had[node], had[other] + 2);
    }
}

END_TEST

START_TEST(ids_of_outstanding_packets_differ_and_are_never_zero)
{
    for (uint32_t round = 0; round < 300; round++) {
        send_to(1, round); /* stays on air, by id */
        f->n_sent = 0;
        send_to(2, round);
        ck_assert_uint_le(f->n_sent, 1);
        if (f->n_sent == 1) {
            ck_assert_uint_ne(f->sent[0].id, 0);
            ck_assert_uint_ne(f->sent[0].id, 1); /* node 1 got id 1 */
            verdict(f->sent[0].id, VERDICT_DELIVERED);
        }
        drain(STICK_EV_OUTCOME);
    }
}

END_TEST

START_TEST(nothing_goes_while_paused)
{
    stick_pause(s);
    send_to(1, 1);
    ck_assert_uint_eq(f->n_sent, 0);
    stick_resume(s, now_ms);
    ck_assert_uint_eq(f->n_sent, 1);
}

END_TEST

START_TEST(nothing_goes_without_room_for_its_frame)
{
    f->frame_bytes = 2000;
    f->verdict_at_once = true;
    f->verdict = VERDICT_DELIVERED;
    for (uint32_t i = 0; i < 10; i++)
        fake_send(s, now_ms, PEER_EUI64, i, i, 30); /* nobody takes the bytes */
    const size_t fit = (STICK_OUT_BYTES - STICK_OUT_RESERVE) / 2000 + 1;
    ck_assert_uint_eq(f->n_sent, fit);
    stick_took(s, now_ms, 2000);
    ck_assert_uint_eq(f->n_sent, fit + 1);
    take_bytes();
    ck_assert_uint_eq(f->n_sent, 10);
}

END_TEST

/* ---- the dead don't delay the living ----------------------------------------------------------- */

static void kill_node(uint64_t node)
{
    for (unsigned i = 0; i < STICK_SUSPECT_FAILURES; i++) {
        f->n_sent = 0;
        send_to(node, 0);
        ck_assert_uint_eq(f->n_sent, 1);
        verdict(f->sent[0].id, VERDICT_FAILED);
    }
    f->n_sent = 0;
}

START_TEST(suspects_have_one_slot_of_four)
{
    for (uint64_t node = 1; node <= 6; node++)
        kill_node(node);
    for (uint64_t node = 1; node <= 6; node++)
        send_to(node, (uint32_t)node);
    ck_assert_uint_eq(f->n_sent, 1);
    /* The living find the others free, at once. */
    for (uint64_t node = 11; node <= 13; node++)
        send_to(node, (uint32_t)node);
    ck_assert_uint_eq(f->n_sent, 4);
    ck_assert_uint_eq(f->sent[3].tag, 13);
}

END_TEST

START_TEST(a_suspect_that_is_heard_is_none_any_more)
{
    kill_node(1);
    kill_node(2);
    send_to(1, 1);
    send_to(2, 2);
    ck_assert_uint_eq(f->n_sent, 1); /* node 2 waits for the slot of suspects */
    const struct stick_radio radio = {0};
    stick_heard(s, now_ms, PEER_EUI64, 2, SHORT_UNKNOWN, &radio, bytes_str("hello"));
    ck_assert_uint_eq(f->n_sent, 2);
    ck_assert_uint_eq(f->sent[1].tag, 2);
}

END_TEST

START_TEST(a_suspect_that_answers_is_none_any_more)
{
    kill_node(1);
    kill_node(2);
    send_to(1, 1);
    verdict(f->sent[0].id, VERDICT_DELIVERED);
    send_to(1, 1);
    send_to(2, 2);
    ck_assert_uint_eq(f->n_sent, 3);
}

END_TEST

START_TEST(suspects_are_not_forgotten_while_the_living_talk)
{
    kill_node(1);
    for (uint32_t i = 0; i < 40; i++)
        send_to(20 + i % 8, i);
    send_to(1, 999);
    unsigned at = 0;
    for (size_t i = 0; i < f->n_sent; i++) {
        if (f->sent[i].tag == 999)
            at = (unsigned)i;
        verdict(f->sent[i].id, VERDICT_DELIVERED);
    }
    ck_assert_uint_gt(at, 0);
    ck_assert_uint_lt(at, 12);
}

END_TEST

START_TEST(packets_of_suspects_give_way_when_everything_is_full)
{
    for (uint64_t node = 1; node <= 9; node++)
        kill_node(node);
    drain(STICK_EV_OUTCOME);
    for (uint32_t i = 0; i < STICK_QUEUE; i++)
        send_to(1 + i / 29, i);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 0);
    f->n_sent = 0;
    send_to(100, 777);
    ck_assert_uint_eq(f->n_sent, 1);
    ck_assert_uint_eq(f->sent[0].tag, 777);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(outcomes_of[100][STICK_NOT_SENT], 0);
    ck_assert_uint_eq(stick_counters(s)->queue_full, 1);
}

END_TEST

START_TEST(a_restart_of_the_stick_makes_nobody_suspect)
{
    for (unsigned i = 0; i < 5; i++) {
        send_to(1, i);
        send_to(2, i);
        stick_down(s, now_ms, "it has reset itself");
        stick_up(s, now_ms, 82, SLOTS, CONFIRM_MS, "again");
    }
    f->n_sent = 0;
    send_to(1, 9);
    send_to(2, 9);
    ck_assert_uint_eq(f->n_sent, 2);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 10);
}

END_TEST

/* ---- what could not start ---------------------------------------------------------------------- */

START_TEST(what_could_not_start_is_tried_three_times_with_a_pause)
{
    send_to(1, 5);
    send_to(1, 6);
    for (unsigned i = 0; i < STICK_TRIES; i++) {
        ck_assert_uint_eq(f->n_sent, i + 1);
        ck_assert_uint_eq(f->sent[i].tag, 5);
        ck_assert_uint_eq(f->sent[i].tries, i + 1);
        verdict(f->sent[i].id, VERDICT_NOT_BEGUN); /* again after 100 ms */
        if (i + 1 < STICK_TRIES) {
            advance_by(99);
            ck_assert_uint_eq(f->n_sent, i + 1);
            advance_by(1);
        }
    }
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(f->sent[3].tag, 6); /* the next one has its turn */
    ck_assert_uint_eq(stick_counters(s)->restarts, STICK_TRIES - 1);
    ck_assert_uint_eq(stick_counters(s)->packets_out, 2);
}

END_TEST

START_TEST(a_busy_stick_does_not_spin)
{
    f->verdict_at_once = true;
    f->verdict = VERDICT_NOT_BEGUN;
    f->again_ms = 0;
    for (uint32_t i = 0; i < 50; i++)
        send_to(i, i);
    ck_assert_uint_eq(f->n_sent, 50);
    advance_by(10);
    ck_assert_uint_eq(f->n_sent, 150);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 50);
}

END_TEST

START_TEST(refused_and_too_long_are_final)
{
    send_to(1, 1);
    verdict(f->sent[0].id, VERDICT_REFUSED);
    send_to(1, 2);
    verdict(f->sent[1].id, VERDICT_TOO_LONG);
    advance_by(10000);
    ck_assert_uint_eq(f->n_sent, 2);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 2);
    ck_assert_uint_eq(stick_counters(s)->too_long, 1);
}

END_TEST

/* ---- confirms ---------------------------------------------------------------------------------- */

START_TEST(a_confirm_that_never_comes_is_unknown_at_its_deadline)
{
    send_to(1, 1);
    advance_by(CONFIRM_MS - 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    advance_by(1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 1);
    /* It comes all the same, later. */
    ck_assert(!stick_verdict(s, now_ms, f->sent[0].id, VERDICT_DELIVERED, 0));
    ck_assert_uint_eq(stick_counters(s)->unknown_ids, 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
}

END_TEST

START_TEST(a_driver_may_wait_longer_for_one_confirm)
{
    send_to(1, 1);
    stick_await(s, stick_outstanding(s, f->sent[0].id), now_ms, 20000);
    advance_by(19999);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    advance_by(1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
}

END_TEST

START_TEST(confirms_for_nobody_are_counted)
{
    for (unsigned id = 0; id < 256; id++)
        ck_assert(!stick_verdict(s, now_ms, (uint8_t)id, VERDICT_DELIVERED, 0));
    ck_assert_uint_eq(stick_counters(s)->unknown_ids, 256);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
}

END_TEST

/* ---- limits ------------------------------------------------------------------------------------ */

START_TEST(a_node_has_room_for_so_many_packets)
{
    for (uint32_t i = 0; i < STICK_NODE_QUEUE + 1; i++) /* one is on air */
        send_to(1, i);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    send_to(1, 99);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->queue_full, 1);
}

END_TEST

START_TEST(all_nodes_together_have_room_for_so_many)
{
    for (uint32_t i = 0; i < STICK_QUEUE; i++)
        send_to(i, i);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    send_to(300, 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
    ck_assert_uint_eq(stick_counters(s)->queue_full, 1);
}

END_TEST

START_TEST(what_waited_too_long_is_not_sent)
{
    stick_pause(s);
    send_to(1, 1);
    advance_by(5000);
    send_to(1, 2);
    advance_by(STICK_QUEUE_AGE_MS - 5000 - 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    advance_by(1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1); /* told at once, paused or not */
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->expired, 1);
    stick_resume(s, now_ms);
    ck_assert_uint_eq(f->n_sent, 1);
    ck_assert_uint_eq(f->sent[0].tag, 2);
}

END_TEST

START_TEST(what_is_on_air_does_not_expire_in_the_queue)
{
    send_to(1, 1);
    stick_await(s, stick_outstanding(s, f->sent[0].id), now_ms, STICK_QUEUE_AGE_MS * 2);
    advance_by(STICK_QUEUE_AGE_MS + 1);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    verdict(f->sent[0].id, VERDICT_DELIVERED);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 1);
}

END_TEST

START_TEST(too_long_packets_are_refused_by_the_network_s_limit)
{
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 83);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->too_long, 1);
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 82);
    ck_assert_uint_eq(f->n_sent, 1);
    struct stick_node_info info;
    ck_assert(stick_node(s, 0, &info));
    ck_assert(!stick_node(s, 1, &info));
}

END_TEST

START_TEST(a_lower_limit_refuses_what_already_waits)
{
    stick_pause(s);
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 80);
    fake_send(s, now_ms, PEER_EUI64, 1, 2, 60);
    stick_up(s, now_ms, 66, SLOTS, CONFIRM_MS, "with security");
    stick_resume(s, now_ms);
    ck_assert_uint_eq(f->n_sent, 1);
    ck_assert_uint_eq(f->sent[0].tag, 2);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(stick_counters(s)->too_long, 1);
}

END_TEST

START_TEST(the_configured_limit_is_never_exceeded)
{
    stick_up(s, now_ms, 4000, SLOTS, CONFIRM_MS, "fragments");
    struct stick_event e;
    uint32_t limit = 0;
    for (; stick_peek_event(s, &e); stick_done_event(s)) {
        if (e.type == STICK_EV_UP)
            limit = e.max_packet_bytes;
    }
    ck_assert_uint_eq(limit, 255);
    fake_send(s, now_ms, PEER_EUI64, 1, 1, 256);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 1);
    ck_assert_uint_eq(f->n_sent, 0);
}

END_TEST

/* ---- the group --------------------------------------------------------------------------------- */

START_TEST(broadcasts_keep_their_distance)
{
    for (uint32_t i = 0; i < 3; i++)
        fake_send(s, now_ms, PEER_GROUP, i, i, 20);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(f->n_sent, i + 1);
        ck_assert(f->sent[i].group);
        ck_assert_uint_eq(f->sent[i].radius, i);
        verdict(f->sent[i].id, VERDICT_DELIVERED);
        advance_by(STICK_GROUP_GAP_MS - 1);
        ck_assert_uint_eq(f->n_sent, i + 1);
        advance_by(1);
    }
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0); /* nobody acknowledges a broadcast */
    struct stick_node_info info;
    ck_assert(!stick_node(s, 0, &info)); /* the group is no node */
}

END_TEST

START_TEST(broadcasts_do_not_delay_the_nodes)
{
    for (uint32_t i = 0; i < 3; i++)
        fake_send(s, now_ms, PEER_GROUP, 0, i, 20);
    send_to(1, 7);
    ck_assert_uint_eq(f->n_sent, 2);
    ck_assert_uint_eq(f->sent[1].tag, 7);
}

END_TEST

/* ---- exactly one outcome ----------------------------------------------------------------------- */

START_TEST(closing_decides_everything)
{
    for (uint32_t i = 0; i < 3 * SLOTS; i++)
        send_to(i, i);
    verdict(f->sent[0].id, VERDICT_NOT_BEGUN); /* waits for its next try */
    stick_closed(s, now_ms);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], SLOTS);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 2 * SLOTS);
    advance_by(60000);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    ck_assert_int_eq(stick_next_deadline(s), TIME_NEVER);
    /* And nothing of it comes back with the port. */
    f->n_sent = 0;
    up(SLOTS);
    advance_by(60000);
    ck_assert_uint_eq(f->n_sent, 0);
}

END_TEST

START_TEST(a_restart_decides_what_is_on_air_and_keeps_the_rest)
{
    for (uint32_t i = 0; i < 2 * SLOTS; i++)
        send_to(i, i);
    stick_down(s, now_ms, "reset");
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], SLOTS);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 0);
    advance_by(3000);
    stick_up(s, now_ms, 82, SLOTS, CONFIRM_MS, "back");
    ck_assert_uint_eq(f->n_sent, 2 * SLOTS);
}

END_TEST

START_TEST(a_restart_that_takes_too_long_tells_the_waiting)
{
    for (uint32_t i = 0; i < 2 * SLOTS; i++)
        send_to(i, i);
    stick_down(s, now_ms, "reset");
    advance_by(STICK_QUEUE_AGE_MS);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], SLOTS);
}

END_TEST

START_TEST(without_a_running_stick_nothing_is_sent)
{
    stick_closed(s, now_ms);
    send_to(1, 1);
    stick_opened(s, now_ms);
    send_to(1, 2);
    stick_reopen(s, now_ms, "no answer");
    send_to(1, 3);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_NOT_SENT], 3);
    ck_assert_uint_eq(f->n_sent, 0);
    struct stick_node_info info;
    ck_assert(!stick_node(s, 0, &info)); /* it costs no place in the table either */
}

END_TEST

START_TEST(a_driver_that_gives_up_hears_nothing_until_closed)
{
    f->deadline_ms = now_ms + 10;
    send_to(1, 1);
    stick_reopen(s, now_ms, "the stick says nothing");
    ck_assert_uint_eq(drain(STICK_EV_REOPEN), 1);
    ck_assert_int_eq(stick_state(s), STICK_GIVEN_UP);
    stick_input(s, now_ms, bytes_str("late")); /* fake input() would abort */
    advance_by(100);
    ck_assert_uint_eq(f->advanced, 0);
    stick_closed(s, now_ms);
    ck_assert_uint_eq(f->closed, 1);
    drain(STICK_EV_OUTCOME);
    ck_assert_uint_eq(outcomes[STICK_UNKNOWN], 1);
}

END_TEST

START_TEST(a_family_that_knows_no_outcomes_tells_none)
{
    stick_free(s);
    const struct stick_config config = stick_defaults();
    stick_of(&fake_silent_driver, &config);
    up(SLOTS);
    for (uint32_t i = 0; i < 300; i++)
        send_to(i, i);
    verdict(f->sent[0].id, VERDICT_DELIVERED);
    stick_closed(s, now_ms);
    ck_assert_uint_eq(drain(STICK_EV_OUTCOME), 0);
    ck_assert(!stick_driver_reports(&fake_silent_driver));
    ck_assert_uint_eq(stick_counters(s)->delivered, 1);
}

END_TEST

/* ---- joining ----------------------------------------------------------------------------------- */

START_TEST(permission_to_join_is_remembered_while_the_stick_is_away)
{
    stick_closed(s, now_ms);
    stick_permit_join(s, now_ms, 60);
    ck_assert_uint_eq(f->join_calls, 0);
    advance_by(20000);
    up(SLOTS);
    ck_assert_uint_eq(f->join_calls, 1);
    ck_assert_uint_eq(f->join_seconds, 40);
    stick_permit_join(s, now_ms, 0);
    ck_assert_uint_eq(f->join_seconds, 0);
    stick_permit_join(s, now_ms, 65535);
    stick_closed(s, now_ms);
    advance_by(1000000);
    up(SLOTS);
    ck_assert_uint_eq(f->join_seconds, 65535);
    stick_permit_join(s, now_ms, 10);
    stick_closed(s, now_ms);
    advance_by(10000);
    const unsigned calls = f->join_calls;
    up(SLOTS);
    ck_assert_uint_eq(f->join_calls, calls);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_core");
    TCase *tc = tcase_create("core");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, packets_of_a_node_go_one_at_a_time_in_order);
    tcase_add_test(tc, as_many_nodes_as_slots_have_a_packet_on_air);
    tcase_add_test(tc, nodes_take_turns);
    tcase_add_test(tc, ids_of_outstanding_packets_differ_and_are_never_zero);
    tcase_add_test(tc, nothing_goes_while_paused);
    tcase_add_test(tc, nothing_goes_without_room_for_its_frame);
    tcase_add_test(tc, suspects_have_one_slot_of_four);
    tcase_add_test(tc, a_suspect_that_is_heard_is_none_any_more);
    tcase_add_test(tc, a_suspect_that_answers_is_none_any_more);
    tcase_add_test(tc, suspects_are_not_forgotten_while_the_living_talk);
    tcase_add_test(tc, packets_of_suspects_give_way_when_everything_is_full);
    tcase_add_test(tc, a_restart_of_the_stick_makes_nobody_suspect);
    tcase_add_test(tc, what_could_not_start_is_tried_three_times_with_a_pause);
    tcase_add_test(tc, a_busy_stick_does_not_spin);
    tcase_add_test(tc, refused_and_too_long_are_final);
    tcase_add_test(tc, a_confirm_that_never_comes_is_unknown_at_its_deadline);
    tcase_add_test(tc, a_driver_may_wait_longer_for_one_confirm);
    tcase_add_test(tc, confirms_for_nobody_are_counted);
    tcase_add_test(tc, a_node_has_room_for_so_many_packets);
    tcase_add_test(tc, all_nodes_together_have_room_for_so_many);
    tcase_add_test(tc, what_waited_too_long_is_not_sent);
    tcase_add_test(tc, what_is_on_air_does_not_expire_in_the_queue);
    tcase_add_test(tc, too_long_packets_are_refused_by_the_network_s_limit);
    tcase_add_test(tc, a_lower_limit_refuses_what_already_waits);
    tcase_add_test(tc, the_configured_limit_is_never_exceeded);
    tcase_add_test(tc, broadcasts_keep_their_distance);
    tcase_add_test(tc, broadcasts_do_not_delay_the_nodes);
    tcase_add_test(tc, closing_decides_everything);
    tcase_add_test(tc, a_restart_decides_what_is_on_air_and_keeps_the_rest);
    tcase_add_test(tc, a_restart_that_takes_too_long_tells_the_waiting);
    tcase_add_test(tc, without_a_running_stick_nothing_is_sent);
    tcase_add_test(tc, a_driver_that_gives_up_hears_nothing_until_closed);
    tcase_add_test(tc, a_family_that_knows_no_outcomes_tells_none);
    tcase_add_test(tc, permission_to_join_is_remembered_while_the_stick_is_away);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
