/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon writes, and how it starts while its disk is full (files may not grow), or slow. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "base/bytes.h"

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

enum { FULL = 4096 };

static struct broker broker;
static struct daemon gateway;

static void limit_files(pid_t pid, rlim_t octets)
{
    const struct rlimit limit = {.rlim_cur = octets, .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(prlimit(pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

static void expect_alive(struct node *n)
{
    node_say(n, "02 16");
    node_expect(n, "02 17");
}

static void stop_both(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    broker_stop(&broker);
}

/* Octets that the gateway has written meanwhile. */
static uint64_t publish_and_ping(struct node *n, unsigned times)
{
    const uint64_t before = daemon_written(&gateway);
    for (unsigned i = 0; i < times; i++) {
        node_publish(n, 0x20, 10 + i, 'x');
        node_expect_puback(n, 10 + i);
        node_publish(n, 0x00, 0, 'y');
        node_say(n, "02 16");
        node_expect(n, "02 17");
    }
    return daemon_written(&gateway) - before;
}

START_TEST(nothing_is_written_while_nodes_publish_and_the_broker_is_there)
{
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, "");
    daemon_wait_log(&gateway, "broker.connected", 10000);
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    node_publish(&n, 0x20, 2, 'x');
    node_expect_puback(&n, 2);
    poll(NULL, 0, 500); /* what connecting has caused */
    /* Where the machine stands still the broker does not answer in time, which is stored. */
    uint64_t written = 1;
    for (unsigned tries = 0; tries < 5 && written > 0; tries++)
        written = publish_and_ping(&n, 200);
    ck_assert_uint_eq(written, 0);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(a_first_start_on_a_full_disk_serves_nodes_and_stores_them_when_there_is_room)
{
    struct node n;
    broker_start(&broker, NULL);
    limit_files(0, FULL);
    daemon_start(&gateway, broker.port, "");
    limit_files(0, RLIM_INFINITY);
    daemon_wait_log(&gateway, "store.failing", 10000);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    limit_files(gateway.pid, RLIM_INFINITY);
    daemon_wait_log(&gateway, "store.recovered", 20000);
    ck_assert(!daemon_has_logged(&gateway, "unread-1"));
    daemon_crash(&gateway);
    daemon_again(&gateway);
    expect_alive(&n);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(a_start_on_a_full_disk_knows_what_is_stored)
{
    struct node n, other;
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, "");
    struct observer *o = observer_start(broker.port, "#");
    node_open(&n, gateway.port);
    node_open(&other, gateway.port);
    node_connect(&n, "dev");
    node_say(&n, "09 0A 00 00 00 01 74 2F 61"); /* REGISTER t/a */
    node_expect(&n, "07 0B 00 01 00 01 00");
    daemon_crash(&gateway);
    limit_files(0, FULL);
    daemon_again(&gateway);
    limit_files(0, RLIM_INFINITY);
    daemon_wait_log(&gateway, "store.failing", 10000);
    ck_assert(daemon_has_logged(&gateway, "what is stored could be read"));
    daemon_wait_log(&gateway, "broker.connected", 10000);
    node_say(&n, "08 0C 20 00 01 00 02 78");
    node_expect(&n, "07 0D 00 01 00 02 00");
    observer_expect(o, "t/a", "x", 1);
    node_connect(&other, "oth");
    limit_files(gateway.pid, RLIM_INFINITY);
    daemon_wait_log(&gateway, "store.recovered", 20000);
    ck_assert(!daemon_has_logged(&gateway, "unread-1"));
    daemon_crash(&gateway);
    daemon_again(&gateway);
    expect_alive(&n);
    expect_alive(&other);
    observer_stop(o);
    node_close(&n);
    node_close(&other);
    stop_both();
}

END_TEST

/* PUBLISH of QoS 1 to topic id 0001 with a kibibyte. */
static void publish_much(struct node *n, unsigned msg_id)
{
    uint8_t packet[9 + 1024];
    struct writer w = wr_to(packet, sizeof packet);
    wr_u8(&w, 0x01);
    wr_u16(&w, sizeof packet);
    wr_u8(&w, 0x0C);
    wr_u8(&w, 0x20);
    wr_u16(&w, 1);
    wr_u16(&w, (uint16_t)msg_id);
    ck_assert_uint_eq(wr_close(&w), 9);
    memset(packet + 9, 'x', sizeof packet - 9);
    ck_assert_int_eq(send(n->fd, packet, sizeof packet, 0), (ssize_t)sizeof packet);
}

/* Is it accepted? If it is not, the node is told "congestion". */
static bool publish_is_accepted(struct node *n, unsigned msg_id)
{
    char hex[64];
    char ack[64];
    publish_much(n, msg_id);
    ck_assert_msg(node_hear(n, hex, sizeof hex, 5000), "no PUBACK:\n%s", daemon_log_end(&gateway));
    snprintf(ack, sizeof ack, "07 0D 00 01 %02X %02X ", msg_id >> 8, msg_id & 0xFF);
    ck_assert_msg(strncmp(hex, ack, strlen(ack)) == 0, "%s", hex);
    const char *const code = hex + strlen(ack);
    ck_assert_msg(strcmp(code, "00") == 0 || strcmp(code, "01") == 0, "%s", hex);
    return strcmp(code, "00") == 0;
}

/* The broker goes away from a node that has registered its topic. */
static void begin_outage(struct node *n, const char *more)
{
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    node_open(n, gateway.port);
    node_connect(n, "dev");
    node_register(n, "t/a");
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
}

/* How many were accepted before. */
static unsigned publish_until_refused(struct node *n)
{
    unsigned accepted = 0;
    while (publish_is_accepted(n, 2 + accepted))
        accepted++;
    return accepted;
}

START_TEST(a_store_that_is_as_large_as_it_may_be_says_so_and_goes_on_when_there_is_room)
{
    struct node n;
    begin_outage(&n, "[store]\nmax_size = 4MiB\n");
    const unsigned n_stored = publish_until_refused(&n);
    ck_assert_uint_gt(n_stored, 1000);
    daemon_wait_log(&gateway, "store.no_room why=\"nine tenths of max_size", 5000);
    daemon_wait_log(&gateway, "spool.refused messages=1 why=store_not_usable", 5000);
    kill(gateway.pid, SIGUSR1);
    daemon_wait_log(&gateway, " refused_unusable=1", 5000);
    broker_start_again(&broker);
    daemon_wait_log(&gateway, "spool.draining", 20000);
    const int64_t end_ms = test_now_ms() + 20000;
    while (!publish_is_accepted(&n, 1)) {
        ck_assert_msg(test_now_ms() < end_ms, "no room:\n%s", daemon_log_end(&gateway));
        poll(NULL, 0, 100);
    }
    node_close(&n);
    stop_both();
}

END_TEST

/* The message that was refused last may be there, too. */
START_TEST(what_was_acknowledged_when_the_disk_became_full_survives_a_kill)
{
    static const char restored[] = " waiting_for_broker=";
    struct node n;
    begin_outage(&n, "[store]\ndurability = power\n");
    limit_files(gateway.pid, 400 << 10);
    const unsigned n_stored = publish_until_refused(&n);
    ck_assert_uint_gt(n_stored, 10);
    daemon_wait_log(&gateway, "store.failing", 5000);
    daemon_crash(&gateway);
    daemon_again(&gateway);
    daemon_wait_log(&gateway, restored, 5000);
    const char *number = strstr(gateway.log, restored) + strlen(restored);
    ck_assert_uint_ge(strtoul(number, NULL, 10), n_stored);
    ck_assert_uint_le(strtoul(number, NULL, 10), n_stored + 1);
    broker_start_again(&broker);
    node_close(&n);
    stop_both();
}

END_TEST

/* ---- gone, or not wanted ----------------------------------------------------------------------- */

static const char *state_file(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/state/%s", gateway.directory, name);
    return path;
}

/* It is written when the broker has been told everything. */
static void wait_for_configuration(void)
{
    const int64_t end_ms = test_now_ms() + 10000;
    while (access(state_file("effective.conf"), F_OK) != 0) {
        ck_assert_msg(test_now_ms() < end_ms, "%s", daemon_log_end(&gateway));
        poll(NULL, 0, 10);
    }
}

START_TEST(a_database_that_was_removed_or_emptied_is_missed)
{
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, _i == 0 ? "" : "[store]\ndurability = power\n");
    daemon_wait_log(&gateway, "broker.connected", 10000);
    ck_assert(!daemon_has_logged(&gateway, "store.begun_anew"));
    wait_for_configuration();
    daemon_crash(&gateway);
    if (_i == 0)
        ck_assert_int_eq(unlink(state_file("sennet.db")), 0);
    else
        ck_assert_int_eq(truncate(state_file("sennet.db"), 0), 0);
    unlink(state_file("sennet.db-wal"));
    daemon_again(&gateway);
    ck_assert(daemon_has_logged(&gateway, "store.begun_anew"));
    daemon_crash(&gateway);
    daemon_again(&gateway);
    ck_assert(!daemon_has_logged(&gateway, "store.begun_anew"));
    stop_both();
}

END_TEST

START_TEST(a_store_that_is_turned_off_is_said_and_comes_back)
{
    struct node n;
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, "");
    daemon_wait_log(&gateway, "broker.connected", 10000);
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    node_say(&n, "08 0C 22 74 31 00 02 78"); /* to t1 */
    node_expect(&n, "07 0D 74 31 00 02 00");
    daemon_crash(&gateway);
    daemon_configure(&gateway, broker.port, DAEMON_RETRIES, "[store]\ndurability = off\n");
    daemon_again(&gateway);
    ck_assert(daemon_has_logged(&gateway, "store.unused"));
    daemon_crash(&gateway);
    daemon_configure(&gateway, broker.port, DAEMON_RETRIES, "");
    daemon_again(&gateway);
    ck_assert(daemon_has_logged(&gateway, "waiting_for_broker=1"));
    ck_assert(!daemon_has_logged(&gateway, "store.unused"));
    broker_start_again(&broker);
    node_close(&n);
    stop_both();
}

END_TEST

/* ---- slow -------------------------------------------------------------------------------------- */

static char disk_path[] = "/tmp/sennet-disk-XXXXXX";

/* As tests/shim/slow_disk.c reads it. */
static void disk_is(const char *text)
{
    FILE *f = fopen(disk_path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void start_on_slow_disk(void)
{
    const char *shim = getenv("SENNET_SLOW_DISK");
    ck_assert_msg(shim != NULL, "set SENNET_SLOW_DISK to the shim");
    setenv("SENNET_DISK", disk_path, 1);
    setenv("LD_PRELOAD", shim, 1);
    daemon_start(&gateway, broker.port, "");
    unsetenv("LD_PRELOAD");
}

static void make_disk(void)
{
    const int fd = mkstemp(disk_path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void remove_disk(void)
{
    unlink(disk_path);
}

START_TEST(a_start_that_waits_for_the_disk_says_for_which_step)
{
    broker_start(&broker, NULL);
    disk_is("2100 1");
    start_on_slow_disk();
    ck_assert(daemon_has_logged(&gateway, "gateway.slow_start step=open_store took_ms=2"));
    ck_assert(!daemon_has_logged(&gateway, "step=load_store took_ms"));
    stop_both();
}

END_TEST

int main(void)
{
    Suite *s = suite_create("store: disk");
    TCase *steady = tcase_create("steady");
    tcase_set_timeout(steady, 60);
    tcase_add_test(steady, nothing_is_written_while_nodes_publish_and_the_broker_is_there);
    suite_add_tcase(s, steady);
    TCase *t = tcase_create("start");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_first_start_on_a_full_disk_serves_nodes_and_stores_them_when_there_is_room);
    tcase_add_test(t, a_start_on_a_full_disk_knows_what_is_stored);
    tcase_add_test(t, what_was_acknowledged_when_the_disk_became_full_survives_a_kill);
    tcase_add_test(t, a_store_that_is_as_large_as_it_may_be_says_so_and_goes_on_when_there_is_room);
    suite_add_tcase(s, t);
    TCase *gone = tcase_create("gone");
    tcase_set_timeout(gone, 60);
    tcase_add_test(gone, a_store_that_is_turned_off_is_said_and_comes_back);
    tcase_add_loop_test(gone, a_database_that_was_removed_or_emptied_is_missed, 0, 2);
    suite_add_tcase(s, gone);
    TCase *slow = tcase_create("slow");
    tcase_set_timeout(slow, 60);
    tcase_add_checked_fixture(slow, make_disk, remove_disk);
    tcase_add_test(slow, a_start_that_waits_for_the_disk_says_for_which_step);
    suite_add_tcase(s, slow);
    return run_suite(s);
}
