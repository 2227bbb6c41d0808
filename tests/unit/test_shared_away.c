/* SPDX-License-Identifier: Apache-2.0 */
/* What the shared session does for nodes while the connection is away, and a spool takes what they
 * publish. */
#include <check.h>

#include "broker/order.h"
#include "unit/shared_life.h"
#include "unit/suite.h"

static void publish(struct life *l, uint64_t client, uint8_t qos)
{
    life_ask(l, &(struct sn_request){
                    .type = SN_REQ_PUBLISH,
                    .client = client,
                    .token = 5,
                    .publish = {.topic = bytes_str("t"), .qos = qos}
    });
}

START_TEST(with_a_spool_sessions_and_publications_are_taken_though_the_broker_is_away)
{
    struct life l = life_begin();
    life_open_node(&l, NODE, true);
    ck_assert_int_eq(life_event_of(&l, SN_EV_OPENED)->outcome, SN_REFUSED_BUSY);

    life_look_away(&l);
    shared_accepting(l.s, l.now_ms, true);
    life_take(&l);
    ck_assert(life_event_of(&l, SN_EV_UPSTREAM)->upstream.accepting);
    ck_assert(!life_event_of(&l, SN_EV_UPSTREAM)->upstream.up);
    life_open_node(&l, NODE, true);
    ck_assert_int_eq(life_event_of(&l, SN_EV_OPENED)->outcome, SN_OK);
    publish(&l, NODE, 1);
    ck_assert(life_asked_for(&l, UP_PUBLISH, "t"));
    ck_assert_uint_eq(l.requests[0].client, order_of(bytes_of(NULL, 0)));
    ck_assert(!l.requests[0].will);

    /* The engine hears of each change, and what is not said twice. */
    life_look_away(&l);
    life_connect_broker(&l, false);
    ck_assert(life_event_of(&l, SN_EV_UPSTREAM)->upstream.up);
    life_look_away(&l);
    shared_accepting(l.s, l.now_ms, true);
    life_take(&l);
    ck_assert_ptr_null(life_event_of(&l, SN_EV_UPSTREAM));
    life_hear(&l, &(struct up_event){.type = UP_DISCONNECTED});
    ck_assert(!life_event_of(&l, SN_EV_UPSTREAM)->upstream.up);
    life_look_away(&l);
    shared_accepting(l.s, l.now_ms, false);
    life_take(&l);
    ck_assert(!life_event_of(&l, SN_EV_UPSTREAM)->upstream.accepting);
    life_look_away(&l);
    publish(&l, NODE, 1);
    ck_assert_int_eq(life_event_of(&l, SN_EV_PUBLISHED)->outcome, SN_REFUSED_BUSY);
    ck_assert_uint_eq(l.n_requests, 0);
    shared_free(l.s);
}

END_TEST

START_TEST(a_known_subscription_is_granted_without_the_broker_a_new_one_is_not)
{
    struct life l = life_begin();
    ck_assert_int_eq(life_restore(&l, NODE, "a", 2), 0);
    shared_accepting(l.s, l.now_ms, true);
    life_take(&l);
    life_look_away(&l);
    life_open_node(&l, NODE, false);
    life_subscribe(&l, NODE, "new", 1);
    ck_assert_int_eq(life_event_of(&l, SN_EV_SUBSCRIBED)->outcome, SN_REFUSED_BUSY);

    life_look_away(&l);
    life_subscribe(&l, NODE, "a", 1);
    ck_assert_int_eq(life_event_of(&l, SN_EV_SUBSCRIBED)->outcome, SN_OK);
    ck_assert_uint_eq(life_event_of(&l, SN_EV_SUBSCRIBED)->subscribed.granted, 1);
    ck_assert_uint_eq(l.n_requests, 0);
    ck_assert_str_eq(life_records(&l), "+1 a 1");
    life_subscribe(&l, NODE, "a", 1);
    ck_assert_str_eq(life_records(&l), "");

    /* Its retained messages come with the broker. */
    life_look_away(&l);
    life_connect_broker(&l, true);
    ck_assert(life_asked_for(&l, UP_SUBSCRIBE, "a"));
    life_grant(&l);
    life_message(&l, "a", 1, true, 0);
    ck_assert_uint_eq(l.n_recipients, 1);
    ck_assert_uint_eq(l.recipients[0].client, NODE);
    ck_assert(l.recipients[0].retain);
    shared_free(l.s);
}

