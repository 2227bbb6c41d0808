/* SPDX-License-Identifier: Apache-2.0 */
#include "logsink.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"

enum { MINUTE_MS = 60000 };

/* ---- lines ----------------------------------------------------------------------------------- */

const char *logsink_time(int64_t wall_ms, char out[static LOGSINK_TIME_SIZE])
{
    const time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    if (wall_ms < 0 || gmtime_r(&seconds, &tm) == NULL) {
        snprintf(out, LOGSINK_TIME_SIZE, "-");
        return out;
    }
    const size_t n = strftime(out, LOGSINK_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, LOGSINK_TIME_SIZE - n, ".%03uZ", (unsigned)(wall_ms % 1000));
    return out;
}

static void put(struct writer *w, const char *text)
{
    wr_bytes(w, bytes_str(text));
}

/* One UTF-8 sequence of `in`, or one replacement for an octet that is none. */
static void put_utf8(struct writer *w, struct reader *in)
{
    for (size_t n = 1; n <= 4 && n <= rd_left(in); n++) {
        const struct bytes sequence = bytes_of(in->at, n);
        if (bytes_is_utf8(sequence)) {
            wr_bytes(w, rd_bytes(in, n));
            return;
        }
    }
    rd_u8(in);
    put(w, "\\ufffd");
}

static bool is_ascii_escape(const struct reader *in)
{
    return rd_left(in) >= 3 && in->at[0] == 'x' && in->at[1] < '8' && isxdigit(in->at[1]) &&
           isxdigit(in->at[2]);
}

/* What stands after a backslash in a record: the same character, or xHH. */
static void put_json_escape(struct writer *w, struct reader *in)
{
    if (is_ascii_escape(in)) {
        rd_u8(in);
        put(w, "\\u00");
        wr_bytes(w, rd_bytes(in, 2));
    } else if (rd_left(in) > 0 && *in->at == '"') {
        rd_u8(in);
        put(w, "\\\"");
    } else {
        put(w, "\\\\");
        if (rd_left(in) > 0 && *in->at == '\\')
            rd_u8(in);
    }
}

/* What our own writers never leave unescaped, but JSON must not contain. */
static void put_json_control(struct writer *w, uint8_t c)
{
    char text[8];
    snprintf(text, sizeof text, "\\u%04x", c);
    put(w, text);
}

static void put_json_char(struct writer *w, struct reader *in)
{
    if (*in->at == '\\') {
        rd_u8(in);
        put_json_escape(w, in);
    } else if (*in->at == '"' || *in->at < 0x20) {
        put_json_control(w, rd_u8(in));
    } else {
        put_utf8(w, in);
    }
}

static void put_json_value(struct writer *w, struct reader *in)
{
    const bool quoted = rd_left(in) > 0 && *in->at == '"';
    if (quoted)
        rd_u8(in);
    wr_u8(w, '"');
    while (rd_left(in) > 0 && *in->at != (quoted ? '"' : ' '))
        put_json_char(w, in);
    wr_u8(w, '"');
    rd_u8(in); /* the quote or the blank, if any */
    if (quoted && rd_left(in) > 0 && *in->at == ' ')
        rd_u8(in);
}

static bool is_taken(struct bytes key)
{
    return bytes_equal(key, bytes_str("time")) || bytes_equal(key, bytes_str("level")) ||
           bytes_equal(key, bytes_str("event"));
}

/* `key=value key="quoted value"` as members of an object. Values stay strings: a client named "17"
 * must not look different from one named "a17". */
static void put_json_members(struct writer *w, struct bytes text)
{
    struct reader in = rd_of(text);
    while (rd_left(&in) > 0) {
        const uint8_t *start = in.at;
        while (rd_left(&in) > 0 && *in.at != '=' && *in.at != ' ')
            rd_u8(&in);
        const struct bytes key = bytes_of(start, (size_t)(in.at - start));
        const bool has_value = rd_u8(&in) == '=';
        if (key.len == 0 || !has_value) {
            /* Our own writers make none; a cut record may end in half a key. */
            continue;
        }
        put(w, ",\"");
        for (struct reader k = rd_of(key); rd_left(&k) > 0;)
            put_json_char(w, &k);
        put(w, is_taken(key) ? "_\":" : "\":");
        put_json_value(w, &in);
    }
}

