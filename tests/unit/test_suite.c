/* SPDX-License-Identifier: Apache-2.0 */
/* run_suite(): a test that fails with a long log must still say what has failed. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/suite.h"

enum { LOG_BYTES = 8000, OUTPUT_BYTES = 32768 };

START_TEST(fails_with_a_long_log)
{
    char log[LOG_BYTES + 1];
    memset(log, 'x', LOG_BYTES);
    log[LOG_BYTES] = '\0';
    ck_abort_msg("the reason:\n%s\nthe end", log);
}

END_TEST

static Suite *suite_of(const char *name, const TTest *test)
{
    Suite *suite = suite_create(name);
    TCase *t = tcase_create("messages");
    tcase_add_test(t, test);
    suite_add_tcase(suite, t);
    return suite;
}

/* In a process of its own, as every suite runs; what it prints. */
static int run_failing(char *output, size_t size)
{
    int ends[2], status;
    size_t len = 0;
    ssize_t n;
    ck_assert_int_eq(pipe(ends), 0);
    fflush(stdout);
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        setenv("CK_VERBOSITY", "normal", 1);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        const int result = run_suite(suite_of("inner", fails_with_a_long_log));
        fflush(stdout);
        _exit(result);
    }
    close(ends[1]);
    while ((n = read(ends[0], output + len, size - 1 - len)) > 0)
        len += (size_t)n;
    output[len] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(a_message_as_long_as_a_log_is_told_whole)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(run_failing(output, sizeof output), EXIT_FAILURE);
    ck_assert_ptr_nonnull(strstr(output, "the reason:"));
    ck_assert_ptr_nonnull(strstr(output, "the end"));
}

END_TEST

int main(void)
{
    return run_suite(suite_of("suite", a_message_as_long_as_a_log_is_told_whole));
}
