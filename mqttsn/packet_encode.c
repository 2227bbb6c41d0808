/* SPDX-License-Identifier: Apache-2.0 */
#include "mqttsn/packet.h"
#include "mqttsn/packet_layout.h"

static uint8_t flags_of(const struct sn_packet *p)
{
    return (uint8_t)((p->dup ? 0x80U : 0U) | ((unsigned)p->qos & 3) << 5 |
                     (p->retain ? 0x10U : 0U) | (p->will ? 0x08U : 0U) | (p->clean ? 0x04U : 0U) |
                     ((unsigned)p->topic_kind & 3));
}

/* The flags octet of a message that uses only some of the bits (section 5.4). */
static uint8_t flags_masked(const struct sn_packet *p, uint8_t mask)
{
    return flags_of(p) & mask;
}

enum {
    USES_CONNECT = 0x0C,
    USES_WILL = 0x70,
    USES_PUBLISH = 0xF3,
    USES_SUBSCRIBE = 0xE3,
    USES_SUBACK = 0x60,
    USES_UNSUBSCRIBE = 0x03,
};

static void write_nothing(struct writer *w, const struct sn_packet *p)
{
    (void)w;
    (void)p;
}

static void write_advertise(struct writer *w, const struct sn_packet *p)
{
    wr_u8(w, p->gw_id);
    wr_u16(w, p->duration_s);
}

static void write_searchgw(struct writer *w, const struct sn_packet *p)
{
    wr_u8(w, p->radius);
}

static void write_gwinfo(struct writer *w, const struct sn_packet *p)
{
    wr_u8(w, p->gw_id);
    wr_bytes(w, p->data);
}

static void write_connect(struct writer *w, const struct sn_packet *p)
{
    wr_u8(w, flags_masked(p, USES_CONNECT));
    wr_u8(w, p->protocol_id);
    wr_u16(w, p->duration_s);
    wr_bytes(w, p->client_id);
}

static void write_return_code(struct writer *w, const struct sn_packet *p)
{
    wr_u8(w, p->return_code);
}

static void write_will_topic(struct writer *w, const struct sn_packet *p)
{
    if (p->topic.len == 0)
        return; /* the empty form */
    wr_u8(w, flags_masked(p, USES_WILL));
    wr_bytes(w, p->topic);
}

static void write_will_message(struct writer *w, const struct sn_packet *p)
{
    wr_bytes(w, p->data);
}

static void write_register(struct writer *w, const struct sn_packet *p)
{
    wr_u16(w, p->topic_id);
    wr_u16(w, p->msg_id);
    wr_bytes(w, p->topic);
}

/* REGACK and PUBACK. */
static void write_acknowledgement(struct writer *w, const struct sn_packet *p)
{
    wr_u16(w, p->topic_id);
    wr_u16(w, p->msg_id);
    wr_u8(w, p->return_code);
}

static void write_publish(struct writer *w, const struct sn_packet *p)
{
    wr_u8(w, flags_masked(p, USES_PUBLISH));
    wr_u16(w, p->topic_id);
    wr_u16(w, p->msg_id);
    wr_bytes(w, p->data);
}

static void write_msg_id(struct writer *w, const struct sn_packet *p)
{
    wr_u16(w, p->msg_id);
}

static void write_filter(struct writer *w, const struct sn_packet *p, uint8_t mask)
{
    wr_u8(w, flags_masked(p, mask));
    wr_u16(w, p->msg_id);
    if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT)
        wr_u16(w, p->topic_id);
    else
        wr_bytes(w, p->topic);
}

static void write_subscribe(struct writer *w, const struct sn_packet *p)
{
    write_filter(w, p, USES_SUBSCRIBE);
}

static void write_unsubscribe(struct writer *w, const struct sn_packet *p)
{
    write_filter(w, p, USES_UNSUBSCRIBE);
}

static void write_suback(struct writer *w, const struct sn_packet *p)
{
    wr_u8(w, flags_masked(p, USES_SUBACK));
    write_acknowledgement(w, p);
}

static void write_pingreq(struct writer *w, const struct sn_packet *p)
{
    wr_bytes(w, p->client_id);
}

static void write_disconnect(struct writer *w, const struct sn_packet *p)
{
    if (p->has_duration)
        wr_u16(w, p->duration_s);
}

/* For every type that has a layout. */
static void (*const body_writers[SN_TYPE_COUNT])(struct writer *w, const struct sn_packet *p) = {
    [SN_ADVERTISE] = write_advertise,
    [SN_SEARCHGW] = write_searchgw,
    [SN_GWINFO] = write_gwinfo,
    [SN_CONNECT] = write_connect,
    [SN_CONNACK] = write_return_code,
    [SN_WILLTOPICREQ] = write_nothing,
    [SN_WILLTOPIC] = write_will_topic,
    [SN_WILLMSGREQ] = write_nothing,
    [SN_WILLMSG] = write_will_message,
    [SN_REGISTER] = write_register,
    [SN_REGACK] = write_acknowledgement,
    [SN_PUBLISH] = write_publish,
    [SN_PUBACK] = write_acknowledgement,
    [SN_PUBCOMP] = write_msg_id,
    [SN_PUBREC] = write_msg_id,
    [SN_PUBREL] = write_msg_id,
    [SN_SUBSCRIBE] = write_subscribe,
    [SN_SUBACK] = write_suback,
    [SN_UNSUBSCRIBE] = write_unsubscribe,
    [SN_UNSUBACK] = write_msg_id,
    [SN_PINGREQ] = write_pingreq,
    [SN_PINGRESP] = write_nothing,
    [SN_DISCONNECT] = write_disconnect,
    [SN_WILLTOPICUPD] = write_will_topic,
    [SN_WILLTOPICRESP] = write_return_code,
    [SN_WILLMSGUPD] = write_will_message,
    [SN_WILLMSGRESP] = write_return_code,
};

size_t sn_encode(const struct sn_packet *p, uint8_t *buf, size_t cap)
{
    if (sn_layout_of((unsigned)p->type) == NULL)
        return 0;
    struct writer sizing = wr_to(NULL, 0);
    body_writers[p->type](&sizing, p);
    if (sizing.failed)
        return 0;
    /* Totals 256 and 257 cannot be expressed by the shortest form: 255 is followed by 258. */
    const bool long_form = sizing.len + 2 > SN_SHORT_FORM_MAX;
    const size_t total = sizing.len + (long_form ? 4 : 2);
    if (total > SN_PACKET_MAX)
        return 0;
    struct writer w = wr_to(buf, cap);
    if (long_form) {
        wr_u8(&w, 1);
        wr_u16(&w, (uint16_t)total);
    } else {
        wr_u8(&w, (uint8_t)total);
    }
    wr_u8(&w, (uint8_t)p->type);
    body_writers[p->type](&w, p);
    return wr_close(&w);
}

size_t sn_envelope_encode(const struct sn_envelope *env, uint8_t *buf, size_t cap)
{
    if (env->node_id.len > SN_NODE_ID_MAX)
        return 0;
    struct writer w = wr_to(buf, cap);
    wr_u8(&w, (uint8_t)(3 + env->node_id.len));
    wr_u8(&w, SN_FORWARD);
    wr_u8(&w, env->radius & 3);
    wr_bytes(&w, env->node_id);
    return wr_close(&w);
}
