/* SPDX-License-Identifier: Apache-2.0 */
/* The spool, Paho's packets, and how they belong together. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault_vfs.h"
#include "store_world.h"
#include "suite.h"

int __real_clock_gettime(clockid_t clock, struct timespec *out);
int __wrap_clock_gettime(clockid_t clock, struct timespec *out);

static struct store_world w;
static struct fault_disk *disk;
static time_t later_s; /* than it is */

int __wrap_clock_gettime(clockid_t clock, struct timespec *out)
{
    const int rc = __real_clock_gettime(clock, out);
    out->tv_sec += __atomic_load_n(&later_s, __ATOMIC_RELAXED);
    return rc;
}

static void pass_s(time_t seconds)
{
    __atomic_fetch_add(&later_s, seconds, __ATOMIC_RELAXED);
}

/* Check measures how long a test takes by the same clock. */
static void as_it_was(void)
{
    __atomic_store_n(&later_s, 0, __ATOMIC_RELAXED);
}

static void setup(void)
{
    world_init(&w);
    w.options.linger_ms = 0;
    w.options.lazy_ms = 0;
    world_open(&w);
}

static void setup_disk(void)
{
    disk = fault_disk_new("disk");
    world_init(&w);
    w.options.vfs = "disk";
    w.options.linger_ms = 0;
    w.options.lazy_ms = 1000000;
    world_open(&w);
}

static void teardown(void)
{
    world_deinit(&w);
    if (disk != NULL)
        fault_disk_free(disk);
    disk = NULL;
}

/* ---- fetching -------------------------------------------------------------------------------- */

START_TEST(spooled_messages_come_with_all_their_fields)
{
    struct body *const body = body_new(bytes_str("on fire"));
    const struct sn_record r = {
        .type = SN_REC_SPOOL,
        .client = ((uint64_t)0xFFFFFF << 24) | 0xFFFFFF,
        .spool = {.number = store_sink_base(1) - 1,
                  .topic = bytes_str("a/b"),
                  .body = body,
                  .qos = 2,
                  .retain = true,
                  .will = true},
    };
    const struct sn_record empty = {
        .type = SN_REC_SPOOL,
        .client = SN_NO_CLIENT,
        .spool = {.number = 1, .topic = bytes_str("t")},
    };
    store_put(w.s, &r);
    store_put(w.s, &empty);
    body_unref(body);
    world_commit(&w);
    world_reopen(&w);
    const struct store_event e = world_fetch(&w, 0, 10, 1000);
    ck_assert(!e.failed);
    ck_assert_uint_eq(e.n, 2);
    ck_assert_uint_eq(e.rows[0].number, 1);
    ck_assert_uint_eq(e.rows[0].client, SN_NO_CLIENT);
    ck_assert_ptr_null(e.rows[0].body);
    ck_assert(!e.rows[0].retain && !e.rows[0].will);
    ck_assert_uint_eq(e.rows[1].number, store_sink_base(1) - 1);
    ck_assert_uint_eq(e.rows[1].client, ((uint64_t)0xFFFFFF << 24) | 0xFFFFFF);
    ck_assert(bytes_equal(e.rows[1].topic, bytes_str("a/b")));
    ck_assert(bytes_equal(body_bytes(e.rows[1].body), bytes_str("on fire")));
    ck_assert_uint_eq(e.rows[1].qos, 2);
    ck_assert(e.rows[1].retain && e.rows[1].will);
}

END_TEST

START_TEST(a_fetch_goes_on_above_a_number_and_ends_empty)
{
    for (uint64_t number = 10; number >= 1; number--)
        put_spool(&w, 1, number, "x");
    world_commit(&w);
    uint64_t after = 2;
    unsigned fetches = 0;
    for (struct store_event e; (e = world_fetch(&w, after, 3, 1000)).n > 0; fetches++) {
        for (size_t i = 0; i < e.n; i++)
            ck_assert_uint_eq(e.rows[i].number, ++after);
    }
    ck_assert_uint_eq(after, 10);
    ck_assert_uint_eq(fetches, 3);
}

END_TEST

START_TEST(a_fetch_brings_about_so_many_octets_and_at_least_one_message)
{
    for (uint64_t number = 1; number <= 10; number++)
        put_spool(&w, 1, number, "12345678"); /* and two of the topic */
    world_commit(&w);
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 1).n, 1);
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 30).n, 3);
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 31).n, 4);
}

