/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of the emulated XBee and the two ways to them: AT frames, and the command mode of the
 * transparent mode. What is set is lost with the next reset unless WR has written it.
 */
#include "tools/emu/emu_xbee_priv.h"

enum { ZB = 1, OLD = 2, NEW = 4, ALL = ZB | OLD | NEW, RO = 8, SECRET = 16 };

enum at_status { AT_OK, AT_ERROR, AT_UNKNOWN, AT_BAD };

enum { GUARD_MS = 1000, COMMAND_MODE_MS = 10000, RESET_AFTER_MS = 20, FORM_MS = 2000 };

/* Rows of enum xbee_setting first, in its order. */
static const struct setting {
    char name[3];
    uint8_t flags; /* who knows it, and how */
    uint8_t width; /* of its value in octets */
    uint64_t min, max;
} settings[] = {
    {"AP", ALL,           1,  0,    2         },
    {"AO", ZB | NEW,      1,  0,    0x3F      },
    {"SH", ALL | RO,      4,  0,    0         },
    {"SL", ALL | RO,      4,  0,    0         },
    {"MY", ALL,           2,  0,    0xFFFF    },
    {"ID", ALL,           8,  0,    UINT64_MAX},
    {"OI", ZB | RO,       2,  0,    0         },
    {"OP", ZB | RO,       8,  0,    0         },
    {"CH", ALL,           1,  0x0B, 0x1A      },
    {"NP", ZB | NEW | RO, 2,  0,    0         },
    {"VR", ALL | RO,      2,  0,    0         },
    {"HV", ALL | RO,      2,  0,    0         },
    {"CE", ALL,           1,  0,    1         },
    {"EE", ALL,           1,  0,    1         },
    {"AI", ALL | RO,      1,  0,    0         },
    {"NH", ZB,            1,  0,    0xFF      },
    {"EO", ZB,            1,  0,    0xFF      },
    {"NJ", ZB,            1,  0,    0xFF      },
    {"ZS", ZB,            1,  0,    2         },
    {"NT", ALL,           2,  0x20, 0xFF      },
    {"SM", ALL,           1,  0,    5         },
    {"SP", ALL,           2,  0,    0xFFFF    },
    {"SN", ZB,            2,  1,    0xFFFF    },
    {"BD", ALL,           4,  0,    0x38400   },
    {"D6", ALL,           1,  0,    5         },
    {"D7", ALL,           1,  0,    5         },
    {"MM", OLD | NEW,     1,  0,    3         },
    {"RO", ALL,           1,  0,    0xFF      },
    {"A1", OLD | NEW,     1,  0,    0x0F      },
    {"A2", OLD | NEW,     1,  0,    0x0F      },
    {"DB", ALL | RO,      1,  0,    0         },
    {"DH", ALL,           4,  0,    UINT32_MAX},
    {"DL", ALL,           4,  0,    UINT32_MAX},
    {"PL", ALL,           1,  0,    4         },
    {"KY", ALL | SECRET,  16, 0,    UINT64_MAX},
    {"NK", ZB | SECRET,   16, 0,    UINT64_MAX},
};

static const int n_settings = sizeof settings / sizeof *settings;

_Static_assert(sizeof settings / sizeof *settings <= (size_t)XBEE_SETTINGS, "a value for each");

static unsigned family(const struct xbee *x)
{
    switch (xbee_model(x)) {
    case EMU_XBEE_ZIGBEE:
        return ZB;
    case EMU_XBEE_802154_NEW:
        return NEW;
    default:
        return OLD;
    }
}

static int find(const struct xbee *x, struct bytes name)
{
    for (int i = 0; i < n_settings; i++) {
        if ((settings[i].flags & family(x)) != 0 &&
            bytes_equal(name, bytes_of(settings[i].name, 2)))
            return i;
    }
    return -1;
}

/* ---- values ------------------------------------------------------------------------------------ */

static void set(uint64_t *values, const char *name, uint64_t value)
{
    for (int i = 0; i < n_settings; i++) {
        if (bytes_equal(bytes_str(name), bytes_of(settings[i].name, 2)))
            values[i] = value;
    }
}

void xbee_defaults(struct xbee *x, uint64_t *values)
{
    const struct emu_config *c = &x->emu.config;
    const bool zigbee = xbee_is_zigbee(x);
    const uint16_t pan_id = c->pan_id != 0 ? c->pan_id : zigbee ? 0x1A62 : 0x3332;
    memset(values, 0, XBEE_SETTINGS * sizeof *values);
    values[XBEE_SH] = c->eui64 >> 32;
    values[XBEE_SL] = c->eui64 & UINT32_MAX;
    values[XBEE_MY] =
        xbee_model(x) == EMU_XBEE_802154_LONG || xbee_model(x) == EMU_XBEE_802154_NEW ? 0xFFFE : 0;
    values[XBEE_ID] = zigbee ? 0 : pan_id;
    values[XBEE_OI] = pan_id;
    values[XBEE_OP] = UINT64_C(0xA5A5000000000000) | pan_id;
    values[XBEE_CH] = c->channel != 0 ? c->channel : 15;
    values[XBEE_VR] = zigbee ? 0x4060 : family(x) == NEW ? 0x200D : 0x10EF;
    values[XBEE_HV] = zigbee ? 0x2E46 : family(x) == NEW ? 0x4150 : 0x1744;
    values[XBEE_CE] = zigbee;
    values[XBEE_EE] = zigbee;
    values[XBEE_NH] = 0x1E;
    set(values, "NJ", 0xFF);
    set(values, "NT", 0x3C);
    set(values, "SP", 0x20);
    set(values, "SN", 1);
    set(values, "BD", 3);
    set(values, "D7", 1);
    set(values, "RO", 3);
    set(values, "PL", 4);
    set(values, "DB", 0x28);
}

