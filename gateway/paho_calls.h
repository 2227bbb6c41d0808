/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of the Paho library, seen from inside (docs/adr/0004).
 *
 * The build makes a copy of Paho's static archive in which fifteen undefined symbols (writev, recv,
 * connect, shutdown, close, getsockopt, getaddrinfo, poll, usleep, getenv, pthread_cond_signal,
 * pthread_cond_timedwait, clock_gettime, snprintf, __snprintf_chk) are renamed to the functions below, and some of OpenSSL's to
 * those of paho_tls.h; nothing else in the process is affected. That gives what Paho's API does not:
 *
 *  - A write to a dead socket never fails. Paho 1.3.12 frees topic and payload of a QoS 1 or 2
 *    PUBLISH whose first write fails, while its resend list still points at them; after the
 *    reconnect it publishes what lies there now, or crashes (upstream #1621, #1622, #1401). Here
 *    such a write "would block", the socket is shut down, and Paho's reading side finds the end.
 *  - Latency. Paho leaves Nagle's algorithm on; it looks only once a second whether a connection is
 *    established or a blocked write can go on; and after a second of silence it sleeps 100 ms, in
 *    which it hears nothing. And its sending thread, between looking at its queue and going to
 *    sleep, misses the signal of what is queued then: that message waits a second.
 *  - Time. Paho's sending thread, which also looks after timeouts, waits for a time of day: when the
 *    clock is set back by an hour meanwhile, it waits for an hour. Here it goes by a clock that
 *    nobody sets.
 *  - Fewer system calls: what arrives is read ahead (paho_ahead.h), a packet does not cost two polls of
 *    all sockets (paho_poll.h), many messages wake Paho's sending thread once, and what that writes
 *    leaves together (paho_behind.h).
 *  - Speed. As distributions build it, Paho keeps every block of memory in a tree, under a lock of
 *    its own, and notes every function entered and left. These symbols are made weak in the copy,
 *    and the definitions here take their place. It formats keys that nothing is kept under, and reads
 *    the clock at each packet to count seconds.
 *  - What exactly went wrong (resolver, connect, receive), and which socket a callback is about.
 */
#ifndef SENNET_GATEWAY_PAHO_CALLS_H
#define SENNET_GATEWAY_PAHO_CALLS_H

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

/* What the latest calls of this thread met. Meaningful inside of a callback of Paho: Paho makes the
 * call and then the callback in one thread, in one go. */
struct paho_calls {
    int resolve_error; /* of getaddrinfo(): EAI_x, or 0 */
    int connect_error; /* errno of connect(), or SO_ERROR; 0 = connected or in progress */
    int receive_error; /* errno of recv(); 0 = the peer closed; -1 = data or nothing yet */
    int socket;        /* of recv(); -1 = none */
    char tls[200]; /* what was wrong with TLS, a WebSocket or a packet, for people; "" = nothing */
};

struct paho_calls paho_last_calls(void);
int paho_last_socket(void);

/* From within a callback of Paho: `call(arg)` will be made right before the socket is closed, with
 * Paho's lock held. False when the descriptor is too large. */
bool paho_on_close(int fd, void (*call)(void *arg), void *arg);

/* Of paho_tls.c, which reads in place of recv(). */
void paho_note_tls(const char *why, int receive_error);
void paho_note_socket(int fd);

/* Receiving thread: the packet that Paho has in hand, or NULL; it is freed with the next call, if Paho
 * has freed it by then. */
void paho_keep_packet(const void *packet);

/* Between these two, what the calling thread gives to Paho lies there; then it is sent. */
void paho_hold_signals(void);
void paho_release_signals(void);

/* Any thread: Paho's sending one looks whether it can go on, which it does not notice by itself when
 * a write that was stuck is complete, or a connection established. */
void paho_wake_sender(void);

/* Called by Paho only. */
ssize_t sennet_paho_writev(int fd, const struct iovec *parts, int count);
ssize_t sennet_paho_recv(int fd, void *buffer, size_t len, int flags);
int sennet_paho_connect(int fd, const struct sockaddr *address, socklen_t len);
int sennet_paho_shutdown(int fd, int how);
int sennet_paho_close(int fd);
int sennet_paho_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int sennet_paho_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                            struct addrinfo **result);
char *sennet_paho_getenv(const char *name);
int sennet_paho_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int sennet_paho_usleep(useconds_t us);
int sennet_paho_clock_gettime(clockid_t clock, struct timespec *t);
int sennet_paho_pthread_cond_signal(pthread_cond_t *cond);
int sennet_paho_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                       const struct timespec *until);

/* The second is called by a Paho that was built with _FORTIFY_SOURCE. */
__attribute__((format(printf, 3, 4))) int sennet_paho_snprintf(char *out, size_t room,
                                                               const char *format, ...);
__attribute__((format(printf, 5, 6))) int
sennet_paho___snprintf_chk(char *out, size_t room, int flag, size_t size, const char *format, ...);

/* Paho's names and signatures; `level` is an enum of its own. */
void *mymalloc(char *file, int line, size_t size);
void *myrealloc(char *file, int line, void *block, size_t size);
void myfree(char *file, int line, void *block);
void StackTrace_entry(const char *name, int line, int level);
void StackTrace_exit(const char *name, int line, void *rc, int level);
void Log(int level, int number, const char *format, ...);
void MQTTAsync_NULLPublishCommands(void *client);

#endif
