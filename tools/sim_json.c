/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger as JSON: one object, documented in sennet-sim(1). Only numbers and our own names, so
 * nothing needs escaping. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tools/sim.h"

static void put_totals(const struct ledger_totals *t, FILE *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"sent",                   t->sent           },
        {"acknowledged",           t->acknowledged   },
        {"refused",                t->refused        },
        {"arrived",                t->arrived        },
        {"lost",                   t->lost           },
        {"duplicated",             t->duplicated     },
        {"reordered",              t->reordered      },
        {"arrived_unacknowledged", t->arrived_unasked},
        {"missing",                t->missing        },
        {"excused",                t->excused        },
        {"late",                   t->late           },
        {"impossible",             t->impossible     },
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        fprintf(out, "%s\"%s\": %" PRIu64, i == 0 ? "{" : ", ", fields[i].name, fields[i].value);
    fprintf(out, "}");
}

static void put_ledger(const char *name, const struct ledger *l, FILE *out)
{
    static const char *const names[LEDGER_QOS_COUNT] = {"qos_minus_1", "qos_0", "qos_1", "qos_2"};
    fprintf(out, "  \"%s\": {\n", name);
    for (unsigned i = 0; i < LEDGER_QOS_COUNT; i++) {
        fprintf(out, "    \"%s\": ", names[i]);
        put_totals(&l->totals[i], out);
        fprintf(out, ",\n");
    }
    const struct ledger_totals sum = ledger_sum(l);
    fprintf(out, "    \"all\": ");
    put_totals(&sum, out);
    fprintf(out, "\n  },\n");
}

static void put_histogram(const char *name, const struct histogram *h, FILE *out)
{
    fprintf(out,
            "  \"%s\": {\"count\": %" PRIu64 ", \"mean\": %.1f, \"p50\": %" PRIu64
            ", \"p90\": %" PRIu64 ", \"p99\": %" PRIu64 ", \"max\": %" PRIu64 "},\n",
            name, h->count, h->count > 0 ? (double)h->sum / (double)h->count : 0.0,
            hist_quantile(h, 0.5), hist_quantile(h, 0.9), hist_quantile(h, 0.99), h->max);
}

static void put_counters(const struct sim *sim, FILE *out)
{
    const struct sim_counters *c = &sim->counters;

    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"connects",                 c->connects               },
        {"connects_refused",         c->connects_refused       },
        {"timeouts",                 c->timeouts               },
        {"disconnected_by_gateway",  c->disconnected_by_gateway},
        {"refused_congestion",       c->refused_congestion     },
        {"refused_invalid_topic_id", c->refused_topic          },
        {"refused_other",            c->refused_other          },
        {"skipped",                  c->skipped                },
        {"subscribe_refused",        c->subscribe_refused      },
        {"commands_refused",         c->commands_refused       },
        {"wills_expected",           c->wills_expected         },
        {"wills_seen",               c->wills_seen             },
        {"wills_possible",           c->wills_possible         },
        {"wills_unexpected",         c->wills_unexpected       },
        {"corrupted",                c->corrupted              },
        {"misrouted",                c->misrouted              },
        {"foreign",                  c->foreign                },
        {"retransmissions",          c->retransmissions        },
        {"gateway_duplicates",       c->gateway_duplicates     },
        {"told_again",               c->told_again             },
        {"malformed",                c->malformed              },
        {"unexpected",               c->unexpected             },
        {"air_lost",                 sim->air.lost             },
        {"air_duplicated",           sim->air.duplicated       },
        {"air_overflowed",           sim->air.overflowed       },
        {"unreachable",              c->unreachable            },
        {"stalled_ms",               c->stalled_ms             },
        {"send_failures",            c->send_failures          },
        {"awake_periods",            sim->sleep.periods        },
        {"awake_unanswered",         sim->sleep.unanswered     },
        {"awake_turned_away",        sim->sleep.turned_away    },
        {"awake_rounds",             sim->sleep.rounds         },
        {"sleep_after_pingresp",     sim->sleep.after_pingresp },
        {"sleep_unheard",            sim->sleep.unheard        },
        {"sleep_reordered",          sim->sleep.reordered      },
        {"sleep_twice_unmarked",     sim->sleep.unmarked       },
        {"sleep_twice_marked",       sim->sleep.marked         },
        {"observer_drops",           broker_drops(sim)         },
        {"observer_gaps",            broker_gaps(sim)          },
    };

    fprintf(out, "  \"counters\": {");
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        fprintf(out, "%s\n    \"%s\": %" PRIu64, i == 0 ? "" : ",", fields[i].name,
                fields[i].value);
    fprintf(out, "\n  },\n");
}

