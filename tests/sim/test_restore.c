/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows that an engine gets back from a store: of another configuration, or contradictory. That good
 * ones bring everything back is told by the stories (restart_*.sn).
 */
#include <stdio.h>
#include <string.h>

#include <check.h>

#include "mqttsn/engine_priv.h"
#include "unit/suite.h"

#define KEY(generation, slot) ((uint64_t)(generation) << SN_CLIENT_SLOT_BITS | (slot))

enum { NOW_MS = 5000 };

/* ---- rows ------------------------------------------------------------------------------------ */

static struct sn_record session_row(uint64_t key, const char *id)
{
    return (struct sn_record){
        .type = SN_REC_SESSION,
        .client = key,
        .session = {.client_id = bytes_str(id),
                    .state = SN_KEPT_ACTIVE,
                    .keep_alive_s = 100,
                    .sleep_s = 100,
                    .next_msg_id = 7},
    };
}

static struct sn_record topic_row(uint64_t key, uint16_t id, const char *name, bool given)
{
    return (struct sn_record){
        .type = SN_REC_TOPIC,
        .client = key,
        .topic = {.topic_id = id, .name = bytes_str(name), .given = given},
    };
}

static struct sn_record exchange_row(uint64_t key, uint16_t msg_id)
{
    return (struct sn_record){
        .type = SN_REC_EXCHANGE, .client = key, .exchange = {.msg_id = msg_id, .print = msg_id}
    };
}

static struct sn_record delivery_row(uint64_t key, uint64_t number, uint8_t qos,
                                     enum sn_kept_phase phase)
{
    return (struct sn_record){
        .type = SN_REC_DELIVERY,
        .client = key,
        .delivery = {.number = number,
                     .topic = bytes_str("t"),
                     .qos = qos,
                     .phase = phase,
                     .msg_id = phase != SN_KEPT_WAITING ? 3 : 0},
    };
}

/* ---- an engine to restore into --------------------------------------------------------------- */

static struct sn_engine *make(struct sn_engine_config *config)
{
    static const struct sn_client_section sections[] = {
        {"denied*", {.allow = SN_NO}},
        {"low*",    {.max_qos = 2}  }
    };
    static const struct sn_predefined predefined = {.topic_id = 5, .topic = "pre/five"};
    static const struct sn_topics_section topics = {.entries = &predefined, .n_entries = 1};
    static const struct sn_link_limits links = {.max_packet_bytes = 1000};

    config->journal = true;
    config->clients = sections;
    config->n_clients = 2;
    config->topics = &topics;
    config->n_topics = 1;
    config->links = &links;
    config->n_links = 1;
    struct sn_engine *e = sn_engine_new(config, NOW_MS);
    ck_assert_ptr_nonnull(e);
    return e;
}

static struct sn_engine *make_default(void)
{
    struct sn_engine_config config = sn_engine_defaults();
    return make(&config);
}

static int restore(struct sn_engine *e, struct sn_record row)
{
    return sn_engine_restore(e, &row);
}

static void good(struct sn_engine *e, struct sn_record row)
{
    ck_assert_int_eq(restore(e, row), 0);
}

/* Left out, and the store is told to forget exactly that. */
static void bad(struct sn_engine *e, struct sn_record row, enum sn_record_type gone)
{
    struct sn_record r;
    ck_assert_int_eq(restore(e, row), 1);
    ck_assert(sn_engine_peek_record(e, &r));
    ck_assert_int_eq(r.type, gone);
    ck_assert_uint_eq(r.client, row.client);
    if (gone == SN_REC_TOPIC_GONE)
        ck_assert_uint_eq(r.topic.topic_id, row.topic.topic_id);
    if (gone == SN_REC_EXCHANGE_GONE)
        ck_assert_uint_eq(r.exchange.msg_id, row.exchange.msg_id);
    if (gone == SN_REC_DELIVERY_GONE)
        ck_assert_uint_eq(r.delivery.number, row.delivery.number);
    sn_engine_done_record(e);
    ck_assert(!sn_engine_peek_record(e, &r));
}

