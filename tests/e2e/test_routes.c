/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two brokers behind one gateway: which of them gets what, under which name, and what a node is told
 * while one of them is away. `home` is the first [broker], `cloud` the one that routes name.
 */
#include "e2e/two_brokers.h"
#include "unit/suite.h"

static void publish_on(const char *topic, char letter)
{
    node_connect(&node, "dev");
    node_register(&node, topic);
    node_publish(&node, 0x20, 2, letter);
    node_expect_puback(&node, 2);
}

static void lose_cloud(void)
{
    observer_stop(at_cloud);
    at_cloud = NULL;
    broker_end(&cloud, SIGKILL);
    daemon_wait_log(&gateway, "broker.lost broker=cloud", SOON_MS);
}

/* ---- from nodes -------------------------------------------------------------------------------- */

START_TEST(what_no_route_matches_goes_to_the_first_broker_only)
{
    start("[route r]\nfrom = meters/#\nto = cloud");
    publish_on("t/a", 'x');
    observer_expect(at_home, "t/a", "x", 1);
    observer_quiet(at_cloud, 300);
    stop();
}

END_TEST

START_TEST(a_route_says_wholly_where_its_topics_go)
{
    start("[route r]\nfrom = meters/#\nto = cloud");
    publish_on("meters/7", 'x');
    observer_expect(at_cloud, "meters/7", "x", 1);
    observer_quiet(at_home, 300);
    stop();
}

END_TEST

START_TEST(a_route_to_two_brokers_is_for_both)
{
    start("[route r]\nfrom = meters/#\nto = default, cloud");
    publish_on("meters/7", 'x');
    observer_expect(at_cloud, "meters/7", "x", 1);
    observer_expect(at_home, "meters/7", "x", 1);
    stop();
}

END_TEST

START_TEST(topic_qos_and_retain_are_the_routes)
{
    start("[route r]\nfrom = meters/+/power\nto = cloud\n"
          "topic = plant/{gateway}/{client}/+/p\nqos = 2\nretain = yes");
    publish_on("meters/7/power", 'x');
    observer_expect(at_cloud, "plant/e2e/dev/7/p", "x", 2);
    observer_stop(at_cloud);
    at_cloud = observer_start(cloud.port, "plant/#");
    observer_expect(at_cloud, "plant/e2e/dev/7/p", "x", 2);
    stop();
}

END_TEST

START_TEST(a_route_for_some_clients_is_not_for_others)
{
    start("[route r]\nclient = pump-*\nto = cloud");
    publish_on("t/a", 'x');
    observer_expect(at_home, "t/a", "x", 1);
    struct node pump;
    node_open(&pump, gateway.port);
    node_connect(&pump, "pump-1");
    node_register(&pump, "t/a");
    node_publish(&pump, 0x20, 2, 'y');
    node_expect_puback(&pump, 2);
    observer_expect(at_cloud, "t/a", "y", 1);
    observer_quiet(at_home, 300);
    node_close(&pump);
    stop();
}

END_TEST

/* ---- to nodes ---------------------------------------------------------------------------------- */

static void expect_message(const char *rest)
{
    char hex[128];
    ck_assert_msg(node_hear(&node, hex, sizeof hex, 5000), "no message:\n%s",
                  daemon_log_end(&gateway));
    ck_assert_msg(strncmp(hex, rest, strlen(rest)) == 0, "%s, not %s", hex, rest);
}

START_TEST(a_node_hears_a_routed_topic_from_its_broker_under_its_own_name)
{
    start("[route r]\nfrom = c/#\nto = cloud\ntopic = plant/{client}/#");
    node_connect(&node, "dev");
    node_subscribe(&node, 1);
    observer_publish(at_cloud, "plant/dev/1", "m", 0, false);
    expect_message("08 0C 00 00 01");
    observer_publish(at_home, "c/1", "m", 0, false);
    observer_publish(at_cloud, "plant/other/1", "m", 0, false);
    node_quiet(&node, 500);
    stop();
}

END_TEST

START_TEST(a_route_up_leaves_what_comes_down_to_the_first_broker)
{
    start("[route r]\nfrom = c/#\nto = cloud\ndirection = up");
    node_connect(&node, "dev");
    node_subscribe(&node, 1);
    observer_publish(at_home, "c/1", "m", 0, false);
    expect_message("08 0C 00 00 01");
    observer_publish(at_cloud, "c/1", "m", 0, false);
    node_quiet(&node, 500);
    stop();
}

END_TEST

START_TEST(an_unsubscribed_topic_is_silent_at_both_brokers)
{
    start("[route r]\nfrom = c/#\nto = default, cloud");
    node_connect(&node, "dev");
    node_subscribe(&node, 1);
    node_say(&node, "08 14 00 00 07 63 2F 31");
    node_expect(&node, "04 15 00 07");
    observer_publish(at_home, "c/1", "m", 1, false);
    observer_publish(at_cloud, "c/1", "m", 1, false);
    node_quiet(&node, 500);
    stop();
}

END_TEST

/* ---- prefixes ---------------------------------------------------------------------------------- */

START_TEST(prefixes_are_put_before_topics_and_taken_away_again)
{
    start("[gateway]\nprefix = site1/\n[client *]\nprefix = {client}/");
    node_connect(&node, "dev");
    node_subscribe(&node, 1);
    observer_publish(at_home, "site1/dev/c/1", "m", 0, false);
    expect_message("08 0C 00 00 01");
    observer_publish(at_home, "c/1", "m", 0, false);
    node_quiet(&node, 300);
    node_say(&node, "09 0A 00 00 00 05 74 2F 61"); /* t/a becomes 0002 */
    node_expect(&node, "07 0B 00 02 00 05 00");
    node_say(&node, "08 0C 20 00 02 00 06 78");
    node_expect(&node, "07 0D 00 02 00 06 00");
    observer_expect(at_home, "site1/dev/c/1", "m", 0);
    observer_expect(at_home, "c/1", "m", 0);
    observer_expect(at_home, "site1/dev/t/a", "x", 1);
    stop();
}

