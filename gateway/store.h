/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: what must survive the process, in one SQLite database (WAL), written by a thread of its
 * own in group commits. docs/adr/0012 says what is kept and why; store_schema.c has the tables.
 *
 *     loop thread:     store_put() ... store_flush()  ->  bounded queue  ->  store thread: COMMIT
 *     who commits:     wake()                         ->  loop: store_committed(), store_next_event()
 *     Paho's threads:  store_message(), store_packet_put(): block until committed, and make the
 *                      commit themselves (with all that is queued) when the database is free
 *
 * With `process`, and an intent log (docs/adr/0013), what is flushed counts as committed at once, and
 * nobody blocks: it stands in a mapped file that survives the process. Commits are made later, by the
 * thread. When the log has no room, all is as above. "Committed" below means either.
 *
 * Nothing here touches the disk on the loop thread but store_open() and store_load(), before the
 * loop runs, and store_close().
 *
 * Trouble. When a commit fails (disk full, read-only, I/O error), the batch is tried again; from the
 * first failure on the store is FAILING (event): store_committed() counts on as if all were well, so
 * that nobody waits for a disk that is not there, but nothing is promised any more: the spool takes
 * no messages, and everything is said in the log. The store tries to commit again with backoff (1 s
 * to 60 s); when that works, or after records had to be thrown away, it asks for everything anew
 * (STORE_RESYNC): the machines record themselves whole between store_resync_begin() and
 * store_resync_end(), which replaces what was stored. A database that is not one, or fails its check, is moved
 * aside (sennet.db.corrupt-N) when opened, and a fresh one is begun: said loudly.
 */
#ifndef SENNET_GATEWAY_STORE_H
#define SENNET_GATEWAY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mqttsn/record.h"

/* ---- sinks -------------------------------------------------------------------------------------
 *
 * What belongs to one MQTT session at one broker belongs to a sink (docs/adr/0014): it has a number, which
 * comes from here and outlives the process. The messages of its spool are numbered from a base of its
 * own, so that one table has them in order; Paho's packets and messages from the broker carry it. */
enum { STORE_SINK_BITS = 47, STORE_SINKS_MAX = 65535 };

static inline uint64_t store_sink_base(uint64_t sink)
{
    return sink << STORE_SINK_BITS;
}

/* The sink of the spooled message of that number. */
static inline uint64_t store_sink_of(uint64_t number)
{
    return number >> STORE_SINK_BITS;
}

enum store_durability {
    STORE_OFF,     /* no store; here for the configuration, store_open() refuses it */
    STORE_PROCESS, /* survives kill -9 (intent log; WAL, synchronous=NORMAL: consistent after a
                      power cut) */
    STORE_POWER,   /* survives a power cut (synchronous=FULL) */
};

struct store_options {
    const char *dir; /* state_dir; NULL: a database in memory, for tests */
    enum store_durability durability;
    uint64_t wal_bytes; /* changes are collected in a file beside the database (sennet.db-wal), and
                            copied into it when that is longer than this. Default 4 MiB */
    uint64_t max_bytes; /* of the database; store_room() tells. Default 1 GiB */
    int64_t linger_ms;  /* a commit waits so long for more, if another one was as lately as
                                  that; nobody waits in vain who blocks. Default 5 ms */
    int64_t lazy_ms;    /* a batch that binds nobody (deletions but SESSION_GONE, which a
                                  node that takes leave waits for; ROUTED, DELIVERY that waits:
                                  lost in a crash, it only makes things happen twice that may) waits
                                  so long for another one; so does every batch that the intent log
                                  has. What goes meanwhile is never written. Default 500 ms */
    int64_t retry_ms;   /* after a failed commit; doubled each time, up to 60 times as long.
                                  Default 1 s */
    size_t max_queued_bytes;  /* records not yet written; default 16 MiB */
    size_t intent_bytes;      /* of the intent log beside the database (sennet.db-intent), by which
                            `process` promises without waiting for a commit (docs/adr/0013). 0, and
                            where none can be had: commits are waited for. Default 8 MiB */
    const char *const *links; /* names by link number: sessions are stored with the name */
    size_t n_links;
    const char *vfs; /* SQLite VFS by name; NULL: the system's. For fault injection */
};

