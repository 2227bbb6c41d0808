/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_inner.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "paho_calls.h"
#include "paho_poll.h"

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */

/* Theirs, if they are there. */
#define THEIRS __attribute__((weak))

extern pthread_mutex_t *mqttasync_mutex THEIRS;
void __real_MQTTProtocol_retry(struct timespec now, int retry, int regardless) THEIRS;
int __real_Socket_noPendingWrites(int fd) THEIRS;
void __real_MQTTProtocol_writeAvailable(int fd) THEIRS;
void __real_MQTTAsync_writeComplete(int fd, int rc) THEIRS;
void __real_setRetryLoopInterval(int keepalive_s) THEIRS;

void __wrap_MQTTProtocol_retry(struct timespec now, int retry, int regardless);
int __wrap_Socket_noPendingWrites(int fd);
void __wrap_MQTTAsync_writeContinue(int fd);
void __wrap_MQTTProtocol_writeAvailable(int fd);
void __wrap_MQTTAsync_writeComplete(int fd, int rc);
void __wrap_setRetryLoopInterval(int keepalive_s);

/* NOLINTEND(bugprone-reserved-identifier) */

/* ---- repetition ------------------------------------------------------------------------------ */

static _Thread_local bool resumes_one;

/* "Regardless" knows no client, but goes past those whose sockets have writes pending: so that is what
 * it is told of all but one. */
void __wrap_MQTTProtocol_retry(struct timespec now, int retry, int regardless)
{
    enum { LOOK_MS = 100 };

    static int64_t looked_ms; /* under Paho's lock */

    const int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (!retry && now_ms >= looked_ms && now_ms - looked_ms < LOOK_MS)
        return; /* it only looks for clients that are marked as broken */
    if (!regardless)
        looked_ms = now_ms;
    resumes_one = regardless != 0;
    __real_MQTTProtocol_retry(now, retry, regardless);
    resumes_one = false;
}

int __wrap_Socket_noPendingWrites(int fd)
{
    if (resumes_one && fd != paho_last_socket()) /* where the CONNACK has come from */
        return 0;
    return __real_Socket_noPendingWrites(fd);
}

/* ---- writes that go on ------------------------------------------------------------------------- */

enum { COMPLETIONS = 64 };

/* Of the receiving thread. */
static struct completion {
    int fd;
    int rc;
    bool available;
} completions[COMPLETIONS];

static unsigned n_completions;
static int available = -1;

/* All it does is to note the time for the keep alive; it will be noted when the write is complete. */
void __wrap_MQTTAsync_writeContinue(int fd)
{
    (void)fd;
}

void __wrap_MQTTProtocol_writeAvailable(int fd)
{
    available = fd;
}

static void complete(struct completion c)
{
    __real_MQTTAsync_writeComplete(c.fd, c.rc);
    if (!c.available || &mqttasync_mutex == NULL)
        return;
    pthread_mutex_lock(mqttasync_mutex);
    if (paho_poll_knows(c.fd)) /* it expects to find a client */
        __real_MQTTProtocol_writeAvailable(c.fd);
    pthread_mutex_unlock(mqttasync_mutex);
}

void __wrap_MQTTAsync_writeComplete(int fd, int rc)
{
    const struct completion c = {.fd = fd, .rc = rc, .available = available == fd};

    available = -1;
    if (n_completions < COMPLETIONS)
        completions[n_completions++] = c;
    else
        complete(c);
}

void paho_complete_writes(void)
{
    for (unsigned i = 0; i < n_completions; i++)
        complete(completions[i]);
    n_completions = 0;
}

/* ---- pings ------------------------------------------------------------------------------------- */

void __wrap_setRetryLoopInterval(int keepalive_s)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of workers, one per broker */
    static int least_s;

    pthread_mutex_lock(&lock);
    if (least_s == 0 || keepalive_s < least_s) {
        least_s = keepalive_s;
        if (keepalive_s > 0)
            paho_poll_keepalive((unsigned)keepalive_s);
        __real_setRetryLoopInterval(keepalive_s);
    }
    pthread_mutex_unlock(&lock);
}
