/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT connection against brokers that misbehave, and a resolver that does not answer.
 */
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "e2e/broker.h"
#include "e2e/fake_broker.h"
#include "e2e/mqtt_probe.h"
#include "e2e/pinned.h"
#include "unit/suite.h"

enum { SOON_MS = 10000, TEST_TIMEOUT_S = 60, RESOLVER_HANGS_MS = 3500 };

static struct fake_broker fake;
static struct probe probe;

/* ---- the resolver (linker option --wrap) ----------------------------------------------------- */

int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result);

static atomic_uint asked_in_vain;
static bool upside_down;

/* One of this machine where brokers listen, and one where they don't. */
static int two_addresses(const char *service, const struct addrinfo *hints,
                         struct addrinfo **result)
{
    static const char *const both[] = {"127.0.0.1", "127.0.0.2"};
    const int rc = __real_getaddrinfo(both[upside_down], service, hints, result);
    return rc != 0 ? rc
                   : __real_getaddrinfo(both[!upside_down], service, hints, &(*result)->ai_next);
}

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **result)
{
    const bool digits = hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0;
    if (node != NULL && strcmp(node, "gone.example") == 0) {
        atomic_fetch_add(&asked_in_vain, !digits);
        return EAI_NONAME;
    }
    if (node != NULL && strcmp(node, "two.example") == 0 && !digits)
        return two_addresses(service, hints, result);
    if (node != NULL && strcmp(node, "hang.example") == 0) {
        poll(NULL, 0, RESOLVER_HANGS_MS);
        return EAI_AGAIN;
    }
    return __real_getaddrinfo(node, service, hints, result);
}

/* ---- the clock on the wall (likewise) -------------------------------------------------------- */

int __real_clock_gettime(clockid_t clock, struct timespec *t);
int __wrap_clock_gettime(clockid_t clock, struct timespec *t);

static atomic_llong ahead_s;

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
    const int rc = __real_clock_gettime(clock, t);
    if (rc == 0 && clock == CLOCK_REALTIME)
        t->tv_sec += atomic_load(&ahead_s);
    return rc;
}

static void start_towards(const char *host, uint16_t port)
{
    struct mqtt_options o = probe_options(&probe, port);
    snprintf(probe.address, sizeof probe.address, "mqtt://%s:%u", host, port);
    probe_start(&probe, &o);
}

static void start_with_fake(struct fake_behaviour b)
{
    fake_start(&fake, b);
    const struct mqtt_options o = probe_options(&probe, fake.port);
    probe_start(&probe, &o);
}

static void stop_both(void)
{
    probe_stop(&probe, 100);
    fake_stop(&fake);
}

/* ---- no connection --------------------------------------------------------------------------- */

START_TEST(a_refused_port_is_named)
{
    const struct mqtt_options o = probe_options(&probe, free_tcp_port());
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.disconnected >= 3, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "connection refused by 127.0.0.1:"));
    probe_publish(&probe, 1, "x", 1, 10);
    PROBE_UNTIL(&probe, probe.answers[1].busy == 1, 1000);
    probe_stop(&probe, 5000); /* nothing to wait for */
}

END_TEST

START_TEST(an_unknown_host_name_is_named)
{
    start_towards("gone.example", 1883);
    PROBE_UNTIL(&probe, probe.disconnected >= 2, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "host name in gone.example:1883 can't be resolved: "));
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(a_first_address_without_a_name_is_looked_up_no_more_often_than_configured)
{
    enum { CHECK_MS = 1000, ROUNDS = 3 };

    char addresses[96];
    fake_start(&fake, (struct fake_behaviour){0});
    struct mqtt_options o = probe_options(&probe, fake.port);
    snprintf(addresses, sizeof addresses, "mqtt://gone.example:1883, %s", o.address);
    o.address = addresses;
    o.primary_check_ms = CHECK_MS;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    const unsigned before = atomic_load(&asked_in_vain);
    const int64_t start_ms = probe_now_ms();
    PROBE_UNTIL(&probe, atomic_load(&asked_in_vain) >= before + ROUNDS, SOON_MS);
    ck_assert_int_ge(probe_now_ms() - start_ms, (ROUNDS - 1) * CHECK_MS);
    ck_assert_uint_eq(probe.connected, 1);
    stop_both();
}

END_TEST

