/* SPDX-License-Identifier: Apache-2.0 */
#include "capture.h"

#include "radio/sockaddr.h"

enum { LINKTYPE_RAW = 101, UDP = 17, HOPS = 64, PACKET_MAX = CAPTURE_SNAP - 48 };

static const uint8_t everybody_4[4] = {255, 255, 255, 255};
static const uint8_t everybody_6[16] = {0xFF, 0x02, [15] = 1};

/* One end of a datagram. */
struct end {
    uint8_t address[16];
    uint16_t port;
};

/* fd53:4e00::LINK:0:0:0:0 */
static void prefix(uint8_t address[16], uint16_t link)
{
    memset(address, 0, 16);
    address[0] = 0xFD;
    address[1] = 0x53;
    address[2] = 0x4E;
    address[6] = (uint8_t)(link >> 8);
    address[7] = (uint8_t)link;
}

struct capture_end capture_end(const char *where, uint16_t link)
{
    union sock_addr a;
    char why[128];
    struct capture_end end = {.family = 6, .port = CAPTURE_PORT};
    if (sock_parse(where, &a, why, sizeof why) != 0) {
        prefix(end.address, link);
        end.address[15] = 1;
    } else if (a.any.sa_family == AF_INET) {
        end.family = 4;
        memcpy(end.address, &a.ip4.sin_addr, 4);
        end.port = ntohs(a.ip4.sin_port);
    } else {
        memcpy(end.address, &a.ip6.sin6_addr, 16);
        end.port = ntohs(a.ip6.sin6_port);
    }
    return end;
}

/* A peer with an IP address of its own. */
static uint8_t ip_end(const struct peer *p, struct end *out)
{
    struct reader r = rd_of(bytes_of(p->bytes, p->addr_len));
    const size_t len = p->kind == PEER_IP4 ? 4 : 16;
    const struct bytes address = rd_bytes(&r, len);
    if (address.len == len)
        memcpy(out->address, address.data, len);
    out->port = rd_u16(&r);
    return p->kind == PEER_IP4 ? 4 : 6;
}

/* A peer on a radio or a line. */
static uint8_t radio_end(const struct peer *p, struct end *out)
{
    prefix(out->address, p->link);
    out->port = CAPTURE_PORT;
    if (p->kind == PEER_EUI64 && p->addr_len == 8) {
        memcpy(out->address + 8, p->bytes, 8);
    } else if (p->kind == PEER_SHORT && p->addr_len == 2) {
        out->address[11] = 0xFF;
        out->address[12] = 0xFE;
        memcpy(out->address + 14, p->bytes, 2);
    } else {
        out->address[15] = 2;
    }
    return 6;
}

/* The IP version of the datagram. */
static uint8_t node_end(const struct peer *p, const struct capture_end *gateway, struct end *out)
{
    *out = (struct end){.port = gateway->port};
    if (p->kind == PEER_IP4 || p->kind == PEER_IP6)
        return ip_end(p, out);
    if (p->kind != PEER_GROUP)
        return radio_end(p, out);
    if (gateway->family == 4)
        memcpy(out->address, everybody_4, sizeof everybody_4);
    else
        memcpy(out->address, everybody_6, sizeof everybody_6);
    return gateway->family;
}

/* ---- checksums (RFC 1071) ---------------------------------------------------------------------- */

static uint32_t sum(uint32_t so_far, struct bytes in)
{
    for (size_t i = 0; i < in.len; i++)
        so_far += i % 2 == 0 ? (uint32_t)in.data[i] << 8 : in.data[i];
    return so_far;
}

static uint16_t fold(uint32_t total)
{
    while (total > UINT16_MAX)
        total = (total >> 16) + (total & UINT16_MAX);
    return (uint16_t)~total;
}

static void put_ip4(struct writer *w, const struct end *from, const struct end *to, size_t udp_len)
{
    uint8_t header[20];
    struct writer h = wr_to(header, sizeof header);
    wr_u16(&h, 0x4500);
    wr_u16(&h, (uint16_t)(sizeof header + udp_len));
    wr_u32(&h, 0);
    wr_u8(&h, HOPS);
    wr_u8(&h, UDP);
    wr_u16(&h, 0);
    wr_bytes(&h, bytes_of(from->address, 4));
    wr_bytes(&h, bytes_of(to->address, 4));
    const uint16_t check = fold(sum(0, bytes_of(header, sizeof header)));
    header[10] = (uint8_t)(check >> 8);
    header[11] = (uint8_t)check;
    wr_bytes(w, bytes_of(header, sizeof header));
}

static void put_ip6(struct writer *w, const struct end *from, const struct end *to, size_t udp_len)
{
    wr_u32(w, 0x60000000);
    wr_u16(w, (uint16_t)udp_len);
    wr_u8(w, UDP);
    wr_u8(w, HOPS);
    wr_bytes(w, bytes_of(from->address, 16));
    wr_bytes(w, bytes_of(to->address, 16));
}

static void put_udp(struct writer *w, size_t address_len, const struct end *from,
                    const struct end *to, struct bytes packet)
{
    const uint16_t len = (uint16_t)(8 + packet.len);
    uint32_t total = UDP + (uint32_t)len;
    total = sum(total, bytes_of(from->address, address_len));
    total = sum(total, bytes_of(to->address, address_len));
    total += (uint32_t)from->port + to->port + len;
    const uint16_t check = fold(sum(total, packet));
    wr_u16(w, from->port);
    wr_u16(w, to->port);
    wr_u16(w, len);
    wr_u16(w, check != 0 ? check : UINT16_MAX);
    wr_bytes(w, packet);
}

/* ---- records ----------------------------------------------------------------------------------- */

void capture_header(struct writer *w)
{
    wr_u32(w, 0xA1B2C3D4);
    wr_u16(w, 2);
    wr_u16(w, 4);
    wr_u32(w, 0);
    wr_u32(w, 0);
    wr_u32(w, CAPTURE_SNAP);
    wr_u32(w, LINKTYPE_RAW);
}

void capture_record(struct writer *w, int64_t wall_ms, bool to_node, const struct capture_end *end,
                    const struct peer *peer, struct bytes packet)
{
    struct end node;
    const uint8_t version = node_end(peer, end, &node);
    struct end gateway = {.port = end->port};
    if (end->family == version)
        memcpy(gateway.address, end->address, sizeof gateway.address);
    const struct end *from = to_node ? &gateway : &node;
    const struct end *to = to_node ? &node : &gateway;

    const size_t ip_len = version == 4 ? 20 : 40;
    const size_t whole = ip_len + 8 + packet.len;
    if (packet.len > PACKET_MAX)
        packet.len = PACKET_MAX;
    wr_u32(w, (uint32_t)(wall_ms / 1000));
    wr_u32(w, (uint32_t)(wall_ms % 1000) * 1000);
    wr_u32(w, (uint32_t)(ip_len + 8 + packet.len));
    wr_u32(w, (uint32_t)whole);
    if (version == 4)
        put_ip4(w, from, to, 8 + packet.len);
    else
        put_ip6(w, from, to, 8 + packet.len);
    put_udp(w, version == 4 ? 4 : 16, from, to, packet);
}
