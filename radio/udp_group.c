/* SPDX-License-Identifier: Apache-2.0 */
#include "radio/udp_group.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "base/log.h"

enum {
    RETRY_FIRST_MS = 10 * 1000, /* after a failure, doubling ... */
    RETRY_MOST_MS = 60 * 1000,  /* ... to this */
    CHECK_EVERY_MS = 60 * 1000, /* is the interface still the one that was joined on? */
    PACKETS_PER_WAKE_UP = 64,
};

struct udp_group {
    uv_poll_t poll; /* only while `fd` is open */
    uv_timer_t timer;
    unsigned handles; /* known to the loop */
    bool joined;
    bool closing;
    int fd;
    int sender;
    int interface; /* joined on; 0: the system's choice */
    int failure;   /* as last said */
    unsigned retry_ms;
    uint16_t index;
    size_t max_packet;
    struct multicast m;
    union sock_addr address; /* of the group, on that interface */
    struct link_sink sink;
    struct link_counters *counters;
    uint8_t *buffer;
};

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

/* ---- life of the handles ---------------------------------------------------------------------- */

static void release(struct udp_group *g)
{
    g->handles--;
    if (g->handles > 0)
        return;
    free(g->buffer);
    free(g);
}

static void on_timer_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct udp_group *g = handle->data;
    close(g->fd);
    g->fd = -1;
    if (!g->closing)
        uv_timer_start(&g->timer, on_timer, g->retry_ms, 0);
    release(g);
}

/* ---- joining ---------------------------------------------------------------------------------- */

static void print_group(const struct udp_group *g, char *out, size_t size)
{
    char group[PEER_TEXT_MAX];
    char name[IF_NAMESIZE] = "?";
    struct peer_room room;
    peer_print(sock_to_peer(&room, g->index, &g->m.group), group, sizeof group);
    if (g->interface > 0 && if_indextoname((unsigned)g->interface, name) != NULL)
        snprintf(out, size, "%s on %s", group, name);
    else if (g->m.name[0] != '\0')
        snprintf(out, size, "%s on %s", group, g->m.name);
    else
        snprintf(out, size, "%s", group);
}

static const char *advice(int error)
{
    switch (error) {
    case ENODEV:
        return "no interface leads there (yet); name one behind '@', see `ip address`";
    case EADDRINUSE:
        return "another program has its port for itself; see `ss -lunp`";
    case EAFNOSUPPORT:
        return "this address family is switched off on this machine";
    default:
        return strerror(error);
    }
}

/* The first time, and when the reason is another. */
static void say_failed(struct udp_group *g, int error)
{
    char group[PEER_TEXT_MAX + 32];
    char text[400];
    if (error == g->failure)
        return;
    g->failure = error;
    print_group(g, group, sizeof group);
    snprintf(text, sizeof text,
             "can't join the group %s: %s. Nodes can't find this gateway by SEARCHGW there; trying "
             "again from time to time",
             group, advice(error));
    g->sink.event(g->sink.owner, g->index, LOG_WARN, "link.group_failed", text);
}

static void failed(struct udp_group *g, int error)
{
    say_failed(g, error);
    uv_timer_start(&g->timer, on_timer, g->retry_ms, 0);
    g->retry_ms = g->retry_ms * 2 < RETRY_MOST_MS ? g->retry_ms * 2 : (unsigned)RETRY_MOST_MS;
}

static void joined(struct udp_group *g)
{
    char group[PEER_TEXT_MAX + 32];
    char text[200];
    g->joined = true;
    g->failure = 0;
    g->retry_ms = RETRY_FIRST_MS;
    print_group(g, group, sizeof group);
    snprintf(text, sizeof text, "nodes can find this gateway by %s", group);
    g->sink.event(g->sink.owner, g->index, LOG_INFO, "link.group_joined", text);
    g->sink.group(g->sink.owner, g->index, true);
}

