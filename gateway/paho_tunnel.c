/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/list.h"
#include "base/text.h"

#include "broker/websocket.h"

enum {
    DESCRIPTORS = 65536,
    FRAME_MAX = 16384, /* a frame of ours is one record of TLS */
    CHUNK_MAX = FRAME_MAX - WS_HEAD_MAX,
    READS_MAX = 8, /* in a row that bring nothing but control frames: Paho's lock is held */
    CLOSE_NORMAL = 1000,
};

static const char name_prefix[] = "tunnel.sennet.";

/* One WebSocket. Paho's two threads read and write at the same time. */
struct tunnel {
    pthread_mutex_t lock; /* nothing under it waits */
    SSL *ssl;             /* NULL: none */
    struct ws_reader in;
    uint8_t *rest;   /* of the frame that has left in part; NULL: none */
    size_t rest_len; /* all of it has to be repeated to OpenSSL, */
    size_t rest_at;  /* but only what is behind this to a socket */
    size_t promised; /* octets of Paho's in there, of which Paho has not been told */
    bool is_over;    /* goodbye was said, or nothing can be written any more */
    char why[TLS_WHY_MAX];
};

/* By descriptor. An entry comes with connect() and goes with close(). */
static _Atomic(struct tunnel *) tunnels[DESCRIPTORS];

static struct tunnel *tunnel_at(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS ? atomic_load_explicit(&tunnels[fd], memory_order_acquire)
                                       : NULL;
}

bool paho_tunnel_is(int fd)
{
    return tunnel_at(fd) != NULL;
}