static uint64_t value_of(const struct xbee *x, int i)
{
    if (i != XBEE_NP)
        return x->now[i];
    if (!xbee_is_zigbee(x))
        return x->now[XBEE_EE] != 0 ? 95 : 102;
    return x->now[XBEE_EE] != 0 ? 66 : 84;
}

static unsigned width_of(const struct xbee *x, int i)
{
    return i == XBEE_ID && !xbee_is_zigbee(x) ? 2 : settings[i].width;
}

/* What takes effect besides the number. */
static void applied(struct xbee *x, int64_t now_ms, int i)
{
    if (xbee_is_zigbee(x) && (i == XBEE_ID || i == XBEE_CE))
        xbee_form(x, now_ms, FORM_MS);
}

static void apply_queued(struct xbee *x, int64_t now_ms)
{
    for (int i = 0; i < n_settings; i++) {
        if (!x->is_queued[i])
            continue;
        x->is_queued[i] = false;
        x->now[i] = x->queued[i];
        applied(x, now_ms, i);
    }
}

/* ---- commands ---------------------------------------------------------------------------------- */

/* Those that do something. True when it was one. */
static bool act(struct xbee *x, int64_t now_ms, struct bytes name)
{
    if (bytes_equal(name, bytes_str("WR"))) {
        for (int i = 0; i < n_settings; i++)
            x->flash[i] = x->is_queued[i] ? x->queued[i] : x->now[i];
    } else if (bytes_equal(name, bytes_str("RE"))) {
        xbee_defaults(x, x->now);
    } else if (bytes_equal(name, bytes_str("AC"))) {
        apply_queued(x, now_ms);
    } else if (bytes_equal(name, bytes_str("FR"))) {
        x->reset_ms = now_ms + RESET_AFTER_MS;
        x->reset_status = 1;
    } else if (bytes_equal(name, bytes_str("NR")) && xbee_is_zigbee(x)) {
        xbee_form(x, now_ms, FORM_MS);
    } else {
        return false;
    }
    return true;
}

/* One command. `parameter` empty: a question; *answer gets the value's octets. */
static enum at_status command(struct xbee *x, int64_t now_ms, struct bytes name, bool queue,
                              struct bytes parameter, struct writer *answer)
{
    if (parameter.len == 0 && act(x, now_ms, name))
        return AT_OK;
    const int i = find(x, name);
    if (i < 0)
        return AT_UNKNOWN;
    const struct setting *s = &settings[i];
    if (parameter.len == 0) {
        const uint64_t value = value_of(x, i);
        for (unsigned k = width_of(x, i); k > 0 && (s->flags & SECRET) == 0; k--)
            wr_u8(answer, (uint8_t)(k > 8 ? 0 : value >> (k - 1) * 8));
        return AT_OK;
    }
    uint64_t value = 0;
    for (size_t k = 0; k < parameter.len; k++)
        value = value << 8 | parameter.data[k];
    if ((s->flags & RO) != 0)
        return AT_ERROR;
    if (parameter.len > s->width || value < s->min || value > s->max)
        return AT_BAD;
    x->queued[i] = value;
    x->is_queued[i] = true;
    if (!queue)
        apply_queued(x, now_ms);
    return AT_OK;
}

void xbee_at_frame(struct xbee *x, int64_t now_ms, bool queue, struct reader r)
{
    uint8_t room[64], value[16];
    const uint8_t id = rd_u8(&r);
    const struct bytes name = rd_bytes(&r, 2);
    const struct bytes parameter = rd_rest(&r);
    if (r.failed) {
        x->emu.bad_frames_in++;
        return;
    }
    struct writer answer = wr_to(value, sizeof value);
    const uint64_t mode = x->now[XBEE_AP];
    const enum at_status status = command(x, now_ms, name, queue, parameter, &answer);
    const uint64_t new_mode = x->now[XBEE_AP];
    struct writer w = wr_to(room, sizeof room);
    wr_u8(&w, 0x88);
    wr_u8(&w, id);
    wr_bytes(&w, name);
    wr_u8(&w, (uint8_t)status);
    wr_bytes(&w, bytes_of(value, answer.len));
    x->now[XBEE_AP] = mode; /* the answer is still in the mode of the question */
    if (id != 0)
        xbee_say(x, now_ms, bytes_of(room, w.len), true);
    x->now[XBEE_AP] = new_mode;
}