static void try_to_join(struct udp_group *g)
{
    const int interface = multicast_interface(&g->m);
    const int fd = interface >= 0 ? multicast_join(&g->m, interface, g->sender) : interface;
    if (fd < 0) {
        failed(g, -fd);
        return;
    }
    const int rc = uv_poll_init(g->timer.loop, &g->poll, fd);
    if (rc != 0) {
        close(fd);
        failed(g, -rc);
        return;
    }
    g->poll.data = g;
    g->handles++;
    g->fd = fd;
    g->interface = interface;
    g->address = g->m.group;
    if (g->address.any.sa_family == AF_INET6)
        g->address.ip6.sin6_scope_id = (uint32_t)interface;
    uv_poll_start(&g->poll, UV_READABLE, on_poll);
    uv_timer_start(&g->timer, on_timer, CHECK_EVERY_MS, CHECK_EVERY_MS);
    joined(g);
}

/* A stick that was pulled out and put back is another interface, which nobody has joined on. */
static void leave(struct udp_group *g)
{
    g->joined = false;
    uv_timer_stop(&g->timer);
    uv_close((uv_handle_t *)&g->poll, on_poll_closed);
    say_failed(g, ENODEV);
    g->sink.group(g->sink.owner, g->index, false);
}

static void on_timer(uv_timer_t *timer)
{
    struct udp_group *g = timer->data;
    if (!g->joined)
        try_to_join(g);
    else if (multicast_interface(&g->m) != g->interface)
        leave(g);
}

/* ---- receiving -------------------------------------------------------------------------------- */

static void deliver(struct udp_group *g, const union sock_addr *from, size_t len)
{
    struct link_counters *c = g->counters;
    if (len > g->max_packet) {
        c->oversize++;
    } else if (len == 0) {
        c->empty++;
    } else {
        struct peer_room room;
        c->packets_in++;
        c->group_in++;
        c->bytes_in += len;
        g->sink.group_packet(g->sink.owner, sock_to_peer(&room, g->index, from),
                             bytes_of(g->buffer, len));
    }
}

static bool receive_one(struct udp_group *g)
{
    union sock_addr from;
    socklen_t from_len = sizeof from;
    const ssize_t n =
        recvfrom(g->fd, g->buffer, g->max_packet, MSG_DONTWAIT | MSG_TRUNC, &from.any, &from_len);
    if (n >= 0) {
        deliver(g, &from, (size_t)n);
        return true;
    }
    if (errno != EAGAIN && errno != EINTR)
        g->counters->receive_errors++;
    return false;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct udp_group *g = poll->data;
    (void)events;
    if (status < 0) { /* taken away and polled again, as in udp.c */
        int error = 0;
        socklen_t len = sizeof error;
        getsockopt(g->fd, SOL_SOCKET, SO_ERROR, &error, &len);
        g->counters->receive_errors++;
        uv_poll_start(&g->poll, UV_READABLE, on_poll);
        return;
    }
    for (unsigned i = 0; i < PACKETS_PER_WAKE_UP && !g->closing; i++) {
        if (!receive_one(g))
            break;
    }
    if (!g->closing)
        g->sink.batch_end(g->sink.owner);
}

/* ---- life ------------------------------------------------------------------------------------- */

struct udp_group *udp_group_new(void *loop, const struct multicast *m,
                                const struct link_config *config, const struct link_sink *sink,
                                struct link_counters *counters)
{
    struct udp_group *g = calloc(1, sizeof *g);
    if (g == NULL)
        return NULL;
    g->buffer = malloc(config->max_packet_bytes);
    if (g->buffer == NULL || uv_timer_init(loop, &g->timer) != 0) {
        free(g->buffer);
        free(g);
        return NULL;
    }
    g->timer.data = g;
    g->handles = 1;
    g->fd = -1;
    g->m = *m;
    g->sink = *sink;
    g->index = config->index;
    g->max_packet = config->max_packet_bytes;
    g->counters = counters;
    g->retry_ms = RETRY_FIRST_MS;
    return g;
}

void udp_group_start(struct udp_group *g, int sender)
{
    g->sender = sender;
    try_to_join(g);
}

const union sock_addr *udp_group_address(const struct udp_group *g)
{
    return g->joined ? &g->address : NULL;
}

void udp_group_close(struct udp_group *g)
{
    if (g == NULL)
        return;
    assert(!g->closing);
    g->closing = true;
    if (g->joined)
        uv_close((uv_handle_t *)&g->poll, on_poll_closed);
    g->joined = false;
    uv_close((uv_handle_t *)&g->timer, on_timer_closed);
}
