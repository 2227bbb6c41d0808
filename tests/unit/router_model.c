/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/router_model.h"

#include <string.h>

#include <check.h>

/* ---- carrying -------------------------------------------------------------------------------- */

static void copy(char out[MODEL_TEXT], struct bytes text)
{
    ck_assert_uint_lt(text.len, MODEL_TEXT);
    memcpy(out, text.data, text.len);
    out[text.len] = '\0';
}

static struct model_node *node_of(struct model *m, uint64_t key)
{
    for (unsigned i = 0; i < MODEL_NODES; i++) {
        if (m->nodes[i].key == key)
            return &m->nodes[i];
    }
    return NULL;
}

static void forget_asks(struct model_node *n)
{
    for (unsigned i = 0; i < 256; i++)
        n->asked[i] = -1;
}

static void forget_filters(struct model_node *n)
{
    memset(n->subs, 0, sizeof n->subs);
    forget_asks(n);
}

static void on_message(struct model *m, const struct sn_event *event)
{
    for (size_t i = 0; i < event->message.n_recipients; i++) {
        const struct sn_recipient *to = &event->message.recipients[i];
        const struct model_node *n = node_of(m, to->client);
        ck_assert_ptr_nonnull(n);
        ck_assert_uint_lt(m->n_heard, sizeof m->heard / sizeof m->heard[0]);
        struct model_heard *h = &m->heard[m->n_heard++];
        h->node = (unsigned)(n - m->nodes);
        h->qos = to->qos;
        copy(h->topic, event->message.topic);
    }
}

static void engine_hears(struct model *m, const struct sn_event *event)
{
    struct model_node *n = node_of(m, event->client);
    if (event->type == SN_EV_MESSAGE)
        on_message(m, event);
    if (event->type == SN_EV_PUBLISHED)
        m->published = (int)event->outcome;
    if (n == NULL)
        return;
    if (event->type == SN_EV_OPENED) {
        n->open = event->outcome == SN_OK;
        n->opening = false;
        if (n->open && n->clean)
            forget_filters(n);
    }
    if (event->type == SN_EV_SUBSCRIBED && n->asked[event->token & 255] >= 0) {
        struct model_sub *s = &n->subs[n->asked[event->token & 255]];
        n->asked[event->token & 255] = -1;
        if (event->outcome == SN_OK)
            *s = (struct model_sub){.live = true, .granted = event->subscribed.granted};
    }
}

static void hold(struct model_broker *b, struct bytes filter, bool held)
{
    unsigned i = 0;
    while (i < b->n_held && !bytes_equal(bytes_str(b->held[i]), filter))
        i++;
    if (held && i == b->n_held) {
        ck_assert_uint_lt(b->n_held, sizeof b->held / sizeof b->held[0]);
        copy(b->held[b->n_held++], filter);
    } else if (!held && i < b->n_held) {
        memmove(b->held[i], b->held[--b->n_held], MODEL_TEXT);
    }
}

static void broker_hears(struct model *m, unsigned broker, const struct up_request *q)
{
    struct model_broker *b = &m->brokers[broker];
    struct up_event answer = {.token = q->token,
                              .qos = q->type == UP_PUBLISH ? q->qos : 2,
                              .result = b->up ? UP_OK : UP_BUSY};
    if (b->up && q->type != UP_PUBLISH)
        hold(b, q->topic, q->type == UP_SUBSCRIBE);
    if (b->up && q->type == UP_PUBLISH && m->n_seen < sizeof m->seen / sizeof m->seen[0]) {
        m->seen[m->n_seen].broker = broker;
        copy(m->seen[m->n_seen++].topic, q->topic);
    }
    answer.type = q->type == UP_PUBLISH     ? UP_PUBLISHED
                  : q->type == UP_SUBSCRIBE ? UP_SUBSCRIBED
                                            : UP_UNSUBSCRIBED;
    if (q->type == UP_PUBLISH && q->qos == 0)
        return;
    ck_assert_uint_lt(b->n_wire, MODEL_WIRE);
    b->wire[b->n_wire++] = answer;
}

