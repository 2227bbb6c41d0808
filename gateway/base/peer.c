/* SPDX-License-Identifier: Apache-2.0 */
#include "base/peer.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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

/* Text under construction; snprintf's idea of a sticky cursor. */
struct text {
    char *out;
    size_t size;
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void put(struct text *t, const char *format, ...)
{
    if (t->len < t->size) {
        va_list args;
        va_start(args, format);
        const int n = vsnprintf(t->out + t->len, t->size - t->len, format, args);
        va_end(args);
        t->len += n > 0 ? (size_t)n : 0;
    }
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
            put(t, "::");
            i += best_len - 1;
            continue;
        }
        if (i > 0 && i != best + best_len)
            put(t, ":");
        put(t, "%x", group[i]);
    }
}

static void put_hex(struct text *t, struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++)
        put(t, "%02x", octets.data[i]);
}

static void put_address(struct text *t, const struct peer *p)
{
    struct reader r = rd_of(bytes_of(p->bytes, p->addr_len));
    switch ((enum peer_kind)p->kind) {
    case PEER_IP4:
        for (unsigned i = 0; i < 4; i++)
            put(t, "%s%u", i == 0 ? "" : ".", rd_u8(&r));
        put(t, ":%u", rd_u16(&r));
        break;
    case PEER_IP6: {
        uint16_t group[8];
        for (unsigned i = 0; i < 8; i++)
            group[i] = rd_u16(&r);
        put(t, "[");
        put_ip6(t, group);
        const unsigned port = rd_u16(&r);
        const uint32_t scope = rd_u32(&r);
        if (scope != 0)
            put(t, "%%%u", scope);
        put(t, "]:%u", port);
        break;
    }
    case PEER_SHORT:
        put(t, "0x%04x", rd_u16(&r));
        break;
    case PEER_SERIAL:
        put(t, "serial");
        break;
    case PEER_EUI64:
        put_hex(t, rd_rest(&r));
        break;
    case PEER_NONE:
        put(t, "none");
        break;
    }
}

const char *peer_print(const struct peer *p, char *out, size_t size)
{
    struct text t = {.out = out, .size = size};
    if (size > 0)
        out[0] = '\0';
    put_address(&t, p);
    struct reader path = rd_of(bytes_of(p->bytes + p->addr_len, p->path_len));
    while (rd_left(&path) > 0) {
        put(&t, "/");
        put_hex(&t, rd_bytes(&path, rd_u8(&path)));
    }
    return out;
}
