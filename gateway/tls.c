/* SPDX-License-Identifier: Apache-2.0 */
/* From options to an SSL_CTX. Each part is loaded by itself, so that what is wrong can be named. */
#include "tls.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>

enum { LINE_MAX_OCTETS = 1024, ALPN_MAX = 255 };

__attribute__((format(printf, 3, 4))) static bool blame(struct tls_problem *p, enum tls_part part,
                                                        const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    p->part = part;
    vsnprintf(p->text, sizeof p->text, format, arguments);
    va_end(arguments);
    return false;
}

/* OpenSSL's own words, for what has none of ours. */
static const char *openssl_reason(void)
{
    const char *const reason = ERR_reason_error_string(ERR_peek_last_error());
    return reason != NULL ? reason : "unknown error";
}

static bool can_read(struct tls_problem *p, enum tls_part part, const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return blame(p, part, "can't read '%s': %s", path, strerror(errno));
    fclose(f);
    return true;
}

/* ---- files of one line ----------------------------------------------------------------------- */

/* False, blamed. `line` comes without its end. */
static bool read_line(struct tls_problem *p, enum tls_part part, const char *path,
                      char line[LINE_MAX_OCTETS])
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return blame(p, part, "can't read '%s': %s", path, strerror(errno));
    const bool got = fgets(line, LINE_MAX_OCTETS, f) != NULL;
    const bool more = got && fgetc(f) != EOF;
    fclose(f);
    if (got)
        line[strcspn(line, "\r\n")] = '\0';
    if (!got || more || line[0] == '\0') {
        explicit_bzero(line, LINE_MAX_OCTETS);
        return blame(p, part, "'%s' must hold one line", path);
    }
    return true;
}

struct secret {
    char line[LINE_MAX_OCTETS];
};

/* Never asks on the terminal, as OpenSSL would. */
static int give_password(char *room, int size, int writing, void *arg)
{
    const struct secret *const s = arg;
    const size_t len = strlen(s->line);
    (void)writing;
    if (size < 0 || len > (size_t)size)
        return 0;
    memcpy(room, s->line, len);
    return (int)len;
}

/* ---- whom we trust --------------------------------------------------------------------------- */

static bool load_authorities(SSL_CTX *ctx, const struct tls_options *o, struct tls_problem *p)
{
    struct stat st;
    if (o->ca_file == NULL && o->ca_path == NULL)
        return SSL_CTX_set_default_verify_paths(ctx) == 1 ||
               blame(p, TLS_PART_NONE, "the system's authorities can't be loaded: %s",
                     openssl_reason());
    if (o->ca_file != NULL) {
        if (!can_read(p, TLS_PART_CA_FILE, o->ca_file))
            return false;
        if (SSL_CTX_load_verify_file(ctx, o->ca_file) != 1)
            return blame(p, TLS_PART_CA_FILE, "'%s' holds no certificate in PEM", o->ca_file);
    }
    if (o->ca_path != NULL) {
        if (stat(o->ca_path, &st) != 0)
            return blame(p, TLS_PART_CA_PATH, "can't read '%s': %s", o->ca_path, strerror(errno));
        if (!S_ISDIR(st.st_mode) || SSL_CTX_load_verify_dir(ctx, o->ca_path) != 1)
            return blame(p, TLS_PART_CA_PATH, "'%s' is no directory", o->ca_path);
    }
    return true;
}

static bool load_revoked(SSL_CTX *ctx, const struct tls_options *o, struct tls_problem *p)
{
    if (o->crl_file == NULL)
        return true;
    if (!can_read(p, TLS_PART_CRL_FILE, o->crl_file))
        return false;
    X509_STORE *const store = SSL_CTX_get_cert_store(ctx);
    X509_LOOKUP *const lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    if (lookup == NULL || X509_load_crl_file(lookup, o->crl_file, X509_FILETYPE_PEM) <= 0)
        return blame(p, TLS_PART_CRL_FILE, "'%s' holds no revocation list in PEM", o->crl_file);
    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    return true;
}

/* ---- who we are ------------------------------------------------------------------------------ */

static bool load_key(SSL_CTX *ctx, const struct tls_options *o, struct tls_problem *p)
{
    const char *const path = o->key_file != NULL ? o->key_file : o->cert_file;
    const enum tls_part part = o->key_file != NULL ? TLS_PART_KEY_FILE : TLS_PART_CERT_FILE;
    if (!can_read(p, part, path))
        return false;
    ERR_clear_error();
    if (SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM) == 1)
        return true;
    const unsigned long error = ERR_peek_last_error();
    if (ERR_GET_LIB(error) == ERR_LIB_X509 && ERR_GET_REASON(error) == X509_R_KEY_VALUES_MISMATCH)
        return blame(p, part, "the key in '%s' does not belong to the certificate in '%s'", path,
                     o->cert_file);
    if (ERR_GET_LIB(error) == ERR_LIB_X509 && ERR_GET_REASON(error) == X509_R_KEY_TYPE_MISMATCH)
        return blame(p, part, "the key in '%s' does not belong to the certificate in '%s'", path,
                     o->cert_file);
    if (o->key_password_file != NULL)
        return blame(p, part, "'%s' holds no private key in PEM that key_password_file opens",
                     path);
    return blame(p, part, "'%s' holds no private key in PEM (or it needs a key_password_file)",
                 path);
}

