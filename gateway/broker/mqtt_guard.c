/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/mqtt_guard.h"

#include <stdio.h>
#include <stdlib.h>

enum packet {
    CONNECT = 1,
    CONNACK,
    PUBLISH,
    PUBACK,
    PUBREC,
    PUBREL,
    PUBCOMP,
    SUBSCRIBE,
    SUBACK,
    UNSUBSCRIBE,
    UNSUBACK,
    PINGREQ,
    PINGRESP,
    DISCONNECT,
    AUTH,
};

enum { FIRST_ERROR = 0x80, ID_MASK = 0xFFFF, KIND_SHIFT = 16, SLOTS_MIN = 8 };

/* ---- what is open: a hash table of packet ids, with what the broker owes for each ------------------ */

/* 0: nothing is open under that id. */
static enum packet owed(const struct guard *g, uint16_t id)
{
    if (g->slots == NULL || id == 0)
        return 0;
    for (unsigned i = id & (g->size - 1); g->slots[i] != 0; i = (i + 1) & (g->size - 1)) {
        if ((g->slots[i] & ID_MASK) == id)
            return (enum packet)(g->slots[i] >> KIND_SHIFT);
    }
    return 0;
}

static void put(uint32_t *slots, unsigned size, uint32_t value)
{
    unsigned i = value & (size - 1);
    while (slots[i] != 0 && (slots[i] & ID_MASK) != (value & ID_MASK))
        i = (i + 1) & (size - 1);
    slots[i] = value;
}

static bool make_room(struct guard *g)
{
    if (4 * (g->open + 1) <= g->size)
        return true;
    const unsigned size = g->size > 0 ? 2 * g->size : SLOTS_MIN;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (slots == NULL)
        return false;
    for (unsigned i = 0; i < g->size; i++) {
        if (g->slots[i] != 0)
            put(slots, size, g->slots[i]);
    }
    free(g->slots);
    g->slots = slots;
    g->size = size;
    return true;
}

static void owe(struct guard *g, uint16_t id, enum packet answer)
{
    const bool is_new = owed(g, id) == 0;
    if (id == 0 || (is_new && !make_room(g))) {
        g->blind = true;
        return;
    }
    g->open += is_new;
    put(g->slots, g->size, (uint32_t)answer << KIND_SHIFT | id);
}

/* What follows moves up, so that it is still found. */
static void settle(struct guard *g, uint16_t id)
{
    const unsigned mask = g->size - 1;
    unsigned hole = id & mask;
    while ((g->slots[hole] & ID_MASK) != id)
        hole = (hole + 1) & mask;
    for (unsigned i = (hole + 1) & mask; g->slots[i] != 0; i = (i + 1) & mask) {
        const unsigned home = g->slots[i] & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            g->slots[hole] = g->slots[i];
            hole = i;
        }
    }
    g->slots[hole] = 0;
    g->open--;
}

void guard_begin(struct guard *g, uint8_t level)
{
    guard_end(g);
    g->level = level;
}

void guard_end(struct guard *g)
{
    free(g->slots);
    *g = (struct guard){0};
}

void guard_sent(struct guard *g, uint8_t first, uint16_t id)
{
    const unsigned qos = first >> 1 & 3;

    switch (first >> 4) {
    case PUBLISH:
        if (qos > 0)
            owe(g, id, qos == 1 ? PUBACK : PUBREC);
        break;
    case PUBREL:
        owe(g, id, PUBCOMP);
        break;
    case SUBSCRIBE:
        owe(g, id, SUBACK);
        break;
    case UNSUBSCRIBE:
        owe(g, id, UNSUBACK);
        break;
    default:
        break;
    }
}

/* ---- the form of packets -------------------------------------------------------------------------- */

/* 1 to 4 octets of 7 bits each. */
static uint32_t rd_varint(struct reader *r)
{
    uint32_t value = 0;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        const uint8_t octet = rd_u8(r);
        value |= (uint32_t)(octet & 0x7F) << shift;
        if ((octet & 0x80) == 0)
            return value;
    }
    r->failed = true;
    return 0;
}

