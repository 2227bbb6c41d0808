/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: one row per kind of link. */
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
    return NULL;
}

const char *link_driver_name(size_t i)
{
    return i < N_DRIVERS ? drivers[i]->name : NULL;
}
