/* SPDX-License-Identifier: Apache-2.0 */
/* What the spool does not keep: for want of room, when too old, or refused. */
#include <string.h>

#include "sim/spool_suite.h"

enum { NODES = 3 };

static void setup(void)
{
    open_sound_world(spool_defaults(), NODES);
}

START_TEST(a_full_spool_refuses_or_drops_the_oldest)
{
    for (int drop = 0; drop < 2; drop++) {
        struct spool_config config = spool_defaults();
        config.max_messages = 10;
        config.full = drop ? SPOOL_DROP_OLDEST : SPOOL_REFUSE;
        open_sound_world(config, NODES);
        uint32_t all[15];
        for (unsigned i = 0; i < 15; i++) {
            all[i] = publish(A, 1);
            world_commit(w);
        }
        ck_assert_uint_eq(gauges().messages, 10);
        ck_assert_uint_eq(gauges().full, drop ? 0 : 5);
        ck_assert_uint_eq(gauges().dropped, drop ? 5 : 0);
        world_come(w);
        world_settle(w);
        for (unsigned i = 0; i < 15; i++)
            ck_assert_uint_eq(deliveries(all[i]), drop ? i >= 5 : i < 10);
        ck_assert_uint_eq(gauges().messages, 0);
    }
}

END_TEST

/* The last one that its client has there. */
START_TEST(a_message_that_makes_room_in_vain_leaves_its_client_well)
{
    struct spool_config config = spool_defaults();
    config.max_bytes = 2 * 19;
    config.max_age_ms = 1000;
    open_sound_world(config, NODES);
    publish(A, 2);
    world_pass(w, 600);
    publish(B, 2);
    world_commit(w);
    world_pass(w, 600);
    w->payload = 30;
    const uint32_t larger = publish(A, 2);
    ck_assert_uint_eq(gauges().expired, 1);
    ck_assert_int_eq(outcome(larger), REFUSED);
    world_end(w);
}

END_TEST

START_TEST(a_spool_full_by_octets_refuses_and_what_never_fits_drops_nothing)
{
    struct spool_config config = spool_defaults();
    config.max_bytes = 5 * 19; /* topic "t/1" and 16 octets */
    config.full = SPOOL_DROP_OLDEST;
    open_sound_world(config, NODES);
    for (unsigned i = 0; i < 5; i++)
        publish(A, 1);
    ck_assert_uint_eq(gauges().bytes, config.max_bytes);
    uint8_t much[200] = {0};
    struct body *body = body_new(bytes_of(much, sizeof much));
    spool_submit(w->s, w->now_ms,
                 &(struct up_request){.type = UP_PUBLISH,
                                      .token = 1 << UP_TOKEN_BITS | 99,
                                      .topic = bytes_str("t/1"),
                                      .body = body,
                                      .qos = 1,
                                      .client = 1});
    body_unref(body);
    ck_assert_uint_eq(gauges().messages, 5);
    ck_assert_uint_eq(gauges().full, 1);
    world_carry(w);
    publish(A, 1);
    ck_assert_uint_eq(gauges().messages, 5);
    ck_assert_uint_eq(gauges().dropped, 1);
}

END_TEST

/* Nothing of it is in memory, so the oldest ones have to be fetched to be dropped. */
START_TEST(the_oldest_are_dropped_though_they_are_on_disk_only)
{
    struct spool_config config = spool_defaults();
    config.max_messages = 100;
    config.max_memory_bytes = 1000;
    config.full = SPOOL_DROP_OLDEST;
    open_sound_world(config, NODES);
    for (unsigned i = 0; i < 400; i++) {
        publish(A, 1);
        world_commit(w);
    }
    ck_assert_uint_eq(gauges().messages, 100);
    ck_assert_uint_ge(gauges().dropped, 290);
    ck_assert_uint_eq(gauges().dropped + gauges().full, 300);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 100);
    ck_assert_uint_eq(deliveries(399), 1);
}

END_TEST

START_TEST(qos_2_that_is_with_the_connection_is_not_dropped)
{
    struct spool_config config = spool_defaults();
    config.max_messages = 2;
    config.full = SPOOL_DROP_OLDEST;
    open_sound_world(config, NODES);
    world_come(w);
    publish(A, 2);
    publish(A, 2);
    world_commit(w);
    wire_reach(w, SENT);
    world_go(w);
    const uint32_t third = publish(A, 2);
    ck_assert_int_eq(outcome(third), REFUSED);
    ck_assert_uint_eq(gauges().dropped, 0);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(w->delivered, 2);
}

END_TEST

START_TEST(what_is_too_old_is_dropped_when_its_turn_comes)
{
    struct spool_config config = spool_defaults();
    config.max_age_ms = 10000;
    open_sound_world(config, NODES);
    const uint32_t old = publish(A, 1);
    world_commit(w);
    world_pass(w, 6000);
    const uint32_t young = publish(A, 1);
    world_commit(w);
    world_crash(w); /* time goes on counting */
    world_pass(w, 5000);
    ck_assert_uint_eq(gauges().messages, 2);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(deliveries(old), 0);
    ck_assert_uint_eq(deliveries(young), 1);
    ck_assert_uint_eq(gauges().expired, 1);
    ck_assert_uint_eq(gauges().messages, 0);
    const struct log_record *line = log_peek(spool_log(w->s));
    ck_assert(line == NULL); /* the world wants errors only */
}