END_TEST

/* A broker that lets such names pass is not ours to mend. */
START_TEST(what_mqtt_forbids_as_a_name_goes_to_nobody)
{
    struct life l = life_begin();
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, false);
    life_subscribe(&l, NODE, "#", 1);
    life_grant(&l);
    life_message(&l, "a/#", 1, false, 0);
    life_message(&l, "a\xFF", 1, false, 0);
    life_hear(&l, &(struct up_event){.type = UP_MESSAGE, .topic = bytes_of("a\0b", 3)});
    ck_assert_uint_eq(l.n_recipients, 0);
    ck_assert_uint_eq(shared_gauges(l.s).unmatched, 3);
    life_message(&l, "a\x01", 1, false, 0);
    ck_assert_uint_eq(l.n_recipients, 1);
    shared_free(l.s);
}

END_TEST

/* Also when the broker has it all the time, and would not be asked again. */
START_TEST(retained_messages_follow_a_subscription_that_was_renewed_in_an_outage)
{
    struct life l = life_begin();
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, false);
    life_subscribe(&l, NODE, "a", 1);
    life_grant(&l);
    shared_accepting(l.s, l.now_ms, true);
    life_hear(&l, &(struct up_event){.type = UP_DISCONNECTED});
    l.now_ms += 60000;
    life_look_away(&l);
    life_connect_broker(&l, true);
    ck_assert(!life_asked_for(&l, UP_SUBSCRIBE, "a"));

    life_hear(&l, &(struct up_event){.type = UP_DISCONNECTED});
    life_subscribe(&l, NODE, "a", 1);
    life_look_away(&l);
    life_connect_broker(&l, true);
    ck_assert(life_asked_for(&l, UP_SUBSCRIBE, "a"));
    life_grant(&l);
    life_message(&l, "a", 1, true, 0);
    ck_assert_uint_eq(l.n_recipients, 1);
    shared_free(l.s);
}

END_TEST

START_TEST(a_will_goes_to_the_spool_at_once_as_its_nodes_message)
{
    struct life l = life_begin();
    shared_accepting(l.s, l.now_ms, true);
    life_ask(&l, &(struct sn_request){
                     .type = SN_REQ_OPEN,
                     .client = NODE,
                     .open = {.will = {.topic = bytes_str("gone"), .qos = 0, .retain = true}}});
    life_look_away(&l);
    life_ask(&l, &(struct sn_request){
                     .type = SN_REQ_CLOSE,
                     .client = NODE,
                     .close = {.how = SN_CLOSE_LOST, .discard = true}
    });
    ck_assert(life_asked_for(&l, UP_PUBLISH, "gone"));
    ck_assert_uint_eq(l.requests[0].client, order_of(bytes_of(NULL, 0)));
    ck_assert(l.requests[0].will);
    ck_assert(l.requests[0].retain);

    /* Not taken now: again in a while. */
    const uint64_t token = l.requests[0].token;
    life_hear(&l, &(struct up_event){.type = UP_PUBLISHED, .token = token, .result = UP_BUSY});
    life_look_away(&l);
    l.now_ms = shared_next_deadline(l.s);
    shared_advance(l.s, l.now_ms);
    life_take(&l);
    ck_assert(life_asked_for(&l, UP_PUBLISH, "gone"));
    ck_assert_uint_eq(l.requests[0].client, order_of(bytes_of(NULL, 0)));
    life_hear(&l, &(struct up_event){.type = UP_PUBLISHED, .token = token, .result = UP_OK});
    ck_assert_uint_eq(shared_gauges(l.s).wills, 1);
    shared_free(l.s);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("shared_away");
    TCase *away = tcase_create("away");
    tcase_add_test(away,
                   with_a_spool_sessions_and_publications_are_taken_though_the_broker_is_away);
    tcase_add_test(away, a_known_subscription_is_granted_without_the_broker_a_new_one_is_not);
    tcase_add_test(away, what_mqtt_forbids_as_a_name_goes_to_nobody);
    tcase_add_test(away, retained_messages_follow_a_subscription_that_was_renewed_in_an_outage);
    tcase_add_test(away, a_will_goes_to_the_spool_at_once_as_its_nodes_message);
    suite_add_tcase(suite, away);
    return run_suite(suite);
}
