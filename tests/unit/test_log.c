/* SPDX-License-Identifier: Apache-2.0 */
/* Log records: what octets from outside look like in them, where they are cut, and that a full ring
 * counts what it drops. */
#include "base/log.h"

#include "unit/seed.h"
#include "unit/suite.h"

enum { RING = 4, RANDOM_RECORDS = 20000 };

struct str_case {
    const char *value;
    size_t len;
    const char *text;
};

#define CASE(value, text)                                                                          \
    {                                                                                              \
        value, sizeof value - 1, text                                                              \
    }

static const struct str_case str_cases[] = {
    CASE("dev1", "k=dev1"),
    CASE("a/b-c_d.e:f+#$@%[0]", "k=a/b-c_d.e:f+#$@%[0]"),
    CASE("", "k=\"\""),
    CASE("a b", "k=\"a b\""),
    CASE("a=b", "k=\"a=b\""),
    CASE("a\nlevel=error", "k=\"a\\x0alevel=error\""),
    CASE("a\0b", "k=\"a\\x00b\""),
    CASE("\"\\", "k=\"\\\"\\\\\""),
    CASE("\x1B[2J", "k=\"\\x1b[2J\""),
    CASE("\x7F", "k=\"\\x7f\""),
    CASE("r\xC3\xA4um", "k=\"r\xC3\xA4um\""),
    CASE("r\xE4um\xC3\xA4", "k=\"r\\xe4um\\xc3\\xa4\""),
    CASE("\xC2\x85", "k=\"\\xc2\\x85\""),            /* NEL, a C1 control */
    CASE("\xE2\x80\xA8x", "k=\"\\xe2\\x80\\xa8x\""), /* line separator */
    CASE("\xE2\x81\xA6x", "k=\"\\xe2\\x81\\xa6x\""), /* bidirectional isolate */
    CASE("\xE2\x80\x8Ex", "k=\"\\xe2\\x80\\x8ex\""), /* left-to-right mark */
    CASE("\xE2\x82\xAC", "k=\"\xE2\x82\xAC\""),
    CASE("\xE2\x81\xBF", "k=\"\xE2\x81\xBF\""),
};

static struct log_ring ring;

static void setup(void)
{
    ck_assert_int_eq(log_init(&ring, RING, LOG_INFO), 0);
}

static void teardown(void)
{
    log_deinit(&ring);
}

START_TEST(values_from_outside_cannot_break_the_line)
{
    const struct str_case *c = &str_cases[_i];
    uint8_t *value = malloc(c->len);
    memcpy(value, c->value, c->len);
    ck_assert(log_begin(&ring, LOG_INFO, "test"));
    log_str(&ring, "k", bytes_of(value, c->len));
    log_end(&ring);
    free(value);
    const struct log_record *rec = log_peek(&ring);
    ck_assert_str_eq(rec->text, c->text);
    ck_assert_uint_eq(rec->len, strlen(c->text));
    log_done(&ring);
}

END_TEST

START_TEST(each_kind_of_value_has_its_form)
{
    struct peer_room room;
    const uint8_t addr[] = {192, 0, 2, 7, 0x07, 0x5C};
    const struct peer *p = peer_make(&room, 0, PEER_IP4, bytes_of(addr, sizeof addr));
    ck_assert(log_begin(&ring, LOG_WARN, "client.state"));
    log_word(&ring, "new", "active");
    log_text(&ring, "why", "two words");
    log_int(&ring, "n", -5);
    log_int(&ring, "least", INT64_MIN);
    log_int(&ring, "most", INT64_MAX);
    log_hex(&ring, "raw", bytes_of("\x00\xFF", 2));
    log_peer(&ring, "peer", p);
    log_end(&ring);
    const struct log_record *rec = log_peek(&ring);
    ck_assert_str_eq(rec->event, "client.state");
    ck_assert_int_eq(rec->level, LOG_WARN);
    ck_assert_str_eq(rec->text, "new=active why=\"two words\" n=-5 least=-9223372036854775808 "
                                "most=9223372036854775807 raw=00ff peer=192.0.2.7:1884");
}

