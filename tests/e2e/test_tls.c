/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS against a real mosquitto, with an authority, certificates and a revocation list that are made
 * for the run. Each refusal has its sentence, and nothing is ever said in plain text.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "e2e/broker.h"
#include "e2e/cable.h"
#include "e2e/mqtt_probe.h"
#include "e2e/pki.h"

enum { SOON_MS = 15000, TEST_TIMEOUT_S = 90, CONFIG_ROOM = 900 };

static struct broker broker;
static struct probe probe;

/* ---- scenery --------------------------------------------------------------------------------- */

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(file(name), "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

/* A listener with this certificate; `more` lines behind. */
static void start_broker(const char *certificate, const char *more)
{
    char config[CONFIG_ROOM];
    snprintf(config, sizeof config, "certfile %s/%s.pem\nkeyfile %s/%s.key\n%s", pki, certificate,
             pki, certificate, more);
    broker_start(&broker, config);
}

/* mosquitto can be told the oldest version only: OpenSSL's own configuration sets the newest. */
static void start_broker_up_to(const char *newest, const char *certificate, const char *more)
{
    char text[PATH_ROOM * 2];
    snprintf(text, sizeof text,
             "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = old\n"
             "[old]\nMinProtocol = TLSv1\nMaxProtocol = %s\nCipherString = DEFAULT:@SECLEVEL=0\n",
             newest);
    write_file("old.cnf", text);
    setenv("OPENSSL_CONF", file("old.cnf"), 1);
    start_broker(certificate, more);
    unsetenv("OPENSSL_CONF");
}

static void start_broker_of(bool old, const char *certificate, const char *more)
{
    start_broker_up_to(old ? "TLSv1.2" : "TLSv1.3", certificate, more);
}

static const char *wants_certificates(void)
{
    static char lines[CONFIG_ROOM / 2];
    snprintf(lines, sizeof lines,
             "cafile %s/ca.pem\nrequire_certificate true\nuse_identity_as_username true\n"
             "crlfile %s/crl.pem\n",
             pki, pki);
    return lines;
}

static struct mqtt_options tls_options(const char *host)
{
    struct mqtt_options o = probe_options(&probe, broker.port);
    snprintf(probe.address, sizeof probe.address, "mqtts://%s:%u", host, broker.port);
    o.tls.ca_file = file("ca.pem");
    return o;
}

static void expect_connected(const struct mqtt_options *o)
{
    probe_start(&probe, o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    probe_publish(&probe, 1, "t/a", 1, 20);
    mqtt_flush(probe.m);
    PROBE_UNTIL(&probe, probe.ok == 1, SOON_MS);
    probe_stop(&probe, 100);
}

/* Twice, as the second attempt must not be kinder; and nothing is said that is not TLS. */
static void expect_refused(const struct mqtt_options *o, const char *why)
{
    struct cable wire;
    cable_start(&wire, broker.port);
    atomic_store(&wire.gentle, true);
    *strrchr(probe.address, ':') = '\0';
    snprintf(probe.address + strlen(probe.address), 8, ":%u", wire.port);
    probe_start(&probe, o);
    PROBE_UNTIL(&probe, probe.disconnected >= 2, SOON_MS);
    ck_assert_uint_eq(probe.connected, 0);
    ck_assert_msg(strstr(probe.why, why) != NULL, "'%s' lacks '%s'", probe.why, why);
    probe_stop(&probe, 0);
    cable_stop(&wire);
    ck_assert_uint_eq(wire.plain, 0);
}

static void stop_broker(void)
{
    if (broker.directory[0] != '\0')
        broker_stop(&broker);
    broker = (struct broker){.pid = 0};
}

/* ---- the ordinary day ------------------------------------------------------------------------ */

START_TEST(messages_pass_encrypted)
{
    struct probe listener;
    start_broker_of(_i == 0, "server", "");
    struct mqtt_options o = tls_options("localhost");
    probe_start(&probe, &o);
    listener = probe;
    o.client_id = "listener";
    probe_start(&listener, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    PROBE_UNTIL(&listener, listener.connected == 1, SOON_MS);
    probe_subscribe(&listener, 1, "t/#", 2);
    mqtt_flush(listener.m);
    PROBE_UNTIL(&listener, listener.subscribed == 1, SOON_MS);
    for (uint8_t qos = 0; qos <= 2; qos++) {
        probe_publish(&probe, qos, "t/a", qos, 200);
        mqtt_flush(probe.m);
        PROBE_UNTIL(&listener, listener.messages == qos + 1U, SOON_MS);
        ck_assert_uint_eq(listener.last.qos, qos);
    }
    PROBE_UNTIL(&probe, probe.ok == 2, SOON_MS);
    probe_stop(&probe, 100);
    probe_stop(&listener, 100);
}

END_TEST

START_TEST(an_address_is_verified_like_a_name)
{
    start_broker("server", "");
    const struct mqtt_options o = tls_options("127.0.0.1");
    expect_connected(&o);
}

END_TEST

START_TEST(a_client_certificate_is_shown)
{
    start_broker("server", wants_certificates());
    struct mqtt_options o = tls_options("localhost");
    o.tls.cert_file = file("client.pem");
    o.tls.key_file = file("client.key");
    expect_connected(&o);
    o.tls.key_file = file("client-locked.key");
    o.tls.key_password_file = file("client.password");
    expect_connected(&o);
}

END_TEST

START_TEST(a_revocation_list_does_not_stand_in_the_way_of_good_certificates)
{
    start_broker("server", "");
    struct mqtt_options o = tls_options("localhost");
    o.tls.crl_file = file("crl.pem");
    expect_connected(&o);
}

END_TEST

START_TEST(a_pre_shared_key_needs_no_certificate)
{
    char config[CONFIG_ROOM];
    write_file("psk", "gateway:0123456789abcdef0123456789abcdef\n");
    write_file("psk.key", "0123456789ABCDEF0123456789abcdef\n");
    snprintf(config, sizeof config, "psk_file %s/psk\npsk_hint hint\n", pki);
    broker_start(&broker, config);
    struct mqtt_options o = tls_options("localhost");
    o.tls.psk_identity = "gateway";
    o.tls.psk_file = file("psk.key");
    expect_connected(&o);
    o.tls.psk_identity = "nobody";
    expect_refused(&o, "does not know our psk_identity");
    o.tls.psk_identity = "gateway";
    write_file("psk.key", "0123456789abcdef0123456789abcdee\n");
    expect_refused(&o, "is psk_file right?");
}

END_TEST

START_TEST(insecure_asks_nothing)
{
    start_broker("expired", "");
    struct mqtt_options o = tls_options("127.0.0.1");
    o.tls.ca_file = NULL;
    o.tls.insecure = true;
    expect_connected(&o);
}

END_TEST

/* ---- refusals -------------------------------------------------------------------------------- */

static const struct {
    const char *certificate, *host, *why;
} bad[] = {
    {"expired",     "localhost", "certificate of localhost expired on 2020-01-02"         },
    {"early",       "localhost", "certificate of localhost is not valid before 2099-01-01"},
    {"wrong-name",  "localhost",
     "certificate is for other names: broker.example, other.example (wanted localhost)"   },
    {"wrong-name",  "127.0.0.1",
     "certificate is for other names: broker.example, other.example (wanted 127.0.0.1)"   },
    {"stranger",    "localhost", "unknown authority: Stranger CA signed the certificate"  },
    {"revoked",     "localhost", "certificate of localhost was revoked"                   },
    {"self-signed", "localhost", "certificate of localhost is signed by itself"           },
};

START_TEST(a_bad_certificate_is_refused_with_its_reason)
{
    start_broker(bad[_i].certificate, "");
    struct mqtt_options o = tls_options(bad[_i].host);
    if (strcmp(bad[_i].certificate, "revoked") == 0)
        o.tls.crl_file = file("crl.pem");
    expect_refused(&o, bad[_i].why);
}

END_TEST

START_TEST(the_system_does_not_know_our_authority)
{
    start_broker("server", "");
    struct mqtt_options o = tls_options("localhost");
    o.tls.ca_file = NULL;
    expect_refused(&o, "unknown authority: Sennet Test CA");
}

END_TEST

static const struct {
    const char *certificate; /* NULL: none */
    const char *why;
} strangers[] = {
    {NULL,              "the broker wants a client certificate"                             },
    {"client-expired",  "the broker refused our certificate: expired"                       },
    {"client-revoked",  "the broker refused our certificate: revoked"                       },
    {"client-stranger", "the broker refused our certificate: it does not know the authority"},
};

enum { N_STRANGERS = sizeof strangers / sizeof strangers[0] };

START_TEST(the_brokers_refusal_of_our_certificate_is_told)
{
    start_broker_of(_i < N_STRANGERS, "server", wants_certificates());
    struct mqtt_options o = tls_options("localhost");
    const char *const name = strangers[_i % N_STRANGERS].certificate;
    char path[PATH_ROOM];
    if (name != NULL) {
        snprintf(path, sizeof path, "%s.pem", name);
        o.tls.cert_file = file(path);
        snprintf(path, sizeof path, "%s.key", name);
        o.tls.key_file = file(path);
    }
    expect_refused(&o, strangers[_i % N_STRANGERS].why);
}

END_TEST

START_TEST(an_old_version_of_tls_is_refused)
{
    start_broker_of(true, "server", "");
    struct mqtt_options o = tls_options("localhost");
    o.tls.min = TLS_MIN_1_3;
    expect_refused(&o, "no TLS version that tls_min allows");
}

END_TEST

START_TEST(a_broker_of_weak_tls_is_refused)
{
    start_broker_up_to("TLSv1.1", "server", "tls_version tlsv1.1\n");
    const struct mqtt_options o = tls_options("localhost");
    expect_refused(&o, "no TLS version that tls_min allows");
}

END_TEST

START_TEST(a_port_without_tls_is_recognised)
{
    broker_start(&broker, "");
    const struct mqtt_options o = tls_options("localhost");
    expect_refused(&o, "closed the connection before TLS");
}

END_TEST

START_TEST(files_that_do_not_fit_are_named)
{
    start_broker("server", "");
    struct mqtt_options o = tls_options("localhost");
    o.tls.cert_file = file("client.pem");
    o.tls.key_file = file("server.key");
    expect_refused(&o, "does not belong to the certificate");
    o.tls.key_file = file("client-locked.key");
    expect_refused(&o, "needs a key_password_file");
    o.tls.key_file = file("nowhere.key");
    expect_refused(&o, "key_file can't be used: can't read");
}

END_TEST

/* ---- change ---------------------------------------------------------------------------------- */

START_TEST(a_renewed_certificate_is_used_by_the_next_connection)
{
    start_broker("server", wants_certificates());
    copy_file("client-expired.pem", "renewed.pem");
    copy_file("client-expired.key", "renewed.key");
    struct mqtt_options o = tls_options("localhost");
    o.tls.cert_file = file("renewed.pem");
    o.tls.key_file = file("renewed.key");
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.disconnected >= 1, SOON_MS);
    copy_file("client.key", "renewed.key");
    copy_file("client.pem", "renewed.pem");
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    copy_file("client-revoked.key", "renewed.key");
    copy_file("client-revoked.pem", "renewed.pem");
    ck_assert_int_eq(mqtt_change(probe.m, &o, true), 0);
    PROBE_UNTIL(&probe, strstr(probe.why, "revoked") != NULL, SOON_MS);
    ck_assert_uint_eq(probe.connected, 1);
    probe_stop(&probe, 100);
}

END_TEST

/* And nothing that was freed is sent. */
START_TEST(a_broker_that_dies_under_load_costs_nothing_but_time)
{
    start_broker("server", "");
    probe_outlives_brokers(&probe, &broker, tls_options("localhost"));
}

END_TEST

/* Writes that stop half way, and go on. */
START_TEST(large_messages_pass_a_broker_that_pauses)
{
    enum { MESSAGES = 40, OCTETS = 200000 };

    start_broker("server", "");
    struct mqtt_options o = tls_options("localhost");
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    broker_pause(&broker);
    uint8_t *const octets = calloc(1, OCTETS);
    ck_assert_ptr_nonnull(octets);
    struct body *const body = body_new(bytes_of(octets, OCTETS));
    free(octets);
    for (uint64_t token = 1; token <= MESSAGES; token++)
        probe_publish_body(&probe, token, "t/large", 1, body);
    body_unref(body);
    mqtt_flush(probe.m);
    probe_turn(&probe, 300);
    ck_assert_uint_lt(probe.ok, MESSAGES);
    broker_resume(&broker);
    PROBE_UNTIL(&probe, probe.ok == MESSAGES, SOON_MS);
    ck_assert_uint_eq(probe.disconnected, 0);
    probe_stop(&probe, 100);
}

END_TEST

/* ---- never in plain text --------------------------------------------------------------------- */

struct ear {
    int fd;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint connections;
    atomic_uint plain; /* of these, began with something else than a record of a TLS handshake */
};

static void *listen_in(void *arg)
{
    struct ear *const e = arg;
    while (!atomic_load(&e->stop)) {
        struct pollfd waits = {.fd = e->fd, .events = POLLIN};
        if (poll(&waits, 1, 50) <= 0)
            continue;
        const int fd = accept(e->fd, NULL, NULL);
        uint8_t head[2] = {0, 0};
        if (fd < 0)
            continue;
        if (recv(fd, head, sizeof head, MSG_WAITALL) == sizeof head) {
            atomic_fetch_add(&e->connections, 1);
            if (head[0] != 0x16 || head[1] != 0x03)
                atomic_fetch_add(&e->plain, 1);
        }
        close(fd);
    }
    return NULL;
}

START_TEST(nothing_is_ever_said_in_plain_text)
{
    struct ear e = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    ck_assert_int_eq(bind(e.fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(listen(e.fd, 16), 0);
    ck_assert_int_eq(getsockname(e.fd, (struct sockaddr *)&a, &len), 0);
    ck_assert_int_eq(pthread_create(&e.thread, NULL, listen_in, &e), 0);
    broker.port = ntohs(a.sin_port);
    const struct mqtt_options o = tls_options("localhost");
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.disconnected >= 6, SOON_MS);
    probe_stop(&probe, 0);
    atomic_store(&e.stop, true);
    pthread_join(e.thread, NULL);
    close(e.fd);
    ck_assert_uint_ge(e.connections, 6);
    ck_assert_uint_eq(e.plain, 0);
}

END_TEST

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, NULL, stop_broker};

int main(void)
{
    Suite *s = suite_create("tls");
    LOOP(s, messages_pass_encrypted, 2);
    ADD(s, an_address_is_verified_like_a_name);
    ADD(s, a_client_certificate_is_shown);
    ADD(s, a_revocation_list_does_not_stand_in_the_way_of_good_certificates);
    ADD(s, a_pre_shared_key_needs_no_certificate);
    ADD(s, insecure_asks_nothing);
    LOOP(s, a_bad_certificate_is_refused_with_its_reason, sizeof bad / sizeof bad[0]);
    ADD(s, the_system_does_not_know_our_authority);
    LOOP(s, the_brokers_refusal_of_our_certificate_is_told, 2 * N_STRANGERS);
    ADD(s, an_old_version_of_tls_is_refused);
    ADD(s, a_broker_of_weak_tls_is_refused);
    ADD(s, a_port_without_tls_is_recognised);
    ADD(s, files_that_do_not_fit_are_named);
    ADD(s, a_renewed_certificate_is_used_by_the_next_connection);
    ADD(s, a_broker_that_dies_under_load_costs_nothing_but_time);
    ADD(s, large_messages_pass_a_broker_that_pauses);
    ADD(s, nothing_is_ever_said_in_plain_text);

    return run_suite_with_pki(s);
}
