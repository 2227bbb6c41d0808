/* SPDX-License-Identifier: Apache-2.0 */
#include "resolver.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "thread.h"

enum {
    GOOD_MS = 5000,
    ADDRESSES_MAX = 16,      /* of one name */
    NUMERIC_ROOM = 64,       /* for an address in digits, with its scope */
    STACK_BYTES = 512 * 1024 /* for whatever the system's resolver loads */
};

struct name {
    struct list link;
    struct list waits;
    char *host;
    bool busy; /* its thread is at it */
    int error;
    int64_t good_until_ms;
    unsigned n, at;
    char addresses[ADDRESSES_MAX][NUMERIC_ROOM];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct list names = {.next = &names, .prev = &names};

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Lock held. */
static struct name *find(const char *host)
{
    for (struct list *at = names.next; at != &names; at = at->next) {
        struct name *const n = container_of(at, struct name, link);
        if (strcmp(n->host, host) == 0)
            return n;
    }
    return NULL;
}

/* Lock held. */
static struct name *add(const char *host)
{
    struct name *const n = calloc(1, sizeof *n);
    char *const copy = strdup(host);
    if (n == NULL || copy == NULL) {
        free(n);
        free(copy);
        return NULL;
    }
    n->host = copy;
    n->error = EAI_AGAIN;
    list_init(&n->waits);
    list_init(&n->link);
    list_push_back(&names, &n->link);
    return n;
}

/* ---- looking up ------------------------------------------------------------------------------ */

/* Lock held. Adds those of one family; IPv4 comes first, as it works in more places. */
static void take_family(struct name *n, const struct addrinfo *found, int family)
{
    for (; found != NULL && n->n < ADDRESSES_MAX; found = found->ai_next) {
        if (found->ai_family == family &&
            getnameinfo(found->ai_addr, found->ai_addrlen, n->addresses[n->n], NUMERIC_ROOM, NULL,
                        0, NI_NUMERICHOST) == 0)
            n->n++;
    }
}

/* Lock held. */
static void finish(struct name *n, int error, const struct addrinfo *found)
{
    n->busy = false;
    n->error = error;
    n->n = 0;
    n->good_until_ms = now_ms() + GOOD_MS;
    if (error == 0) {
        take_family(n, found, AF_INET);
        take_family(n, found, AF_INET6);
        n->error = n->n > 0 ? 0 : EAI_NONAME;
    }
    for (struct list *link; (link = list_pop_front(&n->waits)) != NULL;) {
        struct resolver_wait *const w = container_of(link, struct resolver_wait, link);
        w->waiting = false;
        w->done(w->arg);
    }
}

static void *look_up(void *arg)
{
    static const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct name *const n = arg;
    struct addrinfo *found = NULL;
    const int error = getaddrinfo(n->host, NULL, &hints, &found);

    pthread_mutex_lock(&lock);
    finish(n, error, found);
    pthread_mutex_unlock(&lock);
    if (error == 0)
        freeaddrinfo(found);
    return NULL;
}

bool resolver_ask(struct resolver_wait *w, const char *host, void (*done)(void *arg), void *arg)
{
    pthread_mutex_lock(&lock);
    struct name *n = find(host);
    if (n == NULL)
        n = add(host);
    const bool is_known = n == NULL || (!n->busy && n->error == 0 && now_ms() < n->good_until_ms);
    bool answers = is_known;
    if (!is_known && !n->busy) {
        n->busy = thread_start_detached(look_up, n, STACK_BYTES);
        n->error = n->busy ? n->error : EAI_MEMORY;
        answers = !n->busy;
    }
    if (!answers) {
        *w = (struct resolver_wait){.done = done, .arg = arg, .waiting = true};
        list_init(&w->link);
        list_push_back(&n->waits, &w->link);
    }
    pthread_mutex_unlock(&lock);
    return answers;
}

void resolver_forget(struct resolver_wait *w)
{
    pthread_mutex_lock(&lock);
    if (w->waiting)
        list_unlink(&w->link);
    w->waiting = false;
    pthread_mutex_unlock(&lock);
}

/* ---- answers --------------------------------------------------------------------------------- */

int resolver_error(const char *host)
{
    pthread_mutex_lock(&lock);
    const struct name *const n = find(host);
    const int error = n != NULL ? n->error : EAI_MEMORY;
    pthread_mutex_unlock(&lock);
    return error;
}

void resolver_next(const char *host)
{
    pthread_mutex_lock(&lock);
    struct name *const n = find(host);
    if (n != NULL)
        n->at++;
    pthread_mutex_unlock(&lock);
}

int resolver_get(const char *host, const char *service, const struct addrinfo *hints,
                 struct addrinfo **result)
{
    char address[NUMERIC_ROOM] = "";
    struct addrinfo numeric = hints != NULL ? *hints : (struct addrinfo){0};
    int error = EAI_AGAIN;

    numeric.ai_flags |= AI_NUMERICHOST;
    if (getaddrinfo(host, service, &numeric, result) == 0)
        return 0;
    pthread_mutex_lock(&lock);
    const struct name *const n = find(host);
    if (n != NULL)
        error = n->error;
    if (n != NULL && error == 0)
        memcpy(address, n->addresses[n->at % n->n], sizeof address);
    pthread_mutex_unlock(&lock);
    return error != 0 ? error : getaddrinfo(address, service, &numeric, result);
}
