/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <openssl/crypto.h>
#include <openssl/opensslv.h>
#include <uv.h>

#include "mqttsn/stats.h"
#include "version.h"

/* ---- counters -------------------------------------------------------------------------------- */

/* Pairs spread over as many records as they need. */
struct page {
    struct log_ring *lg;
    const char *event;
    const char *what;    /* "link", "broker": which one ... */
    const char *subject; /* ... by name, repeated in every record; NULL: none */
    bool open;
};

enum { PAGE_FULL = LOG_TEXT_MAX - 80 };

static void page_end(struct page *page)
{
    if (page->open)
        log_end(page->lg);
    page->open = false;
}

static void page_put(struct page *page, const char *name, uint64_t value)
{
    if (page->open && page->lg->open->len > PAGE_FULL)
        page_end(page);
    if (!page->open) {
        page->open = log_begin(page->lg, LOG_NOTICE, page->event);
        if (!page->open)
            return;
        if (page->subject != NULL)
            log_text(page->lg, page->what, page->subject);
    }
    log_int(page->lg, name, value <= INT64_MAX ? (int64_t)value : INT64_MAX);
}

static void put_engine(struct log_ring *lg, const struct sn_engine *engine)
{
    struct page page = {.lg = lg, .event = "stats.engine"};
    const struct sn_stats *stats = sn_engine_stats(engine);
    for (unsigned i = 0; i < SN_STAT_COUNT; i++)
        page_put(&page, sn_stat_name((enum sn_stat)i), stats->n[i]);
    page_end(&page);

    const struct sn_gauges g = sn_engine_gauges(engine);
    page.event = "stats.clients";
    page_put(&page, "clients", g.clients);
    page_put(&page, "connected", g.connected);
    page_put(&page, "queued", g.queued);
    page_put(&page, "memory_bytes", g.memory_bytes);
    page_put(&page, "gateways", g.gateways);
    page_end(&page);
}

static void put_link(struct log_ring *lg, const char *name, const struct link *l)
{
    const struct link_counters *c = l->driver->counters(l);
    struct page page = {.lg = lg, .event = "stats.link", .what = "link", .subject = name};
    page_put(&page, "packets_in", c->packets_in);
    page_put(&page, "packets_out", c->packets_out);
    page_put(&page, "group_in", c->group_in);
    page_put(&page, "bytes_in", c->bytes_in);
    page_put(&page, "bytes_out", c->bytes_out);
    page_put(&page, "oversize", c->oversize);
    page_put(&page, "empty", c->empty);
    page_put(&page, "kernel_drops", c->kernel_drops);
    page_put(&page, "send_deferred", c->send_deferred);
    page_put(&page, "send_drops", c->send_drops);
    page_put(&page, "receive_errors", c->receive_errors);
    page_end(&page);
}

static const char *state_name(enum stick_state state)
{
    static const char *const names[] = {
        [STICK_CLOSED] = "closed",
        [STICK_STARTING] = "starting",
        [STICK_RUNNING] = "running",
        [STICK_GIVEN_UP] = "given_up",
    };
    return names[state];
}

static void put_stick(struct log_ring *lg, const char *name, struct link *l)
{
    const struct stick *stick = l->driver->stick(l);
    const struct stick_counters *c = stick_counters(stick);
    if (log_begin(lg, LOG_NOTICE, "stats.stick_state")) {
        log_text(lg, "link", name);
        log_text(lg, "where", l->driver->where(l));
        log_word(lg, "state", state_name(stick_state(stick)));
        log_end(lg);
    }
    struct page page = {.lg = lg, .event = "stats.stick", .what = "link", .subject = name};
    page_put(&page, "frames_in", c->frames_in);
    page_put(&page, "frames_out", c->frames_out);
    page_put(&page, "bad_frames", c->bad_frames);
    page_put(&page, "skipped_bytes", c->skipped_bytes);
    page_put(&page, "strange_frames", c->strange_frames);
    page_put(&page, "delivered", c->delivered);
    page_put(&page, "failed", c->failed);
    page_put(&page, "unknown", c->unknown);
    page_put(&page, "not_sent", c->not_sent);
    page_put(&page, "too_long", c->too_long);
    page_put(&page, "queue_full", c->queue_full);
    page_put(&page, "expired", c->expired);
    page_put(&page, "restarts", c->restarts);
    page_put(&page, "unknown_ids", c->unknown_ids);
    page_put(&page, "foreign", c->foreign);
    page_put(&page, "unresolved", c->unresolved);
    page_put(&page, "nodes_forgotten", c->nodes_forgotten);
    page_put(&page, "stick_resets", c->stick_resets);
    page_put(&page, "events_lost", c->events_lost);
    page_end(&page);
}

