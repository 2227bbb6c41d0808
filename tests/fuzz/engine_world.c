/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_world.h"

#include "engine_words.h"
#include "fuzz.h"

enum {
    LINKS = 2,
    START_MS = 100000,
    EXCHANGES_MAX = 1000, /* between engine and shared session, before it is a loop */
};

/* ---- configuration --------------------------------------------------------------------------- */

static const struct sn_client_section client_sections[] = {
    {"r*", {.regack = SN_NO}                      },
    {"u*", {.dup = SN_NO, .resume_asleep = SN_YES}},
    {"q*", {.max_qos = 1, .qos_minus_one = SN_NO} },
    {"x*", {.allow = SN_NO}                       },
};

static const struct sn_predefined common_topics[] = {
    {1, "a/b"  },
    {2, "pre/2"}
};
static const struct sn_predefined sleeper_topics[] = {
    {2, "sleep/2"},
    {3, "sleep/3"}
};
static const struct sn_topics_section topics_sections[] = {
    {NULL, common_topics,  2},
    {"s*", sleeper_topics, 2}
};

static void set_limits(struct sn_engine_config *c, const uint8_t o[CONFIG_OCTETS])
{
    static const int64_t retry_ms[] = {10000, 1000, 100, 15000};
    static const uint32_t queue_bytes[] = {100, 300, 1000, 65536};

    static const enum sn_overflow overflow[] = {SN_DROP_OLDEST, SN_DROP_NEWEST, SN_LATEST_PER_TOPIC,
                                                SN_DROP_OLDEST};

    c->retry_count = (o[0] & WORLD_RETRY_COUNT) >> 1;
    c->late_connect_ms = SN_COPIES_MS;
    c->log_level = (o[0] & WORLD_TRACE) != 0 ? LOG_TRACE : LOG_ERROR;
    if ((o[0] & WORLD_TINY_MEMORY) != 0)
        c->max_memory_bytes = 4096 + o[4] * UINT64_C(64);
    c->max_clients = 1 + (o[1] & 7U) % 6;
    c->defaults.max_topics = 1 + (o[1] >> 3 & 7U);
    c->retry_interval_ms = retry_ms[o[1] >> 6];
    c->defaults.max_queue = 1 + (o[2] & 7U) % 5;
    c->defaults.max_queue_bytes = queue_bytes[o[2] >> 3 & 3];
    c->defaults.max_inflight = 1 + (o[2] >> 5 & 3U);
    c->defaults.queue_qos_0 = (o[2] & 0x80) != 0 ? SN_NO : SN_YES;
    c->defaults.overflow = overflow[o[3] & 3];
    c->defaults.max_subscriptions = 1 + (o[3] >> 4 & 3U);
    c->defaults.rebind = (o[3] & 0x40) != 0 ? SN_NO : SN_YES;
    c->max_client_id = 40;
}

struct sn_engine *world_engine(const uint8_t o[CONFIG_OCTETS], int64_t now_ms)
{
    static const uint32_t packet_bytes[] = {1000, 60, 24, 12};
    struct sn_link_limits links[LINKS] = {
        {.max_packet_bytes = packet_bytes[o[3] >> 2 & 3], .advertise_s = 60     },
        {.max_packet_bytes = 255,                         .qos_minus_one = SN_NO},
    };
    if ((o[0] & WORLD_GROUPS) == 0)
        links[0].advertise_s = 0;
    struct sn_engine_config c = sn_engine_defaults();
    set_limits(&c, o);
    c.clients = client_sections;
    c.n_clients = sizeof client_sections / sizeof client_sections[0];
    c.topics = topics_sections;
    c.n_topics = sizeof topics_sections / sizeof topics_sections[0];
    c.links = links;
    c.n_links = LINKS;
    c.journal = (o[5] & WORLD_NO_STORE) == 0;
    return sn_engine_new(&c, now_ms);
}

