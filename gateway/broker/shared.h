/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared broker session: all nodes in one MQTT session, each with a virtual MQTT session of its
 * own inside it. A pure machine between the engine (mqttsn/port.h) and one connection (upstream.h).
 *
 *     engine requests -> shared_request()     shared_peek_event()    -> engine
 *     MQTT connection -> shared_upstream()    shared_peek_upstream() -> MQTT connection
 *
 * It keeps filter reference counts, subscribes upstream to those filters that no other one covers,
 * matches every arriving message against all filters (once per node, highest granted QoS), sends a
 * retained replay only to the node that asked for it, and keeps and publishes wills. Messages for a stored session whose node is away go to the engine like all
 * others: the engine's queue is the one place where messages wait for nodes.
 *
 * Costs: a message is O(topic levels + recipients); subscribe O(levels), and for a
 * wildcard filter that comes or goes O(filters it covers). Nothing scans clients.
 */
#ifndef SENNET_BROKER_SHARED_H
#define SENNET_BROKER_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/log.h"

#include "broker/upstream.h"
#include "mqttsn/port.h"
#include "mqttsn/record.h"

struct shared_config {
    struct hash_seed hash_seed;
    enum log_level log_level;
    bool journal;              /* emit records (mqttsn/record.h) */
    uint64_t max_memory_bytes; /* sessions, filters, wills waiting for the broker; default 64 MiB */
    int64_t replay_quiet_ms;   /* a retained replay is over after this silence; default 5 s */
    int64_t replay_max_ms;     /* and at the latest after this; default 30 s */
    int64_t visit_ms;          /* a covered filter that was subscribed for its retained messages is
                                  unsubscribed after this silence; default 250 ms */
};

struct shared_config shared_defaults(void);

struct shared;

/* NULL when out of memory. */
struct shared *shared_new(const struct shared_config *config, int64_t now_ms);
void shared_free(struct shared *s);

/* Before any input: a stored SUBSCRIPTION. 0, -ENOMEM, or 1: left out (not a valid filter). Messages
 * for it are passed on from then on; its session's will and limits come with the engine's OPEN.
 * With the first connection the broker is asked for all of them, whatever it may remember. */
int shared_restore(struct shared *s, const struct sn_record *record);
/* Records are SUBSCRIPTION, when granted or when the QoS changes, and SUBSCRIPTION_GONE; of a session
 * that is discarded none, as the engine's SESSION_GONE takes its subscriptions along.
 * shared_record_all() emits everything there is to record, read while it is taken. */
void shared_record_all(struct shared *s);
bool shared_peek_record(struct shared *s, struct sn_record *out);
void shared_done_record(struct shared *s);

/* PUBLISHes of QoS 1 and 2 are taken though the connection is away (spool.h): so are sessions, and
 * the engine hears that the broker is reachable. A filter that the session has already is granted
 * from what is known (its retained messages follow when there is a broker), a new one is refused as
 * busy. */
void shared_accepting(struct shared *s, int64_t now_ms, bool accepting);

void shared_request(struct shared *s, int64_t now_ms, const struct sn_request *request);
void shared_upstream(struct shared *s, int64_t now_ms, const struct up_event *event);
void shared_advance(struct shared *s, int64_t now_ms);
int64_t shared_next_deadline(const struct shared *s);

/* Borrowed until done. A MESSAGE event also borrows topic and body of the up_event that caused it,
 * so events must be drained after each shared_upstream() (asserted). */
bool shared_peek_event(struct shared *s, struct sn_event *out);
void shared_done_event(struct shared *s);
bool shared_peek_upstream(struct shared *s, struct up_request *out);
void shared_done_upstream(struct shared *s);

/* Has the broker heard, and answered, that nobody wants what nobody wants any more? O(filters). */
bool shared_is_settled(const struct shared *s);

struct log_ring *shared_log(struct shared *s);

struct shared_gauges {
    uint32_t sessions;      /* virtual sessions, present and stored */
    uint32_t filters;       /* distinct filters of all sessions */
    uint32_t covered;       /* of these, the ones that the broker need not have */
    uint64_t unmatched;     /* messages from the broker that nobody wanted, or under a name that
                               MQTT forbids, since start */
    uint64_t copies;        /* for another subscription, of messages that one copy is enough of */
    uint64_t wills;         /* published for lost nodes, since start */
    uint64_t wills_refused; /* by the broker */
    uint64_t wills_dropped; /* for want of memory */
    uint64_t memory_bytes;
};

struct shared_gauges shared_gauges(const struct shared *s);

#endif
