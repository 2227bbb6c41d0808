/* SPDX-License-Identifier: Apache-2.0 */
/* The pump inside of a sink: session, spool and connection, and the router or the engine before them. */
#include "base/clock.h"

#include "pump_priv.h"

enum { CONNACK_NOT_AUTHORIZED = 5 };

/* ---- the session, of either kind --------------------------------------------------------------- */

void pump_give_session(struct pump *p, struct sink *s, const struct up_event *event)
{
    if (s->own != NULL)
        own_upstream(s->own, p->now_ms, event);
    else
        shared_upstream(s->shared, p->now_ms, event);
}

static bool peek_event(struct sink *s, struct sn_event *out)
{
    return s->own != NULL ? own_peek_event(s->own, out) : shared_peek_event(s->shared, out);
}

static void done_event(struct sink *s)
{
    if (s->own != NULL)
        own_done_event(s->own);
    else
        shared_done_event(s->shared);
}

static bool peek_upstream(struct sink *s, struct up_request *out)
{
    return s->own != NULL ? own_peek_upstream(s->own, out) : shared_peek_upstream(s->shared, out);
}

static void done_upstream(struct sink *s)
{
    if (s->own != NULL)
        own_done_upstream(s->own);
    else
        shared_done_upstream(s->shared);
}

/* ---- sinks ------------------------------------------------------------------------------------- */

static uint64_t own_hash(unsigned broker, uint64_t client)
{
    return (client ^ (uint64_t)broker << 56) * 0x9E3779B97F4A7C15U;
}

struct sink *pump_find_own(const struct pump *p, unsigned broker, uint64_t client)
{
    if (p->own_sinks.count == 0 || client == SN_NO_CLIENT)
        return NULL;
    struct hmap_node *n = hmap_first(&p->own_sinks, own_hash(broker, client));
    for (; n != NULL; n = hmap_next(n)) {
        struct sink *s = container_of(n, struct sink, by_client);
        if (s->client == client && s->broker == broker)
            return s;
    }
    return NULL;
}

int pump_add(struct pump *p, struct sink *s)
{
    list_init(&s->dirty);
    list_init(&s->fresh);
    list_init(&s->touched);
    list_init(&s->fetch);
    list_init(&s->uncommitted);
    deadline_init(&s->due, 0);
    list_init(&s->all);
    list_push_back(&p->sinks, &s->all);
    if (s->own != NULL) {
        hmap_insert(&p->own_sinks, &s->by_client, own_hash(s->broker, s->client));
        own_broker_up(s->own, p->now_ms, p->shared[s->broker]->up);
    } else {
        p->shared[s->broker] = s;
        if (s->broker >= p->n_brokers)
            p->n_brokers = s->broker + 1;
    }
    if (s->spool == NULL)
        return 0;
    if (s->own != NULL && p->usable)
        spool_usable(s->spool, p->now_ms, true);
    if (p->minute >= 0)
        spool_wall(s->spool, p->now_ms, (unsigned)p->minute);
    pump_touch(p, s);
    return spool_restore(s->spool, SN_NO_CLIENT, 0, 0, store_sink_base(s->number));
}

void pump_remove(struct pump *p, struct sink *s)
{
    if (s->own != NULL)
        hmap_remove(&p->own_sinks, &s->by_client);
    list_unlink(&s->all);
    list_unlink(&s->dirty);
    list_unlink(&s->fresh);
    list_unlink(&s->touched);
    list_unlink(&s->fetch);
    list_unlink(&s->uncommitted);
    deadline_disarm(&p->due, &s->due);
    if (p->fetching == s)
        p->fetching = NULL;
}

void pump_limit_spool(struct pump *p, struct sink *s, const struct spool_config *config)
{
    pump_touch(p, s);
    spool_configure(s->spool, p->now_ms, config);
    if (p->minute >= 0)
        spool_wall(s->spool, p->now_ms, (unsigned)p->minute);
}

void pump_rekey(struct pump *p, struct sink *s, uint64_t client)
{
    if (s->client == client)
        return;
    hmap_remove(&p->own_sinks, &s->by_client);
    s->client = client;
    hmap_insert(&p->own_sinks, &s->by_client, own_hash(s->broker, client));
}

void pump_batch(struct pump *p, struct sink *s)
{
    if (s->batch == p->batch)
        return;
    s->batch = p->batch;
    spool_batch(s->spool, p->batch);
}

void pump_touch(struct pump *p, struct sink *s)
{
    if (!list_linked(&s->dirty))
        list_push_back(&p->dirty, &s->dirty);
    if (s->spool != NULL)
        pump_batch(p, s);
}

/* ---- requests ---------------------------------------------------------------------------------- */

