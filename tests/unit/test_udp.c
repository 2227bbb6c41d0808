/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The UDP link on loopback, under a real loop. Nothing sleeps: the loop runs until what is expected
 * has happened; a timer ends it when it never does.
 *
 * sendmmsg() and socket() are wrapped (linker option), because a loopback socket is never busy.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>
#include <uv.h>

#include "radio/link.h"
#include "radio/sockaddr.h"
#include "unit/suite.h"

enum { SAFETY_MS = 10000, MAX_PACKET = 512 };

int __real_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);
int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags);
int __real_socket(int domain, int type, int protocol);
int __wrap_socket(int domain, int type, int protocol);

/* What the next sendmmsg() calls do, one letter each: 'b' the socket is busy, 'c' connection
 * refused, 'p' permission denied, '.' and all later ones pass, with at most `limit` packets. */
static struct {
    const char *script;
    unsigned limit;
    unsigned calls;
} fault;

static int last_socket;

int __wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned n, int flags)
{
    fault.calls++;
    const char now = fault.script != NULL && *fault.script != '\0' ? *fault.script++ : '.';
    if (now != '.') {
        errno = now == 'b' ? EAGAIN : now == 'c' ? ECONNREFUSED : EPERM;
        return -1;
    }
    return __real_sendmmsg(fd, msgs, fault.limit > 0 && n > fault.limit ? fault.limit : n, flags);
}

int __wrap_socket(int domain, int type, int protocol)
{
    last_socket = __real_socket(domain, type, protocol);
    return last_socket;
}

struct world {
    uv_loop_t loop;
    uv_timer_t safety;
    struct link *link;
    const struct link_counters *counters;
    int node; /* the other end */
    unsigned packets, batches, events;
    size_t octets;
    char last[MAX_PACKET + 1];
    size_t last_len;
    char event[300];
    struct peer_room from;
    bool echo;
    unsigned close_at; /* close the link within this packet's callback */
    bool late;
};

static void on_packet(void *owner, const struct peer *from, const struct link_signal *signal,
                      struct bytes packet)
{
    (void)signal;
    struct world *w = owner;
    ck_assert_msg(w->link != NULL, "a packet after close");
    w->packets++;
    w->octets += packet.len;
    ck_assert_uint_le(packet.len, MAX_PACKET);
    memcpy(w->last, packet.data, packet.len);
    w->last_len = packet.len;
    peer_copy(&w->from, from);
    if (w->echo)
        w->link->driver->send(w->link, from, packet);
    if (w->close_at > 0 && w->packets == w->close_at) {
        w->link->driver->close(w->link);
        w->link = NULL;
    }
}

static void on_batch_end(void *owner)
{
    struct world *w = owner;
    w->batches++;
    ck_assert_ptr_nonnull(w->link);
    w->link->driver->flush(w->link);
}

static void on_event(void *owner, uint16_t link, int level, const char *event, const char *text)
{
    struct world *w = owner;
    w->events++;
    ck_assert_uint_eq(link, 7);
    ck_assert_int_ge(level, 3);
    snprintf(w->event, sizeof w->event, "%s %s", event, text);
}

static void on_safety(uv_timer_t *timer)
{
    ((struct world *)timer->data)->late = true;
}

static int try_open(struct world *w, const char *listen, char *error, size_t size)
{
    const struct link_config config = {.index = 7,
                                       .name = "test",
                                       .listen = listen,
                                       .max_packet_bytes = MAX_PACKET,
                                       .receive_buffer_bytes = 1 << 21};
    const struct link_sink sink = {
        .owner = w, .packet = on_packet, .batch_end = on_batch_end, .event = on_event};
    const int rc = link_udp.open(&w->loop, &config, &sink, &w->link, error, size);
    if (rc == 0)
        link_udp.start(w->link);
    return rc;
}

static void start_loop(struct world *w)
{
    *w = (struct world){.node = -1};
    memset(&fault, 0, sizeof fault);
    ck_assert_int_eq(uv_loop_init(&w->loop), 0);
    uv_timer_init(&w->loop, &w->safety);
    w->safety.data = w;
    uv_timer_start(&w->safety, on_safety, SAFETY_MS, 0);
}

