/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many MQTT connections on one worker: that they all work, that none holds up the others, and how they
 * come and go. Against mosquitto, and against a stub that misbehaves by client id.
 */
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/mqtt_fleet.h"
#include "e2e/stub_broker.h"
#include "unit/suite.h"

enum { SOON_MS = 20000, TEST_TIMEOUT_S = 120, MANY = 1000 };

static struct broker broker;
static struct stub_broker stub;
static struct fleet fleet;

static unsigned open_files(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

static int64_t now_ms(void)
{
    return fleet_now_us() / 1000;
}

static void turn_for(int ms)
{
    for (const int64_t until_ms = now_ms() + ms; now_ms() < until_ms;)
        fleet_turn(&fleet, 20);
}

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
            ck_assert_uint_eq(fleet.ones[i].code, 5);
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

/* ---- coming and going ------------------------------------------------------------------------ */

/* Number 0 watches the wills. */
static void open_watcher(unsigned n)
{
    broker_start(&broker, NULL);
    fleet_start(&fleet, n, NULL);
    const struct mqtt_options o = fleet_options(&fleet, 0, broker.port);
    fleet_open(&fleet, 0, &o);
    FLEET_UNTIL(&fleet, fleet.online == 1, SOON_MS);
    fleet_subscribe(&fleet, 0, "will/#", 1);
    fleet_subscribe(&fleet, 0, "said/#", 1);
    FLEET_UNTIL(&fleet, fleet.subscribed == 2, SOON_MS);
}

static void close_watcher(void)
{
    ck_assert(fleet_stop(&fleet, 1000));
    broker_stop(&broker);
}

static void open_with_will(unsigned number, const char *client_id, enum mqtt_session session)
{
    struct mqtt_options o = fleet_options(&fleet, number, broker.port);
    struct body *body = body_new(bytes_str("gone"));
    o.client_id = client_id;
    o.session = session;
    o.will = (struct mqtt_will){.topic = bytes_str("will/of"), .body = body, .qos = 1};
    fleet_open(&fleet, number, &o);
    body_unref(body);
}

START_TEST(an_aborted_connection_leaves_its_will_and_a_closed_one_does_not)
{
    open_watcher(3);
    open_with_will(1, "one", MQTT_SESSION_CLEAN);
    open_with_will(2, "two", MQTT_SESSION_KEPT);
    FLEET_UNTIL(&fleet, fleet.online == 3, SOON_MS);
    fleet_close(&fleet, 1, false);
    turn_for(500);
    ck_assert_uint_eq(fleet.messages, 0);
    fleet_close(&fleet, 2, true);
    FLEET_UNTIL(&fleet, fleet.messages == 1, SOON_MS);
    ck_assert_str_eq(fleet.ones[0].last_topic, "will/of");
    close_watcher();
}

END_TEST

START_TEST(what_was_submitted_before_a_close_still_arrives)
{
    open_watcher(2);
    open_with_will(1, "one", MQTT_SESSION_CLEAN);
    FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
    for (unsigned i = 0; i < 30; i++)
        fleet_publish(&fleet, 1, "said/last", (uint8_t)(i % 3), "words");
    fleet_close(&fleet, 1, false); /* not even flushed */
    FLEET_UNTIL(&fleet, fleet.messages == 30, SOON_MS);
    turn_for(300);
    ck_assert_uint_eq(fleet.messages, 30);
    ck_assert_str_eq(fleet.ones[0].last_topic, "said/last");
    close_watcher();
}

END_TEST

/* The broker would see a takeover, and publish the will. */
START_TEST(a_client_that_comes_back_at_once_waits_for_the_end_of_its_earlier_connection)
{
    enum { ROUNDS = 20 };

    open_watcher(2);
    for (unsigned round = 1; round <= ROUNDS; round++) {
        open_with_will(1, "one", MQTT_SESSION_KEPT);
        FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
        ck_assert_uint_eq(fleet.ones[1].connected, round);
        ck_assert(fleet.ones[1].session_present == (round > 1));
        fleet_publish(&fleet, 1, "said/again", 1, "here I am");
        fleet_close(&fleet, 1, false);
    }
    FLEET_UNTIL(&fleet, fleet.messages == ROUNDS, SOON_MS);
    turn_for(300);
    ck_assert_uint_eq(fleet.messages, ROUNDS);
    ck_assert_str_eq(fleet.ones[0].last_topic, "said/again");

    for (unsigned i = 0; i < 5; i++) { /* that never lived to connect */
        open_with_will(1, "one", MQTT_SESSION_KEPT);
        fleet_close(&fleet, 1, i % 2 == 0);
    }
    open_with_will(1, "one", MQTT_SESSION_KEPT);
    FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
    ck_assert_uint_eq(fleet.messages, ROUNDS);
    close_watcher();
}

END_TEST

START_TEST(a_kept_session_is_resumed_and_a_clean_one_wiped)
{
    open_watcher(2);
    struct mqtt_options o = fleet_options(&fleet, 1, broker.port);
    fleet_open(&fleet, 1, &o);
    FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
    ck_assert(!fleet.ones[1].session_present);
    fleet_subscribe(&fleet, 1, "said/to-one", 1);
    FLEET_UNTIL(&fleet, fleet.subscribed == 3, SOON_MS);
    fleet_close(&fleet, 1, false);

    fleet_publish(&fleet, 0, "said/to-one", 1, "while you were away");
    FLEET_UNTIL(&fleet, fleet.ok == 1, SOON_MS);
    o = fleet_options(&fleet, 1, broker.port);
    fleet_open(&fleet, 1, &o);
    FLEET_UNTIL(&fleet, fleet.ones[1].messages == 1, SOON_MS);
    ck_assert(fleet.ones[1].session_present);
    fleet_close(&fleet, 1, false);

    o = fleet_options(&fleet, 1, broker.port);
    o.session = MQTT_SESSION_CLEAN;
    fleet_open(&fleet, 1, &o);
    FLEET_UNTIL(&fleet, fleet.ones[1].connected == 3, SOON_MS);
    ck_assert(!fleet.ones[1].session_present);
    fleet_publish(&fleet, 0, "said/to-one", 1, "nobody listens");
    FLEET_UNTIL(&fleet, fleet.ok == 2, SOON_MS);
    turn_for(200);
    ck_assert_uint_eq(fleet.ones[1].messages, 1);
    close_watcher();
}

END_TEST

/* Paho answers for a clean session before it says that the connection is lost. */
static bool told_of_loss;

static void check_order(struct fleet *f, struct fleet_one *one, const struct up_event *e)
{
    (void)f;
    if (one->number == 1 && e->type == UP_DISCONNECTED)
        told_of_loss = true;
    if (one->number == 1 && e->type == UP_PUBLISHED && e->result != UP_OK)
        ck_assert(told_of_loss);
}

START_TEST(the_loss_of_a_clean_session_is_told_before_what_it_takes_with_it)
{
    open_watcher(2);
    open_with_will(1, "one", MQTT_SESSION_CLEAN);
    FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
    fleet.on_event = check_order;
    broker_pause(&broker);
    for (unsigned i = 0; i < 20; i++)
        fleet_publish(&fleet, 1, "said/x", 1, "lost");
    turn_for(200);
    broker_end(&broker, SIGKILL);
    FLEET_UNTIL(&fleet, fleet.ones[1].busy + fleet.ones[1].ok == 20, SOON_MS);
    ck_assert(told_of_loss);
    ck_assert_uint_gt(fleet.ones[1].busy, 0);
    broker_start_again(&broker);
    FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
    ck_assert(!fleet.ones[1].session_present);
    close_watcher();
}

END_TEST

START_TEST(without_reconnect_it_waits_to_be_told)
{
    open_watcher(2);
    struct mqtt_options o = fleet_options(&fleet, 1, broker.port);
    o.reconnect = false;
    fleet_open(&fleet, 1, &o);
    FLEET_UNTIL(&fleet, fleet.online == 2, SOON_MS);
    broker_end(&broker, SIGTERM);
    FLEET_UNTIL(&fleet, fleet.online == 0, SOON_MS);
    broker_start_again(&broker);
    FLEET_UNTIL(&fleet, fleet.online == 1, SOON_MS);
    turn_for(1000);
    ck_assert_uint_eq(fleet.ones[1].connected, 1);
    ck_assert_uint_eq(fleet.ones[1].disconnected, 1);
    mqtt_connect(fleet.ones[1].m);
    FLEET_UNTIL(&fleet, fleet.ones[1].connected == 2, SOON_MS);
    close_watcher();
}

END_TEST

START_TEST(who_is_taken_over_hears_it_and_need_not_fight)
{
    open_watcher(3);
    struct mqtt_options o = fleet_options(&fleet, 1, broker.port);
    o.reconnect = false;
    fleet_open(&fleet, 1, &o);
    FLEET_UNTIL(&fleet, fleet.ones[1].connected == 1, SOON_MS);
    open_with_will(2, "own-1", MQTT_SESSION_KEPT);
    FLEET_UNTIL(&fleet, fleet.ones[2].connected == 1 && fleet.ones[1].disconnected == 1, SOON_MS);
    ck_assert_ptr_nonnull(strstr(fleet.ones[1].why, "closed by the broker"));
    turn_for(500);
    ck_assert_uint_eq(fleet.ones[1].connected, 1);
    ck_assert_uint_eq(fleet.ones[2].disconnected, 0);
    close_watcher();
}

END_TEST

/* CYCLES=10000 for the long run. */
START_TEST(sessions_come_and_go_without_a_trace)
{
    enum { AT_ONCE = 50 };

    const char *const wanted = getenv("CYCLES");
    const unsigned cycles = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : 1000;
    stub_start(&stub);
    const struct mqtt_host_options unpaced = {0};
    fleet_start(&fleet, AT_ONCE, &unpaced);
    const unsigned files = open_files();
    const int64_t start_ms = now_ms();
    for (unsigned cycle = 0; cycle < cycles; cycle++) {
        const unsigned i = cycle % AT_ONCE;
        if (fleet.ones[i].m != NULL)
            fleet_close(&fleet, i, cycle / AT_ONCE % 3 == 0);
        struct mqtt_options o = fleet_options(&fleet, i, stub.port);
        o.session = cycle % 2 == 0 ? MQTT_SESSION_CLEAN : MQTT_SESSION_KEPT;
        fleet_open(&fleet, i, &o);
        if (cycle % 7 == 0)
            continue; /* its turn comes while it still connects */
        FLEET_UNTIL(&fleet, fleet.ones[i].online, SOON_MS);
        fleet_publish(&fleet, i, "x", (uint8_t)(cycle % 3), "here");
        if (cycle % 2 == 0)
            fleet_turn(&fleet, 0);
    }
    printf("%u sessions in %lld ms\n", cycles, (long long)(now_ms() - start_ms));
    for (unsigned i = 0; i < AT_ONCE; i++) {
        if (fleet.ones[i].m != NULL)
            fleet_close(&fleet, i, false);
    }
    for (const int64_t until_ms = now_ms() + SOON_MS;
         open_files() > files + 5 && now_ms() < until_ms;) /* Paho's threads, its epoll */
        turn_for(50);
    ck_assert_uint_le(open_files(), files + 5);
    ck_assert(fleet_stop(&fleet, 1000));
    stub_stop(&stub);
}

END_TEST

static void add(Suite *s, const char *name, const TTest *test)
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, TEST_TIMEOUT_S);
    tcase_add_test(t, test);
    suite_add_tcase(s, t);
}

