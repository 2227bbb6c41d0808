/* SPDX-License-Identifier: Apache-2.0 */
#include "store_world.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

enum { PATIENCE_S = 30, DUMP_MAX = 1 << 20 };

static void on_wake(void *arg)
{
    struct store_world *const w = arg;
    pthread_mutex_lock(&w->lock);
    w->wakes++;
    pthread_cond_broadcast(&w->woken);
    pthread_mutex_unlock(&w->lock);
}

void world_init(struct store_world *w)
{
    static const char *const links[] = {"udp", "stick"};
    *w = (struct store_world){.options = store_defaults()};
    snprintf(w->dir, sizeof w->dir, "/tmp/sennet-store-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    w->options.dir = w->dir;
    w->options.links = links;
    w->options.n_links = 2;
    w->options.intent_bytes = 0; /* who tests the intent log says so */
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->woken, NULL);
}

static void remove_all(const char *dir)
{
    DIR *const d = opendir(dir);
    if (d == NULL)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.')
            remove(path);
    }
    closedir(d);
    rmdir(dir);
}

void world_deinit(struct store_world *w)
{
    if (w->s != NULL)
        world_close(w);
    remove_all(w->dir);
    pthread_cond_destroy(&w->woken);
    pthread_mutex_destroy(&w->lock);
}

int world_try_open(struct store_world *w)
{
    return store_open(&w->options, on_wake, w, &w->s, w->error, sizeof w->error);
}

void world_open(struct store_world *w)
{
    const int rc = world_try_open(w);
    ck_assert_msg(rc == 0, "store_open: %d, %s", rc, w->error);
}

void world_close(struct store_world *w)
{
    store_close(w->s);
    w->s = NULL;
}

void world_reopen(struct store_world *w)
{
    world_close(w);
    world_open(w);
}

const char *world_path(const struct store_world *w, const char *name)
{
    static char paths[4][128];
    static unsigned at;
    char *const out = paths[at++ % 4];
    snprintf(out, sizeof paths[0], "%s/%s", w->dir, name);
    return out;
}

