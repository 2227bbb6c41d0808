/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that is said about a configuration. Messages are rows of one table, so that a test can demand
 * an example of each; they are collected and sorted, because some errors show only when the whole
 * has been read, and people read files from top to bottom.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#include "config_priv.h"

enum { ARGUMENT_MAX = 240, MESSAGE_MAX = 1024 };

#define ERROR(t)                                                                                   \
    {                                                                                              \
        .warning = false, .text = (t)                                                              \
    }
#define WARNING(t)                                                                                 \
    {                                                                                              \
        .warning = true, .text = (t)                                                               \
    }

const struct config_text config_texts[N_CONFIG_MESSAGES] = {
    [SAY_FILE_UNREADABLE] = ERROR("can't read this file: {}"),
    [SAY_FILE_TOO_LARGE] = ERROR("the file is larger than {}"),
    [SAY_UTF16] = ERROR("the file is UTF-16; save it as UTF-8"),
    [SAY_NUL] = ERROR("a NUL octet: this is not a text file; the rest is not read"),
    [SAY_LINE_TOO_LONG] = ERROR("the line is longer than {} octets"),
    [SAY_NOT_UTF8] = ERROR("this line is not UTF-8 text; save the file as UTF-8"),
    [SAY_CONTROL] = ERROR("a control character ({}) where text is expected"),
    [SAY_NOT_ENTRY] = ERROR("expected 'key = value', a [section] or a # comment"),
    [SAY_NO_BRACKET] = ERROR("the section header has no closing ']'"),
    [SAY_AFTER_SECTION] = ERROR("only blanks may follow the ']' of a section header"),
    [SAY_COMMENT_AFTER_SECTION] =
        WARNING("ignored: a comment should stand on a line of its own, not behind a header"),
    [SAY_NO_QUOTE] = ERROR("the closing '\"' is missing"),
    [SAY_AFTER_QUOTE] =
        ERROR("only blanks may follow the closing '\"'; inside a quoted value write \\\""),
    [SAY_BAD_ESCAPE] = ERROR("unknown escape; inside quotes there are \\\" \\\\ and \\xHH"),
    [SAY_COMMENT_IN_VALUE] = WARNING("'{}' became part of the value: a comment needs a line of its "
                                     "own; if it is meant, put the value in quotes"),
    [SAY_NO_SECTION] = ERROR("'{}' stands before the first [section]"),
    [SAY_UNKNOWN_SECTION] = ERROR("unknown section [{}]; {}"),
    [SAY_SECTION_NEEDS_NAME] = ERROR("[{}] needs {}"),
    [SAY_SECTION_WITHOUT_NAME] = ERROR("[{}] stands alone: '{}' has no meaning here"),
    [SAY_SECTION_NOT_TEXT] = ERROR("the section header holds {}"),
    [SAY_BAD_BROKER_NAME] =
        ERROR("'{}' can't name a broker: take 1 to 32 letters, digits, '.', '-' and '_'"),
    [SAY_BAD_ROUTE_NAME] =
        ERROR("'{}' can't name a route: take 1 to 32 letters, digits, '.', '-' and '_'"),
    [SAY_ROUTE_NEEDS] = ERROR("[route {}] needs 'to': the names of one or more brokers"),
    [SAY_ROUTE_TO] = ERROR("there is no [broker {}]; this configuration has {}"),
    [SAY_ROUTE_TWICE] = ERROR("[broker {}] stands twice in this list: write it once"),
    [SAY_ROUTE_FAULT] = ERROR("[route {}] can't work: {}"),
    [SAY_ROUTES_TOO_MANY] = ERROR("more than {} routes"),
    [SAY_BROKERS_TOO_MANY] = ERROR("more than {} brokers"),
    [SAY_PREFIX_FAULT] = ERROR("the prefix '{}' can't work: {}"),
    [SAY_OWN_ID] =
        WARNING("nodes with sessions of their own would all have the MQTT client id '{}' "
                "and throw each other out; put {client} into it"),
    [SAY_OWN_NOBODY] = WARNING("'{}' is for sessions of a client's own, and has no effect: "
                               "sessions = own is said nowhere"),
    [SAY_BROKER_TWICE] =
        WARNING("[broker {}] is [broker {}] again, with the same client_id: their connections "
                "throw each other out; give one of them another client_id, or use one of them"),
    [SAY_BAD_LINK_NAME] =
        ERROR("'{}' can't name a link: take 1 to 32 letters, digits, '.', '-' and '_'"),
    [SAY_BAD_GLOB] =
        ERROR("the pattern '{}' can't match: a '[' without its ']', or a '\\' at the end"),
    [SAY_LINK_TWICE] = ERROR("[link {}] was already defined at {}"),
    [SAY_TOO_MANY_SECTIONS] = ERROR("more than {} sections; this one and later ones are not read"),
    [SAY_UNKNOWN_KEY] = ERROR("unknown key '{}' in [{}]{}"),
    [SAY_KEY_TWICE] = ERROR("'{}' was already set on line {}; one of the two must go"),
    [SAY_NO_VALUE] = ERROR("'{}' has no value{}"),
    [SAY_VALUE_NOT_TEXT] = ERROR("the value of '{}' holds {}"),
    [SAY_VALUE_TOO_LONG] = ERROR("the value of '{}' is too long: at most {} octets"),
    [SAY_NOT_PLAIN] = ERROR("'{}' won't do for '{}': take letters, digits, '.', '-' and '_' only"),
    [SAY_NOT_NUMBER] = ERROR("'{}' is not a whole number; '{}' takes {}"),
    [SAY_NOT_DURATION] = ERROR("'{}' is not a duration: write a whole number and ms, s, m, h or d "
                               "(without a unit: seconds); '{}' takes {}"),
    [SAY_NOT_SIZE] = ERROR("'{}' is not a size: write a whole number and B, KiB, MiB or GiB "
                           "(without a unit: octets); '{}' takes {}"),
    [SAY_NOT_SECONDS] = ERROR("'{}' is not in whole seconds, as '{}' must be"),
    [SAY_NOT_CHOICE] = ERROR("'{}' is not a choice for '{}': write {}"),
    [SAY_RANGE] = ERROR("'{}' is out of range: '{}' takes {}"),
    [SAY_NOT_TOPIC_ID] = ERROR("'{}' is not a topic id: in [topics] write ID = topic, with an id "
                               "from 1 to 65534"),
    [SAY_TOPIC_ID_RESERVED] = ERROR("topic id {} is reserved by MQTT-SN; take 1 to 65534"),
    [SAY_TOPIC_ID_RANGE] = ERROR("topic id {} is out of range; take 1 to 65534"),
    [SAY_TOPIC_EMPTY] = ERROR("topic id {} has no topic"),
    [SAY_TOPIC_NUL] = ERROR("the topic of id {} holds U+0000, which MQTT forbids"),
    [SAY_TOPIC_NOT_UTF8] = ERROR("the topic of id {} is not UTF-8, as MQTT demands"),
    [SAY_TOPIC_WILDCARD] =
        ERROR("'{}' has a wildcard ('+' or '#'), but an alias stands for exactly one topic"),
    [SAY_TOPIC_REFUSED] = ERROR("brokers may refuse the topic of id {}: it holds control or "
                                "non-characters, or has more than 128 levels"),
    [SAY_TOPIC_TWICE] = ERROR("topic id {} was already given to '{}' on line {}"),
    [SAY_NO_ADDRESS] = ERROR("[broker] needs an address: where is the MQTT broker? For example "
                             "address = mqtt://127.0.0.1:1883"),
    [SAY_ADDRESS_SYNTAX] = ERROR("'{}' is not the address of a broker ({}); write it like "
                                 "mqtt://broker.lan:1883 or mqtt://[2001:db8::1]:1883"),
    [SAY_ADDRESS_SCHEME] =
        ERROR("'{}://' is not a way to reach a broker; write mqtt://host:port, or "
              "mqtts://host:port for TLS, or ws:// or wss:// for a WebSocket"),
    [SAY_PROXY] = ERROR("'proxy' can't be used: {}; write http://proxy.lan:3128, or "
                        "http://user:password@proxy.lan:3128"),
    [SAY_PROXY_MODE] = WARNING("'proxy' has a password, and '{}' can be read by others (mode {}); "
                               "chmod 600, or 640 with the daemon's group"),
    [SAY_ADDRESS_MIXED] = ERROR("the addresses of a broker must be of one kind, not {}:// here and "
                                "{}:// there"),
    [SAY_ADDRESS_MANY] = ERROR("more than {} addresses of one broker"),
    [SAY_ADDRESS_LOGIN] = ERROR("a login does not belong in the address; use username and "
                                "password_file"),
    [SAY_TLS_ALIEN] = ERROR("'{}' is for TLS, but with an address of {}:// nothing is encrypted; "
                            "write {}s://"),
    [SAY_TLS_NEEDS] = ERROR("'{}' needs '{}', too"),
    [SAY_TLS_CONTRADICTION] =
        ERROR("'{}' is for verifying the broker, which 'insecure = yes' turns "
              "off: leave one of them out"),
    [SAY_TLS_INSECURE] = WARNING("insecure = yes: the broker is not verified, so whoever is on the "
                                 "way can read and change everything"),
    [SAY_TLS_UNUSABLE] = ERROR("{} can't be used: {}"),
    [SAY_TLS_EXPIRED] = WARNING("the certificate in cert_file '{}' expired on {}: the broker will "
                                "refuse it"),
    [SAY_TLS_TOO_EARLY] = WARNING("the certificate in cert_file '{}' is not valid before {}: the "
                                  "broker will refuse it, if the clock is right"),
    [SAY_TLS_MODE] = WARNING(
        "{} '{}' can be read by others (mode {}); chmod 600, or 640 with the daemon's group"),
    [SAY_RECONNECT_ORDER] = ERROR("reconnect_min ({}) is above reconnect_max ({})"),
    [SAY_WINDOW_QOS2] = ERROR("window_qos2 ({}) is above window ({}), of which it is a part"),
    [SAY_PROPERTY] = ERROR("'{}' is none of the user properties; they are {}, separated by commas"),
    [SAY_QUIET] = ERROR("'{}' can't be quiet hours: {}; write them like 22:00-06:00, 12:00-13:00"),
    [SAY_PACE_STORE] = ERROR("'{}' needs a store, in which messages wait; with durability = off in "
                             "[store] there is none"),
    [SAY_PACE_AGE] =
        WARNING("messages may have to wait for {} here, but spool_age in [store] drops "
                "them after {}"),
    [SAY_RETRY_ORDER] = ERROR("retry_min ({}) is above retry_max ({})"),
    [SAY_RETRY_ABOVE_MAX] = ERROR("retry_interval ({}) is above retry_max ({}); raise the latter"),
    [SAY_RETRY_MIN_IDLE] = WARNING("retry_min ({}) is above retry_interval ({}), and has no "
                                   "effect beyond that"),
    [SAY_PASSWORD_ALONE] = ERROR("password_file needs a username, too: MQTT 3.1.1 knows no "
                                 "password without one"),
    [SAY_PASSWORD_UNREADABLE] = ERROR("can't read password_file '{}': {}"),
    [SAY_PASSWORD_CONTENT] = ERROR("password_file '{}' must hold the password as its only line, "
                                   "1 to {} octets without NUL"),
    [SAY_PASSWORD_MODE] = WARNING("password_file '{}' can be read by others (mode {}); chmod 600, "
                                  "or 640 with the daemon's group"),
    [SAY_NO_LINK] = ERROR("there is no [link NAME] section, so no node could reach the gateway; "
                          "gateway.conf.example shows one"),
    [SAY_NO_DRIVER] = ERROR("[link {}] needs a driver; this version has {}"),
    [SAY_UNKNOWN_DRIVER] = ERROR("unknown driver '{}'; this version has {}"),
    [SAY_LINK_NEEDS] = ERROR("[link {}] needs '{}', because its driver is {}"),
    [SAY_LINK_REFUSED] = ERROR("[link {}] can't work: {}"),
    [SAY_LINK_KEY_ALIEN] = ERROR("'{}' means nothing to the driver {}; it is for {}"),
    [SAY_LINK_PACKET_LARGE] =
        ERROR("[link {}]: a stick has packets of 12 to {} octets; leave max_packet out for 255"),
    [SAY_SAME_DEVICE] = ERROR("[link {}] has the same device as [link {}]"),
    [SAY_NETWORK_KEY_UNREADABLE] = ERROR("can't read network_key_file '{}': {}"),
    [SAY_NETWORK_KEY_CONTENT] = ERROR("network_key_file '{}' must hold the network key as its only "
                                      "line: 32 hexadecimal digits, with or without ':' between "
                                      "octets"),
    [SAY_NETWORK_KEY_MODE] = WARNING("network_key_file '{}' can be read by others (mode {}); chmod "
                                     "600, or 640 with the daemon's group"),
    [SAY_SAME_LISTEN] = ERROR("[link {}] listens on the same address as [link {}]"),
    [SAY_ADVERTISE_ALONE] =
        WARNING("[link {}] has no multicast group to announce itself to: 'advertise' does nothing"),
    [SAY_INCLUDE_NESTED] = ERROR("include_dir works only in the main file"),
    [SAY_INCLUDE_UNREADABLE] = ERROR("can't read include_dir '{}': {}"),
    [SAY_INCLUDE_TOO_MANY] = ERROR("include_dir '{}' has more than {} files named *.conf"),
    [SAY_MORE] = WARNING("{} more {} not shown"),
};

