/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/shared.h"

#include <assert.h>
#include <stdlib.h>

#include "broker/order.h"
#include "broker/shared_priv.h"
#include "mqttsn/topic.h"

enum { LOG_RECORDS = 64, MISSED_MS = 1000 };

struct shared_config shared_defaults(void)
{
    return (struct shared_config){
        .log_level = LOG_INFO,
        .max_memory_bytes = UINT64_C(64) << 20,
        .replay_quiet_ms = 5000,
        .replay_max_ms = 30000,
        .visit_ms = 250,
    };
}

void *shared_alloc(struct shared *s, size_t n)
{
    if (s->memory_bytes + n > s->config.max_memory_bytes)
        return NULL;
    void *ptr = slab_new(&s->slabs, n);
    if (ptr != NULL)
        s->memory_bytes += n;
    return ptr;
}

void shared_release(struct shared *s, void *ptr, size_t n)
{
    if (ptr == NULL)
        return;
    s->memory_bytes -= n;
    slab_free(&s->slabs, ptr, n);
}

/* ---- what the connection had no room for ----------------------------------------------------- */

/* While nothing is taken nothing needs a timer: everything is told when the broker is back. */
void try_again_soon(struct shared *s)
{
    if (is_reachable(s) && !deadline_armed(&s->missed))
        deadline_arm(&s->deadlines, &s->missed, time_add(s->now_ms, MISSED_MS));
}

static void missed_due(struct shared *s)
{
    if (!is_reachable(s))
        return;
    settle_wills_of_qos_0(s);
    send_waiting_wills(s);
    if (s->up)
        resubscribe_missed(s);
}

