/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSockets: mosquitto behind them, with and without TLS, and web servers that want something else, or
 * lie.
 */
#include <signal.h>

#include "e2e/web_fixture.h"

/* ---- the ordinary day ------------------------------------------------------------------------ */

/* Returns the sum of its payload. */
static uint32_t publish_octets(struct probe *p, uint64_t token, const char *topic, uint8_t qos,
                               size_t len)
{
    uint8_t *const octets = malloc(len);
    ck_assert_ptr_nonnull(octets);
    for (size_t i = 0; i < len; i++)
        octets[i] = (uint8_t)(i * 31 + token);
    const uint32_t sum = probe_sum(octets, len);
    struct body *const body = body_new(bytes_of(octets, len));
    free(octets);
    probe_publish_body(p, token, topic, qos, body);
    body_unref(body);
    return sum;
}

/* A second client, of plain TCP. */
static struct probe other;

static void start_both(bool tls)
{
    start_broker(tls ? "server" : NULL);
    struct mqtt_options o = options_for(tls ? "mqtts" : "mqtt", broker.port, "");
    o.client_id = "other";
    memcpy(other.address, probe.address, sizeof other.address);
    probe_start(&other, &o);
    o = web_options(tls);
    probe_start(&probe, &o);
    PROBE_UNTIL(&other, other.connected == 1, SOON_MS);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.at, tls ? "wss://" : "ws://"));
    probe_subscribe(&other, 1, "up", 2);
    probe_subscribe(&probe, 1, "down", 2);
    PROBE_UNTIL(&other, other.subscribed == 1, SOON_MS);
    PROBE_UNTIL(&probe, probe.subscribed == 1, SOON_MS);
}

static void stop_both(void)
{
    ck_assert_uint_eq(probe.disconnected, 0);
    probe_stop(&probe, 100);
    probe_stop(&other, 100);
}

static void send_one(struct probe *from, struct probe *to, uint64_t token, const char *topic,
                     uint8_t qos, size_t len)
{
    const unsigned before = to->messages;
    const uint32_t sum = publish_octets(from, token, topic, qos, len);
    mqtt_flush(from->m);
    if (qos > 0)
        PROBE_UNTIL(from, from->answers[token].ok == 1, SOON_MS);
    PROBE_UNTIL(to, to->messages == before + 1, SOON_MS);
    ck_assert_uint_eq(to->last.qos, qos);
    ck_assert_uint_eq(to->last_len, len);
    ck_assert_uint_eq(to->last_sum, sum);
}

/* Sizes around every form of a frame's length, and what needs several frames. mosquitto 2.0.11 sends
 * 4 KiB every 100 ms to a WebSocket, so little of that. */
static const size_t sizes[] = {1,     100,   111,   112,   113,   200,   1000,
                               20000, 16350, 16370, 16384, 65536, 100000};

enum { N_SIZES = sizeof sizes / sizeof sizes[0], DOWN_SIZES = 8 };

START_TEST(messages_pass_in_both_directions)
{
    uint64_t token = 2;

    start_both(_i == 1);
    for (uint8_t qos = 0; qos <= 2; qos++) {
        for (size_t i = 0; i < N_SIZES; i++, token++)
            send_one(&probe, &other, token, "up", qos, sizes[i]);
        for (size_t i = 0; i < DOWN_SIZES; i++, token++)
            send_one(&other, &probe, token, "down", qos, sizes[i]);
    }
    stop_both();
}

END_TEST

/* Frames that leave in part, and go on. */
START_TEST(large_messages_pass_a_broker_that_pauses)
{
    enum { MESSAGES = 40, OCTETS = 200000 };

    start_both(_i == 1);
    broker_pause(&broker);
    uint32_t sum = 0;
    for (uint64_t token = 2; token < 2 + MESSAGES; token++)
        sum = publish_octets(&probe, token, "up", 1, OCTETS);
    mqtt_flush(probe.m);
    probe_turn(&probe, 300);
    ck_assert_uint_lt(probe.ok, 1 + MESSAGES);
    broker_resume(&broker);
    PROBE_UNTIL(&probe, probe.ok == 1 + MESSAGES, SOON_MS);
    PROBE_UNTIL(&other, other.messages == MESSAGES, SOON_MS);
    ck_assert_uint_eq(other.last_sum, sum);
    stop_both();
}

