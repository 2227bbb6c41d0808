/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the MQTT connection: mqtt.c (loop thread), mqtt_host.c (a worker thread of ours for any
 * number of connections) and mqtt_worker.c (what it does for one of them; nobody else calls Paho),
 * mqtt_callbacks.c (Paho's two threads).
 *
 * Lock order: Paho's own lock, a connection's `lock`, the host's `lock`. Paho calls us with the first
 * held, so the worker never calls Paho with one of ours held; and nothing is called with the last one
 * held but wake(), which may only be uv_async_send().
 *
 * A connection is in at most one list of each kind, and in there once:
 *
 *     work     host's lock   something has happened that the worker has to look at
 *     ready    host's lock   events wait for the loop; then
 *     turns    loop thread   the loop is at it
 *     dirty    loop thread   submitted to since the last flush
 *     lobby    worker        would like to connect; then
 *     slots    worker        is connecting
 *     all      loop thread   until it is to end
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
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <MQTTAsync.h>

#include "base/deadline.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"

#include "broker/backoff.h"
#include "mqtt.h"
#include "mqtt_connect.h"
#include "mqtt_keep.h"
#include "mqtt_v5.h"

enum {
    WHY_MAX = 320,
    SUPERVISE_MS = 1000, /* while the broker owes an answer */
};

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
    unsigned packet_id;    /* of a spooled PUBLISH of QoS 2 inside Paho */
    uint32_t subscription; /* of a SUBSCRIBE: its identifier */
    uint32_t age_s;        /* of a PUBLISH: how long the message is under way already */
    uint8_t wire_qos; /* of a PUBLISH: with what the broker gets it, once it is given to Paho */
    bool too_large;   /* for the broker */
    bool is_bare;     /* with its properties it would be */
    bool refused;     /* for want of room or a connection, when it was submitted */
    size_t cost;      /* octets of topic and body, charged to the queue or the inbox */
    char text[];      /* topic, filter or reason; terminated */
};

/* What Paho's callbacks have to tell the worker. */
struct notes {
    bool connected;
    bool failed;    /* the attempt to connect; `why` says why */
    bool lost;      /* the connection; the same */
    bool closed;    /* on our request */
    bool busy;      /* the broker refused a message for now */
    bool taken;     /* the broker took one */
    bool looked_up; /* the host name has, or has not, an address */
    bool tunnelled; /* the dialer is done, well or not */
};

enum phase {
    FRESH,             /* not yet seen by the worker */
    WAITING_FOR_ELDER, /* another connection with this name has to end first */
    IDLE,              /* until mqtt_connect() */
    WAITING,           /* for its time */
    QUEUED,            /* in the lobby */
    LOOKING_UP,        /* its host name */
    TUNNELLING,        /* through a proxy, to a WebSocket */
    PURGING,
    PURGED,
    CONNECTING,
    ONLINE,
    CLOSING, /* at the end: DISCONNECT is under way, ... */
    CUTTING, /* ... or has not left in time, and the socket is shut down */
    LEAVING, /* it has: until the broker closes, too */
    ENDED,
};

/* mqtt_primary.c */
struct primary {
    int64_t every_ms, next_ms, until_ms;
    int fd;                 /* being connected to the first address; 0: none */
    struct dialer_job *job; /* the same, through a proxy */
    bool looking;           /* for an address of its name */
    atomic_bool answered;   /* either of these two is over */
    bool is_back;
    struct resolver_wait wait;
};

