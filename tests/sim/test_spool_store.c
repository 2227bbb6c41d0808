/* SPDX-License-Identifier: Apache-2.0 */
/* The spool and its store: backlogs larger than the memory, restarts, a store that fails. */
#include <time.h>

#include "sim/spool_suite.h"

enum { SMALL = 2000 };

static void begin(size_t memory)
{
    struct spool_config config = spool_defaults();
    config.max_memory_bytes = memory;
    w = world_new(&config, (struct faults){.crash = false}, 1);
    w->n_nodes = 3;
}

static void setup(void)
{
    begin(SMALL);
}

static void publish_many(unsigned n, uint8_t qos)
{
    for (unsigned i = 0; i < n; i++) {
        publish(i % 3, qos);
        if (i % 50 == 0)
            world_commit(w);
    }
    world_commit(w);
}

/* ---- beyond the memory ----------------------------------------------------------------------- */

START_TEST(a_backlog_beyond_the_memory_comes_from_the_store_in_order)
{
    publish_many(3000, 1);
    ck_assert_uint_eq(gauges().messages, 3000);
    ck_assert_uint_le(w->most_memory, SMALL);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 3000);
    ck_assert_uint_gt(w->fetches, 10);
    ck_assert_uint_eq(gauges().memory_bytes, 0);

    /* In memory again. */
    const uint64_t fetches = w->fetches;
    world_go(w);
    publish_many(5, 1);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 3005);
    ck_assert_uint_eq(w->fetches, fetches);
}

END_TEST

START_TEST(without_any_memory_everything_comes_from_the_store)
{
    teardown();
    begin(0);
    publish_many(500, 2);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 500);
    ck_assert_uint_eq(gauges().messages, 0);
}

END_TEST

/* The store takes them while the spool reads them: nothing may be missed in between. */
START_TEST(messages_that_arrive_during_a_fetch_are_not_missed)
{
    publish_many(300, 1);
    world_come(w);
    for (unsigned i = 0; i < 600; i++) {
        publish(i % 3, 1 + i % 2);
        world_turn(w); /* asks, and hears later */
        wire_step(w);
        wire_hear(w);
        if (i % 3 == 0)
            rows_step(w);
        if (i % 5 == 0)
            rows_answer(w);
        world_carry(w);
    }
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 900);
    ck_assert_uint_eq(gauges().messages, 0);
}

END_TEST

/* The last packet is the one of that client. */
static void put_last(unsigned node)
{
    struct vector *lane = &w->wire.plain;
    for (size_t i = 0; i < lane->n; i++) {
        const struct packet p = *(struct packet *)vector_at(lane, i);
        if (attempt_at(w, p.attempt)->client != node)
            continue;
        vector_remove(lane, i);
        *(struct packet *)vector_add(lane) = p;
        return;
    }
    ck_abort_msg("client %u has nothing with the connection", node + 1);
}

/* Three or so of B are on disk only; the message of A is numbered behind them, but in memory, as it
 * came back, and with the connection, as all that is in memory is. */
static uint32_t overtake_the_disk(void)
{
    for (unsigned i = 0; i < 14; i++) {
        publish(B, 1);
        world_commit(w);
    }
    world_come(w);
    const uint32_t live = publish(A, 1);
    world_go(w);
    world_commit(w);
    world_come(w);
    put_last(A);
    wire_reach(w, SENT);
    ck_assert_uint_gt(w->wire.plain.n, 1);
    return live;
}

static void acknowledge_all_but(size_t left)
{
    while (w->wire.plain.n > left)
        wire_step(w);
    while (wire_hear(w))
        ;
}

static void fetch_brings(uint32_t attempt)
{
    ck_assert_uint_eq(w->fetches, 1);
    while (rows_step(w))
        ;
    ck_assert(w->rows.answering);
    const uint64_t *last = vector_at(&w->rows.answer, w->rows.answer.n - 1);
    ck_assert_uint_eq(row_at(w, *last)->attempt, attempt);
}

