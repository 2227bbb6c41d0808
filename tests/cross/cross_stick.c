/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An emulated stick on a pseudo terminal, with nodes that do what they are told: for hosts that
 * somebody else wrote (cross.mjs). Commands come from standard input, what nodes hear goes to
 * standard output, a line each; the end of standard input ends it.
 *
 *     cross_stick DRIVER FIRMWARE formed|unformed
 *
 *     join EUI64 SHORT ENDPOINT PROFILE CLUSTER     -> node N
 *     sleepy EUI64 SHORT ENDPOINT PROFILE CLUSTER   -> node N; hears only while it polls
 *     send N HEX, broadcast N HEX, poll N MS, reach N 0|1, rejoin N SHORT, reset
 *                                                   -> heard N HEX
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tools/emu/emu.h"

enum {
    LINE_MAX_OCTETS = 1024,
    SEED = 4711,
    WAIT_MAX_MS = 1000,
    SPARE_TERMINALS = 40,
    XBEE_PAYLOAD = 116,
    PLUGGED_MS = 5000, /* so long ago: it has started */
};

struct stick {
    struct ether *ether;
    struct emu *emu;
    int master, slave; /* the slave stays open, or the master could not be read */
    int64_t now_ms;
    char line[LINE_MAX_OCTETS];
    size_t n_line;
};

static int64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- commands ---------------------------------------------------------------------------------- */

static size_t from_hex(const char *text, uint8_t *out, size_t size)
{
    size_t n = 0;
    unsigned octet;
    while (n < size && sscanf(text + 2 * n, "%2x", &octet) == 1)
        out[n++] = (uint8_t)octet;
    return text[2 * n] == '\0' ? n : 0;
}

static bool join(struct stick *s, const char *args, bool sleepy)
{
    struct ether_node node = {.sleepy = sleepy, .lqi = 200, .rssi = -50};
    unsigned address, endpoint, profile, cluster;
    if (sscanf(args, "%" SCNx64 " %x %x %x %x", &node.eui64, &address, &endpoint, &profile,
               &cluster) != 5)
        return false;
    node.short_address = (uint16_t)address;
    node.endpoint = (uint8_t)endpoint;
    node.profile = (uint16_t)profile;
    node.cluster = (uint16_t)cluster;
    printf("node %d\n", ether_node_add(s->ether, s->now_ms, &node));
    return true;
}

static bool speak(struct stick *s, const char *args, bool broadcast)
{
    uint8_t payload[ETHER_PAYLOAD_MAX];
    char hex[2 * ETHER_PAYLOAD_MAX + 1];
    unsigned number;
    if (sscanf(args, "%u %510s", &number, hex) != 2 || number >= ether_nodes(s->ether))
        return false;
    const size_t len = from_hex(hex, payload, sizeof payload);
    if (len > 0)
        ether_node_send(s->ether, s->now_ms, number, broadcast, bytes_of(payload, len));
    return len > 0;
}

/* Commands whose arguments are a node and a number. */
static bool change(struct stick *s, const char *verb, const char *args)
{
    unsigned number, value;
    if (sscanf(args, "%u %i", &number, (int *)&value) != 2 || number >= ether_nodes(s->ether))
        return false;
    if (strcmp(verb, "poll") == 0)
        ether_node_poll(s->ether, s->now_ms, number, s->now_ms + value);
    else if (strcmp(verb, "reach") == 0)
        ether_node_reach(s->ether, number, value != 0);
    else if (strcmp(verb, "rejoin") == 0)
        ether_node_rejoin(s->ether, s->now_ms, number, (uint16_t)value, false);
    else
        return false;
    return true;
}

static bool obey(struct stick *s, const char *line)
{
    char verb[16];
    int n = 0;
    if (sscanf(line, "%15s %n", verb, &n) != 1)
        return false;
    const char *args = line + n;
    if (strcmp(verb, "join") == 0 || strcmp(verb, "sleepy") == 0)
        return join(s, args, verb[0] == 's');
    if (strcmp(verb, "send") == 0 || strcmp(verb, "broadcast") == 0)
        return speak(s, args, verb[0] == 'b');
    if (strcmp(verb, "reset") == 0) {
        emu_reset(s->emu, s->now_ms);
        return true;
    }
    return change(s, verb, args);
}

/* False: there will be no more. */
static bool read_commands(struct stick *s)
{
    const ssize_t n = read(STDIN_FILENO, s->line + s->n_line, sizeof s->line - s->n_line - 1);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    s->n_line += (size_t)n;
    char *end;
    while ((end = memchr(s->line, '\n', s->n_line)) != NULL) {
        const size_t used = (size_t)(end - s->line) + 1;
        *end = '\0';
        if (!obey(s, s->line)) {
            fprintf(stderr, "cross_stick: what is '%s'?\n", s->line);
            return false;
        }
        s->n_line -= used;
        memmove(s->line, end + 1, s->n_line);
    }
    return s->n_line < sizeof s->line - 1;
}

/* ---- the terminal ------------------------------------------------------------------------------ */

/* A gateway of another test may still wait for the return of its stick, and take ours for it when
 * that comes under the same number. So the lowest numbers, which everybody has, are left out. */
