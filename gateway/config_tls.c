/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything about TLS that can be known before the first connection: files that can't be read or
 * don't fit together are errors here, at the line that names them, and not a broker that can't be
 * reached.
 */
#include <string.h>
#include <sys/stat.h>

#include "config_priv.h"
#include "tls.h"

enum { NUMBER_ROOM = 16 };

/* Every key that means nothing without TLS; not those that are left at what they are anyway. */
static const char *const tls_keys[] = {"ca_file",  "ca_path",           "crl_file", "cert_file",
                                       "key_file", "key_password_file", "tls_min",  "ciphers",
                                       "alpn",     "psk_identity",      "psk_file", "insecure"};

static bool is_idle(const struct config_broker *broker, const char *key)
{
    return (strcmp(key, "tls_min") == 0 && broker->tls_min == 1 + TLS_MIN_1_2) ||
           (strcmp(key, "insecure") == 0 && broker->insecure == SN_NO);
}

static const char *const part_keys[] = {
    [TLS_PART_CA_FILE] = "ca_file",   [TLS_PART_CA_PATH] = "ca_path",
    [TLS_PART_CRL_FILE] = "crl_file", [TLS_PART_CERT_FILE] = "cert_file",
    [TLS_PART_KEY_FILE] = "key_file", [TLS_PART_KEY_PASSWORD_FILE] = "key_password_file",
    [TLS_PART_CIPHERS] = "ciphers",   [TLS_PART_ALPN] = "alpn",
    [TLS_PART_PSK_FILE] = "psk_file", [TLS_PART_NONE] = "address",
};

struct tls_options config_tls_options(const struct config_broker *broker)
{
    return (struct tls_options){
        .ca_file = broker->ca_file,
        .ca_path = broker->ca_path,
        .crl_file = broker->crl_file,
        .cert_file = broker->cert_file,
        .key_file = broker->key_file,
        .key_password_file = broker->key_password_file,
        .ciphers = broker->ciphers,
        .alpn = broker->alpn,
        .psk_identity = broker->psk_identity,
        .psk_file = broker->psk_file,
        .min = broker->tls_min == 1 + TLS_MIN_1_3 ? TLS_MIN_1_3 : TLS_MIN_1_2,
        .insecure = broker->insecure == SN_YES,
    };
}

static struct config_place place(const struct config_builder *b, size_t i, const char *key)
{
    return config_somewhere(config_place_of(&b->brokers[i], SECTION_BROKER, key));
}

static void check_plain(struct config_builder *b, size_t i)
{
    char scheme[NUMBER_ROOM];
    const struct config_broker *const broker = &b->config->brokers[i];
    snprintf(scheme, sizeof scheme, "%.*s", (int)strcspn(broker->address, ":"), broker->address);
    for (size_t k = 0; k < sizeof tls_keys / sizeof tls_keys[0]; k++) {
        if (config_is_set(&b->brokers[i], SECTION_BROKER, tls_keys[k]) &&
            !is_idle(broker, tls_keys[k]))
            config_say3(&b->report, place(b, i, tls_keys[k]), SAY_TLS_ALIEN, tls_keys[k], scheme,
                        scheme);
    }
}

static bool check_companions(struct config_builder *b, size_t i)
{
    const struct config_broker *const o = &b->config->brokers[i];

    const struct {
        const char *key, *needs;
        bool lacks;
    } pairs[] = {
        {"key_file",          "cert_file",    o->key_file != NULL && o->cert_file == NULL         },
        {"key_password_file", "cert_file",    o->key_password_file != NULL && o->cert_file == NULL},
        {"psk_identity",      "psk_file",     o->psk_identity != NULL && o->psk_file == NULL      },
        {"psk_file",          "psk_identity", o->psk_file != NULL && o->psk_identity == NULL      },
    };

    bool ok = true;
    for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++) {
        if (!pairs[k].lacks)
            continue;
        config_say2(&b->report, place(b, i, pairs[k].key), SAY_TLS_NEEDS, pairs[k].key,
                    pairs[k].needs);
        ok = false;
    }
    return ok;
}

static bool check_insecure(struct config_builder *b, size_t i)
{
    static const char *const verifying[] = {"ca_file", "ca_path", "crl_file"};
    bool ok = true;
    if (b->config->brokers[i].insecure != SN_YES)
        return true;
    config_say0(&b->report, place(b, i, "insecure"), SAY_TLS_INSECURE);
    for (size_t k = 0; k < sizeof verifying / sizeof verifying[0]; k++) {
        if (!config_is_set(&b->brokers[i], SECTION_BROKER, verifying[k]))
            continue;
        config_say1(&b->report, place(b, i, verifying[k]), SAY_TLS_CONTRADICTION, verifying[k]);
        ok = false;
    }
    return ok;
}

static void check_mode(struct config_builder *b, size_t i, const char *key, const char *path)
{
    struct stat st;
    char octal[NUMBER_ROOM];
    if (path == NULL || stat(path, &st) != 0 || !config_secret_is_open(st.st_mode))
        return;
    snprintf(octal, sizeof octal, "%04o", (unsigned)st.st_mode & 07777);
    config_say3(&b->report, place(b, i, key), SAY_TLS_MODE, key, path, octal);
}

static void check_files(struct config_builder *b, size_t i)
{
    const struct config_broker *const broker = &b->config->brokers[i];
    const struct tls_options options = config_tls_options(broker);
    struct tls_problem problem;
    char date[16];
    SSL_CTX *const ctx = tls_context_new(&options, &problem);
    if (ctx == NULL) {
        const char *const key = part_keys[problem.part];
        config_say2(&b->report, place(b, i, key), SAY_TLS_UNUSABLE, key, problem.text);
        return;
    }
    const enum tls_validity validity = tls_own_validity(ctx, date);
    SSL_CTX_free(ctx);
    if (validity != TLS_VALID)
        config_say2(&b->report, place(b, i, "cert_file"),
                    validity == TLS_EXPIRED ? SAY_TLS_EXPIRED : SAY_TLS_TOO_EARLY,
                    broker->cert_file, date);
    check_mode(b, i, "key_file", broker->key_file);
    if (broker->key_file == NULL)
        check_mode(b, i, "cert_file", broker->cert_file);
    check_mode(b, i, "key_password_file", broker->key_password_file);
    check_mode(b, i, "psk_file", broker->psk_file);
}

void config_check_tls(struct config_builder *b, size_t i)
{
    const char *const address = b->config->brokers[i].address;
    if (address == NULL || strstr(address, "://") == NULL)
        return; /* which was said */
    if (!config_address_is_tls(address)) {
        check_plain(b, i);
        return;
    }
    const bool companions = check_companions(b, i);
    const bool consistent = check_insecure(b, i);
    if (companions && consistent && b->may_open)
        check_files(b, i);
}