START_TEST(what_is_done_with_during_a_fetch_is_not_taken_from_its_answer)
{
    const uint32_t live = overtake_the_disk();
    acknowledge_all_but(1);
    world_turn(w);
    fetch_brings(live);
    acknowledge_all_but(0);
    rows_answer(w);
    world_settle(w);
    ck_assert_uint_eq(attempt_at(w, live)->deliveries, 1);
    ck_assert_uint_eq(w->delivered, 15);
}

END_TEST

/* Its deletion is recorded, but in the batch that the fetch does not see. */
START_TEST(what_was_done_with_just_before_a_fetch_is_not_taken_from_its_answer)
{
    const uint32_t live = overtake_the_disk();
    acknowledge_all_but(0);
    world_ask(w);
    fetch_brings(live);
    rows_answer(w);
    world_settle(w);
    ck_assert_uint_eq(attempt_at(w, live)->deliveries, 1);
    ck_assert_uint_eq(w->delivered, 15);
}

END_TEST

START_TEST(a_million_messages_need_no_memory_and_keep_their_order)
{
    enum { MANY = 1000000 };

    teardown();
    begin((size_t)4 << 20);
    w->n_nodes = 9;
    const clock_t start = clock();
    for (unsigned i = 0; i < MANY; i++) {
        world_publish(w, i % 9, 1, false);
        if (i % 256 == 0)
            world_commit(w);
    }
    world_commit(w);
    ck_assert_uint_eq(gauges().messages, MANY);
    ck_assert_uint_eq(gauges().full, 0);
    const clock_t full = clock();
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, MANY);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_le(w->most_memory, (size_t)5 << 20);
    printf("a million messages: %.1f s in, %.1f s out, %zu octets in memory at most\n",
           (double)(full - start) / CLOCKS_PER_SEC, (double)(clock() - full) / CLOCKS_PER_SEC,
           w->most_memory);
}

END_TEST

/* ---- restarts -------------------------------------------------------------------------------- */

START_TEST(a_restart_goes_on_with_what_was_committed)
{
    publish_many(200, 1);
    publish(A, 2); /* not committed */
    world_crash(w);
    ck_assert_uint_eq(gauges().messages, 200);
    ck_assert_uint_eq(gauges().bytes, 200 * 19);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 200);
    ck_assert_uint_eq(gauges().messages, 0);
}

END_TEST

START_TEST(a_client_with_a_backlog_queues_behind_it_after_a_restart)
{
    const uint32_t first = publish(A, 1);
    world_commit(w);
    world_crash(w);
    world_come(w);
    const uint32_t second = publish(A, 1);
    ck_assert_uint_eq(w->wire.plain.n, 0);
    world_settle(w);
    ck_assert_uint_eq(attempt_at(w, first)->deliveries, 1);
    ck_assert_uint_eq(attempt_at(w, second)->deliveries, 1);
    publish(A, 1);
    ck_assert_uint_eq(w->wire.plain.n, 1); /* live */
    world_settle(w);
}

END_TEST

static void leave_with_connection(enum stage stage)
{
    world_come(w);
    publish(A, 2);
    world_commit(w);
    ck_assert_uint_eq(w->wire.twice.n, 1);
    wire_reach(w, stage);
    world_crash(w);
    ck_assert_uint_eq(gauges().messages, 1);
    ck_assert_uint_eq(gauges().in_flight, 1);
    ck_assert_uint_eq(gauges().bytes, 19);
}

START_TEST(qos_2_that_was_with_the_connection_before_a_restart_stays_there)
{
    for (unsigned stage = SENT; stage <= PASSED; stage++) {
        teardown();
        setup();
        leave_with_connection((enum stage)stage);
        wire_connect(w, false);
        ck_assert(wire_hear(w));
        const uint32_t behind = publish(A, 1); /* waits for it */
        world_commit(w);
        ck_assert_uint_eq(w->wire.plain.n, 0);
        world_settle(w);
        ck_assert_uint_eq(w->delivered, 2);
        ck_assert_uint_eq(attempt_at(w, behind)->deliveries, 1);
        ck_assert_uint_eq(gauges().messages, 0);
        ck_assert(!row_at(w, 1)->there);
    }
}

END_TEST

