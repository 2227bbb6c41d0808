/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A router and two shared sessions, with random routes, nodes that come and go, brokers that are lost
 * and forget, and restarts, against a naive model: which topic has which name at which broker for
 * whom, from a table of all topics there are. At rest every name is told by its broker, and every
 * topic is published by every node.
 */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "unit/router_model.h"
#include "unit/seed.h"
#include "unit/suite.h"

/* ---- what is expected ------------------------------------------------------------------------ */

/* What a failure is to be understood by. */
static const char *situation(const struct model *m, unsigned node)
{
    static char text[2048];
    size_t len = (size_t)snprintf(text, sizeof text, "prefix %s for %s; routes", m->prefix.prefix,
                                  m->prefix.glob != NULL ? m->prefix.glob : "nobody");
    for (unsigned i = 0; i < m->n_routes; i++) {
        const struct route *r = &m->routes[i];
        len += (size_t)snprintf(text + len, sizeof text - len, " [%s: %s -> %u %s%s%s%s q%d]",
                                r->client != NULL ? r->client : "*", r->from, r->brokers,
                                r->topic != NULL ? r->topic : "-", r->up ? " up" : "",
                                r->down ? " down" : "", r->required ? " required" : "", r->qos);
    }
    len += (size_t)snprintf(text + len, sizeof text - len, "; n%u has", node);
    for (unsigned f = 0; f < MODEL_FILTERS; f++) {
        const struct model_sub *s = &m->nodes[node].subs[f];
        if (s->live)
            len += (size_t)snprintf(text + len, sizeof text - len, " %s q%u", model_filters[f],
                                    s->granted);
    }
    for (unsigned b = 0; b < MODEL_BROKERS; b++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "; broker %u has", b);
        for (unsigned i = 0; i < m->brokers[b].n_held; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, " %s", m->brokers[b].held[i]);
    }
    return text;
}

/* Has the node asked for the topic, which has that name at the broker? `*qos`: at what it comes. */
static bool may_hear(const struct model *m, unsigned node, const struct model_name *known,
                     const char *name, const char *topic, uint8_t *qos)
{
    *qos = 0;
    if (strcmp(known->down, name) != 0)
        return false;
    bool any = false;
    for (unsigned f = 0; f < MODEL_FILTERS; f++) {
        const struct model_sub *s = &m->nodes[node].subs[f];
        if (!s->live || !model_matches(model_filters[f], topic, true))
            continue;
        any = true;
        *qos = s->granted > *qos ? s->granted : *qos;
    }
    if (known->most_qos >= 0 && known->most_qos < *qos)
        *qos = (uint8_t)known->most_qos;
    return any;
}

static const struct model_heard *heard_by(const struct model *m, unsigned node)
{
    const struct model_heard *got = NULL;
    for (unsigned i = 0; i < m->n_heard; i++) {
        if (m->heard[i].node != node)
            continue;
        ck_assert_msg(got == NULL, "n%u hears %s twice", node, m->heard[i].topic);
        got = &m->heard[i];
    }
    return got;
}

/* A node hears one of the topics that have this name, if it has asked for one. */
static void check_hearing(struct model *m, unsigned b, const char *name)
{
    model_tell(m, b, name);
    for (unsigned node = 0; node < MODEL_NODES; node++) {
        const struct model_heard *got = heard_by(m, node);
        uint8_t qos;
        if (got != NULL) {
            struct model_name known;
            model_name(m, node, b, got->topic, &known);
            const bool right = may_hear(m, node, &known, name, got->topic, &qos);
            ck_assert_msg(right && qos == got->qos, "broker %u, %s: n%u hears %s at QoS %u; %s", b,
                          name, node, got->topic, got->qos, situation(m, node));
            continue;
        }
        for (int t = 0; t < MODEL_TOPICS; t++) {
            ck_assert_msg(!may_hear(m, node, &m->names[node][b][t], name, model_topics[t], &qos),
                          "broker %u, %s: n%u does not hear %s; %s", b, name, node, model_topics[t],
                          situation(m, node));
        }
    }
}

static void check_publishing(struct model *m, unsigned node, int t)
{
    m->n_seen = 0;
    model_publish(m, node, model_topics[t], 1);
    bool impossible = false;
    for (unsigned b = 0; b < MODEL_BROKERS; b++)
        impossible |= m->names[node][b][t].impossible;
    unsigned wanted = 0;
    for (unsigned b = 0; b < MODEL_BROKERS && !impossible; b++) {
        const char *name = m->names[node][b][t].up;
        if (name[0] == '\0')
            continue;
        wanted++;
        bool found = false;
        for (unsigned i = 0; i < m->n_seen; i++)
            found |= m->seen[i].broker == b && strcmp(m->seen[i].topic, name) == 0;
        ck_assert_msg(found, "n%u: %s not at broker %u as %s", node, model_topics[t], b, name);
    }
    ck_assert_uint_eq(m->n_seen, wanted);
    ck_assert_int_eq(m->published, impossible ? SN_REFUSED_NEVER : SN_OK);
}

