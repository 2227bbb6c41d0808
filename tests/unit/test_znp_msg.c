/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/golden/stick/znp.txt against the codec of the ZNP driver, in both directions, and what its
 * decoders do with every shorter message. One Check test per vector.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "radio/stick/znp_frame.h"
#include "radio/stick/znp_msg.h"
#include "unit/golden.h"
#include "unit/suite.h"

enum { WORDS_MAX = 10, VECTORS = 70, LINE_MAX = 1024 };

static struct golden_file golden;

/* ---- to the stick ------------------------------------------------------------------------------ */

struct words {
    char *word[WORDS_MAX];
    unsigned n;
};

static uint64_t number(const struct words *w, unsigned i)
{
    ck_assert_uint_lt(i, w->n);
    return strtoull(w->word[i], NULL, 16);
}

static void put_data_words(struct writer *out, const struct words *w, bool ext)
{
    const unsigned at = ext ? 2 : 1;
    size_t len;
    uint8_t *payload = golden_octets(w->word[at + 6], &len);
    const struct znp_data data = {
        .mode = (uint8_t)(ext ? number(w, 1) : 0),
        .to = number(w, at),
        .endpoint_to = (uint8_t)number(w, at + 1),
        .endpoint = (uint8_t)number(w, at + 1),
        .cluster = (uint16_t)number(w, at + 2),
        .id = (uint8_t)number(w, at + 3),
        .options = (uint8_t)number(w, at + 4),
        .radius = (uint8_t)number(w, at + 5),
        .payload = bytes_of(payload, len),
    };
    if (ext)
        znp_put_data_ext(out, &data);
    else
        znp_put_data(out, &data);
    free(payload);
}

static void put_value_words(struct writer *out, const struct words *w,
                            void (*put)(struct writer *, uint16_t, struct bytes))
{
    size_t len;
    uint8_t *value = golden_octets(w->word[2], &len);
    put(out, (uint16_t)number(w, 1), bytes_of(value, len));
    free(value);
}

static void put_write(struct writer *out, uint16_t id, struct bytes value)
{
    znp_put_nv_write(out, true, id, value);
}

static void put_write_old(struct writer *out, uint16_t id, struct bytes value)
{
    znp_put_nv_write(out, false, id, value);
}

/* Requests whose data is nothing, or words of the file as they are. */
static const struct simple {
    const char *word;
    uint16_t cmd;
    uint8_t width; /* of the one value */
} simple[] = {
    {"ping",        ZNP_PING,             0},
    {"version",     ZNP_VERSION,          0},
    {"device-info", ZNP_DEVICE_INFO,      0},
    {"nwk-info",    ZNP_EXT_NWK_INFO,     0},
    {"nv-length",   ZNP_NV_LENGTH,        2},
    {"startup",     ZNP_STARTUP_FROM_APP, 2},
    {"msg-cb",      ZNP_MSG_CB_REGISTER,  2},
    {"lookup",      ZNP_NWK_LOOKUP,       2},
};

static uint16_t put_simple(struct writer *out, const struct words *w)
{
    for (size_t i = 0; i < sizeof simple / sizeof simple[0]; i++) {
        if (strcmp(w->word[0], simple[i].word) != 0)
            continue;
        if (simple[i].width == 2)
            wr_u16_le(out, (uint16_t)number(w, 1));
        return simple[i].cmd;
    }
    return 0;
}

