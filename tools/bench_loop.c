/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of sennet-bench: waits, hands out what came, sends what is due. */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <time.h>

#include "tools/bench.h"

enum { EVENTS = 256 };

int64_t bench_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * BENCH_SECOND + t.tv_nsec;
}

bool bench_watch(const struct bench *b, int fd, enum bench_tag tag, uint32_t index, bool writable)
{
    struct epoll_event e = {.events = (uint32_t)(writable ? EPOLLIN | EPOLLOUT : EPOLLIN),
                            .data.u64 = (uint64_t)tag << 32 | index};
    if (epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, fd, &e) == 0 ||
        (errno == EEXIST && epoll_ctl(b->epoll_fd, EPOLL_CTL_MOD, fd, &e) == 0))
        return true;
    perror("sennet-bench: epoll");
    return false;
}

static void handle(struct bench *b, const struct epoll_event *e)
{
    const enum bench_tag tag = (enum bench_tag)(e->data.u64 >> 32);
    const uint32_t index = (uint32_t)e->data.u64;
    if (tag == TAG_AIR)
        air_receive(&b->air, index, node_input, b);
    else
        broker_ready(b, tag, index);
}

void bench_step(struct bench *b, int64_t until_ns)
{
    struct epoll_event events[EVENTS];
    const int64_t next_ns = flow_pump(b);
    broker_flush(b);
    if (b->air.n_fds > 0)
        air_flush(&b->air);
    int64_t wait_ns = (next_ns < until_ns ? next_ns : until_ns) - bench_clock_ns();
    wait_ns = wait_ns > 0 ? wait_ns : 0;
    wait_ns = wait_ns < BENCH_SECOND / 10 ? wait_ns : BENCH_SECOND / 10;
    const struct timespec wait = {.tv_nsec = (long)wait_ns};
    const int n = epoll_pwait2(b->epoll_fd, events, EVENTS, &wait, NULL);
    b->now_ns = bench_clock_ns();
    for (int i = 0; i < n; i++)
        handle(b, &events[i]);
    nodes_advance(b);
}

bool bench_until(struct bench *b, bool (*done)(const struct bench *b), int64_t until_ns)
{
    while (!done(b)) {
        if (b->now_ns >= until_ns || b->trouble != NULL)
            return false;
        bench_step(b, until_ns);
    }
    return true;
}

static bool never(const struct bench *b)
{
    (void)b;
    return false;
}

void bench_run_until(struct bench *b, int64_t until_ns)
{
    bench_until(b, never, until_ns);
}
