/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the dialer: dialer.c (the thread, and who calls it) and dialer_steps.c (what is done for one
 * connection). Everything under dialer.c's lock. */
#ifndef SENNET_GATEWAY_DIALER_PRIV_H
#define SENNET_GATEWAY_DIALER_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#include "broker/http.h"
#include "dialer.h"

enum dial_stage {
    STAGE_REACH,    /* TCP */
    STAGE_ASK,      /* the proxy */
    STAGE_HEAR,     /* its answer */
    STAGE_ENCRYPT,  /* the TLS handshake */
    STAGE_UPGRADE,  /* the request for a WebSocket */
    STAGE_UPGRADED, /* the answer */
    STAGE_READY,
    STAGE_FAILED,
};

struct dialer_job {
    struct list link;
    void (*done)(void *arg);
    void *arg;
    int64_t until_ms;
    bool is_over; /* done() was called */
    bool is_dead; /* dialer_end() was, and only the thread may still know it */

    enum dial_stage stage;
    uint32_t waits_for; /* EPOLLIN or EPOLLOUT */
    int fd;
    struct tls_attempt *tls;
    SSL *ssl;
    char *server; /* "host:port" */
    char *proxy;  /* NULL: none */
    char *connect_text, *upgrade_text;
    size_t sent; /* of the request at hand */
    bool has_login;
    char accept[HTTP_ACCEPT_LEN + 1];
    struct http_answer answer;
    int connect_error; /* that came at once */
    bool unreached;
    char why[DIALER_WHY_MAX];
};

/* Opens the socket and writes the requests. 0; -ENOMEM; or -EINVAL: a request that is too long. */
int dialer_prepare(struct dialer_job *j, const struct dialer_request *request);
/* Closes and frees everything but the structure. */
void dialer_clear(struct dialer_job *j);

/* Goes on until it has to wait (waits_for), is ready, or has failed. */
void dialer_go_on(struct dialer_job *j);
/* Its time is over. */
void dialer_give_up(struct dialer_job *j);

#endif