static bool carry(struct model *m)
{
    bool moved = false;
    struct sn_request request;
    unsigned broker;
    while (router_peek_request(m->router, &broker, &request)) {
        shared_request(m->shared[broker], m->now_ms, &request);
        router_done_request(m->router);
        moved = true;
    }
    struct sn_event event;
    for (unsigned b = 0; b < MODEL_BROKERS; b++) {
        while (shared_peek_event(m->shared[b], &event)) {
            router_event(m->router, m->now_ms, b, &event);
            shared_done_event(m->shared[b]);
            moved = true;
            struct sn_event out;
            while (event.type == SN_EV_MESSAGE && router_peek_event(m->router, &out)) {
                engine_hears(m, &out);
                router_done_event(m->router);
            }
        }
        struct up_request up;
        while (shared_peek_upstream(m->shared[b], &up)) {
            broker_hears(m, b, &up);
            shared_done_upstream(m->shared[b]);
            moved = true;
        }
    }
    while (router_peek_event(m->router, &event)) {
        engine_hears(m, &event);
        router_done_event(m->router);
        moved = true;
    }
    return moved;
}

static void keep_records(struct model *m)
{
    struct sn_record r;
    while (router_peek_record(m->router, &r)) {
        unsigned i = 0;
        while (i < m->n_rows && (m->rows[i].client != r.client ||
                                 !bytes_equal(bytes_str(m->rows[i].filter), r.subscription.filter)))
            i++;
        if (r.type == SN_REC_SUBSCRIPTION_GONE) {
            ck_assert_uint_lt(i, m->n_rows);
            m->rows[i] = m->rows[--m->n_rows];
        } else {
            if (i == m->n_rows)
                m->n_rows++;
            ck_assert_uint_le(m->n_rows, sizeof m->rows / sizeof m->rows[0]);
            m->rows[i].client = r.client;
            m->rows[i].qos = r.subscription.qos;
            copy(m->rows[i].filter, r.subscription.filter);
        }
        router_done_record(m->router);
    }
}

static void carry_all(struct model *m)
{
    while (carry(m))
        continue;
    keep_records(m);
}

/* ---- acts ------------------------------------------------------------------------------------ */

static void ask(struct model *m, const struct sn_request *request)
{
    router_request(m->router, m->now_ms, request);
    carry_all(m);
}

void model_open(struct model *m, unsigned node, bool clean)
{
    struct model_node *n = &m->nodes[node];
    if (n->open || n->opening)
        return;
    n->clean = clean;
    n->opening = true;
    ask(m,
        &(struct sn_request){
            .type = SN_REQ_OPEN,
            .client = n->key,
            .token = n->next_token++,
            .open = {
                     .client_id = bytes_str(model_ids[node]), .clean = clean, .max_subscriptions = 99}
    });
}

/* Never discarded: a session that is, takes its rows along, which is the engine's affair. What it has
 * asked for may still be granted. */
void model_close(struct model *m, unsigned node)
{
    struct model_node *n = &m->nodes[node];
    if (!n->open)
        return;
    n->open = false;
    ask(m, &(struct sn_request){.type = SN_REQ_CLOSE, .client = n->key});
}

void model_subscribe(struct model *m, unsigned node, unsigned filter, uint8_t qos)
{
    struct model_node *n = &m->nodes[node];
    if (!n->open)
        return;
    for (unsigned i = 0; i < 256; i++) {
        if (n->asked[i] == (int)filter)
            return; /* one at a time */
    }
    const uint16_t token = n->next_token++;
    n->asked[token & 255] = (int)filter;
    ask(m, &(struct sn_request){
               .type = SN_REQ_SUBSCRIBE,
               .client = n->key,
               .token = token,
               .subscribe = {.filter = bytes_str(model_filters[filter]), .qos = qos}
    });
}

void model_unsubscribe(struct model *m, unsigned node, unsigned filter)
{
    struct model_node *n = &m->nodes[node];
    if (!n->open)
        return;
    for (unsigned i = 0; i < 256; i++) {
        if (n->asked[i] == (int)filter)
            n->asked[i] = -1;
    }
    n->subs[filter].live = false;
    ask(m, &(struct sn_request){.type = SN_REQ_UNSUBSCRIBE,
                                .client = n->key,
                                .token = n->next_token++,
                                .unsubscribe = {.filter = bytes_str(model_filters[filter])}});
}

