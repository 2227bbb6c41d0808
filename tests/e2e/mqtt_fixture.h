/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of the MQTT connection share: a fresh mosquitto for each test, and a probe. */
#ifndef SENNET_TESTS_E2E_MQTT_FIXTURE_H
#define SENNET_TESTS_E2E_MQTT_FIXTURE_H

#include <stdlib.h>

#include "e2e/broker.h"
#include "e2e/mqtt_probe.h"

enum { SOON_MS = 10000, TEST_TIMEOUT_S = 60 };

static struct broker broker;
static struct probe probe;

static void start_broker(void)
{
    /* With MQTT 5 a Receive Maximum, of 20 by default. */
    broker_start(&broker, probe_version() == MQTT_5 ? "max_inflight_messages 100\n" : NULL);
}

static void stop_broker(void)
{
    broker_stop(&broker);
}

static void connect_probe(struct probe *p, const char *client_id)
{
    struct mqtt_options o = probe_options(p, broker.port);
    o.client_id = client_id;
    probe_start(p, &o);
    PROBE_UNTIL(p, p->connected == 1, SOON_MS);
}

/* One case per test, so that CK_RUN_CASE=name runs one alone. */
static void add_case(Suite *s, const char *name, const TTest *test)
{
    TCase *t = tcase_create(name);
    tcase_set_timeout(t, TEST_TIMEOUT_S);
    tcase_add_checked_fixture(t, start_broker, stop_broker);
    tcase_add_test(t, test);
    suite_add_tcase(s, t);
}

#define ADD(s, test) add_case(s, #test, test)

static int run_all(Suite *s)
{
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
