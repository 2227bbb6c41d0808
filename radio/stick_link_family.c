/* SPDX-License-Identifier: Apache-2.0 */
/* Which machine a stick gets. With driver = auto that is found out: by the name of the device, or by
 * asking (radio/stick/auto.c), and again when what was found does not work. */
#include <stdio.h>
#include <string.h>

#include "radio/finder.h"
#include "radio/stick_link.h"

enum {
    BAUD = 115200,
    BAUD_XBEE = 9600, /* as the modules are delivered */
    DOUBTS = 3,       /* failed openings, and what was recognised is recognised anew */
};

uint32_t stick_link_baud(const char *driver)
{
    return strcmp(driver, "xbee") == 0 ? BAUD_XBEE : BAUD;
}

static bool is_auto(const struct stick_link *l)
{
    return strcmp(l->wanted, "auto") == 0;
}

void stick_link_change(struct stick_link *l, const char *family)
{
    const struct stick_driver *driver = stick_driver_find(bytes_str(family));
    struct stick *stick = driver != NULL ? stick_new(driver, &l->config, stick_link_now(l)) : NULL;
    if (stick == NULL)
        return;
    stick_free(l->stick);
    l->stick = stick;
    l->family = family;
}

/* The names of USB devices tell the most at no risk: what sends every octet on air (an XBee in
 * transparent mode) should not be asked who it is. */
static void recognise_by_name(struct stick_link *l)
{
    struct found_port found;
    if (!finder_identify("", l->device, &found) || found.driver == NULL ||
        (found.sure != FINDER_CERTAIN && strcmp(found.driver, "xbee") != 0))
        return;
    char text[LINK_TEXT_MAX];
    l->port_config.baud = found.baud > 0 ? found.baud : stick_link_baud(found.driver);
    l->config.baud = l->port_config.baud;
    if (found.rtscts)
        l->port_config.flow_control = PORT_FLOW_RTSCTS;
    stick_link_change(l, found.driver);
    snprintf(text, sizeof text, "%.200s is a %.100s: driver %s", l->device, found.name, l->family);
    stick_link_tell(l, LOG_NOTICE, "link.recognised", text);
}

void stick_link_choose(struct stick_link *l)
{
    if (!is_auto(l))
        return;
    if (l->broken >= DOUBTS && strcmp(l->family, "auto") != 0)
        stick_link_change(l, "auto");
    if (strcmp(l->family, "auto") == 0 && l->broken < DOUBTS)
        recognise_by_name(l);
}
