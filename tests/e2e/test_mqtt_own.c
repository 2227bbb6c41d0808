/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT connections that are a client's own: how they come and go, and what becomes of will and session.
 */
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "e2e/broker.h"
#include "e2e/fleet_fixture.h"
#include "e2e/stub_broker.h"

static struct broker broker;
static struct stub_broker stub;

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

    for (unsigned i = 0; i < 50; i++) { /* that may never live to connect */
        open_with_will(1, "one", MQTT_SESSION_KEPT);
        fleet_close(&fleet, 1, false);
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

/* The worker may be done with it before it hears that nobody waits. */
START_TEST(what_ends_before_it_has_begun_ends_once)
{
    enum { N = 20000 };

    stub_start(&stub);
    fleet_start(&fleet, 1, NULL);
    for (unsigned i = 0; i < N; i++) {
        struct mqtt_options o = fleet_options(&fleet, 0, stub.port);
        o.reconnect = i % 2 == 0;
        fleet_open(&fleet, 0, &o);
        mqtt_connect(fleet.ones[0].m); /* keeps the worker at it */
        if (i % 3 != 0) {
            fleet_close(&fleet, 0, i % 3 == 1);
        } else {
            ck_assert(mqtt_stop(fleet.ones[0].m, 0));
            fleet.ones[0].m = NULL;
        }
    }
    ck_assert(fleet_stop(&fleet, 1000));
    stub_stop(&stub);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt_own");
    ADD(s, an_aborted_connection_leaves_its_will_and_a_closed_one_does_not);
    ADD(s, what_was_submitted_before_a_close_still_arrives);
    ADD(s, a_client_that_comes_back_at_once_waits_for_the_end_of_its_earlier_connection);
    ADD(s, a_kept_session_is_resumed_and_a_clean_one_wiped);
    ADD(s, the_loss_of_a_clean_session_is_told_before_what_it_takes_with_it);
    ADD(s, without_reconnect_it_waits_to_be_told);
    ADD(s, who_is_taken_over_hears_it_and_need_not_fight);
    ADD(s, sessions_come_and_go_without_a_trace);
    ADD(s, what_ends_before_it_has_begun_ends_once);
    return run_suite(s);
}
