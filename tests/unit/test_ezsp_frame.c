/* SPDX-License-Identifier: Apache-2.0 */
/* EZSP's layouts against the two golden sessions: what the host says is what our encoders say, what
 * the stick says is what our decoders read. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "radio/stick/ash.h"
#include "radio/stick/ezsp_frame.h"
#include "unit/golden.h"
#include "unit/suite.h"

static struct golden_file vectors;

static void load(void)
{
    vectors = golden_load(GOLDEN);
}

static void unload(void)
{
    golden_free(&vectors);
}

static const struct golden *vector(const char *number)
{
    for (size_t i = 0; i < vectors.count; i++) {
        if (strcmp(vectors.vectors[i].number, number) == 0)
            return &vectors.vectors[i];
    }
    ck_abort_msg("no vector %s", number);
}

/* The EZSP frame in it, as a heap block. */
static struct bytes plain(const char *number)
{
    const char *data = strstr(vector(number)->expect[0], "data=");
    ck_assert_ptr_nonnull(data);
    size_t len;
    uint8_t *octets = golden_octets(data + 5, &len);
    return bytes_of(octets, len);
}

static void release(struct bytes b)
{
    free((void *)(uintptr_t)b.data);
}

/* ---- what we say ------------------------------------------------------------------------------- */

static const uint8_t message3[] = {3, 5, 0}, message_gwinfo[] = {3, 2, 1};
static const uint8_t well_known[] = "ZigBeeAlliance09";
static const uint8_t network_key[] = {1, 3, 5, 7, 9, 11, 13, 15, 0, 2, 4, 6, 8, 10, 12, 13};
static const struct ezsp_aps app = {.profile = 0xC105,
                                    .cluster = 0x0011,
                                    .src_endpoint = 0xE8,
                                    .dst_endpoint = 0xE8,
                                    .options = EZSP_APS_DEFAULT};
static const struct ezsp_network network = {
    .ext_pan = {0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 0xDD, 0xDD},
    .pan_id = 0x1A62,
    .power_dbm = 5,
    .channel = 15,
};

static void wr_12(struct writer *w, uint8_t version)
{
    (void)version;
    wr_bytes(w, bytes_of("\x0C\x02\x00", 3));
}

static void wr_policy(struct writer *w, uint8_t version)
{
    (void)version;
    wr_u8(w, 0);
    wr_u8(w, 3);
}

static void wr_version(struct writer *w, uint8_t version)
{
    wr_u8(w, version);
}

static void wr_newest(struct writer *w, uint8_t version)
{
    (void)version;
    wr_u8(w, EZSP_NEWEST);
}

static void wr_endpoint(struct writer *w, uint8_t version)
{
    (void)version;
    ezsp_wr_endpoint(w, 0xE8, 0xC105, 0x0011);
}

static void wr_init(struct writer *w, uint8_t version)
{
    (void)version;
    wr_u16_le(w, 3);
}

static void wr_nothing(struct writer *w, uint8_t version)
{
    (void)w;
    (void)version;
}

static void wr_unicast(struct writer *w, uint8_t version)
{
    ezsp_wr_unicast(w, version, 0x4A3B, &app, 7, bytes_of(message3, 3));
}

static void wr_broadcast(struct writer *w, uint8_t version)
{
    ezsp_wr_broadcast(w, version, 0xFFFD, &app, 1, 8, bytes_of(message_gwinfo, 3));
}

static void wr_short(struct writer *w, uint8_t version)
{
    (void)version;
    wr_u16_le(w, 0x4A3B);
}

static void wr_security(struct writer *w, uint8_t version)
{
    (void)version;
    ezsp_wr_security(w, well_known, network_key);
}

static void wr_form(struct writer *w, uint8_t version)
{
    (void)version;
    ezsp_wr_network(w, &network);
}

static void wr_transient(struct writer *w, uint8_t version)
{
    ezsp_wr_transient(w, version, well_known);
}

static void wr_60(struct writer *w, uint8_t version)
{
    (void)version;
    wr_u8(w, 60);
}

static void wr_concentrator(struct writer *w, uint8_t version)
{
    (void)version;
    ezsp_wr_concentrator(w);
}

static void wr_tokens(struct writer *w, uint8_t version)
{
    (void)version;
    wr_bytes(w, bytes_of("\x07\x01\x01", 3));
}

static void wr_11(struct writer *w, uint8_t version)
{
    (void)version;
    wr_u8(w, 0x11);
}

