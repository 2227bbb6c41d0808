/* SPDX-License-Identifier: Apache-2.0 */
/* The router: sessions at several brokers, what nodes publish, and wills. */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "unit/router_life.h"
#include "unit/suite.h"

/* "own/..." goes to the first broker only (no route), "both/..." to both, "cloud/..." to the second,
 * "copy/..." to both, of which the second need not answer. */
static const struct route routes[] = {
    {.name = "both",
     .from = "both/#",
     .brokers = 3,
     .qos = -1,
     .up = true,
     .down = true,
     .required = true},
    {.name = "cloud",
     .from = "cloud/+/#",
     .brokers = 2,
     .topic = "{gateway}/{client}/+/x/#",
     .qos = -1,
     .up = true,
     .down = true,
     .required = true},
    {.name = "copy-home",
     .from = "copy/#",
     .brokers = 1,
     .qos = -1,
     .up = true,
     .down = true,
     .required = true},
    {.name = "copy-cloud",
     .from = "copy/#",
     .brokers = 2,
     .topic = "all",
     .qos = 1,
     .retain = ROUTE_RETAIN_YES,
     .up = true},
    {.name = "calm", .from = "calm/#",          .brokers = 2, .qos = 0,                             .up = true,                            .required = true},
};

static struct router_config two_brokers(void)
{
    struct router_config config = router_defaults();
    config.gateway = "gw";
    config.routes = routes;
    config.n_routes = sizeof routes / sizeof routes[0];
    config.n_brokers = 2;
    return config;
}

static struct router_life opened(void)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opened(&l, 1, "n1");
    return l;
}

/* ---- OPEN and CLOSE -------------------------------------------------------------------------- */

START_TEST(a_client_is_opened_at_all_its_brokers_and_is_open_as_soon_as_one_takes_it)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opens(&l, 1, "n1", true, NULL, 0);
    ck_assert_str_eq(router_said(&l), "0:open 1 clean; 1:open 1 clean");
    router_takes(&l, 1, false);
    ck_assert_str_eq(router_said(&l), "opened ok");
    router_takes(&l, 0, false);
    ck_assert_str_eq(router_said(&l), "");
    router_closes(&l, 1, SN_CLOSE_NORMAL, true);
    ck_assert_str_eq(router_said(&l), "0:close 1 normal discard; 1:close 1 normal discard");
    router_end(&l);
}

END_TEST

START_TEST(when_all_refuse_the_first_brokers_answer_is_the_clients)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opens(&l, 1, "n1", false, NULL, 0);
    router_answers(&l, 0, SN_REQ_OPEN, SN_REFUSED_BUSY);
    router_said(&l);
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_NEVER);
    ck_assert_str_eq(router_said(&l), "opened busy");
    router_closes(&l, 1, SN_CLOSE_NORMAL, true); /* as port.h has it */
    router_said(&l);

    router_opens(&l, 1, "n1", false, NULL, 0);
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_BUSY);
    router_said(&l);
    router_answers(&l, 0, SN_REQ_OPEN, SN_REFUSED_NEVER);
    ck_assert_str_eq(router_said(&l), "opened never");

    /* Refused altogether, it is not asked for again. */
    router_reaches(&l, 1, true, false);
    router_pass_time(&l, 120000);
    ck_assert_str_eq(router_said(&l), "up");
    router_end(&l);
}

END_TEST

START_TEST(a_broker_that_was_busy_gets_session_will_and_filters_when_it_is_back)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_reaches(&l, 0, true, false);
    router_opens(&l, 1, "n1", true, "both/will", 0);
    router_takes(&l, 0, false);
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_BUSY);
    router_said(&l);

    /* Required, so it is refused until then; at home it works. */
    router_publishes(&l, 1, "both/x", 1);
    ck_assert_str_eq(router_said(&l), "published 5 busy");
    router_subscribes(&l, 1, "both/x", 1);
    router_grants(&l, 0, 1);
    ck_assert_str_eq(router_said(&l), "0:sub 1 both/x q1; 0:unsub 1 both/x; subscribed 7 busy");
    router_publishes(&l, 1, "own/x", 1);
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "0:pub 1 own/x q1; published 5 ok");

    router_reaches(&l, 1, false, true);
    ck_assert_str_eq(router_said(&l), "1:open 1 clean will=both/will q1; up");
    router_takes(&l, 1, false);
    router_publishes(&l, 1, "both/x", 1);
    ck_assert_str_eq(router_said(&l), "0:pub 1 both/x q1; 1:pub 1 both/x q1");
    router_end(&l);
}

