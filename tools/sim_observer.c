/* SPDX-License-Identifier: Apache-2.0 */
/* The socket of the tap on the broker: connecting, subscribing, reading; again when it breaks. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tools/sim.h"
#include "tools/sim_tap.h"

enum { RETRY_MS = 500, PACKET_ROOM = 512 };

enum observer_state { OBSERVER_IDLE, OBSERVER_CONNECTING, OBSERVER_GREETING, OBSERVER_LISTENING };

struct observer {
    struct tap tap;
    struct sockaddr_storage address;
    socklen_t address_len;
    int fd;
    enum observer_state state;
    unsigned unanswered; /* SUBSCRIBEs */
    int64_t retry_at_ms;
    uint64_t gaps;
    char trouble[160];
};

/* ---- the connection -------------------------------------------------------------------------- */

static void hang_up(struct sim *sim, const char *why)
{
    struct observer *o = sim->observer;
    snprintf(o->trouble, sizeof o->trouble, "%s", why);
    if (o->state == OBSERVER_LISTENING && o->unanswered == 0)
        o->gaps++;
    if (o->fd >= 0)
        close(o->fd);
    o->fd = -1;
    o->state = OBSERVER_IDLE;
    o->retry_at_ms = sim->now_ms + RETRY_MS;
}

/* A few hundred octets into an empty socket buffer: what does not fit at once never will. */
static bool send_all(const struct observer *o, const uint8_t *data, size_t len)
{
    return len > 0 && send(o->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void dial(struct sim *sim)
{
    struct observer *o = sim->observer;
    o->retry_at_ms = TIME_NEVER;
    o->fd = socket(o->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const bool started =
        o->fd >= 0 && (connect(o->fd, (const struct sockaddr *)&o->address, o->address_len) == 0 ||
                       errno == EINPROGRESS);
    if (!started || !net_watch_observer(sim, o->fd, EPOLLOUT)) {
        hang_up(sim, strerror(errno));
        return;
    }
    tap_reset(&o->tap);
    o->state = OBSERVER_CONNECTING;
}

static void greet(struct sim *sim)
{
    struct observer *o = sim->observer;
    int error = 0;
    socklen_t error_len = sizeof error;
    getsockopt(o->fd, SOL_SOCKET, SO_ERROR, &error, &error_len);
    if (error != 0) {
        hang_up(sim, strerror(error));
        return;
    }
    char id[SIM_NAME_MAX + 32];
    uint8_t packet[PACKET_ROOM];
    snprintf(id, sizeof id, "sennet-sim-tap-%s", sim->plan.groups[0].id_prefix);
    const size_t len = tap_connect(packet, sizeof packet, bytes_str(id));
    if (!send_all(o, packet, len) || !net_watch_observer(sim, o->fd, EPOLLIN)) {
        hang_up(sim, strerror(errno));
        return;
    }
    o->state = OBSERVER_GREETING;
}

static void subscribe(struct sim *sim)
{
    struct observer *o = sim->observer;
    uint8_t packet[PACKET_ROOM];
    const unsigned n = broker_filters(sim);
    o->unanswered = n;
    o->state = OBSERVER_LISTENING;
    for (unsigned i = 0; i < n; i++) {
        const struct bytes filter = bytes_str(broker_filter(sim, i));
        const size_t len = tap_subscribe(packet, sizeof packet, (uint16_t)(i + 1), filter);
        if (!send_all(o, packet, len)) {
            hang_up(sim, "it does not read what is sent to it");
            return;
        }
    }
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* False when the connection is over. */
static bool handle(struct sim *sim, enum tap_event event, struct bytes topic, struct bytes data)
{
    struct observer *o = sim->observer;
    switch (event) {
    case TAP_CONNECTED:
        subscribe(sim);
        return o->fd >= 0;
    case TAP_SUBSCRIBED:
        if (o->unanswered > 0)
            o->unanswered--;
        return true;
    case TAP_MESSAGE:
        broker_arrival(sim, topic, data);
        return true;
    case TAP_REFUSED:
        hang_up(sim, "it refuses us");
        return false;
    case TAP_BROKEN:
        hang_up(sim, "what it sends is not MQTT");
        return false;
    case TAP_NOTHING:
        break;
    }
    return true;
}

static void hear(struct sim *sim)
{
    struct observer *o = sim->observer;
    size_t room;
    uint8_t *at = tap_room(&o->tap, &room);
    const ssize_t n = recv(o->fd, at, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        hang_up(sim, n == 0 ? "it closed the connection" : strerror(errno));
        return;
    }
    tap_received(&o->tap, (size_t)n);
    struct bytes topic = {0};
    struct bytes data = {0};
    enum tap_event event;
    while ((event = tap_next(&o->tap, &topic, &data)) != TAP_NOTHING) {
        if (!handle(sim, event, topic, data))
            return;
    }
}

void observer_ready_io(struct sim *sim)
{
    struct observer *o = sim->observer;
    if (o->state == OBSERVER_CONNECTING)
        greet(sim);
    else if (o->fd >= 0)
        hear(sim);
}

/* ---- life cycle ------------------------------------------------------------------------------ */

bool observer_start(struct sim *sim)
{
    struct observer *o = calloc(1, sizeof *o);
    if (o == NULL || !tap_init(&o->tap)) {
        free(o);
        fprintf(stderr, "sennet-sim: out of memory\n");
        return false;
    }
    o->fd = -1;
    static const char scheme[] = "mqtt://";
    const char *text = sim->options.broker;
    const bool named = strncmp(text, scheme, sizeof scheme - 1) == 0;
    const char *why =
        named ? net_resolve(text + sizeof scheme - 1, SOCK_STREAM, &o->address, &o->address_len)
              : "must be mqtt://HOST:PORT";
    if (why != NULL) {
        fprintf(stderr, "sennet-sim: broker %s: %s\n", text, why);
        tap_deinit(&o->tap);
        free(o);
        return false;
    }
    sim->observer = o;
    dial(sim);
    return true;
}

void observer_stop(struct sim *sim)
{
    struct observer *o = sim->observer;
    if (o == NULL)
        return;
    if (o->fd >= 0)
        close(o->fd);
    tap_deinit(&o->tap);
    free(o);
    sim->observer = NULL;
}

bool observer_is_ready(const struct sim *sim)
{
    return sim->observer->state == OBSERVER_LISTENING && sim->observer->unanswered == 0;
}

const char *observer_trouble(const struct sim *sim)
{
    return sim->observer->trouble[0] != '\0' ? sim->observer->trouble : "no answer";
}

uint64_t observer_gaps(const struct sim *sim)
{
    return sim->observer->gaps;
}

int64_t observer_next_ms(const struct sim *sim)
{
    return sim->observer->retry_at_ms;
}

void observer_advance(struct sim *sim)
{
    if (sim->observer->retry_at_ms <= sim->now_ms)
        dial(sim);
}
