/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump and the store (docs/adr/0012): records go in batches, one per turn; packets that rest on a
 * batch wait here until it is committed; the spool's fetches and the store's answers cross; and at
 * the beginning everything comes back.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/list.h"

#include "pump_priv.h"

enum {
    HELD_MAX = 64 * 1024 * 1024,
    BATCHES_PER_TURN = 4,
    SPOOL_MESSAGE = 1024, /* octets that must fit for the store to be usable */
    TELL_MS = 60000,      /* that it is not, no more often */
};

/* ---- packets that wait ------------------------------------------------------------------------ */

/* Followed by the peer and, behind its octets, the packet. */
struct held {
    uint64_t after;
    uint32_t len;
    _Alignas(struct peer) uint8_t peer[];
};

void pump_hold(struct pump *p, const struct sn_outgoing *out)
{
    const size_t peer = peer_size(out->to);
    const size_t size = sizeof(struct held) + peer + out->bytes.len;
    struct held *h = parcels_room(&p->held, size);
    if (h == NULL) {
        p->held_drops++;
        return;
    }
    h->after = out->after;
    h->len = (uint32_t)out->bytes.len;
    memcpy(h->peer, out->to, peer);
    if (out->bytes.len > 0)
        memcpy(h->peer + peer, out->bytes.data, out->bytes.len);
    parcels_add(&p->held, size);
}

static void release(struct pump *p)
{
    for (struct held *h; (h = parcels_first(&p->held)) != NULL && h->after <= p->committed;) {
        const struct peer *to = (const struct peer *)(const void *)h->peer;
        pump_send(p, to, bytes_of(h->peer + peer_size(to), h->len));
        parcels_done(&p->held);
    }
}

/* ---- records ---------------------------------------------------------------------------------- */

static void put_records(struct pump *p, struct sink *s)
{
    struct sn_record record;
    while (s->own != NULL && own_peek_record(s->own, &record)) {
        store_put(p->store, &record);
        own_done_record(s->own);
    }
    while (s->shared != NULL && shared_peek_record(s->shared, &record)) {
        store_put(p->store, &record);
        shared_done_record(s->shared);
    }
}

static void put_router_records(struct pump *p)
{
    struct sn_record record;
    while (router_peek_record(p->router, &record)) {
        store_put(p->store, &record);
        router_done_record(p->router);
    }
}

static void put_spool_records(struct pump *p, struct sink *s)
{
    struct sn_record record;
    while (spool_peek_record(s->spool, &record)) {
        store_put(p->store, &record);
        spool_done_record(s->spool);
        s->recorded = p->batch;
        if (!list_linked(&s->uncommitted))
            list_push_back(&p->uncommitted, &s->uncommitted);
    }
}

/* What sessions and router say of a client goes with the engine's SESSION_GONE, and must not come
 * behind it. */
void pump_record(struct pump *p)
{
    struct sn_record record;
    list_foreach (at, &p->fresh)
        put_records(p, container_of(at, struct sink, fresh));
    if (p->router != NULL)
        put_router_records(p);
    while (sn_engine_peek_record(p->engine, &record)) {
        store_put(p->store, &record);
        sn_engine_done_record(p->engine);
    }
    list_foreach (at, &p->fresh)
        put_spool_records(p, container_of(at, struct sink, fresh));
}

void pump_routed(struct pump *p, uint64_t journal)
{
    store_put(p->store, &(struct sn_record){.type = SN_REC_ROUTED, .routed = {.journal = journal}});
}

/* A store that fails says so itself. */
static void say_no_room(struct pump *p, const char *why)
{
    if (store_gauges(p->store).failing || p->now_ms < p->room_told_ms ||
        !log_begin(p->log, LOG_WARN, "store.no_room"))
        return;
    p->room_told_ms = time_add(p->now_ms, TELL_MS);
    log_text(p->log, "why", why);
    log_text(p->log, "text",
             "until there is room, nodes are told congestion while the broker is away");
    log_end(p->log);
}

