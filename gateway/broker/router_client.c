/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of clients. A client is open as soon as one broker takes it; brokers that refused it as
 * busy are asked again when they can be reached, and after a while, and then hear what they missed:
 * its will and its subscriptions.
 */
#include <stdlib.h>

#include "broker/router_priv.h"
#include "mqttsn/topic.h"

/* ---- records --------------------------------------------------------------------------------- */

struct client *router_client(const struct router *r, uint64_t key)
{
    const uint32_t slot = sn_client_slot(key);
    if (key == SN_NO_CLIENT || slot >= r->cap_slots || r->slots[slot] == NULL)
        return NULL;
    return r->slots[slot]->key == key ? r->slots[slot] : NULL;
}

static size_t client_size(const struct router *r, size_t id_len)
{
    return sizeof(struct client) + r->config.n_brokers * sizeof(struct at_broker) + id_len;
}

struct bytes router_client_id(const struct router *r, const struct client *c)
{
    return bytes_of(&c->at[r->config.n_brokers], c->id_len);
}

static bool reserve_slot(struct router *r, uint32_t slot)
{
    if (slot < r->cap_slots)
        return true;
    uint32_t cap = r->cap_slots > 0 ? r->cap_slots : 64;
    while (cap <= slot)
        cap *= 2;
    struct client **slots = realloc(r->slots, cap * sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t i = r->cap_slots; i < cap; i++)
        slots[i] = NULL;
    r->slots = slots;
    r->cap_slots = cap;
    return true;
}

static void peer_clear(struct router *r, struct client *c)
{
    router_release(r, c->peer, c->peer != NULL ? peer_size(c->peer) : 0);
    c->peer = NULL;
}

static bool peer_set(struct router *r, struct client *c, const struct peer *peer)
{
    if (c->peer != NULL && peer != NULL && peer_equal(c->peer, peer))
        return true;
    peer_clear(r, c);
    if (peer == NULL)
        return true;
    c->peer = router_alloc(r, peer_size(peer));
    if (c->peer == NULL)
        return false;
    memcpy(c->peer, peer, peer_size(peer));
    return true;
}

static void will_forget(struct router *r, struct client *c)
{
    r->gauges.memory_bytes -= body_bytes(c->will.topic).len;
    will_clear(&c->will);
}

static bool will_keep(struct router *r, struct client *c, const struct sn_will_view *view)
{
    will_forget(r, c);
    if (!will_set(&c->will, view))
        return false;
    r->gauges.memory_bytes += view->topic.len;
    return true;
}

void router_client_free(struct router *r, struct client *c)
{
    wants_clear(r, c, false, false);
    record_forget_client(r, c);
    while (!list_empty(&c->answers))
        router_answer_free(r, container_of(list_first(&c->answers), struct answer, of_client));
    for (unsigned b = 0; b < r->config.n_brokers; b++)
        list_unlink(&c->at[b].owed);
    will_forget(r, c);
    peer_clear(r, c);
    naming_unref(r, c->naming);
    r->slots[sn_client_slot(c->key)] = NULL;
    router_release(r, c, client_size(r, c->id_len));
}

static void ask_close(struct router *r, const struct client *c, unsigned broker,
                      enum sn_close_how how, bool discard)
{
    router_ask(
        r, broker,
        &(struct sn_request){
            .type = SN_REQ_CLOSE, .client = c->key, .close = {.how = how, .discard = discard}
    });
}

static struct client *client_new(struct router *r, uint64_t key, struct bytes id)
{
    const uint32_t slot = sn_client_slot(key);
    if (!reserve_slot(r, slot))
        return NULL;
    struct client *old = r->slots[slot];
    if (old != NULL) { /* its CLOSE was lost for want of memory, or nobody had one for it */
        for (unsigned b = 0; b < r->config.n_brokers; b++) {
            if (has_broker(old->naming->brokers, b))
                ask_close(r, old, b, SN_CLOSE_NORMAL, true);
        }
        router_client_free(r, old);
    }
    struct client *c = router_alloc(r, client_size(r, id.len));
    if (c == NULL)
        return NULL;
    c->key = key;
    c->id_len = (uint32_t)id.len;
    list_init(&c->wants);
    list_init(&c->parts);
    list_init(&c->answers);
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        c->at[b].broker = (uint8_t)b;
        list_init(&c->at[b].owed);
    }
    if (id.len > 0)
        memcpy(&c->at[r->config.n_brokers], id.data, id.len);
    r->slots[slot] = c;
    return c;
}