static const struct request {
    unsigned number; /* within the session */
    uint8_t seq;
    uint16_t id;
    void (*write)(struct writer *w, uint8_t version);
} requests[] = {
    {4,  0,  EZSP_VERSION,                wr_newest      },
    {7,  1,  EZSP_VERSION,                wr_version     },
    {10, 2,  EZSP_SET_CONFIGURATION,      wr_12          },
    {13, 3,  EZSP_SET_POLICY,             wr_policy      },
    {16, 4,  EZSP_ADD_ENDPOINT,           wr_endpoint    },
    {19, 5,  EZSP_NETWORK_INIT,           wr_init        },
    {24, 6,  EZSP_GET_NETWORK_PARAMETERS, wr_nothing     },
    {27, 7,  EZSP_GET_EUI64,              wr_nothing     },
    {30, 8,  EZSP_MAXIMUM_PAYLOAD_LENGTH, wr_nothing     },
    {33, 9,  EZSP_SEND_UNICAST,           wr_unicast     },
    {36, 10, EZSP_SEND_BROADCAST,         wr_broadcast   },
    {39, 11, EZSP_LOOKUP_EUI64,           wr_short       },
    {50, 12, EZSP_SET_SECURITY,           wr_security    },
    {52, 13, EZSP_FORM_NETWORK,           wr_form        },
    {54, 14, EZSP_IMPORT_TRANSIENT,       wr_transient   },
    {56, 15, EZSP_PERMIT_JOINING,         wr_60          },
    {58, 16, EZSP_SET_CONCENTRATOR,       wr_concentrator},
    {60, 17, EZSP_SET_VALUE,              wr_tokens      },
    {62, 18, EZSP_GET_CONFIGURATION,      wr_11          },
};

START_TEST(every_request_of_both_sessions_is_written_as_the_host_writes_it)
{
    const uint8_t version = (uint8_t)_i;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const struct request *q = &requests[i];
        char number[16];
        uint8_t room[ASH_DATA_MAX];
        snprintf(number, sizeof number, "%u.%u>", version, q->number);
        const struct bytes expected = plain(number);
        struct writer w = wr_to(room, sizeof room);
        ezsp_wr_header(&w, q->number == 4, q->seq, q->id);
        q->write(&w, version);
        ck_assert_msg(bytes_equal(expected, bytes_of(room, wr_close(&w))), "%s", number);
        release(expected);
    }
}

END_TEST

START_TEST(version_8_unicasts_are_those_of_13)
{
    const struct bytes expected = plain("a.24");
    uint8_t room[ASH_DATA_MAX];
    struct writer w = wr_to(room, sizeof room);
    ezsp_wr_header(&w, false, 3, EZSP_SEND_UNICAST);
    wr_unicast(&w, 8);
    ck_assert(bytes_equal(expected, bytes_of(room, wr_close(&w))));
    release(expected);
}

END_TEST

START_TEST(the_key_for_joining_has_another_command_before_version_12)
{
    ck_assert_uint_eq(ezsp_transient_id(8), EZSP_ADD_TRANSIENT);
    ck_assert_uint_eq(ezsp_transient_id(11), EZSP_ADD_TRANSIENT);
    ck_assert_uint_eq(ezsp_transient_id(12), EZSP_IMPORT_TRANSIENT);
    struct writer w = wr_to(NULL, 0);
    ezsp_wr_transient(&w, 11, well_known);
    ck_assert_uint_eq(w.len, 24);
}

END_TEST

/* ---- what we read ------------------------------------------------------------------------------ */

struct frame {
    struct bytes octets;
    struct reader r;
    struct ezsp_header h;
};

static struct frame frame(unsigned session, unsigned number, bool legacy)
{
    char name[16];
    snprintf(name, sizeof name, "%u.%u<", session, number);
    struct frame f = {.octets = plain(name)};
    f.r = rd_of(f.octets);
    ck_assert_msg(ezsp_rd_header(&f.r, legacy, &f.h), "%s", name);
    ck_assert(!f.h.overflow && !f.h.truncated);
    return f;
}

/* Everything must have been read. */
static void close_frame(struct frame *f)
{
    ck_assert(rd_close(&f->r));
    release(f->octets);
}

