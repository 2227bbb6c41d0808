/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of the configuration module. A file passes through these steps:
 *
 *     config_lex.c     octets -> section headers and key/value pairs, with their places
 *     config_build.c   those -> struct config, by way of the table in config_schema.c
 *     config_check.c   what only the whole shows: missing keys, addresses, doubles, files
 *     config_broker.c  the same for brokers
 *     config_pace.c    the same for limits of what leaves for them
 *     config_route.c   the same for routes and prefixes
 *     config_link.c    the same for links, and what their drivers say
 *     config_tls.c     the same for TLS, and certificates
 *     config_report.c  all that was said on the way, sorted by place
 *
 * config_load.c leads them; config_print.c goes the way back.
 */
#ifndef SENNET_GATEWAY_CONFIG_PRIV_H
#define SENNET_GATEWAY_CONFIG_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/bytes.h"

#include "config.h"

enum {
    CONFIG_FILE_MAX = 1024 * 1024, /* octets of one file */
    CONFIG_LINE_MAX = 4096,        /* octets of one line without its end */
    CONFIG_SECTIONS_MAX = 4096,    /* over all files */
    CONFIG_DROP_INS_MAX = 256,
    CONFIG_SAID_MAX = 100, /* errors shown, and warnings shown */
    CONFIG_PASSWORD_MAX = 4096,
    CONFIG_PROXY_LOGIN_MAX = 384, /* octets, as written */
    CONFIG_NETWORK_KEY_MAX = 256, /* octets of its file */
    CONFIG_STICK_PACKET = 255,    /* max_packet of a stick when nothing is said, and at most */
    CONFIG_STICK_PACKET_MAX = 1500,
    CONFIG_TEXT_ROOM = 256, /* for one number, list or reason inside a message */
};

/* Whether a file that holds a secret is open to more than its owner and a group that reads it, which
 * is how the daemon's user comes to a file of root's. */
static inline bool config_secret_is_open(unsigned mode)
{
    return (mode & 037) != 0;
}

/* ---- what is said to people ------------------------------------------------------------------ */

/* One row each in config_report.c, and at least one golden file each in tests/golden/config. */
enum config_message {
    SAY_FILE_UNREADABLE,
    SAY_FILE_TOO_LARGE,
    SAY_UTF16,
    SAY_NUL,
    SAY_LINE_TOO_LONG,
    SAY_NOT_UTF8,
    SAY_CONTROL,
    SAY_NOT_ENTRY,
    SAY_NO_BRACKET,
    SAY_AFTER_SECTION,
    SAY_COMMENT_AFTER_SECTION,
    SAY_NO_QUOTE,
    SAY_AFTER_QUOTE,
    SAY_BAD_ESCAPE,
    SAY_COMMENT_IN_VALUE,
    SAY_NO_SECTION,
    SAY_UNKNOWN_SECTION,
    SAY_SECTION_NEEDS_NAME,
    SAY_SECTION_WITHOUT_NAME,
    SAY_SECTION_NOT_TEXT,
    SAY_BAD_LINK_NAME,
    SAY_BAD_BROKER_NAME,
    SAY_BAD_ROUTE_NAME,
    SAY_ROUTE_NEEDS,
    SAY_ROUTE_TO,
    SAY_ROUTE_TWICE,
    SAY_ROUTE_FAULT,
    SAY_ROUTES_TOO_MANY,
    SAY_BROKERS_TOO_MANY,
    SAY_PREFIX_FAULT,
    SAY_OWN_ID,
    SAY_OWN_NOBODY,
    SAY_BROKER_TWICE,
    SAY_BAD_GLOB,
    SAY_LINK_TWICE,
    SAY_TOO_MANY_SECTIONS,
    SAY_UNKNOWN_KEY,
    SAY_KEY_TWICE,
    SAY_NO_VALUE,
    SAY_VALUE_NOT_TEXT,
    SAY_VALUE_TOO_LONG,
    SAY_NOT_PLAIN,
    SAY_NOT_NUMBER,
    SAY_NOT_DURATION,
    SAY_NOT_SIZE,
    SAY_NOT_SECONDS,
    SAY_NOT_CHOICE,
    SAY_RANGE,
    SAY_NOT_TOPIC_ID,
    SAY_TOPIC_ID_RESERVED,
    SAY_TOPIC_ID_RANGE,
    SAY_TOPIC_EMPTY,
    SAY_TOPIC_NUL,
    SAY_TOPIC_NOT_UTF8,
    SAY_TOPIC_WILDCARD,
    SAY_TOPIC_REFUSED,
    SAY_TOPIC_TWICE,
    SAY_NO_ADDRESS,
    SAY_ADDRESS_SYNTAX,
    SAY_ADDRESS_SCHEME,
    SAY_PROXY,
    SAY_PROXY_MODE,
    SAY_ADDRESS_MIXED,
    SAY_ADDRESS_MANY,
    SAY_ADDRESS_LOGIN,
    SAY_TLS_ALIEN,
    SAY_TLS_NEEDS,
    SAY_TLS_CONTRADICTION,
    SAY_TLS_INSECURE,
    SAY_TLS_UNUSABLE,
    SAY_TLS_EXPIRED,
    SAY_TLS_TOO_EARLY,
    SAY_TLS_MODE,
    SAY_RECONNECT_ORDER,
    SAY_WINDOW_QOS2,
    SAY_QUIET,
    SAY_PROPERTY,
    SAY_PACE_STORE,
    SAY_PACE_AGE,
    SAY_RETRY_ORDER,
    SAY_RETRY_ABOVE_MAX,
    SAY_RETRY_MIN_IDLE,
    SAY_PASSWORD_ALONE,
    SAY_PASSWORD_UNREADABLE,
    SAY_PASSWORD_CONTENT,
    SAY_PASSWORD_MODE,
    SAY_NO_LINK,
    SAY_NO_DRIVER,
    SAY_UNKNOWN_DRIVER,
    SAY_LINK_NEEDS,
    SAY_LINK_REFUSED,
    SAY_LINK_KEY_ALIEN,
    SAY_LINK_PACKET_LARGE,
    SAY_SAME_LISTEN,
    SAY_SAME_DEVICE,
    SAY_NETWORK_KEY_UNREADABLE,
    SAY_NETWORK_KEY_CONTENT,
    SAY_NETWORK_KEY_MODE,
    SAY_ADVERTISE_ALONE,
    SAY_INCLUDE_NESTED,
    SAY_INCLUDE_UNREADABLE,
    SAY_INCLUDE_TOO_MANY,
    SAY_MORE,
    N_CONFIG_MESSAGES
};

