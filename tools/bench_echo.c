/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw limit of UDP: a process that does nothing but send back what it gets, one datagram per
 * system call or, batched, up to 64.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tools/bench.h"

enum { BATCH = 64, BUFFER_BYTES = 4 * 1024 * 1024, DRAIN_SECONDS = 1 };

static _Noreturn void echo_one(int fd)
{
    uint8_t data[AIR_PACKET_MAX];
    struct sockaddr_in from;
    for (;;) {
        socklen_t len = sizeof from;
        const ssize_t n = recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&from, &len);
        if (n >= 0)
            (void)!sendto(fd, data, (size_t)n, 0, (const struct sockaddr *)&from, len);
    }
}

static _Noreturn void echo_batch(int fd)
{
    static uint8_t data[BATCH][AIR_PACKET_MAX];
    static struct sockaddr_in from[BATCH];
    static struct iovec iov[BATCH];
    static struct mmsghdr msgs[BATCH];
    for (;;) {
        for (unsigned i = 0; i < BATCH; i++) {
            iov[i] = (struct iovec){.iov_base = data[i], .iov_len = AIR_PACKET_MAX};
            msgs[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                              .msg_namelen = sizeof from[i],
                                              .msg_iov = &iov[i],
                                              .msg_iovlen = 1};
        }
        const int n = recvmmsg(fd, msgs, BATCH, MSG_WAITFORONE, NULL);
        for (int i = 0; i < n; i++)
            iov[i].iov_len = msgs[i].msg_len;
        for (int sent = 0; sent < n;) {
            const int more = sendmmsg(fd, msgs + sent, (unsigned)(n - sent), 0);
            sent += more > 0 ? more : 1;
        }
    }
}

/* The process, or -1; where it listens. */
static pid_t start_echo(bool batched, struct sockaddr_in *at)
{
    socklen_t len = sizeof *at;
    const int bytes = BUFFER_BYTES;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (const struct sockaddr *)at, sizeof *at) != 0 ||
        getsockname(fd, (struct sockaddr *)at, &len) != 0) {
        perror("sennet-bench: echo");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    fflush(stdout);
    const pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (batched)
            echo_batch(fd);
        else
            echo_one(fd);
    }
    close(fd);
    return pid;
}

static void measure(struct bench *b, const struct bench_case *c, pid_t pid, struct bench_result *r)
{
    const struct bench_options *o = &b->options;
    b->now_ns = bench_clock_ns();
    const struct probe before = probe_take(b, pid);
    flow_open(b, c);
    bench_run_until(b, b->now_ns + (int64_t)(o->warm_seconds * (double)BENCH_SECOND));
    b->tally.measuring = true;
    const struct probe from = probe_take(b, pid);
    bench_run_until(b, from.at_ns + (int64_t)(o->seconds * (double)BENCH_SECOND));
    const struct probe to = probe_take(b, pid);
    b->tally.measuring = false;
    flow_close(b);
    bench_until(b, flow_is_dry, bench_clock_ns() + DRAIN_SECONDS * BENCH_SECOND);
    result_between(r, &from, &to);
    result_books(b, r);
    const struct probe after = probe_take(b, pid);
    result_drops(r, &before, &after);
}

void run_echo(struct bench *b, const struct bench_case *c, struct bench_result *r)
{
    struct sockaddr_in at;
    const struct sockaddr_in gateway = b->gateway;
    const pid_t pid = start_echo(c->figure->variant, &at);
    if (pid < 0) {
        b->trouble = "no echo server";
        return;
    }
    b->gateway = at;
    if (nodes_init(b, c->nodes, &at))
        measure(b, c, pid, r);
    nodes_deinit(b);
    b->gateway = gateway;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
