/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is shown while a run goes on: a live table on a terminal, one line per second elsewhere.
 *
 * A frame is built in memory and written at once, on the terminal's alternate screen. Everything
 * from the network is shown with its control characters replaced.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tools/sim.h"

enum {
    RECENT = 32, /* messages kept */
    RECENT_TEXT = 160,
    FRAME_MAX = 65536,
    LINE_ROOM = 512,
    MIN_COLUMNS = 40,
    MAX_COLUMNS = 300,
    MIN_ROWS = 12,
    MAX_ROWS = 120,
    FIXED_ROWS = 7, /* heads and blank lines, and one so that nothing scrolls */
};

struct recent {
    char text[RECENT_TEXT];
};

struct sim_table {
    struct recent recent[RECENT];
    uint64_t n_recent; /* ever */
    int rows;
    int columns;
    size_t len;
    char frame[FRAME_MAX];
};

/* ---- the frame ------------------------------------------------------------------------------- */

static void put(struct sim_table *t, const char *text, size_t len)
{
    if (len > sizeof t->frame - t->len)
        len = sizeof t->frame - t->len;
    memcpy(t->frame + t->len, text, len);
    t->len += len;
}

/* One line, cut at the right edge; the rest of the old line is erased. */
static void put_line(struct sim_table *t, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put_line(struct sim_table *t, const char *format, ...)
{
    char line[LINE_ROOM];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    const int limit = t->columns < (int)sizeof line ? t->columns : (int)sizeof line - 1;
    put(t, line, (size_t)(n < limit ? n : limit));
    put(t, "\x1b[K\r\n", 5);
}

static void flush(struct sim_table *t)
{
    size_t done = 0;
    while (done < t->len) {
        const ssize_t n = write(STDOUT_FILENO, t->frame + done, t->len - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    t->len = 0;
}

/* ---- life cycle ------------------------------------------------------------------------------ */

void table_resize(struct sim_table *t)
{
    struct winsize size = {0};
    const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0;
    t->rows = known ? size.ws_row : 24;
    t->columns = known ? size.ws_col : 80;
    t->rows = t->rows < MIN_ROWS ? MIN_ROWS : t->rows > MAX_ROWS ? MAX_ROWS : t->rows;
    t->columns = t->columns < MIN_COLUMNS   ? MIN_COLUMNS
                 : t->columns > MAX_COLUMNS ? MAX_COLUMNS
                                            : t->columns;
}

struct sim_table *table_new(struct sim *sim)
{
    (void)sim;
    struct sim_table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    table_resize(t);
    static const char enter[] = "\x1b[?1049h\x1b[?25l\x1b[2J";
    put(t, enter, sizeof enter - 1);
    flush(t);
    return t;
}

void table_free(struct sim_table *t)
{
    if (t == NULL)
        return;
    static const char leave[] = "\x1b[?25h\x1b[?1049l";
    put(t, leave, sizeof leave - 1);
    flush(t);
    free(t);
}

/* ---- content --------------------------------------------------------------------------------- */

static size_t put_printable(char *out, size_t room, struct bytes in)
{
    const size_t n = in.len < room ? in.len : room;
    for (size_t i = 0; i < n; i++)
        out[i] = in.data[i] >= ' ' && in.data[i] < 0x7f ? (char)in.data[i] : '.';
    return n;
}

void table_arrival(struct sim_table *t, struct bytes topic, struct bytes data)
{
    char *text = t->recent[t->n_recent++ % RECENT].text;
    size_t n = put_printable(text, 40, topic);
    while (n < 24)
        text[n++] = ' ';
    text[n++] = ' ';
    n += put_printable(text + n, RECENT_TEXT - 1 - n, data);
    text[n] = '\0';
}

static const char *phase_text(const struct sim *sim)
{
    switch (sim->phase) {
    case RUN_WAITING:
        return sim->stick != NULL && !stick_is_ready(sim, sim->stick)
                   ? "waiting for the gateway to start the stick"
                   : "waiting for the broker";
    case RUN_GOING:
        return "running, Ctrl-C ends";
    case RUN_DRAINING:
        return "draining";
    case RUN_LEAVING:
    case RUN_ENDED:
        break;
    }
    return "leaving";
}

static void put_head(const struct sim *sim, struct sim_table *t)
{
    const struct ledger_totals up = ledger_sum(&sim->up);
    const struct ledger_totals down = ledger_sum(&sim->down);
    put_line(t, "sennet-sim  %.0f s  %s %s  broker %s  [%s]",
             sim->start_us > 0 ? (double)(sim->now_us - sim->start_us) / 1e6 : 0.0,
             sim->stick != NULL ? "stick" : "gateway",
             sim->stick != NULL ? sim->options.stick.kind : sim->options.gateway,
             sim->options.broker != NULL ? sim->options.broker : "-", phase_text(sim));
    put_line(t,
             "nodes %" PRIu32 "/%" PRIu32 "  sent %" PRIu64 "  acked %" PRIu64 "  arrived %" PRIu64
             "  refused %" PRIu64 "  unseen %" PRIu64 "  down %" PRIu64 "/%" PRIu64
             "  wills %" PRIu64 "/%" PRIu64,
             sim->connected, sim->n_nodes, up.sent, up.acknowledged, up.arrived, up.refused,
             up.lost, down.arrived, down.sent, sim->counters.wills_seen,
             sim->counters.wills_expected);
}

static void put_node(const struct sim *sim, struct sim_table *t, const struct sim_node *n)
{
    char last[PAYLOAD_NATURAL_MAX] = "";
    if (n->sent > 0) {
        const size_t len = payload_write((uint8_t *)last, sizeof last - 1, &n->last, 0);
        last[len] = '\0';
    }
    char id[NODE_TOPIC_MAX];
    snprintf(id, sizeof id, "%s-%" PRIu32, n->group->id_prefix, n->number);
    put_line(t, "%-14s %-11s %7" PRIu64 " %7" PRIu64 " %7" PRIu64 " %5" PRIu64 " %8.1f  %s", id,
             node_state_name(n->state), n->sent, n->acknowledged, n->arrived, n->down,
             (double)n->last_latency_us / 1000, last);
    (void)sim;
}

void table_draw(struct sim *sim)
{
    struct sim_table *t = sim->table;
    const int room = t->rows - FIXED_ROWS;
    int messages = sim->broker != NULL ? room / 3 : 0;
    messages = messages > RECENT ? RECENT : messages;
    const uint32_t nodes_room = (uint32_t)(room - messages);
    put(t, "\x1b[H", 3);
    put_head(sim, t);
    put_line(t, "%-14s %-11s %7s %7s %7s %5s %8s  %s", "NODE", "STATE", "SENT", "ACKED", "ARRIVED",
             "DOWN", "MS", "LAST");
    uint32_t shown = sim->n_nodes < nodes_room ? sim->n_nodes : nodes_room;
    for (uint32_t i = 0; i < shown; i++)
        put_node(sim, t, &sim->nodes[i]);
    if (shown < sim->n_nodes)
        put_line(t, "... and %" PRIu32 " more", sim->n_nodes - shown);
    if (messages > 0) {
        put_line(t, " ");
        put_line(t, "ARRIVING AT THE BROKER");
        for (int i = 0; i < messages; i++) {
            const uint64_t age = (uint64_t)(messages - i);
            put_line(t, "%s",
                     age <= t->n_recent ? t->recent[(t->n_recent - age) % RECENT].text : "");
        }
    }
    put(t, "\x1b[J", 3);
    /* The last line must not scroll the screen. */
    flush(t);
}

void progress_line(const struct sim *sim)
{
    const struct ledger_totals up = ledger_sum(&sim->up);
    const struct ledger_totals down = ledger_sum(&sim->down);
    fprintf(stderr,
            "%4.0fs %s: nodes %" PRIu32 "/%" PRIu32 ", sent %" PRIu64 ", acked %" PRIu64
            ", arrived %" PRIu64 ", refused %" PRIu64 ", unseen %" PRIu64 ", down %" PRIu64
            "/%" PRIu64 ", p99 %.1f ms\n",
            sim->start_us > 0 ? (double)(sim->now_us - sim->start_us) / 1e6 : 0.0, phase_text(sim),
            sim->connected, sim->n_nodes, up.sent, up.acknowledged, up.arrived, up.refused, up.lost,
            down.arrived, down.sent, (double)hist_quantile(&sim->publish_us, 0.99) / 1000);
}
