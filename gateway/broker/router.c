/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/router.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "broker/router_priv.h"
#include "broker/router_topics.h"
#include "mqttsn/topic.h"

enum {
    LOG_RECORDS = 64,
    RETRY_MS = 30000, /* who was refused as busy though the broker is there */
    RETRY_SOON_MS = 1000,
    RETRY_AT_ONCE = 32, /* a thousand who were refused do not come all together */
};

struct router_config router_defaults(void)
{
    return (struct router_config){
        .log_level = LOG_INFO,
        .gateway = "",
        .prefix = "",
        .rest = 1,
        .n_brokers = 1,
        .max_memory_bytes = UINT64_C(64) << 20,
    };
}

void *router_alloc(struct router *r, size_t n)
{
    if (r->gauges.memory_bytes + n > r->config.max_memory_bytes)
        return NULL;
    void *ptr = calloc(1, n);
    if (ptr != NULL)
        r->gauges.memory_bytes += n;
    return ptr;
}

void router_release(struct router *r, void *ptr, size_t n)
{
    if (ptr == NULL)
        return;
    r->gauges.memory_bytes -= n;
    free(ptr);
}

void router_log_unnamed(struct router *r, const struct client *c, const char *what,
                        struct bytes topic)
{
    if (!log_begin(&r->log, LOG_NOTICE, "route.no_name"))
        return;
    if (c != NULL)
        log_str(&r->log, "client", router_client_id(r, c));
    log_word(&r->log, "for", what);
    log_str(&r->log, "topic", topic);
    log_text(&r->log, "hint",
             "too long with its prefix or by its route, or {client} stands for an id that can't be "
             "one level of a topic");
    log_end(&r->log);
}

/* ---- what the configuration may say ---------------------------------------------------------- */

/* Constants that stand for all, and for none. */
static struct topics_constants example_constants(struct bytes prefix)
{
    return (struct topics_constants){.client = bytes_str("c"),
                                     .link = bytes_str("l"),
                                     .gateway = bytes_str("g"),
                                     .prefix = prefix,
                                     .has_prefix = true};
}

static const char *topic_fault(const struct route *r)
{
    uint8_t text[1024];
    struct writer w = wr_to(text, sizeof text);
    const struct topics_constants with = example_constants(bytes_of(NULL, 0));
    const struct bytes from = bytes_str(r->from);
    if (topics_template_fault(r->topic) != NULL)
        return "topic: in braces stand {client}, {link}, {gateway}, or {prefix} where a level "
               "begins";
    if (!topics_expand(r->topic, &with, &w))
        return "topic: longer than 1024 octets";
    const struct bytes to = bytes_of(text, w.len);
    if (!sn_topic_filter_ok(to))
        return "topic: not a topic filter: `+` must fill a level, `#` the last one";
    if (!sn_topic_has_wildcard(to) && sn_topic_has_wildcard(from)) {
        return r->down ? "topic: without the wildcards of `from` there is no way back: it needs "
                         "direction = up, or the same wildcards"
                       : NULL;
    }
    return topics_same_wildcards(from, to)
               ? NULL
               : "topic: needs the wildcards of `from` in the same order, or none";
}

const char *route_fault(const struct route *r)
{
    if (r->client != NULL && r->client[0] == '\0')
        return "client: an empty pattern fits nobody";
    if (r->from == NULL || !sn_topic_filter_ok(bytes_str(r->from)))
        return "from: not a topic filter: `+` must fill a level, `#` the last one";
    if (r->brokers == 0)
        return "to: names no broker";
    if (r->qos < -1 || r->qos > 2)
        return "qos: must be 0, 1 or 2";
    if (!r->up && !r->down)
        return "direction: must be up, down or both";
    return r->topic != NULL ? topic_fault(r) : NULL;
}

const char *route_prefix_fault(const char *prefix)
{
    static const char share[] = "$share/";
    uint8_t text[1024];
    struct writer w = wr_to(text, sizeof text - 1);
    struct topics_constants with = example_constants(bytes_of(NULL, 0));
    with.has_prefix = false;
    if (prefix[0] == '\0')
        return NULL;
    if (topics_template_fault(prefix) != NULL)
        return "prefix: in braces stand {client}, {link} or {gateway}";
    if (!topics_expand(prefix, &with, &w))
        return "prefix: {prefix} can't stand in itself, and 1000 octets are the most";
    if (text[w.len - 1] != '/')
        return "prefix: must end in `/`, since whole topics follow";
    text[w.len] = 'x';
    const bool shares = strncmp(prefix, share, sizeof share - 1) == 0;
    if (shares || !sn_topic_name_ok(bytes_of(text, w.len + 1)))
        return "prefix: not a topic: no wildcards, no control characters, not $share";
    return NULL;
}

