/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-sub: prints messages received through an MQTT-SN gateway; see docs/man/sennet-sub.1.scd.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

#include "mqttsn/topic.h"
#include "tools/cli.h"
#include "tools/format.h"
#include "tools/session.h"

static const char USAGE[] =
    "Usage: sennet-sub {-t FILTER | -T ID | -S XX}... [options]\n"
    "Subscribes through an MQTT-SN gateway and prints what arrives.\n"
    "\n"
    "  -t, --topic FILTER         topic name or filter; may be repeated, like -T and -S\n"
    "  -T ID                      predefined topic id\n"
    "  -S XX                      short topic name, two octets\n"
    "  -U, --unsubscribe FILTER   unsubscribe (of a kept session); may be repeated\n"
    "  -q, --qos QOS              0, 1 or 2, default 0\n"
    "  -C COUNT                   exit after this many messages\n"
    "  -W SECONDS                 exit after this time, with code 27\n"
    "  -E                         exit once all subscriptions are acknowledged\n"
    "  -v, --verbose              print \"topic payload\"\n"
    "  -F FORMAT                  %t topic, %p payload, %x payload in hex, %q QoS, %r retain,\n"
    "                             %l length, %m msg id, %I time, %%, \\n, \\t, \\r, \\\\\n"
    "  -N                         no end of line after the message\n"
    "  -R                         leave out retained messages\n"
    "      --retained-only        only retained messages; exit at the first other one\n"
    "\n";

enum { OPT_RETAINED_ONLY = CLI_OWN };

/* As mosquitto_sub. */
enum { EXIT_TIME_IS_UP = 27, REQUESTS_MAX = 256 };

struct request {
    struct snc_topic topic;
    bool is_unsubscribe;
};

struct sub {
    struct cli_options options;
    struct request *requests; /* REQUESTS_MAX */
    unsigned request_count;
    unsigned subscriptions;
    unsigned refusals;
    unsigned long wanted; /* messages; 0: no end */
    unsigned long printed;
    int64_t limit_ms; /* -W; TIME_NEVER: none */
    int64_t until_ms;
    const char *format;
    bool verbose;
    bool no_newline;
    bool exit_when_subscribed;
    bool skip_retained;
    bool retained_only;
    struct session session;
};

/* ---- command line ---------------------------------------------------------------------------- */

static const struct option LONG_OPTIONS[] = {
    CLI_LONG,
    {"topic",         required_argument, NULL, 't'              },
    {"unsubscribe",   required_argument, NULL, 'U'              },
    {"verbose",       no_argument,       NULL, 'v'              },
    {"retained-only", no_argument,       NULL, OPT_RETAINED_ONLY},
    {NULL,            0,                 NULL, 0                }
};

static void add_request(struct sub *s, struct snc_topic topic, bool is_unsubscribe)
{
    if (s->request_count == REQUESTS_MAX)
        cli_usage_error(&s->options, "more than %d topics", REQUESTS_MAX);
    s->requests[s->request_count++] =
        (struct request){.topic = topic, .is_unsubscribe = is_unsubscribe};
    if (!is_unsubscribe)
        s->subscriptions++;
}

static struct snc_topic filter(struct sub *s, const char *option, const char *text)
{
    /* Whether shared subscriptions exist is the gateway's affair. */
    const bool shared = strncmp(text, "$share/", 7) == 0;
    if (!shared && !sn_topic_filter_ok(bytes_str(text)))
        cli_usage_error(&s->options, "%s: '%s' is not a topic filter", option, text);
    return (struct snc_topic){.kind = SN_TOPIC_NORMAL, .name = bytes_str(text)};
}

static void topic_option(struct sub *s, int opt, const char *arg)
{
    switch (opt) {
    case 't':
        add_request(s, filter(s, "-t", arg), false);
        break;
    case 'T':
        add_request(s, cli_topic_id(&s->options, arg), false);
        break;
    case 'S':
        add_request(s, cli_topic_short(&s->options, arg), false);
        break;
    case 'U':
        add_request(s, filter(s, "-U", arg), true);
        break;
    default:
        cli_usage_hint(&s->options);
    }
}

