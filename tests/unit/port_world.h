/* SPDX-License-Identifier: Apache-2.0 */
/* One port under a real loop, and what it said. Nothing sleeps: the loop runs until what is expected
 * has happened; a timer ends it when it never does. */
#ifndef SENNET_TESTS_UNIT_PORT_WORLD_H
#define SENNET_TESTS_UNIT_PORT_WORLD_H

#include <uv.h>

#include "radio/port.h"

enum { PW_HEARD = 1 << 18 };

/* A pty: its master, and a descriptor of the slave that keeps it alive as emulators do. */
struct pty {
    int master, slave;
    char name[64];
};

struct port_world {
    uv_loop_t loop;
    uv_timer_t safety;
    struct port *port;
    struct port_config config;
    unsigned opened, lost, writable, pieces;
    int error;
    char text[400];
    char refusal[400]; /* of open itself */
    uint8_t *heard;
    size_t n_heard;
    char close_in; /* 'o', 'b', 'l', 'w': close in that callback */
    bool late;
};

void pw_start(struct port_world *w);

/* Closes what is open, and checks that the loop has nothing left. */
void pw_end(struct port_world *w);

/* Begins to open `device` by `kind` (NULL: as port_find() says); its result. */
int pw_open(struct port_world *w, const struct port_kind *kind, const char *device);
void pw_close(struct port_world *w);

/* Runs the loop until the condition holds; fails the test when it never does. */
#define pw_until(w, condition)                                                                     \
    do {                                                                                           \
        while (!(condition) && !(w)->late)                                                         \
            uv_run(&(w)->loop, UV_RUN_ONCE);                                                       \
        ck_assert_msg((condition), "never: %s (lost: %s)", #condition, (w)->text);                 \
    } while (0)

void pty_open(struct pty *p);
void pty_close(struct pty *p); /* hangs up */

/* Writes all of it into the master. */
void pty_say(const struct pty *p, const void *data, size_t len);

/* Open descriptors of this process. */
unsigned count_descriptors(void);

#endif
