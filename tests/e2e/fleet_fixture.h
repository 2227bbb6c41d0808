/* SPDX-License-Identifier: Apache-2.0 */
/* What the suites of many MQTT connections share. */
#ifndef SENNET_TESTS_E2E_FLEET_FIXTURE_H
#define SENNET_TESTS_E2E_FLEET_FIXTURE_H

#include <stdio.h>

#include <check.h>

#include "e2e/mqtt_fleet.h"
#include "unit/suite.h"

enum { SOON_MS = 20000, TEST_TIMEOUT_S = 120 };

static struct fleet fleet;

static int64_t now_ms(void)
{
    return fleet_now_us() / 1000;
}

static void turn_for(int ms)
{
    for (const int64_t until_ms = now_ms() + ms; now_ms() < until_ms;)
        fleet_turn(&fleet, 20);
}

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, NULL, NULL};

#endif
