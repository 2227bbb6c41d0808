/* SPDX-License-Identifier: Apache-2.0 */
/* Ports on ptys: opening, both directions, every form of the end, and what others see of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <check.h>

#include "radio/port_line.h"
#include "unit/child.h"
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
    ck_assert_int_eq(pw_open(&w, &port_tty, p.name), 0);
    pw_until(&w, w.opened == 1);
}

static struct termios line(void)
{
    struct termios t;
    ck_assert_int_eq(tcgetattr(p.master, &t), 0);
    return t;
}

/* ---- the line -------------------------------------------------------------------------------- */

START_TEST(a_line_is_raw_at_its_rate_and_ours_alone)
{
    w.config.baud = 57600;
    open_it();
    const struct termios t = line();
    ck_assert_uint_eq(cfgetospeed(&t), B57600);
    ck_assert_uint_eq(t.c_cflag & CSIZE, CS8);
    ck_assert_uint_eq(t.c_cflag & (PARENB | CSTOPB | CRTSCTS | HUPCL), 0);
    ck_assert_uint_eq(t.c_iflag, 0);
    ck_assert_uint_eq(t.c_oflag, 0);
    ck_assert_uint_eq(t.c_lflag, 0);
    ck_assert_uint_eq(t.c_cc[VMIN], 1); /* else "nothing yet" and "hung up" look alike */
    ck_assert_str_eq(w.port->kind->where(w.port), p.name);
    const int other = open(p.name, O_RDWR | O_NOCTTY);
    ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), -1);
    pw_close(&w);
    ck_assert_int_eq(flock(other, LOCK_EX | LOCK_NB), 0); /* at once, without the loop */
    close(other);
}

END_TEST

START_TEST(flow_control_is_really_set)
{
    w.config.flow_control = PORT_FLOW_RTSCTS;
    open_it();
    ck_assert_uint_ne(line().c_cflag & CRTSCTS, 0);
    pw_close(&w);
    w.config.flow_control = PORT_FLOW_XONXOFF;
    open_it();
    ck_assert_uint_eq(line().c_cflag & CRTSCTS, 0);
    ck_assert_uint_eq(line().c_iflag, IXON | IXOFF);
    pw_close(&w);
    w.config.flow_control = PORT_FLOW_NONE;
    open_it();
    ck_assert_uint_eq(line().c_iflag, 0);
}

END_TEST

START_TEST(the_rate_can_change_while_open_to_any_number)
{
    open_it();
    ck_assert_int_eq(w.port->kind->set(w.port, 38400, -1, -1), 0);
    const struct termios t = line();
    ck_assert_uint_eq(cfgetospeed(&t), B38400);
    ck_assert_int_eq(w.port->kind->set(w.port, 250000, -1, -1), 0);
    ck_assert_int_eq(w.port->kind->set(w.port, -1, -1, -1), 0);
    ck_assert_int_eq(w.port->kind->set(w.port, -1, 1, 0), -ENOTTY); /* a pty has no pins */
}

END_TEST

START_TEST(levels_that_the_line_has_not_do_not_keep_it_closed)
{
    w.config.dtr = 0;
    w.config.rts = 1;
    open_it();
}

END_TEST

/* ---- passing bytes --------------------------------------------------------------------------- */

