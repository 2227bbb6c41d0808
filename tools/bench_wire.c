/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bench_wire.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_BYTES = 1 << 20,
    OUT_BYTES = 1 << 16, /* to begin with */
    OUT_BYTES_MAX = 1 << 28,
    PACKET_IDS = 65536,
    LENGTH_OCTETS_MAX = 4,
    HEADER_MAX = 1 + LENGTH_OCTETS_MAX,
};

/* MQTT 3.1.1 section 2.2.1, with reserved flags where a packet has them. */
enum {
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH = 0x30,
    PUBACK = 0x40,
    PUBREC = 0x50,
    PUBREL = 0x62,
    PUBCOMP = 0x70,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
    UNSUBSCRIBE = 0xA2,
    UNSUBACK = 0xB0,
    PINGREQ = 0xC0,
    PINGRESP = 0xD0,
    DISCONNECT = 0xE0,
    TYPE_MASK = 0xF0,
    CLEAN_SESSION = 0x02,
    MQTT_3_1_1 = 4, /* protocol levels */
    MQTT_5 = 5,
    REFUSED_FILTER = 0x80,
};

struct wire *wire_new(int fd, bool is_broker)
{
    struct wire *w = calloc(1, sizeof *w);
    if (w == NULL) {
        close(fd);
        return NULL;
    }
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *w = (struct wire){.fd = fd, .is_broker = is_broker, .out_cap = OUT_BYTES};
    w->in = malloc(IN_BYTES);
    w->out = malloc(w->out_cap);
    w->streams = calloc(PACKET_IDS, sizeof *w->streams);
    if (w->in != NULL && w->out != NULL && w->streams != NULL)
        return w;
    wire_free(w);
    errno = ENOMEM;
    return NULL;
}

void wire_free(struct wire *w)
{
    if (w == NULL)
        return;
    close(w->fd);
    free(w->in);
    free(w->out);
    free(w->streams);
    free(w);
}

int wire_dial(const struct sockaddr_in *to)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)to, sizeof *to) == 0 || errno == EINPROGRESS)
        return fd;
    const int error = -errno;
    close(fd);
    return error;
}

#define NOT_MQTT "what came is not MQTT"

