/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other options for a connection that lives on. Whatever Paho, or one of its threads, may look at is
 * exchanged only while there is no connection and no attempt; one that there is has to end for that, and does so when
 * it has nothing under way, so that nobody loses anything by it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#include "mqtt_priv.h"

enum {
    LOOK_MS = 5,        /* how often, while something is under way */
    PATIENCE_MS = 2000, /* for that */
    CLOSE_MS = 5000,    /* for DISCONNECT to leave */
};

void mqtt_next_free(struct next *n)
{
    if (n == NULL)
        return;
    mqtt_options_free(&n->options);
    dial_deinit(&n->dial);
    free(n);
}

/* ---- loop thread ------------------------------------------------------------------------------- */

int mqtt_change(struct mqtt *m, const struct mqtt_options *options, bool renew)
{
    struct next *next = calloc(1, sizeof *next);
    if (next == NULL)
        return -ENOMEM;
    struct mqtt_options o = *options;
    o.will = (struct mqtt_will){0}; /* stays as it is */
    if (!mqtt_options_copy(&next->options, &o) ||
        dial_init(&next->dial, next->options.address, next->options.proxy) != 0) {
        mqtt_next_free(next);
        return -ENOMEM;
    }
    m->max_queued = next->options.max_queued;
    m->max_queued_bytes = next->options.max_queued_bytes;
    pthread_mutex_lock(&m->lock);
    struct next *const before = m->next; /* which nobody has seen */
    m->next = next;
    m->renew |= renew;
    pthread_mutex_unlock(&m->lock);
    host_kick(m);
    mqtt_next_free(before);
    return 0;
}

/* ---- worker ------------------------------------------------------------------------------------ */

static bool is_between_attempts(enum phase phase)
{
    return phase == WAITING_FOR_ELDER || phase == IDLE || phase == WAITING || phase == QUEUED;
}

/* What others rely on stays: name, session, what is known in the store. */
static void keep_identity(struct mqtt_options *to, struct mqtt_options *from)
{
    const char *const id = to->client_id;
    to->client_id = from->client_id;
    from->client_id = id;
    to->will = from->will;
    from->will = (struct mqtt_will){0};
    to->version = from->version;
    to->cluster = from->cluster;
    to->store = from->store;
    to->sink = from->sink;
    to->session = from->session;
    to->reconnect = from->reconnect;
    to->max_inbox = from->max_inbox;
    to->max_inbox_bytes = from->max_inbox_bytes;
    to->seed = from->seed;
    to->user = from->user;
}

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Lock held. */
static void exchange(struct mqtt *m, struct next *next)
{
    const struct mqtt_options old = m->options;
    keep_identity(&next->options, &m->options);
    const struct mqtt_options left = m->options; /* without what has been kept */
    m->options = next->options;
    next->options = left;
    m->limits = limits_of(m);
    m->dial.keepalive_s = m->options.keepalive_s;
    if (!same_text(old.address, m->options.address) || !same_text(old.proxy, m->options.proxy))
        dial_replace(&m->dial, &next->dial);
}

static void take(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);
    pthread_mutex_lock(&m->lock);
    struct next *const next = m->next;
    m->next = NULL;
    const bool renew = m->renew;
    const int64_t min_ms = m->options.backoff_min_ms;
    const int64_t max_ms = m->options.backoff_max_ms;
    m->renew = false;
    if (next != NULL)
        exchange(m, next);
    pthread_mutex_unlock(&m->lock);
    if (next == NULL)
        return;
    mqtt_next_free(next);
    const bool other = min_ms != m->options.backoff_min_ms || max_ms != m->options.backoff_max_ms;
    if (w->phase != WAITING_FOR_ELDER && (other || renew))
        backoff_init(&w->backoff, m->options.backoff_min_ms, m->options.backoff_max_ms,
                     m->options.seed + (uint64_t)now_ms);
    if (renew && w->phase == WAITING)
        w->due_ms = now_ms;
}

void change_step(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);
    if (is_between_attempts(w->phase)) {
        take(w, now_ms);
        return;
    }
    if (w->phase != ONLINE || w->renews)
        return;
    pthread_mutex_lock(&m->lock);
    w->renews = m->renew;
    m->renew = false;
    pthread_mutex_unlock(&m->lock);
    if (!w->renews)
        return;
    w->renew_by_ms = time_add(now_ms, PATIENCE_MS);
    w->due_ms = now_ms;
}

void change_look(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);
    if (!w->renews)
        return;
    const bool is_idle = atomic_load(&m->in_flight_count) == 0;
    if (!w->returns && (is_idle || now_ms >= w->renew_by_ms)) {
        w->returns = dial_close(m, w->handle) == MQTTASYNC_SUCCESS;
        w->renew_by_ms = w->returns ? time_add(now_ms, CLOSE_MS) : now_ms;
    }
    if (now_ms >= w->renew_by_ms) { /* the broker does not read, or Paho has no connection */
        pthread_mutex_lock(&m->lock);
        mqtt_cut(m, "the configuration or a certificate has changed");
        pthread_mutex_unlock(&m->lock);
        w->renew_by_ms = time_add(now_ms, CLOSE_MS);
    }
    w->due_ms = time_min(w->due_ms, time_add(now_ms, LOOK_MS));
}
