/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the log says about the broker: broker.connected, broker.lost, broker.attempt_failed for
 * every attempt (the log's quota keeps them few), and broker.unreachable every few minutes of an
 * outage.
 */
#ifndef SENNET_GATEWAY_BROKER_WATCH_H
#define SENNET_GATEWAY_BROKER_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"

#include "broker/upstream.h"

enum { BROKER_WATCH_EVERY_MS = 5 * 60 * 1000 };

struct broker_watch {
    struct log_ring *log;
    const char *address;
    const char *name; /* NULL: there is only one */
    bool connected;
    int64_t since_ms, since_wall_ms; /* of this state */
    int64_t line_ms;                 /* next broker.unreachable */
    unsigned brief;                  /* connections in a row that did not last a minute */
};

/* Not connected, from now on. All is borrowed. */
void broker_watch_init(struct broker_watch *w, int64_t now_ms, int64_t wall_ms,
                       struct log_ring *log, const char *address, const char *name);

/* A CONNECTED or DISCONNECTED; true when that changed the state. */
bool broker_watch_event(struct broker_watch *w, int64_t now_ms, int64_t wall_ms,
                        const struct up_event *event);

void broker_watch_advance(struct broker_watch *w, int64_t now_ms);
int64_t broker_watch_next_deadline(const struct broker_watch *w);

#endif
