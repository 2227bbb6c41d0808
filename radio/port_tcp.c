/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sticks in the network (tcp://host:port): SLZB-06 and its like, ser2net. They serve one client at a
 * time. There is no line to set: baud, flow control and pins are the bridge's business.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "radio/port_fd.h"

enum {
    HOST_MAX = 253,
    SERVICE_MAX = 5,
    CONNECT_MS = 5000, /* per address */
    KEEP_IDLE_S = 15,
    KEEP_INTERVAL_S = 5,
    KEEP_PROBES = 3,
    UNACKNOWLEDGED_MS = 20 * 1000, /* sent, and not acknowledged for so long: broken */
};

struct target {
    char host[HOST_MAX + 1];
    char service[SERVICE_MAX + 1];
};

/* A name that is being looked up; outlives a port that was closed meanwhile. */
struct lookup {
    uv_getaddrinfo_t request;
    struct tcp *tcp; /* NULL: nobody waits any more */
};

struct tcp {
    struct port_fd base;
    struct target target;
    struct lookup *lookup; /* under way */
    struct addrinfo *all, *next;
    int error; /* of the last attempt */
};

static struct tcp *tcp_of(struct port_fd *p)
{
    return (struct tcp *)(void *)p;
}

/* ---- the address ----------------------------------------------------------------------------- */

static bool is_port(const char *text)
{
    const size_t n = strspn(text, "0123456789");
    if (n == 0 || n > SERVICE_MAX || text[n] != '\0')
        return false;
    const long port = strtol(text, NULL, 10);
    return port > 0 && port <= UINT16_MAX;
}

static bool parse(const char *device, struct target *out)
{
    static const char scheme[] = "tcp://";
    if (device == NULL || strncmp(device, scheme, strlen(scheme)) != 0)
        return false;
    const char *host = device + strlen(scheme);
    const char *end = strrchr(host, ':');
    if (end == NULL || !is_port(end + 1))
        return false;
    snprintf(out->service, sizeof out->service, "%s", end + 1);
    size_t len = (size_t)(end - host);
    if (host[0] == '[') {
        if (len < 3 || host[len - 1] != ']')
            return false;
        host++;
        len -= 2;
    } else if (memchr(host, ':', len) != NULL) {
        return false;
    }
    if (len == 0 || len > HOST_MAX || strcspn(host, " /@") < len)
        return false;
    memcpy(out->host, host, len);
    out->host[len] = '\0';
    return true;
}

static int check_tcp(const struct port_config *config, char *error, size_t error_size)
{
    struct target target;
    if (parse(config->device, &target))
        return 0;
    snprintf(error, error_size,
             "the device must be written tcp://host:port, for example tcp://192.0.2.7:6638 or "
             "tcp://[2001:db8::7]:6638");
    return -EINVAL;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void connect_next(struct tcp *t);

static void try_next(struct tcp *t, int error)
{
    t->error = error;
    uv_timer_stop(&t->base.timer);
    port_fd_drop(&t->base);
    connect_next(t);
}

static void on_late(uv_timer_t *timer)
{
    try_next(tcp_of(timer->data), ETIMEDOUT);
}

/* Packets are small and wait for answers; and a bridge that has lost its power says nothing. */
static void set_options(int fd)
{
    const int on = 1;
    const int idle_s = KEEP_IDLE_S;
    const int interval_s = KEEP_INTERVAL_S;
    const int probes = KEEP_PROBES;
    const unsigned patience_ms = UNACKNOWLEDGED_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &patience_ms, sizeof patience_ms);
}

static void note_address(struct tcp *t, int fd)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    char host[INET6_ADDRSTRLEN + 32];
    char service[SERVICE_MAX + 1];
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0 ||
        getnameinfo((struct sockaddr *)&peer, len, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    const bool ip6 = peer.ss_family == AF_INET6;
    snprintf(t->base.where, sizeof t->base.where, ip6 ? "[%s]:%s" : "%s:%s", host, service);
}

static void on_connect(uv_poll_t *poll, int status, int events)
{
    struct tcp *t = tcp_of(poll->data);
    (void)events;
    if (t->base.poll != poll)
        return;
    int error = 0;
    socklen_t len = sizeof error;
    if (getsockopt(t->base.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && status < 0)
        error = -status;
    if (error != 0) {
        try_next(t, error);
        return;
    }
    uv_timer_stop(&t->base.timer);
    note_address(t, t->base.fd);
    port_fd_adopt(&t->base, t->base.fd, true);
}

/* 0: under way. */
static int begin_connect(struct tcp *t, const struct addrinfo *a)
{
    const int fd =
        socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
        return errno;
    set_options(fd);
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS) {
        const int error = errno;
        close(fd);
        return error;
    }
    t->base.socket = true;
    return -port_fd_watch(&t->base, fd, UV_WRITABLE, on_connect);
}

static void connect_next(struct tcp *t)
{
    while (t->next != NULL) {
        const struct addrinfo *a = t->next;
        t->next = a->ai_next;
        t->error = begin_connect(t, a);
        if (t->error == 0) {
            uv_timer_start(&t->base.timer, on_late, CONNECT_MS, 0);
            return;
        }
    }
    char text[PORT_TEXT_MAX];
    snprintf(text, sizeof text, "no connection to %s: %s%s", t->base.where, strerror(t->error),
             t->error == ECONNREFUSED ? " (these devices serve one client at a time)" : "");
    port_fd_fail(&t->base, -t->error, text);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void on_found(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct lookup *l = request->data;
    struct tcp *t = l->tcp;
    free(l);
    if (t == NULL) {
        uv_freeaddrinfo(list);
        return;
    }
    t->lookup = NULL;
    t->all = t->next = list;
    if (status == 0) {
        connect_next(t);
        return;
    }
    char text[PORT_TEXT_MAX];
    snprintf(text, sizeof text, "the name %s can't be resolved: %s", t->target.host,
             uv_strerror(status));
    port_fd_fail(&t->base, -EHOSTUNREACH, text);
}

static void closing(struct port_fd *p)
{
    struct tcp *t = tcp_of(p);
    if (t->lookup != NULL) {
        t->lookup->tcp = NULL;
        uv_cancel((uv_req_t *)&t->lookup->request);
    }
    t->lookup = NULL;
    uv_freeaddrinfo(t->all);
    t->all = t->next = NULL;
}

static int open_tcp(void *loop, const struct port_config *config, const struct port_sink *sink,
                    struct port **out, char *error, size_t error_size)
{
    int rc = check_tcp(config, error, error_size);
    if (rc != 0)
        return rc;
    struct lookup *l = calloc(1, sizeof *l);
    struct port_fd *p = l != NULL ? port_fd_new(sizeof(struct tcp), &port_tcp, loop, sink) : NULL;
    if (p == NULL) {
        free(l);
        snprintf(error, error_size, "%s: %s", config->device, strerror(ENOMEM));
        return -ENOMEM;
    }
    struct tcp *t = tcp_of(p);
    p->closing = closing;
    parse(config->device, &t->target);
    snprintf(p->where, sizeof p->where, "%s", config->device);
    t->lookup = l;
    l->tcp = t;
    l->request.data = l;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    rc = uv_getaddrinfo(loop, &l->request, on_found, t->target.host, t->target.service, &hints);
    if (rc != 0) {
        t->lookup = NULL;
        free(l);
        port_fd_close(&p->base);
        snprintf(error, error_size, "%s: %s", config->device, uv_strerror(rc));
        return rc;
    }
    *out = &p->base;
    return 0;
}

/* ---- what does not exist --------------------------------------------------------------------- */

static int set_tcp(struct port *port, int32_t baud, int dtr, int rts)
{
    (void)port;
    return baud <= 0 && dtr < 0 && rts < 0 ? 0 : -ENOTSUP;
}

const struct port_kind port_tcp = {
    .name = "tcp",
    .check = check_tcp,
    .open = open_tcp,
    .write = port_fd_write,
    .set = set_tcp,
    .where = port_fd_where,
    .close = port_fd_close,
};