/* A node: a socket connected to where the link listens, or to `to` at its port. */
static int node_connect(const struct world *w, const char *to)
{
    char error[200];
    union sock_addr bound;
    ck_assert_int_eq(sock_parse(w->link->driver->where(w->link), &bound, error, sizeof error), 0);
    if (to != NULL) {
        const in_port_t port = bound.ip4.sin_port;
        ck_assert_int_eq(sock_parse(to, &bound, error, sizeof error), 0);
        bound.ip4.sin_port = port; /* at the same place in sockaddr_in6 */
    }
    const int fd = __real_socket(bound.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const int size = 1 << 21;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    const struct timeval patience = {.tv_sec = SAFETY_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ck_assert_int_eq(connect(fd, &bound.any, sock_len(&bound)), 0);
    return fd;
}

static void open_world(struct world *w, const char *listen)
{
    char error[300] = "";
    start_loop(w);
    ck_assert_msg(try_open(w, listen, error, sizeof error) == 0, "%s", error);
    w->counters = w->link->driver->counters(w->link);
}

static void close_world(struct world *w)
{
    if (w->link != NULL)
        w->link->driver->close(w->link);
    w->link = NULL;
    uv_close((uv_handle_t *)&w->safety, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(uv_loop_close(&w->loop), 0);
    if (w->node >= 0)
        close(w->node);
}

/* Runs the loop until `*counter` has reached `target`. */
static void run_until(struct world *w, const uint64_t *counter, uint64_t target)
{
    while (*counter < target && !w->late)
        uv_run(&w->loop, UV_RUN_ONCE);
    ck_assert_msg(!w->late, "only %lu of %lu", (unsigned long)*counter, (unsigned long)target);
}

static void say(const struct world *w, const char *text)
{
    ck_assert_int_eq(send(w->node, text, strlen(text), 0), (ssize_t)strlen(text));
}

static void hear(const struct world *w, const char *text)
{
    char heard[MAX_PACKET];
    const ssize_t n = recv(w->node, heard, sizeof heard, 0);
    ck_assert_msg(n >= 0, "nothing heard: %s", strerror(errno));
    ck_assert_mem_eq(heard, text, strlen(text));
    ck_assert_int_eq(n, (ssize_t)strlen(text));
}

/* ---- traffic --------------------------------------------------------------------------------- */

static const char *const echo_addresses[] = {"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"};
static const char *const echo_talk_to[] = {NULL, NULL, "127.0.0.2:0", "[::1]:0"};

START_TEST(a_packet_arrives_and_its_answer_too)
{
    struct world w;
    open_world(&w, echo_addresses[_i]);
    ck_assert_ptr_eq(strstr(w.event, "link.up listening on "), w.event);
    ck_assert_ptr_nonnull(strstr(w.event, w.link->driver->where(w.link)));
    w.echo = true;
    w.node = node_connect(&w, echo_talk_to[_i]);
    say(&w, "hello");
    run_until(&w, &w.counters->packets_out, 1);
    /* The node's socket is connected: an answer from another of our addresses would not arrive. */
    hear(&w, "hello");
    ck_assert_uint_eq(w.counters->packets_in, 1);
    ck_assert_uint_eq(w.counters->bytes_in, 5);
    ck_assert_uint_eq(w.counters->bytes_out, 5);
    ck_assert_uint_eq(peer_in(&w.from)->link, 7);
    close_world(&w);
}

END_TEST

START_TEST(a_thousand_packets_come_in_batches_and_in_order)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    w.echo = true;
    w.node = node_connect(&w, NULL);
    for (unsigned i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof text, "%04u", i);
        say(&w, text);
    }
    run_until(&w, &w.counters->packets_in, 1000);
    run_until(&w, &w.counters->packets_out, 1000);
    ck_assert_uint_eq(w.octets, 4000);
    ck_assert_uint_ge(w.batches, 1000 / 64);
    ck_assert_uint_le(w.batches, 1000 / 64 + 5);
    ck_assert_uint_le(fault.calls, 2 * (1000 / 64) + 5);
    for (unsigned i = 0; i < 1000; i++) {
        char text[16];
        snprintf(text, sizeof text, "%04u", i);
        hear(&w, text);
    }
    ck_assert_uint_eq(w.counters->send_drops + w.counters->kernel_drops, 0);
    close_world(&w);
}

END_TEST

static void on_other(uv_timer_t *timer)
{
    unsigned *turn = timer->data;
    *turn = 1;
}

START_TEST(other_handles_have_their_turn_under_load)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    w.node = node_connect(&w, NULL);
    for (unsigned i = 0; i < 1000; i++)
        say(&w, "x");
    uv_timer_t other;
    unsigned turn = 0;
    uv_timer_init(&w.loop, &other);
    other.data = &turn;
    uv_timer_start(&other, on_other, 0, 0);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(turn, 1);
    ck_assert_uint_eq(w.packets, 256);
    uv_close((uv_handle_t *)&other, NULL);
    run_until(&w, &w.counters->packets_in, 1000);
    close_world(&w);
}