/* The worker's alone. */
struct worker {
    MQTTAsync handle;
    enum phase phase;
    int64_t due_ms;
    struct deadline due; /* the same, in the host's heap */
    struct backoff backoff;
    struct list place; /* lobby or slots */
    int64_t slot_since_ms;
    int64_t close_by_ms;
    int64_t leave_ms;      /* between two looks */
    int tail;              /* a duplicate of the socket, while CLOSING and LEAVING; -1 = none */
    struct hmap_node name; /* mqtt_names.c */
    struct mqtt *elder, *heir;
    bool purged;
    bool hold;             /* nothing more for Paho until the broker has shown life */
    int64_t asked_ms;      /* when it was first asked what it has not answered yet; 0: nothing */
    int64_t busy_until_ms; /* the broker has asked for a pause */
    int64_t busy_ms;       /* the latest one; it grows until the broker takes something */
    bool purge;            /* once the host name is looked up */
    bool returns;        /* this connection is being ended in favour of the first address, or ... */
    bool renews;         /* ... of one with other options: nothing more is handed over */
    int64_t renew_by_ms; /* even if something is under way */
};

/* What the connection goes by from its next attempt on (mqtt_change.c). */
struct next {
    struct mqtt_options options; /* with strings of our own */
    struct dial dial;            /* of their addresses */
};

struct mqtt {
    /* Changed by the worker alone, under `lock`, while there is no connection and no attempt. */
    struct mqtt_options options; /* with strings of our own */

    /* Constant after mqtt_start(). */
    const char *will_topic; /* terminated, or NULL */
    void *user;
    struct mqtt_host *host;
    bool is_alone; /* the host is its own */
    struct keep keep;
    struct dial dial; /* of the worker, who changes it under `lock` */

    struct worker worker;
    struct primary primary; /* the worker's */

    /* Loop thread. */
    size_t max_queued, max_queued_bytes;
    struct list staged[LANES]; /* submitted since the last flush */
    struct list refused;       /* the same, answered already */
    struct list taken;         /* events out of the inbox */
    unsigned unheard;          /* PUBLISHes refused, of which the session has not heard */
    uint64_t heard_connects;   /* connections of which it has */
    struct item *borrowed;
    struct list all;
    struct list dirty;

    /* Any thread. */
    atomic_bool online; /* submissions are accepted */
    atomic_size_t queued;
    atomic_size_t queued_bytes;
    atomic_uint in_flight_count;
    atomic_uint owed_count; /* of these, the ones that the broker answers: not QoS 0 */
    atomic_uint_fast64_t connects;
    atomic_uint_fast64_t inbox_drops;
    atomic_uint_fast64_t inbox_cuts;
    atomic_uint_fast64_t no_memory;

    /* Under the host's lock. */
    struct list work;
    struct list turn; /* ready; turns belongs to the loop thread */
    bool finished;    /* the worker has let go of everything but this structure */
    bool forsaken;    /* nobody waits for that: the worker frees it */

    pthread_mutex_t lock;
    /* All below under `lock`. */
    struct list queue[LANES]; /* waiting for the window */
    struct list in_flight;    /* in_flight_count of them */
    unsigned qos2_count;      /* QoS 2 among them and among the orphans */
    struct list orphans;
    unsigned resuming; /* orphans that Paho will send again: they fill the window too */
    unsigned stranded; /* orphans that Paho may never answer */
    bool untold;       /* a loss, to the loop */
    struct list early; /* answered, but the loop has to hear of the loss first */
    bool starved;      /* what is queued waits for room in the window */
    struct list inbox;
    size_t inbox_messages;
    size_t inbox_bytes;
    bool listed; /* ready or in turns */
    bool deaf;   /* the loop wants to hear no more */
    struct limits limits;
    struct notes notes;
    bool taken_over; /* why the connection was lost */
    bool explained;
    char why[WHY_MAX];
    uint8_t refusal;       /* the same: of the CONNACK, or 0 */
    char cut_why[WHY_MAX]; /* why we ourselves shut the socket down; "" = we did not */
    bool purging;          /* the connection only wipes what an earlier process left */
    bool resumable;        /* the broker's session is one of this process */
    int socket;            /* Paho's, to look at and to shut down; -1 = none */
    bool wanted;           /* mqtt_connect() */
    struct next *next;     /* mqtt_change(), or NULL */
    bool renew;            /* the same: there is to be another connection */
    bool stopping;
    bool aborting;
    bool unwatched; /* ended by mqtt_close() */
    int64_t stop_at_ms;
};

