/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the shared session.
 *
 *   shared.c         entries, sessions, publishing, wills
 *   filter_tree.c    filters by text, and matching a topic against all of them
 *   subscriptions.c  who subscribes to what, and telling the broker
 *   replay.c         retained messages for one subscriber of a filter that others have too
 *   shared_queue.c   what waits to be taken by the two neighbours
 */
#ifndef SENNET_BROKER_SHARED_PRIV_H
#define SENNET_BROKER_SHARED_PRIV_H

#include "base/deadline.h"
#include "base/hmap.h"
#include "base/list.h"

#include "broker/shared.h"

/* ---- filter_tree.c --------------------------------------------------------------------------- */

/* One level of one or more filters; `+` and `#` are levels like others, found faster. */
struct level {
    struct hmap_node node; /* in tree.levels by (parent, text) */
    struct level *parent;
    struct level *plus;
    struct level *hash;
    struct filter *filter; /* the filter that ends here */
    uint32_t n_children;
    uint32_t len;
    uint8_t text[];
};

struct tree {
    struct hmap levels;
    struct level *root;
};

/* One distinct filter, subscribed upstream once however many sessions want it. It outlives its last
 * subscription until the broker has been told (`subs` empty). */
struct filter {
    struct list all;     /* in shared.filters */
    struct list subs;    /* struct sub */
    struct level *level; /* where it ends in the tree */
    uint32_t id;         /* comes back in tokens */
    struct hmap_node by_id;
    bool upstream;  /* the broker has it for certain */
    bool maybe;     /* the broker may have it: it must be told before we forget the filter */
    bool in_flight; /* a SUBSCRIBE is under way */
    bool again;     /* somebody asked meanwhile: another one must follow */
    uint32_t len;
    uint8_t text[];
};

struct shared;

/* 0 or -ENOMEM. */
int tree_init(struct shared *s);
/* The tree must have no filters. */
void tree_deinit(struct shared *s);
struct filter *tree_find(const struct shared *s, struct bytes text);
/* Adds a filter that is not there yet; NULL when out of memory. */
struct filter *tree_add(struct shared *s, struct bytes text);
/* Removes and frees; it must have no subscriptions. */
void tree_remove(struct shared *s, struct filter *f);
/* Calls `hit` for each filter that matches the topic name (3.1.1 section 4.7: `a/#` matches `a`, a
 * leading wildcard does not match `$...`). O(levels * branching by wildcards). */
void tree_match(const struct shared *s, struct bytes topic,
                void (*hit)(struct shared *s, struct filter *f));

static inline struct bytes filter_text(const struct filter *f)
{
    return bytes_of(f->text, f->len);
}

/* ---- sessions and subscriptions -------------------------------------------------------------- */

struct will {
    struct body *topic; /* a body for its shared text */
    struct body *body;
    uint8_t qos;
    bool retain;
};

struct session {
    uint64_t key;
    struct list subs; /* struct sub */
    uint32_t n_subs;
    uint32_t max_subs;
    struct will will;
    bool present;       /* the node is connected */
    uint32_t match;     /* number of the message it was last matched for ... */
    uint32_t recipient; /* ... and its place in shared.recipients */
};

/* One session's subscription to one filter. */
struct sub {
    struct list of_filter;
    struct list of_session;
    struct filter *filter;
    struct session *session;
    struct replay *replay; /* open window for retained messages, or NULL */
    uint16_t token;
    uint8_t qos;    /* granted; while waiting: the greater of granted and wanted */
    uint8_t wanted; /* while waiting */
    bool live;      /* was granted once */

    enum { SUB_QUIET, SUB_WAITING, SUB_ASKED } ask; /* waiting for its round; asked in this round */
};

