/* SPDX-License-Identifier: Apache-2.0 */
/* The ways in and out of a stick: the ring of events, the buffer for the port, a stuck line. */
#include "unit/fake_stick.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { CONFIRM_MS = 6000 };

static struct stick *s;
static struct fake_stick *f;
static int64_t now_ms;

static void setup(void)
{
    struct stick_config config = stick_defaults();
    config.max_nodes = 24;
    now_ms = 1000;
    s = stick_new(&fake_driver, &config, now_ms);
    ck_assert_ptr_nonnull(s);
    f = fake_of(s);
    stick_opened(s, now_ms);
}

static void teardown(void)
{
    stick_free(s);
}

static const struct stick_radio unmarked;

static void heard(uint32_t tag, size_t len)
{
    uint8_t room[1500];
    stick_heard(s, now_ms, PEER_EUI64, tag % 7, SHORT_UNKNOWN, &unmarked,
                fake_packet(room, tag, len));
}

/* ---- events ------------------------------------------------------------------------------------ */

START_TEST(events_come_out_in_order_and_whole_while_the_ring_wraps)
{
    struct rng rng = seeded_rng();
    uint32_t in = 0, out = 0;
    size_t lengths[4096];
    for (unsigned round = 0; round < 20000; round++) {
        if (rng_below(&rng, 100) < 55 && in - out < 200) {
            lengths[in % 4096] = 4 + (size_t)rng_below(&rng, 252);
            heard(in, lengths[in % 4096]);
            in++;
            continue;
        }
        struct stick_event e;
        const bool any = stick_peek_event(s, &e);
        ck_assert_int_eq(any, out < in);
        if (!any)
            continue;
        uint8_t room[1500];
        ck_assert_int_eq(e.type, STICK_EV_PACKET);
        ck_assert(bytes_equal(e.packet, fake_packet(room, out, lengths[out % 4096])));
        ck_assert_uint_eq(e.peer->bytes[7], out % 7);
        stick_done_event(s);
        out++;
    }
    ck_assert_uint_gt(out, 5000);
    ck_assert_uint_eq(stick_counters(s)->events_lost, 0);
}

END_TEST

START_TEST(what_does_not_fit_into_the_ring_is_lost_and_counted)
{
    uint32_t n = 0;
    for (; stick_counters(s)->events_lost == 0; n++)
        heard(n, 255);
    ck_assert_uint_gt(n, 200);
    heard(n++, 255);
    ck_assert_uint_eq(stick_counters(s)->events_lost, 2);
    ck_assert_uint_eq(stick_counters(s)->packets_in, n - 2);
    struct stick_event e;
    uint8_t room[1500];
    for (uint32_t i = 0; i < n - 2; i++) {
        ck_assert(stick_peek_event(s, &e));
        ck_assert(bytes_equal(e.packet, fake_packet(room, i, 255)));
        stick_done_event(s);
    }
    ck_assert(!stick_peek_event(s, &e));
    heard(n, 255);
    ck_assert(stick_peek_event(s, &e));
    ck_assert(bytes_equal(e.packet, fake_packet(room, n, 255)));
}

END_TEST

START_TEST(texts_and_ports_come_as_they_were_said)
{
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    stick_log(s, LOG_WARN, "fake.version", "version %u", 7U);
    stick_log(s, LOG_INFO, "fake.long", "%s", text);
    stick_set_port(s, (struct stick_port){.baud = 38400, .dtr = -1, .rts = 1});
    stick_up(s, now_ms, 60, 1, CONFIRM_MS, "PAN 1A62");
    stick_down(s, now_ms, "reset");
    stick_down(s, now_ms, "again"); /* it is down already */
    struct stick_event e;
    ck_assert(stick_peek_event(s, &e) && e.type == STICK_EV_LOG);
    ck_assert_int_eq(e.level, LOG_WARN);
    ck_assert_str_eq(e.name, "fake.version");
    ck_assert_str_eq(e.text, "version 7");
    stick_done_event(s);
    ck_assert(stick_peek_event(s, &e) && e.type == STICK_EV_LOG);
    ck_assert_uint_eq(strlen(e.text), STICK_TEXT_MAX - 1);
    stick_done_event(s);
    ck_assert(stick_peek_event(s, &e) && e.type == STICK_EV_PORT);
    ck_assert_int_eq(e.port.baud, 38400);
    ck_assert_int_eq(e.port.dtr, -1);
    ck_assert_int_eq(e.port.rts, 1);
    stick_done_event(s);
    ck_assert(stick_peek_event(s, &e) && e.type == STICK_EV_UP);
    ck_assert_str_eq(e.text, "PAN 1A62");
    ck_assert_uint_eq(e.max_packet_bytes, 60);
    stick_done_event(s);
    ck_assert(stick_peek_event(s, &e) && e.type == STICK_EV_DOWN);
    stick_done_event(s);
    ck_assert(!stick_peek_event(s, &e));
}

