/* SPDX-License-Identifier: Apache-2.0 */
/* What every suite's main() does. */
#ifndef SENNET_TESTS_UNIT_SUITE_H
#define SENNET_TESTS_UNIT_SUITE_H

#include <stdio.h>
#include <stdlib.h>

#include <check.h>

/* Around each test; NULL: nothing. */
struct suite_scenery {
    int timeout_s;
    void (*set_up)(void);
    void (*tear_down)(void);
};

/* A test for each number below `n`, as a case of its own: CK_RUN_CASE=name runs it alone. */
static inline void suite_add(Suite *suite, const struct suite_scenery *scenery, const char *name,
                             const TTest *test, int n)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, scenery->timeout_s);
    tcase_add_checked_fixture(tc, scenery->set_up, scenery->tear_down);
    tcase_add_loop_test(tc, test, 0, n);
    suite_add_tcase(suite, tc);
}

/* With what the file calls `scenery`. */
#define ADD(suite, test)     LOOP(suite, test, 1)
#define LOOP(suite, test, n) suite_add(suite, &scenery, #test, test, (int)(n))

static inline int run_suite(Suite *suite)
{
    /* Check cuts messages at BUFSIZ, and ends the test with status 2 instead of its message when it
     * is longer than 4096: logs are. */
    check_set_max_msg_size(2 * BUFSIZ);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
