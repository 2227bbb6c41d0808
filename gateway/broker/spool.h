/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store-and-forward: a pure machine between the shared session and the connection, on their seam
 * (upstream.h). What it takes over from a node is in the store before the node is acknowledged.
 *
 *     shared session  -> spool_submit()    spool_peek_request() -> connection
 *     connection      -> spool_upstream()  spool_peek_event()   -> shared session
 *     store           -> spool_committed(), spool_failed(), spool_fetched(), spool_usable()
 *                        spool_peek_record(), spool_wants_fetch() -> store
 *
 * Per PUBLISH that the session submits:
 *
 *     QoS 0            passed on, or spooled behind what its client has there; while the connection is
 *                      away it is spooled (`qos_0`) or refused
 *     QoS 1, up        passed on: the broker's answer is the node's. Comes it back UP_BUSY (the
 *                      connection broke, or had no room), it is spooled; and so it is, while the
 *                      connection has it still, when the broker falls silent (see "Silence")
 *     QoS 1, silent    spooled, as if the connection were away, and sent
 *     QoS 1, down      spooled: UP_PUBLISHED with UP_OK when the batch of its record is committed
 *     QoS 1, up, but messages of the same client are in the spool, or were given from it to the
 *                      connection and not acknowledged yet: spooled behind them
 *     QoS 2            always spooled, if the store is usable: only that makes "exactly once"
 *                      survive a restart. Answered when committed (see "Pace"), sent behind
 *     will             always spooled, if there is room, whatever its QoS: with its session it would be
 *                      forgotten in a crash, and nobody repeats it. Answered when committed; else
 *                      as a message of its client of that QoS
 *     no room          UP_BUSY: the node is told "congestion", and comes again
 *
 * SUBSCRIBE, UNSUBSCRIBE and all events but those of spooled messages pass unchanged.
 *
 * Order. Each client's messages of QoS 1 and 2, over all sessions it has (order.h), reach the broker in the
 * order in which they were submitted, from which a QoS 1 message repeated after a lost connection is the only exception. So a
 * message is numbered when it is submitted, even if it is passed on: should it come back, it takes
 * its place before what its client has sent since. A client's spooled messages wait until those that
 * were passed on are answered; one of QoS 2 and the others never travel together, as brokers pass
 * QoS 2 on in the second step only. While clients share the connection, they take turns.
 *
 * Spooled messages leave `window` at once at most, so that live traffic has its part of the
 * connection; when it is full, it is filled again when half of it is free. Each is deleted when the broker has acknowledged it. Those in memory
 * (`max_memory_bytes`: the oldest ones) are sent from there, all others are fetched from the store in
 * chunks, in order: memory does not grow with the backlog. A client that has nothing on disk does not
 * wait for those that have: while the connection is there, a quarter of that memory more is for such
 * clients. After a lost connection the
 * unacknowledged ones of QoS 1 are sent again, in order; those of QoS 2 stay with the connection
 * until it has told what became of them (UP_IN_DOUBT, then UP_OK, UP_REFUSED or UP_BUSY), also those
 * of an earlier process.
 *
 * Pace. While the connection is there, nodes are to send as fast as the broker takes: of more than
 * two windows of messages (`window`) that wait, or that the connection has, the answers are held
 * back, until the broker has acknowledged others. A client has one answer in its turn, so who sends
 * much at once keeps nobody else waiting. A backlog from before, when the connection was away, only
 * becomes less: of two messages that leave it one makes room for a new one. No answer is held for
 * longer than `hold_ms`, or when the connection goes away: what is taken over is safe, and a node that
 * hears nothing repeats. Behind a broker that does not even take one message per client in that time,
 * the spool grows, as without a broker.
 *
 * Silence. A broker that hangs keeps its connection for seconds before anybody can know, and nodes are
 * not to wait for that. When it owes answers and has given none for `silence_ms`, or for twice as long
 * as it has lately needed (2 s at most), messages of QoS 1 that it has are recorded as well, and
 * answered when that is committed. Until it answers again new ones are spooled, and no answer is held
 * back for longer than 20 ms. What it then says of those is its answer to spooled messages: a refusal comes too
 * late for the node, and is logged.
 *
 * Limits. With a rate, windows or quiet hours (`pace`), QoS 1 and 2 and wills always go through the
 * spool, and are answered when they are committed: no node waits for the pace. They leave when it lets
 * them, in the order above. QoS 0 is spooled like them (`qos_0`), or has what the others leave over:
 * it passes when the pace lets it and nothing that could be sent waits, and is dropped otherwise,
 * without a word to its node. While the store is not usable, QoS 1 and 2 pass in the same way, or are
 * refused. What has once been given to the connection is not held up any more, and goes again after it
 * was lost. Messages to nodes, SUBSCRIBE and UNSUBSCRIBE are not limited.
 *
 * What comes back from the connection is kept in memory whatever `max_memory_bytes` says: it was in
 * the connection's queue before, whose bounds hold for it.
 *
 * Costs: O(1) per message; memory: about 130 octets per client with a backlog.
 */