/* ---- command mode ------------------------------------------------------------------------------ */

static void say_text(struct xbee *x, int64_t now_ms, const char *text)
{
    emu_answer(&x->emu, now_ms, bytes_str(text));
}

static int digit(char c)
{
    static const char digits[] = "0123456789ABCDEF";
    if (c >= 'a' && c <= 'f')
        c = (char)(c - 'a' + 'A');
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Hexadecimal digits to octets; false when they are none. */
static bool read_hex(struct bytes text, uint8_t out[16], size_t *len)
{
    uint64_t value = 0;
    if (text.len > 16)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const int d = digit((char)text.data[i]);
        if (d < 0)
            return false;
        value = value << 4 | (uint64_t)d;
    }
    *len = (text.len + 1) / 2;
    for (size_t i = 0; i < *len; i++)
        out[i] = (uint8_t)(value >> (*len - 1 - i) * 8);
    return true;
}

/* "AP2": answers; false when it ends the command mode. */
static bool one_command(struct xbee *x, int64_t now_ms, struct bytes text)
{
    uint8_t parameter[16], value[16];
    size_t len = 0;
    struct reader r = rd_of(text);
    const struct bytes name = rd_bytes(&r, 2);
    if (bytes_equal(name, bytes_str("CN"))) {
        apply_queued(x, now_ms);
        say_text(x, now_ms, "OK\r");
        return false;
    }
    struct writer answer = wr_to(value, sizeof value);
    const bool good = !r.failed && read_hex(rd_rest(&r), parameter, &len) &&
                      command(x, now_ms, name, true, bytes_of(parameter, len), &answer) == AT_OK;
    if (!good) {
        say_text(x, now_ms, "ERROR\r");
        return true;
    }
    if (answer.len == 0) {
        say_text(x, now_ms, "OK\r");
        return true;
    }
    static const char digits[] = "0123456789ABCDEF";
    char out[40];
    size_t n = 0;
    for (size_t i = 0; i < 2 * answer.len; i++) {
        const unsigned d = (unsigned)value[i / 2] >> (i % 2 == 0 ? 4 : 0) & 15U;
        if (d != 0 || n > 0 || i + 1 == 2 * answer.len) /* without leading zeros */
            out[n++] = digits[d];
    }
    out[n++] = '\r';
    out[n] = '\0';
    say_text(x, now_ms, out);
    return true;
}

/* "ATAP2,WR,CN" */
static void command_line(struct xbee *x, int64_t now_ms)
{
    struct reader r = rd_of(bytes_of(x->line, x->line_len));
    const struct bytes at = rd_bytes(&r, 2);
    x->line_len = 0;
    x->command_end_ms = now_ms + COMMAND_MODE_MS;
    if (!bytes_equal(at, bytes_str("AT"))) {
        say_text(x, now_ms, "ERROR\r");
        return;
    }
    if (rd_left(&r) == 0) {
        say_text(x, now_ms, "OK\r");
        return;
    }
    while (rd_left(&r) > 0) {
        const struct bytes rest = bytes_of(r.at, rd_left(&r));
        const uint8_t *comma = memchr(rest.data, ',', rest.len);
        const size_t n = comma != NULL ? (size_t)(comma - rest.data) : rest.len;
        if (!one_command(x, now_ms, rd_bytes(&r, n))) {
            x->commanding = false;
            x->command_end_ms = TIME_NEVER;
        }
        rd_bytes(&r, comma != NULL);
    }
}

void xbee_at_octet(struct xbee *x, int64_t now_ms, uint8_t octet)
{
    const bool after_silence = now_ms - x->heard_ms >= GUARD_MS;
    x->heard_ms = now_ms;
    x->ok_ms = TIME_NEVER;
    if (x->commanding) {
        if (octet == '\r')
            command_line(x, now_ms);
        else if (x->line_len < XBEE_LINE)
            x->line[x->line_len++] = (char)octet;
        return;
    }
    const bool plus = octet == '+' && (x->pluses > 0 ? x->pluses < 3 : after_silence);
    if (!plus) {
        x->aired += x->pluses + 1;
        x->pluses = 0;
        return;
    }
    if (++x->pluses == 3)
        x->ok_ms = now_ms + GUARD_MS;
}

void xbee_at_advance(struct xbee *x, int64_t now_ms)
{
    if (x->ok_ms <= now_ms) {
        x->ok_ms = TIME_NEVER;
        x->pluses = 0;
        x->commanding = true;
        x->line_len = 0;
        x->command_end_ms = now_ms + COMMAND_MODE_MS;
        say_text(x, now_ms, "OK\r");
    }
    if (x->command_end_ms <= now_ms) {
        x->command_end_ms = TIME_NEVER;
        x->commanding = false;
        apply_queued(x, now_ms);
    }
}

int64_t xbee_at_deadline(const struct xbee *x)
{
    return time_min(x->ok_ms, x->command_end_ms);
}
