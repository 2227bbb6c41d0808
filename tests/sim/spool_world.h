/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world of test_spool*.c, in virtual time:
 *
 *   spool_rows.c   a store: one thread's worth of commands in order (commits, fetches), each done when
 *                  the test says so; what is not done when the process dies never was
 *   spool_wire.c   a connection as Paho makes it, and a broker: two lanes, answers that lag, QoS 2
 *                  exactly once per packet over lost connections and restarts
 *   spool_world.c  nodes that submit and repeat, the pump, and a judge
 *
 * Each submission is an *attempt*; its number is the payload. The judge sees every message that
 * reaches the broker: of each client in the order of attempts within one connection, those of QoS 2
 * once, those of QoS 1 again only after the connection broke, none that was refused.
 */
#ifndef SENNET_TESTS_SIM_SPOOL_WORLD_H
#define SENNET_TESTS_SIM_SPOOL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <check.h>

#include "base/rng.h"

#include "broker/spool.h"

enum { CLIENTS_MAX = 10, OPEN_MAX = 4, PAYLOAD_MAX = 64 };

/* How to repeat what goes wrong. */
extern const char *world_seed_text;

/* Check keeps a record of every assertion, which is too much here. */
#define REQUIRE(condition, ...)                                                                    \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("repeat with %s\n", world_seed_text);                                           \
            fflush(stdout);                                                                        \
            ck_abort_msg(__VA_ARGS__);                                                             \
        }                                                                                          \
    } while (0)