END_TEST

START_TEST(a_broker_that_is_there_and_busy_is_asked_again_after_a_while)
{
    struct router_life l = opened();
    router_opens(&l, 1, "n1", false, NULL, 0);
    router_takes(&l, 0, true);
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_BUSY);
    router_said(&l);
    router_pass_time(&l, 29000);
    ck_assert_str_eq(router_said(&l), "");
    router_pass_time(&l, 2000);
    ck_assert_str_eq(router_said(&l), "1:open 1");
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_NEVER);
    router_pass_time(&l, 120000); /* that was the last word */
    ck_assert_str_eq(router_said(&l), "");
    router_publishes(&l, 1, "both/x", 0);
    ck_assert_str_eq(router_said(&l), "published 5 never");

    /* Until the client comes anew. */
    router_opens(&l, 1, "n1", false, NULL, 0);
    ck_assert_str_eq(router_said(&l), "0:open 1; 1:open 1");
    router_end(&l);
}

END_TEST

START_TEST(an_answer_that_crossed_a_close_opens_nothing)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opens(&l, 1, "n1", false, NULL, 0);
    router_closes(&l, 1, SN_CLOSE_NORMAL, false);
    router_said(&l);
    router_takes(&l, 0, false);
    ck_assert_str_eq(router_said(&l), "");
    router_publishes(&l, 1, "own/x", 1);
    ck_assert_str_eq(router_said(&l), "published 5 busy");
    router_end(&l);
}

END_TEST

START_TEST(closed_by_one_broker_is_closed_at_all)
{
    struct router_life l = opened();
    router_event(l.r, l.now_ms, 1, &(struct sn_event){.type = SN_EV_CLOSED, .client = 1});
    router_pass_time(&l, 1);
    ck_assert_str_eq(router_said(&l), "0:close 1 normal; closed 1");
    router_publishes(&l, 1, "own/x", 1);
    ck_assert_str_eq(router_said(&l), "published 5 busy");
    router_opens(&l, 1, "n1", false, NULL, 0);
    ck_assert_str_eq(router_said(&l), "0:open 1; 1:open 1");
    router_end(&l);
}

END_TEST

/* The engine frees such a session without another word. */
START_TEST(of_a_clean_session_that_was_closed_by_a_broker_nothing_is_left)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opens(&l, 1, "n1", true, NULL, 0);
    router_takes(&l, 0, false);
    router_takes(&l, 1, false);
    router_said(&l);
    router_event(l.r, l.now_ms, 0, &(struct sn_event){.type = SN_EV_CLOSED, .client = 1});
    router_pass_time(&l, 1);
    ck_assert_str_eq(router_said(&l), "1:close 1 normal discard; closed 1");
    router_closes(&l, 1, SN_CLOSE_NORMAL, true);
    ck_assert_str_eq(router_said(&l), "");
    router_end(&l);
}

END_TEST

START_TEST(a_client_in_the_place_of_one_that_was_never_closed_closes_it)
{
    struct router_life l = opened();
    const uint64_t successor = 1 | UINT64_C(1) << SN_CLIENT_SLOT_BITS;
    router_opens(&l, successor, "n2", false, NULL, 0);
    ck_assert_str_eq(router_said(&l),
                     "0:close 1 normal discard; 1:close 1 normal discard; 0:open 16777217; "
                     "1:open 16777217");
    router_end(&l);
}

END_TEST

START_TEST(up_is_when_one_broker_is_up_and_accepting_when_one_accepts)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_reaches(&l, 1, false, true);
    ck_assert_str_eq(router_said(&l), "accepting");
    router_reaches(&l, 0, true, false);
    ck_assert_str_eq(router_said(&l), "up");
    router_reaches(&l, 0, true, true);
    ck_assert_str_eq(router_said(&l), "");
    router_reaches(&l, 1, true, false);
    router_reaches(&l, 0, false, false);
    ck_assert_str_eq(router_said(&l), "up"); /* nobody accepts any more */
    router_reaches(&l, 1, false, false);
    ck_assert_str_eq(router_said(&l), "down");
    router_end(&l);
}

END_TEST

/* ---- PUBLISH --------------------------------------------------------------------------------- */

START_TEST(a_topic_without_route_belongs_to_the_first_broker_under_its_name)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "own/x", 2);
    ck_assert_str_eq(router_said(&l), "0:pub 1 own/x q2");
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "published 5 ok");
    router_end(&l);
}

END_TEST

