/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/golden/codec.txt against the codec: what each datagram decodes to, field by field, and that
 * encoding the result gives the same octets again. One Check test per vector.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "mqttsn/packet.h"
#include "unit/golden.h"
#include "unit/suite.h"

enum { NUMBERED = 137, LETTERED = 7, STRINGS_MAX = 4 };

static struct golden_file golden;

/* What the file says; the strings it points to are kept for freeing. */
struct expected {
    struct sn_packet p;
    uint8_t *strings[STRINGS_MAX];
    unsigned n_strings;
};

/* A value up to the next blank outside quotation marks, as text or as octets. */
static struct bytes value_bytes(struct expected *x, const char *value, size_t n)
{
    ck_assert_uint_lt(x->n_strings, STRINGS_MAX);
    size_t len = 0;
    uint8_t *out;
    if (value[0] != '"') {
        char *text = strndup(value, n);
        out = golden_octets(text, &len);
        free(text);
    } else {
        ck_assert_msg(n >= 2 && value[n - 1] == '"', "no closing quotation mark: %s", value);
        out = malloc(n);
        for (size_t i = 1; i + 1 < n; i++) {
            if (value[i] == '\\') {
                const char digits[3] = {value[i + 2], value[i + 3], '\0'};
                out[len++] = (uint8_t)strtoul(digits, NULL, 16);
                i += 3;
            } else {
                out[len++] = (uint8_t)value[i];
            }
        }
    }
    x->strings[x->n_strings++] = out;
    return bytes_of(out, len);
}

static unsigned index_of(const char *const *words, const char *value, size_t n)
{
    for (unsigned i = 0; words[i] != NULL; i++) {
        if (strlen(words[i]) == n && memcmp(words[i], value, n) == 0)
            return i;
    }
    ck_abort_msg("unknown word: %s", value);
    return 0;
}

static void set_field(struct expected *x, const char *key, const char *value, size_t n)
{
    static const char *const kinds[] = {"normal", "predefined", "short", "reserved", NULL};
    static const char *const qoses[] = {"0", "1", "2", "-1", NULL};
    struct sn_packet *p = &x->p;
    const unsigned long number = strtoul(value, NULL, 10);
    if (strcmp(key, "dup") == 0)
        p->dup = number == 1;
    else if (strcmp(key, "retain") == 0)
        p->retain = number == 1;
    else if (strcmp(key, "will") == 0)
        p->will = number == 1;
    else if (strcmp(key, "clean") == 0)
        p->clean = number == 1;
    else if (strcmp(key, "qos") == 0)
        p->qos = (enum sn_qos)index_of(qoses, value, n);
    else if (strcmp(key, "kind") == 0)
        p->topic_kind = (enum sn_topic_kind)index_of(kinds, value, n);
    else if (strcmp(key, "topicid") == 0)
        p->topic_id = (uint16_t)strtoul(value, NULL, 16);
    else if (strcmp(key, "msgid") == 0)
        p->msg_id = (uint16_t)number;
    else if (strcmp(key, "duration") == 0) {
        p->duration_s = (uint16_t)number;
        p->has_duration = p->type == SN_DISCONNECT;
    } else if (strcmp(key, "rc") == 0)
        p->return_code = (uint8_t)number;
    else if (strcmp(key, "protocol") == 0)
        p->protocol_id = (uint8_t)number;
    else if (strcmp(key, "gwid") == 0)
        p->gw_id = (uint8_t)number;
    else if (strcmp(key, "radius") == 0)
        p->radius = (uint8_t)number;
    else if (strcmp(key, "client") == 0)
        p->client_id = value_bytes(x, value, n);
    else if (strcmp(key, "topic") == 0)
        p->topic = value_bytes(x, value, n);
    else if (strcmp(key, "data") == 0)
        p->data = value_bytes(x, value, n);
    else
        ck_abort_msg("unknown field: %s", key);
}

static enum sn_type type_named(const char *word, size_t n)
{
    for (unsigned i = 0; i < SN_TYPE_COUNT; i++) {
        const char *name = sn_type_name(i);
        if (strlen(name) == n && memcmp(name, word, n) == 0)
            return (enum sn_type)i;
    }
    ck_abort_msg("unknown message: %s", word);
    return SN_FORWARD;
}

static size_t value_length(const char *value)
{
    bool quoted = false;
    size_t n = 0;
    for (; value[n] != '\0' && (quoted || value[n] != ' '); n++)
        quoted ^= value[n] == '"';
    return n;
}

static struct expected read_expected(const char *line)
{
    struct expected x = {0};
    size_t n = strcspn(line, " ");
    x.p.type = type_named(line, n);
    for (const char *at = line + n; *at != '\0';) {
        at += strspn(at, " ");
        char key[16];
        const size_t key_len = strcspn(at, "=");
        ck_assert_msg(key_len < sizeof key && at[key_len] == '=', "not key=value: %s", at);
        memcpy(key, at, key_len);
        key[key_len] = '\0';
        at += key_len + 1;
        n = value_length(at);
        set_field(&x, key, at, n);
        at += n;
    }
    return x;
}

