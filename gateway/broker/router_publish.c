/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets a message of a node, and the one answer from several.
 *
 * Nothing is sent anywhere before it is known that every required broker can be asked: a refusal then
 * makes no copies. Tokens with the brokers are the router's own where an answer is waited for, since
 * a route may raise the QoS of what the engine counts as QoS 0. Of QoS 0 only refusals come back, to
 * which the engine's token belongs; what nobody is to hear of goes with token 0.
 */
#include <assert.h>
#include <stdlib.h>

#include "broker/router_priv.h"
#include "broker/router_topics.h"

enum { ANSWERS_MAX = 4096 }; /* per client: QoS 0 that is raised is not bounded by the engine */

/* ---- who ------------------------------------------------------------------------------------- */

/* Adds those of the mask that have not been told. */
static unsigned add_targets(struct router *r, struct target *targets, unsigned n, uint32_t mask,
                            const struct target *like)
{
    for (unsigned b = 0; b < r->config.n_brokers; b++) {
        if (!has_broker(mask, b))
            continue;
        targets[n] = *like;
        targets[n++].broker = b;
    }
    return n;
}

unsigned targets_of(struct router *r, const struct naming *n, struct bytes topic,
                    struct target targets[ROUTER_BROKERS_MAX])
{
    unsigned count = 0;
    uint32_t told = 0;
    r->names.len = 0;
    for (uint32_t i = 0; i < n->n_ways; i++) {
        const struct way *way = &n->ways[i];
        const uint32_t fresh = way->route->brokers & ~told;
        if (!way->route->up || fresh == 0 || !topics_match(way->from, topic))
            continue;
        struct target like = {.route = way->route, .required = way->route->required};
        like.outcome = naming_at_broker(r, n, way, topic, &like.name);
        count = add_targets(r, targets, count, fresh, &like);
        told |= fresh;
    }
    if (told != 0)
        return count;
    struct target first = {.required = true};
    first.outcome = naming_at_broker(r, n, NULL, topic, &first.name);
    return add_targets(r, targets, 0, r->config.rest, &first);
}

uint8_t target_qos(const struct target *t, uint8_t qos)
{
    return t->route != NULL && t->route->qos >= 0 ? (uint8_t)t->route->qos : qos;
}

bool target_retain(const struct target *t, bool retain)
{
    if (t->route == NULL || t->route->retain == ROUTE_RETAIN_SAME)
        return retain;
    return t->route->retain == ROUTE_RETAIN_YES;
}

enum sn_outcome router_worse(enum sn_outcome a, enum sn_outcome b)
{
    static const uint8_t rank[] = {
        [SN_OK] = 0,
        [SN_IN_DOUBT] = 0,
        [SN_REFUSED_BUSY] = 1,
        [SN_REFUSED_NEVER] = 2,
    };

