/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A port moves bytes between the loop and a device: a serial port (port_serial.c, libserialport),
 * a tty that libserialport cannot handle (port_tty.c: ptys, gadget ports), or a stick in the network
 * (port_tcp.c). Which one serves a `device =` value: port_find().
 *
 * Threads: everything on the loop thread. Nothing blocks, opening included: what takes time (name
 * resolution, connecting, a slow driver's open) ends in `opened` or `lost`.
 */
#ifndef SENNET_RADIO_PORT_H
#define SENNET_RADIO_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct port;

enum port_flow { PORT_FLOW_NONE, PORT_FLOW_RTSCTS, PORT_FLOW_XONXOFF };

struct port_config {
    const char *device; /* "/dev/serial/by-id/...", "/dev/ttyUSB0", "tcp://host:port" */
    uint32_t baud;
    enum port_flow flow_control;
    int8_t dtr, rts; /* level after opening; -1: as the system leaves it */
};

/* Called from the loop, never from within a call of this header. After `lost` nothing comes any
 * more and the owner must close. */
struct port_sink {
    void *owner;
    void (*opened)(void *owner);
    void (*bytes)(void *owner, struct bytes in); /* at most 1024 */
    void (*writable)(void *owner);               /* after a short write: there is room again */
    void (*lost)(void *owner, int error, const char *text);
};

struct port_kind {
    const char *name;

    /* Could this ever work? Touches nothing. 0; -ENODEV: not there at the moment; other negative
     * errno: never. A sentence in `error`. */
    int (*check)(const struct port_config *config, char *error, size_t error_size);

    /* Begins to open. 0 and `*out`, then `opened` or `lost`; or a negative errno with a sentence:
     * what, why, what to do; -EBUSY names the process that holds the device, where it can. The
     * name is resolved (realpath) at each call. */
    int (*open)(void *loop, const struct port_config *config, const struct port_sink *sink,
                struct port **out, char *error, size_t error_size);

    /* Takes what the system takes at once, 0 when it is busy (`writable` follows). */
    size_t (*write)(struct port *p, struct bytes out);

    /* Changes the line; -1 leaves. A negative errno when the port has no such thing (tcp). */
    int (*set)(struct port *p, int32_t baud, int dtr, int rts);

    /* What was really opened ("/dev/ttyUSB0", "192.0.2.1:6638"), for logs. */
    const char *(*where)(const struct port *p);

    /* Closes at once (nobody else sees the device open afterwards) and frees after the loop's
     * close callbacks. */
    void (*close)(struct port *p);
};

struct port {
    const struct port_kind *kind;
};

extern const struct port_kind port_serial, port_tty, port_tcp;

/* The kind that serves this device at this moment: never NULL. */
const struct port_kind *port_find(const char *device);

#endif
