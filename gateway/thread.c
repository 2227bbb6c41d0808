/* SPDX-License-Identifier: Apache-2.0 */
#include "thread.h"

#include <signal.h>

/* A thread has the mask of the one that starts it. */
static bool start(const pthread_attr_t *attr, void *(*run)(void *arg), void *arg, pthread_t *thread)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(thread, attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc == 0;
}

bool thread_start(void *(*run)(void *arg), void *arg, pthread_t *thread)
{
    return start(NULL, run, arg, thread);
}

bool thread_start_detached(void *(*run)(void *arg), void *arg, size_t stack_bytes)
{
    pthread_attr_t attr;
    pthread_t thread;

    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, stack_bytes);
    const bool ok = start(&attr, run, arg, &thread);
    pthread_attr_destroy(&attr);
    return ok;
}
