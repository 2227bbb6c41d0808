/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the router.
 *
 *   router.c            entries, memory, reachability
 *   router_client.c     sessions of clients: at which brokers they are open, wills
 *   router_naming.c     how a client's topics are called at the brokers
 *   router_topics.c     filters as sets, rewriting, templates: pure functions
 *   router_publish.c    who gets a message of a node, and the one answer from several
 *   router_subscribe.c  filters of nodes
 *   router_parts.c      what they come to at the brokers
 *   router_down.c       messages to nodes
 *   router_change.c     other routes
 *   router_record.c     what a restart must not lose
 *   router_queue.c      what waits to be taken
 */
#ifndef SENNET_BROKER_ROUTER_PRIV_H
#define SENNET_BROKER_ROUTER_PRIV_H

#include "base/deadline.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/parcels.h"

#include "broker/router.h"
#include "broker/will.h"

/* ---- naming ---------------------------------------------------------------------------------- */

/* One route as it is for a client: what lies in `from` is called so at its brokers. */
struct way {
    const struct route *route;
    struct bytes from;
    struct bytes to;
    bool ok; /* else a constant of the client does not fit into a topic: nothing has a name */
};

/* How topics are called for the clients whose constants come to the same. */
struct naming {
    struct hmap_node by_text;
    uint32_t refs;
    uint32_t brokers; /* that a way names, and the first */
    struct bytes prefix;
    bool has_prefix;  /* else see `ok` above */
    uint64_t message; /* number of the message it was last used for ... */
    uint32_t group;   /* ... and what that is called (router_down.c) */
    uint8_t most_qos;
    bool in_doubt;
    size_t size;
    size_t text_len;
    uint32_t n_ways;
    struct way ways[];
};

/* NULL when out of memory. */
struct naming *naming_get(struct router *r, struct bytes client_id, uint16_t link);
struct naming *naming_ref(struct naming *n);
void naming_unref(struct router *r, struct naming *n);
/* Of those who have no session. */
struct naming *naming_of_stranger(struct router *r, const struct peer *peer);

enum { NO_LINK = UINT16_MAX };

/* Texts of what is being handled, one behind the other. */
struct texts {
    uint8_t *buf;
    size_t len, cap;
};

/* One of them. */
struct span {
    size_t at;
    size_t len;
};

/* Room for so many octets behind those that are there; `buf` NULL: out of memory. */
struct writer texts_room(struct texts *t, size_t len);

static inline struct bytes texts_at(const struct texts *t, struct span span)
{
    return bytes_of(t->buf + span.at, span.len);
}

/* How a topic, or a filter within the way, is called at its brokers. `way` NULL: by the prefix.
 * SN_REFUSED_NEVER: it has no name there. */
enum sn_outcome naming_at_broker(struct router *r, const struct naming *n, const struct way *way,
                                 struct bytes topic, struct span *out);

/* ---- clients --------------------------------------------------------------------------------- */

enum at_state {
    AT_CLOSED,
    AT_OPENING,
    AT_OPEN,
    AT_OWED,    /* refused as busy: asked again when the broker is there */
    AT_REFUSED, /* until the client comes anew */
};

/* A client's session at one broker. */
struct at_broker {
    struct list owed; /* in broker.owed_clients */
    uint8_t broker;
    uint8_t state;   /* enum at_state */
    bool owes_clean; /* it has not forgotten yet what it is to forget */
};

struct client {
    uint64_t key;
    struct naming *naming;
    struct peer *peer;   /* NULL: unknown */
    struct list wants;   /* struct want */
    struct list parts;   /* struct part */
    struct list answers; /* struct answer */
    struct will will;    /* by the node's name; none when it has no name at the brokers */
    uint32_t n_wants;
    uint32_t max_wants;
    uint32_t n_over; /* parts that the broker sends at more than is wanted now */
    uint32_t n_answers;
    uint32_t n_pends;
    uint16_t open_token;
    uint16_t next_publish_token;
    uint16_t next_subscribe_token;
    uint16_t keep_alive_s;
    bool clean;
    bool present; /* the node is connected, or asks for it */
    bool opening; /* its OPEN is not answered yet */
    uint32_t id_len;
    struct at_broker at[]; /* n_brokers; the client id behind them */
};

struct client *router_client(const struct router *r, uint64_t key);
struct bytes router_client_id(const struct router *r, const struct client *c);
/* The client of that key, made if need be, as it is called and where it is now. NULL when out of
 * memory. */
struct client *router_client_get(struct router *r, uint64_t key, struct bytes id,
                                 const struct peer *peer);
