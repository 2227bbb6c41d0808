/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <string.h>

#include "base/list.h"

#include "unit/seed.h"
#include "unit/suite.h"

enum { ITEMS = 20, STEPS = 20000 };

struct item {
    char name;
    struct list link;
};

/* The names in order, checking the way back too. */
static const char *names(const struct list *head, char out[ITEMS + 1])
{
    size_t n = 0;
    list_foreach (at, head) {
        if (at->next->prev != at || n == ITEMS)
            return "broken";
        out[n++] = container_of(at, struct item, link)->name;
    }
    out[n] = '\0';
    return out;
}

struct fixture {
    struct list head;
    struct item item[4];
};

static void fixture_init(struct fixture *f)
{
    list_init(&f->head);
    for (unsigned i = 0; i < 4; i++) {
        f->item[i].name = (char)('a' + i);
        list_init(&f->item[i].link);
    }
}

START_TEST(links_stand_where_they_were_put)
{
    char out[ITEMS + 1];
    struct fixture f;
    fixture_init(&f);
    ck_assert(list_empty(&f.head));
    ck_assert_ptr_null(list_first(&f.head));
    ck_assert_ptr_null(list_pop_front(&f.head));
    list_push_back(&f.head, &f.item[1].link);
    list_push_back(&f.head, &f.item[2].link);
    list_push_front(&f.head, &f.item[0].link);
    list_insert_before(&f.item[2].link, &f.item[3].link);
    ck_assert_str_eq(names(&f.head, out), "abdc");
    ck_assert_ptr_eq(list_first(&f.head), &f.item[0].link);
    ck_assert_ptr_eq(list_pop_front(&f.head), &f.item[0].link);
    ck_assert(!list_linked(&f.item[0].link));
    ck_assert(list_linked(&f.item[1].link));
    ck_assert_str_eq(names(&f.head, out), "bdc");
}

END_TEST

START_TEST(unlinking_twice_is_harmless)
{
    char out[ITEMS + 1];
    struct fixture f;
    fixture_init(&f);
    for (unsigned i = 0; i < 4; i++)
        list_push_back(&f.head, &f.item[i].link);
    list_unlink(&f.item[1].link);
    list_unlink(&f.item[1].link);
    ck_assert_str_eq(names(&f.head, out), "acd");
}

END_TEST

START_TEST(the_current_link_may_be_unlinked_and_destroyed_in_a_safe_loop)
{
    char out[ITEMS + 1];
    struct fixture f;
    fixture_init(&f);
    for (unsigned i = 0; i < 4; i++)
        list_push_back(&f.head, &f.item[i].link);
    list_foreach_safe (at, next, &f.head) {
        struct item *item = container_of(at, struct item, link);
        if (item->name == 'a' || item->name == 'c' || item->name == 'd') {
            list_unlink(at);
            memset(item, 0xFF, sizeof *item);
        }
    }
    ck_assert_str_eq(names(&f.head, out), "b");
}

END_TEST

START_TEST(random_use_agrees_with_an_array)
{
    struct rng rng = seeded_rng();
    struct item items[ITEMS];
    char model[2 * ITEMS] = "";
    char out[ITEMS + 1];
    struct list head;
    list_init(&head);
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i].name = (char)('A' + i);
        list_init(&items[i].link);
    }
    for (unsigned step = 0; step < STEPS; step++) {
        struct item *item = &items[rng_below(&rng, ITEMS)];
        char *at = strchr(model, item->name);
        if (at != NULL) {
            memmove(at, at + 1, strlen(at));
            list_unlink(&item->link);
        } else if (rng_below(&rng, 2) == 0) {
            memmove(model + 1, model, strlen(model) + 1);
            model[0] = item->name;
            list_push_front(&head, &item->link);
        } else {
            const size_t n = strlen(model);
            model[n] = item->name;
            model[n + 1] = '\0';
            list_push_back(&head, &item->link);
        }
        ck_assert_str_eq(names(&head, out), model);
        ck_assert_int_eq(list_linked(&item->link), at == NULL);
    }
}

END_TEST

/* The ring's names in order, checking the way back too. */
static const char *ring_names(const struct ring *r, char out[ITEMS + 1])
{
    size_t n = 0;
    ring_foreach(at, r)
    {
        if (at->next->prev != at || n == ITEMS)
            return "broken";
        out[n++] = container_of(at, struct item, link)->name;
    }
    out[n] = '\0';
    return out;
}

START_TEST(a_ring_knows_its_first_and_its_last)
{
    char out[ITEMS + 1];
    struct fixture f;
    struct ring r = {NULL};
    fixture_init(&f);
    ck_assert_str_eq(ring_names(&r, out), "");
    ck_assert_ptr_null(ring_last(&r));
    for (unsigned i = 0; i < 3; i++)
        ring_push_back(&r, &f.item[i].link);
    ring_push_front(&r, &f.item[3].link);
    ck_assert_str_eq(ring_names(&r, out), "dabc");
    ck_assert_ptr_eq(ring_last(&r), &f.item[2].link);
    ring_remove(&r, &f.item[3].link);
    ring_remove(&r, &f.item[1].link);
    ck_assert_str_eq(ring_names(&r, out), "ac");
    ring_remove(&r, &f.item[2].link);
    ck_assert_ptr_eq(ring_last(&r), &f.item[0].link);
    ring_push_front(&r, &f.item[2].link);
    ck_assert_str_eq(ring_names(&r, out), "ca");
    ring_foreach_safe(at, next, &r) ring_remove(&r, at);
    ck_assert_ptr_null(r.first);
    for (unsigned i = 0; i < 4; i++)
        ck_assert(!list_linked(&f.item[i].link));
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("list");
    TCase *tc = tcase_create("list");
    tcase_add_test(tc, links_stand_where_they_were_put);
    tcase_add_test(tc, unlinking_twice_is_harmless);
    tcase_add_test(tc, the_current_link_may_be_unlinked_and_destroyed_in_a_safe_loop);
    tcase_add_test(tc, random_use_agrees_with_an_array);
    tcase_add_test(tc, a_ring_knows_its_first_and_its_last);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