/* A client that comes by another link may have another prefix. */
static bool rename_client(struct router *r, struct client *c, const struct peer *peer)
{
    if (!peer_set(r, c, peer))
        return false;
    struct naming *fresh =
        naming_get(r, router_client_id(r, c), peer != NULL ? peer->link : NO_LINK);
    if (fresh == NULL)
        return false;
    struct naming *old = c->naming;
    c->naming = fresh;
    if (old != NULL && old != fresh)
        wants_rename(r, c);
    naming_unref(r, old);
    return true;
}

struct client *router_client_get(struct router *r, uint64_t key, struct bytes id,
                                 const struct peer *peer)
{
    struct client *c = router_client(r, key);
    const bool made = c == NULL;
    if (made)
        c = client_new(r, key, id);
    if (c == NULL || rename_client(r, c, peer))
        return c;
    if (made)
        router_client_free(r, c);
    return NULL;
}

/* ---- wills ----------------------------------------------------------------------------------- */

/* The will as that broker is to have it, valid until router.names is used anew. */
static struct sn_will_view will_at(struct router *r, const struct client *c, unsigned broker)
{
    if (c->will.topic == NULL)
        return (struct sn_will_view){0};
    struct target targets[ROUTER_BROKERS_MAX];
    const unsigned n = targets_of(r, c->naming, body_bytes(c->will.topic), targets);
    for (unsigned i = 0; i < n; i++) {
        const struct target *t = &targets[i];
        if (t->broker != broker || t->outcome != SN_OK)
            continue;
        return (struct sn_will_view){.topic = texts_at(&r->names, t->name),
                                     .body = c->will.body,
                                     .qos = target_qos(t, c->will.qos),
                                     .retain = target_retain(t, c->will.retain)};
    }
    return (struct sn_will_view){0};
}

/* Has it a name wherever it must go? */
static enum sn_outcome will_outcome(struct router *r, const struct client *c,
                                    const struct sn_will_view *will)
{
    if (will->topic.len == 0)
        return SN_OK;
    enum sn_outcome worst = SN_OK;
    struct target targets[ROUTER_BROKERS_MAX];
    const unsigned n = targets_of(r, c->naming, will->topic, targets);
    for (unsigned i = 0; i < n; i++) {
        if (targets[i].outcome != SN_OK && targets[i].required)
            worst = router_worse(worst, targets[i].outcome);
    }
    if (worst != SN_OK)
        router_log_unnamed(r, c, "will", will->topic);
    return worst;
}

static void log_will_dropped(struct router *r, const struct client *c, struct bytes topic,
                             const char *why)
{
    r->gauges.wills_dropped++;
    if (!log_begin(&r->log, LOG_ERROR, "will.dropped"))
        return;
    log_str(&r->log, "client", router_client_id(r, c));
    log_str(&r->log, "topic", topic);
    log_word(&r->log, "why", why);
    log_end(&r->log);
}

static void tell_will(struct router *r, const struct client *c)
{
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        if (c->at[b].state != AT_OPEN && c->at[b].state != AT_OPENING)
            continue; /* with its OPEN */
        router_ask(r, b,
                   &(struct sn_request){.type = SN_REQ_SET_WILL,
                                        .client = c->key,
                                        .set_will = {.will = will_at(r, c, b)}});
    }
}

void router_on_set_will(struct router *r, const struct sn_request *request)
{
    struct client *c = router_client(r, request->client);
    if (c == NULL)
        return;
    const struct sn_will_view *will = &request->set_will.will;
    if (will_outcome(r, c, will) != SN_OK) {
        log_will_dropped(r, c, will->topic, "no_name_at_the_broker");
        will_forget(r, c);
    } else if (!will_keep(r, c, will)) {
        log_will_dropped(r, c, will->topic, "out_of_memory");
    }
    tell_will(r, c);
}

/* ---- OPEN ------------------------------------------------------------------------------------ */

/* One filter of the node may be several there, and other routes may make more of it. */
static uint32_t max_parts(const struct client *c)
{
    const uint64_t most = (uint64_t)c->max_wants * (ROUTER_ROUTES_MAX + 1);
    return most < UINT32_MAX ? (uint32_t)most : UINT32_MAX;
}

static void owe_open(struct router *r, struct client *c, unsigned broker)
{
    c->at[broker].state = AT_OWED;
    list_unlink(&c->at[broker].owed);
    list_push_back(&r->brokers[broker].owed_clients, &c->at[broker].owed);
    router_retry_later(r, broker);
}