START_TEST(bytes_pass_both_ways_and_unchanged)
{
    uint8_t all[256];
    uint8_t back[256];
    for (unsigned i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    open_it();
    pty_say(&p, all, sizeof all);
    pw_until(&w, w.n_heard == sizeof all);
    ck_assert_mem_eq(w.heard, all, sizeof all);
    ck_assert_uint_eq(w.port->kind->write(w.port, bytes_of(all, sizeof all)), sizeof all);
    size_t n = 0;
    while (n < sizeof back)
        n += (size_t)read(p.master, back + n, sizeof back - n);
    ck_assert_mem_eq(back, all, sizeof all);
}

END_TEST

START_TEST(what_is_not_taken_at_once_is_taken_later)
{
    enum { MUCH = 100000 };

    static uint8_t out[MUCH];
    static uint8_t in[MUCH];
    for (size_t i = 0; i < MUCH; i++)
        out[i] = (uint8_t)(i * 7 + i / 251);
    open_it();
    fcntl(p.master, F_SETFL, O_NONBLOCK);
    size_t sent = w.port->kind->write(w.port, bytes_of(out, MUCH));
    ck_assert_uint_lt(sent, MUCH); /* a pty holds some 20 kB */
    size_t got = 0;
    unsigned short_writes = 1;
    while (got < MUCH) {
        const ssize_t n = read(p.master, in + got, MUCH - got);
        got += n > 0 ? (size_t)n : 0;
        if (sent == MUCH || got < sent)
            continue;
        pw_until(&w, w.writable == short_writes);
        sent += w.port->kind->write(w.port, bytes_of(out + sent, MUCH - sent));
        short_writes += sent < MUCH;
    }
    ck_assert_mem_eq(in, out, MUCH);
    ck_assert_uint_eq(w.lost, 0);
}

END_TEST

START_TEST(a_port_that_has_room_does_not_wake_the_loop)
{
    open_it();
    ck_assert_uint_eq(w.port->kind->write(w.port, bytes_str("x")), 1);
    for (unsigned i = 0; i < 10; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(w.writable, 0);
}

END_TEST

/* ---- the end --------------------------------------------------------------------------------- */

START_TEST(a_hang_up_is_told_once)
{
    open_it();
    pty_close(&p);
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -EIO);
    ck_assert_ptr_nonnull(strstr(w.text, "hung up"));
    for (unsigned i = 0; i < 20; i++)
        uv_run(&w.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(w.lost, 1);
    ck_assert_uint_eq(w.port->kind->write(w.port, bytes_str("x")), 0);
    ck_assert_int_lt(w.port->kind->set(w.port, 9600, -1, -1), 0);
}

END_TEST

START_TEST(a_write_into_a_line_that_is_gone_ends_it_from_the_loop)
{
    open_it();
    pty_close(&p);
    ck_assert_uint_eq(w.port->kind->write(w.port, bytes_str("x")), 0);
    ck_assert_uint_eq(w.lost, 0); /* never from within a call */
    pw_until(&w, w.lost == 1);
}

END_TEST

START_TEST(the_owner_may_close_in_any_callback)
{
    static const char where[] = {'o', 'b', 'w', 'l'};
    for (size_t i = 0; i < sizeof where; i++) {
        static const uint8_t much[60000];
        w.close_in = where[i];
        ck_assert_int_eq(pw_open(&w, &port_tty, p.name), 0);
        if (where[i] == 'o') {
            pw_until(&w, w.port == NULL);
            continue;
        }
        pw_until(&w, w.opened == 1);
        pty_say(&p, "hello", 5);
        if (where[i] == 'w') {
            w.port->kind->write(w.port, bytes_of(much, sizeof much));
            tcflush(p.slave, TCOFLUSH);
        }
        if (where[i] == 'l')
            pty_close(&p);
        pw_until(&w, w.port == NULL);
    }
}

END_TEST

START_TEST(closing_while_it_opens_leaves_nothing_behind)
{
    const unsigned before = count_descriptors();
    for (unsigned i = 0; i < 50; i++) {
        ck_assert_int_eq(pw_open(&w, &port_tty, p.name), 0);
        pw_close(&w);
        uv_run(&w.loop, i % 2 == 0 ? UV_RUN_DEFAULT : UV_RUN_NOWAIT);
    }
    uv_run(&w.loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(w.opened + w.lost, 0);
    ck_assert_uint_le(count_descriptors(), before + 3); /* epoll and the pool's wake-up */
}

END_TEST

START_TEST(a_thousand_reopenings_leak_no_descriptor)
{
    char link[] = "/tmp/sennet-port-XXXXXX";
    close(mkstemp(link));
    pty_close(&p);
    unsigned first = 0;
    for (unsigned i = 0; i < 1000; i++) {
        struct pty decoy; /* so that names change */
        if (i % 3 == 0)
            pty_open(&decoy);
        pty_open(&p);
        unlink(link);
        ck_assert_int_eq(symlink(p.name, link), 0);
        if (i % 3 == 0)
            pty_close(&decoy);
        ck_assert_int_eq(pw_open(&w, NULL, link), 0);
        pw_until(&w, w.opened == 1);
        ck_assert_str_eq(w.port->kind->where(w.port), p.name);
        pty_say(&p, "x", 1);
        pw_until(&w, w.n_heard == 1);
        pty_close(&p);
        pw_until(&w, w.lost == 1);
        pw_close(&w);
        uv_run(&w.loop, UV_RUN_NOWAIT);
        if (i == 0)
            first = count_descriptors();
    }
    ck_assert_uint_eq(count_descriptors(), first);
    unlink(link);
}

END_TEST

/* ---- what can't be opened -------------------------------------------------------------------- */

START_TEST(a_device_that_is_missing_is_told_at_once)
{
    ck_assert_int_eq(pw_open(&w, NULL, "/dev/serial/by-id/usb-nobody-has-this"), -ENODEV);
    ck_assert_ptr_nonnull(strstr(w.refusal, "plugged in"));
    ck_assert_int_eq(pw_open(&w, NULL, "/dev"), -ENOTTY);
    ck_assert_ptr_nonnull(strstr(w.refusal, "directory"));
    ck_assert_int_eq(pw_open(&w, NULL, "ttyUSB0"), -EINVAL);
    ck_assert_ptr_nonnull(strstr(w.refusal, "tcp://"));
}

END_TEST

START_TEST(what_is_no_line_is_refused_with_a_sentence)
{
    ck_assert_int_eq(pw_open(&w, NULL, "/dev/null"), 0);
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -ENOTTY);
    ck_assert_ptr_nonnull(strstr(w.text, "/dev/null"));
}

END_TEST

/* A process that has the device open and locked; its number. */
static pid_t hold(int ready[2])
{
    ck_assert_int_eq(pipe(ready), 0);
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(p.slave);
        const int fd = open(p.name, O_RDWR | O_NOCTTY);
        const char ok = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 ? 'y' : 'n';
        if (write(ready[1], &ok, 1) == 1)
            pause();
        _exit(0);
    }
    char answer = 'n';
    ck_assert_int_eq(read(ready[0], &answer, 1), 1);
    ck_assert_int_eq(answer, 'y');
    return child;
}

START_TEST(a_busy_device_names_its_holder)
{
    int ready[2];
    char pid[32];
    /* Has it open, but not for itself, like the other end of an emulated stick. */
    const pid_t bystander = fork();
    ck_assert_int_ge(bystander, 0);
    if (bystander == 0) {
        pause();
        _exit(0);
    }
    const pid_t child = hold(ready);
    close(p.slave); /* else this process holds it, too */
    snprintf(pid, sizeof pid, "(pid %d)", (int)child);
    ck_assert_int_eq(pw_open(&w, &port_tty, p.name), 0);
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -EBUSY);
    ck_assert_msg(strstr(w.text, pid) != NULL, "%s", w.text);
    ck_assert_ptr_nonnull(strstr(w.text, "test_port_tty"));
    pw_close(&w);
    kill(child, SIGKILL);
    child_wait(child, CHILD_SOON_MS, "who holds the port");
    kill(bystander, SIGKILL);
    child_wait(bystander, CHILD_SOON_MS, "the bystander");
    p.slave = open(p.name, O_RDWR | O_NOCTTY);
    open_it(); /* once it is free */
    close(ready[0]);
    close(ready[1]);
}

