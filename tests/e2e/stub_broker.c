/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/stub_broker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    IN_BYTES = 4096,
    OUT_BYTES = 16384,
    DESCRIPTORS = 65536,
    EVENTS = 256,
    BACKLOG = 1024,
    CHATS = 2000
};

enum {
    CONNECT = 1,
    PUBLISH = 3,
    PUBREL = 6,
    SUBSCRIBE = 8,
    UNSUBSCRIBE = 10,
    PINGREQ = 12,
    DISCONNECT = 14
};

struct client {
    bool is_v5;
    bool deaf;
    bool owing;
    bool is_new;
    size_t have;
    size_t out;
    uint8_t in[IN_BYTES];
    uint8_t answers[OUT_BYTES];
};

static struct client *clients[DESCRIPTORS];
static struct stub_counts *counts;
static unsigned n_new;
static int poller;

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    perror(what);
    abort();
}

static void leave(int fd)
{
    n_new -= clients[fd]->is_new;
    free(clients[fd]);
    clients[fd] = NULL;
    close(fd);
    atomic_fetch_sub(&counts->open, 1);
}

static void say(struct client *c, const uint8_t *packet, size_t len)
{
    if (c->out + len > sizeof c->answers)
        return; /* who does not read gets no answers */
    memcpy(c->answers + c->out, packet, len);
    c->out += len;
}

static void flush(int fd, struct client *c)
{
    if (c->out > 0)
        (void)!send(fd, c->answers, c->out, MSG_NOSIGNAL | MSG_DONTWAIT);
    c->out = 0;
}

static void chat(int fd, bool is_v5)
{
    /* With MQTT 5 no properties are where the first blank is. */
    const uint8_t message[] = {0x30, 9, 0, 3, 'b', 'l', 'a', is_v5 ? 0 : ' ', ' ', ' ', ' '};
    for (unsigned i = 0; i < CHATS; i++)
        (void)!send(fd, message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static bool is_called(const uint8_t *id, size_t len, const char *prefix)
{
    return len >= strlen(prefix) && memcmp(id, prefix, strlen(prefix)) == 0;
}

/* False: close. */
static bool on_connect(int fd, struct client *c, const uint8_t *body, size_t len)
{
    enum { PROTOCOL_LEVEL = 6, BEFORE_PROPERTIES = 10, LONGEST_PROPERTIES = 127 };

    c->is_v5 = len > PROTOCOL_LEVEL && body[PROTOCOL_LEVEL] == 5;
    const size_t properties =
        c->is_v5 && len > BEFORE_PROPERTIES ? 1U + body[BEFORE_PROPERTIES] : 0;
    must(properties <= 1 + LONGEST_PROPERTIES, "CONNECT with more properties than the stub reads");
    const size_t at = BEFORE_PROPERTIES + properties;
    const size_t id_len = len >= at + 2 ? (size_t)body[at] << 8 | body[at + 1] : 0;
    const uint8_t *const id = body + at + 2;

    atomic_fetch_add(&counts->connects, 1);
    if (len < at + 2 + id_len)
        return false;
    if (is_called(id, id_len, "mute"))
        return true;
    const bool refused = is_called(id, id_len, "refused");
    n_new -= c->is_new;
    c->is_new = false;
    c->owing = is_called(id, id_len, "owing");
    if (c->is_v5)
        say(c, (const uint8_t[]){0x20, 3, c->owing, refused ? 0x87 : 0, 0}, 5);
    else
        say(c, (const uint8_t[]){0x20, 2, c->owing, refused ? 5 : 0}, 4);
    c->deaf = is_called(id, id_len, "deaf") || is_called(id, id_len, "chatty");
    if (refused || c->deaf)
        flush(fd, c);
    if (is_called(id, id_len, "chatty"))
        chat(fd, c->is_v5);
    return !refused;
}

static bool on_publish(struct client *c, uint8_t first, const uint8_t *body, size_t len)
{
    const size_t topic = len >= 2 ? (size_t)body[0] << 8 | body[1] : len;
    const unsigned qos = first >> 1 & 3;

    atomic_fetch_add(&counts->publishes, 1);
    if ((first & 8) != 0)
        atomic_fetch_add(&counts->duplicates, 1);
    if (topic == 3 && len >= 5 && memcmp(body + 2, "cut", 3) == 0)
        return false;
    if (qos > 0 && !c->owing && topic + 4 <= len)
        say(c, (const uint8_t[]){qos == 1 ? 0x40 : 0x50, 2, body[2 + topic], body[3 + topic]}, 4);
    return true;
}

static bool on_packet(int fd, struct client *c, uint8_t first, const uint8_t *body, size_t len)
{
    const uint8_t id[2] = {len >= 2 ? body[0] : 0, len >= 2 ? body[1] : 0};

    switch (first >> 4) {
    case CONNECT:
        return on_connect(fd, c, body, len);
    case PUBLISH:
        return on_publish(c, first, body, len);
    case PUBREL:
        say(c, (const uint8_t[]){0x70, 2, id[0], id[1]}, 4);
        break;
    case SUBSCRIBE:
        if (c->is_v5)
            say(c, (const uint8_t[]){0x90, 4, id[0], id[1], 0, 1}, 6);
        else
            say(c, (const uint8_t[]){0x90, 3, id[0], id[1], 1}, 5);
        break;
    case UNSUBSCRIBE:
        if (c->is_v5)
            say(c, (const uint8_t[]){0xB0, 4, id[0], id[1], 0, 0}, 6);
        else
            say(c, (const uint8_t[]){0xB0, 2, id[0], id[1]}, 4);
        break;
    case PINGREQ:
        say(c, (const uint8_t[]){0xD0, 0}, 2);
        break;
    case DISCONNECT:
        atomic_fetch_add(&counts->disconnects, 1);
        return false;
    default:
        break;
    }
    return true;
}

/* Octets of the first packet; 0: not all of it is there. */
static size_t packet_length(const struct client *c, size_t at, size_t *header)
{
    size_t body = 0;
    for (size_t i = at + 1, shift = 0; i < c->have && shift < 28; i++, shift += 7) {
        body |= (size_t)(c->in[i] & 0x7F) << shift;
        if ((c->in[i] & 0x80) != 0)
            continue;
        *header = i + 1 - at;
        return at + *header + body <= c->have ? *header + body : 0;
    }
    return 0;
}

static bool on_readable(int fd, struct client *c)
{
    const ssize_t n = recv(fd, c->in + c->have, sizeof c->in - c->have, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->have += (size_t)n;
    size_t at = 0;
    for (size_t len, header; (len = packet_length(c, at, &header)) > 0; at += len) {
        if (!on_packet(fd, c, c->in[at], c->in + at + header, len - header))
            return false;
    }
    flush(fd, c);
    memmove(c->in, c->in + at, c->have - at);
    c->have -= at;
    return c->have < sizeof c->in;
}

static void on_client(int fd, uint32_t events)
{
    struct client *const c = clients[fd];
    if (c->deaf) {
        if ((events & (EPOLLHUP | EPOLLERR)) != 0)
            leave(fd);
        return;
    }
    if (!on_readable(fd, c)) {
        leave(fd);
        return;
    }
    struct epoll_event e = {.events = c->deaf ? 0 : EPOLLIN, .data.fd = fd};
    if (c->deaf)
        must(epoll_ctl(poller, EPOLL_CTL_MOD, fd, &e) == 0, "epoll_ctl");
}

static void on_listener(int listener)
{
    const int on = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0;) {
        must(fd < DESCRIPTORS, "descriptors");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        clients[fd] = calloc(1, sizeof *clients[fd]);
        must(clients[fd] != NULL, "client");
        clients[fd]->is_new = true;
        n_new++;
        if (n_new > atomic_load(&counts->most_new))
            atomic_store(&counts->most_new, n_new);
        atomic_fetch_add(&counts->open, 1);
        struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
        must(epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) == 0, "epoll_ctl");
    }
}

static void serve(int listener)
{
    struct epoll_event events[EVENTS];
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener};

    poller = epoll_create1(EPOLL_CLOEXEC);
    must(poller >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e) == 0, "epoll");
    for (;;) {
        const int n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                on_listener(listener);
            else
                on_client(events[i].data.fd, events[i].events);
        }
    }
}

