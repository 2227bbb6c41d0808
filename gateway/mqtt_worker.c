/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: the only thread that calls Paho (docs/adr/0004).
 *
 *     WAITING --due--> PURGING --> PURGED --> CONNECTING --> ONLINE
 *        ^                |                       |            |
 *        +----------------+------- failed --------+--- lost ---+
 *
 * The first connection is a clean one and only wipes what somebody else left at the broker: an earlier
 * process, if there is no store. After that the session is kept (cleansession 0), so that QoS 1 and
 * 2 survive a broken connection. A clean one is also used when too many orphans are stranded inside Paho: Paho never answers a
 * SUBSCRIBE that was open when the connection broke, and keeps it, until the session is cleaned.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#include "mqtt_priv.h"

enum {
    CONNECT_TIMEOUT_S = 10,    /* Paho looks at it each 3 s */
    CONNECT_LOST_MS = 90000,   /* Paho has forgotten us; resolvers take up to 30 s */
    PURGE_CLOSE_MS = 5000,     /* for the DISCONNECT after the purge */
    STOP_CLOSE_MS = 300,       /* for the DISCONNECT at the end */
    TICK_MS = 1000,            /* heartbeat, and supervision of the broker */
    INBOX_FULL_RETRY_MS = 100, /* no connection while the inbox is over its bounds */
    STALLED_MS = 5000,         /* the broker owes an answer for so long (with a store) */
    STRANDED_MAX = 1024,
    BATCH = 64,
    PAHO_QUEUE_MAX = 1000000, /* more than any window: the queue is ours */
    /* Longer than any connection stays silent, and still an int in milliseconds. Paho 1.3.12
     * resends unanswered messages within a connection after max(10 s, this), once it has
     * reconnected; mosquitto closes the connection on the third copy. */
    NEVER_RESEND_S = 2000000,
};

enum phase { WAITING, PURGING, PURGED, CONNECTING, ONLINE };

struct worker {
    struct mqtt *m;
    MQTTAsync handle;
    enum phase phase;
    int64_t due_ms;
    struct backoff backoff;
    bool purged;
    bool hold;        /* nothing more for Paho until the broker has shown life */
    int64_t asked_ms; /* when it was first asked what it has not answered yet; 0: nothing */
    bool saw_stop;
};

/* ---- answers of our own ---------------------------------------------------------------------- */

static struct item *disconnected_item(struct mqtt *m, const char *why)
{
    const size_t len = strlen(why);
    struct item *const it = item_new(m, len);
    if (it == NULL)
        return NULL;
    memcpy(it->text, why, len);
    it->event = (struct up_event){.type = UP_DISCONNECTED, .why = it->text};
    return it;
}

/* Lock held. */
static void discharge(struct mqtt *m, struct item *it)
{
    atomic_fetch_sub_explicit(&m->queued, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&m->queued_bytes, it->cost, memory_order_relaxed);
}

/* Lock held. Everything that waits for the window is answered UP_BUSY. */
static void refuse_queue(struct mqtt *m)
{
    for (enum lane lane = 0; lane < LANES; lane++) {
        for (struct list *link; (link = list_pop_front(&m->queue[lane])) != NULL;) {
            struct item *const it = container_of(link, struct item, link);
            discharge(m, it);
            it->event.result = UP_BUSY;
            inbox_push(m, it);
        }
    }
}

/* Lock held. `it` stays behind as an orphan, because Paho has its address; a copy goes to the loop.
 * Out of memory: only when Paho answers. */
static void orphan(struct mqtt *m, struct item *it)
{
    struct item *const answer = item_new(m, it->event.topic.len);
    const bool resumes = it->request == UP_PUBLISH && it->event.qos > 0;
    const bool doubt = it->request == UP_PUBLISH && it->event.qos == 2;

    list_unlink(&it->link);
    list_push_back(&m->orphans, &it->link);
    atomic_fetch_sub_explicit(&m->in_flight_count, 1, memory_order_relaxed);
    it->state = doubt ? ITEM_IN_DOUBT : ITEM_ABANDONED;
    if (resumes)
        m->resuming++;
    else
        m->stranded++;
    if (answer == NULL)
        return;
    answer->event = it->event;
    answer->event.result = doubt ? UP_IN_DOUBT : UP_BUSY;
    answer->event.topic = bytes_of(answer->text, it->event.topic.len);
    memcpy(answer->text, it->text, it->event.topic.len);
    if (doubt)
        answer->event.body = NULL; /* `it` keeps it, should it have to come back */
    else
        it->event.body = NULL;
    inbox_push(m, answer);
}