static void own_option(struct sub *s, int opt, const char *arg)
{
    switch (opt) {
    case 'C':
        s->wanted = (unsigned long)cli_number(&s->options, "-C", arg, 1, 1000000000);
        break;
    case 'W':
        s->limit_ms = cli_seconds_ms(&s->options, "-W", arg);
        break;
    case 'E':
        s->exit_when_subscribed = true;
        break;
    case 'v':
        s->verbose = true;
        break;
    case 'F':
        s->format = arg;
        if (format_check(arg) != NULL)
            cli_usage_error(&s->options, "-F: %s", format_check(arg));
        break;
    case 'N':
        s->no_newline = true;
        break;
    case 'R':
        s->skip_retained = true;
        break;
    case OPT_RETAINED_ONLY:
        s->retained_only = true;
        break;
    default:
        topic_option(s, opt, arg);
        break;
    }
}

static void parse(struct sub *s, int argc, char **argv)
{
    int opt;
    while ((opt = getopt_long(argc, argv, CLI_SHORT "t:T:S:U:C:W:EvF:NR", LONG_OPTIONS, NULL)) !=
           -1) {
        if (!cli_common(&s->options, opt, optarg, USAGE))
            own_option(s, opt, optarg);
    }
    cli_finish(&s->options, argc, argv);
    if (s->request_count == 0 && !s->options.keep_session)
        cli_usage_error(&s->options, "subscribe to what? Give a topic with -t, -T or -S");
    if (s->options.qos < 0)
        cli_usage_error(&s->options, "-q: a subscription has QoS 0, 1 or 2");
    if (s->skip_retained && s->retained_only)
        cli_usage_error(&s->options, "-R and --retained-only exclude each other");
}

/* ---- running --------------------------------------------------------------------------------- */

enum step { STEP_ON, STEP_DONE, STEP_FAILED };

static enum step print_message(struct sub *s, const struct snc_event *message)
{
    if (message->retain && s->skip_retained)
        return STEP_ON;
    if (!message->retain && s->retained_only)
        return STEP_DONE;
    const char *format = s->format != NULL ? s->format : s->verbose ? "%t %p" : "%p";
    format_print(stdout, format, message);
    if (!s->no_newline)
        fputc('\n', stdout);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        cli_complain(&s->options, "cannot write: %s", strerror(errno));
        return STEP_FAILED;
    }
    return ++s->printed == s->wanted ? STEP_DONE : STEP_ON;
}

static void complain_refused(struct sub *s, const struct snc_event *event)
{
    s->refusals++;
    if (event->topic_kind == SN_TOPIC_PREDEFINED) {
        cli_complain(&s->options, "gateway refused predefined topic %u: %s",
                     (unsigned)event->topic_id, cli_return_code(event->return_code));
    } else if (event->topic_kind == SN_TOPIC_SHORT) {
        cli_complain(&s->options, "gateway refused a short topic: %s",
                     cli_return_code(event->return_code));
    } else {
        cli_complain(&s->options, "gateway refused '%.*s': %s", (int)event->topic.len,
                     (const char *)event->topic.data, cli_return_code(event->return_code));
    }
}

/* Takes one event; `answered` tells whether it ended the open SUBSCRIBE or UNSUBSCRIBE. */
static enum step take_event(struct sub *s, bool *answered)
{
    struct snc_event event;
    enum step step = STEP_ON;
    snc_peek_event(s->session.snc, &event);
    *answered = event.type == SNC_SUBSCRIBED || event.type == SNC_UNSUBSCRIBED;
    if (event.type == SNC_MESSAGE)
        step = print_message(s, &event);
    if (event.type == SNC_SUBSCRIBED && event.return_code != SN_ACCEPTED)
        complain_refused(s, &event);
    if (event.type == SNC_TIMEOUT || event.type == SNC_DISCONNECTED) {
        session_explain(&s->session, &event);
        step = STEP_FAILED;
    }
    snc_done_event(s->session.snc);
    return step;
}

