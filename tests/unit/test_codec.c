/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec against everything short, everything cut, and a million random messages. Inputs and
 * outputs are heap blocks of exactly their size, so that AddressSanitizer sees the first octet too
 * much. (Loops test with `if`: a ck_assert costs a system call even when it holds.)
 */
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "mqttsn/packet.h"
#include "unit/random_packet.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { ROUND_TRIPS = 1000000, VARIANTS = 40 };

/* ---- all datagrams of up to three octets ----------------------------------------------------- */

static bool is_one_of(uint8_t type, const uint8_t *types, size_t n)
{
    return memchr(types, type, n) != NULL;
}

/* What a datagram of at most three octets is, by the tables of section 5.4: written down again
 * here, because the decoder must not be its own judge. */
static enum sn_decode_result short_verdict(const uint8_t *d, size_t n)
{
    static const uint8_t with_no_body[] = {0x06, 0x07, 0x08, 0x09, 0x16, 0x17, 0x18, 0x1A, 0x1C};
    static const uint8_t with_one_octet[] = {0x01, 0x02, 0x05, 0x07, 0x09,
                                             0x16, 0x1A, 0x1B, 0x1C, 0x1D};
    static const uint8_t reserved[] = {0x03, 0x11, 0x19};
    if (n < 2 || d[0] == 1)
        return SN_BAD_TRUNCATED; /* the long form has four octets at least */
    if (d[1] == 0xFE)
        return SN_BAD_ENVELOPE;
    if (d[0] < 2)
        return SN_BAD_LENGTH;
    if (d[0] != n)
        return d[0] > n ? SN_BAD_TRUNCATED : SN_BAD_LENGTH;
    if (d[1] > 0x1D || is_one_of(d[1], reserved, sizeof reserved))
        return SN_BAD_TYPE;
    const bool fits = n == 2 ? is_one_of(d[1], with_no_body, sizeof with_no_body)
                             : is_one_of(d[1], with_one_octet, sizeof with_one_octet);
    return fits ? SN_DECODED : SN_BAD_BODY;
}

static bool short_fields_right(const uint8_t *d, size_t n, const struct sn_packet *p)
{
    struct sn_packet want = {.type = (enum sn_type)d[1]};
    const uint8_t octet = n == 3 ? d[2] : 0;
    const struct bytes rest = bytes_of(d + 2, n - 2);
    switch (d[1]) {
    case 0x01:
        want.radius = octet;
        break;
    case 0x02:
        want.gw_id = octet;
        break;
    case 0x05:
    case 0x1B:
    case 0x1D:
        want.return_code = octet;
        break;
    case 0x09:
    case 0x1C:
        want.data = rest;
        break;
    case 0x16:
        want.client_id = rest;
        break;
    default:
        break;
    }
    return packet_difference(&want, p) == NULL;
}

static bool short_one_right(const uint8_t *d, size_t n)
{
    struct sn_packet p;
    const struct bytes in = bytes_of(d, n);
    const enum sn_decode_result result = sn_decode(in, &p);
    if (result != short_verdict(d, n))
        return false;
    if (result == SN_DECODED)
        return short_fields_right(d, n, &p);
    struct sn_envelope env;
    /* No envelope of three octets has anything in it. */
    return sn_is_envelope(in) == (result == SN_BAD_ENVELOPE) &&
           sn_envelope_decode(in, &env) == SN_BAD_ENVELOPE;
}

START_TEST(every_datagram_of_up_to_three_octets_is_judged_right)
{
    ck_assert_int_eq(short_verdict(NULL, 0), SN_BAD_TRUNCATED);
    ck_assert(short_one_right(NULL, 0));
    for (size_t n = 1; n <= 3; n++) {
        uint8_t *d = malloc(n);
        const uint32_t count = 1U << (8 * n);
        for (uint32_t value = 0; value < count; value++) {
            for (size_t i = 0; i < n; i++)
                d[i] = (uint8_t)(value >> (8 * i));
            if (!short_one_right(d, n))
                ck_abort_msg("%zu octets, little-endian 0x%x", n, value);
        }
        free(d);
    }
}

END_TEST

/* ---- cut and extended ------------------------------------------------------------------------ */

