/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_behind.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "paho_poll.h"
#include "paho_tunnel.h"

enum {
    DESCRIPTORS = 65536, /* beyond it, nothing is gathered */
    GATHER_OCTETS = 8192,
    SMALL_OCTETS = 64, /* PINGREQ, acknowledgements */
    LEFT_MAX = 65536,
};

/* Bits of what is known of a descriptor. */
enum state {
    STUCK = 1, /* Paho keeps what a write did not take */
    LEFT = 2,  /* something is left here */
    DEAD = 4,  /* a write failed: the reading side will find the end */
    OWES = 8,  /* something has come since the last segment of ours */
};

struct left {
    size_t at, end, room; /* [at, end) of `octets` */
    uint8_t octets[];
};

struct gathered {
    pthread_mutex_t lock;
    int to;
    size_t len;
    uint8_t octets[GATHER_OCTETS];
};

static struct gathered of_sender = {.lock = PTHREAD_MUTEX_INITIALIZER, .to = -1};
static struct gathered of_receiver = {.lock = PTHREAD_MUTEX_INITIALIZER, .to = -1};

static atomic_uchar states[DESCRIPTORS];

/* Whoever writes to a socket, or touches what is left of one. Inside of the locks above. */
static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static struct left *lefts[DESCRIPTORS];

static _Thread_local enum paho_writer me = PAHO_OTHER;

void paho_behind_i_am(enum paho_writer writer)
{
    me = writer;
}

static struct gathered *mine(void)
{
    return me == PAHO_SENDER ? &of_sender : me == PAHO_RECEIVER ? &of_receiver : NULL;
}

static bool is_small(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS;
}

static bool is(int fd, unsigned state)
{
    return (atomic_load_explicit(&states[fd], memory_order_acquire) & state) != 0;
}

static void set(int fd, unsigned char state, bool on)
{
    if (is(fd, state) == on)
        return;
    if (on)
        atomic_fetch_or(&states[fd], state);
    else
        atomic_fetch_and(&states[fd], (unsigned char)~state);
}

static bool transient(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

static ssize_t would_block(void)
{
    errno = EAGAIN;
    return -1;
}

/* ---- what is left (`writing` held) ----------------------------------------------------------- */

static void forget(int fd)
{
    free(lefts[fd]);
    lefts[fd] = NULL;
    if (is(fd, LEFT))
        paho_poll_left(fd, false);
    set(fd, LEFT, false);
}

static void die(int fd)
{
    forget(fd);
    set(fd, DEAD, true);
    shutdown(fd, SHUT_RDWR); /* so that poll() reports the end to the reading side */
}

static size_t room_of(const struct left *l)
{
    return l != NULL ? l->room - l->end : 0;
}

/* With room for `len` more; NULL without memory. */
static struct left *make_room(int fd, size_t len)
{
    struct left *const l = lefts[fd];
    if (l != NULL && room_of(l) < len) {
        memmove(l->octets, l->octets + l->at, l->end - l->at);
        l->end -= l->at;
        l->at = 0;
    }
    if (room_of(l) >= len)
        return l;
    const size_t had = l != NULL ? l->end : 0;
    const size_t room = 2 * had + len;
    struct left *const more = realloc(l, sizeof *l + room);
    if (more == NULL)
        return NULL;
    *more = (struct left){.end = had, .room = room};
    return lefts[fd] = more;
}

static void leave(int fd, const void *octets, size_t len)
{
    if (len == 0)
        return;
    struct left *const l = make_room(fd, len);
    if (l == NULL) {
        die(fd);
        return;
    }
    memcpy(l->octets + l->end, octets, len);
    l->end += len;
    if (!is(fd, LEFT))
        paho_poll_left(fd, true);
    set(fd, LEFT, true);
}

/* As writev(). */
static ssize_t put(int fd, const struct iovec *parts, int count)
{
    if (paho_tunnel_is(fd))
        return paho_tunnel_writev(fd, parts, count, 0);
    const struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)parts, /* only read from */
        .msg_iovlen = (size_t)count,
    };
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* How many octets the kernel took; none when the socket is full, or dead. */
static size_t give(int fd, const uint8_t *octets, size_t len)
{
    /* They are only read. */
    const struct iovec all = {.iov_base = (void *)(uintptr_t)octets, .iov_len = len};
    const ssize_t n = put(fd, &all, 1);
    if (n < 0 && !transient(errno))
        die(fd);
    if (n > 0)
        set(fd, OWES, false);
    return n > 0 ? (size_t)n : 0;
}

static void give_left(int fd)
{
    struct left *const l = lefts[fd];
    if (l == NULL)
        return;
    const size_t given = give(fd, l->octets + l->at, l->end - l->at);
    if (is(fd, DEAD))
        return;
    l->at += given;
    if (l->at == l->end)
        forget(fd);
}

void paho_behind_resume(int fd)
{
    pthread_mutex_lock(&writing);
    give_left(fd);
    pthread_mutex_unlock(&writing);
}

/* ---- what was heard -------------------------------------------------------------------------- */

/* From where this thread has received last. */
static _Thread_local int heard = -1;

void paho_behind_acknowledge(int fd)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