static void visit_due(struct shared *s, struct visit *visit)
{
    struct filter *f = visit->filter;
    cover_leave(s, f);
    cover_tell(s, f);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static struct session *session_of(const struct shared *s, uint64_t key)
{
    const uint32_t slot = sn_client_slot(key);
    const uint32_t block = slot >> SESSIONS_BITS;
    if (key == SN_NO_CLIENT || block >= s->n_blocks || s->blocks[block] == NULL)
        return NULL;
    struct session *n = &s->blocks[block][slot & (SESSIONS_PER_BLOCK - 1)];
    return n->key == key ? n : NULL;
}

static bool reserve_block(struct shared *s, uint32_t block)
{
    if (block >= s->n_blocks) {
        uint32_t n = s->n_blocks > 0 ? s->n_blocks : 8;
        while (n <= block)
            n *= 2;
        struct session **blocks = realloc(s->blocks, n * sizeof *blocks);
        if (blocks == NULL)
            return false;
        for (uint32_t i = s->n_blocks; i < n; i++)
            blocks[i] = NULL;
        s->blocks = blocks;
        s->n_blocks = n;
    }
    if (s->blocks[block] == NULL)
        s->blocks[block] = calloc(SESSIONS_PER_BLOCK, sizeof *s->blocks[block]);
    return s->blocks[block] != NULL;
}

bool session_set_will(struct shared *s, struct session *n, const struct sn_will_view *will)
{
    if (n->will == NULL && will->topic.len > 0)
        n->will = shared_alloc(s, sizeof *n->will);
    if (n->will == NULL)
        return will->topic.len == 0;
    const bool kept = will_set(n->will, will);
    if (n->will->topic == NULL) {
        shared_release(s, n->will, sizeof *n->will);
        n->will = NULL;
    }
    return kept;
}

static void session_free(struct shared *s, struct session *n)
{
    unsubscribe_all(s, n, false);
    session_set_will(s, n, &(struct sn_will_view){0});
    n->key = SN_NO_CLIENT;
    s->n_sessions--;
    s->memory_bytes -= sizeof *n;
}

static struct session *session_new(struct shared *s, uint64_t key)
{
    const uint32_t slot = sn_client_slot(key);
    if (!reserve_block(s, slot >> SESSIONS_BITS))
        return NULL;
    struct session *n = &s->blocks[slot >> SESSIONS_BITS][slot & (SESSIONS_PER_BLOCK - 1)];
    if (n->key != SN_NO_CLIENT) /* its CLOSE was lost for want of memory */
        session_free(s, n);
    if (s->memory_bytes + sizeof *n > s->config.max_memory_bytes)
        return NULL;
    s->memory_bytes += sizeof *n;
    *n = (struct session){.key = key};
    s->n_sessions++;
    return n;
}

struct session *session_get(struct shared *s, uint64_t key)
{
    struct session *n = session_of(s, key);
    return n != NULL ? n : session_new(s, key);
}

static void on_open(struct shared *s, const struct sn_request *request)
{
    struct sn_event event = {.type = SN_EV_OPENED,
                             .client = request->client,
                             .token = request->token,
                             .outcome = SN_REFUSED_BUSY};
    struct session *n = session_of(s, request->client);
    const bool resumed = n != NULL;
    if (is_reachable(s) && n == NULL)
        n = session_new(s, request->client);
    if (is_reachable(s) && n != NULL && session_set_will(s, n, &request->open.will)) {
        if (request->open.clean)
            unsubscribe_all(s, n, true);
        n->max_subs = request->open.max_subscriptions;
        n->order = order_of(request->open.client_id);
        event.outcome = SN_OK;
        event.opened.session_present = resumed && !request->open.clean;
    } else if (n != NULL && !resumed) {
        session_free(s, n);
    }
    emit(s, &event);
}

static void on_close(struct shared *s, const struct sn_request *request)
{
    struct session *n = session_of(s, request->client);
    if (n == NULL)
        return;
    if (request->close.how == SN_CLOSE_LOST)
        publish_will(s, n);
    session_set_will(
        s, n,
        &(struct sn_will_view){0}); /* the engine arms a stored one again with the next OPEN */
    if (request->close.discard)
        session_free(s, n);
}

uint64_t session_order(const struct session *n)
{
    return n->order != 0 ? n->order : n->key;
}

static void on_publish(struct shared *s, const struct sn_request *request)
{
    const struct session *const n = session_of(s, request->client);
    const struct up_request up = {
        .type = UP_PUBLISH,
        .token = publish_token(request->client, request->token),
        .client = n != NULL ? session_order(n) : request->client,
        .topic = request->publish.topic,
        .body = request->publish.body,
        .qos = request->publish.qos,
        .retain = request->publish.retain,
    };
    if (is_reachable(s) && ask_upstream(s, &up))
        return;
    emit(s, &(struct sn_event){.type = SN_EV_PUBLISHED,
                               .client = request->client,
                               .token = request->token,
                               .outcome = SN_REFUSED_BUSY,
                               .published = {.qos = request->publish.qos}});
}

/* ---- entries --------------------------------------------------------------------------------- */

struct shared *shared_new(const struct shared_config *config, int64_t now_ms)
{
    struct shared *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->config = *config;
    s->now_ms = now_ms;
    s->last_subscription = copies_seed_id(config->hash_seed.k0);
    list_init(&s->filters);
    list_init(&s->wills);
    deadlines_init(&s->deadlines);
    queues_init(s);
    deadline_init(&s->missed, DL_MISSED);
    if (log_init(&s->log, LOG_RECORDS, config->log_level) < 0 || tree_init(s) < 0) {
        shared_free(s);
        return NULL;
    }
    return s;
}

void shared_free(struct shared *s)
{
    if (s == NULL)
        return;
    s->up = false; /* nobody is told any more */
    s->accepting = false;
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        for (unsigned at = 0; s->blocks[i] != NULL && at < SESSIONS_PER_BLOCK; at++) {
            if (s->blocks[i][at].key != SN_NO_CLIENT)
                session_free(s, &s->blocks[i][at]);
        }
    }
    wills_deinit(s);
    subscriptions_deinit(s);
    records_deinit(s);
    deadline_disarm(&s->deadlines, &s->missed);
    queues_deinit(s);
    tree_deinit(s);
    assert(s->memory_bytes == 0);
    assert(s->deadlines.count == 0);
    hmap_deinit(&s->filters_by_id);
    slabs_deinit(&s->slabs);
    for (uint32_t i = 0; i < s->n_blocks; i++)
        free(s->blocks[i]);
    free(s->blocks);
    log_deinit(&s->log);
    free(s);
}

void shared_advance(struct shared *s, int64_t now_ms)
{
    assert(now_ms >= s->now_ms);
    s->now_ms = now_ms;
    deadlines_collect(&s->deadlines, now_ms);
    for (struct deadline *d = deadlines_take(&s->deadlines); d != NULL;
         d = deadlines_take(&s->deadlines)) {
        if (d->kind == DL_REPLAY)
            replay_due(s, container_of(d, struct replay, closes));
        else if (d->kind == DL_VISIT)
            visit_due(s, container_of(d, struct visit, ends));
        else
            missed_due(s);
    }
}

int64_t shared_next_deadline(const struct shared *s)
{
    return deadlines_next(&s->deadlines);
}

