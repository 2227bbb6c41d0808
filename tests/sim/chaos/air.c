/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The air between nodes and gateway. Each packet is lost, or arrives after a delay of its own, and
 * perhaps once more after another one: so packets overtake each other both ways.
 *
 * Addresses are like those of a translating router: a node has one until it gets another; one that
 * it has left leads nowhere. One that was taken from a sleeper leads to its new holder. A node behind
 * a forwarder is known by its id there.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/chaos/chaos.h"

/* Also the unit of allocation: flights are used again. */
struct flight {
    struct flight *next_free;
    int64_t at_ms;
    uint32_t order;
    uint16_t node; /* up: the sender */
    bool up;
    unsigned address; /* on the link: of a node, or of a forwarder */
    size_t len;
    uint8_t data[PACKET_MAX];
};

/* ---- addresses ------------------------------------------------------------------------------- */

static struct bytes address_octets(unsigned address, uint8_t room[6])
{
    room[0] = 10;
    room[1] = (uint8_t)(address >> 16);
    room[2] = (uint8_t)(address >> 8);
    room[3] = (uint8_t)address;
    room[4] = 0x07;
    room[5] = 0x5C;
    return bytes_of(room, 6);
}

unsigned air_address(const struct peer *peer)
{
    return (unsigned)peer->bytes[1] << 16 | (unsigned)peer->bytes[2] << 8 | peer->bytes[3];
}

static struct bytes node_id(const struct chaos_node *n, uint8_t room[3])
{
    /* Ids of one, two and three octets. */
    const size_t len = 1 + n->index % 3;
    room[0] = (uint8_t)n->index;
    room[1] = (uint8_t)(n->index >> 8);
    room[2] = 0x5A;
    return bytes_of(room, len);
}

void air_deinit(struct chaos *x)
{
    struct air *a = &x->air;
    while (a->n > 0)
        free(a->heap[--a->n]);
    while (a->free != NULL) {
        struct flight *f = a->free;
        a->free = f->next_free;
        free(f);
    }
    free(a->heap);
    free(a->owners);
}

/* One that nobody had before: what leads to it, or comes from it, is never another's. */
static void take_new(struct chaos *x, struct chaos_node *n)
{
    struct air *a = &x->air;
    if (a->n_addresses == a->cap_addresses)
        a->owners = chaos_grow(a->owners, &a->cap_addresses, sizeof *a->owners);
    n->address = a->n_addresses++;
    a->owners[n->address] = (int)n->index;
    n->homeless = false;
}

void air_place(struct chaos *x, struct chaos_node *n)
{
    n->forwarder = -1;
    n->homeless = false;
    if (chaos_chance(x, 10))
        n->forwarder = (int)rng_below(&x->rng, FORWARDERS);
    else
        take_new(x, n);
}

void air_move(struct chaos *x, struct chaos_node *n)
{
    x->totals->moves++;
    if (n->forwarder < 0 && !n->homeless)
        x->air.owners[n->address] = -1;
    air_place(x, n);
}

bool air_take_over(struct chaos *x, struct chaos_node *n, struct chaos_node *from)
{
    if (from == n || from->forwarder >= 0 || from->homeless)
        return false;
    x->totals->takeovers++;
    air_move(x, n);
    if (n->forwarder < 0)
        x->air.owners[n->address] = -1;
    n->forwarder = -1;
    n->address = from->address;
    x->air.owners[n->address] = (int)n->index;
    from->homeless = true;
    return true;
}

/* ---- the heap of flights --------------------------------------------------------------------- */

static bool before(const struct flight *a, const struct flight *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : a->order < b->order;
}

static void push(struct air *a, struct flight *f)
{
    if (a->n == a->cap) {
        a->cap = a->cap > 0 ? a->cap * 2 : 256;
        a->heap = realloc(a->heap, a->cap * sizeof(struct flight *));
        if (a->heap == NULL)
            abort();
    }
    f->order = a->next_order++;
    size_t at = a->n++;
    for (; at > 0 && before(f, a->heap[(at - 1) / 2]); at = (at - 1) / 2)
        a->heap[at] = a->heap[(at - 1) / 2];
    a->heap[at] = f;
}

static struct flight *pop(struct air *a)
{
    struct flight *first = a->heap[0];
    struct flight *last = a->heap[--a->n];
    size_t at = 0;
    for (size_t child = 1; child < a->n; child = at * 2 + 1) {
        if (child + 1 < a->n && before(a->heap[child + 1], a->heap[child]))
            child++;
        if (!before(a->heap[child], last))
            break;
        a->heap[at] = a->heap[child];
        at = child;
    }
    a->heap[at] = last;
    return first;
}

