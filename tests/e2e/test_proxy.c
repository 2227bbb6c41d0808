/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP proxies on the way to mosquitto, some of which refuse, hang or lie; and many connections at once
 * through proxies and WebSockets.
 */
#include <signal.h>

#include "e2e/mqtt_fleet.h"
#include "e2e/web_fixture.h"

/* ---- proxies --------------------------------------------------------------------------------- */

static const struct {
    const char *scheme;
    bool web, tls;
} ways[] = {
    {"mqtt",  false, false},
    {"mqtts", false, true },
    {"ws",    true,  false},
    {"wss",   true,  true },
};

static struct mqtt_options proxied_options(int way)
{
    struct mqtt_options o = options_for(ways[way].scheme, ways[way].web ? web_port : broker.port,
                                        ways[way].web ? "/mqtt" : "");
    o.proxy = proxy_address();
    return o;
}

START_TEST(a_proxy_leads_to_the_broker)
{
    start_broker(ways[_i].tls ? "server" : NULL);
    start_web((struct fake_web){.mode = WEB_PROXY, .login = "bWU6bXkgc2VjcmV0"});
    struct mqtt_options o = proxied_options(_i);
    o.proxy_login = "me:my secret";
    expect_connected(&o);
    ck_assert_uint_ge(web.requests, 1);
    ck_assert_uint_gt(atomic_load(&web.upward), 20);
    char connect[64];
    snprintf(connect, sizeof connect, "CONNECT localhost:%u HTTP/1.1\r\n",
             ways[_i].web ? web_port : broker.port);
    ck_assert_ptr_nonnull(strstr(web.request, connect));
}

END_TEST

START_TEST(a_bad_certificate_is_refused_behind_a_proxy)
{
    start_broker("expired");
    start_web((struct fake_web){.mode = WEB_PROXY});
    const struct mqtt_options o = proxied_options(_i == 0 ? 1 : 3);
    expect_refused(&o, "certificate of localhost expired on 2020-01-02");
}

END_TEST

START_TEST(a_proxy_that_wants_a_login_is_told)
{
    start_broker(NULL);
    start_web((struct fake_web){.mode = WEB_PROXY, .login = "bWU6bXkgc2VjcmV0"});
    struct mqtt_options o = proxied_options(0);
    expect_refused(&o, "refused: 407 Proxy Authentication Required (proxy has no login)");
    o.proxy_login = "me:wrong";
    expect_refused(&o, "refused: 407 Proxy Authentication Required (is the login in proxy right?)");
    ck_assert_ptr_null(strstr(probe.why, "wrong"));
    ck_assert_uint_eq(atomic_load(&web.upward), 0);
}

END_TEST

static const struct {
    const char *text, *why;
} proxy_answers[] = {
    {"HTTP/1.1 403 Forb\x1b[31midden\r\n\r\n", "refused: 403 Forb?[31midden"             },
    {"+OK POP3\r\n",                           "the answer is no HTTP: is it a proxy?"   },
    {"",                                       "closed the connection before it answered"},
};

START_TEST(a_proxy_that_refuses_is_told)
{
    start_web((struct fake_web){.mode = WEB_SAYS, .text = proxy_answers[_i].text});
    struct mqtt_options o = options_for("mqtt", 1883, "");
    o.proxy = proxy_address();
    expect_refused(&o, proxy_answers[_i].why);
    ck_assert_ptr_nonnull(strstr(probe.why, "proxy 127.0.0.1:"));
}

END_TEST

START_TEST(no_proxy_is_no_detour)
{
    struct mqtt_options o = options_for("mqtt", 1883, "");
    web.port = free_tcp_port();
    o.proxy = proxy_address();
    web.port = 0;
    expect_refused(&o, "connection refused by proxy 127.0.0.1:");
}

END_TEST

START_TEST(a_proxy_without_a_way_to_it_is_named)
{
    struct mqtt_options o = options_for("mqtt", 1883, "");
    o.proxy = "http://224.0.0.1:3128";
    expect_refused(&o, "can't connect to proxy 224.0.0.1:3128: ");
}

END_TEST

/* Which the proxy could not reach at first. */
START_TEST(the_first_address_is_gone_back_to_through_the_proxy)
{
    struct broker first;
    char addresses[160];
    char at[64];

    start_broker(NULL);
    first = broker;
    broker_end(&first, SIGKILL);
    broker = (struct broker){.pid = 0};
    start_broker(NULL);
    start_web((struct fake_web){.mode = WEB_PROXY});
    struct mqtt_options o = options_for("mqtt", broker.port, "");
    snprintf(at, sizeof at, "mqtt://localhost:%u", first.port);
    snprintf(addresses, sizeof addresses, "%s, %s", at, probe.address);
    o.address = addresses;
    o.proxy = proxy_address();
    o.primary_check_ms = 200;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert_str_ne(probe.at, at);
    const unsigned requests = atomic_load(&web.requests);
    PROBE_UNTIL(&probe, atomic_load(&web.requests) > requests, SOON_MS);
    ck_assert_uint_eq(probe.connected, 1);
    broker_start_again(&first);
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    ck_assert_str_eq(probe.at, at);
    pass_one(1);
    probe_stop(&probe, 100);
    broker_stop(&first);
}

END_TEST

