/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of sennet-sim. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"

#include "mqtt.h"
#include "tools/sim.h"

enum { FIRST_LONG = 256 };

enum option_code {
    OPT_HELP = FIRST_LONG,
    OPT_VERSION,
    OPT_GATEWAY,
    OPT_BROKER,
    OPT_OBSERVE_QOS,
    OPT_SCENARIO,
    OPT_JSON,
    OPT_CONNECT_ONLY,
    OPT_QUIET,
    OPT_PLAIN,
    OPT_WILLS,
    OPT_SLEEPY,
    OPT_WAKE_TOGETHER,
    OPT_OTHERS,
    OPT_UNFORMED,
    OPT_STICK,   /* everything that sim_stick_setting() takes */
    OPT_SETTING, /* everything that plan_group_setting() or plan_run_setting() takes */
};

static const struct option OPTIONS[] = {
    {"help",               no_argument,       NULL, OPT_HELP         },
    {"version",            no_argument,       NULL, OPT_VERSION      },
    {"gateway",            required_argument, NULL, OPT_GATEWAY      },
    {"broker",             required_argument, NULL, OPT_BROKER       },
    {"observe-qos",        required_argument, NULL, OPT_OBSERVE_QOS  },
    {"scenario",           required_argument, NULL, OPT_SCENARIO     },
    {"json",               required_argument, NULL, OPT_JSON         },
    {"connect-only",       no_argument,       NULL, OPT_CONNECT_ONLY },
    {"quiet",              no_argument,       NULL, OPT_QUIET        },
    {"plain",              no_argument,       NULL, OPT_PLAIN        },
    {"wills",              no_argument,       NULL, OPT_WILLS        },
    {"sleepy",             no_argument,       NULL, OPT_SLEEPY       },
    {"wake-together",      no_argument,       NULL, OPT_WAKE_TOGETHER},
    {"others",             required_argument, NULL, OPT_OTHERS       },
    {"stick",              required_argument, NULL, OPT_STICK        },
    {"stick-link",         required_argument, NULL, OPT_STICK        },
    {"firmware",           required_argument, NULL, OPT_STICK        },
    {"framing",            required_argument, NULL, OPT_STICK        },
    {"baud",               required_argument, NULL, OPT_STICK        },
    {"line-faults",        required_argument, NULL, OPT_STICK        },
    {"replug",             required_argument, NULL, OPT_STICK        },
    {"replugs",            required_argument, NULL, OPT_STICK        },
    {"reset",              required_argument, NULL, OPT_STICK        },
    {"rejoin",             required_argument, NULL, OPT_STICK        },
    {"no-ack",             required_argument, NULL, OPT_STICK        },
    {"unformed",           no_argument,       NULL, OPT_UNFORMED     },
    {"sleep",              required_argument, NULL, OPT_SETTING      },
    {"wake-jitter",        required_argument, NULL, OPT_SETTING      },
    {"commands-per-sleep", required_argument, NULL, OPT_SETTING      },
    {"wake-publish",       required_argument, NULL, OPT_SETTING      },
    {"rounds",             required_argument, NULL, OPT_SETTING      },
    {"p99",                required_argument, NULL, OPT_SETTING      },
    {"nodes",              required_argument, NULL, OPT_SETTING      },
    {"seconds",            required_argument, NULL, OPT_SETTING      },
    {"rate",               required_argument, NULL, OPT_SETTING      },
    {"qos",                required_argument, NULL, OPT_SETTING      },
    {"topics",             required_argument, NULL, OPT_SETTING      },
    {"predefined",         required_argument, NULL, OPT_SETTING      },
    {"short",              required_argument, NULL, OPT_SETTING      },
    {"size",               required_argument, NULL, OPT_SETTING      },
    {"clean",              required_argument, NULL, OPT_SETTING      },
    {"downlink",           required_argument, NULL, OPT_SETTING      },
    {"keep-alive",         required_argument, NULL, OPT_SETTING      },
    {"retry-interval",     required_argument, NULL, OPT_SETTING      },
    {"retry-count",        required_argument, NULL, OPT_SETTING      },
    {"id-prefix",          required_argument, NULL, OPT_SETTING      },
    {"loss",               required_argument, NULL, OPT_SETTING      },
    {"duplicate",          required_argument, NULL, OPT_SETTING      },
    {"latency",            required_argument, NULL, OPT_SETTING      },
    {"jitter",             required_argument, NULL, OPT_SETTING      },
    {"drain",              required_argument, NULL, OPT_SETTING      },
    {"gateway-dies",       required_argument, NULL, OPT_SETTING      },
    {"seed",               required_argument, NULL, OPT_SETTING      },
    {"connect-window",     required_argument, NULL, OPT_SETTING      },
    {NULL,                 0,                 NULL, 0                },
};

