/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything on the air is a flight: a frame that will arrive, a frame that a parent keeps, a
 * confirm or an announcement on its way to the coordinator's host. A flight that has landed becomes
 * an event, or the next flight. Each transmission draws the same number of random numbers, so that
 * the fate of one doesn't shift the fates of the later ones.
 */
#include <assert.h>
#include <stdlib.h>

#include "tools/emu/ether_priv.h"

struct ether_config ether_defaults(void)
{
    return (struct ether_config){
        .seed = 1,
        .latency_min_ms = 10,
        .latency_max_ms = 10,
        .no_ack_ms = 4800,
        .indirect_ms = 7680,
        .indirect_frames = 3,
        .max_payload = 82,
    };
}

/* ---- flights ----------------------------------------------------------------------------------- */

/* NULL when out of memory: then the frame and what follows from it is lost. */
static struct flight *flight_new(struct ether *e, enum flight_kind kind)
{
    struct list *link = list_pop_front(&e->unused);
    struct flight *f =
        link != NULL ? container_of(link, struct flight, link) : malloc(sizeof(struct flight));
    if (f == NULL) {
        e->counters.lost++;
        return NULL;
    }
    list_init(&f->link);
    deadline_init(&f->landing, 0);
    f->kind = kind;
    f->event = (struct ether_event){0};
    f->sent_ms = e->now_ms;
    f->back_ms = f->copy_ms = -1;
    f->term = e->term;
    f->confirm = f->unicast = f->lost = false;
    return f;
}

static void flight_end(struct ether *e, struct flight *f)
{
    deadline_disarm(&e->flying, &f->landing);
    list_unlink(&f->link);
    list_push_front(&e->unused, &f->link);
}

static void carry(struct flight *f, struct bytes payload)
{
    if (payload.len > 0)
        memcpy(f->data, payload.data, payload.len);
    f->event.payload = bytes_of(f->data, payload.len);
}

static void land_at(struct ether *e, struct flight *f, int64_t at_ms)
{
    deadline_arm(&e->flying, &f->landing, at_ms);
}

static void become_event(struct ether *e, struct flight *f)
{
    f->term = e->term;
    list_push_back(&e->ready, &f->link);
}

static bool draw(struct ether *e, unsigned percent)
{
    return rng_below(&e->rng, 100) < percent;
}

static int64_t draw_latency(struct ether *e)
{
    const int64_t spread_ms = e->config.latency_max_ms - e->config.latency_min_ms;
    const uint64_t n = rng_below(&e->rng, spread_ms > 0 ? (uint64_t)spread_ms + 1 : 1);
    return e->config.latency_min_ms + (int64_t)n;
}

/* What the air will do with this flight. */
static void draw_fate(struct ether *e, struct flight *f)
{
    const bool lost = draw(e, e->config.loss_percent);
    const bool ack_lost = draw(e, e->config.ack_loss_percent);
    const bool copied = draw(e, e->config.copy_percent);
    const int64_t there_ms = draw_latency(e);
    const int64_t back_ms = draw_latency(e);
    const int64_t copy_ms = draw_latency(e);
    f->lost = lost;
    f->back_ms = ack_lost ? -1 : back_ms;
    f->copy_ms = copied ? copy_ms : -1;
    land_at(e, f, e->now_ms + there_ms);
}

void ether_announce(struct ether *e, const struct node *node)
{
    struct flight *f = flight_new(e, FLIGHT_UP);
    const int64_t there_ms = draw_latency(e);
    if (f == NULL)
        return;
    f->event.type = ETHER_EV_ANNOUNCE;
    f->event.number = node->number;
    f->event.short_address = node->is.short_address;
    land_at(e, f, e->now_ms + there_ms);
}

/* ---- what becomes of a frame to a node --------------------------------------------------------- */

static bool hears(const struct ether *e, const struct node *node)
{
    return node->reachable && (!node->is.sleepy || node->listens_ms > e->now_ms);
}

