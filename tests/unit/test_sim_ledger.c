/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator's books, its histogram and its payloads. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "base/rng.h"

#include "tools/sim_histogram.h"
#include "tools/sim_ledger.h"
#include "tools/sim_payload.h"
#include "unit/suite.h"

/* ---- ledger ---------------------------------------------------------------------------------- */

static struct ledger ledger;

static void open_observed(void)
{
    ck_assert_int_eq(ledger_init(&ledger, 3, true), 0);
}

static void close_ledger(void)
{
    ledger_deinit(&ledger);
}

static const struct ledger_totals *totals(int qos)
{
    return &ledger.totals[ledger_index(qos)];
}

START_TEST(acknowledged_and_arrived_leaves_nothing_open)
{
    for (uint64_t i = 0; i < 1000; i++) {
        ck_assert_uint_eq(ledger_next(&ledger, 1, 1), i);
        const uint64_t seq = ledger_sent(&ledger, 1, 1);
        ck_assert_uint_eq(seq, i);
        ck_assert_int_eq(ledger_arrived(&ledger, 1, 1, seq), LEDGER_FIRST);
        ledger_acknowledged(&ledger, 1, 1, seq);
    }
    ck_assert_uint_eq(totals(1)->sent, 1000);
    ck_assert_uint_eq(totals(1)->acknowledged, 1000);
    ck_assert_uint_eq(totals(1)->arrived, 1000);
    ck_assert_uint_eq(totals(1)->lost, 0);
    ck_assert_uint_eq(totals(1)->missing, 0);
    ck_assert_uint_eq(totals(1)->arrived_unasked, 0);
    ck_assert_uint_eq(totals(1)->duplicated, 0);
    /* Only what is open costs memory. */
    const struct ledger_stream *s = &ledger.streams[1 * LEDGER_QOS_COUNT + ledger_index(1)];
    ck_assert_uint_eq(s->base, 1000);
    ck_assert_uint_le(s->capacity, 16);
}

END_TEST

START_TEST(acknowledged_but_not_arrived_is_lost_until_it_arrives)
{
    const uint64_t seq = ledger_sent(&ledger, 0, 2);
    ck_assert_uint_eq(totals(2)->missing, 1);
    ck_assert_uint_eq(totals(2)->lost, 0);
    ledger_acknowledged(&ledger, 0, 2, seq);
    ck_assert_uint_eq(totals(2)->lost, 1);
    ledger_acknowledged(&ledger, 0, 2, seq);
    ck_assert_uint_eq(totals(2)->acknowledged, 1);
    ck_assert_int_eq(ledger_arrived(&ledger, 0, 2, seq), LEDGER_FIRST);
    ck_assert_uint_eq(totals(2)->lost, 0);
    ck_assert_uint_eq(totals(2)->missing, 0);
    ck_assert_uint_eq(totals(1)->sent, 0);
}

END_TEST

START_TEST(lost_messages_can_be_named)
{
    for (uint64_t i = 0; i < 20; i++) {
        ledger_acknowledged(&ledger, 1, 1, ledger_sent(&ledger, 1, 1));
        if (i != 3 && i != 17)
            ledger_arrived(&ledger, 1, 1, i);
    }
    ledger_acknowledged(&ledger, 2, 2, ledger_sent(&ledger, 2, 2));
    ledger_sent(&ledger, 0, 1); /* not acknowledged */
    struct ledger_message m = {.qos = -1};
    ck_assert(ledger_find_lost(&ledger, &m) && m.node == 1 && m.qos == 1 && m.seq == 3);
    m.seq++;
    ck_assert(ledger_find_lost(&ledger, &m) && m.node == 1 && m.qos == 1 && m.seq == 17);
    m.seq++;
    ck_assert(ledger_find_lost(&ledger, &m) && m.node == 2 && m.qos == 2 && m.seq == 0);
    m.seq++;
    ck_assert(!ledger_find_lost(&ledger, &m));
}

END_TEST

START_TEST(second_arrival_is_a_duplicate_open_or_settled)
{
    const uint64_t open = ledger_sent(&ledger, 0, 1);
    ck_assert_int_eq(ledger_arrived(&ledger, 0, 1, open), LEDGER_FIRST);
    ck_assert_int_eq(ledger_arrived(&ledger, 0, 1, open), LEDGER_AGAIN);
    ledger_acknowledged(&ledger, 0, 1, open);
    ck_assert_int_eq(ledger_arrived(&ledger, 0, 1, open), LEDGER_AGAIN);
    ck_assert_uint_eq(totals(1)->arrived, 1);
    ck_assert_uint_eq(totals(1)->duplicated, 2);
}