#ifndef SENNET_BROKER_SPOOL_H
#define SENNET_BROKER_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/log.h"

#include "broker/pace.h"
#include "broker/upstream.h"
#include "mqttsn/record.h"

enum spool_full { SPOOL_REFUSE, SPOOL_DROP_OLDEST };

struct spool_config {
    struct hash_seed hash_seed;
    enum log_level log_level;
    uint64_t max_messages; /* in the spool at once; default 1000000 */
    uint64_t max_bytes;    /* their topics and payloads; default 256 MiB */
    enum spool_full full;  /* at these: refuse the new one (default), or drop the oldest ones
                                  (QoS 2 that was handed to the connection is never dropped) */
    int64_t max_age_ms;    /* older ones are dropped when their turn comes, or their room is needed;
                              default 7 d, 0: never */
    bool qos_0;            /* QoS 0 is spooled while the connection is away; default no. It may come
                              twice when a connection breaks in the moment in which it is sent */
    unsigned window;       /* spooled messages given to the connection at once; default 128 */
    size_t max_memory_bytes; /* of spooled messages kept in memory too; default 4 MiB */
    int64_t hold_ms; /* how long an answer is held back at most, well below the nodes' T_retry;
                                  default 5 s, 0: not at all; with limits never */
    int64_t
        silence_ms; /* how long the broker may be silent before messages of QoS 1 are taken over;
                              default 25, 0: for ever */
    struct pace_config pace; /* of what leaves for the broker; default none */
    bool sparing; /* one of many, most of them idle: memory that is not needed is given back */
};

struct spool_config spool_defaults(void);

struct spool;

/* NULL when out of memory. The store is not usable at first. */
struct spool *spool_new(const struct spool_config *config, int64_t now_ms);
void spool_free(struct spool *s);

/* Other limits from now on; seed and `sparing` stay. What waits above them stays, too. After a change of the pace
 * the time of day is to be told again (spool_wall()). */
void spool_configure(struct spool *s, int64_t now_ms, const struct spool_config *config);

/* Before anything else: what is in the store (struct store_visitor). Of each client how much waits,
 * and each message that an earlier process had given to the connection, which has it still (Paho's:
 * QoS 2); these are not among the `n`. 0 or -ENOMEM. */
int spool_restore(struct spool *s, uint64_t client, uint64_t n, uint64_t bytes,
                  uint64_t last_number);
int spool_restore_sent(struct spool *s, uint64_t number, uint64_t client, uint64_t bytes);

/* ---- inputs ---------------------------------------------------------------------------------- */

void spool_submit(struct spool *s, int64_t now_ms, const struct up_request *request);
/* What the event borrows is borrowed by the event that comes out, so events must be drained after
 * each (asserted). */
void spool_upstream(struct spool *s, int64_t now_ms, const struct up_event *event);

