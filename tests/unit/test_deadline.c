/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The deadline heap: its shape after every step, its order against a model that keeps everything in
 * an array, and the two phases of firing.
 */
#include <stdbool.h>

#include "base/deadline.h"

#include "unit/seed.h"
#include "unit/suite.h"

enum { OBJECTS = 200, STEPS = 60000, HORIZON_MS = 300 };

/* ---- shape ----------------------------------------------------------------------------------- */

static bool before(const struct deadline *a, const struct deadline *b)
{
    return a->at_ms != b->at_ms ? a->at_ms < b->at_ms : (int32_t)(a->order - b->order) < 0;
}

/* Counts a subtree whose root stands in `position` of the complete tree of `count` nodes. */
static size_t walk(const struct deadline *one, const struct deadline *parent, size_t position,
                   size_t count, bool *good)
{
    if (one == NULL)
        return 0;
    *good = *good && position <= count && one->parent == parent &&
            (parent == NULL || before(parent, one));
    return 1 + walk(one->left, one, 2 * position, count, good) +
           walk(one->right, one, 2 * position + 1, count, good);
}

static bool is_heap(const struct deadlines *d)
{
    bool good = true;
    return walk(d->root, NULL, 1, d->count, &good) == d->count && good;
}

/* ---- model ----------------------------------------------------------------------------------- */

enum where { IDLE, ARMED, DUE };

struct model {
    struct deadlines d;
    struct deadline one[OBJECTS];
    enum where where[OBJECTS];
    int64_t at_ms[OBJECTS];
    uint64_t order[OBJECTS]; /* of arming, then of coming due */
    uint64_t next_order;
    int64_t now_ms;
};

static void model_init(struct model *m, uint32_t first_order)
{
    *m = (struct model){0};
    deadlines_init(&m->d);
    m->d.next_order = first_order; /* so that the counter wraps within the test */
    for (unsigned i = 0; i < OBJECTS; i++)
        deadline_init(&m->one[i], (uint8_t)i);
}

static void arm(struct model *m, unsigned i, int64_t at_ms)
{
    deadline_arm(&m->d, &m->one[i], at_ms);
    m->where[i] = at_ms == TIME_NEVER ? IDLE : ARMED;
    m->at_ms[i] = at_ms > m->now_ms ? at_ms : m->now_ms + 1;
    m->order[i] = m->next_order++;
}

static void disarm(struct model *m, unsigned i)
{
    deadline_disarm(&m->d, &m->one[i]);
    m->where[i] = IDLE;
}

/* The first of those in `where`, by time and order; OBJECTS when there is none. */
static unsigned earliest(const struct model *m, enum where where)
{
    unsigned best = OBJECTS;
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (m->where[i] != where)
            continue;
        if (best == OBJECTS || m->at_ms[i] < m->at_ms[best] ||
            (m->at_ms[i] == m->at_ms[best] && m->order[i] < m->order[best]))
            best = i;
    }
    return best;
}

static void check_next(const struct model *m)
{
    const unsigned i = earliest(m, ARMED);
    const int64_t want = i < OBJECTS ? m->at_ms[i] : TIME_NEVER;
    if (deadlines_next(&m->d) != want || !is_heap(&m->d))
        ck_abort_msg("next is %lld, not %lld", (long long)deadlines_next(&m->d), (long long)want);
    for (unsigned k = 0; k < OBJECTS; k++) {
        if (deadline_armed(&m->one[k]) != (m->where[k] != IDLE))
            ck_abort_msg("%u", k);
    }
}

/* What a handler may do: arm for now or before, for later, disarm another, due or not. */
static void meddle(struct model *m, struct rng *rng)
{
    for (uint64_t n = rng_below(rng, 4); n > 0; n--) {
        const unsigned i = (unsigned)rng_below(rng, OBJECTS);
        switch (rng_below(rng, 4)) {
        case 0:
            disarm(m, i);
            break;
        case 1:
            arm(m, i, m->now_ms - (int64_t)rng_below(rng, 3));
            break;
        default:
            arm(m, i, m->now_ms + (int64_t)rng_below(rng, HORIZON_MS));
            break;
        }
    }
}

