/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the MQTT connection: mqtt.c (loop thread), mqtt_worker.c (our worker thread, the only
 * one that calls Paho), mqtt_callbacks.c (Paho's two threads).
 *
 * Lock order: Paho calls us with its own lock held, and `lock` is taken inside of that. So the
 * worker never calls Paho with `lock` held, and nothing is called with `lock` held but wake(),
 * which may only be uv_async_send().
 *
 * With a store, Paho calls mqtt_keep.c too; that has no lock but the store's own.
 *
 * One request is one allocation (struct item) from mqtt_submit() until the loop has seen its
 * answer:
 *
 *     staged -> queue -> in_flight -> inbox -> taken -> freed
 *                            |
 *                            +-> orphans (the connection broke; the loop has its answer, in another
 *                                item, but Paho still holds a pointer to this one)
 */
#ifndef SENNET_GATEWAY_MQTT_PRIV_H
#define SENNET_GATEWAY_MQTT_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <MQTTAsync.h>

#include "base/list.h"

#include "broker/backoff.h"
#include "mqtt.h"
#include "mqtt_keep.h"

enum { WHY_MAX = 200 };

enum item_state {
    ITEM_QUEUED,
    ITEM_IN_FLIGHT, /* given to Paho, not answered */
    ITEM_ABANDONED, /* given to Paho, answered UP_BUSY: what Paho tells later is ignored */
    ITEM_IN_DOUBT,  /* QoS 2, answered UP_IN_DOUBT: what Paho tells later is the second answer */
};

/* QoS 2 has a window, and so a queue, of its own: it must not hold up the rest. */
enum lane { LANE_PLAIN, LANE_QOS2, LANES };

struct item {
    struct list link;
    struct mqtt *m;
    struct up_event
        event; /* for the loop; of a PUBLISH with topic and body until it has gone well */
    enum up_request_type request;
    enum item_state state;
    unsigned packet_id; /* of a spooled PUBLISH of QoS 2 inside Paho */
    bool refused;       /* for want of room or a connection, when it was submitted */
    size_t cost;        /* octets of topic and body, charged to the queue or the inbox */
    char text[];        /* topic, filter or reason; terminated */
};

/* What Paho's callbacks have to tell the worker. */
struct notes {
    bool connected;
    bool failed; /* the attempt to connect; `why` says why */
    bool lost;   /* the connection; the same */
    bool closed; /* on our request */
};

struct mqtt {
    /* Constant after mqtt_start(). */
    struct mqtt_options options; /* with strings of our own */
    const char *server;          /* "host:port", points into options.address */
    void (*wake)(void *arg);
    void *wake_arg;
    pthread_t thread;
    struct keep keep;

    /* Loop thread. */
    struct list staged[LANES]; /* submitted since the last flush */
    struct list refused;       /* the same, answered already */
    struct list taken;         /* events out of the inbox */
    unsigned unheard;          /* PUBLISHes refused, of which the session has not heard */
    uint64_t heard_connects;   /* connections of which it has */
    struct item *borrowed;

    /* Any thread. */
    atomic_bool online; /* submissions are accepted */
    atomic_size_t queued;
    atomic_size_t queued_bytes;
    atomic_uint in_flight_count;
    atomic_int_fast64_t heartbeat_ms;
    atomic_uint_fast64_t connects;
    atomic_uint_fast64_t inbox_drops;
    atomic_uint_fast64_t inbox_cuts;
    atomic_uint_fast64_t no_memory;

    pthread_mutex_t lock;
    pthread_cond_t work;  /* for the worker */
    pthread_cond_t ended; /* for mqtt_stop() */
    /* All below under `lock`. */
    struct list queue[LANES]; /* waiting for the window */
    struct list in_flight;    /* in_flight_count of them */
    unsigned qos2_count;      /* QoS 2 among them and among the orphans */
    struct list orphans;
    unsigned resuming; /* orphans that Paho will send again: they fill the window too */
    unsigned stranded; /* orphans that Paho may never answer */
    bool starved;      /* the worker waits for room in the window */
    struct list inbox;
    size_t inbox_messages;
    size_t inbox_bytes;
    bool woken; /* since the loop last drained */
    bool deaf;  /* mqtt_stop() has given up: no more wake() */
    struct notes notes;
    char why[WHY_MAX];
    char cut_why[WHY_MAX]; /* why we ourselves shut the socket down; "" = we did not */
    bool purging;          /* the connection only wipes what an earlier process left */
    bool resumable;        /* the broker's session is one of this process */
    int socket;            /* a duplicate of Paho's, to look at and to shut down; -1 = none */
    bool stopping;
    int64_t stop_at_ms;
    bool finished; /* the worker has let go of everything but this structure */
    bool forsaken; /* mqtt_stop() is gone: the worker frees it */
};

static inline enum lane item_lane(const struct item *it)
{
    return it->request == UP_PUBLISH && it->event.qos == 2 ? LANE_QOS2 : LANE_PLAIN;
}

static inline int64_t mqtt_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- mqtt.c ---------------------------------------------------------------------------------- */

/* An item with room for a terminated text of `len` octets; NULL (counted) when out of memory. */
struct item *item_new(struct mqtt *m, size_t len);
void item_free(struct item *it);
void items_free(struct list *items);

/* Frees everything. Nobody else may know `m`. */
void mqtt_free(struct mqtt *m);

/* Lock held: hands an item to the loop. */
void inbox_push(struct mqtt *m, struct item *it);

/* ---- mqtt_callbacks.c ------------------------------------------------------------------------ */

/* Paho's callbacks; `context` is the connection or, for answers, the item. */
void on_connected(void *context, MQTTAsync_successData *data);
void on_connect_failed(void *context, MQTTAsync_failureData *data);
void on_lost(void *context, char *cause);
void on_closed(void *context, MQTTAsync_successData *data);
void on_answer(void *context, MQTTAsync_successData *data);
void on_failure(void *context, MQTTAsync_failureData *data);
int on_message(void *context, char *topic, int topic_len, MQTTAsync_message *message);

/* Lock held: shuts the socket down, so that Paho finds the connection broken at once, and remembers
 * why. False when the socket is not known. */
bool mqtt_cut(struct mqtt *m, const char *why);

/* Lock held: places taken in the window; and how many more of this lane fit. */
unsigned mqtt_window_used(const struct mqtt *m);
unsigned mqtt_window_room(const struct mqtt *m, enum lane lane);

/* ---- mqtt_worker.c --------------------------------------------------------------------------- */

void *mqtt_worker(void *arg);

#endif