static void put_json(struct writer *w, bool with_time, int64_t wall_ms,
                     const struct log_record *record)
{
    char time_text[LOGSINK_TIME_SIZE];
    put(w, "{");
    if (with_time) {
        put(w, "\"time\":\"");
        put(w, logsink_time(wall_ms, time_text));
        put(w, "\",");
    }
    put(w, "\"level\":\"");
    put(w, log_level_name(record->level));
    put(w, "\",\"event\":\"");
    put(w, record->event);
    put(w, "\"");
    put_json_members(w, bytes_of(record->text, record->len));
    put(w, "}");
}

static void put_text(struct writer *w, bool with_time, int64_t wall_ms,
                     const struct log_record *record)
{
    if (with_time) {
        char time_text[LOGSINK_TIME_SIZE];
        char head[LOGSINK_TIME_SIZE + 16];
        snprintf(head, sizeof head, "%s %-6s ", logsink_time(wall_ms, time_text),
                 log_level_name(record->level));
        put(w, head);
    }
    put(w, record->event);
    if (record->len > 0)
        wr_u8(w, ' ');
    wr_bytes(w, bytes_of(record->text, record->len));
}

size_t logsink_format(const struct logsink_options *options, int64_t wall_ms,
                      const struct log_record *record, char *out, size_t size)
{
    struct writer w = wr_to(out, size);
    if (options->journal) {
        char priority[8];
        snprintf(priority, sizeof priority, "<%d>",
                 record->level > LOG_DEBUG ? (int)LOG_DEBUG : (int)record->level);
        put(&w, priority);
    }
    if (options->json)
        put_json(&w, !options->journal, wall_ms, record);
    else
        put_text(&w, !options->journal, wall_ms, record);
    wr_u8(&w, '\n');
    return wr_close(&w);
}

