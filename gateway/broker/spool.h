/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store-and-forward: a pure machine between the shared session and the connection, on their seam
 * (upstream.h). What it takes over from a node is in the store before the node is acknowledged.
 *
 *     shared session  -> spool_submit()    spool_peek_request() -> connection
 *     connection      -> spool_upstream()  spool_peek_event()   -> shared session
 *     store           -> spool_committed(), spool_fetched(), spool_usable()
 *                        spool_peek_record(), spool_wants_fetch() -> store
 *
 * Per PUBLISH that the session submits:
 *
 *     QoS 0            passed on; while the connection is away it is spooled (`qos_0`) or refused
 *     QoS 1, up        passed on: the broker's answer is the node's. Comes it back UP_BUSY (the
 *                      connection broke, or had no room), it is spooled
 *     QoS 1, down      spooled: UP_PUBLISHED with UP_OK when the batch of its record is committed
 *     QoS 1, up, but messages of the same client wait in the spool: spooled behind them
 *     QoS 2            always spooled, if the store is usable: only that makes "exactly once"
 *                      survive a restart. Answered when committed, sent behind
 *     no room          UP_BUSY: the node is told "congestion", and comes again
 *
 * SUBSCRIBE, UNSUBSCRIBE and all events but those of spooled messages pass unchanged.
 *
 * Spooled messages leave in the order of each client, at most `window` at once, so that live traffic
 * shares the connection with them; each is deleted when the broker has acknowledged it. Those still
 * in memory (`max_memory_bytes`) are sent from there, all others are fetched from the store in
 * chunks, in order: memory does not grow with the backlog. After a lost connection the unacknowledged
 * ones of QoS 1 are sent again, in order; those of QoS 2 are Paho's (upstream.h, `spooled`).
 *
 * Costs: O(1) per message; memory: a few dozen octets per client with a backlog.
 */
#ifndef SENNET_BROKER_SPOOL_H
#define SENNET_BROKER_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/log.h"

#include "broker/upstream.h"
#include "mqttsn/record.h"

enum spool_full { SPOOL_REFUSE, SPOOL_DROP_OLDEST };

struct spool_config {
    struct hash_seed hash_seed;
    enum log_level log_level;
    uint64_t max_messages; /* waiting at once; default 1000000 */
    uint64_t max_bytes;    /* their topics and payloads; default 256 MiB */
    enum spool_full full;  /* at these: refuse the new one (default), or drop the oldest ones
                                  (QoS 2 that was handed to the connection is never dropped) */
    int64_t max_age_ms;    /* older ones are dropped when their turn comes; default 7 d, 0: never */
    bool qos_0;            /* QoS 0 is spooled while the connection is away; default no */
    unsigned window;       /* spooled messages given to the connection at once; default 128 */
    size_t max_memory_bytes; /* of spooled messages kept in memory too; default 4 MiB */
};

struct spool_config spool_defaults(void);

struct spool;

/* NULL when out of memory. The store is not usable at first. */
struct spool *spool_new(const struct spool_config *config, int64_t now_ms);
void spool_free(struct spool *s);

/* Before anything else: what waits in the store (struct store_visitor). */
void spool_restore(struct spool *s, uint64_t client, uint64_t n, uint64_t bytes,
                   uint64_t last_number);

/* ---- inputs ---------------------------------------------------------------------------------- */

void spool_submit(struct spool *s, int64_t now_ms, const struct up_request *request);
void spool_upstream(struct spool *s, int64_t now_ms, const struct up_event *event);

/* Records taken from now on belong to that batch (record.h). */
void spool_batch(struct spool *s, uint64_t batch);
/* All batches up to that one are committed. */
void spool_committed(struct spool *s, int64_t now_ms, uint64_t batch);
/* Is the store usable, and may more be put into it? While it is not, nothing is spooled: QoS 1 and 2
 * are passed on live, or refused. */
void spool_usable(struct spool *s, int64_t now_ms, bool usable);

struct spool_row {
    uint64_t number;
    uint64_t client;
    struct bytes topic;
    struct body *body;
    uint8_t qos;
    bool retain;
    bool will;
    int64_t age_ms;
};

/* The answer to a fetch, row by row, then spool_fetch_done(): `n` rows were all there are when fewer
 * than asked for. `failed`: asks again later. */
void spool_fetched(struct spool *s, int64_t now_ms, const struct spool_row *row);
void spool_fetch_done(struct spool *s, int64_t now_ms, bool failed);

void spool_advance(struct spool *s, int64_t now_ms);

/* ---- outputs --------------------------------------------------------------------------------- */

int64_t spool_next_deadline(const struct spool *s);

/* All borrowed until done. */
bool spool_peek_request(struct spool *s, struct up_request *out);
void spool_done_request(struct spool *s);
bool spool_peek_event(struct spool *s, struct up_event *out);
void spool_done_event(struct spool *s);
bool spool_peek_record(struct spool *s, struct sn_record *out);
void spool_done_record(struct spool *s);

/* True when rows above *after are wanted from the store now; asked once. */
bool spool_wants_fetch(struct spool *s, uint64_t *after, unsigned *n, size_t *max_bytes);

/* PUBLISHes of QoS 1 and 2 are taken though the connection is away. */
bool spool_accepting(const struct spool *s);

struct log_ring *spool_log(struct spool *s);

struct spool_gauges {
    uint64_t messages; /* waiting, those in flight included */
    uint64_t bytes;
    uint64_t in_flight;
    uint64_t spooled; /* since start */
    uint64_t sent;    /* acknowledged by the broker, since start */
    uint64_t refused; /* for want of room, or by the broker */
    uint64_t expired;
    uint64_t dropped; /* by drop-oldest */
    uint64_t memory_bytes;
};

struct spool_gauges spool_gauges(const struct spool *s);

#endif
