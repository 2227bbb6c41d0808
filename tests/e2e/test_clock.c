/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock on the wall is wrong, and set: by ten years forth and back, as on a machine without a
 * battery for it. Nothing that the gateway does may depend on it. The daemon runs with a shim
 * (tests/shim/wall_clock.c; SENNET_WALL_CLOCK names it) through which the tests set its clock.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

enum { ROOM = 64, STEP_MS = 50, TEST_TIMEOUT_S = 60 };

static const int64_t ten_years_s = INT64_C(315360000);

static struct broker broker;
static struct daemon gateway;
static char clock_path[128];
static unsigned jumps;

/* ---- the clock --------------------------------------------------------------------------------- */

static void clock_wrong_by(int64_t seconds)
{
    const int fd = open(clock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, &seconds, sizeof seconds, 0), sizeof seconds);
    close(fd);
}

/* Ten years ahead, ten years behind, right, and so on. */
static void jump(void)
{
    static const int way[] = {1, -1, 0, -1, 1, 0};
    clock_wrong_by(way[jumps++ % (sizeof way / sizeof way[0])] * ten_years_s);
}

/* The clock jumps all the time. */
static void pass(int ms)
{
    for (const int64_t until_ms = test_now_ms() + ms; test_now_ms() < until_ms;) {
        jump();
        poll(NULL, 0, STEP_MS);
    }
}

/* ---- the daemon -------------------------------------------------------------------------------- */

static void with_shim(void (*start)(const char *more), const char *more)
{
    const char *shim = getenv("SENNET_WALL_CLOCK");
    ck_assert_msg(shim != NULL, "set SENNET_WALL_CLOCK to the shim");
    setenv("SENNET_CLOCK", clock_path, 1);
    setenv("LD_PRELOAD", shim, 1);
    start(more);
    unsetenv("LD_PRELOAD");
}

static void start(const char *more)
{
    daemon_start(&gateway, broker.port, more);
}

static void start_again(const char *more)
{
    (void)more;
    daemon_again(&gateway);
}

static void start_both(const char *more)
{
    broker_start(&broker, NULL);
    snprintf(clock_path, sizeof clock_path, "%s/clock", broker.directory);
    clock_wrong_by(0);
    with_shim(start, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
}

static void stop_both(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    broker_stop(&broker);
}

static void crash(void)
{
    daemon_crash(&gateway);
    jump();
    with_shim(start_again, NULL);
}

/* User and system time. */
static int64_t cpu_ms(void)
{
    char path[ROOM];
    unsigned long user, kernel;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)gateway.pid);
    FILE *f = fopen(path, "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(
        fscanf(f, "%*d %*s %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel),
        2);
    fclose(f);
    return (int64_t)(user + kernel) * 1000 / sysconf(_SC_CLK_TCK);
}

/* ---- tests ------------------------------------------------------------------------------------- */

START_TEST(the_log_follows_the_clock_on_the_wall)
{
    start_both("");
    clock_wrong_by(ten_years_s);
    poll(NULL, 0, STEP_MS);
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    char year[ROOM];
    const time_t then = time(NULL) + ten_years_s;
    strftime(year, sizeof year, "\n%Y-", gmtime(&then));
    daemon_wait_log(&gateway, year, 5000); /* so the shim works, and the tests below can fail */
    node_close(&n);
    stop_both();
}

END_TEST

/* With 2 s of keep alive it would be lost after 3 s. */
START_TEST(a_node_that_talks_stays_and_one_that_does_not_is_lost_in_time)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node talks, silent;
    node_open(&talks, gateway.port);
    node_open(&silent, gateway.port);
    node_say(&talks, "09 04 00 01 00 02 74 61 6C");
    node_expect(&talks, "03 05 00");
    node_say(&silent, "09 04 0C 01 00 02 64 65 76");
    node_expect(&silent, "02 06");
    node_say(&silent, "06 07 20 77 2F 31");
    node_expect(&silent, "02 08");
    node_say(&silent, "03 09 21");
    node_expect(&silent, "03 05 00");
    const int64_t begun_ms = test_now_ms();
    int64_t lost_ms = 0;
    while (test_now_ms() - begun_ms < 6000) {
        node_say(&talks, "02 16");
        node_expect(&talks, "02 17");
        pass(200);
        if (lost_ms == 0 && observer_count(o, "w/1") > 0)
            lost_ms = test_now_ms() - begun_ms;
    }
    ck_assert_msg(lost_ms >= 2000 && lost_ms <= 5000, "lost after %d ms", (int)lost_ms);
    observer_expect(o, "w/1", "!", 1);
    observer_stop(o);
    node_close(&talks);
    node_close(&silent);
    stop_both();
}

