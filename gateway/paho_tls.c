/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_tls.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <openssl/err.h>

#include "base/list.h"

#include "paho_behind.h"
#include "paho_calls.h"
#include "paho_poll.h"

/* ---- tickets --------------------------------------------------------------------------------- */

struct ticket {
    struct list link;
    uint64_t number;
    struct tls_attempt *attempt;
};

/* As many as there are connections being made. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list tickets = {.next = &tickets, .prev = &tickets};
static uint64_t last_number;

/* Lock held. */
static struct ticket *find(const char *text)
{
    const uint64_t number = text != NULL ? strtoull(text, NULL, 10) : 0;
    for (struct list *at = tickets.next; at != &tickets; at = at->next) {
        struct ticket *const t = container_of(at, struct ticket, link);
        if (t->number == number)
            return t;
    }
    return NULL;
}

int paho_ticket_put(struct tls_attempt *a, char ticket[PAHO_TICKET_MAX])
{
    struct ticket *const t = malloc(sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    t->attempt = tls_attempt_ref(a);
    pthread_mutex_lock(&lock);
    t->number = ++last_number;
    list_init(&t->link);
    list_push_back(&tickets, &t->link);
    snprintf(ticket, PAHO_TICKET_MAX, "%" PRIu64, t->number);
    pthread_mutex_unlock(&lock);
    return 0;
}

void paho_ticket_drop(const char *ticket)
{
    pthread_mutex_lock(&lock);
    struct ticket *const t = find(ticket);
    if (t != NULL)
        list_unlink(&t->link);
    pthread_mutex_unlock(&lock);
    if (t != NULL)
        tls_attempt_unref(t->attempt);
    free(t);
}

static struct tls_attempt *redeem(const char *ticket)
{
    pthread_mutex_lock(&lock);
    struct ticket *const t = find(ticket);
    struct tls_attempt *const a = t != NULL ? tls_attempt_ref(t->attempt) : NULL;
    pthread_mutex_unlock(&lock);
    return a;
}

/* ---- setting up ------------------------------------------------------------------------------ */

/* Paho makes a context for each connection, asks it for the file of authorities, and for the connection, in
 * one go under its lock. All get the same one, from which no connection could come about; what counts is
 * the attempt. */
static SSL_CTX *hollow;
static struct tls_attempt *redeemed;

SSL_CTX *sennet_paho_SSL_CTX_new(const SSL_METHOD *method)
{
    if (hollow == NULL && (hollow = SSL_CTX_new(method)) != NULL) {
        SSL_CTX_set_min_proto_version(hollow, TLS1_3_VERSION);
        SSL_CTX_set_cipher_list(hollow, "ECDHE+AESGCM"); /* Paho walks along it */
        if (SSL_CTX_set_ciphersuites(hollow, "") != 1) {
            SSL_CTX_free(hollow);
            hollow = NULL;
        }
    }
    return hollow != NULL && SSL_CTX_up_ref(hollow) == 1 ? hollow : NULL;
}

/* Paho begins with OpenSSL when it begins, also where nothing is encrypted, and that takes two
 * megabytes. OpenSSL itself begins when it is first used. */
int sennet_paho_OPENSSL_init_ssl(uint64_t options, const OPENSSL_INIT_SETTINGS *settings)
{
    (void)options;
    (void)settings;
    return 1;
}

int sennet_paho_OPENSSL_init_crypto(uint64_t options, const OPENSSL_INIT_SETTINGS *settings)
{
    (void)options;
    (void)settings;
    return 1;
}

/* What Paho keeps with its contexts has an index, which it asks for when it begins: it gets none until
 * there is a context. */
static int index_in_context;

static void take_index(void)
{
    index_in_context = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, NULL);
}

int sennet_paho_CRYPTO_get_ex_new_index(int kind, long number, void *arg, CRYPTO_EX_new *made,
                                        CRYPTO_EX_dup *copied, CRYPTO_EX_free *freed)
{
    (void)kind;
    (void)number;
    (void)arg;
    (void)made;
    (void)copied;
    (void)freed;
    return 0;
}

