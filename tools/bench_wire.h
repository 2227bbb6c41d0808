/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One raw MQTT connection over TCP, as client (of version 3.1.1) or as the broker's end of it (of
 * 3.1.1 or 5, as the client says): just what it takes to publish and receive at QoS 0, 1 and 2 at the highest rate. Packets that can be answered at once
 * (PUBLISH, PUBREC, PUBREL, SUBSCRIBE, UNSUBSCRIBE, PINGREQ) are; nothing is repeated, for TCP is whole
 * until it breaks, and then the measurement is over.
 */
#ifndef SENNET_TOOLS_BENCH_WIRE_H
#define SENNET_TOOLS_BENCH_WIRE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"

struct wire {
    int fd;
    bool is_broker;
    bool is_v5;
    bool is_up; /* CONNECT and CONNACK are through */
    bool is_broken;
    const char *why; /* it is broken */
    bool blocked;    /* the socket is full: it waits to be writable */
    uint8_t *in;     /* [in_at, in_end) is not read yet */
    size_t in_at, in_end;
    uint8_t *out; /* [out_at, out_end) is not written yet */
    size_t out_at, out_end, out_cap;
    uint16_t last_id;
    uint32_t unacknowledged; /* PUBLISHes of QoS 1 and 2 */
    uint32_t unanswered;     /* SUBSCRIBEs */
    uint32_t *streams;       /* whose PUBLISH has which packet id */
};

/* NULL with errno. `fd` is taken over, also then. */
struct wire *wire_new(int fd, bool is_broker);
void wire_free(struct wire *w);

/* A TCP connection that is being made, or -errno. */
int wire_dial(const struct sockaddr_in *to);

void wire_connect(struct wire *w, const char *client_id);
void wire_subscribe(struct wire *w, const char *filter, int qos);
void wire_publish(struct wire *w, struct bytes topic, struct bytes payload, int qos,
                  uint32_t stream);

/* Writes what the socket takes. False when it is broken. */
bool wire_flush(struct wire *w);

/* Reads what there is, up to the buffer. Call wire_next() until WIRE_NOTHING, then again when it is
 * readable. False when it is closed. */
bool wire_read(struct wire *w);

enum wire_event_type {
    WIRE_NOTHING,
    WIRE_MESSAGE,
    WIRE_SETTLED, /* a PUBLISH of QoS 1 or 2: PUBACK or PUBCOMP */
};

struct wire_event {
    enum wire_event_type type;
    struct bytes payload; /* borrowed until wire_read() */
    uint32_t stream;
};

enum wire_event_type wire_next(struct wire *w, struct wire_event *out);

#endif