/* What it still finished while it ended, what the session goes on with, and what it had not sent. */
START_TEST(of_a_connection_that_was_ended_the_store_knows_what_is_still_to_be_sent)
{
    open_sound_world(spool_defaults(), CLIENTS_MAX);
    world_come(w);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        publish(i, 2);
    world_commit(w);
    wire_reach(w, PASSED);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        publish(i, 2);
    world_commit(w);
    world_abandon(w);
    ck_assert_uint_eq(gauges().in_flight, 2 * CLIENTS_MAX);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        publish(i, 1); /* which waits for them */
    world_commit(w);
    world_end(w);
    ck_assert_uint_eq(gauges().sent, 3 * CLIENTS_MAX);
    ck_assert_uint_eq(gauges().lost, 0);
    for (uint32_t i = 0; i < 3 * CLIENTS_MAX; i++)
        ck_assert_uint_eq(deliveries(i), 1);
}

END_TEST

START_TEST(a_broker_that_has_forgotten_it_gets_it_from_the_store)
{
    for (unsigned stage = SENT; stage <= PASSED; stage++) {
        teardown();
        setup();
        leave_with_connection((enum stage)stage);
        const uint32_t behind = publish(A, 2);
        world_commit(w);
        wire_connect(w, true);
        world_settle(w);
        ck_assert_uint_eq(w->delivered, 2);
        ck_assert_uint_eq(attempt_at(w, behind)->deliveries, 1);
        ck_assert_uint_eq(w->fetches, stage == SENT);
        ck_assert_uint_eq(gauges().messages, 0);
    }
}

END_TEST

START_TEST(what_a_broker_has_forgotten_and_the_store_too_is_counted_as_lost)
{
    leave_with_connection(SENT);
    row_at(w, 1)->there = false;
    wire_connect(w, true);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 0);
    ck_assert_uint_eq(gauges().lost, 1);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(gauges().bytes, 0);
    publish(A, 1);
    ck_assert_uint_eq(w->wire.plain.n, 1); /* live */
    world_settle(w);
}

END_TEST

START_TEST(a_row_that_has_been_here_is_not_taken_again)
{
    publish_many(60, 1);
    world_come(w);
    world_turn(w);
    while (w->fetches < 1) {
        wire_step(w);
        wire_hear(w);
        world_turn(w);
    }
    const uint64_t messages = gauges().messages;
    const size_t memory = gauges().memory_bytes;
    spool_fetched(
        w->s, w->now_ms,
        &(struct spool_row){.number = 1, .client = 1, .topic = bytes_str("t/1"), .qos = 1});
    ck_assert_uint_eq(gauges().messages, messages);
    ck_assert_uint_eq(gauges().memory_bytes, memory);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 60);
}

END_TEST

START_TEST(an_answer_to_something_unknown_only_removes_it)
{
    for (int refused = 0; refused < 2; refused++) {
        const struct up_event event = {
            .type = UP_PUBLISHED, .spooled = 77, .qos = 2, .result = refused ? UP_REFUSED : UP_OK};
        struct up_event out;
        struct sn_record r;
        spool_upstream(w->s, w->now_ms, &event);
        ck_assert(!spool_peek_event(w->s, &out));
        ck_assert(spool_peek_record(w->s, &r));
        ck_assert_int_eq(r.type, SN_REC_SPOOL_GONE);
        ck_assert_uint_eq(r.spool.number, 77);
        spool_done_record(w->s);
        ck_assert_uint_eq(gauges().messages, 0);
    }
    ck_assert_uint_eq(gauges().sent, 1);
    ck_assert_uint_eq(gauges().refused, 1);
}

END_TEST

/* ---- a store in trouble ---------------------------------------------------------------------- */

START_TEST(without_a_usable_store_messages_pass_or_are_refused)
{
    world_usable(w, false);
    const uint32_t away = publish(A, 1);
    ck_assert_int_eq(attempt_at(w, away)->outcome, REFUSED);
    ck_assert_uint_eq(gauges().unusable, 1);
    ck_assert_uint_eq(gauges().full, 0);
    world_come(w);
    publish(A, 1);
    publish(B, 2);
    ck_assert_uint_eq(w->wire.plain.n, 1);
    ck_assert_uint_eq(w->wire.twice.n, 1);
    world_go(w);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(w->rows.last, 0);
}