START_TEST(the_environment_names_no_proxy)
{
    start_broker(NULL);
    start_web((struct fake_web){.mode = WEB_PROXY});
    setenv("http_proxy", proxy_address(), 1);
    setenv("https_proxy", proxy_address(), 1);
    setenv("HTTP_PROXY", proxy_address(), 1);
    setenv("all_proxy", proxy_address(), 1);
    const struct mqtt_options o = web_options(false);
    expect_connected(&o);
    const struct mqtt_options plain = options_for("mqtt", broker.port, "");
    expect_connected(&plain);
    ck_assert_uint_eq(web.requests, 0);
}

END_TEST

/* ---- many ------------------------------------------------------------------------------------ */

static struct fleet fleet;

static struct mqtt_options fleet_web_options(unsigned number, const char *scheme)
{
    struct mqtt_options o = fleet_options(&fleet, number, web_port);
    snprintf(fleet.address, sizeof fleet.address, "%s://localhost:%u/mqtt", scheme, web_port);
    o.tls.ca_file = strcmp(scheme, "wss") == 0 ? file("ca.pem") : NULL;
    return o;
}

START_TEST(own_sessions_share_nothing_but_the_thread)
{
    enum { SESSIONS = 50, ROUNDS = 20 };

    start_broker(_i == 1 ? "server" : NULL);
    fleet_start(&fleet, SESSIONS, NULL);
    for (unsigned i = 0; i < SESSIONS; i++) {
        const struct mqtt_options o = fleet_web_options(i, _i == 1 ? "wss" : "ws");
        fleet_open(&fleet, i, &o);
    }
    FLEET_UNTIL(&fleet, fleet.online == SESSIONS, SOON_MS);
    for (unsigned i = 0; i < SESSIONS; i++) {
        char topic[32];
        snprintf(topic, sizeof topic, "own/%u", i);
        fleet_subscribe(&fleet, i, topic, 1);
    }
    FLEET_UNTIL(&fleet, fleet.subscribed == SESSIONS, SOON_MS);
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < SESSIONS; i++) {
            char topic[32];
            snprintf(topic, sizeof topic, "own/%u", (i + round) % SESSIONS);
            fleet_publish(&fleet, i, topic, (uint8_t)(1 + round % 2), topic);
        }
        FLEET_UNTIL(&fleet, fleet.messages == SESSIONS * (round + 1), SOON_MS);
    }
    FLEET_UNTIL(&fleet, fleet.ok == SESSIONS * ROUNDS, SOON_MS);
    broker_end(&broker, SIGTERM);
    broker_start_again(&broker);
    FLEET_UNTIL(&fleet, fleet.connected == 2 * SESSIONS, SOON_MS);
    ck_assert(fleet_stop(&fleet, 100));
}

END_TEST

/* Sessions that hang at a proxy, others that are to connect meanwhile, and one that is at work. */
START_TEST(a_proxy_that_hangs_delays_nobody)
{
    enum { HANGING = 40, OTHERS = 20, ROUNDS = 200, SLOW_US = 500000 };

    start_broker(NULL);
    start_web((struct fake_web){.mode = WEB_HANGS});
    fleet_start(&fleet, HANGING + OTHERS + 1, NULL);
    struct mqtt_options o = fleet_web_options(0, "ws");
    fleet_open(&fleet, 0, &o);
    FLEET_UNTIL(&fleet, fleet.online == 1, SOON_MS);
    for (unsigned i = 1; i <= HANGING; i++) {
        o = fleet_web_options(i, i % 2 == 0 ? "ws" : "mqtt");
        o.proxy = proxy_address();
        fleet_open(&fleet, i, &o);
    }
    fleet_turn(&fleet, 100);
    const int64_t begin_us = fleet_now_us();
    for (unsigned i = HANGING + 1; i <= HANGING + OTHERS; i++) {
        o = fleet_web_options(i, "ws");
        fleet_open(&fleet, i, &o);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        fleet_publish(&fleet, 0, "t/a", 1, "x");
        FLEET_UNTIL(&fleet, fleet.ok == round + 1, SOON_MS);
    }
    ck_assert_int_lt(fleet.slowest_us, SLOW_US);
    FLEET_UNTIL(&fleet, fleet.online == 1 + OTHERS, SOON_MS);
    /* Two turns of 32 attempts, which count for a second each. */
    ck_assert_int_lt(fleet_now_us() - begin_us, 5000000);
    FLEET_UNTIL(&fleet, fleet.ones[HANGING].disconnected > 0, SOON_MS);
    ck_assert_ptr_nonnull(strstr(fleet.ones[HANGING].why, "no answer from proxy 127.0.0.1:"));
    ck_assert_uint_eq(fleet.online, 1 + OTHERS);
    ck_assert(fleet_stop(&fleet, 100));
}

END_TEST

/* ---------------------------------------------------------------------------------------------- */

int main(void)
{
    Suite *s = suite_create("proxy");
    LOOP(s, a_proxy_leads_to_the_broker, COUNT(ways));
    LOOP(s, a_bad_certificate_is_refused_behind_a_proxy, 2);
    ADD(s, a_proxy_that_wants_a_login_is_told);
    LOOP(s, a_proxy_that_refuses_is_told, COUNT(proxy_answers));
    ADD(s, no_proxy_is_no_detour);
    ADD(s, a_proxy_without_a_way_to_it_is_named);
    ADD(s, the_first_address_is_gone_back_to_through_the_proxy);
    ADD(s, the_environment_names_no_proxy);
    LOOP(s, own_sessions_share_nothing_but_the_thread, 2);
    ADD(s, a_proxy_that_hangs_delays_nobody);
    return run_suite_with_pki(s);
}