void model_tell(struct model *m, unsigned broker, const char *topic)
{
    const struct model_broker *b = &m->brokers[broker];
    bool sent = false;
    for (unsigned i = 0; b->up && i < b->n_held; i++)
        sent |= model_matches(b->held[i], topic, true);
    m->n_heard = 0;
    if (!sent)
        return;
    shared_upstream(m->shared[broker], m->now_ms,
                    &(struct up_event){.type = UP_MESSAGE, .topic = bytes_str(topic), .qos = 2});
    carry_all(m);
}

void model_broker_answers(struct model *m, unsigned broker)
{
    struct model_broker *b = &m->brokers[broker];
    if (b->n_wire == 0)
        return;
    const struct up_event event = b->wire[0];
    memmove(&b->wire[0], &b->wire[1], --b->n_wire * sizeof b->wire[0]);
    shared_upstream(m->shared[broker], m->now_ms, &event);
    carry_all(m);
}

void model_publish(struct model *m, unsigned node, const char *topic, uint8_t qos)
{
    m->published = -1;
    ask(m, &(struct sn_request){
               .type = SN_REQ_PUBLISH,
               .client = m->nodes[node].key,
               .token = m->nodes[node].next_token++,
               .publish = {.topic = bytes_str(topic), .qos = qos}
    });
    for (unsigned b = 0; b < MODEL_BROKERS; b++) {
        while (m->brokers[b].n_wire > 0)
            model_broker_answers(m, b);
    }
}

void model_lose_broker(struct model *m, unsigned broker)
{
    struct model_broker *b = &m->brokers[broker];
    if (!b->up)
        return;
    b->up = false;
    for (unsigned i = 0; i < b->n_wire; i++)
        b->wire[i].result = UP_BUSY;
    while (b->n_wire > 0)
        model_broker_answers(m, broker);
    shared_upstream(m->shared[broker], m->now_ms, &(struct up_event){.type = UP_DISCONNECTED});
    carry_all(m);
}

void model_connect_broker(struct model *m, unsigned broker, bool session_present)
{
    struct model_broker *b = &m->brokers[broker];
    if (b->up)
        return;
    while (b->n_wire > 0)
        model_broker_answers(m, broker);
    b->up = true;
    if (!session_present)
        b->n_held = 0;
    shared_upstream(m->shared[broker], m->now_ms,
                    &(struct up_event){.type = UP_CONNECTED, .session_present = session_present});
    carry_all(m);
}

void model_pass_time(struct model *m, int64_t ms)
{
    m->now_ms += ms;
    router_advance(m->router, m->now_ms);
    ck_assert_int_gt(router_next_deadline(m->router), m->now_ms);
    for (unsigned b = 0; b < MODEL_BROKERS; b++)
        shared_advance(m->shared[b], m->now_ms);
    carry_all(m);
}