/* Also while another broker is in use meanwhile. */
START_TEST(all_addresses_of_the_first_name_are_tried)
{
    struct broker first;
    char addresses[96];
    upside_down = _i == 1;
    broker_start(&first, NULL);
    fake_start(&fake, (struct fake_behaviour){0});
    if (!upside_down) /* then that address is the wrong one at first */
        broker_end(&first, SIGKILL);
    struct mqtt_options o = probe_options(&probe, fake.port);
    snprintf(addresses, sizeof addresses, "mqtt://two.example:%u, %s", first.port, o.address);
    o.address = addresses;
    o.primary_check_ms = 100;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert_ptr_null(strstr(probe.at, "two.example"));
    if (!upside_down)
        broker_start_again(&first);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.at, "two.example"));
    stop_both();
    broker_stop(&first);
}

END_TEST

START_TEST(a_hanging_resolver_blocks_neither_submissions_nor_the_end)
{
    start_towards("hang.example", 1883);
    poll(NULL, 0, 200); /* the resolver has been asked */
    int64_t start_ms = probe_now_ms();
    for (unsigned i = 0; i < 1000; i++)
        probe_publish(&probe, i, "x", 1, 10);
    PROBE_UNTIL(&probe, probe.busy == 1000, 1000);
    ck_assert_int_lt(probe_now_ms() - start_ms, 500);
    ck_assert_int_lt(probe_now_ms() - mqtt_heartbeat_ms(probe.m), 2000);
    start_ms = probe_now_ms();
    probe_stop(&probe, 0);
    ck_assert_int_le(probe_now_ms() - start_ms, 500);
    poll(NULL, 0, RESOLVER_HANGS_MS); /* its answer meets nobody */
}

END_TEST

/* Paho has one lock for all connections: nothing may be looked up under it. */
START_TEST(a_hanging_resolver_slows_no_other_connection)
{
    enum { ROUNDS = 200 };

    struct probe lost;
    fake_start(&fake, (struct fake_behaviour){0});
    const struct mqtt_options o = probe_options(&probe, fake.port);
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    struct mqtt_options away = probe_options(&lost, 1883);
    snprintf(lost.address, sizeof lost.address, "mqtt://hang.example:1883");
    away.client_id = "lost";
    probe_start(&lost, &away);
    poll(NULL, 0, 100);
    int64_t worst_ms = 0;
    for (uint64_t token = 1; token <= ROUNDS; token++) {
        const int64_t start_ms = probe_now_ms();
        probe_publish(&probe, token, "x", 1, 10);
        PROBE_UNTIL(&probe, probe.ok == token, SOON_MS);
        const int64_t took_ms = probe_now_ms() - start_ms;
        worst_ms = took_ms > worst_ms ? took_ms : worst_ms;
    }
    printf("beside a resolver that hangs: worst of %d acknowledgements %d ms\n", ROUNDS,
           (int)worst_ms);
    ck_assert_int_lt(worst_ms, RESOLVER_HANGS_MS / 2);
    ck_assert_uint_eq(probe.disconnected, 0);
    probe_stop(&lost, 0);
    stop_both();
    poll(NULL, 0, RESOLVER_HANGS_MS);
}

END_TEST

START_TEST(refusals_of_the_broker_are_explained)
{
    const char *const words[] = {
        pinned_to_5() ? "does not speak MQTT 5" : "does not speak MQTT 3.1.1", "client_id refused",
        "not available", "not authorised", "not authorised"};
    for (int code = 1; code <= 5; code++) {
        start_with_fake((struct fake_behaviour){.connack = code});
        PROBE_UNTIL(&probe, probe.disconnected >= 2, SOON_MS);
        ck_assert_msg(strstr(probe.why, words[code - 1]) != NULL, "%d: %s", code, probe.why);
        ck_assert_uint_eq(probe.connected, 0);
        stop_both();
    }
}

END_TEST

START_TEST(a_broker_that_never_answers_is_given_up)
{
    start_with_fake((struct fake_behaviour){.connack = FAKE_SILENT});
    const int64_t start_ms = probe_now_ms();
    PROBE_UNTIL(&probe, probe.disconnected == 1, 20000);
    ck_assert_ptr_nonnull(strstr(probe.why, "no answer from 127.0.0.1:"));
    ck_assert_int_ge(probe.lost_at_ms - start_ms, 9000);
    ck_assert_int_le(probe.lost_at_ms - start_ms, 15000);
    PROBE_UNTIL(&probe, fake_connections(&fake) == 2, SOON_MS); /* and tries again */
    const int64_t stop_ms = probe_now_ms();
    stop_both(); /* while connecting */
    ck_assert_int_le(probe_now_ms() - stop_ms, 2200);
}