END_TEST

/* Subscribed to "c/1", and asleep for a minute. */
static void fall_asleep(struct node *n)
{
    node_open(n, gateway.port);
    node_connect_with(n, 0x00);
    node_subscribe(n, 1);
    node_say(n, "04 18 00 3C");
    node_expect(n, "02 18");
}

/* Wakes up and takes one message, "m". */
static void wake_up(struct node *n)
{
    char hex[ROOM] = "", ack[ROOM];
    node_say(n, "05 16 64 65 76");
    for (bool seen = false; !seen;) {
        ck_assert_msg(node_hear(n, hex, sizeof hex, 5000), "no message:\n%s",
                      daemon_log_end(&gateway));
        seen = strncmp(hex + 3, "0C", 2) == 0;
        if (strncmp(hex, "09 0A 00 01", 11) == 0) { /* REGISTER */
            snprintf(ack, sizeof ack, "07 0B 00 01 %.5s 00", hex + 12);
            node_say(n, ack);
        }
    }
    ck_assert_str_eq(hex + 21, "6D");
    snprintf(ack, sizeof ack, "07 0D 00 01 %.5s 00", hex + 15);
    node_say(n, ack);
    node_expect(n, "02 17");
}

START_TEST(a_sleeper_gets_its_buffer_also_from_the_next_process)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    fall_asleep(&n);
    observer_publish(o, "c/1", "m", 1, false);
    pass(1000);
    wake_up(&n);
    observer_publish(o, "c/1", "m", 1, false);
    pass(500);
    for (int i = 0; i < 3; i++) {
        crash();
        pass(200);
    }
    wake_up(&n);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

/* The broker is away and comes back; "old" is older than spool_age then, the rest is not. */
static void outage_of_ages(bool crashes)
{
    start_both("[store]\nspool_age = 4s\n");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    node_publish(&n, 0x20, 2, 'o');
    node_expect_puback(&n, 2);
    pass(3000);
    node_publish(&n, 0x20, 3, 'a');
    node_expect_puback(&n, 3);
    if (crashes)
        crash();
    pass(500);
    node_publish(&n, 0x20, 4, 'b');
    node_expect_puback(&n, 4);
    pass(1500);
    jump();
    kill(gateway.pid, SIGSTOP);
    broker_start_again(&broker);
    struct observer *o = observer_start(broker.port, "#");
    kill(gateway.pid, SIGCONT);
    observer_expect(o, "t/a", "a", 1);
    observer_expect(o, "t/a", "b", 1);
    node_publish(&n, 0x20, 5, 'c');
    node_expect_puback(&n, 5);
    observer_expect(o, "t/a", "c", 1);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

START_TEST(messages_of_an_outage_age_in_their_own_time)
{
    outage_of_ages(false);
}

END_TEST

START_TEST(messages_of_an_outage_age_in_their_own_time_over_a_restart)
{
    outage_of_ages(true);
}

END_TEST

/* Wrong either way, and all the time: nothing is repeated faster, nothing is waited for in a loop. */
START_TEST(a_wrong_clock_costs_nothing)
{
    static const int signs[] = {1, -1};
    start_both("");
    for (unsigned i = 0; i < 2; i++) {
        clock_wrong_by(signs[i] * ten_years_s);
        int64_t before_ms = cpu_ms();
        poll(NULL, 0, 3000);
        int64_t used_ms = cpu_ms() - before_ms;
        ck_assert_msg(used_ms < 600, "connected: %d ms of CPU in 3 s", (int)used_ms);
        broker_pause(&broker); /* connections that are accepted and not answered */
        daemon_wait_log(&gateway, "broker.lost", 15000);
        before_ms = cpu_ms();
        poll(NULL, 0, 3000);
        used_ms = cpu_ms() - before_ms;
        ck_assert_msg(used_ms < 600, "not connected: %d ms of CPU in 3 s", (int)used_ms);
        broker_resume(&broker);
        gateway.log_len = 0;
        daemon_wait_log(&gateway, "broker.connected", 20000);
        gateway.log_len = 0;
    }
    stop_both();
}

END_TEST

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, NULL, NULL};

int main(void)
{
    Suite *s = suite_create("clock");
    ADD(s, the_log_follows_the_clock_on_the_wall);
    ADD(s, a_node_that_talks_stays_and_one_that_does_not_is_lost_in_time);
    ADD(s, a_sleeper_gets_its_buffer_also_from_the_next_process);
    ADD(s, messages_of_an_outage_age_in_their_own_time);
    ADD(s, messages_of_an_outage_age_in_their_own_time_over_a_restart);
    ADD(s, a_wrong_clock_costs_nothing);
    return run_suite(s);
}