static uint8_t *encoded(const struct sn_packet *p, size_t *len)
{
    *len = sn_encode(p, NULL, 0);
    ck_assert_uint_gt(*len, 0);
    uint8_t *buf = malloc(*len);
    ck_assert_uint_eq(sn_encode(p, buf, *len), *len);
    return buf;
}

static enum sn_decode_result decode_copy(const uint8_t *octets, size_t len, struct sn_packet *p,
                                         uint8_t **copy)
{
    *copy = malloc(len);
    if (len > 0)
        memcpy(*copy, octets, len);
    return sn_decode(bytes_of(*copy, len), p);
}

/* As it is: Length still states the original total, so no cut or extended one is a message. */
static void never_accepted(const uint8_t *octets, size_t len, size_t original)
{
    uint8_t *copy;
    struct sn_packet p;
    const enum sn_decode_result result = decode_copy(octets, len, &p, &copy);
    const enum sn_decode_result want = len < original ? SN_BAD_TRUNCATED : SN_BAD_LENGTH;
    ck_assert_msg(result == want, "type %02x of %zu octets with %zu: %s",
                  octets[octets[0] == 1 ? 3 : 1], original, len, sn_decode_result_name(result));
    free(copy);
}

/* Octets that the codec knows to mean nothing: a second one in WILLTOPICRESP (packet_layout.c), and
 * flags without a topic (golden vector 24). */
static bool has_meaningless_tail(const struct sn_packet *p, size_t len)
{
    if (p->type == SN_WILLTOPICRESP)
        return len == 4;
    return (p->type == SN_WILLTOPIC || p->type == SN_WILLTOPICUPD) && p->topic.len == 0 && len == 3;
}

/* With Length put right for what is there: the frame is good, so it may be a message (a shorter
 * name is a name), but never the original one. */
static void never_the_same(const uint8_t *octets, size_t len, const struct sn_packet *original)
{
    uint8_t *framed = malloc(len);
    memcpy(framed, octets, len);
    ck_assert_uint_lt(len, 256);
    framed[0] = (uint8_t)len;
    uint8_t *copy;
    struct sn_packet p;
    if (decode_copy(framed, len, &p, &copy) == SN_DECODED && !has_meaningless_tail(&p, len)) {
        ck_assert_msg(packet_difference(&p, original) != NULL, "%s with %zu octets",
                      sn_type_name(original->type), len);
    }
    free(copy);
    free(framed);
}

START_TEST(a_message_cut_or_extended_is_never_the_same_message)
{
    struct rng rng = seeded_rng();
    const enum sn_type type = (enum sn_type)packet_types[_i];
    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        const struct sn_packet p = packet_random(&rng, type, variant % 8 == 0 ? 300 : 20);
        const struct sn_packet carried = packet_carried(&p);
        size_t len;
        uint8_t *octets = encoded(&p, &len);
        const bool long_form = octets[0] == 1;
        uint8_t *extended = malloc(len + 3);
        memcpy(extended, octets, len);
        for (size_t cut = 0; cut < len; cut++) {
            never_accepted(octets, cut, len);
            if (!long_form && cut >= 2)
                never_the_same(octets, cut, &carried);
        }
        for (unsigned tail = 0; tail < 3 * 16; tail++) {
            const size_t more = 1 + tail % 3;
            memset(extended + len, tail < 3 ? 0x00 : (int)(rng_next(&rng) & 0xFF), more);
            never_accepted(extended, len + more, len);
            if (len + more < 256)
                never_the_same(extended, len + more, &carried);
        }
        free(extended);
        free(octets);
    }
}

END_TEST

/* ---- there and back -------------------------------------------------------------------------- */

static size_t longest_of(struct rng *rng)
{
    const uint64_t dice = rng_below(rng, 4096);
    if (dice == 0)
        return 65000;
    return dice < 256 ? 300 : 24;
}

static const char *round_trip(const struct sn_packet *p)
{
    const struct sn_packet want = packet_carried(p);
    const size_t len = sn_encode(p, NULL, 0);
    uint8_t *buf = malloc(len);
    struct sn_packet got;
    uint8_t *plain = malloc(len);
    const char *wrong = NULL;
    if (len == 0 || sn_encode(p, buf, len) != len || sn_encode(&want, plain, len) != len)
        wrong = "encode";
    else if (memcmp(buf, plain, len) != 0)
        wrong = "something that the message does not use was sent";
    else if (sn_decode(bytes_of(buf, len), &got) != SN_DECODED)
        wrong = "decode";
    else if ((buf[0] == 1) != (len > 255) || len == 256 || len == 257)
        wrong = "not the shortest form";
    else
        wrong = packet_difference(&got, &want);
    free(plain);
    free(buf);
    return wrong;
}