/* Of a wait that brought no event. */
static int exit_code(enum session_result result)
{
    switch (result) {
    case SESSION_SIGNAL:
        return EXIT_OK;
    case SESSION_TIME:
        return EXIT_TIME_IS_UP;
    case SESSION_EVENT:
    case SESSION_INPUT:
    case SESSION_BROKEN:
        break;
    }
    return EXIT_RUNTIME;
}

/* Runs until the open request is answered, or to the end. -1 to go on, or an exit code. */
static int receive(struct sub *s, bool for_answer)
{
    for (;;) {
        const enum session_result result = session_wait(&s->session, -1, s->until_ms);
        if (result != SESSION_EVENT)
            return exit_code(result);
        bool answered;
        const enum step step = take_event(s, &answered);
        if (step != STEP_ON)
            return step == STEP_DONE ? EXIT_OK : EXIT_RUNTIME;
        if (answered && for_answer)
            return -1;
    }
}

static int request_all(struct sub *s)
{
    for (unsigned i = 0; i < s->request_count; i++) {
        const struct request *r = &s->requests[i];
        const int64_t now_ms = net_now_ms();
        const int outcome = r->is_unsubscribe ? snc_unsubscribe(s->session.snc, now_ms, &r->topic)
                                              : snc_subscribe(s->session.snc, now_ms, &r->topic,
                                                              (enum sn_qos)s->options.qos);
        if (outcome == SNC_NOT_CONNECTED)
            return receive(s, false); /* the event that tells why is waiting */
        if (outcome != 0) {
            cli_complain(&s->options, outcome == SNC_TOO_LARGE
                                          ? "a filter is too long for an MQTT-SN packet"
                                          : "out of memory");
            return EXIT_RUNTIME;
        }
        const int result = receive(s, true);
        if (result >= 0)
            return result;
    }
    if (s->subscriptions > 0 && s->refusals == s->subscriptions)
        return EXIT_RUNTIME;
    return s->exit_when_subscribed ? (s->refusals > 0 ? EXIT_RUNTIME : EXIT_OK) : -1;
}

/* A QoS 2 message counts as printed once; let the gateway know before it is asked again. */
static void finish_receiving(struct sub *s)
{
    const int64_t until_ms = net_now_ms() + s->options.retry_ms;
    while (snc_is_connected(s->session.snc) && snc_receiving(s->session.snc)) {
        const int64_t slice_ms = time_min(until_ms, net_now_ms() + 50);
        const enum session_result result = session_wait(&s->session, -1, slice_ms);
        if (result == SESSION_EVENT)
            snc_done_event(s->session.snc);
        else if (result != SESSION_TIME || net_now_ms() >= until_ms)
            return;
    }
}

static int run(struct sub *s)
{
    s->until_ms = s->limit_ms == TIME_NEVER ? TIME_NEVER : net_now_ms() + s->limit_ms;
    int result = session_open(&s->session, &s->options);
    if (result != 0)
        return result;
    const enum session_result connected = session_connect(&s->session, s->until_ms);
    if (connected != SESSION_EVENT) {
        result = exit_code(connected);
    } else {
        result = request_all(s);
        if (result < 0)
            result = receive(s, false);
        finish_receiving(s);
        session_disconnect(&s->session);
    }
    session_close(&s->session);
    return result;
}

int main(int argc, char **argv)
{
    struct sub s = {.options = cli_defaults("sennet-sub"), .limit_ms = TIME_NEVER};
    s.requests = calloc(REQUESTS_MAX, sizeof *s.requests);
    if (s.requests == NULL)
        return EXIT_SYSTEM;
    parse(&s, argc, argv);
    const int result = run(&s);
    free(s.requests);
    return result;
}
