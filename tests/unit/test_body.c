/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "base/body.h"
#include "base/origin.h"

#include "unit/suite.h"

enum { THREADS = 4, ROUNDS = 20000 };

START_TEST(a_body_is_a_copy_that_outlives_its_source)
{
    char source[] = "21.5";
    struct body *b = body_new(bytes_str(source));
    source[0] = 'x';
    ck_assert(bytes_equal(body_bytes(b), bytes_str("21.5")));
    ck_assert_uint_eq(atomic_load(&b->refs), 1);
    body_unref(b);
}

END_TEST

START_TEST(it_lives_until_the_last_reference_is_dropped)
{
    struct body *b = body_new(bytes_str("x"));
    ck_assert_ptr_eq(body_ref(b), b);
    ck_assert_ptr_eq(body_ref(b), b);
    body_unref(b);
    body_unref(b);
    ck_assert(bytes_equal(body_bytes(b), bytes_str("x")));
    body_unref(b); /* a leak or a double free is seen by AddressSanitizer */
}

END_TEST

START_TEST(empty_content_and_no_body_are_both_empty)
{
    struct body *b = body_new(bytes_of(NULL, 0));
    ck_assert_ptr_nonnull(b);
    ck_assert_uint_eq(body_bytes(b).len, 0);
    body_unref(b);
    ck_assert_ptr_null(body_ref(NULL));
    ck_assert_uint_eq(body_bytes(NULL).len, 0);
    body_unref(NULL);
}

END_TEST

START_TEST(where_it_came_from_stays_with_it)
{
    struct body *b = body_new_from(bytes_str("21.5"), bytes_str("somewhere"));
    ck_assert(bytes_equal(body_bytes(b), bytes_str("21.5")));
    ck_assert(bytes_equal(body_origin(b), bytes_str("somewhere")));
    ck_assert_uint_eq(body_size(b), sizeof *b + 4 + 2 + 9);
    body_unref(b);
    b = body_new_from(bytes_of(NULL, 0), bytes_str("x"));
    ck_assert_uint_eq(body_bytes(b).len, 0);
    ck_assert(bytes_equal(body_origin(b), bytes_str("x")));
    body_unref(b);
    b = body_new(bytes_str("x"));
    ck_assert_uint_eq(body_origin(b).len, 0);
    ck_assert_uint_eq(body_size(b), sizeof *b + 1);
    body_unref(b);
    ck_assert_uint_eq(body_origin(NULL).len, 0);
    ck_assert_uint_eq(body_size(NULL), 0);
    ck_assert_ptr_null(body_new_from(bytes_of(NULL, 0), bytes_of("", (size_t)UINT16_MAX + 1)));
}

END_TEST

START_TEST(fields_of_an_origin_come_back_and_others_are_passed_over)
{
    uint8_t octets[ORIGIN_MAX];
    struct writer w = wr_to(octets, 40);
    origin_put(&w, ORIGIN_CLIENT, bytes_str("kitchen"));
    origin_put(&w, ORIGIN_RSSI, bytes_str(""));
    wr_bytes(&w, bytes_of("\xC8\x03new", 5));
    origin_put(&w, ORIGIN_LINK, bytes_str("too long for the room that is there"));
    origin_put(&w, ORIGIN_LQI, bytes_str("255"));
    ck_assert(!w.failed);
    struct reader r = rd_of(bytes_of(octets, w.len));
    enum origin_field field;
    struct bytes text;
    ck_assert(origin_next(&r, &field, &text));
    ck_assert_int_eq(field, ORIGIN_CLIENT);
    ck_assert(bytes_equal(text, bytes_str("kitchen")));
    ck_assert(origin_next(&r, &field, &text));
    ck_assert_int_eq(field, ORIGIN_LQI);
    ck_assert(bytes_equal(text, bytes_str("255")));
    ck_assert(!origin_next(&r, &field, &text));
    for (size_t cut = 0; cut < w.len; cut++) {
        r = rd_of(bytes_of(octets, cut));
        while (origin_next(&r, &field, &text))
            ck_assert_int_lt(field, ORIGIN_FIELDS);
    }
    ck_assert_ptr_null(origin_name(ORIGIN_FIELDS));
}

END_TEST

START_TEST(more_than_its_length_can_tell_is_refused)
{
    ck_assert_ptr_null(body_new(bytes_of("", (size_t)UINT32_MAX + 1)));
}

END_TEST

static void *share(void *arg)
{
    struct body *b = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        body_ref(b);
        body_unref(b);
    }
    body_unref(b);
    return NULL;
}

START_TEST(threads_share_it_without_a_lock)
{
    struct body *b = body_new(bytes_str("shared"));
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, share, body_ref(b)), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&b->refs), 1);
    body_unref(b);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("body");
    TCase *tc = tcase_create("body");
    tcase_add_test(tc, a_body_is_a_copy_that_outlives_its_source);
    tcase_add_test(tc, it_lives_until_the_last_reference_is_dropped);
    tcase_add_test(tc, empty_content_and_no_body_are_both_empty);
    tcase_add_test(tc, more_than_its_length_can_tell_is_refused);
    tcase_add_test(tc, where_it_came_from_stays_with_it);
    tcase_add_test(tc, fields_of_an_origin_come_back_and_others_are_passed_over);
    tcase_add_test(tc, threads_share_it_without_a_lock);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
