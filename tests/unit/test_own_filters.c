/* SPDX-License-Identifier: Apache-2.0 */
/* A client's own session: its subscriptions, retained messages, and restarts. */
#include <check.h>

#include "unit/own_life.h"
#include "unit/suite.h"

static struct own_life subscribed(bool clean, const char *filter, uint8_t qos)
{
    struct own_life l = own_opened(clean, NULL);
    own_subscribes(&l, filter, qos);
    own_answers(&l, UP_OK, qos);
    own_said(&l);
    own_records(&l);
    return l;
}

START_TEST(the_broker_grants)
{
    struct own_life l = own_opened(true, NULL);
    own_subscribes(&l, "a/#", 2);
    ck_assert_str_eq(own_said(&l), "sub a/# q2");
    own_answers(&l, UP_OK, 1);
    ck_assert_str_eq(own_said(&l), "subscribed 7 q1");
    ck_assert_str_eq(own_records(&l), "+a/# q1");
    own_subscribes(&l, "a/#", 1); /* each one goes on: only that brings retained messages */
    own_answers(&l, UP_OK, 1);
    ck_assert_str_eq(own_said(&l), "sub a/# q1; subscribed 7 q1");
    ck_assert_str_eq(own_records(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(the_broker_refuses)
{
    struct own_life l = own_opened(true, NULL);
    own_subscribes(&l, "a", 2);
    own_answers(&l, UP_REFUSED, 0);
    own_subscribes(&l, "a", 2);
    own_answers(&l, UP_BUSY, 0);
    ck_assert_str_eq(own_said(&l), "sub a q2; subscribed 7 never; sub a q2; subscribed 7 busy");
    ck_assert_str_eq(own_records(&l), "");
    ck_assert_uint_eq(own_gauges(l.o).filters, 0);
    own_end(&l);
}

END_TEST

START_TEST(more_filters_than_allowed_are_refused_as_busy)
{
    struct own_life l = own_opened(true, NULL);
    char filter[] = "0";
    for (; filter[0] < '8'; filter[0]++) {
        own_subscribes(&l, filter, 1);
        own_answers(&l, UP_OK, 1);
    }
    own_said(&l);
    own_subscribes(&l, "8", 1);
    ck_assert_str_eq(own_said(&l), "subscribed 7 busy");
    own_end(&l);
}

END_TEST

START_TEST(unsubscribed_is_answered_when_the_broker_has)
{
    struct own_life l = subscribed(true, "a", 1);
    own_unsubscribes(&l, "a");
    ck_assert_str_eq(own_said(&l), "unsub a");
    ck_assert_str_eq(own_records(&l), "-a");
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "unsubscribed 8");
    ck_assert_uint_eq(own_gauges(l.o).filters, 0);
    own_unsubscribes(&l, "b");
    ck_assert_str_eq(own_said(&l), "unsubscribed 8");

    own_subscribes(&l, "a", 1); /* and before the SUBACK */
    own_unsubscribes(&l, "a");
    ck_assert_str_eq(own_said(&l), "sub a q1; subscribed 7 busy");
    own_answers(&l, UP_OK, 1);
    ck_assert_str_eq(own_said(&l), "unsub a");
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_said(&l), "unsubscribed 8");
    ck_assert_str_eq(own_records(&l), "");
    ck_assert_uint_eq(own_gauges(l.o).filters, 0);
    own_end(&l);
}

END_TEST

START_TEST(who_unsubscribes_does_not_wait_for_a_broker_that_has_gone_or_is_busy_for_long)
{
    struct own_life l = subscribed(false, "a", 1);
    own_unsubscribes(&l, "a");
    own_loses(&l);
    ck_assert_str_eq(own_said(&l), "unsub a; unsubscribed 8");
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "unsub a");
    own_answers(&l, UP_BUSY, 0);
    own_unsubscribes(&l, "a"); /* again, as nodes do that were not answered */
    ck_assert_str_eq(own_said(&l), "unsub a");
    own_answers(&l, UP_BUSY, 0);
    own_unsubscribes(&l, "a");
    ck_assert_str_eq(own_said(&l), "unsub a; unsubscribed 8");
    own_answers(&l, UP_REFUSED, 0); /* there was none */
    ck_assert_str_eq(own_said(&l), "unsubscribed 8");
    ck_assert_uint_eq(own_gauges(l.o).filters, 0);

    own_subscribes(&l, "b", 1);
    own_unsubscribes(&l, "b");
    own_answers(&l, UP_REFUSED, 0);
    ck_assert_str_eq(own_said(&l), "sub b q1; subscribed 7 busy; unsubscribed 8");
    own_end(&l);
}

END_TEST

START_TEST(subscribed_anew_before_the_unsuback_it_stays)
{
    struct own_life l = subscribed(false, "a", 1);
    own_unsubscribes(&l, "a");
    own_subscribes(&l, "a", 2);
    own_answers(&l, UP_OK, 0);
    own_answers(&l, UP_OK, 2);
    ck_assert_str_eq(own_said(&l), "unsub a; sub a q2; unsubscribed 8; subscribed 7 q2");
    ck_assert_str_eq(own_records(&l), "-a, +a q2");
    own_loses(&l);
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "sub a q2");
    own_end(&l);
}

