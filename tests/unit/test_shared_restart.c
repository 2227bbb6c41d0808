/* SPDX-License-Identifier: Apache-2.0 */
/* What the shared session records, and how it comes back from that. */
#include <string.h>

#include <check.h>

#include "unit/seed.h"
#include "unit/shared_life.h"
#include "unit/suite.h"

/* ---- records --------------------------------------------------------------------------------- */

START_TEST(a_subscription_is_recorded_when_granted_and_when_that_changes)
{
    struct life l = life_begin();
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, false);
    life_subscribe(&l, NODE, "a/b", 1);
    ck_assert_str_eq(life_records(&l), "");
    life_grant(&l);
    ck_assert_str_eq(life_records(&l), "+1 a/b 1");

    life_look_away(&l);
    life_subscribe(&l, NODE, "a/b", 1);
    life_grant(&l);
    ck_assert_str_eq(life_records(&l), "");

    life_look_away(&l);
    life_subscribe(&l, NODE, "a/b", 2);
    life_grant(&l);
    ck_assert_str_eq(life_records(&l), "+1 a/b 2");

    life_unsubscribe(&l, NODE, "a/b");
    life_unsubscribe(&l, NODE, "never/had");
    ck_assert_str_eq(life_records(&l), "-1 a/b");
    shared_free(l.s);
}

END_TEST

START_TEST(what_the_broker_refuses_is_not_recorded)
{
    struct life l = life_begin();
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, false);
    life_subscribe(&l, NODE, "secret", 1);
    life_hear(&l, &(struct up_event){
                      .type = UP_SUBSCRIBED, .token = l.requests[0].token, .result = UP_REFUSED});
    ck_assert_int_eq(life_event_of(&l, SN_EV_SUBSCRIBED)->outcome, SN_REFUSED_NEVER);
    life_unsubscribe(&l, NODE, "secret");
    ck_assert_str_eq(life_records(&l), "");
    shared_free(l.s);
}

END_TEST

START_TEST(a_clean_open_ends_subscriptions_one_by_one_and_a_discarded_session_all_at_once)
{
    struct life l = life_begin();
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, false);
    life_subscribe(&l, NODE, "a", 1);
    life_subscribe(&l, NODE, "b", 0);
    life_grant(&l);
    life_records(&l);
    life_open_node(&l, NODE, true);
    ck_assert_str_eq(life_records(&l), "-1 a, -1 b");

    life_look_away(&l);
    life_subscribe(&l, NODE, "c", 1);
    life_grant(&l);
    ck_assert_str_eq(life_records(&l), "+1 c 1");
    life_ask(
        &l, &(struct sn_request){.type = SN_REQ_CLOSE, .client = NODE, .close = {.discard = true}});
    ck_assert_str_eq(life_records(&l), ""); /* the engine's SESSION_GONE takes them along */
    shared_free(l.s);
}

END_TEST

START_TEST(everything_is_recorded_anew_even_while_it_changes)
{
    struct life l = life_begin();
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, false);
    life_open_node(&l, OTHER, false);
    static const char *const filters[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        life_subscribe(&l, NODE, filters[i], 1);
        life_subscribe(&l, OTHER, filters[i], 2);
    }
    while (l.n_requests > 0) {
        struct life round = l;
        life_look_away(&l);
        for (unsigned i = 0; i < round.n_requests; i++)
            life_hear(&l, &(struct up_event){
                              .type = UP_SUBSCRIBED, .token = round.requests[i].token, .qos = 2});
    }
    life_records(&l);
    shared_record_all(l.s);
    ck_assert_str_eq(life_records(&l),
                     "+1 a 1, +2 a 2, +1 b 1, +2 b 2, +1 c 1, +2 c 2, +1 d 1, +2 d 2");

    /* The next one to be told goes, and the filter behind it. */
    shared_record_all(l.s);
    struct sn_record r;
    ck_assert(shared_peek_record(l.s, &r));
    shared_done_record(l.s);
    life_unsubscribe(&l, OTHER, "a");
    life_unsubscribe(&l, NODE, "b");
    life_unsubscribe(&l, OTHER, "b");
    ck_assert_str_eq(life_records(&l), "-2 a, -1 b, -2 b, +1 c 1, +2 c 2, +1 d 1, +2 d 2");

    /* All of them go. */
    shared_record_all(l.s);
    life_open_node(&l, NODE, true);
    life_open_node(&l, OTHER, true);
    ck_assert_str_eq(life_records(&l), "-1 a, -1 c, -1 d, -2 c, -2 d");
    shared_free(l.s);
}