END_TEST

START_TEST(empty_and_oversize_datagrams_are_dropped_and_counted)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    w.node = node_connect(&w, NULL);
    char big[MAX_PACKET + 1];
    memset(big, 'b', sizeof big);
    ck_assert_int_eq(send(w.node, big, 0, 0), 0);
    ck_assert_int_eq(send(w.node, big, MAX_PACKET + 1, 0), MAX_PACKET + 1);
    ck_assert_int_eq(send(w.node, big, MAX_PACKET, 0), MAX_PACKET);
    run_until(&w, &w.counters->packets_in, 1);
    ck_assert_uint_eq(w.counters->empty, 1);
    ck_assert_uint_eq(w.counters->oversize, 1);
    ck_assert_uint_eq(w.packets, 1);
    ck_assert_uint_eq(w.last_len, MAX_PACKET);
    close_world(&w);
}

END_TEST

START_TEST(what_cannot_be_sent_is_counted)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    struct peer_room room;
    const uint8_t octets[10] = {0};
    const struct peer *serial = peer_make(&room, 7, PEER_SERIAL, bytes_of(NULL, 0));
    w.link->driver->send(w.link, serial, bytes_str("x"));
    ck_assert_uint_eq(w.counters->send_drops, 1);
    /* A peer whose address is too short for its kind. */
    const struct peer *torn = peer_make(&room, 7, PEER_IP4, bytes_of(octets, 5));
    w.link->driver->send(w.link, torn, bytes_str("x"));
    ck_assert_uint_eq(w.counters->send_drops, 2);
    /* Port 0 is refused by the system. */
    const struct peer *nobody = peer_make(&room, 7, PEER_IP4, bytes_of(octets, 6));
    w.link->driver->send(w.link, nobody, bytes_str("x"));
    w.link->driver->flush(w.link);
    ck_assert_uint_eq(w.counters->send_drops, 3);
    ck_assert_uint_eq(w.counters->packets_out, 0);
    close_world(&w);
}

END_TEST

/* ---- a busy or angry system ------------------------------------------------------------------ */

/* The address of the node, as the link hears it. */
static const struct peer *meet(struct world *w)
{
    w->node = node_connect(w, NULL);
    say(w, "hello");
    run_until(w, &w->counters->packets_in, 1);
    return peer_in(&w->from);
}

START_TEST(a_busy_socket_defers_in_order_and_loses_nothing)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    const struct peer *node = meet(&w);
    fault.script = "b";
    fault.limit = 3;
    for (unsigned i = 0; i < 200; i++) {
        char text[16];
        snprintf(text, sizeof text, "%03u", i);
        w.link->driver->send(w.link, node, bytes_str(text));
    }
    w.link->driver->flush(w.link);
    ck_assert_uint_eq(w.counters->packets_out, 0);
    ck_assert_uint_eq(w.counters->send_deferred, 200);
    run_until(&w, &w.counters->packets_out, 200);
    for (unsigned i = 0; i < 200; i++) {
        char text[16];
        snprintf(text, sizeof text, "%03u", i);
        hear(&w, text);
    }
    ck_assert_uint_eq(w.counters->send_deferred, 200);
    ck_assert_uint_eq(w.counters->send_drops, 0);
    close_world(&w);
}

END_TEST

