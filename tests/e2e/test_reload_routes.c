/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes and prefixes that change, while the gateway runs or while it does not: topics and filters follow,
 * and brokers are left with nothing of the old ones.
 */
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "e2e/two_brokers.h"
#include "unit/suite.h"

static void configure(const char *more)
{
    daemon_configure(&gateway, home.port, DAEMON_RETRIES, with_cloud(more));
}

/* Under another name it is another broker. */
static void rename_first_broker(const char *name)
{
    char command[256];
    snprintf(command, sizeof command, "sed -i 's/^\\[broker\\]$/[broker %s]/' %s/gateway.conf",
             name, gateway.directory);
    ck_assert_int_eq(system(command), 0);
}

static void reload_with(const char *more)
{
    configure(more);
    daemon_forget_log(&gateway);
    kill(gateway.pid, SIGHUP);
    daemon_wait_log(&gateway, "gateway.reloaded", SOON_MS);
    ck_assert_msg(strstr(gateway.log, "need_restart=0") != NULL, "%s", daemon_log_end(&gateway));
}

static void restart_with(const char *more)
{
    daemon_crash(&gateway);
    configure(more);
    daemon_again(&gateway);
    wait_for_brokers();
}

/* A message of that letter; of QoS 1 it is answered. */
static bool hear_message(char letter, int timeout_ms)
{
    char hex[128], end[8], answer[64];
    if (!node_hear(&node, hex, sizeof hex, timeout_ms))
        return false;
    snprintf(end, sizeof end, " %02X", letter);
    const size_t len = strlen(hex);
    ck_assert_msg(strncmp(hex, "08 0C ", 6) == 0 && strcmp(hex + len - 3, end) == 0, "%s", hex);
    snprintf(answer, sizeof answer, "07 0D %.11s 00", hex + 9);
    if (hex[6] != '0')
        node_say(&node, answer);
    return true;
}

static void expect_message(char letter)
{
    ck_assert_msg(hear_message(letter, 5000), "no message:\n%s", daemon_log_end(&gateway));
}

/* Published again and again until the broker has been asked for it. */
static void wait_for_filter(struct observer *at, const char *topic)
{
    const int64_t end_ms = test_now_ms() + SOON_MS;
    bool heard = false;
    while (!heard && test_now_ms() < end_ms) {
        observer_publish(at, topic, "!", 0, false);
        heard = hear_message('!', 200);
    }
    ck_assert_msg(heard, "nobody is told of %s:\n%s", topic, daemon_log_end(&gateway));
    while (hear_message('!', 100)) {
    }
}

/* Messages from brokers that nobody has asked for. */
static void expect_unmatched(unsigned n)
{
    char wanted[32];
    snprintf(wanted, sizeof wanted, "unmatched=%u ", n);
    daemon_forget_log(&gateway);
    kill(gateway.pid, SIGUSR1);
    daemon_wait_log(&gateway, "stats.shared", SOON_MS);
    daemon_wait_log(&gateway, wanted, SOON_MS);
}

START_TEST(topics_and_filters_follow_a_changed_route)
{
    start("[route r]\nfrom = meters/#\nto = cloud\n");
    node_connect(&node, "dev");
    node_register(&node, "meters/7");
    node_publish(&node, 0x20, 2, 'a');
    node_expect_puback(&node, 2);
    observer_expect(at_cloud, "meters/7", "a", 1);
    node_say(&node, "08 12 20 00 05 63 2F 31");
    node_expect(&node, "08 13 20 00 02 00 05 00");
    observer_publish(at_home, "c/1", "b", 1, false);
    expect_message('b');
    observer_expect(at_home, "c/1", "b", 1);

    reload_with("[route r]\nfrom = c/#\nto = cloud\ntopic = plant/{client}/#\n");
    ck_assert(strstr(gateway.log, "gateway.changed what=\"[route r] from\"") != NULL);
    wait_for_filter(at_cloud, "plant/dev/1");
    node_publish(&node, 0x20, 3, 'c');
    node_expect_puback(&node, 3);
    observer_expect(at_home, "meters/7", "c", 1);
    observer_publish(at_home, "c/1", "d", 1, false);
    observer_publish(at_cloud, "plant/dev/1", "e", 1, false);
    expect_message('e');
    node_quiet(&node, 200);
    expect_unmatched(0); /* nothing of the old filter is left */
    ck_assert(!daemon_has_logged(&gateway, "broker.lost"));
    stop();
}

END_TEST

START_TEST(messages_for_a_sleeping_node_follow_a_changed_prefix)
{
    start("[gateway]\nprefix = old/\n");
    node_connect_with(&node, 0); /* a stored session */
    node_subscribe(&node, 1);
    node_say(&node, "02 18");
    node_expect(&node, "02 18");
    observer_publish(at_home, "new/c/1", "b", 1, true); /* comes when it is subscribed */
    reload_with("[gateway]\nprefix = new/\n");
    node_connect_with(&node, 0);
    char hex[128];
    ck_assert(node_hear(&node, hex, sizeof hex, 5000)); /* REGISTER, or the message */
    if (strncmp(hex, "09 0A", 5) == 0) {
        char answer[64];
        snprintf(answer, sizeof answer, "07 0B %.11s 00", hex + 6);
        node_say(&node, answer);
        ck_assert(node_hear(&node, hex, sizeof hex, 5000));
    }
    ck_assert_msg(strcmp(hex + strlen(hex) - 3, " 62") == 0, "%s", hex);
    observer_publish(at_home, "old/c/1", "a", 1, false);
    expect_unmatched(0);
    stop();
}

END_TEST