START_TEST(a_million_random_messages_survive_encoding_and_decoding)
{
    struct rng rng = seeded_rng();
    for (unsigned i = 0; i < ROUND_TRIPS; i++) {
        const enum sn_type type = (enum sn_type)packet_types[rng_below(&rng, n_packet_types)];
        const struct sn_packet p = packet_random(&rng, type, longest_of(&rng));
        const char *wrong = round_trip(&p);
        if (wrong != NULL)
            ck_abort_msg("message %u, %s: %s", i, sn_type_name(type), wrong);
    }
}

END_TEST

START_TEST(what_does_not_fit_is_refused_and_what_fits_exactly_is_written)
{
    struct rng rng = seeded_rng();
    const enum sn_type type = (enum sn_type)packet_types[_i];
    for (unsigned variant = 0; variant < VARIANTS; variant++) {
        const struct sn_packet p = packet_random(&rng, type, variant % 8 == 0 ? 300 : 20);
        const size_t len = sn_encode(&p, NULL, 0);
        for (size_t cap = 0; cap <= len + 1; cap++) {
            uint8_t *buf = malloc(cap);
            ck_assert_uint_eq(sn_encode(&p, buf, cap), cap < len ? 0 : len);
            free(buf);
        }
    }
}

END_TEST

START_TEST(reserved_types_are_not_written)
{
    for (unsigned type = 0; type <= 0xFF; type++) {
        const struct sn_packet p = {.type = (enum sn_type)type};
        uint8_t buf[64];
        const bool known = memchr(packet_types, (int)type, n_packet_types) != NULL;
        ck_assert_uint_eq(sn_encode(&p, buf, sizeof buf) > 0, known);
        ck_assert_uint_eq(strcmp(sn_type_name(type), "RESERVED") != 0, known || type == SN_FORWARD);
    }
}

END_TEST

/* ---- lengths --------------------------------------------------------------------------------- */

/* A PUBLISH of `total` octets, framed by hand. */
static uint8_t *framed_publish(size_t total, bool long_form)
{
    uint8_t *buf = calloc(1, total);
    struct writer w = wr_to(buf, total);
    if (long_form) {
        wr_u8(&w, 1);
        wr_u16(&w, (uint16_t)total);
    } else {
        wr_u8(&w, (uint8_t)total);
    }
    wr_u8(&w, SN_PUBLISH);
    return buf;
}

START_TEST(both_length_forms_are_read_around_the_boundary)
{
    for (size_t total = 253; total <= 258; total++) {
        for (unsigned form = 0; form < 2; form++) {
            const bool long_form = form == 1;
            uint8_t *buf = framed_publish(total, long_form);
            struct sn_packet p;
            const enum sn_decode_result r = sn_decode(bytes_of(buf, total), &p);
            if (long_form || total <= 255) {
                ck_assert_int_eq(r, SN_DECODED);
                ck_assert_uint_eq(p.data.len, total - (long_form ? 9 : 7));
            } else {
                /* One octet cannot say it: 256 looks like 0, 257 like a long form, 258 like 2. */
                ck_assert_int_eq(r, total == 257 ? SN_BAD_TRUNCATED : SN_BAD_LENGTH);
            }
            free(buf);
        }
    }
}

END_TEST

START_TEST(the_shortest_form_is_written_around_the_boundary)
{
    static const uint8_t zeros[300];
    for (size_t body = 244; body <= 260; body++) {
        const struct sn_packet p = {.type = SN_PUBLISH, .data = bytes_of(zeros, body)};
        size_t len;
        uint8_t *buf = encoded(&p, &len);
        if (body + 7 <= 255) {
            ck_assert_uint_eq(len, body + 7);
            ck_assert_uint_eq(buf[0], len);
        } else {
            ck_assert_uint_eq(len, body + 9);
            ck_assert_uint_ge(len, 258);
            ck_assert_uint_eq(buf[0], 1);
            ck_assert_uint_eq((unsigned)buf[1] << 8 | buf[2], len);
        }
        free(buf);
    }
}

