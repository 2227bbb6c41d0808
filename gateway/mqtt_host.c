/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker thread: it sleeps until something has happened to one of its connections or is due, and
 * looks at that connection only. What grows with their number is a heap of deadlines; there is no
 * scan. docs/adr/0004.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

#include "mqtt_priv.h"
#include "thread.h"

enum {
    TICK_MS = 2000, /* heartbeat: a fraction of any watchdog */
    STOP_GRACE_MS = 1900,
    CLOSE_DRAIN_MS = 2000, /* of mqtt_close(): for what was submitted */
    /* An attempt that takes longer than this is waiting, not working: the next may go. So brokers that
     * do not answer hold nobody up. */
    SLOT_MS = 1000,
    PACE_DEADLINE = 1, /* kind; those of connections are 0 */
};

static struct timespec timespec_of(int64_t at_ms)
{
    return (struct timespec){.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};
}

/* ---- from other threads ---------------------------------------------------------------------- */

/* Lock held. True: the worker sleeps, and is to be woken. It has the lock to take first, so it is woken
 * when that is free. */
static bool add_work(struct mqtt_host *h, struct mqtt *m)
{
    if (!list_linked(&m->work))
        list_push_back(&h->work, &m->work);
    const bool asleep = h->asleep;
    h->asleep = false;
    return asleep;
}

void host_kick(struct mqtt *m)
{
    struct mqtt_host *const h = m->host;

    pthread_mutex_lock(&h->lock);
    const bool asleep = add_work(h, m);
    pthread_mutex_unlock(&h->lock);
    if (asleep)
        sem_post(&h->bell);
}

void host_tell(struct mqtt *m)
{
    struct mqtt_host *const h = m->host;

    if (m->listed || m->deaf)
        return;
    m->listed = true;
    pthread_mutex_lock(&h->lock);
    list_push_back(&h->ready, &m->turn);
    if (!h->woken) {
        h->woken = true;
        h->wake(h->wake_arg);
    }
    pthread_mutex_unlock(&h->lock);
}

void host_untell(struct mqtt *m)
{
    struct mqtt_host *const h = m->host;

    m->listed = false;
    pthread_mutex_lock(&h->lock);
    list_unlink(&m->turn);
    h->woken = h->woken && !list_empty(&h->ready);
    pthread_mutex_unlock(&h->lock);
}

/* ---- loop thread ----------------------------------------------------------------------------- */

void host_add(struct mqtt_host *h, struct mqtt *m)
{
    m->host = h;
    if (h->started == 0)
        h->name_seed = (struct hash_seed){.k0 = m->options.seed, .k1 = ~m->options.seed};
    m->options.seed +=
        UINT64_C(0x9E3779B97F4A7C15) * h->started++; /* so that their jitter differs */
    list_push_back(&h->all, &m->all);
    pthread_mutex_lock(&h->lock);
    h->connections++;
    const bool asleep = add_work(h, m);
    pthread_mutex_unlock(&h->lock);
    if (asleep)
        sem_post(&h->bell);
}

/* Is there something that the loop has not taken? Else the next event lists it again. */
static bool has_more(struct mqtt *m)
{
    pthread_mutex_lock(&m->lock);
    m->listed = !list_empty(&m->taken) || !list_empty(&m->inbox);
    const bool more = m->listed;
    pthread_mutex_unlock(&m->lock);
    return more;
}

struct mqtt *mqtt_host_next_ready(struct mqtt_host *h)
{
    struct mqtt *const served = h->served;

    h->served = NULL;
    if (served != NULL && has_more(served))
        list_push_back(&h->turns, &served->turn);
    pthread_mutex_lock(&h->lock);
    list_splice(&h->turns, &h->ready);
    struct list *const link = list_pop_front(&h->turns);
    h->woken = link != NULL;
    pthread_mutex_unlock(&h->lock);
    if (link != NULL)
        h->served = container_of(link, struct mqtt, turn);
    return h->served;
}

