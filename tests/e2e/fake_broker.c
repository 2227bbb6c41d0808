/* SPDX-License-Identifier: Apache-2.0 */
#include "e2e/fake_broker.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <check.h>

enum { PACKET_MAX = 70000 };

enum {
    CONNECT = 1,
    PUBLISH = 3,
    PUBREL = 6,
    SUBSCRIBE = 8,
    UNSUBSCRIBE = 10,
    PINGREQ = 12,
    DISCONNECT = 14
};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct fake_behaviour behaviour(struct fake_broker *f)
{
    pthread_mutex_lock(&f->lock);
    const struct fake_behaviour b = f->behaviour;
    pthread_mutex_unlock(&f->lock);
    return b;
}

/* Until that descriptor is ready, or has an end. False: the test is over. */
static bool wait_for(const struct fake_broker *f, int fd, short events)
{
    struct pollfd p[] = {
        {.fd = f->stop, .events = POLLIN},
        {.fd = fd,      .events = events}
    };
    return poll(p, 2, -1) > 0 && p[0].revents == 0;
}

/* Exactly `len` octets; false at the end of the connection or of the test. */
static bool read_exactly(const struct fake_broker *f, int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = wait_for(f, fd, POLLIN) ? recv(fd, data, len, 0) : 0;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static bool read_packet(struct fake_broker *f, int fd, uint8_t *first, uint8_t *body, size_t *len)
{
    uint8_t octet = 0;
    *len = 0;
    if (!read_exactly(f, fd, first, 1))
        return false;
    for (unsigned shift = 0; shift < 28; shift += 7) {
        if (!read_exactly(f, fd, &octet, 1))
            return false;
        *len |= (size_t)(octet & 0x7F) << shift;
        if ((octet & 0x80) == 0)
            break;
    }
    return *len <= PACKET_MAX && read_exactly(f, fd, body, *len);
}

static void say(int fd, const uint8_t *packet, size_t len)
{
    (void)!send(fd, packet, len, MSG_NOSIGNAL);
}

/* A broker that is slow to answer is what some tests are about; none waits for that when it is over. */
static void pause_ms(const struct fake_broker *f, int ms)
{
    struct pollfd over = {.fd = f->stop, .events = POLLIN};
    poll(&over, 1, ms);
}

/* Until the client goes, or the test ends. */
static void ignore(const struct fake_broker *f, int fd, bool read_too)
{
    uint8_t octets[512];
    bool goes_on = true;
    while (goes_on)
        goes_on = wait_for(f, fd, read_too ? POLLIN : 0) && read_too &&
                  recv(fd, octets, sizeof octets, 0) > 0;
}

static void note_connect(struct fake_broker *f, const uint8_t *body, size_t len, int64_t at_ms)
{
    pthread_mutex_lock(&f->lock);
    if (f->connection_count < FAKE_CONNECTIONS_MAX)
        f->connections[f->connection_count] = (struct fake_connection){
            .at_ms = at_ms,
            .clean = len > 9 && (body[7] & 2) != 0,
            .keepalive = len > 9 ? (uint16_t)((unsigned)body[8] << 8 | body[9]) : 0};
    f->connection_count++;
    pthread_mutex_unlock(&f->lock);
}

static void check_publish(struct fake_broker *f, uint8_t first, const uint8_t *body, size_t len,
                          size_t topic_len)
{
    size_t start = 2 + topic_len + ((first & 6) != 0 ? 2 : 0);
    if (f->is_v5 && start < len)
        start += 1U + body[start]; /* properties, less than 128 octets of them */

    f->publishes++;
    if ((first & 8) != 0)
        f->duplicates++;
    if (f->topic[0] != '\0' &&
        (topic_len != strlen(f->topic) || memcmp(body + 2, f->topic, topic_len) != 0))
        f->wrong_topics++;
    for (size_t i = start; f->expected_fill != 0 && i < len; i++) {
        if (body[i] != body[start]) {
            f->wrong_payloads++;
            break;
        }
    }
}

/* False when the script wants a reset now. */
static bool on_publish(struct fake_broker *f, int fd, uint8_t first, const uint8_t *body,
                       size_t len, unsigned *count)
{
    const struct fake_behaviour b = behaviour(f);
    const size_t topic_len = len >= 2 ? (size_t)body[0] << 8 | body[1] : len;
    if (topic_len + 2 > len)
        return false;
    pthread_mutex_lock(&f->lock);
    check_publish(f, first, body, len, topic_len);
    pthread_mutex_unlock(&f->lock);
    if (b.reset_after > 0 && ++*count >= b.reset_after)
        return false;
    const unsigned qos = first >> 1 & 3;
    if (qos == 0 || b.mute || topic_len + 4 > len)
        return true;
    pause_ms(f, b.ack_delay_ms);
    const uint8_t ack[] = {qos == 1 ? 0x40 : 0x50, 2, body[2 + topic_len], body[3 + topic_len]};
    say(fd, ack, sizeof ack);
    return true;
}

/* False at the end of the connection. */
static bool on_packet(struct fake_broker *f, int fd, uint8_t first, const uint8_t *body, size_t len,
                      unsigned *count)
{
    const struct fake_behaviour b = behaviour(f);
    const uint8_t id[2] = {len >= 2 ? body[0] : 0, len >= 2 ? body[1] : 0};

    if (first >> 4 == PUBLISH)
        return on_publish(f, fd, first, body, len, count);
    if (first >> 4 == DISCONNECT) {
        pthread_mutex_lock(&f->lock);
        f->disconnects++;
        pthread_mutex_unlock(&f->lock);
        return false;
    }
    if (b.mute && first >> 4 != PINGREQ)
        return true;
    switch (first >> 4) {
    case PUBREL:
        say(fd, (uint8_t[]){0x70, 2, id[0], id[1]}, 4);
        break;
    case SUBSCRIBE:
        if (f->is_v5)
            say(fd, (uint8_t[]){0x90, 4, id[0], id[1], 0, b.suback}, 6);
        else
            say(fd, (uint8_t[]){0x90, 3, id[0], id[1], b.suback}, 5);
        break;
    case UNSUBSCRIBE:
        if (f->is_v5)
            say(fd, (uint8_t[]){0xB0, 4, id[0], id[1], 0, 0}, 6);
        else
            say(fd, (uint8_t[]){0xB0, 2, id[0], id[1]}, 4);
        break;
    case PINGREQ:
        say(fd, (uint8_t[]){0xD0, 0}, 2);
        break;
    default:
        break;
    }
    return true;
}

static void say_connack(const struct fake_broker *f, int fd, const struct fake_behaviour *b)
{
    static const uint8_t reasons[] = {0,    0x84, 0x85,
                                      0x88, 0x86, 0x87}; /* of MQTT 5, by return code */
    const bool present = b->session_present && b->connack == 0;

    if (f->is_v5)
        say(fd, (uint8_t[]){0x20, 3, present, reasons[(size_t)b->connack % sizeof reasons], 0}, 5);
    else
        say(fd, (uint8_t[]){0x20, 2, present, (uint8_t)b->connack}, 4);
}

static void converse(struct fake_broker *f, int fd)
{
    static _Thread_local uint8_t body[PACKET_MAX];
    const int64_t at_ms = now_ms();
    uint8_t first;
    size_t len;
    unsigned publishes = 0;

    if (!read_packet(f, fd, &first, body, &len) || first >> 4 != CONNECT)
        return;
    note_connect(f, body, len, at_ms);
    f->is_v5 = len > 6 && body[6] == 5;
    struct fake_behaviour b = behaviour(f);
    if (b.connack == FAKE_DROP)
        return;
    if (b.connack == FAKE_SILENT) {
        ignore(f, fd, true);
        return;
    }
    say_connack(f, fd, &b);
    if (b.deaf) {
        ignore(f, fd, false);
        return;
    }
    while (b.connack == 0 && read_packet(f, fd, &first, body, &len) &&
           on_packet(f, fd, first, body, len, &publishes))
        ;
}

static void *fake_main(void *arg)
{
    struct fake_broker *const f = arg;
    while (wait_for(f, f->listener, POLLIN)) {
        const int fd = accept(f->listener, NULL, NULL);
        if (fd < 0)
            continue;
        converse(f, fd);
        if (behaviour(f).reset_after > 0) {
            const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        }
        close(fd);
    }
    return NULL;
}

void fake_start(struct fake_broker *f, struct fake_behaviour b)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    const int small = 4096; /* so that a deaf broker is felt soon */

    memset(f, 0, sizeof *f);
    f->behaviour = b;
    pthread_mutex_init(&f->lock, NULL);
    f->stop = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_ge(f->stop, 0);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(f->listener, 0);
    setsockopt(f->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    ck_assert_int_eq(bind(f->listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(f->listener, 16), 0);
    ck_assert_int_eq(getsockname(f->listener, (struct sockaddr *)&a, &len), 0);
    f->port = ntohs(a.sin_port);
    ck_assert_int_eq(pthread_create(&f->thread, NULL, fake_main, f), 0);
}

void fake_set(struct fake_broker *f, struct fake_behaviour b)
{
    pthread_mutex_lock(&f->lock);
    f->behaviour = b;
    pthread_mutex_unlock(&f->lock);
}

void fake_stop(struct fake_broker *f)
{
    ck_assert_int_eq(eventfd_write(f->stop, 1), 0);
    pthread_join(f->thread, NULL);
    close(f->listener);
    close(f->stop);
    pthread_mutex_destroy(&f->lock);
}

unsigned fake_connections(struct fake_broker *f)
{
    pthread_mutex_lock(&f->lock);
    const unsigned n = f->connection_count;
    pthread_mutex_unlock(&f->lock);
    return n;
}

unsigned fake_publishes(struct fake_broker *f)
{
    pthread_mutex_lock(&f->lock);
    const unsigned n = f->publishes;
    pthread_mutex_unlock(&f->lock);
    return n;
}
