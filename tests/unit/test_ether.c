/* SPDX-License-Identifier: Apache-2.0 */
/* The emulated air and the serial line of emulated sticks: what tests of the sticks stand on. */
#include "tools/emu/emu.h"
#include "unit/seed.h"
#include "unit/suite.h"

static struct ether *e;
static int64_t now_ms;

/* What came out, by type. */
static struct ether_event got[64];
static size_t n_got;

static void make(const struct ether_config *config)
{
    ether_free(e);
    now_ms = 0;
    n_got = 0;
    e = ether_new(config, now_ms);
    ck_assert_ptr_nonnull(e);
}

static void setup(void)
{
    const struct ether_config config = ether_defaults();
    e = NULL;
    make(&config);
}

static void teardown(void)
{
    ether_free(e);
}

static void drain(void)
{
    struct ether_event event;
    for (; ether_peek_event(e, &event); ether_done_event(e)) {
        if (event.type == ETHER_EV_ANNOUNCE || n_got == 64)
            continue;
        got[n_got++] = event;
    }
}

static void advance_by(int64_t ms)
{
    const int64_t until_ms = now_ms + ms;
    do {
        now_ms = time_min(until_ms, ether_next_deadline(e));
        ether_advance(e, now_ms);
        ck_assert_int_gt(ether_next_deadline(e), now_ms);
        drain();
    } while (now_ms < until_ms);
}

static void add(uint16_t short_address, bool sleepy)
{
    const struct ether_node node = {.eui64 = 0xA000U + short_address,
                                    .short_address = short_address,
                                    .sleepy = sleepy,
                                    .endpoint = 0xE8,
                                    .profile = 0xC105,
                                    .cluster = 0x11};
    ck_assert_int_ge(ether_node_add(e, now_ms, &node), 0);
    advance_by(20);
}

static struct ether_frame frame_to(uint16_t short_address, uint32_t handle)
{
    return (struct ether_frame){.short_address = short_address,
                                .src_endpoint = 0xE8,
                                .dst_endpoint = 0xE8,
                                .profile = 0xC105,
                                .cluster = 0x11,
                                .want_ack = true,
                                .handle = handle};
}

static void send_to(uint16_t short_address, uint32_t handle)
{
    const struct ether_frame frame = frame_to(short_address, handle);
    ether_send(e, now_ms, &frame, bytes_str("payload"));
}

/* The status of the confirm of `handle`; fails unless there is exactly one. */
static enum ether_status confirmed(uint32_t handle)
{
    enum ether_status status = ETHER_OK;
    unsigned n = 0;
    for (size_t i = 0; i < n_got; i++) {
        if (got[i].type == ETHER_EV_CONFIRM && got[i].handle == handle) {
            status = got[i].status;
            n++;
        }
    }
    ck_assert_uint_eq(n, 1);
    return status;
}

static unsigned count(enum ether_event_type type)
{
    unsigned n = 0;
    for (size_t i = 0; i < n_got; i++)
        n += got[i].type == type;
    return n;
}

START_TEST(a_frame_takes_its_time_and_its_acknowledgement_too)
{
    add(1, false);
    send_to(1, 7);
    advance_by(9);
    ck_assert_uint_eq(n_got, 0);
    advance_by(1);
    ck_assert_uint_eq(count(ETHER_EV_TO_NODE), 1);
    ck_assert_uint_eq(count(ETHER_EV_CONFIRM), 0);
    advance_by(10);
    ck_assert_int_eq(confirmed(7), ETHER_OK);
}

END_TEST

START_TEST(what_the_node_does_not_hear_is_not_acknowledged)
{
    add(1, false);
    add(2, false);
    ether_node_reach(e, 0, false);
    send_to(1, 1);
    struct ether_frame other = frame_to(2, 2);
    other.cluster = 0x12;
    ether_send(e, now_ms, &other, bytes_str("x"));
    other = frame_to(2, 3);
    other.want_ack = false;
    other.profile = 1;
    ether_send(e, now_ms, &other, bytes_str("x"));
    advance_by(4799);
    ck_assert_int_eq(confirmed(3), ETHER_OK);
    ck_assert_uint_eq(n_got, 1);
    advance_by(1);
    ck_assert_int_eq(confirmed(1), ETHER_NO_ACK);
    ck_assert_int_eq(confirmed(2), ETHER_NO_ACK);
    ck_assert_uint_eq(count(ETHER_EV_TO_NODE), 0);
}

