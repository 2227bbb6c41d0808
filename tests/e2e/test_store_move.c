/* SPDX-License-Identifier: Apache-2.0 */
/* A gateway moves: its state goes as a file from one directory to another, and its nodes, who reach
 * the new one at the old address, must not notice. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <check.h>

#include "base/error.h"

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

enum { PATH_ROOM = 160, SAID = 4096 };

static struct broker broker;
static struct daemon gateway;
static char said[SAID];

static const char *path_of(const char *name)
{
    static char paths[4][PATH_ROOM];
    static unsigned at;
    char *const out = paths[at++ % 4];
    snprintf(out, PATH_ROOM, "%s/%s", gateway.directory, name);
    return out;
}

/* sennetd with the configuration of the gateway, and one option of a file. */
static int run(const char *config, const char *option, const char *file)
{
    char name[] = "sennetd";
    char config_option[] = "-c";
    char arguments[3][PATH_ROOM];
    snprintf(arguments[0], PATH_ROOM, "%s", path_of(config));
    snprintf(arguments[1], PATH_ROOM, "%s", option);
    snprintf(arguments[2], PATH_ROOM, "%s", file);
    const int status =
        daemon_run((char *[]){name, config_option, arguments[0], arguments[1], arguments[2], NULL},
                   said, sizeof said);
    ck_assert_msg(strstr(said, "Sanitizer") == NULL, "%s", said);
    return status;
}

/* From here on the gateway's state_dir is "moved". */
static void change_directory(void)
{
    char command[2 * PATH_ROOM];
    snprintf(command, sizeof command, "sed -i 's,/state$,/moved,' %s", path_of("gateway.conf"));
    ck_assert_int_eq(system(command), 0);
}

static void start_both(const char *more)
{
    broker_start(&broker, NULL);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
}

static void stop_both(void)
{
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, gateway.log);
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", gateway.log);
    broker_stop(&broker);
}

/* Answers what comes before it: a REGISTER is repeated after any CONNECT. With DUP, as after any restart. */
static void expect_message(struct node *n, const char *payload)
{
    char hex[64];
    char ack[64];
    for (;;) {
        ck_assert_msg(node_hear(n, hex, sizeof hex, 5000), "no message:\n%s",
                      daemon_log_end(&gateway));
        if (strncmp(hex, "09 0A 00 01", 11) != 0)
            break;
        snprintf(ack, sizeof ack, "07 0B 00 01 %.5s 00", hex + 12);
        node_say(n, ack);
    }
    ck_assert_msg(strncmp(hex, "08 0C A0 00 01", 14) == 0, "%s", hex);
    ck_assert_str_eq(hex + 21, payload);
    snprintf(ack, sizeof ack, "07 0D 00 01 %.5s 00", hex + 15);
    node_say(n, ack);
}