struct config_text {
    bool warning;
    const char *text; /* each {} takes the next argument */
};

extern const struct config_text config_texts[N_CONFIG_MESSAGES];

/* Where something stands. Line 0: nowhere yet ("not set"), or the file as a whole. */
struct config_place {
    unsigned file; /* number in config_report.files */
    unsigned line;
    unsigned column; /* in characters, from 1 */
};

struct config_note {
    struct config_place at;
    size_t order; /* of saying, for equal places */
    bool warning;
    char *text;
};

struct config_report {
    char **files;
    size_t n_files;
    struct config_note *notes;
    size_t n_notes;
    size_t errors; /* said, shown or not */
    size_t warnings;
    bool incomplete;    /* something was not read: what seems to be missing may be there */
    bool out_of_memory; /* sticky: whoever meets it sets it, config_load() returns it */
};

/* Registers a file; its number goes into places. */
unsigned config_report_file(struct config_report *r, const char *name);

/* The arguments are escaped where they come from outside, and cut when long. */
void config_say0(struct config_report *r, struct config_place at, enum config_message m);
void config_say1(struct config_report *r, struct config_place at, enum config_message m,
                 const char *a);
void config_say2(struct config_report *r, struct config_place at, enum config_message m,
                 const char *a, const char *b);
void config_say3(struct config_report *r, struct config_place at, enum config_message m,
                 const char *a, const char *b, const char *c);

/* Writes all of it by place, and forgets it. */
void config_report_write(struct config_report *r, FILE *out);
void config_report_deinit(struct config_report *r);

/* ---- lines ----------------------------------------------------------------------------------- */

enum config_line_kind { LINE_SECTION, LINE_ENTRY };

/* Strings are terminated, belong to the lexer and last until the next line; a value may hold NUL
 * (from \x00), so its length counts. */
struct config_line {
    enum config_line_kind kind;
    struct config_place at; /* of `name` */
    const char *name;       /* section or key; empty: a header that was bad (said) */
    const char *value;      /* argument of the section, value of the key */
    size_t value_len;
    struct config_place value_at;
    bool bad_value; /* said already: the key counts as set */
};

struct config_lexer {
    struct config_report *report;
    struct reader in;
    struct config_place at; /* of the line; column is not used */
    char name[CONFIG_LINE_MAX + 1];
    char value[CONFIG_LINE_MAX + 1];
};

