/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump between a real engine, a real shared session and a real log; the link and the MQTT
 * connection are played by the test (mqtt_*() below stand in for gateway/mqtt.c).
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <check.h>

#include "base/clock.h"

#include "pump.h"
#include "unit/suite.h"

/* ---- the connection -------------------------------------------------------------------------- */

enum { EVENTS = 4096, SENT = 64 };

struct mqtt {
    struct up_event events[EVENTS];
    unsigned head, tail;

    struct {
        enum up_request_type type;
        uint64_t token;
        uint8_t qos;
        char topic[64];
        char payload[64];
    } submitted[SENT];

    unsigned n_submitted, flushes;
    bool away;
};

static void tell(struct mqtt *m, struct up_event event)
{
    ck_assert_uint_lt(m->tail, EVENTS);
    m->events[m->tail++] = event;
}

bool mqtt_next_event(struct mqtt *m, struct up_event *out)
{
    if (m->head == m->tail)
        return false;
    *out = m->events[m->head++];
    return true;
}

void mqtt_submit(struct mqtt *m, const struct up_request *r)
{
    if (m->away) {
        if (r->type == UP_PUBLISH)
            tell(m, (struct up_event){
                        .type = UP_PUBLISHED, .token = r->token, .result = UP_BUSY, .qos = r->qos});
        return;
    }
    ck_assert_uint_lt(m->n_submitted, SENT);
    const struct bytes body = body_bytes(r->body);
    m->submitted[m->n_submitted].type = r->type;
    m->submitted[m->n_submitted].token = r->token;
    m->submitted[m->n_submitted].qos = r->qos;
    memcpy(m->submitted[m->n_submitted].topic, r->topic.data, r->topic.len);
    if (body.len > 0)
        memcpy(m->submitted[m->n_submitted].payload, body.data, body.len);
    m->n_submitted++;
}

void mqtt_flush(struct mqtt *m)
{
    m->flushes++;
}

/* No node has a session of its own here. */
void *mqtt_user(const struct mqtt *m)
{
    (void)m;
    return NULL;
}

struct mqtt *mqtt_host_next_ready(struct mqtt_host *h)
{
    (void)h;
    return NULL;
}

void mqtt_host_flush(struct mqtt_host *h)
{
    (void)h;
}

/* ---- the link -------------------------------------------------------------------------------- */

struct fake_link {
    struct link base;
    uint8_t sent[SENT][64];
    size_t len[SENT];
    unsigned n_sent, flushes;
    struct peer_room to;
};

static void fake_send(struct link *l, const struct peer *to, struct bytes packet)
{
    struct fake_link *f = (struct fake_link *)(void *)l;
    ck_assert_uint_lt(f->n_sent, SENT);
    memcpy(f->sent[f->n_sent], packet.data, packet.len);
    f->len[f->n_sent++] = packet.len;
    peer_copy(&f->to, to);
}

static void fake_flush(struct link *l)
{
    ((struct fake_link *)(void *)l)->flushes++;
}

static const struct link_driver fake_driver = {
    .name = "fake", .send = fake_send, .flush = fake_flush};

/* ---- a gateway ------------------------------------------------------------------------------- */

struct world {
    struct pump pump;
    struct fake_link link;
    struct link *links[1];
    struct mqtt mqtt;
    struct sink broker;
    struct logsink sink;
    struct log_ring log;
    int log_fds[2];
    unsigned broker_events;
    struct peer_room node;
};

static void on_broker(void *owner, const struct sink *sink, const struct up_event *event)
{
    struct world *w = owner;
    ck_assert_ptr_eq(sink, &w->broker);
    ck_assert(event->type == UP_CONNECTED || event->type == UP_DISCONNECTED);
    w->broker_events++;
}

