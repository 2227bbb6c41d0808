/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's own session against a naive broker and a naive spool: random requests, lost connections,
 * forgotten sessions, outages. Every question has one answer; at rest the broker has what the node was
 * granted; a lost node's will is published once, and it is the latest one; of a session that was
 * discarded the broker keeps nothing.
 */
#include <string.h>

#include <check.h>

#include "broker/own.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { FILTERS = 4, WIRE = 64, TOKENS = 1 << 16 };

static const char *const filters[FILTERS] = {"a", "b/#", "+/c", "d"};
static const char *const wills[] = {NULL, "will/1", "will/2"};

struct model {
    struct rng rng;
    struct own *o;
    int64_t now_ms;
    uint64_t key;

    /* The node, as the engine knows it. */
    bool open, opening, clean, stored;
    const char *will;
    bool live[FILTERS];
    int asked[TOKENS]; /* by token: 1 + filter of an open SUBSCRIBE */
    bool published[TOKENS];
    unsigned n_published; /* not answered */
    unsigned n_asked;
    uint16_t token;

    /* Between: `linked` is that somebody was told to connect. */
    bool linked, up, connect_clean, accepting;
    struct up_request wire[WIRE];
    char wire_topics[WIRE][16];
    unsigned n_wire;
    unsigned spooled;

    /* The broker. */
    bool held[FILTERS];
    bool keeps; /* a session that is not clean */
    char link_will[16];
    const char *due_wills[64]; /* which must still be published */
    unsigned n_due;
    unsigned n_wills;
};

static unsigned pick(struct model *m, unsigned n)
{
    return (unsigned)rng_below(&m->rng, n);
}

static unsigned filter_of(const char *text)
{
    unsigned f = 0;
    while (f < FILTERS && strcmp(filters[f], text) != 0)
        f++;
    ck_assert_uint_lt(f, FILTERS);
    return f;
}

