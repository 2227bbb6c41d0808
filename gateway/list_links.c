/* SPDX-License-Identifier: Apache-2.0 */
#include "list_links.h"

#include <stdlib.h>

#include "base/error.h"

#include "radio/finder.h"

static void print_port(const struct found_port *p, FILE *out)
{
    fprintf(out, "%s\n", p->device);
    if (p->by_id[0] != '\0')
        fprintf(out, "  by-id    %s\n", p->by_id);
    if (p->usb) {
        fprintf(out, "  USB      %04x:%04x  %s%s%s%s%s\n", p->vid, p->pid, p->manufacturer,
                p->manufacturer[0] != '\0' ? " " : "", p->product,
                p->serial[0] != '\0' ? "  serial " : "", p->serial);
    }
    if (p->name == NULL) {
        fprintf(out, "  guess    none\n");
        return;
    }
    fprintf(out, "  guess    %s\n", p->name);
    if (p->driver == NULL)
        return;
    fprintf(out, "  try      [link stick]\n           driver = %s\n           device = %s\n",
            p->driver, p->by_id[0] != '\0' ? p->by_id : p->device);
    if (p->baud != 0)
        fprintf(out, "           baud = %u\n", p->baud);
    if (p->rtscts)
        fprintf(out, "           flow_control = rtscts\n");
}

int list_links(const char *root, FILE *out)
{
    struct found_port *ports = calloc(FINDER_MAX, sizeof *ports);
    if (ports == NULL)
        return EXIT_SYSTEM;
    const size_t n = finder_list(root, ports, FINDER_MAX);
    for (size_t i = 0; i < n; i++)
        print_port(&ports[i], out);
    if (n == 0) {
        fprintf(out, "No serial device is there. Is the stick plugged in? The kernel's log tells "
                     "what it saw: dmesg | tail\n"
                     "In a container or virtual machine the device has to be passed on.\n");
    }
    free(ports);
    return EXIT_OK;
}