static bool load_identity(SSL_CTX *ctx, const struct tls_options *o, struct tls_problem *p)
{
    struct secret secret = {.line = ""};
    if (o->cert_file == NULL)
        return true;
    if (!can_read(p, TLS_PART_CERT_FILE, o->cert_file))
        return false;
    SSL_CTX_set_default_passwd_cb(ctx, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &secret);
    bool ok = o->key_password_file == NULL ||
              read_line(p, TLS_PART_KEY_PASSWORD_FILE, o->key_password_file, secret.line);
    if (ok && SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1)
        ok = blame(p, TLS_PART_CERT_FILE, "'%s' holds no certificate in PEM", o->cert_file);
    ok = ok && load_key(ctx, o, p);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    explicit_bzero(&secret, sizeof secret);
    return ok;
}

/* ---- pre-shared key -------------------------------------------------------------------------- */

struct psk {
    char identity[TLS_PSK_IDENTITY_MAX + 1];
    unsigned len;
    unsigned char key[TLS_PSK_MAX];
};

static void free_psk(void *parent, void *psk, CRYPTO_EX_DATA *data, int index, long n, void *arg)
{
    (void)parent;
    (void)data;
    (void)index;
    (void)n;
    (void)arg;
    if (psk != NULL)
        explicit_bzero(psk, sizeof(struct psk));
    free(psk);
}

static int psk_index(void)
{
    static atomic_int index = -1;
    int known = atomic_load(&index);
    if (known >= 0)
        return known;
    /* Two threads here at once cost an index, nothing else: the first to be noted counts. */
    const int made = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_psk);
    return atomic_compare_exchange_strong(&index, &known, made) ? made : known;
}

static unsigned give_psk(SSL *ssl, const char *hint, char *identity, unsigned identity_room,
                         unsigned char *key, unsigned key_room)
{
    const struct psk *const psk = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), psk_index());
    (void)hint;
    if (psk == NULL || strlen(psk->identity) >= identity_room || psk->len > key_room)
        return 0;
    snprintf(identity, identity_room, "%s", psk->identity);
    memcpy(key, psk->key, psk->len);
    tls_attempt_gave_psk(tls_attempt_of(ssl));
    return psk->len;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char low = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
    const char *const at = low != '\0' ? strchr(digits, low) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

static unsigned read_hex(const char *text, unsigned char key[TLS_PSK_MAX])
{
    unsigned n = 0;
    for (; text[0] != '\0' && n < TLS_PSK_MAX; text += 2, n++) {
        const int high = hex_digit(text[0]);
        const int low = high >= 0 ? hex_digit(text[1]) : -1;
        if (low < 0)
            return 0;
        key[n] = (unsigned char)(high << 4 | low);
    }
    return text[0] == '\0' ? n : 0;
}

static bool load_psk(SSL_CTX *ctx, const struct tls_options *o, struct tls_problem *p)
{
    struct secret secret;
    if (o->psk_identity == NULL || o->psk_file == NULL)
        return true;
    if (!read_line(p, TLS_PART_PSK_FILE, o->psk_file, secret.line))
        return false;
    struct psk *const psk = calloc(1, sizeof *psk);
    if (psk != NULL)
        psk->len = read_hex(secret.line, psk->key);
    explicit_bzero(&secret, sizeof secret);
    if (psk == NULL || psk->len == 0 || SSL_CTX_set_ex_data(ctx, psk_index(), psk) != 1) {
        free(psk);
        return blame(p, TLS_PART_PSK_FILE,
                     "'%s' must hold the key as 2 to %d hexadecimal digits, an even number of them",
                     o->psk_file, 2 * TLS_PSK_MAX);
    }
    snprintf(psk->identity, sizeof psk->identity, "%s", o->psk_identity);
    SSL_CTX_set_psk_client_callback(ctx, give_psk);
    return true;
}

/* ---- how we speak ---------------------------------------------------------------------------- */

/* Some of OpenSSL's ciphers verify nobody, and some encrypt nothing. "ALL" has them, too. */
static bool set_older_ciphers(SSL_CTX *ctx, const char *list, bool insecure)
{
    char *safe = NULL;
    if (list[0] == '\0')
        return true;
    const bool ok = asprintf(&safe, "%s%s", list, insecure ? ":!eNULL" : ":!aNULL:!eNULL") >= 0 &&
                    SSL_CTX_set_cipher_list(ctx, safe) == 1;
    free(safe);
    return ok;
}

