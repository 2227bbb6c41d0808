/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of sennet-bench. */
#include <arpa/inet.h>
#include <getopt.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#include "tools/bench.h"

enum option_code {
    OPT_HELP = 256,
    OPT_VERSION,
    OPT_GATEWAY,
    OPT_BROKER,
    OPT_STUB,
    OPT_PID,
    OPT_SECONDS,
    OPT_WARM,
    OPT_REPEAT,
    OPT_PORTS,
    OPT_CROWD,
    OPT_WINDOW,
    OPT_SIZE,
    OPT_LABEL,
    OPT_JSON,
    OPT_NO_LIMITS,
    OPT_NO_HEAD,
};

static const struct option OPTIONS[] = {
    {"help",      no_argument,       NULL, OPT_HELP     },
    {"version",   no_argument,       NULL, OPT_VERSION  },
    {"gateway",   required_argument, NULL, OPT_GATEWAY  },
    {"broker",    required_argument, NULL, OPT_BROKER   },
    {"stub",      required_argument, NULL, OPT_STUB     },
    {"pid",       required_argument, NULL, OPT_PID      },
    {"seconds",   required_argument, NULL, OPT_SECONDS  },
    {"warm",      required_argument, NULL, OPT_WARM     },
    {"repeat",    required_argument, NULL, OPT_REPEAT   },
    {"ports",     required_argument, NULL, OPT_PORTS    },
    {"crowd",     required_argument, NULL, OPT_CROWD    },
    {"window",    required_argument, NULL, OPT_WINDOW   },
    {"size",      required_argument, NULL, OPT_SIZE     },
    {"label",     required_argument, NULL, OPT_LABEL    },
    {"json",      required_argument, NULL, OPT_JSON     },
    {"no-limits", no_argument,       NULL, OPT_NO_LIMITS},
    {"no-head",   no_argument,       NULL, OPT_NO_HEAD  },
    {NULL,        0,                 NULL, 0            },
};

static void print_help(void)
{
    fputs("usage: sennet-bench [OPTION]... FIGURE[:NUMBER]...\n"
          "Measures an MQTT-SN gateway: many nodes over UDP on one side, an MQTT broker on the "
          "other,\nand every message checked. See sennet-bench(1); scripts/bench.sh does it all.\n"
          "\n"
          "  --gateway ADDRESS:PORT  the gateway (127.0.0.1:1884)\n"
          "  --broker ADDRESS:PORT   the broker behind it (127.0.0.1:1883)\n"
          "  --stub PORT             instead: be the broker, at 127.0.0.1\n"
          "  --pid N                 the gateway's process, for its processor time and memory\n"
          "  --seconds S             of each measurement (3)\n"
          "  --warm S                before it (0.5)\n"
          "  --repeat N              all of it, N times: medians (1)\n"
          "  --no-limits             leave out the raw limits that figures are compared with\n"
          "  --crowd N               N more nodes are connected, and say nothing (0)\n"
          "  --window N              so many connect or wake up at once; 0: all (4000)\n"
          "  --ports N               at most N source ports; then nodes differ by address (1000)\n"
          "  --size OCTETS           of payloads, 24 to 1024 (64)\n"
          "  --label TEXT            stands above the table and in the JSON lines\n"
          "  --no-head               rows only, for a table that goes on\n"
          "  --json FILE             append a JSON object per case to a file; -: instead of the "
          "table\n"
          "  --help, --version\n"
          "\n"
          "Figures; the number is that of nodes or, with pace, of messages a second:\n",
          stdout);
    case_list();
}

static int usage(const char *what, const char *why)
{
    fprintf(stderr, "sennet-bench: %s: %s\nTry 'sennet-bench --help'.\n", what, why);
    return -1 - EXIT_USAGE;
}

static bool number(const char *text, double min, double max, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= min && *out <= max;
}

/* What a number is stored to. */
static int set_number(struct bench_options *o, int code, const char *name)
{
    double n;
    const double max = code == OPT_STUB ? 65535 : code == OPT_PORTS ? 60000 : 1e9;
    const double min = code == OPT_SIZE ? PAYLOAD_MIN : code == OPT_REPEAT || code == OPT_PORTS;
    if (!number(optarg, min, code == OPT_SIZE ? BENCH_PAYLOAD_MAX : max, &n))
        return usage(name, "not a number that is possible here");
    switch (code) {
    case OPT_STUB:
        o->stub_port = (int)n;
        break;
    case OPT_PID:
        o->pid = (pid_t)n;
        break;
    case OPT_SECONDS:
        o->seconds = n;
        break;
    case OPT_WARM:
        o->warm_seconds = n;
        break;
    case OPT_REPEAT:
        o->repeat = n < BENCH_REPEAT_MAX ? (unsigned)n : BENCH_REPEAT_MAX;
        break;
    case OPT_PORTS:
        o->ports = (uint32_t)n;
        break;
    case OPT_CROWD:
        o->crowd = n < BENCH_NODES_MAX ? (uint32_t)n : BENCH_NODES_MAX;
        break;
    case OPT_WINDOW:
        o->window = (uint32_t)n;
        break;
    default:
        o->size = (uint32_t)n;
    }
    return 0;
}

