/* SPDX-License-Identifier: Apache-2.0 */
/* tcp:// ports against a listener on loopback. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "radio/port_fd.h"
#include "unit/port_world.h"
#include "unit/suite.h"

static struct port_world w;
static int listener, bridge;
static char device[64];

static void set_up(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof a;
    pw_start(&w);
    bridge = -1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(listener, 4), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    snprintf(device, sizeof device, "tcp://127.0.0.1:%u", ntohs(a.sin_port));
}

static void tear_down(void)
{
    pw_end(&w);
    if (bridge >= 0)
        close(bridge);
    if (listener >= 0)
        close(listener);
}

static void open_it(void)
{
    ck_assert_int_eq(pw_open(&w, NULL, device), 0);
    pw_until(&w, w.opened == 1);
    bridge = accept(listener, NULL, NULL);
}

static int option(int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    ck_assert_int_eq(getsockopt(port_fd_of(w.port)->fd, level, name, &value, &len), 0);
    return value;
}

START_TEST(a_connection_is_quick_and_supervised)
{
    open_it();
    ck_assert_int_ne(option(IPPROTO_TCP, TCP_NODELAY), 0);
    ck_assert_int_ne(option(SOL_SOCKET, SO_KEEPALIVE), 0);
    ck_assert_int_eq(option(IPPROTO_TCP, TCP_KEEPIDLE), 15);
    ck_assert_int_eq(option(IPPROTO_TCP, TCP_USER_TIMEOUT), 20000);
    ck_assert_str_eq(w.port->kind->where(w.port), device + strlen("tcp://"));
    ck_assert_int_eq(w.port->kind->set(w.port, 115200, -1, -1), -ENOTSUP);
}

END_TEST

START_TEST(bytes_pass_both_ways_however_slow_the_bridge)
{
    enum { MUCH = 200000 };

    static uint8_t out[MUCH];
    static uint8_t in[MUCH];
    for (size_t i = 0; i < MUCH; i++)
        out[i] = (uint8_t)(i * 13 + i / 255);
    const int small = 4096;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    open_it();
    setsockopt(port_fd_of(w.port)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t sent = w.port->kind->write(w.port, bytes_of(out, MUCH));
    ck_assert_uint_lt(sent, MUCH);
    size_t got = 0;
    while (got < MUCH) {
        const ssize_t n = recv(bridge, in + got, MUCH - got, MSG_DONTWAIT);
        got += n > 0 ? (size_t)n : 0;
        const unsigned before = w.writable;
        uv_run(&w.loop, UV_RUN_NOWAIT);
        if (w.writable > before)
            sent += w.port->kind->write(w.port, bytes_of(out + sent, MUCH - sent));
    }
    ck_assert_mem_eq(in, out, MUCH);
    ck_assert_int_eq(send(bridge, out, 70000, 0), 70000);
    pw_until(&w, w.n_heard == 70000);
    ck_assert_mem_eq(w.heard, out, 70000);
}

END_TEST

START_TEST(what_came_before_the_end_is_heard_first)
{
    static uint8_t last[100000]; /* more than one wake-up takes */
    open_it();
    memset(last, 'z', sizeof last);
    ck_assert_int_eq(send(bridge, last, sizeof last, 0), sizeof last);
    close(bridge);
    bridge = -1;
    pw_until(&w, w.lost == 1);
    ck_assert_uint_eq(w.n_heard, sizeof last);
    ck_assert_msg(strstr(w.text, "closed the connection") != NULL, "%s", w.text);
}

END_TEST

START_TEST(what_came_before_a_failed_write_is_heard_first)
{
    open_it();
    ck_assert_int_eq(send(bridge, "last words", 10, 0), 10);
    shutdown(port_fd_of(w.port)->fd, SHUT_WR); /* stands for whatever makes write() fail */
    ck_assert_uint_eq(w.port->kind->write(w.port, bytes_str("x")), 0);
    ck_assert_uint_eq(w.lost, 0);
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -EPIPE);
    ck_assert_uint_eq(w.n_heard, 10);
}

