/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/frame.h"

enum {
    LINK_NULL = 0,
    LINK_ETHERNET = 1,
    LINK_RAW_BSD = 12, /* what some systems write for raw IP */
    LINK_RAW_OPENBSD = 14,
    LINK_RAW = 101,
    LINK_LOOP = 108,
    LINK_LINUX_SLL = 113,
    LINK_IP4 = 228,
    LINK_IP6 = 229,
    LINK_LINUX_SLL2 = 276,
};

enum {
    ETHERTYPE_IP4 = 0x0800,
    ETHERTYPE_IP6 = 0x86DD,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_SERVICE_VLAN = 0x88A8,
    ETHERTYPE_OLD_VLAN = 0x9100,
};

enum {
    NEXT_HOP_BY_HOP = 0,
    NEXT_UDP = 17,
    NEXT_ROUTING = 43,
    NEXT_FRAGMENT = 44,
    NEXT_AUTHENTICATION = 51,
    NEXT_DESTINATION = 60,
};

enum { EXTENSIONS_MAX = 16 };

static void make_peers(struct frame_datagram *out, enum peer_kind kind, struct bytes from,
                       struct bytes to)
{
    static const uint8_t no_scope[4];
    uint8_t addr[PEER_ADDR_MAX];
    struct writer w = wr_to(addr, sizeof addr);
    wr_bytes(&w, from);
    wr_u16(&w, out->from_port);
    if (kind == PEER_IP6)
        wr_bytes(&w, bytes_of(no_scope, sizeof no_scope));
    peer_make(&out->from, 0, kind, bytes_of(addr, wr_close(&w)));
    w = wr_to(addr, sizeof addr);
    wr_bytes(&w, to);
    wr_u16(&w, out->to_port);
    if (kind == PEER_IP6)
        wr_bytes(&w, bytes_of(no_scope, sizeof no_scope));
    peer_make(&out->to, 0, kind, bytes_of(addr, wr_close(&w)));
}

static int open_udp(struct reader *r, struct frame_datagram *out)
{
    out->from_port = rd_u16(r);
    out->to_port = rd_u16(r);
    const size_t length = rd_u16(r);
    (void)rd_u16(r);
    if (r->failed || length < 8)
        return FRAME_NOT_UDP;
    const size_t payload = length - 8;
    if (payload > rd_left(r)) {
        out->is_cut = !out->is_fragment;
        out->payload = rd_rest(r);
    } else {
        out->payload = rd_bytes(r, payload);
    }
    return 0;
}

/* What a packet's length field leaves of the octets that were captured (more is padding). */
static struct reader limited(struct reader *r, size_t length)
{
    return rd_of(rd_bytes(r, length < rd_left(r) ? length : rd_left(r)));
}

static int open_ip4(struct reader r, struct frame_datagram *out)
{
    const size_t header = (size_t)4 * (rd_u8(&r) & 15U);
    (void)rd_u8(&r);
    const size_t total = rd_u16(&r);
    (void)rd_u16(&r);
    const uint16_t fragment = rd_u16(&r);
    (void)rd_u8(&r);
    const uint8_t protocol = rd_u8(&r);
    (void)rd_u16(&r);
    const struct bytes from = rd_bytes(&r, 4);
    const struct bytes to = rd_bytes(&r, 4);
    if (header < 20 || total < header || protocol != NEXT_UDP || (fragment & 0x1FFF) != 0)
        return FRAME_NOT_UDP;
    rd_bytes(&r, header - 20);
    if (r.failed)
        return FRAME_NOT_UDP;
    out->is_fragment = (fragment & 0x2000) != 0;
    struct reader body = limited(&r, total - header);
    const int result = open_udp(&body, out);
    if (result == 0)
        make_peers(out, PEER_IP4, from, to);
    return result;
}

/* Steps over one extension header; false when `*next` is none. */
static bool skip_extension(struct reader *r, uint8_t *next, struct frame_datagram *out)
{
    const uint8_t type = *next;
    if (type != NEXT_HOP_BY_HOP && type != NEXT_ROUTING && type != NEXT_DESTINATION &&
        type != NEXT_FRAGMENT && type != NEXT_AUTHENTICATION)
        return false;
    *next = rd_u8(r);
    const size_t length = rd_u8(r);
    if (type == NEXT_FRAGMENT) {
        const uint16_t place = rd_u16(r);
        rd_bytes(r, 4);
        out->is_fragment = (place & 1) != 0;
        if (place >> 3 != 0)
            r->failed = true; /* a later fragment has no UDP header */
    } else if (type == NEXT_AUTHENTICATION) {
        rd_bytes(r, 4 * length + 6);
    } else {
        rd_bytes(r, 8 * length + 6);
    }
    return true;
}

static int open_ip6(struct reader r, struct frame_datagram *out)
{
    rd_bytes(&r, 4);
    const size_t length = rd_u16(&r);
    uint8_t next = rd_u8(&r);
    (void)rd_u8(&r);
    const struct bytes from = rd_bytes(&r, 16);
    const struct bytes to = rd_bytes(&r, 16);
    if (r.failed)
        return FRAME_NOT_UDP;
    struct reader body = limited(&r, length);
    for (unsigned i = 0; i < EXTENSIONS_MAX && skip_extension(&body, &next, out); i++)
        ;
    if (body.failed || next != NEXT_UDP)
        return FRAME_NOT_UDP;
    const int result = open_udp(&body, out);
    if (result == 0)
        make_peers(out, PEER_IP6, from, to);
    return result;
}

/* By its first four bits, which also decides for links that name the protocol in their own way. */
static int open_ip(struct reader r, struct frame_datagram *out)
{
    struct reader peek = r;
    switch (rd_u8(&peek) >> 4) {
    case 4:
        return open_ip4(r, out);
    case 6:
        return open_ip6(r, out);
    default:
        return FRAME_NOT_UDP;
    }
}

static int open_ethertype(struct reader r, uint16_t ethertype, struct frame_datagram *out)
{
    for (unsigned tags = 0; tags < 4; tags++) {
        if (ethertype != ETHERTYPE_VLAN && ethertype != ETHERTYPE_SERVICE_VLAN &&
            ethertype != ETHERTYPE_OLD_VLAN)
            break;
        (void)rd_u16(&r);
        ethertype = rd_u16(&r);
    }
    return ethertype == ETHERTYPE_IP4 || ethertype == ETHERTYPE_IP6 ? open_ip(r, out)
                                                                    : FRAME_NOT_UDP;
}

int frame_open(uint16_t link_type, struct bytes frame, struct frame_datagram *out)
{
    struct reader r = rd_of(frame);
    out->is_fragment = false;
    out->is_cut = false;
    uint16_t ethertype;
    switch (link_type) {
    case LINK_RAW_BSD:
    case LINK_RAW_OPENBSD:
    case LINK_RAW:
    case LINK_IP4:
    case LINK_IP6:
        return open_ip(r, out);
    case LINK_NULL:
    case LINK_LOOP:
        rd_bytes(&r, 4); /* the address family, numbered differently on every system */
        return open_ip(r, out);
    case LINK_ETHERNET:
        rd_bytes(&r, 12);
        ethertype = rd_u16(&r);
        return open_ethertype(r, ethertype, out);
    case LINK_LINUX_SLL:
        rd_bytes(&r, 14);
        ethertype = rd_u16(&r);
        return open_ethertype(r, ethertype, out);
    case LINK_LINUX_SLL2:
        ethertype = rd_u16(&r);
        rd_bytes(&r, 18);
        return open_ethertype(r, ethertype, out);
    default:
        return FRAME_UNKNOWN_LINK;
    }
}