static void put_node(struct log_ring *lg, const char *name, const struct stick_node_info *node,
                     int64_t now_ms)
{
    if (!log_begin(lg, LOG_NOTICE, "stats.node"))
        return;
    log_text(lg, "link", name);
    struct peer_room room = node->peer;
    log_peer(lg, "node", peer_in(&room));
    if (node->short_address != 0xFFFE)
        log_int(lg, "short_address", node->short_address);
    log_int(lg, "silent_s", (now_ms - node->heard_ms) / 1000);
    if (node->has_lqi)
        log_int(lg, "lqi", node->lqi);
    if (node->has_rssi)
        log_int(lg, "rssi_dbm", node->rssi);
    log_int(lg, "delivered", node->delivered);
    log_int(lg, "failed", node->failed);
    log_int(lg, "waiting", node->waiting);
    log_end(lg);
}

static void put_nodes(struct log_ring *lg, struct pump *p, const char *name, struct stick *stick)
{
    struct stick_node_info node;
    for (size_t i = 0; stick_node(stick, i, &node); i++) {
        put_node(lg, name, &node, p->now_ms);
        if (lg->count > lg->capacity / 2)
            pump_take_logs(p);
    }
}

/* Which of several brokers a page is about. */
static void page_broker(struct page *page, const struct config *config, const struct sink *s)
{
    const struct config_broker *broker = &config->brokers[s->broker];
    page->what = "broker";
    page->subject = config->n_brokers > 1 ? config_broker_name(broker) : NULL;
}

static void put_connection(struct page *page, const struct mqtt_gauges *g, uint64_t busy_answers)
{
    page->event = "stats.broker";
    page_put(page, "connected", g->connected);
    page_put(page, "queued", g->queued);
    page_put(page, "in_flight", g->in_flight);
    page_put(page, "connects", g->connects);
    page_put(page, "inbox_drops", g->inbox_drops);
    page_put(page, "inbox_cuts", g->inbox_cuts);
    page_put(page, "no_memory", g->no_memory);
    page_put(page, "busy_answers", busy_answers);
    page_end(page);
}

static void put_shared(struct page *page, const struct shared_gauges *s)
{
    page->event = "stats.shared";
    page_put(page, "sessions", s->sessions);
    page_put(page, "filters", s->filters);
    page_put(page, "covered", s->covered);
    page_put(page, "unmatched", s->unmatched);
    page_put(page, "copies", s->copies);
    page_put(page, "wills", s->wills);
    page_put(page, "wills_refused", s->wills_refused);
    page_put(page, "wills_dropped", s->wills_dropped);
    page_put(page, "memory_bytes", s->memory_bytes);
    page_end(page);
}

static void put_spool(struct page *page, const struct spool_gauges *s)
{
    page->event = "stats.spool";
    page_put(page, "messages", s->messages);
    page_put(page, "bytes", s->bytes);
    page_put(page, "in_flight", s->in_flight);
    page_put(page, "held", s->held);
    page_put(page, "spooled", s->spooled);
    page_put(page, "hedged", s->hedged);
    page_put(page, "sent", s->sent);
    page_put(page, "refused", s->refused);
    page_put(page, "refused_full", s->full);
    page_put(page, "refused_unusable", s->unusable);
    page_put(page, "refused_qos_0", s->away);
    page_put(page, "expired", s->expired);
    page_put(page, "dropped", s->dropped);
    page_put(page, "paced_drops", s->paced_drops);
    page_put(page, "paced_refused", s->paced_refused);
    page_put(page, "lost", s->lost);
    page_put(page, "memory_bytes", s->memory_bytes);
    page_end(page);
}

