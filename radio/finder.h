/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which serial devices does this machine have, and what are they? Looks into sysfs and /dev only;
 * opens nothing, so that nobody's device is disturbed.
 */
#ifndef SENNET_RADIO_FINDER_H
#define SENNET_RADIO_FINDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FINDER_MAX = 64, FINDER_TEXT = 192 };

/* How sure a guess is. */
enum finder_sure {
    FINDER_NO_IDEA, /* `driver` is NULL */
    FINDER_LIKELY,  /* USB ids that some such sticks have */
    FINDER_CERTAIN, /* the device names itself */
};

struct found_port {
    char device[FINDER_TEXT]; /* "/dev/ttyUSB0" */
    char by_id[FINDER_TEXT];  /* "/dev/serial/by-id/...", "" when there is none */
    bool usb;
    uint16_t vid, pid;
    char manufacturer[FINDER_TEXT]; /* "" when the device does not say */
    char product[FINDER_TEXT];
    char serial[FINDER_TEXT];
    unsigned interface; /* of the USB device; 0 is the first */
    const char *driver; /* the family that would drive it, or NULL */
    const char *name;   /* of the stick, "Sonoff ZBDongle-P", or NULL */
    uint32_t baud;      /* 0: any */
    bool rtscts;        /* the stick wants RTS/CTS */
    enum finder_sure sure;
};

/* Fills in driver, name, baud, rtscts and sure from what the device says of itself. */
void finder_guess(struct found_port *p);

/* All serial devices that are there, sorted by device name; their number, at most `max`. `root` is
 * prefixed to /sys and /dev ("" on a real machine). */
size_t finder_list(const char *root, struct found_port *out, size_t max);

/* The one of them that `device` names, through symbolic links; false when there is none. */
bool finder_identify(const char *root, const char *device, struct found_port *out);

#endif