END_TEST

START_TEST(arrival_of_what_was_never_sent_is_impossible)
{
    ck_assert_int_eq(ledger_arrived(&ledger, 2, 0, 0), LEDGER_IMPOSSIBLE);
    ledger_sent(&ledger, 2, 0);
    ck_assert_int_eq(ledger_arrived(&ledger, 2, 0, 1), LEDGER_IMPOSSIBLE);
    ck_assert_int_eq(ledger_arrived(&ledger, 2, 0, UINT64_MAX), LEDGER_IMPOSSIBLE);
    ck_assert_uint_eq(totals(0)->impossible, 3);
    ck_assert_uint_eq(totals(0)->arrived, 0);
}

END_TEST

START_TEST(order_is_judged_per_node_and_qos)
{
    for (int i = 0; i < 4; i++) {
        ledger_sent(&ledger, 0, 0);
        ledger_sent(&ledger, 1, 0);
        ledger_sent(&ledger, 0, 1);
    }
    ledger_arrived(&ledger, 0, 0, 0);
    ledger_arrived(&ledger, 0, 0, 3);
    ledger_arrived(&ledger, 1, 0, 1); /* a gap is no disorder */
    ledger_arrived(&ledger, 0, 1, 0);
    ck_assert_uint_eq(totals(0)->reordered, 0);
    ledger_arrived(&ledger, 0, 0, 1);
    ledger_arrived(&ledger, 0, 0, 2);
    ledger_arrived(&ledger, 0, 0, 2); /* a duplicate, not disorder */
    ck_assert_uint_eq(totals(0)->reordered, 2);
    ck_assert_uint_eq(totals(0)->duplicated, 1);
    ck_assert_uint_eq(totals(1)->reordered, 0);
}

END_TEST

START_TEST(refused_is_not_missing_but_may_still_have_arrived)
{
    const uint64_t seq = ledger_sent(&ledger, 0, 1);
    ledger_refused(&ledger, 0, 1, seq);
    ck_assert_uint_eq(totals(1)->refused, 1);
    ck_assert_uint_eq(totals(1)->missing, 0);
    ck_assert_uint_eq(totals(1)->lost, 0);
    ck_assert_int_eq(ledger_arrived(&ledger, 0, 1, seq), LEDGER_FIRST);
    ck_assert_uint_eq(totals(1)->arrived_unasked, 1);
    ck_assert_uint_eq(totals(1)->duplicated, 0);
}

END_TEST

START_TEST(unanswered_but_arrived_is_counted_only_where_answers_exist)
{
    for (int qos = -1; qos <= 2; qos++)
        ledger_arrived(&ledger, 0, qos, ledger_sent(&ledger, 0, qos));
    ck_assert_uint_eq(totals(-1)->arrived_unasked, 0);
    ck_assert_uint_eq(totals(0)->arrived_unasked, 0);
    ck_assert_uint_eq(totals(1)->arrived_unasked, 1);
    ck_assert_uint_eq(totals(2)->arrived_unasked, 1);
    ledger_acknowledged(&ledger, 0, 2, 0);
    ck_assert_uint_eq(totals(2)->arrived_unasked, 0);
    ck_assert_uint_eq(ledger_sum(&ledger).arrived, 4);
    ck_assert_uint_eq(ledger_sum(&ledger).arrived_unasked, 1);
}

END_TEST

START_TEST(what_was_for_a_node_that_left_is_excused)
{
    const uint64_t first = ledger_sent(&ledger, 1, 1);
    const uint64_t second = ledger_sent(&ledger, 1, 1);
    const uint64_t other = ledger_sent(&ledger, 2, 1);
    ledger_acknowledged(&ledger, 1, 1, first);
    ledger_acknowledged(&ledger, 1, 1, second);
    ledger_acknowledged(&ledger, 2, 1, other);
    ledger_arrived(&ledger, 1, 1, first);
    ck_assert_uint_eq(totals(1)->lost, 2);
    ledger_excuse_node(&ledger, 1);
    ck_assert_uint_eq(totals(1)->lost, 1);
    ck_assert_uint_eq(totals(1)->missing, 1);
    ck_assert_uint_eq(totals(1)->excused, 1);
    ledger_arrived(&ledger, 1, 1, second); /* a kept session delivered it after all */
    ck_assert_uint_eq(totals(1)->excused, 0);
    ck_assert_uint_eq(totals(1)->arrived, 2);
}

