/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_words.h"

#include "engine_script.h"

/* ---- texts ----------------------------------------------------------------------------------- */

static struct bytes text_word(struct reader *in, const char *const *words, size_t n)
{
    const uint8_t which = rd_u8(in);
    if ((which & TEXT_INLINE) == 0)
        return bytes_str(words[which % n]);
    return rd_bytes(in, which & 0x1F);
}

struct bytes word_topic(struct reader *in)
{
    static const char *const topics[] = {
        [T_A] = "a",
        [T_A_B] = "a/b",
        [T_A_B_C] = "a/b/c",
        [T_XY] = "xy",
        [T_PRE] = "pre/2",
        [T_A_PLUS] = "a/+",
        [T_A_HASH] = "a/#",
        [T_HASH] = "#",
        [T_PLUS] = "+",
        [T_SYS] = "$SYS/x",
        [T_EMPTY] = "",
        [T_BAD] = "a/b+",
        [T_LONG] = "a/topic/that/is/too/long/for/the/small/links/of/this/world",
        [T_SHARE] = "$share/g/a",
        [T_EMPTY_LEVEL] = "a//b",
        [T_OTHER] = "t1",
        [T_OTHER2] = "t/2",
        [T_OTHER3] = "t/3",
        [T_PLUS_B_HASH] = "+/b/#",
    };
    return text_word(in, topics, sizeof topics / sizeof topics[0]);
}

struct bytes word_client_id(struct reader *in)
{
    static const char *const ids[] = {
        [ID_A] = "a",
        [ID_B] = "b",
        [ID_C] = "c",
        [ID_NO_REGACK] = "r1",
        [ID_NO_DUP] = "u1",
        [ID_QOS_0] = "q1",
        [ID_REFUSED] = "x1",
        [ID_SLEEPER] = "s1",
        [ID_LONG] = "a-client-id-of-24-octets",
        [ID_EMPTY] = "",
        [ID_BAD_UTF8] = "\xC0\xAF",
        [ID_TOO_LONG] = "a-client-id-that-is-longer-than-this-world-allows-any-to-be",
    };
    return text_word(in, ids, sizeof ids / sizeof ids[0]);
}

/* Length and one octet, repeated: equal and different contents are both easy to say. */
struct bytes word_data(struct reader *in)
{
    static uint8_t data[1024];
    const size_t n = rd_u8(in);
    const size_t len = n < 0x80 ? n : 0x80 + (n - 0x80) * 6;
    memset(data, rd_u8(in), len);
    return bytes_of(data, len);
}

/* ---- numbers --------------------------------------------------------------------------------- */

uint16_t word_msg_id(struct reader *in, const struct judged_peer *peer)
{
    const uint8_t id = rd_u8(in);
    if (id == MSG_ID_LATEST)
        return peer->request_id;
    return id == MSG_ID_WIDE ? rd_u16(in) : id;
}

uint16_t word_topic_id(struct reader *in, const struct judged_peer *peer)
{
    static const uint16_t short_names[] = {0x7879, 0x6162, 0x2378, 0x0061,
                                           0x6100, 0x2F2F, 0xFFFE, 0x2461};
    const uint8_t id = rd_u8(in);
    if (id == TOPIC_ID_LATEST)
        return peer->topic_id;
    if (id >= TOPIC_ID_SHORT && id < TOPIC_ID_SHORT + 8)
        return short_names[id - TOPIC_ID_SHORT];
    return id == TOPIC_ID_WIDE ? rd_u16(in) : id;
}

uint16_t word_duration(struct reader *in)
{
    static const uint16_t durations[] = {0, 1, 5, 10, 60, 61, 300, 3600, 43200, 65535};
    return durations[rd_u8(in) % (sizeof durations / sizeof durations[0])];
}

/* ---- packets --------------------------------------------------------------------------------- */

static void set_flags(struct sn_packet *p, uint8_t flags)
{
    p->dup = (flags & 0x80) != 0;
    p->qos = (enum sn_qos)(flags >> 5 & 3);
    p->retain = (flags & 0x10) != 0;
    p->will = (flags & 0x08) != 0;
    p->clean = (flags & 0x04) != 0;
    p->topic_kind = (enum sn_topic_kind)(flags & 3);
}

static void set_filter(struct sn_packet *p, struct reader *in, const struct judged_peer *peer)
{
    set_flags(p, rd_u8(in));
    p->msg_id = word_msg_id(in, peer);
    if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT)
        p->topic_id = word_topic_id(in, peer);
    else
        p->topic = word_topic(in);
}

