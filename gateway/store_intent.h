/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intent log (docs/adr/0013): operations that are promised but not in the database yet, in a file
 * that is allocated as a whole and mapped. What is stored in a shared mapping survives the process
 * without a system call, so with `durability = process` nobody waits for a commit.
 *
 *     store_intent.c       the file: entries, a list of operations each, one behind the other
 *     store_intent_old.c   what another process has left in it
 *     store_intent_op.c    an operation as octets
 *
 * The log has an id, fresh each time it begins, and its entries are numbered. The database says in
 * the transaction up to which entry of which log it holds everything (struct intent_mark): an entry
 * is applied once, and never to another database.
 *
 *     header | committed, perhaps | entry | entry | entry | 0
 *                                 ^ tail                  ^ head
 *
 * There is no wrapping around: after a commit what is left is moved to the front if that has room.
 * So a log that is mostly empty dirties only its first pages, which the system writes to the disk
 * every half a minute or so.
 *
 * The file's content is believed only if the machine has not been started anew since (boot id), and
 * an entry only if its check, keyed with the log's id, is right.
 */
#ifndef SENNET_GATEWAY_STORE_INTENT_H
#define SENNET_GATEWAY_STORE_INTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct store_op;
struct store_ops;

enum { INTENT_ID_BYTES = 16, INTENT_BYTES_MIN = 4096 };

/* What the database holds. */
struct intent_mark {
    uint8_t id[INTENT_ID_BYTES]; /* of the log */
    uint64_t seq;                /* entries up to this */
};

static inline bool intent_same_log(const struct intent_mark *a, const struct intent_mark *b)
{
    return memcmp(a->id, b->id, sizeof a->id) == 0;
}

struct intent {
    uint8_t *map; /* NULL: there is no log */
    size_t size;
    size_t head;    /* where the next entry goes */
    size_t tail;    /* of the first one that is not committed */
    size_t reached; /* up to where its pages may be in memory */
    struct intent_mark last;
};

/* A point between two entries. */
struct intent_point {
    size_t at;
    struct intent_mark mark;
};

/* Names of links by number: addresses are logged with them, as the numbers may be others next time. */
struct intent_links {
    char *const *names;
    size_t n;
};

/* Those of a log that is read. */
struct intent_names {
    char *names[64];
    size_t n;
};

/* Allocates (all of it: a hole could not be filled on a full disk, and would end the process) and
 * maps the file; its content stays as it is until intent_begin(). 0, or -errno: ENOTSUP on a file
 * system where an allocated file can run out of room nevertheless (btrfs, bcachefs, ZFS). */
int intent_open(struct intent *log, const char *path, size_t size);
/* The file stays. */
void intent_close(struct intent *log);
/* Empties it, under a new id. */
void intent_begin(struct intent *log, const uint8_t id[INTENT_ID_BYTES]);
/* An id that was never used and can't be guessed by who does not know this log's. */
void intent_next_id(const struct intent *log, uint8_t id[INTENT_ID_BYTES]);

/* All of the list as one entry, behind which a crash does not go back; nor does the service clock
 * behind `clock_ms`. False: no room, nothing is changed. */
bool intent_append(struct intent *log, const struct store_ops *ops, struct intent_links links,
                   int64_t clock_ms);
struct intent_point intent_here(const struct intent *log);
/* Everything before is in the database, which says so if `marked`. */
void intent_done(struct intent *log, const struct intent_point *upto, bool marked);
/* Octets of entries that are not committed. */
size_t intent_used(const struct intent *log);
size_t intent_room(const struct intent *log);

/* ---- what is there when the store is opened --------------------------------------------------- */

enum intent_state {
    INTENT_NONE,    /* no file, or one of which nothing had begun */
    INTENT_FOREIGN, /* not a log, or one of another version */
    INTENT_STALE,   /* of another start of the machine */
    INTENT_OTHER,   /* of another database, or of a later state of it than this one is */
    INTENT_OURS,
    INTENT_UNREADABLE, /* `error` */
};

struct intent_left {
    enum intent_state state;
    int error;        /* errno */
    bool missing;     /* of NONE: not even a file, or an empty one */
    uint64_t entries; /* that the database does not have; not of FOREIGN and UNREADABLE */
    uint64_t first;   /* number of the first one of them, */
    uint64_t last;    /* and of the last */
    bool torn;        /* the last one is not whole */
    int64_t clock_ms; /* of OURS; no check vouches for it */
};

/* Reads the file. With INTENT_OURS the operations that the database does not have are added to `out`,
 * in order; their peers have links by number in `names`. `mark`: the database's, NULL if it has none:
 * then with INTENT_OTHER all operations of which the log itself does not know that they are in the
 * database that it belonged to. 0 or -ENOMEM. */
int intent_read(const char *path, const struct intent_mark *mark, struct intent_names *names,
                struct store_ops *out, struct intent_left *left);
void intent_names_free(struct intent_names *names);

/* ---- operations as octets --------------------------------------------------------------------- */

void intent_write_op(struct writer *w, const struct store_op *op, struct intent_links links);
/* One operation on the heap. NULL: not one (the reader has failed), or out of memory (it has not). */
struct store_op *intent_read_op(struct reader *r, struct intent_names *names);

/* ---- for the two files ------------------------------------------------------------------------ */

enum {
    INTENT_VERSION = 1,
    INTENT_BOOT_BYTES = 36,
    INTENT_ENTRY_BYTES = 24, /* in front of the operations */
    /* Offsets in the header. */
    INTENT_AT_BOOT = 16,
    INTENT_AT_ID = 56,
    INTENT_AT_CHECK = 72, /* of all before */
    INTENT_AT_TAIL = 80,
    INTENT_AT_MARKED = 88, /* the database's mark as far as is known */
    INTENT_AT_CLOCK = 96,  /* the service clock at the last entry, milliseconds */
    INTENT_START = 128,
};

/* "SNetIntL", version, size of the file. */
void intent_write_head(uint8_t out[INTENT_AT_BOOT], size_t size);
/* False: the system does not tell. */
bool intent_boot_id(uint8_t out[INTENT_BOOT_BYTES]);
uint64_t intent_check(const uint8_t id[INTENT_ID_BYTES], struct bytes in);

#endif