END_TEST

START_TEST(a_broker_that_has_lost_the_session_gets_the_filters_again)
{
    struct own_life l = subscribed(false, "a", 1);
    own_loses(&l);
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "");
    own_loses(&l);
    own_pass_time(&l, 10000);
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "sub a q1");
    own_answers(&l, UP_BUSY, 0); /* it is asked again */
    own_pass_time(&l, 1000);
    ck_assert_str_eq(own_said(&l), "sub a q1");
    own_answers(&l, UP_REFUSED, 0); /* but not then */
    own_pass_time(&l, 100000);
    ck_assert_str_eq(own_said(&l), "");
    ck_assert_str_eq(own_records(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(unsubscribed_while_the_broker_is_away_it_hears_that_later)
{
    struct own_life l = subscribed(false, "a", 1);
    own_loses(&l);
    own_unsubscribes(&l, "a");
    ck_assert_str_eq(own_said(&l), "unsubscribed 8");
    ck_assert_str_eq(own_records(&l), "-a");
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "unsub a");
    own_answers(&l, UP_OK, 0);
    ck_assert_uint_eq(own_gauges(l.o).filters, 0);
    own_end(&l);

    l = subscribed(false, "a", 1);
    own_loses(&l);
    own_unsubscribes(&l, "a");
    own_connects(&l, false); /* it knows nothing anyway */
    ck_assert_str_eq(own_said(&l), "unsubscribed 8");
    ck_assert_uint_eq(own_gauges(l.o).filters, 0);
    own_end(&l);
}

END_TEST

START_TEST(while_the_broker_is_away_a_known_subscription_is_granted_a_new_one_is_not)
{
    struct own_life l = subscribed(false, "a", 2);
    own_loses(&l);
    own_subscribes(&l, "a", 1);
    ck_assert_str_eq(own_said(&l), "subscribed 7 busy");
    own_is_accepting(&l, true);
    own_subscribes(&l, "a", 1);
    own_subscribes(&l, "b", 1);
    ck_assert_str_eq(own_said(&l), "subscribed 7 q1; subscribed 7 busy");
    ck_assert_str_eq(own_records(&l), "+a q1");

    /* Its retained messages come with the broker, though that has it. */
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "sub a q1");
    own_answers(&l, UP_OK, 1);
    own_tells(&l, "a", 1, true, 0);
    ck_assert_str_eq(own_said(&l), "message a q1 r");
    own_end(&l);
}

END_TEST

START_TEST(retained_messages_are_for_those_who_have_asked)
{
    struct own_life l = own_opened(false, NULL);
    own_subscribes(&l, "a/#", 1);
    own_tells(&l, "a/0", 1, true, 0); /* before the SUBACK */
    own_answers(&l, UP_OK, 1);
    own_tells(&l, "a/1", 1, true, 3);
    own_tells(&l, "b", 1, true, 4);
    own_said(&l);
    for (unsigned i = 0; i < 5; i++) { /* as long as they come */
        own_pass_time(&l, 4000);
        own_tells(&l, "a/2", 1, true, 0);
        ck_assert_str_eq(own_said(&l), "message a/2 q1 r");
    }
    own_pass_time(&l, 6000);
    own_tells(&l, "a/3", 1, true, 0);
    own_tells(&l, "a/3", 1, false, 0);
    ck_assert_str_eq(own_said(&l), "message a/3 q1");

    own_loses(&l);
    own_pass_time(&l, 10000);
    own_connects(&l, false); /* subscribed again behind its back */
    own_answers(&l, UP_OK, 1);
    own_said(&l);
    own_tells(&l, "a/1", 1, true, 0);
    ck_assert_str_eq(own_said(&l), "");
    ck_assert_uint_eq(own_gauges(l.o).unasked, 3);
    own_end(&l);
}

END_TEST