static void put_sink(struct log_ring *lg, const struct config *config, const struct sink *s)
{
    struct page page = {.lg = lg};
    page_broker(&page, config, s);
    if (s->mqtt != NULL) {
        const struct mqtt_gauges g = mqtt_gauges(s->mqtt);
        put_connection(&page, &g, s->busy_answers);
    }
    const struct shared_gauges shared = shared_gauges(s->shared);
    put_shared(&page, &shared);
    if (s->spool != NULL) {
        const struct spool_gauges spool = spool_gauges(s->spool);
        put_spool(&page, &spool);
    }
}

/* Nodes' own sessions at one broker, all together. */
static void put_own(struct log_ring *lg, const struct config *config, const struct pump *p,
                    unsigned broker)
{
    uint64_t n = 0;
    uint64_t connected = 0;
    uint64_t filters = 0;
    uint64_t spooled = 0;
    uint64_t unasked = 0;
    uint64_t copies = 0;
    list_foreach (at, &p->sinks) {
        const struct sink *s = container_of(at, struct sink, all);
        if (s->own == NULL || s->broker != broker)
            continue;
        const struct own_gauges g = own_gauges(s->own);
        n++;
        connected += g.connected;
        filters += g.filters;
        unasked += g.unasked;
        copies += g.copies;
        spooled += s->spool != NULL ? spool_gauges(s->spool).messages : 0;
    }
    if (n == 0)
        return;
    struct page page = {.lg = lg, .event = "stats.own"};
    page_broker(&page, config, p->shared[broker]);
    page_put(&page, "sessions", n);
    page_put(&page, "connected", connected);
    page_put(&page, "filters", filters);
    page_put(&page, "spooled", spooled);
    page_put(&page, "unasked", unasked);
    page_put(&page, "copies", copies);
    page_end(&page);
}

static void put_router(struct log_ring *lg, const struct router *r)
{
    const struct router_gauges g = router_gauges(r);
    struct page page = {.lg = lg, .event = "stats.router"};
    page_put(&page, "published", g.published);
    page_put(&page, "unheeded", g.unheeded);
    page_put(&page, "unroutable", g.unroutable);
    page_put(&page, "dropped", g.dropped);
    page_put(&page, "memory_bytes", g.memory_bytes);
    page_end(&page);
}

/* Rows that were stored, and did not come back at the start. */
static uint64_t left_out(const struct pump *p, const struct store_gauges *g)
{
    uint64_t n = 0;
    for (size_t i = 0; i < STORE_TABLES; i++)
        n += g->left_out[i];
    for (size_t i = 0; i < SN_REC_COUNT; i++)
        n += p->left_out[i];
    return n;
}

static void put_store(struct log_ring *lg, const struct pump *p)
{
    if (p->store == NULL)
        return;
    const struct store_gauges g = store_gauges(p->store);
    struct page page = {.lg = lg, .event = "stats.store"};
    page_put(&page, "failing", g.failing);
    page_put(&page, "commits", g.commits);
    page_put(&page, "records", g.records);
    page_put(&page, "records_lost", g.records_lost);
    page_put(&page, "errors", g.errors);
    page_put(&page, "queued_bytes", g.queued_bytes);
    page_put(&page, "file_bytes", g.file_bytes);
    page_put(&page, "commit_max_us", g.commit_max_us);
    page_put(&page, "held_drops", p->held_drops);
    page_put(&page, "left_out", left_out(p, &g));
    page_end(&page);
}

