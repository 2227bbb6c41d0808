/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathering what Paho writes, which hands each packet to the kernel by itself: a segment, and a
 * wake-up of the broker, for each. Here the sending thread's packets and the receiving thread's
 * acknowledgements (PUBACK to PUBCOMP) lie in a buffer for each of the two, and leave together: when
 * the thread is about to wait, when the buffer is full, and before anything else is written to the
 * same connection by another thread or it is closed. So the order is that of Paho, but for
 * acknowledgements and PUBLISHes among each other, where it means nothing.
 *
 * What the kernel does not take then is left per descriptor, and written when there is room. Until it
 * is, writes of the sending thread "would block", so Paho keeps the next packet and stops there, as it
 * does for a full socket; small packets of others, which Paho can't keep, are left, too.
 *
 * For Paho "written" is what lies here. It is lost with the connection like what lies in the kernel.
 *
 * Threads: any. Paho serialises writes and closing by its own lock, but for its waiting threads'
 * paho_behind_flush() and paho_behind_resume().
 */
#ifndef SENNET_GATEWAY_PAHO_BEHIND_H
#define SENNET_GATEWAY_PAHO_BEHIND_H

#include <sys/types.h>
#include <sys/uio.h>

enum paho_writer { PAHO_OTHER, PAHO_SENDER, PAHO_RECEIVER };

/* Which of Paho's threads the calling one is, as it has shown by the way in which it waits. */
void paho_behind_i_am(enum paho_writer writer);

/* A new connection. Nobody writes to it yet. */
void paho_behind_begin(int fd);

/* As writev() of whole packets, but never fails: on a dead socket it "would block" (-1, EAGAIN), and
 * the socket is shut down, so that the reading side finds the end. */
ssize_t paho_behind_write(int fd, const struct iovec *parts, int count);

/* What the calling thread has gathered leaves, and what it has heard is acknowledged. */
void paho_behind_flush(void);

/* There is room again for what was left. */
void paho_behind_resume(int fd);

/* Before the socket is shut down: what was written leaves if it can, and is forgotten. */
void paho_behind_end(int fd);

/* A broker that uses Nagle's algorithm (mosquitto, by default) holds its second answer back until
 * the first is acknowledged, which the kernel would put off for up to 40 ms: this does it now. */
void paho_behind_acknowledge(int fd);

/* The kernel gave something: it is acknowledged when the thread flushes, unless something of ours has
 * left since, which tells the same. */
void paho_behind_heard(int fd);

#endif
