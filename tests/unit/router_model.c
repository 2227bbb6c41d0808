/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/router_model.h"

#include <stdio.h>
#include <string.h>

#include <check.h>

#include "broker/router_topics.h"
#include "mqttsn/topic.h"

char model_topics[MODEL_TOPICS][MODEL_TEXT];

const char *const model_filters[MODEL_FILTERS] = {
    "#", "+",   "+/#",   "+/+", "a/#",  "a/+",  "b/#",  "+/a",  "+/b/#", "a/+/a", "+/+/+", "a/b/#",
    "a", "a/b", "a/a/b", "b/b", "n0/#", "+/n0", "n1/+", "$S/#", "$S/a",  "b/+/a", "a/+/+", "n0/a",
};

static const char *const ids[MODEL_NODES] = {"n0", "n1", "n/2"};

/* From, and what it may become: the first ones have no way back. */
static const struct {
    const char *from;
    const char *topics[5];
} shapes[] = {
    {"a/#",   {"all", NULL, "#", "b/#", "{client}/#"}       },
    {"+/b/#", {"a/b", NULL, "x/+/#", "{prefix}+/#", "+/#"}  },
    {"a/+",   {"a/one", NULL, "+", "{client}/+", "a/x/+"}   },
    {"+",     {"{client}", NULL, "a/+", "+/{client}", "+/a"}},
    {"#",     {"all", NULL, "{client}/#", "a/#", "n0/#"}    },
    {"a/b",   {"b", NULL, "x", "{client}", "a/a"}           },
    {"b/#",   {"all", NULL, "a/#", "b/x/#", "{prefix}a/#"}  },
    {"+/+/a", {"+", NULL, "+/+", "n0/+/+", "a/+/b/+"}       },
};

unsigned model_pick(struct model *m, unsigned n)
{
    return (unsigned)rng_below(&m->rng, n);
}

bool model_matches(const char *filter, const char *name, bool first)
{
    if (first && name[0] == '$' && (filter[0] == '+' || filter[0] == '#'))
        return false;
    if (strcmp(filter, "#") == 0)
        return true;
    const size_t f = strcspn(filter, "/");
    const size_t n = strcspn(name, "/");
    if (filter[0] != '+' && (f != n || strncmp(filter, name, f) != 0))
        return false;
    if (filter[f] == '\0' || name[n] == '\0')
        return filter[f] == name[n] || (name[n] == '\0' && strcmp(filter + f, "/#") == 0);
    return model_matches(filter + f + 1, name + n + 1, false);
}

/* ---- names ----------------------------------------------------------------------------------- */

static void make_topics(void)
{
    static const char *const words[] = {"a", "b", "n0"};
    unsigned n = 0;
    for (unsigned i = 0; i < 3; i++) {
        snprintf(model_topics[n++], MODEL_TEXT, "%s", words[i]);
        for (unsigned k = 0; k < 3; k++) {
            snprintf(model_topics[n++], MODEL_TEXT, "%s/%s", words[i], words[k]);
            for (unsigned l = 0; l < 3; l++)
                snprintf(model_topics[n++], MODEL_TEXT, "%s/%s/%s", words[i], words[k], words[l]);
        }
    }
    static const char *const odd[] = {"$S/a", "$S", "a/", "/a", "a/$S/b", "b/$S"};
    for (unsigned i = 0; i < 6; i++)
        snprintf(model_topics[n++], MODEL_TEXT, "%s", odd[i]);
    ck_assert_uint_eq(n, MODEL_TOPICS);
}

static bool prefix_of(const struct model *m, unsigned node, char out[MODEL_TEXT])
{
    const bool own = m->prefix.glob != NULL && sn_glob_match(m->prefix.glob, bytes_str(ids[node]));
    const bool by_id = own && strstr(m->prefix.prefix, "{client}") != NULL;
    snprintf(out, MODEL_TEXT, "gw/%s", !own ? "" : by_id ? ids[node] : m->prefix.prefix);
    if (by_id)
        strncat(out, "/", MODEL_TEXT - strlen(out) - 1);
    return !by_id || strchr(ids[node], '/') == NULL;
}