static int apply(struct bench_options *o, int code, const char *name)
{
    switch (code) {
    case OPT_HELP:
        print_help();
        return -1 - EXIT_OK;
    case OPT_VERSION:
        puts("sennet-bench " SENNET_VERSION);
        return -1 - EXIT_OK;
    case OPT_GATEWAY:
        o->gateway = optarg;
        return 0;
    case OPT_BROKER:
        o->broker = optarg;
        return 0;
    case OPT_LABEL:
        o->label = optarg;
        return strpbrk(optarg, "\"\\|\n") == NULL ? 0 : usage("--label", "plain text, please");
    case OPT_JSON:
        o->json = optarg;
        return 0;
    case OPT_NO_LIMITS:
        o->limits = false;
        return 0;
    case OPT_NO_HEAD:
        o->head = false;
        return 0;
    case '?': /* getopt_long() has said which */
        fputs("Try 'sennet-bench --help'.\n", stderr);
        return -1 - EXIT_USAGE;
    default:
        return set_number(o, code, name);
    }
}

static bool address(const char *text, struct sockaddr_in *out)
{
    char host[NI_MAXHOST];
    const char *colon = strrchr(text, ':');
    double port;
    if (colon == NULL || (size_t)(colon - text) >= sizeof host ||
        !number(colon + 1, 1, 65535, &port))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

/* ---- cases, and the limits that belong to them ----------------------------------------------- */

static int find(const struct bench_case *cases, unsigned n, const char *name)
{
    for (unsigned i = 0; i < n; i++) {
        if (strcmp(cases[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int add_limit(const struct bench_options *o, struct bench_case *cases, unsigned *n,
                     const struct bench_case *of)
{
    char text[BENCH_NAME_MAX];
    const char *limit = case_limit(o, of->figure);
    if (limit == NULL || !o->limits)
        return -1;
    struct bench_case c;
    const uint32_t nodes = strcmp(limit, "echo") == 0 ? BENCH_ECHO_NODES : of->nodes;
    snprintf(text, sizeof text, "%.20s:%u", limit, of->rate > 0 ? of->rate : nodes);
    if (case_parse(text, &c) != NULL)
        return -1;
    const int known = find(cases, *n, c.name);
    if (known >= 0)
        return known;
    cases[*n] = c;
    return (int)(*n)++;
}

static int take_cases(const struct bench_options *o, char **names, int n, struct bench_case *cases,
                      unsigned *n_cases)
{
    *n_cases = 0;
    for (int i = 0; i < n; i++) {
        struct bench_case c;
        const char *why = case_parse(names[i], &c);
        if (why == NULL && *n_cases + 2 > BENCH_CASES_MAX)
            why = "these are too many";
        if (why != NULL)
            return usage(names[i], why);
        if (find(cases, *n_cases, c.name) >= 0)
            continue;
        c.limit = add_limit(o, cases, n_cases, &c);
        cases[(*n_cases)++] = c;
    }
    return *n_cases > 0 ? 0 : usage("FIGURE", "what shall be measured?");
}

int bench_args(struct bench *b, int argc, char **argv, struct bench_case *cases, unsigned *n_cases)
{
    struct bench_options *o = &b->options;
    *o = (struct bench_options){.gateway = "127.0.0.1:1884",
                                .broker = "127.0.0.1:1883",
                                .stub_port = -1,
                                .seconds = 3,
                                .warm_seconds = 0.5,
                                .repeat = 1,
                                .ports = 1000,
                                .window = BENCH_WINDOW,
                                .size = 64,
                                .limits = true,
                                .head = true,
                                .label = "gateway"};
    int code;
    int which = 0;
    while ((code = getopt_long(argc, argv, "", OPTIONS, &which)) != -1) {
        const int e = apply(o, code, OPTIONS[which].name);
        if (e != 0)
            return e;
    }
    if (!address(o->gateway, &b->gateway))
        return usage("--gateway", "an IPv4 address and a port, please");
    if (!address(o->broker, &b->broker))
        return usage("--broker", "an IPv4 address and a port, please");
    return take_cases(o, argv + optind, argc - optind, cases, n_cases);
}