END_TEST

START_TEST(without_a_journal_nothing_is_recorded)
{
    struct shared_config config = shared_defaults();
    struct life l = {.s = shared_new(&config, 1000), .now_ms = 1000};
    life_connect_broker(&l, false);
    life_open_node(&l, NODE, false);
    life_subscribe(&l, NODE, "a", 1);
    life_grant(&l);
    shared_record_all(l.s);
    ck_assert_str_eq(life_records(&l), "");
    shared_free(l.s);
}

END_TEST

/* ---- a restart ------------------------------------------------------------------------------- */

START_TEST(messages_for_a_sleeper_go_on_after_a_restart)
{
    for (int present = 0; present < 2; present++) {
        struct life l = life_begin();
        ck_assert_int_eq(life_restore(&l, NODE, "a/+", 1), 0);
        ck_assert_int_eq(life_restore(&l, NODE, "a/b", 2), 0);
        ck_assert_int_eq(life_restore(&l, OTHER, "x", 0), 0);
        ck_assert_uint_eq(shared_gauges(l.s).sessions, 2);

        /* What the broker had sent to the process before is for them already. */
        life_message(&l, "a/b", 2, false, 77);
        ck_assert_uint_eq(l.n_recipients, 1);
        ck_assert_uint_eq(l.recipients[0].client, NODE);
        ck_assert_uint_eq(l.recipients[0].qos, 2);
        ck_assert_uint_eq(life_event_of(&l, SN_EV_MESSAGE)->message.journal, 77);

        /* Whatever the broker says about its session: it is asked for them all. */
        life_look_away(&l);
        life_connect_broker(&l, present != 0);
        ck_assert(life_asked_for(&l, UP_SUBSCRIBE, "a/+"));
        ck_assert(life_asked_for(&l, UP_SUBSCRIBE, "a/b"));
        ck_assert(life_asked_for(&l, UP_SUBSCRIBE, "x"));
        life_grant(&l);
        ck_assert_str_eq(life_records(&l), "");

        life_message(&l, "a/c", 2, false, 0);
        ck_assert_uint_eq(l.n_recipients, 1);
        ck_assert_uint_eq(l.recipients[0].qos, 1);
        life_message(&l, "a/c", 2, true,
                     0); /* somebody's retained messages, but not asked for here */
        ck_assert_uint_eq(shared_gauges(l.s).unmatched, 1);

        /* The node comes back to a session that is there. */
        life_look_away(&l);
        life_open_node(&l, NODE, false);
        ck_assert(life_event_of(&l, SN_EV_OPENED)->opened.session_present);
        life_unsubscribe(&l, NODE, "a/b");
        ck_assert_str_eq(life_records(&l), "-1 a/b");
        shared_free(l.s);
    }
}

END_TEST

START_TEST(only_valid_subscriptions_come_back)
{
    struct life l = life_begin();
    ck_assert_int_eq(life_restore(&l, NODE, "a/#/b", 1), 1);
    ck_assert_int_eq(life_restore(&l, NODE, "", 1), 1);
    ck_assert_int_eq(life_restore(&l, NODE, "a", 3), 1);
    ck_assert_int_eq(life_restore(&l, SN_NO_CLIENT, "a", 1), 1);
    ck_assert_int_eq(shared_restore(l.s, &(struct sn_record){.type = SN_REC_TOPIC, .client = 1}),
                     1);
    ck_assert_uint_eq(shared_gauges(l.s).sessions, 0);
    ck_assert_int_eq(life_restore(&l, NODE, "a", 1), 0);
    ck_assert_int_eq(life_restore(&l, NODE, "a", 2), 0); /* twice is once */
    shared_record_all(l.s);
    ck_assert_str_eq(life_records(&l), "+1 a 2");
    shared_free(l.s);
}

END_TEST

/* Random lives: what is recorded is what comes back, whenever the process ends. */
enum { LIVES = 300, NODES = 3, FILTERS = 5, STEPS = 60 };

struct table {
    bool there[NODES][FILTERS];
    uint8_t qos[NODES][FILTERS];
};

static const char *const some_filters[FILTERS] = {"a/b", "a/+", "a/#", "b", "#"};