void subscribe(struct shared *s, struct session *n, uint16_t token, struct bytes text, uint8_t qos);
void unsubscribe(struct shared *s, struct session *n, struct bytes text);
void unsubscribe_all(struct shared *s, struct session *n);
void on_subscribed(struct shared *s, const struct up_event *event);
void on_unsubscribed(struct shared *s, const struct up_event *event);
/* The connection is back: tell the broker what it does not know. */
void resubscribe(struct shared *s, bool session_present);
/* There may be room again for what the connection had none for. */
void resubscribe_missed(struct shared *s);
/* Builds s->recipients for a message. */
void collect_recipients(struct shared *s, struct bytes topic, uint8_t qos, bool retained);
void subscriptions_deinit(struct shared *s);

/* ---- replay.c -------------------------------------------------------------------------------- */

/* Retained messages arrive with RETAIN=1 because *somebody* subscribed; a window says who that was.
 * It remembers (by hash) the topics already passed on, since two replays of one filter may overlap.
 */
struct replay {
    struct deadline closes;
    struct sub *sub;
    int64_t opened_ms;
    uint64_t *seen; /* open addressing; 0 = free */
    uint32_t n_seen;
    uint32_t cap_seen;
};

/* Opens, or opens anew. Out of memory: no window, so no retained messages (logged). */
void replay_open(struct shared *s, struct sub *sub);
void replay_close(struct shared *s, struct sub *sub);
/* True when the retained message is for this subscription; notes that it was. */
bool replay_wants(struct shared *s, struct sub *sub, uint64_t topic_hash);
void replay_due(struct shared *s, struct replay *r);

/* ---- shared_queue.c -------------------------------------------------------------------------- */

struct event_queue {
    struct sn_event *ring;
    size_t cap, head, count;
};

struct request_arena {
    uint8_t *buf;
    size_t cap, head, tail;
};

/* Queued for the engine. Never MESSAGE. Out of memory is logged; the engine's own supervision
 * copes. */
void emit(struct shared *s, const struct sn_event *event);
/* Queued for the connection; the topic is copied, the body referenced. False: out of memory. */
bool ask_upstream(struct shared *s, const struct up_request *request);
void queues_deinit(struct shared *s);

/* ---- the machine ----------------------------------------------------------------------------- */

/* A will that waits for the broker's acknowledgement, or for the broker. */
struct due_will {
    struct list link;
    struct will will;
    int64_t sent_ms;
    uint16_t token;
    bool sent;
};

struct shared {
    struct shared_config config;
    struct tree tree;
    struct list filters;
    struct hmap filters_by_id;
    uint32_t n_filters;
    uint32_t next_filter_id;
    struct session **slots; /* by sn_client_slot() */
    uint32_t cap_slots;
    uint32_t n_sessions;
    struct list wills; /* struct due_will */
    uint16_t next_will_token;
    struct sn_recipient *recipients;
    size_t n_recipients, cap_recipients;
    uint32_t match; /* number of the message being matched, never 0 */
    uint8_t match_qos;
    bool match_retained;
    uint64_t match_hash;
    bool has_message; /* `message` is waiting to be taken */
    struct sn_event message;
    struct event_queue events;
    struct request_arena requests;
    struct deadlines deadlines;
    struct deadline missed; /* armed: the connection had no room for a filter or a will */
    struct log_ring log;
    bool up;
    uint64_t memory_bytes;
    uint64_t unmatched;
    uint64_t wills_published;
    uint64_t wills_refused;
    uint64_t wills_dropped;
    int64_t now_ms;
};

/* Tokens of upstream requests. PUBLISH: client key and the engine's token; those without client are
 * QoS -1 (token 0) or wills. SUBSCRIBE and UNSUBSCRIBE: the filter's id. */
static inline uint64_t publish_token(uint64_t client, uint16_t token)
{
    return client << 16 | token;
}

enum shared_deadline_kind { DL_REPLAY, DL_MISSED };

/* The connection had no room: tries again soon, since nothing else might come to trigger it. */
void try_again_soon(struct shared *s);

/* Charged allocation, zeroed. */
void *shared_alloc(struct shared *s, size_t n);
void shared_release(struct shared *s, void *ptr, size_t n);

#endif