void config_lex_init(struct config_lexer *lx, struct config_report *report, unsigned file,
                     struct bytes text);

/* The next section header or entry; says what is wrong with lines on the way. False at the end. */
bool config_lex_next(struct config_lexer *lx, struct config_line *out);

/* ---- the table ------------------------------------------------------------------------------- */

enum config_section {
    SECTION_GATEWAY,
    SECTION_BROKER,
    SECTION_ROUTE,
    SECTION_STORE,
    SECTION_LINK,
    SECTION_TOPICS,
    SECTION_CLIENT,
    N_CONFIG_SECTIONS
};

enum config_type {
    TYPE_NUMBER,
    TYPE_DURATION,  /* unit "ms" or "s" says what the field holds; a bare number means seconds */
    TYPE_SIZE,      /* octets */
    TYPE_TEXT,      /* min..max octets of UTF-8 without control characters */
    TYPE_PLAIN,     /* text of letters, digits and .-_ */
    TYPE_PATH,      /* kept absolute: relative ones are resolved against the file's directory */
    TYPE_LEVEL,     /* enum log_level */
    TYPE_FORMAT,    /* bool log_json */
    TYPE_SWITCH,    /* enum sn_switch */
    TYPE_OVERFLOW,  /* enum sn_overflow */
    TYPE_QOS,       /* 0 to 2, kept as 1 + QoS */
    TYPE_HEX,       /* a number that people write in hexadecimal */
    TYPE_FLOW,      /* 1 + enum port_flow */
    TYPE_PIN,       /* 1 + level */
    TYPE_API,       /* 1 + API mode, 1: whatever it is */
    TYPE_FAMILY,    /* 1 + enum xbee_family */
    TYPE_FRAMING,   /* 1 + enum line_framing */
    TYPE_DURABLE,   /* 1 + enum store_durability */
    TYPE_FULL,      /* 1 + enum spool_full */
    TYPE_SESSIONS,  /* 1 + enum broker_sessions */
    TYPE_RETAIN,    /* 1 + enum route_retain */
    TYPE_DIRECTION, /* 1 + enum route_direction */
    TYPE_TLS_MIN,   /* 1 + enum tls_version */
    TYPE_MQTT,      /* 1 + enum mqtt_version */
};

struct config_key {
    enum config_section section;
    size_t offset; /* of the field in the struct of the section */
    size_t size;   /* 0: not kept (include_dir) */
    const char *name;
    enum config_type type;
    int64_t min; /* in `unit`; of texts: octets */
    int64_t max;
    const char *fallback; /* as one would write it; NULL: none, `help` says what then */
    const char *unit;     /* what the field counts */
    const char *help;     /* one line */
    enum config_effect effect;
};

extern const struct config_key config_keys[];
extern const size_t config_n_keys;

enum { CONFIG_KEYS_MAX = 192 }; /* room for per-key places, checked at compile time */

/* "gateway", "link" ... */
const char *config_section_name(enum config_section s);

/* False when there is no such section. */
bool config_section_find(const char *name, enum config_section *out);

/* NULL when the section has no such key. */
const struct config_key *config_key_find(enum config_section s, const char *name);

/* What to try instead of an unknown name, as the end of a sentence; empty when nothing is near. */
void config_suggest_key(enum config_section s, const char *name, char *out, size_t size);
void config_suggest_section(const char *name, char *out, size_t size);

/* ---- values ---------------------------------------------------------------------------------- */

/* Reads `text` into the field of `key` in `object`, or says at `at` what is wrong with it. `dir` is
 * where relative paths start. */
bool config_value_read(struct config_report *r, struct config_place at,
                       const struct config_key *key, struct bytes text, const char *dir,
                       void *object);

/* False when the field has no value: NULL, SN_UNSET and its like, or 0 where that is out of range.
 */
bool config_value_is_set(const struct config_key *key, const void *object);

/* Writes the field, which is set, as one would write it in a file. */
void config_value_write(const struct config_key *key, const void *object, FILE *out);

/* A number of `key`'s unit in the largest unit that divides it. */
void config_number_print(const struct config_key *key, int64_t value, char *out, size_t size);

/* What may be written: "50ms to 1h", "yes or no". */
void config_range_print(const struct config_key *key, char *out, size_t size);

/* Word number `number`, from 1, of a type that is a choice of words; NULL past the last. */
const char *config_word(enum config_type type, size_t number);

/* All of them: "raw, slip, hdlc or cobs". */
void config_words_print(enum config_type type, char *out, size_t size);