static void print_help(void)
{
    fputs("usage: sennet-sim [OPTION]...\n"
          "Simulates MQTT-SN nodes over UDP, or behind an emulated ZigBee stick, and keeps books "
          "on every message. See sennet-sim(1).\n"
          "\n"
          "  --gateway HOST:PORT   the gateway (127.0.0.1:1884)\n"
          "  --broker URL          mqtt://host:port: see what arrives, send commands from there\n"
          "  --observe-qos Q       how to subscribe there: 0, 1 or 2 (0)\n"
          "  --scenario FILE       groups of nodes and timed events\n"
          "  --seconds S           end after S seconds; otherwise Ctrl-C ends\n"
          "  --drain S             time at the end for what is under way (10)\n"
          "  --gateway-dies yes    it is killed meanwhile: what the broker repeats is no fault\n"
          "  --seed N              of everything random\n"
          "  --connect-only        connect all, measure, leave\n"
          "  --connect-window N    CONNECTs open at once (256)\n"
          "  --json FILE|-         the ledger as JSON too\n"
          "  --plain, --quiet      lines instead of the live table; no progress at all\n"
          "an emulated ZigBee stick on a pseudo terminal, with the nodes behind it:\n"
          "  --stick KIND          znp, ezsp, deconz, xbee or serial; prints what to configure\n"
          "  --stick-link PATH     a symbolic link that always leads to it\n"
          "  --firmware N, --framing F, --unformed, --baud B    what it is like\n"
          "  --replug S, --reset S, --rejoin S, --no-ack S, --line-faults P  what happens to it\n"
          "  --replugs N           end after N times of --replug\n"
          "nodes (defaults of a scenario's groups):\n"
          "  --nodes N             how many (1)\n"
          "  --rate R|max          messages per second and node (1); max: window 1, no pause\n"
          "  --qos -1|0|1|2|mix    (1)\n"
          "  --topics KIND         registered (default), predefined, short or mix\n"
          "  --predefined ID=TOPIC as in the gateway's [topics] (1=meters/reading)\n"
          "  --short XX            the short topic (me)\n"
          "  --size OCTETS         pad payloads to this\n"
          "  --wills               nodes have wills\n"
          "  --downlink R          commands per second to each node (needs --broker)\n"
          "  --clean yes|no        clean sessions (yes)\n"
          "  --keep-alive S        (60)\n"
          "  --retry-interval S, --retry-count N   of the nodes (10, 3)\n"
          "  --id-prefix TEXT      of client ids and topics (sim)\n"
          "  --loss P, --duplicate P, --latency MS, --jitter MS   of the air, both directions\n"
          "nodes that sleep:\n"
          "  --sleepy              connect, sleep, wake up for what the gateway has kept\n"
          "  --sleep S, --wake-jitter S     how long, and at random up to so much longer (30, 0)\n"
          "  --commands-per-sleep N         sent to each while it sleeps (needs --broker)\n"
          "  --wake-publish N      every Nth time connect and publish (never)\n"
          "  --wake-together       wake when all sleep and have their commands\n"
          "  --rounds N            end after N times of that\n"
          "  --others M            M nodes that do not sleep, besides\n"
          "  --p99 MS              fail when these wait longer for acknowledgements meanwhile\n"
          "  --help, --version\n",
          stdout);
}

