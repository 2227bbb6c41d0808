/* SPDX-License-Identifier: Apache-2.0 */
#include "store_format.h"

#include <string.h>

#include "base/peer.h"

#include "mqttsn/packet.h"
#include "mqttsn/port.h"
#include "mqttsn/topic.h"
#include "store_priv.h"

/* ---- what may stand in a line ---------------------------------------------------------------- */

#define CLIENT_MAX  (((int64_t)1 << SN_CLIENT_KEY_BITS) - 1)
#define COUNTER_MAX ((int64_t)1 << 62) /* there is a next one, for ever */
#define CLOCK_MAX   ((int64_t)1 << 50) /* the same */

/* Levels and length were judged, or not, by who sent it; here it only must not confuse anybody. */
static bool is_topic(struct bytes name)
{
    return bytes_is_utf8(name) && (name.len == 0 || (memchr(name.data, '+', name.len) == NULL &&
                                                     memchr(name.data, '#', name.len) == NULL));
}

static const char *const states[] = {"away", "active", "asleep", NULL};
static const char *const kinds[] = {"ip4", "ip6", "eui64", "short", "serial", "group", NULL};
static const char *const phases[] = {"waiting", "sent", "received", NULL};

#define INT(name, min, max)                                                                        \
    {                                                                                              \
        (name), FORMAT_INT, false, (min), (max), NULL, NULL, NULL                                  \
    }
#define U16(name) INT(name, 0, UINT16_MAX)
/* Not in files of version 1, or 2. */
#define SINCE_2(name)                                                                              \
    {                                                                                              \
        (name), FORMAT_INT, true, 0, UINT16_MAX, NULL, NULL, NULL                                  \
    }
/* Not in files of version 1 to 3. */
#define EXPIRY(name)                                                                               \
    {                                                                                              \
        (name), FORMAT_INT, true, 0, CLOCK_MAX, NULL, NULL, NULL                                   \
    }
#define QOS(name)    INT(name, 0, 2)
#define CLIENT(name) INT(name, 1, CLIENT_MAX)
#define COUNT(name)  INT(name, 0, INT64_MAX)
#define FLAG(name)                                                                                 \
    {                                                                                              \
        (name), FORMAT_FLAG, false, 0, 1, NULL, NULL, NULL                                         \
    }
#define WORD(name, words)                                                                          \
    {                                                                                              \
        (name), FORMAT_WORD, false, 0, 0, (words), NULL, NULL                                      \
    }
#define TEXT(name, sound, should_be)                                                               \
    {                                                                                              \
        (name), FORMAT_TEXT, false, 1, SN_TOPIC_MAX, NULL, (sound), (should_be)                    \
    }
#define TOPIC(name) TEXT(name, is_topic, "a topic name")
#define BODY(name)                                                                                 \
    {                                                                                              \
        (name), FORMAT_BODY, true, 0, FORMAT_BODY_MAX, NULL, NULL, NULL                            \
    }

