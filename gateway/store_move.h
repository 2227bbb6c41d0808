/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole state as text, for moving to another machine: `sennetd --export-state` and
 * `--import-state`. One JSON object per line; docs/state.md describes them. SQLite writes and reads
 * the JSON, a row at a time, so memory does not grow with the state.
 *
 * Both say what they did, and what went wrong, as sentences on `say`. They return an exit code
 * (base/error.h).
 */
#ifndef SENNET_GATEWAY_STORE_MOVE_H
#define SENNET_GATEWAY_STORE_MOVE_H

#include <stdio.h>

#include "store.h"

/* Writes what is stored in `dir` to `file` ("-": stdout), as it is at one moment, also while a daemon
 * runs on it, which goes on undisturbed. A file of that name is replaced when the new one is whole.
 *
 *   EXIT_OK
 *   EXIT_NO_STATE  there is no state in `dir`, or it can't be read
 *   EXIT_RUNTIME   `file` can't be written
 *   EXIT_SYSTEM    out of memory */
int store_export(const char *dir, const char *file, FILE *say);

/* Reads `file` ("-": stdin) into options->dir, which must hold no state and be in use by nobody: all
 * of it, or nothing. Of the options dir, durability, max_bytes and the names of links are used.
 *
 *   EXIT_OK
 *   EXIT_NO_INPUT  `file` can't be read, or is not what it should be (said with its line)
 *   EXIT_NO_STATE  `dir` holds a state, is in use (said with the pid), or can't be written
 *   EXIT_CONFIG    durability is off
 *   EXIT_SYSTEM    out of memory */
int store_import(const struct store_options *options, const char *file, FILE *say);

#endif
