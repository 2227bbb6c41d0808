/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "blocks.h"
#include "paho_ahead.h"
#include "paho_behind.h"
#include "paho_guard.h"
#include "paho_inner.h"
#include "paho_poll.h"
#include "paho_tunnel.h"
#include "resolver.h"

/* Thread-local, because there is no other way to hand something through Paho from a system call to
 * the callback that follows it in the same thread. */
static _Thread_local struct paho_calls last = {.receive_error = -1, .socket = -1};

struct paho_calls paho_last_calls(void)
{
    return last;
}

int paho_last_socket(void)
{
    return last.socket;
}

void paho_note_tls(const char *why, int receive_error)
{
    snprintf(last.tls, sizeof last.tls, "%s", why);
    last.receive_error = receive_error;
}

void paho_note_socket(int fd)
{
    last.socket = fd;
}

static _Thread_local bool has_polled;
static _Thread_local bool is_receiver;

enum {
    DESCRIPTORS = 65536,
    LOOK_S = 2,      /* how often Paho's sending thread may look after timeouts, each 3 s at most */
    SLEEP_US = 25000 /* of a thread that waits for Paho's to end */
};

static bool transient(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM;
}

/* ---- writing and reading --------------------------------------------------------------------- */

static size_t total_of(const struct iovec *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

/* A write that was stuck is complete: Paho's sending thread does not notice by itself. */
static void note_stuck(int fd, bool stuck)
{
    if (paho_poll_stuck(fd, stuck) && !stuck)
        paho_wake_sender();
}

ssize_t sennet_paho_writev(int fd, const struct iovec *parts, int count)
{
    const ssize_t written = paho_behind_write(fd, parts, count);
    note_stuck(fd, written < (ssize_t)total_of(parts, count));
    return written;
}

int sennet_paho_shutdown(int fd, int how)
{
    paho_behind_end(fd);
    paho_tunnel_farewell(fd);
    return shutdown(fd, how);
}

ssize_t sennet_paho_recv(int fd, void *buffer, size_t len, int flags)
{
    bool asked;
    const ssize_t got = paho_ahead_recv(fd, buffer, len, flags, &asked);
    if (len == 0) /* Paho's farewell to a socket that it closes: tells nothing about the peer */
        return got;
    if (got > 0 && asked)
        paho_behind_heard(fd);
    last.socket = fd;
    last.tls[0] = '\0';
    last.receive_error = got > 0 ? -1 : 0;
    if (got < 0)
        last.receive_error = transient(errno) ? -1 : errno;
    if (last.receive_error >= 0 && paho_tunnel_is(fd)) {
        const int error = errno;
        paho_tunnel_why(fd, last.tls, sizeof last.tls);
        errno = error;
    }
    return got;
}

int sennet_paho_connect(int fd, const struct sockaddr *address, socklen_t len)
{
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    const bool is_ahead = paho_ahead_reset(fd);
    paho_behind_begin(fd);
    int rc = -1;
    errno = ENOMEM;
    if (!paho_tunnel_is_expected())
        rc = connect(fd, address, len);
    else if (is_ahead)
        rc = paho_tunnel_connect(fd);
    paho_poll_add(fd);
    last.tls[0] = '\0';
    last.connect_error = rc != 0 && errno != EINPROGRESS ? errno : 0;
    return rc;
}

/* Paho opens and closes under its own lock, and so calls us. */
static struct {
    void (*call)(void *arg);
    void *arg;
} closings[DESCRIPTORS];

bool paho_on_close(int fd, void (*call)(void *arg), void *arg)
{
    if (fd < 0 || fd >= DESCRIPTORS)
        return false;
    closings[fd].call = call;
    closings[fd].arg = arg;
    return true;
}

/* What Paho has closed and its receiving thread may still have in hand: it lets go of its lock between
 * reading and looking for the client that a socket belongs to. A new connection with the same number
 * would be closed for the error of the old one. */
static pthread_mutex_t graves_lock = PTHREAD_MUTEX_INITIALIZER;
static int graves[DESCRIPTORS];
static unsigned n_graves;

static int close_for_good(int fd)
{
    paho_tunnel_forget(fd);
    paho_ahead_reset(fd);
    return close(fd);
}

static void bury(void)
{
    pthread_mutex_lock(&graves_lock);
    while (n_graves > 0)
        close_for_good(graves[--n_graves]);
    pthread_mutex_unlock(&graves_lock);
}

static bool keep_number(int fd)
{
    pthread_mutex_lock(&graves_lock);
    const bool room = n_graves < DESCRIPTORS;
    if (room)
        graves[n_graves++] = fd;
    pthread_mutex_unlock(&graves_lock);
    return room;
}

int sennet_paho_close(int fd)
{
    paho_poll_remove(fd);
    paho_guard_forget(fd);
    if (fd >= 0 && fd < DESCRIPTORS && closings[fd].call != NULL) {
        closings[fd].call(closings[fd].arg);
        closings[fd].call = NULL;
    }
    if (!keep_number(fd))
        return close_for_good(fd);
    paho_poll_wake();
    return 0;
}

int sennet_paho_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    const int rc = getsockopt(fd, level, name, value, len);
    if (rc == 0 && level == SOL_SOCKET && name == SO_ERROR) {
        last.connect_error = *(const int *)value;
        last.tls[0] = '\0';
    }
    return rc;
}

