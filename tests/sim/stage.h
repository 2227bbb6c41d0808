/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node and the gateway, brought into a given state, for tests that go through tables of
 * messages and states. What leaves the gateway is described as a cell: "REPLIES | REQUESTS =>
 * STATE", each part only when there is one.
 */
#ifndef SENNET_TESTS_SIM_STAGE_H
#define SENNET_TESTS_SIM_STAGE_H

#include "mqttsn/engine_priv.h"
#include "sim/world.h"

/* UNKNOWN: no session; STORED, LOST: one without connection. DIALOGUE waits for the WILLTOPIC,
 * CONNECTING for the broker side. ASLEEP has no message waiting, AWAKE one under way: PUBLISH QoS 1
 * with msg id 1. */
enum stage_state {
    STAGE_UNKNOWN,
    STAGE_STORED,
    STAGE_LOST,
    STAGE_DIALOGUE,
    STAGE_CONNECTING,
    STAGE_ACTIVE,
    STAGE_ASLEEP,
    STAGE_AWAKE,
    STAGE_STATES
};

extern const char *const stage_state_names[STAGE_STATES];

struct stage {
    struct sim_world w;
    struct peer_room node;
    uint64_t key;
};

/* The topic `reg` gets id 6, as soon as there is a connection; 5 is predefined. */
void stage_begin(struct stage *s, enum stage_state state);
void stage_end(struct stage *s);

void stage_say(struct stage *s, const struct sn_packet *p);
/* The CONNECT of all states, with or without Will. */
struct sn_packet stage_connect(bool will);
/* The broker side opens the session, as the latest OPEN asked. */
void stage_accept(struct stage *s, uint64_t token);
void stage_forget_outputs(struct stage *s);
/* All outputs since `state_before` was so, which are then forgotten. */
void stage_describe(struct stage *s, const char *state_before, char *out, size_t size);
const char *stage_state_name(struct stage *s);
/* Behind what is there, and a space. */
void stage_append(char *out, size_t size, const char *word);

extern const char *const stage_ask_names[ASK_TYPES];

#endif