END_TEST

/* To whoever reads the clock now and then waits for a time of day, it is set back by ten years: the
 * kernel, by whose clock he waits, does not know of the offset. */
START_TEST(a_broker_that_never_answers_is_given_up_though_the_clock_was_set_back)
{
    atomic_store(&ahead_s, 315360000);
    start_with_fake((struct fake_behaviour){.connack = FAKE_SILENT});
    const int64_t start_ms = probe_now_ms();
    PROBE_UNTIL(&probe, probe.disconnected == 1, 20000);
    ck_assert_int_le(probe.lost_at_ms - start_ms, 15000);
    stop_both();
}

END_TEST

static void turn_for(int ms)
{
    for (const int64_t until_ms = probe_now_ms() + ms; probe_now_ms() < until_ms;)
        probe_turn(&probe, 50);
}

/* At most `most` attempts in two seconds, although the broker accepts each at once. */
static void count_attempts(unsigned least, unsigned most)
{
    turn_for(2000);
    const unsigned attempts = fake_connections(&fake);
    printf("%u attempts in 2 s\n", attempts);
    ck_assert_uint_ge(attempts, least);
    ck_assert_uint_le(attempts, most);
}

START_TEST(accept_and_drop_is_met_with_backoff)
{
    fake_start(&fake, (struct fake_behaviour){.connack = FAKE_DROP});
    struct mqtt_options o = probe_options(&probe, fake.port);
    o.backoff_max_ms = 800;
    probe_start(&probe, &o);
    count_attempts(3, 20);
    ck_assert_ptr_nonnull(strstr(probe.why, "closed the connection before it answered"));
    ck_assert_uint_eq(probe.connected, 0);
    stop_both();
}

END_TEST

START_TEST(a_connection_that_dies_young_does_not_reset_the_backoff)
{
    fake_start(&fake, (struct fake_behaviour){.session_present = true, .reset_after = 1});
    struct mqtt_options o = probe_options(&probe, fake.port);
    o.backoff_max_ms = 800;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_publish(&probe, 1, "x", 1, 10); /* Paho sends it again on each connection */
    count_attempts(3, 20);
    ck_assert_uint_eq(probe.answers[1].busy, 1);
    stop_both();
}

END_TEST

/* ---- the connection -------------------------------------------------------------------------- */

START_TEST(the_first_connection_purges_and_only_later_ones_resume)
{
    fake_start(&fake, (struct fake_behaviour){.session_present = true});
    struct mqtt_options o = probe_options(&probe, fake.port);
    o.keepalive_s = 77;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert(!probe.session_present); /* whatever the broker says: we know nothing of it */
    ck_assert_uint_eq(fake_connections(&fake), 2);
    ck_assert(fake.connections[0].clean && !fake.connections[1].clean);
    ck_assert_uint_eq(fake.connections[1].keepalive, 77);
    ck_assert_uint_eq(fake.disconnects, 1);

    fake_set(&fake, (struct fake_behaviour){.session_present = true, .reset_after = 1});
    probe_publish(&probe, 1, "x", 0, 10);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    ck_assert(probe.session_present);
    ck_assert(!fake.connections[2].clean);
    stop_both();
}

END_TEST

START_TEST(a_refused_subscription_is_refused)
{
    start_with_fake((struct fake_behaviour){.suback = 0x80});
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_subscribe(&probe, 1, "secret/#", 1);
    PROBE_UNTIL(&probe, probe.answers[1].refused == 1, SOON_MS);
    fake_set(&fake, (struct fake_behaviour){.suback = 1});
    probe_subscribe(&probe, 2, "open/#", 2);
    PROBE_UNTIL(&probe, probe.answers[2].ok == 1, SOON_MS);
    ck_assert_uint_eq(probe.granted, 1);
    stop_both();
}

END_TEST

