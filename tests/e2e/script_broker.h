/* SPDX-License-Identifier: Apache-2.0 */
/* A broker played by the test, octet by octet: one listener, one peer at a time. */
#ifndef SENNET_TESTS_E2E_SCRIPT_BROKER_H
#define SENNET_TESTS_E2E_SCRIPT_BROKER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

enum { SOON_MS = 5000, TEST_TIMEOUT_S = 30, ROOM = 512 };

static int listener = -1, peer = -1;
static uint16_t port;

static void broker_open(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(listener, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(listener, 4), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&a, &len), 0);
    port = ntohs(a.sin_port);
}

static void hang_up(void)
{
    if (peer >= 0)
        close(peer);
    peer = -1;
}

static void broker_close(void)
{
    hang_up();
    close(listener);
}

static void read_all(uint8_t *to, size_t n)
{
    for (size_t got = 0; got < n;) {
        struct pollfd fd = {.fd = peer, .events = POLLIN};
        ck_assert_msg(poll(&fd, 1, SOON_MS) == 1, "the gateway says nothing");
        const ssize_t r = read(peer, to + got, n - got);
        ck_assert_msg(r > 0, "the gateway has closed the connection");
        got += (size_t)r;
    }
}

/* One packet of less than 128 octets behind its header. */
static size_t hear(uint8_t packet[ROOM])
{
    read_all(packet, 2);
    ck_assert_uint_lt(packet[1], 128);
    read_all(packet + 2, packet[1]);
    return packet[1] + 2U;
}

static void say(const void *octets, size_t n)
{
    ck_assert_int_eq(write(peer, octets, n), (ssize_t)n);
}

#define SAY(...) say((const uint8_t[]){__VA_ARGS__}, sizeof(const uint8_t[]){__VA_ARGS__})

#define EXPECT(...)                                                                                \
    do {                                                                                           \
        const uint8_t wanted_[] = {__VA_ARGS__};                                                   \
        uint8_t heard_[ROOM];                                                                      \
        const size_t n_ = hear(heard_);                                                            \
        ck_assert_uint_eq(n_, sizeof wanted_);                                                     \
        ck_assert_mem_eq(heard_, wanted_, n_);                                                     \
    } while (0)

/* The next connection, and its CONNECT. */
static void hear_connect(uint8_t packet[ROOM])
{
    struct pollfd fd = {.fd = listener, .events = POLLIN};
    ck_assert_msg(poll(&fd, 1, SOON_MS) == 1, "the gateway does not connect");
    peer = accept(listener, NULL, NULL);
    ck_assert_int_ge(peer, 0);
    hear(packet);
    ck_assert_uint_eq(packet[0], 0x10);
}

#endif
