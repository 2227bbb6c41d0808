/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_poll.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "moderation.h"
#include "paho_ahead.h"
#include "paho_behind.h"

enum {
    DESCRIPTORS = 65536, /* beyond it, the kernel is asked about all of them, as Paho does it */
    EVENTS = 256,
    PROBES = 64,
    SHORTEST_MS = 100,
    LONGEST_MS = 5000,
    SHARE_MS = 50, /* per second of the keep-alive: a twentieth */
};

struct watch {
    bool open;
    bool watched;
    bool connecting; /* or failing to */
    bool stuck;
    bool left;
    uint32_t place; /* in `blocked`, from 1; 0: not in there */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the innermost */
static struct watch watches[DESCRIPTORS];
static int blocked[DESCRIPTORS]; /* can't be written */
static unsigned n_blocked;
static unsigned n_unwatched;
static int poller = -1;
static int bell = -1; /* rings when somebody wants to end the wait */
static atomic_int patience_ms = LONGEST_MS;

/* Of the receiving thread. */
static bool has_writable; /* Paho was told so, and must not wait before it looks */
static struct moderation moderation;
static unsigned packets; /* since the latest wait: Paho polls once for each */

static bool is_small(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS;
}

/* ---- which, under the lock ------------------------------------------------------------------- */

static void unblock(struct watch *w)
{
    if (w->place == 0)
        return;
    const int last = blocked[--n_blocked];
    blocked[w->place - 1] = last;
    watches[last].place = w->place;
    w->place = 0;
}

static void block(int fd)
{
    struct watch *const w = &watches[fd];
    if (w->place != 0)
        return;
    blocked[n_blocked++] = fd;
    w->place = n_blocked;
}

static bool control(int fd, int operation)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (watches[fd].connecting || watches[fd].stuck)
        e.events = EPOLLOUT;
    else if (watches[fd].left)
        e.events = EPOLLIN | EPOLLOUT;
    return epoll_ctl(poller, operation, fd, &e) == 0;
}

/* Tells the kernel what is of interest now. */
static void update(int fd)
{
    struct watch *const w = &watches[fd];

    if (w->connecting || w->stuck)
        block(fd);
    else
        unblock(w);
    if (w->watched && !control(fd, EPOLL_CTL_MOD)) {
        w->watched = false;
        n_unwatched++;
    }
}

static void make_poller(void)
{
    if (poller < 0)
        poller = epoll_create1(EPOLL_CLOEXEC);
    if (bell >= 0 || poller < 0)
        return;
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.fd = bell};
    if (bell >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, bell, &e) != 0) {
        close(bell);
        bell = -1;
    }
}

void paho_poll_wake(void)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&lock);
    make_poller();
    if (bell >= 0 && write(bell, &one, sizeof one) < 0)
        errno = 0; /* it rings already */
    pthread_mutex_unlock(&lock);
}

void paho_poll_keepalive(unsigned keepalive_s)
{
    const int64_t share_ms = (int64_t)keepalive_s * SHARE_MS;
    int ms = LONGEST_MS;
    if (share_ms < LONGEST_MS)
        ms = share_ms > SHORTEST_MS ? (int)share_ms : SHORTEST_MS;
    atomic_store(&patience_ms, ms);
}

void paho_poll_add(int fd)
{
    pthread_mutex_lock(&lock);
    make_poller();
    if (is_small(fd)) {
        watches[fd].open = true;
        watches[fd].connecting = true;
        watches[fd].stuck = false;
        watches[fd].left = false;
        watches[fd].watched = control(fd, EPOLL_CTL_ADD);
        block(fd);
    }
    if (!is_small(fd) || !watches[fd].watched)
        n_unwatched++;
    pthread_mutex_unlock(&lock);
}

void paho_poll_remove(int fd)
{
    pthread_mutex_lock(&lock);
    if (!is_small(fd)) {
        n_unwatched--;
    } else {
        struct watch *const w = &watches[fd];
        if (w->watched)
            (void)epoll_ctl(poller, EPOLL_CTL_DEL, fd, NULL);
        else
            n_unwatched--;
        unblock(w);
        *w = (struct watch){0};
    }
    pthread_mutex_unlock(&lock);
}

bool paho_poll_knows(int fd)
{
    pthread_mutex_lock(&lock);
    const bool open = is_small(fd) && watches[fd].open;
    pthread_mutex_unlock(&lock);
    return open;
}

bool paho_poll_stuck(int fd, bool stuck)
{
    if (!is_small(fd))
        return true;
    pthread_mutex_lock(&lock);
    const bool is_new = watches[fd].stuck != stuck;
    watches[fd].stuck = stuck;
    if (is_new)
        update(fd);
    pthread_mutex_unlock(&lock);
    return is_new;
}

void paho_poll_left(int fd, bool left)
{
    pthread_mutex_lock(&lock);
    watches[fd].left = left;
    update(fd);
    pthread_mutex_unlock(&lock);
}