static struct world *world_new(void)
{
    struct world *w = calloc(1, sizeof *w);
    ck_assert_int_eq(pipe(w->log_fds), 0);
    const struct logsink_options options = {.fd = w->log_fds[1], .journal = true};
    logsink_init(&w->sink, &options);
    ck_assert_int_eq(log_init(&w->log, 16, LOG_INFO), 0);
    w->link.base.driver = &fake_driver;
    w->links[0] = &w->link.base;

    const struct sn_link_limits limits = {.max_packet_bytes = 1400};
    struct sn_engine_config engine = sn_engine_defaults();
    engine.links = &limits;
    engine.n_links = 1;
    engine.retry_interval_ms = 10000;
    engine.log_level = LOG_INFO;
    const struct shared_config shared = shared_defaults();
    w->pump = (struct pump){.engine = sn_engine_new(&engine, 0),
                            .links = w->links,
                            .n_links = 1,
                            .sink = &w->sink,
                            .log = &w->log,
                            .broker = on_broker,
                            .owner = w};
    w->broker = (struct sink){.shared = shared_new(&shared, 0), .mqtt = &w->mqtt};
    pump_init(&w->pump);
    pump_add(&w->pump, &w->broker);
    pump_time(&w->pump, 1000, 1767268800123);
    const uint8_t address[] = {127, 0, 0, 1, 0x12, 0x34};
    peer_make(&w->node, 0, PEER_IP4, bytes_of(address, sizeof address));
    return w;
}

static void world_free(struct world *w)
{
    sn_engine_free(w->pump.engine);
    pump_deinit(&w->pump);
    shared_free(w->broker.shared);
    log_deinit(&w->log);
    close(w->log_fds[0]);
    close(w->log_fds[1]);
    free(w);
}

static void hear(struct world *w, const void *octets, size_t len)
{
    pump_packet(&w->pump, peer_in(&w->node), NULL, bytes_of(octets, len));
}

#define HEAR(w, ...)                                                                               \
    do {                                                                                           \
        const uint8_t octets[] = {__VA_ARGS__};                                                    \
        hear(w, octets, sizeof octets);                                                            \
    } while (0)

/* The next packet that the link was given. */
#define EXPECT(w, i, ...)                                                                          \
    do {                                                                                           \
        const uint8_t octets[] = {__VA_ARGS__};                                                    \
        ck_assert_uint_gt((w)->link.n_sent, i);                                                    \
        ck_assert_uint_eq((w)->link.len[i], sizeof octets);                                        \
        ck_assert_mem_eq((w)->link.sent[i], octets, sizeof octets);                                \
    } while (0)

static void broker_up(struct world *w)
{
    tell(&w->mqtt, (struct up_event){.type = UP_CONNECTED});
    ck_assert_uint_eq(pump_broker(&w->pump), 1);
    ck_assert_uint_eq(w->broker_events, 1);
}

/* Reference sequence M1: CONNECT, clean, "dev1". */
static void node_connects(struct world *w)
{
    HEAR(w, 0x0A, 0x04, 0x04, 0x01, 0x00, 0x3C, 'd', 'e', 'v', '1');
    EXPECT(w, 0, 0x03, 0x05, 0x00);
}

