/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of a serial line at 115200 baud is used when there is always something to send: small
 * packets to 40 nodes, and from them. In virtual time, with the emulated sticks; what
 * a real stick does beyond its protocol is not in here.
 */
#include <stdio.h>

#include "sim/stick_world.h"
#include "unit/suite.h"

enum {
    NODES = 40,
    BAUD = 115200,
    OCTETS_PER_S = BAUD / 10,
    PACKET = 20,
    AIR_MS = 1,  /* the air is no limit */
    BACKLOG = 3, /* packets that wait for each node */
    SECONDS = 10,
    BUSY_PERCENT = 80,
};

/*
 * In lockstep the host says nothing while an answer is due, so the two directions share the time of
 * the line: what counts is their sum. The clock of the world ticks in milliseconds, which makes
 * each answer up to one late, as USB does.
 */
struct line {
    const char *driver;
    unsigned firmware;
    bool lockstep;
};

static const struct line lines[] = {
    {"znp",    0,      true },
    {"ezsp",   0,      true },
    {"deconz", 0,      true },
    {"xbee",   0,      false},
    {"serial", 16 + 1, false},
};

static struct stick_world *start(const struct line *l)
{
    struct stick_world_config c = stick_world_defaults(l->driver);
    const bool is_serial = strcmp(l->driver, "serial") == 0;
    c.nodes = NODES;
    c.emu.formed = true;
    c.emu.firmware = l->firmware;
    c.emu.baud = c.stick.baud = BAUD;
    c.ether.latency_min_ms = c.ether.latency_max_ms = AIR_MS;
    c.ether.max_payload = strcmp(l->driver, "xbee") == 0 ? 116 : 82;
    if (is_serial) {
        c.kind = PEER_SERIAL;
        c.stick.framing = LINE_SLIP;
        c.stick.forwarder = true;
    }
    struct stick_world *w = stick_world_new(&c);
    printf("%-6s up after %d ms;", l->driver, (int)stick_world_start(w));
    for (unsigned i = 0; i < NODES; i++) { /* everybody is known */
        stick_world_from_node(w, i, PACKET);
        stick_world_run(w, 50);
    }
    stick_world_run(w, 1000);
    return w;
}

static void fill(struct stick_world *w, unsigned *next)
{
    const struct stick_counters *c = stick_counters(w->stick);
    const struct stick_world_node sum = stick_world_total(w);
    const uint64_t done = w->config.kind == PEER_SERIAL ? c->packets_out
                                                        : sum.outcomes[0] + sum.outcomes[1] +
                                                              sum.outcomes[2] + sum.outcomes[3];
    for (uint64_t open = sum.sent - done; open < BACKLOG * NODES; open++)
        stick_world_to_node(w, (*next)++ % NODES, PACKET);
}

struct rate {
    double messages, out_percent, in_percent;
};

static struct rate run(struct stick_world *w, bool down, unsigned up_per_s)
{
    const struct stick_world_node before = stick_world_total(w);
    const uint64_t in = w->bytes_in, out = w->bytes_out;
    uint64_t uttered = 0;
    unsigned next = 0;
    for (unsigned ms = 0; ms < SECONDS * 1000; ms++) {
        if (down)
            fill(w, &next);
        for (; uttered * 1000 < (uint64_t)up_per_s * ms; uttered++)
            stick_world_from_node(w, (unsigned)(uttered % NODES), PACKET);
        stick_world_run(w, 1);
    }
    const struct stick_world_node after = stick_world_total(w);
    const uint64_t arrived = after.received - before.received + after.heard - before.heard;
    return (struct rate){.messages = (double)arrived / SECONDS,
                         .out_percent =
                             100.0 * (double)(w->bytes_out - out) / OCTETS_PER_S / SECONDS,
                         .in_percent = 100.0 * (double)(w->bytes_in - in) / OCTETS_PER_S / SECONDS};
}

static void judge(const struct line *l, const struct rate *r, const char *what)
{
    const double busier = r->out_percent > r->in_percent ? r->out_percent : r->in_percent;
    const double busy = l->lockstep ? r->out_percent + r->in_percent : busier;
    printf(" %s %.0f packets/s, line %.0f %% to the stick, %.0f %% from it\n", what, r->messages,
           r->out_percent, r->in_percent);
    fflush(stdout);
    ck_assert_msg(busy >= BUSY_PERCENT, "%s: the line is busy for %.1f %% of the time", l->driver,
                  busy);
}

START_TEST(the_line_is_the_limit_for_packets_to_nodes)
{
    struct stick_world *w = start(&lines[_i]);
    const struct rate rate = run(w, true, 0);
    stick_world_run(w, 60000);
    stick_world_end(w);
    judge(&lines[_i], &rate, "to nodes");
}

END_TEST

START_TEST(the_line_is_the_limit_for_packets_from_nodes)
{
    struct stick_world *w = start(&lines[_i]);
    struct rate best = {0};
    for (unsigned per_s = 20; per_s <= 500; per_s += 10) {
        const struct stick_world_node before = stick_world_total(w);
        const struct rate rate = run(w, false, per_s);
        stick_world_run(w, 3000);
        const struct stick_world_node after = stick_world_total(w);
        if (after.heard - before.heard < after.uttered - before.uttered)
            break;
        best = rate;
    }
    stick_world_end(w);
    judge(&lines[_i], &best, "from nodes, none lost,");
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick rate");
    TCase *t = tcase_create("rate");
    const int n = (int)(sizeof lines / sizeof lines[0]);
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, the_line_is_the_limit_for_packets_to_nodes, 0, n);
    tcase_add_loop_test(t, the_line_is_the_limit_for_packets_from_nodes, 0, n);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