const struct format formats[FORMAT_KINDS] = {
    [FORMAT_STATE] = {"state",
                      NULL,               {INT("version", 1, FORMAT_VERSION),
                       {"written", FORMAT_TEXT, true, 0, 64, NULL, NULL, NULL},
                       {"seed", FORMAT_HEX, false, STORE_SEED_BYTES, STORE_SEED_BYTES, NULL, NULL,
                        NULL},
                       INT("clock_ms", 0, CLOCK_MAX),
                       EXPIRY("expiry_clock_ms")}                                                          },
    [FORMAT_SINK] = {"sink",
                      "number",           {INT("number", 0, STORE_SINKS_MAX),
                      TEXT("broker", bytes_is_utf8, "the name of a broker"),
                      {"client_id", FORMAT_TEXT, true, 1, SN_TOPIC_MAX, NULL, bytes_is_utf8,
                       "UTF-8 without NUL"}}                                                           },
    [FORMAT_SESSION] =
        {"session",
                      "client",           {CLIENT("client"),
          TEXT("client_id", bytes_is_utf8, "UTF-8 without NUL"),
          WORD("state", states),
          FLAG("clean"),
          U16("keep_alive_s"),
          U16("sleep_s"),
          U16("next_msg_id"),
          {"link", FORMAT_TEXT, true, 1, 255, NULL, bytes_is_utf8, "the name of a link"},
          {"address_kind", FORMAT_WORD, true, 0, 0, kinds, NULL, NULL},
          {"address", FORMAT_HEX, true, 0, PEER_ADDR_MAX, NULL, NULL, NULL},
          {"path", FORMAT_HEX, true, 1, PEER_PATH_MAX, NULL, NULL, NULL},
          {"will_topic", FORMAT_TEXT, true, 1, SN_PACKET_MAX, NULL, is_topic, "a topic name"},
          BODY("will_body"),
          {"will_qos", FORMAT_INT, true, 0, 2, NULL, NULL, NULL},
          {"will_retain", FORMAT_FLAG, true, 0, 1, NULL, NULL, NULL},
          SINCE_2("connection")}                                                                       },
    [FORMAT_TOPIC] = {"topic",
                      "client, topic_id", {CLIENT("client"), U16("topic_id"), TOPIC("name"), U16("alias"),
                       INT("kind", SN_TOPIC_NORMAL, SN_TOPIC_RESERVED), FLAG("given"),
                       SINCE_2("known_in"), SINCE_2("refused_in")}                           },
    [FORMAT_EXCHANGE] = {"exchange",
                      "client, msg_id",   {CLIENT("client"),
                          U16("msg_id"),
                          U16("topic_id"),
                          {"print", FORMAT_PRINT, false, 8, 8, NULL, NULL, NULL}}              },
    [FORMAT_SUBSCRIPTION] = {"subscription",
                      "client, filter",   {CLIENT("client"),
                              TEXT("filter", sn_topic_filter_ok, "a topic filter"), QOS("qos")}},
    [FORMAT_MESSAGE] = {"message",
                      "journal",          {INT("journal", 1, COUNTER_MAX), TOPIC("topic"), BODY("body"), QOS("qos"),
                         FLAG("retain"), SINCE_2("sink"), EXPIRY("expires_ms")}                       },
    [FORMAT_DELIVERY] = {"delivery",
                      "client, number",   {CLIENT("client"),
                          INT("number", 0, COUNTER_MAX),
                          {"journal", FORMAT_INT, true, 1, COUNTER_MAX, NULL, NULL, NULL},
                          {"topic", FORMAT_TEXT, true, 0, SN_TOPIC_MAX, NULL, is_topic,
                           "a topic name"},
                          BODY("body"),
                          QOS("qos"),
                          FLAG("retain"),
                          WORD("phase", phases),
                          U16("msg_id"),
                          EXPIRY("expires_ms")}                                                },
    [FORMAT_SPOOL] = {"spool",
                      "number",           {INT("number", 1, INT64_MAX),
                       INT("client", SN_NO_CLIENT, CLIENT_MAX),
                       TOPIC("topic"),
                       BODY("body"),
                       QOS("qos"),
                       FLAG("retain"),
                       FLAG("will"),
                       INT("clock_ms", 0, CLOCK_MAX),
                       {"origin", FORMAT_HEX, true, 0, UINT16_MAX, NULL, NULL, NULL}}                  },
    [FORMAT_END] = {"end",
                      NULL,               {COUNT("session"),
                     COUNT("topic"),
                     COUNT("exchange"),
                     COUNT("subscription"),
                     COUNT("message"),
                     COUNT("delivery"),
                     COUNT("spool"),
                     {"sink", FORMAT_INT, true, 0, INT64_MAX, NULL, NULL, NULL}}                           },
};

size_t format_columns(const struct format *f)
{
    size_t n = 0;
    while (n < FORMAT_COLUMNS_MAX && f->columns[n].name != NULL)
        n++;
    return n;
}

/* ---- octets ---------------------------------------------------------------------------------- */

bool format_is_readable(struct bytes octets)
{
    if (!bytes_is_utf8(octets))
        return false;
    for (size_t i = 0; i < octets.len; i++) {
        const uint8_t c = octets.data[i];
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F)
            return false;
        /* C1: C2 80 to C2 9F. */
        if (c == 0xC2 && i + 1 < octets.len && octets.data[i + 1] < 0xA0)
            return false;
    }
    return true;
}

static int digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    const uint8_t low = c | 0x20;
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