static void copy(char out[16], struct bytes text)
{
    ck_assert_uint_lt(text.len, 16);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

/* ---- the broker ------------------------------------------------------------------------------ */

static void will_published(struct model *m, const char *topic)
{
    ck_assert_msg(m->n_due > 0, "nobody was lost: %s", topic);
    ck_assert_str_eq(topic, m->due_wills[0]);
    memmove(&m->due_wills[0], &m->due_wills[1], --m->n_due * sizeof m->due_wills[0]);
    m->n_wills++;
}

static void broker_ends(struct model *m)
{
    m->up = false;
    if (m->connect_clean) {
        memset(m->held, 0, sizeof m->held);
        m->keeps = false;
    }
}

static void on_command(struct model *m, const struct own_command *c)
{
    if (c->type == OWN_CONNECT) {
        ck_assert_msg(!m->linked, "connected twice");
        m->linked = true;
        m->connect_clean = c->clean;
        copy(m->link_will, c->will.topic);
        return;
    }
    ck_assert_msg(m->linked, "ended twice");
    m->linked = false;
    m->n_wire = 0;
    if (c->type == OWN_ABORT) {
        ck_assert(m->up);
        will_published(m, m->link_will);
    }
    if (m->up)
        broker_ends(m);
}

/* ---- carrying -------------------------------------------------------------------------------- */

static void on_event(struct model *m, const struct sn_event *e)
{
    if (e->client != m->key)
        return; /* of a dead one */
    switch (e->type) {
    case SN_EV_OPENED:
        ck_assert(m->opening);
        m->opening = false;
        m->open = e->outcome == SN_OK;
        m->stored |= m->open;
        if (m->open && m->clean)
            memset(m->live, 0, sizeof m->live);
        break;
    case SN_EV_PUBLISHED:
        if (e->published.qos == 0 || e->outcome == SN_IN_DOUBT)
            break;
        ck_assert_msg(m->published[e->token], "answered twice");
        m->published[e->token] = false;
        m->n_published--;
        break;
    case SN_EV_SUBSCRIBED:
        ck_assert_msg(m->asked[e->token] > 0, "answered twice");
        if (e->outcome == SN_OK)
            m->live[m->asked[e->token] - 1] = true;
        m->asked[e->token] = 0;
        m->n_asked--;
        break;
    case SN_EV_UNSUBSCRIBED:
        break;
    case SN_EV_CLOSED:
        ck_assert(m->open);
        m->open = false;
        m->will = NULL;
        m->stored &= !m->clean;
        break;
    case SN_EV_UPSTREAM:
    case SN_EV_MESSAGE:
        ck_abort_msg("unasked");
        break;
    }
}

static void refuse(struct model *m, const struct up_request *r);

/* The spool takes what it can while the connection is away. */
static bool spool_takes(struct model *m, const struct up_request *r, const char *topic)
{
    if (r->type != UP_PUBLISH || m->up || !m->accepting || (r->qos == 0 && !r->will))
        return false;
    m->spooled++;
    if (r->will)
        will_published(m, topic);
    return true;
}

static void carry(struct model *m)
{
    struct up_request request;
    while (own_peek_upstream(m->o, &request)) {
        char topic[16];
        copy(topic, request.topic);
        const bool taken = spool_takes(m, &request, topic);
        request.body = NULL;
        own_done_upstream(m->o);
        if (taken) {
            own_upstream(m->o, m->now_ms,
                         &(struct up_event){
                             .type = UP_PUBLISHED, .token = request.token, .qos = request.qos});
            own_backlog(m->o, m->now_ms, m->spooled);
        } else if (!m->up) {
            refuse(m, &request);
        } else {
            ck_assert_uint_lt(m->n_wire, WIRE);
            memcpy(m->wire_topics[m->n_wire], topic, sizeof topic);
            m->wire[m->n_wire++] = request;
        }
    }
    struct own_command command;
    while (own_peek_command(m->o, &command)) {
        on_command(m, &command);
        own_done_command(m->o);
    }
    struct sn_event event;
    while (own_peek_event(m->o, &event)) {
        on_event(m, &event);
        own_done_event(m->o);
    }
    struct sn_record record;
    while (own_peek_record(m->o, &record))
        own_done_record(m->o);
    ck_assert_int_gt(own_next_deadline(m->o), m->now_ms);
    if (own_peek_upstream(m->o, &request))
        carry(m);
}

static const enum up_event_type answers[] = {UP_PUBLISHED, UP_SUBSCRIBED, UP_UNSUBSCRIBED};

static void refuse(struct model *m, const struct up_request *r)
{
    own_upstream(
        m->o, m->now_ms,
        &(struct up_event){
            .type = answers[r->type], .token = r->token, .qos = r->qos, .result = UP_BUSY});
}

/* The broker answers the oldest request, and carries it out. */
static void answer_one(struct model *m)
{
    if (m->n_wire == 0 || !m->up)
        return;
    const struct up_request r = m->wire[0];
    char topic[16];
    memcpy(topic, m->wire_topics[0], sizeof topic);
    m->n_wire--;
    memmove(&m->wire[0], &m->wire[1], m->n_wire * sizeof m->wire[0]);
    memmove(&m->wire_topics[0], &m->wire_topics[1], m->n_wire * sizeof m->wire_topics[0]);
    if (r.type == UP_SUBSCRIBE)
        m->held[filter_of(topic)] = true;
    if (r.type == UP_UNSUBSCRIBE)
        m->held[filter_of(topic)] = false;
    if (r.type == UP_PUBLISH && r.will)
        will_published(m, topic);
    if (r.type == UP_PUBLISH && r.qos == 0)
        return;
    own_upstream(m->o, m->now_ms,
                 &(struct up_event){.type = answers[r.type], .token = r.token, .qos = r.qos});
    carry(m);
}

/* ---- what happens ---------------------------------------------------------------------------- */

static void ask(struct model *m, struct sn_request request)
{
    request.client = m->key;
    own_request(m->o, m->now_ms, &request);
    carry(m);
}

static struct sn_will_view will_of(const char *topic)
{
    if (topic == NULL)
        return (struct sn_will_view){0};
    return (struct sn_will_view){.topic = bytes_str(topic), .qos = 1};
}

static void forget_questions(struct model *m)
{
    memset(m->asked, 0, sizeof m->asked);
    memset(m->published, 0, sizeof m->published);
    m->n_asked = 0;
    m->n_published = 0;
}

static void node_opens(struct model *m)
{
    if (m->open || m->opening)
        return;
    m->clean = pick(m, 2) == 0;
    if (!m->stored || m->clean) { /* as the engine has it: a new key */
        m->key += 1 << 24;
        m->stored = false;
        forget_questions(m);
        memset(m->live, 0, sizeof m->live);
    }
    m->opening = true;
    m->will = wills[pick(m, 3)];
    ask(m, (struct sn_request){
               .type = SN_REQ_OPEN,
               .token = m->token++,
               .open = {.client_id = bytes_str("n"),
                        .clean = m->clean,
                        .max_subscriptions = 99,
                        .will = will_of(m->will)}
    });
}

static void node_closes(struct model *m, bool lost)
{
    if (!m->open)
        return;
    m->open = false;
    if (lost && m->will != NULL) {
        ck_assert_uint_lt(m->n_due, 64);
        m->due_wills[m->n_due++] = m->will;
    }
    m->will = NULL;
    const bool discard = m->clean || pick(m, 3) == 0;
    m->stored &= !discard;
    ask(m, (struct sn_request){
               .type = SN_REQ_CLOSE,
               .close = {.how = lost ? SN_CLOSE_LOST : SN_CLOSE_NORMAL, .discard = discard}
    });
    if (!discard)
        return;
    forget_questions(m);
    memset(m->live, 0, sizeof m->live);
    m->key += 1 << 24; /* dead */
}

static void node_publishes(struct model *m)
{
    if (!m->open || m->n_wire > WIRE / 2)
        return;
    const uint8_t qos = (uint8_t)pick(m, 3);
    const uint16_t token = m->token++;
    if (qos > 0) {
        m->published[token] = true;
        m->n_published++;
    }
    ask(m, (struct sn_request){
               .type = SN_REQ_PUBLISH,
               .token = token,
               .publish = {.topic = bytes_str("t"), .qos = qos}
    });
}

static void node_subscribes(struct model *m)
{
    if (!m->open || m->n_wire > WIRE / 2)
        return;
    const unsigned f = pick(m, FILTERS);
    const uint16_t token = m->token++;
    m->asked[token] = (int)f + 1;
    m->n_asked++;
    ask(m, (struct sn_request){
               .type = SN_REQ_SUBSCRIBE,
               .token = token,
               .subscribe = {.filter = bytes_str(filters[f]), .qos = 1}
    });
}

static void node_unsubscribes(struct model *m)
{
    if (!m->open || m->n_wire > WIRE / 2)
        return;
    const unsigned f = pick(m, FILTERS);
    ask(m, (struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                               .token = m->token++,
                               .unsubscribe = {.filter = bytes_str(filters[f])}});
    m->live[f] = false;
}

static void node_changes_will(struct model *m)
{
    if (!m->open)
        return;
    m->will = wills[pick(m, 3)];
    ask(m, (struct sn_request){.type = SN_REQ_SET_WILL, .set_will = {.will = will_of(m->will)}});
}

static void connects(struct model *m)
{
    if (!m->linked || m->up)
        return;
    const bool forgets = m->connect_clean || pick(m, 4) == 0;
    if (forgets)
        memset(m->held, 0, sizeof m->held);
    const bool present = m->keeps && !forgets;
    m->keeps = !m->connect_clean;
    m->up = true;
    own_upstream(m->o, m->now_ms,
                 &(struct up_event){.type = UP_CONNECTED, .session_present = present});
    carry(m);
}

/* The broker publishes the will that it has, which is not what is looked at here. */
static void loses(struct model *m)
{
    if (!m->up)
        return;
    broker_ends(m);
    own_upstream(m->o, m->now_ms, &(struct up_event){.type = UP_DISCONNECTED});
    const unsigned n = m->n_wire;
    struct up_request lost[WIRE];
    memcpy(lost, m->wire, sizeof lost);
    m->n_wire = 0;
    for (unsigned i = 0; i < n; i++)
        refuse(m, &lost[i]);
    carry(m);
}

static void is_refused(struct model *m)
{
    if (!m->linked || m->up)
        return;
    static const uint8_t codes[] = {3, 5};
    own_upstream(
        m->o, m->now_ms,
        &(struct up_event){.type = UP_DISCONNECTED, .refused = true, .code = codes[pick(m, 2)]});
    carry(m);
}

static void drains(struct model *m)
{
    if (!m->up || m->spooled == 0)
        return;
    own_backlog(m->o, m->now_ms, --m->spooled);
    carry(m);
}

static void pass_time(struct model *m, int64_t ms)
{
    m->now_ms += ms;
    own_advance(m->o, m->now_ms);
    carry(m);
}

static void act(struct model *m)
{
    const unsigned what = pick(m, 100);
    if (what < 6)
        node_opens(m);
    else if (what < 10)
        node_closes(m, pick(m, 2) == 0);
    else if (what < 22)
        node_publishes(m);
    else if (what < 32)
        node_subscribes(m);
    else if (what < 38)
        node_unsubscribes(m);
    else if (what < 42)
        node_changes_will(m);
    else if (what < 68)
        answer_one(m);
    else if (what < 76)
        connects(m);
    else if (what < 80)
        loses(m);
    else if (what < 81)
        is_refused(m);
    else if (what < 88)
        drains(m);
    else if (what < 97)
        pass_time(m, pick(m, 8000));
    else {
        m->accepting = !m->accepting;
        own_accepting(m->o, m->now_ms, m->accepting);
        carry(m);
    }
}

/* Everything is answered; the node is there. */
static void come_to_rest(struct model *m)
{
    for (unsigned i = 0; i < 40; i++) {
        if (i > 10)
            node_opens(m);
        connects(m);
        while (m->n_wire > 0)
            answer_one(m);
        while (m->up && m->spooled > 0)
            drains(m);
        pass_time(m, 7000);
    }
    ck_assert_uint_eq(m->n_wire, 0);
    ck_assert(m->open && m->up);
    ck_assert_uint_eq(m->n_published, 0);
    ck_assert_uint_eq(m->n_asked, 0);
    ck_assert_uint_eq(m->n_due, 0);
    ck_assert_str_eq(m->link_will, m->will != NULL ? m->will : "");
    ck_assert(m->keeps == !m->clean);
    for (unsigned f = 0; f < FILTERS; f++)
        ck_assert_msg(m->held[f] == m->live[f], "%s: %d at the broker", filters[f], m->held[f]);
}

/* The node goes for ever. */
static void come_to_end(struct model *m)
{
    ask(m, (struct sn_request){.type = SN_REQ_CLOSE, .close = {.discard = true}});
    for (unsigned i = 0; i < 10; i++) {
        connects(m);
        pass_time(m, 7000);
    }
    ck_assert(own_is_over(m->o));
    ck_assert(!m->linked && !m->keeps);
}

START_TEST(every_question_has_one_answer_and_broker_and_node_agree_in_the_end)
{
    static const struct own_config config = {.log_level = LOG_ERROR, .journal = true};
    struct rng rng = seeded_rng();
    struct model *m = malloc(sizeof *m);
    ck_assert_ptr_nonnull(m);
    unsigned n_wills = 0;
    for (unsigned round = 0; round < 300; round++) {
        memset(m, 0, sizeof *m);
        rng_seed(&m->rng, rng_next(&rng));
        m->key = 1 << 24;
        m->now_ms = 100000;
        m->o = own_new(&config, m->key, m->now_ms);
        ck_assert_ptr_nonnull(m->o);
        for (unsigned rest = 0; rest < 4; rest++) {
            for (unsigned i = 0; i < 150; i++)
                act(m);
            come_to_rest(m);
        }
        come_to_end(m);
        n_wills += m->n_wills;
        own_free(m->o);
    }
    ck_assert_uint_gt(n_wills, 100);
    free(m);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("own_model");
    TCase *model = tcase_create("model");
    tcase_set_timeout(model, 120);
    tcase_add_test(model, every_question_has_one_answer_and_broker_and_node_agree_in_the_end);
    suite_add_tcase(suite, model);
    return run_suite(suite);
}
