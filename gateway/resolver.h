/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names, looked up outside of everybody's locks (docs/adr/0015). Paho looks names up while it
 * holds its one lock for all connections: one name server that does not answer would stop them all.
 * Here each name has a thread while it is being looked up, shared by all who ask for it, and Paho's
 * getaddrinfo() only gets what was found.
 *
 * A name that was found is good for a few seconds: an attempt to connect, and another one right after.
 * Names come from the configuration, so they are few, and are kept.
 */
#ifndef SENNET_GATEWAY_RESOLVER_H
#define SENNET_GATEWAY_RESOLVER_H

#include <netdb.h>
#include <stdbool.h>

#include "base/list.h"

/* The caller's; zeroed at first. */
struct resolver_wait {
    struct list link;
    void (*done)(void *arg);
    void *arg;
    bool waiting;
};

/* Any thread. True: the name is known, or is known not to be: resolver_error(). False: `done(arg)`
 * will be called, once, from another thread and with a lock of the resolver held: it must not call it.
 * Not while `w` waits already. */
bool resolver_ask(struct resolver_wait *w, const char *host, void (*done)(void *arg), void *arg);

/* Any thread. After this `done` is not called any more. */
void resolver_forget(struct resolver_wait *w);

/* Any thread. EAI_x of the latest answer; 0: there are addresses. EAI_AGAIN: none came yet. */
int resolver_error(const char *host);

/* Any thread. The address in use could not be reached: the next one has its turn. */
void resolver_next(const char *host);

/* As getaddrinfo(), with the one address in use; never waits. Addresses in digits need no answer. */
int resolver_get(const char *host, const char *service, const struct addrinfo *hints,
                 struct addrinfo **result);

#endif