END_TEST

/* Nothing tells whether the batch that failed is on the disk. */
START_TEST(what_a_failing_store_may_not_have_taken_stays_with_its_node)
{
    const uint32_t early = publish(A, 1);
    world_commit(w);
    const uint32_t once = publish(A, 1);
    const uint32_t twice = publish(B, 2);
    world_turn(w);
    world_usable(w, false);
    spool_failed(w->s, w->now_ms, w->rows.batch);
    world_carry(w);
    ck_assert_int_eq(attempt_at(w, early)->outcome, ACKED);
    ck_assert_int_eq(attempt_at(w, once)->outcome, REFUSED);
    ck_assert_int_eq(attempt_at(w, twice)->outcome, REFUSED);
    ck_assert_uint_eq(gauges().messages, 1);
    ck_assert_uint_eq(gauges().unusable, 2);
    world_usable(w, true);
    world_settle(w);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(attempt_at(w, early)->deliveries, 1);
    ck_assert_uint_eq(attempt_at(w, once)->deliveries, 0);
    ck_assert_uint_eq(attempt_at(w, twice)->deliveries, 0);
    ck_assert_uint_eq(gauges().messages, 0);
}

END_TEST

/* Nobody else has it. */
START_TEST(a_will_stays_in_the_spool_of_a_failing_store)
{
    const uint32_t will = world_publish(w, A, 2, true);
    world_turn(w);
    world_usable(w, false);
    spool_failed(w->s, w->now_ms, w->rows.batch);
    world_carry(w);
    ck_assert_int_eq(attempt_at(w, will)->outcome, ACKED);
    ck_assert_uint_eq(gauges().messages, 1);
}

END_TEST

START_TEST(without_a_usable_store_a_client_with_a_backlog_waits)
{
    publish(A, 1);
    world_commit(w);
    world_usable(w, false);
    world_come(w);
    const uint32_t behind = publish(A, 1);
    ck_assert_int_eq(attempt_at(w, behind)->outcome, REFUSED);
    const uint32_t other = publish(B, 1);
    ck_assert_int_eq(attempt_at(w, other)->outcome, OPEN);
    world_settle(w);
    const uint32_t again = publish(A, 1);
    ck_assert_int_eq(attempt_at(w, again)->outcome, OPEN);
    world_settle(w);
}

END_TEST

static void fail_a_fetch(void)
{
    uint64_t after;
    unsigned n;
    size_t bytes;
    rows_flush(w);
    ck_assert(spool_wants_fetch(w->s, &after, &n, &bytes));
    ck_assert(!spool_wants_fetch(w->s, &after, &n, &bytes)); /* asked once */
    spool_fetch_done(w->s, w->now_ms, true);
    ck_assert(!spool_wants_fetch(w->s, &after, &n, &bytes));
    w->now_ms = spool_next_deadline(w->s);
    spool_advance(w->s, w->now_ms);
}

START_TEST(a_fetch_that_fails_is_asked_again_and_after_a_minute_new_messages_pass)
{
    const uint32_t stuck = publish(A, 1);
    world_commit(w);
    world_crash(w);
    world_usable(w, false);
    world_come(w);
    w->no_judging = true; /* order gives way */
    const int64_t start_ms = w->now_ms;
    while (w->now_ms - start_ms < 60000) {
        const uint32_t early = publish(A, 1);
        ck_assert_int_eq(attempt_at(w, early)->outcome, REFUSED);
        fail_a_fetch();
    }
    fail_a_fetch();
    const uint32_t late = publish(A, 1);
    ck_assert_int_eq(attempt_at(w, late)->outcome, OPEN);
    world_usable(w, true);
    world_settle(w);
    ck_assert_uint_eq(attempt_at(w, late)->deliveries, 1);
    ck_assert_uint_eq(attempt_at(w, stuck)->deliveries, 1);
    ck_assert_uint_eq(gauges().messages, 0);
}

END_TEST

