/* SPDX-License-Identifier: Apache-2.0 */
/* The router: filters of nodes and their parts at the brokers, messages to nodes, and restarts. */
#include <string.h>

#include <check.h>

#include "unit/router_life.h"
#include "unit/suite.h"

enum { BOTH = 3, HOME = 1, CLOUD = 2 };

/* Three ways down from the cloud, of which "x/#" is told of twice, and one from home. */
static const struct route routes[] = {
    {.name = "site",
     .from = "site/+/#",
     .brokers = CLOUD,
     .topic = "s/+/#",
     .qos = 1,
     .down = true,
     .required = true},
    {.name = "mine",
     .from = "mine/#",
     .brokers = BOTH,
     .topic = "nodes/{client}/#",
     .qos = -1,
     .up = true,
     .down = true,
     .required = true},
    {.name = "first",
     .from = "a/#",
     .brokers = CLOUD,
     .topic = "x/#",
     .qos = -1,
     .down = true,
     .required = true},
    {.name = "second",
     .from = "b/#",
     .brokers = CLOUD,
     .topic = "x/#",
     .qos = -1,
     .down = true,
     .required = true},
    {.name = "may",                .from = "may/#", .brokers = CLOUD,                     .qos = -1, .down = true    },
};

static struct router_config config_of(const char *prefix)
{
    struct router_config config = router_defaults();
    config.prefix = prefix;
    config.routes = routes;
    config.n_routes = sizeof routes / sizeof routes[0];
    config.n_brokers = 2;
    return config;
}

static struct router_life opened(void)
{
    struct router_life l;
    router_begin(&l, config_of(""));
    router_opened(&l, 1, "n1");
    return l;
}

static void grant_all(struct router_life *l)
{
    while (l->n_asked > 0)
        router_grants(l, l->asked[0].broker, 2);
}

/* Subscribed, and what was said is forgotten. */
static void subscribed(struct router_life *l, uint64_t client, const char *filter, uint8_t qos)
{
    router_subscribes(l, client, filter, qos);
    grant_all(l);
    router_said(l);
}

static void tells_1(struct router_life *l, unsigned broker, const char *topic, uint8_t qos)
{
    router_tells(l, broker, topic, qos, 0, (const uint64_t[]){1}, 1);
}

/* ---- SUBSCRIBE ------------------------------------------------------------------------------- */

START_TEST(a_filter_goes_to_every_broker_that_may_tell_of_its_topics_cut_to_size)
{
    struct router_life l = opened();
    router_subscribes(&l, 1, "own/+", 1);
    ck_assert_str_eq(router_said(&l), "0:sub 1 own/+ q1");
    router_grants(&l, 0, 2);
    ck_assert_str_eq(router_said(&l), "subscribed 7 q1");
    router_subscribes(&l, 1, "site/hall/+", 2);
    ck_assert_str_eq(router_said(&l), "1:sub 1 s/hall/+ q1");
    router_grants(&l, 1, 2);
    ck_assert_str_eq(router_said(&l), "subscribed 7 q1");
    router_subscribes(&l, 1, "+/x", 0);
    ck_assert_str_eq(router_said(&l), "1:sub 1 s/x q0; 0:sub 1 nodes/n1/x q0; "
                                      "1:sub 1 nodes/n1/x q0; 1:sub 1 x/x q0; "
                                      "1:sub 1 may/x q0; 0:sub 1 +/x q0");
    router_end(&l);
}

END_TEST

START_TEST(granted_is_the_lowest_of_the_required_ones)
{
    struct router_life l = opened();
    router_subscribes(&l, 1, "mine/x", 2);
    router_grants(&l, 0, 2);
    ck_assert_str_eq(router_said(&l), "0:sub 1 nodes/n1/x q2; 1:sub 1 nodes/n1/x q2");
    router_grants(&l, 1, 0);
    ck_assert_str_eq(router_said(&l), "subscribed 7 q0");
    ck_assert_str_eq(router_records(&l), "+1 mine/x q0");
    router_end(&l);
}

END_TEST