END_TEST

START_TEST(a_fetch_sees_what_was_flushed_before)
{
    for (uint64_t number = 1; number <= 200; number++) {
        put_spool(&w, 1, number, "x");
        if (number > 1)
            put_gone(&w, SN_REC_SPOOL_GONE, 1, number - 1);
        store_flush(w.s);
        const struct store_event e = world_fetch(&w, 0, 10, 1000);
        ck_assert_uint_eq(e.n, 1);
        ck_assert_uint_eq(e.rows[0].number, number);
    }
}

END_TEST

START_TEST(loading_tells_how_much_waits_per_client)
{
    put_spool(&w, 7, 1, "1234");
    put_spool(&w, 7, 2, "");
    put_spool(&w, 7, 9, "1");
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w), "spool 7: 3, 11 octets, last 9\n"
                                       "spool 0: 0, 0 octets, last 9\n");
}

END_TEST

/* ---- age ------------------------------------------------------------------------------------- */

START_TEST(only_the_time_in_which_the_gateway_runs_makes_old)
{
    put_spool(&w, 1, 1, "x");
    world_commit(&w);
    pass_s(100);
    put_spool(&w, 1, 2, "x");
    world_commit(&w);
    pass_s(20);
    struct store_event e = world_fetch(&w, 0, 10, 1000);
    ck_assert_int_ge(e.rows[0].age_ms, 120000);
    ck_assert_int_lt(e.rows[0].age_ms, 150000);
    ck_assert_int_ge(e.rows[1].age_ms, 20000);
    ck_assert_int_lt(e.rows[1].age_ms, 50000);

    world_close(&w);
    pass_s(5000);
    world_open(&w);
    e = world_fetch(&w, 0, 10, 1000);
    ck_assert_int_ge(e.rows[0].age_ms, 120000);
    ck_assert_int_lt(e.rows[0].age_ms, 180000);
    ck_assert_int_ge(e.rows[1].age_ms, 20000);
    ck_assert_int_lt(e.rows[1].age_ms, 80000);
    world_close(&w);
    as_it_was();
}

END_TEST

START_TEST(a_message_that_is_put_again_stays_as_old_as_it_is)
{
    put_spool(&w, 1, 1, "x");
    world_commit(&w);
    pass_s(100);
    put_spool(&w, 1, 1, "x");
    world_commit(&w);
    ck_assert_int_ge(world_fetch(&w, 0, 10, 1000).rows[0].age_ms, 100000);
    world_close(&w);
    as_it_was();
}

END_TEST

START_TEST(a_clock_that_starts_again_makes_nothing_younger)
{
    pass_s(1000000);
    put_spool(&w, 1, 1, "x");
    world_commit(&w);
    pass_s(100);
    world_close(&w);
    pass_s(-900000); /* a machine that was booted */
    world_open(&w);
    pass_s(10);
    const struct store_event e = world_fetch(&w, 0, 10, 1000);
    ck_assert_int_ge(e.rows[0].age_ms, 110000);
    ck_assert_int_lt(e.rows[0].age_ms, 170000);
    world_close(&w);
    as_it_was();
}

END_TEST

START_TEST(the_clock_of_an_old_backlog_goes_on_with_other_commits)
{
    put_spool(&w, 1, 1, "x");
    world_commit(&w);
    pass_s(3 * 3600);
    put_session(&w, 1, "x");
    world_commit(&w);
    ck_assert_int_ge(
        strtoll(world_sql(&w, "SELECT value FROM meta WHERE name = 'clock_ms'"), NULL, 10),
        3 * 3600 * 1000LL);
    world_close(&w);
    as_it_was();
}

END_TEST

/* ---- packets --------------------------------------------------------------------------------- */

static void put_packet(const char *key, const char *a, const char *b)
{
    const struct bytes parts[] = {bytes_str(a), bytes_of(NULL, 0), bytes_str(b)};
    ck_assert_int_eq(store_packet_put(w.s, 0, key, parts, 3), 0);
}

static const char *get_packet(const char *key)
{
    static char out[100];
    void *data = NULL;
    size_t len = 0;
    const int rc = store_packet_get(w.s, 0, key, &data, &len);
    if (rc == -ENOENT)
        return NULL;
    ck_assert_int_eq(rc, 0);
    snprintf(out, sizeof out, "%.*s", (int)len, (const char *)data);
    free(data);
    return out;
}