END_TEST

START_TEST(a_total_of_65535_passes_and_one_more_is_refused)
{
    static const uint8_t zeros[65536];
    struct sn_packet p = {.type = SN_PUBLISH, .data = bytes_of(zeros, 65526)};
    size_t len;
    uint8_t *buf = encoded(&p, &len);
    ck_assert_uint_eq(len, 65535);
    struct sn_packet got;
    ck_assert_int_eq(sn_decode(bytes_of(buf, len), &got), SN_DECODED);
    ck_assert_uint_eq(got.data.len, 65526);
    ck_assert_int_eq(sn_decode(bytes_of(buf, len - 1), &got), SN_BAD_TRUNCATED);
    free(buf);

    p.data.len++;
    buf = malloc(70000);
    ck_assert_uint_eq(sn_encode(&p, NULL, 0), 0);
    ck_assert_uint_eq(sn_encode(&p, buf, 70000), 0);
    p.data.len = SIZE_MAX;
    ck_assert_uint_eq(sn_encode(&p, NULL, 0), 0);
    free(buf);

    uint8_t *longer = framed_publish(65536 + 9, true);
    ck_assert_int_eq(sn_decode(bytes_of(longer, 65536 + 9), &got), SN_BAD_LENGTH);
    free(longer);
}

END_TEST

/* ---- envelopes ------------------------------------------------------------------------------- */

START_TEST(envelopes_of_every_node_id_length_open_to_what_was_put_in)
{
    static const uint8_t ping[] = {0x02, 0x16};
    uint8_t node[SN_NODE_ID_MAX + 1];
    memset(node, 0xAB, sizeof node);
    for (size_t n = 0; n <= SN_NODE_ID_MAX; n++) {
        const struct sn_envelope env = {.radius = (uint8_t)n, .node_id = bytes_of(node, n)};
        uint8_t *buf = malloc(3 + n + sizeof ping);
        ck_assert_uint_eq(sn_envelope_encode(&env, buf, 2 + n), 0);
        ck_assert_uint_eq(sn_envelope_encode(&env, buf, 3 + n), 3 + n);
        memcpy(buf + 3 + n, ping, sizeof ping);
        struct sn_envelope got;
        ck_assert(sn_is_envelope(bytes_of(buf, 3 + n + sizeof ping)));
        ck_assert_int_eq(sn_envelope_decode(bytes_of(buf, 3 + n + sizeof ping), &got), SN_DECODED);
        ck_assert_uint_eq(got.radius, n & 3);
        ck_assert(bytes_equal(got.node_id, env.node_id));
        ck_assert(bytes_equal(got.inner, bytes_of(ping, sizeof ping)));
        for (size_t cut = 0; cut <= 3 + n; cut++) {
            uint8_t *copy = malloc(cut);
            memcpy(copy, buf, cut);
            ck_assert_int_eq(sn_envelope_decode(bytes_of(copy, cut), &got), SN_BAD_ENVELOPE);
            free(copy);
        }
        free(buf);
    }
    const struct sn_envelope long_id = {.node_id = bytes_of(node, SN_NODE_ID_MAX + 1)};
    uint8_t buf[300];
    ck_assert_uint_eq(sn_envelope_encode(&long_id, buf, sizeof buf), 0);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("codec");
    TCase *tc = tcase_create("codec");
    tcase_set_timeout(tc, 100);
    tcase_add_test(tc, every_datagram_of_up_to_three_octets_is_judged_right);
    tcase_add_loop_test(tc, a_message_cut_or_extended_is_never_the_same_message, 0,
                        (int)n_packet_types);
    tcase_add_test(tc, a_million_random_messages_survive_encoding_and_decoding);
    tcase_add_loop_test(tc, what_does_not_fit_is_refused_and_what_fits_exactly_is_written, 0,
                        (int)n_packet_types);
    tcase_add_test(tc, reserved_types_are_not_written);
    tcase_add_test(tc, both_length_forms_are_read_around_the_boundary);
    tcase_add_test(tc, the_shortest_form_is_written_around_the_boundary);
    tcase_add_test(tc, a_total_of_65535_passes_and_one_more_is_refused);
    tcase_add_test(tc, envelopes_of_every_node_id_length_open_to_what_was_put_in);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
