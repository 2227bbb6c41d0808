/* SPDX-License-Identifier: Apache-2.0 */
/* What the benchmark's figures rest on: its books, and its MQTT. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <check.h>

#include "tools/bench_tally.h"
#include "tools/bench_wire.h"
#include "unit/suite.h"

/* ---- books ----------------------------------------------------------------------------------- */

enum { STREAMS = 3, SENT = 200 };

static struct tally *tally;

static void open_books(void)
{
    tally = malloc(sizeof *tally);
    ck_assert_ptr_nonnull(tally);
    ck_assert_int_eq(tally_init(tally, STREAMS), 0);
    tally->measuring = true;
    for (uint32_t i = 0; i < SENT; i++)
        ck_assert_uint_eq(tally_send(tally, 1), i);
}

static void close_books(void)
{
    tally_deinit(tally);
    free(tally);
}

static bool arrives(uint32_t sequence)
{
    return tally_arrived(tally, 1, sequence, 1000);
}

START_TEST(all_in_order_is_nothing_but_arrived)
{
    for (uint32_t i = 0; i < SENT; i++)
        ck_assert(arrives(i));
    ck_assert_uint_eq(tally->arrived, tally->sent);
    ck_assert_uint_eq(tally->missing + tally->duplicated + tally->reordered + tally->misrouted, 0);
    ck_assert_uint_eq(tally->delays.count, SENT);
}

END_TEST

START_TEST(a_gap_is_missing_until_it_is_filled)
{
    ck_assert(arrives(0));
    ck_assert(arrives(4));
    ck_assert_uint_eq(tally->missing, 3);
    ck_assert(arrives(2));
    ck_assert_uint_eq(tally->missing, 2);
    ck_assert_uint_eq(tally->reordered, 1);
    ck_assert_uint_eq(tally->arrived, 3);
    ck_assert_uint_eq(tally->duplicated, 0);
}

END_TEST

START_TEST(a_copy_is_told_from_a_late_one)
{
    ck_assert(arrives(0));
    ck_assert(!arrives(0));
    ck_assert(arrives(5));
    ck_assert(!arrives(5));
    ck_assert(arrives(3));
    ck_assert(!arrives(3));
    ck_assert(!arrives(0));
    ck_assert_uint_eq(tally->duplicated, 4);
    ck_assert_uint_eq(tally->reordered, 1);
    ck_assert_uint_eq(tally->arrived, 3);
}

END_TEST

START_TEST(a_long_gap_forgets_what_lies_before_it)
{
    ck_assert(arrives(10));
    ck_assert(arrives(150));
    ck_assert(arrives(149));
    ck_assert(!arrives(10));
    ck_assert_uint_eq(tally->missing, 148);
    ck_assert_uint_eq(tally->duplicated, 1);
}

END_TEST

START_TEST(what_nobody_sent_is_misrouted)
{
    ck_assert(!tally_arrived(tally, STREAMS, 0, 0));
    ck_assert(!tally_arrived(tally, 0, 0, 0));
    ck_assert(!arrives(SENT));
    ck_assert_uint_eq(tally->misrouted, 3);
    ck_assert_uint_eq(tally->arrived, 0);
}

END_TEST

START_TEST(payloads_come_back_as_they_were)
{
    uint8_t octets[64];
    const struct bench_payload in = {
        .run = 7, .stream = 99999, .sequence = 4000000000, .stamp_ns = INT64_C(0x123456789ABCDEF)};
    struct bench_payload out;
    payload_put(octets, sizeof octets, &in);
    ck_assert(payload_get(bytes_of(octets, sizeof octets), &out));
    ck_assert_uint_eq(out.run, in.run);
    ck_assert_uint_eq(out.stream, in.stream);
    ck_assert_uint_eq(out.sequence, in.sequence);
    ck_assert_int_eq(out.stamp_ns, in.stamp_ns);
    ck_assert(!payload_get(bytes_of(octets, PAYLOAD_MIN - 1), &out));
    octets[3] ^= 1;
    ck_assert(!payload_get(bytes_of(octets, sizeof octets), &out));
}

END_TEST

/* ---- MQTT ------------------------------------------------------------------------------------ */

static struct wire *client;
static struct wire *broker;

static void connect_wires(void)
{
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client = wire_new(fds[0], false);
    broker = wire_new(fds[1], true);
    ck_assert_ptr_nonnull(client);
    ck_assert_ptr_nonnull(broker);
}