struct store_options store_defaults(void);

struct store;

/* Opens or creates `dir`/sennet.db, migrates an older schema, checks it and locks it.
 *
 *   0         *out is set. Its thread runs; `wake(arg)` is called from it, or from who blocks,
 *             whenever something is new, and may do nothing but uv_async_send()
 *   positive  an exit code (base/error.h), and `error` says what, why and what to do: EXIT_NO_STATE,
 *             also for a directory in use by another daemon (with its pid)
 *   -ENOMEM
 *
 * A disk that is full, read-only or fails is no error: the store starts FAILING, with what could be
 * read loaded all the same. What could not is never written to: when the disk works again it is moved
 * aside (sennet.db.unread-N), and a fresh database begun. */
int store_open(const struct store_options *options, void (*wake)(void *arg), void *arg,
               struct store **out, char *error, size_t error_size);

/* Whether another process has `dir` as its store; then `error` says which, and what to do. Creates and
 * writes nothing; a store that is opened at this very moment may be refused. */
bool store_in_use(const char *dir, char *error, size_t error_size);

/* Commits what is queued (waits up to 10 s), stops the thread and frees. NULL is ignored. */
void store_close(struct store *s);

/* Waits until everything that was flushed is committed or the store fails, 10 s at most. For an end at which other threads may
 * still come, so that the store can't be closed. */
void store_sync(struct store *s);

/* What store_open() and store_load() have to tell, for the log: a line for each thing that was out of
 * order ("moved aside ..."), or NULL. Borrowed. */
const char *store_notice(const struct store *s);

/* Secrets that must outlive the process: seeds of hashes that are stored. Made by store_open() the
 * first time. 16 octets. */
const uint8_t *store_seed(const struct store *s);

/* Loop thread. The number of the sink of that broker and client id (empty: the session that all
 * share). One that has none yet gets the lowest that is free, which is part of the batch; not free are
 * numbers of spooled messages whose sink was lost with a damaged file. 0; -ENOMEM; -ENOSPC: there are
 * STORE_SINKS_MAX; -EINVAL: no broker, or more than 65535 octets. Cost: grows with their number. */
int store_sink(struct store *s, const char *broker, struct bytes client_id, uint64_t *number);
/* Nothing of it is left, in the spool, of its packets or under way: its number is free for another one.
 * Part of the batch. */
void store_sink_gone(struct store *s, uint64_t number);
/* All that there are, ascending; `broker` is "" where it was lost. A handler that returns non-zero ends
 * it with that, and none may ask for another sink. */
int store_sinks_each(struct store *s,
                     int (*sink)(void *owner, uint64_t number, const char *broker,
                                 struct bytes client_id),
                     void *owner);

/* ---- loading: once, before anything is put ---------------------------------------------------- */

/* A message from the broker that was stored, and not ROUTED yet. */
struct store_unrouted {
    uint64_t journal;
    uint64_t sink; /* that it came to */
    struct bytes topic;
    struct body *body;
    uint8_t qos;
    bool retain;
    uint32_t expiry_s; /* what is left of it, at least 1; 0: it has none */
};

/* A session on a link of a name that is no more comes without peer. Everything is borrowed for the
 * call. A handler that returns non-zero ends the load with that. */
