/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/pcap.h"

#include <stdlib.h>

enum {
    BLOCK_SECTION = 0x0A0D0D0A,
    BLOCK_INTERFACE = 1,
    BLOCK_SIMPLE_PACKET = 3,
    BLOCK_ENHANCED_PACKET = 6,
    OPTION_RESOLUTION = 9,
    OPTION_OFFSET = 14,
};

enum {
    MICROSECONDS = 6,
    NANOSECONDS = 9,
    BLOCK_MAX = PCAP_RECORD_MAX + 65536, /* a record and its options */
};

static const char WITHIN_RECORD[] = "it ends within a record";

static int broken(struct pcap *p, const char *why)
{
    p->why = why;
    return PCAP_BROKEN;
}

static uint16_t get16(const struct pcap *p, struct reader *r)
{
    return p->big_endian ? rd_u16(r) : rd_u16_le(r);
}

static uint32_t get32(const struct pcap *p, struct reader *r)
{
    return p->big_endian ? rd_u32(r) : rd_u32_le(r);
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t power_of_ten(unsigned n)
{
    uint64_t value = 1;
    while (n-- > 0)
        value *= 10;
    return value;
}

/* Splits ticks into seconds and nanoseconds. False for a resolution that makes no sense. */
static bool split_ticks(uint8_t resolution, uint64_t ticks, uint64_t *seconds, uint64_t *ns)
{
    unsigned n = resolution & 0x7F;
    if ((resolution & 0x80) != 0) {
        if (n > 63)
            return false;
        *seconds = ticks >> n;
        uint64_t fraction = ticks & ((UINT64_C(1) << n) - 1);
        if (n > 32) {
            fraction >>= n - 32; /* so that the product fits; finer than a nanosecond anyhow */
            n = 32;
        }
        *ns = (fraction * 1000000000U) >> n;
        return true;
    }
    if (n > 19)
        return false;
    const uint64_t per_second = power_of_ten(n);
    const uint64_t fraction = ticks % per_second;
    *seconds = ticks / per_second;
    *ns = n <= NANOSECONDS ? fraction * power_of_ten(NANOSECONDS - n)
                           : fraction / power_of_ten(n - NANOSECONDS);
    return true;
}

static void set_time(struct pcap_record *out, const struct pcap_interface *from, uint64_t ticks)
{
    const int64_t limit_s = 4000000000; /* keeps the nanoseconds within 64 bits; until 2096 */
    uint64_t seconds;
    uint64_t ns;
    out->has_time = split_ticks(from->resolution, ticks, &seconds, &ns) &&
                    seconds <= (uint64_t)limit_s && from->offset_s <= limit_s &&
                    from->offset_s >= -limit_s;
    out->time_ns =
        out->has_time ? ((int64_t)seconds + from->offset_s) * 1000000000 + (int64_t)ns : 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The next `n` octets as `p->block`, or false at the end of the file. */
static bool read_block(struct pcap *p, size_t n)
{
    free(p->block);
    p->block = malloc(n > 0 ? n : 1);
    return p->block != NULL && fread(p->block, 1, n, p->in) == n;
}

static bool skip(struct pcap *p, size_t n)
{
    uint8_t scratch[1024];
    while (n > 0) {
        const size_t part = n < sizeof scratch ? n : sizeof scratch;
        if (fread(scratch, 1, part, p->in) != part)
            return false;
        n -= part;
    }
    return true;
}

static int add_interface(struct pcap *p, struct pcap_interface one)
{
    if (p->n_interfaces == PCAP_INTERFACES_MAX)
        return broken(p, "it has more interfaces than a capture can have");
    p->interfaces[p->n_interfaces++] = one;
    return 0;
}

/* ---- classic pcap ---------------------------------------------------------------------------- */

static int open_classic(struct pcap *p, uint8_t resolution)
{
    uint8_t header[20];
    if (fread(header, 1, sizeof header, p->in) != sizeof header)
        return broken(p, "it ends within its header");
    struct reader r = rd_of(bytes_of(header, sizeof header));
    if (get16(p, &r) != 2)
        return broken(p, "its version is not 2");
    (void)rd_bytes(&r, 10); /* minor version, time zone, accuracy: never used */
    const uint32_t snap_len = get32(p, &r);
    const uint32_t network = get32(p, &r);
    return add_interface(p, (struct pcap_interface){.link_type = (uint16_t)network,
                                                    .snap_len = snap_len,
                                                    .resolution = resolution});
}

static int next_classic(struct pcap *p, struct pcap_record *out)
{
    uint8_t header[16];
    const size_t n = fread(header, 1, sizeof header, p->in);
    if (n == 0)
        return PCAP_END;
    if (n != sizeof header)
        return broken(p, WITHIN_RECORD);
    struct reader r = rd_of(bytes_of(header, sizeof header));
    const uint64_t seconds = get32(p, &r);
    const uint64_t fraction = get32(p, &r);
    const size_t captured = get32(p, &r);
    if (captured > PCAP_RECORD_MAX)
        return broken(p, "a record claims to be longer than any packet");
    if (!read_block(p, captured))
        return broken(p, WITHIN_RECORD);
    const struct pcap_interface *from = &p->interfaces[0];
    *out =
        (struct pcap_record){.link_type = from->link_type, .octets = bytes_of(p->block, captured)};
    set_time(out, from, seconds * power_of_ten(from->resolution) + fraction);
    return 0;
}

/* ---- pcapng ---------------------------------------------------------------------------------- */

/* The rest of a section header, whose length can only be read when the byte order is known. */
static int read_section(struct pcap *p)
{
    uint8_t start[8];
    if (fread(start, 1, sizeof start, p->in) != sizeof start)
        return broken(p, "it ends within a section header");
    struct reader r = rd_of(bytes_of(start, sizeof start));
    const struct bytes length = rd_bytes(&r, 4);
    const uint32_t order = rd_u32(&r);
    if (order != 0x1A2B3C4D && order != 0x4D3C2B1A)
        return broken(p, "a section tells no byte order");
    p->big_endian = order == 0x1A2B3C4D;
    p->n_interfaces = 0;
    r = rd_of(length);
    const uint32_t total = get32(p, &r);
    if (total < 28 || total > BLOCK_MAX || total % 4 != 0)
        return broken(p, "a section header has an impossible length");
    if (!read_block(p, total - 12))
        return broken(p, "it ends within a section header");
    r = rd_of(bytes_of(p->block, total - 12));
    return get16(p, &r) == 1 ? 0 : broken(p, "its pcapng version is not 1");
}

static int read_interface(struct pcap *p, struct reader *r)
{
    struct pcap_interface one = {.resolution = MICROSECONDS};
    one.link_type = get16(p, r);
    (void)get16(p, r);
    one.snap_len = get32(p, r);
    if (r->failed)
        return broken(p, "an interface block is too short");
    while (rd_left(r) >= 4) {
        const uint16_t code = get16(p, r);
        const size_t len = get16(p, r);
        if (code == 0)
            break;
        struct reader value = rd_of(rd_bytes(r, len));
        rd_bytes(r, (4 - len % 4) % 4);
        if (r->failed)
            return broken(p, "an option is longer than its block");
        if (code == OPTION_RESOLUTION && len == 1) {
            one.resolution = rd_u8(&value);
        } else if (code == OPTION_OFFSET && len == 8) {
            const uint64_t first = get32(p, &value);
            const uint64_t second = get32(p, &value);
            one.offset_s = (int64_t)(p->big_endian ? first << 32 | second : second << 32 | first);
        }
    }
    return add_interface(p, one);
}

static int read_enhanced(struct pcap *p, struct reader *r, struct pcap_record *out)
{
    const uint32_t id = get32(p, r);
    const uint64_t high = get32(p, r);
    const uint64_t low = get32(p, r);
    const size_t captured = get32(p, r);
    (void)get32(p, r);
    const struct bytes octets = rd_bytes(r, captured);
    if (r->failed)
        return broken(p, "a packet is longer than its block");
    if (id >= p->n_interfaces)
        return broken(p, "a packet comes from an unknown interface");
    *out = (struct pcap_record){.link_type = p->interfaces[id].link_type, .octets = octets};
    set_time(out, &p->interfaces[id], high << 32 | low);
    return 0;
}

static int read_simple(struct pcap *p, struct reader *r, struct pcap_record *out)
{
    size_t captured = get32(p, r);
    if (r->failed)
        return broken(p, "a packet block is too short");
    if (p->n_interfaces == 0)
        return broken(p, "a packet comes from an unknown interface");
    const uint32_t snap_len = p->interfaces[0].snap_len;
    if (snap_len > 0 && captured > snap_len)
        captured = snap_len;
    const struct bytes octets = rd_bytes(r, captured);
    if (r->failed)
        return broken(p, "a packet is longer than its block");
    *out = (struct pcap_record){.link_type = p->interfaces[0].link_type, .octets = octets};
    return 0;
}

static int end_block(struct pcap *p, uint32_t total)
{
    uint8_t octets[4];
    if (fread(octets, 1, sizeof octets, p->in) != sizeof octets)
        return broken(p, WITHIN_RECORD);
    struct reader r = rd_of(bytes_of(octets, sizeof octets));
    return get32(p, &r) == total ? 0 : broken(p, "a block ends with another length than it began");
}

/* One block that is not a section header. `*is_packet` tells whether `out` was filled. */
static int read_one_block(struct pcap *p, struct bytes type_octets, struct pcap_record *out,
                          bool *is_packet)
{
    uint8_t octets[4];
    if (fread(octets, 1, sizeof octets, p->in) != sizeof octets)
        return broken(p, WITHIN_RECORD);
    struct reader r = rd_of(bytes_of(octets, sizeof octets));
    const uint32_t total = get32(p, &r);
    r = rd_of(type_octets);
    const uint32_t type = get32(p, &r);
    if (total < 12 || total % 4 != 0)
        return broken(p, "a block has an impossible length");
    const size_t body = total - 12;
    const bool known =
        type == BLOCK_INTERFACE || type == BLOCK_SIMPLE_PACKET || type == BLOCK_ENHANCED_PACKET;
    if (!known)
        return skip(p, body) ? end_block(p, total) : broken(p, WITHIN_RECORD);
    if (total > BLOCK_MAX)
        return broken(p, "a block claims to be longer than any packet");
    if (!read_block(p, body))
        return broken(p, WITHIN_RECORD);
    const int ended = end_block(p, total);
    if (ended != 0)
        return ended;
    r = rd_of(bytes_of(p->block, body));
    *is_packet = type != BLOCK_INTERFACE;
    if (type == BLOCK_INTERFACE)
        return read_interface(p, &r);
    return type == BLOCK_SIMPLE_PACKET ? read_simple(p, &r, out) : read_enhanced(p, &r, out);
}

static int next_generation(struct pcap *p, struct pcap_record *out)
{
    bool is_packet = false;
    int result = 0;
    while (result == 0 && !is_packet) {
        uint8_t type[4];
        const size_t n = fread(type, 1, sizeof type, p->in);
        if (n == 0)
            return PCAP_END;
        struct reader r = rd_of(bytes_of(type, n));
        if (rd_u32(&r) == BLOCK_SECTION) /* the same in both byte orders */
            result = read_section(p);
        else if (n < sizeof type)
            result = broken(p, WITHIN_RECORD);
        else
            result = read_one_block(p, bytes_of(type, sizeof type), out, &is_packet);
    }
    return result;
}

/* ---- public ---------------------------------------------------------------------------------- */

int pcap_open(struct pcap *p, FILE *in)
{
    *p = (struct pcap){.in = in};
    p->interfaces = calloc(PCAP_INTERFACES_MAX, sizeof *p->interfaces);
    if (p->interfaces == NULL)
        return broken(p, "there is no memory for it");
    uint8_t magic[4];
    if (fread(magic, 1, sizeof magic, in) != sizeof magic)
        return broken(p, "it is too short to be a capture");
    struct reader r = rd_of(bytes_of(magic, sizeof magic));
    switch (rd_u32(&r)) {
    case 0xA1B2C3D4:
        p->big_endian = true;
        return open_classic(p, MICROSECONDS);
    case 0xD4C3B2A1:
        return open_classic(p, MICROSECONDS);
    case 0xA1B23C4D:
        p->big_endian = true;
        return open_classic(p, NANOSECONDS);
    case 0x4D3CB2A1:
        return open_classic(p, NANOSECONDS);
    case BLOCK_SECTION:
        p->next_generation = true;
        return read_section(p);
    default:
        return broken(p, "it is neither pcap nor pcapng");
    }
}

int pcap_next(struct pcap *p, struct pcap_record *out)
{
    return p->next_generation ? next_generation(p, out) : next_classic(p, out);
}

void pcap_close(struct pcap *p)
{
    free(p->block);
    free(p->interfaces);
    *p = (struct pcap){0};
}
