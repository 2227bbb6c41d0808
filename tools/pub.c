/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-pub: publishes messages through an MQTT-SN gateway; see docs/man/sennet-pub.1.scd. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"

#include "mqttsn/topic.h"
#include "tools/cli.h"
#include "tools/lines.h"
#include "tools/session.h"

static const char USAGE[] =
    "Usage: sennet-pub {-t TOPIC | -T ID | -S XX} {-m TEXT | -f FILE | -l | -s | -n} [options]\n"
    "Publishes messages through an MQTT-SN gateway.\n"
    "\n"
    "  -t, --topic TOPIC          topic name; registered at the gateway first\n"
    "  -T ID                      predefined topic id\n"
    "  -S XX                      short topic name, two octets\n"
    "  -m, --message TEXT         the message\n"
    "  -f, --file FILE            the contents of a file\n"
    "  -l, --stdin-line           one message per line of standard input\n"
    "  -s, --stdin-file           all of standard input as one message\n"
    "  -n, --null-message         an empty message\n"
    "  -q, --qos QOS              0, 1, 2, or -1 (no connection; needs -T or -S), default 0\n"
    "  -r, --retain               to be retained by the broker\n"
    "      --repeat N             send it N times (not with -l)\n"
    "      --repeat-delay SECONDS wait between them\n"
    "\n";

enum { OPT_REPEAT = CLI_OWN, OPT_REPEAT_DELAY };

enum source { FROM_NOWHERE, FROM_TEXT, FROM_FILE, FROM_LINES, FROM_STDIN, FROM_NOTHING };

struct pub {
    struct cli_options options;
    struct snc_topic topic;
    unsigned topics; /* given on the command line */
    enum source source;
    const char *text; /* the message, or the file's name */
    bool retain;
    unsigned long repeat;
    int64_t repeat_delay_ms;
    struct session session;
    bool refused; /* at least one message */
};

/* ---- command line ---------------------------------------------------------------------------- */

static const struct option LONG_OPTIONS[] = {
    CLI_LONG,
    {"topic",        required_argument, NULL, 't'             },
    {"message",      required_argument, NULL, 'm'             },
    {"file",         required_argument, NULL, 'f'             },
    {"stdin-line",   no_argument,       NULL, 'l'             },
    {"stdin-file",   no_argument,       NULL, 's'             },
    {"null-message", no_argument,       NULL, 'n'             },
    {"retain",       no_argument,       NULL, 'r'             },
    {"repeat",       required_argument, NULL, OPT_REPEAT      },
    {"repeat-delay", required_argument, NULL, OPT_REPEAT_DELAY},
    {NULL,           0,                 NULL, 0               }
};

static void set_source(struct pub *p, enum source source, const char *text)
{
    if (p->source != FROM_NOWHERE)
        cli_usage_error(&p->options, "only one of -m, -f, -l, -s and -n can be given");
    p->source = source;
    p->text = text;
}

static void set_topic(struct pub *p, struct snc_topic topic)
{
    if (p->topics++ > 0)
        cli_usage_error(&p->options, "only one of -t, -T and -S can be given, and once");
    p->topic = topic;
}

static void own_option(struct pub *p, int opt, const char *arg)
{
    switch (opt) {
    case 't':
        if (!sn_topic_name_ok(bytes_str(arg)))
            cli_usage_error(&p->options, "-t: '%s' is not a topic name to publish to", arg);
        set_topic(p, (struct snc_topic){.kind = SN_TOPIC_NORMAL, .name = bytes_str(arg)});
        break;
    case 'T':
        set_topic(p, cli_topic_id(&p->options, arg));
        break;
    case 'S':
        set_topic(p, cli_topic_short(&p->options, arg));
        break;
    case 'm':
        set_source(p, FROM_TEXT, arg);
        break;
    case 'f':
        set_source(p, FROM_FILE, arg);
        break;
    case 'l':
        set_source(p, FROM_LINES, NULL);
        break;
    case 's':
        set_source(p, FROM_STDIN, NULL);
        break;
    case 'n':
        set_source(p, FROM_NOTHING, "");
        break;
    case 'r':
        p->retain = true;
        break;
    case OPT_REPEAT:
        p->repeat = (unsigned long)cli_number(&p->options, "--repeat", arg, 1, 1000000000);
        break;
    case OPT_REPEAT_DELAY:
        p->repeat_delay_ms = cli_seconds_ms(&p->options, "--repeat-delay", arg);
        break;
    default:
        cli_usage_hint(&p->options);
    }
}

