/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ways in and out of a stick: the calls of stick.h, the buffer of bytes for the port, the ring
 * of events for the owner, and the state of the opening.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "radio/stick/core_priv.h"

bool stick_driver_reports(const struct stick_driver *driver)
{
    return driver->reports;
}

const char *stick_driver_label(const struct stick_driver *driver)
{
    return driver->name;
}

struct stick_config stick_defaults(void)
{
    return (struct stick_config){
        .max_packet_bytes = 255,
        .max_nodes = 1024,
        .endpoint = 0xE8,
        .profile = 0xC105,
        .cluster = 0x0011,
    };
}

/* ---- events: records in a ring, each whole, padded to 8 octets --------------------------------- */

struct record {
    uint32_t size; /* of the whole record; 0: the rest of the ring is unused */
    uint8_t type, kind, flags, outcome;
    uint32_t a; /* packet or text length */
    int32_t b;  /* max_packet_bytes, baud, level */
    int8_t dtr, rts;
    uint8_t lqi;
    int8_t rssi;
    const char *name;
    uint64_t address;
};

enum { FLAG_GROUP = 1, FLAG_LQI = 2, FLAG_RSSI = 4 };

static size_t padded(size_t n)
{
    return (n + 7) / 8 * 8;
}

/* Room for a record with `len` octets behind it, or NULL (counted). */
static struct record *event_room(struct stick *s, size_t len)
{
    const size_t size = padded(sizeof(struct record) + len);
    const size_t to_end = STICK_EVENT_BYTES - s->ev_tail;
    const size_t skip = size > to_end ? to_end : 0;
    if (s->ev_used + skip + size > STICK_EVENT_BYTES) {
        s->counters.events_lost++;
        return NULL;
    }
    if (skip > 0) {
        const struct record none = {.size = 0};
        memcpy(s->events + s->ev_tail, &none, skip < sizeof none ? skip : sizeof none);
        s->ev_used += skip;
        s->ev_tail = 0;
    }
    struct record *r = (void *)(s->events + s->ev_tail);
    *r = (struct record){.size = (uint32_t)size};
    s->ev_tail = (s->ev_tail + size) % STICK_EVENT_BYTES;
    s->ev_used += size;
    return r;
}

static void emit_text(struct stick *s, enum stick_event_type type, int32_t b, const char *name,
                      const char *text)
{
    const size_t len = strlen(text) + 1;
    struct record *r = event_room(s, len);
    if (r == NULL)
        return;
    r->type = (uint8_t)type;
    r->a = (uint32_t)len;
    r->b = b;
    r->name = name;
    memcpy(r + 1, text, len);
}

void stick_emit_packet(struct stick *s, const struct stick_node *node,
                       const struct stick_radio *radio, struct bytes packet)
{
    struct record *r = event_room(s, packet.len);
    if (r == NULL)
        return;
    s->counters.packets_in++;
    r->type = STICK_EV_PACKET;
    r->kind = node->kind;
    r->flags = (uint8_t)((radio->to_group ? FLAG_GROUP : 0) | (radio->has_lqi ? FLAG_LQI : 0) |
                         (radio->has_rssi ? FLAG_RSSI : 0));
    r->lqi = radio->lqi;
    r->rssi = radio->rssi;
    r->a = (uint32_t)packet.len;
    r->address = node->address;
    memcpy(r + 1, packet.data, packet.len);
}

void stick_emit_outcome(struct stick *s, const struct stick_node *node, enum stick_outcome outcome)
{
    if (!s->driver->reports || node->kind == PEER_GROUP)
        return;
    struct record *r = event_room(s, 0);
    if (r == NULL)
        return;
    r->type = STICK_EV_OUTCOME;
    r->kind = node->kind;
    r->outcome = (uint8_t)outcome;
    r->address = node->address;
}

/* The oldest record, past the unused rest at the end of the ring; NULL when there is none. */
static const struct record *oldest(struct stick *s)
{
    if (s->ev_used == 0)
        return NULL;
    const struct record *r = (const void *)(s->events + s->ev_head);
    uint32_t size;
    memcpy(&size, s->events + s->ev_head, sizeof size);
    if (size > 0)
        return r;
    s->ev_used -= STICK_EVENT_BYTES - s->ev_head;
    s->ev_head = 0;
    return s->ev_used > 0 ? (const void *)s->events : NULL;
}

