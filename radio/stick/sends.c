/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets on their way out: a queue per node, a slot per outstanding packet, ids, deadlines, and
 * another try for what could not start.
 *
 * Nodes take turns. Those that failed lately are suspect and have a quarter of the slots (one at
 * least): a transmission to a node that is gone occupies its slot for seconds. Their packets give
 * way, too, when there is no room for those of the others.
 */
#include <assert.h>
#include <stdlib.h>

#include "radio/stick/core_priv.h"

static size_t send_size(const struct stick *s)
{
    const size_t align = _Alignof(struct stick_send);
    return (sizeof(struct stick_send) + s->config.max_packet_bytes + align - 1) / align * align;
}

bool stick_sends_init(struct stick *s)
{
    list_init(&s->living);
    list_init(&s->suspects);
    list_init(&s->pool);
    deadlines_init(&s->deadlines);
    s->sends = calloc(STICK_QUEUE, send_size(s));
    if (s->sends == NULL)
        return false;
    for (size_t i = 0; i < STICK_QUEUE; i++) {
        struct stick_send *send = (void *)((uint8_t *)s->sends + i * send_size(s));
        deadline_init(&send->confirm, STICK_DL_CONFIRM);
        list_init(&send->link);
        list_push_back(&s->pool, &send->link);
    }
    return true;
}

void stick_sends_deinit(struct stick *s)
{
    free(s->sends);
}

static unsigned suspect_slots(const struct stick *s)
{
    return s->slots >= 8 ? s->slots / 4 : 1;
}

static bool is_suspect(const struct stick_node *node)
{
    return node->failures_in_row >= STICK_SUSPECT_FAILURES;
}

/* Puts a node that can transmit in line. */
static void make_ready(struct stick *s, struct stick_node *node)
{
    if (list_empty(&node->queue) || node->outstanding != NULL || list_linked(&node->ready) ||
        deadline_armed(&node->resume))
        return;
    list_push_back(is_suspect(node) ? &s->suspects : &s->living, &node->ready);
}

void stick_trust(struct stick *s, struct stick_node *node)
{
    const bool suspect = is_suspect(node);
    node->failures_in_row = 0;
    node->search_owed = false;
    if (!suspect || !list_linked(&node->ready))
        return;
    list_unlink(&node->ready);
    make_ready(s, node);
    stick_kick(s);
}

static void release(struct stick *s, struct stick_send *send)
{
    send->node = NULL;
    list_push_back(&s->pool, &send->link);
}

static void count_outcome(struct stick *s, struct stick_node *node, enum stick_outcome outcome)
{
    switch (outcome) {
    case STICK_DELIVERED:
        s->counters.delivered++;
        node->delivered++;
        node->failures_in_row = 0;
        node->search_owed = false;
        break;
    case STICK_FAILED:
    case STICK_UNKNOWN:
        *(outcome == STICK_FAILED ? &s->counters.failed : &s->counters.unknown) += 1;
        node->failed++;
        if (node->failures_in_row < UINT8_MAX)
            node->failures_in_row++;
        break;
    case STICK_NOT_SENT:
        s->counters.not_sent++;
        break;
    }
}

static void decide(struct stick *s, struct stick_send *send, enum stick_outcome outcome)
{
    struct stick_node *node = send->node;
    count_outcome(s, node, outcome);
    release(s, send);
    stick_emit_outcome(s, node, outcome);
}

/* The packet leaves its node's queue. */
static void dequeue(struct stick_send *send)
{
    struct stick_node *node = send->node;
    list_unlink(&send->link);
    node->queued--;
    if (list_empty(&node->queue))
        list_unlink(&node->ready);
}

/* It waits, but not for ever. */
static void await_turn(struct stick *s, struct stick_send *send)
{
    deadline_arm(&s->deadlines, &send->confirm, time_add(send->queued_ms, STICK_QUEUE_AGE_MS));
}

static void drop(struct stick *s, struct stick_send *send, uint64_t *why)
{
    dequeue(send);
    deadline_disarm(&s->deadlines, &send->confirm);
    *why += 1;
    decide(s, send, STICK_NOT_SENT);
}

/* The oldest packet of a suspect gives way, if a suspect has any. */
static void drop_for_others(struct stick *s)
{
    struct list *suspect = list_first(&s->suspects);
    struct list *oldest = suspect == NULL
                              ? NULL
                              : list_first(&container_of(suspect, struct stick_node, ready)->queue);
    if (oldest != NULL)
        drop(s, container_of(oldest, struct stick_send, link), &s->counters.queue_full);
}

