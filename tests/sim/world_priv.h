/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the world.
 *
 *   world.c         carries outputs of the machines to each other and to the test
 *   world_store.c   the store: what is recorded, committed, lost, and comes back
 */
#ifndef SENNET_TESTS_SIM_WORLD_PRIV_H
#define SENNET_TESTS_SIM_WORLD_PRIV_H

#include "sim/world.h"

void sim_make_machines(struct sim_world *w);
/* With everything that waits for a commit. */
void sim_free_machines(struct sim_world *w);

/* Carries until all are quiet. */
void sim_pump(struct sim_world *w);
/* To the spool, or the session. */
void sim_pass_upstream(struct sim_world *w, const struct up_event *event);

/* Takes the records, which are a batch. */
void sim_record(struct sim_world *w);
/* Commits what is due. True when some machine has heard something that it waited for. */
bool sim_commit(struct sim_world *w);
int64_t sim_next_commit(const struct sim_world *w);
/* A message of QoS 1 or 2 arrives: its journal number. */
uint64_t sim_store_message(struct sim_world *w, const struct up_event *event);
/* What the connection keeps for itself of spooled messages of QoS 2. */
void sim_given_to_broker(struct sim_world *w, const struct up_request *request);
void sim_taken_by_broker(struct sim_world *w, const struct up_event *event);

#endif
