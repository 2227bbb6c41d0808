/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What survives: the daemon is killed with SIGKILL and started again, and the broker goes away and
 * comes back, with nodes that must not notice.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>

#include "e2e/broker.h"
#include "e2e/daemon.h"
#include "e2e/observer.h"
#include "unit/suite.h"

enum { PUBLISH_ROOM = 64 };

static struct broker broker;
static struct daemon gateway;

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

static void crash(void)
{
    daemon_crash(&gateway);
    daemon_again(&gateway);
}

static void lose_broker(int signal)
{
    broker_end(&broker, signal);
    daemon_wait_log(&gateway, "broker.lost", 10000);
}

/* ---- the gateway is killed --------------------------------------------------------------------- */

START_TEST(an_active_nodes_next_publish_is_accepted_with_its_topic_id)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    crash();
    node_publish(&n, 0x20, 2, 'x');
    node_expect_puback(&n, 2);
    observer_expect(o, "t/a", "x", 1);
    node_say(&n, "02 16");
    node_expect(&n, "02 17");
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(a_node_that_was_told_goodbye_stays_away)
{
    start_both("");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_say(&n, "02 18");
    node_expect(&n, "02 18");
    crash();
    node_publish(&n, 0x20, 2, 'x');
    node_expect(&n, "02 18");
    node_close(&n);
    stop_both();
}

END_TEST

static void expect_subscription_goes_on(unsigned connect_flags)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_connect_with(&n, connect_flags);
    node_subscribe(&n, 1);
    crash();
    daemon_wait_log(&gateway, "broker.connected", 10000);
    observer_publish(o, "c/1", "m", 1, false);
    char hex[PUBLISH_ROOM];
    ck_assert_msg(node_hear(&n, hex, sizeof hex, 5000), "no message:\n%s", gateway.log);
    ck_assert_msg(strncmp(hex, "08 0C 20 00 01", 14) == 0, "%s", hex);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

START_TEST(a_subscription_goes_on)
{
    expect_subscription_goes_on(0x04);
}

END_TEST

START_TEST(a_stored_session_is_not_told_its_topic_ids_again)
{
    expect_subscription_goes_on(0);
}

END_TEST