static void pass_over_low_numbers(void)
{
    for (int i = 0; i < SPARE_TERMINALS; i++) {
        if (posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC) < 0)
            return;
    }
}

static bool open_terminal(struct stick *s)
{
    char name[64];
    struct termios t;
    pass_over_low_numbers();
    s->master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (s->master < 0 || grantpt(s->master) != 0 || unlockpt(s->master) != 0 ||
        ptsname_r(s->master, name, sizeof name) != 0)
        return false;
    s->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (s->slave < 0 || tcgetattr(s->slave, &t) != 0)
        return false;
    cfmakeraw(&t);
    printf("tty %s\n", name);
    return tcsetattr(s->slave, TCSANOW, &t) == 0;
}

static void read_terminal(struct stick *s)
{
    uint8_t octets[512];
    const size_t room = emu_room(s->emu);
    const ssize_t n = read(s->master, octets, room < sizeof octets ? room : sizeof octets);
    if (n > 0)
        emu_input(s->emu, s->now_ms, bytes_of(octets, (size_t)n));
}

static void write_terminal(struct stick *s)
{
    struct bytes out;
    while (emu_peek_bytes(s->emu, s->now_ms, &out)) {
        const ssize_t n = write(s->master, out.data, out.len);
        if (n <= 0)
            return;
        emu_took(s->emu, (size_t)n);
    }
}

/* ---- time -------------------------------------------------------------------------------------- */

static void say_heard(const struct ether_event *event)
{
    printf("heard %zu ", event->number);
    for (size_t i = 0; i < event->payload.len; i++)
        printf("%02x", event->payload.data[i]);
    printf("\n");
}

static void step(struct stick *s)
{
    struct ether_event event;
    emu_advance(s->emu, s->now_ms);
    ether_advance(s->ether, s->now_ms);
    while (ether_peek_event(s->ether, &event)) {
        if (event.type == ETHER_EV_TO_NODE)
            say_heard(&event);
        else
            emu_event(s->emu, s->now_ms, &event);
        ether_done_event(s->ether);
    }
    write_terminal(s);
    fflush(stdout);
}

/* What it said when it started nobody heard. */
static void start(struct stick *s)
{
    struct bytes out;
    for (const int64_t until_ms = clock_ms(); s->now_ms < until_ms; s->now_ms++) {
        emu_advance(s->emu, s->now_ms);
        while (emu_peek_bytes(s->emu, s->now_ms, &out))
            emu_took(s->emu, out.len);
    }
}

static void run(struct stick *s)
{
    for (;;) {
        struct pollfd fds[] = {
            {.fd = STDIN_FILENO, .events = POLLIN},
            {.fd = s->master,    .events = POLLIN}
        };
        struct bytes waiting;
        s->now_ms = clock_ms();
        step(s);
        if (emu_peek_bytes(s->emu, s->now_ms, &waiting))
            fds[1].events |= POLLOUT;
        const int64_t next_ms = time_min(emu_next_deadline(s->emu), ether_next_deadline(s->ether));
        const int64_t wait_ms =
            next_ms <= s->now_ms ? 0 : time_min(next_ms - s->now_ms, WAIT_MAX_MS);
        if (poll(fds, 2, (int)wait_ms) < 0 && errno != EINTR)
            return;
        s->now_ms = clock_ms();
        if ((fds[0].revents & (POLLIN | POLLHUP)) != 0 && !read_commands(s))
            return;
        if ((fds[1].revents & POLLIN) != 0)
            read_terminal(s);
    }
}

int main(int argc, char **argv)
{
    static struct stick s;
    s = (struct stick){.master = -1, .slave = -1, .now_ms = clock_ms() - PLUGGED_MS};
    const struct emu_driver *driver = argc == 4 ? emu_driver_find(argv[1]) : NULL;
    struct ether_config air = ether_defaults();
    air.seed = SEED;
    air.latency_min_ms = 5;
    air.latency_max_ms = 10;
    air.no_ack_ms = 300; /* a host that waits for a failure should not have to wait long */
    air.indirect_ms = 600;
    air.max_payload = XBEE_PAYLOAD; /* the shorter limits are the stick's own */
    if (driver == NULL) {
        fprintf(stderr, "usage: cross_stick DRIVER FIRMWARE formed|unformed\n");
        return 64;
    }
    const struct emu_config config = {.seed = SEED,
                                      .eui64 = UINT64_C(0x00124B0021A81179),
                                      .firmware = (unsigned)strtoul(argv[2], NULL, 10),
                                      .formed = strcmp(argv[3], "formed") == 0,
                                      .baud = 115200};
    s.ether = ether_new(&air, s.now_ms);
    s.emu = s.ether != NULL ? emu_new(driver, &config, s.ether, s.now_ms) : NULL;
    if (s.emu != NULL)
        start(&s);
    if (s.emu == NULL || !open_terminal(&s)) {
        fprintf(stderr, "cross_stick: no stick: %s\n", strerror(errno));
        return 1;
    }
    run(&s);
    close(s.slave);
    close(s.master);
    emu_free(s.emu);
    ether_free(s.ether);
    return 0;
}