/* ---- reachability ---------------------------------------------------------------------------- */

void router_retry_later(struct router *r, unsigned broker)
{
    struct deadline *retry = &r->brokers[broker].retry;
    if (!deadline_armed(retry))
        deadline_arm(&r->deadlines, retry, time_add(r->now_ms, RETRY_MS));
}

static void retry_due(struct router *r, unsigned broker)
{
    struct broker *b = &r->brokers[broker];
    if (!b->up && !b->accepting)
        return; /* when it is back */
    if (b->up)
        router_resubscribe_owed(r, broker);
    router_reopen_owed(r, broker, RETRY_AT_ONCE);
    if (!list_empty(&b->owed_clients))
        deadline_arm(&r->deadlines, &b->retry, time_add(r->now_ms, RETRY_SOON_MS));
}

static void on_upstream(struct router *r, unsigned broker, const struct sn_event *event)
{
    struct broker *b = &r->brokers[broker];
    const bool was_up = b->up;
    const bool was_reachable = b->up || b->accepting;
    b->up = event->upstream.up;
    b->accepting = event->upstream.accepting;
    bool up = false;
    bool accepting = false;
    for (unsigned i = 0; i < r->config.n_brokers; i++) {
        up |= r->brokers[i].up;
        accepting |= r->brokers[i].accepting;
    }
    if (up != r->up || accepting != r->accepting) {
        router_tell(r, &(struct sn_event){
                           .type = SN_EV_UPSTREAM, .upstream = {.up = up, .accepting = accepting}
        });
    }
    r->up = up;
    r->accepting = accepting;
    if (!was_reachable && (b->up || b->accepting))
        router_reopen_owed(r, broker, SIZE_MAX);
    if (!was_up && b->up)
        router_resubscribe_owed(r, broker);
}

/* ---- life ------------------------------------------------------------------------------------ */

bool strangers_init(struct router *r)
{
    r->strangers = calloc(r->config.n_links + 1, sizeof *r->strangers);
    for (size_t i = 0; r->strangers != NULL && i <= r->config.n_links; i++) {
        const uint16_t link = i < r->config.n_links ? (uint16_t)i : NO_LINK;
        r->strangers[i] = naming_get(r, bytes_of(NULL, 0), link);
        if (r->strangers[i] == NULL)
            return false;
    }
    return r->strangers != NULL;
}

void routes_heed(struct router *r)
{
    for (unsigned b = 0; b < ROUTER_BROKERS_MAX; b++)
        r->brokers[b].heeded_by_strangers = has_broker(r->config.rest, b);
    for (size_t i = 0; i < r->config.n_routes; i++) {
        const struct route *route = &r->config.routes[i];
        for (unsigned b = 0; b < r->config.n_brokers; b++) {
            if (route->client == NULL && route->required && has_broker(route->brokers, b))
                r->brokers[b].heeded_by_strangers = true;
        }
    }
}

bool routes_init(struct router *r)
{
    r->from = calloc(r->config.n_routes + 1, sizeof *r->from);
    for (size_t i = 0; r->from != NULL && i < r->config.n_routes; i++) {
        const struct route *route = &r->config.routes[i];
        assert(route_fault(route) == NULL);
        r->from[i] = bytes_str(route->from);
    }
    routes_heed(r);
    return r->from != NULL;
}

struct router *router_new(const struct router_config *config, int64_t now_ms)
{
    assert(config->n_brokers > 0 && config->n_brokers <= ROUTER_BROKERS_MAX);
    struct router *r = calloc(1, sizeof *r);
    if (r == NULL)
        return NULL;
    r->config = *config;
    r->now_ms = now_ms;
    hmap_init(&r->namings);
    hmap_init(&r->answers);
    hmap_init(&r->pends);
    deadlines_init(&r->deadlines);
    router_queues_init(r);
    for (unsigned b = 0; b < ROUTER_BROKERS_MAX; b++) {
        deadline_init(&r->brokers[b].retry, (uint8_t)b);
        list_init(&r->brokers[b].owed_clients);
        list_init(&r->brokers[b].owed_parts);
    }
    if (log_init(&r->log, LOG_RECORDS, config->log_level) < 0 || !routes_init(r) ||
        !strangers_init(r)) {
        router_free(r);
        return NULL;
    }
    return r;
}

