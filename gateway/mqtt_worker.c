/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the worker does for one connection (docs/adr/0004).
 *
 *     WAITING --due--> QUEUED --turn--> PURGING --> PURGED --> CONNECTING --> ONLINE
 *        ^            (host name, tunnel)  |                       |            |
 *        +---------------------------------+------- failed --------+--- lost ---+
 *
 *     any --stop--> mqtt_end.c
 *
 * The first connection is a clean one and only wipes what somebody else left at the broker: an earlier
 * process, if there is no store. After that the session is kept (cleansession 0), so that QoS 1 and
 * 2 survive a broken connection. A clean one is also used when too many orphans are stranded inside Paho: Paho never answers a
 * SUBSCRIBE that was open when the connection broke, and keeps it, until the session is cleaned.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"

#include "mqtt_priv.h"

enum {
    CONNECT_LOST_MS = 30000,   /* Paho has forgotten us */
    LOOKUP_MS = 10000,         /* for a name server to answer */
    PURGE_CLOSE_MS = 5000,     /* for the DISCONNECT after the purge */
    INBOX_FULL_RETRY_MS = 100, /* no connection while the inbox is over its bounds */
    STALLED_MS = 5000,         /* the broker owes an answer for so long (with a store) */
    STRANDED_MAX = 1024,
    BUSY_PAUSE_MS = 500, /* when the broker refuses a message for now */
    BUSY_PAUSE_MAX_MS = 30000,
};

/* ---- answers of our own ---------------------------------------------------------------------- */

static struct item *disconnected_item(struct mqtt *m, const char *why, uint8_t refusal)
{
    const size_t len = strlen(why) + 1;
    const char *const address = dial_target(&m->dial)->uri;
    struct item *const it = item_new(m, len + strlen(address));
    if (it == NULL)
        return NULL;
    memcpy(it->text, why, len);
    memcpy(it->text + len, address, strlen(address));
    it->event = (struct up_event){
        .type = UP_DISCONNECTED,
        .why = it->text,
        .address = it->text + len,
        .refused = refusal != 0,
        .code = refusal,
    };
    return it;
}

