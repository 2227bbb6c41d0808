/* SPDX-License-Identifier: Apache-2.0 */
/* What tests share (suite.h, child.h): one that fails must say what has failed. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "unit/child.h"
#include "unit/suite.h"

enum { LOG_BYTES = 8000, OUTPUT_BYTES = 32768, END_MS = 10000 };

START_TEST(fails_with_a_long_log)
{
    char log[LOG_BYTES + 1];
    memset(log, 'x', LOG_BYTES);
    log[LOG_BYTES] = '\0';
    ck_abort_msg("the reason:\n%s\nthe end", log);
}

END_TEST

static pid_t start_sleeper(void)
{
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        pause();
        _exit(0);
    }
    return pid;
}

START_TEST(fails_with_a_child_that_does_not_end)
{
    child_wait(start_sleeper(), 0, "the sleeper");
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
static int run_failing(const TTest *test, char *output, size_t size)
{
    int ends[2];
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
        const int result = run_suite(suite_of("inner", test));
        fflush(stdout);
        _exit(result);
    }
    close(ends[1]);
    while ((n = read(ends[0], output + len, size - 1 - len)) > 0)
        len += (size_t)n;
    output[len] = '\0';
    close(ends[0]);
    const int status = child_wait(pid, END_MS, "the suite");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(a_message_as_long_as_a_log_is_told_whole)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(run_failing(fails_with_a_long_log, output, sizeof output), EXIT_FAILURE);
    ck_assert_ptr_nonnull(strstr(output, "the reason:"));
    ck_assert_ptr_nonnull(strstr(output, "the end"));
}

END_TEST

START_TEST(a_child_that_does_not_end_is_told_with_its_state)
{
    char output[OUTPUT_BYTES];
    ck_assert_int_eq(run_failing(fails_with_a_child_that_does_not_end, output, sizeof output),
                     EXIT_FAILURE);
    ck_assert_ptr_nonnull(strstr(output, "the sleeper (process "));
    ck_assert_ptr_nonnull(strstr(output, "does not end:\nState:\t"));
    ck_assert_ptr_nonnull(strstr(output, "SigBlk:\t"));
}

END_TEST

START_TEST(a_stopped_child_has_not_ended_and_a_killed_one_has)
{
    char report[CHILD_REPORT_ROOM];
    const pid_t pid = start_sleeper();
    int status = 0;
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(!child_ends(pid, 0, &status));
    child_report(pid, report);
    ck_assert_msg(strstr(report, "State:\tT (stopped)") != NULL, "%s", report);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    status = child_wait(pid, END_MS, "the sleeper");
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

END_TEST

int main(void)
{
    Suite *s = suite_of("suite", a_message_as_long_as_a_log_is_told_whole);
    TCase *t = tcase_create("children");
    tcase_add_test(t, a_child_that_does_not_end_is_told_with_its_state);
    tcase_add_test(t, a_stopped_child_has_not_ended_and_a_killed_one_has);
    suite_add_tcase(s, t);
    return run_suite(s);
}
