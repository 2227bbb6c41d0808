/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the store.
 *
 *     store.c         open, close, events, figures
 *     store_begin.c   opening while the disk is in trouble
 *     store_queue.c   what is put becomes a list of operations
 *     store_commit.c  who commits when; trouble and the way out of it
 *     store_checkpoint.c the WAL goes back into the database
 *     store_packets.c what Paho's threads call; store_sending.c: what is under way
 *     store_sinks.c   numbers of sinks
 *     store_log.c     the intent log: what is promised before it is committed
 *     store_coalesce.c what never needs to be written
 *     store_db.c      the file: lock, open, check, moving aside
 *     store_salvage.c what can be read of a damaged one
 *     store_schema.c  tables, statements
 *     store_write.c   operations to rows, a transaction at a time
 *     store_expiry.c  the clock by which messages expire
 *     store_load.c    rows to records; store_backlog.c: what waits in the spool
 *     store_fetch.c   rows of the spool to messages
 *     store_export.c  rows to text, store_import.c text to rows (store_format.h): without the store
 *
 * Whoever finds the database free and needs a commit makes it: mostly the store's own thread, but a
 * caller who must wait does it himself, with everything that is queued (two changes of threads
 * saved). `busy` says that somebody is at it; `db` belongs to him, so SQLite runs without mutexes.
 * Nobody who holds `lock` waits for a disk.
 */
#ifndef SENNET_GATEWAY_STORE_PRIV_H
#define SENNET_GATEWAY_STORE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <sqlite3.h>

#include "base/error.h"
#include "base/hmap.h"

#include "store.h"
#include "store_intent.h"

enum {
    STORE_SCHEMA = 4,               /* PRAGMA user_version */
    STORE_APPLICATION = 0x534E6574, /* PRAGMA application_id: "SNet" */
    STORE_PAGE_BYTES = 4096,        /* not less than what flash writes at once */
    STORE_PATIENCE_MS = 10000,      /* with a disk, at the end */
    STORE_WHY_MAX = 256,
    STORE_SEED_BYTES = 16,
    STORE_KEY_MAX = 32, /* a key of Paho's with its sink and its terminator */
    STORE_EVENTS = 8,
};

/* ---- operations ------------------------------------------------------------------------------ */

/* Records are operations under their own number. */
enum store_op_kind {
    OP_RESYNC = SN_REC_COUNT, /* all rows of the machines go */
    OP_RESYNC_END,
    OP_MESSAGE,
    OP_PACKET_PUT,
    OP_PACKET_REMOVE,
    OP_PACKETS_CLEAR,
    OP_SENDING,
    /* It was said to have failed; should it be in the file nevertheless, it must go. */
    OP_MESSAGE_REFUSED,
    OP_SENDING_GONE,
    OP_SINK, /* key: number; name: broker; other_name: client id */
    OP_SINK_GONE,
    OP_COUNT
};

/* Somebody who blocks; on his stack. */
struct store_waiter {
    bool done;
    int rc; /* 0, or -EIO */
};

/* One change of the database. Those on the stack of a blocked caller have a `waiter`. A field more is
 * one more for store_intent_op.c, and another INTENT_VERSION unless what was logged before reads the
 * same. A transaction goes through thousands of these, which lie anywhere: what it looks at comes
 * first. */
struct store_op {
    struct store_op *next;
    struct store_waiter *waiter;
    uint32_t size; /* with its octets; charged to the queue */
    uint8_t kind;
    bool skip; /* a later one of the same transaction makes it superfluous */
    uint8_t qos;
    uint8_t which; /* enum sn_kept_state, enum sn_kept_phase, kind of a topic */
    bool retain;
    bool flag; /* clean, given, will */
    uint16_t number[3];
    uint64_t client;
    uint64_t key;   /* the second key: number, topic id, msg id, packet id */
    uint64_t other; /* journal, print, number of the spooled message, connection of a session;
                          limit of OP_RESYNC_END */
    struct body *body;
    int64_t expires_ms;      /* of DELIVERY and OP_MESSAGE, monotonic; 0: never */
    struct bytes name;       /* client id, topic, filter, key of a packet */
    struct bytes other_name; /* topic of a will */
    const struct peer *peer;
    const struct bytes *parts; /* of a packet; on the stack */
    size_t n_parts;
    uint8_t octets[];
};

