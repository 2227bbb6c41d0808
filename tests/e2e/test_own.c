/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that have MQTT sessions of their own. The broker lets a client publish only below its client id,
 * so what arrives tells whose session it came through.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "e2e/pinned.h"
#include "unit/suite.h"

enum { TEXT_ROOM = 1024 };

static struct broker broker;
static struct daemon gateway;
static struct observer *observer;
static struct node node;
static char rights[] = "/tmp/sennet-rights-XXXXXX";

static void start(const char *more)
{
    char text[TEXT_ROOM];
    snprintf(rights, sizeof rights, "/tmp/sennet-rights-XXXXXX");
    const int fd = mkstemp(rights);
    ck_assert_int_ge(fd, 0);
    dprintf(fd, "topic read #\ntopic write c/#\npattern write %%c/#\n");
    ck_assert_int_eq(fchmod(fd, 0644), 0);
    close(fd);
    snprintf(text, sizeof text, "acl_file %s\npersistence false\n", rights);
    broker_start(&broker, text);
    daemon_start(&gateway, broker.port, more);
    daemon_wait_log(&gateway, "broker.connected", 10000);
    observer = observer_start(broker.port, "#");
    node_open(&node, gateway.port);
}

static void stop(void)
{
    node_close(&node);
    if (observer != NULL)
        observer_stop(observer);
    const int status = daemon_end(&gateway, SIGTERM);
    ck_assert_msg(status == 0, "exit status %d:\n%s", status, daemon_log_end(&gateway));
    ck_assert_msg(strstr(gateway.log, "Sanitizer") == NULL, "%s", daemon_log_end(&gateway));
    broker_stop(&broker);
    unlink(rights);
}

static void publish(const char *topic, unsigned msg_id, char letter)
{
    node_register(&node, topic);
    node_publish(&node, 0x20, msg_id, letter);
    node_expect_puback(&node, msg_id);
}

#define OWN "[client dev*]\nsessions = own\n"

/* ---- who publishes ----------------------------------------------------------------------------- */

START_TEST(a_node_publishes_through_its_own_session)
{
    start(OWN);
    node_connect(&node, "dev");
    publish("dev/a", 2, 'x');
    observer_expect(observer, "dev/a", "x", 1);
    stop();
}

END_TEST

START_TEST(what_the_broker_forbids_the_node_hears)
{
    start(OWN);
    node_connect(&node, "dev");
    node_register(&node, "other/a");
    node_publish(&node, 0x20, 2, 'x');
    if (pinned_version() != NULL && !pinned_to_5()) /* a PUBACK of 3.1.1 has no way to say so */
        node_expect_puback(&node, 2);
    else
        node_expect(&node, "07 0D 00 01 00 02 03");
    observer_quiet(observer, 300);
    stop();
}

END_TEST

START_TEST(the_client_id_is_made_by_its_template)
{
    start(OWN "mqtt_client_id = site-{client}\n");
    node_connect(&node, "dev");
    publish("site-dev/a", 2, 'x');
    observer_expect(observer, "site-dev/a", "x", 1);
    stop();
}

END_TEST

START_TEST(shared_and_own_sessions_live_side_by_side)
{
    start(OWN);
    node_connect(&node, "dev");
    struct node other;
    node_open(&other, gateway.port);
    node_connect(&other, "plain");
    node_register(&other, "c/1");
    node_publish(&other, 0x20, 2, 'y');
    node_expect_puback(&other, 2);
    observer_expect(observer, "c/1", "y", 1);
    publish("dev/a", 2, 'x');
    observer_expect(observer, "dev/a", "x", 1);
    node_close(&other);
    stop();
}

END_TEST

/* ---- what comes down --------------------------------------------------------------------------- */

static void expect_publish(const char *begin)
{
    char hex[128];
    ck_assert_msg(node_hear(&node, hex, sizeof hex, 10000), "no message:\n%s",
                  daemon_log_end(&gateway));
    ck_assert_msg(strncmp(hex, begin, strlen(begin)) == 0, "%s, not %s", hex, begin);
}

START_TEST(a_subscription_is_the_nodes_own)
{
    start(OWN);
    node_connect(&node, "dev");
    node_subscribe(&node, 1);
    observer_publish(observer, "c/1", "m", 0, false);
    expect_publish("08 0C 00 00 01");
    stop();
}

END_TEST

