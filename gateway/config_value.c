/* SPDX-License-Identifier: Apache-2.0 */
/* One value: from text into its field, and back. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "config_priv.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Smallest first; the empty one is what a bare number means. */
static const struct unit time_units[] = {
    {"ms", 1       },
    {"s",  1000    },
    {"m",  60000   },
    {"h",  3600000 },
    {"d",  86400000},
    {"",   1000    },
};
static const struct unit size_units[] = {
    {"B",   1      },
    {"KiB", 1 << 10},
    {"MiB", 1 << 20},
    {"GiB", 1 << 30},
    {"",    1      },
};
static const struct unit no_units[] = {
    {"", 1}
};

struct units {
    const struct unit *list;
    size_t n;
};

#define UNITS(list) ((struct units){(list), sizeof(list) / sizeof((list)[0])})

/* A field is read and written by its size, and never as another type than it has. */
static void *field(const struct config_key *key, void *object)
{
    return (uint8_t *)object + key->offset;
}

static const void *field_of(const struct config_key *key, const void *object)
{
    return (const uint8_t *)object + key->offset;
}

static struct units units_of(const struct config_key *key)
{
    if (key->type == TYPE_DURATION)
        return UNITS(time_units);
    return key->type == TYPE_SIZE ? UNITS(size_units) : UNITS(no_units);
}

/* Milliseconds in one of what the field counts; 1 for all that are no durations. */
static int64_t grain(const struct config_key *key)
{
    return key->type == TYPE_DURATION && strcmp(key->unit, "s") == 0 ? 1000 : 1;
}

static void store_number(const struct config_key *key, void *object, int64_t value)
{
    const uint8_t u8 = (uint8_t)value;
    const uint16_t u16 = (uint16_t)value;
    const uint32_t u32 = (uint32_t)value;
    const uint64_t u64 = (uint64_t)value;
    switch (key->size) {
    case sizeof u8:
        memcpy(field(key, object), &u8, sizeof u8);
        break;
    case sizeof u16:
        memcpy(field(key, object), &u16, sizeof u16);
        break;
    case sizeof u32:
        memcpy(field(key, object), &u32, sizeof u32);
        break;
    default:
        assert(key->size == sizeof u64);
        memcpy(field(key, object), &u64, sizeof u64);
        break;
    }
}

static int64_t load_number(const struct config_key *key, const void *object)
{
    uint8_t u8 = 0;
    uint16_t u16 = 0;
    uint32_t u32 = 0;
    uint64_t u64 = 0;
    switch (key->size) {
    case sizeof u8:
        memcpy(&u8, field_of(key, object), sizeof u8);
        return u8;
    case sizeof u16:
        memcpy(&u16, field_of(key, object), sizeof u16);
        return u16;
    case sizeof u32:
        memcpy(&u32, field_of(key, object), sizeof u32);
        return u32;
    default:
        assert(key->size == sizeof u64);
        memcpy(&u64, field_of(key, object), sizeof u64);
        return (int64_t)u64;
    }
}

static const char *load_text(const struct config_key *key, const void *object)
{
    const char *text = NULL;
    memcpy(&text, field_of(key, object), sizeof text);
    return text;
}

const char *config_not_text(struct bytes text)
{
    if (text.len > 0 && memchr(text.data, 0, text.len) != NULL)
        return "a NUL octet";
    if (!bytes_is_utf8(text))
        return "octets that are not UTF-8 text";
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < 0x20 || text.data[i] == 0x7F)
            return "a control character";
    }
    return NULL;
}

/* ---- printing -------------------------------------------------------------------------------- */

void config_number_print(const struct config_key *key, int64_t value, char *out, size_t size)
{
    if (key->type == TYPE_HEX) {
        snprintf(out, size, key->max > UINT8_MAX ? "0x%04" PRIX64 : "0x%02" PRIX64,
                 (uint64_t)value);
        return;
    }
    const struct units units = units_of(key);
    const int64_t whole = value * grain(key);
    const struct unit *best = &units.list[0];
    for (size_t i = 1; i < units.n && value != 0; i++) {
        const struct unit *u = &units.list[i];
        if (u->name[0] != '\0' && whole % u->factor == 0)
            best = u;
    }
    if (value == 0 && key->type == TYPE_DURATION)
        best = &units.list[1];
    /* "1400", not "1400B" */
    const char *suffix = key->type == TYPE_SIZE && best->factor == 1 ? "" : best->name;
    snprintf(out, size, "%" PRId64 "%s", whole / best->factor, suffix);
}