START_TEST(the_node_is_answered_when_every_required_broker_has_answered)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "both/x", 1);
    ck_assert_str_eq(router_said(&l), "0:pub 1 both/x q1; 1:pub 1 both/x q1");
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "");
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "published 5 ok");
    router_end(&l);
}

END_TEST

START_TEST(one_required_refusal_is_the_nodes_and_never_is_worse_than_busy)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "both/x", 1);
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_REFUSED_BUSY);
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "0:pub 1 both/x q1; 1:pub 1 both/x q1; published 5 busy");
    router_publishes(&l, 1, "both/x", 1);
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_REFUSED_NEVER);
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_REFUSED_BUSY);
    ck_assert_str_eq(router_said(&l), "0:pub 1 both/x q1; 1:pub 1 both/x q1; published 5 never");
    router_end(&l);
}

END_TEST

START_TEST(in_doubt_is_passed_on_and_waited_for)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "own/x", 2);
    router_said(&l);
    const struct router_asked q = l.asked[0];
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_IN_DOUBT);
    ck_assert_str_eq(router_said(&l), "published 5 doubt");
    l.asked[l.n_asked++] = q;
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "published 5 ok");
    router_end(&l);
}

END_TEST

START_TEST(others_that_need_not_answer_are_not_waited_for_and_their_refusals_are_counted)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "copy/x", 1);
    ck_assert_str_eq(router_said(&l), "0:pub 1 copy/x q1; 1:pub 1 all q1r");
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "published 5 ok");
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_REFUSED_BUSY);
    ck_assert_str_eq(router_said(&l), "");
    ck_assert_uint_eq(router_gauges(l.r).unheeded, 1);
    ck_assert_uint_eq(router_gauges(l.r).published, 2);
    router_end(&l);
}

END_TEST

START_TEST(a_broker_that_need_not_answer_and_is_away_costs_the_node_nothing)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opens(&l, 1, "n1", true, NULL, 0);
    router_takes(&l, 0, false);
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_BUSY);
    router_said(&l);
    router_publishes(&l, 1, "copy/x", 1);
    ck_assert_str_eq(router_said(&l), "0:pub 1 copy/x q1");
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "published 5 ok");
    ck_assert_uint_eq(router_gauges(l.r).unheeded, 1);
    router_end(&l);
}

END_TEST

START_TEST(routes_rewrite_with_the_clients_constants)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "cloud/hall/temp/1", 0);
    ck_assert_str_eq(router_said(&l), "1:pub 1 gw/n1/hall/x/temp/1 q0");
    router_end(&l);
}

END_TEST

START_TEST(qos_that_a_route_raises_is_answered_to_the_router_only)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "copy/x", 0); /* the engine's token is a topic id, which may be an open
                                             token, too */
    router_publishes(&l, 1, "own/x", 1);
    ck_assert_str_eq(router_said(&l), "0:pub 1 copy/x q0; 1:pub 1 all q1r; 0:pub 1 own/x q1");
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "");
    l.asked[0] = l.asked[1];
    l.n_asked = 1;
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "published 5 ok");
    router_end(&l);
}

END_TEST

START_TEST(where_a_route_lowers_qos_to_0_nothing_is_waited_for)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "calm/x", 1);
    ck_assert_str_eq(router_said(&l), "1:pub 1 calm/x q0; published 5 ok");
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_REFUSED_BUSY);
    ck_assert_str_eq(router_said(&l), "");
    ck_assert_uint_eq(router_gauges(l.r).unheeded, 1);
    router_end(&l);
}

END_TEST

START_TEST(of_qos_0_the_refusals_of_required_brokers_are_passed_on)
{
    struct router_life l = opened();
    router_publishes(&l, 1, "both/x", 0);
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_REFUSED_BUSY);
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_REFUSED_BUSY);
    ck_assert_str_eq(router_said(&l), "0:pub 1 both/x q0; 1:pub 1 both/x q0; published 5 busy; "
                                      "published 5 busy");
    router_end(&l);
}

END_TEST

