/* SPDX-License-Identifier: Apache-2.0 */
#include "unit/random_packet.h"

#include <stdlib.h>

enum { POOL = 2 * 65536 };

const uint8_t packet_types[] = {
    SN_ADVERTISE,     SN_SEARCHGW,   SN_GWINFO,      SN_CONNECT,  SN_CONNACK,    SN_WILLTOPICREQ,
    SN_WILLTOPIC,     SN_WILLMSGREQ, SN_WILLMSG,     SN_REGISTER, SN_REGACK,     SN_PUBLISH,
    SN_PUBACK,        SN_PUBCOMP,    SN_PUBREC,      SN_PUBREL,   SN_SUBSCRIBE,  SN_SUBACK,
    SN_UNSUBSCRIBE,   SN_UNSUBACK,   SN_PINGREQ,     SN_PINGRESP, SN_DISCONNECT, SN_WILLTOPICUPD,
    SN_WILLTOPICRESP, SN_WILLMSGUPD, SN_WILLMSGRESP,
};
const unsigned n_packet_types = sizeof packet_types / sizeof packet_types[0];

static struct bytes random_bytes(struct rng *rng, size_t longest)
{
    static uint8_t pool[POOL];
    static bool filled;
    if (!filled) {
        struct rng own; /* the same content and cost for every caller's sequence */
        rng_seed(&own, 1);
        for (size_t i = 0; i < POOL; i++)
            pool[i] = (uint8_t)rng_next(&own);
        filled = true;
    }
    const size_t len = (size_t)rng_below(rng, longest + 1);
    return bytes_of(pool + rng_below(rng, POOL - len + 1), len);
}

struct sn_packet packet_random(struct rng *rng, enum sn_type type, size_t longest)
{
    const uint64_t bits = rng_next(rng);
    const uint64_t more = rng_next(rng);
    return (struct sn_packet){
        .type = type,
        .dup = bits & 1,
        .retain = bits >> 1 & 1,
        .will = bits >> 2 & 1,
        .clean = bits >> 3 & 1,
        .qos = (enum sn_qos)(bits >> 4 & 3),
        .topic_kind = (enum sn_topic_kind)(bits >> 6 & 3),
        .has_duration = bits >> 8 & 1,
        .topic_id = (uint16_t)(bits >> 16),
        .msg_id = (uint16_t)(bits >> 32),
        .duration_s = (uint16_t)(bits >> 48),
        .return_code = (uint8_t)more,
        .protocol_id = (uint8_t)(more >> 8),
        .gw_id = (uint8_t)(more >> 16),
        .radius = (uint8_t)(more >> 24),
        .client_id = random_bytes(rng, longest),
        .topic = random_bytes(rng, longest),
        .data = random_bytes(rng, longest),
    };
}

/* What of the flags octet counts in which message: table "Which bits count where". */
static void carry_flags(struct sn_packet *to, const struct sn_packet *p)
{
    const enum sn_type t = p->type;
    const bool will_topic = (t == SN_WILLTOPIC || t == SN_WILLTOPICUPD) && p->topic.len > 0;
    if (t == SN_PUBLISH || t == SN_SUBSCRIBE)
        to->dup = p->dup;
    if (t == SN_PUBLISH || t == SN_SUBSCRIBE || t == SN_SUBACK || will_topic)
        to->qos = p->qos;
    if (t == SN_PUBLISH || will_topic)
        to->retain = p->retain;
    if (t == SN_PUBLISH || t == SN_SUBSCRIBE || t == SN_UNSUBSCRIBE)
        to->topic_kind = p->topic_kind;
    if (t == SN_CONNECT) {
        to->will = p->will;
        to->clean = p->clean;
    }
}

static void carry_ids(struct sn_packet *to, const struct sn_packet *p)
{
    switch ((unsigned)p->type) {
    case SN_REGISTER:
    case SN_REGACK:
    case SN_PUBLISH:
    case SN_PUBACK:
    case SN_SUBACK:
        to->topic_id = p->topic_id;
        to->msg_id = p->msg_id;
        break;
    case SN_SUBSCRIBE:
    case SN_UNSUBSCRIBE:
        if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT)
            to->topic_id = p->topic_id;
        else
            to->topic = p->topic;
        to->msg_id = p->msg_id;
        break;
    case SN_PUBREC:
    case SN_PUBREL:
    case SN_PUBCOMP:
    case SN_UNSUBACK:
        to->msg_id = p->msg_id;
        break;
    }
}

static void carry_strings(struct sn_packet *to, const struct sn_packet *p)
{
    switch ((unsigned)p->type) {
    case SN_REGISTER:
    case SN_WILLTOPIC:
    case SN_WILLTOPICUPD:
        to->topic = p->topic;
        break;
    case SN_CONNECT:
    case SN_PINGREQ:
        to->client_id = p->client_id;
        break;
    case SN_PUBLISH:
    case SN_WILLMSG:
    case SN_WILLMSGUPD:
    case SN_GWINFO:
        to->data = p->data;
        break;
    }
}

static void carry_rest(struct sn_packet *to, const struct sn_packet *p)
{
    switch ((unsigned)p->type) {
    case SN_ADVERTISE:
        to->gw_id = p->gw_id;
        to->duration_s = p->duration_s;
        break;
    case SN_SEARCHGW:
        to->radius = p->radius;
        break;
    case SN_GWINFO:
        to->gw_id = p->gw_id;
        break;
    case SN_CONNECT:
        to->protocol_id = p->protocol_id;
        to->duration_s = p->duration_s;
        break;
    case SN_CONNACK:
    case SN_REGACK:
    case SN_PUBACK:
    case SN_SUBACK:
    case SN_WILLTOPICRESP:
    case SN_WILLMSGRESP:
        to->return_code = p->return_code;
        break;
    case SN_DISCONNECT:
        to->has_duration = p->has_duration;
        to->duration_s = p->has_duration ? p->duration_s : 0;
        break;
    }
}

struct sn_packet packet_carried(const struct sn_packet *p)
{
    struct sn_packet out = {.type = p->type};
    carry_flags(&out, p);
    carry_ids(&out, p);
    carry_strings(&out, p);
    carry_rest(&out, p);
    return out;
}

const char *packet_difference(const struct sn_packet *a, const struct sn_packet *b)
{
#define DIFFERS(field)                                                                             \
    if (a->field != b->field)                                                                      \
    return #field
    DIFFERS(type);
    DIFFERS(dup);
    DIFFERS(retain);
    DIFFERS(will);
    DIFFERS(clean);
    DIFFERS(qos);
    DIFFERS(topic_kind);
    DIFFERS(topic_id);
    DIFFERS(msg_id);
    DIFFERS(duration_s);
    DIFFERS(has_duration);
    DIFFERS(return_code);
    DIFFERS(protocol_id);
    DIFFERS(gw_id);
    DIFFERS(radius);
#undef DIFFERS
    if (!bytes_equal(a->client_id, b->client_id))
        return "client_id";
    if (!bytes_equal(a->topic, b->topic))
        return "topic";
    return bytes_equal(a->data, b->data) ? NULL : "data";
}