static void rd_string(struct reader *r)
{
    rd_bytes(r, rd_u16(r));
}

/* MQTT 5, 2.2.2.2. "n" and "N" are numbers of two and four octets that must not be 0: after a Receive
 * Maximum of 0 Paho would wait for ever. */
static void rd_property(struct reader *r)
{
    static const char kinds[] = {
        [0x01] = '1', [0x02] = '4', [0x03] = 's', [0x08] = 's', [0x09] = 's', [0x0B] = 'v',
        [0x11] = '4', [0x12] = 's', [0x13] = '2', [0x15] = 's', [0x16] = 's', [0x17] = '1',
        [0x18] = '4', [0x19] = '1', [0x1A] = 's', [0x1C] = 's', [0x1F] = 's', [0x21] = 'n',
        [0x22] = '2', [0x23] = '2', [0x24] = '1', [0x25] = '1', [0x26] = 'p', [0x27] = 'N',
        [0x28] = '1', [0x29] = '1', [0x2A] = '1',
    };

    const uint8_t id = rd_u8(r);
    switch (id < sizeof kinds ? kinds[id] : '\0') {
    case '1':
        rd_u8(r);
        break;
    case '2':
        rd_u16(r);
        break;
    case '4':
        rd_u32(r);
        break;
    case 'n':
        r->failed |= rd_u16(r) == 0;
        break;
    case 'N':
        r->failed |= rd_u32(r) == 0;
        break;
    case 'v':
        rd_varint(r);
        break;
    case 'p':
        rd_string(r);
        rd_string(r);
        break;
    case 's':
        rd_string(r);
        break;
    default:
        r->failed = true;
        break;
    }
}

static void rd_properties(struct reader *r, uint8_t level)
{
    if (level < 5)
        return;
    struct reader all = rd_of(rd_bytes(r, rd_varint(r)));
    while (!r->failed && rd_left(&all) > 0)
        rd_property(&all);
    r->failed |= all.failed;
}

struct parts {
    uint16_t id;
    uint8_t code; /* CONNACK, of an acknowledgement, or the first one */
    unsigned codes;
};

/* What MQTT 5 lets out when it is 0. */
static void rd_code_and_properties(struct reader *r, uint8_t level, struct parts *p)
{
    if (level < 5 || rd_left(r) == 0)
        return;
    p->code = rd_u8(r);
    if (rd_left(r) > 0)
        rd_properties(r, level);
}

static void rd_codes(struct reader *r, struct parts *p)
{
    p->codes = (unsigned)rd_left(r);
    p->code = p->codes > 0 ? rd_u8(r) : 0;
    rd_rest(r);
}

/* True: it is well-formed. */
static bool take_apart(uint8_t first, struct bytes rest, uint8_t level, struct parts *p)
{
    struct reader r = rd_of(rest);

    switch (first >> 4) {
    case CONNACK:
        rd_u8(&r);
        p->code = rd_u8(&r);
        if (rd_left(&r) > 0) /* brokers of 3.1.1 refuse an MQTT 5 client in two octets */
            rd_properties(&r, level);
        break;
    case PUBLISH:
        rd_string(&r);
        if ((first >> 1 & 3) > 0)
            p->id = rd_u16(&r);
        rd_properties(&r, level);
        rd_rest(&r);
        break;
    case PUBACK:
    case PUBREC:
    case PUBREL:
    case PUBCOMP:
        p->id = rd_u16(&r);
        rd_code_and_properties(&r, level, p);
        break;
    case SUBACK:
        p->id = rd_u16(&r);
        rd_properties(&r, level);
        rd_codes(&r, p);
        break;
    case UNSUBACK:
        p->id = rd_u16(&r);
        rd_properties(&r, level);
        if (level >= 5)
            rd_codes(&r, p);
        break;
    case DISCONNECT:
        rd_code_and_properties(&r, level, p);
        break;
    case PINGRESP:
        break;
    default: /* judged by its name */
        rd_rest(&r);
        break;
    }
    return rd_close(&r);
}

/* ---- judging --------------------------------------------------------------------------------------- */