struct store_visitor {
    void *owner;
    /* SESSION, then of each session TOPIC, EXCHANGE, SUBSCRIPTION, DELIVERY in order of `number`;
     * by session, ascending by key. Never SPOOL. A DELIVERY comes with topic and body, also one with
     * a journal number (the body is shared by all deliveries of that message). */
    int (*record)(void *owner, const struct sn_record *record);
    /* In order. */
    int (*message)(void *owner, const struct store_unrouted *message);
    /* A spooled message that is with Paho (store_spool_sending()): Paho brings it to its end. */
    int (*sent)(void *owner, uint64_t number, uint64_t client, uint64_t bytes);
    /* How much else of each client waits in the spool of a sink, and the greatest number in use of that
     * sink: once per sink and client, in any order, SN_NO_CLIENT among them if it has any; at last once
     * per sink that has messages, ascending, with SN_NO_CLIENT and n = 0. */
    int (*spool)(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last_number);
};

/* 0, the handler's, -ENOMEM, or -EIO: what could be read a moment ago can't any more (treat as an empty
 * store). What can't be read at all is none of that: then a damaged file is moved aside, which
 * store_notice() tells, or the store is FAILING, and empty. Cost: two passes, one of the spool; the
 * bodies of the spool are not read. */
int store_load(struct store *s, const struct store_visitor *visitor);

/* ---- loop thread ----------------------------------------------------------------------------- */

/* The number of the batch that records put now will belong to. */
uint64_t store_batch(const struct store *s);

/* Adds to the batch, copying (bodies by reference). Never fails for the caller: what finds no room
 * makes the store ask for a resync. SPOOL should be put only while store_room() says so. Topic and
 * body of a DELIVERY with a journal number are looked at only within a resync, where they must be
 * there: the database may be a fresh one. Cost: one allocation. */
void store_put(struct store *s, const struct sn_record *record);

/* Ends the batch, if there is anything in it, and hands it over. Once per turn. Cheap: one lock. */
void store_flush(struct store *s);

/* All batches up to this one are committed (or the store is failing). Any thread. */
uint64_t store_committed(const struct store *s);

/* May another `bytes` of spooled messages be put? False when failing, when the queue is more than
 * half full, or when the database is nearly at max_bytes (a tenth is kept for all else). */
bool store_room(const struct store *s, size_t bytes);
/* Why not, for people; NULL if they may. Borrowed for ever. */
const char *store_lacks(const struct store *s, size_t bytes);

/* Asks for the spooled messages above number `after` of the same sink, in order, at most n and about max_bytes of
 * them; not those that are with Paho already (store_spool_sending()). One request at a time; answered
 * by STORE_FETCHED. Sees every batch flushed before, and so fails while the store is failing. What it
 * does not bring though it should be there was lost with the file. */
void store_fetch(struct store *s, uint64_t after, unsigned n, size_t max_bytes);

struct store_spooled {
    uint64_t number;
    uint64_t client;
    struct bytes topic;
    struct body *body;
    uint8_t qos;
    bool retain;
    bool will;
    int64_t age_ms; /* in which the gateway has been running: immune against clocks that jump */
};

enum store_event_type {
    STORE_FETCHED, /* the answer to store_fetch(), n 0 when there are none; if it failed,
                       n 0 and `failed` */
    STORE_FAILING, /* `why` is for people */
    STORE_RECOVERED,
    STORE_RESYNC, /* STORE_RECOVERED follows when that is done */
};

struct store_event {
    enum store_event_type type;
    const struct store_spooled *rows; /* FETCHED */
    size_t n;
    bool failed;
    const char *why; /* FAILING; RESYNC: a file that was moved aside, else "" */
};

/* The next event, borrowed until the following call; false when there is none. */
bool store_next_event(struct store *s, struct store_event *out);

/* Records put between these two replace everything but SPOOL rows, Paho's packets, and messages that
 * were not ROUTED. Records between STORE_RESYNC and store_resync_begin() are thrown away. The limit
 * of the queue does not count for them. SPOOL rows that were put since STORE_FAILING may be missing:
 * put those again that are still in memory. */
void store_resync_begin(struct store *s);
void store_resync_end(struct store *s);