static void is_app(const struct ezsp_aps *aps, uint8_t sequence)
{
    ck_assert_uint_eq(aps->profile, 0xC105);
    ck_assert_uint_eq(aps->cluster, 0x0011);
    ck_assert_uint_eq(aps->src_endpoint, 0xE8);
    ck_assert_uint_eq(aps->dst_endpoint, 0xE8);
    ck_assert_uint_eq(aps->options, 0x0140);
    ck_assert_uint_eq(aps->group, 0);
    ck_assert_uint_eq(aps->sequence, sequence);
}

START_TEST(versions_are_read_in_both_headers)
{
    const unsigned version = (unsigned)_i;
    struct ezsp_version v;
    struct frame f = frame(version, 5, true);
    ck_assert_uint_eq(f.h.id, EZSP_VERSION);
    ck_assert_uint_eq(f.h.seq, 0);
    ck_assert(!f.h.callback);
    ck_assert(ezsp_rd_version(&f.r, &v));
    close_frame(&f);
    ck_assert_uint_eq(v.version, version);
    ck_assert_uint_eq(v.stack_type, 2);
    ck_assert_uint_eq(v.stack_version, 0x7430);
    f = frame(version, 8, false);
    ck_assert_uint_eq(f.h.seq, 1);
    ck_assert(ezsp_rd_version(&f.r, &v) && v.version == version);
    close_frame(&f);
}

END_TEST

START_TEST(statuses_of_all_responses_read_ok)
{
    static const struct {
        unsigned number;
        uint16_t id;
        size_t behind; /* octets */
    } responses[] = {
        {11, EZSP_SET_CONFIGURATION, 0},
        {14, EZSP_SET_POLICY,        0},
        {17, EZSP_ADD_ENDPOINT,      0},
        {20, EZSP_NETWORK_INIT,      0},
        {34, EZSP_SEND_UNICAST,      1},
        {37, EZSP_SEND_BROADCAST,    1},
        {40, EZSP_LOOKUP_EUI64,      8},
        {51, EZSP_SET_SECURITY,      0},
        {53, EZSP_FORM_NETWORK,      0},
        {57, EZSP_PERMIT_JOINING,    0},
        {59, EZSP_SET_CONCENTRATOR,  0},
        {61, EZSP_SET_VALUE,         0},
        {63, EZSP_GET_CONFIGURATION, 2},
    };

    const uint8_t version = (uint8_t)_i;
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
        struct frame f = frame(version, responses[i].number, false);
        ck_assert_uint_eq(f.h.id, responses[i].id);
        ck_assert(!f.h.callback);
        ck_assert_uint_eq(ezsp_rd_status(&f.r, version), SL_OK);
        ck_assert_uint_eq(rd_bytes(&f.r, responses[i].behind).len, responses[i].behind);
        close_frame(&f);
    }
    struct frame f = frame(version, 55, false);
    ck_assert_uint_eq(f.h.id, EZSP_IMPORT_TRANSIENT);
    ck_assert_uint_eq(rd_u32_le(&f.r), SL_OK); /* sl_status even in version 13 */
    close_frame(&f);
}

END_TEST

START_TEST(network_name_and_limit_are_read)
{
    const uint8_t version = (uint8_t)_i;
    struct ezsp_network n;
    uint32_t status;
    struct frame f = frame(version, 25, false);
    ck_assert(ezsp_rd_network(&f.r, version, &status, &n));
    close_frame(&f);
    ck_assert_uint_eq(status, SL_OK);
    ck_assert_uint_eq(n.pan_id, 0x1A62);
    ck_assert_uint_eq(n.channel, 15);
    ck_assert_int_eq(n.power_dbm, 5);
    ck_assert_mem_eq(n.ext_pan, network.ext_pan, 8);
    f = frame(version, 28, false);
    ck_assert_uint_eq(rd_u64_le(&f.r), 0x00124B0021A81179);
    close_frame(&f);
    f = frame(version, 31, false);
    ck_assert_uint_eq(rd_u8(&f.r), 82);
    close_frame(&f);
    f = frame(version, 40, false);
    ck_assert_uint_eq(ezsp_rd_status(&f.r, version), SL_OK);
    ck_assert_uint_eq(rd_u64_le(&f.r), 0x0013A20040522BAA);
    close_frame(&f);
}

END_TEST

