/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several addresses of one broker, against two mosquittos: in order, without a pause between them, and
 * back to the first when it is there again.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e/broker.h"
#include "e2e/mqtt_probe.h"
#include "store.h"
#include "unit/suite.h"

enum { SOON_MS = 15000, TEST_TIMEOUT_S = 60 };

static struct broker first, second;
static struct probe probe;
static struct store *store;
static char addresses[128];

static void set_up(void)
{
    broker_start(&first, NULL);
    broker_start(&second, NULL);
}

static void tear_down(void)
{
    broker_stop(&first);
    broker_stop(&second);
    store_close(store);
    store = NULL;
}

static struct mqtt_options options(void)
{
    struct mqtt_options o = probe_options(&probe, first.port);
    snprintf(addresses, sizeof addresses, "mqtt://127.0.0.1:%u, mqtt://127.0.0.1:%u", first.port,
             second.port);
    o.address = addresses;
    o.store = store;
    o.primary_check_ms = 300;
    return o;
}

static bool is_at(const struct broker *b)
{
    char end[16];
    snprintf(end, sizeof end, ":%u", b->port);
    const char *const at = strstr(probe.at, end);
    return at != NULL && at[strlen(end)] == '\0';
}

static void assert_at(const struct broker *b)
{
    ck_assert_msg(is_at(b), "at %s, not at port %u; what failed last: %s", probe.at, b->port,
                  probe.why);
}

static void publish_one(uint64_t token)
{
    probe_publish(&probe, token, "t", 2, 20);
    mqtt_flush(probe.m);
    PROBE_UNTIL(&probe, probe.answers[token].ok == 1, SOON_MS);
}

START_TEST(the_second_has_its_turn_at_once)
{
    broker_end(&first, SIGKILL);
    struct mqtt_options o = options();
    o.backoff_min_ms = o.backoff_max_ms = 5000;
    const int64_t start_ms = probe_now_ms();
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert_int_lt(probe_now_ms() - start_ms, 4000);
    assert_at(&second);
    ck_assert_uint_eq(probe.disconnected, 1); /* of the first address */
    publish_one(1);
    probe_stop(&probe, 100);
    broker_start_again(&first);
}

END_TEST

START_TEST(a_pause_comes_after_the_last)
{
    broker_end(&first, SIGKILL);
    broker_end(&second, SIGKILL);
    struct mqtt_options o = options();
    o.backoff_min_ms = o.backoff_max_ms = 1000;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.disconnected == 2, SOON_MS);
    for (const int64_t until_ms = probe_now_ms() + 3000; probe_now_ms() < until_ms;)
        probe_turn(&probe, 20);
    ck_assert_uint_le(probe.disconnected, 20); /* full jitter: some pauses are short */
    broker_start_again(&first);
    broker_start_again(&second);
    PROBE_UNTIL(&probe, probe.connected >= 1, SOON_MS);
    probe_stop(&probe, 100);
}

END_TEST

/* Nor before, though a connection that does not last counts as a failure. */
START_TEST(a_short_connection_delays_the_next_address_by_nothing)
{
    struct mqtt_options o = options();
    o.backoff_min_ms = o.backoff_max_ms = 600000;
    o.primary_check_ms = 0;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    assert_at(&first);
    broker_end(&first, SIGKILL);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    assert_at(&second);
    ck_assert_uint_eq(probe.disconnected, 1); /* the first was not asked again */
    publish_one(1);
    probe_stop(&probe, 100);
    broker_start_again(&first);
}

END_TEST

START_TEST(it_goes_over_and_comes_back)
{
    const struct mqtt_options o = options();
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    assert_at(&first);
    publish_one(1);
    broker_end(&first, SIGKILL);
    const int64_t start_ms = probe_now_ms();
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    printf("at the second broker after %d ms\n", (int)(probe_now_ms() - start_ms));
    assert_at(&second);
    ck_assert(!probe.session_present); /* what is subscribed there is not known */
    publish_one(2);
    for (const int64_t until_ms = probe_now_ms() + 1000; probe_now_ms() < until_ms;)
        probe_turn(&probe, 20);
    ck_assert_uint_eq(probe.connected, 2); /* the first is away: no reason to move */
    broker_start_again(&first);
    PROBE_UNTIL(&probe, probe.connected == 3, SOON_MS);
    assert_at(&first);
    ck_assert_str_eq(probe.why, "the first address answers again");
    ck_assert(!probe.session_present);
    publish_one(3);
    probe_stop(&probe, 100);
}

END_TEST

