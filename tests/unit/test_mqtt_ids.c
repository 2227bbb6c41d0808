/* SPDX-License-Identifier: Apache-2.0 */
#include "mqtt_ids.h"
#include "unit/suite.h"

/* A set of all ids, as one would write it down. */
static bool model[PACKET_IDS];
static struct id_set set;

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

START_TEST(a_set_holds_what_was_added_and_not_taken)
{
    static const unsigned ranges[] = {20, 200, PACKET_IDS - 1}; /* few, and more than that */
    uint64_t seed = 1;

    for (unsigned round = 0; round < 60000; round++) {
        const unsigned id = 1 + (unsigned)next(&seed) % ranges[round / 20000];
        switch (next(&seed) % 3) {
        case 0:
            ck_assert(ids_add(&set, id));
            model[id] = true;
            break;
        case 1:
            ck_assert(ids_take(&set, id) == model[id]);
            model[id] = false;
            break;
        default:
            break;
        }
        ck_assert(ids_has(&set, id) == model[id]);
    }
    for (unsigned id = 1; id < PACKET_IDS; id++)
        ck_assert(ids_take(&set, id) == model[id]);
    ck_assert(!ids_any(&set));
    ids_deinit(&set);
}

END_TEST

START_TEST(a_few_ids_need_no_memory_of_their_own)
{
    for (unsigned id = 1; id < PACKET_IDS; id++) {
        ck_assert(ids_add(&set, id));
        ck_assert(ids_any(&set));
        if (id >= IDS_FEW)
            ck_assert(ids_take(&set, id - IDS_FEW + 1));
    }
    ck_assert_ptr_null(atomic_load(&set.many));
    ck_assert(ids_add(&set, 1) && ids_add(&set, 2));
    ck_assert_ptr_nonnull(atomic_load(&set.many));
    ids_clear(&set);
    ck_assert(!ids_any(&set) && !ids_has(&set, 1) && !ids_has(&set, PACKET_IDS - 1));
    ids_deinit(&set);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("mqtt_ids");
    TCase *t = tcase_create("ids");
    tcase_add_test(t, a_set_holds_what_was_added_and_not_taken);
    tcase_add_test(t, a_few_ids_need_no_memory_of_their_own);
    suite_add_tcase(s, t);
    return run_suite(s);
}