static void parse(struct pub *p, int argc, char **argv)
{
    int opt;
    while ((opt = getopt_long(argc, argv, CLI_SHORT "t:T:S:m:f:lsnr", LONG_OPTIONS, NULL)) != -1) {
        if (!cli_common(&p->options, opt, optarg, USAGE))
            own_option(p, opt, optarg);
    }
    cli_finish(&p->options, argc, argv);
    if (p->topics == 0)
        cli_usage_error(&p->options, "where to? Give a topic with -t, -T or -S");
    if (p->source == FROM_NOWHERE)
        cli_usage_error(&p->options, "what? Give a message with -m, -f, -l, -s or -n");
    if (p->options.qos == -1 && p->topic.kind == SN_TOPIC_NORMAL)
        cli_usage_error(&p->options, "QoS -1 needs a predefined topic (-T) or a short one (-S)");
    if (p->source == FROM_LINES && (p->repeat > 1 || p->repeat_delay_ms > 0))
        cli_usage_error(&p->options, "--repeat and --repeat-delay do not go with -l");
}

/* ---- one message ----------------------------------------------------------------------------- */

static enum sn_qos wire_qos(const struct pub *p)
{
    return p->options.qos == -1 ? SN_QOS_MINUS_1 : (enum sn_qos)p->options.qos;
}

static bool needs_registration(const struct pub *p)
{
    return p->topic.kind == SN_TOPIC_NORMAL && p->topic.id == 0;
}

static void complain_refused(struct pub *p, uint8_t return_code)
{
    p->refused = true;
    if (return_code == SN_INVALID_TOPIC_ID && p->topic.kind == SN_TOPIC_NORMAL)
        p->topic.id = 0;
    cli_complain(&p->options, "gateway refused: %s", cli_return_code(return_code));
}

/* Takes the next event. 0, or an exit code when the connection is gone. */
static int take_event(struct pub *p, struct snc_event *event)
{
    snc_peek_event(p->session.snc, event);
    const bool gone = event->type == SNC_TIMEOUT || event->type == SNC_DISCONNECTED;
    if (gone)
        session_explain(&p->session, event);
    snc_done_event(p->session.snc);
    return gone ? EXIT_RUNTIME : 0;
}

/* Keeps the connection alive until then, or until `input_fd` can be read. 0, or an exit code. */
static int idle(struct pub *p, int input_fd, int64_t until_ms)
{
    for (;;) {
        const enum session_result result = session_wait(&p->session, input_fd, until_ms);
        if (result == SESSION_TIME || result == SESSION_INPUT)
            return 0;
        struct snc_event event;
        if (result != SESSION_EVENT || take_event(p, &event) != 0)
            return EXIT_RUNTIME;
        if (event.type == SNC_PUBLISHED && event.return_code != SN_ACCEPTED)
            complain_refused(p, event.return_code);
    }
}

/* Waits for the outcome of the open request. 0 and the gateway's answer, or an exit code. */
static int await(struct pub *p, enum snc_event_type type, struct snc_event *event)
{
    do {
        if (session_wait(&p->session, -1, TIME_NEVER) != SESSION_EVENT || take_event(p, event) != 0)
            return EXIT_RUNTIME;
    } while (event->type != type || (type == SNC_PUBLISHED && event->qos == SN_QOS_0));
    return 0;
}

static int complain_not_started(struct pub *p, int outcome, size_t octets)
{
    if (outcome == SNC_TOO_LARGE) {
        p->refused = true;
        cli_complain(&p->options, "%zu octets do not fit an MQTT-SN packet", octets);
        return 0;
    }
    cli_complain(&p->options,
                 outcome == SNC_NOT_CONNECTED ? "the connection is gone" : "out of memory");
    return EXIT_RUNTIME;
}

/* A name needs an id before the first message. */
static int register_name(struct pub *p, uint8_t *return_code)
{
    const int outcome = snc_register(p->session.snc, net_now_ms(), p->topic.name);
    if (outcome != 0)
        return complain_not_started(p, outcome, p->topic.name.len);
    struct snc_event event;
    const int result = await(p, SNC_REGISTERED, &event);
    if (result == 0) {
        *return_code = event.return_code;
        p->topic.id = event.topic_id;
    }
    return result;
}

