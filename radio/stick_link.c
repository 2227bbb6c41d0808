/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The link of every stick: a port below, the machine of the family above, and between them the
 * endless story of opening: the device may be missing at the start, vanish at any time, and come
 * back under another name. All of that is a state, never an end.
 *
 * Everything that is told to the owner is told from a turn of this link, which begins in the loop;
 * what send() and flush() give rise to waits for the next one. So the owner's machines are never
 * entered in the midst of their own output.
 */
#include "radio/stick_link.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A device that is missing costs nothing to look for, and shall be found soon. */
    MISSING_FIRST_MS = 250,
    MISSING_LAST_MS = 1000,
    /* One that is there and does not work is not helped by being reset every second. */
    BROKEN_FIRST_MS = 500,
    BROKEN_LAST_MS = 30 * 1000,
    REMIND_MS = 10 * 60 * 1000, /* the same trouble is told again after so long */
};

static struct stick_link *of(const struct link *l)
{
    const struct stick_link *s = (const struct stick_link *)(const void *)l;
    return (struct stick_link *)(uintptr_t)s;
}

/* ---- telling --------------------------------------------------------------------------------- */

void stick_link_tell(struct stick_link *l, enum log_level level, const char *event,
                     const char *text)
{
    l->sink.event(l->sink.owner, l->index, (int)level, event, text);
}

/* The same trouble at each of a thousand attempts is told once, and then now and again. */
static void tell_lost(struct stick_link *l, const char *text)
{
    if (stick_link_now(l) < l->told.again_ms && strcmp(l->told.text, text) == 0)
        return;
    snprintf(l->told.text, sizeof l->told.text, "%s", text);
    l->told.again_ms = time_add(stick_link_now(l), REMIND_MS);
    stick_link_tell(l, LOG_WARN, "link.lost", text);
}

static void set_up(struct stick_link *l, bool up)
{
    if (l->is_up == up)
        return;
    l->is_up = up;
    if (l->sink.up != NULL)
        l->sink.up(l->sink.owner, l->index, up);
    if (l->sink.group != NULL)
        l->sink.group(l->sink.owner, l->index, up);
}

/* ---- opening --------------------------------------------------------------------------------- */

static int64_t doubled(int64_t first_ms, int64_t last_ms, unsigned times)
{
    int64_t ms = first_ms;
    while (times-- > 0 && ms < last_ms)
        ms *= 2;
    return time_min(ms, last_ms);
}

static void open_later(struct stick_link *l, bool missing)
{
    int64_t wait_ms = 0;
    if (missing) {
        wait_ms = doubled(MISSING_FIRST_MS, MISSING_LAST_MS, l->missing++);
        l->broken = 0; /* whatever comes back is another try */
    } else {
        wait_ms = doubled(BROKEN_FIRST_MS, BROKEN_LAST_MS, l->broken++);
        l->missing = 0;
    }
    l->stage = CLOSED;
    l->open_at_ms = time_add(stick_link_now(l), wait_ms);
}

static void close_port(struct stick_link *l)
{
    if (l->port != NULL)
        l->port->kind->close(l->port);
    l->port = NULL;
    stick_closed(l->stick, stick_link_now(l));
    set_up(l, false);
}

/* The end of this opening, whatever it was: `error` as from the port. */
static void end_opening(struct stick_link *l, int error, const char *text)
{
    const bool was_open = l->stage == OPEN;
    close_port(l);
    tell_lost(l, text);
    /* A device that hung up is about to vanish, or to come back after a reset of its own. */
    open_later(l, error == -ENODEV || (was_open && error != 0));
}

/* ---- the port ---------------------------------------------------------------------------------- */

static void turn(struct stick_link *l);

static void tell_opening(struct stick_link *l)
{
    char text[LINK_TEXT_MAX];
    const char *where = l->port->kind->where(l->port);
    if (l->port->kind == &port_tcp) {
        snprintf(text, sizeof text, "%s is connected; driver %s starts", where, l->family);
    } else {
        snprintf(text, sizeof text, "%s is open (%s, %u baud); driver %s starts", where,
                 l->port->kind->name, (unsigned)l->port_config.baud, l->family);
    }
    stick_link_tell(l, LOG_INFO, "link.opening", text);
}