int sennet_paho_SSL_CTX_set_ex_data(SSL_CTX *ctx, int index, void *data)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)index;
    pthread_once(&once, take_index);
    return SSL_CTX_set_ex_data(ctx, index_in_context, data);
}

/* Nothing is read that was not written. */
void *sennet_paho_SSL_CTX_get_ex_data(const SSL_CTX *ctx, int index)
{
    (void)index;
    return SSL_CTX_get_ex_data(ctx, index_in_context);
}

int sennet_paho_SSL_CTX_load_verify_locations(SSL_CTX *ctx, const char *ticket, const char *path)
{
    (void)ctx;
    (void)path;
    tls_attempt_unref(redeemed);
    redeemed = redeem(ticket);
    return redeemed != NULL;
}

SSL *sennet_paho_SSL_new(SSL_CTX *ctx)
{
    struct tls_attempt *const a = redeemed;
    redeemed = NULL;
    paho_note_tls("", -1);
    SSL *const ssl = a != NULL ? tls_attempt_ssl(a) : NULL;
    tls_attempt_unref(a);
    return ssl != NULL ? ssl : SSL_new(ctx); /* Paho does not ask */
}

/* Paho would send an address as server name, too. */
long sennet_paho_SSL_ctrl(SSL *ssl, int command, long number, void *arg)
{
    if (command == SSL_CTRL_SET_TLSEXT_HOSTNAME)
        return 1;
    return SSL_ctrl(ssl, command, number, arg);
}

SSL_SESSION *sennet_paho_SSL_get1_session(SSL *ssl)
{
    (void)ssl;
    return NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* After a call that returned `rc`; nothing that could overwrite errno or OpenSSL's queue may stand in
 * between. */
static void note_failure(const SSL *ssl, int rc)
{
    char why[TLS_WHY_MAX];
    const int error = errno;
    int receive_error = -1; /* waiting */
    tls_explain(ssl, rc, why, sizeof why);
    switch (SSL_get_error(ssl, rc)) {
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SSL:
        receive_error = 0;
        break;
    case SSL_ERROR_SYSCALL:
        receive_error = error;
        break;
    default:
        break;
    }
    paho_note_tls(why, receive_error);
}

int sennet_paho_SSL_connect(SSL *ssl)
{
    ERR_clear_error();
    errno = 0;
    const int rc = SSL_connect(ssl);
    if (rc != 1)
        note_failure(ssl, rc);
    return rc;
}

int sennet_paho_SSL_read(SSL *ssl, void *buffer, int len)
{
    const int fd = SSL_get_fd(ssl);
    const bool asks = SSL_pending(ssl) == 0;
    ERR_clear_error();
    errno = 0;
    const int got = SSL_read(ssl, buffer, len);
    if (got > 0 && asks)
        paho_behind_acknowledge(fd);
    paho_note_socket(fd);
    if (got > 0)
        paho_note_tls("", -1);
    else
        note_failure(ssl, got);
    return got;
}

/* Of the write that was just made by this thread, and broke. */
static _Thread_local const SSL *broken;

int sennet_paho_SSL_write(SSL *ssl, const void *buffer, int len)
{
    const int fd = SSL_get_fd(ssl);
    broken = NULL;
    ERR_clear_error();
    const int written = SSL_write(ssl, buffer, len);
    if (paho_poll_stuck(fd, written <= 0) && written > 0)
        paho_wake_sender();
    if (written > 0)
        return written;
    const int error = SSL_get_error(ssl, written);
    if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ) {
        broken = error == SSL_ERROR_WANT_READ ? ssl : NULL; /* Paho would give up */
        return written;
    }
    shutdown(fd, SHUT_RDWR); /* so that poll() reports the end to the reading side */
    broken = ssl;
    return -1;
}

int sennet_paho_SSL_get_error(const SSL *ssl, int rc)
{
    if (broken == ssl && ssl != NULL) {
        broken = NULL;
        return SSL_ERROR_WANT_WRITE;
    }
    return SSL_get_error(ssl, rc);
}