START_TEST(one_required_refusal_takes_everything_back)
{
    struct router_life l = opened();
    router_subscribes(&l, 1, "mine/x", 2);
    router_grants(&l, 0, 2);
    router_answers(&l, 1, SN_REQ_SUBSCRIBE, SN_REFUSED_NEVER);
    ck_assert_str_eq(router_said(&l),
                     "0:sub 1 nodes/n1/x q2; 1:sub 1 nodes/n1/x q2; 0:unsub 1 nodes/n1/x; "
                     "1:unsub 1 nodes/n1/x; subscribed 7 never");
    ck_assert_str_eq(router_records(&l), "");
    router_end(&l);
}

END_TEST

START_TEST(brokers_that_need_not_answer_are_not_waited_for)
{
    struct router_life l = opened();
    router_subscribes(&l, 1, "may/x", 1);
    ck_assert_str_eq(router_said(&l), "1:sub 1 may/x q1; subscribed 7 q1");
    ck_assert_str_eq(router_records(&l), "+1 may/x q1");

    /* Busy now: it is asked again, without the node. */
    router_answers(&l, 1, SN_REQ_SUBSCRIBE, SN_REFUSED_BUSY);
    ck_assert_str_eq(router_said(&l), "");
    ck_assert_uint_eq(router_gauges(l.r).unheeded, 1);
    router_pass_time(&l, 31000);
    ck_assert_str_eq(router_said(&l), "1:sub 1 may/x q1");
    router_answers(&l, 1, SN_REQ_SUBSCRIBE, SN_REFUSED_BUSY);
    router_reaches(&l, 1, false, false);
    router_reaches(&l, 1, true, false);
    ck_assert_str_eq(router_said(&l), "1:sub 1 may/x q1");
    router_grants(&l, 1, 2);
    router_pass_time(&l, 120000);
    ck_assert_str_eq(router_said(&l), "");
    router_end(&l);
}

END_TEST

START_TEST(a_filter_that_is_nobodys_is_granted_and_matches_nothing)
{
    static const struct route only_up = {
        .name = "up", .from = "#", .brokers = HOME, .qos = -1, .down = true, .required = true};
    struct router_config config = config_of("");
    config.routes = &only_up;
    config.n_routes = 1;
    struct router_life l;
    router_begin(&l, config);
    router_opened(&l, 1, "n1");
    router_subscribes(&l, 1, "$SYS/x", 1); /* `#` is not for it, and no other route either */
    ck_assert_str_eq(router_said(&l), "0:sub 1 $SYS/x q1");
    router_end(&l);

    static const struct route silent[] = {
        {.name = "a", .from = "a/+", .brokers = CLOUD, .topic = "a/+", .qos = -1, .down = true},
        {.name = "b", .from = "a/x", .brokers = CLOUD, .topic = "b",   .qos = -1, .down = true},
    };
    config.routes = silent;
    config.n_routes = 2;
    router_begin(&l, config);
    router_opened(&l, 1, "n1");
    router_subscribes(&l, 1, "a/x", 1); /* the first route has it: the second adds nothing */
    ck_assert_str_eq(router_said(&l), "1:sub 1 a/x q1; subscribed 7 q1");
    router_end(&l);
}

END_TEST

START_TEST(each_subscribe_goes_on_since_only_that_brings_retained_messages)
{
    struct router_life l = opened();
    subscribed(&l, 1, "own/x", 1);
    ck_assert_str_eq(router_records(&l), "+1 own/x q1");
    router_subscribes(&l, 1, "own/x", 1);
    ck_assert_str_eq(router_said(&l), "0:sub 1 own/x q1");
    router_grants(&l, 0, 2);
    ck_assert_str_eq(router_said(&l), "subscribed 7 q1");
    ck_assert_str_eq(router_records(&l), ""); /* nothing new */
    router_end(&l);
}

END_TEST

START_TEST(a_part_that_two_filters_share_stays_until_both_are_gone)
{
    struct router_life l = opened();
    subscribed(&l, 1, "a/1", 1); /* both are x/1 at the cloud */
    router_subscribes(&l, 1, "b/1", 0);
    ck_assert_str_eq(router_said(&l), "1:sub 1 x/1 q1"); /* the first one's QoS stays */
    router_grants(&l, 1, 2);
    ck_assert_str_eq(router_said(&l), "subscribed 7 q0");
    router_unsubscribes(&l, 1, "a/1");
    ck_assert_str_eq(router_said(&l), "unsubscribed 8");
    ck_assert_str_eq(router_records(&l), "+1 a/1 q1, +1 b/1 q0, -1 a/1");
    tells_1(&l, 1, "x/1", 2);
    ck_assert_str_eq(router_said(&l), "message b/1 1:q0"); /* though the broker has granted more */
    router_unsubscribes(&l, 1, "b/1");
    ck_assert_str_eq(router_said(&l), "1:unsub 1 x/1; unsubscribed 8");
    router_unsubscribes(&l, 1, "b/1");
    ck_assert_str_eq(router_said(&l), "unsubscribed 8");
    router_end(&l);
}

