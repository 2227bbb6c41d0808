/* SPDX-License-Identifier: Apache-2.0 */
/* Lines that libserialport refuses, because they are unknown to sysfs or have no modem pins: ptys,
 * and the ports of a Pi that is a USB gadget itself. */
#include <errno.h>
#include <fcntl.h>

#include "radio/port_fd.h"
#include "radio/port_line.h"

int tty_open(const struct port_config *config, const char *path, char *error, size_t error_size)
{
    const int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return line_explain(-errno, path, error, error_size);
    return line_set_up(fd, config, path, error, error_size);
}

static int open_tty(void *loop, const struct port_config *config, const struct port_sink *sink,
                    struct port **out, char *error, size_t error_size)
{
    return line_begin(&port_tty, loop, config, sink, tty_open, out, error, error_size);
}

const struct port_kind port_tty = {
    .name = "tty",
    .check = line_check,
    .open = open_tty,
    .write = port_fd_write,
    .set = line_set,
    .where = port_fd_where,
    .close = port_fd_close,
};
