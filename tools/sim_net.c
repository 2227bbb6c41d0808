/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets and time. One connected UDP socket per node, so the kernel finds the node for us: one
 * send() and one recv() per packet, one epoll_wait() and one clock reading per batch.
 */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "tools/sim.h"

enum {
    BATCH = 64, /* small, so that the one clock reading stays true for all of it */
    PACKET_MAX = 65536,
    SPARE_FDS = 64,
    NO_SOCKET = 0x7FFFFFFF, /* a node behind a stick that is switched on */
};

/* epoll's user data besides node numbers. */
enum { TAG_SIGNAL = -1, TAG_BROKER = -2, TAG_OBSERVER = -3, TAG_STICK = -4 };

void net_read_clock(struct sim *sim)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    sim->now_us = (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
    sim->now_ms = sim->now_us / 1000;
}

/* ---- life cycle ------------------------------------------------------------------------------ */

static bool raise_descriptors(rlim_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return false;
    if (limit.rlim_cur >= wanted)
        return true;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted; /* root may */
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return true;
    fprintf(stderr,
            "sennet-sim: %llu open files are needed, one per node, and the limit can't be raised: "
            "%s. Simulate fewer nodes, or raise it (ulimit -n).\n",
            (unsigned long long)wanted, strerror(errno));
    return false;
}

