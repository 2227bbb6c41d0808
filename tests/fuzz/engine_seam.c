/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_seam.h"

#include "fuzz.h"
#include "mqttsn/topic.h"

static const char *const request_names[] = {
    [SN_REQ_OPEN] = "OPEN",           [SN_REQ_PUBLISH] = "PUBLISH",
    [SN_REQ_SUBSCRIBE] = "SUBSCRIBE", [SN_REQ_UNSUBSCRIBE] = "UNSUBSCRIBE",
    [SN_REQ_SET_WILL] = "SET_WILL",   [SN_REQ_DELIVERED] = "DELIVERED",
    [SN_REQ_CLOSE] = "CLOSE",
};

/* What the seam calls a valid topic name. An id that stands for a name from the broker passes with
 * characters that no node could register. */
static bool is_topic_name(struct bytes name)
{
    return name.len > 0 && bytes_is_utf8(name) && !sn_topic_has_wildcard(name);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static uint64_t generation(uint64_t key)
{
    return key >> SN_CLIENT_SLOT_BITS;
}

/* The session of a request. A new key in a slot means that the one before is over for good, and
 * that the broker side has heard of it if it ever knew that session. */
static struct seam_session *session_for(struct seam *s, uint64_t key)
{
    fuzz_require(sn_client_slot(key) < SEAM_SLOTS);
    struct seam_session *n = &s->sessions[sn_client_slot(key)];
    if (n->key == key)
        return n;
    fuzz_require(generation(key) > generation(n->key));
    fuzz_require(n->key == 0 || n->dead || n->ended || !n->accepted);
    fuzz_require(!n->open || n->ended);
    *n = (struct seam_session){.key = key};
    return n;
}

static struct seam_ask *find(struct seam *s, enum sn_request_type type, uint64_t client,
                             uint16_t token)
{
    for (size_t i = 0; i < s->n_asks; i++) {
        struct seam_ask *a = &s->asks[i];
        if (a->type == type && a->client == client && a->token == token)
            return a;
    }
    return NULL;
}

static void remove_ask(struct seam *s, struct seam_ask *a)
{
    const size_t behind = s->n_asks - (size_t)(a - s->asks) - 1;
    memmove(a, a + 1, behind * sizeof *a);
    s->n_asks--;
}

static void add_ask(struct seam *s, const struct sn_request *r, uint8_t qos)
{
    fuzz_require(find(s, r->type, r->client, r->token) == NULL);
    fuzz_require(s->n_asks < SEAM_ASKS);
    s->asks[s->n_asks++] =
        (struct seam_ask){.type = r->type, .client = r->client, .token = r->token, .qos = qos};
}

/* ---- deliveries ------------------------------------------------------------------------------ */

void seam_delivery(struct seam *s, uint64_t client, uint32_t id)
{
    fuzz_require(s->n_deliveries < SEAM_DELIVERIES);
    s->deliveries[s->n_deliveries++] = (struct seam_delivery){.client = client, .id = id};
}

static void delivered(struct seam *s, const struct sn_request *r)
{
    size_t i = 0;
    while (i < s->n_deliveries && (s->deliveries[i].id != r->delivered.delivery_id ||
                                   s->deliveries[i].client != r->client))
        i++;
    fuzz_require(i < s->n_deliveries); /* reported once, and under the session it was meant for */
    s->deliveries[i] = s->deliveries[--s->n_deliveries];
}

static void closed(struct seam *s, struct seam_session *n, const struct sn_request *r)
{
    n->open = false;
    n->must_close = false;
    n->dead = r->close.discard;
    for (size_t i = 0; n->dead && i < s->n_deliveries; i++)
        fuzz_require(s->deliveries[i].client != n->key);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void judge_will(const struct sn_will_view *will)
{
    if (will->topic.len > 0)
        fuzz_require(sn_topic_name_ok(will->topic) && will->qos <= SN_QOS_2);
}

static void trace_request(const struct seam *s, const struct sn_request *r)
{
    const char *note = r->type == SN_REQ_CLOSE && r->close.discard ? " discard" : "";
    if (s->trace) {
        fprintf(stderr, "             ask %s client=%llx token=%u%s\n", request_names[r->type],
                (unsigned long long)r->client, r->token, note);
    }
}

/* QoS -1 of strangers, or of a session that need not be open. */
static bool belongs_to_nobody(const struct sn_request *r)
{
    return r->type == SN_REQ_PUBLISH && r->client == SN_NO_CLIENT;
}

static void judge_publish(struct seam *s, const struct sn_request *r)
{
    fuzz_require(is_topic_name(r->publish.topic) && r->publish.qos <= SN_QOS_2);
    fuzz_require(r->publish.qos == SN_QOS_0 || r->client != SN_NO_CLIENT);
    if (r->publish.qos != SN_QOS_0)
        add_ask(s, r, r->publish.qos);
}

void seam_request(struct seam *s, const struct sn_request *r)
{
    trace_request(s, r);
    if (belongs_to_nobody(r)) {
        judge_publish(s, r);
        return;
    }
    fuzz_require(r->client != SN_NO_CLIENT);
    struct seam_session *n = session_for(s, r->client);
    fuzz_require(!n->dead);
    fuzz_require(n->open || n->ended || r->type == SN_REQ_OPEN || r->type == SN_REQ_CLOSE ||
                 r->type == SN_REQ_DELIVERED);
    switch (r->type) {
    case SN_REQ_OPEN:
        fuzz_require(r->open.client_id.len > 0 && bytes_is_utf8(r->open.client_id));
        fuzz_require(r->open.peer != NULL);
        judge_will(&r->open.will);
        n->open = true;
        n->ended = false;
        n->must_close = false;
        n->open_token = r->token;
        add_ask(s, r, 0);
        break;
    case SN_REQ_PUBLISH:
        judge_publish(s, r);
        break;
    case SN_REQ_SUBSCRIBE:
        fuzz_require(sn_topic_filter_ok(r->subscribe.filter) && r->subscribe.qos <= SN_QOS_2);
        add_ask(s, r, r->subscribe.qos);
        break;
    case SN_REQ_UNSUBSCRIBE:
        fuzz_require(sn_topic_filter_ok(r->unsubscribe.filter));
        add_ask(s, r, 0);
        break;
    case SN_REQ_SET_WILL:
        judge_will(&r->set_will.will);
        break;
    case SN_REQ_DELIVERED:
        delivered(s, r);
        break;
    case SN_REQ_CLOSE:
        closed(s, n, r);
        break;
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

/* An answer: something must be open that it answers, and is not any more. */
static void answered(struct seam *s, enum sn_request_type type, const struct sn_event *event)
{
    struct seam_ask *a = find(s, type, event->client, event->token);
    fuzz_require(a != NULL);
    if (type == SN_REQ_PUBLISH)
        fuzz_require(event->published.qos == a->qos);
    if (event->outcome != SN_IN_DOUBT || type != SN_REQ_PUBLISH) {
        remove_ask(s, a);
        return;
    }
    fuzz_require(a->qos == SN_QOS_2 && !a->in_doubt);
    a->in_doubt = true;
}

void seam_event(struct seam *s, const struct sn_event *event)
{
    if (s->trace)
        fprintf(stderr, "             event %d client=%llx token=%u outcome=%d\n", (int)event->type,
                (unsigned long long)event->client, event->token, (int)event->outcome);
    struct seam_session *n = &s->sessions[sn_client_slot(event->client) % SEAM_SLOTS];
    switch (event->type) {
    case SN_EV_OPENED:
        answered(s, SN_REQ_OPEN, event);
        if (n->key == event->client && event->outcome == SN_OK)
            n->accepted = true;
        if (n->key == event->client && event->token == n->open_token && n->open)
            n->must_close = event->outcome != SN_OK;
        break;
    case SN_EV_PUBLISHED:
        if (event->published.qos != SN_QOS_0)
            answered(s, SN_REQ_PUBLISH, event);
        break;
    case SN_EV_SUBSCRIBED:
        answered(s, SN_REQ_SUBSCRIBE, event);
        fuzz_require(event->subscribed.granted <= SN_QOS_2);
        break;
    case SN_EV_UNSUBSCRIBED:
        answered(s, SN_REQ_UNSUBSCRIBE, event);
        break;
    case SN_EV_CLOSED:
        if (n->key == event->client)
            n->ended = true;
        break;
    case SN_EV_UPSTREAM:
    case SN_EV_MESSAGE:
        break;
    }
}

void seam_all_answered(const struct seam *s)
{
    for (size_t i = 0; i < s->n_asks; i++) {
        const struct seam_session *n = &s->sessions[sn_client_slot(s->asks[i].client)];
        const bool alive = n->key == s->asks[i].client && !n->dead;
        fuzz_require(s->asks[i].type == SN_REQ_SUBSCRIBE && !alive);
    }
}

/* ---- the MQTT connection --------------------------------------------------------------------- */

void broker_request(struct broker *b, const struct up_request *r)
{
    fuzz_require(r->qos <= SN_QOS_2);
    if (b->trace)
        fprintf(stderr, "             up %d token=%llx %.*s\n", (int)r->type,
                (unsigned long long)r->token, (int)r->topic.len, (const char *)r->topic.data);
    struct broker_ask a = {
        .type = r->type, .token = r->token, .qos = r->qos, .connection = b->up ? b->connection : 0};
    if (r->type == UP_PUBLISH) {
        fuzz_require(is_topic_name(r->topic));
    } else {
        fuzz_require(sn_topic_filter_ok(r->topic));
        a.filter = body_new(r->topic);
        fuzz_require(a.filter != NULL);
    }
    fuzz_require(b->n_asks < BROKER_ASKS);
    b->asks[b->n_asks++] = a;
}

bool broker_connection(struct broker *b, bool up, bool session_present, struct up_event *event)
{
    if (up && b->up)
        return false;
    *event = (struct up_event){.type = up ? UP_CONNECTED : UP_DISCONNECTED, .why = "fuzzed"};
    b->up = up;
    if (b->trace)
        fprintf(stderr, "             up %s %d\n", up ? "connected" : "lost", session_present);
    if (!up)
        return true;
    b->connection++;
    event->session_present = session_present && b->connection > 1;
    while (!event->session_present && b->n_filters > 0)
        body_unref(b->filters[--b->n_filters]);
    return true;
}

static size_t filter_index(const struct broker *b, const struct body *filter)
{
    size_t i = 0;
    while (i < b->n_filters && !bytes_equal(body_bytes(b->filters[i]), body_bytes(filter)))
        i++;
    return i;
}

static void carry_out(struct broker *b, const struct broker_ask *a)
{
    const size_t i = filter_index(b, a->filter);
    if (a->type == UP_SUBSCRIBE && i == b->n_filters) {
        fuzz_require(b->n_filters < BROKER_FILTERS);
        b->filters[b->n_filters++] = body_ref(a->filter);
    } else if (a->type == UP_UNSUBSCRIBE && i < b->n_filters) {
        body_unref(b->filters[i]);
        b->filters[i] = b->filters[--b->n_filters];
    }
}

/* The broker takes requests in order: of those for one filter the oldest is answered first. */
static size_t oldest_of_filter(const struct broker *b, size_t which)
{
    for (size_t i = 0; b->asks[which].filter != NULL && i < which; i++) {
        if (b->asks[i].filter != NULL &&
            bytes_equal(body_bytes(b->asks[i].filter), body_bytes(b->asks[which].filter)))
            return i;
    }
    return which;
}

size_t broker_lost(const struct broker *b)
{
    size_t i = 0;
    while (i < b->n_asks && (b->asks[i].in_doubt || b->up))
        i++;
    return i;
}

bool broker_answer(struct broker *b, size_t which, enum up_result result, struct up_event *event)
{
    static const enum up_event_type type_of[] = {[UP_PUBLISH] = UP_PUBLISHED,
                                                 [UP_SUBSCRIBE] = UP_SUBSCRIBED,
                                                 [UP_UNSUBSCRIBE] = UP_UNSUBSCRIBED};

    if (b->n_asks == 0)
        return false;
    which = oldest_of_filter(b, which % b->n_asks);
    struct broker_ask *a = &b->asks[which];
    const bool lost = !b->up || a->connection != b->connection;
    const bool doubtful = a->type == UP_PUBLISH && a->qos == 2 && a->connection != 0 && lost;
    if (result == UP_IN_DOUBT && (!doubtful || a->in_doubt))
        result = UP_BUSY;
    if (lost && !doubtful)
        result = UP_BUSY;
    if (a->type == UP_UNSUBSCRIBE && result == UP_REFUSED)
        result = UP_OK; /* brokers don't */
    if (a->in_doubt && result == UP_BUSY)
        result = UP_REFUSED; /* a doubt ends in yes or no */
    *event = (struct up_event){
        .type = type_of[a->type], .token = a->token, .result = result, .qos = a->qos};
    if (b->trace)
        fprintf(stderr, "             up answer token=%llx result=%d\n",
                (unsigned long long)a->token, (int)result);
    if (result == UP_IN_DOUBT) {
        a->in_doubt = true;
        return true;
    }
    /* What was lost may have been carried out: here it was, if the token is even. */
    const bool reached = a->connection != 0 && a->connection + 1 >= b->connection;
    if (a->filter != NULL && (result == UP_OK || (!b->up && reached && a->token % 2 == 0)))
        carry_out(b, a);
    b->refused = b->refused || (a->type == UP_SUBSCRIBE && result == UP_REFUSED);
    const bool silent = a->type == UP_PUBLISH && a->qos == 0 && result == UP_OK;
    body_unref(a->filter);
    memmove(a, a + 1, (b->n_asks - which - 1) * sizeof *a);
    b->n_asks--;
    return !silent;
}

void broker_agrees(const struct broker *b, const struct shared *s)
{
    size_t known = 0;
    list_foreach (link, &s->filters) {
        const struct filter *f = container_of(link, struct filter, all);
        fuzz_require(filter_wanted(f)); /* the others have been forgotten by now */
        bool found = false;
        for (size_t i = 0; i < b->n_filters; i++)
            found = found || bytes_equal(body_bytes(b->filters[i]), filter_text(f));
        fuzz_require(found ? f->guard == NULL : f->guard != NULL || b->refused);
        known += found ? 1 : 0;
    }
    fuzz_require(known == b->n_filters);
}

void broker_deinit(struct broker *b)
{
    while (b->n_asks > 0)
        body_unref(b->asks[--b->n_asks].filter);
    while (b->n_filters > 0)
        body_unref(b->filters[--b->n_filters]);
}
