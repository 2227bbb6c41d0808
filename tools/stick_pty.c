/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/stick_pty.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

void stick_pty_init(struct stick_pty *p, const char *link)
{
    *p = (struct stick_pty){.master = -1, .slave = -1, .squatter = -1, .link = link};
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool make_raw(int fd)
{
    struct termios t;
    if (tcgetattr(fd, &t) != 0)
        return false;
    cfmakeraw(&t);
    return tcsetattr(fd, TCSANOW, &t) == 0;
}

static bool point_link(const struct stick_pty *p)
{
    if (p->link == NULL)
        return true;
    if (unlink(p->link) != 0 && errno != ENOENT)
        return false;
    return symlink(p->name, p->link) == 0;
}

bool stick_pty_plug(struct stick_pty *p)
{
    p->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    const bool made = p->master >= 0 && grantpt(p->master) == 0 && unlockpt(p->master) == 0 &&
                      ptsname_r(p->master, p->name, sizeof p->name) == 0;
    p->slave = made ? open(p->name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
    close_one(&p->squatter);
    return p->slave >= 0 && make_raw(p->slave) && point_link(p);
}

void stick_pty_pull(struct stick_pty *p)
{
    if (p->link != NULL) /* first: it must not lead to whoever gets that terminal next */
        unlink(p->link);
    close_one(&p->slave);
    close_one(&p->master);
    if (p->pulled++ % 2 == 0)
        p->squatter = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
}

void stick_pty_deinit(struct stick_pty *p)
{
    if (p->master >= 0)
        stick_pty_pull(p);
    close_one(&p->squatter);
}

size_t stick_pty_read(const struct stick_pty *p, struct emu *emu, int64_t now_us)
{
    uint8_t buf[1024];
    size_t sum = 0;
    while (p->master >= 0) {
        const size_t room = emu_room(emu);
        const size_t most = room < sizeof buf ? room : sizeof buf;
        const ssize_t n = most > 0 ? read(p->master, buf, most) : 0;
        if (n <= 0)
            break;
        sum += (size_t)n;
        emu_input_us(emu, now_us, bytes_of(buf, (size_t)n));
    }
    return sum;
}

size_t stick_pty_write(const struct stick_pty *p, struct emu *emu, int64_t now_us, bool *full)
{
    struct bytes out;
    size_t sum = 0;
    *full = false;
    while (p->master >= 0 && emu_peek_bytes_us(emu, now_us, &out)) {
        const ssize_t n = write(p->master, out.data, out.len);
        *full = n <= 0;
        if (n <= 0)
            break;
        sum += (size_t)n;
        emu_took(emu, (size_t)n);
    }
    return sum;
}
