/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shared session records and how it comes back from that; and what it does for nodes while
 * the connection is away and a spool takes what they publish.
 */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "broker/shared.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { NODE = 1, OTHER = 2, RECORDS = 64, REQUESTS = 64, EVENTS = 64, TEXT = 64 };

struct kept {
    uint64_t client;
    char filter[TEXT];
    uint8_t qos;
};

/* One life of the session, and what came out of it since the test last looked. */
struct life {
    struct shared *s;
    int64_t now_ms;
    struct up_request requests[REQUESTS];
    char topics[REQUESTS][TEXT];
    unsigned n_requests;
    struct sn_event events[EVENTS];
    unsigned n_events;
    struct sn_recipient recipients[8]; /* of the latest message */
    size_t n_recipients;
};

static void copy_text(char out[TEXT], struct bytes text)
{
    snprintf(out, TEXT, "%.*s", (int)text.len, (const char *)text.data);
}

static void take(struct life *l)
{
    struct sn_event event;
    while (shared_peek_event(l->s, &event)) {
        ck_assert(l->n_events < EVENTS);
        if (event.type == SN_EV_MESSAGE) {
            l->n_recipients = event.message.n_recipients;
            memcpy(l->recipients, event.message.recipients,
                   l->n_recipients * sizeof *l->recipients);
        }
        l->events[l->n_events++] = event;
        shared_done_event(l->s);
    }
    struct up_request request;
    while (shared_peek_upstream(l->s, &request)) {
        ck_assert(l->n_requests < REQUESTS);
        copy_text(l->topics[l->n_requests], request.topic);
        request.body = NULL;
        l->requests[l->n_requests++] = request;
        shared_done_upstream(l->s);
    }
}

static void look_away(struct life *l)
{
    l->n_requests = 0;
    l->n_events = 0;
    l->n_recipients = 0;
}

static struct life begin(void)
{
    struct shared_config config = shared_defaults();
    config.journal = true;
    config.hash_seed = (struct hash_seed){.k0 = 1, .k1 = 2};
    struct life l = {.now_ms = 1000};
    l.s = shared_new(&config, l.now_ms);
    ck_assert_ptr_nonnull(l.s);
    return l;
}

static void hear(struct life *l, const struct up_event *event)
{
    shared_upstream(l->s, l->now_ms, event);
    take(l);
}

static void connect_broker(struct life *l, bool session_present)
{
    hear(l, &(struct up_event){.type = UP_CONNECTED, .session_present = session_present});
}

static void ask(struct life *l, const struct sn_request *request)
{
    shared_request(l->s, l->now_ms, request);
    take(l);
}

static void open_node(struct life *l, uint64_t client, bool clean)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_OPEN,
               .client = client,
               .token = 9,
               .open = {.clean = clean, .max_subscriptions = 100}
    });
}

static void subscribe(struct life *l, uint64_t client, const char *filter, uint8_t qos)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_SUBSCRIBE,
               .client = client,
               .token = 7,
               .subscribe = {.filter = bytes_str(filter), .qos = qos}
    });
}

/* The broker grants QoS 2 to all SUBSCRIBEs since the test last looked. */
static void grant(struct life *l)
{
    const unsigned n = l->n_requests;
    for (unsigned i = 0; i < n; i++) {
        const struct up_request r = l->requests[i];
        if (r.type == UP_SUBSCRIBE)
            hear(l, &(struct up_event){.type = UP_SUBSCRIBED, .token = r.token, .qos = 2});
        if (r.type == UP_UNSUBSCRIBE)
            hear(l, &(struct up_event){.type = UP_UNSUBSCRIBED, .token = r.token});
    }
}

static void unsubscribe(struct life *l, uint64_t client, const char *filter)
{
    ask(l, &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                .client = client,
                                .token = 8,
                                .unsubscribe = {.filter = bytes_str(filter)}});
}

/* "+N filter QoS" and "-N filter", joined by commas. */
static const char *records(struct life *l)
{
    static char text[1024];
    size_t len = 0;
    struct sn_record r;
    text[0] = '\0';
    while (shared_peek_record(l->s, &r)) {
        char filter[TEXT];
        copy_text(filter, r.subscription.filter);
        const char *const comma = len > 0 ? ", " : "";
        const size_t room = sizeof text - len;
        int n = 0;
        if (r.type == SN_REC_SUBSCRIPTION)
            n = snprintf(text + len, room, "%s+%d %s %d", comma, (int)r.client, filter,
                         r.subscription.qos);
        else if (r.type == SN_REC_SUBSCRIPTION_GONE)
            n = snprintf(text + len, room, "%s-%d %s", comma, (int)r.client, filter);
        ck_assert(n > 0 && (size_t)n < room);
        len += (size_t)n;
        shared_done_record(l->s);
    }
    return text;
}