/* TLS 1.3 has a list of its own in OpenSSL; people have one. */
static bool set_ciphers(SSL_CTX *ctx, const struct tls_options *o, struct tls_problem *p)
{
    if (o->ciphers == NULL)
        return true;
    const size_t size = strlen(o->ciphers) + 1;
    char *const all = strdup(o->ciphers);
    char *const older = calloc(1, size);
    char *const newer = calloc(1, size);
    bool ok = all != NULL && older != NULL && newer != NULL;
    char *rest = NULL;
    for (char *one = ok ? strtok_r(all, ": ,", &rest) : NULL; one != NULL;
         one = strtok_r(NULL, ": ,", &rest)) {
        char *const to = strncmp(one, "TLS_", 4) == 0 ? newer : older;
        const size_t used = strlen(to);
        snprintf(to + used, size - used, "%s%s", used > 0 ? ":" : "", one);
    }
    ok = ok && set_older_ciphers(ctx, older, o->insecure) &&
         (newer[0] == '\0' || SSL_CTX_set_ciphersuites(ctx, newer) == 1) &&
         (older[0] != '\0' || newer[0] != '\0');
    free(all);
    free(older);
    free(newer);
    return ok || blame(p, TLS_PART_CIPHERS, "OpenSSL knows none of the ciphers '%s'", o->ciphers);
}

static bool set_alpn(SSL_CTX *ctx, const struct tls_options *o, struct tls_problem *p)
{
    unsigned char list[ALPN_MAX];
    unsigned used = 0;
    for (const char *at = o->alpn; at != NULL && *at != '\0';) {
        at += strspn(at, ", ");
        const size_t len = strcspn(at, ", ");
        if (len == 0)
            break;
        if (used + 1 + len > sizeof list)
            return blame(p, TLS_PART_ALPN, "the names are too long: at most %d octets", ALPN_MAX);
        list[used++] = (unsigned char)len;
        memcpy(list + used, at, len);
        used += (unsigned)len;
        at += len;
    }
    /* 0 is success here, and only here. */
    return used == 0 || SSL_CTX_set_alpn_protos(ctx, list, used) == 0 ||
           blame(p, TLS_PART_NONE, "out of memory");
}

static bool trust(SSL_CTX *ctx, const struct tls_options *o, X509_STORE *store,
                  struct tls_problem *p)
{
    if (store == NULL)
        return (o->insecure || load_authorities(ctx, o, p)) && load_revoked(ctx, o, p);
    SSL_CTX_set1_cert_store(ctx, store);
    return true;
}

SSL_CTX *tls_context_new(const struct tls_options *o, struct tls_problem *problem)
{
    return tls_context_trusting(o, NULL, problem);
}

SSL_CTX *tls_context_trusting(const struct tls_options *o, X509_STORE *store,
                              struct tls_problem *problem)
{
    *problem = (struct tls_problem){.part = TLS_PART_NONE, .text = "out of memory"};
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL)
        return NULL;
    SSL_CTX_set_min_proto_version(ctx, o->min == TLS_MIN_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
    /* Paho repeats a write that could not go on from another place. */
    SSL_CTX_set_mode(ctx, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_AUTO_RETRY |
                              SSL_MODE_RELEASE_BUFFERS);
    /* A broker that asks for another handshake, and then falls silent, would hold up every write. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
    /* A resumed session is one whose certificate nobody looks at. */
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    const bool ok = trust(ctx, o, store, problem) && load_identity(ctx, o, problem) &&
                    load_psk(ctx, o, problem) && set_ciphers(ctx, o, problem) &&
                    set_alpn(ctx, o, problem);
    tls_watch(ctx, o->insecure);
    ERR_clear_error();
    if (ok)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

static void print_day(const ASN1_TIME *t, char date[16])
{
    struct tm day;
    if (ASN1_TIME_to_tm(t, &day) != 1 || strftime(date, 16, "%Y-%m-%d", &day) == 0)
        snprintf(date, 16, "unknown");
}

enum tls_validity tls_own_validity(const SSL_CTX *ctx, char date[16])
{
    const X509 *const own = SSL_CTX_get0_certificate(ctx);
    date[0] = '\0';
    if (own == NULL)
        return TLS_VALID;
    if (X509_cmp_current_time(X509_get0_notBefore(own)) > 0) {
        print_day(X509_get0_notBefore(own), date);
        return TLS_NOT_YET_VALID;
    }
    print_day(X509_get0_notAfter(own), date);
    return X509_cmp_current_time(X509_get0_notAfter(own)) < 0 ? TLS_EXPIRED : TLS_VALID;
}