static void drain(struct sn_engine *e)
{
    struct sn_outgoing packet;
    struct sn_request request;
    struct sn_record record;
    for (; sn_engine_peek_packet(e, &packet); sn_engine_done_packet(e))
        ;
    for (; sn_engine_peek_request(e, &request); sn_engine_done_request(e))
        ;
    for (; sn_engine_peek_record(e, &record); sn_engine_done_record(e))
        ;
    for (; log_peek(sn_engine_log(e)) != NULL; log_done(sn_engine_log(e)))
        ;
}

/* It works, and gives back everything it has taken (sn_engine_free() asserts). */
static void finish(struct sn_engine *e)
{
    sn_engine_restored(e, NOW_MS);
    drain(e);
    sn_engine_advance(e, NOW_MS + INT64_C(30) * 24 * 3600 * 1000);
    ck_assert_int_gt(sn_engine_next_deadline(e), NOW_MS);
    drain(e);
    sn_engine_free(e);
}

/* ---- contradictions -------------------------------------------------------------------------- */

START_TEST(a_session_that_contradicts_itself_is_left_out)
{
    struct sn_engine *e = make_default();
    static const char text300[301];
    struct sn_record row = session_row(KEY(1, 0), "a");
    bad(e, session_row(0, "a"), SN_REC_SESSION_GONE);
    bad(e, session_row(KEY(0, 5), "a"), SN_REC_SESSION_GONE);
    bad(e, session_row(UINT64_C(1) << SN_CLIENT_KEY_BITS | KEY(1, 1), "a"), SN_REC_SESSION_GONE);
    bad(e, session_row(KEY(1, (1U << SN_CLIENT_SLOT_BITS) - 1), "a"), SN_REC_SESSION_GONE);
    bad(e, session_row(KEY(1, 0), ""), SN_REC_SESSION_GONE);
    bad(e, session_row(KEY(1, 0), "\xFF"), SN_REC_SESSION_GONE);
    row.session.client_id = bytes_of(text300, 300);
    bad(e, row, SN_REC_SESSION_GONE);
    row = session_row(KEY(1, 0), "a");
    row.session.state = (enum sn_kept_state)3;
    bad(e, row, SN_REC_SESSION_GONE);
    row.session.state = SN_KEPT_AWAY;
    row.session.clean = true;
    bad(e, row, SN_REC_SESSION_GONE);
    row.session.state = SN_KEPT_ASLEEP;
    row.session.sleep_s = 0;
    bad(e, row, SN_REC_SESSION_GONE);
    row = session_row(KEY(1, 0), "a");
    row.session.will = (struct sn_will_view){.topic = bytes_str("w/#")};
    bad(e, row, SN_REC_SESSION_GONE);
    row.session.will = (struct sn_will_view){.topic = bytes_str("w"), .qos = 3};
    bad(e, row, SN_REC_SESSION_GONE);
    ck_assert_uint_eq(sn_engine_gauges(e).clients, 0);
    /* The broker side hears that each of these is over. */
    struct sn_request request;
    ck_assert(sn_engine_peek_request(e, &request));
    ck_assert_int_eq(request.type, SN_REQ_CLOSE);
    ck_assert(request.close.discard);
    good(e, session_row(KEY(1, 0), "a"));
    bad(e, session_row(KEY(2, 1), "a"), SN_REC_SESSION_GONE);
    bad(e, session_row(KEY(2, 0), "b"), SN_REC_SESSION_GONE);
    ck_assert_uint_eq(sn_engine_gauges(e).clients, 1);
    finish(e);
}

END_TEST