static bool asked_for(const struct life *l, enum up_request_type type, const char *topic)
{
    bool found = false;
    for (unsigned i = 0; i < l->n_requests; i++)
        found = found || (l->requests[i].type == type && strcmp(l->topics[i], topic) == 0);
    return found;
}

static const struct sn_event *event_of(const struct life *l, enum sn_event_type type)
{
    for (unsigned i = 0; i < l->n_events; i++) {
        if (l->events[i].type == type)
            return &l->events[i];
    }
    return NULL;
}

static void message(struct life *l, const char *topic, uint8_t qos, bool retain, uint64_t journal)
{
    hear(l, &(struct up_event){.type = UP_MESSAGE,
                               .topic = bytes_str(topic),
                               .qos = qos,
                               .retain = retain,
                               .journal = journal});
}

/* ---- records --------------------------------------------------------------------------------- */

START_TEST(a_subscription_is_recorded_when_granted_and_when_that_changes)
{
    struct life l = begin();
    connect_broker(&l, false);
    open_node(&l, NODE, false);
    subscribe(&l, NODE, "a/b", 1);
    ck_assert_str_eq(records(&l), "");
    grant(&l);
    ck_assert_str_eq(records(&l), "+1 a/b 1");

    look_away(&l);
    subscribe(&l, NODE, "a/b", 1);
    grant(&l);
    ck_assert_str_eq(records(&l), "");

    look_away(&l);
    subscribe(&l, NODE, "a/b", 2);
    grant(&l);
    ck_assert_str_eq(records(&l), "+1 a/b 2");

    unsubscribe(&l, NODE, "a/b");
    unsubscribe(&l, NODE, "never/had");
    ck_assert_str_eq(records(&l), "-1 a/b");
    shared_free(l.s);
}

END_TEST

START_TEST(what_the_broker_refuses_is_not_recorded)
{
    struct life l = begin();
    connect_broker(&l, false);
    open_node(&l, NODE, false);
    subscribe(&l, NODE, "secret", 1);
    hear(&l, &(struct up_event){
                 .type = UP_SUBSCRIBED, .token = l.requests[0].token, .result = UP_REFUSED});
    ck_assert_int_eq(event_of(&l, SN_EV_SUBSCRIBED)->outcome, SN_REFUSED_NEVER);
    unsubscribe(&l, NODE, "secret");
    ck_assert_str_eq(records(&l), "");
    shared_free(l.s);
}

END_TEST

START_TEST(a_clean_open_ends_subscriptions_one_by_one_and_a_discarded_session_all_at_once)
{
    struct life l = begin();
    connect_broker(&l, false);
    open_node(&l, NODE, false);
    subscribe(&l, NODE, "a", 1);
    subscribe(&l, NODE, "b", 0);
    grant(&l);
    records(&l);
    open_node(&l, NODE, true);
    ck_assert_str_eq(records(&l), "-1 a, -1 b");

    look_away(&l);
    subscribe(&l, NODE, "c", 1);
    grant(&l);
    ck_assert_str_eq(records(&l), "+1 c 1");
    ask(&l, &(struct sn_request){.type = SN_REQ_CLOSE, .client = NODE, .close = {.discard = true}});
    ck_assert_str_eq(records(&l), ""); /* the engine's SESSION_GONE takes them along */
    shared_free(l.s);
}

END_TEST

