/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared session against a model: random nodes subscribe, unsubscribe and leave; the broker
 * sends one copy of a message per matching subscription, refuses, grants less, has no room, breaks
 * the connection and forgets. What must hold is told by matching sample topics one by one, without
 * trees or guards:
 *
 *   - at any time, while nothing is refused or forgotten: each message that a granted subscription
 *     matches is sent at least once;
 *   - at rest: the broker has no filter that another one covers, none that nobody wants, and each
 *     node gets what it was granted; when filters are nested, it gets it once;
 *   - each SUBSCRIBE is answered once, and brings the retained messages to this node only.
 */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "unit/covering_model.h"
#include "unit/seed.h"
#include "unit/suite.h"

static const char *const filters[] = {"#",      "+/#",   "a/#",   "a/+",     "a/b",   "a/b/#",
                                      "a/b/c",  "a/+/c", "+/b",   "+/b/#",   "+/+/c", "$SYS/#",
                                      "$SYS/+", "+",     "a",     "/",       "/#",    "+/+",
                                      "a//#",   "a//+",  "a/+/#", "$SYS/b/#"};

/* Those among which each two are nested or apart. */
static const char *const nested[] = {"#",   "a/#",   "a/+/#", "a/b/#",  "a/b",   "a/b/c",
                                     "b/#", "b/+/c", "b/a/c", "$SYS/#", "$SYS/b"};

enum {
    FILTERS = sizeof filters / sizeof filters[0],
    NESTED = sizeof nested / sizeof nested[0],
};

_Static_assert((int)FILTERS <= (int)FILTERS_MAX && (int)NESTED <= (int)FILTERS_MAX,
               "the model has room for them");

/* ---- what must hold -------------------------------------------------------------------------- */

static bool is_wanted(const struct model *m, unsigned f)
{
    bool wanted = false;
    for (unsigned n = 0; n < NODES; n++)
        wanted = wanted || m->subs[n][f].live;
    return wanted;
}

static unsigned copies_of(const struct model *m, unsigned t, uint8_t *best)
{
    unsigned copies = 0;
    *best = 0;
    for (unsigned f = 0; f < m->n_names; f++) {
        if (!m->has[f] || !model_matches(m->names[f], model_topics[t]))
            continue;
        copies++;
        *best = m->qos[f] > *best ? m->qos[f] : *best;
    }
    return copies;
}

/* No gap, whatever is being changed. */
static void check_nothing_is_missed(const struct model *m)
{
    for (unsigned t = 0; t < TOPICS; t++) {
        uint8_t best = 0;
        if (copies_of(m, t, &best) > 0)
            continue;
        for (unsigned f = 0; f < m->n_names; f++)
            REQUIRE(!is_wanted(m, f) || !model_matches(m->names[f], model_topics[t]),
                    "%s is wanted by %s, and the broker has no filter for it", model_topics[t],
                    m->names[f]);
    }
}

static bool is_covered(const struct model *m, unsigned f, uint8_t qos)
{
    bool covered = false;
    if (strcmp(m->names[f], "#") == 0)
        return false; /* of the two that match the same, # counts as the wider one */
    for (unsigned g = 0; g < m->n_names; g++)
        covered = covered || (g != f && m->has[g] && m->known[g] >= qos &&
                              model_covers(m->names[g], m->names[f]));
    return covered;
}

static uint8_t most_granted(const struct model *m, unsigned f)
{
    uint8_t most = 0;
    for (unsigned n = 0; n < NODES; n++) {
        if (m->subs[n][f].live && m->subs[n][f].granted > most)
            most = m->subs[n][f].granted;
    }
    return most;
}

static void check_filters_at_rest(const struct model *m)
{
    for (unsigned f = 0; f < m->n_names; f++) {
        if (!m->has[f]) {
            const bool excused = m->faults.refuse || m->faults.less;
            REQUIRE(!is_wanted(m, f) || is_covered(m, f, most_granted(m, f)) || excused,
                    "%s is wanted, and the broker does not know it", m->names[f]);
            continue;
        }
        REQUIRE(is_wanted(m, f), "nobody wants %s", m->names[f]);
        REQUIRE(!is_covered(m, f, m->known[f]), "%s is covered", m->names[f]);
    }
}

