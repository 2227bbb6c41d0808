/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the shared session.
 *
 *   shared.c         entries, sessions, publishing, wills
 *   filter_tree.c    filters by text, and matching a topic against all of them
 *   subscriptions.c  who subscribes to what, and to whom a message goes
 *   covering.c       which of the filters the broker is to have
 *   replay.c         retained messages for one subscriber of a filter that others have too
 *   wills.c          wills of lost nodes
 *   shared_record.c  what a restart must not lose
 *   shared_queue.c   what waits to be taken by the two neighbours
 */
#ifndef SENNET_BROKER_SHARED_PRIV_H
#define SENNET_BROKER_SHARED_PRIV_H

#include "base/deadline.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/parcels.h"
#include "base/slabs.h"

#include "broker/copies.h"
#include "broker/shared.h"
#include "broker/will.h"

/* ---- filter_tree.c --------------------------------------------------------------------------- */

/* One level of one or more filters; `+` and `#` are levels like others, found faster. */
struct level {
    struct hmap_node node; /* in tree.levels by (parent, text) */
    struct level *parent;
    struct filter *filter; /* the filter that ends here */
    struct ring children;  /* struct level; wildcards come first */
    struct list sibling;
    uint16_t len;
    uint8_t wildcard; /* '+' or '#', or 0 */
    bool has_plus;    /* among the children */
    bool has_hash;
    uint8_t text[];
};

struct tree {
    struct hmap levels;
    struct level *root;
};

/* Whether the broker has a filter, leaving aside a SUBSCRIBE that is under way. */
enum held { HELD_NO, HELD_MAYBE, HELD_YES };

/* One distinct filter, however many sessions want it. It outlives its last subscription until the
 * broker has been told (`subs` empty), and until its wards can do without it. */
struct filter {
    struct list all;     /* in shared.filters */
    struct ring subs;    /* struct sub */
    struct level *level; /* where it ends in the tree */
    struct hmap_node by_id;
    struct filter *guard; /* the filter that covers this one, so that the broker need not have it */
    struct list ward;     /* in guard->wards, if it has one */
    struct ring wards;    /* struct filter */
    struct visit *visit;  /* the broker has it, though covered, for its retained messages */
    uint32_t id;          /* comes back in tokens */
    uint32_t subscription; /* identifier of the one that the broker has: copies.h */
    uint16_t len;
    uint8_t held;       /* enum held */
    uint8_t granted;    /* QoS, by the latest SUBACK */
    bool in_flight : 1; /* a SUBSCRIBE is under way */
    bool leaving : 1;   /* an UNSUBSCRIBE is under way */
    bool again : 1;     /* somebody asked meanwhile: another SUBSCRIBE must follow */
    bool refused : 1;   /* by the broker; not asked again in this connection unless a node asks */
    bool survey : 1;    /* filters may have been subscribed that it covers */
    bool proven : 1;    /* copies.h */
    bool owed : 1;      /* SUBSCRIBE once more, for the retained messages that somebody waits for */
    uint8_t text[];
};

/* While a ward is with the broker. */
struct visit {
    struct deadline ends;
    struct filter *filter;
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

/* Looks for a filter that covers another one: whatever matches `covered` matches it, too. `a/#`
 * covers `a/+` and `a`; a leading wildcard covers nothing that begins with `$`. Of `#` and `+/#`,
 * which match the same, `#` is the one that covers. */
struct cover_query {
    const struct filter *covered;
    const struct filter *leaving; /* for `usable` */