bool stick_peek_event(struct stick *s, struct stick_event *out)
{
    const struct record *r = oldest(s);
    if (r == NULL)
        return false;
    *out = (struct stick_event){.type = r->type, .name = r->name, .level = r->b};
    if (r->type == STICK_EV_PACKET || r->type == STICK_EV_OUTCOME) {
        const struct stick_node node = {.kind = r->kind, .address = r->address};
        out->peer = stick_peer_of(s, &node, &s->ev_peer);
        out->outcome = r->outcome;
        out->signal = (struct link_signal){.has_lqi = (r->flags & FLAG_LQI) != 0,
                                           .has_rssi = (r->flags & FLAG_RSSI) != 0,
                                           .lqi = r->lqi,
                                           .rssi = r->rssi};
        out->to_group = (r->flags & FLAG_GROUP) != 0;
        out->packet = bytes_of(r + 1, r->a);
    } else if (r->type == STICK_EV_FAMILY) {
        out->port = (struct stick_port){.baud = r->b, .dtr = -1, .rts = -1};
    } else if (r->type == STICK_EV_PORT) {
        out->port = (struct stick_port){.baud = r->b, .dtr = r->dtr, .rts = r->rts};
    } else {
        out->text = (const char *)(r + 1);
        out->max_packet_bytes = r->type == STICK_EV_UP ? (uint32_t)r->b : 0;
    }
    return true;
}

void stick_done_event(struct stick *s)
{
    const struct record *r = oldest(s);
    if (r == NULL)
        return;
    s->ev_used -= r->size;
    s->ev_head = (s->ev_head + r->size) % STICK_EVENT_BYTES;
}

