/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What port_serial and port_tty share: a local device is looked up at once and opened in a thread
 * of the pool, because some drivers take their time; what goes wrong is explained.
 */
#ifndef SENNET_RADIO_PORT_LINE_H
#define SENNET_RADIO_PORT_LINE_H

#include <sys/stat.h>
#include <sys/types.h>

#include <uv.h>

#include "radio/port.h"

/* Opens and configures `path`; may block. A descriptor that does not block, is closed on exec and
 * ours alone; or a negative errno with a sentence. */
int tty_open(const struct port_config *config, const char *path, char *error, size_t error_size);
int serial_open(const struct port_config *config, const char *path, char *error, size_t error_size);

/* Makes an open `fd` ours alone and sets it up as `config` says, or closes it. `fd`, or a negative
 * errno with a sentence. */
int line_set_up(int fd, const struct port_config *config, const char *path, char *error,
                size_t error_size);

/* The sentence about `error` (negative errno) at opening `path`; returns it. Slow where others are
 * looked for. */
int line_explain(int error, const char *path, char *text, size_t size);

/* Of struct port_kind. */
int line_check(const struct port_config *config, char *error, size_t error_size);
int line_set(struct port *port, int32_t baud, int dtr, int rts);

/* Begins to open by `opener` (see tty_open). */
int line_begin(const struct port_kind *kind, uv_loop_t *loop, const struct port_config *config,
               const struct port_sink *sink,
               int (*opener)(const struct port_config *, const char *, char *, size_t),
               struct port **out, char *error, size_t error_size);

/* Who has the device locked, else who has it open: "zigbee2mqtt (pid 812)"; false when nobody can be
 * seen. Slow. */
bool port_holder(const struct stat *st, char *out, size_t size);

#endif
