/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hang-up shows in three forms: poll() reports an error condition, which libuv turns into
 * UV_EBADF and stops; read() gives 0; read() or write() fails with EIO. All three end in one
 * `lost`, after everything that had arrived before was handed over.
 */
#include "radio/port_fd.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

enum {
    READ_MAX = 1024,     /* octets per call of the sink */
    READS = 16,          /* per wake-up, then other handles have their turn */
    LAST_READS = 1 << 12 /* of a descriptor that has hung up: far more than a kernel keeps */
};

static void on_poll(uv_poll_t *poll, int status, int events);

struct port_fd *port_fd_new(size_t size, const struct port_kind *kind, uv_loop_t *loop,
                            const struct port_sink *sink)
{
    assert(size >= sizeof(struct port_fd));
    struct port_fd *p = calloc(1, size);
    if (p == NULL)
        return NULL;
    p->base.kind = kind;
    p->loop = loop;
    p->sink = *sink;
    p->fd = -1;
    uv_timer_init(loop, &p->timer);
    p->timer.data = p;
    port_fd_ref(p);
    return p;
}

void port_fd_ref(struct port_fd *p)
{
    p->users++;
}

void port_fd_unref(struct port_fd *p)
{
    assert(p->users > 0);
    if (--p->users == 0)
        free(p);
}

/* ---- the descriptor -------------------------------------------------------------------------- */

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

/* What waits to be sent is thrown away first: closing a serial port would wait for it, for half a
 * minute when CTS holds it. */
static void close_fd(struct port_fd *p)
{
    if (!p->socket) {
        tcflush(p->fd, TCIOFLUSH);
        ioctl(p->fd, TIOCNXCL);
    }
    close(p->fd);
    p->fd = -1;
}

void port_fd_drop(struct port_fd *p)
{
    if (p->poll != NULL)
        uv_close((uv_handle_t *)p->poll, free_poll);
    p->poll = NULL;
    if (p->fd >= 0)
        close_fd(p);
}

int port_fd_watch(struct port_fd *p, int fd, int events, uv_poll_cb on_event)
{
    assert(p->poll == NULL);
    uv_poll_t *poll = malloc(sizeof *poll);
    int rc = poll != NULL ? uv_poll_init(p->loop, poll, fd) : -ENOMEM;
    if (rc != 0) {
        free(poll);
        close(fd);
        return rc;
    }
    poll->data = p;
    p->poll = poll;
    p->fd = fd;
    rc = uv_poll_start(poll, events, on_event);
    if (rc != 0)
        port_fd_drop(p);
    return rc;
}

static void watch_again(struct port_fd *p)
{
    const int rc = uv_poll_start(p->poll, UV_READABLE | (p->want_room ? UV_WRITABLE : 0), on_poll);
    assert(rc == 0);
    (void)rc;
}

