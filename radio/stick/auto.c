/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which family answers? Asks each in turn, in an order in which no question does harm to the others
 * (radio reference, J.3), and tells STICK_EV_FAMILY. XBee comes last: in transparent mode it sends
 * every octet that it gets on air, so a port whose name says XBee should never be asked this way.
 */
#include "radio/stick/core.h"

enum { WINDOW = 128 };

struct question {
    const char *family;
    int32_t baud;
    uint16_t pause_ms; /* of silence before */
    uint16_t wait_ms;  /* for the answer */
    uint8_t len;
    uint8_t octets[16];
};

#define RESET                                                                                      \
    5,                                                                                             \
    {                                                                                              \
        0x1A, 0xC0, 0x38, 0xBC, 0x7E                                                               \
    }
#define PING                                                                                       \
    5,                                                                                             \
    {                                                                                              \
        0xFE, 0x00, 0x21, 0x01, 0x20                                                               \
    }
/* The boot loader of CC253x waits for this octet before it lets the firmware start. */
#define SKIP                                                                                       \
    6,                                                                                             \
    {                                                                                              \
        0xEF, 0xFE, 0x00, 0x21, 0x01, 0x20                                                         \
    }
#define VERSION                                                                                    \
    13,                                                                                            \
    {                                                                                              \
        0xC0, 0x0D, 0x01, 0, 0x09, 0, 0, 0, 0, 0, 0xE9, 0xFF, 0xC0                                 \
    }
#define AP                                                                                         \
    8,                                                                                             \
    {                                                                                              \
        0x7E, 0x00, 0x04, 0x08, 0x01, 0x41, 0x50, 0x65                                             \
    }

/* clang-format off */
static const struct question questions[] = {
    {"ezsp",   115200,    0, 1500, RESET},
    {"znp",    115200,    0, 1000, PING},
    {"znp",    115200,    0, 2000, SKIP},
    {"deconz", 115200,    0, 1000, VERSION},
    {"deconz",  38400,    0, 1000, VERSION},
    {"ezsp",    57600,    0, 1500, RESET},
    {"ezsp",   460800,    0, 1500, RESET},
    {"xbee",     9600,  250, 1000, AP}, /* the questions before left an XBee in the midst of a frame */
    {"xbee",     9600,    0, 1000, AP},
    {"xbee",    38400,  250, 1000, AP},
    {"xbee",    57600,  250, 1000, AP},
    {"xbee",   115200,  250, 1000, AP},
};

/* clang-format on */

enum { QUESTIONS = sizeof questions / sizeof questions[0], USUAL_BAUD = 115200 };

/* A speed that somebody configured comes first: each family is asked at that. */
struct auto_stick {
    struct stick s;
    uint8_t order[2 * QUESTIONS]; /* indices of questions */
    size_t n, n_configured;
    size_t at;
    bool asked;
    int64_t deadline_ms;
    uint8_t heard[WINDOW]; /* the latest octets since it was asked */
    size_t n_heard;
};

static struct auto_stick *self(struct stick *s)
{
    return container_of(s, struct auto_stick, s);
}

static const struct question *current(const struct auto_stick *a)
{
    return &questions[a->order[a->at]];
}

static int32_t baud_at(const struct auto_stick *a, size_t at)
{
    return at < a->n_configured ? (int32_t)a->s.config.baud : questions[a->order[at]].baud;
}

static void plan(struct auto_stick *a)
{
    const int32_t baud = (int32_t)a->s.config.baud;
    a->n = 0;
    for (size_t i = 0; i < QUESTIONS; i++) {
        if (baud != 0 && baud != USUAL_BAUD && questions[i].baud == USUAL_BAUD)
            a->order[a->n++] = (uint8_t)i;
    }
    a->n_configured = a->n;
    for (size_t i = 0; i < QUESTIONS; i++)
        a->order[a->n++] = (uint8_t)i;
}

static void ask(struct auto_stick *a, int64_t now_ms)
{
    const struct question *q = current(a);
    a->asked = true;
    a->n_heard = 0;
    a->deadline_ms = now_ms + q->wait_ms;
    stick_write(&a->s, bytes_of(q->octets, q->len));
}

static void prepare(struct auto_stick *a, int64_t now_ms)
{
    const struct question *q = current(a);
    const int32_t baud = baud_at(a, a->at);
    if (a->at == 0 || baud_at(a, a->at - 1) != baud)
        stick_set_port(&a->s, (struct stick_port){.baud = baud, .dtr = -1, .rts = -1});
    a->asked = false;
    a->deadline_ms = now_ms + q->pause_ms;
    if (q->pause_ms == 0)
        ask(a, now_ms);
}

/* ---- answers ----------------------------------------------------------------------------------- */

