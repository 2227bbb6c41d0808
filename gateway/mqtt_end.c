/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a connection: DISCONNECT, or the socket is shut down; then the broker has time to close, too.
 *
 *     (CLOSING -> LEAVING | CUTTING) -> ENDED
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mqtt_priv.h"

enum {
    STOP_CLOSE_MS = 300, /* for the DISCONNECT at the end, ... */
    CLOSE_MS = 5000,     /* ... if nobody waits: without it the broker publishes the will, ... */
    LEAVE_MS = 1000,     /* for the broker to close after it, ... */
    STOP_CUT_MS = 300,   /* ... and for Paho to notice that there is no connection any more */
};

/* mqtt_host_free() waits for those, too, that nobody waited for. */
bool end_is_hurried(struct worker *w)
{
    const struct mqtt *const m = connection_of(w);
    return m->unwatched && atomic_load(&m->host->hurry);
}

/* Paho finds the connection lost, and has no DISCONNECT left to send. */
static void cut_at_end(struct worker *w, int64_t now_ms)
{
    struct mqtt *const m = connection_of(w);

    pthread_mutex_lock(&m->lock);
    w->phase = mqtt_cut(m, "stopping") ? CUTTING : ENDED;
    pthread_mutex_unlock(&m->lock);
    w->due_ms = now_ms + STOP_CUT_MS;
}

/* The broker reads DISCONNECT before the end of the stream, but if this client connected again now, it
 * might read that CONNECT first, see a takeover, and publish the will. So it has time to close. */
static void leave(struct worker *w)
{
    w->phase = LEAVING;
    w->leave_ms = 1;
    w->due_ms = mqtt_now_ms();
    w->close_by_ms = w->due_ms + LEAVE_MS;
}

/* Is there nothing to wait for? */
static bool has_left(const struct worker *w)
{
    char octets[512];
    ssize_t n;

    if (w->tail < 0)
        return true;
    do
        n = recv(w->tail, octets, sizeof octets, MSG_DONTWAIT);
    while (n > 0);
    return n == 0 || (errno != EAGAIN && errno != EINTR);
}

/* Of those that may come back at once. */
static void keep_tail(struct worker *w)
{
    struct mqtt *const m = connection_of(w);

    pthread_mutex_lock(&m->lock);
    if (m->unwatched && m->socket >= 0)
        w->tail = fcntl(m->socket, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&m->lock);
}

/* The connection shall end, and nothing that it has to do first is left. */
void end_begin(struct worker *w, int64_t now_ms, bool is_up)
{
    if (is_up && connection_of(w)->aborting) {
        cut_at_end(w, now_ms);
    } else {
        keep_tail(w);
        const bool closes = is_up && dial_close(connection_of(w), w->handle) == MQTTASYNC_SUCCESS;
        w->phase = closes ? CLOSING : ENDED;
        w->close_by_ms = now_ms + (connection_of(w)->unwatched ? CLOSE_MS : STOP_CLOSE_MS);
        w->due_ms = now_ms + STOP_CLOSE_MS;
    }
}

/* After destroy Paho calls nothing of ours any more. */
void end_for_good(struct worker *w)
{
    dial_forget_lookup(connection_of(w));
    dial_forget_tunnel(connection_of(w));
    primary_end(connection_of(w));
    if (w->handle != NULL)
        MQTTAsync_destroy(&w->handle);
    if (w->tail >= 0)
        close(w->tail);
    host_finish(connection_of(w));
}

void end_hear(struct worker *w, struct notes notes)
{
    if (w->phase == LEAVING || w->phase == ENDED)
        return;
    if (notes.closed)
        leave(w);
    else if (notes.lost || notes.failed)
        w->phase = ENDED;
}

void end_go_on(struct worker *w, int64_t now_ms)
{
    const bool hurried = end_is_hurried(w);

    if (w->phase == CLOSING && (now_ms >= w->close_by_ms || hurried)) {
        cut_at_end(w, now_ms); /* a broker that does not read keeps Paho from closing */
    } else if (w->phase == CLOSING) {
        w->due_ms = now_ms + STOP_CLOSE_MS;
    } else if (w->phase == CUTTING || has_left(w) || now_ms >= w->close_by_ms || hurried) {
        w->phase = ENDED;
    } else {
        w->due_ms = now_ms + w->leave_ms;
        w->leave_ms *= 2;
    }
}
