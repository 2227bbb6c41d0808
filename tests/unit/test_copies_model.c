/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared session against a broker of MQTT 5 that sends a copy of each message for each subscription,
 * in any order, and lets copies wait for a place in the window while its answers overtake them. Nodes
 * subscribe and unsubscribe to filters that cross and cover each other, and few contents make messages
 * equal. Each message reaches who wanted it when it was published, and still does; when nothing changes
 * any more, once.
 */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "base/rng.h"

#include "broker/shared.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { NODES = 3, FILTERS = 6, TOPICS = 3, CONTENTS = 3, QUEUE = 4096, ROUNDS = 60, CALM = 60 };

static const char *const filters[FILTERS] = {"a/+", "+/b", "a/b", "a/#", "+/+", "#"};
static const char *const topics[TOPICS] = {"a/b", "a/c", "c/b"};
static const bool matches[FILTERS][TOPICS] = {
    {true, true,  false},
    {true, false, true },
    {true, false, false},
    {true, true,  false},
    {true, true,  true },
    {true, true,  true },
};

#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition))                                                                          \
            ck_abort_msg(__VA_ARGS__);                                                             \
    } while (0)

struct message {
    unsigned topic, content;
    unsigned n_copies;              /* not heard yet */
    unsigned since[NODES][FILTERS]; /* the subscriptions that want it; 0: not that one */
};

struct copy_of {
    unsigned message;
    uint32_t id;
    unsigned n_answers; /* that the broker had sent before */
};

static struct world {
    struct shared *s;
    struct rng rng;
    int64_t now_ms;
    uint32_t at_broker[FILTERS]; /* identifiers; 0: it has it not */
    struct up_request requests[QUEUE];
    unsigned filter_of[QUEUE]; /* of the request */
    unsigned n_requests, n_done;
    struct up_event answers[QUEUE];
    unsigned n_answers, n_heard;
    struct copy_of copies[QUEUE];
    unsigned n_copies, n_delivered;
    struct message messages[QUEUE];
    unsigned n_messages;
    unsigned since[NODES][FILTERS]; /* when granted; 0: not */
    unsigned asks[NODES][FILTERS];
    unsigned steps;
    unsigned wanted[NODES][TOPICS][CONTENTS], got[NODES][TOPICS][CONTENTS];
    struct body *bodies[CONTENTS];
} w;

static unsigned pick(unsigned n)
{
    return (unsigned)rng_below(&w.rng, n);
}

static unsigned index_of(const char *const *list, unsigned n, struct bytes text)
{
    unsigned i = 0;
    while (i < n && !bytes_equal(bytes_str(list[i]), text))
        i++;
    REQUIRE(i < n, "an unknown text");
    return i;
}

static uint64_t key_of(unsigned node)
{
    return (UINT64_C(1) << SN_CLIENT_SLOT_BITS) + node;
}

static uint16_t token_of(unsigned filter)
{
    return (uint16_t)(100 + filter);
}

/* ---- what the session says ------------------------------------------------------------------- */

static void on_message(const struct sn_event *e)
{
    const unsigned t = index_of(topics, TOPICS, e->message.topic);
    const unsigned content = body_bytes(e->message.body).data[0] - '0';
    for (size_t i = 0; i < e->message.n_recipients; i++)
        w.got[e->message.recipients[i].client & 0xFF][t][content]++;
}

static void on_granted(const struct sn_event *e)
{
    const unsigned node = (unsigned)(e->client & 0xFF);
    const unsigned f = e->token - 100U;
    REQUIRE(w.asks[node][f] > 0, "an answer that nobody waits for");
    w.asks[node][f]--;
    if (e->outcome == SN_OK && w.since[node][f] == 0)
        w.since[node][f] = w.steps;
}

static void drain(void)
{
    struct sn_event e;
    while (shared_peek_event(w.s, &e)) {
        if (e.type == SN_EV_MESSAGE)
            on_message(&e);
        else if (e.type == SN_EV_SUBSCRIBED)
            on_granted(&e);
        shared_done_event(w.s);
    }
    struct up_request r;
    while (shared_peek_upstream(w.s, &r)) {
        REQUIRE(w.n_requests < QUEUE, "too many requests");
        w.filter_of[w.n_requests] = index_of(filters, FILTERS, r.topic);
        w.requests[w.n_requests++] = r;
        shared_done_upstream(w.s);
    }
}

static void hear(const struct up_event *event)
{
    shared_upstream(w.s, w.now_ms, event);
    drain();
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void subscribe(unsigned node, unsigned f)
{
    w.asks[node][f]++;
    shared_request(w.s, w.now_ms,
                   &(struct sn_request){
                       .type = SN_REQ_SUBSCRIBE,
                       .client = key_of(node),
                       .token = token_of(f),
                       .subscribe = {.filter = bytes_str(filters[f]), .qos = 2}
    });
    drain();
}

static void unsubscribe(unsigned node, unsigned f)
{
    shared_request(w.s, w.now_ms,
                   &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                        .client = key_of(node),
                                        .unsubscribe = {.filter = bytes_str(filters[f])}});
    w.since[node][f] = 0;
    drain();
}

/* ---- the broker ------------------------------------------------------------------------------ */

static void answer_one(void)
{
    if (w.n_done == w.n_requests)
        return;
    const struct up_request *r = &w.requests[w.n_done];
    const unsigned f = w.filter_of[w.n_done++];
    const bool subscribes = r->type == UP_SUBSCRIBE;
    w.at_broker[f] = subscribes ? r->subscription : 0;
    w.answers[w.n_answers++] =
        (struct up_event){.type = subscribes ? UP_SUBSCRIBED : UP_UNSUBSCRIBED,
                          .token = r->token,
                          .qos = subscribes ? 2 : 0};
}

