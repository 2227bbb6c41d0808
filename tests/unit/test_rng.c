/* SPDX-License-Identifier: Apache-2.0 */
/* Known values of splitmix64 and xoshiro256**, and that bounded numbers are bounded and even. */
#include "base/rng.h"

#include "unit/suite.h"

START_TEST(the_seed_is_spread_by_splitmix64)
{
    static const uint64_t want[4] = {6457827717110365317U, 3203168211198807973U,
                                     9817491932198370423U, 4593380528125082431U};
    struct rng r;
    rng_seed(&r, 1234567);
    for (unsigned i = 0; i < 4; i++)
        ck_assert_uint_eq(r.s[i], want[i]);
}

END_TEST

START_TEST(the_sequence_is_that_of_xoshiro256_starstar)
{
    static const uint64_t want[] = {
        11520U,
        0U,
        1509978240U,
        1215971899390074240U,
        1216172134540287360U,
        607988272756665600U,
        16172922978634559625U,
        8476171486693032832U,
        10595114339597558777U,
        2904607092377533576U,
    };
    struct rng r = {
        {1, 2, 3, 4}
    };
    for (unsigned i = 0; i < sizeof want / sizeof want[0]; i++)
        ck_assert_uint_eq(rng_next(&r), want[i]);
}

END_TEST

START_TEST(the_same_seed_gives_the_same_numbers_and_another_one_others)
{
    struct rng a;
    struct rng b;
    struct rng c;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&c, 8);
    unsigned same = 0;
    for (unsigned i = 0; i < 100; i++) {
        const uint64_t x = rng_next(&a);
        ck_assert_uint_eq(x, rng_next(&b));
        same += x == rng_next(&c);
    }
    ck_assert_uint_eq(same, 0);
}

END_TEST

START_TEST(a_seed_of_zero_is_as_good_as_any)
{
    struct rng r;
    rng_seed(&r, 0);
    ck_assert((r.s[0] | r.s[1] | r.s[2] | r.s[3]) != 0);
    ck_assert_uint_ne(rng_next(&r), rng_next(&r));
}

END_TEST

START_TEST(numbers_stay_below_their_bound)
{
    static const uint64_t bounds[] = {1, 2, 3, 10, 1U << 31, UINT64_MAX / 2 + 2, UINT64_MAX};
    struct rng r;
    rng_seed(&r, 1);
    ck_assert_uint_eq(rng_below(&r, 0), 0);
    for (unsigned b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
        for (unsigned i = 0; i < 1000; i++)
            ck_assert_uint_lt(rng_below(&r, bounds[b]), bounds[b]);
    }
}

END_TEST

START_TEST(every_value_is_about_equally_likely)
{
    enum { BOUND = 7, DRAWS = 700000 };

    unsigned seen[BOUND] = {0};
    struct rng r;
    rng_seed(&r, 1);
    for (unsigned i = 0; i < DRAWS; i++)
        seen[rng_below(&r, BOUND)]++;
    for (unsigned i = 0; i < BOUND; i++) {
        /* 100000 expected; five standard deviations are about 1460. */
        ck_assert_uint_gt(seen[i], 98500);
        ck_assert_uint_lt(seen[i], 101500);
    }
}

END_TEST

START_TEST(a_bound_that_does_not_divide_the_range_favours_nobody)
{
    /* Without rejection the lowest third would come half of the time. */
    enum { DRAWS = 30000 };

    const uint64_t third = UINT64_C(1) << 62;
    unsigned low = 0;
    struct rng r;
    rng_seed(&r, 1);
    for (unsigned i = 0; i < DRAWS; i++)
        low += rng_below(&r, 3 * third) < third;
    ck_assert_uint_gt(low, DRAWS / 3 - 500);
    ck_assert_uint_lt(low, DRAWS / 3 + 500);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("rng");
    TCase *tc = tcase_create("rng");
    tcase_add_test(tc, the_seed_is_spread_by_splitmix64);
    tcase_add_test(tc, the_sequence_is_that_of_xoshiro256_starstar);
    tcase_add_test(tc, the_same_seed_gives_the_same_numbers_and_another_one_others);
    tcase_add_test(tc, a_seed_of_zero_is_as_good_as_any);
    tcase_add_test(tc, numbers_stay_below_their_bound);
    tcase_add_test(tc, every_value_is_about_equally_likely);
    tcase_add_test(tc, a_bound_that_does_not_divide_the_range_favours_nobody);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