START_TEST(callbacks_are_read)
{
    const uint8_t version = (uint8_t)_i;
    struct frame f = frame(version, 22, false);
    ck_assert_uint_eq(f.h.id, EZSP_STACK_STATUS);
    ck_assert(f.h.callback);
    ck_assert_uint_eq(ezsp_rd_status(&f.r, version), SL_NETWORK_UP);
    close_frame(&f);

    for (unsigned i = 0; i < 2; i++) {
        struct ezsp_sent sent;
        f = frame(version, i == 0 ? 42 : 44, false);
        ck_assert_uint_eq(f.h.id, EZSP_MESSAGE_SENT);
        ck_assert(ezsp_rd_sent(&f.r, version, &sent));
        close_frame(&f);
        is_app(&sent.aps, 0x21);
        ck_assert_uint_eq(sent.type, 0);
        ck_assert_uint_eq(sent.destination, 0x4A3B);
        ck_assert_uint_eq(sent.tag, 7);
        ck_assert_uint_eq(sent.status, i == 0 ? SL_OK : SL_DELIVERY_FAILED);
    }

    struct ezsp_incoming in;
    f = frame(version, 46, false);
    ck_assert_uint_eq(f.h.id, EZSP_INCOMING_MESSAGE);
    ck_assert(ezsp_rd_incoming(&f.r, version, &in));
    ck_assert_uint_eq(in.type, EZSP_IN_UNICAST);
    is_app(&in.aps, 0x5A);
    ck_assert_uint_eq(in.sender, 0x4A3B);
    ck_assert(!in.has_eui64);
    ck_assert_uint_eq(in.lqi, 200);
    ck_assert_int_eq(in.rssi, -40);
    ck_assert(bytes_equal(in.message, bytes_of("\x08\x04\x04\x01\x00\x3C\x6E\x31", 8)));
    close_frame(&f);

    struct ezsp_join join;
    f = frame(version, 48, false);
    ck_assert_uint_eq(f.h.id, EZSP_TRUST_CENTER_JOIN);
    ck_assert(ezsp_rd_trust_center_join(&f.r, &join));
    close_frame(&f);
    ck_assert_uint_eq(join.short_address, 0x4A3B);
    ck_assert_uint_eq(join.eui64, 0x0013A20040522BAA);
    ck_assert(!join.left);
}

END_TEST

START_TEST(a_callback_that_is_cut_anywhere_is_malformed)
{
    const uint8_t version = (uint8_t)_i;
    static const unsigned numbers[] = {42, 46, 48, 25};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct frame f = frame(version, numbers[i], false);
        const struct bytes body = rd_rest(&f.r);
        for (size_t len = 0; len < body.len; len++) {
            uint8_t *exact = malloc(len > 0 ? len : 1);
            ck_assert_ptr_nonnull(exact);
            memcpy(exact, body.data, len);
            struct reader r = rd_of(bytes_of(exact, len));
            struct ezsp_sent sent;
            struct ezsp_incoming in;
            struct ezsp_join join;
            struct ezsp_network n;
            uint32_t status;
            ck_assert(!(numbers[i] == 42   ? ezsp_rd_sent(&r, version, &sent)
                        : numbers[i] == 46 ? ezsp_rd_incoming(&r, version, &in)
                        : numbers[i] == 48 ? ezsp_rd_trust_center_join(&r, &join)
                                           : ezsp_rd_network(&r, version, &status, &n)));
            free(exact);
        }
        release(f.octets);
    }
}

END_TEST

START_TEST(an_unknown_command_and_the_bits_of_the_frame_control_are_read)
{
    const struct bytes b = plain("a.25");
    struct reader r = rd_of(b);
    struct ezsp_header h;
    ck_assert(ezsp_rd_header(&r, false, &h));
    ck_assert_uint_eq(h.id, EZSP_INVALID_COMMAND);
    ck_assert_uint_eq(rd_u8(&r), 0x31);
    release(b);

    static const struct {
        uint8_t low, high;
        bool valid, callback, overflow, truncated;
    } controls[] = {
        {0x80, 0x01, true,  false, false, false},
        {0x90, 0x01, true,  true,  false, false},
        {0x88, 0x01, true,  true,  false, false},
        {0x81, 0x01, true,  false, true,  false},
        {0x92, 0x01, true,  true,  false, true },
        {0x84, 0x01, true,  false, false, false},
        {0x00, 0x01, false, false, false, false},
        {0x80, 0x00, false, false, false, false},
        {0x80, 0x81, true,  false, false, false},
    };

    for (size_t i = 0; i < sizeof controls / sizeof *controls; i++) {
        const uint8_t octets[] = {7, controls[i].low, controls[i].high, 0x11, 0x01};
        r = rd_of(bytes_of(octets, sizeof octets));
        ck_assert_int_eq(ezsp_rd_header(&r, false, &h), controls[i].valid);
        ck_assert_int_eq(h.callback, controls[i].callback && controls[i].valid);
        ck_assert_int_eq(h.overflow, controls[i].overflow);
        ck_assert_int_eq(h.truncated, controls[i].truncated);
        ck_assert(!controls[i].valid || h.id == EZSP_IMPORT_TRANSIENT);
    }
}