unsigned config_report_file(struct config_report *r, const char *name)
{
    char *copy = config_copy(r, bytes_str(name));
    if (copy == NULL || !config_grow(r, &r->files, r->n_files, sizeof *r->files)) {
        free(copy);
        return 0;
    }
    r->files[r->n_files] = copy;
    return (unsigned)r->n_files++;
}

/* Escaped, because most of it comes from the file; long text is cut. */
static void put_argument(struct writer *w, const char *argument)
{
    assert(argument != NULL);
    char room[ARGUMENT_MAX + 1];
    struct text t = text_to(room, sizeof room);
    text_escaped(&t, bytes_str(argument));
    wr_bytes(w, bytes_str(room));
}

static struct bytes expand(enum config_message m, const char *const args[3], uint8_t *room)
{
    struct writer w = wr_to(room, MESSAGE_MAX);
    size_t next = 0;
    for (const char *t = config_texts[m].text; *t != '\0'; t++) {
        if (t[0] == '{' && t[1] == '}') {
            assert(next < 3);
            put_argument(&w, args[next++]);
            t++;
        } else {
            wr_u8(&w, (uint8_t)*t);
        }
    }
    return bytes_of(room, wr_close(&w));
}

void config_say3(struct config_report *r, struct config_place at, enum config_message m,
                 const char *a, const char *b, const char *c)
{
    _Static_assert(MESSAGE_MAX >= 3 * ARGUMENT_MAX + 256, "three arguments and the text");
    const bool warning = config_texts[m].warning;
    size_t *count = warning ? &r->warnings : &r->errors;
    if (++*count > CONFIG_SAID_MAX && m != SAY_MORE)
        return;
    uint8_t room[MESSAGE_MAX];
    const struct bytes text = expand(m, (const char *const[]){a, b, c}, room);
    char *copy = config_copy(r, text);
    if (copy == NULL || !config_grow(r, &r->notes, r->n_notes, sizeof *r->notes)) {
        free(copy);
        return;
    }
    r->notes[r->n_notes] =
        (struct config_note){.at = at, .order = r->n_notes, .warning = warning, .text = copy};
    r->n_notes++;
}

