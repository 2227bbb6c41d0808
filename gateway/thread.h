/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of the gateway, beside that of its loop. All signals are blocked in them, as signals are the loop
 * thread's affair; threads that a library starts from there inherit this.
 */
#ifndef SENNET_GATEWAY_THREAD_H
#define SENNET_GATEWAY_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* One to be joined or detached by whoever starts it. False: the system has none to give, and `*thread`
 * means nothing. */
bool thread_start(void *(*run)(void *arg), void *arg, pthread_t *thread);

/* One that nobody waits for, with a stack of so many octets. False: the same. */
bool thread_start_detached(void *(*run)(void *arg), void *arg, size_t stack_bytes);

#endif