void mqtt_host_flush(struct mqtt_host *h)
{
    struct list due;
    bool asleep = false;

    list_init(&due);
    for (struct list *link; (link = list_pop_front(&h->dirty)) != NULL;) {
        if (mqtt_hand_in(container_of(link, struct mqtt, dirty)))
            list_push_back(&due, link);
    }
    if (list_empty(&due))
        return;
    pthread_mutex_lock(&h->lock);
    for (struct list *link; (link = list_pop_front(&due)) != NULL;)
        asleep = add_work(h, container_of(link, struct mqtt, dirty)) || asleep;
    pthread_mutex_unlock(&h->lock);
    if (asleep)
        sem_post(&h->bell);
}

int64_t mqtt_host_heartbeat_ms(const struct mqtt_host *h)
{
    return atomic_load(&h->heartbeat_ms);
}

/* ---- who may connect ------------------------------------------------------------------------- */

static bool is_paced(const struct mqtt_host *h)
{
    return h->options.connects_at_once > 0;
}

/* When the rate allows one more; a burst of as many as may be under way is free. */
static int64_t allowed_at_ms(const struct mqtt_host *h, int64_t now_ms)
{
    const struct mqtt_host_options *const o = &h->options;
    if (o->connects_per_s == 0)
        return now_ms;
    const int64_t burst_us = (int64_t)o->connects_at_once * 1000000 / o->connects_per_s;
    const int64_t at_ms = (h->pace_us - burst_us + 999) / 1000;
    return at_ms > now_ms ? at_ms : now_ms;
}

static void give_slot(struct mqtt_host *h, struct mqtt *m, int64_t now_ms)
{
    struct worker *const w = &m->worker;

    w->slot_since_ms = now_ms;
    list_push_back(&h->slots, &w->place);
    h->slots_used++;
    if (h->options.connects_per_s > 0) {
        if (h->pace_us < now_ms * 1000)
            h->pace_us = now_ms * 1000;
        h->pace_us += 1000000 / h->options.connects_per_s;
    }
}

static void take_slot(struct mqtt_host *h, struct worker *w)
{
    list_unlink(&w->place);
    w->slot_since_ms = TIME_NEVER;
    h->slots_used--;
}

static void expire_slots(struct mqtt_host *h, int64_t now_ms)
{
    for (struct list *link; (link = list_first(&h->slots)) != NULL;) {
        struct worker *const w = container_of(link, struct worker, place);
        if (now_ms - w->slot_since_ms < SLOT_MS)
            break;
        take_slot(h, w);
    }
}

/* When the first of the lobby may go. */
static int64_t next_entry_ms(struct mqtt_host *h, int64_t now_ms)
{
    expire_slots(h, now_ms);
    struct list *const oldest = list_first(&h->slots);
    if (oldest == NULL || h->slots_used < h->options.connects_at_once)
        return allowed_at_ms(h, now_ms);
    return container_of(oldest, struct worker, place)->slot_since_ms + SLOT_MS;
}

static void open_lobby(struct mqtt_host *h, int64_t now_ms)
{
    for (struct list *link; (link = list_first(&h->lobby)) != NULL;) {
        const int64_t at_ms = next_entry_ms(h, now_ms);
        if (at_ms > now_ms) {
            deadline_arm(&h->deadlines, &h->pace, at_ms);
            return;
        }
        list_unlink(link);
        struct worker *const w = container_of(link, struct worker, place);
        struct mqtt *const m = container_of(w, struct mqtt, worker);
        give_slot(h, m, now_ms);
        mqtt_step_in(m, now_ms);
    }
    deadline_disarm(&h->deadlines, &h->pace);
}

bool host_admit(struct mqtt *m, int64_t now_ms)
{
    struct mqtt_host *const h = m->host;

    if (!is_paced(h))
        return true;
    host_leave(
        m); /* an attempt that has just failed, and is repeated without a pause, has a place */
    if (list_empty(&h->lobby) && next_entry_ms(h, now_ms) <= now_ms) {
        give_slot(h, m, now_ms);
        return true;
    }
    list_push_back(&h->lobby, &m->worker.place);
    if (!deadline_armed(&h->pace))
        deadline_arm(&h->deadlines, &h->pace, next_entry_ms(h, now_ms));
    return false;
}