    return rank[a] >= rank[b] ? a : b;
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct answer *answer_find(const struct router *r, uint64_t client, uint16_t token)
{
    const uint64_t hash = token_hash(r, client, token);
    struct hmap_node *n = hmap_first(&r->answers, hash);
    return n != NULL ? container_of(n, struct answer, by_token) : NULL;
}

static struct answer *answer_new(struct router *r, struct client *c,
                                 const struct sn_request *request)
{
    if (c->n_answers >= ANSWERS_MAX)
        return NULL;
    struct answer *a = router_alloc(r, sizeof *a);
    if (a == NULL)
        return NULL;
    while (answer_find(r, c->key, c->next_publish_token) != NULL || c->next_publish_token == 0)
        c->next_publish_token++;
    a->client = c;
    a->token = c->next_publish_token++;
    a->engine_token = request->token;
    a->qos = request->publish.qos;
    a->outcome = SN_OK;
    list_init(&a->of_client);
    list_push_back(&c->answers, &a->of_client);
    c->n_answers++;
    hmap_insert(&r->answers, &a->by_token, token_hash(r, c->key, a->token));
    return a;
}

void router_answer_free(struct router *r, struct answer *a)
{
    hmap_remove(&r->answers, &a->by_token);
    list_unlink(&a->of_client);
    a->client->n_answers--;
    router_release(r, a, sizeof *a);
}

static void tell_published(struct router *r, uint64_t client, uint16_t token,
                           enum sn_outcome outcome, uint8_t qos)
{
    if (qos == 0 && outcome == SN_OK)
        return;
    router_tell(r, &(struct sn_event){.type = SN_EV_PUBLISHED,
                                      .client = client,
                                      .token = token,
                                      .outcome = outcome,
                                      .published = {.qos = qos}});
}

/* The node hears when no required broker's answer is missing; the others' are only awaited. */
static void answer_settle(struct router *r, struct answer *a)
{
    if (!a->answered && a->required == 0) {
        a->answered = true;
        tell_published(r, a->client->key, a->engine_token, (enum sn_outcome)a->outcome, a->qos);
    }
    if (a->waiting == 0)
        router_answer_free(r, a);
}

static void answer_hear(struct router *r, struct answer *a, unsigned broker,
                        enum sn_outcome outcome)
{
    const uint32_t bit = UINT32_C(1) << broker;
    if ((a->required & bit) != 0)
        a->outcome = (uint8_t)router_worse((enum sn_outcome)a->outcome, outcome);
    else if (outcome != SN_OK)
        r->gauges.unheeded++;
    a->waiting &= ~bit;
    a->required &= ~bit;
}

/* ---- PUBLISH --------------------------------------------------------------------------------- */

/* Can the broker be asked at all? */
static enum sn_outcome state_outcome(const struct client *c, unsigned broker)
{
    if (c == NULL)
        return SN_OK;
    switch ((enum at_state)c->at[broker].state) {
    case AT_OPENING:
    case AT_OPEN:
        return SN_OK;
    case AT_REFUSED:
        return SN_REFUSED_NEVER;
    case AT_CLOSED:
    case AT_OWED:
        break;
    }
    return SN_REFUSED_BUSY;
}

/* The worst of what stands against it. `*tracked`: an answer will come. */
static enum sn_outcome objections(struct router *r, const struct client *c,
                                  const struct sn_request *request, struct target *targets,
                                  unsigned n, bool *tracked)
{
    enum sn_outcome worst = SN_OK;
    *tracked = false;
    for (unsigned i = 0; i < n; i++) {
        struct target *t = &targets[i];
        if (t->outcome != SN_OK)
            router_log_unnamed(r, c, "publish", request->publish.topic);
        t->outcome = router_worse(t->outcome, state_outcome(c, t->broker));
        if (t->required)
            worst = router_worse(worst, t->outcome);
        *tracked |= c != NULL && t->outcome == SN_OK && target_qos(t, request->publish.qos) > 0;
    }
    return worst;
}

/* What is raised or lowered by a route is so for that broker only. */
static void publish_to(struct router *r, struct answer *a, const struct target *t,
                       const struct sn_request *request)
{
    const uint32_t bit = UINT32_C(1) << t->broker;
    const bool told_of_qos_0 = t->required && request->publish.qos == 0;
    struct sn_request copy = *request;
    copy.publish.topic = texts_at(&r->names, t->name);
    copy.publish.retain = target_retain(t, request->publish.retain);
    copy.publish.qos = a != NULL ? target_qos(t, request->publish.qos) : 0;
    if (copy.publish.qos > 0) {
        copy.token = a->token;
        a->waiting |= bit;
        a->required |= t->required ? bit : 0;
    } else if (!told_of_qos_0) {
        copy.token = 0;
    }
    if (t->outcome == SN_OK && router_ask(r, t->broker, &copy))
        r->gauges.published++;
    else if (copy.publish.qos > 0)
        answer_hear(r, a, t->broker, SN_REFUSED_BUSY);
    else if (told_of_qos_0)
        tell_published(r, request->client, request->token, SN_REFUSED_BUSY, 0);
    else
        r->gauges.unheeded++;
}

void router_on_publish(struct router *r, const struct sn_request *request)
{
    struct client *c = router_client(r, request->client);
    if (c == NULL && request->client != SN_NO_CLIENT) {
        tell_published(r, request->client, request->token, SN_REFUSED_BUSY, request->publish.qos);
        return;
    }
    const struct naming *naming =
        c != NULL ? c->naming : naming_of_stranger(r, request->publish.peer);
    struct target targets[ROUTER_BROKERS_MAX];
    const unsigned n = targets_of(r, naming, request->publish.topic, targets);
    bool tracked;
    enum sn_outcome worst = objections(r, c, request, targets, n, &tracked);
    struct answer *a = worst == SN_OK && tracked ? answer_new(r, c, request) : NULL;
    if (tracked && a == NULL)
        worst = router_worse(worst, SN_REFUSED_BUSY);
    if (worst != SN_OK) {
        tell_published(r, request->client, request->token, worst, request->publish.qos);
        return;
    }
    for (unsigned i = 0; i < n; i++)
        publish_to(r, a, &targets[i], request);
    if (a != NULL)
        answer_settle(r, a);
    else
        tell_published(r, request->client, request->token, SN_OK, request->publish.qos);
}

/* Of QoS 0: a refusal, which belongs to the engine if it has its token, or to a talker's message. */
static void on_refused_qos_0(struct router *r, unsigned broker, const struct sn_event *event)
{
    const bool of_stranger = event->client == SN_NO_CLIENT;
    const bool heeded = of_stranger ? r->brokers[broker].heeded_by_strangers : event->token != 0;
    if (heeded)
        router_tell(r, event);
    else
        r->gauges.unheeded++;
}

void router_on_published(struct router *r, unsigned broker, const struct sn_event *event)
{
    if (event->published.qos == 0) {
        if (event->outcome != SN_OK)
            on_refused_qos_0(r, broker, event);
        return;
    }
    struct answer *a = answer_find(r, event->client, event->token);
    if (a == NULL || !has_broker(a->waiting, broker))
        return;
    if (event->outcome != SN_IN_DOUBT) {
        answer_hear(r, a, broker, event->outcome);
        answer_settle(r, a);
    } else if (has_broker(a->required, broker)) {
        tell_published(r, event->client, a->engine_token, SN_IN_DOUBT, a->qos);
    }
}