END_TEST

/* One broker has taken the lesser one, the other none: the node keeps what it had. */
START_TEST(what_a_refused_subscribe_has_lowered_is_raised_again)
{
    struct router_life l = opened();
    subscribed(&l, 1, "mine/x", 2);
    router_subscribes(&l, 1, "mine/x", 1);
    router_grants(&l, 0, 2);
    router_answers(&l, 1, SN_REQ_SUBSCRIBE, SN_REFUSED_BUSY);
    ck_assert_str_eq(router_said(&l),
                     "0:sub 1 nodes/n1/x q1; 1:sub 1 nodes/n1/x q1; subscribed 7 busy");
    router_pass_time(&l, 31000);
    ck_assert_str_eq(router_said(&l), "0:sub 1 nodes/n1/x q2");
    router_end(&l);
}

END_TEST

START_TEST(more_filters_than_the_client_may_have_are_refused_as_busy)
{
    struct router_life l = opened();
    char filter[] = "own/0";
    for (unsigned i = 0; i < 8; i++) {
        filter[4] = (char)('0' + i);
        subscribed(&l, 1, filter, 1);
    }
    router_subscribes(&l, 1, "own/8", 1);
    ck_assert_str_eq(router_said(&l), "subscribed 7 busy");
    router_subscribes(&l, 1, "own/7", 1);
    ck_assert_str_eq(router_said(&l), "0:sub 1 own/7 q1");
    router_end(&l);
}

END_TEST

START_TEST(unsubscribed_before_it_is_granted_it_is_over)
{
    struct router_life l = opened();
    router_subscribes(&l, 1, "own/x", 1);
    router_unsubscribes(&l, 1, "own/x");
    ck_assert_str_eq(router_said(&l),
                     "0:sub 1 own/x q1; 0:unsub 1 own/x; subscribed 7 busy; unsubscribed 8");
    router_grants(&l, 0, 2);
    ck_assert_str_eq(router_said(&l), "");
    ck_assert_str_eq(router_records(&l), "");
    router_end(&l);
}

END_TEST

/* ---- sessions -------------------------------------------------------------------------------- */

START_TEST(a_clean_open_forgets_the_filters_a_stored_session_keeps_them)
{
    struct router_life l = opened();
    subscribed(&l, 1, "own/x", 1);
    subscribed(&l, 1, "mine/x", 1);
    router_records(&l);
    router_closes(&l, 1, SN_CLOSE_NORMAL, false);
    router_opens(&l, 1, "n1", false, NULL, 0);
    router_takes(&l, 0, true);
    router_takes(&l, 1, false); /* that one has lost it */
    ck_assert_str_eq(router_said(&l), "0:close 1 normal; 1:close 1 normal; 0:open 1; 1:open 1; "
                                      "opened ok present; 1:sub 1 nodes/n1/x q1");
    ck_assert_str_eq(router_records(&l), "");
    grant_all(&l);

    router_opens(&l, 1, "n1", true, NULL, 0);
    router_takes(&l, 0, true);
    ck_assert_str_eq(router_records(&l), "-1 own/x, -1 mine/x");
    router_said(&l);
    router_answers(&l, 1, SN_REQ_OPEN, SN_REFUSED_BUSY);
    subscribed(&l, 1, "own/y", 1);
    router_opens(&l, 1, "n1", false, NULL, 0);
    /* It has still to forget what it has missed to forget. */
    ck_assert_str_eq(router_said(&l), "0:open 1; 1:open 1 clean");
    router_end(&l);
}

END_TEST

