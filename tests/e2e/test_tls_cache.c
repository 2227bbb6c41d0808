/* SPDX-License-Identifier: Apache-2.0 */
/* Contexts of TLS that connections share, and what ends that. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "e2e/broker.h"
#include "e2e/mqtt_probe.h"
#include "e2e/pki.h"
#include "tls_cache.h"

enum { SOON_MS = 15000, TEST_TIMEOUT_S = 90 };

START_TEST(an_authority_that_is_taken_away_counts_from_the_next_connection)
{
    char config[4 * PATH_ROOM];
    struct broker broker;
    struct probe probe;
    snprintf(config, sizeof config, "certfile %s\nkeyfile %s", file("server.pem"),
             file("server.key"));
    broker_start(&broker, config);
    copy_file("ca.pem", "trusted.pem");
    struct mqtt_options o = probe_options(&probe, broker.port);
    snprintf(probe.address, sizeof probe.address, "mqtts://localhost:%u", broker.port);
    o.tls.ca_file = file("trusted.pem");
    probe_start(&probe, &o);
    PROBE_UNTIL(&probe, probe.connected == 1, SOON_MS);
    copy_file("other-ca.pem", "trusted.pem");
    ck_assert_int_eq(mqtt_change(probe.m, &o, true), 0);
    PROBE_UNTIL(&probe, strstr(probe.why, "unknown authority") != NULL, SOON_MS);
    ck_assert_uint_eq(probe.connected, 1);
    copy_file("ca.pem", "trusted.pem");
    PROBE_UNTIL(&probe, probe.connected == 2, SOON_MS);
    probe_stop(&probe, 100);
    broker_stop(&broker);
}

END_TEST

static SSL_CTX *context(const struct tls_options *o, unsigned made)
{
    struct tls_problem problem;
    SSL_CTX *const ctx = tls_context_shared(o, &problem);
    ck_assert_msg(ctx != NULL, "%s", problem.text);
    ck_assert_uint_eq(tls_contexts_made(), made);
    return ctx;
}

START_TEST(connections_share_what_they_are_made_from)
{
    copy_file("ca.pem", "shared.pem");
    struct tls_options o = {.ca_file = file("shared.pem")};
    SSL_CTX *const first = context(&o, 1);
    SSL_CTX *const second = context(&o, 1);
    ck_assert_ptr_eq(first, second);
    SSL_CTX_free(second);

    o.cert_file = file("client.pem");
    o.key_file = file("client.key");
    SSL_CTX *const own = context(&o, 2); /* and yet trusts the same */
    ck_assert_ptr_eq(SSL_CTX_get_cert_store(own), SSL_CTX_get_cert_store(first));
    o.alpn = "mqtt";
    SSL_CTX_free(context(&o, 3));
    o.min = TLS_MIN_1_3;
    SSL_CTX_free(context(&o, 4));
    o.insecure = true;
    SSL_CTX *const careless = context(&o, 5);
    ck_assert_ptr_ne(SSL_CTX_get_cert_store(careless), SSL_CTX_get_cert_store(first));
    ck_assert_int_eq(SSL_CTX_get_verify_mode(careless), SSL_VERIFY_NONE);
    ck_assert_int_eq(SSL_CTX_get_verify_mode(own), SSL_VERIFY_PEER);

    copy_file("ca.pem", "shared.pem"); /* the same again, but who knows */
    o = (struct tls_options){.ca_file = file("shared.pem")};
    SSL_CTX *const third = context(&o, 6);
    ck_assert_ptr_ne(third, first);
    ck_assert_ptr_ne(SSL_CTX_get_cert_store(third), SSL_CTX_get_cert_store(first));
    for (unsigned i = 0; i < 20; i++) { /* more than are kept */
        char names[32];
        snprintf(names, sizeof names, "mqtt,x%u", i);
        o.alpn = names;
        SSL_CTX_free(context(&o, 7 + i));
    }
    SSL_CTX_free(first);
    SSL_CTX_free(own);
    SSL_CTX_free(careless);
    SSL_CTX_free(third);
}

END_TEST

/* In a directory OpenSSL looks when it needs something, and keeps what it has found. */
START_TEST(a_directory_counts_with_what_is_in_its_files)
{
    ck_assert_int_eq(mkdir(file("authorities"), 0700), 0);
    copy_file("ca.pem", "authorities/one.pem");
    const struct tls_options o = {.ca_path = file("authorities")};
    const unsigned before = tls_contexts_made();
    SSL_CTX *const first = context(&o, before + 1);
    SSL_CTX_free(context(&o, before + 1));
    copy_file("other-ca.pem", "authorities/one.pem"); /* of which the directory shows nothing */
    SSL_CTX *const second = context(&o, before + 2);
    ck_assert_ptr_ne(SSL_CTX_get_cert_store(second), SSL_CTX_get_cert_store(first));
    copy_file("ca.pem", "authorities/two.pem");
    SSL_CTX_free(context(&o, before + 3));
    SSL_CTX_free(first);
    SSL_CTX_free(second);
}

END_TEST

static const struct suite_scenery scenery = {TEST_TIMEOUT_S, NULL, NULL};

int main(void)
{
    Suite *s = suite_create("tls_cache");
    ADD(s, an_authority_that_is_taken_away_counts_from_the_next_connection);
    ADD(s, connections_share_what_they_are_made_from);
    ADD(s, a_directory_counts_with_what_is_in_its_files);
    return run_suite_with_pki(s);
}
