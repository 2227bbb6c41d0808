/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"

#include "mqttsn/topic.h"

const char CLI_USAGE[] =
    "Connection:\n"
    "  -h, --host HOST            gateway, default 127.0.0.1\n"
    "  -p, --port PORT            its UDP port, default 1884\n"
    "  -A ADDRESS                 local address to send from\n"
    "  -i, --id ID                client id, default PROGRAM-PID\n"
    "  -I, --id-prefix PREFIX     client id is PREFIX followed by the process id\n"
    "  -k, --keepalive SECONDS    0 to 65535, default 60; 0: no pings\n"
    "  -c, --disable-clean-session  keep the session at the gateway (needs -i)\n"
    "      --will-topic TOPIC     publish this will when we vanish\n"
    "      --will-payload TEXT    default: empty\n"
    "      --will-qos QOS         0, 1 or 2\n"
    "      --will-retain\n"
    "      --retry-interval SECONDS  wait for an answer, default 10\n"
    "      --retry-count N        repetitions before giving up, default 3\n"
    "\n"
    "  -d, --debug                show every packet on standard error\n"
    "      --quiet                no error messages\n"
    "      --help\n"
    "      --version\n";

static void complain(const struct cli_options *o, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void complain(const struct cli_options *o, const char *format, va_list args)
{
    fprintf(stderr, "%s: ", o->program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

void cli_usage_hint(const struct cli_options *o)
{
    fprintf(stderr, "Try '%s --help'.\n", o->program);
    exit(EXIT_USAGE);
}

void cli_usage_error(const struct cli_options *o, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    complain(o, format, args);
    va_end(args);
    cli_usage_hint(o);
}

void cli_complain(const struct cli_options *o, const char *format, ...)
{
    if (o->quiet)
        return;
    va_list args;
    va_start(args, format);
    complain(o, format, args);
    va_end(args);
}

long cli_number(const struct cli_options *o, const char *option, const char *text, long min,
                long max)
{
    char *end;
    errno = 0;
    const long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
        cli_usage_error(o, "%s: '%s' is not a number from %ld to %ld", option, text, min, max);
    return value;
}

int64_t cli_seconds_ms(const struct cli_options *o, const char *option, const char *text)
{
    const double most = 1e6;
    char *end;
    const double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > most)
        cli_usage_error(o, "%s: '%s' is not a number of seconds", option, text);
    return (int64_t)(seconds * 1000 + 0.5);
}

struct snc_topic cli_topic_id(const struct cli_options *o, const char *text)
{
    const long id = cli_number(o, "-T", text, SN_TOPIC_ID_MIN, SN_TOPIC_ID_MAX);
    return (struct snc_topic){.kind = SN_TOPIC_PREDEFINED, .id = (uint16_t)id};
}

struct snc_topic cli_topic_short(const struct cli_options *o, const char *text)
{
    struct reader r = rd_of(bytes_str(text));
    const uint16_t octets = rd_u16(&r);
    if (!rd_close(&r))
        cli_usage_error(o, "-S: a short topic name has exactly two octets, '%s' has %zu", text,
                        strlen(text));
    return (struct snc_topic){.kind = SN_TOPIC_SHORT, .id = octets, .name = bytes_str(text)};
}

struct cli_options cli_defaults(const char *program)
{
    return (struct cli_options){.program = program,
                                .host = "127.0.0.1",
                                .port = 1884,
                                .keep_alive_s = 60,
                                .retry_ms = 10000,
                                .retry_count = 3};
}

static _Noreturn void print_help(const char *usage)
{
    fputs(usage, stdout);
    fputs(CLI_USAGE, stdout);
    exit(fflush(stdout) == 0 ? EXIT_OK : EXIT_RUNTIME);
}

static _Noreturn void print_version(const struct cli_options *o)
{
    printf("%s %s\n", o->program, SENNET_VERSION);
    exit(fflush(stdout) == 0 ? EXIT_OK : EXIT_RUNTIME);
}

static bool will_option(struct cli_options *o, int opt, const char *arg)
{
    switch (opt) {
    case CLI_WILL_TOPIC:
        if (!sn_topic_name_ok(bytes_str(arg)))
            cli_usage_error(o, "--will-topic: '%s' is not a topic name", arg);
        o->will_topic = arg;
        return true;
    case CLI_WILL_PAYLOAD:
        o->will_payload = arg;
        return true;
    case CLI_WILL_QOS:
        o->will_qos = (int)cli_number(o, "--will-qos", arg, 0, 2);
        return true;
    case CLI_WILL_RETAIN:
        o->will_retain = true;
        return true;
    default:
        return false;
    }
}

bool cli_common(struct cli_options *o, int opt, const char *arg, const char *usage)
{
    switch (opt) {
    case 'h':
        o->host = arg;
        return true;
    case 'p':
        o->port = (uint16_t)cli_number(o, "-p", arg, 1, 65535);
        return true;
    case 'i':
        o->client_id = arg;
        return true;
    case 'I':
        o->id_prefix = arg;
        return true;
    case 'A':
        o->bind_address = arg;
        return true;
    case 'k':
        o->keep_alive_s = (uint16_t)cli_number(o, "-k", arg, 0, 65535);
        return true;
    case 'c':
        o->keep_session = true;
        return true;
    case 'd':
        o->debug = true;
        return true;
    case 'q':
        o->qos = (int)cli_number(o, "-q", arg, -1, 2);
        return true;
    case CLI_RETRY_INTERVAL:
        o->retry_ms = cli_seconds_ms(o, "--retry-interval", arg);
        if (o->retry_ms < 1)
            cli_usage_error(o, "--retry-interval: at least 0.001 seconds");
        return true;
    case CLI_RETRY_COUNT:
        o->retry_count = (unsigned)cli_number(o, "--retry-count", arg, 0, 1000);
        return true;
    case CLI_QUIET:
        o->quiet = true;
        return true;
    case CLI_HELP:
        print_help(usage);
    case CLI_VERSION:
        print_version(o);
    default:
        return will_option(o, opt, arg);
    }
}

void cli_finish(struct cli_options *o, int argc, char **argv)
{
    if (optind < argc)
        cli_usage_error(o, "'%s': arguments without an option letter are not expected",
                        argv[optind]);
    if (o->client_id != NULL && o->id_prefix != NULL)
        cli_usage_error(o, "-i and -I exclude each other");
    if (o->keep_session && o->client_id == NULL)
        cli_usage_error(o, "-c needs -i: a kept session is found again by its client id");
    if (o->will_topic == NULL && (o->will_payload != NULL || o->will_qos != 0 || o->will_retain))
        cli_usage_error(o, "--will-payload, --will-qos and --will-retain need --will-topic");
    if (o->client_id != NULL) {
        if (o->client_id[0] == '\0' || !bytes_is_utf8(bytes_str(o->client_id)))
            cli_usage_error(o, "-i: a client id is UTF-8 text of at least one character");
        return;
    }
    const int n =
        o->id_prefix != NULL
            ? snprintf(o->made_id, sizeof o->made_id, "%s%ld", o->id_prefix, (long)getpid())
            : snprintf(o->made_id, sizeof o->made_id, "%s-%ld", o->program, (long)getpid());
    if (n < 0 || (size_t)n >= sizeof o->made_id || !bytes_is_utf8(bytes_str(o->made_id)))
        cli_usage_error(o, "-I: the prefix is too long or not UTF-8");
    o->client_id = o->made_id;
}

const char *cli_return_code(uint8_t return_code)
{
    switch (return_code) {
    case SN_ACCEPTED:
        return "accepted";
    case SN_CONGESTION:
        return "congestion";
    case SN_INVALID_TOPIC_ID:
        return "invalid topic id";
    case SN_NOT_SUPPORTED:
        return "not supported";
    default:
        return "a reserved return code";
    }
}