/* The connection was ended, and tells nothing more: what was passed on is answered UP_BUSY, what was
 * spooled goes to the next one. So do messages of QoS 2, but for those that the MQTT
 * session still has: which these are it tells with UP_IN_DOUBT, before it is connected again, and then what
 * becomes of them, or that at once if it begins anew. */
void spool_abandoned(struct spool *s, int64_t now_ms);

/* Records taken from now on belong to that batch (record.h); the batches before are on their way. */
void spool_batch(struct spool *s, uint64_t batch);
/* All batches up to that one are committed. */
void spool_committed(struct spool *s, int64_t now_ms, uint64_t batch);
/* The same, of a store that has failed meanwhile: what these batches hold may be stored, or not. Nodes that
 * wait for that are refused, and keep their messages; wills stay. */
void spool_failed(struct spool *s, int64_t now_ms, uint64_t batch);
/* Is the store usable, and may more be put into it? While it is not, nothing is spooled: QoS 1 and 2
 * are passed on live, or refused: so are those of a client whose earlier messages are in the spool,
 * until nothing could be read from the store for a minute. Then these must wait, and new ones pass. */
void spool_usable(struct spool *s, int64_t now_ms, bool usable);

/* It is that minute of the day (pace.h). */
void spool_wall(struct spool *s, int64_t now_ms, unsigned minute);

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

/* The answer to a fetch, row by row, ascending, then spool_fetch_done(), with no other input in
 * between. `failed`: asks again later. */
void spool_fetched(struct spool *s, int64_t now_ms, const struct spool_row *row);
void spool_fetch_done(struct spool *s, int64_t now_ms, bool failed);

void spool_advance(struct spool *s, int64_t now_ms);

/* ---- outputs --------------------------------------------------------------------------------- */

int64_t spool_next_deadline(const struct spool *s);

/* All borrowed until done. What the connection gets in a turn, it must get behind the batch of that
 * turn: what it stores of a message must not outlive a crash that undoes the deletion of an earlier
 * one. */
bool spool_peek_request(struct spool *s, struct up_request *out);
void spool_done_request(struct spool *s);
bool spool_peek_event(struct spool *s, struct up_event *out);
void spool_done_event(struct spool *s);
bool spool_peek_record(struct spool *s, struct sn_record *out);
void spool_done_record(struct spool *s);
/* The store has lost records: emits those of all messages in memory again, but those of QoS 2 that
 * are with the connection. */
void spool_record_all(struct spool *s);

/* True when rows above *after are wanted from the store now; asked once. At least one row is to come
 * if there is any, however long. Rows of messages that are with Paho must not come, and all rows
 * of batches before the present one (spool_batch()) must be seen. */
bool spool_wants_fetch(struct spool *s, uint64_t *after, unsigned *n, size_t *max_bytes);

/* PUBLISHes of QoS 1 and 2 are taken though the connection is away. Outlasts short moments in which
 * the store has no room: these are told message by message. */
bool spool_accepting(const struct spool *s);

struct log_ring *spool_log(struct spool *s);

struct spool_gauges {
    uint64_t messages; /* in the spool, those in flight included */
    uint64_t bytes;
    uint64_t in_flight;
    uint64_t held;     /* answers held back: nodes wait for the broker */
    uint64_t spooled;  /* since start, as all below */
    uint64_t hedged;   /* of these taken over because the broker was silent */
    uint64_t sent;     /* acknowledged by the broker */
    uint64_t full;     /* refused to nodes: no room */
    uint64_t away;     /* the same, of QoS 0: the connection is away */
    uint64_t unusable; /* the same, of QoS 1 and 2: the store was not usable */
    uint64_t refused;  /* by the broker */
    uint64_t expired;
    uint64_t dropped;       /* by drop-oldest */
    uint64_t paced_drops;   /* of QoS 0, for the limits' sake */
    uint64_t paced_refused; /* to nodes, the same, the store not being usable */
    uint64_t lost;          /* the store had them no more */
    uint64_t memory_bytes;
};

struct spool_gauges spool_gauges(const struct spool *s);

#endif