void report_counters(struct log_ring *lg, struct pump *p, const struct config *config)
{
    put_engine(lg, p->engine);
    for (size_t i = 0; i < p->n_links; i++) {
        struct link *l = p->links[i];
        const char *name = config->links[i].name;
        if (l == NULL)
            continue;
        put_link(lg, name, l);
        if (l->driver->stick == NULL)
            continue;
        put_stick(lg, name, l);
        put_nodes(lg, p, name, l->driver->stick(l));
    }
    for (unsigned b = 0; b < p->n_brokers; b++) {
        put_sink(lg, config, p->shared[b]);
        put_own(lg, config, p, b);
    }
    if (p->router != NULL)
        put_router(lg, p->router);
    put_store(lg, p);
    const struct mqtt_rule_gauges rules = mqtt_rule_gauges();
    struct page page = {.lg = lg, .event = "stats.gateway"};
    page_put(&page, "no_link", p->no_link);
    page_put(&page, "own_echoes", p->own_echoes);
    page_put(&page, "broker_faults", rules.broken);
    page_put(&page, "stray_acks", rules.ignored);
    page_put(&page, "log_suppressed", p->sink->suppressed);
    page_put(&page, "log_dropped", p->sink->dropped);
    page_end(&page);
}

void report_kernel_drops(struct log_ring *lg, const char *name, const struct link *l,
                         uint64_t *said)
{
    const uint64_t total = l->driver->counters(l)->kernel_drops;
    const uint64_t lost = total - *said;
    *said = total;
    if (lost == 0 || !log_begin(lg, LOG_WARN, "link.kernel_drops"))
        return;
    log_text(lg, "link", name);
    log_int(lg, "lost", (int64_t)lost);
    log_int(lg, "total", (int64_t)total);
    log_word(lg, "advice", "receive_buffer,net.core.rmem_max");
    log_end(lg);
}

/* ---- the beginning and the end --------------------------------------------------------------- */

void report_step(struct log_ring *lg, const char *step)
{
    if (!log_begin(lg, LOG_DEBUG, "gateway.starting"))
        return;
    log_word(lg, "step", step);
    log_end(lg);
}

void report_slow_step(struct log_ring *lg, const char *step, int64_t took_ms)
{
    if (!log_begin(lg, LOG_WARN, "gateway.slow_start"))
        return;
    log_word(lg, "step", step);
    log_int(lg, "took_ms", took_ms);
    if (strstr(step, "store") != NULL)
        log_text(lg, "hint", "the disk under state_dir is slow, or much is stored");
    log_end(lg);
}

void report_ready(struct log_ring *lg, const struct pump *p, const struct config *config)
{
    char links[256] = "";
    size_t len = 0;
    for (size_t i = 0; i < p->n_links && len < sizeof links - 1; i++) {
        const int n = snprintf(links + len, sizeof links - len, "%s%s", i > 0 ? "," : "",
                               p->links[i]->driver->where(p->links[i]));
        len += n > 0 ? (size_t)n : 0;
    }
    if (!log_begin(lg, LOG_NOTICE, "gateway.ready"))
        return;
    log_text(lg, "version", SENNET_VERSION);
    log_text(lg, "name", config->gateway.name);
    log_int(lg, "id", config->gateway.id);
    log_text(lg, "links", links);
    for (size_t i = 0; i < config->n_brokers; i++)
        log_text(lg, "broker", config->brokers[i].address);
    log_end(lg);
}

/* A row is damaged when no sense could be made of it, and refused when it makes none here and now: over
 * a limit, not allowed, of no session. */
static void say_left_out(struct log_ring *lg, const struct pump *p)
{
    static const struct {
        const char *damaged;
        const char *refused;
        enum sn_record_type type;
    } rows[STORE_TABLES] = {
        [STORE_SESSIONS] = {"damaged_sessions",      "refused_sessions",      SN_REC_SESSION },
        [STORE_TOPICS] = {"damaged_topics",        "refused_topics",        SN_REC_TOPIC   },
        [STORE_EXCHANGES] = {"damaged_exchanges",     "refused_exchanges",     SN_REC_EXCHANGE},
        [STORE_SUBSCRIPTIONS] = {"damaged_subscriptions", "refused_subscriptions",
                            SN_REC_SUBSCRIPTION                                              },
        [STORE_DELIVERIES] = {"damaged_deliveries",    "refused_deliveries",    SN_REC_DELIVERY},
        [STORE_MESSAGES] = {"damaged_messages",      NULL,                    SN_REC_COUNT   },
    };
    const struct store_gauges g = store_gauges(p->store);
    if (left_out(p, &g) == 0 || !log_begin(lg, LOG_WARN, "store.left_out"))
        return;
    for (size_t i = 0; i < STORE_TABLES; i++) {
        if (g.left_out[i] > 0)
            log_int(lg, rows[i].damaged, (int64_t)g.left_out[i]);
        if (rows[i].refused != NULL && p->left_out[rows[i].type] > 0)
            log_int(lg, rows[i].refused, (int64_t)p->left_out[rows[i].type]);
    }
    log_text(lg, "text",
             "rows of the store that did not come back: damaged ones stay in it, refused ones "
             "(restore.left_out says why) are forgotten");
    log_end(lg);
}