static void tell_usable(struct pump *p)
{
    /* What waits to be written may need twice its size: pages hold whole messages, or parts of one. */
    const size_t more = SPOOL_MESSAGE + store_gauges(p->store).queued_bytes;
    const char *lacks = store_lacks(p->store, more);
    if (lacks == NULL && p->disk_is_narrow)
        lacks = "the disk under state_dir is nearly full";
    const bool usable = lacks == NULL;
    if (usable == p->usable)
        return;
    if (!usable)
        say_no_room(p, lacks);
    p->usable = usable;
    list_foreach (at, &p->sinks) {
        struct sink *s = container_of(at, struct sink, all);
        pump_touch(p, s);
        spool_usable(s->spool, p->now_ms, usable);
    }
    sn_engine_spooling(p->engine, usable);
}

static void begin_batch(struct pump *p)
{
    p->batch = store_batch(p->store);
    sn_engine_batch(p->engine, p->batch);
}

/* The store reads for one sink at a time. */
static void fetch_next(struct pump *p)
{
    struct list *link = p->fetching == NULL ? list_pop_front(&p->fetches) : NULL;
    if (link == NULL)
        return;
    p->fetching = container_of(link, struct sink, fetch);
    store_fetch(p->store, p->fetching->fetch_after, p->fetching->fetch_n, p->fetching->fetch_bytes);
}

static void hand_over(struct pump *p)
{
    store_flush(p->store);
    begin_batch(p);
    tell_usable(p);
    list_foreach (at, &p->touched) {
        struct sink *s = container_of(at, struct sink, touched);
        pump_batch(p, s); /* what is fetched shows the batch that has just ended */
        if (!spool_wants_fetch(s->spool, &s->fetch_after, &s->fetch_n, &s->fetch_bytes))
            continue;
        if (s->fetch_after < store_sink_base(s->number))
            s->fetch_after = store_sink_base(s->number);
        list_push_back(&p->fetches, &s->fetch);
    }
    fetch_next(p);
}

static void take_committed(struct pump *p, uint64_t committed)
{
    if (committed == p->committed)
        return;
    /* What a store that fails counts as committed may have been, or not. */
    const bool doubtful = store_gauges(p->store).failing;
    p->committed = committed;
    release(p);
    list_foreach_safe (at, next, &p->uncommitted) {
        struct sink *s = container_of(at, struct sink, uncommitted);
        if (s->recorded <= committed)
            list_unlink(&s->uncommitted);
        pump_touch(p, s);
        if (doubtful)
            spool_failed(s->spool, p->now_ms, committed);
        else
            spool_committed(s->spool, p->now_ms, committed);
    }
}

/* With an intent log a batch is promised when it is handed over, so what waited for it goes in the
 * same turn; which may make another batch. */
void pump_end_batch(struct pump *p)
{
    hand_over(p);
    for (unsigned i = 0; i < BATCHES_PER_TURN; i++) {
        const uint64_t committed = store_committed(p->store);
        if (committed == p->committed)
            return;
        take_committed(p, committed);
        pump_carry(p);
        hand_over(p);
    }
    p->unfinished = p->unfinished || store_committed(p->store) != p->committed;
}

/* ---- the spools -------------------------------------------------------------------------------- */

static void fetched(struct pump *p, const struct store_event *event)
{
    struct sink *s = p->fetching;
    p->fetching = NULL;
    if (s == NULL) { /* it is no more */
        fetch_next(p);
        return;
    }
    pump_touch(p, s);
    for (size_t i = 0; i < event->n; i++) {
        const struct store_spooled *r = &event->rows[i];
        spool_fetched(s->spool, p->now_ms,
                      &(struct spool_row){.number = r->number,
                                          .client = r->client,
                                          .topic = r->topic,
                                          .body = r->body,
                                          .qos = r->qos,
                                          .retain = r->retain,
                                          .will = r->will,
                                          .age_ms = r->age_ms});
    }
    spool_fetch_done(s->spool, p->now_ms, event->failed);
    fetch_next(p);
}

/* ---- what the store tells ---------------------------------------------------------------------- */

