/* SPDX-License-Identifier: Apache-2.0 */
#include "tls_cache.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"

#include "tls_print.h"

/* Brokers, and nodes with certificates of their own that connect just now. */
enum { CACHED = 8 };

/* What something was made from: options and the state of files, one behind the other. */
struct origin {
    char *octets;
    size_t len;
};

struct cached {
    struct origin origin;
    void *thing; /* NULL: unused */
    uint64_t used;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct cached contexts[CACHED], stores[CACHED];
static uint64_t uses;
static atomic_uint made;

unsigned tls_contexts_made(void)
{
    return atomic_load(&made);
}

/* ---- origins --------------------------------------------------------------------------------- */

static void put_text(FILE *f, const char *text)
{
    fputc(text != NULL ? '+' : '-', f);
    if (text != NULL)
        fwrite(text, 1, strlen(text) + 1, f);
}

/* A file that is written, replaced or touched has another one of these. */
static void put_file(FILE *f, const char *path)
{
    struct stat st;
    put_text(f, path);
    if (path == NULL || stat(path, &st) != 0)
        return;
    fprintf(f, "%ju %ju %jd %jd.%09ld %jd.%09ld ", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino,
            (intmax_t)st.st_size, (intmax_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
            (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

/* Whom we trust. */
static void put_trust(FILE *f, const struct tls_options *o)
{
    fputc(o->insecure ? 'i' : 's', f);
    put_file(f, o->ca_file);
    put_file(f, o->ca_path);
    fprintf(f, "%" PRIx64 " ",
            tls_directory_print(o->ca_path)); /* OpenSSL keeps what it has found */
    put_file(f, o->crl_file);
    if (o->ca_file == NULL && o->ca_path == NULL) {
        put_file(f, X509_get_default_cert_file());
        put_file(f, X509_get_default_cert_dir());
    }
}

static void put_rest(FILE *f, const struct tls_options *o)
{
    put_file(f, o->cert_file);
    put_file(f, o->key_file);
    put_file(f, o->key_password_file);
    put_file(f, o->psk_file);
    put_text(f, o->psk_identity);
    put_text(f, o->ciphers);
    put_text(f, o->alpn);
    fprintf(f, "%d", (int)o->min);
}

/* False: out of memory. Free with free(). */
static bool origin_of(const struct tls_options *o, bool all, struct origin *out)
{
    *out = (struct origin){0};
    FILE *f = open_memstream(&out->octets, &out->len);
    if (f == NULL)
        return false;
    put_trust(f, o);
    if (all)
        put_rest(f, o);
    return fclose(f) == 0;
}

/* ---- the cache ------------------------------------------------------------------------------- */

/* Lock held. */
static void *find(struct cached *all, const struct origin *origin)
{
    for (unsigned i = 0; i < CACHED; i++) {
        if (all[i].thing == NULL || !bytes_equal(bytes_of(all[i].origin.octets, all[i].origin.len),
                                                 bytes_of(origin->octets, origin->len)))
            continue;
        all[i].used = ++uses;
        return all[i].thing;
    }
    return NULL;
}

/* Lock held. In place of what was not used for longest, which is returned. The origin is taken over. */
static void *keep(struct cached *all, struct origin *origin, void *thing)
{
    struct cached *oldest = &all[0];
    for (unsigned i = 1; i < CACHED; i++) {
        if (all[i].used < oldest->used)
            oldest = &all[i];
    }
    void *const old = oldest->thing;
    free(oldest->origin.octets);
    *oldest = (struct cached){.origin = *origin, .thing = thing, .used = ++uses};
    *origin = (struct origin){0};
    return old;
}

static X509_STORE *find_store(const struct origin *trust)
{
    pthread_mutex_lock(&lock);
    X509_STORE *const store = find(stores, trust);
    if (store != NULL)
        X509_STORE_up_ref(store);
    pthread_mutex_unlock(&lock);
    return store;
}

static SSL_CTX *find_context(const struct origin *origin)
{
    pthread_mutex_lock(&lock);
    SSL_CTX *const ctx = find(contexts, origin);
    if (ctx != NULL)
        SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&lock);
    return ctx;
}

/* Another thread may have made the same meanwhile: then there are two for a while. */
static void keep_both(SSL_CTX *ctx, struct origin *origin, struct origin *trust, bool new_store)
{
    X509_STORE *const store = SSL_CTX_get_cert_store(ctx);
    X509_STORE *old_store = NULL;

    pthread_mutex_lock(&lock);
    SSL_CTX_up_ref(ctx);
    SSL_CTX *const old = keep(contexts, origin, ctx);
    if (new_store) {
        X509_STORE_up_ref(store);
        old_store = keep(stores, trust, store);
    }
    pthread_mutex_unlock(&lock);
    SSL_CTX_free(old);
    X509_STORE_free(old_store);
}

SSL_CTX *tls_context_shared(const struct tls_options *o, struct tls_problem *problem)
{
    struct origin origin = {0}, trust = {0};
    const bool known = origin_of(o, true, &origin) && origin_of(o, false, &trust);
    SSL_CTX *ctx = known ? find_context(&origin) : NULL;
    if (ctx == NULL) {
        X509_STORE *const store = known ? find_store(&trust) : NULL;
        ctx = tls_context_trusting(o, store, problem);
        atomic_fetch_add(&made, 1);
        if (ctx != NULL && known)
            keep_both(ctx, &origin, &trust, store == NULL);
        X509_STORE_free(store);
    }
    free(origin.octets);
    free(trust.octets);
    return ctx;
}
