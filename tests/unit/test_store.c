/* SPDX-License-Identifier: Apache-2.0 */
/* What is put comes back after closing and opening, in the order that the contract names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_world.h"
#include "suite.h"

static struct store_world w;

static void setup(void)
{
    world_init(&w);
    world_open(&w);
}

static void setup_memory(void)
{
    world_init(&w);
    w.options.dir = NULL;
    world_open(&w);
}

static void teardown(void)
{
    world_deinit(&w);
}

/* ---- every record ---------------------------------------------------------------------------- */

START_TEST(a_session_comes_back_with_all_its_fields)
{
    struct peer_room room;
    const uint8_t eui[] = {0x00, 0x12, 0x4b, 0, 1, 2, 3, 4};
    peer_make(&room, 1, PEER_EUI64, bytes_of(eui, sizeof eui));
    ck_assert(peer_push_node(&room, bytes_of("\x07\x08", 2)));
    ck_assert(peer_push_node(&room, bytes_of("\x09", 1)));
    struct body *const body = body_new(bytes_str("gone"));
    const struct sn_record r = {
        .type = SN_REC_SESSION,
        .client = ((uint64_t)0xABCDEF << 24) | 0x123456,
        .session = {.client_id = bytes_str("meter-7"),
                    .peer = peer_in(&room),
                    .state = SN_KEPT_ASLEEP,
                    .clean = true,
                    .keep_alive_s = 65535,
                    .sleep_s = 40000,
                    .next_msg_id = 777,
                    .connection = 65535,
                    .will = {.topic = bytes_str("will/7"), .body = body, .qos = 2, .retain = true}},
    };
    store_put(w.s, &r);
    body_unref(body);
    world_commit(&w);
    ck_assert_str_eq(
        world_reload(&w),
        "session 188900967593046 id=meter-7 asleep clean ka=65535 sleep=40000 next=777 "
        "peer=1/00124b0001020304/0708/09 will=will/7 body=gone qos=2 retain connection=65535\n");
}

END_TEST

START_TEST(a_session_without_will_or_address_comes_back_without)
{
    const struct sn_record r = {
        .type = SN_REC_SESSION,
        .client = 3,
        .session = {.client_id = bytes_str("x"), .state = SN_KEPT_AWAY},
    };
    store_put(w.s, &r);
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w), "session 3 id=x away ka=0 sleep=0 next=0 peer=-1/-\n");
}

END_TEST

static const struct {
    enum peer_kind kind;
    size_t len;
} addresses[] = {
    {PEER_IP4,    6 },
    {PEER_IP6,    22},
    {PEER_EUI64,  8 },
    {PEER_SHORT,  2 },
    {PEER_SERIAL, 0 },
    {PEER_GROUP,  1 }
};

static struct peer_room loaded_peer;

static int on_peer(void *owner, const struct sn_record *r)
{
    (void)owner;
    ck_assert_ptr_nonnull(r->session.peer);
    peer_copy(&loaded_peer, r->session.peer);
    return 0;
}

static int no_message(void *owner, const struct store_unrouted *message)
{
    (void)owner, (void)message;
    return 0;
}

static int no_sent(void *owner, uint64_t number, uint64_t client, uint64_t bytes)
{
    (void)owner;
    (void)number;
    (void)client;
    (void)bytes;
    return 0;
}

static int no_spool(void *owner, uint64_t client, uint64_t n, uint64_t bytes, uint64_t last)
{
    (void)owner, (void)client, (void)n, (void)bytes, (void)last;
    return 0;
}

START_TEST(addresses_of_every_kind_come_back)
{
    static const uint8_t octets[PEER_ADDR_MAX] = {1, 0, 3, 4, 5, 6, 7, 0, 9, 10, 11};
    const struct store_visitor visitor = {
        .record = on_peer, .message = no_message, .sent = no_sent, .spool = no_spool};
    struct peer_room room;
    peer_make(&room, 0, addresses[_i].kind, bytes_of(octets, addresses[_i].len));
    const struct sn_record r = {
        .type = SN_REC_SESSION,
        .client = 1,
        .session = {.client_id = bytes_str("x"), .peer = peer_in(&room)},
    };
    store_put(w.s, &r);
    world_commit(&w);
    world_reopen(&w);
    ck_assert_int_eq(store_load(w.s, &visitor), 0);
    ck_assert(peer_equal(peer_in(&loaded_peer), peer_in(&room)));
}

END_TEST

