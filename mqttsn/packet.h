/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MQTT-SN 1.2 codec: every message of section 5.4, both length forms, the forwarder envelope.
 *
 * Decoding yields views into the datagram (valid as long as it is); encoding writes into a caller's
 * buffer. Nothing is allocated, nothing is remembered. What the codec checks is the frame and the
 * shape of the body; what a field *means* in some state is the engine's affair, so for example a
 * reserved topic id type or an unknown ProtocolId decodes and is refused later with an answer.
 */
#ifndef SENNET_MQTTSN_PACKET_H
#define SENNET_MQTTSN_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

/* MsgType, section 5.2.2. */
enum sn_type {
    SN_ADVERTISE = 0x00,
    SN_SEARCHGW = 0x01,
    SN_GWINFO = 0x02,
    SN_CONNECT = 0x04,
    SN_CONNACK = 0x05,
    SN_WILLTOPICREQ = 0x06,
    SN_WILLTOPIC = 0x07,
    SN_WILLMSGREQ = 0x08,
    SN_WILLMSG = 0x09,
    SN_REGISTER = 0x0A,
    SN_REGACK = 0x0B,
    SN_PUBLISH = 0x0C,
    SN_PUBACK = 0x0D,
    SN_PUBCOMP = 0x0E,
    SN_PUBREC = 0x0F,
    SN_PUBREL = 0x10,
    SN_SUBSCRIBE = 0x12,
    SN_SUBACK = 0x13,
    SN_UNSUBSCRIBE = 0x14,
    SN_UNSUBACK = 0x15,
    SN_PINGREQ = 0x16,
    SN_PINGRESP = 0x17,
    SN_DISCONNECT = 0x18,
    SN_WILLTOPICUPD = 0x1A,
    SN_WILLTOPICRESP = 0x1B,
    SN_WILLMSGUPD = 0x1C,
    SN_WILLMSGRESP = 0x1D,
    SN_TYPE_COUNT = 0x1E, /* one past the last type of a plain message */
    SN_FORWARD = 0xFE,    /* encapsulated message, section 5.5 */
};

/* QoS bits as on the wire, section 5.3.4. */
enum sn_qos { SN_QOS_0 = 0, SN_QOS_1 = 1, SN_QOS_2 = 2, SN_QOS_MINUS_1 = 3 };

/* TopicIdType, section 5.3.4. In SUBSCRIBE and UNSUBSCRIBE, NORMAL means "a topic name follows". */
enum sn_topic_kind {
    SN_TOPIC_NORMAL = 0,
    SN_TOPIC_PREDEFINED = 1,
    SN_TOPIC_SHORT = 2,
    SN_TOPIC_RESERVED = 3,
};

/* ReturnCode, section 5.3.10; 04..FF are reserved. */
enum sn_return_code {
    SN_ACCEPTED = 0,
    SN_CONGESTION = 1,
    SN_INVALID_TOPIC_ID = 2,
    SN_NOT_SUPPORTED = 3,
};

enum {
    SN_PROTOCOL_ID = 1,
    SN_PACKET_MAX = 65535,    /* largest total a Length field can state */
    SN_SHORT_FORM_MAX = 255,  /* largest total with the one-octet Length */
    SN_NODE_ID_MAX = 252,     /* an envelope's Length is one octet */
    SN_TOPIC_ID_MIN = 0x0001, /* 0000 and FFFF are reserved, section 5.3.11 */
    SN_TOPIC_ID_MAX = 0xFFFE,
    SN_CLIENT_ID_MAX_12 = 23, /* the text's limit; the engine accepts more by configuration */
};

/* A decoded message. Fields that a message does not carry are zero. Views are never
 * NULL-terminated.
 *
 * `topic_id` also carries a short topic name, as its two octets in order (section 5.3.12). */
struct sn_packet {
    enum sn_type type;

    /* Flags octet, section 5.3.4; only the bits that the message uses (section 5.4) are decoded. */
    bool dup;
    bool retain;
    bool will;
    bool clean;
    enum sn_qos qos;
    enum sn_topic_kind topic_kind;