/* An unused one for a packet to this node, or NULL. */
static struct stick_send *take_send(struct stick *s, const struct stick_node *node)
{
    if (node->queued >= STICK_NODE_QUEUE)
        return NULL;
    if (list_empty(&s->pool) && !is_suspect(node))
        drop_for_others(s);
    struct list *link = list_pop_front(&s->pool);
    return link != NULL ? container_of(link, struct stick_send, link) : NULL;
}

void stick_enqueue(struct stick *s, struct stick_node *node, uint8_t radius, struct bytes packet)
{
    struct stick_send *send = take_send(s, node);
    if (send == NULL) {
        s->counters.queue_full++;
        count_outcome(s, node, STICK_NOT_SENT);
        stick_emit_outcome(s, node, STICK_NOT_SENT);
        return;
    }
    send->node = node;
    send->queued_ms = s->now_ms;
    send->len = (uint16_t)packet.len;
    send->id = 0;
    send->tries = 0;
    send->note = 0;
    send->radius = radius;
    if (packet.len > 0)
        memcpy(send->data, packet.data, packet.len);
    list_push_back(&node->queue, &send->link);
    node->queued++;
    await_turn(s, send);
    make_ready(s, node);
    stick_kick(s);
}

/* ---- transmitting ------------------------------------------------------------------------------ */

/* The next id that is free; there are fewer slots than ids. */
static uint8_t free_id(struct stick *s)
{
    do {
        s->last_id = s->last_id == UINT8_MAX ? 1 : (uint8_t)(s->last_id + 1);
    } while (s->by_id[s->last_id] != NULL);
    return s->last_id;
}

/* The node whose turn it is, out of line; NULL when nobody may. */
static struct stick_node *next_node(struct stick *s, bool *suspect)
{
    const bool may = s->busy_suspects < suspect_slots(s) && !list_empty(&s->suspects);
    const bool turn = list_empty(&s->living) || s->turn % 4 == 3;
    *suspect = may && turn;
    struct list *link = list_pop_front(*suspect ? &s->suspects : &s->living);
    if (link == NULL)
        return NULL;
    s->turn++;
    return container_of(link, struct stick_node, ready);
}

/* The oldest packet of the node that the network carries. */
static struct stick_send *next_send(struct stick *s, struct stick_node *node)
{
    struct list *link;
    while ((link = list_first(&node->queue)) != NULL) {
        struct stick_send *send = container_of(link, struct stick_send, link);
        if (send->len <= s->max_packet_bytes) {
            dequeue(send);
            return send;
        }
        drop(s, send, &s->counters.too_long);
    }
    return NULL;
}

static void transmit(struct stick *s, struct stick_node *node, struct stick_send *send,
                     bool suspect)
{
    send->id = free_id(s);
    send->tries++;
    send->suspect = suspect;
    s->by_id[send->id] = send;
    node->outstanding = send;
    s->busy++;
    s->busy_bytes += send->len;
    if (suspect)
        s->busy_suspects++;
    s->counters.packets_out += send->tries == 1;
    deadline_arm(&s->deadlines, &send->confirm, time_add(s->now_ms, s->confirm_ms));
    s->driver->transmit(s, s->now_ms, send);
}

static bool has_slot(const struct stick *s)
{
    const size_t window = s->driver->window_bytes;
    return s->busy < s->slots && (window == 0 || s->busy_bytes < window);
}

static bool may_transmit(const struct stick *s)
{
    return s->state == STICK_RUNNING && !s->paused && has_slot(s) &&
           stick_room(s) > STICK_OUT_RESERVE;
}

void stick_fit_slots(struct stick *s, unsigned least)
{
    const unsigned fit = s->busy > least ? s->busy - 1 : least;
    if (fit < s->slots)
        s->slots = fit;
}

void stick_kick(struct stick *s)
{
    if (s->kicking) /* a verdict from within transmit(): the loop below goes on */
        return;
    s->kicking = true;
    while (may_transmit(s)) {
        bool suspect;
        struct stick_node *node = next_node(s, &suspect);
        if (node == NULL)
            break;
        struct stick_send *send = next_send(s, node);
        if (send != NULL)
            transmit(s, node, send, suspect);
    }
    s->kicking = false;
}