static void free_wires(void)
{
    wire_free(client);
    wire_free(broker);
}

/* Whatever `from` has said is heard by `to`; its events, up to `n`. */
static unsigned carry(struct wire *from, struct wire *to, struct wire_event *events, unsigned n)
{
    unsigned found = 0;
    ck_assert(wire_flush(from));
    wire_read(to);
    while (found < n && wire_next(to, &events[found]) != WIRE_NOTHING)
        found++;
    return found;
}

START_TEST(a_client_connects_and_subscribes)
{
    struct wire_event e;
    wire_connect(client, "me");
    wire_subscribe(client, "bench/#", 1);
    ck_assert_uint_eq(carry(client, broker, &e, 1), 0);
    ck_assert(broker->is_up);
    ck_assert_uint_eq(carry(broker, client, &e, 1), 0);
    ck_assert(client->is_up);
    ck_assert_uint_eq(client->unanswered, 0);
}

END_TEST

START_TEST(each_publish_arrives_and_is_settled_once)
{
    struct wire_event e[4];
    for (int qos = 0; qos <= 2; qos++)
        wire_publish(client, bytes_str("a"), bytes_of(&qos, sizeof qos), qos, 40U + (unsigned)qos);
    ck_assert_uint_eq(client->unacknowledged, 2);
    ck_assert_uint_eq(carry(client, broker, e, 4), 3);
    for (int qos = 0; qos <= 2; qos++) {
        ck_assert_int_eq(e[qos].type, WIRE_MESSAGE);
        ck_assert(bytes_equal(e[qos].payload, bytes_of(&qos, sizeof qos)));
    }
    ck_assert_uint_eq(carry(broker, client, e, 4), 1); /* PUBACK; PUBREC is no end */
    ck_assert_int_eq(e[0].type, WIRE_SETTLED);
    ck_assert_uint_eq(e[0].stream, 41);
    ck_assert_uint_eq(carry(client, broker, e, 4), 0); /* PUBREL */
    ck_assert_uint_eq(carry(broker, client, e, 4), 1); /* PUBCOMP */
    ck_assert_uint_eq(e[0].stream, 42);
    ck_assert_uint_eq(client->unacknowledged, 0);
}

END_TEST

START_TEST(packets_may_come_in_any_slices)
{
    static const uint8_t octets[] = {0x30, 5, 0, 1, 'a', 'h', 'i', 0x30, 4, 0, 1, 'a', '!'};
    struct wire_event e;
    unsigned messages = 0;
    for (size_t i = 0; i < sizeof octets; i++) {
        ck_assert_int_eq(write(client->fd, octets + i, 1), 1);
        ck_assert(wire_read(broker));
        while (wire_next(broker, &e) == WIRE_MESSAGE) {
            ck_assert(bytes_equal(e.payload, bytes_str(messages == 0 ? "hi" : "!")));
            messages++;
        }
    }
    ck_assert_uint_eq(messages, 2);
}

END_TEST

/* What the broker's end answers to these octets. */
static struct bytes answer_to(const uint8_t *octets, size_t len, struct wire_event *e)
{
    static uint8_t answer[64];
    ck_assert_int_eq(write(client->fd, octets, len), (ssize_t)len);
    wire_read(broker);
    e->type = wire_next(broker, e);
    ck_assert(wire_flush(broker));
    const ssize_t n = read(client->fd, answer, sizeof answer);
    return bytes_of(answer, n > 0 ? (size_t)n : 0);
}