START_TEST(a_client_that_comes_by_another_link_is_called_by_that_ones_prefix)
{
    static const char *const prefixes[] = {"l0/", "l1/{client}/"};
    struct router_config config = config_of("gw/");
    config.link_prefixes = prefixes;
    config.n_links = 2;
    struct router_life l;
    router_begin(&l, config);
    router_opened(&l, 1, "n1");
    router_subscribes(&l, 1, "own/x", 1);
    router_subscribes(&l, 1, "a/x", 1);
    ck_assert_str_eq(router_said(&l), "0:sub 1 gw/l0/own/x q1; 1:sub 1 x/x q1");
    grant_all(&l);
    router_said(&l);
    router_opens(&l, 1, "n1", false, NULL, 1);
    ck_assert_str_eq(router_said(&l), "0:unsub 1 gw/l0/own/x; 0:open 1; 1:open 1");
    router_takes(&l, 0, true);
    router_takes(&l, 1, true);
    ck_assert_str_eq(router_said(&l), "0:sub 1 gw/l1/n1/own/x q1; opened ok present");
    router_publishes(&l, 1, "own/y", 0);
    ck_assert_str_eq(router_said(&l), "0:pub 1 gw/l1/n1/own/y q0");
    router_end(&l);
}

END_TEST

START_TEST(with_several_prefixes_that_fit_the_last_one_is_the_clients)
{
    static const struct route_prefix prefixes[] = {
        {.glob = "*",   .prefix = "all/"},
        {.glob = "n*",  .prefix = "n/"  },
        {.glob = "n2*", .prefix = ""    },
    };
    struct router_config config = config_of("gw/");
    config.client_prefixes = prefixes;
    config.n_client_prefixes = 3;
    struct router_life l;
    router_begin(&l, config);
    router_opened(&l, 1, "n1");
    router_opened(&l, 2, "n2");
    router_opened(&l, 3, "m");
    router_publishes(&l, 1, "x", 0);
    router_publishes(&l, 2, "x", 0);
    router_publishes(&l, 3, "x", 0);
    ck_assert_str_eq(router_said(&l), "0:pub 1 gw/n/x q0; 0:pub 2 gw/x q0; 0:pub 3 gw/all/x q0");
    router_end(&l);
}

END_TEST

/* ---- MESSAGE --------------------------------------------------------------------------------- */

START_TEST(a_message_has_the_name_that_nodes_know)
{
    struct router_life l = opened();
    subscribed(&l, 1, "site/#", 2);
    tells_1(&l, 1, "s/hall/t/1", 2);
    ck_assert_str_eq(router_said(&l), "message site/hall/t/1 1:q1"); /* the route's QoS at most */
    subscribed(&l, 1, "mine/x", 2);
    tells_1(&l, 0, "nodes/n1/x", 2);
    ck_assert_str_eq(router_said(&l), "message mine/x 1:q2");
    router_end(&l);
}

END_TEST

START_TEST(one_message_becomes_several_where_recipients_know_it_by_different_names)
{
    struct router_life l = opened();
    router_opened(&l, 2, "n2");
    router_opened(&l, 3, "n3");
    for (uint64_t c = 1; c <= 3; c++)
        subscribed(&l, c, "+/#", 1);
    /* What is n1's branch for n1 is a topic of the home broker's like any other for the rest. */
    router_tells(&l, 0, "nodes/n1/x", 1, 9, (const uint64_t[]){1, 2, 3}, 3);
    ck_assert_str_eq(router_said(&l), "message mine/x 1:q1; message nodes/n1/x 2:q1 3:q1 j9");
    router_end(&l);
}

END_TEST

START_TEST(a_message_that_is_called_otherwise_loses_its_journal_number)
{
    struct router_life l = opened();
    subscribed(&l, 1, "+/#", 1);
    router_tells(&l, 0, "own/x", 1, 9, (const uint64_t[]){1}, 1);
    ck_assert_str_eq(router_said(&l), "message own/x 1:q1 j9");
    router_tells(&l, 1, "x/x", 1, 10, (const uint64_t[]){1}, 1);
    ck_assert_str_eq(router_said(&l), "message a/x 1:q1");
    router_end(&l);
}

END_TEST

START_TEST(what_a_broker_may_not_tell_of_goes_nowhere)
{
    struct router_life l = opened();
    subscribed(&l, 1, "#", 1);
    tells_1(&l, 0, "site/hall/t", 1); /* the cloud's */
    tells_1(&l, 1, "own/x", 1);       /* the home broker's */
    tells_1(&l, 0, "a/x", 1);
    tells_1(&l, 0, "may/x", 1);
    router_tells(&l, 0, "own/x", 1, 0, (const uint64_t[]){8}, 1); /* who is that? */
    ck_assert_str_eq(router_said(&l), "");
    ck_assert_uint_eq(router_gauges(l.r).unroutable, 5);
    router_end(&l);
}