static void fire(struct model *m, struct rng *rng)
{
    m->now_ms += (int64_t)rng_below(rng, 20);
    for (unsigned i = 0; i < OBJECTS; i++) {
        if (m->where[i] == ARMED && m->at_ms[i] <= m->now_ms)
            m->where[i] = DUE;
    }
    deadlines_collect(&m->d, m->now_ms);
    struct deadline *due;
    while ((due = deadlines_take(&m->d)) != NULL) {
        const unsigned want = earliest(m, DUE);
        if (want == OBJECTS || due != &m->one[want] || due->kind != want)
            ck_abort_msg("%u came, not %u", due->kind, want);
        if (deadline_armed(due) || due->at_ms != TIME_NEVER)
            ck_abort_msg("%u is not idle", want);
        m->where[want] = IDLE;
        meddle(m, rng);
        if (!is_heap(&m->d))
            ck_abort_msg("no heap any more");
    }
    ck_assert_uint_eq(earliest(m, DUE), OBJECTS);
    ck_assert_int_gt(deadlines_next(&m->d), m->now_ms);
}

START_TEST(random_use_agrees_with_a_model)
{
    struct rng rng = seeded_rng();
    static struct model m;
    model_init(&m, UINT32_MAX - 1000);
    for (unsigned step = 0; step < STEPS; step++) {
        meddle(&m, &rng);
        if (rng_below(&rng, 8) == 0)
            fire(&m, &rng);
        if (rng_below(&rng, 32) == 0)
            check_next(&m);
    }
    for (unsigned i = 0; i < OBJECTS; i++)
        disarm(&m, i);
    ck_assert_uint_eq(m.d.count, 0);
    ck_assert_ptr_null(m.d.root);
}

END_TEST

/* ---- single rules ---------------------------------------------------------------------------- */

struct three {
    struct deadlines d;
    struct deadline a, b, c;
};

static void three_init(struct three *t)
{
    deadlines_init(&t->d);
    deadline_init(&t->a, 'a');
    deadline_init(&t->b, 'b');
    deadline_init(&t->c, 'c');
}

START_TEST(equal_times_fire_in_the_order_of_arming)
{
    struct three t;
    three_init(&t);
    deadline_arm(&t.d, &t.c, 5);
    deadline_arm(&t.d, &t.a, 5);
    deadline_arm(&t.d, &t.b, 5);
    deadline_arm(&t.d, &t.c, 5); /* arming again goes to the end */
    deadlines_collect(&t.d, 5);
    ck_assert_ptr_eq(deadlines_take(&t.d), &t.a);
    ck_assert_ptr_eq(deadlines_take(&t.d), &t.b);
    ck_assert_ptr_eq(deadlines_take(&t.d), &t.c);
    ck_assert_ptr_null(deadlines_take(&t.d));
}

END_TEST

START_TEST(rearming_for_now_fires_next_time_and_not_again_in_this_round)
{
    struct three t;
    three_init(&t);
    deadline_arm(&t.d, &t.a, 10);
    deadlines_collect(&t.d, 10);
    ck_assert_ptr_eq(deadlines_take(&t.d), &t.a);
    deadline_arm(&t.d, &t.a, 10);
    ck_assert_ptr_null(deadlines_take(&t.d));
    ck_assert_int_eq(deadlines_next(&t.d), 11);
    deadlines_collect(&t.d, 10);
    ck_assert_ptr_null(deadlines_take(&t.d));
    deadlines_collect(&t.d, 11);
    ck_assert_ptr_eq(deadlines_take(&t.d), &t.a);
}

END_TEST

