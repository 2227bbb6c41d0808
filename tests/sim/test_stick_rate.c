/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the drivers make of a serial line at 115200 baud when there is always something to send. In
 * virtual time with the emulated sticks, whose line is exact to the microsecond: what a real stick
 * takes beyond its protocol, and USB between, is not in here.
 *
 * The measure is what the protocol allows at best, counted in octets of the line without a single
 * one escaped. Where the directions are independent, that is the fuller one. Z-Stack and EZSP take
 * one request at a time, so the line to the stick is silent while the answer comes; a ConBee takes
 * one command at a time and says nothing unasked, so there each octet waits for the one before.
 */
#include <stdio.h>

#include "sim/stick_world.h"
#include "unit/suite.h"

enum {
    NODES = 40,
    TALKERS = 20, /* a ConBee keeps 24 packets that nobody has fetched */
    IN_FLIGHT = 16,
    BAUD = 115200,
    SECONDS = 2,
    SHARE_PERCENT = 85,
};

/* Octets of the frames beside the packet's own. */
struct family {
    const char *name, *driver;
    unsigned firmware;
    bool one_at_a_time; /* requests and their answers */
    bool asked_only;    /* so is all else */
    unsigned backlog;
    unsigned request, answer;      /* a packet to a node: to the stick, and its answer */
    unsigned confirm, confirm_ask; /* what became of it, and asking for that */
    unsigned packet, packet_ask;   /* a packet from a node, and asking for it */
};

static const struct family families[] = {
  /* AF_DATA_REQUEST, its SRSP; AF_DATA_CONFIRM; AF_INCOMING_MSG with a trailer of 3 */
    {"znp",     "znp",    0,      true,  false, 120, 15, 6,  8,  0,  25,          0 },
 /* sendUnicast, its response; messageSent; incomingMessage and, before each fourth, who sent it;
     * acknowledgements ride along */
    {"ezsp 13", "ezsp",   0,      true,  false, 120, 25, 11, 26, 0,  28 + 17 / 4, 0 },
    {"ezsp 14", "ezsp",   2,      true,  false, 120, 26, 14, 30, 0,  40,          0 },
 /* 12 and its answer; 04 and its answer; 17 and its answer */
    {"deconz",  "deconz", 0,      true,  true,  120, 26, 13, 23, 11, 42,          12},
 /* 10; 8B; 90 */
    {"xbee",    "xbee",   0,      false, false, 120, 18, 0,  11, 0,  16,          0 },
 /* SLIP with one delimiter, envelopes; the queue is the line's, not the nodes' */
    {"serial",  "serial", 16 + 1, false, false, 20,  6,  0,  0,  0,  6,           0 },
};

static const unsigned sizes[] = {5, 20, 60};

enum direction { DOWN, UP, BOTH, DIRECTIONS };

static const char *const names[] = {"to nodes", "from nodes", "request and answer"};

enum {
    N_FAMILIES = sizeof families / sizeof families[0],
    N_SIZES = sizeof sizes / sizeof sizes[0],
};

