/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_ahead.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    DESCRIPTORS = 65536, /* connections above that are served without reading ahead */
    AHEAD_OCTETS = 4096,
};

struct ahead {
    atomic_uint waiting; /* octets from `at` on */
    atomic_bool stuck;
    uint32_t at;
    uint8_t octets[AHEAD_OCTETS];
};

/* By descriptor; an entry is made once and never taken away. */
static _Atomic(struct ahead *) aheads[DESCRIPTORS];

static struct ahead *ahead_of(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS ? atomic_load_explicit(&aheads[fd], memory_order_acquire)
                                       : NULL;
}

void paho_ahead_reset(int fd)
{
    struct ahead *a = ahead_of(fd);
    if (a != NULL) {
        atomic_store_explicit(&a->waiting, 0, memory_order_release);
        atomic_store_explicit(&a->stuck, false, memory_order_release);
        return;
    }
    if (fd < 0 || fd >= DESCRIPTORS || (a = calloc(1, sizeof *a)) == NULL)
        return;
    struct ahead *none = NULL;
    if (!atomic_compare_exchange_strong(&aheads[fd], &none, a))
        free(a);
}

bool paho_ahead_waiting(int fd)
{
    const struct ahead *a = ahead_of(fd);
    return a != NULL && atomic_load_explicit(&a->waiting, memory_order_acquire) > 0;
}

void paho_ahead_write_stuck(int fd, bool stuck)
{
    struct ahead *a = ahead_of(fd);
    if (a != NULL)
        atomic_store_explicit(&a->stuck, stuck, memory_order_release);
}

bool paho_ahead_is_stuck(int fd)
{
    const struct ahead *a = ahead_of(fd);
    return a != NULL && atomic_load_explicit(&a->stuck, memory_order_acquire);
}

static ssize_t take(struct ahead *a, void *buffer, size_t len)
{
    const unsigned waiting = atomic_load_explicit(&a->waiting, memory_order_acquire);
    const size_t n = len < waiting ? len : waiting;
    memcpy(buffer, a->octets + a->at, n);
    a->at += (uint32_t)n;
    atomic_store_explicit(&a->waiting, waiting - (unsigned)n, memory_order_release);
    return (ssize_t)n;
}

ssize_t paho_ahead_recv(int fd, void *buffer, size_t len, int flags, bool *asked)
{
    struct ahead *a = ahead_of(fd);
    *asked = false;
    if (a != NULL && len > 0 && paho_ahead_waiting(fd))
        return take(a, buffer, len);
    *asked = true;
    if (a == NULL || len == 0 || len >= AHEAD_OCTETS || flags != 0)
        return recv(fd, buffer, len, flags);
    const ssize_t got = recv(fd, a->octets, AHEAD_OCTETS, 0);
    if (got <= 0)
        return got;
    a->at = 0;
    atomic_store_explicit(&a->waiting, (unsigned)got, memory_order_release);
    return take(a, buffer, len);
}
