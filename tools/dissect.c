/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/dissect.h"

enum { MOST_SHOWN = 64 };

void dissect(struct bytes datagram, const char *reason, struct dissection *out)
{
    *out = (struct dissection){.rest = datagram, .malformed = reason};
    while (out->malformed == NULL && sn_is_envelope(out->rest)) {
        struct sn_envelope env;
        if (out->n_envelopes == DISSECT_ENVELOPES_MAX) {
            out->malformed = "depth";
        } else if (sn_envelope_decode(out->rest, &env) != SN_DECODED) {
            out->malformed = sn_decode_result_name(SN_BAD_ENVELOPE);
        } else {
            out->envelopes[out->n_envelopes++] = env;
            out->rest = env.inner;
        }
    }
    if (out->malformed == NULL) {
        const enum sn_decode_result result = sn_decode(out->rest, &out->packet);
        out->malformed = result == SN_DECODED ? NULL : sn_decode_result_name(result);
    }
}

void dissect_text(const struct dissection *d, struct text *t)
{
    for (unsigned i = 0; i < d->n_envelopes; i++) {
        text_word(t, "FORWARD radius=");
        text_dec(t, d->envelopes[i].radius);
        text_word(t, " node=");
        text_octets(t, d->envelopes[i].node_id);
        text_word(t, " [");
    }
    if (d->malformed == NULL) {
        char line[SN_PRINT_MAX];
        text_word(t, sn_print(&d->packet, line, sizeof line));
    } else {
        text_word(t, "MALFORMED reason=");
        text_word(t, d->malformed);
        text_word(t, " octets[");
        text_dec(t, d->rest.len);
        text_word(t, "]=");
        text_octets(t, bytes_of(d->rest.data, d->rest.len < MOST_SHOWN ? d->rest.len : MOST_SHOWN));
        if (d->rest.len > MOST_SHOWN)
            text_word(t, "...");
    }
    for (unsigned i = 0; i < d->n_envelopes; i++)
        text_word(t, "]");
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void put_number(FILE *out, const char *key, long value)
{
    fprintf(out, ",\"%s\":%ld", key, value);
}

static void put_bool(FILE *out, const char *key, bool value)
{
    fprintf(out, ",\"%s\":%s", key, value ? "true" : "false");
}

static void put_hex(FILE *out, const char *key, struct bytes value)
{
    fprintf(out, ",\"%s\":\"", key);
    for (size_t i = 0; i < value.len; i++)
        fprintf(out, "%02x", value.data[i]);
    fputc('"', out);
}

static void put_octets(FILE *out, const char *key, struct bytes value)
{
    if (!bytes_is_utf8(value)) {
        char with_suffix[32];
        snprintf(with_suffix, sizeof with_suffix, "%s_hex", key);
        put_hex(out, with_suffix, value);
        return;
    }
    fprintf(out, ",\"%s\":\"", key);
    for (size_t i = 0; i < value.len; i++) {
        const uint8_t c = value.data[i];
        if (c < 0x20 || c == 0x7F)
            fprintf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void put_qos(FILE *out, const struct sn_packet *p)
{
    put_number(out, "qos", p->qos == SN_QOS_MINUS_1 ? -1 : (long)p->qos);
}

static void put_topic_kind(FILE *out, const struct sn_packet *p)
{
    static const char *const names[] = {"normal", "predefined", "short", "reserved"};
    fprintf(out, ",\"topic_kind\":\"%s\"", names[(unsigned)p->topic_kind & 3]);
}

static void put_topic_id(FILE *out, const struct sn_packet *p)
{
    put_number(out, "topic_id", p->topic_id);
}

static void put_msg_id(FILE *out, const struct sn_packet *p)
{
    put_number(out, "msg_id", p->msg_id);
}

static void put_short_or_id(FILE *out, const struct sn_packet *p)
{
    const uint8_t name[2] = {(uint8_t)(p->topic_id >> 8), (uint8_t)p->topic_id};
    if (p->topic_kind == SN_TOPIC_SHORT)
        put_octets(out, "topic", bytes_of(name, sizeof name));
    else
        put_topic_id(out, p);
}

static void put_acknowledgement(FILE *out, const struct sn_packet *p)
{
    if (p->type == SN_SUBACK)
        put_qos(out, p);
    put_topic_id(out, p);
    put_msg_id(out, p);
    put_number(out, "return_code", p->return_code);
}

static void put_publish(FILE *out, const struct sn_packet *p)
{
    put_bool(out, "dup", p->dup);
    put_qos(out, p);
    put_bool(out, "retain", p->retain);
    put_topic_kind(out, p);
    put_short_or_id(out, p);
    put_msg_id(out, p);
    put_octets(out, "data", p->data);
}

static void put_subscription(FILE *out, const struct sn_packet *p)
{
    if (p->type == SN_SUBSCRIBE) {
        put_bool(out, "dup", p->dup);
        put_qos(out, p);
    }
    put_topic_kind(out, p);
    put_msg_id(out, p);
    if (p->topic_kind == SN_TOPIC_PREDEFINED || p->topic_kind == SN_TOPIC_SHORT)
        put_short_or_id(out, p);
    else
        put_octets(out, "topic", p->topic);
}

static void put_connect(FILE *out, const struct sn_packet *p)
{
    put_bool(out, "will", p->will);
    put_bool(out, "clean", p->clean);
    put_number(out, "protocol_id", p->protocol_id);
    put_number(out, "duration", p->duration_s);
    put_octets(out, "client_id", p->client_id);
}

static void put_will_topic(FILE *out, const struct sn_packet *p)
{
    put_qos(out, p);
    put_bool(out, "retain", p->retain);
    put_octets(out, "topic", p->topic);
}

static void put_fields(FILE *out, const struct sn_packet *p)
{
    switch (p->type) {
    case SN_ADVERTISE:
        put_number(out, "gw_id", p->gw_id);
        put_number(out, "duration", p->duration_s);
        break;
    case SN_SEARCHGW:
        put_number(out, "radius", p->radius);
        break;
    case SN_GWINFO:
        put_number(out, "gw_id", p->gw_id);
        put_hex(out, "gw_add_hex", p->data);
        break;
    case SN_CONNECT:
        put_connect(out, p);
        break;
    case SN_WILLTOPIC:
    case SN_WILLTOPICUPD:
        put_will_topic(out, p);
        break;
    case SN_WILLMSG:
    case SN_WILLMSGUPD:
        put_octets(out, "data", p->data);
        break;
    case SN_REGISTER:
        put_topic_id(out, p);
        put_msg_id(out, p);
        put_octets(out, "topic", p->topic);
        break;
    case SN_PUBLISH:
        put_publish(out, p);
        break;
    case SN_SUBSCRIBE:
    case SN_UNSUBSCRIBE:
        put_subscription(out, p);
        break;
    case SN_SUBACK:
    case SN_REGACK:
    case SN_PUBACK:
        put_acknowledgement(out, p);
        break;
    case SN_CONNACK:
    case SN_WILLTOPICRESP:
    case SN_WILLMSGRESP:
        put_number(out, "return_code", p->return_code);
        break;
    case SN_PUBREC:
    case SN_PUBREL:
    case SN_PUBCOMP:
    case SN_UNSUBACK:
        put_msg_id(out, p);
        break;
    case SN_PINGREQ:
        if (p->client_id.len > 0)
            put_octets(out, "client_id", p->client_id);
        break;
    case SN_DISCONNECT:
        if (p->has_duration)
            put_number(out, "duration", p->duration_s);
        break;
    case SN_WILLTOPICREQ:
    case SN_WILLMSGREQ:
    case SN_PINGRESP:
    case SN_TYPE_COUNT:
    case SN_FORWARD:
        break;
    }
}

void dissect_json(const struct dissection *d, FILE *out)
{
    for (unsigned i = 0; i < d->n_envelopes; i++) {
        fputs(i == 0 ? ",\"envelopes\":[{" : ",{", out);
        fprintf(out, "\"radius\":%u", d->envelopes[i].radius);
        put_hex(out, "node_hex", d->envelopes[i].node_id);
        fputs(i + 1 < d->n_envelopes ? "}" : "}]", out);
    }
    if (d->malformed != NULL) {
        fprintf(out, ",\"malformed\":\"%s\"", d->malformed);
        put_hex(out, "octets_hex", d->rest);
    } else {
        fprintf(out, ",\"type\":\"%s\"", sn_type_name((unsigned)d->packet.type));
        put_fields(out, &d->packet);
    }
}