/* False: out of memory. */
static bool send_open(struct router *r, struct client *c, unsigned broker)
{
    struct at_broker *at = &c->at[broker];
    list_unlink(&at->owed);
    const struct sn_request open = {
        .type = SN_REQ_OPEN,
        .client = c->key,
        .token = c->open_token,
        .open = {.client_id = router_client_id(r, c),
                 .clean = at->owes_clean,
                 .keep_alive_s = c->keep_alive_s,
                 .max_subscriptions = max_parts(c),
                 .will = will_at(r, c, broker),
                 .peer = c->peer},
    };
    if (!router_ask(r, broker, &open))
        return false;
    at->state = AT_OPENING;
    return true;
}

static void tell_opened(struct router *r, uint64_t client, uint16_t token, enum sn_outcome outcome,
                        bool session_present)
{
    router_tell(r, &(struct sn_event){.type = SN_EV_OPENED,
                                      .client = client,
                                      .token = token,
                                      .outcome = outcome,
                                      .opened = {.session_present = session_present}});
}

/* The first broker to take it, or the last one to refuse. */
static void answer_open(struct router *r, struct client *c, enum sn_outcome outcome,
                        bool session_present)
{
    c->opening = false;
    if (outcome != SN_OK) {
        c->present = false;
        for (unsigned b = 0; b < r->config.n_brokers; b++)
            list_unlink(&c->at[b].owed);
    } else if (c->clean) {
        wants_clear(r, c, true, false);
    }
    tell_opened(r, c->key, c->open_token, outcome, session_present && !c->clean);
}

static enum sn_outcome outcome_of_refusal(const struct at_broker *at)
{
    return at->state == AT_REFUSED ? SN_REFUSED_NEVER : SN_REFUSED_BUSY;
}

/* When all have refused, the first broker's answer is the client's. */
void router_settle_refusals(struct router *r, struct client *c)
{
    for (unsigned b = 0; c->opening && b < r->config.n_brokers; b++) {
        if (c->at[b].state == AT_OPENING || c->at[b].state == AT_OPEN)
            return;
    }
    if (c->opening)
        answer_open(r, c, outcome_of_refusal(&c->at[0]), false);
}

static void log_not_taken(struct router *r, const struct client *c, unsigned broker,
                          enum sn_outcome outcome)
{
    if (!log_begin(&r->log, outcome == SN_REFUSED_NEVER ? LOG_WARN : LOG_INFO,
                   "route.session_refused"))
        return;
    log_str(&r->log, "client", router_client_id(r, c));
    if (r->config.broker_names != NULL)
        log_text(&r->log, "broker", r->config.broker_names[broker]);
    log_word(&r->log, "why", outcome == SN_REFUSED_NEVER ? "never" : "busy");
    log_end(&r->log);
}

static void not_taken(struct router *r, struct client *c, unsigned broker, enum sn_outcome outcome)
{
    log_not_taken(r, c, broker, outcome);
    if (outcome == SN_REFUSED_NEVER)
        c->at[broker].state = AT_REFUSED;
    else
        owe_open(r, c, broker);
    parts_refuse(r, c, broker, outcome);
    router_settle_refusals(r, c);
}

void router_on_open(struct router *r, const struct sn_request *request)
{
    struct client *c =
        router_client_get(r, request->client, request->open.client_id, request->open.peer);
    enum sn_outcome outcome = SN_REFUSED_BUSY;
    if (c != NULL)
        outcome = will_outcome(r, c, &request->open.will);
    if (c != NULL && outcome == SN_OK && !will_keep(r, c, &request->open.will))
        outcome = SN_REFUSED_BUSY;
    if (outcome != SN_OK) {
        tell_opened(r, request->client, request->token, outcome, false);
        return;
    }
    c->open_token = request->token;
    c->keep_alive_s = request->open.keep_alive_s;
    c->max_wants = request->open.max_subscriptions;
    c->clean = request->open.clean;
    c->present = true;
    c->opening = true;
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        struct at_broker *at = &c->at[b];
        if (!has_broker(c->naming->brokers, b))
            continue;
        at->owes_clean |= request->open.clean;
        if (!send_open(r, c, b))
            owe_open(r, c, b);
    }
    router_settle_refusals(r, c);
}

/* Also where it was refused, since a stored session may be there. */
static void close_at(struct router *r, struct client *c, unsigned broker, enum sn_close_how how,
                     bool discard)
{
    ask_close(r, c, broker, how, discard);
    c->at[broker].state = AT_CLOSED;
    list_unlink(&c->at[broker].owed);
    parts_refuse(r, c, broker, SN_REFUSED_BUSY);
}