START_TEST(a_topic_that_contradicts_itself_is_left_out)
{
    struct sn_engine *e = make_default();
    const uint64_t key = KEY(1, 0);
    bad(e, topic_row(key, 1, "a", true), SN_REC_TOPIC_GONE); /* whose? */
    good(e, session_row(key, "a"));
    bad(e, topic_row(key, 0, "a", true), SN_REC_TOPIC_GONE);
    bad(e, topic_row(key, 0xFFFF, "a", true), SN_REC_TOPIC_GONE);
    bad(e, topic_row(key, 1, "", true), SN_REC_TOPIC_GONE);
    bad(e, topic_row(key, 1, "a/+", true), SN_REC_TOPIC_GONE);
    struct sn_record row = topic_row(key, 1, "a", true);
    row.topic.kind = SN_TOPIC_RESERVED;
    bad(e, row, SN_REC_TOPIC_GONE);
    bad(e, topic_row(key, 1, "a\xFF", false), SN_REC_TOPIC_GONE);
    good(e, topic_row(key, 1, "a", true));
    good(e, topic_row(key, 9, "a\x01", false)); /* as the broker has named it */
    bad(e, topic_row(key, 1, "b", true), SN_REC_TOPIC_GONE);
    bad(e, topic_row(key, 2, "a", true), SN_REC_TOPIC_GONE);
    finish(e);
}

END_TEST