int sennet_paho_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                            struct addrinfo **result)
{
    static const struct addrinfo anything = {.ai_socktype = SOCK_STREAM};

    last.connect_error = 0;
    last.resolve_error = 0;
    if (paho_tunnel_expect(node)) /* any socket will do */
        return getaddrinfo("127.0.0.1", NULL, &anything, result);
    last.resolve_error = resolver_get(node, service, hints, result);
    return last.resolve_error;
}

/* The environment of a daemon is no place for proxies and trace files. */
char *sennet_paho_getenv(const char *name)
{
    (void)name;
    return NULL;
}

int sennet_paho_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (!is_receiver)
        paho_behind_i_am(PAHO_RECEIVER);
    is_receiver = true;
    has_polled = timeout_ms > 0;
    if (count > 0 && fds[0].events == POLLOUT) /* the first of a cycle: nothing is in hand */
        bury();
    else /* the second, for which Paho lets go of all its locks */
        paho_complete_writes();
    return paho_poll(fds, count);
}

/* Paho means well: it sleeps because nothing came. But poll() has waited already. Its receiving thread
 * also sleeps when there is no socket, and other threads while they wait for the end of that one. */
int sennet_paho_usleep(useconds_t us)
{
    if (is_receiver) /* without a socket it does not poll */
        bury();
    if (has_polled) {
        has_polled = false;
        return 0;
    }
    if (is_receiver) {
        paho_poll_nothing();
        return 0;
    }
    paho_poll_wake();
    return usleep(us < SLEEP_US ? us : SLEEP_US);
}

/* Paho asks for the time of day only to say until when it waits. Now is the time to write, too: soon
 * it holds a lock that others need to wake it. */
int sennet_paho_clock_gettime(clockid_t clock, struct timespec *t)
{
    if (clock != CLOCK_REALTIME) /* of each packet, to count seconds */
        return clock_gettime(CLOCK_MONOTONIC_COARSE, t);
    paho_behind_flush();
    return clock_gettime(CLOCK_MONOTONIC, t);
}

/* Paho has one condition variable, for its sending thread, and holds its mutex around both calls; what
 * is `signalled` belongs to that. The thread sleeps at a semaphore, which knows the clock, and does not
 * take a mutex back with a system call. */
static bool signalled;
static sem_t bell;
static pthread_once_t bell_once = PTHREAD_ONCE_INIT;
static _Atomic(pthread_mutex_t *) send_mutex; /* once the sending thread has waited */

static void make_bell(void)
{
    sem_init(&bell, 0, 0);
}

/* Of a thread that has more to tell: woken is nobody before it is done. */
static _Thread_local bool holds_signals;
static _Thread_local bool held_signal;

static void ring(void)
{
    pthread_once(&bell_once, make_bell);
    sem_post(&bell);
}

void paho_hold_signals(void)
{
    holds_signals = true;
}

/* Whoever waits has begun to do so before `signalled` was set, or has seen it. */
void paho_release_signals(void)
{
    holds_signals = false;
    if (held_signal)
        ring();
    held_signal = false;
}

int sennet_paho_pthread_cond_signal(pthread_cond_t *cond)
{
    (void)cond;
    if (signalled)
        return 0;
    signalled = true;
    if (holds_signals)
        held_signal = true;
    else
        ring();
    return 0;
}

void paho_wake_sender(void)
{
    pthread_mutex_t *const mutex = atomic_load(&send_mutex);
    if (mutex == NULL)
        return;
    pthread_mutex_lock(mutex);
    signalled = true;
    pthread_mutex_unlock(mutex);
    ring();
}

/* By itself Paho waits for a second, to look after timeouts each three. A ring of earlier may be left:
 * then it looks once more. */
