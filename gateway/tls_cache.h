/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts of TLS that connections share: reading the certificates of all authorities takes longer than
 * a handshake, and a thousand connections to one broker need them once. A context is used until one of
 * the options or of the files that it was made from is another one: that is looked at for each
 * connection. Connections that have certificates of their own share what they trust.
 */
#ifndef SENNET_GATEWAY_TLS_CACHE_H
#define SENNET_GATEWAY_TLS_CACHE_H

#include "tls.h"

/* As tls_context_new(), but what is returned may be in use elsewhere and must not be changed. Any
 * thread. */
SSL_CTX *tls_context_shared(const struct tls_options *o, struct tls_problem *problem);

/* Contexts made so far; for tests. */
unsigned tls_contexts_made(void);

#endif