START_TEST(what_is_published_while_the_gateway_is_down_comes_when_it_is_back)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_subscribe(&n, 1);
    daemon_crash(&gateway);
    observer_publish(o, "c/1", "m", 1, false);
    daemon_again(&gateway);
    char hex[PUBLISH_ROOM];
    ck_assert_msg(node_hear(&n, hex, sizeof hex, 10000), "no message:\n%s", gateway.log);
    ck_assert_msg(strncmp(hex, "08 0C 20 00 01", 14) == 0, "%s", hex);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(a_sleeper_that_wakes_gets_its_buffer)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_connect_with(&n, 0x00);
    node_subscribe(&n, 1);
    node_say(&n, "04 18 00 3C");
    node_expect(&n, "02 18");
    observer_publish(o, "c/1", "a", 1, false);
    observer_publish(o, "c/1", "b", 1, false);
    observer_expect(o, "c/1", "a", 1);
    observer_expect(o, "c/1", "b", 1);
    poll(NULL, 0, 300); /* they are on their way to the gateway as well */
    crash();
    node_say(&n, "05 16 64 65 76");
    for (int i = 0; i < 2; i++) {
        char hex[PUBLISH_ROOM];
        char ack[PUBLISH_ROOM];
        ck_assert_msg(node_hear(&n, hex, sizeof hex, 5000), "message %d is missing", i);
        if (strncmp(hex, "09 0A 00 01", 11) == 0) { /* told again, as after any CONNECT */
            snprintf(ack, sizeof ack, "07 0B 00 01 %.5s 00", hex + 12);
            node_say(&n, ack);
            ck_assert_msg(node_hear(&n, hex, sizeof hex, 5000), "message %d is missing", i);
        }
        /* DUP or not: it may have been on its way when the gateway was killed. */
        ck_assert_msg(strncmp(hex, "08 0C A0 00 01", 14) == 0 ||
                          strncmp(hex, "08 0C 20 00 01", 14) == 0,
                      "%s", hex);
        ck_assert_str_eq(hex + 21, i == 0 ? "61" : "62");
        snprintf(ack, sizeof ack, "07 0D 00 01 %.5s 00", hex + 15);
        node_say(&n, ack);
    }
    node_expect(&n, "02 17");
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(qos_2_from_a_node_goes_on_after_pubrec_and_arrives_once)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    node_publish(&n, 0x40, 9, 'x');
    node_expect(&n, "04 0F 00 09");
    crash();
    node_publish(&n, 0xC0, 9, 'x'); /* the PUBREC was lost */
    node_expect(&n, "04 0F 00 09");
    crash();
    node_say(&n, "04 10 00 09");
    node_expect(&n, "04 0E 00 09");
    observer_expect(o, "t/a", "x", 2);
    observer_quiet(o, 500);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(qos_2_to_a_node_goes_on_with_pubrel_after_pubrec)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    char hex[PUBLISH_ROOM];
    char say[PUBLISH_ROOM];
    node_open(&n, gateway.port);
    node_connect_with(&n, 0x00);
    node_subscribe(&n, 2);
    observer_publish(o, "c/1", "m", 2, false);
    ck_assert(node_hear(&n, hex, sizeof hex, 5000));
    ck_assert_msg(strncmp(hex, "08 0C 40 00 01", 14) == 0, "%s", hex);
    char msg_id[6];
    memcpy(msg_id, hex + 15, 5);
    msg_id[5] = '\0';
    crash();
    /* The PUBLISH again, as a repetition under the same msg id. */
    node_say(&n, "02 16");
    for (bool seen = false; !seen;) {
        ck_assert_msg(node_hear(&n, hex, sizeof hex, 5000), "no repetition");
        seen = strncmp(hex, "08 0C C0 00 01", 14) == 0;
    }
    ck_assert_msg(strncmp(hex + 15, msg_id, 5) == 0, "%s, not %s", hex, msg_id);
    snprintf(say, sizeof say, "04 0F %s", msg_id);
    node_say(&n, say);
    snprintf(say, sizeof say, "04 10 %s", msg_id);
    do
        ck_assert_msg(node_hear(&n, hex, sizeof hex, 5000), "no PUBREL");
    while (strcmp(hex, say) != 0);
    crash();
    node_say(&n, "02 16");
    do {
        ck_assert_msg(node_hear(&n, hex, sizeof hex, 5000), "no PUBREL");
        ck_assert_msg(strncmp(hex + 3, "0C", 2) != 0, "a PUBLISH after PUBREC: %s", hex);
    } while (strcmp(hex, say) != 0);
    snprintf(say, sizeof say, "04 0E %s", msg_id);
    node_say(&n, say);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(the_will_of_a_node_that_stays_away_is_published)
{
    start_both("");
    struct observer *o = observer_start(broker.port, "#");
    struct node n;
    node_open(&n, gateway.port);
    node_say(&n, "09 04 0C 01 00 01 64 65 76"); /* keep alive 1 s, with a will */
    node_expect(&n, "02 06");
    node_say(&n, "06 07 20 77 2F 31");
    node_expect(&n, "02 08");
    node_say(&n, "03 09 21");
    node_expect(&n, "03 05 00");
    crash();
    observer_expect(o, "w/1", "!", 1);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

/* ---- the broker goes away ---------------------------------------------------------------------- */

START_TEST(messages_of_an_outage_are_acknowledged_and_arrive_in_order)
{
    start_both("");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    lose_broker(SIGKILL);
    for (unsigned i = 0; i < 20; i++) {
        node_publish(&n, i < 10 ? 0x20 : 0x40, 10 + i, (char)('a' + i));
        if (i < 10) {
            node_expect_puback(&n, 10 + i);
            continue;
        }
        char hex[PUBLISH_ROOM];
        snprintf(hex, sizeof hex, "04 0F %04X", 10 + i);
        char got[PUBLISH_ROOM];
        ck_assert_msg(node_hear(&n, got, sizeof got, 5000), "no PUBREC");
        node_say(&n, (snprintf(hex, sizeof hex, "04 10 %04X", 10 + i), hex));
        ck_assert_msg(node_hear(&n, got, sizeof got, 5000), "no PUBCOMP");
    }
    /* At first only the observer finds the broker. */
    kill(gateway.pid, SIGSTOP);
    broker_start_again(&broker);
    struct observer *o = observer_start(broker.port, "#");
    kill(gateway.pid, SIGCONT);
    for (unsigned i = 0; i < 20; i++) {
        const char payload[2] = {(char)('a' + i), '\0'};
        observer_expect(o, "t/a", payload, i < 10 ? 1 : 2);
    }
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

/* Its session, with what it had received and not passed on, is gone with it. */
static void kill_broker_with_qos_2(bool crashes)
{
    start_both("");
    struct node n;
    char got[PUBLISH_ROOM];
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    broker_pause(&broker);
    for (unsigned i = 0; i < 10; i++) {
        char hex[PUBLISH_ROOM];
        node_publish(&n, 0x40, 10 + i, (char)('a' + i));
        ck_assert_msg(node_hear(&n, got, sizeof got, 5000), "no PUBREC");
        node_say(&n, (snprintf(hex, sizeof hex, "04 10 %04X", 10 + i), hex));
        ck_assert_msg(node_hear(&n, got, sizeof got, 5000), "no PUBCOMP");
    }
    poll(NULL, 0, 300); /* they are on their way */
    if (crashes)
        daemon_crash(&gateway);
    else
        kill(gateway.pid, SIGSTOP);
    broker_end(&broker, SIGKILL);
    broker_start_again(&broker);
    struct observer *o = observer_start(broker.port, "#");
    if (crashes)
        daemon_again(&gateway);
    else
        kill(gateway.pid, SIGCONT);
    for (unsigned i = 0; i < 10; i++)
        observer_expect(o, "t/a", (char[]){(char)('a' + i), '\0'}, 2);
    observer_quiet(o, 500);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

START_TEST(qos_2_that_was_with_a_killed_broker_is_sent_again)
{
    kill_broker_with_qos_2(false);
    kill_broker_with_qos_2(true);
}

END_TEST

START_TEST(messages_of_an_outage_survive_the_gateway)
{
    start_both("");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    lose_broker(SIGKILL);
    node_publish(&n, 0x20, 2, 'x');
    node_expect_puback(&n, 2);
    crash();
    node_publish(&n, 0x20, 3, 'y');
    node_expect_puback(&n, 3);
    daemon_crash(&gateway);
    broker_start_again(&broker);
    struct observer *o = observer_start(broker.port, "#");
    daemon_again(&gateway);
    observer_expect(o, "t/a", "x", 1);
    observer_expect(o, "t/a", "y", 1);
    observer_stop(o);
    node_close(&n);
    stop_both();
}

END_TEST

START_TEST(a_node_may_connect_and_a_known_filter_be_subscribed_during_an_outage)
{
    start_both("");
    struct node n;
    node_open(&n, gateway.port);
    node_connect_with(&n, 0x00);
    node_subscribe(&n, 1);
    lose_broker(SIGKILL);
    node_connect_with(&n, 0x00);
    node_subscribe(&n, 1);
    struct node other;
    node_open(&other, gateway.port);
    node_connect(&other, "oth");
    node_close(&n);
    node_close(&other);
    broker_start_again(&broker);
    stop_both();
}

END_TEST

START_TEST(with_durability_off_nodes_are_told_congestion_during_an_outage)
{
    start_both("[store]\ndurability = off\n");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    lose_broker(SIGKILL);
    node_publish(&n, 0x20, 2, 'x');
    node_expect(&n, "07 0D 00 01 00 02 01");
    node_close(&n);
    broker_start_again(&broker);
    stop_both();
}

END_TEST

START_TEST(with_a_full_spool_nodes_are_told_congestion)
{
    start_both("[store]\nspool_messages = 2\n");
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    lose_broker(SIGKILL);
    for (unsigned i = 2; i < 4; i++) {
        node_publish(&n, 0x20, i, 'x');
        node_expect_puback(&n, i);
    }
    node_publish(&n, 0x20, 4, 'x');
    node_expect(&n, "07 0D 00 01 00 04 01");
    node_close(&n);
    broker_start_again(&broker);
    stop_both();
}

END_TEST

/* ---- the disk ---------------------------------------------------------------------------------- */

START_TEST(a_second_daemon_on_one_state_dir_names_the_first)
{
    start_both("");
    char path[128], output[4096], pid[32];
    snprintf(path, sizeof path, "%s/gateway.conf", gateway.directory);
    char name[] = "sennetd", option[] = "-c";
    ck_assert_int_eq(daemon_run((char *[]){name, option, path, NULL}, output, sizeof output), 73);
    snprintf(pid, sizeof pid, "%d", (int)gateway.pid);
    ck_assert_msg(strstr(output, pid) != NULL, "pid %s is not in: %s", pid, output);
    stop_both();
}

END_TEST

START_TEST(a_damaged_store_is_moved_aside_and_said)
{
    start_both("");
    daemon_crash(&gateway);
    char path[128];
    snprintf(path, sizeof path, "%s/state/sennet.db", gateway.directory);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("this was a database once, and a power cut made something else of it", f);
    fclose(f);
    char wal[160];
    snprintf(wal, sizeof wal, "%s-wal", path); /* from which much could be put right again */
    unlink(wal);
    daemon_again(&gateway);
    ck_assert_msg(strstr(gateway.log, "store.notice") != NULL, "%s", gateway.log);
    char aside[160];
    struct stat st;
    snprintf(aside, sizeof aside, "%s.corrupt-1", path);
    ck_assert_msg(stat(aside, &st) == 0, "nothing at %s:\n%s", aside, gateway.log);
    struct node n;
    node_open(&n, gateway.port);
    node_connect(&n, "dev");
    node_close(&n);
    stop_both();
}

END_TEST

static void limit_files(rlim_t octets)
{
    const struct rlimit limit = {.rlim_cur = octets, .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(prlimit(gateway.pid, RLIMIT_FSIZE, &limit, NULL), 0);
}

START_TEST(a_disk_that_takes_no_more_is_said_and_the_gateway_goes_on_until_it_does)
{
    start_both("");
    struct node n, other;
    node_open(&n, gateway.port);
    node_open(&other, gateway.port);
    node_connect(&n, "dev");
    node_register(&n, "t/a");
    limit_files(4096);
    node_connect(&other, "oth"); /* a session that can't be stored */
    daemon_wait_log(&gateway, "store.failing", 10000);
    node_publish(&n, 0x20, 2, 'x');
    node_expect_puback(&n, 2);
    lose_broker(SIGKILL);
    node_publish(&n, 0x20, 3, 'y');
    node_expect(&n, "07 0D 00 01 00 03 01");
    limit_files(RLIM_INFINITY);
    daemon_wait_log(&gateway, "store.recovered", 20000);
    node_publish(&n, 0x20, 4, 'z');
    node_expect_puback(&n, 4);
    daemon_crash(&gateway);
    broker_start_again(&broker);
    struct observer *o = observer_start(broker.port, "#");
    daemon_again(&gateway);
    observer_expect(o, "t/a", "z", 1);
    node_say(&other, "02 16"); /* its session was stored when there was room again */
    node_expect(&other, "02 17");
    observer_stop(o);
    node_close(&n);
    node_close(&other);
    stop_both();
}

END_TEST

static const struct suite_scenery scenery = {60, NULL, NULL};

int main(void)
{
    Suite *s = suite_create("store");
    ADD(s, an_active_nodes_next_publish_is_accepted_with_its_topic_id);
    ADD(s, a_node_that_was_told_goodbye_stays_away);
    ADD(s, a_subscription_goes_on);
    ADD(s, a_stored_session_is_not_told_its_topic_ids_again);
    ADD(s, what_is_published_while_the_gateway_is_down_comes_when_it_is_back);
    ADD(s, a_sleeper_that_wakes_gets_its_buffer);
    ADD(s, qos_2_from_a_node_goes_on_after_pubrec_and_arrives_once);
    ADD(s, qos_2_to_a_node_goes_on_with_pubrel_after_pubrec);
    ADD(s, the_will_of_a_node_that_stays_away_is_published);
    ADD(s, messages_of_an_outage_are_acknowledged_and_arrive_in_order);
    ADD(s, qos_2_that_was_with_a_killed_broker_is_sent_again);
    ADD(s, messages_of_an_outage_survive_the_gateway);
    ADD(s, a_node_may_connect_and_a_known_filter_be_subscribed_during_an_outage);
    ADD(s, with_durability_off_nodes_are_told_congestion_during_an_outage);
    ADD(s, with_a_full_spool_nodes_are_told_congestion);
    ADD(s, a_second_daemon_on_one_state_dir_names_the_first);
    ADD(s, a_damaged_store_is_moved_aside_and_said);
    ADD(s, a_disk_that_takes_no_more_is_said_and_the_gateway_goes_on_until_it_does);
    return run_suite(s);
}
