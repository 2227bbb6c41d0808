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

static void write_will_topic(struct writer *w, const struct sn_packet *p)
{
    if (p->topic.len == 0)
        return;
    wr_u8(w, flags_masked(p, USES_WILL));
    wr_bytes(w, p->topic);
}

static void write_subscription(struct writer *w, const struct sn_packet *p, uint8_t mask)
{
    wr_u8(w, flags_masked(p, mask));
    wr_u16(w, p->msg_id);
    if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT)
        wr_u16(w, p->topic_id);
    else
        wr_bytes(w, p->topic);
}

static void write_body(struct writer *w, const struct sn_packet *p)
{
    switch (p->type) {
    case SN_ADVERTISE:
        wr_u8(w, p->gw_id);
        wr_u16(w, p->duration_s);
        break;
    case SN_SEARCHGW:
        wr_u8(w, p->radius);
        break;
    case SN_GWINFO:
        wr_u8(w, p->gw_id);
        wr_bytes(w, p->data);
        break;
    case SN_CONNECT:
        wr_u8(w, flags_masked(p, USES_CONNECT));
        wr_u8(w, p->protocol_id);
        wr_u16(w, p->duration_s);
        wr_bytes(w, p->client_id);
        break;
    case SN_CONNACK:
    case SN_WILLTOPICRESP:
    case SN_WILLMSGRESP:
        wr_u8(w, p->return_code);
        break;
    case SN_WILLTOPIC:
    case SN_WILLTOPICUPD:
        write_will_topic(w, p);
        break;
    case SN_WILLMSG:
    case SN_WILLMSGUPD:
        wr_bytes(w, p->data);
        break;
    case SN_REGISTER:
        wr_u16(w, p->topic_id);
        wr_u16(w, p->msg_id);
        wr_bytes(w, p->topic);
        break;
    case SN_REGACK:
    case SN_PUBACK:
        wr_u16(w, p->topic_id);
        wr_u16(w, p->msg_id);
        wr_u8(w, p->return_code);
        break;
    case SN_PUBLISH:
        wr_u8(w, flags_masked(p, USES_PUBLISH));
        wr_u16(w, p->topic_id);
        wr_u16(w, p->msg_id);
        wr_bytes(w, p->data);
        break;
    case SN_PUBREC:
    case SN_PUBREL:
    case SN_PUBCOMP:
    case SN_UNSUBACK:
        wr_u16(w, p->msg_id);
        break;
    case SN_SUBSCRIBE:
        write_subscription(w, p, USES_SUBSCRIBE);
        break;
    case SN_UNSUBSCRIBE:
        write_subscription(w, p, USES_UNSUBSCRIBE);
        break;
    case SN_SUBACK:
        wr_u8(w, flags_masked(p, USES_SUBACK));
        wr_u16(w, p->topic_id);
        wr_u16(w, p->msg_id);
        wr_u8(w, p->return_code);
        break;
    case SN_PINGREQ:
        wr_bytes(w, p->client_id);
        break;
    case SN_DISCONNECT:
        if (p->has_duration)
            wr_u16(w, p->duration_s);
        break;
    case SN_WILLTOPICREQ:
    case SN_WILLMSGREQ:
    case SN_PINGRESP:
    case SN_TYPE_COUNT:
    case SN_FORWARD:
        break;
    }
}

size_t sn_encode(const struct sn_packet *p, uint8_t *buf, size_t cap)
{
    if (sn_layout_of((unsigned)p->type) == NULL)
        return 0;
    struct writer sizing = wr_to(NULL, 0);
    write_body(&sizing, p);
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
    write_body(&w, p);
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
