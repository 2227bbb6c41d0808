/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which broker gets what, and under which name (docs/adr/0014): a pure machine on the seam between
 * engine and broker sessions (mqttsn/port.h), which both of its neighbours speak.
 *
 *     engine requests   -> router_request()    router_peek_request() -> the session at that broker
 *     session's events  -> router_event()      router_peek_event()   -> engine
 *
 * Each neighbour believes to be alone with the other: a session sees clients, tokens and answers as
 * the engine would speak to it. Tokens of PUBLISHes that are answered and of SUBSCRIBEs are the
 * router's own: a route may raise a message's QoS, and one filter may become several.
 *
 *     OPEN, CLOSE     to every broker that a route of that client names, and the first one. Opened
 *                     as soon as one of them takes it; when all have refused, the answer is the first
 *                     broker's. Brokers that refused as busy are asked again when they can be reached,
 *                     and every half minute; what the client subscribed meanwhile follows
 *     PUBLISH         by the routes. Answered when all required brokers have; at once when none is.
 *                     What one of the required ones can't be asked for is refused before anybody is
 *                     asked. One of the other refusals is worst: NEVER, then BUSY. Where a route has
 *                     lowered the QoS to 0, nothing is waited for. Of QoS 0, each refusal by a required
 *                     broker is passed on
 *     QoS -1          ({client} is empty, no `client` pattern fits; its link is the `peer`'s) stays
 *                     QoS 0, whatever a route says
 *     SET_WILL, will  as PUBLISH: the others hear that there is none. An OPEN with a will that has no
 *                     name where it must go is refused
 *     SUBSCRIBE       to every broker that may tell about one of the filter's topics, each with the
 *                     parts that are its; one that several filters of the client have in common stays
 *                     for as long as one of them does. Granted is the lowest of the required ones. A
 *                     filter none of whose parts is anybody's is granted: it matches nothing
 *     UNSUBSCRIBE     answered at once
 *     MESSAGE         named as nodes know it, which may differ between recipients: then one becomes
 *                     several. One whose name is not the broker's any more loses its journal number
 *                     (the engine stores a copy). Delivery ids are taken off: DELIVERED is not passed on
 *     CLOSED          by any broker ends the client at all of them
 *     UPSTREAM        up when one of the brokers is, accepting when one does
 *
 * Names. A topic that can't be called what its route says (longer than MQTT allows, or empty, or `$...`
 * where the rule has a wildcard) is refused for ever (SN_REFUSED_NEVER), if the broker is required. So
 * is every topic whose name takes {client} from a client id that can't be one level of a topic: one
 * that contains `/`, `+`, `#` or control characters, or begins with `$`. Otherwise a client could give
 * itself a name that reaches into another one's branch.
 *
 * Costs: PUBLISH O(routes of the client + topic length), no allocation but the open answer's; MESSAGE
 * O((routes to that broker) * (different namings among its recipients) + recipients): clients share a
 * naming unless one of its templates contains {client}. Memory: per client its filters, its open
 * requests, and its naming.
 */
#ifndef SENNET_BROKER_ROUTER_H
#define SENNET_BROKER_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/log.h"

#include "mqttsn/port.h"
#include "mqttsn/record.h"

enum { ROUTER_BROKERS_MAX = 16, ROUTER_ROUTES_MAX = 256 };

enum route_retain { ROUTE_RETAIN_SAME, ROUTE_RETAIN_NO, ROUTE_RETAIN_YES };

/* One [route NAME]; strings borrowed for the life of the router. */
struct route {
    const char *name;
    const char *client; /* glob of client ids; NULL: all, QoS -1 talkers among them */
    const char *from;   /* topic filter, as nodes name topics */
    uint32_t brokers;   /* bit per broker index; not 0 */
    const char *topic;  /* template, or NULL: prefix and name */
    int qos;            /* -1: as it is; else what PUBLISHes get. Downwards: the most */
    enum route_retain retain;
    bool up, down;
    bool required; /* its brokers' acknowledgements are waited for */
};

