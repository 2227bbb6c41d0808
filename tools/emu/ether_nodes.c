/* SPDX-License-Identifier: Apache-2.0 */
/* Who is in the ether: names, 16-bit addresses that come and go, reach. */
#include <assert.h>
#include <stdlib.h>

#include "tools/emu/ether_priv.h"

static uint64_t mixed(uint64_t x)
{
    x *= UINT64_C(0x9E3779B97F4A7C15);
    return x ^ x >> 32;
}

int ether_find_eui64(const struct ether *e, uint64_t eui64)
{
    for (struct hmap_node *at = hmap_first(&e->by_eui64, mixed(eui64)); at != NULL;
         at = hmap_next(at)) {
        const struct node *node = container_of(at, struct node, by_eui64);
        if (node->is.eui64 == eui64)
            return (int)node->number;
    }
    return -1;
}

int ether_find_short(const struct ether *e, uint16_t short_address)
{
    for (struct hmap_node *at = hmap_first(&e->by_short, mixed(short_address)); at != NULL;
         at = hmap_next(at)) {
        const struct node *node = container_of(at, struct node, by_short);
        if (node->is.short_address == short_address)
            return (int)node->number;
    }
    return -1;
}

size_t ether_nodes(const struct ether *e)
{
    return e->n_nodes;
}

const struct ether_node *ether_node_at(const struct ether *e, size_t number)
{
    assert(number < e->n_nodes);
    return &e->nodes[number]->is;
}

static bool room_for_node(struct ether *e)
{
    if (e->n_nodes < e->room)
        return true;
    const size_t room = e->room == 0 ? 64 : e->room * 2;
    struct node **nodes = realloc(e->nodes, room * sizeof *nodes);
    if (nodes == NULL)
        return false;
    e->nodes = nodes;
    e->room = room;
    return true;
}

int ether_node_add(struct ether *e, int64_t now_ms, const struct ether_node *node)
{
    assert(ether_find_eui64(e, node->eui64) < 0);
    assert(node->short_address >= ETHER_SHORT_MIN && node->short_address <= ETHER_SHORT_MAX);
    assert(ether_find_short(e, node->short_address) < 0);
    ether_advance(e, now_ms);
    struct node *n = room_for_node(e) ? malloc(sizeof *n) : NULL;
    if (n == NULL)
        return -1;
    *n = (struct node){.is = *node, .number = e->n_nodes, .reachable = true};
    list_init(&n->kept);
    hmap_insert(&e->by_eui64, &n->by_eui64, mixed(node->eui64));
    hmap_insert(&e->by_short, &n->by_short, mixed(node->short_address));
    e->nodes[e->n_nodes++] = n;
    ether_announce(e, n);
    return (int)n->number;
}

void ether_node_rejoin(struct ether *e, int64_t now_ms, size_t number, uint16_t short_address,
                       bool silent)
{
    ether_advance(e, now_ms);
    assert(number < e->n_nodes);
    struct node *node = e->nodes[number];
    if (short_address != node->is.short_address) {
        assert(short_address >= ETHER_SHORT_MIN && short_address <= ETHER_SHORT_MAX);
        assert(ether_find_short(e, short_address) < 0);
        hmap_remove(&e->by_short, &node->by_short);
        node->is.short_address = short_address;
        hmap_insert(&e->by_short, &node->by_short, mixed(short_address));
    }
    /* What the old parent keeps is never fetched: it expires there. */
    list_foreach_safe (at, next, &node->kept)
        list_unlink(at);
    node->n_kept = 0;
    if (!silent)
        ether_announce(e, node);
}

void ether_node_reach(struct ether *e, size_t number, bool reachable)
{
    assert(number < e->n_nodes);
    e->nodes[number]->reachable = reachable;
}

void ether_nodes_free(struct ether *e)
{
    for (size_t i = 0; i < e->n_nodes; i++) {
        hmap_remove(&e->by_eui64, &e->nodes[i]->by_eui64);
        hmap_remove(&e->by_short, &e->nodes[i]->by_short);
        free(e->nodes[i]);
    }
    hmap_deinit(&e->by_eui64);
    hmap_deinit(&e->by_short);
    free(e->nodes);
}