static unsigned largest(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

/* Octet times that one packet takes, or one of each direction. */
static unsigned octets(const struct family *f, enum direction d, unsigned len)
{
    const unsigned down = d == UP ? 0 : f->request + len;
    const unsigned answer = d == UP ? 0 : f->answer;
    const unsigned confirm = d == UP ? 0 : f->confirm;
    const unsigned confirm_ask = d == UP ? 0 : f->confirm_ask;
    const unsigned up = d == DOWN ? 0 : f->packet + len;
    const unsigned up_ask = d == DOWN ? 0 : f->packet_ask;
    if (f->asked_only)
        return down + answer + confirm_ask + confirm + up_ask + up;
    const unsigned fuller = largest(down, answer + confirm + up);
    return f->one_at_a_time ? largest(fuller, down + answer) : fuller;
}

static double capacity(const struct family *f, enum direction d, unsigned len)
{
    return (d == BOTH ? 2.0 : 1.0) * BAUD / 10 / octets(f, d, len);
}

/* ---- load -------------------------------------------------------------------------------------- */

static struct stick_world *start(const struct family *f, int64_t air_ms)
{
    struct stick_world_config c = stick_world_defaults(f->driver);
    c.nodes = NODES;
    c.plain = true;
    c.emu.formed = true;
    c.emu.firmware = f->firmware;
    c.emu.baud = c.stick.baud = BAUD;
    c.ether.latency_min_ms = c.ether.latency_max_ms = air_ms;
    if (strcmp(f->driver, "serial") == 0) {
        c.kind = PEER_SERIAL;
        c.stick.framing = LINE_SLIP;
        c.stick.forwarder = true;
    }
    struct stick_world *w = stick_world_new(&c);
    stick_world_start(w);
    for (unsigned i = 0; i < NODES; i++) { /* everybody is known */
        stick_world_from_node(w, i, 20);
        stick_world_run(w, 50);
    }
    stick_world_run(w, 1000);
    return w;
}

static uint64_t decided(const struct stick_world *w, const struct stick_world_node *sum)
{
    uint64_t n = 0;
    for (size_t k = 0; k < 4; k++)
        n += sum->outcomes[k];
    return w->config.kind == PEER_SERIAL ? stick_counters(w->stick)->packets_out : n;
}

static void load_down(struct stick_world *w, unsigned backlog, unsigned *next, unsigned len)
{
    const struct stick_world_node sum = stick_world_total(w);
    for (uint64_t n = sum.sent - decided(w, &sum); n < backlog; n++)
        stick_world_to_node(w, (*next)++ % NODES, len);
}

static void load_up(struct stick_world *w, unsigned *next, unsigned len)
{
    const struct stick_world_node sum = stick_world_total(w);
    for (uint64_t n = sum.uttered - sum.heard; n < IN_FLIGHT; n++)
        stick_world_from_node(w, (*next)++ % NODES, len);
}

/* Each node says the next thing when it has been answered. */
static void load_both(struct stick_world *w, unsigned len)
{
    for (unsigned i = 0; i < TALKERS; i++) {
        const struct stick_world_node *n = &w->nodes[i];
        if (n->sent + 1 < n->heard) /* it was heard once before the load began */
            stick_world_to_node(w, i, len);
        if (n->uttered - 1 == n->received)
            stick_world_from_node(w, i, len);
    }
}

/* Packets per second. */
static double run(struct stick_world *w, const struct family *f, enum direction d, unsigned len)
{
    enum { WARM_UP_MS = 500 };

    unsigned next = 0;
    struct stick_world_node before = {0};
    for (int ms = -WARM_UP_MS; ms < SECONDS * 1000; ms++) {
        if (ms == 0)
            before = stick_world_total(w);
        if (d == DOWN)
            load_down(w, f->backlog, &next, len);
        else if (d == UP)
            load_up(w, &next, len);
        else
            load_both(w, len);
        stick_world_run(w, 1);
    }
    const struct stick_world_node after = stick_world_total(w);
    return (double)(after.received - before.received + after.heard - before.heard) / SECONDS;
}

static void judge(const struct family *f, enum direction d, unsigned len, int64_t air_ms)
{
    struct stick_world *w = start(f, air_ms);
    const double rate = run(w, f, d, len);
    stick_world_run(w, 3000);
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_eq(sum.uttered, sum.heard);
    ck_assert_uint_eq(sum.sent, sum.received);
    stick_world_end(w);
    const double share = 100 * rate / capacity(f, d, len);
    printf(
        "%-7s %-18s %2u octets, air %2d ms: %4.0f packets/s, %3.0f %% of what the line carries\n",
        f->name, names[d], len, (int)air_ms, rate, share);
    fflush(stdout);
    ck_assert_msg(share >= SHARE_PERCENT, "%s %s: %.1f %%", f->name, names[d], share);
    ck_assert_msg(share < 100.5, "%s %s: %.1f %%: the measure is wrong", f->name, names[d], share);
}

START_TEST(the_line_is_the_limit)
{
    const enum direction d = (enum direction)(_i / N_SIZES % DIRECTIONS);
    judge(&families[_i / (N_SIZES * DIRECTIONS)], d, sizes[_i % N_SIZES], 1);
}

END_TEST

/* As many packets are under way at once as hide the time that they spend in the air. */
START_TEST(flights_are_no_limit)
{
    judge(&families[_i / DIRECTIONS], (enum direction)(_i % DIRECTIONS), 20, 10);
}

END_TEST

/* More comes in than the line carries, for which a few nodes do at 9600 baud. */
START_TEST(a_flood_that_comes_in_lets_answers_out)
{
    static const char *const drivers[] = {"xbee", "deconz"};
    const struct family *f = families;
    while (strcmp(f->driver, drivers[_i]) != 0)
        f++;
    struct stick_world *w = start(f, 5);
    for (unsigned ms = 0; ms < 10000; ms++) {
        if (ms % 2 == 0)
            stick_world_from_node(w, ms % NODES, 20);
        if (ms % 50 == 0)
            stick_world_to_node(w, ms / 50 % NODES, 20);
        stick_world_run(w, 1);
    }
    const struct stick_world_node sum = stick_world_total(w);
    ck_assert_uint_lt(sum.heard, sum.uttered); /* it is a flood */
    ck_assert_uint_eq(sum.sent, 200);
    ck_assert_uint_ge(sum.received, 120);
    stick_world_run(w, 20000);
    stick_world_end(w);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("stick rate");
    TCase *t = tcase_create("rate");
    tcase_add_loop_test(t, the_line_is_the_limit, 0, N_FAMILIES * N_SIZES * DIRECTIONS);
    tcase_add_loop_test(t, flights_are_no_limit, 0, N_FAMILIES * DIRECTIONS);
    tcase_add_loop_test(t, a_flood_that_comes_in_lets_answers_out, 0, 2);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
