/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sinks: MQTT sessions that share one store. Their numbers outlive the process, and what belongs to one
 * never comes out of another.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

#include "base/error.h"

#include "move_world.h"
#include "store_priv.h"
#include "suite.h"

enum { LINES_MAX = 4096 };

/* ---- helpers --------------------------------------------------------------------------------- */

static char lines[LINES_MAX];

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    const size_t len = strlen(lines);
    va_list args;
    va_start(args, format);
    vsnprintf(lines + len, sizeof lines - len, format, args);
    va_end(args);
}

static uint64_t sink(const char *broker, const char *client_id)
{
    uint64_t number = UINT64_MAX;
    ck_assert_int_eq(store_sink(from.s, broker, bytes_str(client_id), &number), 0);
    return number;
}

static int note_sink(void *owner, uint64_t number, const char *broker, struct bytes client_id)
{
    (void)owner;
    note("%llu %s/%.*s\n", (unsigned long long)number, broker, (int)client_id.len,
         client_id.len > 0 ? (const char *)client_id.data : "");
    return 0;
}

static const char *all_sinks(void)
{
    lines[0] = '\0';
    ck_assert_int_eq(store_sinks_each(from.s, note_sink, NULL), 0);
    return lines;
}

/* "sink:number" within it. */
static void note_number(uint64_t number)
{
    const uint64_t of = store_sink_of(number);
    note("%llu:%llu", (unsigned long long)of, (unsigned long long)(number - store_sink_base(of)));
}

static int skip_record(void *owner, const struct sn_record *record)
{
    (void)owner;
    (void)record;
    return 0;
}

static int note_message(void *owner, const struct store_unrouted *m)
{
    (void)owner;
    note("message %llu of %llu %.*s %.*s\n", (unsigned long long)m->journal,
         (unsigned long long)m->sink, (int)m->topic.len, (const char *)m->topic.data,
         (int)body_bytes(m->body).len, (const char *)body_bytes(m->body).data);
    return 0;
}

static int note_sent(void *owner, uint64_t number, uint64_t client, uint64_t bytes)
{
    (void)owner;
    note("sent ");
    note_number(number);
    note(" of %llu, %llu octets\n", (unsigned long long)client, (unsigned long long)bytes);
    return 0;
}

static int note_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last)
{
    (void)owner;
    note("spool of %llu: %llu, %llu octets, last ", (unsigned long long)client,
         (unsigned long long)n, (unsigned long long)bytes);
    note_number(last);
    note("\n");
    return 0;
}

/* Closes, opens, loads. */
static const char *reload(void)
{
    const struct store_visitor visitor = {
        .record = skip_record, .message = note_message, .sent = note_sent, .spool = note_spool};
    world_reopen(&from);
    lines[0] = '\0';
    ck_assert_int_eq(store_load(from.s, &visitor), 0);
    return lines;
}

static bool has(const char *text, const char *line)
{
    return strstr(text, line) != NULL;
}

static void spool(uint64_t of, uint64_t client, uint64_t number, const char *text)
{
    put_spool(&from, client, store_sink_base(of) + number, text);
}

/* Numbers that a fetch above that one brings. */
static const char *fetched(uint64_t after)
{
    const struct store_event e = world_fetch(&from, after, 100, 1 << 20);
    ck_assert(!e.failed);
    lines[0] = '\0';
    for (size_t i = 0; i < e.n; i++) {
        note("%s", i > 0 ? " " : "");
        note_number(e.rows[i].number);
    }
    return lines;
}

static void put_packet(uint64_t of, const char *key, const char *text)
{
    const struct bytes part = bytes_str(text);
    ck_assert_int_eq(store_packet_put(from.s, of, key, &part, 1), 0);
}

/* "": there is none. */
static const char *packet(uint64_t of, const char *key)
{
    void *data = NULL;
    size_t len = 0;
    const int rc = store_packet_get(from.s, of, key, &data, &len);
    ck_assert(rc == 0 || rc == -ENOENT);
    lines[0] = '\0';
    if (rc == 0)
        note("%.*s", (int)len, (const char *)data);
    free(data);
    return lines;
}