static int usage(const char *text, const char *detail)
{
    fprintf(stderr, "sennet-sim: %s%s\nTry 'sennet-sim --help'.\n", text, detail);
    return -1 - EXIT_USAGE;
}

/* ---- options --------------------------------------------------------------------------------- */

static int apply_setting(struct sim *sim, const char *name, const char *value)
{
    struct sim_why why = {""};
    const bool understood =
        plan_is_of_run(bytes_str(name))
            ? plan_run_setting(&sim->plan, bytes_str(name), bytes_str(value), &why)
            : plan_group_setting(&sim->plan.defaults, bytes_str(name), bytes_str(value), &why);
    return understood ? 0 : usage("--", why.text);
}

static int set_observe_qos(struct sim *sim, const char *value)
{
    if (strlen(value) != 1 || value[0] < '0' || value[0] > '2')
        return usage("--observe-qos must be 0, 1 or 2", "");
    sim->options.observe_qos = value[0] - '0';
    return 0;
}

static int apply_option(struct sim *sim, int code, const char *name)
{
    struct sim_options *o = &sim->options;
    switch ((enum option_code)code) {
    case OPT_HELP:
        print_help();
        return -1 - EXIT_OK;
    case OPT_VERSION:
        printf("sennet-sim %s (Paho MQTT C %s)\n", SENNET_VERSION, mqtt_library_version());
        return -1 - EXIT_OK;
    case OPT_GATEWAY:
        o->gateway = optarg;
        return 0;
    case OPT_BROKER:
        o->broker = optarg;
        return 0;
    case OPT_OBSERVE_QOS:
        return set_observe_qos(sim, optarg);
    case OPT_SCENARIO:
        o->scenario = optarg;
        return 0;
    case OPT_JSON:
        o->json = optarg;
        return 0;
    case OPT_CONNECT_ONLY:
        o->connect_only = true;
        return 0;
    case OPT_QUIET:
        o->quiet = true;
        return 0;
    case OPT_PLAIN:
        o->plain = true;
        return 0;
    case OPT_WILLS:
        sim->plan.defaults.wills = true;
        return 0;
    case OPT_SLEEPY:
        sim->plan.defaults.sleepy = true;
        return 0;
    case OPT_WAKE_TOGETHER:
        sim->plan.defaults.wake_together = true;
        return 0;
    case OPT_OTHERS:
        o->others = optarg;
        return 0;
    case OPT_UNFORMED:
        o->stick.unformed = true;
        return 0;
    case OPT_STICK: {
        const char *why;
        return sim_stick_setting(&o->stick, name, optarg, &why) ? 0 : usage(why, "");
    }
    case OPT_SETTING:
        if (strcmp(name, "sleep") == 0 || strcmp(name, "wake-jitter") == 0)
            o->of_sleepers = name;
        return apply_setting(sim, name, optarg);
    }
    return usage("unknown option", "");
}

/* ---- what follows from them ------------------------------------------------------------------ */

static int resolve(struct sim *sim)
{
    const char *why =
        net_resolve(sim->options.gateway, SOCK_DGRAM, &sim->gateway, &sim->gateway_len);
    if (why == NULL)
        return 0;
    fprintf(stderr, "sennet-sim: gateway %s: %s\n", sim->options.gateway, why);
    return usage("--gateway", " can't be used");
}

static int read_scenario(struct sim *sim)
{
    FILE *in = fopen(sim->options.scenario, "re");
    if (in == NULL) {
        fprintf(stderr, "sennet-sim: %s: %s\n", sim->options.scenario, strerror(errno));
        return -1 - EXIT_NO_INPUT;
    }
    const int n_errors = plan_read(&sim->plan, sim->options.scenario, in, stderr);
    fclose(in);
    return n_errors == 0 ? 0 : -1 - EXIT_USAGE;
}