END_TEST

/* ---- bytes ------------------------------------------------------------------------------------- */

START_TEST(bytes_for_the_port_keep_their_order_however_they_are_taken)
{
    struct rng rng = seeded_rng();
    uint8_t next_in = 0, next_out = 0;
    size_t there = 0;
    for (unsigned round = 0; round < 20000; round++) {
        uint8_t piece[700];
        const size_t n = (size_t)rng_below(&rng, sizeof piece);
        for (size_t i = 0; i < n; i++)
            piece[i] = (uint8_t)(next_in + i);
        ck_assert_uint_eq(stick_room(s), STICK_OUT_BYTES - there);
        const bool fits = n <= STICK_OUT_BYTES - there;
        ck_assert_int_eq(stick_write(s, bytes_of(piece, n)), fits);
        if (fits) {
            next_in = (uint8_t)(next_in + n);
            there += n;
        }
        struct bytes out;
        ck_assert_int_eq(stick_peek_bytes(s, &out), there > 0);
        ck_assert_uint_eq(out.len, there);
        const size_t taken = (size_t)rng_below(&rng, there + 1);
        for (size_t i = 0; i < taken; i++) {
            if (out.data[i] != next_out++)
                ck_abort_msg("octet %zu of %zu in round %u", i, taken, round);
        }
        stick_took(s, now_ms, taken);
        there -= taken;
    }
}

END_TEST

START_TEST(a_line_that_takes_no_byte_is_stuck)
{
    ck_assert(stick_write(s, bytes_str("0123456789")));
    now_ms += STICK_STUCK_MS - 1;
    ck_assert_int_eq(stick_next_deadline(s), now_ms + 1);
    stick_advance(s, now_ms);
    stick_took(s, now_ms, 0); /* nothing was taken */
    now_ms += 1;
    stick_advance(s, now_ms);
    struct stick_event e;
    ck_assert(stick_peek_event(s, &e) && e.type == STICK_EV_REOPEN);
    ck_assert_ptr_nonnull(strstr(e.text, "flow_control"));
    ck_assert_int_eq(stick_state(s), STICK_GIVEN_UP);
    ck_assert_int_eq(stick_next_deadline(s), TIME_NEVER);
    stick_closed(s, now_ms);
    stick_opened(s, now_ms);
    struct bytes out;
    ck_assert(!stick_peek_bytes(s, &out)); /* nothing of the old opening */
}

END_TEST

START_TEST(a_slow_line_is_not_stuck)
{
    ck_assert(stick_write(s, bytes_str("0123456789")));
    for (unsigned i = 0; i < 9; i++) {
        now_ms += STICK_STUCK_MS - 1;
        stick_advance(s, now_ms);
        stick_took(s, now_ms, 1);
    }
    ck_assert_int_eq(stick_state(s), STICK_STARTING);
    stick_took(s, now_ms, 1);
    now_ms += 60000; /* silence is no fault of the line */
    stick_advance(s, now_ms);
    ck_assert(stick_write(s, bytes_str("x")));
    stick_advance(s, now_ms);
    ck_assert_int_eq(stick_state(s), STICK_STARTING);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick_io");
    TCase *tc = tcase_create("io");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, events_come_out_in_order_and_whole_while_the_ring_wraps);
    tcase_add_test(tc, what_does_not_fit_into_the_ring_is_lost_and_counted);
    tcase_add_test(tc, texts_and_ports_come_as_they_were_said);
    tcase_add_test(tc, bytes_for_the_port_keep_their_order_however_they_are_taken);
    tcase_add_test(tc, a_line_that_takes_no_byte_is_stuck);
    tcase_add_test(tc, a_slow_line_is_not_stuck);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