static uint16_t put_words(struct writer *out, const struct words *w)
{
    const char *what = w->word[0];
    const uint16_t cmd = put_simple(out, w);
    if (cmd != 0)
        return cmd;
    if (strcmp(what, "reset") == 0)
        return wr_u8(out, 1), ZNP_RESET_REQ;
    if (strcmp(what, "bdb-start") == 0)
        return wr_u8(out, ZNP_BDB_FORMATION), ZNP_BDB_START;
    if (strcmp(what, "nv-read") == 0)
        return znp_put_nv_read(out, true, (uint16_t)number(w, 1)), ZNP_NV_READ_EXT;
    if (strcmp(what, "nv-read-old") == 0)
        return znp_put_nv_read(out, false, (uint16_t)number(w, 1)), ZNP_NV_READ;
    if (strcmp(what, "nv-write") == 0)
        return put_value_words(out, w, put_write), ZNP_NV_WRITE_EXT;
    if (strcmp(what, "nv-write-old") == 0)
        return put_value_words(out, w, put_write_old), ZNP_NV_WRITE;
    if (strcmp(what, "nv-init") == 0)
        return put_value_words(out, w, znp_put_nv_init), ZNP_NV_ITEM_INIT;
    if (strcmp(what, "set-channel") == 0)
        return znp_put_set_channel(out, number(w, 1) != 0, (uint32_t)number(w, 2)),
               ZNP_BDB_SET_CHANNEL;
    if (strcmp(what, "register") == 0)
        return znp_put_register(out, (uint8_t)number(w, 1), (uint16_t)number(w, 2),
                                (uint16_t)number(w, 3)),
               ZNP_REGISTER;
    if (strcmp(what, "permit-join") == 0)
        return znp_put_permit_join(out, (uint8_t)number(w, 1), (uint16_t)number(w, 2),
                                   (uint8_t)number(w, 3)),
               ZNP_PERMIT_JOIN_REQ;
    if (strcmp(what, "route") == 0)
        return znp_put_route_disc(out, (uint16_t)number(w, 1)), ZNP_EXT_ROUTE_DISC;
    if (strcmp(what, "nwk-addr") == 0)
        return znp_put_nwk_addr(out, number(w, 1)), ZNP_NWK_ADDR_REQ;
    if (strcmp(what, "ieee-addr") == 0)
        return znp_put_ieee_addr(out, (uint16_t)number(w, 1)), ZNP_IEEE_ADDR_REQ;
    if (strcmp(what, "retrieve") == 0)
        return znp_put_retrieve(out, (uint32_t)number(w, 1), (uint16_t)number(w, 2),
                                (uint8_t)number(w, 3)),
               ZNP_DATA_RETRIEVE;
    if (strcmp(what, "data") == 0)
        return put_data_words(out, w, false), ZNP_DATA_REQUEST;
    if (strcmp(what, "data-ext") == 0)
        return put_data_words(out, w, true), ZNP_DATA_REQUEST_EXT;
    ck_abort_msg("unknown request: %s", what);
    return 0;
}

static void check_request(const struct golden *v, const char *line)
{
    char copy[LINE_MAX];
    struct words w = {0};
    snprintf(copy, sizeof copy, "%s", line);
    for (char *save, *at = strtok_r(copy, " ", &save); at != NULL; at = strtok_r(NULL, " ", &save))
        w.word[w.n++] = at;
    uint8_t data[ZNP_DATA_MAX], frame[ZNP_FRAME_MAX];
    struct writer d = wr_to(data, sizeof data), f = wr_to(frame, sizeof frame);
    const uint16_t cmd = put_words(&d, &w);
    znp_frame_write(&f, cmd, bytes_of(data, wr_close(&d)));
    ck_assert_uint_eq(wr_close(&f), v->len);
    ck_assert_mem_eq(frame, v->octets, v->len);
}

/* ---- from the stick ---------------------------------------------------------------------------- */

