/* SPDX-License-Identifier: Apache-2.0 */
/* The will of a client with a session of its own: who publishes it, and how it changes. */
#include <check.h>

#include "unit/own_life.h"
#include "unit/suite.h"

START_TEST(the_will_of_a_lost_node_is_published_by_the_broker_whose_connection_is_cut)
{
    struct own_life l = own_opened(true, "w");
    own_closes(&l, SN_CLOSE_LOST, true);
    ck_assert_str_eq(own_said(&l), "abort");
    ck_assert(own_is_over(l.o));
    own_end(&l);
}

END_TEST

START_TEST(behind_messages_that_wait_the_will_is_a_message)
{
    struct own_life l = own_opened(true, "w");
    own_has_backlog(&l, 1);
    own_closes(&l, SN_CLOSE_LOST, true);
    ck_assert_str_eq(own_said(&l), "pub w q1 will");
    own_answers(&l, UP_BUSY, 0); /* again in a while */
    own_pass_time(&l, 1000);
    ck_assert_str_eq(own_said(&l), "pub w q1 will");
    own_has_backlog(&l, 0);
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "disconnect");
    ck_assert(own_is_over(l.o));
    own_end(&l);
}

END_TEST

START_TEST(without_connection_the_will_waits_for_one)
{
    struct own_life l = own_opened(false, "w");
    own_loses(&l);
    own_closes(&l, SN_CLOSE_LOST, false);
    ck_assert_str_eq(own_said(&l), "disconnect; connect");
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "pub w q1 will");
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "disconnect");
    own_end(&l);
}

END_TEST

START_TEST(with_a_spool_the_will_does_not_wait)
{
    struct own_life l = own_opened(true, "w");
    own_is_accepting(&l, true);
    own_loses(&l);
    own_said(&l);
    own_closes(&l, SN_CLOSE_LOST, true);
    ck_assert_str_eq(own_said(&l), "pub w q1 will; disconnect; connect clean");
    own_end(&l);
}

END_TEST

START_TEST(a_new_will_needs_a_new_connection_when_nothing_is_open)
{
    struct own_life l = own_opened(true, "w");
    own_subscribes(&l, "a", 1);
    own_answers(&l, UP_OK, 1);
    own_publishes(&l, "t", 1);
    own_said(&l);
    own_sets_will(&l, "v");
    own_pass_time(&l, 5000);
    ck_assert_str_eq(own_said(&l), ""); /* something is open */
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "disconnect; connect clean will=v q1; published 5 ok");
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "sub a q1");
    own_answers(&l, UP_OK, 1);
    own_closes(&l, SN_CLOSE_LOST, true);
    ck_assert_str_eq(own_said(&l), "abort");
    own_end(&l);
}

END_TEST

START_TEST(a_will_that_changes_in_two_steps_or_often_costs_one_connection)
{
    struct own_life l = own_opened(false, "w");
    own_sets_will(&l, "v");
    own_pass_time(&l, 500);
    own_sets_will(&l, "u");
    own_pass_time(&l, 900);
    ck_assert_str_eq(own_said(&l), "");
    own_pass_time(&l, 200);
    ck_assert_str_eq(own_said(&l), "disconnect; connect will=u q1");
    own_connects(&l, true);
    own_sets_will(&l, NULL);
    own_pass_time(&l, 9000);
    ck_assert_str_eq(own_said(&l), "");
    own_sets_will(&l, "u"); /* as it was */
    own_pass_time(&l, 9000);
    ck_assert_str_eq(own_said(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(lost_before_its_new_will_is_the_connections_a_node_has_the_new_one)
{
    struct own_life l = own_opened(true, "w");
    own_sets_will(&l, "v");
    own_closes(&l, SN_CLOSE_LOST, true);
    ck_assert_str_eq(own_said(&l), "pub v q1 will");
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "disconnect"); /* which takes the old one away */
    own_end(&l);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("own: wills");
    TCase *wills = tcase_create("wills");
    tcase_add_test(wills,
                   the_will_of_a_lost_node_is_published_by_the_broker_whose_connection_is_cut);
    tcase_add_test(wills, behind_messages_that_wait_the_will_is_a_message);
    tcase_add_test(wills, without_connection_the_will_waits_for_one);
    tcase_add_test(wills, with_a_spool_the_will_does_not_wait);
    tcase_add_test(wills, a_new_will_needs_a_new_connection_when_nothing_is_open);
    tcase_add_test(wills, a_will_that_changes_in_two_steps_or_often_costs_one_connection);
    tcase_add_test(wills, lost_before_its_new_will_is_the_connections_a_node_has_the_new_one);
    suite_add_tcase(suite, wills);
    return run_suite(suite);
}