/* The connection is gone: the loop hears that, and the answer to everything that is open, at once. */
static void answer_everything(struct mqtt *m, const char *why)
{
    struct item *const news = disconnected_item(m, why);

    pthread_mutex_lock(&m->lock);
    if (news != NULL)
        inbox_push(m, news);
    for (struct list *link; (link = list_first(&m->in_flight)) != NULL;)
        orphan(m, container_of(link, struct item, link));
    refuse_queue(m);
    pthread_mutex_unlock(&m->lock);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void failed(struct worker *w, const char *why)
{
    const int64_t now_ms = mqtt_now_ms();

    answer_everything(w->m, why);
    w->phase = WAITING;
    w->due_ms = time_add(now_ms, backoff_failed(&w->backoff, now_ms));
}

static int create_handle(struct worker *w)
{
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer;
    options.MQTTVersion = MQTTVERSION_3_1_1;
    options.maxBufferedMessages = PAHO_QUEUE_MAX;
    options.persistQoS0 = 0;
    struct mqtt *const m = w->m;
    const struct mqtt_options *const o = &m->options;
    const bool kept = m->keep.store != NULL;
    int rc = MQTTAsync_createWithOptions(&w->handle, o->address, o->client_id,
                                         kept ? MQTTCLIENT_PERSISTENCE_USER
                                              : MQTTCLIENT_PERSISTENCE_NONE,
                                         kept ? &m->keep.calls : NULL, &options);
    if (rc == MQTTASYNC_SUCCESS)
        rc = MQTTAsync_setCallbacks(w->handle, m, on_lost, on_message, keep_on_delivered);
    return rc;
}

static void start_connecting(struct worker *w, bool purge)
{
    struct mqtt *const m = w->m;
    const struct mqtt_options *const o = &m->options;

    if (purge) {
        w->purged = false; /* until that has worked */
        keep_wipe(m);
    }
    pthread_mutex_lock(&m->lock);
    m->purging = purge;
    m->cut_why[0] = '\0';
    pthread_mutex_unlock(&m->lock);

    int rc = w->handle == NULL ? create_handle(w) : MQTTASYNC_SUCCESS;
    if (rc == MQTTASYNC_SUCCESS) {
        MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
        options.MQTTVersion = MQTTVERSION_3_1_1;
        options.keepAliveInterval = (int)o->keepalive_s;
        options.cleansession = purge;
        options.maxInflight = 65535; /* the window is ours: Paho's own costs a second per message */
        options.username = o->username;
        options.password = o->password;
        options.connectTimeout = CONNECT_TIMEOUT_S;
        options.retryInterval = NEVER_RESEND_S;
        options.automaticReconnect = 0;
        options.onSuccess = on_connected;
        options.onFailure = on_connect_failed;
        options.context = m;
        rc = MQTTAsync_connect(w->handle, &options);
    }
    w->phase = purge ? PURGING : CONNECTING;
    w->due_ms = mqtt_now_ms() + CONNECT_LOST_MS;
    if (rc != MQTTASYNC_SUCCESS && rc != MQTTASYNC_COMMAND_IGNORED) {
        char why[WHY_MAX];
        snprintf(why, sizeof why, "can't connect to %s: %s", m->server, MQTTAsync_strerror(rc));
        failed(w, why);
    }
}

static int close_connection(struct worker *w)
{
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer;
    options.onSuccess = on_closed;
    options.context = w->m;
    options.timeout = 0;
    return MQTTAsync_disconnect(w->handle, &options);
}

static bool inbox_over(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    const bool over =
        m->inbox_messages > m->options.max_inbox || m->inbox_bytes > m->options.max_inbox_bytes;
    pthread_mutex_unlock(&m->lock);
    return over;
}

static bool too_many_stranded(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    const bool many = m->stranded > STRANDED_MAX;
    pthread_mutex_unlock(&m->lock);
    return many;
}

/* ---- online ---------------------------------------------------------------------------------- */

/* Milliseconds since the broker last sent anything; 0 when that can't be known. Paho itself gives a
 * broker 2.5 keep-alives before it notices; the kernel knows when data last came. */
static int64_t broker_silence_ms(struct mqtt *m)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    pthread_mutex_lock(&m->lock);
    const bool known = m->socket >= 0 &&
                       getsockopt(m->socket, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
                       len > offsetof(struct tcp_info, tcpi_last_ack_recv);
    pthread_mutex_unlock(&m->lock);
    return known ? info.tcpi_last_data_recv : 0;
}

/* With a store, messages need not wait for a broker that has stopped answering: it has so long, and
 * what it keeps to itself is spooled. */
static bool is_stalled(struct worker *w, int64_t now_ms, int64_t silence_ms)
{
    const struct mqtt *const m = w->m;
    if (m->keep.store == NULL || atomic_load(&m->in_flight_count) == 0) {
        w->asked_ms = 0;
        return false;
    }
    if (w->asked_ms == 0 || now_ms - silence_ms > w->asked_ms)
        w->asked_ms = w->asked_ms == 0 ? now_ms : now_ms - silence_ms;
    return now_ms - w->asked_ms >= STALLED_MS;
}

/* After a keep-alive and something without a sign of life Paho pings; the broker has the rest of
 * 1.5 keep-alives to answer. Paho can't ping while a write is stuck, so no more is written after
 * one keep-alive of silence. */
static void supervise(struct worker *w, int64_t now_ms)
{
    enum { SLACK_MS = 250, FLOOR_MS = 20 };

    struct mqtt *const m = w->m;
    const int64_t keepalive_ms = (int64_t)m->options.keepalive_s * 1000;
    const int64_t limit_ms = keepalive_ms * 3 / 2 - SLACK_MS;
    const int64_t silence_ms = broker_silence_ms(m);

    w->hold = silence_ms >= keepalive_ms && atomic_load(&m->in_flight_count) > 0;
    const bool stalled = is_stalled(w, now_ms, silence_ms);
    if (silence_ms >= limit_ms || stalled) {
        const int64_t waited_ms = stalled ? now_ms - w->asked_ms : silence_ms;
        char why[WHY_MAX];
        snprintf(why, sizeof why, "the broker did not answer for %lld s",
                 (long long)(waited_ms + 500) / 1000);
        pthread_mutex_lock(&m->lock);
        mqtt_cut(m, why);
        pthread_mutex_unlock(&m->lock);
        w->due_ms = now_ms + TICK_MS;
        return;
    }
    const int64_t left_ms = limit_ms - silence_ms;
    w->due_ms = now_ms + time_min(TICK_MS, left_ms > FLOOR_MS ? left_ms : FLOOR_MS);
}

/* Paho did not take the request; its callbacks don't know the item. */
static void not_taken(struct mqtt *m, struct item *it, int rc)
{
    pthread_mutex_lock(&m->lock);
    list_unlink(&it->link);
    atomic_fetch_sub_explicit(&m->in_flight_count, 1, memory_order_relaxed);
    if (item_lane(it) == LANE_QOS2)
        m->qos2_count--;
    const bool ours = rc == MQTTASYNC_BAD_UTF8_STRING || rc == MQTTASYNC_BAD_QOS;
    it->event.result = ours ? UP_REFUSED : UP_BUSY;
    inbox_push(m, it);
    pthread_mutex_unlock(&m->lock);
}

/* Paho copies topic and payload before it makes the request known to its threads; from then on the
 * item may be answered and freed at any time. */
static void give_to_paho(struct worker *w, struct item *it)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.onSuccess = on_answer;
    options.onFailure = on_failure;
    options.context = it;

    struct body *const body = body_ref(it->event.body);
    const struct bytes payload = body_bytes(body);
    int rc = MQTTASYNC_FAILURE;
    keep_giving(w->m, it);
    switch (it->request) {
    case UP_PUBLISH:
        rc = MQTTAsync_send(w->handle, it->text, (int)payload.len,
                            payload.len > 0 ? (const void *)payload.data : "", it->event.qos,
                            it->event.retain, &options);
        break;
    case UP_SUBSCRIBE:
        rc = MQTTAsync_subscribe(w->handle, it->text, it->event.qos, &options);
        break;
    case UP_UNSUBSCRIBE:
        rc = MQTTAsync_unsubscribe(w->handle, it->text, &options);
        break;
    }
    keep_giving(w->m, NULL);
    body_unref(body);
    if (rc != MQTTASYNC_SUCCESS)
        not_taken(w->m, it, rc);
}

