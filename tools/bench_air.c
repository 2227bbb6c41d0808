/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_air.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FIRST_ADDRESS = 0x7F000101, /* 127.0.1.1 */
    SHARED_FDS = 100,
    BUFFER_BYTES = 8 * 1024 * 1024, /* of sockets that many nodes share */
};

struct air_control {
    _Alignas(struct cmsghdr) uint8_t room[CMSG_SPACE(sizeof(struct in_pktinfo))];
};

struct air_half {
    struct mmsghdr msgs[AIR_BATCH];
    struct iovec iov[AIR_BATCH];
    struct air_control control[AIR_BATCH];
    uint8_t bytes[AIR_BATCH][AIR_PACKET_MAX];
    int fd[AIR_BATCH]; /* out */
};

struct air_room {
    struct air_half in, out;
};

/* ---- nodes and sockets ----------------------------------------------------------------------- */

static uint32_t address_of(const struct air *a, uint32_t node)
{
    return (uint32_t)FIRST_ADDRESS + node / a->n_fds;
}

static int open_socket(const struct air *a)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int on = 1;
    const int bytes = BUFFER_BYTES;
    const struct sockaddr_in any = {.sin_family = AF_INET};
    bool done;
    if (a->shared) {
        done = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0 &&
               bind(fd, (const struct sockaddr *)&any, sizeof any) == 0;
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    } else {
        done = connect(fd, (const struct sockaddr *)&a->gateway, sizeof a->gateway) == 0;
    }
    if (done)
        return fd;
    const int error = -errno;
    close(fd);
    return error;
}

static void prepare(struct air *a)
{
    for (unsigned i = 0; i < AIR_BATCH; i++) {
        struct air_half *const halves[] = {&a->room->in, &a->room->out};
        for (unsigned h = 0; h < 2; h++) {
            struct air_half *half = halves[h];
            half->iov[i] = (struct iovec){.iov_base = half->bytes[i], .iov_len = AIR_PACKET_MAX};
            half->msgs[i].msg_hdr = (struct msghdr){.msg_iov = &half->iov[i], .msg_iovlen = 1};
        }
        if (!a->shared)
            continue;
        a->room->in.msgs[i].msg_hdr.msg_control = &a->room->in.control[i];
        struct msghdr *out = &a->room->out.msgs[i].msg_hdr;
        out->msg_name = &a->gateway;
        out->msg_namelen = sizeof a->gateway;
        out->msg_control = &a->room->out.control[i];
        out->msg_controllen = sizeof a->room->out.control[i];
        struct cmsghdr *c = CMSG_FIRSTHDR(out);
        c->cmsg_level = IPPROTO_IP;
        c->cmsg_type = IP_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    }
}

int air_open(struct air *a, const struct sockaddr_in *gateway, uint32_t n_nodes, uint32_t ports)
{
    *a = (struct air){.gateway = *gateway, .n_nodes = n_nodes};
    a->shared = n_nodes > ports;
    const uint32_t shared = ports < SHARED_FDS ? ports : SHARED_FDS;
    const uint32_t wanted = a->shared ? shared : n_nodes;
    a->room = calloc(1, sizeof *a->room);
    a->fds = calloc(wanted > 0 ? wanted : 1, sizeof *a->fds);
    if (a->room == NULL || a->fds == NULL) {
        air_close(a);
        return -ENOMEM;
    }
    prepare(a);
    for (; a->n_fds < wanted; a->n_fds++) {
        const int fd = open_socket(a);
        if (fd < 0) {
            air_close(a);
            return fd;
        }
        a->fds[a->n_fds] = fd;
    }
    return 0;
}

void air_close(struct air *a)
{
    for (uint32_t i = 0; i < a->n_fds; i++)
        close(a->fds[i]);
    free(a->fds);
    free(a->room);
    *a = (struct air){0};
}

/* ---- sending --------------------------------------------------------------------------------- */

uint8_t *air_packet(struct air *a)
{
    return a->room->out.bytes[a->n_out];
}

void air_send(struct air *a, uint32_t node, size_t len)
{
    struct air_half *out = &a->room->out;
    out->iov[a->n_out].iov_len = len;
    out->fd[a->n_out] = a->fds[node % a->n_fds];
    if (a->shared) {
        const struct in_pktinfo info = {.ipi_spec_dst.s_addr = htonl(address_of(a, node))};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&out->msgs[a->n_out].msg_hdr)), &info, sizeof info);
    }
    a->n_out++;
    if (a->n_out == AIR_BATCH)
        air_flush(a);
}

/* Packets [from, to) have one socket. An error may be that of an earlier packet (ICMP), so there is a
 * second chance. */
static void send_run(struct air *a, unsigned from, unsigned to)
{
    struct air_half *out = &a->room->out;
    bool tried = false;
    while (from < to) {
        const int n =
            to - from == 1 && !a->shared
                ? (send(out->fd[from], out->bytes[from], out->iov[from].iov_len, 0) < 0 ? -1 : 1)
                : sendmmsg(out->fd[from], &out->msgs[from], to - from, 0);
        if (n > 0) {
            from += (unsigned)n;
            tried = false;
        } else if (tried) {
            a->refused++;
            from++;
            tried = false;
        } else {
            tried = true;
        }
    }
}

void air_flush(struct air *a)
{
    const unsigned n = a->n_out;
    a->n_out = 0;
    for (unsigned from = 0; from < n;) {
        unsigned to = from + 1;
        while (to < n && a->room->out.fd[to] == a->room->out.fd[from])
            to++;
        send_run(a, from, to);
        from = to;
    }
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Which node a packet is for; n_nodes: none. */
static uint32_t node_of(const struct air *a, uint32_t index, struct msghdr *h)
{
    if (!a->shared)
        return index;
    const struct cmsghdr *c = CMSG_FIRSTHDR(h);
    if (c == NULL || c->cmsg_type != IP_PKTINFO)
        return a->n_nodes;
    struct in_pktinfo info;
    memcpy(&info, CMSG_DATA(c), sizeof info);
    const uint64_t nth = ntohl(info.ipi_addr.s_addr) - (uint32_t)FIRST_ADDRESS;
    const uint64_t node = nth * a->n_fds + index;
    return node < a->n_nodes ? (uint32_t)node : a->n_nodes;
}

void air_receive(struct air *a, uint32_t index, air_input *input, void *context)
{
    struct air_half *in = &a->room->in;
    /* A socket of one node mostly has one packet: the second call of the loop in the kernel, which
     * finds nothing, is cheaper than a second wake-up. */
    for (unsigned i = 0; a->shared && i < AIR_BATCH; i++)
        in->msgs[i].msg_hdr.msg_controllen = sizeof in->control[i];
    const int n = recvmmsg(a->fds[index], in->msgs, AIR_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        const uint32_t node = node_of(a, index, &in->msgs[i].msg_hdr);
        if (node < a->n_nodes)
            input(context, node, bytes_of(in->bytes[i], in->msgs[i].msg_len));
    }
}