static void list_levels(char *out, size_t size)
{
    size_t n = 0;
    for (unsigned level = LOG_ERROR; level <= LOG_TRACE; level++) {
        const char *before = level == LOG_ERROR ? "" : level == LOG_TRACE ? " or " : ", ";
        const int more =
            snprintf(out + n, size - n, "%s%s", before, log_level_name((enum log_level)level));
        n += (size_t)more < size - n ? (size_t)more : 0;
    }
}

void config_range_print(const struct config_key *key, char *out, size_t size)
{
    char low[CONFIG_TEXT_ROOM / 4];
    char high[CONFIG_TEXT_ROOM / 4];
    switch (key->type) {
    case TYPE_NUMBER:
    case TYPE_HEX:
    case TYPE_DURATION:
    case TYPE_SIZE:
        config_number_print(key, key->min, low, sizeof low);
        config_number_print(key, key->max, high, sizeof high);
        snprintf(out, size, "%s to %s", low, high);
        break;
    case TYPE_LEVEL:
        list_levels(out, size);
        break;
    case TYPE_FORMAT:
        snprintf(out, size, "text or json");
        break;
    case TYPE_SWITCH:
        snprintf(out, size, "yes or no");
        break;
    case TYPE_OVERFLOW:
    case TYPE_QOS:
    case TYPE_FLOW:
    case TYPE_PIN:
    case TYPE_API:
    case TYPE_FAMILY:
    case TYPE_FRAMING:
    case TYPE_DURABLE:
    case TYPE_FULL:
    case TYPE_TLS_MIN:
    case TYPE_MQTT:
    case TYPE_SESSIONS:
    case TYPE_RETAIN:
    case TYPE_DIRECTION:
        config_words_print(key->type, out, size);
        break;
    case TYPE_TEXT:
    case TYPE_PLAIN:
    case TYPE_PATH:
        snprintf(out, size, "%" PRId64 " to %" PRId64 " octets", key->min, key->max);
        break;
    }
}

/* Would the lexer read it back as it is, without a warning? */
static bool is_bare(struct bytes text)
{
    if (text.len == 0 || strchr("\"#;= ", text.data[0]) != NULL || text.data[text.len - 1] == ' ')
        return false;
    for (size_t i = 1; i < text.len; i++) {
        if (text.data[i - 1] == ' ' && (text.data[i] == '#' || text.data[i] == ';'))
            return false;
    }
    return config_not_text(text) == NULL;
}