END_TEST

START_TEST(a_reset_is_the_end)
{
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    open_it();
    setsockopt(bridge, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(bridge);
    bridge = -1;
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -ECONNRESET);
}

END_TEST

START_TEST(nobody_there_is_told_from_the_loop)
{
    close(listener);
    listener = -1;
    ck_assert_int_eq(pw_open(&w, NULL, device), 0);
    pw_until(&w, w.lost == 1);
    ck_assert_int_eq(w.error, -ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(w.text, device));
    ck_assert_uint_eq(w.opened, 0);
}

END_TEST

START_TEST(names_are_resolved_and_all_their_addresses_tried)
{
    char named[64];
    snprintf(named, sizeof named, "tcp://localhost:%s", strrchr(device, ':') + 1);
    ck_assert_int_eq(pw_open(&w, NULL, named), 0); /* often ::1 first, where nobody listens */
    pw_until(&w, w.opened + w.lost == 1);
    ck_assert_msg(w.opened == 1, "%s", w.text);
    pw_close(&w);
    ck_assert_int_eq(pw_open(&w, NULL, "tcp://no-such-host.invalid:1"), 0);
    pw_until(&w, w.lost == 1);
    ck_assert_ptr_nonnull(strstr(w.text, "no-such-host.invalid"));
}

END_TEST

START_TEST(closing_while_it_connects_leaves_nothing_behind)
{
    unsigned first = 0;
    for (unsigned i = 0; i < 60; i++) {
        ck_assert_int_eq(pw_open(&w, NULL, device), 0);
        for (unsigned k = 0; k < i % 4; k++)
            uv_run(&w.loop, UV_RUN_NOWAIT);
        pw_close(&w);
        uv_run(&w.loop, UV_RUN_DEFAULT);
        if (i == 3)
            first = count_descriptors();
    }
    ck_assert_uint_eq(count_descriptors(), first);
}

END_TEST

START_TEST(addresses_are_checked_without_touching_anything)
{
    static const struct {
        const char *device;
        bool good;
    } cases[] = {
        {"tcp://stick.lan:6638",      true },
        {"tcp://[2001:db8::7]:1",     true },
        {"tcp://192.0.2.7:65535",     true },
        {"tcp://stick.lan",           false},
        {"tcp://stick.lan:0",         false},
        {"tcp://stick.lan:65536",     false},
        {"tcp://stick.lan:123456789", false},
        {"tcp://:6638",               false},
        {"tcp://2001:db8::7:1",       false},
        {"tcp://[]:1",                false},
        {"tcp://[::1:1",              false},
        {"tcp://a b:1",               false},
        {"tcp://user@host:1",         false},
        {"tcp://host:66x",            false},
        {"udp://host:1",              false},
        {"",                          false},
    };

    char error[300];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct port_config config = {.device = cases[i].device};
        const int rc = port_tcp.check(&config, error, sizeof error);
        ck_assert_msg((rc == 0) == cases[i].good, "%s", cases[i].device);
    }
    const struct port_config none = {.device = NULL};
    ck_assert_int_eq(port_tcp.check(&none, error, sizeof error), -EINVAL);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("port_tcp");
    TCase *t = tcase_create("tcp");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_connection_is_quick_and_supervised);
    tcase_add_test(t, bytes_pass_both_ways_however_slow_the_bridge);
    tcase_add_test(t, what_came_before_the_end_is_heard_first);
    tcase_add_test(t, what_came_before_a_failed_write_is_heard_first);
    tcase_add_test(t, a_reset_is_the_end);
    tcase_add_test(t, nobody_there_is_told_from_the_loop);
    tcase_add_test(t, names_are_resolved_and_all_their_addresses_tried);
    tcase_add_test(t, closing_while_it_connects_leaves_nothing_behind);
    tcase_add_test(t, addresses_are_checked_without_touching_anything);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
