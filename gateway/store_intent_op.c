/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operation as octets: its kind, a mask of what follows, and only that. A file is read that may
 * have been spoiled, so nothing is taken that the code behind would trip over.
 */
#include <stdlib.h>

#include "blocks.h"
#include "store_intent.h"
#include "store_priv.h"

enum {
    HAS_CLIENT = 1 << 0,
    HAS_KEY = 1 << 1,
    HAS_OTHER = 1 << 2,
    HAS_NUMBERS = 1 << 3,
    HAS_NAME = 1 << 4,
    HAS_OTHER_NAME = 1 << 5,
    HAS_PEER = 1 << 6,
    HAS_BODY = 1 << 7,
    HAS_QOS = 1 << 8,
    HAS_WHICH = 1 << 9,
    IS_RETAIN = 1 << 10,
    IS_FLAG = 1 << 11,
    HAS_EXPIRY = 1 << 12, /* monotonic: the log counts as long as the machine runs */
    HAS_ORIGIN = 1 << 13,
    MASK_ALL = (1 << 14) - 1,
};

static void put_u64(struct writer *w, uint64_t value)
{
    wr_u32(w, (uint32_t)(value >> 32));
    wr_u32(w, (uint32_t)value);
}

static uint64_t get_u64(struct reader *r)
{
    const uint64_t high = rd_u32(r);
    return high << 32 | rd_u32(r);
}

/* ---- writing --------------------------------------------------------------------------------- */

static size_t body_len(const struct store_op *op)
{
    size_t len = body_bytes(op->body).len;
    for (size_t i = 0; i < op->n_parts; i++)
        len += op->parts[i].len;
    return len;
}

static unsigned mask_of(const struct store_op *op, struct intent_links links)
{
    unsigned mask = 0;
    mask |= op->client != 0 ? HAS_CLIENT : 0;
    mask |= op->key != 0 ? HAS_KEY : 0;
    mask |= op->other != 0 ? HAS_OTHER : 0;
    mask |= (op->number[0] | op->number[1] | op->number[2]) != 0 ? HAS_NUMBERS : 0;
    mask |= op->name.len > 0 ? HAS_NAME : 0;
    mask |= op->other_name.len > 0 ? HAS_OTHER_NAME : 0;
    mask |= op->peer != NULL && op->peer->link < links.n ? HAS_PEER : 0;
    mask |= body_len(op) > 0 ? HAS_BODY : 0;
    mask |= op->qos != 0 ? HAS_QOS : 0;
    mask |= op->which != 0 ? HAS_WHICH : 0;
    mask |= op->retain ? IS_RETAIN : 0;
    mask |= op->flag ? IS_FLAG : 0;
    mask |= op->expires_ms != 0 ? HAS_EXPIRY : 0;
    mask |= body_origin(op->body).len > 0 ? HAS_ORIGIN : 0;
    return mask;
}

static void put_name(struct writer *w, struct bytes name)
{
    if (name.len > UINT16_MAX)
        w->failed = true;
    wr_u16(w, (uint16_t)name.len);
    wr_bytes(w, name);
}

static void put_peer(struct writer *w, const struct peer *p, struct intent_links links)
{
    put_name(w, bytes_str(links.names[p->link]));
    wr_u8(w, p->kind);
    put_name(w, bytes_of(p->bytes, p->addr_len));
    put_name(w, bytes_of(p->bytes + p->addr_len, p->path_len));
}

void intent_write_op(struct writer *w, const struct store_op *op, struct intent_links links)
{
    const unsigned mask = mask_of(op, links);

    wr_u8(w, op->kind);
    wr_u16(w, (uint16_t)mask);
    if ((mask & HAS_CLIENT) != 0)
        put_u64(w, op->client);
    if ((mask & HAS_KEY) != 0)
        put_u64(w, op->key);
    if ((mask & HAS_OTHER) != 0)
        put_u64(w, op->other);
    for (int i = 0; (mask & HAS_NUMBERS) != 0 && i < 3; i++)
        wr_u16(w, op->number[i]);
    if ((mask & HAS_NAME) != 0)
        put_name(w, op->name);
    if ((mask & HAS_OTHER_NAME) != 0)
        put_name(w, op->other_name);
    if ((mask & HAS_PEER) != 0)
        put_peer(w, op->peer, links);
    if ((mask & HAS_BODY) != 0) {
        wr_u32(w, (uint32_t)body_len(op));
        wr_bytes(w, body_bytes(op->body));
        for (size_t i = 0; i < op->n_parts; i++)
            wr_bytes(w, op->parts[i]);
    }
    if ((mask & HAS_QOS) != 0)
        wr_u8(w, op->qos);
    if ((mask & HAS_WHICH) != 0)
        wr_u8(w, op->which);
    if ((mask & HAS_EXPIRY) != 0)
        put_u64(w, (uint64_t)op->expires_ms);
    if ((mask & HAS_ORIGIN) != 0)
        put_name(w, body_origin(op->body));
}

/* ---- reading --------------------------------------------------------------------------------- */

/* As it is read; views of the input. */
struct draft {
    struct store_op *op;
    struct bytes body;
    struct bytes origin;
    struct peer_room room;
    bool has_peer;
};

static struct bytes get_name(struct reader *r)
{
    const size_t len = rd_u16(r);
    return rd_bytes(r, len);
}

