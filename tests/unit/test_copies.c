/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brokers of MQTT 5 send a copy of a message per subscription that matches it, and say which one the copy
 * is for (upstream.h, up_is_first_copy()). One copy is passed on, and what is no copy always: a message
 * may have waited at the broker since before the subscription that others of its kind are for.
 */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "unit/own_life.h"
#include "unit/shared_life.h"
#include "unit/suite.h"

static struct body *content;

/* ---- the session that all share -------------------------------------------------------------- */

static struct life l;

static void setup_shared(void)
{
    l = life_begin();
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, true);
    life_open_node(&l, OTHER, true);
}

static void teardown_shared(void)
{
    body_unref(content);
    shared_free(l.s);
}

/* The identifier of the latest SUBSCRIBE for that filter, which the broker grants. */
static uint32_t granted(uint64_t node, const char *filter)
{
    uint32_t id = 0;
    life_look_away(&l);
    life_subscribe(&l, node, filter, 2);
    for (unsigned i = 0; i < l.n_requests; i++) {
        if (l.requests[i].type == UP_SUBSCRIBE && strcmp(l.topics[i], filter) == 0)
            id = l.requests[i].subscription;
    }
    ck_assert_uint_ne(id, 0);
    life_grant(&l);
    return id;
}

/* Of the messages from here on. */
static void say(const char *text)
{
    body_unref(content);
    content = body_new(bytes_str(text));
}

static struct up_event copy_for(const char *topic, uint8_t qos, uint32_t id)
{
    return (struct up_event){.type = UP_MESSAGE,
                             .topic = bytes_str(topic),
                             .body = content,
                             .qos = qos,
                             .subscriptions = {id},
                             .n_subscriptions = 1};
}

/* Is the copy passed on? */
static bool passes(const char *topic, uint8_t qos, uint32_t id)
{
    const struct up_event copy = copy_for(topic, qos, id);
    life_look_away(&l);
    life_hear(&l, &copy);
    return life_event_of(&l, SN_EV_MESSAGE) != NULL;
}

START_TEST(of_two_filters_that_cross_the_same_one_brings_each_message)
{
    const uint32_t a = granted(NODE, "a/+");
    const uint32_t b = granted(OTHER, "+/b");
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(passes("a/b", 1, a));
        ck_assert(!passes("a/b", 1, b));
    }
    ck_assert(passes("c/b", 1, b));
    ck_assert_uint_eq(shared_gauges(l.s).copies, 3);
}

END_TEST

START_TEST(what_waited_for_a_narrow_filter_is_no_copy_of_what_comes_for_a_wider_one)
{
    const uint32_t narrow = granted(NODE, "a/b");
    const uint32_t wide = granted(OTHER, "a/#");
    ck_assert(life_asked_for(&l, UP_UNSUBSCRIBE, "a/b"));
    say("it was too much for the broker's window until now");
    ck_assert(passes("a/b", 1, narrow));
    say("both");
    ck_assert(passes("a/b", 1, wide));
    ck_assert(!passes("a/b", 1, narrow));
}

END_TEST

START_TEST(at_qos_0_nothing_waits)
{
    const uint32_t narrow = granted(NODE, "a/b");
    const uint32_t wide = granted(OTHER, "a/#");
    ck_assert(!passes("a/b", 0, narrow));
    ck_assert(passes("a/b", 0, wide));
}

END_TEST

START_TEST(a_filter_that_was_away_does_not_stand_for_what_came_meanwhile)
{
    const uint32_t a = granted(NODE, "a/+");
    const uint32_t b = granted(OTHER, "+/b");
    ck_assert(passes("a/b", 1, a));
    life_look_away(&l);
    life_unsubscribe(&l, NODE, "a/+"); /* the broker does not answer yet */
    const uint32_t again = granted(NODE, "a/+");
    ck_assert_uint_ne(again, a); /* of which there may still be some */
    say("meanwhile");
    ck_assert(passes("a/b", 1, b));
    say("later");
    ck_assert(passes("a/b", 1, b));
    ck_assert(!passes("a/b", 1, again));
}

END_TEST

/* Which of the copies comes first is the broker's choice. */
START_TEST(the_first_copy_of_all_may_be_for_either_of_two_filters)
{
    const uint32_t a = granted(NODE, "a/+");
    const uint32_t b = granted(OTHER, "+/b");
    for (unsigned i = 0; i < 3; i++) { /* all the same */
        ck_assert(passes("a/b", 1, b));
        ck_assert(!passes("a/b", 1, a));
    }
}

END_TEST

/* One came from before the second filter, and the other copy of the next one first. */
START_TEST(equal_messages_are_each_passed_on_once)
{
    const uint32_t a = granted(NODE, "a/+");
    unsigned n = passes("a/b", 1, a);
    const uint32_t b = granted(OTHER, "+/b");
    n += passes("a/b", 1, a);
    n += passes("a/b", 1, b);
    n += passes("a/b", 1, a);
    ck_assert_uint_eq(n, 3);
    life_unsubscribe(&l, NODE, "a/+");
    ck_assert(passes("a/b", 1, b));
    ck_assert(passes("a/b", 1, b));
}

END_TEST