static bool watch(const struct sim *sim, int fd, int64_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u64 = (uint64_t)tag}};
    return epoll_ctl(sim->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Signals are read like everything else, and blocked in Paho's threads, which start later. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGWINCH);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
        return -1;
    signal(SIGPIPE, SIG_IGN);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

bool net_init(struct sim *sim)
{
    air_init(&sim->air);
    sim->epoll_fd = -1;
    sim->signal_fd = -1;
    const rlim_t sockets = sim->options.stick.kind == NULL ? sim->n_nodes : 0;
    if (!raise_descriptors(sockets + SPARE_FDS))
        return false;
    sim->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    sim->signal_fd = open_signals();
    if (sim->epoll_fd < 0 || sim->signal_fd < 0 || !watch(sim, sim->signal_fd, TAG_SIGNAL)) {
        fprintf(stderr, "sennet-sim: the event loop can't be made: %s\n", strerror(errno));
        return false;
    }
    return true;
}

bool net_watch_broker(struct sim *sim, int fd)
{
    return watch(sim, fd, TAG_BROKER);
}

/* Changes what is waited for, or begins to wait. */
static bool rewatch(const struct sim *sim, int fd, uint32_t events, int64_t tag)
{
    struct epoll_event event = {.events = events, .data = {.u64 = (uint64_t)tag}};
    return epoll_ctl(sim->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0 ||
           (errno == ENOENT && epoll_ctl(sim->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

bool net_watch_observer(struct sim *sim, int fd, uint32_t events)
{
    return rewatch(sim, fd, events, TAG_OBSERVER);
}

bool net_watch_stick(struct sim *sim, int fd, bool write)
{
    return rewatch(sim, fd, EPOLLIN | (write ? (uint32_t)EPOLLOUT : 0), TAG_STICK);
}

const char *net_resolve(const char *text, int socktype, struct sockaddr_storage *out,
                        socklen_t *len)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    if (n == 0 || n >= sizeof host || colon[1] == '\0')
        return "must be HOST:PORT or [IPV6]:PORT";
    if (text[0] == '[' && n > 2 && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    memcpy(host, text, n);
    host[n] = '\0';
    const struct addrinfo hints = {.ai_socktype = socktype};
    struct addrinfo *found = NULL;
    const int e = getaddrinfo(host, colon + 1, &hints, &found);
    if (e != 0)
        return gai_strerror(e);
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *len = found->ai_addrlen;
    freeaddrinfo(found);
    return NULL;
}

void net_deinit(struct sim *sim)
{
    air_deinit(&sim->air);
    if (sim->epoll_fd >= 0)
        close(sim->epoll_fd);
    if (sim->signal_fd >= 0)
        close(sim->signal_fd);
}

bool net_open(struct sim *sim, struct sim_node *n)
{
    if (sim->stick != NULL) {
        n->fd = NO_SOCKET;
        n->incarnation++;
        stick_node_on(sim, sim->stick, n, true);
        return true;
    }
    n->fd = socket(sim->gateway.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (n->fd < 0)
        return false;
    if (connect(n->fd, (const struct sockaddr *)&sim->gateway, sim->gateway_len) != 0 ||
        !watch(sim, n->fd, n->number)) {
        close(n->fd);
        n->fd = -1;
        return false;
    }
    n->incarnation++;
    return true;
}

void net_close(struct sim *sim, struct sim_node *n)
{
    if (n->fd >= 0 && sim->stick != NULL)
        stick_node_on(sim, sim->stick, n, false);
    else if (n->fd >= 0)
        close(n->fd); /* leaves epoll by itself */
    n->fd = -1;
}

/* ---- packets --------------------------------------------------------------------------------- */

static void count_error(struct sim *sim)
{
    /* An earlier packet met nobody; the next may. Anything else is like lost on the air. */
    if (errno == ECONNREFUSED)
        sim->counters.unreachable++;
    else
        sim->counters.send_failures++;
}

static void transmit(struct sim *sim, const struct sim_node *n, struct bytes packet)
{
    if (n->fd < 0)
        return;
    if (sim->stick != NULL) {
        stick_node_send(sim, sim->stick, n, packet);
        return;
    }
    if (send(n->fd, packet.data, packet.len, 0) >= 0)
        return;
    const bool reported_late = errno == ECONNREFUSED;
    count_error(sim);
    if (reported_late && send(n->fd, packet.data, packet.len, 0) < 0)
        count_error(sim);
}

/* Through the air: true when the packet arrives at once, `copies` times. */
static unsigned fly(struct sim *sim, struct sim_node *n, bool up, struct bytes packet)
{
    const struct air_settings *settings = &n->group->air;
    if (air_is_clear(settings) || sim->stick != NULL) /* the ether has it all */
        return 1;
    int64_t delays_ms[AIR_COPIES_MAX];
    const unsigned copies = air_decide(&n->path, settings, delays_ms);
    unsigned at_once = 0;
    for (unsigned i = 0; i < copies; i++) {
        if (delays_ms[i] == 0)
            at_once++;
        else
            air_launch(&sim->air, sim->now_ms + delays_ms[i], n->number, n->incarnation, up,
                       packet);
    }
    sim->air.lost += copies == 0;
    sim->air.duplicated += copies > 1;
    return at_once;
}

void net_send(struct sim *sim, struct sim_node *n, struct bytes packet)
{
    for (unsigned copies = fly(sim, n, true, packet); copies > 0; copies--)
        transmit(sim, n, packet);
}

static void receive(struct sim *sim, struct sim_node *n)
{
    static uint8_t buf[PACKET_MAX];
    if (n->fd < 0)
        return;
    const ssize_t len = recv(n->fd, buf, sizeof buf, 0);
    if (len < 0) {
        if (errno != EAGAIN && errno != EINTR)
            count_error(sim);
        return;
    }
    const struct bytes packet = bytes_of(buf, (size_t)len);
    const uint32_t incarnation = n->incarnation;
    for (unsigned copies = fly(sim, n, false, packet); copies > 0; copies--) {
        if (n->fd >= 0 && n->incarnation == incarnation)
            node_input(sim, n, packet);
    }
}

static void land(struct sim *sim)
{
    air_collect(&sim->air, sim->now_ms);
    struct air_packet *p;
    while ((p = air_land(&sim->air)) != NULL) {
        struct sim_node *n = &sim->nodes[p->node];
        const struct bytes packet = bytes_of(p->data, p->len);
        if (n->fd >= 0 && n->incarnation == p->incarnation && p->up)
            transmit(sim, n, packet);
        else if (n->fd >= 0 && n->incarnation == p->incarnation)
            node_input(sim, n, packet);
        air_release(&sim->air, p);
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void read_signals(struct sim *sim)
{
    struct signalfd_siginfo info;
    while (read(sim->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGWINCH)
            run_interrupt(sim);
        else if (sim->table != NULL)
            table_resize(sim->table);
    }
}

static void handle(struct sim *sim, const struct epoll_event *event)
{
    const int64_t tag = (int64_t)event->data.u64;
    if (tag >= 0)
        receive(sim, &sim->nodes[tag]);
    else if (tag == TAG_STICK)
        stick_io(sim, sim->stick);
    else if (tag == TAG_BROKER)
        broker_drain(sim);
    else if (tag == TAG_OBSERVER)
        observer_ready_io(sim);
    else
        read_signals(sim);
}

/* In microseconds, as a stick's line wants it. */
static int64_t next_us(const struct sim *sim, int64_t until_ms)
{
    int64_t next_ms = time_min(until_ms, deadlines_next(&sim->deadlines));
    next_ms = time_min(next_ms, air_next_landing(&sim->air));
    if (sim->observer != NULL)
        next_ms = time_min(next_ms, observer_next_ms(sim));
    const int64_t stick_us = sim->stick != NULL ? stick_next_us(sim->stick) : TIME_NEVER;
    return time_min(time_us(next_ms), stick_us);
}

static int wait_for_events(const struct sim *sim, int64_t until_us, struct epoll_event *events)
{
    enum { LONGEST_US = 1000000 };

    const int64_t left_us = until_us - sim->now_us;
    const int64_t wait_us = left_us < 0 ? 0 : time_min(left_us, LONGEST_US);
    const struct timespec wait = {.tv_sec = wait_us / 1000000, .tv_nsec = wait_us % 1000000 * 1000};
    const int n = epoll_pwait2(sim->epoll_fd, events, BATCH, &wait, NULL);
    if (n >= 0 || errno != ENOSYS) /* before Linux 5.11 */
        return n;
    return epoll_wait(sim->epoll_fd, events, BATCH, (int)((wait_us + 999) / 1000));
}

/* A machine that is too busy to run us for a while is too busy to run the gateway. */
static void note_delay(struct sim *sim, int64_t due_us)
{
    enum { STALL_MS = 50 };

    const int64_t late_ms = (sim->now_us - due_us) / 1000;
    if (late_ms < STALL_MS)
        return;
    sim->counters.stalled_ms += (uint64_t)late_ms;
    if (sim->stick != NULL)
        stick_excuse(sim->stick, late_ms);
}

void net_wait(struct sim *sim, int64_t until_ms)
{
    struct epoll_event events[BATCH];
    const int64_t wanted_us = next_us(sim, until_ms);
    const int n = wait_for_events(sim, wanted_us, events);
    const int64_t before_us = sim->now_us;
    net_read_clock(sim);
    note_delay(sim, time_max(before_us, wanted_us));
    for (int i = 0; i < n; i++)
        handle(sim, &events[i]);
    land(sim);
    if (sim->stick != NULL)
        stick_step(sim, sim->stick);
    deadlines_collect(&sim->deadlines, sim->now_ms);
    struct deadline *due;
    while ((due = deadlines_take(&sim->deadlines)) != NULL)
        node_due(sim, container_of(due, struct sim_node, due));
    nodes_connect(sim);
    if (sim->stick != NULL)
        stick_step(sim, sim->stick); /* what nodes have just sent */
    if (sim->observer != NULL)
        observer_advance(sim);
    if (sim->broker != NULL)
        broker_flush(sim);
}
