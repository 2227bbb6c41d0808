/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger at the end, for people, and the verdict. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "tools/sim.h"

/* Rows are QoS levels; a column that an observer is needed for is left empty without one. */
static const char *const QOS_NAMES[LEDGER_QOS_COUNT] = {"-1", "0", "1", "2"};

enum { LOST_NAMED = 5 };

/* ---- verdict --------------------------------------------------------------------------------- */

enum fault {
    FAULT_NOTHING, /* no node ever got a word through */
    FAULT_LOST_UP,
    FAULT_LOST_DOWN,
    FAULT_TWICE_UP,
    FAULT_TWICE_DOWN,
    FAULT_SLEEP_ORDER,
    FAULT_SLEEP_TWICE,
    FAULT_SLEEP_LATE,
    FAULT_SLEEP_SILENCE,
    FAULT_SLEEP_REFUSED,
    FAULT_ROUNDS,
    FAULT_SLOW,
    FAULT_REPLUGS,
    FAULTS
};

static uint64_t lost_with_promise(const struct ledger *l)
{
    return l->totals[ledger_index(1)].lost + l->totals[ledger_index(2)].lost;
}

/* In lossy air nobody knows who was silent, or how late a node was heard. */
static bool sleepers_lose_packets(const struct sim *sim)
{
    bool lossy = false;
    for (size_t i = 0; i < sim->plan.n_groups; i++)
        lossy = lossy || (sim->plan.groups[i].sleepy && sim->plan.groups[i].air.loss > 0);
    return lossy;
}

/* Nothing measured is no proof of speed. */
static bool is_slow(const struct sim *sim)
{
    const struct histogram *h = &sim->sleep.storm_us;
    return sim->plan.p99_ms > 0 &&
           (h->count == 0 || hist_quantile(h, 0.99) >= (uint64_t)sim->plan.p99_ms * 1000);
}

static void judge_sleep(const struct sim *sim, uint64_t faults[FAULTS])
{
    const struct sim_sleep *s = &sim->sleep;
    faults[FAULT_SLEEP_ORDER] = s->reordered;
    faults[FAULT_SLEEP_TWICE] = sim->plan.gateway_dies ? 0 : s->unmarked;
    faults[FAULT_SLEEP_LATE] = s->after_pingresp;
    faults[FAULT_SLEEP_SILENCE] = sleepers_lose_packets(sim) ? 0 : s->unanswered;
    faults[FAULT_SLEEP_REFUSED] = sleepers_lose_packets(sim) ? 0 : s->turned_away;
    faults[FAULT_ROUNDS] = s->rounds < sim->plan.rounds ? sim->plan.rounds - s->rounds : 0;
    faults[FAULT_SLOW] = is_slow(sim) ? 1 : 0;
}

static uint64_t replugs_left(const struct sim *sim)
{
    const uint64_t wanted = sim->options.stick.replugs;
    const uint64_t had = sim->stick != NULL ? stick_figures(sim->stick).replugs : 0;
    return had < wanted ? wanted - had : 0;
}

static void judge(const struct sim *sim, uint64_t faults[FAULTS])
{
    const bool observed = sim->broker != NULL;
    const struct ledger_totals up = ledger_sum(&sim->up);
    const bool was_heard = sim->ever_connected > 0 || up.arrived > 0 ||
                           (!observed && up.sent > 0 && sim->counters.unreachable == 0);
    faults[FAULT_NOTHING] = was_heard ? 0 : 1;
    faults[FAULT_LOST_UP] = observed ? lost_with_promise(&sim->up) : 0;
    faults[FAULT_LOST_DOWN] = observed ? lost_with_promise(&sim->down) : 0;
    faults[FAULT_TWICE_UP] = sim->up.totals[ledger_index(2)].duplicated;
    faults[FAULT_TWICE_DOWN] = sim->down.totals[ledger_index(2)].duplicated;
    faults[FAULT_REPLUGS] = replugs_left(sim);
    judge_sleep(sim, faults);
}

bool report_verdict(const struct sim *sim)
{
    uint64_t faults[FAULTS];
    judge(sim, faults);
    for (unsigned i = 0; i < FAULTS; i++) {
        if (faults[i] > 0)
            return false;
    }
    return true;
}