/* One live message on each topic, as many copies as the broker sends. */
static void check_delivery_at_rest(struct model *m)
{
    for (unsigned t = 0; t < TOPICS; t++) {
        unsigned deliveries = 0;
        uint8_t best = 0;
        const unsigned copies = copies_of(m, t, &best);
        REQUIRE(copies <= 1 || m->names == filters || m->faults.less,
                "%u copies on %s, although filters are nested", copies, model_topics[t]);
        for (unsigned f = 0; f < m->n_names; f++) {
            if (!m->has[f] || !model_matches(m->names[f], model_topics[t]))
                continue;
            model_upstream(m, &(struct up_event){.type = UP_MESSAGE,
                                                 .qos = m->qos[f],
                                                 .topic = bytes_str(model_topics[t])});
            deliveries++;
            for (unsigned n = 0; n < NODES; n++) {
                int granted = -1;
                for (unsigned g = 0; g < m->n_names; g++) {
                    const struct model_sub *sub = &m->subs[n][g];
                    if (sub->live && model_matches(m->names[g], model_topics[t]) &&
                        sub->granted > granted)
                        granted = sub->granted;
                }
                const int qos = granted < m->qos[f] ? granted : m->qos[f];
                REQUIRE(m->to[n] == (qos >= 0 ? 1U << qos : 0),
                        "m->to[n] == (qos >= 0 ? 1U << qos : 0)");
            }
        }
        REQUIRE(deliveries == copies, "deliveries == copies");
    }
}