/* Lock held. */
static bool can_hand_over(const struct worker *w, enum lane lane)
{
    return !w->hold && !list_empty(&w->m->queue[lane]) && mqtt_window_room(w->m, lane) > 0;
}

/* Lock held. */
static struct item *take_one(struct mqtt *m, enum lane lane)
{
    struct list *const link = m->queue[lane].next; /* there is one: can_hand_over() */
    list_unlink(link);
    struct item *const it = container_of(link, struct item, link);
    it->state = ITEM_IN_FLIGHT;
    discharge(m, it);
    list_push_back(&m->in_flight, &it->link);
    atomic_fetch_add_explicit(&m->in_flight_count, 1, memory_order_relaxed);
    if (lane == LANE_QOS2)
        m->qos2_count++;
    return it;
}

/* The lanes take turns while both have something to send. */
static unsigned take_batch(struct worker *w, struct item *batch[BATCH])
{
    struct mqtt *const m = w->m;
    unsigned n = 0;

    pthread_mutex_lock(&m->lock);
    for (bool more = true; more;) {
        more = false;
        for (enum lane lane = 0; lane < LANES; lane++) {
            if (n < BATCH && can_hand_over(w, lane)) {
                batch[n++] = take_one(m, lane);
                more = true;
            }
        }
    }
    pthread_mutex_unlock(&m->lock);
    return n;
}

