/* SPDX-License-Identifier: Apache-2.0 */
/* sennet-chaos: plays seeds, and says what came of it. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "sim/chaos/chaos.h"

static const char usage[] =
    "Usage: sennet-chaos [options]\n"
    "  --nodes N     simulated nodes, 1 to 4000 (200)\n"
    "  --minutes M   of virtual time in bad air (1440)\n"
    "  --restarts R  kill the gateway every R seconds or so, and start it from its store (0: "
    "never)\n"
    "  --failures F  with restarts: the store fails every F seconds or so (0: never)\n"
    "  --seed S      the first seed (1)\n"
    "  --seeds K     how many, one after the other (1)\n"
    "  --trace NODE  print every packet of this node, by its number\n"
    "  --figures     print one more line, of bare figures\n"
    "  --sum         play nothing; read the sum of such lines, and judge that\n"
    "Exit status 1 when a seed failed.\n";

/* The whole run must keep within this, times the least number of repetitions (watch.c), if the gateway
 * is there all the time. */
static const double most_repetitions = 1.6;

static unsigned long long number(const char *text, unsigned long long most)
{
    char *end;
    const unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || n > most) {
        fprintf(stderr, "sennet-chaos: '%s' is not a number up to %llu\n", text, most);
        exit(2);
    }
    return n;
}

static unsigned long long of(uint64_t n)
{
    return n;
}

static void print_summary(const struct chaos_options *o, const struct totals *t)
{
    const uint64_t up = t->up[0] + t->up[1] + t->up[2];
    const uint64_t down = t->down[0] + t->down[1] + t->down[2];
    printf("%llu seeds of %u nodes, %.1f virtual hours in all, %.2f s of processor per seed; %llu "
           "failed\n",
           of(t->seeds), o->nodes, (double)t->virtual_ms / 3600000,
           (double)t->cpu_ms / 1000 / (double)t->seeds, of(t->failed));
    printf("messages up: %llu (QoS 0 %llu, 1 %llu, 2 %llu); QoS 1 again %llu\n", of(up),
           of(t->up[0]), of(t->up[1]), of(t->up[2]), of(t->up_again));
    printf("messages down: %llu (QoS 0 %llu, 1 %llu, 2 %llu); QoS 1 again %llu\n", of(down),
           of(t->down[0]), of(t->down[1]), of(t->down[2]), of(t->down_again));
    printf("drops in the log: %llu by quota, %llu for want of any REGACK; QoS 1 and 2 missing of "
           "these: %llu\n",
           of(t->quota_drops), of(t->refused_drops), of(t->policy_drops));
    printf("QoS 1 and 2 lost: up %llu, down %llu; QoS 2 twice: up %llu, down %llu\n",
           of(t->up_lost), of(t->down_lost), of(t->up_twice), of(t->down_twice));
    printf("packets: %llu, lost %llu, copied %llu\n", of(t->packets), of(t->packets_lost),
           of(t->packets_copied));
    printf("connections %llu, sleeps %llu, wakes %llu, moves %llu, takeovers %llu, reboots %llu, "
           "vanished %llu, "
           "given up for lost %llu, wills %llu, updates of wills %llu, broker flaps %llu, of these "
           "with "
           "requests under way %llu\n",
           of(t->connects), of(t->sleeps), of(t->wakes), of(t->moves), of(t->takeovers),
           of(t->reboots), of(t->vanished), of(t->losses), of(t->wills), of(t->updates),
           of(t->flaps), of(t->broken));
    if (t->restarts > 0)
        printf("restarts of the gateway: %llu, failures of its store: %llu\n", of(t->restarts),
               of(t->failures));
    printf(
        "requests of the gateway: %llu, answered %llu, repeated %llu: %.3f of the least number\n",
        of(t->gw_requests), of(t->gw_answered), of(t->gw_repeated),
        watch_ratio(t->gw_repeated, t->gw_answered));
    printf("with those of the nodes: answered %llu, repeated %llu: %.3f of the least number\n",
           of(t->gw_answered + t->node_answered), of(t->gw_repeated + t->node_repeated),
           watch_ratio(t->gw_repeated + t->node_repeated, t->gw_answered + t->node_answered));
}