/* Four nodes on link 0, one on link 1, two behind the fourth, one behind two forwarders. */
static void make_peers(struct judge *j)
{
    static const uint8_t ids[] = {0x0A, 0x0B, 0x0C};
    for (unsigned i = 0; i < NODES; i++) {
        const bool forwarded = i > 4;
        const uint16_t link = i == 4 || i == 7 ? 1 : 0;
        const uint8_t address[6] = {192, 0, 2, 1, 0, (uint8_t)(forwarded && link == 0 ? 3 : i)};
        struct peer_room room;
        peer_make(&room, link, PEER_IP4, bytes_of(address, sizeof address));
        if (forwarded)
            fuzz_require(peer_push_node(&room, bytes_of(ids, i - 5)));
        if (i == 7)
            fuzz_require(peer_push_node(&room, bytes_of(ids + 2, 1)));
        fuzz_require(judge_peer(j, peer_in(&room)) == (int)i);
    }
}

/* ---- carrying outputs ------------------------------------------------------------------------ */

static void to_engine(struct world *w, const struct sn_event *event)
{
    if (!judge_ready(&w->judge))
        return;
    const uint64_t before = judge_packets_out(&w->judge);
    sn_engine_event(w->engine, w->now_ms, event);
    judge_after(&w->judge, before);
}

void world_take_packets(struct world *w, unsigned most)
{
    struct sn_outgoing out;
    for (; most > 0 && sn_engine_peek_packet(w->engine, &out); most--) {
        judge_packet(&w->judge, &out);
        sn_engine_done_packet(w->engine);
    }
}

static bool take_request(struct world *w)
{
    struct sn_request r;
    if (!sn_engine_peek_request(w->engine, &r))
        return false;
    seam_request(&w->seam, &r);
    if (w->shared != NULL)
        shared_request(w->shared, w->now_ms, &r);
    sn_engine_done_request(w->engine);
    return true;
}

/* Events of the shared session are taken always, which its contract demands. */
static bool take_events(struct world *w)
{
    struct sn_event event;
    bool any = false;
    for (; w->shared != NULL && shared_peek_event(w->shared, &event); any = true) {
        if (!judge_ready(&w->judge))
            world_take_packets(w, UINT32_MAX);
        seam_event(&w->seam, &event);
        to_engine(w, &event);
        shared_done_event(w->shared);
    }
    struct up_request request;
    for (; w->shared != NULL && shared_peek_upstream(w->shared, &request); any = true) {
        broker_request(&w->broker, &request);
        shared_done_upstream(w->shared);
    }
    return any;
}

static void take_requests(struct world *w)
{
    unsigned rounds = 0;
    bool any = true;
    while (any) {
        fuzz_require(++rounds < EXCHANGES_MAX);
        any = take_events(w);
        while (take_request(w))
            any = true;
    }
}

static void drain_log(struct log_ring *ring)
{
    for (; log_peek(ring) != NULL; log_done(ring))
        ;
}

void world_drain(struct world *w, enum drain how)
{
    if (!judge_ready(&w->judge))
        how = DRAIN_ALL;
    take_events(w);
    if (how == DRAIN_PACKETS) /* packets first, and requests wait */
        world_take_packets(w, UINT32_MAX);
    if (how == DRAIN_ALL || how == DRAIN_REQUESTS)
        take_requests(w);
    if (how == DRAIN_ALL)
        world_take_packets(w, UINT32_MAX);
    if (how == DRAIN_ALL)
        store_judge(w);
    else if (how == DRAIN_REQUESTS)
        store_take(w);
    drain_log(sn_engine_log(w->engine));
    if (w->shared != NULL)
        drain_log(shared_log(w->shared));
}

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t next_deadline(const struct world *w)
{
    const int64_t engine = sn_engine_next_deadline(w->engine);
    return w->shared != NULL ? time_min(engine, shared_next_deadline(w->shared)) : engine;
}

