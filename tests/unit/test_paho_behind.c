/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of Paho's that leave together, in their order, and what a full socket does to them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "base/bytes.h"

#include "paho_behind.h"
#include "unit/suite.h"

enum { CONNECTIONS = 2, ROOM = 1 << 20 };

static int ours[CONNECTIONS], theirs[CONNECTIONS];
static uint8_t heard[ROOM];

static void connect_all(void)
{
    const int little = 4096;
    for (int i = 0; i < CONNECTIONS; i++) {
        int fds[2];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        ours[i] = fds[0];
        theirs[i] = fds[1];
        ck_assert_int_eq(setsockopt(ours[i], SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
        paho_behind_begin(ours[i]);
    }
}

static void close_all(void)
{
    for (int i = 0; i < CONNECTIONS; i++) {
        paho_behind_end(ours[i]);
        close(ours[i]);
        close(theirs[i]);
    }
    paho_behind_i_am(PAHO_OTHER);
}

/* As Paho does it: header and body. */
static ssize_t write_packet(int fd, uint8_t type, const void *body, size_t len)
{
    uint8_t header[2] = {type, (uint8_t)len};
    struct iovec parts[2] = {
        {.iov_base = header,                  .iov_len = sizeof header},
        {.iov_base = (void *)(uintptr_t)body, .iov_len = len          }
    };
    return paho_behind_write(fd, parts, 2);
}

static size_t hear(int fd)
{
    size_t len = 0;
    for (ssize_t n; (n = recv(fd, heard + len, ROOM - len, MSG_DONTWAIT)) > 0;)
        len += (size_t)n;
    return len;
}

#define HEARD(fd, ...)                                                                             \
    do {                                                                                           \
        static const uint8_t expected_[] = {__VA_ARGS__};                                          \
        ck_assert_uint_eq(hear(fd), sizeof expected_);                                             \
        ck_assert_mem_eq(heard, expected_, sizeof expected_);                                      \
    } while (0)

enum { PUBLISH = 0x30, PUBACK = 0x40, PINGREQ = 0xC0, DISCONNECT = 0xE0 };

START_TEST(packets_of_the_sending_thread_leave_when_it_waits)
{
    paho_behind_i_am(PAHO_SENDER);
    ck_assert_int_eq(write_packet(ours[0], PUBLISH, "a", 1), 3);
    ck_assert_int_eq(write_packet(ours[0], DISCONNECT, NULL, 0), 2);
    ck_assert_uint_eq(hear(theirs[0]), 0);
    paho_behind_flush();
    HEARD(theirs[0], PUBLISH, 1, 'a', DISCONNECT, 0);
    paho_behind_flush();
    ck_assert_uint_eq(hear(theirs[0]), 0);
}

END_TEST

START_TEST(another_connection_is_another_parcel)
{
    paho_behind_i_am(PAHO_SENDER);
    write_packet(ours[0], PUBLISH, "a", 1);
    write_packet(ours[1], PUBLISH, "b", 1);
    HEARD(theirs[0], PUBLISH, 1, 'a');
    ck_assert_uint_eq(hear(theirs[1]), 0);
    paho_behind_flush();
    HEARD(theirs[1], PUBLISH, 1, 'b');
}

END_TEST

START_TEST(of_the_receiving_thread_only_acknowledgements_wait)
{
    paho_behind_i_am(PAHO_SENDER);
    write_packet(ours[0], PUBLISH, "a", 1);
    paho_behind_i_am(PAHO_RECEIVER);
    write_packet(ours[0], PUBACK, "\0\1", 2);
    ck_assert_uint_eq(hear(theirs[0]), 0);
    write_packet(ours[0], PINGREQ, NULL, 0); /* behind both */
    HEARD(theirs[0], PUBLISH, 1, 'a', PUBACK, 2, 0, 1, PINGREQ, 0);
    write_packet(ours[0], PUBACK, "\0\2", 2);
    paho_behind_flush();
    HEARD(theirs[0], PUBACK, 2, 0, 2);
}

END_TEST

START_TEST(other_threads_write_at_once)
{
    write_packet(ours[0], PUBACK, "\0\1", 2);
    HEARD(theirs[0], PUBACK, 2, 0, 1);
}

END_TEST

START_TEST(what_was_written_leaves_before_the_end)
{
    paho_behind_i_am(PAHO_SENDER);
    write_packet(ours[0], DISCONNECT, NULL, 0);
    paho_behind_i_am(PAHO_OTHER);
    paho_behind_end(ours[0]);
    HEARD(theirs[0], DISCONNECT, 0);
    ck_assert_int_eq(write_packet(ours[0], PUBLISH, "a", 1), -1);
}

END_TEST

/* Numbered packets until the connection is full. */
static uint32_t fill(int fd)
{
    for (uint32_t n = 0;; n++) {
        ck_assert_uint_lt(n, 100000);
        if (write_packet(fd, PUBLISH, &n, sizeof n) < 0) {
            ck_assert_int_eq(errno, EAGAIN);
            return n;
        }
        if (n % 7 == 0)
            paho_behind_flush();
    }
}

START_TEST(a_full_socket_stops_the_sending_thread_and_loses_nothing)
{
    uint32_t next = 0;
    size_t len = 0;

    paho_behind_i_am(PAHO_SENDER);
    const uint32_t written = fill(ours[0]);
    ck_assert_int_eq(write_packet(ours[0], PUBLISH, "a", 1), -1);
    paho_behind_i_am(PAHO_RECEIVER);
    ck_assert_int_eq(write_packet(ours[0], PINGREQ, NULL, 0), 2); /* is left, too */
    for (size_t had = 1; had > 0; len += had) {
        had = (size_t)recv(theirs[0], heard + len, 1000, MSG_DONTWAIT);
        if ((ssize_t)had < 0)
            break;
        paho_behind_resume(ours[0]);
    }
    struct reader r = rd_of(bytes_of(heard, len));
    while (next < written) {
        ck_assert_uint_eq(rd_u8(&r), PUBLISH);
        ck_assert_uint_eq(rd_u8(&r), sizeof next);
        const struct bytes number = rd_bytes(&r, sizeof next);
        ck_assert_mem_eq(number.data, &next, sizeof next);
        next++;
    }
    ck_assert_uint_eq(rd_u8(&r), PINGREQ);
    ck_assert_uint_eq(rd_u8(&r), 0);
    ck_assert(rd_close(&r));
    paho_behind_i_am(PAHO_SENDER);
    ck_assert_int_eq(write_packet(ours[0], PUBLISH, "a", 1), 3); /* Paho's pending packet, again */
    paho_behind_flush();
    HEARD(theirs[0], PUBLISH, 1, 'a');
}

END_TEST

START_TEST(small_packets_are_left_up_to_a_bound)
{
    paho_behind_i_am(PAHO_SENDER);
    fill(ours[0]);
    paho_behind_i_am(PAHO_RECEIVER);
    unsigned n = 0;
    while (write_packet(ours[0], PUBACK, "\0\1", 2) > 0)
        ck_assert_uint_lt(n++, 50000);
    ck_assert_uint_gt(n, 10000);
}

END_TEST

START_TEST(a_large_packet_may_be_taken_in_part)
{
    enum { LARGE = 1 << 20 };

    uint8_t *const body = calloc(1, LARGE);
    struct iovec part = {.iov_base = body, .iov_len = LARGE};
    paho_behind_i_am(PAHO_SENDER);
    write_packet(ours[0], PUBLISH, "a", 1);
    const ssize_t n = paho_behind_write(ours[0], &part, 1);
    ck_assert_int_gt(n, 0);
    ck_assert_int_lt(n, LARGE);
    ck_assert_uint_eq(hear(theirs[0]), 3 + (size_t)n);
    /* Nothing may come between the parts. */
    paho_behind_i_am(PAHO_RECEIVER);
    part.iov_len = 100;
    body[0] = PUBACK;
    ck_assert_int_eq(paho_behind_write(ours[0], &part, 1), 100);
    ck_assert_uint_eq(hear(theirs[0]), 100);
    free(body);
}

END_TEST

START_TEST(a_dead_socket_would_block_and_is_shut_down)
{
    uint8_t octet;
    close(theirs[0]);
    theirs[0] = dup(ours[0]);
    paho_behind_i_am(PAHO_SENDER);
    ck_assert_int_eq(write_packet(ours[0], PUBLISH, "a", 1), 3);
    paho_behind_flush();
    ck_assert_int_eq(write_packet(ours[0], PUBLISH, "a", 1), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_int_eq(recv(ours[0], &octet, 1, MSG_DONTWAIT), 0);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("paho_behind");
    TCase *t = tcase_create("all");
    tcase_add_checked_fixture(t, connect_all, close_all);
    tcase_add_test(t, packets_of_the_sending_thread_leave_when_it_waits);
    tcase_add_test(t, another_connection_is_another_parcel);
    tcase_add_test(t, of_the_receiving_thread_only_acknowledgements_wait);
    tcase_add_test(t, other_threads_write_at_once);
    tcase_add_test(t, what_was_written_leaves_before_the_end);
    tcase_add_test(t, a_full_socket_stops_the_sending_thread_and_loses_nothing);
    tcase_add_test(t, small_packets_are_left_up_to_a_bound);
    tcase_add_test(t, a_large_packet_may_be_taken_in_part);
    tcase_add_test(t, a_dead_socket_would_block_and_is_shut_down);
    suite_add_tcase(s, t);
    return run_suite(s);
}
