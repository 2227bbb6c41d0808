/* SPDX-License-Identifier: Apache-2.0 */
#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A strict decimal number from the environment; 0 when it is none. */
static int64_t number(const char *text)
{
    char *end = NULL;
    if (text == NULL || *text < '0' || *text > '9')
        return 0;
    errno = 0;
    const long long value = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0' ? value : 0;
}

static int set_address(struct notify *n, const char *path)
{
    const size_t len = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || len < 2)
        return -EINVAL;
    if (len >= sizeof n->to.sun_path)
        return -ENAMETOOLONG;
    n->to = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(n->to.sun_path, path, len);
    n->to_len = (unsigned)(offsetof(struct sockaddr_un, sun_path) + len);
    if (path[0] == '@')
        n->to.sun_path[0] = '\0'; /* abstract names are not terminated, their length counts */
    else
        n->to_len++;
    return 0;
}

int notify_open(struct notify *n, const struct notify_environment *env, pid_t self)
{
    *n = (struct notify){.fd = -1};
    if (env->socket == NULL)
        return 0;
    const int rc = set_address(n, env->socket);
    if (rc != 0)
        return rc;
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n->fd < 0)
        return -errno;
    if (env->watchdog_pid == NULL || number(env->watchdog_pid) == self)
        n->watchdog_ms = number(env->watchdog_usec) / 1000;
    return 0;
}

void notify_close(struct notify *n)
{
    if (n->fd >= 0)
        close(n->fd);
    n->fd = -1;
    n->watchdog_ms = 0;
}

/* What does not get through is repeated by the next one; there is nobody else to tell. */
static void tell(const struct notify *n, const char *message)
{
    if (n->fd >= 0)
        (void)!sendto(n->fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT,
                      (const struct sockaddr *)&n->to, n->to_len);
}

void notify_ready(const struct notify *n)
{
    tell(n, "READY=1");
}

void notify_reloading(const struct notify *n, uint64_t now_us)
{
    char message[64];
    snprintf(message, sizeof message, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, now_us);
    tell(n, message);
}

void notify_status(const struct notify *n, const char *text)
{
    char message[256];
    snprintf(message, sizeof message, "STATUS=%s", text);
    for (char *c = message; *c != '\0'; c++) {
        if (*c == '\n')
            *c = ' '; /* a line break would begin another assignment */
    }
    tell(n, message);
}

void notify_watchdog(const struct notify *n)
{
    tell(n, "WATCHDOG=1");
}

void notify_stopping(const struct notify *n, int64_t drain_ms)
{
    enum { SLACK_MS = 5000 };

    char message[128];
    snprintf(message, sizeof message, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64,
             (drain_ms + SLACK_MS) * 1000);
    tell(n, message);
}

int64_t notify_interval_ms(const struct notify *n)
{
    if (n->watchdog_ms == 0)
        return 0;
    return n->watchdog_ms >= 2 ? n->watchdog_ms / 2 : 1;
}

bool notify_alive(const struct notify *n, int64_t now_ms, int64_t worker_heartbeat_ms)
{
    return now_ms - worker_heartbeat_ms < n->watchdog_ms;
}
