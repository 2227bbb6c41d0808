/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop's side of the MQTT connection: the bounded queue towards the worker, the inbox back from
 * it, start and stop. Batches cross the threads as whole lists: one lock and at most one signal per
 * flush, one lock per drain. docs/adr/0004.
 */
#include "mqtt.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#include "blocks.h"
#include "mqtt_priv.h"
#include "mqttsn/topic.h"

/* ---- items ----------------------------------------------------------------------------------- */

struct item *item_new(struct mqtt *m, size_t len)
{
    struct item *it = block_new(sizeof *it + len + 1);
    if (it == NULL) {
        atomic_fetch_add(&m->no_memory, 1);
        return NULL;
    }
    *it = (struct item){.m = m, .state = ITEM_QUEUED};
    list_init(&it->link);
    it->text[len] = '\0';
    return it;
}

void item_free(struct item *it)
{
    if (it == NULL)
        return;
    body_unref(it->event.body);
    block_free(it);
}

void items_free(struct list *items)
{
    for (struct list *link; (link = list_pop_front(items)) != NULL;)
        item_free(container_of(link, struct item, link));
}

void inbox_push(struct mqtt *m, struct item *it)
{
    list_push_back(&m->inbox, &it->link);
    host_tell(m);
}

/* ---- start and stop -------------------------------------------------------------------------- */

struct mqtt_options mqtt_defaults(void)
{
    return (struct mqtt_options){
        .keepalive_s = 60,
        .window = 200,
        .window_qos2 = 16,
        .max_queued = 65536,
        .max_queued_bytes = (size_t)64 << 20,
        .max_inbox = 65536,
        .max_inbox_bytes = (size_t)32 << 20,
        .backoff_min_ms = 1000,
        .backoff_max_ms = 60000,
        .reconnect = true,
        .session_expiry_s = 86400,
        .primary_check_ms = 300000,
    };
}

/* Zero is no sensible value of any of them. */
static void fill_in(struct mqtt_options *o)
{
    enum { WINDOW_MAX = 1000, KEEPALIVE_MIN_S = 5, KEEPALIVE_MAX_S = 65535 };

    const struct mqtt_options d = mqtt_defaults();
    if (o->keepalive_s == 0)
        o->keepalive_s = d.keepalive_s;
    if (o->keepalive_s < KEEPALIVE_MIN_S)
        o->keepalive_s = KEEPALIVE_MIN_S;
    if (o->keepalive_s > KEEPALIVE_MAX_S)
        o->keepalive_s = KEEPALIVE_MAX_S;
    if (o->window == 0)
        o->window = d.window;
    if (o->window > WINDOW_MAX)
        o->window = WINDOW_MAX;
    if (o->window_qos2 == 0)
        o->window_qos2 = d.window_qos2;
    if (o->session_expiry_s == 0)
        o->session_expiry_s = d.session_expiry_s;
    if (o->max_queued == 0)
        o->max_queued = d.max_queued;
    if (o->max_queued_bytes == 0)
        o->max_queued_bytes = d.max_queued_bytes;
    if (o->max_inbox == 0)
        o->max_inbox = d.max_inbox;
    if (o->max_inbox_bytes == 0)
        o->max_inbox_bytes = d.max_inbox_bytes;
}

static bool copy_text(const char **text)
{
    if (*text == NULL)
        return true;
    *text = strdup(*text);
    return *text != NULL;
}

enum { TEXTS = 17 };

/* Every string among the options. */
static void texts_of(struct mqtt_options *o, const char **texts[TEXTS])
{
    const char **const all[] = {
        &o->address,          &o->client_id,    &o->username,     &o->password,
        &o->tls.ca_file,      &o->tls.ca_path,  &o->tls.crl_file, &o->tls.cert_file,
        &o->tls.key_file,     &o->tls.ciphers,  &o->tls.alpn,     &o->tls.key_password_file,
        &o->tls.psk_identity, &o->tls.psk_file, &o->proxy,        &o->proxy_login,
        &o->gateway,
    };
    _Static_assert(sizeof all / sizeof all[0] == TEXTS, "all of them are counted");
    memcpy(texts, all, sizeof all);
}

