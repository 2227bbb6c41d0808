/* SPDX-License-Identifier: Apache-2.0 */
/* Records side by side: nobody's octets but one's own, zeroed, and what was freed is used again.
 * posix_memalign() is wrapped by the linker. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/slabs.h"

#include "unit/seed.h"
#include "unit/suite.h"

enum { RECORDS = 3000, STEPS = 60000, MANY = 10000 };

static bool no_memory;
static unsigned n_slabs; /* that were made */

int __real_posix_memalign(void **at, size_t alignment, size_t size);
int __wrap_posix_memalign(void **at, size_t alignment, size_t size);

int __wrap_posix_memalign(void **at, size_t alignment, size_t size)
{
    n_slabs++;
    return no_memory ? 12 : __real_posix_memalign(at, alignment, size);
}

static void ck_filled(const uint8_t *record, size_t octets, uint8_t with)
{
    size_t others = 0;
    for (size_t i = 0; i < octets; i++)
        others += record[i] != with;
    ck_assert_uint_eq(others, 0);
}

/* A new one must be zeroed, and is filled. */
static uint8_t *filled(struct slabs *all, size_t octets, uint8_t with)
{
    uint8_t *const record = slab_new(all, octets);
    if (record == NULL)
        return NULL;
    ck_assert_uint_eq((uintptr_t)record % SLAB_STEP, 0);
    ck_filled(record, octets, 0);
    memset(record, with, octets);
    return record;
}

START_TEST(records_of_all_sizes_are_apart_while_they_come_and_go)
{
    struct rng rng = seeded_rng();
    struct slabs all = {{NULL}};
    uint8_t *records[RECORDS] = {NULL};
    size_t octets[RECORDS] = {0};
    for (unsigned step = 0; step < STEPS; step++) {
        const size_t i = rng_below(&rng, RECORDS);
        if (records[i] != NULL) {
            ck_filled(records[i], octets[i], (uint8_t)i);
            slab_free(&all, records[i], octets[i]);
            records[i] = NULL;
            continue;
        }
        octets[i] = 1 + rng_below(&rng, SLAB_LARGEST + 20);
        no_memory = rng_below(&rng, 8) == 0;
        records[i] = filled(&all, octets[i], (uint8_t)i);
        ck_assert(no_memory || records[i] != NULL);
        no_memory = false;
    }
    for (size_t i = 0; i < RECORDS; i++)
        slab_free(&all, records[i], octets[i]);
    slabs_deinit(&all);
}

END_TEST

START_TEST(they_stand_side_by_side)
{
    struct slabs all = {{NULL}};
    uint8_t *const first = filled(&all, 37, 1);
    uint8_t *const second = filled(&all, 40, 2);
    ck_assert_uint_eq((uintptr_t)second - (uintptr_t)first, 40);
    slab_free(&all, first, 37);
    ck_assert_ptr_eq(filled(&all, 33, 3), first);
    slab_free(&all, first, 33);
    slab_free(&all, second, 40);
    slabs_deinit(&all);
}

END_TEST

START_TEST(what_many_have_left_is_given_back_but_for_one_slab)
{
    static void *records[MANY];
    struct slabs all = {{NULL}};
    n_slabs = 0;
    for (size_t i = 0; i < MANY; i++)
        records[i] = filled(&all, 64, 1);
    const unsigned needed = n_slabs;
    ck_assert_uint_ge(needed, MANY * 64 / 32768);
    ck_assert_uint_le(needed, MANY * 64 / 32768 + 2);
    for (size_t i = 0; i < MANY; i++)
        slab_free(&all, records[i], 64);
    for (size_t i = 0; i < 100; i++) /* not one for each that comes and goes */
        slab_free(&all, filled(&all, 64, 1), 64);
    ck_assert_uint_eq(n_slabs, needed);
    for (size_t i = 0; i < MANY; i++)
        records[i] = filled(&all, 64, 1);
    ck_assert_uint_eq(n_slabs, 2 * needed - 1);
    for (size_t i = MANY; i-- > 0;)
        slab_free(&all, records[i], 64);
    slabs_deinit(&all);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("slabs");
    TCase *tc = tcase_create("slabs");
    tcase_add_test(tc, records_of_all_sizes_are_apart_while_they_come_and_go);
    tcase_add_test(tc, they_stand_side_by_side);
    tcase_add_test(tc, what_many_have_left_is_given_back_but_for_one_slab);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