END_TEST

START_TEST(a_broker_that_dies_under_load_costs_nothing_but_time)
{
    start_broker(_i == 1 ? "server" : NULL);
    probe_outlives_brokers(&probe, &broker, web_options(_i == 1));
}

END_TEST

/* The second of two, as nobody listens at the first. */
START_TEST(the_next_address_is_tried)
{
    start_broker(NULL);
    struct mqtt_options o = web_options(false);
    char addresses[128];
    snprintf(addresses, sizeof addresses, "ws://localhost:%u/mqtt, %s", free_tcp_port(),
             probe.address);
    o.address = addresses;
    expect_connected(&o);
}

END_TEST

START_TEST(what_the_address_says_is_asked_for)
{
    static const char text[] = "HTTP/1.1 403 No\r\n\r\n";
    char host[40];
    start_web((struct fake_web){.mode = WEB_SAYS, .text = text});
    struct mqtt_options o = options_for("ws", web.port, "/a/b?c=d");
    expect_refused(&o, "not a WebSocket: 403 No");
    ck_assert_ptr_nonnull(strstr(web.request, "GET /a/b?c=d HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(web.request, "Sec-WebSocket-Protocol: mqtt\r\n"));
    snprintf(host, sizeof host, "Host: localhost:%u\r\n", web.port);
    ck_assert_ptr_nonnull(strstr(web.request, host));
    o = options_for("ws", web.port, "");
    expect_refused(&o, "not a WebSocket: 403 No");
    ck_assert_ptr_nonnull(strstr(web.request, "GET /mqtt HTTP/1.1\r\n"));
}

END_TEST

/* ---- TLS ------------------------------------------------------------------------------------- */

static const struct {
    const char *certificate, *why;
} bad[] = {
    {"expired",    "certificate of localhost expired on 2020-01-02"                    },
    {"wrong-name",
     "certificate is for other names: broker.example, other.example (wanted localhost)"},
    {"stranger",   "unknown authority: Stranger CA signed the certificate"             },
    {"revoked",    "certificate of localhost was revoked"                              },
};

START_TEST(a_bad_certificate_is_refused_with_its_reason)
{
    start_broker(bad[_i].certificate);
    struct mqtt_options o = web_options(true);
    if (strcmp(bad[_i].certificate, "revoked") == 0)
        o.tls.crl_file = file("crl.pem");
    expect_refused(&o, bad[_i].why);
}

END_TEST

START_TEST(a_client_certificate_is_shown)
{
    char lines[PATH_ROOM * 2];
    snprintf(lines, sizeof lines,
             "cafile %s/ca.pem\nrequire_certificate true\nuse_identity_as_username true\n", pki);
    start_broker_with("server", lines);
    struct mqtt_options o = web_options(true);
    expect_refused(&o, "the broker wants a client certificate");
    o.tls.cert_file = file("client.pem");
    o.tls.key_file = file("client.key");
    expect_connected(&o);
}

END_TEST

START_TEST(a_port_without_tls_is_recognised)
{
    start_broker(NULL);
    struct mqtt_options o = web_options(false);
    snprintf(probe.address, sizeof probe.address, "wss://localhost:%u/mqtt", web_port);
    expect_refused(&o, "");
    ck_assert(strstr(probe.why, "no TLS there") != NULL ||
              strstr(probe.why, "closed the connection before it answered") != NULL);
}

END_TEST

/* As a reload does it: Paho does the TLS of one of them. */
START_TEST(a_connection_changes_over_and_back)
{
    start_broker("server");
    struct mqtt_options web_way = web_options(true);
    char address[sizeof probe.address];
    memcpy(address, probe.address, sizeof address);
    web_way.address = address;
    const struct mqtt_options plain_way = options_for("mqtts", broker.port, "");
    probe_start(&probe, &plain_way);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    for (unsigned i = 1; i <= 4; i++) {
        pass_one(i);
        ck_assert_int_eq(mqtt_change(probe.m, i % 2 == 1 ? &web_way : &plain_way, true), 0);
        PROBE_UNTIL(&probe, probe.connected == i + 1, SOON_MS);
        ck_assert_ptr_nonnull(strstr(probe.at, i % 2 == 1 ? "wss://" : "mqtts://"));
    }
    pass_one(5);
    probe_stop(&probe, 100);
}

END_TEST

/* ---- servers that want something else -------------------------------------------------------- */

#define SWITCH "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static const struct {
    const char *text, *why;
} answers[] = {
    {"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",                                         "not a WebSocket: 404 Not Found"          },
    {"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\n\r\n",                                     "not a WebSocket: 302 Found"              },
    {"HTTP/1.0 200\r\n\r\n",                                                                            "not a WebSocket: 200"                    },
    {"SSH-2.0-OpenSSH_9.2\r\n",                                                                         "not a WebSocket: the answer is no HTTP"  },
    {SWITCH
     "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n", "Sec-WebSocket-Accept is wrong"           },
    {SWITCH "\r\n",                                                                                     "Sec-WebSocket-Accept is wrong"           },
    {"",                                                                                                "closed the connection before it answered"},
};

START_TEST(a_wrong_answer_is_told)
{
    start_web((struct fake_web){.mode = WEB_SAYS, .text = answers[_i].text, .drips = true});
    const struct mqtt_options o = options_for("ws", web.port, "/mqtt");
    expect_refused(&o, answers[_i].why);
}

END_TEST

#define OCTETS(...) (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

static const struct {
    const uint8_t *octets;
    size_t n;
    const char *why;
} frames[] = {
    {OCTETS(0x82,                            0x84,          1,                                                   2, 3, 4, 0x21, 0x02, 3, 4), "the server sent a masked frame"},
    {OCTETS(0x81,                                     0x02,                                                 'h',                                                                                                'i'), "the server sent text"},
    {OCTETS(0xC2,                                     0x04,                                                0x20,                                                                   2, 0, 0), "an extension that was not agreed on"},
    {OCTETS(0x83,                            0x00), "a frame of an unknown kind"},
    {OCTETS(0x82,                0x7F,                             0,                                                                      0, 0, 1, 0, 0, 0, 0), "a frame with an impossible length"},
    {OCTETS(0x80,                                  0x01,0x20),"pieces of messages out of order"},
    {OCTETS(0x09, 0x00),              "a control frame in pieces"                                                      },
    {OCTETS(0x88,          0x0A,                       0x03,                                                                0xF0, 'g', 'o', ' ', 'a', 'w', 'a', 'y', 1),
     "closed the WebSocket: 1008 \"go away\\x01\""},
    {OCTETS(0x88,                                     0x00),                     "the server closed the WebSocket" },
};

START_TEST(a_wrong_frame_ends_the_connection)
{
    start_web((struct fake_web){.mode = WEB_SERVES,
                                .octets = frames[_i].octets,
                                .n_octets = frames[_i].n,
                                .drips = _i % 2 == 0});
    const struct mqtt_options o = options_for("ws", web.port, "/mqtt");
    expect_refused(&o, frames[_i].why);
}

END_TEST

/* A ping, a CONNACK in three frames with another ping between them, one of length 0. */
START_TEST(pings_are_answered_between_pieces)
{
    static const uint8_t octets[] = {0x89, 2,   'a',  'b', 0x02, 1, 0x20, 0x89, 3, 'x',
                                     'y',  'z', 0x00, 0,   0x80, 3, 0x02, 0,    0};

    enum { PONG = 0x8A };

    start_web((struct fake_web){
        .mode = WEB_SERVES, .octets = octets, .n_octets = sizeof octets, .drips = true});
    struct mqtt_options o = options_for("ws", web.port, "/mqtt");
    o.version = MQTT_3_1_1;        /* as the CONNACK is */
    o.session = MQTT_SESSION_KEPT; /* one CONNECT, with no other before it */
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    const size_t connect = 2U + 4 + (web.heard[1] & 0x7FU);
    PROBE_UNTIL(&probe, atomic_load(&web.n_heard) >= connect + 8 + 9, SOON_MS);
    ck_assert_uint_eq(web.heard[0], 0x82);
    ck_assert_uint_ne(web.heard[1] & 0x80, 0);
    const uint8_t *const ab = web.heard + connect;
    const uint8_t *const xyz = ab + 8;
    ck_assert_uint_eq(ab[0], PONG);
    ck_assert_uint_eq(ab[1], 0x80 | 2);
    ck_assert_uint_eq(ab[6] ^ ab[2], 'a');
    ck_assert_uint_eq(ab[7] ^ ab[3], 'b');
    ck_assert_uint_eq(xyz[0], PONG);
    ck_assert_uint_eq(xyz[1], 0x80 | 3);
    ck_assert_uint_eq(xyz[8] ^ xyz[4], 'z');
    probe_stop(&probe, 100);
}

END_TEST

/* In one piece: nothing else comes that could make anybody look. */
START_TEST(a_fault_behind_good_payload_is_noticed)
{
    static const uint8_t octets[] = {0x82, 4, 0x20, 2, 0, 0, 0x81, 0};

    start_web((struct fake_web){.mode = WEB_SERVES, .octets = octets, .n_octets = sizeof octets});
    struct mqtt_options o = options_for("ws", web.port, "/mqtt");
    o.version = MQTT_3_1_1; /* as the CONNACK is */
    o.session = MQTT_SESSION_KEPT;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    ck_assert_uint_eq(probe.connected, 1);
    ck_assert_ptr_nonnull(strstr(probe.why, "the server sent text"));
    probe_stop(&probe, 0);
}

END_TEST

/* What OpenSSL has decrypted is not in the socket any more. A record is larger than what is read at
 * once. */
START_TEST(a_large_record_is_read_to_its_end)
{
    enum { MESSAGES = 300, EACH = 48 };

    static uint8_t octets[16384];
    char key[PATH_ROOM];
    struct writer w = wr_to(octets, sizeof octets);
    wr_bytes(&w, bytes_of("\x82\x04\x20\x02\x00\x00\x82\x7E", 8));
    wr_u16(&w, MESSAGES * EACH);
    for (unsigned i = 0; i < MESSAGES; i++) { /* QoS 0, topic "down" */
        wr_bytes(&w, bytes_of("\x30\x2E\x00\x04"
                              "down",
                              8));
        for (unsigned k = 8; k < EACH; k++)
            wr_u8(&w, 'x');
    }
    ck_assert(!w.failed);
    snprintf(key, sizeof key, "%s", file("server.key"));
    start_web((struct fake_web){.mode = WEB_SERVES,
                                .octets = octets,
                                .n_octets = wr_close(&w),
                                .certificate = file("server.pem"),
                                .key = key});
    struct mqtt_options o = options_for("wss", web.port, "/mqtt");
    o.version = MQTT_3_1_1;
    o.session = MQTT_SESSION_KEPT;
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.messages == MESSAGES, SOON_MS);
    ck_assert_uint_eq(probe.disconnected, 0);
    probe_stop(&probe, 100);
}

