/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS toward a broker: whom we trust, who we are, and, in words, why a handshake failed. OpenSSL is
 * set up here and in no other place; Paho's own set-up of it is bypassed (paho_tls.h).
 *
 *     tls_options --tls_context_new()--> SSL_CTX --tls_attempt_new()--> one handshake
 *
 * Every file is read anew for each context. Connections that can share one do (tls_cache.h), until one of
 * its files changes, so a renewed certificate is in use with the next connection.
 */
#ifndef SENNET_GATEWAY_TLS_H
#define SENNET_GATEWAY_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <openssl/ssl.h>

enum {
    TLS_WHY_MAX = 200,
    TLS_HOST_MAX = 254,
    TLS_PSK_MAX = 64,          /* octets of a pre-shared key */
    TLS_PSK_IDENTITY_MAX = 128 /* octets of its name */
};

enum tls_version { TLS_MIN_1_2, TLS_MIN_1_3 };

/* Paths and texts may be NULL: not given. */
struct tls_options {
    const char *ca_file;           /* PEM; with neither this nor ca_path the system's authorities */
    const char *ca_path;           /* directory as of "openssl rehash" */
    const char *crl_file;          /* PEM; certificates of brokers are looked up there */
    const char *cert_file;         /* PEM, our own certificate first, then its chain */
    const char *key_file;          /* PEM; without it the key is in cert_file */
    const char *key_password_file; /* its only line */
    const char *ciphers;           /* OpenSSL's names; those of TLS 1.3 begin with TLS_ */
    const char *alpn;              /* names, separated by commas */
    const char *psk_identity;
    const char *psk_file; /* the key, as hexadecimal digits in its only line */
    enum tls_version min;
    bool insecure; /* the broker is not verified at all */
};

/* Which of the options is to blame. */
enum tls_part {
    TLS_PART_CA_FILE,
    TLS_PART_CA_PATH,
    TLS_PART_CRL_FILE,
    TLS_PART_CERT_FILE,
    TLS_PART_KEY_FILE,
    TLS_PART_KEY_PASSWORD_FILE,
    TLS_PART_CIPHERS,
    TLS_PART_ALPN,
    TLS_PART_PSK_FILE,
    TLS_PART_NONE, /* out of memory, a broken OpenSSL */
};

struct tls_problem {
    enum tls_part part;
    char text[TLS_WHY_MAX]; /* "can't read 'ca.pem': No such file or directory" */
};

/* NULL, with `problem` filled. Free with SSL_CTX_free(). Reads files: not for the loop thread. */
SSL_CTX *tls_context_new(const struct tls_options *o, struct tls_problem *problem);

/* The same with a store of authorities and revocation lists that another context was made with, from the
 * same options; NULL: these are loaded. */
SSL_CTX *tls_context_trusting(const struct tls_options *o, X509_STORE *store,
                              struct tls_problem *problem);

enum tls_validity { TLS_VALID, TLS_NOT_YET_VALID, TLS_EXPIRED };

/* Our own certificate now; `date` gets the day that matters, "2026-01-02". TLS_VALID without one. */
enum tls_validity tls_own_validity(const SSL_CTX *ctx, char date[16]);

/* ---- one handshake --------------------------------------------------------------------------- */

/* Counted references. What happens in the handshake is noted by one thread at a time. */
struct tls_attempt;

/* Connections of this context are verified, or not, and tell their attempt what was wrong. */
void tls_watch(SSL_CTX *ctx, bool insecure);

/* Takes over a reference to `ctx`, also on failure. `host` is a name or an address without brackets. NULL
 * when out of memory. */
struct tls_attempt *tls_attempt_new(SSL_CTX *ctx, const char *host);
struct tls_attempt *tls_attempt_ref(struct tls_attempt *a);
void tls_attempt_unref(struct tls_attempt *a);

/* The connection of this attempt, to which it holds a reference: SNI, and what the certificate must say,
 * are set. NULL when out of memory. */
SSL *tls_attempt_ssl(struct tls_attempt *a);
/* NULL when it is none of an attempt. */
struct tls_attempt *tls_attempt_of(const SSL *ssl);

/* The broker was offered the pre-shared key: what a failure then means is another thing. */
void tls_attempt_gave_psk(struct tls_attempt *a);

/* Why a call that returned `rc` failed, from OpenSSL's error queue (left as it is) and from what was
 * noted. Empty when it was no failure of TLS but one of the socket, or nothing but waiting. */
void tls_explain(const SSL *ssl, int rc, char *out, size_t size);

#endif
