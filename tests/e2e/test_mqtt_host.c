/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many MQTT connections on one worker: that they all work, and that none holds up the others. Against
 * mosquitto, and against a stub that misbehaves by client id.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "e2e/broker.h"
#include "e2e/fleet_fixture.h"
#include "e2e/pinned.h"
#include "e2e/stub_broker.h"

enum { MANY = 1000 };

static struct broker broker;
static struct stub_broker stub;

static void open_all(unsigned n, uint16_t port)
{
    fleet_start(&fleet, n, NULL);
    for (unsigned i = 0; i < n; i++) {
        const struct mqtt_options o = fleet_options(&fleet, i, port);
        fleet_open(&fleet, i, &o);
    }
}

/* Some of them with another client id. */
static void open_called(unsigned number, const char *prefix, uint16_t port)
{
    char client_id[32];
    struct mqtt_options o = fleet_options(&fleet, number, port);
    snprintf(client_id, sizeof client_id, "%s-%u", prefix, number);
    o.client_id = client_id;
    fleet_open(&fleet, number, &o);
}

/* ---- a thousand ------------------------------------------------------------------------------ */

START_TEST(a_thousand_sessions_share_one_worker_and_come_back_after_a_restart)
{
    if (!fleet_allow_files(3 * MANY))
        return; /* the system does not let us */
    broker_start(&broker, "max_connections -1");
    int64_t start_ms = now_ms();
    open_all(MANY, broker.port);
    FLEET_UNTIL(&fleet, fleet.online == MANY, 60000);
    printf("%d connections after %lld ms\n", MANY, (long long)(now_ms() - start_ms));

    char topic[32];
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(topic, sizeof topic, "own/%u", i);
        fleet_subscribe(&fleet, i, topic, 1);
    }
    FLEET_UNTIL(&fleet, fleet.subscribed == MANY, SOON_MS);
    for (unsigned i = 0; i < MANY; i++) { /* each to its neighbour */
        snprintf(topic, sizeof topic, "own/%u", (i + 1) % MANY);
        fleet_publish(&fleet, i, topic, 1, "hello");
    }
    FLEET_UNTIL(&fleet, fleet.messages == MANY && fleet.ok == MANY, SOON_MS);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(topic, sizeof topic, "own/%u", i);
        ck_assert_str_eq(fleet.ones[i].last_topic, topic);
        ck_assert_uint_eq(fleet.ones[i].messages, 1);
    }

    broker_end(&broker, SIGTERM);
    FLEET_UNTIL(&fleet, fleet.online == 0, SOON_MS);
    turn_for(1000);
    broker_start_again(&broker);
    start_ms = now_ms();
    FLEET_UNTIL(&fleet, fleet.online == MANY, 60000);
    printf("back %lld ms after the restart\n", (long long)(now_ms() - start_ms));
    for (unsigned i = 0; i < MANY; i++)
        ck_assert_uint_eq(fleet.ones[i].connected, 2);
    start_ms = now_ms();
    ck_assert(fleet_stop(&fleet, 2000));
    printf("ended in %lld ms\n", (long long)(now_ms() - start_ms));
    broker_stop(&broker);
}

END_TEST

START_TEST(attempts_to_connect_are_paced)
{
    enum { N = 300, AT_ONCE = 10 };

    stub_start(&stub);
    const struct mqtt_host_options paced = {.connects_at_once = AT_ONCE, .connects_per_s = 100};
    fleet_start(&fleet, N, &paced);
    int64_t start_ms = now_ms();
    for (unsigned i = 0; i < N; i++) {
        const struct mqtt_options o = fleet_options(&fleet, i, stub.port);
        fleet_open(&fleet, i, &o);
    }
    FLEET_UNTIL(&fleet, fleet.online == N, 60000);
    ck_assert_int_ge(now_ms() - start_ms, 1000 * (N - AT_ONCE) / 100 - 100);
    ck_assert_uint_le(atomic_load(&stub.counts->most_new), AT_ONCE);

    stub_restart(&stub);
    FLEET_UNTIL(&fleet, fleet.disconnected >= N, SOON_MS);
    FLEET_UNTIL(&fleet, fleet.online == N, 60000);
    ck_assert_uint_le(atomic_load(&stub.counts->most_new), AT_ONCE);
    ck_assert(fleet_stop(&fleet, 1000));
    stub_stop(&stub);
}

END_TEST

