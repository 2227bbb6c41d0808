/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the pump: pump.c carries between machines and links, pump_sink.c within a sink, pump_store.c
 * to and from the store.
 */
#ifndef SENNET_GATEWAY_PUMP_PRIV_H
#define SENNET_GATEWAY_PUMP_PRIV_H

#include "pump.h"

/* Carries until all machines are quiet. */
void pump_carry(struct pump *p);
/* Tells the engine where the next packet comes from, as far as that is wanted (pump_origin.c). */
void pump_tell_origin(struct pump *p, const struct peer *from, const struct link_signal *signal);
void pump_send(struct pump *p, const struct peer *to, struct bytes packet);

/* The packet waits until its batch is committed; it is dropped, counted, when there is no room. */
void pump_hold(struct pump *p, const struct sn_outgoing *out);
/* Puts the machines' records into the batch. */
void pump_record(struct pump *p);
/* The message of that number is with those who get it. */
void pump_routed(struct pump *p, uint64_t journal);
/* Hands the batch over; the next one begins. */
void pump_end_batch(struct pump *p);

/* ---- pump_sink.c ------------------------------------------------------------------------------ */

/* The sink is about to be given something. */
void pump_touch(struct pump *p, struct sink *s);
/* Its spool knows the present batch. */
void pump_batch(struct pump *p, struct sink *s);
/* The session knows whether its spool takes messages; false: it did already. */
bool pump_tell_accepting(struct pump *p, struct sink *s);
/* Between the parts of a sink, and to who is before it, until nothing moves; false: nothing did. */
bool pump_carry_sink(struct pump *p, struct sink *s);
/* A request of the router, or of the engine, for that broker. */
void pump_broker_request(struct pump *p, unsigned broker, const struct sn_request *request);
/* The client's own session there, or NULL. */
struct sink *pump_find_own(const struct pump *p, unsigned broker, uint64_t client);
/* An event for its session, past the spool. */
void pump_give_session(struct pump *p, struct sink *s, const struct up_event *event);
/* An event of its connection. */
void pump_sink_event(struct pump *p, struct sink *s, const struct up_event *event);
/* Fires what is due in it. */
void pump_sink_advance(struct pump *p, struct sink *s);
/* At the end of a turn: what it has for the system, and when it must be advanced. */
void pump_sink_flush(struct pump *p, struct sink *s);
void pump_sink_logs(struct pump *p, struct sink *s);
/* Lets go of sessions of which nothing is left. */
void pump_bury(struct pump *p);

#endif