static int64_t step_ms(const struct world *w, unsigned step)
{
    static const int64_t fixed_ms[16] = {
        [STEP_1MS] = 1,     [STEP_100MS] = 100,  [STEP_1S] = 1000,       [STEP_10S] = 10000,
        [STEP_90S] = 90000, [STEP_1H] = 3600000, [STEP_30H] = 108000000, [STEP_30D] = 2592000000,
        [STEP_2S] = 2000,   [STEP_5S] = 5000,    [STEP_30S] = 30000,
    };
    const int64_t until_ms = next_deadline(w) != TIME_NEVER ? next_deadline(w) - w->now_ms : 1;
    const int64_t retry_ms = w->engine->config.retry_interval_ms;
    if (step == STEP_RETRY)
        return retry_ms;
    if (step == STEP_ROUND)
        return retry_ms * (w->engine->config.retry_count + 1);
    if (step == STEP_DEADLINE)
        return until_ms > 0 ? until_ms : 0;
    if (step == STEP_BEFORE_DEADLINE)
        return until_ms > 0 ? until_ms - 1 : 0;
    return fixed_ms[step];
}

void world_pass_time(struct world *w, uint8_t how)
{
    w->now_ms += step_ms(w, how & 15);
    if ((how & TIME_LAZY) != 0)
        return;
    const uint64_t before = judge_packets_out(&w->judge);
    sn_engine_advance(w->engine, w->now_ms);
    judge_after(&w->judge, before);
    if (w->shared != NULL)
        shared_advance(w->shared, w->now_ms);
    fuzz_require(next_deadline(w) > w->now_ms);
}

/* ---- the broker side ------------------------------------------------------------------------- */

static void upstream_event(struct world *w, const struct up_event *event)
{
    shared_upstream(w->shared, w->now_ms, event);
    take_events(w);
}

/* Answers one open request. */
static void scripted_answer(struct world *w, size_t which, uint8_t how)
{
    static const enum sn_event_type type_of[] = {
        [SN_REQ_OPEN] = SN_EV_OPENED,
        [SN_REQ_PUBLISH] = SN_EV_PUBLISHED,
        [SN_REQ_SUBSCRIBE] = SN_EV_SUBSCRIBED,
        [SN_REQ_UNSUBSCRIBE] = SN_EV_UNSUBSCRIBED,
    };

    if (w->seam.n_asks == 0)
        return;
    const struct seam_ask a = w->seam.asks[which % w->seam.n_asks];
    struct sn_event event = {.type = type_of[a.type],
                             .client = a.client,
                             .token = a.token,
                             .outcome = (enum sn_outcome)(how & 3)};
    if (event.outcome == SN_IN_DOUBT && (a.type != SN_REQ_PUBLISH || a.qos != 2 || a.in_doubt))
        event.outcome = SN_OK;
    if (a.type == SN_REQ_OPEN)
        event.opened.session_present = (how & 4) != 0;
    else if (a.type == SN_REQ_PUBLISH)
        event.published.qos = a.qos;
    else if (a.type == SN_REQ_SUBSCRIBE)
        event.subscribed.granted = (how & 8) != 0 ? 0 : a.qos;
    seam_event(&w->seam, &event);
    to_engine(w, &event);
}

void world_answer(struct world *w, size_t which, uint8_t how)
{
    static const enum up_result results[] = {UP_OK, UP_BUSY, UP_REFUSED, UP_IN_DOUBT};
    struct up_event event;
    if (w->shared == NULL) {
        scripted_answer(w, which, how);
        return;
    }
    if (!broker_answer(&w->broker, which, results[how & 3], &event))
        return;
    if (event.type == UP_SUBSCRIBED)
        event.qos = (how & 8) != 0 ? 0 : 2;
    upstream_event(w, &event);
}

static size_t open_asks(const struct world *w)
{
    return w->shared != NULL ? w->broker.n_asks : w->seam.n_asks;
}

/* Yes to everything, in order, and to what follows from it. */
void world_settle(struct world *w)
{
    for (unsigned i = 0; i < EXCHANGES_MAX && open_asks(w) > 0; i++) {
        world_answer(w, 0, 0);
        take_requests(w);
        if (!judge_ready(&w->judge))
            world_take_packets(w, UINT32_MAX);
    }
    fuzz_require(open_asks(w) == 0);
}

