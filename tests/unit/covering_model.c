/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/covering_model.h"

#include <stdio.h>
#include <string.h>

enum { LEVELS = 4 };

const char *const model_topics[TOPICS] = {
    "a",      "b",        "$SYS",    "/",       "a/b",   "a/c",   "b/b", "b/c",
    "a/",     "a//c",     "//c",     "a/b/c",   "b/a/c", "b/b/c", "/b",  "/b/c",
    "$SYS/b", "$SYS/b/c", "c/c/c/c", "a/b/c/d", "c",     "$x/b"};

_Static_assert(TOPICS <= 32, "a set of model_topics is 32 bits");

/* ---- what matches what ----------------------------------------------------------------------- */

static size_t split(const char *text, char words[LEVELS + 1][8])
{
    size_t n = 0;
    size_t at = 0;
    for (;; text++) {
        if (*text != '/' && *text != '\0') {
            words[n][at++] = *text;
            continue;
        }
        words[n++][at] = '\0';
        at = 0;
        if (*text == '\0')
            return n;
    }
}

bool model_matches(const char *filter, const char *topic)
{
    char f[LEVELS + 1][8];
    char t[LEVELS + 1][8];
    const size_t n = split(filter, f);
    const size_t m = split(topic, t);
    if (topic[0] == '$' && (f[0][0] == '+' || f[0][0] == '#'))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(f[i], "#") == 0)
            return true;
        if (i >= m || (strcmp(f[i], "+") != 0 && strcmp(f[i], t[i]) != 0))
            return false;
    }
    return n == m;
}

bool model_covers(const char *wide, const char *narrow)
{
    static const char *const tails[] = {"", "~", "~/~"};

    char words[LEVELS + 1][8];
    const size_t n = split(narrow, words);
    const bool open_end = strcmp(words[n - 1], "#") == 0;
    for (size_t tail = 0; tail < (open_end ? 3 : 1); tail++) {
        char name[64] = "";
        size_t len = 0;
        for (size_t i = 0; i < n; i++) {
            const bool last = open_end && i == n - 1;
            if (last && tail == 0)
                break;
            const char *word = strcmp(words[i], "+") == 0 ? "~" : words[i];
            len += (size_t)snprintf(name + len, sizeof name - len, "%s%s", i > 0 ? "/" : "",
                                    last ? tails[tail] : word);
        }
        const bool no_name = n == 1 && open_end && tail == 0;
        if (!no_name && !model_matches(wide, name))
            return false;
    }
    return true;
}

bool model_chance(struct model *m, unsigned percent)
{
    return rng_below(&m->rng, 100) < percent;
}

unsigned model_pick(struct model *m, unsigned n)
{
    return (unsigned)rng_below(&m->rng, n);
}

static void post(struct model *m, struct up_event event)
{
    REQUIRE(m->n_inbox < WIRE, "m->n_inbox < WIRE");
    m->inbox[m->n_inbox++] = event;
}

static void post_answer(struct model *m, const struct wire *w, enum up_result result, uint8_t qos)
{
    post(m, (struct up_event){.type = w->r.type == UP_SUBSCRIBE ? UP_SUBSCRIBED : UP_UNSUBSCRIBED,
                              .token = w->r.token,
                              .result = result,
                              .qos = qos});
}

/* ---- what the session says ------------------------------------------------------------------- */

static unsigned node_of(const struct model *m, uint64_t key)
{
    unsigned n = 0;
    while (n < NODES && m->keys[n] != key)
        n++;
    return n;
}

static void on_answer(struct model *m, const struct sn_event *e)
{
    const unsigned n = node_of(m, e->client);
    REQUIRE(n < NODES, "n < NODES");
    unsigned i = 0;
    while (i < m->n_asks && (m->asks[i].node != n || m->asks[i].token != e->token))
        i++;
    REQUIRE(i < m->n_asks, "an answer that nobody waits for");
    const struct open_ask a = m->asks[i];
    m->asks[i] = m->asks[--m->n_asks];
    struct model_sub *sub = &m->subs[n][a.filter];
    sub->open_asks--;
    if (e->outcome != SN_OK)
        return;
    sub->live = true;
    sub->granted = e->subscribed.granted;
}

