/* SPDX-License-Identifier: Apache-2.0 */
#include "blocks.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    STEP = 32, /* sizes are multiples of it, head included */
    SIZES = 16,
    LARGE = SIZES, /* straight from malloc() */
    BATCH = 32,
    KEPT_BYTES = 1 << 20, /* for all threads */
};

struct block {
    alignas(max_align_t) size_t octets; /* that there is room for, behind the head */
    uint32_t size;                      /* its place among the sizes */
};

/* Behind the head of one that is free. */
struct link {
    struct block *next;       /* of the batch */
    struct block *next_batch; /* of the first: another batch */
};

_Static_assert(sizeof(struct block) + sizeof(struct link) <= STEP, "the smallest can be linked");

struct pile {
    struct block *first;
    unsigned n;
};

/* Two of each size, so that a thread which takes one and gives one back does not go to the others. */
static _Thread_local struct pile at_hand[SIZES], spare[SIZES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *batches[SIZES]; /* full ones */
static size_t kept_bytes;

static struct link *link_of(struct block *b)
{
    return (struct link *)(void *)(b + 1);
}

static size_t total_of(uint32_t size)
{
    return ((size_t)size + 1) * STEP;
}

static void push(struct pile *p, struct block *b)
{
    link_of(b)->next = p->first;
    p->first = b;
    p->n++;
}

static struct block *pop(struct pile *p)
{
    struct block *const b = p->first;
    if (b == NULL)
        return NULL;
    p->first = link_of(b)->next;
    p->n--;
    __builtin_prefetch(p->first, 1); /* another thread had it, and it is wanted soon */
    return b;
}

/* ---- with the others ------------------------------------------------------------------------- */

static struct pile take_batch(uint32_t size)
{
    pthread_mutex_lock(&lock);
    struct block *const first = batches[size];
    if (first != NULL) {
        batches[size] = link_of(first)->next_batch;
        kept_bytes -= BATCH * total_of(size);
    }
    pthread_mutex_unlock(&lock);
    return (struct pile){.first = first, .n = first != NULL ? BATCH : 0};
}

static void give_batch(uint32_t size, struct pile full)
{
    const size_t bytes = BATCH * total_of(size);

    pthread_mutex_lock(&lock);
    const bool fits = kept_bytes + bytes <= KEPT_BYTES;
    if (fits) {
        link_of(full.first)->next_batch = batches[size];
        batches[size] = full.first;
        kept_bytes += bytes;
    }
    pthread_mutex_unlock(&lock);
    if (fits)
        return;
    while (full.first != NULL)
        free(pop(&full));
}

void block_trim(void)
{
    for (uint32_t size = 0; size < SIZES; size++) {
        for (struct pile p; (p = take_batch(size)).first != NULL;) {
            while (p.first != NULL)
                free(pop(&p));
        }
    }
}

/* ---- the end of a thread --------------------------------------------------------------------- */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void free_pile(struct pile *p)
{
    while (p->first != NULL)
        free(pop(p));
}

static void at_end(void *piles)
{
    (void)piles;
    for (uint32_t size = 0; size < SIZES; size++) {
        free_pile(&at_hand[size]);
        free_pile(&spare[size]);
    }
}

static void make_key(void)
{
    pthread_key_create(&key, at_end);
}

static void expect_end(void)
{
    static _Thread_local bool is_expected;

    if (is_expected)
        return;
    is_expected = true;
    pthread_once(&once, make_key);
    pthread_setspecific(key, at_hand);
}

/* ---- one ------------------------------------------------------------------------------------- */

static struct block *make(uint32_t size, size_t octets)
{
    const size_t total = size < LARGE ? total_of(size) : sizeof(struct block) + octets;
    struct block *const b = malloc(total);
    if (b != NULL)
        *b = (struct block){.octets = total - sizeof *b, .size = size};
    return b;
}

static struct block *find(uint32_t size)
{
    struct pile *const p = &at_hand[size];
    if (p->first == NULL) {
        *p = spare[size];
        spare[size] = (struct pile){.first = NULL};
    }
    if (p->first == NULL) {
        expect_end();
        *p = take_batch(size);
    }
    return pop(p);
}

void *block_new(size_t octets)
{
    if (octets > SIZE_MAX - sizeof(struct block))
        return NULL;
    const size_t place = (sizeof(struct block) + octets - 1) / STEP;
    const uint32_t size = place < SIZES ? (uint32_t)place : LARGE;
    struct block *b = size < LARGE ? find(size) : NULL;
    if (b == NULL)
        b = make(size, octets);
    return b != NULL ? b + 1 : NULL;
}

void block_free(void *block)
{
    if (block == NULL)
        return;
    struct block *const b = (struct block *)block - 1;
    if (b->size >= LARGE) {
        free(b);
        return;
    }
    struct pile *const p = &at_hand[b->size];
    if (p->n == BATCH) {
        if (spare[b->size].n > 0)
            give_batch(b->size, spare[b->size]);
        spare[b->size] = *p;
        *p = (struct pile){.first = NULL};
    }
    if (p->n == 0)
        expect_end();
    push(p, b);
}

void *block_resize(void *block, size_t octets)
{
    if (block == NULL)
        return block_new(octets);
    const struct block *const b = (const struct block *)block - 1;
    if (octets <= b->octets)
        return block;
    void *const larger = block_new(octets);
    if (larger == NULL)
        return NULL;
    memcpy(larger, block, b->octets);
    block_free(block);
    return larger;
}