const char *world_sql(const struct store_world *w, const char *sql)
{
    static char out[4096];
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    ck_assert_int_eq(sqlite3_open(world_path(w, "sennet.db"), &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    const int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    ck_assert_msg(rc == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    const int row = sqlite3_step(stmt);
    ck_assert_msg(row == SQLITE_ROW || row == SQLITE_DONE, "%s: %s", sql, sqlite3_errmsg(db));
    const char *const text = row == SQLITE_ROW ? (const char *)sqlite3_column_text(stmt, 0) : NULL;
    snprintf(out, sizeof out, "%s", text != NULL ? text : "");
    sqlite3_finalize(stmt);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    return out;
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* Until something is new, which may have been before the call. */
static void wait_for_wake(struct store_world *w, unsigned seen)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&w->lock);
    while (w->wakes == seen)
        ck_assert_msg(pthread_cond_timedwait(&w->woken, &w->lock, &until) == 0,
                      "nothing was heard of the store for %d s", PATIENCE_S);
    pthread_mutex_unlock(&w->lock);
}

static unsigned wakes(struct store_world *w)
{
    pthread_mutex_lock(&w->lock);
    const unsigned n = w->wakes;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void world_wait_batch(struct store_world *w, uint64_t batch)
{
    for (;;) {
        const unsigned seen = wakes(w);
        if (store_committed(w->s) >= batch)
            return;
        wait_for_wake(w, seen);
    }
}

void world_commit(struct store_world *w)
{
    const uint64_t batch = store_batch(w->s);
    store_flush(w->s);
    if (store_batch(w->s) != batch)
        world_wait_batch(w, batch);
}

struct store_event world_event(struct store_world *w, enum store_event_type type)
{
    struct store_event event;
    for (;;) {
        const unsigned seen = wakes(w);
        if (store_next_event(w->s, &event))
            break;
        wait_for_wake(w, seen);
    }
    ck_assert_msg(event.type == type, "event %d (%s) in place of %d", event.type,
                  event.why != NULL ? event.why : "", type);
    return event;
}

struct store_event world_fetch(struct store_world *w, uint64_t after, unsigned n, size_t max_bytes)
{
    store_fetch(w->s, after, n, max_bytes);
    return world_event(w, STORE_FETCHED);
}

/* ---- what it holds --------------------------------------------------------------------------- */

static struct {
    char text[DUMP_MAX];
    size_t len;
} dump;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    dump.len += (size_t)vsnprintf(dump.text + dump.len, sizeof dump.text - dump.len, format, args);
    va_end(args);
    ck_assert_uint_lt(dump.len, sizeof dump.text);
}

static void say_bytes(const char *name, struct bytes in)
{
    say(" %s=%.*s", name, (int)in.len, in.len > 0 ? (const char *)in.data : "");
}

static void say_session(const struct sn_record *r)
{
    static const char *const states[] = {"away", "active", "asleep"};
    char peer[PEER_TEXT_MAX] = "-";
    if (r->session.peer != NULL)
        peer_print(r->session.peer, peer, sizeof peer);
    say("session %llu", (unsigned long long)r->client);
    say_bytes("id", r->session.client_id);
    say(" %s%s ka=%u sleep=%u next=%u peer=%d/%s", states[r->session.state],
        r->session.clean ? " clean" : "", r->session.keep_alive_s, r->session.sleep_s,
        r->session.next_msg_id, r->session.peer != NULL ? r->session.peer->link : -1, peer);
    if (r->session.will.topic.len > 0) {
        say_bytes("will", r->session.will.topic);
        say_bytes("body", body_bytes(r->session.will.body));
        say(" qos=%u%s", r->session.will.qos, r->session.will.retain ? " retain" : "");
    }
    if (r->session.connection != 0)
        say(" connection=%u", r->session.connection);
    say("\n");
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The nearest ones. */
static long minutes(int64_t ms)
{
    return (long)((ms + (ms >= 0 ? 30000 : -30000)) / 60000);
}

static void say_delivery(const struct sn_record *r)
{
    static const char *const phases[] = {"waiting", "sent", "received"};
    say("  delivery %llu journal=%llu", (unsigned long long)r->delivery.number,
        (unsigned long long)r->delivery.journal);
    say_bytes("topic", r->delivery.topic);
    say_bytes("body", body_bytes(r->delivery.body));
    say(" qos=%u%s %s id=%u", r->delivery.qos, r->delivery.retain ? " retain" : "",
        phases[r->delivery.phase], r->delivery.msg_id);
    if (r->delivery.expires_ms != 0)
        say(" left=%ld min", minutes(r->delivery.expires_ms - now_ms()));
    say("\n");
}

static uint64_t current;

static int on_record(void *owner, const struct sn_record *r)
{
    (void)owner;
    if (r->type == SN_REC_SESSION) {
        ck_assert_uint_gt(r->client, current);
        current = r->client;
        say_session(r);
        return 0;
    }
    ck_assert_uint_eq(r->client, current);
    if (r->type == SN_REC_TOPIC) {
        say("  topic %u", r->topic.topic_id);
        say_bytes("name", r->topic.name);
        say(" alias=%u kind=%u%s", r->topic.alias, r->topic.kind, r->topic.given ? " given" : "");
        if (r->topic.known_in != 0)
            say(" known=%u", r->topic.known_in);
        if (r->topic.refused_in != 0)
            say(" refused=%u", r->topic.refused_in);
        say("\n");
    } else if (r->type == SN_REC_EXCHANGE) {
        say("  exchange %u topic=%u print=%llx\n", r->exchange.msg_id, r->exchange.topic_id,
            (unsigned long long)r->exchange.print);
    } else if (r->type == SN_REC_SUBSCRIPTION) {
        say("  subscription");
        say_bytes("filter", r->subscription.filter);
        say(" qos=%u\n", r->subscription.qos);
    } else {
        ck_assert_int_eq(r->type, SN_REC_DELIVERY);
        say_delivery(r);
    }
    return 0;
}

static int on_message(void *owner, const struct store_unrouted *m)
{
    (void)owner;
    say("message %llu", (unsigned long long)m->journal);
    say_bytes("topic", m->topic);
    say_bytes("body", body_bytes(m->body));
    say(" qos=%u%s", m->qos, m->retain ? " retain" : "");
    if (m->expiry_s != 0)
        say(" expiry=%u", m->expiry_s);
    say("\n");
    return 0;
}

static int on_sent(void *owner, uint64_t number, uint64_t client, uint64_t bytes)
{
    (void)owner;
    say("sent %llu of %llu: %llu octets\n", (unsigned long long)number, (unsigned long long)client,
        (unsigned long long)bytes);
    return 0;
}

static int on_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last_number)
{
    (void)owner;
    if (n > 0 || last_number > 0)
        say("spool %llu: %llu, %llu octets, last %llu\n", (unsigned long long)client,
            (unsigned long long)n, (unsigned long long)bytes, (unsigned long long)last_number);
    return 0;
}

const char *world_load(struct store_world *w)
{
    const struct store_visitor visitor = {
        .record = on_record, .message = on_message, .sent = on_sent, .spool = on_spool};
    dump.len = 0;
    dump.text[0] = '\0';
    current = 0;
    ck_assert_int_eq(store_load(w->s, &visitor), 0);
    return dump.text;
}

const char *world_reload(struct store_world *w)
{
    world_reopen(w);
    return world_load(w);
}

/* ---- records --------------------------------------------------------------------------------- */

void put_session(struct store_world *w, uint64_t client, const char *client_id)
{
    struct sn_record r = {.type = SN_REC_SESSION, .client = client};
    r.session.client_id = bytes_str(client_id);
    r.session.state = SN_KEPT_ACTIVE;
    r.session.keep_alive_s = 60;
    store_put(w->s, &r);
}

void put_topic(struct store_world *w, uint64_t client, uint16_t topic_id, const char *name)
{
    struct sn_record r = {.type = SN_REC_TOPIC, .client = client};
    r.topic.topic_id = topic_id;
    r.topic.name = bytes_str(name);
    store_put(w->s, &r);
}

void put_exchange(struct store_world *w, uint64_t client, uint16_t msg_id)
{
    struct sn_record r = {.type = SN_REC_EXCHANGE, .client = client};
    r.exchange.msg_id = msg_id;
    r.exchange.print = 0xFEDCBA9876543210U;
    store_put(w->s, &r);
}

void put_subscription(struct store_world *w, uint64_t client, const char *filter, uint8_t qos)
{
    struct sn_record r = {.type = SN_REC_SUBSCRIPTION, .client = client};
    r.subscription.filter = bytes_str(filter);
    r.subscription.qos = qos;
    store_put(w->s, &r);
}

void put_delivery(struct store_world *w, uint64_t client, uint64_t number, uint64_t journal,
                  const char *text)
{
    put_expiring(w, client, number, journal, text, 0);
}

void put_expiring(struct store_world *w, uint64_t client, uint64_t number, uint64_t journal,
                  const char *text, int64_t expiry_s)
{
    struct body *const body = body_new(bytes_str(text));
    struct sn_record r = {.type = SN_REC_DELIVERY, .client = client};
    r.delivery.number = number;
    r.delivery.journal = journal;
    r.delivery.topic = bytes_str("down");
    r.delivery.body = body;
    r.delivery.qos = 1;
    r.delivery.expires_ms = expiry_s != 0 ? now_ms() + 1000 * expiry_s : 0;
    store_put(w->s, &r);
    body_unref(body);
}

void put_spool(struct store_world *w, uint64_t client, uint64_t number, const char *text)
{
    struct body *const body = body_new(bytes_str(text));
    struct sn_record r = {.type = SN_REC_SPOOL, .client = client};
    r.spool.number = number;
    r.spool.topic = bytes_str("up");
    r.spool.body = body;
    r.spool.qos = 1;
    store_put(w->s, &r);
    body_unref(body);
}

void put_routed(struct store_world *w, uint64_t journal)
{
    struct sn_record r = {.type = SN_REC_ROUTED};
    r.routed.journal = journal;
    store_put(w->s, &r);
}

void put_gone(struct store_world *w, enum sn_record_type type, uint64_t client, uint64_t key)
{
    struct sn_record r = {.type = type, .client = client};
    if (type == SN_REC_TOPIC_GONE)
        r.topic.topic_id = (uint16_t)key;
    else if (type == SN_REC_EXCHANGE_GONE)
        r.exchange.msg_id = (uint16_t)key;
    else if (type == SN_REC_DELIVERY_GONE)
        r.delivery.number = key;
    else if (type == SN_REC_SPOOL_GONE)
        r.spool.number = key;
    store_put(w->s, &r);
}

uint64_t world_message(struct store_world *w, const char *topic, const char *text)
{
    const struct store_incoming m = {
        .topic = bytes_str(topic), .payload = bytes_str(text), .qos = 1};
    return store_message(w->s, 0, &m, NULL);
}
