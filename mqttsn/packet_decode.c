/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding in the order that makes every length lie harmless: header, total against the datagram,
 * body limits from one table, then fields through a sticky reader.
 */
#include "mqttsn/packet.h"
#include "mqttsn/packet_layout.h"

enum { FLAG_DUP = 0x80, FLAG_RETAIN = 0x10, FLAG_WILL = 0x08, FLAG_CLEAN = 0x04 };

/* Splits off the header: its length is 2 or 4, the total must be the datagram's. */
static enum sn_decode_result read_header(struct bytes in, uint8_t *type, struct bytes *body)
{
    struct reader r = rd_of(in);
    size_t total = rd_u8(&r);
    const bool long_form = total == 1;
    if (long_form)
        total = rd_u16(&r);
    *type = rd_u8(&r);
    if (r.failed)
        return SN_BAD_TRUNCATED;
    if (*type == SN_FORWARD)
        return SN_BAD_ENVELOPE; /* its Length means something else */
    const size_t header = in.len - rd_left(&r);
    if (total < header)
        return SN_BAD_LENGTH;
    if (total > in.len)
        return SN_BAD_TRUNCATED;
    if (total < in.len)
        return SN_BAD_LENGTH;
    *body = rd_rest(&r);
    return SN_DECODED;
}

static enum sn_qos flags_qos(uint8_t flags)
{
    return (enum sn_qos)((flags >> 5) & 3);
}

static enum sn_topic_kind flags_kind(uint8_t flags)
{
    return (enum sn_topic_kind)(flags & 3);
}

static void read_will_topic(struct reader *r, struct sn_packet *p)
{
    /* The empty form deletes the will (section 5.4.7). Flags in front of a zero-length topic can
     * mean nothing else, and are not passed on as if a will followed. */
    if (rd_left(r) <= 1) {
        rd_rest(r);
        return;
    }
    const uint8_t flags = rd_u8(r);
    p->qos = flags_qos(flags);
    p->retain = (flags & FLAG_RETAIN) != 0;
    p->topic = rd_rest(r);
}

static void read_publish(struct reader *r, struct sn_packet *p)
{
    const uint8_t flags = rd_u8(r);
    p->dup = (flags & FLAG_DUP) != 0;
    p->qos = flags_qos(flags);
    p->retain = (flags & FLAG_RETAIN) != 0;
    p->topic_kind = flags_kind(flags);
    p->topic_id = rd_u16(r);
    p->msg_id = rd_u16(r);
    p->data = rd_rest(r);
}

/* SUBSCRIBE and UNSUBSCRIBE: by name to the end of the frame, or by exactly two octets. With the
 * reserved type the topic cannot be interpreted; the engine refuses it with an answer. */
static void read_subscription(struct reader *r, struct sn_packet *p, bool is_subscribe)
{
    const uint8_t flags = rd_u8(r);
    p->dup = is_subscribe && (flags & FLAG_DUP) != 0;
    p->qos = is_subscribe ? flags_qos(flags) : SN_QOS_0;
    p->topic_kind = flags_kind(flags);
    p->msg_id = rd_u16(r);
    if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT)
        p->topic_id = rd_u16(r);
    else
        p->topic = rd_rest(r);
}

static void read_body(struct reader *r, struct sn_packet *p)
{
    uint8_t flags;
    switch (p->type) {
    case SN_ADVERTISE:
        p->gw_id = rd_u8(r);
        p->duration_s = rd_u16(r);
        break;
    case SN_SEARCHGW:
        p->radius = rd_u8(r);
        break;
    case SN_GWINFO:
        p->gw_id = rd_u8(r);
        p->data = rd_rest(r);
        break;
    case SN_CONNECT:
        flags = rd_u8(r);
        p->will = (flags & FLAG_WILL) != 0;
        p->clean = (flags & FLAG_CLEAN) != 0;
        p->protocol_id = rd_u8(r);
        p->duration_s = rd_u16(r);
        p->client_id = rd_rest(r);
        break;
    case SN_CONNACK:
    case SN_WILLMSGRESP:
        p->return_code = rd_u8(r);
        break;
    case SN_WILLTOPICRESP:
        p->return_code = rd_u8(r);
        rd_rest(r); /* the layout allows one octet more */
        break;
    case SN_WILLTOPIC:
    case SN_WILLTOPICUPD:
        read_will_topic(r, p);
        break;
    case SN_WILLMSG:
    case SN_WILLMSGUPD:
        p->data = rd_rest(r);
        break;
    case SN_REGISTER:
        p->topic_id = rd_u16(r);
        p->msg_id = rd_u16(r);
        p->topic = rd_rest(r);
        break;
    case SN_REGACK:
    case SN_PUBACK:
        p->topic_id = rd_u16(r);
        p->msg_id = rd_u16(r);
        p->return_code = rd_u8(r);
        break;
    case SN_PUBLISH:
        read_publish(r, p);
        break;
    case SN_PUBREC:
    case SN_PUBREL:
    case SN_PUBCOMP:
    case SN_UNSUBACK:
        p->msg_id = rd_u16(r);
        break;
    case SN_SUBSCRIBE:
        read_subscription(r, p, true);
        break;
    case SN_UNSUBSCRIBE:
        read_subscription(r, p, false);
        break;
    case SN_SUBACK:
        p->qos = flags_qos(rd_u8(r));
        p->topic_id = rd_u16(r);
        p->msg_id = rd_u16(r);
        p->return_code = rd_u8(r);
        break;
    case SN_PINGREQ:
        p->client_id = rd_rest(r);
        break;
    case SN_DISCONNECT:
        p->has_duration = rd_left(r) > 0;
        p->duration_s = p->has_duration ? rd_u16(r) : 0;
        break;
    case SN_WILLTOPICREQ:
    case SN_WILLMSGREQ:
    case SN_PINGRESP:
    case SN_TYPE_COUNT:
    case SN_FORWARD:
        break;
    }
}

enum sn_decode_result sn_decode(struct bytes in, struct sn_packet *out)
{
    uint8_t type;
    struct bytes body;
    const enum sn_decode_result framed = read_header(in, &type, &body);
    if (framed != SN_DECODED)
        return framed;
    const struct sn_layout *layout = sn_layout_of(type);
    if (layout == NULL)
        return SN_BAD_TYPE;
    if (body.len < layout->body_min || body.len > layout->body_max)
        return SN_BAD_BODY;
    *out = (struct sn_packet){.type = (enum sn_type)type};
    struct reader r = rd_of(body);
    read_body(&r, out);
    return rd_close(&r) ? SN_DECODED : SN_BAD_BODY;
}

bool sn_is_envelope(struct bytes in)
{
    return in.len >= 2 && in.data[0] != 1 && in.data[1] == SN_FORWARD;
}

enum sn_decode_result sn_envelope_decode(struct bytes in, struct sn_envelope *out)
{
    struct reader r = rd_of(in);
    const size_t length = rd_u8(&r);
    const uint8_t type = rd_u8(&r);
    const uint8_t ctrl = rd_u8(&r);
    if (r.failed || type != SN_FORWARD || length < 3)
        return SN_BAD_ENVELOPE;
    out->radius = ctrl & 3;
    out->node_id = rd_bytes(&r, length - 3);
    out->inner = rd_rest(&r);
    return !r.failed && out->inner.len > 0 ? SN_DECODED : SN_BAD_ENVELOPE;
}