static void publish(unsigned t)
{
    REQUIRE(w.n_messages < QUEUE && w.n_copies + FILTERS < QUEUE, "too many messages");
    struct message *m = &w.messages[w.n_messages];
    *m = (struct message){.topic = t, .content = pick(CONTENTS)};
    const unsigned first = pick(FILTERS);
    for (unsigned i = 0; i < FILTERS; i++) {
        const unsigned f = (first + i) % FILTERS;
        if (w.at_broker[f] == 0 || !matches[f][t])
            continue;
        w.copies[w.n_copies++] = (struct copy_of){
            .message = w.n_messages, .id = w.at_broker[f], .n_answers = w.n_answers};
        m->n_copies++;
    }
    for (unsigned n = 0; n < NODES; n++) {
        for (unsigned f = 0; f < FILTERS; f++)
            m->since[n][f] = matches[f][t] ? w.since[n][f] : 0;
    }
    w.n_messages += m->n_copies > 0;
}

static void count_wanted(const struct message *m)
{
    for (unsigned n = 0; n < NODES; n++) {
        bool wanted = false;
        for (unsigned f = 0; f < FILTERS; f++)
            wanted |= m->since[n][f] != 0 && m->since[n][f] == w.since[n][f];
        w.wanted[n][m->topic][m->content] += wanted;
    }
}

static bool deliver_one(void)
{
    if (w.n_delivered == w.n_copies || w.copies[w.n_delivered].n_answers > w.n_heard)
        return false;
    const struct copy_of *copy = &w.copies[w.n_delivered++];
    struct message *m = &w.messages[copy->message];
    hear(&(struct up_event){.type = UP_MESSAGE,
                            .topic = bytes_str(topics[m->topic]),
                            .body = w.bodies[m->content],
                            .qos = 1,
                            .subscriptions = {copy->id},
                            .n_subscriptions = 1});
    if (--m->n_copies == 0)
        count_wanted(m);
    return true;
}

static bool hear_answer(void)
{
    if (w.n_heard == w.n_answers)
        return false;
    hear(&w.answers[w.n_heard++]);
    return true;
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void act(void)
{
    const unsigned node = pick(NODES);
    const unsigned f = pick(FILTERS);
    const unsigned what = pick(100);
    w.steps++;
    if (what < 8 && w.asks[node][f] == 0)
        subscribe(node, f);
    else if (what < 14 && w.asks[node][f] == 0)
        unsubscribe(node, f);
    else if (what < 35)
        answer_one();
    else if (what < 55)
        hear_answer();
    else if (what < 75)
        publish(pick(TOPICS));
    else
        deliver_one();
}

/* Visits end, and everything has been said. */
static void settle(void)
{
    for (unsigned i = 0; i < 8; i++) {
        bool moved = true;
        while (moved) {
            answer_one();
            moved = hear_answer();
            moved |= deliver_one();
        }
        w.now_ms += 1000;
        shared_advance(w.s, w.now_ms);
        drain();
    }
    REQUIRE(w.n_delivered == w.n_copies, "something was not delivered");
}

static unsigned compare(const char *when)
{
    unsigned twice = 0;
    for (unsigned n = 0; n < NODES; n++) {
        for (unsigned t = 0; t < TOPICS; t++) {
            for (unsigned c = 0; c < CONTENTS; c++) {
                REQUIRE(w.got[n][t][c] >= w.wanted[n][t][c], "%s: node %u misses %u of %s", when, n,
                        w.wanted[n][t][c] - w.got[n][t][c], topics[t]);
                twice += w.got[n][t][c] - w.wanted[n][t][c];
            }
        }
    }
    memset(w.got, 0, sizeof w.got);
    memset(w.wanted, 0, sizeof w.wanted);
    return twice;
}

static void begin(uint64_t seed)
{
    struct shared_config config = shared_defaults();
    w = (struct world){.now_ms = 1000};
    rng_seed(&w.rng, seed);
    config.hash_seed = (struct hash_seed){.k0 = rng_next(&w.rng), .k1 = rng_next(&w.rng)};
    config.log_level = LOG_ERROR;
    w.s = shared_new(&config, w.now_ms);
    for (unsigned i = 0; i < CONTENTS; i++)
        w.bodies[i] = body_new(bytes_of(&"012"[i], 1));
    hear(&(struct up_event){.type = UP_CONNECTED});
    for (unsigned n = 0; n < NODES; n++)
        shared_request(w.s, w.now_ms,
                       &(struct sn_request){
                           .type = SN_REQ_OPEN,
                           .client = key_of(n),
                           .open = {.clean = true, .max_subscriptions = FILTERS}
        });
    drain();
}

static void end(void)
{
    shared_free(w.s);
    for (unsigned i = 0; i < CONTENTS; i++)
        body_unref(w.bodies[i]);
}

START_TEST(each_message_comes_to_who_wants_it_and_at_rest_once)
{
    struct rng seeds = seeded_rng();
    for (unsigned round = 0; round < sample_of(ROUNDS, 3000); round++) {
        begin(rng_next(&seeds));
        for (unsigned phase = 0; phase < 3; phase++) {
            for (unsigned i = 0; i < 300; i++)
                act();
            settle();
            compare("while subscriptions changed");
            for (unsigned i = 0; i < CALM; i++) {
                publish(i % TOPICS);
                settle();
            }
            compare("at first");
            for (unsigned i = 0; i < CALM; i++) {
                publish(i % TOPICS);
                settle();
            }
            REQUIRE(compare("at rest") == 0, "copies at rest");
        }
        end();
    }
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("copies_model");
    TCase *tc = tcase_create("copies_model");
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, each_message_comes_to_who_wants_it_and_at_rest_once);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
