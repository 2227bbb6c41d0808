/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sim_stick.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/emu/emu.h"
#include "tools/sim.h"
#include "tools/stick_pty.h"

enum {
    NODES_MAX = 32000, /* the other half of the 16-bit addresses is for those that rejoin */
    READY_MS = 5000,   /* after its first octet a host has started any stick */
    OUT_MAX_MS = 2000, /* how long it is away when it was pulled out */
    LOOSE_EVERY = 8,   /* so often the plug sits loose, and it is gone again ... */
    LOOSE_MS = 1000,   /* ... before the host is through with its start */
    PERIOD_MIN_MS = 100,
    REPLUGS_MAX = 1000000,
    POLL_MS = 10000, /* a sleepy node listens so long after it has sent */
    BRIDGE = 16,     /* firmware of the serial emulation: many nodes on the line */
    FIRST_SHORT = 0x0001,
    REJOINED = 0x8000,
    PAYLOAD_ZIGBEE = 82,
    PAYLOAD_XBEE = 116,
    PAYLOAD_SERIAL = 255,
};

struct sim_stick {
    struct sim_stick_options options;
    struct ether *ether;
    struct emu *emu;
    struct stick_pty pty;
    int64_t first_ms; /* octet from a host */
    struct rng rng;
    bool is_hard_time;
    int64_t replug_ms;  /* is pulled out then */
    int64_t plug_ms;    /* pulled out: comes back then */
    int64_t reset_ms;   /* its firmware starts again then */
    int64_t rejoin_ms;  /* a node gets another address then */
    int64_t back_ms;    /* came back then, and no host has opened it yet */
    int64_t service_ms; /* came back or started again then, and no packet was sent since */
    int64_t slowest_ms, slowest_service_ms; /* of both */
    uint64_t sends_before;
    uint32_t next_to_rejoin;
    unsigned resets, rejoins;
    uint64_t bytes_in, bytes_out; /* of the line, while nodes publish */
    bool waits_to_write;
};

/* ---- options ----------------------------------------------------------------------------------- */

struct sim_stick_options sim_stick_defaults(void)
{
    return (struct sim_stick_options){
        .framing = 1,
        .baud = 115200,
        .replug_ms = TIME_NEVER,
        .reset_ms = TIME_NEVER,
        .rejoin_ms = TIME_NEVER,
        .no_ack_ms = ether_defaults().no_ack_ms,
    };
}

static bool whole(const char *value, unsigned long max, unsigned long *out)
{
    char *end;
    errno = 0;
    *out = strtoul(value, &end, 0);
    return errno == 0 && end != value && *end == '\0' && value[0] != '-' && *out <= max;
}

static bool set_percent(double *out, const char *value)
{
    enum { MOST = 50 };

    char *end;
    *out = strtod(value, &end);
    return end != value && *end == '\0' && *out >= 0 && *out <= MOST; /* NaN is neither */
}

static bool set_framing(struct sim_stick_options *o, const char *value)
{
    static const char *const names[] = {"raw", "slip", "hdlc", "cobs"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], value) == 0) {
            o->framing = i;
            return true;
        }
    }
    return false;
}

/* The periods among the options, by name. */
static int64_t *period_of(struct sim_stick_options *o, const char *name)
{
    const struct {
        const char *name;
        int64_t *period_ms;
    } periods[] = {
        {"replug", &o->replug_ms},
        {"reset",  &o->reset_ms },
        {"rejoin", &o->rejoin_ms},
        {"no-ack", &o->no_ack_ms},
    };

    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        if (strcmp(periods[i].name, name) == 0)
            return periods[i].period_ms;
    }
    return NULL;
}

static bool set_period(int64_t *out_ms, const char *value)
{
    return out_ms != NULL && plan_duration(bytes_str(value), 1000, out_ms) &&
           *out_ms >= PERIOD_MIN_MS;
}

static bool set_kind(struct sim_stick_options *o, const char *value)
{
    o->kind = value;
    return emu_driver_find(value) != NULL;
}

