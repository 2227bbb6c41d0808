/* SPDX-License-Identifier: Apache-2.0 */
/* libserialport's way of opening, on a pty that tests/shim/pty_serial.c makes look like a serial
 * port. Without the shim the library refuses, and the other way is taken: that is tested, too. */
#include <errno.h>
#include <fcntl.h>
#include <linux/serial.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <check.h>
#include <libserialport.h>

#include "radio/port_fd.h"
#include "unit/port_world.h"
#include "unit/suite.h"

static struct port_world w;
static struct pty p;

static void set_up(void)
{
    pw_start(&w);
    pty_open(&p);
}

static void tear_down(void)
{
    pw_end(&w);
    if (p.master >= 0)
        pty_close(&p);
}

static void open_it(void)
{
    ck_assert_int_eq(pw_open(&w, &port_serial, p.name), 0);
    pw_until(&w, w.opened == 1);
}

static struct termios line(void)
{
    struct termios t;
    ck_assert_int_eq(tcgetattr(p.master, &t), 0);
    return t;
}

static int pins(void)
{
    int bits = 0;
    ck_assert_int_eq(ioctl(p.slave, TIOCMGET, &bits), 0);
    return bits & (TIOCM_DTR | TIOCM_RTS);
}

START_TEST(the_library_opens_it_here)
{
    struct sp_port *port = NULL;
    ck_assert_int_eq(sp_get_port_by_name(p.name, &port), SP_OK);
    ck_assert_int_eq(sp_open(port, SP_MODE_READ_WRITE), SP_OK);
    sp_close(port);
    sp_free_port(port);
    ck_assert_ptr_eq(port_find(p.name), &port_serial);
}

END_TEST

START_TEST(what_the_library_forgets_is_set)
{
    w.config.baud = 230400;
    w.config.flow_control = PORT_FLOW_RTSCTS;
    open_it();
    const struct termios t = line();
    ck_assert_uint_eq(cfgetospeed(&t), B230400);
    ck_assert_uint_ne(t.c_cflag & CRTSCTS, 0);
    ck_assert_uint_eq(t.c_cflag & CSIZE, CS8);
    ck_assert_uint_eq(t.c_cflag & (PARENB | CSTOPB | HUPCL), 0);
    ck_assert_uint_eq(t.c_iflag, 0);
    ck_assert_uint_eq(t.c_lflag, 0);
    ck_assert_uint_eq(t.c_cc[VMIN], 1);
    const int fd = port_fd_of(w.port)->fd;
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    struct serial_struct s;
    ck_assert_int_eq(ioctl(p.slave, TIOCGSERIAL, &s), 0);
    ck_assert_uint_ne((unsigned)s.flags & ASYNC_LOW_LATENCY, 0);
    const int other = open(p.name, O_RDWR | O_NOCTTY);
    ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), -1);
    close(other);
}

END_TEST

START_TEST(flow_control_can_be_off)
{
    open_it();
    ck_assert_uint_eq(line().c_cflag & CRTSCTS, 0);
    ck_assert_uint_eq(line().c_iflag & (IXON | IXOFF), 0);
}

END_TEST

START_TEST(pins_are_left_alone_or_set_as_asked)
{
    int bits = TIOCM_DTR;
    ioctl(p.slave, TIOCMSET, &bits);
    open_it();
    ck_assert_int_eq(pins(), TIOCM_DTR);
    ck_assert_int_eq(w.port->kind->set(w.port, -1, 0, 1), 0);
    ck_assert_int_eq(pins(), TIOCM_RTS);
    pw_close(&w);
    w.config.dtr = 1;
    w.config.rts = 0;
    open_it();
    ck_assert_int_eq(pins(), TIOCM_DTR);
}

END_TEST

START_TEST(with_hardware_flow_control_rts_is_the_drivers)
{
    w.config.flow_control = PORT_FLOW_RTSCTS;
    open_it();
    const int before = pins();
    ck_assert_int_eq(w.port->kind->set(w.port, -1, -1, (before & TIOCM_RTS) == 0), 0);
    ck_assert_int_eq(pins(), before);
}

END_TEST

START_TEST(unusual_rates_work_and_can_change)
{
    w.config.baud = 250000;
    open_it();
    ck_assert_int_eq(w.port->kind->set(w.port, 38400, -1, -1), 0);
    const struct termios t = line();
    ck_assert_uint_eq(cfgetospeed(&t), B38400);
}

END_TEST

START_TEST(bytes_pass_and_the_end_is_told)
{
    char in[8];
    open_it();
    ck_assert_str_eq(w.port->kind->where(w.port), p.name);
    pty_say(&p, "hello", 5);
    pw_until(&w, w.n_heard == 5);
    ck_assert_mem_eq(w.heard, "hello", 5);
    ck_assert_uint_eq(w.port->kind->write(w.port, bytes_str("world")), 5);
    ck_assert_int_eq(read(p.master, in, sizeof in), 5);
    pty_close(&p);
    pw_until(&w, w.lost == 1);
    ck_assert_ptr_nonnull(strstr(w.text, "hung up"));
}

END_TEST

START_TEST(a_busy_port_is_told)
{
    const int other = open(p.name, O_RDWR | O_NOCTTY);
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
    ck_assert_int_eq(pw_open(&w, &port_serial, p.name), 0);
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -EBUSY);
    close(other);
}

END_TEST

START_TEST(reopening_leaks_no_descriptor)
{
    unsigned first = 0;
    for (unsigned i = 0; i < 200; i++) {
        open_it();
        pw_close(&w);
        uv_run(&w.loop, UV_RUN_NOWAIT);
        if (i == 0)
            first = count_descriptors();
    }
    ck_assert_uint_eq(count_descriptors(), first);
}

END_TEST

START_TEST(what_the_library_refuses_is_opened_by_termios)
{
    struct sp_port *port = NULL;
    ck_assert_int_ne(sp_get_port_by_name(p.name, &port), SP_OK);
    w.config.flow_control = PORT_FLOW_RTSCTS;
    open_it();
    ck_assert_uint_ne(line().c_cflag & CRTSCTS, 0);
}

END_TEST

int main(void)
{
    const char *preload = getenv("LD_PRELOAD");
    Suite *suite = suite_create("port_serial");
    TCase *t = tcase_create("serial");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    if (preload == NULL || strstr(preload, "pty_serial") == NULL) {
        tcase_add_test(t, what_the_library_refuses_is_opened_by_termios);
    } else {
        tcase_add_test(t, the_library_opens_it_here);
        tcase_add_test(t, what_the_library_forgets_is_set);
        tcase_add_test(t, flow_control_can_be_off);
        tcase_add_test(t, pins_are_left_alone_or_set_as_asked);
        tcase_add_test(t, with_hardware_flow_control_rts_is_the_drivers);
        tcase_add_test(t, unusual_rates_work_and_can_change);
        tcase_add_test(t, bytes_pass_and_the_end_is_told);
        tcase_add_test(t, a_busy_port_is_told);
        tcase_add_test(t, reopening_leaks_no_descriptor);
    }
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
