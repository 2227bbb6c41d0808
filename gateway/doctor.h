/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `sennetd --doctor`: looks at everything that the configuration needs, one after the other, and
 * says in words what is wrong and what to do: devices, permissions, programs that disturb, which
 * stick answers, the network in it, UDP addresses, the broker.
 *
 * Opens the sticks, as the daemon would, so the daemon should not be running; changes nothing, and
 * never forms a network.
 */
#ifndef SENNET_GATEWAY_DOCTOR_H
#define SENNET_GATEWAY_DOCTOR_H

#include <stdio.h>

#include "config.h"

/* EXIT_OK when nothing is wrong (warnings don't count), EXIT_UNAVAILABLE otherwise. `root` is
 * prefixed to /proc and /sys where other programs and devices are looked for: "" on a real machine.
 * May take half a minute per stick. */
int doctor(const struct config *config, const char *root, FILE *out);

#endif