/* ---- answers --------------------------------------------------------------------------------- */

static struct pollfd *find(struct pollfd *fds, nfds_t count, int fd)
{
    nfds_t low = 0;
    for (nfds_t high = count; low < high;) {
        const nfds_t middle = low + (high - low) / 2;
        if (fds[middle].fd < fd)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && fds[low].fd == fd ? &fds[low] : NULL;
}

/* Lock held. */
static int probe(struct pollfd *fds, nfds_t count, struct pollfd *probes, nfds_t n)
{
    int writable = 0;

    if (poll(probes, n, 0) < 0)
        return 0;
    for (nfds_t i = 0; i < n; i++) {
        struct pollfd *const p = find(fds, count, probes[i].fd);
        if (p == NULL)
            continue;
        p->revents = probes[i].revents;
        if ((probes[i].revents & POLLOUT) == 0)
            continue;
        writable++;
        if (watches[probes[i].fd].connecting) {
            watches[probes[i].fd].connecting = false;
            update(probes[i].fd);
        }
    }
    return writable;
}

static int ask_writable(struct pollfd *fds, nfds_t count)
{
    struct pollfd probes[PROBES];
    int writable = 0;

    for (nfds_t i = 0; i < count; i++)
        fds[i].revents = POLLOUT;
    pthread_mutex_lock(&lock);
    for (unsigned left = n_blocked; left > 0;) { /* from the end: probing may shorten it */
        nfds_t n = 0;
        while (n < PROBES && left > 0)
            probes[n++] = (struct pollfd){.fd = blocked[--left], .events = POLLOUT};
        writable += probe(fds, count, probes, n);
    }
    pthread_mutex_unlock(&lock);
    has_writable = writable > 0;
    return writable;
}

/* What has been read ahead needs no asking. The others have their turn when nothing waits any more,
 * which is soon: little is read ahead. */
static int look_ahead(struct pollfd *fds, nfds_t count)
{
    int ready = 0;
    int fd;

    pthread_mutex_lock(&lock);
    for (unsigned i = 0; (fd = paho_ahead_next(&i)) >= 0;) {
        struct pollfd *const p = find(fds, count, fd);
        if (p == NULL || (is_small(fd) && watches[fd].stuck))
            continue;
        p->revents = POLLIN;
        ready++;
    }
    pthread_mutex_unlock(&lock);
    return ready;
}

static bool is_left(int fd)
{
    pthread_mutex_lock(&lock);
    const bool left = is_small(fd) && watches[fd].left;
    pthread_mutex_unlock(&lock);
    return left;
}

static void silence(void)
{
    uint64_t rings;
    if (read(bell, &rings, sizeof rings) < 0)
        errno = 0;
}

/* When packets come fast. */
static void let_them_gather(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    const int64_t now_ns = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    const int64_t pause_ns = moderation_pause(&moderation, now_ns, packets);
    packets = 0;
    if (pause_ns > 0)
        nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
}

static int wait_readable(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int ready = 0;

    const int n = epoll_wait(poller, events, EVENTS, timeout_ms);
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == bell) {
            silence();
            continue;
        }
        if ((events[i].events & EPOLLOUT) != 0 && is_left(events[i].data.fd))
            paho_behind_resume(events[i].data.fd);
        struct pollfd *const p = find(fds, count, events[i].data.fd);
        if (p == NULL) /* Paho will know of it in its next cycle */
            continue;
        if ((events[i].events & (EPOLLIN | EPOLLERR)) != 0)
            p->revents |= POLLIN;
        if ((events[i].events & (EPOLLHUP | EPOLLERR)) != 0)
            p->revents |= POLLHUP;
        ready += p->revents != 0;
    }
    return ready;
}

/* Now the receiving thread really waits. */
static int wait_for(struct pollfd *fds, nfds_t count)
{
    int timeout_ms = has_writable ? 0 : atomic_load(&patience_ms);

    has_writable = false;
    paho_behind_flush();
    pthread_mutex_lock(&lock);
    make_poller();
    const bool plain = n_unwatched > 0 || bell < 0;
    pthread_mutex_unlock(&lock);
    let_them_gather();
    if (!plain)
        return wait_readable(fds, count, timeout_ms);
    return poll(fds, count, timeout_ms < SHORTEST_MS ? timeout_ms : SHORTEST_MS);
}

int paho_poll(struct pollfd *fds, nfds_t count)
{
    if (count > 0 && fds[0].events == POLLOUT)
        return ask_writable(fds, count);
    for (nfds_t i = 0; i < count; i++)
        fds[i].revents = 0;
    packets++;
    const int ahead = look_ahead(fds, count);
    return ahead > 0 ? ahead : wait_for(fds, count);
}

void paho_poll_nothing(void)
{
    wait_for(NULL, 0);
}