START_TEST(a_message_that_contradicts_itself_is_left_out)
{
    struct sn_engine *e = make_default();
    const uint64_t key = KEY(1, 0);
    bad(e, delivery_row(key, 1, 1, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE); /* for whom? */
    good(e, session_row(key, "a"));
    bad(e, delivery_row(key, 0, 1, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE);
    bad(e, delivery_row(key, UINT64_MAX, 1, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE);
    bad(e, delivery_row(key, 1, 0, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE);
    bad(e, delivery_row(key, 1, 3, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE);
    bad(e, delivery_row(key, 1, 1, SN_KEPT_SENT), SN_REC_DELIVERY_GONE);
    bad(e, delivery_row(key, 1, 2, (enum sn_kept_phase)3), SN_REC_DELIVERY_GONE);
    struct sn_record row = delivery_row(key, 1, 2, SN_KEPT_RECEIVED);
    row.delivery.msg_id = 0;
    bad(e, row, SN_REC_DELIVERY_GONE);
    row = delivery_row(key, 1, 1, SN_KEPT_WAITING);
    row.delivery.topic = bytes_str("t/#");
    bad(e, row, SN_REC_DELIVERY_GONE);
    good(e, delivery_row(key, 9, 2, SN_KEPT_RECEIVED));
    bad(e, delivery_row(key, 9, 1, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE);
    bad(e, delivery_row(key, 8, 1, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE);
    bad(e, delivery_row(key, 10, 2, SN_KEPT_SENT), SN_REC_DELIVERY_GONE); /* behind another */
    good(e, delivery_row(key, 10, 2, SN_KEPT_WAITING));
    row = delivery_row(key, 11, 1, SN_KEPT_WAITING);
    row.delivery.topic = bytes_str("t\x01"); /* which brokers may let pass */
    good(e, row);
    good(e, exchange_row(key, 4));
    bad(e, exchange_row(key, 4), SN_REC_EXCHANGE_GONE);
    ck_assert_uint_eq(sn_engine_gauges(e).queued, 3);
    finish(e);
}

END_TEST

START_TEST(an_address_that_makes_no_sense_is_none)
{
    struct sn_engine *e = make_default();
    struct peer_room room;
    const uint8_t octets[6] = {192, 0, 2, 1, 7, 0x5C};
    struct peer *p = peer_make(&room, 0, PEER_IP4, bytes_of(octets, 6));
    struct sn_record row = session_row(KEY(1, 0), "a");
    row.session.peer = p;
    good(e, row);
    ck_assert_ptr_nonnull(sn_client_peer(sn_client_by_id(e, bytes_str("a"))));

    p->link = 1; /* there is only one */
    row = session_row(KEY(1, 1), "b");
    row.session.peer = p;
    good(e, row);
    ck_assert_ptr_null(sn_client_peer(sn_client_by_id(e, bytes_str("b"))));

    peer_make_group(&room, 0, 0);
    row = session_row(KEY(1, 2), "c");
    row.session.peer = p;
    good(e, row);
    ck_assert_ptr_null(sn_client_peer(sn_client_by_id(e, bytes_str("c"))));

    peer_make(&room, 0, PEER_IP4, bytes_of(octets, 6));
    p->path_len = 2;
    p->bytes[6] = 200; /* a node id that is longer than its path */
    row = session_row(KEY(1, 3), "d");
    row.session.peer = p;
    good(e, row);
    ck_assert_ptr_null(sn_client_peer(sn_client_by_id(e, bytes_str("d"))));
    finish(e);
}

END_TEST

START_TEST(of_two_sessions_at_one_address_the_later_keeps_it)
{
    struct sn_engine *e = make_default();
    struct peer_room room;
    const uint8_t octets[6] = {192, 0, 2, 1, 7, 0x5C};
    struct sn_record first = session_row(KEY(1, 0), "a");
    struct sn_record second = session_row(KEY(1, 1), "b");
    first.session.peer = peer_make(&room, 0, PEER_IP4, bytes_of(octets, 6));
    second.session.peer = first.session.peer;
    good(e, first);
    good(e, second);
    ck_assert_ptr_null(sn_client_peer(sn_client_by_id(e, bytes_str("a"))));
    ck_assert_ptr_eq(sn_client_by_peer(e, peer_in(&room)), sn_client_by_id(e, bytes_str("b")));
    finish(e);
}

END_TEST

/* ---- limits ---------------------------------------------------------------------------------- */

START_TEST(what_the_configuration_has_no_room_for_is_left_out)
{
    struct sn_engine_config config = sn_engine_defaults();
    const uint64_t key = KEY(1, 0);
    config.max_clients = 2;
    config.max_client_id = 8;
    config.defaults.max_topics = 2;
    config.defaults.max_inflight = 1;
    config.defaults.max_queue = 2;
    struct sn_engine *e = make(&config);
    bad(e, session_row(KEY(1, 1), "denied"), SN_REC_SESSION_GONE);
    bad(e, session_row(KEY(1, 1), "nine-char"), SN_REC_SESSION_GONE);
    good(e, session_row(key, "a"));
    good(e, session_row(KEY(1, 1), "low"));
    bad(e, session_row(KEY(1, 2), "c"), SN_REC_SESSION_GONE);

    /* What the node has asked for goes first, whatever its order. */
    good(e, topic_row(key, 1, "lent/1", false));
    good(e, topic_row(key, 2, "lent/2", false));
    bad(e, topic_row(key, 3, "lent/3", false), SN_REC_TOPIC_GONE);
    good(e, topic_row(key, 4, "given/4", true));
    struct sn_record r;
    ck_assert(sn_engine_peek_record(e, &r)); /* lent/1 has given way */
    ck_assert(r.type == SN_REC_TOPIC_GONE && r.topic.topic_id == 1);
    sn_engine_done_record(e);
    good(e, topic_row(key, 5, "given/5", true));
    drain(e);
    bad(e, topic_row(key, 6, "given/6", true), SN_REC_TOPIC_GONE);

    good(e, exchange_row(key, 1));
    bad(e, exchange_row(key, 2), SN_REC_EXCHANGE_GONE);

    /* The overflow policy decides: here the oldest goes, but what was begun. */
    good(e, delivery_row(key, 1, 2, SN_KEPT_SENT));
    good(e, delivery_row(key, 2, 1, SN_KEPT_WAITING));
    good(e, delivery_row(key, 3, 1, SN_KEPT_WAITING));
    ck_assert(sn_engine_peek_record(e, &r));
    ck_assert(r.type == SN_REC_DELIVERY_GONE && r.delivery.number == 2);
    sn_engine_done_record(e);
    ck_assert_uint_eq(sn_engine_stats(e)->n[SN_STAT_DROP_QUEUE_FULL], 1);
    bad(e, delivery_row(KEY(1, 1), 4, 2, SN_KEPT_WAITING), SN_REC_DELIVERY_GONE); /* max_qos */
    good(e, delivery_row(KEY(1, 1), 5, 1, SN_KEPT_WAITING));
    finish(e);
}

END_TEST

START_TEST(memory_stays_within_its_limit)
{
    struct sn_engine_config config = sn_engine_defaults();
    struct sn_record r;
    config.max_memory_bytes = 4096;
    struct sn_engine *e = make(&config);
    unsigned left_out = 0;
    for (unsigned i = 0; i < 100; i++) {
        char id[16];
        snprintf(id, sizeof id, "client-%u", i);
        const int rc = restore(e, session_row(KEY(1, i), id));
        ck_assert_int_ge(rc, 0);
        left_out += (unsigned)rc;
        restore(e, topic_row(KEY(1, i), 1, "some/topic", true));
        restore(e, exchange_row(KEY(1, i), 1));
        restore(e, delivery_row(KEY(1, i), i + 1U, 1, SN_KEPT_WAITING));
        ck_assert_uint_le(sn_engine_gauges(e).memory_bytes, config.max_memory_bytes);
    }
    ck_assert_uint_gt(left_out, 50);
    ck_assert_uint_lt(left_out, 100);
    ck_assert(sn_engine_peek_record(e, &r));
    finish(e);
}

END_TEST

START_TEST(an_alias_that_means_another_topic_now_is_none)
{
    struct sn_engine *e = make_default();
    const uint64_t key = KEY(1, 0);
    good(e, session_row(key, "a"));
    struct sn_record row = topic_row(key, 1, "pre/five", false);
    row.topic.kind = SN_TOPIC_PREDEFINED;
    row.topic.alias = 5;
    good(e, row);
    row = topic_row(key, 2, "pre/six", false);
    row.topic.kind = SN_TOPIC_PREDEFINED;
    row.topic.alias = 6;
    good(e, row);
    row = topic_row(key, 3, "ab", false);
    row.topic.kind = SN_TOPIC_SHORT;
    row.topic.alias = 'a' << 8 | 'b';
    good(e, row);
    row = topic_row(key, 4, "cd", false);
    row.topic.kind = SN_TOPIC_SHORT;
    row.topic.alias = 'a' << 8 | 'b';
    good(e, row);
    const struct sn_client *c = sn_client_by_id(e, bytes_str("a"));
    ck_assert_uint_eq(sn_topic_by_id(c, 1)->kind, SN_TOPIC_PREDEFINED);
    ck_assert_uint_eq(sn_topic_by_id(c, 2)->kind, SN_TOPIC_NORMAL);
    ck_assert_uint_eq(sn_topic_by_id(c, 3)->kind, SN_TOPIC_SHORT);
    ck_assert_uint_eq(sn_topic_by_id(c, 4)->kind, SN_TOPIC_NORMAL);
    finish(e);
}

END_TEST

/* ---- keys, batches, everything --------------------------------------------------------------- */

static void connect(struct sn_engine *e, unsigned n)
{
    struct peer_room room;
    char id[16];
    uint8_t octets[64];
    const uint8_t address[6] = {192, 0, 2, (uint8_t)n, 7, 0x5C};
    snprintf(id, sizeof id, "new-%u", n);
    const struct sn_packet p = {.type = SN_CONNECT,
                                .protocol_id = SN_PROTOCOL_ID,
                                .duration_s = 60,
                                .client_id = bytes_str(id)};
    const size_t len = sn_encode(&p, octets, sizeof octets);
    sn_engine_input(e, NOW_MS, peer_make(&room, 0, PEER_IP4, bytes_of(address, 6)),
                    bytes_of(octets, len));
}

/* The connection's OPEN is answered with yes; its key. */
static uint64_t accept_open(struct sn_engine *e)
{
    struct sn_request r;
    ck_assert(sn_engine_peek_request(e, &r));
    ck_assert_int_eq(r.type, SN_REQ_OPEN);
    const struct sn_event event = {.type = SN_EV_OPENED, .client = r.client, .token = r.token};
    sn_engine_done_request(e);
    sn_engine_event(e, NOW_MS, &event);
    return event.client;
}

START_TEST(new_sessions_never_get_the_key_of_an_old_one)
{
    struct sn_engine *e = make_default();
    good(e, session_row(KEY(9, 2), "a"));
    good(e, session_row(KEY(4, 5), "b"));
    good(e, session_row(KEY(1, 200), "c"));
    sn_engine_restored(e, NOW_MS);
    drain(e);
    sn_engine_event(e, NOW_MS,
                    &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = true}});
    drain(e);
    bool used[202] = {[2] = true, [5] = true, [200] = true};
    for (unsigned i = 0; i < 199; i++) {
        connect(e, i);
        const uint64_t key = accept_open(e);
        ck_assert_uint_lt(sn_client_slot(key), 202);
        ck_assert(!used[sn_client_slot(key)]);
        used[sn_client_slot(key)] = true;
        ck_assert_uint_gt(key >> SN_CLIENT_SLOT_BITS, 9);
        drain(e);
    }
    finish(e);
}

END_TEST

START_TEST(a_packet_waits_for_the_batch_in_which_its_records_are_taken)
{
    struct sn_engine *e = make_default();
    struct sn_record record;
    struct sn_outgoing packet;
    sn_engine_batch(e, 10);
    sn_engine_event(e, NOW_MS,
                    &(struct sn_event){.type = SN_EV_UPSTREAM, .upstream = {.up = true}});
    connect(e, 1);
    accept_open(e);
    ck_assert(sn_engine_peek_packet(e, &packet));
    ck_assert_uint_eq(packet.after, 10);
    /* Nobody has taken the records in time. */
    sn_engine_batch(e, 11);
    ck_assert(sn_engine_peek_packet(e, &packet));
    ck_assert_uint_eq(packet.after, 11);
    ck_assert(sn_engine_peek_record(e, &record));
    ck_assert_int_eq(record.type, SN_REC_SESSION);
    drain(e);
    /* What rests on nothing new waits for nothing new. */
    sn_engine_batch(e, 12);
    connect(e, 1);
    ck_assert(sn_engine_peek_packet(e, &packet));
    ck_assert_uint_eq(packet.after, 11);
    finish(e);
}

END_TEST

START_TEST(everything_is_recorded_though_it_changes_meanwhile)
{
    struct sn_engine *e = make_default();
    struct sn_record r;
    unsigned sessions = 0, topics = 0;
    for (unsigned i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "c%u", i);
        good(e, session_row(KEY(1, i), id));
        good(e, topic_row(KEY(1, i), 1, "a", true));
    }
    sn_engine_restored(e, NOW_MS);
    drain(e);
    sn_engine_record_all(e);
    for (unsigned i = 0; i < 5; i++) {
        ck_assert(sn_engine_peek_record(e, &r));
        sessions += r.type == SN_REC_SESSION;
        topics += r.type == SN_REC_TOPIC;
        sn_engine_done_record(e);
    }
    sn_engine_advance(e, NOW_MS + 111000);
    drain(e); /* all are lost; what is left of them is recorded, in whatever order */
    ck_assert_uint_eq(sessions, 3);
    ck_assert_uint_eq(topics, 2);
    sn_engine_record_all(e);
    for (sessions = 0; sn_engine_peek_record(e, &r); sn_engine_done_record(e)) {
        sessions += r.type == SN_REC_SESSION;
        if (r.type == SN_REC_SESSION)
            ck_assert_int_eq(r.session.state, SN_KEPT_ACTIVE);
    }
    ck_assert_uint_eq(sessions, 10);
    finish(e);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("restore");
    TCase *tc = tcase_create("restore");
    tcase_add_test(tc, a_session_that_contradicts_itself_is_left_out);
    tcase_add_test(tc, a_topic_that_contradicts_itself_is_left_out);
    tcase_add_test(tc, a_message_that_contradicts_itself_is_left_out);
    tcase_add_test(tc, an_address_that_makes_no_sense_is_none);
    tcase_add_test(tc, of_two_sessions_at_one_address_the_later_keeps_it);
    tcase_add_test(tc, what_the_configuration_has_no_room_for_is_left_out);
    tcase_add_test(tc, memory_stays_within_its_limit);
    tcase_add_test(tc, an_alias_that_means_another_topic_now_is_none);
    tcase_add_test(tc, new_sessions_never_get_the_key_of_an_old_one);
    tcase_add_test(tc, a_packet_waits_for_the_batch_in_which_its_records_are_taken);
    tcase_add_test(tc, everything_is_recorded_though_it_changes_meanwhile);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
