/* SPDX-License-Identifier: Apache-2.0 */
/* One handshake: whom we want to speak to, and why it did not come about, for people. */
#include <arpa/inet.h>
#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/text.h"

#include "tls.h"

enum { NAMES_MAX = 6, NAME_ROOM = 96 };

struct tls_attempt {
    atomic_uint refs;
    SSL_CTX *ctx;
    char host[TLS_HOST_MAX];
    bool asked_for_certificate; /* and we had none */
    bool gave_psk;
    char why[TLS_WHY_MAX]; /* the first thing that was wrong with the broker's certificate */
};

static void free_reference(void *parent, void *attempt, CRYPTO_EX_DATA *data, int index, long n,
                           void *arg)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)n;
    (void)arg;
    tls_attempt_unref(attempt);
}

static int attempt_index(void)
{
    static atomic_int index = -1;
    int known = atomic_load(&index);
    if (known >= 0)
        return known;
    /* Two threads here at once cost an index, nothing else: the first to be noted counts. */
    const int made = SSL_get_ex_new_index(0, NULL, NULL, NULL, free_reference);
    return atomic_compare_exchange_strong(&index, &known, made) ? made : known;
}

/* ---- names ----------------------------------------------------------------------------------- */

static void common_name(const X509_NAME *name, char out[NAME_ROOM])
{
    unsigned char *utf8 = NULL;
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0)
        at = X509_NAME_get_index_by_NID(name, NID_organizationName, -1);
    const int len =
        at < 0
            ? -1
            : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    snprintf(out, NAME_ROOM, "%.*s", len > 0 ? len : 7, len > 0 ? (const char *)utf8 : "unnamed");
    OPENSSL_free(utf8);
}

static bool print_name(const GENERAL_NAME *name, char out[NAME_ROOM])
{
    if (name->type == GEN_DNS) {
        snprintf(out, NAME_ROOM, "%.*s", ASN1_STRING_length(name->d.dNSName),
                 (const char *)ASN1_STRING_get0_data(name->d.dNSName));
        return true;
    }
    if (name->type != GEN_IPADD)
        return false;
    const int len = ASN1_STRING_length(name->d.iPAddress);
    return (len == 4 || len == 16) &&
           inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(name->d.iPAddress), out,
                     NAME_ROOM) != NULL;
}

/* "a, b" of the subject's alternative names; its common name when it has none. */
static void names_of(const X509 *cert, char *out, size_t size)
{
    GENERAL_NAMES *const names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    const int n = names != NULL ? sk_GENERAL_NAME_num(names) : 0;
    char one[NAME_ROOM];
    struct text t = text_to(out, size);
    int shown = 0;
    for (int i = 0; i < n && shown < NAMES_MAX; i++) {
        if (!print_name(sk_GENERAL_NAME_value(names, i), one))
            continue;
        text_word(&t, shown++ > 0 ? ", " : "");
        text_word(&t, one);
    }
    if (shown == NAMES_MAX)
        text_word(&t, ", ...");
    if (shown == 0) {
        common_name(X509_get_subject_name(cert), one);
        text_word(&t, one);
    }
    GENERAL_NAMES_free(names);
}

static void day_of(const ASN1_TIME *t, char date[16])
{
    struct tm day;
    if (t == NULL || ASN1_TIME_to_tm(t, &day) != 1 || strftime(date, 16, "%Y-%m-%d", &day) == 0)
        snprintf(date, 16, "unknown");
}

/* ---- the broker's certificate ---------------------------------------------------------------- */

/* Up to five words in a row, as far as there is room. */
static void say(struct tls_attempt *a, const char *const words[5])
{
    struct text t = text_to(a->why, sizeof a->why);
    for (size_t i = 0; i < 5 && words[i] != NULL; i++)
        text_word(&t, words[i]);
}

#define SAY(a, ...) say((a), (const char *const[5]){__VA_ARGS__})

