/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The error convention of the whole tree (docs/adr/0002):
 *
 *     0         done
 *     negative  fatal here: -errno. Forward it unchanged, add context where it is reported.
 *     positive  a documented outcome of the callee, handled by the direct caller.
 *
 * What a peer does wrong is none of these: it is counted (struct sn_stats), logged at debug level,
 * and forgotten. assert() is for our own mistakes only.
 */
#ifndef SENNET_BASE_ERROR_H
#define SENNET_BASE_ERROR_H

#include <errno.h>

/* Exit codes of all programs (sysexits.h numbers, docs and man pages repeat them). */
enum exit_code {
    EXIT_OK = 0,
    EXIT_RUNTIME = 1,      /* failed while running */
    EXIT_USAGE = 64,       /* bad command line */
    EXIT_NO_INPUT = 66,    /* a file named on the command line can't be read */
    EXIT_UNAVAILABLE = 69, /* link or broker unavailable where it was required */
    EXIT_INTERNAL = 70,    /* our own bug */
    EXIT_SYSTEM = 71,      /* the operating system refused something basic */
    EXIT_NO_STATE = 73,    /* state_dir can't be created or written */
    EXIT_PERMISSION = 77,
    EXIT_CONFIG = 78, /* the configuration has errors */
};

#endif