END_TEST

START_TEST(nobody_and_too_long_are_told)
{
    static const uint8_t big[83];
    add(1, false);
    send_to(9, 1);
    struct ether_frame frame = frame_to(1, 2);
    ether_send(e, now_ms, &frame, bytes_of(big, sizeof big));
    frame = (struct ether_frame){.by_eui64 = true, .eui64 = 5, .want_ack = true, .handle = 3};
    ether_send(e, now_ms, &frame, bytes_str("x"));
    frame = (struct ether_frame){.by_eui64 = true, .eui64 = 0xA001, .want_ack = true, .handle = 4};
    ether_send(e, now_ms, &frame, bytes_of(big, 82));
    advance_by(100);
    ck_assert_int_eq(confirmed(1), ETHER_NO_ADDRESS);
    ck_assert_int_eq(confirmed(2), ETHER_TOO_LONG);
    ck_assert_int_eq(confirmed(3), ETHER_NO_ADDRESS);
    ck_assert_int_eq(confirmed(4), ETHER_OK); /* all zero: everybody hears it */
    ck_assert_uint_eq(ether_counters(e)->no_address, 2);
}

END_TEST

START_TEST(parents_keep_frames_for_sleeping_children)
{
    add(1, true);
    for (uint32_t i = 0; i < 5; i++)
        send_to(1, i);
    advance_by(1000);
    ck_assert_int_eq(confirmed(3), ETHER_QUEUE_FULL);
    ck_assert_int_eq(confirmed(4), ETHER_QUEUE_FULL);
    ck_assert_uint_eq(n_got, 2);
    ether_node_poll(e, now_ms, 0, now_ms + 100);
    advance_by(50);
    ck_assert_uint_eq(count(ETHER_EV_TO_NODE), 3);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_int_eq(confirmed(i), ETHER_OK);
    send_to(1, 10); /* it still listens */
    advance_by(20);
    ck_assert_int_eq(confirmed(10), ETHER_OK);
    advance_by(100);
    send_to(1, 11);
    advance_by(10 + 7679);
    ck_assert_uint_eq(ether_counters(e)->expired, 0);
    advance_by(2);
    ck_assert_int_eq(confirmed(11), ETHER_EXPIRED);
    ck_assert_uint_eq(count(ETHER_EV_TO_NODE), 4);
}

END_TEST

START_TEST(a_node_that_moved_is_found_by_its_name_only)
{
    add(1, false);
    send_to(1, 1);
    ether_node_rejoin(e, now_ms, 0, 2, false);
    send_to(1, 2);
    struct ether_frame frame = frame_to(0, 3);
    frame.by_eui64 = true;
    frame.eui64 = 0xA001;
    ether_send(e, now_ms, &frame, bytes_str("x"));
    advance_by(5000);
    ck_assert_int_eq(confirmed(1), ETHER_NO_ACK); /* on air when it moved */
    ck_assert_int_eq(confirmed(2), ETHER_NO_ADDRESS);
    ck_assert_int_eq(confirmed(3), ETHER_OK);
    for (size_t i = 0; i < n_got; i++)
        ck_assert(got[i].handle != 3 || got[i].short_address == 2);
}

END_TEST

START_TEST(kept_frames_expire_at_the_old_parent)
{
    add(1, true);
    send_to(1, 1);
    advance_by(100);
    ether_node_rejoin(e, now_ms, 0, 2, true);
    ether_node_poll(e, now_ms, 0, now_ms + 60000);
    send_to(2, 2);
    advance_by(8000);
    ck_assert_int_eq(confirmed(1), ETHER_EXPIRED);
    ck_assert_int_eq(confirmed(2), ETHER_OK);
    ck_assert_uint_eq(count(ETHER_EV_TO_NODE), 1);
}

END_TEST

START_TEST(broadcasts_reach_those_who_listen_and_cost_one_confirm)
{
    add(1, false);
    add(2, true);
    add(3, false);
    struct ether_frame frame = frame_to(0, 1);
    frame.broadcast = true;
    frame.dst_endpoint = 0xFF;
    ether_send(e, now_ms, &frame, bytes_str("all"));
    advance_by(5000);
    ck_assert_int_eq(confirmed(1), ETHER_OK);
    ck_assert_uint_eq(count(ETHER_EV_TO_NODE), 2);
    n_got = 0;
    ether_node_send(e, now_ms, 0, true, bytes_str("search"));
    advance_by(100);
    ck_assert_uint_eq(count(ETHER_EV_RECEIVED), 1);
    ck_assert_uint_eq(count(ETHER_EV_TO_NODE), 1); /* node 3, not the sender */
}

