/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll() for Paho, by epoll. Paho polls all its sockets twice per cycle, once whether they can be
 * written and once until one can be read: a thousand sockets are half a millisecond of the kernel's
 * time for a single packet. Here the kernel is asked for what is ready, and whether a socket can be
 * written only of those that could not be. What remains is filling in Paho's array.
 *
 * It also hears of what begins during the wait, of which Paho's poll() knows nothing: a new socket,
 * and one whose write has stopped half way.
 *
 * Threads: only Paho's receiving one polls; the rest is for any.
 */
#ifndef SENNET_GATEWAY_PAHO_POLL_H
#define SENNET_GATEWAY_PAHO_POLL_H

#include <poll.h>
#include <stdbool.h>

/* After connect() and before close(). */
void paho_poll_add(int fd);
void paho_poll_remove(int fd);

/* Between these two. */
bool paho_poll_knows(int fd);

/* Notes whether the latest write had to stop half way. Paho reads nothing from such a socket, so only
 * that it can be written again is of interest. True when that is new. */
bool paho_poll_stuck(int fd, bool stuck);

/* Notes whether something is left of what Paho has written (paho_behind.h). */
void paho_poll_left(int fd, bool left);

/* The shortest keep-alive. Paho looks at each tenth of it whether a ping is due, but only
 * when it is awake, so that bounds how long it may sleep. */
void paho_poll_keepalive(unsigned keepalive_s);

/* Ends the wait. */
void paho_poll_wake(void);

/* As poll(), for Paho's two ways to call it. `fds` is in ascending order. The answer to "can they be
 * written?" is how many can be that could not before. The answer to "can they be read?" comes when one
 * can be, or something else has to be looked at. */
int paho_poll(struct pollfd *fds, nfds_t count);

/* The same without a socket. */
void paho_poll_nothing(void);

#endif
