/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits of what leaves for the broker, as an operator sets them. Nodes must not notice. The daemon's
 * clock on the wall can be set (tests/shim/wall_clock.c; SENNET_WALL_CLOCK names it).
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

enum { ROOM = 256, DAY = 24 * 60, HOUR = 60, TEST_TIMEOUT_S = 60, LETTERS = 26 };

static struct broker broker;
static struct daemon gateway;
static struct observer *observer;
static struct node node;

/* ---- the stage --------------------------------------------------------------------------------- */

static void start(const char *more)
{
    broker_start(&broker, NULL);
    observer = observer_start(broker.port, "#");
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    node_open(&node, gateway.port);
    node_connect(&node, "dev");
    node_register(&node, "t/a");
}

static void stop(void)
{
    node_close(&node);
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    observer_stop(observer);
    broker_stop(&broker);
}

/* Message number `i`, from 0: two letters. */
static void name_of(unsigned i, char name[3])
{
    name[0] = (char)('A' + i / LETTERS);
    name[1] = (char)('a' + i % LETTERS);
    name[2] = '\0';
}

static void say(unsigned flags, unsigned i)
{
    char name[3];
    char packet[ROOM];
    name_of(i, name);
    snprintf(packet, sizeof packet, "09 0C %02X 00 01 %02X %02X %02X %02X", flags, (i + 1) >> 8,
             (i + 1) & 0xFF, (unsigned)name[0], (unsigned)name[1]);
    node_say(&node, packet);
}

static void publish(unsigned i)
{
    say(0x20, i);
    node_expect_puback(&node, i + 1);
}

static void expect(unsigned i)
{
    char name[3];
    name_of(i, name);
    observer_expect(observer, "t/a", name, 1);
}

/* Quiet from an hour ago until in an hour, or the other way round. */
static void write_hours(bool now, char *out, size_t size)
{
    const time_t t = time(NULL);
    struct tm local;
    localtime_r(&t, &local);
    const int minute = local.tm_hour * 60 + local.tm_min;
    const int from = (minute + (now ? DAY - HOUR : HOUR)) % DAY;
    const int to = (from + 2 * HOUR) % DAY;
    snprintf(out, size, "quiet = %02d:%02d-%02d:%02d", from / 60, from % 60, to / 60, to % 60);
}

static void start_quiet(const char *more)
{
    char hours[ROOM / 4];
    char text[ROOM];
    write_hours(true, hours, sizeof hours);
    snprintf(text, sizeof text, "[broker]\n%s\n%s", hours, more);
    start(text);
}

static void change_hours(void)
{
    char hours[ROOM / 4];
    char command[ROOM];
    write_hours(false, hours, sizeof hours);
    snprintf(command, sizeof command, "sed -i 's/^quiet = .*/%s/' %s/gateway.conf", hours,
             gateway.directory);
    ck_assert_int_eq(system(command), 0);
}

/* ---- tests ------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

START_TEST(a_burst_arrives_at_the_rate_in_order_and_its_node_does_not_wait)
{
    enum { N = 500, RATE = 50 };

    int64_t waits[N];
    start("[broker]\nrate_messages = 50\n");
    const int64_t begin_ms = test_now_ms();
    for (unsigned i = 0; i < N; i++) {
        const int64_t said_ms = test_now_ms();
        publish(i);
        waits[i] = test_now_ms() - said_ms;
    }
    const int64_t taken_ms = test_now_ms() - begin_ms;
    for (unsigned i = 0; i < N; i++)
        expect(i);
    const int64_t arrived_ms = test_now_ms() - begin_ms;
    qsort(waits, N, sizeof waits[0], by_size);
    printf("%d messages taken in %lld ms (p99 %lld ms), arrived in %lld ms\n", N,
           (long long)taken_ms, (long long)waits[N * 99 / 100], (long long)arrived_ms);
    ck_assert_int_ge(arrived_ms, (N - RATE) * 1000 / RATE - 100);
    ck_assert_int_le(arrived_ms, N * 1000 / RATE + 3000);
    ck_assert_int_lt(waits[N * 99 / 100], 250);
    observer_quiet(observer, 300);
    stop();
}

END_TEST

START_TEST(messages_are_collected_and_come_together)
{
    enum { N = 20 };

    start("[broker]\ncollect = 5s\n");
    publish(0);
    expect(0);
    const int64_t window_ms = test_now_ms();
    poll(NULL, 0, 200); /* it has closed */
    say(0x00, N);       /* QoS 0: dropped, and nothing is said */
    for (unsigned i = 1; i < N; i++)
        publish(i);
    observer_quiet(observer, 3000);
    for (unsigned i = 1; i < N; i++)
        expect(i);
    const int64_t next_ms = test_now_ms() - window_ms;
    ck_assert_int_ge(next_ms, 4500);
    ck_assert_int_le(next_ms, 7000);
    kill(gateway.pid, SIGUSR1);
    daemon_wait_log(&gateway, "paced_drops=1", 5000);
    stop();
}

END_TEST