START_TEST(the_outgoing_queue_is_bounded_and_recovers)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    const struct peer *node = meet(&w);
    char big[MAX_PACKET];
    memset(big, 'b', sizeof big);
    fault.script = "b";
    for (unsigned i = 0; i < 2000; i++)
        w.link->driver->send(w.link, node, bytes_of(big, sizeof big));
    /* 512 KiB, or 1024 packets: here both are the same. */
    ck_assert_uint_eq(w.counters->send_drops, 2000 - 1024);
    run_until(&w, &w.counters->packets_out, 1024);
    w.link->driver->send(w.link, node, bytes_str("again"));
    w.link->driver->flush(w.link);
    ck_assert_uint_eq(w.counters->packets_out, 1025);
    close_world(&w);
}

END_TEST

START_TEST(a_half_sent_queue_is_compacted_when_more_comes)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    const struct peer *node = meet(&w);
    fault.script = "b.b";
    fault.limit = 24;
    for (unsigned i = 0; i < 1024; i++)
        w.link->driver->send(w.link, node, bytes_str("old"));
    /* Writable again: one call takes 24, then it is busy once more. */
    run_until(&w, &w.counters->packets_out, 24);
    ck_assert_uint_eq(w.counters->packets_out, 24);
    for (unsigned i = 0; i < 25; i++)
        w.link->driver->send(w.link, node, bytes_str("new"));
    ck_assert_uint_eq(w.counters->send_drops, 1);
    run_until(&w, &w.counters->packets_out, 1048);
    for (unsigned i = 0; i < 1024; i++)
        hear(&w, "old");
    for (unsigned i = 0; i < 24; i++)
        hear(&w, "new");
    close_world(&w);
}

END_TEST

START_TEST(an_icmp_error_on_send_costs_no_packet)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    const struct peer *node = meet(&w);
    fault.script = "c";
    w.link->driver->send(w.link, node, bytes_str("one"));
    w.link->driver->send(w.link, node, bytes_str("two"));
    w.link->driver->flush(w.link);
    ck_assert_uint_eq(w.counters->packets_out, 2);
    hear(&w, "one");
    hear(&w, "two");
    close_world(&w);
}

END_TEST

START_TEST(a_packet_the_system_refuses_does_not_hold_up_the_next)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    const struct peer *node = meet(&w);
    fault.script = "pp";
    w.link->driver->send(w.link, node, bytes_str("one"));
    w.link->driver->send(w.link, node, bytes_str("two"));
    w.link->driver->flush(w.link);
    ck_assert_uint_eq(w.counters->packets_out, 1);
    ck_assert_uint_eq(w.counters->send_drops, 1);
    hear(&w, "two");
    close_world(&w);
}

END_TEST

/* Connecting our socket to a port where nobody listens makes it see ICMP errors, which an
 * unconnected one never does; the loop must come through as well. */
START_TEST(icmp_errors_in_the_socket_do_not_stop_the_link)
{
    struct world w;
    char where[64];
    /* With a port of its own choice: one given by the system is lost when disconnecting below. */
    open_world(&w, "127.0.0.1:0");
    snprintf(where, sizeof where, "%s", w.link->driver->where(w.link));
    close_world(&w);
    open_world(&w, where);
    const int link_fd = last_socket;
    const struct peer *node = meet(&w);

    union sock_addr closed = {.ip4 = {.sin_family = AF_INET}};
    closed.ip4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof closed.ip4;
    const int gone = __real_socket(AF_INET, SOCK_DGRAM, 0);
    ck_assert_int_eq(bind(gone, &closed.any, len), 0);
    ck_assert_int_eq(getsockname(gone, &closed.any, &len), 0);
    close(gone);
    ck_assert_int_eq(connect(link_fd, &closed.any, len), 0);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(send(link_fd, "x", 1, 0), 1);
        run_until(&w, &w.counters->receive_errors, i + 1);
    }
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    ck_assert_int_eq(connect(link_fd, &none, sizeof none), 0);

    w.link->driver->send(w.link, node, bytes_str("still here"));
    w.link->driver->flush(w.link);
    hear(&w, "still here");
    say(&w, "me too");
    run_until(&w, &w.counters->packets_in, 2);
    ck_assert_uint_eq(w.counters->send_drops, 0);
    close_world(&w);
}

END_TEST

