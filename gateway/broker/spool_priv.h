/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the spool.
 *
 *   spool.c           what becomes of a PUBLISH and of an answer; entries
 *   spool_live.c      what was passed on, and what becomes of it when the broker falls silent
 *   spool_backlog.c   messages in memory: whose turn it is, what is sent, dropped, too old
 *   spool_fetch.c     messages on disk only, and those that come back from there
 *   spool_queue.c     what waits to be taken by the neighbours, and what waits for a commit
 *   spool_hold.c      answers that are held back, so that nodes keep the broker's pace
 *   spool_meter.c     limits of what leaves for the broker
 *
 * Numbers. Each PUBLISH of QoS 1 and 2 gets one when it is submitted, whether it is spooled or
 * passed on. Of a client's messages those passed on have lower numbers than all that are spooled
 * (a client goes live only with an empty spool), so what comes back goes in front.
 *
 * Memory and disk. While nothing is on disk only, new messages stay in memory, until it is full.
 * From the first one that doesn't (`cursor` is the number before it) new ones go to disk only, in
 * ascending order, and chunks above the cursor are fetched; the cursor follows. When `n_disk` is 0
 * again, so is all as before. Those of clients that have nothing on disk are the exception: while the
 * connection is there, they stay in memory and overtake (`ahead`). What comes back from the connection meanwhile has numbers above the
 * cursor, perhaps, but stays in memory too: rows that are in memory are skipped when they are fetched,
 * and so are those that were in memory and done with, but whose deletion the store may not have seen
 * when it looked (`is_ghost`).
 */
#ifndef SENNET_BROKER_SPOOL_PRIV_H
#define SENNET_BROKER_SPOOL_PRIV_H

#include "base/clock.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/parcels.h"

#include "broker/pace.h"
#include "broker/spool.h"

/* A client with messages in the spool, or with some passed on and not answered. */
struct owner {
    struct hmap_node by_key;
    struct list all;
    struct list ready;   /* linked: its first waiting message may be sent */
    struct list waiting; /* struct message: in memory, not in flight, by number */
    struct list held;    /* struct held */
    struct list holding; /* linked: there are some */
    uint64_t key;
    uint64_t spooled;    /* in the spool: waiting, in flight, on disk */
    uint64_t on_disk;    /* of these not in memory */
    uint32_t live;       /* passed on and not answered */
    uint32_t live_qos_2; /* of these */
    uint32_t in_flight;  /* spooled ones with the connection */
    bool in_flight_qos_2;
};

/* A message in the spool, in memory. */
struct message {
    struct hmap_node by_number;
    struct list place; /* in owner.waiting, spool.sent, or spool.ghosts */
    struct list age;   /* in spool.waiting or spool.ahead while it waits */
    struct owner *owner;
    uint64_t number;
    uint64_t
        batch; /* which its record is in; NOT_YET before that was taken; a ghost's: its end's */
    uint64_t bytes; /* topic and payload, as charged */
    int64_t born_ms;
    struct body *body;
    size_t memory; /* charged */
    uint8_t qos;
    bool retain;
    bool will;
    bool in_flight;
    bool in_doubt;
    bool abandoned; /* the connection that had it tells nothing more */
    bool absent;    /* what it says must be fetched first */
    bool is_ghost;  /* done with */
    uint32_t topic_len;
    uint8_t topic[];
};

/* A PUBLISH of QoS 1 or 2 that was passed on. Of one that can be hedged there is all that it says. */
struct live {
    struct hmap_node by_token;
    struct list unhedged;
    struct owner *owner; /* NULL: hedged, which is a message in flight like others */
    uint64_t token;
    uint64_t number;
    struct body *body;
    uint8_t qos;
    bool retain;
    bool will;
    uint32_t topic_len;
    uint8_t topic[];
};

/* An answer that waits for a commit. */
struct promise {
    uint64_t batch;
    uint64_t number;
    uint64_t client;
    uint64_t token;
    int64_t since_ms;
    uint8_t qos;
    bool answer;
    bool holdable; /* a node's, which may be held back */
};

/* One that waits for the broker. */
struct held {
    struct list place; /* in owner.held */
    struct list age;   /* in spool.held */
    struct owner *owner;
    uint64_t token;
    int64_t since_ms;
    uint8_t qos;
};

struct promises {
    struct promise *ring;
    size_t cap, head, count;
};

struct answers {
    struct up_event *ring;
    size_t cap, head, count;
};

