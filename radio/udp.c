/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MQTT-SN over UDP. An own socket under uv_poll, because libuv's UDP handles neither batch what is
 * sent nor tell what the kernel dropped, and their queue has no bound.
 *
 * Everything is allocated at open: a batch of receive buffers, and one outgoing queue that is
 * filled between flushes and emptied by sendmmsg(). When the system is busy the queue simply stays,
 * up to its bounds, until the socket is writable again.
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#include "base/error.h"
#include "base/log.h"

#include "radio/link.h"
#include "radio/sockaddr.h"
#include "radio/sources.h"
#include "radio/udp_group.h"

enum {
    BATCH = 64,              /* datagrams per system call */
    ROUNDS = 4,              /* batches per wake-up, then other handles have their turn */
    OUT_PACKETS = 1024,      /* waiting to be sent */
    OUT_BYTES = 512 * 1024,  /* the same */
    UDP_PAYLOAD_MAX = 65507, /* of an IPv4 datagram */
    HOPS_DEFAULT = 1,        /* how far radius 0 goes: "the whole network" is ours, not the world */
    ERRORS_PER_WAKE_UP = 256, /* entries of the error queue looked at */
};

/* Room for what one datagram may be accompanied by. */
struct control {
    _Alignas(struct cmsghdr)
        uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint32_t))];
};

struct receiving {
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    union sock_addr from[BATCH];
    struct control control[BATCH];
    uint8_t *buffer; /* BATCH * max_packet */
    unsigned dirty;  /* headers that the last call has written to */
};

struct outgoing {
    union sock_addr to;
    uint32_t offset;
    uint32_t len;
    uint8_t source; /* of sources_find() */
    uint8_t hops;   /* for the group; 0: to one node */
    bool tried;     /* once refused by the system, and given a second chance */
};

struct sending {
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    struct control control[BATCH];
    struct outgoing queue[OUT_PACKETS]; /* [first, count) wait */
    unsigned first, count;
    uint8_t *bytes; /* OUT_BYTES */
    size_t used;
    bool blocked; /* the socket is full: wait until it is writable */
};

struct udp {
    struct link base;
    uv_poll_t poll;
    int fd;
    sa_family_t family;
    uint16_t index;
    bool started; /* packets are wanted */
    bool closing;
    size_t max_packet;
    uint32_t overflow; /* the kernel's drop counter, as last seen */
    struct link_sink sink;
    struct link_counters counters;
    struct sources *sources; /* NULL unless bound to the wildcard */
    struct udp_group *group; /* NULL: none */
    union sock_addr bound;
    char where[PEER_TEXT_MAX];
    struct receiving in;
    struct sending out;
};

static struct udp *udp_of(const struct link *l)
{
    const struct udp *u = (const struct udp *)(const void *)l;
    return (struct udp *)(uintptr_t)u;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events);

static void wait_for_events(struct udp *u)
{
    const int events = (u->started ? UV_READABLE : 0) | (u->out.blocked ? UV_WRITABLE : 0);
    if (events == 0) {
        uv_poll_stop(&u->poll);
        return;
    }
    const int rc = uv_poll_start(&u->poll, events, on_poll);
    assert(rc == 0);
    (void)rc;
}

/* Fills the headers for the next packets of the queue; how many. */
static unsigned prepare_send(struct udp *u)
{
    struct sending *s = &u->out;
    unsigned n = 0;
    for (; n < BATCH && s->first + n < s->count; n++) {
        struct outgoing *o = &s->queue[s->first + n];
        s->iov[n] = (struct iovec){.iov_base = s->bytes + o->offset, .iov_len = o->len};
        struct msghdr *h = &s->msgs[n].msg_hdr;
        *h = (struct msghdr){.msg_name = &o->to,
                             .msg_namelen = sock_len(&o->to),
                             .msg_iov = &s->iov[n],
                             .msg_iovlen = 1};
        const union source_address *from =
            u->sources != NULL ? sources_address(u->sources, o->source) : NULL;
        if (from == NULL && o->hops == 0)
            continue;
        h->msg_control = &s->control[n];
        h->msg_controllen = sizeof s->control[n];
        if (o->hops > 0)
            sock_put_hops(h, u->family, o->hops);
        else
            sock_put_source(h, u->family, from);
    }
    return n;
}

static void count_sent(struct udp *u, unsigned n)
{
    struct sending *s = &u->out;
    for (unsigned i = 0; i < n; i++)
        u->counters.bytes_out += s->queue[s->first + i].len;
    u->counters.packets_out += n;
    s->first += n;
}

/* The system refused the first packet of the queue. The error may belong to an earlier one (ICMP),
 * or to an own address that is gone, so it gets a second chance without either. */
