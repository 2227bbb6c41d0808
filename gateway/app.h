/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon around the machines: one loop, one timer, the signals; starts the parts in order and
 * stops them in reverse. What to do is decided elsewhere: by the machines, carried by the pump.
 */
#ifndef SENNET_GATEWAY_APP_H
#define SENNET_GATEWAY_APP_H

#include "config.h"

/* Runs until a signal ends it; an exit code (base/error.h). Logs to stderr. */
int app_run(const struct config *config);

#endif
