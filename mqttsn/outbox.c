/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves the engine: packets for the links, requests for the broker side.
 *
 * Packets lie as parcels in one block, which the pump drains after every batch. Requests lie in a
 * ring and hold references to what they mention.
 */
#include <assert.h>
#include <stdlib.h>

#include "mqttsn/engine_priv.h"

enum {
    OUTBOX_MAX =
        8 * 1024 * 1024, /* a fan-out to every client must fit; more is a pump that sleeps */
    REQUESTS_FIRST = 64,
};

/* In front of each packet: the peer follows, then the octets. */
struct parcel {
    uint64_t after;
    uint32_t peer_size;
    uint32_t len;
};

size_t sn_packet_limit(const struct sn_engine *e, const struct sn_client *c)
{
    const struct peer *peer = sn_client_peer(c);
    const uint16_t link = peer != NULL ? peer->link : 0;
    size_t limit = link < e->config.n_links ? e->carried[link] : SN_PACKET_MAX;
    if (peer != NULL && peer->path_len > 0) { /* envelopes: length, type, ctrl, node id */
        const size_t envelopes = peer->path_len + 2U * peer_depth(peer);
        limit = limit > envelopes ? limit - envelopes : 0;
    }
    const size_t own = c->profile->options.max_packet_bytes;
    if (own != 0 && own < limit)
        limit = own;
    return limit;
}

bool sn_packet_fits(const struct sn_engine *e, const struct sn_client *c, const struct sn_packet *p)
{
    const size_t len = sn_encode(p, NULL, 0);
    return len > 0 && len <= sn_packet_limit(e, c);
}

bool sn_register_fits(const struct sn_engine *e, const struct sn_client *c, struct bytes name)
{
    return sn_packet_fits(
        e, c, &(struct sn_packet){.type = SN_REGISTER, .topic_id = SN_TOPIC_ID_MIN, .topic = name});
}

/* Ctrl has two bits for the radius of what a forwarder shall broadcast, and 0 stands for all. In
 * unicast it has no meaning. */
static uint8_t envelope_radius(const struct sn_packet *p)
{
    enum { CTRL_RADIUS_MAX = 3 };

    if (p->type != SN_GWINFO)
        return 0;
    return p->radius < CTRL_RADIUS_MAX ? p->radius : (uint8_t)CTRL_RADIUS_MAX;
}

/* Writes the forwarder envelopes, outermost first (section 5.5). */
static bool write_envelopes(const struct peer *to, uint8_t radius, struct writer *w)
{
    struct reader path = rd_of(bytes_of(to->bytes + to->addr_len, to->path_len));
    while (rd_left(&path) > 0) {
        const struct sn_envelope env = {.radius = radius, .node_id = rd_bytes(&path, rd_u8(&path))};
        uint8_t header[3 + SN_NODE_ID_MAX];
        const size_t n = sn_envelope_encode(&env, header, sizeof header);
        wr_bytes(w, bytes_of(header, n));
    }
    return !w->failed;
}

bool sn_send(struct sn_engine *e, const struct peer *to, const struct sn_packet *p, uint64_t after)
{
    const size_t len = sn_encode(p, NULL, 0);
    const size_t front = sizeof(struct parcel) + peer_size(to);
    const size_t room = front + len + (size_t)to->path_len * 4;
    uint8_t *at = len > 0 ? parcels_room(&e->outbox, room) : NULL;
    if (at == NULL) {
        sn_count(e, SN_STAT_DROP_OUTPUT_FULL);
        if (log_begin(&e->log, LOG_NOTICE, "packet.dropped")) {
            log_peer(&e->log, "to", to);
            log_word(&e->log, "packet", sn_type_name(p->type));
            log_word(&e->log, "why", sn_stat_name(SN_STAT_DROP_OUTPUT_FULL));
            log_end(&e->log);
        }
        return false;
    }
    struct writer w = wr_to(at + front, room - front);
    if (to->path_len > 0)
        write_envelopes(to, envelope_radius(p), &w);
    w.len += sn_encode(p, w.buf + w.len, w.cap - w.len);
    const struct parcel parcel = {
        .after = after, .peer_size = (uint32_t)peer_size(to), .len = (uint32_t)w.len};
    memcpy(at, &parcel, sizeof parcel);
    memcpy(at + sizeof parcel, to, parcel.peer_size);
    parcels_add(&e->outbox, front + w.len);
    sn_count(e, SN_STAT_PACKETS_OUT);
    e->stats.n[SN_STAT_BYTES_OUT] += w.len;
    if (log_wanted(&e->log, LOG_TRACE) && log_begin(&e->log, LOG_TRACE, "packet.out")) {
        char text[256];
        log_peer(&e->log, "to", to);
        log_word(&e->log, "packet", sn_print(p, text, sizeof text));
        log_end(&e->log);
    }
    return true;
}