void config_say2(struct config_report *r, struct config_place at, enum config_message m,
                 const char *a, const char *b)
{
    config_say3(r, at, m, a, b, NULL);
}

void config_say1(struct config_report *r, struct config_place at, enum config_message m,
                 const char *a)
{
    config_say3(r, at, m, a, NULL, NULL);
}

void config_say0(struct config_report *r, struct config_place at, enum config_message m)
{
    config_say3(r, at, m, NULL, NULL, NULL);
}

static int by_place(const void *one, const void *two)
{
    const struct config_note *a = one;
    const struct config_note *b = two;
    if (a->at.file != b->at.file)
        return a->at.file < b->at.file ? -1 : 1;
    if (a->at.line != b->at.line)
        return a->at.line < b->at.line ? -1 : 1;
    if (a->at.column != b->at.column)
        return a->at.column < b->at.column ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

static void write_note(const struct config_report *r, const struct config_note *note, FILE *out)
{
    uint8_t room[MESSAGE_MAX];
    struct writer w = wr_to(room, sizeof room);
    if (note->at.file < r->n_files)
        put_argument(&w, r->files[note->at.file]);
    fprintf(out, "%.*s:", (int)wr_close(&w), (const char *)room);
    if (note->at.line > 0)
        fprintf(out, "%u:%u:", note->at.line, note->at.column);
    fprintf(out, " %s: %s\n", note->warning ? "warning" : "error", note->text);
}

/* Says how many were left out: behind the last line of all, because it is about all files. */
static void say_more(struct config_report *r, size_t said, const char *what)
{
    if (said <= CONFIG_SAID_MAX)
        return;
    char number[CONFIG_TEXT_ROOM];
    snprintf(number, sizeof number, "%zu", said - CONFIG_SAID_MAX);
    const struct config_place end = {.file = UINT32_MAX};
    config_say2(r, end, SAY_MORE, number, what);
}

void config_report_write(struct config_report *r, FILE *out)
{
    const size_t errors = r->errors;
    say_more(r, r->warnings, "warnings are");
    say_more(r, errors, "errors are");
    r->errors = errors;
    if (r->n_notes > 0)
        qsort(r->notes, r->n_notes, sizeof *r->notes, by_place);
    for (size_t i = 0; i < r->n_notes; i++) {
        if (r->notes[i].at.file == UINT32_MAX)
            r->notes[i].at.file = 0;
        write_note(r, &r->notes[i], out);
        free(r->notes[i].text);
    }
    r->n_notes = 0;
}

void config_report_deinit(struct config_report *r)
{
    for (size_t i = 0; i < r->n_notes; i++)
        free(r->notes[i].text);
    for (size_t i = 0; i < r->n_files; i++)
        free(r->files[i]);
    free(r->notes);
    free(r->files);
    *r = (struct config_report){0};
}
