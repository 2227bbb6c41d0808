/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What systemd's Type=notify wants to hear (sd_notify(3), systemd.service(5)), spoken by hand: one
 * datagram per message to the socket that $NOTIFY_SOCKET names. Without it nothing is sent.
 */
#ifndef SENNET_GATEWAY_NOTIFY_H
#define SENNET_GATEWAY_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un to;
    unsigned to_len;
    int64_t watchdog_ms; /* the service manager's patience; 0: no watchdog */
};

/* What the environment said; NULL where a variable is not set. */
struct notify_environment {
    const char *socket;        /* NOTIFY_SOCKET: a path, or "@name" in the abstract namespace */
    const char *watchdog_usec; /* WATCHDOG_USEC */
    const char *watchdog_pid;  /* WATCHDOG_PID: for whom it is meant */
};

/* 0; or a negative errno when there is a socket to speak to but no way to do it (the object is then
 * silent, and still valid). */
int notify_open(struct notify *n, const struct notify_environment *env, pid_t self);
void notify_close(struct notify *n);

void notify_ready(const struct notify *n);
/* The configuration is being read again; notify_ready() follows. By the monotonic clock. */
void notify_reloading(const struct notify *n, uint64_t now_us);
void notify_status(const struct notify *n, const char *text);
void notify_watchdog(const struct notify *n);

/* Also asks for the time that draining may take. */
void notify_stopping(const struct notify *n, int64_t drain_ms);

/* How often to consider notify_watchdog(); 0: never. */
int64_t notify_interval_ms(const struct notify *n);

/* May the watchdog be told that all is well? Only if every part gave a sign of life within the time
 * the service manager is willing to wait. */
bool notify_alive(const struct notify *n, int64_t now_ms, int64_t worker_heartbeat_ms);

#endif