static void on_opened(void *owner)
{
    struct stick_link *l = owner;
    l->stage = OPEN;
    if (l->missing > 0 || l->broken == 0)
        tell_opening(l);
    stick_opened(l->stick, stick_link_now(l));
    turn(l);
}

static void on_bytes(void *owner, struct bytes in)
{
    struct stick_link *l = owner;
    stick_input(l->stick, stick_link_now(l), in);
    turn(l);
}

static void on_writable(void *owner)
{
    turn(owner);
}

static void on_lost(void *owner, int error, const char *text)
{
    struct stick_link *l = owner;
    end_opening(l, error, text);
    turn(l);
}

static void open_port(struct stick_link *l)
{
    const struct port_kind *kind = port_find(l->device);
    const struct port_sink sink = {.owner = l,
                                   .opened = on_opened,
                                   .bytes = on_bytes,
                                   .writable = on_writable,
                                   .lost = on_lost};
    char error[LINK_TEXT_MAX];
    l->open_at_ms = TIME_NEVER;
    l->stage = OPENING;
    stick_link_choose(l);
    const int rc = kind->open(l->loop, &l->port_config, &sink, &l->port, error, sizeof error);
    if (rc != 0)
        end_opening(l, rc, error);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/* Until the port or the machine has had enough. */
static void carry_bytes(struct stick_link *l)
{
    struct bytes out;
    while (l->stage == OPEN && stick_peek_bytes(l->stick, &out)) {
        const size_t n = l->port->kind->write(l->port, out);
        if (n > 0)
            stick_took(l->stick, stick_link_now(l), n);
        if (n < out.len)
            break; /* `writable` or `lost` follows */
    }
}

static void change_port(struct stick_link *l, const struct stick_port *to)
{
    char text[LINK_TEXT_MAX];
    if (l->stage != OPEN)
        return;
    const int rc = l->port->kind->set(l->port, to->baud, to->dtr, to->rts);
    if (rc == 0 || rc == -ENOTSUP || rc == -ENOTTY)
        return; /* what has no such thing is not in the way */
    snprintf(text, sizeof text, "%s does not take new settings (baud %d, DTR %d, RTS %d): %s",
             l->port->kind->where(l->port), (int)to->baud, to->dtr, to->rts, strerror(-rc));
    stick_link_tell(l, LOG_WARN, "link.port_settings", text);
}

static void came_up(struct stick_link *l, const struct stick_event *e)
{
    char text[LINK_TEXT_MAX];
    l->missing = l->broken = 0;
    l->told.again_ms = 0;
    snprintf(text, sizeof text, "%s: %s; packets of up to %u octets", l->port->kind->where(l->port),
             e->text, (unsigned)e->max_packet_bytes);
    stick_link_tell(l, LOG_NOTICE, "link.up", text);
    if (l->sink.limit != NULL)
        l->sink.limit(l->sink.owner, l->index, e->max_packet_bytes);
    set_up(l, true);
}

static void hand_packet(struct stick_link *l, const struct stick_event *e)
{
    l->counters.bytes_in += e->packet.len;
    if (!e->to_group) {
        l->sink.packet(l->sink.owner, e->peer, &e->signal, e->packet);
        return;
    }
    l->counters.group_in++;
    l->sink.group_packet(l->sink.owner, e->peer, e->packet);
}

/* With driver = auto. */
static void recognised(struct stick_link *l, const struct stick_event *e)
{
    char text[LINK_TEXT_MAX];
    if (l->stage != OPEN)
        return;
    snprintf(text, sizeof text, "%s answers as a stick of family %s, at %d baud",
             l->port->kind->where(l->port), e->name, (int)e->port.baud);
    stick_link_tell(l, LOG_NOTICE, "link.recognised", text);
    l->next_family = e->name;
    l->port_config.baud = l->config.baud = (uint32_t)e->port.baud;
    close_port(l);
    l->stage = CLOSED;
    l->open_at_ms = stick_link_now(l);
}

/* True when the owner has begun a batch by it. */
static bool hand_event(struct stick_link *l, const struct stick_event *e)
{
    switch (e->type) {
    case STICK_EV_PACKET:
        hand_packet(l, e);
        return true;
    case STICK_EV_OUTCOME:
        if (l->sink.outcome == NULL)
            break;
        l->sink.outcome(l->sink.owner, e->peer, e->outcome);
        return true;
    case STICK_EV_UP:
        if (l->stage == OPEN)
            came_up(l, e);
        break;
    case STICK_EV_DOWN:
        set_up(l, false);
        stick_link_tell(l, LOG_WARN, "link.lost", e->text);
        break;
    case STICK_EV_PORT:
        change_port(l, &e->port);
        break;
    case STICK_EV_REOPEN:
        if (l->stage == OPEN)
            end_opening(l, 0, e->text);
        break;
    case STICK_EV_FAMILY:
        recognised(l, e);
        break;
    case STICK_EV_LOG:
        stick_link_tell(l, (enum log_level)e->level, e->name, e->text);
        break;
    }
    return false;
}

static void on_timer(uv_timer_t *timer);

/* For the next turn: at once when there is something to tell. */
static void arm(struct stick_link *l)
{
    struct stick_event e;
    const int64_t due_ms = time_min(stick_next_deadline(l->stick), l->open_at_ms);
    const int64_t at_ms = stick_peek_event(l->stick, &e) ? stick_link_now(l) : due_ms;
    if (at_ms == l->armed_ms)
        return;
    l->armed_ms = at_ms;
    if (at_ms == TIME_NEVER)
        uv_timer_stop(&l->timer);
    else
        uv_timer_start(&l->timer, on_timer,
                       at_ms > stick_link_now(l) ? (uint64_t)(at_ms - stick_link_now(l)) : 0, 0);
}

/* Events first: a change of the port is meant for the bytes that follow it. */
static bool hand_events(struct stick_link *l)
{
    struct stick_event e;
    bool batch = false;
    while (!l->closing && stick_peek_event(l->stick, &e)) {
        batch |= hand_event(l, &e);
        stick_done_event(l->stick);
    }
    return batch;
}

static void turn(struct stick_link *l)
{
    assert(!l->in_turn);
    l->in_turn = true;
    const bool batch = hand_events(l);
    if (l->next_family != NULL)
        stick_link_change(l, l->next_family);
    l->next_family = NULL;
    carry_bytes(l);
    if (batch && !l->closing)
        l->sink.batch_end(l->sink.owner);
    l->in_turn = false;
    if (!l->closing)
        arm(l);
}

static void on_timer(uv_timer_t *timer)
{
    struct stick_link *l = timer->data;
    l->armed_ms = TIME_NEVER;
    stick_advance(l->stick, stick_link_now(l));
    turn(l);
    if (l->closing || stick_link_now(l) < l->open_at_ms)
        return;
    open_port(l);
    turn(l);
}

/* ---- the owner's calls ----------------------------------------------------------------------- */

static void link_send(struct link *link, const struct peer *to, struct bytes packet)
{
    struct stick_link *l = of(link);
    if (l->closing || packet.len == 0 || packet.len > UINT16_MAX) {
        l->lost_here++;
        return;
    }
    l->counters.bytes_out += packet.len;
    stick_send(l->stick, stick_link_now(l), to, packet);
}

static void link_flush(struct link *link)
{
    struct stick_link *l = of(link);
    if (l->closing)
        return;
    carry_bytes(l);
    if (!l->in_turn)
        arm(l);
}

/* Nobody hears his own broadcasts back. */
static bool link_is_own(const struct link *link, const struct peer *from)
{
    (void)link;
    (void)from;
    return false;
}

static const struct link_counters *link_counters_of(const struct link *link)
{
    struct stick_link *l = of(link);
    const struct stick_counters *c = stick_counters(l->stick);
    l->counters.packets_in = c->packets_in;
    l->counters.packets_out = c->packets_out;
    l->counters.oversize = c->oversize_in;
    l->counters.empty = c->empty_in;
    l->counters.send_drops = c->not_sent + l->lost_here;
    l->counters.receive_errors = c->bad_frames + c->strange_frames;
    return &l->counters;
}

static const char *link_where(const struct link *link)
{
    struct stick_link *l = of(link);
    const char *device = l->stage == OPEN ? l->port->kind->where(l->port) : l->device;
    snprintf(l->where, sizeof l->where, "%s", device);
    return l->where;
}

static struct stick *link_stick_of(struct link *link)
{
    return of(link)->stick;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void free_link(struct stick_link *l)
{
    explicit_bzero(&l->config, sizeof l->config); /* it holds the network key */
    stick_free(l->stick);
    free(l->device);
    free(l);
}

static void on_closed(uv_handle_t *handle)
{
    free_link(handle->data);
}

static struct stick_link *new_link(uv_loop_t *loop, const struct link_config *config,
                                   const struct link_sink *sink)
{
    struct stick_link *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    const struct stick_driver *driver = stick_driver_find(bytes_str(config->driver));
    l->base.driver = &link_stick;
    l->loop = loop;
    l->sink = *sink;
    l->index = config->index;
    l->wanted = l->family = stick_driver_label(driver);
    l->device = strdup(config->port.device);
    if (l->device == NULL) {
        free(l);
        return NULL;
    }
    l->port_config = config->port;
    l->port_config.device = l->device;
    if (l->port_config.baud == 0)
        l->port_config.baud = stick_link_baud(config->driver);
    l->open_at_ms = TIME_NEVER;
    l->armed_ms = TIME_NEVER;
    l->config = config->stick != NULL ? *config->stick : stick_defaults();
    l->config.link = config->index;
    l->config.baud = port_find(l->device) == &port_tcp ? 0 : l->port_config.baud;
    l->config.max_packet_bytes = config->max_packet_bytes;
    l->stick = stick_new(driver, &l->config, stick_link_now(l));
    if (l->stick != NULL)
        return l;
    free_link(l);
    return NULL;
}

static int link_check(const struct link_config *config, char *error, size_t error_size)
{
    if (stick_driver_find(bytes_str(config->driver)) == NULL) {
        snprintf(error, error_size, "no stick is called '%s'", config->driver);
        return -EINVAL;
    }
    if (config->port.device == NULL) {
        snprintf(error, error_size, "it needs 'device', a path like /dev/serial/by-id/...");
        return -EINVAL;
    }
    if (config->max_packet_bytes < 12 || config->max_packet_bytes > 1500) {
        snprintf(error, error_size, "a stick's packets have 12 to 1500 octets");
        return -EINVAL;
    }
    return port_find(config->port.device)->check(&config->port, error, error_size);
}

static int link_open(void *loop, const struct link_config *config, const struct link_sink *sink,
                     struct link **out, char *error, size_t error_size)
{
    const int rc = link_check(config, error, error_size);
    if (rc != 0 && rc != -ENODEV)
        return rc;
    struct stick_link *l = new_link(loop, config, sink);
    if (l == NULL) {
        snprintf(error, error_size, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    uv_timer_init(loop, &l->timer);
    l->timer.data = l;
    *out = &l->base;
    return 0;
}

/* Not before: the port would deliver at once, and the stick with it. */
static void link_start(struct link *link)
{
    struct stick_link *l = of(link);
    l->open_at_ms = stick_link_now(l);
    arm(l);
}

static void link_close(struct link *link)
{
    struct stick_link *l = of(link);
    assert(!l->closing);
    l->closing = true;
    if (l->port != NULL)
        l->port->kind->close(l->port);
    l->port = NULL;
    l->stage = CLOSED;
    uv_close((uv_handle_t *)&l->timer, on_closed);
}

const struct link_driver link_stick = {
    .name = "stick",
    .check = link_check,
    .open = link_open,
    .start = link_start,
    .send = link_send,
    .flush = link_flush,
    .is_own = link_is_own,
    .counters = link_counters_of,
    .where = link_where,
    .stick = link_stick_of,
    .close = link_close,
};