void host_leave(struct mqtt *m)
{
    struct mqtt_host *const h = m->host;
    struct worker *const w = &m->worker;

    if (!list_linked(&w->place))
        return;
    if (w->slot_since_ms == TIME_NEVER) {
        list_unlink(&w->place);
        return;
    }
    take_slot(h, w);
    if (!list_empty(&h->lobby))
        deadline_arm(&h->deadlines, &h->pace, 0); /* soon */
}

/* ---- the worker ------------------------------------------------------------------------------ */

/* The next connection to look at; NULL: something is due, it is time for a heartbeat, or for the end. */
static struct mqtt *next_work(struct mqtt_host *h)
{
    const int64_t until_ms = time_min(deadlines_next(&h->deadlines), mqtt_now_ms() + TICK_MS);
    const struct timespec until = timespec_of(until_ms > 0 ? until_ms : 0);

    pthread_mutex_lock(&h->lock);
    for (bool late = false;
         !late && list_empty(&h->work) && !(h->stopping && h->connections == 0);) {
        h->asleep = true;
        pthread_mutex_unlock(&h->lock);
        late = sem_clockwait(&h->bell, CLOCK_MONOTONIC, &until) != 0 && errno == ETIMEDOUT;
        pthread_mutex_lock(&h->lock);
    }
    h->asleep = false;
    struct list *const link = list_pop_front(&h->work);
    pthread_mutex_unlock(&h->lock);
    return link != NULL ? container_of(link, struct mqtt, work) : NULL;
}

static void handle_due(struct mqtt_host *h, int64_t now_ms)
{
    if (deadlines_next(&h->deadlines) > now_ms)
        return;
    deadlines_collect(&h->deadlines, now_ms);
    for (struct deadline *due; (due = deadlines_take(&h->deadlines)) != NULL;) {
        if (due->kind == PACE_DEADLINE) {
            open_lobby(h, now_ms);
        } else {
            struct worker *const w = container_of(due, struct worker, due);
            mqtt_step(container_of(w, struct mqtt, worker), now_ms);
        }
    }
}

void host_finish(struct mqtt *m)
{
    struct mqtt_host *const h = m->host;

    host_leave(m);
    names_leave(m);
    deadline_disarm(&h->deadlines, &m->worker.due);
    pthread_mutex_lock(&h->lock);
    list_unlink(&m->work);
    h->connections--;
    m->finished = true;
    const bool forsaken = m->forsaken;
    pthread_cond_broadcast(&h->ended);
    pthread_mutex_unlock(&h->lock);
    if (forsaken)
        mqtt_free(m);
}

static bool is_over(struct mqtt_host *h)
{
    pthread_mutex_lock(&h->lock);
    const bool over = h->stopping && h->connections == 0;
    pthread_mutex_unlock(&h->lock);
    return over;
}

static void free_host(struct mqtt_host *h)
{
    hmap_deinit(&h->names);
    sem_destroy(&h->bell);
    pthread_cond_destroy(&h->ended);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static void *host_main(void *arg)
{
    struct mqtt_host *const h = arg;

    if (MQTTAsync_create(&h->anchor, "tcp://anchor", "anchor", MQTTCLIENT_PERSISTENCE_NONE, NULL) !=
        0)
        h->anchor = NULL; /* then they end, and start again */
    while (!is_over(h)) {
        struct mqtt *const m = next_work(h);
        const int64_t now_ms = mqtt_now_ms();
        atomic_store(&h->heartbeat_ms, now_ms);
        if (m != NULL)
            mqtt_step(m, now_ms);
        handle_due(h, now_ms);
    }
    if (h->anchor != NULL)
        MQTTAsync_destroy(&h->anchor);
    pthread_mutex_lock(&h->lock);
    h->finished = true;
    const bool forsaken = h->forsaken;
    pthread_cond_broadcast(&h->ended);
    pthread_mutex_unlock(&h->lock);
    if (forsaken)
        free_host(h);
    return NULL;
}

/* ---- start and stop -------------------------------------------------------------------------- */

struct mqtt_host_options mqtt_host_defaults(void)
{
    return (struct mqtt_host_options){.connects_at_once = 32, .connects_per_s = 500};
}

static void init_threading(struct mqtt_host *h)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    sem_init(&h->bell, 0, 0);
    pthread_cond_init(&h->ended, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&h->lock, NULL);
}

