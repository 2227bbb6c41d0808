/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the pump: pump.c carries between machines and links, pump_store.c to and from the store. */
#ifndef SENNET_GATEWAY_PUMP_PRIV_H
#define SENNET_GATEWAY_PUMP_PRIV_H

#include "pump.h"

/* Carries until all machines are quiet. */
void pump_carry(struct pump *p);
void pump_send(struct pump *p, const struct peer *to, struct bytes packet);

/* The packet waits until its batch is committed; it is dropped, counted, when there is no room. */
void pump_hold(struct pump *p, const struct sn_outgoing *out);
/* Between the spool and its neighbours; false: nothing moved. */
bool pump_carry_spool(struct pump *p);
/* Puts the machines' records into the batch. */
void pump_record(struct pump *p);
/* The message of that number is with those who get it. */
void pump_routed(struct pump *p, uint64_t journal);
/* Hands the batch over; the next one begins. */
void pump_end_batch(struct pump *p);

#endif
