/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const level_names[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn",   [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info",   [LOG_DEBUG] = "debug", [LOG_TRACE] = "trace",
};

int log_init(struct log_ring *lg, size_t capacity, enum log_level level)
{
    *lg = (struct log_ring){.capacity = capacity, .level = level};
    lg->records = calloc(capacity, sizeof *lg->records);
    return lg->records != NULL ? 0 : -ENOMEM;
}

void log_deinit(struct log_ring *lg)
{
    free(lg->records);
    *lg = (struct log_ring){0};
}

bool log_begin(struct log_ring *lg, enum log_level level, const char *event)
{
    assert(lg->open == NULL);
    if (!log_wanted(lg, level))
        return false;
    if (lg->count == lg->capacity) {
        lg->dropped++;
        return false;
    }
    lg->open = &lg->records[(lg->head + lg->count) % lg->capacity];
    lg->open->level = level;
    lg->open->event = event;
    lg->open->len = 0;
    lg->open->text[0] = '\0';
    return true;
}

/* Appends; a record that is full ends in "..." and takes no more. */
static void put(struct log_record *rec, const char *text, size_t len)
{
    static const char ellipsis[] = "...";
    const size_t room = LOG_TEXT_MAX - sizeof ellipsis - rec->len;
    if (rec->len > LOG_TEXT_MAX - sizeof ellipsis)
        return;
    if (len > room) {
        memcpy(rec->text + rec->len, ellipsis, sizeof ellipsis);
        rec->len = LOG_TEXT_MAX - 1;
        return;
    }
    memcpy(rec->text + rec->len, text, len);
    rec->len = (uint16_t)(rec->len + len);
    rec->text[rec->len] = '\0';
}

static void put_key(struct log_record *rec, const char *key)
{
    if (rec->len > 0)
        put(rec, " ", 1);
    put(rec, key, strlen(key));
    put(rec, "=", 1);
}

static void put_escaped(struct log_record *rec, struct bytes value)
{
    const bool utf8 = bytes_is_utf8(value);
    for (size_t i = 0; i < value.len; i++) {
        const uint8_t c = value.data[i];
        char esc[5];
        if (c == '"' || c == '\\')
            snprintf(esc, sizeof esc, "\\%c", c);
        else if (c < 0x20 || c == 0x7F || (c >= 0x80 && !utf8))
            snprintf(esc, sizeof esc, "\\x%02x", c);
        else
            snprintf(esc, sizeof esc, "%c", c);
        put(rec, esc, strlen(esc));
    }
}

/* Letters and digits and what topics and client ids are made of stay bare. */
static bool is_bare(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++) {
        const uint8_t c = value.data[i];
        const bool alnum =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == 0 || strchr("-_./:+#$@%[]", c) == NULL))
            return false;
    }
    return value.len > 0;
}

void log_str(struct log_ring *lg, const char *key, struct bytes value)
{
    struct log_record *rec = lg->open;
    put_key(rec, key);
    if (is_bare(value)) {
        put(rec, (const char *)value.data, value.len);
        return;
    }
    put(rec, "\"", 1);
    put_escaped(rec, value);
    put(rec, "\"", 1);
}

void log_text(struct log_ring *lg, const char *key, const char *value)
{
    log_str(lg, key, bytes_str(value));
}

void log_word(struct log_ring *lg, const char *key, const char *value)
{
    put_key(lg->open, key);
    put(lg->open, value, strlen(value));
}

void log_int(struct log_ring *lg, const char *key, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    log_word(lg, key, digits);
}

void log_hex(struct log_ring *lg, const char *key, struct bytes value)
{
    put_key(lg->open, key);
    for (size_t i = 0; i < value.len; i++) {
        char octet[3];
        snprintf(octet, sizeof octet, "%02x", value.data[i]);
        put(lg->open, octet, 2);
    }
}

void log_peer(struct log_ring *lg, const char *key, const struct peer *value)
{
    char text[PEER_TEXT_MAX];
    log_word(lg, key, peer_print(value, text, sizeof text));
}

void log_end(struct log_ring *lg)
{
    assert(lg->open != NULL);
    lg->open = NULL;
    lg->count++;
}

const struct log_record *log_peek(const struct log_ring *lg)
{
    return lg->count > 0 ? &lg->records[lg->head] : NULL;
}

void log_done(struct log_ring *lg)
{
    assert(lg->count > 0);
    lg->head = (lg->head + 1) % lg->capacity;
    lg->count--;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

bool log_level_parse(struct bytes word, enum log_level *level)
{
    for (unsigned i = LOG_ERROR; i <= LOG_TRACE; i++) {
        if (bytes_equal(word, bytes_str(level_names[i]))) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}