START_TEST(a_stored_session_waits_at_the_broker_for_its_node)
{
    start(OWN);
    node_connect_with(&node, 0x00);
    node_subscribe(&node, 1);
    node_say(&node, "02 18");
    node_expect(&node, "02 18");
    poll(NULL, 0, 500); /* until its connection has ended */
    observer_publish(observer, "c/1", "m", 1, false);
    node_connect_with(&node, 0x00);
    char hex[128];
    ck_assert(node_hear(&node, hex, sizeof hex, 10000));
    if (strncmp(hex, "09 0A 00 01", 11) == 0) {
        char ack[64];
        snprintf(ack, sizeof ack, "07 0B 00 01 %.5s 00", hex + 12);
        node_say(&node, ack);
        ck_assert(node_hear(&node, hex, sizeof hex, 10000));
    }
    ck_assert_msg(strncmp(hex, "08 0C 20 00 01", 14) == 0, "%s", hex);
    stop();
}

END_TEST

START_TEST(the_session_of_a_sleeper_stays_connected)
{
    start(OWN);
    node_connect_with(&node, 0x04);
    node_subscribe(&node, 1);
    node_say(&node, "04 18 00 3C");
    node_expect(&node, "02 18");
    observer_publish(observer, "c/1", "m", 0, false);
    poll(NULL, 0, 300);
    node_say(&node, "05 16 64 65 76");
    expect_publish("08 0C 00 00 01");
    node_expect(&node, "02 17");
    stop();
}

END_TEST

/* ---- wills ------------------------------------------------------------------------------------- */

START_TEST(the_will_of_a_lost_node_is_published_by_the_broker)
{
    start(OWN);
    node_say(&node, "09 04 0C 01 00 01 64 65 76"); /* will, keep alive 1 s */
    node_expect(&node, "02 06");
    node_say(&node, "08 07 20 64 65 76 2F 77");
    node_expect(&node, "02 08");
    node_say(&node, "03 09 21");
    node_expect(&node, "03 05 00");
    observer_expect(observer, "dev/w", "!", 1);
    observer_quiet(observer, 500);
    stop();
}

END_TEST

START_TEST(who_takes_leave_has_no_will)
{
    start(OWN);
    node_say(&node, "09 04 0C 01 00 3C 64 65 76");
    node_expect(&node, "02 06");
    node_say(&node, "08 07 20 64 65 76 2F 77");
    node_expect(&node, "02 08");
    node_say(&node, "03 09 21");
    node_expect(&node, "03 05 00");
    node_say(&node, "02 18");
    node_expect(&node, "02 18");
    observer_quiet(observer, 1000);
    stop();
}

END_TEST

/* ---- trouble ----------------------------------------------------------------------------------- */

START_TEST(a_restart_of_the_gateway_is_invisible)
{
    start(OWN);
    node_connect_with(&node, 0x00);
    node_subscribe(&node, 1);
    node_say(&node, "0B 0A 00 00 00 05 64 65 76 2F 61"); /* dev/a becomes 0002 */
    node_expect(&node, "07 0B 00 02 00 05 00");
    daemon_crash(&gateway);
    daemon_again(&gateway);
    node_say(&node, "08 0C 20 00 02 00 06 78");
    node_expect(&node, "07 0D 00 02 00 06 00");
    observer_expect(observer, "dev/a", "x", 1);
    observer_publish(observer, "c/1", "m", 0, false);
    expect_publish("08 0C 00 00 01");
    stop();
}

END_TEST

START_TEST(what_a_crash_interrupts_goes_on_in_its_own_session_only)
{
    start(OWN);
    node_connect_with(&node, 0x00);
    node_register(&node, "c/1");
    broker_pause(&broker);
    node_publish(&node, 0x40, 2, 'x');
    node_expect(&node, "04 0F 00 02");
    node_quiet(&node, 300); /* meanwhile it is handed to Paho */
    daemon_crash(&gateway);
    broker_resume(&broker);
    daemon_again(&gateway);
    node_say(&node, "04 10 00 02");
    node_expect(&node, "04 0E 00 02");
    observer_expect(observer, "c/1", "x", 2);
    observer_quiet(observer, 1000);
    stop();
}

END_TEST

START_TEST(an_outage_of_the_broker_is_bridged)
{
    start(OWN);
    node_connect(&node, "dev");
    node_register(&node, "dev/a");
    observer_stop(observer);
    observer = NULL;
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    node_publish(&node, 0x30, 2, 'x'); /* retained, for the observer may be late */
    node_expect_puback(&node, 2);
    broker_start_again(&broker);
    observer = observer_start(broker.port, "dev/#");
    observer_expect(observer, "dev/a", "x", 1);
    daemon_wait_log(&gateway, "spool.draining client=dev messages=1 ", 1000);
    stop();
}