static int note_key(void *owner, const char *key)
{
    (void)owner;
    note("%s ", key);
    return 0;
}

static const char *keys(uint64_t of)
{
    lines[0] = '\0';
    ck_assert_int_eq(store_packet_each(from.s, of, note_key, NULL), 0);
    return lines;
}

static void setup(void)
{
    move_setup();
    world_open(&from);
}

/* ---- numbers --------------------------------------------------------------------------------- */

START_TEST(a_number_is_given_once_and_kept_over_restarts)
{
    static const char expected[] = "0 home/\n1 cloud/\n2 cloud/node\n3 cloud/nod\n4 home/node\n";
    ck_assert_uint_eq(sink("home", ""), 0);
    ck_assert_uint_eq(sink("cloud", ""), 1);
    ck_assert_uint_eq(sink("cloud", "node"), 2);
    ck_assert_uint_eq(sink("cloud", "nod"), 3);
    ck_assert_uint_eq(sink("home", "node"), 4);
    ck_assert_uint_eq(sink("cloud", ""), 1);
    ck_assert_str_eq(all_sinks(), expected);
    world_commit(&from);
    for (int i = 0; i < 2; i++) {
        world_reopen(&from);
        ck_assert_str_eq(all_sinks(), expected);
        ck_assert_uint_eq(sink("home", "node"), 4);
        ck_assert_uint_eq(sink("cloud", ""), 1);
        ck_assert_uint_eq(sink("home", ""), 0);
    }
    ck_assert_uint_eq(store_gauges(from.s).commits, 0); /* nothing was new */
}

END_TEST

START_TEST(the_lowest_number_that_is_free_is_given_again)
{
    static const char *const brokers[] = {"a", "b", "c", "d", "e"};
    for (uint64_t i = 0; i < 5; i++)
        ck_assert_uint_eq(sink(brokers[i], ""), i);
    world_commit(&from);
    store_sink_gone(from.s, 3);
    store_sink_gone(from.s, 1);
    store_sink_gone(from.s, 1);
    store_sink_gone(from.s, 70);
    if (_i == 1) /* not in the same commit, or not in the same process */
        world_commit(&from);
    if (_i == 2)
        world_reopen(&from);
    ck_assert_str_eq(all_sinks(), "0 a/\n2 c/\n4 e/\n");
    ck_assert_uint_eq(sink("f", "x"), 1);
    ck_assert_uint_eq(sink("g", ""), 3);
    ck_assert_uint_eq(sink("b", ""), 5);
    world_reopen(&from);
    ck_assert_str_eq(all_sinks(), "0 a/\n1 f/x\n2 c/\n3 g/\n4 e/\n5 b/\n");
}

END_TEST

/* In one commit and behind one another. */
START_TEST(the_session_of_all_has_no_client_id_whoever_was_written_before)
{
    ck_assert_uint_eq(sink("cloud", "somebody"), 0);
    ck_assert_uint_eq(sink("cloud", ""), 1);
    world_commit(&from);
    ck_assert_uint_eq(sink("cloud", "somebody else"), 2);
    world_commit(&from);
    ck_assert_uint_eq(sink("home", ""), 3);
    world_commit(&from);
    ck_assert_str_eq(
        world_sql(&from, "SELECT group_concat(number) FROM sink WHERE client_id IS NULL"), "1,3");
    world_reopen(&from);
    ck_assert_str_eq(all_sinks(), "0 cloud/somebody\n1 cloud/\n2 cloud/somebody else\n3 home/\n");
}

END_TEST