void world_set_upstream(struct world *w, uint8_t how)
{
    const bool up = how % 3 != 0;
    if (w->shared != NULL) {
        struct up_event event;
        for (size_t i = broker_lost(&w->broker); up && i < w->broker.n_asks;
             i = broker_lost(&w->broker))
            world_answer(w, i, 3);
        if (broker_connection(&w->broker, up, how % 3 == 2, &event))
            upstream_event(w, &event);
        return;
    }
    if (up == w->upstream_up)
        return;
    w->upstream_up = up;
    to_engine(w, &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = up}});
}

void world_bogus(struct world *w, uint8_t what, uint8_t token)
{
    static const enum sn_event_type types[] = {SN_EV_OPENED, SN_EV_PUBLISHED, SN_EV_SUBSCRIBED,
                                               SN_EV_UNSUBSCRIBED};

    static const enum up_event_type up_types[] = {UP_PUBLISHED, UP_SUBSCRIBED, UP_UNSUBSCRIBED,
                                                  UP_PUBLISHED};

    if (w->shared != NULL) {
        if ((what & 3) == 0 || (what & 3) == 3)
            return; /* a connection answers each PUBLISH once, and nothing else */
        upstream_event(w, &(struct up_event){.type = up_types[what & 3],
                                             .token = token + UINT64_C(100000),
                                             .result = (enum up_result)(what >> 2 & 3)});
        return;
    }
    const struct seam_session *n = &w->seam.sessions[token % SEAM_SLOTS];
    struct sn_event event = {.type = types[what & 3],
                             .client = n->key,
                             .token = (uint16_t)(0x8000 | token),
                             .outcome = (enum sn_outcome)(what >> 2 & 3)};
    if (event.type == SN_EV_PUBLISHED)
        event.published.qos = (uint8_t)((what >> 4) % 3);
    if (event.type != SN_EV_OPENED)
        to_engine(w, &event);
}

/* By the two high bits of the flags: most messages never expire. */
static uint32_t expiry_of(uint8_t flags)
{
    static const uint32_t seconds[] = {0, 1, 60, 3600};
    return seconds[flags >> 6];
}

/* To sessions of the first eight slots, whether they want it or not: the engine is not to judge. */
static void scripted_message(struct world *w, struct bytes topic, struct body *body, uint8_t flags,
                             uint8_t mask)
{
    struct sn_recipient recipients[8];
    size_t n = 0;
    world_pass_time(w, STEP_0); /* who is gone by now gets no delivery that could be reported */
    for (unsigned slot = 0; slot < 8; slot++) {
        const uint64_t key = w->seam.sessions[slot].key;
        if ((mask >> slot & 1) == 0 || key == 0)
            continue;
        struct sn_recipient *r = &recipients[n++];
        *r = (struct sn_recipient){
            .client = key, .qos = (uint8_t)((flags & 3) % 3), .retain = (flags & 0x10) != 0};
        if ((flags & 0x20) == 0)
            r->delivery_id = ++w->next_delivery;
        if (r->delivery_id != 0 && sn_client_by_key(w->engine, key) != NULL)
            seam_delivery(&w->seam, key, r->delivery_id);
    }
    to_engine(w, &(struct sn_event){
                     .type = SN_EV_MESSAGE,
                     .message = {.topic = topic,
                                 .body = body,
                                 .expiry_s = expiry_of(flags),
                                 .recipients = recipients,
                                 .n_recipients = n}
    });
}

void world_message(struct world *w)
{
    const struct bytes topic = word_topic(&w->in);
    const uint8_t flags = rd_u8(&w->in);
    const struct bytes data = word_data(&w->in);
    const uint8_t mask = rd_u8(&w->in);
    struct body *body = data.len > 0 ? body_new(data) : NULL;
    if (topic.len == 0 || memchr(topic.data, '+', topic.len) != NULL ||
        memchr(topic.data, '#', topic.len) != NULL || !bytes_is_utf8(topic)) {
        /* no broker sends that */
    } else if (w->shared == NULL) {
        scripted_message(w, topic, body, flags, mask);
    } else if (w->broker.up) {
        upstream_event(w, &(struct up_event){.type = UP_MESSAGE,
                                             .topic = topic,
                                             .body = body,
                                             .qos = (uint8_t)((flags & 3) % 3),
                                             .retain = (flags & 0x10) != 0,
                                             .expiry_s = expiry_of(flags)});
    }
    body_unref(body);
}