static inline struct mqtt *connection_of(struct worker *w)
{
    return container_of(w, struct mqtt, worker);
}

struct mqtt_host {
    struct mqtt_host_options options; /* constant, as are these */
    void (*wake)(void *arg);
    void *wake_arg;
    pthread_t thread;

    /* Loop thread. */
    struct list all;
    struct list turns;
    struct list dirty;
    struct mqtt *served; /* by mqtt_host_next_ready() */
    uint64_t started;

    /* Worker. */
    MQTTAsync anchor; /* never connected: with the last handle Paho would end its threads */
    struct hmap names;
    struct hash_seed name_seed;
    struct deadlines deadlines;
    struct deadline pace; /* when the next of the lobby may go */
    struct list lobby;
    struct list slots; /* in the order in which they were given */
    unsigned slots_used;
    int64_t pace_us; /* how far the attempts granted reach, at the rate that is allowed */

    atomic_int_fast64_t heartbeat_ms;
    atomic_bool hurry; /* mqtt_host_free() */

    /* What the broker has said of wills; one host has one broker. */
    atomic_uint will_less_qos; /* 2 minus the highest QoS */
    atomic_bool will_no_retain;

    pthread_mutex_t lock; /* the innermost */
    sem_t bell; /* of the worker; a condition would cost it a system call to take the lock back */
    pthread_cond_t ended; /* a connection, or the worker */
    struct list work;
    struct list ready;
    unsigned connections; /* that are not finished */
    bool asleep;          /* the worker */
    bool woken;           /* the loop, since it last found nothing */
    bool stopping;
    bool finished;
    bool forsaken; /* the worker frees the host, too */
};

static inline enum lane item_lane(const struct item *it)
{
    return it->request == UP_PUBLISH && it->event.qos == 2 ? LANE_QOS2 : LANE_PLAIN;
}

/* Paho has the item, or has it no more. */
static inline void item_flies(struct mqtt *m, const struct item *it, bool flies)
{
    const bool owed = it->request != UP_PUBLISH || it->event.qos > 0;
    const unsigned by = flies ? 1U : -1U;
    atomic_fetch_add_explicit(&m->in_flight_count, by, memory_order_relaxed);
    if (owed)
        atomic_fetch_add_explicit(&m->owed_count, by, memory_order_relaxed);
}