/* RSTACK, version 2: C1 02 code, two octets of CRC that may be stuffed, flag. */
static bool is_rstack(struct bytes in)
{
    if (in.len < 6 || in.data[0] != 0xC1 || in.data[1] != 0x02)
        return false;
    for (size_t i = 5; i < in.len && i < 9; i++) {
        if (in.data[i] == 0x7E)
            return true;
    }
    return false;
}

/* The answer to SYS_PING: two octets of capabilities. */
static bool is_pong(struct bytes in)
{
    static const uint8_t head[] = {0xFE, 0x02, 0x61, 0x01};
    return in.len >= 7 && memcmp(in.data, head, sizeof head) == 0 &&
           (0x02 ^ 0x61 ^ 0x01 ^ in.data[4] ^ in.data[5]) == in.data[6];
}

static bool is_version(struct bytes in)
{
    static const uint8_t head[] = {0xC0, 0x0D, 0x01, 0x00, 0x09, 0x00};
    return in.len >= sizeof head && memcmp(in.data, head, sizeof head) == 0;
}

/* An AT response to AP: whatever its status, it is one. */
static bool is_at_response(struct bytes in)
{
    static const uint8_t head[] = {0x88, 0x01, 0x41, 0x50};
    return in.len >= 7 && in.data[0] == 0x7E && in.data[1] == 0 &&
           memcmp(in.data + 3, head, sizeof head) == 0;
}

static bool is_answered(const struct auto_stick *a)
{
    static const struct {
        const char *family;
        bool (*is)(struct bytes in);
    } answers[] = {
        {"ezsp",   is_rstack     },
        {"znp",    is_pong       },
        {"deconz", is_version    },
        {"xbee",   is_at_response},
    };

    const struct bytes family = bytes_str(current(a)->family);
    for (size_t k = 0; k < sizeof answers / sizeof answers[0]; k++) {
        if (!bytes_equal(family, bytes_str(answers[k].family)))
            continue;
        for (size_t i = 0; i < a->n_heard; i++) {
            if (answers[k].is(bytes_of(a->heard + i, a->n_heard - i)))
                return true;
        }
    }
    return false;
}

static void on_input(struct stick *s, int64_t now_ms, struct bytes in)
{
    struct auto_stick *a = self(s);
    if (!a->asked)
        return;
    for (size_t i = 0; i < in.len; i++) {
        if (a->n_heard == WINDOW) {
            memmove(a->heard, a->heard + WINDOW / 2, WINDOW / 2);
            a->n_heard = WINDOW / 2;
        }
        a->heard[a->n_heard++] = in.data[i];
    }
    if (!is_answered(a))
        return;
    const struct question *q = current(a);
    const int32_t baud = baud_at(a, a->at);
    a->deadline_ms = TIME_NEVER;
    stick_log(s, LOG_NOTICE, "auto.found", "a stick of family %s answers at %ld baud", q->family,
              (long)baud);
    stick_identified(s, now_ms, q->family, baud);
}

/* ---- the driver -------------------------------------------------------------------------------- */

static void on_init(struct stick *s)
{
    self(s)->deadline_ms = TIME_NEVER;
}

static void on_opened(struct stick *s, int64_t now_ms)
{
    self(s)->at = 0;
    plan(self(s));
    prepare(self(s), now_ms);
}

static void on_closed(struct stick *s)
{
    self(s)->deadline_ms = TIME_NEVER;
}

static void on_advance(struct stick *s, int64_t now_ms)
{
    struct auto_stick *a = self(s);
    if (!a->asked) {
        ask(a, now_ms);
        return;
    }
    if (++a->at < a->n) {
        prepare(a, now_ms);
        return;
    }
    a->deadline_ms = TIME_NEVER;
    stick_reopen(s, now_ms,
                 "no stick of a known family answers. Is it the right device? Does it have "
                 "coordinator firmware with a serial interface (not OpenThread RCP, CPC or a "
                 "router)? If you know what it is, set driver = znp, ezsp, deconz, xbee or serial");
}

static int64_t next_deadline(const struct stick *s)
{
    return ((const struct auto_stick *)(const void *)s)->deadline_ms; /* its first member */
}

/* Never: it is never up. */
static void on_transmit(struct stick *s, int64_t now_ms, struct stick_send *send)
{
    stick_verdict(s, now_ms, send->id, VERDICT_REFUSED, 0);
}

const struct stick_driver stick_auto = {
    .name = "auto",
    .size = sizeof(struct auto_stick),
    .reports = true,
    .init = on_init,
    .opened = on_opened,
    .closed = on_closed,
    .input = on_input,
    .advance = on_advance,
    .next_deadline = next_deadline,
    .transmit = on_transmit,
};