bool sim_stick_setting(struct sim_stick_options *o, const char *name, const char *value,
                       const char **why)
{
    unsigned long n = 0;
    bool good = true;
    *why = "";
    if (strcmp(name, "stick") == 0) {
        good = set_kind(o, value);
        *why = "--stick must be znp, ezsp, deconz, xbee or serial";
    } else if (strcmp(name, "stick-link") == 0) {
        o->link = value;
    } else if (strcmp(name, "firmware") == 0) {
        good = whole(value, 255, &n);
        o->firmware = (unsigned)n;
        *why = "--firmware must be a number up to 255";
    } else if (strcmp(name, "baud") == 0) {
        good = whole(value, 4000000, &n);
        o->baud = (uint32_t)n;
        *why = "--baud must be a number, 0 for a line without pace";
    } else if (strcmp(name, "line-faults") == 0) {
        good = set_percent(&o->line_faults, value);
        *why = "--line-faults must be 0 to 50 percent";
    } else if (strcmp(name, "framing") == 0) {
        good = set_framing(o, value);
        *why = "--framing must be raw, slip, hdlc or cobs";
    } else if (strcmp(name, "replugs") == 0) {
        good = whole(value, REPLUGS_MAX, &n);
        o->replugs = (unsigned)n;
        *why = "--replugs must be 0 to 1000000";
    } else {
        good = set_period(period_of(o, name), value);
        *why = "--replug, --reset, --rejoin and --no-ack must be durations of 100 ms at least";
    }
    return good;
}

/* ---- the terminal ------------------------------------------------------------------------------ */

static bool open_terminal(struct sim *sim, struct sim_stick *s)
{
    s->waits_to_write = false;
    if (stick_pty_plug(&s->pty) && net_watch_stick(sim, s->pty.master, false))
        return true;
    fprintf(stderr, "sennet-sim: no pseudo terminal for the stick: %s\n", strerror(errno));
    return false;
}

/* ---- life -------------------------------------------------------------------------------------- */

static unsigned percent(double part)
{
    return (unsigned)(part * 100 + 0.5);
}

static bool make_ether(const struct sim *sim, struct sim_stick *s)
{
    struct ether_config c = ether_defaults();
    const struct air_settings *air = &sim->plan.groups[0].air;
    const bool is_xbee = strcmp(s->options.kind, "xbee") == 0;
    const bool is_serial = strcmp(s->options.kind, "serial") == 0;
    c.seed = sim->plan.seed;
    c.loss_percent = percent(air->loss);
    c.copy_percent = percent(air->duplicate);
    c.latency_min_ms = air->latency_ms > 0 ? air->latency_ms : 5;
    c.no_ack_ms = s->options.no_ack_ms;
    c.latency_max_ms = c.latency_min_ms + air->jitter_ms;
    c.max_payload = is_serial ? PAYLOAD_SERIAL : is_xbee ? PAYLOAD_XBEE : PAYLOAD_ZIGBEE;
    s->ether = ether_new(&c, sim->now_ms);
    for (uint32_t i = 0; s->ether != NULL && i < sim->n_nodes; i++) {
        const struct ether_node node = {
            .eui64 = UINT64_C(0x0011223300000000) + i,
            .short_address = (uint16_t)(FIRST_SHORT + i),
            .sleepy = sim->nodes[i].group->sleepy && !is_serial,
            .lqi = (uint8_t)(80 + i * 37 % 170),
            .rssi = (int8_t)(-40 - (int)(i * 13 % 50)),
            .endpoint = 0xE8,
            .profile = 0xC105,
            .cluster = 0x0011,
        };
        if (ether_node_add(s->ether, sim->now_ms, &node) != (int)i)
            return false;
        ether_node_reach(s->ether, i, false);
    }
    return s->ether != NULL;
}