static void expect_quiet(const char *more)
{
    start_quiet(more);
    publish(0);
    say(0x40, 1);
    node_expect(&node, "04 0F 00 02"); /* PUBREC */
    node_say(&node, "04 10 00 02");
    node_expect(&node, "04 0E 00 02");
    publish(2);
    observer_quiet(observer, 1500);
    daemon_crash(&gateway);
    change_hours();
    daemon_again(&gateway);
    expect(0);
    char name[3];
    name_of(1, name);
    observer_expect(observer, "t/a", name, 2);
    expect(2);
    stop();
}

START_TEST(in_quiet_hours_all_is_taken_and_sent_after_them)
{
    expect_quiet("");
}

END_TEST

START_TEST(sessions_of_a_nodes_own_have_quiet_hours_too)
{
    expect_quiet("sessions = own\n");
}

END_TEST

static void set_clock(const char *path, int64_t wrong_by_s)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, &wrong_by_s, sizeof wrong_by_s, 0), sizeof wrong_by_s);
    close(fd);
}

START_TEST(quiet_hours_follow_a_clock_that_is_set)
{
    char path[] = "/tmp/sennet-clock-XXXXXX";
    const int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
    set_clock(path, 0);
    const char *shim = getenv("SENNET_WALL_CLOCK");
    ck_assert_msg(shim != NULL, "set SENNET_WALL_CLOCK to the shim");
    setenv("SENNET_CLOCK", path, 1);
    char hours[ROOM / 4];
    char text[ROOM];
    write_hours(false, hours, sizeof hours);
    snprintf(text, sizeof text, "[broker]\n%s\n", hours);
    broker_start(&broker, NULL);
    observer = observer_start(broker.port, "#");
    setenv("LD_PRELOAD", shim, 1);
    daemon_start(&gateway, broker.port, text);
    unsetenv("LD_PRELOAD");
    daemon_wait_log(&gateway, "broker.connected", 10000);
    node_open(&node, gateway.port);
    node_connect(&node, "dev");
    node_register(&node, "t/a");
    publish(0);
    expect(0);
    ck_assert(!daemon_has_logged(&gateway, "spool.quiet_began"));
    set_clock(path, 2 * HOUR * 60);
    publish(1);
    daemon_wait_log(&gateway, "spool.quiet_began", 5000);
    publish(2);
    observer_quiet(observer, 1000);
    set_clock(path, -2 * HOUR * 60);
    publish(3);
    daemon_wait_log(&gateway, "spool.quiet_ended", 5000);
    stop();
    unlink(path);
}

END_TEST

START_TEST(without_a_store_nodes_hear_congestion_beyond_the_rate)
{
    start("[broker]\nrate_messages = 3\n[store]\ndurability = off\n");
    unsigned accepted = 0;
    for (unsigned i = 0; i < 6; i++) {
        char heard[ROOM];
        say(0x20, i);
        ck_assert_msg(node_hear(&node, heard, sizeof heard, 5000), "no answer to message %u", i);
        const bool ok = strcmp(heard + strlen(heard) - 2, "00") == 0;
        ck_assert_str_eq(heard + strlen(heard) - 2, ok ? "00" : "01");
        if (ok)
            expect(i);
        accepted += ok;
    }
    ck_assert_uint_ge(accepted, 3);
    ck_assert_uint_lt(accepted, 6);
    poll(NULL, 0, 1100); /* in a second there is room for three more */
    publish(6);
    expect(6);
    stop();
}

END_TEST

/* A node that connects anew for each batch of measurements, before and behind a crash of the gateway. */
START_TEST(messages_of_a_node_keep_their_order_over_its_sessions)
{
    enum { SESSIONS = 4, EACH = 3 };

    start(_i == 0 ? "[broker]\ncollect = 7s\n" : "[broker]\ncollect = 7s\nsessions = own\n");
    struct node
        other; /* who has the gateway give other keys to sessions behind the crash than before it */
    node_open(&other, gateway.port);
    node_connect(&other, "other");
    for (unsigned i = 0; i < SESSIONS * EACH; i++) {
        if (i > 0 && i % EACH == 0) {
            node_say(&node, "02 18");
            node_expect(&node, "02 18");
            node_connect_patiently(&node, "dev", 5000);
            node_register(&node, "t/a");
        }
        publish(i);
        if (i + 1 == SESSIONS * EACH / 2) {
            daemon_crash(&gateway);
            daemon_again(&gateway);
        }
    }
    for (unsigned i = 0; i < SESSIONS * EACH; i++)
        expect(i);
    node_close(&other);
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("meter");
    TCase *meter = tcase_create("meter");
    tcase_set_timeout(meter, TEST_TIMEOUT_S);
    tcase_add_test(meter, a_burst_arrives_at_the_rate_in_order_and_its_node_does_not_wait);
    tcase_add_test(meter, messages_are_collected_and_come_together);
    tcase_add_loop_test(meter, messages_of_a_node_keep_their_order_over_its_sessions, 0, 2);
    tcase_add_test(meter, in_quiet_hours_all_is_taken_and_sent_after_them);
    tcase_add_test(meter, sessions_of_a_nodes_own_have_quiet_hours_too);
    tcase_add_test(meter, quiet_hours_follow_a_clock_that_is_set);
    tcase_add_test(meter, without_a_store_nodes_hear_congestion_beyond_the_rate);
    suite_add_tcase(suite, meter);
    return run_suite(suite);
}
