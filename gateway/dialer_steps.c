/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection, step by step. Answers are looked at first and then taken exactly as far as they go:
 * whatever the server says next stays where it is, for whoever reads then.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "dialer_priv.h"

enum { KEY_BYTES = 16, KEY_ROOM = 32, LOGIN_MAX = 512, SHA1_BYTES = 20 };

/* ---- preparing ------------------------------------------------------------------------------- */

/* What the server must answer to the key (RFC 6455, 4.2.2). */
static bool make_accept(const char *key, char accept[HTTP_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char text[SHA1_BYTES * 2];
    char both[KEY_ROOM + sizeof guid];
    unsigned len = 0;

    const int n = snprintf(both, sizeof both, "%s%s", key, guid);
    if (n <= 0 || (size_t)n >= sizeof both ||
        EVP_Digest(both, (size_t)n, digest, &len, EVP_sha1(), NULL) != 1 || len != SHA1_BYTES ||
        EVP_EncodeBlock(text, digest, SHA1_BYTES) != HTTP_ACCEPT_LEN)
        return false;
    memcpy(accept, text, HTTP_ACCEPT_LEN + 1);
    return true;
}

static int write_upgrade(struct dialer_job *j, const struct dialer_request *r)
{
    unsigned char octets[KEY_BYTES];
    unsigned char key[KEY_ROOM];
    char request[HTTP_REQUEST_MAX];

    if (RAND_bytes(octets, sizeof octets) != 1)
        return -ENOMEM;
    EVP_EncodeBlock(key, octets, sizeof octets);
    if (!make_accept((const char *)key, j->accept))
        return -ENOMEM;
    if (http_write_upgrade(request, sizeof request, r->host, r->port, r->usual_port, r->path,
                           (const char *)key) == 0)
        return -EINVAL;
    j->upgrade_text = strdup(request);
    return j->upgrade_text != NULL ? 0 : -ENOMEM;
}

static int write_connect(struct dialer_job *j, const struct dialer_request *r)
{
    unsigned char login[LOGIN_MAX / 3 * 4 + 8];
    char request[HTTP_REQUEST_MAX / 2];
    const size_t len = r->proxy_login != NULL ? strlen(r->proxy_login) : 0;

    if (len > LOGIN_MAX)
        return -EINVAL;
    j->has_login = len > 0;
    EVP_EncodeBlock(login, (const unsigned char *)(len > 0 ? r->proxy_login : ""), (int)len);
    const size_t n = http_write_connect(request, sizeof request, r->host, r->port,
                                        j->has_login ? (const char *)login : NULL);
    j->connect_text = n > 0 ? strdup(request) : NULL;
    explicit_bzero(login, sizeof login);
    explicit_bzero(request, sizeof request);
    if (n == 0)
        return -EINVAL;
    return j->connect_text != NULL ? 0 : -ENOMEM;
}

static int write_texts(struct dialer_job *j, const struct dialer_request *r)
{
    const bool is_ip6 = strchr(r->host, ':') != NULL;
    int rc = 0;

    if (asprintf(&j->server, is_ip6 ? "[%s]:%s" : "%s:%s", r->host, r->port) < 0) {
        j->server = NULL;
        return -ENOMEM;
    }
    if (r->proxy != NULL && (j->proxy = strdup(r->proxy)) == NULL)
        return -ENOMEM;
    if (r->proxy != NULL)
        rc = write_connect(j, r);
    return rc == 0 && r->path != NULL ? write_upgrade(j, r) : rc;
}

int dialer_prepare(struct dialer_job *j, const struct dialer_request *r)
{
    const int on = 1;
    const int rc = write_texts(j, r);

    if (rc != 0)
        return rc;
    j->tls = tls_attempt_ref(r->tls);
    j->fd = socket(r->address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (j->fd < 0)
        return -errno;
    (void)setsockopt(j->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(j->fd, r->address, r->address_len) != 0 && errno != EINPROGRESS)
        j->connect_error = errno; /* of which SO_ERROR says nothing */
    return 0;
}

void dialer_clear(struct dialer_job *j)
{
    SSL_free(j->ssl);
    if (j->fd >= 0)
        close(j->fd);
    tls_attempt_unref(j->tls);
    if (j->connect_text != NULL)
        explicit_bzero(j->connect_text, strlen(j->connect_text));
    free(j->connect_text);
    free(j->upgrade_text);
    free(j->server);
    free(j->proxy);
    j->ssl = NULL;
    j->fd = -1;
    j->tls = NULL;
    j->connect_text = j->upgrade_text = j->server = j->proxy = NULL;
}

/* ---- octets ---------------------------------------------------------------------------------- */

/* What a step comes to: it has to wait, or it is done, well or not. */
enum outcome { WAIT, GO_ON };

static enum outcome fail(struct dialer_job *j)
{
    j->stage = STAGE_FAILED;
    return GO_ON;
}

/* To whom we are speaking. */
static const char *kind_of(const struct dialer_job *j)
{
    return j->stage < STAGE_ENCRYPT && j->proxy != NULL ? "proxy " : "";
}

static const char *peer_of(const struct dialer_job *j)
{
    return j->stage < STAGE_ENCRYPT && j->proxy != NULL ? j->proxy : j->server;
}

static enum outcome fail_with(struct dialer_job *j, const char *why)
{
    snprintf(j->why, sizeof j->why, "%s%s: %s", kind_of(j), peer_of(j), why);
    return fail(j);
}

static enum outcome fail_closed(struct dialer_job *j)
{
    snprintf(j->why, sizeof j->why, "%s%s closed the connection before it answered", kind_of(j),
             peer_of(j));
    return fail(j);
}

/* After a call of OpenSSL's that returned `rc`; errno is that of the call. */
static enum outcome explain_tls(struct dialer_job *j, int rc)
{
    char why[TLS_WHY_MAX];
    const int error = errno;

    switch (SSL_get_error(j->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        j->waits_for = EPOLLIN;
        return WAIT;
    case SSL_ERROR_WANT_WRITE:
        j->waits_for = EPOLLOUT;
        return WAIT;
    default:
        tls_explain(j->ssl, rc, why, sizeof why);
        if (why[0] != '\0')
            return fail_with(j, why);
        if (error != 0 && error != ECONNRESET)
            return fail_with(j, strerror(error));
        return fail_closed(j);
    }
}

static enum outcome explain_socket(struct dialer_job *j, ssize_t rc, uint32_t waits_for)
{
    if (rc < 0 && (errno == EAGAIN || errno == EINTR)) {
        j->waits_for = waits_for;
        return WAIT;
    }
    if (rc == 0 || errno == ECONNRESET)
        return fail_closed(j);
    return fail_with(j, strerror(errno));
}

static enum outcome say(struct dialer_job *j, const char *text)
{
    const size_t len = strlen(text) - j->sent;

    if (j->ssl != NULL) {
        ERR_clear_error();
        errno = 0;
        const int n = SSL_write(j->ssl, text + j->sent, (int)len);
        if (n <= 0)
            return explain_tls(j, n);
        j->sent += (size_t)n;
    } else {
        const ssize_t n = send(j->fd, text + j->sent, len, MSG_NOSIGNAL);
        if (n <= 0)
            return explain_socket(j, n, EPOLLOUT);
        j->sent += (size_t)n;
    }
    if (text[j->sent] != '\0')
        return GO_ON;
    j->sent = 0;
    j->answer = (struct http_answer){.state = HTTP_READING};
    j->stage++;
    return GO_ON;
}

/* Until the answer is whole, whatever it says. */
static enum outcome hear(struct dialer_job *j)
{
    uint8_t octets[1024];
    int n;

    ERR_clear_error();
    errno = 0;
    if (j->ssl != NULL)
        n = SSL_peek(j->ssl, octets, sizeof octets);
    else
        n = (int)recv(j->fd, octets, sizeof octets, MSG_PEEK);
    if (n <= 0)
        return j->ssl != NULL ? explain_tls(j, n) : explain_socket(j, n, EPOLLIN);
    const size_t mine = http_input(&j->answer, bytes_of(octets, (size_t)n));
    const int taken =
        j->ssl != NULL ? SSL_read(j->ssl, octets, (int)mine) : (int)recv(j->fd, octets, mine, 0);
    return taken == (int)mine ? GO_ON : fail_closed(j);
}

/* ---- steps ----------------------------------------------------------------------------------- */

static enum outcome reach(struct dialer_job *j)
{
    int error = j->connect_error;
    socklen_t len = sizeof error;
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof peer;

    if (error == 0 && getsockopt(j->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
        error = errno;
    if (error == 0 && getpeername(j->fd, (struct sockaddr *)&peer, &peer_len) != 0) {
        j->waits_for = EPOLLOUT;
        return WAIT;
    }
    j->unreached = error != 0;
    if (error == ECONNREFUSED) {
        snprintf(j->why, sizeof j->why, "connection refused by %s%s", kind_of(j), peer_of(j));
        return fail(j);
    }
    if (error != 0) {
        snprintf(j->why, sizeof j->why, "can't connect to %s%s: %s", kind_of(j), peer_of(j),
                 strerror(error));
        return fail(j);
    }
    j->stage = j->proxy != NULL ? STAGE_ASK : STAGE_ENCRYPT;
    return GO_ON;
}

static enum outcome judge_proxy(struct dialer_job *j)
{
    enum { PROXY_AUTHENTICATION = 407 };

    const struct http_answer *const a = &j->answer;
    const char *hint = "";

    if (a->state == HTTP_BROKEN)
        return fail_with(j, a->octets > HTTP_ANSWER_MAX ? "the answer is too long"
                                                        : "the answer is no HTTP: is it a proxy?");
    if (a->status / 100 == 2) {
        j->stage = STAGE_ENCRYPT;
        return GO_ON;
    }
    if (a->status == PROXY_AUTHENTICATION)
        hint = j->has_login ? " (is the login in proxy right?)" : " (proxy has no login)";
    snprintf(j->why, sizeof j->why, "proxy %s refused: %u%s%s%s", j->proxy, a->status,
             a->reason[0] != '\0' ? " " : "", a->reason, hint);
    return fail(j);
}

/* Only for a WebSocket: MQTT's TLS is Paho's. */
static enum outcome encrypt(struct dialer_job *j)
{
    if (j->upgrade_text == NULL) {
        j->stage = STAGE_READY;
        return GO_ON;
    }
    if (j->tls == NULL) {
        j->stage = STAGE_UPGRADE;
        return GO_ON;
    }
    if (j->ssl == NULL) {
        j->ssl = tls_attempt_ssl(j->tls);
        if (j->ssl == NULL || SSL_set_fd(j->ssl, j->fd) != 1)
            return fail_with(j, "out of memory");
    }
    ERR_clear_error();
    errno = 0;
    const int rc = SSL_connect(j->ssl);
    if (rc != 1)
        return explain_tls(j, rc);
    j->stage = STAGE_UPGRADE;
    return GO_ON;
}

static enum outcome judge_server(struct dialer_job *j)
{
    char room[HTTP_REASON_MAX + 64];
    const char *const wrong = http_not_websocket(&j->answer, j->accept, room);

    if (wrong == NULL) {
        j->stage = STAGE_READY;
        return GO_ON;
    }
    snprintf(j->why, sizeof j->why, "%s: not a WebSocket: %s", j->server, wrong);
    return fail(j);
}

static enum outcome step(struct dialer_job *j)
{
    switch (j->stage) {
    case STAGE_REACH:
        return reach(j);
    case STAGE_ASK:
        return say(j, j->connect_text);
    case STAGE_HEAR:
        return j->answer.state == HTTP_READING ? hear(j) : judge_proxy(j);
    case STAGE_ENCRYPT:
        return encrypt(j);
    case STAGE_UPGRADE:
        return say(j, j->upgrade_text);
    case STAGE_UPGRADED:
        return j->answer.state == HTTP_READING ? hear(j) : judge_server(j);
    case STAGE_READY:
    case STAGE_FAILED:
        break;
    }
    return WAIT;
}

void dialer_go_on(struct dialer_job *j)
{
    while (step(j) == GO_ON)
        ;
}

void dialer_give_up(struct dialer_job *j)
{
    snprintf(j->why, sizeof j->why, "no answer from %s%s", kind_of(j), peer_of(j));
    j->unreached = j->stage == STAGE_REACH;
    j->stage = STAGE_FAILED;
}