START_TEST(what_the_store_has_lost_is_counted_and_nobody_waits_for_it)
{
    publish_many(100, 1);
    const uint64_t in_memory = gauges().memory_bytes;
    ck_assert_uint_gt(in_memory, 0);
    for (uint64_t i = 0; i <= w->rows.last; i++)
        row_at(w, i)->there = false;
    w->no_judging = true;
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered + gauges().lost, 100);
    ck_assert_uint_gt(gauges().lost, 0);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(gauges().bytes, 0);
    const struct log_record *line = log_peek(spool_log(w->s));
    ck_assert_ptr_nonnull(line);
    ck_assert_str_eq(line->event, "spool.lost");
    publish(A, 1);
    ck_assert_uint_eq(w->wire.plain.n, 1);
    world_settle(w);
}

END_TEST

START_TEST(short_moments_without_room_do_not_make_the_broker_unreachable)
{
    ck_assert(spool_accepting(w->s));
    world_usable(w, false);
    ck_assert(spool_accepting(w->s));
    const int64_t at_ms = spool_next_deadline(w->s);
    ck_assert_int_eq(at_ms, w->now_ms + 5000);
    spool_advance(w->s, at_ms);
    w->now_ms = at_ms;
    ck_assert(!spool_accepting(w->s));
    world_usable(w, true);
    ck_assert(spool_accepting(w->s));
}

END_TEST

START_TEST(everything_in_memory_is_recorded_anew)
{
    publish_many(3, 1);
    spool_record_all(w->s);
    struct sn_record r;
    for (uint64_t i = 1; i <= 3; i++) {
        ck_assert(spool_peek_record(w->s, &r));
        ck_assert_int_eq(r.type, SN_REC_SPOOL);
        ck_assert_uint_eq(r.spool.number, i);
        ck_assert(bytes_equal(r.spool.topic, bytes_str(i == 1 ? "t/1" : i == 2 ? "t/2" : "t/3")));
        spool_done_record(w->s);
    }
    ck_assert(!spool_peek_record(w->s, &r));
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 3);
}

END_TEST

static const struct suite_scenery scenery = {120, setup, teardown};

int main(void)
{
    Suite *suite = suite_create("spool_store");
    ADD(suite, a_backlog_beyond_the_memory_comes_from_the_store_in_order);
    ADD(suite, without_any_memory_everything_comes_from_the_store);
    ADD(suite, messages_that_arrive_during_a_fetch_are_not_missed);
    ADD(suite, what_is_done_with_during_a_fetch_is_not_taken_from_its_answer);
    ADD(suite, what_was_done_with_just_before_a_fetch_is_not_taken_from_its_answer);
    ADD(suite, a_million_messages_need_no_memory_and_keep_their_order);
    ADD(suite, a_restart_goes_on_with_what_was_committed);
    ADD(suite, a_client_with_a_backlog_queues_behind_it_after_a_restart);
    ADD(suite, qos_2_that_was_with_the_connection_before_a_restart_stays_there);
    ADD(suite, of_a_connection_that_was_ended_the_store_knows_what_is_still_to_be_sent);
    ADD(suite, a_broker_that_has_forgotten_it_gets_it_from_the_store);
    ADD(suite, what_a_broker_has_forgotten_and_the_store_too_is_counted_as_lost);
    ADD(suite, a_row_that_has_been_here_is_not_taken_again);
    ADD(suite, an_answer_to_something_unknown_only_removes_it);
    ADD(suite, without_a_usable_store_messages_pass_or_are_refused);
    ADD(suite, what_a_failing_store_may_not_have_taken_stays_with_its_node);
    ADD(suite, a_will_stays_in_the_spool_of_a_failing_store);
    ADD(suite, without_a_usable_store_a_client_with_a_backlog_waits);
    ADD(suite, a_fetch_that_fails_is_asked_again_and_after_a_minute_new_messages_pass);
    ADD(suite, what_the_store_has_lost_is_counted_and_nobody_waits_for_it);
    ADD(suite, short_moments_without_room_do_not_make_the_broker_unreachable);
    ADD(suite, everything_in_memory_is_recorded_anew);
    return run_suite(suite);
}