START_TEST(there_are_as_many_as_have_a_number)
{
    uint64_t number = 0;
    world_close(&from);
    run_sql(&from, "INSERT INTO sink WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1"
                   " FROM n WHERE i < 65535) SELECT i, 'b' || i, NULL FROM n;"
                   "INSERT INTO sink VALUES (65536, 'too many', NULL), (-1, 'too few', NULL)");
    world_open(&from);
    ck_assert_int_eq(store_sink(from.s, "one more", bytes_of(NULL, 0), &number), -ENOSPC);
    ck_assert_int_eq(store_sink(from.s, "too many", bytes_of(NULL, 0), &number), -ENOSPC);
    ck_assert_uint_eq(sink("b65535", ""), 65535);
    store_sink_gone(from.s, 777);
    ck_assert_uint_eq(sink("one more", ""), 777);
    spool(65535, 1, 1, "the last one");
    spool(65534, 1, 1, "not the last one");
    ck_assert_str_eq(fetched((world_commit(&from), store_sink_base(65535))), "65535:1");
}

END_TEST

START_TEST(names_that_nobody_has_are_refused)
{
    uint64_t number = 7;
    static uint8_t longest[UINT16_MAX + 1];
    memset(longest, 'x', sizeof longest);
    ck_assert_int_eq(store_sink(from.s, "", bytes_of(NULL, 0), &number), -EINVAL);
    ck_assert_int_eq(store_sink(from.s, "b", bytes_of(longest, sizeof longest), &number), -EINVAL);
    ck_assert_uint_eq(number, 7);
    ck_assert_str_eq(all_sinks(), "");
    ck_assert_int_eq(store_sink(from.s, "b", bytes_of(longest, UINT16_MAX), &number), 0);
    ck_assert_uint_eq(number, 0);
    world_reopen(&from);
    ck_assert_int_eq(store_sink(from.s, "b", bytes_of(longest, UINT16_MAX - 1), &number), 0);
    ck_assert_uint_eq(number, 1);
    ck_assert_int_eq(store_sink(from.s, "b", bytes_of(longest, UINT16_MAX), &number), 0);
    ck_assert_uint_eq(number, 0);
}

END_TEST

/* ---- the spool ------------------------------------------------------------------------------- */

START_TEST(the_backlog_is_told_by_sink_and_client)
{
    for (uint64_t of = 0; of <= 3; of += of + 1) { /* 0, 1, 3 */
        spool(of, 1, 10 + of, "x");
        spool(of, 2, 20 + of, "xx");
        spool(of, 1, 30 + of, "xxx");
    }
    spool(3, 2, 40, "");
    world_commit(&from);
    const char *const text = reload();
    ck_assert(has(text, "spool of 1: 2, 8 octets, last 0:30\n"));
    ck_assert(has(text, "spool of 2: 1, 4 octets, last 0:30\n"));
    ck_assert(has(text, "spool of 1: 2, 8 octets, last 1:31\n"));
    ck_assert(has(text, "spool of 2: 1, 4 octets, last 1:31\n"));
    ck_assert(has(text, "spool of 1: 2, 8 octets, last 3:40\n"));
    ck_assert(has(text, "spool of 2: 2, 6 octets, last 3:40\n"));
    ck_assert_ptr_nonnull(strstr(text, "spool of 0: 0, 0 octets, last 0:30\n"
                                       "spool of 0: 0, 0 octets, last 1:31\n"
                                       "spool of 0: 0, 0 octets, last 3:40\n"));
}

END_TEST

START_TEST(a_fetch_stays_inside_its_sink)
{
    for (uint64_t of = 0; of < 3; of++)
        for (uint64_t number = 1; number <= 3; number++)
            spool(of, 1, number, "x");
    put_spool(&from, 1, store_sink_base(2) - 1, "the last that sink 1 can have");
    world_commit(&from);
    ck_assert_str_eq(fetched(0), "0:1 0:2 0:3");
    ck_assert_str_eq(fetched(3), "");
    ck_assert_str_eq(fetched(store_sink_base(1)), "1:1 1:2 1:3 1:140737488355327");
    ck_assert_str_eq(fetched(store_sink_base(1) + 2), "1:3 1:140737488355327");
    ck_assert_str_eq(fetched(store_sink_base(2)), "2:1 2:2 2:3");
    ck_assert_str_eq(fetched(store_sink_base(3)), "");
}