static void record_all(struct pump *p)
{
    sn_engine_record_all(p->engine);
    if (p->router != NULL)
        router_record_all(p->router);
    list_foreach (at, &p->sinks) {
        struct sink *s = container_of(at, struct sink, all);
        pump_touch(p, s);
        if (s->own != NULL)
            own_record_all(s->own);
        else
            shared_record_all(s->shared);
        spool_record_all(s->spool);
    }
}

/* What was carried before belongs to the time before. */
static void resync(struct pump *p)
{
    pump_carry(p);
    store_resync_begin(p->store);
    record_all(p);
    pump_carry(p);
    store_resync_end(p->store);
}

static void take_store_event(struct pump *p, const struct store_event *event)
{
    switch (event->type) {
    case STORE_FETCHED:
        fetched(p, event);
        break;
    case STORE_FAILING:
        p->store_state(p->owner, event->why);
        break;
    case STORE_RECOVERED:
        p->store_state(p->owner, NULL);
        break;
    case STORE_RESYNC:
        if (event->why[0] != '\0') /* the file had to be begun anew */
            p->store_state(p->owner, event->why);
        resync(p);
        break;
    }
}

void pump_store(struct pump *p)
{
    if (p->store == NULL)
        return;
    struct store_event event;
    /* First, because it counts on when the store fails, which the events and the room tell. */
    const uint64_t committed = store_committed(p->store);
    while (store_next_event(p->store, &event))
        take_store_event(p, &event);
    tell_usable(p);
    take_committed(p, committed);
    pump_carry(p);
}

/* ---- coming back ------------------------------------------------------------------------------- */

/* A message from the broker that the process before had not passed on yet. */
struct pending {
    struct list link;
    uint64_t journal;
    uint64_t sink;
    struct body *body;
    uint32_t expiry_s;
    uint8_t qos;
    bool retain;
    size_t topic_len;
    uint8_t topic[];
};

struct restoring {
    struct pump *pump;
    struct list messages;
};

/* NULL: the broker is not in the configuration any more. */
static struct sink *find_sink(struct pump *p, uint64_t number)
{
    list_foreach (at, &p->sinks) {
        struct sink *s = container_of(at, struct sink, all);
        if (s->number == number)
            return s;
    }
    return NULL;
}

static int restore_part(struct pump *p, unsigned broker, const struct sn_record *record)
{
    struct sink *s = pump_find_own(p, broker, record->client);
    return s != NULL ? own_restore(s->own, record)
                     : shared_restore(p->shared[broker]->shared, record);
}

/* The session's own ones must be there before its subscriptions. */
static void restore_own(struct pump *p, const struct sn_record *record)
{
    for (unsigned broker = 0; p->own != NULL && broker < p->n_brokers; broker++) {
        bool refused = false;
        struct sink *s =
            p->own(p->owner, broker, record->client, record->session.client_id, &refused);
        if (s == NULL)
            continue;
        pump_rekey(p, s, record->client);
        own_restore_session(s->own, record->session.clean);
    }
}

static int restore_subscription(struct pump *p, const struct sn_record *record)
{
    struct sn_record part;
    unsigned broker = 0;
    if (p->router == NULL)
        return restore_part(p, 0, record);
    int rc = router_restore(p->router, record);
    for (; router_peek_restored(p->router, &broker, &part); router_done_restored(p->router)) {
        const int one = restore_part(p, broker, &part);
        rc = one < 0 ? one : rc;
    }
    return rc;
}

static int on_record(void *owner, const struct sn_record *record)
{
    struct restoring *r = owner;
    const int rc = record->type == SN_REC_SUBSCRIPTION ? restore_subscription(r->pump, record)
                                                       : sn_engine_restore(r->pump->engine, record);
    if (rc > 0)
        r->pump->left_out[record->type]++;
    if (rc < 0)
        return rc;
    if (record->type == SN_REC_SESSION && rc == 0)
        restore_own(r->pump, record);
    if (record->type == SN_REC_SESSION && rc == 0 && r->pump->router != NULL)
        return router_restore_client(r->pump->router, record->client, record->session.client_id,
                                     record->session.peer);
    return 0;
}