START_TEST(an_address_follows_the_name_of_its_link)
{
    static const char *const moved[] = {"new", "more", "udp"};
    struct peer_room room;
    peer_make(&room, 0, PEER_SHORT, bytes_of("\x12\x34", 2));
    struct sn_record r = {.type = SN_REC_SESSION, .client = 1};
    r.session.client_id = bytes_str("a");
    r.session.peer = peer_in(&room);
    store_put(w.s, &r);
    peer_make(&room, 1, PEER_SHORT, bytes_of("\x12\x34", 2));
    r.client = 2;
    r.session.client_id = bytes_str("b");
    store_put(w.s, &r);
    world_commit(&w);
    w.options.links = moved;
    w.options.n_links = 3;
    ck_assert_str_eq(world_reload(&w), "session 1 id=a away ka=0 sleep=0 next=0 peer=2/0x1234\n"
                                       "session 2 id=b away ka=0 sleep=0 next=0 peer=-1/-\n");
}

END_TEST

START_TEST(everything_of_a_session_comes_in_the_order_of_its_keys)
{
    put_session(&w, 20, "second");
    put_session(&w, 10, "first");
    put_subscription(&w, 10, "b/#", 2);
    put_subscription(&w, 10, "a", 0);
    put_topic(&w, 20, 7, "of/second");
    put_topic(&w, 10, 300, "z");
    put_exchange(&w, 10, 9);
    put_delivery(&w, 10, 12, 0, "later");
    put_delivery(&w, 10, 11, 0, "earlier");
    const struct sn_record topic = {
        .type = SN_REC_TOPIC,
        .client = 10,
        .topic = {.topic_id = 2,
                  .name = bytes_str("y"),
                  .alias = 0x6162,
                  .kind = 2,
                  .given = true,
                  .known_in = 65535,
                  .refused_in = 65534},
    };
    store_put(w.s, &topic);
    struct sn_record delivery = {.type = SN_REC_DELIVERY, .client = 20};
    delivery.delivery.number = 1;
    delivery.delivery.topic = bytes_str("t");
    delivery.delivery.qos = 2;
    delivery.delivery.retain = true;
    delivery.delivery.phase = SN_KEPT_RECEIVED;
    delivery.delivery.msg_id = 65535;
    store_put(w.s, &delivery);
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w),
                     "session 10 id=first active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  topic 2 name=y alias=24930 kind=2 given known=65535 refused=65534\n"
                     "  topic 300 name=z alias=0 kind=0\n"
                     "  exchange 9 topic=0 print=fedcba9876543210\n"
                     "  subscription filter=a qos=0\n"
                     "  subscription filter=b/# qos=2\n"
                     "  delivery 11 journal=0 topic=down body=earlier qos=1 waiting id=0\n"
                     "  delivery 12 journal=0 topic=down body=later qos=1 waiting id=0\n"
                     "session 20 id=second active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  topic 7 name=of/second alias=0 kind=0\n"
                     "  delivery 1 journal=0 topic=t body= qos=2 retain received id=65535\n");
}

END_TEST

START_TEST(text_may_hold_any_octet)
{
    const struct sn_record r = {
        .type = SN_REC_SESSION,
        .client = 1,
        .session = {.client_id = bytes_of("a\0\xff'b", 5)},
    };
    const struct sn_record sub = {.type = SN_REC_SUBSCRIPTION,
                                  .client = 1,
                                  .subscription = {.filter = bytes_of("\0\xc3", 2)}};
    store_put(w.s, &r);
    store_put(w.s, &sub);
    world_commit(&w);
    static const char expected[] = "session 1 id=a";
    const char *const got = world_reload(&w);
    ck_assert(memcmp(got, expected, sizeof expected - 1) == 0);
    ck_assert_str_eq(world_sql(&w, "SELECT hex(client_id) FROM session"), "6100FF2762");
    ck_assert_str_eq(world_sql(&w, "SELECT hex(filter) FROM subscription"), "00C3");
}

END_TEST