START_TEST(kernel_drops_are_counted)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    w.node = node_connect(&w, NULL);
    const int tiny = 1;
    ck_assert_int_eq(setsockopt(last_socket, SOL_SOCKET, SO_RCVBUF, &tiny, sizeof tiny), 0);
    for (unsigned i = 0; i < 100; i++)
        say(&w, "flood");
    run_until(&w, &w.counters->packets_in, 1);
    uv_run(&w.loop, UV_RUN_NOWAIT);
    say(&w, "after"); /* the kernel tells with the next datagram */
    const uint64_t before = w.counters->packets_in;
    run_until(&w, &w.counters->packets_in, before + 1);
    ck_assert_uint_gt(w.counters->kernel_drops, 0);
    ck_assert_uint_eq(w.counters->kernel_drops + w.counters->packets_in, 101);
    close_world(&w);
}

END_TEST

/* ---- opening and closing --------------------------------------------------------------------- */

START_TEST(a_port_in_use_is_explained)
{
    static struct world w, other;
    open_world(&w, "127.0.0.1:0");
    char error[300] = "";
    start_loop(&other);
    const char *where = w.link->driver->where(w.link);
    ck_assert_int_eq(try_open(&other, where, error, sizeof error), -EADDRINUSE);
    ck_assert_ptr_null(other.link);
    ck_assert_ptr_eq(strstr(error, where), error);
    ck_assert_ptr_nonnull(strstr(error, "already in use"));
    close_world(&other);
    close_world(&w);
}

END_TEST

START_TEST(an_address_of_another_machine_is_explained)
{
    struct world w;
    char error[300] = "";
    start_loop(&w);
    ck_assert_int_eq(try_open(&w, "192.0.2.1:1884", error, sizeof error), -EADDRNOTAVAIL);
    ck_assert_ptr_nonnull(strstr(error, "not an address of this machine"));
    ck_assert_int_eq(try_open(&w, "nonsense", error, sizeof error), -EINVAL);
    ck_assert_uint_eq(w.events, 0);
    close_world(&w);
}

END_TEST

START_TEST(both_families_can_share_a_port)
{
    static struct world four, six;
    char error[300] = "";
    char listen[64];
    open_world(&four, "0.0.0.0:0");
    const char *port = strrchr(four.link->driver->where(four.link), ':');
    snprintf(listen, sizeof listen, "[::]%s", port);
    start_loop(&six);
    ck_assert_msg(try_open(&six, listen, error, sizeof error) == 0, "%s", error);
    close_world(&six);
    close_world(&four);
}

END_TEST

START_TEST(closing_within_a_batch_ends_it)
{
    struct world w;
    open_world(&w, "127.0.0.1:0");
    w.node = node_connect(&w, NULL);
    w.echo = true;
    w.close_at = 10;
    for (unsigned i = 0; i < 100; i++)
        say(&w, "x");
    while (w.link != NULL && !w.late)
        uv_run(&w.loop, UV_RUN_ONCE);
    ck_assert(!w.late);
    ck_assert_uint_eq(w.packets, 10);
    for (unsigned i = 0; i < 10; i++)
        hear(&w, "x"); /* what was queued before close still leaves */
    close_world(&w);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("udp");
    TCase *t = tcase_create("udp");
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, a_packet_arrives_and_its_answer_too, 0, 4);
    tcase_add_test(t, a_thousand_packets_come_in_batches_and_in_order);
    tcase_add_test(t, other_handles_have_their_turn_under_load);
    tcase_add_test(t, empty_and_oversize_datagrams_are_dropped_and_counted);
    tcase_add_test(t, what_cannot_be_sent_is_counted);
    tcase_add_test(t, a_busy_socket_defers_in_order_and_loses_nothing);
    tcase_add_test(t, the_outgoing_queue_is_bounded_and_recovers);
    tcase_add_test(t, a_half_sent_queue_is_compacted_when_more_comes);
    tcase_add_test(t, an_icmp_error_on_send_costs_no_packet);
    tcase_add_test(t, a_packet_the_system_refuses_does_not_hold_up_the_next);
    tcase_add_test(t, icmp_errors_in_the_socket_do_not_stop_the_link);
    tcase_add_test(t, kernel_drops_are_counted);
    tcase_add_test(t, a_port_in_use_is_explained);
    tcase_add_test(t, an_address_of_another_machine_is_explained);
    tcase_add_test(t, both_families_can_share_a_port);
    tcase_add_test(t, closing_within_a_batch_ends_it);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