void router_on_opened(struct router *r, unsigned broker, const struct sn_event *event)
{
    struct client *c = router_client(r, event->client);
    if (c == NULL || c->at[broker].state != AT_OPENING || event->token != c->open_token)
        return; /* closed meanwhile */
    if (event->outcome != SN_OK) {
        not_taken(r, c, broker, event->outcome);
        return;
    }
    c->at[broker].state = AT_OPEN;
    c->at[broker].owes_clean = false;
    if (c->opening)
        answer_open(r, c, SN_OK, event->opened.session_present);
    parts_subscribe(r, c, broker, event->opened.session_present);
    if (!c->present) /* a stored session, which only had to hear of other filters */
        close_at(r, c, broker, SN_CLOSE_NORMAL, false);
}

void router_open_at(struct router *r, struct client *c, unsigned broker, bool clean)
{
    c->at[broker].owes_clean |= clean;
    if (!send_open(r, c, broker))
        owe_open(r, c, broker);
}

void router_reopen_owed(struct router *r, unsigned broker, size_t n)
{
    struct list again;
    list_init(&again);
    for (struct list *link;
         n-- > 0 && (link = list_pop_front(&r->brokers[broker].owed_clients)) != NULL;)
        list_push_back(&again, link);
    for (struct list *link; (link = list_pop_front(&again)) != NULL;) {
        struct at_broker *at = container_of(link, struct at_broker, owed);
        struct client *c = container_of(at - at->broker, struct client, at);
        if (!send_open(r, c, broker))
            owe_open(r, c, broker);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

/* A broker that never took the client has no will of it. */
static void check_will(struct router *r, struct client *c, unsigned broker)
{
    const enum at_state state = (enum at_state)c->at[broker].state;
    if (state != AT_OWED && state != AT_REFUSED)
        return;
    if (will_at(r, c, broker).topic.len > 0)
        log_will_dropped(r, c, body_bytes(c->will.topic), "no_session_at_the_broker");
}

static void client_gone(struct router *r, struct client *c, bool discard)
{
    will_forget(r, c); /* the engine arms a stored one again with the next OPEN */
    c->present = false;
    c->opening = false;
    if (discard)
        router_client_free(r, c);
}

void router_on_close(struct router *r, const struct sn_request *request)
{
    struct client *c = router_client(r, request->client);
    if (c == NULL)
        return;
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        if (!has_broker(c->naming->brokers, b))
            continue;
        if (request->close.how == SN_CLOSE_LOST)
            check_will(r, c, b);
        close_at(r, c, b, request->close.how, request->close.discard);
    }
    client_gone(r, c, request->close.discard);
}

/* One broker has ended it, because the node speaks elsewhere: it is ended here. The engine asks no
 * CLOSE for it. */
void router_on_closed(struct router *r, unsigned broker, const struct sn_event *event)
{
    struct client *c = router_client(r, event->client);
    if (c == NULL || c->at[broker].state != AT_OPEN || c->opening)
        return;
    c->at[broker].state = AT_CLOSED;
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        if (b != broker && has_broker(c->naming->brokers, b))
            close_at(r, c, b, SN_CLOSE_NORMAL, c->clean);
    }
    parts_refuse(r, c, broker, SN_REFUSED_BUSY);
    router_tell(r, event);
    client_gone(r, c, c->clean);
}

/* ---- other routes ------------------------------------------------------------------------------ */

void router_leave(struct router *r, struct client *c, unsigned broker)
{
    close_at(r, c, broker, SN_CLOSE_NORMAL, true);
    c->at[broker].owes_clean = false;
}

void router_rename_will(struct router *r, struct client *c)
{
    if (c->will.topic == NULL)
        return;
    struct sn_will_view will = {.topic = body_bytes(c->will.topic)};
    if (will_outcome(r, c, &will) != SN_OK) {
        log_will_dropped(r, c, will.topic, "no_name_at_the_broker");
        will_forget(r, c);
    }
    tell_will(r, c);
}

void router_drop_client(struct router *r, struct client *c, uint32_t brokers)
{
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        const bool is_left = !has_broker(c->naming->brokers, b);
        if (has_broker(brokers, b))
            close_at(r, c, b, SN_CLOSE_NORMAL, c->clean || is_left);
    }
    if (c->opening)
        tell_opened(r, c->key, c->open_token, SN_REFUSED_BUSY, false);
    else if (c->present)
        router_tell(r, &(struct sn_event){.type = SN_EV_CLOSED, .client = c->key});
    client_gone(r, c, c->clean);
}