START_TEST(talkers_without_session_have_an_empty_id_and_stay_at_qos_0)
{
    static const char *const names[] = {"l0", "l1"};
    static const char *const prefixes[] = {NULL, "{link}/"};
    static const struct route_prefix client_prefix = {.glob = "*", .prefix = "c/"};
    struct router_config config = two_brokers();
    config.link_names = names;
    config.link_prefixes = prefixes;
    config.n_links = 2;
    config.client_prefixes = &client_prefix;
    config.n_client_prefixes = 1;
    struct router_life l;
    router_begin(&l, config);
    router_publishes(&l, SN_NO_CLIENT, "cloud/a", 0); /* from link 1 */
    router_publishes(&l, SN_NO_CLIENT, "copy/a", 0);
    router_publishes(&l, SN_NO_CLIENT, "own/a", 0);
    ck_assert_str_eq(router_said(&l), "1:pub 0 gw//a/x q0; 0:pub 0 l1/copy/a q0; 1:pub 0 all q0r; "
                                      "0:pub 0 l1/own/a q0");
    router_answers(&l, 0, SN_REQ_PUBLISH, SN_REFUSED_BUSY);
    ck_assert_str_eq(router_said(&l), "published 0 busy");
    router_end(&l);
}

END_TEST

START_TEST(an_unknown_client_is_told_to_come_again)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_publishes(&l, 9, "own/x", 1);
    router_subscribes(&l, 9, "own/x", 1);
    router_unsubscribes(&l, 9, "own/x");
    router_closes(&l, 9, SN_CLOSE_LOST, true);
    ck_assert_str_eq(router_said(&l), "published 5 busy; subscribed 7 busy; unsubscribed 8");
    router_end(&l);
}

END_TEST

/* ---- hostile ids and names ------------------------------------------------------------------- */

START_TEST(a_client_id_that_is_no_level_of_a_topic_gets_nowhere_by_it)
{
    static const char *const ids[] = {"n1/x", "+", "#", "$CONTROL", "a\x01"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct router_life l;
        router_begin(&l, two_brokers());
        router_opened(&l, 1, ids[i]);
        router_publishes(&l, 1, "cloud/a/b", 1);
        ck_assert_str_eq(router_said(&l), "published 5 never");
        router_subscribes(&l, 1, "cloud/a/b", 1);
        ck_assert_str_eq(router_said(&l), "subscribed 7 never");
        router_subscribes(&l, 1, "#", 1); /* that would be part of it */
        ck_assert_str_eq(router_said(&l), "subscribed 7 never");
        router_publishes(&l, 1, "own/a", 0); /* all that has nothing to do with its id goes on */
        ck_assert_str_eq(router_said(&l), "0:pub 1 own/a q0");
        router_opens(&l, 1, ids[i], false, "cloud/a/will", 0);
        ck_assert_str_eq(router_said(&l), "opened never");
        router_end(&l);
    }
}

END_TEST

START_TEST(a_topic_that_becomes_too_long_is_refused_for_ever)
{
    static char topic[65536];
    static char filter[65536];
    snprintf(topic, sizeof topic, "cloud/%065529d", 0);
    ck_assert_uint_eq(strlen(topic), 65535);
    snprintf(filter, sizeof filter, "cloud/%065529d", 0);
    struct router_life l = opened();
    router_publishes(&l, 1, topic, 1);
    ck_assert_str_eq(router_said(&l), "published 5 never");
    router_subscribes(&l, 1, filter, 1);
    ck_assert_str_eq(router_said(&l), "subscribed 7 never");
    router_end(&l);
}

END_TEST

/* ---- wills ----------------------------------------------------------------------------------- */

START_TEST(a_will_goes_where_a_message_would_and_the_others_hear_that_there_is_none)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opens(&l, 1, "n1", true, "own/will", 0);
    ck_assert_str_eq(router_said(&l), "0:open 1 clean will=own/will q1; 1:open 1 clean");
    router_takes(&l, 0, false);
    router_takes(&l, 1, false);
    router_said(&l);
    router_sets_will(&l, 1, "copy/will");
    ck_assert_str_eq(router_said(&l), "0:will 1 copy/will q1; 1:will 1 all q1r");
    router_sets_will(&l, 1, "cloud/w/1");
    ck_assert_str_eq(router_said(&l), "0:will 1 none; 1:will 1 gw/n1/w/x/1 q1");
    router_sets_will(&l, 1, NULL);
    ck_assert_str_eq(router_said(&l), "0:will 1 none; 1:will 1 none");
    router_closes(&l, 1, SN_CLOSE_LOST, true);
    ck_assert_str_eq(router_said(&l), "0:close 1 lost discard; 1:close 1 lost discard");
    router_end(&l);
}

END_TEST

START_TEST(a_will_for_a_broker_that_never_took_the_client_is_counted_as_lost)
{
    struct router_life l;
    router_begin(&l, two_brokers());
    router_opens(&l, 1, "n1", true, "both/will", 0);
    router_takes(&l, 0, false);
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_BUSY);
    router_closes(&l, 1, SN_CLOSE_LOST, true);
    ck_assert_uint_eq(router_gauges(l.r).wills_dropped, 1);
    router_end(&l);
}