struct mqtt_host *mqtt_host_new(const struct mqtt_host_options *options, void (*wake)(void *arg),
                                void *arg)
{
    struct mqtt_host *const h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->options = *options;
    h->wake = wake;
    h->wake_arg = arg;
    struct list *const lists[] = {&h->turns, &h->dirty, &h->lobby, &h->slots,
                                  &h->all,   &h->work,  &h->ready};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    hmap_init(&h->names);
    deadlines_init(&h->deadlines);
    deadline_init(&h->pace, PACE_DEADLINE);
    init_threading(h);
    atomic_store(&h->heartbeat_ms, mqtt_now_ms());
    if (!thread_start(host_main, h, &h->thread)) {
        free_host(h);
        return NULL;
    }
    return h;
}

/* Lock held. Waits for `*finished`. */
static bool wait_for(struct mqtt_host *h, const bool *finished, int64_t drain_ms)
{
    const struct timespec give_up = timespec_of(time_add(mqtt_now_ms(), drain_ms + STOP_GRACE_MS));

    while (!*finished && pthread_cond_timedwait(&h->ended, &h->lock, &give_up) == 0)
        ;
    return *finished;
}

/* Lock held. Nobody waits for its end, which may have come since mqtt_begin_stop(). */
static void forsake(struct mqtt *m)
{
    if (m->finished) {
        mqtt_free(m);
        return;
    }
    m->forsaken = true;
    if (add_work(m->host, m))
        sem_post(&m->host->bell);
}

bool mqtt_host_free(struct mqtt_host *h, int64_t drain_ms)
{
    if (h == NULL)
        return true;
    drain_ms = drain_ms > 0 ? drain_ms : 0;
    atomic_store(&h->hurry, true);
    struct list ending;
    list_init(&ending);
    for (struct list *link; (link = list_pop_front(&h->all)) != NULL;) {
        mqtt_begin_stop(container_of(link, struct mqtt, all), drain_ms, false);
        list_push_back(&ending, link);
    }
    pthread_mutex_lock(&h->lock);
    for (struct list *link; (link = list_pop_front(&ending)) != NULL;)
        forsake(container_of(link, struct mqtt, all));
    h->stopping = true;
    sem_post(&h->bell);
    const bool finished = wait_for(h, &h->finished, drain_ms);
    h->forsaken = !finished;
    if (!finished)
        pthread_detach(h->thread); /* before the unlock, after which the worker may free `h` */
    pthread_mutex_unlock(&h->lock);

    if (finished) {
        pthread_join(h->thread, NULL);
        free_host(h);
    }
    return finished;
}

void mqtt_close(struct mqtt *m, bool abort)
{
    struct mqtt_host *const h = m->host;

    pthread_mutex_lock(&m->lock);
    m->unwatched = true;
    pthread_mutex_unlock(&m->lock);
    mqtt_begin_stop(m, abort ? 0 : CLOSE_DRAIN_MS, abort);
    pthread_mutex_lock(&h->lock);
    forsake(m);
    pthread_mutex_unlock(&h->lock);
}

bool mqtt_stop(struct mqtt *m, int64_t drain_ms)
{
    if (m == NULL)
        return true;
    struct mqtt_host *const h = m->host;
    if (m->is_alone)
        return mqtt_host_free(h, drain_ms);
    drain_ms = drain_ms > 0 ? drain_ms : 0;
    mqtt_begin_stop(m, drain_ms, false);
    pthread_mutex_lock(&h->lock);
    if (!m->finished && add_work(h, m))
        sem_post(&h->bell);
    const bool finished = wait_for(h, &m->finished, drain_ms);
    m->forsaken = !finished;
    pthread_mutex_unlock(&h->lock);
    if (finished)
        mqtt_free(m);
    return finished;
}