static void on_message(struct model *m, const struct sn_event *e)
{
    unsigned t = 0;
    while (!bytes_equal(bytes_str(model_topics[t]), e->message.topic))
        t++;
    for (size_t i = 0; i < e->message.n_recipients; i++) {
        const struct sn_recipient *r = &e->message.recipients[i];
        const unsigned n = node_of(m, r->client);
        REQUIRE(n < NODES, "n < NODES");
        REQUIRE(m->to[n] == 0, "one message names a node twice");
        m->to[n] = 1U << r->qos;
        if (!r->retain)
            continue;
        bool asked = false;
        for (unsigned f = 0; f < m->n_names; f++) {
            const struct model_sub *sub = &m->subs[n][f];
            const bool wants = sub->live || sub->open_asks > 0;
            asked = asked || (wants && model_matches(m->names[f], model_topics[t]) &&
                              (sub->open_asks > 0 || m->now_ms - sub->asked_ms <= 2 * MAX_MS));
        }
        REQUIRE(asked, "a retained message for a node that did not ask");
        for (unsigned a = 0; a < m->n_asks; a++) {
            if (m->asks[a].node == n)
                m->asks[a].got |= 1U << t;
        }
    }
}

void model_drain(struct model *m)
{
    struct sn_event e;
    while (shared_peek_event(m->s, &e)) {
        if (e.type == SN_EV_SUBSCRIBED)
            on_answer(m, &e);
        else if (e.type == SN_EV_MESSAGE)
            on_message(m, &e);
        shared_done_event(m->s);
    }
    struct up_request r;
    while (shared_peek_upstream(m->s, &r)) {
        struct wire w = {.r = r};
        while (!bytes_equal(bytes_str(m->names[w.filter]), r.topic))
            w.filter++;
        m->tokens[r.token % WIRE] = w.filter;
        const bool room = m->up && !(m->faults.full && model_chance(m, 10));
        if (!room)
            post_answer(m, &w, UP_BUSY, 0);
        else
            m->wire[m->n_wire++] = w;
        REQUIRE(m->n_wire < WIRE, "m->n_wire < WIRE");
        shared_done_upstream(m->s);
    }
}

void model_upstream(struct model *m, const struct up_event *event)
{
    memset(m->to, 0, sizeof m->to);
    shared_upstream(m->s, m->now_ms, event);
    model_drain(m);
}

/* ---- the broker ------------------------------------------------------------------------------ */

/* Every topic has a retained message. */
static void send_retained(struct model *m, unsigned filter)
{
    for (unsigned t = 0; t < TOPICS; t++) {
        if (model_matches(m->names[filter], model_topics[t]))
            post(m, (struct up_event){
                        .type = UP_MESSAGE, .retain = true, .topic = bytes_str(model_topics[t])});
    }
}

static void carry_out(struct model *m, const struct wire *w, bool tell)
{
    if (w->r.type == UP_UNSUBSCRIBE) {
        m->has[w->filter] = false;
        if (tell)
            post_answer(m, w, UP_OK, 0);
        return;
    }
    if (m->says_no[w->filter]) {
        if (tell)
            post_answer(m, w, UP_REFUSED, 0);
        return;
    }
    m->has[w->filter] = true;
    m->qos[w->filter] = m->grants[w->filter];
    const bool before = tell && model_chance(m, 50);
    if (before)
        send_retained(m, w->filter);
    if (tell)
        post_answer(m, w, UP_OK, m->qos[w->filter]);
    if (tell && !before)
        send_retained(m, w->filter);
}