struct store_ops {
    struct store_op *first;
    struct store_op **end; /* NULL: empty */
    size_t n;
    size_t bytes;
    size_t n_waited_for; /* of these, with a `waiter` */
};

void store_ops_add(struct store_ops *ops, struct store_op *op);
/* Moves all of `from` to the end of `ops`. */
void store_ops_join(struct store_ops *ops, struct store_ops *from);
struct store_op *store_ops_pop(struct store_ops *ops);
/* Frees all (none may have a waiter). */
void store_ops_free(struct store_ops *ops);

/* A copy of the record on the heap; NULL when out of memory. */
struct store_op *store_op_of(const struct sn_record *record, bool with_copy);
/* An operation without octets but `name`. */
struct store_op *store_op_new(unsigned kind, struct bytes name);
/* Loop thread: into the batch; NULL: there was no memory for it. */
void store_stage(struct store *s, struct store_op *op);
void store_op_free(struct store_op *op);

/* ---- the database ---------------------------------------------------------------------------- */

enum store_statement {
    ST_BEGIN,
    ST_COMMIT,
    ST_ROLLBACK,
    ST_SESSION,
    ST_SESSION_GONE,
    ST_TOPIC,
    ST_TOPIC_GONE,
    ST_TOPICS_GONE,
    ST_EXCHANGE,
    ST_EXCHANGE_GONE,
    ST_EXCHANGES_GONE,
    ST_DELIVERY,
    ST_DELIVERY_GONE,
    ST_DELIVERIES_GONE,
    ST_SUBSCRIPTION,
    ST_SUBSCRIPTION_GONE,
    ST_SUBSCRIPTIONS_GONE,
    ST_SPOOL,
    ST_SPOOL_GONE,
    ST_MESSAGE,
    ST_ROUTED,
    ST_SWEEP,
    ST_SENDING,
    ST_SENDING_GONE,
    ST_SENDING_CLEAR,
    ST_PACKET,
    ST_PACKET_GONE,
    ST_PACKETS_CLEAR,
    ST_SINK,
    ST_SINK_GONE,
    ST_CLOCK,
    ST_EXPIRY,
    ST_MARK,
    ST_MARK_GONE,
    ST_PAGES,
    ST_FREE_PAGES,
    ST_COUNT
};

struct store_db {
    /* Constant. */
    char *path; /* NULL: in memory */
    const char *vfs;
    enum store_durability durability;
    uint64_t max_bytes;
    char **links;
    size_t n_links;

    sqlite3 *sql; /* NULL: closed */
    sqlite3_stmt *statements[ST_COUNT];
    int wal_frames;
    int64_t clock_base_ms;   /* service clock - monotonic clock */
    int64_t clock_stored_ms; /* service clock as last stored */
    int64_t write_clock_ms;  /* service clock of the transaction */
    int64_t expiry_base_ms;  /* clock of expiry - monotonic clock */
    int64_t
        expiry_kept_ms; /* clock of expiry as stored since the machine was started; -1: it is not */
    bool expiry_based;  /* the first is known */
    bool expires;       /* there are, or were, rows that expire */
    bool condemned;     /* to be moved aside when opened, whatever it looks like */
    bool salvages;      /* takes spooled messages over from a damaged one */
    bool alone;         /* without the file that processes share: it can't be made */
    bool immutable;     /* nothing will change it */
    int version;        /* of the schema, as it was found; 0: not known, or fresh */
    bool created;       /* it was empty when opened */
    bool spool_used;    /* there are, or were, rows whose age counts */
    bool seeded;
    uint8_t seed[STORE_SEED_BYTES]; /* constant once it is known */
};

/* The service clock: monotonic, over restarts, counts only while the gateway runs. */
int64_t store_clock_ms(const struct store_db *db);
/* Just opened: it had come that far, says what may be damaged. */
void store_db_clock_was(struct store_db *db, int64_t clock_ms);

/* The clock of expiry (store_expiry.c). A monotonic time as it is stored, and back; 0 is never. */
int64_t store_expiry_stored(const struct store_db *db, int64_t expires_ms);
int64_t store_expiry_loaded(const struct store_db *db, int64_t stored_ms);
/* From a database that was just opened. A code of SQLite. */
int store_expiry_load(struct store_db *db);

