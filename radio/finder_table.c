/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sticks by what they say of themselves. The first row that fits wins, so the rows that need a name
 * stand before those that guess from USB ids alone: 10c4:ea60, 0403:6015 and 1a86:7523 are mere
 * cables in all the world.
 */
#include <ctype.h>
#include <string.h>

#include "radio/finder.h"

struct row {
    uint16_t vid, pid; /* 0: any */
    const char *hint;  /* in manufacturer, product or by-id name, any case; NULL: none needed */
    const char *driver;
    const char *name;
    uint32_t baud;
    bool rtscts;
};

/* clang-format off */
static const struct row rows[] = {
    {0x1CF1, 0x0030, NULL, "deconz", "ConBee II",                     115200, false},
    {0x0403, 0x6015, "conbee_iii", "deconz", "ConBee III",                    115200, false},
    {0x0403, 0x6015, "conbee", "deconz", "ConBee",                         38400, false},
    {0x0451, 0x16A8, NULL, "znp",    "CC2531",                             0, false},
    {0x0451, 0x16C8, NULL, "znp",    "CC2538",                             0, false},
    {0x0451, 0xBEF3, NULL, "znp",    "TI LaunchPad",                  115200, false},
    {0,      0,      "dongle_plus_v2", "ezsp",   "Sonoff ZBDongle-E",             115200, false},
    {0,      0,      "cc2674p10", "znp",    "Sonoff Dongle Plus (CC2674P10)", 115200, false},
    {0,      0,      "dongle_plus_mg24", "ezsp",  "Sonoff Dongle Plus MG24",       115200, false},
    {0,      0,      "dongle_lite_mg21", "ezsp",  "Sonoff Dongle Lite MG21",       115200, false},
    {0,      0,      "dongle_max_mg24", "ezsp",   "Sonoff Dongle Max",             115200, false},
    {0,      0,      "zigbee_3.0_usb_dongle_plus", "znp", "Sonoff ZBDongle-P",     115200, false},
    {0,      0,      "slae.sh", "znp",    "slae.sh CC2652RB",              115200, false},
    {0,      0,      "cc2652", "znp",    "a CC2652 stick",                115200, false},
    {0,      0,      "electrolama", "znp",    "Electrolama zzh!",              115200, false},
    {0,      0,      "zigstar", "znp",    "ZigStar",                       115200, false},
    {0,      0,      "zbt-2", "ezsp",   "Home Assistant ZBT-2",          460800, true},
    {0,      0,      "skyconnect", "ezsp",   "SkyConnect",                    115200, true},
    {0,      0,      "zbt-1", "ezsp",   "Home Assistant ZBT-1",          115200, true},
    {0,      0,      "slzb-07", "ezsp",   "SMLIGHT SLZB-07",               115200, true},
    {0,      0,      "slzb-06m", "ezsp",   "SMLIGHT SLZB-06M",              115200, false},
    {0x10C4, 0x8A2A, NULL, "ezsp",   "HUSBZB-1 (its second port)",     57600, false},
    {0,      0,      "xbee", "xbee",   "XBee adapter",                    9600, false},
    {0,      0,      "xstick", "xbee",   "Digi XStick",                     9600, false},
    {0x0403, 0,      "digi", "xbee",   "Digi adapter",                    9600, false},
    {0x1A86, 0x55D4, NULL, "ezsp",   "perhaps a Sonoff ZBDongle-E",   115200, false},
    {0x0403, 0x6015, NULL, "deconz", "perhaps a ConBee I, or a plain FTDI cable", 38400, false},
    {0x10C4, 0xEA60, NULL, NULL,     "a CP210x cable: znp, ezsp or anything", 115200, false},
    {0x1A86, 0x7523, NULL, NULL,     "a CH340 cable: znp, ezsp or anything", 115200, false},
};

/* clang-format on */

/* Letters in any case; `_`, `-` and blanks are the same, as udev writes blanks as underscores. */
static char plain(char c)
{
    const char lower = (char)tolower((unsigned char)c);
    return lower == ' ' || lower == '-' ? '_' : lower;
}

static bool contains(const char *text, const char *hint)
{
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (hint[i] != '\0' && plain(text[i]) == plain(hint[i]))
            i++;
        if (hint[i] == '\0')
            return true;
    }
    return false;
}

static bool says(const struct found_port *p, const char *hint)
{
    return contains(p->by_id, hint) || contains(p->product, hint) ||
           contains(p->manufacturer, hint);
}

static bool fits(const struct found_port *p, const struct row *row)
{
    return (row->vid == 0 || (p->usb && p->vid == row->vid)) &&
           (row->pid == 0 || (p->usb && p->pid == row->pid)) &&
           (row->hint == NULL || says(p, row->hint));
}

void finder_guess(struct found_port *p)
{
    p->driver = NULL;
    p->name = NULL;
    p->sure = FINDER_NO_IDEA;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        if (!fits(p, row))
            continue;
        const bool vague = row->hint == NULL && strncmp(row->name, "perhaps", 7) == 0;
        p->driver = row->driver;
        p->name = row->name;
        p->baud = row->baud;
        p->rtscts = row->rtscts;
        p->sure = row->driver == NULL ? FINDER_NO_IDEA : vague ? FINDER_LIKELY : FINDER_CERTAIN;
        return;
    }
}
