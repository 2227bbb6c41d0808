/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD, in tests only: makes ptys look like serial ports to libserialport, which looks
 * names up in sysfs and asks for modem pins. What is faked:
 *
 *     lstat, __lxstat, readlink   of /sys/class/tty/pts/N: a link to a virtual device
 *     ioctl TIOCM*, TIOCGSERIAL, TIOCSSERIAL   on ptys: remembered per pty
 *
 * TIOCMGET on any slave of the pty tells a test what was set.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { PTYS = 256, FIRST_SLAVE_MAJOR = 136, LAST_SLAVE_MAJOR = 143 };

static struct {
    int pins;
    int flags;
} state[PTYS];

static const char pts[] = "/sys/class/tty/pts/";
static const char target[] = "../../devices/virtual/tty/pts";

int __lxstat(int version, const char *path, struct stat *st);

/* A data pointer made a function pointer, which ISO C does not know. */
static void real(void *function, size_t size, const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        abort();
    memcpy(function, &found, size);
}

static bool is_pts(const char *path)
{
    return strncmp(path, pts, strlen(pts)) == 0;
}

static void fake_link(struct stat *st)
{
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFLNK | 0777;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system's are reserved */
int lstat(const char *path, struct stat *st)
{
    if (is_pts(path)) {
        fake_link(st);
        return 0;
    }
    int (*next)(const char *, struct stat *) = NULL;
    real(&next, sizeof next, "lstat");
    return next(path, st);
}

int __lxstat(int version, const char *path, struct stat *st)
{
    if (is_pts(path)) {
        fake_link(st);
        return 0;
    }
    int (*next)(int, const char *, struct stat *) = NULL;
    real(&next, sizeof next, "__lxstat");
    return next(version, path, st);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): the system's are reserved */
ssize_t readlink(const char *path, char *out, size_t size)
{
    if (is_pts(path)) {
        const size_t n = strlen(target) < size ? strlen(target) : size;
        memcpy(out, target, n);
        return (ssize_t)n;
    }
    ssize_t (*next)(const char *, char *, size_t) = NULL;
    real(&next, sizeof next, "readlink");
    return next(path, out, size);
}

/* The number of the pty of which `fd` is a slave, or -1. */
static int number_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISCHR(st.st_mode) || major(st.st_rdev) < FIRST_SLAVE_MAJOR ||
        major(st.st_rdev) > LAST_SLAVE_MAJOR)
        return -1;
    return (int)(minor(st.st_rdev) % PTYS);
}

static bool fake_ioctl(int pty, unsigned long request, void *argument)
{
    struct serial_struct serial = {.flags = state[pty].flags};
    int pins = 0;
    switch (request) {
    case TIOCMGET:
        memcpy(argument, &state[pty].pins, sizeof state[pty].pins);
        return true;
    case TIOCMSET:
        memcpy(&state[pty].pins, argument, sizeof pins);
        return true;
    case TIOCMBIS:
        memcpy(&pins, argument, sizeof pins);
        state[pty].pins |= pins;
        return true;
    case TIOCMBIC:
        memcpy(&pins, argument, sizeof pins);
        state[pty].pins &= ~pins;
        return true;
    case TIOCGSERIAL:
        memcpy(argument, &serial, sizeof serial);
        return true;
    case TIOCSSERIAL:
        memcpy(&serial, argument, sizeof serial);
        state[pty].flags = serial.flags;
        return true;
    default:
        return false;
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    const int pty = number_of(fd);
    if (pty >= 0 && fake_ioctl(pty, request, argument))
        return 0;
    int (*next)(int, unsigned long, ...) = NULL;
    real(&next, sizeof next, "ioctl");
    return next(fd, request, argument);
}