/* How the database tells it to another machine. */
enum { STORE_EXPIRY_ROOM = INTENT_BOOT_BYTES + 50 };

void store_expiry_print(int64_t clock_ms, char out[STORE_EXPIRY_ROOM]);
/* What it says now, without the store. A code of SQLite. */
int store_expiry_now(sqlite3 *sql, int64_t *out);
/* Within a transaction: stores it, if anything expires and it is due. A code of SQLite. */
int store_expiry_keep(struct store_db *db, bool at_once);

/* Opens what `db` names, and checks it. What is no database of ours, or a broken one, is moved
 * aside, and `notice` says so ("" otherwise). 0; a positive code of SQLite, with `why`. */
int store_db_open(struct store_db *db, char *notice, size_t notice_size, char *why,
                  size_t why_size);
/* The same when that has failed for want of room, or of the right to write to this disk: as it is, to be
 * read only. 0 or a code of SQLite. */
int store_db_open_to_read(struct store_db *db);
/* Renames the closed files to ....WORD-N; N, or -errno. */
int store_db_move_aside(const struct store_db *db, const char *word);
/* `failing`: without copying the WAL back. */
void store_db_close(struct store_db *db, bool failing);
/* Takes the spooled messages over from a damaged file: how many. */
int64_t store_db_salvage(struct store_db *db, const char *path);
/* "disk I/O error: No space left on device". */
void store_db_why(sqlite3 *sql, int rc, char *why, size_t why_size);
/* The file under our path is not (any more) the one that is open. */
bool store_db_moved(struct store_db *db);

/* Creates the tables, or brings them to STORE_SCHEMA. 0, a code of SQLite, or -1: made by a newer
 * version. */
int store_schema_set(sqlite3 *sql, int *version);
int store_schema_prepare(struct store_db *db);

/* What a transaction says of the intent log. */
struct store_mark {
    enum { MARK_NONE, MARK_AT /* if it changes anything else */, MARK_NEW, MARK_GONE } kind;
    struct intent_mark at;
    bool stored; /* out */
};

/* The database's mark; `found` false: it has none. A code of SQLite. */
int store_db_mark(struct store_db *db, struct intent_mark *out, bool *found);
/* One transaction of all operations: all or none of them. 0, or a code of SQLite. */
int store_db_write(struct store_db *db, struct store_ops *ops, struct store_mark *mark,
                   uint64_t *written);
/* The same, but never committed, and nothing is written to the disk. The database is only to be read after
 * that, and closed. */
int store_db_preview(struct store_db *db, struct store_ops *ops);
/* Marks what a later operation of the list makes superfluous; with 16 octets of secret. */
void store_ops_coalesce(struct store_ops *ops, const uint8_t *octets);
/* After loading, and before closing: the clocks go on from here, if there is anything for which they
 * count. */
void store_db_keep_clock(struct store_db *db);
/* A write that proves that writing works. */
int store_db_probe(struct store_db *db);
/* Syncs the WAL, of which most is to be on the disk before somebody has to wait for it. Any thread. */
void store_db_sync_wal(const struct store_db *db);
/* Copies the WAL back into the database. */
int store_db_checkpoint(struct store_db *db);
/* The same by a connection of its own, while others commit. Any thread. */
int store_db_checkpoint_beside(const struct store_db *db);
/* Octets in use, as far as a new row is concerned, and of the file with its WAL; 0 if it can't be
 * said. */
uint64_t store_db_used(struct store_db *db, uint64_t *file_bytes);
/* Once per process, before SQLite is used. */
void store_configure_sqlite(void);

/* ---- the store ------------------------------------------------------------------------------- */

enum store_trouble {
    TROUBLE_NONE,
    TROUBLE_FAILING,   /* the disk does not take it; tried again at retry_ms */
    TROUBLE_FORGOTTEN, /* the disk works (again), but records were lost: told to the loop */
    TROUBLE_RESYNCING, /* they are in the queue, whole */
};

/* A spooled message of QoS 2 that is with Paho. */
struct store_sending {
    struct hmap_node by_packet;
    struct hmap_node by_number;
    uint64_t number;
    uint64_t packet_id; /* with the sink in front: store_place() */
    bool stored;        /* with its packet */
};

