/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of nodes: names (EUI-64, or the 16-bit address of radios that have nothing else), the
 * 16-bit addresses that ZigBee gives and takes away again, and packets whose sender has no name
 * yet. Bounded: the longest unheard node gives way, unless packets wait for it.
 */
#include <stdlib.h>

#include "radio/stick/core_priv.h"

static uint64_t hash_address(const struct stick *s, enum peer_kind kind, uint64_t address)
{
    uint8_t key[9];
    struct writer w = wr_to(key, sizeof key);
    wr_u8(&w, (uint8_t)kind);
    wr_u64(&w, address);
    return hash_bytes(&s->config.hash_seed, bytes_of(key, w.len));
}

static uint64_t hash_short(const struct stick *s, uint16_t short_address)
{
    uint8_t key[2];
    struct writer w = wr_to(key, sizeof key);
    wr_u16(&w, short_address);
    return hash_bytes(&s->config.hash_seed, bytes_of(key, w.len));
}

struct stick_node *stick_find(struct stick *s, enum peer_kind kind, uint64_t address)
{
    struct hmap_node *at = hmap_first(&s->by_address, hash_address(s, kind, address));
    for (; at != NULL; at = hmap_next(at)) {
        struct stick_node *node = container_of(at, struct stick_node, by_address);
        if (node->kind == kind && node->address == address)
            return node;
    }
    return NULL;
}

struct stick_node *stick_find_short(struct stick *s, uint16_t short_address)
{
    struct hmap_node *at = hmap_first(&s->by_short, hash_short(s, short_address));
    for (; at != NULL; at = hmap_next(at)) {
        struct stick_node *node = container_of(at, struct stick_node, by_short);
        if (node->short_address == short_address)
            return node;
    }
    return NULL;
}

static void set_short(struct stick *s, struct stick_node *node, uint16_t short_address)
{
    if (node->short_address == short_address)
        return;
    if (node->short_address != SHORT_UNKNOWN)
        hmap_remove(&s->by_short, &node->by_short);
    node->short_address = SHORT_UNKNOWN;
    if (short_address == SHORT_UNKNOWN)
        return;
    struct stick_node *before = stick_find_short(s, short_address);
    if (before != NULL)
        set_short(s, before, SHORT_UNKNOWN);
    node->short_address = short_address;
    hmap_insert(&s->by_short, &node->by_short, hash_short(s, short_address));
}

static void forget(struct stick *s, struct stick_node *node)
{
    set_short(s, node, SHORT_UNKNOWN);
    hmap_remove(&s->by_address, &node->by_address);
    list_unlink(&node->recency);
    list_unlink(&node->ready);
    deadline_disarm(&s->deadlines, &node->resume);
    s->walk = NULL;
    s->n_nodes--;
    free(node);
}

/* Makes room for one more. Nodes with packets waiting are passed over, but not more of them than
 * packets can wait. */
static bool evict(struct stick *s)
{
    list_foreach (at, &s->recency) {
        struct stick_node *node = container_of(at, struct stick_node, recency);
        if (node->outstanding == NULL && list_empty(&node->queue)) {
            forget(s, node);
            s->counters.nodes_forgotten++;
            return true;
        }
    }
    return false;
}

struct stick_node *stick_node_get(struct stick *s, enum peer_kind kind, uint64_t address)
{
    struct stick_node *node = stick_find(s, kind, address);
    if (node != NULL)
        return node;
    if (s->n_nodes >= s->config.max_nodes && !evict(s))
        return NULL;
    node = calloc(1, sizeof *node);
    if (node == NULL)
        return NULL;
    node->kind = (uint8_t)kind;
    node->address = address;
    node->short_address = SHORT_UNKNOWN;
    node->heard_ms = s->now_ms;
    list_init(&node->ready);
    list_init(&node->queue);
    list_init(&node->recency);
    list_push_back(&s->recency, &node->recency);
    deadline_init(&node->resume, STICK_DL_RESUME);
    hmap_insert(&s->by_address, &node->by_address, hash_address(s, kind, address));
    s->walk = NULL;
    s->n_nodes++;
    return node;
}

void stick_nodes_init(struct stick *s)
{
    hmap_init(&s->by_address);
    hmap_init(&s->by_short);
    list_init(&s->recency);
}

void stick_nodes_deinit(struct stick *s)
{
    list_foreach_safe (at, next, &s->recency)
        forget(s, container_of(at, struct stick_node, recency));
    hmap_deinit(&s->by_address);
    hmap_deinit(&s->by_short);
}

struct peer *stick_peer_of(const struct stick *s, const struct stick_node *node,
                           struct peer_room *room)
{
    uint8_t address[8];
    struct writer w = wr_to(address, sizeof address);
    if (node->kind == PEER_EUI64)
        wr_u64(&w, node->address);
    else if (node->kind == PEER_SHORT)
        wr_u16(&w, (uint16_t)node->address);
    return peer_make(room, s->config.link, node->kind, bytes_of(address, w.len));
}

/* ---- hearing ----------------------------------------------------------------------------------- */