/* Lock held. Everything that waits for the window is answered UP_BUSY. */
static void refuse_queue(struct mqtt *m)
{
    for (enum lane lane = 0; lane < LANES; lane++) {
        for (struct list *link; (link = list_pop_front(&m->queue[lane])) != NULL;) {
            struct item *const it = container_of(link, struct item, link);
            mqtt_discharge(m, it);
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
    const bool resumes = it->request == UP_PUBLISH && it->wire_qos > 0;
    const bool doubt = it->request == UP_PUBLISH && it->wire_qos == 2;

    list_unlink(&it->link);
    list_push_back(&m->orphans, &it->link);
    item_flies(m, it, false);
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
static void answer_everything(struct mqtt *m, const char *why, uint8_t refusal, bool renews)
{
    struct item *const news = disconnected_item(m, why, refusal);

    pthread_mutex_lock(&m->lock);
    if (news != NULL) {
        news->event.taken_over = m->taken_over;
        news->event.explained = m->explained;
        news->event.renews = renews;
        inbox_push(m, news);
    }
    m->taken_over = false;
    m->explained = false;
    m->untold = false;
    for (struct list *link; (link = list_pop_front(&m->early)) != NULL;)
        inbox_push(m, container_of(link, struct item, link));
    for (struct list *link; (link = list_first(&m->in_flight)) != NULL;)
        orphan(m, container_of(link, struct item, link));
    refuse_queue(m);
    m->starved = false;
    pthread_mutex_unlock(&m->lock);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void failed(struct worker *w, const char *why, uint8_t refusal)
{
    struct mqtt *const m = connection_of(w);
    const int64_t now_ms = mqtt_now_ms();
    const bool was_online = w->phase == ONLINE;

    answer_everything(m, why, refusal, was_online && w->renews);
    primary_end(m);
    if (w->purged)
        keep_spare(m);
    const bool returns = was_online && (w->returns || w->renews);
    const bool was_good = backoff_lost(&w->backoff, now_ms);
    /* A pause comes after the last address; also after a good connection, which was most often lost for a
     * moment only. */
    const bool begins_anew = returns || was_good;
    if (begins_anew)
        dial_first(m);
    const bool at_once = begins_anew ? returns : dial_next(m);
    const int64_t wait_ms = at_once ? 0 : backoff_pause(&w->backoff);
    const bool again = m->options.reconnect || at_once;
    w->returns = false;
    w->renews = false;
    w->phase = again ? WAITING : IDLE;
    w->due_ms = again ? time_add(now_ms, wait_ms) : TIME_NEVER;
}

/* Paho's turn. */
static void connect_through_paho(struct worker *w, bool purge)
{
    struct mqtt *const m = connection_of(w);
    const bool clean = purge || m->options.session == MQTT_SESSION_CLEAN;
    char why[WHY_MAX] = "";

    int rc = dial_create(m, &w->handle);
    if (rc == MQTTASYNC_SUCCESS)
        rc = dial_connect(m, w->handle, clean, why, sizeof why);
    w->phase = purge ? PURGING : CONNECTING;
    w->due_ms = mqtt_now_ms() + CONNECT_LOST_MS;
    if (rc != MQTTASYNC_SUCCESS && rc != MQTTASYNC_COMMAND_IGNORED) {
        if (why[0] == '\0')
            snprintf(why, sizeof why, "can't connect to %s: %s", dial_target(&m->dial)->server,
                     MQTTAsync_strerror(rc));
        failed(w, why, 0);
    }
}

/* The host name is known, or known to be unknown. */
static void go_on_connecting(struct worker *w, bool purge)
{
    struct mqtt *const m = connection_of(w);
    const int unknown = dial_lookup_error(m);
    char why[WHY_MAX];

    if (unknown != 0) {
        snprintf(why, sizeof why, "host name in %s can't be resolved: %s", dial_first_server(m),
                 gai_strerror(unknown));
        failed(w, why, 0);
    } else if (!dial_needs_tunnel(m)) {
        connect_through_paho(w, purge);
    } else if (dial_begin_tunnel(m, why, sizeof why)) {
        w->phase = TUNNELLING;
        w->purge = purge;
        w->due_ms = TIME_NEVER; /* the dialer keeps an eye on the time */
    } else {
        failed(w, why, 0);
    }
}

static void after_tunnel(struct worker *w)
{
    char why[WHY_MAX];

    if (dial_take_tunnel(connection_of(w), why, sizeof why))
        connect_through_paho(w, w->purge);
    else
        failed(w, why, 0);
}

static void start_connecting(struct worker *w, bool purge)
{
    struct mqtt *const m = connection_of(w);

    /* What is under way can't go on in another version, nor at another broker. */
    const bool other = dial_needs_other_handle(m);
    const bool stale = m->options.session == MQTT_SESSION_OURS && dial_is_stale(m);
    purge = purge || (other && !keep_is_empty(m));
    if (purge)
        w->purged = false;  /* until that has worked */
    purge = purge || stale; /* if that fails, the session is still where it was */
    if (purge)
        keep_wipe(m);
    pthread_mutex_lock(&m->lock);
    m->purging = purge;
    m->cut_why[0] = '\0';
    pthread_mutex_unlock(&m->lock);

    if (dial_look_up(m)) {
        go_on_connecting(w, purge);
        return;
    }
    w->phase = LOOKING_UP;
    w->purge = purge;
    w->due_ms = mqtt_now_ms() + LOOKUP_MS;
}

static int close_connection(struct worker *w)
{
    return dial_close(connection_of(w), w->handle);
}

static bool inbox_over(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    const bool over =
        m->inbox_messages > m->options.max_inbox || m->inbox_bytes > m->options.max_inbox_bytes;
    pthread_mutex_unlock(&m->lock);
    return over;
}

/* Paho lets go of what is stranded when the session ends. */
static bool too_many_stranded(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    const bool many = m->stranded > STRANDED_MAX;
    pthread_mutex_unlock(&m->lock);
    return many;
}

static bool has_to_purge(struct mqtt *m)
{
    return m->options.session == MQTT_SESSION_OURS && (!m->worker.purged || too_many_stranded(m));
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
    struct mqtt *const m = connection_of(w);
    if (m->keep.store == NULL || atomic_load(&m->owed_count) == 0) {
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

    struct mqtt *const m = connection_of(w);
    const int64_t keepalive_ms = (int64_t)m->dial.keepalive_s * 1000;
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
        w->due_ms = now_ms + SUPERVISE_MS;
        return;
    }
    const int64_t left_ms = limit_ms - silence_ms > FLOOR_MS ? limit_ms - silence_ms : FLOOR_MS;
    const bool is_owed = atomic_load(&m->in_flight_count) > 0; /* else mqtt_hand_over() tells */
    w->due_ms = now_ms + (is_owed ? time_min(SUPERVISE_MS, left_ms) : left_ms);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* What the callbacks have noted. */
static struct notes take_notes(struct mqtt *m, char why[WHY_MAX], uint8_t *refusal)
{
    pthread_mutex_lock(&m->lock);
    const struct notes notes = m->notes;
    m->notes = (struct notes){false};
    if (notes.lost || notes.failed)
        memcpy(why, m->why, WHY_MAX);
    *refusal = m->refusal;
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
    w->busy_until_ms = 0;
    w->busy_ms = 0;
    dial_settled(connection_of(w));
    primary_begin(connection_of(w), now_ms);
    w->asked_ms = 0;
    w->due_ms = now_ms;
    backoff_connected(&w->backoff, now_ms);
}

/* The broker has wiped its side: whether it was us or the broker who closed does not matter. */
static void after_purge(struct worker *w)
{
    w->purged = true;
    dial_settled(connection_of(w));
    keep_begin(connection_of(w));
    start_connecting(w, false);
}

/* It has no room for us: asked twice a second for an hour it would have less. */
static void pause_for_broker(struct worker *w)
{
    w->busy_ms = w->busy_ms == 0 ? BUSY_PAUSE_MS : time_min(2 * w->busy_ms, BUSY_PAUSE_MAX_MS);
    w->busy_until_ms = mqtt_now_ms() + w->busy_ms;
}

static void handle_notes(struct worker *w, struct notes notes, const char *why, uint8_t refusal)
{
    if (w->phase >= CLOSING) {
        end_hear(w, notes);
        return;
    }
    if (notes.connected)
        when_connected(w);
    if (notes.taken)
        w->busy_ms = 0;
    if (notes.busy)
        pause_for_broker(w);
    if (w->phase == LOOKING_UP && notes.looked_up) {
        go_on_connecting(w, w->purge);
    } else if (w->phase == TUNNELLING && notes.tunnelled) {
        after_tunnel(w);
    } else if (w->phase == PURGED && (notes.closed || notes.lost)) {
        after_purge(w);
    } else if (notes.failed && w->phase != QUEUED && dial_other_version(connection_of(w))) {
        start_connecting(w, has_to_purge(connection_of(w)));
    } else if (notes.failed && w->phase != QUEUED && dial_lesser_will(connection_of(w), refusal)) {
        start_connecting(w, has_to_purge(connection_of(w)));
    } else if ((w->returns || w->renews) && (notes.closed || notes.lost)) {
        failed(w,
               w->renews ? "the configuration or a certificate has changed"
                         : "the first address answers again",
               0);
    } else if (notes.lost || notes.failed) {
        failed(w, why, refusal);
    }
}

static void start_over(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);

    if (inbox_over(m)) {
        w->due_ms = now_ms + INBOX_FULL_RETRY_MS;
        return;
    }
    w->phase = QUEUED;
    w->due_ms = TIME_NEVER;
    if (host_admit(m, now_ms))
        start_connecting(w, has_to_purge(m));
}

static void handle_due(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);
    char why[WHY_MAX];

    if (now_ms < w->due_ms)
        return;
    switch (w->phase) {
    case FRESH: /* never due */
    case WAITING_FOR_ELDER:
    case IDLE:
    case QUEUED:
    case TUNNELLING:
    case ENDED:
        break;
    case WAITING:
        start_over(w, now_ms);
        break;
    case PURGED:
        after_purge(w);
        break;
    case ONLINE:
        supervise(w, now_ms);
        if (!w->returns && primary_is_back(m, now_ms))
            w->returns = close_connection(w) == MQTTASYNC_SUCCESS;
        w->due_ms =
            time_min(w->due_ms, m->primary.next_ms > now_ms ? m->primary.next_ms : w->due_ms);
        change_look(w, now_ms);
        break;
    case LOOKING_UP: /* the thread that looks goes on */
        dial_forget_lookup(m);
        snprintf(why, sizeof why, "host name in %s can't be resolved: no name server answers",
                 dial_first_server(m));
        failed(w, why, 0);
        break;
    case PURGING:
    case CONNECTING: /* Paho drops a CONNECT without a word when it believes to be connected */
        close_connection(w);
        failed(w, "no answer from the Paho library: starting over", 0);
        break;
    case CLOSING:
    case CUTTING:
    case LEAVING:
        end_go_on(w, now_ms);
        break;
    }
}

static void look_for_end(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);

    pthread_mutex_lock(&m->lock);
    /* The loop may have heard of the connection before we do. */
    const bool is_up = w->phase == ONLINE || (m->notes.connected && !m->purging);
    /* Whose CONNECT has left may leave a will behind, if DISCONNECT does not follow. */
    const bool may_leave_will =
        w->phase == CONNECTING && m->unwatched && !m->aborting && m->will_topic != NULL;
    const bool drained = atomic_load(&m->in_flight_count) == 0 && !mqtt_is_queued(m);
    const bool end = m->stopping && ((!is_up && !may_leave_will) || (is_up && drained) ||
                                     now_ms >= m->stop_at_ms || end_is_hurried(w));
    if (m->wanted && (w->phase == IDLE || w->phase == WAITING)) {
        w->phase = WAITING;
        w->due_ms = now_ms;
    }
    m->wanted = false;
    if (m->stopping && m->stop_at_ms < w->due_ms)
        w->due_ms = m->stop_at_ms;
    if (!is_up)
        refuse_queue(m); /* submitted before the loop saw that the connection is away */
    pthread_mutex_unlock(&m->lock);
    if (end)
        end_begin(w, now_ms, is_up);
}

static void begin(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);
    const struct mqtt_options *const o = &m->options;

    w->phase = WAITING_FOR_ELDER;
    w->due_ms = TIME_NEVER;
    if (w->elder != NULL)
        return;
    backoff_init(&w->backoff, o->backoff_min_ms, o->backoff_max_ms, o->seed);
    w->purged = keep_recall(m, dial_fixed_version(m));
    dial_begin(m, m->keep.version);
    m->resumable = w->purged;
    w->phase = WAITING;
    w->due_ms = now_ms;
}

/* Or about to: it has a place in the lobby or among those that may. */
static bool is_connecting(enum phase phase)
{
    return phase == QUEUED || phase == LOOKING_UP || phase == TUNNELLING || phase == PURGING ||
           phase == PURGED || phase == CONNECTING;
}

/* What follows from what has been done. */
static void settle_down(struct worker *w, int64_t now_ms)
{
    if (now_ms >= w->busy_until_ms)
        w->busy_until_ms = 0;
    if (w->phase == ONLINE && !w->renews)
        mqtt_hand_over(connection_of(w));
    if (w->busy_until_ms != 0)
        w->due_ms = time_min(w->due_ms, w->busy_until_ms);
    if (w->phase < CLOSING)
        look_for_end(w, now_ms);
    if (w->phase == ENDED) {
        end_for_good(w);
        return;
    }
    if (!is_connecting(w->phase))
        host_leave(connection_of(w));
    deadline_arm(&connection_of(w)->host->deadlines, &w->due, w->due_ms);
}

void mqtt_step(struct mqtt *m, int64_t now_ms)
{
    struct worker *const w = &m->worker;
    char why[WHY_MAX] = "";
    uint8_t refusal;

    if (w->phase == FRESH)
        names_enter(m);
    if (w->phase == FRESH || w->phase == WAITING_FOR_ELDER)
        begin(w, now_ms);
    const struct notes notes = take_notes(m, why, &refusal);
    handle_notes(w, notes, why, refusal);
    change_step(w, now_ms);
    handle_due(w, now_ms);
    settle_down(w, now_ms);
}

void mqtt_step_in(struct mqtt *m, int64_t now_ms)
{
    struct worker *const w = &m->worker;

    change_step(w, now_ms);
    start_connecting(w, has_to_purge(m));
    settle_down(w, now_ms);
}