END_TEST

/* ---- packets --------------------------------------------------------------------------------- */

START_TEST(packets_of_the_same_name_are_each_sinks_own)
{
    static const uint64_t sinks[] = {0, 1, 12, 2, 65535};
    char text[32];
    for (size_t i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "of %llu", (unsigned long long)sinks[i]);
        put_packet(sinks[i], "s-5", text);
        put_packet(sinks[i], "r5-65535", text);
    }
    for (size_t i = 0; i < 5; i++) {
        snprintf(text, sizeof text, "of %llu", (unsigned long long)sinks[i]);
        ck_assert_str_eq(packet(sinks[i], "s-5"), text);
        ck_assert_str_eq(keys(sinks[i]), "r5-65535 s-5 ");
    }
    store_packet_remove(from.s, 1, "s-5", 0);
    ck_assert_str_eq(packet(1, "s-5"), "");
    ck_assert_str_eq(packet(0, "s-5"), "of 0");
    ck_assert_str_eq(packet(12, "s-5"), "of 12");
    store_packets_clear(from.s, 0);
    ck_assert_str_eq(keys(0), "");
    ck_assert_str_eq(keys(1), "r5-65535 ");
    ck_assert_str_eq(keys(12), "r5-65535 s-5 ");
    store_packets_clear(from.s, 1);
    ck_assert_str_eq(keys(1), "");
    ck_assert_str_eq(keys(12), "r5-65535 s-5 ");
    world_reopen(&from);
    ck_assert_str_eq(keys(0), "");
    ck_assert_str_eq(keys(1), "");
    ck_assert_str_eq(packet(12, "s-5"), "of 12");
    ck_assert_str_eq(packet(2, "s-5"), "of 2");
    ck_assert_str_eq(packet(65535, "s-5"), "of 65535");
}

END_TEST

/* In three sinks a message is with Paho under the same packet id. */
static void send_three(void)
{
    for (uint64_t of = 0; of < 3; of++) {
        spool(of, 1, 7 + of, "with Paho");
        spool(of, 1, 90, "waits");
        world_commit(&from);
        store_spool_sending(from.s, store_sink_base(of) + 7 + of, 5);
        put_packet(of, "s-5", "x");
    }
}

START_TEST(a_packet_id_means_each_sinks_own_message)
{
    send_three();
    for (int again = 0; again < 2; again++) {
        for (uint64_t of = 0; of < 3; of++)
            ck_assert_uint_eq(store_spool_sent_as(from.s, of, 5), store_sink_base(of) + 7 + of);
        ck_assert_uint_eq(store_spool_sent_as(from.s, 3, 5), 0);
        ck_assert_str_eq(fetched(0), "0:90");
        ck_assert_str_eq(fetched(store_sink_base(1)), "1:90");
        const char *const text = reload();
        ck_assert(has(text, "sent 0:7 of 1, 11 octets\n"));
        ck_assert(has(text, "sent 1:8 of 1, 11 octets\n"));
        ck_assert(has(text, "sent 2:9 of 1, 11 octets\n"));
        ck_assert(has(text, "spool of 1: 1, 7 octets, last 2:90\n"));
    }
    /* Complete in one; not delivered in another; the third goes on. */
    store_packet_remove(from.s, 1, "s-5", 5);
    store_packet_remove(from.s, 2, "s-5", 0);
    store_spool_unsent(from.s, 2, 5);
    for (int again = 0; again < 2; again++) {
        ck_assert_uint_eq(store_spool_sent_as(from.s, 0, 5), 7);
        ck_assert_uint_eq(store_spool_sent_as(from.s, 1, 5), 0);
        ck_assert_uint_eq(store_spool_sent_as(from.s, 2, 5), 0);
        ck_assert_str_eq(fetched(0), "0:90");
        ck_assert_str_eq(fetched(store_sink_base(1)), "1:90");
        ck_assert_str_eq(fetched(store_sink_base(2)), "2:9 2:90");
        world_reopen(&from);
    }
}