static void keep(struct life *l, struct table *t)
{
    struct sn_record r;
    while (shared_peek_record(l->s, &r)) {
        for (unsigned f = 0; f < FILTERS; f++) {
            if (!bytes_equal(r.subscription.filter, bytes_str(some_filters[f])))
                continue;
            t->there[r.client - 1][f] = r.type == SN_REC_SUBSCRIPTION;
            t->qos[r.client - 1][f] = r.subscription.qos;
        }
        shared_done_record(l->s);
    }
}

static void bring_back(struct life *l, const struct table *t)
{
    for (unsigned n = 0; n < NODES; n++) {
        for (unsigned f = 0; f < FILTERS; f++) {
            if (t->there[n][f])
                ck_assert_int_eq(life_restore(l, n + 1, some_filters[f], t->qos[n][f]), 0);
        }
    }
}

static void random_step(struct life *l, struct rng *rng)
{
    const uint64_t node = 1 + rng_below(rng, NODES);
    const char *const filter = some_filters[rng_below(rng, FILTERS)];
    switch (rng_below(rng, 6)) {
    case 0:
        life_open_node(l, node, rng_below(rng, 4) == 0);
        break;
    case 1:
    case 2:
        life_subscribe(l, node, filter, (uint8_t)rng_below(rng, 3));
        break;
    case 3:
        life_unsubscribe(l, node, filter);
        break;
    case 4:
        life_connect_broker(l, rng_below(rng, 2) == 0);
        break;
    default:
        life_hear(l, &(struct up_event){.type = UP_DISCONNECTED});
        break;
    }
    while (l->n_requests > 0) {
        struct life round = *l;
        life_look_away(l);
        for (unsigned i = 0; i < round.n_requests; i++) {
            const struct up_request r = round.requests[i];
            const bool sub = r.type == UP_SUBSCRIBE;
            life_hear(l, &(struct up_event){.type = sub ? UP_SUBSCRIBED : UP_UNSUBSCRIBED,
                                            .token = r.token,
                                            .result = rng_below(rng, 8) == 0 ? UP_BUSY : UP_OK,
                                            .qos = 2});
        }
    }
    life_look_away(l);
}

START_TEST(what_is_recorded_is_what_comes_back)
{
    struct rng rng = seeded_rng();
    for (unsigned i = 0; i < LIVES; i++) {
        struct table stored = {0};
        struct life l = life_begin();
        shared_accepting(l.s, l.now_ms, rng_below(&rng, 2) == 0);
        life_take(&l);
        for (unsigned k = 0; k < STEPS; k++)
            random_step(&l, &rng);
        keep(&l, &stored);
        struct table whole = {0};
        shared_record_all(l.s);
        keep(&l, &whole);
        shared_free(l.s);

        struct life next = life_begin();
        bring_back(&next, &stored);
        struct table again = {0};
        shared_record_all(next.s);
        keep(&next, &again);
        shared_free(next.s);
        for (unsigned n = 0; n < NODES; n++) {
            for (unsigned f = 0; f < FILTERS; f++) {
                ck_assert(stored.there[n][f] == whole.there[n][f]);
                ck_assert(stored.there[n][f] == again.there[n][f]);
                ck_assert(!stored.there[n][f] || stored.qos[n][f] == whole.qos[n][f]);
                ck_assert(!stored.there[n][f] || stored.qos[n][f] == again.qos[n][f]);
            }
        }
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("shared_restart");
    TCase *records_case = tcase_create("records");
    tcase_add_test(records_case, a_subscription_is_recorded_when_granted_and_when_that_changes);
    tcase_add_test(records_case, what_the_broker_refuses_is_not_recorded);
    tcase_add_test(records_case,
                   a_clean_open_ends_subscriptions_one_by_one_and_a_discarded_session_all_at_once);
    tcase_add_test(records_case, everything_is_recorded_anew_even_while_it_changes);
    tcase_add_test(records_case, without_a_journal_nothing_is_recorded);
    suite_add_tcase(suite, records_case);
    TCase *restart = tcase_create("restart");
    tcase_set_timeout(restart, 60);
    tcase_add_test(restart, messages_for_a_sleeper_go_on_after_a_restart);
    tcase_add_test(restart, only_valid_subscriptions_come_back);
    tcase_add_test(restart, what_is_recorded_is_what_comes_back);
    suite_add_tcase(suite, restart);
    return run_suite(suite);
}