static void give_up(struct wire *w, const char *why)
{
    if (!w->is_broken)
        w->why = why;
    w->is_broken = true;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* A writer with room for `len` octets behind what waits; out_more() ends it. */
static struct writer out_begin(struct wire *w, size_t len)
{
    if (w->out_at > 0 && w->out_cap - w->out_end < len) {
        memmove(w->out, w->out + w->out_at, w->out_end - w->out_at);
        w->out_end -= w->out_at;
        w->out_at = 0;
    }
    while (w->out_cap - w->out_end < len && w->out_cap < OUT_BYTES_MAX) {
        uint8_t *more = realloc(w->out, w->out_cap * 2);
        if (more == NULL)
            break;
        w->out = more;
        w->out_cap *= 2;
    }
    return wr_to(w->out + w->out_end, w->out_cap - w->out_end);
}

static void out_end(struct wire *w, const struct writer *writer)
{
    w->out_end += wr_close(writer);
    if (writer->failed)
        give_up(w, "it does not read what is sent to it");
}

static void put_header(struct writer *w, unsigned type, size_t length)
{
    wr_u8(w, (uint8_t)type);
    do {
        wr_u8(w, (uint8_t)((length & 127) | (length > 127 ? 128 : 0)));
        length >>= 7;
    } while (length > 0);
}

static void put_string(struct writer *w, struct bytes text)
{
    wr_u16(w, (uint16_t)text.len);
    wr_bytes(w, text);
}

/* MQTT 5 has a list of properties where MQTT 3 has nothing. */
static size_t no_properties(const struct wire *w)
{
    return w->is_v5 ? 1 : 0;
}

static void put_no_properties(const struct wire *w, struct writer *out)
{
    if (w->is_v5)
        wr_u8(out, 0);
}

static size_t get_length(struct reader *r)
{
    size_t length = 0;
    uint8_t octet = 0x80;
    for (unsigned i = 0; i < LENGTH_OCTETS_MAX && (octet & 0x80) != 0; i++) {
        octet = rd_u8(r);
        length |= (size_t)(octet & 127) << (7 * i);
    }
    return (octet & 0x80) == 0 ? length : SIZE_MAX;
}

static void skip_properties(const struct wire *w, struct reader *r)
{
    if (w->is_v5)
        rd_bytes(r, get_length(r));
}

static void answer(struct wire *w, unsigned type, uint16_t id)
{
    struct writer out = out_begin(w, HEADER_MAX);
    put_header(&out, type, 2);
    wr_u16(&out, id);
    out_end(w, &out);
}

void wire_connect(struct wire *w, const char *client_id)
{
    const struct bytes id = bytes_str(client_id);
    struct writer out = out_begin(w, HEADER_MAX + 12 + id.len);
    put_header(&out, CONNECT, 12 + id.len);
    put_string(&out, bytes_str("MQTT"));
    wr_u8(&out, MQTT_3_1_1);
    wr_u8(&out, CLEAN_SESSION);
    wr_u16(&out, 0); /* no keep alive */
    put_string(&out, id);
    out_end(w, &out);
}

static uint16_t next_id(struct wire *w)
{
    w->last_id = (uint16_t)(w->last_id == UINT16_MAX ? 1 : w->last_id + 1);
    return w->last_id;
}

void wire_subscribe(struct wire *w, const char *filter, int qos)
{
    const struct bytes text = bytes_str(filter);
    struct writer out = out_begin(w, HEADER_MAX + 5 + text.len);
    put_header(&out, SUBSCRIBE, 5 + text.len);
    wr_u16(&out, next_id(w));
    put_string(&out, text);
    wr_u8(&out, (uint8_t)qos);
    out_end(w, &out);
    w->unanswered++;
}

void wire_publish(struct wire *w, struct bytes topic, struct bytes payload, int qos,
                  uint32_t stream)
{
    const size_t length = 2 + topic.len + (qos > 0 ? 2 : 0) + no_properties(w) + payload.len;
    struct writer out = out_begin(w, HEADER_MAX + length);
    put_header(&out, PUBLISH | (unsigned)qos << 1, length);
    put_string(&out, topic);
    if (qos > 0) {
        const uint16_t id = next_id(w);
        wr_u16(&out, id);
        w->streams[id] = stream;
        w->unacknowledged++;
    }
    put_no_properties(w, &out);
    wr_bytes(&out, payload);
    out_end(w, &out);
}

bool wire_flush(struct wire *w)
{
    while (w->out_at < w->out_end && !w->is_broken) {
        const ssize_t n =
            send(w->fd, w->out + w->out_at, w->out_end - w->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            w->out_at += (size_t)n;
        } else if (errno == EAGAIN || errno == ENOTCONN) {
            w->blocked = true;
            return true;
        } else if (errno != EINTR) {
            give_up(w, strerror(errno));
        }
    }
    w->out_at = w->out_end = 0;
    w->blocked = false;
    return !w->is_broken;
}

/* ---- reading --------------------------------------------------------------------------------- */

bool wire_read(struct wire *w)
{
    if (w->in_at > 0) {
        memmove(w->in, w->in + w->in_at, w->in_end - w->in_at);
        w->in_end -= w->in_at;
        w->in_at = 0;
    }
    const ssize_t n = recv(w->fd, w->in + w->in_end, IN_BYTES - w->in_end, MSG_DONTWAIT);
    if (n > 0)
        w->in_end += (size_t)n;
    else if (n == 0)
        give_up(w, "it closed the MQTT connection");
    else if (errno != EAGAIN && errno != EINTR)
        give_up(w, strerror(errno));
    return !w->is_broken;
}

/* The next whole packet. False when it has not all come, or never will. */
static bool next_packet(struct wire *w, uint8_t *type, struct bytes *body)
{
    struct reader r = rd_of(bytes_of(w->in + w->in_at, w->in_end - w->in_at));
    *type = rd_u8(&r);
    const size_t length = get_length(&r);
    if (!r.failed && length > IN_BYTES - HEADER_MAX)
        give_up(w, "an MQTT packet too long");
    *body = rd_bytes(&r, length);
    if (r.failed || w->is_broken)
        return false;
    w->in_at = w->in_end - rd_left(&r);
    return true;
}

static void acknowledge_filters(struct wire *w, struct reader *r, bool subscribes)
{
    uint8_t granted[256];
    unsigned n = 0;
    const uint16_t id = rd_u16(r);
    skip_properties(w, r);
    while (rd_left(r) > 0 && n < sizeof granted) {
        rd_bytes(r, rd_u16(r));
        granted[n++] = subscribes ? rd_u8(r) : 0;
    }
    if (!rd_close(r))
        give_up(w, NOT_MQTT);
    if (!subscribes && !w->is_v5) {
        answer(w, UNSUBACK, id);
        return;
    }
    const size_t length = 2 + no_properties(w) + n;
    struct writer out = out_begin(w, HEADER_MAX + length);
    put_header(&out, subscribes ? SUBACK : UNSUBACK, length);
    wr_u16(&out, id);
    put_no_properties(w, &out);
    wr_bytes(&out, bytes_of(granted, n));
    out_end(w, &out);
}

static enum wire_event_type take_publish(struct wire *w, uint8_t flags, struct reader *r,
                                         struct wire_event *out)
{
    const unsigned qos = flags >> 1 & 3;
    rd_bytes(r, rd_u16(r)); /* the topic: the payload says whose it is */
    const uint16_t id = qos > 0 ? rd_u16(r) : 0;
    skip_properties(w, r);
    *out = (struct wire_event){.type = WIRE_MESSAGE, .payload = rd_rest(r)};
    if (r->failed || qos > 2) {
        give_up(w, NOT_MQTT);
        return WIRE_NOTHING;
    }
    if (qos > 0)
        answer(w, qos == 1 ? PUBACK : PUBREC, id);
    return WIRE_MESSAGE;
}

static enum wire_event_type settled(struct wire *w, struct reader *r, struct wire_event *out)
{
    const uint16_t id = rd_u16(r);
    *out = (struct wire_event){.type = WIRE_SETTLED, .stream = w->streams[id]};
    if (w->is_v5)
        rd_rest(r); /* a reason */
    if (!rd_close(r) || w->unacknowledged == 0) {
        give_up(w, "an MQTT acknowledgement of nothing");
        return WIRE_NOTHING;
    }
    w->unacknowledged--;
    return WIRE_SETTLED;
}

static void take_connect(struct wire *w, struct reader *r)
{
    rd_bytes(r, rd_u16(r)); /* "MQTT" */
    w->is_v5 = rd_u8(r) == MQTT_5;
    struct writer out = out_begin(w, HEADER_MAX + 3);
    put_header(&out, CONNACK, 2 + no_properties(w));
    wr_u16(&out, 0); /* accepted */
    put_no_properties(w, &out);
    out_end(w, &out);
    w->is_up = true;
}

static enum wire_event_type handle(struct wire *w, uint8_t type, struct reader *r,
                                   struct wire_event *out)
{
    if ((type & TYPE_MASK) == PUBLISH)
        return take_publish(w, type & (uint8_t)~TYPE_MASK, r, out);
    switch (type) {
    case PUBACK:
    case PUBCOMP:
        return settled(w, r, out);
    case PUBREC:
        answer(w, PUBREL, rd_u16(r));
        break;
    case PUBREL:
        answer(w, PUBCOMP, rd_u16(r));
        break;
    case CONNECT:
        take_connect(w, r);
        break;
    case CONNACK:
        w->is_up = (rd_u16(r) & 0xFF) == 0;
        if (!w->is_up)
            give_up(w, "it refuses the MQTT connection");
        break;
    case SUBSCRIBE:
    case UNSUBSCRIBE:
        acknowledge_filters(w, r, type == SUBSCRIBE);
        break;
    case SUBACK:
        rd_u16(r);
        if ((rd_u8(r) & REFUSED_FILTER) != 0 || w->unanswered == 0)
            give_up(w, "it refuses an MQTT subscription");
        w->unanswered -= w->unanswered > 0 ? 1 : 0;
        break;
    case PINGREQ: {
        struct writer answer_to = out_begin(w, 2);
        put_header(&answer_to, PINGRESP, 0);
        out_end(w, &answer_to);
        break;
    }
    case PINGRESP:
    case UNSUBACK:
        break;
    case DISCONNECT:
        give_up(w, "it ended the MQTT connection");
        break;
    default:
        give_up(w, NOT_MQTT);
    }
    if (r->failed)
        give_up(w, NOT_MQTT);
    return WIRE_NOTHING;
}

enum wire_event_type wire_next(struct wire *w, struct wire_event *out)
{
    uint8_t type;
    struct bytes body;
    enum wire_event_type event = WIRE_NOTHING;
    while (event == WIRE_NOTHING && !w->is_broken && next_packet(w, &type, &body)) {
        struct reader r = rd_of(body);
        event = handle(w, type, &r, out);
    }
    return event;
}