#define ADD(s, test) add(s, #test, test)

int main(void)
{
    Suite *s = suite_create("mqtt_host");
    ADD(s, a_thousand_sessions_share_one_worker_and_come_back_after_a_restart);
    ADD(s, attempts_to_connect_are_paced);
    ADD(s, brokers_that_never_answer_hold_nobody_up);
    ADD(s, a_refusal_is_told_with_its_code_and_hurts_nobody_else);
    ADD(s, a_session_that_is_resumed_repeats_nothing_of_the_others);
    ADD(s, a_busy_connection_starves_nobody);
    ADD(s, brokers_that_do_not_read_cost_no_time);
    ADD(s, an_aborted_connection_leaves_its_will_and_a_closed_one_does_not);
    ADD(s, what_was_submitted_before_a_close_still_arrives);
    ADD(s, a_client_that_comes_back_at_once_waits_for_the_end_of_its_earlier_connection);
    ADD(s, a_kept_session_is_resumed_and_a_clean_one_wiped);
    ADD(s, the_loss_of_a_clean_session_is_told_before_what_it_takes_with_it);
    ADD(s, without_reconnect_it_waits_to_be_told);
    ADD(s, who_is_taken_over_hears_it_and_need_not_fight);
    ADD(s, sessions_come_and_go_without_a_trace);
    return run_suite(s);
}