START_TEST(what_mqtt_forbids_as_a_name_goes_to_nobody)
{
    static const char *const names[] = {"", "a/+", "#", "a\xFF", "a/\xED\xA0\x80"};
    struct own_life l = subscribed(true, "#", 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        own_tells(&l, names[i], 1, false, 0);
    ck_assert_str_eq(own_said(&l), "");
    ck_assert_uint_eq(own_gauges(l.o).unasked, sizeof names / sizeof names[0]);
    own_tells(&l, "a\x01", 1, false, 0); /* imprudent, but no more than that */
    ck_assert_str_eq(own_said(&l), "message a\x01 q1");
    own_end(&l);
}

END_TEST

START_TEST(messages_of_a_stored_session_reach_its_client_while_it_is_away)
{
    struct own_life l = subscribed(false, "a", 1);
    own_publishes(&l, "t", 1);
    own_closes(&l, SN_CLOSE_NORMAL, false); /* something is open, so the connection stays */
    own_said(&l);
    own_tells(&l, "a", 1, false, 9);
    ck_assert_str_eq(own_said(&l), "message a q1 j9");
    own_closes(&l, SN_CLOSE_NORMAL, true);
    own_tells(&l, "a", 1, false, 10);
    ck_assert_str_eq(own_said(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(a_clean_open_forgets_the_filters)
{
    struct own_life l = subscribed(false, "a", 1);
    own_opens(&l, OWN_KEY, true, NULL);
    ck_assert_str_eq(own_records(&l), ""); /* not before it is opened */
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "disconnect; connect clean; opened ok");
    ck_assert_str_eq(own_records(&l), "-a");
    own_end(&l);
}

END_TEST

/* ---- restarts -------------------------------------------------------------------------------- */

START_TEST(the_broker_is_asked_for_restored_filters_whatever_it_remembers)
{
    struct own_life l = own_begin();
    ck_assert_int_eq(own_restores(&l, "a", 1), 0);
    ck_assert_int_eq(own_restores(&l, "b#", 1), 1);
    ck_assert_int_eq(own_restores(&l, "b", 3), 1);
    ck_assert(!own_is_over(l.o));
    own_opens(&l, OWN_KEY, false, NULL);
    own_connects(&l, true);
    ck_assert_str_eq(own_said(&l), "connect; sub a q1; opened ok present");
    own_answers(&l, UP_OK, 1);
    own_tells(&l, "a", 1, true, 0); /* of which the node has not asked */
    ck_assert_str_eq(own_said(&l), "");
    ck_assert_str_eq(own_records(&l), "");
    own_end(&l);
}

END_TEST

START_TEST(a_restored_session_that_is_discarded_is_wiped)
{
    struct own_life l = own_begin();
    own_restore_session(l.o, false);
    own_closes(&l, SN_CLOSE_NORMAL, true);
    own_connects(&l, false);
    ck_assert_str_eq(own_said(&l), "connect clean; disconnect");
    ck_assert(own_is_over(l.o));
    own_end(&l);

    l = own_begin();
    own_restore_session(l.o, true); /* of which the broker has nothing */
    own_closes(&l, SN_CLOSE_NORMAL, true);
    ck_assert_str_eq(own_said(&l), "");
    ck_assert(own_is_over(l.o));
    own_end(&l);
}

END_TEST

START_TEST(everything_there_is_to_record_is_told_while_it_changes)
{
    struct own_life l = subscribed(false, "a", 1);
    own_subscribes(&l, "b", 1);
    own_answers(&l, UP_OK, 0);
    own_records(&l);
    own_record_all(l.o);
    ck_assert_str_eq(own_records(&l), "+a q1, +b q0");
    own_record_all(l.o);
    struct sn_record record;
    ck_assert(own_peek_record(l.o, &record));
    own_unsubscribes(&l, "a");
    own_answers(&l, UP_OK, 0);
    ck_assert_str_eq(own_records(&l), "-a, +b q0");
    own_end(&l);
}

END_TEST

START_TEST(idle_a_session_is_small)
{
    struct own_life l = subscribed(false, "a", 1);
    ck_assert_uint_lt(own_gauges(l.o).memory_bytes, 2048);
    own_end(&l);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("own_filters");
    TCase *filters = tcase_create("filters");
    tcase_add_test(filters, the_broker_grants);
    tcase_add_test(filters, the_broker_refuses);
    tcase_add_test(filters, more_filters_than_allowed_are_refused_as_busy);
    tcase_add_test(filters, unsubscribed_is_answered_when_the_broker_has);
    tcase_add_test(filters,
                   who_unsubscribes_does_not_wait_for_a_broker_that_has_gone_or_is_busy_for_long);
    tcase_add_test(filters, subscribed_anew_before_the_unsuback_it_stays);
    tcase_add_test(filters, a_broker_that_has_lost_the_session_gets_the_filters_again);
    tcase_add_test(filters, unsubscribed_while_the_broker_is_away_it_hears_that_later);
    tcase_add_test(filters,
                   while_the_broker_is_away_a_known_subscription_is_granted_a_new_one_is_not);
    tcase_add_test(filters, a_clean_open_forgets_the_filters);
    suite_add_tcase(suite, filters);
    TCase *messages = tcase_create("messages");
    tcase_add_test(messages, retained_messages_are_for_those_who_have_asked);
    tcase_add_test(messages, what_mqtt_forbids_as_a_name_goes_to_nobody);
    tcase_add_test(messages, messages_of_a_stored_session_reach_its_client_while_it_is_away);
    suite_add_tcase(suite, messages);
    TCase *restarts = tcase_create("restarts");
    tcase_add_test(restarts, the_broker_is_asked_for_restored_filters_whatever_it_remembers);
    tcase_add_test(restarts, a_restored_session_that_is_discarded_is_wiped);
    tcase_add_test(restarts, everything_there_is_to_record_is_told_while_it_changes);
    tcase_add_test(restarts, idle_a_session_is_small);
    suite_add_tcase(suite, restarts);
    return run_suite(suite);
}
