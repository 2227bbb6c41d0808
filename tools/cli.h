/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command lines of the client tools: the options that sennet-pub and sennet-sub share (the letters
 * are those of mosquitto_pub and mosquitto_sub), numbers, topics, and how errors are told.
 */
#ifndef SENNET_TOOLS_CLI_H
#define SENNET_TOOLS_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "tools/client.h"

struct cli_options {
    const char *program;
    const char *host;
    uint16_t port;
    const char *bind_address; /* NULL: any */
    const char *client_id;    /* set by cli_finish() when not given */
    const char *id_prefix;
    uint16_t keep_alive_s;
    bool keep_session;
    bool debug;
    bool quiet;
    int qos; /* -1..2 */
    const char *will_topic;
    const char *will_payload;
    int will_qos;
    bool will_retain;
    int64_t retry_ms;
    unsigned retry_count;
    char made_id[64];
};

/* Long options without a letter. A tool's own begin at CLI_OWN. */
enum {
    CLI_WILL_TOPIC = 256,
    CLI_WILL_PAYLOAD,
    CLI_WILL_QOS,
    CLI_WILL_RETAIN,
    CLI_RETRY_INTERVAL,
    CLI_RETRY_COUNT,
    CLI_QUIET,
    CLI_HELP,
    CLI_VERSION,
    CLI_OWN
};

/* To be put into a tool's getopt strings and tables. */
#define CLI_SHORT "h:p:i:I:A:k:cdq:"
/* clang-format off */
#define CLI_LONG                                                                                   \
    {"host", required_argument, NULL, 'h'}, {"port", required_argument, NULL, 'p'},                \
    {"id", required_argument, NULL, 'i'}, {"id-prefix", required_argument, NULL, 'I'},             \
    {"keepalive", required_argument, NULL, 'k'},                                                   \
    {"disable-clean-session", no_argument, NULL, 'c'},                                             \
    {"debug", no_argument, NULL, 'd'}, {"qos", required_argument, NULL, 'q'},                      \
    {"will-topic", required_argument, NULL, CLI_WILL_TOPIC},                                       \
    {"will-payload", required_argument, NULL, CLI_WILL_PAYLOAD},                                   \
    {"will-qos", required_argument, NULL, CLI_WILL_QOS},                                           \
    {"will-retain", no_argument, NULL, CLI_WILL_RETAIN},                                           \
    {"retry-interval", required_argument, NULL, CLI_RETRY_INTERVAL},                               \
    {"retry-count", required_argument, NULL, CLI_RETRY_COUNT},                                     \
    {"quiet", no_argument, NULL, CLI_QUIET}, {"help", no_argument, NULL, CLI_HELP},                \
    {"version", no_argument, NULL, CLI_VERSION}
/* clang-format on */

/* The part of a usage text that describes them. */
extern const char CLI_USAGE[];

struct cli_options cli_defaults(const char *program);

/* True when `opt` was one of the shared options. --help prints `usage` (the tool's part, followed
 * by CLI_USAGE) and exits, --version too; an invalid value exits with EXIT_USAGE. */
bool cli_common(struct cli_options *o, int opt, const char *arg, const char *usage);

/* Checks what only the whole command line can show, and makes the client id. */
void cli_finish(struct cli_options *o, int argc, char **argv);

/* These exit with EXIT_USAGE when `text` is not as wanted. `option` is for the message. */
long cli_number(const struct cli_options *o, const char *option, const char *text, long min,
                long max);
int64_t cli_seconds_ms(const struct cli_options *o, const char *option, const char *text);
struct snc_topic cli_topic_id(const struct cli_options *o, const char *text);
struct snc_topic cli_topic_short(const struct cli_options *o, const char *text);

/* "program: sentence" on standard error and exit. */
_Noreturn void cli_usage_error(const struct cli_options *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* After getopt_long() has complained itself: where to read on, and exit. */
_Noreturn void cli_usage_hint(const struct cli_options *o);

/* "program: sentence" on standard error, unless --quiet. */
void cli_complain(const struct cli_options *o, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "congestion", ... for people. */
const char *cli_return_code(uint8_t return_code);

#endif
