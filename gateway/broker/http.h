/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The little of HTTP/1.1 that stands before MQTT: CONNECT to a proxy (RFC 9110, 9.3.6) and the opening
 * handshake of a WebSocket (RFC 6455, 4). Requests are texts; answers are read octet by octet, up to
 * the empty line, with hard limits. No I/O.
 */
#ifndef SENNET_BROKER_HTTP_H
#define SENNET_BROKER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

enum {
    HTTP_ANSWER_MAX = 16384, /* octets of an answer, without a body */
    HTTP_LINE_MAX = 256,     /* of a line; what is beyond is not looked at */
    HTTP_REASON_MAX = 64,
    HTTP_REQUEST_MAX = 3072,
    HTTP_ACCEPT_LEN = 28 /* of a Sec-WebSocket-Accept */
};

enum http_state {
    HTTP_READING,
    HTTP_DONE,
    HTTP_BROKEN, /* no HTTP, or too long */
};

/* All zero is the beginning. */
struct http_answer {
    enum http_state state;
    unsigned status;              /* 100..599, once the first line was read */
    char reason[HTTP_REASON_MAX]; /* printable ASCII */
    uint32_t octets;
    bool has_status;
    /* Of the header fields; a field that came twice is as bad as a wrong one. */
    bool upgrades;   /* Upgrade: websocket */
    bool connection; /* Connection: upgrade */
    bool extensions; /* Sec-WebSocket-Extensions, any */
    unsigned accepts, protocols;
    char accept[HTTP_ACCEPT_LEN + 1];
    bool is_mqtt; /* Sec-WebSocket-Protocol: mqtt */
    uint16_t line_len;
    bool was_cr;
    char line[HTTP_LINE_MAX];
};

/* How many of the octets belong to the answer: all of them, unless it ends among them. */
size_t http_input(struct http_answer *a, struct bytes octets);

/* The answer to the opening handshake: NULL, or what is wrong with it ("404 Not Found"), in `room`.
 * `accept` is what Sec-WebSocket-Accept must say. */
const char *http_not_websocket(const struct http_answer *a, const char *accept,
                               char room[HTTP_REASON_MAX + 64]);

/* Requests, terminated. `host` is without brackets; `login` base64 of "user:password", or NULL.
 * Return their length; 0: it does not fit. */
size_t http_write_connect(char *out, size_t size, const char *host, const char *port,
                          const char *login);
size_t http_write_upgrade(char *out, size_t size, const char *host, const char *port,
                          bool usual_port, const char *path, const char *key);

#endif