/* No packet can get to a multicast address by TCP, and connect() says so at once. */
START_TEST(a_first_address_without_a_way_to_it_is_no_reason_to_move)
{
    struct mqtt_options o = options();
    snprintf(addresses, sizeof addresses, "mqtt://224.0.0.1:1883, mqtt://127.0.0.1:%u",
             second.port);
    o.primary_check_ms = 100;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    for (const int64_t until_ms = probe_now_ms() + 1500; probe_now_ms() < until_ms;)
        probe_turn(&probe, 20);
    ck_assert_uint_eq(probe.connected, 1);
    ck_assert_uint_eq(probe.disconnected, 1); /* of the first address */
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(who_starts_at_the_second_goes_to_the_first_as_well)
{
    broker_end(&first, SIGKILL);
    const struct mqtt_options o = options();
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert_ptr_nonnull(strstr(addresses, probe.at));
    ck_assert_ptr_ne(strstr(addresses, probe.at), addresses);
    broker_start_again(&first);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    ck_assert_ptr_eq(strstr(addresses, probe.at), addresses);
    probe_stop(&probe, 100);
}

END_TEST

/* An exchange that is open at one broker must not go on at another one. */
START_TEST(what_is_under_way_comes_back_and_is_not_mixed_up)
{
    enum { MESSAGES = 200 };

    struct mqtt_options o = options();
    o.primary_check_ms = 0;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    for (uint64_t token = 1; token <= MESSAGES; token++)
        probe_publish(&probe, token, "t", 2, 20);
    mqtt_flush(probe.m);
    probe_turn(&probe, 1);
    broker_pause(&first);
    poll(NULL, 0, 20);
    broker_end(&first, SIGKILL);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    PROBE_UNTIL(&probe, probe.ok + probe.busy + probe.refused >= MESSAGES, SOON_MS);
    for (uint64_t token = 1; token <= MESSAGES; token++) {
        const struct probe_answers *const a = &probe.answers[token];
        ck_assert_int_eq(a->ok + a->busy + a->refused, 1);
    }
    publish_one(MESSAGES + 1);
    ck_assert_uint_eq(mqtt_gauges(probe.m).in_flight, 0);
    probe_stop(&probe, 100);
    broker_start_again(&first);
}

END_TEST

static void ignore(void *arg)
{
    (void)arg;
}

static void open_store(void)
{
    struct store_options so = store_defaults();
    char error[200];
    ck_assert_int_eq(store_open(&so, ignore, NULL, &store, error, sizeof error), 0);
}

/* Of a cluster all addresses are part of it. */
START_TEST(a_session_is_known_again_however_long_its_name_is)
{
    enum { CLIENT_ID = 1024, ADDRESSES = 60 };

    static char client_id[CLIENT_ID + 1];
    static char list[ADDRESSES * 32];
    size_t used = 0;

    open_store();
    struct mqtt_options o = options();
    memset(client_id, 'c', CLIENT_ID);
    o.client_id = client_id;
    if (_i > 0) {
        for (unsigned i = 0; i < ADDRESSES; i++)
            used += (size_t)snprintf(list + used, sizeof list - used, "%smqtt://127.0.0.1:%u",
                                     i > 0 ? ", " : "", first.port);
        o.address = list;
        o.cluster = true;
    }
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert(!probe.session_present);
    probe_stop(&probe, 100);
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert(probe.session_present);
    probe_stop(&probe, 100);
    client_id[CLIENT_ID - 1] = 'd';
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert(!probe.session_present);
    probe_stop(&probe, 100);
}

END_TEST

/* The session of the gateway is at the second broker when it starts again. */
START_TEST(a_restart_knows_at_which_address_its_session_is)
{
    open_store();
    broker_end(&first, SIGKILL);
    struct mqtt_options o = options();
    o.primary_check_ms = 0;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_stop(&probe, 100);
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert(is_at(&second) && probe.session_present);
    probe_stop(&probe, 100);
    broker_start_again(&first);
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert(is_at(&first) && !probe.session_present);
    probe_stop(&probe, 100);
}

END_TEST

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, set_up, tear_down};

int main(void)
{
    Suite *s = suite_create("failover");
    ADD(s, the_second_has_its_turn_at_once);
    ADD(s, a_pause_comes_after_the_last);
    ADD(s, a_short_connection_delays_the_next_address_by_nothing);
    ADD(s, it_goes_over_and_comes_back);
    ADD(s, a_first_address_without_a_way_to_it_is_no_reason_to_move);
    ADD(s, who_starts_at_the_second_goes_to_the_first_as_well);
    ADD(s, what_is_under_way_comes_back_and_is_not_mixed_up);
    LOOP(s, a_session_is_known_again_however_long_its_name_is, 2);
    ADD(s, a_restart_knows_at_which_address_its_session_is);
    return run_suite(s);
}