END_TEST

START_TEST(a_ring_names_whom_it_is_about_in_each_record)
{
    log_about(&ring, "broker", bytes_str("cloud"));
    log_about(&ring, "client", bytes_str("a b"));
    for (unsigned i = 0; i < 2; i++) {
        ck_assert(log_begin(&ring, LOG_INFO, "test"));
        if (i > 0)
            log_int(&ring, "n", i);
        log_end(&ring);
    }
    ck_assert_str_eq(log_peek(&ring)->text, "broker=cloud client=\"a b\"");
    log_done(&ring);
    ck_assert_str_eq(log_peek(&ring)->text, "broker=cloud client=\"a b\" n=1");
}

END_TEST

START_TEST(an_unwanted_level_makes_no_record)
{
    ck_assert(!log_begin(&ring, LOG_DEBUG, "test"));
    ck_assert(!log_begin(&ring, LOG_TRACE, "test"));
    ck_assert_ptr_null(log_peek(&ring));
    ck_assert_uint_eq(ring.dropped, 0);
}

END_TEST

START_TEST(a_full_ring_drops_the_new_one_and_counts)
{
    for (unsigned round = 0; round < 3; round++) {
        for (int i = 0; i < RING; i++) {
            ck_assert(log_begin(&ring, LOG_INFO, "test"));
            log_int(&ring, "i", i);
            log_end(&ring);
        }
        ck_assert(!log_begin(&ring, LOG_ERROR, "test"));
        ck_assert_uint_eq(ring.dropped, round + 1);
        for (int i = 0; i < RING; i++) {
            const char want[] = {'i', '=', (char)('0' + i), '\0'};
            ck_assert_str_eq(log_peek(&ring)->text, want);
            log_done(&ring);
        }
        ck_assert_ptr_null(log_peek(&ring));
    }
}

END_TEST

static void fill(const char *with, size_t n)
{
    char *value = malloc(n);
    for (size_t i = 0; i < n; i++)
        value[i] = with[i % strlen(with)];
    log_str(&ring, "k", bytes_of(value, n));
    free(value);
}

START_TEST(what_is_too_long_ends_in_dots_and_its_length_is_told_right)
{
    /* The second round finds the text of the first in the record. */
    for (unsigned round = 0; round < 2 * RING; round++) {
        ck_assert(log_begin(&ring, LOG_INFO, "test"));
        fill("\xC3\xA4", 2 * (LOG_TEXT_MAX - round));
        log_word(&ring, "more", "ignored");
        log_end(&ring);
        const struct log_record *rec = log_peek(&ring);
        ck_assert(rec->cut);
        ck_assert_uint_eq(rec->len, strlen(rec->text));
        ck_assert_uint_lt(rec->len, LOG_TEXT_MAX);
        ck_assert_uint_gt(rec->len, LOG_TEXT_MAX - 8);
        ck_assert_str_eq(rec->text + rec->len - 3, "...");
        ck_assert(bytes_is_utf8(bytes_of(rec->text, rec->len)));
        log_done(&ring);
    }
}

END_TEST

START_TEST(a_record_just_short_enough_is_whole)
{
    for (size_t n = LOG_TEXT_MAX - 12; n < LOG_TEXT_MAX; n++) {
        ck_assert(log_begin(&ring, LOG_INFO, "test"));
        fill("x", n);
        log_end(&ring);
        const struct log_record *rec = log_peek(&ring);
        /* "k=", the value, and room in reserve for the dots */
        ck_assert_int_eq(rec->cut, 2 + n > LOG_TEXT_MAX - 4);
        if (!rec->cut)
            ck_assert_uint_eq(rec->len, 2 + n);
        log_done(&ring);
    }
}

END_TEST