static int join_keys(void *owner, const char *key)
{
    char *const out = owner;
    strcat(strcat(out, key), " ");
    return strcmp(key, "stop") == 0 ? 42 : 0;
}

static const char *keys(void)
{
    static char out[500];
    out[0] = '\0';
    ck_assert_int_eq(store_packet_each(w.s, 0, join_keys, out), 0);
    return out;
}

START_TEST(packets_are_put_replaced_read_and_removed)
{
    put_packet("s-1", "first", "");
    put_packet("s-1", "second ", "time");
    put_packet("r-1", "", "");
    world_reopen(&w);
    ck_assert_str_eq(get_packet("s-1"), "second time");
    ck_assert_str_eq(get_packet("r-1"), "");
    ck_assert_ptr_null(get_packet("s-2"));
    ck_assert_str_eq(keys(), "r-1 s-1 ");
    store_packet_remove(w.s, 0, "s-1", 0);
    store_packet_remove(w.s, 0, "never there", 0);
    ck_assert_str_eq(keys(), "r-1 ");
    store_packets_clear(w.s, 0);
    ck_assert_ptr_null(get_packet("r-1"));
    ck_assert_str_eq(keys(), "");
}

END_TEST

START_TEST(each_ends_when_the_handler_says_so)
{
    char out[100] = "";
    put_packet("a", "x", "");
    put_packet("stop", "x", "");
    put_packet("z", "x", "");
    ck_assert_int_eq(store_packet_each(w.s, 0, join_keys, out), 42);
    ck_assert_str_eq(out, "a stop ");
}

END_TEST

START_TEST(a_stored_message_takes_the_received_packet_along)
{
    put_packet("r-7", "x", "");
    ck_assert_uint_eq(
        store_message(
            w.s, 0,
            &(struct store_incoming){.topic = bytes_str("t"), .payload = bytes_str("m"), .qos = 2},
            "r-7"),
        1);
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM packet"), "0");
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM message"), "1");
}

END_TEST

/* ---- packets and the spool ------------------------------------------------------------------- */

START_TEST(what_is_with_paho_is_not_fetched_and_is_known_after_a_restart)
{
    for (uint64_t number = 1; number <= 4; number++)
        put_spool(&w, 1, number, "x");
    store_flush(w.s);
    store_spool_sending(w.s, 2, 200);
    store_spool_sending(w.s, 3, 300);
    put_packet("s-200", "x", "");
    put_packet("s-300", "x", "");
    put_packet("sc-300", "x", "");
    ck_assert_uint_eq(world_fetch(&w, 0, 2, 1000).n, 2);
    world_reopen(&w);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 200), 2);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 300), 3);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 400), 0);
    ck_assert_str_eq(world_load(&w), "sent 2 of 1: 3 octets\n"
                                     "sent 3 of 1: 3 octets\n"
                                     "spool 1: 2, 6 octets, last 4\n"
                                     "spool 0: 0, 0 octets, last 4\n");
    const struct store_event e = world_fetch(&w, 0, 10, 1000);
    ck_assert_uint_eq(e.n, 2);
    ck_assert_uint_eq(e.rows[0].number, 1);
    ck_assert_uint_eq(e.rows[1].number, 4);
}

END_TEST

START_TEST(the_last_packet_takes_the_spooled_message_along)
{
    put_spool(&w, 1, 1, "x");
    put_spool(&w, 1, 2, "x");
    store_flush(w.s);
    store_spool_sending(w.s, 1, 10);
    put_packet("s-10", "x", "");
    store_packet_remove(w.s, 0, "s-10", 10);
    store_packet_remove(w.s, 0, "s-11", 11); /* of a live message */
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 10), 0);
    ck_assert_str_eq(world_reload(&w), "spool 1: 1, 3 octets, last 2\n"
                                       "spool 0: 0, 0 octets, last 2\n");
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 10), 0);
    ck_assert_str_eq(keys(), "");
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM sending"), "0");
}

END_TEST

