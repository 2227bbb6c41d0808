/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a serial line, by descriptor. Files that include <termios.h> can't have the
 * kernel's own structure, which alone takes any baud rate; hence this file. */
#ifndef SENNET_RADIO_PORT_TERMIOS_H
#define SENNET_RADIO_PORT_TERMIOS_H

#include <stdint.h>

#include "radio/port.h"

/* Raw, 8N1, a read that finds nothing fails and one that gives 0 means the end, no hang-up at the
 * last close; then reads back whether the device does it. 0; -EINVAL: not this baud rate;
 * -ENOTSUP: not this flow control; or another -errno. */
int line_configure(int fd, uint32_t baud, enum port_flow flow);

/* 0 or -errno; -EINVAL: the device can't. */
int line_set_baud(int fd, uint32_t baud);

/* What is really set; 0 when it can't be told. */
uint32_t line_baud(int fd);

/* Levels of DTR and RTS; -1 leaves. 0, or -errno: -ENOTTY where there are none (ptys). */
int line_set_pins(int fd, int dtr, int rts);

#endif