/* A mount prefix for the clients that fit; of several that fit, the last. */
struct route_prefix {
    const char *glob;
    const char *prefix; /* template; "" = none */
};

struct router_config {
    struct hash_seed hash_seed;
    enum log_level log_level;
    bool journal;        /* emit SUBSCRIPTION records (the sessions then must not) */
    const char *gateway; /* {gateway} */
    const char *prefix;  /* of the gateway; "" = none */
    const char *const *link_names;
    const char *const *link_prefixes; /* by link; NULL or "" = none */
    size_t n_links;
    const struct route_prefix *client_prefixes;
    size_t n_client_prefixes;
    const struct route *routes;
    size_t n_routes;
    uint32_t rest;      /* bit of the broker that has what no route is for; 0: none has */
    unsigned n_brokers; /* index 0 is the first one */
    const char *const *broker_names; /* for the log; NULL: none */
    uint64_t max_memory_bytes;       /* beyond it requests are refused as busy; default 64 MiB */
};

struct router_config router_defaults(void);

/* Checks one route by itself, for the configuration. NULL, or what is wrong with it, for people:
 * static text that begins with the key ("topic: ..."). */
const char *route_fault(const struct route *r);
/* The same for a prefix. */
const char *route_prefix_fault(const char *prefix);

struct router;

/* NULL when out of memory. The configuration's arrays and strings are borrowed. */
struct router *router_new(const struct router_config *config, int64_t now_ms);
void router_free(struct router *r);

/* From now on other routes and prefixes hold; brokers, links, seed and journal stay. What was borrowed before
 * is not looked at any more. Clients notice nothing: they are opened where a route names a broker that none
 * did before, and closed where none does any more; filters are subscribed by the new names before
 * they are unsubscribed by the old ones; answers that are awaited still come. Stored sessions whose nodes are
 * away are opened for as long as that takes. Outputs should have been drained. 0, or -ENOMEM: nothing
 * has changed. O(clients * (routes + filters)). */
int router_configure(struct router *r, int64_t now_ms, const struct router_config *config);

/* Before any input: a stored SUBSCRIPTION, with what the client's SESSION said. Its parts come out as
 * restored requests (router_peek_restored()), to be given to the sessions' restore entries. 0,
 * -ENOMEM, or 1: left out. */
int router_restore_client(struct router *r, uint64_t client, struct bytes client_id,
                          const struct peer *peer);
int router_restore(struct router *r, const struct sn_record *record);
bool router_peek_restored(struct router *r, unsigned *broker, struct sn_record *out);
void router_done_restored(struct router *r);

void router_request(struct router *r, int64_t now_ms, const struct sn_request *request);
void router_event(struct router *r, int64_t now_ms, unsigned broker, const struct sn_event *event);
void router_advance(struct router *r, int64_t now_ms);
int64_t router_next_deadline(const struct router *r);

/* Borrowed until done. A MESSAGE borrows what the event that caused it borrowed, so events must be
 * drained before the next MESSAGE is put in (asserted). */
bool router_peek_request(struct router *r, unsigned *broker, struct sn_request *out);
void router_done_request(struct router *r);
bool router_peek_event(struct router *r, struct sn_event *out);
void router_done_event(struct router *r);
bool router_peek_record(struct router *r, struct sn_record *out);
void router_done_record(struct router *r);
void router_record_all(struct router *r);

struct log_ring *router_log(struct router *r);

struct router_gauges {
    uint64_t memory_bytes;
    uint64_t published;     /* to brokers, since start; a message for two counts twice */
    uint64_t unheeded;      /* refusals by brokers that were not required */
    uint64_t unroutable;    /* messages from brokers for which there was no way back */
    uint64_t dropped;       /* for want of memory */
    uint64_t wills_dropped; /* without a name, or the broker never had a session for them */
};

struct router_gauges router_gauges(const struct router *r);

#endif