END_TEST

START_TEST(memory_is_bounded_when_the_oldest_stays_open)
{
    const uint64_t lost = ledger_sent(&ledger, 0, 1);
    ledger_acknowledged(&ledger, 0, 1, lost);
    for (uint64_t i = 1; i < LEDGER_SPAN; i++)
        ledger_acknowledged(&ledger, 0, 1, ledger_sent(&ledger, 0, 1));
    const struct ledger_stream *s = &ledger.streams[ledger_index(1)];
    ck_assert_uint_eq(s->capacity, LEDGER_SPAN);
    ck_assert_uint_eq(s->base, 0);
    ledger_sent(&ledger, 0, 1);
    ck_assert_uint_eq(s->capacity, LEDGER_SPAN);
    ck_assert_uint_eq(s->base, 1);
    /* What was closed by force stays in the counts, and is never taken for a duplicate. */
    ck_assert_int_eq(ledger_arrived(&ledger, 0, 1, lost), LEDGER_LATE);
    ck_assert_uint_eq(totals(1)->lost, LEDGER_SPAN);
    ck_assert_uint_eq(totals(1)->late, 1);
    ck_assert_uint_eq(totals(1)->duplicated, 0);
}

END_TEST

START_TEST(without_an_observer_an_acknowledgement_settles)
{
    struct ledger blind;
    ck_assert_int_eq(ledger_init(&blind, 1, false), 0);
    for (int i = 0; i < 100000; i++) {
        ledger_acknowledged(&blind, 0, 1, ledger_sent(&blind, 0, 1));
        ledger_sent(&blind, 0, 0);
    }
    ck_assert_uint_le(blind.streams[ledger_index(1)].capacity, 16);
    ck_assert_uint_le(blind.streams[ledger_index(0)].capacity, 16);
    ledger_deinit(&blind);
}

END_TEST

/* A naive model with one record per message must agree whatever happens in whatever order. */
enum { MODEL_MESSAGES = 300, MODEL_STEPS = 3000 };

struct model {
    bool acked[MODEL_MESSAGES], refused[MODEL_MESSAGES], excused[MODEL_MESSAGES];
    unsigned arrivals[MODEL_MESSAGES];
    uint64_t sent;
};

static void model_step(struct model *m, struct rng *rng)
{
    const uint64_t seq = rng_below(rng, m->sent + 1);
    switch (rng_below(rng, 6)) {
    case 0:
        if (m->sent < MODEL_MESSAGES)
            ck_assert_uint_eq(ledger_sent(&ledger, 0, 2), m->sent++);
        break;
    case 1:
        /* A refused message is never acknowledged: the answer to a PUBLISH is one or the other. */
        if (seq < m->sent && !m->refused[seq] && !m->acked[seq]) {
            ledger_acknowledged(&ledger, 0, 2, seq);
            m->acked[seq] = true;
        }
        break;
    case 2:
        if (seq < m->sent && !m->acked[seq] && !m->refused[seq] && rng_below(rng, 4) == 0) {
            ledger_refused(&ledger, 0, 2, seq);
            m->refused[seq] = true;
        }
        break;
    case 3:
    case 4:
        ledger_arrived(&ledger, 0, 2, seq);
        if (seq < m->sent)
            m->arrivals[seq]++;
        break;
    case 5:
        if (rng_below(rng, 100) == 0) {
            ledger_excuse_node(&ledger, 0);
            for (uint64_t i = 0; i < m->sent; i++)
                m->excused[i] = m->excused[i] || m->arrivals[i] == 0;
        }
        break;
    }
}