void router_client_free(struct router *r, struct client *c);
void router_on_open(struct router *r, const struct sn_request *request);
void router_on_opened(struct router *r, unsigned broker, const struct sn_event *event);
void router_on_close(struct router *r, const struct sn_request *request);
void router_on_closed(struct router *r, unsigned broker, const struct sn_event *event);
void router_on_set_will(struct router *r, const struct sn_request *request);
/* Sends an OPEN, now or later. */
void router_open_at(struct router *r, struct client *c, unsigned broker, bool clean);
/* Ends it at one broker that has nothing to do with it any more. */
void router_leave(struct router *r, struct client *c, unsigned broker);
/* Its will, by the names that it has now, to all who have it open. */
void router_rename_will(struct router *r, struct client *c);
/* When all have refused, that is the answer. */
void router_settle_refusals(struct router *r, struct client *c);
/* Ends it at all of these, and it hears that. */
void router_drop_client(struct router *r, struct client *c, uint32_t brokers);
/* Asks a broker again for those whom it refused as busy, `n` at most. */
void router_reopen_owed(struct router *r, unsigned broker, size_t n);

/* ---- routes ---------------------------------------------------------------------------------- */

bool routes_init(struct router *r);
/* Whose answers those without a session wait for. */
void routes_heed(struct router *r);
bool strangers_init(struct router *r);

/* ---- publishing ------------------------------------------------------------------------------ */

/* One broker that gets a message. */
struct target {
    unsigned broker;
    const struct route *route; /* NULL: by the prefix */
    struct span name;
    enum sn_outcome outcome; /* SN_OK: it has a name */
    bool required;
};

/* Who gets what is published to the topic, in router.names until the next use of it. Number of
 * targets. */
unsigned targets_of(struct router *r, const struct naming *n, struct bytes topic,
                    struct target targets[ROUTER_BROKERS_MAX]);
uint8_t target_qos(const struct target *t, uint8_t qos);
bool target_retain(const struct target *t, bool retain);

/* A PUBLISH that brokers have not all answered. */
struct answer {
    struct hmap_node by_token;
    struct list of_client;
    struct client *client;
    uint32_t waiting;  /* brokers that have not answered ... */
    uint32_t required; /* ... and those among them whose answer the node waits for */
    uint16_t token;    /* ours, with the brokers */
    uint16_t engine_token;
    uint8_t qos; /* the node's */
    uint8_t outcome;
    bool answered;
};

void router_on_publish(struct router *r, const struct sn_request *request);
void router_on_published(struct router *r, unsigned broker, const struct sn_event *event);
void router_answer_free(struct router *r, struct answer *a);
/* NEVER is worse than BUSY: repeating does not help. */
enum sn_outcome router_worse(enum sn_outcome a, enum sn_outcome b);

/* ---- subscribing ----------------------------------------------------------------------------- */

/* A filter of a node. */
struct want {
    struct list of_client;
    struct client *client;
    struct list asks; /* struct ask, in order */
    struct tie *ties;
    uint32_t n_ties;
    uint32_t n_old; /* while routes change: */
    struct tie *old;
    uint8_t qos;     /* by the latest ask, then as granted */
    uint8_t granted; /* of a live one */
    bool live;       /* was granted once */
    uint32_t len;
    uint8_t text[];
};

/* A SUBSCRIBE of the node that is not answered. */
struct ask {
    struct list of_want;
    struct want *want;
    uint32_t n_waiting; /* answers of required brokers */
    uint16_t token;
    uint8_t qos;
    uint8_t granted;
    uint8_t outcome;
};

/* A filter at one broker; several filters of the node may come to the same. */
struct part {
    struct list of_client;
    struct client *client;
    struct list ties;
    struct list pends;
    struct list owed; /* in broker.owed_parts: refused as busy */
    uint8_t broker;
    uint8_t granted; /* by the latest answer that was not a refusal, ... */
    uint8_t qos;     /* ... when that was asked for */
    bool held;       /* the broker has it */
    bool asked;      /* it may have it */
    bool over;       /* counted in client.n_over */
    uint32_t len;
    uint8_t text[];
};

/* That the part is needed for the want. */
struct tie {
    struct list of_part;
    struct part *part;
    struct want *want;
    uint8_t most_qos;
    bool required;
};

/* A SUBSCRIBE for a part that is not answered. */
struct pend {
    struct hmap_node by_token;
    struct list of_part;
    struct part *part;
    struct want *want; /* NULL: nobody's */
    struct ask *ask;   /* NULL: nobody waits for it */
    uint16_t token;
    uint8_t qos; /* asked for */
    bool sent;   /* else the session is not open yet */
};

void router_on_subscribe(struct router *r, const struct sn_request *request);
void router_on_unsubscribe(struct router *r, const struct sn_request *request);
void router_on_subscribed(struct router *r, unsigned broker, const struct sn_event *event);
/* The session at the broker is open: it hears what it has not. */
void parts_subscribe(struct router *r, struct client *c, unsigned broker, bool session_present);
/* It is not: who waits for it waits in vain. */
void parts_refuse(struct router *r, struct client *c, unsigned broker, enum sn_outcome outcome);
void router_resubscribe_owed(struct router *r, unsigned broker);
/* Of a session that stays their end is recorded. `tell`: the brokers hear UNSUBSCRIBE. */
void wants_clear(struct router *r, struct client *c, bool session_stays, bool tell);
/* A stored one. 0, -ENOMEM, or 1: it has no name any more. */
int want_restore(struct router *r, struct client *c, struct bytes filter, uint8_t qos);
/* What the client's topics are called has changed. */
void wants_rename(struct router *r, struct client *c);
/* The same while the client is there: what it has asked for is asked again. Until wants_rerouted() it has the
 * old parts, too, so that no message is missed. False: out of memory, and some are gone. */