/* What a good node answers to the latest request of the gateway. */
static struct sn_packet good_answer(struct reader *in, const struct judged_peer *peer)
{
    struct sn_packet p = {.type = SN_PINGREQ,
                          .topic_id = peer->request_topic,
                          .msg_id = peer->request_id,
                          .return_code = rd_u8(in)};
    if (peer->request == SN_REGISTER) {
        p.type = SN_REGACK;
    } else if (peer->request == SN_PUBLISH) {
        p.type = peer->request_qos == SN_QOS_2 && p.return_code == 0 ? SN_PUBREC : SN_PUBACK;
    } else if (peer->request == SN_PUBREL) {
        p.type = SN_PUBCOMP;
    } else if (peer->request == SN_WILLTOPICREQ) {
        p = (struct sn_packet){
            .type = SN_WILLTOPIC, .qos = SN_QOS_1, .topic = bytes_str("will/topic")};
    } else if (peer->request == SN_WILLMSGREQ) {
        p = (struct sn_packet){.type = SN_WILLMSG, .data = bytes_str("gone")};
    }
    return p;
}

static struct sn_packet connect_packet(struct reader *in)
{
    const uint8_t flags = rd_u8(in);
    struct sn_packet p = {.type = SN_CONNECT,
                          .will = (flags & 1) != 0,
                          .clean = (flags & 2) != 0,
                          .protocol_id = (flags & 4) != 0 ? 2 : SN_PROTOCOL_ID};
    p.duration_s = word_duration(in);
    p.client_id = word_client_id(in);
    return p;
}

static struct sn_packet will_packet(struct reader *in, enum sn_type type)
{
    struct sn_packet p = {.type = type};
    if (type == SN_WILLMSG || type == SN_WILLMSGUPD) {
        p.data = word_data(in);
        return p;
    }
    set_flags(&p, rd_u8(in));
    p.topic = word_topic(in);
    return p;
}

static struct sn_packet any_packet(struct reader *in, const struct judged_peer *peer)
{
    struct sn_packet p = {.type = (enum sn_type)(rd_u8(in) % SN_TYPE_COUNT)};
    set_flags(&p, rd_u8(in));
    p.topic_id = word_topic_id(in, peer);
    p.msg_id = word_msg_id(in, peer);
    p.duration_s = word_duration(in);
    p.has_duration = true;
    p.return_code = rd_u8(in);
    p.radius = p.return_code;
    p.gw_id = p.return_code;
    p.protocol_id = SN_PROTOCOL_ID;
    p.topic = word_topic(in);
    p.client_id = p.topic;
    p.data = p.topic;
    return p;
}

static struct sn_packet publish_packet(struct reader *in, const struct judged_peer *peer)
{
    struct sn_packet p = {.type = SN_PUBLISH};
    set_flags(&p, rd_u8(in));
    p.topic_id = word_topic_id(in, peer);
    p.msg_id = word_msg_id(in, peer);
    p.data = word_data(in);
    return p;
}

static struct sn_packet acknowledgement(struct reader *in, const struct judged_peer *peer)
{
    static const enum sn_type types[] = {SN_REGACK, SN_PUBACK,  SN_PUBREC,
                                         SN_PUBREL, SN_PUBCOMP, SN_PINGRESP};
    struct sn_packet p = {.type = types[rd_u8(in) % (sizeof types / sizeof types[0])]};
    p.topic_id = word_topic_id(in, peer);
    p.msg_id = word_msg_id(in, peer);
    p.return_code = rd_u8(in);
    return p;
}

struct sn_packet word_packet(struct reader *in, unsigned action, const struct judged_peer *peer)
{
    struct sn_packet p = {0};
    switch (action) {
    case ACT_CONNECT:
        return connect_packet(in);
    case ACT_WILLTOPIC:
        return will_packet(in, SN_WILLTOPIC);
    case ACT_WILLMSG:
        return will_packet(in, SN_WILLMSG);
    case ACT_WILLTOPICUPD:
        return will_packet(in, SN_WILLTOPICUPD);
    case ACT_WILLMSGUPD:
        return will_packet(in, SN_WILLMSGUPD);
    case ACT_REGISTER:
        p.type = SN_REGISTER;
        p.topic = word_topic(in);
        p.msg_id = word_msg_id(in, peer);
        return p;
    case ACT_PUBLISH:
        return publish_packet(in, peer);
    case ACT_SUBSCRIBE:
    case ACT_UNSUBSCRIBE:
        p.type = action == ACT_SUBSCRIBE ? SN_SUBSCRIBE : SN_UNSUBSCRIBE;
        set_filter(&p, in, peer);
        return p;
    case ACT_PINGREQ:
        p.type = SN_PINGREQ;
        if (rd_left(in) > 0 && in->at[0] == ID_NONE)
            rd_u8(in);
        else
            p.client_id = word_client_id(in);
        return p;
    case ACT_DISCONNECT:
        p.type = SN_DISCONNECT;
        p.has_duration = rd_left(in) > 0 && in->at[0] != NO_DURATION;
        p.duration_s = word_duration(in);
        if (!p.has_duration)
            p.duration_s = 0;
        return p;
    case ACT_ACK:
        return acknowledgement(in, peer);
    case ACT_ANSWER:
        return good_answer(in, peer);
    default:
        return any_packet(in, peer);
    }
}
