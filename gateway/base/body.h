/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Message bodies: immutable, reference-counted blocks shared by all recipients of a message and by
 * the threads it passes through (the count is atomic, the content never changes after body_new()).
 */
#ifndef SENNET_BASE_BODY_H
#define SENNET_BASE_BODY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/bytes.h"

struct body {
    atomic_uint refs;
    uint32_t len; /* of the content; BODY_HAS_ORIGIN: its length (16 bit) and octets stand behind */
    uint8_t data[];
};

#define BODY_HAS_ORIGIN UINT32_C(0x80000000)

/* A copy of `content` with one reference, or NULL when out of memory. O(len). */
struct body *body_new(struct bytes content);

/* The same, with octets that tell where it came from (origin.h), up to 65535. */
struct body *body_new_from(struct bytes content, struct bytes origin);

/* Takes another reference; returns its argument. NULL is passed through. */
struct body *body_ref(struct body *b);

/* Drops a reference; the last one frees. NULL is ignored. */
void body_unref(struct body *b);

/* A view of the content; empty for NULL. */
struct bytes body_bytes(const struct body *b);

/* A view of where it came from; empty when that is not known. */
struct bytes body_origin(const struct body *b);

/* Octets that it takes in memory; 0 for NULL. */
size_t body_size(const struct body *b);

#endif