struct store_fetched {
    struct store_spooled *rows;
    size_t n;
    bool failed;
};

struct store_said {
    enum store_event_type type;
    char why[STORE_WHY_MAX];
};

struct store {
    /* Constant after store_open(). */
    int64_t clock_base_ms; /* the database's, which stays as well */
    int64_t linger_ms;
    int64_t lazy_ms;
    int64_t retry_min_ms;
    int checkpoint_frames;
    size_t max_queued_bytes;
    uint64_t max_bytes;
    void (*wake)(void *arg);
    void *wake_arg;
    pthread_t thread;
    int lock_fd; /* -1: not got */
    char *dir;   /* NULL: in memory */
    char notice[STORE_WHY_MAX * 2];

    /* Loop thread. */
    struct store_ops staged;
    uint64_t batch; /* that records put now belong to */
    bool touched;   /* something was put, though perhaps thrown away */
    bool starved;   /* no memory for something that was put */
    bool resyncing; /* between resync_begin and resync_end */
    struct store_fetched taken;
    struct store_said taken_said;
    struct store_known_sink *sinks; /* ascending; changed under `lock` */
    size_t n_sinks;
    size_t cap_sinks;

    /* Any thread. */
    atomic_uint_fast64_t committed;
    atomic_int trouble; /* enum store_trouble; written under `lock` */
    atomic_size_t queued_bytes;
    atomic_size_t log_used;          /* octets of the intent log */
    atomic_bool promises;            /* `logging`, a moment ago */
    atomic_uint_fast64_t used_bytes; /* of the database, about */
    atomic_uint_fast64_t file_bytes;
    atomic_uint_fast64_t commits;
    atomic_uint_fast64_t records;
    atomic_uint_fast64_t records_lost;
    atomic_uint_fast64_t errors;
    atomic_uint_fast64_t commit_max_us;
    atomic_int_fast64_t busy_since_ms; /* the database; 0: it is free */
    atomic_int_fast64_t sync_since_ms; /* the WAL is being synced beside that; 0: it is not */

    pthread_mutex_t lock;
    pthread_cond_t work;  /* for the thread */
    pthread_cond_t done;  /* for who blocks: something is done, or the database is free */
    pthread_cond_t ended; /* for store_close() */
    /* All below under `lock`. */
    bool busy;               /* somebody has the database */
    struct store_ops queue;  /* to be committed, all of it */
    int64_t queue_due_ms;    /* when it is wanted on the disk */
    uint64_t queue_batch;    /* the last one in it */
    struct intent intent;    /* `map` and `size` are constant after store_open() */
    bool logging;            /* all of the queue is in it, and so promised */
    unsigned waiters;        /* who block */
    int64_t committed_at_ms; /* the last one */
    int64_t asleep_until_ms; /* the thread; 0: it is awake, or told to be */
    bool lost;               /* records were thrown away: TROUBLE_FAILING ends in a resync */
    bool resync_queued;      /* OP_RESYNC is in the queue */
    bool reopen;             /* the database is not to be trusted as it is open, */
    bool condemned;          /* or not at all */
    int64_t retry_ms;
    int64_t backoff_ms;
    uint64_t journal;   /* the last number */
    uint64_t *unrouted; /* journal numbers that the loop has not ROUTED, ascending */
    size_t n_unrouted;
    size_t cap_unrouted;
    uint64_t unrouted_floor; /* not in the list for want of memory: from here on, all */
    struct hmap sending_by_packet;
    struct hmap sending_by_number;
    bool fetch_wanted;
    uint64_t fetch_after;
    unsigned fetch_n;
    size_t fetch_bytes;
    struct store_fetched fetched;
    bool has_fetched;
    struct store_said said[STORE_EVENTS]; /* ring */
    size_t said_first;
    size_t n_said;
    size_t compact_at; /* operations in the queue, while nothing is written */
    int wal_frames;
    int checkpoint_at; /* frames */
    bool checkpoint_wanted;
    int64_t checkpoint_ms; /* not before */
    int64_t slim_ms;       /* nothing more was committed until then: SQLite gives memory back */

    enum { BESIDE_NONE, BESIDE_RUNS, BESIDE_DONE } beside; /* a checkpoint beside the commits */