END_TEST

START_TEST(a_broker_that_forgot_everything_is_one_of_several)
{
    send_three();
    store_packets_clear(from.s, (uint64_t)_i);
    for (int again = 0; again < 2; again++) {
        for (uint64_t of = 0; of < 3; of++) {
            const bool cleared = of == (uint64_t)_i;
            char expected[32];
            snprintf(expected, sizeof expected, "%llu:%llu %llu:90", (unsigned long long)of,
                     7 + (unsigned long long)of, (unsigned long long)of);
            ck_assert_str_eq(fetched(store_sink_base(of)),
                             cleared ? expected : strchr(expected, ' ') + 1);
            ck_assert_uint_eq(store_spool_sent_as(from.s, of, 5) == 0, cleared);
            ck_assert_str_eq(keys(of), cleared ? "" : "s-5 ");
        }
        world_reopen(&from);
    }
    ck_assert_str_eq(world_sql(&from, "SELECT count(*) FROM sending"), "2");
}

END_TEST

START_TEST(who_gets_a_number_again_gets_nothing_of_its_last_owner)
{
    ck_assert_uint_eq(sink("home", ""), 0);
    ck_assert_uint_eq(sink("cloud", "a"), 1);
    world_commit(&from);
    store_sink_gone(from.s, 1);
    world_commit(&from);
    /* The connection comes to its end a little later. */
    store_spool_sending(from.s, store_sink_base(1) + 7, 5);
    put_packet(1, "s-5", "of a");
    put_packet(0, "s-5", "of all");
    ck_assert_uint_eq(sink("cloud", "b"), 1);
    for (int again = 0; again < 2; again++) {
        ck_assert_str_eq(keys(1), "");
        ck_assert_str_eq(keys(0), "s-5 ");
        ck_assert_uint_eq(store_spool_sent_as(from.s, 1, 5), 0);
        world_reopen(&from);
    }
}

END_TEST

/* ---- messages -------------------------------------------------------------------------------- */

START_TEST(a_message_comes_back_with_the_sink_it_came_to)
{
    const struct bytes t = bytes_str("t");
    put_packet(3, "r-9", "x");
    put_packet(4, "r-9", "x");
    ck_assert_uint_eq(
        store_message(from.s, 0,
                      &(struct store_incoming){.topic = t, .payload = bytes_str("a"), .qos = 1},
                      NULL),
        1);
    ck_assert_uint_eq(
        store_message(from.s, 3,
                      &(struct store_incoming){.topic = t, .payload = bytes_str("b"), .qos = 2},
                      "r-9"),
        2);
    ck_assert_uint_eq(store_message_with(
                          from.s, 5,
                          &(struct store_incoming){.topic = t, .payload = bytes_str("c"), .qos = 2},
                          "r-9", bytes_str("packet")),
                      3);
    ck_assert_str_eq(reload(), "message 1 of 0 t a\nmessage 2 of 3 t b\nmessage 3 of 5 t c\n");
    ck_assert_str_eq(keys(3), "");
    ck_assert_str_eq(keys(4), "r-9 ");
    ck_assert_str_eq(packet(5, "r-9"), "packet");
}

END_TEST

/* ---- other files ----------------------------------------------------------------------------- */