static bool make_emu(const struct sim *sim, struct sim_stick *s)
{
    const struct sim_stick_options *o = &s->options;
    const bool is_serial = strcmp(o->kind, "serial") == 0;
    const struct emu_config c = {
        .seed = sim->plan.seed + 1,
        .eui64 = UINT64_C(0x00124B0021A81179),
        .formed = !o->unformed,
        .firmware =
            is_serial ? o->framing + (sim->n_nodes > 1 ? (unsigned)BRIDGE : 0) : o->firmware,
        .baud = o->baud,
        .faults = {.garbage_percent = o->line_faults,
                   .flip_percent = o->line_faults,
                   .drop_percent = o->line_faults,
                   .split_percent = o->line_faults,
                   .split_ms = 20},
    };
    s->emu = emu_new(emu_driver_find(o->kind), &c, s->ether, sim->now_ms);
    return s->emu != NULL;
}

static void say_where(const struct sim *sim, const struct sim_stick *s)
{
    static const char *const framings[] = {"raw", "slip", "hdlc", "cobs"};
    const bool is_serial = strcmp(s->options.kind, "serial") == 0;
    printf("sennet-sim: the stick is %s\n", s->pty.name);
    printf("[link stick]\ndriver = %s\ndevice = %s\n", s->options.kind,
           s->options.link != NULL ? s->options.link : s->pty.name);
    if (strcmp(s->options.kind, "xbee") == 0 && s->options.baud > 0)
        printf("baud = %u\n", (unsigned)s->options.baud);
    if (is_serial)
        printf("framing = %s\nforwarder = %s\n", framings[s->options.framing],
               sim->n_nodes > 1 ? "yes" : "no");
    if (s->options.unformed)
        printf("form_network = yes\n");
    fflush(stdout);
}

struct sim_stick *stick_start(struct sim *sim, const struct sim_stick_options *options)
{
    struct sim_stick *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->options = *options;
    stick_pty_init(&s->pty, options->link);
    rng_seed(&s->rng, sim->plan.seed + 2);
    s->first_ms = s->plug_ms = s->back_ms = s->service_ms = TIME_NEVER;
    s->replug_ms = s->reset_ms = s->rejoin_ms = TIME_NEVER;
    if (sim->n_nodes > NODES_MAX) {
        fprintf(stderr, "sennet-sim: one stick has no more than %d nodes\n", NODES_MAX);
    } else if (!make_ether(sim, s) || !make_emu(sim, s)) {
        fprintf(stderr, "sennet-sim: out of memory\n");
    } else if (open_terminal(sim, s)) {
        say_where(sim, s);
        return s;
    }
    stick_stop(sim, s);
    return NULL;
}

void stick_stop(struct sim *sim, struct sim_stick *s)
{
    (void)sim;
    if (s == NULL)
        return;
    stick_pty_deinit(&s->pty);
    emu_free(s->emu);
    ether_free(s->ether);
    free(s);
}

bool stick_is_ready(const struct sim *sim, const struct sim_stick *s)
{
    return s->emu->sends > 0 || time_add(s->first_ms, READY_MS) <= sim->now_ms;
}

bool stick_is_through(const struct sim_stick *s)
{
    const unsigned wanted = s->options.replugs;
    return wanted > 0 && s->pty.pulled >= wanted && s->pty.master >= 0;
}

/* ---- bytes ------------------------------------------------------------------------------------- */

/* The wait that began at `*since_ms` is over, in one way or another. */
static void waited(int64_t *since_ms, int64_t now_ms, int64_t *slowest_ms)
{
    if (*since_ms == TIME_NEVER)
        return;
    *slowest_ms = time_max(*slowest_ms, now_ms - *since_ms);
    *since_ms = TIME_NEVER;
}

static void heard_host(const struct sim *sim, struct sim_stick *s)
{
    if (s->first_ms == TIME_NEVER)
        s->first_ms = sim->now_ms;
    waited(&s->back_ms, sim->now_ms, &s->slowest_ms);
}

void stick_excuse(struct sim_stick *s, int64_t late_ms)
{
    s->back_ms = time_add(s->back_ms, late_ms);
    s->service_ms = time_add(s->service_ms, late_ms);
}