/* Lock held. */
static inline bool mqtt_is_queued(const struct mqtt *m)
{
    return !list_empty(&m->queue[LANE_PLAIN]) || !list_empty(&m->queue[LANE_QOS2]);
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

/* Loop thread: hands over what was submitted. True: the worker has to look at it. */
bool mqtt_hand_in(struct mqtt *m);

/* Loop thread: the connection shall end, with at most `drain_ms` for what was submitted. */
void mqtt_begin_stop(struct mqtt *m, int64_t drain_ms, bool abort);

/* Copies with strings of its own; false: out of memory, and what there is must be freed. */
bool mqtt_options_copy(struct mqtt_options *out, const struct mqtt_options *from);
void mqtt_options_free(struct mqtt_options *o);

/* ---- mqtt_change.c --------------------------------------------------------------------------- */

/* NULL is ignored. */
void mqtt_next_free(struct next *n);
/* Worker, in each step, when it is known what has become of the connection. */
void change_step(struct worker *w, int64_t now_ms);
/* Worker, while ONLINE: ends the connection for the sake of another, when it is time. */
void change_look(struct worker *w, int64_t now_ms);

/* ---- mqtt_primary.c -------------------------------------------------------------------------- */

/* Worker: a connection has been made, or is no more. */
void primary_begin(struct mqtt *m, int64_t now_ms);
void primary_end(struct mqtt *m);
/* Worker, while connected, at primary.next_ms: should we go back to the first address now? */
bool primary_is_back(struct mqtt *m, int64_t now_ms);

/* ---- mqtt_host.c ----------------------------------------------------------------------------- */

/* Any thread, whether the connection's lock is held or not: the worker looks at it soon. */
void host_kick(struct mqtt *m);

/* Lock held: events wait, and the loop does not know. */
void host_tell(struct mqtt *m);

/* Loop thread, lock held: the loop has taken, or does not want, what there is. */
void host_untell(struct mqtt *m);

/* Loop thread. */
void host_add(struct mqtt_host *h, struct mqtt *m);

/* Worker: the connection wants to connect. True: it may, at once. False: mqtt_step_in() follows. */
bool host_admit(struct mqtt *m, int64_t now_ms);
/* Worker: out of the lobby, or connecting no more. */
void host_leave(struct mqtt *m);

/* Worker: there is nothing of it any more but memory. */
void host_finish(struct mqtt *m);

/* ---- mqtt_names.c ---------------------------------------------------------------------------- */

/* Worker. With an `elder` it has to wait; mqtt_step() follows when that has ended. */
void names_enter(struct mqtt *m);
void names_leave(struct mqtt *m);

/* ---- mqtt_callbacks.c ------------------------------------------------------------------------ */

/* Paho's callbacks; `context` is the connection or, for answers, the item. */
void on_connected(void *context, MQTTAsync_successData *data);
void on_connect_failed(void *context, MQTTAsync_failureData *data);
void on_lost(void *context, char *cause);
void on_closed(void *context, MQTTAsync_successData *data);
void on_answer(void *context, MQTTAsync_successData *data);
void on_failure(void *context, MQTTAsync_failureData *data);
int on_message(void *context, char *topic, int topic_len, MQTTAsync_message *message);

/* The same for all versions of MQTT. */
void mqtt_connected(struct mqtt *m, bool session_present);
void mqtt_connect_failed(struct mqtt *m, int code, const char *message);
/* `has_reason`: and it is not that somebody else has come. */
void mqtt_lost(struct mqtt *m, bool has_reason);
void mqtt_answered(struct item *it, int granted);
/* `reason` is the broker's, of MQTT 5; below 0x80 Paho gave up, with `code`. */
void mqtt_refused(struct item *it, int reason, int code);

/* Lock held: shuts the socket down, so that Paho finds the connection broken at once, and remembers
 * why. False when the socket is not known. */
bool mqtt_cut(struct mqtt *m, const char *why);

/* Lock held: places taken in the window; and how many more of this lane fit. */
unsigned mqtt_window_used(const struct mqtt *m);
unsigned mqtt_window_room(const struct mqtt *m, enum lane lane);

/* ---- mqtt_handover.c ------------------------------------------------------------------------- */

/* Worker, while ONLINE. Whatever is queued afterwards waits for room, of which give_room() tells. */
void mqtt_hand_over(struct mqtt *m);

/* Lock held: the item leaves the queue. */
void mqtt_discharge(struct mqtt *m, struct item *it);

/* ---- mqtt_end.c ------------------------------------------------------------------------------ */

/* Worker. It shall end, and nothing that it has to do first is left; `is_up`: Paho is connected. */
void end_begin(struct worker *w, int64_t now_ms, bool is_up);
/* Of what follows. */
void end_hear(struct worker *w, struct notes notes);
void end_go_on(struct worker *w, int64_t now_ms);
/* Stopping: mqtt_host_free() waits for those, too, that nobody waited for. */
bool end_is_hurried(struct worker *w);
/* ENDED: the connection may be gone after this. */
void end_for_good(struct worker *w);

/* ---- mqtt_worker.c --------------------------------------------------------------------------- */

/* Worker: does for the connection what there is to do, and arms its deadline. It may be gone then. */
void mqtt_step(struct mqtt *m, int64_t now_ms);

/* Worker: its turn in the lobby has come. */
void mqtt_step_in(struct mqtt *m, int64_t now_ms);

#endif
