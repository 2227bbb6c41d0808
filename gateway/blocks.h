/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small blocks of memory that one thread takes and another one gives back: requests, what the MQTT
 * library makes of them, operations of the store. malloc() keeps what a thread has freed for that
 * thread, so here everything would go through the lock and the lists of its arena. These go back in
 * batches: a thread has two of each size, and the rest of them, 1 MiB at most, is for all.
 *
 * With sanitizers it is malloc() (blocks_plain.c), so that these see each use.
 */
#ifndef SENNET_GATEWAY_BLOCKS_H
#define SENNET_GATEWAY_BLOCKS_H

#include <stddef.h>

/* Aligned as by malloc(), with what happens to lie there. NULL: out of memory. */
void *block_new(size_t octets);
/* NULL is ignored. */
void block_free(void *block);
/* As realloc(). */
void *block_resize(void *block, size_t octets);

/* Any thread: what is for all goes back to the system. */
void block_trim(void);

#endif
