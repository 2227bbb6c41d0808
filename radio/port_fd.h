/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all ports have in common once they have a descriptor: reading and writing through uv_poll,
 * the forms in which a hang-up shows, and a life that ends only when the loop is done with it. Each
 * kind embeds this at its beginning and hands in the descriptor when it is open.
 *
 *     port_fd_new() -> the kind opens, somehow -> port_fd_adopt()  -> `opened`, `bytes` ... `lost`
 *                                              -> port_fd_fail()   -> `lost`
 */
#ifndef SENNET_RADIO_PORT_FD_H
#define SENNET_RADIO_PORT_FD_H

#include <uv.h>

#include "radio/port.h"

enum { PORT_TEXT_MAX = 400, PORT_WHERE_MAX = 280 };

struct port_fd {
    struct port base;
    uv_loop_t *loop;
    struct port_sink sink;
    uv_timer_t timer; /* says `lost` from the loop; before that the kind's */
    uv_poll_t *poll;  /* of `fd`; has a life of its own while closing. NULL: no descriptor */
    int fd;
    bool socket;
    bool want_room; /* something was not taken: `writable` is due */
    bool is_lost, is_closed;
    unsigned users;                     /* handles and requests that point here */
    void (*closing)(struct port_fd *p); /* the kind's part of close; may be NULL */
    int lost_error;
    char lost_text[PORT_TEXT_MAX];
    char where[PORT_WHERE_MAX];
};

/* Zeroed memory of `size`, which begins with struct port_fd; NULL when out of memory. */
struct port_fd *port_fd_new(size_t size, const struct port_kind *kind, uv_loop_t *loop,
                            const struct port_sink *sink);

/* Somebody else points here, until port_fd_unref(). */
void port_fd_ref(struct port_fd *p);
void port_fd_unref(struct port_fd *p);

/* Takes `fd`, which must not block and may be the one that is watched, and says `opened`. Called
 * from the loop. */
void port_fd_adopt(struct port_fd *p, int fd, bool socket);

/* Watches `fd` with `on_event` instead, for what comes before it is open. 0 or -errno, and then `fd`
 * is closed. */
int port_fd_watch(struct port_fd *p, int fd, int events, uv_poll_cb on_event);

/* Closes the descriptor, if there is one. */
void port_fd_drop(struct port_fd *p);

/* Says `lost`, once, from the loop. `error` is a negative errno. */
void port_fd_fail(struct port_fd *p, int error, const char *text);

/* Of struct port_kind. */
size_t port_fd_write(struct port *port, struct bytes out);
const char *port_fd_where(const struct port *port);
void port_fd_close(struct port *port);

static inline struct port_fd *port_fd_of(const struct port *port)
{
    const struct port_fd *p = (const struct port_fd *)(const void *)port;
    return (struct port_fd *)(uintptr_t)p;
}

#endif
