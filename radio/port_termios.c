/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/port_termios.h"

#include <asm/termbits.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

/* Rates that have a constant of their own are set by it, because that is what other programs read
 * back; the rest by number. */
static const struct {
    uint32_t baud;
    tcflag_t flag;
} rates[] = {
    {1200,    B1200   },
    {2400,    B2400   },
    {4800,    B4800   },
    {9600,    B9600   },
    {19200,   B19200  },
    {38400,   B38400  },
    {57600,   B57600  },
    {115200,  B115200 },
    {230400,  B230400 },
    {460800,  B460800 },
    {500000,  B500000 },
    {576000,  B576000 },
    {921600,  B921600 },
    {1000000, B1000000},
    {1152000, B1152000},
    {1500000, B1500000},
    {2000000, B2000000},
    {2500000, B2500000},
    {3000000, B3000000},
    {3500000, B3500000},
    {4000000, B4000000},
};

static void put_baud(struct termios2 *t, uint32_t baud)
{
    tcflag_t flag = BOTHER;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        if (rates[i].baud == baud)
            flag = rates[i].flag;
    }
    t->c_cflag &= ~(tcflag_t)(CBAUD | CBAUD << IBSHIFT);
    t->c_cflag |= flag; /* the rate of the input is that of the output */
    t->c_ispeed = baud;
    t->c_ospeed = baud;
}

/* UARTs divide a clock and reach a rate only nearly; beyond 3 % bits are lost. */
static bool is_near(uint32_t is, uint32_t wanted)
{
    const int64_t off = llabs((int64_t)is - (int64_t)wanted);
    return off * 100 <= (int64_t)wanted * 3;
}

static int read_back(int fd, struct termios2 *t)
{
    return ioctl(fd, TCGETS2, t) == 0 ? 0 : -errno;
}

uint32_t line_baud(int fd)
{
    struct termios2 t;
    return read_back(fd, &t) == 0 ? t.c_ospeed : 0;
}

int line_configure(int fd, uint32_t baud, enum port_flow flow)
{
    struct termios2 t;
    int rc = read_back(fd, &t);
    if (rc != 0)
        return rc;
    const tcflag_t hardware = flow == PORT_FLOW_RTSCTS ? CRTSCTS : 0;
    t.c_iflag = flow == PORT_FLOW_XONXOFF ? IXON | IXOFF : 0;
    t.c_oflag = 0;
    t.c_lflag = 0;
    t.c_cflag &= ~(tcflag_t)(CSIZE | CSTOPB | PARENB | HUPCL | CRTSCTS);
    t.c_cflag |= CS8 | CREAD | CLOCAL | hardware;
    t.c_cc[VMIN] = 1;
    t.c_cc[VTIME] = 0;
    put_baud(&t, baud);
    if (ioctl(fd, TCSETS2, &t) != 0)
        return -errno;
    rc = read_back(fd, &t);
    if (rc != 0)
        return rc;
    if (!is_near(t.c_ospeed, baud))
        return -EINVAL;
    return (t.c_cflag & CRTSCTS) == hardware ? 0 : -ENOTSUP;
}

int line_set_baud(int fd, uint32_t baud)
{
    struct termios2 t;
    int rc = read_back(fd, &t);
    if (rc != 0)
        return rc;
    put_baud(&t, baud);
    if (ioctl(fd, TCSETS2, &t) != 0)
        return -errno;
    rc = read_back(fd, &t);
    return rc != 0 ? rc : is_near(t.c_ospeed, baud) ? 0 : -EINVAL;
}

static int set_pin(int fd, int pin, int level)
{
    if (level < 0)
        return 0;
    return ioctl(fd, level > 0 ? TIOCMBIS : TIOCMBIC, &pin) == 0 ? 0 : -errno;
}

int line_set_pins(int fd, int dtr, int rts)
{
    const int rc = set_pin(fd, TIOCM_DTR, dtr);
    const int rc_rts = set_pin(fd, TIOCM_RTS, rts);
    return rc != 0 ? rc : rc_rts;
}