END_TEST

/* ---- bounds ---------------------------------------------------------------------------------- */

START_TEST(beyond_its_memory_requests_are_refused_as_busy)
{
    struct router_config config = two_brokers();
    config.max_memory_bytes = 4096;
    struct router_life l;
    router_begin(&l, config);
    unsigned taken = 0;
    for (unsigned i = 1; i < 200; i++) {
        router_opens(&l, i, "n", false, NULL, 0);
        const bool busy = strstr(router_said(&l), "opened busy") != NULL;
        taken += !busy;
        l.n_asked = 0;
        ck_assert_uint_le(router_gauges(l.r).memory_bytes, 4096);
    }
    ck_assert_uint_gt(taken, 1);
    ck_assert_uint_lt(taken, 100);
    router_end(&l);
}

END_TEST

START_TEST(raised_qos_0_of_one_client_does_not_take_all_memory)
{
    struct router_life l = opened();
    for (unsigned i = 0; i < 10000; i++) {
        router_publishes(&l, 1, "copy/x", 0);
        router_said(&l);
        l.n_asked = 0;
    }
    ck_assert_uint_lt(router_gauges(l.r).memory_bytes, 1 << 20);
    router_end(&l);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("router");
    TCase *sessions = tcase_create("sessions");
    tcase_add_test(sessions,
                   a_client_is_opened_at_all_its_brokers_and_is_open_as_soon_as_one_takes_it);
    tcase_add_test(sessions, when_all_refuse_the_first_brokers_answer_is_the_clients);
    tcase_add_test(sessions, a_broker_that_was_busy_gets_session_will_and_filters_when_it_is_back);
    tcase_add_test(sessions, a_broker_that_is_there_and_busy_is_asked_again_after_a_while);
    tcase_add_test(sessions, an_answer_that_crossed_a_close_opens_nothing);
    tcase_add_test(sessions, closed_by_one_broker_is_closed_at_all);
    tcase_add_test(sessions, of_a_clean_session_that_was_closed_by_a_broker_nothing_is_left);
    tcase_add_test(sessions, a_client_in_the_place_of_one_that_was_never_closed_closes_it);
    tcase_add_test(sessions, up_is_when_one_broker_is_up_and_accepting_when_one_accepts);
    suite_add_tcase(suite, sessions);
    TCase *publish = tcase_create("publish");
    tcase_add_test(publish, a_topic_without_route_belongs_to_the_first_broker_under_its_name);
    tcase_add_test(publish, the_node_is_answered_when_every_required_broker_has_answered);
    tcase_add_test(publish, one_required_refusal_is_the_nodes_and_never_is_worse_than_busy);
    tcase_add_test(publish, in_doubt_is_passed_on_and_waited_for);
    tcase_add_test(publish,
                   others_that_need_not_answer_are_not_waited_for_and_their_refusals_are_counted);
    tcase_add_test(publish, a_broker_that_need_not_answer_and_is_away_costs_the_node_nothing);
    tcase_add_test(publish, routes_rewrite_with_the_clients_constants);
    tcase_add_test(publish, qos_that_a_route_raises_is_answered_to_the_router_only);
    tcase_add_test(publish, where_a_route_lowers_qos_to_0_nothing_is_waited_for);
    tcase_add_test(publish, of_qos_0_the_refusals_of_required_brokers_are_passed_on);
    tcase_add_test(publish, talkers_without_session_have_an_empty_id_and_stay_at_qos_0);
    tcase_add_test(publish, an_unknown_client_is_told_to_come_again);
    suite_add_tcase(suite, publish);
    TCase *hostile = tcase_create("hostile");
    tcase_add_test(hostile, a_client_id_that_is_no_level_of_a_topic_gets_nowhere_by_it);
    tcase_add_test(hostile, a_topic_that_becomes_too_long_is_refused_for_ever);
    tcase_add_test(hostile, beyond_its_memory_requests_are_refused_as_busy);
    tcase_add_test(hostile, raised_qos_0_of_one_client_does_not_take_all_memory);
    suite_add_tcase(suite, hostile);
    TCase *wills = tcase_create("wills");
    tcase_add_test(wills, a_will_goes_where_a_message_would_and_the_others_hear_that_there_is_none);
    tcase_add_test(wills, a_will_for_a_broker_that_never_took_the_client_is_counted_as_lost);
    suite_add_tcase(suite, wills);
    return run_suite(suite);
}