void shared_request(struct shared *s, int64_t now_ms, const struct sn_request *request)
{
    shared_advance(s, now_ms);
    struct session *n = session_of(s, request->client);
    switch (request->type) {
    case SN_REQ_OPEN:
        on_open(s, request);
        break;
    case SN_REQ_PUBLISH:
        on_publish(s, request);
        break;
    case SN_REQ_SUBSCRIBE:
        if (n != NULL)
            subscribe(s, n, request->token, request->subscribe.filter, request->subscribe.qos);
        break;
    case SN_REQ_UNSUBSCRIBE:
        if (n != NULL)
            unsubscribe(s, n, request->unsubscribe.filter);
        emit(s, &(struct sn_event){.type = SN_EV_UNSUBSCRIBED,
                                   .client = request->client,
                                   .token = request->token});
        break;
    case SN_REQ_SET_WILL:
        if (n != NULL && !session_set_will(s, n, &request->set_will.will))
            log_lost_will(s, request->set_will.will.topic, &s->wills_dropped, "out_of_memory");
        break;
    case SN_REQ_DELIVERED: /* the engine's records say so (record.h) */
        break;
    case SN_REQ_CLOSE:
        on_close(s, request);
        break;
    }
}

static void set_reach(struct shared *s, bool up, bool accepting)
{
    if (s->up == up && s->accepting == accepting)
        return;
    s->up = up;
    s->accepting = accepting;
    emit(s, &(struct sn_event){
                .type = SN_EV_UPSTREAM, .upstream = {.up = up, .accepting = accepting}
    });
}

void shared_accepting(struct shared *s, int64_t now_ms, bool accepting)
{
    shared_advance(s, now_ms);
    set_reach(s, s->up, accepting);
    if (accepting)
        send_waiting_wills(s);
}

static void on_published(struct shared *s, const struct up_event *event)
{
    static const enum sn_outcome outcome_of[] = {
        [UP_OK] = SN_OK,
        [UP_BUSY] = SN_REFUSED_BUSY,
        [UP_REFUSED] = SN_REFUSED_NEVER,
        [UP_IN_DOUBT] = SN_IN_DOUBT,
    };

    const uint64_t client = event->token >> UP_TOKEN_BITS;
    const uint16_t token = (uint16_t)event->token;
    if (client == SN_NO_CLIENT && token != 0) {
        on_will_published(s, event);
        return;
    }
    if (event->result == UP_OK) /* there is room, and wills may have found none */
        send_waiting_wills(s);
    emit(s, &(struct sn_event){.type = SN_EV_PUBLISHED,
                               .client = client,
                               .token = token,
                               .outcome = outcome_of[event->result],
                               .published = {.qos = event->qos}});
}

static void on_message(struct shared *s, const struct up_event *event)
{
    assert(!s->has_message); /* the previous one must have been taken */
    if (!collect_recipients(s, event))
        return;
    if (s->n_recipients == 0 || !sn_topic_name_legal(event->topic)) {
        s->unmatched++;
        return;
    }
    s->has_message = true;
    s->message = (struct sn_event){
        .type = SN_EV_MESSAGE,
        .message = {.topic = event->topic,
                    .body = event->body,
                    .journal = event->journal,
                    .expiry_s = event->expiry_s,
                    .recipients = s->recipients,
                    .n_recipients = s->n_recipients},
    };
}

void shared_upstream(struct shared *s, int64_t now_ms, const struct up_event *event)
{
    shared_advance(s, now_ms);
    switch (event->type) {
    case UP_CONNECTED:
        set_reach(s, true, s->accepting);
        resubscribe(s, event->session_present);
        send_waiting_wills(s);
        break;
    case UP_DISCONNECTED:
        set_reach(s, false, s->accepting);
        break;
    case UP_PUBLISHED:
        on_published(s, event);
        break;
    case UP_SUBSCRIBED:
        on_subscribed(s, event);
        break;
    case UP_UNSUBSCRIBED:
        on_unsubscribed(s, event);
        break;
    case UP_MESSAGE:
        on_message(s, event);
        break;
    }
}

struct log_ring *shared_log(struct shared *s)
{
    return &s->log;
}

struct shared_gauges shared_gauges(const struct shared *s)
{
    return (struct shared_gauges){
        .sessions = s->n_sessions,
        .filters = s->n_filters,
        .covered = s->n_covered,
        .unmatched = s->unmatched,
        .copies = s->copies.left_out,
        .wills = s->wills_published,
        .wills_refused = s->wills_refused,
        .wills_dropped = s->wills_dropped,
        .memory_bytes = s->memory_bytes,
    };
}