START_TEST(a_row_is_written_over_and_goes)
{
    put_session(&w, 1, "a");
    put_topic(&w, 1, 1, "old");
    put_topic(&w, 1, 2, "gone");
    put_exchange(&w, 1, 1);
    put_subscription(&w, 1, "f", 0);
    put_subscription(&w, 1, "g", 0);
    put_delivery(&w, 1, 1, 0, "old");
    put_delivery(&w, 1, 2, 0, "gone");
    world_commit(&w);
    put_session(&w, 1, "b");
    put_topic(&w, 1, 1, "new");
    put_gone(&w, SN_REC_TOPIC_GONE, 1, 2);
    put_gone(&w, SN_REC_EXCHANGE_GONE, 1, 1);
    put_subscription(&w, 1, "f", 2);
    const struct sn_record gone = {
        .type = SN_REC_SUBSCRIPTION_GONE, .client = 1, .subscription = {.filter = bytes_str("g")}};
    store_put(w.s, &gone);
    put_delivery(&w, 1, 1, 0, "new");
    put_gone(&w, SN_REC_DELIVERY_GONE, 1, 2);
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w),
                     "session 1 id=b active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  topic 1 name=new alias=0 kind=0\n"
                     "  subscription filter=f qos=2\n"
                     "  delivery 1 journal=0 topic=down body=new qos=1 waiting id=0\n");
}

END_TEST

START_TEST(a_session_takes_everything_along_but_the_spool)
{
    const uint64_t journal = world_message(&w, "down", "for one");
    for (uint64_t client = 1; client <= 2; client++) {
        put_session(&w, client, "x");
        put_topic(&w, client, 1, "t");
        put_exchange(&w, client, 1);
        put_subscription(&w, client, "f", 0);
        put_delivery(&w, client, 1, 0, "own");
    }
    put_spool(&w, 1, 2, "kept");
    put_delivery(&w, 1, 2, journal, "");
    put_routed(&w, journal);
    world_commit(&w);
    put_gone(&w, SN_REC_SESSION_GONE, 1, 0);
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w),
                     "session 2 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  topic 1 name=t alias=0 kind=0\n"
                     "  exchange 1 topic=0 print=fedcba9876543210\n"
                     "  subscription filter=f qos=0\n"
                     "  delivery 1 journal=0 topic=down body=own qos=1 waiting id=0\n"
                     "spool 1: 1, 6 octets, last 2\n"
                     "spool 0: 0, 0 octets, last 2\n");
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM message"), "0");
}

END_TEST

START_TEST(what_is_with_paho_is_told_apart_from_what_waits)
{
    const struct bytes part = bytes_str("packet");
    put_spool(&w, 1, 1, "kept");
    put_spool(&w, 1, 2, "given");
    put_spool(&w, 2, 3, "given");
    world_commit(&w);
    store_spool_sending(w.s, 2, 7);
    store_spool_sending(w.s, 3, 8);
    ck_assert_int_eq(store_packet_put(w.s, 0, "s-7", &part, 1), 0);
    ck_assert_int_eq(store_packet_put(w.s, 0, "s-8", &part, 1), 0);
    ck_assert_str_eq(world_reload(&w), "sent 2 of 1: 7 octets\n"
                                       "sent 3 of 2: 7 octets\n"
                                       "spool 1: 1, 6 octets, last 3\n"
                                       "spool 0: 0, 0 octets, last 3\n");
}

END_TEST

/* ---- messages from the broker ---------------------------------------------------------------- */

START_TEST(a_message_that_was_not_routed_comes_back_in_order)
{
    ck_assert_uint_eq(store_message(w.s, 0,
                                    &(struct store_incoming){.topic = bytes_str("t"),
                                                             .payload = bytes_of(NULL, 0),
                                                             .qos = 2,
                                                             .retain = true},
                                    NULL),
                      1);
    ck_assert_uint_eq(world_message(&w, "u", "two"), 2);
    ck_assert_str_eq(world_reload(&w), "message 1 topic=t body= qos=2 retain\n"
                                       "message 2 topic=u body=two qos=1\n");
    ck_assert_uint_eq(world_message(&w, "u", "three"), 3);
}

END_TEST

START_TEST(a_message_routed_to_nobody_goes)
{
    put_routed(&w, world_message(&w, "t", "x"));
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w), "");
}

END_TEST

START_TEST(a_message_stays_until_the_last_delivery_has_gone)
{
    const uint64_t journal = world_message(&w, "t", "shared");
    /* ROUTED first: the order within a batch is not promised. */
    put_routed(&w, journal);
    for (uint64_t client = 1; client <= 2; client++) {
        put_session(&w, client, "x");
        put_delivery(&w, client, 5, journal, "not stored twice");
    }
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w),
                     "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  delivery 5 journal=1 topic=t body=shared qos=1 waiting id=0\n"
                     "session 2 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                     "  delivery 5 journal=1 topic=t body=shared qos=1 waiting id=0\n");
    put_gone(&w, SN_REC_DELIVERY_GONE, 1, 5);
    world_commit(&w);
    ck_assert_str_eq(world_sql(&w, "SELECT body FROM message"), "shared");
    put_gone(&w, SN_REC_DELIVERY_GONE, 2, 5);
    world_commit(&w);
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM message"), "0");
}