END_TEST

START_TEST(a_client_id_that_would_leave_its_branch_is_refused)
{
    start("[client *]\nprefix = {client}/");
    node_connect(&node, "a/b");
    node_register(&node, "t/a");
    node_publish(&node, 0x20, 2, 'x');
    node_expect(&node, "07 0D 00 01 00 02 03");
    observer_quiet(at_home, 300);
    stop();
}

END_TEST

/* ---- when one of them is away ------------------------------------------------------------------ */

START_TEST(what_a_broker_that_is_away_must_have_is_kept_for_it)
{
    start("[route r]\nfrom = meters/#\nto = default, cloud\nretain = yes");
    lose_cloud();
    publish_on("meters/7", 'x');
    observer_expect(at_home, "meters/7", "x", 1);
    daemon_crash(&gateway);
    daemon_again(&gateway);
    at_cloud = NULL;
    broker_start_again(&cloud);
    at_cloud = observer_start(cloud.port, "#"); /* what comes before it is retained */
    observer_expect(at_cloud, "meters/7", "x", 1);
    observer_quiet(at_home, 300);
    daemon_wait_log(&gateway, "spool.draining broker=cloud messages=1 ", 1000);
    kill(gateway.pid, SIGUSR1);
    daemon_wait_log(&gateway, "stats.spool broker=cloud messages=0 ", 1000);
    daemon_wait_log(&gateway, "stats.broker broker=default connected=1 ", 1000);
    stop();
}

END_TEST

START_TEST(without_a_store_a_required_broker_that_is_away_is_congestion)
{
    start("[store]\ndurability = off\n[route r]\nfrom = meters/#\nto = cloud");
    lose_cloud();
    node_connect(&node, "dev");
    node_register(&node, "meters/7");
    node_publish(&node, 0x20, 2, 'x');
    node_expect(&node, "07 0D 00 01 00 02 01");
    stop();
}

END_TEST

START_TEST(a_broker_that_is_not_required_delays_nobody)
{
    start("[store]\ndurability = off\n[route r]\nfrom = meters/#\nto = cloud\nrequired = no\n"
          "[route h]\nfrom = meters/#\nto = default");
    lose_cloud();
    publish_on("meters/7", 'x');
    observer_expect(at_home, "meters/7", "x", 1);
    stop();
}

END_TEST

START_TEST(qos_2_reaches_both_brokers_once_through_a_crash)
{
    start("[route r]\nto = default, cloud");
    node_connect(&node, "dev");
    node_register(&node, "t/a");
    node_publish(&node, 0x40, 9, 'x');
    node_expect(&node, "04 0F 00 09");
    daemon_crash(&gateway);
    daemon_again(&gateway);
    node_say(&node, "04 10 00 09");
    node_expect(&node, "04 0E 00 09");
    observer_expect(at_home, "t/a", "x", 2);
    observer_expect(at_cloud, "t/a", "x", 2);
    observer_quiet(at_home, 300);
    observer_quiet(at_cloud, 300);
    stop();
}

END_TEST

START_TEST(a_will_goes_where_its_topic_goes)
{
    start("[route r]\nfrom = w/#\nto = cloud\ntopic = lost/#");
    node_say(&node, "09 04 0C 01 00 01 64 65 76"); /* will, keep alive 1 s */
    node_expect(&node, "02 06");
    node_say(&node, "06 07 20 77 2F 31");
    node_expect(&node, "02 08");
    node_say(&node, "03 09 21");
    node_expect(&node, "03 05 00");
    observer_expect(at_cloud, "lost/1", "!", 1);
    observer_quiet(at_home, 300);
    stop();
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("routes");
    TCase *up = tcase_create("from nodes");
    tcase_set_timeout(up, 60);
    tcase_add_test(up, what_no_route_matches_goes_to_the_first_broker_only);
    tcase_add_test(up, a_route_says_wholly_where_its_topics_go);
    tcase_add_test(up, a_route_to_two_brokers_is_for_both);
    tcase_add_test(up, topic_qos_and_retain_are_the_routes);
    tcase_add_test(up, a_route_for_some_clients_is_not_for_others);
    suite_add_tcase(suite, up);
    TCase *down = tcase_create("to nodes");
    tcase_set_timeout(down, 60);
    tcase_add_test(down, a_node_hears_a_routed_topic_from_its_broker_under_its_own_name);
    tcase_add_test(down, a_route_up_leaves_what_comes_down_to_the_first_broker);
    tcase_add_test(down, an_unsubscribed_topic_is_silent_at_both_brokers);
    tcase_add_test(down, prefixes_are_put_before_topics_and_taken_away_again);
    tcase_add_test(down, a_client_id_that_would_leave_its_branch_is_refused);
    suite_add_tcase(suite, down);
    TCase *away = tcase_create("one of them is away");
    tcase_set_timeout(away, 60);
    tcase_add_test(away, what_a_broker_that_is_away_must_have_is_kept_for_it);
    tcase_add_test(away, without_a_store_a_required_broker_that_is_away_is_congestion);
    tcase_add_test(away, a_broker_that_is_not_required_delays_nobody);
    tcase_add_test(away, qos_2_reaches_both_brokers_once_through_a_crash);
    tcase_add_test(away, a_will_goes_where_its_topic_goes);
    suite_add_tcase(suite, away);
    return run_suite(suite);
}