    uint16_t topic_id;
    uint16_t msg_id;
    uint16_t duration_s; /* CONNECT (keep alive), ADVERTISE, DISCONNECT */
    bool has_duration;   /* DISCONNECT: Duration is present */
    uint8_t return_code; /* any octet; above 03 treat as SN_NOT_SUPPORTED */
    uint8_t protocol_id; /* CONNECT */
    uint8_t gw_id;       /* ADVERTISE, GWINFO */
    uint8_t radius;      /* SEARCHGW; GWINFO to a forwarder: for Ctrl of its envelope */

    struct bytes client_id; /* CONNECT, PINGREQ (empty when absent) */
    struct bytes topic; /* REGISTER, SUBSCRIBE and UNSUBSCRIBE by name, WILLTOPIC, WILLTOPICUPD */
    struct bytes data;  /* PUBLISH data, WILLMSG, WILLMSGUPD, GWINFO gateway address */
};

/* Why a datagram is not a message. Each is a counter of the gateway. */
enum sn_decode_result {
    SN_DECODED = 0,
    SN_BAD_TRUNCATED, /* fewer octets than the header needs, or than Length states */
    SN_BAD_LENGTH,    /* impossible Length, or fewer than the datagram's octets (trailing ones) */
    SN_BAD_TYPE,      /* reserved MsgType */
    SN_BAD_BODY,      /* the body is shorter or longer than the message allows */
    SN_BAD_ENVELOPE,  /* forwarder envelope malformed or without content */
    SN_DECODE_RESULTS
};

/* Decodes exactly one plain message; `out` is undefined unless the result is SN_DECODED. A datagram
 * that starts with an envelope gives SN_BAD_ENVELOPE: open it with sn_envelope_decode() first.
 * Never reads outside `in`. O(1). */
enum sn_decode_result sn_decode(struct bytes in, struct sn_packet *out);

/* Encodes with the shortest Length form. Fields that the message does not carry are ignored.
 * Returns the octets written, 0 when `cap` is too small, the total would exceed SN_PACKET_MAX, or
 * `type` is not that of a plain message.
 * `buf` NULL computes the length only. O(data). */
size_t sn_encode(const struct sn_packet *p, uint8_t *buf, size_t cap);

/* "decoded", "truncated", "length", "type", "body", "envelope": for counters and logs. */
const char *sn_decode_result_name(enum sn_decode_result r);

/* Name of a message type as in the specification, or "RESERVED". Any octet is allowed. */
const char *sn_type_name(unsigned type);

/* ---- forwarder envelope ---------------------------------------------------------------------- */

struct sn_envelope {
    uint8_t radius;       /* Ctrl bits 1-0; reserved bits are ignored */
    struct bytes node_id; /* 0..252 octets, opaque */
    struct bytes inner;   /* what follows: a message, or another envelope */
};

/* True when the datagram claims to be an envelope (one-octet Length, type FE). */
bool sn_is_envelope(struct bytes in);

/* SN_DECODED, or SN_BAD_ENVELOPE. Opens one level. */
enum sn_decode_result sn_envelope_decode(struct bytes in, struct sn_envelope *out);

/* Writes the envelope's header; the inner message must follow. Returns octets written, 0 when it
 * does not fit or the node id is too long. */
size_t sn_envelope_encode(const struct sn_envelope *env, uint8_t *buf, size_t cap);

/* ---- print form ------------------------------------------------------------------------------ */

enum { SN_PRINT_MAX = 400 }; /* every line fits */

/* One line without newline, for logs and sennet-dump, e.g.
 *     PUBLISH dup=1 qos=1 retain=0 topic=normal:0x0021 msgid=5 data[2]="42"
 * Text is escaped (base/text.h); strings of more than 64 octets are cut with "...", and so is the
 * line when `size` is short. Always terminated; returns `out`. */
const char *sn_print(const struct sn_packet *p, char *out, size_t size);

#endif