static void acknowledge_heard(void)
{
    if (heard >= 0 && is(heard, OWES)) {
        set(heard, OWES, false);
        paho_behind_acknowledge(heard);
    }
    heard = -1;
}

void paho_behind_heard(int fd)
{
    if (!is_small(fd)) {
        paho_behind_acknowledge(fd);
        return;
    }
    if (heard != fd)
        acknowledge_heard();
    heard = fd;
    set(fd, OWES, true);
}

/* ---- what is gathered (`g->lock` held) ------------------------------------------------------- */

static void flush(struct gathered *g)
{
    const int fd = g->to;
    const size_t len = g->len;

    g->len = 0;
    if (len == 0)
        return;
    pthread_mutex_lock(&writing);
    if (!is(fd, DEAD)) {
        give_left(fd);
        const size_t given = is(fd, LEFT | DEAD) ? 0 : give(fd, g->octets, len);
        if (given < len && !is(fd, DEAD))
            leave(fd, g->octets + given, len - given);
    }
    pthread_mutex_unlock(&writing);
}

void paho_behind_flush(void)
{
    struct gathered *const g = mine();
    if (g != NULL) {
        pthread_mutex_lock(&g->lock);
        flush(g);
        pthread_mutex_unlock(&g->lock);
    }
    acknowledge_heard();
}

static void flush_all(int fd)
{
    struct gathered *const all[] = {&of_sender, &of_receiver};
    for (unsigned i = 0; i < 2; i++) {
        pthread_mutex_lock(&all[i]->lock);
        if (all[i]->to == fd)
            flush(all[i]);
        pthread_mutex_unlock(&all[i]->lock);
    }
}

static void gather(struct gathered *g, int fd, const struct iovec *parts, int count, size_t total)
{
    pthread_mutex_lock(&g->lock);
    if (g->to != fd || total > GATHER_OCTETS - g->len)
        flush(g);
    g->to = fd;
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0)
            memcpy(g->octets + g->len, parts[i].iov_base, parts[i].iov_len);
        g->len += parts[i].iov_len;
    }
    pthread_mutex_unlock(&g->lock);
}

/* ---- writing --------------------------------------------------------------------------------- */

static size_t total_of(const struct iovec *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

static bool is_acknowledgement(const struct iovec *parts, size_t total)
{
    enum { PUBACK = 4, PUBCOMP = 7 };

    if (parts[0].iov_len == 0 || total > SMALL_OCTETS)
        return false;
    const unsigned type = *(const uint8_t *)parts[0].iov_base >> 4;
    return type >= PUBACK && type <= PUBCOMP;
}

/* `writing` held, and something is left. */
static bool leave_small(int fd, const struct iovec *parts, int count, size_t total)
{
    if (me == PAHO_SENDER || total > SMALL_OCTETS || lefts[fd]->end - lefts[fd]->at > LEFT_MAX)
        return false;
    for (int i = 0; i < count && is(fd, LEFT); i++)
        leave(fd, parts[i].iov_base, parts[i].iov_len);
    return is(fd, LEFT);
}

/* Behind all that was written before. */
static ssize_t write_now(int fd, const struct iovec *parts, int count, size_t total)
{
    ssize_t n = -1;

    flush_all(fd);
    pthread_mutex_lock(&writing);
    give_left(fd);
    if (is(fd, LEFT)) {
        if (leave_small(fd, parts, count, total))
            n = (ssize_t)total;
    } else if (!is(fd, DEAD)) {
        n = put(fd, parts, count);
        if (n < 0 && !transient(errno))
            die(fd);
        if (n > 0)
            set(fd, OWES, false);
    }
    pthread_mutex_unlock(&writing);
    return n < 0 ? would_block() : n;
}

static ssize_t write_plainly(int fd, const struct iovec *parts, int count)
{
    const ssize_t n = put(fd, parts, count);
    if (n >= 0)
        return n;
    if (!transient(errno))
        shutdown(fd, SHUT_RDWR);
    return would_block();
}

ssize_t paho_behind_write(int fd, const struct iovec *parts, int count)
{
    struct gathered *const g = mine();
    const size_t total = total_of(parts, count);
    if (!is_small(fd))
        return write_plainly(fd, parts, count);

    /* While Paho is in the middle of a packet, or something is left, nothing may overtake. */
    const bool is_clear = !is(fd, STUCK | LEFT | DEAD);
    const bool may_wait = me == PAHO_SENDER || is_acknowledgement(parts, total);
    if (g != NULL && is_clear && may_wait && total <= GATHER_OCTETS) {
        gather(g, fd, parts, count, total);
        return (ssize_t)total;
    }
    const ssize_t written = write_now(fd, parts, count, total);
    set(fd, STUCK, written < (ssize_t)total);
    return written;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

void paho_behind_begin(int fd)
{
    if (is_small(fd))
        atomic_store(&states[fd], 0);
}

void paho_behind_end(int fd)
{
    if (!is_small(fd))
        return;
    flush_all(fd);
    pthread_mutex_lock(&writing);
    give_left(fd);
    forget(fd);
    set(fd, DEAD, true);
    pthread_mutex_unlock(&writing);
}