/* False: there are too many, or no memory for it; the node moves on to where it is heard next. */
static bool number_link(struct intent_names *names, struct bytes name, uint16_t *out)
{
    size_t i = 0;
    while (i < names->n && !bytes_equal(name, bytes_str(names->names[i])))
        i++;
    *out = (uint16_t)i;
    if (i < names->n)
        return true;
    if (i == sizeof names->names / sizeof names->names[0] ||
        (name.len > 0 && memchr(name.data, '\0', name.len) != NULL))
        return false;
    names->names[i] = strndup(name.len > 0 ? (const char *)name.data : "", name.len);
    names->n += names->names[i] != NULL ? 1 : 0;
    return i < names->n;
}

void intent_names_free(struct intent_names *names)
{
    while (names->n > 0)
        free(names->names[--names->n]);
}

static void get_peer(struct reader *r, struct draft *d, struct intent_names *names)
{
    static const uint8_t lengths[] = {
        [PEER_IP4] = 6,   [PEER_IP6] = 22,   [PEER_EUI64] = 8,
        [PEER_SHORT] = 2, [PEER_SERIAL] = 0, [PEER_GROUP] = 1,
    };
    uint16_t link = 0;

    const struct bytes name = get_name(r);
    const uint8_t kind = rd_u8(r);
    const struct bytes addr = get_name(r);
    struct reader path = rd_of(get_name(r));
    if (kind == PEER_NONE || kind > PEER_GROUP || addr.len != lengths[kind])
        r->failed = true;
    if (r->failed)
        return;
    peer_make(&d->room, 0, (enum peer_kind)kind, addr);
    while (!r->failed && rd_left(&path) > 0) {
        const struct bytes node = rd_bytes(&path, rd_u8(&path));
        if (path.failed || !peer_push_node(&d->room, node))
            r->failed = true;
    }
    d->has_peer = !r->failed && number_link(names, name, &link);
    peer_in(&d->room)->link = link;
}

/* Numbers are used as indices, and must be what the database can hold. */
static bool is_sound(const struct store_op *op)
{
    if (op->kind >= OP_COUNT || op->kind == SN_REC_COUNT || op->qos > 2 || op->client > INT64_MAX ||
        op->key > INT64_MAX)
        return false;
    if (op->kind == SN_REC_SESSION && op->which > SN_KEPT_ASLEEP)
        return false;
    if (op->kind == SN_REC_DELIVERY && op->which > SN_KEPT_RECEIVED)
        return false;
    return op->kind == SN_REC_EXCHANGE || op->other <= INT64_MAX;
}

static bool get_draft(struct reader *r, struct draft *d, struct intent_names *names)
{
    struct store_op *const op = d->op;

    op->kind = rd_u8(r);
    const unsigned mask = rd_u16(r);
    if ((mask & ~(unsigned)MASK_ALL) != 0)
        r->failed = true;
    op->client = (mask & HAS_CLIENT) != 0 ? get_u64(r) : 0;
    op->key = (mask & HAS_KEY) != 0 ? get_u64(r) : 0;
    op->other = (mask & HAS_OTHER) != 0 ? get_u64(r) : 0;
    for (int i = 0; (mask & HAS_NUMBERS) != 0 && i < 3; i++)
        op->number[i] = rd_u16(r);
    op->name = (mask & HAS_NAME) != 0 ? get_name(r) : bytes_of(NULL, 0);
    op->other_name = (mask & HAS_OTHER_NAME) != 0 ? get_name(r) : bytes_of(NULL, 0);
    if ((mask & HAS_PEER) != 0)
        get_peer(r, d, names);
    d->body = (mask & HAS_BODY) != 0 ? rd_bytes(r, rd_u32(r)) : bytes_of(NULL, 0);
    op->qos = (mask & HAS_QOS) != 0 ? rd_u8(r) : 0;
    op->which = (mask & HAS_WHICH) != 0 ? rd_u8(r) : 0;
    op->retain = (mask & IS_RETAIN) != 0;
    op->flag = (mask & IS_FLAG) != 0;
    op->expires_ms = (mask & HAS_EXPIRY) != 0 ? (int64_t)get_u64(r) : 0;
    d->origin = (mask & HAS_ORIGIN) != 0 ? get_name(r) : bytes_of(NULL, 0);
    if (!is_sound(op))
        r->failed = true;
    return !r->failed;
}

static struct bytes copy_to(uint8_t **at, struct bytes in)
{
    const struct bytes out = bytes_of(*at, in.len);
    if (in.len > 0)
        memcpy(*at, in.data, in.len);
    *at += in.len;
    return out;
}

struct store_op *intent_read_op(struct reader *r, struct intent_names *names)
{
    struct store_op read = {.kind = 0};
    struct draft d = {.op = &read};
    if (!get_draft(r, &d, names))
        return NULL;

    const struct bytes peer = d.has_peer ? peer_key(peer_in(&d.room)) : bytes_of(NULL, 0);
    const size_t size = sizeof read + peer.len + read.name.len + read.other_name.len;
    struct store_op *const op = block_new(size);
    const bool has_body = d.body.len > 0 || d.origin.len > 0;
    struct body *const body = has_body ? body_new_from(d.body, d.origin) : NULL;
    if (op == NULL || (has_body && body == NULL)) {
        block_free(op);
        body_unref(body);
        return NULL;
    }
    *op = read;
    op->size = (uint32_t)(size + d.body.len);
    op->body = body;
    /* The peer first: it wants alignment. */
    uint8_t *at = op->octets;
    if (d.has_peer)
        op->peer = (const void *)copy_to(&at, peer).data;
    op->name = copy_to(&at, read.name);
    op->other_name = copy_to(&at, read.other_name);
    return op;
}
