/* SPDX-License-Identifier: Apache-2.0 */
/* What Paho gets in place of snprintf() says the same. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "paho_calls.h"
#include "unit/suite.h"

enum { ROOM = 64 };

static void ck_same(size_t room, const char *prefix, int number)
{
    char ours[ROOM], theirs[ROOM];

    memset(ours, 'x', sizeof ours);
    memset(theirs, 'x', sizeof theirs);
    ck_assert_int_eq(sennet_paho_snprintf(ours, room, "%s%d", prefix, number),
                     snprintf(theirs, room, "%s%d", prefix, number));
    ck_assert_mem_eq(ours, theirs, room);
    ck_assert_int_eq(
        sennet_paho___snprintf_chk(ours, room, 0, room, "%s%u", prefix, (unsigned)number),
        snprintf(theirs, room, "%s%u", prefix, (unsigned)number));
    ck_assert_mem_eq(ours, theirs, room);
}

START_TEST(keys_are_as_snprintf_makes_them)
{
    static const int numbers[] = {0,     1,     9,       10,          99,      100,
                                  65535, 65536, INT_MAX, INT_MAX - 1, INT_MIN, -1};
    static const char *const prefixes[] = {"", "s-", "sc5-", "a longer one-"};

    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++)
        for (size_t p = 0; p < sizeof prefixes / sizeof prefixes[0]; p++)
            ck_same(ROOM, prefixes[p], numbers[n]);
}

END_TEST

START_TEST(keys_that_do_not_fit_are_cut_off)
{
    for (size_t room = 0; room < 10; room++)
        ck_same(room, "sc-", 12345);
    char out[ROOM] = "....";
    ck_assert_int_eq(sennet_paho___snprintf_chk(out, ROOM, 0, 3, "%s%d", "s-", 17), 4);
    ck_assert_str_eq(out, "s-");
}

END_TEST

START_TEST(other_texts_are_printed)
{
    char out[ROOM];

    ck_assert_int_eq(sennet_paho_snprintf(out, sizeof out, "%s/%s%s", "a", "b", "c"), 4);
    ck_assert_str_eq(out, "a/bc");
    ck_assert_int_eq(sennet_paho___snprintf_chk(out, sizeof out, 1, sizeof out, "%d %s", 3, "x"),
                     3);
    ck_assert_str_eq(out, "3 x");
}

END_TEST

int main(void)
{
    Suite *s = suite_create("paho_keys");
    TCase *tc = tcase_create("all");
    tcase_add_test(tc, keys_are_as_snprintf_makes_them);
    tcase_add_test(tc, keys_that_do_not_fit_are_cut_off);
    tcase_add_test(tc, other_texts_are_printed);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
