/* SPDX-License-Identifier: Apache-2.0 */
/* sennetd: the command line. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

#include "app.h"
#include "config.h"
#include "doctor.h"
#include "list_links.h"
#include "report.h"
#include "store_move.h"
#include "system.h"

static const char default_config[] = "/etc/sennet/gateway.conf";

static const char usage[] =
    "Usage: sennetd [OPTION]...\n"
    "MQTT-SN gateway: connects sensor nodes to an MQTT broker.\n"
    "\n"
    "  -c, --config FILE     read this configuration (default: /etc/sennet/gateway.conf)\n"
    "  -t, --check-config    check the configuration, touch nothing, exit\n"
    "      --print-config    print the configuration in effect, secrets masked, exit\n"
    "      --doctor          examine everything that the configuration needs, say what is\n"
    "                        wrong and what to do, exit\n"
    "      --export-state FILE  write everything that is stored to FILE ('-': stdout), also\n"
    "                        while the daemon runs, exit\n"
    "      --import-state FILE  read such a file ('-': stdin) into an empty state_dir, exit\n"
    "      --list-links      list the serial devices of this machine and what they are, exit\n"
    "      --pcap FILE       capture the MQTT-SN traffic of all links for Wireshark\n"
    "  -d, --debug           log level debug, whatever the configuration says\n"
    "      --log-format FMT  'text' or 'json', whatever the configuration says\n"
    "      --version         print the versions of this program and its libraries, exit\n"
    "  -h, --help            print this, exit\n"
    "\n"
    "Signals: TERM, INT finish what is under way and exit (a second one exits at once);\n"
    "         HUP reads the configuration again; USR1 writes all counters to the log.\n"
    "Exit codes: 0 done, 64 usage, 66 a file not readable, 69 address not available,\n"
    "            71 system error, 73 state_dir not usable, 77 permission, 78 configuration.\n"
    "See sennetd(8) and gateway.conf(5).\n";

enum action { RUN, CHECK, PRINT, EXAMINE, EXPORT, IMPORT };

struct arguments {
    const char *file;
    enum action action;
    struct config_overrides overrides;
    const char *state; /* file of EXPORT, IMPORT */
};

enum {
    OPT_PRINT = 256,
    OPT_FORMAT,
    OPT_VERSION,
    OPT_PCAP,
    OPT_LIST,
    OPT_DOCTOR,
    OPT_EXPORT,
    OPT_IMPORT
};

static const struct option options[] = {
    {"config",       required_argument, NULL, 'c'        },
    {"check-config", no_argument,       NULL, 't'        },
    {"print-config", no_argument,       NULL, OPT_PRINT  },
    {"debug",        no_argument,       NULL, 'd'        },
    {"log-format",   required_argument, NULL, OPT_FORMAT },
    {"doctor",       no_argument,       NULL, OPT_DOCTOR },
    {"list-links",   no_argument,       NULL, OPT_LIST   },
    {"pcap",         required_argument, NULL, OPT_PCAP   },
    {"export-state", required_argument, NULL, OPT_EXPORT },
    {"import-state", required_argument, NULL, OPT_IMPORT },
    {"version",      no_argument,       NULL, OPT_VERSION},
    {"help",         no_argument,       NULL, 'h'        },
    {NULL,           0,                 NULL, 0          },
};

static int misused(void)
{
    fprintf(stderr, "Try 'sennetd --help'.\n");
    return EXIT_USAGE;
}

static bool set_format(struct arguments *a, const char *word)
{
    a->overrides.has_format = true;
    a->overrides.json = strcmp(word, "json") == 0;
    if (a->overrides.json || strcmp(word, "text") == 0)
        return true;
    fprintf(stderr, "sennetd: --log-format is 'text' or 'json', not '%s'\n", word);
    return false;
}

/* -1: go on; otherwise an exit code. */
static int parse(int argc, char **argv, struct arguments *a)
{
    for (;;) {
        const int c = getopt_long(argc, argv, "c:tdh", options, NULL);
        switch (c) {
        case -1:
            if (optind == argc)
                return -1;
            fprintf(stderr, "sennetd: unexpected argument '%s'\n", argv[optind]);
            return misused();
        case 'c':
            a->file = optarg;
            break;
        case 't':
            a->action = CHECK;
            break;
        case 'd':
            a->overrides.debug = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        case OPT_PRINT:
            a->action = PRINT;
            break;
        case OPT_FORMAT:
            if (!set_format(a, optarg))
                return misused();
            break;
        case OPT_DOCTOR:
            a->action = EXAMINE;
            break;
        case OPT_LIST:
            return list_links("", stdout);
        case OPT_PCAP:
            a->overrides.pcap = optarg;
            break;
        case OPT_EXPORT:
        case OPT_IMPORT:
            a->action = c == OPT_EXPORT ? EXPORT : IMPORT;
            a->state = optarg;
            break;
        case OPT_VERSION:
            report_version(stdout);
            return EXIT_OK;
        default:
            return misused();
        }
    }
}

static int import_state(const struct config *config, const char *file)
{
    const char **const links = calloc(config->n_links, sizeof *links);
    if (links == NULL)
        return EXIT_SYSTEM;
    for (size_t i = 0; i < config->n_links; i++)
        links[i] = config->links[i].name;
    struct store_options store = store_defaults();
    store.dir = config->gateway.state_dir;
    store.durability = (enum store_durability)(config->store.durability - 1);
    store.max_bytes = config->store.max_bytes;
    store.links = links;
    store.n_links = config->n_links;
    const int code = store_import(&store, file, stderr);
    free(links);
    return code;
}

static int act(const struct arguments *a, struct config *config)
{
    switch (a->action) {
    case CHECK:
        printf("%s: ok\n", a->file);
        return EXIT_OK;
    case PRINT:
        config_print(config, stdout);
        return EXIT_OK;
    case EXAMINE:
        return doctor(config, "", stdout);
    case EXPORT:
        return store_export(config->gateway.state_dir, a->state, stderr);
    case IMPORT:
        return import_state(config, a->state);
    case RUN:
        break;
    }
    if (config_override(config, &a->overrides) != 0)
        return EXIT_SYSTEM;
    return app_run(config, &a->overrides);
}

int main(int argc, char **argv)
{
    if (system_standard_streams() != 0)
        return EXIT_SYSTEM;
    struct arguments a = {.file = default_config, .action = RUN};
    int code = parse(argc, argv, &a);
    if (code >= 0)
        return code;

    struct config *config = NULL;
    code = config_load(a.file, stderr, &config);
    if (code < 0) {
        fprintf(stderr, "sennetd: %s: %s\n", a.file, strerror(-code));
        return EXIT_SYSTEM;
    }
    if (code > 0)
        return code;
    code = act(&a, config);
    config_free(config);
    /* A full disk or a closed pipe must not look like success. */
    return fflush(stdout) == 0 || code != 0 ? code : EXIT_RUNTIME;
}
