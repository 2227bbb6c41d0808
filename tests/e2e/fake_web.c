/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/fake_web.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

enum { DRIP_MS = 1, CHUNK = 16384 };

struct visit {
    struct fake_web *web;
    int fd;
    SSL *ssl; /* NULL: none */
};

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static bool send_all(int fd, const void *octets, size_t len)
{
    const char *at = octets;
    while (len > 0) {
        const ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

/* With TLS as one record, as long as that can be. */
static bool say(const struct visit *v, const void *octets, size_t len)
{
    return v->ssl != NULL ? len == 0 || SSL_write(v->ssl, octets, (int)len) == (int)len
                          : send_all(v->fd, octets, len);
}

static ssize_t hear(const struct visit *v, void *octets, size_t len)
{
    return v->ssl != NULL ? SSL_read(v->ssl, octets, (int)len) : recv(v->fd, octets, len, 0);
}

static void answer(const struct visit *v, const void *octets, size_t len)
{
    const uint8_t *const all = octets;
    if (!v->web->drips) {
        say(v, octets, len);
        return;
    }
    struct pollfd over = {.fd = v->web->stop, .events = POLLIN};
    for (size_t i = 0; i < len && say(v, all + i, 1); i++)
        poll(&over, 1, DRIP_MS); /* else the reader would find several at once */
}

/* False: the test is over. */
static bool wait_for(const struct fake_web *w, int fd, const SSL *ssl)
{
    struct pollfd p[] = {
        {.fd = w->stop, .events = POLLIN},
        {.fd = fd,      .events = POLLIN}
    };
    if (ssl != NULL && SSL_pending(ssl) > 0)
        return true;
    return poll(p, 2, -1) > 0 && p[0].revents == 0;
}

/* Up to the empty line. */
static bool read_request(const struct visit *v, char request[4096])
{
    struct fake_web *const w = v->web;
    size_t len = 0;
    while (len < 4095 && wait_for(w, v->fd, v->ssl) && hear(v, request + len, 1) == 1) {
        request[++len] = '\0';
        if (len >= 4 && memcmp(request + len - 4, "\r\n\r\n", 4) == 0) {
            memcpy(w->request, request, len + 1);
            atomic_fetch_add(&w->requests, 1);
            return true;
        }
    }
    return false;
}

static bool relay_once(int from, int to, atomic_size_t *count)
{
    char octets[CHUNK];
    const ssize_t n = recv(from, octets, sizeof octets, 0);
    if (n <= 0)
        return false;
    if (count != NULL)
        atomic_fetch_add(count, (size_t)n);
    return send_all(to, octets, (size_t)n);
}

static void relay(struct fake_web *w, int client, int server)
{
    bool on = true;
    while (on) {
        struct pollfd p[] = {
            {.fd = w->stop, .events = POLLIN},
            {.fd = client,  .events = POLLIN},
            {.fd = server,  .events = POLLIN}
        };
        on = poll(p, 3, -1) > 0 && p[0].revents == 0;
        if (on && p[1].revents != 0)
            on = relay_once(client, server, &w->upward);
        if (on && p[2].revents != 0)
            on = relay_once(server, client, NULL);
    }
}

static void be_proxy(const struct visit *v, const char *request)
{
    static const char granted[] = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";
    static const char login[] =
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n";
    struct fake_web *const w = v->web;
    unsigned port = 0;
    const int on = 1;
    const char *const shown = strstr(request, "Proxy-Authorization: Basic ");

    if (w->login != NULL &&
        (shown == NULL || strncmp(shown + 27, w->login, strlen(w->login)) != 0)) {
        answer(v, login, sizeof login - 1);
        return;
    }
    const char *const colon = strchr(request, ':');
    if (strncmp(request, "CONNECT ", 8) != 0 || colon == NULL ||
        (port = (unsigned)strtoul(colon + 1, NULL, 10)) == 0)
        return;
    const struct sockaddr_in a = loopback((uint16_t)port);
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(server, (const struct sockaddr *)&a, sizeof a) == 0) {
        answer(v, granted, sizeof granted - 1);
        relay(w, v->fd, server);
    } else {
        static const char none[] = "HTTP/1.1 502 Bad Gateway\r\n\r\n";
        answer(v, none, sizeof none - 1);
    }
    close(server);
}

static void accept_websocket(const struct visit *v, const char *request)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char text[64];
    char both[128];
    char reply[512];
    unsigned len = 0;
    const char *const key = strstr(request, "Sec-WebSocket-Key: ");

    snprintf(both, sizeof both, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
             key != NULL ? key + 19 : "");
    EVP_Digest(both, strlen(both), digest, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock(text, digest, (int)len);
    snprintf(reply, sizeof reply,
             "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\n"
             "connection: keep-alive, Upgrade\r\nsec-websocket-accept: %s\r\n"
             "Sec-WebSocket-Protocol: mqtt\r\n\r\n",
             (const char *)text);
    answer(v, reply, strlen(reply));
}

static void be_server(const struct visit *v, const char *request)
{
    struct fake_web *const w = v->web;
    bool answered = false;

    accept_websocket(v, request);
    while (wait_for(w, v->fd, v->ssl)) {
        const size_t have = atomic_load(&w->n_heard);
        uint8_t octets[256];
        const ssize_t n = hear(v, octets, sizeof octets);
        if (n <= 0)
            break;
        for (size_t i = 0; i < (size_t)n && have + i < sizeof w->heard; i++)
            w->heard[have + i] = octets[i];
        atomic_fetch_add(&w->n_heard, (size_t)n);
        if (!answered)
            answer(v, w->octets, w->n_octets);
        answered = true;
    }
}

static bool encrypt(struct visit *v)
{
    SSL_CTX *const ctx = SSL_CTX_new(TLS_server_method());
    const bool ok = ctx != NULL &&
                    SSL_CTX_use_certificate_chain_file(ctx, v->web->certificate) == 1 &&
                    SSL_CTX_use_PrivateKey_file(ctx, v->web->key, SSL_FILETYPE_PEM) == 1;
    v->ssl = ok ? SSL_new(ctx) : NULL;
    SSL_CTX_free(ctx);
    return v->ssl != NULL && SSL_set_fd(v->ssl, v->fd) == 1 && SSL_accept(v->ssl) == 1;
}

static void receive_visit(struct visit *v)
{
    struct fake_web *const w = v->web;
    char request[4096] = "";

    if (w->mode == WEB_HANGS) {
        wait_for(w, -1, NULL);
        return;
    }
    if ((w->certificate != NULL && !encrypt(v)) || !read_request(v, request))
        return;
    if (w->mode == WEB_PROXY)
        be_proxy(v, request);
    else if (w->mode == WEB_SERVES)
        be_server(v, request);
    else
        answer(v, w->text, strlen(w->text));
}

static void count_open(struct fake_web *w, int change)
{
    pthread_mutex_lock(&w->lock);
    w->open += change;
    pthread_cond_signal(&w->closed);
    pthread_mutex_unlock(&w->lock);
}

static void *visit(void *arg)
{
    struct visit *const v = arg;
    struct fake_web *const w = v->web;

    receive_visit(v);
    SSL_free(v->ssl);
    close(v->fd);
    free(v);
    count_open(w, -1);
    return NULL;
}

static void *serve(void *arg)
{
    struct fake_web *const w = arg;
    const int on = 1;

    while (wait_for(w, w->listener, NULL)) {
        struct visit *const v = malloc(sizeof *v);
        pthread_t thread;
        *v = (struct visit){.web = w, .fd = accept(w->listener, NULL, NULL)};
        if (v->fd < 0) {
            free(v);
            continue;
        }
        (void)setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        count_open(w, 1);
        if (pthread_create(&thread, NULL, visit, v) == 0)
            pthread_detach(thread);
    }
    return NULL;
}

void fake_web_start(struct fake_web *w)
{
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;

    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->closed, NULL);
    w->stop = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_ge(w->stop, 0);
    w->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(w->listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(w->listener, 128), 0);
    ck_assert_int_eq(getsockname(w->listener, (struct sockaddr *)&a, &len), 0);
    w->port = ntohs(a.sin_port);
    ck_assert_int_eq(pthread_create(&w->thread, NULL, serve, w), 0);
}

void fake_web_stop(struct fake_web *w)
{
    ck_assert_int_eq(eventfd_write(w->stop, 1), 0);
    pthread_join(w->thread, NULL);
    pthread_mutex_lock(&w->lock);
    while (w->open > 0)
        pthread_cond_wait(&w->closed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&w->closed);
    pthread_mutex_destroy(&w->lock);
    close(w->listener);
    close(w->stop);
}