static void put_stick(const struct sim *sim, FILE *out)
{
    const struct sim_stick_figures f = stick_figures(sim->stick);

    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"baud",               sim->options.stick.baud},
        {"frames_in",          f.frames_in            },
        {"frames_out",         f.frames_out           },
        {"octets_in",          f.bytes_in             },
        {"octets_out",         f.bytes_out            },
        {"octets_lost",        f.overruns             },
        {"packets",            f.sends                },
        {"ether_lost",         f.lost                 },
        {"ether_doubled",      f.copied               },
        {"ether_expired",      f.expired              },
        {"replugs",            f.replugs              },
        {"slowest_reopen_ms",  f.slowest_ms           },
        {"slowest_service_ms", f.slowest_service_ms   },
        {"resets",             f.resets               },
        {"rejoins",            f.rejoins              },
    };

    fprintf(out, "  \"stick\": {\"kind\": \"%s\"", sim->options.stick.kind);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        fprintf(out, ", \"%s\": %" PRIu64, fields[i].name, fields[i].value);
    fprintf(out, "},\n");
}

static void put_all(const struct sim *sim, FILE *out)
{
    const double seconds = run_seconds(sim);
    const struct ledger_totals up = ledger_sum(&sim->up);
    fprintf(out, "{\n  \"seed\": %" PRIu64 ",\n  \"nodes\": %" PRIu32 ",\n", sim->plan.seed,
            sim->n_nodes);
    fprintf(out, "  \"seconds\": %.3f,\n  \"observed\": %s,\n", seconds,
            sim->broker != NULL ? "true" : "false");
    fprintf(out, "  \"connected\": %" PRIu32 ",\n", sim->ever_connected);
    if (sim->all_connected_us > 0)
        fprintf(out, "  \"all_connected_seconds\": %.6f,\n",
                (double)(sim->all_connected_us - sim->start_us) / 1e6);
    fprintf(out, "  \"sent_per_second\": %.1f,\n  \"acknowledged_per_second\": %.1f,\n",
            (double)up.sent / seconds, (double)up.acknowledged / seconds);
    put_ledger("up", &sim->up, out);
    put_ledger("down", &sim->down, out);
    put_histogram("connack_us", &sim->connack_us, out);
    put_histogram("publish_us", &sim->publish_us, out);
    put_histogram("arrival_us", &sim->arrival_us, out);
    put_histogram("awake_us", &sim->sleep.awake_us, out);
    put_histogram("round_us", &sim->sleep.round_us, out);
    put_histogram("storm_us", &sim->sleep.storm_us, out);
    put_counters(sim, out);
    if (sim->stick != NULL)
        put_stick(sim, out);
    fprintf(out, "  \"ok\": %s\n}\n", report_verdict(sim) ? "true" : "false");
}

int report_json(const struct sim *sim, const char *file)
{
    if (strcmp(file, "-") == 0) {
        put_all(sim, stdout);
        return fflush(stdout) == 0 ? 0 : -errno;
    }
    FILE *out = fopen(file, "we");
    if (out == NULL)
        return -errno;
    put_all(sim, out);
    const bool failed = ferror(out) != 0;
    return fclose(out) == 0 && !failed ? 0 : -EIO;
}