bool format_unhex(struct bytes digits, uint8_t *out)
{
    if (digits.len % 2 != 0)
        return false;
    for (size_t i = 0; i < digits.len / 2; i++) {
        const int high = digit_of(digits.data[2 * i]);
        const int low = digit_of(digits.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* ---- statements ------------------------------------------------------------------------------ */

static struct bytes octets_of(sqlite3_value *value)
{
    const void *const data = sqlite3_value_blob(value);
    return bytes_of(data, data != NULL ? (size_t)sqlite3_value_bytes(value) : 0);
}

/* readable(X): X as text, or NULL if that should be written in digits. */
static void sql_readable(sqlite3_context *context, int n, sqlite3_value **values)
{
    (void)n;
    if (sqlite3_value_type(values[0]) == SQLITE_NULL)
        return;
    const struct bytes octets = octets_of(values[0]);
    if (octets.len == 0)
        sqlite3_result_text(context, "", 0, SQLITE_STATIC);
    else if (format_is_readable(octets))
        sqlite3_result_text64(context, (const char *)octets.data, octets.len, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
}

/* digits(X, always): X in hexadecimal digits, or NULL if it is readable and need not be. */
static void sql_digits(sqlite3_context *context, int n, sqlite3_value **values)
{
    static const char hex[] = "0123456789abcdef";

    (void)n;
    if (sqlite3_value_type(values[0]) == SQLITE_NULL)
        return;
    const struct bytes octets = octets_of(values[0]);
    if (sqlite3_value_int(values[1]) == 0 && format_is_readable(octets))
        return;
    char *const out = sqlite3_malloc64(2 * octets.len + 1);
    if (out == NULL) {
        sqlite3_result_error_nomem(context);
        return;
    }
    for (size_t i = 0; i < octets.len; i++) {
        out[2 * i] = hex[octets.data[i] >> 4];
        out[2 * i + 1] = hex[octets.data[i] & 15];
    }
    sqlite3_result_text64(context, out, 2 * octets.len, sqlite3_free, SQLITE_UTF8);
}

int format_functions(sqlite3 *sql)
{
    enum { FLAGS = SQLITE_UTF8 | SQLITE_DETERMINISTIC };

    const int rc =
        sqlite3_create_function(sql, "readable", 1, FLAGS, NULL, sql_readable, NULL, NULL);
    return rc != SQLITE_OK
               ? rc
               : sqlite3_create_function(sql, "digits", 2, FLAGS, NULL, sql_digits, NULL, NULL);
}

static void select_column(sqlite3_str *out, const struct format_column *c)
{
    switch (c->type) {
    case FORMAT_INT:
    case FORMAT_WORD:
        sqlite3_str_appendf(out, ", '%s', %s", c->name, c->name);
        break;
    case FORMAT_FLAG:
        sqlite3_str_appendf(out,
                            ", '%s', json(CASE WHEN %s IS NULL THEN 'null' WHEN %s"
                            " THEN 'true' ELSE 'false' END)",
                            c->name, c->name, c->name);
        break;
    case FORMAT_TEXT:
    case FORMAT_BODY:
        sqlite3_str_appendf(out, ", '%s', readable(%s), '%s_hex', digits(%s, 0)", c->name, c->name,
                            c->name, c->name);
        break;
    case FORMAT_HEX:
        sqlite3_str_appendf(out, ", '%s', digits(%s, 1)", c->name, c->name);
        break;
    case FORMAT_PRINT:
        sqlite3_str_appendf(out, ", '%s', printf('%%016x', %s)", c->name, c->name);
        break;
    }
}

/* Patching an empty object leaves out what is NULL. */
char *format_select(const struct format *f)
{
    sqlite3_str *const out = sqlite3_str_new(NULL);
    sqlite3_str_appendf(out, "SELECT json_patch('{}', json_object('row', '%s'", f->name);
    for (size_t i = 0; i < format_columns(f); i++)
        select_column(out, &f->columns[i]);
    sqlite3_str_appendf(out, ")) FROM %s ORDER BY %s", f->name, f->order);
    return sqlite3_str_finish(out);
}

char *format_insert(const struct format *f)
{
    const size_t n = format_columns(f);
    sqlite3_str *const out = sqlite3_str_new(NULL);
    sqlite3_str_appendf(out, "INSERT INTO %s (", f->name);
    for (size_t i = 0; i < n; i++)
        sqlite3_str_appendf(out, "%s%s", i > 0 ? ", " : "", f->columns[i].name);
    sqlite3_str_appendall(out, ") VALUES (");
    for (size_t i = 0; i < n; i++)
        sqlite3_str_appendf(out, "%s?%d", i > 0 ? ", " : "", (int)i + 1);
    sqlite3_str_appendall(out, ")");
    return sqlite3_str_finish(out);
}
