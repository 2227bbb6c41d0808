/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside a client's own session. A thousand of them live side by side, so what is idle is small:
 * everything that waits is a link of a list, and the log is made with the first line.
 *
 *   own.c          entries, OPEN and CLOSE, publishing, what the connection tells
 *   own_link.c     when there is to be a connection, and with what will
 *   own_filters.c  subscriptions
 *   own_will.c     wills that are published
 *   own_queue.c    what waits to be taken
 */
#ifndef SENNET_BROKER_OWN_PRIV_H
#define SENNET_BROKER_OWN_PRIV_H

#include "base/deadline.h"
#include "base/list.h"

#include "broker/copies.h"
#include "broker/own.h"
#include "broker/will.h"

/* ---- own_queue.c ----------------------------------------------------------------------------- */

enum own_item_type { ITEM_EVENT, ITEM_REQUEST, ITEM_COMMAND, ITEM_RECORD };

/* Something that waits to be taken; the text that it mentions behind it. */
struct own_item {
    struct list link;
    size_t size;

    union {
        struct sn_event event;
        struct up_request request;
        struct own_command command;
        struct sn_record record;
    };

    uint8_t text[];
};

/* False: out of memory (logged). */
bool own_tell(struct own *o, const struct sn_event *event);
bool own_ask(struct own *o, const struct up_request *request);
bool own_command(struct own *o, const struct own_command *command);
void own_record(struct own *o, enum sn_record_type type, struct bytes filter, uint8_t qos);
void own_queues_init(struct own *o);
void own_queues_deinit(struct own *o);
bool own_queues_empty(const struct own *o);

/* ---- own_link.c ------------------------------------------------------------------------------ */

enum own_link {
    LINK_OFF,     /* nobody tries to connect */
    LINK_WAITING, /* somebody does */
    LINK_ON,
};

/* Whatever has changed: connects, ends or renews the connection. */
void own_settle(struct own *o);
void own_connected(struct own *o, const struct up_event *event);
void own_disconnected(struct own *o, const struct up_event *event);
/* Ends it at once, or the attempts; what was open on it will not be answered. */
void own_link_end(struct own *o, enum own_command_type how);
/* Is something on its way to the broker? */
bool own_is_busy(const struct own *o);
/* Is the present will the one that the broker would publish? */
bool own_will_is_there(const struct own *o);
/* The client's will has changed. */
void own_will_changed(struct own *o);
void own_decide_due(struct own *o);

/* ---- own_filters.c --------------------------------------------------------------------------- */

struct own_filter {
    struct list link;
    bool live;    /* was granted once */
    bool held;    /* the broker has it */
    bool leaving; /* it is to have it no more */
    bool owed;    /* granted while the broker was away: its retained messages are wanted */
    bool refused; /* by the broker, in this connection */
    bool asked;   /* the node has unsubscribed, and waits for the answer */
    bool proven;  /* copies.h */
    uint8_t granted;
    uint16_t token; /* of that */
    uint32_t id;    /* subscription identifier at the broker; 0: it is not to have it */
    uint32_t n_calls;
    int64_t replay_ms; /* retained messages are for the node until then ... */
    int64_t opened_ms; /* ... as it has asked then */
    uint32_t len;
    uint8_t text[];
};

enum own_call_type {
    CALL_ASK,   /* SUBSCRIBE of the node */
    CALL_AGAIN, /* SUBSCRIBE of ours */
    CALL_UNSUBSCRIBE,
};

/* A SUBSCRIBE or UNSUBSCRIBE that the broker has not answered. */
struct own_call {
    struct list link;
    struct own_filter *filter; /* NULL: it has gone */
    enum own_call_type type;
    uint32_t id;
    uint16_t token; /* the engine's */
    uint8_t qos;
};

void own_subscribe(struct own *o, const struct sn_request *request);
void own_unsubscribe(struct own *o, const struct sn_request *request);
void own_subscribed(struct own *o, const struct up_event *event);
void own_unsubscribed(struct own *o, const struct up_event *event);
/* The broker is there: it hears what it lacks. */
void own_resubscribe(struct own *o, bool session_present);
void own_resubscribe_missed(struct own *o);
/* Of a session that stays their end is recorded. */
void own_filters_clear(struct own *o, bool session_stays);
/* The broker can't answer now: nodes that have unsubscribed need not wait for it. */
void own_filters_left(struct own *o);
/* Calls that will not be answered. */
void own_calls_over(struct own *o);
/* Is that the copy of the message that counts? */
bool own_is_wanted_copy(struct own *o, const struct up_event *message);
/* Has the node asked for retained messages that this is one of? */
bool own_wants_retained(struct own *o, struct bytes topic);

