/* SPDX-License-Identifier: Apache-2.0 */
/* Other routes and prefixes while sessions go on: brokers hear exactly what they must. */
#include <string.h>

#include <check.h>

#include "unit/router_life.h"
#include "unit/suite.h"

enum { BOTH = 3, HOME = 1, CLOUD = 2 };

static const struct route to_cloud[] = {
    {.name = "r",
     .from = "t/#",
     .brokers = CLOUD,
     .qos = -1,
     .up = true,
     .down = true,
     .required = true}
};
static const struct route to_both[] = {
    {.name = "r",
     .from = "t/#",
     .brokers = BOTH,
     .qos = -1,
     .up = true,
     .down = true,
     .required = true}
};
static const struct route renamed[] = {
    {.name = "r",
     .from = "t/#",
     .brokers = CLOUD,
     .topic = "plant/{client}/#",
     .qos = 1,
     .up = true,
     .down = true,
     .required = true}
};

static struct router_config with(const struct route *route, const char *prefix)
{
    struct router_config config = router_defaults();
    config.prefix = prefix;
    config.routes = route;
    config.n_routes = route != NULL ? 1 : 0;
    config.n_brokers = 2;
    return config;
}

static struct router_life opened(const struct route *route, const char *prefix)
{
    struct router_life l;
    router_begin(&l, with(route, prefix));
    router_opened(&l, 1, "n1");
    return l;
}

static void change(struct router_life *l, const struct route *route, const char *prefix)
{
    const struct router_config config = with(route, prefix);
    router_changes(l, &config);
}

static void subscribed(struct router_life *l, const char *filter, uint8_t qos)
{
    router_subscribes(l, 1, filter, qos);
    while (l->n_asked > 0)
        router_grants(l, l->asked[0].broker, 2);
    router_said(l);
    router_records(l);
}

START_TEST(the_same_routes_change_nothing)
{
    struct router_life l = opened(to_both, "p/");
    subscribed(&l, "t/a", 1);
    subscribed(&l, "#", 2);
    change(&l, to_both, "p/");
    ck_assert_str_eq(router_said(&l), "");
    ck_assert_str_eq(router_records(&l), "");
    router_end(&l);
}

END_TEST

START_TEST(a_filter_follows_its_route_to_another_broker)
{
    struct router_life l = opened(NULL, "");
    subscribed(&l, "t/a", 1);
    change(&l, to_cloud, "");
    ck_assert_str_eq(router_said(&l), "1:open 1 clean; 0:unsub 1 t/a");
    router_takes(&l, 1, false);
    ck_assert_str_eq(router_said(&l), "1:sub 1 t/a q1");
    router_grants(&l, 1, 2);
    router_tells(&l, 1, "t/a", 1, 0, (const uint64_t[]){1}, 1);
    ck_assert_str_eq(router_said(&l), "message t/a 1:q1");
    router_publishes(&l, 1, "t/b", 1);
    ck_assert_str_eq(router_said(&l), "1:pub 1 t/b q1");
    change(&l, NULL, "");
    ck_assert_str_eq(router_said(&l), "0:sub 1 t/a q1; 1:unsub 1 t/a; 1:close 1 normal discard");
    /* what the broker had is still answered */
    router_answers(&l, 1, SN_REQ_PUBLISH, SN_OK);
    ck_assert_str_eq(router_said(&l), "published 5 ok");
    ck_assert_str_eq(router_records(&l), "");
    router_end(&l);
}

END_TEST

/* What it takes to be there, and what comes of going over with so much memory. */
static uint64_t go_over_with(uint64_t max_memory_bytes, bool *dropped)
{
    struct router_life l;
    struct router_config config = with(to_both, "");
    config.max_memory_bytes = max_memory_bytes;
    router_begin(&l, config);
    router_opened(&l, 1, "n");
    router_subscribes(&l, 1, "t/a", 1);
    router_grants(&l, 0, 1);
    router_grants(&l, 1, 1);
    router_said(&l);
    const uint64_t used = router_gauges(l.r).memory_bytes;
    config = with(NULL, "a/prefix/that/takes/some/memory/");
    (void)router_configure(l.r, l.now_ms, &config);
    router_pass_time(&l, 0);
    const char *said = router_said(&l);
    *dropped = strstr(said, "closed 1") != NULL;
    ck_assert_msg(!*dropped || strstr(said, "1:close 1 normal discard") != NULL, "%s", said);
    router_end(&l);
    return used;
}

START_TEST(who_is_dropped_for_want_of_memory_is_closed_also_where_he_was_before)
{
    bool dropped;
    unsigned n = 0;
    const uint64_t used = go_over_with(1 << 20, &dropped);
    ck_assert(!dropped);
    for (uint64_t more = 200; more < 2000; more += 8) {
        go_over_with(used + more, &dropped);
        n += dropped;
    }
    ck_assert_uint_gt(n, 0);
}

END_TEST

START_TEST(a_broker_that_stays_keeps_what_it_has)
{
    struct router_life l = opened(to_cloud, "");
    subscribed(&l, "t/a", 1);
    subscribed(&l, "#", 0);
    change(&l, to_both, "");
    ck_assert_str_eq(router_said(&l), "0:sub 1 t/a q1; 0:sub 1 t/# q0");
    while (l.n_asked > 0)
        router_grants(&l, 0, 2);
    router_said(&l);
    change(&l, to_cloud, "");
    ck_assert_str_eq(router_said(&l), "0:unsub 1 t/a; 0:unsub 1 t/#");
    router_end(&l);
}