END_TEST

START_TEST(of_two_names_for_one_topic_a_node_hears_the_one_that_it_asked_for)
{
    struct router_life l = opened();
    router_opened(&l, 2, "n2");
    router_opened(&l, 3, "n3");
    subscribed(&l, 1, "b/1", 1);
    subscribed(&l, 2, "a/1", 1);
    subscribed(&l, 3, "+/1", 1);
    router_tells(&l, 1, "x/1", 1, 0, (const uint64_t[]){1, 2, 3}, 3);
    ck_assert_str_eq(router_said(&l), "message b/1 1:q1; message a/1 2:q1 3:q1");
    router_end(&l);
}

END_TEST

START_TEST(a_leading_wildcard_behind_a_prefix_does_not_bring_topics_of_the_system)
{
    struct router_life l;
    router_begin(&l, config_of("gw/"));
    router_opened(&l, 1, "n1");
    router_opened(&l, 2, "n2");
    subscribed(&l, 1, "#", 1);
    subscribed(&l, 2, "$SYS/#", 1);
    router_tells(&l, 0, "gw/$SYS/x", 1, 0, (const uint64_t[]){1, 2}, 2);
    ck_assert_str_eq(router_said(&l), "message $SYS/x 2:q1");
    tells_1(&l, 0, "gw", 1); /* `gw/#` matches it */
    ck_assert_str_eq(router_said(&l), "");
    router_end(&l);
}

END_TEST

/* ---- restarts -------------------------------------------------------------------------------- */

static const char *restored(struct router_life *l)
{
    static char text[ROUTER_TEXT];
    size_t len = 0;
    struct sn_record record;
    unsigned broker;
    text[0] = '\0';
    while (router_peek_restored(l->r, &broker, &record)) {
        len += (size_t)snprintf(
            text + len, sizeof text - len, "%s%u:%d %.*s q%u", len > 0 ? "; " : "", broker,
            (int)record.client, (int)record.subscription.filter.len,
            (const char *)record.subscription.filter.data, record.subscription.qos);
        router_done_restored(l->r);
    }
    return text;
}

static int restore(struct router_life *l, uint64_t client, const char *filter, uint8_t qos)
{
    return router_restore(l->r, &(struct sn_record){
                                    .type = SN_REC_SUBSCRIPTION,
                                    .client = client,
                                    .subscription = {.filter = bytes_str(filter), .qos = qos}
    });
}

START_TEST(stored_filters_come_back_as_parts_by_the_present_routes)
{
    struct router_life l;
    router_begin(&l, config_of("gw/"));
    ck_assert_int_eq(router_restore_client(l.r, 1, bytes_str("n1"), NULL), 0);
    ck_assert_int_eq(restore(&l, 1, "own/x", 1), 0);
    ck_assert_int_eq(restore(&l, 1, "a/1", 0), 0);
    ck_assert_int_eq(restore(&l, 1, "b/1", 2), 0);
    ck_assert_int_eq(restore(&l, 2, "own/x", 1), 1); /* no such client */
    ck_assert_int_eq(restore(&l, 1, "a#", 1), 1);
    ck_assert_int_eq(restore(&l, 1, "a/2", 3), 1);
    ck_assert_str_eq(restored(&l), "0:1 gw/own/x q1; 1:1 x/1 q0; 1:1 x/1 q2");

    /* Messages come through before the client is opened again. */
    tells_1(&l, 0, "gw/own/x", 1);
    ck_assert_str_eq(router_said(&l), "message own/x 1:q1");
    router_opens(&l, 1, "n1", false, NULL, 0);
    router_takes(&l, 0, true);
    router_takes(&l, 1, true);
    ck_assert_str_eq(router_said(&l), "0:open 1; 1:open 1; opened ok present");
    ck_assert_str_eq(router_records(&l), "");
    router_unsubscribes(&l, 1, "own/x");
    ck_assert_str_eq(router_said(&l), "0:unsub 1 gw/own/x; unsubscribed 8");
    ck_assert_str_eq(router_records(&l), "-1 own/x");
    router_end(&l);
}

