/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a context of ours agrees to, whatever the other end is like: a server in the same thread, without
 * a socket. Files and refusals are for e2e.test_tls.
 */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tls.h"
#include "unit/suite.h"

enum { STEPS_MAX = 20, PIPE_OCTETS = 65536 };

static SSL_CTX *server_ctx;
static SSL *client, *server;

/* ---- the server ------------------------------------------------------------------------------ */

static void sign_oneself(SSL_CTX *ctx)
{
    EVP_PKEY *const key = EVP_EC_gen("P-256");
    X509 *const cert = X509_new();
    ck_assert(key != NULL && cert != NULL);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    ck_assert_int_eq(SSL_CTX_use_certificate(ctx, cert), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(ctx, key), 1);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* TLS 1.2, where there is more that can go wrong. */
static void make_server(const char *ciphers)
{
    server_ctx = SSL_CTX_new(TLS_server_method());
    ck_assert_ptr_nonnull(server_ctx);
    SSL_CTX_set_max_proto_version(server_ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(server_ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    SSL_CTX_set_dh_auto(server_ctx, 1);
    ck_assert_int_eq(SSL_CTX_set_cipher_list(server_ctx, ciphers), 1);
    sign_oneself(server_ctx);
}

static void connect_pipes(void)
{
    BIO *here = NULL;
    BIO *there = NULL;
    ck_assert_int_eq(BIO_new_bio_pair(&here, PIPE_OCTETS, &there, PIPE_OCTETS), 1);
    SSL_set_bio(client, here, here);
    SSL_set_bio(server, there, there);
}

/* False: they don't agree. */
static bool shake_hands(void)
{
    for (unsigned i = 0; i < STEPS_MAX; i++) {
        ERR_clear_error();
        const int ours = SSL_connect(client);
        const int error = SSL_get_error(client, ours);
        if (ours != 1 && error != SSL_ERROR_WANT_READ)
            return false;
        const int theirs = SSL_accept(server);
        if (ours == 1 && theirs == 1)
            return true;
        if (theirs != 1 && SSL_get_error(server, theirs) != SSL_ERROR_WANT_READ)
            return false;
    }
    return false;
}

static struct tls_attempt *make_client(const struct tls_options *o)
{
    struct tls_problem problem;
    SSL_CTX *const ctx = tls_context_new(o, &problem);
    ck_assert_msg(ctx != NULL, "%s", problem.text);
    struct tls_attempt *const a = tls_attempt_new(ctx, "localhost");
    client = tls_attempt_ssl(a);
    server = SSL_new(server_ctx);
    ck_assert(client != NULL && server != NULL);
    connect_pipes();
    return a;
}

static void tear_down(void)
{
    SSL_free(client);
    SSL_free(server);
    SSL_CTX_free(server_ctx);
    client = server = NULL;
    server_ctx = NULL;
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* "ALL" of OpenSSL has such ciphers, as soon as its level is low enough, and then a certificate is not
 * even asked for. */
START_TEST(no_list_of_ciphers_makes_a_broker_trusted_that_shows_no_certificate)
{
    const struct tls_options careless = {.ciphers = "ALL:@SECLEVEL=0", .insecure = _i == 1};
    make_server("aNULL:@SECLEVEL=0");
    struct tls_attempt *const a = make_client(&careless);
    ck_assert_int_eq(shake_hands(), careless.insecure);
    tls_attempt_unref(a);
}

END_TEST

START_TEST(ciphers_that_verify_nobody_or_encrypt_nothing_are_no_ciphers)
{
    const struct tls_options options[] = {
        {.ciphers = "ADH-AES256-GCM-SHA384:@SECLEVEL=0"},
        {                                    .ciphers = "NULL-SHA256:@SECLEVEL=0"                                             },
        { .ciphers = "NULL-SHA256:@SECLEVEL=0",                                              .insecure = true},
    };
    struct tls_problem problem;
    ck_assert_ptr_null(tls_context_new(&options[_i], &problem));
    ck_assert_int_eq(problem.part, TLS_PART_CIPHERS);
}

END_TEST

/* Another handshake could be begun at any time and never be ended, and nothing could be written. */
START_TEST(a_broker_that_wants_another_handshake_does_not_hold_up_what_is_written)
{
    static const char text[] = "PINGREQ";
    char octets[sizeof text];
    const struct tls_options o = {.insecure = true};
    make_server("DEFAULT");
    struct tls_attempt *const a = make_client(&o);
    ck_assert(shake_hands());
    ck_assert_int_eq(SSL_renegotiate(server), 1);
    SSL_do_handshake(server);
    ck_assert_int_le(SSL_read(client, octets, sizeof octets), 0);
    ck_assert_int_eq(SSL_get_error(client, -1), SSL_ERROR_WANT_READ);
    ck_assert_int_eq(SSL_write(client, text, sizeof text), sizeof text);
    tls_attempt_unref(a);
}

END_TEST

int main(void)
{
    Suite *s = suite_create("tls_context");
    TCase *t = tcase_create("tls_context");
    tcase_add_checked_fixture(t, NULL, tear_down);
    tcase_add_loop_test(t, no_list_of_ciphers_makes_a_broker_trusted_that_shows_no_certificate, 0,
                        2);
    tcase_add_loop_test(t, ciphers_that_verify_nobody_or_encrypt_nothing_are_no_ciphers, 0, 3);
    tcase_add_test(t, a_broker_that_wants_another_handshake_does_not_hold_up_what_is_written);
    suite_add_tcase(s, t);
    return run_suite(s);
}