/* A message on its way into the spool. */
struct arrival {
    uint64_t number; /* 0: a new one */
    uint64_t client;
    uint64_t token;
    struct bytes topic;
    struct body *body;
    uint8_t qos;
    bool retain;
    bool will;
    bool answer;    /* when committed */
    bool came_back; /* from the connection */
};

/* Is it a node that waits for the answer? */
static inline bool is_holdable(const struct arrival *a)
{
    return a->answer && !a->will;
}

enum fetching { FETCH_NONE, FETCH_CHUNK, FETCH_ONE };

enum drop { DROP_EXPIRED, DROP_OLDEST, DROP_NEW, DROP_UNUSABLE, DROP_KINDS };

static const uint64_t NOT_YET = UINT64_MAX;

struct spool {
    struct spool_config config;
    int64_t now_ms;
    bool up;
    bool usable;
    bool window_full;        /* and not yet half empty */
    bool draining;           /* there was a backlog when the connection came, and there still is */
    int64_t accepting_until; /* when not usable */
    int64_t pause_until;     /* the connection took no more: nothing spooled is sent before */

    uint64_t last_number;
    uint64_t batch;     /* of records taken now */
    uint64_t committed; /* batches */

    struct hmap owners;     /* by key */
    struct list all_owners; /* struct owner */
    struct list ready;      /* struct owner, in turn */
    struct hmap messages;   /* in memory, by number; ghosts, too */
    struct list waiting;    /* struct message by age: the next to be dropped first */
    struct list ahead;      /* the same, of those that came while others were on disk only */
    struct list sent;       /* struct message in flight */
    struct hmap live;       /* by token */
    struct list unhedged;   /* struct live */

    bool silent;           /* the broker owes answers, and gives none */
    bool suspected;        /* it seems so */
    int64_t owed_ms;       /* since when it owes one, or when it last gave one */
    int64_t look_again_ms; /* when suspected */
    int64_t longest_ms;    /* it let us wait, ... */
    int64_t longest_at_ms; /* ... then */

    uint64_t n_disk;     /* not in memory */
    uint64_t cursor;     /* everything in the spool up to here is in memory */
    uint64_t disk_batch; /* of the latest record of one that is on disk only */
    uint64_t n_disk_new; /* records of such ones that were not taken yet */
    enum fetching fetching;
    bool fetch_complete; /* the answer shows everything that is on disk only */
    bool fetch_broken;   /* a row could not be taken: all from there on come again */
    unsigned fetch_rows; /* so far */
    uint64_t fetch_one;
    int64_t fetch_retry;   /* not before */
    int64_t unreadable_ms; /* since when fetches have failed; TIME_NEVER: they have not */
    struct list absent;    /* struct message.age */
    struct list ghosts;    /* struct message whose end was recorded, by batch */

    struct parcels requests; /* struct up_request and topic */
    struct parcels records;  /* struct outgoing and topic */
    struct answers answers;
    struct up_event passing; /* behind them */
    bool has_passing;
    struct promises promises;
    struct pace pace;    /* if it is `metered` */
    bool metered;        /* there are limits */
    uint64_t to_collect; /* in this window, of numbers up to collect_upto; 0: no window */
    uint64_t collect_upto;
    struct list held;    /* struct held by age */
    struct list holding; /* struct owner with held ones, in turn */
    uint64_t unanswered; /* messages of nodes that wait for their answer, held ones included */
    uint64_t earned;     /* messages that left a backlog, and made no room yet */
    struct log_ring log;

    struct spool_gauges gauges; /* in_flight, memory_bytes and all the rest */
    int64_t told_ms[DROP_KINDS];
    uint64_t told[DROP_KINDS];
};

