/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines: an intrusive binary heap of absolute times, embedded in the objects they belong to.
 * Arming never allocates and so never fails; equal times fire in the order they were armed.
 *
 * Firing has two phases, so that a deadline which re-arms itself for "now" cannot starve its caller
 * and a handler may disarm any other deadline, even one that is due in the same instant:
 *
 *     deadlines_collect(&d, now_ms);                 // phase 1: due ones leave the heap
 *     while ((due = deadlines_take(&d)) != NULL)     // phase 2: handle them one by one
 *         handle(due);
 *
 * What is armed during phase 2 for a time not later than `now_ms` is moved to now_ms + 1, so after
 * the loop deadlines_next() > now_ms holds by construction.
 *
 * Costs: arm, disarm O(log n); next O(1); collect O(k log n) for k due.
 */
#ifndef SENNET_BASE_DEADLINE_H
#define SENNET_BASE_DEADLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

struct deadline {
    struct deadline *left, *right, *parent; /* heap links; list links while due */
    int64_t at_ms;                          /* TIME_NEVER when idle */
    uint32_t order;                         /* tie-break: when it was armed */
    uint8_t where;                          /* enum, private */
    uint8_t kind;                           /* free for the owner: which of its deadlines it is */
};

struct deadlines {
    struct deadline *root;
    size_t count;
    struct deadline *due_first, *due_last;
    int64_t floor_ms; /* nothing may be armed at or before this */
    uint32_t next_order;
};

void deadlines_init(struct deadlines *d);

/* Must be called once before first use of `one`; `kind` is for the owner. */
void deadline_init(struct deadline *one, uint8_t kind);

/* Arms or re-arms for an absolute time. TIME_NEVER disarms. */
void deadline_arm(struct deadlines *d, struct deadline *one, int64_t at_ms);

/* Harmless when idle. An object must disarm its deadlines before it is freed. */
void deadline_disarm(struct deadlines *d, struct deadline *one);

/* True while in the heap or collected but not yet taken. */
bool deadline_armed(const struct deadline *one);

/* The earliest time armed, TIME_NEVER when none. */
int64_t deadlines_next(const struct deadlines *d);

void deadlines_collect(struct deadlines *d, int64_t now_ms);

/* The next collected deadline, idle again, or NULL. */
struct deadline *deadlines_take(struct deadlines *d);

#endif