static void tunnel_free(struct tunnel *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    free(t->rest);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* ---- those that wait for Paho ---------------------------------------------------------------- */

struct ready {
    struct list link;
    uint64_t number;
    int fd;
    struct tunnel *tunnel; /* NULL: no WebSocket */
};

static pthread_mutex_t ready_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list readies = {.next = &readies, .prev = &readies};
static uint64_t last_number;

static _Thread_local uint64_t expected; /* 0: none */

static uint64_t number_of(const char *name)
{
    const size_t len = sizeof name_prefix - 1;
    return name != NULL && strncmp(name, name_prefix, len) == 0 ? strtoull(name + len, NULL, 10)
                                                                : 0;
}

static struct ready *take_ready(uint64_t number)
{
    struct ready *found = NULL;
    pthread_mutex_lock(&ready_lock);
    for (struct list *at = readies.next; at != &readies && found == NULL; at = at->next) {
        struct ready *const r = container_of(at, struct ready, link);
        if (r->number == number)
            found = r;
    }
    if (found != NULL)
        list_unlink(&found->link);
    pthread_mutex_unlock(&ready_lock);
    return found;
}

static void ready_free(struct ready *r)
{
    if (r == NULL)
        return;
    tunnel_free(r->tunnel);
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

static struct tunnel *tunnel_new(SSL *ssl)
{
    struct tunnel *const t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    t->ssl = ssl;
    return t;
}

int paho_tunnel_put(const struct dialer_result *made, bool websocket,
                    char name[PAHO_TUNNEL_NAME_MAX])
{
    struct ready *const r = calloc(1, sizeof *r);
    struct tunnel *const t = websocket ? tunnel_new(made->ssl) : NULL;
    if (r == NULL || (websocket && t == NULL)) {
        if (t == NULL)
            SSL_free(made->ssl);
        tunnel_free(t);
        free(r);
        close(made->fd);
        return -ENOMEM;
    }
    r->fd = made->fd;
    r->tunnel = t;
    pthread_mutex_lock(&ready_lock);
    r->number = ++last_number;
    list_init(&r->link);
    list_push_back(&readies, &r->link);
    snprintf(name, PAHO_TUNNEL_NAME_MAX, "%s%" PRIu64, name_prefix, r->number);
    pthread_mutex_unlock(&ready_lock);
    return 0;
}

void paho_tunnel_drop(const char *name)
{
    ready_free(take_ready(number_of(name)));
}

bool paho_tunnel_expect(const char *host)
{
    expected = number_of(host);
    return expected != 0;
}

bool paho_tunnel_is_expected(void)
{
    return expected != 0;
}

/* Paho's socket becomes the dialer's. That it is "in progress" is what Paho sees most of the time. */
int paho_tunnel_connect(int fd)
{
    struct ready *const r = take_ready(expected);
    expected = 0;
    if (r == NULL || fd >= DESCRIPTORS || dup3(r->fd, fd, O_CLOEXEC) < 0 ||
        (r->tunnel != NULL && r->tunnel->ssl != NULL && SSL_set_fd(r->tunnel->ssl, fd) != 1)) {
        ready_free(r);
        errno = fd >= DESCRIPTORS ? EMFILE : ECONNABORTED;
        return -1;
    }
    atomic_store_explicit(&tunnels[fd], r->tunnel, memory_order_release);
    r->tunnel = NULL;
    ready_free(r);
    errno = EINPROGRESS;
    return -1;
}

void paho_tunnel_forget(int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS)
        tunnel_free(atomic_exchange(&tunnels[fd], NULL));
}

/* ---- writing, under the tunnel's lock -------------------------------------------------------- */

/* Masks must not be foreseen by who chooses the payload (RFC 6455, 10.3). */
static void draw_mask(uint8_t mask[4])
{
    static _Thread_local uint8_t pool[256];
    static _Thread_local size_t left;

    while (left < 4) { /* so few come at once */
        const ssize_t n = getrandom(pool, sizeof pool, 0);
        left = n > 0 ? (size_t)n : 0;
    }
    left -= 4;
    memcpy(mask, pool + left, 4);
}

/* Octets taken; 0: it would block; -1: errno. */
static ssize_t put_octets(struct tunnel *t, int fd, const uint8_t *octets, size_t len, int flags)
{
    if (t->ssl == NULL) {
        const ssize_t n = send(fd, octets, len, flags | MSG_NOSIGNAL);
        return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
    }
    ERR_clear_error();
    const int n = SSL_write(t->ssl, octets, (int)len);
    if (n > 0)
        return n;
    const int error = SSL_get_error(t->ssl, n);
    errno = EPIPE;
    return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? 0 : -1;
}

/* What has not left is kept. True: all of it has. */
static bool put_frame(struct tunnel *t, int fd, const uint8_t *frame, size_t len, int flags)
{
    const ssize_t n = put_octets(t, fd, frame, len, flags);
    if (n == (ssize_t)len)
        return true;
    if (n >= 0)
        t->rest = malloc(len);
    if (n < 0 || t->rest == NULL) {
        t->is_over = true;
        errno = n < 0 ? errno : ENOMEM;
        return false;
    }
    memcpy(t->rest, frame, len);
    t->rest_len = len;
    t->rest_at = (size_t)n;
    errno = EAGAIN;
    return false;
}

/* True: nothing is left over from before. */
static bool put_rest(struct tunnel *t, int fd)
{
    while (t->rest != NULL) {
        const ssize_t n = put_octets(t, fd, t->rest + t->rest_at, t->rest_len - t->rest_at, 0);
        if (n <= 0) {
            t->is_over = n < 0;
            errno = n < 0 ? errno : EAGAIN;
            return false;
        }
        t->rest_at += (size_t)n;
        if (t->rest_at < t->rest_len)
            continue;
        free(t->rest);
        t->rest = NULL;
    }
    return true;
}

static bool put_control(struct tunnel *t, int fd, enum ws_opcode opcode, struct bytes payload)
{
    uint8_t frame[WS_HEAD_MAX + WS_CONTROL_MAX];
    uint8_t mask[4];

    draw_mask(mask);
    const size_t head = ws_head(frame, opcode, payload.len, mask);
    if (payload.len > 0)
        ws_mask(frame + head, payload.data, payload.len, mask, 0);
    return put_frame(t, fd, frame, head + payload.len, 0);
}

/* Between two frames. If it can't leave now, it does so with the next write. */
static bool answer_ping(struct tunnel *t, int fd)
{
    if (!t->in.pinged || t->rest != NULL || t->is_over)
        return t->rest == NULL;
    t->in.pinged = false;
    return put_control(t, fd, WS_PONG, bytes_of(t->in.ping, t->in.ping_len));
}

/* Octets from..from+len of all parts, as the payload of a frame. Returns the length of that. */
static size_t make_frame(uint8_t frame[FRAME_MAX], const struct iovec *parts, int count,
                         size_t from, size_t len)
{
    uint8_t mask[4];
    size_t done = 0;

    draw_mask(mask);
    const size_t head = ws_head(frame, WS_BINARY, len, mask);
    for (int i = 0; i < count && done < len; i++) {
        if (from >= parts[i].iov_len) {
            from -= parts[i].iov_len;
            continue;
        }
        const size_t here = parts[i].iov_len - from;
        const size_t n = here < len - done ? here : len - done;
        ws_mask(frame + head + done, (const uint8_t *)parts[i].iov_base + from, n, mask, done);
        done += n;
        from = 0;
    }
    return head + done;
}

/* Paho hardly ever writes in both of its threads at once, so there is one place to do it in. */
static bool put_chunk(struct tunnel *t, int fd, const struct iovec *parts, int count, size_t from,
                      size_t len, int flags)
{
    static pthread_mutex_t frame_lock = PTHREAD_MUTEX_INITIALIZER;
    static uint8_t frame[FRAME_MAX];

    pthread_mutex_lock(&frame_lock);
    const bool left = put_frame(t, fd, frame, make_frame(frame, parts, count, from, len), flags);
    pthread_mutex_unlock(&frame_lock);
    return left;
}

static size_t total_of(const struct iovec *parts, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += parts[i].iov_len;
    return total;
}

/* Octets of Paho's that have left; what comes next is promised, or nothing can leave: errno. */
static size_t put_parts(struct tunnel *t, int fd, const struct iovec *parts, int count, int flags)
{
    const size_t total = total_of(parts, count);

    if (!put_rest(t, fd))
        return 0;
    size_t done = t->promised < total ? t->promised : total;
    t->promised = 0;
    if (!answer_ping(t, fd))
        return done;
    while (done < total) {
        const size_t n = total - done < CHUNK_MAX ? total - done : CHUNK_MAX;
        if (!put_chunk(t, fd, parts, count, done, n, flags)) {
            t->promised = t->rest != NULL ? n : 0;
            break;
        }
        done += n;
    }
    return done;
}

ssize_t paho_tunnel_writev(int fd, const struct iovec *parts, int count, int flags)
{
    struct tunnel *const t = tunnel_at(fd);

    errno = EPIPE;
    if (t == NULL)
        return -1;
    pthread_mutex_lock(&t->lock);
    const size_t done = t->is_over ? 0 : put_parts(t, fd, parts, count, flags);
    const bool failed = done == 0 && total_of(parts, count) > 0;
    pthread_mutex_unlock(&t->lock);
    return failed ? -1 : (ssize_t)done;
}

void paho_tunnel_farewell(int fd)
{
    static const uint8_t normal[] = {CLOSE_NORMAL >> 8, CLOSE_NORMAL & 0xFF};
    struct tunnel *const t = tunnel_at(fd);

    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    if (!t->is_over && put_rest(t, fd) && put_control(t, fd, WS_CLOSE, bytes_of(normal, 2)) &&
        t->ssl != NULL)
        (void)SSL_shutdown(t->ssl);
    t->is_over = true;
    pthread_mutex_unlock(&t->lock);
}

/* ---- reading, under the tunnel's lock -------------------------------------------------------- */

/* As recv(). */
static ssize_t get_octets(struct tunnel *t, int fd, uint8_t *octets, size_t len)
{
    if (t->ssl == NULL)
        return recv(fd, octets, len, 0);
    ERR_clear_error();
    errno = 0;
    const int n = SSL_read(t->ssl, octets, len < INT32_MAX ? (int)len : INT32_MAX);
    if (n > 0)
        return n;
    const int error = errno;
    switch (SSL_get_error(t->ssl, n)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        tls_explain(t->ssl, n, t->why, sizeof t->why);
        errno = t->why[0] != '\0' ? EPROTO : error;
        return errno != 0 ? -1 : 0;
    }
}

static void explain_close(struct tunnel *t)
{
    struct text text = text_to(t->why, sizeof t->why);
    const struct bytes reason = ws_close_reason(&t->in);

    text_word(&text, "the server closed the WebSocket");
    if (t->in.status != WS_NO_STATUS) {
        text_word(&text, ": ");
        text_dec(&text, t->in.status);
    }
    if (reason.len > 0) {
        text_word(&text, " ");
        text_quoted(&text, reason, WS_CONTROL_MAX);
    }
}

/* What the frames have come to an end with, as recv() would say it. */
static ssize_t end_of_frames(struct tunnel *t)
{
    if (t->in.fault == WS_FINE) {
        explain_close(t);
        return 0;
    }
    snprintf(t->why, sizeof t->why, "WebSocket: %s", ws_fault_text(t->in.fault));
    errno = EPROTO;
    return -1;
}

static bool has_ended(const struct tunnel *t)
{
    return t->in.fault != WS_FINE || t->in.closed;
}

static ssize_t get_payload(struct tunnel *t, int fd, uint8_t *octets, size_t len)
{
    for (unsigned reads = 0; reads < READS_MAX; reads++) {
        if (has_ended(t))
            return end_of_frames(t);
        const ssize_t n = get_octets(t, fd, octets, len);
        if (n <= 0)
            return n;
        const size_t got = ws_input(&t->in, octets, (size_t)n);
        (void)answer_ping(t, fd);
        if (got > 0)
            return (ssize_t)got;
    }
    errno = EAGAIN;
    return -1;
}

ssize_t paho_tunnel_recv(int fd, void *buffer, size_t len, bool *more)
{
    struct tunnel *const t = tunnel_at(fd);

    *more = false;
    if (t == NULL)
        return 0;
    pthread_mutex_lock(&t->lock);
    const ssize_t got = get_payload(t, fd, buffer, len);
    const int error = errno;
    *more = (got > 0 && has_ended(t)) || (t->ssl != NULL && SSL_pending(t->ssl) > 0);
    pthread_mutex_unlock(&t->lock);
    errno = error;
    return got;
}

void paho_tunnel_why(int fd, char *out, size_t size)
{
    struct tunnel *const t = tunnel_at(fd);

    out[0] = '\0';
    if (t == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    snprintf(out, size, "%s", t->why);
    pthread_mutex_unlock(&t->lock);
}
