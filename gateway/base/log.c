/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/text.h"

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

void log_init_sparing(struct log_ring *lg, size_t capacity, enum log_level level)
{
    *lg = (struct log_ring){.capacity = capacity, .level = level, .sparing = true};
}

void log_deinit(struct log_ring *lg)
{
    free(lg->records);
    *lg = (struct log_ring){0};
}

void log_about(struct log_ring *lg, const char *key, struct bytes value)
{
    size_t i = 0;
    while (i < LOG_SUBJECTS && lg->subjects[i].key != NULL)
        i++;
    assert(i < LOG_SUBJECTS);
    if (i < LOG_SUBJECTS)
        lg->subjects[i] = (struct log_subject){.key = key, .value = value};
}

bool log_begin(struct log_ring *lg, enum log_level level, const char *event)
{
    assert(lg->open == NULL);
    if (!log_wanted(lg, level))
        return false;
    if (lg->records == NULL)
        lg->records = calloc(lg->capacity, sizeof *lg->records);
    if (lg->records == NULL || lg->count == lg->capacity) {
        lg->dropped++;
        return false;
    }
    lg->open = &lg->records[(lg->head + lg->count) % lg->capacity];
    lg->open->level = level;
    lg->open->event = event;
    lg->open->len = 0;
    lg->open->cut = false;
    lg->open->text[0] = '\0';
    for (size_t i = 0; i < LOG_SUBJECTS && lg->subjects[i].key != NULL; i++)
        log_str(lg, lg->subjects[i].key, lg->subjects[i].value);
    return true;
}

/* The open record as a text under construction; keep() stores how far it got. */
static struct text text_of(const struct log_ring *lg)
{
    struct log_record *rec = lg->open;
    assert(rec != NULL);
    return (struct text){.out = rec->text, .size = LOG_TEXT_MAX, .len = rec->len, .cut = rec->cut};
}

static void keep(struct log_ring *lg, const struct text *t)
{
    lg->open->len = (uint16_t)t->len;
    lg->open->cut = t->cut;
}

static struct text with_key(const struct log_ring *lg, const char *key)
{
    struct text t = text_of(lg);
    if (t.len > 0)
        text_word(&t, " ");
    text_word(&t, key);
    text_word(&t, "=");
    return t;
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
    struct text t = with_key(lg, key);
    if (is_bare(value))
        text_escaped(&t, value);
    else
        text_quoted(&t, value, value.len);
    keep(lg, &t);
}

void log_text(struct log_ring *lg, const char *key, const char *value)
{
    log_str(lg, key, bytes_str(value));
}

void log_word(struct log_ring *lg, const char *key, const char *value)
{
    struct text t = with_key(lg, key);
    text_word(&t, value);
    keep(lg, &t);
}

void log_int(struct log_ring *lg, const char *key, int64_t value)
{
    struct text t = with_key(lg, key);
    if (value < 0)
        text_word(&t, "-");
    text_dec(&t, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
    keep(lg, &t);
}

void log_hex(struct log_ring *lg, const char *key, struct bytes value)
{
    struct text t = with_key(lg, key);
    text_octets(&t, value);
    keep(lg, &t);
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
    if (lg->sparing && lg->count == 0) {
        free(lg->records);
        lg->records = NULL;
    }
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