struct line {
    char text[LINE_MAX];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static bool say(struct line *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    l->len += (size_t)vsnprintf(l->text + l->len, sizeof l->text - l->len, format, args);
    va_end(args);
    return true;
}

static bool say_octets(struct line *l, struct bytes octets)
{
    say(l, ":");
    for (size_t i = 0; i < octets.len; i++)
        say(l, " %02X", octets.data[i]);
    return true;
}

static bool say_incoming(struct line *l, const struct znp_incoming *in)
{
    say(l, in->by_eui64 ? "incoming from=%016llX" : "incoming from=%04llX",
        (unsigned long long)in->from);
    say(l, " ep=%02X cluster=%04X%s lqi=%u", in->endpoint, in->cluster,
        in->broadcast || in->group != 0 ? " group" : "", in->lqi);
    if (in->fetch)
        say(l, " fetch=%u", in->len);
    return say_octets(l, in->payload);
}

static bool say_pair(struct line *l, const char *what, const struct znp_pair *pair)
{
    return say(l, "%s eui64=%016llX short=%04X", what, (unsigned long long)pair->eui64,
               pair->short_address);
}

static bool say_answer(struct line *l, const struct znp_frame *f)
{
    struct znp_version version;
    struct znp_device device;
    struct znp_network network;
    uint8_t status;
    struct bytes value;
    switch (f->cmd - 0x4000) {
    case ZNP_VERSION:
        return znp_get_version(f->data, &version) &&
               say(l, "version product=%u firmware=%u.%u.%u revision=%u", version.product,
                   version.major, version.minor, version.maint, version.revision);
    case ZNP_NV_READ_EXT:
        if (!znp_get_nv(f->data, &status, &value))
            return false;
        say(l, "nv status=%02X value=", status);
        for (size_t i = 0; i < value.len; i++)
            say(l, "%02X", value.data[i]);
        return true;
    case ZNP_DEVICE_INFO:
        return znp_get_device(f->data, &device) &&
               say(l, "device eui64=%016llX short=%04X state=%u", (unsigned long long)device.eui64,
                   device.short_address, device.state);
    case ZNP_EXT_NWK_INFO:
        return znp_get_network(f->data, &network) &&
               say(l, "network pan=%04X channel=%u state=%u extended=%016llX", network.pan_id,
                   network.channel, network.state, (unsigned long long)network.extended_pan);
    default:
        return say(l, "answer %04X", f->cmd - 0x4000) && say_octets(l, f->data);
    }
}

static bool say_indication(struct line *l, const struct znp_frame *f)
{
    struct reader r = rd_of(f->data);
    struct znp_confirm confirm;
    struct znp_incoming in;
    struct znp_pair pair;
    struct znp_leave leave;
    struct znp_zdo zdo;
    uint8_t capability;
    switch (f->cmd) {
    case ZNP_RESET_IND:
        return say(l, "reset reason=%u", rd_u8(&r)) && !r.failed;
    case ZNP_STATE_CHANGE:
        return say(l, "state %u", rd_u8(&r)) && !r.failed;
    case ZNP_BDB_NOTIFY:
        return say(l, "bdb status=%u", rd_u8(&r)) && !r.failed;
    case ZNP_DATA_CONFIRM:
        return znp_get_confirm(f->data, &confirm) &&
               say(l, "confirm status=%02X endpoint=%02X id=%u", confirm.status, confirm.endpoint,
                   confirm.id);
    case ZNP_INCOMING:
        return znp_get_incoming(f->data, &in) && say_incoming(l, &in);
    case ZNP_INCOMING_EXT:
        return znp_get_incoming_ext(f->data, &in) && say_incoming(l, &in);
    case ZNP_DEVICE_ANNCE:
        return znp_get_annce(f->data, &pair, &capability) && say_pair(l, "announce", &pair) &&
               say(l, " capability=%02X", capability);
    case ZNP_TC_DEVICE:
        return znp_get_tc_device(f->data, &pair) && say_pair(l, "joined", &pair);
    case ZNP_LEAVE:
        return znp_get_leave(f->data, &leave) && say_pair(l, "leave", &leave.who) &&
               say(l, " rejoins=%u", leave.rejoins);
    case ZNP_NWK_ADDR_RSP:
    case ZNP_IEEE_ADDR_RSP:
        return znp_get_addresses(f->data, &pair) && say_pair(l, "addresses", &pair);
    case ZNP_MSG_CB:
        return znp_get_zdo(f->data, &zdo) &&
               say(l, "zdo from=%04X cluster=%04X", zdo.from, zdo.cluster) &&
               say_octets(l, zdo.data);
    default:
        return say(l, "other %04X", f->cmd) && say_octets(l, f->data);
    }
}

static bool say_frame(struct line *l, const struct znp_frame *f)
{
    if (f->cmd == ZNP_RPC_ERROR)
        return say(l, "error %u of %02X%02X", f->data.data[0], f->data.data[1], f->data.data[2]);
    return f->cmd >= 0x6000 ? say_answer(l, f) : say_indication(l, f);
}

static void check_heard(const struct golden *v, const char *expected)
{
    struct znp_framer framer = {0};
    struct znp_frame frame;
    ck_assert_uint_eq(znp_framer_put(&framer, bytes_of(v->octets, v->len)), v->len);
    ck_assert(znp_framer_next(&framer, &frame));
    struct line l = {.text = ""};
    const bool good = say_frame(&l, &frame);
    ck_assert_str_eq(good ? l.text : "malformed", expected);

    uint8_t again[ZNP_FRAME_MAX];
    struct writer w = wr_to(again, sizeof again);
    znp_frame_write(&w, frame.cmd, frame.data);
    ck_assert_uint_eq(wr_close(&w), v->len);
    ck_assert_mem_eq(again, v->octets, v->len);
    ck_assert(!znp_framer_next(&framer, &frame));
    ck_assert_uint_eq(framer.bad + framer.skipped, 0);

    /* Each shorter message from a block of its own: the sanitizers see every read behind its end. */
    for (size_t n = 0; n + 5 < v->len; n++) {
        uint8_t *data = malloc(n + 1);
        memcpy(data, v->octets + 4, n);
        const struct znp_frame cut = {.cmd = frame.cmd, .data = bytes_of(n > 0 ? data : NULL, n)};
        struct line ignored = {.text = ""};
        if (cut.cmd != ZNP_RPC_ERROR)
            say_frame(&ignored, &cut);
        free(data);
    }
}

START_TEST(each_frame_of_the_reference_is_what_it_should_be)
{
    const struct golden *v = &golden.vectors[_i];
    ck_assert_uint_eq(v->n_expect, 1);
    const char *line = v->expect[0];
    struct znp_framer framer = {0};
    struct znp_frame frame;
    if (line[0] == '>') {
        check_request(v, line + 2);
    } else if (line[0] == '<') {
        check_heard(v, line + 2);
    } else {
        znp_framer_put(&framer, bytes_of(v->octets, v->len));
        ck_assert(!znp_framer_next(&framer, &frame));
        ck_assert_uint_eq(framer.bad, 1);
    }
}

END_TEST

/* B.5, the table of classes. */
START_TEST(each_status_has_its_class)
{
    static const struct {
        enum znp_class class;
        uint8_t status[8];
    } table[] = {
        {ZNP_CLASS_OK,      {0x00}                              },
        {ZNP_CLASS_BUSY,    {0x10, 0x11, 0x1A, 0xC7, 0xE1, 0xF1}},
        {ZNP_CLASS_ROUTE,   {0xCD, 0xC2, 0xBB}                  },
        {ZNP_CLASS_NO_ACK,  {0xE9, 0xF0, 0xB7, 0x01}            },
        {ZNP_CLASS_REFUSED, {0x02, 0x09, 0xB8, 0xC3, 0x0A, 0xFF}},
    };

    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        ck_assert_int_eq(znp_class_of(table[i].status[0]), table[i].class);
        for (size_t k = 1; k < 8 && table[i].status[k] != 0; k++)
            ck_assert_int_eq(znp_class_of(table[i].status[k]), table[i].class);
    }
}

