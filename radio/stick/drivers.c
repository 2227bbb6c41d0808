/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of stick families: one row each. */
#include "radio/stick/core.h"

static const struct stick_driver *const drivers[] = {
    &stick_auto,   &stick_xbee,   &stick_znp, &stick_ezsp,
    &stick_deconz, &stick_serial, NULL, /* the end */
};

const struct stick_driver *stick_driver_find(struct bytes name)
{
    for (size_t i = 0; drivers[i] != NULL; i++) {
        if (bytes_equal(name, bytes_str(drivers[i]->name)))
            return drivers[i];
    }
    return NULL;
}

const char *stick_driver_name(size_t i)
{
    for (size_t at = 0; at < i; at++) {
        if (drivers[at] == NULL)
            return NULL;
    }
    return drivers[i] != NULL ? drivers[i]->name : NULL;
}
