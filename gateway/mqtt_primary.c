/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back to the first of several addresses. While another one is in use, the first is asked every
 * `primary_check` whether it takes a TCP connection (or the proxy, whether it has one to it), which harms
 * nobody and says nothing; if so, this
 * connection is ended as soon as nothing is under way, and the round begins anew. A first address that
 * takes connections and then fails is asked ever less often.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

#include "mqtt_priv.h"

enum {
    LOOK_MS = 250,        /* how often an open question is looked at */
    PATIENCE_MS = 5000,   /* for its answer */
    LONGEST_MS = 3600000, /* between two questions, once they have led to nothing */
};

void primary_begin(struct mqtt *m, int64_t now_ms)
{
    struct primary *const p = &m->primary;
    if (m->dial.at == 0 || p->every_ms == 0) /* as it may be at the start */
        p->every_ms = m->options.primary_check_ms;
    p->is_back = false;
    p->next_ms = m->dial.at > 0 && p->every_ms > 0 ? time_add(now_ms, p->every_ms) : TIME_NEVER;
}

static void hang_up(struct primary *p)
{
    if (p->fd > 0)
        close(p->fd);
    dialer_end(p->job, NULL);
    p->fd = 0;
    p->job = NULL;
}

void primary_end(struct mqtt *m)
{
    struct primary *const p = &m->primary;
    resolver_forget(&p->wait);
    p->looking = false;
    hang_up(p);
    p->next_ms = TIME_NEVER;
}

/* 0: there is not even a way to it. poll() would not tell that later. */
static int open_socket(const struct addrinfo *address)
{
    const int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    return 0;
}

/* Of the proxy, or of a name server. */
static void note_answer(void *arg)
{
    struct mqtt *const m = arg;
    atomic_store(&m->primary.answered, true);
}

static struct dialer_job *ask_proxy(struct mqtt *m, const struct addrinfo *address)
{
    const struct target *const first = &m->dial.targets[0];
    const struct dialer_request request = {
        .address = address->ai_addr,
        .address_len = address->ai_addrlen,
        .host = first->host,
        .port = first->port,
        .proxy = m->dial.proxy.server,
        .proxy_login = m->options.proxy_login,
    };
    atomic_store(&m->primary.answered, false);
    return dialer_start(&request, note_answer, m);
}

/* Whose name has to be known. */
static const char *first_host(const struct mqtt *m)
{
    return m->dial.proxy.host != NULL ? m->dial.proxy.host : m->dial.targets[0].host;
}

/* True: the question is out. */
static bool open_connection(struct mqtt *m)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct primary *const p = &m->primary;
    const bool proxied = m->dial.proxy.host != NULL;
    struct addrinfo *address = NULL;
    if (resolver_get(first_host(m), proxied ? m->dial.proxy.port : m->dial.targets[0].port, &hints,
                     &address) != 0)
        return false;
    if (proxied)
        p->job = ask_proxy(m, address);
    else
        p->fd = open_socket(address);
    freeaddrinfo(address);
    return p->fd > 0 || p->job != NULL;
}

static void ask_again_later(struct primary *p, int64_t now_ms)
{
    p->next_ms = time_add(now_ms, p->every_ms);
}

/* False: not yet, or there is none for now. */
static bool has_address(struct mqtt *m, int64_t now_ms)
{
    struct primary *const p = &m->primary;
    if (!p->looking) {
        atomic_store(&p->answered, false);
        p->looking = !resolver_ask(&p->wait, first_host(m), note_answer, m);
        p->until_ms = time_add(now_ms, PATIENCE_MS);
        return !p->looking;
    }
    const bool answered = atomic_load(&p->answered);
    if (!answered && now_ms < p->until_ms)
        return false;
    resolver_forget(&p->wait);
    p->looking = false;
    if (answered && resolver_error(first_host(m)) == 0)
        return true;
    ask_again_later(p, now_ms);
    return false;
}

static void ask(struct mqtt *m, int64_t now_ms)
{
    struct primary *const p = &m->primary;
    p->next_ms = time_add(now_ms, LOOK_MS);
    if (!has_address(m, now_ms))
        return;
    p->until_ms = time_add(now_ms, PATIENCE_MS);
    if (!open_connection(m))
        ask_again_later(p, now_ms);
}

/* Is there an answer, and which one? */
static bool has_answered(struct primary *p, bool *open)
{
    struct pollfd waits = {.fd = p->fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    struct dialer_result made;
    if (p->job == NULL) {
        *open = poll(&waits, 1, 0) != 0 &&
                getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
        return waits.revents != 0;
    }
    if (!atomic_load(&p->answered))
        return false;
    dialer_end(p->job, &made);
    p->job = NULL;
    p->fd = made.fd >= 0 ? made.fd : 0;
    *open = made.fd >= 0;
    return true;
}

static void look(struct mqtt *m, int64_t now_ms)
{
    struct primary *const p = &m->primary;
    bool open = false;
    p->next_ms = time_add(now_ms, LOOK_MS);
    if (!has_answered(p, &open) && now_ms < p->until_ms)
        return;
    hang_up(p);
    p->is_back = open;
    if (!open) {
        resolver_next(first_host(m));
        ask_again_later(p, now_ms);
    }
    p->until_ms = time_add(now_ms, PATIENCE_MS);
}

bool primary_is_back(struct mqtt *m, int64_t now_ms)
{
    struct primary *const p = &m->primary;
    if (now_ms < p->next_ms)
        return false;
    if (p->is_back) {
        p->next_ms = time_add(now_ms, LOOK_MS);
        pthread_mutex_lock(&m->lock);
        const bool idle = atomic_load(&m->in_flight_count) == 0 && !mqtt_is_queued(m);
        pthread_mutex_unlock(&m->lock);
        if (!idle && now_ms < p->until_ms)
            return false;
        if (p->every_ms < LONGEST_MS)
            p->every_ms = time_min(p->every_ms * 2, LONGEST_MS);
        return true;
    }
    if (p->fd > 0 || p->job != NULL)
        look(m, now_ms);
    else
        ask(m, now_ms);
    return false;
}