static void refused(struct udp *u)
{
    struct sending *s = &u->out;
    struct outgoing *o = &s->queue[s->first];
    if (!o->tried) {
        o->tried = true;
        o->source = SOURCE_ANY;
        return;
    }
    u->counters.send_drops++;
    s->first++;
}

static void block(struct udp *u)
{
    if (u->out.blocked)
        return;
    u->out.blocked = true;
    u->counters.send_deferred += u->out.count - u->out.first;
    wait_for_events(u);
}

static void send_queue(struct udp *u)
{
    struct sending *s = &u->out;
    while (s->first < s->count) {
        const unsigned n = prepare_send(u);
        const int sent = sendmmsg(u->fd, s->msgs, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            count_sent(u, (unsigned)sent);
        } else if (errno == EAGAIN) {
            block(u);
            return;
        } else if (errno != EINTR) {
            refused(u);
        }
    }
    s->first = 0;
    s->count = 0;
    s->used = 0;
    if (s->blocked) {
        s->blocked = false;
        wait_for_events(u);
    }
}

/* Moves what waits to the front of the queue's memory. */
static void compact(struct sending *s)
{
    if (s->first == 0)
        return;
    const uint32_t gap = s->queue[s->first].offset;
    memmove(s->bytes, s->bytes + gap, s->used - gap);
    s->used -= gap;
    s->count -= s->first;
    memmove(s->queue, s->queue + s->first, s->count * sizeof s->queue[0]);
    s->first = 0;
    for (unsigned i = 0; i < s->count; i++)
        s->queue[i].offset -= gap;
}

static bool has_room(const struct sending *s, size_t len)
{
    return s->count < OUT_PACKETS && OUT_BYTES - s->used >= len;
}

static bool make_room(struct udp *u, size_t len)
{
    if (!has_room(&u->out, len) && !u->out.blocked)
        send_queue(u);
    if (!has_room(&u->out, len) && u->out.first < u->out.count)
        compact(&u->out);
    return has_room(&u->out, len);
}

/* Where to, and how. False: there is no way. */
static bool address_to(const struct udp *u, const struct peer *to, struct outgoing *out)
{
    out->source = SOURCE_ANY;
    if (to->kind == PEER_GROUP) {
        const union sock_addr *group = u->group != NULL ? udp_group_address(u->group) : NULL;
        if (group == NULL || to->addr_len != 1)
            return false;
        out->to = *group;
        out->hops = to->bytes[0] != 0 ? to->bytes[0] : (uint8_t)HOPS_DEFAULT;
        return true;
    }
    if (!sock_from_peer(to, u->family, &out->to))
        return false;
    if (u->sources != NULL)
        out->source = sources_find(u->sources, &out->to);
    return true;
}

static void udp_send(struct link *l, const struct peer *to, struct bytes packet)
{
    struct udp *u = udp_of(l);
    struct sending *s = &u->out;
    struct outgoing out = {.len = (uint32_t)packet.len};
    if (u->closing || packet.len == 0 || packet.len > UDP_PAYLOAD_MAX || !address_to(u, to, &out) ||
        !make_room(u, packet.len)) {
        u->counters.send_drops++;
        return;
    }
    memcpy(s->bytes + s->used, packet.data, packet.len);
    out.offset = (uint32_t)s->used;
    s->queue[s->count++] = out;
    s->used += packet.len;
    if (s->blocked)
        u->counters.send_deferred++;
    else if (s->count - s->first >= BATCH)
        send_queue(u);
}

static void udp_flush(struct link *l)
{
    struct udp *u = udp_of(l);
    if (!u->closing && !u->out.blocked)
        send_queue(u);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* The lengths are in-and-out arguments, so what the last call has used is filled in again. */
static void prepare_receive(struct udp *u)
{
    struct receiving *r = &u->in;
    for (unsigned i = 0; i < r->dirty; i++) {
        r->msgs[i].msg_hdr.msg_namelen = sizeof r->from[i];
        r->msgs[i].msg_hdr.msg_controllen = sizeof r->control[i];
    }
    r->dirty = 0;
}

static void note_overflow(struct udp *u, const struct cmsghdr *c)
{
    uint32_t total = 0;
    memcpy(&total, CMSG_DATA(c), sizeof total);
    u->counters.kernel_drops += total - u->overflow; /* 32 bits wide over there: wraps */
    u->overflow = total;
}

static void note_source(struct udp *u, const struct cmsghdr *c, const union sock_addr *from)
{
    union source_address local;
    memset(&local, 0, sizeof local); /* all of it: addresses are compared as octets */
    if (u->family == AF_INET) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        local.ip4 = info.ipi_spec_dst;
    } else {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
            return;
        local.ip6 = info.ipi6_addr;
    }
    sources_note(u->sources, from, &local);
}