START_TEST(the_broker_s_end_speaks_version_5_to_whoever_does)
{
    static const uint8_t hello[] = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 0, 0, 0, 1, 'a'};
    static const uint8_t accepted[] = {0x20, 3, 0, 0, 0};
    static const uint8_t subscribe[] = {0x82, 9, 0, 7, 2, 0x0B, 1, 0, 1, '#', 1};
    static const uint8_t subscribed[] = {0x90, 4, 0, 7, 0, 1};
    static const uint8_t unsubscribe[] = {0xA2, 6, 0, 8, 0, 0, 1, '#'};
    static const uint8_t unsubscribed[] = {0xB0, 4, 0, 8, 0, 0};
    static const uint8_t publish[] = {0x32, 12, 0, 1, 't', 0, 9, 5, 2, 0, 0, 0, 60, '!'};
    static const uint8_t published[] = {0x40, 2, 0, 9};
    static const uint8_t message[] = {0x32, 7, 0, 1, 't', 0, 1, 0, '?'};
    static const uint8_t settled[] = {0x40, 4, 0, 1, 0x10, 0}; /* nobody has subscribed */

    struct wire_event e;
    ck_assert(bytes_equal(answer_to(hello, sizeof hello, &e), bytes_of(accepted, sizeof accepted)));
    ck_assert(broker->is_up);
    ck_assert(bytes_equal(answer_to(subscribe, sizeof subscribe, &e),
                          bytes_of(subscribed, sizeof subscribed)));
    ck_assert(bytes_equal(answer_to(unsubscribe, sizeof unsubscribe, &e),
                          bytes_of(unsubscribed, sizeof unsubscribed)));
    ck_assert(
        bytes_equal(answer_to(publish, sizeof publish, &e), bytes_of(published, sizeof published)));
    ck_assert_int_eq(e.type, WIRE_MESSAGE);
    ck_assert(bytes_equal(e.payload, bytes_str("!")));
    wire_publish(broker, bytes_str("t"), bytes_str("?"), 1, 3);
    ck_assert(bytes_equal(answer_to(NULL, 0, &e), bytes_of(message, sizeof message)));
    ck_assert_uint_eq(answer_to(settled, sizeof settled, &e).len, 0);
    ck_assert_int_eq(e.type, WIRE_SETTLED);
    ck_assert_uint_eq(e.stream, 3);
    ck_assert(!broker->is_broken);
}

END_TEST

static void assert_broken(const void *octets, size_t len)
{
    struct wire_event e;
    ck_assert_int_eq(write(broker->fd, octets, len), (ssize_t)len);
    wire_read(client);
    ck_assert_int_eq(wire_next(client, &e), WIRE_NOTHING);
    ck_assert(client->is_broken);
}

START_TEST(what_is_not_mqtt_breaks_the_connection)
{
    static const uint8_t endless_length[] = {0x30, 0xFF, 0xFF, 0xFF, 0xFF};
    static const uint8_t topic_too_long[] = {0x30, 3, 0, 9, 'a'};
    static const uint8_t qos_3[] = {0x36, 5, 0, 1, 'a', 0, 1};
    static const uint8_t unasked[] = {0x40, 2, 0, 9};
    static const uint8_t refused[] = {0x20, 2, 0, 5};

    static const struct {
        const uint8_t *octets;
        size_t len;
    } all[] = {
        {endless_length, sizeof endless_length},
        {topic_too_long, sizeof topic_too_long},
        {qos_3,          sizeof qos_3         },
        {unasked,        sizeof unasked       },
        {refused,        sizeof refused       },
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        assert_broken(all[i].octets, all[i].len);
        free_wires();
        connect_wires();
    }
}

END_TEST

START_TEST(a_closed_connection_is_broken)
{
    shutdown(broker->fd, SHUT_WR);
    ck_assert(!wire_read(client));
}

END_TEST

int main(void)
{
    Suite *s = suite_create("bench");
    TCase *books = tcase_create("books");
    tcase_add_checked_fixture(books, open_books, close_books);
    tcase_add_test(books, all_in_order_is_nothing_but_arrived);
    tcase_add_test(books, a_gap_is_missing_until_it_is_filled);
    tcase_add_test(books, a_copy_is_told_from_a_late_one);
    tcase_add_test(books, a_long_gap_forgets_what_lies_before_it);
    tcase_add_test(books, what_nobody_sent_is_misrouted);
    tcase_add_test(books, payloads_come_back_as_they_were);
    suite_add_tcase(s, books);
    TCase *mqtt = tcase_create("mqtt");
    tcase_add_checked_fixture(mqtt, connect_wires, free_wires);
    tcase_add_test(mqtt, a_client_connects_and_subscribes);
    tcase_add_test(mqtt, each_publish_arrives_and_is_settled_once);
    tcase_add_test(mqtt, packets_may_come_in_any_slices);
    tcase_add_test(mqtt, the_broker_s_end_speaks_version_5_to_whoever_does);
    tcase_add_test(mqtt, what_is_not_mqtt_breaks_the_connection);
    tcase_add_test(mqtt, a_closed_connection_is_broken);
    suite_add_tcase(s, mqtt);
    return run_suite(s);
}
