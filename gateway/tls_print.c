/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_print.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/evp.h>

/* The same octets in another file are something else. */
static void add(EVP_MD_CTX *sum, const void *data, size_t len)
{
    const uint64_t size = len;
    EVP_DigestUpdate(sum, &size, sizeof size);
    EVP_DigestUpdate(sum, data, len);
}

static void add_file(EVP_MD_CTX *sum, const char *path)
{
    uint8_t octets[1024];
    FILE *f = path != NULL ? fopen(path, "re") : NULL;
    for (size_t n = 1; f != NULL && n > 0;) {
        n = fread(octets, 1, sizeof octets, f);
        add(sum, octets, n);
    }
    add(sum, "", 0);
    if (f != NULL)
        fclose(f);
    OPENSSL_cleanse(octets, sizeof octets);
}

static uint64_t mix(uint64_t sum, const struct timespec *t)
{
    return (sum * 1000003 + (uint64_t)t->tv_sec) * 1000003 + (uint64_t)t->tv_nsec;
}

/* In whatever order the directory has them, so they are added up. */
uint64_t tls_directory_print(const char *path)
{
    uint64_t total = 0;
    DIR *d = path != NULL ? opendir(path) : NULL;
    const struct dirent *entry = NULL;
    while (d != NULL && (entry = readdir(d)) != NULL) {
        struct stat st;
        if (entry->d_name[0] == '.' || fstatat(dirfd(d), entry->d_name, &st, 0) != 0)
            continue;
        uint64_t one = mix(mix((uint64_t)st.st_size, &st.st_mtim), &st.st_ctim);
        for (const char *c = entry->d_name; *c != '\0'; c++)
            one = one * 1000003 + (uint8_t)*c;
        total += one * 0x9E3779B97F4A7C15U;
    }
    if (d != NULL)
        closedir(d);
    return total;
}

struct tls_print tls_print(const struct tls_options *o)
{
    struct tls_print print = {{0}};
    const char *const files[] = {o->ca_file,  o->crl_file,          o->cert_file,
                                 o->key_file, o->key_password_file, o->psk_file};
    bool any = o->ca_path != NULL;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        any = any || files[i] != NULL;
    if (!any) /* without TLS OpenSSL, and its two megabytes, are not begun with */
        return print;
    EVP_MD_CTX *sum = EVP_MD_CTX_new();
    if (sum == NULL || EVP_DigestInit_ex(sum, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(sum);
        return print;
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        add_file(sum, files[i]);
    const uint64_t directory = tls_directory_print(o->ca_path);
    add(sum, &directory, sizeof directory);
    EVP_DigestFinal_ex(sum, print.octets, NULL);
    EVP_MD_CTX_free(sum);
    return print;
}

bool tls_print_equal(const struct tls_print *a, const struct tls_print *b)
{
    return memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}