void model_rest(struct model *m)
{
    for (unsigned b = 0; b < MODEL_BROKERS; b++)
        model_connect_broker(m, b, false);
    for (unsigned i = 0; i < 6; i++) {
        for (unsigned b = 0; b < MODEL_BROKERS; b++) {
            while (m->brokers[b].n_wire > 0)
                model_broker_answers(m, b);
        }
        model_pass_time(m, 31000);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct router_config config_of(struct model *m)
{
    struct router_config config = router_defaults();
    m->lent_at = !m->lent_at;
    memcpy(m->lent[m->lent_at], m->routes, sizeof m->routes);
    m->lent_prefix[m->lent_at] = m->prefix;
    config.journal = true;
    config.prefix = "gw/";
    config.routes = m->lent[m->lent_at];
    config.n_routes = m->n_routes;
    config.client_prefixes = &m->lent_prefix[m->lent_at];
    config.n_client_prefixes = m->prefix.glob != NULL ? 1 : 0;
    config.n_brokers = MODEL_BROKERS;
    config.log_level = LOG_ERROR;
    return config;
}

static void make_machines(struct model *m)
{
    struct router_config config = config_of(m);
    config.hash_seed = (struct hash_seed){.k0 = rng_next(&m->rng), .k1 = rng_next(&m->rng)};
    m->router = router_new(&config, m->now_ms);
    ck_assert_ptr_nonnull(m->router);
    for (unsigned b = 0; b < MODEL_BROKERS; b++) {
        struct shared_config sc = shared_defaults();
        sc.hash_seed = config.hash_seed;
        sc.log_level = LOG_ERROR;
        m->shared[b] = shared_new(&sc, m->now_ms);
        ck_assert_ptr_nonnull(m->shared[b]);
    }
}

static void free_machines(struct model *m)
{
    router_free(m->router);
    for (unsigned b = 0; b < MODEL_BROKERS; b++)
        shared_free(m->shared[b]);
}

static void start(struct model *m)
{
    for (unsigned b = 0; b < MODEL_BROKERS; b++)
        model_connect_broker(m, b, true);
    for (unsigned node = 0; node < MODEL_NODES; node++)
        model_open(m, node, false);
}

void model_begin(struct model *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    rng_seed(&m->rng, seed);
    m->now_ms = 1000;
    model_make_topics();
    model_make_routes(m);
    model_make_names(m);
    for (unsigned i = 0; i < MODEL_NODES; i++) {
        m->nodes[i].key = UINT64_C(5) << SN_CLIENT_SLOT_BITS | i;
        forget_asks(&m->nodes[i]);
    }
    make_machines(m);
    start(m);
}

void model_end(struct model *m)
{
    free_machines(m);
}

void model_restart(struct model *m)
{
    free_machines(m);
    make_machines(m);
    for (unsigned i = 0; i < MODEL_NODES; i++) {
        m->nodes[i].open = false;
        m->nodes[i].opening = false;
        forget_asks(&m->nodes[i]);
        ck_assert_int_eq(
            router_restore_client(m->router, m->nodes[i].key, bytes_str(model_ids[i]), NULL), 0);
    }
    for (unsigned i = 0; i < m->n_rows; i++) {
        const struct sn_record row = {
            .type = SN_REC_SUBSCRIPTION,
            .client = m->rows[i].client,
            .subscription = {.filter = bytes_str(m->rows[i].filter), .qos = m->rows[i].qos}
        };
        ck_assert_int_eq(router_restore(m->router, &row), 0);
    }
    struct sn_record restored;
    unsigned broker;
    while (router_peek_restored(m->router, &broker, &restored)) {
        ck_assert_int_eq(shared_restore(m->shared[broker], &restored), 0);
        router_done_restored(m->router);
    }
    for (unsigned b = 0; b < MODEL_BROKERS; b++) {
        m->brokers[b].up = false;
        m->brokers[b].n_wire = 0;
    }
    start(m);
}

static bool is_recorded(const struct model *m, const struct model_node *n, unsigned f)
{
    for (unsigned i = 0; i < m->n_rows; i++) {
        if (m->rows[i].client == n->key && strcmp(m->rows[i].filter, model_filters[f]) == 0)
            return true;
    }
    return false;
}

/* What was lent before is spoiled, so that nobody can use it. A filter without a name is gone. */
void model_change(struct model *m)
{
    model_make_routes(m);
    model_make_names(m);
    const struct router_config config = config_of(m);
    ck_assert_int_eq(router_configure(m->router, m->now_ms, &config), 0);
    memset(m->lent[!m->lent_at], 0xA5, sizeof m->lent[0]);
    memset(&m->lent_prefix[!m->lent_at], 0xA5, sizeof m->lent_prefix[0]);
    carry_all(m);
    keep_records(m);
    for (unsigned i = 0; i < MODEL_NODES; i++) {
        struct model_node *n = &m->nodes[i];
        for (unsigned f = 0; f < MODEL_FILTERS; f++)
            n->subs[f].live = n->subs[f].live && is_recorded(m, n, f);
    }
}
