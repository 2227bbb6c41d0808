/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's own MQTT session (docs/adr/0014): a pure machine between the engine's seam
 * (mqttsn/port.h) and one connection (upstream.h), for one client only. The broker does the session
 * work: it keeps subscriptions, queue and will, and sends retained messages.
 *
 *     engine requests -> own_request()      own_peek_event()    -> engine
 *     MQTT connection -> own_upstream()     own_peek_upstream() -> MQTT connection (through a spool)
 *                                           own_peek_command()  -> whoever opens and ends connections
 *
 *     OPEN            CONNECT with id, will, clean; OPENED when the CONNACK has come. While the broker
 *                     is away (own_broker_up()) and PUBLISHes are taken (own_accepting()), at once,
 *                     unless its latest answer was a refusal. A refusal by the broker is the client's: busy when it may
 *                     go away, else never; no answer within 20 s is busy
 *     ... other key   the client of this MQTT client id has begun a session anew: the old key is dead
 *                     (port.h), and the machine goes on for the new one, with what the spool has
 *     CLOSE normal    DISCONNECT, when nothing is open any more: what the spool still has goes before
 *     CLOSE lost      the connection is cut without DISCONNECT: the broker publishes the will. If there
 *                     is no connection then, or something is open, or messages wait in the spool, or it
 *                     is not the connection's will yet, the will is published as a PUBLISH behind them
 *     CLOSE discard   what the broker would keep of the session is wiped by a connection with a clean
 *                     one
 *     SET_WILL        the connection is made anew with the new will when nothing is open (MQTT can't
 *                     change it otherwise), after a second, and every ten seconds at most; until then
 *                     the old one holds. Sessions that the broker would forget by that are subscribed
 *                     again
 *     sleep           nothing: the connection stays
 *     SUBSCRIBE       passed on; kept too, for a broker that has lost the session, and for restarts.
 *                     Without connection, if PUBLISHes are taken, one that the session has already is
 *                     granted from what is known, a new one is refused as busy
 *     MESSAGE         to the client as it comes; retained ones only if the client has asked for them,
 *                     not when it was subscribed again behind its back
 *     UPSTREAM        never: whether a broker can be reached is more than one client's affair
 *
 * A connection that was lost is made again by itself (by whoever was told OWN_CONNECT, jittered so that
 * many do not come at once) while the client is connected, or something of it is to be sent; the client
 * notices nothing if the broker kept the session, or if it is subscribed again. If the broker ends the
 * connection with "taken over", or twice in a row (three times if none has lasted since the client came,
 * so of two gateways the one gives way that had it first) within OWN_TAKEN_OVER_MS of a CONNACK, or eight
 * times in a while of which five minutes take back one, without a reason (which MQTT 5 has for all
 * others), and nothing says within a second that the broker itself is in trouble, then somebody else speaks
 * for the client: CLOSED, and no more attempts until the client comes again. So it is when a broker refuses for ever
 * to take back a client that was connected.
 */
#ifndef SENNET_BROKER_OWN_H
#define SENNET_BROKER_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

#include "broker/upstream.h"
#include "mqttsn/port.h"
#include "mqttsn/record.h"

struct own_config {
    enum log_level log_level;
    uint64_t seed; /* of subscription identifiers: another one in each process (copies.h) */
    bool journal;  /* emit SUBSCRIPTION records */
    bool spooled;  /* there is a spool, which answers PUBLISHes also when the connection is ended */
    uint32_t max_filters; /* beside what its OPEN says; 0: no limit */
};

enum { OWN_TAKEN_OVER_MS = 5000 };

struct own;

/* NULL when out of memory. */
struct own *own_new(const struct own_config *config, uint64_t client, int64_t now_ms);
void own_free(struct own *o);

/* Before any input: the client has a stored SESSION. */
void own_restore_session(struct own *o, bool clean);
/* As shared.h has them. A SUBSCRIPTION stands for a SESSION that is not clean. */
int own_restore(struct own *o, const struct sn_record *record);
void own_accepting(struct own *o, int64_t now_ms, bool accepting);
void own_request(struct own *o, int64_t now_ms, const struct sn_request *request);
void own_upstream(struct own *o, int64_t now_ms, const struct up_event *event);
/* Whether other connections to that broker say that it can be reached. Not at first. */
void own_broker_up(struct own *o, int64_t now_ms, bool up);
/* How many messages of the client wait in its spool: it is not ended before there are none. */
void own_backlog(struct own *o, int64_t now_ms, uint64_t messages);
/* Other connections to that broker are lost, too, so a close by it says nothing about this client. */
void own_broker_trouble(struct own *o, int64_t now_ms);
void own_advance(struct own *o, int64_t now_ms);
int64_t own_next_deadline(const struct own *o);

enum own_command_type {
    OWN_CONNECT,    /* and keep connected: with the client's id, and as below */
    OWN_DISCONNECT, /* with MQTT's DISCONNECT: no will */
    OWN_ABORT,      /* without */
};

/* To be taken behind the requests for the connection. After DISCONNECT and ABORT nothing that the
 * connection still says is for this machine: what was open on it has been answered as busy, or the spool
 * answers (spool_abandoned()). Borrowed until done. */
struct own_command {
    enum own_command_type type;
    bool clean;               /* CONNECT: the broker forgets what it had of this client id */
    struct sn_will_view will; /* CONNECT; topic.len 0: none */
};

bool own_peek_command(struct own *o, struct own_command *out);
void own_done_command(struct own *o);
/* A MESSAGE borrows what the up_event borrowed, so events must be drained before the next one (asserted).
 */
bool own_peek_event(struct own *o, struct sn_event *out);
void own_done_event(struct own *o);
bool own_peek_upstream(struct own *o, struct up_request *out);
void own_done_upstream(struct own *o);
bool own_peek_record(struct own *o, struct sn_record *out);
void own_done_record(struct own *o);
void own_record_all(struct own *o);

/* Nothing is left: no session that the client could come back to, no connection, nothing on its way.
 * The owner frees it. */
bool own_is_over(const struct own *o);

/* Has the broker heard, and answered, what the client does not want any more? O(filters). */
bool own_is_settled(const struct own *o);

struct log_ring *own_log(struct own *o);

struct own_gauges {
    bool connected;
    uint32_t filters;
    uint64_t unasked; /* messages from the broker for which nobody has asked, or under a name that
                        MQTT forbids, since start */
    uint64_t copies;  /* for another subscription, of messages that one copy is enough of, since
                        start */
    uint64_t memory_bytes;
};

struct own_gauges own_gauges(const struct own *o);

#endif