START_TEST(a_restart_with_other_names_leaves_no_old_filters_in_the_session_that_the_broker_keeps)
{
    start("[gateway]\nprefix = old/\n[route r]\nfrom = x/#\nto = cloud\n");
    node_connect_with(&node, 0);
    node_subscribe(&node, 1);
    node_say(&node, "08 12 20 00 06 78 2F 31");
    node_expect(&node, "08 13 20 00 02 00 06 00");
    restart_with("[gateway]\nprefix = new/\n");
    ck_assert(daemon_has_logged(&gateway, "gateway.routes_changed"));
    ck_assert(daemon_has_logged(&gateway, "session=kept"));
    daemon_wait_log(&gateway, "gateway.routes_settled", SOON_MS);
    wait_for_filter(at_home, "new/x/1");
    observer_publish(at_home, "old/c/1", "a", 1, false);
    observer_publish(at_cloud, "old/x/1", "b", 1, false);
    observer_publish(at_cloud, "x/1", "c", 1, false);
    observer_publish(at_home, "new/c/1", "d", 1, false);
    expect_message('d');
    observer_publish(at_home, "new/x/1", "e", 1, false);
    expect_message('e');
    expect_unmatched(0);
    ck_assert(strstr(gateway.log, "unmatched=1") == NULL);
    daemon_crash(&gateway);
    /* the next one knows these */
    daemon_again(&gateway);
    wait_for_brokers();
    ck_assert(!daemon_has_logged(&gateway, "gateway.routes_changed"));
    wait_for_filter(at_home, "new/c/1");
    stop();
}

END_TEST

/* The broker's memory of its sessions, as it is now. */
static char memory[] = "/tmp/sennet-memory-XXXXXX";

static void remember_sessions(void)
{
    char file[64];
    snprintf(file, sizeof file, "%s/mosquitto.db", memory);
    kill(home.pid, SIGUSR1);
    for (const int64_t end_ms = test_now_ms() + SOON_MS; access(file, R_OK) != 0;) {
        ck_assert_msg(test_now_ms() < end_ms, "mosquitto does not save its sessions");
        poll(NULL, 0, 10);
    }
}

static void forget_sessions(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", memory);
    ck_assert_int_eq(system(command), 0);
}

/* It is killed before it has read what it was asked to forget, and so is the gateway. */
START_TEST(a_crash_before_the_broker_has_answered_leaves_no_old_filters_behind)
{
    char of_home[128];
    ck_assert_ptr_nonnull(mkdtemp(memory));
    snprintf(of_home, sizeof of_home, "persistence true\npersistence_location %s/\n", memory);
    start_at(of_home, "[gateway]\nprefix = old/\n");
    node_connect_with(&node, 0);
    node_subscribe(&node, 1);
    remember_sessions();
    observer_stop(at_home);
    broker_pause(&home);
    reload_with("[gateway]\nprefix = new/\n");
    daemon_crash(&gateway);
    broker_end(&home, SIGKILL);
    broker_start_again(&home);
    daemon_again(&gateway);
    wait_for_brokers();
    ck_assert(daemon_has_logged(&gateway, "session=kept"));
    ck_assert(daemon_has_logged(&gateway, "gateway.routes_changed"));
    daemon_wait_log(&gateway, "gateway.routes_settled", SOON_MS);
    at_home = observer_start(home.port, "#");
    observer_publish(at_home, "old/c/1", "a", 1, false);
    observer_publish(at_home, "new/c/1", "b", 1, false);
    expect_message('b');
    expect_unmatched(0);
    stop();
    forget_sessions();
}

END_TEST

/* Where what no route names went is known by the broker's name, too. */
START_TEST(another_first_broker_leaves_no_old_filters_at_the_others)
{
    start("[route r]\nfrom = x/#\nto = cloud\n");
    node_connect_with(&node, 0);
    node_subscribe(&node, 1);
    node_say(&node, "08 12 20 00 06 78 2F 31");
    node_expect(&node, "08 13 20 00 02 00 06 00");
    daemon_crash(&gateway);
    configure("[gateway]\nprefix = new/\n[route r]\nfrom = x/#\nto = cloud\n");
    rename_first_broker("home");
    daemon_again(&gateway);
    daemon_wait_log(&gateway, "broker.connected broker=home", SOON_MS);
    daemon_wait_log(&gateway, "broker.connected broker=cloud", SOON_MS);
    daemon_wait_log(&gateway, "gateway.routes_settled", SOON_MS);
    observer_publish(at_cloud, "x/1", "a", 1, false);
    observer_publish(at_cloud, "new/x/1", "b", 1, false);
    expect_message('b');
    observer_publish(at_home, "new/c/1", "c", 1, false);
    expect_message('c');
    expect_unmatched(0);
    ck_assert(strstr(gateway.log, "unmatched=1") == NULL);
    stop();
}

END_TEST

START_TEST(a_restart_without_any_routes_takes_those_of_before_back)
{
    start("[gateway]\nprefix = old/\n");
    node_connect_with(&node, 0);
    node_subscribe(&node, 1);
    restart_with("");
    wait_for_filter(at_home, "c/1");
    observer_publish(at_home, "old/c/1", "a", 1, false);
    observer_publish(at_home, "c/1", "b", 1, false);
    expect_message('b');
    expect_unmatched(0);
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("reload_routes");
    TCase *t = tcase_create("routes");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, topics_and_filters_follow_a_changed_route);
    tcase_add_test(t, messages_for_a_sleeping_node_follow_a_changed_prefix);
    tcase_add_test(
        t, a_restart_with_other_names_leaves_no_old_filters_in_the_session_that_the_broker_keeps);
    tcase_add_test(t, a_crash_before_the_broker_has_answered_leaves_no_old_filters_behind);
    tcase_add_test(t, another_first_broker_leaves_no_old_filters_at_the_others);
    tcase_add_test(t, a_restart_without_any_routes_takes_those_of_before_back);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
