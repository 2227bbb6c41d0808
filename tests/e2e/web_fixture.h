/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of WebSockets and of proxies share: mosquitto with a listener for each, certificates,
 * a fake on the web, and a probe. */
#ifndef SENNET_TESTS_E2E_WEB_FIXTURE_H
#define SENNET_TESTS_E2E_WEB_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "e2e/broker.h"
#include "e2e/fake_web.h"
#include "e2e/mqtt_probe.h"

enum { SOON_MS = 15000, TEST_TIMEOUT_S = 90, PATH_ROOM = 128, CONFIG_ROOM = 2000 };

static char pki[] = "/tmp/sennet-ws-XXXXXX";
static struct broker broker;
static uint16_t web_port; /* of mosquitto's second listener */
static struct fake_web web;
static struct probe probe;

/* ---- scenery --------------------------------------------------------------------------------- */

static inline bool make_pki(void)
{
    char command[2 * PATH_ROOM];
    if (mkdtemp(pki) == NULL)
        return false;
    snprintf(command, sizeof command, "'%s' %s", PKI_SCRIPT, pki);
    return system(command) == 0;
}

static inline void remove_pki(void)
{
    char command[2 * PATH_ROOM];
    snprintf(command, sizeof command, "rm -rf %s", pki);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", pki);
}

static inline const char *file(const char *name)
{
    static char rooms[8][PATH_ROOM];
    static unsigned next;
    char *const path = rooms[next++ % 8];
    snprintf(path, PATH_ROOM, "%s/%s", pki, name);
    return path;
}

static inline bool accepts(uint16_t port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const bool ok = connect(fd, (const struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return ok;
}

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
    for (const int64_t until_ms = probe_now_ms() + SOON_MS; !accepts(web_port); usleep(10000))
        ck_assert_int_lt(probe_now_ms(), until_ms);
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

/* ---------------------------------------------------------------------------------------------- */

static inline void add_loop(Suite *s, const char *name, const TTest *test, int n)
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, TEST_TIMEOUT_S);
    tcase_add_checked_fixture(t, NULL, stop_all);
    tcase_add_loop_test(t, test, 0, n);
    suite_add_tcase(s, t);
}

#define ADD(s, test)     add_loop(s, #test, test, 1)
#define LOOP(s, test, n) add_loop(s, #test, test, (int)(n))
#define COUNT(table)     (sizeof(table) / sizeof(table)[0])

static inline int run_all(Suite *s)
{
    SRunner *r = srunner_create(s);
    if (!make_pki()) {
        fprintf(stderr, "no certificates in %s: is openssl installed?\n", pki);
        return EXIT_FAILURE;
    }
    srunner_run_all(r, CK_ENV);
    remove_pki();
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