void stick_pause(struct stick *s)
{
    s->paused = true;
}

void stick_resume(struct stick *s, int64_t now_ms)
{
    s->now_ms = now_ms;
    s->paused = false;
    stick_kick(s);
}

/* ---- what became of it ------------------------------------------------------------------------- */

struct stick_send *stick_outstanding(struct stick *s, uint8_t id)
{
    return s->by_id[id];
}

void stick_await(struct stick *s, struct stick_send *send, int64_t now_ms, int64_t ms)
{
    assert(send->id != 0);
    deadline_arm(&s->deadlines, &send->confirm, time_add(now_ms, ms < 1 ? 1 : ms));
}

/* Takes the packet out of its slot. */
static void land(struct stick *s, struct stick_send *send)
{
    deadline_disarm(&s->deadlines, &send->confirm);
    s->by_id[send->id] = NULL;
    send->id = 0;
    send->node->outstanding = NULL;
    s->busy--;
    s->busy_bytes -= send->len;
    if (send->suspect)
        s->busy_suspects--;
}

static void wait_again(struct stick *s, struct stick_send *send, int64_t again_ms)
{
    struct stick_node *node = send->node;
    s->counters.restarts++;
    list_push_front(&node->queue, &send->link);
    node->queued++;
    await_turn(s, send);
    deadline_arm(&s->deadlines, &node->resume, time_add(s->now_ms, again_ms < 1 ? 1 : again_ms));
}

bool stick_verdict(struct stick *s, int64_t now_ms, uint8_t id, enum stick_verdict verdict,
                   int64_t again_ms)
{
    static const enum stick_outcome outcomes[] = {
        [VERDICT_DELIVERED] = STICK_DELIVERED, [VERDICT_FAILED] = STICK_FAILED,
        [VERDICT_UNKNOWN] = STICK_UNKNOWN,     [VERDICT_REFUSED] = STICK_NOT_SENT,
        [VERDICT_TOO_LONG] = STICK_NOT_SENT,   [VERDICT_NOT_BEGUN] = STICK_NOT_SENT,
    };

    s->now_ms = now_ms;
    struct stick_send *send = s->by_id[id];
    if (send == NULL) {
        s->counters.unknown_ids++;
        return false;
    }
    struct stick_node *node = send->node;
    land(s, send);
    s->counters.too_long += verdict == VERDICT_TOO_LONG;
    if (verdict == VERDICT_NOT_BEGUN && send->tries < STICK_TRIES) {
        wait_again(s, send, again_ms);
    } else {
        decide(s, send, outcomes[verdict]);
        if (node->kind == PEER_GROUP)
            deadline_arm(&s->deadlines, &node->resume, time_add(now_ms, STICK_GROUP_GAP_MS));
    }
    make_ready(s, node);
    stick_kick(s);
    return true;
}

void stick_sends_due(struct stick *s, struct deadline *one)
{
    if (one->kind == STICK_DL_RESUME) {
        make_ready(s, container_of(one, struct stick_node, resume));
        stick_kick(s);
        return;
    }
    struct stick_send *send = container_of(one, struct stick_send, confirm);
    if (send->id == 0)
        drop(s, send, &s->counters.expired);
    else
        stick_verdict(s, s->now_ms, send->id, VERDICT_UNKNOWN, 0);
}

static void drop_waiting(struct stick *s, struct stick_node *node)
{
    uint64_t nothing = 0; /* not_sent counts them */
    struct list *link;
    deadline_disarm(&s->deadlines, &node->resume);
    while ((link = list_first(&node->queue)) != NULL)
        drop(s, container_of(link, struct stick_send, link), &nothing);
}

void stick_sends_fail(struct stick *s, bool all)
{
    for (unsigned id = 1; id <= UINT8_MAX; id++) {
        struct stick_send *send = s->by_id[id];
        if (send == NULL)
            continue;
        struct stick_node *node = send->node;
        const uint8_t failures = node->failures_in_row; /* this one is not the node's fault */
        land(s, send);
        decide(s, send, STICK_UNKNOWN);
        node->failures_in_row = failures;
        make_ready(s, node);
    }
    if (!all)
        return;
    list_foreach (at, &s->recency)
        drop_waiting(s, container_of(at, struct stick_node, recency));
    drop_waiting(s, s->group);
}