bool logsink_is_journal(const char *journal_stream, int fd)
{
    unsigned long long device = 0;
    unsigned long long inode = 0;
    struct stat st;
    /* NOLINTNEXTLINE(cert-err34-c): systemd wrote it; a wrong number is no file of ours */
    if (journal_stream == NULL || sscanf(journal_stream, "%llu:%llu", &device, &inode) != 2)
        return false;
    return fstat(fd, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* ---- writing --------------------------------------------------------------------------------- */

void logsink_init(struct logsink *s, const struct logsink_options *options)
{
    memset(s, 0, sizeof *s);
    s->options = *options;
    s->next_ms = TIME_NEVER;
}

/* A pipe or socket that is full would stop the loop, so ask first. */
static bool writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

void logsink_flush(struct logsink *s)
{
    size_t done = 0;
    while (done < s->used && writable(s->options.fd)) {
        const ssize_t n = write(s->options.fd, s->buffer + done, s->used - done);
        if (n > 0)
            done += (size_t)n;
        else if (errno != EINTR)
            break;
    }
    if (done < s->used)
        s->dropped += s->lines;
    s->used = 0;
    s->lines = 0;
}

static void emit(struct logsink *s, int64_t wall_ms, const struct log_record *record)
{
    size_t len = logsink_format(&s->options, wall_ms, record, s->buffer + s->used,
                                sizeof s->buffer - s->used);
    if (len == 0) {
        logsink_flush(s);
        len = logsink_format(&s->options, wall_ms, record, s->buffer, sizeof s->buffer);
    }
    assert(len > 0);
    s->used += len;
    s->lines++;
}

/* A record of our own, beside the rings. */
static struct log_record own(enum log_level level, const char *event, const char *key_values,
                             uint64_t count)
{
    struct log_record record = {.level = level, .event = event};
    const int n = snprintf(record.text, sizeof record.text, "%s count=%" PRIu64, key_values, count);
    record.len = (uint16_t)(n < LOG_TEXT_MAX ? n : LOG_TEXT_MAX - 1);
    return record;
}

/* ---- repetition ------------------------------------------------------------------------------ */

static void summarise(struct logsink *s, struct logsink_quota *q, int64_t wall_ms)
{
    if (q->suppressed > 0) {
        char what[128];
        snprintf(what, sizeof what, "event=%s", q->event);
        const struct log_record record = own(q->level, "log.suppressed", what, q->suppressed);
        emit(s, wall_ms, &record);
    }
    q->suppressed = 0;
    q->written = 0;
}

/* The life of the gateway and of its parts: rare, and what an operator looks for first. */
static bool is_lifecycle(const struct log_record *record)
{
    static const char *const prefixes[] = {"gateway.", "broker.", "link.", "stats."};
    if (record->level != LOG_ERROR && record->level != LOG_NOTICE)
        return false;
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strncmp(record->event, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    return false;
}

/* Records of that level and name written per minute; 0: without limit. */
static unsigned limit_of(const struct logsink *s, const struct log_record *record)
{
    if (s->options.verbose || is_lifecycle(record))
        return 0;
    switch (record->level) {
    case LOG_ERROR:
    case LOG_WARN:
        return LOGSINK_WARN_PER_MINUTE;
    case LOG_NOTICE:
        return LOGSINK_NOTICE_PER_MINUTE;
    case LOG_INFO:
        return LOGSINK_INFO_PER_MINUTE;
    case LOG_DEBUG:
    case LOG_TRACE:
        break;
    }
    return 0;
}

/* The quota of that event, made when new; NULL when there is no place for more. */
static struct logsink_quota *quota_of(struct logsink *s, const struct log_record *record)
{
    for (unsigned i = 0; i < s->n_quotas; i++) {
        struct logsink_quota *q = &s->quotas[i];
        if (q->level == record->level && strcmp(q->event, record->event) == 0)
            return q;
    }
    if (s->n_quotas == LOGSINK_EVENTS)
        return NULL;
    struct logsink_quota *q = &s->quotas[s->n_quotas++];
    *q = (struct logsink_quota){.event = record->event, .level = record->level};
    return q;
}

void logsink_write(struct logsink *s, int64_t now_ms, int64_t wall_ms,
                   const struct log_record *record)
{
    const unsigned limit = limit_of(s, record);
    struct logsink_quota *q = limit > 0 ? quota_of(s, record) : NULL;
    if (q != NULL) {
        if (now_ms >= q->until_ms) {
            summarise(s, q, wall_ms);
            q->until_ms = time_add(now_ms, MINUTE_MS);
        }
        if (q->written == limit) {
            q->suppressed++;
            s->suppressed++;
            s->next_ms = time_min(s->next_ms, q->until_ms);
            return;
        }
        q->written++;
    }
    emit(s, wall_ms, record);
}

void logsink_take(struct logsink *s, int64_t now_ms, int64_t wall_ms, struct log_ring *ring,
                  uint64_t *dropped)
{
    const struct log_record *record = NULL;
    while ((record = log_peek(ring)) != NULL) {
        logsink_write(s, now_ms, wall_ms, record);
        log_done(ring);
    }
    if (ring->dropped != *dropped) {
        const struct log_record lost =
            own(LOG_WARN, "log.dropped", "where=ring", ring->dropped - *dropped);
        *dropped = ring->dropped;
        logsink_write(s, now_ms, wall_ms, &lost);
    }
}

void logsink_advance(struct logsink *s, int64_t now_ms, int64_t wall_ms)
{
    if (s->dropped != s->reported && writable(s->options.fd)) {
        const struct log_record lost =
            own(LOG_WARN, "log.dropped", "where=output", s->dropped - s->reported);
        s->reported = s->dropped;
        emit(s, wall_ms, &lost);
    }
    if (now_ms < s->next_ms)
        return;
    s->next_ms = TIME_NEVER;
    for (unsigned i = 0; i < s->n_quotas; i++) {
        struct logsink_quota *q = &s->quotas[i];
        if (q->suppressed > 0 && now_ms >= q->until_ms)
            summarise(s, q, wall_ms);
        else if (q->suppressed > 0)
            s->next_ms = time_min(s->next_ms, q->until_ms);
    }
}

int64_t logsink_next_deadline(const struct logsink *s)
{
    return s->next_ms;
}

void logsink_finish(struct logsink *s, int64_t now_ms, int64_t wall_ms)
{
    logsink_advance(s, now_ms, wall_ms);
    for (unsigned i = 0; i < s->n_quotas; i++)
        summarise(s, &s->quotas[i], wall_ms);
    logsink_flush(s);
}