/* What the route calls the topic; false: it has no name. */
static bool name_by(const struct model *m, const struct route *route, unsigned node,
                    const char *topic, char out[MODEL_TEXT])
{
    char prefix[MODEL_TEXT];
    const bool has_prefix = prefix_of(m, node, prefix);
    if (route == NULL || route->topic == NULL) {
        snprintf(out, MODEL_TEXT, "%s%s", prefix, topic);
        return has_prefix;
    }
    char to[MODEL_TEXT] = "";
    for (const char *at = route->topic; *at != '\0';) {
        const bool client = strncmp(at, "{client}", 8) == 0;
        const bool mount = strncmp(at, "{prefix}", 8) == 0;
        if ((client && strchr(ids[node], '/') != NULL) || (mount && !has_prefix))
            return false;
        const size_t len = strlen(to);
        snprintf(to + len, MODEL_TEXT - len, "%.*s", client || mount ? MODEL_TEXT : 1,
                 client  ? ids[node]
                 : mount ? prefix
                         : at);
        at += client || mount ? 8 : 1;
    }
    struct writer w = wr_to(out, MODEL_TEXT - 1);
    if (!topics_rewrite(bytes_str(route->from), bytes_str(to), bytes_str(topic), &w))
        return false;
    out[w.len] = '\0';
    return true;
}

static bool has(const struct route *route, unsigned node, const char *topic)
{
    return (route->client == NULL || sn_glob_match(route->client, bytes_str(ids[node]))) &&
           model_matches(route->from, topic, true);
}

/* One direction. */
static void name_one(const struct model *m, unsigned node, unsigned b, const char *topic, bool down,
                     struct model_name *out)
{
    char *name = down ? out->down : out->up;
    const struct route *first = NULL;
    bool any = false;
    for (unsigned i = 0; i < m->n_routes; i++) {
        const struct route *route = &m->routes[i];
        if (!(down ? route->down : route->up) || !has(route, node, topic))
            continue;
        any = true;
        if (first == NULL && (route->brokers >> b & 1) != 0)
            first = route;
    }
    name[0] = '\0';
    if (first == NULL && (any || b != 0))
        return;
    if (down)
        out->most_qos = first != NULL ? first->qos : -1;
    if (name_by(m, first, node, topic, name))
        return;
    name[0] = '\0';
    if (!down && (first == NULL || first->required))
        out->impossible = true;
}

void model_name(const struct model *m, unsigned node, unsigned b, const char *topic,
                struct model_name *out)
{
    *out = (struct model_name){.most_qos = -1};
    name_one(m, node, b, topic, false, out);
    name_one(m, node, b, topic, true, out);
}

static void make_names(struct model *m)
{
    for (unsigned node = 0; node < MODEL_NODES; node++) {
        for (unsigned b = 0; b < MODEL_BROKERS; b++) {
            for (int t = 0; t < MODEL_TOPICS; t++)
                model_name(m, node, b, model_topics[t], &m->names[node][b][t]);
        }
    }
}

static void make_routes(struct model *m)
{
    m->n_routes = model_pick(m, MODEL_ROUTES + 1);
    for (unsigned i = 0; i < m->n_routes; i++) {
        const unsigned shape = model_pick(m, sizeof shapes / sizeof shapes[0]);
        const unsigned topic = model_pick(m, 5);
        const unsigned direction = model_pick(m, 3);
        m->routes[i] = (struct route){
            .name = "r",
            .client = model_pick(m, 4) == 0 ? "n*0" : NULL,
            .from = shapes[shape].from,
            .brokers = 1 + model_pick(m, 3),
            .topic = shapes[shape].topics[topic],
            .qos = model_pick(m, 3) == 0 ? (int)model_pick(m, 2) + 1 : -1,
            .up = direction != 1,
            .down = direction != 0,
            .required = model_pick(m, 3) != 0,
        };
        if (topic == 0 && route_fault(&m->routes[i]) != NULL) {
            m->routes[i].up = true;
            m->routes[i].down = false;
        }
        if (route_fault(&m->routes[i]) != NULL)
            m->routes[i].topic = NULL;
        ck_assert_ptr_null(route_fault(&m->routes[i]));
    }
    static const char *const prefixes[] = {"", "p/", "{client}/"};
    m->prefix = (struct route_prefix){.glob = model_pick(m, 2) == 0 ? "n?" : NULL,
                                      .prefix = prefixes[model_pick(m, 3)]};
}

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
            .open = {.client_id = bytes_str(ids[node]), .clean = clean, .max_subscriptions = 99}
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

static void make_machines(struct model *m)
{
    struct router_config config = router_defaults();
    config.hash_seed = (struct hash_seed){.k0 = rng_next(&m->rng), .k1 = rng_next(&m->rng)};
    config.journal = true;
    config.prefix = "gw/";
    config.routes = m->routes;
    config.n_routes = m->n_routes;
    config.client_prefixes = &m->prefix;
    config.n_client_prefixes = m->prefix.glob != NULL ? 1 : 0;
    config.n_brokers = MODEL_BROKERS;
    config.log_level = LOG_ERROR;
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
    make_topics();
    make_routes(m);
    make_names(m);
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
        ck_assert_int_eq(router_restore_client(m->router, m->nodes[i].key, bytes_str(ids[i]), NULL),
                         0);
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
