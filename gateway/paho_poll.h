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
 * that it can be written again is of interest. */
void paho_poll_stuck(int fd, bool stuck);

/* As poll(), for Paho's two ways to call it. `fds` is in ascending order. The answer to "can they be
 * written?" is how many can be that could not before. */
int paho_poll(struct pollfd *fds, nfds_t count, int timeout_ms);

#endif
