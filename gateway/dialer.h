/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that need more than TCP before MQTT may begin: through an HTTP proxy, to a WebSocket, or
 * both (docs/adr/0019). One thread makes all of them, without blocking anywhere, so that a proxy which
 * hangs delays nobody else:
 *
 *     TCP -> [CONNECT at the proxy] -> [TLS, if a WebSocket follows] -> [opening handshake]
 *
 * What comes out is a socket and, with wss://, the TLS on it; paho_tunnel.h puts that under Paho. TLS
 * without a WebSocket is left to Paho, as for connections without a proxy.
 */
#ifndef SENNET_GATEWAY_DIALER_H
#define SENNET_GATEWAY_DIALER_H

#include <stdbool.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include "tls.h"

enum { DIALER_MS = 10000, DIALER_WHY_MAX = 320 };

/* Copied. */
struct dialer_request {
    const struct sockaddr *address; /* of the proxy, or of the server if there is none */
    socklen_t address_len;
    const char *host, *port; /* of the server; without brackets */
    const char *proxy;       /* "proxy.lan:3128", for texts; NULL: none */
    const char *proxy_login; /* "user:password", or NULL */
    const char *path;        /* of the WebSocket, with its "?"; NULL: none */
    bool usual_port;         /* which a browser would not mention */
    struct tls_attempt *tls; /* of the WebSocket; NULL: none. A reference is taken */
};

struct dialer_job;

/* Any thread. `done(arg)` will be called once, from another thread and with a lock of the dialer held:
 * it must not call it. NULL when out of memory or without threads. */
struct dialer_job *dialer_start(const struct dialer_request *request, void (*done)(void *arg),
                                void *arg);

/* What has come out of it. After `done`. */
struct dialer_result {
    int fd;                   /* non-blocking; -1: failed */
    SSL *ssl;                 /* with `fd`; NULL: none */
    bool unreached;           /* not even TCP: another address of the name may do better */
    char why[DIALER_WHY_MAX]; /* if it failed, for people */
};

/* Any thread. Ends the job at any time; `done` is not called any more. What it has made goes to `out`,
 * or is closed if that is NULL. */
void dialer_end(struct dialer_job *j, struct dialer_result *out);

#endif