/* A bijection, so that equal hashes mean equal keys. */
static inline uint64_t spool_mix(const struct spool *s, uint64_t x)
{
    x ^= s->config.hash_seed.k0;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

static inline struct bytes message_topic(const struct message *m)
{
    return bytes_of(m->topic, m->topic_len);
}

/* ---- spool.c --------------------------------------------------------------------------------- */

/* QoS 0, unless it is a will or wanted so, is worth nothing to the spool. */
bool is_worth(const struct spool *s, uint8_t qos, bool will);
void on_spooled_answer(struct spool *s, const struct up_event *event);

/* ---- spool_live.c ---------------------------------------------------------------------------- */

/* QoS 1 and 2: the answer is awaited. False: out of memory. */
bool pass_live(struct spool *s, const struct up_request *r);
void on_live_answer(struct spool *s, const struct up_event *event);
/* The connection answers them no more. */
void refuse_live(struct spool *s);
void live_free_all(struct spool *s);

/* The connection is about to get something that the broker is to answer. */
void owe(struct spool *s);
/* Is that an answer? */
void hear(struct spool *s, int64_t now_ms, const struct up_event *event);
/* The broker has fallen silent, if it has. */
void notice_silence(struct spool *s);
void silence_ends(struct spool *s);
int64_t next_silence(const struct spool *s);

/* ---- spool_backlog.c ------------------------------------------------------------------------- */

struct owner *owner_find(const struct spool *s, uint64_t key);
/* Made if need be; NULL when out of memory. */
struct owner *owner_get(struct spool *s, uint64_t key);
/* After any change: it may be sent from now, or no more, or nobody needs to remember it. */
void owner_settle(struct spool *s, struct owner *o);

struct message *message_find(const struct spool *s, uint64_t number);
/* Charged, in the map, with nobody; NULL when out of memory. */
struct message *message_new(struct spool *s, uint64_t number, struct bytes topic,
                            struct body *body);
void message_free(struct spool *s, struct message *m);
/* It waits, in its place. */
void message_wait(struct spool *s, struct owner *o, struct message *m);
/* It is in the spool no more; its end is recorded. The owner is not settled. */
void message_done(struct spool *s, struct message *m);

/* Many are dropped when any are: says so now and then. */
void tell_dropped(struct spool *s, enum drop kind, uint64_t total);
/* Tells the session that the message is its node's still: the store does not take it. */
void refuse_unusable(struct spool *s, uint64_t token, uint8_t qos);
/* Takes a message over. False: there is no room, or no memory. */
bool take_over(struct spool *s, const struct arrival *a);
/* The message whose turn it is, or NULL. */
struct message *next_message(struct spool *s);
/* The same, if it could be sent at any time. */
struct message *first_ready(const struct spool *s);
void message_sent(struct spool *s, struct message *m);
/* It came back. */
void message_returned(struct spool *s, struct message *m);
/* One left; was it the last one? */
void tell_drained(struct spool *s);
/* The store may count octets otherwise than we do. */
void refund(struct spool *s, uint64_t bytes);

/* ---- spool_fetch.c --------------------------------------------------------------------------- */

/* May a new message of that size stay in memory? */
bool stays_in_memory(const struct spool *s, const struct owner *o, size_t topic_len,
                     struct body *body);
size_t memory_of(size_t topic_len, const struct body *body);
/* It does not. */
void left_on_disk(struct spool *s, struct owner *o, uint64_t number);
/* Must the store's rows be kept from bringing it again? */
bool may_be_fetched(const struct spool *s, const struct message *m);
/* What it says is not known here: it comes from the store. */
void fetch_again(struct spool *s, struct message *m);
/* Nothing that the client has in the spool can be read, for long. */
bool is_beyond_reach(const struct spool *s, const struct owner *o);

/* ---- spool_hold.c ---------------------------------------------------------------------------- */

/* The message is safe: the node hears so now or, at the broker's pace, later. */
void answer_or_hold(struct spool *s, const struct promise *p);
/* Answers as many as the broker has made room for; all, while it is away. */
void answer_held(struct spool *s);
/* Those that have been held for long enough. Owners may be gone after this. */
void answer_overdue(struct spool *s);
int64_t next_overdue(const struct spool *s);
/* One message less. */
void earn_room(struct spool *s);
void held_free(struct spool *s);

/* ---- spool_meter.c --------------------------------------------------------------------------- */

void meter_advance(struct spool *s);
/* The message of that number is in the spool no more. */
void meter_gone(struct spool *s, uint64_t number);
/* An unknown number of them. */
void meter_lost(struct spool *s);
/* May a message of so many octets leave now? */
bool meter_allows(const struct spool *s, uint64_t bytes);
/* The same for one that is not in the spool: those that are there come first. True: it is paid for. */
bool meter_lets_pass(struct spool *s, const struct up_request *r);
int64_t meter_next(const struct spool *s);

/* ---- spool_queue.c --------------------------------------------------------------------------- */

/* False: out of memory. */
bool pass_on(struct spool *s, const struct up_request *request);
void tell(struct spool *s, const struct up_event *event);
/* What the event borrows stays borrowed. */
void tell_passing(struct spool *s, const struct up_event *event);
/* `on_disk`: it is not in memory. False: out of memory. */
bool record_arrival(struct spool *s, const struct arrival *a, uint64_t number, bool on_disk);
void record_gone(struct spool *s, uint64_t number);
void queues_begin(struct spool *s);
void queues_end(struct spool *s);
void spool_out_of_memory(struct spool *s, const char *what);

#endif
