/* SPDX-License-Identifier: Apache-2.0 */
#include "base/peer.h"

#include <assert.h>
#include <stdlib.h>

#include "base/text.h"

struct peer *peer_make(struct peer_room *room, uint16_t link, enum peer_kind kind,
                       struct bytes addr)
{
    assert(addr.len <= PEER_ADDR_MAX);
    struct peer *p = peer_in(room);
    *p = (struct peer){.link = link, .kind = (uint8_t)kind, .addr_len = (uint8_t)addr.len};
    if (addr.len > 0)
        memcpy(p->bytes, addr.data, addr.len);
    return p;
}

struct peer *peer_make_group(struct peer_room *room, uint16_t link, uint8_t radius)
{
    return peer_make(room, link, PEER_GROUP, bytes_of(&radius, 1));
}

unsigned peer_depth(const struct peer *p)
{
    struct reader r = rd_of(bytes_of(p->bytes + p->addr_len, p->path_len));
    unsigned depth = 0;
    for (; rd_left(&r) > 0; depth++)
        rd_bytes(&r, rd_u8(&r));
    return depth;
}

bool peer_push_node(struct peer_room *room, struct bytes node_id)
{
    struct peer *p = peer_in(room);
    if (node_id.len > 252 || peer_depth(p) >= PEER_DEPTH_MAX)
        return false;
    struct writer w = wr_to(p->bytes + p->addr_len + p->path_len, 1 + node_id.len);
    wr_u8(&w, (uint8_t)node_id.len);
    wr_bytes(&w, node_id);
    p->path_len = (uint16_t)(p->path_len + wr_close(&w));
    return true;
}

void peer_copy(struct peer_room *room, const struct peer *from)
{
    memcpy(room->room, from, peer_size(from));
}

struct peer *peer_dup(const struct peer *p)
{
    struct peer *copy = malloc(peer_size(p));
    if (copy != NULL)
        memcpy(copy, p, peer_size(p));
    return copy;
}

/* RFC 5952: lower case, the longest run of two or more zero groups becomes "::". */
static void put_ip6(struct text *t, const uint16_t group[8])
{
    unsigned best = 8;
    unsigned best_len = 1;
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && group[i + n] == 0)
            n++;
        if (n > best_len) {
            best = i;
            best_len = n;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            text_word(t, "::");
            i += best_len - 1;
            continue;
        }
        if (i > 0 && i != best + best_len)
            text_word(t, ":");
        text_hex(t, group[i], 1);
    }
}

static void put_ip6_address(struct text *t, struct reader *r)
{
    uint16_t group[8];
    for (unsigned i = 0; i < 8; i++)
        group[i] = rd_u16(r);
    const unsigned port = rd_u16(r);
    const uint32_t scope = rd_u32(r);
    text_word(t, "[");
    put_ip6(t, group);
    if (scope != 0) {
        text_word(t, "%");
        text_dec(t, scope);
    }
    text_word(t, "]:");
    text_dec(t, port);
}

static void put_group(struct text *t, uint8_t radius)
{
    text_word(t, radius == 0 ? "group" : "group:");
    if (radius != 0)
        text_dec(t, radius);
}

static void put_address(struct text *t, const struct peer *p)
{
    struct reader r = rd_of(bytes_of(p->bytes, p->addr_len));
    switch ((enum peer_kind)p->kind) {
    case PEER_IP4:
        for (unsigned i = 0; i < 4; i++) {
            text_word(t, i == 0 ? "" : ".");
            text_dec(t, rd_u8(&r));
        }
        text_word(t, ":");
        text_dec(t, rd_u16(&r));
        break;
    case PEER_IP6:
        put_ip6_address(t, &r);
        break;
    case PEER_SHORT:
        text_word(t, "0x");
        text_hex(t, rd_u16(&r), 4);
        break;
    case PEER_SERIAL:
        text_word(t, "serial");
        break;
    case PEER_GROUP:
        put_group(t, rd_u8(&r));
        break;
    case PEER_EUI64:
        text_octets(t, rd_rest(&r));
        break;
    case PEER_NONE:
        text_word(t, "none");
        break;
    }
}

const char *peer_print(const struct peer *p, char *out, size_t size)
{
    struct text t = text_to(out, size);
    put_address(&t, p);
    struct reader path = rd_of(bytes_of(p->bytes + p->addr_len, p->path_len));
    while (rd_left(&path) > 0) {
        text_word(&t, "/");
        text_octets(&t, rd_bytes(&path, rd_u8(&path)));
    }
    return out;
}
