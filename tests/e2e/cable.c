/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/cable.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 5, UNDER_WAY_MAX = 4 << 20 };

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* With a reset, as when a machine in between lost its state. */
static void reset(int fd)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* What was said before the end arrives. */
static void take_leave(int fd)
{
    enum { PATIENCE_MS = 1000 };

    char discard[1024];
    struct pollfd p = {.fd = fd, .events = POLLIN};
    shutdown(fd, SHUT_WR);
    while (poll(&p, 1, PATIENCE_MS) > 0 && recv(fd, discard, sizeof discard, 0) > 0)
        ;
    close(fd);
}

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

/* False at the end of the connection. */
static bool carry(int from, int to, atomic_size_t *count)
{
    static _Thread_local char buffer[65536];
    const ssize_t n = recv(from, buffer, sizeof buffer, 0);
    if (n <= 0 || !send_all(to, buffer, (size_t)n))
        return false;
    if (count != NULL)
        atomic_fetch_add(count, (size_t)n);
    return true;
}

static void note_first_octet(struct cable *c, int client)
{
    enum { TLS_HANDSHAKE = 22 };

    uint8_t first;
    if (recv(client, &first, sizeof first, MSG_PEEK) == sizeof first && first != TLS_HANDSHAKE)
        atomic_fetch_add(&c->plain, 1);
}

/* ---- a long line ----------------------------------------------------------------------------- */

struct chunk {
    struct chunk *next;
    int64_t due_us;
    size_t len;
    char data[];
};

struct line {
    struct chunk *first, *last;
    size_t bytes;
    int from, to;
};

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* False at the end of the connection. */
static bool line_take(struct line *l, unsigned delay_us, atomic_size_t *count)
{
    static _Thread_local char buffer[65536];
    const ssize_t n = recv(l->from, buffer, sizeof buffer, 0);
    struct chunk *const chunk = n > 0 ? malloc(sizeof *chunk + (size_t)n) : NULL;
    if (chunk == NULL)
        return false;
    chunk->next = NULL;
    chunk->due_us = now_us() + delay_us;
    chunk->len = (size_t)n;
    memcpy(chunk->data, buffer, (size_t)n);
    if (l->last != NULL)
        l->last->next = chunk;
    else
        l->first = chunk;
    l->last = chunk;
    l->bytes += chunk->len;
    if (count != NULL)
        atomic_fetch_add(count, chunk->len);
    return true;
}

static void line_drop_first(struct line *l)
{
    struct chunk *const chunk = l->first;
    l->first = chunk->next;
    if (l->first == NULL)
        l->last = NULL;
    l->bytes -= chunk->len;
    free(chunk);
}

/* Hands over what has been under way for long enough. */
static bool line_give(struct line *l)
{
    while (l->first != NULL && l->first->due_us <= now_us()) {
        if (!send_all(l->to, l->first->data, l->first->len))
            return false;
        line_drop_first(l);
    }
    return true;
}

static struct timespec until_due(const struct line *up, const struct line *down)
{
    int64_t wait_us = TICK_MS * 1000;
    const int64_t at_us = now_us();
    for (int i = 0; i < 2; i++) {
        const struct chunk *const first = (i == 0 ? up : down)->first;
        if (first != NULL && first->due_us - at_us < wait_us)
            wait_us = first->due_us > at_us ? first->due_us - at_us : 0;
    }
    return (struct timespec){.tv_nsec = (long)wait_us * 1000};
}

static void relay_slowly(struct cable *c, int client, int broker, unsigned delay_us)
{
    struct line up = {.from = client, .to = broker};
    struct line down = {.from = broker, .to = client};

    for (bool alive = true; alive && !atomic_load(&c->stop);) {
        struct pollfd fds[] = {
            {.fd = up.bytes < UNDER_WAY_MAX ? client : -1,   .events = POLLIN},
            {.fd = down.bytes < UNDER_WAY_MAX ? broker : -1, .events = POLLIN}
        };
        const struct timespec wait = until_due(&up, &down);
        ppoll(fds, 2, &wait, NULL);
        if (atomic_exchange(&c->cut, false))
            break;
        if (fds[0].revents != 0)
            alive = line_take(&up, delay_us, &c->upward);
        if (alive && fds[1].revents != 0)
            alive = line_take(&down, delay_us, NULL);
        alive = alive && line_give(&up) && line_give(&down);
    }
    while (up.first != NULL)
        line_drop_first(&up);
    while (down.first != NULL)
        line_drop_first(&down);
    reset(client);
    reset(broker);
}

/* ---- a short one ----------------------------------------------------------------------------- */

static void relay(struct cable *c, int client, int broker)
{
    bool first = true;
    for (bool alive = true; alive && !atomic_load(&c->stop);) {
        const bool mute = atomic_load(&c->mute);
        struct pollfd fds[] = {
            {.fd = client,             .events = POLLIN},
            {.fd = mute ? -1 : broker, .events = POLLIN}
        };
        poll(fds, 2, TICK_MS);
        if (atomic_exchange(&c->cut, false))
            break;
        if (first && fds[0].revents != 0)
            note_first_octet(c, client);
        first &= fds[0].revents == 0;
        if (fds[0].revents != 0)
            alive = carry(client, broker, &c->upward);
        if (alive && fds[1].revents != 0)
            alive = carry(broker, client, NULL);
    }
    if (atomic_load(&c->gentle)) {
        struct pollfd last_words = {.fd = broker, .events = POLLIN};
        if (poll(&last_words, 1, 0) > 0)
            carry(broker, client, NULL);
        take_leave(client);
    } else {
        reset(client);
    }
    reset(broker);
}

static void serve(struct cable *c, int client)
{
    const int on = 1;
    const struct sockaddr_in a = loopback(c->to);
    const int broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (atomic_load(&c->unplugged) || broker < 0 ||
        connect(broker, (const struct sockaddr *)&a, sizeof a) != 0) {
        reset(client);
        if (broker >= 0)
            close(broker);
        return;
    }
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(broker, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    atomic_fetch_add(&c->connections, 1);
    const unsigned delay_us = atomic_load(&c->delay_us);
    if (delay_us > 0)
        relay_slowly(c, client, broker, delay_us);
    else
        relay(c, client, broker);
}

static void *cable_main(void *arg)
{
    struct cable *const c = arg;
    while (!atomic_load(&c->stop)) {
        struct pollfd fd = {.fd = c->listener, .events = POLLIN};
        if (poll(&fd, 1, TICK_MS) <= 0)
            continue;
        const int client = accept(c->listener, NULL, NULL);
        if (client >= 0)
            serve(c, client);
    }
    return NULL;
}

/* Not Check's: it is used outside of tests, too. */
static void must(bool good)
{
    if (good)
        return;
    perror("cable");
    abort();
}

void cable_start(struct cable *c, uint16_t broker_port)
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    memset(c, 0, sizeof *c);
    c->to = broker_port;
    c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(c->listener >= 0 && bind(c->listener, (struct sockaddr *)&a, sizeof a) == 0 &&
         listen(c->listener, 16) == 0 &&
         getsockname(c->listener, (struct sockaddr *)&a, &len) == 0);
    c->port = ntohs(a.sin_port);
    must(pthread_create(&c->thread, NULL, cable_main, c) == 0);
}

void cable_stop(struct cable *c)
{
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
    close(c->listener);
}
