/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon around the machines: one loop, one timer, the signals; starts the parts in order and
 * stops them in reverse. What to do is decided elsewhere: by the machines, carried by the pump.
 */
#ifndef SENNET_GATEWAY_APP_H
#define SENNET_GATEWAY_APP_H

#include "config.h"

/* Runs until a signal ends it; an exit code (base/error.h). Logs to stderr. With SIGHUP it goes over to
 * what the file says then and the overrides; afterwards `config`, which stays the caller's, is not as it
 * was, but still what has to be freed. */
int app_run(struct config *config, const struct config_overrides *overrides);

#endif