/* Whose it is: the broker's, or that of who stands above it. */
static void explain_certificate(struct tls_attempt *a, const X509 *cert, int depth, int error)
{
    char authority[NAME_ROOM];
    char issuer[NAME_ROOM];
    char names[TLS_WHY_MAX / 2];
    char date[16];
    common_name(X509_get_subject_name(cert), authority);
    common_name(X509_get_issuer_name(cert), issuer);
    const char *const whose = depth == 0 ? "certificate of " : "certificate of the authority ";
    const char *const who = depth == 0 ? a->host : authority;
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        day_of(X509_get0_notAfter(cert), date);
        SAY(a, whose, who, " expired on ", date);
        break;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        day_of(X509_get0_notBefore(cert), date);
        SAY(a, whose, who, " is not valid before ", date, ": is the clock right?");
        break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        names_of(cert, names, sizeof names);
        SAY(a, "certificate is for other names: ", names, " (wanted ", a->host, ")");
        break;
    case X509_V_ERR_CERT_REVOKED:
        SAY(a, whose, who, " was revoked");
        break;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        SAY(a, "unknown authority: ", issuer, " signed the certificate and is not trusted here");
        break;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        SAY(a, whose, who, " is signed by itself, and is not trusted here (ca_file)");
        break;
    case X509_V_ERR_UNABLE_TO_GET_CRL:
        SAY(a, "crl_file has no list of ", issuer, ", who signed the certificate");
        break;
    case X509_V_ERR_CRL_HAS_EXPIRED:
        SAY(a, "crl_file is out of date: the list of ", issuer, " has to be fetched anew");
        break;
    default:
        SAY(a, whose, who, ": ", X509_verify_cert_error_string(error));
        break;
    }
}