static void read_control(struct udp *u, struct msghdr *h, const union sock_addr *from)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        const bool pktinfo = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) ||
                             (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO);
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL)
            note_overflow(u, c);
        else if (pktinfo && u->sources != NULL)
            note_source(u, c, from);
    }
}

static void deliver(struct udp *u, unsigned i)
{
    struct msghdr *h = &u->in.msgs[i].msg_hdr;
    const size_t len = u->in.msgs[i].msg_len;
    const union sock_addr *from = &u->in.from[i];
    read_control(u, h, from);
    if ((h->msg_flags & MSG_TRUNC) != 0) {
        u->counters.oversize++;
    } else if (len == 0) {
        u->counters.empty++;
    } else if (from->any.sa_family != u->family) {
        u->counters.receive_errors++;
    } else {
        struct peer_room room;
        u->counters.packets_in++;
        u->counters.bytes_in += len;
        u->sink.packet(u->sink.owner, sock_to_peer(&room, u->index, from), NULL,
                       bytes_of(u->in.iov[i].iov_base, len));
    }
}

/* One batch; true when there may be more. An ICMP error is used up by being reported. */
static bool receive_batch(struct udp *u)
{
    prepare_receive(u);
    const int n = recvmmsg(u->fd, u->in.msgs, BATCH, MSG_DONTWAIT, NULL);
    if (n <= 0) {
        if (n == 0 || errno == EAGAIN || errno == EINTR)
            return false;
        u->counters.receive_errors++;
        return true;
    }
    u->in.dirty = (unsigned)n;
    for (unsigned i = 0; i < (unsigned)n && !u->closing; i++)
        deliver(u, i);
    if (!u->closing)
        u->sink.batch_end(u->sink.owner);
    return n == BATCH && !u->closing;
}

/* libuv stops polling when the kernel reports an error condition. Taking the error away and polling
 * again is right for sockets: nothing that ICMP says about one node concerns the others. */