static void name_lost(const struct ledger *l, const char *what, FILE *out)
{
    struct ledger_message m = {.qos = -1};
    for (unsigned i = 0; i < LOST_NAMED && ledger_find_lost(l, &m); m.seq++) {
        if (m.qos < 1)
            continue;
        fprintf(out, "        lost: %s node %zu, QoS %d, number %" PRIu64 "\n", what, m.node, m.qos,
                m.seq);
        i++;
    }
}

static void print_verdict(const struct sim *sim, FILE *out)
{
    static const char *const texts[FAULTS] = {
        [FAULT_NOTHING] = "no node could reach the gateway",
        [FAULT_LOST_UP] = "messages were acknowledged to nodes and never arrived at the broker",
        [FAULT_LOST_DOWN] = "commands were accepted by the broker and never arrived at their node",
        [FAULT_TWICE_UP] = "QoS 2 messages arrived at the broker more than once",
        [FAULT_TWICE_DOWN] = "QoS 2 commands arrived at their node more than once",
        [FAULT_SLEEP_ORDER] = "commands arrived at a sleepy node behind later ones",
        [FAULT_SLEEP_TWICE] = "commands arrived at a sleepy node again, without DUP",
        [FAULT_SLEEP_LATE] = "messages were sent to a sleepy node behind its PINGRESP",
        [FAULT_SLEEP_SILENCE] = "awake periods ended without PINGRESP",
        [FAULT_SLEEP_REFUSED] = "sleepy nodes woke up in time and were told DISCONNECT",
        [FAULT_ROUNDS] = "rounds of waking together were not completed",
        [FAULT_SLOW] = "others waited longer than --p99 meanwhile, or nothing was measured",
        [FAULT_REPLUGS] = "the stick was not pulled out",
    };
    uint64_t faults[FAULTS];
    judge(sim, faults);
    for (unsigned i = 0; i < FAULTS; i++) {
        if (faults[i] > 0)
            fprintf(out, "FAILED: %" PRIu64 " x %s\n", faults[i], texts[i]);
    }
    if (faults[FAULT_LOST_UP] > 0)
        name_lost(&sim->up, "from", out);
    if (faults[FAULT_LOST_DOWN] > 0)
        name_lost(&sim->down, "to", out);
    if ((faults[FAULT_LOST_UP] > 0 || faults[FAULT_LOST_DOWN] > 0) &&
        (broker_drops(sim) > 0 || broker_gaps(sim) > 0)) {
        fprintf(out,
                "        (the observer itself dropped %" PRIu64 " messages and lost the broker "
                "%" PRIu64 " times: some of this may be its own)\n",
                broker_drops(sim), broker_gaps(sim));
    }
    if (faults[FAULT_LOST_DOWN] > 0 && sim->drain_cut)
        fprintf(out, "        (the draining was cut off: some may still wait in the gateway; see "
                     "--drain)\n");
    if (report_verdict(sim)) {
        fprintf(out, "OK: nothing acknowledged was lost, nothing of QoS 2 came twice%s\n",
                sim->sleep.periods > 0
                    ? "; sleepers got all in order, each message once, PINGRESP last"
                    : "");
    }
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void print_ledger(const struct ledger *l, const char *title, const char *arrival, FILE *out)
{
    fprintf(out, "%-10s %10s %10s %8s %10s %6s %6s %9s %9s %9s\n", title, "sent", "acked",
            "refused", arrival, "lost", "twice", "reordered", "unacked*", "missing");
    for (unsigned i = 0; i < LEDGER_QOS_COUNT; i++) {
        const struct ledger_totals *t = &l->totals[i];
        if (t->sent == 0 && t->arrived == 0 && t->impossible == 0)
            continue;
        fprintf(out, "  QoS %-4s %10" PRIu64, QOS_NAMES[i], t->sent);
        if (i >= ledger_index(1) || t->acknowledged > 0)
            fprintf(out, " %10" PRIu64, t->acknowledged);
        else
            fprintf(out, " %10s", "-");
        fprintf(out, " %8" PRIu64, t->refused);
        if (l->observed) {
            fprintf(
                out,
                " %10" PRIu64 " %6" PRIu64 " %6" PRIu64 " %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "\n",
                t->arrived, t->lost, t->duplicated, t->reordered, t->arrived_unasked, t->missing);
        } else {
            fprintf(out, " %10s %6s %6s %9s %9s %9s\n", "?", "?", "?", "?", "?", "?");
        }
        if (t->late > 0 || t->impossible > 0) {
            fprintf(out,
                    "    too late to be judged: %" PRIu64 ", arrived but never sent: %" PRIu64 "\n",
                    t->late, t->impossible);
        }
    }
}

static double ms(uint64_t us)
{
    return (double)us / 1000;
}

static void print_latency(const struct histogram *h, const char *what, FILE *out)
{
    if (h->count > 0)
        fprintf(out, "  %-34s p50 %9.3f ms   p99 %9.3f ms   max %9.3f ms\n", what,
                ms(hist_quantile(h, 0.5)), ms(hist_quantile(h, 0.99)), ms(h->max));
}

struct line {
    const char *text;
    uint64_t value;
};

/* Only what happened is worth a line. */
static void print_lines(const struct line *lines, size_t n, FILE *out)
{
    for (size_t i = 0; i < n; i++) {
        if (lines[i].value > 0)
            fprintf(out, "  %-58s %10" PRIu64 "\n", lines[i].text, lines[i].value);
    }
}

static void print_counters(const struct sim *sim, FILE *out)
{
    const struct sim_counters *c = &sim->counters;
    const struct line lines[] = {
        {"commands that came again, with DUP",             sim->sleep.marked             },
        {"commands that came again, as new messages",      sim->sleep.unmarked           },
        {"packets for nodes whose radio was off",          sim->sleep.unheard            },
        {"CONNECT refused",                                c->connects_refused           },
        {"requests given up after all repetitions",        c->timeouts                   },
        {"disconnected by the gateway",                    c->disconnected_by_gateway    },
        {"publications refused: congestion",               c->refused_congestion         },
        {"publications refused: invalid topic id",         c->refused_topic              },
        {"publications refused: other reasons",            c->refused_other              },
        {"publications left out: the window stayed shut",  c->skipped                    },
        {"SUBSCRIBE refused",                              c->subscribe_refused          },
        {"commands that the broker did not take",          c->commands_refused           },
        {"commands excused: their node had gone",          ledger_sum(&sim->down).excused},
        {"wills of nodes that came back or lost contact",  c->wills_possible             },
        {"wills that nobody expected",                     c->wills_unexpected           },
        {"messages corrupted",                             c->corrupted                  },
        {"messages on a wrong topic or at a wrong node",   c->misrouted                  },
        {"messages of others on our topics",               c->foreign                    },
        {"our packets repeated",                           c->retransmissions            },
        {"QoS 2 repetitions of the gateway, recognised",   c->gateway_duplicates         },
        {"malformed packets from the gateway",             c->malformed                  },
        {"topic ids that the node knew, told again",       c->told_again                 },
        {"packets of the gateway out of place",            c->unexpected                 },
        {"packets lost in the simulated air",              sim->air.lost                 },
        {"packets doubled in the simulated air",           sim->air.duplicated           },
        {"packets that the simulated air had no room for", sim->air.overflowed           },
        {"packets that nobody listened to (ICMP)",         c->unreachable                },
        {"milliseconds in which the machine stood still",  c->stalled_ms                 },
        {"packets that could not be sent",                 c->send_failures              },
        {"messages dropped by the observer itself",        broker_drops(sim)             },
        {"times the observer lost the broker",             broker_gaps(sim)              },
    };
    print_lines(lines, sizeof lines / sizeof lines[0], out);
}

static double cpu_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_connects(const struct sim *sim, FILE *out)
{
    fprintf(out, "nodes: %" PRIu32 ", connected at least once: %" PRIu32 ", connections: %" PRIu64,
            sim->n_nodes, sim->ever_connected, sim->counters.connects);
    if (sim->all_connected_us > 0)
        fprintf(out, ", all connected after %.3f s",
                (double)(sim->all_connected_us - sim->start_us) / 1e6);
    fprintf(out, "\n");
}

static void print_sleep(const struct sim *sim, FILE *out)
{
    const struct sim_sleep *s = &sim->sleep;
    fprintf(out, "sleep: %" PRIu64 " awake periods, %" PRIu64 " of them without PINGRESP",
            s->periods + s->unanswered, s->unanswered);
    if (s->together > 0)
        fprintf(out, "; %" PRIu32 " nodes woke together %" PRIu32 " times", s->together, s->rounds);
    fprintf(out, "\n");
}

/* Ten bits carry an octet. */
static double load_percent(uint64_t octets, uint32_t baud, double seconds)
{
    return 100 * (double)octets * 10 / (double)baud / seconds;
}

static void print_stick(const struct sim *sim, double seconds, FILE *out)
{
    const struct sim_stick_options *o = &sim->options.stick;
    const struct sim_stick_figures f = stick_figures(sim->stick);
    fprintf(out,
            "stick (%s): %" PRIu64 " frames to it, %" PRIu64 " from it, %" PRIu64
            " packets for nodes; line: %" PRIu64 " octets in, %" PRIu64 " out",
            o->kind, f.frames_in, f.frames_out, f.sends, f.bytes_in, f.bytes_out);
    if (o->baud > 0)
        fprintf(out, " (%.0f %% and %.0f %% of %u baud)",
                load_percent(f.bytes_in, o->baud, seconds),
                load_percent(f.bytes_out, o->baud, seconds), (unsigned)o->baud);
    fprintf(out, "\n");
    if (f.replugs > 0)
        fprintf(out,
                "  pulled out %" PRIu64
                " times; after plugging in, the gateway had it open within %" PRIu64 " ms\n",
                f.replugs, f.slowest_ms);
    if (f.replugs > 0 || f.resets > 0)
        fprintf(out,
                "  after plugging in or a reset, packets for nodes went through it within %" PRIu64
                " ms\n",
                f.slowest_service_ms);
    const struct line lines[] = {
        {"resets of its firmware",                    f.resets  },
        {"nodes that got another address",            f.rejoins },
        {"packets lost in the ether",                 f.lost    },
        {"packets doubled in the ether",              f.copied  },
        {"packets that sleeping nodes did not fetch", f.expired },
        {"octets lost on the line: nobody read them", f.overruns},
    };
    print_lines(lines, sizeof lines / sizeof lines[0], out);
}

void report_print(const struct sim *sim, FILE *out)
{
    const double seconds = run_seconds(sim);
    const struct ledger_totals up = ledger_sum(&sim->up);
    fprintf(out, "\n---- ledger after %.1f s (seed %" PRIu64 ", run %08" PRIx32 ") ----\n", seconds,
            sim->plan.seed, sim->run);
    print_connects(sim, out);
    if (up.sent > 0)
        print_ledger(&sim->up, "up", "at broker", out);
    if (ledger_sum(&sim->down).sent > 0)
        print_ledger(&sim->down, "down", "at node", out);
    if (up.sent > 0)
        fprintf(out, "  (*) arrived, though the sender was never told so\n");
    if (sim->counters.wills_expected > 0)
        fprintf(out, "wills: %" PRIu64 " expected, %" PRIu64 " seen\n",
                sim->counters.wills_expected, sim->counters.wills_seen);
    if (sim->sleep.periods + sim->sleep.unanswered > 0)
        print_sleep(sim, out);
    fprintf(out, "latency\n");
    print_latency(&sim->connack_us, "CONNECT to CONNACK", out);
    print_latency(&sim->publish_us, "PUBLISH to acknowledgement", out);
    print_latency(&sim->arrival_us, "PUBLISH to broker (latest of a node)", out);
    print_latency(&sim->sleep.awake_us, "PINGREQ to PINGRESP", out);
    print_latency(&sim->sleep.round_us, "all wake up to the last PINGRESP", out);
    print_latency(&sim->sleep.storm_us, "PUBLISH to ack., others awake", out);
    fprintf(out,
            "rate: %.1f messages/s sent, %.1f/s acknowledged; the simulator took %.2f s of CPU "
            "(%.0f %% of a core)\n",
            (double)up.sent / seconds, (double)up.acknowledged / seconds, cpu_seconds(),
            100 * cpu_seconds() / seconds);
    print_counters(sim, out);
    if (sim->stick != NULL)
        print_stick(sim, seconds, out);
    print_verdict(sim, out);
}