START_TEST(slow_answers_keep_the_window_and_arrive)
{
    fake_start(&fake, (struct fake_behaviour){.ack_delay_ms = 10});
    struct mqtt_options o = probe_options(&probe, fake.port);
    o.window = 4;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    for (unsigned i = 0; i < 50; i++)
        probe_publish(&probe, i, "slow", 1, 10);
    mqtt_flush(probe.m);
    while (probe.ok < 50) {
        const struct mqtt_gauges g = mqtt_gauges(probe.m);
        ck_assert(g.in_flight <= 4);
        PROBE_UNTIL(&probe, probe.ok + probe.busy > 0, SOON_MS);
        probe_turn(&probe, 20);
    }
    ck_assert_uint_eq(fake.duplicates, 0);
    stop_both();
}

END_TEST

/* Of QoS 1; answers wait in the inbox until they are taken. */
static unsigned unanswered(unsigned tokens)
{
    unsigned n = 0;
    for (unsigned i = 1; i < tokens; i += 3)
        n += probe.answers[i].ok + probe.answers[i].busy == 0;
    return n;
}

/* Paho 1.3.12 by itself publishes freed memory here: see paho_calls.h. */
START_TEST(resets_under_load_never_change_what_is_sent)
{
    enum { ROUNDS = 25, EACH = 400 };

    fake_start(&fake, (struct fake_behaviour){.session_present = true, .reset_after = 150});
    snprintf(fake.topic, sizeof fake.topic, "some/topic/of/a/certain/length");
    fake.expected_fill = 1;
    const struct mqtt_options o = probe_options(&probe, fake.port);
    probe_start(&probe, &o);
    unsigned token = 0;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        PROBE_UNTIL(&probe, probe.connected >= round, SOON_MS);
        for (unsigned i = 0; i < EACH; i++, token++) {
            char text[64];
            memset(text, 'a' + (int)(token % 26), sizeof text);
            struct body *body = body_new(bytes_of(text, sizeof text));
            mqtt_submit(probe.m, &(struct up_request){.type = UP_PUBLISH,
                                                      .token = token,
                                                      .topic = bytes_str(fake.topic),
                                                      .body = body,
                                                      .qos = (uint8_t)(token % 3)});
            body_unref(body);
            if (i % 16 == 0)
                probe_turn(&probe, 0);
        }
    }
    fake_set(&fake, (struct fake_behaviour){.session_present = true});
    PROBE_UNTIL(&probe, mqtt_gauges(probe.m).queued + mqtt_gauges(probe.m).in_flight == 0, SOON_MS);
    PROBE_UNTIL(&probe, unanswered(token) == 0, SOON_MS);
    for (unsigned i = 0; i < token; i++) {
        const struct probe_answers a = probe.answers[i];
        if (i % 3 == 1)
            ck_assert(a.ok + a.busy == 1 && a.doubt + a.refused == 0);
    }
    printf("%u connections, %u publishes (%u again), ok %u busy %u doubt %u\n",
           fake_connections(&fake), fake_publishes(&fake), fake.duplicates, probe.ok, probe.busy,
           probe.doubt);
    ck_assert_uint_gt(fake.duplicates, 0);
    ck_assert_uint_eq(fake.wrong_topics, 0);
    ck_assert_uint_eq(fake.wrong_payloads, 0);
    stop_both();
}

END_TEST

/* Paho's own supervision can't see this: its pings are stuck behind the blocked write. */
START_TEST(a_broker_that_stops_reading_is_noticed_within_one_and_a_half_keep_alives)
{
    fake_start(&fake, (struct fake_behaviour){.session_present = true, .deaf = false});
    struct mqtt_options o = probe_options(&probe, fake.port);
    o.keepalive_s = 5;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    fake_set(&fake,
             (struct fake_behaviour){.session_present = true, .deaf = true, .reset_after = 1});
    probe_publish(&probe, 1, "x", 0, 10); /* resets; the next connection is with a deaf one */
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    const int64_t start_ms = probe_now_ms();
    unsigned token = 100;
    for (; token < 60000 && probe.disconnected == 1; token++) {
        probe_publish(&probe, token, "x", 0, 500);
        if (token % 100 == 0)
            probe_turn(&probe, 1);
    }
    PROBE_UNTIL(&probe, probe.disconnected == 2, SOON_MS);
    printf("noticed after %lld ms: %s\n", (long long)(probe.lost_at_ms - start_ms), probe.why);
    ck_assert_int_le(probe.lost_at_ms - start_ms, 7500);
    ck_assert_ptr_nonnull(strstr(probe.why, "did not answer for"));
    ck_assert_uint_gt(probe.busy, 0); /* QoS 0 that is known not to have left is reported */
    stop_both();
}