void stick_log(struct stick *s, enum log_level level, const char *name, const char *format, ...)
{
    char text[STICK_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    emit_text(s, STICK_EV_LOG, (int32_t)level, name, text);
}

void stick_identified(struct stick *s, int64_t now_ms, const char *family, int32_t baud)
{
    s->now_ms = now_ms;
    s->state = STICK_GIVEN_UP;
    struct record *r = event_room(s, 0);
    if (r == NULL)
        return;
    r->type = STICK_EV_FAMILY;
    r->name = family;
    r->b = baud;
}

void stick_set_port(struct stick *s, struct stick_port port)
{
    struct record *r = event_room(s, 0);
    if (r == NULL)
        return;
    r->type = STICK_EV_PORT;
    r->b = port.baud;
    r->dtr = port.dtr;
    r->rts = port.rts;
}

/* ---- bytes for the port ------------------------------------------------------------------------ */

size_t stick_room(const struct stick *s)
{
    return STICK_OUT_BYTES - (s->out_end - s->out_at);
}

bool stick_write(struct stick *s, struct bytes bytes)
{
    if (bytes.len > stick_room(s))
        return false;
    if (s->out_at == s->out_end) {
        s->out_at = s->out_end = 0;
        s->out_since_ms = s->now_ms;
    }
    if (bytes.len > STICK_OUT_BYTES - s->out_end) {
        memmove(s->out, s->out + s->out_at, s->out_end - s->out_at);
        s->out_end -= s->out_at;
        s->out_at = 0;
    }
    if (bytes.len > 0)
        memcpy(s->out + s->out_end, bytes.data, bytes.len);
    s->out_end += bytes.len;
    return true;
}

bool stick_peek_bytes(struct stick *s, struct bytes *out)
{
    *out = bytes_of(s->out + s->out_at, s->out_end - s->out_at);
    return out->len > 0;
}

void stick_took(struct stick *s, int64_t now_ms, size_t n)
{
    assert(n <= s->out_end - s->out_at);
    s->now_ms = now_ms;
    if (n == 0)
        return;
    s->out_at += n;
    s->out_since_ms = now_ms;
    stick_kick(s);
}

/* ---- state ------------------------------------------------------------------------------------- */

static bool is_open(const struct stick *s)
{
    return s->state == STICK_STARTING || s->state == STICK_RUNNING;
}

static int64_t joining_until(int64_t now_ms, unsigned seconds)
{
    if (seconds == 0)
        return 0;
    return seconds >= UINT16_MAX ? TIME_NEVER : time_add(now_ms, (int64_t)seconds * 1000);
}

/* Each start opens the network as the configuration says, and an operator may have opened it while
 * the stick was away. */
static void permit_at_start(struct stick *s, bool starts)
{
    const int64_t configured_ms = joining_until(s->now_ms, s->config.permit_join_s);
    if (starts && configured_ms > s->join_until_ms)
        s->join_until_ms = configured_ms;
    if (s->driver->permit_join == NULL || s->join_until_ms <= s->now_ms)
        return;
    const int64_t left_s = (s->join_until_ms - s->now_ms + 999) / 1000;
    const bool forever = s->join_until_ms == TIME_NEVER || left_s > UINT16_MAX;
    s->driver->permit_join(s, s->now_ms, forever ? UINT16_MAX : (unsigned)left_s);
}

void stick_up(struct stick *s, int64_t now_ms, uint32_t max_packet_bytes, unsigned slots,
              int64_t confirm_ms, const char *text)
{
    if (!is_open(s))
        return;
    s->now_ms = now_ms;
    const uint32_t limit = s->config.max_packet_bytes;
    s->max_packet_bytes = max_packet_bytes < limit ? max_packet_bytes : limit;
    s->slots = slots < 1 ? 1 : slots > UINT8_MAX ? UINT8_MAX : slots;
    s->confirm_ms = confirm_ms;
    const bool starts = s->state != STICK_RUNNING;
    s->state = STICK_RUNNING;
    emit_text(s, STICK_EV_UP, (int32_t)s->max_packet_bytes, NULL, text);
    permit_at_start(s, starts);
    stick_kick(s);
}

void stick_down(struct stick *s, int64_t now_ms, const char *text)
{
    if (!is_open(s))
        return;
    s->now_ms = now_ms;
    const bool was_running = s->state == STICK_RUNNING;
    s->state = STICK_STARTING;
    s->paused = false;
    stick_sends_fail(s, false);
    stick_held_clear(s);
    if (was_running)
        emit_text(s, STICK_EV_DOWN, 0, NULL, text);
}

void stick_reopen(struct stick *s, int64_t now_ms, const char *text)
{
    if (!is_open(s))
        return;
    s->now_ms = now_ms;
    s->state = STICK_GIVEN_UP;
    emit_text(s, STICK_EV_REOPEN, 0, NULL, text);
}

enum stick_state stick_state(const struct stick *s)
{
    return s->state;
}

const struct stick_counters *stick_counters(const struct stick *s)
{
    return &s->counters;
}

void stick_secret(struct stick *s, uint8_t *out, size_t len)
{
    for (size_t at = 0; at < len; at += 8) {
        /* SipHash under a secret key is a pseudo-random function of what it has not seen before. */
        uint8_t in[16];
        uint8_t block[8];
        struct writer i = wr_to(in, sizeof in);
        wr_u64(&i, rng_next(&s->rng));
        wr_u64(&i, at);
        struct writer b = wr_to(block, sizeof block);
        wr_u64(&b, hash_bytes(&s->config.hash_seed, bytes_of(in, i.len)));
        memcpy(out + at, block, len - at < sizeof block ? len - at : sizeof block);
    }
}

/* ---- construction ------------------------------------------------------------------------------ */

struct stick *stick_new(const struct stick_driver *driver, const struct stick_config *config,
                        int64_t now_ms)
{
    assert(config->max_packet_bytes >= 12 && config->max_packet_bytes <= 1500);
    struct stick *s = calloc(1, driver->size);
    if (s == NULL)
        return NULL;
    s->driver = driver;
    s->config = *config;
    if (s->config.max_nodes == 0)
        s->config.max_nodes = stick_defaults().max_nodes;
    s->now_ms = now_ms;
    s->join_until_ms = 0;
    rng_seed(&s->rng, config->seed);
    stick_nodes_init(s);
    const bool sends = stick_sends_init(s);
    s->out = malloc(STICK_OUT_BYTES);
    s->events = malloc(STICK_EVENT_BYTES);
    s->group = calloc(1, sizeof *s->group);
    if (!sends || s->out == NULL || s->events == NULL || s->group == NULL) {
        stick_free(s);
        return NULL;
    }
    s->group->kind = PEER_GROUP;
    s->group->short_address = SHORT_UNKNOWN;
    list_init(&s->group->ready);
    list_init(&s->group->queue);
    list_init(&s->group->recency);
    deadline_init(&s->group->resume, STICK_DL_RESUME);
    driver->init(s);
    return s;
}

void stick_free(struct stick *s)
{
    if (s == NULL)
        return;
    if (s->group != NULL && s->driver->deinit != NULL)
        s->driver->deinit(s);
    stick_nodes_deinit(s);
    stick_sends_deinit(s);
    free(s->group);
    free(s->out);
    free(s->events);
    free(s);
}

/* ---- inputs ------------------------------------------------------------------------------------ */

void stick_opened(struct stick *s, int64_t now_ms)
{
    assert(s->state == STICK_CLOSED);
    s->now_ms = now_ms;
    s->state = STICK_STARTING;
    s->paused = false;
    s->out_at = s->out_end = 0;
    s->driver->opened(s, now_ms);
}

void stick_closed(struct stick *s, int64_t now_ms)
{
    s->now_ms = now_ms;
    if (s->state == STICK_CLOSED)
        return;
    s->state = STICK_CLOSED;
    s->paused = false;
    s->driver->closed(s);
    s->out_at = s->out_end = 0;
    stick_held_clear(s);
    stick_sends_fail(s, true);
}

void stick_input(struct stick *s, int64_t now_ms, struct bytes in)
{
    assert(in.len <= STICK_INPUT_MAX);
    stick_advance(s, now_ms);
    if (is_open(s))
        s->driver->input(s, now_ms, in);
}

/* The address of a node that the caller names. */
static uint64_t address_of(const struct peer *to)
{
    struct reader r = rd_of(bytes_of(to->bytes, to->addr_len));
    switch ((enum peer_kind)to->kind) {
    case PEER_EUI64:
        return rd_u64(&r);
    case PEER_SHORT:
        return rd_u16(&r);
    case PEER_GROUP:
        return rd_u8(&r); /* the radius */
    case PEER_SERIAL:
        return 0;
    case PEER_NONE:
    case PEER_IP4:
    case PEER_IP6:
        break;
    }
    assert(!"a stick has no such peers");
    return 0;
}

void stick_send(struct stick *s, int64_t now_ms, const struct peer *to, struct bytes packet)
{
    stick_advance(s, now_ms);
    const bool group = to->kind == PEER_GROUP;
    const uint64_t address = address_of(to);
    const uint32_t limit =
        s->state == STICK_RUNNING ? s->max_packet_bytes : s->config.max_packet_bytes;
    const bool too_long = packet.len > limit;
    struct stick_node *node = NULL;
    if (s->state == STICK_RUNNING && !too_long)
        node = group ? s->group : stick_node_get(s, to->kind, address);
    if (node == NULL) {
        const struct stick_node stranger = {.kind = to->kind, .address = group ? 0 : address};
        s->counters.too_long += too_long;
        s->counters.not_sent++;
        stick_emit_outcome(s, &stranger, STICK_NOT_SENT);
        return;
    }
    stick_enqueue(s, node, group ? (uint8_t)address : 0, packet);
}

void stick_permit_join(struct stick *s, int64_t now_ms, unsigned seconds)
{
    s->now_ms = now_ms;
    s->join_until_ms = joining_until(now_ms, seconds);
    if (s->state == STICK_RUNNING && s->driver->permit_join != NULL)
        s->driver->permit_join(s, now_ms, seconds >= UINT16_MAX ? UINT16_MAX : seconds);
}

/* ---- time -------------------------------------------------------------------------------------- */

static int64_t stuck_at(const struct stick *s)
{
    return is_open(s) && s->out_end > s->out_at ? time_add(s->out_since_ms, STICK_STUCK_MS)
                                                : TIME_NEVER;
}

void stick_advance(struct stick *s, int64_t now_ms)
{
    s->now_ms = now_ms;
    deadlines_collect(&s->deadlines, now_ms);
    struct deadline *one;
    while ((one = deadlines_take(&s->deadlines)) != NULL)
        stick_sends_due(s, one);
    stick_held_advance(s, now_ms);
    if (is_open(s) && s->driver->next_deadline(s) <= now_ms)
        s->driver->advance(s, now_ms);
    if (stuck_at(s) <= now_ms) {
        stick_reopen(s, now_ms,
                     "the device has taken no byte for 5 s: check flow_control (RTS/CTS where the "
                     "stick has none holds the line), or unplug it and plug it in again");
    }
}

int64_t stick_next_deadline(const struct stick *s)
{
    int64_t at_ms = time_min(deadlines_next(&s->deadlines), stick_held_deadline(s));
    if (is_open(s))
        at_ms = time_min(at_ms, time_min(s->driver->next_deadline(s), stuck_at(s)));
    return at_ms;
}

/* ---- looking in -------------------------------------------------------------------------------- */

bool stick_node(struct stick *s, size_t i, struct stick_node_info *out)
{
    if (i >= s->n_nodes)
        return false;
    if (s->walk == NULL || s->walk_at > i) {
        s->walk = s->recency.next;
        s->walk_at = 0;
    }
    for (; s->walk_at < i; s->walk_at++)
        s->walk = s->walk->next;
    const struct stick_node *node = container_of(s->walk, struct stick_node, recency);
    *out = (struct stick_node_info){
        .short_address = node->short_address,
        .lqi = node->lqi,
        .has_lqi = node->has_lqi,
        .has_rssi = node->has_rssi,
        .rssi = node->rssi,
        .heard_ms = node->heard_ms,
        .delivered = node->delivered,
        .failed = node->failed,
        .waiting = node->queued,
    };
    stick_peer_of(s, node, &out->peer);
    return true;
}