static void confirm_at(struct ether *e, const struct flight *f, int64_t at_ms,
                       enum ether_status status)
{
    if (!f->confirm || f->term != e->term)
        return;
    struct flight *c = flight_new(e, FLIGHT_CONFIRM);
    if (c == NULL)
        return;
    c->event.type = ETHER_EV_CONFIRM;
    c->event.number = f->event.number;
    c->event.handle = f->event.handle;
    c->event.short_address =
        f->event.number < e->n_nodes ? e->nodes[f->event.number]->is.short_address : ETHER_NO_SHORT;
    c->event.status = status;
    land_at(e, c, at_ms);
}

static int64_t given_up_ms(const struct ether *e, const struct flight *f)
{
    return time_add(f->sent_ms, e->config.no_ack_ms);
}

/* The node has it: it becomes an event, the acknowledgement goes back, perhaps a copy follows. */
static void heard(struct ether *e, struct flight *f)
{
    const int64_t back_ms = f->back_ms < 0 ? TIME_NEVER : e->now_ms + f->back_ms;
    e->counters.ack_lost += f->confirm && f->back_ms < 0;
    /* One that waited at its parent has its patience from now on. */
    if (f->kind == FLIGHT_KEPT)
        f->sent_ms = e->now_ms;
    if (back_ms <= given_up_ms(e, f))
        confirm_at(e, f, back_ms, ETHER_OK);
    else
        confirm_at(e, f, given_up_ms(e, f), ETHER_NO_ACK);
    struct flight *copy = f->copy_ms >= 0 ? flight_new(e, FLIGHT_DOWN) : NULL;
    if (copy != NULL) {
        e->counters.copied++;
        copy->event = f->event;
        carry(copy, f->event.payload);
        land_at(e, copy, e->now_ms + f->copy_ms);
    }
    become_event(e, f);
}

static void keep_for_child(struct ether *e, struct flight *f, struct node *node)
{
    if (node->n_kept >= e->config.indirect_frames) {
        e->counters.lost++;
        confirm_at(e, f, e->now_ms, ETHER_QUEUE_FULL);
        flight_end(e, f);
        return;
    }
    f->kind = FLIGHT_KEPT;
    list_push_back(&node->kept, &f->link);
    node->n_kept++;
    land_at(e, f, time_add(e->now_ms, e->config.indirect_ms));
}

static void arrive_down(struct ether *e, struct flight *f)
{
    struct node *node = e->nodes[f->event.number];
    const bool moved = node->is.short_address != f->event.short_address;
    /* Parents keep what is for one child; broadcasts and second copies pass a sleeping one by. */
    if (f->unicast && !f->lost && !moved && node->is.sleepy && !hears(e, node)) {
        keep_for_child(e, f, node);
        return;
    }
    if (f->lost || moved || !hears(e, node)) {
        e->counters.lost++;
        confirm_at(e, f, given_up_ms(e, f), ETHER_NO_ACK);
        flight_end(e, f);
        return;
    }
    heard(e, f);
}

static void expire(struct ether *e, struct flight *f)
{
    struct node *node = e->nodes[f->event.number];
    if (list_linked(&f->link))
        node->n_kept--;
    e->counters.expired++;
    confirm_at(e, f, e->now_ms, ETHER_EXPIRED);
    flight_end(e, f);
}

void ether_node_poll(struct ether *e, int64_t now_ms, size_t number, int64_t until_ms)
{
    ether_advance(e, now_ms);
    assert(number < e->n_nodes);
    struct node *node = e->nodes[number];
    node->listens_ms = until_ms;
    if (!hears(e, node))
        return;
    struct list *link;
    while ((link = list_pop_front(&node->kept)) != NULL) {
        struct flight *f = container_of(link, struct flight, link);
        node->n_kept--;
        deadline_disarm(&e->flying, &f->landing);
        heard(e, f);
    }
}

