/* SPDX-License-Identifier: Apache-2.0 */
#include "dialer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "dialer_priv.h"
#include "thread.h"

enum {
    EVENTS = 32,
    STACK_BYTES = 256 * 1024, /* OpenSSL reads certificates on it */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* All under the lock. Jobs stand in the order in which they were started, which is that of their
 * deadlines, too. */
static struct list jobs = {.next = &jobs, .prev = &jobs};
static struct list dead = {.next = &dead, .prev = &dead};
static int poller = -1;
static int bell = -1;

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void ring(void)
{
    const uint64_t one = 1;
    if (write(bell, &one, sizeof one) < 0)
        return; /* it rings already */
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void finish(struct dialer_job *j)
{
    if (j->fd >= 0)
        (void)epoll_ctl(poller, EPOLL_CTL_DEL, j->fd, NULL);
    list_unlink(&j->link);
    j->is_over = true;
    j->done(j->arg);
}

static void serve(struct dialer_job *j)
{
    if (j->is_over || j->is_dead)
        return;
    dialer_go_on(j);
    struct epoll_event wanted = {.events = j->waits_for, .data.ptr = j};
    if (j->stage == STAGE_READY || j->stage == STAGE_FAILED ||
        epoll_ctl(poller, EPOLL_CTL_MOD, j->fd, &wanted) != 0)
        finish(j);
}

/* Milliseconds until the next job runs out of time; -1: there is none. */
static int end_late_ones(void)
{
    for (struct list *link; (link = list_first(&jobs)) != NULL;) {
        struct dialer_job *const j = container_of(link, struct dialer_job, link);
        const int64_t left_ms = j->until_ms - now_ms();
        if (left_ms > 0)
            return (int)left_ms;
        dialer_give_up(j);
        finish(j);
    }
    return -1;
}

/* Whoever ended them had no way to know whether events of theirs were about to be served. */
static void bury(void)
{
    for (struct list *link; (link = list_pop_front(&dead)) != NULL;)
        free(container_of(link, struct dialer_job, link));
}

static void *dial(void *arg)
{
    struct epoll_event events[EVENTS];
    int wait_ms = -1;

    (void)arg;
    for (;;) {
        const int n = epoll_wait(poller, events, EVENTS, wait_ms);
        for (int i = 0; i < n; i++) {
            uint64_t rings;
            pthread_mutex_lock(&lock);
            if (events[i].data.ptr != NULL)
                serve(events[i].data.ptr);
            else if (read(bell, &rings, sizeof rings) < 0)
                rings = 0;
            pthread_mutex_unlock(&lock);
        }
        pthread_mutex_lock(&lock);
        wait_ms = end_late_ones();
        bury();
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* Lock held. The thread stays until the process ends. */
static bool is_running(void)
{
    struct epoll_event rings = {.events = EPOLLIN, .data.ptr = NULL};

    if (poller >= 0)
        return true;
    poller = epoll_create1(EPOLL_CLOEXEC);
    bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (poller >= 0 && bell >= 0 && epoll_ctl(poller, EPOLL_CTL_ADD, bell, &rings) == 0 &&
        thread_start_detached(dial, NULL, STACK_BYTES))
        return true;
    if (poller >= 0)
        close(poller);
    if (bell >= 0)
        close(bell);
    poller = -1;
    bell = -1;
    return false;
}

/* ---- who calls it ---------------------------------------------------------------------------- */

/* Lock held. */
static bool put_to_work(struct dialer_job *j)
{
    struct epoll_event wanted = {.events = EPOLLOUT, .data.ptr = j};

    if (!is_running() || epoll_ctl(poller, EPOLL_CTL_ADD, j->fd, &wanted) != 0)
        return false;
    j->until_ms = now_ms() + DIALER_MS;
    list_push_back(&jobs, &j->link);
    ring(); /* there is a deadline to wait for */
    return true;
}

struct dialer_job *dialer_start(const struct dialer_request *request, void (*done)(void *arg),
                                void *arg)
{
    struct dialer_job *const j = calloc(1, sizeof *j);
    if (j == NULL)
        return NULL;
    list_init(&j->link);
    j->fd = -1;
    j->done = done;
    j->arg = arg;
    bool ok = dialer_prepare(j, request) == 0;
    if (ok) {
        pthread_mutex_lock(&lock);
        ok = put_to_work(j);
        pthread_mutex_unlock(&lock);
    }
    if (ok)
        return j;
    dialer_clear(j);
    free(j);
    return NULL;
}

void dialer_end(struct dialer_job *j, struct dialer_result *out)
{
    if (j == NULL)
        return;
    pthread_mutex_lock(&lock);
    if (!j->is_over && j->fd >= 0)
        (void)epoll_ctl(poller, EPOLL_CTL_DEL, j->fd, NULL);
    if (out != NULL) {
        *out = (struct dialer_result){.fd = -1, .unreached = j->unreached};
        memcpy(out->why, j->why, sizeof out->why);
        if (j->stage == STAGE_READY) {
            out->fd = j->fd;
            out->ssl = j->ssl;
            j->fd = -1;
            j->ssl = NULL;
        }
    }
    dialer_clear(j);
    list_unlink(&j->link);
    j->is_dead = true;
    list_push_back(&dead, &j->link);
    ring();
    pthread_mutex_unlock(&lock);
}