START_TEST(everything_is_recorded_anew_even_while_it_changes)
{
    struct life l = begin();
    connect_broker(&l, false);
    open_node(&l, NODE, false);
    open_node(&l, OTHER, false);
    static const char *const filters[] = {"a", "b", "c", "d"};
    for (size_t i = 0; i < 4; i++) {
        subscribe(&l, NODE, filters[i], 1);
        subscribe(&l, OTHER, filters[i], 2);
    }
    while (l.n_requests > 0) {
        struct life round = l;
        look_away(&l);
        for (unsigned i = 0; i < round.n_requests; i++)
            hear(&l, &(struct up_event){
                         .type = UP_SUBSCRIBED, .token = round.requests[i].token, .qos = 2});
    }
    records(&l);
    shared_record_all(l.s);
    ck_assert_str_eq(records(&l), "+1 a 1, +2 a 2, +1 b 1, +2 b 2, +1 c 1, +2 c 2, +1 d 1, +2 d 2");

    /* The next one to be told goes, and the filter behind it. */
    shared_record_all(l.s);
    struct sn_record r;
    ck_assert(shared_peek_record(l.s, &r));
    shared_done_record(l.s);
    unsubscribe(&l, OTHER, "a");
    unsubscribe(&l, NODE, "b");
    unsubscribe(&l, OTHER, "b");
    ck_assert_str_eq(records(&l), "-2 a, -1 b, -2 b, +1 c 1, +2 c 2, +1 d 1, +2 d 2");

    /* All of them go. */
    shared_record_all(l.s);
    open_node(&l, NODE, true);
    open_node(&l, OTHER, true);
    ck_assert_str_eq(records(&l), "-1 a, -1 c, -1 d, -2 c, -2 d");
    shared_free(l.s);
}

END_TEST

START_TEST(without_a_journal_nothing_is_recorded)
{
    struct shared_config config = shared_defaults();
    struct life l = {.s = shared_new(&config, 1000), .now_ms = 1000};
    connect_broker(&l, false);
    open_node(&l, NODE, false);
    subscribe(&l, NODE, "a", 1);
    grant(&l);
    shared_record_all(l.s);
    ck_assert_str_eq(records(&l), "");
    shared_free(l.s);
}

END_TEST

/* ---- a restart ------------------------------------------------------------------------------- */

static int restore(struct life *l, uint64_t client, const char *filter, uint8_t qos)
{
    return shared_restore(l->s, &(struct sn_record){
                                    .type = SN_REC_SUBSCRIPTION,
                                    .client = client,
                                    .subscription = {.filter = bytes_str(filter), .qos = qos}
    });
}

START_TEST(messages_for_a_sleeper_go_on_after_a_restart)
{
    for (int present = 0; present < 2; present++) {
        struct life l = begin();
        ck_assert_int_eq(restore(&l, NODE, "a/+", 1), 0);
        ck_assert_int_eq(restore(&l, NODE, "a/b", 2), 0);
        ck_assert_int_eq(restore(&l, OTHER, "x", 0), 0);
        ck_assert_uint_eq(shared_gauges(l.s).sessions, 2);

        /* What the broker had sent to the process before is for them already. */
        message(&l, "a/b", 2, false, 77);
        ck_assert_uint_eq(l.n_recipients, 1);
        ck_assert_uint_eq(l.recipients[0].client, NODE);
        ck_assert_uint_eq(l.recipients[0].qos, 2);
        ck_assert_uint_eq(event_of(&l, SN_EV_MESSAGE)->message.journal, 77);

        /* Whatever the broker says about its session: it is asked for them all. */
        look_away(&l);
        connect_broker(&l, present != 0);
        ck_assert(asked_for(&l, UP_SUBSCRIBE, "a/+"));
        ck_assert(asked_for(&l, UP_SUBSCRIBE, "a/b"));
        ck_assert(asked_for(&l, UP_SUBSCRIBE, "x"));
        grant(&l);
        ck_assert_str_eq(records(&l), "");

        message(&l, "a/c", 2, false, 0);
        ck_assert_uint_eq(l.n_recipients, 1);
        ck_assert_uint_eq(l.recipients[0].qos, 1);
        message(&l, "a/c", 2, true, 0); /* somebody's retained messages, but not asked for here */
        ck_assert_uint_eq(shared_gauges(l.s).unmatched, 1);

        /* The node comes back to a session that is there. */
        look_away(&l);
        open_node(&l, NODE, false);
        ck_assert(event_of(&l, SN_EV_OPENED)->opened.session_present);
        unsubscribe(&l, NODE, "a/b");
        ck_assert_str_eq(records(&l), "-1 a/b");
        shared_free(l.s);
    }
}

END_TEST

START_TEST(only_valid_subscriptions_come_back)
{
    struct life l = begin();
    ck_assert_int_eq(restore(&l, NODE, "a/#/b", 1), 1);
    ck_assert_int_eq(restore(&l, NODE, "", 1), 1);
    ck_assert_int_eq(restore(&l, NODE, "a", 3), 1);
    ck_assert_int_eq(restore(&l, SN_NO_CLIENT, "a", 1), 1);
    ck_assert_int_eq(shared_restore(l.s, &(struct sn_record){.type = SN_REC_TOPIC, .client = 1}),
                     1);
    ck_assert_uint_eq(shared_gauges(l.s).sessions, 0);
    ck_assert_int_eq(restore(&l, NODE, "a", 1), 0);
    ck_assert_int_eq(restore(&l, NODE, "a", 2), 0); /* twice is once */
    shared_record_all(l.s);
    ck_assert_str_eq(records(&l), "+1 a 2");
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
                ck_assert_int_eq(restore(l, n + 1, some_filters[f], t->qos[n][f]), 0);
        }
    }
}