int64_t air_next(const struct chaos *x)
{
    return x->air.n > 0 ? x->air.heap[0]->at_ms : TIME_NEVER;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void trace(const struct chaos *x, const struct chaos_node *n, const char *what,
                  struct bytes packet)
{
    struct sn_packet p;
    char text[SN_PRINT_MAX] = "?";
    if (x->options.trace != (int)n->index)
        return;
    if (sn_decode(packet, &p) == SN_DECODED)
        sn_print(&p, text, sizeof text);
    printf("%12.3f  %s %s %s\n", (double)(chaos_now(x) - START_MS) / 1000, n->id, what, text);
}

static void launch(struct chaos *x, const struct flight *as, int64_t at_ms)
{
    struct flight *f = x->air.free;
    if (f != NULL)
        x->air.free = f->next_free;
    else
        f = malloc(sizeof *f);
    if (f == NULL)
        abort();
    *f = *as;
    f->at_ms = at_ms;
    push(&x->air, f);
}

static int64_t jitter(struct chaos *x)
{
    return chaos_random(x, 0, JITTER_MS);
}

/* True when it is under way. */
static bool transmit(struct chaos *x, const struct flight *f, bool out_of_reach)
{
    x->totals->packets++;
    if (out_of_reach || (!x->calm && chaos_chance(x, LOSS_PERCENT))) {
        x->totals->packets_lost++;
        return false;
    }
    const int64_t at_ms = chaos_now(x) + DELAY_MIN_MS + jitter(x);
    launch(x, f, at_ms);
    if (!x->calm && chaos_chance(x, COPY_PERCENT)) {
        x->totals->packets_copied++;
        launch(x, f, at_ms + jitter(x));
    }
    return true;
}

static void put(struct flight *f, struct bytes octets)
{
    if (octets.len > sizeof f->data - f->len)
        abort();
    memcpy(f->data + f->len, octets.data, octets.len);
    f->len += octets.len;
}

void air_from_node(struct chaos *x, struct chaos_node *n, struct bytes packet)
{
    struct flight f = {.node = (uint16_t)n->index, .up = true};
    if (n->forwarder < 0 && n->homeless)
        take_new(x, n);
    f.address = n->forwarder < 0 ? n->address : FIRST_FORWARDER + (unsigned)n->forwarder;
    if (n->forwarder >= 0) {
        uint8_t room[3], header[8];
        const struct sn_envelope envelope = {.node_id = node_id(n, room)};
        put(&f, bytes_of(header, sn_envelope_encode(&envelope, header, sizeof header)));
    }
    put(&f, packet);
    const bool sent = transmit(x, &f, node_is_away(x, n));
    trace(x, n, sent ? "sends" : "sends, lost", packet);
}

/* Who hears what is sent there now, and what he hears; NULL: nobody. */
static struct chaos_node *hearer(const struct chaos *x, unsigned address, struct bytes *packet)
{
    if (address < FIRST_FORWARDER) {
        const int owner = x->air.owners[address];
        return owner >= 0 && x->nodes[owner].forwarder < 0 ? &x->nodes[owner] : NULL;
    }
    struct sn_envelope envelope;
    if (sn_envelope_decode(*packet, &envelope) != SN_DECODED || envelope.node_id.len == 0)
        return NULL;
    *packet = envelope.inner;
    const int forwarder = (int)(address - FIRST_FORWARDER);
    for (unsigned i = envelope.node_id.data[0]; i < x->n_nodes; i += 256) {
        uint8_t room[3];
        struct chaos_node *n = &x->nodes[i];
        if (bytes_equal(node_id(n, room), envelope.node_id))
            return n->forwarder == forwarder ? n : NULL;
    }
    return NULL;
}

void air_from_gateway(struct chaos *x, const struct sim_packet *p)
{
    struct flight f = {.address = air_address(p->to)};
    put(&f, body_bytes(p->bytes));
    struct bytes packet = body_bytes(p->bytes);
    struct chaos_node *n = hearer(x, f.address, &packet);
    struct sn_envelope envelope;
    struct sn_packet decoded;
    const bool sent = transmit(x, &f, n == NULL || node_is_away(x, n));
    if (sn_is_envelope(packet) && sn_envelope_decode(packet, &envelope) == SN_DECODED)
        packet = envelope.inner; /* for a node that is not there any more */
    if (sn_decode(packet, &decoded) != SN_DECODED) {
        chaos_fail(x, "the gateway sends what is no message");
        return;
    }
    watch_from_gateway(x, p->to, &decoded);
    if (n != NULL)
        trace(x, n, sent ? "is sent" : "is sent, lost", packet);
}

/* ---- arriving -------------------------------------------------------------------------------- */

static void arrive_at_gateway(struct chaos *x, const struct flight *f)
{
    struct peer_room peer;
    uint8_t room[6];
    struct chaos_node *n = &x->nodes[f->node];
    struct bytes packet = bytes_of(f->data, f->len);
    struct sn_envelope envelope;
    struct sn_packet p;
    if (sn_is_envelope(packet) && sn_envelope_decode(packet, &envelope) == SN_DECODED)
        packet = envelope.inner;
    if (sn_decode(packet, &p) != SN_DECODED)
        abort();
    if (x->down)
        return;
    trace(x, n, "  arrives from", packet);
    watch_to_gateway(x, n, f->address, &p);
    sim_input(&x->w, peer_make(&peer, 0, PEER_IP4, address_octets(f->address, room)),
              bytes_of(f->data, f->len));
    chaos_flush(x);
}

void air_arrive(struct chaos *x)
{
    while (air_next(x) <= chaos_now(x) && !x->failed) {
        struct flight *f = pop(&x->air);
        struct bytes packet = bytes_of(f->data, f->len);
        struct chaos_node *n = f->up ? NULL : hearer(x, f->address, &packet);
        if (f->up) {
            arrive_at_gateway(x, f);
        } else if (n != NULL && !node_is_away(x, n)) {
            trace(x, n, "  arrives at", packet);
            node_input(x, n, packet);
        }
        f->next_free = x->air.free;
        x->air.free = f;
    }
}
