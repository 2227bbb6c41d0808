/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the gateway take no signals, and leave those of who starts them alone. */
#include <semaphore.h>
#include <signal.h>

#include "thread.h"
#include "unit/suite.h"

enum {
    STACK_BYTES = 256 * 1024,
    LAST_SIGNAL = 31 /* what follows is of the C library, and of real time */
};

struct seen {
    sem_t is_over;
    sigset_t mask;
    size_t stack_bytes;
    bool is_detached;
};

static void *look(void *arg)
{
    struct seen *const seen = arg;
    pthread_attr_t attr;
    int state;

    pthread_sigmask(SIG_SETMASK, NULL, &seen->mask);
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstacksize(&attr, &seen->stack_bytes);
    pthread_attr_getdetachstate(&attr, &state);
    pthread_attr_destroy(&attr);
    seen->is_detached = state == PTHREAD_CREATE_DETACHED;
    sem_post(&seen->is_over);
    return NULL;
}

static void start(struct seen *seen, bool detached)
{
    pthread_t thread;
    sigset_t before, after;

    *seen = (struct seen){.stack_bytes = 0};
    ck_assert_int_eq(sem_init(&seen->is_over, 0, 0), 0);
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    ck_assert(detached ? thread_start_detached(look, seen, STACK_BYTES)
                       : thread_start(look, seen, &thread));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int i = 1; i <= LAST_SIGNAL; i++)
        ck_assert_int_eq(sigismember(&after, i), sigismember(&before, i));
    ck_assert_int_eq(sem_wait(&seen->is_over), 0);
    if (!detached)
        ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

static void expect_no_signals(const struct seen *seen)
{
    for (int i = 1; i <= LAST_SIGNAL; i++) {
        if (i != SIGKILL && i != SIGSTOP)
            ck_assert_msg(sigismember(&seen->mask, i) == 1, "signal %d", i);
    }
}

START_TEST(one_to_be_joined_takes_no_signals)
{
    struct seen seen;
    start(&seen, false);
    expect_no_signals(&seen);
    ck_assert(!seen.is_detached);
}

END_TEST

START_TEST(a_detached_one_takes_no_signals_and_has_its_stack)
{
    struct seen seen;
    start(&seen, true);
    expect_no_signals(&seen);
    ck_assert(seen.is_detached);
    ck_assert_uint_le(seen.stack_bytes, 2 * STACK_BYTES);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("thread");
    TCase *t = tcase_create("threads");
    tcase_add_test(t, one_to_be_joined_takes_no_signals);
    tcase_add_test(t, a_detached_one_takes_no_signals_and_has_its_stack);
    suite_add_tcase(s, t);
    return run_suite(s);
}