END_TEST

/* Paho 1.3.12 by itself sends what is open again every ten seconds, once it has reconnected. */
START_TEST(open_messages_are_not_sent_again_within_a_connection)
{
    fake_start(&fake,
               (struct fake_behaviour){.session_present = true, .mute = true, .reset_after = 9});
    struct mqtt_options o = probe_options(&probe, fake.port);
    o.keepalive_s = 5; /* Paho looks ten times per keep alive */
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    for (unsigned i = 0; i < 9; i++)
        probe_publish(&probe, i, "x", (uint8_t)(1 + i % 2), 10);
    PROBE_UNTIL(&probe, probe.connected == 3, SOON_MS);
    fake_set(&fake, (struct fake_behaviour){.session_present = true, .mute = true});
    turn_for(1500); /* the last reset, if one was under way, and the next connection */
    const unsigned before = fake_publishes(&fake);
    const unsigned connected = probe.connected;
    turn_for(12000);
    ck_assert_uint_eq(probe.connected, connected);
    ck_assert_uint_eq(fake_publishes(&fake), before);
    stop_both();
}

END_TEST

/* Paho keeps each SUBSCRIBE that was open when the connection broke, for ever. A clean connection
 * makes it let go, and it comes when there are too many. */
START_TEST(stranded_subscriptions_are_purged_when_they_become_many)
{
    enum { ROUNDS = 13, WINDOW = 100 };

    fake_start(&fake,
               (struct fake_behaviour){.session_present = true, .mute = true, .reset_after = 1});
    struct mqtt_options o = probe_options(&probe, fake.port);
    o.window = WINDOW;
    o.backoff_max_ms = 50;
    probe_start(&probe, &o);
    unsigned purges = 0;
    for (unsigned round = 1; round <= ROUNDS; round++) {
        PROBE_UNTIL(&probe, probe.connected == round, SOON_MS);
        for (unsigned i = 0; i < WINDOW - 1; i++)
            probe_subscribe(&probe, i, "filter", 1);
        probe_publish(&probe, 1000, "x", 0, 10);
        PROBE_UNTIL(&probe, probe.disconnected == round, SOON_MS);
    }
    PROBE_UNTIL(&probe, probe.connected == ROUNDS + 1, SOON_MS);
    for (unsigned i = 0; i < fake_connections(&fake); i++)
        purges += fake.connections[i].clean;
    ck_assert_uint_eq(purges, 2); /* at the start, and now */
    ck_assert_uint_ge(probe.busy, ROUNDS * (WINDOW - 1));
    stop_both();
}

END_TEST

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, NULL, NULL};

int main(void)
{
    Suite *s = suite_create("mqtt_faults");
    ADD(s, a_refused_port_is_named);
    ADD(s, an_unknown_host_name_is_named);
    ADD(s, a_first_address_without_a_name_is_looked_up_no_more_often_than_configured);
    LOOP(s, all_addresses_of_the_first_name_are_tried, 2);
    ADD(s, a_hanging_resolver_blocks_neither_submissions_nor_the_end);
    ADD(s, a_hanging_resolver_slows_no_other_connection);
    ADD(s, refusals_of_the_broker_are_explained);
    ADD(s, a_broker_that_never_answers_is_given_up);
    ADD(s, a_broker_that_never_answers_is_given_up_though_the_clock_was_set_back);
    ADD(s, accept_and_drop_is_met_with_backoff);
    ADD(s, a_connection_that_dies_young_does_not_reset_the_backoff);
    ADD(s, the_first_connection_purges_and_only_later_ones_resume);
    ADD(s, a_refused_subscription_is_refused);
    ADD(s, slow_answers_keep_the_window_and_arrive);
    ADD(s, resets_under_load_never_change_what_is_sent);
    ADD(s, a_broker_that_stops_reading_is_noticed_within_one_and_a_half_keep_alives);
    ADD(s, open_messages_are_not_sent_again_within_a_connection);
    ADD(s, stranded_subscriptions_are_purged_when_they_become_many);
    return run_suite(s);
}
