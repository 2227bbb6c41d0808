/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: one row per kind of link; the sticks have a registry of their own behind it. */
#include "radio/link.h"

static const struct link_driver *const drivers[] = {
    &link_udp,
};

enum { N_DRIVERS = sizeof drivers / sizeof drivers[0] };

const struct link_driver *link_driver_find(struct bytes name)
{
    for (size_t i = 0; i < N_DRIVERS; i++) {
        if (bytes_equal(name, bytes_str(drivers[i]->name)))
            return drivers[i];
    }
    return stick_driver_find(name) != NULL ? &link_stick : NULL;
}

const char *link_driver_name(size_t i)
{
    return i < N_DRIVERS ? drivers[i]->name : stick_driver_name(i - N_DRIVERS);
}