static int on_message(void *owner, const struct store_unrouted *message)
{
    struct restoring *r = owner;
    const struct bytes topic = message->topic;
    struct pending *m = malloc(sizeof *m + topic.len);
    if (m == NULL)
        return -ENOMEM;
    *m = (struct pending){.journal = message->journal,
                          .sink = message->sink,
                          .body = body_ref(message->body),
                          .expiry_s = message->expiry_s,
                          .qos = message->qos,
                          .retain = message->retain,
                          .topic_len = topic.len};
    if (topic.len > 0)
        memcpy(m->topic, topic.data, topic.len);
    list_init(&m->link);
    list_push_back(&r->messages, &m->link);
    return 0;
}

static int on_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last_number)
{
    struct restoring *r = owner;
    struct sink *s = find_sink(r->pump, store_sink_of(last_number));
    if (s == NULL && n > 0 && r->pump->own_again != NULL)
        s = r->pump->own_again(r->pump->owner, store_sink_of(last_number), client);
    if (s != NULL)
        return spool_restore(s->spool, client, n, bytes, last_number);
    if (n > 0)
        r->pump->orphan(r->pump->owner, store_sink_of(last_number), n);
    return 0;
}

static int on_sent(void *owner, uint64_t number, uint64_t client, uint64_t bytes)
{
    struct restoring *r = owner;
    struct sink *s = find_sink(r->pump, store_sink_of(number));
    if (s == NULL && r->pump->own_again != NULL)
        s = r->pump->own_again(r->pump->owner, store_sink_of(number), client);
    return s != NULL ? spool_restore_sent(s->spool, number, client, bytes) : 0;
}

static void pass_on(struct restoring *r)
{
    struct pump *p = r->pump;
    for (struct list *link; (link = list_pop_front(&r->messages)) != NULL;) {
        struct pending *m = container_of(link, struct pending, link);
        struct sink *s = find_sink(p, m->sink);
        if (s == NULL) /* whose broker is no more: nobody is left that it could be for */
            s = p->shared[0];
        pump_touch(p, s);
        pump_give_session(p, s,
                          &(struct up_event){.type = UP_MESSAGE,
                                             .qos = m->qos,
                                             .retain = m->retain,
                                             .topic = bytes_of(m->topic, m->topic_len),
                                             .body = m->body,
                                             .expiry_s = m->expiry_s,
                                             .journal = m->journal});
        pump_carry(p);
        pump_routed(p, m->journal);
        body_unref(m->body);
        free(m);
    }
}

int pump_restore(struct pump *p)
{
    struct restoring r = {.pump = p};
    const struct store_visitor visitor = {
        .owner = &r,
        .record = on_record,
        .message = on_message,
        .sent = on_sent,
        .spool = on_spool,
    };
    list_init(&r.messages);
    p->committed = store_committed(p->store);
    begin_batch(p);
    const int rc = store_load(p->store, &visitor);
    if (rc == -ENOMEM)
        return rc;
    tell_usable(p);
    list_foreach (at, &p->sinks) /* before the engine opens its sessions anew */
        pump_tell_accepting(p, container_of(at, struct sink, all));
    sn_engine_restored(p->engine, p->now_ms);
    pump_carry(p);
    pass_on(&r);
    return rc;
}

void pump_init(struct pump *p)
{
    list_init(&p->sinks);
    list_init(&p->dirty);
    list_init(&p->fresh);
    list_init(&p->touched);
    list_init(&p->fetches);
    list_init(&p->uncommitted);
    list_init(&p->over);
    hmap_init(&p->own_sinks);
    deadlines_init(&p->due);
    parcels_init(&p->held, HELD_MAX);
    p->committed = UINT64_MAX;
    p->minute = -1;
}

void pump_deinit(struct pump *p)
{
    parcels_deinit(&p->held);
    hmap_deinit(&p->own_sinks);
}