    pthread_t beside_thread;
    bool beside_failed;
    bool beside_then_rest;
    bool stopping;
    bool deaf; /* store_close() has given up: no more wake() */
    bool finished;
    bool forsaken; /* store_close() is gone: the thread frees */

    /* Of who is `busy`. */
    struct store_db db;
    size_t unmeasured; /* octets written since the file was measured */
    int64_t measured_ms;
    size_t intent_bytes; /* constant */
    bool log_later;      /* the log is still as it was found */
    char *log_notice;    /* where the log's notices go; NULL: `notice` */
    bool unread;         /* the file was not loaded, and must not be written to */
    bool reading; /* the file holds what it held at the start, and nothing could be written since;
                          changed under `lock` or before the thread runs, by who is `busy` */
    uint64_t left_out[STORE_TABLES]; /* rows that store_load() could make nothing of */
};

int64_t store_now_ms(void);
int64_t store_now_us(void);
/* For the conditions. */
struct timespec store_deadline(int64_t in_ms);

/* ---- store.c --------------------------------------------------------------------------------- */

void store_free(struct store *s);
/* Lock held: tells the loop. */
void store_say(struct store *s, enum store_event_type type, const char *why);
void store_fetched_free(struct store_fetched *f);

/* ---- store_begin.c -------------------------------------------------------------------------- */

/* Opening has failed with that code. True: the store begins failing; false: that won't pass. */
bool store_begin_failing(struct store *s, int rc, const char *why);
/* Database taken, before anything is put: what it holds can't be read, with that code. True: a damaged one
 * was moved aside, and what could be taken over from it is in another. False: closed, and the store fails. */
bool store_begin_unread(struct store *s, int rc);
/* Database taken: opens it once more, after trouble. What was there and was not loaded at the start is
 * moved aside. 0 or a code of SQLite, as store_db_open(). */
int store_open_again(struct store *s, char *notice, size_t notice_size, char *why, size_t why_size);
/* This error is the disk's, and may go away. */
bool store_errno_may_pass(int error);

/* ---- store_queue.c --------------------------------------------------------------------------- */

/* Lock held. Appends, and tells the thread. While failing, what a resync tells again may be thrown
 * away instead. */
void store_enqueue(struct store *s, struct store_ops *ops);
/* Lock held: throws away what a resync tells again. */
void store_forget(struct store *s);

/* Lock held. True: in the intent log, and so promised, and taken; else the list is as it was. */
bool store_promise(struct store *s, struct store_ops *ops);

/* ---- store_log.c ----------------------------------------------------------------------------- */

/* What a commit takes of the intent log. */
struct store_logged {
    bool logged; /* all that it takes is in the log, up to here: */
    struct intent_point upto;
    struct store_mark mark;
};

/* Before the thread runs: what is left in the file goes into the database, and another log begins,
 * if one is wanted and can be. 0 or a code of SQLite. */
int store_log_open(struct store *s, size_t size);
/* The database, open to be read only, shows what is in the log as well, but nothing is written. 0 or a code
 * of SQLite. */
int store_log_preview(struct store *s);
/* Lock held, all of these. Before the operations are queued: false when not all is in the log. */
bool store_log_add(struct store *s, const struct store_ops *ops);
void store_log_stop(struct store *s);
void store_log_take(const struct store *s, struct store_logged *out);
/* Lock not held: again, if the database was opened again and another log has begun. What was appended
 * to the same one meanwhile is not part of the commit. */
void store_log_retake(struct store *s, struct store_logged *taken);
/* The trouble, if any, is settled; the queue holds what came meanwhile. */
void store_log_committed(struct store *s, const struct store_logged *taken);

/* ---- store_commit.c -------------------------------------------------------------------------- */