/* Nodes that are away hear, too: their sessions are stored. But what a broker that need not answer has
 * missed, it learns only when they come. */
static void check_all(struct model *m)
{
    model_rest(m);
    for (unsigned node = 0; node < MODEL_NODES; node++)
        model_open(m, node, false);
    model_rest(m);
    model_close(m, model_pick(m, MODEL_NODES));
    for (unsigned b = 0; b < MODEL_BROKERS; b++) {
        for (unsigned node = 0; node < MODEL_NODES; node++) {
            for (int t = 0; t < MODEL_TOPICS; t++) {
                const char *name = m->names[node][b][t].down;
                const bool again = node > 0 && strcmp(name, m->names[0][b][t].down) == 0;
                if (name[0] != '\0' && !again)
                    check_hearing(m, b, name);
            }
        }
        for (int t = 0; t < MODEL_TOPICS; t++)
            check_hearing(m, b, model_topics[t]);
    }
    for (unsigned node = 0; node < MODEL_NODES; node++) {
        for (int t = 0; m->nodes[node].open && t < MODEL_TOPICS; t++)
            check_publishing(m, node, t);
    }
}

/* ---- play ------------------------------------------------------------------------------------ */

static void act(struct model *m)
{
    const unsigned node = model_pick(m, MODEL_NODES);
    const unsigned f = model_pick(m, MODEL_FILTERS);
    const unsigned b = model_pick(m, MODEL_BROKERS);
    const unsigned what = model_pick(m, 100);
    if (what < 30)
        model_subscribe(m, node, f, (uint8_t)model_pick(m, 3));
    else if (what < 50)
        model_unsubscribe(m, node, f);
    else if (what < 56)
        model_close(m, node);
    else if (what < 64)
        model_open(m, node, model_pick(m, 3) == 0);
    else if (what < 85)
        model_broker_answers(m, b);
    else if (what < 88)
        model_lose_broker(m, b);
    else if (what < 92)
        model_connect_broker(m, b, model_pick(m, 2) == 0);
    else if (what < 94)
        model_pass_time(m, 1 + model_pick(m, 40000));
    else
        model_tell(m, b, model_topics[model_pick(m, MODEL_TOPICS)]);
}

/* When nobody wants anything any more, brokers have nothing of us. */
static void check_leftovers(struct model *m)
{
    for (unsigned node = 0; node < MODEL_NODES; node++)
        model_open(m, node, false);
    model_rest(m);
    for (unsigned node = 0; node < MODEL_NODES; node++) {
        for (unsigned f = 0; f < MODEL_FILTERS; f++)
            model_unsubscribe(m, node, f);
    }
    model_rest(m);
    for (unsigned b = 0; b < MODEL_BROKERS; b++)
        ck_assert_msg(m->brokers[b].n_held == 0, "broker %u still has %s", b,
                      m->brokers[b].held[0]);
}

/* Routes change while everything is under way. */
static void play_changes(struct rng *rng, unsigned rounds)
{
    enum { ACTIONS = 80, CHANGE_EVERY = 20 };

    struct model *m = calloc(1, sizeof *m);
    ck_assert_ptr_nonnull(m);
    for (unsigned round = 0; round < rounds; round++) {
        model_begin(m, rng_next(rng));
        for (unsigned i = 0; i < ACTIONS; i++) {
            act(m);
            if (model_pick(m, CHANGE_EVERY) == 0)
                model_change(m);
        }
        check_all(m);
        model_change(m);
        check_all(m);
        check_leftovers(m);
        model_end(m);
    }
    free(m);
}

static void play(struct rng *rng, unsigned rounds)
{
    struct model *m = calloc(1, sizeof *m);
    ck_assert_ptr_nonnull(m);
    for (unsigned round = 0; round < rounds; round++) {
        model_begin(m, rng_next(rng));
        for (unsigned rest = 0; rest < 2; rest++) {
            for (unsigned i = 0; i < 80; i++)
                act(m);
            check_all(m);
            if (rest == 0) {
                model_restart(m);
                check_all(m);
            }
        }
        model_end(m);
    }
    free(m);
}

START_TEST(every_node_hears_what_it_asked_for_by_its_names_and_nothing_else)
{
    struct rng rng = seeded_rng();
    play(&rng, sample_of(8, 200));
}

END_TEST

START_TEST(so_it_is_when_routes_change_while_everything_is_under_way)
{
    struct rng rng = seeded_rng();
    play_changes(&rng, sample_of(8, 200));
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("router_model");
    TCase *model = tcase_create("model");
    tcase_set_timeout(model, 120);
    tcase_add_test(model, every_node_hears_what_it_asked_for_by_its_names_and_nothing_else);
    tcase_add_test(model, so_it_is_when_routes_change_while_everything_is_under_way);
    suite_add_tcase(suite, model);
    return run_suite(suite);
}