END_TEST

START_TEST(a_silent_server_is_given_up)
{
    start_web((struct fake_web){.mode = WEB_HANGS});
    const struct mqtt_options o = options_for("ws", web.port, "/mqtt");
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.disconnected == 1, SOON_MS);
    ck_assert_ptr_nonnull(strstr(probe.why, "no answer from localhost:"));
    probe_stop(&probe, 0);
}

END_TEST

/* ---------------------------------------------------------------------------------------------- */

int main(void)
{
    Suite *s = suite_create("websocket");
    LOOP(s, messages_pass_in_both_directions, 2);
    LOOP(s, large_messages_pass_a_broker_that_pauses, 2);
    LOOP(s, a_broker_that_dies_under_load_costs_nothing_but_time, 2);
    ADD(s, the_next_address_is_tried);
    ADD(s, what_the_address_says_is_asked_for);
    LOOP(s, a_bad_certificate_is_refused_with_its_reason, COUNT(bad));
    ADD(s, a_client_certificate_is_shown);
    ADD(s, a_port_without_tls_is_recognised);
    ADD(s, a_connection_changes_over_and_back);
    LOOP(s, a_wrong_answer_is_told, COUNT(answers));
    LOOP(s, a_wrong_frame_ends_the_connection, COUNT(frames));
    ADD(s, pings_are_answered_between_pieces);
    ADD(s, a_fault_behind_good_payload_is_noticed);
    ADD(s, a_large_record_is_read_to_its_end);
    ADD(s, a_silent_server_is_given_up);
    return run_suite_with_pki(s);
}