static void check_fields(const char *number, const struct sn_packet *got,
                         const struct sn_packet *want)
{
#define SAME(field)                                                                                \
    ck_assert_msg(got->field == want->field, "%s: " #field " is %u, not %u", number,               \
                  (unsigned)got->field, (unsigned)want->field)
#define SAME_BYTES(field)                                                                          \
    ck_assert_msg(bytes_equal(got->field, want->field), "%s: " #field " differs", number)
    SAME(type);
    SAME(dup);
    SAME(retain);
    SAME(will);
    SAME(clean);
    SAME(qos);
    SAME(topic_kind);
    SAME(topic_id);
    SAME(msg_id);
    SAME(duration_s);
    SAME(has_duration);
    SAME(return_code);
    SAME(protocol_id);
    SAME(gw_id);
    SAME(radius);
    SAME_BYTES(client_id);
    SAME_BYTES(topic);
    SAME_BYTES(data);
#undef SAME
#undef SAME_BYTES
}

/* One expected envelope is opened; what it encodes to is appended to `again`. */
static struct bytes check_envelope(const struct golden *v, const char *line, struct bytes in,
                                   struct writer *again)
{
    unsigned radius = 0;
    int at = 0;
    ck_assert_int_eq(sscanf(line, "envelope radius=%u node=%n", &radius, &at), 1);
    ck_assert_int_gt(at, 0);
    size_t node_len;
    uint8_t *node = golden_octets(line + at, &node_len);
    struct sn_packet p;
    struct sn_envelope env;
    ck_assert_msg(sn_is_envelope(in), "%s: not taken for an envelope", v->number);
    ck_assert_int_eq(sn_decode(in, &p), SN_BAD_ENVELOPE);
    ck_assert_int_eq(sn_envelope_decode(in, &env), SN_DECODED);
    ck_assert_uint_eq(env.radius, radius);
    ck_assert_msg(bytes_equal(env.node_id, bytes_of(node, node_len)), "%s: node id", v->number);
    free(node);
    uint8_t header[3 + SN_NODE_ID_MAX];
    const size_t n = sn_envelope_encode(&env, header, sizeof header);
    ck_assert_uint_eq(n, in.len - env.inner.len);
    wr_bytes(again, bytes_of(header, n));
    return env.inner;
}

static void check_drop(const struct golden *v, const char *reason, struct bytes in)
{
    struct sn_packet p;
    struct sn_envelope env;
    const enum sn_decode_result r =
        sn_is_envelope(in) ? sn_envelope_decode(in, &env) : sn_decode(in, &p);
    ck_assert_msg(strcmp(sn_decode_result_name(r), reason) == 0, "%s: %s, not %s", v->number,
                  sn_decode_result_name(r), reason);
}

static void check_message(const struct golden *v, const char *line, const char *encodes,
                          struct bytes in, struct writer *again)
{
    struct sn_packet p;
    struct expected x = read_expected(line);
    const enum sn_decode_result r = sn_decode(in, &p);
    ck_assert_msg(r == SN_DECODED, "%s: %s", v->number, sn_decode_result_name(r));
    check_fields(v->number, &p, &x.p);

    size_t len = v->len;
    uint8_t *want = encodes != NULL ? golden_octets(encodes, &len) : NULL;
    again->len += sn_encode(&p, again->buf + again->len, again->cap - again->len);
    ck_assert_msg(!again->failed && again->len == len, "%s: encodes to %zu octets, not %zu",
                  v->number, again->len, len);
    ck_assert_msg(memcmp(again->buf, want != NULL ? want : v->octets, len) == 0,
                  "%s: encodes to other octets", v->number);
    free(want);
    for (unsigned i = 0; i < x.n_strings; i++)
        free(x.strings[i]);
}

START_TEST(decodes_to_what_the_file_says_and_encodes_back)
{
    const struct golden *v = &golden.vectors[_i];
    struct bytes in = bytes_of(v->octets, v->len);
    uint8_t *buf = malloc(v->len + 1);
    struct writer again = wr_to(buf, v->len + 1);
    unsigned i = 0;
    while (i < v->n_expect && strncmp(v->expect[i], "envelope ", 9) == 0)
        in = check_envelope(v, v->expect[i++], in, &again);
    ck_assert_msg(i < v->n_expect, "%s: the file does not say what it is", v->number);
    const char *line = v->expect[i++];
    if (strncmp(line, "drop ", 5) == 0) {
        check_drop(v, line + 5, in);
    } else {
        const char *encodes = NULL;
        if (i < v->n_expect && strncmp(v->expect[i], "encodes ", 8) == 0)
            encodes = v->expect[i++] + 8;
        check_message(v, line, encodes, in, &again);
    }
    ck_assert_msg(i == v->n_expect, "%s: not understood: %s", v->number, v->expect[i]);
    free(buf);
}

END_TEST

START_TEST(no_vector_of_the_reference_is_missing)
{
    ck_assert_uint_eq(golden.count, NUMBERED + LETTERED);
    for (unsigned i = 0; i < golden.count; i++) {
        char number[8];
        snprintf(number, sizeof number, i < NUMBERED ? "%u" : "L%u",
                 i < NUMBERED ? i + 1 : i + 1 - NUMBERED);
        ck_assert_str_eq(golden.vectors[i].number, number);
    }
}

END_TEST

int main(void)
{
    golden = golden_load(GOLDEN_DIR "/codec.txt");
    Suite *suite = suite_create("codec_golden");
    TCase *tc = tcase_create("golden");
    tcase_add_test(tc, no_vector_of_the_reference_is_missing);
    tcase_add_loop_test(tc, decodes_to_what_the_file_says_and_encodes_back, 0, (int)golden.count);
    suite_add_tcase(suite, tc);
    const int result = run_suite(suite);
    golden_free(&golden);
    return result;
}
