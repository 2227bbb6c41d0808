/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of the MQTT connection share: a fresh mosquitto for each test, and a probe. */
#ifndef SENNET_TESTS_E2E_MQTT_FIXTURE_H
#define SENNET_TESTS_E2E_MQTT_FIXTURE_H

#include "e2e/broker.h"
#include "e2e/mqtt_probe.h"
#include "unit/suite.h"

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

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, start_broker, stop_broker};

#endif