START_TEST(a_due_one_that_is_disarmed_does_not_fire)
{
    for (unsigned which = 0; which < 3; which++) {
        struct three t;
        three_init(&t);
        struct deadline *all[] = {&t.a, &t.b, &t.c};
        for (unsigned i = 0; i < 3; i++)
            deadline_arm(&t.d, all[i], (int64_t)i);
        deadlines_collect(&t.d, 10);
        ck_assert(deadline_armed(all[which]));
        deadline_disarm(&t.d, all[which]);
        ck_assert(!deadline_armed(all[which]));
        for (unsigned i = 0; i < 3; i++) {
            if (i != which)
                ck_assert_ptr_eq(deadlines_take(&t.d), all[i]);
        }
        ck_assert_ptr_null(deadlines_take(&t.d));
    }
}

END_TEST

START_TEST(a_due_one_that_is_rearmed_leaves_this_round)
{
    struct three t;
    three_init(&t);
    deadline_arm(&t.d, &t.a, 1);
    deadline_arm(&t.d, &t.b, 2);
    deadlines_collect(&t.d, 10);
    deadline_arm(&t.d, &t.b, 50);
    ck_assert_ptr_eq(deadlines_take(&t.d), &t.a);
    ck_assert_ptr_null(deadlines_take(&t.d));
    ck_assert_int_eq(deadlines_next(&t.d), 50);
}

END_TEST

START_TEST(while_some_are_due_the_next_time_is_theirs)
{
    struct three t;
    three_init(&t);
    deadline_arm(&t.d, &t.a, 3);
    deadline_arm(&t.d, &t.b, 20);
    deadlines_collect(&t.d, 10);
    ck_assert_int_le(deadlines_next(&t.d), 10);
    deadlines_take(&t.d);
    ck_assert_int_eq(deadlines_next(&t.d), 20);
}

END_TEST

START_TEST(never_disarms_and_disarming_an_idle_one_is_harmless)
{
    struct three t;
    three_init(&t);
    deadline_disarm(&t.d, &t.a);
    deadline_arm(&t.d, &t.a, 3);
    deadline_arm(&t.d, &t.a, TIME_NEVER);
    ck_assert(!deadline_armed(&t.a));
    deadline_disarm(&t.d, &t.a);
    ck_assert_int_eq(deadlines_next(&t.d), TIME_NEVER);
    deadlines_collect(&t.d, TIME_NEVER - 1);
    ck_assert_ptr_null(deadlines_take(&t.d));
}

END_TEST

START_TEST(adding_to_a_time_saturates)
{
    ck_assert_int_eq(time_add(5, 7), 12);
    ck_assert_int_eq(time_add(TIME_NEVER, 0), TIME_NEVER);
    ck_assert_int_eq(time_add(TIME_NEVER, 7), TIME_NEVER);
    ck_assert_int_eq(time_add(TIME_NEVER - 7, 7), TIME_NEVER);
    ck_assert_int_eq(time_add(TIME_NEVER - 7, 8), TIME_NEVER);
    ck_assert_int_eq(time_add(1, TIME_NEVER), TIME_NEVER);
    ck_assert_int_eq(time_add(INT64_MIN, 1), INT64_MIN + 1);
    ck_assert_int_eq(time_min(3, -4), -4);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("deadline");
    TCase *tc = tcase_create("deadline");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, random_use_agrees_with_a_model);
    tcase_add_test(tc, equal_times_fire_in_the_order_of_arming);
    tcase_add_test(tc, rearming_for_now_fires_next_time_and_not_again_in_this_round);
    tcase_add_test(tc, a_due_one_that_is_disarmed_does_not_fire);
    tcase_add_test(tc, a_due_one_that_is_rearmed_leaves_this_round);
    tcase_add_test(tc, while_some_are_due_the_next_time_is_theirs);
    tcase_add_test(tc, never_disarms_and_disarming_an_idle_one_is_harmless);
    tcase_add_test(tc, adding_to_a_time_saturates);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
