/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <stdlib.h>

#include "base/parcels.h"

#include "unit/seed.h"
#include "unit/suite.h"

enum { MAX = 1024 * 1024, STEPS = 200000, KEPT = 4096 };

static void fill(unsigned char *at, size_t size, unsigned number)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (unsigned char)(number + i);
}

static bool is_filled(const unsigned char *at, size_t size, unsigned number)
{
    for (size_t i = 0; i < size; i++) {
        if (at[i] != (unsigned char)(number + i))
            return false;
    }
    return true;
}

START_TEST(parcels_of_random_sizes_come_out_as_they_went_in)
{
    struct rng rng = seeded_rng();
    static size_t sizes[KEPT];
    struct parcels q;
    parcels_init(&q, MAX);
    unsigned in = 0;
    unsigned out = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        if (in - out < KEPT && rng_below(&rng, 100) < 52) {
            const size_t size = (size_t)rng_below(&rng, 300);
            const size_t written = (size_t)rng_below(&rng, size + 1);
            unsigned char *at = parcels_room(&q, size);
            if (at == NULL)
                continue;
            if ((uintptr_t)at % _Alignof(max_align_t) != 0)
                ck_abort_msg("not aligned");
            fill(at, written, in);
            parcels_add(&q, written);
            sizes[in++ % KEPT] = written;
        } else if (in != out) {
            if (!is_filled(parcels_first(&q), sizes[out % KEPT], out))
                ck_abort_msg("parcel %u is another one", out);
            parcels_done(&q);
            out++;
        }
        if ((parcels_first(&q) == NULL) != (in == out))
            ck_abort_msg("empty or not");
    }
    ck_assert_uint_gt(out, STEPS / 4);
    parcels_deinit(&q);
}

END_TEST

START_TEST(the_block_ends_at_its_maximum_and_starts_over_when_drained)
{
    struct parcels q;
    parcels_init(&q, MAX);
    unsigned n = 0;
    for (; parcels_room(&q, 1000) != NULL; n++)
        parcels_add(&q, 1000);
    ck_assert_uint_eq(n, MAX / (16 + 1008));
    ck_assert_uint_le(q.cap, MAX);
    parcels_done(&q);
    ck_assert_ptr_null(parcels_room(&q, 1000)); /* nothing is moved to the front */
    for (n--; n > 0; n--)
        parcels_done(&q);
    ck_assert_ptr_null(parcels_first(&q));
    ck_assert_ptr_nonnull(parcels_room(&q, MAX - 16));
    ck_assert_ptr_null(parcels_room(&q, MAX - 15));
    ck_assert_ptr_null(parcels_room(&q, SIZE_MAX));
    parcels_deinit(&q);
}

END_TEST

START_TEST(a_maximum_below_the_first_size_holds)
{
    struct parcels q;
    parcels_init(&q, 64);
    ck_assert_ptr_nonnull(parcels_room(&q, 48));
    ck_assert_uint_eq(q.cap, 64);
    ck_assert_ptr_null(parcels_room(&q, 49));
    parcels_deinit(&q);
}

END_TEST

START_TEST(a_block_that_had_to_grow_is_given_back_when_nothing_lies_in_it)
{
    struct parcels q;
    parcels_init(&q, MAX);
    parcels_spare(&q);
    (void)parcels_room(&q, 1);
    const size_t small = q.cap;
    parcels_spare(&q); /* not worth it */
    ck_assert_uint_eq(q.cap, small);
    ck_assert_ptr_nonnull(parcels_room(&q, 8 * small));
    fill(parcels_room(&q, 8 * small), 8 * small, 7);
    parcels_add(&q, 8 * small);
    parcels_spare(&q);
    ck_assert(is_filled(parcels_first(&q), 8 * small, 7));
    parcels_done(&q);
    parcels_spare(&q);
    ck_assert_ptr_null(q.buf);
    ck_assert_ptr_nonnull(parcels_room(&q, 10));
    parcels_add(&q, 10);
    ck_assert_ptr_nonnull(parcels_first(&q));
    parcels_deinit(&q);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("parcels");
    TCase *tc = tcase_create("parcels");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, parcels_of_random_sizes_come_out_as_they_went_in);
    tcase_add_test(tc, a_block_that_had_to_grow_is_given_back_when_nothing_lies_in_it);
    tcase_add_test(tc, the_block_ends_at_its_maximum_and_starts_over_when_drained);
    tcase_add_test(tc, a_maximum_below_the_first_size_holds);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