static void print_quoted(const char *text, FILE *out)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        const uint8_t c = (uint8_t)*text;
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            fprintf(out, "\\x%02x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

void config_text_print(const char *text, FILE *out)
{
    if (is_bare(bytes_str(text)))
        fputs(text, out);
    else
        print_quoted(text, out);
}

void config_argument_print(const char *text, FILE *out)
{
    if (is_bare(bytes_str(text)) && strpbrk(text, "[]\\") == NULL)
        fputs(text, out);
    else
        print_quoted(text, out);
}

bool config_value_is_set(const struct config_key *key, const void *object)
{
    switch (key->type) {
    case TYPE_NUMBER:
    case TYPE_HEX:
    case TYPE_DURATION:
    case TYPE_SIZE:
        return load_number(key, object) >= key->min;
    case TYPE_TEXT:
    case TYPE_PLAIN:
    case TYPE_PATH:
        return load_text(key, object) != NULL;
    case TYPE_SWITCH:
    case TYPE_OVERFLOW:
    case TYPE_QOS:
    case TYPE_FLOW:
    case TYPE_PIN:
    case TYPE_API:
    case TYPE_FAMILY:
    case TYPE_FRAMING:
    case TYPE_DURABLE:
    case TYPE_FULL:
    case TYPE_TLS_MIN:
    case TYPE_MQTT:
    case TYPE_SESSIONS:
    case TYPE_RETAIN:
    case TYPE_DIRECTION:
        return load_number(key, object) != 0;
    case TYPE_LEVEL:
    case TYPE_FORMAT:
        break;
    }
    return true;
}

void config_value_write(const struct config_key *key, const void *object, FILE *out)
{
    char number[CONFIG_TEXT_ROOM];
    switch (key->type) {
    case TYPE_NUMBER:
    case TYPE_HEX:
    case TYPE_DURATION:
    case TYPE_SIZE:
        config_number_print(key, load_number(key, object), number, sizeof number);
        /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): the printer ends it */
        fputs(number, out);
        break;
    case TYPE_TEXT:
    case TYPE_PLAIN:
    case TYPE_PATH:
        config_text_print(load_text(key, object), out);
        break;
    case TYPE_LEVEL:
        fputs(log_level_name((enum log_level)load_number(key, object)), out);
        break;
    case TYPE_FORMAT:
        fputs(load_number(key, object) != 0 ? "json" : "text", out);
        break;
    case TYPE_SWITCH:
        fputs(load_number(key, object) == SN_YES ? "yes" : "no", out);
        break;
    case TYPE_OVERFLOW:
    case TYPE_QOS:
    case TYPE_FLOW:
    case TYPE_PIN:
    case TYPE_API:
    case TYPE_FAMILY:
    case TYPE_FRAMING:
    case TYPE_DURABLE:
    case TYPE_FULL:
    case TYPE_TLS_MIN:
    case TYPE_MQTT:
    case TYPE_SESSIONS:
    case TYPE_RETAIN:
    case TYPE_DIRECTION:
        fputs(config_word(key->type, (size_t)load_number(key, object)), out);
        break;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

/* What is being read, for the messages. */
struct reading {
    struct config_report *report;
    struct config_place at;
    const struct config_key *key;
    struct bytes text; /* terminated */
};

static const char *text_of(const struct reading *in)
{
    return (const char *)in->text.data;
}

static bool fail(const struct reading *in, enum config_message m)
{
    char range[CONFIG_TEXT_ROOM];
    config_range_print(in->key, range, sizeof range);
    config_say3(in->report, in->at, m, text_of(in), in->key->name, range);
    return false;
}

/* Digits, blanks, unit. INT64_MAX stands for whatever is too large. False: not in this form. */
static bool read_scaled(struct bytes text, struct units units, int64_t *out)
{
    struct reader r = rd_of(text);
    int64_t value = 0;
    size_t digits = 0;
    for (; digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9'; digits++) {
        const int64_t digit = rd_u8(&r) - '0';
        value = value > (INT64_MAX - digit) / 10 ? INT64_MAX : value * 10 + digit;
    }
    struct bytes unit = rd_rest(&r);
    if (digits == 0)
        return false;
    r = rd_of(unit);
    while (unit.len > 0 && unit.data[0] == ' ') {
        rd_u8(&r);
        unit = bytes_of(r.at, rd_left(&r));
    }
    for (size_t i = 0; i < units.n; i++) {
        const int64_t factor = units.list[i].factor;
        if (bytes_equal(unit, bytes_str(units.list[i].name))) {
            *out = value > INT64_MAX / factor ? INT64_MAX : value * factor;
            return true;
        }
    }
    return false;
}

/* "0x" and hexadecimal digits. */
static bool read_hex(struct bytes text, int64_t *out)
{
    struct reader r = rd_of(text);
    int64_t value = 0;
    if (text.len < 3 || rd_u8(&r) != '0' || (rd_u8(&r) | 0x20) != 'x')
        return false;
    while (rd_left(&r) > 0) {
        const uint8_t c = rd_u8(&r);
        const uint8_t folded = c | 0x20;
        const bool letter = folded >= 'a' && folded <= 'f';
        if (!letter && (c < '0' || c > '9'))
            return false;
        const int64_t digit = letter ? folded - 'a' + 10 : c - '0';
        value = value > INT64_MAX / 16 - 16 ? INT64_MAX / 16 : value * 16 + digit;
    }
    *out = value;
    return true;
}

static bool read_number(const struct reading *in, void *object)
{
    const struct config_key *key = in->key;
    int64_t value = 0;
    if (!(key->type == TYPE_HEX && read_hex(in->text, &value)) &&
        !read_scaled(in->text, units_of(key), &value)) {
        return fail(in, key->type == TYPE_DURATION ? SAY_NOT_DURATION
                        : key->type == TYPE_SIZE   ? SAY_NOT_SIZE
                                                   : SAY_NOT_NUMBER);
    }
    if (value != INT64_MAX && value % grain(key) != 0)
        return fail(in, SAY_NOT_SECONDS);
    if (value / grain(key) < key->min || value / grain(key) > key->max)
        return fail(in, SAY_RANGE);
    store_number(key, object, value / grain(key));
    return true;
}

static bool is_plain(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        const bool alnum =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && c != '.' && c != '-' && c != '_')
            return false;
    }
    return true;
}

