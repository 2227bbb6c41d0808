/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per message: MsgType, then the fields in the order of the wire, only those that the
 * message carries. Where the wire does not tell what kind of topic id it holds (SUBACK, PUBACK),
 * the kind is not invented.
 */
#include "base/text.h"

#include "mqttsn/packet.h"

enum { MOST_SHOWN = 64 };

static void put_key(struct text *t, const char *key)
{
    text_word(t, " ");
    text_word(t, key);
    text_word(t, "=");
}

static void put_number(struct text *t, const char *key, unsigned value)
{
    put_key(t, key);
    text_dec(t, value);
}

static void put_string(struct text *t, const char *key, struct bytes value)
{
    put_key(t, key);
    text_quoted(t, value, MOST_SHOWN);
}

/* Data of any kind: its length is shown, because it may be cut. */
static void put_data(struct text *t, const char *key, struct bytes value)
{
    text_word(t, " ");
    text_word(t, key);
    text_word(t, "[");
    text_dec(t, value.len);
    text_word(t, "]=");
    text_quoted(t, value, MOST_SHOWN);
}

/* The address of a gateway, whose form depends on the network. */
static void put_address(struct text *t, struct bytes value)
{
    put_key(t, "address");
    text_octets(t, bytes_of(value.data, value.len < MOST_SHOWN ? value.len : MOST_SHOWN));
    if (value.len > MOST_SHOWN)
        text_word(t, "...");
}

static void put_qos(struct text *t, const struct sn_packet *p)
{
    put_key(t, "qos");
    if (p->qos == SN_QOS_MINUS_1)
        text_word(t, "-1");
    else
        text_dec(t, (unsigned)p->qos);
}

static void put_topic_id(struct text *t, const struct sn_packet *p)
{
    text_word(t, "0x");
    text_hex(t, p->topic_id, 4);
}

static void put_topic_kind(struct text *t, enum sn_topic_kind kind)
{
    static const char *const names[] = {
        [SN_TOPIC_NORMAL] = "normal:",
        [SN_TOPIC_PREDEFINED] = "predefined:",
        [SN_TOPIC_SHORT] = "short:",
        [SN_TOPIC_RESERVED] = "reserved:",
    };
    text_word(t, names[(unsigned)kind & 3]);
}

/* The topic id field, which holds a short topic name in its two octets. */
static void put_topic(struct text *t, const struct sn_packet *p)
{
    put_key(t, "topic");
    put_topic_kind(t, p->topic_kind);
    if (p->topic_kind == SN_TOPIC_SHORT) {
        const uint8_t name[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
        text_quoted(t, bytes_of(name, sizeof name), sizeof name);
    } else {
        put_topic_id(t, p);
    }
}

/* SUBSCRIBE and UNSUBSCRIBE, whose type 0 means that a name follows. */
static void put_filter(struct text *t, const struct sn_packet *p)
{
    if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT) {
        put_topic(t, p);
        return;
    }
    put_key(t, "topic");
    if (p->topic_kind == SN_TOPIC_RESERVED)
        put_topic_kind(t, p->topic_kind);
    text_quoted(t, p->topic, MOST_SHOWN);
}

static void put_return_code(struct text *t, const struct sn_packet *p)
{
    static const char *const names[] = {
        [SN_ACCEPTED] = "accepted",
        [SN_CONGESTION] = "congestion",
        [SN_INVALID_TOPIC_ID] = "invalid-topic-id",
        [SN_NOT_SUPPORTED] = "not-supported",
    };
    put_key(t, "rc");
    if (p->return_code < sizeof names / sizeof names[0]) {
        text_word(t, names[p->return_code]);
    } else {
        text_word(t, "reserved:0x");
        text_hex(t, p->return_code, 2);
    }
}

static void put_acknowledgement(struct text *t, const struct sn_packet *p)
{
    put_key(t, "topic");
    put_topic_id(t, p);
    put_number(t, "msgid", p->msg_id);
    put_return_code(t, p);
}

static void put_connect(struct text *t, const struct sn_packet *p)
{
    put_number(t, "will", p->will);
    put_number(t, "clean", p->clean);
    put_number(t, "protocol", p->protocol_id);
    put_number(t, "duration", p->duration_s);
    put_string(t, "client", p->client_id);
}

static void put_will_topic(struct text *t, const struct sn_packet *p)
{
    if (p->topic.len == 0) {
        text_word(t, " empty"); /* deletes the will */
        return;
    }
    put_qos(t, p);
    put_number(t, "retain", p->retain);
    put_string(t, "topic", p->topic);
}

static void put_publish(struct text *t, const struct sn_packet *p)
{
    put_number(t, "dup", p->dup);
    put_qos(t, p);
    put_number(t, "retain", p->retain);
    put_topic(t, p);
    put_number(t, "msgid", p->msg_id);
    put_data(t, "data", p->data);
}

static void put_subscribe(struct text *t, const struct sn_packet *p)
{
    put_number(t, "dup", p->dup);
    put_qos(t, p);
    put_number(t, "msgid", p->msg_id);
    put_filter(t, p);
}

static void put_fields(struct text *t, const struct sn_packet *p)
{
    switch (p->type) {
    case SN_ADVERTISE:
        put_number(t, "gwid", p->gw_id);
        put_number(t, "duration", p->duration_s);
        break;
    case SN_SEARCHGW:
        put_number(t, "radius", p->radius);
        break;
    case SN_GWINFO:
        put_number(t, "gwid", p->gw_id);
        if (p->data.len > 0)
            put_address(t, p->data);
        break;
    case SN_CONNECT:
        put_connect(t, p);
        break;
    case SN_CONNACK:
    case SN_WILLTOPICRESP:
    case SN_WILLMSGRESP:
        put_return_code(t, p);
        break;
    case SN_WILLTOPIC:
    case SN_WILLTOPICUPD:
        put_will_topic(t, p);
        break;
    case SN_WILLMSG:
    case SN_WILLMSGUPD:
        put_data(t, "data", p->data);
        break;
    case SN_REGISTER:
        put_topic(t, p);
        put_number(t, "msgid", p->msg_id);
        put_string(t, "name", p->topic);
        break;
    case SN_REGACK:
    case SN_PUBACK:
        put_acknowledgement(t, p);
        break;
    case SN_PUBLISH:
        put_publish(t, p);
        break;
    case SN_PUBREC:
    case SN_PUBREL:
    case SN_PUBCOMP:
    case SN_UNSUBACK:
        put_number(t, "msgid", p->msg_id);
        break;
    case SN_SUBSCRIBE:
        put_subscribe(t, p);
        break;
    case SN_SUBACK:
        put_qos(t, p);
        put_acknowledgement(t, p);
        break;
    case SN_UNSUBSCRIBE:
        put_number(t, "msgid", p->msg_id);
        put_filter(t, p);
        break;
    case SN_PINGREQ:
        if (p->client_id.len > 0)
            put_string(t, "client", p->client_id);
        break;
    case SN_DISCONNECT:
        if (p->has_duration)
            put_number(t, "duration", p->duration_s);
        break;
    case SN_WILLTOPICREQ:
    case SN_WILLMSGREQ:
    case SN_PINGRESP:
    case SN_TYPE_COUNT:
    case SN_FORWARD:
        break;
    }
}

const char *sn_print(const struct sn_packet *p, char *out, size_t size)
{
    struct text t = text_to(out, size);
    text_word(&t, sn_type_name((unsigned)p->type));
    put_fields(&t, p);
    return out;
}