/* With SENNET_TRACE in the environment: what happens, for whoever repeats a seed. */
#define TRACE(...)                                                                                 \
    do {                                                                                           \
        if (world_traces) {                                                                        \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)

extern bool world_traces;

/* A vector of anything. */
struct vector {
    void *data;
    size_t n, cap, size;
};

void *vector_add(struct vector *v);
void *vector_at(const struct vector *v, size_t i);
void vector_remove(struct vector *v, size_t i);
void vector_clear(struct vector *v);

/* ---- store ----------------------------------------------------------------------------------- */

struct row {
    uint64_t client;
    int64_t born_ms;
    uint32_t attempt;
    uint8_t qos;
    bool retain, will;
    bool there;
    bool sending; /* with the connection */
};

enum command_type { COMMAND_PUT, COMMAND_GONE, COMMAND_END, COMMAND_FETCH, COMMAND_PACKET_GONE };

struct command {
    enum command_type type;
    uint64_t number; /* of row or batch; of a fetch: after */
    struct row row;
    unsigned n;
    size_t max_bytes;
};

struct rows {
    struct row *rows; /* by number */
    size_t cap;
    uint64_t last;      /* the greatest number there has been */
    uint64_t scan;      /* no row below, for speed */
    struct vector todo; /* struct command */
    size_t todo_head;
    uint64_t batch;     /* open */
    struct vector open; /* struct command of it */
    uint64_t committed;
    bool answering; /* a fetch was done, and not heard yet */
    bool answer_failed;
    struct vector answer; /* uint64_t numbers */
};

struct world;

void rows_put(struct world *w, const struct sn_record *record);
void rows_flush(struct world *w);
void rows_fetch(struct world *w, uint64_t after, unsigned n, size_t max_bytes);
/* Does the next command; false: there is none. */
bool rows_step(struct world *w);
/* Paho is done with the message. */
void rows_packet_gone(struct world *w, uint64_t number);
/* The spool hears what was committed and fetched. */
void rows_answer(struct world *w);
void rows_crash(struct world *w);
void rows_restore(struct world *w);
struct row *row_at(struct world *w, uint64_t number);

/* ---- connection and broker ------------------------------------------------------------------- */

enum stage { QUEUED, SENT, PASSED };

struct packet {
    uint64_t token, spooled, client;
    uint32_t attempt;
    uint8_t qos;
    bool retain, will;
    enum stage stage;
    bool doubt;  /* answered UP_IN_DOUBT */
    bool done;   /* answered UP_OK, and still in the store */
    bool orphan; /* of an earlier process: nobody has what it said */
};

struct wire {
    bool online;                /* the truth */
    bool noticed;               /* that it is not */
    unsigned gen;               /* connections so far */
    unsigned told_gen;          /* the one that the loop has heard of; 0: none is there */
    unsigned refusals;          /* that the loop has not heard */
    bool abandoned;             /* the last one was */
    struct vector plain, twice; /* struct packet: QoS 0 and 1, QoS 2 */
    struct vector inbox;        /* struct up_event */
    size_t inbox_head;
};

void wire_submit(struct world *w, const struct up_request *r);
bool wire_step(struct world *w);
/* All packets get as far as that, and nobody hears of it. */
void wire_reach(struct world *w, enum stage stage);
/* The spool hears the next event; false: there is none. */
bool wire_hear(struct world *w);
void wire_break(struct world *w);
bool wire_notice(struct world *w);
void wire_connect(struct world *w, bool forget);
void wire_crash(struct world *w);
/* It is ended by who has it, and tells nothing more. What the next one takes up it tells first. */
void wire_abandon(struct world *w);
void wire_packet_gone(struct world *w, uint64_t number);

/* ---- the rest -------------------------------------------------------------------------------- */

enum outcome { OPEN, ACKED, REFUSED, ABANDONED };

struct attempt {
    uint32_t client;
    uint16_t token;
    uint8_t qos;
    bool will;
    enum outcome outcome;
    uint32_t deliveries;
    unsigned first_gen; /* connection of the first delivery */
    bool dropped;       /* a crash may undo that: then it comes in any order */
};

struct node {
    uint32_t open[OPEN_MAX]; /* attempts */
    unsigned n_open;
    unsigned window;
    uint16_t next_token;
    int64_t latest;     /* attempt that was first delivered last */
    int64_t latest_gen; /* attempt that was delivered last in this connection */
    unsigned gen;
    unsigned kind; /* for the test */
};

struct faults {
    bool shuffle;  /* what comes back from a lost connection comes in any order */
    bool forget;   /* the broker loses its session */
    bool full;     /* the connection has no room for live ones at times */
    bool unusable; /* the store has none at times */
    bool fetch;    /* fetches fail at times */
    bool crash;
    bool refuse;  /* the broker refuses some */
    bool abandon; /* connections are ended, as those of nodes with sessions of their own are */
    bool reload;  /* limits change */
};

struct world {
    struct spool *s;
    struct spool_config config;
    struct rng rng;
    struct faults faults;
    int64_t now_ms;
    struct rows rows;
    struct wire wire;
    struct vector attempts; /* struct attempt */
    struct node nodes[CLIENTS_MAX];
    unsigned n_nodes;
    bool usable;
    bool calm;       /* no faults any more */
    bool no_judging; /* of order and repeats */
    size_t payload;
    unsigned minute; /* of the day, as every spool is told */
    uint64_t delivered, fetches;
    struct spool_gauges before; /* sums of former lives */
    size_t most_memory;
};

struct world *world_new(const struct spool_config *config, struct faults faults, uint64_t seed);
void world_free(struct world *w);

bool chance(struct world *w, unsigned percent);
unsigned pick(struct world *w, unsigned n);

/* Carries until the spool is quiet; then, if so wanted, ends the turn. */
void world_carry(struct world *w);
void world_turn(struct world *w);
/* The spool may ask the store, in the middle of a turn. */
void world_ask(struct world *w);
/* Does and hears everything that can be done without the broker, or with it. */
void world_settle(struct world *w);
/* Everything submitted is committed. */
void world_commit(struct world *w);
/* The connection comes, and the spool hears; nothing else moves. It goes, and what it had comes back.
 */
void world_come(struct world *w);
void world_go(struct world *w);
void world_pass(struct world *w, int64_t ms);
void world_usable(struct world *w, bool usable);
void world_wall(struct world *w, unsigned minute);
void world_crash(struct world *w);
/* The connection is ended. */
void world_abandon(struct world *w);
/* Other limits, and later lives have them, too. */
void world_configure(struct world *w, const struct spool_config *config);
/* The node submits; returns the attempt. */
uint32_t world_publish(struct world *w, unsigned node, uint8_t qos, bool will);
struct attempt *attempt_at(const struct world *w, uint32_t i);
/* The broker gets it. */
void judge_delivery(struct world *w, uint32_t attempt, uint8_t qos);
/* It is to be deleted. */
void judge_end(struct world *w, uint32_t attempt);
/* The session hears an event from the spool. */
void world_event(struct world *w, const struct up_event *event);
/* Everything works again, until all is drained; then judges the end. */
void world_end(struct world *w);
/* Accepted, and never delivered. */
uint64_t world_missing(const struct world *w);

#endif
