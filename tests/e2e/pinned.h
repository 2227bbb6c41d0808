/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SENNET_TEST_MQTT_VERSION pins a run of the tests to one version of MQTT: "5" or "3.1.1". It is read by
 * tests only; gateways under test get it as `version` in their configuration.
 */
#ifndef SENNET_TESTS_E2E_PINNED_H
#define SENNET_TESTS_E2E_PINNED_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* NULL: it is not. */
static inline const char *pinned_version(void)
{
    const char *const version = getenv("SENNET_TEST_MQTT_VERSION");
    if (version == NULL || version[0] == '\0')
        return NULL;
    if (strcmp(version, "5") != 0 && strcmp(version, "3.1.1") != 0) {
        fprintf(stderr, "SENNET_TEST_MQTT_VERSION is 5 or 3.1.1, not '%s'\n", version);
        abort();
    }
    return version;
}

static inline bool pinned_to_5(void)
{
    const char *const version = pinned_version();
    return version != NULL && strcmp(version, "5") == 0;
}

/* For a section [broker]: a line, or nothing. */
static inline const char *pinned_line(void)
{
    if (pinned_version() == NULL)
        return "";
    return pinned_to_5() ? "version = 5\n" : "version = 3.1.1\n";
}

#endif
