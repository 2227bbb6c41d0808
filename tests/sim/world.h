/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine in virtual time, with or without the shared session behind it. Whatever leaves a
 * machine is collected here until the test takes it: packets for nodes, and what the broker side is
 * asked for (by the engine, or by the shared session when there is one).
 *
 * With `journal` in the engine's configuration there is a store, too. What one call of these
 * functions records is a batch, committed at once or `commit_ms` later; packets wait for it. The
 * machines may be killed at any moment, and made anew from what was committed.
 */
#ifndef SENNET_TESTS_SIM_WORLD_H
#define SENNET_TESTS_SIM_WORLD_H

#include "base/list.h"

#include "broker/shared.h"
#include "broker/spool.h"
#include "mqttsn/engine.h"
#include "sim/table.h"

/* A packet on its way to a node. */
struct sim_packet {
    struct list link;
    uint64_t after; /* batch */
    struct peer *to;
    struct body *bytes;
};

enum sim_ask_type {
    ASK_OPEN,
    ASK_PUBLISH,
    ASK_SUBSCRIBE,
    ASK_UNSUBSCRIBE,
    ASK_SET_WILL,
    ASK_DELIVERED,
    ASK_CLOSE,
    ASK_TYPES
};

/* A request to the broker side, of either seam (mqttsn/port.h, broker/upstream.h), as a value. */
struct sim_ask {
    struct list link;
    enum sim_ask_type type;
    uint64_t client; /* seam of the engine only */
    uint64_t token;
    uint64_t spooled;       /* broker/upstream.h */
    struct body *client_id; /* OPEN */
    struct body *topic;     /* name, filter or will topic; NULL = none */
    struct body *data;      /* message or will message; NULL = empty */
    uint32_t max_subscriptions;
    uint32_t delivery_id;
    uint16_t keep_alive_s;
    uint8_t qos;
    bool retain;
    bool clean;
    bool dropped;
    bool lost;
    bool discard;
};

struct sim_world {
    struct sn_engine *engine;
    struct shared *shared; /* NULL: the test plays the engine's broker side */
    struct spool *spool;   /* behind it, or NULL */
    int64_t now_ms;
    struct list packets; /* struct sim_packet */
    struct list asks;    /* struct sim_ask */
    struct sn_engine_config engine_config;
    struct shared_config shared_config;
    struct spool_config spool_config;
    bool has_shared, has_spool;
    struct sim_table table;
    uint64_t batch; /* of what is recorded now; 0: there is no store */
    int64_t commit_ms;
    struct list held;    /* struct sim_packet: their batch is not committed yet */
    struct list commits; /* struct sim_commit */
    uint64_t routed;     /* journal number of the message being taken */
    bool failing;        /* the store */
    bool accepting;
    void (*log)(void *arg, const struct log_record *record);
    void *log_arg;
};

/* The shared session is made when `shared` is not NULL. Asserts on out of memory, like all here. The
 * lists that the configuration mentions must outlive the world. */
void sim_init(struct sim_world *w, const struct sn_engine_config *config,
              const struct shared_config *shared, int64_t now_ms);
/* The store takes nothing any more, and works again: then it is told everything. Nobody may be killed
 * in between: what would be lost then nobody was promised. */
void sim_store_fails(struct sim_world *w);
void sim_store_works(struct sim_world *w);
/* Frees the machines, which assert that they gave back all memory; outputs not taken are lost. */
void sim_deinit(struct sim_world *w);

void sim_input(struct sim_world *w, const struct peer *from, struct bytes datagram);
/* To the group of its link. */
void sim_input_group(struct sim_world *w, const struct peer *from, struct bytes datagram);
void sim_group(struct sim_world *w, uint16_t link, bool joined);
void sim_event(struct sim_world *w, const struct sn_event *event);    /* without shared session */
void sim_upstream(struct sim_world *w, const struct up_event *event); /* with it */

/* Puts a spool behind the shared session; there must be a store. Right after sim_init(). */
void sim_add_spool(struct sim_world *w, const struct spool_config *config);

/* kill -9: the machines and what has not left them are gone. Time may go by, and nothing else. */
void sim_kill(struct sim_world *w);
/* The machines are made from what was committed. The broker side is to be told (upstream) that there
 * is a connection. */
void sim_start(struct sim_world *w);
/* What the store holds, or will, is in order, and the same as the machines would record if they were
 * asked for everything, and as a restart would find. If not, `why` says what is wrong. */
bool sim_stored_well(const struct sim_world *w, char *why, size_t size);

/* The earliest deadline of the machines. */
int64_t sim_next_deadline(const struct sim_world *w);
/* Moves time to `now_ms` in one step; false when a machine did not keep the promise that its next
 * deadline then lies in the future. */
bool sim_advance(struct sim_world *w, int64_t now_ms);

/* The oldest of its kind, now the caller's, or NULL. */
struct sim_packet *sim_take_packet(struct sim_world *w);
struct sim_ask *sim_take_ask(struct sim_world *w);
void sim_packet_free(struct sim_packet *p);
void sim_ask_free(struct sim_ask *a);

#endif