static const char *name_of(unsigned packet)
{
    static const char *const names[] = {
        [CONNECT] = "CONNECT",         [CONNACK] = "CONNACK",       [PUBLISH] = "PUBLISH",
        [PUBACK] = "PUBACK",           [PUBREC] = "PUBREC",         [PUBREL] = "PUBREL",
        [PUBCOMP] = "PUBCOMP",         [SUBSCRIBE] = "SUBSCRIBE",   [SUBACK] = "SUBACK",
        [UNSUBSCRIBE] = "UNSUBSCRIBE", [UNSUBACK] = "UNSUBACK",     [PINGREQ] = "PINGREQ",
        [PINGRESP] = "PINGRESP",       [DISCONNECT] = "DISCONNECT", [AUTH] = "AUTH",
    };

    return packet > 0 && packet < sizeof names / sizeof names[0] ? names[packet] : "a packet";
}

static enum guard_verdict broken(char why[GUARD_WHY_MAX], uint8_t first, const char *what)
{
    snprintf(why, GUARD_WHY_MAX, "the broker broke the rules of MQTT: %s %s", name_of(first >> 4),
             what);
    return GUARD_BROKEN;
}

/* Brokers have it from each other to answer QoS 2 with PUBACK. */
static enum guard_verdict mismatch(char why[GUARD_WHY_MAX], uint8_t first, enum packet awaited)
{
    char what[64];

    if (first >> 4 == PUBACK && (awaited == PUBREC || awaited == PUBCOMP))
        snprintf(what, sizeof what, "answers a PUBLISH of QoS 2 (use max_qos = 1)");
    else
        snprintf(what, sizeof what, "came where %s is due", name_of(awaited));
    return broken(why, first, what);
}

static enum guard_verdict judge_ack(struct guard *g, uint8_t first, const struct parts *p,
                                    char why[GUARD_WHY_MAX])
{
    const enum packet type = first >> 4;
    const enum packet awaited = owed(g, p->id);

    if (g->blind) /* it may be of what was not noted */
        return broken(why, first, "can't be checked: out of memory");
    if (awaited == 0)
        return GUARD_IGNORE;
    /* Old brokers repeat PUBREC until there is a PUBREL. It is too late for an error. */
    if (type == PUBREC && awaited == PUBCOMP && p->code < FIRST_ERROR)
        return GUARD_PASS;
    if (type != awaited)
        return mismatch(why, first, awaited);
    if ((type == SUBACK || (type == UNSUBACK && g->level >= 5)) && p->codes != 1)
        return broken(why, first, "has not one code for one filter");
    if (type == SUBACK && p->code > 2 && p->code < FIRST_ERROR)
        return broken(why, first, "grants a QoS that there is not");
    if (type == PUBREC && p->code < FIRST_ERROR)
        owe(g, p->id, PUBCOMP);
    else
        settle(g, p->id);
    return GUARD_PASS;
}

enum guard_verdict guard_received(struct guard *g, uint8_t first, struct bytes rest,
                                  char why[GUARD_WHY_MAX])
{
    const enum packet type = first >> 4;
    struct parts p = {0};

    if (g->level == 0)
        return GUARD_PASS;
    if ((type == CONNACK) == g->welcomed)
        return broken(why, first, g->welcomed ? "came again" : "came before CONNACK");
    if (!take_apart(first, rest, g->level, &p))
        return broken(why, first, "is malformed");
    switch ((unsigned)type) {
    case CONNACK:
        g->welcomed = true;
        return GUARD_PASS;
    case PUBLISH:
        return (first >> 1 & 3) < 3 ? GUARD_PASS : broken(why, first, "has QoS 3");
    case PUBREL:
    case PINGRESP:
        return GUARD_PASS;
    case PUBACK:
    case PUBREC:
    case PUBCOMP:
    case SUBACK:
    case UNSUBACK:
        return judge_ack(g, first, &p, why);
    case DISCONNECT:
        return g->level >= 5 ? GUARD_PASS : broken(why, first, "is not the broker's to send");
    default:
        return broken(why, first, "is not the broker's to send");
    }
}