static inline struct bytes own_filter_text(const struct own_filter *f)
{
    return bytes_of(f->text, f->len);
}

/* ---- own_will.c ------------------------------------------------------------------------------ */

/* A will that goes as a PUBLISH. */
struct own_due_will {
    struct list link;
    struct will will;
    int64_t sent_ms;
    uint16_t token;
    bool sent;
};

/* The client's will is due, behind all that it has published. */
void own_will_publish(struct own *o);
void own_wills_send(struct own *o);
void own_will_published(struct own *o, const struct up_event *event);
void own_wills_settle(struct own *o);
/* The connection has ended, and with it what was sent on it. */
void own_wills_again(struct own *o);
void own_wills_clear(struct own *o);

/* ---- the machine ----------------------------------------------------------------------------- */

/* A PUBLISH of QoS 1 or 2 that is not answered. */
struct own_publish {
    struct list link;
    uint16_t token;
    uint8_t qos;
};

enum own_deadline_kind {
    DL_OPEN,   /* the node has waited long enough */
    DL_RENEW,  /* the connection may be made anew for its will */
    DL_RETRY,  /* the connection had no room for something */
    DL_DECIDE, /* nothing has told that the broker is in trouble */
    DL_KINDS
};

struct own {
    struct own_config config;
    uint64_t client;
    uint64_t order;  /* order.h; 0: it has not been opened yet */
    struct body *id; /* for the log */
    int64_t now_ms;

    bool session;   /* there is one that the client can come back to, or is in */
    bool present;   /* the node is connected */
    bool opening;   /* its OPEN waits for the CONNACK */
    bool clean;     /* the session ends with the connection */
    bool kept;      /* the broker would keep it */
    bool wipes;     /* ... and is to forget it */
    bool barred;    /* no attempts until the client comes again: the session may be another's now */
    bool refused;   /* the latest answer of the broker was no, for ever */
    bool broker_up; /* as other connections to it say */
    bool accepting;
    uint16_t open_token;
    uint32_t max_filters;
    uint64_t backlog;

    uint8_t link;          /* enum own_link */
    bool link_clean;       /* as it was asked for */
    bool deciding;         /* was somebody else, or the broker itself, that ended it? */
    bool settled;          /* a connection has lasted since the client came */
    uint8_t strikes;       /* connections in a row that did not last */
    uint8_t losses;        /* of late, whether they had lasted or not */
    struct will will;      /* the client's */
    struct will link_will; /* the connection's */
    int64_t connack_ms;
    int64_t losses_ms;  /* since when one more of them is being forgotten */
    int64_t trouble_ms; /* until then a close says nothing */

    struct list filters; /* struct own_filter */
    uint32_t n_filters;
    struct list calls;     /* struct own_call */
    struct list publishes; /* struct own_publish */
    struct list wills;     /* struct own_due_will */
    uint32_t next_call;
    uint32_t last_id; /* of filters */
    uint16_t next_will_token;
    struct list *told; /* of filters recorded whole: the next one, or NULL */

    struct list events; /* struct own_item, all four */
    struct list requests;
    struct list commands;
    struct list records;
    struct sn_event message; /* behind the events */
    struct sn_recipient recipient;
    bool has_message;

    struct deadlines deadlines;
    struct deadline timers[DL_KINDS];
    struct log_ring log;
    struct copies copies;
    uint64_t unasked;
    uint64_t memory_bytes;
};

void *own_alloc(struct own *o, size_t n);
void own_release(struct own *o, void *ptr, size_t n);
bool own_log_begin(struct own *o, enum log_level level, const char *event);
void own_retry_soon(struct own *o);
void own_no_memory(struct own *o, const char *what);
/* The node hears DISCONNECT; nobody asks for the end. */
void own_closed(struct own *o, const char *why);
/* The client's OPEN is answered. */
void own_accept(struct own *o, bool session_present);
void own_refuse(struct own *o, enum sn_outcome outcome);
/* PUBLISHes that will not be answered are refused. */
void own_publishes_over(struct own *o);

/* Whose its messages are (order.h). */
uint64_t own_order(const struct own *o);

/* For the client the broker is there. */
static inline bool own_is_reachable(const struct own *o)
{
    return o->link == LINK_ON || o->accepting;
}

#endif