void model_broker_step(struct model *m)
{
    if (m->n_wire == 0 || !m->up)
        return;
    const struct wire w = m->wire[0];
    memmove(m->wire, m->wire + 1, --m->n_wire * sizeof m->wire[0]);
    carry_out(m, &w, true);
}

void model_hear(struct model *m)
{
    if (m->n_inbox == 0)
        return;
    const struct up_event e = m->inbox[0];
    if (e.type == UP_SUBSCRIBED && e.result == UP_OK)
        m->known[m->tokens[e.token % WIRE]] = e.qos;
    memmove(m->inbox, m->inbox + 1, --m->n_inbox * sizeof m->inbox[0]);
    model_upstream(m, &e);
}

void model_lose_connection(struct model *m)
{
    const unsigned reached = model_pick(m, m->n_wire + 1);
    m->up = false;
    post(m, (struct up_event){.type = UP_DISCONNECTED, .why = "lost"});
    for (unsigned i = 0; i < m->n_wire; i++) {
        if (i < reached)
            carry_out(m, &m->wire[i], false);
        post_answer(m, &m->wire[i], UP_BUSY, 0);
    }
    m->n_wire = 0;
}

void model_connect_again(struct model *m)
{
    const bool forgotten = m->faults.forget && model_chance(m, 50);
    while (m->n_inbox > 0)
        model_hear(m);
    for (unsigned f = 0; f < m->n_names; f++) {
        m->has[f] = m->has[f] && !forgotten;
        m->says_no[f] = m->faults.refuse && model_chance(m, 15);
        m->grants[f] = m->faults.less ? (uint8_t)model_pick(m, 3) : 2;
    }
    m->up = true;
    post(m, (struct up_event){.type = UP_CONNECTED, .session_present = !forgotten});
}

/* ---- nodes ----------------------------------------------------------------------------------- */

static void request(struct model *m, const struct sn_request *r)
{
    shared_request(m->s, m->now_ms, r);
    model_drain(m);
}

void model_open_node(struct model *m, unsigned n)
{
    m->keys[n] += UINT64_C(1) << SN_CLIENT_SLOT_BITS;
    m->open[n] = true;
    request(m, &(struct sn_request){
                   .type = SN_REQ_OPEN,
                   .client = m->keys[n],
                   .open = {.clean = true, .max_subscriptions = FILTERS_MAX}
    });
}

void model_close_node(struct model *m, unsigned n)
{
    for (unsigned i = 0; i < m->n_asks;) {
        if (m->asks[i].node == n)
            m->asks[i] = m->asks[--m->n_asks];
        else
            i++;
    }
    memset(m->subs[n], 0, sizeof m->subs[n]);
    m->open[n] = false;
    request(m, &(struct sn_request){
                   .type = SN_REQ_CLOSE, .client = m->keys[n], .close = {.discard = true}});
}

void model_node_subscribes(struct model *m, unsigned n, unsigned f)
{
    if (m->n_asks == ASKS)
        return;
    struct model_sub *sub = &m->subs[n][f];
    const uint16_t token = ++m->next_token;
    m->asks[m->n_asks++] = (struct open_ask){.node = n, .filter = f, .token = token};
    sub->open_asks++;
    sub->asked_ms = m->now_ms;
    request(m,
            &(struct sn_request){
                .type = SN_REQ_SUBSCRIBE,
                .client = m->keys[n],
                .token = token,
                .subscribe = {.filter = bytes_str(m->names[f]), .qos = (uint8_t)model_pick(m, 3)}
    });
}

void model_node_unsubscribes(struct model *m, unsigned n, unsigned f)
{
    request(m, &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                    .client = m->keys[n],
                                    .unsubscribe = {.filter = bytes_str(m->names[f])}});
    m->subs[n][f].live = false;
    REQUIRE(m->subs[n][f].open_asks == 0, "m->subs[n][f].open_asks == 0");
}