void stick_heard(struct stick *s, int64_t now_ms, enum peer_kind kind, uint64_t address,
                 uint16_t short_address, const struct stick_radio *radio, struct bytes packet)
{
    s->now_ms = now_ms;
    if (packet.len == 0 || packet.len > s->config.max_packet_bytes) {
        *(packet.len == 0 ? &s->counters.empty_in : &s->counters.oversize_in) += 1;
        return;
    }
    struct stick_node *node = stick_node_get(s, kind, address);
    if (node == NULL) {
        s->counters.unresolved++;
        return;
    }
    if (kind == PEER_EUI64 && short_address != SHORT_UNKNOWN && short_address < 0xFFF8)
        set_short(s, node, short_address);
    if (radio->has_lqi) {
        node->has_lqi = true;
        node->lqi = radio->lqi;
    }
    if (radio->has_rssi) {
        node->has_rssi = true;
        node->rssi = radio->rssi;
    }
    node->heard_ms = now_ms;
    list_unlink(&node->recency);
    list_push_back(&s->recency, &node->recency);
    s->walk = NULL;
    stick_emit_packet(s, node, radio, packet);
    stick_trust(s, node);
}

bool stick_is_held(const struct stick *s, uint16_t short_address)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (s->held[i].len > 0 && s->held[i].short_address == short_address)
            return true;
    }
    return false;
}

static void hold(struct stick *s, int64_t now_ms, uint16_t short_address,
                 const struct stick_radio *radio, struct bytes packet)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        struct stick_held *h = &s->held[i];
        if (h->len > 0)
            continue;
        *h = (struct stick_held){
            .until_ms = now_ms + STICK_HELD_MS,
            .order = s->n_held++,
            .short_address = short_address,
            .len = (uint16_t)packet.len,
            .to_group = radio->to_group,
            .has_lqi = radio->has_lqi,
            .has_rssi = radio->has_rssi,
            .lqi = radio->lqi,
            .rssi = radio->rssi,
        };
        memcpy(h->data, packet.data, packet.len);
        s->holds++;
        return;
    }
    s->counters.unresolved++;
}

static void let_go(struct stick *s, struct stick_held *h)
{
    h->len = 0;
    s->holds--;
}

bool stick_heard_short(struct stick *s, int64_t now_ms, uint16_t short_address,
                       const struct stick_radio *radio, struct bytes packet)
{
    const struct stick_node *node = stick_find_short(s, short_address);
    if (node != NULL) {
        stick_heard(s, now_ms, PEER_EUI64, node->address, short_address, radio, packet);
        return true;
    }
    s->now_ms = now_ms;
    if (packet.len == 0)
        s->counters.empty_in++;
    else if (packet.len > s->config.max_packet_bytes || packet.len > sizeof s->held[0].data)
        s->counters.oversize_in++;
    else
        hold(s, now_ms, short_address, radio, packet);
    return false;
}

/* The one that came first of those from this address, or NULL. */
static struct stick_held *first_held(struct stick *s, uint16_t short_address)
{
    struct stick_held *first = NULL;
    for (size_t i = 0; i < STICK_HELD && s->holds > 0; i++) {
        struct stick_held *h = &s->held[i];
        if (h->len > 0 && h->short_address == short_address &&
            (first == NULL || h->order < first->order))
            first = h;
    }
    return first;
}

void stick_learn(struct stick *s, int64_t now_ms, uint64_t eui64, uint16_t short_address)
{
    s->now_ms = now_ms;
    struct stick_node *node = stick_find(s, PEER_EUI64, eui64);
    if (node != NULL)
        set_short(s, node, short_address < 0xFFF8 ? short_address : SHORT_UNKNOWN);
    if (short_address >= 0xFFF8)
        return;
    /* The address was another node's before: that one's packets must not come under it. */
    struct stick_node *before = node == NULL ? stick_find_short(s, short_address) : NULL;
    if (before != NULL)
        set_short(s, before, SHORT_UNKNOWN);
    struct stick_held *h;
    while ((h = first_held(s, short_address)) != NULL) {
        const struct stick_radio radio = {.to_group = h->to_group,
                                          .has_lqi = h->has_lqi,
                                          .has_rssi = h->has_rssi,
                                          .lqi = h->lqi,
                                          .rssi = h->rssi};
        stick_heard(s, now_ms, PEER_EUI64, eui64, short_address, &radio, bytes_of(h->data, h->len));
        let_go(s, h);
    }
}

void stick_held_advance(struct stick *s, int64_t now_ms)
{
    for (size_t i = 0; i < STICK_HELD && s->holds > 0; i++) {
        if (s->held[i].len > 0 && s->held[i].until_ms <= now_ms) {
            let_go(s, &s->held[i]);
            s->counters.unresolved++;
        }
    }
}

int64_t stick_held_deadline(const struct stick *s)
{
    int64_t at_ms = TIME_NEVER;
    for (size_t i = 0; i < STICK_HELD && s->holds > 0; i++) {
        if (s->held[i].len > 0 && s->held[i].until_ms < at_ms)
            at_ms = s->held[i].until_ms;
    }
    return at_ms;
}

void stick_held_clear(struct stick *s)
{
    for (size_t i = 0; i < STICK_HELD; i++) {
        if (s->held[i].len > 0)
            s->counters.unresolved++;
        s->held[i].len = 0;
    }
    s->holds = 0;
}
