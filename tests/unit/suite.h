/* SPDX-License-Identifier: Apache-2.0 */
/* The end of every suite's main(). */
#ifndef SENNET_TESTS_UNIT_SUITE_H
#define SENNET_TESTS_UNIT_SUITE_H

#include <stdio.h>
#include <stdlib.h>

#include <check.h>

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