enum { FIGURES = sizeof(struct totals) / sizeof(uint64_t) };

/* Of several runs that share the work (scripts/chaos.sh): added up, and read by --sum. */
static void print_figures(const struct totals *t)
{
    uint64_t figures[FIGURES];
    memcpy(figures, t, sizeof figures);
    printf("figures");
    for (size_t i = 0; i < FIGURES; i++)
        printf(" %llu", of(figures[i]));
    printf("\n");
}

static bool read_figures(struct totals *t)
{
    uint64_t figures[FIGURES] = {0};
    for (size_t i = 0; i < FIGURES; i++) {
        unsigned long long n;
        if (scanf("%llu", &n) != 1)
            return false;
        figures[i] = n;
    }
    memcpy(t, figures, sizeof *t);
    return true;
}

static int judge(const struct totals *t)
{
    if (t->failed > 0 || t->seeds == 0)
        return 1;
    if (t->restarts > 0 || watch_ratio(t->gw_repeated, t->gw_answered) <= most_repetitions)
        return 0;
    printf("the gateway repeats itself more than %.1f times as often as it has to\n",
           most_repetitions);
    return 1;
}

struct arguments {
    struct chaos_options chaos;
    unsigned long long seeds;
    bool figures, sum;
};

static bool parse(int argc, char **argv, struct arguments *a)
{
    static const struct option options[] = {
        {"nodes",    required_argument, NULL, 'n'},
        {"minutes",  required_argument, NULL, 'm'},
        {"restarts", required_argument, NULL, 'r'},
        {"failures", required_argument, NULL, 'd'},
        {"seed",     required_argument, NULL, 's'},
        {"seeds",    required_argument, NULL, 'k'},
        {"trace",    required_argument, NULL, 't'},
        {"figures",  no_argument,       NULL, 'f'},
        {"sum",      no_argument,       NULL, 'u'},
        {NULL,       0,                 NULL, 0  },
    };

    for (int c = getopt_long(argc, argv, "", options, NULL); c != -1;
         c = getopt_long(argc, argv, "", options, NULL)) {
        switch (c) {
        case 'n':
            a->chaos.nodes = (unsigned)number(optarg, 4000);
            break;
        case 'm':
            a->chaos.active_ms = (int64_t)number(optarg, 1000000) * MINUTE_MS;
            break;
        case 'r':
            a->chaos.restart_ms = (int64_t)number(optarg, 1000000) * SECOND_MS;
            break;
        case 'd':
            a->chaos.fail_ms = (int64_t)number(optarg, 1000000) * SECOND_MS;
            break;
        case 's':
            a->chaos.seed = number(optarg, UINT64_MAX);
            break;
        case 'k':
            a->seeds = number(optarg, 1000000);
            break;
        case 't':
            a->chaos.trace = (int)number(optarg, 4000);
            break;
        case 'f':
            a->figures = true;
            break;
        case 'u':
            a->sum = true;
            break;
        default:
            return false;
        }
    }
    return optind == argc && a->chaos.nodes > 0 && a->seeds > 0;
}

int main(int argc, char **argv)
{
    struct arguments a = {
        .chaos = {.seed = 1, .nodes = 200, .active_ms = 1440 * MINUTE_MS, .trace = -1},
        .seeds = 1,
    };
    struct totals t = {0};
    setvbuf(stdout, NULL, _IOLBF, 0); /* failures are read while others are still played */
    if (!parse(argc, argv, &a)) {
        fputs(usage, stderr);
        return 2;
    }
    if (a.sum && !read_figures(&t)) {
        fputs("sennet-chaos: --sum wants figures on standard input\n", stderr);
        return 2;
    }
    const clock_t start = clock();
    for (; !a.sum && a.seeds > 0; a.seeds--, a.chaos.seed++)
        chaos_play(&a.chaos, &t);
    t.cpu_ms += (uint64_t)((double)(clock() - start) * 1000 / CLOCKS_PER_SEC);
    print_summary(&a.chaos, &t);
    if (a.figures)
        print_figures(&t);
    return judge(&t);
}
