/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client machine on one UDP socket, driven by poll(2): what sennet-pub and sennet-sub run on.
 * SIGINT and SIGTERM arrive as results of session_wait(), not asynchronously.
 */
#ifndef SENNET_TOOLS_SESSION_H
#define SENNET_TOOLS_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "tools/cli.h"
#include "tools/client.h"
#include "tools/net.h"

struct session {
    const struct cli_options *options;
    struct snc *snc;
    struct net net;
    int signals;   /* signalfd */
    bool refused;  /* the host told that nothing listens at the port */
    bool choosing; /* connecting: a refusal leads to the host's next address */
    bool broken;   /* complained already; nothing more can be sent */
};

enum session_result {
    SESSION_EVENT,  /* snc_peek_event() has one */
    SESSION_INPUT,  /* `input_fd` can be read */
    SESSION_TIME,   /* `until_ms` is reached */
    SESSION_SIGNAL, /* asked to stop */
    SESSION_BROKEN, /* the socket failed; the reason was told */
};

/* 0, or an exit code; the reason was told. */
int session_open(struct session *s, const struct cli_options *options);
void session_close(struct session *s);

/* Runs the machine until something is to be done; looks at the socket at least once, also when
 * `until_ms` is past. `input_fd` may be -1, `until_ms` TIME_NEVER. */
enum session_result session_wait(struct session *s, int input_fd, int64_t until_ms);

/* Sends what the machine has to send. */
void session_flush(struct session *s);

/* Connects and waits for the outcome: SESSION_EVENT when connected; SESSION_BROKEN when refused or
 * not answered, the reason was told; or SESSION_TIME, SESSION_SIGNAL. */
enum session_result session_connect(struct session *s, int64_t until_ms);

/* Says good-bye; an answer is waited for as long as one repetition takes. Returns the return code
 * of a QoS 0 publication that was refused meanwhile, else SN_ACCEPTED. */
uint8_t session_disconnect(struct session *s);

/* Tells why the connection is gone (TIMEOUT, DISCONNECTED, REFUSED). */
void session_explain(const struct session *s, const struct snc_event *event);

#endif