static const char *log_text_of(struct world *w)
{
    static char text[8192];
    pump_flush(&w->pump);
    const ssize_t n = read(w->log_fds[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

START_TEST(a_connection_is_answered_within_the_same_call)
{
    struct world *w = world_new();
    broker_up(w);
    node_connects(w);
    ck_assert(peer_equal(peer_in(&w->link.to), peer_in(&w->node)));
    ck_assert_ptr_nonnull(strstr(log_text_of(w), "client.state"));
    world_free(w);
}

END_TEST

START_TEST(a_publication_goes_up_and_its_answer_down)
{
    struct world *w = world_new();
    broker_up(w);
    node_connects(w);
    /* QoS 1, short topic "ab", message id 5. */
    HEAR(w, 0x09, 0x0C, 0x22, 'a', 'b', 0x00, 0x05, '4', '2');
    ck_assert_uint_eq(w->mqtt.n_submitted, 1);
    ck_assert_str_eq(w->mqtt.submitted[0].topic, "ab");
    ck_assert_str_eq(w->mqtt.submitted[0].payload, "42");
    ck_assert_uint_eq(w->link.n_sent, 1); /* no PUBACK before the broker's */
    tell(&w->mqtt,
         (struct up_event){
             .type = UP_PUBLISHED, .token = w->mqtt.submitted[0].token, .result = UP_OK, .qos = 1});
    ck_assert_uint_eq(pump_broker(&w->pump), 1);
    EXPECT(w, 1, 0x07, 0x0D, 'a', 'b', 0x00, 0x05, 0x00);
    world_free(w);
}

END_TEST

START_TEST(a_refusal_by_the_connection_reaches_the_node)
{
    struct world *w = world_new();
    broker_up(w);
    node_connects(w);
    w->mqtt.away = true;
    HEAR(w, 0x09, 0x0C, 0x22, 'a', 'b', 0x00, 0x05, '4', '2');
    ck_assert_uint_eq(pump_broker(&w->pump), 1);
    EXPECT(w, 1, 0x07, 0x0D, 'a', 'b', 0x00, 0x05, 0x01);
    world_free(w);
}

END_TEST

START_TEST(a_message_from_the_broker_reaches_its_subscriber)
{
    struct world *w = world_new();
    broker_up(w);
    node_connects(w);
    /* SUBSCRIBE QoS 0 to the short topic "ab". */
    HEAR(w, 0x07, 0x12, 0x02, 0x00, 0x09, 'a', 'b');
    ck_assert_uint_eq(w->mqtt.n_submitted, 1);
    ck_assert_int_eq(w->mqtt.submitted[0].type, UP_SUBSCRIBE);
    tell(&w->mqtt, (struct up_event){.type = UP_SUBSCRIBED,
                                     .token = w->mqtt.submitted[0].token,
                                     .result = UP_OK,
                                     .qos = w->mqtt.submitted[0].qos});
    struct body *body = body_new(bytes_str("on"));
    tell(&w->mqtt,
         (struct up_event){.type = UP_MESSAGE, .topic = bytes_str("ab"), .body = body, .qos = 0});
    ck_assert_uint_eq(pump_broker(&w->pump), 2);
    EXPECT(w, 1, 0x08, 0x13, 0x00, 'a', 'b', 0x00, 0x09, 0x00);
    EXPECT(w, 2, 0x09, 0x0C, 0x02, 'a', 'b', 0x00, 0x00, 'o', 'n');
    body_unref(body);
    world_free(w);
}

END_TEST

/* Port 0x1234, which is that of the node below. */
static bool is_from_4660(const struct link *l, const struct peer *from)
{
    (void)l;
    return from->bytes[4] == 0x12 && from->bytes[5] == 0x34;
}

START_TEST(what_was_said_to_a_group_is_taken_unless_we_said_it)
{
    struct link_driver driver = fake_driver;
    struct world *w = world_new();
    const uint8_t advertise[] = {0x05, 0x00, 0x01, 0x03, 0x84}; /* of gateway 1, as we are */
    const struct bytes packet = bytes_of(advertise, sizeof advertise);
    const struct sn_stats *stats = sn_engine_stats(w->pump.engine);
    driver.is_own = is_from_4660;
    w->link.base.driver = &driver;
    pump_group_packet(&w->pump, peer_in(&w->node), packet);
    ck_assert_uint_eq(w->pump.own_echoes, 1);
    ck_assert_uint_eq(stats->n[SN_STAT_PACKETS_IN], 0);
    w->link.base.driver = &fake_driver; /* which knows no groups */
    pump_group_packet(&w->pump, peer_in(&w->node), packet);
    ck_assert_uint_eq(w->pump.own_echoes, 1);
    ck_assert_uint_eq(stats->n[SN_STAT_ID_CONFLICTS], 1);
    world_free(w);
}

END_TEST

START_TEST(a_joined_group_is_answered_through_its_link)
{
    struct world *w = world_new();
    const uint8_t search[] = {0x03, 0x01, 0x05};
    broker_up(w);
    pump_group(&w->pump, 0, true);
    pump_group_packet(&w->pump, peer_in(&w->node), bytes_of(search, sizeof search));
    ck_assert_uint_eq(w->link.n_sent, 0);
    pump_time(&w->pump, 1500, 1767268800623);
    pump_advance(&w->pump);
    EXPECT(w, 0, 0x03, 0x02, 0x01);
    char text[PEER_TEXT_MAX];
    ck_assert_str_eq(peer_print(peer_in(&w->link.to), text, sizeof text), "group:5");
    world_free(w);
}

END_TEST

START_TEST(outcomes_of_a_stick_reach_the_engine)
{
    static const struct {
        enum stick_outcome outcome;
        enum sn_stat counted;
    } cases[] = {
        {STICK_FAILED,   SN_STAT_AIR_UNDELIVERED},
        {STICK_UNKNOWN,  SN_STAT_AIR_UNDELIVERED},
        {STICK_NOT_SENT, SN_STAT_AIR_NOT_SENT   }
    };
    struct world *w = world_new();
    const struct sn_stats *stats = sn_engine_stats(w->pump.engine);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint64_t before = stats->n[cases[i].counted];
        pump_outcome(&w->pump, peer_in(&w->node), cases[i].outcome);
        ck_assert_uint_eq(stats->n[cases[i].counted], before + 1);
    }
    pump_outcome(&w->pump, peer_in(&w->node), STICK_DELIVERED);
    ck_assert_uint_eq(stats->n[SN_STAT_AIR_UNDELIVERED], 2);
    ck_assert_uint_eq(stats->n[SN_STAT_AIR_NOT_SENT], 1);
    world_free(w);
}

END_TEST

START_TEST(what_a_stick_carries_limits_what_its_nodes_get)
{
    struct world *w = world_new();
    broker_up(w);
    node_connects(w);
    /* SUBSCRIBE "ab" as a short topic. */
    HEAR(w, 0x07, 0x12, 0x02, 0x00, 0x01, 'a', 'b');
    tell(&w->mqtt, (struct up_event){.type = UP_SUBSCRIBED, .token = w->mqtt.submitted[0].token});
    pump_broker(&w->pump);
    const unsigned before = w->link.n_sent;
    struct body *body = body_new(bytes_str("0123456789"));
    const struct up_event message = {.type = UP_MESSAGE, .topic = bytes_str("ab"), .body = body};
    tell(&w->mqtt, message);
    pump_broker(&w->pump);
    ck_assert_uint_eq(w->link.n_sent, before + 1);
    pump_limit(&w->pump, 0, 12);
    tell(&w->mqtt, message);
    pump_broker(&w->pump);
    ck_assert_uint_eq(w->link.n_sent, before + 1);
    ck_assert_uint_eq(sn_engine_stats(w->pump.engine)->n[SN_STAT_DROP_TOO_LARGE], 1);
    body_unref(body);
    world_free(w);
}

END_TEST

START_TEST(flushing_happens_once_per_turn)
{
    struct world *w = world_new();
    broker_up(w);
    node_connects(w);
    for (unsigned i = 0; i < 10; i++)
        HEAR(w, 0x09, 0x0C, 0x02, 'a', 'b', 0x00, 0x00, '4', '2');
    ck_assert_uint_eq(w->mqtt.n_submitted, 10);
    ck_assert_uint_eq(w->mqtt.flushes + w->link.flushes, 0);
    pump_flush(&w->pump);
    ck_assert_uint_eq(w->mqtt.flushes, 1);
    ck_assert_uint_eq(w->link.flushes, 1);
    world_free(w);
}

END_TEST

START_TEST(a_turn_takes_a_bounded_number_of_events)
{
    struct world *w = world_new();
    for (unsigned i = 0; i < PUMP_EVENTS_PER_TURN + 10; i++)
        tell(&w->mqtt, (struct up_event){.type = UP_DISCONNECTED, .why = "no route"});
    ck_assert_uint_eq(pump_broker(&w->pump), PUMP_EVENTS_PER_TURN);
    ck_assert_uint_eq(pump_broker(&w->pump), 10);
    ck_assert_uint_eq(w->broker_events, PUMP_EVENTS_PER_TURN + 10);
    world_free(w);
}

END_TEST

START_TEST(deadlines_are_the_earliest_of_all_parts_and_fire)
{
    struct world *w = world_new();
    broker_up(w);
    node_connects(w);
    const int64_t next = pump_next_deadline(&w->pump);
    ck_assert_int_gt(next, 1000);
    ck_assert_int_le(next, sn_engine_next_deadline(w->pump.engine));
    ck_assert_int_lt(next, TIME_NEVER);
    /* Keep alive 60 s, half as much again as tolerance: then the node is lost. */
    const unsigned before = sn_engine_gauges(w->pump.engine).connected;
    ck_assert_uint_eq(before, 1);
    for (unsigned i = 0; i < 100 && pump_next_deadline(&w->pump) <= 200000; i++) {
        pump_time(&w->pump, pump_next_deadline(&w->pump), 0);
        pump_advance(&w->pump);
        ck_assert_int_gt(pump_next_deadline(&w->pump), w->pump.now_ms);
    }
    ck_assert_uint_eq(sn_engine_gauges(w->pump.engine).connected, 0);
    world_free(w);
}

END_TEST

START_TEST(time_never_runs_backwards)
{
    struct world *w = world_new();
    pump_time(&w->pump, 5000, 1);
    pump_time(&w->pump, 4000, 2);
    ck_assert_int_eq(w->pump.now_ms, 5000);
    ck_assert_int_eq(w->pump.wall_ms, 2);
    world_free(w);
}

END_TEST

START_TEST(packets_for_a_link_that_is_gone_are_counted)
{
    struct world *w = world_new();
    broker_up(w);
    w->links[0] = NULL;
    HEAR(w, 0x0A, 0x04, 0x04, 0x01, 0x00, 0x3C, 'd', 'e', 'v', '1');
    pump_flush(&w->pump);
    ck_assert_uint_eq(w->pump.no_link, 1);
    /* And for one that never was. */
    peer_in(&w->node)->link = 9;
    HEAR(w, 0x0A, 0x04, 0x04, 0x01, 0x00, 0x3C, 'd', 'e', 'v', '2');
    ck_assert_uint_eq(w->pump.no_link, 2);
    world_free(w);
}

END_TEST

int main(void)
{
    Suite *suite = suite_create("pump");
    TCase *t = tcase_create("pump");
    tcase_add_test(t, a_connection_is_answered_within_the_same_call);
    tcase_add_test(t, a_publication_goes_up_and_its_answer_down);
    tcase_add_test(t, a_refusal_by_the_connection_reaches_the_node);
    tcase_add_test(t, a_message_from_the_broker_reaches_its_subscriber);
    tcase_add_test(t, what_was_said_to_a_group_is_taken_unless_we_said_it);
    tcase_add_test(t, a_joined_group_is_answered_through_its_link);
    tcase_add_test(t, outcomes_of_a_stick_reach_the_engine);
    tcase_add_test(t, what_a_stick_carries_limits_what_its_nodes_get);
    tcase_add_test(t, flushing_happens_once_per_turn);
    tcase_add_test(t, a_turn_takes_a_bounded_number_of_events);
    tcase_add_test(t, deadlines_are_the_earliest_of_all_parts_and_fire);
    tcase_add_test(t, time_never_runs_backwards);
    tcase_add_test(t, packets_for_a_link_that_is_gone_are_counted);
    suite_add_tcase(suite, t);
    return run_suite(suite);
}
