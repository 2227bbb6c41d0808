/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Back to the first of several addresses. While another one is in use, the first is asked every
 * `primary_check` whether it takes a TCP connection, which harms nobody and says nothing; if so, this
 * connection is ended as soon as nothing is under way, and the round begins anew. A first address that
 * takes connections and then fails is asked ever less often.
 */
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

static void ignore(void *arg)
{
    (void)arg;
}

void primary_begin(struct mqtt *m, int64_t now_ms)
{
    struct primary *const p = &m->primary;
    if (m->dial.at == 0)
        p->every_ms = m->options.primary_check_ms;
    p->is_back = false;
    p->next_ms = m->dial.at > 0 && p->every_ms > 0 ? time_add(now_ms, p->every_ms) : TIME_NEVER;
}

void primary_end(struct mqtt *m)
{
    struct primary *const p = &m->primary;
    resolver_forget(&p->wait);
    if (p->fd > 0)
        close(p->fd);
    p->fd = 0;
    p->next_ms = TIME_NEVER;
}

static int open_socket(const struct target *t)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct addrinfo *address = NULL;
    if (resolver_get(t->host, t->port, &hints, &address) != 0)
        return -1;
    const int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)connect(fd, address->ai_addr, address->ai_addrlen); /* poll() tells */
    freeaddrinfo(address);
    return fd;
}

static void ask_again_later(struct primary *p, int64_t now_ms)
{
    p->next_ms = time_add(now_ms, p->every_ms);
}

static void ask(struct mqtt *m, int64_t now_ms)
{
    struct primary *const p = &m->primary;
    const struct target *const first = &m->dial.targets[0];
    p->next_ms = time_add(now_ms, LOOK_MS);
    if (p->wait.waiting || !resolver_ask(&p->wait, first->host, ignore, NULL))
        return; /* another time, with what was found */
    p->fd = open_socket(first);
    p->until_ms = time_add(now_ms, PATIENCE_MS);
    if (p->fd > 0)
        return;
    p->fd = 0;
    ask_again_later(p, now_ms);
}

static void look(struct primary *p, int64_t now_ms)
{
    struct pollfd waits = {.fd = p->fd, .events = POLLOUT};
    int error = 0;
    socklen_t len = sizeof error;
    p->next_ms = time_add(now_ms, LOOK_MS);
    if (poll(&waits, 1, 0) == 0 && now_ms < p->until_ms)
        return;
    const bool open = waits.revents != 0 &&
                      getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
    close(p->fd);
    p->fd = 0;
    p->is_back = open;
    if (!open)
        ask_again_later(p, now_ms);
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
        p->every_ms = time_min(p->every_ms * 2, LONGEST_MS);
        return true;
    }
    if (p->fd > 0)
        look(p, now_ms);
    else
        ask(m, now_ms);
    return false;
}
