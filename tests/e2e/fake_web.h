/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands between a gateway and its broker on the web: an HTTP proxy for CONNECT, or a web server
 * that takes, refuses or spoils WebSockets. One listener, a thread per connection.
 */
#ifndef SENNET_TESTS_E2E_FAKE_WEB_H
#define SENNET_TESTS_E2E_FAKE_WEB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fake_web_mode {
    WEB_PROXY,  /* CONNECT leads to wherever it says */
    WEB_SAYS,   /* answers any request with `text`, and closes */
    WEB_HANGS,  /* reads, and says nothing */
    WEB_SERVES, /* takes the WebSocket, waits for a frame, sends `octets`, and reads on */
};

struct fake_web {
    uint16_t port;
    enum fake_web_mode mode;
    const char *login; /* of the proxy: base64; NULL: none needed */
    const char *text;
    const uint8_t *octets;
    size_t n_octets;
    const char *certificate, *key; /* paths: with TLS; not for WEB_PROXY */
    bool drips;                    /* `text` or `octets` leave one by one */

    atomic_uint requests;
    atomic_size_t upward; /* octets that the client has sent after its request */
    char request[4096];   /* the latest */
    uint8_t heard[1024];  /* after it, in WEB_SERVES */
    atomic_size_t n_heard;

    int listener;
    pthread_t thread;
    int stop; /* an eventfd: the test is over */
    pthread_mutex_t lock;
    pthread_cond_t closed;
    int open; /* connections; under `lock` */
};

/* All but what begins with `port` is set before. */
void fake_web_start(struct fake_web *w);
/* Ends all connections, too. */
void fake_web_stop(struct fake_web *w);

#endif
