/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real daemon with a stick that comes and goes: a plain line on a pty, behind a symbolic link as
 * /dev/serial/by-id has them. With the shim of tests/shim preloaded it is opened by libserialport.
 *
 * SENNET_REPLUGS=1000 for the long run; 20 without it.
 */
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

enum { PATIENCE_MS = 10000, REPLUGS = 20, REOPENED_MS = 2000 };

static struct broker broker;
static struct daemon gateway;
static struct observer *observer;
static char by_id[64];
static int master = -1, slave = -1;

/* ---- the stick ------------------------------------------------------------------------------- */

static void open_pty(int *m, int *s, char *name)
{
    struct termios t;
    ck_assert_int_eq(openpty(m, s, name, NULL, NULL), 0);
    tcgetattr(*s, &t);
    cfmakeraw(&t);
    tcsetattr(*s, TCSANOW, &t);
}

static void plug(void)
{
    char name[64];
    open_pty(&master, &slave, name);
    unlink(by_id);
    ck_assert_int_eq(symlink(name, by_id), 0);
}

/* The link goes first: a name that leads nowhere would soon lead to the next pty that anybody opens. */
static void unplug(void)
{
    unlink(by_id);
    close(slave);
    close(master);
    master = slave = -1;
}

/* ---- the node at its other end --------------------------------------------------------------- */

static void say(const void *octets, size_t len)
{
    ck_assert_int_eq(write(master, octets, len), (ssize_t)len);
}

static const char *latest_log(void)
{
    enum { ENOUGH = 4000 };

    daemon_has_logged(&gateway, "");
    return gateway.log + (gateway.log_len > ENOUGH ? gateway.log_len - ENOUGH : 0);
}

/* Waits for these octets and no others. */
static void expect(const void *octets, size_t len, int timeout_ms)
{
    char got[64];
    size_t n = 0;
    while (n < len) {
        struct pollfd p = {.fd = master, .events = POLLIN};
        ck_assert_msg(poll(&p, 1, timeout_ms) == 1, "nothing comes:\n%s", latest_log());
        const ssize_t more = read(master, got + n, sizeof got - n);
        n += more > 0 ? (size_t)more : 0;
    }
    if (n != len || memcmp(got, octets, len) != 0) {
        char hex[3 * sizeof got + 1] = "";
        for (size_t i = 0; i < n; i++)
            snprintf(hex + 3 * i, 4, "%02x ", (unsigned char)got[i]);
        ck_abort_msg("the node heard %s\n%s", hex, latest_log());
    }
}

static void node_connects(void)
{
    say("\x0A\x04\x04\x01\x00\x3C"
        "dev1",
        10);
    expect("\x03\x05\x00", 3, PATIENCE_MS);
}

/* QoS 1 to the short topic "ab", and its PUBACK. */
static void node_publishes(unsigned number, int timeout_ms)
{
    const char publish[] = {9, 0x0C, 0x22, 'a', 'b', (char)(number >> 8), (char)number, 'o', 'n'};
    const char puback[] = {7, 0x0D, 'a', 'b', (char)(number >> 8), (char)number, 0};
    say(publish, sizeof publish);
    expect(puback, sizeof puback, timeout_ms);
}

/* ---- the daemon ------------------------------------------------------------------------------ */

static void start(void)
{
    char more[256];
    snprintf(by_id, sizeof by_id, "/tmp/sennet-by-id-%d", (int)getpid());
    unlink(by_id);
    snprintf(more, sizeof more,
             "[link stick]\ndriver = serial\nframing = raw\nadvertise = 0\ndevice = %s\n", by_id);
    broker_start(&broker, NULL);
    observer = observer_start(broker.port, "#");
    daemon_start(&gateway, broker.port, more);
}

static void stop(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    observer_stop(observer);
    broker_stop(&broker);
    if (master >= 0)
        unplug();
}

START_TEST(a_stick_that_is_missing_at_the_start_is_waited_for)
{
    start();
    daemon_wait_log(&gateway, "is not there", PATIENCE_MS);
    plug();
    daemon_wait_log(&gateway, "link.up link=stick", PATIENCE_MS);
    const bool preloaded = getenv("LD_PRELOAD") != NULL;
    ck_assert_msg(daemon_has_logged(&gateway, preloaded ? "(serial, " : "(tty, "), "%s",
                  gateway.log);
    node_connects();
    node_publishes(1, PATIENCE_MS);
    observer_expect(observer, "ab", "on", 1);
    kill(gateway.pid, SIGUSR1);
    daemon_wait_log(&gateway, "state=running", PATIENCE_MS);
    daemon_wait_log(&gateway, "stats.stick_state link=stick where=", PATIENCE_MS);
    daemon_wait_log(&gateway, "stats.node link=stick ", PATIENCE_MS);
    daemon_wait_log(&gateway, "node=serial", PATIENCE_MS);
    stop();
}

END_TEST

START_TEST(sessions_survive_a_stick_that_is_pulled_out_again_and_again)
{
    const char *wanted = getenv("SENNET_REPLUGS");
    const unsigned times = wanted != NULL ? (unsigned)strtoul(wanted, NULL, 10) : REPLUGS;
    int64_t slowest_ms = 0;
    start();
    plug();
    daemon_wait_log(&gateway, "link.up link=stick", PATIENCE_MS);
    node_connects();
    const unsigned before = daemon_descriptors(&gateway);
    for (unsigned i = 1; i <= times; i++) {
        int decoy[2] = {-1, -1};
        char name[64];
        unplug();
        if (i % 2 == 0)
            open_pty(&decoy[0], &decoy[1], name); /* takes the name that the stick had */
        if (i % 5 == 0)
            poll(NULL, 0, 800 + 37 * (int)i % 1000); /* past the first, quick attempts */
        plug();
        const int64_t back_ms = test_now_ms();
        node_publishes(i, REOPENED_MS); /* no CONNECT: the session is as it was */
        const int64_t took_ms = test_now_ms() - back_ms;
        slowest_ms = took_ms > slowest_ms ? took_ms : slowest_ms;
        observer_expect(observer, "ab", "on", 1);
        if (decoy[0] >= 0) {
            close(decoy[0]);
            close(decoy[1]);
        }
    }
    printf("%u replugs, the slowest took %d ms\n", times, (int)slowest_ms);
    ck_assert_int_lt(slowest_ms, REOPENED_MS);
    ck_assert_uint_eq(daemon_descriptors(&gateway), before);
    ck_assert_msg(!daemon_has_logged(&gateway, "new=lost"), "%s", gateway.log);
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("replug");
    TCase *t = tcase_create("sticks");
    tcase_set_timeout(t, 3600);
    tcase_add_test(t, a_stick_that_is_missing_at_the_start_is_waited_for);
    tcase_add_test(t, sessions_survive_a_stick_that_is_pulled_out_again_and_again);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
