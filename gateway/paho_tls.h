/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paho's TLS, with everything that decides taken out of its hands (docs/adr/0004, docs/adr/0015).
 *
 * Paho makes an SSL_CTX of its own for each connection, from strings among its options. One of them,
 * the file of authorities, is a ticket here: it names a tls_attempt, and the connection is made from
 * that instead, and from a context that many may share (tls_cache.h). So certificates are loaded outside of Paho's lock, the host is checked by OpenSSL
 * itself, and no session is resumed. Beyond that the guards of paho_calls.h hold here, too: a write
 * to a dead connection never fails, and what went wrong is kept for the callback that follows.
 */
#ifndef SENNET_GATEWAY_PAHO_TLS_H
#define SENNET_GATEWAY_PAHO_TLS_H

#include <openssl/ssl.h>

#include "tls.h"

enum { PAHO_TICKET_MAX = 32 };

/* Any thread. Makes the attempt known under a ticket, which holds a reference until it is dropped. 0
 * or -ENOMEM. */
int paho_ticket_put(struct tls_attempt *a, char ticket[PAHO_TICKET_MAX]);
void paho_ticket_drop(const char *ticket);

/* Called by Paho only. */
int sennet_paho_OPENSSL_init_ssl(uint64_t options, const OPENSSL_INIT_SETTINGS *settings);
int sennet_paho_OPENSSL_init_crypto(uint64_t options, const OPENSSL_INIT_SETTINGS *settings);
int sennet_paho_CRYPTO_get_ex_new_index(int kind, long number, void *arg, CRYPTO_EX_new *made,
                                        CRYPTO_EX_dup *copied, CRYPTO_EX_free *freed);
int sennet_paho_SSL_CTX_set_ex_data(SSL_CTX *ctx, int index, void *data);
void *sennet_paho_SSL_CTX_get_ex_data(const SSL_CTX *ctx, int index);
SSL_CTX *sennet_paho_SSL_CTX_new(const SSL_METHOD *method);
int sennet_paho_SSL_CTX_load_verify_locations(SSL_CTX *ctx, const char *ticket, const char *path);
SSL *sennet_paho_SSL_new(SSL_CTX *ctx);
long sennet_paho_SSL_ctrl(SSL *ssl, int command, long number, void *arg);
int sennet_paho_SSL_connect(SSL *ssl);
int sennet_paho_SSL_read(SSL *ssl, void *buffer, int len);
int sennet_paho_SSL_write(SSL *ssl, const void *buffer, int len);
int sennet_paho_SSL_get_error(const SSL *ssl, int rc);
SSL_SESSION *sennet_paho_SSL_get1_session(SSL *ssl);

#endif
