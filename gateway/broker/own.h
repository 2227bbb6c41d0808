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
 *                     is away and PUBLISHes are taken (own_accepting()), at once. A refusal by the
 *                     broker is the client's: busy when it may go away, else never
 *     CLOSE normal    DISCONNECT, when nothing is open any more: what the spool still has goes before
 *     CLOSE lost      the connection is cut without DISCONNECT: the broker publishes the will. If there
 *                     is no connection then, or messages wait in the spool, the will is published as a
 *                     PUBLISH behind them
 *     SET_WILL        the connection is made anew with the new will when nothing is open (MQTT can't
 *                     change it otherwise); until then the old one holds. Sessions that the broker
 *                     would forget by that are subscribed again
 *     sleep           nothing: the connection stays
 *     SUBSCRIBE       passed on; kept too, for a broker that has lost the session, and for restarts
 *
 * A connection that was lost is made again by itself, with `back_off` jittered so that many do not
 * come at once, while the client has a session; the client notices nothing if the broker kept the
 * session, or if it is subscribed again. If the broker ends the connection with "taken over", or twice
 * within TAKEN_OVER_MS of a CONNACK while nothing says that the broker itself is in trouble, then
 * somebody else speaks for the client: CLOSED, and no more attempts until the client comes again.
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
    bool journal; /* emit SUBSCRIPTION records */
    uint32_t max_filters;
};

struct own;

/* NULL when out of memory. */
struct own *own_new(const struct own_config *config, uint64_t client, int64_t now_ms);
void own_free(struct own *o);

/* As shared.h has them. */
int own_restore(struct own *o, const struct sn_record *record);
void own_accepting(struct own *o, int64_t now_ms, bool accepting);
void own_request(struct own *o, int64_t now_ms, const struct sn_request *request);
void own_upstream(struct own *o, int64_t now_ms, const struct up_event *event);
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

/* Borrowed until done. */
struct own_command {
    enum own_command_type type;
    bool clean;               /* CONNECT: the broker forgets what it had of this client id */
    struct sn_will_view will; /* CONNECT; topic.len 0: none */
};

bool own_peek_command(struct own *o, struct own_command *out);
void own_done_command(struct own *o);
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

struct log_ring *own_log(struct own *o);

struct own_gauges {
    bool connected;
    uint32_t filters;
    uint64_t memory_bytes;
};

struct own_gauges own_gauges(const struct own *o);

#endif