END_TEST

START_TEST(what_has_no_name_any_more_is_left_out)
{
    struct router_life l;
    router_begin(&l, config_of(""));
    ck_assert_int_eq(router_restore_client(l.r, 1, bytes_str("n/1"), NULL), 0);
    ck_assert_int_eq(restore(&l, 1, "mine/x", 1), 1);
    ck_assert_int_eq(restore(&l, 1, "own/x", 1), 0);
    ck_assert_str_eq(restored(&l), "0:1 own/x q1");
    router_end(&l);
}

END_TEST

START_TEST(everything_there_is_to_record_is_told_while_it_changes)
{
    struct router_life l = opened();
    router_opened(&l, 2, "n2");
    subscribed(&l, 1, "own/x", 1);
    subscribed(&l, 1, "own/y", 1);
    subscribed(&l, 2, "a/#", 0);
    router_records(&l);
    router_record_all(l.r);
    ck_assert_str_eq(router_records(&l), "+1 own/x q1, +1 own/y q1, +2 a/# q0");
    ck_assert_str_eq(router_records(&l), "");

    router_record_all(l.r);
    struct sn_record record;
    ck_assert(router_peek_record(l.r, &record));
    router_unsubscribes(&l, 1, "own/x");
    ck_assert_str_eq(router_records(&l), "-1 own/x, +1 own/y q1, +2 a/# q0");

    router_record_all(l.r);
    ck_assert(router_peek_record(l.r, &record));
    router_closes(&l, 1, SN_CLOSE_NORMAL, true); /* SESSION_GONE is the engine's */
    ck_assert_str_eq(router_records(&l), "+2 a/# q0");
    router_end(&l);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("router_subscribe");
    TCase *subscribe = tcase_create("subscribe");
    tcase_add_test(subscribe,
                   a_filter_goes_to_every_broker_that_may_tell_of_its_topics_cut_to_size);
    tcase_add_test(subscribe, granted_is_the_lowest_of_the_required_ones);
    tcase_add_test(subscribe, one_required_refusal_takes_everything_back);
    tcase_add_test(subscribe, brokers_that_need_not_answer_are_not_waited_for);
    tcase_add_test(subscribe, a_filter_that_is_nobodys_is_granted_and_matches_nothing);
    tcase_add_test(subscribe, each_subscribe_goes_on_since_only_that_brings_retained_messages);
    tcase_add_test(subscribe, a_part_that_two_filters_share_stays_until_both_are_gone);
    tcase_add_test(subscribe, what_a_refused_subscribe_has_lowered_is_raised_again);
    tcase_add_test(subscribe, more_filters_than_the_client_may_have_are_refused_as_busy);
    tcase_add_test(subscribe, unsubscribed_before_it_is_granted_it_is_over);
    suite_add_tcase(suite, subscribe);
    TCase *sessions = tcase_create("sessions");
    tcase_add_test(sessions, a_clean_open_forgets_the_filters_a_stored_session_keeps_them);
    tcase_add_test(sessions, a_client_that_comes_by_another_link_is_called_by_that_ones_prefix);
    tcase_add_test(sessions, with_several_prefixes_that_fit_the_last_one_is_the_clients);
    suite_add_tcase(suite, sessions);
    TCase *messages = tcase_create("messages");
    tcase_add_test(messages, a_message_has_the_name_that_nodes_know);
    tcase_add_test(messages,
                   one_message_becomes_several_where_recipients_know_it_by_different_names);
    tcase_add_test(messages, a_message_that_is_called_otherwise_loses_its_journal_number);
    tcase_add_test(messages, what_a_broker_may_not_tell_of_goes_nowhere);
    tcase_add_test(messages, of_two_names_for_one_topic_a_node_hears_the_one_that_it_asked_for);
    tcase_add_test(messages,
                   a_leading_wildcard_behind_a_prefix_does_not_bring_topics_of_the_system);
    suite_add_tcase(suite, messages);
    TCase *restarts = tcase_create("restarts");
    tcase_add_test(restarts, stored_filters_come_back_as_parts_by_the_present_routes);
    tcase_add_test(restarts, what_has_no_name_any_more_is_left_out);
    tcase_add_test(restarts, everything_there_is_to_record_is_told_while_it_changes);
    suite_add_tcase(suite, restarts);
    return run_suite(suite);
}