    bool (*usable)(const struct filter *candidate, const struct cover_query *q);
};

/* A usable cover, the widest ones first, or NULL; `covered` itself is a candidate. Costs like
 * tree_match(). */
struct filter *tree_cover(const struct shared *s, const struct cover_query *q);
/* Calls `hit` for each filter that `cover` covers but for itself. It must not add or remove any.
 * O(levels below). */
void tree_covered(struct shared *s, struct filter *cover,
                  void (*hit)(struct shared *s, struct filter *cover, struct filter *f));

static inline bool filter_wanted(const struct filter *f)
{
    return f->subs.first != NULL;
}

static inline struct bytes filter_text(const struct filter *f)
{
    return bytes_of(f->text, f->len);
}

/* ---- sessions and subscriptions -------------------------------------------------------------- */

/* They stand in blocks by their slots (sn_client_slot()); there is none where the key is SN_NO_CLIENT. */
struct session {
    uint64_t key;
    uint64_t order;     /* order.h; 0: it has not been opened yet */
    struct sub *subs;   /* in order */
    struct will *will;  /* or NULL */
    uint32_t match;     /* number of the message it was last matched for ... */
    uint32_t recipient; /* ... and its place in shared.recipients */
    uint32_t n_subs;
    uint32_t max_subs;
};

enum { SESSIONS_BITS = 7, SESSIONS_PER_BLOCK = 1 << SESSIONS_BITS };

/* A SUBSCRIBE of a node that waits for its answer. */
struct ask {
    struct ask *next; /* of the subscription, in order */
    uint16_t token;
    uint8_t qos; /* wanted */
    bool sent;   /* the round under way is its round */
};

/* One session's subscription to one filter. */
struct sub {
    struct list of_filter;
    struct sub *of_session; /* the session's next one */
    struct filter *filter;
    struct replay *replay;   /* what came through the window for retained messages, or NULL */
    int64_t replay_until_ms; /* it is open, if nothing prolongs it; 0: it is closed */
    struct ask *asks;
    uint32_t session; /* its slot */
    uint8_t granted;  /* by the answer to the latest ask */
    uint8_t qos;      /* the greatest of that and what waiting asks want */
    bool live;        /* was granted once */
    bool owed;        /* granted while the connection was away: no retained messages yet */
};

void subscribe(struct shared *s, struct session *n, uint16_t token, struct bytes text, uint8_t qos);
void unsubscribe(struct shared *s, struct session *n, struct bytes text);
/* Of a session that stays their end is recorded; with a session all goes (record.h). */
void unsubscribe_all(struct shared *s, struct session *n, bool session_stays);
/* A stored subscription. False: out of memory. */
bool sub_restore(struct shared *s, struct session *n, struct bytes text, uint8_t qos);
void on_subscribed(struct shared *s, const struct up_event *event);
/* Sends SUBSCRIBE for everybody who waits. False: out of memory. */
bool send_subscribe(struct shared *s, struct filter *f);
/* Builds s->recipients for a message. False: it is a copy that is not to be passed on. */
bool collect_recipients(struct shared *s, const struct up_event *message);
void subscriptions_deinit(struct shared *s);

/* ---- covering.c ------------------------------------------------------------------------------ */

/* The broker has granted a filter that somebody wants; `changed`: it had it not, or with another
 * QoS. */
void cover_granted(struct shared *s, struct filter *f, bool changed);
/* The broker has refused it. */
void cover_refused(struct shared *s, struct filter *f);
/* Its visit with the broker, if there is one, is over. */
void cover_leave(struct shared *s, struct filter *f);
/* Its last subscription is gone; may free it. */
void cover_unwanted(struct shared *s, struct filter *f);
/* It was unwanted, and is to have a subscription again. */
void cover_wanted(struct shared *s, struct filter *f);
/* Tells the broker what it lacks of a filter, or has too much; may free it. */
void cover_tell(struct shared *s, struct filter *f);
/* More retained messages are coming: it stays with the broker a little longer. */
void cover_prolong(struct shared *s, struct filter *f);
void on_unsubscribed(struct shared *s, const struct up_event *event);
/* The connection is back: tell the broker what it does not know. */
void resubscribe(struct shared *s, bool session_present);
/* There may be room again for what the connection had none for. */
void resubscribe_missed(struct shared *s);
/* Undoes what relates filters to each other, before they are freed. */
void cover_dissolve(struct filter *f);

/* ---- replay.c -------------------------------------------------------------------------------- */

/* Retained messages arrive with RETAIN=1 because *somebody* subscribed; a window says who that was.
 * With the first message it gets a record, which remembers (by hash) the topics already passed on,
 * since two replays of one filter may overlap. */
struct replay {
    struct deadline closes;
    struct sub *sub;
    int64_t opened_ms;
    uint64_t *seen; /* open addressing; 0 = free */
    uint32_t n_seen;
    uint32_t cap_seen;
};

/* Opens, or opens anew. */
void replay_open(struct shared *s, struct sub *sub);
/* The broker has granted what it had been opened for. */
void replay_answered(const struct shared *s, struct sub *sub);
void replay_close(struct shared *s, struct sub *sub);
/* True when the retained message is for this subscription; notes that it was. */
bool replay_wants(struct shared *s, struct sub *sub, uint64_t topic_hash);
void replay_due(struct shared *s, struct replay *r);

/* ---- wills.c --------------------------------------------------------------------------------- */

void log_lost_will(struct shared *s, struct bytes topic, uint64_t *counter, const char *why);
/* An empty topic: it has none. False: out of memory, it has none. */
bool session_set_will(struct shared *s, struct session *n, const struct sn_will_view *will);
/* Whose its messages are (order.h). */
uint64_t session_order(const struct session *n);
/* The node is lost: its will goes its way. */
void publish_will(struct shared *s, struct session *n);
void on_will_published(struct shared *s, const struct up_event *event);
void send_waiting_wills(struct shared *s);
void settle_wills_of_qos_0(struct shared *s);
void wills_deinit(struct shared *s);

/* ---- shared_record.c ------------------------------------------------------------------------- */

/* The session's subscription was granted, anew or otherwise than before. */
void record_sub(struct shared *s, const struct sub *sub);
/* It is gone, and its session is not. */
void record_sub_gone(struct shared *s, const struct sub *sub);
/* Before it is freed. */
void record_forget_sub(struct shared *s, const struct sub *sub);
void record_forget_filter(struct shared *s, const struct filter *f);
void records_deinit(struct shared *s);

/* ---- shared_queue.c -------------------------------------------------------------------------- */

struct event_queue {
    struct sn_event *ring;
    size_t cap, head, count;
};

void log_out_of_memory(struct shared *s, const char *what);
/* Queued for the engine. Never MESSAGE. Out of memory is logged; the engine's own supervision
 * copes. */
void emit(struct shared *s, const struct sn_event *event);
/* Queued for the connection; the topic is copied, the body referenced. False: out of memory. */
bool ask_upstream(struct shared *s, const struct up_request *request);
void queues_init(struct shared *s);
void queues_deinit(struct shared *s);

/* ---- the machine ----------------------------------------------------------------------------- */

/* A will that waits for the broker's acknowledgement, or for the broker. */
struct due_will {
    struct list link;
    uint64_t client; /* order.h */
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
    uint32_t n_covered; /* of these, with a guard */
    uint32_t next_filter_id;
    uint32_t last_subscription;
    struct session *
        *blocks; /* by sn_client_slot() >> SESSIONS_BITS; NULL where there never was one */
    uint32_t n_blocks;
    uint32_t n_sessions;
    struct list wills; /* struct due_will */
    uint16_t next_will_token;
    struct sn_recipient *recipients;
    size_t n_recipients, cap_recipients;
    uint32_t match; /* number of the message being matched, never 0 */
    uint8_t match_qos;
    bool match_retained;
    uint64_t match_hash;
    struct copy match_copy;
    struct copies copies;
    bool has_message; /* `message` is waiting to be taken */
    struct sn_event message;
    struct event_queue events;
    struct parcels requests; /* struct up_request and its topic */
    struct parcels records;  /* struct sn_record and its filter */
    struct list *told;       /* of those recorded whole: the next filter, ... */
    struct list *told_sub;   /* ... and its next subscription; NULL: none is under way */
    struct slabs slabs;
    struct deadlines deadlines;
    struct deadline missed; /* armed: the connection had no room for a filter or a will */
    struct log_ring log;
    bool up;        /* the connection */
    bool accepting; /* what is published is taken without it */
    uint64_t memory_bytes;
    uint64_t unmatched;
    uint64_t wills_published;
    uint64_t wills_refused;
    uint64_t wills_dropped;
    int64_t now_ms;
};

/* Tokens of upstream requests. PUBLISH: see upstream.h. SUBSCRIBE and UNSUBSCRIBE: the filter's id. */
static inline uint64_t publish_token(uint64_t client, uint16_t token)
{
    return client << UP_TOKEN_BITS | token;
}

/* For nodes the broker is there. */
static inline bool is_reachable(const struct shared *s)
{
    return s->up || s->accepting;
}

enum shared_deadline_kind { DL_REPLAY, DL_MISSED, DL_VISIT };

/* The connection had no room: tries again soon, since nothing else might come to trigger it. */
void try_again_soon(struct shared *s);

struct filter *filter_by_id(const struct shared *s, uint64_t id);

/* The subscription's. */
static inline struct session *session_of_sub(const struct shared *s, const struct sub *sub)
{
    return &s->blocks[sub->session >> SESSIONS_BITS][sub->session & (SESSIONS_PER_BLOCK - 1)];
}

/* The session of that key, made if need be; NULL when out of memory. */
struct session *session_get(struct shared *s, uint64_t key);

/* Charged allocation, zeroed. */
void *shared_alloc(struct shared *s, size_t n);
void shared_release(struct shared *s, void *ptr, size_t n);

#endif