END_TEST

START_TEST(messages_of_a_session_that_is_no_more_still_go_out)
{
    start(OWN);
    node_connect(&node, "dev");
    node_register(&node, "dev/a");
    observer_stop(observer);
    observer = NULL;
    broker_end(&broker, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost", 10000);
    node_publish(&node, 0x30, 2, 'x');
    node_expect_puback(&node, 2);
    node_say(&node, "02 18");
    node_expect(&node, "02 18");
    daemon_crash(&gateway);
    daemon_again(&gateway);
    broker_start_again(&broker);
    observer = observer_start(broker.port, "dev/#");
    observer_expect(observer, "dev/a", "x", 1);
    stop();
}

END_TEST

START_TEST(a_client_that_somebody_else_speaks_for_is_let_go)
{
    char command[256];
    start(OWN);
    node_connect(&node, "dev");
    snprintf(command, sizeof command,
             "timeout 10 mosquitto_sub -V 5 -p %u -i dev -t nothing >/dev/null 2>&1", broker.port);
    ck_assert_int_ne(system(command), -1);
    node_expect(&node, "02 18");
    stop();
}

END_TEST

START_TEST(a_login_that_cannot_be_had_is_refused)
{
    start(OWN "username = {client}\npassword_file = /nowhere/{client}\n");
    node_say(&node, "09 04 04 01 00 3C 64 65 76");
    node_expect(&node, "03 05 03");
    daemon_wait_log(&gateway, "session.unusable", 3000);
    stop();
}

END_TEST

/* A pipe that nobody writes to keeps who reads it waiting, and here that is everybody. */
START_TEST(what_is_no_file_of_one_line_holds_no_password)
{
    char directory[] = "/tmp/sennet-password-XXXXXX";
    char path[64];
    char more[256];
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/u", directory);
    snprintf(more, sizeof more, OWN "username = u\npassword_file = %s\n", path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    start(more);
    node_say(&node, "09 04 04 01 00 3C 64 65 76");
    node_expect(&node, "03 05 03");
    unlink(path);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("one\ntwo\n", f);
    ck_assert_int_eq(fclose(f), 0);
    node_say(&node, "09 04 04 01 00 3C 64 65 76");
    node_expect(&node, "03 05 03");
    stop();
    unlink(path);
    rmdir(directory);
}

END_TEST

START_TEST(a_node_with_the_name_of_the_gateway_does_not_throw_it_out)
{
    start("[client *]\nsessions = own\n");
    daemon_forget_log(&gateway);
    node_say(&node, "10 04 04 01 00 3C 73 65 6E 6E 65 74 2D 65 32 65");
    node_expect(&node, "03 05 03");
    daemon_wait_log(&gateway, "session.unusable client=sennet-e2e what=mqtt_client_id", 3000);
    node_connect(&node, "dev");
    ck_assert(!daemon_has_logged(&gateway, "broker.lost"));
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("own sessions");
    TCase *all = tcase_create("own");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, a_node_publishes_through_its_own_session);
    tcase_add_test(all, what_the_broker_forbids_the_node_hears);
    tcase_add_test(all, the_client_id_is_made_by_its_template);
    tcase_add_test(all, shared_and_own_sessions_live_side_by_side);
    tcase_add_test(all, a_subscription_is_the_nodes_own);
    tcase_add_test(all, a_stored_session_waits_at_the_broker_for_its_node);
    tcase_add_test(all, the_session_of_a_sleeper_stays_connected);
    tcase_add_test(all, the_will_of_a_lost_node_is_published_by_the_broker);
    tcase_add_test(all, who_takes_leave_has_no_will);
    tcase_add_test(all, a_restart_of_the_gateway_is_invisible);
    tcase_add_test(all, what_a_crash_interrupts_goes_on_in_its_own_session_only);
    tcase_add_test(all, an_outage_of_the_broker_is_bridged);
    tcase_add_test(all, messages_of_a_session_that_is_no_more_still_go_out);
    tcase_add_test(all, a_client_that_somebody_else_speaks_for_is_let_go);
    tcase_add_test(all, a_login_that_cannot_be_had_is_refused);
    tcase_add_test(all, what_is_no_file_of_one_line_holds_no_password);
    tcase_add_test(all, a_node_with_the_name_of_the_gateway_does_not_throw_it_out);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