static void read_terminal(struct sim *sim, struct sim_stick *s)
{
    const size_t n = stick_pty_read(&s->pty, s->emu, sim->now_us);
    if (n == 0)
        return;
    heard_host(sim, s);
    s->bytes_in += sim->phase == RUN_GOING ? n : 0;
}

static void write_terminal(struct sim *sim, struct sim_stick *s)
{
    bool full;
    const size_t n = stick_pty_write(&s->pty, s->emu, sim->now_us, &full);
    s->bytes_out += sim->phase == RUN_GOING ? n : 0;
    if (s->pty.master < 0 || full == s->waits_to_write)
        return;
    net_watch_stick(sim, s->pty.master, full);
    s->waits_to_write = full;
}

void stick_io(struct sim *sim, struct sim_stick *s)
{
    read_terminal(sim, s);
}

/* ---- what happens to sticks -------------------------------------------------------------------- */

static int64_t within(struct sim_stick *s, int64_t span_ms)
{
    return (int64_t)rng_below(&s->rng, (uint64_t)span_ms + 1);
}

/* Once in a period, at any moment. */
static int64_t next_time(struct sim_stick *s, int64_t now_ms, int64_t period_ms)
{
    return period_ms == TIME_NEVER ? TIME_NEVER : now_ms + period_ms / 2 + within(s, period_ms);
}

static void begin_service(struct sim_stick *s, int64_t now_ms)
{
    s->service_ms = now_ms;
    s->sends_before = s->emu->sends;
}

static void end_service(struct sim_stick *s, int64_t now_ms)
{
    waited(&s->service_ms, now_ms, &s->slowest_service_ms);
}

static void pull_out(struct sim *sim, struct sim_stick *s)
{
    waited(&s->back_ms, sim->now_ms, &s->slowest_ms);
    end_service(s, sim->now_ms);
    emu_power_off(s->emu, sim->now_ms);
    stick_pty_pull(&s->pty);
    s->plug_ms = sim->now_ms + within(s, OUT_MAX_MS);
    s->replug_ms = TIME_NEVER;
}

static int64_t next_pull(struct sim_stick *s, int64_t now_ms)
{
    const unsigned wanted = s->options.replugs;
    if (!s->is_hard_time || (wanted > 0 && s->pty.pulled >= wanted))
        return TIME_NEVER;
    return s->pty.pulled % LOOSE_EVERY == 0 ? now_ms + within(s, LOOSE_MS)
                                            : next_time(s, now_ms, s->options.replug_ms);
}

static void plug_in(struct sim *sim, struct sim_stick *s)
{
    const int64_t now_ms = sim->now_ms;
    s->plug_ms = TIME_NEVER;
    s->replug_ms = next_pull(s, now_ms);
    if (!open_terminal(sim, s)) {
        run_interrupt(sim);
        return;
    }
    s->back_ms = now_ms;
    emu_power_on(s->emu, now_ms);
    begin_service(s, now_ms);
}

/* A watchdog, a brown-out: the terminal stays. */
static void reset(struct sim *sim, struct sim_stick *s)
{
    s->reset_ms = next_time(s, sim->now_ms, s->options.reset_ms);
    if (s->pty.master < 0)
        return;
    end_service(s, sim->now_ms);
    s->resets++;
    emu_reset(s->emu, sim->now_ms);
    begin_service(s, sim->now_ms);
}

/* The next node, in turn, gets another address, with or without saying so. */
static void rejoin(struct sim *sim, struct sim_stick *s)
{
    const uint32_t number = s->next_to_rejoin++ % sim->n_nodes;
    const uint16_t before = ether_node_at(s->ether, number)->short_address;
    s->rejoin_ms = time_add(sim->now_ms, s->options.rejoin_ms);
    s->rejoins++;
    ether_node_rejoin(s->ether, sim->now_ms, number, (uint16_t)(before ^ REJOINED), false);
}

