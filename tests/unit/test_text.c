/* SPDX-License-Identifier: Apache-2.0 */
/* The text builder by itself; how octets from outside look is told in test_log.c. */
#include "base/text.h"

#include "unit/suite.h"

START_TEST(numbers_have_their_digits)
{
    char out[128];
    struct text t = text_to(out, sizeof out);
    text_dec(&t, 0);
    text_word(&t, " ");
    text_dec(&t, UINT64_MAX);
    text_word(&t, " ");
    text_hex(&t, 0, 0);
    text_word(&t, " ");
    text_hex(&t, 0, 1);
    text_word(&t, " ");
    text_hex(&t, 0xAB, 4);
    text_word(&t, " ");
    text_hex(&t, UINT64_MAX, 2);
    text_word(&t, " ");
    text_octets(&t, bytes_of("\x00\x7F\xFF", 3));
    ck_assert_str_eq(out, "0 18446744073709551615  0 00ab ffffffffffffffff 007fff");
    ck_assert_uint_eq(t.len, strlen(out));
    ck_assert(!t.cut);
}

END_TEST

START_TEST(an_escape_is_never_cut_in_the_middle)
{
    for (size_t size = 4; size < 16; size++) {
        char *out = malloc(size);
        struct text t = text_to(out, size);
        text_escaped(&t, bytes_of("\x01\x02\x03", 3));
        const size_t escapes = t.cut ? (t.len - 3) / 4 : 3;
        ck_assert_uint_eq(t.len, 4 * escapes + (t.cut ? 3 : 0));
        ck_assert_uint_eq(strlen(out), t.len);
        free(out);
    }
}

END_TEST

START_TEST(nothing_follows_the_dots)
{
    char out[8];
    struct text t = text_to(out, sizeof out);
    text_dec(&t, 123456789);
    ck_assert_str_eq(out, "...");
    text_word(&t, "a"); /* would fit */
    ck_assert_str_eq(out, "...");
}

END_TEST

START_TEST(too_small_for_dots_is_still_terminated)
{
    char out[3] = "xx";
    struct text t = text_to(out, 3);
    text_word(&t, "abc");
    ck_assert_uint_eq(strlen(out), t.len);
    ck_assert(t.cut);
    t = text_to(out, 1);
    text_word(&t, "abc");
    ck_assert_str_eq(out, "");
}

END_TEST

START_TEST(a_quoted_value_is_cut_at_a_character)
{
    char out[64];
    struct text t = text_to(out, sizeof out);
    text_quoted(&t, bytes_str("a\xC3\xA4z"), 4);
    text_word(&t, " ");
    text_quoted(&t, bytes_str("a\xC3\xA4z"), 3);
    text_word(&t, " ");
    text_quoted(&t, bytes_str("a\xC3\xA4z"), 2);
    text_word(&t, " ");
    text_quoted(&t, bytes_str("a"), 0);
    text_word(&t, " ");
    text_quoted(&t, bytes_of(NULL, 0), 0);
    ck_assert_str_eq(out, "\"a\xC3\xA4z\" \"a\xC3\xA4\"... \"a\"... \"\"... \"\"");
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *tc = tcase_create("text");
    tcase_add_test(tc, numbers_have_their_digits);
    tcase_add_test(tc, an_escape_is_never_cut_in_the_middle);
    tcase_add_test(tc, nothing_follows_the_dots);
    tcase_add_test(tc, too_small_for_dots_is_still_terminated);
    tcase_add_test(tc, a_quoted_value_is_cut_at_a_character);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
