/* SPDX-License-Identifier: Apache-2.0 */
/* `sennetd --list-links`: the serial devices of this machine, what they are, and what to write into
 * the configuration. Opens nothing. */
#ifndef SENNET_GATEWAY_LIST_LINKS_H
#define SENNET_GATEWAY_LIST_LINKS_H

#include <stdio.h>

/* `root` is prefixed to /sys and /dev: "" on a real machine. An exit code: 0 also when there are
 * none. */
int list_links(const char *root, FILE *out);

#endif