END_TEST

START_TEST(another_prefix_renames_filters_and_the_will)
{
    struct router_life l = opened(NULL, "old/");
    subscribed(&l, "a/+", 1);
    router_sets_will(&l, 1, "gone");
    ck_assert_str_eq(router_said(&l), "0:will 1 old/gone q1");
    change(&l, NULL, "new/");
    ck_assert_str_eq(router_said(&l),
                     "0:sub 1 new/a/+ q1; 0:unsub 1 old/a/+; 0:will 1 new/gone q1");
    router_grants(&l, 0, 1);
    router_tells(&l, 0, "new/a/b", 1, 0, (const uint64_t[]){1}, 1);
    ck_assert_str_eq(router_said(&l), "message a/b 1:q1");
    router_publishes(&l, SN_NO_CLIENT, "x", 0);
    ck_assert_str_eq(router_said(&l), "0:pub 0 new/x q0");
    router_end(&l);
}

END_TEST

START_TEST(a_subscribe_that_is_open_is_asked_again_and_answered_once)
{
    struct router_life l = opened(to_cloud, "");
    router_subscribes(&l, 1, "t/a", 1);
    ck_assert_str_eq(router_said(&l), "1:sub 1 t/a q1");
    change(&l, renamed, "");
    ck_assert_str_eq(router_said(&l), "1:sub 1 plant/n1/a q1; 1:unsub 1 t/a");
    router_grants(&l, 1, 2); /* the earlier one */
    ck_assert_str_eq(router_said(&l), "");
    router_grants(&l, 1, 2);
    ck_assert_str_eq(router_said(&l), "subscribed 7 q1");
    ck_assert_str_eq(router_records(&l), "+1 t/a q1");
    router_end(&l);
}

END_TEST

START_TEST(an_open_that_is_not_answered_goes_on_where_it_still_counts)
{
    struct router_life l;
    router_begin(&l, with(to_both, ""));
    router_reaches(&l, 0, true, false);
    router_reaches(&l, 1, true, false);
    router_said(&l);
    router_opens(&l, 1, "n1", false, NULL, 0);
    ck_assert_str_eq(router_said(&l), "0:open 1; 1:open 1");
    change(&l, NULL, "");
    ck_assert_str_eq(router_said(&l), "1:close 1 normal discard");
    router_answers(&l, 1, SN_REQ_OPEN, SN_OK);
    ck_assert_str_eq(router_said(&l), "");
    router_answers(&l, 0, SN_REQ_OPEN, SN_OK);
    ck_assert_str_eq(router_said(&l), "opened ok");
    router_end(&l);
}

END_TEST

START_TEST(a_stored_session_hears_of_its_filters_new_names_while_its_node_is_away)
{
    struct router_life l = opened(NULL, "old/");
    subscribed(&l, "a", 1);
    router_closes(&l, 1, SN_CLOSE_NORMAL, false);
    router_said(&l);
    change(&l, NULL, "new/");
    ck_assert_str_eq(router_said(&l), "0:open 1; 0:unsub 1 old/a");
    router_takes(&l, 0, true);
    ck_assert_str_eq(router_said(&l), "0:sub 1 new/a q1; 0:close 1 normal");
    router_grants(&l, 0, 1);
    ck_assert_str_eq(router_said(&l), "");
    router_tells(&l, 0, "new/a", 1, 0, (const uint64_t[]){1}, 1);
    ck_assert_str_eq(router_said(&l), "message a 1:q1");
    /* and with a broker that is away, when that is back */
    router_reaches(&l, 0, false, false);
    router_said(&l);
    change(&l, NULL, "");
    ck_assert_str_eq(router_said(&l), "0:open 1; 0:unsub 1 new/a");
    router_answers(&l, 0, SN_REQ_OPEN, SN_REFUSED_BUSY);
    router_reaches(&l, 0, true, false);
    router_said(&l);
    router_takes(&l, 0, true);
    ck_assert_str_eq(router_said(&l), "0:sub 1 a q1; 0:close 1 normal");
    router_end(&l);
}

END_TEST

START_TEST(a_filter_that_has_no_name_any_more_ends)
{
    struct router_life l;
    router_begin(&l, with(to_cloud, ""));
    router_opened(&l, 1, "a/b"); /* can't be one level of a topic */
    subscribed(&l, "t/a", 1);
    change(&l, renamed, "");
    ck_assert_str_eq(router_said(&l), "1:unsub 1 t/a");
    ck_assert_str_eq(router_records(&l), "-1 t/a");
    router_end(&l);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("router_change");
    TCase *t = tcase_create("routes");
    tcase_add_test(t, the_same_routes_change_nothing);
    tcase_add_test(t, a_filter_follows_its_route_to_another_broker);
    tcase_add_test(t, a_broker_that_stays_keeps_what_it_has);
    tcase_add_test(t, who_is_dropped_for_want_of_memory_is_closed_also_where_he_was_before);
    tcase_add_test(t, another_prefix_renames_filters_and_the_will);
    tcase_add_test(t, a_subscribe_that_is_open_is_asked_again_and_answered_once);
    tcase_add_test(t, an_open_that_is_not_answered_goes_on_where_it_still_counts);
    tcase_add_test(t, a_stored_session_hears_of_its_filters_new_names_while_its_node_is_away);
    tcase_add_test(t, a_filter_that_has_no_name_any_more_ends);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