static void clear_errors(struct udp *u)
{
    int error = 0;
    socklen_t len = sizeof error;
    u->counters.receive_errors++;
    getsockopt(u->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    for (unsigned i = 0; i < ERRORS_PER_WAKE_UP; i++) {
        struct msghdr h = {0};
        if (recvmsg(u->fd, &h, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            break;
    }
    wait_for_events(u);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct udp *u = poll->data;
    if (status < 0) {
        clear_errors(u);
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        send_queue(u);
    if ((events & UV_READABLE) == 0)
        return;
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!receive_batch(u))
            return;
    }
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void report_up(struct udp *u, const struct link_config *config)
{
    char text[256];
    const uint32_t granted = sock_receive_buffer(u->fd, config->receive_buffer_bytes);
    if (granted >= config->receive_buffer_bytes)
        snprintf(text, sizeof text, "listening on %s, receive buffer %u octets", u->where, granted);
    else {
        snprintf(text, sizeof text,
                 "listening on %s, receive buffer %u octets of the %u asked for; raise "
                 "net.core.rmem_max to have more",
                 u->where, granted, config->receive_buffer_bytes);
    }
    u->sink.event(u->sink.owner, u->index, LOG_INFO, "link.up", text);
}

static void free_udp(struct udp *u)
{
    free(u->in.buffer);
    free(u->out.bytes);
    free(u->sources);
    free(u);
}

static struct udp *new_udp(const struct link_config *config, const struct link_sink *sink,
                           bool wildcard)
{
    struct udp *u = calloc(1, sizeof *u);
    if (u == NULL)
        return NULL;
    u->base.driver = &link_udp;
    u->fd = -1;
    u->index = config->index;
    u->sink = *sink;
    u->max_packet =
        config->max_packet_bytes < UDP_PAYLOAD_MAX ? config->max_packet_bytes : UDP_PAYLOAD_MAX;
    u->in.buffer = malloc(BATCH * u->max_packet);
    u->out.bytes = malloc(OUT_BYTES);
    struct hash_seed seed = {0};
    if (wildcard && getrandom(&seed, sizeof seed, 0) == (ssize_t)sizeof seed)
        u->sources = sources_new(&seed);
    if (u->in.buffer == NULL || u->out.bytes == NULL || (wildcard && u->sources == NULL)) {
        free_udp(u);
        return NULL;
    }
    for (unsigned i = 0; i < BATCH; i++) {
        u->in.iov[i] =
            (struct iovec){.iov_base = u->in.buffer + i * u->max_packet, .iov_len = u->max_packet};
        u->in.msgs[i].msg_hdr = (struct msghdr){.msg_name = &u->in.from[i],
                                                .msg_iov = &u->in.iov[i],
                                                .msg_iovlen = 1,
                                                .msg_control = &u->in.control[i]};
    }
    u->in.dirty = BATCH;
    return u;
}

/* Binds and registers with the loop; on failure the caller frees. */
static int bind_to(struct udp *u, uv_loop_t *loop, const union sock_addr *address)
{
    u->family = address->any.sa_family;
    u->fd = sock_open_udp(address);
    if (u->fd < 0)
        return u->fd;
    socklen_t len = sizeof u->bound;
    if (getsockname(u->fd, &u->bound.any, &len) != 0)
        return -errno;
    struct peer_room room;
    peer_print(sock_to_peer(&room, u->index, &u->bound), u->where, sizeof u->where);
    const int rc = uv_poll_init(loop, &u->poll, u->fd);
    if (rc != 0)
        return rc;
    u->poll.data = u;
    return 0;
}

static int parse(const struct link_config *config, union sock_addr *listen, struct multicast *m,
                 char *error, size_t error_size)
{
    const int rc = sock_parse(config->listen, listen, error, error_size);
    if (rc != 0 || config->multicast == NULL)
        return rc;
    return multicast_parse(config->multicast, listen, m, error, error_size);
}

static int udp_check(const struct link_config *config, char *error, size_t error_size)
{
    union sock_addr address;
    struct multicast m;
    if (config->listen == NULL) {
        snprintf(error, error_size, "it needs 'listen', an address like 127.0.0.1:1884");
        return -EINVAL;
    }
    if (config->max_packet_bytes == 0) {
        snprintf(error, error_size, "the largest packet must have some octets");
        return -EINVAL;
    }
    return parse(config, &address, &m, error, error_size);
}

static int udp_open(void *loop, const struct link_config *config, const struct link_sink *sink,
                    struct link **out, char *error, size_t error_size)
{
    int rc = udp_check(config, error, error_size);
    if (rc != 0)
        return rc;
    union sock_addr address;
    struct multicast m;
    parse(config, &address, &m, error, error_size);
    struct udp *u = new_udp(config, sink, sock_is_wildcard(&address));
    if (u == NULL)
        return sock_explain(ENOMEM, config->listen, error, error_size);
    if (config->multicast != NULL)
        u->group = udp_group_new(loop, &m, config, sink, &u->counters);
    rc = config->multicast == NULL || u->group != NULL ? bind_to(u, loop, &address) : -ENOMEM;
    if (rc != 0) {
        udp_group_close(u->group);
        if (u->fd >= 0)
            close(u->fd);
        free_udp(u);
        return sock_explain(-rc, config->listen, error, error_size);
    }
    *out = &u->base;
    report_up(u, config);
    return 0;
}

static void udp_start(struct link *l)
{
    struct udp *u = udp_of(l);
    u->started = true;
    wait_for_events(u);
    if (u->group != NULL)
        udp_group_start(u->group, u->fd);
}

static in_port_t port_of(const union sock_addr *a)
{
    return a->any.sa_family == AF_INET ? a->ip4.sin_port : a->ip6.sin6_port;
}

/* On the wildcard our own packets have the address of the interface that they left by; and while we
 * have the port on all addresses, nobody else here can have it. */
static bool udp_is_own(const struct link *l, const struct peer *from)
{
    const struct udp *u = udp_of(l);
    union sock_addr a;
    if (!sock_from_peer(from, u->family, &a) || port_of(&a) != port_of(&u->bound))
        return false;
    if (sock_is_wildcard(&u->bound))
        return sock_is_local(&a);
    if (u->family == AF_INET)
        return a.ip4.sin_addr.s_addr == u->bound.ip4.sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&a.ip6.sin6_addr, &u->bound.ip6.sin6_addr);
}

static const struct link_counters *udp_counters(const struct link *l)
{
    return &udp_of(l)->counters;
}

static const char *udp_where(const struct link *l)
{
    return udp_of(l)->where;
}

static void on_closed(uv_handle_t *handle)
{
    struct udp *u = handle->data;
    close(u->fd);
    free_udp(u);
}

static void udp_close(struct link *l)
{
    struct udp *u = udp_of(l);
    assert(!u->closing);
    udp_flush(l);
    u->closing = true;
    udp_group_close(u->group);
    u->group = NULL;
    uv_close((uv_handle_t *)&u->poll, on_closed);
}

const struct link_driver link_udp = {
    .name = "udp",
    .check = udp_check,
    .open = udp_open,
    .start = udp_start,
    .send = udp_send,
    .flush = udp_flush,
    .is_own = udp_is_own,
    .counters = udp_counters,
    .where = udp_where,
    .close = udp_close,
};
