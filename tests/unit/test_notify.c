/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "notify.h"
#include "unit/suite.h"

/* A service manager's end of the socket; `name` as $NOTIFY_SOCKET would have it. */
static int manager(char *name, size_t size, bool abstract)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const char *dir = getenv("TMPDIR");
    if (abstract)
        snprintf(name, size, "@sennet-test-notify-%ld", (long)getpid());
    else
        snprintf(name, size, "%s/sennet-test-notify-%ld", dir != NULL ? dir : "/tmp",
                 (long)getpid());
    const size_t len = strlen(name);
    memcpy(a.sun_path, name, len);
    if (abstract)
        a.sun_path[0] = '\0';
    const socklen_t bound_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    unlink(name);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, bound_len), 0);
    return fd;
}

static const char *heard(int fd)
{
    static char text[512];
    const ssize_t n = recv(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(messages_reach_the_service_manager)
{
    char name[100];
    struct notify n;
    const int fd = manager(name, sizeof name, _i == 1);
    const struct notify_environment env = {.socket = name};
    ck_assert_int_eq(notify_open(&n, &env, 42), 0);
    notify_ready(&n);
    ck_assert_str_eq(heard(fd), "READY=1");
    notify_status(&n, "broker connected\nREADY=0");
    ck_assert_str_eq(heard(fd), "STATUS=broker connected READY=0");
    notify_watchdog(&n);
    ck_assert_str_eq(heard(fd), "WATCHDOG=1");
    notify_reloading(&n, 1234567);
    ck_assert_str_eq(heard(fd), "RELOADING=1\nMONOTONIC_USEC=1234567");
    notify_stopping(&n, 10000);
    ck_assert_str_eq(heard(fd), "STOPPING=1\nEXTEND_TIMEOUT_USEC=15000000");
    notify_close(&n);
    notify_ready(&n);
    ck_assert_str_eq(heard(fd), "");
    close(fd);
    if (_i == 0)
        unlink(name);
}

END_TEST

START_TEST(without_a_socket_nothing_happens)
{
    struct notify n;
    const struct notify_environment env = {.watchdog_usec = "30000000"};
    ck_assert_int_eq(notify_open(&n, &env, 42), 0);
    ck_assert_int_eq(n.fd, -1);
    ck_assert_int_eq(notify_interval_ms(&n), 0);
    notify_ready(&n);
    notify_close(&n);
}

END_TEST

START_TEST(a_manager_that_is_gone_does_no_harm)
{
    struct notify n;
    const struct notify_environment env = {.socket = "/nonexistent/notify"};
    ck_assert_int_eq(notify_open(&n, &env, 42), 0);
    notify_ready(&n);
    notify_watchdog(&n);
    notify_close(&n);
}

END_TEST

START_TEST(bad_socket_names_are_refused)
{
    struct notify n;
    char endless[300];
    memset(endless, '/', sizeof endless);
    endless[sizeof endless - 1] = '\0';

    const struct {
        const char *name;
        int rc;
    } bad[] = {
        {"",         -EINVAL      },
        {"relative", -EINVAL      },
        {"@",        -EINVAL      },
        {endless,    -ENAMETOOLONG}
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct notify_environment env = {.socket = bad[i].name};
        ck_assert_int_eq(notify_open(&n, &env, 42), bad[i].rc);
        notify_ready(&n);
        notify_close(&n);
    }
}

END_TEST

static int64_t interval(const char *usec, const char *pid)
{
    struct notify n;
    const struct notify_environment env = {
        .socket = "@sennet-test-nobody", .watchdog_usec = usec, .watchdog_pid = pid};
    ck_assert_int_eq(notify_open(&n, &env, 42), 0);
    const int64_t ms = notify_interval_ms(&n);
    notify_close(&n);
    return ms;
}

START_TEST(the_watchdog_beats_at_half_the_patience)
{
    ck_assert_int_eq(interval("30000000", NULL), 15000);
    ck_assert_int_eq(interval("30000000", "42"), 15000);
    ck_assert_int_eq(interval("1000", NULL), 1);
    /* Meant for our parent, absent, or nonsense: no watchdog. */
    ck_assert_int_eq(interval("30000000", "41"), 0);
    ck_assert_int_eq(interval(NULL, NULL), 0);
    ck_assert_int_eq(interval("0", NULL), 0);
    ck_assert_int_eq(interval("-5", NULL), 0);
    ck_assert_int_eq(interval("30s", NULL), 0);
    ck_assert_int_eq(interval("99999999999999999999999", NULL), 0);
}

END_TEST

START_TEST(a_stuck_worker_is_not_alive)
{
    const struct notify n = {.fd = -1, .watchdog_ms = 30000};
    ck_assert(notify_alive(&n, 100000, 100000));
    ck_assert(notify_alive(&n, 100000, 70001));
    ck_assert(!notify_alive(&n, 100000, 70000));
    ck_assert(notify_alive(&n, 100000, 100005)); /* the worker's clock was read a moment later */
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("notify");
    TCase *t = tcase_create("notify");
    tcase_add_loop_test(t, messages_reach_the_service_manager, 0, 2);
    tcase_add_test(t, without_a_socket_nothing_happens);
    tcase_add_test(t, a_manager_that_is_gone_does_no_harm);
    tcase_add_test(t, bad_socket_names_are_refused);
    tcase_add_test(t, the_watchdog_beats_at_half_the_patience);
    tcase_add_test(t, a_stuck_worker_is_not_alive);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
