/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink: one MQTT session at one broker, with all that belongs to it (docs/adr/0014).
 *
 *     router or engine <-> session <-> spool <-> MQTT connection
 *
 * The session is the shared one of all nodes, or one client's own. The pump carries between the parts
 * of a sink as it does between its other machines.
 */
#ifndef SENNET_GATEWAY_SINK_H
#define SENNET_GATEWAY_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/deadline.h"
#include "base/hmap.h"
#include "base/list.h"

#include "broker/own.h"
#include "broker/shared.h"
#include "broker/spool.h"
#include "mqtt.h"

/* The first part is the owner's, and set before pump_add(). */
struct sink {
    unsigned broker;       /* index */
    uint64_t number;       /* by which the store knows it (store_sink()) */
    struct shared *shared; /* either this, ... */
    struct own *own;       /* ... or this */
    uint64_t client;       /* of `own`: the key of its client now */
    struct spool *spool;   /* NULL without a store, unless there are limits */
    struct mqtt *mqtt;     /* NULL while there is none */

    /* The pump's. */
    struct list all;     /* in pump.sinks */
    struct list dirty;   /* in pump.dirty: has something to carry */
    struct list fresh;   /* in pump.fresh: was carried, what it has to record is still there */
    struct list touched; /* in pump.touched: had something to carry in this turn */
    struct list fetch;   /* in pump.fetches: waits for its turn to read from the store */
    struct deadline due; /* in pump.due */
    struct hmap_node by_client; /* in pump.own, of `own` */
    struct list uncommitted;    /* in pump.uncommitted: has records that are not */
    uint64_t recorded;          /* the batch of the latest */
    uint64_t backlog;           /* as `own` was told */
    uint64_t batch;             /* as the spool was told */
    uint64_t fetch_after;       /* what is wanted from the store */
    size_t fetch_bytes;
    unsigned fetch_n;
    bool accepting; /* as the session was told */
    bool up;        /* connected, as it last said */
    uint64_t lost_logs[2];
    /* Of a shared one, for all at its broker. */
    uint64_t busy_answers; /* that refused something for now, and said why */
    int64_t busy_told_ms;  /* not said again before */
};

#endif