END_TEST

START_TEST(our_own_other_link_is_named_as_such)
{
    const int other = open(p.name, O_RDWR | O_NOCTTY);
    ck_assert_int_eq(flock(other, LOCK_EX), 0);
    ck_assert_int_eq(pw_open(&w, &port_tty, p.name), 0);
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -EBUSY);
    ck_assert_msg(strstr(w.text, "this very process") != NULL, "%s", w.text);
    close(other);
}

END_TEST

START_TEST(a_missing_permission_names_the_group_that_has_it)
{
    char file[] = "/tmp/sennet-port-XXXXXX";
    char text[400];
    const int fd = mkstemp(file);
    struct stat st; /* of a pty, which belongs to some group on every system */
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(p.slave, &st), 0);
    if (st.st_gid != 0 && fchown(fd, (uid_t)-1, st.st_gid) == 0) {
        fchmod(fd, 0660);
        ck_assert_int_eq(line_explain(-EACCES, file, text, sizeof text), -EACCES);
        ck_assert_msg(strstr(text, "in the group '") != NULL, "%s", text);
    }
    fchmod(fd, 0600); /* a group that has no rights is no help */
    line_explain(-EACCES, file, text, sizeof text);
    ck_assert_msg(strstr(text, "udev") != NULL, "%s", text);
    close(fd);
    unlink(file);
}

END_TEST

START_TEST(kinds_are_found_by_device)
{
    ck_assert_ptr_eq(port_find(p.name), &port_tty);
    ck_assert_ptr_eq(port_find("tcp://stick.lan:6638"), &port_tcp);
    ck_assert_ptr_nonnull(port_find("/dev/serial/by-id/usb-nobody-has-this"));
    ck_assert_ptr_nonnull(port_find(""));
    if (access("/dev/ttyS0", F_OK) == 0 && access("/sys/class/tty/ttyS0", F_OK) == 0)
        ck_assert_ptr_eq(port_find("/dev/ttyS0"), &port_serial);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("port_tty");
    TCase *t = tcase_create("tty");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_line_is_raw_at_its_rate_and_ours_alone);
    tcase_add_test(t, flow_control_is_really_set);
    tcase_add_test(t, the_rate_can_change_while_open_to_any_number);
    tcase_add_test(t, levels_that_the_line_has_not_do_not_keep_it_closed);
    tcase_add_test(t, bytes_pass_both_ways_and_unchanged);
    tcase_add_test(t, what_is_not_taken_at_once_is_taken_later);
    tcase_add_test(t, a_port_that_has_room_does_not_wake_the_loop);
    tcase_add_test(t, a_hang_up_is_told_once);
    tcase_add_test(t, a_write_into_a_line_that_is_gone_ends_it_from_the_loop);
    tcase_add_test(t, the_owner_may_close_in_any_callback);
    tcase_add_test(t, closing_while_it_opens_leaves_nothing_behind);
    tcase_add_test(t, a_thousand_reopenings_leak_no_descriptor);
    tcase_add_test(t, a_device_that_is_missing_is_told_at_once);
    tcase_add_test(t, what_is_no_line_is_refused_with_a_sentence);
    tcase_add_test(t, a_busy_device_names_its_holder);
    tcase_add_test(t, our_own_other_link_is_named_as_such);
    tcase_add_test(t, a_missing_permission_names_the_group_that_has_it);
    tcase_add_test(t, kinds_are_found_by_device);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