START_TEST(agrees_with_a_naive_model)
{
    printf("seed %d\n", _i);
    struct rng rng;
    rng_seed(&rng, (uint64_t)_i);
    struct model m = {0};
    for (int i = 0; i < MODEL_STEPS; i++)
        model_step(&m, &rng);
    struct ledger_totals want = {.sent = m.sent};
    for (uint64_t i = 0; i < m.sent; i++) {
        want.acknowledged += m.acked[i];
        want.refused += m.refused[i];
        want.arrived += m.arrivals[i] > 0;
        want.duplicated += m.arrivals[i] > 1 ? m.arrivals[i] - 1 : 0;
        want.lost += m.acked[i] && m.arrivals[i] == 0 && !m.excused[i];
        want.missing += m.arrivals[i] == 0 && !m.excused[i] && !m.refused[i];
        want.arrived_unasked += m.arrivals[i] > 0 && !m.acked[i];
        want.excused += m.arrivals[i] == 0 && m.excused[i];
    }
    const struct ledger_totals *got = totals(2);
    ck_assert_uint_eq(got->sent, want.sent);
    ck_assert_uint_eq(got->acknowledged, want.acknowledged);
    ck_assert_uint_eq(got->refused, want.refused);
    ck_assert_uint_eq(got->arrived, want.arrived);
    ck_assert_uint_eq(got->duplicated, want.duplicated);
    ck_assert_uint_eq(got->lost, want.lost);
    ck_assert_uint_eq(got->missing, want.missing);
    ck_assert_uint_eq(got->arrived_unasked, want.arrived_unasked);
    ck_assert_uint_eq(got->excused, want.excused);
    ck_assert_uint_eq(got->late, 0);
}

END_TEST

/* ---- histogram ------------------------------------------------------------------------------- */

static struct histogram h;

START_TEST(small_values_are_exact)
{
    memset(&h, 0, sizeof h);
    ck_assert_uint_eq(hist_quantile(&h, 0.5), 0);
    for (int i = 1; i <= 20; i++)
        hist_add(&h, i);
    ck_assert_uint_eq(hist_quantile(&h, 0.5), 10);
    ck_assert_uint_eq(hist_quantile(&h, 0.95), 19);
    ck_assert_uint_eq(hist_quantile(&h, 1.0), 20);
    ck_assert_uint_eq(hist_quantile(&h, 0.0), 1);
    ck_assert_uint_eq(h.max, 20);
    ck_assert_uint_eq(h.sum, 210);
}

END_TEST

START_TEST(quantiles_are_never_low_and_at_most_one_step_high)
{
    memset(&h, 0, sizeof h);
    for (int64_t i = 1; i <= 1000000; i++)
        hist_add(&h, i);
    static const double shares[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0};
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        const double exact = shares[i] * 1e6;
        const double got = (double)hist_quantile(&h, shares[i]);
        ck_assert_double_ge(got, exact - 1e-6);
        ck_assert_double_le(got, exact * (1 + 1.0 / 32) + 1);
    }
}

END_TEST

START_TEST(extreme_values_stay_inside)
{
    memset(&h, 0, sizeof h);
    hist_add(&h, -5);
    hist_add(&h, INT64_MAX);
    ck_assert_uint_eq(h.count, 2);
    ck_assert_uint_eq(hist_quantile(&h, 0.5), 0);
    ck_assert_uint_eq(hist_quantile(&h, 1.0), (UINT64_C(1) << HIST_VALUE_BITS) - 1);
}

END_TEST

/* ---- payloads -------------------------------------------------------------------------------- */

static size_t write_payload(const struct payload *p, uint8_t *buf, size_t cap, size_t size)
{
    const size_t n = payload_write(buf, cap, p, size);
    ck_assert_uint_gt(n, 0);
    return n;
}

START_TEST(payloads_round_trip_at_every_size)
{
    uint8_t buf[512];
    for (size_t size = 0; size <= 400; size++) {
        for (int kind = PAYLOAD_READING; kind <= PAYLOAD_WILL; kind++) {
            const struct payload in = {.kind = (enum payload_kind)kind,
                                       .qos = (int)(size % 4) - 1,
                                       .node = 17,
                                       .run = 0x0f3a9c01,
                                       .seq = size * 1000};
            const size_t n = write_payload(&in, buf, sizeof buf, size);
            /* Exactly the size wanted, but that a padding field has a frame of its own. */
            ck_assert_uint_ge(n + 10, size);
            ck_assert(n <= size || n <= PAYLOAD_NATURAL_MAX);
            struct payload out;
            ck_assert_int_eq(payload_read(bytes_of(buf, n), &out), PAYLOAD_OK);
            ck_assert_int_eq(out.kind, in.kind);
            ck_assert_int_eq(out.qos, in.qos);
            ck_assert_uint_eq(out.node, in.node);
            ck_assert_uint_eq(out.run, in.run);
            ck_assert_uint_eq(out.seq, in.seq);
        }
    }
}