/* The retained messages have reached every node that asks now. */
static void check_retained(struct model *m)
{
    const unsigned n = model_pick(m, NODES);
    const unsigned f = model_pick(m, m->n_names);
    if (m->says_no[f] || !m->open[n])
        return;
    model_node_subscribes(m, n, f);
    uint32_t got = 0;
    uint32_t wanted = 0;
    for (unsigned i = 0; i < WIRE && (m->n_wire > 0 || m->n_inbox > 0); i++) {
        model_broker_step(m);
        const bool message = m->n_inbox > 0 && m->inbox[0].type == UP_MESSAGE;
        const struct bytes topic = message ? m->inbox[0].topic : bytes_str("");
        model_hear(m);
        for (unsigned t = 0; message && t < TOPICS; t++)
            got |= bytes_equal(topic, bytes_str(model_topics[t])) && m->to[n] != 0 ? 1U << t : 0;
    }
    for (unsigned t = 0; t < TOPICS; t++)
        wanted |= model_matches(m->names[f], model_topics[t]) ? 1U << t : 0;
    REQUIRE((got & wanted) == wanted, "%s: retained %x of %x", m->names[f], got, wanted);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

static void pass_time(struct model *m, int64_t ms)
{
    m->now_ms += ms;
    shared_advance(m->s, m->now_ms);
    REQUIRE(shared_next_deadline(m->s) > m->now_ms, "shared_next_deadline(m->s) > m->now_ms");
    model_drain(m);
}

static void come_to_rest(struct model *m)
{
    const struct faults faults = m->faults;
    if (!m->up)
        model_connect_again(m);
    m->faults.full = false;
    for (unsigned i = 0; i < 8; i++) {
        for (unsigned k = 0; k < WIRE && (m->n_wire > 0 || m->n_inbox > 0); k++) {
            model_broker_step(m);
            model_hear(m);
        }
        pass_time(m, 1100);
    }
    REQUIRE(m->n_wire + m->n_inbox == 0, "m->n_wire + m->n_inbox == 0");
    REQUIRE(m->n_asks == 0, "m->n_asks == 0");
    check_filters_at_rest(m);
    check_delivery_at_rest(m);
    pass_time(m, 3 * MAX_MS);
    check_retained(m);
    m->faults = faults;
}

static void act(struct model *m)
{
    const unsigned n = model_pick(m, NODES);
    const unsigned f = model_pick(m, m->n_names);
    const unsigned what = model_pick(m, 100);
    if (what < 18)
        model_node_subscribes(m, n, f);
    else if (what < 34)
        model_node_unsubscribes(m, n, f);
    else if (what < 36 && m->up && m->n_inbox == 0) {
        model_close_node(m, n);
        model_open_node(m, n);
    } else if (what < 60)
        model_broker_step(m);
    else if (what < 85)
        model_hear(m);
    else if (what < 95)
        pass_time(m, model_pick(m, 300));
    else if (what < 97 && m->faults.lose && m->up)
        model_lose_connection(m);
    else if (what < 99 && !m->up)
        model_connect_again(m);
}

static void play(struct model *m, unsigned steps)
{
    struct shared_config config = shared_defaults();
    config.hash_seed = (struct hash_seed){.k0 = rng_next(&m->rng), .k1 = rng_next(&m->rng)};
    config.log_level = LOG_ERROR;
    m->s = shared_new(&config, m->now_ms);
    REQUIRE(m->s != NULL, "out of memory");
    model_connect_again(m);
    model_hear(m);
    for (unsigned n = 0; n < NODES; n++) {
        m->keys[n] = n;
        model_open_node(m, n);
    }
    const bool no_gaps = !m->faults.refuse && !m->faults.forget && !m->faults.less;
    for (unsigned i = 1; i <= steps; i++) {
        act(m);
        if (no_gaps)
            check_nothing_is_missed(m);
        if (i % 100 == 0)
            come_to_rest(m);
    }
    for (unsigned n = 0; n < NODES; n++)
        model_close_node(m, n);
    come_to_rest(m);
    REQUIRE(shared_gauges(m->s).filters == 0, "shared_gauges(m->s).filters == 0");
    REQUIRE(shared_gauges(m->s).covered == 0, "shared_gauges(m->s).covered == 0");
    shared_free(m->s);
}

static void play_rounds(const char *const *names, unsigned n_names, struct faults faults)
{
    struct model *m = malloc(sizeof *m);
    REQUIRE(m != NULL, "out of memory");
    struct rng rng = seeded_rng();
    for (unsigned round = 0; round < 40; round++) {
        memset(m, 0, sizeof *m);
        rng_seed(&m->rng, rng_next(&rng));
        m->names = names;
        m->n_names = n_names;
        m->faults = faults;
        m->now_ms = 1000;
        play(m, 2000);
    }
    free(m);
}

START_TEST(nested_filters_reach_each_node_once_and_nothing_is_missed)
{
    play_rounds(nested, NESTED, (struct faults){.full = true, .lose = true});
}

END_TEST

START_TEST(crossing_filters_are_kept_to_those_that_no_other_one_covers)
{
    play_rounds(filters, FILTERS, (struct faults){.full = true, .lose = true});
}

END_TEST

START_TEST(a_broker_that_forgets_gets_the_same_filters_again)
{
    play_rounds(nested, NESTED, (struct faults){.forget = true, .full = true, .lose = true});
    play_rounds(filters, FILTERS, (struct faults){.forget = true, .full = true, .lose = true});
}

END_TEST

START_TEST(refused_and_lesser_filters_cover_nothing_that_was_granted_more)
{
    play_rounds(
        filters, FILTERS,
        (struct faults){.refuse = true, .less = true, .forget = true, .full = true, .lose = true});
}

END_TEST

START_TEST(the_model_knows_what_covers_what)
{
    static const struct {
        const char *wide, *narrow;
        bool covers;
    } rows[] = {
        {"#",      "a/b",    true },
        {"#",      "+/#",    true },
        {"+/#",    "#",      true },
        {"#",      "$SYS/b", false},
        {"+/b",    "$SYS/b", false},
        {"a/#",    "a",      true },
        {"a/+",    "a",      false},
        {"a/#",    "a/+/#",  true },
        {"a/+/#",  "a/#",    false},
        {"a/+",    "a/b",    true },
        {"a/b",    "a/+",    false},
        {"a/+/c",  "a/b/c",  true },
        {"+/b",    "a/+",    false},
        {"$SYS/#", "$SYS/+", true },
        {"/#",     "/",      true },
        {"+/+",    "/",      true },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        ck_assert_msg(model_covers(rows[i].wide, rows[i].narrow) == rows[i].covers, "%s, %s",
                      rows[i].wide, rows[i].narrow);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("covering");
    TCase *model = tcase_create("model");
    tcase_set_timeout(model, 120);
    tcase_add_test(model, the_model_knows_what_covers_what);
    tcase_add_test(model, nested_filters_reach_each_node_once_and_nothing_is_missed);
    tcase_add_test(model, crossing_filters_are_kept_to_those_that_no_other_one_covers);
    tcase_add_test(model, a_broker_that_forgets_gets_the_same_filters_again);
    tcase_add_test(model, refused_and_lesser_filters_cover_nothing_that_was_granted_more);
    suite_add_tcase(suite, model);
    return run_suite(suite);
}