int sennet_paho_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                       const struct timespec *until)
{
    const struct timespec later = {.tv_sec = until->tv_sec + LOOK_S - 1, .tv_nsec = until->tv_nsec};
    int rc = 0;

    (void)cond;
    paho_behind_i_am(PAHO_SENDER);
    atomic_store(&send_mutex, mutex);
    pthread_once(&bell_once, make_bell);
    if (!signalled) {
        pthread_mutex_unlock(mutex);
        rc = sem_clockwait(&bell, CLOCK_MONOTONIC, &later) != 0 ? errno : 0;
        pthread_mutex_lock(mutex);
    }
    signalled = false;
    while (sem_trywait(&bell) == 0)
        ;
    return rc == EINTR ? 0 : rc;
}

/* ---- keys --------------------------------------------------------------------------------------- */

/* For each packet Paho makes up to four keys for its persistence, "s-17" and so on, whether there is
 * anything to keep or not: not with printf's machinery. */
enum { DIGITS = 10 }; /* of a 32-bit number */

static size_t digits_of(unsigned number, char out[DIGITS])
{
    size_t n = 0;
    do {
        n++;
        out[DIGITS - n] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return n;
}

/* Where it fits; else -1, and nothing is written. */
static int write_key(char *out, size_t room, const char *prefix, unsigned number)
{
    char digits[DIGITS];
    const size_t n = digits_of(number, digits);
    const size_t len = strlen(prefix);
    if (len >= room || n >= room - len)
        return -1;
    memcpy(out, prefix, len);
    memcpy(out + len, digits + DIGITS - n, n);
    out[len + n] = '\0';
    return (int)(len + n);
}

static int write_text(char *out, size_t room, const char *format, va_list args)
{
    const bool is_signed = strcmp(format, "%s%d") == 0;
    if (is_signed || strcmp(format, "%s%u") == 0) {
        va_list copy;
        va_copy(copy, args);
        const char *const prefix = va_arg(copy, const char *);
        const unsigned number = va_arg(copy, unsigned);
        va_end(copy);
        const bool plain = prefix != NULL && (!is_signed || number <= INT32_MAX);
        const int len = plain ? write_key(out, room, prefix, number) : -1;
        if (len >= 0)
            return len;
    }
    return vsnprintf(out, room, format, args);
}

int sennet_paho_snprintf(char *out, size_t room, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int len = write_text(out, room, format, args);
    va_end(args);
    return len;
}

int sennet_paho___snprintf_chk(char *out, size_t room, int flag, size_t size, const char *format,
                               ...)
{
    (void)flag;
    va_list args;
    va_start(args, format);
    const int len = write_text(out, room < size ? room : size, format, args);
    va_end(args);
    return len;
}

/* ---- memory and tracing -------------------------------------------------------------------------
 */

/* NOLINTBEGIN(readability-non-const-parameter): the signatures are Paho's */

/* Zeroed, as Paho's own is. */
void *mymalloc(char *file, int line, size_t size)
{
    (void)file;
    (void)line;
    void *const block = block_new(size);
    if (block != NULL)
        memset(block, 0, size);
    return block;
}

void *myrealloc(char *file, int line, void *block, size_t size)
{
    (void)file;
    (void)line;
    return block_resize(block, size);
}

/* Of an acknowledgement that is an error, Paho 1.3 looks at the packet once more when it has freed it. */
static _Thread_local const void *in_hand;
static void *let_go; /* of the receiving thread */

void paho_keep_packet(const void *packet)
{
    block_free(let_go);
    let_go = NULL;
    in_hand = packet;
}

void myfree(char *file, int line, void *block)
{
    (void)file;
    (void)line;
    if (block != NULL && block == in_hand) {
        let_go = block;
        in_hand = NULL;
        return;
    }
    block_free(block);
}

/* NOLINTEND(readability-non-const-parameter) */

void StackTrace_entry(const char *name, int line, int level)
{
    (void)name;
    (void)line;
    (void)level;
}

void StackTrace_exit(const char *name, int line, void *rc, int level)
{
    (void)name;
    (void)line;
    (void)rc;
    (void)level;
}

/* Paho makes a text of each packet, for a table that nobody reads. */
void Log(int level, int number, const char *format, ...)
{
    (void)level;
    (void)number;
    (void)format;
}

/* Paho 1.3.12 calls this when a handle is destroyed, and so forgets topics and payloads of what was
 * never sent. 1.3.14 does not call it any more (upstream #1474). */
void MQTTAsync_NULLPublishCommands(void *client)
{
    (void)client;
}