static void hand_over(struct worker *w)
{
    struct item *batch[BATCH];

    for (unsigned n; (n = take_batch(w, batch)) > 0;) {
        for (unsigned i = 0; i < n; i++)
            give_to_paho(w, batch[i]);
        atomic_store(&w->m->heartbeat_ms, mqtt_now_ms());
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Lock held. */
static bool queued(const struct mqtt *m)
{
    return !list_empty(&m->queue[LANE_PLAIN]) || !list_empty(&m->queue[LANE_QOS2]);
}

/* Lock held. */
static bool has_work(const struct worker *w)
{
    const struct mqtt *const m = w->m;

    if (m->notes.connected || m->notes.failed || m->notes.lost || m->notes.closed)
        return true;
    if (m->stopping && (!w->saw_stop || mqtt_window_used(m) == 0))
        return true;
    if (w->phase != ONLINE)
        return queued(m);
    return can_hand_over(w, LANE_PLAIN) || can_hand_over(w, LANE_QOS2);
}

/* Sleeps until there is work or something is due; returns what the callbacks noted. */
static struct notes wait_for_work(struct worker *w, char why[WHY_MAX])
{
    struct mqtt *const m = w->m;
    const int64_t until_ms = time_min(w->due_ms, mqtt_now_ms() + TICK_MS);
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    pthread_mutex_lock(&m->lock);
    while (!has_work(w)) {
        m->starved = w->phase == ONLINE && queued(m);
        if (pthread_cond_timedwait(&m->work, &m->lock, &until) != 0)
            break;
    }
    m->starved = false;
    w->saw_stop = m->stopping;
    const struct notes notes = m->notes;
    m->notes = (struct notes){false};
    memcpy(why, m->why, WHY_MAX);
    pthread_mutex_unlock(&m->lock);
    return notes;
}

static void when_connected(struct worker *w)
{
    const int64_t now_ms = mqtt_now_ms();

    if (w->phase == PURGING) {
        w->phase = PURGED;
        w->due_ms = now_ms + PURGE_CLOSE_MS;
        if (close_connection(w) != MQTTASYNC_SUCCESS)
            w->due_ms = now_ms;
        return;
    }
    w->phase = ONLINE;
    w->hold = false;
    w->asked_ms = 0;
    w->due_ms = now_ms;
    backoff_connected(&w->backoff, now_ms);
}

static void release_socket(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    if (m->socket >= 0)
        close(m->socket);
    m->socket = -1;
    pthread_mutex_unlock(&m->lock);
}

/* The broker has wiped its side: whether it was us or the broker who closed does not matter. */
static void after_purge(struct worker *w)
{
    w->purged = true;
    keep_begin(w->m);
    release_socket(w->m);
    start_connecting(w, false);
}

static void handle_notes(struct worker *w, struct notes notes, const char *why)
{
    if (notes.connected)
        when_connected(w);
    if (w->phase == PURGED && (notes.closed || notes.lost)) {
        after_purge(w);
    } else if (notes.lost || notes.failed) {
        release_socket(w->m);
        failed(w, why);
    }
}

static void handle_due(struct worker *w, int64_t now_ms)
{
    if (now_ms < w->due_ms)
        return;
    switch (w->phase) {
    case WAITING:
        if (inbox_over(w->m))
            w->due_ms = now_ms + INBOX_FULL_RETRY_MS;
        else
            start_connecting(w, !w->purged || too_many_stranded(w->m));
        break;
    case PURGED:
        after_purge(w);
        break;
    case ONLINE:
        supervise(w, now_ms);
        break;
    case PURGING:
    case CONNECTING: /* Paho drops a CONNECT without a word when it believes to be connected */
        close_connection(w);
        failed(w, "no answer from the Paho library: starting over");
        break;
    }
}

/* False when it is time to end. */
static bool may_go_on(struct worker *w)
{
    struct mqtt *const m = w->m;

    pthread_mutex_lock(&m->lock);
    const bool drained = atomic_load(&m->in_flight_count) == 0 && !queued(m);
    const bool end =
        m->stopping && (w->phase != ONLINE || drained || mqtt_now_ms() >= m->stop_at_ms);
    if (m->stopping && m->stop_at_ms < w->due_ms)
        w->due_ms = m->stop_at_ms;
    if (w->phase != ONLINE)
        refuse_queue(m); /* submitted before the loop saw that the connection is away */
    pthread_mutex_unlock(&m->lock);
    return !end;
}

static void wait_until_closed(struct mqtt *m)
{
    const int64_t until_ms = mqtt_now_ms() + STOP_CLOSE_MS;
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    pthread_mutex_lock(&m->lock);
    while (!m->notes.closed && !m->notes.lost &&
           pthread_cond_timedwait(&m->work, &m->lock, &until) == 0)
        ;
    mqtt_cut(m, "stopping"); /* a broker that does not read keeps Paho from closing */
    pthread_mutex_unlock(&m->lock);
}

/* After destroy Paho calls nothing of ours any more. */
static void end(struct worker *w)
{
    struct mqtt *const m = w->m;

    if (w->handle != NULL) {
        if (w->phase == ONLINE && close_connection(w) == MQTTASYNC_SUCCESS)
            wait_until_closed(m);
        MQTTAsync_destroy(&w->handle);
    }
    pthread_mutex_lock(&m->lock);
    m->finished = true;
    pthread_cond_signal(&m->ended);
    const bool forsaken = m->forsaken;
    pthread_mutex_unlock(&m->lock);
    if (forsaken)
        mqtt_free(m);
}

void *mqtt_worker(void *arg)
{
    struct mqtt *const m = arg;
    struct worker w = {.m = m, .phase = WAITING, .due_ms = mqtt_now_ms()};
    char why[WHY_MAX];

    backoff_init(&w.backoff, m->options.backoff_min_ms, m->options.backoff_max_ms, m->options.seed);
    w.purged = keep_recall(m);
    m->resumable = w.purged;
    while (may_go_on(&w)) {
        const struct notes notes = wait_for_work(&w, why);
        const int64_t now_ms = mqtt_now_ms();
        atomic_store(&m->heartbeat_ms, now_ms);
        handle_notes(&w, notes, why);
        handle_due(&w, now_ms);
        if (w.phase == ONLINE)
            hand_over(&w);
    }
    end(&w);
    return NULL;
}