/* Paho removes its packet, and the session says the same of the message a moment later. */
START_TEST(a_message_that_is_complete_leaves_no_trace_when_it_is_said_twice_in_one_commit)
{
    for (unsigned packet_id = 10; packet_id < 20; packet_id++) {
        char key[16];
        snprintf(key, sizeof key, "s-%u", packet_id);
        put_spool(&w, 1, packet_id, "x");
        store_flush(w.s);
        store_spool_sending(w.s, packet_id, packet_id);
        put_packet(key, "x", "");
    }
    for (unsigned packet_id = 10; packet_id < 20; packet_id++) {
        char key[16];
        snprintf(key, sizeof key, "s-%u", packet_id);
        store_packet_remove(w.s, 0, key, packet_id);
        put_gone(&w, SN_REC_SPOOL_GONE, 0, packet_id);
        store_flush(w.s);
    }
    world_close(&w);
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM spool"), "0");
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM packet"), "0");
    ck_assert_str_eq(world_sql(&w, "SELECT count(*) FROM sending"), "0");
}

END_TEST

START_TEST(a_packet_id_used_again_means_the_later_message)
{
    put_spool(&w, 1, 1, "x");
    put_spool(&w, 1, 2, "x");
    store_flush(w.s);
    store_spool_sending(w.s, 1, 10);
    put_packet("s-10", "x", "");
    store_spool_sending(w.s, 2, 10);
    put_packet("s-10", "x", "");
    world_reopen(&w);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 10), 2);
    const struct store_event e = world_fetch(&w, 0, 10, 1000);
    ck_assert_uint_eq(e.n, 1);
    ck_assert_uint_eq(e.rows[0].number, 1);
}

END_TEST

START_TEST(a_spooled_message_that_goes_is_with_nobody)
{
    put_spool(&w, 1, 1, "x");
    store_flush(w.s);
    store_spool_sending(w.s, 1, 10);
    put_packet("s-10", "x", "");
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 1);
    world_commit(&w);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 10), 0);
    world_reopen(&w);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 10), 0);
}

END_TEST

START_TEST(a_message_whose_packet_was_never_stored_is_fetched_again)
{
    put_spool(&w, 1, 1, "x");
    store_flush(w.s);
    store_spool_sending(w.s, 1, 10);
    put_packet("s-9", "another", "");
    put_packet("r-10", "a received one", "");
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 1000).n, 0);
    world_reopen(&w);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 10), 0);
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 1000).n, 1);
}

END_TEST

START_TEST(a_broker_that_forgot_everything_gets_all_again)
{
    put_spool(&w, 1, 1, "x");
    store_flush(w.s);
    store_spool_sending(w.s, 1, 10);
    put_packet("s-10", "x", "");
    store_packets_clear(w.s, 0);
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 1000).n, 1);
    world_reopen(&w);
    ck_assert_uint_eq(store_spool_sent_as(w.s, 0, 10), 0);
    ck_assert_uint_eq(world_fetch(&w, 0, 10, 1000).n, 1);
    ck_assert_str_eq(keys(), "");
}

END_TEST

/* ---- room ------------------------------------------------------------------------------------ */

static char payload[1025];

START_TEST(there_is_room_up_to_nine_tenths_and_again_when_messages_have_gone)
{
    w.options.max_bytes = 1 << 20;
    world_reopen(&w);
    memset(payload, 'x', sizeof payload - 1);
    uint64_t number = 0;
    while (store_room(w.s, sizeof payload)) {
        put_spool(&w, 1, ++number, payload);
        world_commit(&w);
        ck_assert_uint_lt(number, 1024);
    }
    /* A row of 1 KiB shares its page with two others. */
    ck_assert_uint_gt(number, 600);
    for (uint64_t n = 1; n <= number / 2; n++)
        put_gone(&w, SN_REC_SPOOL_GONE, 1, n);
    world_commit(&w);
    ck_assert(store_room(w.s, sizeof payload));
    ck_assert(!store_gauges(w.s).failing);
    /* What was freed is used again: the file does not grow. */
    const uint64_t bytes = store_gauges(w.s).file_bytes;
    for (uint64_t n = 1; n <= number / 4; n++)
        put_spool(&w, 1, ++number, payload);
    world_commit(&w);
    ck_assert_uint_le(store_gauges(w.s).file_bytes, bytes + (1 << 20));
    ck_assert_int_le(strtol(world_sql(&w, "PRAGMA page_count"), NULL, 10), (1 << 20) / 4096);
}

END_TEST

START_TEST(there_is_no_room_behind_a_queue_that_is_half_full)
{
    w.options.max_queued_bytes = 100000;
    world_reopen(&w);
    memset(payload, 'x', sizeof payload - 1);
    unsigned n = 0;
    while (store_room(w.s, sizeof payload) && n < 100)
        put_spool(&w, 1, ++n, payload);
    ck_assert_uint_gt(n, 40);
    ck_assert_uint_lt(n, 50);
}