/* Who tries again at once gives its place back first: a link in two lists turns the worker in circles. */
START_TEST(attempts_that_fail_and_are_repeated_at_once_wait_in_line_like_all_others)
{
    enum { N = 60, AT_ONCE = 4 };

    stub_start(&stub);
    const struct mqtt_host_options paced = {.connects_at_once = AT_ONCE, .connects_per_s = 2000};
    fleet_start(&fleet, N, &paced);
    const uint16_t nobody = free_tcp_port();
    char addresses[96];
    snprintf(addresses, sizeof addresses, "mqtt://127.0.0.1:%u, mqtt://127.0.0.1:%u", nobody,
             _i == 0 ? stub.port : nobody);
    for (unsigned i = 0; i < N; i++) {
        struct mqtt_options o = fleet_options(&fleet, i, nobody);
        o.backoff_min_ms = o.backoff_max_ms = 1; /* at random: often no pause at all */
        if (_i < 2)
            o.address = addresses; /* after the first one the second, without a pause */
        fleet_open(&fleet, i, &o);
    }
    if (_i == 0)
        FLEET_UNTIL(&fleet, fleet.online == N, SOON_MS);
    else
        FLEET_UNTIL(&fleet, fleet.disconnected >= N * 20, SOON_MS);
    ck_assert(fleet_stop(&fleet, 1000));
    stub_stop(&stub);
}

END_TEST

/* ---- who holds nobody up --------------------------------------------------------------------- */

START_TEST(brokers_that_never_answer_hold_nobody_up)
{
    enum { N = 200, MUTE = 100 };

    stub_start(&stub);
    fleet_start(&fleet, N, NULL);
    const int64_t start_ms = now_ms();
    for (unsigned i = 0; i < MUTE; i++) /* more than may connect at once, and first in the lobby */
        open_called(i, "mute", stub.port);
    for (unsigned i = MUTE; i < N; i++)
        open_called(i, "own", stub.port);
    FLEET_UNTIL(&fleet, fleet.online == N - MUTE, 15000);
    printf("%d connected after %lld ms, while %d wait\n", N - MUTE,
           (long long)(now_ms() - start_ms), MUTE);
    ck_assert_int_lt(now_ms() - start_ms, 9000); /* and not when the others give up */
    for (unsigned round = 1; round <= 20; round++) {
        for (unsigned i = MUTE; i < N; i++)
            fleet_publish(&fleet, i, "x", 1, "while others wait");
        FLEET_UNTIL(&fleet, fleet.ok == round * (N - MUTE), SOON_MS);
    }
    printf("slowest answer: %lld us\n", (long long)fleet.slowest_us);
    ck_assert_int_lt(fleet.slowest_us, 1000000);
    FLEET_UNTIL(&fleet, fleet.disconnected >= MUTE, SOON_MS);
    ck_assert_ptr_nonnull(strstr(fleet.ones[0].why, "no answer from"));
    ck_assert_uint_eq(fleet.refused, 0);
    ck_assert_uint_eq(fleet.online, N - MUTE);
    ck_assert(fleet_stop(&fleet, 1000));
    stub_stop(&stub);
}

END_TEST

START_TEST(a_refusal_is_told_with_its_code_and_hurts_nobody_else)
{
    enum { N = 60, REFUSED = 30 };

    stub_start(&stub);
    fleet_start(&fleet, N, NULL);
    for (unsigned i = 0; i < N; i++)
        open_called(i, i < REFUSED ? "refused" : "own", stub.port);
    FLEET_UNTIL(&fleet, fleet.online == N - REFUSED && fleet.refused >= 2 * REFUSED, SOON_MS);
    for (unsigned i = 0; i < N; i++) {
        ck_assert_uint_eq(fleet.ones[i].refused > 0, i < REFUSED);
        if (i < REFUSED)
            ck_assert_uint_eq(fleet.ones[i].code, pinned_to_5() ? 0x87 : 5);
    }
    ck_assert_ptr_nonnull(strstr(fleet.ones[0].why, "not authorised"));
    ck_assert(fleet_stop(&fleet, 1000));
    stub_stop(&stub);
}

END_TEST

static void talk(struct fleet *f, struct fleet_one *one, const struct up_event *e)
{
    if (one->number == 0 && e->type == UP_PUBLISHED && e->result == UP_OK)
        fleet_publish(f, 0, "x", 1, "again");
}

/* Paho 1.3.12 by itself sends again what is open in all sessions when one of them is resumed. To
 * mosquitto the third copy of a QoS 2 message is a reason to close. */
