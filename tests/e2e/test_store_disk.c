/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon writes, and how it starts while its disk is full: files may not grow. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"

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
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int bad = srunner_ntests_failed(r);
    srunner_free(r);
    return bad == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
