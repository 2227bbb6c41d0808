/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_tls.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
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

static void free_attempt(void *parent, void *attempt, CRYPTO_EX_DATA *data, int index, long n,
                         void *arg)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)n;
    (void)arg;
    tls_attempt_unref(attempt);
}

static int attempt_index(void)
{
    static atomic_int index = -1;
    int known = atomic_load(&index);
    if (known >= 0)
        return known;
    const int made = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_attempt);
    return atomic_compare_exchange_strong(&index, &known, made) ? made : known;
}

/* Paho's context only carries the attempt; it frees it after the connection. */
int sennet_paho_SSL_CTX_load_verify_locations(SSL_CTX *ctx, const char *ticket, const char *path)
{
    struct tls_attempt *const a = redeem(ticket);
    (void)path;
    if (a == NULL)
        return 0;
    if (SSL_CTX_set_ex_data(ctx, attempt_index(), a) == 1)
        return 1;
    tls_attempt_unref(a);
    return 0;
}

SSL *sennet_paho_SSL_new(SSL_CTX *ctx)
{
    struct tls_attempt *const a = SSL_CTX_get_ex_data(ctx, attempt_index());
    paho_note_tls("", -1);
    return a != NULL ? tls_attempt_ssl(a) : NULL;
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