/* Lock held: enqueues, and comes back when the operations with the waiter are committed, or failed. */
int store_block(struct store *s, struct store_ops *ops, struct store_waiter *waiter);
/* Lock held, nobody busy: commits all that is queued. The lock is given up meanwhile. */
void store_run(struct store *s);
/* Lock held: wakes the thread if there is something for it. */
void store_prod(struct store *s);
/* Lock held, nobody busy. */
void store_begin_busy(struct store *s);
/* Lock held: takes the database, alone, when it is free. */
void store_take_db(struct store *s);
void store_release_db(struct store *s);
/* Lock held: nothing is promised from here on. */
void store_fail(struct store *s, const char *why, bool lost);
/* Lock held: the same after an error of SQLite, which may say something about the file. */
void store_fail_sql(struct store *s, sqlite3 *sql, int rc);
/* Lock held: who blocks, and is not yet being served, hears that it failed. */
void store_waiters_fail(struct store *s);
void *store_thread(void *arg);
/* Database taken: how large it is. */
void store_measure(struct store *s);

static inline bool store_failing(const struct store *s)
{
    return atomic_load_explicit(&s->trouble, memory_order_acquire) != TROUBLE_NONE;
}

/* ---- store_checkpoint.c ---------------------------------------------------------------------- */

/* Lock held, both; the second one gives it up meanwhile. */
bool store_checkpoint_due(const struct store *s, int64_t now_ms);
void store_checkpoint(struct store *s);

/* ---- store_packets.c ------------------------------------------------------------------------- */

/* A pattern for the keys of that sink. */
void store_key_glob(uint64_t sink, char room[STORE_KEY_MAX]);

/* ---- store_sending.c ------------------------------------------------------------------------- */

/* A packet id of that sink, as it is kept. */
static inline uint64_t store_place(uint64_t sink, unsigned packet_id)
{
    return sink << 16 | packet_id;
}

/* Lock held: by its number, or by where it is sent under (store_place()). */
struct store_sending *store_sending_find(const struct store *s, uint64_t number);
struct store_sending *store_sending_under(const struct store *s, uint64_t packet_id);
/* A message that is there under that packet id is forgotten; NULL: out of memory. */
struct store_sending *store_sending_add(struct store *s, uint64_t packet_id, uint64_t number);
void store_sending_remove(struct store *s, struct store_sending *it);
/* All, or those of one sink. */
void store_sending_clear(struct store *s);
void store_sending_forget(struct store *s, uint64_t sink);
/* Lock held: the loop has, or has not yet, ROUTED the message. */
void store_unrouted_add(struct store *s, uint64_t journal);
void store_unrouted_remove(struct store *s, uint64_t journal);
/* Lock held: below this, all messages are routed. */
uint64_t store_unrouted_least(const struct store *s);
/* Before the thread runs: numbers in use, messages with Paho. 0 or a code of SQLite, -ENOMEM. */
int store_packets_open(struct store *s);
/* All of that. */
void store_packets_forget(struct store *s);

/* ---- store_sinks.c --------------------------------------------------------------------------- */

struct store_known_sink {
    uint64_t number;
    char *broker;           /* "": not known any more, but there are messages of it */
    struct body *client_id; /* NULL: of all */
};

/* Reads them, in place of those that are known. 0 or a code of SQLite. */
int store_sinks_open(struct store *s);
void store_sinks_free(struct store *s);
/* Any thread, lock not held: in front of `ops`, what writes them all to a database that was begun anew. False:
 * out of memory. */
bool store_sinks_again(struct store *s, struct store_ops *ops);

/* ---- store_fetch.c --------------------------------------------------------------------------- */

/* Lock held, given up meanwhile, and nobody busy: answers the request. */
void store_fetch_run(struct store *s);

/* ---- store_backlog.c ------------------------------------------------------------------------- */

struct store_backlog {
    struct hmap clients;             /* how much waits for each */
    struct store_spooled_sent *sent; /* ascending */
    size_t n_sent;
    size_t cap_sent;
    uint64_t *last; /* number of each sink that has any, ascending */
    size_t n_last;
    size_t cap_last;
};

/* Database taken, `clients` initialised. 0, -ENOMEM or -EIO. */
int store_backlog_read(struct store *s, struct store_backlog *all);
/* Tells what there is. 0 or the handler's. */
int store_backlog_give(struct store_backlog *all, const struct store_visitor *v);
void store_backlog_deinit(struct store_backlog *all);

/* ---- store_lock.c ---------------------------------------------------------------------------- */

/* The descriptor of the lock, kept open as long as the directory is ours; or -errno, with `error`. */
int store_lock(const char *dir, char *error, size_t error_size);
void store_unlock(int fd);

#endif