START_TEST(nodes_do_not_notice_that_their_gateway_has_moved)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node active;
    struct node sleeper;
    struct node half_way;
    node_open(&active, gateway.port);
    node_connect(&active, "act");
    node_say(&active, "09 0A 00 00 00 01 74 2F 61"); /* REGISTER t/a */
    node_expect(&active, "07 0B 00 01 00 01 00");
    node_open(&sleeper, gateway.port);
    node_say(&sleeper, "09 04 00 01 00 3C 64 65 76");
    node_expect(&sleeper, "03 05 00");
    node_say(&sleeper, "08 12 20 00 05 63 2F 31"); /* SUBSCRIBE c/1 */
    node_expect(&sleeper, "08 13 20 00 01 00 05 00");
    node_say(&sleeper, "04 18 00 3C");
    node_expect(&sleeper, "02 18");
    observer_publish(o, "c/1", "a", 1, false);
    observer_expect(o, "c/1", "a", 1);
    node_open(&half_way, gateway.port);
    node_connect(&half_way, "hal");
    node_say(&half_way, "08 0C 42 74 31 00 09 78"); /* QoS 2 to t1 */
    node_expect(&half_way, "04 0F 00 09");
    observer_expect(o, "t1", "x", 2);
    poll(NULL, 0, 300); /* what is under way to the gateway */
    observer_stop(o);
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    node_say(&active, "08 0C 20 00 01 00 07 79");
    node_expect(&active, "07 0D 00 01 00 07 00"); /* it is in the spool */

    ck_assert_msg(run("gateway.conf", "--export-state", path_of("state.json")) == 0, "%s", said);
    ck_assert_msg(strstr(said, ": 3 sessions, ") != NULL, "%s", said);
    ck_assert_msg(strstr(said, " 1 spooled messages\n") != NULL, "%s", said);
    ck_assert_msg(!daemon_has_logged(&gateway, "store.failing"), "%s", gateway.log);
    daemon_crash(&gateway);
    change_directory();
    ck_assert_msg(run("gateway.conf", "--import-state", path_of("state.json")) == 0, "%s", said);
    broker_start_again(&broker);
    o = observer_start(broker.port, "#");
    daemon_again(&gateway);

    observer_expect(o, "t/a", "y", 1);
    node_say(&active, "08 0C 20 00 01 00 08 7A"); /* by the id that it has */
    node_expect(&active, "07 0D 00 01 00 08 00");
    observer_expect(o, "t/a", "z", 1);
    node_say(&half_way, "08 0C C2 74 31 00 09 78"); /* the PUBREC was lost: no second message */
    node_expect(&half_way, "04 0F 00 09");
    node_say(&half_way, "04 10 00 09");
    node_expect(&half_way, "04 0E 00 09");
    node_say(&sleeper, "05 16 64 65 76");
    expect_message(&sleeper, "61");
    node_expect(&sleeper, "02 17");
    observer_quiet(o, 300);
    observer_stop(o);
    node_close(&active);
    node_close(&sleeper);
    node_close(&half_way);
    stop_both();
}

END_TEST

START_TEST(a_state_goes_through_pipes)
{
    char command[4 * PATH_ROOM];
    start_both("");
    struct node n;
    node_open(&n, gateway.port);
    node_say(&n, "09 04 00 01 00 3C 64 65 76"); /* not clean */
    node_expect(&n, "03 05 00");
    snprintf(command, sizeof command, "sed 's,/state$,/moved,' %s > %s", path_of("gateway.conf"),
             path_of("other.conf"));
    ck_assert_int_eq(system(command), 0);
    snprintf(command, sizeof command,
             "\"$SENNETD\" -c %s --export-state - 2>/dev/null |"
             " \"$SENNETD\" -c %s --import-state - 2>/dev/null",
             path_of("gateway.conf"), path_of("other.conf"));
    ck_assert_int_eq(system(command), 0);
    daemon_crash(&gateway);
    change_directory();
    daemon_again(&gateway);
    node_say(&n, "02 16");
    node_expect(&n, "02 17");
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(an_import_beside_a_daemon_is_refused_with_its_pid)
{
    char pid[32];
    start_both("");
    ck_assert_int_eq(run("gateway.conf", "--export-state", path_of("state.json")), 0);
    snprintf(pid, sizeof pid, ", pid %ld;", (long)gateway.pid);
    ck_assert_int_eq(run("gateway.conf", "--import-state", path_of("state.json")), EXIT_NO_STATE);
    ck_assert_msg(strstr(said, pid) != NULL, "%s", said);
    ck_assert_int_eq(run("gateway.conf", "--export-state", "/dev/full"), EXIT_RUNTIME);
    ck_assert_int_eq(run("gateway.conf", "--import-state", path_of("none.json")), EXIT_NO_INPUT);
    stop_both();
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("moving a gateway");
    TCase *const all = tcase_create("move");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, nodes_do_not_notice_that_their_gateway_has_moved);
    tcase_add_test(all, a_state_goes_through_pipes);
    tcase_add_test(all, an_import_beside_a_daemon_is_refused_with_its_pid);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