static bool is_over(const struct port_fd *p)
{
    return p->is_lost || p->is_closed;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void say_lost(struct port_fd *p, int error, const char *text)
{
    if (is_over(p))
        return;
    p->is_lost = true;
    uv_timer_stop(&p->timer);
    port_fd_drop(p);
    p->sink.lost(p->sink.owner, error, text);
}

static void explain(const struct port_fd *p, int error, char *text, size_t size)
{
    if (p->socket) {
        if (error == 0)
            snprintf(text, size, "%s has closed the connection", p->where);
        else
            snprintf(text, size, "the connection to %s broke: %s", p->where, strerror(error));
    } else if (error == 0 || error == EIO) {
        snprintf(text, size, "%s has hung up: unplugged, or without power", p->where);
    } else {
        snprintf(text, size, "%s failed: %s", p->where, strerror(error));
    }
}

/* `error` 0: end of file. */
static void hung_up(struct port_fd *p, int error)
{
    char text[PORT_TEXT_MAX];
    explain(p, error, text, sizeof text);
    say_lost(p, error != 0 ? -error : -EIO, text);
}

static void on_closed(uv_handle_t *handle)
{
    port_fd_unref(handle->data);
}

void port_fd_close(struct port *port)
{
    struct port_fd *p = port_fd_of(port);
    assert(!p->is_closed);
    p->is_closed = true;
    if (p->closing != NULL)
        p->closing(p);
    port_fd_drop(p);
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

/* ---- reading and writing --------------------------------------------------------------------- */

enum reading {
    NO_MORE, /* at the moment; or the owner has closed */
    MORE,    /* perhaps */
    END,
    BROKEN, /* `*error` tells why */
};

/* Hands over what has arrived, in at most so many pieces. A piece that is not full was all there is,
 * and what comes later is told by poll; only at the end nobody tells any more. */
static enum reading read_some(struct port_fd *p, int reads, int *error)
{
    uint8_t in[READ_MAX];
    for (int i = 0; i < reads; i++) {
        const ssize_t n = read(p->fd, in, sizeof in);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *error = errno;
            return errno == EAGAIN ? NO_MORE : BROKEN;
        }
        if (n == 0)
            return END;
        p->sink.bytes(p->sink.owner, bytes_of(in, (size_t)n));
        if (is_over(p) || ((size_t)n < sizeof in && reads < LAST_READS))
            return NO_MORE;
    }
    return MORE;
}

/* What could not be written may have been preceded by something to read. */
static void on_fail(uv_timer_t *timer)
{
    struct port_fd *p = timer->data;
    int error = 0;
    if (p->fd >= 0)
        read_some(p, LAST_READS, &error);
    say_lost(p, p->lost_error, p->lost_text);
}

void port_fd_fail(struct port_fd *p, int error, const char *text)
{
    if (is_over(p) || p->lost_error != 0)
        return;
    p->lost_error = error;
    snprintf(p->lost_text, sizeof p->lost_text, "%s", text);
    uv_timer_start(&p->timer, on_fail, 0, 0);
}

static int socket_error(const struct port_fd *p)
{
    int error = 0;
    socklen_t len = sizeof error;
    if (p->socket)
        getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct port_fd *p = poll->data;
    if (p->poll != poll)
        return;
    int error = status < 0 ? socket_error(p) : 0;
    if (status < 0 || (events & UV_READABLE) != 0) {
        int reading_error = 0;
        const enum reading r = read_some(p, status < 0 ? LAST_READS : READS, &reading_error);
        if (is_over(p))
            return;
        if (r == BROKEN && error == 0)
            error = reading_error;
        if (status < 0 || r == END || r == BROKEN) {
            hung_up(p, error);
            return;
        }
    }
    if ((events & UV_WRITABLE) != 0 && p->want_room) {
        p->want_room = false;
        watch_again(p);
        p->sink.writable(p->sink.owner);
    }
}

size_t port_fd_write(struct port *port, struct bytes out)
{
    struct port_fd *p = port_fd_of(port);
    size_t taken = 0;
    while (p->fd >= 0 && !is_over(p) && p->lost_error == 0 && taken < out.len) {
        const uint8_t *at = out.data + taken;
        const size_t left = out.len - taken;
        const ssize_t n = p->socket ? send(p->fd, at, left, MSG_NOSIGNAL) : write(p->fd, at, left);
        if (n > 0) {
            taken += (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            char text[PORT_TEXT_MAX];
            const int error = errno;
            explain(p, error, text, sizeof text);
            port_fd_fail(p, -error, text);
        } else if (n == 0 || errno == EAGAIN) {
            p->want_room = true;
            watch_again(p);
            break;
        }
    }
    return taken;
}

const char *port_fd_where(const struct port *port)
{
    return port_fd_of(port)->where;
}

void port_fd_adopt(struct port_fd *p, int fd, bool socket)
{
    p->socket = socket;
    const int rc = p->poll == NULL ? port_fd_watch(p, fd, UV_READABLE, on_poll)
                                   : uv_poll_start(p->poll, UV_READABLE, on_poll);
    if (rc != 0) {
        char text[PORT_TEXT_MAX];
        snprintf(text, sizeof text, "%s can't be watched: %s", p->where, strerror(-rc));
        say_lost(p, rc, text);
        return;
    }
    p->sink.opened(p->sink.owner);
}