static void random_step(struct life *l, struct rng *rng)
{
    const uint64_t node = 1 + rng_below(rng, NODES);
    const char *const filter = some_filters[rng_below(rng, FILTERS)];
    switch (rng_below(rng, 6)) {
    case 0:
        open_node(l, node, rng_below(rng, 4) == 0);
        break;
    case 1:
    case 2:
        subscribe(l, node, filter, (uint8_t)rng_below(rng, 3));
        break;
    case 3:
        unsubscribe(l, node, filter);
        break;
    case 4:
        connect_broker(l, rng_below(rng, 2) == 0);
        break;
    default:
        hear(l, &(struct up_event){.type = UP_DISCONNECTED});
        break;
    }
    while (l->n_requests > 0) {
        struct life round = *l;
        look_away(l);
        for (unsigned i = 0; i < round.n_requests; i++) {
            const struct up_request r = round.requests[i];
            const bool sub = r.type == UP_SUBSCRIBE;
            hear(l, &(struct up_event){.type = sub ? UP_SUBSCRIBED : UP_UNSUBSCRIBED,
                                       .token = r.token,
                                       .result = rng_below(rng, 8) == 0 ? UP_BUSY : UP_OK,
                                       .qos = 2});
        }
    }
    look_away(l);
}

START_TEST(what_is_recorded_is_what_comes_back)
{
    struct rng rng = seeded_rng();
    for (unsigned i = 0; i < LIVES; i++) {
        struct table stored = {0};
        struct life l = begin();
        shared_accepting(l.s, l.now_ms, rng_below(&rng, 2) == 0);
        take(&l);
        for (unsigned k = 0; k < STEPS; k++)
            random_step(&l, &rng);
        keep(&l, &stored);
        struct table whole = {0};
        shared_record_all(l.s);
        keep(&l, &whole);
        shared_free(l.s);

        struct life next = begin();
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

/* ---- while the connection is away ------------------------------------------------------------ */

static void publish(struct life *l, uint64_t client, uint8_t qos)
{
    ask(l, &(struct sn_request){
               .type = SN_REQ_PUBLISH,
               .client = client,
               .token = 5,
               .publish = {.topic = bytes_str("t"), .qos = qos}
    });
}

START_TEST(with_a_spool_sessions_and_publications_are_taken_though_the_broker_is_away)
{
    struct life l = begin();
    open_node(&l, NODE, true);
    ck_assert_int_eq(event_of(&l, SN_EV_OPENED)->outcome, SN_REFUSED_BUSY);

    look_away(&l);
    shared_accepting(l.s, l.now_ms, true);
    take(&l);
    ck_assert(event_of(&l, SN_EV_UPSTREAM)->upstream.up);
    open_node(&l, NODE, true);
    ck_assert_int_eq(event_of(&l, SN_EV_OPENED)->outcome, SN_OK);
    publish(&l, NODE, 1);
    ck_assert(asked_for(&l, UP_PUBLISH, "t"));
    ck_assert_uint_eq(l.requests[0].client, NODE);
    ck_assert(!l.requests[0].will);

    /* The engine hears of no change as long as either is true. */
    look_away(&l);
    connect_broker(&l, false);
    shared_accepting(l.s, l.now_ms, false);
    shared_accepting(l.s, l.now_ms, true);
    hear(&l, &(struct up_event){.type = UP_DISCONNECTED});
    take(&l);
    ck_assert_ptr_null(event_of(&l, SN_EV_UPSTREAM));
    shared_accepting(l.s, l.now_ms, false);
    take(&l);
    ck_assert(!event_of(&l, SN_EV_UPSTREAM)->upstream.up);
    look_away(&l);
    publish(&l, NODE, 1);
    ck_assert_int_eq(event_of(&l, SN_EV_PUBLISHED)->outcome, SN_REFUSED_BUSY);
    ck_assert_uint_eq(l.n_requests, 0);
    shared_free(l.s);
}

END_TEST

START_TEST(a_known_subscription_is_granted_without_the_broker_a_new_one_is_not)
{
    struct life l = begin();
    ck_assert_int_eq(restore(&l, NODE, "a", 2), 0);
    shared_accepting(l.s, l.now_ms, true);
    take(&l);
    look_away(&l);
    open_node(&l, NODE, false);
    subscribe(&l, NODE, "new", 1);
    ck_assert_int_eq(event_of(&l, SN_EV_SUBSCRIBED)->outcome, SN_REFUSED_BUSY);

    look_away(&l);
    subscribe(&l, NODE, "a", 1);
    ck_assert_int_eq(event_of(&l, SN_EV_SUBSCRIBED)->outcome, SN_OK);
    ck_assert_uint_eq(event_of(&l, SN_EV_SUBSCRIBED)->subscribed.granted, 1);
    ck_assert_uint_eq(l.n_requests, 0);
    ck_assert_str_eq(records(&l), "+1 a 1");
    subscribe(&l, NODE, "a", 1);
    ck_assert_str_eq(records(&l), "");

    /* Its retained messages come with the broker. */
    look_away(&l);
    connect_broker(&l, true);
    ck_assert(asked_for(&l, UP_SUBSCRIBE, "a"));
    grant(&l);
    message(&l, "a", 1, true, 0);
    ck_assert_uint_eq(l.n_recipients, 1);
    ck_assert_uint_eq(l.recipients[0].client, NODE);
    ck_assert(l.recipients[0].retain);
    shared_free(l.s);
}

END_TEST

/* Also when the broker has it all the time, and would not be asked again. */
START_TEST(retained_messages_follow_a_subscription_that_was_renewed_in_an_outage)
{
    struct life l = begin();
    connect_broker(&l, false);
    open_node(&l, NODE, false);
    subscribe(&l, NODE, "a", 1);
    grant(&l);
    shared_accepting(l.s, l.now_ms, true);
    hear(&l, &(struct up_event){.type = UP_DISCONNECTED});
    l.now_ms += 60000;
    look_away(&l);
    connect_broker(&l, true);
    ck_assert(!asked_for(&l, UP_SUBSCRIBE, "a"));

    hear(&l, &(struct up_event){.type = UP_DISCONNECTED});
    subscribe(&l, NODE, "a", 1);
    look_away(&l);
    connect_broker(&l, true);
    ck_assert(asked_for(&l, UP_SUBSCRIBE, "a"));
    grant(&l);
    message(&l, "a", 1, true, 0);
    ck_assert_uint_eq(l.n_recipients, 1);
    shared_free(l.s);
}

END_TEST

START_TEST(a_will_goes_to_the_spool_at_once_as_its_nodes_message)
{
    struct life l = begin();
    shared_accepting(l.s, l.now_ms, true);
    ask(&l, &(struct sn_request){
                .type = SN_REQ_OPEN,
                .client = NODE,
                .open = {.will = {.topic = bytes_str("gone"), .qos = 0, .retain = true}}});
    look_away(&l);
    ask(&l, &(struct sn_request){
                .type = SN_REQ_CLOSE,
                .client = NODE,
                .close = {.how = SN_CLOSE_LOST, .discard = true}
    });
    ck_assert(asked_for(&l, UP_PUBLISH, "gone"));
    ck_assert_uint_eq(l.requests[0].client, NODE);
    ck_assert(l.requests[0].will);
    ck_assert(l.requests[0].retain);

    /* Not taken now: again in a while. */
    const uint64_t token = l.requests[0].token;
    hear(&l, &(struct up_event){.type = UP_PUBLISHED, .token = token, .result = UP_BUSY});
    look_away(&l);
    l.now_ms = shared_next_deadline(l.s);
    shared_advance(l.s, l.now_ms);
    take(&l);
    ck_assert(asked_for(&l, UP_PUBLISH, "gone"));
    ck_assert_uint_eq(l.requests[0].client, NODE);
    hear(&l, &(struct up_event){.type = UP_PUBLISHED, .token = token, .result = UP_OK});
    ck_assert_uint_eq(shared_gauges(l.s).wills, 1);
    shared_free(l.s);
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
    TCase *away = tcase_create("away");
    tcase_add_test(away,
                   with_a_spool_sessions_and_publications_are_taken_though_the_broker_is_away);
    tcase_add_test(away, a_known_subscription_is_granted_without_the_broker_a_new_one_is_not);
    tcase_add_test(away, retained_messages_follow_a_subscription_that_was_renewed_in_an_outage);
    tcase_add_test(away, a_will_goes_to_the_spool_at_once_as_its_nodes_message);
    suite_add_tcase(suite, away);
    return run_suite(suite);
}
