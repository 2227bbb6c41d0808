/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says of a disk that hangs, which is not one that fails: store.slow when it has not
 * answered for some seconds, store.answers when it has. And what that means for the watchdog: a
 * daemon that waits for a disk is not stuck, and killing it would not help the disk.
 */
#ifndef SENNET_GATEWAY_DISK_WATCH_H
#define SENNET_GATEWAY_DISK_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"

enum { DISK_WATCH_SLOW_MS = 3000 };

struct disk_watch {
    struct log_ring *log;
    int64_t since_ms; /* of what was said */
    bool said;
};

/* `log` is borrowed. */
void disk_watch_init(struct disk_watch *w, struct log_ring *log);

/* Once per turn: `since_ms`: store_heartbeat_ms(). */
void disk_watch_look(struct disk_watch *w, int64_t now_ms, int64_t since_ms);

/* May somebody wait for the disk who has not been heard of for `silent_ms`? */
bool disk_watch_excuses(int64_t now_ms, int64_t since_ms, int64_t silent_ms);

#endif