/* Quoted and escaped when it would not read back otherwise: a value, and what names a section. */
void config_text_print(const char *text, FILE *out);
void config_argument_print(const char *text, FILE *out);

/* What keeps octets from being one line of text ("a control character"); NULL: nothing. */
const char *config_not_text(struct bytes text);

/* Sets the fields of all keys of a section to their fallbacks. */
void config_fallbacks(struct config_report *r, enum config_section s, void *object);

/* ---- building -------------------------------------------------------------------------------- */

/* Where a section and its values stood: for messages after the fact. */
struct config_origin {
    struct config_place at;
    struct config_place keys[CONFIG_KEYS_MAX]; /* by number in config_keys */
};

struct config_topic_origin {
    struct config_place at;
    size_t index; /* in entries */
    uint16_t topic_id;
};

struct config_topics_origin {
    struct config_place at;
    struct config_topic_origin *entries; /* as many as the section has */
};

struct config_builder {
    struct config *config;
    struct config_report report;
    struct config_lexer lexer;
    struct config_origin gateway;
    struct config_origin store;
    struct config_origin *brokers; /* as config->brokers, and so on */
    struct config_origin *routes;
    struct config_origin *links;
    struct config_origin *clients;
    struct config_topics_origin *topics;
    size_t n_sections;
    char *include_dir;
    bool may_open; /* files other than the one given */

    /* the file being read */
    unsigned file;
    char *dir;
    /* the section being read; `skip`: unknown, its keys mean nothing */
    enum config_section section;
    size_t object;
    bool in_section;
    bool skip;
};

/* Reads one file's content into the configuration. */
void config_build(struct config_builder *b, unsigned file, struct bytes text);

/* Where the value of `name` in `section` stands; the section's own place when it is not set. */
struct config_place config_place_of(const struct config_origin *o, enum config_section section,
                                    const char *name);

bool config_is_set(const struct config_origin *o, enum config_section section, const char *name);

/* Room for element `n` of an array that doubles at powers of two; false and out_of_memory. */
bool config_grow(struct config_report *r, void *array, size_t n, size_t size);

/* Copies; NULL and out_of_memory. */
char *config_copy(struct config_report *r, struct bytes text);

/* ---- brokers ----------------------------------------------------------------------------------- */

/* Everything about brokers that one line alone does not show. */
void config_check_brokers(struct config_builder *b);

/* The same about limits of what leaves for broker `i`. */
void config_check_pace(struct config_builder *b, size_t i);

/* Says what stands nowhere, at the beginning of the file. */
struct config_place config_somewhere(struct config_place at);

/* The same about routes, prefixes and sessions of their own. */
void config_check_routes(struct config_builder *b);

/* ---- links ------------------------------------------------------------------------------------- */

/* Does the key mean anything to the link's driver? True when the driver is not known. */
bool config_link_takes(const struct config_link *link, const struct config_key *key);

/* Everything about links that one line alone does not show. */
void config_check_links(struct config_builder *b);

/* ---- brokers' addresses and TLS ---------------------------------------------------------------- */

/* "mqtt://host:port", "ws://host:port/path" for every address of the list `text`, whatever its form,
 * separated by ", ". NULL: said. */
char *config_address_full(struct config_report *r, struct config_place at, const char *text);

/* Of such a list. */
bool config_address_is_tls(const char *address);

/* What stands for the login where a value is shown. */
#define CONFIG_PROXY_MASK "***:***"

/* Of "http://user:password@host:port" the login, or NULL if there is none; *proxy has the mask instead,
 * and is NULL if it is wrong, which was said. */
void config_proxy_split(struct config_report *r, struct config_place at, char **proxy,
                        char **login);

/* Everything about TLS of broker `i`, files included. */
void config_check_tls(struct config_builder *b, size_t i);

/* ---- the whole ------------------------------------------------------------------------------- */

/* Everything that one line alone does not show. */
void config_check(struct config_builder *b);

/* As config_load(), from memory: opens neither drop-ins nor the password file. For fuzzing. */
int config_parse(const char *name, struct bytes text, FILE *errors, struct config **out);

/* Up to `max` octets of a file, terminated. 0; 1 when there is more; or -errno. With `regular`,
 * anything but a regular file is -EINVAL, and nothing blocks. */
int config_read_file(const char *path, size_t max, bool regular, char **text, size_t *len,
                     unsigned *mode);

/* Is it one line, and not an empty one? Then it is terminated behind that. */
bool config_one_line(char *text, size_t len);

#endif