void world_close_by_broker(struct world *w, uint8_t which)
{
    const struct seam_session *n = &w->seam.sessions[which % 8];
    if (w->shared != NULL || !n->open)
        return;
    const struct sn_event event = {.type = SN_EV_CLOSED, .client = n->key};
    seam_event(&w->seam, &event);
    to_engine(w, &event);
}

/* ---- from beginning to end ------------------------------------------------------------------- */

void world_judge(struct world *w)
{
    judge_order(&w->judge);
    if (w->shared == NULL)
        return;
    const struct shared_gauges g = shared_gauges(w->shared);
    fuzz_require(g.memory_bytes <= w->shared->config.max_memory_bytes);
    fuzz_require(g.sessions <= w->engine->config.max_clients);
}

void world_end_well(struct world *w)
{
    world_drain(w, DRAIN_ALL);
    world_set_upstream(w, 2);
    world_settle(w);
    world_drain(w, DRAIN_ALL);
    /* What was refused for want of room is tried again; then covered filters leave. */
    for (unsigned i = 0; i < 3; i++) {
        world_pass_time(w, STEP_2S);
        world_drain(w, DRAIN_ALL);
        world_settle(w);
        world_drain(w, DRAIN_ALL);
    }
    world_judge(w);
    seam_all_answered(&w->seam);
    if (w->shared != NULL) {
        broker_agrees(&w->broker, w->shared);
        fuzz_require(list_empty(&w->shared->wills));
    }
    for (size_t i = 0; i < SEAM_SLOTS; i++) {
        const struct seam_session *n = &w->seam.sessions[i];
        const struct sn_client *c = sn_client_by_key(w->engine, n->key);
        /* A refused session is closed, or its node is about to try again. */
        if (n->must_close && !n->ended)
            fuzz_require(c != NULL && c->open && c->state == SN_ST_CONNECTING);
    }
    size_t wanted = 0; /* deliveries that nobody has heard of are still in a queue */
    for (uint32_t slot = 0; slot < w->engine->n_slots; slot++) {
        const struct sn_client *c = w->engine->slots[slot];
        if (c == NULL || c->down == NULL)
            continue;
        list_foreach (link, &c->down->queue)
            wanted += container_of(link, struct sn_message, link)->delivery_id != 0;
    }
    fuzz_require(wanted == w->seam.n_deliveries);
}

bool world_init(struct world *w, const uint8_t o[CONFIG_OCTETS])
{
    w->now_ms = START_MS;
    table_init(&w->table);
    w->engine = world_engine(o, START_MS);
    if (w->engine == NULL)
        return false;
    if ((o[0] & WORLD_SHARED) != 0) {
        struct shared_config config = shared_defaults();
        if ((o[0] & WORLD_TINY_MEMORY) != 0)
            config.max_memory_bytes = 512 + o[4] * UINT64_C(16);
        w->shared = shared_new(&config, START_MS);
        if (w->shared == NULL)
            return false;
    }
    sn_engine_spooling(w->engine, (o[5] & WORLD_LIVE) == 0);
    judge_init(&w->judge, w->engine);
    w->seam.trace = w->judge.trace;
    w->broker.trace = w->judge.trace;
    w->obliging = (o[0] & WORLD_OBLIGING) != 0;
    make_peers(&w->judge);
    if ((o[0] & WORLD_GROUPS) != 0)
        sn_engine_group(w->engine, w->now_ms, 0, true);
    if ((o[0] & WORLD_DOWN) == 0)
        world_set_upstream(w, 1);
    return true;
}

void world_deinit(struct world *w)
{
    broker_deinit(&w->broker);
    table_deinit(&w->table);
    sn_engine_free(w->engine);
    shared_free(w->shared);
}