START_TEST(no_value_breaks_the_record)
{
    struct rng rng = seeded_rng();
    for (unsigned i = 0; i < RANDOM_RECORDS; i++) {
        ck_assert(log_begin(&ring, LOG_INFO, "test"));
        for (unsigned k = 0; k < 3; k++) {
            const size_t len = (size_t)rng_below(&rng, 200);
            uint8_t *value = malloc(len);
            const uint64_t range = rng_below(&rng, 2) == 0 ? 256 : 128;
            for (size_t at = 0; at < len; at++)
                value[at] = (uint8_t)rng_below(&rng, range);
            log_str(&ring, "key", bytes_of(value, len));
            free(value);
        }
        log_end(&ring);
        const struct log_record *rec = log_peek(&ring);
        if (rec->len != strlen(rec->text) || !bytes_is_utf8(bytes_of(rec->text, rec->len)))
            ck_abort_msg("%s", rec->text);
        for (size_t at = 0; at < rec->len; at++) {
            if ((uint8_t)rec->text[at] < 0x20 || rec->text[at] == 0x7F)
                ck_abort_msg("%s", rec->text);
        }
        log_done(&ring);
    }
}

END_TEST

START_TEST(levels_have_names_and_names_have_levels)
{
    static const char *const names[] = {"error", "warn", "notice", "info", "debug", "trace"};
    for (unsigned i = 0; i < 6; i++) {
        enum log_level level = LOG_ERROR;
        ck_assert(log_level_parse(bytes_str(names[i]), &level));
        ck_assert_uint_eq(level, LOG_ERROR + i);
        ck_assert_str_eq(log_level_name(level), names[i]);
    }
    enum log_level untouched = LOG_TRACE;
    ck_assert(!log_level_parse(bytes_str("loud"), &untouched));
    ck_assert(!log_level_parse(bytes_str(""), &untouched));
    ck_assert(!log_level_parse(bytes_of("info\0", 5), &untouched));
    ck_assert_int_eq(untouched, LOG_TRACE);
}

END_TEST

START_TEST(a_sparing_ring_has_memory_only_while_it_has_records)
{
    struct log_ring silent;
    log_init_sparing(&silent, 2, LOG_INFO);
    ck_assert(!log_begin(&silent, LOG_DEBUG, "not.wanted"));
    ck_assert_ptr_null(silent.records);
    for (unsigned i = 0; i < 3; i++) {
        if (log_begin(&silent, LOG_INFO, "one")) {
            log_int(&silent, "i", i);
            log_end(&silent);
        }
    }
    ck_assert_uint_eq(silent.dropped, 1);
    ck_assert_str_eq(log_peek(&silent)->text, "i=0");
    log_done(&silent);
    ck_assert_str_eq(log_peek(&silent)->text, "i=1");
    log_done(&silent);
    ck_assert_ptr_null(silent.records);
    ck_assert_ptr_null(log_peek(&silent));
    ck_assert(log_begin(&silent, LOG_INFO, "again"));
    log_end(&silent);
    log_deinit(&silent);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("log");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_sparing_ring_has_memory_only_while_it_has_records);
    tcase_add_loop_test(tc, values_from_outside_cannot_break_the_line, 0,
                        (int)(sizeof str_cases / sizeof str_cases[0]));
    tcase_add_test(tc, each_kind_of_value_has_its_form);
    tcase_add_test(tc, a_ring_names_whom_it_is_about_in_each_record);
    tcase_add_test(tc, an_unwanted_level_makes_no_record);
    tcase_add_test(tc, a_full_ring_drops_the_new_one_and_counts);
    tcase_add_test(tc, what_is_too_long_ends_in_dots_and_its_length_is_told_right);
    tcase_add_test(tc, a_record_just_short_enough_is_whole);
    tcase_add_test(tc, no_value_breaks_the_record);
    tcase_add_test(tc, levels_have_names_and_names_have_levels);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