static int on_verify(int ok, X509_STORE_CTX *store)
{
    const SSL *const ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_attempt *const a = ssl != NULL ? tls_attempt_of(ssl) : NULL;
    const X509 *const cert = X509_STORE_CTX_get_current_cert(store);
    if (!ok && a != NULL && a->why[0] == '\0') {
        if (cert != NULL)
            explain_certificate(a, cert, X509_STORE_CTX_get_error_depth(store),
                                X509_STORE_CTX_get_error(store));
        else
            SAY(a, "certificate of ", a->host, ": ",
                X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    }
    return ok;
}

/* The broker asks who we are; nothing is configured. */
static int on_certificate_wanted(SSL *ssl, X509 **cert, EVP_PKEY **key)
{
    struct tls_attempt *const a = tls_attempt_of(ssl);
    (void)cert;
    (void)key;
    if (a != NULL)
        a->asked_for_certificate = true;
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

void tls_watch(SSL_CTX *ctx, bool insecure)
{
    SSL_CTX_set_verify(ctx, insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       insecure ? NULL : on_verify);
    SSL_CTX_set_client_cert_cb(ctx, on_certificate_wanted);
}

struct tls_attempt *tls_attempt_new(SSL_CTX *ctx, const char *host)
{
    struct tls_attempt *const a = calloc(1, sizeof *a);
    if (a == NULL) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    atomic_init(&a->refs, 1);
    a->ctx = ctx;
    snprintf(a->host, sizeof a->host, "%s", host);
    return a;
}

struct tls_attempt *tls_attempt_ref(struct tls_attempt *a)
{
    if (a != NULL)
        atomic_fetch_add(&a->refs, 1);
    return a;
}

void tls_attempt_unref(struct tls_attempt *a)
{
    if (a == NULL || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    SSL_CTX_free(a->ctx);
    free(a);
}

static bool is_address(const char *host)
{
    unsigned char room[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, room) == 1 || inet_pton(AF_INET6, host, room) == 1;
}

/* An address is no server name (RFC 6066, 3). */
static bool expect_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *const param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

SSL *tls_attempt_ssl(struct tls_attempt *a)
{
    SSL *const ssl = SSL_new(a->ctx);
    if (ssl == NULL)
        return NULL;
    if (SSL_set_ex_data(ssl, attempt_index(), tls_attempt_ref(a)) != 1)
        tls_attempt_unref(a);
    else if (expect_host(ssl, a->host))
        return ssl;
    SSL_free(ssl);
    return NULL;
}

struct tls_attempt *tls_attempt_of(const SSL *ssl)
{
    return SSL_get_ex_data(ssl, attempt_index());
}

void tls_attempt_gave_psk(struct tls_attempt *a)
{
    if (a != NULL)
        a->gave_psk = true;
}

/* ---- failures -------------------------------------------------------------------------------- */

/* What the broker's alert means; NULL: nothing that we know better than OpenSSL. */
static const char *alert_text(int reason, const struct tls_attempt *a)
{
    const bool nameless = a != NULL && a->asked_for_certificate;
    switch (reason - SSL_AD_REASON_OFFSET) {
    case SSL_AD_CERTIFICATE_REQUIRED:
        return "the broker wants a client certificate: set cert_file and key_file";
    case SSL_AD_HANDSHAKE_FAILURE:
        /* With TLS 1.3 a broker that does not know the key looks for a certificate of its own first. */
        if (a != NULL && a->gave_psk)
            return "the broker does not know our psk_identity, or found no way to speak TLS with "
                   "us "
                   "(ciphers, tls_min)";
        return nameless ? "the broker wants a client certificate: set cert_file and key_file"
                        : "the broker found no way to speak TLS with us (ciphers, tls_min)";
    case SSL_AD_CERTIFICATE_REVOKED:
        return "the broker refused our certificate: revoked";
    case SSL_AD_CERTIFICATE_EXPIRED:
        return "the broker refused our certificate: expired";
    case SSL_AD_UNKNOWN_CA:
        return "the broker refused our certificate: it does not know the authority that signed it";
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_ACCESS_DENIED:
        return nameless ? "the broker wants a client certificate: set cert_file and key_file"
                        : "the broker refused our certificate";
    case SSL_AD_PROTOCOL_VERSION:
        return "the broker speaks no TLS version that tls_min allows";
    case SSL_AD_UNRECOGNIZED_NAME:
        return "the broker does not know itself by this host name";
    case SSL_AD_NO_APPLICATION_PROTOCOL:
        return "the broker takes none of the protocols in alpn";
    case SSL_AD_UNKNOWN_PSK_IDENTITY:
        return "the broker does not know our psk_identity";
    case SSL_AD_DECRYPT_ERROR:
    case SSL_AD_BAD_RECORD_MAC:
        return "the broker could not decrypt what we sent: is psk_file right?";
    case SSL_AD_ILLEGAL_PARAMETER: /* TLS 1.3: of the key */
        return a != NULL && a->gave_psk
                   ? "the broker could not decrypt what we sent: is psk_file right?"
                   : NULL;
    default:
        return NULL;
    }
}

static const char *local_text(int reason)
{
    switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return "no TLS there: is it the port for plain MQTT?";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_VERSION_TOO_LOW:
        return "the broker speaks no TLS version that tls_min allows";
    default:
        return NULL;
    }
}

void tls_explain(const SSL *ssl, int rc, char *out, size_t size)
{
    const struct tls_attempt *const a = tls_attempt_of(ssl);
    out[0] = '\0';
    if (SSL_get_error(ssl, rc) != SSL_ERROR_SSL)
        return;
    const unsigned long error = ERR_peek_error();
    const int reason = ERR_GET_REASON(error);
    const char *text = NULL;
    if (a != NULL && a->why[0] != '\0' && reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        text = a->why;
    if (text == NULL && reason == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return; /* as when a TCP connection is closed */
    if (text == NULL && reason >= SSL_AD_REASON_OFFSET)
        text = alert_text(reason, a);
    if (text == NULL)
        text = local_text(reason);
    if (text != NULL)
        snprintf(out, size, "%s", text);
    else
        snprintf(out, size, "TLS failed: %s",
                 ERR_reason_error_string(error) != NULL ? ERR_reason_error_string(error)
                                                        : "unknown error");
}