void sn_reply(struct sn_engine *e, struct sn_client *c, const struct sn_packet *p)
{
    if (sn_client_peer(c) != NULL && sn_send(e, sn_client_peer(c), p, c->barrier))
        sn_air_sent(e, c);
}

void sn_reply_code(struct sn_engine *e, const struct sn_client *c, enum sn_type type, uint8_t code)
{
    sn_send(e, sn_client_peer(c), &(struct sn_packet){.type = type, .return_code = code},
            c->barrier);
}

bool sn_engine_peek_packet(struct sn_engine *e, struct sn_outgoing *out)
{
    const uint8_t *at = parcels_first(&e->outbox);
    if (at == NULL)
        return false;
    struct parcel parcel;
    memcpy(&parcel, at, sizeof parcel);
    at += sizeof parcel;
    out->to = (const struct peer *)(const void *)at;
    out->bytes = bytes_of(at + parcel.peer_size, parcel.len);
    out->after = sn_journal_after(e, parcel.after);
    return true;
}

void sn_engine_done_packet(struct sn_engine *e)
{
    parcels_done(&e->outbox);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool requests_reserve(struct sn_requests *q)
{
    if (q->count < q->cap)
        return true;
    assert(q->count == q->cap);
    const size_t cap = q->cap > 0 ? q->cap * 2 : REQUESTS_FIRST;
    struct sn_queued_request *ring = calloc(cap, sizeof *ring);
    if (ring == NULL)
        return false;
    for (size_t i = 0; i < q->count; i++)
        ring[i] = q->ring[(q->head + i) % q->cap];
    free(q->ring);
    *q = (struct sn_requests){.ring = ring, .cap = cap, .count = q->count};
    return true;
}

static bool copy_peer(struct sn_queued_request *q, const struct peer **peer)
{
    if (*peer == NULL)
        return true;
    q->peer = peer_dup(*peer);
    *peer = q->peer;
    return q->peer != NULL;
}

/* OPEN mentions the client's record, which may be gone when the request is taken: copy. */
static bool copy_open(struct sn_queued_request *q)
{
    const struct bytes id = q->request.open.client_id;
    q->client_id = malloc(id.len);
    if (q->client_id == NULL || !copy_peer(q, &q->request.open.peer)) {
        free(q->client_id);
        return false;
    }
    memcpy(q->client_id, id.data, id.len);
    q->request.open.client_id = bytes_of(q->client_id, id.len);
    return true;
}

/* What the request refers to and nobody else keeps. */
static bool copy_views(struct sn_queued_request *q)
{
    if (q->request.type == SN_REQ_OPEN)
        return copy_open(q);
    return q->request.type != SN_REQ_PUBLISH || copy_peer(q, &q->request.publish.peer);
}

bool sn_ask(struct sn_engine *e, const struct sn_request *request, struct sn_name *name,
            struct body *body)
{
    struct sn_requests *q = &e->requests;
    struct sn_queued_request item = {.request = *request};
    if (!requests_reserve(q) || !copy_views(&item)) {
        sn_no_memory(e);
        return false;
    }
    item.name = name != NULL ? sn_name_ref(name) : NULL;
    item.body = body_ref(body);
    q->ring[(q->head + q->count++) % q->cap] = item;
    return true;
}

bool sn_engine_peek_request(struct sn_engine *e, struct sn_request *out)
{
    const struct sn_requests *q = &e->requests;
    if (q->count == 0)
        return false;
    *out = q->ring[q->head].request;
    return true;
}

void sn_engine_done_request(struct sn_engine *e)
{
    struct sn_requests *q = &e->requests;
    assert(q->count > 0);
    struct sn_queued_request *item = &q->ring[q->head];
    if (item->name != NULL)
        sn_name_unref(e, item->name);
    body_unref(item->body);
    free(item->peer);
    free(item->client_id);
    q->head = (q->head + 1) % q->cap;
    q->count--;
}

void sn_outbox_init(struct sn_engine *e)
{
    parcels_init(&e->outbox, OUTBOX_MAX);
}

void sn_outbox_deinit(struct sn_engine *e)
{
    while (e->requests.count > 0)
        sn_engine_done_request(e);
    free(e->requests.ring);
    parcels_deinit(&e->outbox);
}