START_TEST(a_session_that_is_resumed_repeats_nothing_of_the_others)
{
    enum { OPEN = 5 };

    stub_start(&stub);
    fleet_start(&fleet, 2, NULL);
    open_called(0, "owing", stub.port);
    open_called(1, "owing", stub.port);
    FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
    for (unsigned i = 0; i < 2 * OPEN; i++)
        fleet_publish(&fleet, i % 2, "x", 1, "to be acknowledged some day");
    FLEET_UNTIL(&fleet, atomic_load(&stub.counts->publishes) == 2 * OPEN, SOON_MS);
    fleet_publish(&fleet, 1, "cut", 0, "");
    FLEET_UNTIL(&fleet, fleet.ones[1].connected == 2, SOON_MS);
    ck_assert(fleet.ones[1].session_present);
    FLEET_UNTIL(&fleet, atomic_load(&stub.counts->duplicates) >= OPEN, SOON_MS);
    turn_for(300);
    ck_assert_uint_eq(atomic_load(&stub.counts->duplicates), OPEN);
    ck_assert_uint_eq(fleet.ones[0].connected, 1);
    ck_assert(fleet_stop(&fleet, 0));
    stub_stop(&stub);
}

END_TEST

/* One that always has something to say. */
START_TEST(a_busy_connection_starves_nobody)
{
    enum { N = 50 };

    stub_start(&stub);
    open_all(N, stub.port);
    FLEET_UNTIL(&fleet, fleet.online == N, SOON_MS);
    fleet.on_event = talk;
    for (unsigned i = 0; i < 64; i++)
        fleet_publish(&fleet, 0, "x", 1, "first");
    turn_for(500);
    fleet.slowest_us = 0;
    for (unsigned round = 1; round <= 5; round++) {
        for (unsigned i = 1; i < N; i++)
            fleet_publish(&fleet, i, "x", 1, "me too");
        for (const int64_t until_ms = now_ms() + SOON_MS; now_ms() < until_ms;) {
            unsigned answered = 0;
            for (unsigned i = 1; i < N; i++)
                answered += fleet.ones[i].ok >= round;
            if (answered == N - 1)
                break;
            fleet_turn(&fleet, 20);
        }
    }
    for (unsigned i = 1; i < N; i++)
        ck_assert_uint_eq(fleet.ones[i].ok, 5);
    ck_assert_uint_gt(fleet.ones[0].ok, 100);
    printf("the busy one %u, slowest answer %lld us\n", fleet.ones[0].ok,
           (long long)fleet.slowest_us);
    fleet.on_event = NULL;
    ck_assert(fleet_stop(&fleet, 1000));
    stub_stop(&stub);
}

END_TEST

static int64_t cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Their sockets are full: Paho can't write, and so does not read either what is there to be read. */
START_TEST(brokers_that_do_not_read_cost_no_time)
{
    enum { N = 20, STUCK = 10 };

    stub_start(&stub);
    fleet_start(&fleet, N, NULL);
    for (unsigned i = 0; i < N; i++)
        open_called(i, i >= STUCK ? "own" : i % 2 == 0 ? "deaf" : "chatty", stub.port);
    FLEET_UNTIL(&fleet, fleet.online == N, SOON_MS);
    static char text[20000];
    memset(text, 'x', sizeof text - 1);
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned i = 0; i < STUCK; i++)
            fleet_publish(&fleet, i, "x", 0, text);
        fleet_turn(&fleet, 1);
    }
    int64_t used_ms = 0;
    for (unsigned tries = 0; tries < 10 && (tries == 0 || used_ms > 100); tries++) {
        const int64_t before_ms = cpu_ms(); /* what was sent to us needs some time */
        turn_for(1000);
        used_ms = cpu_ms() - before_ms;
    }
    printf("%lld ms of CPU in 1000 ms\n", (long long)used_ms);
    ck_assert_int_le(used_ms, 100);
    const unsigned before = fleet.ok;
    for (unsigned i = STUCK; i < N; i++)
        fleet_publish(&fleet, i, "x", 1, "alive");
    FLEET_UNTIL(&fleet, fleet.ok >= before + N - STUCK, SOON_MS);
    const int64_t start_ms = now_ms();
    ck_assert(fleet_stop(&fleet, 0));
    ck_assert_int_lt(now_ms() - start_ms, 2000);
    stub_stop(&stub);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt_host");
    ADD(s, a_thousand_sessions_share_one_worker_and_come_back_after_a_restart);
    ADD(s, attempts_to_connect_are_paced);
    LOOP(s, attempts_that_fail_and_are_repeated_at_once_wait_in_line_like_all_others, 3);
    ADD(s, brokers_that_never_answer_hold_nobody_up);
    ADD(s, a_refusal_is_told_with_its_code_and_hurts_nobody_else);
    ADD(s, a_session_that_is_resumed_repeats_nothing_of_the_others);
    ADD(s, a_busy_connection_starves_nobody);
    ADD(s, brokers_that_do_not_read_cost_no_time);
    return run_suite(s);
}