END_TEST

/* ---- statuses ---------------------------------------------------------------------------------- */

START_TEST(old_statuses_become_new_ones)
{
    static const struct {
        uint8_t ember;
        uint32_t sl;
    } pairs[] = {
        {0x00, 0x00  },
        {0x01, 0x01  },
        {0x02, 0x21  },
        {0x18, 0x19  },
        {0x66, 0x0C02},
        {0x70, 0x02  },
        {0x72, 0x0C03},
        {0x74, 0x38  },
        {0x90, 0x15  },
        {0x91, 0x16  },
        {0x93, 0x17  },
        {0xA1, 0x04  },
        {0xA9, 0x0C13},
        {0xAA, 0x0C14},
        {0x55, 0x01  },
    };

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct reader r = rd_of(bytes_of(&pairs[i].ember, 1));
        ck_assert_uint_eq(ezsp_rd_status(&r, 13), pairs[i].sl);
    }
}

END_TEST

START_TEST(only_what_could_not_start_is_tried_again)
{
    static const struct {
        uint32_t sl;
        enum stick_verdict at_call;
        int64_t again_ms;
    } at_call[] = {
        {SL_OK,                VERDICT_DELIVERED, 0   },
        {SL_MAX_MESSAGE_LIMIT, VERDICT_NOT_BEGUN, 500 },
        {SL_BUSY,              VERDICT_NOT_BEGUN, 500 },
        {SL_NO_MORE_RESOURCE,  VERDICT_NOT_BEGUN, 500 },
        {SL_NETWORK_DOWN,      VERDICT_NOT_BEGUN, 1500},
        {SL_MESSAGE_TOO_LONG,  VERDICT_TOO_LONG,  0   },
        {SL_INVALID_STATE,     VERDICT_REFUSED,   0   },
        {SL_FAIL,              VERDICT_REFUSED,   0   },
        {0x12345678,           VERDICT_REFUSED,   0   },
    };

    for (size_t i = 0; i < sizeof at_call / sizeof *at_call; i++) {
        const struct ezsp_ruling ruling = ezsp_at_call(at_call[i].sl);
        ck_assert_int_eq(ruling.verdict, at_call[i].at_call);
        ck_assert_int_eq(ruling.again_ms, at_call[i].again_ms);
    }
    static const uint32_t failures[] = {SL_FAIL,     SL_DELIVERY_FAILED, SL_NO_APS_ACK,
                                        SL_NO_ROUTE, SL_SEND_FAILURE,    SL_SOURCE_ROUTE_FAILURE,
                                        0x12345678};
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++)
        ck_assert_int_eq(ezsp_at_sent(failures[i]).verdict, VERDICT_FAILED);
    ck_assert_int_eq(ezsp_at_sent(SL_OK).verdict, VERDICT_DELIVERED);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("ezsp_frame");
    TCase *t = tcase_create("frames");
    tcase_add_checked_fixture(t, load, unload);
    tcase_add_loop_test(t, every_request_of_both_sessions_is_written_as_the_host_writes_it, 13, 15);
    tcase_add_test(t, version_8_unicasts_are_those_of_13);
    tcase_add_test(t, the_key_for_joining_has_another_command_before_version_12);
    tcase_add_loop_test(t, versions_are_read_in_both_headers, 13, 15);
    tcase_add_loop_test(t, statuses_of_all_responses_read_ok, 13, 15);
    tcase_add_loop_test(t, network_name_and_limit_are_read, 13, 15);
    tcase_add_loop_test(t, callbacks_are_read, 13, 15);
    tcase_add_loop_test(t, a_callback_that_is_cut_anywhere_is_malformed, 13, 15);
    tcase_add_test(t, an_unknown_command_and_the_bits_of_the_frame_control_are_read);
    tcase_add_test(t, old_statuses_become_new_ones);
    tcase_add_test(t, only_what_could_not_start_is_tried_again);
    suite_add_tcase(s, t);
    return run_suite(s);
}