static void take_events(struct sim *sim, struct sim_stick *s)
{
    struct ether_event event;
    while (ether_peek_event(s->ether, &event)) {
        if (event.type != ETHER_EV_TO_NODE) {
            emu_event(s->emu, sim->now_ms, &event);
            ether_done_event(s->ether);
            continue;
        }
        uint8_t copy[ETHER_PAYLOAD_MAX];
        struct sim_node *n = &sim->nodes[event.number];
        const struct bytes packet = bytes_of(copy, event.payload.len);
        memcpy(copy, event.payload.data, event.payload.len);
        ether_done_event(s->ether); /* the node may send */
        if (n->fd >= 0)
            node_input(sim, n, packet);
    }
}

/* Not before the nodes begin; and while the run ends, what is under way shall get through. */
static void begin_hardships(const struct sim *sim, struct sim_stick *s)
{
    s->is_hard_time = true;
    s->replug_ms = next_time(s, sim->now_ms, s->options.replug_ms);
    s->reset_ms = next_time(s, sim->now_ms, s->options.reset_ms);
    s->rejoin_ms = time_add(sim->now_ms, s->options.rejoin_ms);
}

static void end_hardships(struct sim_stick *s)
{
    s->is_hard_time = false;
    s->replug_ms = s->reset_ms = s->rejoin_ms = TIME_NEVER;
}

void stick_step(struct sim *sim, struct sim_stick *s)
{
    if (sim->phase == RUN_GOING && !s->is_hard_time)
        begin_hardships(sim, s);
    else if (sim->phase != RUN_GOING && s->is_hard_time)
        end_hardships(s);
    emu_advance_us(s->emu, sim->now_us); /* what is on the line comes before what happens now */
    if (s->plug_ms <= sim->now_ms)
        plug_in(sim, s);
    if (s->replug_ms <= sim->now_ms)
        pull_out(sim, s);
    if (s->reset_ms <= sim->now_ms)
        reset(sim, s);
    if (s->rejoin_ms <= sim->now_ms)
        rejoin(sim, s);
    read_terminal(sim, s);
    if (s->emu->sends > s->sends_before)
        end_service(s, sim->now_ms);
    ether_advance(s->ether, sim->now_ms);
    take_events(sim, s);
    write_terminal(sim, s);
}

int64_t stick_next_us(const struct sim_stick *s)
{
    int64_t next_ms = time_min(ether_next_deadline(s->ether), s->rejoin_ms);
    next_ms = time_min(next_ms, time_min(s->plug_ms, s->replug_ms));
    next_ms = time_min(next_ms, s->reset_ms);
    return time_min(emu_next_us(s->emu), time_us(next_ms));
}

/* ---- nodes ------------------------------------------------------------------------------------- */

void stick_node_on(struct sim *sim, struct sim_stick *s, const struct sim_node *n, bool on)
{
    (void)sim;
    ether_node_reach(s->ether, n->number, on);
}

void stick_node_send(struct sim *sim, struct sim_stick *s, const struct sim_node *n,
                     struct bytes packet)
{
    if (packet.len > ETHER_PAYLOAD_MAX) {
        sim->counters.send_failures++;
        return;
    }
    emu_advance_us(s->emu, sim->now_us);
    ether_node_send(s->ether, sim->now_ms, n->number, false, packet);
    if (n->group->sleepy)
        ether_node_poll(s->ether, sim->now_ms, n->number, sim->now_ms + POLL_MS);
}

struct sim_stick_figures stick_figures(const struct sim_stick *s)
{
    const struct ether_counters *c = ether_counters(s->ether);
    return (struct sim_stick_figures){
        .frames_in = s->emu->frames_in,
        .frames_out = s->emu->frames_out,
        .sends = s->emu->sends,
        .lost = c->lost,
        .copied = c->copied,
        .expired = c->expired,
        .bytes_in = s->bytes_in,
        .bytes_out = s->bytes_out,
        .overruns = s->emu->overruns,
        .replugs = s->pty.pulled,
        .resets = s->resets,
        .rejoins = s->rejoins,
        .slowest_ms = (uint64_t)s->slowest_ms,
        .slowest_service_ms = (uint64_t)s->slowest_service_ms,
    };
}