END_TEST

START_TEST(what_a_full_spool_refuses_or_drops_is_said)
{
    static const char *const events[] = {"spool.refused", "spool.dropped"};
    for (int drop = 0; drop < 2; drop++) {
        struct spool_config config = spool_defaults();
        config.max_messages = 1;
        config.full = drop ? SPOOL_DROP_OLDEST : SPOOL_REFUSE;
        struct spool *s = spool_new(&config, 0);
        spool_usable(s, 0, true);
        for (uint64_t i = 1; i <= 3; i++) {
            spool_submit(s, 0,
                         &(struct up_request){.type = UP_PUBLISH,
                                              .token = i << UP_TOKEN_BITS,
                                              .topic = bytes_str("t"),
                                              .qos = 1,
                                              .client = i});
        }
        const struct log_record *line = log_peek(spool_log(s));
        ck_assert_ptr_nonnull(line);
        ck_assert_str_eq(line->event, events[drop]);
        log_done(spool_log(s));
        ck_assert_ptr_null(log_peek(spool_log(s))); /* once in a while has to do */
        spool_free(s);
    }
}

END_TEST

/* A spool full of what nobody wants any more must not refuse what somebody does. */
START_TEST(what_is_too_old_gives_way_when_its_room_is_needed)
{
    static const size_t memories[] = {4 << 20, 1000};
    for (size_t k = 0; k < sizeof memories / sizeof memories[0]; k++) {
        struct spool_config config = spool_defaults();
        config.max_age_ms = 10000;
        config.max_messages = 100;
        config.max_memory_bytes = memories[k];
        open_sound_world(config, NODES);
        for (unsigned i = 0; i < 100; i++) {
            publish(A, 1);
            world_commit(w);
        }
        world_pass(w, 10000);
        ck_assert_int_eq(outcome(publish(B, 1)), REFUSED);
        ck_assert_uint_eq(gauges().full, 1);
        world_pass(w, 1);
        unsigned taken = 0;
        for (unsigned i = 0; i < 100; i++) {
            const uint32_t a = publish(B, 1);
            world_commit(w);
            taken += outcome(a) == ACKED;
        }
        ck_assert_uint_ge(taken, 90);
        ck_assert_uint_eq(gauges().expired, taken);
        ck_assert_uint_eq(gauges().full, 101 - taken);
        ck_assert_uint_eq(gauges().dropped, 0);
        world_come(w);
        world_settle(w);
        ck_assert_uint_eq(w->delivered, taken);
    }
}

END_TEST

START_TEST(what_the_broker_refuses_is_dropped_and_counted)
{
    w->faults.refuse = true; /* attempt 0 */
    publish(A, 1);
    const uint32_t good = publish(A, 1);
    world_commit(w);
    world_come(w);
    world_settle(w);
    ck_assert_uint_eq(gauges().refused, 1);
    ck_assert_uint_eq(gauges().messages, 0);
    ck_assert_uint_eq(deliveries(0), 0);
    ck_assert_uint_eq(deliveries(good), 1);
}

END_TEST

START_TEST(a_connection_that_takes_nothing_is_not_asked_without_end)
{
    publish(A, 1);
    world_commit(w);
    world_come(w);
    w->wire.plain.n = 0; /* it is refused, though the connection stays */
    const struct up_event busy = {.type = UP_PUBLISHED, .spooled = 1, .result = UP_BUSY, .qos = 1};
    spool_upstream(w->s, w->now_ms, &busy);
    struct up_request r;
    ck_assert(!spool_peek_request(w->s, &r));
    w->now_ms = spool_next_deadline(w->s);
    spool_advance(w->s, w->now_ms);
    ck_assert(spool_peek_request(w->s, &r));
    ck_assert_uint_eq(r.spooled, 1);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("spool_bounds");
    TCase *bounds = tcase_create("bounds");
    tcase_add_checked_fixture(bounds, setup, teardown);
    tcase_add_test(bounds, a_full_spool_refuses_or_drops_the_oldest);
    tcase_add_test(bounds, a_message_that_makes_room_in_vain_leaves_its_client_well);
    tcase_add_test(bounds, a_spool_full_by_octets_refuses_and_what_never_fits_drops_nothing);
    tcase_add_test(bounds, the_oldest_are_dropped_though_they_are_on_disk_only);
    tcase_add_test(bounds, qos_2_that_is_with_the_connection_is_not_dropped);
    tcase_add_test(bounds, what_is_too_old_is_dropped_when_its_turn_comes);
    tcase_add_test(bounds, what_a_full_spool_refuses_or_drops_is_said);
    tcase_add_test(bounds, what_is_too_old_gives_way_when_its_room_is_needed);
    tcase_add_test(bounds, what_the_broker_refuses_is_dropped_and_counted);
    tcase_add_test(bounds, a_connection_that_takes_nothing_is_not_asked_without_end);
    suite_add_tcase(suite, bounds);
    return run_suite(suite);
}