static int publish_once(struct pub *p, struct bytes data, uint8_t *return_code)
{
    *return_code = SN_ACCEPTED;
    if (needs_registration(p)) {
        const int result = register_name(p, return_code);
        if (result != 0 || needs_registration(p))
            return result;
    }
    const int outcome =
        snc_publish(p->session.snc, net_now_ms(), &p->topic, data, wire_qos(p), p->retain);
    if (outcome != 0)
        return complain_not_started(p, outcome, data.len);
    if (p->options.qos < 1)
        return idle(p, -1, net_now_ms());
    struct snc_event event;
    const int result = await(p, SNC_PUBLISHED, &event);
    if (result == 0)
        *return_code = event.return_code;
    return result;
}

/* 0 (also when the gateway refused, see `refused`), or an exit code. */
static int publish(struct pub *p, struct bytes data)
{
    uint8_t return_code;
    int result = publish_once(p, data, &return_code);
    /* A gateway that forgot our registration gets it again, once. */
    if (result == 0 && return_code == SN_INVALID_TOPIC_ID && p->topic.kind == SN_TOPIC_NORMAL) {
        p->topic.id = 0;
        result = publish_once(p, data, &return_code);
    }
    if (result == 0 && return_code != SN_ACCEPTED)
        complain_refused(p, return_code);
    return result;
}

/* ---- sources --------------------------------------------------------------------------------- */

static int publish_repeatedly(struct pub *p, struct bytes data)
{
    int result = publish(p, data);
    for (unsigned long i = 1; result == 0 && i < p->repeat; i++) {
        if (p->repeat_delay_ms > 0)
            result = idle(p, -1, net_now_ms() + p->repeat_delay_ms);
        if (result == 0)
            result = publish(p, data);
    }
    return result;
}

static int publish_lines(struct pub *p)
{
    struct lines lines;
    if (lines_init(&lines, STDIN_FILENO) != 0)
        return EXIT_SYSTEM;
    int result = 0;
    while (result == 0) {
        struct bytes line;
        if (lines_next(&lines, &line)) {
            if (line.len > 0)
                result = publish(p, line);
        } else if (lines.at_end) {
            break;
        } else {
            result = idle(p, lines.fd, TIME_NEVER);
            if (result == 0)
                lines_fill(&lines);
        }
    }
    if (lines.skipped > 0) {
        p->refused = true;
        cli_complain(&p->options, "%zu lines were too long and left out", lines.skipped);
    }
    if (lines.read_errno != 0) {
        cli_complain(&p->options, "cannot read standard input: %s", strerror(lines.read_errno));
        result = EXIT_NO_INPUT;
    }
    lines_deinit(&lines);
    return result;
}

/* The message of -m, -n, -f and -s. 0, or an exit code. The caller frees `*owned`. */
static int load(const struct pub *p, uint8_t **owned, struct bytes *data)
{
    *owned = NULL;
    if (p->source == FROM_TEXT || p->source == FROM_NOTHING) {
        *data = bytes_str(p->text);
        return 0;
    }
    const char *name = p->source == FROM_FILE ? p->text : "standard input";
    const int fd = p->source == FROM_FILE ? open(p->text, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    size_t len = 0;
    const int result = fd < 0 ? -errno : lines_whole(fd, SN_PACKET_MAX, owned, &len);
    if (fd > STDIN_FILENO)
        close(fd);
    if (result != 0) {
        cli_complain(&p->options, "%s: %s", name,
                     result == -EFBIG ? "too large for an MQTT-SN packet" : strerror(-result));
        return EXIT_NO_INPUT;
    }
    *data = bytes_of(*owned, len);
    return 0;
}

static int run(struct pub *p, struct bytes data)
{
    int result = session_open(&p->session, &p->options);
    if (result != 0)
        return result;
    const bool connects = p->options.qos != -1;
    if (connects && session_connect(&p->session, TIME_NEVER) != SESSION_EVENT)
        result = EXIT_RUNTIME;
    if (result == 0)
        result = p->source == FROM_LINES ? publish_lines(p) : publish_repeatedly(p, data);
    if (connects && snc_is_connected(p->session.snc)) {
        const uint8_t return_code = session_disconnect(&p->session);
        if (return_code != SN_ACCEPTED)
            complain_refused(p, return_code);
    }
    session_close(&p->session);
    return result == 0 && p->refused ? EXIT_RUNTIME : result;
}

int main(int argc, char **argv)
{
    struct pub p = {.options = cli_defaults("sennet-pub"), .repeat = 1};
    parse(&p, argc, argv);
    uint8_t *owned = NULL;
    struct bytes data = bytes_of(NULL, 0);
    int result = p.source == FROM_LINES ? 0 : load(&p, &owned, &data);
    if (result == 0)
        result = run(&p, data);
    free(owned);
    return result;
}