void router_free(struct router *r)
{
    if (r == NULL)
        return;
    for (uint32_t slot = 0; slot < r->cap_slots; slot++) {
        if (r->slots[slot] != NULL)
            router_client_free(r, r->slots[slot]);
    }
    for (size_t i = 0; r->strangers != NULL && i <= r->config.n_links; i++)
        naming_unref(r, r->strangers[i]);
    for (unsigned b = 0; b < ROUTER_BROKERS_MAX; b++)
        deadline_disarm(&r->deadlines, &r->brokers[b].retry);
    assert(r->gauges.memory_bytes == 0);
    hmap_deinit(&r->namings);
    hmap_deinit(&r->answers);
    hmap_deinit(&r->pends);
    router_queues_deinit(r);
    router_down_deinit(r);
    free(r->strangers);
    free(r->from);
    free(r->names.buf);
    free(r->pieces);
    free(r->slots);
    log_deinit(&r->log);
    free(r);
}

int router_restore_client(struct router *r, uint64_t client, struct bytes id,
                          const struct peer *peer)
{
    if (client == SN_NO_CLIENT)
        return 1;
    struct client *c = router_client_get(r, client, id, peer);
    if (c == NULL)
        return -ENOMEM;
    c->max_wants = UINT32_MAX; /* until its OPEN tells */
    return 0;
}

int router_restore(struct router *r, const struct sn_record *record)
{
    const struct bytes filter = record->subscription.filter;
    const uint8_t qos = record->subscription.qos;
    struct client *c = router_client(r, record->client);
    const bool valid =
        record->type == SN_REC_SUBSCRIPTION && c != NULL && sn_topic_filter_ok(filter) && qos <= 2;
    return valid ? want_restore(r, c, filter, qos) : 1;
}

/* ---- entries --------------------------------------------------------------------------------- */

void router_advance(struct router *r, int64_t now_ms)
{
    assert(now_ms >= r->now_ms);
    r->now_ms = now_ms;
    deadlines_collect(&r->deadlines, now_ms);
    for (struct deadline *d = deadlines_take(&r->deadlines); d != NULL;
         d = deadlines_take(&r->deadlines))
        retry_due(r, d->kind);
}

int64_t router_next_deadline(const struct router *r)
{
    return deadlines_next(&r->deadlines);
}

void router_request(struct router *r, int64_t now_ms, const struct sn_request *request)
{
    router_advance(r, now_ms);
    switch (request->type) {
    case SN_REQ_OPEN:
        router_on_open(r, request);
        break;
    case SN_REQ_PUBLISH:
        router_on_publish(r, request);
        break;
    case SN_REQ_SUBSCRIBE:
        router_on_subscribe(r, request);
        break;
    case SN_REQ_UNSUBSCRIBE:
        router_on_unsubscribe(r, request);
        break;
    case SN_REQ_SET_WILL:
        router_on_set_will(r, request);
        break;
    case SN_REQ_DELIVERED: /* nobody was told to wait for it */
        break;
    case SN_REQ_CLOSE:
        router_on_close(r, request);
        break;
    }
}

void router_event(struct router *r, int64_t now_ms, unsigned broker, const struct sn_event *event)
{
    assert(broker < r->config.n_brokers);
    router_advance(r, now_ms);
    switch (event->type) {
    case SN_EV_UPSTREAM:
        on_upstream(r, broker, event);
        break;
    case SN_EV_OPENED:
        router_on_opened(r, broker, event);
        break;
    case SN_EV_PUBLISHED:
        router_on_published(r, broker, event);
        break;
    case SN_EV_SUBSCRIBED:
        router_on_subscribed(r, broker, event);
        break;
    case SN_EV_UNSUBSCRIBED: /* the node has its answer */
        break;
    case SN_EV_MESSAGE:
        router_on_message(r, broker, event);
        break;
    case SN_EV_CLOSED:
        router_on_closed(r, broker, event);
        break;
    }
}

struct log_ring *router_log(struct router *r)
{
    return &r->log;
}

struct router_gauges router_gauges(const struct router *r)
{
    return r->gauges;
}
