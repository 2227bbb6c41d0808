/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of emulated sticks: one row each. */
#include "tools/emu/emu.h"

static const struct emu_driver *const drivers[] = {
    &emu_serial, &emu_znp, &emu_deconz, &emu_xbee, &emu_ezsp, NULL, /* the end */
};

const struct emu_driver *emu_driver_find(const char *name)
{
    for (size_t i = 0; drivers[i] != NULL; i++) {
        if (strcmp(name, drivers[i]->name) == 0)
            return drivers[i];
    }
    return NULL;
}

const char *emu_driver_name(size_t i)
{
    for (size_t at = 0; at < i; at++) {
        if (drivers[at] == NULL)
            return NULL;
    }
    return drivers[i] != NULL ? drivers[i]->name : NULL;
}