END_TEST

START_TEST(a_coordinator_that_was_off_hears_nothing_of_before)
{
    add(1, false);
    send_to(1, 1);
    advance_by(15); /* the confirm is on its way */
    ether_node_send(e, now_ms, 0, false, bytes_str("x"));
    ether_coordinator(e, now_ms, false);
    send_to(1, 2);
    advance_by(5000);
    ck_assert_uint_eq(count(ETHER_EV_CONFIRM) + count(ETHER_EV_RECEIVED), 0);
    ether_coordinator(e, now_ms, true);
    send_to(1, 3);
    advance_by(50);
    ck_assert_int_eq(confirmed(3), ETHER_OK);
    ck_assert_uint_eq(n_got, 3); /* two payloads and this confirm */
}

END_TEST

START_TEST(an_event_that_became_stale_while_borrowed_is_done_with_like_the_others)
{
    add(1, false);
    ether_node_send(e, now_ms, 0, false, bytes_str("one"));
    send_to(1, 1);
    ether_advance(e, now_ms += 10);
    struct ether_event event;
    ck_assert(ether_peek_event(e, &event));
    ck_assert_int_eq(event.type, ETHER_EV_RECEIVED);
    ether_coordinator(e, now_ms, false); /* what a front end may do that handles the event */
    ether_coordinator(e, now_ms, true);
    ether_done_event(e);
    ck_assert(ether_peek_event(e, &event));
    ck_assert_int_eq(event.type, ETHER_EV_TO_NODE);
    ether_done_event(e);
    ck_assert(!ether_peek_event(e, &event));
}

END_TEST

START_TEST(losses_and_copies_come_as_often_as_asked_for)
{
    struct ether_config config = ether_defaults();
    config.loss_percent = 20;
    config.ack_loss_percent = 10;
    config.copy_percent = 5;
    config.latency_max_ms = 60;
    make(&config);
    add(1, false);
    unsigned to_node = 0, ok = 0, confirms = 0, up = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        send_to(1, i);
        ether_node_send(e, now_ms, 0, false, bytes_str("x"));
        n_got = 0;
        advance_by(5000);
        to_node += count(ETHER_EV_TO_NODE);
        up += count(ETHER_EV_RECEIVED);
        confirms += count(ETHER_EV_CONFIRM);
        ok += confirmed(i) == ETHER_OK;
    }
    ck_assert_uint_eq(confirms, 4000);
    ck_assert(to_node > 3250 && to_node < 3470); /* 0.8 * 1.05 = 3360 */
    ck_assert(up > 3250 && up < 3470);
    ck_assert(ok > 2780 && ok < 2980); /* 0.8 * 0.9 = 2880 */
    ck_assert_uint_eq(ether_counters(e)->to_nodes, 4000);
}

END_TEST

START_TEST(a_long_step_gives_the_same_air_as_many_short_ones)
{
    struct ether_config config = ether_defaults();
    config.loss_percent = config.copy_percent = config.ack_loss_percent = 20;
    config.latency_max_ms = 90;
    struct ether_event all[2][64];
    size_t n[2];
    for (size_t way = 0; way < 2; way++) {
        make(&config);
        add(1, false);
        add(2, true);
        for (uint32_t i = 0; i < 20; i++)
            send_to((uint16_t)(1 + i % 2), i);
        ether_node_poll(e, now_ms, 1, now_ms + 50);
        if (way == 0)
            advance_by(20000);
        else
            ether_advance(e, now_ms += 20000);
        drain();
        n[way] = n_got;
        memcpy(all[way], got, sizeof got);
    }
    ck_assert_uint_eq(n[0], n[1]);
    ck_assert_uint_gt(n[0], 30);
    for (size_t i = 0; i < n[0]; i++) {
        ck_assert_int_eq(all[0][i].type, all[1][i].type);
        ck_assert_uint_eq(all[0][i].handle, all[1][i].handle);
        ck_assert_int_eq(all[0][i].status, all[1][i].status);
    }
}

END_TEST

/* ---- the line ---------------------------------------------------------------------------------- */

