/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon around the machines: one loop, one timer, the signals; starts the parts in order and
 * stops them in reverse. What to do is decided elsewhere: by the machines, carried by the pump.
 */
#ifndef SENNET_GATEWAY_APP_H
#define SENNET_GATEWAY_APP_H

#include <stdio.h>

#include "config.h"

/* Is everything in `config` something that this program can do? Every complaint goes to `errors` as
 * config_load() writes them. Touches nothing. 0 or EXIT_CONFIG. */
int app_check(const struct config *config, FILE *errors);

/* Runs until a signal ends it; an exit code (base/error.h). Logs to stderr. `config` must have
 * passed app_check(). */
int app_run(const struct config *config);

#endif