/* The nodes of --nodes, and those of --others, which do not sleep. */
static int add_groups(struct sim *sim)
{
    struct sim_why why = {""};
    struct sim_group others = sim->plan.defaults;
    if (plan_add_group(&sim->plan, &sim->plan.defaults, bytes_str("nodes"), &why) == NULL)
        return usage("", why.text);
    if (sim->options.others == NULL)
        return 0;
    others.sleepy = others.wake_together = false;
    others.commands_per_sleep = others.wake_publish = 0;
    others.downlink = 0;
    if (!plan_group_setting(&others, bytes_str("nodes"), bytes_str(sim->options.others), &why) ||
        plan_add_group(&sim->plan, &others, bytes_str("others"), &why) == NULL)
        return usage("--others: ", why.text);
    return 0;
}

/* What the command line says of the run beats the scenario. */
static int load_scenario(struct sim *sim)
{
    const struct sim_plan said = sim->plan;
    if (sim->options.others != NULL)
        return usage("--others is for runs without --scenario: add a group there", "");
    const int e = read_scenario(sim);
    if (e != 0)
        return e;
    if (said.duration_ms != TIME_NEVER)
        sim->plan.duration_ms = said.duration_ms;
    if (said.has_seed)
        sim->plan.seed = said.seed;
    if (said.rounds > 0)
        sim->plan.rounds = said.rounds;
    if (said.p99_ms > 0)
        sim->plan.p99_ms = said.p99_ms;
    return 0;
}

/* Who says how long they sleep means them to: a run in which nobody does would prove nothing. */
static bool nobody_sleeps(const struct sim *sim)
{
    for (size_t i = 0; i < sim->plan.n_groups; i++) {
        if (sim->plan.groups[i].sleepy)
            return false;
    }
    return true;
}

static int make_plan(struct sim *sim)
{
    struct sim_why why = {""};
    const int e = sim->options.scenario != NULL ? load_scenario(sim) : add_groups(sim);
    if (e != 0)
        return e;
    if (!plan_finish(&sim->plan, &why))
        return usage("", why.text);
    for (size_t i = 0; i < sim->plan.n_groups; i++) {
        if (plan_commands(&sim->plan.groups[i]) && sim->options.broker == NULL)
            return usage("--downlink and --commands-per-sleep", " need --broker to send from");
    }
    if (sim->options.stick.replugs > 0 && sim->options.stick.replug_ms == TIME_NEVER)
        return usage("--replugs", " needs --replug");
    if (sim->options.of_sleepers != NULL && nobody_sleeps(sim))
        return usage("--sleep and --wake-jitter", " are for nodes that sleep: --sleepy");
    uint64_t random[2] = {1, 1};
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return usage("", "no random numbers");
    if (!sim->plan.has_seed)
        sim->plan.seed = random[0] & 0xffffffff;
    sim->run = (uint32_t)random[1];
    return 0;
}

int sim_args(struct sim *sim, int argc, char **argv)
{
    plan_init(&sim->plan);
    sim->options.gateway = "127.0.0.1:1884";
    sim->options.stick = sim_stick_defaults();
    int index = 0;
    int code;
    while ((code = getopt_long(argc, argv, "", OPTIONS, &index)) != -1) {
        if (code == '?') { /* getopt_long() has said which */
            fputs("Try 'sennet-sim --help'.\n", stderr);
            return -1 - EXIT_USAGE;
        }
        const int e = apply_option(sim, code, OPTIONS[index].name);
        if (e != 0)
            return e;
    }
    if (optind < argc)
        return usage("unexpected argument ", argv[optind]);
    const int e = make_plan(sim);
    return e != 0 ? e : resolve(sim);
}
