/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serial ports through libserialport 0.1.1. It opens and sets the rate; then the descriptor is ours,
 * because the library puts CRTSCTS into the wrong word of termios, leaves VMIN at 0 so that "nothing
 * yet" and "hung up" look alike, forgets close-on-exec, and its reading and writing has traps of its
 * own (radio reference, J.5).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <libserialport.h>

#include "radio/port_fd.h"
#include "radio/port_line.h"

/* The library's result as a negative errno. Its record of errno is fresh only after SP_ERR_FAIL. */
static int errno_of(enum sp_return rc)
{
    if (rc == SP_ERR_FAIL) {
        const int error = sp_last_error_code();
        return error > 0 ? -error : -EIO;
    }
    return rc == SP_ERR_MEM ? -ENOMEM : rc == SP_ERR_SUPP ? -ENOTSUP : -EINVAL;
}

/* FTDI's chips else hold back what is received for up to 16 ms, which every acknowledgement of
 * every protocol here would pay. Not every driver knows it, and not everybody may ask. */
static void ask_for_low_latency(int fd)
{
    struct serial_struct s;
    if (ioctl(fd, TIOCGSERIAL, &s) != 0)
        return;
    s.flags = (int)((unsigned)s.flags | ASYNC_LOW_LATENCY);
    ioctl(fd, TIOCSSERIAL, &s);
}

/* The settings one by one: a driver that lacks one of them shall not take the others along. */
static enum sp_return set_frame(struct sp_port *port, uint32_t baud)
{
    enum sp_return rc = sp_set_baudrate(port, (int)baud);
    if (rc == SP_OK)
        rc = sp_set_bits(port, 8);
    if (rc == SP_OK)
        rc = sp_set_parity(port, SP_PARITY_NONE);
    if (rc == SP_OK)
        rc = sp_set_stopbits(port, 1);
    return rc;
}

/* A descriptor of our own on the open port, or a negative errno. */
static int take_descriptor(struct sp_port *port)
{
    int fd = -1;
    const enum sp_return rc = sp_get_port_handle(port, &fd);
    if (rc != SP_OK)
        return errno_of(rc);
    const int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return own >= 0 ? own : -errno;
}

/* Opens; the result as tty_open()'s. -ENOTTY, -EINVAL: this is none of the library's ports. */
static int open_by_library(const struct port_config *config, const char *path, char *error,
                           size_t error_size)
{
    struct sp_port *port = NULL;
    enum sp_return rc = sp_get_port_by_name(path, &port);
    if (rc != SP_OK)
        return errno_of(rc);
    rc = sp_open(port, SP_MODE_READ_WRITE);
    if (rc != SP_OK) {
        const int failed = errno_of(rc);
        sp_free_port(port);
        return failed == -ENOTTY || failed == -EINVAL
                   ? failed
                   : line_explain(failed, path, error, error_size);
    }
    int result = take_descriptor(port);
    const enum sp_return framed = set_frame(port, config->baud);
    if (framed != SP_OK && result >= 0) {
        snprintf(error, error_size, "%s can't do %u baud, 8N1", path, (unsigned)config->baud);
        close(result);
        result = -ENOTSUP;
    }
    sp_close(port);
    sp_free_port(port);
    return result;
}

int serial_open(const struct port_config *config, const char *path, char *error, size_t error_size)
{
    snprintf(error, error_size, "%s can't be opened", path);
    const int fd = open_by_library(config, path, error, error_size);
    if (fd == -ENOTTY || fd == -EINVAL)
        return tty_open(config, path, error, error_size);
    if (fd < 0)
        return fd;
    ask_for_low_latency(fd);
    return line_set_up(fd, config, path, error, error_size);
}

static int open_serial(void *loop, const struct port_config *config, const struct port_sink *sink,
                       struct port **out, char *error, size_t error_size)
{
    return line_begin(&port_serial, loop, config, sink, serial_open, out, error, error_size);
}

const struct port_kind port_serial = {
    .name = "serial",
    .check = line_check,
    .open = open_serial,
    .write = port_fd_write,
    .set = line_set,
    .where = port_fd_where,
    .close = port_fd_close,
};