bool wants_reroute(struct router *r, struct client *c);
void wants_rerouted(struct router *r, struct client *c);
/* Does the broker lack any of them? */
bool parts_missing(const struct client *c, unsigned broker);
/* The greatest QoS of the client's filters that match; false when none does. */
bool wants_match(const struct client *c, struct bytes topic, uint8_t *qos);

static inline struct bytes want_text(const struct want *w)
{
    return bytes_of(w->text, w->len);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* A name of a message for nodes: a text in router.down, or the end of the broker's. */
struct reading {
    struct span text; /* of router.down; its `at` is of the broker's topic, if ... */
    bool of_broker;
    uint8_t most_qos;
};

/* Recipients who know it so. */
struct group {
    struct reading name;
    bool same; /* as at the broker */
    size_t first, n;
};

void router_on_message(struct router *r, unsigned broker, const struct sn_event *event);
bool router_peek_message(const struct router *r, struct sn_event *out);
void router_done_message(struct router *r);
void router_down_deinit(struct router *r);

/* ---- records --------------------------------------------------------------------------------- */

void record_want(struct router *r, const struct want *w);
void record_want_gone(struct router *r, const struct want *w);
/* Before it is freed. */
void record_forget_want(struct router *r, const struct want *w);
void record_forget_client(struct router *r, const struct client *c);
/* A filter that the session at the broker has. False: out of memory. */
bool record_restored(struct router *r, const struct part *p, uint8_t qos);

/* ---- queues ---------------------------------------------------------------------------------- */

void router_no_memory(struct router *r, const char *what);
/* Never MESSAGE. */
void router_tell(struct router *r, const struct sn_event *event);
/* Texts and peer are copied, bodies referenced. False: out of memory. */
bool router_ask(struct router *r, unsigned broker, const struct sn_request *request);
void router_queues_init(struct router *r);
void router_queues_deinit(struct router *r);

struct event_ring {
    struct sn_event *ring;
    size_t cap, head, count;
};

/* ---- the machine ----------------------------------------------------------------------------- */

struct broker {
    struct deadline retry; /* armed: somebody is owed an OPEN or a SUBSCRIBE */
    struct list owed_clients;
    struct list owed_parts;
    bool up;
    bool accepting;
    bool heeded_by_strangers; /* required for something of theirs */
};

/* One filter, or part of one, on its way to a broker. */
struct piece {
    unsigned broker;
    struct span text;
    uint8_t most_qos;
    bool required;
};

struct router {
    struct router_config config;
    struct broker brokers[ROUTER_BROKERS_MAX];
    struct bytes *from;    /* of the routes */
    struct client **slots; /* by sn_client_slot() */
    uint32_t cap_slots;
    struct hmap namings;
    struct naming **strangers; /* by link; the last: of unknown links */
    struct hmap answers;       /* by client and token */
    struct hmap pends;
    struct texts names;
    struct piece *pieces;
    size_t n_pieces, cap_pieces;

    struct event_ring events;
    struct parcels requests;
    struct parcels records;
    struct parcels restored;

    struct sn_event message; /* the one that is being passed on: what its copies share ... */
    struct texts down;
    struct group *groups; /* ... and in what they differ */
    size_t n_groups, cap_groups, next_group;
    struct sn_recipient *recipients;
    uint32_t *group_of; /* by recipient, as they came */
    size_t cap_recipients;
    uint64_t n_messages;

    bool telling; /* all records: */
    uint32_t told_slot;
    struct list *told; /* NULL: from the client's first one on */

    bool up, accepting; /* as the engine knows it */
    struct deadlines deadlines;
    struct log_ring log;
    int64_t now_ms;
    struct router_gauges gauges;
};

/* Charged, zeroed. */
void *router_alloc(struct router *r, size_t n);
void router_release(struct router *r, void *ptr, size_t n);
/* Asks again in a while. */
void router_retry_later(struct router *r, unsigned broker);
void router_log_unnamed(struct router *r, const struct client *c, const char *what,
                        struct bytes topic);

/* Where open requests are found: a bijection, so that equal hashes mean equal keys. */
static inline uint64_t token_hash(const struct router *r, uint64_t client, uint16_t token)
{
    uint64_t x = (client << 16 | token) ^ r->config.hash_seed.k0;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
    return x ^ (x >> 31);
}

static inline bool has_broker(uint32_t mask, unsigned broker)
{
    return (mask >> broker & 1) != 0;
}

#endif