END_TEST

START_TEST(a_payload_reads_like_a_meter)
{
    uint8_t buf[128];
    const struct payload p = {
        .kind = PAYLOAD_READING, .qos = 1, .node = 17, .run = 0x5f3a9c01, .seq = 204};
    const size_t n = write_payload(&p, buf, sizeof buf, 0);
    const char *const start = "m=17 s=204 q=1 r=5f3a9c01 kwh=0001.241 c=";
    ck_assert_uint_eq(n, strlen(start) + 4);
    ck_assert_mem_eq(buf, start, strlen(start));
}

END_TEST

START_TEST(every_changed_or_missing_octet_is_noticed)
{
    uint8_t buf[128];
    const struct payload p = {.kind = PAYLOAD_READING, .qos = -1, .node = 4294967295U, .seq = 12};
    const size_t n = write_payload(&p, buf, sizeof buf, 80);
    struct payload out;
    for (size_t i = 0; i < n; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf[i] ^= (uint8_t)(1U << bit);
            ck_assert_int_ne(payload_read(bytes_of(buf, n), &out), PAYLOAD_OK);
            buf[i] ^= (uint8_t)(1U << bit);
        }
        ck_assert_int_ne(payload_read(bytes_of(buf, i), &out), PAYLOAD_OK);
    }
    ck_assert_int_eq(payload_read(bytes_of(buf, n), &out), PAYLOAD_OK);
}

END_TEST

START_TEST(other_peoples_messages_are_foreign)
{
    struct payload out;
    ck_assert_int_eq(payload_read(bytes_of(NULL, 0), &out), PAYLOAD_FOREIGN);
    ck_assert_int_eq(payload_read(bytes_str("21.5"), &out), PAYLOAD_FOREIGN);
    ck_assert_int_eq(payload_read(bytes_str("m="), &out), PAYLOAD_CORRUPT);
}

END_TEST

START_TEST(a_short_buffer_is_refused)
{
    uint8_t buf[128];
    const struct payload p = {.kind = PAYLOAD_COMMAND, .qos = 2, .node = 1};
    const size_t n = write_payload(&p, buf, sizeof buf, 60);
    for (size_t cap = 0; cap < n; cap++)
        ck_assert_uint_eq(payload_write(buf, cap, &p, 60), 0);
}

END_TEST

int main(void)
{
    TCase *books = tcase_create("ledger");
    tcase_add_checked_fixture(books, open_observed, close_ledger);
    tcase_add_test(books, acknowledged_and_arrived_leaves_nothing_open);
    tcase_add_test(books, acknowledged_but_not_arrived_is_lost_until_it_arrives);
    tcase_add_test(books, lost_messages_can_be_named);
    tcase_add_test(books, second_arrival_is_a_duplicate_open_or_settled);
    tcase_add_test(books, arrival_of_what_was_never_sent_is_impossible);
    tcase_add_test(books, order_is_judged_per_node_and_qos);
    tcase_add_test(books, refused_is_not_missing_but_may_still_have_arrived);
    tcase_add_test(books, unanswered_but_arrived_is_counted_only_where_answers_exist);
    tcase_add_test(books, what_was_for_a_node_that_left_is_excused);
    tcase_add_test(books, memory_is_bounded_when_the_oldest_stays_open);
    tcase_add_test(books, without_an_observer_an_acknowledgement_settles);
    tcase_add_loop_test(books, agrees_with_a_naive_model, 0, 20);

    TCase *histogram = tcase_create("histogram");
    tcase_add_test(histogram, small_values_are_exact);
    tcase_add_test(histogram, quantiles_are_never_low_and_at_most_one_step_high);
    tcase_add_test(histogram, extreme_values_stay_inside);

    TCase *payload = tcase_create("payload");
    tcase_add_test(payload, payloads_round_trip_at_every_size);
    tcase_add_test(payload, a_payload_reads_like_a_meter);
    tcase_add_test(payload, every_changed_or_missing_octet_is_noticed);
    tcase_add_test(payload, other_peoples_messages_are_foreign);
    tcase_add_test(payload, a_short_buffer_is_refused);

    Suite *suite = suite_create("sim_ledger");
    suite_add_tcase(suite, books);
    suite_add_tcase(suite, histogram);
    suite_add_tcase(suite, payload);
    return run_suite(suite);
}