/* ---- sending ----------------------------------------------------------------------------------- */

static bool takes(const struct ether_node *node, const struct ether_frame *f)
{
    const bool raw =
        f->src_endpoint == 0 && f->dst_endpoint == 0 && f->profile == 0 && f->cluster == 0;
    return raw || node->endpoint == 0 ||
           ((f->dst_endpoint == node->endpoint || f->dst_endpoint == 0xFF) &&
            f->profile == node->profile && f->cluster == node->cluster);
}

static void to_node(struct ether *e, const struct node *node, const struct ether_frame *frame,
                    struct bytes payload)
{
    struct flight *f = flight_new(e, FLIGHT_DOWN);
    if (f == NULL)
        return;
    f->event.type = ETHER_EV_TO_NODE;
    f->event.number = node->number;
    f->event.handle = frame->handle;
    f->event.short_address = node->is.short_address;
    f->event.broadcast = frame->broadcast;
    f->unicast = !frame->broadcast;
    f->confirm = f->unicast && frame->want_ack;
    carry(f, payload);
    draw_fate(e, f);
    if (!takes(&node->is, frame))
        f->lost = true;
}

static void to_everybody(struct ether *e, const struct node *but, const struct ether_frame *frame,
                         struct bytes payload)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        if (e->nodes[i] != but)
            to_node(e, e->nodes[i], frame, payload);
    }
}

void ether_send(struct ether *e, int64_t now_ms, const struct ether_frame *frame,
                struct bytes payload)
{
    ether_advance(e, now_ms);
    if (!e->coordinator)
        return;
    const int number = frame->broadcast  ? -1
                       : frame->by_eui64 ? ether_find_eui64(e, frame->eui64)
                                         : ether_find_short(e, frame->short_address);
    const struct flight handle = {
        .term = e->term,
        .confirm = true,
        .event = {.handle = frame->handle, .number = number < 0 ? SIZE_MAX : (size_t)number},
    };
    if (payload.len > e->config.max_payload || payload.len > ETHER_PAYLOAD_MAX) {
        confirm_at(e, &handle, now_ms, ETHER_TOO_LONG);
        return;
    }
    if (!frame->broadcast && number < 0) {
        e->counters.no_address++;
        confirm_at(e, &handle, now_ms + draw_latency(e), ETHER_NO_ADDRESS);
        return;
    }
    e->counters.to_nodes++;
    if (frame->broadcast || !frame->want_ack)
        confirm_at(e, &handle, now_ms, ETHER_OK);
    if (frame->broadcast)
        to_everybody(e, NULL, frame, payload);
    else
        to_node(e, e->nodes[number], frame, payload);
}

void ether_node_send(struct ether *e, int64_t now_ms, size_t number, bool broadcast,
                     struct bytes payload)
{
    ether_advance(e, now_ms);
    assert(number < e->n_nodes);
    const struct node *node = e->nodes[number];
    e->counters.from_nodes++;
    if (payload.len > e->config.max_payload || payload.len > ETHER_PAYLOAD_MAX ||
        !node->reachable) {
        e->counters.lost++;
        return;
    }
    struct flight *f = flight_new(e, FLIGHT_UP);
    if (f == NULL)
        return;
    f->event.type = ETHER_EV_RECEIVED;
    f->event.number = number;
    f->event.short_address = node->is.short_address;
    f->event.broadcast = broadcast;
    carry(f, payload);
    draw_fate(e, f);
    const struct ether_frame frame = {
        .broadcast = true,
        .src_endpoint = node->is.endpoint,
        .dst_endpoint = node->is.endpoint,
        .profile = node->is.profile,
        .cluster = node->is.cluster,
    };
    if (broadcast)
        to_everybody(e, node, &frame, payload);
}