static void carry_event(struct pump *p, unsigned broker, const struct sn_event *event)
{
    if (p->router != NULL)
        router_event(p->router, p->now_ms, broker, event);
    else
        sn_engine_event(p->engine, p->now_ms, event);
}

/* Whose session is it to be? False: none, and the client has heard that. */
static bool choose(struct pump *p, unsigned broker, const struct sn_request *request,
                   struct sink **out)
{
    bool refused = false;
    *out = p->own(p->owner, broker, request->client, request->open.client_id, &refused);
    if (*out != NULL)
        pump_rekey(p, *out, request->client);
    if (refused)
        carry_event(p, broker,
                    &(struct sn_event){.type = SN_EV_OPENED,
                                       .client = request->client,
                                       .token = request->token,
                                       .outcome = SN_REFUSED_NEVER});
    return !refused;
}

void pump_broker_request(struct pump *p, unsigned broker, const struct sn_request *request)
{
    struct sink *s = NULL;
    if (p->own == NULL || request->type != SN_REQ_OPEN)
        s = pump_find_own(p, broker, request->client);
    else if (!choose(p, broker, request, &s))
        return;
    if (s == NULL)
        s = p->shared[broker];
    pump_touch(p, s);
    if (s->own != NULL)
        own_request(s->own, p->now_ms, request);
    else
        shared_request(s->shared, p->now_ms, request);
}

/* ---- carrying ---------------------------------------------------------------------------------- */

static bool carry_events(struct pump *p, struct sink *s)
{
    struct sn_event event;
    bool moved = false;
    while (peek_event(s, &event)) {
        event.client = s->own != NULL && event.type != SN_EV_MESSAGE ? s->client : event.client;
        carry_event(p, s->broker, &event);
        done_event(s);
        moved = true;
    }
    return moved;
}

static bool carry_upstream(struct pump *p, struct sink *s)
{
    struct up_request request;
    bool moved = false;
    while (peek_upstream(s, &request)) {
        if (s->spool != NULL)
            spool_submit(s->spool, p->now_ms, &request);
        else if (s->mqtt != NULL)
            mqtt_submit(s->mqtt, &request);
        done_upstream(s);
        moved = true;
    }
    return moved;
}

/* While the gateway stops, what is in the spool stays there. */
static bool carry_spool_requests(struct pump *p, struct sink *s)
{
    struct up_request request;
    bool moved = false;
    while (s->mqtt != NULL && spool_peek_request(s->spool, &request)) {
        if (p->stopping && request.spooled != 0)
            return moved;
        mqtt_submit(s->mqtt, &request);
        spool_done_request(s->spool);
        moved = true;
    }
    return moved;
}

static bool carry_spool_events(struct pump *p, struct sink *s)
{
    struct up_event event;
    bool moved = false;
    while (spool_peek_event(s->spool, &event)) {
        pump_give_session(p, s, &event);
        moved |= carry_events(p, s); /* a message borrows from it */
        spool_done_event(s->spool);
        moved = true;
    }
    return moved;
}

bool pump_tell_accepting(struct pump *p, struct sink *s)
{
    const bool accepting = spool_accepting(s->spool);
    if (accepting == s->accepting)
        return false;
    s->accepting = accepting;
    if (s->own != NULL)
        own_accepting(s->own, p->now_ms, accepting);
    else
        shared_accepting(s->shared, p->now_ms, accepting);
    return true;
}

/* Behind the requests, which are for the connection that there was. */
static bool carry_commands(struct pump *p, struct sink *s)
{
    static const struct up_event cannot = {
        .type = UP_DISCONNECTED, .refused = true, .code = CONNACK_NOT_AUTHORIZED};
    struct own_command command;
    bool moved = false;
    while (own_peek_command(s->own, &command)) {
        const bool done = p->own_command(p->owner, s, &command);
        if (command.type != OWN_CONNECT && s->spool != NULL)
            spool_abandoned(s->spool, p->now_ms);
        own_done_command(s->own);
        if (!done)
            pump_give_session(p, s, &cannot);
        moved = true;
    }
    return moved;
}

static bool tell_backlog(struct pump *p, struct sink *s)
{
    const uint64_t backlog = s->spool != NULL ? spool_gauges(s->spool).messages : 0;
    if (backlog == s->backlog)
        return false;
    s->backlog = backlog;
    own_backlog(s->own, p->now_ms, backlog);
    return true;
}

bool pump_carry_sink(struct pump *p, struct sink *s)
{
    bool any = false;
    bool moved = true;
    while (moved) {
        moved = carry_events(p, s);
        moved |= carry_upstream(p, s);
        if (s->spool != NULL) {
            moved |= carry_spool_requests(p, s);
            moved |= carry_spool_events(p, s);
            moved |= pump_tell_accepting(p, s);
        }
        if (s->own != NULL) {
            moved |= carry_commands(p, s);
            moved |= tell_backlog(p, s);
        }
        any |= moved;
    }
    return any;
}

