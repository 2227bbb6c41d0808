/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log records as values. Machines must not call out, so they append records to a bounded ring and
 * the application takes them from there, stamps the time, limits repetition and writes them.
 *
 * A record is an event name (a stable constant such as "client.state") and key=value pairs. Values
 * that came from outside are escaped here, so that no datagram can forge a line:
 *
 *     if (log_begin(lg, LOG_INFO, "client.state")) {
 *         log_str(lg, "client", c_id);
 *         log_word(lg, "new", "active");
 *         log_end(lg);
 *     }
 *
 * log_begin() is false, and costs one comparison, when the level is not wanted. When the ring is
 * full the record is dropped and counted, and the counter is reported as "log.dropped".
 */
#ifndef SENNET_BASE_LOG_H
#define SENNET_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/peer.h"

/* Numbers of syslog(3) and journald; trace lies below debug. */
enum log_level {
    LOG_ERROR = 3,
    LOG_WARN = 4,
    LOG_NOTICE = 5,
    LOG_INFO = 6,
    LOG_DEBUG = 7,
    LOG_TRACE = 8
};

enum { LOG_TEXT_MAX = 480, LOG_SUBJECTS = 2 };

struct log_record {
    enum log_level level;
    const char *event;       /* static string */
    uint16_t len;            /* of text */
    bool cut;                /* text ends in "...": more did not fit */
    char text[LOG_TEXT_MAX]; /* "key=value key=value", terminated */
};

/* Whom all records of a ring are about. */
struct log_subject {
    const char *key; /* NULL: nobody */
    struct bytes value;
};

struct log_ring {
    struct log_record *records; /* ring of `capacity` */
    size_t capacity;
    size_t head; /* oldest */
    size_t count;
    uint64_t dropped;     /* records lost because the ring was full */
    enum log_level level; /* records above this are not made */
    struct log_record *open;
    struct log_subject subjects[LOG_SUBJECTS];
    bool sparing;
};

/* 0, or -ENOMEM. */
int log_init(struct log_ring *lg, size_t capacity, enum log_level level);
/* For rings of which there are many, most of them silent: memory is taken with the first record, and given
 * back with the last one; a record that finds none is `dropped`. */
void log_init_sparing(struct log_ring *lg, size_t capacity, enum log_level level);
void log_deinit(struct log_ring *lg);
/* From now on each record begins with that, too; LOG_SUBJECTS times at most. Both are borrowed for as long as
 * the ring lives. */
void log_about(struct log_ring *lg, const char *key, struct bytes value);

static inline bool log_wanted(const struct log_ring *lg, enum log_level level)
{
    return level <= lg->level;
}

/* Opens a record; when true, log_end() must follow. */
bool log_begin(struct log_ring *lg, enum log_level level, const char *event);
void log_str(struct log_ring *lg, const char *key, struct bytes value); /* quoted when needed */
void log_text(struct log_ring *lg, const char *key, const char *value); /* as log_str */
void log_word(struct log_ring *lg, const char *key, const char *value); /* our constant, as is */
void log_int(struct log_ring *lg, const char *key, int64_t value);
void log_hex(struct log_ring *lg, const char *key, struct bytes value);
void log_peer(struct log_ring *lg, const char *key, const struct peer *value);
void log_end(struct log_ring *lg);

/* The oldest record, borrowed until log_done(); NULL when empty. */
const struct log_record *log_peek(const struct log_ring *lg);
void log_done(struct log_ring *lg);

/* "error" .. "trace"; and back: false when the word is unknown. */
const char *log_level_name(enum log_level level);
bool log_level_parse(struct bytes word, enum log_level *level);

#endif