void report_restored(struct log_ring *lg, const struct pump *p, bool whole)
{
    if (!whole && log_begin(lg, LOG_ERROR, "store.unreadable")) {
        log_text(lg, "text", "what was stored can't be read: the gateway begins without it");
        log_end(lg);
    }
    const struct sn_gauges g = sn_engine_gauges(p->engine);
    uint64_t spooled = 0;
    list_foreach (at, &p->sinks)
        spooled += spool_gauges(container_of(at, struct sink, all)->spool).messages;
    if (!log_begin(lg, LOG_NOTICE, "store.restored"))
        return;
    log_int(lg, "clients", g.clients);
    log_int(lg, "connected", g.connected);
    log_int(lg, "waiting_for_nodes", (int64_t)g.queued);
    log_int(lg, "waiting_for_broker", (int64_t)spooled);
    log_end(lg);
    say_left_out(lg, p);
}

struct mqtt_gauges report_unfinished(const struct pump *p)
{
    struct mqtt_gauges sum = {0};
    list_foreach (at, &p->sinks) {
        const struct sink *s = container_of(at, struct sink, all);
        if (s->mqtt == NULL)
            continue;
        const struct mqtt_gauges g = mqtt_gauges(s->mqtt);
        sum.queued += g.queued;
        sum.in_flight += g.in_flight;
    }
    return sum;
}

void report_stopped(struct log_ring *lg, const struct pump *p, const char *why, int64_t uptime_ms,
                    const struct mqtt_gauges *mqtt)
{
    const struct sn_stats *s = sn_engine_stats(p->engine);
    if (!log_begin(lg, LOG_NOTICE, "gateway.stopped"))
        return;
    log_word(lg, "why", why);
    log_int(lg, "uptime_s", uptime_ms / 1000);
    log_int(lg, "packets_in", (int64_t)s->n[SN_STAT_PACKETS_IN]);
    log_int(lg, "packets_out", (int64_t)s->n[SN_STAT_PACKETS_OUT]);
    log_int(lg, "published",
            (int64_t)(s->n[SN_STAT_PUBLISH_UP_QOS0] + s->n[SN_STAT_PUBLISH_UP_QOS1] +
                      s->n[SN_STAT_PUBLISH_UP_QOS2] + s->n[SN_STAT_PUBLISH_UP_QOSM1]));
    log_int(lg, "delivered", (int64_t)s->n[SN_STAT_DELIVERED]);
    log_int(lg, "clients", sn_engine_gauges(p->engine).clients);
    log_int(lg, "unfinished", (int64_t)(mqtt->queued + mqtt->in_flight));
    log_end(lg);
}

/* ---- versions -------------------------------------------------------------------------------- */

void report_version(FILE *out)
{
    const char *revision = SENNET_REVISION;
    fprintf(out, "sennetd %s", SENNET_VERSION);
    if (*revision != '\0')
        fprintf(out, " (git %s)", revision);
    fprintf(out, ", %s build\n", SENNET_BUILD_TYPE);
    fprintf(out, "libuv        %d.%d.%d compiled, %s running\n", UV_VERSION_MAJOR, UV_VERSION_MINOR,
            UV_VERSION_PATCH, uv_version_string());
    fprintf(out, "OpenSSL      %s compiled, %s running\n", OPENSSL_VERSION_STR,
            OpenSSL_version(OPENSSL_VERSION_STRING));
    fprintf(out, "Paho MQTT C  %s compiled, %s running\n", SENNET_PAHO_VERSION,
            mqtt_library_version());
}