static struct emu *emu_with(uint32_t baud, const struct emu_faults *faults)
{
    const struct emu_config config = {.seed = 5, .firmware = 1, .baud = baud, .faults = *faults};
    struct emu *m = emu_new(emu_driver_find("serial"), &config, e, now_ms);
    ck_assert_ptr_nonnull(m);
    return m;
}

START_TEST(octets_take_their_time_on_the_line)
{
    uint8_t frame[96] = {0};
    struct emu *m = emu_with(9600, &(struct emu_faults){0});
    struct bytes out;
    emu_frame(m, 0, bytes_of(frame, sizeof frame)); /* 100 ms */
    emu_frame(m, 0, bytes_of(frame, sizeof frame));
    ck_assert(!emu_peek_bytes(m, 0, &out));
    ck_assert_int_eq(emu_next_deadline(m), 100);
    ck_assert(emu_peek_bytes(m, 50, &out));
    ck_assert_uint_eq(out.len, 48);
    emu_took(m, 10);
    size_t total = 10;
    for (int64_t at_ms = 50; at_ms <= 200; at_ms++) {
        emu_advance(m, at_ms);
        while (emu_peek_bytes(m, at_ms, &out)) {
            total += out.len;
            emu_took(m, out.len);
        }
        ck_assert_uint_le(total, (size_t)at_ms * 96 / 100);
        ck_assert_uint_ge(total + 2, (size_t)at_ms * 96 / 100);
    }
    ck_assert_uint_eq(total, 192);
    emu_free(m);
}

END_TEST

START_TEST(what_the_host_writes_arrives_at_the_pace_of_the_line)
{
    add(1, false);
    struct emu *m = emu_with(9600, &(struct emu_faults){0});
    uint8_t frame[98] = {0xC0};
    memset(frame + 1, 'x', 80);
    frame[81] = 0xC0;
    const size_t room = emu_room(m);
    emu_input(m, now_ms, bytes_of(frame, 82)); /* 85.4 ms */
    ck_assert_uint_eq(emu_room(m), room - 82);
    emu_advance(m, now_ms + 85);
    ck_assert_uint_eq(m->sends, 0);
    emu_advance(m, now_ms + 86);
    ck_assert_uint_eq(m->sends, 1);
    ck_assert_uint_eq(emu_room(m), room);
    emu_free(m);
}

END_TEST

START_TEST(each_of_two_frames_written_at_once_is_heard_when_it_has_passed)
{
    struct emu *m = emu_with(9600, &(struct emu_faults){0});
    emu_input(m, 0,
              bytes_of("\xC0"
                       "12345678\xC0\xC0"
                       "12345678\xC0",
                       20));
    emu_advance(m, 10); /* 10.4 ms each */
    ck_assert_uint_eq(m->sends, 0);
    emu_advance(m, 11);
    ck_assert_uint_eq(m->sends, 1);
    emu_advance(m, 20);
    ck_assert_uint_eq(m->sends, 1);
    emu_advance(m, 21);
    ck_assert_uint_eq(m->sends, 2);
    emu_free(m);
}

END_TEST

/* Whoever looks after the stick once in a while delays no answer but its delivery. */
START_TEST(an_answer_begins_when_its_question_has_passed)
{
    static const uint8_t version[] = {0xC0, 0x0D, 0x01, 0x00, 0x09, 0x00, 0x00,
                                      0x00, 0x00, 0x00, 0xE9, 0xFF, 0xC0};
    const struct emu_config config = {.seed = 5, .formed = true, .baud = 115200};
    struct emu *m = emu_new(emu_driver_find("deconz"), &config, e, 0);
    struct bytes out;
    ck_assert_ptr_nonnull(m);
    emu_advance(m, 1000); /* it has started */
    while (emu_peek_bytes(m, 1000, &out))
        emu_took(m, out.len);
    emu_input(m, 1000, bytes_of(version, sizeof version)); /* 1129 us, as is the answer */
    emu_advance(m, 1003);
    ck_assert(emu_peek_bytes_us(m, 1000000 + 2 * 1129, &out));
    ck_assert_uint_eq(out.len, sizeof version);
    ck_assert(emu_peek_bytes_us(m, 1000000 + 2 * 1129 - 50, &out));
    ck_assert_uint_eq(out.len, sizeof version - 1);
    emu_free(m);
}

END_TEST

