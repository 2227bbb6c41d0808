/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_ahead.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "paho_tunnel.h"

enum {
    DESCRIPTORS = 65536, /* connections above that are served without reading ahead */
    AHEAD_OCTETS = 4096,
};

struct ahead {
    atomic_uint waiting; /* octets from `at` on */
    atomic_bool more;    /* and, of a tunnel, what nobody would tell of any more */
    uint32_t at;
    bool listed;
    uint8_t *octets; /* NULL: nothing waits */
};

/* By descriptor; an entry is made once and never taken away. */
static _Atomic(struct ahead *) aheads[DESCRIPTORS];

/* Those that may have something; looked through by paho_ahead_next(). */
static int listed[DESCRIPTORS];
static unsigned n_listed;

static uint8_t *spare; /* mostly there is only one at a time */

static struct ahead *ahead_of(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS ? atomic_load_explicit(&aheads[fd], memory_order_acquire)
                                       : NULL;
}

bool paho_ahead_reset(int fd)
{
    struct ahead *a = ahead_of(fd);
    if (a != NULL) {
        atomic_store_explicit(&a->waiting, 0, memory_order_release);
        atomic_store_explicit(&a->more, false, memory_order_release);
        return true;
    }
    if (fd < 0 || fd >= DESCRIPTORS || (a = calloc(1, sizeof *a)) == NULL)
        return false;
    struct ahead *none = NULL;
    if (!atomic_compare_exchange_strong(&aheads[fd], &none, a))
        free(a);
    return true;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool take_room(struct ahead *a)
{
    if (a->octets == NULL) {
        a->octets = spare != NULL ? spare : malloc(AHEAD_OCTETS);
        spare = NULL;
    }
    return a->octets != NULL;
}

static void give_room_back(struct ahead *a)
{
    if (spare == NULL)
        spare = a->octets;
    else
        free(a->octets);
    a->octets = NULL;
}

/* ---- what waits ------------------------------------------------------------------------------ */

static unsigned waiting_for(const struct ahead *a)
{
    return a != NULL ? atomic_load_explicit(&a->waiting, memory_order_acquire) : 0;
}

static void put_on_list(int fd, struct ahead *a)
{
    if (a->listed)
        return;
    a->listed = true;
    listed[n_listed++] = fd;
}

int paho_ahead_next(unsigned *i)
{
    while (*i < n_listed) {
        const int fd = listed[*i];
        struct ahead *const a = ahead_of(fd);
        if (waiting_for(a) > 0 || (a != NULL && atomic_load(&a->more))) {
            ++*i;
            return fd;
        }
        if (a != NULL) {
            if (a->octets != NULL) /* closed before all of it was read */
                give_room_back(a);
            a->listed = false;
        }
        listed[*i] = listed[--n_listed];
    }
    return -1;
}

static ssize_t take(struct ahead *a, void *buffer, size_t len)
{
    const unsigned waiting = waiting_for(a);
    const size_t n = len < waiting ? len : waiting;
    memcpy(buffer, a->octets + a->at, n);
    a->at += (uint32_t)n;
    atomic_store_explicit(&a->waiting, waiting - (unsigned)n, memory_order_release);
    if (n == waiting)
        give_room_back(a);
    return (ssize_t)n;
}

static ssize_t receive(struct ahead *a, int fd, void *buffer, size_t len, int flags)
{
    bool more;

    if (len == 0 || a == NULL || !paho_tunnel_is(fd))
        return recv(fd, buffer, len, flags);
    const ssize_t got = paho_tunnel_recv(fd, buffer, len, &more);
    atomic_store(&a->more, more);
    if (more)
        put_on_list(fd, a);
    return got;
}

ssize_t paho_ahead_recv(int fd, void *buffer, size_t len, int flags, bool *asked)
{
    struct ahead *a = ahead_of(fd);
    *asked = false;
    if (len > 0 && waiting_for(a) > 0)
        return take(a, buffer, len);
    *asked = true;
    if (a == NULL || len == 0 || len >= AHEAD_OCTETS || flags != 0 || !take_room(a))
        return receive(a, fd, buffer, len, flags);
    const ssize_t got = receive(a, fd, a->octets, AHEAD_OCTETS, 0);
    if (got <= 0) {
        give_room_back(a);
        return got;
    }
    a->at = 0;
    atomic_store_explicit(&a->waiting, (unsigned)got, memory_order_release);
    put_on_list(fd, a);
    return take(a, buffer, len);
}