END_TEST

START_TEST(a_message_delivered_before_the_commit_leaves_nothing)
{
    put_session(&w, 1, "x");
    world_commit(&w);
    const uint64_t journal = world_message(&w, "t", "x");
    put_delivery(&w, 1, 1, journal, "");
    put_routed(&w, journal);
    put_gone(&w, SN_REC_DELIVERY_GONE, 1, 1);
    world_commit(&w);
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM message"), "0");
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM delivery"), "0");
}

END_TEST

/* ---- the file -------------------------------------------------------------------------------- */

START_TEST(the_seed_stays)
{
    uint8_t seed[16];
    memcpy(seed, store_seed(w.s), sizeof seed);
    world_reopen(&w);
    ck_assert_mem_eq(seed, store_seed(w.s), sizeof seed);
}

END_TEST

START_TEST(nobody_else_may_read_the_files)
{
    static const char *const names[] = {"sennet.db", "sennet.db-wal", "sennet.db-shm",
                                        "sennet.lock"};
    put_session(&w, 1, "x");
    world_commit(&w);
    for (size_t i = 0; i < 4; i++) {
        struct stat st;
        ck_assert_msg(stat(world_path(&w, names[i]), &st) == 0, "%s", names[i]);
        ck_assert_uint_eq(st.st_mode & 0777, 0600);
    }
}

END_TEST

START_TEST(a_second_daemon_is_refused_with_the_pid_of_the_first)
{
    struct store *second = NULL;
    char error[512];
    char pid[32];
    snprintf(pid, sizeof pid, "pid %ld;", (long)getpid());
    ck_assert_int_eq(store_open(&w.options, NULL, NULL, &second, error, sizeof error), 73);
    ck_assert_ptr_nonnull(strstr(error, pid));
    ck_assert_ptr_nonnull(strstr(error, w.dir));
}

END_TEST

START_TEST(a_memory_store_works_alike_and_forgets)
{
    put_session(&w, 1, "x");
    put_spool(&w, 1, 1, "kept");
    world_commit(&w);
    ck_assert_uint_eq(world_message(&w, "t", "m"), 1);
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 1000).n, 1);
    ck_assert_str_eq(world_load(&w), "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n"
                                     "message 1 topic=t body=m qos=1\n"
                                     "spool 1: 1, 6 octets, last 1\n"
                                     "spool 0: 0, 0 octets, last 1\n");
    ck_assert_str_eq(world_reload(&w), "");
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store");
    TCase *const file = tcase_create("file");
    tcase_add_checked_fixture(file, setup, teardown);
    tcase_add_test(file, a_session_comes_back_with_all_its_fields);
    tcase_add_test(file, a_session_without_will_or_address_comes_back_without);
    tcase_add_loop_test(file, addresses_of_every_kind_come_back, 0,
                        sizeof addresses / sizeof addresses[0]);
    tcase_add_test(file, an_address_follows_the_name_of_its_link);
    tcase_add_test(file, everything_of_a_session_comes_in_the_order_of_its_keys);
    tcase_add_test(file, text_may_hold_any_octet);
    tcase_add_test(file, a_row_is_written_over_and_goes);
    tcase_add_test(file, a_session_takes_everything_along_but_the_spool);
    tcase_add_test(file, what_is_with_paho_is_told_apart_from_what_waits);
    tcase_add_test(file, a_message_that_was_not_routed_comes_back_in_order);
    tcase_add_test(file, a_message_routed_to_nobody_goes);
    tcase_add_test(file, a_message_stays_until_the_last_delivery_has_gone);
    tcase_add_test(file, a_message_delivered_before_the_commit_leaves_nothing);
    tcase_add_test(file, the_seed_stays);
    tcase_add_test(file, nobody_else_may_read_the_files);
    tcase_add_test(file, a_second_daemon_is_refused_with_the_pid_of_the_first);
    suite_add_tcase(suite, file);
    TCase *const memory = tcase_create("memory");
    tcase_add_checked_fixture(memory, setup_memory, teardown);
    tcase_add_test(memory, a_memory_store_works_alike_and_forgets);
    suite_add_tcase(suite, memory);
    return run_suite(suite);
}
