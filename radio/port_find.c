/* SPDX-License-Identifier: Apache-2.0 */
/* Which kind of port serves a device. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "radio/port.h"

enum { SYSFS_ROOM = 320 };

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

const struct port_kind *port_find(const char *device)
{
    static const char dev[] = "/dev/";
    if (starts_with(device, "tcp://"))
        return &port_tcp;
    char known[SYSFS_ROOM] = "";
    char *path = realpath(device, NULL);
    if (path != NULL && starts_with(path, dev)) /* where libserialport looks, too */
        snprintf(known, sizeof known, "/sys/class/tty/%s", path + strlen(dev));
    free(path);
    struct stat st;
    return lstat(known, &st) == 0 ? &port_serial : &port_tty;
}