/* `dir`/`text`, or `text` alone when it is absolute. */
static char *resolve(struct config_report *r, const char *dir, struct bytes text)
{
    if (dir == NULL || text.data[0] == '/')
        return config_copy(r, text);
    const size_t size = strlen(dir) + 1 + text.len + 1;
    char *path = malloc(size);
    if (path == NULL)
        r->out_of_memory = true;
    else
        snprintf(path, size, "%s/%s", dir, (const char *)text.data);
    return path;
}

static bool read_text(const struct reading *in, const char *dir, void *object)
{
    const struct config_key *key = in->key;
    const char *wrong = config_not_text(in->text);
    if (wrong != NULL) {
        config_say2(in->report, in->at, SAY_VALUE_NOT_TEXT, key->name, wrong);
        return false;
    }
    if (in->text.len > (size_t)key->max) {
        char most[CONFIG_TEXT_ROOM];
        snprintf(most, sizeof most, "%" PRId64, key->max);
        config_say2(in->report, in->at, SAY_VALUE_TOO_LONG, key->name, most);
        return false;
    }
    if (key->type == TYPE_PLAIN && !is_plain(in->text))
        return fail(in, SAY_NOT_PLAIN);
    char *copy = key->type == TYPE_PATH ? resolve(in->report, dir, in->text)
                                        : config_copy(in->report, in->text);
    char *old = NULL;
    memcpy(&old, field(key, object), sizeof old);
    free(old);
    memcpy(field(key, object), &copy, sizeof copy);
    return copy != NULL;
}

static bool is_word(const struct reading *in, const char *word)
{
    return bytes_equal(in->text, bytes_str(word));
}

static bool read_word(const struct reading *in, void *object)
{
    const char *word = NULL;
    for (size_t i = 1; (word = config_word(in->key->type, i)) != NULL; i++) {
        if (is_word(in, word)) {
            store_number(in->key, object, (int64_t)i);
            return true;
        }
    }
    return fail(in, SAY_NOT_CHOICE);
}

static bool read_choice(const struct reading *in, void *object)
{
    const struct config_key *key = in->key;
    enum log_level level = LOG_INFO;
    if (key->type == TYPE_LEVEL && log_level_parse(in->text, &level))
        store_number(key, object, level);
    else if (key->type == TYPE_FORMAT && (is_word(in, "text") || is_word(in, "json")))
        store_number(key, object, is_word(in, "json"));
    else if (key->type == TYPE_SWITCH && (is_word(in, "yes") || is_word(in, "no")))
        store_number(key, object, is_word(in, "yes") ? SN_YES : SN_NO);
    else
        return fail(in, SAY_NOT_CHOICE);
    return true;
}

bool config_value_read(struct config_report *r, struct config_place at,
                       const struct config_key *key, struct bytes text, const char *dir,
                       void *object)
{
    const struct reading in = {.report = r, .at = at, .key = key, .text = text};
    if (text.len == 0) {
        char hint[CONFIG_TEXT_ROOM] = "";
        if (key->fallback != NULL)
            snprintf(hint, sizeof hint, "; leave the line out for the default, %s", key->fallback);
        config_say2(r, at, SAY_NO_VALUE, key->name, hint);
        return false;
    }
    switch (key->type) {
    case TYPE_NUMBER:
    case TYPE_HEX:
    case TYPE_DURATION:
    case TYPE_SIZE:
        return read_number(&in, object);
    case TYPE_TEXT:
    case TYPE_PLAIN:
    case TYPE_PATH:
        return read_text(&in, dir, object);
    case TYPE_LEVEL:
    case TYPE_FORMAT:
    case TYPE_SWITCH:
        return read_choice(&in, object);
    case TYPE_OVERFLOW:
    case TYPE_QOS:
    case TYPE_FLOW:
    case TYPE_PIN:
    case TYPE_API:
    case TYPE_FAMILY:
    case TYPE_FRAMING:
    case TYPE_DURABLE:
    case TYPE_FULL:
    case TYPE_TLS_MIN:
    case TYPE_MQTT:
    case TYPE_SESSIONS:
    case TYPE_RETAIN:
    case TYPE_DIRECTION:
        return read_word(&in, object);
    }
    return false;
}

void config_fallbacks(struct config_report *r, enum config_section s, void *object)
{
    for (size_t i = 0; i < config_n_keys; i++) {
        const struct config_key *key = &config_keys[i];
        if (key->section != s || key->fallback == NULL)
            continue;
        const struct config_place nowhere = {0};
        const bool ok = config_value_read(r, nowhere, key, bytes_str(key->fallback), NULL, object);
        assert(ok || r->out_of_memory);
        (void)ok;
    }
}