/* Their order in the store is another one than that in which they were subscribed. */
START_TEST(what_waited_over_a_restart_is_taken_whatever_it_was_called)
{
    const uint32_t b = granted(OTHER, "+/b");
    const uint32_t a = granted(NODE, "a/+");
    shared_free(l.s);
    struct shared_config config = shared_defaults();
    config.hash_seed = (struct hash_seed){.k0 = UINT64_C(1) << 63, .k1 = 4};
    l = (struct life){.s = shared_new(&config, 1000), .now_ms = 1000};
    ck_assert_int_eq(life_restore(&l, NODE, "a/+", 2), 0);
    ck_assert_int_eq(life_restore(&l, OTHER, "+/b", 2), 0);
    life_connect_broker(&l, true);
    life_grant(&l);
    ck_assert(passes("a/b", 1, b));
    ck_assert(passes("a/b", 1, a)); /* rather twice than not at all */
    ck_assert(passes("a/c", 1, a));
    ck_assert(passes("c/b", 1, b));
}

END_TEST

/* ---- a client's own session ------------------------------------------------------------------ */

static struct own_life o;

static void setup_own(void)
{
    o = own_opened(false, NULL);
}

static void teardown_own(void)
{
    body_unref(content);
    own_end(&o);
}

static uint32_t own_granted(const char *filter, uint8_t qos)
{
    own_subscribes(&o, filter, qos);
    const uint32_t id = o.asked[0].subscription;
    own_answers(&o, UP_OK, qos);
    own_said(&o);
    ck_assert_uint_ne(id, 0);
    return id;
}

static bool own_passes(const char *topic, uint8_t qos, uint32_t id)
{
    const struct up_event copy = copy_for(topic, qos, id);
    own_hears(&o, &copy);
    return strncmp(own_said(&o), "message", 7) == 0;
}

START_TEST(of_filters_with_different_qos_the_greatest_brings_the_message)
{
    const uint32_t low = own_granted("a/#", 0);
    const uint32_t high = own_granted("a/b", 2);
    ck_assert(own_passes("a/b", 2, high));
    ck_assert(!own_passes("a/b", 0, low));
    ck_assert(own_passes("a/c", 0, low));
    ck_assert(own_passes("a/b", 2, high)); /* alone: for who is away nothing of QoS 0 is kept */
}

END_TEST

START_TEST(of_filters_with_the_same_qos_one_brings_the_message)
{
    const uint32_t a = own_granted("a/+", 1);
    const uint32_t b = own_granted("+/b", 1);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert(own_passes("a/b", 1, a));
        ck_assert(!own_passes("a/b", 1, b));
    }
}

END_TEST

START_TEST(what_waited_for_a_filter_is_no_copy_of_what_comes_for_a_later_one)
{
    const uint32_t first = own_granted("a/b", 1);
    const uint32_t later = own_granted("a/#", 2);
    say("before");
    ck_assert(own_passes("a/b", 1, first));
    say("both");
    ck_assert(own_passes("a/b", 2, later));
    ck_assert(!own_passes("a/b", 1, first));
}

END_TEST

START_TEST(what_waited_for_a_client_over_a_restart_is_taken_whatever_it_was_called)
{
    const uint32_t b = own_granted("+/b", 1);
    const uint32_t a = own_granted("a/+", 1);
    own_end(&o);
    o = own_begin_with((struct own_config){.journal = true, .seed = UINT64_C(1) << 63});
    ck_assert_int_eq(own_restores(&o, "a/+", 1), 0);
    ck_assert_int_eq(own_restores(&o, "+/b", 1), 0);
    own_opens(&o, OWN_KEY, false, NULL);
    own_connects(&o, true);
    own_answers(&o, UP_OK, 1);
    own_answers(&o, UP_OK, 1);
    own_said(&o);
    ck_assert(own_passes("a/b", 1, b));
    ck_assert(own_passes("a/b", 1, a));
    ck_assert(own_passes("a/c", 1, a));
    ck_assert(own_passes("c/b", 1, b));
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("copies");
    TCase *shared = tcase_create("shared");
    tcase_add_checked_fixture(shared, setup_shared, teardown_shared);
    tcase_add_test(shared, of_two_filters_that_cross_the_same_one_brings_each_message);
    tcase_add_test(shared,
                   what_waited_for_a_narrow_filter_is_no_copy_of_what_comes_for_a_wider_one);
    tcase_add_test(shared, at_qos_0_nothing_waits);
    tcase_add_test(shared, a_filter_that_was_away_does_not_stand_for_what_came_meanwhile);
    tcase_add_test(shared, the_first_copy_of_all_may_be_for_either_of_two_filters);
    tcase_add_test(shared, equal_messages_are_each_passed_on_once);
    tcase_add_test(shared, what_waited_over_a_restart_is_taken_whatever_it_was_called);
    suite_add_tcase(suite, shared);
    TCase *own = tcase_create("own");
    tcase_add_checked_fixture(own, setup_own, teardown_own);
    tcase_add_test(own, of_filters_with_different_qos_the_greatest_brings_the_message);
    tcase_add_test(own, of_filters_with_the_same_qos_one_brings_the_message);
    tcase_add_test(own, what_waited_for_a_filter_is_no_copy_of_what_comes_for_a_later_one);
    tcase_add_test(own, what_waited_for_a_client_over_a_restart_is_taken_whatever_it_was_called);
    suite_add_tcase(suite, own);
    return run_suite(suite);
}