static void arrive_up(struct ether *e, struct flight *f)
{
    if (f->lost || !e->coordinator) {
        e->counters.lost++;
        flight_end(e, f);
        return;
    }
    struct flight *copy = f->copy_ms >= 0 ? flight_new(e, FLIGHT_UP) : NULL;
    if (copy != NULL) {
        e->counters.copied++;
        copy->event = f->event;
        carry(copy, f->event.payload);
        land_at(e, copy, e->now_ms + f->copy_ms);
    }
    become_event(e, f);
}

/* ---- the coordinator --------------------------------------------------------------------------- */

/* Off and on is a new term: confirms of the one before are for nobody any more. What is on air
 * stays there. */
void ether_coordinator(struct ether *e, int64_t now_ms, bool on)
{
    ether_advance(e, now_ms);
    e->coordinator = on;
    e->term += !on;
}

/* ---- time and events --------------------------------------------------------------------------- */

static void land(struct ether *e, struct flight *f)
{
    switch (f->kind) {
    case FLIGHT_DOWN:
        arrive_down(e, f);
        break;
    case FLIGHT_KEPT:
        expire(e, f);
        break;
    case FLIGHT_UP:
        arrive_up(e, f);
        break;
    case FLIGHT_CONFIRM:
        list_push_back(&e->ready, &f->link);
        break;
    }
}

/* Instant by instant, so that a long step gives the same air as many short ones. */
void ether_advance(struct ether *e, int64_t now_ms)
{
    assert(now_ms >= e->now_ms);
    int64_t at_ms;
    while ((at_ms = deadlines_next(&e->flying)) <= now_ms) {
        e->now_ms = at_ms;
        deadlines_collect(&e->flying, at_ms);
        struct deadline *due;
        while ((due = deadlines_take(&e->flying)) != NULL)
            land(e, container_of(due, struct flight, landing));
    }
    e->now_ms = now_ms;
    deadlines_collect(&e->flying, now_ms); /* nothing is due; what follows lands later than now */
}

int64_t ether_next_deadline(const struct ether *e)
{
    return deadlines_next(&e->flying);
}

static bool is_stale(const struct ether *e, const struct flight *f)
{
    return f->event.type != ETHER_EV_TO_NODE && f->term != e->term;
}

bool ether_peek_event(struct ether *e, struct ether_event *out)
{
    struct list *link;
    while ((link = list_first(&e->ready)) != NULL) {
        struct flight *f = container_of(link, struct flight, link);
        if (!is_stale(e, f)) {
            *out = f->event;
            return true;
        }
        flight_end(e, f);
    }
    return false;
}

/* The first is the one peeked at, even if it has become stale since. */
void ether_done_event(struct ether *e)
{
    struct list *link = list_first(&e->ready);
    if (link != NULL)
        flight_end(e, container_of(link, struct flight, link));
}

const struct ether_counters *ether_counters(const struct ether *e)
{
    return &e->counters;
}

/* ---- life -------------------------------------------------------------------------------------- */

struct ether *ether_new(const struct ether_config *config, int64_t now_ms)
{
    struct ether *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    e->config = *config;
    e->now_ms = now_ms;
    e->coordinator = true;
    rng_seed(&e->rng, config->seed);
    hmap_init(&e->by_eui64);
    hmap_init(&e->by_short);
    deadlines_init(&e->flying);
    deadlines_collect(&e->flying, now_ms);
    list_init(&e->ready);
    list_init(&e->unused);
    return e;
}

void ether_free(struct ether *e)
{
    if (e == NULL)
        return;
    deadlines_collect(&e->flying, TIME_NEVER - 1);
    struct deadline *due;
    while ((due = deadlines_take(&e->flying)) != NULL)
        flight_end(e, container_of(due, struct flight, landing));
    while (!list_empty(&e->ready))
        ether_done_event(e);
    list_foreach_safe (at, next, &e->unused)
        free(container_of(at, struct flight, link));
    ether_nodes_free(e);
    free(e);
}
