/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of WebSockets and of proxies share: mosquitto with a listener for each, certificates,
 * a fake on the web, and a probe. */
#ifndef SENNET_TESTS_E2E_WEB_FIXTURE_H
#define SENNET_TESTS_E2E_WEB_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "e2e/broker.h"
#include "e2e/fake_web.h"
#include "e2e/mqtt_probe.h"
#include "e2e/pki.h"

enum { SOON_MS = 15000, TEST_TIMEOUT_S = 90, CONFIG_ROOM = 2000 };

static struct broker broker;
static uint16_t web_port; /* of mosquitto's second listener */
static struct fake_web web;
static struct probe probe;

/* ---- scenery --------------------------------------------------------------------------------- */

/* A listener for TCP and one for WebSockets, with this certificate if there is one. */
static inline void start_broker_with(const char *certificate, const char *more)
{
    char config[CONFIG_ROOM];
    char tls[CONFIG_ROOM / 4] = "";
    if (certificate != NULL)
        snprintf(tls, sizeof tls, "certfile %s/%s.pem\nkeyfile %s/%s.key\n", pki, certificate, pki,
                 certificate);
    web_port = free_tcp_port();
    snprintf(config, sizeof config,
             "%s%smax_inflight_messages 100\nlistener %u 127.0.0.1\nprotocol websockets\n%s%s", tls,
             more, web_port, tls, more);
    broker_start(&broker, config);
    broker_await(&broker, web_port);
}

static inline void start_broker(const char *certificate)
{
    start_broker_with(certificate, "");
}

static inline void stop_all(void)
{
    if (broker.directory[0] != '\0')
        broker_stop(&broker);
    broker = (struct broker){.pid = 0};
    if (web.port != 0)
        fake_web_stop(&web);
    web = (struct fake_web){.port = 0};
}

static inline void start_web(struct fake_web like)
{
    web = like;
    fake_web_start(&web);
}

static inline struct mqtt_options options_for(const char *scheme, uint16_t port, const char *path)
{
    struct mqtt_options o = probe_options(&probe, port);
    snprintf(probe.address, sizeof probe.address, "%s://localhost:%u%s", scheme, port, path);
    if (strcmp(scheme, "wss") == 0 || strcmp(scheme, "mqtts") == 0)
        o.tls.ca_file = file("ca.pem");
    return o;
}

static inline struct mqtt_options web_options(bool tls)
{
    return options_for(tls ? "wss" : "ws", web_port, "/mqtt");
}

static inline const char *proxy_address(void)
{
    static char address[40];
    snprintf(address, sizeof address, "http://127.0.0.1:%u", web.port);
    return address;
}

static inline void pass_one(uint64_t token)
{
    const unsigned ok = probe.ok;
    probe_publish(&probe, token, "t/a", 1, 20);
    mqtt_flush(probe.m);
    PROBE_UNTIL(&probe, probe.ok == ok + 1, SOON_MS);
}

static inline void expect_connected(const struct mqtt_options *o)
{
    probe_start(&probe, o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    pass_one(1);
    probe_stop(&probe, 100);
}

/* Twice, as the second attempt must not be kinder. */
static inline void expect_refused(const struct mqtt_options *o, const char *why)
{
    probe_start(&probe, o);
    PROBE_UNTIL(&probe, probe.disconnected >= 2, SOON_MS);
    ck_assert_uint_eq(probe.connected, 0);
    ck_assert_msg(strstr(probe.why, why) != NULL, "'%s' lacks '%s'", probe.why, why);
    probe_stop(&probe, 0);
}

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, NULL, stop_all};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

#endif