END_TEST

/* Only these two differ in what they leave to fetch: a short payload and its trailer look alike. */
START_TEST(a_short_payload_is_never_taken_for_one_to_fetch)
{
    uint8_t data[64] = {0};
    data[4] = ZNP_MODE_SHORT;
    data[5] = 0x3B;
    for (unsigned len = 0; len <= 6; len++) {
        for (unsigned behind = 0; behind <= len + 3; behind++) {
            struct znp_incoming in;
            data[25] = (uint8_t)len;
            const bool good = znp_get_incoming_ext(bytes_of(data, 27 + behind), &in);
            const bool fetch = len > 3 && behind <= 3;
            ck_assert_int_eq(good, fetch || behind >= len);
            if (good) {
                ck_assert_int_eq(in.fetch, fetch);
                ck_assert_uint_eq(in.payload.len, fetch ? 0 : len);
            }
        }
    }
}

END_TEST

/* Read from real sticks, as reports of faults published them. */
START_TEST(the_state_of_the_stack_tells_whether_there_is_a_network)
{
    static const struct {
        bool empty;
        const char *nib;
    } states[] = {
        {true,  /* after its settings were erased */
         "29 05 02 00 0F 00 00 1E 00 00 00 01 05 01 8F 00 07 00 02 0D 1E 00 FE FF 00 00 FE FF 00 "
         "00 00 00 00 00 00 00 FE FF 00 00 00 00 00 00 0F 0F 00 00 00 00 00 00 00 00 00 00 00 AD "
         "CF C2 24 00 4B 12 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
         "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 0F 05 00 01 64 0A 01 00 00 00 00 00 00 00" },
        {false, /* PAN DC81, channel 17 */
         "78 05 02 33 0F 33 00 1E 00 00 00 01 05 01 8F 00 07 00 02 0D 1E 00 00 00 11 00 00 00 00 "
         "00 00 00 00 00 00 00 81 DC 08 00 00 00 02 00 0F 0F 04 00 01 00 00 00 01 00 00 00 00 0C "
         "92 0E BC A1 71 7B F9 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 "
         "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 0F 05 00 01 64 0A 01 00 00 00 00 00 00 00"},
    };

    size_t len;
    uint8_t *nib = golden_octets(states[_i].nib, &len);
    ck_assert_uint_eq(len, 116);
    ck_assert_int_eq(znp_nib_is_empty(bytes_of(nib, len)), states[_i].empty);
    for (size_t cut = 0; cut < len; cut++) { /* a layout that we don't know tells nothing */
        if (cut != 110)
            ck_assert(!znp_nib_is_empty(bytes_of(nib, cut)));
    }
    free(nib);
}

END_TEST

int main(void)
{
    golden = golden_load(GOLDEN);
    if (golden.count != VECTORS) {
        fprintf(stderr, "znp.txt has %zu vectors instead of %d\n", golden.count, VECTORS);
        return EXIT_FAILURE;
    }
    Suite *suite = suite_create("znp_msg");
    TCase *vectors = tcase_create("vectors");
    tcase_add_loop_test(vectors, each_frame_of_the_reference_is_what_it_should_be, 0, VECTORS);
    tcase_add_test(vectors, each_status_has_its_class);
    tcase_add_test(vectors, a_short_payload_is_never_taken_for_one_to_fetch);
    tcase_add_loop_test(vectors, the_state_of_the_stack_tells_whether_there_is_a_network, 0, 2);
    suite_add_tcase(suite, vectors);
    const int result = run_suite(suite);
    golden_free(&golden);
    return result;
}
