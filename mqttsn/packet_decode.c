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

static void read_nothing(struct reader *r, struct sn_packet *p)
{
    (void)r;
    (void)p;
}

static void read_advertise(struct reader *r, struct sn_packet *p)
{
    p->gw_id = rd_u8(r);
    p->duration_s = rd_u16(r);
}

static void read_searchgw(struct reader *r, struct sn_packet *p)
{
    p->radius = rd_u8(r);
}

static void read_gwinfo(struct reader *r, struct sn_packet *p)
{
    p->gw_id = rd_u8(r);
    p->data = rd_rest(r);
}

static void read_connect(struct reader *r, struct sn_packet *p)
{
    const uint8_t flags = rd_u8(r);
    p->will = (flags & FLAG_WILL) != 0;
    p->clean = (flags & FLAG_CLEAN) != 0;
    p->protocol_id = rd_u8(r);
    p->duration_s = rd_u16(r);
    p->client_id = rd_rest(r);
}

static void read_return_code(struct reader *r, struct sn_packet *p)
{
    p->return_code = rd_u8(r);
    rd_rest(r); /* nothing, or the octet more that the layout allows */
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

static void read_will_message(struct reader *r, struct sn_packet *p)
{
    p->data = rd_rest(r);
}

static void read_register(struct reader *r, struct sn_packet *p)
{
    p->topic_id = rd_u16(r);
    p->msg_id = rd_u16(r);
    p->topic = rd_rest(r);
}

/* REGACK and PUBACK. */
static void read_acknowledgement(struct reader *r, struct sn_packet *p)
{
    p->topic_id = rd_u16(r);
    p->msg_id = rd_u16(r);
    p->return_code = rd_u8(r);
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

static void read_msg_id(struct reader *r, struct sn_packet *p)
{
    p->msg_id = rd_u16(r);
}

/* SUBSCRIBE and UNSUBSCRIBE behind their flags: by name to the end of the frame, or by exactly two
 * octets. With the reserved type the topic cannot be interpreted; the engine refuses it with an
 * answer. */
static void read_filter(struct reader *r, struct sn_packet *p, uint8_t flags)
{
    p->topic_kind = flags_kind(flags);
    p->msg_id = rd_u16(r);
    if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT)
        p->topic_id = rd_u16(r);
    else
        p->topic = rd_rest(r);
}

static void read_subscribe(struct reader *r, struct sn_packet *p)
{
    const uint8_t flags = rd_u8(r);
    p->dup = (flags & FLAG_DUP) != 0;
    p->qos = flags_qos(flags);
    read_filter(r, p, flags);
}

static void read_unsubscribe(struct reader *r, struct sn_packet *p)
{
    const uint8_t flags = rd_u8(r);
    read_filter(r, p, flags);
}

static void read_suback(struct reader *r, struct sn_packet *p)
{
    p->qos = flags_qos(rd_u8(r));
    read_acknowledgement(r, p);
}

static void read_pingreq(struct reader *r, struct sn_packet *p)
{
    p->client_id = rd_rest(r);
}

static void read_disconnect(struct reader *r, struct sn_packet *p)
{
    p->has_duration = rd_left(r) > 0;
    if (p->has_duration)
        p->duration_s = rd_u16(r);
}

/* For every type that has a layout. */
static void (*const body_readers[SN_TYPE_COUNT])(struct reader *r, struct sn_packet *p) = {
    [SN_ADVERTISE] = read_advertise,
    [SN_SEARCHGW] = read_searchgw,
    [SN_GWINFO] = read_gwinfo,
    [SN_CONNECT] = read_connect,
    [SN_CONNACK] = read_return_code,
    [SN_WILLTOPICREQ] = read_nothing,
    [SN_WILLTOPIC] = read_will_topic,
    [SN_WILLMSGREQ] = read_nothing,
    [SN_WILLMSG] = read_will_message,
    [SN_REGISTER] = read_register,
    [SN_REGACK] = read_acknowledgement,
    [SN_PUBLISH] = read_publish,
    [SN_PUBACK] = read_acknowledgement,
    [SN_PUBCOMP] = read_msg_id,
    [SN_PUBREC] = read_msg_id,
    [SN_PUBREL] = read_msg_id,
    [SN_SUBSCRIBE] = read_subscribe,
    [SN_SUBACK] = read_suback,
    [SN_UNSUBSCRIBE] = read_unsubscribe,
    [SN_UNSUBACK] = read_msg_id,
    [SN_PINGREQ] = read_pingreq,
    [SN_PINGRESP] = read_nothing,
    [SN_DISCONNECT] = read_disconnect,
    [SN_WILLTOPICUPD] = read_will_topic,
    [SN_WILLTOPICRESP] = read_return_code,
    [SN_WILLMSGUPD] = read_will_message,
    [SN_WILLMSGRESP] = read_return_code,
};

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
    body_readers[type](&r, out);
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