bool mqtt_options_copy(struct mqtt_options *out, const struct mqtt_options *from)
{
    *out = *from;
    fill_in(out);
    const char **texts[TEXTS];
    texts_of(out, texts);
    bool ok = out->address != NULL && out->client_id != NULL;
    for (size_t i = 0; i < TEXTS; i++) {
        if (!ok)
            *texts[i] = NULL;
        else
            ok = copy_text(texts[i]);
    }
    body_ref(out->will.body);
    return ok;
}

static bool copy_options(struct mqtt *m, const struct mqtt_options *options)
{
    const struct bytes will = options->will.topic;
    const bool ok = mqtt_options_copy(&m->options, options);
    m->limits = limits_of(m);
    m->user = options->user;
    m->max_queued = m->options.max_queued;
    m->max_queued_bytes = m->options.max_queued_bytes;
    m->will_topic = will.len > 0 ? strndup((const char *)will.data, will.len) : NULL;
    return ok && (m->will_topic != NULL || will.len == 0) &&
           dial_init(&m->dial, m->options.address, m->options.proxy) == 0;
}

static void init_lists(struct mqtt *m)
{
    struct list *const lists[] = {&m->refused, &m->taken, &m->in_flight,   &m->orphans,
                                  &m->inbox,   &m->early, &m->all,         &m->dirty,
                                  &m->work,    &m->turn,  &m->worker.place};
    for (enum lane lane = 0; lane < LANES; lane++) {
        list_init(&m->staged[lane]);
        list_init(&m->queue[lane]);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
}

static struct mqtt *new_connection(const struct mqtt_options *options)
{
    struct mqtt *m = calloc(1, sizeof *m);
    if (m == NULL)
        return NULL;
    m->socket = -1;
    init_lists(m);
    pthread_mutex_init(&m->lock, NULL);
    deadline_init(&m->worker.due, 0);
    m->worker.slot_since_ms = TIME_NEVER;
    m->worker.tail = -1;
    const bool copied = copy_options(m, options);
    keep_init(m, options->store); /* by the number of the sink */
    if (copied)
        return m;
    mqtt_free(m);
    return NULL;
}

struct mqtt *mqtt_start(const struct mqtt_options *options, struct mqtt_host *host,
                        void (*wake)(void *arg), void *arg)
{
    static const struct mqtt_host_options unpaced;

    struct mqtt *m = new_connection(options);
    if (m == NULL)
        return NULL;
    m->is_alone = host == NULL;
    if (m->is_alone)
        host = mqtt_host_new(&unpaced, wake, arg);
    if (host == NULL) {
        mqtt_free(m);
        return NULL;
    }
    host_add(host, m);
    return m;
}

static void free_text(const char *text)
{
    free((void *)(uintptr_t)text); /* ours, constant only to the rest of the file */
}

void mqtt_options_free(struct mqtt_options *o)
{
    body_unref(o->will.body);
    const char **texts[TEXTS];
    texts_of(o, texts);
    for (size_t i = 0; i < TEXTS; i++)
        free_text(*texts[i]);
}

void mqtt_free(struct mqtt *m)
{
    item_free(m->borrowed);
    for (enum lane lane = 0; lane < LANES; lane++) {
        items_free(&m->staged[lane]);
        items_free(&m->queue[lane]);
    }
    items_free(&m->refused);
    items_free(&m->taken);
    items_free(&m->in_flight);
    items_free(&m->orphans);
    items_free(&m->inbox);
    items_free(&m->early);
    keep_deinit(m);
    mqtt_next_free(m->next);
    free_text(m->will_topic);
    mqtt_options_free(&m->options);
    dial_deinit(&m->dial);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

void mqtt_begin_stop(struct mqtt *m, int64_t drain_ms, bool abort)
{
    struct mqtt_host *const h = m->host;

    list_unlink(&m->all);
    list_unlink(&m->dirty);
    if (h->served == m)
        h->served = NULL;
    pthread_mutex_lock(&m->lock);
    atomic_store(&m->online, false);
    for (enum lane lane = 0; lane < LANES; lane++)
        list_splice(&m->queue[lane], &m->staged[lane]);
    m->stopping = true;
    m->aborting = abort;
    m->stop_at_ms = time_add(mqtt_now_ms(), drain_ms);
    m->deaf = true;
    host_untell(m);
    pthread_mutex_unlock(&m->lock);
}

void mqtt_connect(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    m->wanted = true;
    pthread_mutex_unlock(&m->lock);
    host_kick(m);
}

void *mqtt_user(const struct mqtt *m)
{
    return m->user;
}

/* ---- requests -------------------------------------------------------------------------------- */

static enum up_event_type answer_type(enum up_request_type request)
{
    switch (request) {
    case UP_PUBLISH:
        return UP_PUBLISHED;
    case UP_SUBSCRIBE:
        return UP_SUBSCRIBED;
    case UP_UNSUBSCRIBE:
        return UP_UNSUBSCRIBED;
    }
    return UP_PUBLISHED;
}

/* The session has checked this too, but one wrong topic costs all nodes their connection. */
static bool acceptable(const struct up_request *r)
{
    if (r->qos > 2)
        return false;
    if (r->type == UP_PUBLISH)
        return sn_topic_name_ok(r->topic) && body_bytes(r->body).len <= UINT32_C(268000000);
    return sn_topic_filter_ok(r->topic);
}

/* Lost since the session last heard of it, it may be there again, but what was lost with it must not
 * be overtaken. */
static bool is_known_connection(const struct mqtt *m)
{
    return atomic_load_explicit(&m->online, memory_order_acquire) &&
           atomic_load_explicit(&m->connects, memory_order_relaxed) == m->heard_connects;
}

/* What comes out of the spool has its own window. */
static bool has_room(const struct mqtt *m, const struct up_request *r, size_t cost)
{
    const size_t bytes = atomic_load_explicit(&m->queued_bytes, memory_order_relaxed);
    return r->spooled != 0 ||
           (atomic_load_explicit(&m->queued, memory_order_relaxed) < m->max_queued &&
            bytes <= m->max_queued_bytes && cost <= m->max_queued_bytes - bytes);
}

/* UP_OK: there is room, and it is charged. */
static enum up_result admit(struct mqtt *m, const struct up_request *r, size_t cost)
{
    if (!acceptable(r))
        return UP_REFUSED;
    if (!is_known_connection(m) || !has_room(m, r, cost))
        return UP_BUSY;
    if (r->type == UP_PUBLISH && m->unheard > 0) /* nor what was refused */
        return UP_BUSY;
    atomic_fetch_add_explicit(&m->queued, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&m->queued_bytes, cost, memory_order_relaxed);
    return UP_OK;
}

static void refuse(struct mqtt *m, struct item *it, enum up_result result)
{
    it->event.result = result;
    it->refused = it->request == UP_PUBLISH && result == UP_BUSY;
    m->unheard += it->refused;
    list_push_back(&m->refused, &it->link);
}

static void mark_dirty(struct mqtt *m)
{
    if (!list_linked(&m->dirty))
        list_push_back(&m->host->dirty, &m->dirty);
}

void mqtt_submit(struct mqtt *m, const struct up_request *request)
{
    const size_t cost = request->topic.len + body_bytes(request->body).len;
    struct item *it = item_new(m, request->topic.len);
    if (it == NULL)
        return;
    const enum up_result result = admit(m, request, cost);
    it->event = (struct up_event){.type = answer_type(request->type),
                                  .token = request->token,
                                  .spooled = request->spooled,
                                  .result = result,
                                  .qos = request->qos,
                                  .retain = request->retain,
                                  .topic = bytes_of(it->text, request->topic.len),
                                  .body = body_ref(request->body),
                                  .client = request->client,
                                  .will = request->will};
    it->request = request->type;
    it->wire_qos = request->qos;
    it->subscription = request->subscription;
    it->age_s = request->age_s;
    it->cost = cost;
    if (request->topic.len > 0)
        memcpy(it->text, request->topic.data, request->topic.len);
    mark_dirty(m);
    if (result != UP_OK) {
        refuse(m, it, result);
        return;
    }
    list_push_back(&m->staged[item_lane(it)], &it->link);
}

/* Lock held. The connection was lost in this turn. */
static void refuse_staged(struct mqtt *m)
{
    for (enum lane lane = 0; lane < LANES; lane++) {
        for (struct list *link; (link = list_pop_front(&m->staged[lane])) != NULL;) {
            struct item *const it = container_of(link, struct item, link);
            atomic_fetch_sub_explicit(&m->queued, 1, memory_order_relaxed);
            atomic_fetch_sub_explicit(&m->queued_bytes, it->cost, memory_order_relaxed);
            refuse(m, it, UP_BUSY);
        }
    }
}

bool mqtt_hand_in(struct mqtt *m)
{
    bool fits = false;

    pthread_mutex_lock(&m->lock);
    if (!is_known_connection(m))
        refuse_staged(m);
    for (enum lane lane = 0; lane < LANES; lane++) {
        /* What waited before waits for room, and is woken by it. */
        fits = fits || (!list_empty(&m->staged[lane]) && list_empty(&m->queue[lane]));
        list_splice(&m->queue[lane], &m->staged[lane]);
    }
    const bool waits = m->starved || !mqtt_is_queued(m);
    for (struct list *link; (link = list_pop_front(&m->refused)) != NULL;)
        inbox_push(m, container_of(link, struct item, link));
    pthread_mutex_unlock(&m->lock);
    return fits || !waits;
}

void mqtt_flush(struct mqtt *m)
{
    if (!list_linked(&m->dirty))
        return;
    list_unlink(&m->dirty);
    if (mqtt_hand_in(m))
        host_kick(m);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void take_inbox(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    list_splice(&m->taken, &m->inbox);
    m->inbox_messages = 0;
    m->inbox_bytes = 0;
    if (m->host->served != m)
        host_untell(m);
    pthread_mutex_unlock(&m->lock);
}

bool mqtt_next_event(struct mqtt *m, struct up_event *out)
{
    item_free(m->borrowed);
    m->borrowed = NULL;
    if (list_empty(&m->taken))
        take_inbox(m);
    struct list *link = list_pop_front(&m->taken);
    if (link == NULL)
        return false;
    m->borrowed = container_of(link, struct item, link);
    *out = m->borrowed->event;
    m->unheard -= m->borrowed->refused;
    if (out->type == UP_CONNECTED)
        m->heard_connects++;
    return true;
}

/* ---- figures --------------------------------------------------------------------------------- */

int64_t mqtt_heartbeat_ms(const struct mqtt *m)
{
    return mqtt_host_heartbeat_ms(m->host);
}

struct mqtt_gauges mqtt_gauges(const struct mqtt *m)
{
    return (struct mqtt_gauges){
        .connected = atomic_load(&m->online),
        .queued = atomic_load(&m->queued),
        .in_flight = atomic_load(&m->in_flight_count),
        .connects = atomic_load(&m->connects),
        .inbox_drops = atomic_load(&m->inbox_drops),
        .inbox_cuts = atomic_load(&m->inbox_cuts),
        .no_memory = atomic_load(&m->no_memory),
    };
}

const char *mqtt_library_version(void)
{
    for (const MQTTAsync_nameValue *info = MQTTAsync_getVersionInfo(); info->name != NULL; info++) {
        if (strcmp(info->name, "Version") == 0)
            return info->value;
    }
    return "unknown";
}