END_TEST

/* ---- what is not written --------------------------------------------------------------------- */

START_TEST(what_comes_and_goes_between_two_commits_is_not_written)
{
    const uint64_t before = fault_disk_figures(disk).writes;
    for (uint64_t number = 1; number <= 100; number++) {
        put_spool(&w, 1, number, "x");
        put_gone(&w, SN_REC_SPOOL_GONE, 1, number);
        put_delivery(&w, 1, number, 0, "x");
        put_gone(&w, SN_REC_DELIVERY_GONE, 1, number);
        put_exchange(&w, 1, (uint16_t)number);
        put_gone(&w, SN_REC_EXCHANGE_GONE, 1, number);
    }
    world_commit(&w);
    ck_assert_uint_eq(fault_disk_figures(disk).writes, before);
}

END_TEST

START_TEST(what_binds_nobody_waits_for_what_does)
{
    const uint64_t journal = world_message(&w, "t", "x");
    const uint64_t before = fault_disk_figures(disk).writes;
    const uint64_t batch = store_batch(w.s);
    put_delivery(&w, 1, 1, journal, "");
    put_routed(&w, journal);
    store_flush(w.s);
    put_gone(&w, SN_REC_DELIVERY_GONE, 1, 1);
    store_flush(w.s);
    put_gone(&w, SN_REC_SPOOL_GONE, 1, 1);
    store_flush(w.s);
    ck_assert_uint_lt(store_committed(w.s), batch);
    ck_assert_uint_eq(fault_disk_figures(disk).writes, before);
    put_session(&w, 1, "x");
    world_commit(&w);
    ck_assert_str_eq(world_reload(&w), "session 1 id=x active ka=60 sleep=0 next=0 peer=-1/-\n");
}

END_TEST

int main(void)
{
    Suite *const suite = suite_create("store: spool and packets");
    TCase *const file = tcase_create("file");
    tcase_add_checked_fixture(file, setup, teardown);
    tcase_add_test(file, spooled_messages_come_with_all_their_fields);
    tcase_add_test(file, a_fetch_goes_on_above_a_number_and_ends_empty);
    tcase_add_test(file, a_fetch_brings_about_so_many_octets_and_at_least_one_message);
    tcase_add_test(file, a_fetch_sees_what_was_flushed_before);
    tcase_add_test(file, loading_tells_how_much_waits_per_client);
    tcase_add_test(file, only_the_time_in_which_the_gateway_runs_makes_old);
    tcase_add_test(file, a_message_that_is_put_again_stays_as_old_as_it_is);
    tcase_add_test(file, a_clock_that_starts_again_makes_nothing_younger);
    tcase_add_test(file, the_clock_of_an_old_backlog_goes_on_with_other_commits);
    tcase_add_test(file, packets_are_put_replaced_read_and_removed);
    tcase_add_test(file, each_ends_when_the_handler_says_so);
    tcase_add_test(file, a_stored_message_takes_the_received_packet_along);
    tcase_add_test(file, what_is_with_paho_is_not_fetched_and_is_known_after_a_restart);
    tcase_add_test(file, the_last_packet_takes_the_spooled_message_along);
    tcase_add_test(file,
                   a_message_that_is_complete_leaves_no_trace_when_it_is_said_twice_in_one_commit);
    tcase_add_test(file, a_packet_id_used_again_means_the_later_message);
    tcase_add_test(file, a_spooled_message_that_goes_is_with_nobody);
    tcase_add_test(file, a_message_whose_packet_was_never_stored_is_fetched_again);
    tcase_add_test(file, a_broker_that_forgot_everything_gets_all_again);
    tcase_add_test(file, there_is_room_up_to_nine_tenths_and_again_when_messages_have_gone);
    tcase_add_test(file, there_is_no_room_behind_a_queue_that_is_half_full);
    suite_add_tcase(suite, file);
    TCase *const written = tcase_create("written");
    tcase_add_checked_fixture(written, setup_disk, teardown);
    tcase_add_test(written, what_comes_and_goes_between_two_commits_is_not_written);
    tcase_add_test(written, what_binds_nobody_waits_for_what_does);
    suite_add_tcase(suite, written);
    return run_suite(suite);
}