/* ---- Paho's threads and the worker's ---------------------------------------------------------- */

/* A message of QoS 1 or 2 from the broker. */
struct store_incoming {
    struct bytes topic;
    struct bytes payload;
    uint8_t qos;
    bool retain;
    uint32_t expiry_s; /* not worth delivering after so long; 0: it always is */
};

/* Blocks until it is committed; then returns its journal number. 0: not kept, the store is failing.
 * `drop_packet`: key of a packet which goes in the same commit (the received PUBLISH that Paho had
 * stored), or NULL. */
uint64_t store_message(struct store *s, uint64_t sink, const struct store_incoming *message,
                       const char *drop_packet);

/* The same with a packet of Paho's that is put in the same commit. */
uint64_t store_message_with(struct store *s, uint64_t sink, const struct store_incoming *message,
                            const char *key, struct bytes packet);

/* Paho's persistence (MQTTClientPersistence.h) of the connection of that sink; keys are Paho's, at most
 * 23 octets.
 *
 * put     blocks until committed. 0, or -EIO
 * remove  does not block. With `spooled` (the packet id of a message of QoS 2 that is complete now)
 *         the spooled message sent under that id goes in the same commit
 * get     a copy to be freed with free(). 0, -ENOENT, -EIO, -ENOMEM
 * each    calls for every key. 0, the handler's, -EIO */
int store_packet_put(struct store *s, uint64_t sink, const char *key, const struct bytes *parts,
                     size_t n_parts);
void store_packet_remove(struct store *s, uint64_t sink, const char *key, unsigned spooled);
int store_packet_get(struct store *s, uint64_t sink, const char *key, void **data, size_t *len);
int store_packet_each(struct store *s, uint64_t sink, int (*key)(void *owner, const char *key),
                      void *owner);
/* Any thread. Will put, and a message, wait for the disk? A guess: that may change at any time. */
bool store_may_block(const struct store *s);
/* Forgets all packets of that sink, and that any of its messages was sent: the broker knows nothing of
 * them. */
void store_packets_clear(struct store *s, uint64_t sink);

/* The spooled message is given to Paho, by its sink's connection, under that packet id. Does not block. It is stored in one commit
 * with the packet that Paho puts for it (a key that begins with "s" and ends in "-ID"), so a restart
 * forgets what was said of ids without one: either Paho sends the message, or it is fetched again. */
void store_spool_sending(struct store *s, uint64_t number, unsigned packet_id);
/* It was not delivered, and is no longer with Paho: after the packet was removed without it. */
void store_spool_unsent(struct store *s, uint64_t sink, unsigned packet_id);
/* What was said with it before the restart: number of the message under that id, or 0. */
uint64_t store_spool_sent_as(struct store *s, uint64_t sink, unsigned packet_id);

/* ---- figures --------------------------------------------------------------------------------- */

/* What rows are counted by. */
enum store_table {
    STORE_SESSIONS,
    STORE_TOPICS,
    STORE_EXCHANGES,
    STORE_SUBSCRIPTIONS,
    STORE_DELIVERIES,
    STORE_MESSAGES,
    STORE_TABLES
};

struct store_gauges {
    bool failing;
    uint64_t commits;
    uint64_t records;      /* written */
    uint64_t records_lost; /* thrown away while failing: told again by the resync */
    uint64_t errors;       /* failed commits */
    uint64_t queued_bytes;
    uint64_t file_bytes;             /* database and WAL */
    uint64_t commit_max_us;          /* since start */
    uint64_t left_out[STORE_TABLES]; /* rows that store_load() could make nothing of: damaged, or of
                                        nobody (whose are deleted) */
};

struct store_gauges store_gauges(const struct store *s);

/* Any thread. Since when the disk has been at one thing, whoever waits for it; now, when it has
 * nothing to do: a disk that hangs shows here. */
int64_t store_heartbeat_ms(const struct store *s);

#endif
