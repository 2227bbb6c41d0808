/* SPDX-License-Identifier: Apache-2.0 */
#include "paho_guard.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "broker/mqtt_guard.h"
#include "mqtt.h"
#include "paho_calls.h"

/* Of Paho's `networkHandles` the beginning, which has been that since 1.0. */
struct paho_net {
    int socket;
};

/* Its `PacketBuffers`, of which there is more behind. */
struct paho_buffers {
    int count;
    char **octets;
    size_t *lens;
};

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */

#define THEIRS __attribute__((weak))

void *__real_MQTTPacket_Factory(int version, struct paho_net *net, int *error) THEIRS;
int __real_WebSocket_getch(struct paho_net *net, char *c) THEIRS;
char *__real_WebSocket_getdata(struct paho_net *net, size_t len, size_t *got) THEIRS;
int __real_WebSocket_putdatas(struct paho_net *net, char **head, size_t *head_len,
                              struct paho_buffers *rest) THEIRS;

void *__wrap_MQTTPacket_Factory(int version, struct paho_net *net, int *error);
int __wrap_WebSocket_getch(struct paho_net *net, char *c);
char *__wrap_WebSocket_getdata(struct paho_net *net, size_t len, size_t *got);
int __wrap_WebSocket_putdatas(struct paho_net *net, char **head, size_t *head_len,
                              struct paho_buffers *rest);

/* NOLINTEND(bugprone-reserved-identifier) */

enum {
    DESCRIPTORS = 65536,
    PAHO_COMPLETE = 0,
    PAHO_SOCKET_ERROR = -1,
    CONNECT = 1,
    PUBLISH = 3,
    LEVEL_AT = 6, /* in CONNECT, behind "MQTT" and its length */
};

/* By descriptor; under Paho's lock, as reading and writing is. */
static struct guard guards[DESCRIPTORS];

static atomic_ullong n_broken, n_ignored;

struct mqtt_rule_gauges mqtt_rule_gauges(void)
{
    return (struct mqtt_rule_gauges){.broken = atomic_load(&n_broken),
                                     .ignored = atomic_load(&n_ignored)};
}

static struct guard *guard_of(int fd)
{
    return fd >= 0 && fd < DESCRIPTORS ? &guards[fd] : NULL;
}

void paho_guard_forget(int fd)
{
    struct guard *const g = guard_of(fd);
    if (g != NULL)
        guard_end(g);
}

/* ---- out ------------------------------------------------------------------------------------- */

/* 0 beyond the end. */
static uint8_t octet_at(const struct paho_buffers *b, size_t at)
{
    for (int i = 0; i < b->count; i++) {
        if (at < b->lens[i])
            return (uint8_t)b->octets[i][at];
        at -= b->lens[i];
    }
    return 0;
}

static uint16_t number_at(const struct paho_buffers *b, size_t at)
{
    return (uint16_t)(octet_at(b, at) << 8 | octet_at(b, at + 1));
}

static void note_sent(struct guard *g, uint8_t first, const struct paho_buffers *rest)
{
    if (first >> 4 == CONNECT)
        guard_begin(g, octet_at(rest, LEVEL_AT));
    else if (first >> 4 == PUBLISH) /* the id is behind the topic */
        guard_sent(g, first, number_at(rest, 2U + number_at(rest, 0)));
    else
        guard_sent(g, first, number_at(rest, 0));
}

int __wrap_WebSocket_putdatas(struct paho_net *net, char **head, size_t *head_len,
                              struct paho_buffers *rest)
{
    struct guard *const g = guard_of(net->socket);
    if (g != NULL && *head_len > 0)
        note_sent(g, (uint8_t)(*head)[0], rest);
    return __real_WebSocket_putdatas(net, head, head_len, rest);
}

/* ---- in -------------------------------------------------------------------------------------- */

/* Of the packet that the receiving thread has in hand. */
static bool has_first;
static uint8_t first_octet;
static enum guard_verdict verdict;

int __wrap_WebSocket_getch(struct paho_net *net, char *c)
{
    const int rc = __real_WebSocket_getch(net, c);
    if (rc == PAHO_COMPLETE && !has_first) {
        has_first = true;
        first_octet = (uint8_t)*c;
    }
    return rc;
}

static enum guard_verdict judge(int fd, struct bytes rest)
{
    char why[GUARD_WHY_MAX];
    struct guard *const g = guard_of(fd);
    const enum guard_verdict v = g != NULL ? guard_received(g, first_octet, rest, why) : GUARD_PASS;

    if (v == GUARD_BROKEN) {
        atomic_fetch_add(&n_broken, 1);
        paho_note_tls(why, -1);
    } else if (v == GUARD_IGNORE) {
        atomic_fetch_add(&n_ignored, 1);
    }
    return v;
}

/* Without data Paho reads no further. */
char *__wrap_WebSocket_getdata(struct paho_net *net, size_t len, size_t *got)
{
    char *const data = __real_WebSocket_getdata(net, len, got);
    if (len > 0 && (data == NULL || *got < len)) /* not all of it is there */
        return data;
    verdict = judge(net->socket, bytes_of(data, len));
    return verdict == GUARD_PASS ? data : NULL;
}

void *__wrap_MQTTPacket_Factory(int version, struct paho_net *net, int *error)
{
    has_first = false;
    verdict = GUARD_PASS;
    paho_keep_packet(NULL);
    void *const packet = __real_MQTTPacket_Factory(version, net, error);
    if (verdict == GUARD_PASS) {
        paho_keep_packet(packet);
        return packet;
    }
    *error = verdict == GUARD_IGNORE ? PAHO_COMPLETE : PAHO_SOCKET_ERROR;
    return NULL; /* of no length at all: what Paho makes of that is nothing, or static */
}