/* Firmware has little memory: what the host does not fetch in time is lost, and of the air first. */
START_TEST(what_comes_from_the_air_is_lost_when_too_much_waits_for_the_host)
{
    add(1, false);
    struct emu *m = emu_with(9600, &(struct emu_faults){0});
    uint8_t packet[80] = {sizeof packet};
    const struct ether_event event = {.type = ETHER_EV_RECEIVED,
                                      .payload = bytes_of(packet, sizeof packet)};
    for (unsigned i = 0; i < 100; i++)
        emu_event(m, 0, &event);
    ck_assert_uint_ge(m->out.used, EMU_BACKLOG);
    ck_assert_uint_lt(m->out.used, EMU_BACKLOG + 100);
    ck_assert_uint_ge(m->overruns, 40 * sizeof packet);
    const size_t used = m->out.used;
    emu_frame(m, 0, bytes_of(packet, sizeof packet)); /* the firmware itself may speak */
    ck_assert_uint_eq(m->out.used, used + sizeof packet);
    emu_free(m);
}

END_TEST

START_TEST(a_stick_that_is_off_says_and_hears_nothing)
{
    struct emu *m = emu_with(0, &(struct emu_faults){0});
    struct bytes out;
    emu_frame(m, 0, bytes_str("abc"));
    emu_power_off(m, 0);
    ck_assert(!emu_peek_bytes(m, 100, &out));
    emu_input(m, 100, bytes_of("\xC0x\xC0", 3));
    ck_assert_int_eq(emu_next_deadline(m), TIME_NEVER);
    emu_power_on(m, 200);
    emu_input(m, 200, bytes_of("\xC0x\xC0", 3));
    ck_assert_uint_eq(m->sends, 1);
    emu_free(m);
}

END_TEST

START_TEST(faults_alter_frames_as_often_as_asked_for)
{
    const struct emu_faults faults = {
        .flip_percent = 10, .drop_percent = 10, .garbage_percent = 10};
    struct emu *m = emu_with(0, &faults);
    uint8_t frame[40], copy[256];
    memset(frame, 0x55, sizeof frame);
    unsigned whole = 0, shorter = 0, longer = 0;
    for (unsigned i = 0; i < 2000; i++) {
        struct bytes out;
        size_t n = 0;
        emu_frame(m, 0, bytes_of(frame, sizeof frame));
        while (emu_peek_bytes(m, 0, &out)) { /* in two pieces where the ring ends */
            memcpy(copy + n, out.data, out.len);
            n += out.len;
            emu_took(m, out.len);
        }
        whole += n == sizeof frame && memcmp(copy, frame, n) == 0;
        shorter += n < sizeof frame;
        longer += n > sizeof frame;
    }
    ck_assert(whole > 1380 && whole < 1540);   /* 0.9 ^ 3 = 1458 */
    ck_assert(shorter > 130 && shorter < 230); /* 0.1 * 0.9 = 180 */
    ck_assert(longer > 140 && longer < 260);
    emu_free(m);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("ether");
    TCase *tc = tcase_create("ether");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_frame_takes_its_time_and_its_acknowledgement_too);
    tcase_add_test(tc, what_the_node_does_not_hear_is_not_acknowledged);
    tcase_add_test(tc, nobody_and_too_long_are_told);
    tcase_add_test(tc, parents_keep_frames_for_sleeping_children);
    tcase_add_test(tc, a_node_that_moved_is_found_by_its_name_only);
    tcase_add_test(tc, kept_frames_expire_at_the_old_parent);
    tcase_add_test(tc, broadcasts_reach_those_who_listen_and_cost_one_confirm);
    tcase_add_test(tc, a_coordinator_that_was_off_hears_nothing_of_before);
    tcase_add_test(tc, an_event_that_became_stale_while_borrowed_is_done_with_like_the_others);
    tcase_add_test(tc, losses_and_copies_come_as_often_as_asked_for);
    tcase_add_test(tc, a_long_step_gives_the_same_air_as_many_short_ones);
    tcase_add_test(tc, octets_take_their_time_on_the_line);
    tcase_add_test(tc, what_the_host_writes_arrives_at_the_pace_of_the_line);
    tcase_add_test(tc, each_of_two_frames_written_at_once_is_heard_when_it_has_passed);
    tcase_add_test(tc, an_answer_begins_when_its_question_has_passed);
    tcase_add_test(tc, what_comes_from_the_air_is_lost_when_too_much_waits_for_the_host);
    tcase_add_test(tc, a_stick_that_is_off_says_and_hears_nothing);
    tcase_add_test(tc, faults_alter_frames_as_often_as_asked_for);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
