/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where log records become lines: times are stamped, repetition is limited, text or JSON is written
 * to one descriptor. A machine as the others: both clocks are passed in.
 *
 *     2026-01-01T12:00:00.123Z info   client.state client=meter-7 old=active new=lost
 *     <6>client.state client=meter-7 old=active new=lost                      (under journald)
 *     {"time":"2026-01-01T12:00:00.123Z","level":"info","event":"client.state","client":"meter-7"}
 *
 * Strangers can provoke lines, and an SD card that fills with them is a denial of service: of each
 * event the first few of a minute are written, then one "log.suppressed" with the count. Errors and
 * notices about the gateway itself are never suppressed, and neither is anything when the operator
 * asks for debug lines.
 *
 * Lines are collected and written by logsink_flush(), which never blocks: what a full pipe does not
 * take is dropped, counted and reported later as "log.dropped".
 */
#ifndef SENNET_GATEWAY_LOGSINK_H
#define SENNET_GATEWAY_LOGSINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

enum {
    LOGSINK_EVENTS = 128,        /* distinct event names that are watched */
    LOGSINK_WARN_PER_MINUTE = 5, /* per event name; errors alike */
    LOGSINK_NOTICE_PER_MINUTE = 20,
    LOGSINK_INFO_PER_MINUTE = 60,
};

struct logsink_options {
    int fd;
    bool json;
    bool journal; /* priority prefixes, no time */
    bool verbose; /* no suppression */
};

struct logsink_quota {
    const char *event;
    enum log_level level;
    int64_t until_ms; /* end of its minute */
    unsigned written;
    uint64_t suppressed;
};

struct logsink {
    struct logsink_options options;
    struct logsink_quota quotas[LOGSINK_EVENTS];
    unsigned n_quotas;
    uint64_t suppressed; /* records, since start */
    uint64_t dropped;    /* lines that could not be written, since start */
    uint64_t reported;   /* of these, said in the log */
    int64_t next_ms;     /* earliest summary */
    char buffer[4096];   /* PIPE_BUF: what a pipe that is writable takes at once */
    size_t used;
    unsigned lines;
};

void logsink_init(struct logsink *s, const struct logsink_options *options);

/* One record into the buffer, or into the count of suppressed ones. `wall_ms` is milliseconds since
 * 1970. Flushes by itself when the buffer is full. */
void logsink_write(struct logsink *s, int64_t now_ms, int64_t wall_ms,
                   const struct log_record *record);

/* Takes every record of a ring, and says how many it lost since `*dropped`. */
void logsink_take(struct logsink *s, int64_t now_ms, int64_t wall_ms, struct log_ring *ring,
                  uint64_t *dropped);

/* Summaries that are due. */
void logsink_advance(struct logsink *s, int64_t now_ms, int64_t wall_ms);
int64_t logsink_next_deadline(const struct logsink *s);

/* All pending summaries at once, before the end. */
void logsink_finish(struct logsink *s, int64_t now_ms, int64_t wall_ms);

void logsink_flush(struct logsink *s);

/* The line of a record with its line end (no terminator), pure; its length, 0 when it does not fit.
 * 3200 octets hold any record. */
size_t logsink_format(const struct logsink_options *options, int64_t wall_ms,
                      const struct log_record *record, char *out, size_t size);

/* True when `fd` is the stream that `journal_stream` ($JOURNAL_STREAM, may be NULL) names. */
bool logsink_is_journal(const char *journal_stream, int fd);

/* "2026-01-01T12:00:00.123Z" */
enum { LOGSINK_TIME_SIZE = 32 };

const char *logsink_time(int64_t wall_ms, char out[static LOGSINK_TIME_SIZE]);

#endif
