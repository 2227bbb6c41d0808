/* SPDX-License-Identifier: Apache-2.0 */
/* The hash map against a model, with few hashes so that chains are long, and without memory for its
 * array. calloc() is wrapped by the linker. */
#include <stdbool.h>
#include <string.h>

#include "base/hmap.h"
#include "base/list.h"

#include "unit/no_memory.h"
#include "unit/seed.h"
#include "unit/suite.h"

enum { ITEMS = 400, STEPS = 100000 };

struct item {
    struct hmap_node node;
    bool in_map;
};

static bool found(const struct hmap *m, uint64_t hash, const struct item *item)
{
    for (struct hmap_node *n = hmap_first(m, hash); n != NULL; n = hmap_next(n)) {
        if (n->hash != hash)
            ck_abort_msg("a node with another hash");
        if (container_of(n, struct item, node) == item)
            return true;
    }
    return false;
}

static void check_all(const struct hmap *m, const struct item *items, const uint64_t *hashes)
{
    size_t count = 0;
    for (unsigned i = 0; i < ITEMS; i++) {
        count += items[i].in_map;
        if (found(m, hashes[i], &items[i]) != items[i].in_map)
            ck_abort_msg("item %u", i);
    }
    ck_assert_uint_eq(m->count, count);
}

static void empty(struct hmap *m)
{
    for (struct hmap_node *n = hmap_any(m); n != NULL; n = hmap_any(m))
        hmap_remove(m, n);
    ck_assert_uint_eq(m->count, 0);
}

/* `failing`: how often of 8 there is no memory. */
static void random_use(uint64_t different_hashes, unsigned failing)
{
    struct rng rng = seeded_rng();
    static struct item items[ITEMS];
    static uint64_t hashes[ITEMS];
    memset(items, 0, sizeof items);
    struct hmap m;
    hmap_init(&m);
    for (unsigned i = 0; i < ITEMS; i++)
        hashes[i] = rng_below(&rng, different_hashes) * 0x9E3779B97F4A7C15U;
    for (unsigned step = 0; step < STEPS; step++) {
        struct item *item = &items[rng_below(&rng, ITEMS)];
        no_memory = rng_below(&rng, 8) < failing;
        if (item->in_map)
            hmap_remove(&m, &item->node);
        else
            hmap_insert(&m, &item->node, hashes[item - items]);
        no_memory = false;
        item->in_map = !item->in_map;
        if (step % 500 == 0)
            check_all(&m, items, hashes);
    }
    check_all(&m, items, hashes);
    empty(&m);
    hmap_deinit(&m);
}

START_TEST(random_use_agrees_with_a_model)
{
    random_use(UINT64_MAX, 0);
}

END_TEST

START_TEST(many_with_the_same_hash_are_all_found)
{
    random_use(5, 0);
}

END_TEST

START_TEST(without_memory_for_the_array_everything_is_still_found)
{
    random_use(UINT64_MAX, 8);
    random_use(5, 8);
}

END_TEST

START_TEST(an_array_that_comes_late_takes_over_the_chain)
{
    random_use(UINT64_MAX, 7);
    random_use(50, 6);
}

END_TEST

START_TEST(the_array_grows_with_the_number_of_nodes)
{
    static struct item items[ITEMS];
    struct hmap m;
    hmap_init(&m);
    for (unsigned i = 0; i < ITEMS; i++) {
        hmap_insert(&m, &items[i].node, i);
        ck_assert_uint_ge(m.n_buckets, m.count);
        ck_assert_uint_eq(m.n_buckets & (m.n_buckets - 1), 0);
        ck_assert_uint_lt(m.n_buckets, 4 * m.count + 16);
    }
    empty(&m);
    hmap_deinit(&m);
}

END_TEST

/* With a search from the first bucket each time, this would take minutes. */
START_TEST(a_large_map_is_emptied_in_linear_time)
{
    enum { MANY = 1000000 };

    struct item *items = calloc(MANY, sizeof *items);
    ck_assert_ptr_nonnull(items);
    struct hmap m;
    hmap_init(&m);
    for (unsigned i = 0; i < MANY; i++)
        hmap_insert(&m, &items[i].node, i);
    empty(&m);
    hmap_insert(&m, &items[0].node, 3); /* below where the search has come to */
    ck_assert_ptr_eq(hmap_any(&m), &items[0].node);
    empty(&m);
    hmap_deinit(&m);
    free(items);
}

END_TEST

START_TEST(an_empty_map_answers_and_needs_no_memory)
{
    struct hmap m;
    hmap_init(&m);
    ck_assert_ptr_null(hmap_first(&m, 7));
    ck_assert_ptr_null(hmap_any(&m));
    hmap_deinit(&m);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("hmap");
    TCase *tc = tcase_create("hmap");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, random_use_agrees_with_a_model);
    tcase_add_test(tc, many_with_the_same_hash_are_all_found);
    tcase_add_test(tc, without_memory_for_the_array_everything_is_still_found);
    tcase_add_test(tc, an_array_that_comes_late_takes_over_the_chain);
    tcase_add_test(tc, the_array_grows_with_the_number_of_nodes);
    tcase_add_test(tc, a_large_map_is_emptied_in_linear_time);
    tcase_add_test(tc, an_empty_map_answers_and_needs_no_memory);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
