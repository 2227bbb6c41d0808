/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/sim_tap.h"

#include <stdlib.h>

/* MQTT 3.1.1 section 2.2.1: packet types in the upper four bits. */
enum {
    MQTT_CONNECT = 0x10,
    MQTT_CONNACK = 0x20,
    MQTT_PUBLISH = 0x30,
    MQTT_SUBSCRIBE = 0x82, /* with its reserved flags */
    MQTT_SUBACK = 0x90,
    MQTT_PINGRESP = 0xD0,
    TYPE_MASK = 0xF0,
    PUBLISH_QOS_MASK = 0x06,
    CLEAN_SESSION = 0x02,
    PROTOCOL_LEVEL = 4,
    REFUSED_FILTER = 0x80,
    LENGTH_OCTETS_MAX = 4,
};

bool tap_init(struct tap *t)
{
    *t = (struct tap){.buf = malloc(TAP_BUFFER)};
    return t->buf != NULL;
}

void tap_deinit(struct tap *t)
{
    free(t->buf);
    *t = (struct tap){0};
}

void tap_reset(struct tap *t)
{
    t->at = t->end = 0;
    t->is_broken = false;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_string(struct writer *w, struct bytes text)
{
    wr_u16(w, (uint16_t)text.len);
    wr_bytes(w, text);
}

static void put_header(struct writer *w, uint8_t type, size_t length)
{
    wr_u8(w, type);
    do {
        wr_u8(w, (uint8_t)((length & 127) | (length > 127 ? 128 : 0)));
        length >>= 7;
    } while (length > 0);
}

size_t tap_connect(uint8_t *out, size_t cap, struct bytes client_id)
{
    struct writer w = wr_to(out, cap);
    put_header(&w, MQTT_CONNECT, 10 + 2 + client_id.len);
    put_string(&w, bytes_str("MQTT"));
    wr_u8(&w, PROTOCOL_LEVEL);
    wr_u8(&w, CLEAN_SESSION);
    wr_u16(&w, 0); /* no keep alive: TCP on loopback or a LAN tells, and nothing is sent */
    put_string(&w, client_id);
    return wr_close(&w);
}

size_t tap_subscribe(uint8_t *out, size_t cap, uint16_t packet_id, struct bytes filter)
{
    struct writer w = wr_to(out, cap);
    put_header(&w, MQTT_SUBSCRIBE, 2 + 2 + filter.len + 1);
    wr_u16(&w, packet_id);
    put_string(&w, filter);
    wr_u8(&w, 0);
    return wr_close(&w);
}

/* ---- reading --------------------------------------------------------------------------------- */

uint8_t *tap_room(struct tap *t, size_t *room)
{
    if (t->at > 0) {
        memmove(t->buf, t->buf + t->at, t->end - t->at);
        t->end -= t->at;
        t->at = 0;
    }
    *room = TAP_BUFFER - t->end;
    return t->buf + t->end;
}

void tap_received(struct tap *t, size_t n)
{
    t->end += n;
}

/* The next whole packet. False when it has not all come, or never will (is_broken). */
static bool next_packet(struct tap *t, uint8_t *type, struct bytes *body)
{
    struct reader r = rd_of(bytes_of(t->buf + t->at, t->end - t->at));
    *type = rd_u8(&r);
    size_t length = 0;
    uint8_t octet = 0x80;
    for (unsigned i = 0; i < LENGTH_OCTETS_MAX && (octet & 0x80) != 0; i++) {
        octet = rd_u8(&r);
        length |= (size_t)(octet & 127) << (7 * i);
    }
    if (r.failed)
        return false;
    if ((octet & 0x80) != 0 || length > TAP_PACKET_MAX) {
        t->is_broken = true;
        return false;
    }
    *body = rd_bytes(&r, length);
    if (r.failed)
        return false;
    t->at = t->end - rd_left(&r);
    return true;
}

static enum tap_event broken(struct tap *t)
{
    t->is_broken = true;
    return TAP_BROKEN;
}

static enum tap_event read_publish(struct tap *t, uint8_t type, struct reader *r,
                                   struct bytes *topic, struct bytes *data)
{
    *topic = rd_bytes(r, rd_u16(r));
    *data = rd_rest(r);
    /* QoS 0 was subscribed, so nothing else may come. */
    return rd_close(r) && (type & PUBLISH_QOS_MASK) == 0 ? TAP_MESSAGE : broken(t);
}

enum tap_event tap_next(struct tap *t, struct bytes *topic, struct bytes *data)
{
    uint8_t type;
    struct bytes body;
    do {
        if (t->is_broken)
            return TAP_BROKEN;
        if (!next_packet(t, &type, &body))
            return t->is_broken ? TAP_BROKEN : TAP_NOTHING;
    } while (type == MQTT_PINGRESP);
    struct reader r = rd_of(body);
    if ((type & TYPE_MASK) == MQTT_PUBLISH)
        return read_publish(t, type, &r, topic, data);
    if (type != MQTT_CONNACK && type != MQTT_SUBACK)
        return broken(t);
    rd_bytes(&r, type == MQTT_CONNACK ? 1 : 2); /* session present; packet id */
    const uint8_t code = rd_u8(&r);
    if (!rd_close(&r))
        return broken(t);
    if (type == MQTT_CONNACK)
        return code == 0 ? TAP_CONNECTED : TAP_REFUSED;
    return (code & REFUSED_FILTER) != 0 ? TAP_REFUSED : TAP_SUBSCRIBED;
}