START_TEST(a_state_that_moves_takes_its_sinks_along)
{
    ck_assert_uint_eq(sink("home", ""), 0);
    ck_assert_uint_eq(sink("cloud", ""), 1);
    ck_assert_uint_eq(sink("cloud", "n\xC3\xB6"
                                    "de"),
                      2);
    store_sink_gone(from.s, 1);
    send_three();
    ck_assert_uint_eq(
        store_message(
            from.s, 2,
            &(struct store_incoming){.topic = bytes_str("t"), .payload = bytes_str("a"), .qos = 2},
            NULL),
        1);
    put_packet(2, "r5-4", "half way from the broker");
    put_packet(0, "q-1", "half way from the broker");
    world_close(&from);
    move();
    expect_same_tables();
    ck_assert_int_eq(export_to(move_file()), EXIT_OK);
    ck_assert_ptr_nonnull(strstr(said, "note: 3 of the spooled messages are half way to"));
    ck_assert_ptr_nonnull(strstr(said, "note: 2 messages are half way from the broker"));
    world_open(&to);
    ck_assert_str_eq(world_load(&to), "message 1 topic=t body=a qos=2\n"
                                      "spool 1: 2, 18 octets, last 281474976710746\n"
                                      "spool 1: 2, 18 octets, last 140737488355418\n"
                                      "spool 1: 2, 18 octets, last 90\n"
                                      "spool 0: 0, 0 octets, last 90\n"
                                      "spool 0: 0, 0 octets, last 140737488355418\n"
                                      "spool 0: 0, 0 octets, last 281474976710746\n");
    uint64_t number = 0;
    ck_assert_int_eq(store_sink(to.s, "cloud",
                                bytes_str("n\xC3\xB6"
                                          "de"),
                                &number),
                     0);
    ck_assert_uint_eq(number, 2);
}

END_TEST

START_TEST(all_that_a_database_of_version_2_has_is_of_number_0)
{
    spool(0, 1, 7, "x");
    put_spool(&from, 1, 8, "x");
    ck_assert_uint_eq(world_message(&from, "t", "a"), 1);
    world_commit(&from);
    store_spool_sending(from.s, 8, 5);
    put_packet(0, "s-5", "x");
    world_close(&from);
    run_sql(&from, "DROP TABLE sink; ALTER TABLE message DROP COLUMN sink;"
                   "ALTER TABLE message DROP COLUMN expires_ms;"
                   "ALTER TABLE delivery DROP COLUMN expires_ms;"
                   "ALTER TABLE spool DROP COLUMN origin; PRAGMA user_version = 2");
    world_open(&from);
    ck_assert_str_eq(reload(), "message 1 of 0 t a\n"
                               "sent 0:8 of 1, 3 octets\n"
                               "spool of 1: 1, 3 octets, last 0:8\n"
                               "spool of 0: 0, 0 octets, last 0:8\n");
    ck_assert_str_eq(keys(0), "s-5 ");
    ck_assert_str_eq(all_sinks(), "");
    ck_assert_uint_eq(sink("home", ""), 0);
    ck_assert_uint_eq(sink("cloud", ""), 1);
    ck_assert_str_eq(world_sql(&from, "PRAGMA user_version"), "4");
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: sinks");
    TCase *const all = tcase_create("sinks");
    tcase_set_timeout(all, 30);
    tcase_add_checked_fixture(all, setup, move_teardown);
    tcase_add_test(all, a_number_is_given_once_and_kept_over_restarts);
    tcase_add_loop_test(all, the_lowest_number_that_is_free_is_given_again, 0, 3);
    tcase_add_test(all, the_session_of_all_has_no_client_id_whoever_was_written_before);
    tcase_add_test(all, there_are_as_many_as_have_a_number);
    tcase_add_test(all, names_that_nobody_has_are_refused);
    tcase_add_test(all, the_backlog_is_told_by_sink_and_client);
    tcase_add_test(all, a_fetch_stays_inside_its_sink);
    tcase_add_test(all, packets_of_the_same_name_are_each_sinks_own);
    tcase_add_test(all, a_packet_id_means_each_sinks_own_message);
    tcase_add_loop_test(all, a_broker_that_forgot_everything_is_one_of_several, 0, 3);
    tcase_add_test(all, who_gets_a_number_again_gets_nothing_of_its_last_owner);
    tcase_add_test(all, a_message_comes_back_with_the_sink_it_came_to);
    tcase_add_test(all, a_state_that_moves_takes_its_sinks_along);
    tcase_add_test(all, all_that_a_database_of_version_2_has_is_of_number_0);
    suite_add_tcase(suite, all);
    return run_suite(suite);
}