static pid_t fork_server(struct stub_broker *b)
{
    const pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    counts = b->counts;
    serve(b->listener);
    return 0;
}

/* Starts the server again for each octet: the test has threads by then, and can't fork. */
static void supervise(struct stub_broker *b, int commands)
{
    for (pid_t server = fork_server(b);; server = fork_server(b)) {
        char command;
        const bool again = read(commands, &command, 1) == 1;
        kill(server, SIGKILL);
        waitpid(server, NULL, 0);
        atomic_store(&b->counts->open, 0);
        atomic_fetch_add(&b->counts->restarts, 1);
        if (!again)
            _exit(0);
    }
}

void stub_start(struct stub_broker *b)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;

    b->counts =
        mmap(NULL, sizeof *b->counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(b->counts != MAP_FAILED, "mmap");
    b->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    must(b->listener >= 0 && bind(b->listener, (struct sockaddr *)&a, sizeof a) == 0 &&
             listen(b->listener, BACKLOG) == 0 &&
             getsockname(b->listener, (struct sockaddr *)&a, &len) == 0,
         "listener");
    b->port = ntohs(a.sin_port);
    int commands[2];
    must(pipe2(commands, O_CLOEXEC) == 0, "pipe");
    b->pid = fork();
    must(b->pid >= 0, "fork");
    if (b->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(commands[1]);
        supervise(b, commands[0]);
    }
    close(commands[0]);
    b->commands = commands[1];
}

void stub_restart(struct stub_broker *b)
{
    const unsigned before = atomic_load(&b->counts->restarts);

    must(write(b->commands, "r", 1) == 1, "stub");
    while (atomic_load(&b->counts->restarts) == before)
        poll(NULL, 0, 1);
}

void stub_stop(struct stub_broker *b)
{
    close(b->commands);
    waitpid(b->pid, NULL, 0);
    close(b->listener);
    munmap(b->counts, sizeof *b->counts);
}
