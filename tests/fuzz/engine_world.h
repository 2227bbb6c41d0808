/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of fuzz_engine: the machines under limits that the input chooses, virtual time, and the
 * broker side, which is either the script's or the shared session with an MQTT connection.
 */
#ifndef SENNET_TESTS_FUZZ_ENGINE_WORLD_H
#define SENNET_TESTS_FUZZ_ENGINE_WORLD_H

#include "engine_judge.h"
#include "engine_script.h"
#include "engine_seam.h"
#include "sim/table.h"

enum { NODES = 8, DATAGRAM_MAX = 1100 };

struct datagram {
    size_t len;
    uint8_t data[DATAGRAM_MAX];
};

struct world {
    struct reader in;
    int64_t now_ms;
    struct sn_engine *engine;
    struct shared *shared; /* NULL: the script answers */
    struct judge judge;
    struct seam seam;
    struct broker broker;
    struct datagram latest[NODES]; /* of each node */
    enum drain drain;
    bool upstream_up; /* as the scripted side told */
    bool obliging;
    uint32_t next_delivery;
    struct sim_table table;
    uint64_t batch;
};

/* Under the limits that the input chooses; NULL when it does not fit. */
struct sn_engine *world_engine(const uint8_t o[CONFIG_OCTETS], int64_t now_ms);

/* Makes the machines. False when they don't fit the memory that the input allows. */
bool world_init(struct world *w, const uint8_t o[CONFIG_OCTETS]);
void world_deinit(struct world *w);

/* Takes what has come out of the machines and judges it. */
void world_drain(struct world *w, enum drain how);
void world_take_packets(struct world *w, unsigned most);
/* Everything is in order and within its bounds. */
void world_judge(struct world *w);
/* What is open gets its answer, and then nothing is. */
void world_end_well(struct world *w);

/* engine_store.c: takes all records; what is stored is right; and comes back. */
void store_take(struct world *w);
void store_judge(struct world *w);
void store_restore(struct world *w, const uint8_t o[CONFIG_OCTETS]);

/* Operands as in engine_script.h. */
void world_pass_time(struct world *w, uint8_t how);
void world_answer(struct world *w, size_t which, uint8_t how);
void world_settle(struct world *w);
void world_set_upstream(struct world *w, uint8_t how);
void world_bogus(struct world *w, uint8_t what, uint8_t token);
/* Reads its operands itself. */
void world_message(struct world *w);
void world_close_by_broker(struct world *w, uint8_t which);

#endif