/* Those who speak for one client only hear that it is the broker who is away, or in trouble. */
static void tell_broker(struct pump *p, unsigned broker, bool up)
{
    if (p->own_sinks.count == 0)
        return;
    list_foreach (at, &p->sinks) {
        struct sink *s = container_of(at, struct sink, all);
        if (s->own == NULL || s->broker != broker)
            continue;
        pump_touch(p, s);
        own_broker_up(s->own, p->now_ms, up);
        if (!up)
            own_broker_trouble(s->own, p->now_ms);
    }
}

/* Nothing is lost by that, but things stand still. Told once for all sessions at the broker. */
static void tell_busy(struct pump *p, const struct sink *s, const struct up_event *event)
{
    enum { EVERY_MS = 60000 };

    struct sink *broker = p->shared[s->broker];
    struct log_ring *lg = shared_log(broker->shared);
    if (event->type == UP_DISCONNECTED || event->result != UP_BUSY || event->why == NULL)
        return;
    broker->busy_answers++;
    if (p->now_ms < broker->busy_told_ms || !log_begin(lg, LOG_WARN, "broker.refused_for_now"))
        return;
    broker->busy_told_ms = time_add(p->now_ms, EVERY_MS);
    if (event->address != NULL)
        log_text(lg, "address", event->address);
    log_text(lg, "why", event->why);
    log_int(lg, "answers", (int64_t)broker->busy_answers);
    log_end(lg);
    pump_touch(p, broker);
}

/* What the spool has no part in passes it by. */
void pump_sink_event(struct pump *p, struct sink *s, const struct up_event *event)
{
    const bool about_itself = event->type == UP_CONNECTED || event->type == UP_DISCONNECTED;
    if (about_itself && s->own == NULL)
        p->broker(p->owner, s, event);
    if (about_itself) {
        s->up = event->type == UP_CONNECTED;
        if (s->own == NULL)
            tell_broker(p, s->broker, s->up);
    }
    tell_busy(p, s, event);
    pump_touch(p, s);
    if (s->spool != NULL && (about_itself || event->type == UP_PUBLISHED))
        spool_upstream(s->spool, p->now_ms, event);
    else
        pump_give_session(p, s, event);
    pump_carry(p);
    if (event->type == UP_MESSAGE && event->journal != 0)
        pump_routed(p, event->journal);
}

void pump_sink_advance(struct pump *p, struct sink *s)
{
    pump_touch(p, s);
    if (s->own != NULL)
        own_advance(s->own, p->now_ms);
    else
        shared_advance(s->shared, p->now_ms);
    if (s->spool != NULL)
        spool_advance(s->spool, p->now_ms);
}

bool pump_is_settled(const struct pump *p)
{
    list_foreach (at, &p->sinks) {
        const struct sink *s = container_of(at, struct sink, all);
        if (s->own != NULL ? !own_is_settled(s->own) : !shared_is_settled(s->shared))
            return false;
    }
    return true;
}

/* ---- the end of a turn ------------------------------------------------------------------------- */

void pump_sink_flush(struct pump *p, struct sink *s)
{
    if (s->mqtt != NULL && s->own == NULL)
        mqtt_flush(s->mqtt);
    int64_t at_ms = s->own != NULL ? own_next_deadline(s->own) : shared_next_deadline(s->shared);
    if (s->spool != NULL)
        at_ms = time_min(at_ms, spool_next_deadline(s->spool));
    if (at_ms != s->due.at_ms)
        deadline_arm(&p->due, &s->due, at_ms);
    const bool empty = s->spool == NULL || spool_gauges(s->spool).messages == 0;
    if (s->own != NULL && empty && own_is_over(s->own) && !list_linked(&s->dirty))
        list_push_back(&p->over, &s->touched);
}

void pump_bury(struct pump *p)
{
    for (struct list *link; (link = list_pop_front(&p->over)) != NULL;) {
        struct sink *s = container_of(link, struct sink, touched);
        if (own_is_over(s->own) && !list_linked(&s->uncommitted))
            p->own_over(p->owner, s);
    }
}

void pump_sink_logs(struct pump *p, struct sink *s)
{
    struct log_ring *const rings[] = {s->own != NULL ? own_log(s->own) : shared_log(s->shared),
                                      s->spool != NULL ? spool_log(s->spool) : NULL};
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        if (rings[i] != NULL && log_peek(rings[i]) != NULL)
            logsink_take(p->sink, p->now_ms, p->wall_ms, rings[i], &s->lost_logs[i]);
    }
}
